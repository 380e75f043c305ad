/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of lib/json. */
#include "lib/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct arena *arena;

static int set_up(void **state)
{
    arena = arena_new(4096, 0);
    return arena ? 0 : -1;
}

static int tear_down(void **state)
{
    arena_free(&arena);
    return 0;
}

/* A copy of exactly the text's length, so that a sanitizer sees over-reads. */
static struct str exact(struct str text)
{
    static char *last;
    free(last);
    last = malloc(text.len ? text.len : 1);
    assert_non_null(last);
    memcpy(last, text.ptr, text.len);
    return str_make(last, text.len);
}

static struct json parse(const char *text)
{
    struct json json;
    struct json_error error;
    arena_reset(arena);
    assert_int_equal(
        json_parse(arena, exact(str_from(text)), NULL, &json, &error), ERR_OK);
    return json;
}

static void accepts_valid_documents(void **state)
{
    static const char *const valid[] = {"0", "-0", "1.5e+10", "-12.25E-3",
        "\"\"", "\"a\"", "true", "false", "null", "[]", "{}", " [ ] ",
        "\t\r\n{ }\n", "[[[[]]]]", "[1,\"two\",null,true,false,{\"a\":[]}]",
        "{\"a\":1,\"b\":{\"a\":2}}", "{\"\":0}",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\u20ac\"", "\"\\ud834\\udd1e\"",
        "\"\x7f\"", "\"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"",
        "\"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\xf0\x90\x80\x80\"",
        "123456789012345678901234567890", "1E400", "{\"a\":1,\"A\":2}"};
    for (size_t i = 0; i < sizeof valid / sizeof *valid; i++) {
        struct json json;
        struct json_error error = {0, ""};
        arena_reset(arena);
        enum err err =
            json_parse(arena, exact(str_from(valid[i])), NULL, &json, &error);
        if (err)
            fail_msg("%s: %s at %zu", valid[i], error.reason, error.offset);
        assert_int_equal(json.tokens[0].next, json.count);
    }
}

static void refuses_invalid_documents(void **state)
{
    static const struct {
        const char *text;
        size_t offset;
        const char *reason;
    } bad[] = {
        {"", 0, "text ends early"},
        {"  ", 2, "text ends early"},
        {"{", 1, "text ends early"},
        {"[", 1, "text ends early"},
        {"[1", 2, "text ends early"},
        {"[1,", 3, "text ends early"},
        {"{\"a\"", 4, "text ends early"},
        {"{\"a\":", 5, "text ends early"},
        {"{\"a\":1", 6, "text ends early"},
        {"{\"a\":1,", 7, "text ends early"},
        {"\"abc", 4, "text ends inside a string"},
        {"[1,]", 3, "not a value"},
        {"[,1]", 1, "not a value"},
        {"{\"a\":1,}", 7, "a key in quotes is expected"},
        {"{a:1}", 1, "a key in quotes is expected"},
        {"{1:1}", 1, "a key in quotes is expected"},
        {"{'a':1}", 1, "a key in quotes is expected"},
        {"{\"a\" 1}", 5, "a colon is expected"},
        {"{\"a\",1}", 4, "a colon is expected"},
        {"[1 2]", 3, "a comma or ] is expected"},
        {"[1}", 2, "a comma or ] is expected"},
        {"{\"a\":1]", 6, "a comma or } is expected"},
        {"{\"a\":1 \"b\":2}", 7, "a comma or } is expected"},
        {"]", 0, "not a value"},
        {"nul", 0, "not a value"},
        {"True", 0, "not a value"},
        {"NaN", 0, "not a value"},
        {"Infinity", 0, "not a value"},
        {"+1", 0, "not a value"},
        {".5", 0, "not a value"},
        {"-", 1, "a digit is missing"},
        {"-a", 1, "a digit is missing"},
        {"1.", 2, "a digit is missing"},
        {"1.e5", 2, "a digit is missing"},
        {"1e", 2, "a digit is missing"},
        {"1e+", 3, "a digit is missing"},
        {"01", 0, "a number with a leading zero"},
        {"-012", 0, "a number with a leading zero"},
        {"1 2", 2, "something follows the value"},
        {"{} x", 3, "something follows the value"},
        {"0x10", 1, "something follows the value"},
        {"// c\n1", 0, "not a value"},
        {"\xef\xbb\xbf{}", 0, "not a value"},
        {"\"a\nb\"", 2, "control character in a string"},
        {"\"a\tb\"", 2, "control character in a string"},
        {"\"\\x\"", 1, "bad escape"},
        {"\"\\u12g4\"", 1, "bad escape"},
        {"\"\\u12", 1, "bad escape"},
        {"\"\\", 1, "bad escape"},
        {"\"\\ud834\"", 1, "lone surrogate"},
        {"\"\\udd1e\"", 1, "lone surrogate"},
        {"\"\\ud834\\u0041\"", 1, "lone surrogate"},
        {"\"\\ud834\\ud834\"", 1, "lone surrogate"},
        {"\"\x80\"", 1, "bad UTF-8"},
        {"\"\xc0\xaf\"", 1, "bad UTF-8"},
        {"\"\xc1\xbf\"", 1, "bad UTF-8"},
        {"\"\xc3\"", 1, "bad UTF-8"},
        {"\"\xe0\x80\xaf\"", 1, "bad UTF-8"},
        {"\"\xe2\x82\"", 1, "bad UTF-8"},
        {"\"\xed\xa0\x80\"", 1, "bad UTF-8"},
        {"\"\xf0\x80\x80\x80\"", 1, "bad UTF-8"},
        {"\"\xf4\x90\x80\x80\"", 1, "bad UTF-8"},
        {"\"\xf5\x80\x80\x80\"", 1, "bad UTF-8"},
        {"\"\xff\"", 1, "bad UTF-8"},
        {"{\"a\":1,\"a\":2}", 7, "duplicate key"},
        {"{\"model\":1,\"mod\\u0065l\":2}", 11, "duplicate key"},
        {"{\"\":1,\"\":2}", 6, "duplicate key"},
        {"{\"a\":1,\"b\":2,\"a\":3}", 13, "duplicate key"},
        {"{\"a\":1,\"ab\":2,\"ab\":3}", 14, "duplicate key"},
        {"{\"\xc3\xa9\":1,\"\xc3\xa9\":2}", 8, "duplicate key"},
        {"[{\"x\":{\"b\":1,\"b\":1}}]", 13, "duplicate key"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct json json;
        struct json_error error = {999, ""};
        arena_reset(arena);
        assert_int_equal(json_parse(arena, exact(str_from(bad[i].text)), NULL,
                             &json, &error),
            ERR_SYNTAX);
        if (error.offset != bad[i].offset ||
            strcmp(error.reason, bad[i].reason) != 0)
            fail_msg("%s: %s at %zu", bad[i].text, error.reason, error.offset);
    }
}

static void refuses_nul_bytes(void **state)
{
    struct json json;
    struct json_error error;
    assert_int_equal(
        json_parse(arena, exact(STR("[1]\0")), NULL, &json, &error),
        ERR_SYNTAX);
    assert_int_equal(error.offset, 3);
    assert_int_equal(
        json_parse(arena, exact(STR("\"a\0b\"")), NULL, &json, &error),
        ERR_SYNTAX);
    assert_int_equal(error.offset, 2);
}

/* Each special byte at each place of a vector, before and behind it. */
static void strings_of_every_length(void **state)
{
    static const char *const specials[] = {
        "", "\\n", "\xc3\xa9", "\xf0\x9f\x98\x80", "\n"};
    for (size_t s = 0; s < sizeof specials / sizeof *specials; s++) {
        for (size_t n = 0; n < 50; n++) {
            for (size_t at = 0; at <= n; at++) {
                char text[128];
                size_t length = 0;
                text[length++] = '"';
                memset(text + length, 'x', at);
                length += at;
                memcpy(text + length, specials[s], strlen(specials[s]));
                length += strlen(specials[s]);
                memset(text + length, 'y', n - at);
                length += n - at;
                text[length++] = '"';
                struct json json;
                struct json_error error;
                arena_reset(arena);
                enum err err = json_parse(
                    arena, exact(str_make(text, length)), NULL, &json, &error);
                if (s == 4) {
                    assert_int_equal(err, ERR_SYNTAX);
                    assert_int_equal(error.offset, 1 + at);
                } else {
                    assert_int_equal(err, ERR_OK);
                    assert_int_equal(json.tokens[0].end, length - 1);
                }
            }
        }
    }
}

static void tokens_know_their_bytes(void **state)
{
    struct json json = parse(" {\"a\" : [1, \"x\\ty\"] , \"b\":{\"c\":-2.5}}");
    assert_int_equal(json_type(&json, 0), JSON_OBJECT);
    assert_int_equal(json.tokens[0].count, 2);
    uint32_t a = json_find(&json, 0, STR("a"));
    assert_int_equal(json_type(&json, a), JSON_ARRAY);
    assert_int_equal(json.tokens[a].count, 2);
    assert_true(str_equal(json_span(&json, a), STR("[1, \"x\\ty\"]")));
    assert_true(str_equal(json_span(&json, a + 2), STR("\"x\\ty\"")));
    assert_true(str_equal(json_raw(&json, a + 2), STR("x\\ty")));
    uint32_t b = json_find(&json, 0, STR("b"));
    assert_true(str_equal(json_span(&json, b), STR("{\"c\":-2.5}")));
    assert_int_equal(json_find(&json, 0, STR("c")), JSON_NONE);
    assert_int_equal(json_find(&json, a, STR("c")), JSON_NONE);
    unsigned members = 0;
    for (JSON_EACH_MEMBER(&json, 0, key))
        members++;
    assert_int_equal(members, 2);
    unsigned elements = 0;
    for (JSON_EACH_ELEMENT(&json, a, item))
        elements++;
    assert_int_equal(elements, 2);
}

static void strings_are_unescaped(void **state)
{
    struct json json = parse("{\"k\\u0065y\":\"\\\"\\\\\\/"
                             "\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20AC\\ud83d"
                             "\\ude00\",\"p\":\"plain\",\"z\":\"\\u0000\"}");
    struct str text;
    uint32_t at = json_find(&json, 0, STR("key"));
    assert_int_not_equal(at, JSON_NONE);
    assert_int_equal(json_text(&json, at, arena, &text), ERR_OK);
    assert_true(str_equal(
        text, STR("\"\\/\b\f\n\r\tA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")));
    assert_true(json_string_equals(&json, at, text));
    assert_int_equal(json_text_length(&json, at), text.len);
    assert_false(json_string_equals(&json, at, STR("\"\\/")));
    assert_false(json_string_equals(&json, at, STR("")));
    at = json_find(&json, 0, STR("p"));
    assert_int_equal(json_text(&json, at, arena, &text), ERR_OK);
    assert_ptr_equal(text.ptr, json.text.ptr + json.tokens[at].start);
    at = json_find(&json, 0, STR("z"));
    assert_int_equal(json_text(&json, at, arena, &text), ERR_OK);
    assert_int_equal(text.len, 1);
    assert_int_equal(text.ptr[0], 0);
    assert_int_equal(json_text(&json, 0, arena, &text), ERR_SYNTAX);
}

static void integers_are_exact(void **state)
{
    static const struct {
        const char *text;
        enum err err;
        int64_t value;
    } rows[] = {
        {"0", ERR_OK, 0},
        {"-0", ERR_OK, 0},
        {"64", ERR_OK, 64},
        {"9223372036854775807", ERR_OK, INT64_MAX},
        {"9223372036854775808", ERR_RANGE, 0},
        {"-9223372036854775808", ERR_OK, INT64_MIN},
        {"-9223372036854775809", ERR_RANGE, 0},
        {"99999999999999999999999", ERR_RANGE, 0},
        {"1.0", ERR_SYNTAX, 0},
        {"1e3", ERR_SYNTAX, 0},
        {"\"1\"", ERR_SYNTAX, 0},
        {"true", ERR_SYNTAX, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct json json = parse(rows[i].text);
        int64_t value = 77;
        assert_int_equal(json_int64(&json, 0, &value), rows[i].err);
        if (rows[i].err)
            assert_int_equal(value, 77);
        else
            assert_true(value == rows[i].value);
    }
}

static void decimals_are_cut_at_four_places(void **state)
{
    static const struct {
        const char *text;
        enum err err;
        int64_t value;
    } rows[] = {
        {"0.7", ERR_OK, 7000},
        {"1", ERR_OK, 10000},
        {"-1.5", ERR_OK, -15000},
        {"0.00009", ERR_OK, 0},
        {"-0.00019", ERR_OK, -1},
        {"1.23456789", ERR_OK, 12345},
        {"1e2", ERR_OK, 1000000},
        {"1.5e+1", ERR_OK, 150000},
        {"12345e-4", ERR_OK, 12345},
        {"12345e-8", ERR_OK, 1},
        {"1e-99999999999999999999", ERR_OK, 0},
        {"0e99999999999999999999", ERR_OK, 0},
        {"0.0e99", ERR_OK, 0},
        {"1e99", ERR_RANGE, 0},
        {"1e99999999999999999999", ERR_RANGE, 0},
        {"0.000000000000000000000000001e27", ERR_OK, 10000},
        {"100000000000000000000000000e-26", ERR_OK, 10000},
        {"922337203685477.5807", ERR_OK, INT64_MAX},
        {"922337203685477.5808", ERR_RANGE, 0},
        {"\"1\"", ERR_SYNTAX, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct json json = parse(rows[i].text);
        int64_t value = 77;
        enum err err = json_decimal4(&json, 0, &value);
        if (err != rows[i].err || (!err && value != rows[i].value))
            fail_msg(
                "%s: %s, %lld", rows[i].text, err_name(err), (long long)value);
    }
}

/* Small and large objects find duplicates in each place. */
static void duplicates_in_large_objects(void **state)
{
    for (int n = 2; n < 200; n += n < 20 ? 1 : 37) {
        for (int twin = 0; twin < n; twin += n < 20 ? 1 : 13) {
            char *text = malloc((size_t)n * 24 + 16);
            size_t length = 0;
            text[length++] = '{';
            for (int i = 0; i < n; i++)
                length += (size_t)snprintf(text + length, 24, "%s\"k%d\":%d",
                    i ? "," : "", i == n - 1 && twin < n - 1 ? twin : i, i);
            text[length++] = '}';
            struct json json;
            struct json_error error;
            arena_reset(arena);
            enum err err = json_parse(
                arena, exact(str_make(text, length)), NULL, &json, &error);
            assert_int_equal(err, twin < n - 1 ? ERR_SYNTAX : ERR_OK);
            free(text);
        }
    }
}

static void limits_hold(void **state)
{
    struct json json;
    struct json_error error;
    char deep[600];

    memset(deep, '[', 300);
    memset(deep + 300, ']', 300);
    assert_int_equal(
        json_parse(arena, str_make(deep, 600), NULL, &json, &error), ERR_LIMIT);
    assert_string_equal(error.reason, "nested too deeply");
    assert_int_equal(error.offset, 256);
    assert_int_equal(
        json_parse(arena, str_make(deep + 44, 512), NULL, &json, &error),
        ERR_OK);

    struct json_limits limits = {.max_depth = 2, .max_tokens = 4};
    assert_int_equal(
        json_parse(arena, STR("[[1]]"), &limits, &json, &error), ERR_OK);
    assert_int_equal(
        json_parse(arena, STR("[[[]]]"), &limits, &json, &error), ERR_LIMIT);
    assert_int_equal(
        json_parse(arena, STR("[1,2,3]"), &limits, &json, &error), ERR_OK);
    assert_int_equal(
        json_parse(arena, STR("[1,2,3,4]"), &limits, &json, &error), ERR_LIMIT);
    assert_string_equal(error.reason, "too many values");

    struct arena *small = arena_new(64, 4096);
    char many[4000];
    many[0] = '[';
    for (size_t i = 1; i + 2 < sizeof many; i += 2)
        memcpy(many + i, "1,", 2);
    memcpy(many + sizeof many - 3, "11]", 3);
    assert_int_equal(
        json_parse(small, str_make(many, sizeof many), NULL, &json, &error),
        ERR_NOMEM);
    assert_int_equal(
        json_parse(arena, str_make(many, sizeof many), NULL, &json, NULL),
        ERR_OK);
    arena_free(&small);
}

static void positions_count_from_one(void **state)
{
    int line, column;
    json_position(STR("ab\ncd\n"), 0, &line, &column);
    assert_int_equal(line, 1);
    assert_int_equal(column, 1);
    json_position(STR("ab\ncd\n"), 4, &line, &column);
    assert_int_equal(line, 2);
    assert_int_equal(column, 2);
    json_position(STR("ab\ncd\n"), 99, &line, &column);
    assert_int_equal(line, 3);
    assert_int_equal(column, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_valid_documents),
        cmocka_unit_test(refuses_invalid_documents),
        cmocka_unit_test(refuses_nul_bytes),
        cmocka_unit_test(strings_of_every_length),
        cmocka_unit_test(tokens_know_their_bytes),
        cmocka_unit_test(strings_are_unescaped),
        cmocka_unit_test(integers_are_exact),
        cmocka_unit_test(decimals_are_cut_at_four_places),
        cmocka_unit_test(duplicates_in_large_objects),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(positions_count_from_one),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
