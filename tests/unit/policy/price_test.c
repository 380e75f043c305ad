/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/price.h"
#include "policy/quota.h"

#include <stdlib.h>

#define NOW INT64_C(1764000000000000)

static const struct price tiny = {.version = 1,
    .input = 150000, /* 0.15 for a million */
    .cached = 75000,
    .output = 600000,
    .request = 7,
    .image = 1000,
    .audio_second = 100};

static void test_exact_and_rounded_up_once(void **state)
{
    (void)state;
    struct price_use use = {0};
    assert_int_equal(price_cost(&tiny, &use), 7);
    use.input = 1; /* 0.15 */
    assert_int_equal(price_cost(&tiny, &use), 8);
    use.output = 1; /* 0.75 together, not 1 + 1 */
    assert_int_equal(price_cost(&tiny, &use), 8);
    use = (struct price_use){.input = 1000000, .output = 1000000};
    assert_int_equal(price_cost(&tiny, &use), 750007);
    use.cached = 400000;
    assert_int_equal(price_cost(&tiny, &use), 720007);
    use.cached = 5000000; /* an engine that says more than it read */
    assert_int_equal(price_cost(&tiny, &use), 675007);
    use = (struct price_use){.input = -1, .cached = -1, .output = -1};
    assert_int_equal(price_cost(&tiny, &use), 7);
    use = (struct price_use){.images = 3, .audio_seconds = 20};
    assert_int_equal(price_cost(&tiny, &use), 5007);
    struct price dear = {
        .input = PRICE_MAX, .cached = PRICE_MAX, .output = PRICE_MAX};
    use = (struct price_use){.input = INT64_MAX, .output = INT64_MAX};
    assert_true(price_cost(&dear, &use) == INT64_MAX);
}

/* A bound on the use is a bound on the cost. */
static void test_grows_with_use(void **state)
{
    (void)state;
    unsigned seed = 11;
    for (int i = 0; i < 20000; i++) {
        struct price price = {.input = rand_r(&seed) % 3000000,
            .output = rand_r(&seed) % 9000000,
            .request = rand_r(&seed) % 100};
        price.cached = rand_r(&seed) % (price.input + 1);
        struct price_use most = {
            .input = rand_r(&seed) % 100000, .output = rand_r(&seed) % 100000};
        struct price_use truth = {.input = rand_r(&seed) % (most.input + 1),
            .output = rand_r(&seed) % (most.output + 1)};
        truth.cached = rand_r(&seed) % (truth.input + 1);
        assert_true(price_cost(&price, &truth) <= price_cost(&price, &most));
    }
}

static void test_in_force(void **state)
{
    (void)state;
    const struct price rows[] = {{.version = 1, .valid_from_us = 100},
        {.version = 2, .valid_from_us = 200},
        {.version = 5, .valid_from_us = 200},
        {.version = 3, .valid_from_us = 300}};
    assert_null(price_at(rows, 4, 99));
    assert_int_equal(price_at(rows, 4, 100)->version, 1);
    assert_int_equal(price_at(rows, 4, 199)->version, 1);
    assert_int_equal(price_at(rows, 4, 200)->version, 5);
    assert_int_equal(price_at(rows, 4, 1000)->version, 3);
    assert_null(price_at(NULL, 0, 1000));
}

/* It stands in records: it may never change. */
static void test_hash(void **state)
{
    (void)state;
    struct price price = tiny;
    price.valid_from_us = NOW;
    price_hash(&price, STR("tiny"));
    /* printf '%s' '{"audioSecond":100,"cached":75000,"image":1000,...}' |
     * sha256sum */
    assert_string_equal(price.hash,
        "8210d881f5c1c3b203145f44c72b45452f354112babb4d8d7ddeeb184d74eade");
    struct price other = price;
    other.output++;
    price_hash(&other, STR("tiny"));
    assert_string_not_equal(price.hash, other.hash);
}

/* --- Quotas of cost, and of what runs at once ---------------------------- */

static void test_cap_by_cost(void **state)
{
    (void)state;
    struct quota_rule rule = {
        .id = "cost", .dimension = QUOTA_COST, .window = QUOTA_LIFETIME};
    unsigned seed = 3;
    for (int i = 0; i < 3000; i++) {
        struct quota_ledger *ledger = quota_ledger_new();
        struct price price = {.version = 1,
            .input = rand_r(&seed) % 3000000,
            .output = rand_r(&seed) % 3000000,
            .request = rand_r(&seed) % 20};
        struct quota_demand demand = {.input = rand_r(&seed) % 50,
            .multiplier = 1 + rand_r(&seed) % 3,
            .cap = 1 + rand_r(&seed) % 200,
            .cap_is_flexible = true,
            .cap_least = 1,
            .price = &price};
        struct quota_claim claim = {.rule = &rule};
        struct quota_denial denial;
        int64_t cap, best = -1;
        rule.amount = rand_r(&seed) % 600;
        for (int64_t c = demand.cap; c >= 1 && best < 0; c--) {
            struct price_use use = {
                .input = demand.input, .output = demand.multiplier * c};
            if (price_cost(&price, &use) <= rule.amount)
                best = c;
        }
        enum err err =
            quota_reserve(ledger, NOW, &demand, &claim, 1, &cap, &denial);
        assert_int_equal(err, best < 0 ? ERR_FULL : ERR_OK);
        if (err == ERR_OK) {
            assert_int_equal(cap, best);
            quota_settle(ledger, NOW, &claim, 1,
                &(struct quota_use){
                    .cost = claim.reserved / 2, .served = true});
            assert_int_equal(claim.settled, claim.reserved / 2);
        }
        /* Without a price nothing fits. */
        demand.price = NULL;
        assert_int_equal(
            quota_reserve(ledger, NOW, &demand, &claim, 1, &cap, &denial),
            ERR_FULL);
        quota_ledger_free(&ledger);
    }
}

static void test_at_once(void **state)
{
    (void)state;
    struct quota_rule rules[] = {
        {.id = "now",
            .dimension = QUOTA_CONCURRENT_REQUESTS,
            .window = QUOTA_NOW,
            .amount = 2},
        {.id = "images",
            .dimension = QUOTA_IMAGES,
            .window = QUOTA_LIFETIME,
            .amount = 5},
        {.id = "bytes",
            .dimension = QUOTA_REQUEST_BYTES,
            .window = QUOTA_LIFETIME,
            .amount = 1000},
        {.id = "seconds",
            .dimension = QUOTA_AUDIO_SECONDS,
            .window = QUOTA_LIFETIME,
            .amount = 100},
    };
    struct quota_ledger *ledger = quota_ledger_new();
    struct quota_claim claims[3][4];
    struct quota_demand demand = {
        .images = 2, .bytes = 300, .audio_seconds = 20};
    struct quota_denial denial;
    struct quota_status status;
    int64_t cap;
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < 4; k++)
            claims[i][k] = (struct quota_claim){.rule = &rules[k]};
        assert_int_equal(
            quota_reserve(ledger, NOW, &demand, claims[i], 4, &cap, &denial),
            i < 2 ? ERR_OK : ERR_FULL);
    }
    /* Of two that refuse, the one that lasts longer is named. */
    assert_string_equal(denial.rule->id, "images");
    quota_settle(
        ledger, NOW, claims[0], 4, &(struct quota_use){.served = true});
    quota_cancel(ledger, NOW, claims[1], 4);
    quota_peek(ledger, NOW, &rules[0], &status);
    assert_int_equal(status.used, 0);
    assert_int_equal(status.remaining, 2);
    assert_int_equal(status.reset_us, -1);
    for (int k = 1; k < 4; k++) {
        quota_peek(ledger, NOW, &rules[k], &status);
        assert_int_equal(status.used, claims[0][k].reserved);
        assert_int_equal(status.reserved, 0);
    }
    demand.images = 0;
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            quota_reserve(ledger, NOW, &demand, claims[i], 1, &cap, &denial),
            i < 2 ? ERR_OK : ERR_FULL);
    assert_true(denial.rate);
    assert_int_equal(denial.retry_after_us, SECOND_US);
    quota_ledger_free(&ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_and_rounded_up_once),
        cmocka_unit_test(test_grows_with_use),
        cmocka_unit_test(test_in_force),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_cap_by_cost),
        cmocka_unit_test(test_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
