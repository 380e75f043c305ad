/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/read.c - whole texts: JSON or not, and where it is wrong. */
#include "policy/cedar/read.h"

#include "lib/json.h"
#include "policy/cedar/ast.h"
#include "policy/cedar/json_entities.h"
#include "policy/cedar/json_policy.h"

/* A chain of 5,000 && has 10,000 levels when written as JSON. */
static const struct json_limits limits = {
    .max_depth = 20000, .max_tokens = 100u << 20};

bool cedar_text_is_json(struct str text)
{
    size_t at = 0;
    while (at < text.len && text.ptr[at] && strchr(" \t\r\n", text.ptr[at]))
        at++;
    return at < text.len && text.ptr[at] == '{';
}

static enum err parse(struct arena *arena, struct str text, struct json *json,
    struct errinfo *info)
{
    struct json_error error = {0};
    int line, column;
    if (!arena)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err = json_parse(arena, text, &limits, json, &error);
    if (err == ERR_OK || !error.reason)
        return err == ERR_OK ? err : errinfo_set(info, err, "out of memory");
    json_position(text, error.offset, &line, &column);
    return errinfo_set(info, err, "%d:%d: %s", line, column, error.reason);
}

static enum err read_policy_json(
    struct str text, struct cedar_policies **out, struct errinfo *info)
{
    struct arena *arena = arena_new(1 << 16, 0);
    struct cedar_builder *builder = NULL;
    struct json json;
    enum err err = parse(arena, text, &json, info);
    if (err == ERR_OK)
        err = cedar_builder_new(&builder);
    if (err == ERR_OK)
        err = cedar_json_policy_set_read(builder, &json, 0, info);
    if (err == ERR_OK)
        err = cedar_builder_finish(&builder, out);
    cedar_builder_free(&builder);
    arena_free(&arena);
    return err;
}

enum err cedar_read_policies(struct str text,
    struct cedar_diagnostics *diagnostics, struct cedar_policies **out)
{
    struct errinfo info = {.text = "out of memory"};
    if (!cedar_text_is_json(text))
        return cedar_policies_parse(text, diagnostics, out);
    enum err err = read_policy_json(text, out, &info);
    if (err != ERR_OK)
        cedar_diagnostics_add(
            diagnostics, CEDAR_ERROR, STR(""), 0, STR(""), "%s", info.text);
    return err;
}

enum err cedar_read_entities(struct str text, const struct cedar_schema *schema,
    struct cedar_entities **out, struct errinfo *info)
{
    struct arena *arena = arena_new(1 << 16, 0);
    struct json json;
    enum err err = parse(arena, text, &json, info);
    if (err == ERR_OK)
        err = cedar_json_entities(&json, 0, schema, out, info);
    arena_free(&arena);
    return err;
}

enum err cedar_read_context(struct str text, const struct cedar_action *action,
    struct arena *arena, const struct cedar_record **out, struct errinfo *info)
{
    struct arena *tape = arena_new(4096, 0);
    struct json json;
    enum err err = parse(tape, text, &json, info);
    if (err == ERR_OK)
        err = cedar_json_context(
            &json, 0, action ? action->context : NULL, arena, out, info);
    arena_free(&tape);
    return err;
}
