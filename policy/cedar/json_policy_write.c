/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/json_policy_write.c - trees to Cedar's JSON policies.
 *
 * Recursion is bounded by the height of trees; long chains of && and || are
 * written in a loop. Pure. */
#include "lib/json_write.h"
#include "policy/cedar/json_policy.h"

/* --- Pieces --- */

static void write_key(struct buf *out, bool *first, struct str key)
{
    buf_append_char(out, *first ? '{' : ',');
    *first = false;
    json_quote(out, key);
    buf_append_char(out, ':');
}

static void write_uid(struct buf *out, const struct cedar_uid *uid)
{
    buf_append_str(out, STR("{\"type\":"));
    json_quote(out, uid->type);
    buf_append_str(out, STR(",\"id\":"));
    json_quote(out, uid->id);
    buf_append_char(out, '}');
}

static void write_literal(struct buf *out, struct cedar_value value)
{
    buf_append_str(out, STR("{\"Value\":"));
    if (value.kind == CEDAR_BOOL) {
        buf_append_str(out, value.boolean ? STR("true") : STR("false"));
    } else if (value.kind == CEDAR_LONG) {
        buf_append_i64(out, value.integer);
    } else if (value.kind == CEDAR_STRING) {
        json_quote(out, cedar_text(value));
    } else {
        buf_append_str(out, STR("{\"__entity\":"));
        write_uid(out, value.entity);
        buf_append_char(out, '}');
    }
    buf_append_char(out, '}');
}

static const char *operator_name(enum cedar_expr_kind kind)
{
    static const char *const names[CEDAR_EXPR_KINDS] = {
        [CEDAR_EXPR_AND] = "&&",
        [CEDAR_EXPR_OR] = "||",
        [CEDAR_EXPR_NOT] = "!",
        [CEDAR_EXPR_NEGATE] = "neg",
        [CEDAR_EXPR_EQUAL] = "==",
        [CEDAR_EXPR_NOT_EQUAL] = "!=",
        [CEDAR_EXPR_LESS] = "<",
        [CEDAR_EXPR_LESS_EQUAL] = "<=",
        [CEDAR_EXPR_GREATER] = ">",
        [CEDAR_EXPR_GREATER_EQUAL] = ">=",
        [CEDAR_EXPR_IN] = "in",
        [CEDAR_EXPR_ADD] = "+",
        [CEDAR_EXPR_SUBTRACT] = "-",
        [CEDAR_EXPR_MULTIPLY] = "*",
        [CEDAR_EXPR_CONTAINS] = "contains",
        [CEDAR_EXPR_CONTAINS_ALL] = "containsAll",
        [CEDAR_EXPR_CONTAINS_ANY] = "containsAny",
        [CEDAR_EXPR_HAS_TAG] = "hasTag",
        [CEDAR_EXPR_GET_TAG] = "getTag",
        [CEDAR_EXPR_IS_EMPTY] = "isEmpty",
        [CEDAR_EXPR_GET] = ".",
        [CEDAR_EXPR_HAS] = "has",
        [CEDAR_EXPR_LIKE] = "like",
        [CEDAR_EXPR_IS] = "is",
    };
    return names[kind];
}

static void open_node(struct buf *out, const struct cedar_expr *e)
{
    buf_printf(out, "{\"%s\":", operator_name((enum cedar_expr_kind)e->kind));
}

/* --- Expressions --- */

static void write_operands(struct buf *out, const struct cedar_expr *e)
{
    open_node(out, e);
    if (e->count == 1) {
        buf_append_str(out, STR("{\"arg\":"));
        cedar_expr_write_json(out, e->items[0]);
    } else {
        buf_append_str(out, STR("{\"left\":"));
        cedar_expr_write_json(out, e->items[0]);
        buf_append_str(out, STR(",\"right\":"));
        cedar_expr_write_json(out, e->items[1]);
    }
    buf_append_str(out, STR("}}"));
}

/* a && b && c is (a && b) && c. */
static void write_chain(struct buf *out, const struct cedar_expr *e)
{
    for (uint32_t i = 1; i < e->count; i++) {
        open_node(out, e);
        buf_append_str(out, STR("{\"left\":"));
    }
    cedar_expr_write_json(out, e->items[0]);
    for (uint32_t i = 1; i < e->count; i++) {
        buf_append_str(out, STR(",\"right\":"));
        cedar_expr_write_json(out, e->items[i]);
        buf_append_str(out, STR("}}"));
    }
}

static void write_if(struct buf *out, const struct cedar_expr *e)
{
    buf_append_str(out, STR("{\"if-then-else\":{\"if\":"));
    cedar_expr_write_json(out, e->items[0]);
    buf_append_str(out, STR(",\"then\":"));
    cedar_expr_write_json(out, e->items[1]);
    buf_append_str(out, STR(",\"else\":"));
    cedar_expr_write_json(out, e->items[2]);
    buf_append_str(out, STR("}}"));
}

/* One attribute as a string, a path as a list. */
static void write_attribute(struct buf *out, const struct cedar_expr *e)
{
    open_node(out, e);
    buf_append_str(out, STR("{\"left\":"));
    cedar_expr_write_json(out, e->items[0]);
    buf_append_str(out, STR(",\"attr\":"));
    if (e->path_count > 1) {
        for (uint32_t i = 0; i < e->path_count; i++) {
            buf_append_char(out, i == 0 ? '[' : ',');
            json_quote(out, cedar_key_str(e->path[i]));
        }
        buf_append_char(out, ']');
    } else {
        json_quote(out, cedar_key_str(e->path[0]));
    }
    buf_append_str(out, STR("}}"));
}

static void write_like(struct buf *out, const struct cedar_expr *e)
{
    bool first = true;
    open_node(out, e);
    buf_append_str(out, STR("{\"left\":"));
    cedar_expr_write_json(out, e->items[0]);
    buf_append_str(out, STR(",\"pattern\":["));
    for (uint32_t i = 0; i < e->pattern->count; i++) {
        if (i > 0) {
            buf_append_str(
                out, first ? STR("\"Wildcard\"") : STR(",\"Wildcard\""));
            first = false;
        }
        if (e->pattern->pieces[i].len > 0) {
            buf_append_str(
                out, first ? STR("{\"Literal\":") : STR(",{\"Literal\":"));
            json_quote(out, e->pattern->pieces[i]);
            buf_append_char(out, '}');
            first = false;
        }
    }
    buf_append_str(out, STR("]}}"));
}

static void write_is(struct buf *out, const struct cedar_expr *e)
{
    open_node(out, e);
    buf_append_str(out, STR("{\"left\":"));
    cedar_expr_write_json(out, e->items[0]);
    buf_append_str(out, STR(",\"entity_type\":"));
    json_quote(out, e->type);
    if (e->count == 2) {
        buf_append_str(out, STR(",\"in\":"));
        cedar_expr_write_json(out, e->items[1]);
    }
    buf_append_str(out, STR("}}"));
}

static void write_list(
    struct buf *out, struct str name, const struct cedar_expr *e)
{
    buf_append_char(out, '{');
    json_quote(out, name);
    buf_append_str(out, STR(":["));
    for (uint32_t i = 0; i < e->count; i++) {
        if (i > 0) {
            buf_append_char(out, ',');
        }
        cedar_expr_write_json(out, e->items[i]);
    }
    buf_append_str(out, STR("]}"));
}

static void write_record(struct buf *out, const struct cedar_expr *e)
{
    bool first = true;
    buf_append_str(out, STR("{\"Record\":"));
    for (uint32_t i = 0; i < e->count; i++) {
        write_key(out, &first, cedar_key_str(e->path[i]));
        cedar_expr_write_json(out, e->items[i]);
    }
    buf_append_str(out, first ? STR("{}}") : STR("}}"));
}

static void write_variable(struct buf *out, enum cedar_variable variable)
{
    static const char *const names[] = {
        "principal", "action", "resource", "context"};
    buf_printf(out, "{\"Var\":\"%s\"}", names[variable]);
}

void cedar_expr_write_json(struct buf *out, const struct cedar_expr *e)
{
    switch ((enum cedar_expr_kind)e->kind) {
    case CEDAR_EXPR_LITERAL:
        write_literal(out, e->value);
        break;
    case CEDAR_EXPR_VARIABLE:
        write_variable(out, (enum cedar_variable)e->variable);
        break;
    case CEDAR_EXPR_IF:
        write_if(out, e);
        break;
    case CEDAR_EXPR_AND:
    case CEDAR_EXPR_OR:
        write_chain(out, e);
        break;
    case CEDAR_EXPR_NOT:
    case CEDAR_EXPR_NEGATE:
    case CEDAR_EXPR_IS_EMPTY:
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
    case CEDAR_EXPR_CONTAINS:
    case CEDAR_EXPR_CONTAINS_ALL:
    case CEDAR_EXPR_CONTAINS_ANY:
    case CEDAR_EXPR_HAS_TAG:
    case CEDAR_EXPR_GET_TAG:
        write_operands(out, e);
        break;
    case CEDAR_EXPR_GET:
    case CEDAR_EXPR_HAS:
        write_attribute(out, e);
        break;
    case CEDAR_EXPR_LIKE:
        write_like(out, e);
        break;
    case CEDAR_EXPR_IS:
        write_is(out, e);
        break;
    case CEDAR_EXPR_SET:
        write_list(out, STR("Set"), e);
        break;
    case CEDAR_EXPR_RECORD:
        write_record(out, e);
        break;
    case CEDAR_EXPR_CALL:
        write_list(out, cedar_functions[e->function].name, e);
        break;
    }
}

/* --- Policies --- */

static void write_target(
    struct buf *out, const struct cedar_scope *scope, const char *slot)
{
    if (scope->slot) {
        buf_printf(out, "\"slot\":\"%s\"", slot);
    } else {
        buf_append_str(out, STR("\"entity\":"));
        write_uid(out, scope->entities[0].uid);
    }
}

static void write_scope(struct buf *out, const char *name,
    const struct cedar_scope *scope, const char *slot)
{
    buf_printf(out, "\"%s\":", name);
    switch ((enum cedar_scope_kind)scope->kind) {
    case CEDAR_SCOPE_ANY:
        buf_append_str(out, STR("{\"op\":\"All\""));
        break;
    case CEDAR_SCOPE_EQUAL:
        buf_append_str(out, STR("{\"op\":\"==\","));
        write_target(out, scope, slot);
        break;
    case CEDAR_SCOPE_IN:
        buf_append_str(out, STR("{\"op\":\"in\","));
        write_target(out, scope, slot);
        break;
    case CEDAR_SCOPE_IN_SET:
        buf_append_str(out, STR("{\"op\":\"in\",\"entities\":["));
        for (uint32_t i = 0; i < scope->count; i++) {
            if (i > 0) {
                buf_append_char(out, ',');
            }
            write_uid(out, scope->entities[i].uid);
        }
        buf_append_char(out, ']');
        break;
    case CEDAR_SCOPE_IS:
    case CEDAR_SCOPE_IS_IN:
        buf_append_str(out, STR("{\"op\":\"is\",\"entity_type\":"));
        json_quote(out, scope->type);
        if (scope->kind == CEDAR_SCOPE_IS_IN) {
            buf_append_str(out, STR(",\"in\":{"));
            write_target(out, scope, slot);
            buf_append_char(out, '}');
        }
        break;
    }
    buf_append_str(out, STR("},"));
}

static void write_conditions(struct buf *out, const struct cedar_policy *policy)
{
    buf_append_str(out, STR("\"conditions\":["));
    for (uint32_t i = 0; i < policy->condition_count; i++) {
        if (i > 0) {
            buf_append_char(out, ',');
        }
        buf_append_str(out, policy->conditions[i].unless
                                ? STR("{\"kind\":\"unless\",\"body\":")
                                : STR("{\"kind\":\"when\",\"body\":"));
        cedar_expr_write_json(out, policy->conditions[i].body);
        buf_append_char(out, '}');
    }
    buf_append_char(out, ']');
}

static void write_annotations(
    struct buf *out, const struct cedar_policy *policy)
{
    bool first = true;
    if (policy->annotation_count == 0) {
        return;
    }
    buf_append_str(out, STR(",\"annotations\":"));
    for (uint32_t i = 0; i < policy->annotation_count; i++) {
        const struct cedar_annotation *a = &policy->annotations[i];
        write_key(out, &first, a->key);
        if (a->has_value) {
            json_quote(out, a->value);
        } else {
            buf_append_str(out, STR("null"));
        }
    }
    buf_append_char(out, '}');
}

void cedar_policy_write_json(struct buf *out, const struct cedar_policy *policy)
{
    buf_append_str(out, policy->effect == CEDAR_PERMIT
                            ? STR("{\"effect\":\"permit\",")
                            : STR("{\"effect\":\"forbid\","));
    write_scope(out, "principal", &policy->principal, "?principal");
    write_scope(out, "action", &policy->action, "");
    write_scope(out, "resource", &policy->resource, "?resource");
    write_conditions(out, policy);
    write_annotations(out, policy);
    buf_append_char(out, '}');
}

static void write_link(struct buf *out, const struct cedar_policy *link)
{
    bool first = true;
    buf_append_str(out, STR("{\"templateId\":"));
    json_quote(out, link->template->id);
    buf_append_str(out, STR(",\"newId\":"));
    json_quote(out, link->id);
    buf_append_str(out, STR(",\"values\":"));
    if (link->template->principal.slot) {
        write_key(out, &first, STR("?principal"));
        write_uid(out, link->principal.entities[0].uid);
    }
    if (link->template->resource.slot) {
        write_key(out, &first, STR("?resource"));
        write_uid(out, link->resource.entities[0].uid);
    }
    buf_append_str(out, STR("}}"));
}

void cedar_policies_write_json(
    struct buf *out, const struct cedar_policies *policies)
{
    bool first = true;
    size_t count = cedar_policies_count(policies);
    buf_append_str(out, STR("{\"staticPolicies\":"));
    for (size_t i = 0; i < count; i++) {
        const struct cedar_policy *policy = cedar_policies_at(policies, i);
        if (!policy->template) {
            write_key(out, &first, policy->id);
            cedar_policy_write_json(out, policy);
        }
    }
    buf_append_str(out, first ? STR("{},") : STR("},"));
    buf_append_str(out, STR("\"templates\":"));
    first = true;
    for (size_t i = 0; i < cedar_policies_template_count(policies); i++) {
        const struct cedar_policy *policy =
            cedar_policies_template_at(policies, i);
        write_key(out, &first, policy->id);
        cedar_policy_write_json(out, policy);
    }
    buf_append_str(out, first ? STR("{},") : STR("},"));
    buf_append_str(out, STR("\"templateLinks\":["));
    first = true;
    for (size_t i = 0; i < count; i++) {
        const struct cedar_policy *policy = cedar_policies_at(policies, i);
        if (policy->template) {
            buf_append_str(out, first ? STR("") : STR(","));
            first = false;
            write_link(out, policy);
        }
    }
    buf_append_str(out, STR("]}"));
}
