/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/entities.c - the entity store: a hash table of nodes, each with
 * all its ancestors.
 *
 * Uids that are named only as parents get a node too (without attributes), so
 * that `in` finds them; they are no entities otherwise. Immutable once
 * finished; any thread. */
#include "policy/cedar/cedar_priv.h"

#include <stdlib.h>

/* Ancestors of all entities together; more is ERR_LIMIT. */
#define ANCESTORS_MAX 50000000u
#define ENTITIES_MAX 50000000u

struct slot {
    uint32_t hash;   /* the upper half of the uid's */
    uint32_t number; /* of the node + 1; 0: free */
};

struct table {
    struct slot *slots;
    uint32_t mask;
};

struct cedar_entities {
    struct arena *arena;
    struct cedar_node *nodes;
    uint32_t node_count;
    uint32_t *present; /* numbers of the nodes that are entities */
    uint32_t present_count;
    struct table table;
    const struct cedar_node *extended; /* stands for that of its number */
};

struct draft {
    const uint32_t *parents; /* ascending, no duplicates */
    uint32_t parent_count;
};

struct cedar_entities_builder {
    struct arena *arena;
    struct cedar_node *nodes;
    struct draft *drafts;
    uint32_t count, room;
    struct table table;
    uint32_t *scratch; /* parents of the one at hand */
    size_t scratch_room;
};

/* --- The table ------------------------------------------------------------*/

static uint32_t find_slot(const struct table *table,
    const struct cedar_node *nodes, const struct cedar_uid *uid)
{
    uint32_t hash = (uint32_t)(uid->hash >> 32);
    for (uint32_t at = (uint32_t)uid->hash & table->mask;;
         at = (at + 1) & table->mask) {
        const struct slot *slot = &table->slots[at];
        if (slot->number == 0 ||
            (slot->hash == hash &&
                cedar_uid_equal(&nodes[slot->number - 1].uid, uid)))
            return at;
    }
}

static bool grow_table(struct cedar_entities_builder *b)
{
    uint32_t size = b->table.slots ? (b->table.mask + 1) * 2 : 64;
    struct table grown = {calloc(size, sizeof(struct slot)), size - 1};
    if (!grown.slots)
        return false;
    for (uint32_t i = 0; i < b->count; i++) {
        uint64_t hash = b->nodes[i].uid.hash;
        uint32_t at = (uint32_t)hash & grown.mask;
        while (grown.slots[at].number)
            at = (at + 1) & grown.mask;
        grown.slots[at] = (struct slot){(uint32_t)(hash >> 32), i + 1};
    }
    free(b->table.slots);
    b->table = grown;
    return true;
}

static bool grow_nodes(struct cedar_entities_builder *b)
{
    uint32_t room = b->room ? b->room * 2 : 64;
    void *nodes = realloc(b->nodes, room * sizeof b->nodes[0]);
    if (!nodes)
        return false;
    b->nodes = nodes;
    void *drafts = realloc(b->drafts, room * sizeof b->drafts[0]);
    if (!drafts)
        return false;
    b->drafts = drafts;
    b->room = room;
    return true;
}

/* The number of uid's node, which is made when it is new. */
static enum err intern(struct cedar_entities_builder *b,
    const struct cedar_uid *uid, uint32_t *number)
{
    if ((!b->table.slots || b->count >= b->table.mask / 4 * 3) &&
        !grow_table(b))
        return ERR_NOMEM;
    uint32_t at = find_slot(&b->table, b->nodes, uid);
    if (b->table.slots[at].number) {
        *number = b->table.slots[at].number - 1;
        return ERR_OK;
    }
    if (b->count >= ENTITIES_MAX)
        return ERR_LIMIT;
    if (b->count == b->room && !grow_nodes(b))
        return ERR_NOMEM;
    const struct cedar_uid *copy = cedar_uid_copy(b->arena, uid);
    if (!copy)
        return ERR_NOMEM;
    b->nodes[b->count] = (struct cedar_node){.uid = *copy, .number = b->count};
    b->drafts[b->count] = (struct draft){0};
    *number = b->count++;
    b->table.slots[at] = (struct slot){(uint32_t)(uid->hash >> 32), b->count};
    return ERR_OK;
}

/* --- The builder ----------------------------------------------------------*/

enum err cedar_entities_builder_new(struct cedar_entities_builder **out)
{
    struct cedar_entities_builder *b = calloc(1, sizeof *b);
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

void cedar_entities_builder_free(struct cedar_entities_builder **builder)
{
    struct cedar_entities_builder *b = *builder;
    if (!b)
        return;
    arena_free(&b->arena);
    free(b->nodes);
    free(b->drafts);
    free(b->table.slots);
    free(b->scratch);
    free(b);
    *builder = NULL;
}

struct arena *cedar_entities_builder_arena(
    struct cedar_entities_builder *builder)
{
    return builder->arena;
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The parents' numbers, ascending and without duplicates, in the arena. */
static enum err intern_parents(struct cedar_entities_builder *b,
    const struct cedar_uid *parents, size_t count, struct draft *out)
{
    if (count > b->scratch_room) {
        uint32_t *grown = realloc(b->scratch, count * sizeof *grown);
        if (!grown)
            return ERR_NOMEM;
        b->scratch = grown;
        b->scratch_room = count;
    }
    for (size_t i = 0; i < count; i++) {
        enum err err = intern(b, &parents[i], &b->scratch[i]);
        if (err != ERR_OK)
            return err;
    }
    cedar_sort(b->scratch, count, sizeof b->scratch[0], compare_numbers);
    uint32_t *kept = ARENA_ARRAY(b->arena, count, uint32_t);
    if (!kept)
        return ERR_NOMEM;
    uint32_t unique = 0;
    for (size_t i = 0; i < count; i++)
        if (unique == 0 || kept[unique - 1] != b->scratch[i])
            kept[unique++] = b->scratch[i];
    *out = (struct draft){kept, unique};
    return ERR_OK;
}

static bool same(const struct cedar_node *node, const struct draft *draft,
    const struct cedar_record *attributes, const struct cedar_record *tags,
    const struct draft *parents)
{
    return draft->parent_count == parents->parent_count &&
           (parents->parent_count == 0 ||
               memcmp(draft->parents, parents->parents,
                   parents->parent_count * sizeof(uint32_t)) == 0) &&
           cedar_value_equal(cedar_record_value(node->attributes),
               cedar_record_value(attributes)) &&
           cedar_value_equal(
               cedar_record_value(node->tags), cedar_record_value(tags));
}

static enum err uid_error(struct errinfo *info, enum err code,
    const struct cedar_uid *uid, const char *words)
{
    if (!info)
        return code;
    struct buf name;
    buf_init(&name, 512);
    cedar_uid_print(&name, uid);
    errinfo_set(info, code, "entity %.*s %s", STR_ARG(buf_str(&name)), words);
    buf_fini(&name);
    return code;
}

enum err cedar_entities_builder_add(struct cedar_entities_builder *builder,
    const struct cedar_uid *uid, const struct cedar_uid *parents,
    size_t parent_count, const struct cedar_record *attributes,
    const struct cedar_record *tags, struct errinfo *info)
{
    struct cedar_entities_builder *b = builder;
    attributes = attributes ? attributes : &cedar_record_empty;
    tags = tags ? tags : &cedar_record_empty;
    uint32_t number = 0;
    struct draft draft;
    enum err err = intern(b, uid, &number);
    if (err == ERR_OK)
        err = intern_parents(b, parents, parent_count, &draft);
    if (err == ERR_NOMEM)
        return errinfo_set(info, err, "out of memory");
    if (err != ERR_OK)
        return errinfo_set(info, err, "more than %u entities", ENTITIES_MAX);
    struct cedar_node *node = &b->nodes[number];
    if (node->attributes) {
        if (same(node, &b->drafts[number], attributes, tags, &draft))
            return ERR_OK;
        return uid_error(info, ERR_EXISTS, uid,
            "is given twice, with different parents, attributes or tags");
    }
    node->attributes = attributes;
    node->tags = tags;
    b->drafts[number] = draft;
    return ERR_OK;
}

/* --- Ancestors ------------------------------------------------------------*/

/* A walk from the children up, parents finished first. */
struct closure {
    struct cedar_entities_builder *b;
    uint8_t *state;  /* by node: 0 new, 1 on the way, 2 finished */
    uint32_t *stack; /* the way */
    uint32_t *next;  /* by node: the parent to look at next */
    uint32_t *marks; /* by node: number + 1 of the last that took it up */
    uint32_t *taken; /* ancestors of the one at hand */
    uint64_t total;
};

static void take(
    struct closure *c, uint32_t ancestor, uint32_t of, uint32_t *count)
{
    if (c->marks[ancestor] == of + 1)
        return;
    c->marks[ancestor] = of + 1;
    c->taken[(*count)++] = ancestor;
}

/* All ancestors of `at` in c->taken, ascending. */
static uint32_t collect(struct closure *c, uint32_t at)
{
    struct cedar_entities_builder *b = c->b;
    const struct draft *draft = &b->drafts[at];
    uint32_t count = 0;
    if (draft->parent_count == 1) {
        /* The parent among its own ancestors, which are in order. */
        const struct cedar_node *parent = &b->nodes[draft->parents[0]];
        uint32_t before = 0;
        while (before < parent->ancestor_count &&
               parent->ancestors[before] < parent->number)
            before++;
        for (uint32_t i = 0; i < before; i++)
            c->taken[count++] = parent->ancestors[i];
        c->taken[count++] = parent->number;
        for (uint32_t i = before; i < parent->ancestor_count; i++)
            c->taken[count++] = parent->ancestors[i];
        return count;
    }
    for (uint32_t i = 0; i < draft->parent_count; i++) {
        const struct cedar_node *parent = &b->nodes[draft->parents[i]];
        take(c, parent->number, at, &count);
        for (uint32_t j = 0; j < parent->ancestor_count; j++)
            take(c, parent->ancestors[j], at, &count);
    }
    cedar_sort(c->taken, count, sizeof c->taken[0], compare_numbers);
    return count;
}

static enum err finish_node(struct closure *c, uint32_t at)
{
    uint32_t count = collect(c, at);
    c->total += count;
    if (c->total > ANCESTORS_MAX)
        return ERR_LIMIT;
    uint32_t *kept = ARENA_ARRAY(c->b->arena, count, uint32_t);
    if (!kept)
        return ERR_NOMEM;
    if (count)
        memcpy(kept, c->taken, count * sizeof kept[0]);
    c->b->nodes[at].ancestors = kept;
    c->b->nodes[at].ancestor_count = count;
    c->state[at] = 2;
    return ERR_OK;
}

static enum err climb(struct closure *c, uint32_t from, struct errinfo *info)
{
    uint32_t depth = 0;
    c->stack[depth++] = from;
    c->state[from] = 1;
    while (depth > 0) {
        uint32_t at = c->stack[depth - 1];
        const struct draft *draft = &c->b->drafts[at];
        if (c->next[at] == draft->parent_count) {
            enum err err = finish_node(c, at);
            if (err != ERR_OK)
                return errinfo_set(info, err,
                    err == ERR_NOMEM
                        ? "out of memory"
                        : "the entities have too many ancestors in all");
            depth--;
            continue;
        }
        uint32_t parent = draft->parents[c->next[at]++];
        if (c->state[parent] == 1)
            return uid_error(info, ERR_INVALID, &c->b->nodes[parent].uid,
                "is its own ancestor: the hierarchy has a cycle");
        if (c->state[parent] == 0) {
            c->state[parent] = 1;
            c->stack[depth++] = parent;
        }
    }
    return ERR_OK;
}

static enum err close_over(
    struct cedar_entities_builder *b, struct errinfo *info)
{
    size_t n = b->count ? b->count : 1;
    struct closure c = {.b = b,
        .state = calloc(n, sizeof *c.state),
        .stack = calloc(n, sizeof *c.stack),
        .next = calloc(n, sizeof *c.next),
        .marks = calloc(n, sizeof *c.marks),
        .taken = calloc(n, sizeof *c.taken)};
    enum err err = ERR_OK;
    if (!c.state || !c.stack || !c.next || !c.marks || !c.taken)
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
    for (uint32_t i = 0; err == ERR_OK && i < b->count; i++)
        if (c.state[i] == 0)
            err = climb(&c, i, info);
    free(c.state);
    free(c.stack);
    free(c.next);
    free(c.marks);
    free(c.taken);
    return err;
}

enum err cedar_entities_builder_finish(struct cedar_entities_builder **builder,
    struct cedar_entities **out, struct errinfo *info)
{
    struct cedar_entities_builder *b = *builder;
    struct cedar_entities *entities = NULL;
    enum err err = close_over(b, info);
    if (err != ERR_OK)
        goto out;
    entities = calloc(1, sizeof *entities);
    uint32_t *present = malloc((b->count ? b->count : 1) * sizeof *present);
    if (!entities || !present || (!b->table.slots && !grow_table(b))) {
        free(entities);
        free(present);
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
        goto out;
    }
    *entities = (struct cedar_entities){.arena = b->arena,
        .nodes = b->nodes,
        .node_count = b->count,
        .present = present,
        .table = b->table};
    for (uint32_t i = 0; i < b->count; i++)
        if (b->nodes[i].attributes)
            present[entities->present_count++] = i;
    b->arena = NULL;
    b->nodes = NULL;
    b->table.slots = NULL;
    *out = entities;
out:
    cedar_entities_builder_free(builder);
    return err;
}

void cedar_entities_free(struct cedar_entities **entities)
{
    struct cedar_entities *e = *entities;
    if (!e)
        return;
    arena_free(&e->arena);
    free(e->nodes);
    free(e->present);
    free(e->table.slots);
    free(e);
    *entities = NULL;
}

/* --- Views ----------------------------------------------------------------*/

static uint32_t append(
    uint32_t *list, uint32_t count, const uint32_t *more, uint32_t more_count)
{
    if (more_count > 0)
        memcpy(list + count, more, more_count * sizeof list[0]);
    return count + more_count;
}

/* Ascending, each once, without the one that must not be above itself. */
static uint32_t tidy(uint32_t *list, uint32_t count, uint32_t without)
{
    uint32_t kept = 0;
    cedar_sort(list, count, sizeof list[0], compare_numbers);
    for (uint32_t i = 0; i < count; i++)
        if (list[i] != without && (kept == 0 || list[kept - 1] != list[i]))
            list[kept++] = list[i];
    return kept;
}

enum err cedar_entities_extend(const struct cedar_entities *base,
    const struct cedar_uid *uid, const struct cedar_uid *parents, size_t count,
    struct arena *arena, const struct cedar_entities **out)
{
    const struct cedar_node *node = cedar_entities_node(base, uid), *above;
    if (!node)
        return ERR_NOTFOUND;
    uint64_t room = node->ancestor_count;
    for (size_t i = 0; i < count; i++)
        if ((above = cedar_entities_node(base, &parents[i])))
            room += 1 + (uint64_t)above->ancestor_count;
    if (room > ANCESTORS_MAX)
        return ERR_LIMIT;
    uint32_t *all = ARENA_ARRAY(arena, room, uint32_t);
    struct cedar_node *wider = ARENA_NEW(arena, struct cedar_node);
    struct cedar_entities *extended = ARENA_NEW(arena, struct cedar_entities);
    if (!all || !wider || !extended)
        return ERR_NOMEM;
    uint32_t n = append(all, 0, node->ancestors, node->ancestor_count);
    for (size_t i = 0; i < count; i++) {
        above = cedar_entities_node(base, &parents[i]);
        if (!above)
            continue;
        n = append(all, n, &above->number, 1);
        n = append(all, n, above->ancestors, above->ancestor_count);
    }
    *wider = *node;
    wider->ancestors = all;
    wider->ancestor_count = tidy(all, n, node->number);
    *extended = *base;
    extended->extended = wider;
    *out = extended;
    return ERR_OK;
}

/* --- Looking up -----------------------------------------------------------*/

const struct cedar_node *cedar_entities_node(
    const struct cedar_entities *entities, const struct cedar_uid *uid)
{
    if (!entities)
        return NULL;
    uint32_t at = find_slot(&entities->table, entities->nodes, uid);
    uint32_t number = entities->table.slots[at].number;
    return number ? cedar_entities_node_at(entities, number - 1) : NULL;
}

const struct cedar_node *cedar_entities_node_at(
    const struct cedar_entities *entities, uint32_t number)
{
    if (entities->extended && entities->extended->number == number)
        return entities->extended;
    return &entities->nodes[number];
}

bool cedar_node_is_below(
    const struct cedar_node *node, const struct cedar_node *ancestor)
{
    const uint32_t *ancestors = node->ancestors;
    uint32_t low = 0, high = node->ancestor_count;
    while (high - low > 8) {
        uint32_t middle = low + (high - low) / 2;
        if (ancestors[middle] > ancestor->number)
            high = middle;
        else
            low = middle;
    }
    for (; low < high; low++)
        if (ancestors[low] == ancestor->number)
            return true;
    return false;
}

static void view(const struct cedar_node *node, struct cedar_entity_view *out)
{
    *out = (struct cedar_entity_view){&node->uid, node->attributes, node->tags};
}

size_t cedar_entities_count(const struct cedar_entities *entities)
{
    return entities->present_count;
}

void cedar_entities_at(const struct cedar_entities *entities, size_t index,
    struct cedar_entity_view *out)
{
    view(&entities->nodes[entities->present[index]], out);
}

bool cedar_entities_find(const struct cedar_entities *entities,
    const struct cedar_uid *uid, struct cedar_entity_view *out)
{
    const struct cedar_node *node = cedar_entities_node(entities, uid);
    if (!node || !node->attributes)
        return false;
    view(node, out);
    return true;
}

bool cedar_entities_in(const struct cedar_entities *entities,
    const struct cedar_uid *descendant, const struct cedar_uid *ancestor)
{
    if (cedar_uid_equal(descendant, ancestor))
        return true;
    const struct cedar_node *below = cedar_entities_node(entities, descendant);
    const struct cedar_node *above = cedar_entities_node(entities, ancestor);
    return below && above && cedar_node_is_below(below, above);
}

void cedar_entities_each_ancestor(const struct cedar_entities *entities,
    const struct cedar_uid *uid, cedar_uid_callback *callback, void *context)
{
    const struct cedar_node *node = cedar_entities_node(entities, uid);
    for (uint32_t i = 0; node && i < node->ancestor_count; i++)
        if (!callback(context, &entities->nodes[node->ancestors[i]].uid))
            return;
}
