/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/typecheck_types.c - the validator's arithmetic of types and of
 * capabilities. Pure. */
#include "policy/cedar/cedar_priv.h"
#include "policy/cedar/typecheck_priv.h"

#include <stdio.h>

/* --- Types --- */

static struct cedar_type *new_type(
    struct checker *c, enum cedar_type_kind kind, uint32_t count)
{
    struct cedar_type *type = ARENA_NEW(c->arena, struct cedar_type);
    if (!type) {
        c->no_memory = true;
        return NULL;
    }
    type->kind = (uint8_t)kind;
    type->count = count;
    return type;
}

const struct cedar_type *checker_set_of(
    struct checker *c, const struct cedar_type *element)
{
    struct cedar_type *type = new_type(c, CEDAR_TYPE_SET, 0);
    if (type) {
        type->element = element;
    }
    return type;
}

static int by_key(const void *a, const void *b)
{
    const struct cedar_attribute *x = a, *y = b;
    return cedar_key_compare(x->key, y->key);
}

const struct cedar_type *checker_record_of(
    struct checker *c, struct cedar_attribute *attributes, uint32_t count)
{
    struct cedar_type *type = new_type(c, CEDAR_TYPE_RECORD, count);
    cedar_sort(attributes, count, sizeof(*attributes), by_key);
    if (type) {
        type->attributes = attributes;
    }
    return type;
}

static const struct cedar_type *join_records(
    struct checker *c, const struct cedar_type *a, const struct cedar_type *b)
{
    if (a->count != b->count) {
        return NULL;
    }
    struct cedar_attribute *joined =
        ARENA_ARRAY(c->arena, a->count + 1u, struct cedar_attribute);
    if (!joined) {
        c->no_memory = true;
        return NULL;
    }
    for (uint32_t i = 0; i < a->count; i++) {
        const struct cedar_attribute *x = &a->attributes[i];
        const struct cedar_attribute *y = &b->attributes[i];
        if (!cedar_key_equal(x->key, y->key) || x->required != y->required) {
            return NULL;
        }
        joined[i] = *x;
        joined[i].type = checker_join(c, x->type, y->type);
        if (!joined[i].type) {
            return NULL;
        }
    }
    return checker_record_of(c, joined, a->count);
}

/* Types of the schema are unique, so the walk ends where two meet; types made
 * here are no larger than the expressions they come from. */
const struct cedar_type *checker_join(
    struct checker *c, const struct cedar_type *a, const struct cedar_type *b)
{
    if (a == b || !checker_step(c)) {
        return a;
    }
    if (type_is_bool(a) && type_is_bool(b)) {
        return a->kind == b->kind ? a : &checker_bool;
    }
    if (a->kind != b->kind) {
        return NULL;
    }
    switch ((enum cedar_type_kind)a->kind) {
    case CEDAR_TYPE_TRUE:
    case CEDAR_TYPE_FALSE:
    case CEDAR_TYPE_BOOL:
    case CEDAR_TYPE_LONG:
    case CEDAR_TYPE_STRING:
        return a;
    case CEDAR_TYPE_ENTITY:
        return str_equal(a->name, b->name) ? a : NULL;
    case CEDAR_TYPE_EXTENSION:
        return a->extension == b->extension ? a : NULL;
    case CEDAR_TYPE_SET: {
        const struct cedar_type *element =
            checker_join(c, a->element, b->element);
        return element ? checker_set_of(c, element) : NULL;
    }
    case CEDAR_TYPE_RECORD:
        return join_records(c, a, b);
    }
    return NULL;
}

/* --- For messages --- */

static const char *show(char *shown, struct buf *text)
{
    struct str s = buf_str(text);
    size_t length = s.len < SHOWN_MAX - 4 ? s.len : SHOWN_MAX - 4;
    while (length < s.len && length > 0 &&
           ((unsigned char)s.ptr[length] & 0xc0) == 0x80) {
        length--;
    }
    memcpy(shown, s.ptr, length);
    for (size_t i = 0; i < length; i++) {
        if (shown[i] == '\n') {
            shown[i] = ' ';
        }
    }
    snprintf(shown + length, SHOWN_MAX - length, "%s",
        length < s.len || text->failed ? "..." : "");
    buf_fini(text);
    return shown;
}

const char *checker_show_type(
    char shown[SHOWN_MAX], const struct cedar_type *type)
{
    struct buf text;
    buf_init(&text, 4096);
    cedar_type_print(&text, type);
    return show(shown, &text);
}

const char *checker_show_expr(char shown[SHOWN_MAX], const struct cedar_expr *e)
{
    struct buf text;
    buf_init(&text, 4096);
    cedar_expr_print(&text, e);
    return show(shown, &text);
}

/* --- Capabilities --- */

static uint32_t mix(uint32_t hash, uint32_t value)
{
    hash = (hash ^ value) * 0x9e3779b1u;
    return hash ^ hash >> 15;
}

/* Equal expressions have equal hashes. Only the outer layers count: what is
 * guarded is nearly always a variable with a few attributes. */
static uint32_t hash_expr(const struct cedar_expr *e, int layers)
{
    uint32_t hash = mix(e->kind, e->count);
    if (e->kind == CEDAR_EXPR_VARIABLE) {
        hash = mix(hash, e->variable);
    }
    if (e->kind == CEDAR_EXPR_GET) {
        hash = mix(hash, e->path[0].hash);
    }
    if (e->kind == CEDAR_EXPR_LITERAL && e->value.kind == CEDAR_STRING) {
        hash = mix(hash, (uint32_t)str_hash(cedar_text(e->value)));
    }
    if (layers > 0 && e->count > 0) {
        hash = mix(hash, hash_expr(e->items[0], layers - 1));
    }
    return hash;
}

static uint32_t hash_capability(const struct cedar_expr *on,
    const struct cedar_key *attribute, const struct cedar_expr *tag)
{
    uint32_t last = tag ? hash_expr(tag, 3) : attribute->hash;
    return mix(hash_expr(on, 8), last);
}

static bool same_capability(
    const struct capability *a, const struct capability *b)
{
    if (a->hash != b->hash || !a->tag != !b->tag) {
        return false;
    }
    if (a->tag ? !cedar_expr_same(a->tag, b->tag)
               : !cedar_key_equal(a->attribute, b->attribute)) {
        return false;
    }
    return cedar_expr_same(a->on, b->on);
}

static bool contains(struct checker *c, const struct capability *list,
    const struct capability *wanted)
{
    for (; list; list = list->next) {
        if (!checker_step(c)) {
            return false;
        }
        if (same_capability(list, wanted)) {
            return true;
        }
    }
    return false;
}

static struct capability make(const struct cedar_expr *on,
    const struct cedar_key *attribute, const struct cedar_expr *tag)
{
    struct capability made = {
        .on = on, .tag = tag, .hash = hash_capability(on, attribute, tag)};
    if (!tag) {
        made.attribute = *attribute;
    }
    return made;
}

bool capability_is_known(struct checker *c, const struct capability *known,
    const struct cedar_expr *on, const struct cedar_key *attribute,
    const struct cedar_expr *tag)
{
    struct capability wanted = make(on, attribute, tag);
    return contains(c, known, &wanted);
}

static const struct capability *push(struct checker *c,
    const struct capability *item, const struct capability *list)
{
    struct capability *kept = ARENA_NEW(c->arena, struct capability);
    if (!kept) {
        c->no_memory = true;
        return list;
    }
    *kept = *item;
    kept->next = list;
    return kept;
}

const struct capability *capability_new(struct checker *c,
    const struct cedar_expr *on, const struct cedar_key *attribute,
    const struct cedar_expr *tag)
{
    struct capability made = make(on, attribute, tag);
    return push(c, &made, NULL);
}

const struct capability *capability_union(
    struct checker *c, const struct capability *a, const struct capability *b)
{
    if (!a || a == b) {
        return b;
    }
    for (; b && checker_step(c); b = b->next) {
        a = push(c, b, a);
    }
    return a;
}

const struct capability *capability_intersection(
    struct checker *c, const struct capability *a, const struct capability *b)
{
    const struct capability *both = NULL;
    for (; a && b; a = a->next) {
        if (contains(c, b, a)) {
            both = push(c, a, both);
        }
    }
    return both;
}
