/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/crypto_certificates.c - the small authority that `init` makes.
 *
 * Two certificates, ECDSA P-256 with SHA-256, to the profile of RFC 5280 that
 * `openssl verify -x509_strict` checks. No revocation, no renewal. */
#include "lib/crypto.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <time.h>

#define COMMON_NAME_MAX 64 /* ub-common-name, RFC 5280 A.1 */
#define SERIAL_SIZE 16     /* at most 20 octets, RFC 5280 4.1.2.2 */

static bool add_extension(
    X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool ok = extension && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

static bool set_serial(X509 *certificate)
{
    uint8_t bytes[SERIAL_SIZE];
    crypto_random(bytes, sizeof bytes);
    bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40); /* positive, full width */
    BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool ok = number &&
              BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
    BN_free(number);
    return ok;
}

/* A version 3 certificate without extensions and signature, or NULL. */
static X509 *blank_certificate(
    EVP_PKEY *key, X509_NAME *issuer, const char *common_name, int days)
{
    /* An hour back, for clocks that are a little behind ours. */
    time_t now = time(NULL), from = now - 3600;
    X509 *certificate = X509_new();
    X509_NAME *name = X509_NAME_new();
    bool ok =
        certificate && name && X509_set_version(certificate, 2) == 1 &&
        set_serial(certificate) &&
        X509_time_adj_ex(X509_getm_notBefore(certificate), 0, 0, &from) &&
        X509_time_adj_ex(X509_getm_notAfter(certificate), days, 0, &now) &&
        X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8,
            (const unsigned char *)"Bailiff", -1, -1, 0) == 1 &&
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
            (const unsigned char *)common_name, -1, -1, 0) == 1 &&
        X509_set_subject_name(certificate, name) == 1 &&
        X509_set_issuer_name(certificate, issuer ? issuer : name) == 1 &&
        X509_set_pubkey(certificate, key) == 1;
    X509_NAME_free(name);
    if (!ok) {
        X509_free(certificate);
        return NULL;
    }
    return certificate;
}

static X509 *make_authority(EVP_PKEY *key, const char *name, int days)
{
    X509 *ca = blank_certificate(key, NULL, name, days);
    if (ca &&
        add_extension(
            ca, ca, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
        add_extension(ca, ca, NID_key_usage, "critical,keyCertSign,cRLSign") &&
        add_extension(ca, ca, NID_subject_key_identifier, "hash") &&
        add_extension(ca, ca, NID_authority_key_identifier, "keyid:always") &&
        X509_sign(ca, key, EVP_sha256()) > 0)
        return ca;
    X509_free(ca);
    return NULL;
}

/* One name into the list: an address becomes iPAddress, the rest dNSName. */
static bool add_name(GENERAL_NAMES *list, const char *text)
{
    unsigned char address[16];
    int size = 0;
    if (inet_pton(AF_INET, text, address) == 1)
        size = 4;
    else if (inet_pton(AF_INET6, text, address) == 1)
        size = 16;
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *value =
        ASN1_STRING_type_new(size ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
    bool ok = name && value &&
              ASN1_STRING_set(value,
                  size ? (const void *)address : (const void *)text,
                  size ? size : -1) == 1;
    if (!ok) {
        ASN1_STRING_free(value);
        GENERAL_NAME_free(name);
        return false;
    }
    GENERAL_NAME_set0_value(name, size ? GEN_IPADD : GEN_DNS, value);
    if (sk_GENERAL_NAME_push(list, name) > 0)
        return true;
    GENERAL_NAME_free(name);
    return false;
}

static bool add_names(
    X509 *certificate, const char *const *names, size_t name_count)
{
    GENERAL_NAMES *list = GENERAL_NAMES_new();
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < name_count; i++)
        ok = add_name(list, names[i]);
    ok = ok &&
         X509_add1_ext_i2d(certificate, NID_subject_alt_name, list, 0, 0) == 1;
    GENERAL_NAMES_free(list);
    return ok;
}

static X509 *make_server(EVP_PKEY *key, EVP_PKEY *ca_key, X509 *ca,
    const char *const *names, size_t name_count, int days)
{
    const char *common =
        strlen(names[0]) <= COMMON_NAME_MAX ? names[0] : "bailiff";
    X509 *server =
        blank_certificate(key, X509_get_subject_name(ca), common, days);
    if (server &&
        add_extension(server, ca, NID_basic_constraints, "critical,CA:FALSE") &&
        add_extension(server, ca, NID_key_usage, "critical,digitalSignature") &&
        add_extension(server, ca, NID_ext_key_usage, "serverAuth") &&
        add_extension(server, ca, NID_subject_key_identifier, "hash") &&
        add_extension(
            server, ca, NID_authority_key_identifier, "keyid:always") &&
        add_names(server, names, name_count) &&
        X509_sign(server, ca_key, EVP_sha256()) > 0)
        return server;
    X509_free(server);
    return NULL;
}

/* The PEM of one of the two, whichever is not NULL. */
static char *to_pem(X509 *certificate, EVP_PKEY *key)
{
    char *text = NULL, *bytes = NULL;
    BIO *out = BIO_new(BIO_s_mem());
    if (out && (certificate ? PEM_write_bio_X509(out, certificate)
                            : PEM_write_bio_PKCS8PrivateKey(
                                  out, key, NULL, NULL, 0, NULL, NULL)) == 1) {
        long length = BIO_get_mem_data(out, &bytes);
        text = length > 0 ? malloc((size_t)length + 1) : NULL;
        if (text) {
            memcpy(text, bytes, (size_t)length);
            text[length] = '\0';
        }
        if (key && length > 0)
            crypto_wipe(bytes, (size_t)length);
    }
    BIO_free(out);
    return text;
}

static bool is_name(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > 253)
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyz"
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:*") == length;
}

static void drop_text(char **text)
{
    if (*text)
        crypto_wipe(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

enum err crypto_make_certificates(const char *ca_name, const char *const *names,
    size_t name_count, int days, struct crypto_certificates *out,
    struct errinfo *info)
{
    if (name_count == 0 || days < 1 || days > 36500)
        return errinfo_set(info, ERR_INVALID,
            "a certificate needs a name and a life of 1 to 36500 days");
    if (strlen(ca_name) == 0 || strlen(ca_name) > COMMON_NAME_MAX)
        return errinfo_set(info, ERR_INVALID,
            "the authority's name must have 1 to %d bytes", COMMON_NAME_MAX);
    for (size_t i = 0; i < name_count; i++)
        if (!is_name(names[i]))
            return errinfo_set(info, ERR_INVALID,
                "\"%.64s\" is neither a host name nor an IP address", names[i]);

    struct crypto_certificates made = {NULL, NULL, NULL, NULL};
    X509 *ca = NULL, *server = NULL;
    EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
    enum err err = ERR_OK;
    if (ca_key && key)
        ca = make_authority(ca_key, ca_name, days);
    if (ca)
        server = make_server(key, ca_key, ca, names, name_count, days);
    if (server) {
        made.ca_certificate = to_pem(ca, NULL);
        made.ca_key = to_pem(NULL, ca_key);
        made.certificate = to_pem(server, NULL);
        made.key = to_pem(NULL, key);
    }
    if (made.ca_certificate && made.ca_key && made.certificate && made.key) {
        *out = made;
    } else {
        char reason[256];
        ERR_error_string_n(ERR_peek_last_error(), reason, sizeof reason);
        err = errinfo_set(info, ERR_NOMEM,
            "cannot make the certificates: OpenSSL says %s", reason);
        ERR_clear_error();
        drop_text(&made.ca_certificate);
        drop_text(&made.ca_key);
        drop_text(&made.certificate);
        drop_text(&made.key);
    }
    X509_free(server);
    X509_free(ca);
    EVP_PKEY_free(key);
    EVP_PKEY_free(ca_key);
    return err;
}
