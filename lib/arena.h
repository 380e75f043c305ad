/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/arena.h - memory that is given back all at once.
 *
 * One owner, one thread. A ceiling set at birth: past it allocations give
 * NULL (the caller answers 503 or ERR_LIMIT). arena_reset keeps the first
 * chunk, so that a pooled arena allocates nothing in steady state. */
#ifndef LIB_ARENA_H
#define LIB_ARENA_H

#include "lib/err.h"
#include "lib/str.h"

struct arena;

/* gives; first_chunk is allocated at once. max_bytes bounds the sum of all
 * chunks (0: no bound). NULL when out of memory. */
struct arena *arena_new(size_t first_chunk, size_t max_bytes);
void arena_free(struct arena **arena); /* NULL ok */
void arena_reset(struct arena *arena);
size_t arena_used(const struct arena *arena);

/* 16-byte aligned, not cleared; NULL at the ceiling or out of memory.
 * A size of 0 gives a unique non-NULL pointer. */
void *arena_alloc(struct arena *arena, size_t size);
void *arena_zalloc(struct arena *arena, size_t size);
/* count * size with an overflow check. */
void *arena_array(struct arena *arena, size_t count, size_t size);
/* Copies with a terminating NUL after the bytes; ptr NULL on failure. */
struct str arena_copy(struct arena *arena, struct str s);
char *arena_cstr(struct arena *arena, struct str s);
char *arena_printf(struct arena *arena, const char *format, ...)
    PRINTFLIKE(2, 3);

#define ARENA_NEW(arena, type) ((type *)arena_zalloc((arena), sizeof(type)))
#define ARENA_ARRAY(arena, count, type)                                        \
    ((type *)arena_array((arena), (count), sizeof(type)))

#endif
