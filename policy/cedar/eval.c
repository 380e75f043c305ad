/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/eval.c - evaluating expressions: Cedar's semantics, exactly.
 *
 * A tree walk that gives 16-byte values in registers; CEDAR_NONE means that
 * the evaluation failed and e->failure says why. Recursion is bounded by the
 * height of trees (CEDAR_EXPR_DEPTH_MAX). Temporary values go to e->arena. */
#include "policy/cedar/cedar_priv.h"

#define BIT(kind) (1u << (kind))
#define LIKELY(x) __builtin_expect(!!(x), 1)

/* --- Failing --------------------------------------------------------------*/

static struct cedar_value fail(struct cedar_evaluation *e,
    const struct cedar_expr *expr, struct cedar_failure failure)
{
    failure.offset = expr->offset;
    failure.policy = e->failure->policy;
    failure.effect = e->failure->effect;
    *e->failure = failure;
    return cedar_none();
}

static struct cedar_value fail_type(struct cedar_evaluation *e,
    const struct cedar_expr *expr, uint32_t wanted, struct cedar_value got)
{
    if (got.kind == CEDAR_NONE)
        return got; /* has failed already */
    return fail(e, expr,
        (struct cedar_failure){
            .code = CEDAR_FAIL_TYPE, .wanted = wanted, .a = got});
}

static struct cedar_value fail_code(struct cedar_evaluation *e,
    const struct cedar_expr *expr, enum cedar_failure_code code)
{
    return fail(e, expr, (struct cedar_failure){.code = code});
}

static bool spend(
    struct cedar_evaluation *e, const struct cedar_expr *expr, uint64_t steps)
{
    if (LIKELY(e->steps > steps)) {
        e->steps -= steps;
        return true;
    }
    e->steps = 0;
    fail_code(e, expr, CEDAR_FAIL_STEPS);
    return false;
}

static struct cedar_value made(struct cedar_evaluation *e,
    const struct cedar_expr *expr, enum err err, struct cedar_value value)
{
    if (err == ERR_OK)
        return value;
    return fail_code(
        e, expr, err == ERR_LIMIT ? CEDAR_FAIL_DEPTH : CEDAR_FAIL_MEMORY);
}

/* --- Entities -------------------------------------------------------------*/

static const struct cedar_node *node_of(
    const struct cedar_evaluation *e, const struct cedar_uid *uid)
{
    for (unsigned i = 0; i < 3; i++)
        if (e->variables[i].entity == uid)
            return e->nodes[i];
    return cedar_entities_node(e->entities, uid);
}

static bool is_in(const struct cedar_evaluation *e,
    const struct cedar_uid *below, const struct cedar_node *below_node,
    const struct cedar_uid *above)
{
    if (cedar_uid_equal(below, above))
        return true;
    if (!below_node || below_node->ancestor_count == 0)
        return false;
    const struct cedar_node *above_node = node_of(e, above);
    return above_node && cedar_node_is_below(below_node, above_node);
}

static bool is_in_set(const struct cedar_evaluation *e,
    const struct cedar_uid *below, const struct cedar_set *set)
{
    const struct cedar_node *node = node_of(e, below);
    if (node && set->count > node->ancestor_count) {
        /* Fewer ancestors than elements: look for those instead. */
        if (cedar_set_contains(set, cedar_entity(below)))
            return true;
        for (uint32_t i = 0; i < node->ancestor_count; i++) {
            const struct cedar_node *above =
                cedar_entities_node_at(e->entities, node->ancestors[i]);
            if (cedar_set_contains(set, cedar_entity(&above->uid)))
                return true;
        }
        return false;
    }
    if (!node)
        return cedar_set_contains(set, cedar_entity(below));
    for (uint32_t i = 0; i < set->count; i++)
        if (is_in(e, below, node, set->items[i].entity))
            return true;
    return false;
}

static struct cedar_value eval_in(struct cedar_evaluation *e,
    const struct cedar_expr *expr, struct cedar_value left,
    const struct cedar_expr *right_expr)
{
    struct cedar_value right = cedar_eval(e, right_expr);
    if (right.kind == CEDAR_NONE)
        return right;
    if (left.kind != CEDAR_ENTITY)
        return fail_type(e, expr->items[0], BIT(CEDAR_ENTITY), left);
    if (right.kind == CEDAR_ENTITY)
        return cedar_bool(
            is_in(e, left.entity, node_of(e, left.entity), right.entity));
    if (right.kind != CEDAR_SET)
        return fail_type(
            e, right_expr, BIT(CEDAR_ENTITY) | BIT(CEDAR_SET), right);
    if (!right.set->all_entities) {
        uint32_t i = 0;
        while (right.set->items[i].kind == CEDAR_ENTITY)
            i++;
        return fail_type(e, right_expr, BIT(CEDAR_ENTITY), right.set->items[i]);
    }
    if (!spend(e, expr, right.set->count))
        return cedar_none();
    return cedar_bool(is_in_set(e, left.entity, right.set));
}

/* --- Attributes and tags --------------------------------------------------*/

static struct cedar_value eval_get(
    struct cedar_evaluation *e, const struct cedar_expr *expr)
{
    struct cedar_value from = cedar_eval(e, expr->items[0]);
    const struct cedar_record *record;
    if (from.kind == CEDAR_RECORD) {
        record = from.record;
    } else if (from.kind == CEDAR_ENTITY) {
        const struct cedar_node *node = node_of(e, from.entity);
        if (!node || !node->attributes)
            return fail(e, expr,
                (struct cedar_failure){
                    .code = CEDAR_FAIL_NO_ENTITY, .a = from});
        record = node->attributes;
    } else {
        return fail_type(
            e, expr->items[0], BIT(CEDAR_RECORD) | BIT(CEDAR_ENTITY), from);
    }
    const struct cedar_value *found = cedar_record_find(record, expr->path[0]);
    if (LIKELY(found))
        return *found;
    return fail(e, expr,
        (struct cedar_failure){.code = CEDAR_FAIL_ATTRIBUTE,
            .a = from,
            .name = cedar_key_str(expr->path[0])});
}

static struct cedar_value eval_has(
    struct cedar_evaluation *e, const struct cedar_expr *expr)
{
    struct cedar_value from = cedar_eval(e, expr->items[0]);
    for (uint32_t i = 0; i < expr->path_count; i++) {
        const struct cedar_record *record = NULL;
        if (from.kind == CEDAR_RECORD) {
            record = from.record;
        } else if (from.kind == CEDAR_ENTITY) {
            const struct cedar_node *node = node_of(e, from.entity);
            record = node ? node->attributes : NULL;
        } else {
            return fail_type(
                e, expr->items[0], BIT(CEDAR_RECORD) | BIT(CEDAR_ENTITY), from);
        }
        const struct cedar_value *found =
            record ? cedar_record_find(record, expr->path[i]) : NULL;
        if (!found)
            return cedar_bool(false);
        from = *found;
    }
    return cedar_bool(true);
}

static struct cedar_value eval_tag(
    struct cedar_evaluation *e, const struct cedar_expr *expr)
{
    struct cedar_value from = cedar_eval(e, expr->items[0]);
    if (from.kind == CEDAR_NONE)
        return from;
    struct cedar_value name = cedar_eval(e, expr->items[1]);
    if (name.kind == CEDAR_NONE)
        return name;
    if (from.kind != CEDAR_ENTITY)
        return fail_type(e, expr->items[0], BIT(CEDAR_ENTITY), from);
    if (name.kind != CEDAR_STRING)
        return fail_type(e, expr->items[1], BIT(CEDAR_STRING), name);
    const struct cedar_node *node = node_of(e, from.entity);
    bool known = node && node->attributes;
    const struct cedar_value *found =
        known ? cedar_record_find(node->tags, cedar_key_make(cedar_text(name)))
              : NULL;
    if (expr->kind == CEDAR_EXPR_HAS_TAG)
        return cedar_bool(found != NULL);
    if (found)
        return *found;
    return fail(e, expr,
        (struct cedar_failure){
            .code = known ? CEDAR_FAIL_TAG : CEDAR_FAIL_NO_ENTITY,
            .a = from,
            .name = cedar_text(name)});
}

/* --- Arithmetic and comparisons -------------------------------------------*/

static struct cedar_value eval_arithmetic(
    struct cedar_evaluation *e, const struct cedar_expr *expr)
{
    struct cedar_value a = cedar_eval(e, expr->items[0]);
    if (a.kind == CEDAR_NONE)
        return a;
    struct cedar_value b = cedar_eval(e, expr->items[1]);
    if (b.kind == CEDAR_NONE)
        return b;
    if (a.kind != CEDAR_LONG)
        return fail_type(e, expr->items[0], BIT(CEDAR_LONG), a);
    if (b.kind != CEDAR_LONG)
        return fail_type(e, expr->items[1], BIT(CEDAR_LONG), b);
    int64_t result;
    bool overflow;
    if (expr->kind == CEDAR_EXPR_ADD)
        overflow = __builtin_add_overflow(a.integer, b.integer, &result);
    else if (expr->kind == CEDAR_EXPR_SUBTRACT)
        overflow = __builtin_sub_overflow(a.integer, b.integer, &result);
    else
        overflow = __builtin_mul_overflow(a.integer, b.integer, &result);
    return overflow ? fail_code(e, expr, CEDAR_FAIL_OVERFLOW)
                    : cedar_long(result);
}

static struct cedar_value eval_negate(
    struct cedar_evaluation *e, const struct cedar_expr *expr)
{
    struct cedar_value a = cedar_eval(e, expr->items[0]);
    int64_t result;
    if (a.kind != CEDAR_LONG)
        return fail_type(e, expr->items[0], BIT(CEDAR_LONG), a);
    if (__builtin_sub_overflow(INT64_C(0), a.integer, &result))
        return fail_code(e, expr, CEDAR_FAIL_OVERFLOW);
    return cedar_long(result);
}

static bool is_ordered(struct cedar_value v)
{
    return v.kind == CEDAR_LONG || v.kind == CEDAR_DATETIME ||
           v.kind == CEDAR_DURATION;
}

static struct cedar_value eval_order(
    struct cedar_evaluation *e, const struct cedar_expr *expr)
{
    struct cedar_value a = cedar_eval(e, expr->items[0]);
    if (a.kind == CEDAR_NONE)
        return a;
    struct cedar_value b = cedar_eval(e, expr->items[1]);
    if (b.kind == CEDAR_NONE)
        return b;
    if (!is_ordered(a))
        return fail_type(e, expr->items[0],
            BIT(CEDAR_LONG) | BIT(CEDAR_DATETIME) | BIT(CEDAR_DURATION), a);
    if (a.kind != b.kind)
        return fail_type(e, expr->items[1], BIT(a.kind), b);
    if (expr->kind == CEDAR_EXPR_LESS)
        return cedar_bool(a.integer < b.integer);
    if (expr->kind == CEDAR_EXPR_LESS_EQUAL)
        return cedar_bool(a.integer <= b.integer);
    if (expr->kind == CEDAR_EXPR_GREATER)
        return cedar_bool(a.integer > b.integer);
    return cedar_bool(a.integer >= b.integer);
}

static struct cedar_value eval_equal(
    struct cedar_evaluation *e, const struct cedar_expr *expr)
{
    struct cedar_value a = cedar_eval(e, expr->items[0]);
    if (a.kind == CEDAR_NONE)
        return a;
    struct cedar_value b = cedar_eval(e, expr->items[1]);
    if (b.kind == CEDAR_NONE)
        return b;
    return cedar_bool(
        cedar_value_equal(a, b) == (expr->kind == CEDAR_EXPR_EQUAL));
}

/* --- Sets and records -----------------------------------------------------*/

static struct cedar_value eval_set(
    struct cedar_evaluation *e, const struct cedar_expr *expr)
{
    struct cedar_value *items =
        ARENA_ARRAY(e->arena, expr->count, struct cedar_value);
    if (!items)
        return fail_code(e, expr, CEDAR_FAIL_MEMORY);
    for (uint32_t i = 0; i < expr->count; i++) {
        items[i] = cedar_eval(e, expr->items[i]);
        if (items[i].kind == CEDAR_NONE)
            return items[i];
    }
    struct cedar_value set = cedar_none();
    enum err err = cedar_set_make(e->arena, items, expr->count, &set);
    return made(e, expr, err, set);
}

static struct cedar_value eval_record(
    struct cedar_evaluation *e, const struct cedar_expr *expr)
{
    struct cedar_field *fields =
        ARENA_ARRAY(e->arena, expr->count, struct cedar_field);
    if (!fields)
        return fail_code(e, expr, CEDAR_FAIL_MEMORY);
    for (uint32_t i = 0; i < expr->count; i++) {
        fields[i].key = expr->path[i];
        fields[i].value = cedar_eval(e, expr->items[i]);
        if (fields[i].value.kind == CEDAR_NONE)
            return fields[i].value;
    }
    struct cedar_value record = cedar_none();
    enum err err = cedar_record_make(e->arena, fields, expr->count, &record);
    return made(e, expr, err, record);
}

/* Both are sorted: the elements of a small b are searched, a large b is
 * merged. */
static bool contains_all(const struct cedar_set *a, const struct cedar_set *b)
{
    if (b->count > a->count)
        return false;
    for (uint32_t i = 0; i < b->count; i++)
        if (!cedar_set_contains(a, b->items[i]))
            return false;
    return true;
}

static bool contains_any(const struct cedar_set *a, const struct cedar_set *b)
{
    const struct cedar_set *small = a->count < b->count ? a : b;
    const struct cedar_set *large = small == a ? b : a;
    for (uint32_t i = 0; i < small->count; i++)
        if (cedar_set_contains(large, small->items[i]))
            return true;
    return false;
}

static struct cedar_value eval_contains(
    struct cedar_evaluation *e, const struct cedar_expr *expr)
{
    struct cedar_value a = cedar_eval(e, expr->items[0]);
    if (a.kind == CEDAR_NONE)
        return a;
    struct cedar_value b = cedar_eval(e, expr->items[1]);
    if (b.kind == CEDAR_NONE)
        return b;
    if (a.kind != CEDAR_SET)
        return fail_type(e, expr->items[0], BIT(CEDAR_SET), a);
    if (expr->kind == CEDAR_EXPR_CONTAINS)
        return cedar_bool(cedar_set_contains(a.set, b));
    if (b.kind != CEDAR_SET)
        return fail_type(e, expr->items[1], BIT(CEDAR_SET), b);
    if (!spend(e, expr, b.set->count))
        return cedar_none();
    return cedar_bool(expr->kind == CEDAR_EXPR_CONTAINS_ALL
                          ? contains_all(a.set, b.set)
                          : contains_any(a.set, b.set));
}

/* --- The rest -------------------------------------------------------------*/

static struct cedar_value eval_like(
    struct cedar_evaluation *e, const struct cedar_expr *expr)
{
    struct cedar_value a = cedar_eval(e, expr->items[0]);
    if (a.kind != CEDAR_STRING)
        return fail_type(e, expr->items[0], BIT(CEDAR_STRING), a);
    return cedar_bool(cedar_pattern_match(expr->pattern, cedar_text(a)));
}

static struct cedar_value eval_is(
    struct cedar_evaluation *e, const struct cedar_expr *expr)
{
    struct cedar_value a = cedar_eval(e, expr->items[0]);
    if (a.kind != CEDAR_ENTITY)
        return fail_type(e, expr->items[0], BIT(CEDAR_ENTITY), a);
    if (!str_equal(a.entity->type, expr->type))
        return cedar_bool(false);
    return expr->count == 1 ? cedar_bool(true)
                            : eval_in(e, expr, a, expr->items[1]);
}

static struct cedar_value eval_call(
    struct cedar_evaluation *e, const struct cedar_expr *expr)
{
    struct cedar_value few[2];
    struct cedar_value *arguments = few;
    if (expr->count > 2)
        arguments = ARENA_ARRAY(e->arena, expr->count, struct cedar_value);
    if (!arguments)
        return fail_code(e, expr, CEDAR_FAIL_MEMORY);
    for (uint32_t i = 0; i < expr->count; i++) {
        arguments[i] = cedar_eval(e, expr->items[i]);
        if (arguments[i].kind == CEDAR_NONE)
            return arguments[i];
    }
    struct cedar_value result;
    size_t at = 0;
    const char *reason = NULL;
    struct cedar_failure failure = {
        .name = cedar_functions[expr->function].name};
    switch (cedar_function_call((enum cedar_function)expr->function, arguments,
        expr->count, e->arena, &result, &at, &reason)) {
    case CEDAR_CALL_OK:
        return result;
    case CEDAR_CALL_COUNT:
        failure.code = CEDAR_FAIL_ARGUMENTS;
        break;
    case CEDAR_CALL_TYPE:
        failure.code = CEDAR_FAIL_TYPE;
        failure.wanted = BIT(cedar_functions[expr->function].arguments[at]);
        failure.a = arguments[at];
        break;
    case CEDAR_CALL_INVALID:
        failure.code = CEDAR_FAIL_EXTENSION;
        failure.a = arguments[0];
        failure.reason = reason;
        break;
    case CEDAR_CALL_OVERFLOW:
        failure.code = CEDAR_FAIL_OVERFLOW;
        break;
    case CEDAR_CALL_NOMEM:
        failure.code = CEDAR_FAIL_MEMORY;
        break;
    }
    return fail(e, expr, failure);
}

static struct cedar_value eval_chain(
    struct cedar_evaluation *e, const struct cedar_expr *expr)
{
    bool any = expr->kind == CEDAR_EXPR_OR;
    for (uint32_t i = 0; i < expr->count; i++) {
        struct cedar_value v = cedar_eval(e, expr->items[i]);
        if (v.kind != CEDAR_BOOL)
            return fail_type(e, expr->items[i], BIT(CEDAR_BOOL), v);
        if (v.boolean == any)
            return v;
    }
    return cedar_bool(!any);
}

static struct cedar_value eval_if(
    struct cedar_evaluation *e, const struct cedar_expr *expr)
{
    struct cedar_value test = cedar_eval(e, expr->items[0]);
    if (test.kind != CEDAR_BOOL)
        return fail_type(e, expr->items[0], BIT(CEDAR_BOOL), test);
    return cedar_eval(e, expr->items[test.boolean ? 1 : 2]);
}

static struct cedar_value eval_not(
    struct cedar_evaluation *e, const struct cedar_expr *expr)
{
    struct cedar_value a = cedar_eval(e, expr->items[0]);
    if (a.kind != CEDAR_BOOL)
        return fail_type(e, expr->items[0], BIT(CEDAR_BOOL), a);
    return cedar_bool(!a.boolean);
}

static struct cedar_value eval_is_empty(
    struct cedar_evaluation *e, const struct cedar_expr *expr)
{
    struct cedar_value a = cedar_eval(e, expr->items[0]);
    if (a.kind != CEDAR_SET)
        return fail_type(e, expr->items[0], BIT(CEDAR_SET), a);
    return cedar_bool(a.set->count == 0);
}

struct cedar_value cedar_eval(
    struct cedar_evaluation *e, const struct cedar_expr *expr)
{
    if (expr->value.kind != CEDAR_NONE)
        return expr->value;
    if (expr->kind == CEDAR_EXPR_VARIABLE)
        return e->variables[expr->variable];
    if (!spend(e, expr, 1))
        return cedar_none();
    switch ((enum cedar_expr_kind)expr->kind) {
    case CEDAR_EXPR_LITERAL:
    case CEDAR_EXPR_VARIABLE:
        break;
    case CEDAR_EXPR_IF:
        return eval_if(e, expr);
    case CEDAR_EXPR_AND:
    case CEDAR_EXPR_OR:
        return eval_chain(e, expr);
    case CEDAR_EXPR_NOT:
        return eval_not(e, expr);
    case CEDAR_EXPR_NEGATE:
        return eval_negate(e, expr);
    case CEDAR_EXPR_EQUAL:
    case CEDAR_EXPR_NOT_EQUAL:
        return eval_equal(e, expr);
    case CEDAR_EXPR_LESS:
    case CEDAR_EXPR_LESS_EQUAL:
    case CEDAR_EXPR_GREATER:
    case CEDAR_EXPR_GREATER_EQUAL:
        return eval_order(e, expr);
    case CEDAR_EXPR_IN: {
        struct cedar_value left = cedar_eval(e, expr->items[0]);
        return left.kind == CEDAR_NONE ? left
                                       : eval_in(e, expr, left, expr->items[1]);
    }
    case CEDAR_EXPR_ADD:
    case CEDAR_EXPR_SUBTRACT:
    case CEDAR_EXPR_MULTIPLY:
        return eval_arithmetic(e, expr);
    case CEDAR_EXPR_CONTAINS:
    case CEDAR_EXPR_CONTAINS_ALL:
    case CEDAR_EXPR_CONTAINS_ANY:
        return eval_contains(e, expr);
    case CEDAR_EXPR_HAS_TAG:
    case CEDAR_EXPR_GET_TAG:
        return eval_tag(e, expr);
    case CEDAR_EXPR_IS_EMPTY:
        return eval_is_empty(e, expr);
    case CEDAR_EXPR_GET:
        return eval_get(e, expr);
    case CEDAR_EXPR_HAS:
        return eval_has(e, expr);
    case CEDAR_EXPR_LIKE:
        return eval_like(e, expr);
    case CEDAR_EXPR_IS:
        return eval_is(e, expr);
    case CEDAR_EXPR_SET:
        return eval_set(e, expr);
    case CEDAR_EXPR_RECORD:
        return eval_record(e, expr);
    case CEDAR_EXPR_CALL:
        return eval_call(e, expr);
    }
    return fail_code(e, expr, CEDAR_FAIL_DEPTH);
}

void cedar_evaluation_init(struct cedar_evaluation *e,
    const struct cedar_entities *entities, const struct cedar_request *request,
    struct arena *arena)
{
    e->entities = entities;
    e->request = request;
    e->arena = arena;
    e->steps = CEDAR_STEPS_DEFAULT;
    e->failure = NULL;
    e->variables[CEDAR_PRINCIPAL] = cedar_entity(request->principal);
    e->variables[CEDAR_ACTION] = cedar_entity(request->action);
    e->variables[CEDAR_RESOURCE] = cedar_entity(request->resource);
    e->variables[CEDAR_CONTEXT] = cedar_record_value(
        request->context ? request->context : &cedar_record_empty);
    for (unsigned i = 0; i < 3; i++)
        e->nodes[i] = cedar_entities_node(entities, e->variables[i].entity);
}

int cedar_eval_conditions(
    struct cedar_evaluation *e, const struct cedar_policy *policy)
{
    for (uint32_t i = 0; i < policy->condition_count; i++) {
        const struct cedar_condition *condition = &policy->conditions[i];
        struct cedar_value v = cedar_eval(e, condition->body);
        if (v.kind != CEDAR_BOOL) {
            fail_type(e, condition->body, BIT(CEDAR_BOOL), v);
            return -1;
        }
        if (v.boolean == condition->unless)
            return 0;
    }
    return 1;
}
