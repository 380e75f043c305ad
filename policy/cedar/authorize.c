/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/authorize.c - one decision: which policies hold, and what
 * follows from them.
 *
 * Cedar's rule: a satisfied forbid denies, else a satisfied permit allows,
 * else deny. A policy that fails counts as not satisfied and is listed. All
 * working memory is the scratch's; it grows and then stays. */
#include "policy/cedar/cedar_priv.h"

#include <stdlib.h>

#define ARENA_FIRST ((size_t)16 << 10)
#define ARENA_KEEP ((size_t)1 << 20)
#define ARENA_MAX ((size_t)256 << 20)

struct numbers {
    uint32_t *items;
    size_t count, room;
};

struct cedar_scratch {
    struct arena *arena;
    size_t arena_first;
    uint64_t steps;
    struct cedar_lookup lookup;
    size_t found_room[3], stamp_room[3], seen_room;
    struct cedar_evaluation evaluation;
    struct numbers permits, forbids;
    struct cedar_failure *failures;
    size_t failure_count, failure_room;
};

enum err cedar_scratch_new(struct cedar_scratch **out)
{
    struct cedar_scratch *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    s->arena_first = ARENA_FIRST;
    s->steps = CEDAR_STEPS_DEFAULT;
    s->arena = arena_new(s->arena_first, ARENA_MAX);
    if (!s->arena) {
        free(s);
        return ERR_NOMEM;
    }
    *out = s;
    return ERR_OK;
}

void cedar_scratch_free(struct cedar_scratch **scratch)
{
    struct cedar_scratch *s = *scratch;
    if (!s)
        return;
    arena_free(&s->arena);
    for (unsigned i = 0; i < 3; i++) {
        free(s->lookup.found[i]);
        free(s->lookup.stamps[i]);
    }
    free(s->lookup.seen);
    free(s->permits.items);
    free(s->forbids.items);
    free(s->failures);
    free(s);
    *scratch = NULL;
}

void cedar_scratch_set_steps(struct cedar_scratch *scratch, uint64_t steps)
{
    scratch->steps = steps;
}

/* Room for `count` numbers; new ones are 0. */
static bool widen(uint32_t **array, size_t *room, size_t count)
{
    if (count <= *room)
        return true;
    size_t more = *room * 2 > count ? *room * 2 : count;
    uint32_t *wider = realloc(*array, more * sizeof *wider);
    if (!wider)
        return false;
    memset(wider + *room, 0, (more - *room) * sizeof *wider);
    *array = wider;
    *room = more;
    return true;
}

static bool add(struct numbers *list, uint32_t number)
{
    if (list->count == list->room &&
        !widen(&list->items, &list->room, list->count + 16))
        return false;
    list->items[list->count++] = number;
    return true;
}

static enum err prepare(
    struct cedar_scratch *s, const struct cedar_policies *policies)
{
    struct cedar_lookup *lookup = &s->lookup;
    for (unsigned i = 0; i < 3; i++) {
        size_t symbols = cedar_index_symbols(policies->index, i);
        if (!widen(&lookup->found[i], &s->found_room[i], symbols) ||
            !widen(&lookup->stamps[i], &s->stamp_room[i], symbols))
            return ERR_NOMEM;
    }
    if (!widen(&lookup->seen, &s->seen_room, policies->count))
        return ERR_NOMEM;
    if (++lookup->epoch == 0) { /* after 2^32 uses: forget all stamps */
        for (unsigned i = 0; i < 3; i++)
            if (s->stamp_room[i])
                memset(lookup->stamps[i], 0,
                    s->stamp_room[i] * sizeof lookup->stamps[i][0]);
        if (s->seen_room)
            memset(lookup->seen, 0, s->seen_room * sizeof lookup->seen[0]);
        lookup->epoch = 1;
    }
    /* What one request needed, the next may need again: at once then. */
    size_t used = arena_used(s->arena);
    if (used > s->arena_first && s->arena_first < ARENA_KEEP) {
        size_t first = used * 2 < ARENA_KEEP ? used * 2 : ARENA_KEEP;
        struct arena *larger = arena_new(first, ARENA_MAX);
        if (larger) {
            arena_free(&s->arena);
            s->arena = larger;
            s->arena_first = first;
        }
    }
    arena_reset(s->arena);
    s->permits.count = s->forbids.count = s->failure_count = 0;
    return ERR_OK;
}

struct deciding {
    const struct cedar_policies *policies;
    struct cedar_scratch *scratch;
};

static bool add_failure(
    struct cedar_scratch *s, const struct cedar_failure *failure)
{
    if (s->failure_count == s->failure_room) {
        size_t room = s->failure_room ? s->failure_room * 2 : 8;
        void *items = realloc(s->failures, room * sizeof s->failures[0]);
        if (!items)
            return false;
        s->failures = items;
        s->failure_room = room;
    }
    s->failures[s->failure_count++] = *failure;
    return true;
}

static enum err visit(void *context, uint32_t number)
{
    struct deciding *d = context;
    const struct cedar_program *program = &d->policies->programs[number];
    int satisfied = 1;
    if (program->conditions) {
        struct cedar_failure failure = {
            .policy = number, .effect = (enum cedar_effect)program->effect};
        d->scratch->evaluation.failure = &failure;
        d->scratch->evaluation.steps = d->scratch->steps;
        satisfied = cedar_eval_conditions(&d->scratch->evaluation,
            d->policies->code + program->start, program->conditions);
        if (satisfied < 0)
            return add_failure(d->scratch, &failure) ? ERR_OK : ERR_NOMEM;
    }
    if (!satisfied)
        return ERR_OK;
    struct numbers *list = program->effect == CEDAR_PERMIT
                               ? &d->scratch->permits
                               : &d->scratch->forbids;
    return add(list, number) ? ERR_OK : ERR_NOMEM;
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static int compare_failures(const void *a, const void *b)
{
    return compare_numbers(&((const struct cedar_failure *)a)->policy,
        &((const struct cedar_failure *)b)->policy);
}

/* Mostly few, and nearly in order. */
static void sort_numbers(struct numbers *list)
{
    uint32_t *items = list->items;
    if (list->count > 32) {
        cedar_sort(items, list->count, sizeof items[0], compare_numbers);
        return;
    }
    for (size_t i = 1; i < list->count; i++) {
        uint32_t held = items[i];
        size_t at = i;
        for (; at > 0 && items[at - 1] > held; at--)
            items[at] = items[at - 1];
        items[at] = held;
    }
}

enum err cedar_authorize(const struct cedar_policies *policies,
    const struct cedar_entities *entities, const struct cedar_request *request,
    struct cedar_scratch *scratch, struct cedar_answer *out)
{
    enum err err = prepare(scratch, policies);
    if (err != ERR_OK)
        return err;
    struct deciding d = {.policies = policies, .scratch = scratch};
    cedar_evaluation_init(
        &scratch->evaluation, entities, request, scratch->arena);
    cedar_index_prepare(policies->index, entities, request,
        scratch->evaluation.nodes, &scratch->lookup);
    err = cedar_index_walk(policies->index, &scratch->lookup, visit, &d);
    if (err != ERR_OK)
        return err;
    bool allow = scratch->forbids.count == 0 && scratch->permits.count > 0;
    struct numbers *reasons = allow ? &scratch->permits : &scratch->forbids;
    sort_numbers(reasons);
    cedar_sort(scratch->failures, scratch->failure_count,
        sizeof scratch->failures[0], compare_failures);
    *out = (struct cedar_answer){.decision = allow ? CEDAR_ALLOW : CEDAR_DENY,
        .reasons = reasons->items,
        .reason_count = reasons->count,
        .failures = scratch->failures,
        .failure_count = scratch->failure_count};
    return ERR_OK;
}
