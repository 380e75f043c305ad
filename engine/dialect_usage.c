/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/dialect_usage.c - where an answer says what it has used.
 *
 * The numbers are an engine's claim. Negative, fractional or absurd ones count
 * as not said at all, so that the caller falls back to what it knows. */
#include "engine/dialect_priv.h"

#include "lib/json_write.h"

static const struct {
    struct str input, output, total;
    struct str input_details, cached;
    struct str output_details, reasoning;
} names[] = {
    {STR_INIT("prompt_tokens"), STR_INIT("completion_tokens"),
        STR_INIT("total_tokens"), STR_INIT("prompt_tokens_details"),
        STR_INIT("cached_tokens"), STR_INIT("completion_tokens_details"),
        STR_INIT("reasoning_tokens")},
    {STR_INIT("input_tokens"), STR_INIT("output_tokens"),
        STR_INIT("total_tokens"), STR_INIT("input_tokens_details"),
        STR_INIT("cached_tokens"), STR_INIT("output_tokens_details"),
        STR_INIT("reasoning_tokens")},
};

/* False where the member is there and is no sane count. */
static bool read_count(const struct json *json, uint32_t object,
    struct str name, bool *there, int64_t *out)
{
    uint32_t at = json_find(json, object, name);
    int64_t value;

    *there = false;
    if (at == JSON_NONE || json_type(json, at) == JSON_NULL)
        return true;
    if (json_int64(json, at, &value) || value < 0 ||
        value > JSON_INTEGER_MAX / 4)
        return false;
    *there = true;
    *out = value;
    return true;
}

/* A part of a whole: what is out of range is left at 0. */
static int64_t read_detail(const struct json *json, uint32_t object,
    struct str details, struct str name, int64_t whole)
{
    uint32_t at = json_find(json, object, details);
    int64_t value = 0;
    bool there;

    if (at == JSON_NONE || !read_count(json, at, name, &there, &value))
        return 0;
    return value <= whole ? value : whole;
}

void dialect_read_usage(const struct json *json, uint32_t object,
    enum dialect_endpoint endpoint, struct dialect_usage *out)
{
    size_t row = endpoint == DIALECT_RESPONSES;
    struct dialect_usage usage = {.present = true};
    bool input, output, total;

    if (!read_count(json, object, names[row].input, &input, &usage.input) ||
        !read_count(json, object, names[row].output, &output, &usage.output) ||
        !read_count(json, object, names[row].total, &total, &usage.total))
        return;
    /* embeddings have no output, and some engines leave out what is 0 */
    if (!input)
        return;
    if (!output && endpoint != DIALECT_EMBEDDINGS) {
        if (!total || usage.total < usage.input)
            return;
        usage.output = usage.total - usage.input;
    }
    if (usage.total < usage.input + usage.output)
        usage.total = usage.input + usage.output;
    usage.cached = read_detail(
        json, object, names[row].input_details, names[row].cached, usage.input);
    usage.reasoning = read_detail(json, object, names[row].output_details,
        names[row].reasoning, usage.output);
    *out = usage;
}

enum err dialect_usage_json(const struct dialect_route *route, struct str body,
    struct arena *arena, struct dialect_usage *out)
{
    struct json json;

    *out = (struct dialect_usage){.present = false};
    enum err err = json_parse(arena, body, NULL, &json, NULL);
    if (err == ERR_NOMEM)
        return err;
    if (err || json_type(&json, 0) != JSON_OBJECT)
        return ERR_OK;
    uint32_t usage = json_find(&json, 0, STR("usage"));
    if (usage != JSON_NONE)
        dialect_read_usage(&json, usage, route->endpoint, out);
    return ERR_OK;
}
