/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/cli.c - finding the command, reading its options, help. What the
 * commands are stands in commands_*.c. */
#include "proxy/cli/cli.h"
#include "proxy/cli/cli_priv.h"

#include "lib/must.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define NOUNS_MAX 64

/* In the order of `bailiff help`. */
static const struct cli_commands *const tables[] = {
    &cli_state_commands,
    &cli_directory_commands,
    &cli_register_commands,
    &cli_effect_commands,
    &cli_rules_commands,
    &cli_watch_commands,
    &cli_bundle_commands,
    &cli_recipe_commands,
    &cli_policy_commands,
    &cli_govern_commands,
    &cli_login_commands,
    &cli_audit_commands,
    &cli_quota_commands,
    &cli_issuer_commands,
    &cli_trust_commands,
    &cli_sink_commands,
    &cli_witness_commands,
    &cli_jwt_commands,
};
#define TABLE_COUNT (sizeof tables / sizeof tables[0])

/* Options that every command takes. */
static const struct cli_option common[] = {
    {"json", NULL, CLI_FLAG, NULL, "print the answer as JSON"},
    {"token-file", "FILE", CLI_TEXT, NULL,
        "the administrator's token (else BAILIFF_ADMIN_TOKEN)"},
    {"server", "URL", CLI_TEXT, NULL,
        "a server elsewhere, https://HOST:PORT of its admin_listen (else "
        "BAILIFF_SERVER)"},
    {"ca", "FILE", CLI_TEXT, NULL,
        "whom to believe that it is the server, PEM (else BAILIFF_CA, else "
        "the system's)"},
    {"certificate", "FILE", CLI_TEXT, NULL,
        "one's own client certificate, to show to that server, PEM (else "
        "BAILIFF_CERTIFICATE)"},
    {"key", "FILE", CLI_TEXT, NULL,
        "its key, PEM (else BAILIFF_CERTIFICATE_KEY, else in the same file)"},
    {"if-match", "ETAG", CLI_TEXT, NULL,
        "only if it still is what --json showed the etag of"},
    {"idempotency-key", "KEY", CLI_TEXT, NULL,
        "carried out once, however often it is sent within a day"},
    {"help", NULL, CLI_FLAG, NULL, "this text"},
};

/* --- Saying ---------------------------------------------------------- */

int cli_say(int code, const char *format, ...)
{
    char text[4096];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fputs("bailiff: ", stderr);
    cli_print_safe(stderr, text);
    fputc('\n', stderr);
    return code;
}

static void print_name(FILE *out, const struct cli_command *command)
{
    fprintf(out, "%s%s%s", command->noun, command->verb ? " " : "",
        command->verb ? command->verb : "");
}

int cli_usage(const struct cli *cli, const char *format, ...)
{
    char text[4096];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    cli_say(2, "%s", text);
    if (cli->command) {
        fputs("usage: bailiff ", stderr);
        print_name(stderr, cli->command);
        fprintf(stderr, "%s%s%s   (--help says more)\n",
            cli->command->arguments[0] ? " " : "", cli->command->arguments,
            cli->command->option_count ? " [options]" : "");
    }
    return 2;
}

/* --- Help ------------------------------------------------------------ */

static void print_overview(FILE *out)
{
    fputs("bailiff - a policy-enforcing access-control proxy for model APIs\n\n"
          "usage: bailiff [-C DIR] COMMAND [ARGUMENTS] [--json] [--help]\n"
          "       bailiff --server https://HOST:PORT [--ca FILE] "
          "[--token-file FILE] COMMAND ...\n"
          "DIR is the state directory; BAILIFF_STATE names it too. Instead of "
          "it, BAILIFF_SERVER\nor --server names a server elsewhere. `bailiff "
          "help COMMAND` says more. Exit\ncode 0: done, 1: it could not be "
          "done (or the answer is no), 2: wrong use, 3: it waits for a\nsecond "
          "person.\n",
        out);
    for (size_t t = 0; t < TABLE_COUNT; t++) {
        fputc('\n', out);
        for (size_t i = 0; i < tables[t]->count; i++) {
            const struct cli_command *c = &tables[t]->items[i];
            int n = fprintf(out, "  %s%s%s%s%s", c->noun, c->verb ? " " : "",
                c->verb ? c->verb : "", c->arguments[0] ? " " : "",
                c->arguments);
            if (n >= 42)
                n = fprintf(out, "\n") - 1;
            fprintf(out, "%*s%s\n", 42 - n, "", c->summary);
        }
    }
}

static void print_options(
    FILE *out, const struct cli_option *options, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int n = fprintf(out, "  --%s%s%s", options[i].name,
            options[i].argument ? " " : "",
            options[i].argument ? options[i].argument : "");
        fprintf(out, "%*s%s\n", n < 32 ? 32 - n : 2, "", options[i].help);
    }
}

/* Behind its words the name is the command's own; in front of them, ours. */
static bool has_own(
    const struct cli_command *command, const struct cli_option *option)
{
    for (size_t i = 0; i < command->option_count; i++)
        if (strcmp(command->options[i].name, option->name) == 0)
            return true;
    return false;
}

static void print_help(const struct cli_command *command)
{
    printf("usage: bailiff ");
    print_name(stdout, command);
    size_t length = strlen(command->summary);
    bool ended = length > 0 && strchr(".?!", command->summary[length - 1]);
    printf("%s%s%s\n\n%s%s\n", command->arguments[0] ? " " : "",
        command->arguments, command->option_count ? " [options]" : "",
        command->summary, ended ? "" : ".");
    if (command->details)
        printf("\n%s\n", command->details);
    printf("\noptions:\n");
    print_options(stdout, command->options, command->option_count);
    printf("  %-30s%s\n", "-C DIR", "the state directory (else BAILIFF_STATE)");
    for (size_t i = 0; i < CLI_COUNT(common); i++)
        if (!has_own(command, &common[i]))
            print_options(stdout, &common[i], 1);
    for (size_t i = 0, n = 0; i < CLI_COUNT(common); i++)
        if (has_own(command, &common[i])) {
            fputs(n++ == 0 ? "\nbefore the command's words:\n" : "", stdout);
            print_options(stdout, &common[i], 1);
        }
}

/* --- Finding --------------------------------------------------------- */

static const struct cli_command *find_command(
    const char *noun, const char *verb, bool *noun_known, bool *has_verbs)
{
    *noun_known = *has_verbs = false;
    for (size_t t = 0; t < TABLE_COUNT; t++)
        for (size_t i = 0; i < tables[t]->count; i++) {
            const struct cli_command *c = &tables[t]->items[i];
            if (strcmp(c->noun, noun) != 0)
                continue;
            *noun_known = true;
            *has_verbs |= c->verb != NULL;
            if (!c->verb || (verb && strcmp(c->verb, verb) == 0))
                return c;
        }
    return NULL;
}

/* What was meant by an unknown noun (or verb of a noun). */
static void suggest_command(const char *noun, const char *verb)
{
    struct str words[256], near;
    size_t count = 0;

    for (size_t t = 0; t < TABLE_COUNT; t++)
        for (size_t i = 0; i < tables[t]->count && count < 256; i++) {
            const struct cli_command *c = &tables[t]->items[i];
            if (verb && strcmp(c->noun, noun) == 0 && c->verb)
                words[count++] = str_from(c->verb);
            else if (!verb)
                words[count++] = str_from(c->noun);
        }
    near = str_suggest(str_from(verb ? verb : noun), words, count);
    if (near.len > 0)
        cli_say(2, "there is no command \"%s%s%s\"; did you mean \"%s%s%.*s\"?",
            noun, verb ? " " : "", verb ? verb : "", verb ? noun : "",
            verb ? " " : "", STR_ARG(near));
    else
        cli_say(2, "there is no command \"%s%s%s\"", noun, verb ? " " : "",
            verb ? verb : "");
    if (!verb) {
        fputs("`bailiff help` lists the commands\n", stderr);
        return;
    }
    fprintf(stderr, "%s has:", noun);
    for (size_t i = 0; i < count; i++)
        fprintf(stderr, " %.*s", STR_ARG(words[i]));
    fputc('\n', stderr);
}

/* --- Options --------------------------------------------------------- */

static int option_index(const struct cli *cli, struct str name)
{
    for (size_t i = 0; i < cli->command->option_count; i++)
        if (str_equal(str_from(cli->command->options[i].name), name))
            return (int)i;
    return -1;
}

bool cli_has(const struct cli *cli, const char *option)
{
    int i = option_index(cli, str_from(option));

    MUST(i >= 0);
    return cli->value_count[i] > 0;
}

const char *cli_value(const struct cli *cli, const char *option)
{
    int i = option_index(cli, str_from(option));

    MUST(i >= 0);
    return cli->value_count[i] ? cli->values[i][cli->value_count[i] - 1] : NULL;
}

static int unknown_option(const struct cli *cli, struct str name)
{
    struct str words[CLI_OPTIONS_MAX + CLI_COUNT(common)], near;
    size_t count = 0;

    for (size_t i = 0; i < cli->command->option_count; i++)
        words[count++] = str_from(cli->command->options[i].name);
    for (size_t i = 0; i < CLI_COUNT(common); i++)
        words[count++] = str_from(common[i].name);
    near = str_suggest(name, words, count);
    if (near.len > 0)
        return cli_usage(cli, "unknown option --%.*s; did you mean --%.*s?",
            STR_ARG(name), STR_ARG(near));
    return cli_usage(cli, "unknown option --%.*s", STR_ARG(name));
}

/* Where the value of an option that every command takes goes. */
static const char **common_value(struct cli *cli, struct str name)
{
    if (str_equal(name, STR("token-file")))
        return &cli->token_file;
    if (str_equal(name, STR("server")))
        return &cli->server;
    if (str_equal(name, STR("ca")))
        return &cli->ca_file;
    if (str_equal(name, STR("certificate")))
        return &cli->certificate;
    if (str_equal(name, STR("key")))
        return &cli->key;
    if (str_equal(name, STR("if-match")))
        return &cli->if_match;
    if (str_equal(name, STR("idempotency-key")))
        return &cli->idempotency_key;
    return NULL;
}

/* Takes one "--name", "--name=value" or "--name value"; -1: help was asked
 * for; else 0 or 2. */
static int take_option(struct cli *cli, int *at)
{
    struct str text = str_from(cli->argv[*at] + 2), name, value;
    bool attached = str_split(text, '=', &name, &value);
    const struct cli_option *option;
    const char *given = attached ? value.ptr : NULL;
    int i;

    if (str_equal(name, STR("help")))
        return -1;
    if (str_equal(name, STR("json")) && !attached) {
        cli->json = true;
        return 0;
    }
    i = option_index(cli, name);
    option = i >= 0 ? &cli->command->options[i] : NULL;
    if (!option && !common_value(cli, name))
        return unknown_option(cli, name);
    if (option && (option->kind == CLI_FLAG || option->kind == CLI_NOT)) {
        if (attached)
            return cli_usage(cli, "--%s takes no value", option->name);
        given = "true";
    } else if (!attached) {
        if (*at + 1 >= cli->argc)
            return cli_usage(cli, "--%.*s wants a value", STR_ARG(name));
        given = cli->argv[++*at];
    }
    if (!option) {
        *common_value(cli, name) = given;
        return 0;
    }
    if (cli->value_count[i] == CLI_REPEATS_MAX)
        return cli_usage(cli, "--%s is given too often", option->name);
    if (cli->value_count[i] > 0 && option->kind != CLI_LIST)
        return cli_usage(cli, "--%s is given twice", option->name);
    cli->values[i][cli->value_count[i]++] = given;
    return 0;
}

/* "--x" and "--not-x" together: neither is meant more than the other. */
static int contradiction(const struct cli *cli)
{
    const struct cli_option *options = cli->command->options;

    for (size_t i = 0; i < cli->command->option_count; i++)
        for (size_t o = 0; o < cli->command->option_count; o++)
            if (options[i].kind == CLI_FLAG && options[o].kind == CLI_NOT &&
                options[i].field && options[o].field &&
                strcmp(options[i].field, options[o].field) == 0 &&
                cli->value_count[i] > 0 && cli->value_count[o] > 0)
                return cli_usage(cli, "--%s and --%s contradict each other",
                    options[i].name, options[o].name);
    return 0;
}

/* Options and arguments behind the command's words. */
static int read_arguments(struct cli *cli, int at)
{
    bool only_arguments = false;
    int result;

    for (; at < cli->argc; at++) {
        const char *word = cli->argv[at];
        if (!only_arguments && strcmp(word, "--") == 0) {
            only_arguments = true;
        } else if (!only_arguments && strcmp(word, "-h") == 0) {
            return -1;
        } else if (!only_arguments && strcmp(word, "-f") == 0 &&
                   option_index(cli, STR("follow")) >= 0) {
            cli->value_count[option_index(cli, STR("follow"))] = 1;
        } else if (!only_arguments && strcmp(word, "-C") == 0) {
            if (at + 1 >= cli->argc)
                return cli_usage(cli, "-C wants a directory");
            cli->dir = cli->argv[++at];
        } else if (!only_arguments && strncmp(word, "--", 2) == 0) {
            result = take_option(cli, &at);
            if (result)
                return result;
        } else if (!only_arguments && word[0] == '-' && word[1] != '\0') {
            return cli_usage(cli, "unknown option %s", word);
        } else if (cli->arg_count == cli->command->most) {
            return cli_usage(cli, "\"%s\" is one argument too many", word);
        } else {
            cli->args[cli->arg_count++] = word;
        }
    }
    if (cli->arg_count < cli->command->least)
        return cli_usage(
            cli, "an argument is missing: %s", cli->command->arguments);
    return contradiction(cli);
}

bool cli_number(const char *option, const char *text, int64_t *out)
{
    struct str digits = str_from(text);
    int64_t factor = 1;

    if (digits.len > 1) {
        char last = digits.ptr[digits.len - 1];
        factor = last == 'k'   ? 1000
                 : last == 'M' ? 1000000
                 : last == 'G' ? 1000000000
                               : 1;
        if (factor > 1)
            digits.len--;
    }
    if (str_to_i64(digits, out) == ERR_OK &&
        !__builtin_mul_overflow(*out, factor, out))
        return true;
    cli_say(
        2, "--%s: \"%s\" is no number (50000, or 50k, 2M, 1G)", option, text);
    return false;
}

static json_t *list_value(struct cli *cli, int option)
{
    json_t *list = json_array();

    for (int i = 0; i < cli->value_count[option]; i++) {
        struct str rest = str_from(cli->values[option][i]), word;
        while (rest.len > 0) {
            str_split(rest, ',', &word, &rest);
            word = str_trim(word);
            if (word.len > 0)
                json_array_append_new(list, json_stringn(word.ptr, word.len));
        }
    }
    return list;
}

json_t *cli_body(struct cli *cli, const char *const *fields)
{
    json_t *body = json_object();
    int64_t number;

    for (int i = 0; fields && i < cli->arg_count; i++)
        if (fields[i])
            json_object_set_new(body, fields[i],
                json_stringn(cli->args[i], strlen(cli->args[i])));
    for (size_t i = 0; i < cli->command->option_count; i++) {
        const struct cli_option *option = &cli->command->options[i];
        const char *value;

        if (!option->field || cli->value_count[i] == 0)
            continue;
        value = cli->values[i][cli->value_count[i] - 1];
        switch (option->kind) {
        case CLI_FLAG:
            json_object_set_new(body, option->field, json_true());
            break;
        case CLI_NOT:
            json_object_set_new(body, option->field, json_false());
            break;
        case CLI_TEXT:
            json_object_set_new(
                body, option->field, json_stringn(value, strlen(value)));
            break;
        case CLI_NUMBER:
            if (!cli_number(option->name, value, &number)) {
                json_decref(body);
                return NULL;
            }
            json_object_set_new(body, option->field, json_integer(number));
            break;
        case CLI_LIST:
            json_object_set_new(body, option->field, list_value(cli, (int)i));
            break;
        }
    }
    return body;
}

const char *cli_server(struct cli *cli)
{
    const char *variable = getenv("BAILIFF_SERVER");

    if (cli->server)
        return cli->server;
    /* A directory that was named by hand is meant. */
    return !cli->dir && variable && variable[0] ? variable : NULL;
}

const char *cli_state_dir(struct cli *cli)
{
    if (cli_server(cli)) {
        cli_say(2,
            "`%s%s%s` works on the files of a state directory, which a server "
            "elsewhere keeps for itself: run it there, or name one with -C DIR "
            "and without --server",
            cli->command->noun, cli->command->verb ? " " : "",
            cli->command->verb ? cli->command->verb : "");
        return NULL;
    }
    if (!cli->dir || !cli->dir[0])
        cli->dir = getenv("BAILIFF_STATE");
    if (!cli->dir || !cli->dir[0]) {
        cli_say(2, "which state directory? Give -C DIR, or set BAILIFF_STATE");
        return NULL;
    }
    return cli->dir;
}

/* --- Running --------------------------------------------------------- */

static int run_command(struct cli *cli, int at)
{
    int result;

    if (cli->command->raw) {
        if (cli->server || cli->ca_file || cli->token_file ||
            cli->certificate || cli->key)
            return cli_usage(cli, "this command calls no server");
        cli->argc -= at - 1;
        cli->argv += at - 1;
        return cli->command->run(cli);
    }
    result = read_arguments(cli, at);
    if (result < 0) {
        print_help(cli->command);
        return 0;
    }
    if (result > 0)
        return result;
    if (cli->server && cli->command->no_state)
        return cli_usage(cli, "this command calls no server");
    if (cli->server && cli->dir)
        return cli_usage(cli, "-C names a directory of this machine and "
                              "--server another machine; which of them?");
    if (!cli->command->no_state && !cli_server(cli) && !cli_state_dir(cli))
        return 2;
    cli->arena = arena_new(65536, 64u << 20);
    if (!cli->arena)
        return cli_say(1, "out of memory");
    result = cli->command->run ? cli->command->run(cli) : cli_run_rest(cli);
    cli_session_close(cli);
    arena_free(&cli->arena);
    /* (Whoever closed a pipe knows that it is closed.) */
    if (fflush(stdout) != 0 && result == 0)
        result = errno == EPIPE
                     ? 1
                     : cli_say(1, "standard output cannot be written");
    return result;
}

/* The commands of one noun. */
static void print_verbs(FILE *out, const char *noun)
{
    for (size_t t = 0; t < TABLE_COUNT; t++)
        for (size_t i = 0; i < tables[t]->count; i++) {
            const struct cli_command *c = &tables[t]->items[i];
            if (strcmp(c->noun, noun) == 0)
                fprintf(out, "  bailiff %s%s%s%s%s\n      %s\n", noun,
                    c->verb ? " " : "", c->verb ? c->verb : "",
                    c->arguments[0] ? " " : "", c->arguments, c->summary);
        }
}

/* `bailiff help NOUN [VERB]`; verb may be NULL. */
static int help_about(const char *noun, const char *verb)
{
    bool noun_known, has_verbs;
    const struct cli_command *command =
        find_command(noun, verb, &noun_known, &has_verbs);

    if (command && command->raw) {
        char help[] = "--help";
        char *arguments[] = {help, help};
        struct cli cli = {.argc = 2, .argv = arguments, .command = command};
        return command->run(&cli);
    }
    if (command) {
        print_help(command);
    } else if (noun_known && !verb) {
        print_verbs(stdout, noun);
    } else {
        suggest_command(noun, noun_known ? verb : NULL);
        return 2;
    }
    return 0;
}

/* Where the command goes and as whom may stand before it: -C, --server, --ca,
 * --token-file, --certificate and --key. */
static int take_first_options(struct cli *cli, int *at)
{
    for (; *at < cli->argc; (*at)++) {
        struct str word = str_from(cli->argv[*at]), name, value;
        bool attached = str_split(word, '=', &name, &value);
        const char **to;

        if (str_equal(name, STR("-C")) && !attached)
            to = &cli->dir;
        else if (str_equal(name, STR("--server")))
            to = &cli->server;
        else if (str_equal(name, STR("--ca")))
            to = &cli->ca_file;
        else if (str_equal(name, STR("--token-file")))
            to = &cli->token_file;
        else if (str_equal(name, STR("--certificate")))
            to = &cli->certificate;
        else if (str_equal(name, STR("--key")))
            to = &cli->key;
        else
            return 0;
        if (!attached && *at + 1 >= cli->argc)
            return cli_usage(cli, "%.*s wants %s", STR_ARG(name),
                to == &cli->dir ? "a directory" : "a value");
        *to = attached ? value.ptr : cli->argv[++*at];
    }
    return 0;
}

int cli_main(int argc, char **argv)
{
    struct cli cli = {.argc = argc, .argv = argv};
    const char *noun, *verb;
    bool noun_known, has_verbs;
    int at = 1;

    signal(SIGPIPE, SIG_IGN);
    if (take_first_options(&cli, &at) != 0)
        return 2;
    if (at >= argc || strcmp(argv[at], "--help") == 0 ||
        strcmp(argv[at], "-h") == 0 ||
        (strcmp(argv[at], "help") == 0 && at + 1 >= argc)) {
        bool asked = at < argc;
        print_overview(asked ? stdout : stderr);
        return asked ? 0 : 2;
    }
    if (strcmp(argv[at], "help") == 0)
        return help_about(argv[at + 1], argv[at + 2]);
    noun = strcmp(argv[at], "--version") == 0 ? "version" : argv[at];
    verb = at + 1 < argc ? argv[at + 1] : NULL;
    cli.command = find_command(noun, verb, &noun_known, &has_verbs);
    if (!cli.command) {
        bool help =
            verb && (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0);
        if (noun_known && (help || !verb)) {
            print_verbs(help ? stdout : stderr, noun);
            return help ? 0 : 2;
        }
        suggest_command(noun, noun_known ? verb : NULL);
        return 2;
    }
    return run_command(&cli, at + (cli.command->verb ? 2 : 1));
}
