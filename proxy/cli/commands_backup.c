/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_backup.c - `backup`: a copy of the whole state while the
 * server works on.
 *
 * The server gives one moment (POST /v1/backup): copies of its databases and
 * the size of the log that goes with them. The rest is read here: the journal's
 * segments up to that size, the newest checkpoint before it, settings, keys,
 * and whatever else is not derived. Tiles, the index and journal/state are
 * derived, and left out; so is what witnesses cosigned, who cosign again. Where
 * a prefix was pruned its hash tiles and what the pruning left come along: they
 * are derived from nothing that is still there. */
#include "proxy/cli/cli_priv.h"
#include "proxy/cli/backup_set.h"

#include "audit/journal_reader.h"
#include "audit/tiles.h"
#include "lib/clock.h"
#include "lib/encode.h"
#include "lib/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

const struct cli_option cli_backup_options[] = {
    {"keys", "with|without|only", CLI_TEXT, NULL,
        "whether the secret keys are in it (must be said)"},
};

struct copying {
    const char *dir;
    struct backup_sink *sink;
    struct errinfo info;
    bool with_keys, with_rest;
    int64_t asked_us;    /* before the moment */
    char *key_elsewhere; /* the log's signing key; NULL: it is in DIR/keys */
};

/* --- Files ----------------------------------------------------------- */

/* A file of the state directory; one that is not there is passed over. */
static enum err add(struct copying *c, const char *name)
{
    char *path = file_join(c->dir, name);
    enum err err = ERR_NOMEM;

    if (path)
        err = backup_sink_file(c->sink, name, path, UINT64_MAX, &c->info);
    free(path);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static int skip_dots(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* All files under a folder of the state directory that `wanted` wants. */
static enum err add_folder(
    struct copying *c, const char *folder, bool (*wanted)(const char *name))
{
    struct dirent **entries = NULL;
    char *path = file_join(c->dir, folder);
    int count = path ? scandir(path, &entries, skip_dots, alphasort) : -1;
    enum err err = ERR_OK;

    if (count < 0 && errno != ENOENT)
        err = errinfo_errno(&c->info, ERR_IO, "cannot read %s", path);
    for (int i = 0; i < count; i++) {
        char *name = file_join(folder, entries[i]->d_name);
        struct stat status;
        char *full = name ? file_join(c->dir, name) : NULL;
        if (!full)
            err = errinfo_set(&c->info, ERR_NOMEM, "out of memory");
        else if (!err && lstat(full, &status) == 0) {
            if (S_ISDIR(status.st_mode))
                err = add_folder(c, name, wanted);
            else if (S_ISREG(status.st_mode) && wanted(entries[i]->d_name))
                err = add(c, name);
        }
        free(name);
        free(full);
        free(entries[i]);
    }
    free(entries);
    free(path);
    return err;
}

static bool any(const char *name)
{
    (void)name;
    return true;
}

static bool is_key(const char *name)
{
    return str_ends(str_from(name), STR(".key"));
}

static bool is_no_key(const char *name)
{
    return !is_key(name);
}

/* Where entry `size` would begin: up to there the segments are copied. */
static enum err find_end(
    struct copying *c, uint64_t size, struct journal_place *end)
{
    char *folder = file_join(c->dir, "journal/segments");
    struct journal_reader *reader = NULL;
    enum err err = folder
                       ? journal_reader_open(folder, NULL, 0, &reader, &c->info)
                       : errinfo_set(&c->info, ERR_NOMEM, "out of memory");

    if (!err)
        err = journal_reader_seek(reader, size, NULL, &c->info);
    if (!err)
        journal_reader_place(reader, end);
    if (!err && end->index != size)
        err = errinfo_set(&c->info, ERR_CORRUPT,
            "entry %llu does not begin a frame of the journal",
            (unsigned long long)size);
    journal_reader_close(&reader);
    free(folder);
    return err;
}

/* Nothing may be pruned between the moment and the end of the copy: its record
 * would not be in it. */
static enum err look_at_pruned(
    struct copying *c, bool again, struct pruned *pruned)
{
    struct pruned before = *pruned;
    char *folder = file_join(c->dir, "journal/segments");
    enum err err = folder ? pruned_load(folder, pruned, &c->info)
                          : errinfo_set(&c->info, ERR_NOMEM, "out of memory");

    free(folder);
    if (!err && (pruned->time_us >= c->asked_us ||
                    (again && before.entries != pruned->entries)))
        err = errinfo_set(&c->info, ERR_AGAIN,
            "the log was pruned meanwhile: make the backup anew");
    return err;
}

/* What stands in the place of a pruned prefix. */
static enum err add_pruned(struct copying *c, const struct pruned *pruned)
{
    char name[TILE_PATH_MAX + 64];
    enum err err = ERR_OK;

    if (pruned->entries == 0)
        return ERR_OK;
    for (uint64_t i = 0; !err && i < pruned_minimum_index(pruned) / TILE_WIDTH;
         i++) {
        char tile[TILE_PATH_MAX];
        tile_path(tile, 0, i, TILE_WIDTH);
        snprintf(name, sizeof name, "log/%s", tile);
        err = add(c, name);
    }
    snprintf(name, sizeof name, "journal/segments/base-%llu",
        (unsigned long long)pruned->entries);
    if (!err)
        err = add(c, name);
    snprintf(name, sizeof name, "journal/segments/past-%llu",
        (unsigned long long)pruned->entries);
    if (!err)
        err = add(c, name);
    return err ? err : add(c, "journal/segments/" PRUNED_FILE);
}

static enum err add_journal(struct copying *c, uint64_t size)
{
    struct journal_place end = {0};
    struct pruned pruned = {0};
    enum err err = look_at_pruned(c, false, &pruned);

    if (!err)
        err = find_end(c, size, &end);
    if (!err)
        err = add_pruned(c, &pruned);
    for (uint64_t i = pruned.entries > 0 ? pruned.segment : 1;
         !err && i <= end.sequence; i++) {
        char segment[SEGMENT_NAME_SIZE], name[64];
        char *path;

        segment_name(segment, i);
        snprintf(name, sizeof name, "journal/segments/%s", segment);
        path = file_join(c->dir, name);
        err = path ? backup_sink_file(c->sink, name, path,
                         i == end.sequence ? end.offset : UINT64_MAX, &c->info)
                   : errinfo_set(&c->info, ERR_NOMEM, "out of memory");
        free(path);
        if (!err && isatty(STDERR_FILENO))
            fprintf(stderr, "\rsegment %llu of %llu", (unsigned long long)i,
                (unsigned long long)end.sequence);
    }
    if (isatty(STDERR_FILENO))
        fputc('\n', stderr);
    if (!err || err == ERR_NOTFOUND)
        err = look_at_pruned(c, true, &pruned) ? ERR_AGAIN : err;
    return err;
}

/* The copies of the moment, under the names they have in DIR. */
static enum err add_copies(struct copying *c, const char *folder)
{
    static const char *const names[] = {"control.db", "persons.db"};
    enum err err = ERR_OK;

    for (size_t i = 0; !err && i < CLI_COUNT(names); i++) {
        char *path = file_join(folder, names[i]);
        err = path ? backup_sink_file(
                         c->sink, names[i], path, UINT64_MAX, &c->info)
                   : errinfo_set(&c->info, ERR_NOMEM, "out of memory");
        free(path);
    }
    return err;
}

static enum err add_all(struct copying *c, const json_t *moment)
{
    static const char *const single[] = {
        "bailiff.conf", "log.vkey", "log/key-rotations", "key-usage"};
    static const char *const folders[] = {
        "blobs", "certificates", "former", "sinks"};
    const char *folder = json_string_value(json_object_get(moment, "folder"));
    enum err err = ERR_OK;

    if (c->with_rest) {
        err = add_copies(c, folder);
        for (size_t i = 0; !err && i < CLI_COUNT(single); i++)
            err = add(c, single[i]);
        if (!err)
            err = add_folder(c, "tls", is_no_key);
        for (size_t i = 0; !err && i < CLI_COUNT(folders); i++)
            err = add_folder(c, folders[i], any);
    }
    if (!err && c->with_keys)
        err = add_folder(c, "keys", any);
    if (!err && c->with_keys)
        err = add_folder(c, "tls", is_key);
    if (!err && c->with_rest)
        err = add_journal(c,
            (uint64_t)json_integer_value(json_object_get(moment, "entries")));
    return err;
}

/* --- The command ----------------------------------------------------- */

static json_t *about(struct copying *c, const char *keys, const json_t *moment)
{
    char made[CLOCK_TEXT_LENGTH];

    clock_format(made, clock_now());
    return json_pack("{s:s, s:s%, s:s, s:s, s:O, s:O, s:O}", "format",
        BACKUP_FORMAT, "made", made, sizeof made, "version", BAILIFF_VERSION,
        "keys", keys, "entries", json_object_get(moment, "entries"),
        "checkpoint", json_object_get(moment, "checkpoint"), "controlDigest",
        json_object_get(moment, "controlDigest"));
}

/* Both ends go on record, whatever became of it. */
static int end_backup(struct cli *cli, struct copying *c, const json_t *moment,
    const char *manifest)
{
    json_t *body, *answer = NULL;
    const char *path = arena_printf(cli->arena, "/v1/backup/%s/end",
        json_string_value(json_object_get(moment, "id")));
    int result;

    if (manifest)
        body = json_pack("{s:s, s:I, s:I, s:O}", "manifest", manifest, "files",
            (json_int_t)backup_sink_files(c->sink), "bytes",
            (json_int_t)backup_sink_bytes(c->sink), "entries",
            json_object_get(moment, "entries"));
    else
        body = json_pack("{s:s}", "failed", c->info.text);
    result = cli_call(cli, "POST", path, body, &answer, NULL);
    json_decref(answer);
    return result;
}

/* (Standard output may be the archive.) */
static void print_made(struct cli *cli, struct copying *c, const char *target,
    const json_t *moment, const char *manifest)
{
    bool piped = strcmp(target, "-") == 0;
    FILE *out = piped ? stderr : stdout;
    json_t *answer;

    if (cli->json && !piped) {
        answer =
            json_pack("{s:s, s:s, s:I, s:I, s:O}", "target", target, "manifest",
                manifest, "files", (json_int_t)backup_sink_files(c->sink),
                "bytes", (json_int_t)backup_sink_bytes(c->sink), "entries",
                json_object_get(moment, "entries"));
        if (c->key_elsewhere)
            json_object_set_new(
                answer, "notInIt", json_pack("[s]", c->key_elsewhere));
        cli_print_json(answer);
        json_decref(answer);
        return;
    }
    fprintf(out,
        "backed up: %llu files, %llu bytes, the log up to entry %lld\n"
        "manifest   %s (keep it elsewhere: restore --manifest)\n",
        (unsigned long long)backup_sink_files(c->sink),
        (unsigned long long)backup_sink_bytes(c->sink),
        (long long)json_integer_value(json_object_get(moment, "entries")),
        manifest);
    if (!c->with_keys)
        fputs("without keys: restore needs a backup of them (--keys only)\n",
            out);
    if (c->key_elsewhere)
        fprintf(out,
            "not in it: %s, which signs the log (log_key_file); a restored "
            "state signs with it, so keep a copy of it elsewhere\n",
            c->key_elsewhere);
}

static int copy_everything(struct cli *cli, struct copying *c, const char *keys,
    const char *target, const json_t *moment)
{
    uint8_t digest[SHA256_SIZE];
    char manifest[2 * SHA256_SIZE + 1];
    enum err err = backup_sink_open(target, &c->sink, &c->info);

    if (!err)
        err = add_all(c, moment);
    if (!err)
        err = backup_sink_finish(
            c->sink, about(c, keys, moment), digest, &c->info);
    if (err) {
        end_backup(cli, c, moment, NULL);
        backup_sink_close(&c->sink);
        return cli_say(1, "%s", c->info.text);
    }
    hex_write(manifest, digest, sizeof digest);
    if (end_backup(cli, c, moment, manifest) != 0) {
        backup_sink_close(&c->sink);
        return cli_say(1, "%s is whole, but its end is not on record", target);
    }
    print_made(cli, c, target, moment, manifest);
    backup_sink_close(&c->sink);
    return 0;
}

int cli_run_backup(struct cli *cli)
{
    const char *keys = cli_value(cli, "keys");
    struct copying c = {.dir = cli_state_dir(cli)};
    json_t *moment = NULL;
    struct errinfo info = {0};
    int result;

    if (!c.dir)
        return 2;
    if (!keys || (strcmp(keys, "with") != 0 && strcmp(keys, "without") != 0 &&
                     strcmp(keys, "only") != 0))
        return cli_usage(cli,
            "--keys with, without or only? Whoever has the keys can sign the "
            "log and open what is sealed in it; without them nothing can be "
            "put back");
    c.with_keys = strcmp(keys, "without") != 0;
    c.with_rest = strcmp(keys, "only") != 0;
    if (crypto_init(&info) != ERR_OK)
        return cli_say(1, "%s", info.text);
    c.asked_us = clock_now();
    result = cli_call(cli, "POST", "/v1/backup",
        json_pack("{s:s}", "keys", keys), &moment, NULL);
    c.key_elsewhere = backup_key_elsewhere(c.dir);
    if (!result)
        result = copy_everything(cli, &c, keys, cli->args[0], moment);
    free(c.key_elsewhere);
    json_decref(moment);
    return result;
}
