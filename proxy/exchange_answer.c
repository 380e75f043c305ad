/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/exchange_answer.c - heads and errors as callers see them. Every field
 * that an answer carries is written here. */
#include "proxy/exchange_priv.h"

#include <stdio.h>

/* --- Quota fields -------------------------------------------------------- */

/* "6m0s", "12ms", "1.5s" as the SDKs' users know it. */
static void write_go_duration(struct buf *out, int64_t us)
{
    int64_t ms = us < 0 ? 0 : (us + 999) / 1000;
    int64_t seconds = ms / 1000;
    if (ms < 1000) {
        buf_append_i64(out, ms);
        buf_append_str(out, STR("ms"));
        return;
    }
    if (seconds >= 3600) {
        buf_append_i64(out, seconds / 3600);
        buf_append_char(out, 'h');
    }
    if (seconds >= 60) {
        buf_append_i64(out, seconds / 60 % 60);
        buf_append_char(out, 'm');
    }
    buf_append_i64(out, seconds % 60);
    buf_append_char(out, 's');
}

static int64_t window_seconds(enum quota_window window)
{
    switch (window) {
    case QUOTA_MINUTE:
        return 60;
    case QUOTA_HOUR:
        return 3600;
    case QUOTA_DAY:
        return 86400;
    case QUOTA_WEEK:
        return 7 * 86400;
    case QUOTA_MONTH:
        return 30 * 86400;
    case QUOTA_LIFETIME:
    case QUOTA_NOW:
        break;
    }
    return 0;
}

/* The draft's quota units, where it has one; else the dimension's own name: to
 * leave it out would say "requests". */
static struct str quota_unit(enum quota_dimension dimension)
{
    switch (dimension) {
    case QUOTA_REQUESTS:
        return STR("requests");
    case QUOTA_TOKENS:
        return STR("tokens");
    case QUOTA_INPUT_TOKENS:
        return STR("input-tokens");
    case QUOTA_OUTPUT_TOKENS:
        return STR("output-tokens");
    case QUOTA_COST:
        return STR("cost-micro-units");
    case QUOTA_IMAGES:
        return STR("images");
    case QUOTA_AUDIO_SECONDS:
        return STR("audio-seconds");
    case QUOTA_REQUEST_BYTES:
        return STR("content-bytes");
    case QUOTA_CONCURRENT_REQUESTS:
        return STR("concurrent-requests");
    }
    return STR("");
}

/* "name: value\r\n" without a format to interpret: this is on every answer. */
static void write_number_field(
    struct buf *out, const char *name, const char *what, int64_t value)
{
    buf_append_str(out, str_from(name));
    buf_append_str(out, str_from(what));
    buf_append_str(out, STR(": "));
    buf_append_i64(out, value);
    buf_append_str(out, STR("\r\n"));
}

static void write_tightest(
    struct buf *out, const char *what, const struct quota_status *status)
{
    write_number_field(out, "x-ratelimit-limit-", what, status->limit);
    write_number_field(out, "x-ratelimit-remaining-", what, status->remaining);
    if (status->reset_us >= 0) {
        buf_append_str(out, STR("x-ratelimit-reset-"));
        buf_append_str(out, str_from(what));
        buf_append_str(out, STR(": "));
        write_go_duration(out, status->reset_us);
        buf_append_str(out, STR("\r\n"));
    }
}

/* An item of a structured-field list, with its first parameter. */
static void write_quota_item(struct buf *out, bool first,
    const struct quota_rule *rule, struct str parameter, int64_t value)
{
    buf_append_str(out, first ? STR("\"") : STR(", \""));
    buf_append_str(out, str_from(rule->id));
    buf_append_str(out, parameter);
    buf_append_i64(out, value);
}

/* Where Retry-After is sent, too, the two agree. */
static int64_t effective_seconds(const struct exchange *x,
    const struct quota_rule *rule, const struct quota_status *status)
{
    if (x->verdict.retry_after_s >= 0 &&
        str_equal(x->verdict.quota, str_from(rule->id)))
        return x->verdict.retry_after_s;
    return status->reset_us < 0
               ? -1
               : (status->reset_us + SECOND_US - 1) / SECOND_US;
}

/* Of the quotas that are past their mark, by what has been settled. */
static void write_warnings(struct exchange *x, struct buf *out,
    const struct quota_status *status, size_t count)
{
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        const struct quota_rule *rule = x->claims[i].rule;
        int64_t used = status[i].used - status[i].reserved;
        if (!quota_is_past_mark(rule, used))
            continue;
        if (!any)
            buf_append_str(out, STR("x-bailiff-quota-warning: "));
        write_quota_item(out, !any, rule, STR("\";used="), used);
        buf_append_str(out, STR(";limit="));
        buf_append_i64(out, rule->amount);
        any = true;
    }
    if (any)
        buf_append_str(out, STR("\r\n"));
}

/* x-ratelimit-* for the quota with the least left in each dimension, and the
 * IETF fields (draft-ietf-httpapi-ratelimit-headers) for all of them. */
static void write_quota_fields(struct exchange *x, struct buf *out)
{
    struct quota_status status[QUOTA_CLAIMS_MAX];
    const struct quota_status *requests = NULL, *tokens = NULL;
    size_t count =
        x->claim_count <= QUOTA_CLAIMS_MAX ? x->claim_count : QUOTA_CLAIMS_MAX;
    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++) {
        const struct quota_rule *rule = x->claims[i].rule;
        quota_peek(x->worker->shared->ledger, loop_wall(x->worker->loop), rule,
            &status[i]);
        const struct quota_status **tightest =
            rule->dimension == QUOTA_REQUESTS ? &requests
            : rule->dimension == QUOTA_TOKENS ? &tokens
                                              : NULL;
        if (tightest != NULL &&
            (*tightest == NULL || status[i].remaining < (*tightest)->remaining))
            *tightest = &status[i];
    }
    write_warnings(x, out, status, count);
    if (requests != NULL)
        write_tightest(out, "requests", requests);
    if (tokens != NULL)
        write_tightest(out, "tokens", tokens);
    buf_append_str(out, STR("RateLimit-Policy: "));
    for (size_t i = 0; i < count; i++) {
        const struct quota_rule *rule = x->claims[i].rule;
        int64_t window = window_seconds(rule->window);
        write_quota_item(out, i == 0, rule, STR("\";q="), rule->amount);
        if (rule->dimension != QUOTA_REQUESTS) {
            buf_append_str(out, STR(";qu=\""));
            buf_append_str(out, quota_unit(rule->dimension));
            buf_append_char(out, '"');
        }
        if (window > 0) {
            buf_append_str(out, STR(";w="));
            buf_append_i64(out, window);
        }
    }
    buf_append_str(out, STR("\r\nRateLimit: "));
    for (size_t i = 0; i < count; i++) {
        write_quota_item(
            out, i == 0, x->claims[i].rule, STR("\";r="), status[i].remaining);
        int64_t t = effective_seconds(x, x->claims[i].rule, &status[i]);
        if (t >= 0) {
            buf_append_str(out, STR(";t="));
            buf_append_i64(out, t);
        }
    }
    buf_append_str(out, STR("\r\n"));
}

/* --- Heads --------------------------------------------------------------- */

static void write_status_line(struct worker *w, struct buf *out, int status)
{
    buf_append_str(out, STR("HTTP/1.1 "));
    buf_append_i64(out, status);
    buf_append_char(out, ' ');
    buf_append_str(out, str_from(http1_status_text(status)));
    buf_append_str(out, STR("\r\nDate: "));
    buf_append(out, worker_date(w), 29);
    buf_append_str(out, STR("\r\n"));
}

static void write_verdict_fields(struct exchange *x, struct buf *out)
{
    const struct verdict *v = &x->verdict;
    if (v->status == 401)
        buf_append_str(
            out, STR("WWW-Authenticate: Bearer realm=\"bailiff\"\r\n"));
    if (v->allow != NULL)
        buf_printf(out, "Allow: %s\r\n", v->allow);
    if (v->retry_after_s >= 0)
        buf_printf(out, "Retry-After: %lld\r\n", (long long)v->retry_after_s);
    if (v->never_retry || v->status == 401 || v->status == 403)
        buf_append_str(out, STR("x-should-retry: false\r\n"));
}

static void write_stripped(const struct exchange *x, struct buf *out)
{
    const struct dialect_description *d = &x->description;
    if (d->stripped_count == 0)
        return;
    buf_append_str(out, STR("x-bailiff-stripped-fields: "));
    for (uint32_t i = 0; i < d->stripped_count; i++) {
        if (i > 0)
            buf_append_str(out, STR(", "));
        buf_append_str(out, d->stripped[i]);
    }
    if (d->stripped_more > 0)
        buf_printf(out, ", and %u more", d->stripped_more);
    buf_append_str(out, STR("\r\n"));
}

void exchange_write_head(struct exchange *x, struct buf *out, int status,
    struct str content_type, enum framing framing, size_t length, bool keep)
{
    write_status_line(x->worker, out, status);
    buf_append_str(out, STR("Content-Type: "));
    buf_append_str(out, content_type);
    switch (framing) {
    case FRAMING_LENGTH:
        buf_append_str(out, STR("\r\nContent-Length: "));
        buf_append_u64(out, length);
        break;
    case FRAMING_CHUNKED:
        buf_append_str(out, STR("\r\nTransfer-Encoding: chunked"));
        break;
    case FRAMING_CLOSE:
        break;
    }
    buf_append_str(out, STR("\r\nx-request-id: "));
    buf_append(out, x->id, ULID_LENGTH);
    buf_append_str(out, STR("\r\nCache-Control: no-store\r\n"));
    if (x->verdict.status == status && status >= 400)
        write_verdict_fields(x, out);
    write_stripped(x, out);
    if (x->emergency != NULL)
        buf_printf(out, "x-bailiff-emergency: %s\r\n", x->emergency);
    write_quota_fields(x, out);
    if (!keep)
        buf_append_str(out, STR("Connection: close\r\n"));
    else if (connection_is_http10(x->connection))
        buf_append_str(out, STR("Connection: keep-alive\r\n"));
    buf_append_str(out, STR("\r\n"));
}

/* --- Whole answers ------------------------------------------------------- */

void exchange_answer_whole(
    struct exchange *x, int status, struct str content_type, struct str body)
{
    struct connection *connection = x->connection;
    struct buf *wire = &x->worker->wire;
    bool keep = connection_keeps_alive(connection) && !x->verdict.close;
    buf_clear(wire);
    exchange_write_head(
        x, wire, status, content_type, FRAMING_LENGTH, body.len, keep);
    x->connection = NULL;
    if (body.len <= 256 * 1024) {
        buf_append_str(wire, body); /* one record, one send */
        if (wire->failed) {
            connection_abort(connection);
            return;
        }
        connection_write(connection, wire->ptr, wire->len);
    } else {
        connection_write(connection, wire->ptr, wire->len);
        connection_write(connection, body.ptr, body.len);
    }
    connection_finish(connection, keep);
}

void exchange_answer_verdict(struct exchange *x)
{
    const struct verdict *v = &x->verdict;
    struct dialect_error error = {.status = v->status,
        .type = v->type,
        .code = v->code,
        .message = v->message,
        .param = v->param};
    struct buf body;
    buf_init(&body, 64 * 1024);
    enum dialect_api api =
        x->match.route != NULL ? x->match.route->api : DIALECT_OPENAI;
    dialect_error_body(api, &error, &body);
    exchange_answer_whole(
        x, v->status, STR("application/json"), buf_str(&body));
    buf_fini(&body);
}

void exchange_answer_bad_head(
    struct connection *connection, int status, const char *reason)
{
    struct worker *w = connection_worker(connection);
    struct dialect_error error = {.status = status,
        .type = "invalid_request_error",
        .code = status == 408 ? "request_timeout" : "bad_request",
        .message = str_from(reason)};
    struct buf body;
    buf_init(&body, 4096);
    dialect_error_body(DIALECT_OPENAI, &error, &body);
    buf_clear(&w->wire);
    write_status_line(w, &w->wire, status);
    buf_printf(&w->wire,
        "Content-Type: application/json\r\nContent-Length: %zu\r\n"
        "Connection: close\r\n\r\n",
        body.len);
    buf_append_str(&w->wire, buf_str(&body));
    buf_fini(&body);
    connection_write(connection, w->wire.ptr, w->wire.len);
}
