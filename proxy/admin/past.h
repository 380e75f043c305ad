/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/past.h - the control state as it was at some point of the log,
 * folded out of the events of its changes.
 *
 * Every change is an event with what the thing was after it, so the log alone
 * tells what was in force at any time: teams, callers, keys, models, engines,
 * quotas, settings, the policy version. Where somebody edited the database from
 * outside (admin.state.adopted), or the log continues another one, the fold
 * cannot know what came with that, and says so. One thread. */
#ifndef PROXY_ADMIN_PAST_H
#define PROXY_ADMIN_PAST_H

#include "proxy/admin/audit_priv.h"

struct past_change {
    uint64_t seq;
    int64_t time_us;
};

struct past {
    /* kind -> id -> {"since": seq, "time": text, "state": document} */
    json_t *kinds;
    uint64_t changes;        /* events folded */
    struct past_change last; /* the newest of them */
    /* The newest ones before it, newest first: a request that was decided
     * while a change was taken over may be recorded behind its event. */
    struct past_change earlier[4];
    size_t earlier_count;
    uint64_t adopted; /* seq of the last adoption; 0: none */
    bool has_adopted;
};

/* Folds the changes whose entries stand before `before` and, where until_us is
 * not 0, are older than that. *damaged as for audit_query. */
enum err past_build(struct admin_call *call, struct audit_index *index,
    struct audit_reader *reader, uint64_t size, uint64_t before,
    int64_t until_us, struct past *out, uint64_t *damaged) MUSTCHECK;
void past_fini(struct past *past);
/* As it is kept where the entries that it was folded from are pruned
 * (audit/pruned.h): then past_build goes on from there. ERR_NOTFOUND: the time
 * asked for lies before that. gives. */
json_t *past_json(const struct past *past);

/* The document of one thing; NULL: there was none. Borrowed. */
json_t *past_find(const struct past *past, const char *kind, const char *id);
/* All of a kind: id -> {"state": ...}; may be NULL. Borrowed. */
json_t *past_kind(const struct past *past, const char *kind);
/* The policy version that was in force, {"version", "hash"}; NULL: none. */
json_t *past_policy(const struct past *past);
/* A setting's value; `otherwise` where it was never changed. Borrowed. */
const char *past_setting(
    const struct past *past, const char *key, const char *otherwise);

#endif
