/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_verify_file.c - `audit prove`, and `audit verify` of what
 * left the house: a proof file, two checkpoints. A key is enough; nothing is
 * asked of a server. */
#include "proxy/cli/export_file.h"

#include "audit/key_rotation.h"
#include "audit/prove.h"
#include "audit/show.h"
#include "lib/encode.h"
#include "lib/file.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

const struct cli_option cli_prove_options[] = {
    {"out", "FOLDER", CLI_TEXT, NULL,
        "write ID-INDEX.tlog-proof there, one for each entry of the record"},
};

#define FILE_MOST (256u << 20)

/* --- prove ----------------------------------------------------------- */

int cli_write_proofs(struct cli *cli, const char *folder, const json_t *answer)
{
    const json_t *proofs = json_object_get(answer, "proofs");
    const char *id = json_string_value(json_object_get(answer, "id"));
    struct errinfo info = {0};
    char name[128];

    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return cli_say(1, "%s cannot be made", folder);
    for (size_t i = 0; i < json_array_size(proofs); i++) {
        const json_t *one = json_array_get(proofs, i);
        const json_t *text = json_object_get(one, "proof");
        char *path;
        enum err err;

        snprintf(name, sizeof name, "%.40s-%lld.tlog-proof", id ? id : "entry",
            (long long)json_integer_value(json_object_get(one, "index")));
        path = file_join(folder, name);
        err = path ? file_replace(path,
                         str_make(
                             json_string_value(text), json_string_length(text)),
                         0644, &info)
                   : errinfo_set(&info, ERR_NOMEM, "out of memory");
        if (!err)
            printf("%s\n", path);
        free(path);
        if (err)
            return cli_say(1, "%s", info.text);
    }
    return 0;
}

int cli_run_prove(struct cli *cli)
{
    const char *folder = cli_value(cli, "out");
    json_t *answer = NULL;
    const json_t *proofs;
    struct buf path;
    int result;

    buf_init(&path, 65536);
    buf_printf(
        &path, "/v1/audit/records/%s/proof", cli_encode(cli, cli->args[0]));
    result = cli_call(cli, "GET", buf_cstr(&path), NULL, &answer, NULL);
    buf_fini(&path);
    if (result)
        return result;
    proofs = json_object_get(answer, "proofs");
    if (cli->json) {
        cli_print_json(answer);
    } else if (folder) {
        result = cli_write_proofs(cli, folder, answer);
    } else {
        const json_t *first = json_array_get(proofs, 0);
        fputs(json_string_value(json_object_get(first, "proof")), stdout);
        if (json_array_size(proofs) > 1)
            cli_say(0,
                "this is the first of the record's %zu entries; --out FOLDER "
                "writes a proof for each",
                json_array_size(proofs));
    }
    json_decref(answer);
    return result;
}

/* --- verify: a proof ------------------------------------------------- */

/* The rotations of the log's key may lie beside the file, as in a bundle. */
static bool follow_beside(
    struct cli *cli, struct note_key *key, struct errinfo *info)
{
    char *folder = cli->arg_count > 0 ? strdup(cli->args[0]) : NULL;
    char *slash = folder ? strrchr(folder, '/') : NULL;
    char *path;
    bool good = true;

    if (!folder)
        return true;
    if (slash)
        slash[slash == folder] = '\0';
    path = file_join(slash ? folder : ".", KEY_ROTATIONS_FILE);
    if (path && file_exists(path))
        good = key_rotation_follow(slash ? folder : ".", key, NULL, info) ==
               ERR_OK;
    free(path);
    free(folder);
    return good;
}

static bool read_key(struct cli *cli, struct note_key *key)
{
    struct errinfo info = {0};
    struct str given = STR("");
    struct buf text;
    const char *dir = NULL;
    bool good;

    buf_init(&text, 65536);
    good = cli_read_key(cli, &text, &given);
    if (good && given.len == 0) {
        dir = cli_state_dir(cli);
        good = dir != NULL;
    }
    if (good && given.len > 0)
        dir = cli->dir ? cli->dir : getenv("BAILIFF_STATE");
    if (good && (audit_key_read(dir, given, key, &info) != ERR_OK ||
                    !follow_beside(cli, key, &info))) {
        cli_say(1, "%s", info.text);
        good = false;
    }
    buf_fini(&text);
    return good;
}

static int say_proof(struct cli *cli, const struct audit_proof *proof,
    const struct checkpoint *checkpoint, struct str entry)
{
    char root[2 * SHA256_SIZE + 1];
    struct audit_event event;
    struct buf words;
    json_t *answer;

    hex_write(root, checkpoint->root.bytes, SHA256_SIZE);
    if (cli->json) {
        answer =
            json_pack("{s:b, s:I, s:I, s:s%, s:s, s:s%}", "holds", 1, "index",
                (json_int_t)proof->index, "size", (json_int_t)checkpoint->size,
                "origin", checkpoint->origin.ptr, checkpoint->origin.len,
                "root", root, "entry", entry.ptr, entry.len);
        cli_print_json(answer);
        json_decref(answer);
        return 0;
    }
    printf("holds: entry %llu is in the log %.*s of %llu entries, root %s\n",
        (unsigned long long)proof->index, STR_ARG(checkpoint->origin),
        (unsigned long long)checkpoint->size, root);
    buf_init(&words, 1 << 20);
    if (audit_event_parse(cli->arena, entry, &event, NULL) == ERR_OK)
        audit_say_entry(&event, NULL, &words);
    cli_print_safe(stdout, buf_cstr(&words));
    putchar('\n');
    buf_fini(&words);
    return 0;
}

/* Is the proof's checkpoint that of the log somebody else kept one of? */
static bool agrees(
    struct cli *cli, const struct note_key *key, const struct checkpoint *own)
{
    struct errinfo info = {0};
    struct checkpoint kept;
    struct str note = STR("");
    struct buf file;
    const char *dir = cli->dir ? cli->dir : getenv("BAILIFF_STATE");
    char *log_dir = NULL;
    enum err err;

    if (!cli_value(cli, "against"))
        return true;
    buf_init(&file, FILE_MOST);
    if (!cli_read_note(cli, "against", &file, &note)) {
        buf_fini(&file);
        return false;
    }
    err = checkpoint_open(note, key, &kept, &info);
    if (!err && kept.size != own->size && (!dir || !dir[0]))
        err = errinfo_set(&info, ERR_INVALID,
            "the proof's checkpoint is of %llu entries and the one that was "
            "kept of %llu: -C DIR with the log's tiles is needed to compare "
            "them",
            (unsigned long long)own->size, (unsigned long long)kept.size);
    if (!err) {
        log_dir = file_join(dir ? dir : ".", "log");
        err = log_dir ? audit_checkpoints_agree(log_dir, own, &kept, &info)
                      : errinfo_set(&info, ERR_NOMEM, "out of memory");
    }
    if (err)
        cli_say(1, "against the checkpoint that was kept: %s", info.text);
    free(log_dir);
    buf_fini(&file);
    return err == ERR_OK;
}

static int verify_proof(struct cli *cli, struct str text)
{
    struct errinfo info = {0};
    struct audit_proof proof;
    struct checkpoint checkpoint;
    struct note_key key;
    struct buf entry;
    struct str bytes = STR("");
    int code = 1;
    enum err err;

    buf_init(&entry, 1 << 20);
    if (!read_key(cli, &key))
        goto out;
    if (cli_value(cli, "entry")) {
        if (!cli_read_file(cli_value(cli, "entry"), &entry))
            goto out;
        /* An editor's last newline is no part of an entry. */
        bytes = buf_str(&entry);
        if (str_ends(bytes, STR("\n")))
            bytes.len--;
    }
    err = audit_proof_parse(cli->arena, text, &proof, &info);
    if (!err)
        err = audit_proof_verify(&proof, &key, bytes, &checkpoint, &info);
    if (err)
        cli_say(1, "%s", info.text[0] ? info.text : err_name(err));
    else if (agrees(cli, &key, &checkpoint))
        code = say_proof(
            cli, &proof, &checkpoint, bytes.len > 0 ? bytes : proof.entry);
out:
    buf_fini(&entry);
    return code;
}

/* An export may be large; its first byte tells it from a proof. */
static bool is_export(const char *path)
{
    FILE *file = fopen(path, "r");
    int first = file ? fgetc(file) : EOF;

    if (file)
        fclose(file);
    return first == '{';
}

int cli_verify_file(struct cli *cli)
{
    struct note_key key;
    struct buf file;
    int code = 1;

    if (is_export(cli->args[0]))
        return read_key(cli, &key) ? export_file_verify(cli, cli->args[0], &key)
                                   : 1;
    buf_init(&file, FILE_MOST);
    if (cli_read_file(cli->args[0], &file)) {
        if (audit_proof_is(buf_str(&file)))
            code = verify_proof(cli, buf_str(&file));
        else
            cli_say(1,
                "%s is neither a proof (its first line would be "
                "\"c2sp.org/tlog-proof@v1\") nor an export of a log",
                cli->args[0]);
    }
    buf_fini(&file);
    return code;
}

/* --- verify: two checkpoints ----------------------------------------- */

int cli_verify_checkpoints(struct cli *cli)
{
    struct checkpoint a = {0}, b = {0};
    struct str first = STR(""), second = STR("");
    struct errinfo info = {0};
    struct note_key key;
    struct buf files[2];
    char *log_dir = NULL;
    const char *dir;
    int code = 1;
    enum err err;

    if (!cli_value(cli, "against"))
        return cli_usage(cli, "--checkpoint FILE is compared with --against "
                              "FILE; one of the two is missing");
    dir = cli_state_dir(cli);
    if (!dir)
        return 2;
    buf_init(&files[0], FILE_MOST);
    buf_init(&files[1], FILE_MOST);
    if (!cli_read_note(cli, "against", &files[0], &first) ||
        !cli_read_note(cli, "checkpoint", &files[1], &second) ||
        !read_key(cli, &key))
        goto out;
    log_dir = file_join(dir, "log");
    err = log_dir ? checkpoint_open(first, &key, &a, &info)
                  : errinfo_set(&info, ERR_NOMEM, "out of memory");
    if (!err)
        err = checkpoint_open(second, &key, &b, &info);
    if (!err)
        err = audit_checkpoints_agree(log_dir, &a, &b, &info);
    if (err) {
        cli_say(1, "%s", info.text);
        goto out;
    }
    code = 0;
    if (cli->json)
        printf("{\"agree\":true,\"sizes\":[%llu,%llu]}\n",
            (unsigned long long)a.size, (unsigned long long)b.size);
    else
        printf("they agree: the log of %llu entries begins with the log of "
               "%llu entries\n",
            (unsigned long long)(a.size > b.size ? a.size : b.size),
            (unsigned long long)(a.size > b.size ? b.size : a.size));
out:
    free(log_dir);
    buf_fini(&files[0]);
    buf_fini(&files[1]);
    return code;
}
