/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/identity_certificate.c - from a certificate to a caller. */
#include "proxy/identity_certificate.h"

#include <stdlib.h>

#define ARENA_MAX (64u * 1024)
#define DOMAIN_NAME_MAX 256

struct identity_certificate {
    int references;
    struct arena *arena;
    struct certificate_facts facts;
    uint64_t trust_generation; /* of the judgement */
    struct trust_judgement judgement;
    char domain[DOMAIN_NAME_MAX];
    uint64_t generation; /* of the snapshot that `caller` is of */
    const struct snapshot_caller *caller;
};

static void keep_judgement(struct identity_certificate *c,
    const struct snapshot *snapshot, const struct trust_judgement *judgement)
{
    struct str name = STR("");

    c->judgement = *judgement;
    c->trust_generation = snapshot_trust_generation(snapshot);
    if (judgement->verdict == TRUST_GOOD)
        name = trust_name(snapshot_trust(snapshot), judgement->domain);
    if (name.len >= sizeof c->domain)
        name.len = sizeof c->domain - 1;
    memcpy(c->domain, name.ptr, name.len);
    c->domain[name.len] = '\0';
}

struct identity_certificate *identity_certificate_new(
    struct tls *tls, const struct snapshot *snapshot, uint64_t trust_generation)
{
    struct identity_certificate *c = calloc(1, sizeof *c);
    struct errinfo info;

    if (!c)
        return NULL;
    c->references = 1;
    c->arena = arena_new(2048, ARENA_MAX);
    if (!c->arena ||
        tls_certificate(tls, c->arena, &c->facts, &info) != ERR_OK) {
        identity_certificate_unref(&c);
        return NULL;
    }
    /* Another trust by now: the first check judges anew. */
    if (trust_generation == snapshot_trust_generation(snapshot))
        keep_judgement(c, snapshot, tls_judgement(tls));
    return c;
}

struct identity_certificate *identity_certificate_ref(
    struct identity_certificate *certificate)
{
    certificate->references++;
    return certificate;
}

void identity_certificate_unref(struct identity_certificate **certificate)
{
    struct identity_certificate *c = *certificate;

    *certificate = NULL;
    if (!c || --c->references > 0)
        return;
    arena_free(&c->arena);
    free(c);
}

const struct certificate_facts *identity_certificate_facts(
    const struct identity_certificate *certificate)
{
    return &certificate->facts;
}

struct str identity_certificate_domain(
    const struct identity_certificate *certificate)
{
    return str_from(certificate->domain);
}

int64_t identity_certificate_until(
    const struct identity_certificate *certificate)
{
    return certificate->judgement.until_us;
}

enum trust_verdict identity_certificate_check(struct identity_certificate *c,
    struct tls *tls, const struct snapshot *snapshot, int64_t now_us,
    const struct snapshot_caller **caller)
{
    *caller = NULL;
    if (c->trust_generation != snapshot_trust_generation(snapshot)) {
        struct trust_judgement judgement;
        tls_judge_again(tls, snapshot_trust(snapshot), now_us, &judgement);
        keep_judgement(c, snapshot, &judgement);
        c->generation = 0;
    }
    if (c->judgement.verdict != TRUST_GOOD)
        return c->judgement.verdict;
    if (now_us >= c->judgement.until_us)
        return TRUST_EXPIRED;
    if (c->generation != snapshot_generation(snapshot)) {
        c->caller =
            snapshot_map_certificate(snapshot, c->judgement.domain, &c->facts);
        c->generation = snapshot_generation(snapshot);
    }
    *caller = c->caller;
    return c->caller ? TRUST_GOOD : TRUST_NO_CALLER;
}

enum refusal identity_certificate_refusal(enum trust_verdict verdict)
{
    switch (verdict) {
    case TRUST_MISSING:
        return REFUSAL_CERTIFICATE_MISSING;
    case TRUST_EXPIRED:
        return REFUSAL_CERTIFICATE_EXPIRED;
    case TRUST_REVOKED:
        return REFUSAL_CERTIFICATE_REVOKED;
    case TRUST_NO_CRL:
        return REFUSAL_CERTIFICATE_CRL;
    case TRUST_USAGE:
        return REFUSAL_CERTIFICATE_USAGE;
    case TRUST_NAMES:
        return REFUSAL_CERTIFICATE_NAMES;
    case TRUST_NO_CALLER:
        return REFUSAL_CERTIFICATE_UNMAPPED;
    case TRUST_UNJUDGED:
    case TRUST_GOOD:
    case TRUST_UNKNOWN:
    case TRUST_VERDICTS:
        break;
    }
    return REFUSAL_CERTIFICATE_UNKNOWN;
}
