/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/rules_priv.h - what the handlers about rules share: which rules
 * are meant, and what a set of rules would do that another does not. */
#ifndef PROXY_ADMIN_RULES_PRIV_H
#define PROXY_ADMIN_RULES_PRIV_H

#include "policy/explain.h"
#include "proxy/admin/admin_priv.h"

/* The server's snapshot, or one of the rows where they are ahead of it (inside
 * a change) or nothing runs. Under the control's lock. gives *out. */
enum err admin_take_snapshot(
    struct admin_call *call, struct snapshot **out) MUSTCHECK;

/* The rules to ask: of a version, of a text, or (neither) the active ones.
 * *out is NULL where none are active. What is made stands in own, for
 * rules_fini. Names are checked. */
enum err rules_choose(struct admin_call *call, int64_t version, struct str text,
    struct str source, const struct snapshot *snapshot, struct rules *own,
    const struct policy_set **out) MUSTCHECK;
/* A stored version as it stands: what it names may have gone since. version 0:
 * the active one, and no rules where none is. Under the lock. */
enum err rules_of_version(
    struct admin_call *call, int64_t version, struct rules *out) MUSTCHECK;

/* {"id","title","effect","advice","sentence"} of one rule. */
json_t *rules_rule_json(
    const struct policy_set *set, size_t at, enum cedar_language language);
json_t *rules_sentences(
    const struct policy_set *set, enum cedar_language language);
/* "en" or "zh"; ERR_INVALID with words. */
enum err rules_language(struct admin_call *call, struct str name,
    enum cedar_language *out) MUSTCHECK;

/* Each rule's answer to the request of the workspace, and whence obligations
 * come: {"permitted","rules":[{"id","outcome","why"..}],"obligations":[..]}. */
enum err rules_explain(struct admin_call *call,
    struct policy_workspace *workspace, const struct policy_set *set,
    const struct policy_target *target, int64_t now_us,
    enum cedar_language language, json_t **out) MUSTCHECK;

/* Test cases of a version: *out is empty where there are none. */
enum err policy_tests_of(
    struct admin_call *call, int64_t version, struct str *out) MUSTCHECK;
/* Inside the change that stored the version: takes over those of the active
 * version; puts these in their place (no cases: none), on record. */
enum err policy_tests_inherit(
    struct admin_call *call, int64_t version) MUSTCHECK;
enum err policy_tests_keep(struct admin_call *call, int64_t version,
    const struct policy_set *set, struct str text) MUSTCHECK;
/* A problem with what fails has been answered when this returns an error. */
enum err policy_tests_must_pass(
    struct admin_call *call, int64_t version) MUSTCHECK;

/* What a version would change, against the active one; kept with it. compute
 * takes the lock only for a moment. *out may be NULL: none is kept. */
enum err policy_effect_compute(
    struct admin_call *call, int64_t version, json_t **out) MUSTCHECK;
enum err policy_effect_keep(
    struct admin_call *call, int64_t version, const json_t *effect) MUSTCHECK;
enum err policy_effect_of(
    struct admin_call *call, int64_t version, json_t **out) MUSTCHECK;

/* {"added":[..],"removed":[..],"changed":[..],"same":N}: by @id. */
json_t *rules_difference(const struct policy_set *before,
    const struct policy_set *after, enum cedar_language language);

/* Who may do what, over all callers, models and actions of the snapshot:
 * {"gained":[{"model","people","actions","callers"}],"lost":[..],...}. Asked as
 * a plain request, from `address`, at `at_us`. One of the sets may be NULL: it
 * permits nothing. No lock needed. */
struct rules_comparison {
    const struct policy_set *before, *after;
    struct str address;
    int64_t at_us;
};
enum err rules_access_difference(struct admin_call *call,
    const struct snapshot *snapshot, const struct rules_comparison *comparison,
    json_t **out) MUSTCHECK;

#endif
