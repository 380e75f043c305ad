/* SPDX-License-Identifier: Apache-2.0
 *
 * schema_test.c - which schemas are accepted, and what comes out of them:
 * name lookup, memberships, resolved types. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "policy/cedar/schema.h"

#include <stdio.h>

static const struct {
    bool ok;
    const char *text;
} cases[] = {
#include "tests/unit/policy/cedar/schema_cases.tbl.h"
};

static struct cedar_schema *parsed(const char *text)
{
    struct cedar_schema *schema = NULL;
    struct cedar_diagnostics diagnostics = {0};
    enum err err = cedar_schema_parse(str_from(text), &diagnostics, &schema);
    if (err != ERR_OK) {
        fail_msg("refused: %s: %s", text,
            diagnostics.count > 0 ? diagnostics.items[0].text : "");
    }
    cedar_diagnostics_fini(&diagnostics);
    return schema;
}

static void accepts_what_cedar_accepts(void **state)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cedar_schema *schema = NULL;
        struct cedar_diagnostics diagnostics = {0};
        enum err err =
            cedar_schema_parse(str_from(cases[i].text), &diagnostics, &schema);
        if ((err == ERR_OK) != cases[i].ok) {
            fail_msg(
                "%s: %s", cases[i].ok ? "refused" : "accepted", cases[i].text);
        }
        if (err != ERR_OK && diagnostics.count == 0) {
            fail_msg("no message: %s", cases[i].text);
        }
        cedar_diagnostics_fini(&diagnostics);
        cedar_schema_free(&schema);
    }
}

static void assert_shape(
    const struct cedar_schema *schema, const char *name, const char *expected)
{
    const struct cedar_entity_type *type =
        cedar_schema_entity_type(schema, str_from(name));
    struct buf out;
    assert_non_null(type);
    buf_init(&out, 4096);
    cedar_type_print(&out, type->shape);
    assert_string_equal(buf_cstr(&out), expected);
    buf_fini(&out);
}

static void names_are_looked_up_from_inside_out(void **state)
{
    struct cedar_schema *schema = parsed(
        "type T = String; entity G;"
        "namespace N { entity Long; entity H; type U = { t: T, h: H };"
        "  entity E in [G, H] = { a: Long, b: __cedar::Long, c: G, d: N::H,"
        "    e?: Set<U>, \"f g\": ipaddr } tags T; }");
    assert_shape(schema, "N::E",
        "{a: N::Long, b: Long, c: G, d: N::H, "
        "e?: Set<{h: N::H, t: String}>, \"f g\": ipaddr}");
    const struct cedar_entity_type *e =
        cedar_schema_entity_type(schema, STR("N::E"));
    const struct cedar_entity_type *g =
        cedar_schema_entity_type(schema, STR("G"));
    assert_true(cedar_entity_type_in(e, g));
    assert_false(cedar_entity_type_in(g, e));
    assert_int_equal(e->tags->kind, CEDAR_TYPE_STRING);
    assert_null(cedar_schema_entity_type(schema, STR("E")));
    cedar_schema_free(&schema);
}

static void the_last_of_equal_attributes_counts(void **state)
{
    struct cedar_schema *schema =
        parsed("entity A { x: Long, y: Bool, x?: String };");
    assert_shape(schema, "A", "{x?: String, y: Bool}");
    cedar_schema_free(&schema);
}

static void memberships_are_transitive(void **state)
{
    struct cedar_schema *schema = parsed(
        "entity A in B; entity B in C; entity C in A; entity D in A; entity X;"
        "action a in b; action b in \"c\"; action \"c\";"
        "namespace N { action a2 in [Action::\"c\", b2]; action b2; }");
    const char *cycle[] = {"A", "B", "C"};
    for (int i = 0; i < 9; i++) {
        assert_true(cedar_entity_type_in(
            cedar_schema_entity_type(schema, str_from(cycle[i / 3])),
            cedar_schema_entity_type(schema, str_from(cycle[i % 3]))));
    }
    const struct cedar_entity_type *d =
        cedar_schema_entity_type(schema, STR("D"));
    assert_int_equal(d->ancestor_count, 3);
    assert_false(cedar_entity_type_in(d, d));
    struct cedar_uid a = cedar_uid_make(STR("Action"), STR("a"));
    struct cedar_uid c = cedar_uid_make(STR("Action"), STR("c"));
    struct cedar_uid a2 = cedar_uid_make(STR("N::Action"), STR("a2"));
    const struct cedar_action *action = cedar_schema_action(schema, &a);
    const struct cedar_action *group = cedar_schema_action(schema, &c);
    assert_int_equal(action->ancestor_count, 2);
    assert_true(cedar_action_in(action, group));
    assert_true(cedar_action_in(action, action));
    assert_false(cedar_action_in(group, action));
    assert_true(cedar_action_in(cedar_schema_action(schema, &a2), group));
    cedar_schema_free(&schema);
}

static void enumerations_and_actions(void **state)
{
    struct cedar_schema *schema = parsed(
        "entity E enum [\"b\", \"a\", \"b\", \"\"]; entity U;"
        "action x, \"y z\" appliesTo { principal: [U, U, E], resource: E,"
        "  context: { n: Long } }; action z;");
    const struct cedar_entity_type *e =
        cedar_schema_entity_type(schema, STR("E"));
    assert_int_equal(e->choice_count, 3);
    assert_true(cedar_entity_type_allows(e, STR("")));
    assert_true(cedar_entity_type_allows(e, STR("a")));
    assert_false(cedar_entity_type_allows(e, STR("c")));
    assert_int_equal(cedar_schema_action_count(schema), 3);
    struct cedar_uid y = cedar_uid_make(STR("Action"), STR("y z"));
    const struct cedar_action *action = cedar_schema_action(schema, &y);
    assert_int_equal(action->principal_count, 2);
    assert_int_equal(action->resource_count, 1);
    assert_ptr_equal(action->resources[0], e);
    assert_non_null(
        cedar_type_attribute(action->context, cedar_key_make(STR("n"))));
    cedar_schema_free(&schema);
}

static void nesting_has_a_limit_and_100_levels_are_fine(void **state)
{
    for (int levels = 100; levels <= 100000; levels *= 10) {
        struct buf text;
        buf_init(&text, 1u << 24);
        buf_append_str(&text, STR("entity A { x: "));
        for (int i = 0; i < levels; i++) {
            buf_append_str(&text, i % 2 ? STR("Set<") : STR("{a:"));
        }
        buf_append_str(&text, STR("Long"));
        for (int i = levels; i-- > 0;) {
            buf_append_str(&text, i % 2 ? STR(">") : STR("}"));
        }
        buf_append_str(&text, STR("};"));
        struct cedar_schema *schema = NULL;
        enum err err = cedar_schema_parse(buf_str(&text), NULL, &schema);
        assert_int_equal(err, levels == 100 ? ERR_OK : ERR_LIMIT);
        cedar_schema_free(&schema);
        buf_fini(&text);
    }
}

/* Common types that double at each step stay small in memory. */
static void shared_types_do_not_explode(void **state)
{
    struct buf text;
    buf_init(&text, 1u << 20);
    buf_append_str(&text, STR("type T0 = Long; entity A { x: T60 };"));
    for (int i = 1; i <= 60; i++) {
        buf_printf(&text, "type T%d = {a: T%d, b: T%d};", i, i - 1, i - 1);
    }
    struct cedar_schema *schema = parsed(buf_cstr(&text));
    struct buf out;
    buf_init(&out, 4096);
    cedar_type_print(&out, cedar_schema_entity_type(schema, STR("A"))->shape);
    assert_true(out.failed);
    buf_fini(&out);
    cedar_schema_free(&schema);
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_what_cedar_accepts),
        cmocka_unit_test(names_are_looked_up_from_inside_out),
        cmocka_unit_test(the_last_of_equal_attributes_counts),
        cmocka_unit_test(memberships_are_transitive),
        cmocka_unit_test(enumerations_and_actions),
        cmocka_unit_test(nesting_has_a_limit_and_100_levels_are_fine),
        cmocka_unit_test(shared_types_do_not_explode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
