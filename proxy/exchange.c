/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/exchange.c - the order of a request's stages, and its ends.
 *
 * The table below is the order; there is no other way through. A stage passes,
 * waits (and something calls exchange_run again), or denies with a verdict.
 * After `identify` a denial is durable before its answer goes out. */
#include "proxy/exchange_priv.h"

#include "lib/log.h"
#include "lib/must.h"

#include <stdio.h>
#include <stdlib.h>

#define POOLED_MAX 256
#define BODY_KEPT (64u * 1024)

static const struct {
    const char *name;
    enum stage_result (*run)(struct exchange *x);
} stages[] = {
    {"route", stage_route}, {"load", stage_load}, {"identify", stage_identify},
    {"read", stage_read}, /* waits for the body */
    {"join", stage_join}, /* waits where the caller is made just in time */
    {"describe", stage_describe}, {"plan", stage_plan}, {"crowd", stage_crowd},
    {"decide", stage_decide}, {"queue", stage_queue}, /* may wait */
    {"reserve", stage_reserve},
    {"keep", stage_keep},       /* waits for content to be durable */
    {"admit", stage_admit},     /* waits until it is durable */
    {"forward", stage_forward}, /* waits for the engine; relays, settles */
};
#define STAGE_COUNT (sizeof(stages) / sizeof(stages[0]))
#define STAGE_READ 3u

/* --- Life ---------------------------------------------------------------- */

static struct exchange *take_from_pool(struct worker *w)
{
    struct exchange *x = w->pooled;
    if (x != NULL) {
        w->pooled = x->next;
        w->pooled_count--;
        return x;
    }
    x = calloc(1, sizeof(*x));
    if (x == NULL)
        return NULL;
    x->arena = arena_new(EXCHANGE_ARENA_FIRST, EXCHANGE_ARENA_MAX);
    if (x->arena == NULL) {
        free(x);
        return NULL;
    }
    buf_init(&x->body, (size_t)w->settings->max_body_bytes);
    buf_init(&x->answer, (size_t)w->settings->max_answer_bytes);
    return x;
}

static void free_exchange(struct exchange *x)
{
    arena_free(&x->arena);
    buf_fini(&x->body);
    buf_fini(&x->answer);
    free(x);
}

/* A small buffer is kept for the next request, a large one is not. */
static void tidy(struct buf *b)
{
    size_t max = b->max;
    buf_clear(b);
    if (b->cap > BODY_KEPT) {
        buf_fini(b);
        buf_init(b, max);
    }
}

static void give_to_pool(struct worker *w, struct exchange *x)
{
    struct arena *arena = x->arena;
    tidy(&x->body);
    tidy(&x->answer);
    struct buf body = x->body, answer = x->answer;
    arena_reset(arena);
    if (w->pooled_count >= POOLED_MAX) {
        free_exchange(x);
        return;
    }
    memset(x, 0, sizeof(*x));
    x->arena = arena;
    x->body = body;
    x->answer = answer;
    x->next = w->pooled;
    w->pooled = x;
    w->pooled_count++;
}

void exchange_end(struct exchange *x)
{
    struct worker *w = x->worker;
    CHECK_MAGIC(x, EXCHANGE_MAGIC);
    exchange_place_leave(x);
    if (x->content != NULL && exchange_content_ends(x))
        return;         /* again when the answer is durable */
    MUST(!x->reserved); /* [PRX-1] every reservation is settled or cancelled */
    transfer_cancel(&x->transfer);
    dialect_stream_free(&x->stream);
    crypto_mac_free(&x->relayed);
    loop_timer_clear(w->loop, &x->slow_timer);
    exchange_content_free(x);
    x->phase = ENDED;
    x->magic = 0;
    worker_release(w, x->held);
    metrics_add(&w->metrics, METRIC_REQUESTS_RUNNING, -1);
    metrics_observe(&w->metrics.request, loop_now(w->loop) - x->started_us);
    if (x->previous != NULL)
        x->previous->next = x->next;
    else
        w->exchanges = x->next;
    if (x->next != NULL)
        x->next->previous = x->previous;
    snapshot_unref(&x->snapshot);
    identity_certificate_unref(&x->certificate);
    give_to_pool(w, x);
}

void exchange_pool_free(struct worker *w)
{
    while (w->pooled != NULL) {
        struct exchange *x = w->pooled;
        w->pooled = x->next;
        free_exchange(x);
    }
}

/* --- Verdicts ------------------------------------------------------------ */

enum stage_result exchange_deny(struct exchange *x, const char *stage,
    int status, const char *type, const char *code, const char *format, ...)
{
    char text[2048];
    /* Once per request, whatever was said before; an overload, an engine that
     * is away or a stop is not this. */
    bool ungoverned =
        strcmp(code, "governance_unavailable") == 0 &&
        (x->verdict.code == NULL || strcmp(x->verdict.code, code) != 0);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    x->verdict = (struct verdict){.status = status,
        .type = type,
        .code = code,
        .stage = stage,
        .retry_after_s = -1};
    x->verdict.message = arena_copy(x->arena, str_from(text));
    if (x->verdict.message.ptr == NULL)
        x->verdict.message = STR("out of memory");
    if (ungoverned)
        metrics_add(&x->worker->metrics, METRIC_GOVERNANCE_UNAVAILABLE, 1);
    return STAGE_DENY;
}

static int64_t its_delay(struct exchange *x)
{
    struct worker *w = x->worker;
    return visitors_delay(w->visitors, connection_peer(x->connection),
        w->settings->refusals_per_minute, loop_wall(w->loop));
}

static void answer_late(struct loop_timer *timer)
{
    struct exchange *x =
        (struct exchange *)((char *)timer -
                            offsetof(struct exchange, slow_timer));
    CHECK_MAGIC(x, EXCHANGE_MAGIC);
    exchange_answer_verdict(x);
    exchange_end(x);
}

/* The answer is no. Known callers' denials are on record first. */
static void denied(struct exchange *x)
{
    exchange_place_leave(x);
    if (x->verdict.status == 0)
        exchange_deny(x, stages[x->stage].name, 500, "api_error",
            "internal_error",
            "The request was refused without a reason; "
            "please report this with the request id.");
    if (x->caller == NULL || x->counted) {
        int64_t wait = x->verdict.status == 401 ? its_delay(x) : 0;
        if (wait > 0) {
            x->phase = SLOWED;
            x->slow_timer.expired = answer_late;
            loop_timer_set(x->worker->loop, &x->slow_timer,
                loop_now(x->worker->loop) + wait);
            return;
        }
        exchange_answer_verdict(x);
        exchange_end(x);
        return;
    }
    metrics_add(&x->worker->metrics, METRIC_DENIED, 1);
    if (exchange_record_denied(x)) {
        x->phase = DENYING;
        exchange_wait(x->worker, x);
        return;
    }
    /* Not on record: the refusal stands, but what is said is that. */
    exchange_deny(x, "admit", 503, "api_error", "governance_unavailable",
        "The decision could not be recorded, so nothing is served. Try again "
        "later.");
    x->verdict.retry_after_s = 5;
    exchange_answer_verdict(x);
    exchange_end(x);
}

static void exchange_run(struct exchange *x)
{
    while (x->stage < STAGE_COUNT) {
        switch (stages[x->stage].run(x)) {
        case STAGE_PASS:
            x->stage++;
            break;
        case STAGE_WAIT:
            return;
        case STAGE_DENY:
            denied(x);
            return;
        }
    }
}

void exchange_go_on(struct exchange *x)
{
    exchange_run(x);
}

void exchange_refuse(struct exchange *x)
{
    denied(x);
}

/* --- From the connection ------------------------------------------------- */

static struct str keep(struct exchange *x, const struct http1_head *head,
    struct str name, size_t max)
{
    const struct http1_header *header = http1_find(head, name);
    if (header == NULL)
        return STR("");
    struct str value = header->value;
    if (value.len > max)
        value.len = max;
    return arena_copy(x->arena, value);
}

/* Bearer of Authorization, x-api-key, api-key: every one that was sent. */
static void collect_credentials(
    struct exchange *x, const struct http1_head *head)
{
    for (unsigned i = 0; i < head->header_count; i++) {
        const struct http1_header *h = &head->headers[i];
        struct str value = h->value;
        if (str_equal_nocase(h->name, STR("authorization"))) {
            struct str scheme, rest;
            str_split(value, ' ', &scheme, &rest);
            if (!str_equal_nocase(scheme, STR("bearer")))
                rest = STR(""); /* another scheme: a credential of no use */
            value = str_trim(rest);
        } else if (!str_equal_nocase(h->name, STR("x-api-key")) &&
                   !str_equal_nocase(h->name, STR("api-key"))) {
            continue;
        }
        if (x->credential_count < 3)
            x->credentials[x->credential_count] = arena_copy(x->arena, value);
        x->credential_count++;
    }
}

static void collect_end_user(struct exchange *x, const struct http1_head *head)
{
    for (unsigned i = 0; i < head->header_count; i++) {
        const struct http1_header *h = &head->headers[i];
        if (!str_equal_nocase(h->name, STR("x-bailiff-end-user")))
            continue;
        if (x->end_user_count++ == 0)
            x->end_user_said = arena_copy(x->arena, h->value);
    }
}

/* W3C Trace Context: 00-<32 hex>-<16 hex>-<2 hex>, not all zero. */
static void take_trace(struct exchange *x, const struct http1_head *head)
{
    const struct http1_header *h = http1_find(head, STR("traceparent"));
    uint8_t id[16];
    size_t length = 0;
    bool given = false;
    if (h != NULL && h->value.len >= 55 && h->value.ptr[2] == '-' &&
        h->value.ptr[35] == '-' &&
        hex_decode(str_make(h->value.ptr + 3, 32), id, sizeof(id), &length) ==
            ERR_OK) {
        for (size_t i = 0; i < sizeof(id); i++)
            given = given || id[i] != 0;
    }
    if (!given)
        crypto_random_id(id, sizeof(id));
    hex_write(x->trace_id, id, sizeof(id));
}

static void begin_fields(struct exchange *x, const struct http1_head *head)
{
    x->method = arena_copy(x->arena, head->method);
    x->path = arena_copy(x->arena, head->path);
    x->user_agent = keep(x, head, STR("user-agent"), 512);
    x->content_type = keep(x, head, STR("content-type"), 256);
    const struct http1_header *coding =
        http1_find(head, STR("content-encoding"));
    x->content_coded =
        coding != NULL && !str_equal_nocase(coding->value, STR("identity"));
    x->announced = head->content_length;
    collect_credentials(x, head);
    collect_end_user(x, head);
    take_trace(x, head);
}

enum exchange_wants exchange_begin(
    struct connection *connection, const struct http1_head *head)
{
    struct worker *w = connection_worker(connection);
    struct exchange *x = take_from_pool(w);
    if (x == NULL) {
        metrics_add(&w->metrics, METRIC_OUT_OF_MEMORY, 1);
        connection_abort(connection);
        return EXCHANGE_RUNS;
    }
    x->magic = EXCHANGE_MAGIC;
    x->worker = w;
    x->connection = connection;
    x->phase = READING;
    x->stage = 0;
    x->snapshot = snapshot_ref(w->snapshot);
    x->started_us = loop_now(w->loop);
    x->wall_us = loop_wall(w->loop);
    x->durable_us = x->first_byte_us = -1;
    x->cap = -1;
    uint8_t random[10];
    crypto_random_id(random, sizeof(random));
    ulid_write(x->id, x->wall_us, random);
    x->id[ULID_LENGTH] = '\0';
    x->next = w->exchanges;
    x->previous = NULL;
    if (w->exchanges != NULL)
        w->exchanges->previous = x;
    w->exchanges = x;
    metrics_add(&w->metrics, METRIC_REQUESTS_RUNNING, 1);
    connection_attach(connection, x);
    begin_fields(x, head);
    exchange_run(x);
    /* x may be gone; it waits for a body only if it stands at that stage. */
    return connection_exchange(connection) == x && x->phase == READING
               ? EXCHANGE_WANTS_BODY
               : EXCHANGE_RUNS;
}

bool exchange_body(struct exchange *x, struct str bytes)
{
    struct worker *w = x->worker;
    if (x->phase != READING)
        return false; /* refused already; the rest is dropped */
    if (x->body.len + bytes.len > x->body.max) {
        exchange_deny(x, "read", 413, "invalid_request_error",
            "request_too_large",
            "The request's body is larger than the %lld bytes allowed here.",
            (long long)w->settings->max_body_bytes);
        x->verdict.never_retry = true;
        denied(x);
        return false;
    }
    if (!worker_hold(w, bytes.len)) {
        exchange_deny(x, "read", 503, "api_error", "overloaded",
            "Too many bytes are being held for other requests. Try again "
            "later.");
        x->verdict.retry_after_s = 1;
        denied(x);
        return false;
    }
    x->held += bytes.len;
    if (x->body.cap == 0 && x->announced > 0 && x->announced <= x->body.max)
        (void)buf_reserve(&x->body, (size_t)x->announced);
    buf_append(&x->body, bytes.ptr, bytes.len);
    return true;
}

void exchange_body_end(struct exchange *x)
{
    if (x->phase != READING)
        return;
    MUST(x->stage == STAGE_READ);
    x->stage++;
    exchange_run(x);
}

void exchange_body_failed(struct exchange *x, int status, const char *why)
{
    if (x->phase != READING)
        return;
    exchange_deny(x, "read", status, "invalid_request_error",
        status == 408 ? "request_timeout" : "bad_request", "%s.", why);
    x->verdict.close = true;
    denied(x);
}

void exchange_client_gone(struct exchange *x)
{
    CHECK_MAGIC(x, EXCHANGE_MAGIC);
    x->connection = NULL;
    switch (x->phase) {
    case READING:
    case SLOWED:
        exchange_end(x);
        break;
    case QUEUED:
        exchange_queue_gone(x);
        break;
    case MEASURING:
        exchange_measure_abandon(x);
        break;
    case JOINING:   /* ends when its job is back */
    case KEEPING:   /* admitted when that is over, and withdrawn */
    case ADMITTING: /* its entry is on its way: withdrawn when durable */
    case DENYING:
    case KEEPING_ANSWER:
        break;
    case FORWARDING:
        exchange_abandon(x);
        break;
    case ENDED:
        break;
    }
}

/* --- From the journal ---------------------------------------------------- */

void exchange_wait(struct worker *w, struct exchange *x)
{
    x->next_waiting = NULL;
    if (w->waiting_last != NULL)
        w->waiting_last->next_waiting = x;
    else
        w->waiting_first = x;
    w->waiting_last = x;
}

struct exchange *exchange_take_waiting(struct worker *w)
{
    struct exchange *x = w->waiting_first;
    w->waiting_first = x->next_waiting;
    if (w->waiting_first == NULL)
        w->waiting_last = NULL;
    return x;
}

uint64_t exchange_ticket(const struct exchange *x)
{
    return x->ticket;
}

struct exchange *exchange_next(const struct exchange *x)
{
    return x->next;
}

static void refuse_admitted(struct exchange *x, const char *reason, int status,
    const char *type, const char *code, const char *message)
{
    exchange_withdraw(x, reason);
    if (x->connection != NULL) {
        exchange_deny(x, "admit", status, type, code, "%s", message);
        if (status == 503)
            x->verdict.retry_after_s = 1;
        exchange_answer_verdict(x);
    }
    exchange_end(x);
}

/* [PRX-2] Nothing reaches an engine before this has been called for it. */
void exchange_durable(struct exchange *x)
{
    struct worker *w = x->worker;
    int64_t now = loop_now(w->loop);
    CHECK_MAGIC(x, EXCHANGE_MAGIC);
    if (x->phase == DENYING) {
        if (x->connection != NULL)
            exchange_answer_verdict(x);
        exchange_end(x);
        return;
    }
    if (x->phase == MEASURING) {
        exchange_measure_durable(x);
        return;
    }
    MUST(x->phase == ADMITTING);
    x->durable_us = now - x->started_us;
    metrics_observe(&w->metrics.durable, now - x->appended_us);
    if (x->connection == NULL) {
        refuse_admitted(x, "client_gone", 0, "", "", "");
    } else if (x->revoked) {
        refuse_admitted(x, "revoked", 401, "authentication_error",
            "invalid_api_key",
            "The API key was revoked while the request was on its way.");
    } else if (now - x->appended_us > w->settings->admit_timeout_ms * 1000) {
        refuse_admitted(x, "deadline", 503, "api_error",
            "governance_unavailable",
            "The decision was recorded too late, so the request was not "
            "served. Try again later.");
    } else {
        x->phase = FORWARDING;
        x->stage++;
        exchange_run(x);
    }
}

void exchange_journal_failed(struct exchange *x)
{
    /* No entry can follow; the process is about to end. The reservation is
     * given back in memory only, and replay charges what was recorded. */
    if (x->reserved)
        quota_cancel(x->worker->shared->ledger, loop_wall(x->worker->loop),
            x->claims, x->claim_count);
    x->reserved = false;
    if (x->connection != NULL) {
        exchange_deny(x, "admit", 503, "api_error", "governance_unavailable",
            "The decision could not be recorded, so nothing is served. Try "
            "again later.");
        x->verdict.retry_after_s = 5;
        exchange_answer_verdict(x);
    }
    exchange_end(x);
}

/* --- From the worker ----------------------------------------------------- */

/* The token's issuer is still believed, its caller still welcome. */
static bool token_stands(const struct exchange *x)
{
    const struct snapshot *now = x->worker->snapshot;
    const struct snapshot_issuer *issuer =
        snapshot_find_issuer(now, str_from(x->token->issuer->issuer));
    const struct snapshot_caller *caller =
        snapshot_find_caller(now, str_from(x->caller->id));
    return issuer != NULL && issuer->for_callers &&
           strcmp(issuer->name, x->token->issuer->name) == 0 &&
           identity_client_stands(x->token, issuer) && caller != NULL &&
           strcmp(caller->id, x->caller->id) == 0 && !caller->disabled;
}

/* A new snapshot is in force: who was revoked or disabled is cut off. */
/* Limits that were set while the request runs. */
static bool limits_hold(
    const struct exchange *x, const struct snapshot_key *key)
{
    return (x->connection == NULL || snapshot_key_allows_address(key,
                                         connection_peer(x->connection))) &&
           (x->match.route == NULL || snapshot_key_allows_route(key,
                                          str_from(x->match.route->path))) &&
           (x->model == NULL ||
               snapshot_key_allows_model(key, str_from(x->model->name)));
}

void exchange_recheck(struct exchange *x)
{
    if (x->key == NULL)
        return;
    bool held = (x->certificate == NULL || exchange_certificate_stands(x)) &&
                exchange_end_user_stands(x);
    if (x->by_certificate) {
        if (held)
            return;
    } else if (x->token != NULL) {
        if (held && token_stands(x))
            return;
    } else {
        const struct snapshot_key *key =
            snapshot_find_key(x->worker->snapshot, x->key->hash);
        if (held && key != NULL && !key->revoked && !key->caller->disabled &&
            limits_hold(x, key))
            return;
    }
    x->revoked = true;
    if (x->phase == QUEUED)
        exchange_queue_revoked(x);
    else if (x->phase == FORWARDING)
        exchange_cut(x, "revoked",
            !held || x->by_certificate
                ? "The client certificate or the end user's issuer is not "
                  "believed any more, or the caller was disabled."
            : x->token
                ? "The token's issuer was removed or its caller disabled."
                : "The API key was revoked or limited, or its caller "
                  "disabled.");
}

void exchange_shutdown(struct exchange *x)
{
    switch (x->phase) {
    case FORWARDING:
        exchange_cut(x, "shutdown", "The server is shutting down.");
        break;
    case READING:
    case SLOWED:
        if (x->connection != NULL)
            connection_abort(x->connection);
        x->connection = NULL;
        exchange_end(x);
        break;
    case QUEUED:
        if (x->connection != NULL)
            connection_abort(x->connection);
        x->connection = NULL;
        exchange_queue_gone(x);
        break;
    case MEASURING:
        if (x->connection != NULL)
            connection_abort(x->connection);
        x->connection = NULL;
        exchange_measure_abandon(x);
        break;
    case JOINING:
    case KEEPING:
    case ADMITTING:
    case DENYING:
        if (x->connection != NULL)
            connection_abort(x->connection);
        x->connection = NULL; /* ends when its entry is durable */
        break;
    case KEEPING_ANSWER:
    case ENDED:
        break;
    }
}
