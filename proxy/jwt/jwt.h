/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/jwt/jwt.h - a signed token (JWT in JWS compact form): its shape, its
 * signature, its claims. RFC 7515, 7519, 8725, 9068; RFC 8705 for tokens that
 * are bound to a client certificate.
 *
 * Three steps, in this order: jwt_parse (nothing is believed yet; it tells
 * who claims to have issued it, so that the issuer's keys can be found),
 * jwt_check_signature, jwt_check_claims. jwt_verify is all three. Keys come
 * from the issuer's set only: "jwk" and "x5c" in a token are refused, "jku"
 * and "x5u" are never followed. Pure: time is an argument. Any thread. */
#ifndef PROXY_JWT_JWT_H
#define PROXY_JWT_JWT_H

#include "lib/buf.h"
#include "lib/json.h"
#include "proxy/jwt/jwks.h"

#define JWT_TOKEN_MAX (32u * 1024)
#define JWT_HEADER_MAX (8u * 1024)
#define JWT_DEPTH_MAX 32
#define JWT_SKEW_MAX_US (300 * INT64_C(1000000))

/* JWT_UNJUDGED is 0: what was never judged is not valid. */
enum jwt_reason {
#define JWT_REASON(name, word, text) JWT_##name,
#include "proxy/jwt/jwt_reasons.tbl.h"
#undef JWT_REASON
    JWT_REASON_COUNT
};

/* A parsed token; everything lives in the arena or in the token's text. */
struct jwt {
    struct str signing_input; /* header '.' payload, as they came */
    struct str signature;     /* bytes */
    enum signature_algorithm algorithm;
    struct str kid;  /* ptr NULL: it names no key */
    struct str type; /* ptr NULL: none */
    struct json header, payload;
};

/* What to expect of a token of one issuer. */
struct jwt_rules {
    struct str issuer;
    const struct str *audiences; /* one of them must be in `aud` */
    size_t audience_count;
    int64_t now_us;
    int64_t skew_us;    /* 0 .. JWT_SKEW_MAX_US; more is taken as that */
    int64_t max_age_us; /* since `iat`, which is demanded then; 0: any */
    /* `typ` must be at+jwt, and iat, jti and client_id must be there. Without
     * it `typ` may also be JWT or absent; other types are refused always. */
    bool access_token_type;
    /* SHA-256 of the client certificate's DER; NULL: none was shown. */
    const uint8_t *certificate_sha256;
};

enum jwt_reason jwt_parse(
    struct str token, struct arena *arena, struct jwt *out);
enum jwt_reason jwt_check_signature(
    const struct jwt *jwt, const struct jwks *jwks);
enum jwt_reason jwt_check_claims(
    const struct jwt *jwt, const struct jwt_rules *rules);
/* *out is complete where the reason is JWT_OK. */
enum jwt_reason jwt_verify(struct str token, const struct jwks *jwks,
    const struct jwt_rules *rules, struct arena *arena, struct jwt *out);

/* Claims that were checked. The member's text (ptr NULL: absent or no text). */
struct str jwt_text_claim(
    const struct jwt *jwt, struct arena *arena, struct str name);
/* Of `exp`, as jwt_check_claims read it. */
int64_t jwt_expires_us(const struct jwt *jwt);
/* The payload as JSON in one line, its numbers and texts as they came. */
void jwt_write_claims(const struct jwt *jwt, struct buf *out);

const char *jwt_reason_word(enum jwt_reason reason); /* "bad_signature" */
const char *jwt_reason_text(enum jwt_reason reason); /* a sentence */

#endif
