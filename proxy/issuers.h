/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/issuers.h - the key sets of the issuers that are believed: fetched,
 * kept fresh, and kept through the issuer's bad days.
 *
 * One thread fetches: at once when an issuer is new, every five minutes, after
 * a failure sooner, and when a token names a key that is not in the set, but
 * then never within ten seconds of the last fetch (anybody can make up names
 * of keys). A fetch that fails changes nothing: the last good set stays for a
 * day. A set from disk is read in the same rhythm. Workers take references;
 * nothing here blocks them. Any thread. */
#ifndef PROXY_ISSUERS_H
#define PROXY_ISSUERS_H

#include "lib/buf.h"
#include "proxy/jwt/jwks.h"

struct issuers;

struct issuer_source {
    const char *name, *issuer;
    const char *jwks_file, *jwks_url, *ca_file; /* both "": discovery */
};

enum err issuers_start(struct issuers **out, struct errinfo *info) MUSTCHECK;
void issuers_stop(struct issuers **issuers); /* NULL ok */
/* These and no others from now on; a source that did not change keeps its
 * set. borrows all. */
enum err issuers_watch(struct issuers *issuers,
    const struct issuer_source *sources, size_t count,
    struct errinfo *info) MUSTCHECK;

/* Grows whenever a set changes: what was verified before must be again. */
uint64_t issuers_epoch(const struct issuers *issuers);
/* The set, referenced; NULL: none could be had yet, or it is too old. */
struct jwks *issuers_keys(struct issuers *issuers, const char *name);
/* A token named an unknown key. True: a fetch is on its way, try again soon;
 * false: the set is fresh, there is no such key. */
bool issuers_ask(struct issuers *issuers, const char *name);

struct issuer_status {
    char name[128];
    bool has_keys;
    size_t key_count;
    int64_t fetched_us; /* the last good one; 0: never */
    bool failing;
    char why[256]; /* of the last failure */
};
/* The number of issuers; fills at most `max`. */
size_t issuers_status(
    struct issuers *issuers, struct issuer_status *out, size_t max);

/* https, or http to this machine. */
bool issuers_url_is_safe(const char *url);
enum err issuers_read_file(
    const char *path, struct jwks **out, struct errinfo *info) MUSTCHECK;

#endif
