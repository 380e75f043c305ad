/* SPDX-License-Identifier: Apache-2.0
 *
 * extension_duration_test.c - durations at their limits. */
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
    {"0ms", 0, "0ms"},
    {"-0d", 0, "0ms"},
    {"1d", 86400000, "1d"},
    {"1d2h3m4s5ms", 93784005, "1d2h3m4s5ms"},
    {"-1d2h3m4s5ms", -93784005, "-1d2h3m4s5ms"},
    {"90s", 90000, "1m30s"},
    {"1000ms", 1000, "1s"},
    {"5m5ms", 300005, "5m5ms"},
    {"00000000000000000000000000001d", 86400000, "1d"},
    {"9223372036854775807ms", INT64_MAX, "106751991167d7h12m55s807ms"},
    {"-9223372036854775808ms", INT64_MIN, "-106751991167d7h12m55s808ms"},
    {"106751991167d7h12m55s807ms", INT64_MAX, "106751991167d7h12m55s807ms"},
    {"9223372036854775808ms", 0, NULL},
    {"-9223372036854775809ms", 0, NULL},
    {"106751991168d", 0, NULL},
    {"-106751991168d", 0, NULL},
    {"106751991167d7h12m55s808ms", 0, NULL},
    {"99999999999999999999999999d", 0, NULL},
    {"", 0, NULL},
    {"-", 0, NULL},
    {"+1d", 0, NULL},
    {"1", 0, NULL},
    {"d", 0, NULL},
    {"1d-2h", 0, NULL},
    {"1h1d", 0, NULL},
    {"1d1d", 0, NULL},
    {"1ms1s", 0, NULL},
    {"1d 2h", 0, NULL},
    {"1D", 0, NULL},
    {"1w", 0, NULL},
    {"1.5h", 0, NULL},
    {"1hm", 0, NULL},
    {"--1d", 0, NULL},
};

static void parses_and_prints(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t value = 77;
        const char *reason = NULL;
        bool ok = cedar_duration_parse(str_from(rows[i].text), &value, &reason);
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
        cedar_duration_print(&out, value);
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
