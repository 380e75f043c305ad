/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/arena.c - bump allocation in chunks.
 *
 * The arena and its first chunk are one allocation, so that a pooled arena
 * costs one malloc in its life. Under AddressSanitizer what was not handed
 * out, or was given back by a reset, is poisoned. */
#include "lib/arena.h"

#include "lib/must.h"

#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define HIDE(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define SHOW(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define HIDE(p, n) ((void)(p), (void)(n))
#define SHOW(p, n) ((void)(p), (void)(n))
#endif

#define ALIGNMENT ((size_t)16)
#define LARGEST_STEP ((size_t)1 << 20) /* chunks double up to here */
#define SMALLEST_CHUNK ((size_t)64)

struct chunk {
    struct chunk *next;
    size_t size;
    _Alignas(16) char bytes[];
};

struct arena {
    char *at, *end; /* free space of the newest chunk */
    char *base;     /* start of the newest chunk's bytes */
    struct chunk *extra;
    size_t used_before; /* in the chunks before the newest */
    size_t total;       /* sum of all chunks */
    size_t max;         /* 0: no bound */
    size_t first_size;
    _Alignas(16) char first[];
};

static inline size_t round_up(size_t n)
{
    return (n + (ALIGNMENT - 1)) & ~(ALIGNMENT - 1);
}

static void use_chunk(struct arena *arena, char *bytes, size_t size)
{
    arena->base = arena->at = bytes;
    arena->end = bytes + size;
    HIDE(bytes, size);
}

struct arena *arena_new(size_t first_chunk, size_t max_bytes)
{
    if (max_bytes != 0 && first_chunk > max_bytes)
        first_chunk = max_bytes;
    if (first_chunk > SIZE_MAX / 2)
        return NULL;
    first_chunk =
        round_up(first_chunk < SMALLEST_CHUNK ? SMALLEST_CHUNK : first_chunk);
    struct arena *arena = malloc(sizeof *arena + first_chunk);
    if (!arena)
        return NULL;
    arena->extra = NULL;
    arena->used_before = 0;
    arena->total = first_chunk;
    arena->max = max_bytes;
    arena->first_size = first_chunk;
    use_chunk(arena, arena->first, first_chunk);
    return arena;
}

static void free_extra(struct arena *arena)
{
    while (arena->extra) {
        struct chunk *next = arena->extra->next;
        SHOW(arena->extra->bytes, arena->extra->size);
        free(arena->extra);
        arena->extra = next;
    }
}

void arena_free(struct arena **arena)
{
    if (!*arena)
        return;
    free_extra(*arena);
    SHOW((*arena)->first, (*arena)->first_size);
    free(*arena);
    *arena = NULL;
}

void arena_reset(struct arena *arena)
{
    free_extra(arena);
    arena->used_before = 0;
    arena->total = arena->first_size;
    use_chunk(arena, arena->first, arena->first_size);
}

size_t arena_used(const struct arena *arena)
{
    return arena->used_before + (size_t)(arena->at - arena->base);
}

/* A chunk with room for `size` (rounded) bytes; false at the ceiling. */
static bool grow(struct arena *arena, size_t size)
{
    size_t want = (size_t)(arena->end - arena->base) * 2;
    if (want > LARGEST_STEP)
        want = LARGEST_STEP;
    if (want < size)
        want = size;
    if (arena->max != 0) {
        size_t left = arena->max > arena->total ? arena->max - arena->total : 0;
        left &= ~(ALIGNMENT - 1);
        if (size > left)
            return false;
        if (want > left)
            want = left;
    }
    struct chunk *chunk = malloc(sizeof *chunk + want);
    if (!chunk)
        return false;
    chunk->size = want;
    chunk->next = arena->extra;
    arena->extra = chunk;
    arena->used_before += (size_t)(arena->at - arena->base);
    arena->total += want;
    use_chunk(arena, chunk->bytes, want);
    return true;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX / 4)
        return NULL;
    size_t rounded = size ? round_up(size) : ALIGNMENT;
    if (__builtin_expect((size_t)(arena->end - arena->at) < rounded, 0) &&
        !grow(arena, rounded))
        return NULL;
    char *given = arena->at;
    arena->at += rounded;
    SHOW(given, size);
    return given;
}

void *arena_zalloc(struct arena *arena, size_t size)
{
    void *given = arena_alloc(arena, size);
    if (given && size)
        memset(given, 0, size);
    return given;
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    return arena_alloc(arena, total);
}

struct str arena_copy(struct arena *arena, struct str s)
{
    char *given = s.len < SIZE_MAX ? arena_alloc(arena, s.len + 1) : NULL;
    if (!given)
        return str_make(NULL, 0);
    if (s.len)
        memcpy(given, s.ptr, s.len);
    given[s.len] = '\0';
    return str_make(given, s.len);
}

char *arena_cstr(struct arena *arena, struct str s)
{
    char *given = s.len < SIZE_MAX ? arena_alloc(arena, s.len + 1) : NULL;
    if (!given)
        return NULL;
    if (s.len)
        memcpy(given, s.ptr, s.len);
    given[s.len] = '\0';
    return given;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *given = length < 0 ? NULL : arena_alloc(arena, (size_t)length + 1);
    if (given)
        MUST(vsnprintf(given, (size_t)length + 1, format, again) == length);
    va_end(again);
    return given;
}
