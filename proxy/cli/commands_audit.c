/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_audit.c - the record: query, show, follow, verify,
 * checkpoints and anchors. */
#include "proxy/cli/cli_priv.h"

#include "audit/query.h"
#include "lib/clock.h"

#include <time.h>

/* --- anchor ---------------------------------------------------------- */

static const struct cli_column anchor_columns[] = {
    {"NAME", "name", CELL_TEXT},
    {"KIND", "kind", CELL_TEXT},
    {"TARGET", "target", CELL_TEXT},
    {"MINUTES", "everyMinutes", CELL_COUNT},
    {"CREATED", "created", CELL_TIME},
};
static const char *const anchor_fields[] = {"name", "kind", "target"};
static const struct cli_option anchor_add_options[] = {
    {"every-minutes", "N", CLI_NUMBER, "everyMinutes",
        "how often a checkpoint goes there (60)"},
};
static const struct cli_option rotate_options[] = {
    {"overlap-days", "N", CLI_NUMBER, "overlapDays",
        "for how long the old key signs too (30)"},
    {"reason", "TEXT", CLI_TEXT, "reason", "goes on record"},
};
static const struct cli_rest key_rotate = {.method = "POST",
    .path = "/v1/audit/key/rotate",
    .done = "the log is signed with {newKey}; the old key signs too until "
            "{until}"};
static const struct cli_rest anchor_list = {.method = "GET",
    .path = "/v1/anchors",
    .columns = anchor_columns,
    .column_count = CLI_COUNT(anchor_columns),
    .empty = "no anchors: nobody else holds a checkpoint; `bailiff anchor add "
             "NAME file PATH` makes one"};
static const struct cli_rest anchor_add = {.method = "POST",
    .path = "/v1/anchors",
    .fields = anchor_fields,
    .done = "anchor {name} added, every {everyMinutes} minutes"};
static const struct cli_rest anchor_remove = {
    .method = "DELETE", .path = "/v1/anchors/{0}", .done = "anchor removed"};

/* --- checkpoint ------------------------------------------------------ */

static int run_checkpoint(struct cli *cli)
{
    json_t *answer = NULL;
    int result =
        cli_call(cli, "POST", "/v1/audit/checkpoint", NULL, &answer, NULL);

    if (result)
        return result;
    if (cli->json)
        cli_print_json(answer);
    else
        fputs(json_string_value(json_object_get(answer, "checkpoint")), stdout);
    json_decref(answer);
    return 0;
}

/* --- query ----------------------------------------------------------- */

#define FILTER_OPTION(name, value, help) {name, value, CLI_TEXT, name, help},
static const struct cli_option query_options[] = {AUDIT_FILTERS(FILTER_OPTION)};

static const struct cli_column record_columns[] = {
    {"TIME", "time", CELL_TIME},
    {"WHO", "who", CELL_TEXT},
    {"WHAT", "what", CELL_TEXT},
    {"OF", "of", CELL_TEXT},
    {"RESULT", "result", CELL_TEXT},
    {"TOKENS", "tokens", CELL_TEXT},
    {"ID", "id", CELL_TEXT},
};

static const char *text_of(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));
    return text && text[0] ? text : NULL;
}

static const char *first_text(
    const json_t *row, const char *a, const char *b, const char *otherwise)
{
    const char *text = text_of(row, a);
    if (!text)
        text = text_of(row, b);
    return text ? text : otherwise;
}

/* "403 by no-large-for-interns", "200 ok", "running" */
static void append_result(struct buf *out, const json_t *row)
{
    const json_t *status = json_object_get(row, "status");
    const json_t *policies = json_object_get(row, "policies");
    const char *outcome = text_of(row, "outcome");
    const char *stage = text_of(row, "stage");

    if (strcmp(text_of(row, "decision"), "deny") != 0) {
        if (json_is_integer(status))
            buf_printf(out, "%lld ", (long long)json_integer_value(status));
        buf_printf(out, "%s", outcome ? outcome : "running");
        return;
    }
    buf_printf(out, "%lld ", (long long)json_integer_value(status));
    if (text_of(row, "quota"))
        buf_printf(out, "by quota %s", text_of(row, "quota"));
    else if (json_array_size(policies) > 0)
        for (size_t i = 0; i < json_array_size(policies); i++)
            buf_printf(out, "%s%s", i ? ", " : "by ",
                json_string_value(json_array_get(policies, i)));
    else if (stage && strcmp(stage, "decide") == 0)
        buf_append_str(out, STR("no rule permits it"));
    else
        buf_printf(out, "%s", first_text(row, "code", "stage", "denied"));
}

static json_t *request_line(const json_t *row)
{
    const json_t *input = json_object_get(row, "inputTokens");
    const json_t *output = json_object_get(row, "outputTokens");
    struct buf result, tokens;
    json_t *line;

    buf_init(&result, 65536);
    buf_init(&tokens, 128);
    append_result(&result, row);
    if (json_is_integer(input) || json_is_integer(output))
        buf_printf(&tokens, "%lld+%lld", (long long)json_integer_value(input),
            (long long)json_integer_value(output));
    line = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "time",
        first_text(row, "time", "time", "-"), "who",
        first_text(row, "callerName", "caller", "-"), "what",
        first_text(row, "action", "route", "-"), "of",
        first_text(row, "model", "asked", "-"), "result", buf_cstr(&result),
        "tokens", buf_cstr(&tokens), "id", first_text(row, "id", "id", "-"));
    buf_fini(&result);
    buf_fini(&tokens);
    return line;
}

/* Who acted where nobody is named: that is a finding, not a blank. */
static const char *actor_of(const json_t *row)
{
    const char *name = first_text(row, "actorName", "actor", NULL);
    const char *method = first_text(row, "method", "method", "");

    if (name)
        return name;
    if (strcmp(first_text(row, "type", "type", ""), "auth.failed") == 0)
        return "(unknown caller)";
    if (strcmp(method, "root") == 0)
        return "(root, unattributed)";
    if (strcmp(method, "offline") == 0)
        return "(offline, unattributed)";
    return "(unattributed)";
}

static json_t *event_line(const json_t *row)
{
    json_int_t count = json_integer_value(json_object_get(row, "count"));
    const char *reason = first_text(row, "reason", "reason", "");
    struct buf result;
    json_t *line;

    buf_init(&result, 65536);
    if (count > 1)
        buf_printf(
            &result, "%lld times%s", (long long)count, reason[0] ? ": " : "");
    buf_append_str(&result, str_from(reason));
    line = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "time",
        first_text(row, "time", "time", "-"), "who", actor_of(row), "what",
        first_text(row, "type", "type", "-"), "of",
        first_text(row, "objectName", "object", "-"), "result",
        buf_cstr(&result), "tokens", "", "id",
        first_text(row, "id", "id", "-"));
    buf_fini(&result);
    return line;
}

void cli_say_index_behind(const json_t *answer)
{
    json_int_t indexed = json_integer_value(json_object_get(answer, "indexed"));
    json_int_t behind = json_integer_value(json_object_get(answer, "behind"));
    if (!json_is_true(json_object_get(answer, "incomplete")))
        return;
    if (behind > 0)
        cli_say(0,
            "the index is %lld entries behind the log: it has those below "
            "%lld, and what was done since is missing above",
            (long long)behind, (long long)indexed);
    else
        cli_say(0, "a part of the index is being built anew: more may belong "
                   "above in a moment");
}

static void print_page(const json_t *answer)
{
    const json_t *rows = json_object_get(answer, "rows");
    const char *note = text_of(answer, "note");
    json_t *lines = json_array();

    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const char *kind = first_text(row, "kind", "kind", "");
        json_array_append_new(lines,
            strcmp(kind, "event") == 0 ? event_line(row) : request_line(row));
    }
    cli_print_table(lines, record_columns, CLI_COUNT(record_columns), NULL);
    if (json_array_size(lines) == 0)
        printf("nothing on record matches%s%s\n", note ? ": " : "",
            note ? note : "");
    if (json_is_true(json_object_get(answer, "unfinished")))
        cli_say(0,
            "searched as far as entry %lld in the time there is for a page; "
            "go on with --after %lld, or narrow the question",
            (long long)json_integer_value(json_object_get(answer, "next")),
            (long long)json_integer_value(json_object_get(answer, "next")));
    else if (json_is_true(json_object_get(answer, "more")))
        fprintf(stderr, "there is more: go on with --after %lld\n",
            (long long)json_integer_value(json_object_get(answer, "next")));
    cli_say_index_behind(answer);
    if (note && json_array_size(rows) > 0)
        cli_say(0, "%s", note);
    json_decref(lines);
}

/* A bare date means the day of whoever asks, so times are made exact here. */
static bool exact_time(struct cli *cli, json_t *body, const char *name)
{
    const char *given = json_string_value(json_object_get(body, name));
    struct audit_filter filter = {0};
    struct errinfo info = {0};
    char text[CLOCK_TEXT_LENGTH];

    if (!given)
        return true;
    if (audit_filter_set(&filter, str_from(name), str_from(given), clock_now(),
            cli_zone(), &info) != ERR_OK) {
        cli_usage(cli, "--%s", info.text);
        return false;
    }
    clock_format(text, filter.since_us ? filter.since_us : filter.until_us);
    json_object_set_new(body, name, json_stringn(text, sizeof text));
    return true;
}

bool cli_exact_times(struct cli *cli, json_t *body)
{
    return exact_time(cli, body, "since") && exact_time(cli, body, "until");
}

int cli_show_records(struct cli *cli, const json_t *query, bool csv)
{
    const char *path = cli_with_query(cli, "/v1/audit/records", query);
    json_t *answer = NULL;
    int result = cli_call(cli, "GET", path, NULL, &answer, NULL);

    if (result)
        return result;
    if (cli->json)
        cli_print_json(answer);
    else if (csv)
        result = cli_print_csv_page(json_object_get(answer, "rows"), false);
    else
        print_page(answer);
    json_decref(answer);
    return result;
}

static int run_query(struct cli *cli)
{
    json_t *body = cli_body(cli, NULL);
    int result = 2;

    if (body && cli_exact_times(cli, body))
        result = cli_show_records(cli, body, false);
    json_decref(body);
    return result;
}

/* --- show ------------------------------------------------------------ */

static int run_show(struct cli *cli)
{
    const json_t *entries;
    json_t *answer = NULL;
    struct buf path;
    int result;

    buf_init(&path, 65536);
    buf_printf(&path, "/v1/audit/records/%s", cli_encode(cli, cli->args[0]));
    result = cli_call(cli, "GET", buf_cstr(&path), NULL, &answer, NULL);
    buf_fini(&path);
    if (result)
        return result;
    if (cli->json) {
        cli_print_json(answer);
        json_decref(answer);
        return 0;
    }
    cli_print_safe(stdout, first_text(answer, "sentence", "id", ""));
    putchar('\n');
    cli_say_content(json_object_get(answer, "content"));
    entries = json_object_get(answer, "entries");
    for (size_t i = 0; i < json_array_size(entries); i++) {
        const json_t *entry = json_array_get(entries, i);
        printf("\nentry %lld of the log:\n",
            (long long)json_integer_value(json_object_get(entry, "index")));
        /* ASCII: what a caller sent cannot talk to the terminal. */
        json_dumpf(json_object_get(entry, "entry"), stdout,
            JSON_INDENT(2) | JSON_ENSURE_ASCII);
        putchar('\n');
    }
    json_decref(answer);
    return 0;
}

/* --- tail ------------------------------------------------------------ */

#define FOLLOW_NAP_MS 500
static const struct cli_option tail_options[] = {
    {"follow", NULL, CLI_FLAG, NULL,
        "go on as entries come (-f), until Ctrl-C"},
    {"entries", "N", CLI_NUMBER, NULL, "how many to begin with (20)"},
};

static void print_entries(struct cli *cli, const json_t *answer)
{
    const json_t *entries = json_object_get(answer, "entries");
    struct buf time;

    buf_init(&time, 256);
    for (size_t i = 0; i < json_array_size(entries); i++) {
        const json_t *one = json_array_get(entries, i);
        const json_t *entry = json_object_get(one, "entry");

        if (cli->json) {
            json_dumpf(entry, stdout, JSON_COMPACT);
            putchar('\n');
            continue;
        }
        buf_clear(&time);
        cli_format_time(&time, first_text(entry, "time", "time", "-"), false);
        printf("%lld  %s  ",
            (long long)json_integer_value(json_object_get(one, "index")),
            buf_cstr(&time));
        cli_print_safe(stdout, first_text(one, "text", "text", "(unreadable)"));
        putchar('\n');
    }
    fflush(stdout);
    buf_fini(&time);
}

static int run_tail(struct cli *cli)
{
    const char *count = cli_value(cli, "entries");
    struct timespec nap = {0, FOLLOW_NAP_MS * 1000000L};
    bool follow = cli_has(cli, "follow");
    int64_t entries = 20;
    char path[128];
    int result = 0;

    if (count && !cli_number("entries", count, &entries))
        return 2;
    if (entries < 1 || entries > 1000)
        return cli_usage(cli, "--entries: from 1 to 1000");
    snprintf(
        path, sizeof path, "/v1/audit/entries?limit=%lld", (long long)entries);
    do {
        json_t *answer = NULL;
        size_t got;

        result = cli_call(cli, "GET", path, NULL, &answer, NULL);
        if (result)
            return result;
        if (follow && !cli_session_is_online(cli)) {
            json_decref(answer);
            return cli_say(1, "no server is running, so nothing will come");
        }
        print_entries(cli, answer);
        got = json_array_size(json_object_get(answer, "entries"));
        snprintf(path, sizeof path, "/v1/audit/entries?limit=1000&from=%lld",
            (long long)json_integer_value(json_object_get(answer, "next")));
        json_decref(answer);
        if (follow && got == 0)
            nanosleep(&nap, NULL);
    } while (follow && !ferror(stdout));
    return 0;
}

#define OPTIONS(table) table, CLI_COUNT(table)
static const struct cli_option reindex_options[] = {
    {"entry", "INDEX", CLI_TEXT, "entry", "only the file that has this entry"},
};
static const struct cli_command commands[] = {
    {"audit", "query", "", 0, 0, "Search the record, newest first",
        "Requests, acts of administrators, failed logins. Filters are all to "
        "be met. The\nquery itself goes on record.",
        OPTIONS(query_options), run_query, NULL, false, false},
    {"audit", "show", "ID", 1, 1,
        "What happened to one request, in a sentence and in full",
        "ID is that of a request (callers get it as x-request-id), of an "
        "event, or the\nindex of an entry in the log.",
        NULL, 0, run_show, NULL, false, false},
    {"audit", "content", "ID", 1, 1,
        "What was kept of a request and its answer, opened",
        "Where a rule obliges to keep them (@record(\"full\")), and as long "
        "as their key is\nthere; and the personal fields of the record. ID is "
        "the request's (x-request-id).\nThe reading is on record.",
        OPTIONS(cli_content_options), cli_run_content, NULL, false, false},
    {"audit", "subject", "export|erase CALLER [FOLDER]", 2, 3,
        "What a person may ask for: a copy of everything, or erasure",
        "export CALLER FOLDER: a new folder with everything on record about "
        "the person, opened.\nerase CALLER: destroys the sealing keys of all "
        "their records, kept content, the name\nand the API keys, for ever. "
        "Refused while a legal hold is on them.",
        OPTIONS(cli_subject_options), cli_run_subject, NULL, false, false},
    {"audit", "retention", "show|run|class|team|lock|digest-key [NAME] [CLASS]",
        1, 3, "How long records stay readable",
        "show: classes, periods, what was destroyed. run: destroys what has "
        "expired, now (the\nserver does so once a day). class NAME --days N "
        "or --profile P: a class. team TEAM CLASS:\nthe class of a team's "
        "records; without CLASS, the default. lock DAYS: nothing goes\n"
        "earlier, and nobody can lower that. digest-key: a new key for "
        "content\ndigests; the one before is destroyed when the longest period "
        "is over.",
        OPTIONS(cli_retention_options), cli_run_retention, NULL, false, false},
    {"audit", "hold", "list|show|add|release [NAME]", 1, 2,
        "Legal holds: records that must stay readable",
        "add NAME: of a caller, a team, a time, or all of these. While it "
        "stands neither\nretention nor erasure destroys the keys that its "
        "records use. show NAME: what it\nis about, and what else stays "
        "readable because the same keys seal it.",
        OPTIONS(cli_hold_options), cli_run_hold, NULL, false, false},
    {"audit", "prune", "", 0, 0,
        "Take the log's oldest entries away for good, once nothing asks for "
        "them",
        "Whole segments of the journal go, with their entry bundles and rows "
        "of "
        "the index;\nhashes stay, and every later entry and every checkpoint "
        "can be proven as before.\nRefused within the longest retention "
        "period, under a legal hold, for exempt classes,\nand while a sink, an "
        "anchor or the witnesses lack the entries. --dry-run says how far\nit "
        "could go. Backups made before still have what went.",
        OPTIONS(cli_prune_options), cli_run_prune, NULL, false, false},
    {"audit", "tail", "", 0, 0, "The newest entries of the log, in words", NULL,
        OPTIONS(tail_options), run_tail, NULL, false, false},
    {"audit", "prove", "ID", 1, 1,
        "A proof that a record is in the log, for someone else to check",
        "Writes a c2sp.org/tlog-proof@v1 file per entry of the record; the "
        "entry is in it.\n`bailiff audit verify FILE --key KEY` checks it, "
        "and so can any other program that\nknows the format.",
        OPTIONS(cli_prove_options), cli_run_prove, NULL, false, false},
    {"audit", "verify", "[FILE]", 0, 1,
        "Is the log whole? Names what was altered, removed or put in",
        "Reads the state directory (or a copy of one) itself; needs no server "
        "and disturbs\nnone. FILE is a proof or an export: with --key it needs "
        "no state directory.\nExit status 0 only if all of it holds.",
        OPTIONS(cli_verify_options), cli_run_verify, NULL, false, true},
    {"audit", "rotate-key", "", 0, 0, "Sign the log with a new key from now on",
        "Who has the log's first key, log.vkey, follows DIR/log/key-rotations, "
        "whose notes the\nold and the new key have signed. For a while both "
        "sign; tell the witnesses of the\nnew key until then.",
        OPTIONS(rotate_options), NULL, &key_rotate, false, false},
    {"audit", "export", "FILE", 1, 1,
        "Entries with proofs (JSONL), rows as CSV, or OCSF events, into a file",
        "Without filters every entry of the log, or of --from/--to; with "
        "filters all entries\nof the records that fit. A JSONL export ends in "
        "a "
        "trailer: without it it was cut,\nand --resume goes on. `bailiff audit "
        "verify FILE` checks it. \"-\" is standard\noutput (CSV, OCSF).",
        OPTIONS(cli_export_options), cli_run_export, NULL, false, false},
    {"audit", "bundle", "FOLDER", 1, 1,
        "Evidence for someone else: entries, proofs, rules, a verifier",
        "A new folder that proves itself: README.md in it says how to verify "
        "it with and\nwithout Bailiff.",
        OPTIONS(cli_bundle_options), cli_run_bundle, NULL, false, false},
    {"audit", "stats", "", 0, 0,
        "How many: per day, team, model, rule, status ...",
        "Counts requests, or (by type, actor, object) acts and failed logins. "
        "Hours, days\nand months are those of UTC.",
        OPTIONS(cli_stats_options), cli_run_stats, NULL, false, false},
    {"audit", "gaps", "", 0, 0, "When nothing is on record, and why",
        "Between the records of the log. An orderly stop is said to be one; "
        "everything else\nis silence that somebody should be able to explain.",
        OPTIONS(cli_gaps_options), cli_run_gaps, NULL, false, false},
    {"audit", "sample", "", 0, 0,
        "A random sample with proofs, which anybody can repeat",
        "Draw K is SHA-256(\"SEED\\nSIZE\\nK\"), its first eight bytes modulo "
        "SIZE; draws that\nhit an entry twice, or one that opens no record of "
        "the type, are passed over.",
        OPTIONS(cli_sample_options), cli_run_sample, NULL, false, false},
    {"audit", "report", "[NAME]", 0, 1,
        "The questions that auditors come with, by name",
        "Without NAME: the list. Filters narrow a report.",
        OPTIONS(cli_report_options), cli_run_report, NULL, false, false},
    {"audit", "access", "", 0, 0,
        "Access review: who may use a model, or what a caller may use",
        "And by which rules of the version in force.",
        OPTIONS(cli_access_options), cli_run_access, NULL, false, false},
    {"audit", "redecide", "ID", 1, 1,
        "Repeat a decision out of the log, and lay it beside the record",
        "With the rules, callers, models and quotas of then. Exit status 1: "
        "another decision\ncomes out; what the log does not hold is named.",
        OPTIONS(cli_redecide_options), cli_run_redecide, NULL, false, false},
    {"audit", "state", "", 0, 0, "What was in force at a time",
        "Told by the events of all changes: teams, callers, keys, models, "
        "engines, quotas,\nsettings, and the policy version.",
        OPTIONS(cli_past_options), cli_run_past, NULL, false, false},
    {"audit", "reconcile", "", 0, 0,
        "Compare the record with what engines counted, or with a bill",
        "Calls that went around Bailiff show as more than is on record. "
        "Counters of demo\nengines, llama-server (--metrics) and vLLM are "
        "known. Exit status 1: something differs.",
        OPTIONS(cli_reconcile_options), cli_run_reconcile, NULL, false, false},
    {"audit", "find-text", "FILE", 1, 1,
        "Was exactly this body sent, or this answer given?",
        "Looks through the log for the text's keyed digest, under every key "
        "there was. The\ntext itself goes nowhere and is not put on record. "
        "\"-\" is standard input.",
        NULL, 0, cli_run_find_text, NULL, false, false},
    {"audit", "find-content", "TERM...", 1, 8,
        "Which kept requests and answers have these words?",
        "Opens what a rule with @record(\"full\") kept, newest first: all "
        "terms "
        "are to stand in\nthe request, or in the answer (ASCII case is "
        "ignored; "
        "a term with spaces is looked\nfor as it is). Filters narrow what is "
        "opened; --limit is how many are wanted (50).\nEvery page is on "
        "record, "
        "with a keyed digest of the terms and the ids that are shown.",
        OPTIONS(query_options), cli_run_find_content, NULL, false, false},
    {"audit", "reindex", "", 0, 0, "Build the index anew from the log",
        "The log is never touched; queries say that they may be incomplete "
        "meanwhile.\n`bailiff audit verify --index` says whether, and where, "
        "it is needed.",
        OPTIONS(reindex_options), cli_run_reindex, NULL, false, false},
    {"audit", "checkpoint", "", 0, 0,
        "The newest signed checkpoint; keep it somewhere else", NULL, NULL, 0,
        run_checkpoint, NULL, false, false},
    {"anchor", "add", "NAME file|command TARGET", 3, 3,
        "Hand checkpoints to someone else",
        "file: appended to a path (a mount elsewhere). command: a line for "
        "/bin/sh that\ngets the checkpoint on standard input.",
        OPTIONS(anchor_add_options), NULL, &anchor_add, false, false},
    {"anchor", "list", "", 0, 0, "The anchors", NULL, NULL, 0, NULL,
        &anchor_list, false, false},
    {"anchor", "remove", "NAME", 1, 1, "Remove an anchor", NULL, NULL, 0, NULL,
        &anchor_remove, false, false},
};
const struct cli_commands cli_audit_commands = {commands, CLI_COUNT(commands)};
