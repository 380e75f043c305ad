/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/visitors.h - what one worker knows of each peer address: open
 * connections (for the per-address limit) and refusals before identification,
 * counted so that knocking cannot fill the log. An IPv6 peer is its /64: more
 * is anybody's for the asking. One thread. */
#ifndef PROXY_VISITORS_H
#define PROXY_VISITORS_H

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/str.h"

#include <sys/socket.h>

enum refusal {
    REFUSAL_MISSING,   /* no credential */
    REFUSAL_MALFORMED, /* not of our shape, or a wrong checksum */
    REFUSAL_UNKNOWN,   /* well formed, not ours */
    REFUSAL_EXPIRED,
    REFUSAL_REVOKED,
    REFUSAL_ADDRESS,  /* not from there */
    REFUSAL_DISABLED, /* the caller is */
    REFUSAL_BAD_HEAD, /* not strict HTTP/1.1 */
    REFUSAL_ROUTE,    /* unknown path or method, without a good credential */
    REFUSAL_OVERLOAD, /* more had come than could be answered in time */
    REFUSAL_TOKEN,    /* a signed token that was not accepted */
    REFUSAL_CERTIFICATE_MISSING,
    REFUSAL_CERTIFICATE_EXPIRED,
    REFUSAL_CERTIFICATE_REVOKED,
    REFUSAL_CERTIFICATE_CRL,     /* no list in force */
    REFUSAL_CERTIFICATE_UNKNOWN, /* of no authority that is trusted */
    REFUSAL_CERTIFICATE_USAGE,
    REFUSAL_CERTIFICATE_NAMES,
    REFUSAL_CERTIFICATE_UNMAPPED, /* good, and nobody's */
    REFUSAL_LOG_BUDGET,           /* the caller has filled enough of the log */
    REFUSAL_JUST_IN_TIME,         /* too many callers were made just in time */
    REFUSAL_BODY,                 /* too large or broken before it was whole */
    REFUSAL_COUNT
};
const char *refusal_name(enum refusal reason);

struct visitors;
struct visitors *visitors_new(void); /* gives; NULL: out of memory */
void visitors_free(struct visitors **visitors);

/* False: the address has `limit` connections already, or out of memory. */
bool visitors_enter(
    struct visitors *visitors, const struct sockaddr *address, unsigned limit);
void visitors_leave(struct visitors *visitors, const struct sockaddr *address);

/* Notes a refusal; route and key id (may be empty) are those of the last. */
void visitors_refuse(struct visitors *visitors, const struct sockaddr *address,
    enum refusal reason, struct str route, struct str key, int64_t now_us);

/* How long the answer to a failed authentication from there waits, so that
 * guessing gets nowhere: nothing for the first `per_minute`, then more and more
 * until VISITORS_DELAY_MAX_US. Notes the failure. Nobody is locked out: who is
 * identified is never asked about here. */
#define VISITORS_DELAY_MAX_US (2 * SECOND_US)
int64_t visitors_delay(struct visitors *visitors,
    const struct sockaddr *address, int64_t per_minute, int64_t now_us);

struct visitors_report {
    const char *address; /* text; the last one's */
    enum refusal reason;
    int64_t count, first_us, last_us;
    struct str route, key;
};
/* Gives each aggregate to `report` and forgets it. When `report` returns false
 * (no room in the log) the rest is kept for the next time. */
void visitors_flush(struct visitors *visitors,
    bool (*report)(void *context, const struct visitors_report *report),
    void *context);
/* Refusals not yet reported. */
uint64_t visitors_unreported(const struct visitors *visitors);

#endif
