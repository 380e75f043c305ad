/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/schema_closure.c - makes memberships of entity types and of
 * actions transitive. Entity types may form cycles, actions may not. Pure. */
#include "policy/cedar/cedar_priv.h"
#include "policy/cedar/schema_priv.h"

#include <stdlib.h>

/* Of all memberships together; 32 MiB. */
#define CLOSURE_MAX (UINT32_C(8) << 20)

struct node {
    uint32_t count;
    const uint32_t *parents;
};

struct closer {
    struct schema_reader *reader;
    struct node *nodes; /* direct memberships */
    uint32_t count;
    uint32_t *mark;  /* last start that reached the node, plus one */
    uint32_t *stack; /* also the list of those reached */
    uint32_t total;
};

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Everything above `start`, ascending; in the arena. `start` itself is among
 * it only when there is a cycle. */
static enum err reach(
    struct closer *c, uint32_t start, const uint32_t **out, uint32_t *count)
{
    uint32_t reached = 0, done = 0;
    uint32_t at = start;
    for (;;) {
        for (uint32_t i = 0; i < c->nodes[at].count; i++) {
            uint32_t parent = c->nodes[at].parents[i];
            if (c->mark[parent] != start + 1) {
                c->mark[parent] = start + 1;
                c->stack[reached++] = parent;
            }
        }
        if (done == reached) {
            break;
        }
        at = c->stack[done++];
    }
    c->total += reached;
    if (c->total > CLOSURE_MAX) {
        schema_error(c->reader, 0,
            "the schema's memberships add up to more than %u; use fewer "
            "levels of `in`",
            CLOSURE_MAX);
        return ERR_LIMIT;
    }
    uint32_t *list =
        ARENA_ARRAY(c->reader->schema->arena, reached + 1u, uint32_t);
    if (!list) {
        return ERR_NOMEM;
    }
    memcpy(list, c->stack, reached * sizeof(*list));
    cedar_sort(list, reached, sizeof(*list), by_number);
    *out = list;
    *count = reached;
    return ERR_OK;
}

static enum err closer_init(
    struct closer *c, struct schema_reader *reader, uint32_t count)
{
    *c = (struct closer){.reader = reader, .count = count};
    c->nodes = calloc(count + 1u, sizeof(*c->nodes));
    c->mark = calloc(count + 1u, sizeof(*c->mark));
    c->stack = calloc(count + 1u, sizeof(*c->stack));
    return c->nodes && c->mark && c->stack ? ERR_OK : ERR_NOMEM;
}

static void closer_fini(struct closer *c)
{
    free(c->nodes);
    free(c->mark);
    free(c->stack);
}

static enum err close_entity_types(struct schema_reader *reader)
{
    struct cedar_schema *schema = reader->schema;
    struct closer c;
    enum err err = closer_init(&c, reader, schema->entity_type_count);
    for (uint32_t i = 0; err == ERR_OK && i < c.count; i++) {
        const struct cedar_entity_type *t = &schema->entity_types[i];
        c.nodes[i] = (struct node){t->ancestor_count, t->ancestors};
    }
    for (uint32_t i = 0; err == ERR_OK && i < c.count; i++) {
        struct cedar_entity_type *t = &schema->entity_types[i];
        err = reach(&c, i, &t->ancestors, &t->ancestor_count);
    }
    closer_fini(&c);
    return err;
}

static enum err close_actions(struct schema_reader *reader)
{
    struct cedar_schema *schema = reader->schema;
    struct closer c;
    enum err err = closer_init(&c, reader, schema->action_count);
    for (uint32_t i = 0; err == ERR_OK && i < c.count; i++) {
        const struct cedar_action *a = &schema->actions[i];
        c.nodes[i] = (struct node){a->ancestor_count, a->ancestors};
    }
    for (uint32_t i = 0; err == ERR_OK && i < c.count; i++) {
        struct cedar_action *a = &schema->actions[i];
        err = reach(&c, i, &a->ancestors, &a->ancestor_count);
        bool own = false;
        for (uint32_t k = 0; err == ERR_OK && k < a->ancestor_count; k++) {
            own = own || a->ancestors[k] == i;
        }
        if (own) {
            err = schema_error(reader, a->offset,
                "the action \"%.*s\" is a member of itself through its groups",
                STR_ARG(a->uid.id));
        }
    }
    closer_fini(&c);
    return err;
}

enum err schema_close(struct schema_reader *reader)
{
    enum err err = close_entity_types(reader);
    return err == ERR_OK ? close_actions(reader) : err;
}
