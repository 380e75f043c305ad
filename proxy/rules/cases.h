/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/rules/cases.h - test cases of a set of rules: a request, and what has
 * to be decided about it. Kept beside the rules, and stored with a version.
 *
 * JSON, and nothing else:
 *   {"world": {...}, "cases": [{"name": "interns and large models",
 *     "caller": "ivo", "model": "big", "expect": "deny", "by": ["interns"]}]}
 * A world says who and what there is ("teams", "callers", "groups", "models",
 * "engines", "zone"); without one the directory of the state is asked. What a
 * case does not say is that of a plain request: the action chat, with an API
 * key, from 127.0.0.1, on Wednesday 2026-01-07 at noon UTC. docs/rules.md has
 * all members. Pure; any thread. */
#ifndef PROXY_RULES_CASES_H
#define PROXY_RULES_CASES_H

#include "policy/decide.h"
#include "proxy/snapshot.h"

#include <jansson.h>

#define CASES_MAX 10000
#define CASES_BYTES_MAX (1u << 20)

/* The document of a text. ERR_SYNTAX: "rules.tests.json:3:14: what". gives
 * *out. */
enum err cases_parse(struct str text, const char *name, json_t **out,
    struct errinfo *info) MUSTCHECK;

/* Asks the rules about each case. `snapshot` may be NULL where the document has
 * a world. gives *out: [{"name","passed","got","rules","why"?}...] in the order
 * of the cases. ERR_INVALID: the document is not right; info names the case. */
enum err cases_run(const json_t *document, const struct policy_set *set,
    const struct snapshot *snapshot, json_t **out,
    struct errinfo *info) MUSTCHECK;
size_t cases_failed(const json_t *results);

#endif
