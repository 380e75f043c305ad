/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/control.h - the control state of one DIR: its lock, databases, keys
 * and log, and the one way to change it.
 *
 * A change is a transaction over control.db (and persons.db) that also writes
 * its event into `outbox`; then the event is made durable in the journal, then
 * the data plane is told (the snapshot swaps), then the answer is given.
 * Opening drains what a crash left in the outbox, and compares the digest of
 * the control state with the last one on record: a difference means that
 * someone edited the database, and is refused until adopted with a reason.
 * Threads: everything between control_lock and control_unlock. */
#ifndef PROXY_CONTROL_H
#define PROXY_CONTROL_H

#include "audit/log.h"
#include "audit/seal.h"
#include "proxy/key_usage.h"
#include "proxy/settings.h"
#include "schema/db.h"

struct control;

struct control_options {
    const char *dir;
    bool without_lock; /* read-only look (check while a server runs) */
    bool fresh;        /* `init`: nothing is on record yet */
    bool adopt;        /* accept a control state that was edited outside */
    const char *adopt_reason;
    bool without_index;
    uint64_t segment_bytes;
};

/* ERR_AGAIN: another process holds DIR/lock (the text names its pid).
 * ERR_NOTFOUND: DIR holds no state. ERR_CORRUPT: the control state is not the
 * one on record (with adopt: accepted, and recorded by control_start). With
 * without_lock there is no log (control_log is NULL) and nothing can change. */
enum err control_open(const struct control_options *options,
    struct control **out, struct errinfo *info) MUSTCHECK;
/* Starts the log's threads; `failed` as in audit/log.h. Then drains the
 * outbox and closes open admissions as interrupted. */
enum err control_start(struct control *control,
    void (*failed)(void *context, const char *why), void *context,
    struct errinfo *info) MUSTCHECK;
void control_close(struct control **control); /* seals and stops the log */

void control_lock(struct control *control);
void control_unlock(struct control *control);
struct db *control_db(struct control *control);
struct db *control_persons(struct control *control);
struct keyring *control_keyring(struct control *control);
/* When keys were used last; of its own lock. */
struct key_usage *control_key_usage(struct control *control);
struct audit_log *control_log(struct control *control);
const char *control_dir(const struct control *control);
/* What the log says of the quotas, as it was when the state was opened. NULL
 * and 0 with without_lock. Lives as long as the control. */
const struct audit_bucket *control_buckets(
    const struct control *control, size_t *count);

/* Called inside the lock after a change's event is durable (not when `what` is
 * 0: a draft, an administrator, an anchor). An error makes the
 * change's answer a 500 that says the change stands but is not live yet. */
void control_on_change(struct control *control,
    enum err (*changed)(void *context, unsigned what, struct errinfo *info),
    void *context);

/* Who acts. */
struct control_actor {
    char id[40];   /* adm_..., or "" (unattributed) */
    char role[24]; /* "admin", "auditor" ...; root without a name: "admin" */
    const char *method; /* "token" "uid" "root" "offline" "system"
                         "proposal" "jwt" "certificate" */
    /* SHA-256 of the client certificate that was shown as well, or alone, in
     * hex: pinned, this administrator's and in force; or "" */
    char certificate[65];
    bool can_approve; /* attributed to a person, and online */
};

struct audit_act;
/* One change. begin locks and opens the transactions; record adds the event
 * (id, if it is empty, time, actor, outbox and digest are filled in here, the
 * rest is copied),
 * at least one for each change; commit does the rest of the sequence above with
 * `what` = CHANGED_* bits; abandon rolls back. commit and abandon unlock. The
 * lock may be held already by the same thread. A commit that failed before the
 * databases had it has rolled back; its text says when the change stands but is
 * not on record or not live yet (ERR_WRONG_STATE). */
enum err control_begin(struct control *control, struct errinfo *info) MUSTCHECK;
enum err control_record(struct control *control,
    const struct control_actor *actor, struct audit_act *act,
    struct errinfo *info) MUSTCHECK;
enum err control_commit(
    struct control *control, unsigned what, struct errinfo *info) MUSTCHECK;
void control_abandon(struct control *control);
/* Inside the lock: whatever was changed is on record now; gives the digest of
 * the control state, as hex. */
enum err control_settled(struct control *control, char digest_hex[65],
    struct errinfo *info) MUSTCHECK;
/* An event without a change (a query, a start). Waits until durable. */
enum err control_event(struct control *control,
    const struct control_actor *actor, struct audit_act *act,
    struct errinfo *info) MUSTCHECK;

#endif
