/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/json_canonical.c - see json_canonical.h. */
#include "lib/json_canonical.h"

#include "lib/json.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* --- Passing over --------------------------------------------------------- */

/* p is behind the opening quote; gives the closing one, or NULL. */
static inline const char *string_end(const char *p, const char *end)
{
#ifdef __SSE2__
    while (end - p >= 16) {
        const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        unsigned quotes =
            (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
        unsigned slashes =
            (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
        unsigned found = quotes | slashes;
        if (found == 0) {
            p += 16;
            continue;
        }
        p += __builtin_ctz(found);
        if (*p == '"')
            return p;
        if (end - p < 2)
            return NULL;
        p += 2;
    }
#endif
    for (; p < end; p++) {
        if (*p == '"')
            return p;
        if (*p == '\\' && ++p == end)
            return NULL;
    }
    return NULL;
}

/* Where a text that is passed over stands. */
struct passing {
    uint32_t depth;
    bool quoted, escaped; /* in a string; behind a backslash there */
};

/* Behind the bracket that ends it, or NULL where [p, end) does not. */
static const char *pass_bytes(
    struct passing *at, const char *p, const char *end)
{
    for (; p < end; p++) {
        if (at->quoted) {
            if (at->escaped)
                at->escaped = false;
            else if (*p == '\\')
                at->escaped = true;
            else
                at->quoted = *p != '"';
        } else if (*p == '"') {
            at->quoted = true;
        } else if (*p == '{' || *p == '[') {
            at->depth++;
        } else if ((*p == '}' || *p == ']') && --at->depth == 0) {
            return p + 1;
        }
    }
    return NULL;
}

#ifdef __SSE2__
/* A bit for each byte of a block, where it is one of these. */
struct block {
    uint64_t quotes, slashes, opens, closes;
};

static inline __attribute__((always_inline)) void look_at(
    struct block *b, const char *p, unsigned shift)
{
    const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    /* '[' and ']' become '{' and '}' by this bit. */
    const __m128i w = _mm_or_si128(v, _mm_set1_epi8(0x20));
    const __m128i quotes = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
    const __m128i slashes = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
    const __m128i opens = _mm_cmpeq_epi8(w, _mm_set1_epi8('{'));
    const __m128i closes = _mm_cmpeq_epi8(w, _mm_set1_epi8('}'));
    b->quotes |= (uint64_t)(unsigned)_mm_movemask_epi8(quotes) << shift;
    b->slashes |= (uint64_t)(unsigned)_mm_movemask_epi8(slashes) << shift;
    b->opens |= (uint64_t)(unsigned)_mm_movemask_epi8(opens) << shift;
    b->closes |= (uint64_t)(unsigned)_mm_movemask_epi8(closes) << shift;
}

/* pass_bytes for `size` (16 or 64) bytes at once. */
static inline __attribute__((always_inline)) const char *pass_block(
    struct passing *at, const char *p, unsigned size)
{
    struct block b = {0};
    for (unsigned i = 0; i < size; i += 16)
        look_at(&b, p + i, i);
    if (b.slashes != 0 || at->escaped)
        return pass_bytes(at, p, p + size);
    /* Each quote turns over all that follows: 1 where a string is. */
    uint64_t inside = b.quotes;
    for (unsigned shift = 1; shift < size; shift *= 2)
        inside ^= inside << shift;
    if (at->quoted)
        inside = ~inside;
    uint64_t brackets = (b.opens | b.closes) & ~inside;
    for (; brackets != 0; brackets &= brackets - 1) {
        unsigned place = (unsigned)__builtin_ctzll(brackets);
        if (b.opens >> place & 1)
            at->depth++;
        else if (--at->depth == 0)
            return p + place + 1;
    }
    at->quoted = inside >> (size - 1) & 1;
    return NULL;
}
#endif

/* p is at the opening bracket; gives what is behind the closing one, or NULL.
 */
static const char *container_end(const char *p, const char *end)
{
    struct passing at = {0};
    const char *found = NULL;
#ifdef __SSE2__
    for (; found == NULL && end - p >= 64; p += 64)
        found = pass_block(&at, p, 64);
    for (; found == NULL && end - p >= 16; p += 16)
        found = pass_block(&at, p, 16);
#endif
    return found != NULL ? found : pass_bytes(&at, p, end);
}

/* As str_compare; most keys differ in their first byte. */
static inline int compare_keys(struct str a, struct str b)
{
    if (a.len > 0 && b.len > 0 && a.ptr[0] != b.ptr[0])
        return (unsigned char)a.ptr[0] < (unsigned char)b.ptr[0] ? -1 : 1;
    return str_compare(a, b);
}

static inline bool is_bare(char c) /* of a number, true, false, null */
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' ||
           c == '+' || c == '.' || c == 'E';
}

/* Behind the value at p, or NULL. */
static inline const char *value_end(const char *p, const char *end)
{
    if (p == end)
        return NULL;
    if (*p == '"') {
        const char *quote = string_end(p + 1, end);
        return quote != NULL ? quote + 1 : NULL;
    }
    if (*p == '{' || *p == '[')
        return container_end(p, end);
    const char *start = p;
    while (p < end && is_bare(*p))
        p++;
    return p > start ? p : NULL;
}

/* --- Objects and arrays --------------------------------------------------- */

enum err json_canonical_object(
    struct str object, struct json_member *out, size_t room, size_t *count)
{
    const char *p = object.ptr, *end = p + object.len;
    size_t n = 0;
    *count = 0;
    if (object.len < 2 || *p != '{' || end[-1] != '}')
        return ERR_SYNTAX;
    end--;
    if (++p == end)
        return ERR_OK;
    for (;;) {
        if (p == end || *p != '"')
            return ERR_SYNTAX;
        const char *key = p + 1, *quote = string_end(key, end);
        if (quote == NULL || quote + 1 == end || quote[1] != ':')
            return ERR_SYNTAX;
        const char *value = quote + 2;
        p = value_end(value, end);
        if (p == NULL)
            return ERR_SYNTAX;
        if (n == room)
            return ERR_LIMIT;
        struct str name = str_make(key, (size_t)(quote - key));
        if (n > 0 && compare_keys(out[n - 1].key, name) >= 0)
            return ERR_SYNTAX; /* a merge would miss it */
        out[n++] =
            (struct json_member){name, str_make(value, (size_t)(p - value))};
        if (p == end)
            break;
        if (*p++ != ',')
            return ERR_SYNTAX;
    }
    *count = n;
    return ERR_OK;
}

enum err json_canonical_element(struct str array, size_t *at, struct str *out)
{
    if (array.len < 2 || array.ptr[0] != '[' ||
        array.ptr[array.len - 1] != ']' || *at >= array.len)
        return ERR_SYNTAX;
    const char *end = array.ptr + array.len - 1, *p = array.ptr + *at;
    if (p == end && *at > 1)
        return ERR_NOTFOUND;
    if (*at == 0 && ++p == end)
        return ERR_NOTFOUND;
    if (*at > 0 && *p++ != ',')
        return ERR_SYNTAX;
    const char *value = p;
    p = value_end(value, end);
    if (p == NULL)
        return ERR_SYNTAX;
    *out = str_make(value, (size_t)(p - value));
    *at = (size_t)(p - array.ptr);
    return ERR_OK;
}

void json_canonical_find(const struct json_member *members, size_t count,
    const struct str *names, struct str *values, size_t name_count)
{
    size_t next = 0;
    for (size_t i = 0; i < name_count; i++)
        values[i] = (struct str){0};
    for (size_t i = 0; i < count && next < name_count; i++) {
        int order = -1;
        while (next < name_count &&
               (order = compare_keys(names[next], members[i].key)) < 0)
            next++;
        if (next < name_count && order == 0)
            values[next++] = members[i].value;
    }
}

/* --- Values --------------------------------------------------------------- */

enum err json_canonical_text(
    struct arena *arena, struct str value, struct str *out)
{
    if (value.len < 2 || value.ptr[0] != '"')
        return ERR_SYNTAX;
    if (memchr(value.ptr, '\\', value.len) == NULL) {
        *out = str_make(value.ptr + 1, value.len - 2);
        return ERR_OK;
    }
    struct json json;
    enum err err = json_parse(arena, value, NULL, &json, NULL);
    return err == ERR_OK ? json_text(&json, 0, arena, out) : err;
}
