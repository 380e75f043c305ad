/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_witness.c - `witness`: who cosigns our checkpoints (add,
 * list, remove, quorum), and a witness of other logs (init, watch, run). */
#include "proxy/cli/cli_priv.h"

#include "audit/witness.h"
#include "lib/crypto.h"
#include "lib/file.h"
#include "proxy/witness_service.h"

#include <stdlib.h>

#define LISTEN_DEFAULT "127.0.0.1:8442"

/* --- Those who cosign ----------------------------------------------------- */

static const struct cli_column witness_columns[] = {
    {"NAME", "name", CELL_TEXT},
    {"URL", "url", CELL_TEXT},
    {"KEY", "key", CELL_TEXT},
    {"ADDED", "created", CELL_TIME},
};
static const struct cli_column quorum_columns[] = {
    {"quorum", "quorum", CELL_COUNT},
    {"mode", "mode", CELL_TEXT},
    {"grace, minutes", "graceMinutes", CELL_COUNT},
    {"every, seconds", "everySeconds", CELL_COUNT},
};
static const char *const witness_fields[] = {"name", "url", "key"};
static const struct cli_option add_options[] = {
    {"ca-file", "FILE", CLI_TEXT, "caFile",
        "https: trust the authorities in this file alone"},
};
static const struct cli_option quorum_options[] = {
    {"mode", "open|closed", CLI_TEXT, "mode",
        "what follows when too few cosign: requests are served all the same, "
        "or none is (open)"},
    {"grace-minutes", "N", CLI_NUMBER, "graceMinutes",
        "for how long too few may cosign before that (10)"},
    {"every-seconds", "N", CLI_NUMBER, "everySeconds",
        "how often they are asked while there is news (10)"},
};
static const struct cli_option run_options[] = {
    {"listen", "HOST:PORT", CLI_TEXT, NULL, "where (" LISTEN_DEFAULT ")"},
};
static const struct cli_rest witness_list = {.method = "GET",
    .path = "/v1/witnesses",
    .columns = witness_columns,
    .column_count = CLI_COUNT(witness_columns),
    .empty = "no witnesses: nobody cosigns the log's checkpoints"};
static const struct cli_rest witness_add = {.method = "POST",
    .path = "/v1/witnesses",
    .fields = witness_fields,
    .done = "witness {name} added"};
static const struct cli_rest witness_remove = {
    .method = "DELETE", .path = "/v1/witnesses/{0}", .done = "witness removed"};
static const char *const quorum_fields[] = {"quorum"};

static int run_quorum(struct cli *cli)
{
    json_t *body, *answer = NULL;
    int64_t quorum;
    int result;

    if (cli->arg_count == 0) {
        result =
            cli_call(cli, "GET", "/v1/witness-policy", NULL, &answer, NULL);
    } else {
        if (!cli_number("N", cli->args[0], &quorum))
            return 2;
        body = cli_body(cli, NULL);
        if (!body)
            return 2;
        json_object_set_new(body, quorum_fields[0], json_integer(quorum));
        result =
            cli_call(cli, "PUT", "/v1/witness-policy", body, &answer, NULL);
    }
    if (result == 0 && cli->json)
        cli_print_json(answer);
    else if (result == 0)
        cli_print_record(answer, quorum_columns, CLI_COUNT(quorum_columns));
    json_decref(answer);
    return result;
}

/* --- A witness of other logs ------------------------------------------------
 */

static int run_init(struct cli *cli)
{
    struct errinfo info = {0};
    struct buf key;
    char *path = file_join(cli->args[0], "witness.vkey");
    enum err err = crypto_init(&info);

    buf_init(&key, 4096);
    if (!err)
        err = witness_create(cli->args[0], str_from(cli->args[1]), &info);
    if (!err)
        err = path ? file_read(path, &key, &info)
                   : errinfo_set(&info, ERR_NOMEM, "out of memory");
    if (err)
        cli_say(1, "%s", info.text);
    else
        printf("a witness is in %s; its key, for the logs that it is to "
               "watch:\n%.*s",
            cli->args[0], STR_ARG(buf_str(&key)));
    buf_fini(&key);
    free(path);
    return err ? 1 : 0;
}

/* A key, or a file that holds one. */
static int run_watch(struct cli *cli)
{
    struct errinfo info = {0};
    struct buf file;
    struct str key = str_from(cli->args[1]), rest;
    enum err err = ERR_OK;

    buf_init(&file, 4096);
    if (file_exists(cli->args[1])) {
        err = file_read(cli->args[1], &file, &info);
        str_split(buf_str(&file), '\n', &key, &rest);
    }
    if (!err)
        err = witness_trust(cli->args[0], str_trim(key), &info);
    if (err)
        cli_say(1, "%s", info.text);
    else
        printf("watched from the next start on: %.*s\n", STR_ARG(key));
    buf_fini(&file);
    return err ? 1 : 0;
}

static int run_witness(struct cli *cli)
{
    const char *listen = cli_value(cli, "listen");

    return witness_service_run(cli->args[0], listen ? listen : LISTEN_DEFAULT);
}

static const struct cli_command commands[] = {
    {.noun = "witness",
        .verb = "add",
        .arguments = "NAME URL KEY",
        .least = 3,
        .most = 3,
        .summary = "Have the log's checkpoints cosigned by a witness",
        .details =
            "URL is the prefix before /add-checkpoint (c2sp.org/tlog-witness), "
            "KEY the witness's\nverifier key (name+id+base64, type 04). The "
            "witness has to be told of this log's\nkey, DIR/log.vkey.",
        .options = add_options,
        .option_count = CLI_COUNT(add_options),
        .rest = &witness_add},
    {.noun = "witness",
        .verb = "list",
        .arguments = "",
        .summary = "Who cosigns the log's checkpoints",
        .rest = &witness_list},
    {.noun = "witness",
        .verb = "remove",
        .arguments = "NAME",
        .least = 1,
        .most = 1,
        .summary = "Ask it no more",
        .rest = &witness_remove},
    {.noun = "witness",
        .verb = "quorum",
        .arguments = "[N]",
        .least = 0,
        .most = 1,
        .summary = "How many must cosign, and what follows if they do not",
        .options = quorum_options,
        .option_count = CLI_COUNT(quorum_options),
        .run = run_quorum},
    {.noun = "witness",
        .verb = "init",
        .arguments = "FOLDER NAME",
        .least = 2,
        .most = 2,
        .summary = "A witness of our own, for the logs of others",
        .details = "NAME identifies it in cosignatures: a URL without scheme, "
                   "such as\nwitness.example.com/w1. FOLDER is its own; keep "
                   "it on another machine than the\nlogs that it watches.",
        .run = run_init,
        .no_state = true},
    {.noun = "witness",
        .verb = "watch",
        .arguments = "FOLDER KEY|FILE",
        .least = 2,
        .most = 2,
        .summary = "Let our witness watch a log, by the log's verifier key",
        .run = run_watch,
        .no_state = true},
    {.noun = "witness",
        .verb = "run",
        .arguments = "FOLDER",
        .least = 1,
        .most = 1,
        .summary = "Run our witness until it is told to stop",
        .details = "Plain HTTP; towards strangers a web server with TLS goes "
                   "before it.",
        .options = run_options,
        .option_count = CLI_COUNT(run_options),
        .run = run_witness,
        .no_state = true},
};
const struct cli_commands cli_witness_commands = {
    commands, CLI_COUNT(commands)};
