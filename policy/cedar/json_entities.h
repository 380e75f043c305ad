/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/json_entities.h - Cedar's JSON for values, references, contexts
 * and entities, with or without a schema; and whether entities and requests
 * conform to a schema.
 *
 * With a schema a reference may be a plain {"type","id"}, an extension value a
 * plain string or {"fn","arg"}; without one only __entity and __extn are read
 * as such. What is read is copied. Pure; any thread. */
#ifndef POLICY_CEDAR_JSON_ENTITIES_H
#define POLICY_CEDAR_JSON_ENTITIES_H

#include "policy/cedar/schema.h"

/* All: ERR_SYNTAX (not of the format), ERR_INVALID (does not conform to the
 * schema), ERR_LIMIT, ERR_NOMEM; the words are in info (may be NULL). */

/* {"type": .., "id": ..} or {"__entity": {..}}; the bytes are in the arena. */
enum err cedar_json_ref(const struct json *json, uint32_t at,
    struct arena *arena, struct cedar_uid *out, struct errinfo *info) MUSTCHECK;

/* A value; `type` (may be NULL) says what may be written implicitly. That a
 * scalar is of the type is not checked here: cedar_check_value does. */
enum err cedar_json_value(const struct json *json, uint32_t at,
    const struct cedar_type *type, struct arena *arena, struct cedar_value *out,
    struct errinfo *info) MUSTCHECK;

/* A context; `type` (may be NULL) is the action's context. */
enum err cedar_json_context(const struct json *json, uint32_t at,
    const struct cedar_type *type, struct arena *arena,
    const struct cedar_record **out, struct errinfo *info) MUSTCHECK;

/* The array of entities at `at`. With a schema (may be NULL) they have to
 * conform to it, and its actions are added to them. Gives *out. Also
 * ERR_EXISTS: two different entities of one uid. */
enum err cedar_json_entities(const struct json *json, uint32_t at,
    const struct cedar_schema *schema, struct cedar_entities **out,
    struct errinfo *info) MUSTCHECK;

/* --- Conformance (conformance.c); the errors are ERR_INVALID --- */

/* `what` names the value in the words of the error. */
enum err cedar_check_value(const struct cedar_schema *schema,
    struct cedar_value value, const struct cedar_type *type, const char *what,
    struct errinfo *info) MUSTCHECK;
/* Declared types, an id of the enumeration, a declared action. */
enum err cedar_check_uid(const struct cedar_schema *schema,
    const struct cedar_uid *uid, struct errinfo *info) MUSTCHECK;
/* Attributes and tags may be NULL for none. */
enum err cedar_check_entity(const struct cedar_schema *schema,
    const struct cedar_uid *uid, const struct cedar_uid *parents,
    size_t parent_count, const struct cedar_record *attributes,
    const struct cedar_record *tags, struct errinfo *info) MUSTCHECK;
/* Principal and resource are of the action's types, the context is its own. */
enum err cedar_check_request(const struct cedar_schema *schema,
    const struct cedar_request *request, struct errinfo *info) MUSTCHECK;

#endif
