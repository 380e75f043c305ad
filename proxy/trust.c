/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/trust.c - one X509_STORE per trust domain. */
#include "proxy/trust_priv.h"

#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/file.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <time.h>

#define FACTS_ARENA_MAX (256u * 1024)
#define AUTH_LEVEL 2 /* 112 bits: RSA 2048, SHA-2 */
#define RSA_BITS_MAX 8192

struct domain {
    char *name, *spiffe, *crl_file;
    X509_STORE *store;
    uint8_t crl_digest[SHA256_SIZE]; /* zeros: it could not be read */
    char why[256];
};

struct trust {
    struct domain *domains;
    size_t count;
};

static const struct {
    const char *text;
    int x509_error; /* when nothing better is known */
} verdicts[TRUST_VERDICTS] = {
    [TRUST_UNJUDGED] = {"The client certificate was not judged.",
        X509_V_ERR_UNSPECIFIED},
    [TRUST_GOOD] = {"The client certificate is good.", X509_V_OK},
    [TRUST_MISSING] = {"This address serves only who shows a client "
                       "certificate, and none was shown.",
        X509_V_ERR_UNSPECIFIED},
    [TRUST_EXPIRED] = {"The client certificate, or an authority of its chain, "
                       "has expired or is not valid yet.",
        X509_V_ERR_CERT_HAS_EXPIRED},
    [TRUST_REVOKED] = {"The client certificate has been revoked.",
        X509_V_ERR_CERT_REVOKED},
    [TRUST_NO_CRL] = {"The revocation list of the client certificate's trust "
                      "domain is not in force.",
        X509_V_ERR_UNABLE_TO_GET_CRL},
    [TRUST_UNKNOWN] = {"No authority that is trusted here vouches for the "
                       "client certificate.",
        X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY},
    [TRUST_USAGE] = {"The client certificate is not made for clients, or is "
                     "too weak.",
        X509_V_ERR_INVALID_PURPOSE},
    [TRUST_NAMES] = {"The client certificate's names are not as they must be.",
        X509_V_ERR_CERT_REJECTED},
    [TRUST_NO_CALLER] = {"No mapping makes the client certificate a caller.",
        X509_V_ERR_APPLICATION_VERIFICATION},
};

const char *trust_verdict_text(enum trust_verdict verdict)
{
    return verdicts[verdict < TRUST_VERDICTS ? verdict : TRUST_UNJUDGED].text;
}

static const char *openssl_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    ERR_clear_error();
    return reason ? reason : "no PEM block of that kind";
}

/* --- Bundles ------------------------------------------------------------- */

/* Each certificate; the PEM's end is told from a broken block by the reason. */
static enum err each_certificate(struct str bundle,
    enum err (*visit)(void *context, X509 *x509, struct errinfo *info),
    void *context, struct errinfo *info)
{
    BIO *bio = BIO_new_mem_buf(bundle.ptr, (int)bundle.len);
    size_t count = 0;
    enum err err = bio ? ERR_OK : ERR_NOMEM;

    ERR_clear_error();
    while (!err) {
        X509 *x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (!x509)
            break;
        count++;
        err = visit(context, x509, info);
        X509_free(x509);
    }
    BIO_free(bio);
    unsigned long last = ERR_peek_last_error();
    if (!err && ERR_GET_REASON(last) != PEM_R_NO_START_LINE)
        err = errinfo_set(info, ERR_INVALID,
            "the bundle's certificate %zu can not be read: %s", count + 1,
            openssl_reason());
    else if (!err && count == 0)
        err = errinfo_set(info, ERR_INVALID,
            "the bundle holds no certificate (PEM, BEGIN CERTIFICATE)");
    ERR_clear_error();
    return err;
}

static enum err add_anchor(void *context, X509 *x509, struct errinfo *info)
{
    if (X509_check_ca(x509) <= 0)
        return errinfo_set(info, ERR_INVALID,
            "the bundle holds a certificate that is no authority's");
    return X509_STORE_add_cert(context, x509) == 1
               ? ERR_OK
               : errinfo_set(info, ERR_NOMEM, "out of memory");
}

struct describing {
    void (*visit)(void *context, const struct certificate_facts *facts);
    void *context;
};

static enum err describe_one(void *context, X509 *x509, struct errinfo *info)
{
    const struct describing *d = context;
    struct arena *arena = arena_new(4096, FACTS_ARENA_MAX);
    unsigned char *der = NULL;
    struct certificate_facts facts;
    int n = i2d_X509(x509, &der);
    enum err err = ERR_OK;

    if (!arena || n <= 0)
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
    else if (X509_check_ca(x509) <= 0)
        err = errinfo_set(info, ERR_INVALID,
            "the bundle holds a certificate that is no authority's: clients "
            "are believed by who issued theirs");
    if (!err)
        err = certificate_read(
            str_make((char *)der, (size_t)n), arena, &facts, info);
    if (!err)
        d->visit(d->context, &facts);
    OPENSSL_free(der);
    arena_free(&arena);
    return err;
}

enum err trust_describe_bundle(struct str bundle,
    void (*visit)(void *context, const struct certificate_facts *facts),
    void *context, struct errinfo *info)
{
    struct describing d = {visit, context};

    if (bundle.len > TRUST_BUNDLE_MAX)
        return errinfo_set(info, ERR_LIMIT,
            "the bundle is larger than %u bytes", TRUST_BUNDLE_MAX);
    return each_certificate(bundle, describe_one, &d, info);
}

/* --- Revocation lists ---------------------------------------------------- */

/* PEM, one or several, or one in DER. */
static enum err add_crls(
    X509_STORE *store, struct str text, size_t *count, struct errinfo *info)
{
    BIO *bio = BIO_new_mem_buf(text.ptr, (int)text.len);
    bool pem = text.len > 0 && text.ptr[0] != 0x30;
    enum err err = bio ? ERR_OK : ERR_NOMEM;

    ERR_clear_error();
    for (*count = 0; !err;) {
        X509_CRL *crl = pem ? PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)
                            : d2i_X509_CRL_bio(bio, NULL);
        if (!crl)
            break;
        if (store && X509_STORE_add_crl(store, crl) != 1)
            err = errinfo_set(info, ERR_NOMEM, "out of memory");
        X509_CRL_free(crl);
        ++*count;
        if (!pem)
            break;
    }
    BIO_free(bio);
    if (!err && pem && *count > 0 &&
        ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        err = errinfo_set(info, ERR_INVALID, "list %zu is broken: %s",
            *count + 1, openssl_reason());
    else if (!err && *count == 0)
        err = errinfo_set(info, ERR_INVALID,
            "it holds no revocation list (PEM, BEGIN X509 CRL; or DER)");
    ERR_clear_error();
    return err;
}

static enum err read_crls(const char *file, X509_STORE *store,
    uint8_t digest[SHA256_SIZE], struct errinfo *info)
{
    struct buf text;
    size_t count;
    enum err err;

    buf_init(&text, TRUST_CRL_MAX);
    err = file_read(file, &text, info);
    if (!err) {
        crypto_sha256(digest, buf_str(&text).ptr, text.len);
        err = add_crls(store, buf_str(&text), &count, info);
        if (err)
            err = errinfo_prefix(info, err, "%s", file);
    }
    buf_fini(&text);
    return err;
}

enum err trust_check_crl(const char *file, struct errinfo *info)
{
    uint8_t digest[SHA256_SIZE];

    return read_crls(file, NULL, digest, info);
}

bool trust_lists_changed(const struct trust *trust)
{
    for (size_t i = 0; i < trust->count; i++) {
        const struct domain *d = &trust->domains[i];
        uint8_t digest[SHA256_SIZE] = {0};
        struct errinfo info;
        if (d->crl_file[0] == '\0')
            continue;
        if (read_crls(d->crl_file, NULL, digest, &info))
            memset(digest, 0, sizeof digest);
        if (memcmp(digest, d->crl_digest, sizeof digest) != 0)
            return true;
    }
    return false;
}

/* --- Life and death ------------------------------------------------------ */

static char *copy(struct str text)
{
    char *out = malloc(text.len + 1);

    if (!out)
        return NULL;
    if (text.len > 0)
        memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
    return out;
}

static enum err fill(
    struct domain *d, const struct trust_source *source, struct errinfo *info)
{
    struct errinfo why = {0};
    enum err err;

    d->name = copy(source->name);
    d->spiffe = copy(source->spiffe);
    d->crl_file = copy(str_from(source->crl_file));
    d->store = X509_STORE_new();
    if (!d->name || !d->spiffe || !d->crl_file || !d->store)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    err = each_certificate(source->bundle, add_anchor, d->store, info);
    if (err)
        return errinfo_prefix(info, err, "trust domain %s", d->name);
    if (d->crl_file[0] == '\0')
        return ERR_OK;
    if (read_crls(d->crl_file, d->store, d->crl_digest, &why)) {
        memset(d->crl_digest, 0, sizeof d->crl_digest);
        size_t n = strnlen(why.text, sizeof d->why - 1);
        memcpy(d->why, why.text, n);
        d->why[n] = '\0';
    }
    return ERR_OK;
}

enum err trust_new(const struct trust_source *sources, size_t count,
    struct trust **out, struct errinfo *info)
{
    struct trust *trust = calloc(1, sizeof *trust);
    enum err err = ERR_OK;

    if (trust)
        trust->domains = calloc(count + 1, sizeof *trust->domains);
    if (!trust || !trust->domains) {
        free(trust);
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    }
    for (size_t i = 0; !err && i < count; i++) {
        trust->count++;
        err = fill(&trust->domains[i], &sources[i], info);
    }
    if (err) {
        trust_free(&trust);
        return err;
    }
    *out = trust;
    return ERR_OK;
}

void trust_free(struct trust **trust)
{
    struct trust *t = *trust;

    *trust = NULL;
    for (size_t i = 0; t && i < t->count; i++) {
        free(t->domains[i].name);
        free(t->domains[i].spiffe);
        free(t->domains[i].crl_file);
        X509_STORE_free(t->domains[i].store);
    }
    if (t)
        free(t->domains);
    free(t);
}

size_t trust_count(const struct trust *trust)
{
    return trust->count;
}

struct str trust_name(const struct trust *trust, size_t domain)
{
    return str_from(trust->domains[domain].name);
}

const char *trust_why(const struct trust *trust, size_t domain)
{
    return trust->domains[domain].why;
}

/* --- Judging ------------------------------------------------------------- */

static enum trust_verdict verdict_of(int x509_error)
{
    switch (x509_error) {
    case X509_V_OK:
        return TRUST_GOOD;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD:
    case X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD:
        return TRUST_EXPIRED;
    case X509_V_ERR_CERT_REVOKED:
        return TRUST_REVOKED;
    case X509_V_ERR_UNABLE_TO_GET_CRL:
    case X509_V_ERR_CRL_HAS_EXPIRED:
    case X509_V_ERR_CRL_NOT_YET_VALID:
    case X509_V_ERR_CRL_SIGNATURE_FAILURE:
    case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
    case X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE:
    case X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD:
    case X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD:
    case X509_V_ERR_DIFFERENT_CRL_SCOPE:
    case X509_V_ERR_KEYUSAGE_NO_CRL_SIGN:
    case X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION:
        return TRUST_NO_CRL;
    case X509_V_ERR_INVALID_PURPOSE:
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_PATH_LENGTH_EXCEEDED:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
        return TRUST_USAGE;
    case X509_V_ERR_PERMITTED_VIOLATION:
    case X509_V_ERR_EXCLUDED_VIOLATION:
        return TRUST_NAMES;
    default:
        return TRUST_UNKNOWN;
    }
}

/* The leaf must stand in a list. Its issuers are looked up where their own
 * issuer has one there: many authorities publish lists for the last step
 * only. */
static int tolerate(int good, X509_STORE_CTX *ctx)
{
    return good ||
           (X509_STORE_CTX_get_error(ctx) == X509_V_ERR_UNABLE_TO_GET_CRL &&
               X509_STORE_CTX_get_error_depth(ctx) > 0);
}

static int64_t end_of(STACK_OF(X509) * chain)
{
    int64_t end = INT64_MAX;

    for (int i = 0; i < sk_X509_num(chain); i++) {
        struct tm tm;
        const ASN1_TIME *time = X509_get0_notAfter(sk_X509_value(chain, i));
        int64_t at = ASN1_TIME_to_tm(time, &tm) == 1
                         ? (int64_t)timegm(&tm) * SECOND_US
                         : 0;
        end = at < end ? at : end;
    }
    return end;
}

/* Does this domain vouch for it? */
static void ask_domain(const struct domain *d, X509 *leaf,
    STACK_OF(X509) * others, int64_t now_us, struct trust_judgement *out)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN;

    *out = (struct trust_judgement){.x509_error = X509_V_ERR_OUT_OF_MEM};
    if (!ctx || X509_STORE_CTX_init(ctx, d->store, leaf, others) != 1) {
        X509_STORE_CTX_free(ctx);
        return;
    }
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    if (d->crl_file[0] != '\0')
        flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
    X509_VERIFY_PARAM_set_flags(param, flags);
    X509_VERIFY_PARAM_set_time(param, (time_t)(now_us / SECOND_US));
    X509_VERIFY_PARAM_set_depth(param, TRUST_CHAIN_MAX - 1);
    X509_VERIFY_PARAM_set_auth_level(param, AUTH_LEVEL);
    X509_STORE_CTX_set_verify_cb(ctx, tolerate);
    if (X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_CLIENT) == 1) {
        bool good = X509_verify_cert(ctx) == 1;
        int error = X509_STORE_CTX_get_error(ctx);
        if (!good && error == X509_V_OK)
            error = X509_V_ERR_UNSPECIFIED;
        out->x509_error = good ? X509_V_OK : error;
        out->verdict = verdict_of(out->x509_error);
        if (good)
            out->until_us = end_of(X509_STORE_CTX_get0_chain(ctx));
        /* A list that could not be read is not "no list". */
        if (good && d->why[0] != '\0')
            *out = (struct trust_judgement){.verdict = TRUST_NO_CRL,
                .x509_error = X509_V_ERR_UNABLE_TO_GET_CRL};
    }
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
}

static enum trust_verdict look_at_leaf(
    X509 *leaf, struct arena *arena, struct certificate_facts *facts)
{
    unsigned char *der = NULL;
    int n = i2d_X509(leaf, &der);
    EVP_PKEY *key = X509_get0_pubkey(leaf);
    struct errinfo info;
    enum trust_verdict verdict = TRUST_GOOD;

    if (n <= 0 || certificate_read(str_make((char *)der, (size_t)n), arena,
                      facts, &info) != ERR_OK)
        verdict = TRUST_NAMES;
    else if (facts->is_authority || !key ||
             (EVP_PKEY_base_id(key) == EVP_PKEY_RSA &&
                 EVP_PKEY_bits(key) > RSA_BITS_MAX))
        verdict = TRUST_USAGE;
    OPENSSL_free(der);
    return verdict;
}

/* SIZE_MAX: it belongs to no SPIFFE trust domain that is known here. */
static size_t spiffe_domain(
    const struct trust *trust, const struct certificate_facts *facts)
{
    struct str domain;

    if (!certificate_spiffe_domain(facts->uri, &domain))
        return SIZE_MAX;
    for (size_t i = 0; i < trust->count; i++)
        if (str_equal(str_from(trust->domains[i].spiffe), domain))
            return i;
    return SIZE_MAX;
}

static void ask_all(const struct trust *trust, X509 *leaf,
    STACK_OF(X509) * others, int64_t now_us,
    const struct certificate_facts *facts, struct trust_judgement *out)
{
    size_t only = spiffe_domain(trust, facts), good = 0;

    for (size_t i = 0; i < trust->count; i++) {
        const struct domain *d = &trust->domains[i];
        struct trust_judgement one;
        if (only != SIZE_MAX && i != only)
            continue;
        ask_domain(d, leaf, others, now_us, &one);
        one.domain = i;
        /* Who issues SPIFFE IDs vouches for nothing else. */
        if (one.verdict == TRUST_GOOD && d->spiffe[0] != '\0' && i != only)
            one = (struct trust_judgement){
                .verdict = TRUST_NAMES, .x509_error = X509_V_ERR_CERT_REJECTED};
        good += one.verdict == TRUST_GOOD;
        /* Of several refusals the one that knows the authority says more. */
        if (one.verdict == TRUST_GOOD ||
            (good == 0 && (out->verdict == TRUST_UNJUDGED ||
                              out->verdict == TRUST_UNKNOWN)))
            *out = one;
    }
    if (good > 1 || out->verdict == TRUST_UNJUDGED)
        *out = (struct trust_judgement){.verdict = TRUST_UNKNOWN,
            .x509_error = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY};
}

void trust_judge_x509(const struct trust *trust, X509 *leaf,
    STACK_OF(X509) * others, int64_t now_us, struct trust_judgement *out)
{
    struct arena *arena = arena_new(4096, FACTS_ARENA_MAX);
    struct certificate_facts facts;
    enum trust_verdict verdict = TRUST_NAMES;

    *out = (struct trust_judgement){.verdict = TRUST_UNJUDGED};
    if (arena)
        verdict = look_at_leaf(leaf, arena, &facts);
    if (verdict == TRUST_GOOD)
        ask_all(trust, leaf, others, now_us, &facts, out);
    else
        *out = (struct trust_judgement){
            .verdict = verdict, .x509_error = verdicts[verdict].x509_error};
    arena_free(&arena);
}

void trust_judge(const struct trust *trust, const struct str *chain,
    size_t count, int64_t now_us, struct trust_judgement *out)
{
    STACK_OF(X509) *others = sk_X509_new_null();
    X509 *leaf = NULL;
    bool good = others != NULL && count > 0 && count <= TRUST_CHAIN_MAX;

    *out = (struct trust_judgement){
        .verdict = TRUST_NAMES, .x509_error = X509_V_ERR_CERT_REJECTED};
    for (size_t i = 0; good && i < count; i++) {
        const unsigned char *at = (const unsigned char *)chain[i].ptr;
        X509 *x509 = d2i_X509(NULL, &at, (long)chain[i].len);
        if (i == 0)
            leaf = x509;
        else if (x509 && sk_X509_push(others, x509) == 0)
            X509_free(x509);
        good = x509 != NULL;
    }
    if (good)
        trust_judge_x509(trust, leaf, others, now_us, out);
    X509_free(leaf);
    sk_X509_pop_free(others, X509_free);
    ERR_clear_error();
}
