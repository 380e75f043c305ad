/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/json_schema.c - walks schema and value together.
 *
 * The depth of the walk is bounded by DEPTH_MAX, whatever either holds. */
#include "lib/json_schema.h"

#include "lib/arena.h"
#include "lib/json.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

#define DEPTH_MAX 64
#define PATH_LENGTH 256

struct json_schema {
    struct arena *arena; /* the schema's own */
    struct arena *work;  /* one check's */
    struct json json;
};

struct walk {
    const struct json *schema;
    const struct json *value;
    struct arena *work;
    struct errinfo *info;
    char path[PATH_LENGTH];
    int depth;
};

static const char *const annotations[] = {"$schema", "$id", "title",
    "description", "$defs", "$comment", "examples", "format"};
static const char *const assertions[] = {"$ref", "type", "const", "enum",
    "properties", "required", "additionalProperties", "items", "minItems",
    "maxItems", "minLength", "maxLength", "pattern", "minimum", "maximum",
    "oneOf"};

static bool is_listed(
    const struct json *json, uint32_t key, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (json_string_equals(json, key, str_from(list[i])))
            return true;
    return false;
}

#define LISTED(json, key, list)                                                \
    is_listed((json), (key), (list), sizeof(list) / sizeof((list)[0]))

/* --- The schema itself -----------------------------------------------------
 */

static enum err check_keywords(
    const struct json *json, uint32_t at, int depth, struct errinfo *info);

/* Each value of the object at `at` is a schema. */
static enum err check_schemas(
    const struct json *json, uint32_t at, int depth, struct errinfo *info)
{
    if (json_type(json, at) != JSON_OBJECT)
        return errinfo_set(
            info, ERR_UNSUPPORTED, "schema: an object of schemas is expected");
    for (JSON_EACH_MEMBER(json, at, key)) {
        enum err err = check_keywords(json, key + 1, depth + 1, info);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

static enum err check_keywords(
    const struct json *json, uint32_t at, int depth, struct errinfo *info)
{
    if (depth > DEPTH_MAX)
        return errinfo_set(info, ERR_LIMIT, "schema: nested too deep");
    if (json_type(json, at) != JSON_OBJECT)
        return errinfo_set(
            info, ERR_UNSUPPORTED, "schema: an object is expected");
    for (JSON_EACH_MEMBER(json, at, key)) {
        enum err err = ERR_OK;
        if (json_string_equals(json, key, STR("properties")) ||
            json_string_equals(json, key, STR("$defs")))
            err = check_schemas(json, key + 1, depth + 1, info);
        else if (json_string_equals(json, key, STR("items")))
            err = check_keywords(json, key + 1, depth + 1, info);
        else if (json_string_equals(json, key, STR("oneOf"))) {
            for (JSON_EACH_ELEMENT(json, key + 1, one))
                if (err == ERR_OK)
                    err = check_keywords(json, one, depth + 1, info);
        } else if (!LISTED(json, key, annotations) &&
                   !LISTED(json, key, assertions))
            err = errinfo_set(info, ERR_UNSUPPORTED,
                "schema: keyword \"%.*s\" is not understood",
                STR_ARG(json_raw(json, key)));
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

enum err json_schema_new(
    struct str text, struct json_schema **out, struct errinfo *info)
{
    struct json_error error = {0};
    enum err err = ERR_NOMEM;
    struct json_schema *schema = calloc(1, sizeof(*schema));
    if (!schema)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    schema->arena = arena_new(text.len + 65536, 0);
    schema->work = arena_new(65536, 0);
    struct str copy = {0};
    if (schema->arena && schema->work)
        copy = arena_copy(schema->arena, text);
    if (!copy.ptr) {
        errinfo_set(info, ERR_NOMEM, "out of memory");
        goto out;
    }
    err = json_parse(schema->arena, copy, NULL, &schema->json, &error);
    if (err != ERR_OK) {
        errinfo_set(info, err, "schema: %s at byte %zu",
            error.reason ? error.reason : "out of memory", error.offset);
        goto out;
    }
    err = check_keywords(&schema->json, 0, 0, info);
    if (err == ERR_OK) {
        *out = schema;
        schema = NULL;
    }
out:
    json_schema_free(&schema);
    return err;
}

void json_schema_free(struct json_schema **schema)
{
    if (!*schema)
        return;
    arena_free(&(*schema)->arena);
    arena_free(&(*schema)->work);
    free(*schema);
    *schema = NULL;
}

/* --- A value against it ------------------------------------------------------
 */

static enum err fits(struct walk *w, uint32_t schema, uint32_t value);

static enum err misfit(struct walk *w, const char *what, struct str detail)
{
    return errinfo_set(w->info, ERR_INVALID, "%s: %s%s%.*s", w->path, what,
        detail.len ? " " : "", STR_ARG(detail));
}

static uint32_t keyword(struct walk *w, uint32_t schema, struct str name)
{
    return json_find(w->schema, schema, name);
}

static enum err push(struct walk *w, size_t *length, struct str step, int index)
{
    *length = strlen(w->path);
    if (index >= 0)
        snprintf(w->path + *length, PATH_LENGTH - *length, "[%d]", index);
    else
        snprintf(
            w->path + *length, PATH_LENGTH - *length, ".%.*s", STR_ARG(step));
    return ++w->depth > DEPTH_MAX ? misfit(w, "nested too deep", STR(""))
                                  : ERR_OK;
}

static void pop(struct walk *w, size_t length)
{
    w->path[length] = '\0';
    w->depth--;
}

static bool is_type(struct walk *w, uint32_t value, uint32_t name)
{
    const struct json_token *t = &w->value->tokens[value];
    if (json_string_equals(w->schema, name, STR("integer")))
        return t->type == JSON_NUMBER && (t->flags & JSON_INTEGER);
    if (json_string_equals(w->schema, name, STR("boolean")))
        return t->type == JSON_TRUE || t->type == JSON_FALSE;
    return json_string_equals(
        w->schema, name, str_from(json_type_name((enum json_type)t->type)));
}

/* Scalars only: the constants of our schemas are strings and numbers. */
static bool is_equal(struct walk *w, uint32_t schema, uint32_t value)
{
    struct str a, b;
    if (json_type(w->schema, schema) != json_type(w->value, value))
        return false;
    if (json_type(w->schema, schema) != JSON_STRING)
        return str_equal(
            json_span(w->schema, schema), json_span(w->value, value));
    return json_text(w->schema, schema, w->work, &a) == ERR_OK &&
           json_text(w->value, value, w->work, &b) == ERR_OK && str_equal(a, b);
}

static enum err fits_type(struct walk *w, uint32_t schema, uint32_t value)
{
    uint32_t at = keyword(w, schema, STR("type"));
    if (at != JSON_NONE && json_type(w->schema, at) == JSON_ARRAY) {
        bool any = false;
        for (JSON_EACH_ELEMENT(w->schema, at, one))
            any = any || is_type(w, value, one);
        if (!any)
            return misfit(w, "type is none of", json_span(w->schema, at));
    } else if (at != JSON_NONE && !is_type(w, value, at)) {
        return misfit(w, "type is not", json_span(w->schema, at));
    }
    at = keyword(w, schema, STR("const"));
    if (at != JSON_NONE && !is_equal(w, at, value))
        return misfit(w, "is not", json_span(w->schema, at));
    at = keyword(w, schema, STR("enum"));
    if (at != JSON_NONE) {
        bool any = false;
        for (JSON_EACH_ELEMENT(w->schema, at, one))
            any = any || is_equal(w, one, value);
        if (!any)
            return misfit(w, "is none of", json_span(w->schema, at));
    }
    return ERR_OK;
}

/* Does the bound `name` exist and hold in its direction? */
static bool within(struct walk *w, uint32_t schema, struct str name,
    bool maximum, int64_t value)
{
    int64_t bound;
    uint32_t at = keyword(w, schema, name);
    if (at == JSON_NONE || json_int64(w->schema, at, &bound) != ERR_OK)
        return at == JSON_NONE;
    return maximum ? value <= bound : value >= bound;
}

static enum err fits_number(struct walk *w, uint32_t schema, uint32_t value)
{
    int64_t number;
    if (keyword(w, schema, STR("minimum")) == JSON_NONE &&
        keyword(w, schema, STR("maximum")) == JSON_NONE)
        return ERR_OK;
    if (json_int64(w->value, value, &number) != ERR_OK)
        return misfit(w, "is no integer of 64 bits", STR(""));
    if (!within(w, schema, STR("minimum"), false, number) ||
        !within(w, schema, STR("maximum"), true, number))
        return misfit(w, "is out of bounds:", json_span(w->value, value));
    return ERR_OK;
}

static enum err fits_pattern(struct walk *w, uint32_t pattern, struct str text)
{
    struct str source;
    regex_t regex;
    if (json_text(w->schema, pattern, w->work, &source) != ERR_OK)
        return misfit(w, "the schema's pattern is no string", STR(""));
    const char *expression = arena_cstr(w->work, source);
    const char *subject = arena_cstr(w->work, text);
    if (!expression || !subject)
        return errinfo_set(w->info, ERR_NOMEM, "out of memory");
    if (regcomp(&regex, expression, REG_EXTENDED | REG_NOSUB) != 0)
        return misfit(w, "the schema's pattern is bad:", source);
    int no = regexec(&regex, subject, 0, NULL, 0);
    regfree(&regex);
    if (no || strlen(subject) != text.len)
        return misfit(w, "does not match", source);
    return ERR_OK;
}

static enum err fits_string(struct walk *w, uint32_t schema, uint32_t value)
{
    struct str text;
    if (json_text(w->value, value, w->work, &text) != ERR_OK)
        return errinfo_set(w->info, ERR_NOMEM, "out of memory");
    int64_t characters = 0;
    for (size_t i = 0; i < text.len; i++)
        characters += ((unsigned char)text.ptr[i] & 0xC0) != 0x80;
    if (!within(w, schema, STR("minLength"), false, characters) ||
        !within(w, schema, STR("maxLength"), true, characters))
        return misfit(w, "length is out of bounds", STR(""));
    uint32_t pattern = keyword(w, schema, STR("pattern"));
    return pattern == JSON_NONE ? ERR_OK : fits_pattern(w, pattern, text);
}

static enum err fits_array(struct walk *w, uint32_t schema, uint32_t value)
{
    int64_t count = w->value->tokens[value].count;
    if (!within(w, schema, STR("minItems"), false, count) ||
        !within(w, schema, STR("maxItems"), true, count))
        return misfit(w, "number of elements is out of bounds", STR(""));
    uint32_t items = keyword(w, schema, STR("items"));
    if (items == JSON_NONE)
        return ERR_OK;
    int index = 0;
    for (JSON_EACH_ELEMENT(w->value, value, item)) {
        size_t length;
        enum err err = push(w, &length, STR(""), index++);
        if (err == ERR_OK)
            err = fits(w, items, item);
        if (err != ERR_OK)
            return err;
        pop(w, length);
    }
    return ERR_OK;
}

static enum err fits_object(struct walk *w, uint32_t schema, uint32_t value)
{
    uint32_t required = keyword(w, schema, STR("required"));
    uint32_t properties = keyword(w, schema, STR("properties"));
    uint32_t additional = keyword(w, schema, STR("additionalProperties"));
    bool closed = additional != JSON_NONE &&
                  json_type(w->schema, additional) == JSON_FALSE;
    struct str name;
    if (required != JSON_NONE)
        for (JSON_EACH_ELEMENT(w->schema, required, one)) {
            if (json_text(w->schema, one, w->work, &name) != ERR_OK)
                return errinfo_set(w->info, ERR_NOMEM, "out of memory");
            if (json_find(w->value, value, name) == JSON_NONE)
                return misfit(w, "lacks the member", name);
        }
    for (JSON_EACH_MEMBER(w->value, value, key)) {
        size_t length;
        if (json_text(w->value, key, w->work, &name) != ERR_OK)
            return errinfo_set(w->info, ERR_NOMEM, "out of memory");
        uint32_t property = properties == JSON_NONE
                                ? JSON_NONE
                                : json_find(w->schema, properties, name);
        if (property == JSON_NONE && closed)
            return misfit(w, "has the unknown member", name);
        if (property == JSON_NONE)
            continue;
        enum err err = push(w, &length, name, -1);
        if (err == ERR_OK)
            err = fits(w, property, key + 1);
        if (err != ERR_OK)
            return err;
        pop(w, length);
    }
    return ERR_OK;
}

/* The definition that a "$ref" names, or JSON_NONE. */
static uint32_t resolve(struct walk *w, uint32_t at)
{
    static const char prefix[] = "#/$defs/";
    struct str name;
    if (json_text(w->schema, at, w->work, &name) != ERR_OK ||
        !str_starts(name, STR(prefix)))
        return JSON_NONE;
    name.ptr += sizeof(prefix) - 1;
    name.len -= sizeof(prefix) - 1;
    uint32_t defs = json_find(w->schema, 0, STR("$defs"));
    return defs == JSON_NONE ? JSON_NONE : json_find(w->schema, defs, name);
}

static enum err fits_reference(struct walk *w, uint32_t at, uint32_t value)
{
    uint32_t target = resolve(w, at);
    if (target == JSON_NONE)
        return misfit(w, "the schema has a reference that is not understood:",
            json_span(w->schema, at));
    if (++w->depth > DEPTH_MAX)
        return misfit(w, "nested too deep", STR(""));
    enum err err = fits(w, target, value);
    w->depth--;
    return err;
}

/* An alternative is meant when the value's "type" member is what it asks. */
static bool is_meant(struct walk *w, uint32_t schema, uint32_t value)
{
    uint32_t reference = keyword(w, schema, STR("$ref"));
    if (reference != JSON_NONE)
        schema = resolve(w, reference);
    if (schema == JSON_NONE)
        return false;
    uint32_t properties = keyword(w, schema, STR("properties"));
    uint32_t asked = properties == JSON_NONE
                         ? JSON_NONE
                         : json_find(w->schema, properties, STR("type"));
    uint32_t is = json_find(w->value, value, STR("type"));
    return asked != JSON_NONE && is != JSON_NONE &&
           fits(w, asked, is) == ERR_OK;
}

/* Exactly one. Of several failures, that of the alternative that was meant. */
static enum err fits_one(struct walk *w, uint32_t choice, uint32_t value)
{
    struct errinfo *info = w->info, told = {0}, one = {0};
    char path[PATH_LENGTH];
    int depth = w->depth, found = 0;
    memcpy(path, w->path, sizeof(path));
    for (JSON_EACH_ELEMENT(w->schema, choice, at)) {
        w->info = &one;
        bool meant = is_meant(w, at, value);
        enum err err = fits(w, at, value);
        w->depth = depth;
        memcpy(w->path, path, sizeof(path));
        if (err == ERR_OK)
            found++;
        else if (meant || told.text[0] == '\0')
            told = one;
    }
    w->info = info;
    if (found == 1)
        return ERR_OK;
    if (found > 1)
        return misfit(w, "fits more than one alternative", STR(""));
    return errinfo_set(info, ERR_INVALID, "%s", told.text);
}

static enum err fits(struct walk *w, uint32_t schema, uint32_t value)
{
    enum err err = fits_type(w, schema, value);
    uint32_t at = keyword(w, schema, STR("$ref"));
    if (err == ERR_OK && at != JSON_NONE)
        err = fits_reference(w, at, value);
    at = keyword(w, schema, STR("oneOf"));
    if (err == ERR_OK && at != JSON_NONE)
        err = fits_one(w, at, value);
    if (err != ERR_OK)
        return err;
    switch (json_type(w->value, value)) {
    case JSON_NUMBER:
        return fits_number(w, schema, value);
    case JSON_STRING:
        return fits_string(w, schema, value);
    case JSON_ARRAY:
        return fits_array(w, schema, value);
    case JSON_OBJECT:
        return fits_object(w, schema, value);
    case JSON_NULL:
    case JSON_FALSE:
    case JSON_TRUE:
        break;
    }
    return ERR_OK;
}

enum err json_schema_check(
    struct json_schema *schema, struct str document, struct errinfo *info)
{
    struct json value;
    struct json_error error = {0};
    struct errinfo own;
    struct walk walk = {.schema = &schema->json,
        .value = &value,
        .work = schema->work,
        .info = info ? info : &own,
        .path = "$"};
    arena_reset(schema->work);
    enum err err = json_parse(schema->work, document, NULL, &value, &error);
    if (err != ERR_OK)
        return errinfo_set(info, err, "$: %s at byte %zu",
            error.reason ? error.reason : "out of memory", error.offset);
    return fits(&walk, 0, 0);
}
