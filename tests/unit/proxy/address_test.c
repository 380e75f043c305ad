/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/address.h - ranges of addresses: what is one, and who is in it. */
#include "proxy/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct sockaddr_storage peer(const char *text)
{
    struct sockaddr_storage out = {0};
    struct sockaddr_in *in = (struct sockaddr_in *)&out;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&out;

    if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &in6->sin6_addr), 1);
        in6->sin6_family = AF_INET6;
    }
    return out;
}

static bool has(const char *range_text, const char *address)
{
    struct address_range range;
    struct errinfo info = {0};
    struct sockaddr_storage from = peer(address);

    assert_int_equal(
        address_range_parse(str_from(range_text), &range, &info), ERR_OK);
    return address_range_has(&range, (struct sockaddr *)&from);
}

static void test_membership(void **state)
{
    assert_true(has("192.0.2.0/24", "192.0.2.255"));
    assert_false(has("192.0.2.0/24", "192.0.3.0"));
    assert_true(has("192.0.2.128/25", "192.0.2.129"));
    assert_false(has("192.0.2.128/25", "192.0.2.127"));
    assert_true(has("192.0.2.7", "192.0.2.7"));
    assert_false(has("192.0.2.7", "192.0.2.6"));
    assert_true(has("0.0.0.0/0", "8.8.8.8"));
    assert_false(has("0.0.0.0/0", "2001:db8::1"));
    assert_true(has("2001:db8::/32", "2001:db8:ffff::1"));
    assert_false(has("2001:db8::/32", "2001:db9::1"));
    assert_true(has("2001:db8::/33", "2001:db8:7fff::"));
    assert_false(has("2001:db8::/33", "2001:db8:8000::"));
    assert_true(has("::/0", "2001:db8::1"));
}

/* A dual-stack socket shows IPv4 peers as ::ffff:a.b.c.d. */
static void test_mapped(void **state)
{
    assert_true(has("192.0.2.0/24", "::ffff:192.0.2.9"));
    assert_true(has("::ffff:192.0.2.0/120", "192.0.2.9"));
    assert_false(has("::/0", "192.0.2.9"));
    assert_false(has("::/0", "::ffff:192.0.2.9"));
    assert_false(has("::/90", "192.0.2.9"));
}

static void test_not_ip(void **state)
{
    struct address_range range;
    struct sockaddr_storage from = {.ss_family = AF_UNIX};

    assert_int_equal(address_range_parse(STR("::/0"), &range, NULL), ERR_OK);
    assert_false(address_range_has(&range, (struct sockaddr *)&from));
}

static void test_format(void **state)
{
    static const char *const rows[][2] = {
        {"192.0.2.7", "192.0.2.7/32"},
        {"10.0.0.0/8", "10.0.0.0/8"},
        {"0.0.0.0/0", "0.0.0.0/0"},
        {"2001:DB8:0:0::/32", "2001:db8::/32"},
        {"::1", "::1/128"},
        {"::ffff:192.0.2.0/120", "192.0.2.0/24"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct address_range range;
        char text[ADDRESS_TEXT_MAX];
        assert_int_equal(
            address_range_parse(str_from(rows[i][0]), &range, NULL), ERR_OK);
        address_range_format(&range, text, sizeof text);
        assert_string_equal(text, rows[i][1]);
    }
}

static void test_refused(void **state)
{
    static const char *const rows[] = {"", "/", "/8", "10.0.0.0/",
        "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0.1/8", "10.0.0",
        "010.0.0.0/8", "10.0.0.0/ 8", "2001:db8::/129", "2001:db8::1/64",
        "::ffff:10.0.0.1/104", "fe80::1%eth0", "localhost", "10.0.0.0/8 ", "*",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/1"};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct address_range range;
        struct errinfo info = {0};
        if (address_range_parse(str_from(rows[i]), &range, &info) == ERR_OK)
            fail_msg("%s was taken for a range", rows[i]);
        assert_true(info.text[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_membership),
        cmocka_unit_test(test_mapped),
        cmocka_unit_test(test_not_ip),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
