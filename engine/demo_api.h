/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/demo_api.h - the demonstration engine's requests, read from JSON, and
 * the state that all of its calls share. */
#ifndef ENGINE_DEMO_API_H
#define ENGINE_DEMO_API_H

#include "engine/demo_model.h"
#include "lib/http_service.h"

#include <jansson.h>
#include <stdatomic.h>

#define DEMO_MODELS_MAX 16

struct demo_counters {
    _Atomic int64_t requests, prompt_tokens, completion_tokens, active, aborted;
    _Atomic int64_t tokenising;
};

struct demo_engine {
    struct demo_model *model;
    struct demo_counters counters;
    const char *names[DEMO_MODELS_MAX];
    size_t name_count;
    int64_t token_delay_us;
    int64_t started_s;
    _Atomic bool stopping;
};

enum demo_shape { DEMO_CHAT, DEMO_COMPLETION, DEMO_RESPONSES };

#define DEMO_STOPS_MAX 4
struct demo_job {
    enum demo_shape shape;
    char *model;
    char *prompt;
    int64_t prompt_tokens;
    int64_t max_tokens;
    int64_t choices;
    uint64_t seed;
    uint32_t temperature; /* thousandths */
    bool stream, usage_asked;
    char *stops[DEMO_STOPS_MAX];
    size_t stop_count;
};
/* NULL on success, else words for a 400. Free with demo_job_fini always. */
const char *demo_job_read(
    enum demo_shape shape, json_t *body, struct demo_job *job);
void demo_job_fini(struct demo_job *job);

/* One choice being generated. */
struct demo_choice {
    struct demo_run run;
    int64_t made;       /* tokens */
    struct buf text;    /* all of it, for the stops */
    size_t given;       /* bytes handed out */
    const char *finish; /* "stop", "length"; NULL: goes on */
};
void demo_choice_begin(const struct demo_engine *engine,
    const struct demo_job *job, int64_t index, struct demo_choice *choice);
void demo_choice_fini(struct demo_choice *choice);
/* Makes one token (after the delay). *piece: what may be handed out now. */
void demo_choice_step(struct demo_engine *engine, const struct demo_job *job,
    struct demo_choice *choice, struct str *piece);

/* demo_stream.c: answers as server-sent events. Takes the job. */
void demo_stream(
    struct demo_engine *engine, struct http_reply *reply, struct demo_job *job);
json_t *demo_usage(
    enum demo_shape shape, int64_t prompt_tokens, int64_t completion_tokens);
json_t *demo_response_object(const struct demo_job *job, const char *status,
    const char *text, int64_t made);

#endif
