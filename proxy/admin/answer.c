/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/answer.c - JSON answers, problem documents (RFC 9457), and
 * canonical JSON (RFC 8785) for the audit events. */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"
#include "lib/encode.h"
#include "lib/http1.h"
#include "lib/json_write.h"

#include <stdio.h>
#include <stdlib.h>

#define PROBLEM_TYPE "urn:bailiff:problem:"
#define CANONICAL_MAX AUDIT_OBJECT_MAX

static int append_answer(const char *bytes, size_t n, void *context)
{
    struct buf *out = context;

    buf_append(out, bytes, n);
    return out->failed ? -1 : 0;
}

static void write_out_of_memory(struct admin_response *response)
{
    static const char text[] =
        "{\"type\":\"" PROBLEM_TYPE "out-of-memory\","
        "\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"the "
        "answer does not fit into memory; ask for less of it\"}\n";

    buf_clear(&response->body);
    buf_append(&response->body, text, sizeof text - 1);
    response->status = 503;
    response->content_type = "application/problem+json";
}

static void write_json(struct admin_call *call, int status,
    const char *content_type, json_t *answer)
{
    call->answered = true;
    buf_clear(&call->response->body);
    if (!answer || json_dump_callback(answer, append_answer,
                       &call->response->body, JSON_COMPACT) != 0) {
        write_out_of_memory(call->response);
        json_decref(answer);
        return;
    }
    buf_append_char(&call->response->body, '\n');
    call->response->status = status;
    call->response->content_type = content_type;
    json_decref(answer);
}

enum err admin_answer(struct admin_call *call, int status, json_t *answer)
{
    write_json(call, status, "application/json", answer);
    return ERR_OK;
}

enum err admin_answer_list(struct admin_call *call, json_t *items)
{
    return admin_answer_page(call, items);
}

void admin_problem_with(struct admin_call *call, int status, const char *kind,
    json_t *errors, const char *detail)
{
    json_t *problem = json_object();
    char type[80];

    snprintf(type, sizeof type, PROBLEM_TYPE "%s", kind);
    admin_set_text(problem, "type", str_from(type));
    admin_set_text(problem, "title", str_from(http1_status_text(status)));
    admin_set_int(problem, "status", status);
    admin_set_text(problem, "detail", str_from(detail));
    if (errors)
        admin_set(problem, "errors", errors);
    write_json(call, status, "application/problem+json", problem);
}

void admin_problem(struct admin_call *call, int status, const char *kind,
    const char *format, ...)
{
    char detail[ERRINFO_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    admin_problem_with(call, status, kind, NULL, detail);
}

int admin_status_of(enum err err)
{
    switch (err) {
    case ERR_OK:
        return 200;
    case ERR_SYNTAX:
    case ERR_RANGE:
    case ERR_LIMIT:
    case ERR_INVALID:
    case ERR_UNSUPPORTED:
        return 400;
    case ERR_DENIED:
        return 403;
    case ERR_NOTFOUND:
        return 404;
    case ERR_EXISTS:
    case ERR_WRONG_STATE:
        return 409;
    case ERR_NOMEM:
    case ERR_FULL:
    case ERR_AGAIN:
    case ERR_TIMEOUT:
        return 503;
    case ERR_IO:
    case ERR_CORRUPT:
    case ERR_CLOSED:
        return 500;
    }
    return 500;
}

static const char *problem_of(int status)
{
    switch (status) {
    case 400:
        return "invalid-request";
    case 403:
        return "forbidden";
    case 404:
        return "not-found";
    case 409:
        return "conflict";
    case 503:
        return "unavailable";
    }
    return "internal";
}

void admin_fail(struct admin_call *call, enum err err)
{
    int status = admin_status_of(err);

    if (call->answered)
        return;
    admin_problem(call, status, problem_of(status), "%s",
        call->info.text[0] ? call->info.text : err_name(err));
}

/* --- Values ---------------------------------------------------------- */

/* Bytes that are no UTF-8 (a text that was cut, an odd file name) come out as
 * U+FFFD rather than as a missing member. */
json_t *admin_text(struct str text)
{
    json_t *value = json_stringn(text.ptr ? text.ptr : "", text.len);
    struct buf quoted;

    if (value)
        return value;
    buf_init(&quoted, ADMIN_ANSWER_MAX);
    json_quote(&quoted, text);
    if (!quoted.failed)
        value = json_loadb(buf_str(&quoted).ptr, quoted.len,
            JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    buf_fini(&quoted);
    return value;
}

json_t *admin_time(int64_t time_us)
{
    char text[CLOCK_TEXT_LENGTH];

    if (time_us == 0)
        return json_null();
    clock_format(text, time_us);
    return json_stringn(text, sizeof text);
}

json_t *admin_hex(struct str bytes)
{
    struct buf text;
    json_t *value = NULL;

    buf_init(&text, 4096);
    hex_append(&text, bytes.ptr, bytes.len);
    if (!text.failed)
        value = admin_text(buf_str(&text));
    buf_fini(&text);
    return value;
}

void admin_set(json_t *object, const char *key, json_t *value)
{
    /* A value that could not be made stands as null rather than not at all:
     * a reader sees the member, and no answer says less than its schema. */
    json_object_set_new(object, key, value ? value : json_null());
}

void admin_set_text(json_t *object, const char *key, struct str text)
{
    admin_set(object, key, admin_text(text));
}

void admin_set_int(json_t *object, const char *key, int64_t value)
{
    admin_set(object, key, json_integer(value));
}

void admin_set_bool(json_t *object, const char *key, bool value)
{
    admin_set(object, key, json_boolean(value));
}

void admin_set_time(json_t *object, const char *key, int64_t time_us)
{
    admin_set(object, key, admin_time(time_us));
}

/* --- Canonical JSON -------------------------------------------------- */

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool write_value(
    struct json_writer *w, struct arena *arena, const json_t *value, int depth);

static bool write_object(
    struct json_writer *w, struct arena *arena, const json_t *value, int depth)
{
    size_t count = json_object_size(value), at = 0;
    const char **keys = ARENA_ARRAY(arena, count ? count : 1, const char *);
    json_t *object = NULL;
    void *iterator;
    bool ok = true;

    if (!keys)
        return false;
    object = json_incref((json_t *)(uintptr_t)value);
    for (iterator = json_object_iter(object); iterator && at < count;
         iterator = json_object_iter_next(object, iterator))
        keys[at++] = json_object_iter_key(iterator);
    qsort(keys, at, sizeof *keys, compare_keys);
    json_write_object(w);
    for (size_t i = 0; i < at && ok; i++) {
        json_write_key(w, str_from(keys[i]));
        ok = write_value(w, arena, json_object_get(object, keys[i]), depth + 1);
    }
    json_write_object_end(w);
    json_decref(object);
    return ok;
}

/* Depth is bounded by JSON_WRITE_DEPTH; the values are ours. */
static bool write_value(
    struct json_writer *w, struct arena *arena, const json_t *value, int depth)
{
    if (depth >= JSON_WRITE_DEPTH - 1)
        return false;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return write_object(w, arena, value, depth);
    case JSON_ARRAY:
        json_write_array(w);
        for (size_t i = 0; i < json_array_size(value); i++)
            if (!write_value(w, arena, json_array_get(value, i), depth + 1))
                return false;
        json_write_array_end(w);
        return true;
    case JSON_STRING:
        json_write_string(
            w, str_make(json_string_value(value), json_string_length(value)));
        return true;
    case JSON_INTEGER: {
        json_int_t number = json_integer_value(value);
        if (number > JSON_INTEGER_MAX || number < -JSON_INTEGER_MAX)
            return false;
        json_write_int(w, number);
        return true;
    }
    case JSON_TRUE:
    case JSON_FALSE:
        json_write_bool(w, json_is_true(value));
        return true;
    case JSON_NULL:
        json_write_null(w);
        return true;
    case JSON_REAL:
        return false;
    }
    return false;
}

struct str admin_canonical(struct arena *arena, const json_t *value)
{
    struct json_writer w;
    struct buf text;
    struct str out = {NULL, 0};

    if (!value)
        return out;
    buf_init(&text, CANONICAL_MAX);
    json_write_init(&w, &text);
    if (write_value(&w, arena, value, 0) && !text.failed)
        out = arena_copy(arena, buf_str(&text));
    else
        /* Too long for an entry: its digest stands for it. */
        out = arena_copy(arena, STR("{\"omitted\":\"too long\"}"));
    buf_fini(&text);
    return out;
}
