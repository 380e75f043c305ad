/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_audit.c - the record: query, show, follow, verify,
 * checkpoints and anchors. */
#include "proxy/cli/cli_priv.h"

#include <stdlib.h>

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

#define OPTIONS(table) table, CLI_COUNT(table)
static const struct cli_command commands[] = {
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
