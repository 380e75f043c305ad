/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/replay_priv.h - recorded requests decided again: what a draft
 * would have made of them. Runs without the control's lock. */
#ifndef PROXY_ADMIN_REPLAY_PRIV_H
#define PROXY_ADMIN_REPLAY_PRIV_H

#include "proxy/admin/audit_priv.h"
#include "proxy/admin/rules_priv.h"

#define REPLAY_REQUESTS_MAX 2000000
#define REPLAY_SAMPLES_MAX 1000

struct replay_order {
    const struct policy_set *before, *after; /* before NULL: no rules */
    const struct snapshot *snapshot;
    int64_t since_us, until_us; /* 0: no bound */
    struct str caller, model;   /* empty: all */
    int64_t requests;           /* at most so many, 0: REPLAY_REQUESTS_MAX */
    int64_t samples;            /* of each kind */
    bool addresses;             /* open the sealed boxes */
};

/* gives *out: counts, callers, models, rules, samples, what was left out. */
enum err replay_run(struct admin_call *call, const struct replay_order *order,
    json_t **out) MUSTCHECK;

#endif
