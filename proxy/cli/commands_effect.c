/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_effect.c - what rules would do before they do it: diff
 * and replay. */
#include "proxy/cli/cli_priv.h"
#include "proxy/cli/rules_priv.h"

/* --- Which rules ------------------------------------------------------------
 */

bool cli_rules_meant(struct cli *cli, const char *what, json_t *body,
    const char *version_field, bool file_too)
{
    int64_t version;
    json_t *rules;

    if (strcmp(what, "active") == 0)
        return true;
    if (str_to_i64(str_from(what), &version) == ERR_OK && version > 0) {
        json_object_set_new(body, version_field, json_integer(version));
        return true;
    }
    if (!file_too) {
        cli_usage(cli, "\"%s\" is no policy version", what);
        return false;
    }
    rules = cli_rules_body(what);
    if (!rules)
        return false;
    json_object_update(body, rules);
    json_decref(rules);
    return true;
}

/* --- diff -------------------------------------------------------------------
 */

const char *cli_text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

json_int_t cli_number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void say_line(const char *before, const char *text)
{
    fputs(before, stdout);
    cli_print_safe(stdout, text);
    putchar('\n');
}

static void print_list(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (i > 0)
            fputs(", ", stdout);
        cli_print_safe(stdout, json_string_value(json_array_get(list, i)));
    }
}

static void print_rules_of(const json_t *rules, const char *sign)
{
    for (size_t i = 0; i < json_array_size(rules); i++) {
        const json_t *rule = json_array_get(rules, i);
        printf("%s ", sign);
        cli_print_safe(stdout, cli_text_of(rule, "id"));
        if (json_object_get(rule, "differs")) {
            fputs("  (", stdout);
            print_list(json_object_get(rule, "differs"));
            putchar(')');
        }
        putchar('\n');
        if (!json_object_get(rule, "sentenceBefore")) {
            say_line("    ", cli_text_of(rule, "sentence"));
            continue;
        }
        if (strcmp(cli_text_of(rule, "titleBefore"),
                cli_text_of(rule, "title")) != 0) {
            say_line("    title was: ", cli_text_of(rule, "titleBefore"));
            say_line("    title is:  ", cli_text_of(rule, "title"));
        }
        if (strcmp(cli_text_of(rule, "sentenceBefore"),
                cli_text_of(rule, "sentence")) != 0) {
            say_line("    was: ", cli_text_of(rule, "sentenceBefore"));
            say_line("    is:  ", cli_text_of(rule, "sentence"));
        }
    }
}

static void print_access(const json_t *list, const char *words)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        const json_t *callers = json_object_get(one, "callers");
        json_int_t people = cli_number_of(one, "people");
        fputs("  ", stdout);
        cli_print_safe(stdout, cli_text_of(one, "model"));
        printf(" %s %lld %s (", words, (long long)people,
            people == 1 ? "caller" : "callers");
        print_list(json_object_get(one, "actions"));
        fputs("): ", stdout);
        print_list(callers);
        if ((json_int_t)json_array_size(callers) < people)
            printf(" and %lld more",
                (long long)people - (long long)json_array_size(callers));
        putchar('\n');
    }
}

static void print_access_all(const json_t *access)
{
    const json_t *gained = json_object_get(access, "gained");
    const json_t *lost = json_object_get(access, "lost");

    if (json_array_size(gained) + json_array_size(lost) == 0) {
        printf("asked as a plain request now, nothing changes for any of %lld "
               "callers with any of %lld models\n",
            (long long)cli_number_of(access, "callers"),
            (long long)cli_number_of(access, "models"));
    } else {
        puts("asked as a plain request now:");
        print_access(gained, "is newly open to");
        print_access(lost, "is newly closed to");
    }
    if (json_is_true(json_object_get(access, "cut")))
        puts("not all callers were asked: there are too many different ones");
}

static int run_diff(struct cli *cli)
{
    json_t *answer = NULL, *body = cli_body(cli, NULL);
    const json_t *rules;
    bool two = cli->arg_count > 1;
    int result;

    if (!body)
        return 2;
    if (!cli_rules_meant(
            cli, two ? cli->args[0] : "active", body, "from", false) ||
        !cli_rules_meant(cli, cli->args[two ? 1 : 0], body, "to", true)) {
        json_decref(body);
        return 2;
    }
    result = cli_call(cli, "POST", "/v1/policies/diff", body, &answer, NULL);
    if (result)
        return result;
    if (cli->json) {
        cli_print_json(answer);
    } else {
        rules = json_object_get(answer, "rules");
        print_rules_of(json_object_get(rules, "added"), "+");
        print_rules_of(json_object_get(rules, "removed"), "-");
        print_rules_of(json_object_get(rules, "changed"), "~");
        printf("%lld rules are the same\n",
            (long long)cli_number_of(rules, "same"));
        print_access_all(json_object_get(answer, "access"));
    }
    json_decref(answer);
    return 0;
}

/* --- replay -----------------------------------------------------------------
 */

void cli_print_grouped(json_int_t value)
{
    char digits[32], out[48];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)value);
    int at = 0;

    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    fputs(out, stdout);
}

static void say_count(json_int_t count, const char *words)
{
    if (count == 0)
        return;
    fputs("  ", stdout);
    cli_print_grouped(count);
    printf(" %s\n", words);
}

static void print_touched(const json_t *list, const char *key, const char *head)
{
    size_t count = json_array_size(list), shown = count < 10 ? count : 10;

    if (count > 0)
        printf("%s\n", head);
    for (size_t i = 0; i < shown; i++) {
        const json_t *one = json_array_get(list, i);
        const char *name = cli_text_of(one, "handle");
        name = name[0] ? name : cli_text_of(one, key);
        fputs("  ", stdout);
        cli_print_safe(stdout, name[0] ? name : "(no rule permits it)");
        fputs(": ", stdout);
        cli_print_grouped(cli_number_of(one, "newlyDenied"));
        fputs(" newly denied, ", stdout);
        cli_print_grouped(cli_number_of(one, "newlyPermitted"));
        puts(" newly permitted");
    }
    if (shown < count)
        printf("  and %zu more\n", count - shown);
}

static void print_samples(const json_t *samples)
{
    if (json_array_size(samples) > 0)
        puts("such as (`bailiff audit show ID` tells all of one):");
    for (size_t i = 0; i < json_array_size(samples); i++) {
        const json_t *one = json_array_get(samples, i);
        const char *handle = cli_text_of(one, "handle");
        struct buf time;
        buf_init(&time, 64);
        cli_format_time(&time, cli_text_of(one, "time"), false);
        printf("  %s  %s  ", cli_text_of(one, "id"), buf_cstr(&time));
        buf_fini(&time);
        cli_print_safe(stdout, handle[0] ? handle : cli_text_of(one, "caller"));
        fputs("  ", stdout);
        cli_print_safe(stdout, cli_text_of(one, "model"));
        printf("  %s -> %s  ", cli_text_of(one, "before"),
            cli_text_of(one, "after"));
        print_list(json_object_get(one, "rules"));
        putchar('\n');
    }
}

void cli_print_replay(const json_t *answer)
{
    const json_t *left = json_object_get(answer, "notReplayed");
    json_int_t denied = cli_number_of(answer, "newlyDenied");
    json_int_t permitted = cli_number_of(answer, "newlyPermitted");

    cli_print_grouped(denied);
    fputs(" of ", stdout);
    cli_print_grouped(cli_number_of(answer, "replayed"));
    fputs(" recorded requests would now be denied, ", stdout);
    cli_print_grouped(permitted);
    puts(" would now be permitted");
    say_count(cli_number_of(answer, "boundOtherwise"),
        "stay permitted under other obligations");
    say_count(cli_number_of(answer, "otherEngines"),
        "stay permitted on other engines");
    print_touched(json_object_get(answer, "rules"), "rule", "by rule:");
    print_touched(json_object_get(answer, "models"), "model", "by model:");
    print_touched(json_object_get(answer, "callers"), "caller", "by caller:");
    print_samples(json_object_get(answer, "samples"));
    say_count(cli_number_of(left, "beforeRules"),
        "others were not asked again: refused before the rules were asked, or "
        "lists of models");
    say_count(cli_number_of(left, "sealedAddress"),
        "others were not asked again: a rule asks for the caller's address, "
        "which is sealed (--addresses, for admin and auditor)");
    say_count(cli_number_of(left, "unreadable"),
        "others were not asked again: what is on record of them is not what "
        "this Bailiff's rules know");
    say_count(cli_number_of(answer, "drifted"),
        "came out otherwise at the time than under the rules, teams and "
        "models of now");
    if (json_is_true(json_object_get(answer, "cut")))
        puts("  there are more; --requests raises the number");
}

static int run_replay(struct cli *cli)
{
    const char *draft = cli_value(cli, "draft");
    json_t *answer = NULL, *body = cli_body(cli, NULL);
    int result;

    if (!body)
        return 2;
    if (draft && !cli_rules_meant(cli, draft, body, "version", true)) {
        json_decref(body);
        return 1;
    }
    if (!cli_exact_times(cli, body)) {
        json_decref(body);
        return 2;
    }
    result = cli_call(cli, "POST", "/v1/policies/replay", body, &answer, NULL);
    if (result)
        return result;
    if (cli->json)
        cli_print_json(answer);
    else
        cli_print_replay(answer);
    json_decref(answer);
    return 0;
}

static const struct cli_option diff_options[] = {
    {"language", "LANGUAGE", CLI_TEXT, "language", "en (default) or zh"},
    {"at", "TIME", CLI_TEXT, "at", "ask as if it were then"},
    {"address", "IP", CLI_TEXT, "address", "ask as if from there (127.0.0.1)"},
};
static const struct cli_option replay_options[] = {
    {"draft", "FILE|VERSION", CLI_TEXT, NULL, "the rules to try"},
    {"against", "VERSION", CLI_NUMBER, "against",
        "compare with this version instead of the active one"},
    {"since", "TIME", CLI_TEXT, "since", "from then on: 7d (default), 24h"},
    {"until", "TIME", CLI_TEXT, "until", "before then"},
    {"caller", "HANDLE", CLI_TEXT, "caller", "only of this caller"},
    {"model", "MODEL", CLI_TEXT, "model", "only with this model"},
    {"requests", "N", CLI_NUMBER, "requests", "at most so many (2M)"},
    {"samples", "N", CLI_NUMBER, "samples", "of each kind (10)"},
    {"addresses", NULL, CLI_FLAG, "addresses",
        "open the sealed addresses for rules that ask for them"},
};

#define OPTIONS(table) table, CLI_COUNT(table)
static const struct cli_command commands[] = {
    {"policy", "diff", "[FROM] TO", 1, 2,
        "What other rules say and change: rule by rule, and who may do what",
        "FROM is a version (else the active rules), TO a version, \"active\" "
        "or a FILE.\nRules are compared by their @id and by what they mean, "
        "not by layout or comments.\nThen every caller is asked about every "
        "model as a plain request; what depends on\nmore than that (tokens, "
        "tools, hours): `bailiff policy replay`.",
        OPTIONS(diff_options), run_diff, NULL, false, false},
    {"policy", "replay", "", 0, 0,
        "Decide recorded requests again, under a draft",
        "Each request on record since then is asked again with its context as "
        "it was, under\nthe active rules and under the draft; callers, teams "
        "and models are those of now.",
        OPTIONS(replay_options), run_replay, NULL, false, false},
};
const struct cli_commands cli_effect_commands = {commands, CLI_COUNT(commands)};
