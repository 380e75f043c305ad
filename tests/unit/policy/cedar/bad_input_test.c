/* SPDX-License-Identifier: Apache-2.0
 *
 * Input without measure: a clear limit error or the right answer, soon, and
 * never a crash. */
#include "lib/json.h"
#include "policy/cedar/describe.h"
#include "policy/cedar/format.h"
#include "policy/cedar/read.h"
#include "policy/cedar/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MEGABYTE ((size_t)1 << 20)
#define TEN ((size_t)10 << 20)

static void repeat(struct buf *out, const char *unit, size_t bytes)
{
    size_t length = strlen(unit);
    for (size_t done = 0; done < bytes; done += length)
        buf_append(out, unit, length);
}

static void policy(struct buf *out, const char *before, const char *unit,
    size_t bytes, const char *middle, const char *closing, const char *behind)
{
    buf_init(out, TEN * 4); /* ten megabytes with what closes them */
    buf_append_str(out, STR("permit(principal, action, resource) when { "));
    buf_append_str(out, str_from(before));
    repeat(out, unit, bytes);
    buf_append_str(out, str_from(middle));
    if (closing[0])
        repeat(out, closing, bytes / strlen(unit) * strlen(closing));
    buf_append_str(out, str_from(behind));
    buf_append_str(out, STR(" };"));
    assert_false(out->failed);
}

/* Refused with a place and words, or taken. */
static bool is_taken(const struct buf *text)
{
    struct cedar_diagnostics diagnostics = {0};
    struct cedar_policies *policies = NULL;
    enum err err = cedar_policies_parse(buf_str(text), &diagnostics, &policies);
    bool taken = err == ERR_OK;
    if (!taken) {
        assert_true(err == ERR_LIMIT || err == ERR_SYNTAX);
        assert_true(diagnostics.errors > 0);
        assert_true(diagnostics.items[0].line > 0);
        assert_true(strlen(diagnostics.items[0].text) > 10);
        assert_true(strlen(diagnostics.items[0].text) < 500);
        struct buf out;
        buf_init(&out, TEN);
        assert_true(cedar_format(buf_str(text), NULL, &out) != ERR_OK);
        buf_fini(&out);
    }
    cedar_diagnostics_fini(&diagnostics);
    cedar_policies_free(&policies);
    return taken;
}

static void test_nested_policies(void **state)
{
    static const char *const rows[][5] = {
        {"", "(", "true", ")", ""},
        {"", "(", "", "", ""},
        {"", "[", "1", "]", ".isEmpty()"},
        {"", "[", "", "", ""},
        {"", "{a: ", "1", "}", " == 1"},
        {"", "{a: ", "", "", ""},
        {"", "!", "true", "", ""},
        {"", "!(", "true", ")", ""},
        {"1 == ", "-", "1", "", ""},
        {"1 == ", "-(", "1", ")", ""},
        {"", "if true then ", "true", " else true", ""},
        {"", "if ", "true", " then true else true", ""},
        {"1", " + 1", " == 1", "", ""},
        {"context", ".a", "", "", ""},
        {"context has a", ".a", "", "", ""},
        {"context", "[\"a\"]", "", "", ""},
        {"context", ".getTag(\"a\")", "", "", ""},
        {"", "ip(", "\"::1\"", ")", ""},
        {"", "(true && ", "true", ")", ""},
        {"", "(", "true", " || true)", ""},
        {"", "/* ", "true", "", ""},
        {"", "\\u{", "true", "", ""},
        {"principal is A", "::A", "", "", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf text;
        policy(&text, rows[i][0], rows[i][1], i < 2 ? TEN : MEGABYTE,
            rows[i][2], rows[i][3], rows[i][4]);
        /* A path of `has` is a list, a name is a text: both may be long. */
        bool may = strncmp(rows[i][0], "context has", 11) == 0 ||
                   strncmp(rows[i][0], "principal is", 12) == 0;
        if (is_taken(&text) && !may)
            fail_msg("row %zu (%s) was taken", i, rows[i][1]);
        buf_fini(&text);
    }
}

/* A hundred thousand errors: the first are told, quickly. */
static void test_many_errors(void **state)
{
    static const char *const units[] = {";", "permit;", "@a @a permit;"};
    for (size_t i = 0; i < 3; i++) {
        struct cedar_diagnostics diagnostics = {0};
        struct cedar_policies *policies = NULL;
        struct buf text;
        buf_init(&text, TEN);
        repeat(&text, units[i], MEGABYTE);
        assert_int_equal(
            cedar_policies_parse(buf_str(&text), &diagnostics, &policies),
            ERR_SYNTAX);
        assert_int_equal(diagnostics.count, CEDAR_DIAGNOSTICS_MAX);
        assert_int_equal(
            diagnostics.errors, diagnostics.count + diagnostics.dropped);
        cedar_diagnostics_fini(&diagnostics);
        buf_fini(&text);
    }
}

/* Lists of different names: no list is compared with itself. */
static void test_many_names(void **state)
{
    static const char *const rows[][4] = {
        {"", "namespace A%u {}\n", "", ""},
        {"", "@a%u ", "entity A;", ""},
        {"entity X", ", A%u", ";", ""},
        {"entity U {x: Long", ", a%u: Long", "};", ""},
        {"entity U enum [\"x\"", ", \"a%u\"", "];", ""},
        {"", "type A%u = Long;", "", ""},
        {"action x", ", a%u", ";", ""},
        {"", "@a%u ", "permit(principal, action, resource);", "policy"},
        {"permit(principal, action in [Action::\"x\"", ", Action::\"a%u\"",
            "], resource);", "policy"},
        {"permit(principal, action, resource) when { {x: 1", ", a%u: 1",
            "} == 1 };", "policy"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cedar_policies *policies = NULL;
        struct cedar_schema *schema = NULL;
        struct buf text;
        buf_init(&text, TEN);
        buf_append_str(&text, str_from(rows[i][0]));
        struct str before, behind;
        (void)str_split(str_from(rows[i][1]), '%', &before, &behind);
        for (unsigned n = 0; n < 50000; n++) {
            buf_append_str(&text, before);
            buf_append_u64(&text, n);
            buf_append(&text, behind.ptr + 1, behind.len - 1);
        }
        buf_append_str(&text, str_from(rows[i][2]));
        enum err err =
            rows[i][3][0]
                ? cedar_policies_parse(buf_str(&text), NULL, &policies)
                : cedar_schema_parse(buf_str(&text), NULL, &schema);
        assert_int_equal(err, ERR_OK);
        cedar_policies_free(&policies);
        cedar_schema_free(&schema);
        buf_fini(&text);
    }
}

/* What is wide, not deep, works: chains, sets, many policies. */
static void test_wide_policies(void **state)
{
    static const char *const rows[][4] = {
        {"true", " && true", "", ""},
        {"false", " || false", " || true", ""},
        {"[1", ", 1", "].contains(1)", ""},
        {"{a: 1}.a == 1", " && 1 == 1", "", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf text;
        struct cedar_policies *policies;
        struct cedar_scratch *scratch;
        struct cedar_answer answer;
        struct cedar_uid a = cedar_uid_make(STR("A"), STR("a"));
        struct cedar_request request = {&a, &a, &a, NULL};
        policy(&text, rows[i][0], rows[i][1], MEGABYTE, rows[i][2], "", "");
        assert_int_equal(
            cedar_policies_parse(buf_str(&text), NULL, &policies), ERR_OK);
        assert_int_equal(cedar_scratch_new(&scratch), ERR_OK);
        assert_int_equal(
            cedar_authorize(policies, NULL, &request, scratch, &answer),
            ERR_OK);
        assert_int_equal(answer.decision, CEDAR_ALLOW);
        cedar_scratch_free(&scratch);
        cedar_policies_free(&policies);
        buf_fini(&text);
    }
    struct buf text;
    struct cedar_policies *policies;
    buf_init(&text, TEN * 2);
    repeat(&text, "permit(principal, action, resource);", TEN / 4);
    assert_int_equal(
        cedar_policies_parse(buf_str(&text), NULL, &policies), ERR_OK);
    assert_true(cedar_policies_count(policies) > 70000);
    cedar_policies_free(&policies);
    buf_fini(&text);
}

/* A megabyte in one string: equal, matched, printed. */
static void test_long_string(void **state)
{
    struct buf text, words;
    struct cedar_policies *policies;
    struct cedar_scratch *scratch;
    struct cedar_answer answer;
    struct cedar_uid a = cedar_uid_make(STR("A"), STR("a"));
    char *bytes = malloc(MEGABYTE);
    struct cedar_record context;
    assert_non_null(bytes);
    memset(bytes, 'a', MEGABYTE);
    struct cedar_field field = {
        cedar_key_make(STR("s")), cedar_string(str_make(bytes, MEGABYTE))};
    assert_int_equal(cedar_record_init(&context, &field, 1), ERR_OK);
    struct cedar_request request = {&a, &a, &a, &context};
    assert_int_equal(cedar_scratch_new(&scratch), ERR_OK);
    static const char *const rows[][3] = {
        {"context.s == \"", "a", "\""},
        {"context.s like \"", "a", "\""},
        {"context.s like \"*", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa*", "\""},
        {"!(context.s like \"*", "*a*", "b*\")"},
    };
    for (size_t i = 0; i < 4; i++) {
        policy(&text, rows[i][0], rows[i][1], MEGABYTE, rows[i][2], "", "");
        assert_int_equal(
            cedar_policies_parse(buf_str(&text), NULL, &policies), ERR_OK);
        assert_int_equal(
            cedar_authorize(policies, NULL, &request, scratch, &answer),
            ERR_OK);
        assert_int_equal(answer.decision, CEDAR_ALLOW);
        buf_init(&words, TEN);
        cedar_describe(
            &words, cedar_policies_at(policies, 0), CEDAR_ENGLISH, NULL);
        buf_fini(&words);
        cedar_policies_free(&policies);
        buf_fini(&text);
    }
    cedar_scratch_free(&scratch);
    free(bytes);
}

static void test_nested_json(void **state)
{
    static const char *const units[] = {"[", "{\"a\":", "[{\"a\":["};
    struct arena *arena = arena_new(1 << 16, 0);
    for (size_t i = 0; i < 3; i++) {
        struct buf text;
        struct errinfo info = {0};
        struct cedar_entities *entities = NULL;
        struct cedar_policies *policies = NULL;
        struct cedar_schema *schema = NULL;
        struct cedar_diagnostics diagnostics = {0};
        const struct cedar_record *context;
        buf_init(&text, TEN * 4);
        repeat(&text, units[i], MEGABYTE);
        assert_true(cedar_read_entities(
                        buf_str(&text), NULL, &entities, &info) != ERR_OK);
        assert_true(strlen(info.text) > 5);
        assert_true(cedar_read_context(buf_str(&text), NULL, arena, &context,
                        &info) != ERR_OK);
        assert_true(cedar_read_policies(
                        buf_str(&text), &diagnostics, &policies) != ERR_OK);
        assert_true(diagnostics.count > 0);
        assert_true(cedar_schema_parse(buf_str(&text), &diagnostics, &schema) !=
                    ERR_OK);
        cedar_diagnostics_fini(&diagnostics);
        buf_fini(&text);
    }
    /* Sound JSON, 4,000 levels of a value. */
    struct buf text;
    struct errinfo info = {0};
    const struct cedar_record *context;
    buf_init(&text, TEN);
    buf_append_str(&text, STR("{\"a\":"));
    repeat(&text, "[", 4000);
    repeat(&text, "]", 4000);
    buf_append_char(&text, '}');
    assert_int_equal(
        cedar_read_context(buf_str(&text), NULL, arena, &context, &info),
        ERR_LIMIT);
    assert_true(strlen(info.text) > 5);
    buf_fini(&text);
    arena_free(&arena);
}

static void test_nested_schema(void **state)
{
    static const char *const rows[][3] = {
        {"type T = ", "Set<", ""},
        {"entity A = ", "{a: ", ""},
        {"entity A in ", "[", "];"},
        {"", "namespace A {", ""},
        {"", "@a ", ""},
        {"entity A", ", A", ";"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf text;
        struct cedar_schema *schema = NULL;
        struct cedar_diagnostics diagnostics = {0};
        buf_init(&text, TEN * 2);
        buf_append_str(&text, str_from(rows[i][0]));
        repeat(&text, rows[i][1], MEGABYTE);
        buf_append_str(&text, str_from(rows[i][2]));
        enum err err =
            cedar_schema_parse(buf_str(&text), &diagnostics, &schema);
        assert_true(err == ERR_LIMIT || err == ERR_SYNTAX);
        assert_true(diagnostics.errors > 0);
        assert_true(strlen(diagnostics.items[0].text) < 500);
        cedar_diagnostics_fini(&diagnostics);
        buf_fini(&text);
    }
}

/* Types that double with each name: 2^60 attributes, were they written out. */
static void test_doubling_schema(void **state)
{
    struct buf text;
    struct cedar_schema *schema = NULL;
    struct cedar_diagnostics findings = {0};
    struct cedar_policies *policies;
    buf_init(&text, MEGABYTE);
    buf_append_str(&text, STR("type T0 = {x: Long};\n"));
    for (int i = 1; i <= 60; i++)
        buf_printf(&text, "type T%d = {a: T%d, b: T%d};\n", i, i - 1, i - 1);
    buf_append_str(&text, STR("entity U { t: T60, u: T60 }; action v appliesTo "
                              "{ principal: U, resource: U };"));
    assert_int_equal(
        cedar_schema_parse(buf_str(&text), &findings, &schema), ERR_OK);
    struct str rule = STR("permit(principal, action, resource) when { "
                          "principal.t == principal.u && principal.t.a.b.a == "
                          "resource.t.b.a.b };");
    assert_int_equal(cedar_policies_parse(rule, NULL, &policies), ERR_OK);
    assert_int_equal(cedar_validate(policies, schema, rule, &findings), ERR_OK);
    assert_int_equal(findings.errors, 0);
    cedar_diagnostics_fini(&findings);
    cedar_policies_free(&policies);
    cedar_schema_free(&schema);
    buf_fini(&text);
}

/* A million, read from JSON; each in a group, the groups in one. */
static void test_million_entities(void **state)
{
    struct buf text;
    struct errinfo info = {0};
    struct cedar_entities *entities = NULL;
    buf_init(&text, (size_t)256 << 20);
    buf_append_char(&text, '[');
    for (unsigned i = 0; i < 1000000; i++)
        buf_printf(&text,
            "%s{\"uid\":{\"type\":\"U\",\"id\":\"%u\"},\"attrs\":{\"n\":%u},"
            "\"parents\":[{\"type\":\"G\",\"id\":\"%u\"}]}",
            i ? "," : "", i, i, i % 1000);
    for (unsigned i = 0; i < 1000; i++)
        buf_printf(&text,
            ",{\"uid\":{\"type\":\"G\",\"id\":\"%u\"},\"attrs\":{},"
            "\"parents\":[{\"type\":\"G\",\"id\":\"all\"}]}",
            i);
    buf_append_char(&text, ']');
    assert_false(text.failed);
    assert_int_equal(
        cedar_read_entities(buf_str(&text), NULL, &entities, &info), ERR_OK);
    buf_fini(&text);
    assert_int_equal(cedar_entities_count(entities), 1001000);
    struct cedar_uid u = cedar_uid_make(STR("U"), STR("777777"));
    struct cedar_uid all = cedar_uid_make(STR("G"), STR("all"));
    struct cedar_uid own = cedar_uid_make(STR("G"), STR("777"));
    struct cedar_uid other = cedar_uid_make(STR("G"), STR("776"));
    assert_true(cedar_entities_in(entities, &u, &all));
    assert_true(cedar_entities_in(entities, &u, &own));
    assert_false(cedar_entities_in(entities, &u, &other));
    cedar_entities_free(&entities);
}

/* A chain has half the square of its length of ancestors: too many. */
static void test_long_chain(void **state)
{
    struct cedar_entities_builder *b;
    struct cedar_entities *entities = NULL;
    struct errinfo info = {0};
    char name[2][24];
    assert_int_equal(cedar_entities_builder_new(&b), ERR_OK);
    for (unsigned i = 0; i < 100000; i++) {
        snprintf(name[0], sizeof name[0], "%u", i);
        snprintf(name[1], sizeof name[1], "%u", i + 1);
        struct cedar_uid uid = cedar_uid_make(STR("G"), str_from(name[0]));
        struct cedar_uid parent = cedar_uid_make(STR("G"), str_from(name[1]));
        assert_int_equal(
            cedar_entities_builder_add(b, &uid, &parent, 1, NULL, NULL, NULL),
            ERR_OK);
    }
    assert_int_equal(
        cedar_entities_builder_finish(&b, &entities, &info), ERR_LIMIT);
    assert_non_null(strstr(info.text, "ancestors"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nested_policies),
        cmocka_unit_test(test_many_errors),
        cmocka_unit_test(test_many_names),
        cmocka_unit_test(test_wide_policies),
        cmocka_unit_test(test_long_string),
        cmocka_unit_test(test_nested_json),
        cmocka_unit_test(test_nested_schema),
        cmocka_unit_test(test_doubling_schema),
        cmocka_unit_test(test_million_entities),
        cmocka_unit_test(test_long_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
