/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/claims.h - claims of tokens as rules see them: context.claims.NAME,
 * typed.
 *
 * Which there are is the installation's own choice, and part of the schema
 * that rules are checked against. It is declared once for the process, out of
 * the control state (table claim_attribute), whenever that changes: whoever
 * compiles rules afterwards does it by what is declared then. Any thread. */
#ifndef POLICY_CLAIMS_H
#define POLICY_CLAIMS_H

#include "lib/buf.h"

#define POLICY_CLAIMS_MAX 16      /* of one token */
#define POLICY_CLAIM_TYPES_MAX 64 /* declared */
#define POLICY_CLAIM_NAME_MAX 64

enum policy_claim_kind {
    POLICY_CLAIM_STRING,
    POLICY_CLAIM_LONG, /* that JSON holds exactly: up to 2^53 - 1 */
    POLICY_CLAIM_BOOL,
    POLICY_CLAIM_SET /* of strings */
};

struct policy_claim_type {
    struct str name;
    enum policy_claim_kind kind;
};

struct policy_claim {
    struct str name;
    enum policy_claim_kind kind;
    struct str text;         /* STRING */
    int64_t number;          /* LONG; BOOL: 0 or 1 */
    const struct str *items; /* SET */
    size_t item_count;
};

/* "string" "long" "bool" "set", as in the table. False: none of these. */
bool policy_claim_kind_find(struct str word, enum policy_claim_kind *out);
/* What it is in the language: "String" ... "Set<String>". */
const char *policy_claim_kind_words(enum policy_claim_kind kind);
/* An identifier of the language, no reserved word, not too long. */
bool policy_claim_name_is_good(struct str name);

/* These and no others from now on; copied. ERR_LIMIT, ERR_INVALID (a name),
 * ERR_NOMEM. */
enum err policy_claims_declare(const struct policy_claim_type *types,
    size_t count, struct errinfo *info) MUSTCHECK;
/* schema/bailiff.cedarschema with what is declared. ERR_NOMEM. */
enum err policy_schema_write(struct buf *out) MUSTCHECK;

#endif
