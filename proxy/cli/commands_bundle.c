/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_bundle.c - signed bundles of rules from outside: verify,
 * add as a draft, sign. */
#include "lib/clock.h"
#include "lib/file.h"
#include "policy/explain.h"
#include "proxy/cli/cli_priv.h"
#include "proxy/cli/rules_priv.h"
#include "proxy/rules/bundle.h"

#define RULES_MAX (2u << 20)

/* --key: the verifier key itself, or a file that holds it. */
static bool read_key(struct cli *cli, struct note_key *out)
{
    const char *given = cli_value(cli, "key");
    struct errinfo info = {.text = ""};
    struct buf text;
    bool good = false;

    if (!given) {
        cli_usage(cli, "--key is needed: the publisher's verifier key, from "
                       "a source of your own trust");
        return false;
    }
    if (note_key_parse(str_from(given), out, &info) == ERR_OK)
        return true;
    buf_init(&text, 4096);
    if (cli_read_file(given, &text)) {
        struct str line, rest;
        str_split(buf_str(&text), '\n', &line, &rest);
        good = note_key_parse(str_trim(line), out, &info) == ERR_OK;
        if (!good)
            cli_say(1, "%s: %s", given, info.text);
    }
    buf_fini(&text);
    return good;
}

static bool open_bundle(struct cli *cli, const char *path, struct buf *note,
    struct note_key *key, struct bundle *out)
{
    struct errinfo info = {.text = ""};

    if (!read_key(cli, key) || !cli_read_file(path, note))
        return false;
    if (bundle_open(buf_str(note), key, out, &info) == ERR_OK)
        return true;
    cli_say(1, "%s: %s; nothing was changed", path, info.text);
    return false;
}

static json_t *text_json(struct str text)
{
    return json_stringn(text.ptr, text.len);
}

static json_t *bundle_json(
    const struct bundle *b, const struct note_key *key, bool in_force)
{
    json_t *one = json_object();

    json_object_set_new(one, "name", text_json(b->name));
    json_object_set_new(one, "publisher", text_json(b->publisher));
    json_object_set_new(one, "source", text_json(b->source));
    json_object_set_new(one, "article", text_json(b->article));
    json_object_set_new(one, "from", text_json(b->from));
    json_object_set_new(one, "until", text_json(b->until));
    json_object_set_new(one, "key", json_string(key->name));
    json_object_set_new(one, "inForce", json_boolean(in_force));
    return one;
}

static bool is_in_force(const struct bundle *b)
{
    int64_t now = clock_now();

    return now >= b->from_us && now < b->until_us;
}

static void print_sentences(const struct bundle *b)
{
    struct policy_set *set = NULL;
    struct buf findings, sentence;

    buf_init(&findings, 1 << 20);
    buf_init(&sentence, 1 << 20);
    if (policy_set_compile(b->rules, "bundle", &set, &findings, NULL) == ERR_OK)
        for (size_t i = 0; i < policy_set_count(set); i++) {
            buf_clear(&sentence);
            buf_printf(&sentence, "%.*s: ", STR_ARG(policy_set_id(set, i)));
            policy_set_sentence(set, i, CEDAR_ENGLISH, &sentence);
            cli_print_safe(stdout, buf_cstr(&sentence));
            putchar('\n');
        }
    policy_set_free(&set);
    buf_fini(&findings);
    buf_fini(&sentence);
}

static int verify(struct cli *cli, const char *path)
{
    static const struct cli_column columns[] = {
        {"name", "name", CELL_TEXT},
        {"publisher", "publisher", CELL_TEXT},
        {"source", "source", CELL_TEXT},
        {"article", "article", CELL_TEXT},
        {"from", "from", CELL_TEXT},
        {"until", "until", CELL_TEXT},
        {"signed by", "key", CELL_TEXT},
        {"in force today", "inForce", CELL_YES},
    };
    struct bundle bundle;
    struct note_key key;
    struct buf note;
    json_t *one;
    int result = 1;

    buf_init(&note, NOTE_MAX);
    if (open_bundle(cli, path, &note, &key, &bundle)) {
        one = bundle_json(&bundle, &key, is_in_force(&bundle));
        if (cli->json) {
            cli_print_json(one);
        } else {
            cli_print_record(one, columns, CLI_COUNT(columns));
            putchar('\n');
            print_sentences(&bundle);
        }
        json_decref(one);
        result = 0;
    }
    buf_fini(&note);
    return result;
}

static bool too_late(const struct bundle *b)
{
    if (clock_now() < b->until_us)
        return false;
    cli_say(
        1, "the bundle ended on %.*s; nothing was changed", STR_ARG(b->until));
    return true;
}

static int add(struct cli *cli, const char *path)
{
    struct errinfo info = {.text = "out of memory"};
    struct bundle bundle;
    struct note_key key;
    struct buf note, rules, text;
    int result = 1;

    buf_init(&note, NOTE_MAX);
    buf_init(&rules, RULES_MAX);
    buf_init(&text, RULES_MAX);
    if (!open_bundle(cli, path, &note, &key, &bundle) || too_late(&bundle))
        goto out;
    if (bundle_rules(&bundle, cli_has(cli, "advise"), &rules, &info) !=
        ERR_OK) {
        cli_say(1, "%s: %s; nothing was changed", path, info.text);
        goto out;
    }
    result = cli_rules_append(cli, buf_str(&rules),
        arena_printf(cli->arena, "bundle %.*s of %.*s, signed by %s",
            STR_ARG(bundle.name), STR_ARG(bundle.publisher), key.name));
    if (result == 0 && !cli->json && clock_now() < bundle.from_us)
        printf("the bundle begins on %.*s: activate the version then\n",
            STR_ARG(bundle.from));
out:
    buf_fini(&note);
    buf_fini(&rules);
    buf_fini(&text);
    return result;
}

/* For publishers: the signed text on standard output. */
static int sign(struct cli *cli, const char *path)
{
    const char *key_path = cli_value(cli, "private-key");
    struct errinfo info = {.text = ""};
    const struct note_signer *signers[1];
    struct note_signer signer = {0};
    struct bundle bundle;
    struct str line, rest;
    struct buf text, key, note;
    int result = 1;

    if (!key_path)
        return cli_usage(cli, "--private-key FILE is needed");
    buf_init(&text, NOTE_MAX);
    buf_init(&key, 4096);
    buf_init(&note, 2 * NOTE_MAX);
    signers[0] = &signer;
    if (cli_read_file(path, &text) && cli_read_file(key_path, &key)) {
        str_split(buf_str(&key), '\n', &line, &rest);
        if (bundle_parse(buf_str(&text), &bundle, &info) != ERR_OK ||
            note_signer_parse(str_trim(line), &signer, &info) != ERR_OK ||
            note_sign(buf_str(&text), signers, 1, &note, &info) != ERR_OK) {
            cli_say(1, "%s: %s", path, info.text);
        } else {
            fputs(buf_cstr(&note), stdout);
            result = 0;
        }
    }
    note_signer_wipe(&signer);
    if (key.ptr)
        crypto_wipe(key.ptr, key.cap);
    buf_fini(&text);
    buf_fini(&key);
    buf_fini(&note);
    return result;
}

/* A pair of keys: FILE for the publisher, FILE.pub for everybody. */
static int make_key(struct cli *cli, const char *path)
{
    const char *name = cli_value(cli, "name");
    struct errinfo info = {.text = ""};
    struct note_signer signer = {0};
    struct buf secret, open;
    int result = 1;

    if (!name)
        return cli_usage(cli, "--name is needed: who signs, such as "
                              "authority.example/rules");
    buf_init(&secret, 4096);
    buf_init(&open, 4096);
    if (note_signer_generate(str_from(name), &signer, &info) == ERR_OK) {
        note_signer_format(&signer, &secret);
        note_key_format(&signer.key, &open);
        buf_append_char(&secret, '\n');
        buf_append_char(&open, '\n');
        if (file_replace(path, buf_str(&secret), 0600, &info) == ERR_OK &&
            file_replace(arena_printf(cli->arena, "%s.pub", path),
                buf_str(&open), 0644, &info) == ERR_OK) {
            printf("%s holds the private key, %s.pub the key to give away:\n%s",
                path, path, buf_cstr(&open));
            result = 0;
        }
    }
    if (result)
        cli_say(1, "%s", info.text);
    note_signer_wipe(&signer);
    if (secret.ptr)
        crypto_wipe(secret.ptr, secret.cap);
    buf_fini(&secret);
    buf_fini(&open);
    return result;
}

static int run_bundle(struct cli *cli)
{
    static const struct {
        const char *verb;
        int (*run)(struct cli *cli, const char *path);
    } verbs[] = {{"verify", verify}, {"add", add}, {"sign", sign},
        {"make-key", make_key}};

    for (size_t i = 0; i < CLI_COUNT(verbs); i++)
        if (strcmp(cli->args[0], verbs[i].verb) == 0)
            return verbs[i].run(cli, cli->args[1]);
    return cli_usage(
        cli, "\"%s\" is none of verify, add, sign, make-key", cli->args[0]);
}

static const struct cli_option bundle_options[] = {
    {"key", "KEY|FILE", CLI_TEXT, NULL, "the publisher's verifier key"},
    {"advise", NULL, CLI_FLAG, NULL,
        "add: the rules only advise, and deny nothing"},
    {"private-key", "FILE", CLI_TEXT, NULL, "sign: the publisher's own"},
    {"name", "NAME", CLI_TEXT, NULL, "make-key: who signs"},
};
static const struct cli_command commands[] = {
    {"policy", "bundle", "verify|add|sign|make-key FILE", 2, 2,
        "Rules from outside, signed: read, and add as a draft",
        "A bundle names its publisher, source, article and dates, and is "
        "signed (Ed25519, a\nC2SP signed note). add puts its rules behind the "
        "active ones, with @source and\n@article, as a draft that is approved "
        "like any other.",
        bundle_options, CLI_COUNT(bundle_options), run_bundle, NULL, false,
        true},
};
const struct cli_commands cli_bundle_commands = {commands, CLI_COUNT(commands)};
