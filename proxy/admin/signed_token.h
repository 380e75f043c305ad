/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/signed_token.h - an issuer's token for the admin plane, without
 * the types of proxy/jwt (their JSON is not the admin plane's). Each step gives
 * NULL, or a sentence that says what is wrong. */
#ifndef PROXY_ADMIN_SIGNED_TOKEN_H
#define PROXY_ADMIN_SIGNED_TOKEN_H

#include "lib/arena.h"

struct jwks;
struct signed_token {
    struct str issuer, subject; /* of no worth before it is verified */
    const void *inside;
};

/* Shape alone. Everything lives in the arena or in the token. */
const char *signed_token_read(
    struct arena *arena, struct str token, struct signed_token *out);
const char *signed_token_verify(
    const struct signed_token *token, const struct jwks *keys);
/* Its issuer, audience, times. */
const char *signed_token_claims(const struct signed_token *token,
    struct str audience, int64_t skew_us, int64_t now_us);

#endif
