/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/parse_policy.c - policies around their expressions:
 * annotations, effect, scope, conditions. */
#include "policy/cedar/cedar_priv.h"

#include <stdio.h>
#include <stdlib.h>

/* A list that grows while it is read and is copied into the arena then. */
struct list {
    char *items;
    size_t count, room;
};

static bool list_push(
    struct cedar_parser *p, struct list *list, const void *item, size_t size)
{
    if (list->count == list->room) {
        size_t room = list->room ? list->room * 2 : 4;
        char *items = realloc(list->items, room * size);
        if (!items)
            return cedar_parse_no_memory(p);
        list->items = items;
        list->room = room;
    }
    memcpy(list->items + list->count++ * size, item, size);
    return true;
}

/* Frees the list; NULL after a failure (p->err is set then). */
static void *list_keep(
    struct cedar_parser *p, struct list *list, size_t size, uint32_t *count)
{
    void *kept = NULL;
    if (p->err == ERR_OK) {
        kept = arena_array(p->arena, list->count, size);
        if (!kept)
            cedar_parse_no_memory(p);
        else if (list->count)
            memcpy(kept, list->items, list->count * size);
    }
    *count = kept ? (uint32_t)list->count : 0;
    free(list->items);
    return kept;
}

/* --- Annotations ----------------------------------------------------------*/

static bool annotation(struct cedar_parser *p, struct cedar_annotation *a)
{
    *a = (struct cedar_annotation){.offset = p->token.start};
    cedar_parse_advance(p);
    if (p->token.kind != CEDAR_TOKEN_IDENT) /* any word, reserved ones too */
        return cedar_parse_unexpected(p, "an annotation's name behind `@`");
    a->key = cedar_parse_token_text(p, p->token);
    a->value = str_make("", 0);
    cedar_parse_advance(p);
    if (cedar_parse_take(p, CEDAR_TOKEN_OPEN_PAREN)) {
        a->has_value = true;
        if (p->token.kind != CEDAR_TOKEN_STRING)
            return cedar_parse_unexpected(p, "a string in quotes");
        if (!cedar_parse_string(p, p->token, &a->value))
            return false;
        cedar_parse_advance(p);
        if (!cedar_parse_expect(p, CEDAR_TOKEN_CLOSE_PAREN, "`)`"))
            return false;
    }
    a->end = p->last_end;
    return true;
}

static bool annotations(struct cedar_parser *p, struct cedar_policy *policy)
{
    struct list list = {0};
    struct cedar_seen seen = {0};
    while (p->token.kind == CEDAR_TOKEN_AT) {
        struct cedar_annotation a;
        if (!annotation(p, &a))
            break;
        enum err err = cedar_seen_add(&seen, a.key);
        if (err == ERR_EXISTS)
            cedar_parse_fail(p, ERR_SYNTAX, a.offset,
                "the annotation @%.*s stands twice on this policy",
                STR_ARG(a.key));
        else if (err != ERR_OK)
            cedar_parse_no_memory(p);
        if (err != ERR_OK || !list_push(p, &list, &a, sizeof a))
            break;
    }
    cedar_seen_fini(&seen);
    policy->annotations = list_keep(
        p, &list, sizeof(struct cedar_annotation), &policy->annotation_count);
    return p->err == ERR_OK;
}

/* --- Scope ----------------------------------------------------------------*/

enum place { PRINCIPAL, ACTION, RESOURCE };

static const char *const place_names[] = {"principal", "action", "resource"};

static bool is_action_type(struct str type)
{
    struct str last = STR("Action");
    if (!str_ends(type, last))
        return false;
    return type.len == last.len || type.ptr[type.len - last.len - 1] == ':';
}

/* One entity, in any number of parentheses. */
static bool scope_entity(
    struct cedar_parser *p, enum place place, struct cedar_scope_entity *entity)
{
    unsigned parens = 0;
    while (cedar_parse_take(p, CEDAR_TOKEN_OPEN_PAREN))
        parens++;
    entity->offset = p->token.start;
    if (p->token.kind != CEDAR_TOKEN_IDENT)
        return cedar_parse_unexpected(
            p, place == ACTION ? "an action such as Action::\"name\""
                               : "an entity such as Type::\"id\" or a slot");
    struct str type, id = str_make(NULL, 0);
    bool has_id;
    if (!cedar_parse_name(p, &type, &has_id, &id))
        return false;
    entity->end = p->last_end;
    if (!has_id)
        return cedar_parse_fail(p, ERR_SYNTAX, entity->offset,
            "expected an entity such as Type::\"id\", found the name `%.*s`",
            STR_ARG(cedar_parse_shown(type)));
    if (place == ACTION && !is_action_type(type))
        return cedar_parse_fail(p, ERR_SYNTAX, entity->offset,
            "expected an entity of type Action, found type `%.*s`",
            STR_ARG(cedar_parse_shown(type)));
    struct cedar_uid *uid = ARENA_NEW(p->arena, struct cedar_uid);
    if (!uid)
        return cedar_parse_no_memory(p);
    *uid = cedar_uid_make(type, id);
    entity->uid = uid;
    while (parens-- > 0)
        if (!cedar_parse_expect(p, CEDAR_TOKEN_CLOSE_PAREN, "`)`"))
            return false;
    return true;
}

static bool scope_slot(struct cedar_parser *p, enum place place,
    unsigned parens, struct cedar_scope *scope)
{
    struct str slot = cedar_parse_token_text(p, p->token);
    const char *wanted = place == PRINCIPAL
                             ? "?principal"
                             : (place == RESOURCE ? "?resource" : NULL);
    if (!wanted)
        return cedar_parse_fail(p, ERR_SYNTAX, p->token.start,
            "the action cannot be a slot; write Action::\"name\"");
    if (!str_equal(slot, str_from(wanted)))
        return cedar_parse_fail(p, ERR_SYNTAX, p->token.start,
            "expected an entity or the slot %s, found `%.*s`", wanted,
            STR_ARG(cedar_parse_shown(slot)));
    scope->slot = true;
    cedar_parse_advance(p);
    while (parens-- > 0)
        if (!cedar_parse_expect(p, CEDAR_TOKEN_CLOSE_PAREN, "`)`"))
            return false;
    return true;
}

static bool scope_set(
    struct cedar_parser *p, unsigned parens, struct cedar_scope *scope)
{
    struct list list = {0};
    scope->kind = CEDAR_SCOPE_IN_SET;
    cedar_parse_advance(p);
    while (!cedar_parse_take(p, CEDAR_TOKEN_CLOSE_BRACKET)) {
        struct cedar_scope_entity entity;
        if (!scope_entity(p, ACTION, &entity) ||
            !list_push(p, &list, &entity, sizeof entity))
            break;
        if (cedar_parse_take(p, CEDAR_TOKEN_COMMA))
            continue;
        cedar_parse_expect(p, CEDAR_TOKEN_CLOSE_BRACKET, "`,` or `]`");
        break;
    }
    scope->entities =
        list_keep(p, &list, sizeof(struct cedar_scope_entity), &scope->count);
    while (p->err == ERR_OK && parens-- > 0)
        cedar_parse_expect(p, CEDAR_TOKEN_CLOSE_PAREN, "`)`");
    return p->err == ERR_OK;
}

/* What stands behind == or in. */
static bool scope_operand(
    struct cedar_parser *p, enum place place, struct cedar_scope *scope)
{
    /* A slot or a set may stand in parentheses too: look past them. */
    struct cedar_token ahead = p->token;
    unsigned parens = 0;
    while (ahead.kind == CEDAR_TOKEN_OPEN_PAREN) {
        ahead = cedar_token_next(p->text, ahead.end);
        parens++;
    }
    bool set = ahead.kind == CEDAR_TOKEN_OPEN_BRACKET;
    if (set && (place != ACTION || scope->kind != CEDAR_SCOPE_IN))
        return cedar_parse_fail(p, ERR_SYNTAX, ahead.start,
            "expected a single entity here, found a set%s",
            place == ACTION ? "" : "; only `action in [..]` takes one");
    if (set || ahead.kind == CEDAR_TOKEN_SLOT) {
        p->token = ahead;
        return set ? scope_set(p, parens, scope)
                   : scope_slot(p, place, parens, scope);
    }
    struct cedar_scope_entity *entity =
        ARENA_NEW(p->arena, struct cedar_scope_entity);
    if (!entity)
        return cedar_parse_no_memory(p);
    scope->entities = entity;
    scope->count = 1;
    return scope_entity(p, place, entity);
}

static bool scope_is(
    struct cedar_parser *p, enum place place, struct cedar_scope *scope)
{
    if (place == ACTION)
        return cedar_parse_fail(p, ERR_SYNTAX, p->token.start,
            "`is` cannot be used on the action; write `action in ..`");
    cedar_parse_advance(p);
    scope->kind = CEDAR_SCOPE_IS;
    scope->type_offset = p->token.start;
    bool has_id;
    struct str id;
    if (p->token.kind != CEDAR_TOKEN_IDENT)
        return cedar_parse_unexpected(p, "an entity type behind `is`");
    if (!cedar_parse_name(p, &scope->type, &has_id, &id))
        return false;
    if (has_id)
        return cedar_parse_fail(p, ERR_SYNTAX, scope->type_offset,
            "`is` takes an entity type such as %.*s, not an entity",
            STR_ARG(cedar_parse_shown(scope->type)));
    if (p->token.kind == CEDAR_TOKEN_EQUAL)
        return cedar_parse_fail(p, ERR_SYNTAX, p->token.start,
            "`is` cannot be used together with `==`");
    if (!cedar_parse_word(p, "in"))
        return true;
    cedar_parse_advance(p);
    scope->kind = CEDAR_SCOPE_IS_IN;
    return scope_operand(p, place, scope);
}

static bool scope_element(
    struct cedar_parser *p, enum place place, struct cedar_scope *scope)
{
    *scope = (struct cedar_scope){.offset = p->token.start};
    if (p->token.kind != CEDAR_TOKEN_IDENT ||
        !cedar_parse_word(p, place_names[place])) {
        char what[80];
        snprintf(what, sizeof what,
            "`%s` (the scope is principal, action, resource)",
            place_names[place]);
        return cedar_parse_unexpected(p, what);
    }
    cedar_parse_advance(p);
    bool fine = true;
    if (p->token.kind == CEDAR_TOKEN_COLON) {
        fine = cedar_parse_fail(p, ERR_SYNTAX, p->token.start,
            "types by `:` are not supported; write `%s is Type`",
            place_names[place]);
    } else if (cedar_parse_word(p, "is")) {
        fine = scope_is(p, place, scope);
    } else if (cedar_parse_take(p, CEDAR_TOKEN_EQUAL)) {
        scope->kind = CEDAR_SCOPE_EQUAL;
        fine = scope_operand(p, place, scope);
    } else if (cedar_parse_word(p, "in")) {
        cedar_parse_advance(p);
        scope->kind = CEDAR_SCOPE_IN;
        fine = scope_operand(p, place, scope);
        if (fine && cedar_parse_word(p, "is"))
            fine = cedar_parse_fail(p, ERR_SYNTAX, p->token.start,
                "`is` must come before `in`: %s is Type in ..",
                place_names[place]);
    } else if (p->token.kind != CEDAR_TOKEN_COMMA &&
               p->token.kind != CEDAR_TOKEN_CLOSE_PAREN) {
        fine = cedar_parse_unexpected(p,
            place == ACTION
                ? "`==`, `in` or `,` (other conditions go into `when`)"
                : "`==`, `in`, `is` or `,` (other conditions go into `when`)");
    }
    scope->end = p->last_end;
    return fine;
}

static bool scope(struct cedar_parser *p, struct cedar_policy *policy)
{
    if (!cedar_parse_expect(p, CEDAR_TOKEN_OPEN_PAREN, "`(`") ||
        !scope_element(p, PRINCIPAL, &policy->principal) ||
        !cedar_parse_expect(p, CEDAR_TOKEN_COMMA, "`,` and then `action`") ||
        !scope_element(p, ACTION, &policy->action) ||
        !cedar_parse_expect(p, CEDAR_TOKEN_COMMA, "`,` and then `resource`") ||
        !scope_element(p, RESOURCE, &policy->resource))
        return false;
    cedar_parse_take(p, CEDAR_TOKEN_COMMA);
    policy->slots = (policy->principal.slot ? CEDAR_SLOT_PRINCIPAL : 0) |
                    (policy->resource.slot ? CEDAR_SLOT_RESOURCE : 0);
    return cedar_parse_expect(p, CEDAR_TOKEN_CLOSE_PAREN, "`)`");
}

/* --- Conditions -----------------------------------------------------------*/

static bool condition(struct cedar_parser *p, struct cedar_condition *c)
{
    *c = (struct cedar_condition){
        .unless = cedar_parse_word(p, "unless"), .offset = p->token.start};
    cedar_parse_advance(p);
    if (!cedar_parse_expect(p, CEDAR_TOKEN_OPEN_BRACE, "`{`"))
        return false;
    if (p->token.kind == CEDAR_TOKEN_CLOSE_BRACE)
        return cedar_parse_fail(p, ERR_SYNTAX, p->token.start,
            "this condition is empty; leave it away or write an expression");
    c->body = cedar_parse_expr(p);
    if (!c->body ||
        !cedar_parse_expect(p, CEDAR_TOKEN_CLOSE_BRACE, "an operator or `}`"))
        return false;
    c->end = p->last_end;
    return true;
}

static bool conditions(struct cedar_parser *p, struct cedar_policy *policy)
{
    struct list list = {0};
    while (cedar_parse_word(p, "when") || cedar_parse_word(p, "unless")) {
        struct cedar_condition c;
        if (!condition(p, &c) || !list_push(p, &list, &c, sizeof c))
            break;
    }
    policy->conditions = list_keep(
        p, &list, sizeof(struct cedar_condition), &policy->condition_count);
    return p->err == ERR_OK;
}

bool cedar_parse_policy(struct cedar_parser *p, struct cedar_policy *policy)
{
    *policy = (struct cedar_policy){.offset = p->token.start};
    if (!annotations(p, policy))
        return false;
    if (cedar_parse_word(p, "permit")) {
        policy->effect = CEDAR_PERMIT;
    } else if (cedar_parse_word(p, "forbid")) {
        policy->effect = CEDAR_FORBID;
    } else {
        static const struct str effects[] = {
            STR_INIT("permit"), STR_INIT("forbid")};
        struct str near = str_make(NULL, 0);
        if (p->token.kind == CEDAR_TOKEN_IDENT)
            near = str_suggest(cedar_parse_token_text(p, p->token), effects, 2);
        return cedar_parse_unexpected(p,
            near.len == 0        ? "`permit` or `forbid`"
            : near.ptr[0] == 'p' ? "`permit` or `forbid` (did you mean permit?)"
                                 : "`permit` or `forbid` (did you mean "
                                   "forbid?)");
    }
    cedar_parse_advance(p);
    if (!scope(p, policy) || !conditions(p, policy) ||
        !cedar_parse_expect(p, CEDAR_TOKEN_SEMICOLON,
            "`when`, `unless` or the `;` that ends a policy"))
        return false;
    policy->text =
        str_make(p->text.ptr + policy->offset, p->last_end - policy->offset);
    return true;
}
