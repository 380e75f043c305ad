/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/demo_job.c - a request's fields, and generating one choice. */
#include "engine/demo_api.h"

#include "lib/clock.h"

#include <stdlib.h>
#include <time.h>

#define CHOICES_MAX 16
#define MAX_TOKENS_DEFAULT 128
#define TEXT_MAX (8u << 20)

/* Texts of a message: a string, or parts of type text and input_text. */
static void append_content(struct buf *out, json_t *content)
{
    size_t i;
    json_t *part;
    if (json_is_string(content)) {
        buf_append(
            out, json_string_value(content), json_string_length(content));
        return;
    }
    json_array_foreach(content, i, part)
    {
        json_t *text = json_object_get(part, "text");
        if (json_is_string(text))
            buf_append(out, json_string_value(text), json_string_length(text));
    }
}

/* The template: role, colon, content, newline; then the assistant's turn. */
static const char *read_messages(
    json_t *messages, struct buf *out, int64_t *extra)
{
    size_t i;
    json_t *message;
    if (!json_is_array(messages) || json_array_size(messages) == 0)
        return "messages must be a non-empty array";
    json_array_foreach(messages, i, message)
    {
        if (!json_is_object(message) ||
            !json_is_string(json_object_get(message, "role")))
            return "every message needs a role";
        append_content(out, json_object_get(message, "content"));
        append_content(out, json_object_get(message, "output"));
        buf_append_char(out, '\n');
        *extra += 3; /* begin, role, end */
    }
    *extra += 2;
    return NULL;
}

static const char *read_integer(
    json_t *body, const char *name, int64_t least, int64_t most, int64_t *out)
{
    json_t *value = json_object_get(body, name);
    if (value == NULL || json_is_null(value))
        return NULL;
    if (!json_is_integer(value) || json_integer_value(value) < least ||
        json_integer_value(value) > most)
        return "a number is not an integer within its bounds";
    *out = json_integer_value(value);
    return NULL;
}

static const char *read_stops(json_t *stop, struct demo_job *job)
{
    size_t i;
    json_t *one;
    if (stop == NULL || json_is_null(stop))
        return NULL;
    if (json_is_string(stop)) {
        job->stops[job->stop_count++] = strdup(json_string_value(stop));
        return NULL;
    }
    if (!json_is_array(stop) || json_array_size(stop) > DEMO_STOPS_MAX)
        return "stop must be a string or up to 4 of them";
    json_array_foreach(stop, i, one)
    {
        if (!json_is_string(one))
            return "stop must be a string or up to 4 of them";
        job->stops[job->stop_count++] = strdup(json_string_value(one));
    }
    return NULL;
}

static const char *read_prompt(
    json_t *body, struct demo_job *job, struct buf *text, int64_t *extra)
{
    json_t *input;
    switch (job->shape) {
    case DEMO_CHAT:
        return read_messages(json_object_get(body, "messages"), text, extra);
    case DEMO_COMPLETION:
        input = json_object_get(body, "prompt");
        if (json_is_array(input) && json_array_size(input) == 1)
            input = json_array_get(input, 0);
        if (!json_is_string(input))
            return "prompt must be a string";
        append_content(text, input);
        *extra = 1;
        return NULL;
    case DEMO_RESPONSES:
        input = json_object_get(body, "instructions");
        if (json_is_string(input))
            append_content(text, input);
        input = json_object_get(body, "input");
        *extra = 5;
        if (json_is_string(input)) {
            append_content(text, input);
            return NULL;
        }
        return read_messages(input, text, extra);
    }
    return "unknown request";
}

const char *demo_job_read(
    enum demo_shape shape, json_t *body, struct demo_job *job)
{
    struct buf text;
    int64_t extra = 0, seed = -1;
    const char *why = NULL;
    json_t *model = json_object_get(body, "model");
    *job = (struct demo_job){.shape = shape,
        .max_tokens = MAX_TOKENS_DEFAULT,
        .choices = 1,
        .temperature = 1000};
    if (!json_is_string(model))
        return "model must be a string";
    job->model = strdup(json_string_value(model));
    buf_init(&text, TEXT_MAX);
    why = read_prompt(body, job, &text, &extra);
    static const char *const caps[] = {
        "max_tokens", "max_completion_tokens", "max_output_tokens"};
    for (size_t i = 0; why == NULL && i < 3; i++)
        why = read_integer(body, caps[i], 1, 1000000, &job->max_tokens);
    if (why == NULL)
        why = read_integer(body, "n", 1, CHOICES_MAX, &job->choices);
    if (why == NULL)
        why = read_integer(body, "seed", INT64_MIN, INT64_MAX, &seed);
    if (why == NULL)
        why = read_stops(json_object_get(body, "stop"), job);
    json_t *temperature = json_object_get(body, "temperature");
    if (json_is_number(temperature)) {
        double t = json_number_value(temperature);
        job->temperature = t <= 0 ? 0 : t > 4 ? 4000 : (uint32_t)(t * 1000);
    }
    job->stream = json_is_true(json_object_get(body, "stream"));
    job->usage_asked = json_is_true(json_object_get(
        json_object_get(body, "stream_options"), "include_usage"));
    job->prompt_tokens = demo_token_count(buf_str(&text)) + extra;
    job->seed = seed != -1 ? (uint64_t)seed : str_hash(buf_str(&text));
    job->prompt = buf_steal(&text);
    buf_fini(&text);
    for (size_t i = 0; i < job->stop_count; i++) {
        if (job->stops[i] == NULL)
            why = "out of memory";
    }
    if (why == NULL && (job->prompt == NULL || job->model == NULL))
        why = "out of memory";
    return why;
}

void demo_job_fini(struct demo_job *job)
{
    for (size_t i = 0; i < job->stop_count; i++)
        free(job->stops[i]);
    free(job->model);
    free(job->prompt);
    memset(job, 0, sizeof(*job));
}

void demo_choice_begin(const struct demo_engine *engine,
    const struct demo_job *job, int64_t index, struct demo_choice *choice)
{
    struct str prompt = str_trim(str_from(job->prompt));
    while (prompt.len > 0 && prompt.ptr[prompt.len - 1] == '\n')
        prompt.len--;
    *choice = (struct demo_choice){0};
    buf_init(&choice->text, TEXT_MAX);
    demo_run_begin(engine->model, &choice->run, prompt,
        job->seed + (uint64_t)index, job->temperature);
}

void demo_choice_fini(struct demo_choice *choice)
{
    buf_fini(&choice->text);
}

/* Where the first stop sequence begins; SIZE_MAX: none. */
static size_t find_stop(const struct demo_job *job, struct str text)
{
    size_t first = SIZE_MAX;
    for (size_t i = 0; i < job->stop_count; i++) {
        const char *at = job->stops[i][0] == '\0'
                             ? NULL
                             : memmem(text.ptr, text.len, job->stops[i],
                                   strlen(job->stops[i]));
        if (at != NULL && (size_t)(at - text.ptr) < first)
            first = (size_t)(at - text.ptr);
    }
    return first;
}

/* Bytes at the end that may be the beginning of a stop sequence. */
static size_t held_back(const struct demo_job *job)
{
    size_t longest = 0;
    for (size_t i = 0; i < job->stop_count; i++) {
        size_t n = strlen(job->stops[i]);
        if (n > longest + 1)
            longest = n - 1;
    }
    return longest;
}

void demo_choice_step(struct demo_engine *engine, const struct demo_job *job,
    struct demo_choice *choice, struct str *piece)
{
    *piece = STR("");
    if (engine->token_delay_us > 0) {
        struct timespec delay = {.tv_sec = engine->token_delay_us / SECOND_US,
            .tv_nsec = engine->token_delay_us % SECOND_US * 1000};
        nanosleep(&delay, NULL);
    }
    struct str token = demo_run_next(&choice->run);
    if (choice->made == 0 && token.len > 1 && token.ptr[0] == ' ')
        token = str_make(token.ptr + 1, token.len - 1);
    choice->made++; /* the end of the text is a token, too */
    atomic_fetch_add(&engine->counters.completion_tokens, 1);
    buf_append_str(&choice->text, token);
    size_t stop = find_stop(job, buf_str(&choice->text));
    size_t end = choice->text.len;
    if (stop != SIZE_MAX) {
        end = stop;
        choice->finish = "stop";
    } else if (token.len == 0) {
        choice->finish = "stop";
    } else if (choice->made >= job->max_tokens) {
        choice->finish = "length";
    } else {
        size_t held = held_back(job);
        end = end > held ? end - held : 0;
        while (held > 0 && end > 0 && end < choice->text.len &&
               (buf_str(&choice->text).ptr[end] & 0xc0) == 0x80)
            end--; /* no piece of a character */
    }
    if (end > choice->given) {
        *piece = str_make(
            buf_str(&choice->text).ptr + choice->given, end - choice->given);
        choice->given = end;
    }
}
