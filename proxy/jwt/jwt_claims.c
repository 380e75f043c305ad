/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/jwt/jwt_claims.c - what a token says of itself, held against what its
 * issuer's tokens must say (RFC 7519 section 4.1, RFC 9068 section 4). */
#include "proxy/jwt/jwt.h"

#include "lib/clock.h"
#include "lib/encode.h"

#define CERTIFICATE_HASH_SIZE 32
/* 9999-12-31T23:59:59Z. What is later is a mistake (milliseconds taken for
 * seconds give the year 56000), and would be valid for ever. */
#define DATE_MAX_S INT64_C(253402300799)

static uint32_t claim(const struct jwt *jwt, struct str name)
{
    return json_find(&jwt->payload, 0, name);
}

/* A NumericDate: seconds, with or without a fraction. What is finer than is
 * kept counts against the token: an end comes earlier, a beginning later. */
static bool read_date(
    const struct jwt *jwt, uint32_t at, bool beginning, int64_t *out_us)
{
    int64_t decimal;

    if (json_type(&jwt->payload, at) != JSON_NUMBER ||
        (beginning ? json_decimal4_up(&jwt->payload, at, &decimal)
                   : json_decimal4(&jwt->payload, at, &decimal)) != ERR_OK)
        return false;
    if (decimal / 10000 > DATE_MAX_S || decimal / 10000 < -DATE_MAX_S)
        return false;
    *out_us = decimal * (SECOND_US / 10000);
    return true;
}

static bool is_text(const struct jwt *jwt, uint32_t at)
{
    return json_type(&jwt->payload, at) == JSON_STRING;
}

/* --- Who and for whom ---------------------------------------------------- */

static enum jwt_reason check_type(
    const struct jwt *jwt, const struct jwt_rules *rules)
{
    bool access = str_equal_nocase(jwt->type, STR("at+jwt")) ||
                  str_equal_nocase(jwt->type, STR("application/at+jwt"));

    if (access)
        return JWT_OK;
    if (rules->access_token_type)
        return JWT_TYPE_MISMATCH;
    return !jwt->type.ptr || str_equal_nocase(jwt->type, STR("JWT")) ||
                   str_equal_nocase(jwt->type, STR("application/jwt"))
               ? JWT_OK
               : JWT_TYPE_MISMATCH;
}

static enum jwt_reason check_issuer(
    const struct jwt *jwt, const struct jwt_rules *rules)
{
    uint32_t at = claim(jwt, STR("iss"));

    if (at == JSON_NONE || !is_text(jwt, at))
        return JWT_ISS_MISSING;
    return rules->issuer.len > 0 &&
                   json_string_equals(&jwt->payload, at, rules->issuer)
               ? JWT_OK
               : JWT_ISS_MISMATCH;
}

static bool is_audience(
    const struct jwt *jwt, uint32_t at, const struct jwt_rules *rules)
{
    for (size_t i = 0; i < rules->audience_count; i++)
        if (rules->audiences[i].len > 0 &&
            json_string_equals(&jwt->payload, at, rules->audiences[i]))
            return true;
    return false;
}

static enum jwt_reason check_audience(
    const struct jwt *jwt, const struct jwt_rules *rules)
{
    uint32_t at = claim(jwt, STR("aud"));
    bool found = false;

    if (at == JSON_NONE)
        return JWT_AUD_MISSING;
    if (is_text(jwt, at))
        return is_audience(jwt, at, rules) ? JWT_OK : JWT_AUD_MISMATCH;
    if (json_type(&jwt->payload, at) != JSON_ARRAY)
        return JWT_AUD_INVALID;
    for (JSON_EACH_ELEMENT(&jwt->payload, at, item)) {
        if (!is_text(jwt, item))
            return JWT_AUD_INVALID;
        found |= is_audience(jwt, item, rules);
    }
    return found ? JWT_OK : JWT_AUD_MISMATCH;
}

/* RFC 9068 demands the last two of access tokens by that name. */
static enum jwt_reason check_names(
    const struct jwt *jwt, const struct jwt_rules *rules)
{
    static const struct str further[] = {
        STR_INIT("client_id"), STR_INIT("jti")};
    uint32_t at = claim(jwt, STR("sub"));

    if (at == JSON_NONE)
        return JWT_SUB_MISSING;
    if (!is_text(jwt, at))
        return JWT_SUB_INVALID;
    if (json_text_length(&jwt->payload, at) == 0)
        return JWT_SUB_MISSING;
    for (size_t i = 0; i < sizeof further / sizeof further[0]; i++) {
        at = claim(jwt, further[i]);
        if (at == JSON_NONE && rules->access_token_type)
            return JWT_CLAIM_MISSING;
        if (at != JSON_NONE && !is_text(jwt, at))
            return JWT_CLAIM_INVALID;
    }
    return JWT_OK;
}

/* --- When ---------------------------------------------------------------- */

static enum jwt_reason check_issued(
    const struct jwt *jwt, const struct jwt_rules *rules, int64_t skew_us)
{
    uint32_t at = claim(jwt, STR("iat"));
    int64_t issued_us;

    if (at == JSON_NONE)
        return rules->access_token_type || rules->max_age_us > 0
                   ? JWT_IAT_MISSING
                   : JWT_OK;
    if (!read_date(jwt, at, true, &issued_us))
        return JWT_IAT_INVALID;
    if (issued_us > rules->now_us + skew_us)
        return JWT_ISSUED_IN_FUTURE;
    if (rules->max_age_us > 0 &&
        rules->now_us - issued_us > rules->max_age_us + skew_us)
        return JWT_TOO_OLD;
    return JWT_OK;
}

static enum jwt_reason check_times(
    const struct jwt *jwt, const struct jwt_rules *rules)
{
    int64_t skew_us = rules->skew_us < 0                 ? 0
                      : rules->skew_us > JWT_SKEW_MAX_US ? JWT_SKEW_MAX_US
                                                         : rules->skew_us;
    uint32_t at = claim(jwt, STR("exp"));
    int64_t time_us;

    if (at == JSON_NONE)
        return JWT_EXP_MISSING;
    if (!read_date(jwt, at, false, &time_us))
        return JWT_EXP_INVALID;
    /* "on or after which" it must not be accepted */
    if (rules->now_us - skew_us >= time_us)
        return JWT_EXPIRED;
    at = claim(jwt, STR("nbf"));
    if (at != JSON_NONE) {
        if (!read_date(jwt, at, true, &time_us))
            return JWT_NBF_INVALID;
        if (rules->now_us + skew_us < time_us)
            return JWT_NOT_YET_VALID;
    }
    return check_issued(jwt, rules, skew_us);
}

/* --- Held by whom -------------------------------------------------------- */

/* A token that is bound to a key is no bearer token: without a proof that can
 * be checked here it is worth nothing (RFC 7800, RFC 8705). */
static enum jwt_reason check_confirmation(
    const struct jwt *jwt, const struct jwt_rules *rules)
{
    uint8_t bound[CERTIFICATE_HASH_SIZE];
    uint32_t at = claim(jwt, STR("cnf")), thumbprint;
    size_t length;

    if (at == JSON_NONE)
        return JWT_OK;
    thumbprint = json_find(&jwt->payload, at, STR("x5t#S256"));
    if (json_type(&jwt->payload, at) != JSON_OBJECT ||
        thumbprint == JSON_NONE || !is_text(jwt, thumbprint) ||
        jwt->payload.tokens[at].count != 1 ||
        base64url_decode(json_raw(&jwt->payload, thumbprint), bound,
            sizeof bound, &length) != ERR_OK ||
        length != sizeof bound)
        return JWT_CONFIRM_INVALID;
    if (!rules->certificate_sha256)
        return JWT_CONFIRM_MISSING;
    return memcmp(bound, rules->certificate_sha256, sizeof bound) == 0
               ? JWT_OK
               : JWT_CONFIRM_MISMATCH;
}

enum jwt_reason jwt_check_claims(
    const struct jwt *jwt, const struct jwt_rules *rules)
{
    static enum jwt_reason (*const checks[])(const struct jwt *,
        const struct jwt_rules *) = {check_type, check_issuer, check_audience,
        check_times, check_names, check_confirmation};

    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        enum jwt_reason reason = checks[i](jwt, rules);
        if (reason != JWT_OK)
            return reason;
    }
    return JWT_OK;
}

/* --- Reading ------------------------------------------------------------- */

struct str jwt_text_claim(
    const struct jwt *jwt, struct arena *arena, struct str name)
{
    uint32_t at = claim(jwt, name);
    struct str text;

    if (at == JSON_NONE || json_text(&jwt->payload, at, arena, &text) != ERR_OK)
        return str_make(NULL, 0);
    return text;
}

int64_t jwt_expires_us(const struct jwt *jwt)
{
    uint32_t at = claim(jwt, STR("exp"));
    int64_t time_us;

    return at != JSON_NONE && read_date(jwt, at, false, &time_us) ? time_us : 0;
}

/* The text without the white space between its tokens. */
void jwt_write_claims(const struct jwt *jwt, struct buf *out)
{
    struct str text = jwt->payload.text;
    bool quoted = false;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (quoted && c == '\\' && i + 1 < text.len) {
            buf_append_char(out, c);
            c = text.ptr[++i];
        } else if (c == '"') {
            quoted = !quoted;
        } else if (!quoted &&
                   (c == ' ' || c == '\t' || c == '\n' || c == '\r')) {
            continue;
        }
        buf_append_char(out, c);
    }
}
