/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/redecide_priv.h - what redecide.c (the judgement) and
 * redecide_inputs.c (entities and question, out of the log) share. */
#ifndef PROXY_ADMIN_REDECIDE_PRIV_H
#define PROXY_ADMIN_REDECIDE_PRIV_H

#include "policy/decide.h"
#include "proxy/admin/past.h"

struct redecision {
    struct admin_call *call;
    json_t *entry; /* admitted or denied; owned */
    uint64_t seq;
    bool open_sealed; /* the asker wants the sealed address used */
    struct past past;

    /* Made of the past and the entry. */
    struct policy_set *set;
    bool names_address; /* a rule asks for context.request.ip */
    struct policy_entities *entities;
    struct policy_workspace *workspace;
    struct policy_question question;
    struct clock_zone *zone;
    const char *address; /* opened; NULL: not */

    json_t *checks, *cannot; /* arrays, owned */
    bool different;
};

/* "text", or an empty one. */
struct str redecide_text(const json_t *object, const char *key);
/* Why a part cannot be repeated; goes into the answer. */
void redecide_cannot(struct redecision *r, const char *format, ...)
    PRINTFLIKE(2, 3);

/* redecide_inputs.c. ERR_NOTFOUND: said by redecide_cannot, nothing can be
 * asked. */
enum err redecide_load_rules(struct redecision *r) MUSTCHECK;
enum err redecide_load_entities(struct redecision *r) MUSTCHECK;
/* The Cedar context of the entry as a question. */
enum err redecide_load_question(struct redecision *r) MUSTCHECK;
void redecide_inputs_fini(struct redecision *r);

#endif
