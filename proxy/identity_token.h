/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/identity_token.h - a signed token as a caller: the issuer's row, its
 * keys, the claims, the mapping; and a bounded cache of what was verified.
 *
 * The cache knows a token by its SHA-256 and is good for one snapshot, one
 * state of the key sets and until the token expires: a row that was removed, a
 * key that was withdrawn or a caller that was disabled is seen at once. It
 * belongs to one worker, as everything here does. */
#ifndef PROXY_IDENTITY_TOKEN_H
#define PROXY_IDENTITY_TOKEN_H

#include "lib/crypto.h"
#include "proxy/issuers.h"
#include "proxy/snapshot.h"

#define IDENTITY_GROUPS_MAX 64
#define IDENTITY_TEXT_MAX 2048 /* bytes of groups, claims, client */

/* Who a token says its bearer is. Texts live in the request's arena. */
struct token_identity {
    const struct snapshot_caller *caller; /* NULL: an end user's, without one */
    const struct snapshot_issuer *issuer;
    struct str subject; /* personal: sealed in entries */
    struct str client;  /* client_id or azp; may be empty */
    bool by_client;     /* the caller is that of the client */
    const struct str *groups;
    size_t group_count;
    const struct policy_claim *claims; /* by name; those that are there */
    size_t claim_count;
    /* A claim that is there and not of its type: its bearer is known, and is
     * not served. NULL: none. */
    const struct snapshot_claim *wrong_claim;
    int64_t expires_us;
    /* By "cnf" (RFC 8705): good with that client certificate only. */
    bool bound;
    uint8_t certificate_sha256[SHA256_SIZE];
};

enum token_result {
    TOKEN_REFUSED = 0, /* for `why` */
    TOKEN_ACCEPTED,
    TOKEN_NEWCOMER, /* good, and its issuer makes callers: this one is not there
                     */
    TOKEN_LATER     /* the issuer's keys are not there yet: try again soon */
};

enum token_refusal {
    TOKEN_BAD = 0,  /* cannot be verified: nothing more is said */
    TOKEN_CLAIMS,   /* verified; a claim is not as it must be */
    TOKEN_EXPIRED,  /* verified, and over */
    TOKEN_STRANGER, /* verified, and there is no such caller */
    TOKEN_DISABLED, /* verified, and its caller is disabled */
    TOKEN_OVERLARGE /* verified, and with more groups than can be judged */
};

struct identity_cache;
struct identity_cache *identity_cache_new(void); /* NULL: out of memory */
void identity_cache_free(struct identity_cache **cache);

/* "eyJ...": JSON's brace in base64. Whether it is any good is another thing. */
bool identity_is_token(struct str credential);

/* A snapshot that is newer than the one by which it was accepted: is the
 * client still let in, and the caller still the one it stands for? */
bool identity_client_stands(const struct token_identity *identity,
    const struct snapshot_issuer *issuer);

struct token_question {
    struct str token;
    const struct snapshot *snapshot;
    struct issuers *issuers;
    struct crypto_hash *hash;
    int64_t now_us;
    struct arena *arena;
    const uint8_t *certificate_sha256; /* of this connection's; NULL: none */
    /* It says for whom a gateway asks; it is not the bearer's credential. Then
     * the caller of that name is no must. */
    bool for_end_user;
};
struct token_answer {
    struct token_identity identity; /* TOKEN_ACCEPTED, TOKEN_NEWCOMER */
    struct str handle;              /* TOKEN_NEWCOMER: of the caller to make */
    enum token_refusal refusal;     /* TOKEN_REFUSED */
    const char *reason;             /* the word of docs/identity.md */
    const char *text;               /* the sentence */
};
enum token_result identity_check_token(struct identity_cache *cache,
    const struct token_question *question, struct token_answer *answer);

#endif
