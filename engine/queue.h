/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/queue.h - who waits for an engine's place, and who comes next.
 *
 * An engine with max_concurrent has so many places (engine/pool.h). Who finds
 * all of them taken waits here. Waiters stand in flows: a flow is a team and a
 * priority. Flows share the places by weight (start-time fair queueing), within
 * a flow the first to come is the first to go. So a flow that has sent
 * thousands waits for itself; another one's first request takes one of the next
 * places that get free. No flow waits for ever: weights share, they do not
 * shut out.
 *
 * Bounded: when as many wait as may, the newest of the flow that has most for
 * its weight goes, if that is another one than the newcomer's own. A newcomer
 * that finds a place nobody waits for takes it, however many wait for others.
 *
 * One mutex, taken only where somebody waits or has to. Any thread; a waiter
 * belongs to one thread, and hears through its mailbox. */
#ifndef ENGINE_QUEUE_H
#define ENGINE_QUEUE_H

#include "engine/pool.h"

#define QUEUE_TARGETS 8
#define QUEUE_WEIGHT_MAX 100000u

struct queue;
struct queue_waiter;

/* Where one thread hears of its waiters. `wake` is called from any thread, with
 * the queue locked: it may only leave a note. Zeroed but for wake, context. */
struct queue_mailbox {
    void (*wake)(void *context);
    void *context;
    _Atomic bool any;
    struct queue_waiter *first, *last; /* the queue's */
};

enum queue_state {
    QUEUE_OUT,     /* not in the queue; zero */
    QUEUE_WAITS,   /* stands in it */
    QUEUE_GRANTED, /* has the place of targets[granted]; in the mailbox */
    QUEUE_PUSHED   /* had to go for another flow's; in the mailbox */
};

/* Embedded in whoever waits. Zero is out. */
struct queue_waiter {
    /* in; kept until it is out again */
    struct str team;
    unsigned weight; /* of the flow, 1 to QUEUE_WEIGHT_MAX */
    int priority;    /* tells flows of a team apart */
    struct {
        struct pool_engine *engine;
        const struct engine_target *target;
    } targets[QUEUE_TARGETS]; /* the most wanted first */
    unsigned target_count;
    struct queue_mailbox *mailbox;
    /* out */
    unsigned granted;
    /* the queue's */
    enum queue_state state;
    struct queue_flow *flow;
    struct queue_waiter *next, *previous;
};

/* At most `most` wait. NULL: out of memory. gives. */
struct queue *queue_new(size_t most);
void queue_free(struct queue **queue); /* nobody waits */

/* Does anybody wait? Then a newcomer has to, too, or it would jump the queue.
 */
bool queue_any(const struct queue *queue);
size_t queue_length(const struct queue *queue);

/* Puts the waiter in. It may have been granted a place when this returns (then
 * it is not in the mailbox, and out: state QUEUE_OUT, ERR_EXISTS is returned).
 * ERR_OK: waits. ERR_FULL: too many wait, none of which should go. ERR_NOMEM.
 */
enum err queue_enter(struct queue *queue, struct queue_waiter *waiter,
    int64_t monotonic_us) MUSTCHECK;
/* Is it full, and would a newcomer of `team` not push out another one's, in any
 * of these flows? So it need not be asked what it wants. Cheap while there is
 * room. */
struct queue_flow_kind {
    int priority;
    unsigned weight;
};
bool queue_is_full_for(struct queue *queue, struct str team,
    const struct queue_flow_kind *kinds, size_t count);
/* Takes it out. True: it had been granted a place, which is its own now (to be
 * used, or to be given back with pool_end and queue_freed). */
bool queue_leave(struct queue *queue, struct queue_waiter *waiter);
/* The next one that was granted a place or pushed out; it is out then, *how
 * says why. NULL: none. */
struct queue_waiter *queue_take(
    struct queue *queue, struct queue_mailbox *mailbox, enum queue_state *how);

/* After pool_end. */
void queue_freed(
    struct queue *queue, struct pool_engine *engine, int64_t monotonic_us);
/* After whatever else may have made places: an engine that came up, a greater
 * max_concurrent. Now and then is enough. */
void queue_sweep(struct queue *queue, int64_t monotonic_us);

#endif
