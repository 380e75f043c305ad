/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/jwt_fuzz.c - a first line as a key set, the rest as a token. No
 * bytes may crash the judge; nothing but a token that one of the seed keys
 * signed may be valid; and what is written of a payload is read as the same. */
#include "proxy/jwt/jwt.h"

#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/must.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_claims(const struct jwt *jwt, struct arena *arena)
{
    struct buf text;
    struct json again;

    buf_init(&text, JWT_TOKEN_MAX);
    jwt_write_claims(jwt, &text);
    MUST(!text.failed);
    MUST(memchr(buf_str(&text).ptr, '\n', text.len) == NULL);
    MUST(json_parse(arena, buf_str(&text), NULL, &again, NULL) == ERR_OK);
    MUST(again.count == jwt->payload.count);
    buf_fini(&text);
}

static void check_rules(const struct jwt *jwt)
{
    static const struct str audience = STR_INIT("bailiff");
    struct jwt_rules rules = {.issuer = STR("https://i.example"),
        .audiences = &audience,
        .audience_count = 1,
        .now_us = INT64_C(1800000000) * SECOND_US,
        .skew_us = 60 * SECOND_US};
    enum jwt_reason reason = jwt_check_claims(jwt, &rules);

    MUST(reason > JWT_UNJUDGED && reason < JWT_REASON_COUNT);
    if (reason == JWT_OK)
        MUST(jwt_expires_us(jwt) > rules.now_us - rules.skew_us);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = str_make((const char *)data, size), set, token;
    struct arena *arena = arena_new(4096, (size_t)16 << 20);
    struct jwks *jwks = NULL;
    struct jwt jwt;
    struct errinfo info = {0};

    MUST(arena != NULL && crypto_init(&info) == ERR_OK);
    str_split(bytes, '\n', &set, &token);
    enum jwt_reason reason = jwt_parse(token, arena, &jwt);
    MUST(reason > JWT_UNJUDGED && reason < JWT_REASON_COUNT);
    if (reason == JWT_OK) {
        MUST(jwt.algorithm != SIGNATURE_NONE);
        check_claims(&jwt, arena);
        check_rules(&jwt);
    }
    if (jwks_parse(set, &jwks, &info) == ERR_OK) {
        MUST(jwks_count(jwks) <= JWKS_KEYS_MAX);
        if (reason == JWT_OK)
            MUST(jwt_check_signature(&jwt, jwks) > JWT_UNJUDGED);
    } else {
        MUST(info.text[0] != '\0');
    }
    jwks_unref(&jwks);
    arena_free(&arena);
    return 0;
}
