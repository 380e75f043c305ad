/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/jwt/jwt.c - a token's shape, header and signature. Its claims:
 * proxy/jwt/jwt_claims.c. */
#include "proxy/jwt/jwt.h"

#include "lib/encode.h"

static const struct {
    const char *word, *text;
} reasons[JWT_REASON_COUNT] = {
#define JWT_REASON(name, word, text) [JWT_##name] = {word, text},
#include "proxy/jwt/jwt_reasons.tbl.h"
#undef JWT_REASON
};

const char *jwt_reason_word(enum jwt_reason reason)
{
    return reasons[reason < JWT_REASON_COUNT ? reason : JWT_UNJUDGED].word;
}

const char *jwt_reason_text(enum jwt_reason reason)
{
    return reasons[reason < JWT_REASON_COUNT ? reason : JWT_UNJUDGED].text;
}

/* --- Shape --------------------------------------------------------------- */

static enum jwt_reason split(struct str token, struct str parts[3])
{
    struct str rest = token;
    size_t dots = 0;

    for (size_t i = 0; i < token.len; i++)
        dots += token.ptr[i] == '.';
    if (dots == 4)
        return JWT_ENCRYPTED;
    if (dots != 2)
        return JWT_MALFORMED;
    for (int i = 0; i < 3; i++)
        str_split(rest, '.', &parts[i], &rest);
    /* An empty third part is told apart later: "none" has a name. */
    return parts[0].len > 0 && parts[1].len > 0 ? JWT_OK : JWT_MALFORMED;
}

static enum jwt_reason decode(
    struct str part, struct arena *arena, struct str *out)
{
    size_t room = part.len / 4 * 3 + 3, length;
    uint8_t *bytes = arena_alloc(arena, room);

    if (!bytes)
        return JWT_OUT_OF_MEMORY;
    if (base64url_decode(part, bytes, room, &length) != ERR_OK)
        return JWT_BAD_ENCODING;
    *out = str_make((const char *)bytes, length);
    return JWT_OK;
}

/* `bad`: what it is called when the text is no JSON object. */
static enum jwt_reason parse_object(
    struct str text, struct arena *arena, enum jwt_reason bad, struct json *out)
{
    static const struct json_limits limits = {
        .max_depth = JWT_DEPTH_MAX, .max_tokens = JWT_TOKEN_MAX};
    enum err err = json_parse(arena, text, &limits, out, NULL);

    if (err == ERR_NOMEM)
        return JWT_OUT_OF_MEMORY;
    return err == ERR_OK && json_type(out, 0) == JSON_OBJECT ? JWT_OK : bad;
}

/* --- Header -------------------------------------------------------------- */

static bool has(const struct jwt *jwt, struct str name)
{
    return json_find(&jwt->header, 0, name) != JSON_NONE;
}

/* A member that must be a text where it is there (ptr NULL: absent). */
static enum jwt_reason header_text(const struct jwt *jwt, struct arena *arena,
    struct str name, struct str *out)
{
    uint32_t at = json_find(&jwt->header, 0, name);

    *out = str_make(NULL, 0);
    if (at == JSON_NONE)
        return JWT_OK;
    enum err err = json_text(&jwt->header, at, arena, out);
    if (err == ERR_NOMEM)
        return JWT_OUT_OF_MEMORY;
    return err == ERR_OK ? JWT_OK : JWT_BAD_HEADER;
}

static enum jwt_reason read_algorithm(struct jwt *jwt, struct arena *arena)
{
    struct str name;
    enum jwt_reason reason = header_text(jwt, arena, STR("alg"), &name);

    if (reason != JWT_OK)
        return reason;
    if (!name.ptr)
        return JWT_ALG_MISSING;
    if (str_equal_nocase(name, STR("none")))
        return JWT_ALG_NONE;
    jwt->algorithm = signature_algorithm_find(name);
    if (jwt->algorithm != SIGNATURE_NONE)
        return JWT_OK;
    if (str_equal(name, STR("HS256")) || str_equal(name, STR("HS384")) ||
        str_equal(name, STR("HS512")))
        return JWT_ALG_SYMMETRIC;
    return JWT_ALG_UNSUPPORTED;
}

static enum jwt_reason read_header(struct jwt *jwt, struct arena *arena)
{
    struct str content;
    enum jwt_reason reason;

    /* "enc" is what makes a JWE (RFC 7516, section 9). */
    if (has(jwt, STR("enc")))
        return JWT_ENCRYPTED;
    reason = read_algorithm(jwt, arena);
    if (reason != JWT_OK)
        return reason;
    /* No extension is understood, so any that must be is one too many; and
     * "b64" (RFC 7797) changes what is signed. */
    if (has(jwt, STR("crit")) || has(jwt, STR("b64")))
        return JWT_UNSUPPORTED_CRIT;
    if (has(jwt, STR("jwk")) || has(jwt, STR("x5c")))
        return JWT_EMBEDDED_KEY;
    reason = header_text(jwt, arena, STR("kid"), &jwt->kid);
    if (reason == JWT_OK)
        reason = header_text(jwt, arena, STR("typ"), &jwt->type);
    if (reason == JWT_OK)
        reason = header_text(jwt, arena, STR("cty"), &content);
    if (reason != JWT_OK)
        return reason;
    if (content.ptr && (str_equal_nocase(content, STR("JWT")) ||
                           str_equal_nocase(content, STR("application/jwt"))))
        return JWT_NESTED;
    return JWT_OK;
}

enum jwt_reason jwt_parse(
    struct str token, struct arena *arena, struct jwt *out)
{
    struct str parts[3], header, payload;
    enum jwt_reason reason;

    memset(out, 0, sizeof *out);
    if (token.len > JWT_TOKEN_MAX)
        return JWT_TOO_LARGE;
    reason = split(token, parts);
    if (reason != JWT_OK)
        return reason;
    if (parts[0].len > JWT_HEADER_MAX)
        return JWT_TOO_LARGE;
    reason = decode(parts[0], arena, &header);
    if (reason == JWT_OK)
        reason = decode(parts[1], arena, &payload);
    if (reason == JWT_OK)
        reason = decode(parts[2], arena, &out->signature);
    if (reason == JWT_OK)
        reason = parse_object(header, arena, JWT_BAD_HEADER, &out->header);
    if (reason == JWT_OK)
        reason = read_header(out, arena);
    if (reason == JWT_OK)
        reason = parse_object(payload, arena, JWT_BAD_PAYLOAD, &out->payload);
    if (reason != JWT_OK)
        return reason;
    out->signing_input = str_make(token.ptr, parts[0].len + 1 + parts[1].len);
    return JWT_OK;
}

enum jwt_reason jwt_check_signature(
    const struct jwt *jwt, const struct jwks *jwks)
{
    switch (jwks_verify(
        jwks, jwt->kid, jwt->algorithm, jwt->signing_input, jwt->signature)) {
    case JWKS_VERIFIED:
        return JWT_OK;
    case JWKS_UNKNOWN_KEY:
        return JWT_UNKNOWN_KEY;
    case JWKS_KEY_MISMATCH:
        return JWT_KEY_MISMATCH;
    case JWKS_KEY_AMBIGUOUS:
        return JWT_KEY_AMBIGUOUS;
    case JWKS_BAD_SIGNATURE:
        break;
    }
    return JWT_BAD_SIGNATURE;
}

enum jwt_reason jwt_verify(struct str token, const struct jwks *jwks,
    const struct jwt_rules *rules, struct arena *arena, struct jwt *out)
{
    enum jwt_reason reason = jwt_parse(token, arena, out);

    if (reason == JWT_OK)
        reason = jwt_check_signature(out, jwks);
    if (reason == JWT_OK)
        reason = jwt_check_claims(out, rules);
    return reason;
}
