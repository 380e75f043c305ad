/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/fields.c - request bodies and queries, read by a table of
 * fields: types, bounds, unknown members with a suggestion; all errors at
 * once. */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"
#include "proxy/name.h"

#include <stdio.h>
#include <stdlib.h>

#define NAMES_MAX 1000
#define TEXT_MAX_BYTES 1024 /* where a field sets no bound */

struct reading {
    struct admin_call *call;
    json_t *errors; /* [{"field":..., "message":...}] */
    char first[ERRINFO_MAX];
};

static void wrong(struct reading *r, const char *field, const char *format, ...)
    PRINTFLIKE(3, 4);
static void wrong(struct reading *r, const char *field, const char *format, ...)
{
    char text[512];
    va_list arguments;
    json_t *error = json_object();

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (!r->errors)
        r->errors = json_array();
    if (!r->first[0])
        snprintf(r->first, sizeof r->first, "%s: %s", field, text);
    admin_set_text(error, "field", str_from(field));
    admin_set_text(error, "message", str_from(text));
    json_array_append_new(r->errors, error);
}

/* --- Kinds ----------------------------------------------------------- */

static const char *choice_of(const char *choices, struct str value)
{
    struct str rest = str_from(choices), word;

    while (rest.len > 0) {
        str_split(rest, ' ', &word, &rest);
        if (str_equal(word, value))
            return word.ptr;
    }
    return NULL;
}

static void read_text(struct reading *r, const struct admin_field *field,
    struct str value, void *member)
{
    int64_t most = field->most ? field->most : TEXT_MAX_BYTES;

    switch (field->kind) {
    case FIELD_NAME:
        if (!name_is_good(value)) {
            wrong(r, field->name,
                "\"%.*s\" is no name: 1 to %d bytes of letters, digits and "
                ". _ : / @ + -, beginning with a letter or digit",
                STR_ARG(value), NAME_BYTES_MAX);
            return;
        }
        break;
    case FIELD_WORD:
        if (!choice_of(field->choices, value)) {
            wrong(r, field->name, "\"%.*s\" is none of: %s", STR_ARG(value),
                field->choices);
            return;
        }
        break;
    case FIELD_TIME: {
        int64_t *out = member, now = clock_now(), span;
        if (clock_parse(value, out) == ERR_OK)
            return;
        if (clock_parse_duration(value, &span) == ERR_OK &&
            !__builtin_add_overflow(now, span, out))
            return;
        wrong(r, field->name,
            "\"%.*s\" is no time; write 2026-12-31, 2026-12-31T18:00:00Z, or "
            "a span such as 90d",
            STR_ARG(value));
        return;
    }
    case FIELD_TEXT:
    case FIELD_INT:
    case FIELD_BOOL:
    case FIELD_NAMES:
    case FIELD_TEXTS:
        if ((int64_t)value.len < field->least || (int64_t)value.len > most) {
            wrong(r, field->name, "%zu bytes long; it must be %lld to %lld",
                value.len, (long long)field->least, (long long)most);
            return;
        }
        if (memchr(value.ptr, '\0', value.len)) {
            wrong(r, field->name, "holds a NUL character");
            return;
        }
        break;
    }
    *(struct str *)member = value;
}

static void read_int(struct reading *r, const struct admin_field *field,
    int64_t value, void *member)
{
    if (value < field->least || value > field->most)
        wrong(r, field->name, "%lld; it must be from %lld to %lld",
            (long long)value, (long long)field->least, (long long)field->most);
    else
        *(int64_t *)member = value;
}

static struct str text_of(const json_t *value)
{
    return str_make(json_string_value(value), json_string_length(value));
}

static void read_names(struct reading *r, const struct admin_field *field,
    const json_t *value, void *member)
{
    struct admin_names *names = member;
    size_t count = json_array_size(value);
    struct str *items =
        ARENA_ARRAY(r->call->arena, count ? count : 1, struct str);

    if (count > NAMES_MAX || !items) {
        wrong(r, field->name, "%zu elements; at most %d", count, NAMES_MAX);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(value, i);
        if (field->kind == FIELD_TEXTS) {
            size_t bytes = json_string_length(item);
            if (!json_is_string(item) || (int64_t)bytes < field->least ||
                (int64_t)bytes > field->most ||
                memchr(json_string_value(item), '\0', bytes)) {
                wrong(r, field->name,
                    "element %zu must be a text of %lld to %lld bytes", i + 1,
                    (long long)field->least, (long long)field->most);
                return;
            }
        } else if (!json_is_string(item) || !name_is_good(text_of(item))) {
            wrong(r, field->name, "element %zu is no name", i + 1);
            return;
        }
        items[i] = text_of(item);
    }
    names->items = items;
    names->count = count;
}

static void read_member(struct reading *r, const struct admin_field *field,
    const json_t *value, void *out)
{
    void *member = (char *)out + field->offset;

    if (json_is_null(value)) {
        if (field->required)
            wrong(r, field->name, "must not be null");
        return;
    }
    switch (field->kind) {
    case FIELD_TEXT:
    case FIELD_NAME:
    case FIELD_WORD:
    case FIELD_TIME:
        if (json_is_string(value))
            read_text(r, field, text_of(value), member);
        else
            wrong(r, field->name, "must be a string");
        break;
    case FIELD_INT:
        if (json_is_integer(value))
            read_int(r, field, json_integer_value(value), member);
        else
            wrong(r, field->name, "must be a whole number");
        break;
    case FIELD_BOOL:
        if (json_is_boolean(value))
            *(bool *)member = json_is_true(value);
        else
            wrong(r, field->name, "must be true or false");
        break;
    case FIELD_NAMES:
    case FIELD_TEXTS:
        if (json_is_array(value))
            read_names(r, field, value, member);
        else
            wrong(r, field->name, "must be an array of strings");
        break;
    }
}

/* --- Both ------------------------------------------------------------ */

static const struct admin_field *find_field(
    const struct admin_field *fields, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++)
        if (str_equal(str_from(fields[i].name), name))
            return &fields[i];
    return NULL;
}

static void unknown(struct reading *r, const struct admin_field *fields,
    size_t count, const char *name)
{
    struct str names[64], near;
    struct buf all;
    size_t n = 0;

    buf_init(&all, 4096);
    for (size_t i = 0; i < count && n < 64; i++) {
        names[n++] = str_from(fields[i].name);
        buf_printf(&all, "%s%s", i > 0 ? ", " : "", fields[i].name);
    }
    if (admin_is_list(r->call->operation))
        buf_printf(&all, "%slimit, after", count > 0 ? ", " : "");
    near = str_suggest(str_from(name), names, n);
    if (near.len > 0)
        wrong(r, name, "is not known here; did you mean \"%.*s\"?",
            STR_ARG(near));
    else
        wrong(r, name, "is not known here; known: %s", buf_cstr(&all));
    buf_fini(&all);
}

static enum err finish(struct reading *r)
{
    if (!r->errors)
        return ERR_OK;
    admin_problem_with(r->call, 400, "invalid-request", r->errors, r->first);
    return ERR_INVALID;
}

enum err admin_read_body(struct admin_call *call,
    const struct admin_field *fields, size_t count, void *out)
{
    struct reading r = {.call = call};
    const char *key;
    json_t *value;

    json_object_foreach(call->body, key, value)
    {
        const struct admin_field *field =
            find_field(fields, count, str_from(key));
        if (field)
            read_member(&r, field, value, out);
        else
            unknown(&r, fields, count, key);
    }
    for (size_t i = 0; i < count; i++)
        if (fields[i].required && !json_object_get(call->body, fields[i].name))
            wrong(&r, fields[i].name, "is missing");
    return finish(&r);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

struct str admin_decode(struct arena *arena, struct str text, bool plus)
{
    char *bytes = arena_alloc(arena, text.len + 1);
    size_t n = 0;

    if (!bytes)
        return str_make(NULL, 0);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            bool whole = text.len - i > 2;
            int high = whole ? hex_digit(text.ptr[i + 1]) : -1;
            int low = whole ? hex_digit(text.ptr[i + 2]) : -1;
            if (high < 0 || low < 0 || (high == 0 && low == 0))
                return str_make(NULL, 0);
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        bytes[n++] = c;
    }
    bytes[n] = '\0';
    return str_is_utf8(str_make(bytes, n)) ? str_make(bytes, n)
                                           : str_make(NULL, 0);
}

static void read_pair(struct reading *r, const struct admin_field *fields,
    size_t count, struct str name, struct str value, void *out)
{
    const struct admin_field *field = find_field(fields, count, name);
    struct buf shown;
    int64_t number;

    if (!field) {
        buf_init(&shown, 256);
        buf_append_str(&shown, name);
        unknown(r, fields, count, buf_cstr(&shown));
        buf_fini(&shown);
        return;
    }
    switch (field->kind) {
    case FIELD_TEXT:
    case FIELD_NAME:
    case FIELD_WORD:
    case FIELD_TIME:
        read_text(r, field, value, (char *)out + field->offset);
        break;
    case FIELD_INT:
        if (str_to_i64(value, &number) == ERR_OK)
            read_int(r, field, number, (char *)out + field->offset);
        else
            wrong(r, field->name, "must be a whole number");
        break;
    case FIELD_BOOL:
        if (str_equal(value, STR("true")) || str_equal(value, STR("1")))
            *(bool *)((char *)out + field->offset) = true;
        else if (str_equal(value, STR("false")) || str_equal(value, STR("0")))
            *(bool *)((char *)out + field->offset) = false;
        else
            wrong(r, field->name, "must be true or false");
        break;
    case FIELD_NAMES:
    case FIELD_TEXTS:
        wrong(r, field->name, "cannot stand in a query");
        break;
    }
}

enum err admin_read_query(struct admin_call *call,
    const struct admin_field *fields, size_t count, void *out)
{
    struct reading r = {.call = call};
    struct str rest = call->request->query, pair, name, value;

    call->query_read = true;
    while (rest.len > 0) {
        str_split(rest, '&', &pair, &rest);
        if (pair.len == 0)
            continue;
        str_split(pair, '=', &name, &value);
        name = admin_decode(call->arena, name, true);
        value = admin_decode(call->arena, value, true);
        if (!name.ptr || !value.ptr)
            wrong(&r, "query", "is not percent-encoded as a URL wants it");
        else
            read_pair(&r, fields, count, name, value, out);
    }
    for (size_t i = 0; i < count; i++)
        if (fields[i].required) {
            const struct str *member =
                (const struct str *)(const void *)((const char *)out +
                                                   fields[i].offset);
            if (fields[i].kind != FIELD_INT && member->len == 0)
                wrong(&r, fields[i].name, "is missing");
        }
    return finish(&r);
}
