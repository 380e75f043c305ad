/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/jwt/jwks.h - key sets (RFC 7517): the public keys of one issuer.
 *
 * Only keys that may verify a signature are kept: `use` "sig" or absent,
 * `key_ops` with "verify" (each once, none against `use`) or absent, a type,
 * curve and size of lib/public_key.h, an `alg` (if any) that goes with them.
 * Other keys are passed over, as RFC 7517 section 5 asks, and counted.
 * Symmetric keys are never kept: whoever could read such a set could sign.
 * Immutable; any thread. */
#ifndef PROXY_JWT_JWKS_H
#define PROXY_JWT_JWKS_H

#include "lib/public_key.h"

#define JWKS_TEXT_MAX (1u << 20)
#define JWKS_KEYS_MAX 256
#define JWKS_KID_MAX 512
/* Signatures tried for one token that names no key. */
#define JWKS_TRIES_MAX 8

struct jwks;

/* ERR_SYNTAX: not a key set (the text says where), ERR_LIMIT, ERR_NOMEM. A set
 * of which no key can be used is no error: it verifies nothing. gives *out. */
enum err jwks_parse(
    struct str text, struct jwks **out, struct errinfo *info) MUSTCHECK;
struct jwks *jwks_ref(struct jwks *jwks);
void jwks_unref(struct jwks **jwks);

size_t jwks_count(const struct jwks *jwks); /* keys that can be used */
size_t jwks_passed_over(const struct jwks *jwks);
/* A member of a private key stands in the set: it was published by mistake. */
bool jwks_has_private(const struct jwks *jwks);
/* Why the last key that was passed over was; "" if none. */
const char *jwks_why(const struct jwks *jwks);

enum jwks_result {
    JWKS_UNKNOWN_KEY = 0, /* no key of that name (or none that fits) */
    JWKS_KEY_MISMATCH,    /* the named key is not for this algorithm */
    JWKS_KEY_AMBIGUOUS,   /* two keys of one name and type */
    JWKS_BAD_SIGNATURE,
    JWKS_VERIFIED
};
/* kid.ptr NULL: the token names no key; each that fits is tried. */
enum jwks_result jwks_verify(const struct jwks *jwks, struct str kid,
    enum signature_algorithm algorithm, struct str message,
    struct str signature);

#endif
