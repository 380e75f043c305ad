/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/loop.h - one thread's event loop: descriptors, timers, late freeing.
 *
 * Phases of a turn, in this order: wait (epoll) - descriptors - timers -
 * turn hooks - the closing list. Nothing dies inside a callback: hand it to
 * loop_close_later. Everything here belongs to the loop's own thread, but
 * for loop_wake and loop_stop, which any thread (not a signal handler) may
 * call. */
#ifndef LIB_LOOP_H
#define LIB_LOOP_H

#include "lib/err.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;

/* Embedded in whoever owns the descriptor. events are EPOLL* bits. */
struct loop_source {
    void (*ready)(struct loop_source *source, uint32_t events);
};

struct loop_timer {
    void (*expired)(struct loop_timer *timer);
    int64_t due_us; /* monotonic; read only */
    uint32_t slot;  /* place in the heap + 1; 0: not armed. Zero is safe */
};

/* Called once in every turn, after descriptors and timers. */
struct loop_hook {
    void (*turn)(struct loop_hook *hook);
    struct loop_hook *next;
};

struct loop_garbage {
    void (*destroy)(struct loop_garbage *garbage);
    struct loop_garbage *next;
};

enum err loop_new(struct loop **out, struct errinfo *info) MUSTCHECK;
void loop_free(struct loop **loop);
/* Runs until loop_stop. The hooks run in each turn, the last one included. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* Makes the loop run a turn soon; then `woken` (may be NULL) is called. */
void loop_wake(struct loop *loop);
void loop_on_wake(
    struct loop *loop, void (*woken)(void *context), void *context);
/* Do not sleep in the coming wait (work is left for the next turn). */
void loop_again(struct loop *loop);

/* The time at the start of this turn. */
int64_t loop_now(const struct loop *loop);  /* monotonic, us */
int64_t loop_wall(const struct loop *loop); /* CLOCK_REALTIME, us */
/* For how long, at most, what is handled now can have waited for its turn: the
 * measure of how far the loop is behind. Reads the clock. */
int64_t loop_lag(const struct loop *loop);
uint64_t loop_turns(const struct loop *loop); /* the number of this one */

enum err loop_add(struct loop *loop, int fd, uint32_t events,
    struct loop_source *source) MUSTCHECK;
enum err loop_modify(struct loop *loop, int fd, uint32_t events,
    struct loop_source *source) MUSTCHECK;
/* Before close(fd). Events already fetched for this source in the present
 * turn are dropped. */
void loop_remove(struct loop *loop, int fd, struct loop_source *source);

/* Arms or re-arms: O(log n). */
void loop_timer_set(
    struct loop *loop, struct loop_timer *timer, int64_t due_us);
void loop_timer_clear(struct loop *loop, struct loop_timer *timer);
static inline bool loop_timer_armed(const struct loop_timer *timer)
{
    return timer->slot != 0;
}

void loop_add_hook(struct loop *loop, struct loop_hook *hook);
void loop_close_later(struct loop *loop, struct loop_garbage *garbage);

#endif
