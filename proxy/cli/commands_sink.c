/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_sink.c - sinks, to whom the log is delivered, as
 * commands. */
#include "proxy/cli/cli_priv.h"

static const struct cli_column sink_columns[] = {
    {"NAME", "name", CELL_TEXT},
    {"KIND", "kind", CELL_TEXT},
    {"URL", "url", CELL_TEXT},
    {"FORMAT", "format", CELL_TEXT},
    {"FIRST", "first", CELL_COUNT},
    {"ADDED", "created", CELL_TIME},
};
static const char *const sink_fields[] = {"name", "kind", "url"};
static const struct cli_option sink_add_options[] = {
    {"format", "jsonl|ocsf", CLI_TEXT, "format",
        "the entries as they are (jsonl), or OCSF events"},
    {"ca-file", "FILE", CLI_TEXT, "caFile",
        "tls, https: trust the authorities in this file alone"},
    {"credential-file", "FILE", CLI_TEXT, "credentialFile",
        "https: one line for the Authorization header; one word is a bearer "
        "token"},
    {"from", "now|start", CLI_TEXT, "from",
        "deliver what comes from now on, or the whole log (now)"},
};
static const struct cli_rest sink_list = {.method = "GET",
    .path = "/v1/sinks",
    .columns = sink_columns,
    .column_count = CLI_COUNT(sink_columns),
    .empty = "no sinks: nobody is delivered the log"};
static const struct cli_rest sink_add = {.method = "POST",
    .path = "/v1/sinks",
    .fields = sink_fields,
    .done = "sink {name} added: entries from {first} on go to {url}"};
static const struct cli_rest sink_remove = {
    .method = "DELETE", .path = "/v1/sinks/{0}", .done = "sink removed"};
static const struct cli_rest sink_test = {.method = "POST",
    .path = "/v1/sinks/{0}/test",
    .done = "the receiver took entry {index}"};

static const struct cli_command commands[] = {
    {.noun = "sink",
        .verb = "add",
        .arguments = "NAME syslog|https URL",
        .least = 3,
        .most = 3,
        .summary = "Deliver the log, as it grows, to a SIEM",
        .details =
            "syslog: tcp://HOST:PORT or tls://HOST[:PORT], RFC 5424 with octet "
            "counting. https:\nPOST of JSON lines. At least once: after a "
            "failure everything that is not known to\nhave arrived is sent "
            "again; the entry's index tells repetitions. `bailiff status\n"
            "--json` shows how far each is.",
        .options = sink_add_options,
        .option_count = CLI_COUNT(sink_add_options),
        .rest = &sink_add},
    {.noun = "sink",
        .verb = "list",
        .arguments = "",
        .summary = "To whom the log is delivered",
        .rest = &sink_list},
    {.noun = "sink",
        .verb = "test",
        .arguments = "NAME",
        .least = 1,
        .most = 1,
        .summary =
            "Send the newest entry once more, and see whether it is taken",
        .rest = &sink_test},
    {.noun = "sink",
        .verb = "remove",
        .arguments = "NAME",
        .least = 1,
        .most = 1,
        .summary = "Deliver nothing more to it",
        .rest = &sink_remove},
};
const struct cli_commands cli_sink_commands = {commands, CLI_COUNT(commands)};
