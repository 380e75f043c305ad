/* SPDX-License-Identifier: Apache-2.0
 *
 * The queue for engines' places: shares by weight, order within a flow, bounds,
 * leaving; and threads that hammer it while places are counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/queue.h"
#include "lib/must.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#define NOW INT64_C(1000000)

static struct pool *pool;
static struct engine_target target = {.name = "e", .max_concurrent = 2};
static struct engine_target other = {.name = "f", .max_concurrent = 1};

static void nothing(void *context)
{
    (void)context;
}

static struct pool_engine *engine_of(const struct engine_target *t)
{
    struct pool_engine *engine = pool_engine(pool, t->name);
    assert_non_null(engine);
    return engine;
}

static void free_place(struct queue *queue, const struct engine_target *t)
{
    pool_end(engine_of(t), true, NOW);
    queue_freed(queue, engine_of(t), NOW);
}

static void prepare(struct queue_waiter *w, struct queue_mailbox *box,
    const char *team, unsigned weight)
{
    *w = (struct queue_waiter){.team = str_from(team),
        .weight = weight,
        .mailbox = box,
        .target_count = 1};
    w->targets[0].engine = engine_of(&target);
    w->targets[0].target = &target;
}

static struct queue_waiter *granted(
    struct queue *queue, struct queue_mailbox *box)
{
    enum queue_state how = QUEUE_OUT;
    struct queue_waiter *w = queue_take(queue, box, &how);
    if (w != NULL)
        assert_int_equal(how, QUEUE_GRANTED);
    return w;
}

static int set_up(void **state)
{
    (void)state;
    struct errinfo info = {0};
    return pool_new(NULL, NULL, &pool, &info) == ERR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(atomic_load(&engine_of(&target)->outstanding), 0);
    pool_free(&pool);
    return 0;
}

/* A hundred of one team wait; the first of another takes the next place but
 * one at the latest, then each second one. */
static void test_a_batch_waits_for_itself(void **state)
{
    (void)state;
    struct queue *queue = queue_new(1000);
    struct queue_mailbox box = {.wake = nothing};
    static struct queue_waiter batch[100], chat[10];
    assert_true(pool_begin(engine_of(&target), &target));
    assert_true(pool_begin(engine_of(&target), &target));
    for (int i = 0; i < 100; i++) {
        prepare(&batch[i], &box, "batch", 1);
        assert_int_equal(queue_enter(queue, &batch[i], NOW), ERR_OK);
    }
    for (int i = 0; i < 20; i++) { /* it has been going on for a while */
        free_place(queue, &target);
        assert_ptr_equal(granted(queue, &box), &batch[i]);
    }
    for (int i = 0; i < 10; i++) {
        prepare(&chat[i], &box, "chat", 1);
        assert_int_equal(queue_enter(queue, &chat[i], NOW), ERR_OK);
    }
    int next_batch = 20, next_chat = 0;
    for (int i = 0; i < 20; i++) {
        free_place(queue, &target);
        struct queue_waiter *w = granted(queue, &box);
        if (next_chat < 10 && w == &chat[next_chat])
            next_chat++;
        else
            assert_ptr_equal(w, &batch[next_batch++]); /* first come */
        assert_true(next_chat >= i / 2);
    }
    assert_int_equal(next_chat, 10);
    while (queue_any(queue)) {
        free_place(queue, &target);
        assert_non_null(granted(queue, &box));
    }
    free_place(queue, &target);
    free_place(queue, &target);
    queue_free(&queue);
}

static void test_shares_by_weight(void **state)
{
    (void)state;
    struct queue *queue = queue_new(1000);
    struct queue_mailbox box = {.wake = nothing};
    static struct queue_waiter w[3][100];
    static const unsigned weights[] = {1, 2, 7};
    int got[3] = {0};
    assert_true(pool_begin(engine_of(&target), &target));
    assert_true(pool_begin(engine_of(&target), &target));
    for (int i = 0; i < 100; i++)
        for (int f = 0; f < 3; f++) {
            prepare(&w[f][i], &box, f == 2 ? "a" : "b", weights[f]);
            w[f][i].priority = f; /* a flow is a team and a priority */
            assert_int_equal(queue_enter(queue, &w[f][i], NOW), ERR_OK);
        }
    for (int i = 0; i < 100; i++) {
        free_place(queue, &target);
        got[granted(queue, &box)->priority]++;
    }
    assert_in_range(got[0], 9, 11);
    assert_in_range(got[1], 19, 21);
    assert_in_range(got[2], 69, 71);
    while (queue_any(queue)) {
        free_place(queue, &target);
        assert_non_null(granted(queue, &box));
    }
    free_place(queue, &target);
    free_place(queue, &target);
    queue_free(&queue);
}

static void test_bounded(void **state)
{
    (void)state;
    struct queue *queue = queue_new(4);
    struct queue_mailbox box = {.wake = nothing};
    struct queue_waiter batch[5], chat[3];
    enum queue_state how;
    assert_true(pool_begin(engine_of(&target), &target));
    assert_true(pool_begin(engine_of(&target), &target));
    for (int i = 0; i < 5; i++) {
        prepare(&batch[i], &box, "batch", 1);
        assert_int_equal(
            queue_enter(queue, &batch[i], NOW), i < 4 ? ERR_OK : ERR_FULL);
    }
    /* Another team's first pushes the newest of the batch out, and so on until
     * both have their share. */
    for (int i = 0; i < 3; i++) {
        prepare(&chat[i], &box, "chat", 1);
        assert_int_equal(
            queue_enter(queue, &chat[i], NOW), i < 2 ? ERR_OK : ERR_FULL);
        struct queue_waiter *pushed = queue_take(queue, &box, &how);
        assert_ptr_equal(pushed, i < 2 ? &batch[3 - i] : NULL);
        if (i < 2)
            assert_int_equal(how, QUEUE_PUSHED);
    }
    assert_int_equal(queue_length(queue), 4);
    /* Who leaves is not granted anything; who was, keeps the place. */
    assert_false(queue_leave(queue, &batch[0]));
    assert_false(queue_leave(queue, &batch[0]));
    free_place(queue, &target);
    assert_int_equal(chat[0].state == QUEUE_GRANTED, 1);
    assert_true(queue_leave(queue, &chat[0]));
    assert_null(queue_take(queue, &box, &how));
    free_place(queue, &target); /* chat[0]'s */
    assert_ptr_equal(granted(queue, &box), &batch[1]);
    assert_false(queue_leave(queue, &chat[1]));
    assert_false(queue_any(queue));
    free_place(queue, &target);
    free_place(queue, &target);
    queue_free(&queue);
}

/* Full, the queue says so beforehand to who could push nobody out; and a place
 * for which nobody waits is taken however many wait for others. */
static void test_full_for_whom(void **state)
{
    (void)state;
    struct queue *queue = queue_new(4);
    struct queue_mailbox box = {.wake = nothing};
    struct queue_waiter batch[4], another;
    const struct queue_flow_kind normal[] = {{0, 1}};
    const struct queue_flow_kind both[] = {{0, 1}, {1, 16}};
    assert_true(pool_begin(engine_of(&target), &target));
    assert_true(pool_begin(engine_of(&target), &target));
    for (int i = 0; i < 4; i++) {
        assert_false(queue_is_full_for(queue, STR("batch"), normal, 1));
        prepare(&batch[i], &box, "batch", 1);
        assert_int_equal(queue_enter(queue, &batch[i], NOW), ERR_OK);
    }
    assert_true(queue_is_full_for(queue, STR("batch"), normal, 1));
    assert_false(queue_is_full_for(queue, STR("batch"), both, 2));
    assert_false(queue_is_full_for(queue, STR("chat"), normal, 1));
    prepare(&another, &box, "batch", 1);
    another.targets[0].engine = engine_of(&other);
    another.targets[0].target = &other;
    assert_int_equal(queue_enter(queue, &another, NOW), ERR_EXISTS);
    assert_int_equal(queue_enter(queue, &another, NOW), ERR_FULL);
    pool_end(engine_of(&other), true, NOW);
    for (int i = 0; i < 4; i++)
        assert_false(queue_leave(queue, &batch[i]));
    assert_false(queue_is_full_for(queue, STR("batch"), normal, 1));
    free_place(queue, &target);
    free_place(queue, &target);
    queue_free(&queue);
}

/* Places are of engines: who cannot use one does not stand in the way. */
static void test_several_engines(void **state)
{
    (void)state;
    struct queue *queue = queue_new(10);
    struct queue_mailbox box = {.wake = nothing};
    struct queue_waiter only_e, both, late;
    assert_true(pool_begin(engine_of(&target), &target));
    assert_true(pool_begin(engine_of(&target), &target));
    assert_true(pool_begin(engine_of(&other), &other));
    prepare(&only_e, &box, "t", 1);
    assert_int_equal(queue_enter(queue, &only_e, NOW), ERR_OK);
    prepare(&both, &box, "t", 1);
    both.target_count = 2;
    both.targets[1].engine = engine_of(&other);
    both.targets[1].target = &other;
    assert_int_equal(queue_enter(queue, &both, NOW), ERR_OK);
    free_place(queue, &other);
    assert_ptr_equal(granted(queue, &box), &both);
    assert_int_equal(both.granted, 1);
    /* A place that nobody wants is taken on the spot. */
    free_place(queue, &other);
    prepare(&late, &box, "u", 1);
    late.targets[0].engine = engine_of(&other);
    late.targets[0].target = &other;
    assert_int_equal(queue_enter(queue, &late, NOW), ERR_EXISTS);
    free_place(queue, &other);
    /* More places: the sweep gives them out. */
    struct engine_target more = target;
    more.max_concurrent = 3;
    only_e.targets[0].target = &more;
    queue_sweep(queue, NOW);
    assert_ptr_equal(granted(queue, &box), &only_e);
    for (int i = 0; i < 3; i++)
        free_place(queue, &target);
    assert_int_equal(atomic_load(&engine_of(&other)->outstanding), 0);
    queue_free(&queue);
}

/* --- Threads ------------------------------------------------------------- */

#define THREADS 8
#define ROUNDS 40000
#define EACH 6

struct hand {
    struct queue *queue;
    struct queue_mailbox box;
    unsigned seed;
    _Atomic int *inside;
    int holds;
    int64_t served, pushed, full, left;
    char team[8];
};

/* A place is kept for a while, so that others have to wait. */
static void take_place(struct hand *h)
{
    MUST(atomic_fetch_add(h->inside, 1) < 3);
    h->served++;
    h->holds++;
}

static void leave_place(struct hand *h)
{
    h->holds--;
    atomic_fetch_sub(h->inside, 1);
    free_place(h->queue, &target);
}

static void *hammer(void *context)
{
    struct hand *h = context;
    struct queue_waiter w[EACH] = {0};
    bool in[EACH] = {false};
    for (int i = 0; i < ROUNDS; i++) {
        enum queue_state how;
        struct queue_waiter *heard;
        int at = rand_r(&h->seed) % EACH;
        while ((heard = queue_take(h->queue, &h->box, &how)) != NULL) {
            in[heard - w] = false;
            if (how == QUEUE_GRANTED)
                take_place(h);
            else
                h->pushed++;
        }
        if (h->holds > 0 && rand_r(&h->seed) % 4 == 0)
            leave_place(h);
        if (in[at]) {
            if (rand_r(&h->seed) % 16 != 0) {
                sched_yield();
                continue;
            }
            in[at] = false;
            h->left++;
            if (queue_leave(h->queue, &w[at]))
                take_place(h);
            continue;
        }
        prepare(&w[at], &h->box, h->team, 1 + (unsigned)at);
        w[at].priority = at % 3;
        switch ((int)queue_enter(h->queue, &w[at], NOW)) {
        case ERR_OK:
            in[at] = true;
            break;
        case ERR_EXISTS:
            take_place(h);
            break;
        default:
            h->full++;
        }
    }
    for (int i = 0; i < EACH; i++)
        if (in[i] && queue_leave(h->queue, &w[i]))
            take_place(h);
    while (h->holds > 0)
        leave_place(h);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct queue *queue = queue_new(20);
    static _Atomic int inside;
    static struct hand hands[THREADS];
    pthread_t thread[THREADS];
    int64_t served = 0, pushed = 0, full = 0;
    target.max_concurrent = 3;
    for (int i = 0; i < THREADS; i++) {
        hands[i] = (struct hand){.queue = queue,
            .box = {.wake = nothing},
            .seed = 5u + (unsigned)i,
            .inside = &inside,
            .team = {(char)('a' + i % 4)}};
        assert_int_equal(
            pthread_create(&thread[i], NULL, hammer, &hands[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        served += hands[i].served;
        pushed += hands[i].pushed;
        full += hands[i].full;
    }
    assert_false(queue_any(queue));
    assert_int_equal(atomic_load(&engine_of(&target)->outstanding), 0);
    assert_true(served > 1000 && pushed > 100 && full > 100);
    print_message("%lld served, %lld pushed out, %lld found it full\n",
        (long long)served, (long long)pushed, (long long)full);
    target.max_concurrent = 2;
    queue_free(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_batch_waits_for_itself),
        cmocka_unit_test(test_shares_by_weight),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_full_for_whom),
        cmocka_unit_test(test_several_engines),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
