/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/schema_types.c - the types of a schema, each made once so that
 * equality is a comparison of pointers; and types as text. Pure. */
#include "policy/cedar/schema_priv.h"

#include "policy/cedar/cedar_priv.h"

#include <stdlib.h>

struct type_table {
    struct arena *arena;
    const struct cedar_type **slots; /* open addressing, a power of two */
    size_t capacity;
    size_t count;
};

enum err type_table_new(struct arena *arena, struct type_table **out)
{
    struct type_table *table = calloc(1, sizeof(*table));
    if (!table) {
        return ERR_NOMEM;
    }
    table->arena = arena;
    table->capacity = 64;
    table->slots = calloc(table->capacity, sizeof(*table->slots));
    if (!table->slots) {
        free(table);
        return ERR_NOMEM;
    }
    *out = table;
    return ERR_OK;
}

void type_table_free(struct type_table **table)
{
    if (*table) {
        free((*table)->slots);
        free(*table);
        *table = NULL;
    }
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

/* Parts are unique already, so their addresses stand for them. */
static uint64_t type_hash(const struct cedar_type *type)
{
    uint64_t hash = mix(type->kind, type->extension);
    switch ((enum cedar_type_kind)type->kind) {
    case CEDAR_TYPE_ENTITY:
        return mix(hash, str_hash(type->name));
    case CEDAR_TYPE_SET:
        return mix(hash, (uint64_t)(uintptr_t)type->element);
    case CEDAR_TYPE_RECORD:
        for (uint32_t i = 0; i < type->count; i++) {
            const struct cedar_attribute *a = &type->attributes[i];
            hash = mix(hash, a->key.hash);
            hash = mix(hash, (uint64_t)(uintptr_t)a->type + a->required);
        }
        return hash;
    case CEDAR_TYPE_TRUE:
    case CEDAR_TYPE_FALSE:
    case CEDAR_TYPE_BOOL:
    case CEDAR_TYPE_LONG:
    case CEDAR_TYPE_STRING:
    case CEDAR_TYPE_EXTENSION:
        break;
    }
    return hash;
}

static bool type_same(const struct cedar_type *a, const struct cedar_type *b)
{
    if (a->kind != b->kind || a->extension != b->extension) {
        return false;
    }
    if (a->kind == CEDAR_TYPE_ENTITY) {
        return str_equal(a->name, b->name);
    }
    if (a->kind == CEDAR_TYPE_SET) {
        return a->element == b->element;
    }
    if (a->kind != CEDAR_TYPE_RECORD) {
        return true;
    }
    bool same = a->count == b->count;
    for (uint32_t i = 0; same && i < a->count; i++) {
        const struct cedar_attribute *x = &a->attributes[i];
        const struct cedar_attribute *y = &b->attributes[i];
        same = cedar_key_equal(x->key, y->key) && x->required == y->required &&
               x->type == y->type;
    }
    return same;
}

static size_t find_slot(
    const struct type_table *table, const struct cedar_type *type)
{
    size_t at = type_hash(type) & (table->capacity - 1);
    while (table->slots[at] && !type_same(table->slots[at], type)) {
        at = (at + 1) & (table->capacity - 1);
    }
    return at;
}

static bool grow(struct type_table *table)
{
    struct type_table wider = {
        .capacity = table->capacity * 2, .arena = table->arena};
    wider.slots = calloc(wider.capacity, sizeof(*wider.slots));
    if (!wider.slots) {
        return false;
    }
    for (size_t i = 0; i < table->capacity; i++) {
        if (table->slots[i]) {
            wider.slots[find_slot(&wider, table->slots[i])] = table->slots[i];
        }
    }
    free(table->slots);
    table->slots = wider.slots;
    table->capacity = wider.capacity;
    return true;
}

static uint16_t type_depth(const struct cedar_type *type)
{
    unsigned depth = 0;
    if (type->kind == CEDAR_TYPE_SET) {
        depth = type->element->depth;
    } else if (type->kind == CEDAR_TYPE_RECORD) {
        for (uint32_t i = 0; i < type->count; i++) {
            unsigned inner = type->attributes[i].type->depth;
            depth = inner > depth ? inner : depth;
        }
    }
    return (uint16_t)(depth + 1);
}

const struct cedar_type *type_table_get(
    struct type_table *table, const struct cedar_type *proto)
{
    if (table->count * 2 >= table->capacity && !grow(table)) {
        return NULL;
    }
    size_t at = find_slot(table, proto);
    if (!table->slots[at]) {
        struct cedar_type *type = ARENA_NEW(table->arena, struct cedar_type);
        if (!type) {
            return NULL;
        }
        *type = *proto;
        type->depth = type_depth(proto);
        table->slots[at] = type;
        table->count++;
    }
    return table->slots[at];
}

const struct cedar_attribute *cedar_type_attribute(
    const struct cedar_type *type, struct cedar_key key)
{
    uint32_t low = 0, high = type->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = cedar_key_compare(type->attributes[middle].key, key);
        if (order == 0) {
            return &type->attributes[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

static int by_name(const void *a, const void *b)
{
    const struct cedar_attribute *const *x = a, *const *y = b;
    return str_compare(cedar_key_str((*x)->key), cedar_key_str((*y)->key));
}

static void print_record(struct buf *out, const struct cedar_type *type)
{
    const struct cedar_attribute **order =
        calloc(type->count + 1u, sizeof(*order));
    if (!order) {
        out->failed = true;
        return;
    }
    for (uint32_t i = 0; i < type->count; i++) {
        order[i] = &type->attributes[i];
    }
    cedar_sort(order, type->count, sizeof(struct cedar_attribute *), by_name);
    buf_append_char(out, '{');
    for (uint32_t i = 0; i < type->count; i++) {
        struct str name = cedar_key_str(order[i]->key);
        buf_append_str(out, i > 0 ? STR(", ") : STR(""));
        if (cedar_ident_is_valid(name)) {
            buf_append_str(out, name);
        } else {
            cedar_quote(out, name);
        }
        buf_append_str(out, order[i]->required ? STR(": ") : STR("?: "));
        cedar_type_print(out, order[i]->type);
    }
    buf_append_char(out, '}');
    free(order);
}

static struct str extension_type_name(enum cedar_kind kind)
{
    return kind == CEDAR_IP         ? STR("ipaddr")
           : kind == CEDAR_DECIMAL  ? STR("decimal")
           : kind == CEDAR_DATETIME ? STR("datetime")
                                    : STR("duration");
}

void cedar_type_print(struct buf *out, const struct cedar_type *type)
{
    /* Types share parts: what is short in memory may be endless as text. */
    if (out->failed) {
        return;
    }
    switch ((enum cedar_type_kind)type->kind) {
    case CEDAR_TYPE_TRUE:
    case CEDAR_TYPE_FALSE:
    case CEDAR_TYPE_BOOL:
        buf_append_str(out, STR("Bool"));
        break;
    case CEDAR_TYPE_LONG:
        buf_append_str(out, STR("Long"));
        break;
    case CEDAR_TYPE_STRING:
        buf_append_str(out, STR("String"));
        break;
    case CEDAR_TYPE_ENTITY:
        buf_append_str(out, type->name);
        break;
    case CEDAR_TYPE_SET:
        buf_append_str(out, STR("Set<"));
        cedar_type_print(out, type->element);
        buf_append_char(out, '>');
        break;
    case CEDAR_TYPE_RECORD:
        print_record(out, type);
        break;
    case CEDAR_TYPE_EXTENSION:
        buf_append_str(
            out, extension_type_name((enum cedar_kind)type->extension));
        break;
    }
}
