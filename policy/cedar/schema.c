/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/schema.c - the schema as its users see it. Pure. */
#include "policy/cedar/cedar_priv.h"
#include "policy/cedar/schema_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_CHUNK 16384

/* --- What the readers share --- */

enum err schema_error(
    struct schema_reader *reader, uint32_t offset, const char *format, ...)
{
    char text[ERRINFO_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    cedar_diagnostics_add(reader->diagnostics, CEDAR_ERROR,
        reader->schema->source, offset, STR(""), "%s", text);
    return ERR_SYNTAX;
}

bool schema_common_name_is_reserved(struct str name)
{
    static const char *const reserved[] = {"Bool", "Boolean", "Entity",
        "Extension", "Long", "Record", "Set", "String", "__cedar"};
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
        if (str_equal(name, str_from(reserved[i]))) {
            return true;
        }
    }
    return false;
}

static bool is_word(struct str s)
{
    bool word = s.len > 0 && cedar_is_ident_start(s.ptr[0]);
    for (size_t i = 1; word && i < s.len; i++) {
        word = cedar_is_ident_part(s.ptr[i]);
    }
    return word;
}

bool schema_name_is_valid(struct str name, bool internal)
{
    for (;;) {
        const char *end = memmem(name.ptr, name.len, "::", 2);
        struct str part =
            str_make(name.ptr, end ? (size_t)(end - name.ptr) : name.len);
        if (!is_word(part) || cedar_word_is_reserved(part) ||
            (!internal && str_equal(part, STR("__cedar")))) {
            return false;
        }
        if (!end) {
            return true;
        }
        name = str_make(end + 2, name.len - part.len - 2);
    }
}

bool schema_annotation_key_is_valid(struct str key)
{
    return is_word(key);
}

/* --- Making and freeing --- */

/* Text is copied, since names stay in it; a JSON document is borrowed while
 * it is read. */
static enum err schema_new(
    struct str source, bool copy, struct cedar_schema **out)
{
    struct cedar_schema *schema = calloc(1, sizeof(*schema));
    if (!schema) {
        return ERR_NOMEM;
    }
    schema->arena = arena_new(FIRST_CHUNK, 0);
    if (schema->arena) {
        schema->source = copy ? arena_copy(schema->arena, source) : source;
    }
    if (!schema->arena || (copy && !schema->source.ptr)) {
        cedar_schema_free(&schema);
        return ERR_NOMEM;
    }
    *out = schema;
    return ERR_OK;
}

void cedar_schema_free(struct cedar_schema **schema)
{
    if (*schema) {
        arena_free(&(*schema)->arena);
        free(*schema);
        *schema = NULL;
    }
}

static enum err finish(
    struct schema_reader *reader, enum err err, struct cedar_schema **out)
{
    if (err == ERR_OK) {
        err = schema_resolve(reader);
    }
    if (err == ERR_OK) {
        reader->schema->source = STR("");
        *out = reader->schema;
        return ERR_OK;
    }
    cedar_schema_free(&reader->schema);
    return err;
}

static enum err check_text(
    struct str text, struct cedar_diagnostics *diagnostics)
{
    if (text.len >= UINT32_MAX) {
        cedar_diagnostics_add(diagnostics, CEDAR_ERROR, STR(""), 0, STR(""),
            "the schema is larger than 4 GiB");
        return ERR_LIMIT;
    }
    if (!str_is_utf8(text)) {
        cedar_diagnostics_add(diagnostics, CEDAR_ERROR, STR(""), 0, STR(""),
            "the schema is not UTF-8 text");
        return ERR_SYNTAX;
    }
    return ERR_OK;
}

enum err cedar_schema_parse_text(struct str text,
    struct cedar_diagnostics *diagnostics, struct cedar_schema **out)
{
    struct schema_reader reader = {.diagnostics = diagnostics};
    enum err err = check_text(text, diagnostics);
    if (err == ERR_OK) {
        err = schema_new(text, true, &reader.schema);
    }
    if (err != ERR_OK) {
        return err;
    }
    return finish(&reader, schema_text_read(&reader), out);
}

enum err cedar_schema_from_json(const struct json *json, uint32_t at,
    struct cedar_diagnostics *diagnostics, struct cedar_schema **out)
{
    struct schema_reader reader = {.diagnostics = diagnostics};
    enum err err = schema_new(json->text, false, &reader.schema);
    if (err != ERR_OK) {
        return err;
    }
    return finish(&reader, schema_json_read(&reader, json, at), out);
}

enum err cedar_schema_parse_json(struct str text,
    struct cedar_diagnostics *diagnostics, struct cedar_schema **out)
{
    struct arena *arena = arena_new(FIRST_CHUNK, 0);
    struct json json;
    struct json_error error = {0};
    struct json_limits limits = {.max_depth = 4 * CEDAR_TYPE_DEPTH_MAX};
    if (!arena) {
        return ERR_NOMEM;
    }
    enum err err = json_parse(arena, text, &limits, &json, &error);
    if (err == ERR_OK) {
        err = cedar_schema_from_json(&json, 0, diagnostics, out);
    } else if (err != ERR_NOMEM) {
        cedar_diagnostics_add(diagnostics, CEDAR_ERROR, text, error.offset,
            STR(""), "the schema is not JSON: %s", error.reason);
    }
    arena_free(&arena);
    return err;
}

enum err cedar_schema_parse(struct str text,
    struct cedar_diagnostics *diagnostics, struct cedar_schema **out)
{
    size_t at = 0;
    while (at < text.len && strchr(" \t\r\n", text.ptr[at]) && text.ptr[at]) {
        at++;
    }
    return at < text.len && text.ptr[at] == '{'
               ? cedar_schema_parse_json(text, diagnostics, out)
               : cedar_schema_parse_text(text, diagnostics, out);
}

/* --- Asking --- */

size_t cedar_schema_entity_type_count(const struct cedar_schema *schema)
{
    return schema->entity_type_count;
}

const struct cedar_entity_type *cedar_schema_entity_type_at(
    const struct cedar_schema *schema, size_t index)
{
    return &schema->entity_types[index];
}

size_t cedar_schema_action_count(const struct cedar_schema *schema)
{
    return schema->action_count;
}

const struct cedar_action *cedar_schema_action_at(
    const struct cedar_schema *schema, size_t index)
{
    return &schema->actions[index];
}

static int entity_type_by_name(const void *key, const void *item)
{
    const struct cedar_entity_type *type = item;
    return str_compare(*(const struct str *)key, type->name);
}

const struct cedar_entity_type *cedar_schema_entity_type(
    const struct cedar_schema *schema, struct str name)
{
    return bsearch(&name, schema->entity_types, schema->entity_type_count,
        sizeof(*schema->entity_types), entity_type_by_name);
}

static int action_by_uid(const void *key, const void *item)
{
    const struct cedar_uid *uid = key;
    const struct cedar_action *action = item;
    int order = str_compare(uid->type, action->uid.type);
    return order != 0 ? order : str_compare(uid->id, action->uid.id);
}

const struct cedar_action *cedar_schema_action(
    const struct cedar_schema *schema, const struct cedar_uid *uid)
{
    return bsearch(uid, schema->actions, schema->action_count,
        sizeof(*schema->actions), action_by_uid);
}

bool cedar_type_name_is_action(struct str name)
{
    return str_equal(name, STR("Action")) || str_ends(name, STR("::Action"));
}

static bool has_number(const uint32_t *list, uint32_t count, uint32_t number)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (list[middle] == number) {
            return true;
        }
        if (list[middle] < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

bool cedar_entity_type_in(
    const struct cedar_entity_type *a, const struct cedar_entity_type *b)
{
    return has_number(a->ancestors, a->ancestor_count, b->index);
}

bool cedar_action_in(const struct cedar_action *a, const struct cedar_action *b)
{
    return a == b || has_number(a->ancestors, a->ancestor_count, b->index);
}

bool cedar_entity_type_allows(
    const struct cedar_entity_type *type, struct str id)
{
    if (!type->is_enum) {
        return true;
    }
    uint32_t low = 0, high = type->choice_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = str_compare(type->choices[middle], id);
        if (order == 0) {
            return true;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}
