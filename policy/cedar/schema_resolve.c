/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/schema_resolve.c - from what was written to what is meant:
 * expands common types, gives entity types and actions their place.
 *
 * Not here: looking names up (schema_names.c), the closures
 * (schema_closure.c), reading. Pure. */
#include "policy/cedar/cedar_priv.h"
#include "policy/cedar/schema_priv.h"

#include <stdlib.h>

/* --- Types --- */

static const struct cedar_type *resolve_type(struct resolver *r,
    const struct raw_type *raw, struct str space, unsigned depth);

static const struct cedar_type *resolve_common(
    struct resolver *r, struct common_def *def, uint32_t offset, unsigned depth)
{
    if (def->state == COMMON_OPEN) {
        resolver_fail(r, schema_error(r->reader, offset,
                             "the type `%.*s` is part of its own definition",
                             STR_ARG(def->name)));
        return NULL;
    }
    if (def->state == COMMON_UNSEEN) {
        def->state = COMMON_OPEN;
        def->type = resolve_type(r, def->raw->type, def->space, depth + 1);
        def->state = COMMON_DONE;
    }
    return def->type;
}

static const struct cedar_type *resolve_reference(struct resolver *r,
    const struct raw_type *raw, struct str space, unsigned depth)
{
    struct common_def *common = NULL;
    struct entity_def *entity = NULL;
    resolver_look_up(r, raw->name, space, raw->kind != RAW_ENTITY,
        raw->kind != RAW_COMMON, &common, &entity);
    if (common) {
        return resolve_common(r, common, raw->offset, depth);
    }
    if (entity) {
        struct cedar_type proto = {.kind = CEDAR_TYPE_ENTITY,
            .name = entity->name,
            .entity = entity->type};
        const struct cedar_type *type = type_table_get(r->types, &proto);
        if (!type) {
            resolver_no_memory(r);
        }
        return type;
    }
    struct raw_name name = {.name = raw->name, .offset = raw->offset};
    resolver_unknown_name(
        r, &name, raw->kind != RAW_ENTITY, raw->kind != RAW_COMMON);
    return NULL;
}

struct written_attribute {
    struct cedar_key key;
    uint32_t place;
    const struct raw_attribute *raw;
};

static int by_key_and_place(const void *a, const void *b)
{
    const struct written_attribute *x = a, *y = b;
    int order = cedar_key_compare(x->key, y->key);
    return order != 0 ? order : (x->place > y->place) - (x->place < y->place);
}

/* Sorted, and of each name what was written last: the list is in reverse, so
 * that is the first. What it replaces is not even looked up. The caller
 * frees. */
static struct written_attribute *sort_attributes(
    struct resolver *r, const struct raw_type *raw, uint32_t *count)
{
    uint32_t n = 0;
    for (const struct raw_attribute *a = raw->attributes; a; a = a->next) {
        n++;
    }
    struct written_attribute *list = calloc(n + 1u, sizeof(*list));
    if (!list) {
        resolver_no_memory(r);
        return NULL;
    }
    n = 0;
    for (const struct raw_attribute *a = raw->attributes; a; a = a->next) {
        list[n] = (struct written_attribute){cedar_key_make(a->name), n, a};
        n++;
    }
    cedar_sort(list, n, sizeof(*list), by_key_and_place);
    uint32_t unique = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (unique == 0 ||
            !cedar_key_equal(list[unique - 1].key, list[i].key)) {
            list[unique++] = list[i];
        }
    }
    *count = unique;
    return list;
}

static const struct cedar_type *resolve_record(struct resolver *r,
    const struct raw_type *raw, struct str space, unsigned depth)
{
    uint32_t count = 0;
    bool complete = true;
    struct written_attribute *written = sort_attributes(r, raw, &count);
    struct cedar_attribute *list =
        ARENA_ARRAY(r->arena, count + 1u, struct cedar_attribute);
    if (!written || !list) {
        free(written);
        resolver_no_memory(r);
        return NULL;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct raw_attribute *attribute = written[i].raw;
        list[i] = (struct cedar_attribute){written[i].key, attribute->required,
            resolve_type(r, attribute->type, space, depth + 1)};
        complete = complete && list[i].type;
    }
    free(written);
    if (!complete) {
        return NULL;
    }
    struct cedar_type proto = {
        .kind = CEDAR_TYPE_RECORD, .count = count, .attributes = list};
    const struct cedar_type *type = type_table_get(r->types, &proto);
    if (!type) {
        resolver_no_memory(r);
    }
    return type;
}

static const struct cedar_type *resolve_extension(
    struct resolver *r, const struct raw_type *raw)
{
    struct cedar_type proto = {.kind = CEDAR_TYPE_EXTENSION,
        .extension = (uint8_t)resolver_extension(raw->name)};
    if (proto.extension == CEDAR_NONE) {
        resolver_fail(
            r, schema_error(r->reader, raw->offset,
                   "there is no extension type `%.*s`; known are ipaddr, "
                   "decimal, datetime and duration",
                   STR_ARG(raw->name)));
        return NULL;
    }
    const struct cedar_type *type = type_table_get(r->types, &proto);
    if (!type) {
        resolver_no_memory(r);
    }
    return type;
}

static const struct cedar_type *resolve_scalar(
    struct resolver *r, enum cedar_type_kind kind)
{
    struct cedar_type proto = {.kind = (uint8_t)kind};
    const struct cedar_type *type = type_table_get(r->types, &proto);
    if (!type) {
        resolver_no_memory(r);
    }
    return type;
}

/* NULL once an error is recorded. */
static const struct cedar_type *resolve_type(struct resolver *r,
    const struct raw_type *raw, struct str space, unsigned depth)
{
    if (depth > CEDAR_TYPE_DEPTH_MAX) {
        (void)schema_error(r->reader, raw->offset,
            "types nest deeper than %d levels here", CEDAR_TYPE_DEPTH_MAX);
        resolver_fail(r, ERR_LIMIT);
        return NULL;
    }
    const struct cedar_type *type = NULL;
    switch (raw->kind) {
    case RAW_LONG:
        type = resolve_scalar(r, CEDAR_TYPE_LONG);
        break;
    case RAW_STRING:
        type = resolve_scalar(r, CEDAR_TYPE_STRING);
        break;
    case RAW_BOOL:
        type = resolve_scalar(r, CEDAR_TYPE_BOOL);
        break;
    case RAW_EXTENSION:
        type = resolve_extension(r, raw);
        break;
    case RAW_ENTITY:
    case RAW_COMMON:
    case RAW_ENTITY_OR_COMMON:
        type = resolve_reference(r, raw, space, depth);
        break;
    case RAW_SET: {
        struct cedar_type proto = {.kind = CEDAR_TYPE_SET,
            .element = resolve_type(r, raw->element, space, depth + 1)};
        if (proto.element) {
            type = type_table_get(r->types, &proto);
            if (!type) {
                resolver_no_memory(r);
            }
        }
        break;
    }
    case RAW_RECORD:
        type = resolve_record(r, raw, space, depth);
        break;
    }
    /* A common type may have been resolved at a lesser depth than here. */
    if (type && type->depth + depth > CEDAR_TYPE_DEPTH_MAX + 1) {
        (void)schema_error(r->reader, raw->offset,
            "types nest deeper than %d levels here", CEDAR_TYPE_DEPTH_MAX);
        resolver_fail(r, ERR_LIMIT);
        return NULL;
    }
    return type;
}

/* --- Entity types and actions --- */

static int by_str(const void *a, const void *b)
{
    return str_compare(*(const struct str *)a, *(const struct str *)b);
}

static void resolve_choices(struct resolver *r, const struct raw_entity *raw,
    struct cedar_entity_type *t)
{
    uint32_t count = 0, unique = 0;
    for (const struct raw_name *n = raw->choices; n; n = n->next) {
        count++;
    }
    struct str *list = ARENA_ARRAY(r->arena, count + 1u, struct str);
    if (!list) {
        resolver_no_memory(r);
        return;
    }
    count = 0;
    for (const struct raw_name *n = raw->choices; n; n = n->next) {
        list[count++] = n->name;
    }
    cedar_sort(list, count, sizeof(*list), by_str);
    for (uint32_t i = 0; i < count; i++) {
        if (unique == 0 || !str_equal(list[unique - 1], list[i])) {
            list[unique++] = list[i];
        }
    }
    t->is_enum = true;
    t->choices = list;
    t->choice_count = unique;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t sort_unique(uint32_t *list, uint32_t count)
{
    uint32_t unique = 0;
    cedar_sort(list, count, sizeof(*list), by_number);
    for (uint32_t i = 0; i < count; i++) {
        if (unique == 0 || list[unique - 1] != list[i]) {
            list[unique++] = list[i];
        }
    }
    return unique;
}

/* Entity types as indexes, each once; in the arena. */
static uint32_t *resolve_entity_names(struct resolver *r,
    const struct raw_name *names, struct str space, uint32_t *count)
{
    uint32_t n = 0;
    for (const struct raw_name *name = names; name; name = name->next) {
        n++;
    }
    uint32_t *list = ARENA_ARRAY(r->arena, n + 1u, uint32_t);
    if (!list) {
        resolver_no_memory(r);
        *count = 0;
        return NULL;
    }
    n = 0;
    for (const struct raw_name *name = names; name; name = name->next) {
        struct common_def *common = NULL;
        struct entity_def *entity = NULL;
        resolver_look_up(r, name->name, space, false, true, &common, &entity);
        if (entity && entity->type) {
            list[n++] = entity->type->index;
        } else {
            resolver_unknown_name(r, name, false, true);
        }
    }
    *count = sort_unique(list, n);
    return list;
}

static const struct cedar_type *resolve_shape(struct resolver *r,
    const struct raw_type *raw, struct str space, const char *what,
    struct str name, uint32_t offset)
{
    static const struct raw_type empty = {.kind = RAW_RECORD};
    const struct cedar_type *type =
        resolve_type(r, raw ? raw : &empty, space, 1);
    if (type && type->kind != CEDAR_TYPE_RECORD) {
        resolver_fail(
            r, schema_error(r->reader, raw ? raw->offset : offset,
                   "the %s of `%.*s` has to be a record", what, STR_ARG(name)));
        return NULL;
    }
    return type;
}

static void resolve_entities(struct resolver *r)
{
    for (size_t i = 0; i < r->entity_count; i++) {
        struct entity_def *def = &r->entities[i];
        struct cedar_entity_type *t = def->type;
        if (!def->raw || !t) {
            continue;
        }
        struct cedar_type proto = {
            .kind = CEDAR_TYPE_ENTITY, .name = t->name, .entity = t};
        t->self = type_table_get(r->types, &proto);
        if (!t->self) {
            resolver_no_memory(r);
            return;
        }
        if (def->raw->is_enum) {
            resolve_choices(r, def->raw, t);
        }
        t->shape = resolve_shape(r, def->raw->shape, def->space, "shape",
            def->name, def->raw->offset);
        if (def->raw->tags) {
            t->tags = resolve_type(r, def->raw->tags, def->space, 1);
        }
        t->ancestors = resolve_entity_names(
            r, def->raw->parents, def->space, &t->ancestor_count);
    }
}

static const struct cedar_entity_type *const *resolve_applies(
    struct resolver *r, const struct raw_name *names, struct str space,
    uint32_t *count)
{
    uint32_t n = 0;
    const uint32_t *indexes = resolve_entity_names(r, names, space, &n);
    const struct cedar_entity_type **list =
        ARENA_ARRAY(r->arena, n + 1u, const struct cedar_entity_type *);
    if (!indexes || !list) {
        resolver_no_memory(r);
        return NULL;
    }
    for (uint32_t i = 0; i < n; i++) {
        list[i] = &r->reader->schema->entity_types[indexes[i]];
    }
    *count = n;
    return list;
}

static void resolve_action_parents(struct resolver *r,
    const struct action_def *def, struct cedar_action *action)
{
    uint32_t n = 0;
    for (const struct raw_parent *p = def->raw->parents; p; p = p->next) {
        n++;
    }
    uint32_t *list = ARENA_ARRAY(r->arena, n + 1u, uint32_t);
    if (!list) {
        resolver_no_memory(r);
        return;
    }
    n = 0;
    for (const struct raw_parent *p = def->raw->parents; p; p = p->next) {
        const struct action_def *found =
            resolver_find_action(r, p->type, p->id, def->space);
        if (found) {
            list[n++] = (uint32_t)(found - r->actions);
        } else {
            resolver_fail(r, schema_error(r->reader, p->offset,
                                 "there is no action %.*s::\"%.*s\"",
                                 STR_ARG(p->type), STR_ARG(p->id)));
        }
    }
    action->ancestors = list;
    action->ancestor_count = sort_unique(list, n);
}

static void resolve_actions(struct resolver *r)
{
    for (size_t i = 0; i < r->action_count; i++) {
        const struct action_def *def = &r->actions[i];
        struct cedar_action *action = &r->reader->schema->actions[i];
        *action = (struct cedar_action){
            .uid = def->uid, .index = (uint32_t)i, .offset = def->raw->offset};
        struct cedar_type proto = {
            .kind = CEDAR_TYPE_ENTITY, .name = def->uid.type};
        action->self = type_table_get(r->types, &proto);
        if (!action->self) {
            resolver_no_memory(r);
            return;
        }
        resolve_action_parents(r, def, action);
        action->principals = resolve_applies(
            r, def->raw->principals, def->space, &action->principal_count);
        action->resources = resolve_applies(
            r, def->raw->resources, def->space, &action->resource_count);
        action->context = resolve_shape(r, def->raw->context, def->space,
            "context", def->uid.id, def->raw->offset);
    }
}

/* Gives every declared entity type its place; entity definitions are sorted,
 * and so are the types. */
static void make_room(struct resolver *r)
{
    struct cedar_schema *schema = r->reader->schema;
    schema->entity_types =
        ARENA_ARRAY(r->arena, r->entity_count + 1, struct cedar_entity_type);
    schema->actions =
        ARENA_ARRAY(r->arena, r->action_count + 1, struct cedar_action);
    if (!schema->entity_types || !schema->actions) {
        resolver_no_memory(r);
        return;
    }
    for (size_t i = 0; i < r->entity_count; i++) {
        struct entity_def *def = &r->entities[i];
        if (def->raw) {
            def->type = &schema->entity_types[schema->entity_type_count];
            *def->type = (struct cedar_entity_type){.name = def->name,
                .index = schema->entity_type_count++,
                .offset = def->raw->offset};
        }
    }
    schema->action_count = (uint32_t)r->action_count;
}

enum err schema_resolve(struct schema_reader *reader)
{
    struct resolver r = {.reader = reader, .arena = reader->schema->arena};
    r.status = type_table_new(r.arena, &r.types);
    if (r.status == ERR_OK) {
        resolver_collect(&r);
    }
    if (r.status == ERR_OK) {
        make_room(&r);
    }
    if (r.status == ERR_OK) {
        for (size_t i = 0; i < r.common_count; i++) {
            if (r.commons[i].raw) {
                (void)resolve_common(
                    &r, &r.commons[i], r.commons[i].raw->offset, 0);
            }
        }
        resolve_entities(&r);
        resolve_actions(&r);
    }
    if (r.status == ERR_OK) {
        r.status = schema_close(reader);
    }
    free(r.commons);
    free(r.entities);
    free(r.actions);
    type_table_free(&r.types);
    return r.status;
}
