/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/schema_priv.h - between the two schema readers and the
 * resolver: a schema as it was written, names not looked up yet. Everything
 * lives in the arena of the struct cedar_schema that is being made. */
#ifndef POLICY_CEDAR_SCHEMA_PRIV_H
#define POLICY_CEDAR_SCHEMA_PRIV_H

#include "lib/json.h"
#include "policy/cedar/schema.h"

enum raw_type_kind {
    RAW_LONG,
    RAW_STRING,
    RAW_BOOL,
    RAW_EXTENSION,        /* name */
    RAW_ENTITY,           /* name has to be an entity type */
    RAW_COMMON,           /* name has to be a common type */
    RAW_ENTITY_OR_COMMON, /* name may be either */
    RAW_SET,
    RAW_RECORD
};

struct raw_name {
    struct str name; /* as written, without blanks */
    uint32_t offset;
    struct raw_name *next;
};

struct raw_attribute {
    struct str name;
    uint32_t offset;
    bool required;
    const struct raw_type *type;
    struct raw_attribute *next;
};

struct raw_type {
    enum raw_type_kind kind;
    uint32_t offset;
    struct str name;
    const struct raw_type *element;
    struct raw_attribute *attributes; /* of one name the first counts: readers
                                         put later ones before earlier ones */
};

struct raw_entity {
    struct str name; /* its last part */
    uint32_t offset;
    bool is_enum;
    struct raw_name *choices;
    struct raw_name *parents;
    const struct raw_type *shape; /* NULL: {} */
    const struct raw_type *tags;  /* NULL: none */
    struct raw_entity *next;
};

struct raw_common {
    struct str name;
    uint32_t offset;
    const struct raw_type *type;
    struct raw_common *next;
};

struct raw_parent {
    struct str type; /* "Action" where none was written */
    struct str id;
    uint32_t offset;
    struct raw_parent *next;
};

struct raw_action {
    struct str id;
    uint32_t offset;
    struct raw_parent *parents;
    struct raw_name *principals;
    struct raw_name *resources;
    const struct raw_type *context; /* NULL: {} */
    struct raw_action *next;
};

/* Lists are in reverse order of writing. */
struct raw_namespace {
    struct str name; /* "" for the empty one */
    uint32_t offset;
    struct raw_entity *entities;
    struct raw_common *commons;
    struct raw_action *actions;
    struct raw_namespace *next;
};

struct cedar_schema {
    struct arena *arena;
    struct str source;
    uint32_t entity_type_count;
    struct cedar_entity_type *entity_types; /* sorted by name */
    uint32_t action_count;
    struct cedar_action *actions; /* sorted by uid */
};

/* --- schema_text.c, schema_json.c --- */

struct schema_reader {
    struct cedar_schema *schema;
    struct cedar_diagnostics *diagnostics;
    struct raw_namespace *namespaces;
};

enum err schema_text_read(struct schema_reader *reader) MUSTCHECK;
enum err schema_json_read(struct schema_reader *reader, const struct json *json,
    uint32_t at) MUSTCHECK;
/* Adds a diagnostic and gives ERR_SYNTAX. */
enum err schema_error(struct schema_reader *reader, uint32_t offset,
    const char *format, ...) PRINTFLIKE(3, 4);
/* Words that a common type may not be called. */
bool schema_common_name_is_reserved(struct str name);
/* One identifier, or a name with ::, as schemas may refer to: like
 * cedar_name_is_valid, but `__cedar` is allowed where internal is true. */
bool schema_name_is_valid(struct str name, bool internal);
bool schema_annotation_key_is_valid(struct str key);

/* --- schema_types.c: makes each type once --- */
struct type_table;
enum err type_table_new(struct arena *arena, struct type_table **out) MUSTCHECK;
void type_table_free(struct type_table **table);
/* The one type that is equal to *proto; its attributes must be sorted. NULL
 * when out of memory. */
const struct cedar_type *type_table_get(
    struct type_table *table, const struct cedar_type *proto);

/* --- schema_resolve.c --- */
enum err schema_resolve(struct schema_reader *reader) MUSTCHECK;

/* --- schema_names.c --- */

enum common_state { COMMON_UNSEEN, COMMON_OPEN, COMMON_DONE };

struct common_def {
    struct str name;              /* full */
    const struct raw_common *raw; /* NULL: built in */
    struct str space;
    enum common_state state;
    const struct cedar_type *type;
};

struct entity_def {
    struct str name;              /* full */
    const struct raw_entity *raw; /* NULL: the type of a namespace's actions */
    struct str space;
    struct cedar_entity_type *type;
};

struct action_def {
    struct cedar_uid uid;
    const struct raw_action *raw;
    struct str space;
};

struct resolver {
    struct schema_reader *reader;
    struct arena *arena;
    struct type_table *types;
    struct common_def *commons;
    size_t common_count;
    struct entity_def *entities;
    size_t entity_count;
    struct action_def *actions;
    size_t action_count;
    enum err status;
};

/* Gathers and sorts what is declared, and checks the rules about names. */
void resolver_collect(struct resolver *r);
/* Records a failure; running out of memory outweighs all others. */
void resolver_fail(struct resolver *r, enum err code);
void resolver_no_memory(struct resolver *r);
/* What `name` means inside `space`: one of the results is set, or none. */
void resolver_look_up(struct resolver *r, struct str name, struct str space,
    bool commons, bool entities, struct common_def **common,
    struct entity_def **entity);
void resolver_unknown_name(struct resolver *r, const struct raw_name *name,
    bool commons, bool entities);
const struct action_def *resolver_find_action(
    struct resolver *r, struct str type, struct str id, struct str space);
/* CEDAR_NONE: there is no such extension type. */
enum cedar_kind resolver_extension(struct str name);

/* --- schema_closure.c: direct memberships become transitive; a cycle of
 * actions is an error --- */
enum err schema_close(struct schema_reader *reader) MUSTCHECK;

#endif
