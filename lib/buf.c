/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/buf.c - a growing byte buffer with a ceiling. One thread at a time.
 *
 * cap never passes max + 1: the one byte more is for buf_cstr's NUL. */
#include "lib/buf.h"

#include "lib/must.h"

#include <stdio.h>
#include <stdlib.h>

#define SMALLEST ((size_t)64)

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max < SIZE_MAX ? max : SIZE_MAX - 1};
}

void buf_fini(struct buf *b)
{
    free(b->ptr);
    b->ptr = NULL;
    b->start = b->len = b->cap = 0;
}

void buf_clear(struct buf *b)
{
    b->start = b->len = 0;
    b->failed = false;
}

static void move_to_front(struct buf *b)
{
    if (b->start != 0 && b->len != 0)
        memmove(b->ptr, b->ptr + b->start, b->len);
    b->start = 0;
}

/* Makes room for `need` bytes in all, counted from the content's start;
 * need <= max + 1. Slides the content to the front when that is cheap (no
 * more bytes move than were consumed) and allocates otherwise. */
static bool make_room(struct buf *b, size_t need)
{
    if (need <= b->cap && b->start >= b->len) {
        move_to_front(b);
        return true;
    }
    size_t cap = b->cap > SIZE_MAX / 2 ? SIZE_MAX : b->cap * 2;
    if (cap < SMALLEST)
        cap = SMALLEST;
    if (cap < need)
        cap = need;
    if (cap > b->max + 1)
        cap = b->max + 1;
    if (cap <= b->cap) { /* at the ceiling: sliding is all there is */
        move_to_front(b);
        return true;
    }
    char *ptr;
    if (b->start == 0) {
        ptr = realloc(b->ptr, cap);
        if (!ptr)
            return false;
    } else {
        ptr = malloc(cap);
        if (!ptr)
            return false;
        if (b->len)
            memcpy(ptr, b->ptr + b->start, b->len);
        free(b->ptr);
        b->start = 0;
    }
    b->ptr = ptr;
    b->cap = cap;
    return true;
}

char *buf_reserve_slowly(struct buf *b, size_t n)
{
    if (b->failed)
        return NULL;
    if (n > b->max - b->len) {
        b->failed = true;
        return NULL;
    }
    if ((b->cap - b->start - b->len < n || !b->ptr) &&
        !make_room(b, b->len + (n ? n : 1))) {
        b->failed = true;
        return NULL;
    }
    return b->ptr + b->start + b->len;
}

void buf_grew(struct buf *b, size_t n)
{
    MUST(n <= b->cap - b->start - b->len && n <= b->max - b->len);
    b->len += n;
}

static const char digit_pairs[] = "00010203040506070809"
                                  "10111213141516171819"
                                  "20212223242526272829"
                                  "30313233343536373839"
                                  "40414243444546474849"
                                  "50515253545556575859"
                                  "60616263646566676869"
                                  "70717273747576777879"
                                  "80818283848586878889"
                                  "90919293949596979899";

/* Writes the digits so that they end at `end`; gives where they start. */
static char *write_digits(char *end, uint64_t value)
{
    while (value >= 100) {
        end -= 2;
        memcpy(end, digit_pairs + 2 * (value % 100), 2);
        value /= 100;
    }
    if (value >= 10) {
        end -= 2;
        memcpy(end, digit_pairs + 2 * value, 2);
    } else {
        *--end = (char)('0' + value);
    }
    return end;
}

void buf_append_u64(struct buf *b, uint64_t value)
{
    char text[20];
    char *from = write_digits(text + sizeof text, value);
    buf_append(b, from, (size_t)(text + sizeof text - from));
}

void buf_append_i64(struct buf *b, int64_t value)
{
    char text[20];
    uint64_t magnitude = value < 0 ? ~(uint64_t)value + 1 : (uint64_t)value;
    char *from = write_digits(text + sizeof text, magnitude);
    if (value < 0)
        *--from = '-';
    buf_append(b, from, (size_t)(text + sizeof text - from));
}

void buf_printf(struct buf *b, const char *format, ...)
{
    if (b->failed)
        return;
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    size_t room = b->ptr ? b->cap - b->start - b->len : 0;
    int length =
        vsnprintf(room ? b->ptr + b->start + b->len : NULL, room, format, args);
    va_end(args);
    if (length < 0) {
        b->failed = true;
    } else if ((size_t)length < room) {
        if ((size_t)length > b->max - b->len)
            b->failed = true;
        else
            b->len += (size_t)length;
    } else if (buf_reserve(b, (size_t)length)) {
        /* vsnprintf writes a NUL behind: the byte past max is ours. */
        if (b->cap - b->start - b->len == (size_t)length &&
            !make_room(b, b->len + (size_t)length + 1)) {
            b->failed = true;
        } else {
            MUST(vsnprintf(b->ptr + b->start + b->len, (size_t)length + 1,
                     format, again) == length);
            b->len += (size_t)length;
        }
    }
    va_end(again);
}

void buf_consume(struct buf *b, size_t n)
{
    MUST(n <= b->len);
    b->len -= n;
    b->start = b->len ? b->start + n : 0;
}

const char *buf_cstr(struct buf *b)
{
    if (b->failed)
        return "";
    if ((!b->ptr || b->cap - b->start - b->len == 0) &&
        !make_room(b, b->len + 1)) {
        b->failed = true;
        return "";
    }
    b->ptr[b->start + b->len] = '\0';
    return b->ptr + b->start;
}

char *buf_steal(struct buf *b)
{
    (void)buf_cstr(b);
    if (b->failed)
        return NULL;
    move_to_front(b);
    b->ptr[b->len] = '\0';
    char *given = b->ptr;
    b->ptr = NULL;
    b->start = b->len = b->cap = 0;
    return given;
}
