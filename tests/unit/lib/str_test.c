/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of lib/str. */
#include "lib/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define assert_str(s, literal) assert_true(str_equal((s), str_from(literal)))

static void equality(void **state)
{
    assert_true(str_equal(str_make(NULL, 0), STR("")));
    assert_true(str_equal(str_from(NULL), STR("")));
    assert_false(str_equal(STR("a"), STR("b")));
    assert_true(str_equal_nocase(STR("Content-LENGTH"), STR("content-length")));
    assert_false(str_equal_nocase(STR("a"), STR("ab")));
    /* Only letters fold: '[' and '{' differ by the same bit. */
    assert_false(str_equal_nocase(STR("["), STR("{")));
    assert_true(str_equal_secret(STR("abc"), STR("abc")));
    assert_false(str_equal_secret(STR("abc"), STR("abd")));
    assert_false(str_equal_secret(STR("abc"), STR("abcd")));
    assert_true(str_equal_secret(str_make(NULL, 0), STR("")));
}

static void order(void **state)
{
    assert_true(str_compare(STR("a"), STR("b")) < 0);
    assert_true(str_compare(STR("a"), STR("ab")) < 0);
    assert_true(str_compare(STR("\xff"), STR("a")) > 0);
    assert_int_equal(str_compare(str_make(NULL, 0), STR("")), 0);
}

static void cutting(void **state)
{
    struct str head, tail;
    assert_true(str_split(STR("a=b=c"), '=', &head, &tail));
    assert_str(head, "a");
    assert_str(tail, "b=c");
    assert_false(str_split(STR("abc"), '=', &head, &tail));
    assert_str(head, "abc");
    assert_str(tail, "");
    assert_true(str_split(STR("="), '=', &head, &tail));
    assert_str(head, "");
    assert_str(tail, "");
    assert_false(str_split(str_make(NULL, 0), '=', &head, &tail));
    assert_str(str_trim(STR(" \t a b\t ")), "a b");
    assert_str(str_trim(STR(" \t ")), "");
    assert_str(str_trim(STR("\n")), "\n");
    assert_true(str_starts(STR("abc"), STR("ab")));
    assert_true(str_starts(STR("abc"), str_make(NULL, 0)));
    assert_false(str_starts(STR("a"), STR("ab")));
    assert_true(str_ends(STR("abc"), STR("bc")));
    assert_false(str_ends(STR("c"), STR("bc")));
}

static void utf8(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"", true},
        {"plain text that is longer than sixteen bytes", true},
        {"gr\xc3\xbc\xc3\x9f dich, du sch\xc3\xb6ne Welt", true},
        {"\xe2\x82\xac", true},
        {"\xf0\x9f\x8e\x89", true},
        {"\xed\x9f\xbf", true},      /* U+D7FF */
        {"\xed\xa0\x80", false},     /* U+D800, a surrogate */
        {"\xed\xbf\xbf", false},     /* U+DFFF */
        {"\xee\x80\x80", true},      /* U+E000 */
        {"\xf4\x8f\xbf\xbf", true},  /* U+10FFFF */
        {"\xf4\x90\x80\x80", false}, /* U+110000 */
        {"\xf5\x80\x80\x80", false},
        {"\xc0\xaf", false}, /* overlong */
        {"\xc1\xbf", false},
        {"\xe0\x80\xaf", false},
        {"\xe0\xa0\x80", true},
        {"\xf0\x80\x80\xaf", false},
        {"\x80", false}, /* continuation alone */
        {"\xc3", false}, /* cut */
        {"\xe2\x82", false},
        {"\xf0\x9f\x8e", false},
        {"\xc3(", false},
        {"\xe2(\xac", false},
        {"\xe2\x82(", false},
        {"\xff", false},
        {"sixteen bytes of ascii and then \xff", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(str_is_utf8(str_from(cases[i].text)), cases[i].good);
    /* A cut at any place of a long text is noticed only inside a character. */
    const char *text = "abcdefghijklmno\xe2\x82\xac";
    assert_true(str_is_utf8(str_make(text, 15)));
    assert_false(str_is_utf8(str_make(text, 16)));
    assert_false(str_is_utf8(str_make(text, 17)));
    assert_true(str_is_utf8(str_make(text, 18)));
}

static void numbers(void **state)
{
    uint64_t u = 7;
    int64_t i = 7;
    assert_int_equal(str_to_u64(STR("0"), &u), ERR_OK);
    assert_int_equal(u, 0);
    assert_int_equal(str_to_u64(STR("18446744073709551615"), &u), ERR_OK);
    assert_true(u == UINT64_MAX);
    u = 7;
    assert_int_equal(str_to_u64(STR("18446744073709551616"), &u), ERR_RANGE);
    assert_int_equal(
        str_to_u64(STR("99999999999999999999999999999"), &u), ERR_RANGE);
    assert_int_equal(
        str_to_u64(STR("99999999999999999999999999999x"), &u), ERR_SYNTAX);
    static const char *const bad[] = {
        "", " 1", "1 ", "+1", "-", "0x1", "1.0", "1e3", "--1", "-+1"};
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
        assert_int_equal(str_to_u64(str_from(bad[k]), &u), ERR_SYNTAX);
        assert_int_equal(str_to_i64(str_from(bad[k]), &i), ERR_SYNTAX);
    }
    assert_int_equal(str_to_u64(STR("-1"), &u), ERR_SYNTAX);
    assert_int_equal(u, 7);
    assert_int_equal(str_to_i64(STR("-9223372036854775808"), &i), ERR_OK);
    assert_true(i == INT64_MIN);
    assert_int_equal(str_to_i64(STR("9223372036854775807"), &i), ERR_OK);
    assert_true(i == INT64_MAX);
    i = 7;
    assert_int_equal(str_to_i64(STR("9223372036854775808"), &i), ERR_RANGE);
    assert_int_equal(str_to_i64(STR("-9223372036854775809"), &i), ERR_RANGE);
    assert_int_equal(i, 7);
    assert_int_equal(str_to_i64(STR("-0"), &i), ERR_OK);
    assert_int_equal(i, 0);
}

static void hashes_spread(void **state)
{
    /* All short keys k0..k9999: no two alike, and the low 14 bits fill well
     * over half of the buckets that random keys would (1 - 1/e of 16384
     * buckets for as many keys). */
    enum { KEYS = 10000, BUCKETS = 16384 };
    static uint8_t seen[BUCKETS];
    memset(seen, 0, sizeof seen);
    unsigned filled = 0;
    for (int k = 0; k < KEYS; k++) {
        char text[16];
        int n = snprintf(text, sizeof text, "k%d", k);
        uint64_t h = str_hash(str_make(text, (size_t)n));
        if (!seen[h % BUCKETS]++)
            filled++;
    }
    assert_true(filled > 7200 && filled < 8000); /* expected about 7480 */
    assert_true(str_hash(str_make(NULL, 0)) == str_hash(STR("")));
    assert_true(str_hash(STR("a")) != str_hash(str_make("a\0", 2)));
    assert_true(str_hash(STR("abcdefgh12345678X")) !=
                str_hash(STR("abcdefgh12345678Y")));
}

static void suggestions(void **state)
{
    static const struct str names[] = {STR_INIT("listen"),
        STR_INIT("max_connections"), STR_INIT("audit"), STR_INIT("id")};
    size_t n = sizeof names / sizeof names[0];
    assert_str(str_suggest(STR("lsiten"), names, n), "listen");
    assert_str(str_suggest(STR("LISTEN"), names, n), "listen");
    assert_str(str_suggest(STR("max_conections"), names, n), "max_connections");
    assert_str(str_suggest(STR("ids"), names, n), "id");
    assert_str(str_suggest(STR("zebra"), names, n), "");
    assert_str(str_suggest(STR("x"), names, n), "");
    assert_str(str_suggest(STR(""), names, n), "");
    char longer[200];
    memset(longer, 'a', sizeof longer);
    assert_str(str_suggest(str_make(longer, sizeof longer), names, n), "");
    assert_str(str_suggest(STR("a"), NULL, 0), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equality),
        cmocka_unit_test(order),
        cmocka_unit_test(cutting),
        cmocka_unit_test(utf8),
        cmocka_unit_test(numbers),
        cmocka_unit_test(hashes_spread),
        cmocka_unit_test(suggestions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
