/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/visitors.h"

#include <setjmp.h>
#include <stdarg.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

static struct sockaddr_in6 six(const char *text)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6};
    assert_int_equal(inet_pton(AF_INET6, text, &address.sin6_addr), 1);
    return address;
}

#define PEER(address) ((const struct sockaddr *)&(address))
#define START (INT64_C(1800000000) * SECOND_US)

static void few_failures_are_answered_at_once(void **state)
{
    struct visitors *v = visitors_new();
    struct sockaddr_in6 a = six("2001:db8::1");

    for (int i = 0; i < 10; i++)
        assert_int_equal(visitors_delay(v, PEER(a), 10, START), 0);
    int64_t last = 0;
    for (int i = 0; i < 3; i++) {
        int64_t wait = visitors_delay(v, PEER(a), 10, START);
        assert_true(wait > 0 && wait >= last);
        assert_true(wait <= VISITORS_DELAY_MAX_US);
        last = wait;
    }
    /* Not longer and longer: what is owed is bounded, and forgiven. */
    for (int i = 0; i < 100000; i++)
        assert_true(
            visitors_delay(v, PEER(a), 10, START) <= VISITORS_DELAY_MAX_US);
    assert_int_equal(visitors_delay(v, PEER(a), 10, START + 9 * SECOND_US), 0);
    /* 0: never. */
    assert_int_equal(visitors_delay(v, PEER(a), 0, START), 0);
    visitors_free(&v);
}

static void a_neighbourhood_is_one_and_others_are_not(void **state)
{
    struct visitors *v = visitors_new();
    struct sockaddr_in6 a = six("2001:db8:0:1::1"),
                        b = six("2001:db8:0:1:f::2"),
                        c = six("2001:db8:0:2::1"),
                        four = six("::ffff:192.0.2.1"),
                        neighbour = six("::ffff:192.0.2.2");
    struct sockaddr_in plain = {.sin_family = AF_INET};
    inet_pton(AF_INET, "192.0.2.1", &plain.sin_addr);

    for (int i = 0; i < 20; i++) {
        visitors_delay(v, PEER(a), 10, START);
        visitors_delay(v, PEER(four), 10, START);
    }
    assert_true(visitors_delay(v, PEER(b), 10, START) > 0);
    assert_int_equal(visitors_delay(v, PEER(c), 10, START), 0);
    assert_true(visitors_delay(v, PEER(plain), 10, START) > 0);
    assert_int_equal(visitors_delay(v, PEER(neighbour), 10, START), 0);
    /* The limit of connections too. */
    assert_true(visitors_enter(v, PEER(a), 1));
    assert_false(visitors_enter(v, PEER(b), 1));
    assert_true(visitors_enter(v, PEER(c), 1));
    visitors_leave(v, PEER(b));
    assert_true(visitors_enter(v, PEER(b), 1));
    visitors_free(&v);
}

struct seen {
    int count;
    char address[64];
    int64_t calls;
};

static bool note(void *context, const struct visitors_report *report)
{
    struct seen *seen = context;
    seen->count++;
    seen->calls += report->count;
    memcpy(seen->address, report->address, strlen(report->address) + 1);
    return true;
}

static void reports_name_the_whole_address(void **state)
{
    struct visitors *v = visitors_new();
    struct sockaddr_in6 a = six("2001:db8::1"), b = six("2001:db8::2");
    struct seen seen = {0};

    visitors_refuse(v, PEER(a), REFUSAL_UNKNOWN, STR("/x"), STR(""), START);
    visitors_refuse(v, PEER(b), REFUSAL_UNKNOWN, STR("/x"), STR(""), START);
    visitors_refuse(
        v, PEER(b), REFUSAL_CERTIFICATE_REVOKED, STR(""), STR(""), START);
    assert_int_equal(visitors_unreported(v), 3);
    visitors_flush(v, note, &seen);
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.calls, 3);
    assert_string_equal(seen.address, "2001:db8::2");
    assert_int_equal(visitors_unreported(v), 0);
    visitors_flush(v, note, &seen);
    assert_int_equal(seen.count, 2);
    visitors_free(&v);
}

/* A flood from everywhere: memory is bounded, everything is counted, and who
 * comes then still waits no longer than anybody. */
static void a_flood_is_bounded(void **state)
{
    struct visitors *v = visitors_new();
    struct sockaddr_in6 a = six("2001:db8::1");
    struct seen seen = {0};

    for (uint32_t i = 0; i < 200000; i++) {
        memcpy(&a.sin6_addr.s6_addr[0], &i, sizeof i);
        visitors_refuse(v, PEER(a), REFUSAL_UNKNOWN, STR(""), STR(""), START);
        assert_true(
            visitors_delay(v, PEER(a), 10, START) <= VISITORS_DELAY_MAX_US);
    }
    a = six("fe80::1"); /* a newcomer is let in, and kept to the limit */
    assert_true(visitors_enter(v, PEER(a), 1));
    assert_false(visitors_enter(v, PEER(a), 1));
    visitors_flush(v, note, &seen);
    assert_int_equal(seen.calls, 200000);
    assert_true(seen.count < 65536);
    visitors_free(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_failures_are_answered_at_once),
        cmocka_unit_test(a_neighbourhood_is_one_and_others_are_not),
        cmocka_unit_test(reports_name_the_whole_address),
        cmocka_unit_test(a_flood_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
