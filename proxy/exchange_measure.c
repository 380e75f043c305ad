/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/exchange_measure.c - the measuring step of the reserve stage: the
 * upper bound of the input does not fit a quota, and an engine's tokeniser
 * may know that the input does.
 *
 * Only what policy has permitted gets here. request.measured is durable before
 * the engine sees a byte; the count then stands in place of the bound and the
 * stage runs again. The count is that of one engine's model, so the request
 * goes to that candidate only. Whatever goes wrong leaves the bound as it
 * was: a tokeniser can make a request fit, its failure never does. */
#include "proxy/exchange_priv.h"

#include "lib/log.h"
#include "lib/must.h"

static bool can_count(
    const struct exchange *x, const struct exchange_candidate *c, int64_t now)
{
    return c->decision.permitted &&
           tokeniser_exists(c->target->engine->kind, &x->description) &&
           (c == x->place ? pool_alive(c->live, now)
                          : pool_usable(c->live, c->target->engine, now));
}

/* The one that has a place for the request, else the one that it would go to if
 * all had a tokeniser. */
static struct exchange_candidate *choose_counting(struct exchange *x)
{
    struct exchange_candidate *best = NULL;
    int64_t now = loop_now(x->worker->loop);
    for (unsigned i = 0; i < x->candidate_count; i++) {
        struct exchange_candidate *c = &x->candidates[i];
        if (!can_count(x, c, now))
            continue;
        if (c == x->place)
            return c;
        if (best == NULL || exchange_goes_before(c, best))
            best = c;
    }
    return best;
}

bool exchange_may_measure(const struct exchange *x)
{
    int64_t now = loop_now(x->worker->loop);
    if (x->match.route->engine_path == NULL)
        return false;
    for (unsigned i = 0; i < x->candidate_count; i++) {
        if (can_count(x, &x->candidates[i], now))
            return true;
    }
    return false;
}

enum stage_result exchange_measure(struct exchange *x)
{
    x->measured = true; /* once, whatever comes of it */
    x->counting = choose_counting(x);
    MUST(x->counting != NULL); /* exchange_may_measure, in the same turn */
    if (exchange_record_measured(x)) {
        x->phase = MEASURING;
        exchange_wait(x->worker, x);
        return STAGE_WAIT;
    }
    exchange_deny(x, "reserve", 503, "api_error", "governance_unavailable",
        "The decision could not be recorded, so nothing is served. Try again "
        "later.");
    x->verdict.retry_after_s = 5;
    return STAGE_DENY;
}

/* --- Ends ---------------------------------------------------------------- */

static void stop(struct exchange *x)
{
    loop_timer_clear(x->worker->loop, &x->measure_timer);
    transfer_cancel(&x->transfer);
    buf_clear(&x->answer);
}

/* Not known: the stage runs again and says what the bound says. */
static void not_counted(struct exchange *x, const char *why)
{
    log_warn("not_measured", "request=%s engine=%s reason=\"%s\"", x->id,
        x->counting->target->engine->name, why);
    stop(x);
    exchange_go_on(x);
}

static void counted(struct exchange *x)
{
    int64_t count = x->tokeniser.count + exchange_media_tokens(x);
    stop(x);
    x->input_bound = count;
    /* Another engine's model may count more: it is not gone to. */
    for (unsigned i = 0; i < x->candidate_count; i++)
        x->candidates[i].tried = &x->candidates[i] != x->counting;
    exchange_go_on(x);
}

/* The request stays without an admission; a denial says why. */
void exchange_measure_abandon(struct exchange *x)
{
    if (x->transfer == NULL)
        return; /* its entry is on its way: ends when that is durable */
    stop(x);
    exchange_deny(x, "reserve", 499, "api_error", "client_gone",
        "The caller closed the connection while its tokens were counted.");
    exchange_refuse(x);
}

/* --- The tokeniser ------------------------------------------------------- */

static void ask(struct exchange *x);

static struct exchange *of(struct transfer_handler *handler)
{
    struct exchange *x =
        (struct exchange *)((char *)handler -
                            offsetof(struct exchange, handler));
    CHECK_MAGIC(x, EXCHANGE_MAGIC);
    MUST(x->phase == MEASURING);
    return x;
}

static void on_head(
    struct transfer_handler *handler, const struct http1_head *head)
{
    of(handler)->engine_status = head->status;
}

static void on_data(struct transfer_handler *handler, struct str bytes)
{
    struct exchange *x = of(handler);
    if (x->answer.len + bytes.len > x->answer.max ||
        !worker_hold(x->worker, bytes.len)) {
        not_counted(x, "its answer is larger than what is held here");
        return;
    }
    x->held += bytes.len;
    buf_append_str(&x->answer, bytes);
}

static void on_done(
    struct transfer_handler *handler, const struct transfer_result *result)
{
    struct exchange *x = of(handler);
    x->transfer = NULL;
    if (result->end == TRANSFER_CLOSED && result->reused &&
        !result->head_seen && !x->asked_again) {
        x->asked_again = true; /* a pooled connection that had died */
        ask(x);
        return;
    }
    if (result->end != TRANSFER_OK || x->answer.failed) {
        not_counted(
            x, result->end != TRANSFER_OK ? result->why : "out of memory");
        return;
    }
    switch (tokeniser_answer(
        &x->tokeniser, x->engine_status, buf_str(&x->answer), x->arena)) {
    case TOKENISER_ASK:
        ask(x);
        break;
    case TOKENISER_COUNTED:
        counted(x);
        break;
    case TOKENISER_FAILED:
        not_counted(x, x->tokeniser.why);
        break;
    }
}

static void on_timeout(struct loop_timer *timer)
{
    struct exchange *x =
        (struct exchange *)((char *)timer -
                            offsetof(struct exchange, measure_timer));
    CHECK_MAGIC(x, EXCHANGE_MAGIC);
    not_counted(x, "it took too long");
}

static void ask(struct exchange *x)
{
    const struct tokeniser *t = &x->tokeniser;
    struct http1_header headers[] = {
        {STR_INIT("Content-Type"), STR_INIT("application/json")},
        {STR_INIT("Accept"), STR_INIT("application/json")},
        {STR_INIT("X-Request-Id"), {x->id, ULID_LENGTH}}};
    struct transfer_request request = {.target = x->counting->target->engine,
        .method = STR("POST"),
        .path = str_from(t->path),
        .headers = headers,
        .header_count = sizeof(headers) / sizeof(headers[0]),
        .body = t->pieces,
        .body_count = t->piece_count,
        .body_length = t->length};
    x->engine_status = 0;
    buf_clear(&x->answer);
    x->handler = (struct transfer_handler){
        .head = on_head, .data = on_data, .done = on_done};
    if (transfer_start(x->worker->transfers, &request, &x->handler,
            &x->transfer) != ERR_OK)
        not_counted(x, "out of memory");
}

/* [PRX-2] holds for tokenisers, too: their engine sees the prompt. */
void exchange_measure_durable(struct exchange *x)
{
    struct worker *w = x->worker;
    MUST(x->phase == MEASURING && x->transfer == NULL);
    if (x->connection == NULL) {
        exchange_deny(x, "reserve", 499, "api_error", "client_gone",
            "The caller closed the connection before its tokens were counted.");
        exchange_refuse(x);
        return;
    }
    if (x->revoked) {
        exchange_deny(x, "reserve", 401, "authentication_error",
            "invalid_api_key",
            "The API key was revoked while the request was on its way.");
        exchange_refuse(x);
        return;
    }
    if (tokeniser_begin(&x->tokeniser, x->counting->target->engine->kind,
            &x->description, str_from(x->counting->target->upstream),
            x->arena) != TOKENISER_ASK) {
        not_counted(x, x->tokeniser.why);
        return;
    }
    x->measure_timer.expired = on_timeout;
    loop_timer_set(w->loop, &x->measure_timer,
        loop_now(w->loop) + w->settings->tokeniser_timeout_ms * 1000);
    ask(x);
}
