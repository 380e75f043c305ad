/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/index.c - which policies' scopes hold for a request, without
 * looking at all of them.
 *
 * Uids and types that scopes name become small numbers (symbols). A request
 * is turned into the symbols of its uids, their ancestors and types, once;
 * after that each scope test is a comparison or one load.
 *
 * Above that stands a tree: an inner node splits its policies by what they
 * ask of one dimension (principal, action, resource or the type of the outer
 * two) into one child per symbol and one for those that ask nothing; a leaf is
 * a list that is tested one by one. A dimension is used at most once on a way
 * down, so the tree is at most CEDAR_DIMENSIONS high. A policy that names
 * several actions stands below each of them. Immutable; any thread. */
#include "policy/cedar/cedar_priv.h"

#include <stdlib.h>

#define LEAF_MAX 6 /* not worth splitting */
#define NO_NODE UINT32_MAX

struct symbols {
    const struct cedar_uid **uids; /* open hash table */
    uint32_t *numbers;
    uint32_t mask;
    uint32_t count;
};

struct types {
    struct str *names; /* open hash table */
    uint32_t *numbers;
    uint32_t mask;
    uint32_t count;
};

struct entry {
    uint32_t symbol; /* CEDAR_NO_SYMBOL: free */
    uint32_t node;
};

struct node {
    uint8_t dimension; /* CEDAR_DIMENSIONS: a leaf */
    uint32_t start;    /* leaf: in `order`; inner: in `entries` */
    uint32_t count;    /* leaf: policies; inner: symbols */
    uint32_t mask;     /* inner */
    uint32_t rest;     /* inner: node of the unconstrained, or NO_NODE */
};

struct cedar_index {
    struct symbols symbols[3];
    struct types types[3];
    const struct cedar_scope_code (*codes)[3];
    const uint32_t *sets;
    const struct node *nodes;
    const struct entry *entries;
    const uint32_t *order;
    uint32_t count; /* of policies */
    uint32_t root;
};

/* --- Symbols --------------------------------------------------------------*/

static uint32_t table_size(uint64_t wanted)
{
    uint32_t size = 16;
    while (size < wanted * 2)
        size *= 2;
    return size;
}

static uint32_t symbol_slot(
    const struct symbols *symbols, const struct cedar_uid *uid)
{
    uint32_t at = (uint32_t)uid->hash & symbols->mask;
    while (symbols->uids[at] && !cedar_uid_equal(symbols->uids[at], uid))
        at = (at + 1) & symbols->mask;
    return at;
}

static uint32_t find_symbol(
    const struct symbols *symbols, const struct cedar_uid *uid)
{
    uint32_t at = symbol_slot(symbols, uid);
    return symbols->uids[at] ? symbols->numbers[at] : CEDAR_NO_SYMBOL;
}

static uint32_t add_symbol(struct symbols *symbols, const struct cedar_uid *uid)
{
    uint32_t at = symbol_slot(symbols, uid);
    if (!symbols->uids[at]) {
        symbols->uids[at] = uid;
        symbols->numbers[at] = symbols->count++;
    }
    return symbols->numbers[at];
}

static uint32_t type_slot(const struct types *types, struct str name)
{
    uint32_t at = (uint32_t)str_hash(name) & types->mask;
    while (types->names[at].ptr && !str_equal(types->names[at], name))
        at = (at + 1) & types->mask;
    return at;
}

static uint32_t find_type(const struct types *types, struct str name)
{
    if (types->count == 0)
        return CEDAR_NO_SYMBOL;
    uint32_t at = type_slot(types, name);
    return types->names[at].ptr ? types->numbers[at] : CEDAR_NO_SYMBOL;
}

static uint32_t add_type(struct types *types, struct str name)
{
    uint32_t at = type_slot(types, name);
    if (!types->names[at].ptr) {
        types->names[at] = name;
        types->numbers[at] = types->count++;
    }
    return types->numbers[at];
}

static const struct cedar_scope *scope_of(
    const struct cedar_policy *policy, unsigned place)
{
    return place == CEDAR_BY_PRINCIPAL ? &policy->principal
           : place == CEDAR_BY_ACTION  ? &policy->action
                                       : &policy->resource;
}

static enum err make_tables(struct arena *arena, struct cedar_index *index,
    const struct cedar_policy *const *policies, unsigned place)
{
    uint64_t uids = 0, names = 0;
    for (uint32_t i = 0; i < index->count; i++) {
        const struct cedar_scope *scope = scope_of(policies[i], place);
        uids += scope->count;
        names += scope->type.len != 0;
    }
    if (uids > UINT32_MAX / 8)
        return ERR_LIMIT;
    uint32_t size = table_size(uids);
    index->symbols[place] = (struct symbols){
        .uids = arena_zalloc(arena, size * sizeof(struct cedar_uid *)),
        .numbers = ARENA_ARRAY(arena, size, uint32_t),
        .mask = size - 1};
    uint32_t type_size = table_size(names);
    index->types[place] = (struct types){
        .names = arena_zalloc(arena, type_size * sizeof(struct str)),
        .numbers = ARENA_ARRAY(arena, type_size, uint32_t),
        .mask = type_size - 1};
    bool fine = index->symbols[place].uids && index->symbols[place].numbers &&
                index->types[place].names && index->types[place].numbers;
    return fine ? ERR_OK : ERR_NOMEM;
}

static enum err make_codes(struct arena *arena, struct cedar_index *index,
    const struct cedar_policy *const *policies)
{
    uint64_t in_sets = 0;
    for (uint32_t i = 0; i < index->count; i++)
        in_sets += policies[i]->action.count;
    struct cedar_scope_code(*codes)[3] =
        arena_array(arena, index->count, sizeof *codes);
    uint32_t *sets = arena_array(arena, in_sets, sizeof *sets);
    if (!codes || !sets)
        return ERR_NOMEM;
    uint32_t used = 0;
    for (uint32_t i = 0; i < index->count; i++) {
        for (unsigned place = 0; place < 3; place++) {
            const struct cedar_scope *scope = scope_of(policies[i], place);
            struct cedar_scope_code *code = &codes[i][place];
            *code = (struct cedar_scope_code){.kind = scope->kind,
                .entity = CEDAR_NO_SYMBOL,
                .type = CEDAR_NO_SYMBOL,
                .count = scope->count};
            if (scope->type.len)
                code->type = add_type(&index->types[place], scope->type);
            if (scope->kind == CEDAR_SCOPE_IN_SET)
                code->entity = used;
            for (uint32_t j = 0; j < scope->count; j++) {
                uint32_t symbol =
                    add_symbol(&index->symbols[place], scope->entities[j].uid);
                if (scope->kind == CEDAR_SCOPE_IN_SET)
                    sets[used++] = symbol;
                else
                    code->entity = symbol;
            }
        }
    }
    index->codes = (const struct cedar_scope_code(*)[3])codes;
    index->sets = sets;
    return ERR_OK;
}

/* --- The tree -------------------------------------------------------------*/

struct pair {
    uint32_t symbol; /* CEDAR_NO_SYMBOL: asks nothing of the dimension */
    uint32_t policy;
};

struct making {
    struct arena *arena;
    const struct cedar_index *index;
    struct node *nodes;
    size_t node_count, node_room;
    struct entry *entries;
    size_t entry_count, entry_room;
    uint32_t *order;
    size_t order_count, order_room;
};

static void *grown(void *array, size_t *room, size_t wanted, size_t size)
{
    if (wanted <= *room)
        return array;
    size_t more = *room ? *room * 2 : 64;
    if (more < wanted)
        more = wanted;
    void *bigger = more > UINT32_MAX - 1 ? NULL : realloc(array, more * size);
    if (bigger)
        *room = more;
    return bigger;
}

/* The symbols that a policy asks for in one dimension; 0: asks nothing. */
static uint32_t asks(const struct cedar_index *index, uint32_t policy,
    unsigned dimension, const uint32_t **symbols)
{
    unsigned place = dimension;
    if (dimension == CEDAR_BY_PRINCIPAL_TYPE)
        place = CEDAR_BY_PRINCIPAL;
    else if (dimension == CEDAR_BY_RESOURCE_TYPE)
        place = CEDAR_BY_RESOURCE;
    const struct cedar_scope_code *code = &index->codes[policy][place];
    if (place != dimension) {
        *symbols = &code->type;
        return code->type != CEDAR_NO_SYMBOL;
    }
    if (code->kind == CEDAR_SCOPE_IN_SET) {
        *symbols = index->sets + code->entity;
        return code->count;
    }
    *symbols = &code->entity;
    return code->entity != CEDAR_NO_SYMBOL;
}

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (x->symbol != y->symbol)
        return x->symbol < y->symbol ? -1 : 1;
    return x->policy < y->policy ? -1 : x->policy > y->policy;
}

/* `action in []` holds for nobody: such a policy is left out. */
static bool is_void(const struct cedar_index *index, uint32_t policy)
{
    const struct cedar_scope_code *code =
        &index->codes[policy][CEDAR_BY_ACTION];
    return code->kind == CEDAR_SCOPE_IN_SET && code->count == 0;
}

/* One pair per policy and symbol, sorted. Gives the expected number of
 * policies left when a request asks like one of these policies. */
static enum err split(const struct making *m, const uint32_t *policies,
    uint32_t count, unsigned dimension, struct pair **out, size_t *out_count,
    double *left)
{
    size_t total = 0;
    const uint32_t *symbols;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t n = asks(m->index, policies[i], dimension, &symbols);
        total += n ? n : 1;
    }
    struct pair *pairs = malloc((total ? total : 1) * sizeof *pairs);
    if (!pairs)
        return ERR_NOMEM;
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t n = asks(m->index, policies[i], dimension, &symbols);
        if (n == 0)
            pairs[at++] = (struct pair){CEDAR_NO_SYMBOL, policies[i]};
        for (uint32_t j = 0; j < n; j++)
            pairs[at++] = (struct pair){symbols[j], policies[i]};
    }
    cedar_sort(pairs, total, sizeof *pairs, compare_pairs);
    size_t kept = 0; /* [Action::"a", Action::"a"] is one pair */
    for (size_t i = 0; i < total; i++)
        if (kept == 0 || compare_pairs(&pairs[kept - 1], &pairs[i]) != 0)
            pairs[kept++] = pairs[i];
    double squares = 0, asking = 0, rest = 0;
    for (size_t i = 0, end; i < kept; i = end) {
        for (end = i + 1; end < kept && pairs[end].symbol == pairs[i].symbol;)
            end++;
        double group = (double)(end - i);
        if (pairs[i].symbol == CEDAR_NO_SYMBOL) {
            rest = group;
        } else {
            squares += group * group;
            asking += group;
        }
    }
    *left = rest + (asking > 0 ? squares / asking : 0);
    *out = pairs;
    *out_count = kept;
    return ERR_OK;
}

static enum err new_node(struct making *m, struct node node, uint32_t *number)
{
    void *nodes =
        grown(m->nodes, &m->node_room, m->node_count + 1, sizeof m->nodes[0]);
    if (!nodes)
        return ERR_NOMEM;
    m->nodes = nodes;
    m->nodes[m->node_count] = node;
    *number = (uint32_t)m->node_count++;
    return ERR_OK;
}

static enum err new_leaf(struct making *m, const uint32_t *policies,
    uint32_t count, uint32_t *number)
{
    void *order = grown(m->order, &m->order_room, m->order_count + count + 1,
        sizeof m->order[0]);
    if (!order)
        return ERR_NOMEM;
    m->order = order;
    struct node leaf = {.dimension = CEDAR_DIMENSIONS,
        .start = (uint32_t)m->order_count,
        .count = count,
        .rest = NO_NODE};
    memcpy(m->order + m->order_count, policies, count * sizeof policies[0]);
    m->order_count += count;
    return new_node(m, leaf, number);
}

static enum err make_node(struct making *m, const uint32_t *policies,
    uint32_t count, unsigned used, uint32_t *number);

/* The children of an inner node: one for each run of equal symbols. */
static enum err make_children(struct making *m, const struct pair *pairs,
    size_t count, unsigned used, unsigned dimension, uint32_t *number)
{
    uint32_t groups = 0;
    for (size_t i = 0; i < count; i++)
        groups += pairs[i].symbol != CEDAR_NO_SYMBOL &&
                  (i == 0 || pairs[i - 1].symbol != pairs[i].symbol);
    uint32_t size = table_size(groups);
    struct node node = {.dimension = (uint8_t)dimension,
        .start = (uint32_t)m->entry_count,
        .count = groups,
        .mask = size - 1,
        .rest = NO_NODE};
    void *entries = grown(m->entries, &m->entry_room, m->entry_count + size,
        sizeof m->entries[0]);
    uint32_t *members = malloc((count ? count : 1) * sizeof *members);
    if (!entries || !members) {
        m->entries = entries ? entries : m->entries;
        free(members);
        return ERR_NOMEM;
    }
    m->entries = entries;
    m->entry_count += size;
    for (uint32_t i = 0; i < size; i++)
        m->entries[node.start + i] = (struct entry){CEDAR_NO_SYMBOL, NO_NODE};
    enum err err = ERR_OK;
    for (size_t i = 0, end; err == ERR_OK && i < count; i = end) {
        for (end = i; end < count && pairs[end].symbol == pairs[i].symbol;
             end++)
            members[end - i] = pairs[end].policy;
        uint32_t child = NO_NODE;
        err = make_node(
            m, members, (uint32_t)(end - i), used | 1u << dimension, &child);
        if (pairs[i].symbol == CEDAR_NO_SYMBOL) {
            node.rest = child;
            continue;
        }
        uint32_t at = pairs[i].symbol & node.mask;
        while (m->entries[node.start + at].symbol != CEDAR_NO_SYMBOL)
            at = (at + 1) & node.mask;
        m->entries[node.start + at] = (struct entry){pairs[i].symbol, child};
    }
    free(members);
    return err == ERR_OK ? new_node(m, node, number) : err;
}

/* Recursion is at most CEDAR_DIMENSIONS deep: each level uses up one. */
static enum err make_node(struct making *m, const uint32_t *policies,
    uint32_t count, unsigned used, uint32_t *number)
{
    struct pair *best = NULL;
    size_t best_count = 0;
    unsigned best_dimension = CEDAR_DIMENSIONS;
    double best_left = (double)count * 0.75; /* a split has to be worth it */
    enum err err = ERR_OK;
    for (unsigned d = 0; count > LEAF_MAX && d < CEDAR_DIMENSIONS; d++) {
        struct pair *pairs;
        size_t pair_count;
        double left;
        if (used & 1u << d)
            continue;
        err = split(m, policies, count, d, &pairs, &pair_count, &left);
        if (err != ERR_OK)
            break;
        if (left < best_left) {
            free(best);
            best = pairs;
            best_count = pair_count;
            best_dimension = d;
            best_left = left;
        } else {
            free(pairs);
        }
    }
    if (err == ERR_OK && best)
        err = make_children(m, best, best_count, used, best_dimension, number);
    else if (err == ERR_OK)
        err = new_leaf(m, policies, count, number);
    free(best);
    return err;
}

static const void *keep(
    struct arena *arena, const void *array, size_t count, size_t size)
{
    void *kept = arena_array(arena, count, size);
    if (kept && count)
        memcpy(kept, array, count * size);
    return kept;
}

static enum err make_tree(struct arena *arena, struct cedar_index *index)
{
    struct making m = {.arena = arena, .index = index};
    uint32_t *all = malloc((index->count ? index->count : 1) * sizeof *all);
    if (!all)
        return ERR_NOMEM;
    uint32_t count = 0;
    for (uint32_t i = 0; i < index->count; i++)
        if (!is_void(index, i))
            all[count++] = i;
    enum err err = make_node(&m, all, count, 0, &index->root);
    if (err == ERR_OK) {
        index->nodes = keep(arena, m.nodes, m.node_count, sizeof m.nodes[0]);
        index->entries =
            keep(arena, m.entries, m.entry_count, sizeof m.entries[0]);
        index->order = keep(arena, m.order, m.order_count, sizeof m.order[0]);
        if (!index->nodes || !index->entries || !index->order)
            err = ERR_NOMEM;
    }
    free(all);
    free(m.nodes);
    free(m.entries);
    free(m.order);
    return err;
}

enum err cedar_index_make(struct arena *arena,
    const struct cedar_policy *const *policies, uint32_t count,
    const struct cedar_index **out)
{
    struct cedar_index *index = ARENA_NEW(arena, struct cedar_index);
    if (!index)
        return ERR_NOMEM;
    index->count = count;
    enum err err = ERR_OK;
    for (unsigned place = 0; err == ERR_OK && place < 3; place++)
        err = make_tables(arena, index, policies, place);
    if (err == ERR_OK)
        err = make_codes(arena, index, policies);
    if (err == ERR_OK)
        err = make_tree(arena, index);
    if (err == ERR_OK)
        *out = index;
    return err;
}

/* --- Looking up -----------------------------------------------------------*/

uint32_t cedar_index_symbols(const struct cedar_index *index, unsigned place)
{
    return index->symbols[place].count;
}

static void found(struct cedar_lookup *lookup, unsigned place, uint32_t symbol)
{
    if (symbol == CEDAR_NO_SYMBOL ||
        lookup->stamps[place][symbol] == lookup->epoch)
        return;
    lookup->stamps[place][symbol] = lookup->epoch;
    lookup->found[place][lookup->found_count[place]++] = symbol;
}

static void find_ancestors(const struct cedar_index *index,
    const struct cedar_entities *entities, const struct cedar_node *node,
    unsigned place, struct cedar_lookup *lookup)
{
    const struct symbols *symbols = &index->symbols[place];
    if (!node || symbols->count == 0)
        return;
    if (node->ancestor_count <= symbols->mask) {
        for (uint32_t i = 0; i < node->ancestor_count; i++)
            found(lookup, place,
                find_symbol(symbols,
                    &cedar_entities_node_at(entities, node->ancestors[i])
                         ->uid));
        return;
    }
    for (uint32_t i = 0; i <= symbols->mask; i++) {
        if (!symbols->uids[i])
            continue;
        const struct cedar_node *above =
            cedar_entities_node(entities, symbols->uids[i]);
        if (above && cedar_node_is_below(node, above))
            found(lookup, place, symbols->numbers[i]);
    }
}

void cedar_index_prepare(const struct cedar_index *index,
    const struct cedar_entities *entities, const struct cedar_request *request,
    const struct cedar_node *const nodes[3], struct cedar_lookup *lookup)
{
    const struct cedar_uid *uids[3] = {
        request->principal, request->action, request->resource};
    for (unsigned place = 0; place < 3; place++) {
        lookup->found_count[place] = 0;
        lookup->self[place] = CEDAR_NO_SYMBOL;
        if (index->symbols[place].count)
            lookup->self[place] =
                find_symbol(&index->symbols[place], uids[place]);
        lookup->type[place] =
            find_type(&index->types[place], uids[place]->type);
        found(lookup, place, lookup->self[place]);
        find_ancestors(index, entities, nodes[place], place, lookup);
    }
}

static bool holds(const struct cedar_index *index,
    const struct cedar_lookup *lookup, const struct cedar_scope_code *code,
    unsigned place)
{
    const uint32_t *stamps = lookup->stamps[place];
    switch ((enum cedar_scope_kind)code->kind) {
    case CEDAR_SCOPE_ANY:
        return true;
    case CEDAR_SCOPE_EQUAL:
        return code->entity == lookup->self[place];
    case CEDAR_SCOPE_IN:
        return stamps[code->entity] == lookup->epoch;
    case CEDAR_SCOPE_IS:
        return code->type == lookup->type[place];
    case CEDAR_SCOPE_IS_IN:
        return code->type == lookup->type[place] &&
               stamps[code->entity] == lookup->epoch;
    case CEDAR_SCOPE_IN_SET:
        for (uint32_t i = 0; i < code->count; i++)
            if (stamps[index->sets[code->entity + i]] == lookup->epoch)
                return true;
        return false;
    }
    return false;
}

static enum err walk_leaf(const struct cedar_index *index,
    const struct node *leaf, struct cedar_lookup *lookup,
    cedar_index_visit *visit, void *context)
{
    for (uint32_t i = 0; i < leaf->count; i++) {
        uint32_t policy = index->order[leaf->start + i];
        const struct cedar_scope_code *codes = index->codes[policy];
        if (!holds(index, lookup, &codes[0], 0) ||
            !holds(index, lookup, &codes[1], 1) ||
            !holds(index, lookup, &codes[2], 2))
            continue;
        if (codes[CEDAR_BY_ACTION].kind == CEDAR_SCOPE_IN_SET) {
            if (lookup->seen[policy] == lookup->epoch)
                continue;
            lookup->seen[policy] = lookup->epoch;
        }
        enum err err = visit(context, policy);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

static uint32_t child_of(
    const struct cedar_index *index, const struct node *node, uint32_t symbol)
{
    for (uint32_t at = symbol & node->mask;; at = (at + 1) & node->mask) {
        const struct entry *entry = &index->entries[node->start + at];
        if (entry->symbol == symbol || entry->symbol == CEDAR_NO_SYMBOL)
            return entry->node;
    }
}

/* Recursion is bounded by the height of the tree. */
static enum err walk_node(const struct cedar_index *index, uint32_t number,
    struct cedar_lookup *lookup, cedar_index_visit *visit, void *context)
{
    if (number == NO_NODE)
        return ERR_OK;
    const struct node *node = &index->nodes[number];
    if (node->dimension == CEDAR_DIMENSIONS)
        return walk_leaf(index, node, lookup, visit, context);
    enum err err = ERR_OK;
    if (node->dimension >= CEDAR_BY_PRINCIPAL_TYPE) {
        unsigned place = node->dimension == CEDAR_BY_PRINCIPAL_TYPE
                             ? CEDAR_BY_PRINCIPAL
                             : CEDAR_BY_RESOURCE;
        if (lookup->type[place] != CEDAR_NO_SYMBOL)
            err = walk_node(index, child_of(index, node, lookup->type[place]),
                lookup, visit, context);
    } else if (lookup->found_count[node->dimension] <= node->mask) {
        const uint32_t *symbols = lookup->found[node->dimension];
        uint32_t count = lookup->found_count[node->dimension];
        for (uint32_t i = 0; err == ERR_OK && i < count; i++)
            err = walk_node(index, child_of(index, node, symbols[i]), lookup,
                visit, context);
    } else {
        const struct entry *entries = &index->entries[node->start];
        const uint32_t *stamps = lookup->stamps[node->dimension];
        for (uint32_t i = 0; err == ERR_OK && i <= node->mask; i++)
            if (entries[i].symbol != CEDAR_NO_SYMBOL &&
                stamps[entries[i].symbol] == lookup->epoch)
                err = walk_node(index, entries[i].node, lookup, visit, context);
    }
    return err == ERR_OK ? walk_node(index, node->rest, lookup, visit, context)
                         : err;
}

enum err cedar_index_walk(const struct cedar_index *index,
    struct cedar_lookup *lookup, cedar_index_visit *visit, void *context)
{
    return walk_node(index, index->root, lookup, visit, context);
}
