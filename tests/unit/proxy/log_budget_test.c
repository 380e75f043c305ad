/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of proxy/log_budget. */
#include "proxy/log_budget.h"

#include "lib/clock.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static struct log_budget *budget;

static int set_up(void **state)
{
    budget = log_budget_new();
    return budget == NULL;
}

static int tear_down(void **state)
{
    log_budget_free(&budget);
    return 0;
}

static void sums_by_caller_and_hour(void **state)
{
    int64_t now = INT64_C(1795800000) * SECOND_US / HOUR_US * HOUR_US;
    assert_int_equal(log_budget_add(budget, STR("cal_a"), 0, now), 0);
    assert_int_equal(log_budget_add(budget, STR("cal_a"), 100, now), 100);
    assert_int_equal(log_budget_add(budget, STR("cal_b"), 7, now), 7);
    assert_int_equal(
        log_budget_add(budget, STR("cal_a"), 5, now + HOUR_US - 1), 105);
    assert_int_equal(
        log_budget_add(budget, STR("cal_a"), 0, now + HOUR_US - 1), 105);
    assert_int_equal(log_budget_add(budget, STR("cal_a"), 0, now + HOUR_US), 0);
    assert_int_equal(log_budget_add(budget, STR("cal_a"), 3, now + HOUR_US), 3);
    /* It stops at the most that it can hold. */
    log_budget_add(budget, STR("cal_c"), UINT64_C(1) << 39, now);
    uint64_t most =
        log_budget_add(budget, STR("cal_c"), UINT64_C(1) << 39, now);
    assert_true(most >= (UINT64_C(1) << 40) - 1);
    assert_int_equal(log_budget_add(budget, STR("cal_c"), 9, now), most);
}

static void *add_often(void *argument)
{
    for (int i = 0; i < 20000; i++)
        log_budget_add(budget, str_from(argument), 3, 0);
    return NULL;
}

static void threads_lose_nothing(void **state)
{
    static char one[] = "cal_one", two[] = "cal_two";
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, add_often, i % 2 ? one : two), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(log_budget_add(budget, STR("cal_one"), 0, 0), 120000);
    assert_int_equal(log_budget_add(budget, STR("cal_two"), 0, 0), 120000);
}

static void many_callers(void **state)
{
    unsigned counted = 0;
    char name[32];
    for (unsigned i = 0; i < 100000; i++) {
        int n = snprintf(name, sizeof(name), "cal_%u", i);
        counted += log_budget_add(
                       budget, str_make(name, (size_t)n), i + 1, 0) == i + 1;
    }
    assert_int_equal(counted, 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            sums_by_caller_and_hour, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            threads_lose_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_callers, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("log_budget", tests, NULL, NULL);
}
