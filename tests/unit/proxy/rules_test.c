/* SPDX-License-Identifier: Apache-2.0
 *
 * Recipes, packs and test cases: each recipe's rule compiles, describes itself
 * and passes its own cases; each pack does; what is wrong is refused by name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/explain.h"
#include "proxy/cli/cli_priv.h"
#include "proxy/cli/rules_priv.h"
#include "proxy/rules/cases.h"
#include "proxy/rules/packs.h"
#include "proxy/rules/recipes.h"

static void all_passed(struct str name, const json_t *results)
{
    assert_true(json_array_size(results) > 0);
    for (size_t i = 0; i < json_array_size(results); i++) {
        const json_t *one = json_array_get(results, i);
        if (!json_is_true(json_object_get(one, "passed")))
            fail_msg("%.*s: %s: %s", STR_ARG(name),
                json_string_value(json_object_get(one, "name")),
                json_string_value(json_object_get(one, "why")));
    }
}

static struct policy_set *compile(struct str text)
{
    struct policy_set *set = NULL;
    struct errinfo info = {0};
    struct buf findings;

    buf_init(&findings, 1 << 20);
    if (policy_set_compile(text, "x.cedar", &set, &findings, &info) != ERR_OK)
        fail_msg("%s", buf_cstr(&findings));
    buf_fini(&findings);
    return set;
}

/* A sentence in both languages. */
static void describes(const struct policy_set *set)
{
    for (size_t i = 0; i < policy_set_count(set); i++)
        for (int language = 0; language < CEDAR_LANGUAGES; language++) {
            struct buf sentence;
            buf_init(&sentence, 1 << 20);
            policy_set_sentence(
                set, i, (enum cedar_language)language, &sentence);
            assert_true(sentence.len > 20);
            buf_fini(&sentence);
        }
}

static void test_recipes(void **state)
{
    (void)state;
    assert_true(recipe_count() >= 20);
    for (size_t i = 0; i < recipe_count(); i++) {
        struct errinfo info = {0};
        struct recipe recipe, again;
        struct policy_set *set;
        struct buf rule, twice;
        json_t *results = NULL, *values = NULL;
        buf_init(&rule, 1 << 20);
        buf_init(&twice, 1 << 20);
        assert_int_equal(recipe_at(i, &recipe, &info), ERR_OK);
        if (recipe_test(&recipe, &rule, &results, &info) != ERR_OK)
            fail_msg("%.*s: %s", STR_ARG(recipe.name), info.text);
        all_passed(recipe.name, results);
        set = compile(buf_str(&rule));
        assert_int_equal(policy_set_count(set), 1);
        describes(set);
        /* The form gives the same rule again. */
        assert_int_equal(
            recipe_of_rule(set, 0, &again, &values, &info), ERR_OK);
        assert_int_equal(recipe_render(&again, values, &twice, &info), ERR_OK);
        assert_string_equal(buf_cstr(&rule), buf_cstr(&twice));
        policy_set_free(&set);
        json_decref(values);
        json_decref(results);
        buf_fini(&rule);
        buf_fini(&twice);
    }
}

/* A case that expects the contrary fails: the cases do decide something. */
static void test_recipe_cases_can_fail(void **state)
{
    (void)state;
    for (size_t i = 0; i < recipe_count(); i++) {
        struct errinfo info = {0};
        struct recipe recipe;
        struct buf rule, cases;
        json_t *results = NULL;
        bool turned = false;
        struct str rest;
        buf_init(&rule, 1 << 20);
        buf_init(&cases, 1 << 20);
        assert_int_equal(recipe_at(i, &recipe, &info), ERR_OK);
        rest = recipe.cases;
        while (rest.len > 0) {
            if (!turned && str_starts(rest, STR("\"expect\": \"permit\""))) {
                buf_append_str(&cases, STR("\"expect\": \"deny\""));
                rest = str_make(rest.ptr + 18, rest.len - 18);
                turned = true;
                continue;
            }
            buf_append_char(&cases, rest.ptr[0]);
            rest = str_make(rest.ptr + 1, rest.len - 1);
        }
        if (turned) {
            recipe.cases = buf_str(&cases);
            assert_int_equal(
                recipe_test(&recipe, &rule, &results, &info), ERR_OK);
            assert_int_equal(cases_failed(results), 1);
        }
        json_decref(results);
        buf_fini(&rule);
        buf_fini(&cases);
    }
}

static void test_options_for_all_fields(void **state)
{
    (void)state;
    for (size_t i = 0; i < recipe_count(); i++) {
        struct recipe recipe;
        assert_int_equal(recipe_at(i, &recipe, NULL), ERR_OK);
        for (size_t f = 0; f < recipe.field_count; f++) {
            bool found = false;
            for (size_t o = 0; o < cli_recipe_option_count; o++)
                found |= str_equal(str_from(cli_recipe_options[o].name),
                    recipe.fields[f].name);
            if (!found)
                fail_msg("no option for the field %.*s of %.*s",
                    STR_ARG(recipe.fields[f].name), STR_ARG(recipe.name));
        }
    }
}

static void refused(const char *name, const char *values, const char *words)
{
    struct errinfo info = {0};
    struct recipe recipe;
    json_t *given = json_loads(values, 0, NULL);
    struct buf rule;

    buf_init(&rule, 1 << 20);
    assert_int_equal(recipe_find(str_from(name), &recipe, &info), ERR_OK);
    assert_int_not_equal(recipe_render(&recipe, given, &rule, &info), ERR_OK);
    if (!strstr(info.text, words))
        fail_msg("%s: \"%s\" without \"%s\"", name, info.text, words);
    json_decref(given);
    buf_fini(&rule);
}

static void test_bad_fields(void **state)
{
    struct errinfo info = {0};
    struct recipe recipe;
    (void)state;
    refused("office-hours", "{}", "team is missing");
    refused(
        "office-hours", "{\"team\":\"a\",\"from\":\"8\"}", "no time of day");
    refused(
        "office-hours", "{\"team\":\"a\",\"from\":\"24:01\"}", "time of day");
    refused("office-hours", "{\"team\":\"a\",\"days\":\"Mo\"}", "weekdays");
    refused(
        "office-hours", "{\"team\":\"a\",\"dayz\":\"Mon\"}", "does not have");
    refused("office-hours", "{\"team\":\"a\\\") || true\"}", "no name");
    refused("max-input", "{\"team\":\"a\",\"tokens\":\"0\"}", "number");
    refused("max-input", "{\"team\":\"a\",\"tokens\":\"1 || true\"}", "number");
    refused("max-temperature", "{\"team\":\"a\",\"temperature\":\"hot\"}",
        "decimal");
    refused("from-networks", "{\"team\":\"a\",\"networks\":\"10.0.0.0/40\"}",
        "networks");
    refused("risk-class", "{\"team\":\"a\",\"class\":\"huge\"}", "none of");
    refused("freeze", "{\"from\":\"2026-02-30\"}", "no day");
    assert_int_equal(
        recipe_find(STR("ofice-hours"), &recipe, &info), ERR_NOTFOUND);
    assert_non_null(strstr(info.text, "did you mean \"office-hours\""));
}

/* What is typed into a text cannot leave it. */
static void test_texts_are_escaped(void **state)
{
    static const char nasty[] =
        "a\\\") }; permit(principal,action,resource); //";
    struct errinfo info = {0};
    struct recipe recipe;
    struct policy_set *set;
    struct str reason;
    struct buf rule;
    json_t *values = json_pack("{s:s,s:s}", "model", "little", "reason", nasty);
    (void)state;
    buf_init(&rule, 1 << 20);
    assert_int_equal(recipe_find(STR("model-closed"), &recipe, &info), ERR_OK);
    assert_int_equal(recipe_render(&recipe, values, &rule, &info), ERR_OK);
    set = compile(buf_str(&rule));
    assert_int_equal(policy_set_count(set), 1);
    assert_false(policy_set_is_permit(set, 0));
    assert_true(policy_set_annotation(set, 0, STR("param_reason"), &reason));
    assert_true(str_equal(reason, str_from(nasty)));
    policy_set_free(&set);
    json_decref(values);
    buf_fini(&rule);
}

/* --- Packs -----------------------------------------------------------------
 */

/* Every rule is spoken of on the pack's page, and the page says what a rule
 * cannot ensure. */
static void check_page(const struct pack *pack, const struct policy_set *set)
{
    for (size_t i = 0; i < policy_set_count(set); i++) {
        struct str id = policy_set_id(set, i);
        if (!memmem(pack->page.ptr, pack->page.len, id.ptr, id.len))
            fail_msg("%.*s: the page says nothing of %.*s", STR_ARG(pack->name),
                STR_ARG(id));
    }
    if (!memmem(pack->page.ptr, pack->page.len, "cannot ensure", 13))
        fail_msg("%.*s: the page does not say what it cannot ensure",
            STR_ARG(pack->name));
}

static void test_packs(void **state)
{
    size_t count = 0;
    struct pack pack;
    (void)state;
    for (; pack_at(count, &pack); count++) {
        struct errinfo info = {0};
        struct policy_set *set = compile(pack.rules);
        json_t *document = NULL, *results = NULL, *names;
        bool *fired = calloc(policy_set_count(set) + 1, sizeof *fired);
        describes(set);
        check_page(&pack, set);
        if (cases_parse(pack.tests, "tests.json", &document, &info) != ERR_OK ||
            cases_run(document, set, NULL, &results, &info) != ERR_OK)
            fail_msg("%.*s: %s", STR_ARG(pack.name), info.text);
        all_passed(pack.name, results);
        /* Each rule decides or advises in a case at least. */
        for (size_t i = 0; i < json_array_size(results); i++) {
            const json_t *one = json_array_get(results, i);
            const json_t *kinds[] = {json_object_get(one, "rules"),
                json_object_get(
                    json_array_get(json_object_get(document, "cases"), i),
                    "advice")};
            for (int k = 0; k < 2; k++)
                for (size_t r = 0; r < json_array_size(kinds[k]); r++) {
                    size_t at = policy_set_find(set,
                        str_from(
                            json_string_value(json_array_get(kinds[k], r))));
                    if (at != SIZE_MAX)
                        fired[at] = true;
                }
        }
        for (size_t i = 0; i < policy_set_count(set); i++)
            if (!fired[i])
                fail_msg("%.*s: no case in which %.*s decides",
                    STR_ARG(pack.name), STR_ARG(policy_set_id(set, i)));
        names = pack_names(&pack);
        assert_true(json_is_object(json_object_get(names, "teams")));
        json_decref(names);
        json_decref(results);
        json_decref(document);
        policy_set_free(&set);
        free(fired);
    }
    assert_true(count >= 8);
}

/* --- Cases ------------------------------------------------------------------
 */

static void cases_refused(const char *text, const char *words)
{
    struct policy_set *set = compile(
        STR("@id(\"a\") @title(\"t\") permit (principal, action, resource);"));
    struct errinfo info = {0};
    json_t *document = NULL, *results = NULL;
    enum err err = cases_parse(str_from(text), "x.json", &document, &info);

    if (!err)
        err = cases_run(document, set, NULL, &results, &info);
    if (!err || !strstr(info.text, words))
        fail_msg("%s: \"%s\" without \"%s\"", text, info.text, words);
    json_decref(document);
    json_decref(results);
    policy_set_free(&set);
}

static void test_bad_cases(void **state)
{
#define WORLD                                                                  \
    "\"world\":{\"teams\":{\"t\":\"\"},\"callers\":{\"c\":{\"teams\":[\"t\"]}" \
    "},\"engines\":{\"e\":{}},\"models\":{\"m\":{}}}"
#define ONE(members) "{" WORLD ",\"cases\":[{\"name\":\"n\"," members "}]}"
    (void)state;
    cases_refused("{", "x.json:1:");
    cases_refused("[]", "an object with \"cases\"");
    cases_refused("{\"cases\":[]}", "no \"world\"");
    cases_refused("{\"cases\":[],\"worlds\":{}}", "an object with");
    cases_refused("{\"world\":{\"tems\":{}},\"cases\":[]}", "\"tems\" is none");
    cases_refused("{\"world\":{\"callers\":{\"c\":{\"teams\":[\"x\"]}}},"
                  "\"cases\":[]}",
        "not in this world");
    cases_refused(ONE("\"caller\":\"c\",\"model\":\"m\""), "expect is neither");
    cases_refused(ONE("\"caller\":\"c\",\"model\":\"m\",\"expect\":\"allow\""),
        "expect is neither");
    cases_refused(ONE("\"caler\":\"c\""), "did you mean \"caller\"");
    cases_refused(ONE("\"caller\":\"d\""), "there is no caller \"d\"");
    cases_refused(ONE("\"caller\":\"c\",\"model\":\"x\",\"expect\":\"deny\""),
        "there is no model \"x\"");
    cases_refused(ONE("\"caller\":\"c\",\"model\":\"m\",\"engine\":\"z\","
                      "\"expect\":\"deny\""),
        "does not run on engine z");
    cases_refused(ONE("\"caller\":\"c\",\"inputTokens\":-1"), "inputTokens");
    cases_refused(ONE("\"caller\":\"c\",\"at\":\"noon\""), "at is no time");
    cases_refused(
        ONE("\"caller\":\"c\",\"temperature\":\"0.12345\""), "no decimal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recipes),
        cmocka_unit_test(test_recipe_cases_can_fail),
        cmocka_unit_test(test_options_for_all_fields),
        cmocka_unit_test(test_bad_fields),
        cmocka_unit_test(test_texts_are_escaped),
        cmocka_unit_test(test_packs),
        cmocka_unit_test(test_bad_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
