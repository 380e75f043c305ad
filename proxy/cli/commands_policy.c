/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_policy.c - rules: validate, format, describe, put,
 * activate, roll back, read, try. */
#include "proxy/cli/cli_priv.h"

#include "policy/cedar/batch.h"
#include "proxy/cli/policy_files.h"
#include "proxy/cli/rules_priv.h"

#include <stdlib.h>

#define RULES_MAX (2u << 20)

/* {"text": ..., "name": ...} of a file. NULL: said. */
json_t *cli_rules_body(const char *path)
{
    const char *slash = strrchr(path, '/');
    struct buf text;
    json_t *body = NULL, *value;

    buf_init(&text, RULES_MAX);
    if (cli_read_file(path, &text)) {
        value = json_stringn(buf_str(&text).ptr, text.len);
        if (!value)
            cli_say(1, "%s: the file is no UTF-8 text", path);
        else
            body = json_pack("{s:o,s:s}", "text", value, "name",
                strcmp(path, "-") == 0 ? "standard input"
                : slash                ? slash + 1
                                       : path);
    }
    buf_fini(&text);
    return body;
}

/* Commands that work on files and, where there is one, with a state. */
bool cli_has_state(struct cli *cli)
{
    const char *dir = getenv("BAILIFF_STATE");

    return (cli->dir && cli->dir[0]) || (dir && dir[0]) || cli_server(cli);
}

static int run_validate(struct cli *cli)
{
    json_t *body, *answer = NULL;
    const json_t *findings;
    bool valid;
    int result;

    if (cli_has(cli, "schema") || !cli_has_state(cli))
        return cli_policy_check_file(cli, cli->args[0]);
    body = cli_rules_body(cli->args[0]);
    if (!body)
        return 1;
    result =
        cli_call(cli, "POST", "/v1/policies/validate", body, &answer, NULL);
    if (result)
        return result;
    valid = json_is_true(json_object_get(answer, "valid"));
    findings = json_object_get(answer, "findings");
    if (cli->json) {
        cli_print_json(answer);
    } else if (valid) {
        printf("%zu rules, no findings\n",
            json_array_size(json_object_get(answer, "rules")));
    } else {
        for (size_t i = 0; i < json_array_size(findings); i++) {
            cli_print_safe(
                stderr, json_string_value(json_array_get(findings, i)));
            fputc('\n', stderr);
        }
    }
    json_decref(answer);
    return valid ? 0 : 1;
}

static int run_describe(struct cli *cli)
{
    json_t *answer = NULL;
    int result;

    if (cli->arg_count > 0)
        return cli_policy_describe(cli, STR(""));
    if (!cli_has_state(cli))
        return cli_usage(cli, "give a FILE, or -C DIR for the active rules");
    result = cli_call(cli, "GET", "/v1/policies/active", NULL, &answer, NULL);
    if (result)
        return result;
    result = cli_policy_describe(
        cli, str_from(json_string_value(json_object_get(answer, "shown"))));
    json_decref(answer);
    return result;
}

static int activate(struct cli *cli, json_int_t version, const char *reason)
{
    json_t *answer = NULL,
           *body = reason ? json_pack("{s:s}", "reason", reason) : NULL;
    int result = cli_call(cli, "POST",
        arena_printf(
            cli->arena, "/v1/policies/%lld/activate", (long long)version),
        body, &answer, NULL);

    if (result)
        return result;
    if (cli->json)
        cli_print_json(answer);
    else
        cli_print_done("policy version {version} is active", answer);
    json_decref(answer);
    return 0;
}

static int run_put(struct cli *cli)
{
    json_t *body = cli_rules_body(cli->args[0]), *answer = NULL;
    const char *note = cli_value(cli, "note");
    json_int_t version;
    int result;

    if (!body)
        return 1;
    if (note)
        json_object_set_new(body, "note", json_stringn(note, strlen(note)));
    if (!cli_rules_tests(
            cli, strcmp(cli->args[0], "-") == 0 ? NULL : cli->args[0], body)) {
        json_decref(body);
        return 1;
    }
    result = cli_call(cli, "POST", "/v1/policies", body, &answer, NULL);
    if (result)
        return result;
    version = json_integer_value(json_object_get(answer, "version"));
    if (cli->json && !cli_has(cli, "activate"))
        cli_print_json(answer);
    else if (!cli->json)
        cli_print_done("policy version {version} stored as a draft "
                       "(SHA-256 {hash})",
            answer);
    json_decref(answer);
    if (cli_has(cli, "activate"))
        return activate(cli, version, note);
    if (!cli->json)
        printf("`bailiff policy activate %lld` puts it in force; where "
               "approvals are required, `bailiff\npolicy submit %lld` asks for "
               "them first\n",
            (long long)version, (long long)version);
    return 0;
}

static int run_show(struct cli *cli)
{
    static const struct cli_column columns[] = {
        {"version", "version", CELL_TEXT},
        {"state", "state", CELL_TEXT},
        {"SHA-256", "hash", CELL_TEXT},
        {"author", "authorName", CELL_TEXT},
        {"created", "created", CELL_TIME},
        {"note", "note", CELL_TEXT},
        {"effect", "effect.sentence", CELL_TEXT},
    };
    static const struct cli_column act_columns[] = {
        {"WHEN", "time", CELL_TIME},
        {"ACT", "act", CELL_TEXT},
        {"BY", "actorName", CELL_TEXT},
        {"NOTE", "note", CELL_TEXT},
    };
    const char *version = cli->arg_count > 0 ? cli->args[0] : "active";
    json_t *answer = NULL;
    int result = cli_call(cli, "GET",
        arena_printf(cli->arena, "/v1/policies/%s", cli_encode(cli, version)),
        NULL, &answer, NULL);

    if (result)
        return result;
    if (cli->json) {
        cli_print_json(answer);
    } else if (cli_has(cli, "text")) {
        fputs(json_string_value(json_object_get(answer, "shown")), stdout);
    } else if (cli_has(cli, "plain")) {
        cli_print_record(answer, columns, CLI_COUNT(columns));
        putchar('\n');
        result = cli_policy_describe_text(
            cli, str_from(json_string_value(json_object_get(answer, "shown"))));
    } else {
        cli_print_record(answer, columns, CLI_COUNT(columns));
        putchar('\n');
        cli_print_table(json_object_get(answer, "acts"), act_columns,
            CLI_COUNT(act_columns), NULL);
        printf("\n%s", json_string_value(json_object_get(answer, "shown")));
    }
    json_decref(answer);
    return result;
}

/* --- try and can ----------------------------------------------------- */

static void print_rules(const char *what, const json_t *rules)
{
    for (size_t i = 0; i < json_array_size(rules); i++) {
        const json_t *rule = json_array_get(rules, i);
        printf("      %s ", what);
        cli_print_safe(stdout, json_string_value(json_object_get(rule, "id")));
        fputs(": ", stdout);
        cli_print_safe(
            stdout, json_string_value(json_object_get(rule, "title")));
        putchar('\n');
    }
}

static void print_obligations(const json_t *obligations)
{
    char *text = json_object_size(obligations) > 0
                     ? json_dumps(obligations, JSON_COMPACT)
                     : NULL;

    if (text)
        printf("      obligations %s\n", text);
    free(text);
}

static int print_decision(struct cli *cli, json_t *answer)
{
    bool allowed = json_is_true(json_object_get(answer, "allowed"));
    const json_t *candidates = json_object_get(answer, "candidates");
    const char *because = json_string_value(json_object_get(answer, "because"));

    if (cli->json) {
        cli_print_json(answer);
        json_decref(answer);
        return allowed ? 0 : 1;
    }
    cli_print_done(allowed ? "ALLOWED: {handle} may {action} with {model}"
                           : "DENIED: {handle} may not {action} with {model}",
        answer);
    if (because)
        printf("  %s\n", because);
    for (size_t i = 0; i < json_array_size(candidates); i++) {
        const json_t *c = json_array_get(candidates, i);
        const char *message = json_string_value(json_object_get(c, "message"));
        cli_print_done("  engine {engine}: {reason}", c);
        print_rules("rule", json_object_get(c, "rules"));
        print_rules("failed rule", json_object_get(c, "errors"));
        print_rules("advice", json_object_get(c, "advice"));
        print_obligations(json_object_get(c, "obligations"));
        if (message && message[0]) {
            fputs("      message: ", stdout);
            cli_print_safe(stdout, message);
            putchar('\n');
        }
    }
    if (json_object_get(answer, "policyVersion"))
        cli_print_done("  policy version {policyVersion}", answer);
    json_decref(answer);
    return allowed ? 0 : 1;
}

static int ask(struct cli *cli, json_t *body)
{
    json_t *answer = NULL;
    int result = cli_call(cli, "POST", "/v1/policies/try", body, &answer, NULL);

    return result ? result : print_decision(cli, answer);
}

static int run_can(struct cli *cli)
{
    static const char *const fields[] = {"caller", "action", "model"};
    json_t *body = cli_body(cli, fields);

    return body ? ask(cli, body) : 2;
}

static int run_try(struct cli *cli)
{
    json_t *body = cli_body(cli, NULL), *rules;
    const char *file = cli_value(cli, "file");

    if (!body)
        return 2;
    if (!json_object_get(body, "caller") || !json_object_get(body, "model")) {
        json_decref(body);
        return cli_usage(cli, "--caller and --model are needed");
    }
    if (file) {
        rules = cli_rules_body(file);
        if (!rules) {
            json_decref(body);
            return 1;
        }
        json_object_update(body, rules);
        json_decref(rules);
    }
    return ask(cli, body);
}

/* --- Others ---------------------------------------------------------- */

static int run_batch(struct cli *cli)
{
    (void)cli;
    return cedar_batch_run(stdin, stdout);
}

/* Without its approvals, until a time. */
static int activate_in_emergency(struct cli *cli, int64_t version)
{
    json_t *answer = NULL, *body = cli_body(cli, NULL);
    int result;

    if (!body)
        return 2;
    if (!cli_value(cli, "reason") || !cli_value(cli, "expires")) {
        json_decref(body);
        return cli_usage(
            cli, "--emergency needs --reason TEXT and --expires WHEN (4h)");
    }
    result = cli_call(cli, "POST",
        arena_printf(
            cli->arena, "/v1/policies/%lld/emergency", (long long)version),
        body, &answer, NULL);
    if (result)
        return result;
    if (cli->json)
        cli_print_json(answer);
    else
        cli_print_done("EMERGENCY {id}: policy version {version} is in force "
                       "until {expires}, then version {previous} again",
            answer);
    json_decref(answer);
    return 0;
}

static int run_activate(struct cli *cli)
{
    int64_t version;

    if (str_to_i64(str_from(cli->args[0]), &version) != ERR_OK || version < 1)
        return cli_usage(cli, "\"%s\" is no policy version", cli->args[0]);
    if (cli_has(cli, "emergency"))
        return activate_in_emergency(cli, version);
    if (cli_has(cli, "expires"))
        return cli_usage(cli, "--expires goes with --emergency");
    return activate(cli, version, cli_value(cli, "reason"));
}

static int run_require_approvals(struct cli *cli)
{
    json_t *answer = NULL, *body = cli_body(cli, NULL);
    int result;

    if (!body)
        return 2;
    json_object_set_new(
        body, "value", json_stringn(cli->args[0], strlen(cli->args[0])));
    result = cli_call(
        cli, "PUT", "/v1/settings/require_approvals", body, &answer, NULL);
    if (result)
        return result;
    if (cli->json)
        cli_print_json(answer);
    else
        cli_print_done("{value} approvals are required from now on", answer);
    json_decref(answer);
    return 0;
}

static const struct cli_column list_columns[] = {
    {"VERSION", "version", CELL_COUNT},
    {"STATE", "state", CELL_TEXT},
    {"AUTHOR", "authorName", CELL_TEXT},
    {"CREATED", "created", CELL_TIME},
    {"NOTE", "note", CELL_TEXT},
};
static const struct cli_option validate_options[] = {
    {"schema", "FILE", CLI_TEXT, NULL,
        "any Cedar policies against this schema, instead of Bailiff's rules"},
};
static const struct cli_option format_options[] = {
    {"check", NULL, CLI_FLAG, NULL, "only tell what is not formatted"},
    {"write", NULL, CLI_FLAG, NULL, "rewrite the files"},
};
static const struct cli_option describe_options[] = {
    {"language", "LANGUAGE", CLI_TEXT, NULL, "en (default) or zh"},
    {"plain", NULL, CLI_FLAG, NULL, "names as they stand, for other schemas"},
};
static const struct cli_option authorize_options[] = {
    {"principal", "REF", CLI_TEXT, NULL, "Caller::\"c\""},
    {"action", "REF", CLI_TEXT, NULL, "Action::\"chat\""},
    {"resource", "REF", CLI_TEXT, NULL, "Model::\"m\""},
    {"context", "FILE", CLI_TEXT, NULL, "JSON object; \"-\": standard input"},
    {"entities", "FILE", CLI_TEXT, NULL, "Cedar's JSON entities"},
    {"schema", "FILE", CLI_TEXT, NULL,
        "request and entities have to conform to it"},
    {"language", "LANGUAGE", CLI_TEXT, NULL, "en (default) or zh"},
    {"plain", NULL, CLI_FLAG, NULL, "names as they stand, for other schemas"},
};
static const struct cli_option note_options[] = {
    {"note", "TEXT", CLI_TEXT, NULL, "kept with the version"},
    {"tests", "FILE", CLI_TEXT, NULL,
        "its test cases (else those beside FILE, or of the active rules)"},
    {"no-tests", NULL, CLI_FLAG, NULL, "without test cases"},
    {"activate", NULL, CLI_FLAG, NULL, "and put it in force"},
};
static const struct cli_option reason_options[] = {
    {"reason", "TEXT", CLI_TEXT, "reason", "goes on record"},
};
static const struct cli_option activate_options[] = {
    {"reason", "TEXT", CLI_TEXT, "reason", "goes on record"},
    {"emergency", NULL, CLI_FLAG, NULL,
        "without approvals, until --expires; a review stays open"},
    {"expires", "WHEN", CLI_TEXT, "expires",
        "4h, at most 7d: then the version before is back"},
};
static const struct cli_option rollback_options[] = {
    {"to", "VERSION", CLI_NUMBER, "version",
        "this one instead of the one before"},
    {"reason", "TEXT", CLI_TEXT, "reason", "goes on record"},
};
static const struct cli_option show_options[] = {
    {"text", NULL, CLI_FLAG, NULL, "the rules alone"},
    {"plain", NULL, CLI_FLAG, NULL, "what each rule does, as a sentence"},
};
static const struct cli_option try_options[] = {
    {"caller", "HANDLE", CLI_TEXT, "caller", "who"},
    {"model", "MODEL", CLI_TEXT, "model", "with what"},
    {"action", "ACTION", CLI_TEXT, "action", "chat (default), complete ..."},
    {"file", "FILE", CLI_TEXT, NULL, "ask these rules, not the active ones"},
    {"version", "N", CLI_NUMBER, "version", "ask this version's rules"},
    {"at", "TIME", CLI_TEXT, "at", "as if it were then"},
    {"address", "IP", CLI_TEXT, "address", "as if from there"},
    {"stream", NULL, CLI_FLAG, "stream", "a streamed answer"},
    {"input-tokens", "N", CLI_NUMBER, "inputTokens", "upper bound of input"},
    {"max-tokens", "N", CLI_NUMBER, "maxTokens", "the caller's cap"},
    {"tool", "NAME", CLI_LIST, "tools", "a tool offered (repeatable)"},
    {"images", "N", CLI_NUMBER, "images", "images in the input"},
};
static const struct cli_rest policy_list = {.method = "GET",
    .path = "/v1/policies",
    .columns = list_columns,
    .column_count = CLI_COUNT(list_columns),
    .empty = "no policy versions; `bailiff policy put FILE` stores one"};
static const struct cli_rest policy_submit = {.method = "POST",
    .path = "/v1/policies/{0}/submit",
    .done = "policy version {version} is {state}"};
static const struct cli_rest policy_approve = {.method = "POST",
    .path = "/v1/policies/{0}/approve",
    .done = "policy version {version} is {state}"};
static const struct cli_rest policy_rollback = {.method = "POST",
    .path = "/v1/policies/rollback",
    .done = "policy version {version} is active again"};

#define OPTIONS(table) table, CLI_COUNT(table)
static const struct cli_command commands[] = {
    {"policy", "validate", "FILE", 1, 1,
        "Check rules without storing them; \"-\" is standard input",
        "With a state directory what the rules name is looked up too.",
        OPTIONS(validate_options), run_validate, NULL, false, true},
    {"policy", "format", "FILE...", 1, 16,
        "Lay policies out; \"-\" is standard input", NULL,
        OPTIONS(format_options), cli_policy_format, NULL, false, true},
    {"policy", "describe", "[FILE]", 0, 1,
        "What each rule does, as a sentence; of the active rules if no FILE",
        "The sentence is made from the rule alone: comments, titles and "
        "messages\nhave no part in it. A FILE may hold Cedar's JSON policy "
        "set, "
        "too.",
        OPTIONS(describe_options), run_describe, NULL, false, true},
    {"policy", "authorize", "FILE", 1, 1,
        "Cedar's decision about one request, from files alone",
        "Says of each policy why it applied or did not. Exit code 0: allow, "
        "1: deny,\n2: the request could not be decided. What Bailiff adds to "
        "Cedar (names that must\nexist, obligations, budgets): `bailiff policy "
        "try`.",
        OPTIONS(authorize_options), cli_policy_authorize, NULL, false, true},
    {"policy", "put", "FILE", 1, 1, "Store rules as a new version", NULL,
        OPTIONS(note_options), run_put, NULL, false, false},
    {"policy", "submit", "VERSION", 1, 1, "Ask for approval of a draft", NULL,
        OPTIONS(reason_options), NULL, &policy_submit, false, false},
    {"policy", "approve", "VERSION", 1, 1, "Approve what someone else wrote",
        NULL, OPTIONS(reason_options), NULL, &policy_approve, false, false},
    {"policy", "activate", "VERSION", 1, 1, "Put a version in force", NULL,
        OPTIONS(activate_options), run_activate, NULL, false, false},
    {"policy", "rollback", "", 0, 0,
        "Put the version in force that was so before", NULL,
        OPTIONS(rollback_options), NULL, &policy_rollback, false, false},
    {"policy", "list", "", 0, 0, "The versions", NULL, NULL, 0, NULL,
        &policy_list, false, false},
    {"policy", "show", "[VERSION]", 0, 1, "One version, the active one if none",
        NULL, OPTIONS(show_options), run_show, NULL, false, false},
    {"policy", "try", "", 0, 0, "Decide a request without making it", NULL,
        OPTIONS(try_options), run_try, NULL, false, false},
    {"policy", "batch", "", 0, 0,
        "Cedar requests from standard input, a JSON object a line", NULL, NULL,
        0, run_batch, NULL, false, true},
    {"policy", "require-approvals", "N", 1, 1,
        "How many others must approve a version", NULL, OPTIONS(reason_options),
        run_require_approvals, NULL, false, false},
    {"can", NULL, "CALLER ACTION MODEL", 3, 3,
        "May this caller do this? Exit code 0: yes, 1: no",
        "ACTION is chat, complete, embed, listModels ...", NULL, 0, run_can,
        NULL, false, false},
};
const struct cli_commands cli_policy_commands = {commands, CLI_COUNT(commands)};
