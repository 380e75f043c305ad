/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/exchange_queue.c - the queue stage: a place at an engine that policy
 * permits, at once or after waiting for it (engine/queue.h).
 *
 * Before anything is reserved or admitted: who waits holds no budget, and who
 * waits in vain is denied like anybody else. The place is held through the
 * stages that follow; whoever ends gives it back. */
#include "proxy/exchange_priv.h"

#include "lib/must.h"

/* What a flow of this priority weighs, times its team's weight. */
static unsigned priority_weight(enum policy_priority priority)
{
    switch (priority) {
    case POLICY_PRIORITY_LOW:
        return 1;
    case POLICY_PRIORITY_NONE:
    case POLICY_PRIORITY_NORMAL:
        break;
    case POLICY_PRIORITY_HIGH:
        return 16;
    }
    return 4;
}

/* The lowest that any of the permitted candidates is given. */
static enum policy_priority priority_of(const struct exchange *x)
{
    enum policy_priority lowest = POLICY_PRIORITY_HIGH + 1;
    for (unsigned i = 0; i < x->candidate_count; i++) {
        const struct policy_decision *d = &x->candidates[i].decision;
        enum policy_priority own = d->obligations.priority;
        if (!d->permitted)
            continue;
        if (own == POLICY_PRIORITY_NONE)
            own = POLICY_PRIORITY_NORMAL;
        if (own < lowest)
            lowest = own;
    }
    return lowest > POLICY_PRIORITY_HIGH ? POLICY_PRIORITY_NORMAL : lowest;
}

/* The permitted ones that are alive, the one to be asked first in front. */
static unsigned order_candidates(
    struct exchange *x, struct exchange_candidate **out)
{
    unsigned count = 0;
    int64_t now = loop_now(x->worker->loop);
    for (unsigned i = 0; i < x->candidate_count; i++) {
        struct exchange_candidate *c = &x->candidates[i];
        if (!c->decision.permitted || !pool_alive(c->live, now))
            continue;
        unsigned at = count++;
        while (at > 0 && exchange_goes_before(c, out[at - 1])) {
            out[at] = out[at - 1];
            at--;
        }
        out[at] = c;
    }
    return count;
}

static enum stage_result unavailable(struct exchange *x)
{
    exchange_deny(x, "plan", 503, "api_error", "upstream_unavailable",
        "No engine for the model '%s' can take a request now. Try again "
        "later.",
        x->model->name);
    x->verdict.retry_after_s = 2;
    return STAGE_DENY;
}

/* "They are all busy": how that reads depends on what was tried. */
static enum stage_result busy(struct exchange *x, const char *why)
{
    exchange_deny(x, "queue", 503, "api_error", "engine_busy",
        "The engines for the model '%s' are busy, and %s. Try again later. "
        "Ref %s.",
        x->model->name, why, x->id);
    x->verdict.retry_after_s = 2;
    return STAGE_DENY;
}

void exchange_place_free(
    struct exchange *x, struct exchange_candidate *candidate, bool good)
{
    int64_t now = loop_now(x->worker->loop);
    pool_end(candidate->live, good, now);
    queue_freed(x->worker->shared->queue, candidate->live, now);
}

void exchange_place_leave(struct exchange *x)
{
    struct exchange_candidate *place = x->place;
    x->place = NULL;
    if (place != NULL)
        exchange_place_free(x, place, true);
}

/* --- Waiting ------------------------------------------------------------- */

static struct exchange *of_waiter(struct queue_waiter *waiter)
{
    struct exchange *x =
        (struct exchange *)((char *)waiter - offsetof(struct exchange, waiter));
    CHECK_MAGIC(x, EXCHANGE_MAGIC);
    return x;
}

static void waited(struct exchange *x, enum metric how)
{
    struct worker *w = x->worker;
    loop_timer_clear(w->loop, &x->queue_timer);
    x->waited_us = loop_now(w->loop) - x->queued_us;
    if (x->waited_us == 0)
        x->waited_us = 1;
    metrics_add(&w->metrics, METRIC_QUEUED, -1);
    metrics_add(&w->metrics, how, 1);
}

/* Out of the queue, with the place if one was granted meanwhile. */
static void leave(struct exchange *x, enum metric how)
{
    bool granted = queue_leave(x->worker->shared->queue, &x->waiter);
    waited(x, how);
    if (granted)
        x->place = x->queued_for[x->waiter.granted];
}

static void on_timeout(struct loop_timer *timer)
{
    struct exchange *x =
        (struct exchange *)((char *)timer -
                            offsetof(struct exchange, queue_timer));
    CHECK_MAGIC(x, EXCHANGE_MAGIC);
    leave(x, METRIC_QUEUE_TIMEOUT);
    if (x->place != NULL) { /* at the last moment */
        exchange_go_on(x);
        return;
    }
    busy(x, "no place got free in the time that a request may wait");
    exchange_refuse(x);
}

/* --- A crowd ------------------------------------------------------------- */

/* Has any of the candidates a place, or is none of them alive (which is told
 * otherwise)? Policy has not been asked yet. */
static bool may_find_place(const struct exchange *x)
{
    int64_t now = loop_now(x->worker->loop);
    bool alive = false;
    for (unsigned i = 0; i < x->candidate_count; i++) {
        const struct exchange_candidate *c = &x->candidates[i];
        if (pool_usable(c->live, c->target->engine, now))
            return true;
        alive = alive || pool_alive(c->live, now);
    }
    return !alive;
}

static struct str queue_team(const struct exchange *x)
{
    return x->joined ? x->joined->queue_team : x->caller->queue_team;
}

static unsigned queue_weight(const struct exchange *x)
{
    return x->joined ? x->joined->queue_weight : x->caller->queue_weight;
}

/* Refused where it would be refused whatever policy says of it, before policy
 * is asked and an entry written, where many are: so that a crowd costs little,
 * and those that wait are served. On record by count, like what stage_load
 * refuses. */
enum stage_result stage_crowd(struct exchange *x)
{
    struct worker *w = x->worker;
    if (x->match.route->engine_path == NULL ||
        w->settings->queue_timeout_ms == 0 || w->settings->queue_length == 0 ||
        queue_length(w->shared->queue) < (size_t)w->settings->queue_length ||
        may_find_place(x))
        return STAGE_PASS;
    struct queue_flow_kind kinds[POLICY_PRIORITY_HIGH];
    size_t count = 0;
    for (int i = POLICY_PRIORITY_LOW; i <= POLICY_PRIORITY_HIGH; i++) {
        enum policy_priority priority = (enum policy_priority)i;
        if (priority == POLICY_PRIORITY_NORMAL ||
            policy_set_has_priority(snapshot_policy(x->snapshot), priority))
            kinds[count++] = (struct queue_flow_kind){
                i, queue_weight(x) * priority_weight(priority)};
    }
    if (!queue_is_full_for(w->shared->queue, queue_team(x), kinds, count) ||
        !worker_counts_refusals(w))
        return STAGE_PASS;
    metrics_add(&w->metrics, METRIC_QUEUE_FULL, 1);
    metrics_add(&w->metrics, METRIC_OVERLOAD, 1);
    worker_refuse(w, x->connection, REFUSAL_OVERLOAD,
        str_from(x->match.route->path),
        x->key != NULL ? str_from(x->key->id) : STR(""));
    busy(x, "as many requests wait for them as may");
    x->counted = true;
    return STAGE_DENY;
}

static enum stage_result enter(
    struct exchange *x, struct exchange_candidate **list, unsigned count)
{
    struct worker *w = x->worker;
    struct queue_waiter *waiter = &x->waiter;
    enum policy_priority priority = priority_of(x);
    *waiter = (struct queue_waiter){.team = queue_team(x),
        .weight = queue_weight(x) * priority_weight(priority),
        .priority = (int)priority,
        .mailbox = &w->mailbox};
    for (unsigned i = 0; i < count; i++) {
        x->queued_for[i] = list[i];
        waiter->targets[i].engine = list[i]->live;
        waiter->targets[i].target = list[i]->target->engine;
    }
    waiter->target_count = count;
    enum err err = queue_enter(w->shared->queue, waiter, loop_now(w->loop));
    if (err == ERR_EXISTS) {
        x->place = x->queued_for[waiter->granted];
        return STAGE_PASS;
    }
    if (err == ERR_FULL) {
        metrics_add(&w->metrics, METRIC_QUEUE_FULL, 1);
        return busy(x, "as many requests wait for them as may");
    }
    if (err != ERR_OK)
        return exchange_deny(x, "queue", 503, "api_error", "overloaded",
            "Out of memory. Try again later.");
    metrics_add(&w->metrics, METRIC_QUEUED, 1);
    x->phase = QUEUED;
    x->queued_us = loop_now(w->loop);
    x->queue_timer.expired = on_timeout;
    loop_timer_set(w->loop, &x->queue_timer,
        x->queued_us + w->settings->queue_timeout_ms * 1000);
    return STAGE_WAIT;
}

/* Runs again once a place is there. */
enum stage_result stage_queue(struct exchange *x)
{
    struct worker *w = x->worker;
    struct exchange_candidate *list[EXCHANGE_CANDIDATES];
    if (x->match.route->engine_path == NULL || x->place != NULL)
        return STAGE_PASS;
    unsigned count = order_candidates(x, list);
    if (count == 0)
        return unavailable(x);
    /* Who comes while others wait stands behind them, except where places have
     * no number. */
    bool others = queue_any(w->shared->queue);
    for (unsigned i = 0; i < count; i++) {
        const struct engine_target *engine = list[i]->target->engine;
        if (others && engine->max_concurrent > 0)
            break;
        if (pool_begin(list[i]->live, engine)) {
            x->place = list[i];
            return STAGE_PASS;
        }
    }
    if (w->settings->queue_timeout_ms == 0 || w->settings->queue_length == 0)
        return busy(x, "requests do not wait here");
    return enter(x, list, count);
}

/* --- From elsewhere ------------------------------------------------------ */

void exchange_queue_turn(struct worker *w)
{
    struct queue_waiter *waiter;
    enum queue_state how = QUEUE_OUT;
    while ((waiter = queue_take(w->shared->queue, &w->mailbox, &how)) != NULL) {
        struct exchange *x = of_waiter(waiter);
        MUST(x->phase == QUEUED);
        if (how == QUEUE_PUSHED) {
            waited(x, METRIC_QUEUE_PUSHED);
            busy(x, "this one had to go for another team's, because its own "
                    "has most of all that wait");
            exchange_refuse(x);
            continue;
        }
        waited(x, METRIC_QUEUED_TOTAL);
        metrics_observe(&w->metrics.queued, x->waited_us);
        x->place = x->queued_for[waiter->granted];
        exchange_go_on(x);
    }
}

static void abandon(struct exchange *x)
{
    MUST(x->phase == QUEUED);
    leave(x, METRIC_QUEUE_GONE);
}

void exchange_queue_gone(struct exchange *x)
{
    abandon(x);
    exchange_deny(x, "queue", 499, "api_error", "client_gone",
        "The caller closed the connection while the request waited for an "
        "engine.");
    exchange_refuse(x);
}

void exchange_queue_revoked(struct exchange *x)
{
    abandon(x);
    exchange_deny(x, "queue", 401, "authentication_error", "invalid_api_key",
        "The API key was revoked while the request waited for an engine.");
    exchange_refuse(x);
}
