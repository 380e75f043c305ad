/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/trust.h - whose client certificates are believed: the trust domains,
 * each with authorities and revocation lists of its own.
 *
 * A chain is good when exactly one trust domain vouches for it. A certificate
 * with a SPIFFE ID of a trust domain that is known is judged by that domain
 * alone: the authority of one can not speak for another. Every certificate of
 * a bundle is an anchor. A domain with a revocation list judges by it; without
 * a list that is in force none of its certificates is good. Immutable once
 * made, any thread. OpenSSL's types: proxy/trust_priv.h. */
#ifndef PROXY_TRUST_H
#define PROXY_TRUST_H

#include "proxy/certificate.h"

#define TRUST_DOMAINS_MAX 64
#define TRUST_BUNDLE_MAX (256u * 1024)
#define TRUST_CRL_MAX (16u << 20)
#define TRUST_CHAIN_MAX 6

enum trust_verdict {
    TRUST_UNJUDGED = 0, /* the start: not good */
    TRUST_GOOD,
    TRUST_MISSING, /* none was shown where one must be */
    TRUST_EXPIRED, /* or not valid yet; or an authority of the chain is */
    TRUST_REVOKED,
    TRUST_NO_CRL,    /* the trust domain's revocation list is not in force */
    TRUST_UNKNOWN,   /* no authority here, or several, vouch for it */
    TRUST_USAGE,     /* not made for clients, or too weak */
    TRUST_NAMES,     /* its names can not be told apart, or are no SPIFFE ID */
    TRUST_NO_CALLER, /* good, and no mapping makes it a caller */
    TRUST_VERDICTS
};
/* A sentence for whoever showed it. */
const char *trust_verdict_text(enum trust_verdict verdict);

struct trust_judgement {
    enum trust_verdict verdict;
    int x509_error;   /* X509_V_ERR_..., for the TLS alert */
    size_t domain;    /* TRUST_GOOD: which */
    int64_t until_us; /* TRUST_GOOD: the end of the first to end in the chain */
};

struct trust_source {
    struct str name, spiffe, bundle; /* bundle: PEM */
    const char *crl_file;            /* "": none */
};

struct trust;
/* ERR_INVALID: a bundle holds no certificate or something else. A revocation
 * list that can not be read spoils its domain only: trust_why. */
enum err trust_new(const struct trust_source *sources, size_t count,
    struct trust **out, struct errinfo *info) MUSTCHECK;
void trust_free(struct trust **trust); /* NULL ok */
size_t trust_count(const struct trust *trust);
struct str trust_name(const struct trust *trust, size_t domain);
/* Why a domain believes nobody; "" when it does. */
const char *trust_why(const struct trust *trust, size_t domain);
/* Reads the lists again. True: one is another than it was when made. */
bool trust_lists_changed(const struct trust *trust);

/* A chain as DER, the leaf first. */
void trust_judge(const struct trust *trust, const struct str *chain,
    size_t count, int64_t now_us, struct trust_judgement *out);

/* What is in a bundle, for whoever adds it: one line for each, "subject,
 * until date, SHA-256". ERR_INVALID: see trust_new. */
enum err trust_describe_bundle(struct str bundle,
    void (*visit)(void *context, const struct certificate_facts *facts),
    void *context, struct errinfo *info) MUSTCHECK;
enum err trust_check_crl(const char *file, struct errinfo *info) MUSTCHECK;

#endif
