/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/replayed_question.h - a request's question to the rules, rebuilt from
 * its entry of the log: who asked to do what, the Cedar context as it was, the
 * targets that were asked about, and what was decided then. Texts borrow from
 * the entry or from the arena. Pure but for opening the sealed box; any
 * thread. */
#ifndef PROXY_REPLAYED_QUESTION_H
#define PROXY_REPLAYED_QUESTION_H

#include "audit/seal.h"
#include "lib/arena.h"
#include "policy/decide.h"

struct replayed_target {
    struct policy_target target;
    bool permitted;     /* then */
    int64_t max_tokens; /* @max_tokens that bound then; -1: none */
};

struct replayed_question {
    struct str id;
    int64_t time_us;
    bool denied;      /* the request was */
    struct str stage; /* of the denial: "decide", "plan", "reserve" ... */
    struct str code;
    struct str caller, key, action, model, context;
    const struct str *group_teams; /* that a token's groups gave */
    size_t group_team_count;
    int64_t policy_version;
    struct str policy_hash;
    const struct replayed_target *targets;
    size_t target_count;
    int64_t targets_more;              /* that the entry had no room for */
    bool permitted;                    /* on one of the targets, then */
    struct str sealed_key, sealed_box; /* base64 */
};

/* ERR_NOTFOUND: the entry is no request.admitted and no request.denied.
 * ERR_SYNTAX: it is one, and cannot be read. ERR_NOMEM. */
enum err replayed_question_read(struct arena *arena, struct str entry,
    struct replayed_question *out, struct errinfo *info) MUSTCHECK;

/* Could the rules have been asked? Not where the request was refused before
 * they were, or asked for a list of models. */
bool replayed_question_is_whole(const struct replayed_question *question);

/* The caller's address out of the sealed box, NUL-terminated; empty where the
 * caller had gone before it was taken. Needs sealed_box and id alone. False:
 * the key is not the box's. */
#define REPLAYED_ADDRESS_MAX 64
bool replayed_question_address(const struct replayed_question *question,
    struct crypto_aead *aead, const struct seal_key *key,
    char out[REPLAYED_ADDRESS_MAX]) MUSTCHECK;

#endif
