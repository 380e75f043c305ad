/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/schema_names.c - the names that a schema declares, the rules
 * about them, and what a name refers to: own namespace, then the empty one,
 * then built-in; common types before entity types. Pure. */
#include "policy/cedar/cedar_priv.h"
#include "policy/cedar/schema_priv.h"

#include <stdlib.h>

/* --- Names --- */

void resolver_no_memory(struct resolver *r)
{
    r->status = ERR_NOMEM;
}

void resolver_fail(struct resolver *r, enum err code)
{
    if (r->status != ERR_NOMEM) {
        r->status = code;
    }
}

static bool is_qualified(struct str name)
{
    return memmem(name.ptr, name.len, "::", 2) != NULL;
}

static struct str join(struct resolver *r, struct str space, struct str name)
{
    if (space.len == 0) {
        return name;
    }
    size_t length = space.len + 2 + name.len;
    char *out = arena_alloc(r->arena, length + 1);
    if (!out) {
        resolver_no_memory(r);
        return name;
    }
    memcpy(out, space.ptr, space.len);
    memcpy(out + space.len, "::", 2);
    memcpy(out + space.len + 2, name.ptr, name.len);
    out[length] = '\0';
    return str_make(out, length);
}

static struct str base_name(struct str name)
{
    for (size_t i = name.len; i > 0; i--) {
        if (name.ptr[i - 1] == ':') {
            return str_make(name.ptr + i, name.len - i);
        }
    }
    return name;
}

static int by_common_name(const void *a, const void *b)
{
    const struct common_def *x = a, *y = b;
    return str_compare(x->name, y->name);
}

static int by_entity_name(const void *a, const void *b)
{
    const struct entity_def *x = a, *y = b;
    return str_compare(x->name, y->name);
}

static int by_action_uid(const void *a, const void *b)
{
    const struct action_def *x = a, *y = b;
    int order = str_compare(x->uid.type, y->uid.type);
    return order != 0 ? order : str_compare(x->uid.id, y->uid.id);
}

static struct common_def *find_common(struct resolver *r, struct str name)
{
    struct common_def key = {.name = name};
    return r->common_count == 0 ? NULL
                                : bsearch(&key, r->commons, r->common_count,
                                      sizeof(*r->commons), by_common_name);
}

static struct entity_def *find_entity(struct resolver *r, struct str name)
{
    struct entity_def key = {.name = name};
    return r->entity_count == 0 ? NULL
                                : bsearch(&key, r->entities, r->entity_count,
                                      sizeof(*r->entities), by_entity_name);
}

/* --- Collecting the declarations --- */

static void count_declarations(
    struct resolver *r, size_t *commons, size_t *entities, size_t *actions)
{
    for (const struct raw_namespace *n = r->reader->namespaces; n;
         n = n->next) {
        for (const struct raw_common *c = n->commons; c; c = c->next) {
            ++*commons;
        }
        for (const struct raw_entity *e = n->entities; e; e = e->next) {
            ++*entities;
        }
        for (const struct raw_action *a = n->actions; a; a = a->next) {
            ++*actions;
        }
        *entities += n->actions != NULL;
    }
}

static const struct {
    const char *name;
    uint8_t kind;
    uint8_t extension;
} built_in[] = {
    {"Bool", CEDAR_TYPE_BOOL, 0},
    {"Long", CEDAR_TYPE_LONG, 0},
    {"String", CEDAR_TYPE_STRING, 0},
    {"ipaddr", CEDAR_TYPE_EXTENSION, CEDAR_IP},
    {"decimal", CEDAR_TYPE_EXTENSION, CEDAR_DECIMAL},
    {"datetime", CEDAR_TYPE_EXTENSION, CEDAR_DATETIME},
    {"duration", CEDAR_TYPE_EXTENSION, CEDAR_DURATION},
};
#define BUILT_INS (sizeof(built_in) / sizeof(built_in[0]))

static bool is_declared_globally(struct resolver *r, struct str name)
{
    for (const struct raw_namespace *n = r->reader->namespaces; n;
         n = n->next) {
        if (n->name.len > 0) {
            continue;
        }
        for (const struct raw_common *c = n->commons; c; c = c->next) {
            if (str_equal(c->name, name)) {
                return true;
            }
        }
        for (const struct raw_entity *e = n->entities; e; e = e->next) {
            if (str_equal(e->name, name)) {
                return true;
            }
        }
    }
    return false;
}

static void add_built_ins(struct resolver *r)
{
    for (size_t i = 0; i < BUILT_INS; i++) {
        struct cedar_type proto = {
            .kind = built_in[i].kind, .extension = built_in[i].extension};
        struct str name = str_from(built_in[i].name);
        struct common_def def = {.state = COMMON_DONE,
            .type = type_table_get(r->types, &proto),
            .name = join(r, STR("__cedar"), name)};
        if (!def.type) {
            resolver_no_memory(r);
            return;
        }
        r->commons[r->common_count++] = def;
        if (!is_declared_globally(r, name)) {
            def.name = name;
            r->commons[r->common_count++] = def;
        }
    }
}

/* --- Rules about declarations --- */

static void check_duplicates(struct resolver *r)
{
    for (size_t i = 1; i < r->common_count; i++) {
        const struct common_def *d = &r->commons[i];
        if (str_equal(d->name, d[-1].name)) {
            resolver_fail(
                r, schema_error(r->reader, d->raw ? d->raw->offset : 0,
                       "the type `%.*s` is declared twice", STR_ARG(d->name)));
        }
    }
    for (size_t i = 0; i < r->entity_count; i++) {
        const struct entity_def *d = &r->entities[i];
        if (d->raw && str_equal(d->raw->name, STR("Action"))) {
            resolver_fail(
                r, schema_error(r->reader, d->raw->offset,
                       "an entity type cannot be called `Action`; actions are "
                       "declared with `action`"));
        } else if (i > 0 && d->raw && str_equal(d->name, d[-1].name)) {
            resolver_fail(r, schema_error(r->reader, d->raw->offset,
                                 "the entity type `%.*s` is declared twice",
                                 STR_ARG(d->name)));
        }
    }
    for (size_t i = 1; i < r->action_count; i++) {
        const struct action_def *d = &r->actions[i];
        if (by_action_uid(d, d - 1) == 0) {
            resolver_fail(r, schema_error(r->reader, d->raw->offset,
                                 "the action \"%.*s\" is declared twice",
                                 STR_ARG(d->uid.id)));
        }
    }
}

/* A name of the empty namespace may not come again in another one. */
static void check_shadowing(
    struct resolver *r, struct str name, uint32_t offset, const char *what)
{
    if (!is_qualified(name)) {
        return;
    }
    struct str base = base_name(name);
    const struct common_def *common = find_common(r, base);
    const struct entity_def *entity = find_entity(r, base);
    if ((common && common->raw) || (entity && entity->raw)) {
        resolver_fail(
            r, schema_error(r->reader, offset,
                   "the %s `%.*s` has the name of `%.*s`, which is declared "
                   "outside of namespaces; rename one of them",
                   what, STR_ARG(name), STR_ARG(base)));
    }
}

static void check_all_shadowing(struct resolver *r)
{
    for (size_t i = 0; i < r->common_count; i++) {
        if (r->commons[i].raw) {
            check_shadowing(
                r, r->commons[i].name, r->commons[i].raw->offset, "type");
        }
    }
    for (size_t i = 0; i < r->entity_count; i++) {
        if (r->entities[i].raw) {
            check_shadowing(r, r->entities[i].name, r->entities[i].raw->offset,
                "entity type");
        }
    }
    for (size_t i = 0; i < r->action_count; i++) {
        struct action_def key = {
            .uid = {.type = STR("Action"), .id = r->actions[i].uid.id}};
        if (is_qualified(r->actions[i].uid.type) &&
            bsearch(&key, r->actions, r->action_count, sizeof(*r->actions),
                by_action_uid)) {
            resolver_fail(
                r, schema_error(r->reader, r->actions[i].raw->offset,
                       "the action \"%.*s\" has the name of one that is "
                       "declared outside of namespaces; rename one of them",
                       STR_ARG(key.uid.id)));
        }
    }
}

void resolver_collect(struct resolver *r)
{
    size_t commons = 2 * BUILT_INS, entities = 0, actions = 0;
    count_declarations(r, &commons, &entities, &actions);
    r->commons = calloc(commons, sizeof(*r->commons));
    r->entities = calloc(entities + 1, sizeof(*r->entities));
    r->actions = calloc(actions + 1, sizeof(*r->actions));
    if (!r->commons || !r->entities || !r->actions) {
        resolver_no_memory(r);
        return;
    }
    for (const struct raw_namespace *n = r->reader->namespaces; n;
         n = n->next) {
        struct str action_type = join(r, n->name, STR("Action"));
        for (const struct raw_common *c = n->commons; c; c = c->next) {
            r->commons[r->common_count++] = (struct common_def){
                .name = join(r, n->name, c->name), .raw = c, .space = n->name};
        }
        for (const struct raw_entity *e = n->entities; e; e = e->next) {
            r->entities[r->entity_count++] = (struct entity_def){
                .name = join(r, n->name, e->name), .raw = e, .space = n->name};
        }
        for (const struct raw_action *a = n->actions; a; a = a->next) {
            r->actions[r->action_count++] =
                (struct action_def){.uid = cedar_uid_make(action_type, a->id),
                    .raw = a,
                    .space = n->name};
        }
        if (n->actions) {
            r->entities[r->entity_count++] =
                (struct entity_def){.name = action_type, .space = n->name};
        }
    }
    add_built_ins(r);
    if (r->status == ERR_OK) {
        cedar_sort(
            r->commons, r->common_count, sizeof(*r->commons), by_common_name);
        cedar_sort(
            r->entities, r->entity_count, sizeof(*r->entities), by_entity_name);
        cedar_sort(
            r->actions, r->action_count, sizeof(*r->actions), by_action_uid);
        check_duplicates(r);
        check_all_shadowing(r);
    }
}

/* --- Looking names up --- */

void resolver_unknown_name(struct resolver *r, const struct raw_name *name,
    bool commons, bool entities)
{
    const char *what = !commons    ? "entity type"
                       : !entities ? "common type"
                                   : "type";
    size_t count = 0;
    struct str *known =
        calloc(r->entity_count + r->common_count + 1, sizeof(*known));
    struct str hint = STR("");
    for (size_t i = 0; known && entities && i < r->entity_count; i++) {
        known[count++] = r->entities[i].name;
    }
    for (size_t i = 0; known && commons && i < r->common_count; i++) {
        known[count++] = r->commons[i].name;
    }
    if (known) {
        hint = str_suggest(name->name, known, count);
        free(known);
    }
    bool useful = hint.len > 0 && !str_equal(hint, name->name);
    resolver_fail(
        r, schema_error(r->reader, name->offset,
               "there is no %s `%.*s`%s%.*s%s", what, STR_ARG(name->name),
               useful ? "; is `" : "", useful ? (int)hint.len : 0,
               hint.ptr ? hint.ptr : "", useful ? "` meant?" : ""));
}

/* What `name` means inside `space`: exactly one of the results is set, or
 * none. */
void resolver_look_up(struct resolver *r, struct str name, struct str space,
    bool commons, bool entities, struct common_def **common,
    struct entity_def **entity)
{
    bool qualified = is_qualified(name);
    for (int step = qualified || space.len == 0 ? 1 : 0; step < 2; step++) {
        struct str full = step == 0 ? join(r, space, name) : name;
        *common = commons ? find_common(r, full) : NULL;
        if (*common) {
            return;
        }
        *entity = entities ? find_entity(r, full) : NULL;
        if (*entity) {
            return;
        }
    }
}

const struct action_def *resolver_find_action(
    struct resolver *r, struct str type, struct str id, struct str space)
{
    const struct action_def *found = NULL;
    for (int step = is_qualified(type) || space.len == 0 ? 1 : 0;
         step < 2 && !found; step++) {
        struct action_def key = {.uid.id = id};
        key.uid.type = step == 0 ? join(r, space, type) : type;
        found = bsearch(&key, r->actions, r->action_count, sizeof(*r->actions),
            by_action_uid);
    }
    return found;
}

enum cedar_kind resolver_extension(struct str name)
{
    for (size_t i = 0; i < BUILT_INS; i++) {
        if (built_in[i].kind == CEDAR_TYPE_EXTENSION &&
            str_equal(name, str_from(built_in[i].name))) {
            return (enum cedar_kind)built_in[i].extension;
        }
    }
    return CEDAR_NONE;
}
