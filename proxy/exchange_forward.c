/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/exchange_forward.c - the last stage: attempts at engines, relaying of
 * the answer under backpressure, and every way in which it can end.
 *
 * Failover happens among permitted candidates and before the first byte only.
 * A transfer that ends badly before that is an attempt on record; the caller
 * pays once, for what came of the last one. */
#include "proxy/exchange_priv.h"

#include "lib/log.h"
#include "lib/must.h"

#include <stdio.h>

#define ERROR_BODY_MAX (64u * 1024)
/* What an engine may have made beyond what was read when a caller hung up. */
#define UNSEEN_TOKENS 64
/* Pieces of text that may not be tokens: marks around calls, a last rest. */
#define LOOSE_PIECES 16

static void try_next(struct exchange *x);

/* --- Ends ---------------------------------------------------------------- */

static int64_t reserved_output(const struct exchange *x)
{
    return x->cap > 0 ? x->cap * x->answers : 0;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The figures of an answer that ended: the engine's own where it gave them,
 * else our safe count (no token has fewer bytes than one). */
static void measure(const struct exchange *x, const struct dialect_usage *usage,
    int64_t counted_output, struct settlement *s)
{
    s->cached = s->reasoning = -1;
    if (usage != NULL && usage->present) {
        s->input = usage->input;
        s->output = usage->output;
        s->cached = usage->cached;
        s->reasoning = usage->reasoning;
        s->source = "engine";
        return;
    }
    s->input = x->input_bound;
    s->output = least(counted_output, reserved_output(x));
    s->source = "counted";
}

/* After a hang-up or a cut nobody knows what the engine made meanwhile. */
static void measure_unfinished(const struct exchange *x, struct settlement *s)
{
    s->cached = s->reasoning = -1;
    s->input = x->input_bound;
    s->source = "reserved";
    s->output = reserved_output(x);
    if (x->stream != NULL && !x->paused) {
        s->output = least(
            s->output, dialect_stream_delta_bytes(x->stream) + UNSEEN_TOKENS);
        s->source = "counted";
    }
}

static void stop_engine(struct exchange *x)
{
    if (x->transfer == NULL)
        return;
    transfer_cancel(&x->transfer);
    exchange_place_free(x, x->current, true);
}

void exchange_abandon(struct exchange *x)
{
    struct settlement s = {.outcome = "client_gone",
        .reason = "the caller closed the connection",
        .status = x->head_sent ? 200 : 0,
        .served = true};
    stop_engine(x);
    measure_unfinished(x, &s);
    exchange_settle(x, &s);
    exchange_end(x);
}

/* A stream that has begun ends with the dialect's own error event, in proper
 * framing; a whole answer has not begun and becomes an error. */
static void end_in_error(struct exchange *x, int status, const char *type,
    const char *code, const char *message)
{
    struct connection *connection = x->connection;
    if (connection == NULL)
        return;
    if (!x->head_sent) {
        exchange_deny(x, "forward", status, type, code, "%s", message);
        if (status >= 500)
            x->verdict.retry_after_s = 2;
        exchange_answer_verdict(x);
        return;
    }
    struct dialect_error error = {.status = status,
        .type = type,
        .code = code,
        .message = str_from(message)};
    struct buf event;
    struct buf *wire = &x->worker->wire;
    bool chunked = !connection_is_http10(connection);
    buf_init(&event, 64 * 1024);
    dialect_stream_error(x->stream, &error, &event);
    buf_clear(wire);
    if (chunked)
        http1_chunk_begin(wire, event.len);
    buf_append_str(wire, buf_str(&event));
    if (chunked) {
        http1_chunk_end(wire);
        http1_chunk_last(wire);
    }
    x->connection = NULL;
    connection_write(connection, wire->ptr, wire->len);
    connection_finish(connection, chunked);
    buf_fini(&event);
}

void exchange_cut(struct exchange *x, const char *reason, const char *message)
{
    struct settlement s = {.outcome = "cut",
        .reason = reason,
        .status = x->head_sent ? 200 : 403,
        .served = true};
    bool shutdown = strcmp(reason, "shutdown") == 0;
    stop_engine(x);
    measure_unfinished(x, &s);
    if (shutdown && !x->head_sent)
        s.status = 503;
    exchange_settle(x, &s);
    if (shutdown)
        end_in_error(x, 503, "api_error", "shutting_down", message);
    else
        end_in_error(x, 403, "permission_error", reason, message);
    exchange_end(x);
}

/* The engine failed for good. */
static void end_engine_error(struct exchange *x, int status, const char *code,
    bool reached, const char *message)
{
    struct settlement s = {.outcome = "engine_error",
        .reason = message,
        .status = x->head_sent ? 200 : status,
        .input = -1,
        .output = -1,
        .cached = -1,
        .reasoning = -1,
        .source = "none",
        .served = reached};
    if (x->stream != NULL) {
        const struct dialect_usage *usage = dialect_stream_usage(x->stream);
        measure(x, usage, dialect_stream_delta_bytes(x->stream) + UNSEEN_TOKENS,
            &s);
    } else if (reached && status == 504) {
        measure_unfinished(x, &s); /* it may still be at work */
    }
    exchange_settle(x, &s);
    end_in_error(x, status, "api_error", code, message);
    exchange_end(x);
}

/* --- Relaying ------------------------------------------------------------ */

static void first_byte(struct exchange *x)
{
    if (x->first_byte_us < 0)
        x->first_byte_us = loop_now(x->worker->loop) - x->started_us;
}

/* Sends relay bytes of a stream, with the head before the first of them. */
static void send_stream(struct exchange *x, struct str bytes, bool last)
{
    struct connection *connection = x->connection;
    struct buf *wire = &x->worker->wire;
    bool chunked = !connection_is_http10(connection);
    buf_clear(wire);
    if (!x->head_sent) {
        exchange_write_head(x, wire, 200, STR("text/event-stream"),
            chunked ? FRAMING_CHUNKED : FRAMING_CLOSE, 0,
            chunked && connection_keeps_alive(connection));
        x->head_sent = true;
        first_byte(x);
    }
    if (bytes.len > 0) {
        if (chunked)
            http1_chunk_begin(wire, bytes.len);
        buf_append_str(wire, bytes);
        if (chunked)
            http1_chunk_end(wire);
        x->bytes_out += (int64_t)bytes.len;
        if (x->relayed != NULL)
            crypto_mac_update(x->relayed, bytes.ptr, bytes.len);
    }
    if (last && chunked)
        http1_chunk_last(wire);
    connection_write(connection, wire->ptr, wire->len);
}

/* Has the engine made more than it was told to, and than was reserved? A piece
 * of text is a token at least. */
static bool passes_reservation(const struct exchange *x)
{
    const struct dialect_usage *usage = dialect_stream_usage(x->stream);
    int64_t reserved = reserved_output(x);
    return x->cap > 0 &&
           dialect_stream_state(x->stream) == DIALECT_STREAM_OPEN &&
           ((usage->present && usage->output > reserved) ||
               dialect_stream_deltas(x->stream) >
                   reserved + LOOSE_PIECES * x->answers);
}

/* Nothing more is paid for, so nothing more is relayed. */
static void cut_at_reservation(struct exchange *x)
{
    static const char words[] =
        "the engine went on past the tokens that it was allowed";
    struct settlement s = {.outcome = "cut",
        .reason = "over_reservation",
        .status = x->head_sent ? 200 : 502,
        .served = true};
    log_warn("over_reservation", "request=%s engine=%s reserved=%lld", x->id,
        x->current->target->engine->name, (long long)reserved_output(x));
    metrics_add(&x->worker->metrics, METRIC_OVER_RESERVATION, 1);
    stop_engine(x);
    measure_unfinished(x, &s);
    s.output = reserved_output(x);
    exchange_settle(x, &s);
    end_in_error(x, 502, "api_error", "over_reservation", words);
    exchange_end(x);
}

static void relay_stream(struct exchange *x, struct str bytes)
{
    struct buf *relay = &x->answer;
    if (x->key->expires_us != 0 &&
        loop_wall(x->worker->loop) >= x->key->expires_us) {
        exchange_cut(x, "expired",
            x->by_certificate ? "The client certificate has expired."
            : x->token        ? "The token has expired."
                              : "The API key has expired.");
        return;
    }
    buf_clear(relay);
    enum err err = dialect_stream_feed(x->stream, bytes, relay);
    if (err != ERR_OK || relay->failed) {
        stop_engine(x);
        end_engine_error(x, 502, "upstream_unavailable", true,
            "the engine's stream is not one of events");
        return;
    }
    if (passes_reservation(x)) {
        cut_at_reservation(x);
        return;
    }
    if (relay->len == 0)
        return;
    if (x->content != NULL && !exchange_content_relay(x, buf_str(relay))) {
        exchange_cut(x, "not_kept",
            "The answer is longer than what can be kept of it, as a rule "
            "demands.");
        return;
    }
    send_stream(x, buf_str(relay), false);
    if (connection_backlog(x->connection) > CONNECTION_HIGH_WATER &&
        x->transfer != NULL) {
        x->paused = true;
        transfer_pause(x->transfer);
    }
}

void exchange_writable(struct exchange *x)
{
    if (x->phase == FORWARDING && x->paused && x->transfer != NULL) {
        x->paused = false;
        transfer_resume(x->transfer);
    }
}

static void finish_stream(struct exchange *x)
{
    struct settlement s = {
        .outcome = "ok", .reason = "", .status = 200, .served = true};
    measure(x, dialect_stream_usage(x->stream),
        dialect_stream_delta_bytes(x->stream), &s);
    if (dialect_stream_state(x->stream) == DIALECT_STREAM_FAILED) {
        s.outcome = "engine_error";
        s.reason = "the engine ended its stream with an error";
    }
    struct connection *connection = x->connection;
    bool keep =
        !connection_is_http10(connection) && connection_keeps_alive(connection);
    send_stream(x, STR(""), true);
    x->connection = NULL;
    connection_finish(connection, keep);
    exchange_settle(x, &s);
    exchange_end(x);
}

static void finish_whole(struct exchange *x)
{
    struct settlement s = {
        .outcome = "ok", .reason = "", .status = 200, .served = true};
    struct dialect_usage usage = {0};
    if (dialect_usage_json(
            x->match.route, buf_str(&x->answer), x->arena, &usage) != ERR_OK)
        usage.present = false;
    measure(x, &usage, (int64_t)x->answer.len, &s);
    if (usage.present && x->cap > 0 && usage.output > reserved_output(x))
        metrics_add(&x->worker->metrics, METRIC_OVER_RESERVATION, 1);
    first_byte(x);
    x->bytes_out = (int64_t)x->answer.len;
    exchange_answer_whole(x, 200, x->answer_type, buf_str(&x->answer));
    exchange_settle(x, &s);
    exchange_end(x);
}

/* --- What the engine said instead ---------------------------------------- */

/* error.message (or error, or message) of the engine's JSON, cut to a line. */
static struct str engine_message(struct exchange *x)
{
    struct json json;
    struct str text = STR("");
    if (json_parse(x->arena, buf_str(&x->answer), NULL, &json, NULL) !=
            ERR_OK ||
        json_type(&json, 0) != JSON_OBJECT)
        return text;
    uint32_t at = json_find(&json, 0, STR("error"));
    if (at != JSON_NONE && json_type(&json, at) == JSON_OBJECT)
        at = json_find(&json, at, STR("message"));
    else if (at == JSON_NONE)
        at = json_find(&json, 0, STR("message"));
    if (at == JSON_NONE || json_text(&json, at, x->arena, &text) != ERR_OK)
        return STR("");
    if (text.len > 400)
        text.len = 400;
    while (text.len > 0 && !str_is_utf8(text))
        text.len--;
    return text;
}

/* 4xx about the request itself go to the caller with the engine's words;
 * everything else is our trouble, not the caller's. */
static void end_refused(struct exchange *x)
{
    int status = x->engine_status;
    const char *name = x->current->target->engine->name;
    struct str words = engine_message(x);
    char message[640];
    bool callers =
        status == 400 || status == 404 || status == 413 || status == 422;
    snprintf(message, sizeof(message), "engine %s answered %d%s%.*s", name,
        status, words.len > 0 ? ": " : "", STR_ARG(words));
    if (!callers) {
        int ours = status == 429 || status == 503 ? 503 : 502;
        end_engine_error(x, ours, "upstream_unavailable", true, message);
        return;
    }
    struct settlement s = {.outcome = "engine_error",
        .reason = message,
        .status = status == 404 ? 400 : status,
        .cached = -1,
        .reasoning = -1,
        .source = "none",
        .served = true};
    exchange_settle(x, &s);
    end_in_error(
        x, s.status, "invalid_request_error", "engine_refused", message);
    exchange_end(x);
}

/* --- The transfer's callbacks -------------------------------------------- */

static struct exchange *of(struct transfer_handler *handler)
{
    struct exchange *x =
        (struct exchange *)((char *)handler -
                            offsetof(struct exchange, handler));
    CHECK_MAGIC(x, EXCHANGE_MAGIC);
    return x;
}

/* The digest key of now is the answer's, though another may come meanwhile. */
static bool begin_stream(struct exchange *x)
{
    struct worker *w = x->worker;
    if (w->digest != NULL && x->relayed == NULL) {
        x->relayed_key = arena_copy(x->arena, str_from(w->digest_name));
        x->relayed = crypto_mac_copy(w->digest);
        if (x->relayed == NULL || x->relayed_key.ptr == NULL)
            return false;
    }
    return dialect_stream_new(x->match.route, !x->description.usage_asked,
               &x->stream) == ERR_OK;
}

static void on_head(
    struct transfer_handler *handler, const struct http1_head *head)
{
    struct exchange *x = of(handler);
    const struct http1_header *type = http1_find(head, STR("content-type"));
    x->engine_status = head->status;
    x->relay = RELAY_ERROR;
    if (head->status < 200 || head->status > 299)
        return;
    if (x->description.stream && type != NULL &&
        str_starts(type->value, STR("text/event-stream"))) {
        if (begin_stream(x))
            x->relay = RELAY_STREAM;
        return;
    }
    x->relay = RELAY_WHOLE;
    x->answer_type = STR("application/json");
    if (type != NULL && !str_starts(type->value, STR("application/json"))) {
        x->answer_type = arena_copy(x->arena, type->value);
        if (x->answer_type.ptr == NULL)
            x->answer_type = STR("application/octet-stream");
    }
}

static void on_data(struct transfer_handler *handler, struct str bytes)
{
    struct exchange *x = of(handler);
    switch (x->relay) {
    case RELAY_NONE:
        break;
    case RELAY_STREAM:
        relay_stream(x, bytes);
        break;
    case RELAY_WHOLE:
        if (x->answer.len + bytes.len > x->answer.max ||
            !worker_hold(x->worker, bytes.len)) {
            stop_engine(x);
            end_engine_error(x, 502, "answer_too_large", true,
                "the engine's answer is larger than what is held here");
            return;
        }
        x->held += bytes.len;
        buf_append_str(&x->answer, bytes);
        break;
    case RELAY_ERROR:
        if (x->answer.len + bytes.len <= ERROR_BODY_MAX)
            buf_append_str(&x->answer, bytes);
        break;
    }
}

/* May another candidate (or the same one on a fresh connection) be tried? */
static bool may_retry(
    const struct exchange *x, const struct transfer_result *result)
{
    if (x->head_sent || x->attempts >= EXCHANGE_ATTEMPTS)
        return false;
    if (result->head_seen)
        return x->relay == RELAY_ERROR &&
               (x->engine_status == 429 || x->engine_status == 502 ||
                   x->engine_status == 503 || x->engine_status == 504);
    switch (result->end) {
    case TRANSFER_UNREACHABLE:
    case TRANSFER_CLOSED:
        return true;
    case TRANSFER_TIMEOUT:
        return !result->sent;
    case TRANSFER_OK:
    case TRANSFER_BAD_ANSWER:
    case TRANSFER_NOMEM:
        break;
    }
    return false;
}

bool exchange_goes_before(
    const struct exchange_candidate *a, const struct exchange_candidate *b)
{
    if (a->target->priority != b->target->priority)
        return a->target->priority < b->target->priority;
    return pool_load(a->live, a->target->engine) <
           pool_load(b->live, b->target->engine);
}

static struct exchange_candidate *choose(struct exchange *x)
{
    struct exchange_candidate *best = NULL;
    int64_t now = loop_now(x->worker->loop);
    for (unsigned i = 0; i < x->candidate_count; i++) {
        struct exchange_candidate *c = &x->candidates[i];
        if (!c->decision.permitted || c->tried ||
            !pool_usable(c->live, c->target->engine, now))
            continue;
        if (best == NULL || exchange_goes_before(c, best))
            best = c;
    }
    return best;
}

static void on_done(
    struct transfer_handler *handler, const struct transfer_result *result)
{
    struct exchange *x = of(handler);
    bool whole = result->end == TRANSFER_OK;
    /* A pooled connection that had died says nothing of the engine. */
    bool stale =
        result->reused && result->end == TRANSFER_CLOSED && !result->head_seen;
    bool good =
        stale || (whole && x->engine_status < 500 && x->engine_status != 429);
    char message[512];
    bool again = may_retry(x, result);
    x->transfer = NULL;
    x->fresh = stale;
    if (again && stale) { /* the same one, which keeps its place */
        x->current->tried = false;
        x->place = x->current;
    } else {
        exchange_place_free(x, x->current, good);
    }
    if (again && (x->place != NULL || choose(x) != NULL)) {
        exchange_record_attempt(x, x->engine_status,
            result->head_seen ? STR("status") : str_from(result->why));
        try_next(x);
        return;
    }
    if (whole && x->relay == RELAY_WHOLE) {
        finish_whole(x);
    } else if (whole && x->relay == RELAY_STREAM &&
               dialect_stream_state(x->stream) != DIALECT_STREAM_OPEN) {
        finish_stream(x);
    } else if (whole && x->relay == RELAY_ERROR) {
        end_refused(x);
    } else {
        bool timeout = result->end == TRANSFER_TIMEOUT;
        snprintf(message, sizeof(message), "engine %s: %s",
            x->current->target->engine->name,
            whole ? "its stream ended before its end" : result->why);
        end_engine_error(x, timeout && result->sent ? 504 : 502,
            "upstream_unavailable", result->sent, message);
    }
}

/* --- forward ------------------------------------------------------------- */

/* Only these reach the engine: everything else of the caller's head stays. */
static size_t engine_headers(struct exchange *x, struct http1_header out[4])
{
    uint8_t span[8];
    char *trace = arena_alloc(x->arena, 56);
    size_t count = 0;
    out[count++] = (struct http1_header){
        STR_INIT("Content-Type"), STR_INIT("application/json")};
    out[count++] = (struct http1_header){
        STR_INIT("Accept"), x->description.stream ? STR("text/event-stream")
                                                  : STR("application/json")};
    out[count++] =
        (struct http1_header){STR_INIT("X-Request-Id"), {x->id, ULID_LENGTH}};
    if (trace != NULL) {
        crypto_random_id(span, sizeof(span));
        memcpy(trace, "00-", 3);
        memcpy(trace + 3, x->trace_id, 32);
        trace[35] = '-';
        hex_write(trace + 36, span, sizeof(span));
        memcpy(trace + 52, "-01", 3);
        out[count++] =
            (struct http1_header){STR_INIT("traceparent"), {trace, 55}};
    }
    return count;
}

/* Starts the attempt; false: out of memory. */
static bool start_attempt(struct exchange *x, struct exchange_candidate *c)
{
    const struct engine_target *engine = c->target->engine;
    const struct policy_obligations *obligations = &c->decision.obligations;
    struct dialect_target target = {.kind = engine->kind,
        .model = str_from(c->target->upstream),
        .cap = x->cap,
        .force_usage = true};
    const struct dialect_splice *splices;
    size_t splice_count, piece_count;
    struct iovec *pieces;
    struct http1_header headers[4];
    if (obligations->max_tokens >= 0 && obligations->max_tokens < target.cap)
        target.cap = obligations->max_tokens;
    struct str body = buf_str(&x->body);
    if (dialect_splices(&x->description, &target, x->arena, &splices,
            &splice_count) != ERR_OK ||
        dialect_spliced_pieces(x->arena, body, splices, splice_count, &pieces,
            &piece_count) != ERR_OK)
        return false;
    struct transfer_request request = {.target = engine,
        .method = str_from(x->match.route->method),
        .path = str_from(x->match.route->engine_path),
        .headers = headers,
        .header_count = engine_headers(x, headers),
        .body = pieces,
        .body_count = piece_count,
        .body_length = dialect_spliced_length(body, splices, splice_count),
        .fresh = x->fresh};
    return transfer_start(x->worker->transfers, &request, &x->handler,
               &x->transfer) == ERR_OK;
}

/* The candidate to be asked, with a place at its engine. NULL: none is left. */
static struct exchange_candidate *begin_attempt(struct exchange *x)
{
    struct exchange_candidate *c = x->place;
    if (c != NULL && !c->tried &&
        pool_alive(c->live, loop_now(x->worker->loop))) {
        x->place = NULL;
        return c;
    }
    exchange_place_leave(x);
    /* Another worker may have taken the last place since it was chosen. */
    do
        c = choose(x);
    while (c != NULL && !pool_begin(c->live, c->target->engine));
    return c;
}

static void try_next(struct exchange *x)
{
    struct exchange_candidate *c = begin_attempt(x);
    if (c == NULL) {
        struct settlement s = {.outcome = "engine_error",
            .reason = "no engine could take the request",
            .status = 503,
            .input = -1,
            .output = -1,
            .cached = -1,
            .reasoning = -1,
            .source = "none"};
        exchange_settle(x, &s);
        end_in_error(x, 503, "api_error", "upstream_unavailable",
            "No engine can take the request now. Try again later.");
        exchange_end(x);
        return;
    }
    x->current = c;
    c->tried = true;
    x->attempts++;
    x->engine_status = 0;
    x->relay = RELAY_NONE;
    buf_clear(&x->answer);
    x->handler = (struct transfer_handler){
        .head = on_head, .data = on_data, .done = on_done};
    metrics_add(&x->worker->metrics, METRIC_ATTEMPTS, 1);
    if (!start_attempt(x, c)) {
        exchange_place_free(x, c, true);
        metrics_add(&x->worker->metrics, METRIC_OUT_OF_MEMORY, 1);
        end_engine_error(
            x, 503, "overloaded", false, "Out of memory. Try again later.");
    }
}

/* Model lists are answered from the decision itself, usage from the ledger. */
static void answer_ourselves(struct exchange *x)
{
    struct settlement s = {.outcome = "ok",
        .reason = "",
        .status = 200,
        .input = -1,
        .output = -1,
        .cached = -1,
        .reasoning = -1,
        .source = "none",
        .served = true};
    buf_clear(&x->answer);
    if (x->match.route->endpoint == DIALECT_USAGE)
        exchange_write_usage(x, &x->answer);
    else if (x->match.route->endpoint == DIALECT_MODEL)
        dialect_model_body(x->match.route->api, &x->models[0], &x->answer);
    else
        dialect_models_body(
            x->match.route->api, x->models, x->model_count, &x->answer);
    x->bytes_out = (int64_t)x->answer.len;
    first_byte(x);
    exchange_answer_whole(x, 200, STR("application/json"), buf_str(&x->answer));
    exchange_settle(x, &s);
    exchange_end(x);
}

enum stage_result stage_forward(struct exchange *x)
{
    MUST(x->phase == FORWARDING); /* [PRX-2] durable first */
    if (x->match.route->engine_path == NULL)
        answer_ourselves(x);
    else
        try_next(x);
    return STAGE_WAIT;
}
