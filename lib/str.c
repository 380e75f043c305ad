/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/str.c - borrowed strings. Pure; any thread. */
#include "lib/str.h"

static inline unsigned char lower(unsigned char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool str_equal_nocase(struct str a, struct str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower((unsigned char)a.ptr[i]) != lower((unsigned char)b.ptr[i]))
            return false;
    return true;
}

int str_compare(struct str a, struct str b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter ? memcmp(a.ptr, b.ptr, shorter) : 0;
    if (order != 0)
        return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len &&
           (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.len >= suffix.len &&
           (suffix.len == 0 ||
               memcmp(s.ptr + s.len - suffix.len, suffix.ptr, suffix.len) == 0);
}

static inline bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct str str_trim(struct str s)
{
    while (s.len > 0 && is_blank(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

bool str_split(struct str s, char separator, struct str *head, struct str *tail)
{
    const char *at = s.len ? memchr(s.ptr, separator, s.len) : NULL;
    if (!at) {
        *head = s;
        *tail = str_make(s.len ? s.ptr + s.len : s.ptr, 0);
        return false;
    }
    size_t before = (size_t)(at - s.ptr);
    *head = str_make(s.ptr, before);
    *tail = str_make(at + 1, s.len - before - 1);
    return true;
}

bool str_equal_secret(struct str a, struct str b)
{
    if (a.len != b.len)
        return false;
    /* volatile keeps the compiler from leaving the loop early */
    volatile unsigned char difference = 0;
    for (size_t i = 0; i < a.len; i++)
        difference = (unsigned char)(difference | (a.ptr[i] ^ b.ptr[i]));
    return difference == 0;
}

/* Length of the well-formed multi-byte sequence at p (first byte >= 0x80), or
 * 0. The ranges are those of table 3-7 of the Unicode standard. */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t length;
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        length = 2;
    } else if ((p[0] & 0xf0) == 0xe0) {
        length = 3;
        if (p[0] == 0xe0)
            low = 0xa0; /* else overlong */
        else if (p[0] == 0xed)
            high = 0x9f; /* else a surrogate */
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        length = 4;
        if (p[0] == 0xf0)
            low = 0x90;
        else if (p[0] == 0xf4)
            high = 0x8f; /* else above U+10FFFF */
    } else {
        return 0;
    }
    if (left < length || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

bool str_is_utf8(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    size_t left = s.len;
    while (left > 0) {
        while (left >= 16) {
            uint64_t words[2];
            memcpy(words, p, sizeof words);
            if ((words[0] | words[1]) & UINT64_C(0x8080808080808080))
                break;
            p += 16;
            left -= 16;
        }
        while (left > 0 && *p < 0x80) {
            p++;
            left--;
        }
        if (left == 0)
            break;
        size_t length = utf8_sequence(p, left);
        if (length == 0)
            return false;
        p += length;
        left -= length;
    }
    return true;
}

/* --- Hash ---------------------------------------------------------------
 * Multiply-and-fold over 64 by 64 to 128 bit products, the scheme of wyhash
 * (public domain, Wang Yi). Not keyed: a table over bytes that strangers
 * choose needs its own salt. */
#define HASH_A UINT64_C(0xa0761d6478bd642f)
#define HASH_B UINT64_C(0xe7037ed1a0b428db)
#define HASH_C UINT64_C(0x8ebc6af09c88c6e3)

static inline uint64_t fold(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t read64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t read32(const char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

uint64_t str_hash(struct str s)
{
    const char *p = s.ptr;
    size_t left = s.len;
    uint64_t seed = HASH_A ^ fold(s.len ^ HASH_B, HASH_C);
    while (left > 16) {
        seed = fold(read64(p) ^ HASH_B, read64(p + 8) ^ seed);
        p += 16;
        left -= 16;
    }
    uint64_t a = 0, b = 0;
    if (left >= 8) {
        a = read64(p);
        b = read64(p + left - 8);
    } else if (left >= 4) {
        a = read32(p);
        b = read32(p + left - 4);
    } else if (left > 0) {
        a = (uint64_t)(unsigned char)p[0] << 16 |
            (uint64_t)(unsigned char)p[left / 2] << 8 |
            (unsigned char)p[left - 1];
    }
    return fold(HASH_C ^ s.len, fold(a ^ HASH_B, b ^ seed));
}

/* --- Numbers ------------------------------------------------------------ */

/* The digits of s as a magnitude no larger than limit. */
static enum err digits(struct str s, uint64_t limit, uint64_t *out)
{
    if (s.len == 0)
        return ERR_SYNTAX;
    uint64_t value = 0;
    bool too_large = false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return ERR_SYNTAX; /* wins over ERR_RANGE: look at all of s */
        unsigned digit = (unsigned)(s.ptr[i] - '0');
        if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, digit, &value) || value > limit)
            too_large = true;
    }
    if (too_large)
        return ERR_RANGE;
    *out = value;
    return ERR_OK;
}

enum err str_to_u64(struct str s, uint64_t *out)
{
    return digits(s, UINT64_MAX, out);
}

enum err str_to_i64(struct str s, int64_t *out)
{
    bool negative = s.len > 0 && s.ptr[0] == '-';
    if (negative)
        s = str_make(s.ptr + 1, s.len - 1);
    uint64_t magnitude;
    enum err err =
        digits(s, (uint64_t)INT64_MAX + (negative ? 1 : 0), &magnitude);
    if (err)
        return err;
    /* Two's complement negation without passing through -INT64_MIN. */
    *out = negative ? (int64_t)(~magnitude + 1) : (int64_t)magnitude;
    return ERR_OK;
}

/* --- Suggestions -------------------------------------------------------- */
#define SUGGEST_MAX 64 /* longer words are not typing slips */

/* Optimal string alignment distance (insert, delete, replace, swap of
 * neighbours), ASCII case ignored. */
static unsigned edit_distance(struct str a, struct str b)
{
    unsigned row[3][SUGGEST_MAX + 1];
    unsigned *before = row[0], *above = row[1], *now = row[2];
    for (size_t j = 0; j <= b.len; j++) {
        before[j] = 0;
        above[j] = (unsigned)j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        now[0] = (unsigned)i;
        unsigned char ca = lower((unsigned char)a.ptr[i - 1]);
        for (size_t j = 1; j <= b.len; j++) {
            unsigned char cb = lower((unsigned char)b.ptr[j - 1]);
            unsigned best = above[j - 1] + (ca != cb);
            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && ca == lower((unsigned char)b.ptr[j - 2]) &&
                cb == lower((unsigned char)a.ptr[i - 2]) &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
        unsigned *spare = before;
        before = above;
        above = now;
        now = spare;
    }
    return above[b.len];
}

struct str str_suggest(
    struct str word, const struct str *candidates, size_t count)
{
    struct str best = {"", 0};
    if (word.len == 0 || word.len > SUGGEST_MAX)
        return best;
    /* One slip in a short word, about one in three letters in a long one. */
    unsigned near = word.len <= 3 ? 1 : (unsigned)(word.len + 2) / 3;
    unsigned least = near + 1;
    for (size_t i = 0; i < count; i++) {
        struct str c = candidates[i];
        if (c.len == 0 || c.len > SUGGEST_MAX)
            continue;
        size_t gap = c.len > word.len ? c.len - word.len : word.len - c.len;
        if (gap >= least)
            continue;
        unsigned distance = edit_distance(word, c);
        /* Replacing every letter is no likeness. */
        if (distance < least && distance < c.len) {
            least = distance;
            best = c;
        }
    }
    return best;
}

struct str str_cut_utf8(struct str s, size_t max)
{
    if (s.len > max) {
        s.len = max;
        while (s.len > 0 && ((unsigned char)s.ptr[s.len] & 0xc0) == 0x80)
            s.len--;
    }
    return s;
}
