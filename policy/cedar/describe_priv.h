/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/describe_priv.h - inside of describe: phrases and the writer.
 *
 * A phrase is a template per language and polarity. In it $1 to $3 stand for
 * things (a noun phrase each) and ?1 to ?3 for conditions (a clause each). */
#ifndef POLICY_CEDAR_DESCRIBE_PRIV_H
#define POLICY_CEDAR_DESCRIBE_PRIV_H

#include "policy/cedar/cedar_priv.h"
#include "policy/cedar/describe.h"

enum cedar_phrase {
#define CEDAR_PHRASE(id, english, not_english, chinese, not_chinese) SAY_##id,
#include "policy/cedar/describe_words.h"
#undef CEDAR_PHRASE
    SAY_COUNT
};

/* What a $N or ?N stands for: an expression, an entity, an attribute (of an
 * expression) or a text that is put as it is. */
struct piece {
    const struct cedar_expr *expr;
    const struct cedar_uid *uid;
    const struct cedar_key *path; /* of expr: for `has` */
    uint32_t path_count;
    struct str text;
    bool negated; /* ?N: the opposite of expr */
};

/* One clause that is no chain: what it says of $1. */
struct clause {
    enum cedar_phrase phrase;
    bool negated;
    struct piece pieces[3];
};

struct describer {
    struct buf *out;
    enum cedar_language language;
    const struct cedar_vocabulary *vocabulary;
    const struct cedar_policy *policy;
};

/* Puts text; in Chinese with a space between Latin letters or digits and
 * characters. */
void describe_put(struct describer *d, struct str text);
void describe_text(struct describer *d, struct str text); /* quoted */
/* "maxTokens" as "max tokens"; what is no identifier is quoted. */
void describe_name(struct describer *d, struct str name);
void describe_type(struct describer *d, struct str type);
void describe_uid(struct describer *d, const struct cedar_uid *uid);
/* NULL: the vocabulary has none. */
const char *describe_find(
    const struct describer *d, struct cedar_words words, struct str key);
/* `without_subject`: what the template says behind its leading $1. */
void describe_say(struct describer *d, enum cedar_phrase phrase, bool negated,
    const struct piece *pieces, bool without_subject);
void describe_term(struct describer *d, const struct cedar_expr *e);
void describe_path(struct describer *d, const struct cedar_expr *on,
    const struct cedar_key *path, uint32_t count);
/* Why an evaluation failed (describe_failure.c). */
void describe_failure(struct describer *d, const struct cedar_failure *failure);
/* A clause; `inner` for one that stands within another. */
void describe_condition(
    struct describer *d, const struct cedar_expr *e, bool negated, bool inner);
/* All of (or, with `any`, one of) the expressions. */
void describe_chain(struct describer *d, const struct cedar_expr *const *items,
    uint32_t count, bool any, bool negated);

#endif
