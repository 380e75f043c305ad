/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of policy/set and policy/annotations: what is found wrong at save,
 * where, and in which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/decide.h"

#include <stdio.h>

#define ALL "permit(principal, action, resource);"

static void test_findings(void **state)
{
    (void)state;
    static const struct {
        const char *text, *finding; /* how a line of the findings begins */
    } cases[] = {
        {ALL, "rules.cedar:1:1: the rule has no @id;"},
        {"@id(\"a\")\n" ALL, "rules.cedar:1:1: the rule has no @title;"},
        {"@id(\"a b\") @title(\"t\")\n" ALL,
            "rules.cedar:1:1: @id \"a b\" is no name;"},
        {"@id(\"\") @title(\"t\")\n" ALL, "rules.cedar:1:1: @id is empty;"},
        {"@id(\"a\") @title(\" \")\n" ALL, "rules.cedar:1:10: @title is empty"},
        {"@id(\"a\") @title(\"t\\nu\")\n" ALL,
            "rules.cedar:1:10: @title has a line break"},
        {"@id(\"a\") @title(\"t\")\n" ALL "\n@id(\"a\") @title(\"t\")\n" ALL,
            "rules.cedar:3:1: @id \"a\" is used already in line 1;"},
        {"@id(\"a\") @title(\"t\")\n@max_token(\"5\") " ALL,
            "rules.cedar:2:1: unknown annotation @max_token; did you mean "
            "@max_tokens?"},
        {"@id(\"a\") @title(\"t\")\n@zebra(\"5\") " ALL,
            "rules.cedar:2:1: unknown annotation @zebra; known are id"},
        {"@id(\"a\") @title(\"t\")\n@max_tokens(\"0\") " ALL,
            "rules.cedar:2:1: @max_tokens(\"0\") is no number of tokens;"},
        {"@id(\"a\") @title(\"t\")\n@max_tokens(\"1e3\") " ALL,
            "rules.cedar:2:1: @max_tokens(\"1e3\") is no number"},
        {"@id(\"a\") @title(\"t\")\n@max_tokens(\"5\") "
         "forbid(principal, action, resource);",
            "rules.cedar:2:1: @max_tokens stands before a forbid"},
        {"@id(\"a\") @title(\"t\")\n@record(\"half\") " ALL,
            "rules.cedar:2:1: @record(\"half\") is unknown;"},
        {"@id(\"a\") @title(\"t\")\n@require_stream(\"yes\") " ALL,
            "rules.cedar:2:1: @require_stream takes no value"},
        {"@id(\"a\") @title(\"t\")\n@engine " ALL,
            "rules.cedar:2:1: @engine is empty"},
        {"@id(\"a\") @title(\"t\")\n@mode(\"warn\") " ALL,
            "rules.cedar:2:1: @mode(\"warn\") is unknown;"},
        {"@id(\"a\") @title(\"t\")\n@expires(\"soon\") " ALL,
            "rules.cedar:2:1: @expires(\"soon\") is no date;"},
        {"@id(\"a\") @title(\"t\")\n"
         "permit(principal == ?principal, action, resource);",
            "rules.cedar:1:1: a template"},
        {"@id(\"a\") @title(\"t\")\npermit(principal, action, resource) when "
         "{ context.x == };",
            "rules.cedar:2:"},
        {"@id(\"a\") @title(\"t\")\npermit(principal, action, resource)\n"
         "when { context.input.token < 5 };",
            "rules.cedar:3:"},
        /* May be absent: ask for it first. */
        {"@id(\"a\") @title(\"t\")\npermit(principal, action, resource)\n"
         "when { context.params.maxTokens < 5 };",
            "rules.cedar:3:"},
        /* Can never apply. */
        {"@id(\"a\") @title(\"t\")\nforbid(principal is Team, action, "
         "resource);",
            "rules.cedar:"},
        {"@id(\"a\") @title(\"t\")\nforbid(principal, action == "
         "Action::\"chta\", resource);",
            "rules.cedar:2:"},
        {"@id(\"a\") @title(\"t\")\npermit(principal, action);",
            "rules.cedar:2:"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct policy_set *set = NULL;
        struct errinfo info = {0};
        struct buf findings;
        buf_init(&findings, 1u << 16);
        enum err err = policy_set_compile(
            str_from(cases[i].text), "rules.cedar", &set, &findings, &info);
        const char *text = buf_cstr(&findings);
        if (err != ERR_SYNTAX || set != NULL)
            fail_msg("accepted: %s", cases[i].text);
        if (strncmp(text, cases[i].finding, strlen(cases[i].finding)) != 0)
            fail_msg("expected %s\nfound %s", cases[i].finding, text);
        if (strncmp(info.text, cases[i].finding, strlen(cases[i].finding)) != 0)
            fail_msg("expected %s\nsaid %s", cases[i].finding, info.text);
        buf_fini(&findings);
    }
}

static void test_all_findings_are_reported(void **state)
{
    (void)state;
    struct policy_set *set = NULL;
    struct errinfo info = {0};
    struct buf findings;
    buf_init(&findings, 1u << 16);
    assert_int_equal(policy_set_compile(STR(ALL "\n" ALL "\n@ids(\"x\")" ALL),
                         "r", &set, &findings, &info),
        ERR_SYNTAX);
    size_t lines = 0;
    for (size_t i = 0; i < findings.len; i++)
        lines += buf_str(&findings).ptr[i] == '\n';
    assert_int_equal(lines, 7);
    assert_non_null(strstr(info.text, "(and 6 more)"));
    buf_fini(&findings);
}

static void test_offered_annotations(void **state)
{
    (void)state;
    struct policy_set *set = NULL;
    struct errinfo info = {0};
    struct buf findings;
    buf_init(&findings, 1u << 16);
    struct str text =
        STR("@id(\"a.b/c-1_\") @title(\"Büro\") @owner(\"dpo\")"
            " @basis(\"AI Act Art. 26\") @recipe(\"office-hours\")"
            " @param(\"x\") @param_from(\"08:00\") " ALL);
    if (policy_set_compile(text, "r", &set, &findings, &info) != ERR_OK)
        fail_msg("%s", buf_cstr(&findings));
    assert_int_equal(findings.len, 0);
    assert_int_equal(policy_set_count(set), 1);
    assert_true(str_equal(policy_set_title(set, 0), STR("Büro")));
    policy_set_free(&set);
    buf_fini(&findings);
}

struct seen {
    int count;
    struct str text;
};

static void see(void *context, const struct policy_literal *literal)
{
    static const struct {
        const char *type, *id, *policy, *source;
        int line;
    } expected[] = {
        {"Team", "interns", "a", "Team::\"interns\"", 2},
        {"Action", "chat", "a", "Action::\"chat\"", 2},
        {"Action", "embed", "a", "Action::\"embed\"", 2},
        {"Model", "x\"y", "b", "Model::\"x\\\"y\"", 5},
        {"Team", "t", "b", "Team :: \"t\"", 5},
    };
    struct seen *seen = context;
    assert_true(seen->count < 5);
    int i = seen->count++;
    assert_true(str_equal(literal->type, str_from(expected[i].type)));
    assert_true(str_equal(literal->id, str_from(expected[i].id)));
    assert_true(str_equal(literal->policy, str_from(expected[i].policy)));
    assert_int_equal(literal->line, expected[i].line);
    struct str source =
        str_make(seen->text.ptr + literal->offset, literal->length);
    assert_true(str_equal(source, str_from(expected[i].source)));
}

static void test_literals(void **state)
{
    (void)state;
    struct policy_set *set = NULL;
    struct errinfo info = {0};
    struct buf findings;
    buf_init(&findings, 1u << 16);
    struct seen seen = {.text = STR("@id(\"a\") @title(\"t\")\n"
                                    "permit(principal in Team::\"interns\","
                                    " action in [Action::\"chat\","
                                    " Action::\"embed\"], resource);\n"
                                    "@id(\"b\") @title(\"t\")\n"
                                    "forbid(principal, action, resource)\n"
                                    "when { resource == Model::\"x\\\"y\" &&"
                                    " principal in [Team :: \"t\"] };")};
    if (policy_set_compile(seen.text, "r", &set, &findings, &info) != ERR_OK)
        fail_msg("%s", buf_cstr(&findings));
    policy_set_each_literal(set, see, &seen);
    assert_int_equal(seen.count, 5);
    policy_set_free(&set);
    policy_set_free(&set);
    buf_fini(&findings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_findings),
        cmocka_unit_test(test_all_findings_are_reported),
        cmocka_unit_test(test_offered_annotations),
        cmocka_unit_test(test_literals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
