/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/buf.h - a growing byte buffer with a ceiling given at birth.
 *
 * Bytes stand at ptr[start .. start+len). Appending past `max` bytes or out
 * of memory sets `failed`, which is sticky: write a whole document, then ask
 * once. A failed buffer keeps what it had. */
#ifndef LIB_BUF_H
#define LIB_BUF_H

#include "lib/err.h"
#include "lib/str.h"

struct buf {
    char *ptr; /* owned; NULL while empty and never grown */
    size_t start;
    size_t len;
    size_t cap;
    size_t max;
    bool failed;
};

void buf_init(struct buf *b, size_t max); /* caller's memory; no allocation */
void buf_fini(struct buf *b);
void buf_clear(struct buf *b); /* keeps the memory; clears failed */
static inline struct str buf_str(const struct buf *b)
{
    return str_make(b->ptr ? b->ptr + b->start : "", b->len);
}
/* The way of buf_reserve where there is no room yet. */
char *buf_reserve_slowly(struct buf *b, size_t n);
/* Room for n more bytes behind the content; NULL and failed set otherwise.
 * The caller then writes up to n bytes and calls buf_grew. */
static inline char *buf_reserve(struct buf *b, size_t n)
{
    if (!b->failed && b->ptr && n <= b->cap - b->start - b->len &&
        n <= b->max - b->len)
        return b->ptr + b->start + b->len;
    return buf_reserve_slowly(b, n);
}
void buf_grew(struct buf *b, size_t n);
static inline void buf_append(struct buf *b, const void *bytes, size_t n)
{
    char *to = n > 0 ? buf_reserve(b, n) : NULL;
    if (!to)
        return;
    memcpy(to, bytes, n);
    b->len += n;
}
static inline void buf_append_str(struct buf *b, struct str s)
{
    buf_append(b, s.ptr, s.len);
}
static inline void buf_append_char(struct buf *b, char c)
{
    char *to = buf_reserve(b, 1);
    if (!to)
        return;
    *to = c;
    b->len++;
}
void buf_append_u64(struct buf *b, uint64_t value);
void buf_append_i64(struct buf *b, int64_t value);
void buf_printf(struct buf *b, const char *format, ...) PRINTFLIKE(2, 3);
void buf_consume(struct buf *b, size_t n); /* drops n bytes at the front */
/* A NUL behind the content (not counted); "" on failure. */
const char *buf_cstr(struct buf *b);
/* gives the content as a malloc'd, NUL-terminated string; empties b.
 * NULL when b has failed. */
char *buf_steal(struct buf *b);

#endif
