/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/validate.c - policies against a schema: the names they use, the
 * environments their scopes admit, their conditions in each of those.
 *
 * Not here: types of expressions (typecheck.c). Pure. */
#include "policy/cedar/typecheck_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Steps of the type checker for one set; about a minute. */
#define STEPS_MAX UINT64_C(1000000000)
#define FIRST_CHUNK 65536

/* --- Findings --- */

static bool is_reported(
    const struct checker *c, uint32_t offset, const char *text)
{
    /* The same error comes up in several environments. */
    for (size_t i = c->findings->count; i-- > 0;) {
        const struct cedar_diagnostic *d = &c->findings->items[i];
        if (!d->policy || !str_equal(str_from(d->policy), c->policy->id)) {
            return false;
        }
        if (d->offset == offset &&
            str_equal(str_from(d->text), str_from(text))) {
            return true;
        }
    }
    return false;
}

static void add_finding(struct checker *c, enum cedar_severity severity,
    uint32_t offset, const char *text)
{
    struct str source = cedar_policy_line(c->policy) > 0 ? c->source : STR("");
    if (!is_reported(c, offset, text)) {
        cedar_diagnostics_add(
            c->findings, severity, source, offset, c->policy->id, "%s", text);
    }
}

void checker_report(struct checker *c, uint32_t offset, const char *format, ...)
{
    char text[ERRINFO_MAX];
    va_list args;
    if (c->steps == 0 || c->no_memory) {
        return; /* reported already, or of no interest any more */
    }
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    add_finding(c, CEDAR_ERROR, offset, text);
}

bool checker_step(struct checker *c)
{
    if (c->steps > 0 && --c->steps == 0) {
        add_finding(c, CEDAR_ERROR, c->policy->offset,
            "the check was given up here: the policies are too many or too "
            "complicated for the number of actions and types in the schema");
    }
    return c->steps > 0 && !c->no_memory;
}

/* --- Names --- */

static void report_entity_type(
    struct checker *c, struct str name, uint32_t offset)
{
    size_t count = cedar_schema_entity_type_count(c->schema);
    struct str *names = calloc(count + 1, sizeof(*names));
    struct str hint = STR("");
    for (size_t i = 0; names && i < count; i++) {
        names[i] = cedar_schema_entity_type_at(c->schema, i)->name;
    }
    if (names) {
        hint = str_suggest(name, names, count);
        free(names);
    }
    checker_report(c, offset,
        "the schema declares no entity type `%.*s`%s%.*s%s", STR_ARG(name),
        hint.len > 0 ? "; is `" : "", STR_ARG(hint),
        hint.len > 0 ? "` meant?" : "");
}

static void report_action(
    struct checker *c, const struct cedar_uid *uid, uint32_t offset)
{
    size_t count = cedar_schema_action_count(c->schema);
    struct str *names = calloc(count + 1, sizeof(*names));
    struct str hint = STR("");
    for (size_t i = 0; names && i < count; i++) {
        names[i] = cedar_schema_action_at(c->schema, i)->uid.id;
    }
    if (names) {
        hint = str_suggest(uid->id, names, count);
        free(names);
    }
    checker_report(c, offset,
        "the schema declares no action %.*s::\"%.*s\"%s%.*s%s",
        STR_ARG(uid->type), STR_ARG(uid->id), hint.len > 0 ? "; is \"" : "",
        STR_ARG(hint), hint.len > 0 ? "\" meant?" : "");
}

static void check_type_name(struct checker *c, struct str name, uint32_t offset)
{
    if (!cedar_type_name_is_action(name) &&
        !cedar_schema_entity_type(c->schema, name)) {
        report_entity_type(c, name, offset);
    }
}

static void check_uid(
    struct checker *c, const struct cedar_uid *uid, uint32_t offset)
{
    if (cedar_type_name_is_action(uid->type)) {
        if (!cedar_schema_action(c->schema, uid)) {
            report_action(c, uid, offset);
        }
        return;
    }
    const struct cedar_entity_type *type =
        cedar_schema_entity_type(c->schema, uid->type);
    if (!type) {
        report_entity_type(c, uid->type, offset);
    } else if (!cedar_entity_type_allows(type, uid->id)) {
        struct str hint =
            str_suggest(uid->id, type->choices, type->choice_count);
        checker_report(c, offset,
            "`%.*s` is an enumeration, and \"%.*s\" is not one of its "
            "ids%s%.*s%s",
            STR_ARG(uid->type), STR_ARG(uid->id), hint.len > 0 ? "; is \"" : "",
            STR_ARG(hint), hint.len > 0 ? "\" meant?" : "");
    }
}

#define USES_PRINCIPAL 1u
#define USES_RESOURCE 2u

/* Checks all names below e, dead code included, and notes the variables. */
static void check_names(
    struct checker *c, const struct cedar_expr *e, unsigned *uses)
{
    if (e->kind == CEDAR_EXPR_LITERAL && e->value.kind == CEDAR_ENTITY) {
        check_uid(c, e->value.entity, e->offset);
    } else if (e->kind == CEDAR_EXPR_IS) {
        check_type_name(c, e->type, e->mark ? e->mark : e->offset);
    } else if (e->kind == CEDAR_EXPR_VARIABLE) {
        *uses |= e->variable == CEDAR_PRINCIPAL  ? USES_PRINCIPAL
                 : e->variable == CEDAR_RESOURCE ? USES_RESOURCE
                                                 : 0;
    }
    for (uint32_t i = 0; i < e->count; i++) {
        check_names(c, e->items[i], uses);
    }
}

static void check_scope_names(
    struct checker *c, const struct cedar_scope *scope)
{
    if (scope->kind == CEDAR_SCOPE_IS || scope->kind == CEDAR_SCOPE_IS_IN) {
        check_type_name(c, scope->type, scope->type_offset);
    }
    for (uint32_t i = 0; i < scope->count; i++) {
        check_uid(c, scope->entities[i].uid, scope->entities[i].offset);
    }
}

/* --- Scopes --- */

/* Can the variable, of the given type, satisfy the scope? Slots can always be
 * filled so that it does. Undeclared types cannot; they are errors anyway. */
static bool scope_admits(struct checker *c, const struct cedar_scope *scope,
    const struct cedar_entity_type *type)
{
    bool is_right = true;
    if (scope->kind == CEDAR_SCOPE_IS || scope->kind == CEDAR_SCOPE_IS_IN) {
        is_right = str_equal(scope->type, type->name);
    }
    if (!is_right || scope->count == 0) {
        return is_right;
    }
    const struct cedar_uid *uid = scope->entities[0].uid;
    if (scope->kind == CEDAR_SCOPE_EQUAL) {
        return str_equal(uid->type, type->name);
    }
    const struct cedar_entity_type *target =
        cedar_schema_entity_type(c->schema, uid->type);
    return target && (target == type || cedar_entity_type_in(type, target));
}

static bool action_is_admitted(struct checker *c,
    const struct cedar_scope *scope, const struct cedar_action *action)
{
    if (scope->kind == CEDAR_SCOPE_ANY) {
        return true;
    }
    for (uint32_t i = 0; i < scope->count; i++) {
        const struct cedar_action *target =
            cedar_schema_action(c->schema, scope->entities[i].uid);
        if (target &&
            (target == action || (scope->kind != CEDAR_SCOPE_EQUAL &&
                                     cedar_action_in(action, target)))) {
            return true;
        }
    }
    return false;
}

/* `action in [..]` is a set like any other: not empty, and of one type. */
static bool check_action_list(
    struct checker *c, const struct cedar_scope *scope)
{
    if (scope->count == 0) {
        checker_report(c, scope->offset,
            "`action in []` fits no action; name one at least, or leave out "
            "the list to mean all actions");
        return false;
    }
    for (uint32_t i = 1; i < scope->count; i++) {
        if (!str_equal(
                scope->entities[i].uid->type, scope->entities[0].uid->type)) {
            checker_report(c, scope->entities[i].offset,
                "the actions of a list have to be of one type, not %.*s and "
                "%.*s",
                STR_ARG(scope->entities[0].uid->type),
                STR_ARG(scope->entities[i].uid->type));
            return false;
        }
    }
    return true;
}

/* --- Environments --- */

/* The conditions in the environment at hand; false when they cannot hold. */
static bool check_conditions(struct checker *c)
{
    const struct capability *known = NULL;
    for (uint32_t i = 0; i < c->policy->condition_count; i++) {
        const struct cedar_condition *condition = &c->policy->conditions[i];
        struct typing t = typecheck_expect(
            c, known, condition->body, KINDS_BOOL, "a condition (Bool)");
        enum cedar_type_kind never =
            condition->unless ? CEDAR_TYPE_TRUE : CEDAR_TYPE_FALSE;
        if (type_is(t.type, never)) {
            return false;
        }
        if (!condition->unless) {
            known = capability_union(c, known, t.gains);
        }
    }
    return true;
}

/* Each pair of types that the scopes admit for the action at hand. A variable
 * that the conditions do not mention needs but one of its types. */
static bool check_action(struct checker *c, unsigned uses)
{
    const struct cedar_action *action = c->action;
    bool possible = false;
    for (uint32_t p = 0; p < action->principal_count; p++) {
        c->principal = action->principals[p];
        if (!scope_admits(c, &c->policy->principal, c->principal)) {
            continue;
        }
        bool any = false;
        for (uint32_t r = 0; r < action->resource_count; r++) {
            c->resource = action->resources[r];
            if (!checker_step(c)) {
                return true;
            }
            if (!scope_admits(c, &c->policy->resource, c->resource)) {
                continue;
            }
            any = true;
            arena_reset(c->arena);
            possible = check_conditions(c) || possible;
            if (!(uses & USES_RESOURCE)) {
                break;
            }
        }
        if (any && !(uses & USES_PRINCIPAL)) {
            break;
        }
    }
    return possible;
}

/* Would some environment get as far as looking at the action's scope? */
static bool is_action_list_reached(struct checker *c)
{
    size_t count = cedar_schema_action_count(c->schema);
    for (size_t i = 0; i < count; i++) {
        const struct cedar_action *action =
            cedar_schema_action_at(c->schema, i);
        for (uint32_t p = 0; p < action->principal_count; p++) {
            if (action->resource_count > 0 &&
                scope_admits(c, &c->policy->principal, action->principals[p])) {
                return true;
            }
        }
    }
    return false;
}

static void check_policy(struct checker *c, const struct cedar_policy *policy)
{
    unsigned uses = 0;
    c->policy = policy;
    check_scope_names(c, &policy->principal);
    check_scope_names(c, &policy->action);
    check_scope_names(c, &policy->resource);
    for (uint32_t i = 0; i < policy->condition_count; i++) {
        check_names(c, policy->conditions[i].body, &uses);
    }
    bool possible = false;
    bool list = policy->action.kind != CEDAR_SCOPE_IN_SET ||
                !is_action_list_reached(c) ||
                check_action_list(c, &policy->action);
    size_t count = cedar_schema_action_count(c->schema);
    for (size_t i = 0; list && i < count; i++) {
        c->action = cedar_schema_action_at(c->schema, i);
        if (action_is_admitted(c, &policy->action, c->action)) {
            possible = check_action(c, uses) || possible;
        }
    }
    if (!possible) {
        add_finding(c, CEDAR_WARNING, policy->offset,
            "this policy can never apply: no action, principal and resource "
            "of the schema satisfy its scope and conditions");
    }
}

/* Only the type counts here, as in Cedar: the id may be anything. */
static void check_link_slot(struct checker *c, const struct cedar_scope *scope)
{
    for (uint32_t i = 0; i < scope->count; i++) {
        check_type_name(
            c, scope->entities[i].uid->type, scope->entities[i].offset);
    }
}

/* What fills a template's slots; the rest was checked with the template. */
static void check_link(struct checker *c, const struct cedar_policy *link)
{
    c->policy = link;
    if (link->template->principal.slot) {
        check_link_slot(c, &link->principal);
    }
    if (link->template->resource.slot) {
        check_link_slot(c, &link->resource);
    }
}

enum err cedar_validate(const struct cedar_policies *policies,
    const struct cedar_schema *schema, struct str source,
    struct cedar_diagnostics *findings)
{
    struct checker c = {.schema = schema,
        .findings = findings,
        .source = source,
        .steps = STEPS_MAX,
        .arena = arena_new(FIRST_CHUNK, 0)};
    if (!c.arena) {
        return ERR_NOMEM;
    }
    size_t count = cedar_policies_template_count(policies);
    for (size_t i = 0; i < count && c.steps > 0; i++) {
        check_policy(&c, cedar_policies_template_at(policies, i));
    }
    count = cedar_policies_count(policies);
    for (size_t i = 0; i < count && c.steps > 0; i++) {
        const struct cedar_policy *policy = cedar_policies_at(policies, i);
        if (policy->template) {
            check_link(&c, policy);
        } else {
            check_policy(&c, policy);
        }
    }
    arena_free(&c.arena);
    return c.no_memory ? ERR_NOMEM : ERR_OK;
}
