/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/str.h - borrowed strings: pointer and length, not terminated.
 *
 * A struct str never owns. {NULL, 0} and {"", 0} are both the empty string.
 * Also here: the one checked number parser, and name suggestions. */
#ifndef LIB_STR_H
#define LIB_STR_H

#include "lib/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *ptr;
    size_t len;
};

/* A literal as a struct str, as an expression and as a static initialiser. */
#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_INIT(literal)                                                      \
    {                                                                          \
        (literal), sizeof(literal) - 1                                         \
    }
/* For printf: "%.*s", STR_ARG(s) */
#define STR_ARG(s) (int)(s).len, (s).ptr ? (s).ptr : ""

static inline struct str str_make(const char *ptr, size_t len)
{
    return (struct str){ptr, len};
}

/* borrows c, which may be NULL (gives the empty string). */
static inline struct str str_from(const char *c)
{
    return (struct str){c, c ? strlen(c) : 0};
}

static inline bool str_equal(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool str_equal_nocase(struct str a, struct str b); /* ASCII case only */
int str_compare(struct str a, struct str b);       /* bytewise, as memcmp */
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
struct str str_trim(struct str s); /* ASCII space and tab at both ends */
/* Cuts s at the first separator: *head before it, *tail after it. False, with
 * *head = s and *tail empty, where there is none. */
bool str_split(
    struct str s, char separator, struct str *head, struct str *tail);
/* Constant-time equality for secrets; the lengths may leak. */
bool str_equal_secret(struct str a, struct str b);
/* True when s is well-formed UTF-8 (no surrogates, nothing above U+10FFFF). */
bool str_is_utf8(struct str s);
/* At most `max` bytes of it, cut between characters. */
struct str str_cut_utf8(struct str s, size_t max);
uint64_t str_hash(struct str s); /* 64-bit, good spread, not keyed */

/* Decimal digits only (a leading '-' for the signed one), all of s, no
 * spaces, no '+'. ERR_SYNTAX or ERR_RANGE; *out untouched on error. */
enum err str_to_u64(struct str s, uint64_t *out) MUSTCHECK;
enum err str_to_i64(struct str s, int64_t *out) MUSTCHECK;

/* The candidate nearest to `word` by edit distance (ASCII case ignored), or an
 * empty string when none is near enough to be what was meant. */
struct str str_suggest(
    struct str word, const struct str *candidates, size_t count);

#endif
