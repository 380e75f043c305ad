/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_state.c - the state directory and the processes: init,
 * serve, check, status, demo-engine, version. */
#include "proxy/cli/cli_priv.h"

#include "engine/demo.h"
#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/file.h"
#include "proxy/check.h"
#include "proxy/init.h"
#include "proxy/server.h"

#include <stdlib.h>
#include <unistd.h>

/* DIR as an argument, else as every other command takes it. */
static const char *dir_of(struct cli *cli)
{
    if (cli->arg_count > 0)
        cli->dir = cli->args[0];
    return cli_state_dir(cli);
}

/* --- init ------------------------------------------------------------ */

static const struct cli_option init_options[] = {
    {"origin", "NAME", CLI_TEXT, NULL,
        "the log's name for ever (HOST/bailiff-<8 random hex>)"},
    {"admin", "NAME", CLI_TEXT, NULL, "the first administrator (you)"},
    {"require-approvals", "N", CLI_NUMBER, NULL,
        "approvals by others that a policy version needs (0)"},
    {"zone", "ZONE", CLI_TEXT, NULL,
        "of calendar quotas and rules, as Europe/Berlin (the system's)"},
    {"write-token", "FILE", CLI_TEXT, NULL,
        "put the token into FILE (mode 0600) and do not print it"},
};

static enum err write_token(
    const char *file, const char *token, struct errinfo *info)
{
    struct buf line;
    enum err err;

    buf_init(&line, 256);
    buf_printf(&line, "%s\n", token);
    err = line.failed ? ERR_NOMEM
                      : file_replace(file, buf_str(&line), 0600, info);
    crypto_wipe(line.ptr, line.ptr ? line.cap : 0);
    buf_fini(&line);
    return err;
}

static int print_init(
    struct cli *cli, const char *dir, const struct init_result *result)
{
    const char *file = cli_value(cli, "write-token");
    struct errinfo info = {0};

    if (file && write_token(file, result->token, &info) != ERR_OK)
        return cli_say(1,
            "%s. The state is made, but its administrator's token is lost: "
            "remove %s and init again",
            info.text, dir);
    if (cli->json) {
        json_t *answer = json_pack("{s:s,s:s,s:s,s:s}", "directory", dir,
            "origin", result->origin, "administrator", result->administrator,
            "zone", result->zone);
        if (!file)
            json_object_set_new(answer, "token",
                json_stringn(result->token, strlen(result->token)));
        cli_print_json(answer);
        json_decref(answer);
        return 0;
    }
    printf("%s is ready.\n", dir);
    printf("  log            %s (public key in %s/log.vkey)\n", result->origin,
        dir);
    printf("  rules          %zu starter rules are in force, with %zu teams "
           "and %zu group%s of models\n",
        result->rules, result->teams, result->groups,
        result->groups == 1 ? "" : "s");
    printf("  zone           %s\n", result->zone);
    printf("  administrator  %s\n", result->administrator);
    if (file)
        printf("  token          in %s\n", file);
    else
        cli_print_secret("The administrator's token", result->token);
    printf("Next: bailiff -C %s engine add NAME URL\n"
           "      bailiff -C %s model add NAME --engine NAME --approve\n"
           "      bailiff -C %s onboard HANDLE --team everyone\n"
           "      bailiff serve %s\n",
        dir, dir, dir, dir);
    return 0;
}

static int run_init(struct cli *cli)
{
    const char *dir = dir_of(cli), *approvals, *file;
    struct init_options options = {0};
    struct init_result result;
    struct errinfo info = {0};
    int64_t number = 0;
    int code;

    if (!dir)
        return 2;
    approvals = cli_value(cli, "require-approvals");
    if (approvals && !cli_number("require-approvals", approvals, &number))
        return 2;
    if (number < 0 || number > 10)
        return cli_usage(cli, "--require-approvals: from 0 to 10");
    options.dir = dir;
    options.origin = cli_value(cli, "origin");
    options.administrator = cli_value(cli, "admin");
    options.zone = cli_value(cli, "zone");
    options.require_approvals = (int)number;
    /* Before anything is made: the token is told only once. */
    file = cli_value(cli, "write-token");
    if (file && file_create(file, STR(""), 0600, &info) != ERR_OK)
        return cli_say(1, "--write-token: %s", info.text);
    if (init_state(&options, &result, &info) != ERR_OK) {
        if (file)
            unlink(file);
        return cli_say(1, "%s", info.text);
    }
    code = print_init(cli, dir, &result);
    crypto_wipe(&result, sizeof result);
    return code;
}

/* --- serve, check, demo-engine, version ------------------------------ */

static int run_serve(struct cli *cli)
{
    const char *dir = dir_of(cli);

    return dir ? server_run(dir) : 2;
}

static const struct cli_option check_options[] = {
    {"adopt", NULL, CLI_FLAG, NULL,
        "accept a control database that was changed from outside"},
    {"reason", "TEXT", CLI_TEXT, NULL, "why; goes on record with --adopt"},
};

static int run_check(struct cli *cli)
{
    const char *dir = dir_of(cli);
    struct check_options options = {.dir = dir};

    if (!dir)
        return 2;
    options.adopt = cli_has(cli, "adopt");
    options.reason = cli_value(cli, "reason");
    if (options.adopt && (!options.reason || !options.reason[0]))
        return cli_usage(cli, "--adopt wants --reason TEXT");
    return check_state(&options, stdout);
}

static int run_demo_engine(struct cli *cli)
{
    return demo_engine_main(cli->argc, cli->argv);
}

static int run_version(struct cli *cli)
{
    if (cli->json)
        printf("{\"version\":\"%s\"}\n", BAILIFF_VERSION);
    else
        printf("bailiff %s\n", BAILIFF_VERSION);
    return 0;
}

/* --- status ---------------------------------------------------------- */

static const struct cli_column status_columns[] = {
    {"state directory", "directory", CELL_TEXT},
    {"log", "origin", CELL_TEXT},
    {"server is running", "running", CELL_YES},
    {"policy version", "policyVersion", CELL_TEXT},
    {"approvals required", "requireApprovals", CELL_TEXT},
    {"zone", "zone", CELL_TEXT},
    {"teams", "state.teams", CELL_COUNT},
    {"callers", "state.callers", CELL_COUNT},
    {"keys in force", "state.keysInForce", CELL_COUNT},
    {"engines", "state.engines", CELL_COUNT},
    {"models (approved)", "state.modelsApproved", CELL_COUNT},
    {"quotas", "state.quotas", CELL_COUNT},
    {"anchors", "state.anchors", CELL_COUNT},
    {"entries on record", "log.entries", CELL_COUNT},
    {"under a checkpoint", "log.published", CELL_COUNT},
    {"log is writable", "log.writable", CELL_YES},
    {"listens on", "server.listen", CELL_TEXT},
    {"connections", "server.connections", CELL_COUNT},
    {"requests under way", "server.requests.running", CELL_COUNT},
    {"waiting for an engine", "server.requests.waiting", CELL_COUNT},
};
static const struct cli_column engine_columns[] = {
    {"ENGINE", "name", CELL_TEXT},
    {"HEALTH", "health", CELL_TEXT},
    {"URL", "url", CELL_TEXT},
    {"UNDER WAY", "outstanding", CELL_COUNT},
    {"REQUESTS", "requests", CELL_COUNT},
    {"ERRORS", "errors", CELL_COUNT},
};

static int run_status(struct cli *cli)
{
    json_t *answer = NULL;
    const json_t *engines, *warnings;
    int result = cli_call(cli, "GET", "/v1/status", NULL, &answer, NULL);

    if (result)
        return result;
    if (cli->json) {
        cli_print_json(answer);
        json_decref(answer);
        return 0;
    }
    cli_print_record(answer, status_columns, CLI_COUNT(status_columns));
    engines = cli_get(answer, "server.engines");
    if (json_array_size(engines) > 0) {
        putchar('\n');
        cli_print_table(
            engines, engine_columns, CLI_COUNT(engine_columns), NULL);
    }
    warnings = json_object_get(answer, "warnings");
    for (size_t i = 0; i < json_array_size(warnings); i++) {
        fputs(i == 0 ? "\nwarning: " : "warning: ", stdout);
        cli_print_safe(stdout, json_string_value(json_array_get(warnings, i)));
        putchar('\n');
    }
    json_decref(answer);
    return 0;
}

#define OPTIONS(table) table, CLI_COUNT(table)
static const struct cli_command commands[] = {
    {"init", NULL, "DIR", 0, 1, "Make a new state directory", NULL,
        OPTIONS(init_options), run_init, NULL, false, true},
    {"serve", NULL, "DIR", 0, 1, "Run the proxy",
        "SIGTERM drains and stops, SIGHUP reads settings and certificate anew.",
        NULL, 0, run_serve, NULL, false, true},
    {"check", NULL, "DIR", 0, 1, "Validate everything without serving",
        "Prints every error and warning; exit code 0: no errors, 1: errors.",
        OPTIONS(check_options), run_check, NULL, false, true},
    {"status", NULL, "", 0, 0, "The state of things", NULL, NULL, 0, run_status,
        NULL, false, false},
    {"backup", NULL, "TARGET", 1, 1,
        "Copy the whole state while the server works on",
        "TARGET is a new folder, a new FILE.tar, or - (a tar archive on "
        "standard output).\nRun it as a user who may read the state "
        "directory.",
        OPTIONS(cli_backup_options), cli_run_backup, NULL, false, false},
    {"restore", NULL, "BACKUP DIR", 2, 2, "Make a state directory of a backup",
        "Holds every file against the manifest, and the log against what its "
        "anchors and\n--checkpoint hold: it refuses to go on where more was "
        "signed than was backed up.",
        OPTIONS(cli_restore_options), cli_run_restore, NULL, false, true},
    {"demo-engine", NULL, "[OPTIONS]", 0, 16,
        "A small language model in a process of its own", NULL, NULL, 0,
        run_demo_engine, NULL, true, true},
    {"version", NULL, "", 0, 0, "The version", NULL, NULL, 0, run_version, NULL,
        false, true},
};
const struct cli_commands cli_state_commands = {commands, CLI_COUNT(commands)};
