/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/json_value.c - what can be asked of a tape: members, texts, numbers.
 *
 * Everything here trusts that json_parse has validated the text. */
#include "lib/json.h"

#include "lib/json_priv.h"

int json_unescape_step(const char **at, char out[4])
{
    static const char plain[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
    const char *p = *at;

    if (p[0] != '\\') {
        out[0] = p[0];
        *at = p + 1;
        return 1;
    }
    if (p[1] != 'u') {
        const char *found = plain;
        while (*found && *found != p[1])
            found += 2;
        out[0] = found[1];
        *at = p + 2;
        return 1;
    }
    uint32_t c = (uint32_t)json_hex4(p + 2, p + 6);
    *at = p + 6;
    if (c >= 0xd800 && c <= 0xdbff) {
        c = 0x10000 + ((c - 0xd800) << 10) +
            ((uint32_t)json_hex4(p + 8, p + 12) - 0xdc00);
        *at = p + 12;
        out[0] = (char)(0xf0 | (c >> 18));
        out[1] = (char)(0x80 | ((c >> 12) & 0x3f));
        out[2] = (char)(0x80 | ((c >> 6) & 0x3f));
        out[3] = (char)(0x80 | (c & 0x3f));
        return 4;
    }
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | (c >> 6));
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    out[0] = (char)(0xe0 | (c >> 12));
    out[1] = (char)(0x80 | ((c >> 6) & 0x3f));
    out[2] = (char)(0x80 | (c & 0x3f));
    return 3;
}

void json_position(struct str text, size_t offset, int *line, int *column)
{
    size_t start = 0;

    *line = 1;
    if (offset > text.len)
        offset = text.len;
    for (size_t i = 0; i < offset; i++) {
        if (text.ptr[i] == '\n') {
            ++*line;
            start = i + 1;
        }
    }
    *column = (int)(offset - start) + 1;
}

struct str json_span(const struct json *json, uint32_t at)
{
    struct str raw = json_raw(json, at);
    if (json->tokens[at].type == JSON_STRING)
        return str_make(raw.ptr - 1, raw.len + 2);
    return raw;
}

bool json_string_equals(const struct json *json, uint32_t at, struct str text)
{
    struct str raw = json_raw(json, at);
    const char *p = raw.ptr, *end = raw.ptr + raw.len;
    size_t seen = 0;
    char out[4];

    if (json->tokens[at].type != JSON_STRING)
        return false;
    if (!(json->tokens[at].flags & JSON_ESCAPED))
        return str_equal(raw, text);
    while (p < end) {
        size_t n = (size_t)json_unescape_step(&p, out);
        if (text.len - seen < n || memcmp(text.ptr + seen, out, n) != 0)
            return false;
        seen += n;
    }
    return seen == text.len;
}

size_t json_text_length(const struct json *json, uint32_t at)
{
    struct str raw = json_raw(json, at);
    const char *p = raw.ptr, *end = raw.ptr + raw.len;
    size_t length = 0;
    char out[4];

    if (!(json->tokens[at].flags & JSON_ESCAPED))
        return raw.len;
    while (p < end) {
        const char *escape = memchr(p, '\\', (size_t)(end - p));
        if (!escape)
            return length + (size_t)(end - p);
        length += (size_t)(escape - p);
        p = escape;
        length += (size_t)json_unescape_step(&p, out);
    }
    return length;
}

uint32_t json_find(const struct json *json, uint32_t object, struct str key)
{
    if (object == JSON_NONE || json->tokens[object].type != JSON_OBJECT)
        return JSON_NONE;
    for (JSON_EACH_MEMBER(json, object, at))
        if (json_string_equals(json, at, key))
            return at + 1;
    return JSON_NONE;
}

enum err json_text(
    const struct json *json, uint32_t at, struct arena *arena, struct str *out)
{
    if (json->tokens[at].type != JSON_STRING)
        return ERR_SYNTAX;
    struct str raw = json_raw(json, at);
    if (!(json->tokens[at].flags & JSON_ESCAPED)) {
        *out = raw;
        return ERR_OK;
    }
    const char *p = raw.ptr, *end = raw.ptr + raw.len;
    size_t n = 0;
    /* an escape is never shorter than what it stands for; 4 bytes of slack
     * because a step may be handed four */
    char *bytes = arena_alloc(arena, raw.len + 4);
    if (!bytes)
        return ERR_NOMEM;
    while (p < end)
        n += (size_t)json_unescape_step(&p, bytes + n);
    *out = str_make(bytes, n);
    return ERR_OK;
}

enum err json_int64(const struct json *json, uint32_t at, int64_t *out)
{
    const struct json_token *t = &json->tokens[at];
    struct str raw = json_raw(json, at);
    bool negative = false;
    uint64_t value = 0;

    if (t->type != JSON_NUMBER || !(t->flags & JSON_INTEGER))
        return ERR_SYNTAX;
    if (raw.ptr[0] == '-') {
        negative = true;
        raw = str_make(raw.ptr + 1, raw.len - 1);
    }
    for (size_t i = 0; i < raw.len; i++)
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(raw.ptr[i] - '0'), &value))
            return ERR_RANGE;
    if (value > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return ERR_RANGE;
    *out = negative ? (int64_t)(0 - value) : (int64_t)value;
    return ERR_OK;
}

/* The exponent behind `e`, held within +-2^32: more digits than any text has,
 * so a clamped one cannot change the result. */
static int64_t read_exponent(const char *p, const char *end)
{
    const int64_t most = INT64_C(1) << 33;
    bool negative = *p == '-';
    int64_t value = 0;

    if (*p == '-' || *p == '+')
        p++;
    for (; p < end; p++) {
        value = value * 10 + (*p - '0');
        if (value > most)
            value = most;
    }
    return negative ? -value : value;
}

/* *cut: something above was left out (of what is negative, nothing). */
static enum err read_decimal4(
    const struct json *json, uint32_t at, int64_t *out, bool *cut)
{
    struct str raw = json_raw(json, at);
    const char *p = raw.ptr, *end = raw.ptr + raw.len;
    bool negative = false, fraction = false;
    int64_t shift = 4; /* decimal places to move the digits to the left */

    if (json->tokens[at].type != JSON_NUMBER)
        return ERR_SYNTAX;
    if (*p == '-') {
        negative = true;
        p++;
    }
    const char *digits = p;
    int64_t places = 0, count = 0;
    for (; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.') {
            fraction = true;
            continue;
        }
        count++;
        places += fraction;
    }
    const char *digits_end = p;
    if (p < end)
        shift += read_exponent(p + 1, end);
    int64_t keep = count + shift - places;
    int64_t value = 0;
    *cut = false;
    for (p = digits; p < digits_end; p++) {
        if (*p == '.')
            continue;
        if (keep <= 0) {
            *cut |= *p != '0';
            continue;
        }
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *p - '0', &value))
            return ERR_RANGE;
        keep--;
    }
    for (; keep > 0 && value != 0; keep--)
        if (__builtin_mul_overflow(value, 10, &value))
            return ERR_RANGE;
    *out = negative ? -value : value;
    *cut = *cut && !negative;
    return ERR_OK;
}

enum err json_decimal4(const struct json *json, uint32_t at, int64_t *out)
{
    bool cut;

    return read_decimal4(json, at, out, &cut);
}

enum err json_decimal4_up(const struct json *json, uint32_t at, int64_t *out)
{
    bool cut;
    enum err err = read_decimal4(json, at, out, &cut);

    if (!err && cut && __builtin_add_overflow(*out, 1, out))
        return ERR_RANGE;
    return err;
}

const char *json_type_name(enum json_type type)
{
    switch (type) {
    case JSON_NULL:
        return "null";
    case JSON_FALSE:
    case JSON_TRUE:
        return "boolean";
    case JSON_NUMBER:
        return "number";
    case JSON_STRING:
        return "string";
    case JSON_ARRAY:
        return "array";
    case JSON_OBJECT:
        return "object";
    }
    return "unknown";
}
