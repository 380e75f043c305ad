/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/eval.c - evaluating expressions: Cedar's semantics, exactly.
 *
 * A walk over compiled nodes (code.c) that gives 16-byte values in registers;
 * CEDAR_NONE means that the evaluation failed and e->failure says why.
 * Recursion is bounded by the height of trees (CEDAR_EXPR_DEPTH_MAX). Temporary
 * values go to e->arena. */
#include "policy/cedar/cedar_priv.h"

#define BIT(kind) (1u << (kind))
#define LIKELY(x) __builtin_expect(!!(x), 1)
/* Keeps what is rare out of the walk, which then needs little stack. */
#define APART __attribute__((noinline))

/* Children stand behind their parent, each followed by its own. */
static const struct cedar_code *first(const struct cedar_code *code)
{
    return code + 1;
}

static const struct cedar_code *second(const struct cedar_code *code)
{
    return code + 1 + code[1].size;
}

static struct cedar_value eval_inner(
    struct cedar_evaluation *e, const struct cedar_code *code);

/* Leaves without a call. */
static inline struct cedar_value eval(
    struct cedar_evaluation *e, const struct cedar_code *code)
{
    if (code->kind == CEDAR_EXPR_LITERAL)
        return code->value;
    if (code->kind == CEDAR_EXPR_VARIABLE)
        return e->variables[code->detail];
    return eval_inner(e, code);
}

/* --- Failing --------------------------------------------------------------*/

APART static struct cedar_value fail(struct cedar_evaluation *e,
    const struct cedar_code *code, struct cedar_failure failure)
{
    failure.offset = code->offset;
    failure.policy = e->failure->policy;
    failure.effect = e->failure->effect;
    *e->failure = failure;
    return cedar_none();
}

APART static struct cedar_value fail_type(struct cedar_evaluation *e,
    const struct cedar_code *code, uint32_t wanted, struct cedar_value got)
{
    if (got.kind == CEDAR_NONE)
        return got; /* has failed already */
    return fail(e, code,
        (struct cedar_failure){
            .code = CEDAR_FAIL_TYPE, .wanted = wanted, .a = got});
}

static struct cedar_value fail_code(struct cedar_evaluation *e,
    const struct cedar_code *code, enum cedar_failure_code why)
{
    return fail(e, code, (struct cedar_failure){.code = why});
}

static bool spend(
    struct cedar_evaluation *e, const struct cedar_code *code, uint64_t steps)
{
    if (LIKELY(e->steps > steps)) {
        e->steps -= steps;
        return true;
    }
    e->steps = 0;
    fail_code(e, code, CEDAR_FAIL_STEPS);
    return false;
}

static struct cedar_value made(struct cedar_evaluation *e,
    const struct cedar_code *code, enum err err, struct cedar_value value)
{
    if (err == ERR_OK)
        return value;
    return fail_code(
        e, code, err == ERR_LIMIT ? CEDAR_FAIL_DEPTH : CEDAR_FAIL_MEMORY);
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
    const struct cedar_code *code, struct cedar_value left,
    const struct cedar_code *right_code)
{
    struct cedar_value right = eval(e, right_code);
    if (right.kind == CEDAR_NONE)
        return right;
    if (left.kind != CEDAR_ENTITY)
        return fail_type(e, first(code), BIT(CEDAR_ENTITY), left);
    if (right.kind == CEDAR_ENTITY)
        return cedar_bool(
            is_in(e, left.entity, node_of(e, left.entity), right.entity));
    if (right.kind != CEDAR_SET)
        return fail_type(
            e, right_code, BIT(CEDAR_ENTITY) | BIT(CEDAR_SET), right);
    if (!right.set->all_entities) {
        uint32_t i = 0;
        while (right.set->items[i].kind == CEDAR_ENTITY)
            i++;
        return fail_type(e, right_code, BIT(CEDAR_ENTITY), right.set->items[i]);
    }
    if (!spend(e, code, right.set->count))
        return cedar_none();
    return cedar_bool(is_in_set(e, left.entity, right.set));
}

/* --- Attributes and tags --------------------------------------------------*/

/* An attribute of the context, which every policy sees alike. */
static const struct cedar_value *context_slot(
    struct cedar_evaluation *e, const struct cedar_code *code)
{
    unsigned slot = code->detail - 1u;
    uint64_t bit = UINT64_C(1) << slot;
    if (!(e->slots_known & bit)) {
        e->slots_known |= bit;
        e->slots[slot] =
            cedar_record_find(e->variables[CEDAR_CONTEXT].record, code->key);
    }
    return e->slots[slot];
}

static struct cedar_value eval_get(
    struct cedar_evaluation *e, const struct cedar_code *code)
{
    if (code->detail) {
        const struct cedar_value *found = context_slot(e, code);
        if (LIKELY(found))
            return *found;
    }
    struct cedar_value from = eval(e, first(code));
    const struct cedar_record *record;
    if (from.kind == CEDAR_RECORD) {
        record = from.record;
    } else if (from.kind == CEDAR_ENTITY) {
        const struct cedar_node *node = node_of(e, from.entity);
        if (!node || !node->attributes)
            return fail(e, code,
                (struct cedar_failure){
                    .code = CEDAR_FAIL_NO_ENTITY, .a = from});
        record = node->attributes;
    } else {
        return fail_type(
            e, first(code), BIT(CEDAR_RECORD) | BIT(CEDAR_ENTITY), from);
    }
    const struct cedar_value *found = cedar_record_find(record, code->key);
    if (LIKELY(found))
        return *found;
    return fail(e, code,
        (struct cedar_failure){.code = CEDAR_FAIL_ATTRIBUTE,
            .a = from,
            .name = cedar_key_str(code->key)});
}

static struct cedar_value eval_has(
    struct cedar_evaluation *e, const struct cedar_code *code)
{
    if (code->detail)
        return cedar_bool(context_slot(e, code) != NULL);
    struct cedar_value from = eval(e, first(code));
    const struct cedar_key *path = code->count == 1 ? &code->key : code->path;
    for (uint32_t i = 0; i < code->count; i++) {
        const struct cedar_record *record = NULL;
        if (from.kind == CEDAR_RECORD) {
            record = from.record;
        } else if (from.kind == CEDAR_ENTITY) {
            const struct cedar_node *node = node_of(e, from.entity);
            record = node ? node->attributes : NULL;
        } else {
            return fail_type(
                e, first(code), BIT(CEDAR_RECORD) | BIT(CEDAR_ENTITY), from);
        }
        const struct cedar_value *found =
            record ? cedar_record_find(record, path[i]) : NULL;
        if (!found)
            return cedar_bool(false);
        from = *found;
    }
    return cedar_bool(true);
}

APART static struct cedar_value eval_tag(
    struct cedar_evaluation *e, const struct cedar_code *code)
{
    struct cedar_value from = eval(e, first(code));
    if (from.kind == CEDAR_NONE)
        return from;
    struct cedar_value name = eval(e, second(code));
    if (name.kind == CEDAR_NONE)
        return name;
    if (from.kind != CEDAR_ENTITY)
        return fail_type(e, first(code), BIT(CEDAR_ENTITY), from);
    if (name.kind != CEDAR_STRING)
        return fail_type(e, second(code), BIT(CEDAR_STRING), name);
    const struct cedar_node *node = node_of(e, from.entity);
    bool known = node && node->attributes;
    const struct cedar_value *found =
        known ? cedar_record_find(node->tags, cedar_key_make(cedar_text(name)))
              : NULL;
    if (code->kind == CEDAR_EXPR_HAS_TAG)
        return cedar_bool(found != NULL);
    if (found)
        return *found;
    return fail(e, code,
        (struct cedar_failure){
            .code = known ? CEDAR_FAIL_TAG : CEDAR_FAIL_NO_ENTITY,
            .a = from,
            .name = cedar_text(name)});
}

/* --- Arithmetic and comparisons -------------------------------------------*/

static struct cedar_value eval_arithmetic(
    struct cedar_evaluation *e, const struct cedar_code *code)
{
    struct cedar_value a = eval(e, first(code));
    if (a.kind == CEDAR_NONE)
        return a;
    struct cedar_value b = eval(e, second(code));
    if (b.kind == CEDAR_NONE)
        return b;
    if (a.kind != CEDAR_LONG)
        return fail_type(e, first(code), BIT(CEDAR_LONG), a);
    if (b.kind != CEDAR_LONG)
        return fail_type(e, second(code), BIT(CEDAR_LONG), b);
    int64_t result;
    bool overflow;
    if (code->kind == CEDAR_EXPR_ADD)
        overflow = __builtin_add_overflow(a.integer, b.integer, &result);
    else if (code->kind == CEDAR_EXPR_SUBTRACT)
        overflow = __builtin_sub_overflow(a.integer, b.integer, &result);
    else
        overflow = __builtin_mul_overflow(a.integer, b.integer, &result);
    return overflow ? fail_code(e, code, CEDAR_FAIL_OVERFLOW)
                    : cedar_long(result);
}

static struct cedar_value eval_negate(
    struct cedar_evaluation *e, const struct cedar_code *code)
{
    struct cedar_value a = eval(e, first(code));
    int64_t result;
    if (a.kind != CEDAR_LONG)
        return fail_type(e, first(code), BIT(CEDAR_LONG), a);
    if (__builtin_sub_overflow(INT64_C(0), a.integer, &result))
        return fail_code(e, code, CEDAR_FAIL_OVERFLOW);
    return cedar_long(result);
}

static bool is_ordered(struct cedar_value v)
{
    return v.kind == CEDAR_LONG || v.kind == CEDAR_DATETIME ||
           v.kind == CEDAR_DURATION;
}

static struct cedar_value eval_order(
    struct cedar_evaluation *e, const struct cedar_code *code)
{
    struct cedar_value a = eval(e, first(code));
    if (a.kind == CEDAR_NONE)
        return a;
    struct cedar_value b = eval(e, second(code));
    if (b.kind == CEDAR_NONE)
        return b;
    if (!is_ordered(a))
        return fail_type(e, first(code),
            BIT(CEDAR_LONG) | BIT(CEDAR_DATETIME) | BIT(CEDAR_DURATION), a);
    if (a.kind != b.kind)
        return fail_type(e, second(code), BIT(a.kind), b);
    if (code->kind == CEDAR_EXPR_LESS)
        return cedar_bool(a.integer < b.integer);
    if (code->kind == CEDAR_EXPR_LESS_EQUAL)
        return cedar_bool(a.integer <= b.integer);
    if (code->kind == CEDAR_EXPR_GREATER)
        return cedar_bool(a.integer > b.integer);
    return cedar_bool(a.integer >= b.integer);
}

static struct cedar_value eval_equal(
    struct cedar_evaluation *e, const struct cedar_code *code)
{
    struct cedar_value a = eval(e, first(code));
    if (a.kind == CEDAR_NONE)
        return a;
    struct cedar_value b = eval(e, second(code));
    if (b.kind == CEDAR_NONE)
        return b;
    return cedar_bool(
        cedar_value_equal(a, b) == (code->kind == CEDAR_EXPR_EQUAL));
}

/* --- Sets and records -----------------------------------------------------*/

APART static struct cedar_value eval_set(
    struct cedar_evaluation *e, const struct cedar_code *code)
{
    struct cedar_value *items =
        ARENA_ARRAY(e->arena, code->count, struct cedar_value);
    if (!items)
        return fail_code(e, code, CEDAR_FAIL_MEMORY);
    const struct cedar_code *item = first(code);
    for (uint32_t i = 0; i < code->count; i++, item += item->size) {
        items[i] = eval(e, item);
        if (items[i].kind == CEDAR_NONE)
            return items[i];
    }
    struct cedar_value set = cedar_none();
    enum err err = cedar_set_make(e->arena, items, code->count, &set);
    return made(e, code, err, set);
}

APART static struct cedar_value eval_record(
    struct cedar_evaluation *e, const struct cedar_code *code)
{
    struct cedar_field *fields =
        ARENA_ARRAY(e->arena, code->count, struct cedar_field);
    if (!fields)
        return fail_code(e, code, CEDAR_FAIL_MEMORY);
    const struct cedar_code *item = first(code);
    for (uint32_t i = 0; i < code->count; i++, item += item->size) {
        fields[i].key = code->path[i];
        fields[i].value = eval(e, item);
        if (fields[i].value.kind == CEDAR_NONE)
            return fields[i].value;
    }
    struct cedar_value record = cedar_none();
    enum err err = cedar_record_make(e->arena, fields, code->count, &record);
    return made(e, code, err, record);
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
    struct cedar_evaluation *e, const struct cedar_code *code)
{
    struct cedar_value a = eval(e, first(code));
    if (a.kind == CEDAR_NONE)
        return a;
    struct cedar_value b = eval(e, second(code));
    if (b.kind == CEDAR_NONE)
        return b;
    if (a.kind != CEDAR_SET)
        return fail_type(e, first(code), BIT(CEDAR_SET), a);
    if (code->kind == CEDAR_EXPR_CONTAINS)
        return cedar_bool(cedar_set_contains(a.set, b));
    if (b.kind != CEDAR_SET)
        return fail_type(e, second(code), BIT(CEDAR_SET), b);
    if (!spend(e, code, b.set->count))
        return cedar_none();
    return cedar_bool(code->kind == CEDAR_EXPR_CONTAINS_ALL
                          ? contains_all(a.set, b.set)
                          : contains_any(a.set, b.set));
}

/* --- The rest -------------------------------------------------------------*/

static struct cedar_value eval_like(
    struct cedar_evaluation *e, const struct cedar_code *code)
{
    struct cedar_value a = eval(e, first(code));
    if (a.kind != CEDAR_STRING)
        return fail_type(e, first(code), BIT(CEDAR_STRING), a);
    return cedar_bool(cedar_pattern_match(code->pattern, cedar_text(a)));
}

static struct cedar_value eval_is(
    struct cedar_evaluation *e, const struct cedar_code *code)
{
    struct cedar_value a = eval(e, first(code));
    if (a.kind != CEDAR_ENTITY)
        return fail_type(e, first(code), BIT(CEDAR_ENTITY), a);
    if (!str_equal(a.entity->type, code->type))
        return cedar_bool(false);
    return code->count == 1 ? cedar_bool(true)
                            : eval_in(e, code, a, second(code));
}

APART static struct cedar_value eval_call(
    struct cedar_evaluation *e, const struct cedar_code *code)
{
    struct cedar_value few[2];
    struct cedar_value *arguments = few;
    if (code->count > 2)
        arguments = ARENA_ARRAY(e->arena, code->count, struct cedar_value);
    if (!arguments)
        return fail_code(e, code, CEDAR_FAIL_MEMORY);
    const struct cedar_code *item = first(code);
    for (uint32_t i = 0; i < code->count; i++, item += item->size) {
        arguments[i] = eval(e, item);
        if (arguments[i].kind == CEDAR_NONE)
            return arguments[i];
    }
    struct cedar_value result;
    size_t at = 0;
    const char *reason = NULL;
    struct cedar_failure failure = {.name = cedar_functions[code->detail].name};
    switch (cedar_function_call((enum cedar_function)code->detail, arguments,
        code->count, e->arena, &result, &at, &reason)) {
    case CEDAR_CALL_OK:
        return result;
    case CEDAR_CALL_COUNT:
        failure.code = CEDAR_FAIL_ARGUMENTS;
        break;
    case CEDAR_CALL_TYPE:
        failure.code = CEDAR_FAIL_TYPE;
        failure.wanted = BIT(cedar_functions[code->detail].arguments[at]);
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
    return fail(e, code, failure);
}

static struct cedar_value eval_chain(
    struct cedar_evaluation *e, const struct cedar_code *code)
{
    bool any = code->kind == CEDAR_EXPR_OR;
    const struct cedar_code *item = first(code);
    for (uint32_t i = 0; i < code->count; i++, item += item->size) {
        struct cedar_value v = eval(e, item);
        if (v.kind != CEDAR_BOOL)
            return fail_type(e, item, BIT(CEDAR_BOOL), v);
        if (v.boolean == any)
            return v;
    }
    return cedar_bool(!any);
}

static struct cedar_value eval_if(
    struct cedar_evaluation *e, const struct cedar_code *code)
{
    struct cedar_value test = eval(e, first(code));
    if (test.kind != CEDAR_BOOL)
        return fail_type(e, first(code), BIT(CEDAR_BOOL), test);
    const struct cedar_code *then = second(code);
    return eval(e, test.boolean ? then : then + then->size);
}

static struct cedar_value eval_not(
    struct cedar_evaluation *e, const struct cedar_code *code)
{
    struct cedar_value a = eval(e, first(code));
    if (a.kind != CEDAR_BOOL)
        return fail_type(e, first(code), BIT(CEDAR_BOOL), a);
    return cedar_bool(!a.boolean);
}

static struct cedar_value eval_is_empty(
    struct cedar_evaluation *e, const struct cedar_code *code)
{
    struct cedar_value a = eval(e, first(code));
    if (a.kind != CEDAR_SET)
        return fail_type(e, first(code), BIT(CEDAR_SET), a);
    return cedar_bool(a.set->count == 0);
}

static struct cedar_value eval_inner(
    struct cedar_evaluation *e, const struct cedar_code *code)
{
    if (!spend(e, code, 1))
        return cedar_none();
    switch ((enum cedar_expr_kind)code->kind) {
    case CEDAR_EXPR_LITERAL:
    case CEDAR_EXPR_VARIABLE:
        break;
    case CEDAR_EXPR_IF:
        return eval_if(e, code);
    case CEDAR_EXPR_AND:
    case CEDAR_EXPR_OR:
        return eval_chain(e, code);
    case CEDAR_EXPR_NOT:
        return eval_not(e, code);
    case CEDAR_EXPR_NEGATE:
        return eval_negate(e, code);
    case CEDAR_EXPR_EQUAL:
    case CEDAR_EXPR_NOT_EQUAL:
        return eval_equal(e, code);
    case CEDAR_EXPR_LESS:
    case CEDAR_EXPR_LESS_EQUAL:
    case CEDAR_EXPR_GREATER:
    case CEDAR_EXPR_GREATER_EQUAL:
        return eval_order(e, code);
    case CEDAR_EXPR_IN: {
        struct cedar_value left = eval(e, first(code));
        return left.kind == CEDAR_NONE ? left
                                       : eval_in(e, code, left, second(code));
    }
    case CEDAR_EXPR_ADD:
    case CEDAR_EXPR_SUBTRACT:
    case CEDAR_EXPR_MULTIPLY:
        return eval_arithmetic(e, code);
    case CEDAR_EXPR_CONTAINS:
    case CEDAR_EXPR_CONTAINS_ALL:
    case CEDAR_EXPR_CONTAINS_ANY:
        return eval_contains(e, code);
    case CEDAR_EXPR_HAS_TAG:
    case CEDAR_EXPR_GET_TAG:
        return eval_tag(e, code);
    case CEDAR_EXPR_IS_EMPTY:
        return eval_is_empty(e, code);
    case CEDAR_EXPR_GET:
        return eval_get(e, code);
    case CEDAR_EXPR_HAS:
        return eval_has(e, code);
    case CEDAR_EXPR_LIKE:
        return eval_like(e, code);
    case CEDAR_EXPR_IS:
        return eval_is(e, code);
    case CEDAR_EXPR_SET:
        return eval_set(e, code);
    case CEDAR_EXPR_RECORD:
        return eval_record(e, code);
    case CEDAR_EXPR_CALL:
        return eval_call(e, code);
    }
    return fail_code(e, code, CEDAR_FAIL_DEPTH);
}

void cedar_evaluation_init(struct cedar_evaluation *e,
    const struct cedar_entities *entities, const struct cedar_request *request,
    struct arena *arena)
{
    e->entities = entities;
    e->request = request;
    e->arena = arena;
    e->steps = CEDAR_STEPS_DEFAULT;
    e->slots_known = 0;
    e->failure = NULL;
    e->variables[CEDAR_PRINCIPAL] = cedar_entity(request->principal);
    e->variables[CEDAR_ACTION] = cedar_entity(request->action);
    e->variables[CEDAR_RESOURCE] = cedar_entity(request->resource);
    e->variables[CEDAR_CONTEXT] = cedar_record_value(
        request->context ? request->context : &cedar_record_empty);
    for (unsigned i = 0; i < 3; i++)
        e->nodes[i] = cedar_entities_node(entities, e->variables[i].entity);
}

struct cedar_value cedar_eval(
    struct cedar_evaluation *e, const struct cedar_code *code)
{
    return eval(e, code);
}

int cedar_eval_conditions(
    struct cedar_evaluation *e, const struct cedar_code *code, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++, code += code->size) {
        struct cedar_value v = eval(e, code);
        if (v.kind != CEDAR_BOOL) {
            fail_type(e, code, BIT(CEDAR_BOOL), v);
            return -1;
        }
        if (v.boolean == code->unless)
            return 0;
    }
    return 1;
}
