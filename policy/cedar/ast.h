/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/ast.h - parsed policies as trees, for whoever walks them: the
 * evaluator, the printer, the validator, the JSON formats, describe.
 *
 * A tree lives in the arena of its struct cedar_policies (or, while one is
 * built, of its struct cedar_builder) and is immutable once added there.
 * Offsets count bytes in the policy's source text; they are all 0 where a
 * policy did not come from text. Trees are made by the parser and by the JSON
 * reader through the constructors below, which check heights and fold
 * constants; nobody else fills nodes by hand. */
#ifndef POLICY_CEDAR_AST_H
#define POLICY_CEDAR_AST_H

#include "policy/cedar/cedar.h"
#include "policy/cedar/extension.h"

/* Levels of nesting in one expression; more is ERR_LIMIT. Chains of && and ||
 * are one level. */
#define CEDAR_EXPR_DEPTH_MAX 400

enum cedar_expr_kind {
    CEDAR_EXPR_LITERAL,  /* value: bool, long, string, entity */
    CEDAR_EXPR_VARIABLE, /* variable */
    CEDAR_EXPR_IF,       /* items: condition, then, else */
    CEDAR_EXPR_AND,      /* items: two or more, left to right */
    CEDAR_EXPR_OR,       /* items: two or more */
    CEDAR_EXPR_NOT,      /* items: 1 */
    CEDAR_EXPR_NEGATE,   /* items: 1 */
    CEDAR_EXPR_EQUAL,    /* items: 2, as in all of the following */
    CEDAR_EXPR_NOT_EQUAL,
    CEDAR_EXPR_LESS,
    CEDAR_EXPR_LESS_EQUAL,
    CEDAR_EXPR_GREATER,
    CEDAR_EXPR_GREATER_EQUAL,
    CEDAR_EXPR_IN,
    CEDAR_EXPR_ADD,
    CEDAR_EXPR_SUBTRACT,
    CEDAR_EXPR_MULTIPLY,
    CEDAR_EXPR_CONTAINS,
    CEDAR_EXPR_CONTAINS_ALL,
    CEDAR_EXPR_CONTAINS_ANY,
    CEDAR_EXPR_HAS_TAG,
    CEDAR_EXPR_GET_TAG,
    CEDAR_EXPR_IS_EMPTY, /* items: 1 */
    CEDAR_EXPR_GET,      /* items: 1; path[0] is the attribute */
    CEDAR_EXPR_HAS,      /* items: 1; path, path_count >= 1 */
    CEDAR_EXPR_LIKE,     /* items: 1; pattern */
    CEDAR_EXPR_IS,       /* items: 1 (x is T) or 2 (x is T in E); type */
    CEDAR_EXPR_SET,      /* items: any number */
    CEDAR_EXPR_RECORD,   /* items: the values; path: their keys, in
                            source order, path_count == count */
    CEDAR_EXPR_CALL      /* items: arguments, a method's receiver first;
                            function */
};
#define CEDAR_EXPR_KINDS (CEDAR_EXPR_CALL + 1)

enum cedar_variable {
    CEDAR_PRINCIPAL,
    CEDAR_ACTION,
    CEDAR_RESOURCE,
    CEDAR_CONTEXT
};

/* A `like` pattern: the literal stretches between the stars. One piece and no
 * star is an exact text; "*a*" is three pieces, the outer ones empty. */
struct cedar_pattern {
    uint32_t count; /* >= 1; stars are count - 1 */
    struct str pieces[];
};

struct cedar_expr {
    uint8_t kind;     /* enum cedar_expr_kind */
    uint8_t variable; /* enum cedar_variable */
    uint8_t function; /* enum cedar_function */
    uint16_t height;  /* 1 for a leaf */
    uint32_t offset;  /* first byte in the source */
    uint32_t end;     /* one past the last */
    uint32_t mark;    /* the operator, attribute, method or type name */
    uint32_t count;   /* of items */
    uint32_t path_count;
    /* LITERAL: the literal. Else the constant that the expression always
     * gives (a set of literals, ip("..")), or CEDAR_NONE. Expressions that
     * fail are never folded. */
    struct cedar_value value;
    const struct cedar_expr *const *items;
    union {
        const struct cedar_key *path;
        const struct cedar_pattern *pattern;
        struct str type;
    };
};

enum cedar_scope_kind {
    CEDAR_SCOPE_ANY,
    CEDAR_SCOPE_EQUAL,  /* == entity or slot */
    CEDAR_SCOPE_IN,     /* in entity or slot */
    CEDAR_SCOPE_IN_SET, /* action in [..]; entities, maybe none */
    CEDAR_SCOPE_IS,     /* is type */
    CEDAR_SCOPE_IS_IN   /* is type in entity or slot */
};

struct cedar_scope_entity {
    const struct cedar_uid *uid;
    uint32_t offset;
    uint32_t end;
};

struct cedar_scope {
    uint8_t kind;    /* enum cedar_scope_kind */
    bool slot;       /* the entity is ?principal or ?resource; count is 0 */
    uint32_t offset; /* of the variable */
    uint32_t end;
    uint32_t type_offset;
    uint32_t count; /* 1 for == and in without a slot, any for IN_SET */
    const struct cedar_scope_entity *entities;
    struct str type; /* normal form; IS and IS_IN */
};

struct cedar_annotation {
    struct str key;
    struct str value; /* "" when there is none */
    bool has_value;
    uint32_t offset; /* of the @ */
    uint32_t end;
};

struct cedar_condition {
    bool unless;
    uint32_t offset; /* of the word when or unless */
    uint32_t end;
    const struct cedar_expr *body;
};

#define CEDAR_SLOT_PRINCIPAL 1u
#define CEDAR_SLOT_RESOURCE 2u

struct cedar_policy {
    struct str id;
    uint8_t effect; /* enum cedar_effect */
    uint8_t slots;  /* CEDAR_SLOT_*: not 0 in a template */
    /* The template of a linked policy, else NULL. Its scopes are filled in
     * here; all else is shared with it. */
    const struct cedar_policy *template;
    struct str text; /* its source, "" when not from text */
    uint32_t offset; /* of text in the whole source; offsets in nodes count
                        from the whole source's start */
    uint32_t line;   /* 1-based; 0 when not from text */
    uint32_t column;
    uint32_t annotation_count;
    uint32_t condition_count;
    const struct cedar_annotation *annotations;
    struct cedar_scope principal;
    struct cedar_scope action;
    struct cedar_scope resource;
    const struct cedar_condition *conditions;
};

/* --- Making nodes (all give NULL when the arena is full, and all but the
 * last argument's memory is kept, not copied). --- */

/* Sets kind, items, height and, where every part is constant and the value
 * cannot fail, the folded value. `path`, `pattern`, `type`, `function` and
 * the offsets are taken from *proto. ERR_NOMEM, ERR_LIMIT (height). */
enum err cedar_expr_make(struct arena *arena, const struct cedar_expr *proto,
    const struct cedar_expr *const *items, uint32_t count,
    const struct cedar_expr **out) MUSTCHECK;

/* The pattern of an escaped `like` literal (the text between the quotes): `*`
 * is a star, `\*` a literal one. ERR_SYNTAX: *bad is the offset. */
enum err cedar_pattern_parse(struct arena *arena, struct str raw,
    const struct cedar_pattern **out, size_t *bad) MUSTCHECK;
bool cedar_pattern_match(const struct cedar_pattern *pattern, struct str text);

/* --- Building a policy set from several sources --- */

struct cedar_builder;

enum err cedar_builder_new(struct cedar_builder **out) MUSTCHECK;
void cedar_builder_free(struct cedar_builder **builder); /* NULL ok */
/* Where policies for cedar_builder_add have to live. */
struct arena *cedar_builder_arena(struct cedar_builder *builder);
/* Parses and adds every policy and template of text, which is copied, with
 * ids policyN counted from `first_number`. With `only_id` (not NULL) text has
 * to hold exactly one policy, which gets that id. */
enum err cedar_builder_add_text(struct cedar_builder *builder, struct str text,
    unsigned first_number, const struct str *only_id,
    struct cedar_diagnostics *diagnostics) MUSTCHECK;
/* Copies *policy (its parts stay where they are, in the builder's arena).
 * ERR_EXISTS: the id is taken. */
enum err cedar_builder_add(struct cedar_builder *builder,
    const struct cedar_policy *policy, struct errinfo *info) MUSTCHECK;
/* Links a template; the uids (NULL: not given) are copied. ERR_NOTFOUND: no
 * such template; ERR_EXISTS: new_id is taken; ERR_INVALID: the uids are not
 * exactly the template's slots. */
enum err cedar_builder_link(struct cedar_builder *builder,
    struct str template_id, struct str new_id,
    const struct cedar_uid *principal, const struct cedar_uid *resource,
    struct errinfo *info) MUSTCHECK;
/* Indexes by scope and gives the immutable set; takes the builder. */
enum err cedar_builder_finish(
    struct cedar_builder **builder, struct cedar_policies **out) MUSTCHECK;

/* --- Text --- */

/* The policy in canonical layout, ending in ";\n". Parses to an equal tree. */
void cedar_policy_print(struct buf *out, const struct cedar_policy *policy);
void cedar_expr_print(struct buf *out, const struct cedar_expr *expr);
/* Same policy but for positions and id. */
bool cedar_policy_same(
    const struct cedar_policy *a, const struct cedar_policy *b);
bool cedar_expr_same(const struct cedar_expr *a, const struct cedar_expr *b);

#endif
