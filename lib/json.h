/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/json.h - a one-pass, validating JSON reader (RFC 8259) onto a flat tape.
 *
 * The text is borrowed and must outlive the tape. Every token knows its bytes,
 * so that what was judged can be forwarded byte for byte. Refused, with the
 * offset: bad UTF-8, lone surrogates, duplicate keys (after unescaping) in one
 * object, nesting past the limit, anything after the value. Numbers keep their
 * text; nothing is rounded. Pure; any thread. No function has the name of one
 * of libjansson's, which is linked into the same program. */
#ifndef LIB_JSON_H
#define LIB_JSON_H

#include "lib/arena.h"

enum json_type {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

#define JSON_ESCAPED 1u /* string holds at least one backslash escape */
#define JSON_INTEGER 2u /* number without fraction and exponent */

#define JSON_NONE UINT32_MAX

struct json_token {
    uint8_t type;
    uint8_t flags;
    uint32_t start; /* first byte; for strings the one after the quote */
    uint32_t end;   /* one past the last; for strings the closing quote */
    uint32_t next;  /* tape index of what follows this whole value */
    uint32_t count; /* members of an object, elements of an array */
};

/* An object is followed on the tape by key, value, key, value ...; an array
 * by its elements. Token 0 is the document's value. */
struct json {
    struct str text;
    const struct json_token *tokens;
    uint32_t count;
};

struct json_limits {
    uint32_t max_depth;  /* 0: 256 */
    uint32_t max_tokens; /* 0: 4 million */
};

struct json_error {
    size_t offset;
    const char *reason; /* static words: "duplicate key", "bad escape" ... */
};

/* The tape comes from the arena. ERR_SYNTAX (error filled), ERR_LIMIT (depth
 * or tokens; error filled), ERR_NOMEM. limits and error may be NULL. Never
 * recurses. */
enum err json_parse(struct arena *arena, struct str text,
    const struct json_limits *limits, struct json *out,
    struct json_error *error) MUSTCHECK;

/* 1-based line, and column in bytes. */
void json_position(struct str text, size_t offset, int *line, int *column);

static inline enum json_type json_type(const struct json *json, uint32_t at)
{
    return (enum json_type)json->tokens[at].type;
}
/* The bytes of a token; for a string without its quotes, escapes as they are.
 */
static inline struct str json_raw(const struct json *json, uint32_t at)
{
    const struct json_token *t = &json->tokens[at];
    return str_make(json->text.ptr + t->start, t->end - t->start);
}
/* The bytes of a value with a string's quotes included. */
struct str json_span(const struct json *json, uint32_t at);
/* Value of the member `key` of the object at `object`; JSON_NONE if absent
 * (or if `object` is no object, or is JSON_NONE itself). Escaped keys are
 * compared unescaped. */
uint32_t json_find(const struct json *json, uint32_t object, struct str key);
/* Unescaped text of the string (or key) at `at`; borrows from the document
 * where nothing is escaped, else from the arena. ERR_SYNTAX: not a string. */
enum err json_text(const struct json *json, uint32_t at, struct arena *arena,
    struct str *out) MUSTCHECK;
bool json_string_equals(const struct json *json, uint32_t at, struct str text);
/* Bytes of the unescaped text of a string, without making it. */
size_t json_text_length(const struct json *json, uint32_t at);
/* ERR_SYNTAX: no number, or has a fraction or exponent; ERR_RANGE. */
enum err json_int64(
    const struct json *json, uint32_t at, int64_t *out) MUSTCHECK;
/* The number as a fixed-point value with 4 decimals, cut towards zero:
 * 0.7 gives 7000. Exponents are understood. ERR_RANGE when too large. */
enum err json_decimal4(
    const struct json *json, uint32_t at, int64_t *out) MUSTCHECK;
/* The same, the smallest that is not below the number. */
enum err json_decimal4_up(
    const struct json *json, uint32_t at, int64_t *out) MUSTCHECK;
const char *json_type_name(enum json_type type); /* "string", "object" ... */

/* for (JSON_EACH_MEMBER(json, object, key)) { uint32_t value = key + 1; ... }
 */
#define JSON_EACH_MEMBER(json, object, key)                                    \
    uint32_t key = (object) + 1;                                               \
    key < (json)->tokens[(object)].next;                                       \
    key = (json)->tokens[key + 1].next
#define JSON_EACH_ELEMENT(json, array, item)                                   \
    uint32_t item = (array) + 1;                                               \
    item < (json)->tokens[(array)].next;                                       \
    item = (json)->tokens[item].next

#endif
