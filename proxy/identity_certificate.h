/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/identity_certificate.h - the client certificate of one connection, and
 * whose it is by the snapshot in force.
 *
 * The handshake's judgement is the first only: whenever the trust domains,
 * their lists or the mappings change, the chain is judged anew before the next
 * request is served, and for those that run. One worker's thread. */
#ifndef PROXY_IDENTITY_CERTIFICATE_H
#define PROXY_IDENTITY_CERTIFICATE_H

#include "proxy/snapshot.h"
#include "proxy/visitors.h"

struct identity_certificate;

/* After the handshake, which was judged by the trust of that generation. NULL:
 * out of memory. One reference. */
struct identity_certificate *identity_certificate_new(struct tls *tls,
    const struct snapshot *snapshot, uint64_t trust_generation);
struct identity_certificate *identity_certificate_ref(
    struct identity_certificate *certificate);
void identity_certificate_unref(struct identity_certificate **certificate);

const struct certificate_facts *identity_certificate_facts(
    const struct identity_certificate *certificate);
/* The trust domain's name, as of the last check. */
struct str identity_certificate_domain(
    const struct identity_certificate *certificate);
int64_t identity_certificate_until(
    const struct identity_certificate *certificate);

/* TRUST_GOOD: *caller is whose it is. TRUST_NO_CALLER: good, and nobody's.
 * Costs a comparison while nothing has changed. */
enum trust_verdict identity_certificate_check(
    struct identity_certificate *certificate, struct tls *tls,
    const struct snapshot *snapshot, int64_t now_us,
    const struct snapshot_caller **caller);

/* How a verdict is counted. */
enum refusal identity_certificate_refusal(enum trust_verdict verdict);

#endif
