/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/schema.h - a schema: which entity types and actions there are,
 * what they look like and what belongs to what. Read from Cedar schema text
 * or from Cedar's JSON schema into one resolved, immutable struct: common
 * types are expanded, names are full, memberships are transitive.
 *
 * Not here: checking policies (validate.h) or entities (json_entities.h)
 * against it. Pure. Threads: immutable once made; share it freely. */
#ifndef POLICY_CEDAR_SCHEMA_H
#define POLICY_CEDAR_SCHEMA_H

#include "policy/cedar/cedar.h"

struct json; /* lib/json.h */

/* Types may nest this deep, common types expanded; more is ERR_LIMIT. */
#define CEDAR_TYPE_DEPTH_MAX 400

enum cedar_type_kind {
    CEDAR_TYPE_TRUE, /* the validator's: a Bool known to be true */
    CEDAR_TYPE_FALSE,
    CEDAR_TYPE_BOOL,
    CEDAR_TYPE_LONG,
    CEDAR_TYPE_STRING,
    CEDAR_TYPE_ENTITY,
    CEDAR_TYPE_SET,
    CEDAR_TYPE_RECORD,
    CEDAR_TYPE_EXTENSION
};

struct cedar_attribute {
    struct cedar_key key;
    bool required;
    const struct cedar_type *type;
};

/* Types of one schema are unique: equal types have equal pointers. */
struct cedar_type {
    uint8_t kind;      /* enum cedar_type_kind */
    uint8_t extension; /* EXTENSION: enum cedar_kind */
    uint16_t depth;    /* 1 for scalars */
    uint32_t count;    /* RECORD: attributes, sorted by cedar_key_compare */
    union {
        struct str name;                  /* ENTITY: full name */
        const struct cedar_type *element; /* SET */
        const struct cedar_attribute *attributes;
    };
    const struct cedar_entity_type *entity; /* ENTITY; NULL: type of actions */
};

struct cedar_entity_type {
    struct str name;
    uint32_t index;
    uint32_t offset; /* of its name in the source */
    /* An enumerated type has exactly these ids, sorted by str_compare. */
    bool is_enum;
    uint32_t choice_count;
    const struct str *choices;
    const struct cedar_type *self;
    const struct cedar_type *shape; /* a RECORD */
    const struct cedar_type *tags;  /* NULL: no tags */
    /* Types that its entities may be in, transitively; ascending indexes. The
     * type itself is among them only where it is declared so. */
    uint32_t ancestor_count;
    const uint32_t *ancestors;
};

struct cedar_action {
    struct cedar_uid uid;
    uint32_t index;
    uint32_t offset;
    const struct cedar_type *self;
    uint32_t ancestor_count; /* transitive, without itself; ascending */
    const uint32_t *ancestors;
    uint32_t principal_count;
    const struct cedar_entity_type *const *principals;
    uint32_t resource_count;
    const struct cedar_entity_type *const *resources;
    const struct cedar_type *context; /* a RECORD */
};

struct cedar_schema;

/* Reads either form: JSON when the first character that is no blank is `{`.
 * The text is copied. Gives *out. ERR_SYNTAX, ERR_LIMIT: what is wrong is in
 * diagnostics (may be NULL); ERR_NOMEM. */
enum err cedar_schema_parse(struct str text,
    struct cedar_diagnostics *diagnostics, struct cedar_schema **out) MUSTCHECK;
enum err cedar_schema_parse_text(struct str text,
    struct cedar_diagnostics *diagnostics, struct cedar_schema **out) MUSTCHECK;
enum err cedar_schema_parse_json(struct str text,
    struct cedar_diagnostics *diagnostics, struct cedar_schema **out) MUSTCHECK;
/* The JSON schema that is the value at `at` of a document. */
enum err cedar_schema_from_json(const struct json *json, uint32_t at,
    struct cedar_diagnostics *diagnostics, struct cedar_schema **out) MUSTCHECK;
void cedar_schema_free(struct cedar_schema **schema); /* NULL ok */

/* Sorted by name and by uid; stable. */
size_t cedar_schema_entity_type_count(const struct cedar_schema *schema);
const struct cedar_entity_type *cedar_schema_entity_type_at(
    const struct cedar_schema *schema, size_t index);
size_t cedar_schema_action_count(const struct cedar_schema *schema);
const struct cedar_action *cedar_schema_action_at(
    const struct cedar_schema *schema, size_t index);
/* NULL when it is not declared. */
const struct cedar_entity_type *cedar_schema_entity_type(
    const struct cedar_schema *schema, struct str name);
const struct cedar_action *cedar_schema_action(
    const struct cedar_schema *schema, const struct cedar_uid *uid);

/* True when the last part of the name is `Action`. */
bool cedar_type_name_is_action(struct str name);
/* Can an entity of type `a` be in one of type `b`, other than by being it? */
bool cedar_entity_type_in(
    const struct cedar_entity_type *a, const struct cedar_entity_type *b);
/* Is action `a` in the group `b` (or is it the same)? */
bool cedar_action_in(
    const struct cedar_action *a, const struct cedar_action *b);
/* True for types without an enumeration. */
bool cedar_entity_type_allows(
    const struct cedar_entity_type *type, struct str id);
/* NULL when there is no such attribute; type is a RECORD. */
const struct cedar_attribute *cedar_type_attribute(
    const struct cedar_type *type, struct cedar_key key);
/* As in schema text: Long, Set<App::User>, {"a": Long, "b"?: String}. */
void cedar_type_print(struct buf *out, const struct cedar_type *type);

#endif
