/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/describe.c - whole sentences: a policy, an explanation. Pure;
 * any thread. */
#include "policy/cedar/describe_priv.h"

bool cedar_language_find(struct str name, enum cedar_language *out)
{
    static const struct str names[] = {STR_INIT("en"), STR_INIT("zh")};
    for (unsigned i = 0; i < CEDAR_LANGUAGES; i++) {
        bool longer = name.len > 2 && str_starts(name, names[i]) &&
                      (name.ptr[2] == '-' || name.ptr[2] == '_');
        if (longer || str_equal(name, names[i])) {
            *out = (enum cedar_language)i;
            return true;
        }
    }
    return false;
}

static void say(struct describer *d, enum cedar_phrase phrase, bool negated,
    const struct piece *pieces)
{
    describe_say(d, phrase, negated, pieces, false);
}

/* --- Scopes ---------------------------------------------------------------*/

/* $1 and $2 of a scope's phrases: the type and the entity, or the entity. */
static void scope_pieces(struct describer *d, const struct cedar_scope *scope,
    struct piece pieces[2], struct buf *made)
{
    struct describer inner = *d;
    struct piece entity = {0};
    inner.out = made;
    if (scope->slot) {
        bool principal = scope == &d->policy->principal;
        size_t before = made->len;
        say(&inner, principal ? SAY_SLOT_PRINCIPAL : SAY_SLOT_RESOURCE, false,
            NULL);
        struct str text = buf_str(made);
        entity.text = str_make(text.ptr + before, text.len - before);
    } else if (scope->count > 0) {
        entity.uid = scope->entities[0].uid;
    }
    pieces[0] = entity;
    pieces[1] = entity;
}

static void type_piece(
    struct describer *d, struct str type, struct piece *piece, struct buf *made)
{
    struct describer inner = *d;
    inner.out = made;
    describe_type(&inner, type);
    *piece = (struct piece){.text = buf_str(made)};
}

static bool has_word(const struct describer *d, struct str type)
{
    return d->vocabulary && describe_find(d, d->vocabulary->types, type);
}

/* "No one in team "x" may " */
static void put_principal(struct describer *d)
{
    const struct cedar_scope *scope = &d->policy->principal;
    bool forbids = d->policy->effect == CEDAR_FORBID;
    struct piece pieces[2];
    struct buf slot, type;
    buf_init(&slot, 4096);
    buf_init(&type, 1 << 20);
    scope_pieces(d, scope, pieces, &slot);
    switch ((enum cedar_scope_kind)scope->kind) {
    case CEDAR_SCOPE_ANY:
    case CEDAR_SCOPE_IN_SET:
        say(d, SAY_ANYONE, forbids, NULL);
        break;
    case CEDAR_SCOPE_EQUAL: {
        size_t at = d->out->len;
        say(d, SAY_THIS_ONE, forbids, pieces);
        /* The sentence's first letter. */
        if (!d->out->failed && d->out->len > at) {
            char *first = d->out->ptr + d->out->start + at;
            if (*first >= 'a' && *first <= 'z')
                *first = (char)(*first - 'a' + 'A');
        }
        break;
    }
    case CEDAR_SCOPE_IN:
        say(d, SAY_ANYONE_IN, forbids, pieces);
        break;
    case CEDAR_SCOPE_IS:
    case CEDAR_SCOPE_IS_IN:
        type_piece(d, scope->type, &pieces[0], &type);
        say(d, scope->kind == CEDAR_SCOPE_IS ? SAY_ANY_TYPE : SAY_ANY_TYPE_IN,
            forbids, pieces);
        break;
    }
    buf_fini(&slot);
    buf_fini(&type);
}

static void put_resource(struct describer *d)
{
    const struct cedar_scope *scope = &d->policy->resource;
    struct piece pieces[2];
    struct buf slot, type;
    bool typed =
        scope->kind == CEDAR_SCOPE_IS || scope->kind == CEDAR_SCOPE_IS_IN;
    struct str name = typed ? scope->type : STR("resource");
    bool inside =
        scope->kind == CEDAR_SCOPE_IN || scope->kind == CEDAR_SCOPE_IS_IN;
    buf_init(&slot, 4096);
    buf_init(&type, 1 << 20);
    scope_pieces(d, scope, pieces, &slot);
    if (scope->kind == CEDAR_SCOPE_EQUAL) {
        if (scope->slot)
            describe_put(d, pieces[0].text);
        else
            describe_uid(d, pieces[0].uid);
    } else if (typed || has_word(d, name)) {
        type_piece(d, name, &pieces[0], &type);
        say(d, inside ? SAY_ANY_OF_TYPE_IN : SAY_ANY_OF_TYPE, false, pieces);
    } else {
        say(d, inside ? SAY_ANYTHING_IN : SAY_ANYTHING, false, pieces);
    }
    buf_fini(&slot);
    buf_fini(&type);
}

/* --- Actions --------------------------------------------------------------*/

/* The vocabulary's phrase, cut where the resource goes. */
static bool action_words(const struct describer *d, const struct cedar_uid *uid,
    struct str *before, struct str *behind)
{
    const char *word = d->vocabulary
                           ? describe_find(d, d->vocabulary->actions, uid->id)
                           : NULL;
    return word && str_split(str_from(word), '$', before, behind);
}

/* "use any model to chat, to embed or to rerank": only when all phrases begin
 * alike. */
static bool put_known_actions(
    struct describer *d, const struct cedar_scope *scope, struct str resource)
{
    struct str first, before, behind;
    for (uint32_t i = 0; i < scope->count; i++) {
        const struct cedar_uid *uid = scope->entities[i].uid;
        if (!action_words(d, uid, i ? &before : &first, &behind) ||
            (i && !str_equal(first, before)))
            return false;
    }
    describe_put(d, first);
    describe_put(d, resource);
    for (uint32_t i = 0; i < scope->count; i++) {
        if (i > 0)
            say(d, i + 1 == scope->count ? SAY_LIST_OR : SAY_LIST_COMMA, false,
                NULL);
        (void)action_words(d, scope->entities[i].uid, &before, &behind);
        if (i > 0 && behind.len > 0 && behind.ptr[0] == ' ')
            behind = str_make(behind.ptr + 1, behind.len - 1);
        describe_put(d, behind);
    }
    return true;
}

static void put_actions(struct describer *d, struct str resource)
{
    const struct cedar_scope *scope = &d->policy->action;
    struct piece pieces[2] = {{.text = resource}, {0}};
    if (scope->kind == CEDAR_SCOPE_ANY) {
        say(d, SAY_DO_ANYTHING, false, pieces);
        return;
    }
    if (scope->count == 0) {
        say(d, SAY_DO_NOTHING, false, pieces);
        return;
    }
    if (put_known_actions(d, scope, resource))
        return;
    struct buf names;
    struct describer inner = *d;
    buf_init(&names, 1 << 20);
    inner.out = &names;
    for (uint32_t i = 0; i < scope->count; i++) {
        if (i > 0)
            say(&inner, i + 1 == scope->count ? SAY_LIST_OR : SAY_LIST_COMMA,
                false, NULL);
        describe_text(&inner, scope->entities[i].uid->id);
    }
    pieces[1].text = buf_str(&names);
    say(d,
        scope->kind == CEDAR_SCOPE_EQUAL ? SAY_DO_THIS
        : scope->count > 1               ? SAY_DO_ONE_OF
                                         : SAY_DO_GROUP,
        false, pieces);
    buf_fini(&names);
}

/* --- Conditions -----------------------------------------------------------*/

static bool is_constant(const struct cedar_condition *c, bool value)
{
    return c->body->kind == CEDAR_EXPR_LITERAL &&
           c->body->value.kind == CEDAR_BOOL && c->body->value.boolean == value;
}

/* All whens have to hold, and no unless may. */
static void put_conditions(struct describer *d)
{
    const struct cedar_policy *p = d->policy;
    uint32_t said = 0, of[2] = {0, 0};
    for (uint32_t i = 0; i < p->condition_count; i++) {
        const struct cedar_condition *c = &p->conditions[i];
        if (is_constant(c, c->unless)) { /* when false, unless true */
            say(d, SAY_NEVER_APPLIES, false, NULL);
            return;
        }
        of[c->unless] += !is_constant(c, !c->unless);
    }
    for (unsigned unless = 0; unless < 2; unless++) {
        said = 0;
        for (uint32_t i = 0; i < p->condition_count; i++) {
            const struct cedar_condition *c = &p->conditions[i];
            if (c->unless != (unless == 1) || is_constant(c, !c->unless))
                continue;
            if (said++ > 0)
                say(d, unless ? SAY_OR : SAY_AND, false, NULL);
            else
                say(d,
                    !unless ? SAY_WHEN
                    : of[0] ? SAY_COMMA_UNLESS
                            : SAY_UNLESS,
                    false, NULL);
            describe_condition(d, c->body, false, of[unless] > 1);
        }
    }
}

void cedar_describe(struct buf *out, const struct cedar_policy *policy,
    enum cedar_language language, const struct cedar_vocabulary *vocabulary)
{
    struct describer d = {.out = out,
        .language = language,
        .vocabulary = vocabulary,
        .policy = policy};
    struct buf resource;
    struct describer inner = d;
    buf_init(&resource, 1 << 20);
    inner.out = &resource;
    put_resource(&inner);
    put_principal(&d);
    put_actions(&d, buf_str(&resource));
    put_conditions(&d);
    say(&d, SAY_STOP, false, NULL);
    buf_fini(&resource);
}

/* --- Explanations ---------------------------------------------------------*/

static void put_scope(struct describer *d, const struct cedar_scope *scope,
    const struct cedar_uid *uid)
{
    struct piece pieces[3] = {{.uid = uid}, {0}, {0}};
    struct buf made;
    struct describer inner = *d;
    buf_init(&made, 1 << 20);
    inner.out = &made;
    if (scope->kind == CEDAR_SCOPE_IS || scope->kind == CEDAR_SCOPE_IS_IN) {
        type_piece(d, scope->type, &pieces[1], &made);
        if (scope->count > 0)
            pieces[2].uid = scope->entities[0].uid;
        say(d,
            scope->kind == CEDAR_SCOPE_IS ? SAY_SCOPE_TYPE : SAY_SCOPE_TYPE_IN,
            false, pieces);
    } else if (scope->count == 0) {
        say(d, SAY_SCOPE_NONE, false, NULL);
    } else {
        for (uint32_t i = 0; i < scope->count; i++) {
            if (i > 0)
                say(&inner,
                    i + 1 == scope->count ? SAY_LIST_OR : SAY_LIST_COMMA, false,
                    NULL);
            describe_uid(&inner, scope->entities[i].uid);
        }
        pieces[1].text = buf_str(&made);
        say(d, scope->kind == CEDAR_SCOPE_EQUAL ? SAY_SCOPE_IS : SAY_SCOPE_IN,
            false, pieces);
    }
    buf_fini(&made);
}

static void put_values(
    struct describer *d, const struct cedar_explanation *explanation)
{
    for (size_t i = 0; i < explanation->observation_count; i++) {
        struct buf value;
        buf_init(&value, 64 << 10);
        cedar_value_print(&value, explanation->observations[i].value);
        struct piece pieces[2] = {
            {.expr = explanation->observations[i].expr}, {0}};
        struct str text = buf_str(&value);
        pieces[1].text = text.len > 400 ? STR("...") : text;
        if (i == 0 && d->language == CEDAR_ENGLISH)
            buf_append_char(d->out, ' ');
        say(d, i ? SAY_LIST_COMMA : SAY_OPEN, false, NULL);
        say(d, SAY_EQUAL, false, pieces);
        buf_fini(&value);
    }
    if (explanation->observation_count > 0)
        say(d, SAY_CLOSE, false, NULL);
}

void cedar_describe_explanation(struct buf *out,
    const struct cedar_explanation *explanation,
    const struct cedar_request *request, enum cedar_language language,
    const struct cedar_vocabulary *vocabulary)
{
    const struct cedar_policy *policy = explanation->policy;
    struct describer d = {.out = out,
        .language = language,
        .vocabulary = vocabulary,
        .policy = policy};
    if (explanation->outcome == CEDAR_SATISFIED) {
        say(&d, SAY_APPLIES, false, NULL);
        return;
    }
    say(&d, explanation->outcome == CEDAR_FAILED ? SAY_FAILED : SAY_APPLIES_NOT,
        false, NULL);
    switch (explanation->outcome) {
    case CEDAR_NOT_PRINCIPAL:
        put_scope(&d, &policy->principal, request->principal);
        break;
    case CEDAR_NOT_ACTION:
        put_scope(&d, &policy->action, request->action);
        break;
    case CEDAR_NOT_RESOURCE:
        put_scope(&d, &policy->resource, request->resource);
        break;
    case CEDAR_NOT_CONDITION:
        describe_condition(&d, explanation->expr, !explanation->value, false);
        put_values(&d, explanation);
        break;
    case CEDAR_SATISFIED:
    case CEDAR_FAILED:
        describe_failure(&d, &explanation->failure);
        break;
    }
}
