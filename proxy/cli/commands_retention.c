/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_retention.c - `audit retention`, `audit hold` and
 * `audit subject`: how long records stay readable, what keeps them so, and
 * what a person may ask for. */
#include "proxy/cli/cli_priv.h"

#include "lib/file.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

static bool is(const struct cli *cli, const char *act, int arguments)
{
    return strcmp(cli->args[0], act) == 0 && cli->arg_count == arguments;
}

/* Takes the answer. */
static int print_answer(struct cli *cli, json_t *answer, const char *done)
{
    if (cli->json)
        cli_print_json(answer);
    else
        cli_print_done(done, answer);
    json_decref(answer);
    return 0;
}

static int call_and_say(struct cli *cli, const char *method, const char *path,
    json_t *body, const char *done)
{
    json_t *answer = NULL;
    int result = cli_call(cli, method, path, body, &answer, NULL);

    return result ? result : print_answer(cli, answer, done);
}

/* --- audit retention --------------------------------------------------- */

const struct cli_option cli_retention_options[4] = {
    {"days", "N", CLI_NUMBER, "days",
        "class: how long after the end of the month"},
    {"profile", "NAME", CLI_TEXT, "profile",
        "class: ai-act (184 days), pci (366), hipaa (2192), sec17a4 (2192, "
        "exempt)"},
    {"exempt", NULL, CLI_FLAG, "exempt",
        "class: is not erased on a person's demand"},
    {"reason", "TEXT", CLI_TEXT, "reason", "goes on record"},
};
static const struct cli_column class_columns[] = {
    {"CLASS", "name", CELL_TEXT},
    {"DAYS", "days", CELL_COUNT},
    {"IN EFFECT", "effectiveDays", CELL_COUNT},
    {"EXEMPT FROM ERASURE", "exempt", CELL_YES},
};
static const struct cli_column team_columns[] = {
    {"TEAM", "team", CELL_TEXT}, {"CLASS", "class", CELL_TEXT}};
static const struct cli_column disposal_columns[] = {
    {"BEGUN", "begun", CELL_TIME},
    {"ENDED", "ended", CELL_TIME},
    {"KIND", "kind", CELL_TEXT},
    {"OF", "caller", CELL_TEXT},
    {"KEYS", "keys", CELL_COUNT},
    {"FILES", "files", CELL_COUNT},
    {"BASIS", "basis", CELL_TEXT},
    {"ID", "id", CELL_TEXT},
};

static int show_retention(struct cli *cli)
{
    json_t *answer = NULL;
    int result = cli_call(cli, "GET", "/v1/retention", NULL, &answer, NULL);
    long long lock;

    if (result)
        return result;
    if (cli->json) {
        cli_print_json(answer);
        json_decref(answer);
        return 0;
    }
    lock = (long long)json_integer_value(json_object_get(answer, "lockDays"));
    cli_print_table(json_object_get(answer, "classes"), class_columns,
        CLI_COUNT(class_columns), NULL);
    if (lock > 0)
        printf("locked: nothing goes before %lld days, and nobody can lower "
               "that\n",
            lock);
    else
        printf("not locked: `bailiff audit retention lock DAYS` keeps "
               "everybody from shortening\n");
    putchar('\n');
    if (json_array_size(json_object_get(answer, "teams")) > 0) {
        cli_print_table(json_object_get(answer, "teams"), team_columns,
            CLI_COUNT(team_columns), NULL);
        putchar('\n');
    }
    printf("%lld sealing keys are there (one per person, month and class)\n\n",
        (long long)json_integer_value(json_object_get(answer, "keys")));
    cli_print_table(json_object_get(answer, "disposals"), disposal_columns,
        CLI_COUNT(disposal_columns), "nothing was destroyed yet");
    json_decref(answer);
    return 0;
}

static int run_now(struct cli *cli)
{
    json_t *answer = NULL;
    int result =
        cli_call(cli, "POST", "/v1/retention/run", NULL, &answer, NULL);
    const char *hold;
    json_t *count;

    if (result)
        return result;
    if (cli->json) {
        cli_print_json(answer);
        json_decref(answer);
        return 0;
    }
    printf("%lld sealing keys had expired and are destroyed, %lld are held\n",
        (long long)json_integer_value(json_object_get(answer, "destroyed")),
        (long long)json_integer_value(json_object_get(answer, "held")));
    json_object_foreach(json_object_get(answer, "holds"), hold, count) printf(
        "  by the hold %s: %lld\n", hold, (long long)json_integer_value(count));
    if (json_is_true(json_object_get(answer, "digestKeyRotated")))
        printf("content digests have a new key: digest_key_days was over\n");
    if (json_array_size(json_object_get(answer, "disposals")) > 0)
        cli_print_table(json_object_get(answer, "disposals"), disposal_columns,
            CLI_COUNT(disposal_columns), NULL);
    json_decref(answer);
    return 0;
}

static int run_class(struct cli *cli)
{
    json_t *body = cli_body(cli, NULL);

    if (!body)
        return 2;
    return call_and_say(cli, "PUT",
        arena_printf(cli->arena, "/v1/retention/classes/%s",
            cli_encode(cli, cli->args[1])),
        body, "class {name}: {effectiveDays} days after the end of a month");
}

static int run_team(struct cli *cli)
{
    const char *path = arena_printf(
        cli->arena, "/v1/retention/teams/%s", cli_encode(cli, cli->args[1]));
    json_t *body;

    if (cli->arg_count == 2)
        return call_and_say(cli, "DELETE", path, NULL,
            "the team's records are of the default class");
    body = json_pack("{s:s}", "class", cli->args[2]);
    if (body && cli_value(cli, "reason"))
        json_object_set_new(
            body, "reason", json_string(cli_value(cli, "reason")));
    return call_and_say(
        cli, "PUT", path, body, "records of team {team}: class {class}");
}

static int run_lock(struct cli *cli)
{
    int64_t days;
    json_t *body;

    if (!cli_number("DAYS", cli->args[1], &days))
        return 2;
    body = json_pack("{s:I}", "days", (json_int_t)days);
    if (body && cli_value(cli, "reason"))
        json_object_set_new(
            body, "reason", json_string(cli_value(cli, "reason")));
    return call_and_say(cli, "POST", "/v1/retention/lock", body,
        "locked at {days} days; it can be raised, and by nobody lowered");
}

int cli_run_retention(struct cli *cli)
{
    if (is(cli, "show", 1))
        return show_retention(cli);
    if (is(cli, "run", 1))
        return run_now(cli);
    if (is(cli, "class", 2))
        return run_class(cli);
    if (is(cli, "team", 3) || is(cli, "team", 2))
        return run_team(cli);
    if (is(cli, "lock", 2))
        return run_lock(cli);
    if (is(cli, "digest-key", 1))
        return call_and_say(cli, "POST", "/v1/retention/digest-key", NULL,
            "digest key {number} is used from now on; {replaced} is kept until "
            "its period is over");
    return cli_usage(cli, "it is: show | run | digest-key | class NAME --days "
                          "N | team TEAM [CLASS] | lock "
                          "DAYS");
}

/* --- audit hold ---------------------------------------------------------- */

const struct cli_option cli_hold_options[6] = {
    {"caller", "WHO", CLI_TEXT, "caller", "add: whose records"},
    {"team", "NAME", CLI_TEXT, "team", "add: of which team, or one below it"},
    {"since", "TIME", CLI_TEXT, "since", "add: not before"},
    {"until", "TIME", CLI_TEXT, "until", "add: before"},
    {"reason", "TEXT", CLI_TEXT, "reason", "add, release: goes on record"},
    {"basis", "TEXT", CLI_TEXT, "basis",
        "add: the duty or claim that it rests on"},
};
static const struct cli_column hold_columns[] = {
    {"HOLD", "name", CELL_TEXT},
    {"CALLER", "handle", CELL_TEXT},
    {"TEAM", "team", CELL_TEXT},
    {"SINCE", "since", CELL_TIME},
    {"UNTIL", "until", CELL_TIME},
    {"BASIS", "basis", CELL_TEXT},
    {"RELEASED", "released", CELL_TIME},
};
static const struct cli_column hold_record[] = {
    {"hold", "name", CELL_TEXT},
    {"caller", "handle", CELL_TEXT},
    {"team", "team", CELL_TEXT},
    {"since", "since", CELL_TIME},
    {"until", "until", CELL_TIME},
    {"reason", "reason", CELL_TEXT},
    {"basis", "basis", CELL_TEXT},
    {"created", "created", CELL_TIME},
    {"released", "released", CELL_TIME},
    {"keys held", "keys", CELL_COUNT},
    {"requests it is about", "records", CELL_COUNT},
    {"others that stay readable with it", "beyond", CELL_COUNT},
};

static const struct cli_column reach_columns[] = {
    {"WHO", "handle", CELL_TEXT},
    {"ID", "caller", CELL_TEXT},
    {"MONTH", "month", CELL_TEXT},
    {"KEYS", "keys", CELL_COUNT},
    {"HELD", "records", CELL_COUNT},
    {"ALSO READABLE", "beyond", CELL_COUNT},
    {"KEPT FILES", "files", CELL_COUNT},
    {"BYTES", "bytes", CELL_COUNT},
};

static int print_hold(
    struct cli *cli, const char *method, const char *path, json_t *body)
{
    json_t *answer = NULL;
    int result = cli_call(cli, method, path, body, &answer, NULL);

    if (result)
        return result;
    if (cli->json)
        cli_print_json(answer);
    else
        cli_print_record(answer, hold_record, CLI_COUNT(hold_record));
    if (!cli->json && json_array_size(json_object_get(answer, "reach")) > 0) {
        puts("\nwhat its keys seal, and so stays readable:");
        cli_print_table(json_object_get(answer, "reach"), reach_columns,
            CLI_COUNT(reach_columns), NULL);
    }
    json_decref(answer);
    return 0;
}

static int list_holds(struct cli *cli)
{
    json_t *answer = NULL;
    int result = cli_call(cli, "GET", "/v1/holds", NULL, &answer, NULL);

    if (result)
        return result;
    if (cli->json)
        cli_print_json(answer);
    else
        cli_print_table(json_object_get(answer, "items"), hold_columns,
            CLI_COUNT(hold_columns), "no legal holds");
    json_decref(answer);
    return 0;
}

static int add_hold(struct cli *cli)
{
    json_t *body = cli_body(cli, NULL);

    if (!body)
        return 2;
    if (!cli_exact_times(cli, body)) {
        json_decref(body);
        return 2;
    }
    json_object_set_new(body, "name", json_string(cli->args[1]));
    return print_hold(cli, "POST", "/v1/holds", body);
}

int cli_run_hold(struct cli *cli)
{
    const char *name = cli->arg_count > 1 ? cli_encode(cli, cli->args[1]) : "";

    if (is(cli, "list", 1))
        return list_holds(cli);
    if (is(cli, "add", 2))
        return add_hold(cli);
    if (is(cli, "show", 2))
        return print_hold(
            cli, "GET", arena_printf(cli->arena, "/v1/holds/%s", name), NULL);
    if (is(cli, "release", 2))
        return print_hold(cli, "POST",
            arena_printf(cli->arena, "/v1/holds/%s/release", name),
            cli_body(cli, NULL));
    return cli_usage(cli,
        "it is: list | show NAME | release NAME --reason TEXT | add NAME "
        "[--caller WHO] [--team NAME] [--since TIME] [--until TIME] "
        "--reason TEXT --basis TEXT");
}

/* What is held, expired and erased, in one. */
int cli_report_retention(struct cli *cli)
{
    json_t *retention = NULL, *holds = NULL, *both;
    int result;

    if (!cli->json) {
        result = show_retention(cli);
        if (result)
            return result;
        putchar('\n');
        return list_holds(cli);
    }
    result = cli_call(cli, "GET", "/v1/retention", NULL, &retention, NULL);
    if (!result)
        result = cli_call(cli, "GET", "/v1/holds", NULL, &holds, NULL);
    if (!result) {
        both = json_pack("{s:O, s:O}", "retention", retention, "holds",
            json_object_get(holds, "items"));
        cli_print_json(both);
        json_decref(both);
    }
    json_decref(retention);
    json_decref(holds);
    return result;
}

/* --- audit subject ------------------------------------------------------- */

const struct cli_option cli_subject_options[2] = {
    {"reason", "TEXT", CLI_TEXT, "reason",
        "erase: goes on record; name nobody in it"},
    {"basis", "TEXT", CLI_TEXT, "basis",
        "erase: what it rests on: \"GDPR art. 17\""},
};

/* A line for each record. False: said. */
static bool write_pages(struct cli *cli, const char *of, FILE *out,
    json_t **person, long long *count)
{
    long long after = -1;

    for (bool more = true; more;) {
        const char *path =
            after < 0 ? arena_printf(cli->arena, "/v1/audit/subjects/%s?of=%s",
                            cli_encode(cli, cli->args[1]), of)
                      : arena_printf(cli->arena,
                            "/v1/audit/subjects/%s?of=%s&after=%lld",
                            cli_encode(cli, cli->args[1]), of, after);
        json_t *answer = NULL;
        const json_t *records;

        if (!path || cli_call(cli, "GET", path, NULL, &answer, NULL))
            return false;
        records = json_object_get(answer, "records");
        for (size_t i = 0; i < json_array_size(records); i++) {
            json_dumpf(json_array_get(records, i), out, JSON_COMPACT);
            fputc('\n', out);
            ++*count;
        }
        if (!*person)
            *person = json_incref(json_object_get(answer, "person"));
        more = json_is_true(json_object_get(answer, "more"));
        after = (long long)json_integer_value(json_object_get(answer, "next"));
        json_decref(answer);
    }
    return true;
}

static bool write_records(struct cli *cli, const char *folder, const char *of,
    json_t **person, long long *count)
{
    const char *path = arena_printf(cli->arena, "%s/%s.jsonl", folder, of);
    FILE *out = path ? fopen(path, "wx") : NULL;
    bool good;

    if (!out) {
        cli_say(1, "%s: %s", path ? path : folder, strerror(errno));
        return false;
    }
    good = write_pages(cli, of, out, person, count);
    if (fclose(out) != 0 && good) {
        cli_say(1, "%s: %s", path, strerror(errno));
        good = false;
    }
    return good;
}

static const char readme[] =
    "What is on record about one person, as it was when this copy was made.\n"
    "\n"
    "person.json      the id that the log knows the person by, the name, keys\n"
    "requests.jsonl   a line for each request the person made: its entries of\n"
    "                 the log, the personal fields that they seal, opened, "
    "and\n"
    "                 what was kept of the request and of its answer\n"
    "acts.jsonl       a line for each act of an administrator on the person\n"
    "\n"
    "\"state\" says of each part whether it was never there (none), is shown\n"
    "(open), or was erased. Entries are those of the log; `bailiff audit "
    "prove\n"
    "ID` proves that they are in it.\n";

static bool write_file(
    struct cli *cli, const char *folder, const char *name, struct str content)
{
    const char *path = arena_printf(cli->arena, "%s/%s", folder, name);
    struct errinfo info = {0};

    if (path && file_create(path, content, 0600, &info) == ERR_OK)
        return true;
    cli_say(1, "%s", info.text[0] ? info.text : "out of memory");
    return false;
}

static int export_subject(struct cli *cli)
{
    const char *folder = cli->args[2];
    long long requests = 0, acts = 0;
    json_t *person = NULL;
    char *text = NULL;
    int result = 1;

    if (mkdir(folder, 0700) != 0)
        return cli_say(1, "%s: %s", folder, strerror(errno));
    if (write_records(cli, folder, "requests", &person, &requests) &&
        write_records(cli, folder, "acts", &person, &acts)) {
        text = json_dumps(person, JSON_INDENT(2));
        if (text && write_file(cli, folder, "person.json", str_from(text)) &&
            write_file(cli, folder, "README.txt", str_from(readme))) {
            printf(
                "%lld requests and %lld acts in %s\n", requests, acts, folder);
            result = 0;
        }
    }
    free(text);
    json_decref(person);
    return result;
}

static int erase_subject(struct cli *cli)
{
    json_t *body = cli_body(cli, NULL);

    if (!body)
        return 2;
    return call_and_say(cli, "POST",
        arena_printf(cli->arena, "/v1/audit/subjects/%s/erase",
            cli_encode(cli, cli->args[1])),
        body,
        "{caller} is erased: {keys} sealing keys and {files} kept files are "
        "destroyed, {exempt} keys of exempt classes stay. The certificate is "
        "certificates/{id}.json in the state directory.");
}

int cli_run_subject(struct cli *cli)
{
    if (is(cli, "export", 3))
        return export_subject(cli);
    if (is(cli, "erase", 2))
        return erase_subject(cli);
    return cli_usage(cli, "it is: export CALLER FOLDER | erase CALLER --reason "
                          "TEXT --basis TEXT");
}
