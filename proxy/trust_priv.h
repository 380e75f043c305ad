/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/trust_priv.h - the judge in OpenSSL's types, for proxy/tls.c. */
#ifndef PROXY_TRUST_PRIV_H
#define PROXY_TRUST_PRIV_H

#include "proxy/trust.h"

#include <openssl/x509_vfy.h>

/* others: what the peer sent beside it; NULL ok. */
void trust_judge_x509(const struct trust *trust, X509 *leaf,
    STACK_OF(X509) * others, int64_t now_us, struct trust_judgement *out);

#endif
