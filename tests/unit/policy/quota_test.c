/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of policy/quota: limits, the flexible cap, windows across changes of
 * the clock, restore, and random work on several threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/must.h"
#include "policy/quota.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define NOW INT64_C(1764000000000000)

static struct quota_rule rule_of(const char *id, enum quota_dimension dimension,
    enum quota_window window, int64_t amount)
{
    struct quota_rule rule = {
        .dimension = dimension, .window = window, .amount = amount};
    snprintf(rule.id, sizeof(rule.id), "%s", id);
    return rule;
}

static struct clock_zone *zone_of(const char *name)
{
    struct clock_zone *zone = NULL;
    struct errinfo info;
    assert_int_equal(clock_zone_load(name, &zone, &info), ERR_OK);
    return zone;
}

static int64_t at(const char *text)
{
    int64_t time;
    assert_int_equal(clock_parse(str_from(text), &time), ERR_OK);
    return time;
}

/* Reserves one quota for `input` tokens and nothing else. */
static enum err take(struct quota_ledger *ledger, int64_t now,
    const struct quota_rule *rule, int64_t input, struct quota_claim *claim,
    struct quota_denial *denial)
{
    struct quota_demand demand = {.input = input};
    int64_t cap;
    claim->rule = rule;
    return quota_reserve(ledger, now, &demand, claim, 1, &cap, denial);
}

static int64_t remaining(
    struct quota_ledger *ledger, int64_t now, const struct quota_rule *rule)
{
    struct quota_status status;
    quota_peek(ledger, now, rule, &status);
    return status.remaining;
}

static void test_names(void **state)
{
    (void)state;
    enum quota_dimension dimension;
    enum quota_window window;
    for (int i = QUOTA_REQUESTS; i <= QUOTA_OUTPUT_TOKENS; i++) {
        assert_int_equal(quota_dimension_parse(str_from(quota_dimension_name(
                                                   (enum quota_dimension)i)),
                             &dimension),
            ERR_OK);
        assert_int_equal(dimension, i);
    }
    for (int i = QUOTA_MINUTE; i <= QUOTA_LIFETIME; i++) {
        assert_int_equal(
            quota_window_parse(
                str_from(quota_window_name((enum quota_window)i)), &window),
            ERR_OK);
        assert_int_equal(window, i);
    }
    assert_int_equal(quota_window_parse(STR("Day"), &window), ERR_NOTFOUND);
}

static void test_all_or_none(void **state)
{
    (void)state;
    struct quota_ledger *ledger = quota_ledger_new();
    struct quota_rule wide = rule_of("w", QUOTA_TOKENS, QUOTA_LIFETIME, 1000);
    struct quota_rule tight =
        rule_of("t", QUOTA_OUTPUT_TOKENS, QUOTA_LIFETIME, 100);
    struct quota_rule calls = rule_of("c", QUOTA_REQUESTS, QUOTA_LIFETIME, 3);
    struct quota_claim claims[3] = {
        {.rule = &wide}, {.rule = &calls}, {.rule = &tight}};
    struct quota_demand demand = {.input = 10, .multiplier = 2, .cap = 40};
    struct quota_denial denial;
    int64_t cap = -1;
    assert_int_equal(
        quota_reserve(ledger, NOW, &demand, claims, 3, &cap, &denial), ERR_OK);
    assert_int_equal(cap, 40);
    assert_int_equal(claims[0].reserved, 90);
    assert_int_equal(claims[1].reserved, 1);
    assert_int_equal(claims[2].reserved, 80);
    struct quota_claim more[3] = {
        {.rule = &wide}, {.rule = &calls}, {.rule = &tight}};
    cap = -1;
    assert_int_equal(
        quota_reserve(ledger, NOW, &demand, more, 3, &cap, &denial), ERR_FULL);
    assert_int_equal(cap, -1);
    assert_ptr_equal(denial.rule, &tight);
    assert_int_equal(denial.asked, 80);
    assert_int_equal(denial.remaining, 20);
    assert_int_equal(denial.retry_after_us, -1);
    assert_false(denial.rate);
    assert_int_equal(remaining(ledger, NOW, &wide), 910);
    assert_int_equal(remaining(ledger, NOW, &calls), 2);
    quota_settle(ledger, NOW, more, 3,
        &(struct quota_use){
            .input = 5, .output = 5, .served = true}); /* holds nothing */
    assert_int_equal(remaining(ledger, NOW, &wide), 910);
    quota_settle(ledger, NOW, claims, 3,
        &(struct quota_use){.input = 7, .output = 30, .served = true});
    assert_int_equal(claims[0].settled, 37);
    assert_int_equal(claims[1].settled, 1);
    assert_int_equal(claims[2].settled, 30);
    assert_int_equal(remaining(ledger, NOW, &wide), 963);
    assert_int_equal(remaining(ledger, NOW, &tight), 70);
    quota_settle(ledger, NOW, claims, 3,
        &(struct quota_use){
            .input = 0, .output = 0, .served = false}); /* twice: no effect */
    assert_int_equal(remaining(ledger, NOW, &wide), 963);
    quota_ledger_free(&ledger);
    assert_null(ledger);
}

static void test_flexible_cap(void **state)
{
    (void)state;
    struct quota_ledger *ledger = quota_ledger_new();
    struct quota_rule a = rule_of("a", QUOTA_TOKENS, QUOTA_LIFETIME, 1000);
    struct quota_rule b = rule_of("b", QUOTA_OUTPUT_TOKENS, QUOTA_MINUTE, 333);
    struct quota_claim claims[2] = {{.rule = &a}, {.rule = &b}};
    struct quota_demand demand = {.input = 100,
        .multiplier = 2,
        .cap = 1024,
        .cap_is_flexible = true,
        .cap_least = 16};
    struct quota_denial denial;
    int64_t cap;
    assert_int_equal(
        quota_reserve(ledger, NOW, &demand, claims, 2, &cap, &denial), ERR_OK);
    assert_int_equal(cap, 166); /* 333 / 2 */
    assert_int_equal(claims[0].reserved, 432);
    assert_int_equal(claims[1].reserved, 332);
    quota_cancel(ledger, NOW, claims, 2);
    assert_int_equal(remaining(ledger, NOW, &a), 1000);
    assert_int_equal(remaining(ledger, NOW, &b), 333);
    /* Not below the least. */
    demand.cap_least = 167;
    assert_int_equal(
        quota_reserve(ledger, NOW, &demand, claims, 2, &cap, &denial),
        ERR_FULL);
    assert_ptr_equal(denial.rule, &b);
    assert_int_equal(denial.asked, 334);
    assert_int_equal(denial.retry_after_us, -1); /* more than the amount */
    /* The input alone does not fit. */
    demand.input = 1001;
    demand.cap_least = 0;
    assert_int_equal(
        quota_reserve(ledger, NOW, &demand, claims, 2, &cap, &denial),
        ERR_FULL);
    assert_ptr_equal(denial.rule, &a);
    /* What overflows does not fit. */
    demand = (struct quota_demand){
        .input = 5, .multiplier = INT64_MAX / 2, .cap = 3};
    assert_int_equal(
        quota_reserve(ledger, NOW, &demand, claims, 2, &cap, &denial),
        ERR_FULL);
    /* No quotas: everything goes. */
    assert_int_equal(
        quota_reserve(ledger, NOW, &demand, claims, 0, &cap, &denial), ERR_OK);
    assert_int_equal(cap, 3);
    /* Nothing generated: the cap does not matter. */
    demand = (struct quota_demand){.input = 5, .multiplier = 0, .cap = 99999};
    assert_int_equal(
        quota_reserve(ledger, NOW, &demand, claims, 2, &cap, &denial), ERR_OK);
    assert_int_equal(claims[0].reserved, 5);
    assert_int_equal(claims[1].reserved, 0);
    quota_ledger_free(&ledger);
}

static void test_rate(void **state)
{
    (void)state;
    struct quota_ledger *ledger = quota_ledger_new();
    struct quota_rule rule = rule_of("r", QUOTA_INPUT_TOKENS, QUOTA_MINUTE, 7);
    struct quota_claim claim;
    struct quota_denial denial;
    for (int i = 0; i < 7; i++)
        assert_int_equal(take(ledger, NOW, &rule, 1, &claim, &denial), ERR_OK);
    assert_int_equal(claim.used, 6);
    assert_int_equal(claim.arrival_us, NOW + MINUTE_US);
    assert_int_equal(claim.step, 7);
    assert_int_equal(take(ledger, NOW, &rule, 1, &claim, &denial), ERR_FULL);
    assert_true(denial.rate);
    assert_int_equal(denial.remaining, 0);
    /* 60 s / 7 = 8,571,428.57 us. */
    assert_int_equal(denial.retry_after_us, 8571429);
    int64_t now = NOW + 8571428;
    assert_int_equal(take(ledger, now, &rule, 1, &claim, &denial), ERR_FULL);
    assert_int_equal(denial.retry_after_us, 1);
    assert_int_equal(take(ledger, now + 1, &rule, 1, &claim, &denial), ERR_OK);
    assert_int_equal(take(ledger, now, &rule, 8, &claim, &denial), ERR_FULL);
    assert_int_equal(denial.retry_after_us, -1);
    /* Not a unit is lost over ten thousand minutes at full speed. */
    int64_t got = 0;
    for (int64_t i = 1; i <= 10000; i++)
        while (take(ledger, now + 1 + i * MINUTE_US, &rule, 1, &claim,
                   &denial) == ERR_OK)
            got++;
    assert_int_equal(got, 70000);
    quota_ledger_free(&ledger);
}

/* A reservation that was never used does not give a second burst once it has
 * drained away. */
static void test_rate_gives_back_no_more_than_is_owed(void **state)
{
    (void)state;
    struct quota_ledger *ledger = quota_ledger_new();
    struct quota_rule rule =
        rule_of("r", QUOTA_INPUT_TOKENS, QUOTA_MINUTE, 1000);
    struct quota_claim first, second, third;
    struct quota_denial denial;
    assert_int_equal(take(ledger, NOW, &rule, 1000, &first, &denial), ERR_OK);
    int64_t later = NOW + MINUTE_US;
    assert_int_equal(
        take(ledger, later, &rule, 1000, &second, &denial), ERR_OK);
    quota_cancel(ledger, later, &first, 1);
    assert_int_equal(remaining(ledger, later, &rule), 0);
    assert_int_equal(take(ledger, later, &rule, 1, &third, &denial), ERR_FULL);
    quota_cancel(ledger, later, &second, 1);
    assert_int_equal(remaining(ledger, later, &rule), 1000);
    quota_ledger_free(&ledger);
}

static void test_rate_amount_changes(void **state)
{
    (void)state;
    struct quota_ledger *ledger = quota_ledger_new();
    struct quota_rule small =
        rule_of("r", QUOTA_INPUT_TOKENS, QUOTA_MINUTE, 60);
    struct quota_rule large = small;
    large.amount = 6000;
    struct quota_rule none = small;
    none.amount = 0;
    struct quota_claim a, b;
    struct quota_denial denial;
    assert_int_equal(take(ledger, NOW, &small, 30, &a, &denial), ERR_OK);
    /* Half the minute is taken, whatever the amount. */
    assert_int_equal(remaining(ledger, NOW, &large), 3000);
    assert_int_equal(take(ledger, NOW, &large, 3000, &b, &denial), ERR_OK);
    assert_int_equal(remaining(ledger, NOW, &small), 0);
    quota_cancel(ledger, NOW, &a, 1);
    assert_int_equal(remaining(ledger, NOW, &large), 3000);
    quota_cancel(ledger, NOW, &b, 1);
    assert_int_equal(remaining(ledger, NOW, &small), 60);
    assert_int_equal(take(ledger, NOW, &none, 1, &a, &denial), ERR_FULL);
    assert_int_equal(denial.retry_after_us, -1);
    assert_int_equal(take(ledger, NOW, &none, 0, &a, &denial), ERR_OK);
    quota_ledger_free(&ledger);
}

static void test_clock_set_back(void **state)
{
    (void)state;
    struct quota_ledger *ledger = quota_ledger_new();
    struct clock_zone *zone = zone_of("UTC");
    struct quota_rule rate = rule_of("r", QUOTA_INPUT_TOKENS, QUOTA_MINUTE, 10);
    struct quota_rule day = rule_of("d", QUOTA_INPUT_TOKENS, QUOTA_DAY, 10);
    day.zone = zone;
    struct quota_claim claim;
    struct quota_denial denial;
    assert_int_equal(take(ledger, NOW, &day, 6, &claim, &denial), ERR_OK);
    assert_int_equal(take(ledger, NOW, &rate, 10, &claim, &denial), ERR_OK);
    /* A little: another thread's reading. */
    assert_int_equal(
        take(ledger, NOW - SECOND_US, &rate, 1, &claim, &denial), ERR_FULL);
    assert_int_equal(denial.retry_after_us, 6 * SECOND_US);
    /* A lot: not locked out until the old time is reached again. */
    int64_t back = NOW - 2 * DAY_US;
    assert_int_equal(take(ledger, back, &rate, 1, &claim, &denial), ERR_FULL);
    assert_int_equal(denial.retry_after_us, 6 * SECOND_US);
    assert_int_equal(
        take(ledger, back + 6 * SECOND_US, &rate, 1, &claim, &denial), ERR_OK);
    /* The day that was begun goes on. */
    assert_int_equal(remaining(ledger, back, &day), 4);
    assert_int_equal(take(ledger, back, &day, 5, &claim, &denial), ERR_FULL);
    assert_true(denial.retry_after_us > 2 * DAY_US);
    quota_ledger_free(&ledger);
    clock_zone_free(&zone);
}

static void test_windows_and_summer_time(void **state)
{
    (void)state;
    struct quota_ledger *ledger = quota_ledger_new();
    struct clock_zone *berlin = zone_of("Europe/Berlin");
    struct quota_rule day = rule_of("d", QUOTA_INPUT_TOKENS, QUOTA_DAY, 100);
    day.zone = berlin;
    struct quota_claim a, b;
    struct quota_denial denial;
    struct quota_status status;
    /* 25 October 2026 has 25 hours in Berlin: 22:00Z to 23:00Z. */
    int64_t start = at("2026-10-24T22:00:00Z");
    assert_int_equal(
        take(ledger, start + SECOND_US, &day, 60, &a, &denial), ERR_OK);
    assert_int_equal(a.window_start_us, start);
    int64_t last = at("2026-10-25T22:59:59Z");
    quota_peek(ledger, last, &day, &status);
    assert_int_equal(status.remaining, 40);
    assert_int_equal(status.reset_us, SECOND_US);
    assert_int_equal(take(ledger, last, &day, 50, &b, &denial), ERR_FULL);
    assert_int_equal(denial.retry_after_us, SECOND_US);
    int64_t next = last + SECOND_US;
    assert_int_equal(take(ledger, next, &day, 50, &b, &denial), ERR_OK);
    assert_int_equal(b.window_start_us, next);
    assert_int_equal(b.used, 0);
    /* A settlement goes into the window of its admission. */
    quota_settle(ledger, next, &a, 1,
        &(struct quota_use){.input = 10, .output = 0, .served = true});
    assert_int_equal(a.settled, 10);
    assert_int_equal(remaining(ledger, next, &day), 50);
    quota_settle(ledger, next, &b, 1,
        &(struct quota_use){.input = 20, .output = 0, .served = true});
    assert_int_equal(remaining(ledger, next, &day), 80);
    /* 28 March 2027 has 23. */
    int64_t spring = at("2027-03-27T23:00:00Z");
    assert_int_equal(take(ledger, spring, &day, 100, &a, &denial), ERR_OK);
    assert_int_equal(
        take(ledger, at("2027-03-28T21:59:59Z"), &day, 1, &b, &denial),
        ERR_FULL);
    assert_int_equal(denial.retry_after_us, SECOND_US);
    assert_int_equal(
        take(ledger, at("2027-03-28T22:00:00Z"), &day, 1, &b, &denial), ERR_OK);
    quota_ledger_free(&ledger);
    clock_zone_free(&berlin);
}

static void test_zone_changes(void **state)
{
    (void)state;
    struct quota_ledger *ledger = quota_ledger_new();
    struct clock_zone *utc = zone_of("UTC"), *berlin = zone_of("Europe/Berlin");
    struct quota_rule here = rule_of("d", QUOTA_INPUT_TOKENS, QUOTA_DAY, 100);
    here.zone = utc;
    struct quota_rule there = here;
    there.zone = berlin;
    struct quota_claim claim;
    struct quota_denial denial;
    assert_int_equal(
        take(ledger, at("2026-06-01T12:00:00Z"), &here, 100, &claim, &denial),
        ERR_OK);
    /* Berlin's next day began at 22:00Z; the old window runs to its end. */
    assert_int_equal(
        take(ledger, at("2026-06-01T23:00:00Z"), &there, 1, &claim, &denial),
        ERR_FULL);
    assert_int_equal(denial.retry_after_us, HOUR_US);
    assert_int_equal(
        take(ledger, at("2026-06-02T00:00:00Z"), &there, 100, &claim, &denial),
        ERR_OK);
    assert_int_equal(claim.window_start_us, at("2026-06-02T00:00:00Z"));
    assert_int_equal(
        take(ledger, at("2026-06-02T21:59:59Z"), &there, 1, &claim, &denial),
        ERR_FULL);
    assert_int_equal(
        take(ledger, at("2026-06-02T22:00:00Z"), &there, 1, &claim, &denial),
        ERR_OK);
    quota_ledger_free(&ledger);
    clock_zone_free(&utc);
    clock_zone_free(&berlin);
}

static void test_restore(void **state)
{
    (void)state;
    struct quota_ledger *ledger = quota_ledger_new();
    struct clock_zone *utc = zone_of("UTC");
    struct quota_rule month =
        rule_of("m", QUOTA_INPUT_TOKENS, QUOTA_MONTH, 100);
    month.zone = utc;
    struct quota_rule life =
        rule_of("l", QUOTA_INPUT_TOKENS, QUOTA_LIFETIME, 100);
    struct quota_rule rate = rule_of("r", QUOTA_INPUT_TOKENS, QUOTA_MINUTE, 60);
    int64_t now = at("2026-11-23T10:00:00Z");
    int64_t november = at("2026-11-01T00:00:00Z");
    assert_int_equal(
        quota_restore_window(ledger, STR("m"), november, 70), ERR_OK);
    assert_int_equal(
        quota_restore_window(ledger, STR("m"), at("2026-10-01T00:00:00Z"), 99),
        ERR_OK); /* older: ignored */
    assert_int_equal(quota_restore_window(ledger, STR("l"), 0, 95), ERR_OK);
    assert_int_equal(
        quota_restore_rate(ledger, STR("r"), now + 30 * SECOND_US, 9), ERR_OK);
    assert_int_equal(
        quota_restore_rate(ledger, STR("r"), now + 50 * SECOND_US, 8), ERR_OK);
    assert_int_equal(remaining(ledger, now, &month), 30);
    assert_int_equal(remaining(ledger, now, &life), 5);
    assert_int_equal(remaining(ledger, now, &rate), 30);
    struct quota_claim claim;
    struct quota_denial denial;
    assert_int_equal(take(ledger, now, &month, 31, &claim, &denial), ERR_FULL);
    assert_int_equal(denial.retry_after_us, at("2026-12-01T00:00:00Z") - now);
    assert_int_equal(take(ledger, now, &month, 30, &claim, &denial), ERR_OK);
    assert_int_equal(claim.window_start_us, november);
    assert_int_equal(take(ledger, now, &rate, 30, &claim, &denial), ERR_OK);
    assert_int_equal(claim.step, 10);
    assert_int_equal(
        quota_restore_window(ledger,
            STR("an identifier that is far too long for a bucket"), 0, 0),
        ERR_INVALID);
    assert_int_equal(
        quota_restore_window(ledger, STR("x"), 0, -1), ERR_INVALID);
    quota_ledger_free(&ledger);
    clock_zone_free(&utc);
}

/* --- Random work, several threads ---------------------------------------- */

#define THREADS 8
#define OPERATIONS 130000 /* in each thread: over 10^6 in all */
#define SHARED 8
#define HELD 8

static const struct price work_price = {
    .version = 1, .input = 1500000, .output = 6000000, .request = 3};

struct work {
    struct quota_ledger *ledger;
    const struct quota_rule *rules;
    unsigned seed;
    _Atomic int64_t *now, *held;
    _Atomic int64_t *settled;
    /* At least what is used, reserved and being asked for; never too low. */
    _Atomic int64_t *upper;
    _Atomic uint64_t *asked; /* how often anybody began to ask */
    int64_t admitted, refused, over, wrongly_refused, judged;
};

/* What the quota would be asked for at this cap. */
static int64_t units_at(const struct quota_rule *rule,
    const struct quota_demand *demand, int64_t cap)
{
    struct quota_demand fixed = *demand;
    fixed.cap = cap;
    fixed.cap_is_flexible = false;
    return quota_asked(rule, &fixed);
}

/* Has every quota room for the least, by figures that are never too low? Rates
 * have another definition; quota_explorer_test has that. */
static bool fits(const struct work *work, const struct quota_claim *claims,
    size_t count, const int64_t *least)
{
    for (size_t k = 0; k < count; k++) {
        const struct quota_rule *rule = claims[k].rule;
        if (rule->window == QUOTA_MINUTE)
            return false;
        if (atomic_load(&work->upper[rule - work->rules]) + least[k] >
            rule->amount)
            return false;
    }
    return true;
}

static void *worker(void *context)
{
    struct work *work = context;
    struct {
        struct quota_claim claims[SHARED];
        size_t count;
    } open[HELD] = {0};
    unsigned seed = work->seed;
    for (int i = 0; i < OPERATIONS; i++) {
        size_t slot = (size_t)rand_r(&seed) % HELD;
        int64_t now = atomic_fetch_add(work->now, 3);
        if (open[slot].count > 0) {
            size_t count = open[slot].count;
            /* Ours no longer, before the ledger gives it to others. */
            for (size_t k = 0; k < count; k++)
                atomic_fetch_sub(
                    &work->held[open[slot].claims[k].rule - work->rules],
                    open[slot].claims[k].reserved);
            bool cancel = rand_r(&seed) % 8 == 0;
            if (cancel)
                quota_cancel(work->ledger, now, open[slot].claims, count);
            else
                quota_settle(work->ledger, now, open[slot].claims, count,
                    &(struct quota_use){.input = rand_r(&seed) % 50,
                        .output = rand_r(&seed) % 200,
                        .served = true});
            for (size_t k = 0; k < count; k++) {
                const struct quota_claim *c = &open[slot].claims[k];
                atomic_fetch_add(
                    &work->settled[c->rule - work->rules], c->settled);
                atomic_fetch_sub(&work->upper[c->rule - work->rules],
                    c->reserved - c->settled);
            }
            open[slot].count = 0;
            continue;
        }
        size_t first = (size_t)rand_r(&seed) % SHARED, count = 0;
        size_t many = 1 + (size_t)rand_r(&seed) % 4;
        for (size_t k = 0; k < many; k++)
            open[slot].claims[count++] = (struct quota_claim){
                .rule = &work->rules[(first + k) % SHARED]};
        struct quota_demand demand = {.input = rand_r(&seed) % 40,
            .multiplier = rand_r(&seed) % 3,
            .cap = rand_r(&seed) % 200,
            .cap_is_flexible = rand_r(&seed) % 2,
            .cap_least = 4,
            .images = rand_r(&seed) % 3,
            .bytes = rand_r(&seed) % 1000,
            .price = &work_price};
        int64_t cap, least[SHARED];
        struct quota_denial denial;
        int64_t least_cap =
            demand.cap_is_flexible && demand.cap_least < demand.cap
                ? demand.cap_least
                : demand.cap;
        for (size_t k = 0; k < count; k++)
            least[k] = units_at(open[slot].claims[k].rule, &demand, least_cap);
        uint64_t turn = atomic_fetch_add(work->asked, 1);
        bool had_room = fits(work, open[slot].claims, count, least);
        for (size_t k = 0; k < count; k++)
            atomic_fetch_add(
                &work->upper[open[slot].claims[k].rule - work->rules],
                units_at(open[slot].claims[k].rule, &demand, demand.cap));
        enum err err = quota_reserve(work->ledger, now, &demand,
            open[slot].claims, count, &cap, &denial);
        if (err != ERR_OK) {
            work->refused++;
            /* Nobody else asked meanwhile, so what was free stayed free. */
            bool alone = atomic_load(work->asked) == turn + 1;
            work->judged += alone;
            work->wrongly_refused += alone && had_room;
            MUST(denial.asked > denial.remaining);
            for (size_t k = 0; k < count; k++)
                atomic_fetch_sub(
                    &work->upper[open[slot].claims[k].rule - work->rules],
                    units_at(open[slot].claims[k].rule, &demand, demand.cap));
            continue;
        }
        work->admitted++;
        open[slot].count = count;
        for (size_t k = 0; k < count; k++)
            atomic_fetch_sub(
                &work->upper[open[slot].claims[k].rule - work->rules],
                units_at(open[slot].claims[k].rule, &demand, demand.cap) -
                    open[slot].claims[k].reserved);
        for (size_t k = 0; k < count; k++) {
            size_t r = (size_t)(open[slot].claims[k].rule - work->rules);
            int64_t mine =
                atomic_fetch_add(&work->held[r], open[slot].claims[k].reserved);
            if (work->rules[r].window != QUOTA_MINUTE &&
                mine + open[slot].claims[k].reserved > work->rules[r].amount)
                work->over++;
        }
    }
    for (size_t slot = 0; slot < HELD; slot++) {
        quota_settle(work->ledger, atomic_load(work->now), open[slot].claims,
            open[slot].count,
            &(struct quota_use){.input = 1, .output = 1, .served = true});
        for (size_t k = 0; k < open[slot].count; k++)
            atomic_fetch_add(
                &work->settled[open[slot].claims[k].rule - work->rules],
                open[slot].claims[k].settled);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct clock_zone *utc = zone_of("UTC");
    struct quota_rule rules[SHARED] = {
        rule_of("tokens-life", QUOTA_TOKENS, QUOTA_LIFETIME, 3000000),
        rule_of("requests-life", QUOTA_REQUESTS, QUOTA_LIFETIME, 200000),
        rule_of("output-day", QUOTA_OUTPUT_TOKENS, QUOTA_DAY, 2500000),
        rule_of("input-month", QUOTA_INPUT_TOKENS, QUOTA_MONTH, 1200000),
        rule_of("tokens-week", QUOTA_TOKENS, QUOTA_WEEK, 400),
        rule_of("requests-minute", QUOTA_REQUESTS, QUOTA_MINUTE, 100000000),
        rule_of("cost-life", QUOTA_COST, QUOTA_LIFETIME, 12000000),
        rule_of("at-once", QUOTA_CONCURRENT_REQUESTS, QUOTA_NOW, 30),
    };
    for (size_t i = 0; i < SHARED; i++)
        rules[i].zone = utc;
    struct quota_ledger *ledger = quota_ledger_new();
    _Atomic int64_t now = at("2026-11-23T10:00:00Z");
    _Atomic int64_t held[SHARED] = {0}, settled[SHARED] = {0},
                    upper[SHARED] = {0};
    _Atomic uint64_t asked = 0;
    struct work work[THREADS];
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++) {
        work[i] = (struct work){.ledger = ledger,
            .rules = rules,
            .seed = 77u + (unsigned)i,
            .now = &now,
            .held = held,
            .settled = settled,
            .upper = upper,
            .asked = &asked};
        assert_int_equal(pthread_create(&thread[i], NULL, worker, &work[i]), 0);
    }
    int64_t admitted = 0, refused = 0, judged = 0;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_int_equal(work[i].over, 0);
        assert_int_equal(work[i].wrongly_refused, 0);
        judged += work[i].judged;
        admitted += work[i].admitted;
        refused += work[i].refused;
    }
    assert_true(admitted > 100000);
    assert_true(refused > 1000);
    print_message("%lld admitted, %lld refused, %lld of those undisturbed\n",
        (long long)admitted, (long long)refused, (long long)judged);
    assert_true(judged > 100);
    for (size_t i = 0; i < SHARED; i++) {
        if (rules[i].window == QUOTA_MINUTE)
            continue;
        struct quota_status status;
        quota_peek(ledger, now, &rules[i], &status);
        assert_int_equal(status.used, settled[i]);
        assert_int_equal(status.reserved, 0); /* nothing leaked */
        assert_true(settled[i] <= rules[i].amount);
        assert_int_equal(status.remaining, rules[i].amount - settled[i]);
    }
    quota_ledger_free(&ledger);
    clock_zone_free(&utc);
}

/* One thread against a plain model: refused exactly when it does not fit. */
/* What is foreseen is what a reservation gets, and takes nothing; what is open
 * shows until it is settled, or its window has ended. */
static void test_foresee_and_open_reservations(void **state)
{
    (void)state;
    struct quota_ledger *ledger = quota_ledger_new();
    struct clock_zone *zone = zone_of("UTC");
    struct quota_rule rules[] = {
        rule_of("tokens", QUOTA_TOKENS, QUOTA_DAY, 100),
        rule_of("rate", QUOTA_OUTPUT_TOKENS, QUOTA_MINUTE, 60),
    };
    struct quota_claim claims[2] = {{.rule = &rules[0]}, {.rule = &rules[1]}};
    struct quota_denial denial;
    struct quota_status status;
    int64_t cap;
    rules[0].zone = zone;
    for (int64_t input = 0; input <= 120; input += 10) {
        for (int64_t ours = 10; ours <= 90; ours += 20) {
            for (int flexible = 0; flexible < 2; flexible++) {
                struct quota_demand demand = {.input = input,
                    .multiplier = 1,
                    .cap = ours,
                    .cap_is_flexible = flexible,
                    .cap_least = 1};
                int64_t foreseen =
                    quota_foresee(ledger, NOW, &demand, claims, 2);
                quota_peek(ledger, NOW, &rules[0], &status);
                assert_int_equal(status.used, 0);
                enum err err = quota_reserve(
                    ledger, NOW, &demand, claims, 2, &cap, &denial);
                assert_int_equal(foreseen, err == ERR_OK ? cap : -1);
                assert_int_equal(quota_asked(&rules[0], &demand),
                    input + (flexible ? 1 : ours));
                quota_peek(ledger, NOW, &rules[0], &status);
                assert_int_equal(
                    status.reserved, err == ERR_OK ? input + cap : 0);
                assert_int_equal(status.used, status.reserved);
                quota_cancel(ledger, NOW, claims, 2);
            }
        }
    }
    struct quota_demand demand = {.input = 30, .multiplier = 1, .cap = 20};
    assert_int_equal(
        quota_reserve(ledger, NOW, &demand, claims, 2, &cap, &denial), ERR_OK);
    quota_peek(ledger, NOW, &rules[1], &status);
    assert_int_equal(status.reserved, 20);
    quota_settle(ledger, NOW, claims, 2,
        &(struct quota_use){.input = 30, .output = 5, .served = true});
    for (size_t i = 0; i < 2; i++) {
        quota_peek(ledger, NOW, &rules[i], &status);
        assert_int_equal(status.reserved, 0);
        assert_int_equal(status.used, i == 0 ? 35 : 5);
    }
    /* A reservation of yesterday is none of today's, settled or not. */
    assert_int_equal(
        quota_reserve(ledger, NOW, &demand, claims, 2, &cap, &denial), ERR_OK);
    int64_t tomorrow = NOW + INT64_C(86400) * SECOND_US;
    quota_peek(ledger, tomorrow, &rules[0], &status);
    assert_int_equal(status.reserved, 0);
    assert_int_equal(status.used, 0);
    struct quota_claim late = {.rule = &rules[0]};
    assert_int_equal(
        take(ledger, tomorrow, &rules[0], 7, &late, &denial), ERR_OK);
    quota_settle(ledger, tomorrow, claims, 2,
        &(struct quota_use){.input = 30, .output = 20, .served = true});
    quota_peek(ledger, tomorrow, &rules[0], &status);
    assert_int_equal(status.reserved, 7);
    assert_int_equal(status.used, 7);
    quota_cancel(ledger, tomorrow, &late, 1);
    quota_ledger_free(&ledger);
    clock_zone_free(&zone);
}

static void test_refuses_only_what_does_not_fit(void **state)
{
    (void)state;
    struct quota_rule rules[4] = {
        rule_of("a", QUOTA_TOKENS, QUOTA_LIFETIME, 5000),
        rule_of("b", QUOTA_OUTPUT_TOKENS, QUOTA_LIFETIME, 3000),
        rule_of("c", QUOTA_INPUT_TOKENS, QUOTA_LIFETIME, 1500),
        rule_of("d", QUOTA_REQUESTS, QUOTA_LIFETIME, 300),
    };
    unsigned seed = 5;
    for (int round = 0; round < 40; round++) {
        struct quota_ledger *ledger = quota_ledger_new();
        int64_t used[4] = {0};
        struct quota_claim open[6][4] = {0};
        for (int i = 0; i < 2000; i++) {
            struct quota_claim *claims = open[rand_r(&seed) % 6];
            if (claims[0].bucket != NULL) {
                quota_settle(ledger, NOW, claims, 4,
                    &(struct quota_use){.input = rand_r(&seed) % 20,
                        .output = rand_r(&seed) % 60,
                        .served = true});
                for (int k = 0; k < 4; k++)
                    used[k] -= claims[k].reserved - claims[k].settled;
                continue;
            }
            for (int k = 0; k < 4; k++)
                claims[k].rule = &rules[k];
            struct quota_demand demand = {.input = rand_r(&seed) % 20,
                .multiplier = 1 + rand_r(&seed) % 2,
                .cap = rand_r(&seed) % 100,
                .cap_is_flexible = rand_r(&seed) % 2,
                .cap_least = rand_r(&seed) % 30};
            int64_t best = -1;
            int64_t least =
                demand.cap_is_flexible && demand.cap_least < demand.cap
                    ? demand.cap_least
                    : demand.cap;
            for (int64_t c = demand.cap; c >= least && best < 0; c--)
                if (used[0] + demand.input + demand.multiplier * c <= 5000 &&
                    used[1] + demand.multiplier * c <= 3000 &&
                    used[2] + demand.input <= 1500 && used[3] + 1 <= 300)
                    best = c;
            int64_t cap;
            struct quota_denial denial;
            enum err err =
                quota_reserve(ledger, NOW, &demand, claims, 4, &cap, &denial);
            assert_int_equal(err, best < 0 ? ERR_FULL : ERR_OK);
            if (err != ERR_OK)
                continue;
            assert_int_equal(cap, best);
            for (int k = 0; k < 4; k++) {
                assert_int_equal(claims[k].used, used[k]);
                used[k] += claims[k].reserved;
            }
        }
        quota_ledger_free(&ledger);
    }
}

/* Once in a window, by what has been settled; not again after a restart. */
static void test_warning(void **state)
{
    (void)state;
    struct clock_zone *zone = zone_of("UTC");
    struct quota_rule rule = rule_of("w", QUOTA_INPUT_TOKENS, QUOTA_DAY, 100);
    rule.zone = zone;
    rule.warn_percent = 80;
    for (int restart = 0; restart < 2; restart++) {
        struct quota_ledger *ledger = quota_ledger_new();
        int64_t now = at("2026-11-23T10:00:00Z");
        static const int64_t uses[] = {79, 1, 1};
        for (int day = 0; day < 2; day++) {
            for (size_t i = 0; i < 3; i++) {
                struct quota_claim claim;
                struct quota_denial denial;
                assert_int_equal(
                    take(ledger, now, &rule, uses[i], &claim, &denial), ERR_OK);
                assert_false(claim.warned); /* reserving is not using */
                quota_settle(ledger, now, &claim, 1,
                    &(struct quota_use){.input = uses[i], .served = true});
                assert_int_equal(claim.warned, i == 1);
                if (i == 1)
                    assert_int_equal(claim.used_settled, 80);
                if (i == 1 && restart == 1) {
                    quota_ledger_free(&ledger);
                    ledger = quota_ledger_new();
                    assert_int_equal(quota_restore_window(ledger, STR("w"),
                                         at(day == 0 ? "2026-11-23T00:00:00Z"
                                                     : "2026-11-24T00:00:00Z"),
                                         80),
                        ERR_OK);
                }
            }
            now += DAY_US;
        }
        quota_ledger_free(&ledger);
    }
    assert_true(
        quota_is_past_mark(&rule, 80) && !quota_is_past_mark(&rule, 79));
    rule.warn_percent = 0;
    assert_false(quota_is_past_mark(&rule, 1000));
    clock_zone_free(&zone);
}

/* Counts in the window that it belongs to, and in no other. */
static void test_earlier_use(void **state)
{
    (void)state;
    struct clock_zone *zone = zone_of("UTC");
    struct quota_ledger *ledger = quota_ledger_new();
    int64_t now = at("2026-11-23T10:00:00Z");
    struct quota_rule rule = rule_of("e", QUOTA_INPUT_TOKENS, QUOTA_DAY, 100);
    struct quota_claim claim;
    struct quota_denial denial;
    struct quota_status status;
    rule.zone = zone;
    rule.earlier = 30;
    rule.earlier_window_us = at("2026-11-23T00:00:00Z");
    assert_int_equal(remaining(ledger, now, &rule), 70);
    assert_int_equal(take(ledger, now, &rule, 71, &claim, &denial), ERR_FULL);
    assert_int_equal(denial.remaining, 70);
    assert_int_equal(take(ledger, now, &rule, 70, &claim, &denial), ERR_OK);
    assert_int_equal(claim.used, 30);
    quota_settle(ledger, now, &claim, 1,
        &(struct quota_use){.input = 20, .served = true});
    quota_peek(ledger, now, &rule, &status);
    assert_int_equal(status.used, 50);
    assert_int_equal(remaining(ledger, now + DAY_US, &rule), 100);
    /* After a restart the log has its own part only. */
    quota_ledger_free(&ledger);
    ledger = quota_ledger_new();
    assert_int_equal(
        quota_restore_window(ledger, STR("e"), rule.earlier_window_us, 20),
        ERR_OK);
    assert_int_equal(remaining(ledger, now, &rule), 50);
    quota_ledger_free(&ledger);
    clock_zone_free(&zone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_all_or_none),
        cmocka_unit_test(test_flexible_cap),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_rate_gives_back_no_more_than_is_owed),
        cmocka_unit_test(test_rate_amount_changes),
        cmocka_unit_test(test_clock_set_back),
        cmocka_unit_test(test_windows_and_summer_time),
        cmocka_unit_test(test_zone_changes),
        cmocka_unit_test(test_restore),
        cmocka_unit_test(test_foresee_and_open_reservations),
        cmocka_unit_test(test_warning),
        cmocka_unit_test(test_earlier_use),
        cmocka_unit_test(test_refuses_only_what_does_not_fit),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
