/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/commands_restore.c - `restore`: a state directory from a backup.
 *
 * All is done in DIR.restoring, which becomes DIR at the very end. Before
 * anything is signed the entries are laid beside what others hold of this log:
 * the files of its anchors and the checkpoints that are given. Where the log
 * had gone on after the backup it may not go on from there: the same key would
 * sign two histories. What is left then is another log, whose first entries say
 * which one it continues and how much is missing. */
#include "proxy/cli/cli_priv.h"
#include "proxy/cli/backup_set.h"

#include "audit/anchors.h"
#include "audit/entry.h"
#include "audit/held.h"
#include "audit/prove.h"
#include "audit/recovery.h"
#include "audit/tiles_build.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/tar.h"
#include "proxy/control.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define HELD_MAX 64
#define NOTES_MOST (256u << 20)

const struct cli_option cli_restore_options[] = {
    {"checkpoint", "FILE", CLI_LIST, NULL,
        "the newest checkpoint that somebody else kept (a note, or an anchor's "
        "file or folder)"},
    {"unanchored", "REASON", CLI_TEXT, NULL,
        "go on although an anchor cannot be asked; goes on record"},
    {"keys", "BACKUP", CLI_TEXT, NULL,
        "the keys, where the backup is without them (made with --keys only)"},
    {"manifest", "SHA256", CLI_TEXT, NULL,
        "the manifest must have this digest, which `backup` printed"},
    {"new-log", "ORIGIN", CLI_TEXT, NULL,
        "the log had gone on after the backup: close it and begin this one"},
};

struct restoring {
    struct cli *cli;
    const char *source, *dir;
    char *staging, *keys_staging;
    bool staging_made, keys_made;
    json_t *manifest;
    struct note_key key;
    uint8_t identity[SHA256_SIZE];
    struct held held[HELD_MAX];
    struct buf notes[HELD_MAX]; /* the held ones' texts */
    size_t held_count;
    uint64_t entries;    /* in the backup */
    uint64_t missing;    /* signed after it; 0: none that is known */
    const char *worst;   /* who holds the largest */
    char *key_elsewhere; /* that signed the log which is closed; NULL: none */
    struct errinfo info;
};

static enum err no_memory(struct restoring *r)
{
    return errinfo_set(&r->info, ERR_NOMEM, "out of memory");
}

/* --- Unpacking ------------------------------------------------------- */

/* An empty folder is as good as none. */
static enum err check_target(struct restoring *r)
{
    if (rmdir(r->dir) != 0 && errno != ENOENT)
        return errinfo_set(&r->info, ERR_EXISTS,
            "%s is there already: restore makes a new directory, and alters "
            "none",
            r->dir);
    return ERR_OK;
}

static enum err make_staging(
    struct restoring *r, const char *suffix, char **path, bool *made)
{
    size_t size = strlen(r->dir) + strlen(suffix) + 1;

    *path = malloc(size);
    if (!*path)
        return no_memory(r);
    snprintf(*path, size, "%s%s", r->dir, suffix);
    *made = mkdir(*path, 0700) == 0;
    if (*made)
        return ERR_OK;
    if (errno == EEXIST)
        return errinfo_set(&r->info, ERR_EXISTS,
            "%s is there: an earlier restore was broken off; remove it first",
            *path);
    return errinfo_errno(&r->info, ERR_IO, "cannot make %s", *path);
}

static enum err move_key(struct restoring *r, const char *name)
{
    char *from = file_join(r->keys_staging, name);
    char *to = file_join(r->staging, name);
    enum err err = from && to ? backup_make_parents(r->staging, name, &r->info)
                              : no_memory(r);

    if (!err && rename(from, to) != 0)
        err = errinfo_errno(&r->info, ERR_IO, "cannot move %s", from);
    free(from);
    free(to);
    return err;
}

static enum err take_keys(struct restoring *r)
{
    const char *source = cli_value(r->cli, "keys");
    json_t *manifest = NULL;
    const json_t *files;
    enum err err;

    if (!source)
        return errinfo_set(&r->info, ERR_INVALID,
            "%s is without keys: give a backup of them with --keys (made by "
            "`backup --keys only`)",
            r->source);
    err = make_staging(r, ".restoring-keys", &r->keys_staging, &r->keys_made);
    if (!err)
        err = backup_unpack(source, r->keys_staging, NULL, &manifest, &r->info);
    const char *kind = json_string_value(json_object_get(manifest, "keys"));
    if (!err && (!kind || strcmp(kind, "without") == 0))
        err = errinfo_set(&r->info, ERR_INVALID,
            "--keys %s is without keys as well: give one that was made by "
            "`backup --keys only`",
            source);
    files = json_object_get(manifest, "files");
    for (size_t i = 0; !err && i < json_array_size(files); i++) {
        const char *name = json_string_value(
            json_object_get(json_array_get(files, i), "path"));
        if (str_starts(str_from(name), STR("keys/")) ||
            (str_starts(str_from(name), STR("tls/")) &&
                str_ends(str_from(name), STR(".key"))))
            err = move_key(r, name);
    }
    json_decref(manifest);
    return err;
}

/* The folders that are derived, and the checkpoint that the backup holds. */
static enum err lay_out(struct restoring *r)
{
    static const char *const folders[] = {"log", "index"};
    const char *note =
        json_string_value(json_object_get(r->manifest, "checkpoint"));
    enum err err = ERR_OK;
    char *path;

    for (size_t i = 0; !err && i < CLI_COUNT(folders); i++) {
        mode_t mode = i == 0 ? 0755 : 0700;
        path = file_join(r->staging, folders[i]);
        err = path ? file_make_dir(path, mode, &r->info) : no_memory(r);
        if (!err && chmod(path, mode) != 0) /* it may be there already */
            err = errinfo_errno(&r->info, ERR_IO, "cannot change %s", path);
        free(path);
    }
    path = file_join(r->staging, "log/checkpoint");
    if (!err && !note)
        err = errinfo_set(&r->info, ERR_SYNTAX,
            "%s: the manifest holds no checkpoint", r->source);
    if (!err)
        err = path ? file_create(path, str_from(note), 0644, &r->info)
                   : no_memory(r);
    free(path);
    path = file_join(r->staging, BACKUP_MANIFEST);
    if (path)
        unlink(path);
    free(path);
    return err;
}

static enum err unpack(struct restoring *r)
{
    const char *keys;
    enum err err = check_target(r);

    if (!err)
        err = make_staging(r, ".restoring", &r->staging, &r->staging_made);
    if (!err)
        err = backup_unpack(r->source, r->staging,
            cli_value(r->cli, "manifest"), &r->manifest, &r->info);
    if (err)
        return err;
    keys = json_string_value(json_object_get(r->manifest, "keys"));
    if (keys && strcmp(keys, "only") == 0)
        return errinfo_set(&r->info, ERR_INVALID,
            "%s holds keys and nothing else: it is for --keys", r->source);
    if (!keys || strcmp(keys, "with") != 0)
        err = take_keys(r);
    if (!err)
        err = lay_out(r);
    if (!err)
        err = audit_key_read(r->staging, STR(""), &r->key, &r->info);
    if (!err)
        audit_identity(&r->key, r->identity);
    return err;
}

/* --- What others hold ------------------------------------------------ */

/* `from` lives as long as the command. */
static enum err hold(struct restoring *r, const char *from, const char *path)
{
    struct buf *text = &r->notes[r->held_count];
    struct str note;
    enum err err;

    if (r->held_count == HELD_MAX)
        return errinfo_set(&r->info, ERR_LIMIT, "too many checkpoints");
    buf_init(text, NOTES_MOST);
    err = held_read(path, text, &note, &r->info);
    if (!err)
        err = held_open(from, note, &r->key, &r->held[r->held_count], &r->info);
    if (err)
        buf_fini(text);
    else
        r->held_count++;
    return err;
}

static enum err hold_given(struct restoring *r)
{
    struct cli *cli = r->cli;
    enum err err = ERR_OK;

    for (size_t i = 0; i < cli->command->option_count; i++)
        if (strcmp(cli->command->options[i].name, "checkpoint") == 0)
            for (int k = 0; !err && k < cli->value_count[i]; k++)
                err = hold(r, cli->values[i][k], cli->values[i][k]);
    return err;
}

/* One row of table anchor. Whoever gives a checkpoint by hand, or a reason,
 * vouches for the anchors that cannot be asked from here. */
static enum err hold_anchor(
    struct restoring *r, struct str name, struct str kind, struct str target)
{
    const char *path = arena_cstr(r->cli->arena, target);
    const char *from = arena_printf(
        r->cli->arena, "the anchor \"%.*s\" (%s)", STR_ARG(name), path);
    bool vouched =
        cli_has(r->cli, "checkpoint") || cli_has(r->cli, "unanchored");
    enum err err;

    if (!path || !from)
        return no_memory(r);
    if (str_equal(kind, STR("file"))) {
        err = hold(r, from, path);
        /* Of another log, or no note: that is nobody's to vouch for. */
        if (!err || err == ERR_DENIED || err == ERR_SYNTAX || !vouched)
            return err == ERR_NOTFOUND || err == ERR_IO
                       ? errinfo_prefix(&r->info, err,
                             "%s cannot be asked how far this log had gone "
                             "(mount it; or give its newest checkpoint with "
                             "--checkpoint, or --unanchored REASON)",
                             from)
                       : err;
    } else if (!vouched) {
        return errinfo_set(&r->info, ERR_INVALID,
            "%s is a command: fetch its newest checkpoint and give it with "
            "--checkpoint, or say with --unanchored REASON that there is none",
            from);
    }
    fprintf(stderr, "not asked: %s\n", from);
    r->info = (struct errinfo){0};
    return ERR_OK;
}

static enum err hold_anchors(struct restoring *r)
{
    struct db *db = NULL;
    struct db_statement *s;
    char *path = file_join(r->staging, "control.db");
    enum err err =
        path ? db_open(path, DB_CONTROL, false, &db, &r->info) : no_memory(r);

    if (!err)
        err = db_prepare(
            db, "SELECT name, kind, target FROM anchor", &s, &r->info);
    while (!err && (err = db_step(s, &r->info)) == ERR_OK) {
        err = hold_anchor(r, db_column_text(s, 0), db_column_text(s, 1),
            db_column_text(s, 2));
        if (err) {
            db_reset(s);
            break;
        }
    }
    db_close(&db);
    free(path);
    if (err == ERR_NOTFOUND && !r->info.text[0])
        return ERR_OK;
    return err;
}

static enum err compare(struct restoring *r)
{
    size_t worst = 0;
    char *segments = file_join(r->staging, "journal/segments");
    char *log = file_join(r->staging, "log");
    enum err err = segments && log
                       ? held_compare(segments, log, r->identity, r->held,
                             r->held_count, &r->entries, &worst, &r->info)
                       : no_memory(r);

    free(segments);
    free(log);
    if (err != ERR_WRONG_STATE) {
        if (!err && cli_has(r->cli, "new-log"))
            return errinfo_set(&r->info, ERR_INVALID,
                "--new-log: nobody holds more of this log than the backup has; "
                "it can simply go on");
        return err;
    }
    r->missing = r->held[worst].size - r->entries;
    r->worst = r->held[worst].from;
    if (cli_has(r->cli, "new-log"))
        return ERR_OK;
    return errinfo_prefix(&r->info, err,
        "to go on from here would sign a second history beside the one that is "
        "kept. Put back a newer backup; where there is none, --new-log ORIGIN "
        "keeps these entries as a closed log and begins another that says how "
        "many are missing (%llu)",
        (unsigned long long)r->missing);
}

/* --- Another log ----------------------------------------------------- */

static enum err move_former(struct restoring *r, const char *name)
{
    char *from = file_join(r->staging, name);
    char *former = file_join(r->staging, "former");
    char *to = former ? file_join(former, name) : NULL;
    enum err err = from && to ? ERR_OK : no_memory(r);

    if (!err && rename(from, to) != 0)
        err = errinfo_errno(&r->info, ERR_IO, "cannot move %s", from);
    free(from);
    free(former);
    free(to);
    return err;
}

/* What was closed before, by an earlier restore, stays within it. */
static enum err make_former(struct restoring *r, const char *former)
{
    char *earlier = file_join(r->staging, "former.earlier");
    char *inner = file_join(former, "former");
    bool closed_before = file_exists(former);
    enum err err = earlier && inner ? ERR_OK : no_memory(r);

    if (!err && closed_before && rename(former, earlier) != 0)
        err = errinfo_errno(&r->info, ERR_IO, "cannot move %s", former);
    if (!err)
        err = file_make_dir(former, 0700, &r->info);
    if (!err && closed_before && rename(earlier, inner) != 0)
        err = errinfo_errno(&r->info, ERR_IO, "cannot move %s", earlier);
    free(earlier);
    free(inner);
    return err;
}

/* The key and what a rotation left beside it never sign again. A key that is
 * elsewhere is not ours to destroy: another DIR may use it. */
static enum err destroy_keys(struct restoring *r)
{
    static const char *const names[] = {
        "keys/log.key", "keys/log.key.old", "keys/log.key.new"};
    enum err err = ERR_OK;

    for (size_t i = 0; !err && i < CLI_COUNT(names); i++) {
        char *path = file_join(r->staging, names[i]);
        if (!path)
            err = no_memory(r);
        else if (unlink(path) != 0 && errno != ENOENT)
            err = errinfo_errno(&r->info, ERR_IO, "cannot remove %s", path);
        free(path);
    }
    return err;
}

/* The settings without log_key_file: the line stays as a comment. */
static void without_key_file(struct str text, struct buf *out)
{
    struct str line;

    while (text.len > 0) {
        size_t blank = 0;
        str_split(text, '\n', &line, &text);
        while (blank < line.len && strchr(" \t", line.ptr[blank]))
            blank++;
        if (str_starts(str_make(line.ptr + blank, line.len - blank),
                STR("log_key_file")))
            buf_append_str(out, STR("# of the log that was closed: "));
        buf_append_str(out, line);
        buf_append_char(out, '\n');
    }
}

/* The new log's key is made in DIR/keys, whatever the settings said of the
 * closed one's. */
static enum err key_comes_home(struct restoring *r)
{
    char *path = file_join(r->staging, "bailiff.conf"), *still;
    struct buf text, changed;
    enum err err = path ? ERR_OK : no_memory(r);

    r->key_elsewhere = backup_key_elsewhere(r->staging);
    buf_init(&text, 1u << 20);
    buf_init(&changed, 2u << 20);
    if (!err && r->key_elsewhere) {
        err = file_read(path, &text, &r->info);
        without_key_file(buf_str(&text), &changed);
        if (!err && changed.failed)
            err = no_memory(r);
        if (!err)
            err = file_replace(path, buf_str(&changed), 0600, &r->info);
        still = backup_key_elsewhere(r->staging);
        if (!err && still)
            err = errinfo_set(&r->info, ERR_INVALID,
                "log_key_file of bailiff.conf names %s, the key of the log "
                "that is closed, and could not be taken out: write it on a "
                "line of its own",
                still);
        free(still);
    }
    buf_fini(&text);
    buf_fini(&changed);
    free(path);
    return err;
}

/* What stands in the outbox is on record in the log that is closed; sinks begin
 * at the beginning of the new one. */
static enum err begin_anew(struct restoring *r)
{
    struct db *db = NULL;
    char *path = file_join(r->staging, "control.db");
    enum err err =
        path ? db_open(path, DB_CONTROL, false, &db, &r->info) : no_memory(r);

    if (!err)
        err = db_execute(db, "DELETE FROM outbox", &r->info);
    if (!err)
        err = db_execute(db, "UPDATE sink SET first = 0", &r->info);
    db_close(&db);
    free(path);
    path = file_join(r->staging, "sinks");
    if (path)
        backup_remove_tree(path);
    else if (!err)
        err = no_memory(r);
    free(path);
    return err;
}

/* The closed log is published as far as it was signed, so that it can be
 * verified as any other. */
static enum err publish_former(struct restoring *r)
{
    char *segments = file_join(r->staging, "former/journal/segments");
    char *folder = file_join(r->staging, "former/log");
    const char *note =
        json_string_value(json_object_get(r->manifest, "checkpoint"));
    struct checkpoint checkpoint;
    enum err err = segments && folder ? checkpoint_open(str_from(note), &r->key,
                                            &checkpoint, &r->info)
                                      : no_memory(r);

    if (!err)
        err = tiles_build(
            segments, r->identity, folder, checkpoint.size, &r->info);
    free(segments);
    free(folder);
    return err;
}

/* The old key is destroyed here: it never signs again. What was kept of the old
 * log by others stays beside it. */
static enum err begin_new_log(struct restoring *r)
{
    static const char *const moved[] = {"journal", "log", "log.vkey"};
    char *former = file_join(r->staging, "former");
    char *held = file_join(r->staging, "former/held-checkpoint");
    struct str note;
    enum err err = former && held ? make_former(r, former) : no_memory(r);

    for (size_t i = 0; !err && i < CLI_COUNT(moved); i++)
        err = move_former(r, moved[i]);
    if (!err)
        err = publish_former(r);
    for (size_t i = 0; !err && i < r->held_count; i++)
        if (r->held[i].from == r->worst &&
            anchor_last_note(buf_str(&r->notes[i]), &note) == ERR_OK)
            err = file_replace(held, note, 0644, &r->info);
    if (!err)
        err = destroy_keys(r);
    if (!err)
        err = key_comes_home(r);
    if (!err)
        err = audit_log_create(
            r->staging, cli_value(r->cli, "new-log"), &r->info);
    if (!err)
        err = begin_anew(r);
    free(former);
    free(held);
    return err;
}

/* --- Positions of sinks ---------------------------------------------- */

/* One may be beyond the backup's moment: it was copied a little later. What is
 * written from now on under those numbers is something else. */
static enum err cap_position(struct restoring *r, const char *path)
{
    char number[24];
    uint64_t position;
    struct buf text;
    enum err err;

    buf_init(&text, 64);
    err = file_read(path, &text, &r->info);
    if (err == ERR_LIMIT)
        err = ERR_OK; /* no number: that sink begins at its beginning */
    else if (!err) {
        struct str said = buf_str(&text);
        if (str_ends(said, STR("\n")))
            said.len--;
        /* One that cannot be read is delivered from the beginning again. */
        if (str_to_u64(said, &position) == ERR_OK && position > r->entries) {
            snprintf(number, sizeof number, "%llu\n",
                (unsigned long long)r->entries);
            err = file_replace(path, str_from(number), 0600, &r->info);
        }
    }
    buf_fini(&text);
    return err;
}

static enum err cap_positions(struct restoring *r)
{
    char *folder = file_join(r->staging, "sinks");
    DIR *list = folder ? opendir(folder) : NULL;
    const struct dirent *entry;
    enum err err = folder ? ERR_OK : no_memory(r);

    while (!err && list && (entry = readdir(list))) {
        char *path =
            entry->d_name[0] == '.' ? NULL : file_join(folder, entry->d_name);
        if (path)
            err = cap_position(r, path);
        free(path);
    }
    if (list)
        closedir(list);
    free(folder);
    return err;
}

/* --- Going on -------------------------------------------------------- */

static void log_failed(void *context, const char *why)
{
    (void)context;
    cli_say(1, "the audit log cannot be written: %s", why);
    _exit(1);
}

/* The event: what was put back, and what it was compared with. */
static enum err record(struct restoring *r, struct control *control)
{
    static const struct control_actor actor = {.method = "offline"};
    const char *reason = cli_value(r->cli, "unanchored");
    json_t *held = json_array(), *detail;
    char *text = NULL;
    enum err err = ERR_NOMEM;

    for (size_t i = 0; i < r->held_count; i++)
        json_array_append_new(
            held, json_pack("{s:s, s:I}", "from", r->held[i].from, "size",
                      (json_int_t)r->held[i].size));
    detail = json_pack("{s:I, s:o, s:I, s:O}", "entries",
        (json_int_t)r->entries, "held", held, "missing", (json_int_t)r->missing,
        "made", json_object_get(r->manifest, "made"));
    if (detail)
        text = json_dumps(detail, JSON_COMPACT | JSON_SORT_KEYS);
    if (text) {
        struct audit_act act = {.type = STR("system.restored"),
            .object_kind = STR("log"),
            .object = str_from(r->key.name),
            .detail = str_from(text),
            .reason = str_from(reason)};
        err = control_event(control, &actor, &act, &r->info);
    } else {
        err = no_memory(r);
    }
    free(text);
    json_decref(detail);
    return err;
}

/* Opens what was put back, as `serve` would: journal, checkpoint, databases
 * and keys must fit together. */
static enum err open_and_record(struct restoring *r)
{
    struct control_options options = {.dir = r->staging, .without_index = true};
    struct control *control = NULL;
    enum err err = control_open(&options, &control, &r->info);

    if (!err && r->missing > 0) {
        control_close(&control);
        err = begin_new_log(r);
        options.adopt = true;
        options.adopt_reason = arena_printf(r->cli->arena,
            "put back from a backup of the log %s, which is closed: %llu of "
            "its entries are missing",
            r->key.name, (unsigned long long)r->missing);
        if (!err)
            err = control_open(&options, &control, &r->info);
    }
    if (!err)
        err = control_start(control, log_failed, NULL, &r->info);
    if (!err)
        err = record(r, control);
    control_close(&control);
    return err;
}

static enum err put_in_place(struct restoring *r)
{
    char *path = strdup(r->dir), *slash = path ? strrchr(path, '/') : NULL;
    enum err err = path ? file_sync_dir(r->staging, &r->info) : no_memory(r);

    if (!err && rename(r->staging, r->dir) != 0)
        err = errinfo_errno(
            &r->info, ERR_IO, "cannot rename %s to %s", r->staging, r->dir);
    if (!err) {
        r->staging_made = false;
        if (slash)
            *slash = '\0';
        err = file_sync_dir(!slash ? "." : path[0] ? path : "/", &r->info);
    }
    free(path);
    return err;
}

static int print_restored(const struct restoring *r)
{
    if (r->cli->json) {
        json_t *answer = json_pack("{s:s, s:I, s:I, s:I, s:s}", "directory",
            r->dir, "entries", (json_int_t)r->entries, "missing",
            (json_int_t)r->missing, "compared", (json_int_t)r->held_count,
            "made", json_string_value(json_object_get(r->manifest, "made")));
        if (r->key_elsewhere)
            json_object_set_new(
                answer, "formerKey", json_string(r->key_elsewhere));
        cli_print_json(answer);
        json_decref(answer);
        return 0;
    }
    printf("%s holds the state of %s: %llu entries\n", r->dir,
        json_string_value(json_object_get(r->manifest, "made")),
        (unsigned long long)r->entries);
    for (size_t i = 0; i < r->held_count; i++)
        printf("  compared with %s: %llu entries\n", r->held[i].from,
            (unsigned long long)r->held[i].size);
    if (r->held_count == 0)
        printf("  compared with nothing: whether the log had gone on after the "
               "backup is not known\n");
    if (r->missing > 0)
        printf(
            "  %llu entries are missing; the log %s is closed, in %s/former\n"
            "  a new log begins: %s (quotas begin anew with it)\n",
            (unsigned long long)r->missing, r->key.name, r->dir,
            cli_value(r->cli, "new-log"));
    if (r->key_elsewhere)
        printf("  its key is %s/keys/log.key, and log_key_file is taken out of "
               "bailiff.conf;\n  destroy %s, which signed the closed log\n",
            r->dir, r->key_elsewhere);
    return 0;
}

int cli_run_restore(struct cli *cli)
{
    struct restoring r = {
        .cli = cli, .source = cli->args[0], .dir = cli->args[1]};
    mode_t mask = umask(0077);
    enum err err;
    int result;

    log_setup(LOG_ERROR, LOG_TEXT);
    err = crypto_init(&r.info);
    if (!err)
        err = unpack(&r);
    if (!err)
        err = hold_given(&r);
    if (!err)
        err = hold_anchors(&r);
    if (!err)
        err = compare(&r);
    if (!err)
        err = cap_positions(&r);
    if (!err)
        err = open_and_record(&r);
    if (!err)
        err = put_in_place(&r);
    umask(mask);
    result =
        err ? cli_say(1, "%s", r.info.text[0] ? r.info.text : err_name(err))
            : print_restored(&r);
    if (r.staging_made)
        backup_remove_tree(r.staging);
    if (r.keys_made)
        backup_remove_tree(r.keys_staging);
    for (size_t i = 0; i < r.held_count; i++)
        buf_fini(&r.notes[i]);
    json_decref(r.manifest);
    free(r.key_elsewhere);
    free(r.staging);
    free(r.keys_staging);
    return result;
}
