/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_prune.c - `audit prune`: the log's oldest entries go for
 * good; and, with --dry-run, how far they could. */
#include "proxy/cli/cli_priv.h"

#include <stdlib.h>

const struct cli_option cli_prune_options[5] = {
    {"before", "TIME", CLI_TEXT, "before",
        "entries before this time: 2026-05-01, or 400d back"},
    {"to", "ENTRY", CLI_NUMBER, "to", "entries before this one"},
    {"dry-run", NULL, CLI_FLAG, NULL,
        "only say what would go, and why not more"},
    {"reason", "TEXT", CLI_TEXT, "reason", "goes on record"},
    {"basis", "TEXT", CLI_TEXT, "basis",
        "the written retention policy that it rests on"},
};

static long long number(const json_t *object, const char *name)
{
    return (long long)json_integer_value(json_object_get(object, name));
}

static const char *text(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));

    return value ? value : "";
}

static void print_place(const char *what, const json_t *place)
{
    if (!json_is_object(place)) {
        printf("%s: nothing (the journal goes in whole segments)\n", what);
        return;
    }
    printf("%s: the entries before %lld, in %lld segments of %lld bytes, up to "
           "%s\n",
        what, number(place, "entries"), number(place, "segments"),
        number(place, "bytes"), text(place, "until"));
}

static void print_plan(const json_t *plan)
{
    const json_t *limits = json_object_get(plan, "limits"), *now;

    now = json_object_get(plan, "pruned");
    if (json_is_object(now))
        printf("pruned already: the entries before %lld, on %.10s (disposal "
               "%s)\n",
            number(now, "entries"), text(now, "time"), text(now, "disposal"));
    print_place("asked for", json_object_get(plan, "would"));
    print_place("possible now", json_object_get(plan, "possible"));
    puts("why not more:");
    for (size_t i = 0; i < json_array_size(limits); i++) {
        const json_t *one = json_array_get(limits, i);
        printf("  %s from entry %lld on: ",
            json_is_true(json_object_get(one, "stands")) ? "REFUSED" : "kept",
            number(one, "entries"));
        cli_print_safe(stdout, text(one, "why"));
        putchar('\n');
    }
    puts("Nothing was done. Hash tiles always stay, and with them every proof "
         "of a later entry\nand of every checkpoint.");
}

static int dry_run(struct cli *cli, json_t *body)
{
    json_t *plan = NULL;
    bool allowed;
    int result;

    json_object_del(body, "reason");
    json_object_del(body, "basis");
    result = cli_call(cli, "GET", cli_with_query(cli, "/v1/audit/prune", body),
        NULL, &plan, NULL);
    json_decref(body);
    if (result)
        return result;
    allowed = json_is_true(json_object_get(plan, "allowed"));
    if (cli->json)
        cli_print_json(plan);
    else
        print_plan(plan);
    json_decref(plan);
    return allowed ? 0 : 1;
}

int cli_run_prune(struct cli *cli)
{
    json_t *body = cli_body(cli, NULL), *answer = NULL;
    int result;

    if (!body)
        return 2;
    if (cli_has(cli, "dry-run"))
        return dry_run(cli, body);
    if (!cli_has(cli, "before") && !cli_has(cli, "to")) {
        json_decref(body);
        return cli_usage(cli, "--before TIME or --to ENTRY: how far?");
    }
    result = cli_call(cli, "POST", "/v1/audit/prune", body, &answer, NULL);
    if (result)
        return result;
    if (cli->json)
        cli_print_json(answer);
    else
        printf("pruned: the entries before %lld (%lld files, %lld bytes).\n"
               "The certificate is certificates/%s.json in the state "
               "directory.\n",
            number(answer, "entries"), number(answer, "files"),
            number(answer, "bytes"), text(answer, "id"));
    json_decref(answer);
    return 0;
}
