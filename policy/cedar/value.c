/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/value.c - values: making, comparing, looking up, copying.
 *
 * Comparing and copying recurse over sets and records; the constructors bound
 * their depth (CEDAR_VALUE_DEPTH_MAX). Pure; any thread. */
#include "policy/cedar/value.h"

#include "policy/cedar/cedar_priv.h"

const struct cedar_record cedar_record_empty = {0, 1, NULL};

/* --- Keys and uids --------------------------------------------------------*/

struct cedar_key cedar_key_make(struct str name)
{
    uint64_t hash = str_hash(name);
    return (struct cedar_key){
        name.ptr, (uint32_t)name.len, (uint32_t)(hash ^ hash >> 32)};
}

int cedar_key_compare(struct cedar_key a, struct cedar_key b)
{
    if (a.hash != b.hash)
        return a.hash < b.hash ? -1 : 1;
    if (a.len != b.len)
        return a.len < b.len ? -1 : 1;
    return a.ptr == b.ptr || a.len == 0 ? 0 : memcmp(a.ptr, b.ptr, a.len);
}

struct cedar_uid cedar_uid_make(struct str type, struct str id)
{
    uint64_t hash =
        str_hash(type) * UINT64_C(0x9e3779b97f4a7c15) ^ str_hash(id);
    return (struct cedar_uid){type, id, hash};
}

static int compare_str(struct str a, struct str b)
{
    if (a.len != b.len)
        return a.len < b.len ? -1 : 1;
    return a.len == 0 ? 0 : memcmp(a.ptr, b.ptr, a.len);
}

int cedar_uid_compare(const struct cedar_uid *a, const struct cedar_uid *b)
{
    if (a == b)
        return 0;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    int order = compare_str(a->type, b->type);
    return order ? order : compare_str(a->id, b->id);
}

const struct cedar_uid *cedar_uid_copy(
    struct arena *arena, const struct cedar_uid *uid)
{
    struct cedar_uid *copy = arena_alloc(arena, sizeof *copy);
    if (!copy)
        return NULL;
    copy->type = arena_copy(arena, uid->type);
    copy->id = arena_copy(arena, uid->id);
    copy->hash = uid->hash;
    return copy->type.ptr && copy->id.ptr ? copy : NULL;
}

/* --- Comparing ------------------------------------------------------------*/

static int compare_integers(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_sets(const struct cedar_set *a, const struct cedar_set *b)
{
    if (a == b)
        return 0;
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    for (uint32_t i = 0; i < a->count; i++) {
        int order = cedar_value_compare(a->items[i], b->items[i]);
        if (order)
            return order;
    }
    return 0;
}

static int compare_records(
    const struct cedar_record *a, const struct cedar_record *b)
{
    if (a == b)
        return 0;
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    for (uint32_t i = 0; i < a->count; i++) {
        int order = cedar_key_compare(a->fields[i].key, b->fields[i].key);
        if (order == 0)
            order = cedar_value_compare(a->fields[i].value, b->fields[i].value);
        if (order)
            return order;
    }
    return 0;
}

int cedar_value_compare(struct cedar_value a, struct cedar_value b)
{
    if (a.kind != b.kind)
        return a.kind < b.kind ? -1 : 1;
    switch ((enum cedar_kind)a.kind) {
    case CEDAR_NONE:
        return 0;
    case CEDAR_BOOL:
        return (int)a.boolean - (int)b.boolean;
    case CEDAR_LONG:
    case CEDAR_DECIMAL:
    case CEDAR_DATETIME:
    case CEDAR_DURATION:
        return compare_integers(a.integer, b.integer);
    case CEDAR_STRING:
        return compare_str(cedar_text(a), cedar_text(b));
    case CEDAR_ENTITY:
        return cedar_uid_compare(a.entity, b.entity);
    case CEDAR_SET:
        return compare_sets(a.set, b.set);
    case CEDAR_RECORD:
        return compare_records(a.record, b.record);
    case CEDAR_IP:
        return cedar_ip_compare(a.ip, b.ip);
    }
    return 0;
}

bool cedar_value_equal(struct cedar_value a, struct cedar_value b)
{
    if (a.kind != b.kind)
        return false;
    switch ((enum cedar_kind)a.kind) {
    case CEDAR_BOOL:
        return a.boolean == b.boolean;
    case CEDAR_LONG:
    case CEDAR_DECIMAL:
    case CEDAR_DATETIME:
    case CEDAR_DURATION:
        return a.integer == b.integer;
    case CEDAR_STRING:
        return str_equal(cedar_text(a), cedar_text(b));
    case CEDAR_ENTITY:
        return cedar_uid_equal(a.entity, b.entity);
    case CEDAR_NONE:
    case CEDAR_SET:
    case CEDAR_RECORD:
    case CEDAR_IP:
        return cedar_value_compare(a, b) == 0;
    }
    return false;
}

unsigned cedar_value_depth(struct cedar_value v)
{
    if (v.kind == CEDAR_SET)
        return v.set->depth;
    return v.kind == CEDAR_RECORD ? v.record->depth : 0;
}

/* --- Sets and records -----------------------------------------------------*/

static int compare_items(const void *a, const void *b)
{
    return cedar_value_compare(
        *(const struct cedar_value *)a, *(const struct cedar_value *)b);
}

static int compare_fields(const void *a, const void *b)
{
    return cedar_key_compare(((const struct cedar_field *)a)->key,
        ((const struct cedar_field *)b)->key);
}

enum err cedar_set_make(struct arena *arena, const struct cedar_value *items,
    size_t count, struct cedar_value *out)
{
    if (count > UINT32_MAX / 2)
        return ERR_LIMIT;
    struct cedar_set *set =
        arena_alloc(arena, sizeof *set + count * sizeof set->items[0]);
    if (!set)
        return ERR_NOMEM;
    unsigned depth = 0;
    bool all_entities = true;
    for (size_t i = 0; i < count; i++) {
        set->items[i] = items[i];
        all_entities = all_entities && items[i].kind == CEDAR_ENTITY;
        unsigned inner = cedar_value_depth(items[i]);
        depth = inner > depth ? inner : depth;
    }
    if (depth >= CEDAR_VALUE_DEPTH_MAX)
        return ERR_LIMIT;
    cedar_sort(set->items, count, sizeof set->items[0], compare_items);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (kept == 0 ||
            !cedar_value_equal(set->items[kept - 1], set->items[i]))
            set->items[kept++] = set->items[i];
    set->count = (uint32_t)kept;
    set->depth = (uint16_t)(depth + 1);
    set->all_entities = all_entities;
    *out = (struct cedar_value){.kind = CEDAR_SET, .set = set};
    return ERR_OK;
}

enum err cedar_record_init(
    struct cedar_record *record, struct cedar_field *fields, size_t count)
{
    if (count > UINT32_MAX / 2)
        return ERR_LIMIT;
    unsigned depth = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned inner = cedar_value_depth(fields[i].value);
        depth = inner > depth ? inner : depth;
    }
    if (depth >= CEDAR_VALUE_DEPTH_MAX)
        return ERR_LIMIT;
    cedar_sort(fields, count, sizeof fields[0], compare_fields);
    for (size_t i = 1; i < count; i++)
        if (cedar_key_equal(fields[i - 1].key, fields[i].key))
            return ERR_EXISTS;
    record->count = (uint32_t)count;
    record->depth = (uint16_t)(depth + 1);
    record->fields = fields;
    return ERR_OK;
}

enum err cedar_record_make(struct arena *arena, struct cedar_field *fields,
    size_t count, struct cedar_value *out)
{
    struct cedar_record *record = arena_alloc(arena, sizeof *record);
    if (!record)
        return ERR_NOMEM;
    enum err err = cedar_record_init(record, fields, count);
    if (err == ERR_OK)
        *out = cedar_record_value(record);
    return err;
}

/* Short names, mostly: eight bytes at a time, without a call. */
static bool same_bytes(const char *a, const char *b, uint32_t len)
{
    uint64_t x, y;
    if (len > 32)
        return memcmp(a, b, len) == 0;
    for (; len >= 8; len -= 8, a += 8, b += 8) {
        memcpy(&x, a, 8);
        memcpy(&y, b, 8);
        if (x != y)
            return false;
    }
    for (; len > 0; len--)
        if (*a++ != *b++)
            return false;
    return true;
}

/* The first field of at least that hash is found without branches that would
 * be mispredicted; equal hashes stand side by side. */
const struct cedar_value *cedar_record_find(
    const struct cedar_record *record, struct cedar_key key)
{
    if (record->count == 0) /* fields may be NULL then */
        return NULL;
    const struct cedar_field *at = record->fields;
    const struct cedar_field *end = at + record->count;
    for (uint32_t left = record->count; left > 1;) {
        uint32_t half = left / 2;
        at += at[half - 1].key.hash < key.hash ? half : 0;
        left -= half;
    }
    for (; at < end && at->key.hash <= key.hash; at++)
        if (at->key.hash == key.hash && at->key.len == key.len &&
            same_bytes(at->key.ptr, key.ptr, key.len))
            return &at->value;
    return NULL;
}

bool cedar_set_contains(const struct cedar_set *set, struct cedar_value v)
{
    uint32_t low = 0, high = set->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = cedar_value_compare(set->items[middle], v);
        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* --- Copying --------------------------------------------------------------*/

static enum err copy_set(
    struct arena *arena, const struct cedar_set *set, struct cedar_value *out)
{
    struct cedar_set *copy =
        arena_alloc(arena, sizeof *copy + set->count * sizeof copy->items[0]);
    if (!copy)
        return ERR_NOMEM;
    copy->count = set->count;
    copy->depth = set->depth;
    copy->all_entities = set->all_entities;
    for (uint32_t i = 0; i < set->count; i++) {
        enum err err = cedar_value_copy(arena, set->items[i], &copy->items[i]);
        if (err != ERR_OK)
            return err;
    }
    *out = (struct cedar_value){.kind = CEDAR_SET, .set = copy};
    return ERR_OK;
}

static enum err copy_record(struct arena *arena,
    const struct cedar_record *record, struct cedar_value *out)
{
    struct cedar_record *copy = arena_alloc(arena, sizeof *copy);
    struct cedar_field *fields =
        ARENA_ARRAY(arena, record->count, struct cedar_field);
    if (!copy || !fields)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < record->count; i++) {
        const struct cedar_field *from = &record->fields[i];
        struct str name = arena_copy(arena, cedar_key_str(from->key));
        if (!name.ptr)
            return ERR_NOMEM;
        fields[i].key = from->key;
        fields[i].key.ptr = name.ptr;
        enum err err = cedar_value_copy(arena, from->value, &fields[i].value);
        if (err != ERR_OK)
            return err;
    }
    *copy = (struct cedar_record){record->count, record->depth, fields};
    *out = cedar_record_value(copy);
    return ERR_OK;
}

enum err cedar_value_copy(
    struct arena *arena, struct cedar_value v, struct cedar_value *out)
{
    switch ((enum cedar_kind)v.kind) {
    case CEDAR_NONE:
    case CEDAR_BOOL:
    case CEDAR_LONG:
    case CEDAR_DECIMAL:
    case CEDAR_DATETIME:
    case CEDAR_DURATION:
        *out = v;
        return ERR_OK;
    case CEDAR_STRING: {
        struct str text = arena_copy(arena, cedar_text(v));
        if (!text.ptr)
            return ERR_NOMEM;
        *out = cedar_string(text);
        return ERR_OK;
    }
    case CEDAR_ENTITY: {
        const struct cedar_uid *uid = cedar_uid_copy(arena, v.entity);
        if (!uid)
            return ERR_NOMEM;
        *out = cedar_entity(uid);
        return ERR_OK;
    }
    case CEDAR_IP: {
        struct cedar_ip *ip = arena_alloc(arena, sizeof *ip);
        if (!ip)
            return ERR_NOMEM;
        *ip = *v.ip;
        *out = cedar_ip(ip);
        return ERR_OK;
    }
    case CEDAR_SET:
        return copy_set(arena, v.set, out);
    case CEDAR_RECORD:
        return copy_record(arena, v.record, out);
    }
    return ERR_INVALID;
}

const char *cedar_kind_words(enum cedar_kind kind)
{
    switch (kind) {
    case CEDAR_NONE:
        return "nothing";
    case CEDAR_BOOL:
        return "a bool";
    case CEDAR_LONG:
        return "a long";
    case CEDAR_STRING:
        return "a string";
    case CEDAR_ENTITY:
        return "an entity";
    case CEDAR_SET:
        return "a set";
    case CEDAR_RECORD:
        return "a record";
    case CEDAR_IP:
        return "an ip address";
    case CEDAR_DECIMAL:
        return "a decimal";
    case CEDAR_DATETIME:
        return "a datetime";
    case CEDAR_DURATION:
        return "a duration";
    }
    return "nothing";
}
