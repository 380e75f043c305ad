/* SPDX-License-Identifier: Apache-2.0
 *
 * schema/db_open.c - creating and recognising a database file.
 *
 * Not here: statements and digests (schema/db.c), how an older one gets newer
 * (schema/db_migrate.c). A file is ours when its application_id says so; its
 * tables are as new as its user_version. Creation and migration are one
 * transaction each, so a crash leaves the file as it was; an empty file counts
 * as not created yet. */
#include "schema/db.h"
#include "schema/db_priv.h"
#include "schema/schema_priv.h"

#include "lib/file.h"
#include "lib/must.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

extern const char schema_control_sql[];
extern const char schema_persons_sql[];
extern const char schema_index_sql[];

/* "BLF" and the kind, in SQLite's header. */
#define APPLICATION_ID(kind) (0x424c4600 + 1 + (kind))

/* Rollback journals, no WAL: SQLite before 3.51.3 can corrupt a WAL database
 * when two connections checkpoint (sqlite.org/wal.html, "WAL-reset bug"). */
static const struct db_schema schemas[] = {
    [DB_CONTROL] =
        {
            .what = "control database",
            .application_id = APPLICATION_ID(DB_CONTROL),
            .version = 3,
            .create = schema_control_sql,
            .older = OLDER_WAITS,
            .pragmas = "PRAGMA journal_mode=DELETE; PRAGMA synchronous=EXTRA; "
                       "PRAGMA secure_delete=ON;",
            .check_on_open = true,
        },
    [DB_PERSONS] =
        {
            .what = "database of persons",
            .application_id = APPLICATION_ID(DB_PERSONS),
            .version = 2,
            .create = schema_persons_sql,
            .older = OLDER_MIGRATES,
            .pragmas = "PRAGMA journal_mode=DELETE; PRAGMA synchronous=EXTRA; "
                       "PRAGMA secure_delete=ON;",
            .check_on_open = true,
        },
    [DB_INDEX] =
        {
            .what = "audit index",
            .application_id = APPLICATION_ID(DB_INDEX),
            .version = 2,
            .create = schema_index_sql,
            .older = OLDER_IS_REFUSED,
            .pragmas = "PRAGMA journal_mode=DELETE; PRAGMA synchronous=OFF;",
        },
};

/* Waiting for another process (an offline command) to finish its change. */
#define BUSY_TIMEOUT_MS 5000

const struct db_schema *db_schema_of(enum db_kind kind)
{
    MUST((size_t)kind < sizeof(schemas) / sizeof(schemas[0]));
    return &schemas[kind];
}

static enum err read_pragma(
    struct db *db, const char *sql, int64_t *value, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare_once(db, str_from(sql), &s, info);
    if (err != ERR_OK)
        return err;
    err = db_step(s, info);
    if (err == ERR_OK)
        *value = db_column_int(s, 0);
    else if (err == ERR_NOTFOUND)
        err = errinfo_set(info, ERR_CORRUPT, "%s gives no value", sql);
    db_finalize(&s);
    return err;
}

static enum err check_pages(
    struct db *db, const struct db_schema *schema, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare_once(db, STR("PRAGMA quick_check(1)"), &s, info);
    if (err != ERR_OK)
        return err;
    err = db_step(s, info);
    if (err == ERR_OK) {
        struct str verdict = db_column_text(s, 0);
        if (!str_equal(verdict, STR("ok")))
            err = errinfo_set(info, ERR_CORRUPT,
                "%s is damaged: %.*s; restore the %s from a backup",
                db_path(db), STR_ARG(verdict), schema->what);
    }
    db_finalize(&s);
    return err;
}

static enum err make_tables(
    struct db *db, const struct db_schema *schema, struct errinfo *info)
{
    char marks[128];
    snprintf(marks, sizeof(marks),
        "PRAGMA application_id=%ld; PRAGMA user_version=%d;",
        (long)schema->application_id, schema->version);
    enum err err = db_begin(db, info);
    if (err != ERR_OK)
        return err;
    err = db_execute(db, schema->create, info);
    if (err == ERR_OK)
        err = db_execute(db, marks, info);
    if (err == ERR_OK)
        err = db_commit(db, info);
    if (err != ERR_OK)
        db_rollback(db);
    return err;
}

/* The file is ours and of an older version. */
static enum err meet_older(struct db *db, const struct db_schema *schema,
    enum db_mode mode, int64_t version, struct errinfo *info)
{
    if (schema->older == OLDER_IS_REFUSED)
        return errinfo_set(info, ERR_CORRUPT,
            "%s has version %lld, this program writes %d: it has to be made "
            "anew",
            db_path(db), (long long)version, schema->version);
    if (mode == DB_MODE_READONLY)
        return errinfo_set(info, ERR_WRONG_STATE,
            "%s has version %lld and must be migrated to %d first: start "
            "the server or run `bailiff check` once",
            db_path(db), (long long)version, schema->version);
    if (schema->older == OLDER_MIGRATES)
        return db_migrate_schema(db, schema, NULL, NULL, info);
    db_set_older(db, version);
    return ERR_OK;
}

static enum err recognise(struct db *db, const struct db_schema *schema,
    enum db_mode mode, struct errinfo *info)
{
    int64_t application = 0, version = 0, tables = 0;
    enum err err = read_pragma(db, "PRAGMA application_id", &application, info);
    if (err == ERR_OK)
        err = read_pragma(db, "PRAGMA user_version", &version, info);
    if (err == ERR_OK)
        err = read_pragma(
            db, "SELECT count(*) FROM sqlite_master", &tables, info);
    if (err != ERR_OK)
        return err;
    if (application == 0 && version == 0 && tables == 0) {
        if (mode == DB_MODE_CREATE)
            return make_tables(db, schema, info);
        return errinfo_set(info, ERR_CORRUPT,
            "%s is empty: it was never completely created, or was cut; "
            "restore the %s from a backup",
            db_path(db), schema->what);
    }
    if (application != schema->application_id || version < 1)
        return errinfo_set(info, ERR_CORRUPT, "%s is not a Bailiff %s",
            db_path(db), schema->what);
    if (version > schema->version)
        return errinfo_set(info, ERR_UNSUPPORTED,
            "%s has version %lld, this program knows up to %d: it was "
            "written by a newer Bailiff, run that one",
            db_path(db), (long long)version, schema->version);
    if (version < schema->version)
        return meet_older(db, schema, mode, version, info);
    return ERR_OK;
}

/* An existing file's folder is as durable as it will be; a new one's is not. */
static enum err create_file(
    const char *path, bool *created, struct errinfo *info)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    *created = fd >= 0;
    if (fd >= 0) {
        close(fd);
        return ERR_OK;
    }
    if (errno == EEXIST)
        return ERR_OK;
    return errinfo_errno(info, ERR_IO, "cannot create %s", path);
}

static enum err sync_folder_of(const char *path, struct errinfo *info)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return file_sync_dir(".", info);
    char folder[PATH_MAX];
    size_t length = slash == path ? 1 : (size_t)(slash - path);
    if (length >= sizeof(folder))
        return errinfo_set(info, ERR_RANGE, "path is too long: %s", path);
    memcpy(folder, path, length);
    folder[length] = '\0';
    return file_sync_dir(folder, info);
}

static enum err configure(struct db *db, const struct db_schema *schema,
    enum db_mode mode, struct errinfo *info)
{
    enum err err = db_harden(db, BUSY_TIMEOUT_MS, info);
    if (err == ERR_OK && mode != DB_MODE_READONLY)
        err = db_execute(db, schema->pragmas, info);
    return err;
}

enum err db_open_schema(const char *path, const struct db_schema *schema,
    enum db_mode mode, struct db **out, struct errinfo *info)
{
    struct db *db = NULL;
    bool created = false;
    struct stat st;
    enum err err = ERR_OK;
    if (mode == DB_MODE_CREATE)
        err = create_file(path, &created, info);
    else if (stat(path, &st) != 0)
        err = errno == ENOENT
                  ? errinfo_set(info, ERR_NOTFOUND,
                        "%s does not exist: is this a state directory? "
                        "`bailiff init DIR` makes one",
                        path)
                  : errinfo_errno(info, ERR_IO, "cannot read %s", path);
    if (err != ERR_OK)
        return err;
    err = db_open_file(path, mode == DB_MODE_READONLY, &db, info);
    if (err == ERR_OK)
        err = configure(db, schema, mode, info);
    if (err == ERR_OK)
        err = recognise(db, schema, mode, info);
    if (err == ERR_OK && schema->check_on_open && mode != DB_MODE_READONLY)
        err = check_pages(db, schema, info);
    if (err == ERR_OK && mode == DB_MODE_CREATE)
        err = sync_folder_of(path, info);
    if (err != ERR_OK) {
        db_close(&db);
        if (created)
            (void)unlink(path);
        return err;
    }
    *out = db;
    return ERR_OK;
}

enum err db_open(const char *path, enum db_kind kind, bool create,
    struct db **out, struct errinfo *info)
{
    return db_open_schema(path, db_schema_of(kind),
        create ? DB_MODE_CREATE : DB_MODE_WRITE, out, info);
}

enum err db_open_readonly(
    const char *path, enum db_kind kind, struct db **out, struct errinfo *info)
{
    return db_open_schema(
        path, db_schema_of(kind), DB_MODE_READONLY, out, info);
}
