/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of policy/cedar's explanations. */
#include "policy/cedar/explain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void check(const char *text, const char *words)
{
    struct arena *arena = arena_new(4096, 0);
    struct cedar_policies *policies;
    struct cedar_entities_builder *b;
    struct cedar_entities *entities;
    assert_int_equal(
        cedar_policies_parse(str_from(text), NULL, &policies), ERR_OK);
    assert_int_equal(cedar_entities_builder_new(&b), ERR_OK);
    struct cedar_uid alice = cedar_uid_make(STR("User"), STR("alice"));
    struct cedar_uid staff = cedar_uid_make(STR("Team"), STR("staff"));
    struct cedar_uid chat = cedar_uid_make(STR("Action"), STR("chat"));
    struct cedar_uid model = cedar_uid_make(STR("Model"), STR("m"));
    assert_int_equal(
        cedar_entities_builder_add(b, &alice, &staff, 1, NULL, NULL, NULL),
        ERR_OK);
    assert_int_equal(
        cedar_entities_builder_finish(&b, &entities, NULL), ERR_OK);
    struct cedar_field fields[2] = {
        {cedar_key_make(STR("tokens")), cedar_long(8192)},
        {cedar_key_make(STR("route")), cedar_string(STR("chat"))}};
    struct cedar_record context;
    assert_int_equal(cedar_record_init(&context, fields, 2), ERR_OK);
    struct cedar_request request = {&alice, &chat, &model, &context};
    struct cedar_explanation explanation;
    assert_int_equal(
        cedar_explain(policies, 0, entities, &request, arena, &explanation),
        ERR_OK);
    struct buf line;
    buf_init(&line, 4096);
    cedar_explanation_print(&line, &explanation, &request);
    assert_string_equal(buf_cstr(&line), words);
    buf_fini(&line);
    cedar_entities_free(&entities);
    cedar_policies_free(&policies);
    arena_free(&arena);
}

static void test_explain(void **state)
{
    check("permit(principal, action, resource);", "policy0 (permit) applies");
    check("forbid(principal in Team::\"staff\", action, resource) unless { "
          "context.tokens > 10000 };",
        "policy0 (forbid) applies");
    check("permit(principal in Team::\"x\", action, resource);",
        "policy0 (permit) does not apply: the scope `principal in "
        "Team::\"x\"` does not hold for User::\"alice\"");
    check("permit(principal, action in [Action::\"a\"], resource);",
        "policy0 (permit) does not apply: the scope `action in "
        "[Action::\"a\"]` does not hold for Action::\"chat\"");
    check("permit(principal is User in Team::\"staff\", action, resource is "
          "T);",
        "policy0 (permit) does not apply: the scope `resource is T` does not "
        "hold for Model::\"m\"");
    check("permit(principal, action, resource)\nwhen { context.route == "
          "\"chat\" && context.tokens <= 4096 };",
        "policy0 (permit) does not apply: in `when`, `context.tokens <= "
        "4096` at 2:35 is false (context.tokens is 8192)");
    check("permit(principal, action, resource) when { true } unless { "
          "context.route == \"x\" || !(context.tokens < 5) };",
        "policy0 (permit) does not apply: in `unless`, `context.tokens < 5` "
        "at 1:86 is false (context.tokens is 8192)");
    check("permit(principal, action, resource) when { if principal in "
          "Team::\"staff\" then principal == resource else true };",
        "policy0 (permit) does not apply: in `when`, `principal == resource` "
        "at 1:79 is false (principal is User::\"alice\", resource is "
        "Model::\"m\")");
    check("permit(principal, action, resource) when { context.route < 1 };",
        "policy0 (permit) failed: type error: expected a long or a datetime "
        "or a duration, got a string: \"chat\" (at 1:44)");
    check("permit(principal, action, resource) when { context.tokens };",
        "policy0 (permit) failed: type error: expected a bool, got a long: "
        "8192 (at 1:44)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_explain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
