/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/signed_token.c - see proxy/admin/signed_token.h. */
#include "proxy/admin/signed_token.h"

#include "proxy/jwt/jwt.h"

static const char *words(enum jwt_reason reason)
{
    return reason == JWT_OK ? NULL : jwt_reason_text(reason);
}

const char *signed_token_read(
    struct arena *arena, struct str token, struct signed_token *out)
{
    struct jwt *jwt = ARENA_NEW(arena, struct jwt);
    enum jwt_reason reason;

    if (!jwt)
        return "out of memory";
    reason = jwt_parse(token, arena, jwt);
    if (reason != JWT_OK)
        return words(reason);
    out->inside = jwt;
    out->issuer = jwt_text_claim(jwt, arena, STR("iss"));
    out->subject = jwt_text_claim(jwt, arena, STR("sub"));
    return out->issuer.ptr && out->subject.ptr
               ? NULL
               : "it names no issuer, or nobody";
}

const char *signed_token_verify(
    const struct signed_token *token, const struct jwks *keys)
{
    return words(jwt_check_signature(token->inside, keys));
}

const char *signed_token_claims(const struct signed_token *token,
    struct str audience, int64_t skew_us, int64_t now_us)
{
    const struct jwt_rules rules = {.issuer = token->issuer,
        .audiences = &audience,
        .audience_count = 1,
        .now_us = now_us,
        .skew_us = skew_us};

    return words(jwt_check_claims(token->inside, &rules));
}
