/* SPDX-License-Identifier: Apache-2.0
 *
 * Every order of what can happen to three requests on one budget, one rate and
 * one limit of what runs at once: reserve, settle, cancel, time passing, a
 * crash with restore from what the log would hold. And random long histories of
 * a rate against the definition of the rate, computed from the whole history.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/quota.h"
#include "policy/rate.h"

#include <stdio.h>
#include <stdlib.h>

#define NOW INT64_C(1764000000000000)

/* --- The explorer -------------------------------------------------------- */

#define REQUESTS 3
#define AMOUNT 10 /* of the budget and of the rate */
#define CLAIMS 3

static const int64_t demand_of[REQUESTS] = {4, 7, 6};
static const int64_t truth_of[REQUESTS] = {1, 7, 0};

enum phase { WAITING, OPEN, DONE };
enum act { ACT_RESERVE, ACT_SETTLE, ACT_CANCEL, ACT_CRASH, ACT_TIME };
struct move {
    enum act act;
    int request;
};

/* What an admission and its end leave in the log. */
struct record {
    enum phase phase; /* WAITING: not in the log */
    int64_t time;
    int64_t charged;
};

struct world {
    struct quota_ledger *ledger;
    struct quota_rule budget, rate, at_once;
    struct quota_claim claims[REQUESTS][CLAIMS];
    enum phase phase[REQUESTS];
    struct record record[REQUESTS];
    int64_t now;
    int64_t arrival;
    uint64_t step;
    int crashes, pauses;
};

static uint64_t paths, refusals;
static int64_t at_once_amount;

static void log_rate(struct world *w, const struct quota_claim *claim)
{
    if (claim->step > w->step) {
        w->step = claim->step;
        w->arrival = claim->arrival_us;
    }
}

static void end(struct world *w, int r, bool cancel)
{
    if (cancel)
        quota_cancel(w->ledger, w->now, w->claims[r], CLAIMS);
    else
        quota_settle(w->ledger, w->now, w->claims[r], CLAIMS,
            &(struct quota_use){
                .input = truth_of[r], .output = 0, .served = true});
    w->phase[r] = DONE;
    w->record[r].phase = DONE;
    w->record[r].charged = w->claims[r][0].settled;
    assert_int_equal(w->claims[r][0].settled, cancel ? 0 : truth_of[r]);
    assert_int_equal(w->claims[r][1].settled, cancel ? 0 : truth_of[r]);
    log_rate(w, &w->claims[r][1]);
}

static int64_t charged(const struct world *w)
{
    int64_t sum = 0;
    for (int r = 0; r < REQUESTS; r++)
        sum += w->record[r].charged;
    return sum;
}

static void crash(struct world *w)
{
    struct quota_status before, after;
    quota_peek(w->ledger, w->now, &w->rate, &before);
    quota_ledger_free(&w->ledger);
    w->ledger = quota_ledger_new();
    assert_non_null(w->ledger);
    assert_int_equal(
        quota_restore_window(w->ledger, str_from(w->budget.id), 0, charged(w)),
        ERR_OK);
    if (w->step > 0)
        assert_int_equal(quota_restore_rate(w->ledger, str_from(w->rate.id),
                             w->arrival, w->step),
            ERR_OK);
    quota_peek(w->ledger, w->now, &w->rate, &after);
    /* Restored from microseconds, rounded up: never a unit more to spend. */
    assert_true(after.remaining <= before.remaining &&
                after.remaining + 1 >= before.remaining);
    for (int r = 0; r < REQUESTS; r++)
        if (w->phase[r] == OPEN) {
            w->phase[r] = DONE; /* interrupted: keeps its reservation */
            w->record[r].phase = DONE;
        }
    w->crashes++;
}

static void reserve(struct world *w, int r)
{
    struct quota_demand demand = {.input = demand_of[r]};
    struct quota_denial denial;
    int64_t cap;
    w->claims[r][0] = (struct quota_claim){.rule = &w->budget};
    w->claims[r][1] = (struct quota_claim){.rule = &w->rate};
    w->claims[r][2] = (struct quota_claim){.rule = &w->at_once};
    struct quota_status budget, rate, at_once;
    quota_peek(w->ledger, w->now, &w->at_once, &at_once);
    quota_peek(w->ledger, w->now, &w->budget, &budget);
    quota_peek(w->ledger, w->now, &w->rate, &rate);
    enum err err = quota_reserve(
        w->ledger, w->now, &demand, w->claims[r], CLAIMS, &cap, &denial);
    bool fits = budget.remaining >= demand_of[r] &&
                rate.remaining >= demand_of[r] && at_once.remaining >= 1;
    assert_int_equal(err, fits ? ERR_OK : ERR_FULL);
    if (err != ERR_OK) {
        struct quota_status same;
        quota_peek(w->ledger, w->now, &w->budget, &same);
        assert_int_equal(same.remaining, budget.remaining);
        quota_peek(w->ledger, w->now, &w->rate, &same);
        assert_int_equal(same.remaining, rate.remaining);
        quota_peek(w->ledger, w->now, &w->at_once, &same);
        assert_int_equal(same.remaining, at_once.remaining);
        w->phase[r] = DONE;
        refusals++;
        return;
    }
    w->phase[r] = OPEN;
    w->record[r] = (struct record){OPEN, w->now, demand_of[r]};
    log_rate(w, &w->claims[r][1]);
}

/* The definition, over what the log says. */
static void check_rate(const struct world *w)
{
    int64_t arrival = 0;
    for (int64_t t = NOW; t <= w->now; t += 30 * SECOND_US)
        for (int r = 0; r < REQUESTS; r++) {
            if (w->record[r].phase == WAITING || w->record[r].time != t)
                continue;
            if (arrival < t)
                arrival = t;
            arrival += w->record[r].charged * MINUTE_US / AMOUNT;
            assert_true(arrival <= t + MINUTE_US);
        }
}

static void play(struct world *w, struct move move)
{
    switch (move.act) {
    case ACT_RESERVE:
        reserve(w, move.request);
        break;
    case ACT_SETTLE:
    case ACT_CANCEL:
        end(w, move.request, move.act == ACT_CANCEL);
        break;
    case ACT_CRASH:
        crash(w);
        break;
    case ACT_TIME:
        w->now += 30 * SECOND_US;
        w->pauses++;
        break;
    }
    struct quota_status status;
    quota_peek(w->ledger, w->now, &w->budget, &status);
    assert_int_equal(status.used, charged(w));
    assert_true(status.used <= AMOUNT);
    /* What runs, and nothing that a crash has ended. */
    int64_t open = 0;
    for (int r = 0; r < REQUESTS; r++)
        open += w->phase[r] == OPEN;
    quota_peek(w->ledger, w->now, &w->at_once, &status);
    assert_int_equal(status.used, open);
    assert_int_equal(status.reserved, open);
    assert_true(open <= at_once_amount);
    check_rate(w);
}

static size_t moves_of(const struct world *w, struct move *out)
{
    size_t count = 0;
    for (int r = 0; r < REQUESTS; r++) {
        if (w->phase[r] == WAITING)
            out[count++] = (struct move){ACT_RESERVE, r};
        if (w->phase[r] == OPEN) {
            out[count++] = (struct move){ACT_SETTLE, r};
            out[count++] = (struct move){ACT_CANCEL, r};
        }
    }
    if (count > 0 && w->crashes < 1)
        out[count++] = (struct move){ACT_CRASH, 0};
    if (count > 0 && w->pauses < 2)
        out[count++] = (struct move){ACT_TIME, 0};
    return count;
}

#define LONGEST 16

static void explore(struct move *path, size_t length)
{
    struct world w = {
        .ledger = quota_ledger_new(),
        .now = NOW,
        .budget = {.id = "budget",
            .dimension = QUOTA_TOKENS,
            .window = QUOTA_LIFETIME,
            .amount = AMOUNT},
        .rate = {.id = "rate",
            .dimension = QUOTA_INPUT_TOKENS,
            .window = QUOTA_MINUTE,
            .amount = AMOUNT},
        .at_once = {.id = "at-once",
            .dimension = QUOTA_CONCURRENT_REQUESTS,
            .window = QUOTA_NOW,
            .amount = at_once_amount},
    };
    assert_non_null(w.ledger);
    for (size_t i = 0; i < length; i++)
        play(&w, path[i]);
    struct move moves[16];
    size_t count = moves_of(&w, moves);
    quota_ledger_free(&w.ledger);
    if (count == 0)
        paths++;
    assert_true(length < LONGEST);
    for (size_t i = 0; i < count; i++) {
        path[length] = moves[i];
        explore(path, length + 1);
    }
}

static void test_every_order(void **state)
{
    (void)state;
    struct move path[LONGEST];
    for (at_once_amount = 1; at_once_amount <= 2; at_once_amount++)
        explore(path, 0);
    print_message("%llu paths, %llu refusals\n", (unsigned long long)paths,
        (unsigned long long)refusals);
    assert_true(paths > 10000 && refusals > 1000);
}

/* --- A rate against its definition --------------------------------------- */

#define EVENTS 1500
#define MOST_OPEN 40

struct event {
    int64_t time, charged;
};

/* What is owed at `now` if the whole history had been known from the start. */
static rate_ticks owed(
    const struct event *events, size_t count, int64_t amount, int64_t now)
{
    rate_ticks arrival = 0;
    for (size_t i = 0; i < count; i++) {
        rate_ticks t = (rate_ticks)events[i].time * (uint64_t)amount;
        if (arrival < t)
            arrival = t;
        arrival += (rate_ticks)events[i].charged * (uint64_t)MINUTE_US;
    }
    rate_ticks t = (rate_ticks)now * (uint64_t)amount;
    return arrival > t ? arrival - t : 0;
}

static void check_history(
    const struct event *events, size_t count, int64_t amount)
{
    rate_ticks arrival = 0, burst = (rate_ticks)amount * (uint64_t)MINUTE_US;
    for (size_t i = 0; i < count; i++) {
        rate_ticks t = (rate_ticks)events[i].time * (uint64_t)amount;
        if (arrival < t)
            arrival = t;
        arrival += (rate_ticks)events[i].charged * (uint64_t)MINUTE_US;
        assert_true(arrival - t <= burst);
    }
}

/* Returns how often the rate was stricter than its definition. */
static int run_history(unsigned seed, int64_t amount, int most_open)
{
    static struct event events[EVENTS];
    struct {
        struct quota_claim claim;
        size_t event;
    } open[MOST_OPEN];
    int open_count = 0, stricter = 0;
    size_t count = 0;
    int64_t now = NOW;
    struct quota_ledger *ledger = quota_ledger_new();
    struct quota_rule rule = {.id = "rate",
        .dimension = QUOTA_INPUT_TOKENS,
        .window = QUOTA_MINUTE,
        .amount = amount};
    while (count < EVENTS) {
        now += rand_r(&seed) % (rand_r(&seed) % 4 == 0 ? 20000000 : 900000);
        if (open_count == most_open ||
            (open_count > 0 && rand_r(&seed) % 2 == 0)) {
            int which = rand_r(&seed) % open_count;
            int64_t truth =
                rand_r(&seed) % 3 == 0
                    ? 0
                    : rand_r(&seed) % (open[which].claim.reserved + 1);
            quota_settle(ledger, now, &open[which].claim, 1,
                &(struct quota_use){
                    .input = truth, .output = 0, .served = true});
            events[open[which].event].charged = open[which].claim.settled;
            open[which] = open[--open_count];
            continue;
        }
        /* Small ones and such as take the most of a minute. */
        int64_t largest = 1 + amount / (1 + rand_r(&seed) % 9);
        struct quota_demand demand = {
            .input = 1 + (int64_t)(((uint64_t)rand_r(&seed) << 31 |
                                       (uint64_t)rand_r(&seed)) %
                                   (uint64_t)largest)};
        if (demand.input > amount)
            demand.input = amount;
        struct quota_claim claim = {.rule = &rule};
        struct quota_denial denial;
        int64_t cap;
        rate_ticks before = owed(events, count, amount, now);
        bool fits = before + (rate_ticks)demand.input * (uint64_t)MINUTE_US <=
                    (rate_ticks)amount * (uint64_t)MINUTE_US;
        enum err err =
            quota_reserve(ledger, now, &demand, &claim, 1, &cap, &denial);
        if (err == ERR_OK) {
            assert_true(fits);
            events[count] = (struct event){now, claim.reserved};
            open[open_count].claim = claim;
            open[open_count++].event = count++;
        } else if (fits) {
            stricter++;
        } else {
            /* The time it names is the right one: not before, but then. */
            rate_ticks then =
                owed(events, count, amount, now + denial.retry_after_us);
            if (most_open < RATE_LOWS)
                assert_true(
                    then + (rate_ticks)demand.input * (uint64_t)MINUTE_US <=
                    (rate_ticks)amount * (uint64_t)MINUTE_US);
        }
    }
    check_history(events, count, amount);
    quota_ledger_free(&ledger);
    return stricter;
}

static void test_rate_is_its_definition(void **state)
{
    (void)state;
    static const int64_t amounts[] = {7, 60, 1000, 999983, 9007199254740991};
    for (unsigned seed = 1; seed <= 6; seed++)
        for (size_t i = 0; i < sizeof(amounts) / sizeof(amounts[0]); i++)
            assert_int_equal(run_history(seed, amounts[i], RATE_LOWS - 1), 0);
}

/* With more open at once than the rate keeps apart it may err, but on the
 * strict side and seldom. */
static void test_rate_with_many_open(void **state)
{
    (void)state;
    int stricter = 0;
    for (unsigned seed = 1; seed <= 10; seed++)
        stricter += run_history(seed, 100000, MOST_OPEN);
    print_message(
        "%d of %d admissions stricter than need be\n", stricter, 10 * EVENTS);
    assert_true(stricter < 10 * EVENTS / 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_order),
        cmocka_unit_test(test_rate_is_its_definition),
        cmocka_unit_test(test_rate_with_many_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
