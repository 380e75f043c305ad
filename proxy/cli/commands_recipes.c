/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_recipes.c - rules by filling in a form, and packs of
 * rules: both end in a new draft, never in force by themselves. */
#include "policy/explain.h"
#include "proxy/cli/cli_priv.h"
#include "proxy/cli/rules_priv.h"
#include "proxy/rules/packs.h"
#include "proxy/rules/recipes.h"

#include <stdlib.h>

#define RULES_MAX (2u << 20)

/* --- Recipes
 * ------------------------------------------------------------------ */

static json_t *text_json(struct str text)
{
    return json_stringn(text.ptr, text.len);
}

static json_t *field_json(const struct recipe_field *field)
{
    json_t *one = json_object();

    json_object_set_new(one, "name", text_json(field->name));
    json_object_set_new(one, "type", text_json(field->type_word));
    json_object_set_new(one, "required", json_boolean(field->required));
    json_object_set_new(one, "default", text_json(field->otherwise));
    json_object_set_new(one, "choices", text_json(field->choices));
    json_object_set_new(one, "help", text_json(field->help));
    return one;
}

static json_t *recipe_json(const struct recipe *recipe)
{
    json_t *one = json_object(), *fields = json_array();

    for (size_t i = 0; i < recipe->field_count; i++)
        json_array_append_new(fields, field_json(&recipe->fields[i]));
    json_object_set_new(one, "name", text_json(recipe->name));
    json_object_set_new(one, "summary", text_json(recipe->summary));
    json_object_set_new(one, "fields", fields);
    return one;
}

static void print_field(const struct recipe_field *field)
{
    char option[80];

    snprintf(option, sizeof option, "--%.*s %.*s", STR_ARG(field->name),
        STR_ARG(field->choices.len ? field->choices : field->type_word));
    printf("  %-30s %.*s%s%.*s%s\n", option, STR_ARG(field->help),
        field->otherwise.len ? " (" : "", STR_ARG(field->otherwise),
        field->otherwise.len ? ")" : "");
}

static int show_recipe(struct cli *cli, const char *name)
{
    struct errinfo info = {.text = ""};
    struct recipe recipe;
    json_t *one;

    if (recipe_find(str_from(name), &recipe, &info) != ERR_OK)
        return cli_say(1, "%s", info.text);
    if (cli->json) {
        one = recipe_json(&recipe);
        cli_print_json(one);
        json_decref(one);
        return 0;
    }
    printf("%.*s: %.*s\n\n", STR_ARG(recipe.name), STR_ARG(recipe.summary));
    for (size_t i = 0; i < recipe.field_count; i++)
        print_field(&recipe.fields[i]);
    printf("\n%.*s", STR_ARG(recipe.rule));
    return 0;
}

static int run_recipes(struct cli *cli)
{
    json_t *list = json_array();
    struct recipe recipe;

    if (cli->arg_count > 0) {
        json_decref(list);
        return show_recipe(cli, cli->args[0]);
    }
    for (size_t i = 0; recipe_at(i, &recipe, NULL) == ERR_OK; i++) {
        if (cli->json)
            json_array_append_new(list, recipe_json(&recipe));
        else
            printf("%-18.*s %.*s\n", STR_ARG(recipe.name),
                STR_ARG(recipe.summary));
    }
    if (cli->json)
        cli_print_json(list);
    else
        puts("`bailiff policy recipes NAME` shows the fields of one");
    json_decref(list);
    return 0;
}

/* --- The active rules
 * --------------------------------------------------------- */

/* The active text as people read it; "" where none is active. NULL: said. */
/* Rules are compiled here, in the CLI's own process: by what the state knows of
 * tokens' claims. */
static bool learn_claims(struct cli *cli)
{
    struct policy_claim_type types[POLICY_CLAIM_TYPES_MAX];
    struct errinfo info = {0};
    json_t *answer = NULL, *one;
    size_t i, count = 0;
    bool good = cli_call(cli, "GET", "/v1/claims", NULL, &answer, NULL) == 0;

    json_array_foreach(json_object_get(answer, "items"), i, one)
    {
        struct policy_claim_type type = {
            .name = str_from(json_string_value(json_object_get(one, "name")))};
        if (good && count < POLICY_CLAIM_TYPES_MAX &&
            policy_claim_kind_find(
                str_from(json_string_value(json_object_get(one, "type"))),
                &type.kind))
            types[count++] = type;
    }
    if (good && policy_claims_declare(types, count, &info) != ERR_OK) {
        cli_say(1, "%s", info.text);
        good = false;
    }
    json_decref(answer);
    return good;
}

static json_t *active_rules(struct cli *cli)
{
    json_t *answer = NULL;
    int status = 0;
    int result;

    if (!learn_claims(cli))
        return NULL;
    result =
        cli_call(cli, "GET", "/v1/policies/active", NULL, &answer, &status);
    return result ? NULL : answer;
}

static int put_draft(struct cli *cli, const struct buf *text, const char *note)
{
    json_t *body = json_pack("{s:s%,s:s,s:s}", "text", buf_str(text).ptr,
               buf_str(text).len, "name", "rules.cedar", "note", note),
           *answer = NULL;
    int result;

    result = cli_call(cli, "POST", "/v1/policies", body, &answer, NULL);
    if (result)
        return result;
    if (cli->json) {
        cli_print_json(answer);
    } else {
        cli_print_done("policy version {version} stored as a draft", answer);
        cli_print_done("`bailiff policy diff {version}` tells what it changes, "
                       "`bailiff policy activate {version}` puts it in force",
            answer);
    }
    json_decref(answer);
    return 0;
}

int cli_rules_append(struct cli *cli, struct str rules, const char *note)
{
    json_t *active = active_rules(cli);
    struct buf text;
    int result;

    if (!active)
        return 1;
    buf_init(&text, RULES_MAX);
    buf_printf(&text, "%s\n%.*s",
        json_string_value(json_object_get(active, "shown")), STR_ARG(rules));
    result = put_draft(cli, &text, note);
    json_decref(active);
    buf_fini(&text);
    return result;
}

static void print_sentence(struct str rule)
{
    struct policy_set *set = NULL;
    struct buf findings, sentence;

    buf_init(&findings, 1 << 20);
    buf_init(&sentence, 1 << 20);
    if (policy_set_compile(rule, "rule", &set, &findings, NULL) == ERR_OK) {
        policy_set_sentence(set, 0, CEDAR_ENGLISH, &sentence);
        cli_print_safe(stdout, buf_cstr(&sentence));
        putchar('\n');
    }
    policy_set_free(&set);
    buf_fini(&findings);
    buf_fini(&sentence);
}

/* --- new and edit-recipe
 * ------------------------------------------------------- */

/* What was given on the command line, over what is there. */
static json_t *take_fields(struct cli *cli, json_t *values)
{
    for (size_t i = 0; i < cli->command->option_count; i++) {
        const char *name = cli->command->options[i].name;
        if (cli->value_count[i] > 0 &&
            cli->command->options[i].kind != CLI_FLAG &&
            strcmp(name, "note") != 0)
            json_object_set_new(values, name,
                json_string(cli->values[i][cli->value_count[i] - 1]));
    }
    return values;
}

static int run_new(struct cli *cli)
{
    struct errinfo info = {.text = "out of memory"};
    json_t *values;
    struct recipe recipe;
    struct buf rule;
    int result = 1;

    if (recipe_find(str_from(cli->args[0]), &recipe, &info) != ERR_OK)
        return cli_say(1, "%s", info.text);
    values = take_fields(cli, json_object());
    buf_init(&rule, RULES_MAX);
    if (recipe_render(&recipe, values, &rule, &info) != ERR_OK) {
        result = cli_say(2, "%s", info.text);
    } else if (cli_has(cli, "print")) {
        fputs(buf_cstr(&rule), stdout);
        result = 0;
    } else {
        if (!cli->json)
            print_sentence(buf_str(&rule));
        result = cli_rules_append(cli, buf_str(&rule),
            cli_value(cli, "note")
                ? cli_value(cli, "note")
                : arena_printf(cli->arena, "recipe %s", cli->args[0]));
    }
    json_decref(values);
    buf_fini(&rule);
    return result;
}

/* The text with another rule in the place of number `at`. */
static void replace_rule(struct str text, const struct policy_set *set,
    size_t at, const struct buf *rule, struct buf *out)
{
    size_t offset = policy_set_offset(set, at);
    size_t end = offset + policy_set_text(set, at).len;

    buf_append(out, text.ptr, offset);
    buf_append_str(out, str_trim(buf_str(rule)));
    while (out->len > 0 && buf_str(out).ptr[out->len - 1] == '\n')
        out->len--;
    buf_append(out, text.ptr + end, text.len - end);
}

static int edit(struct cli *cli, struct str shown, struct policy_set *set)
{
    struct errinfo info = {.text = "out of memory"};
    size_t at = policy_set_find(set, str_from(cli->args[0]));
    struct recipe recipe;
    json_t *values = NULL;
    struct buf rule, text;
    int result = 1;

    if (at == SIZE_MAX)
        return cli_say(1, "the active rules have no rule \"%s\"", cli->args[0]);
    buf_init(&rule, RULES_MAX);
    buf_init(&text, RULES_MAX);
    if (recipe_of_rule(set, at, &recipe, &values, &info) != ERR_OK ||
        recipe_render(&recipe, take_fields(cli, values), &rule, &info) !=
            ERR_OK) {
        cli_say(1, "%s", info.text);
    } else if (cli_has(cli, "print")) {
        fputs(buf_cstr(&rule), stdout);
        result = 0;
    } else {
        replace_rule(shown, set, at, &rule, &text);
        if (!cli->json)
            print_sentence(buf_str(&rule));
        result = put_draft(cli, &text,
            cli_value(cli, "note")
                ? cli_value(cli, "note")
                : arena_printf(cli->arena, "rule %s changed", cli->args[0]));
    }
    json_decref(values);
    buf_fini(&rule);
    buf_fini(&text);
    return result;
}

static int run_edit(struct cli *cli)
{
    json_t *active = active_rules(cli);
    struct errinfo info = {.text = "out of memory"};
    struct policy_set *set = NULL;
    struct buf findings;
    struct str shown;
    int result = 1;

    if (!active)
        return 1;
    shown = str_from(json_string_value(json_object_get(active, "shown")));
    buf_init(&findings, 1 << 20);
    if (policy_set_compile(shown, "rules.cedar", &set, &findings, &info) !=
        ERR_OK)
        cli_say(1, "%s", info.text);
    else
        result = edit(cli, shown, set);
    policy_set_free(&set);
    buf_fini(&findings);
    json_decref(active);
    return result;
}

/* --- Packs
 * ---------------------------------------------------------------------- */

static int run_packs(struct cli *cli)
{
    json_t *list = json_array();
    struct pack pack;

    for (size_t i = 0; pack_at(i, &pack); i++) {
        if (cli->json)
            json_array_append_new(list,
                json_pack("{s:s%,s:s%}", "name", pack.name.ptr, pack.name.len,
                    "title", pack.title.ptr, pack.title.len));
        else
            printf("%-18.*s %.*s\n", STR_ARG(pack.name), STR_ARG(pack.title));
    }
    if (cli->json)
        cli_print_json(list);
    else
        puts("`bailiff policy pack show NAME` prints its page and its rules");
    json_decref(list);
    return 0;
}

static bool is_listed(const json_t *answer, const char *name)
{
    const json_t *items = json_object_get(answer, "items");

    for (size_t i = 0; i < json_array_size(items); i++) {
        const char *one = json_string_value(
            json_object_get(json_array_get(items, i), "name"));
        if (one && strcmp(one, name) == 0)
            return true;
    }
    return false;
}

/* takes body */
static bool make_missing(
    struct cli *cli, const char *path, const char *name, json_t *body)
{
    json_t *answer = NULL;
    bool there;

    if (cli_call(cli, "GET", path, NULL, &answer, NULL) != 0) {
        json_decref(body);
        return false;
    }
    there = is_listed(answer, name);
    json_decref(answer);
    answer = NULL;
    if (there) {
        json_decref(body);
        return true;
    }
    if (cli_call(cli, "POST", path, body, &answer, NULL) != 0)
        return false;
    json_decref(answer);
    return true;
}

/* Teams and groups that the pack names and that are not there. */
static bool make_names(struct cli *cli, const struct pack *pack)
{
    json_t *names = pack_names(pack), *parent, *body;
    const json_t *groups = json_object_get(names, "groups");
    const char *team;
    bool good = true;

    json_object_foreach(json_object_get(names, "teams"), team, parent)
    {
        if (!good)
            break;
        body = json_pack("{s:s}", "name", team);
        if (json_string_length(parent) > 0)
            json_object_set(body, "parent", parent);
        good = make_missing(cli, "/v1/teams", team, body);
    }
    for (size_t i = 0; good && i < json_array_size(groups); i++) {
        const char *group = json_string_value(json_array_get(groups, i));
        good = make_missing(
            cli, "/v1/model-groups", group, json_pack("{s:s}", "name", group));
    }
    json_decref(names);
    return good;
}

static int add_pack(struct cli *cli, const struct pack *pack)
{
    struct errinfo info = {.text = "out of memory"};
    json_t *active;
    struct buf text;
    int result = 1;

    if (cli_has(cli, "make-names") && !make_names(cli, pack))
        return 1;
    active = active_rules(cli);
    if (!active)
        return 1;
    buf_init(&text, RULES_MAX);
    if (pack_append(pack,
            str_from(json_string_value(json_object_get(active, "shown"))),
            &text, &info) != ERR_OK)
        cli_say(1, "%s", info.text);
    else
        result = put_draft(cli, &text,
            arena_printf(cli->arena, "pack %.*s", STR_ARG(pack->name)));
    json_decref(active);
    buf_fini(&text);
    return result;
}

static int run_pack(struct cli *cli)
{
    struct errinfo info = {.text = ""};
    struct pack pack;

    if (pack_find(str_from(cli->args[1]), &pack, &info) != ERR_OK)
        return cli_say(1, "%s", info.text);
    if (strcmp(cli->args[0], "show") == 0) {
        printf("%.*s\n%.*s", STR_ARG(pack.page), STR_ARG(pack.rules));
        return 0;
    }
    if (strcmp(cli->args[0], "rules") == 0) {
        printf("%.*s", STR_ARG(pack.rules));
        return 0;
    }
    if (strcmp(cli->args[0], "tests") == 0) {
        printf("%.*s", STR_ARG(pack.tests));
        return 0;
    }
    if (strcmp(cli->args[0], "add") == 0)
        return add_pack(cli, &pack);
    return cli_usage(
        cli, "\"%s\" is none of show, rules, tests, add", cli->args[0]);
}

/* The fields of all recipes; a test holds that none is missing. */
#define FIELD_OPTIONS                                                          \
    {"team", "TEAM", CLI_TEXT, NULL, "whom the rule is about"},                \
        {"group", "GROUP", CLI_TEXT, NULL, "a group of models"},               \
        {"model", "MODEL", CLI_TEXT, NULL, "one model"},                       \
        {"engine", "ENGINE", CLI_TEXT, NULL, "where it runs"},                 \
        {"region", "REGION", CLI_TEXT, NULL, "of engines"},                    \
        {"from", "TIME", CLI_TEXT, NULL, "a time of day, or a day"},           \
        {"to", "TIME", CLI_TEXT, NULL, "a time of day, or a day"},             \
        {"until", "DAY", CLI_TEXT, NULL, "the first day without it"},          \
        {"days", "DAYS", CLI_TEXT, NULL, "Mon-Fri"},                           \
        {"networks", "NETWORKS", CLI_TEXT, NULL, "10.0.0.0/8,192.0.2.0/24"},   \
        {"tokens", "N", CLI_TEXT, NULL, "how many tokens"},                    \
        {"answers", "N", CLI_TEXT, NULL, "how many answers"},                  \
        {"tools", "NAMES", CLI_TEXT, NULL, "names with commas"},               \
        {"temperature", "T", CLI_TEXT, NULL, "the highest, such as 0.7"},      \
        {"class", "CLASS", CLI_TEXT, NULL, "a risk class"},                    \
        {"kind", "KIND", CLI_TEXT, NULL, "person or service"},                 \
        {"signon", "GROUP", CLI_TEXT, NULL, "a group of the sign-on"},         \
        {"action", "ACTION", CLI_TEXT, NULL, "chat, embed ..."},               \
        {"licences", "NAMES", CLI_TEXT, NULL, "names with commas"},            \
        {"reason", "TEXT", CLI_TEXT, NULL, "why"},                             \
        {"id", "ID", CLI_TEXT, NULL, "the rule's @id instead of its own"},     \
        {"note", "TEXT", CLI_TEXT, NULL, "kept with the version"},             \
        {"print", NULL, CLI_FLAG, NULL, "only print the rule"},

const struct cli_option cli_recipe_options[] = {FIELD_OPTIONS};
const size_t cli_recipe_option_count = CLI_COUNT(cli_recipe_options);
static const struct cli_option pack_options[] = {
    {"make-names", NULL, CLI_FLAG, NULL,
        "make the teams and groups that the pack names"},
};

#define OPTIONS(table) table, CLI_COUNT(table)
static const struct cli_command commands[] = {
    {"policy", "recipes", "[NAME]", 0, 1,
        "Rules that are made by filling in a form", NULL, NULL, 0, run_recipes,
        NULL, false, true},
    {"policy", "new", "RECIPE", 1, 1,
        "Make a rule by a recipe, and store it as a draft with the others",
        "`bailiff policy recipes RECIPE` shows which fields it has.",
        OPTIONS(cli_recipe_options), run_new, NULL, false, true},
    {"policy", "edit-recipe", "RULE", 1, 1,
        "Fill in the form of an active rule anew; what is not given stays",
        NULL, OPTIONS(cli_recipe_options), run_edit, NULL, false, false},
    {"policy", "packs", "", 0, 0, "Sets of rules to start from", NULL, NULL, 0,
        run_packs, NULL, false, true},
    {"policy", "pack", "show|rules|tests|add NAME", 2, 2,
        "A pack's page, its rules or its tests; add: as a draft with the "
        "active rules",
        NULL, OPTIONS(pack_options), run_pack, NULL, false, true},
};
const struct cli_commands cli_recipe_commands = {commands, CLI_COUNT(commands)};
