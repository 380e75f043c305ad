/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/explain.c - why one policy applied to a request, or did not. */
#include "policy/cedar/explain.h"

#include "policy/cedar/cedar_priv.h"

#include <stdlib.h>

#define OBSERVATIONS_MAX 16
#define TEXT_MAX 300 /* bytes of an expression or value in the line */

struct explaining {
    struct cedar_evaluation evaluation;
    struct cedar_failure failure;
    struct arena *arena;
    struct cedar_observation observations[OBSERVATIONS_MAX];
    size_t count;
    bool out_of_memory;
};

/* CEDAR_NONE: failed, see e->failure. */
static struct cedar_value evaluate(
    struct explaining *e, const struct cedar_expr *expr)
{
    uint32_t size = cedar_code_size(expr);
    struct cedar_code *code = ARENA_ARRAY(e->arena, size, struct cedar_code);
    if (!code) {
        e->out_of_memory = true;
        return cedar_none();
    }
    cedar_code_write(code, expr);
    e->evaluation.steps = CEDAR_STEPS_DEFAULT;
    return cedar_eval(&e->evaluation, code);
}

static bool is_bool(struct cedar_value v, bool value)
{
    return v.kind == CEDAR_BOOL && v.boolean == value;
}

/* The smallest part that made `expr` give `value`: the one false part of an
 * &&, the one true part of an ||, what stands behind a !. Each round goes one
 * level down. */
static const struct cedar_expr *deciding(
    struct explaining *e, const struct cedar_expr *expr, bool *value)
{
    for (;;) {
        const struct cedar_expr *inner = NULL;
        bool short_circuit = expr->kind == CEDAR_EXPR_OR;
        if ((expr->kind == CEDAR_EXPR_AND || expr->kind == CEDAR_EXPR_OR) &&
            *value == short_circuit) {
            for (uint32_t i = 0; !inner && i < expr->count; i++)
                if (is_bool(evaluate(e, expr->items[i]), *value))
                    inner = expr->items[i];
        } else if (expr->kind == CEDAR_EXPR_NOT) {
            inner = expr->items[0];
            *value = !*value;
        } else if (expr->kind == CEDAR_EXPR_IF) {
            bool yes = is_bool(evaluate(e, expr->items[0]), true);
            inner = expr->items[yes ? 1 : 2];
        }
        if (!inner)
            return expr;
        expr = inner;
    }
}

/* Attributes, tags, variables and calls on them: what a reader would ask for.
 * Recursion is bounded by the height of trees. */
static void observe(struct explaining *e, const struct cedar_expr *expr)
{
    bool named =
        expr->kind == CEDAR_EXPR_GET || expr->kind == CEDAR_EXPR_GET_TAG ||
        (expr->kind == CEDAR_EXPR_VARIABLE && expr->variable != CEDAR_CONTEXT);
    if (expr->value.kind != CEDAR_NONE || e->count == OBSERVATIONS_MAX)
        return;
    if (named) {
        for (size_t i = 0; i < e->count; i++)
            if (cedar_expr_same(e->observations[i].expr, expr))
                return;
        struct cedar_value value = evaluate(e, expr);
        if (value.kind != CEDAR_NONE)
            e->observations[e->count++] =
                (struct cedar_observation){expr, value};
        return;
    }
    for (uint32_t i = 0; i < expr->count; i++)
        observe(e, expr->items[i]);
}

static bool scope_holds(const struct cedar_entities *entities,
    const struct cedar_scope *scope, const struct cedar_uid *uid)
{
    bool by_type =
        scope->kind == CEDAR_SCOPE_IS || scope->kind == CEDAR_SCOPE_IS_IN;
    if (by_type && !str_equal(scope->type, uid->type))
        return false;
    if (scope->kind == CEDAR_SCOPE_ANY || scope->kind == CEDAR_SCOPE_IS)
        return true;
    for (uint32_t i = 0; i < scope->count; i++) {
        const struct cedar_uid *named = scope->entities[i].uid;
        if (cedar_uid_equal(named, uid))
            return true;
        if (scope->kind != CEDAR_SCOPE_EQUAL && entities &&
            cedar_entities_in(entities, uid, named))
            return true;
    }
    return false;
}

static enum cedar_outcome check_scope(const struct cedar_policy *policy,
    const struct cedar_entities *entities, const struct cedar_request *request)
{
    if (!scope_holds(entities, &policy->principal, request->principal))
        return CEDAR_NOT_PRINCIPAL;
    if (!scope_holds(entities, &policy->action, request->action))
        return CEDAR_NOT_ACTION;
    if (!scope_holds(entities, &policy->resource, request->resource))
        return CEDAR_NOT_RESOURCE;
    return CEDAR_SATISFIED;
}

static void place(struct cedar_explanation *out, uint32_t offset)
{
    const struct cedar_policy *policy = out->policy;
    if (!policy->line || offset < policy->offset)
        return;
    cedar_position(
        policy->text, offset - policy->offset, &out->line, &out->column);
    if (out->line == 1)
        out->column += (int)policy->column - 1;
    out->line += (int)policy->line - 1;
}

/* True when the condition holds. */
static bool check_condition(
    struct explaining *e, uint32_t number, struct cedar_explanation *out)
{
    const struct cedar_condition *condition = &out->policy->conditions[number];
    struct cedar_value v = evaluate(e, condition->body);
    if (is_bool(v, !condition->unless))
        return true;
    out->condition = number;
    out->expr = condition->body;
    if (v.kind == CEDAR_BOOL) {
        out->outcome = CEDAR_NOT_CONDITION;
        out->value = v.boolean;
        out->expr = deciding(e, condition->body, &out->value);
        observe(e, out->expr);
        place(out, out->expr->offset);
        return false;
    }
    out->outcome = CEDAR_FAILED;
    if (v.kind != CEDAR_NONE)
        e->failure = (struct cedar_failure){.code = CEDAR_FAIL_TYPE,
            .wanted = 1u << CEDAR_BOOL,
            .a = v,
            .policy = e->failure.policy,
            .effect = e->failure.effect,
            .offset = condition->body->offset};
    out->failure = e->failure;
    place(out, out->failure.offset);
    return false;
}

enum err cedar_explain(const struct cedar_policies *policies, size_t index,
    const struct cedar_entities *entities, const struct cedar_request *request,
    struct arena *arena, struct cedar_explanation *out)
{
    struct explaining e = {.arena = arena};
    struct cedar_explanation made = {.policy = policies->items[index]};
    made.outcome = check_scope(made.policy, entities, request);
    cedar_evaluation_init(&e.evaluation, entities, request, arena);
    e.failure.policy = (uint32_t)index;
    e.failure.effect = (enum cedar_effect)made.policy->effect;
    e.evaluation.failure = &e.failure;
    if (made.outcome == CEDAR_SATISFIED)
        for (uint32_t i = 0; i < made.policy->condition_count; i++)
            if (!check_condition(&e, i, &made))
                break;
    struct cedar_observation *kept =
        ARENA_ARRAY(arena, e.count, struct cedar_observation);
    if (!kept || e.out_of_memory)
        return ERR_NOMEM;
    for (size_t i = 0; i < e.count; i++)
        kept[i] = e.observations[i];
    made.observations = kept;
    made.observation_count = e.count;
    *out = made;
    return ERR_OK;
}

/* --- Words ----------------------------------------------------------------*/

static void append_cut(struct buf *out, const struct buf *text)
{
    struct str s = buf_str(text);
    if (s.len > TEXT_MAX) {
        size_t len = TEXT_MAX;
        while (len > 0 && ((unsigned char)s.ptr[len] & 0xc0) == 0x80)
            len--;
        buf_append(out, s.ptr, len);
        buf_append_str(out, STR(".."));
    } else {
        buf_append_str(out, s);
    }
}

static void append_expr(struct buf *out, const struct cedar_expr *expr)
{
    struct buf text;
    buf_init(&text, 64 << 10);
    cedar_expr_print(&text, expr);
    append_cut(out, &text);
    buf_fini(&text);
}

static void append_value(struct buf *out, struct cedar_value value)
{
    struct buf text;
    buf_init(&text, 64 << 10);
    cedar_value_print(&text, value);
    append_cut(out, &text);
    buf_fini(&text);
}

static void append_scope(struct buf *out, const char *variable,
    const struct cedar_scope *scope, const struct cedar_uid *uid)
{
    buf_append_str(out, STR("the scope `"));
    cedar_scope_print(out, scope, variable);
    buf_append_str(out, STR("` does not hold for "));
    cedar_uid_print(out, uid);
}

static void append_condition(
    struct buf *out, const struct cedar_explanation *explanation)
{
    const struct cedar_condition *condition =
        &explanation->policy->conditions[explanation->condition];
    buf_printf(out, "in `%s`, `", condition->unless ? "unless" : "when");
    append_expr(out, explanation->expr);
    buf_append_char(out, '`');
    if (explanation->line)
        buf_printf(out, " at %d:%d", explanation->line, explanation->column);
    buf_printf(out, " is %s", explanation->value ? "true" : "false");
    for (size_t i = 0; i < explanation->observation_count; i++) {
        buf_append_str(out, i ? STR(", ") : STR(" ("));
        append_expr(out, explanation->observations[i].expr);
        buf_append_str(out, STR(" is "));
        append_value(out, explanation->observations[i].value);
    }
    if (explanation->observation_count)
        buf_append_char(out, ')');
}

void cedar_explanation_print(struct buf *out,
    const struct cedar_explanation *explanation,
    const struct cedar_request *request)
{
    const struct cedar_policy *policy = explanation->policy;
    buf_append_str(out, policy->id);
    buf_printf(
        out, " (%s) ", policy->effect == CEDAR_PERMIT ? "permit" : "forbid");
    switch (explanation->outcome) {
    case CEDAR_SATISFIED:
        buf_append_str(out, STR("applies"));
        return;
    case CEDAR_NOT_PRINCIPAL:
        buf_append_str(out, STR("does not apply: "));
        append_scope(out, "principal", &policy->principal, request->principal);
        return;
    case CEDAR_NOT_ACTION:
        buf_append_str(out, STR("does not apply: "));
        append_scope(out, "action", &policy->action, request->action);
        return;
    case CEDAR_NOT_RESOURCE:
        buf_append_str(out, STR("does not apply: "));
        append_scope(out, "resource", &policy->resource, request->resource);
        return;
    case CEDAR_NOT_CONDITION:
        buf_append_str(out, STR("does not apply: "));
        append_condition(out, explanation);
        return;
    case CEDAR_FAILED:
        buf_append_str(out, STR("failed: "));
        cedar_failure_print(out, NULL, &explanation->failure);
        if (explanation->line)
            buf_printf(
                out, " (at %d:%d)", explanation->line, explanation->column);
        return;
    }
}
