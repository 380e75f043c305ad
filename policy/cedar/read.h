/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/read.h - policies, entities and contexts from whole texts, as
 * they stand in files; whoever has a document already uses json_policy.h and
 * json_entities.h. What is read is copied. Pure; any thread. */
#ifndef POLICY_CEDAR_READ_H
#define POLICY_CEDAR_READ_H

#include "policy/cedar/schema.h"

/* True for a text that begins with `{`: JSON, then. */
bool cedar_text_is_json(struct str text);

/* Policy text, or a JSON policy set; gives *out. As cedar_policies_parse. */
enum err cedar_read_policies(struct str text,
    struct cedar_diagnostics *diagnostics,
    struct cedar_policies **out) MUSTCHECK;

/* A JSON array of entities; schema may be NULL. Gives *out. What is wrong,
 * with line and column where it is no JSON, is in info. ERR_SYNTAX,
 * ERR_INVALID, ERR_EXISTS, ERR_LIMIT, ERR_NOMEM. */
enum err cedar_read_entities(struct str text, const struct cedar_schema *schema,
    struct cedar_entities **out, struct errinfo *info) MUSTCHECK;

/* A JSON object as the context of a request for `action` (NULL: not known).
 * Its bytes are in the arena. */
enum err cedar_read_context(struct str text, const struct cedar_action *action,
    struct arena *arena, const struct cedar_record **out,
    struct errinfo *info) MUSTCHECK;

#endif
