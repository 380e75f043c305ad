/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/explain.h - rules in words: what each does, why it applied to a
 * request or did not, what two sets differ in. For people who read, not for
 * the request path. Pure; the workspace belongs to one thread. */
#ifndef POLICY_EXPLAIN_H
#define POLICY_EXPLAIN_H

#include "policy/cedar/describe.h"
#include "policy/decide.h"

/* --- One rule ------------------------------------------------------------ */

/* SIZE_MAX: the set has no such @id. */
size_t policy_set_find(const struct policy_set *set, struct str id);
/* The rule as it was written, annotations included. */
struct str policy_set_text(const struct policy_set *set, size_t at);
/* Where the rule stands in the text that was compiled. */
size_t policy_set_offset(const struct policy_set *set, size_t at);
/* Value of an annotation; false where there is none. */
bool policy_set_annotation(
    const struct policy_set *set, size_t at, struct str key, struct str *value);
/* Its annotations, in the order of the text: key and value. */
size_t policy_set_annotation_count(const struct policy_set *set, size_t at);
struct str policy_set_annotation_at(const struct policy_set *set, size_t at,
    size_t annotation, struct str *value);
/* Appends one sentence made from the rule alone, and what its annotations make
 * of it ("this rule only advises; it ends on ..."; "answers have at most 512
 * tokens"). */
void policy_set_sentence(const struct policy_set *set, size_t at,
    enum cedar_language language, struct buf *out);
/* Does a condition ask for context.request.ip? */
bool policy_set_asks_address(const struct policy_set *set, size_t at);
/* What the rule's own annotations bind. */
void policy_set_obligations(
    const struct policy_set *set, size_t at, struct policy_obligations *out);

/* Do they bind the same? Retention classes by their names, each of its set. */
bool policy_obligations_same(const struct policy_set *set_a,
    const struct policy_obligations *a, const struct policy_set *set_b,
    const struct policy_obligations *b);

/* --- Two sets ------------------------------------------------------------ */

enum {
    POLICY_DIFFERS_EFFECT = 1,     /* permit or forbid */
    POLICY_DIFFERS_SCOPE = 2,      /* who, what, which */
    POLICY_DIFFERS_CONDITION = 4,  /* when, unless */
    POLICY_DIFFERS_ANNOTATION = 8, /* what decides: mode, expires, obligations,
                                      message */
    POLICY_DIFFERS_WORDS = 16      /* title, owner, basis: decides nothing */
};
/* 0: the same but for layout, comments and the order of annotations. */
unsigned policy_rules_differ(const struct policy_set *a, size_t at_a,
    const struct policy_set *b, size_t at_b);

/* --- One rule and one request -------------------------------------------- */

/* Of the request of the last begin (or recorded) of the workspace, with the
 * target; by rules of `set`. Appends one line: "does not apply: the hour is
 * not less than 18 (the hour is 19)". ERR_NOMEM. */
enum err policy_explain(struct policy_workspace *workspace,
    const struct policy_set *set, size_t at, const struct policy_target *target,
    enum cedar_language language, enum cedar_outcome *outcome,
    struct buf *out) MUSTCHECK;

#endif
