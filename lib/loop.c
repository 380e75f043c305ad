/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/loop.c - the event loop over epoll.
 *
 * Level-triggered. Timers stand in a 4-ary heap (shallower than a binary one,
 * and the four children share a cache line of due times). Due times are kept
 * in the heap's own entries, so that sifting touches no timer but to tell it
 * its new slot. One thread; loop_wake and loop_stop go through an eventfd. */
#include "lib/loop.h"

#include "lib/clock.h"
#include "lib/must.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS_A_TURN 1024
#define SLEPT_US 100 /* so long a wait was one for something to come */
#define FIRST_TIMERS 64

struct entry {
    int64_t due_us;
    struct loop_timer *timer;
};

struct loop {
    int epoll_fd, wake_fd;
    int64_t now_us, wall_us;
    int64_t oldest_us; /* nothing that is ready has been so for longer */
    uint64_t turns;
    bool drained; /* the last wait gave all that was ready */
    bool again, in_timers;
    _Atomic bool stopping;
    _Atomic bool wake_pending; /* saves the write when one is on its way */
    void (*woken)(void *context);
    void *woken_context;
    struct loop_hook *hooks, **last_hook;
    struct loop_garbage *garbage;
    struct entry *heap;
    uint32_t timer_count, timer_cap;
    int event_count, event_at; /* of the present turn */
    struct epoll_event events[EVENTS_A_TURN];
};

static void read_clocks(struct loop *loop)
{
    loop->now_us = clock_monotonic();
    loop->wall_us = clock_now();
}

enum err loop_new(struct loop **out, struct errinfo *info)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    loop->last_hook = &loop->hooks;
    loop->wake_fd = -1;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd >= 0)
        loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* data.ptr NULL marks the wake descriptor. */
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (loop->wake_fd < 0 ||
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) != 0) {
        enum err err = errinfo_errno(info, ERR_IO,
            "cannot make an event loop (are file descriptors used up? see "
            "ulimit -n)");
        loop_free(&loop);
        return err;
    }
    read_clocks(loop);
    *out = loop;
    return ERR_OK;
}

static void run_garbage(struct loop *loop)
{
    /* destroy may add more: go on until the list stays empty */
    while (loop->garbage) {
        struct loop_garbage *list = loop->garbage;
        loop->garbage = NULL;
        while (list) {
            struct loop_garbage *next = list->next;
            list->destroy(list);
            list = next;
        }
    }
}

void loop_free(struct loop **loop)
{
    if (!*loop)
        return;
    run_garbage(*loop);
    if ((*loop)->wake_fd >= 0)
        close((*loop)->wake_fd);
    if ((*loop)->epoll_fd >= 0)
        close((*loop)->epoll_fd);
    free((*loop)->heap);
    free(*loop);
    *loop = NULL;
}

int64_t loop_now(const struct loop *loop)
{
    return loop->now_us;
}

int64_t loop_wall(const struct loop *loop)
{
    return loop->wall_us;
}

/* --- Waking from other threads ------------------------------------------ */

void loop_wake(struct loop *loop)
{
    if (atomic_exchange(&loop->wake_pending, true))
        return;
    uint64_t one = 1;
    ssize_t put;
    do
        put = write(loop->wake_fd, &one, sizeof one);
    while (put < 0 && errno == EINTR);
    /* EAGAIN: the counter is full, so it is readable: good enough. */
    MUST(put == (ssize_t)sizeof one || errno == EAGAIN);
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stopping, true);
    loop_wake(loop);
}

void loop_on_wake(
    struct loop *loop, void (*woken)(void *context), void *context)
{
    loop->woken = woken;
    loop->woken_context = context;
}

void loop_again(struct loop *loop)
{
    loop->again = true;
}

static void take_wake(struct loop *loop)
{
    uint64_t count;
    while (read(loop->wake_fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
    /* Cleared before the callback looks at its queue: whoever posts after
     * that look writes again. */
    atomic_store(&loop->wake_pending, false);
    if (loop->woken)
        loop->woken(loop->woken_context);
}

/* --- Descriptors --------------------------------------------------------- */

static enum err control(struct loop *loop, int operation, int fd,
    uint32_t events, struct loop_source *source)
{
    MUST(source != NULL && source->ready != NULL);
    struct epoll_event event = {.events = events, .data.ptr = source};
    if (epoll_ctl(loop->epoll_fd, operation, fd, &event) == 0)
        return ERR_OK;
    switch (errno) {
    case ENOMEM:
        return ERR_NOMEM;
    case ENOSPC: /* /proc/sys/fs/epoll/max_user_watches */
        return ERR_FULL;
    case EEXIST:
        return ERR_EXISTS;
    case ENOENT:
        return ERR_NOTFOUND;
    case EPERM: /* a regular file or directory */
        return ERR_UNSUPPORTED;
    default:
        return ERR_IO;
    }
}

enum err loop_add(
    struct loop *loop, int fd, uint32_t events, struct loop_source *source)
{
    return control(loop, EPOLL_CTL_ADD, fd, events, source);
}

enum err loop_modify(
    struct loop *loop, int fd, uint32_t events, struct loop_source *source)
{
    return control(loop, EPOLL_CTL_MOD, fd, events, source);
}

void loop_remove(struct loop *loop, int fd, struct loop_source *source)
{
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    for (int i = loop->event_at; i < loop->event_count; i++)
        if (loop->events[i].data.ptr == source)
            loop->events[i].events = 0;
}

/* --- Timers -------------------------------------------------------------- */

static inline void place(struct loop *loop, uint32_t at, struct entry entry)
{
    loop->heap[at] = entry;
    entry.timer->slot = at + 1;
}

static void sift_up(struct loop *loop, uint32_t at, struct entry entry)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / 4;
        if (loop->heap[parent].due_us <= entry.due_us)
            break;
        place(loop, at, loop->heap[parent]);
        at = parent;
    }
    place(loop, at, entry);
}

static void sift_down(struct loop *loop, uint32_t at, struct entry entry)
{
    for (;;) {
        uint32_t first = at * 4 + 1;
        if (first >= loop->timer_count)
            break;
        uint32_t end =
            first + 4 < loop->timer_count ? first + 4 : loop->timer_count;
        uint32_t least = first;
        for (uint32_t i = first + 1; i < end; i++)
            if (loop->heap[i].due_us < loop->heap[least].due_us)
                least = i;
        if (loop->heap[least].due_us >= entry.due_us)
            break;
        place(loop, at, loop->heap[least]);
        at = least;
    }
    place(loop, at, entry);
}

static void grow_heap(struct loop *loop)
{
    uint32_t cap = loop->timer_cap ? loop->timer_cap * 2 : FIRST_TIMERS;
    MUST(cap < UINT32_C(1) << 28); /* at * 4 stays inside 32 bits */
    struct entry *heap = realloc(loop->heap, (size_t)cap * sizeof *heap);
    /* A timer that cannot be armed would be a request without an end; the
     * call has no way to say so, and 16 bytes a connection are missing. */
    MUST(heap != NULL);
    loop->heap = heap;
    loop->timer_cap = cap;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t due_us)
{
    /* While timers run, one that re-arms itself for "now" waits for the next
     * turn: a turn has an end. */
    if (loop->in_timers && due_us <= loop->now_us)
        due_us = loop->now_us + 1;
    struct entry entry = {due_us, timer};
    if (timer->slot == 0) {
        if (loop->timer_count == loop->timer_cap)
            grow_heap(loop);
        timer->due_us = due_us;
        sift_up(loop, loop->timer_count++, entry);
        return;
    }
    uint32_t at = timer->slot - 1;
    MUST(at < loop->timer_count && loop->heap[at].timer == timer);
    int64_t before = timer->due_us;
    timer->due_us = due_us;
    if (due_us < before)
        sift_up(loop, at, entry);
    else
        sift_down(loop, at, entry);
}

void loop_timer_clear(struct loop *loop, struct loop_timer *timer)
{
    if (timer->slot == 0)
        return;
    uint32_t at = timer->slot - 1;
    MUST(at < loop->timer_count && loop->heap[at].timer == timer);
    timer->slot = 0;
    struct entry last = loop->heap[--loop->timer_count];
    if (at == loop->timer_count)
        return;
    if (at > 0 && last.due_us < loop->heap[(at - 1) / 4].due_us)
        sift_up(loop, at, last);
    else
        sift_down(loop, at, last);
}

/* Those due at the start of the turn. */
static void run_timers(struct loop *loop)
{
    loop->in_timers = true;
    while (loop->timer_count > 0 && loop->heap[0].due_us <= loop->now_us) {
        struct loop_timer *timer = loop->heap[0].timer;
        loop_timer_clear(loop, timer);
        timer->expired(timer);
    }
    loop->in_timers = false;
}

/* --- Turns --------------------------------------------------------------- */

void loop_add_hook(struct loop *loop, struct loop_hook *hook)
{
    hook->next = NULL;
    *loop->last_hook = hook;
    loop->last_hook = &hook->next;
}

void loop_close_later(struct loop *loop, struct loop_garbage *garbage)
{
    garbage->next = loop->garbage;
    loop->garbage = garbage;
}

/* Until the next timer, in whole milliseconds rounded up (rounding down would
 * spin); -1: no timer. */
int64_t loop_lag(const struct loop *loop)
{
    return clock_monotonic() - loop->oldest_us;
}

uint64_t loop_turns(const struct loop *loop)
{
    return loop->turns;
}

/* What is ready now has become so since the last wait gave all that was; or
 * just now, if there was nothing to give. */
static void note_wait(struct loop *loop, int64_t before_us, int64_t last_us)
{
    if (loop->now_us - before_us > SLEPT_US)
        loop->oldest_us = loop->now_us;
    else if (loop->drained)
        loop->oldest_us = last_us;
    loop->drained = loop->event_count < EVENTS_A_TURN;
    loop->turns++;
}

static int wait_ms(struct loop *loop, int64_t now_us)
{
    if (loop->again || loop->garbage ||
        atomic_load_explicit(&loop->stopping, memory_order_relaxed))
        return 0;
    if (loop->timer_count == 0)
        return -1;
    int64_t left = loop->heap[0].due_us - now_us;
    if (left <= 0)
        return 0;
    int64_t ms = (left + 999) / 1000;
    return ms > 3600 * 1000 ? 3600 * 1000 : (int)ms;
}

static void run_turn(struct loop *loop)
{
    int64_t last_us = loop->now_us, before_us = clock_monotonic();
    int timeout = wait_ms(loop, before_us);
    loop->again = false;
    int count =
        epoll_wait(loop->epoll_fd, loop->events, EVENTS_A_TURN, timeout);
    MUST(count >= 0 || errno == EINTR);
    read_clocks(loop);
    loop->event_count = count > 0 ? count : 0;
    note_wait(loop, before_us, last_us);
    for (loop->event_at = 0; loop->event_at < loop->event_count;) {
        struct epoll_event event = loop->events[loop->event_at++];
        struct loop_source *source = event.data.ptr;
        if (event.events == 0)
            continue; /* removed earlier in this turn */
        if (!source)
            take_wake(loop);
        else
            source->ready(source, event.events);
    }
    loop->event_count = 0;
    run_timers(loop);
    for (struct loop_hook *hook = loop->hooks; hook; hook = hook->next)
        hook->turn(hook);
    run_garbage(loop);
}

void loop_run(struct loop *loop)
{
    for (;;) {
        /* Read before the turn: what was posted before loop_stop is seen by
         * the turn that comes. */
        bool last = atomic_load(&loop->stopping);
        run_turn(loop);
        if (last)
            break;
    }
    atomic_store(&loop->stopping, false);
}
