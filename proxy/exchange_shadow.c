/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/exchange_shadow.c - the candidate version's answer to a request that
 * the active rules have decided. Nothing of the exchange changes by it, and a
 * worker spends at most SHARE_US on it per request, in the mean: a candidate
 * that needs longer is asked about fewer requests. */
#include "policy/explain.h"
#include "proxy/exchange_priv.h"
#include "proxy/shadow.h"

#define SHARE_US 20

/* The decision that speaks for all: the first permitted one, or the first. */
static const struct policy_decision *active_decision(const struct exchange *x)
{
    for (unsigned i = 0; i < x->candidate_count; i++)
        if (x->candidates[i].decision.permitted)
            return &x->candidates[i].decision;
    return &x->candidates[0].decision;
}

static enum shadow_kind compare(const struct exchange *x,
    const struct policy_decision *active, const struct policy_set *candidate,
    const struct policy_decision *other)
{
    if (active->permitted != other->permitted)
        return active->permitted ? SHADOW_NEWLY_DENIED : SHADOW_NEWLY_PERMITTED;
    if (active->permitted &&
        !policy_obligations_same(snapshot_policy(x->snapshot),
            &active->obligations, candidate, &other->obligations))
        return SHADOW_BOUND_OTHERWISE;
    return SHADOW_SAME;
}

static void ask_candidate(struct exchange *x, const struct policy_set *set,
    struct policy_decision *out)
{
    struct policy_workspace *workspace = x->worker->workspace;

    policy_decide_by(workspace, set);
    for (unsigned i = 0; i < x->candidate_count; i++) {
        const struct exchange_candidate *c = &x->candidates[i];
        struct policy_target target = {.model = str_from(x->model->name),
            .engine = str_from(c->target->engine->name),
            .upstream = str_from(c->target->upstream)};
        struct policy_decision decision;
        policy_decide(workspace, &target, &decision);
        if (i == 0 || (decision.permitted && !out->permitted))
            *out = decision;
    }
    policy_decide_by(workspace, snapshot_policy(x->snapshot));
}

void exchange_shadow(struct exchange *x)
{
    const struct policy_set *set = snapshot_shadow(x->snapshot);
    struct worker *w = x->worker;
    struct policy_decision decision = {0};
    struct shadow_note note = {.kind = SHADOW_SKIPPED,
        .version = snapshot_shadow_version(x->snapshot),
        .against = snapshot_policy_version(x->snapshot),
        .request = str_make(x->id, ULID_LENGTH),
        .time_us = x->wall_us,
        .decision = &decision};
    int64_t started;

    if (!set || x->candidate_count == 0)
        return;
    w->shadow_debt_us =
        w->shadow_debt_us > SHARE_US ? w->shadow_debt_us - SHARE_US : 0;
    if (w->shadow_debt_us == 0) {
        started = clock_monotonic();
        ask_candidate(x, set, &decision);
        note.kind = compare(x, active_decision(x), set, &decision);
        note.cost_us = clock_monotonic() - started;
        w->shadow_debt_us = note.cost_us;
    }
    shadow_count(w->shared->shadow, &note);
}
