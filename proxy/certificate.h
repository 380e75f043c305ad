/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/certificate.h - what a client certificate says of its holder, and how
 * a mapping picks a caller by it.
 *
 * Reading is strict where leniency would let one name pass for another: a
 * name with a NUL, a control character or bytes outside its type spoils the
 * whole certificate; a subject attribute that stands there twice can not be
 * mapped. Whether anybody vouches for the certificate is asked elsewhere
 * (proxy/trust.h). Pure; any thread. */
#ifndef PROXY_CERTIFICATE_H
#define PROXY_CERTIFICATE_H

#include "lib/arena.h"
#include "lib/err.h"
#include "lib/str.h"

/* A certificate with more, or longer ones, is refused rather than judged by
 * some of its names; and the record must hold all that rules can see. */
#define CERTIFICATE_NAMES_MAX 16 /* DNS names; e-mail addresses */
#define CERTIFICATE_NAMES_BYTES_MAX 512
#define CERTIFICATE_URI_MAX 300
#define CERTIFICATE_ISSUER_MAX 256
#define CERTIFICATE_SUBJECT_MAX 1024

enum certificate_field {
    CERTIFICATE_URI,
    CERTIFICATE_DNS,
    CERTIFICATE_EMAIL,
    CERTIFICATE_CN,
    CERTIFICATE_O,
    CERTIFICATE_OU,
    CERTIFICATE_UID,
    CERTIFICATE_SERIAL, /* serialNumber, an attribute of the subject */
    CERTIFICATE_FIELDS
};
/* "uri", "dns", "email", "CN" ...; false: no such field. */
bool certificate_field_find(struct str word, enum certificate_field *out);
const char *certificate_field_name(enum certificate_field field);

/* Texts live in the arena. */
struct certificate_facts {
    uint8_t sha256[32];   /* of the DER: RFC 8705's thumbprint */
    char fingerprint[65]; /* the same in hex */
    struct str uri;       /* the only URI SAN; empty when there is none */
    size_t uri_count;     /* or several: then none counts */
    struct str dns[CERTIFICATE_NAMES_MAX]; /* in lower case */
    size_t dns_count;
    struct str emails[CERTIFICATE_NAMES_MAX]; /* the domain in lower case */
    size_t email_count;
    /* By field, from CERTIFICATE_CN on; empty: absent or there twice. */
    struct str subject[CERTIFICATE_FIELDS];
    struct str subject_text, issuer; /* RFC 2253 */
    int64_t not_before_us, not_after_us;
    bool is_authority; /* it may issue certificates: no end entity */
};
/* ERR_SYNTAX, ERR_LIMIT: why, in info. */
enum err certificate_read(struct str der, struct arena *arena,
    struct certificate_facts *out, struct errinfo *info) MUSTCHECK;

/* The same of the only certificate in a PEM text, which a client has to be able
 * to show: no authority's, for clients if it says for what, of a key of at
 * least 112 bits. ERR_INVALID: it is not so. */
enum err certificate_read_client(struct str pem, struct arena *arena,
    struct certificate_facts *out, struct errinfo *info) MUSTCHECK;

/* "spiffe://prod.example/ns/web": the trust domain in *domain. False: not a
 * SPIFFE ID of a workload (SPIFFE-ID, sections 2.1 to 2.4). */
bool certificate_spiffe_domain(struct str uri, struct str *domain);
bool certificate_is_spiffe_domain(struct str domain);

/* A pattern is a text with at most one '*', which stands for one or more
 * characters: within a URI's segment, a DNS name's label, an address's local
 * part or domain, or anything in a subject. *captured is what it stood for,
 * or the whole value without one. */
bool certificate_pattern_is_valid(
    enum certificate_field field, struct str pattern, struct errinfo *info);
bool certificate_pattern_matches(enum certificate_field field,
    struct str pattern, struct str value, struct str *captured);

#endif
