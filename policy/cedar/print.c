/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/print.c - values, expressions and policies as Cedar text.
 *
 * What is printed parses to an equal tree (cedar_policy_same). Recursion is
 * bounded by the heights of values and trees. Pure; any thread. */
#include "policy/cedar/cedar_priv.h"

#include <stdlib.h>

/* --- Values ---------------------------------------------------------------*/

void cedar_uid_print(struct buf *out, const struct cedar_uid *uid)
{
    buf_append_str(out, uid->type);
    buf_append_str(out, STR("::"));
    cedar_quote(out, uid->id);
}

static int compare_names(const void *a, const void *b)
{
    const struct cedar_field *x = *(const struct cedar_field *const *)a;
    const struct cedar_field *y = *(const struct cedar_field *const *)b;
    return str_compare(cedar_key_str(x->key), cedar_key_str(y->key));
}

/* By name, as readers expect; as they lie when memory is short. */
static void print_record(struct buf *out, const struct cedar_record *record)
{
    const struct cedar_field **order =
        malloc((record->count ? record->count : 1) * sizeof(void *));
    for (uint32_t i = 0; order && i < record->count; i++)
        order[i] = &record->fields[i];
    if (order)
        cedar_sort(order, record->count, sizeof order[0], compare_names);
    buf_append_char(out, '{');
    for (uint32_t i = 0; i < record->count; i++) {
        const struct cedar_field *field = order ? order[i] : &record->fields[i];
        if (i)
            buf_append_str(out, STR(", "));
        cedar_quote(out, cedar_key_str(field->key));
        buf_append_str(out, STR(": "));
        cedar_value_print(out, field->value);
    }
    buf_append_char(out, '}');
    free(order);
}

void cedar_value_print(struct buf *out, struct cedar_value v)
{
    if (out->failed)
        return;
    switch ((enum cedar_kind)v.kind) {
    case CEDAR_NONE:
        buf_append_str(out, STR("nothing"));
        break;
    case CEDAR_BOOL:
        buf_append_str(out, v.boolean ? STR("true") : STR("false"));
        break;
    case CEDAR_LONG:
        buf_append_i64(out, v.integer);
        break;
    case CEDAR_STRING:
        cedar_quote(out, cedar_text(v));
        break;
    case CEDAR_ENTITY:
        cedar_uid_print(out, v.entity);
        break;
    case CEDAR_SET:
        buf_append_char(out, '[');
        for (uint32_t i = 0; i < v.set->count; i++) {
            if (i)
                buf_append_str(out, STR(", "));
            cedar_value_print(out, v.set->items[i]);
        }
        buf_append_char(out, ']');
        break;
    case CEDAR_RECORD:
        print_record(out, v.record);
        break;
    case CEDAR_IP:
        buf_append_str(out, STR("ip(\""));
        cedar_ip_print(out, v.ip);
        buf_append_str(out, STR("\")"));
        break;
    case CEDAR_DECIMAL:
        buf_append_str(out, STR("decimal(\""));
        cedar_decimal_print(out, v.integer);
        buf_append_str(out, STR("\")"));
        break;
    case CEDAR_DATETIME:
        cedar_datetime_print_expression(out, v.integer);
        break;
    case CEDAR_DURATION:
        buf_append_str(out, STR("duration(\""));
        cedar_duration_print(out, v.integer);
        buf_append_str(out, STR("\")"));
        break;
    }
}

/* --- Expressions ----------------------------------------------------------*/

enum level {
    LEVEL_IF,
    LEVEL_OR,
    LEVEL_AND,
    LEVEL_RELATION,
    LEVEL_SUM,
    LEVEL_PRODUCT,
    LEVEL_UNARY,
    LEVEL_MEMBER
};

/* indent > 0: chains of && and || may take a line per part, each starting
 * with so many spaces. */
struct printing {
    struct buf *out;
    unsigned indent;
};

static void print(
    const struct printing *p, const struct cedar_expr *expr, enum level least);

/* A `has` over several names, some of which cannot stand behind a dot (only
 * the JSON format can say that), takes one `has` per name. */
static bool has_needs_steps(const struct cedar_expr *expr)
{
    for (uint32_t i = 0; i < expr->path_count; i++)
        if (!cedar_ident_is_valid(cedar_key_str(expr->path[i])))
            return expr->path_count > 1;
    return false;
}

static enum level level_of(const struct cedar_expr *expr)
{
    switch ((enum cedar_expr_kind)expr->kind) {
    case CEDAR_EXPR_IF:
        return LEVEL_IF;
    case CEDAR_EXPR_OR:
        return LEVEL_OR;
    case CEDAR_EXPR_AND:
        return LEVEL_AND;
    case CEDAR_EXPR_HAS:
        return has_needs_steps(expr) ? LEVEL_AND : LEVEL_RELATION;
    case CEDAR_EXPR_EQUAL:
    case CEDAR_EXPR_NOT_EQUAL:
    case CEDAR_EXPR_LESS:
    case CEDAR_EXPR_LESS_EQUAL:
    case CEDAR_EXPR_GREATER:
    case CEDAR_EXPR_GREATER_EQUAL:
    case CEDAR_EXPR_IN:
    case CEDAR_EXPR_LIKE:
    case CEDAR_EXPR_IS:
        return LEVEL_RELATION;
    case CEDAR_EXPR_ADD:
    case CEDAR_EXPR_SUBTRACT:
        return LEVEL_SUM;
    case CEDAR_EXPR_MULTIPLY:
        return LEVEL_PRODUCT;
    case CEDAR_EXPR_NOT:
    case CEDAR_EXPR_NEGATE:
        return LEVEL_UNARY;
    case CEDAR_EXPR_LITERAL:
        return expr->value.kind == CEDAR_LONG && expr->value.integer < 0
                   ? LEVEL_UNARY
                   : LEVEL_MEMBER;
    case CEDAR_EXPR_VARIABLE:
    case CEDAR_EXPR_CONTAINS:
    case CEDAR_EXPR_CONTAINS_ALL:
    case CEDAR_EXPR_CONTAINS_ANY:
    case CEDAR_EXPR_HAS_TAG:
    case CEDAR_EXPR_GET_TAG:
    case CEDAR_EXPR_IS_EMPTY:
    case CEDAR_EXPR_GET:
    case CEDAR_EXPR_SET:
    case CEDAR_EXPR_RECORD:
    case CEDAR_EXPR_CALL:
        break;
    }
    return LEVEL_MEMBER;
}

static struct str operator_text(enum cedar_expr_kind kind)
{
    switch ((int)kind) {
    case CEDAR_EXPR_OR:
        return STR("||");
    case CEDAR_EXPR_AND:
        return STR("&&");
    case CEDAR_EXPR_EQUAL:
        return STR("==");
    case CEDAR_EXPR_NOT_EQUAL:
        return STR("!=");
    case CEDAR_EXPR_LESS:
        return STR("<");
    case CEDAR_EXPR_LESS_EQUAL:
        return STR("<=");
    case CEDAR_EXPR_GREATER:
        return STR(">");
    case CEDAR_EXPR_GREATER_EQUAL:
        return STR(">=");
    case CEDAR_EXPR_IN:
        return STR("in");
    case CEDAR_EXPR_ADD:
        return STR("+");
    case CEDAR_EXPR_SUBTRACT:
        return STR("-");
    case CEDAR_EXPR_MULTIPLY:
        return STR("*");
    case CEDAR_EXPR_CONTAINS:
        return STR("contains");
    case CEDAR_EXPR_CONTAINS_ALL:
        return STR("containsAll");
    case CEDAR_EXPR_CONTAINS_ANY:
        return STR("containsAny");
    case CEDAR_EXPR_HAS_TAG:
        return STR("hasTag");
    case CEDAR_EXPR_GET_TAG:
        return STR("getTag");
    case CEDAR_EXPR_IS_EMPTY:
        return STR("isEmpty");
    default:
        return STR("?");
    }
}

static void name_or_quoted(struct buf *out, struct cedar_key key)
{
    struct str name = cedar_key_str(key);
    if (cedar_ident_is_valid(name))
        buf_append_str(out, name);
    else
        cedar_quote(out, name);
}

static void print_items(
    const struct printing *p, const struct cedar_expr *expr, uint32_t from)
{
    struct printing flat = {p->out, 0};
    for (uint32_t i = from; i < expr->count; i++) {
        if (i > from)
            buf_append_str(p->out, STR(", "));
        print(&flat, expr->items[i], LEVEL_IF);
    }
}

static void access_attribute(struct buf *out, struct cedar_key key)
{
    struct str name = cedar_key_str(key);
    if (cedar_ident_is_valid(name)) {
        buf_append_char(out, '.');
        buf_append_str(out, name);
    } else {
        buf_append_char(out, '[');
        cedar_quote(out, name);
        buf_append_char(out, ']');
    }
}

static void print_has(const struct printing *p, const struct cedar_expr *expr)
{
    if (!has_needs_steps(expr)) {
        print(p, expr->items[0], LEVEL_SUM);
        buf_append_str(p->out, STR(" has "));
        for (uint32_t i = 0; i < expr->path_count; i++) {
            if (i)
                buf_append_char(p->out, '.');
            name_or_quoted(p->out, expr->path[i]);
        }
        return;
    }
    for (uint32_t i = 0; i < expr->path_count; i++) {
        if (i)
            buf_append_str(p->out, STR(" && "));
        print(p, expr->items[0], i ? LEVEL_MEMBER : LEVEL_SUM);
        for (uint32_t j = 0; j < i; j++)
            access_attribute(p->out, expr->path[j]);
        buf_append_str(p->out, STR(" has "));
        name_or_quoted(p->out, expr->path[i]);
    }
}

static void print_chain(const struct printing *p, const struct cedar_expr *expr)
{
    enum level part = expr->kind == CEDAR_EXPR_OR ? LEVEL_AND : LEVEL_RELATION;
    for (uint32_t i = 0; i < expr->count; i++) {
        if (i) {
            buf_append_char(p->out, ' ');
            buf_append_str(
                p->out, operator_text((enum cedar_expr_kind)expr->kind));
            buf_append_char(p->out, p->indent ? '\n' : ' ');
            for (unsigned j = 0; j < p->indent; j++)
                buf_append_char(p->out, ' ');
        }
        struct printing flat = {p->out, 0};
        print(&flat, expr->items[i], part);
    }
}

static void print_binary(
    const struct printing *p, const struct cedar_expr *expr)
{
    enum level left = LEVEL_SUM, right = LEVEL_SUM;
    if (expr->kind == CEDAR_EXPR_ADD || expr->kind == CEDAR_EXPR_SUBTRACT) {
        right = LEVEL_PRODUCT;
    } else if (expr->kind == CEDAR_EXPR_MULTIPLY) {
        left = LEVEL_PRODUCT;
        right = LEVEL_UNARY;
    }
    print(p, expr->items[0], left);
    buf_append_char(p->out, ' ');
    buf_append_str(p->out, operator_text((enum cedar_expr_kind)expr->kind));
    buf_append_char(p->out, ' ');
    print(p, expr->items[1], right);
}

static void print_method(
    const struct printing *p, const struct cedar_expr *expr, struct str name)
{
    print(p, expr->items[0], LEVEL_MEMBER);
    buf_append_char(p->out, '.');
    buf_append_str(p->out, name);
    buf_append_char(p->out, '(');
    print_items(p, expr, 1);
    buf_append_char(p->out, ')');
}

static void print_call(const struct printing *p, const struct cedar_expr *expr)
{
    const struct cedar_function_info *info = &cedar_functions[expr->function];
    if (info->is_method && expr->count > 0) {
        print_method(p, expr, info->name);
        return;
    }
    buf_append_str(p->out, info->name);
    buf_append_char(p->out, '(');
    print_items(p, expr, 0);
    buf_append_char(p->out, ')');
}

static void print_record_expr(
    const struct printing *p, const struct cedar_expr *expr)
{
    struct printing flat = {p->out, 0};
    buf_append_char(p->out, '{');
    for (uint32_t i = 0; i < expr->count; i++) {
        if (i)
            buf_append_str(p->out, STR(", "));
        name_or_quoted(p->out, expr->path[i]);
        buf_append_str(p->out, STR(": "));
        print(&flat, expr->items[i], LEVEL_IF);
    }
    buf_append_char(p->out, '}');
}

static void print_if(const struct printing *p, const struct cedar_expr *expr)
{
    struct printing flat = {p->out, 0};
    buf_append_str(p->out, STR("if "));
    print(&flat, expr->items[0], LEVEL_IF);
    buf_append_str(p->out, STR(" then "));
    print(&flat, expr->items[1], LEVEL_IF);
    buf_append_str(p->out, STR(" else "));
    print(&flat, expr->items[2], LEVEL_IF);
}

static void print_is(const struct printing *p, const struct cedar_expr *expr)
{
    print(p, expr->items[0], LEVEL_SUM);
    buf_append_str(p->out, STR(" is "));
    buf_append_str(p->out, expr->type);
    if (expr->count > 1) {
        buf_append_str(p->out, STR(" in "));
        print(p, expr->items[1], LEVEL_SUM);
    }
}

static void print_bare(const struct printing *p, const struct cedar_expr *expr)
{
    static const struct str variables[] = {
        [CEDAR_PRINCIPAL] = STR_INIT("principal"),
        [CEDAR_ACTION] = STR_INIT("action"),
        [CEDAR_RESOURCE] = STR_INIT("resource"),
        [CEDAR_CONTEXT] = STR_INIT("context")};
    switch ((enum cedar_expr_kind)expr->kind) {
    case CEDAR_EXPR_LITERAL:
        cedar_value_print(p->out, expr->value);
        break;
    case CEDAR_EXPR_VARIABLE:
        buf_append_str(p->out, variables[expr->variable]);
        break;
    case CEDAR_EXPR_IF:
        print_if(p, expr);
        break;
    case CEDAR_EXPR_AND:
    case CEDAR_EXPR_OR:
        print_chain(p, expr);
        break;
    case CEDAR_EXPR_NOT:
    case CEDAR_EXPR_NEGATE:
        /* -5 is a number, -(5) its negation. */
        buf_append_char(p->out, expr->kind == CEDAR_EXPR_NOT ? '!' : '-');
        if (expr->items[0]->kind == CEDAR_EXPR_LITERAL &&
            expr->items[0]->value.kind == CEDAR_LONG &&
            expr->items[0]->value.integer >= 0) {
            buf_append_char(p->out, '(');
            print(p, expr->items[0], LEVEL_IF);
            buf_append_char(p->out, ')');
        } else {
            print(p, expr->items[0], LEVEL_MEMBER);
        }
        break;
    case CEDAR_EXPR_EQUAL:
    case CEDAR_EXPR_NOT_EQUAL:
    case CEDAR_EXPR_LESS:
    case CEDAR_EXPR_LESS_EQUAL:
    case CEDAR_EXPR_GREATER:
    case CEDAR_EXPR_GREATER_EQUAL:
    case CEDAR_EXPR_IN:
    case CEDAR_EXPR_ADD:
    case CEDAR_EXPR_SUBTRACT:
    case CEDAR_EXPR_MULTIPLY:
        print_binary(p, expr);
        break;
    case CEDAR_EXPR_CONTAINS:
    case CEDAR_EXPR_CONTAINS_ALL:
    case CEDAR_EXPR_CONTAINS_ANY:
    case CEDAR_EXPR_HAS_TAG:
    case CEDAR_EXPR_GET_TAG:
    case CEDAR_EXPR_IS_EMPTY:
        print_method(p, expr, operator_text((enum cedar_expr_kind)expr->kind));
        break;
    case CEDAR_EXPR_GET:
        print(p, expr->items[0], LEVEL_MEMBER);
        access_attribute(p->out, expr->path[0]);
        break;
    case CEDAR_EXPR_HAS:
        print_has(p, expr);
        break;
    case CEDAR_EXPR_LIKE:
        print(p, expr->items[0], LEVEL_SUM);
        buf_append_str(p->out, STR(" like "));
        cedar_pattern_print(p->out, expr->pattern);
        break;
    case CEDAR_EXPR_IS:
        print_is(p, expr);
        break;
    case CEDAR_EXPR_SET:
        buf_append_char(p->out, '[');
        print_items(p, expr, 0);
        buf_append_char(p->out, ']');
        break;
    case CEDAR_EXPR_RECORD:
        print_record_expr(p, expr);
        break;
    case CEDAR_EXPR_CALL:
        print_call(p, expr);
        break;
    }
}

static void print(
    const struct printing *p, const struct cedar_expr *expr, enum level least)
{
    if (p->out->failed)
        return;
    bool parens = level_of(expr) < least;
    struct printing inner = {p->out, parens ? 0 : p->indent};
    if (parens)
        buf_append_char(p->out, '(');
    print_bare(&inner, expr);
    if (parens)
        buf_append_char(p->out, ')');
}

void cedar_expr_print(struct buf *out, const struct cedar_expr *expr)
{
    struct printing p = {out, 0};
    print(&p, expr, LEVEL_IF);
}

/* --- Policies -------------------------------------------------------------*/

#define WIDTH 80

void cedar_scope_print(
    struct buf *out, const struct cedar_scope *scope, const char *variable)
{
    buf_append_str(out, str_from(variable));
    enum cedar_scope_kind kind = (enum cedar_scope_kind)scope->kind;
    if (kind == CEDAR_SCOPE_IS || kind == CEDAR_SCOPE_IS_IN) {
        buf_append_str(out, STR(" is "));
        buf_append_str(out, scope->type);
    }
    if (kind == CEDAR_SCOPE_EQUAL)
        buf_append_str(out, STR(" == "));
    else if (kind != CEDAR_SCOPE_ANY && kind != CEDAR_SCOPE_IS)
        buf_append_str(out, STR(" in "));
    if (scope->slot)
        buf_printf(out, "?%s", variable);
    if (kind == CEDAR_SCOPE_IN_SET)
        buf_append_char(out, '[');
    for (uint32_t i = 0; i < scope->count; i++) {
        if (i)
            buf_append_str(out, STR(", "));
        cedar_uid_print(out, scope->entities[i].uid);
    }
    if (kind == CEDAR_SCOPE_IN_SET)
        buf_append_char(out, ']');
}

static void print_scopes(
    struct buf *out, const struct cedar_policy *policy, bool lines)
{
    const char *joint = lines ? ",\n  " : ", ";
    buf_append_str(out, lines ? STR("(\n  ") : STR("("));
    cedar_scope_print(out, &policy->principal, "principal");
    buf_append_str(out, str_from(joint));
    cedar_scope_print(out, &policy->action, "action");
    buf_append_str(out, str_from(joint));
    cedar_scope_print(out, &policy->resource, "resource");
    buf_append_str(out, lines ? STR("\n)") : STR(")"));
}

static void print_condition(
    struct buf *out, const struct cedar_condition *condition)
{
    struct str word = condition->unless ? STR("unless") : STR("when");
    struct printing p = {out, 0};
    size_t start = out->len;
    buf_append_char(out, '\n');
    buf_append_str(out, word);
    buf_append_str(out, STR(" { "));
    print(&p, condition->body, LEVEL_IF);
    buf_append_str(out, STR(" }"));
    if (out->failed || out->len - start <= WIDTH)
        return;
    out->len = start; /* too wide for a line: a line per part */
    p.indent = 2;
    buf_append_char(out, '\n');
    buf_append_str(out, word);
    buf_append_str(out, STR(" {\n  "));
    print(&p, condition->body, LEVEL_IF);
    buf_append_str(out, STR("\n}"));
}

void cedar_policy_print(struct buf *out, const struct cedar_policy *policy)
{
    for (uint32_t i = 0; i < policy->annotation_count; i++) {
        const struct cedar_annotation *annotation = &policy->annotations[i];
        buf_append_char(out, '@');
        buf_append_str(out, annotation->key);
        if (annotation->has_value) {
            buf_append_char(out, '(');
            cedar_quote(out, annotation->value);
            buf_append_char(out, ')');
        }
        buf_append_char(out, '\n');
    }
    size_t start = out->len;
    struct str effect =
        policy->effect == CEDAR_PERMIT ? STR("permit ") : STR("forbid ");
    buf_append_str(out, effect);
    print_scopes(out, policy, false);
    if (!out->failed && out->len - start > WIDTH) {
        out->len = start;
        buf_append_str(out, effect);
        print_scopes(out, policy, true);
    }
    for (uint32_t i = 0; i < policy->condition_count; i++)
        print_condition(out, &policy->conditions[i]);
    buf_append_str(out, STR(";\n"));
}
