/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/demo.c - the demonstration engine's routes and its program. */
#include "engine/demo.h"

#include "engine/demo_api.h"
#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/encode.h"

#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define DIMENSIONS_DEFAULT 64
#define DIMENSIONS_MAX 2048

struct demo_call {
    const struct http_request *request;
    struct http_reply *reply;
};

static void answer_json(struct demo_call *call, int status, json_t *body)
{
    char *text = json_dumps(body, JSON_COMPACT);
    call->reply->status = status;
    if (http_reply_header(
            call->reply, "Content-Type", STR("application/json")) != ERR_OK)
        call->reply->status = 500;
    buf_append_str(&call->reply->body, str_from(text != NULL ? text : "{}"));
    free(text);
    json_decref(body);
}

static void answer_error(
    struct demo_call *call, int status, const char *code, const char *message)
{
    answer_json(call, status,
        json_pack("{s:{s:s, s:s, s:n, s:s}}", "error", "message", message,
            "type", status < 500 ? "invalid_request_error" : "api_error",
            "param", "code", code));
}

static bool knows_model(const struct demo_engine *engine, const char *name)
{
    for (size_t i = 0; i < engine->name_count; i++) {
        if (strcmp(engine->names[i], name) == 0)
            return true;
    }
    return false;
}

/* --- Generating ---------------------------------------------------------- */

/* Generates a choice to its end; its text is malloc'd. */
static char *whole_choice(struct demo_engine *engine,
    const struct demo_job *job, int64_t index, const char **finish,
    int64_t *made)
{
    struct demo_choice choice;
    struct str piece;
    demo_choice_begin(engine, job, index, &choice);
    while (choice.finish == NULL && !atomic_load(&engine->stopping))
        demo_choice_step(engine, job, &choice, &piece);
    *finish = choice.finish != NULL ? choice.finish : "stop";
    *made += choice.made;
    char *text = strndup(buf_cstr(&choice.text), choice.given);
    demo_choice_fini(&choice);
    return text;
}

static void answer_whole(struct demo_engine *engine, struct demo_call *call,
    const struct demo_job *job)
{
    json_t *choices = json_array(), *body;
    int64_t made = 0;
    char *text = NULL;
    atomic_fetch_add(&engine->counters.active, 1);
    for (int64_t i = 0; i < job->choices; i++) {
        const char *finish;
        free(text);
        text = whole_choice(engine, job, i, &finish, &made);
        const char *words = text != NULL ? text : "";
        if (job->shape == DEMO_CHAT)
            json_array_append_new(
                choices, json_pack("{s:I, s:{s:s, s:s}, s:s}", "index",
                             (json_int_t)i, "message", "role", "assistant",
                             "content", words, "finish_reason", finish));
        else
            json_array_append_new(
                choices, json_pack("{s:I, s:s, s:s}", "index", (json_int_t)i,
                             "text", words, "finish_reason", finish));
    }
    atomic_fetch_sub(&engine->counters.active, 1);
    if (job->shape == DEMO_RESPONSES) {
        body = demo_response_object(
            job, "completed", text != NULL ? text : "", made);
        json_decref(choices);
    } else {
        bool chat = job->shape == DEMO_CHAT;
        body = json_pack("{s:s, s:s, s:I, s:s, s:o, s:o}", "id",
            chat ? "chatcmpl-demo" : "cmpl-demo", "object",
            chat ? "chat.completion" : "text_completion", "created",
            (json_int_t)(clock_now() / SECOND_US), "model", job->model,
            "choices", choices, "usage",
            demo_usage(job->shape, job->prompt_tokens, made));
    }
    free(text);
    answer_json(call, 200, body);
}

static json_t *read_body(struct demo_call *call)
{
    struct str body = call->request->body;
    json_error_t error;
    json_t *json =
        json_loadb(body.ptr, body.len, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(json)) {
        answer_error(call, 400, "bad_json",
            json == NULL ? error.text : "the body is no object");
        json_decref(json);
        return NULL;
    }
    return json;
}

static void generate(
    struct demo_engine *engine, struct demo_call *call, enum demo_shape shape)
{
    struct demo_job job;
    json_t *body = read_body(call);
    if (body == NULL)
        return;
    const char *why = demo_job_read(shape, body, &job);
    json_decref(body);
    if (why != NULL) {
        answer_error(call, 400, "bad_request", why);
    } else if (!knows_model(engine, job.model)) {
        answer_error(call, 404, "model_not_found",
            "this engine has no model of that name");
    } else {
        atomic_fetch_add(&engine->counters.requests, 1);
        atomic_fetch_add(&engine->counters.prompt_tokens, job.prompt_tokens);
        if (job.stream) {
            demo_stream(engine, call->reply, &job);
            return;
        }
        answer_whole(engine, call, &job);
    }
    demo_job_fini(&job);
}

/* --- Embeddings ---------------------------------------------------------- */

/* Hashed trigrams of bytes, normalised: near texts have near vectors. */
static void embed(struct str text, float *out, size_t dimensions)
{
    double sum = 0;
    memset(out, 0, dimensions * sizeof(*out));
    for (size_t i = 0; i < text.len; i++) {
        size_t n = text.len - i < 3 ? text.len - i : 3;
        uint64_t hash = str_hash(str_make(text.ptr + i, n));
        out[hash % dimensions] += hash & (UINT64_C(1) << 40) ? 1.0f : -1.0f;
    }
    for (size_t i = 0; i < dimensions; i++)
        sum += (double)out[i] * out[i];
    float scale = sum > 0 ? (float)(1.0 / sqrt(sum)) : 0.0f;
    for (size_t i = 0; i < dimensions; i++)
        out[i] *= scale;
}

static json_t *embedding(
    json_t *text, size_t dimensions, bool base64, int64_t *tokens)
{
    float vector[DIMENSIONS_MAX];
    struct str words =
        str_make(json_string_value(text), json_string_length(text));
    json_t *value;
    embed(words, vector, dimensions);
    *tokens += demo_token_count(words) + 1;
    if (base64) {
        struct buf encoded;
        buf_init(&encoded, sizeof(vector) * 2);
        base64_append(&encoded, vector, dimensions * sizeof(float));
        value = json_stringn(encoded.ptr, encoded.len);
        buf_fini(&encoded);
        return value;
    }
    value = json_array();
    for (size_t i = 0; i < dimensions; i++)
        json_array_append_new(value, json_real((double)vector[i]));
    return value;
}

static void embeddings(struct demo_engine *engine, struct demo_call *call)
{
    json_t *body = read_body(call), *one;
    size_t i;
    int64_t tokens = 0;
    if (body == NULL)
        return;
    json_t *input = json_object_get(body, "input");
    json_t *list =
        json_is_string(input) ? json_pack("[O]", input) : json_incref(input);
    json_t *dimensions = json_object_get(body, "dimensions");
    json_t *format = json_object_get(body, "encoding_format");
    json_t *model = json_object_get(body, "model");
    json_int_t size = json_is_integer(dimensions)
                          ? json_integer_value(dimensions)
                          : DIMENSIONS_DEFAULT;
    json_t *data = json_array();
    const char *why = NULL;
    if (!json_is_array(list) || json_array_size(list) == 0)
        why = "input must be a string or an array of strings";
    else if (size < 1 || size > DIMENSIONS_MAX)
        why = "dimensions must be 1 to 2048";
    else if (!json_is_string(model) ||
             !knows_model(engine, json_string_value(model)))
        why = "this engine has no model of that name";
    bool base64 = json_is_string(format) &&
                  strcmp(json_string_value(format), "base64") == 0;
    if (why == NULL) {
        json_array_foreach(list, i, one)
        {
            if (!json_is_string(one)) {
                why = "input must be a string or an array of strings";
                break;
            }
            json_array_append_new(
                data, json_pack("{s:s, s:I, s:o}", "object", "embedding",
                          "index", (json_int_t)i, "embedding",
                          embedding(one, (size_t)size, base64, &tokens)));
        }
    }
    if (why != NULL) {
        json_decref(data);
        answer_error(call, 400, "bad_request", why);
    } else {
        atomic_fetch_add(&engine->counters.requests, 1);
        atomic_fetch_add(&engine->counters.prompt_tokens, tokens);
        answer_json(call, 200,
            json_pack("{s:s, s:o, s:s, s:{s:I, s:I}}", "object", "list", "data",
                data, "model", json_string_value(model), "usage",
                "prompt_tokens", (json_int_t)tokens, "total_tokens",
                (json_int_t)tokens));
    }
    json_decref(list);
    json_decref(body);
}

/* --- The rest ------------------------------------------------------------ */

static void list_models(struct demo_engine *engine, struct demo_call *call)
{
    json_t *data = json_array();
    for (size_t i = 0; i < engine->name_count; i++)
        json_array_append_new(
            data, json_pack("{s:s, s:s, s:I, s:s}", "id", engine->names[i],
                      "object", "model", "created",
                      (json_int_t)engine->started_s, "owned_by", "bailiff"));
    answer_json(
        call, 200, json_pack("{s:s, s:o}", "object", "list", "data", data));
}

static void tokenise(struct demo_engine *engine, struct demo_call *call)
{
    json_t *body = read_body(call);
    if (body == NULL)
        return;
    atomic_fetch_add(&engine->counters.tokenising, 1);
    json_t *content = json_object_get(body, "content");
    if (json_is_string(content)) {
        struct str text =
            str_make(json_string_value(content), json_string_length(content));
        json_t *tokens = json_array();
        int64_t count = 0;
        for (;;) {
            struct str token = demo_token_next(&text);
            if (token.len == 0)
                break;
            json_array_append_new(tokens,
                json_integer((json_int_t)(str_hash(token) & 0x7fffffff)));
            count++;
        }
        answer_json(call, 200,
            json_pack(
                "{s:o, s:I}", "tokens", tokens, "count", (json_int_t)count));
    } else {
        struct demo_job job;
        enum demo_shape shape =
            json_object_get(body, "prompt") != NULL  ? DEMO_COMPLETION
            : json_object_get(body, "input") != NULL ? DEMO_RESPONSES
                                                     : DEMO_CHAT;
        if (json_object_get(body, "model") == NULL)
            json_object_set_new(body, "model", json_string(""));
        const char *why = demo_job_read(shape, body, &job);
        if (why != NULL)
            answer_error(call, 400, "bad_request", why);
        else
            answer_json(call, 200,
                json_pack("{s:I, s:I}", "count", (json_int_t)job.prompt_tokens,
                    "input_tokens", (json_int_t)job.prompt_tokens));
        demo_job_fini(&job);
    }
    json_decref(body);
}

static void counters(struct demo_engine *engine, struct demo_call *call)
{
    struct demo_counters *c = &engine->counters;
    answer_json(call, 200,
        json_pack("{s:{s:I, s:I, s:I, s:I, s:I}, s:{s:I}}", "generation",
            "requests", (json_int_t)atomic_load(&c->requests), "prompt_tokens",
            (json_int_t)atomic_load(&c->prompt_tokens), "completion_tokens",
            (json_int_t)atomic_load(&c->completion_tokens), "active",
            (json_int_t)atomic_load(&c->active), "aborted",
            (json_int_t)atomic_load(&c->aborted), "tokenising", "requests",
            (json_int_t)atomic_load(&c->tokenising)));
}

static void handle(
    void *context, const struct http_request *request, struct http_reply *reply)
{
    struct demo_engine *engine = context;
    struct demo_call both = {request, reply}, *call = &both;
    struct str method = request->method, path = request->path;
    bool post = str_equal(method, STR("POST"));
    bool get = str_equal(method, STR("GET"));
    if (request->body_too_large)
        answer_error(call, 413, "too_large", "the body is too large");
    else if (post && str_equal(path, STR("/v1/chat/completions")))
        generate(engine, call, DEMO_CHAT);
    else if (post && str_equal(path, STR("/v1/completions")))
        generate(engine, call, DEMO_COMPLETION);
    else if (post && str_equal(path, STR("/v1/responses")))
        generate(engine, call, DEMO_RESPONSES);
    else if (post && str_equal(path, STR("/v1/embeddings")))
        embeddings(engine, call);
    else if (post &&
             (str_equal(path, STR("/tokenize")) ||
                 str_equal(path, STR("/v1/chat/completions/input_tokens"))))
        tokenise(engine, call);
    else if (get && str_equal(path, STR("/v1/models")))
        list_models(engine, call);
    else if (get && str_equal(path, STR("/counters")))
        counters(engine, call);
    else if (get && str_equal(path, STR("/health")))
        answer_json(call, 200, json_pack("{s:s}", "status", "ok"));
    else
        answer_error(call, 404, "not_found", "no such route");
}

/* --- The program --------------------------------------------------------- */

static void usage(FILE *out)
{
    fputs("Usage: bailiff demo-engine [--host ADDRESS] [--port N] "
          "[--model NAME]... [--token-delay-ms N]\n\n"
          "A small n-gram language model behind an OpenAI-compatible API. "
          "Port 0 (the\ndefault) takes a free one; GET /counters tells what "
          "it was asked to do.\n",
        out);
}

static bool read_number(const char *text, int64_t most, int64_t *out)
{
    return str_to_i64(str_from(text), out) == ERR_OK && *out >= 0 &&
           *out <= most;
}

static int read_options(int argc, char **argv, struct demo_engine *engine,
    const char **host, int64_t *port)
{
    static const struct option options[] = {
        {"host", required_argument, NULL, 'h'},
        {"port", required_argument, NULL, 'p'},
        {"model", required_argument, NULL, 'm'},
        {"token-delay-ms", required_argument, NULL, 'd'},
        {"help", no_argument, NULL, 'H'}, {NULL, 0, NULL, 0}};
    int64_t number;
    int c;
    optind = 1;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'h':
            *host = optarg;
            break;
        case 'p':
            if (!read_number(optarg, 65535, port)) {
                fputs("demo-engine: --port takes 0 to 65535\n", stderr);
                return 2;
            }
            break;
        case 'm':
            if (engine->name_count == DEMO_MODELS_MAX) {
                fputs("demo-engine: at most 16 models\n", stderr);
                return 2;
            }
            engine->names[engine->name_count++] = optarg;
            break;
        case 'd':
            if (!read_number(optarg, 60000, &number)) {
                fputs(
                    "demo-engine: --token-delay-ms takes 0 to 60000\n", stderr);
                return 2;
            }
            engine->token_delay_us = number * 1000;
            break;
        case 'H':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (optind < argc) {
        fprintf(
            stderr, "demo-engine: unexpected argument '%s'\n", argv[optind]);
        return 2;
    }
    return -1;
}

int demo_engine_main(int argc, char **argv)
{
    struct demo_engine engine = {.started_s = clock_now() / SECOND_US};
    struct http_service *service;
    struct errinfo info = {0};
    const char *host = "127.0.0.1";
    int64_t port = 0;
    int code = read_options(argc, argv, &engine, &host, &port), signal_number;
    if (code >= 0)
        return code;
    if (engine.name_count == 0)
        engine.names[engine.name_count++] = "demo";
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    engine.model = demo_model_new();
    struct http_service_settings settings = {.host = host,
        .port = (uint16_t)port,
        .max_body = 64u << 20,
        .max_connections = 4096,
        .max_reply = 256u << 20,
        .idle_us = 600 * SECOND_US,
        .handler = handle,
        .context = &engine};
    if (engine.model == NULL ||
        http_service_start(&settings, &service, &info) != ERR_OK) {
        fprintf(stderr, "demo-engine: %s\n",
            info.text[0] != '\0' ? info.text : "out of memory");
        return 1;
    }
    printf("listening on http://%s:%u\n", host, http_service_port(service));
    fflush(stdout);
    sigwait(&set, &signal_number);
    atomic_store(&engine.stopping, true);
    http_service_stop(&service);
    demo_model_free(&engine.model);
    return 0;
}
