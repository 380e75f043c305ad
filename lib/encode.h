/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/encode.h - hex, base64 (RFC 4648, padded), base64url (unpadded),
 * base62 and ULID texts. Decoders are strict: no white space, no stray bits. */
#ifndef LIB_ENCODE_H
#define LIB_ENCODE_H

#include "lib/buf.h"

void hex_append(struct buf *out, const void *bytes, size_t n); /* lower case */
/* Writes 2*n characters and a NUL to out. */
void hex_write(char *out, const void *bytes, size_t n);
enum err hex_decode(struct str text, uint8_t *out, size_t out_size,
    size_t *out_len) MUSTCHECK; /* both cases accepted */
void base64_append(struct buf *out, const void *bytes, size_t n);
void base64url_append(struct buf *out, const void *bytes, size_t n);
enum err base64_decode(
    struct str text, uint8_t *out, size_t out_size, size_t *out_len) MUSTCHECK;
enum err base64url_decode(
    struct str text, uint8_t *out, size_t out_size, size_t *out_len) MUSTCHECK;

/* n random base62 characters (no modulo bias) from the system's generator. */
enum err base62_random(char *out, size_t n) MUSTCHECK;
/* value as exactly `width` base62 digits, zero-padded, most significant
 * first (0-9A-Za-z). */
void base62_write(char *out, size_t width, uint64_t value);

#define ULID_LENGTH 26
/* A ULID (Crockford base32, 48-bit milliseconds + 80 random bits), no NUL.
 * `random` are 10 bytes of the caller's. */
void ulid_write(
    char out[ULID_LENGTH], int64_t time_us, const uint8_t random[10]);
bool ulid_is_valid(struct str text);

#endif
