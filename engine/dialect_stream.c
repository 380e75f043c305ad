/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/dialect_stream.c - reading a stream of answers, event by event.
 *
 * Events are relayed as the engine's bytes; the only ones kept back are the
 * extra usage chunk of a caller who did not ask for it, and whatever comes
 * behind the end. Usage is a running total: the last one stands. */
#include "engine/dialect_priv.h"

#include "lib/json_write.h"

#include <stdlib.h>

#define EVENT_MAX ((size_t)1 << 20)
#define EVENT_VALUES_MAX 200000u
#define ARENA_FIRST 8192u
#define ARENA_MAX ((size_t)16 << 20)
#define ID_MAX 128
#define FAILURE_MAX 512
#define CHOICES_MAX 64

struct dialect_stream {
    const struct dialect_route *route;
    struct sse_parser sse;
    struct arena *arena; /* for one event at a time */
    enum dialect_stream_state state;
    bool hide_usage;
    struct dialect_usage usage;
    int64_t deltas;
    int64_t delta_bytes;
    uint64_t choices; /* indexes seen */
    int64_t created;
    int64_t sequence; /* responses: the last sequence_number */
    char id[ID_MAX];
    char model[ID_MAX];
    char failure[FAILURE_MAX];
};

enum err dialect_stream_new(const struct dialect_route *route, bool hide_usage,
    struct dialect_stream **out)
{
    struct dialect_stream *stream = calloc(1, sizeof *stream);

    if (!stream)
        return ERR_NOMEM;
    stream->arena = arena_new(ARENA_FIRST, ARENA_MAX);
    if (!stream->arena) {
        free(stream);
        return ERR_NOMEM;
    }
    stream->route = route;
    stream->hide_usage = hide_usage;
    stream->sequence = -1;
    sse_init(&stream->sse, EVENT_MAX);
    *out = stream;
    return ERR_OK;
}

void dialect_stream_free(struct dialect_stream **stream)
{
    struct dialect_stream *s = *stream;

    if (!s)
        return;
    *stream = NULL;
    sse_fini(&s->sse);
    arena_free(&s->arena);
    free(s);
}

/* --- looking into events -------------------------------------------------- */

/* Keeps the text of a string as a NUL-terminated one, cut to fit at a
 * character's edge. */
static void keep_text(struct dialect_stream *s, const struct json *json,
    uint32_t at, char *out, size_t size)
{
    struct str text;

    if (at == JSON_NONE || json_text(json, at, s->arena, &text))
        return;
    size_t n = text.len < size ? text.len : size - 1;
    while (n > 0 && n < text.len && (text.ptr[n] & 0xc0) == 0x80)
        n--;
    memcpy(out, text.ptr, n);
    out[n] = '\0';
}

static void keep_failure(
    struct dialect_stream *s, const struct json *json, uint32_t error)
{
    s->state = DIALECT_STREAM_FAILED;
    if (json_type(json, error) == JSON_OBJECT) {
        uint32_t message = json_find(json, error, STR("message"));
        keep_text(s, json, message, s->failure, sizeof s->failure);
    } else {
        keep_text(s, json, error, s->failure, sizeof s->failure);
    }
}

static bool is_truthy(const struct json *json, uint32_t at)
{
    if (at == JSON_NONE)
        return false;
    return json_type(json, at) != JSON_NULL &&
           json_type(json, at) != JSON_FALSE;
}

/* A piece of generated text, if the member is one. */
static bool count_text(struct dialect_stream *s, const struct json *json,
    uint32_t object, struct str name)
{
    uint32_t at = json_find(json, object, name);

    if (at == JSON_NONE || json_type(json, at) != JSON_STRING ||
        json_raw(json, at).len == 0)
        return false;
    s->delta_bytes += (int64_t)json_text_length(json, at);
    return true;
}

static bool count_calls(
    struct dialect_stream *s, const struct json *json, uint32_t delta)
{
    uint32_t calls = json_find(json, delta, STR("tool_calls"));
    bool any = false;

    if (calls == JSON_NONE || json_type(json, calls) != JSON_ARRAY)
        return false;
    for (JSON_EACH_ELEMENT(json, calls, call)) {
        uint32_t function = json_find(json, call, STR("function"));
        if (function == JSON_NONE)
            continue;
        any |= count_text(s, json, function, STR("name"));
        any |= count_text(s, json, function, STR("arguments"));
    }
    return any;
}

static void read_choice(
    struct dialect_stream *s, const struct json *json, uint32_t choice)
{
    int64_t index = 0;
    uint32_t at = json_find(json, choice, STR("index"));
    uint32_t delta = json_find(json, choice, STR("delta"));
    bool any = count_text(s, json, choice, STR("text"));

    if (at != JSON_NONE && json_int64(json, at, &index))
        index = 0;
    if (index >= 0 && index < CHOICES_MAX)
        s->choices |= UINT64_C(1) << index;
    if (delta != JSON_NONE) {
        any |= count_text(s, json, delta, STR("content"));
        any |= count_text(s, json, delta, STR("reasoning_content"));
        any |= count_text(s, json, delta, STR("reasoning"));
        any |= count_text(s, json, delta, STR("refusal"));
        any |= count_calls(s, json, delta);
    }
    s->deltas += any;
}

static void keep_names(struct dialect_stream *s, const struct json *json,
    uint32_t object, struct str created)
{
    uint32_t at = json_find(json, object, created);

    if (s->id[0])
        return;
    keep_text(s, json, json_find(json, object, STR("id")), s->id, ID_MAX);
    keep_text(s, json, json_find(json, object, STR("model")), s->model, ID_MAX);
    if (at == JSON_NONE || json_int64(json, at, &s->created) ||
        s->created < 0 || s->created > JSON_INTEGER_MAX)
        s->created = 0;
}

/* A chunk of chat or completions. False: it is kept back. */
static bool read_chunk(struct dialect_stream *s, const struct json *json)
{
    uint32_t error = json_find(json, 0, STR("error"));
    uint32_t choices = json_find(json, 0, STR("choices"));
    uint32_t usage = json_find(json, 0, STR("usage"));
    bool has_usage =
        usage != JSON_NONE && json_type(json, usage) == JSON_OBJECT;

    if (is_truthy(json, error)) {
        keep_failure(s, json, error);
        return true;
    }
    keep_names(s, json, 0, STR("created"));
    if (has_usage)
        dialect_read_usage(json, usage, s->route->endpoint, &s->usage);
    if (choices == JSON_NONE || json_type(json, choices) != JSON_ARRAY)
        return true;
    for (JSON_EACH_ELEMENT(json, choices, choice))
        read_choice(s, json, choice);
    return !(s->hide_usage && has_usage && json->tokens[choices].count == 0);
}

/* An event of the responses API; its JSON names its own type. */
static bool read_response_event(
    struct dialect_stream *s, const struct json *json)
{
    uint32_t at = json_find(json, 0, STR("type"));
    uint32_t response = json_find(json, 0, STR("response"));
    uint32_t error = json_find(json, 0, STR("error"));
    uint32_t sequence = json_find(json, 0, STR("sequence_number"));
    struct str type = STR("");

    if (at != JSON_NONE && json_text(json, at, s->arena, &type))
        type = STR("");
    int64_t number;
    if (sequence != JSON_NONE &&
        json_int64(json, sequence, &number) == ERR_OK && number >= 0 &&
        number < JSON_INTEGER_MAX)
        s->sequence = number;
    if (str_equal(type, STR("error")) || is_truthy(json, error)) {
        keep_failure(s, json, is_truthy(json, error) ? error : 0);
        return true;
    }
    if (response != JSON_NONE) {
        uint32_t usage = json_find(json, response, STR("usage"));
        keep_names(s, json, response, STR("created_at"));
        if (usage != JSON_NONE)
            dialect_read_usage(json, usage, s->route->endpoint, &s->usage);
    }
    if (str_equal(type, STR("response.completed")) ||
        str_equal(type, STR("response.incomplete"))) {
        s->state = DIALECT_STREAM_DONE;
    } else if (str_equal(type, STR("response.failed"))) {
        error = response == JSON_NONE ? JSON_NONE
                                      : json_find(json, response, STR("error"));
        keep_failure(s, json, error == JSON_NONE ? 0 : error);
    } else if (str_ends(type, STR(".delta"))) {
        s->deltas += count_text(s, json, 0, STR("delta"));
    }
    return true;
}

/* False: the event is kept back. */
static bool read_event(struct dialect_stream *s, const struct sse_event *event)
{
    struct json_limits limits = {.max_tokens = EVENT_VALUES_MAX};
    struct json json;

    if (event->data.len == 0) /* a comment, or nothing that is dispatched */
        return true;
    if (str_equal(str_trim(event->data), STR("[DONE]"))) {
        if (s->state == DIALECT_STREAM_OPEN)
            s->state = DIALECT_STREAM_DONE;
        return true;
    }
    arena_reset(s->arena);
    if (json_parse(s->arena, event->data, &limits, &json, NULL) ||
        json_type(&json, 0) != JSON_OBJECT) {
        /* not what we know: relayed, and taken for generated text */
        s->deltas++;
        s->delta_bytes += (int64_t)event->data.len;
        return true;
    }
    if (s->route->endpoint == DIALECT_RESPONSES)
        return read_response_event(s, &json);
    return read_chunk(s, &json);
}

enum err dialect_stream_feed(
    struct dialect_stream *stream, struct str bytes, struct buf *relay)
{
    struct sse_event event;

    enum err err = sse_feed(&stream->sse, bytes);
    if (err)
        return err;
    while ((err = sse_next(&stream->sse, &event)) == ERR_OK) {
        if (stream->state == DIALECT_STREAM_DONE)
            continue; /* nothing has its place behind the end */
        if (read_event(stream, &event))
            buf_append_str(relay, event.raw);
    }
    if (err != ERR_AGAIN)
        return err;
    return relay->failed ? ERR_NOMEM : ERR_OK;
}

/* --- what was learnt ------------------------------------------------------ */

enum dialect_stream_state dialect_stream_state(
    const struct dialect_stream *stream)
{
    return stream->state;
}

const struct dialect_usage *dialect_stream_usage(
    const struct dialect_stream *stream)
{
    return &stream->usage;
}

int64_t dialect_stream_deltas(const struct dialect_stream *stream)
{
    return stream->deltas;
}

int64_t dialect_stream_delta_bytes(const struct dialect_stream *stream)
{
    return stream->delta_bytes;
}

struct str dialect_stream_failure(const struct dialect_stream *stream)
{
    return str_from(stream->failure);
}

size_t dialect_stream_pending(const struct dialect_stream *stream)
{
    return stream->sse.buffer.len - stream->sse.taken;
}

/* --- ending a stream ------------------------------------------------------ */

/* The event of the responses API carries the error twice: as its own members,
 * and as the `error` object at which the SDKs raise. */
static void write_response_error(const struct dialect_stream *s,
    const struct dialect_error *error, struct buf *out)
{
    struct json_writer w;

    buf_append_str(out, STR("event: error\ndata: "));
    json_write_init(&w, out);
    json_write_object(&w);
    json_write_member_string(&w, STR("code"), str_from(error->code));
    json_write_key(&w, STR("error"));
    json_write_object(&w);
    json_write_member_string(&w, STR("code"), str_from(error->code));
    json_write_member_string(&w, STR("message"), error->message);
    json_write_key(&w, STR("param"));
    json_write_null(&w);
    json_write_member_string(&w, STR("type"), str_from(error->type));
    json_write_object_end(&w);
    json_write_member_string(&w, STR("message"), error->message);
    json_write_key(&w, STR("param"));
    json_write_null(&w);
    json_write_member_int(&w, STR("sequence_number"), s->sequence + 1);
    json_write_member_string(&w, STR("type"), STR("error"));
    json_write_object_end(&w);
    buf_append_str(out, STR("\n\n"));
}

void dialect_stream_error(const struct dialect_stream *stream,
    const struct dialect_error *error, struct buf *out)
{
    if (stream->route->endpoint == DIALECT_RESPONSES) {
        write_response_error(stream, error, out);
        return;
    }
    /* no [DONE] behind it: to a simple client that would look like success */
    buf_append_str(out, STR("data: "));
    dialect_error_body(stream->route->api, error, out);
    buf_append_str(out, STR("\n\n"));
}

static void cut_response(const struct dialect_stream *s, struct buf *out)
{
    struct json_writer w;

    buf_append_str(out, STR("event: response.incomplete\ndata: "));
    json_write_init(&w, out);
    json_write_object(&w);
    json_write_key(&w, STR("response"));
    json_write_object(&w);
    json_write_member_int(&w, STR("created_at"), s->created);
    json_write_key(&w, STR("error"));
    json_write_null(&w);
    json_write_member_string(&w, STR("id"), str_from(s->id));
    json_write_key(&w, STR("incomplete_details"));
    json_write_raw(&w, STR("{\"reason\":\"content_filter\"}"));
    json_write_member_string(&w, STR("model"), str_from(s->model));
    json_write_member_string(&w, STR("object"), STR("response"));
    json_write_key(&w, STR("output"));
    json_write_raw(&w, STR("[]"));
    json_write_member_string(&w, STR("status"), STR("incomplete"));
    json_write_object_end(&w);
    json_write_member_int(&w, STR("sequence_number"), s->sequence + 1);
    json_write_member_string(&w, STR("type"), STR("response.incomplete"));
    json_write_object_end(&w);
    buf_append_str(out, STR("\n\n"));
}

void dialect_stream_cut(const struct dialect_stream *stream, struct buf *out)
{
    bool chat = stream->route->endpoint == DIALECT_CHAT;
    /* each answer that was begun is ended; at least the first */
    uint64_t choices = stream->choices ? stream->choices : 1;
    struct json_writer w;

    if (stream->route->endpoint == DIALECT_RESPONSES) {
        cut_response(stream, out);
        return;
    }
    buf_append_str(out, STR("data: "));
    json_write_init(&w, out);
    json_write_object(&w);
    json_write_key(&w, STR("choices"));
    json_write_array(&w);
    for (int i = 0; i < CHOICES_MAX; i++) {
        if (!(choices & (UINT64_C(1) << i)))
            continue;
        json_write_object(&w);
        if (chat) {
            json_write_key(&w, STR("delta"));
            json_write_raw(&w, STR("{}"));
        }
        json_write_member_string(
            &w, STR("finish_reason"), STR("content_filter"));
        json_write_member_int(&w, STR("index"), i);
        json_write_key(&w, STR("logprobs"));
        json_write_null(&w);
        if (!chat)
            json_write_member_string(&w, STR("text"), STR(""));
        json_write_object_end(&w);
    }
    json_write_array_end(&w);
    json_write_member_int(&w, STR("created"), stream->created);
    json_write_member_string(&w, STR("id"), str_from(stream->id));
    json_write_member_string(&w, STR("model"), str_from(stream->model));
    json_write_member_string(&w, STR("object"),
        chat ? STR("chat.completion.chunk") : STR("text_completion"));
    json_write_object_end(&w);
    buf_append_str(out, STR("\n\ndata: [DONE]\n\n"));
}
