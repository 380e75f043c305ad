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

#define JSON_WRITE_DEPTH 32
#define JSON_INTEGER_MAX INT64_C(9007199254740991)

struct json_writer {
    struct buf *out;
    int depth;
    bool after_key; /* a key was written, its value is due */
    struct {
        bool object;
        bool any;                      /* a member or element was written */
        size_t key_offset, key_length; /* last key, inside out */
    } level[JSON_WRITE_DEPTH];
};

void json_write_init(struct json_writer *w, struct buf *out); /* keeps out */
void json_write_object(struct json_writer *w);                /* { */
void json_write_object_end(struct json_writer *w);            /* } */
void json_write_array(struct json_writer *w);
void json_write_array_end(struct json_writer *w);
void json_write_key(struct json_writer *w, struct str key); /* ASCII keys */
void json_write_string(struct json_writer *w, struct str value);
void json_write_int(struct json_writer *w, int64_t value);
void json_write_bool(struct json_writer *w, bool value);
void json_write_null(struct json_writer *w);
/* A finished canonical value, taken as it is. */
void json_write_raw(struct json_writer *w, struct str value);
/* key + value in one */
void json_write_member_string(
    struct json_writer *w, struct str key, struct str value);
void json_write_member_int(
    struct json_writer *w, struct str key, int64_t value);
void json_write_member_bool(struct json_writer *w, struct str key, bool value);

/* ASCII without controls, quotes and backslashes: quoting only adds quotes. */
bool json_is_plain(struct str text);
/* The quoted string alone, escaped as RFC 8785 says, appended to out. */
void json_quote(struct buf *out, struct str value);

#endif
