/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_verify.c - `audit verify`: reads the state directory by
 * itself, needs neither a server nor its word. */
#include "proxy/cli/verify_witnesses.h"

#include "audit/anchors.h"
#include "audit/held.h"
#include "audit/prove.h"
#include "lib/encode.h"
#include "lib/file.h"

#include <stdlib.h>
#include <unistd.h>

#define NOTES_MAX (256u << 20) /* a file that notes were appended to */
#define FINDINGS_SHOWN 200     /* the rest is counted */

const struct cli_option cli_verify_options[] = {
    {"against", "FILE", CLI_TEXT, NULL,
        "a checkpoint that was kept elsewhere, or an anchor's file or folder"},
    {"key", "KEY", CLI_TEXT, NULL,
        "the log's verifier key, or a file with it (DIR/log.vkey)"},
    {"witness", "KEY", CLI_LIST, NULL,
        "this witness must have cosigned, by its verifier key (repeatable)"},
    {"checkpoint", "FILE", CLI_TEXT, NULL,
        "only: does this checkpoint go together with --against?"},
    {"from", "INDEX", CLI_TEXT, NULL, "only the entries from this one on"},
    {"to", "INDEX", CLI_TEXT, NULL, "only the entries before this one"},
    {"index", NULL, CLI_FLAG, NULL,
        "compare the index, too: every row with its entry"},
    {"entry", "FILE", CLI_TEXT, NULL,
        "the entry that a proof file is to be about"},
};

struct verifying {
    json_t *findings;
    size_t count;
    bool json, terminal;
};

/* --- What is compared with ------------------------------------------- */

bool cli_read_note(
    struct cli *cli, const char *option, struct buf *file, struct str *note)
{
    const char *path = cli_value(cli, option);
    struct errinfo info = {0};

    if (!path)
        return true;
    if (strcmp(path, "-") != 0) {
        if (held_read(path, file, note, &info) == ERR_OK)
            return true;
        cli_say(1, "%s", info.text);
        return false;
    }
    if (!cli_read_file(path, file))
        return false;
    if (anchor_last_note(buf_str(file), note) == ERR_OK)
        return true;
    cli_say(1, "standard input holds no signed checkpoint");
    return false;
}

/* KEY itself has two '+' and no file has such a name by accident. */
bool cli_read_key(struct cli *cli, struct buf *file, struct str *key)
{
    const char *given = cli_value(cli, "key");
    struct str rest;

    if (!given)
        return true;
    *key = str_from(given);
    if (access(given, F_OK) != 0)
        return true;
    if (!cli_read_file(given, file))
        return false;
    str_split(buf_str(file), '\n', key, &rest);
    *key = str_trim(*key);
    return true;
}

/* --- What is found --------------------------------------------------- */

static void on_finding(void *context, const struct verify_finding *finding)
{
    struct verifying *v = context;
    json_t *one;

    if (v->terminal)
        fputs("\r\x1b[K", stderr);
    if (++v->count > FINDINGS_SHOWN && !v->json)
        return;
    if (!v->json) {
        printf("%s: ", verify_kind_name(finding->kind));
        cli_print_safe(stdout, finding->text);
        putchar('\n');
        return;
    }
    one = json_pack("{s:s, s:s}", "kind", verify_kind_name(finding->kind),
        "text", finding->text);
    if (finding->index >= 0)
        json_object_set_new(one, "index", json_integer(finding->index));
    if (finding->other >= 0)
        json_object_set_new(one, "other", json_integer(finding->other));
    if (finding->count > 0)
        json_object_set_new(
            one, "count", json_integer((json_int_t)finding->count));
    if (finding->segment > 0) {
        json_object_set_new(
            one, "segment", json_integer((json_int_t)finding->segment));
        json_object_set_new(
            one, "offset", json_integer((json_int_t)finding->offset));
    }
    if (finding->id[0])
        json_object_set_new(one, "id", json_string(finding->id));
    json_array_append_new(v->findings, one);
}

static void on_progress(void *context, uint64_t entries, uint64_t total)
{
    const struct verifying *v = context;

    if (v->terminal)
        fprintf(stderr, "\r%llu of about %llu entries\x1b[K",
            (unsigned long long)entries, (unsigned long long)total);
}

static void print_range(
    const struct verify_result *result, uint64_t from, uint64_t to)
{
    printf("%s: entries %llu to %llu of the log ",
        result->faults ? "NOT AS SIGNED" : "as signed",
        (unsigned long long)from, (unsigned long long)to - 1);
    cli_print_safe(stdout, result->origin);
    printf(", under a checkpoint of %llu entries\n",
        (unsigned long long)result->checkpoint_size);
}

static void print_result(
    const struct verifying *v, const struct verify_result *result)
{
    char root[2 * sizeof result->root.bytes + 1];

    hex_write(root, result->root.bytes, sizeof result->root.bytes);
    if (v->count > FINDINGS_SHOWN)
        printf("... and %zu findings more (--json lists all)\n",
            v->count - FINDINGS_SHOWN);
    printf("%s: %llu entries of the log ",
        result->faults ? "NOT WHOLE" : "whole",
        (unsigned long long)result->entries);
    cli_print_safe(stdout, result->origin);
    printf(", root %s\n", root);
    if (result->faults)
        printf("faults found: %llu\n", (unsigned long long)result->faults);
    else if (result->has_against)
        printf("nothing changed since the checkpoint of %llu entries that was "
               "kept elsewhere\n",
            (unsigned long long)result->against_size);
    else
        printf(
            "compared with the log's own checkpoint of %llu entries; whoever "
            "holds its key could\nhave signed it anew: --against FILE "
            "compares with one that was kept elsewhere\n",
            (unsigned long long)result->checkpoint_size);
}

/* takes witnesses */
static void print_json(
    struct verifying *v, const struct verify_result *result, json_t *witnesses)
{
    char root[2 * sizeof result->root.bytes + 1];
    json_t *answer;

    hex_write(root, result->root.bytes, sizeof result->root.bytes);
    answer = json_pack("{s:b, s:I, s:I, s:s, s:s, s:O}", "whole",
        result->faults == 0, "faults", (json_int_t)result->faults, "entries",
        (json_int_t)result->entries, "origin", result->origin, "root", root,
        "findings", v->findings);
    json_object_set_new(answer, "witnesses", witnesses);
    if (result->has_checkpoint)
        json_object_set_new(answer, "checkpointSize",
            json_integer((json_int_t)result->checkpoint_size));
    if (result->has_against)
        json_object_set_new(answer, "againstSize",
            json_integer((json_int_t)result->against_size));
    cli_print_json(answer);
    json_decref(answer);
}

/* --from and --to; *to 0: the whole log. False: said. */
static bool read_range(struct cli *cli, uint64_t *from, uint64_t *to)
{
    const char *first = cli_value(cli, "from"), *end = cli_value(cli, "to");

    *from = *to = 0;
    if (!first && !end)
        return true;
    if (!first || !end || str_to_u64(str_from(first), from) != ERR_OK ||
        str_to_u64(str_from(end), to) != ERR_OK || *from >= *to) {
        cli_usage(cli, "--from INDEX and --to INDEX belong together: the "
                       "entries from the one up to, not including, the other");
        return false;
    }
    return true;
}

static enum err look(const struct verify_options *options, uint64_t from,
    uint64_t to, struct verify_result *result, struct errinfo *info)
{
    return to > 0 ? audit_verify_range(options, from, to, result, info)
                  : audit_verify(options, result, info);
}

static int verify_directory(struct cli *cli)
{
    struct verifying v = {.findings = json_array(),
        .json = cli->json,
        .terminal = isatty(STDERR_FILENO)};
    struct verify_options options = {.state_dir = cli_state_dir(cli),
        .finding = on_finding,
        .progress = on_progress,
        .context = &v,
        .index = cli_has(cli, "index")};
    struct verify_result result = {0};
    struct errinfo info = {0};
    struct buf notes, key;
    uint64_t from, to;
    int code = 1;

    buf_init(&notes, NOTES_MAX);
    buf_init(&key, 65536);
    if (!options.state_dir || !read_range(cli, &from, &to))
        code = 2;
    else if (options.index && to > 0)
        code = cli_usage(cli, "--index compares all of it; leave out --from "
                              "and --to");
    else if (cli_read_note(cli, "against", &notes, &options.against) &&
             cli_read_key(cli, &key, &options.key)) {
        enum err err = look(&options, from, to, &result, &info);
        if (v.terminal)
            fputs("\r\x1b[K", stderr);
        if (err) {
            cli_say(1, "%s", info.text[0] ? info.text : err_name(err));
        } else {
            json_t *witnesses = json_array();
            bool cosigned = cli_verify_witnesses(
                cli, options.state_dir, options.key, witnesses);
            if (cli->json)
                print_json(&v, &result, json_incref(witnesses));
            else if (to > 0)
                print_range(&result, from, to);
            else
                print_result(&v, &result);
            json_decref(witnesses);
            code = result.faults == 0 && cosigned ? 0 : 1;
        }
    }
    buf_fini(&notes);
    buf_fini(&key);
    json_decref(v.findings);
    return code;
}

int cli_run_verify(struct cli *cli)
{
    if (cli->arg_count > 0)
        return cli_verify_file(cli);
    if (cli_value(cli, "checkpoint"))
        return cli_verify_checkpoints(cli);
    if (cli_value(cli, "entry"))
        return cli_usage(cli, "--entry goes with a proof file");
    return verify_directory(cli);
}
