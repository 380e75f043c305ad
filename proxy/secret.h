/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/secret.h - secrets that Bailiff hands out, and opaque ids.
 *
 * A secret is its prefix ("blf_" API key, "bla_" administrator's token), 32
 * random base62 characters (190 bits) and a 6-character base62 CRC-32 of all
 * that stands before: a mistyped one is known without a look-up, and scanners
 * can tell a leaked one from noise. Only its SHA-256 is ever stored. Pure but
 * for the random source; any thread. */
#ifndef PROXY_SECRET_H
#define PROXY_SECRET_H

#include "lib/err.h"
#include "lib/str.h"

#define SECRET_KEY_PREFIX "blf_"
#define SECRET_TOKEN_PREFIX "bla_"
#define SECRET_LENGTH 42
#define SECRET_HINT_LENGTH 8 /* prefix and 4 characters: to recognise it */

/* prefix is 4 characters long. */
enum err secret_make(const char *prefix, char out[SECRET_LENGTH + 1],
    struct errinfo *info) MUSTCHECK;
/* Shape and checksum; no look-up. */
bool secret_is_well_formed(const char *prefix, struct str secret);
void secret_hash(struct str secret, uint8_t hash[32]);

/* "cal_" + 16 random base62 characters, NUL-terminated. */
#define ID_LENGTH 20
enum err id_make(const char *prefix, char out[ID_LENGTH + 1],
    struct errinfo *info) MUSTCHECK;

#endif
