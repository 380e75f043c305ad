/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/public_key.c - OpenSSL's EVP behind public_key.h. */
#include "lib/public_key.h"

#include "lib/must.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <stdlib.h>

#define EC_WIDTH_MAX 66
#define EC_DER_MAX                                                             \
    160 /* of a signature: two integers of 67 bytes and heads                  \
         */
#define ED25519_WIDTH 32

struct public_key {
    enum public_key_kind kind;
    EVP_PKEY *pkey;
};

enum family { FAMILY_PKCS1, FAMILY_PSS, FAMILY_ECDSA, FAMILY_EDDSA };

static const struct algorithm {
    const char *name, *digest;
    enum family family;
    enum public_key_kind kind;
} algorithms[] = {
    [SIGNATURE_RS256] = {"RS256", "SHA256", FAMILY_PKCS1, PUBLIC_KEY_RSA},
    [SIGNATURE_RS384] = {"RS384", "SHA384", FAMILY_PKCS1, PUBLIC_KEY_RSA},
    [SIGNATURE_RS512] = {"RS512", "SHA512", FAMILY_PKCS1, PUBLIC_KEY_RSA},
    [SIGNATURE_PS256] = {"PS256", "SHA256", FAMILY_PSS, PUBLIC_KEY_RSA},
    [SIGNATURE_PS384] = {"PS384", "SHA384", FAMILY_PSS, PUBLIC_KEY_RSA},
    [SIGNATURE_PS512] = {"PS512", "SHA512", FAMILY_PSS, PUBLIC_KEY_RSA},
    [SIGNATURE_ES256] = {"ES256", "SHA256", FAMILY_ECDSA, PUBLIC_KEY_P256},
    [SIGNATURE_ES384] = {"ES384", "SHA384", FAMILY_ECDSA, PUBLIC_KEY_P384},
    [SIGNATURE_ES512] = {"ES512", "SHA512", FAMILY_ECDSA, PUBLIC_KEY_P521},
    [SIGNATURE_ED25519] = {"EdDSA", NULL, FAMILY_EDDSA, PUBLIC_KEY_ED25519},
};
#define ALGORITHM_COUNT (sizeof algorithms / sizeof algorithms[0])

static const struct curve {
    const char *group;
    size_t width;
} curves[] = {
    [PUBLIC_KEY_P256] = {"P-256", 32},
    [PUBLIC_KEY_P384] = {"P-384", 48},
    [PUBLIC_KEY_P521] = {"P-521", EC_WIDTH_MAX},
};

static bool is_curve(enum public_key_kind kind)
{
    return kind >= PUBLIC_KEY_P256 && kind <= PUBLIC_KEY_P521;
}

/* --- Making keys --------------------------------------------------------- */

static enum err take_pkey(enum public_key_kind kind, EVP_PKEY *pkey,
    struct public_key **out, struct errinfo *info)
{
    struct public_key *key = malloc(sizeof *key);

    if (!key) {
        EVP_PKEY_free(pkey);
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    }
    key->kind = kind;
    key->pkey = pkey;
    *out = key;
    return ERR_OK;
}

/* Takes what was pushed into the builder; NULL: OpenSSL refuses it. */
static EVP_PKEY *from_parameters(const char *type, OSSL_PARAM_BLD *builder)
{
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *pkey = NULL;

    if (!parameters || !context || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(parameters);
    return pkey;
}

static enum err check_rsa(
    const BIGNUM *n, const BIGNUM *e, struct errinfo *info)
{
    int bits = BN_num_bits(n);

    if (bits < PUBLIC_KEY_RSA_BITS_MIN || bits > PUBLIC_KEY_RSA_BITS_MAX)
        return errinfo_set(info, ERR_RANGE,
            "an RSA key of %d bits; %d to %d are accepted", bits,
            PUBLIC_KEY_RSA_BITS_MIN, PUBLIC_KEY_RSA_BITS_MAX);
    if (!BN_is_odd(n))
        return errinfo_set(info, ERR_RANGE, "an RSA modulus that is even");
    /* With an exponent of 1 every padded message is its own signature. */
    if (!BN_is_odd(e) || BN_is_one(e) || BN_num_bits(e) > 64)
        return errinfo_set(info, ERR_RANGE,
            "an RSA exponent that is even, under 3 or above 64 bits");
    return ERR_OK;
}

enum err public_key_rsa(struct str modulus, struct str exponent,
    struct public_key **out, struct errinfo *info)
{
    OSSL_PARAM_BLD *builder = NULL;
    BIGNUM *n = NULL, *e = NULL;
    EVP_PKEY *pkey;
    enum err err;

    if (modulus.len > PUBLIC_KEY_SIGNATURE_MAX + 1 || exponent.len > 16)
        return errinfo_set(info, ERR_RANGE, "an RSA key too large");
    n = BN_bin2bn((const unsigned char *)modulus.ptr, (int)modulus.len, NULL);
    e = BN_bin2bn((const unsigned char *)exponent.ptr, (int)exponent.len, NULL);
    builder = OSSL_PARAM_BLD_new();
    if (!n || !e || !builder) {
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
        goto out;
    }
    err = check_rsa(n, e, info);
    if (err)
        goto out;
    if (OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) != 1 ||
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e) != 1) {
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
        goto out;
    }
    pkey = from_parameters("RSA", builder);
    err = pkey ? take_pkey(PUBLIC_KEY_RSA, pkey, out, info)
               : errinfo_set(info, ERR_RANGE, "not an RSA key");
out:
    OSSL_PARAM_BLD_free(builder);
    BN_free(e);
    BN_free(n);
    ERR_clear_error();
    return err;
}

static bool is_point(EVP_PKEY *pkey)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    bool good = context && EVP_PKEY_public_check(context) == 1;

    EVP_PKEY_CTX_free(context);
    return good;
}

enum err public_key_ec(enum public_key_kind kind, struct str x, struct str y,
    struct public_key **out, struct errinfo *info)
{
    unsigned char point[1 + 2 * EC_WIDTH_MAX];
    OSSL_PARAM_BLD *builder;
    EVP_PKEY *pkey;
    enum err err;

    MUST(is_curve(kind));
    const struct curve *curve = &curves[kind];
    if (x.len != curve->width || y.len != curve->width)
        return errinfo_set(info, ERR_RANGE,
            "coordinates of %zu and %zu bytes; %s has %zu", x.len, y.len,
            curve->group, curve->width);
    point[0] = 4; /* both coordinates follow (SEC 1, 2.3.4) */
    memcpy(point + 1, x.ptr, x.len);
    memcpy(point + 1 + x.len, y.ptr, y.len);
    builder = OSSL_PARAM_BLD_new();
    if (!builder ||
        OSSL_PARAM_BLD_push_utf8_string(
            builder, OSSL_PKEY_PARAM_GROUP_NAME, curve->group, 0) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY,
            point, 1 + 2 * curve->width) != 1) {
        OSSL_PARAM_BLD_free(builder);
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    }
    pkey = from_parameters("EC", builder);
    OSSL_PARAM_BLD_free(builder);
    if (pkey && !is_point(pkey)) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    err = pkey ? take_pkey(kind, pkey, out, info)
               : errinfo_set(info, ERR_RANGE, "coordinates off the curve %s",
                     curve->group);
    ERR_clear_error();
    return err;
}

/* The points of order 1, 2, 4 and 8 and their other spellings, without the
 * sign bit (the list that libsodium refuses). */
static const uint8_t small_order[][ED25519_WIDTH] = {
    {0x00},
    {0x01},
    {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89,
        0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39,
        0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
    {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76,
        0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6,
        0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
    {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    {0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    {0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
};

static bool is_of_small_order(const uint8_t point[ED25519_WIDTH])
{
    uint8_t bare[ED25519_WIDTH];

    memcpy(bare, point, sizeof bare);
    bare[ED25519_WIDTH - 1] &= 0x7f;
    for (size_t i = 0; i < sizeof small_order / sizeof small_order[0]; i++)
        if (memcmp(bare, small_order[i], sizeof bare) == 0)
            return true;
    return false;
}

/* Is it the one spelling of a point (RFC 8032, section 5.1.3)? y is less than
 * p = 2^255 - 19, and x^2 = (y^2 - 1) / (d y^2 + 1) has a root; the quotient
 * has one where the product has. OpenSSL takes y modulo p, and finds out that
 * there is no such point with the first signature. */
static bool is_a_point(const uint8_t point[ED25519_WIDTH])
{
    static const char prime[] = "7fffffffffffffffffffffffffffffff"
                                "ffffffffffffffffffffffffffffffed";
    static const char curve[] = "52036cee2b6ffe738cc740797779e898"
                                "00700a4d4141d8ab75eb4dca135978a3";
    uint8_t bare[ED25519_WIDTH];
    BN_CTX *context = BN_CTX_new();
    BIGNUM *p = NULL, *d = NULL, *y = NULL, *u = BN_new(), *v = BN_new();
    bool good = false;

    memcpy(bare, point, sizeof bare);
    bare[ED25519_WIDTH - 1] &= 0x7f;
    y = BN_lebin2bn(bare, sizeof bare, NULL);
    if (context && y && u && v && BN_hex2bn(&p, prime) > 0 &&
        BN_hex2bn(&d, curve) > 0 && BN_cmp(y, p) < 0 &&
        BN_mod_sqr(u, y, p, context) == 1 &&
        BN_mod_mul(v, u, d, p, context) == 1 && BN_sub_word(u, 1) == 1 &&
        BN_add_word(v, 1) == 1 && BN_mod_mul(u, u, v, p, context) == 1)
        good = BN_kronecker(u, p, context) == 1;
    BN_free(v);
    BN_free(u);
    BN_free(y);
    BN_free(d);
    BN_free(p);
    BN_CTX_free(context);
    return good;
}

enum err public_key_ed25519(
    struct str x, struct public_key **out, struct errinfo *info)
{
    const uint8_t *bytes = (const uint8_t *)x.ptr;
    EVP_PKEY *pkey;

    if (x.len != ED25519_WIDTH)
        return errinfo_set(
            info, ERR_RANGE, "an Ed25519 key of %zu bytes; it has 32", x.len);
    if (is_of_small_order(bytes))
        return errinfo_set(
            info, ERR_RANGE, "an Ed25519 key that is a point of small order");
    if (!is_a_point(bytes)) {
        ERR_clear_error();
        return errinfo_set(info, ERR_RANGE,
            "an Ed25519 key that is no point of its curve, or not spelt as "
            "RFC 8032 has it");
    }
    pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, bytes, x.len);
    if (!pkey) {
        ERR_clear_error();
        return errinfo_set(info, ERR_RANGE, "not an Ed25519 key");
    }
    return take_pkey(PUBLIC_KEY_ED25519, pkey, out, info);
}

void public_key_free(struct public_key **key)
{
    if (!*key)
        return;
    EVP_PKEY_free((*key)->pkey);
    free(*key);
    *key = NULL;
}

enum public_key_kind public_key_kind(const struct public_key *key)
{
    return key->kind;
}

/* --- Verifying ----------------------------------------------------------- */

enum signature_algorithm signature_algorithm_find(struct str name)
{
    for (size_t i = SIGNATURE_RS256; i < ALGORITHM_COUNT; i++)
        if (str_equal(name, str_from(algorithms[i].name)))
            return (enum signature_algorithm)i;
    if (str_equal(name, STR("Ed25519")))
        return SIGNATURE_ED25519;
    return SIGNATURE_NONE;
}

bool public_key_fits(
    const struct public_key *key, enum signature_algorithm algorithm)
{
    return algorithm > SIGNATURE_NONE && algorithm < ALGORITHM_COUNT &&
           algorithms[algorithm].kind == key->kind;
}

/* r and s side by side into what OpenSSL reads. 0: they are not. Values of 0
 * or not under the curve's order are refused by OpenSSL's own check. */
static size_t ecdsa_to_der(
    const struct curve *curve, struct str raw, unsigned char der[EC_DER_MAX])
{
    unsigned char *end = der;
    ECDSA_SIG *both = NULL;
    BIGNUM *r = NULL, *s = NULL;
    int size = 0;

    if (raw.len != 2 * curve->width)
        return 0;
    r = BN_bin2bn((const unsigned char *)raw.ptr, (int)curve->width, NULL);
    s = BN_bin2bn(
        (const unsigned char *)raw.ptr + curve->width, (int)curve->width, NULL);
    both = ECDSA_SIG_new();
    if (r && s && both && !BN_is_zero(r) && !BN_is_zero(s) &&
        ECDSA_SIG_set0(both, r, s) == 1) {
        r = s = NULL; /* taken */
        if (i2d_ECDSA_SIG(both, NULL) <= EC_DER_MAX)
            size = i2d_ECDSA_SIG(both, &end);
    }
    ECDSA_SIG_free(both);
    BN_free(r);
    BN_free(s);
    return size > 0 ? (size_t)size : 0;
}

static bool set_padding(EVP_PKEY_CTX *context, enum family family)
{
    if (family == FAMILY_PKCS1)
        return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1;
    if (family == FAMILY_PSS)
        return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) ==
                   1 &&
               EVP_PKEY_CTX_set_rsa_pss_saltlen(
                   context, RSA_PSS_SALTLEN_DIGEST) == 1;
    return true;
}

bool public_key_verify(const struct public_key *key,
    enum signature_algorithm algorithm, struct str message,
    struct str signature)
{
    unsigned char der[EC_DER_MAX];
    EVP_PKEY_CTX *parameters = NULL; /* owned by the digest's context */
    EVP_MD_CTX *context;
    bool good = false;

    if (!public_key_fits(key, algorithm) || signature.len == 0 ||
        signature.len > PUBLIC_KEY_SIGNATURE_MAX)
        return false;
    const struct algorithm *how = &algorithms[algorithm];
    if (how->family == FAMILY_ECDSA) {
        size_t size = ecdsa_to_der(&curves[key->kind], signature, der);
        if (size == 0)
            return false;
        signature = str_make((const char *)der, size);
    } else if (how->family != FAMILY_EDDSA &&
               signature.len != (size_t)EVP_PKEY_get_size(key->pkey)) {
        return false;
    }
    context = EVP_MD_CTX_new();
    if (context &&
        EVP_DigestVerifyInit_ex(context, &parameters, how->digest, NULL, NULL,
            key->pkey, NULL) == 1 &&
        set_padding(parameters, how->family))
        good = EVP_DigestVerify(context, (const unsigned char *)signature.ptr,
                   signature.len, (const unsigned char *)message.ptr,
                   message.len) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return good;
}
