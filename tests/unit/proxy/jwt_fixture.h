/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/unit/proxy/jwt_fixture.h - an issuer for tests: keys of every kind,
 * their JWKs, and tokens that are right or wrong in one way. */
#ifndef JWT_FIXTURE_H
#define JWT_FIXTURE_H

#include "lib/encode.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <string.h>

static EVP_PKEY *make_rsa(unsigned bits)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)bits);
    assert_non_null(key);
    return key;
}

static EVP_PKEY *make_ec(const char *curve)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", curve);
    assert_non_null(key);
    return key;
}

static EVP_PKEY *make_ed25519(void)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    assert_non_null(key);
    return key;
}

static void append_number(
    struct buf *out, EVP_PKEY *key, const char *name, int width)
{
    BIGNUM *number = NULL;
    unsigned char bytes[1024];

    assert_int_equal(1, EVP_PKEY_get_bn_param(key, name, &number));
    if (width == 0)
        width = BN_num_bytes(number);
    assert_int_equal(width, BN_bn2binpad(number, bytes, width));
    base64url_append(out, bytes, (size_t)width);
    BN_free(number);
}

/* `further`: "\"kid\":\"a\"," or "". */
static void append_jwk(struct buf *out, EVP_PKEY *key, const char *further)
{
    if (EVP_PKEY_is_a(key, "RSA")) {
        buf_printf(out, "{%s\"kty\":\"RSA\",\"n\":\"", further);
        append_number(out, key, OSSL_PKEY_PARAM_RSA_N, 0);
        buf_append_str(out, STR("\",\"e\":\""));
        append_number(out, key, OSSL_PKEY_PARAM_RSA_E, 0);
    } else if (EVP_PKEY_is_a(key, "EC")) {
        int bits = EVP_PKEY_get_bits(key), width = (bits + 7) / 8;
        buf_printf(
            out, "{%s\"kty\":\"EC\",\"crv\":\"P-%d\",\"x\":\"", further, bits);
        append_number(out, key, OSSL_PKEY_PARAM_EC_PUB_X, width);
        buf_append_str(out, STR("\",\"y\":\""));
        append_number(out, key, OSSL_PKEY_PARAM_EC_PUB_Y, width);
    } else {
        unsigned char raw[32];
        size_t size = sizeof raw;
        assert_int_equal(1, EVP_PKEY_get_raw_public_key(key, raw, &size));
        buf_printf(
            out, "{%s\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"", further);
        base64url_append(out, raw, size);
    }
    buf_append_str(out, STR("\"}"));
}

/* Raw r and s out of DER. */
static size_t der_to_raw(
    const unsigned char *der, size_t size, int width, unsigned char *out)
{
    ECDSA_SIG *both = d2i_ECDSA_SIG(NULL, &der, (long)size);
    assert_non_null(both);
    BN_bn2binpad(ECDSA_SIG_get0_r(both), out, width);
    BN_bn2binpad(ECDSA_SIG_get0_s(both), out + width, width);
    ECDSA_SIG_free(both);
    return 2 * (size_t)width;
}

/* `algorithm` says how to sign, whatever the header says. "ES256-DER" leaves
 * the signature as OpenSSL makes it; "PS256-SALT20" uses another salt. */
static size_t sign_bytes(EVP_PKEY *key, const char *algorithm,
    struct str message, unsigned char *out)
{
    static const char *const digests[] = {"SHA256", "SHA384", "SHA512"};
    const char *digest = strstr(algorithm, "256")   ? digests[0]
                         : strstr(algorithm, "384") ? digests[1]
                                                    : digests[2];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *parameters = NULL;
    unsigned char bytes[1200];
    size_t size = sizeof bytes;

    if (strncmp(algorithm, "Ed", 2) == 0)
        digest = NULL;
    assert_int_equal(1, EVP_DigestSignInit_ex(context, &parameters, digest,
                            NULL, NULL, key, NULL));
    if (algorithm[0] == 'P') {
        assert_true(EVP_PKEY_CTX_set_rsa_padding(
                        parameters, RSA_PKCS1_PSS_PADDING) == 1);
        assert_true(
            EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters,
                strstr(algorithm, "SALT") ? 20 : RSA_PSS_SALTLEN_DIGEST) == 1);
    }
    assert_int_equal(1, EVP_DigestSign(context, bytes, &size,
                            (const unsigned char *)message.ptr, message.len));
    EVP_MD_CTX_free(context);
    if (algorithm[0] == 'E' && algorithm[1] == 'S' &&
        !strstr(algorithm, "DER")) {
        size = der_to_raw(bytes, size, (EVP_PKEY_get_bits(key) + 7) / 8, out);
    } else {
        memcpy(out, bytes, size);
    }
    return size;
}

static void append_signed(struct buf *out, EVP_PKEY *key, const char *algorithm,
    struct str header, struct str payload)
{
    unsigned char signature[1200];
    size_t start = out->len;

    base64url_append(out, header.ptr, header.len);
    buf_append_char(out, '.');
    base64url_append(out, payload.ptr, payload.len);
    struct str input = buf_str(out);
    input = str_make(input.ptr + start, input.len - start);
    size_t size = sign_bytes(key, algorithm, input, signature);
    buf_append_char(out, '.');
    base64url_append(out, signature, size);
}

#endif
