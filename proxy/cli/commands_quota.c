/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_quota.c - quotas and prices as commands. Money is typed
 * and shown in units ("12.50"); the API has micro-units. */
#include "proxy/cli/cli_priv.h"

/* --- Money ----------------------------------------------------------- */

#define MICRO INT64_C(1000000)

/* "250", "12.5", "0.000001", "2k". False after saying what is wrong. */
static bool read_money(const char *option, const char *text, int64_t *out)
{
    struct str whole, part;
    int64_t units = 0, millionths = 0;
    bool good;

    if (!strchr(text, '.'))
        good = cli_number(option, text, &units);
    else {
        str_split(str_from(text), '.', &whole, &part);
        good = part.len > 0 && part.len <= 6 && part.ptr[0] != '-' &&
               part.ptr[0] != '+' && str_to_i64(whole, &units) == ERR_OK &&
               str_to_i64(part, &millionths) == ERR_OK;
        for (size_t i = part.len; good && i < 6; i++)
            millionths *= 10;
        if (!good)
            cli_say(2,
                "--%s: \"%s\" is no amount of money (250, or 12.50; at most "
                "six digits after the point)",
                option, text);
    }
    if (!good)
        return false;
    if (units < 0 || __builtin_mul_overflow(units, MICRO, out) ||
        __builtin_add_overflow(*out, millionths, out)) {
        cli_say(2, "--%s: \"%s\" is out of range", option, text);
        return false;
    }
    return true;
}

/* member: 12500000 -> "12.50" */
static void show_money(json_t *object, const char *member)
{
    const json_t *value = json_object_get(object, member);
    char text[48];
    int64_t micro;
    size_t length;

    if (!json_is_integer(value))
        return;
    micro = json_integer_value(value);
    length = (size_t)snprintf(text, sizeof text, "%lld.%06lld",
        (long long)(micro / MICRO), (long long)(micro % MICRO));
    while (text[length - 1] == '0' && text[length - 3] != '.')
        text[--length] = '\0';
    json_object_set_new(object, member, json_stringn(text, length));
}

/* --- quota ----------------------------------------------------------- */

/* Quotas of cost show money. */
static void show_costs(json_t *items)
{
    for (size_t i = 0; i < json_array_size(items); i++) {
        json_t *item = json_array_get(items, i);
        const char *dimension =
            json_string_value(json_object_get(item, "dimension"));
        if (!dimension || strcmp(dimension, "cost") != 0)
            continue;
        show_money(item, "amount");
        show_money(item, "used");
        show_money(item, "reserved");
        show_money(item, "remaining");
    }
}

static const struct cli_column quota_columns[] = {
    {"ID", "id", CELL_TEXT},
    {"SCOPE", "scope", CELL_TEXT},
    {"OF", "shown", CELL_TEXT},
    {"MODEL", "models", CELL_TEXT},
    {"DIMENSION", "dimension", CELL_TEXT},
    {"WINDOW", "window", CELL_TEXT},
    {"AMOUNT", "amount", CELL_COUNT},
    {"WARN AT %", "warnPercent", CELL_COUNT},
    {"ZONE", "zone", CELL_TEXT},
    {"EARLIER", "earlier", CELL_COUNT},
};
static const struct cli_column usage_columns[] = {
    {"SCOPE", "scope", CELL_TEXT},
    {"OF", "shown", CELL_TEXT},
    {"MODEL", "models", CELL_TEXT},
    {"DIMENSION", "dimension", CELL_TEXT},
    {"WINDOW", "window", CELL_TEXT},
    {"AMOUNT", "amount", CELL_COUNT},
    {"USED", "used", CELL_COUNT},
    {"RESERVED", "reserved", CELL_COUNT},
    {"LEFT", "remaining", CELL_COUNT},
    {"FULL AGAIN", "resets", CELL_TIME},
    {"SPENT BY", "forecast", CELL_TIME},
};
#define SCOPE_OPTIONS                                                          \
    {"organisation", NULL, CLI_FLAG, NULL, "of everybody together"},           \
        {"team", "TEAM", CLI_TEXT, NULL, "of a team, teams below included"},   \
        {"caller", "HANDLE", CLI_TEXT, NULL, "of one caller"},                 \
    {                                                                          \
        "key", "KEY-ID", CLI_TEXT, NULL, "of one key"                          \
    }
static const struct cli_option quota_list_options[] = {SCOPE_OPTIONS};
static const struct cli_option quota_set_options[] = {
    SCOPE_OPTIONS,
    {"model", "MODEL", CLI_TEXT, NULL, "only for this model"},
    {"model-group", "GROUP", CLI_TEXT, NULL,
        "only for the models of this group, together"},
    {"warn-at", "PERCENT", CLI_NUMBER, NULL,
        "warn from there on: a header, and an event once in a window (0: no)"},
    {"count-earlier-use", NULL, CLI_FLAG, NULL,
        "what was used earlier in the window counts, too (requests, tokens)"},
    {"zone", "ZONE", CLI_TEXT, NULL,
        "of its days, weeks and months (the organisation's)"},
    {"limit", "DIMENSION/WINDOW=N", CLI_LIST, NULL,
        "for instance tokens/month=2M (repeatable)"},
    {"tokens-per-day", "N", CLI_NUMBER, NULL, "the same as tokens/day=N"},
    {"tokens-per-month", "N", CLI_NUMBER, NULL, "tokens/month=N"},
    {"tokens-per-minute", "N", CLI_NUMBER, NULL, "tokens/minute=N"},
    {"requests-per-day", "N", CLI_NUMBER, NULL, "requests/day=N"},
    {"requests-per-minute", "N", CLI_NUMBER, NULL, "requests/minute=N"},
    {"concurrent-requests", "N", CLI_NUMBER, NULL,
        "concurrent_requests/now=N: so many at once"},
    {"cost-per-day", "MONEY", CLI_TEXT, NULL,
        "cost/day=MONEY, by `bailiff price`; 12.50"},
    {"cost-per-month", "MONEY", CLI_TEXT, NULL, "cost/month=MONEY"},
};
static const struct {
    const char *option, *dimension, *window;
} short_limits[] = {
    {"tokens-per-day", "tokens", "day"},
    {"tokens-per-month", "tokens", "month"},
    {"tokens-per-minute", "tokens", "minute"},
    {"requests-per-day", "requests", "day"},
    {"requests-per-minute", "requests", "minute"},
    {"concurrent-requests", "concurrent_requests", "now"},
    {"cost-per-day", "cost", "day"},
    {"cost-per-month", "cost", "month"},
};
static const struct cli_rest quota_remove = {
    .method = "DELETE", .path = "/v1/quotas/{0}", .done = "quota removed"};

/* Which scope the options name: at most one. False after saying so. */
static bool read_scope(
    struct cli *cli, const char **scope, const char **subject)
{
    static const char *const scopes[] = {"team", "caller", "key"};

    *scope = *subject = NULL;
    if (cli_has(cli, "organisation"))
        *scope = "organisation";
    for (size_t i = 0; i < CLI_COUNT(scopes); i++) {
        const char *value = cli_value(cli, scopes[i]);
        if (!value)
            continue;
        if (*scope) {
            cli_usage(cli, "--%s and --%s: a quota is of one of them", *scope,
                scopes[i]);
            return false;
        }
        *scope = scopes[i];
        *subject = value;
    }
    return true;
}

/* One column for both: a model, or the group whose models share it. */
static void show_models(json_t *items)
{
    for (size_t i = 0; i < json_array_size(items); i++) {
        json_t *item = json_array_get(items, i);
        const char *group =
            json_string_value(json_object_get(item, "modelGroup"));
        if (group && group[0])
            json_object_set_new(
                item, "models", json_sprintf("group %s", group));
        else
            json_object_set(item, "models", json_object_get(item, "model"));
    }
}

static int list_quotas(struct cli *cli, const char *path,
    const struct cli_column *columns, size_t count)
{
    const char *scope, *subject;
    json_t *answer = NULL;
    int result;

    if (!read_scope(cli, &scope, &subject))
        return 2;
    if (scope)
        path = arena_printf(cli->arena, "%s?scope=%s", path, scope);
    if (subject)
        path = arena_printf(
            cli->arena, "%s&subject=%s", path, cli_encode(cli, subject));
    result = cli_call(cli, "GET", path, NULL, &answer, NULL);
    if (result)
        return result;
    if (cli->json)
        cli_print_json(answer);
    else {
        show_costs(json_object_get(answer, "items"));
        show_models(json_object_get(answer, "items"));
        cli_print_table(json_object_get(answer, "items"), columns, count,
            "no quotas; `bailiff quota set --team TEAM --tokens-per-day N` "
            "makes one");
    }
    json_decref(answer);
    return 0;
}

static int run_quota_list(struct cli *cli)
{
    return list_quotas(
        cli, "/v1/quotas", quota_columns, CLI_COUNT(quota_columns));
}

static int run_quota_usage(struct cli *cli)
{
    return list_quotas(
        cli, "/v1/quotas/usage", usage_columns, CLI_COUNT(usage_columns));
}

struct quota_target {
    const char *scope, *subject, *model, *group, *zone;
    int64_t warn_percent; /* -1: not given */
    bool count_earlier;
    json_t *results;
};

/* What is asked for, all of it read before anything is set. */
#define LIMITS_MAX 64
struct limits {
    struct {
        struct str dimension, window;
        int64_t amount;
    } items[LIMITS_MAX];
    size_t count;
};

static int put_quota(struct cli *cli, const struct quota_target *target,
    struct str dimension, struct str window, int64_t amount)
{
    json_t *answer = NULL, *body = json_object();
    int result;

    json_object_set_new(
        body, "scope", json_stringn(target->scope, strlen(target->scope)));
    if (target->subject)
        json_object_set_new(body, "subject",
            json_stringn(target->subject, strlen(target->subject)));
    if (target->model)
        json_object_set_new(
            body, "model", json_stringn(target->model, strlen(target->model)));
    if (target->group)
        json_object_set_new(body, "modelGroup",
            json_stringn(target->group, strlen(target->group)));
    json_object_set_new(
        body, "dimension", json_stringn(dimension.ptr, dimension.len));
    json_object_set_new(body, "window", json_stringn(window.ptr, window.len));
    json_object_set_new(body, "amount", json_integer(amount));
    if (target->warn_percent >= 0)
        json_object_set_new(
            body, "warnPercent", json_integer(target->warn_percent));
    if (target->count_earlier)
        json_object_set_new(body, "countEarlierUse", json_true());
    if (target->zone)
        json_object_set_new(
            body, "zone", json_stringn(target->zone, strlen(target->zone)));
    result = cli_call(cli, "PUT", "/v1/quotas", body, &answer, NULL);
    if (!result)
        json_array_append_new(target->results, answer);
    return result;
}

static bool read_amount(
    const char *option, struct str dimension, const char *text, int64_t *out)
{
    return str_equal(dimension, STR("cost")) ? read_money(option, text, out)
                                             : cli_number(option, text, out);
}

static int add_limit(struct cli *cli, struct limits *limits,
    struct str dimension, struct str window, int64_t amount)
{
    for (size_t i = 0; i < limits->count; i++)
        if (str_equal(limits->items[i].dimension, dimension) &&
            str_equal(limits->items[i].window, window))
            return cli_usage(cli, "two amounts are given for %.*s/%.*s",
                STR_ARG(dimension), STR_ARG(window));
    if (limits->count == LIMITS_MAX)
        return cli_usage(cli, "at most %d limits at once", LIMITS_MAX);
    limits->items[limits->count].dimension = dimension;
    limits->items[limits->count].window = window;
    limits->items[limits->count++].amount = amount;
    return 0;
}

/* "tokens/month=2M" */
static int read_limit(struct cli *cli, struct limits *limits, struct str text)
{
    struct str left, amount_text, dimension, window;
    const char *amount_string;
    int64_t amount;

    if (!str_split(text, '=', &left, &amount_text) ||
        !str_split(left, '/', &dimension, &window))
        return cli_usage(
            cli, "--limit: \"%.*s\" is no DIMENSION/WINDOW=N", STR_ARG(text));
    amount_string = arena_cstr(cli->arena, amount_text);
    if (!amount_string ||
        !read_amount("limit", dimension, amount_string, &amount))
        return 2;
    return add_limit(cli, limits, dimension, window, amount);
}

static int read_limits(struct cli *cli, struct limits *limits)
{
    int result = 0;

    for (size_t i = 0; i < CLI_COUNT(short_limits) && !result; i++) {
        struct str dimension = str_from(short_limits[i].dimension);
        const char *value = cli_value(cli, short_limits[i].option);
        int64_t amount;
        if (!value)
            continue;
        if (!read_amount(short_limits[i].option, dimension, value, &amount))
            return 2;
        result = add_limit(
            cli, limits, dimension, str_from(short_limits[i].window), amount);
    }
    for (size_t i = 0; i < cli->command->option_count && !result; i++) {
        if (strcmp(cli->command->options[i].name, "limit") != 0)
            continue;
        for (int v = 0; v < cli->value_count[i] && !result; v++) {
            struct str rest = str_from(cli->values[i][v]), word;
            while (rest.len > 0 && !result) {
                str_split(rest, ',', &word, &rest);
                result = read_limit(cli, limits, word);
            }
        }
    }
    if (!result && limits->count == 0)
        result = cli_usage(cli, "how much? For instance --tokens-per-day 50k");
    return result;
}

static int run_quota_set(struct cli *cli)
{
    struct quota_target target = {.results = json_array(), .warn_percent = -1};
    const char *warn_at = cli_value(cli, "warn-at");
    struct limits limits = {.count = 0};
    int result = 0;

    if (!read_scope(cli, &target.scope, &target.subject)) {
        result = 2;
        goto out;
    }
    target.model = cli_value(cli, "model");
    target.group = cli_value(cli, "model-group");
    target.zone = cli_value(cli, "zone");
    target.count_earlier = cli_has(cli, "count-earlier-use");
    if (warn_at && !cli_number("warn-at", warn_at, &target.warn_percent)) {
        result = 2;
        goto out;
    }
    if (!target.scope) {
        result = cli_usage(
            cli, "whose quota? --team, --caller, --key or --organisation");
        goto out;
    }
    result = read_limits(cli, &limits);
    for (size_t i = 0; i < limits.count && !result; i++)
        result = put_quota(cli, &target, limits.items[i].dimension,
            limits.items[i].window, limits.items[i].amount);
    if (result && json_array_size(target.results) > 0)
        cli_say(result, "what is listed here was set before that");
    if (json_array_size(target.results) > 0) {
        if (cli->json)
            cli_print_json(target.results);
        else {
            show_costs(target.results);
            show_models(target.results);
            cli_print_table(
                target.results, quota_columns, CLI_COUNT(quota_columns), NULL);
        }
    }
out:
    json_decref(target.results);
    return result;
}

/* --- price ----------------------------------------------------------- */

static const struct cli_column price_columns[] = {
    {"VERSION", "version", CELL_TEXT},
    {"MODEL", "model", CELL_TEXT},
    {"VALID FROM", "validFrom", CELL_TIME},
    {"IN FORCE", "inForce", CELL_YES},
    {"INPUT/M", "input", CELL_COUNT},
    {"CACHED/M", "cached", CELL_COUNT},
    {"OUTPUT/M", "output", CELL_COUNT},
    {"REQUEST", "request", CELL_COUNT},
    {"IMAGE", "image", CELL_COUNT},
    {"AUDIO SECOND", "audioSecond", CELL_COUNT},
};
static const struct cli_column price_record[] = {
    {"version", "version", CELL_TEXT},
    {"hash", "hash", CELL_TEXT},
    {"model", "model", CELL_TEXT},
    {"valid from", "validFrom", CELL_TIME},
    {"in force", "inForce", CELL_YES},
    {"a million input tokens", "input", CELL_COUNT},
    {"of them read from a cache", "cached", CELL_COUNT},
    {"a million output tokens", "output", CELL_COUNT},
    {"each request", "request", CELL_COUNT},
    {"each image", "image", CELL_COUNT},
    {"each second of sound", "audioSecond", CELL_COUNT},
    {"set", "created", CELL_TIME},
};
static const struct {
    const char *option, *member;
} price_figures[] = {
    {"input", "input"},
    {"cached", "cached"},
    {"output", "output"},
    {"request", "request"},
    {"image", "image"},
    {"audio-second", "audioSecond"},
};
static const struct cli_option price_set_options[] = {
    {"input", "MONEY", CLI_TEXT, NULL, "for a million input tokens"},
    {"cached", "MONEY", CLI_TEXT, NULL,
        "for a million that the engine had cached (as input)"},
    {"output", "MONEY", CLI_TEXT, NULL, "for a million output tokens"},
    {"request", "MONEY", CLI_TEXT, NULL, "for each request (0)"},
    {"image", "MONEY", CLI_TEXT, NULL, "for each image sent (0)"},
    {"audio-second", "MONEY", CLI_TEXT, NULL,
        "for each second of sound sent (0)"},
    {"valid-from", "TIME", CLI_TEXT, NULL,
        "from when on: a time, or 30d (now)"},
};
static const struct cli_option price_list_options[] = {
    {"model", "MODEL", CLI_TEXT, "model", "only of this model"},
};

static void show_price(json_t *price)
{
    for (size_t i = 0; i < CLI_COUNT(price_figures); i++)
        show_money(price, price_figures[i].member);
}

static int run_price_set(struct cli *cli)
{
    json_t *answer = NULL, *body = json_object();
    const char *from = cli_value(cli, "valid-from");
    int result;

    json_object_set_new(
        body, "model", json_stringn(cli->args[0], strlen(cli->args[0])));
    if (from)
        json_object_set_new(
            body, "validFrom", json_stringn(from, strlen(from)));
    for (size_t i = 0; i < CLI_COUNT(price_figures); i++) {
        const char *value = cli_value(cli, price_figures[i].option);
        int64_t micro;
        if (!value)
            continue;
        if (!read_money(price_figures[i].option, value, &micro)) {
            json_decref(body);
            return 2;
        }
        json_object_set_new(body, price_figures[i].member, json_integer(micro));
    }
    result = cli_call(cli, "POST", "/v1/prices", body, &answer, NULL);
    if (result)
        return result;
    if (cli->json)
        cli_print_json(answer);
    else {
        show_price(answer);
        cli_print_record(answer, price_record, CLI_COUNT(price_record));
    }
    json_decref(answer);
    return 0;
}

static int run_price_list(struct cli *cli)
{
    json_t *answer = NULL, *query = cli_body(cli, NULL), *items;
    int result;

    if (!query)
        return 2;
    result = cli_call(cli, "GET", cli_with_query(cli, "/v1/prices", query),
        NULL, &answer, NULL);
    json_decref(query);
    if (result)
        return result;
    items = json_object_get(answer, "items");
    if (cli->json)
        cli_print_json(answer);
    else {
        for (size_t i = 0; i < json_array_size(items); i++)
            show_price(json_array_get(items, i));
        cli_print_table(items, price_columns, CLI_COUNT(price_columns),
            "no prices; `bailiff price set MODEL --input 0.15 --output 0.60` "
            "sets one");
    }
    json_decref(answer);
    return 0;
}

static int run_price_show(struct cli *cli)
{
    json_t *answer = NULL;
    int result = cli_call(cli, "GET",
        arena_printf(
            cli->arena, "/v1/prices/%s", cli_encode(cli, cli->args[0])),
        NULL, &answer, NULL);

    if (result)
        return result;
    if (cli->json)
        cli_print_json(answer);
    else {
        show_price(answer);
        cli_print_record(answer, price_record, CLI_COUNT(price_record));
    }
    json_decref(answer);
    return 0;
}

#define OPTIONS(table) table, CLI_COUNT(table)
static const struct cli_command commands[] = {
    {"quota", "set", "", 0, 0, "Set or change quotas",
        "Dimensions: requests, tokens, input_tokens, output_tokens, cost, "
        "images,\naudio_seconds, request_bytes; and concurrent_requests, which "
        "goes with the\nwindow now.\n"
        "Windows: minute (a rate), hour, day, week, month, lifetime.\n"
        "A new quota counts from now on, not what was used earlier in its "
        "window,\nunless --count-earlier-use says so.\n"
        "Cost is money by the prices of `bailiff price`; a model without a "
        "price is\ndenied where a quota of cost applies.",
        OPTIONS(quota_set_options), run_quota_set, NULL, false, false},
    {"quota", "list", "", 0, 0, "The quotas", NULL, OPTIONS(quota_list_options),
        run_quota_list, NULL, false, false},
    {"quota", "remove", "QUOTA-ID", 1, 1, "Remove a quota", NULL, NULL, 0, NULL,
        &quota_remove, false, false},
    {"quota", "usage", "", 0, 0, "How much of each quota is used",
        "SPENT BY is when the amount is reached if it goes on as since the "
        "window began.",
        OPTIONS(quota_list_options), run_quota_usage, NULL, false, false},
    {"price", "set", "MODEL", 1, 1, "What a model costs from now on, or later",
        "MONEY is in units of your one currency: 0.15, 12.50; at most six "
        "digits after\nthe point. A price is never changed: the new one takes "
        "over from the old.",
        OPTIONS(price_set_options), run_price_set, NULL, false, false},
    {"price", "list", "", 0, 0, "The prices, past and to come", NULL,
        OPTIONS(price_list_options), run_price_list, NULL, false, false},
    {"price", "show", "VERSION", 1, 1,
        "A price by its number, as records name it", NULL, NULL, 0,
        run_price_show, NULL, false, false},
};
const struct cli_commands cli_quota_commands = {commands, CLI_COUNT(commands)};
