/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/json_write.h - canonical JSON (RFC 8785) without a tree.
 *
 * The caller emits members in sorted order (UTF-16 code units; bytewise for
 * ASCII keys) and the writer checks it (MUST). Integers only, within
 * +-(2^53-1) (MUST). Strings must be UTF-8: bad bytes are written as U+FFFD.
 * Failure to grow shows in out->failed. Depth at most 32. */
#ifndef LIB_JSON_WRITE_H
#define LIB_JSON_WRITE_H

#include "lib/buf.h"
#include "lib/must.h"

#define JSON_WRITE_DEPTH 32
#define JSON_INTEGER_MAX INT64_C(9007199254740991)

struct json_writer {
    struct buf *out;
    int depth;
    bool after_key; /* a key was written, its value is due */
    struct json_level {
        bool object;
        bool any;                      /* a member or element was written */
        size_t key_offset, key_length; /* last key, inside out */
        uint64_t key_head;             /* its first bytes, as a number */
    } level[JSON_WRITE_DEPTH + 1];     /* [0]: the document */
};

void json_write_init(struct json_writer *w, struct buf *out); /* keeps out */
void json_write_object(struct json_writer *w);                /* { */
void json_write_object_end(struct json_writer *w);            /* } */
void json_write_array(struct json_writer *w);
void json_write_array_end(struct json_writer *w);
static inline void json_write_key(struct json_writer *w, struct str key);
void json_write_string(struct json_writer *w, struct str value);
void json_write_int(struct json_writer *w, int64_t value);
void json_write_bool(struct json_writer *w, bool value);
void json_write_null(struct json_writer *w);
/* A finished canonical value, taken as it is. */
void json_write_raw(struct json_writer *w, struct str value);
/* key + value in one */
static inline void json_write_member_string(
    struct json_writer *w, struct str key, struct str value);
static inline void json_write_member_int(
    struct json_writer *w, struct str key, int64_t value);
static inline void json_write_member_bool(
    struct json_writer *w, struct str key, bool value);

/* ASCII without controls, quotes and backslashes: quoting only adds quotes. */
bool json_is_plain(struct str text);
/* The quoted string alone, escaped as RFC 8785 says, appended to out. */
void json_quote(struct buf *out, struct str value);

/* --- Keys ------------------------------------------------------------------
 *
 * A key that is a literal is looked at by the compiler: what is left of
 * json_write_key is the check of the order and the copy. */

/* Any key. ASCII without what needs escapes (MUST). */
void json_write_any_key(struct json_writer *w, struct str key);
/* MUST: a key whose head is not above the last one's still comes after it. */
void json_write_check_order(
    const struct json_writer *w, struct str key, uint64_t head);

#define JSON_KEY_BYTE(i)                                                       \
    ((uint64_t)(n > (i) ? (unsigned char)p[(i) < n ? (i) : 0] : 0)             \
        << (56 - 8 * (i)))
/* Up to eight bytes as a number that compares as they do. */
static inline __attribute__((always_inline)) uint64_t json_key_head(
    const char *p, size_t n)
{
    return JSON_KEY_BYTE(0) | JSON_KEY_BYTE(1) | JSON_KEY_BYTE(2) |
           JSON_KEY_BYTE(3) | JSON_KEY_BYTE(4) | JSON_KEY_BYTE(5) |
           JSON_KEY_BYTE(6) | JSON_KEY_BYTE(7);
}
#undef JSON_KEY_BYTE

/* Letters and digits alone, in the upper `n` bytes of a head. */
static inline __attribute__((always_inline)) bool json_head_is_plain(
    uint64_t head, size_t n)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t filled = n >= 8 ? head : head | (ones * 'a') >> (8 * n);
    /* Every byte in 0x30 .. 0x7f: no quote, control or other alphabet; the
     * backslash is the one in between. */
    uint64_t slash = filled ^ (ones * '\\');
    return ((filled | (filled - ones * 0x30) | (slash - ones)) &
               (ones * 0x80)) == 0;
}

static inline __attribute__((always_inline)) void json_write_key(
    struct json_writer *w, struct str key)
{
    uint64_t head, rest;
    if (!__builtin_constant_p(key.len) || key.len == 0 || key.len > 16) {
        json_write_any_key(w, key);
        return;
    }
    head = json_key_head(key.ptr, key.len);
    rest = key.len > 8 ? json_key_head(key.ptr + 8, key.len - 8) : 0;
    if (!__builtin_constant_p(head) || !__builtin_constant_p(rest) ||
        !json_head_is_plain(head, key.len) ||
        (key.len > 8 && !json_head_is_plain(rest, key.len - 8))) {
        json_write_any_key(w, key);
        return;
    }
    struct json_level *level = &w->level[w->depth];
    MUST(level->object && !w->after_key);
    size_t any = level->any;
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
    memcpy(to, key.ptr, key.len);
    memcpy(to + key.len, "\":", 2);
    w->out->len += any + key.len + 3;
}

static inline __attribute__((always_inline)) void json_write_member_string(
    struct json_writer *w, struct str key, struct str value)
{
    json_write_key(w, key);
    json_write_string(w, value);
}

static inline __attribute__((always_inline)) void json_write_member_int(
    struct json_writer *w, struct str key, int64_t value)
{
    json_write_key(w, key);
    json_write_int(w, value);
}

static inline __attribute__((always_inline)) void json_write_member_bool(
    struct json_writer *w, struct str key, bool value)
{
    json_write_key(w, key);
    json_write_bool(w, value);
}

#endif
