/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of lib/json_canonical (and tests/fuzz/json_canonical_fuzz.c, which
 * compares it with lib/json). */
#include "lib/json_canonical.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ROOM 8

/* A copy of exactly the text's length, so that a sanitizer sees over-reads. */
static struct str exact(const char *text)
{
    static char *last;
    size_t n = strlen(text);
    free(last);
    last = malloc(n ? n : 1);
    assert_non_null(last);
    memcpy(last, text, n);
    return str_make(last, n);
}

static void members_and_their_bytes(void **state)
{
    struct json_member m[ROOM];
    struct str values[3];
    static const struct str names[] = {
        STR_INIT("aa"), STR_INIT("b"), STR_INIT("e")};
    size_t n;
    assert_int_equal(
        json_canonical_object(
            exact("{\"a\":{\"x\":[1,\"}\"]},\"b\":\"c\\\"d\",\"c\":-12,"
                  "\"d\":true,\"e\":[]}"),
            m, ROOM, &n),
        ERR_OK);
    assert_int_equal(n, 5);
    assert_true(str_equal(m[0].value, STR("{\"x\":[1,\"}\"]}")));
    assert_true(str_equal(m[1].value, STR("\"c\\\"d\"")));
    assert_true(str_equal(m[2].value, STR("-12")));
    assert_true(str_equal(m[3].value, STR("true")));
    json_canonical_find(m, n, names, values, 3);
    assert_null(values[0].ptr);
    assert_ptr_equal(values[1].ptr, m[1].value.ptr);
    assert_ptr_equal(values[2].ptr, m[4].value.ptr);
    assert_int_equal(json_canonical_object(exact("{}"), m, ROOM, &n), ERR_OK);
    assert_int_equal(n, 0);
}

static void what_is_no_object_is_refused(void **state)
{
    static const char *const broken[] = {"", "{", "}", "[]", "{,}", "{\"a\"}",
        "{\"a\":}", "{\"a\":1,}", "{\"a\":1", "{\"a\":{}", "{\"a\":{}}}",
        "{\"a\":{]", "{\"a\":{\"", "{\"a\":\"b}", "{\"a\":\"b\\\"}",
        "{\"a\": 1}", "{\"a\":1 }", "{a:1}", "{\"a\":1\"b\":2}", "{\"a\":'b'}",
        "{\"a\":1}x", " {}", "{\"a\\", "{\"b\":1,\"a\":1}",
        "{\"a\":1,\"a\":1}"};
    struct json_member m[ROOM];
    size_t n;
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
        if (json_canonical_object(exact(broken[i]), m, ROOM, &n) != ERR_SYNTAX)
            fail_msg("taken: %s", broken[i]);
    assert_int_equal(
        json_canonical_object(exact("{\"a\":1,\"b\":1}"), m, 1, &n), ERR_LIMIT);
}

static size_t elements(const char *text, enum err end)
{
    struct str array = exact(text), element;
    size_t at = 0, count = 0;
    enum err err;
    while ((err = json_canonical_element(array, &at, &element)) == ERR_OK)
        count++;
    assert_int_equal(err, end);
    return count;
}

static void elements_in_turn(void **state)
{
    assert_int_equal(elements("[]", ERR_NOTFOUND), 0);
    assert_int_equal(elements("[1]", ERR_NOTFOUND), 1);
    assert_int_equal(
        elements("[\"a,]\",[1,2],{\"b\":[]},null]", ERR_NOTFOUND), 4);
    assert_int_equal(elements("[1,]", ERR_SYNTAX), 1);
    assert_int_equal(elements("[1 ,2]", ERR_SYNTAX), 1);
    assert_int_equal(elements("[,]", ERR_SYNTAX), 0);
    assert_int_equal(elements("{}", ERR_SYNTAX), 0);
    assert_int_equal(elements("[", ERR_SYNTAX), 0);
}

/* Wherever the brackets and quotes come to lie in the blocks of sixteen. */
static void at_every_place(void **state)
{
    static const char *const values[] = {"[]", "{}", "\"\"", "\"\\\\\"", "0",
        "[[[[[[[[{\"a\":[1,2,{\"b\":\"]}\"}]}]]]]]]]]",
        "{\"k\":\"\\\\\",\"l\":\"\\\"]]]}}}\",\"m\":[\"[\",\"{\"]}",
        "[\"0123456789abcdef\",\"\",\"\\\\\\\"\",[[],[],[],[],[],[],[]],{}]",
        "\"0123456789abcde\\\"0123456789abcdef\"",
        "{\"one\":{\"arg\":\"2026-11-27T17:52:32.179Z\",\"fn\":\"datetime\"}}"};
    for (size_t pad = 0; pad < 64; pad++)
        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
            char text[512];
            struct json_member m[ROOM];
            size_t n;
            snprintf(text, sizeof(text),
                "{\"a\":\"%.*s\",\"context\":%s,\"z\":[{}]}", (int)pad,
                "----------------------------------------------------------"
                "------",
                values[i]);
            assert_int_equal(
                json_canonical_object(exact(text), m, ROOM, &n), ERR_OK);
            assert_int_equal(n, 3);
            assert_true(str_equal(m[1].value, str_from(values[i])));
            assert_true(str_equal(m[2].value, STR("[{}]")));
        }
}

static void values_are_what_they_say(void **state)
{
    struct arena *arena = arena_new(4096, 0);
    struct str text;
    int64_t number;
    assert_non_null(arena);
    assert_int_equal(
        json_canonical_text(arena, STR("\"a\\u0041\\n\""), &text), ERR_OK);
    assert_true(str_equal(text, STR("aA\n")));
    assert_int_equal(json_canonical_text(arena, STR("1"), &text), ERR_SYNTAX);
    assert_int_equal(
        json_canonical_text(arena, STR("\"\\q\""), &text), ERR_SYNTAX);
    assert_int_equal(str_to_i64(STR("-9223372036854775808"), &number), ERR_OK);
    assert_true(number == INT64_MIN);
    assert_int_equal(
        str_to_i64(STR("9223372036854775808"), &number), ERR_RANGE);
    static const char *const none[] = {"", "-", "1.0", "1e3", "\"1\"", "true"};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        assert_int_equal(str_to_i64(str_from(none[i]), &number), ERR_SYNTAX);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_and_their_bytes),
        cmocka_unit_test(what_is_no_object_is_refused),
        cmocka_unit_test(elements_in_turn),
        cmocka_unit_test(at_every_place),
        cmocka_unit_test(values_are_what_they_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
