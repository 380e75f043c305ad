/* SPDX-License-Identifier: Apache-2.0
 *
 * extension_ip_test.c - what ip() takes, how it prints, and the four tests of
 * the language at their limits. The rows were compared with Cedar 4.13. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "policy/cedar/extension.h"

#include <stdio.h>

/* Text and the text it prints as; NULL: refused. */
static const char *const parse_rows[][2] = {
    {"1.2.3.4", "1.2.3.4"},
    {"1.2.3.4/32", "1.2.3.4"},
    {"1.2.3.4/24", "1.2.3.4/24"},
    {"0.0.0.0/0", "0.0.0.0/0"},
    {"255.255.255.255/1", "255.255.255.255/1"},
    {"::", "::"},
    {"::1/128", "::1"},
    {"0:0:0:0:0:0:0:1", "::1"},
    {"0:0:0:0:0:0::1", "::1"},
    {"0:0:0:0:0:0:0::", "::"},
    {"::0:0:0:0:0:0:0", "::"},
    {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
    {"1::2:3:4:5:6:7", "1:0:2:3:4:5:6:7"},
    {"0001::", "1::"},
    {"ABCD::EF", "abcd::ef"},
    {"1:0:0:2:0:0:0:3", "1:0:0:2::3"},
    {"1:0:0:2:3:0:0:4", "1::2:3:0:0:4"},
    {"::ffff:7f00:1", "::ffff:7f00:1"},
    {"fe80::/10", "fe80::/10"},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/127",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/127"},
    {"", NULL},
    {"/", NULL},
    {"/8", NULL},
    {"1.2.3.4/", NULL},
    {"1.2.3.4/00", NULL},
    {"1.2.3.4/032", NULL},
    {"1.2.3.4/08", NULL},
    {"1.2.3.4/33", NULL},
    {"1.2.3.4/-1", NULL},
    {"1.2.3.4/+8", NULL},
    {"1.2.3.4/ 8", NULL},
    {"1.2.3.4/24/8", NULL},
    {"01.2.3.4", NULL},
    {"00.0.0.0", NULL},
    {"1.2.3.256", NULL},
    {"1.2.3.1000", NULL},
    {"1.2.3", NULL},
    {"1.2.3.", NULL},
    {"1.2.3.4.", NULL},
    {"1.2.3.4.5", NULL},
    {"1..3.4", NULL},
    {" 1.2.3.4", NULL},
    {"1.2.3.4 ", NULL},
    {"0:0:0:0:0:0:0::1", NULL},
    {"::0:0:0:0:0:0:0:0", NULL},
    {"0:0:0:0::0:0:0:0", NULL},
    {"1:2:3:4:5:6:7:8::", NULL},
    {"00001::", NULL},
    {"::ffff:1.2.3.4", NULL},
    {"::ffff:1.2.3.4/128", NULL},
    {"fe80::1%eth0", NULL},
    {"[::1]", NULL},
    {"1::2::3", NULL},
    {":::1", NULL},
    {":::", NULL},
    {":", NULL},
    {"::1:", NULL},
    {":1::", NULL},
    {"1:2:3:4:5:6:7", NULL},
    {"1:2:3:4:5:6:7:8:9", NULL},
    {"::g", NULL},
    {"::/129", NULL},
    {"::/256", NULL},
    {"::1/0128", NULL},
    {"::1/08", NULL},
};

static struct cedar_ip parsed(const char *text)
{
    struct cedar_ip ip;
    if (!cedar_ip_parse(str_from(text), &ip, NULL)) {
        fail_msg("refused: %s", text);
    }
    return ip;
}

static void parses_and_prints(void **state)
{
    for (size_t i = 0; i < sizeof(parse_rows) / sizeof(parse_rows[0]); i++) {
        struct cedar_ip ip;
        const char *reason = NULL;
        bool ok = cedar_ip_parse(str_from(parse_rows[i][0]), &ip, &reason);
        if (!parse_rows[i][1]) {
            if (ok) {
                fail_msg("accepted: %s", parse_rows[i][0]);
            }
            assert_non_null(reason);
            continue;
        }
        if (!ok) {
            fail_msg("refused: %s: %s", parse_rows[i][0], reason);
        }
        struct buf out;
        buf_init(&out, 256);
        cedar_ip_print(&out, &ip);
        assert_string_equal(buf_cstr(&out), parse_rows[i][1]);
        struct cedar_ip again = parsed(buf_cstr(&out));
        assert_true(cedar_ip_equal(&ip, &again));
        buf_fini(&out);
    }
}

static void equality_includes_the_prefix(void **state)
{
    struct cedar_ip a = parsed("1.2.3.4/24"), b = parsed("1.2.3.0/24");
    struct cedar_ip c = parsed("1.2.3.4"), d = parsed("1.2.3.4/32");
    struct cedar_ip v4 = parsed("0.0.0.0/0"), v6 = parsed("::/0");
    assert_false(cedar_ip_equal(&a, &b));
    assert_false(cedar_ip_equal(&a, &c));
    assert_true(cedar_ip_equal(&c, &d));
    assert_false(cedar_ip_equal(&v4, &v6));
    assert_true(cedar_ip_compare(&b, &a) < 0);
    assert_true(cedar_ip_compare(&a, &b) > 0);
    assert_true(cedar_ip_compare(&a, &c) < 0);
}

static void loopback_and_multicast_want_the_whole_range(void **state)
{
    static const struct {
        const char *text;
        bool loopback, multicast;
    } rows[] = {
        {"127.0.0.1", true, false},
        {"127.255.0.1/8", true, false},
        {"127.0.0.1/7", false, false},
        {"126.0.0.1", false, false},
        {"::1", true, false},
        {"::1/127", false, false},
        {"::2", false, false},
        {"::ffff:7f00:1", false, false},
        {"224.0.0.1", false, true},
        {"239.255.255.255", false, true},
        {"240.0.0.0", false, false},
        {"223.255.255.255", false, false},
        {"224.0.0.1/4", false, true},
        {"224.0.0.1/3", false, false},
        {"ff00::", false, true},
        {"ff00::/8", false, true},
        {"ff00::/7", false, false},
        {"fe00::", false, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cedar_ip ip = parsed(rows[i].text);
        assert_int_equal(cedar_ip_is_loopback(&ip), rows[i].loopback);
        assert_int_equal(cedar_ip_is_multicast(&ip), rows[i].multicast);
    }
}

static void ranges_hold_what_lies_inside(void **state)
{
    static const struct {
        const char *inner, *outer;
        bool inside;
    } rows[] = {
        {"1.2.3.4", "1.2.3.4", true},
        {"1.2.3.4", "1.2.3.0/24", true},
        {"1.2.3.4/24", "1.2.3.9/24", true},
        {"1.2.3.0/23", "1.2.3.0/24", false},
        {"1.2.3.255", "1.2.3.128/25", true},
        {"1.2.3.127", "1.2.3.128/25", false},
        {"1.2.4.0", "1.2.3.0/24", false},
        {"1.2.3.4", "0.0.0.0/0", true},
        {"0.0.0.0/0", "0.0.0.0/0", true},
        {"::", "0.0.0.0/0", false},
        {"0.0.0.0", "::/0", false},
        {"2001:db8::1", "2001:db8::/33", true},
        {"2001:db8:8000::1", "2001:db8::/33", false},
        {"2001:db8::/32", "2001:db8::/33", false},
        {"::1", "::1/128", true},
        {"::2", "::1/128", false},
        {"::2", "::1/126", true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cedar_ip inner = parsed(rows[i].inner);
        struct cedar_ip outer = parsed(rows[i].outer);
        if (cedar_ip_in_range(&inner, &outer) != rows[i].inside) {
            fail_msg("%s in %s", rows[i].inner, rows[i].outer);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_and_prints),
        cmocka_unit_test(equality_includes_the_prefix),
        cmocka_unit_test(loopback_and_multicast_want_the_whole_range),
        cmocka_unit_test(ranges_hold_what_lies_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
