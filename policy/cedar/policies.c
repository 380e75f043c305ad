/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/policies.c - building a policy set, and asking what is in it.
 *
 * A builder collects parsed policies in one arena and hands it over to the
 * immutable set. Pure; a finished set may be shared by any number of
 * threads. */
#include "policy/cedar/cedar_priv.h"

#include <stdio.h>
#include <stdlib.h>

#define TEXT_MAX ((size_t)256 << 20)
#define POLICIES_MAX 10000000u

struct pointers {
    const struct cedar_policy **items;
    uint32_t count, room;
};

struct cedar_builder {
    struct arena *arena;
    struct pointers policies, templates;
    const struct cedar_policy **ids; /* open hash table; malloc'd */
    uint32_t id_mask;
};

/* --- Ids ------------------------------------------------------------------*/

static uint32_t find_id(
    const struct cedar_policy *const *ids, uint32_t mask, struct str id)
{
    uint32_t at = (uint32_t)str_hash(id) & mask;
    while (ids[at] && !str_equal(ids[at]->id, id))
        at = (at + 1) & mask;
    return at;
}

static bool grow_ids(struct cedar_builder *b)
{
    uint32_t size = b->ids ? (b->id_mask + 1) * 2 : 32;
    const struct cedar_policy **ids = calloc(size, sizeof *ids);
    if (!ids)
        return false;
    for (uint32_t i = 0; b->ids && i <= b->id_mask; i++)
        if (b->ids[i])
            ids[find_id(ids, size - 1, b->ids[i]->id)] = b->ids[i];
    free(b->ids);
    b->ids = ids;
    b->id_mask = size - 1;
    return true;
}

static const struct cedar_policy *builder_find(
    const struct cedar_builder *b, struct str id)
{
    return b->ids ? b->ids[find_id(b->ids, b->id_mask, id)] : NULL;
}

/* --- The builder ----------------------------------------------------------*/

enum err cedar_builder_new(struct cedar_builder **out)
{
    struct cedar_builder *b = calloc(1, sizeof *b);
    if (!b)
        return ERR_NOMEM;
    b->arena = arena_new(4096, 0);
    if (!b->arena) {
        free(b);
        return ERR_NOMEM;
    }
    *out = b;
    return ERR_OK;
}

void cedar_builder_free(struct cedar_builder **builder)
{
    struct cedar_builder *b = *builder;
    if (!b)
        return;
    arena_free(&b->arena);
    free(b->policies.items);
    free(b->templates.items);
    free(b->ids);
    free(b);
    *builder = NULL;
}

struct arena *cedar_builder_arena(struct cedar_builder *builder)
{
    return builder->arena;
}

static bool push(struct pointers *list, const struct cedar_policy *policy)
{
    if (list->count == list->room) {
        uint32_t room = list->room ? list->room * 2 : 16;
        void *items = realloc(list->items, room * sizeof list->items[0]);
        if (!items)
            return false;
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] = policy;
    return true;
}

enum err cedar_builder_add(struct cedar_builder *b,
    const struct cedar_policy *policy, struct errinfo *info)
{
    uint32_t count = b->policies.count + b->templates.count;
    if (count >= POLICIES_MAX)
        return errinfo_set(
            info, ERR_LIMIT, "more than %u policies", POLICIES_MAX);
    if ((!b->ids || count >= b->id_mask / 4 * 3) && !grow_ids(b))
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    uint32_t at = find_id(b->ids, b->id_mask, policy->id);
    if (b->ids[at])
        return errinfo_set(info, ERR_EXISTS, "the policy id %.*s is used twice",
            STR_ARG(policy->id));
    struct cedar_policy *kept = arena_alloc(b->arena, sizeof *kept);
    if (!kept)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    *kept = *policy;
    struct pointers *list =
        policy->slots && !policy->template ? &b->templates : &b->policies;
    if (!push(list, kept))
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    b->ids[at] = kept;
    return ERR_OK;
}

/* --- Text -----------------------------------------------------------------*/

static enum err check_text(
    struct str text, struct cedar_diagnostics *diagnostics)
{
    if (text.len > TEXT_MAX) {
        cedar_diagnostics_add(diagnostics, CEDAR_ERROR, text, 0,
            str_make(NULL, 0), "the text has %zu bytes, more than %zu",
            text.len, TEXT_MAX);
        return ERR_LIMIT;
    }
    if (str_is_utf8(text))
        return ERR_OK;
    size_t good = 0, bad = text.len; /* [0, good) is fine, [0, bad) is not */
    while (bad - good > 1) {
        size_t middle = good + (bad - good) / 2, cut = middle;
        while (cut > good && ((unsigned char)text.ptr[cut] & 0xc0) == 0x80)
            cut--;
        if (cut == good)
            break;
        if (str_is_utf8(str_make(text.ptr + good, cut - good)))
            good = cut;
        else
            bad = cut;
    }
    cedar_diagnostics_add(diagnostics, CEDAR_ERROR, text, good,
        str_make(NULL, 0), "the text is not well-formed UTF-8");
    return ERR_SYNTAX;
}

/* Where text[from..to) leaves line and column. */
static void move_position(struct str text, uint32_t from, uint32_t to,
    uint32_t *line, uint32_t *column)
{
    for (uint32_t i = from; i < to; i++) {
        if (text.ptr[i] == '\n') {
            ++*line;
            *column = 1;
        } else if (((unsigned char)text.ptr[i] & 0xc0) != 0x80) {
            ++*column;
        }
    }
}

static void skip_policy(struct cedar_parser *p)
{
    while (p->token.kind != CEDAR_TOKEN_END &&
           p->token.kind != CEDAR_TOKEN_SEMICOLON)
        cedar_parse_advance(p);
    cedar_parse_take(p, CEDAR_TOKEN_SEMICOLON);
}

struct reading {
    struct cedar_builder *b;
    struct cedar_parser parser;
    uint32_t at, line, column; /* position of a place passed already */
    enum err err;              /* the first of all policies */
};

static void read_policy(
    struct reading *r, unsigned number, const struct str *only_id)
{
    struct cedar_parser *p = &r->parser;
    struct cedar_policy policy;
    struct errinfo info = {0};
    p->err = ERR_OK;
    p->depth = 0;
    p->node_count = p->key_count = 0;
    if (!cedar_parse_policy(p, &policy)) {
        r->err = r->err == ERR_OK ? p->err : r->err;
        skip_policy(p);
        return;
    }
    move_position(p->text, r->at, policy.offset, &r->line, &r->column);
    r->at = policy.offset;
    policy.line = r->line;
    policy.column = r->column;
    if (only_id) {
        policy.id = arena_copy(r->b->arena, *only_id);
    } else {
        char *name = arena_printf(r->b->arena, "policy%u", number);
        policy.id = str_from(name);
    }
    enum err err =
        policy.id.ptr ? cedar_builder_add(r->b, &policy, &info) : ERR_NOMEM;
    if (err != ERR_OK) {
        r->err = r->err == ERR_OK ? err : r->err;
        cedar_diagnostics_add(p->diagnostics, CEDAR_ERROR, p->text,
            policy.offset, policy.id, "%s",
            info.text[0] ? info.text : "out of memory");
    }
}

enum err cedar_builder_add_text(struct cedar_builder *builder, struct str text,
    unsigned first_number, const struct str *only_id,
    struct cedar_diagnostics *diagnostics)
{
    enum err err = check_text(text, diagnostics);
    if (err != ERR_OK)
        return err;
    struct str copy = arena_copy(builder->arena, text);
    if (!copy.ptr)
        return ERR_NOMEM;
    struct reading r = {.b = builder, .line = 1, .column = 1};
    cedar_parser_init(&r.parser, builder->arena, copy, diagnostics);
    unsigned count = 0;
    while (r.parser.token.kind != CEDAR_TOKEN_END && r.err != ERR_NOMEM &&
           (!only_id || count < 2)) {
        read_policy(&r, first_number + count, only_id);
        count++;
    }
    if (only_id && count != 1 && r.err == ERR_OK) {
        r.err = ERR_SYNTAX;
        cedar_diagnostics_add(diagnostics, CEDAR_ERROR, copy, 0, *only_id,
            "expected exactly one policy, found %s", count ? "more" : "none");
    }
    cedar_parser_fini(&r.parser);
    return r.err;
}

/* --- Links ----------------------------------------------------------------*/

static enum err fill_slot(struct cedar_builder *b, struct cedar_scope *scope,
    const struct cedar_uid *uid)
{
    if (!scope->slot)
        return ERR_OK;
    struct cedar_scope_entity *entity =
        ARENA_NEW(b->arena, struct cedar_scope_entity);
    const struct cedar_uid *copy = cedar_uid_copy(b->arena, uid);
    if (!entity || !copy)
        return ERR_NOMEM;
    entity->uid = copy;
    entity->offset = scope->offset;
    entity->end = scope->end;
    scope->slot = false;
    scope->entities = entity;
    scope->count = 1;
    return ERR_OK;
}

enum err cedar_builder_link(struct cedar_builder *builder,
    struct str template_id, struct str new_id,
    const struct cedar_uid *principal, const struct cedar_uid *resource,
    struct errinfo *info)
{
    const struct cedar_policy *template = builder_find(builder, template_id);
    if (!template || !template->slots || template->template)
        return errinfo_set(info, ERR_NOTFOUND, "there is no template %.*s",
            STR_ARG(template_id));
    unsigned given = (principal ? CEDAR_SLOT_PRINCIPAL : 0) |
                     (resource ? CEDAR_SLOT_RESOURCE : 0);
    unsigned missing = template->slots & ~given;
    unsigned surplus = given & ~(unsigned)template->slots;
    if (missing || surplus)
        return errinfo_set(info, ERR_INVALID,
            "the link %.*s %s %s, which the template %.*s %s", STR_ARG(new_id),
            missing ? "lacks" : "gives",
            (missing ? missing : surplus) & CEDAR_SLOT_PRINCIPAL ? "?principal"
                                                                 : "?resource",
            STR_ARG(template_id), missing ? "needs" : "does not have");
    struct cedar_policy link = *template;
    link.template = template;
    link.slots = 0;
    link.id = arena_copy(builder->arena, new_id);
    if (!link.id.ptr ||
        fill_slot(builder, &link.principal, principal) != ERR_OK ||
        fill_slot(builder, &link.resource, resource) != ERR_OK)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    return cedar_builder_add(builder, &link, info);
}

/* --- Finishing ------------------------------------------------------------*/

static const struct cedar_policy *const *keep(
    struct arena *arena, const struct pointers *list)
{
    const struct cedar_policy **kept =
        ARENA_ARRAY(arena, list->count, const struct cedar_policy *);
    for (uint32_t i = 0; kept && i < list->count; i++)
        kept[i] = list->items[i];
    return kept;
}

enum err cedar_builder_finish(
    struct cedar_builder **builder, struct cedar_policies **out)
{
    struct cedar_builder *b = *builder;
    enum err err = ERR_NOMEM;
    struct cedar_policies *set = calloc(1, sizeof *set);
    if (!set || (!b->ids && !grow_ids(b)))
        goto out;
    set->items = keep(b->arena, &b->policies);
    set->count = b->policies.count;
    set->templates = keep(b->arena, &b->templates);
    set->template_count = b->templates.count;
    if (!set->items || !set->templates)
        goto out;
    err = cedar_index_make(b->arena, set->items, set->count, &set->index);
    if (err == ERR_OK)
        err = cedar_code_make(
            b->arena, set->items, set->count, &set->programs, &set->code);
    if (err != ERR_OK)
        goto out;
    set->arena = b->arena;
    set->ids = b->ids;
    set->id_mask = b->id_mask;
    b->arena = NULL;
    b->ids = NULL;
    *out = set;
    set = NULL;
out:
    free(set);
    cedar_builder_free(builder);
    return err;
}

enum err cedar_policies_parse(struct str text,
    struct cedar_diagnostics *diagnostics, struct cedar_policies **out)
{
    struct cedar_builder *builder;
    enum err err = cedar_builder_new(&builder);
    if (err != ERR_OK)
        return err;
    err = cedar_builder_add_text(builder, text, 0, NULL, diagnostics);
    if (err == ERR_OK)
        return cedar_builder_finish(&builder, out);
    cedar_builder_free(&builder);
    return err;
}

void cedar_policies_free(struct cedar_policies **policies)
{
    struct cedar_policies *set = *policies;
    if (!set)
        return;
    arena_free(&set->arena);
    free(set->ids);
    free(set);
    *policies = NULL;
}

/* --- Asking ---------------------------------------------------------------*/

size_t cedar_policies_count(const struct cedar_policies *policies)
{
    return policies->count;
}

const struct cedar_policy *cedar_policies_at(
    const struct cedar_policies *policies, size_t index)
{
    return policies->items[index];
}

size_t cedar_policies_template_count(const struct cedar_policies *policies)
{
    return policies->template_count;
}

const struct cedar_policy *cedar_policies_template_at(
    const struct cedar_policies *policies, size_t index)
{
    return policies->templates[index];
}

const struct cedar_policy *cedar_policies_find(
    const struct cedar_policies *policies, struct str id)
{
    return policies->ids[find_id(policies->ids, policies->id_mask, id)];
}

size_t cedar_policies_bytes(const struct cedar_policies *policies)
{
    return sizeof *policies + arena_used(policies->arena) +
           ((size_t)policies->id_mask + 1) * sizeof policies->ids[0];
}

struct str cedar_policy_id(const struct cedar_policy *policy)
{
    return policy->id;
}

enum cedar_effect cedar_policy_effect(const struct cedar_policy *policy)
{
    return (enum cedar_effect)policy->effect;
}

struct str cedar_policy_text(const struct cedar_policy *policy)
{
    return policy->text;
}

int cedar_policy_line(const struct cedar_policy *policy)
{
    return (int)policy->line;
}

bool cedar_policy_annotation(
    const struct cedar_policy *policy, struct str key, struct str *value)
{
    for (uint32_t i = 0; i < policy->annotation_count; i++) {
        if (!str_equal(policy->annotations[i].key, key))
            continue;
        if (value)
            *value = policy->annotations[i].value;
        return true;
    }
    return false;
}

/* --- Entity literals ------------------------------------------------------*/

struct walk {
    const struct cedar_policy *policy;
    cedar_literal_callback *callback;
    void *context;
};

static bool tell(const struct walk *w, const struct cedar_uid *uid,
    uint32_t offset, uint32_t end)
{
    const struct cedar_policy *policy = w->policy;
    struct cedar_literal literal = {
        .policy = policy, .uid = uid, .offset = offset, .end = end};
    if (policy->line) {
        uint32_t line = policy->line, column = policy->column;
        move_position(policy->text, 0, offset - policy->offset, &line, &column);
        literal.line = (int)line;
        literal.column = (int)column;
    }
    return w->callback(w->context, &literal);
}

static bool walk_scope(const struct walk *w, const struct cedar_scope *scope)
{
    for (uint32_t i = 0; i < scope->count; i++)
        if (!tell(w, scope->entities[i].uid, scope->entities[i].offset,
                scope->entities[i].end))
            return false;
    return true;
}

/* Recursion is bounded by the height of trees. */
static bool walk_expr(const struct walk *w, const struct cedar_expr *expr)
{
    if (expr->kind == CEDAR_EXPR_LITERAL && expr->value.kind == CEDAR_ENTITY)
        return tell(w, expr->value.entity, expr->offset, expr->end);
    for (uint32_t i = 0; i < expr->count; i++)
        if (!walk_expr(w, expr->items[i]))
            return false;
    return true;
}

static bool walk_policy(const struct walk *w)
{
    const struct cedar_policy *policy = w->policy;
    if (!walk_scope(w, &policy->principal) || !walk_scope(w, &policy->action) ||
        !walk_scope(w, &policy->resource))
        return false;
    for (uint32_t i = 0; i < policy->condition_count; i++)
        if (!walk_expr(w, policy->conditions[i].body))
            return false;
    return true;
}

void cedar_policies_each_entity_literal(const struct cedar_policies *policies,
    cedar_literal_callback *callback, void *context)
{
    struct walk w = {.callback = callback, .context = context};
    for (uint32_t i = 0; i < policies->count; i++) {
        w.policy = policies->items[i];
        if (!walk_policy(&w))
            return;
    }
    for (uint32_t i = 0; i < policies->template_count; i++) {
        w.policy = policies->templates[i];
        if (!walk_policy(&w))
            return;
    }
}
