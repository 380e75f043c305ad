/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_rules.c - test cases beside rules, and why a request was
 * decided as it was. */
#include "policy/decide.h"
#include "proxy/cli/cli_priv.h"
#include "proxy/cli/rules_priv.h"
#include "proxy/rules/cases.h"

#include <stdlib.h>
#include <unistd.h>

/* --- Files of cases ---------------------------------------------------------
 */

/* rules.cedar -> rules.tests.json, where that is there. NULL: it is not. */
static const char *tests_beside(struct cli *cli, const char *path)
{
    struct str stem = str_from(path);
    const char *beside;

    if (str_ends(stem, STR(".cedar")))
        stem.len -= 6;
    beside = arena_printf(cli->arena, "%.*s.tests.json", STR_ARG(stem));
    return beside && access(beside, R_OK) == 0 ? beside : NULL;
}

static bool add_text(
    const char *path, json_t *body, const char *text_field, const char *name)
{
    struct buf text;
    json_t *value = NULL;

    buf_init(&text, CASES_BYTES_MAX + 1);
    if (cli_read_file(path, &text)) {
        value = json_stringn(buf_str(&text).ptr, text.len);
        if (!value)
            cli_say(1, "%s: the file is no UTF-8 text", path);
    }
    buf_fini(&text);
    if (!value)
        return false;
    json_object_set_new(body, text_field, value);
    if (name)
        json_object_set_new(body, name, json_string(path));
    return true;
}

bool cli_rules_tests(struct cli *cli, const char *rules, json_t *body)
{
    const char *path = cli_value(cli, "tests");

    if (cli_has(cli, "no-tests")) {
        json_object_set_new(body, "tests", json_string("{\"cases\":[]}"));
        return true;
    }
    if (!path && rules)
        path = tests_beside(cli, rules);
    return !path || add_text(path, body, "tests", NULL);
}

/* --- test
 * --------------------------------------------------------------------- */

static int print_cases(struct cli *cli, const json_t *answer)
{
    const json_t *cases = json_object_get(answer, "cases");
    json_int_t failed = json_integer_value(json_object_get(answer, "failed"));

    if (cli->json) {
        cli_print_json(answer);
        return failed > 0;
    }
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        const char *why = json_string_value(json_object_get(one, "why"));
        bool passed = json_is_true(json_object_get(one, "passed"));
        fputs(passed ? "ok      " : "FAILED  ", stdout);
        cli_print_safe(stdout, json_string_value(json_object_get(one, "name")));
        if (why) {
            fputs(": ", stdout);
            cli_print_safe(stdout, why);
            printf(" (%s", json_string_value(json_object_get(one, "got")));
            for (size_t k = 0;
                 k < json_array_size(json_object_get(one, "rules")); k++) {
                fputs(k ? ", " : " by ", stdout);
                cli_print_safe(stdout, json_string_value(json_array_get(
                                           json_object_get(one, "rules"), k)));
            }
            putchar(')');
        }
        putchar('\n');
    }
    printf("%lld passed, %lld failed\n",
        (long long)json_integer_value(json_object_get(answer, "passed")),
        (long long)failed);
    return failed > 0;
}

/* Without a state: the cases have to bring their world. */
static int test_files(struct cli *cli, const json_t *body)
{
    const char *tests = json_string_value(json_object_get(body, "tests"));
    const char *text = json_string_value(json_object_get(body, "text"));
    const char *name = json_string_value(json_object_get(body, "name"));
    struct policy_set *set = NULL;
    json_t *document = NULL, *results = NULL, *answer;
    struct errinfo info = {.text = "out of memory"};
    struct buf findings;
    int result = 1;
    enum err err;

    if (!tests || !text)
        return cli_usage(cli, "give a FILE and its cases (--tests), or -C DIR");
    buf_init(&findings, 4 << 20);
    err = policy_set_compile(str_from(text), name, &set, &findings, &info);
    if (!err)
        err = cases_parse(str_from(tests),
            json_string_value(json_object_get(body, "testsName")), &document,
            &info);
    if (!err)
        err = cases_run(document, set, NULL, &results, &info);
    if (err) {
        cli_say(1, "%s", info.text);
    } else {
        size_t failed = cases_failed(results);
        answer = json_pack("{s:I,s:I,s:O}", "passed",
            (json_int_t)(json_array_size(results) - failed), "failed",
            (json_int_t)failed, "cases", results);
        result = print_cases(cli, answer);
        json_decref(answer);
    }
    json_decref(results);
    json_decref(document);
    policy_set_free(&set);
    buf_fini(&findings);
    return result;
}

static int run_test(struct cli *cli)
{
    const char *what = cli->arg_count > 0 ? cli->args[0] : "active";
    const char *tests = cli_value(cli, "tests");
    json_t *body = json_object(), *answer = NULL;
    int result;

    if (!cli_rules_meant(cli, what, body, "version", true))
        goto said;
    if (!tests && json_object_get(body, "text"))
        tests = tests_beside(cli, what);
    if (tests && !add_text(tests, body, "tests", "testsName"))
        goto said;
    if (!cli_has_state(cli)) {
        result = test_files(cli, body);
        json_decref(body);
        return result;
    }
    result = cli_call(cli, "POST", "/v1/policies/test", body, &answer, NULL);
    if (result)
        return result;
    result = print_cases(cli, answer);
    json_decref(answer);
    return result;
said:
    json_decref(body);
    return 1;
}

/* --- explain
 * -------------------------------------------------------------------- */

static void print_rule(const json_t *rule)
{
    fputs("  ", stdout);
    cli_print_safe(stdout, cli_text_of(rule, "id"));
    printf(" (%s%s%s) ", cli_text_of(rule, "effect"),
        json_is_true(json_object_get(rule, "advice")) ? ", only advises" : "",
        json_is_true(json_object_get(rule, "expired")) ? ", expired" : "");
    cli_print_safe(stdout, cli_text_of(rule, "why"));
    putchar('\n');
}

/* Those whose answer is `first` or `second`. */
static size_t print_rules(const json_t *rules, const char *head,
    const char *first, const char *second)
{
    size_t count = 0;

    for (size_t i = 0; i < json_array_size(rules); i++) {
        const json_t *rule = json_array_get(rules, i);
        const char *outcome = cli_text_of(rule, "outcome");
        if (strcmp(outcome, first) != 0 && strcmp(outcome, second) != 0)
            continue;
        if (count++ == 0)
            puts(head);
        print_rule(rule);
    }
    return count;
}

static void print_obligations(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        char *value =
            json_dumps(json_object_get(one, "value"), JSON_ENCODE_ANY);
        printf("  obligation %s %s from ", cli_text_of(one, "obligation"),
            value ? value : "");
        cli_print_safe(stdout, cli_text_of(one, "rule"));
        puts(json_is_true(json_object_get(one, "binds"))
                 ? ""
                 : ", which a stricter one overrides");
        free(value);
    }
}

static void print_explanation(struct cli *cli, const json_t *x)
{
    const json_t *rules = json_object_get(x, "rules");
    size_t others = json_array_size(rules);

    others -= print_rules(rules, "these rules apply:", "applies", "applies");
    print_obligations(json_object_get(x, "obligations"));
    others -= print_rules(rules,
        "these rules are about such requests, and nearly applied:", "condition",
        "failed");
    if (cli_has(cli, "all")) {
        print_rules(
            rules, "these are about other callers:", "principal", "principal");
        print_rules(
            rules, "these are about other actions:", "action", "action");
        print_rules(
            rules, "these are about other models:", "resource", "resource");
    } else if (others > 0) {
        printf("%zu other rules are about other callers, actions or models "
               "(--all)\n",
            others);
    }
}

static int explain_record(struct cli *cli)
{
    json_t *body = cli_body(cli, NULL), *answer = NULL;
    const char *stage;
    int result;

    if (!body)
        return 2;
    json_object_set_new(
        body, "record", json_stringn(cli->args[0], strlen(cli->args[0])));
    result = cli_call(cli, "POST", "/v1/policies/explain", body, &answer, NULL);
    if (result)
        return result;
    if (cli->json) {
        cli_print_json(answer);
        json_decref(answer);
        return 0;
    }
    stage = cli_text_of(answer, "stage");
    cli_print_done(json_is_true(json_object_get(answer, "recorded"))
                       ? "{handle} asked to {action} with {model}: permitted "
                         "by the rules of version {policyVersion}"
                       : "{handle} asked to {action} with {model}: denied by "
                         "the rules of version {policyVersion}",
        answer);
    if (stage[0] && strcmp(stage, "decide") != 0)
        cli_print_done(
            "  and refused after that, at the stage {stage}: {code}", answer);
    if (!stage[0] && !json_is_true(json_object_get(answer, "recorded")))
        puts("  and let through all the same: an emergency had been declared");
    print_explanation(cli, answer);
    if (json_object_get(answer, "permitted") !=
        json_object_get(answer, "recorded"))
        puts("teams or models have changed since: asked now, those rules say "
             "otherwise");
    json_decref(answer);
    return 0;
}

static int run_explain(struct cli *cli)
{
    json_t *body, *answer = NULL;
    const json_t *explanation;
    int result;

    if (cli->arg_count > 0)
        return explain_record(cli);
    body = cli_body(cli, NULL);
    if (!body)
        return 2;
    if (!json_object_get(body, "caller") || !json_object_get(body, "model")) {
        json_decref(body);
        return cli_usage(cli, "give the ID of a request on record, or --caller "
                              "and --model");
    }
    json_object_set_new(body, "explain", json_true());
    result = cli_call(cli, "POST", "/v1/policies/try", body, &answer, NULL);
    if (result)
        return result;
    explanation = json_object_get(answer, "explanation");
    if (cli->json) {
        cli_print_json(answer);
    } else {
        cli_print_done(json_is_true(json_object_get(answer, "allowed"))
                           ? "ALLOWED: {handle} may {action} with {model}"
                           : "DENIED: {handle} may not {action} with {model}",
            answer);
        if (json_object_get(answer, "because"))
            cli_print_done("  {because}", answer);
        print_explanation(cli, explanation);
    }
    result = !json_is_true(json_object_get(answer, "allowed"));
    json_decref(answer);
    return result;
}

static const struct cli_option test_options[] = {
    {"tests", "FILE", CLI_TEXT, NULL,
        "the cases (else those beside FILE, or stored with the version)"},
};
static const struct cli_option explain_options[] = {
    {"caller", "HANDLE", CLI_TEXT, "caller", "who"},
    {"model", "MODEL", CLI_TEXT, "model", "with what"},
    {"action", "ACTION", CLI_TEXT, "action", "chat (default), complete ..."},
    {"version", "N", CLI_NUMBER, "version", "ask this version's rules"},
    {"at", "TIME", CLI_TEXT, "at", "as if it were then"},
    {"address", "IP", CLI_TEXT, "address", "as if from there"},
    {"stream", NULL, CLI_FLAG, "stream", "a streamed answer"},
    {"input-tokens", "N", CLI_NUMBER, "inputTokens", "upper bound of input"},
    {"max-tokens", "N", CLI_NUMBER, "maxTokens", "the caller's cap"},
    {"tool", "NAME", CLI_LIST, "tools", "a tool offered (repeatable)"},
    {"images", "N", CLI_NUMBER, "images", "images in the input"},
    {"language", "LANGUAGE", CLI_TEXT, "language", "en (default) or zh"},
    {"all", NULL, CLI_FLAG, NULL, "rules about others, too"},
};

#define OPTIONS(table) table, CLI_COUNT(table)
static const struct cli_command commands[] = {
    {"policy", "test", "[FILE|VERSION]", 0, 1,
        "Ask rules about their test cases; exit code 0: all hold",
        "The cases of rules.cedar are in rules.tests.json: who asks what, and "
        "what has to\nbe decided by which rules (docs/rules.md). Without a "
        "state directory they have to\nsay who and what there is, their world.",
        OPTIONS(test_options), run_test, NULL, false, true},
    {"policy", "explain", "[ID]", 0, 1,
        "Why a request was, or would be, decided so: rule by rule",
        "ID is a request on record: by the rules of its time. Or --caller and "
        "--model: by\nthe rules in force. Of rules that nearly applied the "
        "condition that failed is\nshown with its values, and of each "
        "obligation the rule that it comes from.",
        OPTIONS(explain_options), run_explain, NULL, false, false},
};
const struct cli_commands cli_rules_commands = {commands, CLI_COUNT(commands)};
