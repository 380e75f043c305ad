/* SPDX-License-Identifier: Apache-2.0
 *
 * Patterns and SPIFFE IDs. Whole certificates: tests/e2e/certificates. */
#include "proxy/certificate.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void spiffe_ids(void **state)
{
    static const struct {
        const char *uri, *domain; /* NULL: none */
    } rows[] = {
        {"spiffe://prod.example/ns/web", "prod.example"},
        {"spiffe://a_b-1/Web.Server_1", "a_b-1"},
        {"spiffe://prod.example", NULL}, /* a trust domain's, no workload's */
        {"spiffe://prod.example/", NULL},
        {"spiffe:///web", NULL},
        {"spiffe://prod.example/web/", NULL},
        {"spiffe://prod.example//web", NULL},
        {"spiffe://prod.example/./web", NULL},
        {"spiffe://prod.example/..", NULL},
        {"spiffe://Prod.example/web", NULL},
        {"spiffe://prod.example:443/web", NULL},
        {"spiffe://user@prod.example/web", NULL},
        {"spiffe://prod.example/web?x", NULL},
        {"spiffe://prod.example/web#x", NULL},
        {"spiffe://prod.example/%77eb", NULL},
        {"SPIFFE://prod.example/web", NULL},
        {"https://prod.example/web", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct str domain;
        bool good = certificate_spiffe_domain(str_from(rows[i].uri), &domain);
        if (good != (rows[i].domain != NULL))
            fail_msg("%s", rows[i].uri);
        if (good)
            assert_true(str_equal(domain, str_from(rows[i].domain)));
    }
}

static void patterns(void **state)
{
    static const struct {
        enum certificate_field field;
        const char *pattern, *value, *captured; /* NULL: does not match */
    } rows[] = {
        {CERTIFICATE_URI, "spiffe://x/ns/*", "spiffe://x/ns/web", "web"},
        {CERTIFICATE_URI, "spiffe://x/ns/*", "spiffe://x/ns/web/db", NULL},
        {CERTIFICATE_URI, "spiffe://x/ns/*", "spiffe://x/ns/", NULL},
        {CERTIFICATE_URI, "spiffe://x/*/sa", "spiffe://x/web/sa", "web"},
        {CERTIFICATE_URI, "spiffe://x/ns/web", "spiffe://x/ns/web",
            "spiffe://x/ns/web"},
        {CERTIFICATE_URI, "spiffe://x/ns/web", "spiffe://x/ns/web2", NULL},
        {CERTIFICATE_DNS, "*.x.example", "a.x.example", "a"},
        {CERTIFICATE_DNS, "*.x.example", "a.b.x.example", NULL},
        {CERTIFICATE_DNS, "*.x.example", "*.x.example", NULL},
        {CERTIFICATE_DNS, "*", "localhost", "localhost"},
        {CERTIFICATE_EMAIL, "*@x.example", "a.b@x.example", "a.b"},
        {CERTIFICATE_EMAIL, "*@x.example", "a@x.example.evil", NULL},
        {CERTIFICATE_EMAIL, "*@x.example", "@x.example", NULL},
        {CERTIFICATE_CN, "*", "Any One", "Any One"},
        {CERTIFICATE_CN, "host-*", "host-", NULL},
        {CERTIFICATE_CN, "ab*ba", "aba", NULL},
        {CERTIFICATE_CN, "*", "", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct str captured;
        bool good = certificate_pattern_matches(rows[i].field,
            str_from(rows[i].pattern), str_from(rows[i].value), &captured);
        if (good != (rows[i].captured != NULL))
            fail_msg("%s on %s", rows[i].pattern, rows[i].value);
        if (good)
            assert_true(str_equal(captured, str_from(rows[i].captured)));
    }
}

static void patterns_that_are_none(void **state)
{
    struct errinfo info;

    assert_false(certificate_pattern_is_valid(CERTIFICATE_CN, STR(""), &info));
    assert_false(
        certificate_pattern_is_valid(CERTIFICATE_CN, STR("a*b*"), &info));
    assert_false(
        certificate_pattern_is_valid(CERTIFICATE_CN, STR("a\nb"), &info));
    assert_false(
        certificate_pattern_is_valid(CERTIFICATE_EMAIL, STR("*"), &info));
    assert_false(certificate_pattern_is_valid(
        CERTIFICATE_EMAIL, STR("*@Corp.example"), &info));
    assert_false(
        certificate_pattern_is_valid(CERTIFICATE_DNS, STR("A.b"), &info));
    assert_true(certificate_pattern_is_valid(
        CERTIFICATE_EMAIL, STR("*@corp.example"), &info));
    assert_true(
        certificate_pattern_is_valid(CERTIFICATE_CN, STR("Any *"), &info));
}

static void fields_by_name(void **state)
{
    enum certificate_field field;

    for (int i = 0; i < CERTIFICATE_FIELDS; i++) {
        const char *name = certificate_field_name((enum certificate_field)i);
        assert_true(certificate_field_find(str_from(name), &field));
        assert_int_equal(field, i);
    }
    assert_false(certificate_field_find(STR("cn"), &field));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spiffe_ids),
        cmocka_unit_test(patterns),
        cmocka_unit_test(patterns_that_are_none),
        cmocka_unit_test(fields_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
