/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of lib/err: texts, prefixes, errno, truncation. */
#include "lib/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void set_returns_its_code(void **state)
{
    struct errinfo info = {0};
    assert_int_equal(
        errinfo_set(&info, ERR_RANGE, "port %d is too large", 70000),
        ERR_RANGE);
    assert_int_equal(info.code, ERR_RANGE);
    assert_string_equal(info.text, "port 70000 is too large");
}

static void null_is_accepted(void **state)
{
    assert_int_equal(errinfo_set(NULL, ERR_IO, "x"), ERR_IO);
    assert_int_equal(errinfo_prefix(NULL, ERR_IO, "x"), ERR_IO);
    assert_int_equal(errinfo_errno(NULL, ERR_IO, "x"), ERR_IO);
}

static void prefix_comes_before(void **state)
{
    struct errinfo info = {0};
    assert_int_equal(errinfo_set(&info, ERR_SYNTAX, "no such key"), ERR_SYNTAX);
    assert_int_equal(
        errinfo_prefix(&info, ERR_SYNTAX, "%s:%d", "a.conf", 7), ERR_SYNTAX);
    assert_string_equal(info.text, "a.conf:7: no such key");

    struct errinfo empty = {0};
    assert_int_equal(errinfo_prefix(&empty, ERR_IO, "a"), ERR_IO);
    assert_string_equal(empty.text, "a");
}

static void errno_is_told_and_kept(void **state)
{
    struct errinfo info = {0};
    errno = ENOENT;
    assert_int_equal(errinfo_errno(&info, ERR_IO, "cannot open x"), ERR_IO);
    assert_string_equal(info.text, "cannot open x: No such file or directory");
    assert_int_equal(errno, ENOENT);
}

static void long_texts_are_cut(void **state)
{
    struct errinfo info = {0};
    char text[3000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    assert_int_equal(errinfo_set(&info, ERR_IO, "%s", text), ERR_IO);
    assert_int_equal(strlen(info.text), ERRINFO_MAX - 1);
    assert_int_equal(errinfo_prefix(&info, ERR_IO, "%s", text), ERR_IO);
    assert_int_equal(strlen(info.text), ERRINFO_MAX - 1);
    errno = EIO;
    assert_int_equal(errinfo_errno(&info, ERR_IO, "%s", text), ERR_IO);
    assert_int_equal(strlen(info.text), ERRINFO_MAX - 1);
}

static void every_code_has_its_own_name(void **state)
{
    for (int a = ERR_OK; a <= ERR_INVALID; a++) {
        assert_string_not_equal(err_name((enum err)a), "unknown");
        for (int b = ERR_OK; b < a; b++)
            assert_string_not_equal(
                err_name((enum err)a), err_name((enum err)b));
    }
    assert_string_equal(err_name((enum err)999), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_returns_its_code),
        cmocka_unit_test(null_is_accepted),
        cmocka_unit_test(prefix_comes_before),
        cmocka_unit_test(errno_is_told_and_kept),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(every_code_has_its_own_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
