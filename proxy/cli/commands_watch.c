/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_watch.c - rules on live traffic: a candidate in the
 * shadow, and what the active ones did. */
#include "proxy/cli/cli_priv.h"
#include "proxy/cli/rules_priv.h"

/* --- shadow
 * ------------------------------------------------------------------- */

static void print_counts(const json_t *counts)
{
    const json_t *rules = json_object_get(counts, "rules");
    const json_t *samples = json_object_get(counts, "samples");
    json_int_t asked = cli_number_of(counts, "asked");
    struct buf since;

    if (!json_object_get(counts, "asked")) {
        puts("no server is running: nothing is asked");
        return;
    }
    buf_init(&since, 64);
    cli_format_time(&since, cli_text_of(counts, "since"), false);
    cli_print_grouped(cli_number_of(counts, "newlyDenied"));
    fputs(" of ", stdout);
    cli_print_grouped(asked);
    fputs(" requests would have been denied, ", stdout);
    cli_print_grouped(cli_number_of(counts, "newlyPermitted"));
    fputs(" permitted, ", stdout);
    cli_print_grouped(cli_number_of(counts, "boundOtherwise"));
    printf(" under other obligations; since %s\n", buf_cstr(&since));
    buf_fini(&since);
    for (size_t i = 0; i < json_array_size(rules); i++) {
        const json_t *one = json_array_get(rules, i);
        const char *rule = cli_text_of(one, "rule");
        fputs("  ", stdout);
        cli_print_safe(stdout, rule[0] ? rule : "(no rule permits it)");
        printf(": %lld newly denied, %lld newly permitted\n",
            (long long)cli_number_of(one, "newlyDenied"),
            (long long)cli_number_of(one, "newlyPermitted"));
    }
    for (size_t i = 0; i < json_array_size(samples) && i < 10; i++) {
        const json_t *one = json_array_get(samples, i);
        printf("  %s  %s -> %s\n", cli_text_of(one, "id"),
            cli_text_of(one, "before"), cli_text_of(one, "after"));
    }
    if (asked > 0)
        printf("  cost: %lld microseconds in all; %lld requests were passed "
               "over\n",
            (long long)cli_number_of(counts, "costMicroseconds"),
            (long long)cli_number_of(counts, "skipped"));
}

static int run_shadow(struct cli *cli)
{
    const char *verb = cli->args[0];
    bool start = strcmp(verb, "start") == 0;
    json_t *body = cli_body(cli, NULL), *answer = NULL;
    int result = 2;

    if (!body)
        return 2;
    if (start && cli->arg_count < 2) {
        json_decref(body);
        return cli_usage(cli, "which version?");
    }
    if (start && !cli_rules_meant(cli, cli->args[1], body, "version", false)) {
        json_decref(body);
        return 2;
    }
    if (start) {
        result =
            cli_call(cli, "POST", "/v1/policy-shadow", body, &answer, NULL);
    } else {
        json_decref(body);
        if (strcmp(verb, "status") == 0)
            result =
                cli_call(cli, "GET", "/v1/policy-shadow", NULL, &answer, NULL);
        else if (strcmp(verb, "stop") == 0)
            result = cli_call(
                cli, "DELETE", "/v1/policy-shadow", NULL, &answer, NULL);
        else
            return cli_usage(
                cli, "\"%s\" is none of start, status, stop", verb);
    }
    if (result)
        return result;
    if (cli->json) {
        cli_print_json(answer);
    } else if (start) {
        cli_print_done("policy version {version} is asked beside the active "
                       "one; `bailiff policy shadow status` tells what differs",
            answer);
    } else if (!json_object_get(answer, "version")) {
        puts("no version is asked in the shadow");
    } else {
        cli_print_done(
            "policy version {version} beside the active one:", answer);
        print_counts(json_object_get(answer, "counts"));
    }
    json_decref(answer);
    return 0;
}

/* --- stats
 * -------------------------------------------------------------------- */

static const struct cli_column rule_columns[] = {
    {"RULE", "id", CELL_TEXT},
    {"EFFECT", "effect", CELL_TEXT},
    {"IN FORCE", "inForce", CELL_DATE},
    {"DECIDED", "requests", CELL_COUNT},
    {"DENIED", "denied", CELL_COUNT},
    {"PEOPLE", "people", CELL_COUNT},
    {"TOKENS", "tokens", CELL_COUNT},
    {"MEAN MS", "meanMs", CELL_COUNT},
    {"LAST", "last", CELL_TIME},
};
static const struct cli_column side_columns[] = {
    {"ALL TRAFFIC", "side", CELL_TEXT},
    {"REQUESTS", "requests", CELL_COUNT},
    {"DENIED", "denied", CELL_COUNT},
    {"PEOPLE", "people", CELL_COUNT},
    {"TOKENS", "tokens", CELL_COUNT},
    {"MEAN MS", "meanMs", CELL_COUNT},
    {"FIRST", "first", CELL_TIME},
    {"LAST", "last", CELL_TIME},
};

static void add_ms(json_t *one)
{
    json_object_set_new(one, "meanMs",
        json_integer((cli_number_of(one, "meanMicroseconds") + 500) / 1000));
}

static void print_sides(json_t *answer)
{
    json_t *list = json_array();
    static const char *const sides[] = {"before", "after"};

    for (int i = 0; i < 2; i++) {
        json_t *one = json_object_get(answer, sides[i]);
        json_object_set_new(one, "side", json_string(sides[i]));
        add_ms(one);
        json_array_append(list, one);
    }
    putchar('\n');
    cli_print_table(list, side_columns, CLI_COUNT(side_columns), NULL);
    json_decref(list);
}

static int run_stats(struct cli *cli)
{
    json_t *query = cli_body(cli, NULL), *answer = NULL, *one;
    const json_t *never;
    size_t i;
    int result;

    if (!query)
        return 2;
    if (cli->arg_count > 0)
        json_object_set_new(
            query, "rule", json_stringn(cli->args[0], strlen(cli->args[0])));
    if (!cli_exact_times(cli, query)) {
        json_decref(query);
        return 2;
    }
    result = cli_call(cli, "GET",
        cli_with_query(cli, "/v1/policy-stats", query), NULL, &answer, NULL);
    json_decref(query);
    if (result)
        return result;
    if (cli->json) {
        cli_print_json(answer);
        json_decref(answer);
        return 0;
    }
    json_array_foreach(json_object_get(answer, "rules"), i, one)
    {
        add_ms(one);
    }
    cli_print_table(json_object_get(answer, "rules"), rule_columns,
        CLI_COUNT(rule_columns), "no rules are active");
    if (json_object_get(answer, "before"))
        print_sides(answer);
    never = json_object_get(answer, "never");
    if (cli->arg_count == 0 && json_array_size(never) > 0) {
        fputs("\nnever decided a request in this time:", stdout);
        for (i = 0; i < json_array_size(never); i++) {
            fputs(i ? ", " : " ", stdout);
            cli_print_safe(stdout, json_string_value(json_array_get(never, i)));
        }
        putchar('\n');
    }
    if (json_is_true(json_object_get(answer, "more")))
        puts("not all requests were counted: there are too many, or the index "
             "is being built");
    json_decref(answer);
    return 0;
}

static const struct cli_option shadow_options[] = {
    {"reason", "TEXT", CLI_TEXT, "reason", "goes on record"},
};
static const struct cli_option stats_options[] = {
    {"since", "TIME", CLI_TEXT, "since", "from then on: 30d (default), 24h"},
};

#define OPTIONS(table) table, CLI_COUNT(table)
static const struct cli_command commands[] = {
    {"policy", "shadow", "start VERSION | status | stop", 1, 2,
        "Ask a version about live traffic, beside the active one",
        "No answer depends on it. What it would have decided otherwise is "
        "counted per rule,\nin this run of the server; a worker spends at most "
        "20 microseconds a request on it.",
        OPTIONS(shadow_options), run_shadow, NULL, false, false},
    {"policy", "stats", "[RULE]", 0, 1,
        "How often each active rule decided, for whom; which never did",
        "With a RULE also the whole traffic before it came into force, and "
        "after. From the\nindex of the record; rules that only advise do not "
        "decide, and are not counted.",
        OPTIONS(stats_options), run_stats, NULL, false, false},
};
const struct cli_commands cli_watch_commands = {commands, CLI_COUNT(commands)};
