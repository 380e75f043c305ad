/* SPDX-License-Identifier: Apache-2.0
 *
 * extension_datetime_test.c - instants: leap days, offsets, the first and the
 * last year, and flooring before 1970. */
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
    {"1970-01-01", 0, "datetime(\"1970-01-01\")"},
    {"1969-12-31T23:59:59.999Z", -1, "datetime(\"1969-12-31T23:59:59.999Z\")"},
    {"2024-02-29", 1709164800000, "datetime(\"2024-02-29\")"},
    {"2000-02-29T12:00:00Z", 951825600000,
        "datetime(\"2000-02-29T12:00:00Z\")"},
    {"2024-10-15T11:38:02.101+1134", 1728950642101,
        "datetime(\"2024-10-15T00:04:02.101Z\")"},
    {"2024-10-15T11:38:02-1134", 1729033922000,
        "datetime(\"2024-10-15T23:12:02Z\")"},
    {"2024-10-15T23:59:00+2359", 1728950400000, "datetime(\"2024-10-15\")"},
    {"2024-10-15T00:00:00-0000", 1728950400000, "datetime(\"2024-10-15\")"},
    {"0000-01-01", -62167219200000, "datetime(\"0000-01-01\")"},
    {"0000-02-29", -62162121600000, "datetime(\"0000-02-29\")"},
    {"0000-01-01T00:00:00+2359", -62167305540000,
        "datetime(\"1970-01-01\").offset(duration(\"-719528d23h59m\"))"},
    {"9999-12-31T23:59:59.999Z", 253402300799999,
        "datetime(\"9999-12-31T23:59:59.999Z\")"},
    {"9999-12-31T23:59:59.999-2359", 253402387139999,
        "datetime(\"1970-01-01\").offset(duration(\"2932897d23h58m59s999ms\")"
        ")"},
    {"", 0, NULL},
    {"2024", 0, NULL},
    {"2024-1-01", 0, NULL},
    {"10000-01-01", 0, NULL},
    {"-001-01-01", 0, NULL},
    {"2024-00-01", 0, NULL},
    {"2024-13-01", 0, NULL},
    {"2024-01-00", 0, NULL},
    {"2024-04-31", 0, NULL},
    {"2023-02-29", 0, NULL},
    {"1900-02-29", 0, NULL},
    {"2024-01-01Z", 0, NULL},
    {"2024-01-01 00:00:00Z", 0, NULL},
    {"2024-01-01T", 0, NULL},
    {"2024-01-01T00:00Z", 0, NULL},
    {"2024-01-01T00:00:00", 0, NULL},
    {"2024-01-01T24:00:00Z", 0, NULL},
    {"2024-01-01T00:60:00Z", 0, NULL},
    {"2016-12-31T23:59:60Z", 0, NULL},
    {"2024-01-01T00:00:00.1Z", 0, NULL},
    {"2024-01-01T00:00:00.1234Z", 0, NULL},
    {"2024-01-01T00:00:00.123", 0, NULL},
    {"2024-01-01T00:00:00ZZ", 0, NULL},
    {"2024-01-01T00:00:00z", 0, NULL},
    {"2024-01-01T00:00:00+01:00", 0, NULL},
    {"2024-01-01T00:00:00+01", 0, NULL},
    {"2024-01-01T00:00:00+2400", 0, NULL},
    {"2024-01-01T00:00:00+0060", 0, NULL},
    {"2024-01-01T00:00:00+00000", 0, NULL},
};

static void parses_and_prints(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t value = 77;
        const char *reason = NULL;
        bool ok = cedar_datetime_parse(str_from(rows[i].text), &value, &reason);
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
        if (value != rows[i].value) {
            fail_msg("%s is %lld", rows[i].text, (long long)value);
        }
        struct buf out;
        buf_init(&out, 128);
        cedar_datetime_print_expression(&out, value);
        assert_string_equal(buf_cstr(&out), rows[i].printed);
        buf_fini(&out);
    }
}

/* Each day of 400 years prints as a text that parses to the same day. */
static void every_day_goes_there_and_back(void **state)
{
    int64_t day = INT64_C(86400000);
    for (int64_t n = -146097; n <= 146097; n++) {
        struct buf out;
        buf_init(&out, 128);
        cedar_datetime_print_expression(&out, n * day);
        struct str text = buf_str(&out);
        int64_t back = 0;
        assert_true(cedar_datetime_parse(
            str_make(text.ptr + 10, text.len - 12), &back, NULL));
        assert_true(back == n * day);
        buf_fini(&out);
    }
}

static void floors_and_overflows(void **state)
{
    int64_t out = 0;
    assert_true(cedar_datetime_to_date(-1, &out));
    assert_true(out == -86400000);
    assert_true(cedar_datetime_to_date(-86400000, &out));
    assert_true(out == -86400000);
    assert_true(cedar_datetime_to_date(86399999, &out));
    assert_true(out == 0);
    assert_false(cedar_datetime_to_date(INT64_MIN, &out));
    assert_true(cedar_datetime_to_date(INT64_MAX, &out));
    assert_true(cedar_datetime_to_time(-1) == 86399999);
    assert_true(cedar_datetime_to_time(-86400000) == 0);
    assert_true(cedar_datetime_to_time(INT64_MIN) == 60424192);
    assert_true(cedar_datetime_to_time(86400001) == 1);
    assert_true(cedar_datetime_offset(INT64_MAX, 0, &out));
    assert_false(cedar_datetime_offset(INT64_MAX, 1, &out));
    assert_false(cedar_datetime_offset(INT64_MIN, -1, &out));
    assert_true(cedar_datetime_since(-1, INT64_MAX, &out));
    assert_true(out == INT64_MIN);
    assert_false(cedar_datetime_since(-2, INT64_MAX, &out));
    assert_false(cedar_datetime_since(0, INT64_MIN, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_and_prints),
        cmocka_unit_test(every_day_goes_there_and_back),
        cmocka_unit_test(floors_and_overflows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
