/* SPDX-License-Identifier: Apache-2.0
 *
 * json_policy_test.c - policies to JSON and back; refusals in bulk are in
 * batch_test.c, comparison with the official engine in tests/cedar. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/json.h"
#include "policy/cedar/json_policy.h"

#include <stdio.h>

#define OUTPUT_MAX ((size_t)1 << 26)

#define HEAD(conditions)                                                       \
    "{\"effect\":\"permit\",\"principal\":{\"op\":\"All\"},\"action\":"        \
    "{\"op\":\"All\"},\"resource\":{\"op\":\"All\"},\"conditions\":"           \
    "[" conditions "]}"
#define WHEN(body) HEAD("{\"kind\":\"when\",\"body\":" body "}")
#define CONDITION(text) "permit(principal, action, resource) when { " text " };"

static const struct {
    const char *text;
    const char *json;
} rows[] = {
    {"permit(principal, action, resource);", HEAD("")},
    {"@a @b(\"x\") forbid(principal == A::\"p\", action in Action::\"a\", "
     "resource is B::C in ?resource);",
        "{\"effect\":\"forbid\",\"principal\":{\"op\":\"==\",\"entity\":"
        "{\"type\":\"A\",\"id\":\"p\"}},\"action\":{\"op\":\"in\",\"entity\":"
        "{\"type\":\"Action\",\"id\":\"a\"}},\"resource\":{\"op\":\"is\","
        "\"entity_type\":\"B::C\",\"in\":{\"slot\":\"?resource\"}},"
        "\"conditions\":[],\"annotations\":{\"a\":null,\"b\":\"x\"}}"},
    {"permit(principal in ?principal, action in [Action::\"a\", "
     "Action::\"b\"], resource is R);",
        "{\"effect\":\"permit\",\"principal\":{\"op\":\"in\",\"slot\":"
        "\"?principal\"},\"action\":{\"op\":\"in\",\"entities\":[{\"type\":"
        "\"Action\",\"id\":\"a\"},{\"type\":\"Action\",\"id\":\"b\"}]},"
        "\"resource\":{\"op\":\"is\",\"entity_type\":\"R\"},\"conditions\":[]"
        "}"},
    {CONDITION("1 + 2 - 3 * -4 < 5"),
        WHEN("{\"<\":{\"left\":{\"-\":{\"left\":{\"+\":{\"left\":{\"Value\":1}"
             ",\"right\":{\"Value\":2}}},\"right\":{\"*\":{\"left\":"
             "{\"Value\":3},\"right\":{\"Value\":-4}}}}},\"right\":"
             "{\"Value\":5}}}")},
    {CONDITION("true && false && true || false"),
        WHEN("{\"||\":{\"left\":{\"&&\":{\"left\":{\"&&\":{\"left\":"
             "{\"Value\":true},\"right\":{\"Value\":false}}},\"right\":"
             "{\"Value\":true}}},\"right\":{\"Value\":false}}}")},
    {CONDITION("principal.a.b has c.d"),
        WHEN("{\"has\":{\"left\":{\".\":{\"left\":{\".\":{\"left\":{\"Var\":"
             "\"principal\"},\"attr\":\"a\"}},\"attr\":\"b\"}},\"attr\":"
             "[\"c\",\"d\"]}}")},
    {CONDITION("\"a\" like \"*b\\*c**\""),
        WHEN("{\"like\":{\"left\":{\"Value\":\"a\"},\"pattern\":[\"Wildcard\","
             "{\"Literal\":\"b*c\"},\"Wildcard\",\"Wildcard\"]}}")},
    {CONDITION("context is T in [U::\"\\\"\"]"),
        WHEN("{\"is\":{\"left\":{\"Var\":\"context\"},\"entity_type\":\"T\","
             "\"in\":{\"Set\":[{\"Value\":{\"__entity\":{\"type\":\"U\","
             "\"id\":\"\\\"\"}}}]}}}")},
    {CONDITION("{a: [], \"b c\": {}}.a.isEmpty()"),
        WHEN("{\"isEmpty\":{\"arg\":{\".\":{\"left\":{\"Record\":{\"a\":"
             "{\"Set\":[]},\"b c\":{\"Record\":{}}}},\"attr\":\"a\"}}}}")},
    {CONDITION(
         "if !true then ip(\"::1\").isIpv6() else resource.hasTag(\"t\")"),
        WHEN("{\"if-then-else\":{\"if\":{\"!\":{\"arg\":{\"Value\":true}}},"
             "\"then\":{\"isIpv6\":[{\"ip\":[{\"Value\":\"::1\"}]}]},\"else\":"
             "{\"hasTag\":{\"left\":{\"Var\":\"resource\"},\"right\":"
             "{\"Value\":\"t\"}}}}}")},
    {CONDITION("- context.n == 9223372036854775807"),
        WHEN("{\"==\":{\"left\":{\"neg\":{\"arg\":{\".\":{\"left\":{\"Var\":"
             "\"context\"},\"attr\":\"n\"}}}},\"right\":{\"Value\":"
             "9223372036854775807}}}")},
};

static struct cedar_policies *parsed(const char *text)
{
    struct cedar_policies *set = NULL;
    assert_int_equal(cedar_policies_parse(str_from(text), NULL, &set), ERR_OK);
    return set;
}

static const struct cedar_policy *only(const struct cedar_policies *set)
{
    return cedar_policies_count(set) > 0 ? cedar_policies_at(set, 0)
                                         : cedar_policies_template_at(set, 0);
}

/* Reads one policy in JSON; the set has it alone, as "p". */
static enum err read_json(
    struct str text, bool is_template, struct cedar_policies **out)
{
    struct arena *arena = arena_new(4096, 0);
    struct json json;
    const struct json_limits limits = {.max_depth = 20000};
    struct cedar_builder *builder = NULL;
    assert_int_equal(json_parse(arena, text, &limits, &json, NULL), ERR_OK);
    assert_int_equal(cedar_builder_new(&builder), ERR_OK);
    enum err err =
        cedar_json_policy_read(builder, &json, 0, STR("p"), is_template, NULL);
    if (err == ERR_OK) {
        err = cedar_builder_finish(&builder, out);
    }
    cedar_builder_free(&builder);
    arena_free(&arena);
    return err;
}

static void text_to_json_and_back(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cedar_policies *set = parsed(rows[i].text), *again = NULL;
        struct buf out;
        buf_init(&out, OUTPUT_MAX);
        cedar_policy_write_json(&out, only(set));
        assert_string_equal(buf_cstr(&out), rows[i].json);
        assert_int_equal(
            read_json(buf_str(&out), only(set)->slots != 0, &again), ERR_OK);
        assert_true(cedar_policy_same(only(set), only(again)));
        cedar_policies_free(&again);
        cedar_policies_free(&set);
        buf_fini(&out);
    }
}

static void a_set_with_templates_and_links(void **state)
{
    static const char text[] =
        "permit(principal, action, resource);"
        "permit(principal == ?principal, action, resource in ?resource);";
    struct cedar_builder *builder = NULL;
    struct cedar_policies *set = NULL;
    struct cedar_uid user = cedar_uid_make(STR("U"), STR("a"));
    struct cedar_uid folder = cedar_uid_make(STR("F"), STR("b"));
    assert_int_equal(cedar_builder_new(&builder), ERR_OK);
    assert_int_equal(
        cedar_builder_add_text(builder, STR(text), 0, NULL, NULL), ERR_OK);
    assert_int_equal(cedar_builder_link(builder, STR("policy1"), STR("l"),
                         &user, &folder, NULL),
        ERR_OK);
    assert_int_equal(cedar_builder_finish(&builder, &set), ERR_OK);
    struct buf first, second;
    buf_init(&first, OUTPUT_MAX);
    buf_init(&second, OUTPUT_MAX);
    cedar_policies_write_json(&first, set);
    cedar_policies_free(&set);

    struct arena *arena = arena_new(4096, 0);
    struct json json;
    assert_int_equal(
        json_parse(arena, buf_str(&first), NULL, &json, NULL), ERR_OK);
    assert_int_equal(cedar_builder_new(&builder), ERR_OK);
    assert_int_equal(
        cedar_json_policy_set_read(builder, &json, 0, NULL), ERR_OK);
    assert_int_equal(cedar_builder_finish(&builder, &set), ERR_OK);
    assert_int_equal(cedar_policies_count(set), 2);
    assert_int_equal(cedar_policies_template_count(set), 1);
    cedar_policies_write_json(&second, set);
    assert_string_equal(buf_cstr(&first), buf_cstr(&second));
    cedar_policies_free(&set);
    arena_free(&arena);
    buf_fini(&first);
    buf_fini(&second);
}

/* A chain is one level, however long; real nesting has a limit. */
static void chains_are_no_nesting(void **state)
{
    struct buf text, out;
    buf_init(&text, OUTPUT_MAX);
    buf_init(&out, OUTPUT_MAX);
    buf_append_str(
        &text, STR("permit(principal, action, resource) when { true"));
    for (int i = 0; i < 5000; i++) {
        buf_append_str(&text, STR(" && true"));
    }
    buf_append_str(&text, STR(" };"));
    struct cedar_policies *set = parsed(buf_cstr(&text)), *again = NULL;
    cedar_policy_write_json(&out, only(set));
    assert_int_equal(read_json(buf_str(&out), false, &again), ERR_OK);
    assert_true(cedar_policy_same(only(set), only(again)));
    cedar_policies_free(&again);
    cedar_policies_free(&set);
    buf_clear(&out);
    buf_append_str(&out, STR("{\"effect\":\"permit\",\"principal\":{\"op\":"
                             "\"All\"},\"action\":{\"op\":\"All\"},"
                             "\"resource\":{\"op\":\"All\"},\"conditions\":"
                             "[{\"kind\":\"when\",\"body\":"));
    for (int i = 0; i < 5000; i++) {
        buf_append_str(&out, STR("{\"!\":{\"arg\":"));
    }
    buf_append_str(&out, STR("{\"Value\":true}"));
    for (int i = 0; i < 5000; i++) {
        buf_append_str(&out, STR("}}"));
    }
    buf_append_str(&out, STR("}]}"));
    assert_int_equal(read_json(buf_str(&out), false, &again), ERR_LIMIT);
    buf_fini(&out);
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_to_json_and_back),
        cmocka_unit_test(a_set_with_templates_and_links),
        cmocka_unit_test(chains_are_no_nesting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
