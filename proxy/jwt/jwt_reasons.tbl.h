/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/jwt/jwt_reasons.tbl.h - why a token is not accepted: enum, the stable
 * word, the sentence for docs/identity.md and logs. Words are never renamed. */
#ifndef JWT_REASON
#error "define JWT_REASON(ENUM, word, text) first"
#endif
/* clang-format off */
JWT_REASON(UNJUDGED,          "unjudged",             "Nothing was checked yet.")
JWT_REASON(OK,                "ok",                   "The token is valid.")
JWT_REASON(OUT_OF_MEMORY,     "out_of_memory",        "No memory was left to judge it.")
/* its shape */
JWT_REASON(TOO_LARGE,         "too_large",            "The token, its header or its payload is larger than accepted.")
JWT_REASON(MALFORMED,         "malformed",            "It is not three parts with a dot between them.")
JWT_REASON(ENCRYPTED,         "encrypted_token",      "It is encrypted (JWE); only signed tokens are accepted.")
JWT_REASON(BAD_ENCODING,      "bad_encoding",         "A part is not base64url as RFC 7515 has it: padding, white space, another alphabet or stray bits.")
/* its header */
JWT_REASON(BAD_HEADER,        "bad_header",           "The header is not a JSON object as RFC 7515 has it, or repeats a member.")
JWT_REASON(ALG_MISSING,       "alg_missing",          "The header names no algorithm.")
JWT_REASON(ALG_NONE,          "alg_none",             "It is not signed (\"none\", in whatever case).")
JWT_REASON(ALG_SYMMETRIC,     "alg_symmetric",        "The algorithm is an HMAC: whoever could check the token could make one.")
JWT_REASON(ALG_UNSUPPORTED,   "alg_unsupported",      "The algorithm is not one of RS, PS, ES 256/384/512, EdDSA, Ed25519, written so.")
JWT_REASON(UNSUPPORTED_CRIT,  "unsupported_crit",     "The header has \"crit\": it demands an extension that is not understood.")
JWT_REASON(EMBEDDED_KEY,      "embedded_key",         "The header brings its own key or certificate (\"jwk\", \"x5c\").")
JWT_REASON(NESTED,            "nested_token",         "The payload is said to be a token again (\"cty\").")
JWT_REASON(TYPE_MISMATCH,     "type_mismatch",        "\"typ\" is not that of an access token.")
/* its key and signature */
JWT_REASON(UNKNOWN_KEY,       "unknown_key",          "No key of the issuer has that \"kid\", or none is for that algorithm.")
JWT_REASON(KEY_MISMATCH,      "key_mismatch",         "The key named by \"kid\" is not for that algorithm.")
JWT_REASON(KEY_AMBIGUOUS,     "key_ambiguous",        "Two keys of the issuer have that \"kid\".")
JWT_REASON(BAD_SIGNATURE,     "bad_signature",        "The signature does not fit.")
/* its claims */
JWT_REASON(BAD_PAYLOAD,       "bad_payload",          "The payload is not a JSON object, or repeats a member.")
JWT_REASON(ISS_MISSING,       "iss_missing",          "\"iss\" is missing or no text.")
JWT_REASON(ISS_MISMATCH,      "iss_mismatch",         "\"iss\" is another issuer.")
JWT_REASON(AUD_MISSING,       "aud_missing",          "\"aud\" is missing.")
JWT_REASON(AUD_INVALID,       "aud_invalid",          "\"aud\" is neither a text nor an array of texts.")
JWT_REASON(AUD_MISMATCH,      "aud_mismatch",         "\"aud\" does not name this service.")
JWT_REASON(EXP_MISSING,       "exp_missing",          "\"exp\" is missing.")
JWT_REASON(EXP_INVALID,       "exp_invalid",          "\"exp\" is no number of seconds before the year 10000.")
JWT_REASON(EXPIRED,           "expired",              "\"exp\" has passed.")
JWT_REASON(NBF_INVALID,       "nbf_invalid",          "\"nbf\" is no number of seconds before the year 10000.")
JWT_REASON(NOT_YET_VALID,     "not_yet_valid",        "\"nbf\" is in the future.")
JWT_REASON(IAT_MISSING,       "iat_missing",          "\"iat\" is missing, and the type of token demands it.")
JWT_REASON(IAT_INVALID,       "iat_invalid",          "\"iat\" is no number of seconds before the year 10000.")
JWT_REASON(ISSUED_IN_FUTURE,  "issued_in_future",     "\"iat\" is in the future.")
JWT_REASON(TOO_OLD,           "too_old",              "It was issued longer ago than this issuer's tokens may be.")
JWT_REASON(SUB_MISSING,       "sub_missing",          "\"sub\" is missing or empty.")
JWT_REASON(SUB_INVALID,       "sub_invalid",          "\"sub\" is no text.")
JWT_REASON(CLAIM_MISSING,     "claim_missing",        "\"client_id\" or \"jti\", which RFC 9068 demands, is missing.")
JWT_REASON(CLAIM_INVALID,     "claim_invalid",        "\"client_id\" or \"jti\" is no text.")
JWT_REASON(CONFIRM_INVALID,   "confirmation_invalid", "\"cnf\" is not as RFC 7800 has it, or binds to something that cannot be checked here.")
JWT_REASON(CONFIRM_MISSING,   "certificate_missing",  "It is bound to a client certificate, and none was shown.")
JWT_REASON(CONFIRM_MISMATCH,  "certificate_mismatch", "It is bound to another client certificate.")
/* clang-format on */
