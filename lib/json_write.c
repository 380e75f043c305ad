/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/json_write.c - the canonical JSON writer (RFC 8785). */
#include "lib/json_write.h"

#include "lib/must.h"

void json_write_init(struct json_writer *w, struct buf *out)
{
    w->out = out;
    w->depth = 0;
    w->after_key = false;
}

/* Before any value: the comma of an array, and that a member has its key. */
static void begin_value(struct json_writer *w)
{
    if (w->depth == 0)
        return;
    if (w->level[w->depth - 1].object) {
        MUST(w->after_key);
        w->after_key = false;
        return;
    }
    if (w->level[w->depth - 1].any)
        buf_append_char(w->out, ',');
    w->level[w->depth - 1].any = true;
}

static void open_level(struct json_writer *w, bool object)
{
    begin_value(w);
    MUST(w->depth < JSON_WRITE_DEPTH);
    w->level[w->depth].object = object;
    w->level[w->depth].any = false;
    w->depth++;
    buf_append_char(w->out, object ? '{' : '[');
}

static void close_level(struct json_writer *w, bool object)
{
    MUST(w->depth > 0 && w->level[w->depth - 1].object == object);
    MUST(!w->after_key);
    w->depth--;
    buf_append_char(w->out, object ? '}' : ']');
}

void json_write_object(struct json_writer *w)
{
    open_level(w, true);
}

void json_write_object_end(struct json_writer *w)
{
    close_level(w, true);
}

void json_write_array(struct json_writer *w)
{
    open_level(w, false);
}

void json_write_array_end(struct json_writer *w)
{
    close_level(w, false);
}

/* Marks the bytes of `eight` that cannot stand in a string as they are, or
 * that are not ASCII (0x80 set where it is so; neighbours of such a byte may
 * be marked too). */
static uint64_t special(uint64_t eight)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t quote = eight ^ (ones * '"');
    uint64_t backslash = eight ^ (ones * '\\');

    return (eight | (eight - ones * 0x20) | (quote - ones) |
               (backslash - ones)) &
           (ones * 0x80);
}

bool json_is_plain(struct str text)
{
    size_t i = 0;

    for (; i + 8 <= text.len; i += 8) {
        uint64_t eight;
        memcpy(&eight, text.ptr + i, 8);
        if (special(eight))
            return false;
    }
    for (; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
            return false;
    }
    return true;
}

/* In most cases the first byte tells. */
static inline bool is_before(struct str last, struct str key)
{
    if (last.len > 0 && key.len > 0 && last.ptr[0] != key.ptr[0])
        return (unsigned char)last.ptr[0] < (unsigned char)key.ptr[0];
    return str_compare(last, key) < 0;
}

void json_write_key(struct json_writer *w, struct str key)
{
    MUST(w->depth > 0 && w->level[w->depth - 1].object && !w->after_key);
    MUST(json_is_plain(key));
    bool any = w->level[w->depth - 1].any;
    if (any && !w->out->failed)
        MUST(is_before(
            str_make(buf_str(w->out).ptr + w->level[w->depth - 1].key_offset,
                w->level[w->depth - 1].key_length),
            key));
    w->level[w->depth - 1].any = true;
    w->level[w->depth - 1].key_offset = w->out->len + any + 1;
    w->level[w->depth - 1].key_length = key.len;
    w->after_key = true;
    char *to = buf_reserve(w->out, any + key.len + 3);
    if (!to)
        return;
    if (any)
        *to++ = ',';
    *to++ = '"';
    memcpy(to, key.ptr, key.len);
    to[key.len] = '"';
    to[key.len + 1] = ':';
    w->out->len += any + key.len + 3;
}

void json_write_string(struct json_writer *w, struct str value)
{
    begin_value(w);
    json_quote(w->out, value);
}

void json_write_int(struct json_writer *w, int64_t value)
{
    MUST(value >= -JSON_INTEGER_MAX && value <= JSON_INTEGER_MAX);
    begin_value(w);
    buf_append_i64(w->out, value);
}

void json_write_bool(struct json_writer *w, bool value)
{
    begin_value(w);
    if (value)
        buf_append(w->out, "true", 4);
    else
        buf_append(w->out, "false", 5);
}

void json_write_null(struct json_writer *w)
{
    begin_value(w);
    buf_append(w->out, "null", 4);
}

void json_write_raw(struct json_writer *w, struct str value)
{
    begin_value(w);
    buf_append_str(w->out, value);
}

void json_write_member_string(
    struct json_writer *w, struct str key, struct str value)
{
    json_write_key(w, key);
    json_write_string(w, value);
}

void json_write_member_int(struct json_writer *w, struct str key, int64_t value)
{
    json_write_key(w, key);
    json_write_int(w, value);
}

void json_write_member_bool(struct json_writer *w, struct str key, bool value)
{
    json_write_key(w, key);
    json_write_bool(w, value);
}

/* --- strings ------------------------------------------------------------- */

static void quote_control(struct buf *out, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    static const char letters[] = "\bb\tt\nn\ff\rr\"\"\\\\";

    for (const char *p = letters; *p; p += 2) {
        if (c == (unsigned char)*p) {
            text[1] = p[1];
            buf_append(out, text, 2);
            return;
        }
    }
    buf_append(out, text, 6);
}

/* Bytes at p that are UTF-8 (one sequence), or 0. */
static size_t sequence(const char *p, size_t left)
{
    unsigned char first = (unsigned char)*p;
    size_t n = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;

    if (left < n || !str_is_utf8(str_make(p, n)))
        return 0;
    return n;
}

/* Copies plain ASCII between quotes; false, with nothing written, where there
 * is anything else. */
static bool quote_plain(struct buf *out, struct str value)
{
    char *to = buf_reserve(out, value.len + 2);
    size_t i = 0;

    if (!to)
        return true; /* longer by escapes it would not fit either */
    *to++ = '"';
    for (; i + 8 <= value.len; i += 8) {
        uint64_t eight;
        memcpy(&eight, value.ptr + i, 8);
        if (special(eight))
            return false;
        memcpy(to + i, &eight, 8);
    }
    for (; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
            return false;
        to[i] = (char)c;
    }
    to[i] = '"';
    buf_grew(out, value.len + 2);
    return true;
}

void json_quote(struct buf *out, struct str value)
{
    if (quote_plain(out, value))
        return;
    const char *p = value.ptr;
    const char *end = p + value.len;
    const char *plain = p; /* start of what can be copied as it is */

    buf_append_char(out, '"');
    while (p < end) {
        unsigned char c = (unsigned char)*p;
        size_t n = 1;
        if (c >= 0x80)
            n = sequence(p, (size_t)(end - p));
        if (n && c >= 0x20 && c != '"' && c != '\\') {
            p += n;
            continue;
        }
        buf_append(out, plain, (size_t)(p - plain));
        if (n)
            quote_control(out, c);
        else
            buf_append(out, "\xef\xbf\xbd", 3);
        plain = ++p;
    }
    if (p > plain)
        buf_append(out, plain, (size_t)(p - plain));
    buf_append_char(out, '"');
}
