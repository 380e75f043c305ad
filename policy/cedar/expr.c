/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/expr.c - making expression nodes: heights, duplicate keys,
 * folding of what is constant. Pure. */
#include "policy/cedar/cedar_priv.h"

/* Checks for duplicate keys; folds when every value is constant. */
static enum err finish_record(struct arena *arena, struct cedar_expr *expr)
{
    struct cedar_field *fields =
        ARENA_ARRAY(arena, expr->count, struct cedar_field);
    struct cedar_record *record = ARENA_NEW(arena, struct cedar_record);
    if (!fields || !record)
        return ERR_NOMEM;
    bool constant = true;
    for (uint32_t i = 0; i < expr->count; i++) {
        fields[i].key = expr->path[i];
        fields[i].value = expr->items[i]->value;
        constant = constant && fields[i].value.kind != CEDAR_NONE;
    }
    enum err err = cedar_record_init(record, fields, expr->count);
    if (err == ERR_LIMIT)
        return ERR_OK; /* too deep a value: fails when evaluated */
    if (err == ERR_OK && constant)
        expr->value = cedar_record_value(record);
    return err;
}

static enum err constant_items(struct arena *arena,
    const struct cedar_expr *expr, struct cedar_value **out)
{
    *out = NULL;
    for (uint32_t i = 0; i < expr->count; i++)
        if (expr->items[i]->value.kind == CEDAR_NONE)
            return ERR_OK;
    struct cedar_value *values =
        ARENA_ARRAY(arena, expr->count, struct cedar_value);
    if (!values)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < expr->count; i++)
        values[i] = expr->items[i]->value;
    *out = values;
    return ERR_OK;
}

static enum err fold_set(struct arena *arena, struct cedar_expr *expr)
{
    struct cedar_value *values;
    enum err err = constant_items(arena, expr, &values);
    if (err != ERR_OK || !values)
        return err;
    err = cedar_set_make(arena, values, expr->count, &expr->value);
    return err == ERR_LIMIT ? ERR_OK : err;
}

static enum err fold_call(struct arena *arena, struct cedar_expr *expr)
{
    struct cedar_value *values;
    enum err err = constant_items(arena, expr, &values);
    if (err != ERR_OK || !values)
        return err;
    size_t at;
    const char *reason;
    struct cedar_value value;
    switch (cedar_function_call((enum cedar_function)expr->function, values,
        expr->count, arena, &value, &at, &reason)) {
    case CEDAR_CALL_OK:
        expr->value = value;
        return ERR_OK;
    case CEDAR_CALL_NOMEM:
        return ERR_NOMEM;
    case CEDAR_CALL_COUNT:
    case CEDAR_CALL_TYPE:
    case CEDAR_CALL_INVALID:
    case CEDAR_CALL_OVERFLOW:
        break;
    }
    return ERR_OK; /* fails when evaluated, and only then */
}

static void fold_negate(struct cedar_expr *expr)
{
    struct cedar_value operand = expr->items[0]->value;
    int64_t result;
    if (operand.kind == CEDAR_LONG &&
        !__builtin_sub_overflow(INT64_C(0), operand.integer, &result))
        expr->value = cedar_long(result);
}

enum err cedar_expr_make(struct arena *arena, const struct cedar_expr *proto,
    const struct cedar_expr *const *items, uint32_t count,
    const struct cedar_expr **out)
{
    unsigned height = 0;
    for (uint32_t i = 0; i < count; i++)
        if (items[i]->height > height)
            height = items[i]->height;
    if (height >= CEDAR_EXPR_DEPTH_MAX)
        return ERR_LIMIT;
    struct cedar_expr *expr = arena_alloc(arena, sizeof *expr);
    if (!expr)
        return ERR_NOMEM;
    *expr = *proto;
    expr->height = (uint16_t)(height + 1);
    expr->items = items;
    expr->count = count;
    enum err err = ERR_OK;
    if (expr->kind == CEDAR_EXPR_SET)
        err = fold_set(arena, expr);
    else if (expr->kind == CEDAR_EXPR_RECORD)
        err = finish_record(arena, expr);
    else if (expr->kind == CEDAR_EXPR_CALL)
        err = fold_call(arena, expr);
    else if (expr->kind == CEDAR_EXPR_NEGATE)
        fold_negate(expr);
    if (err == ERR_OK)
        *out = expr;
    return err;
}

/* --- Sameness -------------------------------------------------------------*/

static bool same_path(const struct cedar_expr *a, const struct cedar_expr *b)
{
    if (a->path_count != b->path_count)
        return false;
    for (uint32_t i = 0; i < a->path_count; i++)
        if (!cedar_key_equal(a->path[i], b->path[i]))
            return false;
    return true;
}

static bool same_pattern(
    const struct cedar_pattern *a, const struct cedar_pattern *b)
{
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (!str_equal(a->pieces[i], b->pieces[i]))
            return false;
    return true;
}

/* Recursion is bounded by the height of trees. */
bool cedar_expr_same(const struct cedar_expr *a, const struct cedar_expr *b)
{
    if (a->kind != b->kind || a->count != b->count)
        return false;
    if (a->kind == CEDAR_EXPR_LITERAL && !cedar_value_equal(a->value, b->value))
        return false;
    if (a->kind == CEDAR_EXPR_VARIABLE && a->variable != b->variable)
        return false;
    if (a->kind == CEDAR_EXPR_CALL && a->function != b->function)
        return false;
    if (a->kind == CEDAR_EXPR_IS && !str_equal(a->type, b->type))
        return false;
    if (a->kind == CEDAR_EXPR_LIKE && !same_pattern(a->pattern, b->pattern))
        return false;
    if ((a->kind == CEDAR_EXPR_GET || a->kind == CEDAR_EXPR_HAS ||
            a->kind == CEDAR_EXPR_RECORD) &&
        !same_path(a, b))
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (!cedar_expr_same(a->items[i], b->items[i]))
            return false;
    return true;
}

static bool same_scope(const struct cedar_scope *a, const struct cedar_scope *b)
{
    if (a->kind != b->kind || a->slot != b->slot || a->count != b->count ||
        !str_equal(a->type, b->type))
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (!cedar_uid_equal(a->entities[i].uid, b->entities[i].uid))
            return false;
    return true;
}

bool cedar_policy_same(
    const struct cedar_policy *a, const struct cedar_policy *b)
{
    if (a->effect != b->effect || a->slots != b->slots ||
        a->annotation_count != b->annotation_count ||
        a->condition_count != b->condition_count ||
        !same_scope(&a->principal, &b->principal) ||
        !same_scope(&a->action, &b->action) ||
        !same_scope(&a->resource, &b->resource))
        return false;
    for (uint32_t i = 0; i < a->annotation_count; i++)
        if (!str_equal(a->annotations[i].key, b->annotations[i].key) ||
            !str_equal(a->annotations[i].value, b->annotations[i].value) ||
            a->annotations[i].has_value != b->annotations[i].has_value)
            return false;
    for (uint32_t i = 0; i < a->condition_count; i++)
        if (a->conditions[i].unless != b->conditions[i].unless ||
            !cedar_expr_same(a->conditions[i].body, b->conditions[i].body))
            return false;
    return true;
}
