/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/key_usage.h - cells that do not move, and their file. */
#include "proxy/key_usage.h"

#include "lib/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64], path[96];

static int set_up(void **state)
{
    snprintf(dir, sizeof dir, "/tmp/bailiff-usage-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/key-usage", dir);
    return 0;
}

static int tear_down(void **state)
{
    unlink(path);
    return rmdir(dir);
}

static void test_cells(void **state)
{
    struct key_usage *usage = key_usage_open(dir);
    struct key_usage_cell *first, *again;
    char id[32];

    assert_non_null(usage);
    first = key_usage_cell(usage, STR("key_first"));
    assert_non_null(first);
    key_usage_note(first, 5000000);
    key_usage_note(first, 5900000); /* less than a second later */
    assert_int_equal(key_usage_last(usage, STR("key_first")), 5000000);
    key_usage_note(first, 6000000);
    assert_int_equal(key_usage_last(usage, STR("key_first")), 6000000);
    key_usage_note(first, 1000000); /* the clock was set back */
    assert_int_equal(key_usage_last(usage, STR("key_first")), 6000000);
    key_usage_note(NULL, 7000000);
    for (int i = 0; i < 5000; i++) { /* the table grows; cells stay */
        snprintf(id, sizeof id, "key_%d", i);
        key_usage_note(key_usage_cell(usage, str_from(id)), 1000000 + i);
    }
    again = key_usage_cell(usage, STR("key_first"));
    assert_ptr_equal(first, again);
    assert_int_equal(key_usage_last(usage, STR("key_4321")), 1004321);
    assert_int_equal(key_usage_last(usage, STR("key_nobody")), 0);
    assert_null(key_usage_cell(usage, STR("")));
    assert_null(key_usage_cell(
        usage, STR("key_that_is_longer_than_any_id_that_there_may_be")));
    key_usage_free(&usage);
    assert_null(usage);
}

static void test_file(void **state)
{
    struct key_usage *usage = key_usage_open(dir);
    struct errinfo info = {0};

    assert_int_equal(key_usage_save(usage, &info), ERR_OK);
    assert_false(file_exists(path)); /* nothing to say */
    key_usage_note(key_usage_cell(usage, STR("key_a")), 1764000000000000);
    assert_non_null(key_usage_cell(usage, STR("key_unused")));
    assert_int_equal(key_usage_save(usage, &info), ERR_OK);
    key_usage_free(&usage);
    usage = key_usage_open(dir);
    assert_int_equal(key_usage_last(usage, STR("key_a")), 1764000000000000);
    assert_int_equal(key_usage_last(usage, STR("key_unused")), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(key_usage_save(usage, &info), ERR_OK);
    assert_false(file_exists(path)); /* unchanged: not written again */
    key_usage_free(&usage);
}

static void test_damaged(void **state)
{
    struct key_usage *usage;

    assert_int_equal(file_replace(path,
                         STR("\n \nkey_a\nkey_b x\nkey_c -5\nkey_d 7\nkey_e "
                             "99999999999999999999\nkey_d 9\nkey_f 8"),
                         0600, NULL),
        ERR_OK);
    usage = key_usage_open(dir);
    assert_non_null(usage);
    assert_int_equal(key_usage_last(usage, STR("key_c")), 0);
    assert_int_equal(key_usage_last(usage, STR("key_d")), 9);
    assert_int_equal(key_usage_last(usage, STR("key_e")), 0);
    assert_int_equal(key_usage_last(usage, STR("key_f")), 8);
    key_usage_free(&usage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cells, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damaged, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
