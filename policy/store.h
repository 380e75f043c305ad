/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/store.h - the versions of the policy set and their life.
 *
 *   put -> draft -> submitted -> approved -> active -> retired
 *                                              ^          |
 *                                              +-rollback-+
 *
 * A version never changes once it is put; its state and the list of acts do.
 * With require_approvals = N (organisation_setting) a version needs N
 * approvals by others than those who wrote and submitted it (N + 1 where that
 * was nobody in particular); with 0, activate walks the states
 * itself and says so in the acts. At most one version is active.
 *
 * Everything works inside the caller's transaction, so that a change and the
 * event that records it are one. On an error the caller rolls back. Times are
 * arguments. One thread at a time, as the db. */
#ifndef POLICY_STORE_H
#define POLICY_STORE_H

#include "lib/arena.h"
#include "policy/names.h"

enum policy_state {
    POLICY_DRAFT,
    POLICY_SUBMITTED,
    POLICY_APPROVED,
    POLICY_ACTIVE,
    POLICY_RETIRED
};
const char *policy_state_name(enum policy_state state);

struct policy_version {
    int64_t version;
    uint8_t hash[32]; /* SHA-256 of text */
    enum policy_state state;
    struct str text, note, author; /* in the caller's arena */
    int64_t created_us;
};

/* Who acts: adm_..., or "" for nobody in particular. */
struct policy_actor {
    struct str id;
    bool can_approve; /* a named person through the running server */
};

/* Stores a text that policy_prepare has made as a new draft. */
enum err policy_store_put(struct db *db, struct str stored, struct str note,
    const struct policy_actor *actor, int64_t now_us, int64_t *version,
    struct errinfo *info) MUSTCHECK;

/* ERR_NOTFOUND, with words, when there is none. */
enum err policy_store_get(struct db *db, int64_t version, struct arena *arena,
    struct policy_version *out, struct errinfo *info) MUSTCHECK;
/* ERR_NOTFOUND: no version is active, every request is denied. */
enum err policy_store_active(struct db *db, struct arena *arena,
    struct policy_version *out, struct errinfo *info) MUSTCHECK;
/* Newest first, without their texts. */
enum err policy_store_list(struct db *db,
    void (*visit)(void *context, const struct policy_version *version),
    void *context, struct errinfo *info) MUSTCHECK;

/* The acts of a version, oldest first. */
struct policy_act {
    struct str act, actor, note;
    int64_t time_us;
};
enum err policy_store_acts(struct db *db, int64_t version,
    void (*visit)(void *context, const struct policy_act *act), void *context,
    struct errinfo *info) MUSTCHECK;

/* Names are checked again by submit, activate and rollback: they may have gone
 * since. ERR_WRONG_STATE: not in the state for it; ERR_SYNTAX: findings. */
enum err policy_store_submit(struct db *db, int64_t version, struct str note,
    const struct policy_actor *actor, int64_t now_us, struct buf *findings,
    struct errinfo *info) MUSTCHECK;

struct policy_approval {
    int64_t given, required;
    bool approved; /* enough now */
};
/* ERR_DENIED: by the author or the submitter, or by nobody in particular;
 * ERR_WRONG_STATE: twice by the same person. */
enum err policy_store_approve(struct db *db, int64_t version, struct str note,
    const struct policy_actor *actor, int64_t now_us,
    struct policy_approval *out, struct errinfo *info) MUSTCHECK;
enum err policy_store_approvals_required(
    struct db *db, int64_t *required, struct errinfo *info) MUSTCHECK;

struct policy_activation {
    int64_t version;
    int64_t previous;   /* 0: none was active */
    bool none_required; /* walked the states by itself */
    int64_t approvals;  /* given, distinct people */
};
/* ERR_DENIED: approvals are missing; ERR_WRONG_STATE: active already, or
 * retired (that is rollback's). */
enum err policy_store_activate(struct db *db, int64_t version, struct str note,
    const struct policy_actor *actor, int64_t now_us, struct buf *findings,
    struct policy_activation *out, struct errinfo *info) MUSTCHECK;
/* version 0: the one that was active before. Only what has been active can be
 * brought back, so no new approval is needed. */
enum err policy_store_rollback(struct db *db, int64_t version, struct str note,
    const struct policy_actor *actor, int64_t now_us, struct buf *findings,
    struct policy_activation *out, struct errinfo *info) MUSTCHECK;

/* --- Emergencies ---------------------------------------------------------- */

/* Puts a version in force without its approvals until it is ended (by
 * policy_store_emergency_end, by another activation, or a rollback), when it
 * goes back to the state it had; one at a time. */
struct policy_emergency {
    struct str id; /* eme_... */
    int64_t version, expires_us;
    struct str reason;
};
/* ERR_WRONG_STATE: active or retired, or an emergency is on already. */
enum err policy_store_emergency(struct db *db,
    const struct policy_emergency *emergency, const struct policy_actor *actor,
    int64_t now_us, struct buf *findings, struct policy_activation *out,
    struct errinfo *info) MUSTCHECK;
/* cause: "expired", "ended". out->previous: the version that was in force by
 * emergency, out->version: the one that is back, 0: none was before.
 * ERR_NOTFOUND: none is on. */
enum err policy_store_emergency_end(struct db *db, const char *cause,
    const struct policy_actor *actor, int64_t now_us,
    struct policy_activation *out, struct errinfo *info) MUSTCHECK;

#endif
