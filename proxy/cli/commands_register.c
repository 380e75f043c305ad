/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_register.c - engines, models, groups of models. */
#include "proxy/cli/cli_priv.h"

#include <stdlib.h>

static const char *const name_field[] = {"name"};

/* --- engine ---------------------------------------------------------- */

static const struct cli_column engine_columns[] = {
    {"NAME", "name", CELL_TEXT},
    {"KIND", "kind", CELL_TEXT},
    {"URL", "url", CELL_TEXT},
    {"WEIGHT", "weight", CELL_COUNT},
    {"AT ONCE", "maxConcurrent", CELL_COUNT},
    {"REGION", "region", CELL_TEXT},
    {"CREATED", "created", CELL_TIME},
};
static const char *const engine_fields[] = {"name", "url"};
#define ENGINE_OPTIONS                                                         \
    {"kind", "KIND", CLI_TEXT, "kind",                                         \
        "openai (default), llama-server, vllm, ollama, tgi, localai, demo"},   \
        {"health-path", "PATH", CLI_TEXT, "healthPath", "asked for health"},   \
        {"credential-file", "FILE", CLI_TEXT, "credentialFile",                \
            "holds the engine's own bearer token"},                            \
        {"ca-file", "FILE", CLI_TEXT, "caFile",                                \
            "https: trust this bundle only"},                                  \
        {"weight", "N", CLI_NUMBER, "weight", "share of the load (1)"},        \
        {"max-concurrent", "N", CLI_NUMBER, "maxConcurrent",                   \
            "requests at once; 0: no limit"},                                  \
        {"region", "TEXT", CLI_TEXT, "region", "where it stands, for rules"},
static const struct cli_option engine_add_options[] = {ENGINE_OPTIONS};
static const struct cli_option engine_change_options[] = {
    {"url", "URL", CLI_TEXT, "url", "where it is from now on"}, ENGINE_OPTIONS};
static const struct cli_rest engine_list = {.method = "GET",
    .path = "/v1/engines",
    .columns = engine_columns,
    .column_count = CLI_COUNT(engine_columns),
    .empty = "no engines; `bailiff engine add NAME URL` registers one"};
static const struct cli_rest engine_add = {.method = "POST",
    .path = "/v1/engines",
    .fields = engine_fields,
    .done = "engine {name} added at {url}"};
static const struct cli_rest engine_change = {.method = "PATCH",
    .path = "/v1/engines/{0}",
    .done = "engine {name} is at {url}"};
static const struct cli_rest engine_remove = {
    .method = "DELETE", .path = "/v1/engines/{0}", .done = "engine removed"};

/* --- model ----------------------------------------------------------- */

static const struct cli_column model_columns[] = {
    {"NAME", "name", CELL_TEXT},
    {"STATUS", "status", CELL_TEXT},
    {"ENGINES", "targets", CELL_TEXT},
    {"ALIASES", "aliases", CELL_TEXT},
    {"GROUPS", "groups", CELL_TEXT},
    {"OWNER", "owner", CELL_TEXT},
    {"LICENCE", "licence", CELL_TEXT},
    {"RISK", "riskClass", CELL_TEXT},
    {"MAX TOKENS", "defaultMaxTokens", CELL_COUNT},
};
static const struct cli_option model_add_options[] = {
    {"engine", "ENGINE", CLI_TEXT, "engine", "where it runs"},
    {"upstream", "NAME", CLI_TEXT, "upstream",
        "the name that the engine knows it by (NAME)"},
    {"alias", "NAME", CLI_LIST, "aliases", "another name (repeatable)"},
    {"group", "GROUP", CLI_LIST, "groups", "a group it is in (repeatable)"},
    {"approve", NULL, CLI_FLAG, NULL, "approved from the start"},
    {"version", "TEXT", CLI_TEXT, "version", "for the register"},
    {"owner", "TEXT", CLI_TEXT, "owner", "for the register"},
    {"licence", "TEXT", CLI_TEXT, "licence", "for the register"},
    {"risk-class", "CLASS", CLI_TEXT, "riskClass",
        "unclassified, minimal, limited or high"},
    {"region", "TEXT", CLI_TEXT, "region", "for rules"},
    {"default-max-tokens", "N", CLI_NUMBER, "defaultMaxTokens",
        "cap where a request sets none (1024)"},
    {"template-tokens", "N", CLI_NUMBER, "templateTokens",
        "upper bound of what the template adds to a request (32)"},
    {"message-tokens", "N", CLI_NUMBER, "messageTokens",
        "upper bound of what it adds to a message (16)"},
    {"reason", "TEXT", CLI_TEXT, "reason", "goes on record"},
};
static const struct cli_option reason_options[] = {
    {"reason", "TEXT", CLI_TEXT, "reason", "goes on record"},
};
static const struct cli_option alias_options[] = {
    {"remove", NULL, CLI_FLAG, NULL, "take the alias away"},
};
static const struct cli_option target_options[] = {
    {"upstream", "NAME", CLI_TEXT, "upstream",
        "the name that the engine knows it by"},
    {"priority", "N", CLI_NUMBER, "priority",
        "0 is asked first, then 1 ... (0)"},
    {"remove", NULL, CLI_FLAG, NULL, "no longer run it there"},
};
static const struct cli_rest model_list = {.method = "GET",
    .path = "/v1/models",
    .columns = model_columns,
    .column_count = CLI_COUNT(model_columns),
    .empty = "no models; `bailiff model add NAME --engine ENGINE` registers "
             "one"};
static const struct cli_rest model_approve = {.method = "POST",
    .path = "/v1/models/{0}/approve",
    .done = "model {name} approved: rules may permit it now"};
static const struct cli_rest model_retire = {.method = "POST",
    .path = "/v1/models/{0}/retire",
    .done = "model {name} retired: it is denied from now on"};

static int print_answer(struct cli *cli, json_t *answer, const char *done)
{
    if (cli->json)
        cli_print_json(answer);
    else
        cli_print_done(done, answer);
    json_decref(answer);
    return 0;
}

static int run_model_add(struct cli *cli)
{
    json_t *body = cli_body(cli, name_field), *answer = NULL;
    int result;

    if (!body)
        return 2;
    if (cli_has(cli, "approve"))
        json_object_set_new(body, "status", json_stringn("approved", 8));
    result = cli_call(cli, "POST", "/v1/models", body, &answer, NULL);
    return result ? result
                  : print_answer(cli, answer,
                        cli_has(cli, "approve")
                            ? "model {name} added and approved"
                            : "model {name} added as a draft; `bailiff model "
                              "approve {name}` lets rules permit it");
}

/* MODEL/what[/which]: the path of a part of a model. */
static const char *part_path(
    struct cli *cli, const char *model, const char *what, const char *which)
{
    return arena_printf(cli->arena, "/v1/models/%s/%s%s%s",
        cli_encode(cli, model), what, which ? "/" : "",
        which ? cli_encode(cli, which) : "");
}

static int run_model_alias(struct cli *cli)
{
    const char *model = cli->args[0], *alias = cli->args[1];
    bool remove = cli_has(cli, "remove");
    json_t *answer = NULL,
           *body = remove ? NULL : json_pack("{s:s}", "alias", alias);
    int result = cli_call(cli, remove ? "DELETE" : "POST",
        part_path(cli, model, "aliases", remove ? alias : NULL), body, &answer,
        NULL);

    return result
               ? result
               : print_answer(cli, answer, "model {name}, aliases: {aliases}");
}

static int run_model_target(struct cli *cli)
{
    const char *model = cli->args[0], *engine = cli->args[1];
    bool remove = cli_has(cli, "remove");
    json_t *answer = NULL, *body = cli_body(cli, NULL);
    const char *path;
    int result;

    if (!body)
        return 2;
    path = part_path(cli, model, "targets", remove ? engine : NULL);
    if (remove) {
        const char *upstream = cli_value(cli, "upstream");
        if (upstream)
            path = arena_printf(
                cli->arena, "%s?upstream=%s", path, cli_encode(cli, upstream));
        json_decref(body);
        body = NULL;
    } else {
        json_object_set_new(
            body, "engine", json_stringn(engine, strlen(engine)));
    }
    result =
        cli_call(cli, remove ? "DELETE" : "POST", path, body, &answer, NULL);
    return result
               ? result
               : print_answer(cli, answer, "model {name} runs on: {targets}");
}

/* --- model group ----------------------------------------------------- */

static const struct cli_column group_columns[] = {
    {"GROUP", "name", CELL_TEXT},
    {"MODELS", "models", CELL_TEXT},
};

static int list_groups(struct cli *cli)
{
    json_t *answer = NULL;
    int result = cli_call(cli, "GET", "/v1/model-groups", NULL, &answer, NULL);

    if (result)
        return result;
    if (cli->json)
        cli_print_json(answer);
    else
        cli_print_table(json_object_get(answer, "items"), group_columns,
            CLI_COUNT(group_columns), "no groups of models");
    json_decref(answer);
    return 0;
}

static int run_model_group(struct cli *cli)
{
    const char *act = cli->args[0], *group = cli->args[1],
               *model = cli->args[2];
    const char *encoded = group ? cli_encode(cli, group) : "";
    json_t *answer = NULL;
    int result;

    if (strcmp(act, "list") == 0 && cli->arg_count == 1)
        return list_groups(cli);
    if (strcmp(act, "add") == 0 && cli->arg_count == 2)
        result = cli_call(cli, "POST", "/v1/model-groups",
            json_pack("{s:s}", "name", group), &answer, NULL);
    else if (strcmp(act, "remove") == 0 && cli->arg_count == 2)
        result = cli_call(cli, "DELETE",
            arena_printf(cli->arena, "/v1/model-groups/%s", encoded), NULL,
            &answer, NULL);
    else if (strcmp(act, "join") == 0 && cli->arg_count == 3)
        result = cli_call(cli, "POST",
            arena_printf(cli->arena, "/v1/model-groups/%s/models", encoded),
            json_pack("{s:s}", "model", model), &answer, NULL);
    else if (strcmp(act, "leave") == 0 && cli->arg_count == 3)
        result = cli_call(cli, "DELETE",
            arena_printf(cli->arena, "/v1/model-groups/%s/models/%s", encoded,
                cli_encode(cli, model)),
            NULL, &answer, NULL);
    else
        return cli_usage(cli,
            "it is: list | add GROUP | remove GROUP | join GROUP MODEL | "
            "leave GROUP MODEL");
    if (result)
        return result;
    return print_answer(cli, answer,
        strcmp(act, "remove") == 0 ? "group removed"
                                   : "group {name}: {models}");
}

#define OPTIONS(table) table, CLI_COUNT(table)
static const struct cli_command commands[] = {
    {"engine", "add", "NAME URL", 2, 2, "Register an engine",
        "URL is http://HOST:PORT, https://HOST[:PORT][/BASE] or unix:/PATH.",
        OPTIONS(engine_add_options), NULL, &engine_add, false, false},
    {"engine", "change", "NAME", 1, 1,
        "Change what is said of an engine; what is not named stays", NULL,
        OPTIONS(engine_change_options), NULL, &engine_change, false, false},
    {"engine", "list", "", 0, 0, "The engines", NULL, NULL, 0, NULL,
        &engine_list, false, false},
    {"engine", "remove", "NAME", 1, 1,
        "Remove an engine where no model runs and that no rule names", NULL,
        NULL, 0, NULL, &engine_remove, false, false},
    {"model", "add", "NAME", 1, 1, "Register a model (as a draft)", NULL,
        OPTIONS(model_add_options), run_model_add, NULL, false, false},
    {"model", "list", "", 0, 0, "The models", NULL, NULL, 0, NULL, &model_list,
        false, false},
    {"model", "alias", "MODEL ALIAS", 2, 2, "Another name for a model", NULL,
        OPTIONS(alias_options), run_model_alias, NULL, false, false},
    {"model", "approve", "MODEL", 1, 1, "Let rules permit a model", NULL,
        OPTIONS(reason_options), NULL, &model_approve, false, false},
    {"model", "retire", "MODEL", 1, 1, "Deny a model from now on", NULL,
        OPTIONS(reason_options), NULL, &model_retire, false, false},
    {"model", "target", "MODEL ENGINE", 2, 2, "Where a model runs", NULL,
        OPTIONS(target_options), run_model_target, NULL, false, false},
    {"model", "group", "list|add|remove|join|leave [GROUP [MODEL]]", 1, 3,
        "Groups of models, for rules", NULL, NULL, 0, run_model_group, NULL,
        false, false},
};
const struct cli_commands cli_register_commands = {
    commands, CLI_COUNT(commands)};
