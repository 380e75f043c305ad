/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/json_write.c - the canonical JSON writer (RFC 8785). */
#include "lib/json_write.h"

#include <endian.h>

void json_write_init(struct json_writer *w, struct buf *out)
{
    w->out = out;
    w->depth = 0;
    w->after_key = false;
    w->level[0].object = w->level[0].any = false;
}

/* Before any value: the comma of an array, and that a member has its key. */
static inline void begin_value(struct json_writer *w)
{
    struct json_level *level = &w->level[w->depth];
    if (level->object) {
        MUST(w->after_key);
        w->after_key = false;
    } else if (w->depth > 0) {
        if (level->any)
            buf_append_char(w->out, ',');
        level->any = true;
    }
}

static inline void open_level(struct json_writer *w, bool object)
{
    begin_value(w);
    MUST(w->depth < JSON_WRITE_DEPTH);
    w->depth++;
    w->level[w->depth].object = object;
    w->level[w->depth].any = false;
    buf_append_char(w->out, object ? '{' : '[');
}

static inline void close_level(struct json_writer *w, bool object)
{
    MUST(w->depth > 0 && w->level[w->depth].object == object);
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

/* Up to eight bytes as they stand in memory, zeros behind. */
static inline uint64_t load_short(const char *from, size_t n)
{
    uint64_t eight = 0;
    if (n >= 4) {
        uint32_t front, back; /* they overlap where n < 8 */
        memcpy(&front, from, 4);
        memcpy(&back, from + n - 4, 4);
        eight = htole64((uint64_t)le32toh(front) | (uint64_t)le32toh(back)
                                                       << (8 * (n - 4)));
    } else if (n > 0) {
        char bytes[8] = {from[0]};
        bytes[n / 2] = from[n / 2];
        bytes[n - 1] = from[n - 1];
        memcpy(&eight, bytes, 8);
    }
    return eight;
}

static inline uint64_t load_eight(const char *from)
{
    uint64_t eight;
    memcpy(&eight, from, 8);
    return eight;
}

/* Plain bytes where the text of n < 8 bytes has none. */
static inline uint64_t padding(size_t n)
{
    return htole64(UINT64_C(0x6161616161616161) << (8 * n));
}

bool json_is_plain(struct str text)
{
    if (text.len < 8)
        return special(load_short(text.ptr, text.len) | padding(text.len)) == 0;
    uint64_t found = special(load_eight(text.ptr + text.len - 8));
    for (size_t i = 0; i + 8 < text.len; i += 8)
        found |= special(load_eight(text.ptr + i));
    return found == 0;
}

static inline void copy_short(char *to, const char *from, size_t n)
{
    if (n > 16) {
        memcpy(to, from, n);
    } else if (n >= 8) {
        uint64_t front = load_eight(from), back = load_eight(from + n - 8);
        memcpy(to, &front, 8);
        memcpy(to + n - 8, &back, 8);
    } else if (n >= 4) {
        uint32_t front, back;
        memcpy(&front, from, 4);
        memcpy(&back, from + n - 4, 4);
        memcpy(to, &front, 4);
        memcpy(to + n - 4, &back, 4);
    } else if (n > 0) {
        char first = from[0], middle = from[n / 2], last = from[n - 1];
        to[0] = first;
        to[n / 2] = middle;
        to[n - 1] = last;
    }
}

void json_write_check_order(
    const struct json_writer *w, struct str key, uint64_t head)
{
    const struct json_level *level = &w->level[w->depth];
    if (w->out->failed)
        return; /* what was written is not there to compare with */
    MUST(head == level->key_head &&
         str_compare(str_make(buf_str(w->out).ptr + level->key_offset,
                         level->key_length),
             key) < 0);
}

void json_write_any_key(struct json_writer *w, struct str key)
{
    struct json_level *level = &w->level[w->depth];
    MUST(level->object && !w->after_key);
    MUST(json_is_plain(key));
    uint64_t head = be64toh(
        key.len >= 8 ? load_eight(key.ptr) : load_short(key.ptr, key.len));
    size_t any = level->any;
    /* In nearly all cases the heads tell. */
    if (any && head <= level->key_head)
        json_write_check_order(w, key, head);
    level->any = true;
    level->key_offset = w->out->len + any + 1;
    level->key_length = key.len;
    level->key_head = head;
    w->after_key = true;
    char *to = buf_reserve(w->out, any + key.len + 3);
    if (!to)
        return;
    *to = ',';
    to += any;
    *to++ = '"';
    copy_short(to, key.ptr, key.len);
    memcpy(to + key.len, "\":", 2);
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

    if (!to)
        return true; /* longer by escapes it would not fit either */
    if (!json_is_plain(value))
        return false;
    to[0] = '"';
    copy_short(to + 1, value.ptr, value.len);
    to[value.len + 1] = '"';
    out->len += value.len + 2;
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
