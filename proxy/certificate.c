/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/certificate.c - a certificate's names out of its DER. */
#include "proxy/certificate.h"

#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/encode.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <time.h>

#define DER_MAX (64u * 1024)
#define SECURITY_BITS 112 /* RSA 2048, P-224 */
#define RSA_BITS_MAX 8192

static const struct {
    const char *name;
    int nid; /* of a subject's attribute */
} fields[CERTIFICATE_FIELDS] = {
    [CERTIFICATE_URI] = {"uri", NID_undef},
    [CERTIFICATE_DNS] = {"dns", NID_undef},
    [CERTIFICATE_EMAIL] = {"email", NID_undef},
    [CERTIFICATE_CN] = {"CN", NID_commonName},
    [CERTIFICATE_O] = {"O", NID_organizationName},
    [CERTIFICATE_OU] = {"OU", NID_organizationalUnitName},
    [CERTIFICATE_UID] = {"UID", NID_userId},
    [CERTIFICATE_SERIAL] = {"serialNumber", NID_serialNumber},
};

bool certificate_field_find(struct str word, enum certificate_field *out)
{
    for (int i = 0; i < CERTIFICATE_FIELDS; i++) {
        if (!str_equal(word, str_from(fields[i].name)))
            continue;
        *out = (enum certificate_field)i;
        return true;
    }
    return false;
}

const char *certificate_field_name(enum certificate_field field)
{
    return fields[field].name;
}

/* --- Reading ------------------------------------------------------------- */

/* No control characters: a NUL ends a name for somebody, always. */
static bool is_plain(struct str text, bool ascii)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 0x20 || c == 0x7f || (ascii && c > 0x7e))
            return false;
    }
    return true;
}

static struct str lower(struct arena *arena, struct str text, size_t from)
{
    char *copy = arena_cstr(arena, text);

    for (size_t i = from; copy && i < text.len; i++)
        if (copy[i] >= 'A' && copy[i] <= 'Z')
            copy[i] = (char)(copy[i] + 32);
    return str_make(copy, copy ? text.len : 0);
}

static enum err add_name(
    struct str *list, size_t *count, struct str name, struct errinfo *info)
{
    size_t bytes = name.len;

    if (!name.ptr)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < *count; i++)
        bytes += list[i].len;
    if (*count == CERTIFICATE_NAMES_MAX || bytes > CERTIFICATE_NAMES_BYTES_MAX)
        return errinfo_set(info, ERR_LIMIT,
            "the certificate has more than %d names of a kind, or more than "
            "%d bytes of them",
            CERTIFICATE_NAMES_MAX, CERTIFICATE_NAMES_BYTES_MAX);
    list[(*count)++] = name;
    return ERR_OK;
}

static enum err add_uri(struct certificate_facts *out, struct arena *arena,
    struct str uri, struct errinfo *info)
{
    if (uri.len > CERTIFICATE_URI_MAX)
        return errinfo_set(info, ERR_LIMIT, "its URI has more than %d bytes",
            CERTIFICATE_URI_MAX);
    out->uri = out->uri_count++ == 0 ? arena_copy(arena, uri) : STR("");
    return out->uri.ptr ? ERR_OK
                        : errinfo_set(info, ERR_NOMEM, "out of memory");
}

static enum err add_email(struct certificate_facts *out, struct arena *arena,
    struct str email, struct errinfo *info)
{
    struct str local, domain;

    if (!str_split(email, '@', &local, &domain) || local.len == 0 ||
        domain.len == 0 || memchr(domain.ptr, '@', domain.len))
        return errinfo_set(info, ERR_SYNTAX, "an e-mail address in it is none");
    return add_name(out->emails, &out->email_count,
        lower(arena, email, local.len + 1), info);
}

static enum err add_general_name(struct certificate_facts *out,
    struct arena *arena, const GENERAL_NAME *name, struct errinfo *info)
{
    int type = name->type;
    struct str text;

    if (type != GEN_URI && type != GEN_DNS && type != GEN_EMAIL)
        return ERR_OK; /* addresses and the rest map to nobody */
    text = str_make((const char *)ASN1_STRING_get0_data(name->d.ia5),
        (size_t)ASN1_STRING_length(name->d.ia5));
    if (text.len == 0 || !is_plain(text, true) ||
        memchr(text.ptr, ' ', text.len))
        return errinfo_set(info, ERR_SYNTAX,
            "a name in it is empty or holds characters that none may hold");
    switch (type) {
    case GEN_URI:
        return add_uri(out, arena, text, info);
    case GEN_DNS:
        return add_name(out->dns, &out->dns_count, lower(arena, text, 0), info);
    case GEN_EMAIL:
        return add_email(out, arena, text, info);
    default:
        return ERR_OK;
    }
}

static enum err read_names(struct certificate_facts *out, struct arena *arena,
    X509 *x509, struct errinfo *info)
{
    int critical = -1;
    GENERAL_NAMES *names =
        X509_get_ext_d2i(x509, NID_subject_alt_name, &critical, NULL);
    enum err err = ERR_OK;

    if (!names)
        return critical == -1 ? ERR_OK
                              : errinfo_set(info, ERR_SYNTAX,
                                    "its alternative names are broken");
    for (int i = 0; !err && i < sk_GENERAL_NAME_num(names); i++)
        err =
            add_general_name(out, arena, sk_GENERAL_NAME_value(names, i), info);
    GENERAL_NAMES_free(names);
    return err;
}

static enum err read_attribute(struct certificate_facts *out,
    struct arena *arena, X509_NAME *name, enum certificate_field field,
    struct errinfo *info)
{
    int nid = fields[field].nid;
    int at = X509_NAME_get_index_by_NID(name, nid, -1);
    unsigned char *utf8 = NULL;
    struct str text;

    if (at < 0 || X509_NAME_get_index_by_NID(name, nid, at) >= 0)
        return ERR_OK;
    int n = ASN1_STRING_to_UTF8(
        &utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    if (n < 0)
        return errinfo_set(info, ERR_SYNTAX, "its subject is broken");
    text = str_make((const char *)utf8, (size_t)n);
    bool good = is_plain(text, false) && str_is_utf8(text) &&
                text.len <= CERTIFICATE_SUBJECT_MAX;
    if (good)
        out->subject[field] = arena_copy(arena, text);
    OPENSSL_free(utf8);
    if (!good)
        return errinfo_set(info, ERR_SYNTAX,
            "its subject holds characters that none may hold");
    return out->subject[field].ptr
               ? ERR_OK
               : errinfo_set(info, ERR_NOMEM, "out of memory");
}

/* RFC 2253, UTF-8, with what could confuse a reader escaped. */
static enum err write_name(struct arena *arena, X509_NAME *name, size_t max,
    struct str *out, struct errinfo *info)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    enum err err = ERR_OK;

    if (!bio || X509_NAME_print_ex(bio, name, 0,
                    XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) < 0)
        err = errinfo_set(info, ERR_SYNTAX, "a name in it is broken");
    if (!err) {
        long n = BIO_get_mem_data(bio, &text);
        struct str whole = str_make(text, n > 0 ? (size_t)n : 0);
        if (whole.len > max || !str_is_utf8(whole))
            err = errinfo_set(info, ERR_LIMIT,
                "a name in it is longer than %zu bytes, or no text", max);
        else if (!(*out = arena_copy(arena, whole)).ptr)
            err = errinfo_set(info, ERR_NOMEM, "out of memory");
    }
    BIO_free(bio);
    return err;
}

static enum err read_subject(struct certificate_facts *out, struct arena *arena,
    X509 *x509, struct errinfo *info)
{
    X509_NAME *subject = X509_get_subject_name(x509);
    enum err err = write_name(
        arena, subject, CERTIFICATE_SUBJECT_MAX, &out->subject_text, info);

    if (!err)
        err = write_name(arena, X509_get_issuer_name(x509),
            CERTIFICATE_ISSUER_MAX, &out->issuer, info);
    for (int i = CERTIFICATE_CN; !err && i < CERTIFICATE_FIELDS; i++)
        err = read_attribute(
            out, arena, subject, (enum certificate_field)i, info);
    return err;
}

static int64_t time_of(const ASN1_TIME *time)
{
    struct tm tm;

    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) * SECOND_US
                                           : 0;
}

enum err certificate_read(struct str der, struct arena *arena,
    struct certificate_facts *out, struct errinfo *info)
{
    const unsigned char *at = (const unsigned char *)der.ptr;
    X509 *x509;
    enum err err;

    memset(out, 0, sizeof *out);
    if (der.len == 0 || der.len > DER_MAX)
        return errinfo_set(
            info, ERR_LIMIT, "a certificate has 1 to %u bytes", DER_MAX);
    ERR_clear_error();
    x509 = d2i_X509(NULL, &at, (long)der.len);
    if (!x509 || at != (const unsigned char *)der.ptr + der.len) {
        X509_free(x509);
        ERR_clear_error();
        return errinfo_set(info, ERR_SYNTAX, "it is no certificate");
    }
    crypto_sha256(out->sha256, der.ptr, der.len);
    hex_write(out->fingerprint, out->sha256, sizeof out->sha256);
    out->not_before_us = time_of(X509_get0_notBefore(x509));
    out->not_after_us = time_of(X509_get0_notAfter(x509));
    out->is_authority =
        X509_check_ca(x509) > 0 ||
        ((X509_get_extension_flags(x509) & EXFLAG_KUSAGE) &&
            (X509_get_key_usage(x509) & (KU_KEY_CERT_SIGN | KU_CRL_SIGN)));
    err = read_subject(out, arena, x509, info);
    if (!err)
        err = read_names(out, arena, x509, info);
    X509_free(x509);
    ERR_clear_error();
    return err;
}

/* --- One that is pinned --------------------------------------------------- */

/* NULL with words: the text is not one certificate. */
static X509 *read_only_pem(struct str pem, struct errinfo *info)
{
    BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    X509 *x509 = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    X509 *second = x509 ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

    ERR_clear_error();
    BIO_free(bio);
    if (!x509)
        (void)errinfo_set(info, ERR_INVALID,
            "that is no certificate in PEM (BEGIN CERTIFICATE); `openssl x509 "
            "-inform DER` makes one of DER");
    if (second) {
        (void)errinfo_set(info, ERR_INVALID,
            "that is more than one certificate; give the client's own alone");
        X509_free(x509);
        x509 = NULL;
    }
    X509_free(second);
    return x509;
}

static enum err check_client(X509 *x509, struct errinfo *info)
{
    EVP_PKEY *key = X509_get0_pubkey(x509);

    if (X509_check_purpose(x509, X509_PURPOSE_SSL_CLIENT, 0) != 1)
        return errinfo_set(info, ERR_INVALID,
            "it is not for clients (its key usage, or its extended key usage, "
            "leaves client authentication out)");
    if (!key || EVP_PKEY_get_security_bits(key) < SECURITY_BITS)
        return errinfo_set(info, ERR_INVALID,
            "its key is weaker than %d bits (RSA 2048)", SECURITY_BITS);
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA &&
        EVP_PKEY_get_bits(key) > RSA_BITS_MAX)
        return errinfo_set(info, ERR_INVALID,
            "its RSA key has more than %d bits", RSA_BITS_MAX);
    return ERR_OK;
}

enum err certificate_read_client(struct str pem, struct arena *arena,
    struct certificate_facts *out, struct errinfo *info)
{
    unsigned char *der = NULL;
    X509 *x509;
    int n;
    enum err err;

    if (pem.len > DER_MAX)
        return errinfo_set(
            info, ERR_LIMIT, "a certificate has at most %u bytes", DER_MAX);
    x509 = read_only_pem(pem, info);
    if (!x509)
        return ERR_INVALID;
    n = i2d_X509(x509, &der);
    err = n > 0 ? certificate_read(
                      str_make((char *)der, (size_t)n), arena, out, info)
                : errinfo_set(info, ERR_NOMEM, "out of memory");
    if (!err && out->is_authority)
        err = errinfo_set(info, ERR_INVALID,
            "it is an authority's; pin the one that it issued to the client, "
            "or one that signs itself and is no authority (openssl req -x509 "
            "... -addext basicConstraints=critical,CA:FALSE)");
    /* (0 is what could not be read, and would be: ever since 1970.) */
    if (!err && (out->not_before_us == 0 || out->not_after_us == 0))
        err =
            errinfo_set(info, ERR_INVALID, "it does not say when it is valid");
    if (!err)
        err = check_client(x509, info);
    OPENSSL_free(der);
    X509_free(x509);
    ERR_clear_error();
    return err;
}

/* --- SPIFFE -------------------------------------------------------------- */

static bool is_word(struct str text, bool capitals)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
                c == '-' || c == '_' || (capitals && c >= 'A' && c <= 'Z')))
            return false;
    }
    return text.len > 0;
}

bool certificate_is_spiffe_domain(struct str domain)
{
    return domain.len <= 255 && is_word(domain, false);
}

bool certificate_spiffe_domain(struct str uri, struct str *domain)
{
    struct str scheme = STR("spiffe://"), rest, segment;

    if (!str_starts(uri, scheme))
        return false;
    rest = str_make(uri.ptr + scheme.len, uri.len - scheme.len);
    if (!str_split(rest, '/', domain, &rest) ||
        !certificate_is_spiffe_domain(*domain))
        return false;
    for (bool more = true; more;) {
        more = str_split(rest, '/', &segment, &rest);
        if (!is_word(segment, true) || str_equal(segment, STR(".")) ||
            str_equal(segment, STR("..")))
            return false;
    }
    return true;
}

/* --- Patterns ------------------------------------------------------------ */

/* What '*' must not reach over. */
static const char *borders(enum certificate_field field)
{
    switch (field) {
    case CERTIFICATE_URI:
        return "/?#@:";
    case CERTIFICATE_DNS:
        return ".*";
    case CERTIFICATE_EMAIL:
        return "@";
    case CERTIFICATE_CN:
    case CERTIFICATE_O:
    case CERTIFICATE_OU:
    case CERTIFICATE_UID:
    case CERTIFICATE_SERIAL:
    case CERTIFICATE_FIELDS:
        break;
    }
    return "";
}

bool certificate_pattern_is_valid(
    enum certificate_field field, struct str pattern, struct errinfo *info)
{
    size_t stars = 0, capitals = 0;
    struct str local, domain = pattern;

    for (size_t i = 0; i < pattern.len; i++)
        stars += pattern.ptr[i] == '*';
    if (pattern.len == 0 || stars > 1 || !is_plain(pattern, false)) {
        (void)errinfo_set(
            info, ERR_INVALID, "pattern: a text with at most one \"*\"");
        return false;
    }
    if (field == CERTIFICATE_EMAIL &&
        !str_split(pattern, '@', &local, &domain)) {
        (void)errinfo_set(info, ERR_INVALID,
            "pattern: an e-mail address has an @, for instance "
            "\"*@corp.example\"");
        return false;
    }
    if (field == CERTIFICATE_DNS || field == CERTIFICATE_EMAIL)
        for (size_t i = 0; i < domain.len; i++)
            capitals += domain.ptr[i] >= 'A' && domain.ptr[i] <= 'Z';
    if (capitals > 0) {
        (void)errinfo_set(
            info, ERR_INVALID, "pattern: domain names in lower case");
        return false;
    }
    return true;
}

bool certificate_pattern_matches(enum certificate_field field,
    struct str pattern, struct str value, struct str *captured)
{
    struct str before, after;

    *captured = value;
    if (value.len == 0)
        return false;
    /* A wildcard's certificate is many hosts' and nobody's. */
    if (field == CERTIFICATE_DNS && memchr(value.ptr, '*', value.len))
        return false;
    if (!str_split(pattern, '*', &before, &after))
        return str_equal(pattern, value);
    if (value.len <= before.len + after.len || !str_starts(value, before) ||
        !str_ends(value, after))
        return false;
    *captured =
        str_make(value.ptr + before.len, value.len - before.len - after.len);
    for (size_t i = 0; i < captured->len; i++)
        if (strchr(borders(field), captured->ptr[i]) != NULL)
            return false;
    return true;
}
