/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/typecheck.c - the type of an expression in one environment, as
 * Cedar's strict mode has it.
 *
 * An error is reported where it is found, once; the expression then has no
 * type, and what contains it says nothing more. Dead code (`false && x`, the
 * untaken branch) is not looked at. Recursion is bounded by the height of
 * expressions. Attributes, tags, `in`: typecheck_access.c. Pure. */
#include "policy/cedar/typecheck_priv.h"

const struct cedar_type checker_true = {.kind = CEDAR_TYPE_TRUE};
const struct cedar_type checker_false = {.kind = CEDAR_TYPE_FALSE};
const struct cedar_type checker_bool = {.kind = CEDAR_TYPE_BOOL};
const struct cedar_type checker_long = {.kind = CEDAR_TYPE_LONG};
const struct cedar_type checker_string = {.kind = CEDAR_TYPE_STRING};

static const struct cedar_type extension_types[] = {
    {.kind = CEDAR_TYPE_EXTENSION, .extension = CEDAR_IP},
    {.kind = CEDAR_TYPE_EXTENSION, .extension = CEDAR_DECIMAL},
    {.kind = CEDAR_TYPE_EXTENSION, .extension = CEDAR_DATETIME},
    {.kind = CEDAR_TYPE_EXTENSION, .extension = CEDAR_DURATION},
};

static struct typing typed(const struct cedar_type *type)
{
    return (struct typing){.type = type};
}

static const struct cedar_type *truth(bool value)
{
    return value ? &checker_true : &checker_false;
}

static const struct cedar_type *negated(const struct cedar_type *type)
{
    return type_is(type, CEDAR_TYPE_TRUE)    ? &checker_false
           : type_is(type, CEDAR_TYPE_FALSE) ? &checker_true
                                             : type;
}

struct typing typecheck_expect(struct checker *c,
    const struct capability *known, const struct cedar_expr *e, unsigned kinds,
    const char *expected)
{
    struct typing t = typecheck(c, known, e);
    if (t.type && !(kinds >> t.type->kind & 1)) {
        char type[SHOWN_MAX], expr[SHOWN_MAX];
        checker_report(c, e->offset, "expected %s, but `%s` is of type %s",
            expected, checker_show_expr(expr, e),
            checker_show_type(type, t.type));
        return typed(NULL);
    }
    return t;
}

static struct typing expect_bool(struct checker *c,
    const struct capability *known, const struct cedar_expr *e)
{
    return typecheck_expect(c, known, e, KINDS_BOOL, "a condition (Bool)");
}

/* --- Leaves --- */

static const struct cedar_type *type_of_entity(
    struct checker *c, const struct cedar_uid *uid)
{
    if (cedar_type_name_is_action(uid->type)) {
        const struct cedar_action *action = cedar_schema_action(c->schema, uid);
        return action ? action->self : NULL;
    }
    const struct cedar_entity_type *type =
        cedar_schema_entity_type(c->schema, uid->type);
    return type ? type->self : NULL;
}

/* Undeclared types and actions have been reported already (validate.c). */
static const struct cedar_type *type_of_literal(
    struct checker *c, struct cedar_value value)
{
    if (value.kind == CEDAR_BOOL) {
        return truth(value.boolean);
    }
    if (value.kind == CEDAR_LONG) {
        return &checker_long;
    }
    return value.kind == CEDAR_ENTITY ? type_of_entity(c, value.entity)
                                      : &checker_string;
}

static const struct cedar_type *type_of_variable(
    struct checker *c, enum cedar_variable variable)
{
    switch (variable) {
    case CEDAR_PRINCIPAL:
        return c->principal->self;
    case CEDAR_ACTION:
        return c->action->self;
    case CEDAR_RESOURCE:
        return c->resource->self;
    case CEDAR_CONTEXT:
        return c->action->context;
    }
    return NULL;
}

/* --- Logic --- */

static struct typing typecheck_and(struct checker *c,
    const struct capability *known, const struct cedar_expr *e)
{
    struct typing all = expect_bool(c, known, e->items[0]);
    bool failed = !all.type;
    for (uint32_t i = 1; i < e->count; i++) {
        if (type_is(all.type, CEDAR_TYPE_FALSE)) {
            return typed(failed ? NULL : &checker_false);
        }
        struct typing next =
            expect_bool(c, capability_union(c, known, all.gains), e->items[i]);
        failed = failed || !next.type;
        if (type_is(next.type, CEDAR_TYPE_FALSE)) {
            return typed(failed ? NULL : &checker_false);
        }
        all.gains = capability_union(c, all.gains, next.gains);
        if (type_is(all.type, CEDAR_TYPE_TRUE)) {
            all.type = next.type ? next.type : &checker_bool;
        } else if (!type_is(next.type, CEDAR_TYPE_TRUE)) {
            all.type = &checker_bool;
        }
    }
    return failed ? (struct typing){NULL, all.gains} : all;
}

static struct typing typecheck_or(struct checker *c,
    const struct capability *known, const struct cedar_expr *e)
{
    struct typing all = expect_bool(c, known, e->items[0]);
    bool failed = !all.type;
    for (uint32_t i = 1; i < e->count; i++) {
        if (type_is(all.type, CEDAR_TYPE_TRUE)) {
            break;
        }
        struct typing next = expect_bool(c, known, e->items[i]);
        failed = failed || !next.type;
        if (type_is(next.type, CEDAR_TYPE_TRUE) ||
            type_is(all.type, CEDAR_TYPE_FALSE)) {
            all = next;
        } else if (!type_is(next.type, CEDAR_TYPE_FALSE)) {
            all.type = &checker_bool;
            all.gains = capability_intersection(c, all.gains, next.gains);
        }
    }
    return failed ? typed(NULL) : all;
}

static void report_join(struct checker *c, const struct cedar_expr *e,
    const char *what, const struct cedar_type *a, const struct cedar_type *b)
{
    char first[SHOWN_MAX], second[SHOWN_MAX];
    checker_report(c, e->mark ? e->mark : e->offset,
        "%s have to be of one type, not %s and %s", what,
        checker_show_type(first, a), checker_show_type(second, b));
}

static struct typing typecheck_if(struct checker *c,
    const struct capability *known, const struct cedar_expr *e)
{
    struct typing test = expect_bool(c, known, e->items[0]);
    struct typing yes = {NULL, NULL}, no = {NULL, NULL};
    if (!type_is(test.type, CEDAR_TYPE_FALSE)) {
        yes = typecheck(c, capability_union(c, known, test.gains), e->items[1]);
        yes.gains = capability_union(c, yes.gains, test.gains);
    }
    if (!type_is(test.type, CEDAR_TYPE_TRUE)) {
        no = typecheck(c, known, e->items[2]);
    }
    if (type_is(test.type, CEDAR_TYPE_TRUE)) {
        return yes;
    }
    if (type_is(test.type, CEDAR_TYPE_FALSE)) {
        return no;
    }
    if (!test.type || !yes.type || !no.type) {
        return typed(NULL);
    }
    struct typing both = {checker_join(c, yes.type, no.type), NULL};
    if (!both.type) {
        report_join(c, e, "both branches of an `if`", yes.type, no.type);
        return both;
    }
    both.gains = capability_intersection(c, yes.gains, no.gains);
    return both;
}

/* --- Comparisons and arithmetic --- */

/* The entity or other literal that an expression is, with `action` replaced
 * by the environment's. */
static bool literal_value(
    struct checker *c, const struct cedar_expr *e, struct cedar_value *out)
{
    if (e->kind == CEDAR_EXPR_LITERAL) {
        *out = e->value;
        return true;
    }
    if (e->kind == CEDAR_EXPR_VARIABLE && e->variable == CEDAR_ACTION) {
        *out = cedar_entity(&c->action->uid);
        return true;
    }
    return false;
}

static struct typing typecheck_equal(struct checker *c,
    const struct capability *known, const struct cedar_expr *e)
{
    struct typing left = typecheck(c, known, e->items[0]);
    struct typing right = typecheck(c, known, e->items[1]);
    struct cedar_value a, b;
    if (!left.type || !right.type) {
        return typed(NULL);
    }
    if (type_is(left.type, CEDAR_TYPE_ENTITY) &&
        type_is(right.type, CEDAR_TYPE_ENTITY) &&
        !str_equal(left.type->name, right.type->name)) {
        return typed(&checker_false);
    }
    if (literal_value(c, e->items[0], &a) &&
        literal_value(c, e->items[1], &b)) {
        return typed(truth(cedar_value_equal(a, b)));
    }
    if (!checker_join(c, left.type, right.type)) {
        report_join(c, e, "both sides of a comparison", left.type, right.type);
        return typed(NULL);
    }
    return typed(&checker_bool);
}

static bool is_ordered(const struct cedar_type *type)
{
    return type->kind == CEDAR_TYPE_LONG ||
           (type->kind == CEDAR_TYPE_EXTENSION &&
               (type->extension == CEDAR_DATETIME ||
                   type->extension == CEDAR_DURATION));
}

static struct typing typecheck_order(struct checker *c,
    const struct capability *known, const struct cedar_expr *e)
{
    struct typing left = typecheck(c, known, e->items[0]);
    struct typing right = typecheck(c, known, e->items[1]);
    if (!left.type || !right.type) {
        return typed(NULL);
    }
    for (int i = 0; i < 2; i++) {
        const struct cedar_type *type = i == 0 ? left.type : right.type;
        if (!is_ordered(type)) {
            char expr[SHOWN_MAX], shown[SHOWN_MAX];
            checker_report(c, e->items[i]->offset,
                "only Long, datetime and duration have an order, but `%s` is "
                "of type %s%s",
                checker_show_expr(expr, e->items[i]),
                checker_show_type(shown, type),
                type->kind == CEDAR_TYPE_EXTENSION &&
                        type->extension == CEDAR_DECIMAL
                    ? "; decimals are compared by x.lessThan(y) and the like"
                    : "");
            return typed(NULL);
        }
    }
    if (left.type->kind != right.type->kind ||
        left.type->extension != right.type->extension) {
        report_join(c, e, "both sides of a comparison", left.type, right.type);
        return typed(NULL);
    }
    return typed(&checker_bool);
}

static struct typing typecheck_arithmetic(struct checker *c,
    const struct capability *known, const struct cedar_expr *e)
{
    bool failed = false;
    for (uint32_t i = 0; i < e->count; i++) {
        struct typing operand = typecheck_expect(
            c, known, e->items[i], 1u << CEDAR_TYPE_LONG, "a number (Long)");
        failed = failed || !operand.type;
    }
    return typed(failed ? NULL : &checker_long);
}

/* --- Sets and records --- */

#define KIND_SET (1u << CEDAR_TYPE_SET)

static struct typing typecheck_contains(struct checker *c,
    const struct capability *known, const struct cedar_expr *e)
{
    struct typing set =
        typecheck_expect(c, known, e->items[0], KIND_SET, "a set");
    bool single = e->kind == CEDAR_EXPR_CONTAINS;
    struct typing other =
        single ? typecheck(c, known, e->items[1])
               : typecheck_expect(c, known, e->items[1], KIND_SET, "a set");
    if (!set.type || !other.type) {
        return typed(NULL);
    }
    const struct cedar_type *mine = single ? set.type->element : set.type;
    if (!checker_join(c, mine, other.type)) {
        report_join(c, e,
            single ? "the set's elements and what is looked for" : "both sets",
            mine, other.type);
        return typed(NULL);
    }
    return typed(&checker_bool);
}

static struct typing typecheck_is_empty(struct checker *c,
    const struct capability *known, const struct cedar_expr *e)
{
    struct typing set =
        typecheck_expect(c, known, e->items[0], KIND_SET, "a set");
    return typed(set.type ? &checker_bool : NULL);
}

static struct typing typecheck_set(struct checker *c,
    const struct capability *known, const struct cedar_expr *e)
{
    const struct cedar_type *all = NULL;
    bool failed = false;
    for (uint32_t i = 0; i < e->count; i++) {
        struct typing item = typecheck(c, known, e->items[i]);
        if (!item.type || failed) {
            failed = true;
            continue;
        }
        const struct cedar_type *joined =
            all ? checker_join(c, all, item.type) : item.type;
        if (!joined) {
            report_join(c, e, "the elements of a set", all, item.type);
            failed = true;
        }
        all = joined;
    }
    if (e->count == 0) {
        checker_report(c, e->offset,
            "an empty set has no type and cannot stand here; to ask whether a "
            "set is empty write x.isEmpty()");
    }
    return typed(failed || !all ? NULL : checker_set_of(c, all));
}

static struct typing typecheck_record(struct checker *c,
    const struct capability *known, const struct cedar_expr *e)
{
    struct cedar_attribute *attributes =
        ARENA_ARRAY(c->arena, e->count + 1u, struct cedar_attribute);
    bool failed = false;
    if (!attributes) {
        c->no_memory = true;
        return typed(NULL);
    }
    for (uint32_t i = 0; i < e->count; i++) {
        struct typing item = typecheck(c, known, e->items[i]);
        failed = failed || !item.type;
        attributes[i] = (struct cedar_attribute){
            .key = e->path[i], .required = true, .type = item.type};
    }
    return typed(failed ? NULL : checker_record_of(c, attributes, e->count));
}

/* --- Extension functions --- */

static const struct cedar_type *type_of_kind(enum cedar_kind kind)
{
    for (size_t i = 0; i < 4; i++) {
        if (extension_types[i].extension == kind) {
            return &extension_types[i];
        }
    }
    return kind == CEDAR_BOOL   ? &checker_bool
           : kind == CEDAR_LONG ? &checker_long
                                : &checker_string;
}

/* A constructor needs a text that is written out and can be read. */
static bool check_constructor(struct checker *c, const struct cedar_expr *e,
    const struct cedar_function_info *info)
{
    const struct cedar_expr *argument = e->items[0];
    if (argument->kind != CEDAR_EXPR_LITERAL) {
        checker_report(c, argument->offset,
            "%.*s(..) takes a text in double quotes, not something computed",
            STR_ARG(info->name));
        return false;
    }
    if (argument->value.kind != CEDAR_STRING) {
        return true; /* the type check says so */
    }
    size_t at = 0;
    const char *reason = "";
    struct cedar_value value;
    switch (cedar_function_call((enum cedar_function)e->function,
        &argument->value, 1, c->arena, &value, &at, &reason)) {
    case CEDAR_CALL_INVALID:
        checker_report(
            c, argument->offset, "%.*s: %s", STR_ARG(info->name), reason);
        return false;
    case CEDAR_CALL_NOMEM:
        c->no_memory = true;
        return false;
    case CEDAR_CALL_OK:
    case CEDAR_CALL_COUNT:
    case CEDAR_CALL_TYPE:
    case CEDAR_CALL_OVERFLOW:
        break;
    }
    return true;
}

static struct typing typecheck_call(struct checker *c,
    const struct capability *known, const struct cedar_expr *e)
{
    const struct cedar_function_info *info = &cedar_functions[e->function];
    bool failed = false;
    if (e->count != info->argument_count) {
        checker_report(c, e->mark ? e->mark : e->offset,
            "%.*s takes %d argument(s) in its parentheses, not %d",
            STR_ARG(info->name), info->argument_count - info->is_method,
            (int)e->count - info->is_method);
        return typed(NULL);
    }
    if (info->arguments[0] == CEDAR_STRING && !info->is_method) {
        failed = !check_constructor(c, e, info);
    }
    for (uint32_t i = 0; i < e->count; i++) {
        const struct cedar_type *wanted =
            type_of_kind((enum cedar_kind)info->arguments[i]);
        struct typing argument = typecheck(c, known, e->items[i]);
        failed = failed || !argument.type;
        if (argument.type &&
            (argument.type->kind != wanted->kind ||
                argument.type->extension != wanted->extension)) {
            char type[SHOWN_MAX], shown[SHOWN_MAX], expr[SHOWN_MAX];
            checker_report(c, e->items[i]->offset,
                "%.*s wants the type %s, but `%s` is of type %s",
                STR_ARG(info->name), checker_show_type(type, wanted),
                checker_show_expr(expr, e->items[i]),
                checker_show_type(shown, argument.type));
            failed = true;
        }
    }
    return typed(failed ? NULL : type_of_kind((enum cedar_kind)info->result));
}

/* --- All of them --- */

static struct typing typecheck_like(struct checker *c,
    const struct capability *known, const struct cedar_expr *e)
{
    struct typing text = typecheck_expect(
        c, known, e->items[0], 1u << CEDAR_TYPE_STRING, "a text (String)");
    return typed(text.type ? &checker_bool : NULL);
}

struct typing typecheck(struct checker *c, const struct capability *known,
    const struct cedar_expr *e)
{
    struct typing t;
    if (!checker_step(c)) {
        return typed(NULL);
    }
    switch ((enum cedar_expr_kind)e->kind) {
    case CEDAR_EXPR_LITERAL:
        return typed(type_of_literal(c, e->value));
    case CEDAR_EXPR_VARIABLE:
        return typed(type_of_variable(c, (enum cedar_variable)e->variable));
    case CEDAR_EXPR_IF:
        return typecheck_if(c, known, e);
    case CEDAR_EXPR_AND:
        return typecheck_and(c, known, e);
    case CEDAR_EXPR_OR:
        return typecheck_or(c, known, e);
    case CEDAR_EXPR_NOT:
        return typed(negated(expect_bool(c, known, e->items[0]).type));
    case CEDAR_EXPR_EQUAL:
        return typecheck_equal(c, known, e);
    case CEDAR_EXPR_NOT_EQUAL:
        t = typecheck_equal(c, known, e);
        return typed(negated(t.type));
    case CEDAR_EXPR_LESS:
    case CEDAR_EXPR_LESS_EQUAL:
    case CEDAR_EXPR_GREATER:
    case CEDAR_EXPR_GREATER_EQUAL:
        return typecheck_order(c, known, e);
    case CEDAR_EXPR_IN:
        return typecheck_in(c, known, e, e->items[0], e->items[1]);
    case CEDAR_EXPR_NEGATE:
    case CEDAR_EXPR_ADD:
    case CEDAR_EXPR_SUBTRACT:
    case CEDAR_EXPR_MULTIPLY:
        return typecheck_arithmetic(c, known, e);
    case CEDAR_EXPR_CONTAINS:
    case CEDAR_EXPR_CONTAINS_ALL:
    case CEDAR_EXPR_CONTAINS_ANY:
        return typecheck_contains(c, known, e);
    case CEDAR_EXPR_IS_EMPTY:
        return typecheck_is_empty(c, known, e);
    case CEDAR_EXPR_HAS_TAG:
        return typecheck_has_tag(c, known, e);
    case CEDAR_EXPR_GET_TAG:
        return typecheck_get_tag(c, known, e);
    case CEDAR_EXPR_GET:
        return typecheck_get(c, known, e);
    case CEDAR_EXPR_HAS:
        return typecheck_has(c, known, e);
    case CEDAR_EXPR_LIKE:
        return typecheck_like(c, known, e);
    case CEDAR_EXPR_IS:
        return typecheck_is(c, known, e);
    case CEDAR_EXPR_SET:
        return typecheck_set(c, known, e);
    case CEDAR_EXPR_RECORD:
        return typecheck_record(c, known, e);
    case CEDAR_EXPR_CALL:
        return typecheck_call(c, known, e);
    }
    return typed(NULL);
}
