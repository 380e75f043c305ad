/* SPDX-License-Identifier: Apache-2.0
 *
 * extension_decimal_test.c - decimals at their limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "policy/cedar/extension.h"

#include <stdio.h>

static const struct {
    const char *text;
    int64_t value;
    const char *printed; /* NULL: refused */
} rows[] = {
    {"0.0", 0, "0.0"},
    {"-0.0", 0, "0.0"},
    {"1.5", 15000, "1.5"},
    {"0001.5", 15000, "1.5"},
    {"0000000000000000000000000000001.5", 15000, "1.5"},
    {"-0.5", -5000, "-0.5"},
    {"-0.0001", -1, "-0.0001"},
    {"0.0123", 123, "0.0123"},
    {"12.3400", 123400, "12.34"},
    {"-1.0", -10000, "-1.0"},
    {"922337203685477.5807", INT64_MAX, "922337203685477.5807"},
    {"-922337203685477.5808", INT64_MIN, "-922337203685477.5808"},
    {"922337203685477.5808", 0, NULL},
    {"-922337203685477.5809", 0, NULL},
    {"922337203685478.0", 0, NULL},
    {"99999999999999999999999999.0", 0, NULL},
    {"", 0, NULL},
    {"-", 0, NULL},
    {".", 0, NULL},
    {"1", 0, NULL},
    {"1.", 0, NULL},
    {".5", 0, NULL},
    {"-.5", 0, NULL},
    {"+1.5", 0, NULL},
    {"--1.5", 0, NULL},
    {"1.-5", 0, NULL},
    {"1.50000", 0, NULL},
    {"1.5\n", 0, NULL},
    {" 1.5", 0, NULL},
    {"1.5e3", 0, NULL},
    {"1,5", 0, NULL},
    {"1.5.5", 0, NULL},
    {"\xd9\xa3.5", 0, NULL},
};

static void parses_and_prints(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t value = 77;
        const char *reason = NULL;
        bool ok = cedar_decimal_parse(str_from(rows[i].text), &value, &reason);
        if (!rows[i].printed) {
            if (ok) {
                fail_msg("accepted: %s", rows[i].text);
            }
            assert_non_null(reason);
            assert_int_equal(value, 77);
            continue;
        }
        if (!ok) {
            fail_msg("refused: %s: %s", rows[i].text, reason);
        }
        assert_true(value == rows[i].value);
        struct buf out;
        buf_init(&out, 64);
        cedar_decimal_print(&out, value);
        assert_string_equal(buf_cstr(&out), rows[i].printed);
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_and_prints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
