/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/public_key.h - public keys from their bare numbers (as in a JWK), and
 * the signatures of RFC 7518 and RFC 8037 checked with them.
 *
 * A key is of one kind and verifies only the algorithms of that kind; asking
 * for another is a false, never a conversion. Keys are immutable: any thread
 * may verify with one. Not here: JSON (proxy/jwt), private keys, MACs. */
#ifndef LIB_PUBLIC_KEY_H
#define LIB_PUBLIC_KEY_H

#include "lib/err.h"
#include "lib/str.h"

#define PUBLIC_KEY_RSA_BITS_MIN 2048 /* RFC 7518, sections 3.3 and 3.5 */
#define PUBLIC_KEY_RSA_BITS_MAX 8192 /* above, a check costs milliseconds */
#define PUBLIC_KEY_SIGNATURE_MAX (PUBLIC_KEY_RSA_BITS_MAX / 8)

enum public_key_kind {
    PUBLIC_KEY_RSA = 1,
    PUBLIC_KEY_P256,
    PUBLIC_KEY_P384,
    PUBLIC_KEY_P521,
    PUBLIC_KEY_ED25519
};

/* The order is that of the table in public_key.c. */
enum signature_algorithm {
    SIGNATURE_NONE = 0, /* nothing verifies by it */
    SIGNATURE_RS256,
    SIGNATURE_RS384,
    SIGNATURE_RS512,
    SIGNATURE_PS256, /* salt as long as the digest, MGF1 with the digest */
    SIGNATURE_PS384,
    SIGNATURE_PS512,
    SIGNATURE_ES256, /* r and s, each as wide as the curve, not DER */
    SIGNATURE_ES384,
    SIGNATURE_ES512,
    SIGNATURE_ED25519
};

struct public_key;

/* Big-endian numbers. ERR_RANGE: modulus outside 2048..8192 bits or even,
 * exponent under 3, even or above 64 bits. gives *out. */
enum err public_key_rsa(struct str modulus, struct str exponent,
    struct public_key **out, struct errinfo *info) MUSTCHECK;
/* x and y exactly as wide as the curve. ERR_RANGE: not a point of it. */
enum err public_key_ec(enum public_key_kind curve, struct str x, struct str y,
    struct public_key **out, struct errinfo *info) MUSTCHECK;
/* ERR_RANGE: not 32 bytes, no point of the curve, a second spelling of one, or
 * a point of small order, under which one signature fits many messages. */
enum err public_key_ed25519(
    struct str x, struct public_key **out, struct errinfo *info) MUSTCHECK;
void public_key_free(struct public_key **key);

enum public_key_kind public_key_kind(const struct public_key *key);
/* "RS256" ... "EdDSA" and "Ed25519" (RFC 9864), case and all; SIGNATURE_NONE
 * for anything else. */
enum signature_algorithm signature_algorithm_find(struct str name);
bool public_key_fits(
    const struct public_key *key, enum signature_algorithm algorithm);
/* False also when the algorithm is not of the key's kind. */
bool public_key_verify(const struct public_key *key,
    enum signature_algorithm algorithm, struct str message,
    struct str signature);

#endif
