/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/control_priv.h - inside of control*.c. */
#ifndef PROXY_CONTROL_PRIV_H
#define PROXY_CONTROL_PRIV_H

#include "proxy/control.h"

#include "lib/arena.h"

#include <pthread.h>

#define CONTROL_MAGIC 0x636f6e74u
#define CONTROL_EVENTS_MAX 256 /* of one change */
#define CONTROL_PRODUCER_MAX (8u << 20)

struct control {
    unsigned magic;
    char *dir;
    int lock_fd;
    bool readonly, started;
    pthread_mutex_t mutex; /* recursive */

    struct db *db, *persons;
    struct keyring *keyring;
    struct key_usage *key_usage;
    struct audit_log *log;
    struct journal_producer *producer;

    /* Copied out of the replay: it is gone once the log has started. */
    struct audit_open_admission *open;
    size_t open_count;
    struct audit_bucket *buckets;
    size_t bucket_count;
    int64_t outbox_durable; /* rows up to this one are in the journal */
    int64_t outbox_next;
    bool outbox_waiting; /* rows after outbox_durable exist */

    bool adopting;
    char *adopt_reason;
    char adopt_before[65], adopt_after[65]; /* digests, hex */

    enum err (*changed)(void *context, unsigned what, struct errinfo *info);
    void *changed_context;

    /* The change that is being made. */
    bool in_change;
    struct arena *arena;
    struct audit_act *events[CONTROL_EVENTS_MAX];
    size_t event_count;
};

/* Tells those who compile rules which attributes of claims there are. */
enum err control_declare_claims(
    struct control *control, struct errinfo *info) MUSTCHECK;
/* What the control digest leaves out. */
extern const char *const control_digest_except[];

/* Appends every row of the outbox that the journal does not have yet, and
 * waits until it is durable. Started, locked. */
enum err control_drain(struct control *control, struct errinfo *info) MUSTCHECK;
/* Removes persons whom no row of the control state knows: left behind when a
 * crash came between the two databases' commits. */
enum err control_sweep_persons(
    struct control *control, struct errinfo *info) MUSTCHECK;
/* Copies the act into the arena with actor, id and time. NULL: no memory. */
struct audit_act *control_copy_act(struct arena *arena,
    const struct control_actor *actor, const struct audit_act *act);
/* A row of the outbox for the act, which has its digest and its number
 * (act->outbox) already; *last becomes that number. In a transaction. */
enum err control_outbox_add(struct control *control, struct audit_act *act,
    int64_t *last, struct errinfo *info) MUSTCHECK;
/* Appends one finished entry and waits until it is durable. */
enum err control_append(struct control *control, struct str entry,
    size_t time_offset, struct errinfo *info) MUSTCHECK;

#endif
