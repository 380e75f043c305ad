/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/exchange_join.c - a good token whose caller is not there, of an issuer
 * that makes callers just in time.
 *
 * The body is read first, as of any request. Then proxy/newcomers.h makes the
 * caller, and who asks is found out anew, by the snapshot that has it: nothing
 * of the request is taken for known before. */
#include "proxy/exchange_priv.h"

#include "lib/log.h"
#include "lib/must.h"

/* An answer is given then, whatever becomes of the caller. */
#define JOIN_TIMEOUT_US (10 * SECOND_US)

struct exchange_newcomer {
    struct newcomer job;
    struct exchange *exchange;
    struct loop_timer timer;
    bool made; /* and now it should be there */
};

struct exchange_newcomer *exchange_newcomer_new(
    struct exchange *x, const struct token_answer *answer)
{
    struct exchange_newcomer *c = ARENA_NEW(x->arena, struct exchange_newcomer);

    if (c == NULL)
        return NULL;
    *c = (struct exchange_newcomer){.exchange = x,
        .job = {.inbox = &x->worker->newcomers,
            .issuer =
                arena_copy(x->arena, str_from(answer->identity.issuer->name)),
            .handle = answer->handle,
            .subject = answer->identity.subject,
            .client = answer->identity.client}};
    return c->job.issuer.ptr != NULL ? c : NULL;
}

static enum stage_result not_made(
    struct exchange *x, const char *why, int64_t retry_after_s)
{
    exchange_deny(x, "join", 503, "api_error", "governance_unavailable",
        "The token is good, but its caller could not be made in time, so "
        "nothing is served. Try again later. Ref %s.",
        x->id);
    x->verdict.retry_after_s = retry_after_s;
    log_warn("not_served", "request=%s reason=%s", x->id, LOG_QUOTE(why));
    return STAGE_DENY;
}

/* A bound is the administrators' own choice, and no failure of ours. */
static enum stage_result past_a_bound(struct exchange *x, bool in_all)
{
    const struct newcomer *job = &x->newcomer->job;

    worker_refuse(x->worker, x->connection, REFUSAL_JUST_IN_TIME,
        str_from(x->match.route->path), STR(""));
    exchange_deny(x, "join", 503, "api_error", "newcomers_limited",
        in_all ? "The token is good, but its issuer has made as many callers "
                 "as it may. Ask whoever runs this service."
               : "The token is good, but its issuer has made as many callers "
                 "in this minute as it may. Try again in the next one.");
    x->verdict.never_retry = in_all;
    x->verdict.retry_after_s = in_all ? -1 : job->wait_s;
    return STAGE_DENY;
}

static enum stage_result judge(struct exchange *x)
{
    const struct newcomer *job = &x->newcomer->job;

    switch (job->result) {
    case NEWCOMER_THERE:
        x->newcomer->made = true;
        return exchange_identify_again(x);
    case NEWCOMER_TOO_FAST:
        return past_a_bound(x, false);
    case NEWCOMER_TOO_MANY:
        return past_a_bound(x, true);
    case NEWCOMER_ERASED:
        return exchange_refuse_newcomer(
            x, "caller_erased", "The caller whom the token names was erased.");
    case NEWCOMER_TAKEN:
    case NEWCOMER_UNWELCOME:
        return exchange_refuse_newcomer(x, "unknown_caller",
            "No caller here has the name that the token gives.");
    case NEWCOMER_FAILED:
        break;
    }
    return not_made(x, job->why[0] != '\0' ? job->why : "unknown", 5);
}

/* The job is under way, and comes back when it likes: only then is this over.
 */
static void too_late(struct loop_timer *timer)
{
    struct exchange_newcomer *c =
        (struct exchange_newcomer *)((char *)timer -
                                     offsetof(struct exchange_newcomer, timer));
    struct exchange *x = c->exchange;

    CHECK_MAGIC(x, EXCHANGE_MAGIC);
    if (x->connection == NULL)
        return;
    not_made(x, "the caller was not made in time", 5);
    exchange_answer_verdict(x);
    x->connection = NULL;
}

enum stage_result stage_join(struct exchange *x)
{
    struct exchange_newcomer *c = x->newcomer;

    if (c == NULL || x->caller != NULL)
        return STAGE_PASS;
    if (x->phase == JOINING) { /* the job is back */
        x->phase = READING;
        return judge(x);
    }
    if (!newcomers_ask(x->worker->shared->newcomers, &c->job))
        return not_made(x, "too many callers wait to be made", 1);
    x->phase = JOINING;
    c->timer.expired = too_late;
    loop_timer_set(x->worker->loop, &c->timer,
        loop_now(x->worker->loop) + JOIN_TIMEOUT_US);
    return STAGE_WAIT;
}

void exchange_newcomers_done(struct worker *w)
{
    struct newcomer *job = newcomers_take_done(&w->newcomers), *next;

    for (; job != NULL; job = next) {
        next = job->next;
        struct exchange_newcomer *c =
            (struct exchange_newcomer *)((char *)job -
                                         offsetof(
                                             struct exchange_newcomer, job));
        struct exchange *x = c->exchange;
        CHECK_MAGIC(x, EXCHANGE_MAGIC);
        MUST(x->phase == JOINING);
        loop_timer_clear(w->loop, &c->timer);
        if (x->connection == NULL) /* answered, or the caller has gone */
            exchange_end(x);
        else
            exchange_go_on(x);
    }
}
