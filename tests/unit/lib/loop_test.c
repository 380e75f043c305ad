/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of lib/loop: order of phases, dropped events, timers against a model,
 * wake-ups from another thread. */
#include "lib/loop.h"

#include "lib/clock.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static struct loop *loop;
static char journal[256]; /* letters of what ran, in order */

static void note(char c)
{
    size_t n = strlen(journal);
    assert_true(n + 1 < sizeof journal);
    journal[n] = c;
    journal[n + 1] = '\0';
}

static int set_up(void **state)
{
    struct errinfo info;
    journal[0] = '\0';
    return loop_new(&loop, &info) != ERR_OK;
}

static int tear_down(void **state)
{
    loop_free(&loop);
    loop_free(&loop);
    return 0;
}

/* --- Phases -------------------------------------------------------------- */

static struct loop_garbage garbage, more_garbage;

static void destroy_more(struct loop_garbage *g)
{
    note('G');
}

static void destroy(struct loop_garbage *g)
{
    note('g');
    more_garbage.destroy = destroy_more;
    loop_close_later(loop, &more_garbage);
}

static void phase_ready(struct loop_source *source, uint32_t events)
{
    note('d');
    garbage.destroy = destroy;
    loop_close_later(loop, &garbage);
    loop_stop(loop);
}

static void phase_timer(struct loop_timer *timer)
{
    note('t');
}

static void phase_hook(struct loop_hook *hook)
{
    note('h');
}

static void phase_hook2(struct loop_hook *hook)
{
    note('i');
}

static void phases_come_in_order(void **state)
{
    int fds[2];
    struct loop_source source = {phase_ready};
    struct loop_timer timer = {phase_timer, 0, 0};
    struct loop_hook hook = {phase_hook, NULL}, hook2 = {phase_hook2, NULL};
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(loop_add(loop, fds[0], EPOLLIN, &source), ERR_OK);
    assert_int_equal(loop_add(loop, fds[0], EPOLLIN, &source), ERR_EXISTS);
    loop_timer_set(loop, &timer, loop_now(loop));
    loop_add_hook(loop, &hook);
    loop_add_hook(loop, &hook2);
    loop_run(loop);
    /* The turn in which stop was said, and the last one. */
    assert_memory_equal(journal, "dthigG", 6);
    assert_string_equal(journal + strlen(journal) - 4, "higG");
    loop_remove(loop, fds[0], &source);
    assert_int_equal(loop_modify(loop, fds[0], EPOLLIN, &source), ERR_NOTFOUND);
    close(fds[0]);
    close(fds[1]);
}

/* --- Removed sources ------------------------------------------------------ */

struct pair {
    struct loop_source source;
    int fd, peer;
    struct pair *other;
};

static void drop_the_other(struct loop_source *source, uint32_t events)
{
    struct pair *self = (struct pair *)source;
    note('r');
    loop_remove(loop, self->other->fd, &self->other->source);
    close(self->other->fd);
    self->other->source.ready = NULL; /* calling it would crash */
    loop_remove(loop, self->fd, &self->source);
    loop_stop(loop);
}

static void fetched_events_of_removed_sources_are_dropped(void **state)
{
    struct pair pairs[2];
    for (int i = 0; i < 2; i++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        assert_int_equal(write(fds[1], "x", 1), 1);
        pairs[i] =
            (struct pair){{drop_the_other}, fds[0], fds[1], &pairs[1 - i]};
        assert_int_equal(
            loop_add(loop, fds[0], EPOLLIN, &pairs[i].source), ERR_OK);
    }
    loop_run(loop);
    assert_string_equal(journal, "r");
    for (int i = 0; i < 2; i++) {
        if (pairs[i].source.ready)
            close(pairs[i].fd);
        close(pairs[i].peer);
    }
}

/* --- Timers --------------------------------------------------------------- */

enum { TIMERS = 500 };
static struct model_timer {
    struct loop_timer timer;
    bool armed;
} timers[TIMERS];
static int64_t last_due;
static unsigned fired;

static void check_order(struct loop_timer *timer)
{
    struct model_timer *m = (struct model_timer *)timer;
    assert_true(m->armed);
    assert_false(loop_timer_armed(timer));
    assert_true(timer->due_us >= last_due);
    last_due = timer->due_us;
    m->armed = false;
    fired++;
    for (int i = 0; i < TIMERS; i++)
        if (timers[i].armed)
            return;
    loop_stop(loop);
}

static void timers_fire_in_order(void **state)
{
    uint64_t seed = 99;
    unsigned expected = 0;
    int64_t start = loop_now(loop);
    memset(timers, 0, sizeof timers);
    for (int i = 0; i < TIMERS; i++)
        timers[i].timer.expired = check_order;
    for (int step = 0; step < 5000; step++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        struct model_timer *m = &timers[(seed >> 40) % TIMERS];
        if (seed >> 62 == 0) {
            loop_timer_clear(loop, &m->timer);
            m->armed = false;
        } else {
            loop_timer_set(
                loop, &m->timer, start + (int64_t)((seed >> 20) % 20000));
            m->armed = true;
        }
        assert_int_equal(loop_timer_armed(&m->timer), m->armed);
    }
    for (int i = 0; i < TIMERS; i++)
        expected += timers[i].armed;
    last_due = 0;
    fired = 0;
    loop_run(loop);
    assert_int_equal(fired, expected);
    assert_true(clock_monotonic() >= last_due);
}

static unsigned turns;

static void again_at_once(struct loop_timer *timer)
{
    note('t');
    loop_timer_set(loop, timer, 0);
}

static void count_turn(struct loop_hook *hook)
{
    note('h');
    if (++turns == 3)
        loop_stop(loop);
    loop_again(loop);
}

static void a_timer_that_rearms_itself_does_not_hold_the_turn(void **state)
{
    struct loop_timer timer = {again_at_once, 0, 0};
    struct loop_hook hook = {count_turn, NULL};
    turns = 0;
    loop_add_hook(loop, &hook);
    loop_timer_set(loop, &timer, 0);
    loop_run(loop);
    assert_memory_equal(journal, "th", 2);
    assert_null(strstr(journal, "tt"));
    loop_timer_clear(loop, &timer);
}

/* --- Other threads -------------------------------------------------------- */

static _Atomic int posted, taken;
enum { POSTS = 20000 };

static void *post(void *argument)
{
    for (int i = 0; i < POSTS; i++) {
        posted++;
        loop_wake(loop);
    }
    return NULL;
}

static void take(void *context)
{
    assert_ptr_equal(context, &posted);
    taken = posted;
    if (taken == 2 * POSTS)
        loop_stop(loop);
}

static void no_wake_is_lost(void **state)
{
    pthread_t threads[2];
    posted = taken = 0;
    loop_on_wake(loop, take, &posted);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post, NULL), 0);
    loop_run(loop);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(taken, 2 * POSTS);
}

static void *stop_soon(void *argument)
{
    usleep(20000);
    loop_stop(loop);
    return NULL;
}

static void stops_from_another_thread(void **state)
{
    pthread_t thread;
    for (int i = 0; i < 2; i++) { /* and runs again */
        assert_int_equal(pthread_create(&thread, NULL, stop_soon, NULL), 0);
        loop_run(loop);
        pthread_join(thread, NULL);
    }
    assert_true(loop_wall(loop) > 0);
}

/* Two descriptors that are ready at once: the second one waits for the first
 * one's work, and the loop knows for how long. */
struct laggard {
    struct loop_source source;
    struct loop *loop;
    int64_t lag_us, work_us;
    uint64_t turn;
};

static void work_long(struct loop_source *source, uint32_t events)
{
    struct laggard *one = (struct laggard *)source;
    (void)events;
    one->lag_us = loop_lag(one->loop);
    one->turn = loop_turns(one->loop);
    for (int64_t end = clock_monotonic() + one->work_us;
         clock_monotonic() < end;)
        ;
    loop_stop(one->loop);
}

static void a_loop_knows_how_far_it_is_behind(void **state)
{
    struct loop *own;
    struct laggard ones[2];
    int fds[2];
    (void)state;
    assert_int_equal(loop_new(&own, NULL), ERR_OK);
    for (int i = 0; i < 2; i++) {
        ones[i] = (struct laggard){
            .source.ready = work_long, .loop = own, .work_us = 20000};
        fds[i] = eventfd(1, EFD_NONBLOCK);
        assert_true(fds[i] >= 0);
        assert_int_equal(
            loop_add(own, fds[i], EPOLLIN | EPOLLET, &ones[i].source), ERR_OK);
    }
    loop_run(own);
    struct laggard *last =
        ones[0].lag_us > ones[1].lag_us ? &ones[0] : &ones[1];
    assert_true(last->lag_us >= 20000);
    assert_int_equal(ones[0].turn, ones[1].turn);
    for (int i = 0; i < 2; i++)
        close(fds[i]);
    loop_free(&own);
}

int main(void)
{
#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_knows_how_far_it_is_behind),
        WITH_LOOP(phases_come_in_order),
        WITH_LOOP(fetched_events_of_removed_sources_are_dropped),
        WITH_LOOP(timers_fire_in_order),
        WITH_LOOP(a_timer_that_rearms_itself_does_not_hold_the_turn),
        WITH_LOOP(no_wake_is_lost),
        WITH_LOOP(stops_from_another_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
