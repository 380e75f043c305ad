/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/queue.c - see queue.h.
 *
 * Start-time fair queueing: a flow has a start tag, the virtual time at which
 * its next request begins; one request moves it on by SCALE / weight. The place
 * goes to the flow with the smallest tag among those that can use it, and the
 * virtual time becomes that tag. A flow that was idle starts at the virtual
 * time, so nothing is saved up by keeping silent. */
#include "engine/queue.h"

#include "lib/must.h"

#include <pthread.h>
#include <stdlib.h>

#define SCALE ((uint64_t)QUEUE_WEIGHT_MAX * 1000)
#define TEAM_MAX 256
#define SWEPT 256 /* engines looked at in one sweep */

struct queue_flow {
    struct queue_flow *next;
    struct queue_waiter *first, *last;
    size_t count;
    uint64_t start; /* of its next request */
    unsigned weight;
    int priority;
    size_t team_length;
    char team[TEAM_MAX];
};

struct queue {
    pthread_mutex_t mutex;
    size_t most;
    uint64_t now; /* virtual time */
    struct queue_flow *flows;
    _Atomic size_t length;
};

struct queue *queue_new(size_t most)
{
    struct queue *queue = calloc(1, sizeof(*queue));
    if (queue == NULL)
        return NULL;
    MUST(pthread_mutex_init(&queue->mutex, NULL) == 0);
    queue->most = most;
    return queue;
}

void queue_free(struct queue **queue_ref)
{
    struct queue *queue = *queue_ref;
    *queue_ref = NULL;
    if (queue == NULL)
        return;
    while (queue->flows != NULL) {
        struct queue_flow *flow = queue->flows;
        queue->flows = flow->next;
        MUST(flow->count == 0);
        free(flow);
    }
    pthread_mutex_destroy(&queue->mutex);
    free(queue);
}

static void lock(struct queue *queue)
{
    MUST(pthread_mutex_lock(&queue->mutex) == 0);
}

static void unlock(struct queue *queue)
{
    MUST(pthread_mutex_unlock(&queue->mutex) == 0);
}

size_t queue_length(const struct queue *queue)
{
    return atomic_load(&queue->length);
}

bool queue_any(const struct queue *queue)
{
    return queue_length(queue) > 0;
}

/* --- Flows --------------------------------------------------------------- */

/* Those that are empty and have nothing to make up for are forgotten. */
static void prune_locked(struct queue *queue)
{
    struct queue_flow **at = &queue->flows;
    while (*at != NULL) {
        struct queue_flow *flow = *at;
        if (flow->count == 0 && flow->start <= queue->now) {
            *at = flow->next;
            free(flow);
        } else {
            at = &flow->next;
        }
    }
}

static size_t team_length(struct str team)
{
    return team.len < TEAM_MAX ? team.len : TEAM_MAX;
}

static struct queue_flow *find_locked(
    struct queue *queue, struct str team, int priority)
{
    struct str shown = str_make(team.ptr, team_length(team));
    struct queue_flow *flow = queue->flows;
    while (flow != NULL &&
           (flow->priority != priority ||
               !str_equal(str_make(flow->team, flow->team_length), shown)))
        flow = flow->next;
    return flow;
}

static struct queue_flow *flow_locked(
    struct queue *queue, const struct queue_waiter *waiter)
{
    struct queue_flow *flow =
        find_locked(queue, waiter->team, waiter->priority);
    if (flow == NULL) {
        prune_locked(queue);
        flow = calloc(1, sizeof(*flow));
        if (flow == NULL)
            return NULL;
        flow->priority = waiter->priority;
        flow->team_length = team_length(waiter->team);
        if (flow->team_length > 0)
            memcpy(flow->team, waiter->team.ptr, flow->team_length);
        flow->next = queue->flows;
        queue->flows = flow;
    }
    if (flow->count == 0 && flow->start < queue->now)
        flow->start = queue->now;
    flow->weight = waiter->weight < 1                  ? 1
                   : waiter->weight > QUEUE_WEIGHT_MAX ? QUEUE_WEIGHT_MAX
                                                       : waiter->weight;
    return flow;
}

static void append_locked(
    struct queue *queue, struct queue_flow *flow, struct queue_waiter *waiter)
{
    waiter->flow = flow;
    waiter->next = NULL;
    waiter->previous = flow->last;
    if (flow->last != NULL)
        flow->last->next = waiter;
    else
        flow->first = waiter;
    flow->last = waiter;
    flow->count++;
    waiter->state = QUEUE_WAITS;
    atomic_fetch_add(&queue->length, 1);
}

static void remove_locked(struct queue *queue, struct queue_waiter *waiter)
{
    struct queue_flow *flow = waiter->flow;
    MUST(waiter->state == QUEUE_WAITS);
    if (waiter->previous != NULL)
        waiter->previous->next = waiter->next;
    else
        flow->first = waiter->next;
    if (waiter->next != NULL)
        waiter->next->previous = waiter->previous;
    else
        flow->last = waiter->previous;
    flow->count--;
    waiter->flow = NULL;
    waiter->next = waiter->previous = NULL;
    waiter->state = QUEUE_OUT;
    atomic_fetch_sub(&queue->length, 1);
}

/* --- Mailboxes ----------------------------------------------------------- */

static void post_locked(struct queue_waiter *waiter, enum queue_state state)
{
    struct queue_mailbox *box = waiter->mailbox;
    waiter->state = state;
    waiter->next = NULL;
    waiter->previous = box->last;
    if (box->last != NULL)
        box->last->next = waiter;
    else
        box->first = waiter;
    box->last = waiter;
    atomic_store(&box->any, true);
    box->wake(box->context);
}

static void unpost_locked(struct queue_waiter *waiter)
{
    struct queue_mailbox *box = waiter->mailbox;
    if (waiter->previous != NULL)
        waiter->previous->next = waiter->next;
    else
        box->first = waiter->next;
    if (waiter->next != NULL)
        waiter->next->previous = waiter->previous;
    else
        box->last = waiter->previous;
    waiter->next = waiter->previous = NULL;
    waiter->state = QUEUE_OUT;
    atomic_store(&box->any, box->first != NULL);
}

struct queue_waiter *queue_take(
    struct queue *queue, struct queue_mailbox *mailbox, enum queue_state *how)
{
    if (!atomic_load(&mailbox->any))
        return NULL;
    lock(queue);
    struct queue_waiter *waiter = mailbox->first;
    if (waiter != NULL) {
        *how = waiter->state;
        unpost_locked(waiter);
    }
    unlock(queue);
    return waiter;
}

/* --- Whose turn it is ---------------------------------------------------- */

static bool wants(const struct queue_waiter *waiter,
    const struct pool_engine *engine, unsigned *which)
{
    for (unsigned i = 0; i < waiter->target_count; i++) {
        if (waiter->targets[i].engine == engine) {
            *which = i;
            return true;
        }
    }
    return false;
}

static struct queue_waiter *next_locked(
    struct queue *queue, const struct pool_engine *engine, unsigned *which)
{
    struct queue_waiter *best = NULL;
    for (struct queue_flow *f = queue->flows; f != NULL; f = f->next) {
        if (best != NULL && f->start >= best->flow->start)
            continue;
        for (struct queue_waiter *w = f->first; w != NULL; w = w->next) {
            if (wants(w, engine, which)) {
                best = w;
                break;
            }
        }
    }
    if (best != NULL)
        (void)wants(best, engine, which);
    return best;
}

/* Gives out what the engine has. */
static void dispatch_locked(
    struct queue *queue, struct pool_engine *engine, int64_t monotonic_us)
{
    for (;;) {
        unsigned which = 0;
        struct queue_waiter *waiter = next_locked(queue, engine, &which);
        if (waiter == NULL)
            return;
        /* How many places it has may have changed since the waiter came. */
        struct engine_target target = *waiter->targets[which].target;
        int64_t places = atomic_load(&engine->places);
        if (places >= 0)
            target.max_concurrent = (unsigned)places;
        if (!pool_usable(engine, &target, monotonic_us) ||
            !pool_begin(engine, &target))
            return;
        struct queue_flow *flow = waiter->flow;
        queue->now = flow->start;
        flow->start += SCALE / flow->weight;
        remove_locked(queue, waiter);
        waiter->granted = which;
        post_locked(waiter, QUEUE_GRANTED);
    }
}

void queue_freed(
    struct queue *queue, struct pool_engine *engine, int64_t monotonic_us)
{
    /* Pairs with queue_enter, which counts itself before it looks at places:
     * one of the two sees the other. */
    atomic_thread_fence(memory_order_seq_cst);
    if (!queue_any(queue))
        return;
    lock(queue);
    dispatch_locked(queue, engine, monotonic_us);
    unlock(queue);
}

/* Adds those of the waiter that are not listed yet. */
static unsigned note_engines(const struct queue_waiter *waiter,
    struct pool_engine **engines, unsigned count)
{
    for (unsigned i = 0; i < waiter->target_count && count < SWEPT; i++) {
        unsigned at = 0;
        while (at < count && engines[at] != waiter->targets[i].engine)
            at++;
        if (at == count)
            engines[count++] = waiter->targets[i].engine;
    }
    return count;
}

void queue_sweep(struct queue *queue, int64_t monotonic_us)
{
    if (!queue_any(queue))
        return;
    lock(queue);
    /* The list changes while places are given out: engines first. */
    struct pool_engine *engines[SWEPT];
    unsigned count = 0;
    for (struct queue_flow *f = queue->flows; f != NULL; f = f->next) {
        for (struct queue_waiter *w = f->first; w != NULL; w = w->next)
            count = note_engines(w, engines, count);
    }
    for (unsigned i = 0; i < count; i++)
        dispatch_locked(queue, engines[i], monotonic_us);
    unlock(queue);
}

/* --- In and out ---------------------------------------------------------- */

/* The flow that has most for its weight, where that is more than one that has
 * `count` would have with one more; not `flow` itself. */
static struct queue_flow *longest_locked(const struct queue *queue,
    const struct queue_flow *flow, size_t count, unsigned weight)
{
    struct queue_flow *longest = NULL;
    uint64_t most = (uint64_t)(count + 1) * SCALE / weight;
    for (struct queue_flow *f = queue->flows; f != NULL; f = f->next) {
        uint64_t has = (uint64_t)f->count * SCALE / f->weight;
        if (f != flow && has > most) {
            most = has;
            longest = f;
        }
    }
    return longest;
}

/* Makes room for one more of `flow`. False: this flow is the one that has too
 * many. */
static bool push_locked(struct queue *queue, const struct queue_flow *flow)
{
    struct queue_flow *longest =
        longest_locked(queue, flow, flow->count, flow->weight);
    if (longest == NULL)
        return false;
    struct queue_waiter *newest = longest->last;
    remove_locked(queue, newest);
    post_locked(newest, QUEUE_PUSHED);
    return true;
}

bool queue_is_full_for(struct queue *queue, struct str team,
    const struct queue_flow_kind *kinds, size_t count)
{
    bool full = true;
    if (queue_length(queue) < queue->most)
        return false;
    lock(queue);
    for (size_t i = 0; full && i < count; i++) {
        const struct queue_flow *flow =
            find_locked(queue, team, kinds[i].priority);
        full = longest_locked(queue, flow, flow != NULL ? flow->count : 0,
                   kinds[i].weight) == NULL;
    }
    unlock(queue);
    return full;
}

/* A place that nobody waits for. */
static bool take_free_locked(
    struct queue *queue, struct queue_waiter *waiter, int64_t monotonic_us)
{
    for (unsigned i = 0; i < waiter->target_count; i++) {
        struct pool_engine *engine = waiter->targets[i].engine;
        const struct engine_target *target = waiter->targets[i].target;
        unsigned which;
        if (pool_usable(engine, target, monotonic_us) &&
            next_locked(queue, engine, &which) == NULL &&
            pool_begin(engine, target)) {
            waiter->granted = i;
            return true;
        }
    }
    return false;
}

enum err queue_enter(
    struct queue *queue, struct queue_waiter *waiter, int64_t monotonic_us)
{
    enum err err = ERR_OK;
    MUST(waiter->state == QUEUE_OUT && waiter->mailbox != NULL &&
         waiter->target_count <= QUEUE_TARGETS);
    lock(queue);
    struct queue_flow *flow = flow_locked(queue, waiter);
    if (flow == NULL)
        err = ERR_NOMEM;
    else if (queue_length(queue) < queue->most)
        err = ERR_OK;
    else if (take_free_locked(queue, waiter, monotonic_us))
        err = ERR_EXISTS;
    else if (!push_locked(queue, flow))
        err = ERR_FULL;
    if (err == ERR_OK) {
        append_locked(queue, flow, waiter);
        atomic_thread_fence(memory_order_seq_cst);
        for (unsigned i = 0;
             i < waiter->target_count && waiter->state == QUEUE_WAITS; i++)
            dispatch_locked(queue, waiter->targets[i].engine, monotonic_us);
        if (waiter->state == QUEUE_GRANTED) {
            unpost_locked(waiter);
            err = ERR_EXISTS;
        }
    }
    unlock(queue);
    return err;
}

bool queue_leave(struct queue *queue, struct queue_waiter *waiter)
{
    bool granted = false;
    lock(queue);
    switch (waiter->state) {
    case QUEUE_OUT:
        break;
    case QUEUE_WAITS:
        remove_locked(queue, waiter);
        break;
    case QUEUE_GRANTED:
        granted = true;
        unpost_locked(waiter);
        break;
    case QUEUE_PUSHED:
        unpost_locked(waiter);
        break;
    }
    unlock(queue);
    return granted;
}
