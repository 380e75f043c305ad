/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/json_policy.h - policies, policy sets and template links in
 * Cedar's JSON format, in and out. What is read becomes the same trees that
 * the text parser makes; nodes have no positions then.
 *
 * Not here: printing as text (ast.h). Pure; any thread. */
#ifndef POLICY_CEDAR_JSON_POLICY_H
#define POLICY_CEDAR_JSON_POLICY_H

#include "policy/cedar/ast.h"

struct json; /* lib/json.h */

/* All readers: ERR_SYNTAX (not of the format), ERR_LIMIT, ERR_NOMEM, and what
 * cedar_builder_add and cedar_builder_link give; the words are in info (may
 * be NULL). What was read before a failure stays in the builder. */

/* One policy, or with is_template one template, under the given id. */
enum err cedar_json_policy_read(struct cedar_builder *builder,
    const struct json *json, uint32_t at, struct str id, bool is_template,
    struct errinfo *info) MUSTCHECK;
/* {"staticPolicies": {..}, "templates": {..}, "templateLinks": [..]} */
enum err cedar_json_policy_set_read(struct cedar_builder *builder,
    const struct json *json, uint32_t at, struct errinfo *info) MUSTCHECK;
/* An array of {"templateId", "newId", "values": {"?principal": REF, ..}}; a
 * REF is a text such as App::User::"alice", or a JSON reference. */
enum err cedar_json_links_read(struct cedar_builder *builder,
    const struct json *json, uint32_t at, struct errinfo *info) MUSTCHECK;
/* A REF; the bytes are in the arena. */
enum err cedar_json_ref_or_text(const struct json *json, uint32_t at,
    struct arena *arena, struct cedar_uid *out, struct errinfo *info) MUSTCHECK;

/* One policy or template (a link: as a static policy), without its id. */
void cedar_policy_write_json(
    struct buf *out, const struct cedar_policy *policy);
void cedar_expr_write_json(struct buf *out, const struct cedar_expr *expr);
/* The whole set, as cedar_json_policy_set_read takes it. */
void cedar_policies_write_json(
    struct buf *out, const struct cedar_policies *policies);

#endif
