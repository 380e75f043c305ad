/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/json_canonical.h - a quick reader of canonical JSON (RFC 8785), for texts
 * that json_write wrote: the entries of the log.
 *
 * No tape is made. An object is split into its members, whose values are the
 * bytes as they stand; what nobody asks for is passed over by its brackets and
 * quotes, sixteen bytes at a time, and not looked at. So this reads what is
 * canonical correctly and takes other texts for malformed, or passes over what
 * lib/json.h would refuse; it never reads outside of the text. Bytes from
 * outside go through lib/json.h. Pure; any thread. */
#ifndef LIB_JSON_CANONICAL_H
#define LIB_JSON_CANONICAL_H

#include "lib/arena.h"

struct json_member {
    struct str key;   /* between its quotes; escapes as they are */
    struct str value; /* a string's with its quotes */
};

/* The members of `object`, in their order. ERR_SYNTAX: it is no object, or no
 * canonical one (keys that do not rise bytewise, spaces); ERR_LIMIT: it has
 * more than `room`. */
enum err json_canonical_object(struct str object, struct json_member *out,
    size_t room, size_t *count) MUSTCHECK;
/* Elements in turn: begin with *at = 0. ERR_NOTFOUND: there is no other;
 * ERR_SYNTAX. */
enum err json_canonical_element(
    struct str array, size_t *at, struct str *out) MUSTCHECK;
/* The values of the members with these names, in one pass: both are sorted.
 * Those that are absent have ptr NULL. */
void json_canonical_find(const struct json_member *members, size_t count,
    const struct str *names, struct str *values, size_t name_count);

/* The text of a string; borrows it where nothing is escaped, else from the
 * arena. ERR_SYNTAX: no string; ERR_NOMEM. (An integer: str_to_i64.) */
enum err json_canonical_text(
    struct arena *arena, struct str value, struct str *out) MUSTCHECK;

#endif
