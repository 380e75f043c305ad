/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/typecheck_access.c - the types of attribute and tag access and
 * of the questions about entities: has, hasTag, is, in.
 *
 * An optional attribute or a tag may be read only where it is known to be
 * there: behind a `has` or `hasTag` of the same expression. Pure. */
#include "policy/cedar/typecheck_priv.h"

#include <stdlib.h>

#define KIND_ENTITY (1u << CEDAR_TYPE_ENTITY)
#define KINDS_WITH_ATTRIBUTES (KIND_ENTITY | 1u << CEDAR_TYPE_RECORD)

static const char *const attribute_words =
    "something with attributes (an entity or a record)";

static struct typing typed(const struct cedar_type *type)
{
    return (struct typing){.type = type};
}

/* --- Attributes --- */

/* NULL: there is no such attribute. Actions have none at all. */
static const struct cedar_attribute *find_attribute(
    const struct cedar_type *type, struct cedar_key key)
{
    if (type->kind == CEDAR_TYPE_ENTITY) {
        type = type->entity ? type->entity->shape : NULL;
    }
    return type ? cedar_type_attribute(type, key) : NULL;
}

static void report_unknown(struct checker *c, const struct cedar_expr *e,
    const struct cedar_type *type, struct cedar_key key)
{
    const struct cedar_type *shape = type;
    struct str hint = STR("");
    char shown[SHOWN_MAX];
    if (type->kind == CEDAR_TYPE_ENTITY) {
        shape = type->entity ? type->entity->shape : NULL;
    }
    struct str *names =
        shape ? calloc(shape->count + 1u, sizeof(*names)) : NULL;
    if (names) {
        for (uint32_t i = 0; i < shape->count; i++) {
            names[i] = cedar_key_str(shape->attributes[i].key);
        }
        hint = str_suggest(cedar_key_str(key), names, shape->count);
        free(names);
    }
    bool entity = type->kind == CEDAR_TYPE_ENTITY;
    checker_report(c, e->mark ? e->mark : e->offset,
        "%s%s%s has no attribute `%.*s`%s%.*s%s", entity ? "`" : "",
        entity ? checker_show_type(shown, type) : "this record",
        entity ? "`" : "", STR_ARG(cedar_key_str(key)),
        hint.len > 0 ? "; is `" : "", STR_ARG(hint),
        hint.len > 0 ? "` meant?" : "");
}

struct typing typecheck_get(struct checker *c, const struct capability *known,
    const struct cedar_expr *e)
{
    const struct cedar_expr *on = e->items[0];
    struct typing t =
        typecheck_expect(c, known, on, KINDS_WITH_ATTRIBUTES, attribute_words);
    if (!t.type) {
        return t;
    }
    const struct cedar_attribute *attribute =
        find_attribute(t.type, e->path[0]);
    if (!attribute) {
        report_unknown(c, e, t.type, e->path[0]);
        return typed(NULL);
    }
    if (!attribute->required &&
        !capability_is_known(c, known, on, &e->path[0], NULL)) {
        char expr[SHOWN_MAX];
        struct str name = cedar_key_str(e->path[0]);
        checker_report(c, e->mark ? e->mark : e->offset,
            "the attribute `%.*s` is optional: ask for it first, with `%s has "
            "%.*s && ..`",
            STR_ARG(name), checker_show_expr(expr, on), STR_ARG(name));
        return typed(NULL);
    }
    return typed(attribute->type);
}

/* on.attribute as a node of its own, for paths. */
static const struct cedar_expr *access_node(struct checker *c,
    const struct cedar_expr *on, const struct cedar_key *attribute)
{
    const struct cedar_expr **items =
        ARENA_ARRAY(c->arena, 1, const struct cedar_expr *);
    const struct cedar_expr *made = NULL;
    struct cedar_expr proto = {.kind = CEDAR_EXPR_GET,
        .offset = on->offset,
        .mark = on->mark,
        .path = attribute,
        .path_count = 1};
    if (items) {
        items[0] = on;
        if (cedar_expr_make(c->arena, &proto, items, 1, &made) == ERR_OK) {
            return made;
        }
    }
    c->no_memory = true;
    return NULL;
}

/* One step of a path: `on has attribute`, on being of the type. */
static struct typing has_step(struct checker *c, const struct capability *known,
    const struct cedar_expr *on, const struct cedar_type *type,
    const struct cedar_key *key)
{
    const struct cedar_attribute *attribute = find_attribute(type, *key);
    if (!attribute) {
        return typed(&checker_false);
    }
    /* An entity may be missing from the store, whatever is required of it. */
    bool sure = (attribute->required && type->kind == CEDAR_TYPE_RECORD) ||
                capability_is_known(c, known, on, key, NULL);
    return (struct typing){
        sure ? &checker_true : &checker_bool, capability_new(c, on, key, NULL)};
}

/* x has a.b is x has a && x.a has b. */
struct typing typecheck_has(struct checker *c, const struct capability *known,
    const struct cedar_expr *e)
{
    const struct cedar_expr *on = e->items[0];
    struct typing base =
        typecheck_expect(c, known, on, KINDS_WITH_ATTRIBUTES, attribute_words);
    const struct cedar_type *type = base.type;
    struct typing all = {&checker_true, NULL};
    if (!type) {
        return typed(NULL);
    }
    for (uint32_t i = 0; i < e->path_count; i++) {
        struct typing step = has_step(c, known, on, type, &e->path[i]);
        if (type_is(step.type, CEDAR_TYPE_FALSE)) {
            return step;
        }
        if (!type_is(step.type, CEDAR_TYPE_TRUE)) {
            all.type = &checker_bool;
        }
        all.gains = capability_union(c, all.gains, step.gains);
        known = capability_union(c, known, step.gains);
        if (i + 1 == e->path_count) {
            break;
        }
        type = find_attribute(type, e->path[i])->type;
        on = access_node(c, on, &e->path[i]);
        if (!on) {
            return typed(NULL);
        }
        if (!(KINDS_WITH_ATTRIBUTES >> type->kind & 1)) {
            char expr[SHOWN_MAX], shown[SHOWN_MAX];
            checker_report(c, e->mark ? e->mark : e->offset,
                "expected %s, but `%s` is of type %s", attribute_words,
                checker_show_expr(expr, on), checker_show_type(shown, type));
            return typed(NULL);
        }
    }
    return all;
}

/* --- Tags --- */

/* The entity and the tag's name; false after an error. */
static bool check_tag_operands(struct checker *c,
    const struct capability *known, const struct cedar_expr *e,
    struct typing *entity)
{
    *entity = typecheck_expect(c, known, e->items[0], KIND_ENTITY, "an entity");
    struct typing name = typecheck_expect(
        c, known, e->items[1], 1u << CEDAR_TYPE_STRING, "a text (String)");
    return entity->type && name.type;
}

struct typing typecheck_has_tag(struct checker *c,
    const struct capability *known, const struct cedar_expr *e)
{
    struct typing entity;
    if (!check_tag_operands(c, known, e, &entity)) {
        return typed(NULL);
    }
    if (!entity.type->entity || !entity.type->entity->tags) {
        return typed(&checker_false);
    }
    bool sure = capability_is_known(c, known, e->items[0], NULL, e->items[1]);
    return (struct typing){sure ? &checker_true : &checker_bool,
        capability_new(c, e->items[0], NULL, e->items[1])};
}

struct typing typecheck_get_tag(struct checker *c,
    const struct capability *known, const struct cedar_expr *e)
{
    struct typing entity;
    char shown[SHOWN_MAX], name[SHOWN_MAX];
    uint32_t place = e->mark ? e->mark : e->offset;
    if (!check_tag_operands(c, known, e, &entity)) {
        return typed(NULL);
    }
    if (!entity.type->entity || !entity.type->entity->tags) {
        checker_report(c, place, "entities of the type `%s` have no tags",
            checker_show_type(shown, entity.type));
        return typed(NULL);
    }
    if (!capability_is_known(c, known, e->items[0], NULL, e->items[1])) {
        checker_report(c, place,
            "the tag may be missing: ask for it first, with `%s.hasTag(%s) && "
            "..`",
            checker_show_expr(shown, e->items[0]),
            checker_show_expr(name, e->items[1]));
        return typed(NULL);
    }
    return typed(entity.type->entity->tags);
}

/* --- is, in --- */

struct typing typecheck_is(struct checker *c, const struct capability *known,
    const struct cedar_expr *e)
{
    struct typing entity =
        typecheck_expect(c, known, e->items[0], KIND_ENTITY, "an entity");
    if (!entity.type) {
        return entity;
    }
    if (!str_equal(entity.type->name, e->type)) {
        return typed(&checker_false);
    }
    return e->count == 1 ? typed(&checker_true)
                         : typecheck_in(c, known, e, e->items[0], e->items[1]);
}

/* Is some action of type `b` above one of type `a`? */
static bool action_types_in(struct checker *c, struct str a, struct str b)
{
    size_t count = cedar_schema_action_count(c->schema);
    for (size_t i = 0; i < count; i++) {
        const struct cedar_action *low = cedar_schema_action_at(c->schema, i);
        if (!str_equal(low->uid.type, a)) {
            continue;
        }
        for (uint32_t k = 0; k < low->ancestor_count; k++) {
            const struct cedar_action *high =
                cedar_schema_action_at(c->schema, low->ancestors[k]);
            if (str_equal(high->uid.type, b)) {
                return true;
            }
        }
    }
    return false;
}

bool checker_type_in(
    struct checker *c, const struct cedar_type *a, const struct cedar_type *b)
{
    if (str_equal(a->name, b->name)) {
        return true;
    }
    if (a->entity && b->entity) {
        return cedar_entity_type_in(a->entity, b->entity);
    }
    return !a->entity && !b->entity && action_types_in(c, a->name, b->name);
}

static const struct cedar_uid *literal_uid(
    struct checker *c, const struct cedar_expr *e)
{
    if (e->kind == CEDAR_EXPR_LITERAL && e->value.kind == CEDAR_ENTITY) {
        return e->value.entity;
    }
    return e->kind == CEDAR_EXPR_VARIABLE && e->variable == CEDAR_ACTION
               ? &c->action->uid
               : NULL;
}

/* For a known action on the left and known entities on the right the answer is
 * known too. NULL: it is not. */
static const struct cedar_type *known_action_in(struct checker *c,
    const struct cedar_expr *left, const struct cedar_expr *right)
{
    const struct cedar_uid *uid = literal_uid(c, left);
    if (!uid || !cedar_type_name_is_action(uid->type)) {
        return NULL;
    }
    const struct cedar_action *action = cedar_schema_action(c->schema, uid);
    const struct cedar_expr *const *items = &right;
    uint32_t count = 1;
    if (right->kind == CEDAR_EXPR_SET) {
        items = right->items;
        count = right->count;
    }
    bool found = false;
    for (uint32_t i = 0; i < count; i++) {
        const struct cedar_uid *target = literal_uid(c, items[i]);
        if (!target) {
            return NULL;
        }
        const struct cedar_action *group =
            cedar_schema_action(c->schema, target);
        found = found || (group && action && cedar_action_in(action, group));
    }
    return found ? &checker_true : &checker_false;
}

struct typing typecheck_in(struct checker *c, const struct capability *known,
    const struct cedar_expr *e, const struct cedar_expr *left,
    const struct cedar_expr *right)
{
    struct typing a =
        typecheck_expect(c, known, left, KIND_ENTITY, "an entity");
    struct typing b = typecheck_expect(c, known, right,
        KIND_ENTITY | 1u << CEDAR_TYPE_SET, "an entity or a set of entities");
    if (!a.type || !b.type) {
        return typed(NULL);
    }
    const struct cedar_type *target = b.type;
    if (target->kind == CEDAR_TYPE_SET) {
        target = target->element;
        if (target->kind != CEDAR_TYPE_ENTITY) {
            char shown[SHOWN_MAX];
            checker_report(c, right->offset,
                "expected an entity or a set of entities, not %s; to ask for "
                "an element write set.contains(x)",
                checker_show_type(shown, b.type));
            return typed(NULL);
        }
    }
    const struct cedar_type *answer = known_action_in(c, left, right);
    if (answer) {
        return typed(answer);
    }
    return typed(
        checker_type_in(c, a.type, target) ? &checker_bool : &checker_false);
}
