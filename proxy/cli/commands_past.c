/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_past.c - audit redecide, state, reconcile: does what is on
 * record hold, against the rules of then, and against what others counted? */
#include "proxy/cli/cli_priv.h"
#include "proxy/cli/counters.h"

#include "lib/clock.h"
#include "lib/http_client.h"

#include <stdlib.h>

/* --- Redecide -------------------------------------------------------- */

const struct cli_option cli_redecide_options[] = {
    {"open-sealed", NULL, CLI_FLAG, NULL,
        "open the caller's sealed address, for rules that ask for it"},
};

static void print_check(const json_t *check)
{
    char *recorded, *repeated;

    printf("%-10s",
        json_is_true(json_object_get(check, "same")) ? "same" : "DIFFERENT");
    cli_print_safe(stdout, json_string_value(json_object_get(check, "what")));
    putchar('\n');
    if (json_is_true(json_object_get(check, "same")))
        return;
    recorded = json_dumps(json_object_get(check, "recorded"),
        JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    repeated = json_dumps(json_object_get(check, "repeated"),
        JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    fputs("          on record: ", stdout);
    cli_print_safe(stdout, recorded ? recorded : "?");
    fputs("\n          repeated:  ", stdout);
    cli_print_safe(stdout, repeated ? repeated : "?");
    putchar('\n');
    free(recorded);
    free(repeated);
}

int cli_run_redecide(struct cli *cli)
{
    const char *path = arena_printf(cli->arena,
        "/v1/audit/records/%s/redecision%s", cli_encode(cli, cli->args[0]),
        cli_has(cli, "open-sealed") ? "?sealed=open" : "");
    json_t *answer = NULL;
    const json_t *checks, *cannot;
    const char *word;
    int result = cli_call(cli, "GET", path, NULL, &answer, NULL);

    if (result)
        return result;
    word = json_string_value(json_object_get(answer, "result"));
    result = word && strcmp(word, "different") != 0 ? 0 : 1;
    if (cli->json) {
        cli_print_json(answer);
        json_decref(answer);
        return result;
    }
    checks = json_object_get(answer, "checks");
    cannot = json_object_get(answer, "cannot");
    for (size_t i = 0; i < json_array_size(checks); i++)
        print_check(json_array_get(checks, i));
    for (size_t i = 0; i < json_array_size(cannot); i++) {
        fputs("cannot    ", stdout);
        cli_print_safe(stdout, json_string_value(json_array_get(cannot, i)));
        putchar('\n');
    }
    printf("%s\n", strcmp(word ? word : "", "same") == 0
                       ? "the same decision comes out"
                   : result == 0 ? "nothing differs of what can be repeated"
                                 : "ANOTHER decision comes out");
    json_decref(answer);
    return result;
}

/* --- State ----------------------------------------------------------- */

const struct cli_option cli_past_options[] = {
    {"at", "TIME", CLI_TEXT, "at",
        "2026-11-23T08:00:00Z, a date (its beginning), or a span back: 24h"},
    {"before", "INDEX", CLI_NUMBER, "before",
        "only changes before this entry of the log"},
    {"kind", "KIND", CLI_TEXT, "kind",
        "team, caller, key, model, engine, quota, setting, anchor ..."},
};

int cli_run_past(struct cli *cli)
{
    static const struct cli_column columns[] = {
        {"KIND", "kind", CELL_TEXT},
        {"ID", "id", CELL_TEXT},
        {"NAME", "name", CELL_TEXT},
        {"SINCE ENTRY", "since", CELL_COUNT},
        {"CHANGED", "time", CELL_TIME},
        {"AS IT WAS", "shown", CELL_TEXT},
    };
    json_t *body = cli_body(cli, NULL), *answer = NULL, *items, *item;
    size_t i;
    int result = body ? cli_call(cli, "GET",
                            cli_with_query(cli, "/v1/audit/state", body), NULL,
                            &answer, NULL)
                      : 2;

    json_decref(body);
    if (result)
        return result;
    if (cli->json) {
        cli_print_json(answer);
        json_decref(answer);
        return 0;
    }
    items = json_object_get(answer, "items");
    json_array_foreach(items, i, item)
    {
        char *text = json_dumps(
            json_object_get(item, "state"), JSON_COMPACT | JSON_SORT_KEYS);
        if (text)
            json_object_set_new(
                item, "shown", json_stringn(text, strlen(text)));
        free(text);
    }
    cli_print_table(items, columns, CLI_COUNT(columns), "nothing was there");
    printf("\n%lld changes; policy version in force: %lld\n",
        (long long)json_integer_value(json_object_get(answer, "changes")),
        (long long)json_integer_value(cli_get(answer, "policy.version")));
    if (json_is_integer(json_object_get(answer, "adopted")))
        printf("entry %lld adopted a database that was edited from outside: "
               "what came with that is not here\n",
            (long long)json_integer_value(json_object_get(answer, "adopted")));
    json_decref(answer);
    return 0;
}

/* --- Reconcile ------------------------------------------------------- */

#define METRICS_MOST (8u << 20)
#define ASK_TIMEOUT_US INT64_C(10000000)

const struct cli_option cli_reconcile_options[] = {
    {"since", "TIME", CLI_TEXT, "since",
        "from when the engines count: their start, the bill's first day"},
    {"until", "TIME", CLI_TEXT, "until", "the bill's last day"},
    {"engine", "NAME", CLI_TEXT, NULL, "only this one"},
    {"bill", "FILE", CLI_TEXT, NULL,
        "CSV instead of the engines' counters: engine, requests, "
        "input_tokens, output_tokens"},
    {"baseline", "FILE", CLI_TEXT, NULL,
        "compare what was added since --save wrote this"},
    {"save", "FILE", CLI_TEXT, NULL,
        "write down where counters and log stand, for --baseline"},
};

struct reconciling {
    struct cli *cli;
    json_t *engines; /* of the registry */
    json_t *logged;  /* name -> {"requests", "input", "output", "unsure"} */
    json_t *baseline;
    json_t *rows;
    struct bill_row *bill;
    size_t bill_count;
};

static void add_to(json_t *object, const char *key, json_int_t value)
{
    json_object_set_new(object, key,
        json_integer(json_integer_value(json_object_get(object, key)) + value));
}

/* What is on record, by engine. Where a call did not end well, or its engine
 * said nothing of its use, the tokens are our estimate. */
/* A sum over records that are not all there says nothing about an engine. */
static int look_at_pruned(const char *since, const json_t *pruned)
{
    const char *until = json_string_value(json_object_get(pruned, "until"));
    int64_t since_us = 0, until_us = 0;

    if (!until || clock_parse(str_from(until), &until_us) != ERR_OK ||
        (since && clock_parse(str_from(since), &since_us) == ERR_OK &&
            since_us >= until_us))
        return 0;
    return cli_say(1,
        "the log begins at %.19sZ, because what was before was pruned: compare "
        "from then on (--since)",
        until);
}

static int load_logged(struct reconciling *r, json_t *query)
{
    json_t *answer = NULL, *groups, *group;
    size_t i;
    int result;

    json_object_set_new(query, "by", json_string("engine,outcome"));
    result = cli_call(r->cli, "GET",
        cli_with_query(r->cli, "/v1/audit/stats", query), NULL, &answer, NULL);
    if (result)
        return result;
    groups = json_object_get(answer, "groups");
    json_array_foreach(groups, i, group)
    {
        const char *engine =
            json_string_value(json_object_get(group, "engine"));
        const char *outcome =
            json_string_value(json_object_get(group, "outcome"));
        json_int_t records =
            json_integer_value(json_object_get(group, "requests"));
        json_t *one;
        if (!engine || !engine[0] || !outcome || !outcome[0] ||
            strcmp(outcome, "withdrawn") == 0)
            continue;
        one = json_object_get(r->logged, engine);
        if (!one) {
            one = json_object();
            json_object_set_new(r->logged, engine, one);
        }
        add_to(one, "requests", records);
        add_to(one, "input",
            json_integer_value(json_object_get(group, "inputTokens")));
        add_to(one, "output",
            json_integer_value(json_object_get(group, "outputTokens")));
        if (strcmp(outcome, "ok") != 0)
            add_to(one, "unsure", records);
    }
    if (json_is_true(json_object_get(answer, "incomplete")))
        result = cli_say(1, "the index is being built; ask again in a moment");
    if (!result)
        result =
            look_at_pruned(json_string_value(json_object_get(query, "since")),
                json_object_get(answer, "pruned"));
    json_decref(answer);
    return result;
}

/* The engine's own counters over HTTP. False: said. */
static bool ask_engine(
    struct cli *cli, const json_t *engine, struct counters *out)
{
    const char *url = json_string_value(json_object_get(engine, "url"));
    const char *kind = json_string_value(json_object_get(engine, "kind"));
    const char *name = json_string_value(json_object_get(engine, "name"));
    const char *ca = json_string_value(json_object_get(engine, "caFile"));
    bool demo = kind && strcmp(kind, "demo") == 0;
    bool local = url && strncmp(url, "unix:", 5) == 0;
    struct http_client_answer answer = {0};
    struct errinfo info = {0};
    struct http_client_request request = {
        .url = arena_printf(cli->arena, "%s%s", local ? "http://engine" : url,
            demo ? "/counters" : "/metrics"),
        .unix_socket = local ? url + 5 : NULL,
        .ca_file = ca && ca[0] ? ca : NULL,
        .timeout_us = ASK_TIMEOUT_US,
        .max_answer = METRICS_MOST,
    };
    bool good = false;

    *out = (struct counters){-1, -1, -1};
    if (http_client_request(&request, &answer, &info) != ERR_OK) {
        cli_say(1, "%s: %s", name, info.text);
    } else if (answer.status != 200) {
        cli_say(1,
            "%s: %s answered %d (llama-server wants --metrics); --bill FILE "
            "compares with something else",
            name, request.url, answer.status);
    } else if (demo) {
        json_t *counted =
            json_loadb(buf_str(&answer.body).ptr, answer.body.len, 0, NULL);
        const json_t *one = json_object_get(counted, "generation");
        good = one != NULL;
        out->requests = json_integer_value(json_object_get(one, "requests"));
        out->input = json_integer_value(json_object_get(one, "prompt_tokens"));
        out->output =
            json_integer_value(json_object_get(one, "completion_tokens"));
        json_decref(counted);
    } else {
        good = counters_of_metrics(buf_str(&answer.body), out);
    }
    if (!good && answer.status == 200)
        cli_say(1, "%s: %s has no counters that are known", name, request.url);
    http_client_answer_fini(&answer);
    return good;
}

static bool in_bill(
    struct reconciling *r, const char *name, struct counters *out)
{
    for (size_t i = 0; i < r->bill_count; i++)
        if (str_equal(r->bill[i].engine, str_from(name))) {
            *out = r->bill[i].counters;
            return true;
        }
    cli_say(1, "%s is not in the bill", name);
    return false;
}

static json_int_t base_of(
    struct reconciling *r, const char *name, const char *side, const char *what)
{
    return json_integer_value(json_object_get(
        json_object_get(json_object_get(r->baseline, name), side), what));
}

/* One figure of one engine. True: the engine counted more. */
static bool compare(struct reconciling *r, const char *name, const char *what,
    int64_t counted, const json_t *logged)
{
    int64_t ours = json_integer_value(json_object_get(logged, what));
    int64_t unsure = json_integer_value(json_object_get(logged, "unsure"));
    const char *words;
    int64_t more;

    if (counted < 0)
        return false;
    counted -= base_of(r, name, "counted", what);
    ours -= base_of(r, name, "logged", what);
    unsure -= base_of(r, name, "logged", "unsure");
    more = counted - ours;
    words = more == 0     ? "agree"
            : counted < 0 ? "the engine was started anew since the baseline"
            : more > 0
                ? arena_printf(r->cli->arena, "%lld more than on record%s",
                      (long long)more,
                      unsure > 0 ? " (or of calls that did not end well)"
                                 : ": they went around Bailiff")
                : arena_printf(r->cli->arena,
                      "%lld fewer than on record: started anew since --since, "
                      "or counts otherwise",
                      (long long)-more);
    json_array_append_new(r->rows,
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:s}", "engine", name, "what",
            what, "counted", (json_int_t)counted, "logged", (json_int_t)ours,
            "difference", (json_int_t)more, "unsure", (json_int_t)unsure,
            "verdict", words ? words : ""));
    return more > 0;
}

/* 0, 1 (something differs), or 2 with words. */
static int compare_all(struct reconciling *r, json_t *save)
{
    const char *only = cli_value(r->cli, "engine");
    json_t *engine;
    size_t i;
    bool more = false, failed = false, any = false;

    json_array_foreach(r->engines, i, engine)
    {
        const char *name = json_string_value(json_object_get(engine, "name"));
        const json_t *logged = json_object_get(r->logged, name);
        struct counters counted;
        if (only && strcmp(only, name) != 0)
            continue;
        any = true;
        if (!(r->bill ? in_bill(r, name, &counted)
                      : ask_engine(r->cli, engine, &counted))) {
            failed = true;
            continue;
        }
        more |= compare(r, name, "requests", counted.requests, logged);
        more |= compare(r, name, "input", counted.input, logged);
        more |= compare(r, name, "output", counted.output, logged);
        json_object_set_new(save, name,
            json_pack("{s:{s:I, s:I, s:I}, s:O?}", "counted", "requests",
                (json_int_t)counted.requests, "input",
                (json_int_t)counted.input, "output", (json_int_t)counted.output,
                "logged", logged));
    }
    if (!any)
        return cli_say(2, "no engine %s is registered", only ? only : "at all");
    return failed || more ? 1 : 0;
}

static int load_inputs(struct reconciling *r, struct buf *bill)
{
    const char *path = cli_value(r->cli, "bill"),
               *baseline = cli_value(r->cli, "baseline");
    struct errinfo info = {0};
    json_t *answer = NULL;
    json_error_t error;
    int result;

    if (baseline) {
        r->baseline = json_load_file(baseline, 0, &error);
        if (!r->baseline)
            return cli_say(1, "%s: %s", baseline, error.text);
    }
    if (path) {
        if (!cli_read_file(path, bill))
            return 1;
        if (counters_of_bill(r->cli->arena, buf_str(bill), &r->bill,
                &r->bill_count, &info) != ERR_OK)
            return cli_say(1, "%s: %s", path, info.text);
    }
    result = cli_call(r->cli, "GET", "/v1/engines", NULL, &answer, NULL);
    if (!result)
        r->engines = json_incref(json_object_get(answer, "items"));
    json_decref(answer);
    return result;
}

static int finish(struct reconciling *r, const json_t *save, int result)
{
    static const struct cli_column columns[] = {
        {"ENGINE", "engine", CELL_TEXT},
        {"WHAT", "what", CELL_TEXT},
        {"COUNTED THERE", "counted", CELL_COUNT},
        {"ON RECORD", "logged", CELL_COUNT},
        {"VERDICT", "verdict", CELL_TEXT},
    };
    const char *path = cli_value(r->cli, "save");

    if (r->cli->json)
        cli_print_json(r->rows);
    else
        cli_print_table(
            r->rows, columns, CLI_COUNT(columns), "nothing to compare");
    if (path && json_dump_file(save, path, JSON_INDENT(1)) != 0)
        return cli_say(1, "%s cannot be written", path);
    return result;
}

int cli_run_reconcile(struct cli *cli)
{
    struct reconciling r = {
        .cli = cli, .logged = json_object(), .rows = json_array()};
    json_t *query = cli_body(cli, NULL), *save = json_object();
    struct buf bill;
    int result = 2;

    buf_init(&bill, 64u << 20);
    if (query && cli_exact_times(cli, query))
        result = load_inputs(&r, &bill);
    if (!result)
        result = load_logged(&r, query);
    if (!result)
        result = finish(&r, save, compare_all(&r, save));
    json_decref(query);
    json_decref(save);
    json_decref(r.engines);
    json_decref(r.logged);
    json_decref(r.baseline);
    json_decref(r.rows);
    buf_fini(&bill);
    return result;
}
