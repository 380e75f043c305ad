/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_directory.c - teams, callers, keys, administrators,
 * onboarding: each command a row. */
#include "proxy/cli/cli_priv.h"

static const char *const name_field[] = {"name"};
static const char *const handle_field[] = {"handle"};

/* --- team ------------------------------------------------------------ */

static const struct cli_column team_columns[] = {
    {"NAME", "name", CELL_TEXT},
    {"PARENT", "parent", CELL_TEXT},
    {"TITLE", "title", CELL_TEXT},
    {"CALLERS", "callers", CELL_COUNT},
    {"WEIGHT", "weight", CELL_COUNT},
    {"CREATED", "created", CELL_TIME},
};
static const struct cli_option team_add_options[] = {
    {"parent", "TEAM", CLI_TEXT, "parent", "the team that it is part of"},
    {"title", "TEXT", CLI_TEXT, "title", "for people"},
};
static const struct cli_rest team_list = {.method = "GET",
    .path = "/v1/teams",
    .columns = team_columns,
    .column_count = CLI_COUNT(team_columns),
    .empty = "no teams; `bailiff team add NAME` makes one"};
static const struct cli_rest team_add = {.method = "POST",
    .path = "/v1/teams",
    .fields = name_field,
    .done = "team {name} added"};
static int run_team_weight(struct cli *cli)
{
    json_t *answer = NULL;
    int64_t weight;
    int result;

    if (!cli_number("weight", cli->args[1], &weight))
        return 2;
    result = cli_call(cli, "PUT",
        arena_printf(
            cli->arena, "/v1/teams/%s/weight", cli_encode(cli, cli->args[0])),
        json_pack("{s:I}", "weight", (json_int_t)weight), &answer, NULL);
    if (result)
        return result;
    if (cli->json)
        cli_print_json(answer);
    else
        cli_print_record(answer, team_columns, CLI_COUNT(team_columns));
    json_decref(answer);
    return 0;
}

static const struct cli_rest team_remove = {
    .method = "DELETE", .path = "/v1/teams/{0}", .done = "team removed"};

/* --- caller ---------------------------------------------------------- */

static const struct cli_column caller_columns[] = {
    {"HANDLE", "handle", CELL_TEXT},
    {"ID", "id", CELL_TEXT},
    {"KIND", "kind", CELL_TEXT},
    {"TEAMS", "teams", CELL_TEXT},
    {"KEYS", "keys", CELL_COUNT},
    {"DISABLED", "disabled", CELL_YES},
    {"CREATED", "created", CELL_TIME},
};
static const struct cli_column caller_record[] = {
    {"handle", "handle", CELL_TEXT},
    {"id", "id", CELL_TEXT},
    {"name", "name", CELL_TEXT},
    {"kind", "kind", CELL_TEXT},
    {"teams", "teams", CELL_TEXT},
    {"keys in force", "keys", CELL_TEXT},
    {"disabled", "disabled", CELL_YES},
    {"created", "created", CELL_TIME},
    {"made by tokens of", "issuer", CELL_TEXT},
};
static const struct cli_option caller_add_options[] = {
    {"team", "TEAM", CLI_LIST, "teams", "a team that it is in (repeatable)"},
    {"kind", "person|service", CLI_TEXT, "kind", "what it is (person)"},
    {"name", "TEXT", CLI_TEXT, "name", "for people; erasable"},
};
static const struct cli_option caller_list_options[] = {
    {"team", "TEAM", CLI_TEXT, "team", "only those in this team"},
};
static const struct cli_option caller_update_options[] = {
    {"join", "TEAM", CLI_LIST, "join", "put it into a team (repeatable)"},
    {"leave", "TEAM", CLI_LIST, "leave", "take it out of one (repeatable)"},
    {"reason", "TEXT", CLI_TEXT, "reason", "goes on record"},
};
static const struct cli_option reason_options[] = {
    {"reason", "TEXT", CLI_TEXT, "reason", "goes on record"},
};
static const struct cli_rest caller_list = {.method = "GET",
    .path = "/v1/callers",
    .columns = caller_columns,
    .column_count = CLI_COUNT(caller_columns),
    .empty = "no callers; `bailiff onboard HANDLE --team TEAM` makes one"};
static const struct cli_rest caller_add = {.method = "POST",
    .path = "/v1/callers",
    .fields = handle_field,
    .done = "caller {handle} added ({id}); `bailiff key issue {handle}` gives "
            "it a key"};
static const struct cli_rest caller_show = {.method = "GET",
    .path = "/v1/callers/{0}",
    .columns = caller_record,
    .column_count = CLI_COUNT(caller_record)};
static const struct cli_rest caller_update = {.method = "PATCH",
    .path = "/v1/callers/{0}",
    .done = "caller {handle} is now in: {teams}"};
static const struct cli_rest caller_disable = {.method = "POST",
    .path = "/v1/callers/{0}/disable",
    .done = "caller {handle} disabled: its requests are refused from now on"};
static const struct cli_rest caller_enable = {.method = "POST",
    .path = "/v1/callers/{0}/enable",
    .done = "caller {handle} enabled"};

/* --- key ------------------------------------------------------------- */

static const struct cli_column key_columns[] = {
    {"ID", "id", CELL_TEXT},
    {"CALLER", "handle", CELL_TEXT},
    {"BEGINS", "hint", CELL_TEXT},
    {"LABEL", "label", CELL_TEXT},
    {"STATE", "state", CELL_TEXT},
    {"CREATED", "created", CELL_TIME},
    {"EXPIRES", "expires", CELL_TIME},
    {"LAST USED", "lastUsed", CELL_TIME},
};
static const struct cli_column key_record[] = {
    {"id", "id", CELL_TEXT},
    {"caller", "handle", CELL_TEXT},
    {"begins", "hint", CELL_TEXT},
    {"label", "label", CELL_TEXT},
    {"state", "state", CELL_TEXT},
    {"created", "created", CELL_TIME},
    {"expires", "expires", CELL_TIME},
    {"revoked", "revoked", CELL_TIME},
    {"last used", "lastUsed", CELL_TIME},
    {"only from", "addresses", CELL_TEXT},
    {"only models", "models", CELL_TEXT},
    {"only routes", "routes", CELL_TEXT},
    {"took over from", "replaces", CELL_TEXT},
    {"replaced by", "replacedBy", CELL_TEXT},
};
#define KEY_LIMIT_OPTIONS                                                      \
    {"address", "RANGE", CLI_LIST, "addresses",                                \
        "from there only: 192.0.2.0/24, 2001:db8::/32 (repeatable)"},          \
        {"model", "MODEL", CLI_LIST, "models",                                 \
            "for this model only (repeatable)"},                               \
    {                                                                          \
        "route", "PATH", CLI_LIST, "routes",                                   \
            "for this route only: /v1/embeddings (repeatable)"                 \
    }
static const struct cli_option key_issue_options[] = {
    {"label", "TEXT", CLI_TEXT, "label", "what it is for"},
    {"expires", "TIME", CLI_TEXT, "expires", "2026-12-31, or a span: 90d"},
    KEY_LIMIT_OPTIONS,
};
static const struct cli_option key_update_options[] = {
    {"label", "TEXT", CLI_TEXT, "label", "what it is for"},
    {"expires", "TIME", CLI_TEXT, "expires", "2026-12-31, or a span: 90d"},
    KEY_LIMIT_OPTIONS,
    {"any-address", NULL, CLI_FLAG, NULL, "from everywhere again"},
    {"any-model", NULL, CLI_FLAG, NULL, "for every model again"},
    {"any-route", NULL, CLI_FLAG, NULL, "for every route again"},
    {"reason", "TEXT", CLI_TEXT, "reason", "goes on record"},
};
static const struct cli_option key_rotate_options[] = {
    {"until", "TIME", CLI_TEXT, "until",
        "how long the old key works on: 2026-12-31, or a span (24h)"},
    {"expires", "TIME", CLI_TEXT, "expires",
        "of the new key (as long a life as the old one had)"},
    {"reason", "TEXT", CLI_TEXT, "reason", "goes on record"},
};
static const struct cli_option key_list_options[] = {
    {"caller", "HANDLE", CLI_TEXT, "caller", "only those of this caller"},
    {"all", NULL, CLI_FLAG, "all", "the revoked ones too"},
};
static const struct cli_rest key_list = {.method = "GET",
    .path = "/v1/keys",
    .columns = key_columns,
    .column_count = CLI_COUNT(key_columns),
    .empty = "no keys; `bailiff key issue HANDLE` makes one"};
static const struct cli_column use_record[] = {
    {"key", "key", CELL_TEXT},
    {"requests", "requests", CELL_TEXT},
    {"permitted", "permitted", CELL_TEXT},
    {"denied", "denied", CELL_TEXT},
    {"refused", "refused", CELL_TEXT},
    {"input tokens", "inputTokens", CELL_TEXT},
    {"output tokens", "outputTokens", CELL_TEXT},
    {"first", "first", CELL_TIME},
    {"last", "last", CELL_TIME},
};
static const struct cli_column use_models[] = {
    {"MODEL", "name", CELL_TEXT}, {"REQUESTS", "requests", CELL_COUNT}};
static const struct cli_column use_routes[] = {
    {"ROUTE", "name", CELL_TEXT}, {"REQUESTS", "requests", CELL_COUNT}};
static const struct cli_column use_addresses[] = {
    {"ADDRESS", "address", CELL_TEXT},
    {"REQUESTS", "requests", CELL_COUNT},
    {"FIRST", "first", CELL_TIME},
    {"LAST", "last", CELL_TIME},
};

static void print_use(const json_t *use)
{
    cli_print_record(use, use_record, CLI_COUNT(use_record));
    putchar('\n');
    cli_print_table(json_object_get(use, "models"), use_models,
        CLI_COUNT(use_models), "no models");
    putchar('\n');
    cli_print_table(json_object_get(use, "routes"), use_routes,
        CLI_COUNT(use_routes), "no routes");
    putchar('\n');
    cli_print_table(json_object_get(use, "addresses"), use_addresses,
        CLI_COUNT(use_addresses), "no addresses");
    if (json_integer_value(json_object_get(use, "addressesSealed")) > 0)
        cli_print_done("addresses of {addressesSealed} requests cannot be "
                       "opened any more: they were erased",
            use);
    if (json_is_true(json_object_get(use, "more")))
        puts("There is more; `bailiff audit query --key` pages through it.");
}

static int get_use(struct cli *cli, json_t **use)
{
    struct buf path;
    int result;

    buf_init(&path, 4096);
    buf_printf(&path, "/v1/keys/%s/use", cli_encode(cli, cli->args[0]));
    result = cli_call(cli, "GET", buf_cstr(&path), NULL, use, NULL);
    buf_fini(&path);
    return result;
}

static int run_key_use(struct cli *cli)
{
    json_t *use = NULL;
    int result = get_use(cli, &use);

    if (!result && cli->json)
        cli_print_json(use);
    else if (!result)
        print_use(use);
    json_decref(use);
    return result;
}

/* First the key is out of force, then it is asked what it did. */
static int run_key_revoke(struct cli *cli)
{
    json_t *body = cli_body(cli, NULL), *answer = NULL, *use = NULL;
    struct buf path;
    int result;

    if (!body)
        return 2;
    buf_init(&path, 4096);
    buf_printf(&path, "/v1/keys/%s/revoke", cli_encode(cli, cli->args[0]));
    result = cli_call(cli, "POST", buf_cstr(&path), body, &answer, NULL);
    buf_fini(&path);
    if (!result && !cli->json)
        cli_print_done(
            "key {id} of {handle} revoked: it is refused from now on", answer);
    if (!result && cli_has(cli, "leaked")) {
        result = get_use(cli, &use);
        if (!result && cli->json)
            json_object_set(answer, "use", use);
        else if (!result)
            print_use(use);
    }
    if (answer && cli->json)
        cli_print_json(answer);
    json_decref(use);
    json_decref(answer);
    return result;
}

static const struct cli_option key_revoke_options[] = {
    {"leaked", NULL, CLI_FLAG, NULL,
        "and report what it was used for: models, routes, addresses, times"},
    {"reason", "TEXT", CLI_TEXT, "reason", "goes on record"},
};
static const struct cli_rest key_show = {.method = "GET",
    .path = "/v1/keys/{0}",
    .columns = key_record,
    .column_count = CLI_COUNT(key_record)};

static int run_key_update(struct cli *cli)
{
    static const char *const flags[][2] = {{"any-address", "addresses"},
        {"any-model", "models"}, {"any-route", "routes"}};
    json_t *body = cli_body(cli, NULL), *answer = NULL;
    struct buf path;
    int result;

    if (!body)
        return 2;
    for (size_t i = 0; i < CLI_COUNT(flags); i++)
        if (cli_has(cli, flags[i][0]))
            json_object_set_new(body, flags[i][1], json_array());
    buf_init(&path, 4096);
    buf_printf(&path, "/v1/keys/%s", cli_encode(cli, cli->args[0]));
    result = cli_call(cli, "PATCH", buf_cstr(&path), body, &answer, NULL);
    buf_fini(&path);
    if (result)
        return result;
    if (cli->json)
        cli_print_json(answer);
    else
        cli_print_record(answer, key_record, CLI_COUNT(key_record));
    json_decref(answer);
    return 0;
}

static int run_key_rotate(struct cli *cli)
{
    json_t *body = cli_body(cli, NULL), *answer = NULL, *old = NULL;
    struct buf path;
    int result;

    if (!body)
        return 2;
    buf_init(&path, 4096);
    buf_printf(&path, "/v1/keys/%s/rotate", cli_encode(cli, cli->args[0]));
    result = cli_call(cli, "POST", buf_cstr(&path), body, &answer, NULL);
    if (!result && !cli->json) {
        buf_clear(&path);
        buf_printf(&path, "/v1/keys/%s", cli_encode(cli, cli->args[0]));
        result = cli_call(cli, "GET", buf_cstr(&path), NULL, &old, NULL);
    }
    buf_fini(&path);
    if (answer && cli->json) {
        cli_print_json(answer);
    } else if (answer) {
        cli_print_done(
            "key {id} of {handle} takes over from {replaces}", answer);
        if (old)
            cli_print_done("key {id} works on until {expires}", old);
        cli_print_secret(
            "The new key", json_string_value(json_object_get(answer, "key")));
    }
    json_decref(old);
    json_decref(answer);
    return result;
}

static int run_key_issue(struct cli *cli)
{
    json_t *body = cli_body(cli, NULL), *answer = NULL;
    struct buf path;
    int result;

    if (!body)
        return 2;
    buf_init(&path, 4096);
    buf_printf(&path, "/v1/callers/%s/keys", cli_encode(cli, cli->args[0]));
    result = cli_call(cli, "POST", buf_cstr(&path), body, &answer, NULL);
    buf_fini(&path);
    if (result)
        return result;
    if (cli->json) {
        cli_print_json(answer);
    } else {
        cli_print_done(json_is_null(json_object_get(answer, "expires"))
                           ? "key {id} issued to {handle}; it does not expire"
                           : "key {id} issued to {handle}, until {expires}",
            answer);
        cli_print_secret(
            "The key", json_string_value(json_object_get(answer, "key")));
    }
    json_decref(answer);
    return 0;
}

/* --- onboard --------------------------------------------------------- */

static const struct cli_option onboard_options[] = {
    {"team", "TEAM", CLI_TEXT, "team", "its team; made where it is not there"},
    {"models", "MODELS", CLI_LIST, "models",
        "models that it may use, with commas between them"},
    {"tokens-per-day", "N", CLI_NUMBER, "tokensPerDay", "its daily budget"},
    {"requests-per-minute", "N", CLI_NUMBER, "requestsPerMinute", "its rate"},
    {"kind", "person|service", CLI_TEXT, "kind", "what it is (person)"},
    {"name", "TEXT", CLI_TEXT, "name", "for people; erasable"},
    {"label", "TEXT", CLI_TEXT, "label", "of the key"},
    {"expires", "TIME", CLI_TEXT, "expires", "of the key: 2026-12-31, or 90d"},
};

static int run_onboard(struct cli *cli)
{
    json_t *body = cli_body(cli, handle_field), *answer = NULL;
    const json_t *steps;
    int result;

    if (!body)
        return 2;
    result = cli_call(cli, "POST", "/v1/onboard", body, &answer, NULL);
    if (result)
        return result;
    if (cli->json) {
        cli_print_json(answer);
    } else {
        steps = json_object_get(answer, "steps");
        for (size_t i = 0; i < json_array_size(steps); i++) {
            fputs("  ", stdout);
            cli_print_safe(stdout, json_string_value(json_array_get(steps, i)));
            putchar('\n');
        }
        cli_print_secret("The key of the new caller",
            json_string_value(cli_get(answer, "key.key")));
    }
    json_decref(answer);
    return 0;
}

/* --- admin ----------------------------------------------------------- */

static const struct cli_column admin_columns[] = {
    {"NAME", "name", CELL_TEXT},
    {"ID", "id", CELL_TEXT},
    {"ROLE", "role", CELL_TEXT},
    {"UID", "uid", CELL_TEXT},
    {"TOKEN", "token", CELL_YES},
    {"DISABLED", "disabled", CELL_YES},
    {"CREATED", "created", CELL_TIME},
};
static const struct cli_option admin_add_options[] = {
    {"role", "ROLE", CLI_TEXT, "role",
        "admin, policy-author, approver, auditor or operator"},
    {"uid", "N", CLI_NUMBER, "uid",
        "a system user who is this administrator on the socket"},
    {"no-token", NULL, CLI_FLAG, NULL, "by uid only"},
};
static const struct cli_rest admin_list = {.method = "GET",
    .path = "/v1/administrators",
    .columns = admin_columns,
    .column_count = CLI_COUNT(admin_columns),
    .empty = "no administrators"};
static const struct cli_rest admin_disable = {.method = "POST",
    .path = "/v1/administrators/{0}/disable",
    .done = "administrator {name} disabled"};

static int run_admin_add(struct cli *cli)
{
    json_t *body = cli_body(cli, name_field), *answer = NULL;
    const char *secret;
    int result;

    if (!body)
        return 2;
    if (cli_has(cli, "no-token"))
        json_object_set_new(body, "token", json_false());
    result = cli_call(cli, "POST", "/v1/administrators", body, &answer, NULL);
    if (result)
        return result;
    if (cli->json) {
        cli_print_json(answer);
    } else {
        cli_print_done("administrator {name} added, role {role}", answer);
        secret = json_string_value(json_object_get(answer, "secret"));
        if (secret)
            cli_print_secret("The token", secret);
    }
    json_decref(answer);
    return 0;
}

#define OPTIONS(table) table, CLI_COUNT(table)
static const struct cli_command commands[] = {
    {"onboard", NULL, "HANDLE", 1, 1,
        "A new caller with team, rule, quota and key, in one step",
        "All or nothing. Where approvals are required the rule is submitted "
        "and waits\nfor them; everything else is in force at once.",
        OPTIONS(onboard_options), run_onboard, NULL, false, false},
    {"team", "add", "NAME", 1, 1, "Make a team", NULL,
        OPTIONS(team_add_options), NULL, &team_add, false, false},
    {"team", "list", "", 0, 0, "The teams", NULL, NULL, 0, NULL, &team_list,
        false, false},
    {"team", "weight", "NAME N", 2, 2,
        "Its share of an engine's places where requests wait for them",
        "N is 1 to 1000; 0: as the team above it, or 1.", NULL, 0,
        run_team_weight, NULL, false, false},
    {"team", "remove", "NAME", 1, 1, "Remove an empty team that no rule names",
        NULL, NULL, 0, NULL, &team_remove, false, false},
    {"caller", "add", "HANDLE", 1, 1, "Make a caller", NULL,
        OPTIONS(caller_add_options), NULL, &caller_add, false, false},
    {"caller", "list", "", 0, 0, "The callers", NULL,
        OPTIONS(caller_list_options), NULL, &caller_list, false, false},
    {"caller", "show", "HANDLE", 1, 1, "One caller", NULL, NULL, 0, NULL,
        &caller_show, false, false},
    {"caller", "update", "HANDLE", 1, 1, "Change a caller's teams", NULL,
        OPTIONS(caller_update_options), NULL, &caller_update, false, false},
    {"caller", "disable", "HANDLE", 1, 1, "Refuse a caller's requests", NULL,
        OPTIONS(reason_options), NULL, &caller_disable, false, false},
    {"caller", "enable", "HANDLE", 1, 1, "Take a caller's requests again", NULL,
        OPTIONS(reason_options), NULL, &caller_enable, false, false},
    {"key", "issue", "HANDLE", 1, 1, "A new API key, shown once", NULL,
        OPTIONS(key_issue_options), run_key_issue, NULL, false, false},
    {"key", "list", "", 0, 0, "The keys", NULL, OPTIONS(key_list_options), NULL,
        &key_list, false, false},
    {"key", "show", "KEY-ID", 1, 1, "One key, without what it is", NULL, NULL,
        0, NULL, &key_show, false, false},
    {"key", "update", "KEY-ID", 1, 1, "Change what a key is limited to",
        "Values that are given take the place of those of their kind. Streams "
        "that run\noutside of the new limits are cut.",
        OPTIONS(key_update_options), run_key_update, NULL, false, false},
    {"key", "rotate", "KEY-ID", 1, 1,
        "A new key; the old one works on for a while",
        "The new key has the old one's limits and draws from its quotas.",
        OPTIONS(key_rotate_options), run_key_rotate, NULL, false, false},
    {"key", "revoke", "KEY-ID", 1, 1, "Revoke a key, at once", NULL,
        OPTIONS(key_revoke_options), run_key_revoke, NULL, false, false},
    {"key", "use", "KEY-ID", 1, 1, "What a key was used for, out of the log",
        "Addresses are sealed in the log; that they were opened is on record.",
        NULL, 0, run_key_use, NULL, false, false},
    {"admin", "add", "NAME", 1, 1, "A new administrator with a token", NULL,
        OPTIONS(admin_add_options), run_admin_add, NULL, false, false},
    {"admin", "list", "", 0, 0, "The administrators", NULL, NULL, 0, NULL,
        &admin_list, false, false},
    {"admin", "disable", "NAME", 1, 1, "Take an administrator's rights away",
        NULL, OPTIONS(reason_options), NULL, &admin_disable, false, false},
};
const struct cli_commands cli_directory_commands = {
    commands, CLI_COUNT(commands)};
