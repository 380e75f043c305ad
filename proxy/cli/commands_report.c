/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_report.c - counts, gaps, samples, the access review, and
 * the named reports: the questions that auditors come with. A report is a row
 * of a table: which call answers it, and with which filters. */
#include "proxy/cli/cli_priv.h"

#include "audit/query.h"
#include "lib/file.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define FILTER_OPTION(name, value, help) {name, value, CLI_TEXT, name, help},
#define CSV_OPTION                                                             \
    {                                                                          \
        "csv", NULL, CLI_FLAG, NULL, "RFC 4180 instead of a table"             \
    }

const struct cli_option cli_stats_options[27] = {
    AUDIT_FILTERS(FILTER_OPTION){"by", "WORDS", CLI_TEXT, "by",
        "what is counted (day): up to three of hour, day, month, caller, key, "
        "team, model, engine, route, action, decision, policy, version, "
        "stage, code, quota, status, outcome; type, actor, object, method"},
    CSV_OPTION};

/* --- Counts ---------------------------------------------------------- */

/* The columns are the members of the first group. */
static void print_groups(const json_t *groups, bool csv)
{
    struct cli_column columns[16];
    const char *names[16];
    const char *key;
    json_t *value, *first = json_array_get(groups, 0);
    size_t count = 0;

    json_object_foreach(first, key, value)
    {
        if (count == 16)
            break;
        names[count] = key;
        columns[count] = (struct cli_column){
            key, key, json_is_integer(value) ? CELL_COUNT : CELL_TEXT};
        count++;
    }
    if (csv)
        cli_csv_rows(stdout, groups, names, count, true, false);
    else
        cli_print_table(groups, columns, count, "nothing on record matches");
}

static void say_incomplete(const json_t *answer)
{
    if (json_is_true(json_object_get(answer, "incomplete")))
        cli_say(0, "the index is still being built: more may belong here");
}

static int show_stats(struct cli *cli, const json_t *query, bool csv)
{
    const char *path = cli_with_query(cli, "/v1/audit/stats", query);
    json_t *answer = NULL;
    int result = cli_call(cli, "GET", path, NULL, &answer, NULL);

    if (result)
        return result;
    if (cli->json)
        cli_print_json(answer);
    else
        print_groups(json_object_get(answer, "groups"), csv);
    cli_say_index_behind(answer);
    json_decref(answer);
    return 0;
}

int cli_run_stats(struct cli *cli)
{
    json_t *body = cli_body(cli, NULL);
    int result = 2;

    if (body && cli_exact_times(cli, body))
        result = show_stats(cli, body, cli_has(cli, "csv"));
    json_decref(body);
    return result;
}

/* --- Gaps ------------------------------------------------------------ */

const struct cli_option cli_gaps_options[3] = {
    {"since", "TIME", CLI_TEXT, "since", "not before"},
    {"until", "TIME", CLI_TEXT, "until", "before"},
    {"longer", "TIME", CLI_TEXT, "longer", "only gaps of at least this (1h)"},
};
static const struct cli_column gap_columns[] = {
    {"FROM", "from", CELL_TIME},
    {"TO", "to", CELL_TIME},
    {"SECONDS", "seconds", CELL_COUNT},
    {"AFTER", "after", CELL_COUNT},
    {"BEFORE", "before", CELL_COUNT},
    {"WHY", "kind", CELL_TEXT},
};

static int show_gaps(struct cli *cli, const json_t *query)
{
    const char *path = cli_with_query(cli, "/v1/audit/gaps", query);
    json_t *answer = NULL;
    struct buf times;
    int result = cli_call(cli, "GET", path, NULL, &answer, NULL);

    if (result)
        return result;
    if (cli->json) {
        cli_print_json(answer);
    } else {
        const char *longer =
            json_string_value(json_object_get(query, "longer"));
        cli_print_table(json_object_get(answer, "gaps"), gap_columns,
            CLI_COUNT(gap_columns),
            arena_printf(cli->arena, "no gap of %s or more (--longer)",
                longer ? longer : "1h"));
        buf_init(&times, 1024);
        if (json_is_string(json_object_get(answer, "first"))) {
            cli_format_time(&times,
                json_string_value(json_object_get(answer, "first")), false);
            buf_append_str(&times, STR(" to "));
            cli_format_time(&times,
                json_string_value(json_object_get(answer, "last")), false);
        }
        printf("%lld records in %lld entries, without a missing index; %s\n",
            (long long)json_integer_value(json_object_get(answer, "records")),
            (long long)json_integer_value(json_object_get(answer, "entries")),
            buf_cstr(&times));
        buf_fini(&times);
    }
    say_incomplete(answer);
    json_decref(answer);
    return 0;
}

int cli_run_gaps(struct cli *cli)
{
    json_t *body = cli_body(cli, NULL);
    int result = 2;

    if (body && cli_exact_times(cli, body))
        result = show_gaps(cli, body);
    json_decref(body);
    return result;
}

/* --- Samples --------------------------------------------------------- */

const struct cli_option cli_sample_options[5] = {
    {"seed", "TEXT", CLI_TEXT, "seed",
        "what the drawing starts from; the same draws the same"},
    {"count", "N", CLI_NUMBER, "count", "how many (25)"},
    {"type", "TYPE", CLI_TEXT, "type", "of which: request, admin, auth ..."},
    {"size", "N", CLI_NUMBER, "size",
        "among the first N entries: repeats an earlier sample"},
    {"out", "FOLDER", CLI_TEXT, NULL, "write the proofs there"},
};
static const struct cli_column sample_columns[] = {
    {"DRAW", "draw", CELL_COUNT},
    {"ENTRY", "index", CELL_COUNT},
    {"TIME", "time", CELL_TIME},
    {"TYPE", "type", CELL_TEXT},
    {"ID", "id", CELL_TEXT},
};

int cli_run_sample(struct cli *cli)
{
    json_t *body, *answer = NULL;
    const char *path;
    int result;

    if (!cli_value(cli, "seed"))
        return cli_usage(cli, "--seed TEXT is needed: whoever repeats the "
                              "sample needs it too");
    body = cli_body(cli, NULL);
    if (!body)
        return 2;
    path = cli_with_query(cli, "/v1/audit/sample", body);
    json_decref(body);
    result = cli_call(cli, "GET", path, NULL, &answer, NULL);
    if (result)
        return result;
    if (cli_value(cli, "out")) {
        json_object_set(answer, "proofs", json_object_get(answer, "items"));
        result = cli_write_proofs(cli, cli_value(cli, "out"), answer);
    } else if (cli->json) {
        cli_print_json(answer);
    } else {
        cli_print_table(json_object_get(answer, "items"), sample_columns,
            CLI_COUNT(sample_columns), "the log has nothing of that type");
        printf("drawn from the first %lld entries; --seed %s --size %lld draws "
               "the same again\n",
            (long long)json_integer_value(json_object_get(answer, "size")),
            cli_value(cli, "seed"),
            (long long)json_integer_value(json_object_get(answer, "size")));
    }
    json_decref(answer);
    return result;
}

/* --- Access ---------------------------------------------------------- */

const struct cli_option cli_access_options[4] = {
    {"model", "NAME", CLI_TEXT, "model", "who may use it?"},
    {"caller", "WHO", CLI_TEXT, "caller", "what may it use?"},
    {"action", "WORD", CLI_TEXT, "action", "chat, complete, embed ... (chat)"},
    CSV_OPTION,
};
static const struct cli_column access_columns[] = {
    {"CALLER", "callerName", CELL_TEXT},
    {"MODEL", "model", CELL_TEXT},
    {"MAY", "allowed", CELL_YES},
    {"RULES", "rules", CELL_TEXT},
    {"BECAUSE", "because", CELL_TEXT},
};

int cli_run_access(struct cli *cli)
{
    static const char *const names[] = {"caller", "callerName", "model",
        "action", "allowed", "rules", "because"};
    json_t *body = cli_body(cli, NULL), *answer = NULL;
    const char *path;
    int result;

    if (!body)
        return 2;
    path = cli_with_query(cli, "/v1/audit/access", body);
    json_decref(body);
    result = cli_call(cli, "GET", path, NULL, &answer, NULL);
    if (result)
        return result;
    if (cli->json)
        cli_print_json(answer);
    else if (cli_has(cli, "csv"))
        cli_csv_rows(stdout, json_object_get(answer, "items"), names,
            CLI_COUNT(names), true, false);
    else {
        cli_print_table(json_object_get(answer, "items"), access_columns,
            CLI_COUNT(access_columns), "there is nobody to review");
        printf("by policy version %lld, for an ordinary request now; rules "
               "about time, size or address\nmay decide otherwise for another "
               "(`bailiff can` asks about one in particular)\n",
            (long long)json_integer_value(
                json_object_get(answer, "policyVersion")));
    }
    json_decref(answer);
    return 0;
}

/* --- Was exactly this sent? ------------------------------------------ */

static const struct cli_column find_columns[] = {
    {"TIME", "time", CELL_TIME},
    {"WHICH", "which", CELL_TEXT},
    {"ENTRY", "index", CELL_COUNT},
    {"ID", "id", CELL_TEXT},
};

int cli_run_find_text(struct cli *cli)
{
    json_t *body, *answer = NULL;
    struct buf file;
    int result;

    buf_init(&file, 4u << 20);
    if (!cli_read_file(cli->args[0], &file)) {
        buf_fini(&file);
        return 1;
    }
    body = json_pack(
        "{s:s%}", "text", buf_str(&file).ptr, (size_t)buf_str(&file).len);
    buf_fini(&file);
    if (!body)
        return cli_say(1, "%s is no UTF-8 text", cli->args[0]);
    result = cli_call(cli, "POST", "/v1/audit/find", body, &answer, NULL);
    if (result)
        return result;
    if (cli->json)
        cli_print_json(answer);
    else
        cli_print_table(json_object_get(answer, "items"), find_columns,
            CLI_COUNT(find_columns),
            "exactly this text is on record neither as a request's body nor as "
            "an answer");
    if (json_is_true(json_object_get(answer, "more")))
        cli_say(0, "only the first matches are shown");
    json_decref(answer);
    return 0;
}

/* --- Building the index anew ----------------------------------------- */

int cli_run_reindex(struct cli *cli)
{
    struct timespec nap = {0, 300 * 1000000L};
    bool terminal = isatty(STDERR_FILENO);
    json_t *answer = NULL;
    json_int_t files = 0, waiting = 0;
    json_t *query = cli_body(cli, NULL);
    int result =
        query ? cli_call(cli, "POST",
                    cli_with_query(cli, "/v1/audit/index/rebuild", query), NULL,
                    &answer, NULL)
              : 2;
    bool one = cli_value(cli, "entry") != NULL;

    json_decref(query);

    while (result == 0) {
        files = json_integer_value(json_object_get(answer, "files"));
        waiting = json_integer_value(json_object_get(answer, "waiting"));
        if (terminal)
            fprintf(stderr, "\r%lld of %lld files built anew\x1b[K",
                (long long)(files - waiting), (long long)files);
        if (waiting == 0)
            break;
        json_decref(answer);
        answer = NULL;
        nanosleep(&nap, NULL);
        result = cli_call(cli, "GET", "/v1/audit/index", NULL, &answer, NULL);
    }
    if (terminal)
        fputs("\r\x1b[K", stderr);
    if (result == 0 && cli->json)
        cli_print_json(answer);
    else if (result == 0 && one)
        printf(
            "the file of entry %s was built anew\n", cli_value(cli, "entry"));
    else if (result == 0)
        printf("the index was built anew: %lld entries in %lld files\n",
            (long long)json_integer_value(json_object_get(answer, "indexed")),
            (long long)files);
    json_decref(answer);
    return result;
}

/* --- Reports --------------------------------------------------------- */

enum report_kind {
    REPORT_ROWS,
    REPORT_COUNTS,
    REPORT_GAPS,
    REPORT_POLICY_AT,
    REPORT_RETENTION,
    REPORT_ELSEWHERE /* another command answers it, or nothing can yet */
};
struct report {
    const char *name, *question;
    enum report_kind kind;
    const char *filters; /* "type=auth" */
    const char *needs;   /* an option without which it says nothing */
    const char *words;   /* REPORT_ELSEWHERE */
};
static const struct report reports[] = {
    {"activity", "Everything one caller or key did", REPORT_ROWS,
        "type=request", "caller", NULL},
    {"denials", "Denials by rule, policy version and code", REPORT_COUNTS,
        "decision=deny&by=policy,version,code", NULL, NULL},
    {"request", "One request end to end", REPORT_ELSEWHERE, NULL, NULL,
        "bailiff audit show ID"},
    {"changes", "What administrators changed, and who approved", REPORT_ROWS,
        "type=change", NULL, NULL},
    {"failed-logins", "Calls refused before anybody was known", REPORT_ROWS,
        "type=auth", NULL, NULL},
    {"models", "Use of models and engines, in requests and tokens",
        REPORT_COUNTS, "by=model,engine,outcome", NULL, NULL},
    {"detections", "What detectors found in content", REPORT_ELSEWHERE, NULL,
        NULL,
        "nothing inspects content in this version, so no finding can be on "
        "record"},
    {"was-it-sent", "Was this text sent?", REPORT_ELSEWHERE, NULL, NULL,
        "bailiff audit find-text FILE, with exactly the body that was sent (or "
        "answered);\na part of one cannot be looked for: the log holds keyed "
        "digests, no text;\nwhere a rule keeps content, `bailiff audit content "
        "ID` opens it"},
    {"completeness", "Requests per day, team and model", REPORT_COUNTS,
        "type=request&by=day,team,model", NULL, NULL},
    {"gaps", "When nothing is on record, and why", REPORT_GAPS, NULL, NULL,
        NULL},
    {"sample", "A random sample that can be repeated", REPORT_ELSEWHERE, NULL,
        NULL, "bailiff audit sample --seed TEXT"},
    {"subject", "A copy of what is on record about one caller",
        REPORT_ELSEWHERE, NULL, NULL,
        "bailiff audit subject export CALLER FOLDER (opened, for the person); "
        "bailiff audit export\nFILE --caller WHO (entries with proofs)"},
    {"retention", "What is held, expired, erased", REPORT_RETENTION, NULL, NULL,
        NULL},
    {"overrides", "Rules put into force or rolled back, and on whose approval",
        REPORT_ROWS, "type=policy", NULL, NULL},
    {"complaints", "Complaints and their state", REPORT_ELSEWHERE, NULL, NULL,
        "complaints are not kept here in this version"},
    {"readers", "Who read or exported the record", REPORT_ROWS, "type=audit",
        NULL, NULL},
    {"policy-at", "The policy in force at a time", REPORT_POLICY_AT, NULL,
        "until", NULL},
    {"integrity", "Is entry I in the log, and does the log continue?",
        REPORT_ELSEWHERE, NULL, NULL,
        "bailiff audit prove ID, and bailiff audit verify --against FILE"},
    {"cut-streams", "Answers that ended before their end", REPORT_ROWS,
        "outcome=cut", NULL, NULL},
};

const struct cli_option cli_report_options[27] = {
    AUDIT_FILTERS(FILTER_OPTION){
        "longer", "TIME", CLI_TEXT, "longer", "gaps: of at least this (1h)"},
    CSV_OPTION};

static int list_reports(void)
{
    static const struct cli_column columns[] = {
        {"REPORT", "name", CELL_TEXT}, {"QUESTION", "question", CELL_TEXT}};
    json_t *list = json_array();

    for (size_t i = 0; i < CLI_COUNT(reports); i++)
        json_array_append_new(
            list, json_pack("{s:s, s:s}", "name", reports[i].name, "question",
                      reports[i].question));
    cli_print_table(list, columns, CLI_COUNT(columns), NULL);
    json_decref(list);
    return 0;
}

/* "a=b&c=d" into the body; what the asker set stays. */
static void add_filters(json_t *body, const char *filters)
{
    struct str rest = str_from(filters), one, name, value;

    while (rest.len > 0) {
        char key[32];
        str_split(rest, '&', &one, &rest);
        str_split(one, '=', &name, &value);
        snprintf(key, sizeof key, "%.*s", STR_ARG(name));
        if (!json_object_get(body, key))
            json_object_set_new(body, key, json_stringn(value.ptr, value.len));
    }
}

/* The newest act that put a version into force before --until. */
static int policy_at(struct cli *cli, const json_t *body)
{
    static const char *const types[] = {
        "policy.activated", "policy.rolled_back"};
    json_t *newest = NULL;
    int result = 0;

    for (int i = 0; i < 2 && result == 0; i++) {
        json_t *answer = NULL, *row;
        json_t *query = json_pack("{s:O, s:s, s:s}", "until",
            json_object_get(body, "until"), "type", types[i], "limit", "1");
        const char *path = cli_with_query(cli, "/v1/audit/records", query);
        result = cli_call(cli, "GET", path, NULL, &answer, NULL);
        row = json_array_get(json_object_get(answer, "rows"), 0);
        if (row && json_integer_value(json_object_get(row, "seq")) >=
                       json_integer_value(json_object_get(newest, "seq"))) {
            json_decref(newest);
            newest = json_incref(row);
        }
        json_decref(query);
        json_decref(answer);
    }
    if (result == 0 && cli->json)
        cli_print_json(newest ? newest : json_object());
    else if (result == 0 && !newest)
        puts("no policy version was in force then");
    else if (result == 0)
        printf("policy version %s, in force since %s (entry %lld); `bailiff "
               "policy show %s` has its text\n",
            json_string_value(json_object_get(newest, "object")),
            json_string_value(json_object_get(newest, "time")),
            (long long)json_integer_value(json_object_get(newest, "seq")),
            json_string_value(json_object_get(newest, "object")));
    json_decref(newest);
    return result;
}

static int answer(struct cli *cli, const struct report *report, json_t *body)
{
    switch (report->kind) {
    case REPORT_ROWS:
        return cli_show_records(cli, body, cli_has(cli, "csv"));
    case REPORT_COUNTS:
        return show_stats(cli, body, cli_has(cli, "csv"));
    case REPORT_GAPS:
        return show_gaps(cli, body);
    case REPORT_POLICY_AT:
        return policy_at(cli, body);
    case REPORT_RETENTION:
        return cli_report_retention(cli);
    case REPORT_ELSEWHERE:
        puts(report->words);
        return 0;
    }
    return 1;
}

int cli_run_report(struct cli *cli)
{
    struct str names[CLI_COUNT(reports)], near;
    const struct report *report = NULL;
    json_t *body;
    int result = 2;

    if (cli->arg_count == 0)
        return list_reports();
    for (size_t i = 0; i < CLI_COUNT(reports); i++) {
        names[i] = str_from(reports[i].name);
        if (strcmp(reports[i].name, cli->args[0]) == 0)
            report = &reports[i];
    }
    if (!report) {
        near = str_suggest(str_from(cli->args[0]), names, CLI_COUNT(reports));
        return cli_usage(cli,
            "there is no report \"%s\"%s%.*s%s; `bailiff "
            "audit report` lists them",
            cli->args[0], near.len ? "; did you mean \"" : "", STR_ARG(near),
            near.len ? "\"?" : "");
    }
    body = cli_body(cli, NULL);
    if (report->needs && body && !json_object_get(body, report->needs) &&
        !(strcmp(report->needs, "caller") == 0 &&
            json_object_get(body, "key"))) {
        json_decref(body);
        return cli_usage(
            cli, "the report \"%s\" needs --%s", report->name, report->needs);
    }
    if (!cli->json && !cli_has(cli, "csv"))
        printf("%s\n\n", report->question);
    if (body && cli_exact_times(cli, body)) {
        if (report->filters)
            add_filters(body, report->filters);
        result = answer(cli, report, body);
    }
    json_decref(body);
    return result;
}
