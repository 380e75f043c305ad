/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/json.c - the one-pass JSON reader.
 *
 * While a container is open, its token's `next` holds the index of the
 * container around it, so the tape is its own stack. Duplicate keys are
 * looked for when an object closes: not where the keys stand in rising order,
 * else pairwise in small ones, and through a table with a per-process key in
 * large ones (a caller who knows the hash could otherwise make us quadratic).
 */
#include "lib/json.h"

#include "lib/json_priv.h"

#include <sys/auxv.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define DEPTH_DEFAULT 256u
#define TOKENS_DEFAULT (4u << 20)
#define FIRST_TOKENS 512u
#define PAIRWISE_MAX 16u /* members up to which keys are compared pairwise */

struct reader {
    const char *base;
    const char *p;
    const char *end;
    struct json_token *tokens;
    uint32_t count;
    uint32_t capacity;
    uint32_t max_tokens;
    uint32_t open; /* innermost open container, or JSON_NONE */
    uint32_t depth;
    uint32_t max_depth;
    struct arena *arena;
    struct json_error *error;
};

static __attribute__((cold)) enum err fail(
    struct reader *r, enum err code, const char *at, const char *reason)
{
    if (r->error)
        *r->error =
            (struct json_error){.offset = (size_t)(at - r->base), reason};
    return code;
}

/* --- tape ---------------------------------------------------------------- */

static __attribute__((cold, noinline)) enum err grow(struct reader *r)
{
    if (r->count >= r->max_tokens)
        return fail(r, ERR_LIMIT, r->p, "too many values");
    uint32_t capacity =
        r->capacity > r->max_tokens / 2 ? r->max_tokens : r->capacity * 2;
    struct json_token *tokens =
        ARENA_ARRAY(r->arena, capacity, struct json_token);
    if (!tokens)
        return fail(r, ERR_NOMEM, r->p, "out of memory");
    memcpy(tokens, r->tokens, r->count * sizeof *tokens);
    r->tokens = tokens;
    r->capacity = capacity;
    return ERR_OK;
}

static inline enum err push(struct reader *r, enum json_type type,
    unsigned flags, const char *start, const char *end)
{
    if (r->count == r->capacity) {
        enum err err = grow(r);
        if (err)
            return err;
    }
    r->tokens[r->count] = (struct json_token){.type = (uint8_t)type,
        .flags = (uint8_t)flags,
        .start = (uint32_t)(start - r->base),
        .end = (uint32_t)(end - r->base),
        .next = r->count + 1};
    r->count++;
    return ERR_OK;
}

/* --- strings ------------------------------------------------------------- */

/* The first byte that is a quote, a backslash, a control or no ASCII. */
static inline const char *plain_end(const char *p, const char *end)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i slash = _mm_set1_epi8('\\');
    const __m128i space = _mm_set1_epi8(0x20);
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        /* signed: below a space are the controls and all bytes >= 0x80 */
        __m128i stop = _mm_or_si128(_mm_cmplt_epi8(v, space),
            _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)));
        unsigned mask = (unsigned)_mm_movemask_epi8(stop);
        if (mask)
            return p + __builtin_ctz(mask);
        p += 16;
    }
#endif
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t tops = UINT64_C(0x8080808080808080);
    while (end - p >= 8) {
        uint64_t v;
        memcpy(&v, p, sizeof v);
        uint64_t q = v ^ (ones * '"');
        uint64_t s = v ^ (ones * '\\');
        uint64_t stop = v | (v - ones * 0x20) | (q - ones) | (s - ones);
        if (stop & tops)
            break;
        p += 8;
    }
    while (p < end && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80 &&
           *p != '"' && *p != '\\')
        p++;
    return p;
}

/* Length of the UTF-8 sequence at p (Unicode 15, table 3-7); 0 when bad. */
static inline int utf8_length(const char *text, const char *end)
{
    const unsigned char *p = (const unsigned char *)text;
    ptrdiff_t left = end - text;
    unsigned low = 0x80, high = 0xbf;
    int n;

    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        n = 2;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        n = 3;
        if (p[0] == 0xe0)
            low = 0xa0;
        else if (p[0] == 0xed)
            high = 0x9f; /* no surrogates */
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        n = 4;
        if (p[0] == 0xf0)
            low = 0x90;
        else if (p[0] == 0xf4)
            high = 0x8f;
    } else {
        return 0;
    }
    if (left < n || p[1] < low || p[1] > high)
        return 0;
    for (int i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

/* The escape at p (a backslash): bytes it takes, or 0 with the reason. */
static int escape_length(const char *p, const char *end, const char **reason)
{
    *reason = "bad escape";
    if (end - p < 2)
        return 0;
    switch (p[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return 2;
    case 'u':
        break;
    default:
        return 0;
    }
    int32_t unit = json_hex4(p + 2, end);
    if (unit < 0)
        return 0;
    if (unit < 0xd800 || unit > 0xdfff)
        return 6;
    *reason = "lone surrogate";
    if (unit > 0xdbff || end - p < 12 || p[6] != '\\' || p[7] != 'u')
        return 0;
    int32_t second = json_hex4(p + 8, end);
    return second >= 0xdc00 && second <= 0xdfff ? 12 : 0;
}

/* At the opening quote; leaves p behind the closing one. */
static enum err read_string(struct reader *r)
{
    const char *start = r->p + 1;
    const char *p = start;
    unsigned flags = 0;
    const char *reason;
    int n;

    for (;;) {
        p = plain_end(p, r->end);
        if (p == r->end)
            return fail(r, ERR_SYNTAX, p, "text ends inside a string");
        if (*p == '"')
            break;
        if (*p == '\\') {
            n = escape_length(p, r->end, &reason);
            if (n == 0)
                return fail(r, ERR_SYNTAX, p, reason);
            flags |= JSON_ESCAPED;
            p += n;
            continue;
        }
        if ((unsigned char)*p < 0x20)
            return fail(r, ERR_SYNTAX, p, "control character in a string");
        do {
            n = utf8_length(p, r->end);
            if (n == 0)
                return fail(r, ERR_SYNTAX, p, "bad UTF-8");
            p += n;
        } while (p < r->end && (unsigned char)*p >= 0x80);
    }
    r->p = p + 1;
    return push(r, JSON_STRING, flags, start, p);
}

/* --- numbers and words --------------------------------------------------- */

static inline bool is_digit(const char *p, const char *end)
{
    return p < end && *p >= '0' && *p <= '9';
}

static enum err read_number(struct reader *r)
{
    const char *start = r->p;
    const char *p = start;
    unsigned flags = JSON_INTEGER;

    if (*p == '-')
        p++;
    if (!is_digit(p, r->end))
        return fail(r, ERR_SYNTAX, p, "a digit is missing");
    if (*p == '0')
        p++;
    else
        while (is_digit(p, r->end))
            p++;
    if (p < r->end && *p == '.') {
        flags = 0;
        p++;
        if (!is_digit(p, r->end))
            return fail(r, ERR_SYNTAX, p, "a digit is missing");
        while (is_digit(p, r->end))
            p++;
    }
    if (p < r->end && (*p == 'e' || *p == 'E')) {
        flags = 0;
        p++;
        if (p < r->end && (*p == '+' || *p == '-'))
            p++;
        if (!is_digit(p, r->end))
            return fail(r, ERR_SYNTAX, p, "a digit is missing");
        while (is_digit(p, r->end))
            p++;
    }
    if (is_digit(p, r->end))
        return fail(r, ERR_SYNTAX, start, "a number with a leading zero");
    r->p = p;
    return push(r, JSON_NUMBER, flags, start, p);
}

static enum err read_word(
    struct reader *r, const char *word, size_t n, enum json_type type)
{
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0)
        return fail(r, ERR_SYNTAX, r->p, "not a value");
    r->p += n;
    return push(r, type, 0, r->p - n, r->p);
}

/* --- duplicate keys ------------------------------------------------------ */

static inline uint64_t rotate(uint64_t x, int n)
{
    return (x << n) | (x >> (64 - n));
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

/* SipHash-1-3 under the 16 random bytes that the kernel gave the process. */
static uint64_t keyed_hash(struct str s)
{
    uint64_t key[2] = {0, 0};
    const void *random = (const void *)getauxval(AT_RANDOM);
    if (random)
        memcpy(key, random, sizeof key);
    uint64_t v[4] = {key[0] ^ UINT64_C(0x736f6d6570736575),
        key[1] ^ UINT64_C(0x646f72616e646f6d),
        key[0] ^ UINT64_C(0x6c7967656e657261),
        key[1] ^ UINT64_C(0x7465646279746573)};
    uint64_t last = (uint64_t)s.len << 56;
    size_t i = 0;
    for (; i + 8 <= s.len; i += 8) {
        uint64_t m;
        memcpy(&m, s.ptr + i, sizeof m);
        v[3] ^= m;
        sip_round(v);
        v[0] ^= m;
    }
    for (int shift = 0; i < s.len; i++, shift += 8)
        last |= (uint64_t)(unsigned char)s.ptr[i] << shift;
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The key's unescaped text; ptr NULL when the arena is exhausted. */
static struct str key_text(struct reader *r, uint32_t key)
{
    const struct json_token *t = &r->tokens[key];
    const char *p = r->base + t->start;
    const char *end = r->base + t->end;
    if (!(t->flags & JSON_ESCAPED))
        return str_make(p, (size_t)(end - p));
    char *out = arena_alloc(r->arena, (size_t)(end - p) + 4);
    size_t n = 0;
    if (!out)
        return str_make(NULL, 0);
    while (p < end)
        n += (size_t)json_unescape_step(&p, out + n);
    return str_make(out, n);
}

static enum err duplicate(struct reader *r, uint32_t key)
{
    return fail(
        r, ERR_SYNTAX, r->base + r->tokens[key].start - 1, "duplicate key");
}

/* The keys stand in strictly rising order, as in every text of a canonical
 * writer: then none is there twice, and one pass has shown it. */
static bool keys_rise(const struct reader *r, uint32_t object)
{
    const unsigned char *last = NULL;
    size_t last_length = 0;

    for (uint32_t key = object + 1; key < r->count;
         key = r->tokens[key + 1].next) {
        const struct json_token *t = &r->tokens[key];
        const unsigned char *text = (const unsigned char *)r->base + t->start;
        size_t length = t->end - t->start;
        if (t->flags & JSON_ESCAPED || length == 0)
            return false;
        if (last != NULL && *last >= *text) {
            size_t both = last_length < length ? last_length : length;
            int order = *last > *text ? 1 : memcmp(last, text, both);
            if (order > 0 || (order == 0 && last_length >= length))
                return false;
        }
        last = text;
        last_length = length;
    }
    return true;
}

static enum err check_keys_pairwise(struct reader *r, uint32_t object)
{
    struct str keys[PAIRWISE_MAX];
    uint32_t n = 0;

    for (uint32_t key = object + 1; key < r->count;
         key = r->tokens[key + 1].next) {
        struct str text = key_text(r, key);
        if (!text.ptr)
            return fail(r, ERR_NOMEM, r->p, "out of memory");
        for (uint32_t i = 0; i < n; i++)
            if (keys[i].len == text.len &&
                memcmp(keys[i].ptr, text.ptr, text.len) == 0)
                return duplicate(r, key);
        keys[n++] = text;
    }
    return ERR_OK;
}

static enum err check_keys_hashed(struct reader *r, uint32_t object)
{
    struct slot {
        struct str key;
    } * table;
    size_t size = 64;
    while (size < (size_t)r->tokens[object].count * 2)
        size *= 2;
    table = arena_zalloc(r->arena, size * sizeof *table);
    if (!table)
        return fail(r, ERR_NOMEM, r->p, "out of memory");
    for (uint32_t key = object + 1; key < r->count;
         key = r->tokens[key + 1].next) {
        struct str text = key_text(r, key);
        if (!text.ptr)
            return fail(r, ERR_NOMEM, r->p, "out of memory");
        size_t at = (size_t)keyed_hash(text) & (size - 1);
        while (table[at].key.ptr) {
            if (str_equal(table[at].key, text))
                return duplicate(r, key);
            at = (at + 1) & (size - 1);
        }
        table[at].key = text;
    }
    return ERR_OK;
}

/* --- structure ----------------------------------------------------------- */

static inline void skip_space(struct reader *r)
{
    const char *p = r->p;
    while (p < r->end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    r->p = p;
}

static enum err open_container(struct reader *r, enum json_type type)
{
    if (r->depth >= r->max_depth)
        return fail(r, ERR_LIMIT, r->p, "nested too deeply");
    enum err err = push(r, type, 0, r->p, r->p);
    if (err)
        return err;
    r->tokens[r->count - 1].next = r->open;
    r->open = r->count - 1;
    r->depth++;
    r->p++;
    skip_space(r);
    return ERR_OK;
}

/* At the closing bracket of the open container. */
static enum err close_container(struct reader *r)
{
    struct json_token *t = &r->tokens[r->open];
    enum err err = ERR_OK;

    if (t->type == JSON_OBJECT && t->count > 1 && !keys_rise(r, r->open))
        err = t->count <= PAIRWISE_MAX ? check_keys_pairwise(r, r->open)
                                       : check_keys_hashed(r, r->open);
    if (err)
        return err;
    r->p++;
    uint32_t around = t->next;
    t->end = (uint32_t)(r->p - r->base);
    t->next = r->count;
    r->open = around;
    r->depth--;
    return ERR_OK;
}

static enum err ends_early(struct reader *r)
{
    return fail(r, ERR_SYNTAX, r->end, "text ends early");
}

/* A member's key and colon. */
static enum err read_key(struct reader *r)
{
    if (r->p == r->end)
        return ends_early(r);
    if (*r->p != '"')
        return fail(r, ERR_SYNTAX, r->p, "a key in quotes is expected");
    enum err err = read_string(r);
    if (err)
        return err;
    skip_space(r);
    if (r->p == r->end)
        return ends_early(r);
    if (*r->p != ':')
        return fail(r, ERR_SYNTAX, r->p, "a colon is expected");
    r->p++;
    skip_space(r);
    return ERR_OK;
}

/* A value's first byte is at p. *opened: a container was opened and is not
 * empty, so that its first element comes next. */
static enum err read_value(struct reader *r, bool *opened)
{
    enum err err;

    *opened = false;
    if (r->p == r->end)
        return ends_early(r);
    switch (*r->p) {
    case '"':
        return read_string(r);
    case '{':
    case '[':
        err = open_container(r, *r->p == '{' ? JSON_OBJECT : JSON_ARRAY);
        if (err)
            return err;
        if (r->p == r->end)
            return ends_early(r);
        if (*r->p == (r->tokens[r->open].type == JSON_OBJECT ? '}' : ']'))
            return close_container(r);
        *opened = true;
        return ERR_OK;
    case 't':
        return read_word(r, "true", 4, JSON_TRUE);
    case 'f':
        return read_word(r, "false", 5, JSON_FALSE);
    case 'n':
        return read_word(r, "null", 4, JSON_NULL);
    case '-':
    case '0' ... '9':
        return read_number(r);
    default:
        return fail(r, ERR_SYNTAX, r->p, "not a value");
    }
}

/* After a value: closes what ends here, until a comma says that another
 * value follows or the document is complete (*more false). */
static enum err after_value(struct reader *r, bool *more)
{
    enum err err;

    for (;;) {
        *more = false;
        if (r->open == JSON_NONE)
            return ERR_OK;
        struct json_token *t = &r->tokens[r->open];
        t->count++;
        skip_space(r);
        if (r->p == r->end)
            return ends_early(r);
        if (*r->p == ',') {
            r->p++;
            skip_space(r);
            *more = true;
            return ERR_OK;
        }
        if (*r->p != (t->type == JSON_OBJECT ? '}' : ']'))
            return fail(r, ERR_SYNTAX, r->p,
                t->type == JSON_OBJECT ? "a comma or } is expected"
                                       : "a comma or ] is expected");
        err = close_container(r);
        if (err)
            return err;
    }
}

static enum err read_document(struct reader *r)
{
    bool opened, more = true;
    enum err err;

    skip_space(r);
    while (more) {
        if (r->open != JSON_NONE && r->tokens[r->open].type == JSON_OBJECT) {
            err = read_key(r);
            if (err)
                return err;
        }
        opened = false;
        err = read_value(r, &opened);
        if (err)
            return err;
        if (opened)
            continue;
        err = after_value(r, &more);
        if (err)
            return err;
    }
    skip_space(r);
    if (r->p != r->end)
        return fail(r, ERR_SYNTAX, r->p, "something follows the value");
    return ERR_OK;
}

enum err json_parse(struct arena *arena, struct str text,
    const struct json_limits *limits, struct json *out,
    struct json_error *error)
{
    struct reader r = {.base = text.len ? text.ptr : "",
        .max_depth =
            limits && limits->max_depth ? limits->max_depth : DEPTH_DEFAULT,
        .max_tokens =
            limits && limits->max_tokens ? limits->max_tokens : TOKENS_DEFAULT,
        .open = JSON_NONE,
        .arena = arena,
        .error = error};
    r.p = r.base;
    r.end = r.base + text.len;
    if (text.len >= UINT32_MAX)
        return fail(&r, ERR_LIMIT, r.base, "text of 4 GiB or more");
    if (r.max_tokens >= JSON_NONE)
        r.max_tokens = JSON_NONE - 1;
    size_t first = text.len / 8 + 8;
    r.capacity = first < FIRST_TOKENS ? (uint32_t)first : FIRST_TOKENS;
    if (r.capacity > r.max_tokens)
        r.capacity = r.max_tokens;
    r.tokens = ARENA_ARRAY(arena, r.capacity, struct json_token);
    if (!r.tokens)
        return fail(&r, ERR_NOMEM, r.base, "out of memory");
    enum err err = read_document(&r);
    if (err)
        return err;
    *out = (struct json){.text = str_make(r.base, text.len),
        .tokens = r.tokens,
        .count = r.count};
    return ERR_OK;
}
