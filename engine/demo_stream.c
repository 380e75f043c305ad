/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/demo_stream.c - server-sent events of chat, completions and
 * responses: one event a token. */
#include "engine/demo_api.h"

#include "lib/clock.h"

#include <stdio.h>
#include <stdlib.h>

struct stream {
    struct demo_engine *engine;
    struct demo_job job;
    struct demo_choice choice;
    int64_t index; /* of the choice */
    int64_t made;  /* tokens of the choices before */
    struct buf out;
    char id[40];
    int64_t created_s;
    int64_t events;
    bool begun, ended;
};

static void emit(struct stream *s, const char *event, json_t *data)
{
    char *text = json_dumps(data, JSON_COMPACT);
    if (event != NULL)
        buf_printf(&s->out, "event: %s\n", event);
    if (text != NULL)
        buf_printf(&s->out, "data: %s\n\n", text);
    free(text);
    json_decref(data);
}

json_t *demo_usage(
    enum demo_shape shape, int64_t prompt_tokens, int64_t completion_tokens)
{
    bool responses = shape == DEMO_RESPONSES;
    json_t *usage = json_object();
    json_object_set_new(usage, responses ? "input_tokens" : "prompt_tokens",
        json_integer(prompt_tokens));
    json_object_set_new(usage,
        responses ? "output_tokens" : "completion_tokens",
        json_integer(completion_tokens));
    json_object_set_new(
        usage, "total_tokens", json_integer(prompt_tokens + completion_tokens));
    return usage;
}

/* --- Chat and completions ------------------------------------------------ */

static json_t *chunk(struct stream *s)
{
    bool chat = s->job.shape == DEMO_CHAT;
    json_t *data = json_pack("{s:s, s:s, s:I, s:s}", "id", s->id, "object",
        chat ? "chat.completion.chunk" : "text_completion", "created",
        (json_int_t)s->created_s, "model", s->job.model);
    if (s->job.usage_asked)
        json_object_set_new(data, "usage", json_null());
    return data;
}

static void emit_chunk(
    struct stream *s, struct str piece, const char *role, const char *finish)
{
    json_t *data = chunk(s), *choice = json_object();
    json_object_set_new(choice, "index", json_integer(s->index));
    if (s->job.shape == DEMO_CHAT) {
        json_t *delta = json_object();
        if (role != NULL)
            json_object_set_new(delta, "role", json_string(role));
        if (piece.len > 0 || role != NULL)
            json_object_set_new(
                delta, "content", json_stringn(piece.ptr, piece.len));
        json_object_set_new(choice, "delta", delta);
    } else {
        json_object_set_new(choice, "text", json_stringn(piece.ptr, piece.len));
    }
    json_object_set_new(choice, "finish_reason",
        finish != NULL ? json_string(finish) : json_null());
    json_object_set_new(data, "choices", json_pack("[o]", choice));
    emit(s, NULL, data);
}

static void step_chat(struct stream *s)
{
    struct str piece;
    if (!s->begun) {
        s->begun = true;
        demo_choice_begin(s->engine, &s->job, s->index, &s->choice);
        if (s->job.shape == DEMO_CHAT)
            emit_chunk(s, STR(""), "assistant", NULL);
    }
    demo_choice_step(s->engine, &s->job, &s->choice, &piece);
    if (piece.len > 0)
        emit_chunk(s, piece, NULL, NULL);
    if (s->choice.finish == NULL)
        return;
    emit_chunk(s, STR(""), NULL, s->choice.finish);
    s->made += s->choice.made;
    demo_choice_fini(&s->choice);
    s->begun = false;
    if (++s->index < s->job.choices)
        return;
    if (s->job.usage_asked) {
        json_t *data = chunk(s);
        json_object_set_new(data, "choices", json_array());
        json_object_set_new(data, "usage",
            demo_usage(s->job.shape, s->job.prompt_tokens, s->made));
        emit(s, NULL, data);
    }
    buf_append_str(&s->out, STR("data: [DONE]\n\n"));
    s->ended = true;
}

/* --- Responses ----------------------------------------------------------- */

json_t *demo_response_object(const struct demo_job *job, const char *status,
    const char *text, int64_t made)
{
    json_t *output = json_array();
    if (text != NULL)
        json_array_append_new(
            output, json_pack("{s:s, s:s, s:s, s:s, s:[{s:s, s:s, s:[]}]}",
                        "type", "message", "id", "msg_demo", "status",
                        "completed", "role", "assistant", "content", "type",
                        "output_text", "text", text, "annotations"));
    json_t *response = json_pack("{s:s, s:s, s:I, s:s, s:s, s:o, s:n, s:n}",
        "id", "resp_demo", "object", "response", "created_at",
        (json_int_t)(clock_now() / SECOND_US), "status", status, "model",
        job->model, "output", output, "error", "incomplete_details");
    json_object_set_new(response, "usage",
        text != NULL ? demo_usage(DEMO_RESPONSES, job->prompt_tokens, made)
                     : json_null());
    return response;
}

static void emit_response(struct stream *s, const char *type, json_t *data)
{
    json_object_set_new(data, "type", json_string(type));
    json_object_set_new(data, "sequence_number", json_integer(s->events++));
    emit(s, type, data);
}

static json_t *item_place(void)
{
    return json_pack("{s:s, s:i, s:i}", "item_id", "msg_demo", "output_index",
        0, "content_index", 0);
}

static void begin_response(struct stream *s)
{
    s->begun = true;
    demo_choice_begin(s->engine, &s->job, 0, &s->choice);
    emit_response(s, "response.created",
        json_pack("{s:o}", "response",
            demo_response_object(&s->job, "in_progress", NULL, 0)));
    emit_response(s, "response.output_item.added",
        json_pack("{s:i, s:{s:s, s:s, s:s, s:s, s:[]}}", "output_index", 0,
            "item", "type", "message", "id", "msg_demo", "status",
            "in_progress", "role", "assistant", "content"));
    json_t *part = item_place();
    json_object_set_new(part, "part",
        json_pack("{s:s, s:s, s:[]}", "type", "output_text", "text", "",
            "annotations"));
    emit_response(s, "response.content_part.added", part);
}

static void end_response(struct stream *s)
{
    const char *text = buf_cstr(&s->choice.text);
    char *whole = strndup(text, s->choice.given);
    json_t *done = item_place();
    if (whole == NULL)
        whole = strdup("");
    json_object_set_new(done, "text", json_string(whole));
    emit_response(s, "response.output_text.done", done);
    json_t *response =
        demo_response_object(&s->job, "completed", whole, s->choice.made);
    emit_response(s, "response.output_item.done",
        json_pack("{s:i, s:O}", "output_index", 0, "item",
            json_array_get(json_object_get(response, "output"), 0)));
    emit_response(
        s, "response.completed", json_pack("{s:o}", "response", response));
    free(whole);
    demo_choice_fini(&s->choice);
    s->begun = false;
    s->ended = true;
}

static void step_response(struct stream *s)
{
    struct str piece;
    if (!s->begun)
        begin_response(s);
    demo_choice_step(s->engine, &s->job, &s->choice, &piece);
    if (piece.len > 0) {
        json_t *delta = item_place();
        json_object_set_new(delta, "delta", json_stringn(piece.ptr, piece.len));
        emit_response(s, "response.output_text.delta", delta);
    }
    if (s->choice.finish != NULL)
        end_response(s);
}

/* --- The stream's callbacks ---------------------------------------------- */

static ssize_t pull(void *context, char *out, size_t n)
{
    struct stream *s = context;
    while (s->out.len == 0) {
        if (s->ended)
            return 0;
        if (atomic_load(&s->engine->stopping) || s->out.failed)
            return -1;
        if (s->job.shape == DEMO_RESPONSES)
            step_response(s);
        else
            step_chat(s);
    }
    struct str ready = buf_str(&s->out);
    size_t give = ready.len < n ? ready.len : n;
    memcpy(out, ready.ptr, give);
    buf_consume(&s->out, give);
    return (ssize_t)give;
}

static void close_stream(void *context, bool complete)
{
    struct stream *s = context;
    atomic_fetch_sub(&s->engine->counters.active, 1);
    if (!complete)
        atomic_fetch_add(&s->engine->counters.aborted, 1);
    if (s->begun)
        demo_choice_fini(&s->choice);
    demo_job_fini(&s->job);
    buf_fini(&s->out);
    free(s);
}

void demo_stream(
    struct demo_engine *engine, struct http_reply *reply, struct demo_job *job)
{
    struct stream *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        demo_job_fini(job);
        return;
    }
    s->engine = engine;
    s->job = *job;
    memset(job, 0, sizeof(*job));
    s->created_s = clock_now() / SECOND_US;
    snprintf(s->id, sizeof(s->id), "%s-%016llx",
        s->job.shape == DEMO_CHAT ? "chatcmpl" : "cmpl",
        (unsigned long long)(s->job.seed ^ (uint64_t)clock_now()));
    buf_init(&s->out, 1u << 20);
    atomic_fetch_add(&engine->counters.active, 1);
    if (http_reply_header(reply, "Content-Type", STR("text/event-stream")) !=
        ERR_OK)
        reply->status = 500;
    reply->stream = (struct http_stream){pull, close_stream, s};
}
