/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/typecheck_priv.h - what the validator's files share. */
#ifndef POLICY_CEDAR_TYPECHECK_PRIV_H
#define POLICY_CEDAR_TYPECHECK_PRIV_H

#include "policy/cedar/ast.h"
#include "policy/cedar/validate.h"

/* "`on` has the attribute" or "`on` has the tag": known to hold where the
 * check goes on. Lists are shared and never changed. */
struct capability {
    const struct cedar_expr *on;
    struct cedar_key attribute;   /* when tag is NULL */
    const struct cedar_expr *tag; /* the tag's name, as an expression */
    uint32_t hash;
    const struct capability *next;
};

/* What is known of an expression: its type (NULL: there was an error) and what
 * holds when it is true. */
struct typing {
    const struct cedar_type *type;
    const struct capability *gains;
};

struct checker {
    const struct cedar_schema *schema;
    struct cedar_diagnostics *findings;
    struct str source;
    struct arena *arena; /* for types and capabilities; reset often */
    const struct cedar_policy *policy;
    /* The environment */
    const struct cedar_entity_type *principal;
    const struct cedar_action *action;
    const struct cedar_entity_type *resource;
    uint64_t steps; /* left */
    bool no_memory;
};

/* --- validate.c --- */
void checker_report(struct checker *c, uint32_t offset, const char *format, ...)
    PRINTFLIKE(3, 4);
/* False once the work is too much or memory is out; both are recorded. */
bool checker_step(struct checker *c);

/* --- typecheck.c --- */
extern const struct cedar_type checker_true, checker_false, checker_bool,
    checker_long, checker_string;
static inline bool type_is(
    const struct cedar_type *type, enum cedar_type_kind kind)
{
    return type && type->kind == kind;
}
static inline bool type_is_bool(const struct cedar_type *type)
{
    return type && type->kind <= CEDAR_TYPE_BOOL;
}
struct typing typecheck(struct checker *c, const struct capability *known,
    const struct cedar_expr *e);
/* Like typecheck; an error when the type is none of the kinds (1u << kind). */
struct typing typecheck_expect(struct checker *c,
    const struct capability *known, const struct cedar_expr *e, unsigned kinds,
    const char *expected);
#define KINDS_BOOL                                                             \
    (1u << CEDAR_TYPE_TRUE | 1u << CEDAR_TYPE_FALSE | 1u << CEDAR_TYPE_BOOL)

/* --- typecheck_access.c: attributes, tags, `in`, `is` --- */
struct typing typecheck_get(struct checker *c, const struct capability *known,
    const struct cedar_expr *e);
struct typing typecheck_has(struct checker *c, const struct capability *known,
    const struct cedar_expr *e);
struct typing typecheck_has_tag(struct checker *c,
    const struct capability *known, const struct cedar_expr *e);
struct typing typecheck_get_tag(struct checker *c,
    const struct capability *known, const struct cedar_expr *e);
struct typing typecheck_is(struct checker *c, const struct capability *known,
    const struct cedar_expr *e);
struct typing typecheck_in(struct checker *c, const struct capability *known,
    const struct cedar_expr *e, const struct cedar_expr *left,
    const struct cedar_expr *right);
/* Can an entity of one type be in one of the other (or be it)? */
bool checker_type_in(
    struct checker *c, const struct cedar_type *a, const struct cedar_type *b);

/* --- typecheck_types.c --- */
/* The type that both fit, NULL when there is none. */
const struct cedar_type *checker_join(
    struct checker *c, const struct cedar_type *a, const struct cedar_type *b);
const struct cedar_type *checker_set_of(
    struct checker *c, const struct cedar_type *element);
/* `attributes` is sorted in place and kept. */
const struct cedar_type *checker_record_of(
    struct checker *c, struct cedar_attribute *attributes, uint32_t count);
/* Into a static-sized buffer, cut when long; for messages. */
#define SHOWN_MAX 160
const char *checker_show_type(
    char shown[SHOWN_MAX], const struct cedar_type *type);
const char *checker_show_expr(
    char shown[SHOWN_MAX], const struct cedar_expr *e);

bool capability_is_known(struct checker *c, const struct capability *known,
    const struct cedar_expr *on, const struct cedar_key *attribute,
    const struct cedar_expr *tag);
const struct capability *capability_new(struct checker *c,
    const struct cedar_expr *on, const struct cedar_key *attribute,
    const struct cedar_expr *tag);
/* What is in either, or in both. */
const struct capability *capability_union(
    struct checker *c, const struct capability *a, const struct capability *b);
const struct capability *capability_intersection(
    struct checker *c, const struct capability *a, const struct capability *b);

#endif
