/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of policy/cedar's lexer and parser. The verdicts of the tables are
 * those of the reference implementation, release 4.13. */
#include "policy/cedar/ast.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/policy/cedar/parser_tables.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* A copy of exactly the text's length, so that a sanitizer sees over-reads. */
static struct cedar_policies *parse(
    struct str text, struct cedar_diagnostics *diagnostics, enum err *err)
{
    char *exact = malloc(text.len ? text.len : 1);
    assert_non_null(exact);
    memcpy(exact, text.ptr, text.len);
    struct cedar_policies *policies = NULL;
    *err =
        cedar_policies_parse(str_make(exact, text.len), diagnostics, &policies);
    free(exact);
    return policies;
}

static const struct cedar_policy *first(const struct cedar_policies *policies)
{
    if (cedar_policies_count(policies))
        return cedar_policies_at(policies, 0);
    return cedar_policies_template_at(policies, 0);
}

static void check_round_trip(const struct cedar_policies *policies)
{
    if (cedar_policies_count(policies) +
            cedar_policies_template_count(policies) !=
        1)
        return;
    struct buf text;
    buf_init(&text, 1 << 20);
    cedar_policy_print(&text, first(policies));
    enum err err;
    struct cedar_policies *again = parse(buf_str(&text), NULL, &err);
    if (err != ERR_OK || !cedar_policy_same(first(policies), first(again)))
        fail_msg("prints as %s", buf_cstr(&text));
    cedar_policies_free(&again);
    buf_fini(&text);
}

static void check_verdict(struct str text, bool accepted)
{
    struct cedar_diagnostics diagnostics = {0};
    enum err err;
    struct cedar_policies *policies = parse(text, &diagnostics, &err);
    if ((err == ERR_OK) != accepted)
        fail_msg("%.*s is %s: %s", STR_ARG(text),
            accepted ? "refused" : "accepted",
            diagnostics.count ? diagnostics.items[0].text : "");
    assert_int_equal(diagnostics.errors != 0, !accepted);
    if (policies)
        check_round_trip(policies);
    cedar_policies_free(&policies);
    cedar_diagnostics_fini(&diagnostics);
}

static void check_expression(const char *expression, bool accepted)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    buf_printf(
        &text, "permit(principal,action,resource) when { %s };", expression);
    check_verdict(buf_str(&text), accepted);
    buf_fini(&text);
}

static void test_expressions(void **state)
{
    for (size_t i = 0; i < COUNT(expressions_accepted); i++)
        check_expression(expressions_accepted[i], true);
    for (size_t i = 0; i < COUNT(expressions_refused); i++)
        check_expression(expressions_refused[i], false);
}

static void test_policies(void **state)
{
    for (size_t i = 0; i < COUNT(policies_accepted); i++)
        check_verdict(str_from(policies_accepted[i]), true);
    for (size_t i = 0; i < COUNT(policies_refused); i++)
        check_verdict(str_from(policies_refused[i]), false);
}

/* NUL is an ordinary character of a string; bytes that are no UTF-8 are not. */
static void test_bytes(void **state)
{
    check_verdict(
        STR("permit(principal,action,resource) when { \"a\0b\" == 1};"), true);
    check_verdict(STR("permit(principal,action,resource);\0"), false);
    check_verdict(
        STR("permit(principal,action,resource) when { \"\xff\" == 1};"), false);
    check_verdict(STR("// \xc3\npermit(principal,action,resource);"), false);
    check_verdict(STR("\xed\xa0\x80"), false);
    check_verdict(STR("permit(principal,action,resource) when { \""), false);
    check_verdict(STR("permit(principal,action,resource) when { \"\\"), false);
}

static void check_message(
    const char *text, int line, int column, const char *words)
{
    struct cedar_diagnostics diagnostics = {0};
    enum err err;
    struct cedar_policies *policies = parse(str_from(text), &diagnostics, &err);
    assert_null(policies);
    assert_int_not_equal(diagnostics.count, 0);
    const struct cedar_diagnostic *d = &diagnostics.items[0];
    if (d->line != line || d->column != column || !strstr(d->text, words))
        fail_msg("%s\n%d:%d: %s", text, d->line, d->column, d->text);
    cedar_diagnostics_fini(&diagnostics);
}

static void test_messages(void **state)
{
    check_message("permit(principal, action, resource)", 1, 36,
        "unexpected end of input: expected `when`");
    check_message("allow(principal, action, resource);", 1, 1,
        "expected `permit` or `forbid`");
    check_message(
        "permti(principal, action, resource);", 1, 1, "did you mean permit?");
    check_message("permit(principal, action, resource)\nwhen { contxt.a };", 2,
        8, "did you mean `context`?");
    check_message("permit(principal, action, resource)\n"
                  "when { \"\xc3\xa4\" == contxt.a };",
        2, 15, "did you mean `context`?");
    check_message(
        "permit(principal, action, resource) when { context.ip.isInRnge(1) };",
        1, 55, "did you mean `isInRange`?");
    check_message(
        "permit(principal, action, resource) when { isInRange(1, 2) };", 1, 44,
        "is a method, not a function");
    check_message("permit(principal, action, resource) when { 1 = 2 };", 1, 46,
        "did you mean `==`?");
    check_message("permit(principal, action, resource) when { 'a' == 2 };", 1,
        44, "double quotes");
    check_message("permit(principal, action, resource) when { a == \"b };", 1,
        44, "no variable `a`");
    check_message("permit(principal == \"alice\", action, resource);", 1, 21,
        "expected an entity such as");
    check_message("permit(principal, action == User::\"a\", resource);", 1, 29,
        "of type Action");
    check_message(
        "@a @b @a permit(principal, action, resource);", 1, 7, "stands twice");
    check_message("\xef\xbb\xbfpermit(principal, action, resource);", 1, 1,
        "byte order mark");
}

/* One message for each broken policy, and nothing given. */
static void test_recovery(void **state)
{
    const char *text = "permit(principal, action, resource) when { 1 + };\n"
                       "permit(principal, action, resource);\n"
                       "forbid(principal, action);\n"
                       "forbid(principal, action, resource) when { x };\n";
    struct cedar_diagnostics diagnostics = {0};
    struct cedar_policies *policies = NULL;
    assert_int_equal(
        cedar_policies_parse(str_from(text), &diagnostics, &policies),
        ERR_SYNTAX);
    assert_null(policies);
    assert_int_equal(diagnostics.count, 3);
    assert_int_equal(diagnostics.items[0].line, 1);
    assert_int_equal(diagnostics.items[1].line, 3);
    assert_int_equal(diagnostics.items[2].line, 4);
    cedar_diagnostics_fini(&diagnostics);
}

static void nest(struct buf *text, const char *open, const char *middle,
    const char *close, size_t levels)
{
    buf_append_str(text, STR("permit(principal,action,resource) when { "));
    for (size_t i = 0; i < levels; i++)
        buf_append_str(text, str_from(open));
    buf_append_str(text, str_from(middle));
    for (size_t i = 0; i < levels; i++)
        buf_append_str(text, str_from(close));
    buf_append_str(text, STR(" };"));
}

static void check_nesting(const char *open, const char *middle,
    const char *close, size_t levels, enum err wanted)
{
    struct buf text;
    buf_init(&text, 64 << 20);
    nest(&text, open, middle, close, levels);
    enum err err;
    struct cedar_policies *policies = parse(buf_str(&text), NULL, &err);
    if (err != wanted)
        fail_msg("%zu times %s: %s", levels, open, err_name(err));
    if (policies && levels < 200)
        check_round_trip(policies);
    cedar_policies_free(&policies);
    buf_fini(&text);
}

static void test_nesting(void **state)
{
    static const struct {
        const char *open, *middle, *close;
    } forms[] = {
        {"(", "true", ")"},
        {"[", "1", "]"},
        {"{a: ", "1", "}"},
        {"!(", "true", ")"},
        {"ip(", "1", ")"},
        {"if ", "true", " then 1 else 2"},
        {"if true then 1 else ", "2", ""},
        {"context.contains(", "1", ")"},
        {"(1 == ", "1", ")"},
        {"(true && ", "true", ")"},
        {"", "context", ".a"},
        {"", "1", " + 1"},
        {"", "context", "[\"a\"]"},
        {"", "context", ".contains(1)"},
    };
    for (size_t i = 0; i < COUNT(forms); i++) {
        check_nesting(
            forms[i].open, forms[i].middle, forms[i].close, 100, ERR_OK);
        check_nesting(
            forms[i].open, forms[i].middle, forms[i].close, 5000, ERR_LIMIT);
    }
    check_nesting("(", "true", ")", 5 << 20, ERR_LIMIT);
    check_nesting("", "true", " && true", 20000, ERR_OK);
    check_nesting("", "true", " || true", 20000, ERR_OK);
}

static void test_what_is_read(void **state)
{
    enum err err;
    struct cedar_policies *policies = parse(
        STR("@id(\"one\") @note\npermit(principal, action, resource);\n"
            "\n  forbid(principal is U in G::\"\\u{e9}\", action in "
            "[Action::\"a\", N::Action::\"b\"],\n resource == ?resource) "
            "unless { principal == U::\"x\" };\n"
            "permit(principal in G::\"g\", action == Action::\"a\", resource "
            "is A::B);"),
        NULL, &err);
    assert_int_equal(err, ERR_OK);
    assert_int_equal(cedar_policies_count(policies), 2);
    assert_int_equal(cedar_policies_template_count(policies), 1);
    const struct cedar_policy *one = cedar_policies_at(policies, 0);
    assert_true(str_equal(cedar_policy_id(one), STR("policy0")));
    assert_int_equal(cedar_policy_effect(one), CEDAR_PERMIT);
    struct str value;
    assert_true(cedar_policy_annotation(one, STR("id"), &value));
    assert_true(str_equal(value, STR("one")));
    assert_true(cedar_policy_annotation(one, STR("note"), &value));
    assert_int_equal(value.len, 0);
    assert_false(cedar_policy_annotation(one, STR("none"), NULL));
    const struct cedar_policy *two = cedar_policies_template_at(policies, 0);
    assert_ptr_equal(cedar_policies_find(policies, STR("policy1")), two);
    assert_null(cedar_policies_find(policies, STR("policy9")));
    assert_int_equal(two->slots, CEDAR_SLOT_RESOURCE);
    assert_int_equal(cedar_policy_line(two), 4);
    assert_int_equal(two->column, 3);
    assert_true(str_equal(two->principal.entities[0].uid->id, STR("\xc3\xa9")));
    assert_true(str_ends(cedar_policy_text(two), STR("};")));
    assert_int_equal(two->action.count, 2);
    assert_true(str_equal(
        cedar_policy_id(cedar_policies_at(policies, 1)), STR("policy2")));
    cedar_policies_free(&policies);
}

struct seen {
    size_t count;
    char text[400];
};

static bool note(void *context, const struct cedar_literal *literal)
{
    struct seen *seen = context;
    struct buf out;
    buf_init(&out, 400);
    buf_printf(&out, "%s%d:%d ", seen->text, literal->line, literal->column);
    cedar_uid_print(&out, literal->uid);
    buf_append_char(&out, ';');
    assert_true(out.len < sizeof seen->text);
    memcpy(seen->text, buf_cstr(&out), out.len + 1);
    buf_fini(&out);
    return ++seen->count < 5;
}

static void test_entity_literals(void **state)
{
    enum err err;
    struct cedar_policies *policies =
        parse(STR("permit(principal == A::\"a\", action in [Action::\"x\"],\n"
                  "  resource)\nwhen { [{k: B::\"b\"}] == 1 ||\n"
                  " principal is A in C::\"c\" };\n"
                  "permit(principal, action, resource in D::\"d\");\n"
                  "permit(principal, action, resource in D::\"e\");"),
            NULL, &err);
    struct seen seen = {0};
    cedar_policies_each_entity_literal(policies, note, &seen);
    assert_string_equal(seen.text,
        "1:21 A::\"a\";1:40 Action::\"x\";3:13 B::\"b\";4:20 C::\"c\";"
        "5:39 D::\"d\";");
    cedar_policies_free(&policies);
}

static void test_links(void **state)
{
    struct cedar_builder *builder;
    struct errinfo info;
    assert_int_equal(cedar_builder_new(&builder), ERR_OK);
    assert_int_equal(
        cedar_builder_add_text(builder,
            STR("permit(principal == ?principal, action, resource in "
                "?resource);permit(principal, action, resource);"),
            0, NULL, NULL),
        ERR_OK);
    struct cedar_uid a = cedar_uid_make(STR("U"), STR("a"));
    struct cedar_uid b = cedar_uid_make(STR("U"), STR("b"));
    struct str t = STR("policy0"), l = STR("link");
    assert_int_equal(
        cedar_builder_link(builder, t, l, &a, NULL, &info), ERR_INVALID);
    assert_non_null(strstr(info.text, "lacks ?resource"));
    assert_int_equal(
        cedar_builder_link(builder, STR("x"), l, &a, &b, &info), ERR_NOTFOUND);
    assert_int_equal(
        cedar_builder_link(builder, STR("policy1"), l, &a, &b, &info),
        ERR_NOTFOUND);
    assert_int_equal(
        cedar_builder_link(builder, t, STR("policy1"), &a, &b, &info),
        ERR_EXISTS);
    assert_int_equal(cedar_builder_link(builder, t, l, &a, &b, &info), ERR_OK);
    assert_int_equal(
        cedar_builder_link(builder, t, l, &a, &b, &info), ERR_EXISTS);
    assert_int_equal(
        cedar_builder_link(builder, l, STR("m"), &a, &b, &info), ERR_NOTFOUND);
    struct cedar_policies *policies;
    assert_int_equal(cedar_builder_finish(&builder, &policies), ERR_OK);
    assert_null(builder);
    const struct cedar_policy *link = cedar_policies_find(policies, l);
    assert_true(cedar_uid_equal(link->principal.entities[0].uid, &a));
    assert_true(cedar_uid_equal(link->resource.entities[0].uid, &b));
    assert_ptr_equal(link->template, cedar_policies_find(policies, t));
    assert_int_equal(cedar_policies_count(policies), 2);
    cedar_policies_free(&policies);
}

static void check_uid(const char *text, const char *type, const char *id)
{
    struct arena *arena = arena_new(256, 0);
    struct cedar_uid uid;
    struct errinfo info;
    enum err err = cedar_uid_parse(arena, str_from(text), &uid, &info);
    if ((err == ERR_OK) != (type != NULL))
        fail_msg("%s: %s", text, err_name(err));
    if (type) {
        assert_true(str_equal(uid.type, str_from(type)));
        assert_true(str_equal(uid.id, str_from(id)));
    }
    arena_free(&arena);
}

static void test_uids(void **state)
{
    check_uid("A::\"b\"", "A", "b");
    check_uid("A::B::\"\"", "A::B", "");
    check_uid("A::\"\\\"\\u{41}\"", "A", "\"A");
    check_uid("A::\"b\" ", NULL, NULL);
    check_uid(" A::\"b\"", NULL, NULL);
    check_uid("A ::\"b\"", NULL, NULL);
    check_uid("A::b", NULL, NULL);
    check_uid("::\"b\"", NULL, NULL);
    check_uid("A::\"b", NULL, NULL);
    check_uid("A::\"b\"c\"", NULL, NULL);
    check_uid("A::\"\\q\"", NULL, NULL);
    check_uid("A::\"\\\"", NULL, NULL);
    check_uid("A:: B::\"b\"", NULL, NULL);
    check_uid("if::\"b\"", NULL, NULL);
    check_uid("A::__cedar::\"b\"", NULL, NULL);
    check_uid("", NULL, NULL);
    check_uid("\"\"", NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expressions),
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_recovery),
        cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_what_is_read),
        cmocka_unit_test(test_entity_literals),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_uids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
