/* SPDX-License-Identifier: Apache-2.0
 *
 * schema/db.c - connections and statements over SQLite.
 *
 * Not here: what the tables are (schema/db_open.c), the digest
 * (schema/db_digest.c). Statements are cached by text for the connection's
 * life; a text that is asked for again while its statement still has rows to
 * give gets a second one, so that nested loops do not disturb one another.
 * Mistakes in binding are kept in the statement and come out of db_step.
 * One connection belongs to one thread at a time. */
#include "schema/db.h"
#include "schema/db_priv.h"

#include "lib/must.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DB_MAGIC 0x64620001u
#define STATEMENT_MAGIC 0x64620002u
#define BUCKETS 256 /* texts of one program: a few hundred */

struct db_statement {
    unsigned magic;
    struct db *db;
    sqlite3_stmt *stmt;
    struct str sql;
    uint64_t hash;
    struct db_statement *next; /* in its bucket */
    bool once;
    int bind_error; /* first SQLite code of a failed bind; 0: none */
};

struct db {
    unsigned magic;
    sqlite3 *handle;
    char *path;
    int64_t older; /* its version, while it waits to be migrated */
    struct db_statement *bucket[BUCKETS];
};

static enum err map_constraint(int extended)
{
    switch (extended) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID:
        return ERR_EXISTS;
    default:
        return ERR_WRONG_STATE;
    }
}

static enum err map_code(int extended)
{
    if (extended == SQLITE_IOERR_NOMEM)
        return ERR_NOMEM;
    if (extended == SQLITE_CANTOPEN_NOTEMPDIR)
        return ERR_IO;
    switch (extended & 0xff) {
    case SQLITE_CONSTRAINT:
        return map_constraint(extended);
    case SQLITE_NOMEM:
        return ERR_NOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_AGAIN;
    case SQLITE_FULL:
        return ERR_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_CORRUPT;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
        return ERR_DENIED;
    case SQLITE_TOOBIG:
        return ERR_LIMIT;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_PROTOCOL:
        return ERR_IO;
    default:
        return ERR_INVALID;
    }
}

static const char *remedy(enum err code)
{
    switch ((int)code) {
    case ERR_AGAIN:
        return "; another process is writing to it, try again";
    case ERR_FULL:
        return "; the disk is full, free some room";
    case ERR_CORRUPT:
        return "; the file is damaged, restore it from a backup";
    default:
        return "";
    }
}

static enum err fail(
    struct db *db, int code, const char *what, struct errinfo *info)
{
    int extended = code;
    /* The handle's message belongs to the last call only. */
    const char *message = sqlite3_errstr(code);
    if ((sqlite3_extended_errcode(db->handle) & 0xff) == (code & 0xff)) {
        extended = sqlite3_extended_errcode(db->handle);
        message = sqlite3_errmsg(db->handle);
    }
    enum err err = map_code(extended);
    return errinfo_set(
        info, err, "%s: %s (%s)%s", db->path, message, what, remedy(err));
}

/* --- Connections --------------------------------------------------------- */

enum err db_open_file(
    const char *path, bool readonly, struct db **out, struct errinfo *info)
{
    struct db *db = calloc(1, sizeof(*db));
    if (db == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    db->magic = DB_MAGIC;
    db->path = strdup(path);
    if (db->path == NULL) {
        free(db);
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    }
    int flags = (readonly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) |
                SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE |
                SQLITE_OPEN_EXRESCODE;
    int code = sqlite3_open_v2(path, &db->handle, flags, NULL);
    if (code != SQLITE_OK) {
        enum err err = db->handle == NULL
                           ? errinfo_set(info, ERR_NOMEM, "out of memory")
                           : fail(db, code, "opening", info);
        db_close(&db);
        return err;
    }
    *out = db;
    return ERR_OK;
}

enum err db_harden(struct db *db, int busy_timeout_ms, struct errinfo *info)
{
    static const struct {
        int option, value;
    } options[] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},
        {SQLITE_DBCONFIG_ENABLE_FKEY, 1},
        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_DQS_DDL, 0},
        {SQLITE_DBCONFIG_DQS_DML, 0},
    };
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        int is = -1;
        int code = sqlite3_db_config(
            db->handle, options[i].option, options[i].value, &is);
        if (code != SQLITE_OK || is != options[i].value)
            return errinfo_set(info, ERR_UNSUPPORTED,
                "%s: this SQLite (%s) lacks option %d, 3.37 or later is needed",
                db->path, sqlite3_libversion(), options[i].option);
    }
    int code = sqlite3_busy_timeout(db->handle, busy_timeout_ms);
    if (code != SQLITE_OK)
        return fail(db, code, "busy timeout", info);
    return db_execute(
        db, "PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY;", info);
}

void db_close(struct db **db_ref)
{
    struct db *db = *db_ref;
    if (db == NULL)
        return;
    CHECK_MAGIC(db, DB_MAGIC);
    for (size_t i = 0; i < BUCKETS; i++) {
        struct db_statement *s = db->bucket[i];
        while (s != NULL) {
            struct db_statement *next = s->next;
            sqlite3_finalize(s->stmt);
            s->magic = 0;
            free(s);
            s = next;
        }
    }
    /* Busy here means that a db_prepare_once was not finalised. */
    MUST(sqlite3_close(db->handle) == SQLITE_OK);
    free(db->path);
    db->magic = 0;
    free(db);
    *db_ref = NULL;
}

int64_t db_older(const struct db *db)
{
    return db->older;
}

void db_set_older(struct db *db, int64_t version)
{
    db->older = version;
}

/* The file is made by us first: SQLite would make it readable by others. */
static enum err make_empty(const char *path, struct errinfo *info)
{
    int fd =
        open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errinfo_errno(info, errno == EEXIST ? ERR_EXISTS : ERR_IO,
            "cannot make %s", path);
    close(fd);
    return ERR_OK;
}

enum err db_copy(struct db *db, const char *path, struct errinfo *info)
{
    struct db *to = NULL;
    enum err err = make_empty(path, info);
    if (err != ERR_OK)
        return err;
    err = db_open_file(path, false, &to, info);
    if (err == ERR_OK) {
        sqlite3_backup *backup =
            sqlite3_backup_init(to->handle, "main", db->handle, "main");
        int code = backup == NULL ? sqlite3_errcode(to->handle)
                                  : sqlite3_backup_step(backup, -1);
        int finished = backup == NULL ? code : sqlite3_backup_finish(backup);
        if (code == SQLITE_DONE)
            code = finished;
        if (code != SQLITE_OK)
            err = errinfo_set(info, map_code(code),
                "%s could not be copied to %s: %s%s", db->path, path,
                sqlite3_errstr(code), remedy(map_code(code)));
        db_close(&to);
    }
    if (err != ERR_OK)
        unlink(path);
    return err;
}

const char *db_path(const struct db *db)
{
    return db->path;
}

enum err db_execute(struct db *db, const char *sql, struct errinfo *info)
{
    int code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? ERR_OK : fail(db, code, sql, info);
}

enum err db_begin(struct db *db, struct errinfo *info)
{
    return db_execute(db, "BEGIN IMMEDIATE", info);
}

enum err db_commit(struct db *db, struct errinfo *info)
{
    return db_execute(db, "COMMIT", info);
}

void db_rollback(struct db *db)
{
    /* After some errors (full disk, I/O) SQLite has rolled back itself. What
     * is left in the journal if this fails is rolled back by the next open. */
    if (!sqlite3_get_autocommit(db->handle))
        (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
}

int64_t db_last_rowid(struct db *db)
{
    return sqlite3_last_insert_rowid(db->handle);
}

int64_t db_changes(struct db *db)
{
    return sqlite3_changes64(db->handle);
}

/* --- Statements ---------------------------------------------------------- */

static enum err prepare(struct db *db, struct str sql, bool once,
    struct db_statement **out, struct errinfo *info)
{
    if (sql.len > INT_MAX)
        return errinfo_set(info, ERR_LIMIT, "SQL text is too long");
    struct db_statement *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    const char *tail = NULL;
    int code = sqlite3_prepare_v3(db->handle, sql.ptr, (int)sql.len,
        once ? 0 : SQLITE_PREPARE_PERSISTENT, &s->stmt, &tail);
    if (code != SQLITE_OK || s->stmt == NULL) {
        enum err err = code != SQLITE_OK ? fail(db, code, "preparing", info)
                                         : errinfo_set(info, ERR_INVALID,
                                               "empty SQL statement");
        free(s);
        return err;
    }
    s->magic = STATEMENT_MAGIC;
    s->db = db;
    s->once = once;
    *out = s;
    return ERR_OK;
}

enum err db_prepare(struct db *db, const char *sql, struct db_statement **out,
    struct errinfo *info)
{
    CHECK_MAGIC(db, DB_MAGIC);
    struct str text = str_from(sql);
    uint64_t hash = str_hash(text);
    struct db_statement **bucket = &db->bucket[hash % BUCKETS];
    for (struct db_statement *s = *bucket; s != NULL; s = s->next) {
        if (s->hash != hash || !str_equal(s->sql, text) ||
            sqlite3_stmt_busy(s->stmt))
            continue;
        db_reset(s);
        *out = s;
        return ERR_OK;
    }
    struct db_statement *s;
    enum err err = prepare(db, text, false, &s, info);
    if (err != ERR_OK)
        return err;
    s->sql = text;
    s->hash = hash;
    s->next = *bucket;
    *bucket = s;
    *out = s;
    return ERR_OK;
}

enum err db_prepare_once(struct db *db, struct str sql,
    struct db_statement **out, struct errinfo *info)
{
    CHECK_MAGIC(db, DB_MAGIC);
    return prepare(db, sql, true, out, info);
}

void db_finalize(struct db_statement **statement)
{
    struct db_statement *s = *statement;
    if (s == NULL)
        return;
    CHECK_MAGIC(s, STATEMENT_MAGIC);
    MUST(s->once);
    sqlite3_finalize(s->stmt);
    s->magic = 0;
    free(s);
    *statement = NULL;
}

void db_reset(struct db_statement *s)
{
    CHECK_MAGIC(s, STATEMENT_MAGIC);
    sqlite3_reset(s->stmt);
    sqlite3_clear_bindings(s->stmt);
    s->bind_error = 0;
}

static void bound(struct db_statement *s, int code)
{
    CHECK_MAGIC(s, STATEMENT_MAGIC);
    /* A wrong place or a running statement is a mistake in the program. */
    MUST(code != SQLITE_RANGE && code != SQLITE_MISUSE);
    if (code != SQLITE_OK && s->bind_error == 0)
        s->bind_error = code;
}

void db_bind_text(struct db_statement *s, int at, struct str value)
{
    /* A NULL pointer would bind NULL; the empty string is not NULL. */
    bound(s, sqlite3_bind_text64(s->stmt, at, value.len > 0 ? value.ptr : "",
                 value.len, SQLITE_STATIC, SQLITE_UTF8));
}

void db_bind_blob(struct db_statement *s, int at, const void *bytes, size_t n)
{
    bound(s,
        sqlite3_bind_blob64(s->stmt, at, n > 0 ? bytes : "", n, SQLITE_STATIC));
}

void db_bind_int(struct db_statement *s, int at, int64_t value)
{
    bound(s, sqlite3_bind_int64(s->stmt, at, value));
}

void db_bind_null(struct db_statement *s, int at)
{
    bound(s, sqlite3_bind_null(s->stmt, at));
}

enum err db_step(struct db_statement *s, struct errinfo *info)
{
    CHECK_MAGIC(s, STATEMENT_MAGIC);
    int code = s->bind_error;
    if (code == 0)
        code = sqlite3_step(s->stmt);
    if (code == SQLITE_ROW)
        return ERR_OK;
    if (code == SQLITE_DONE) {
        db_reset(s);
        return ERR_NOTFOUND;
    }
    /* Only the head of a long text: the place is what matters. */
    char head[96];
    snprintf(head, sizeof(head), "%s", sqlite3_sql(s->stmt));
    enum err err = fail(s->db, code, head, info);
    db_reset(s);
    return err;
}

enum err db_run(struct db_statement *s, struct errinfo *info)
{
    enum err err;
    do {
        err = db_step(s, info);
    } while (err == ERR_OK);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* --- Columns ------------------------------------------------------------- */

struct str db_column_blob(struct db_statement *s, int at)
{
    /* Of a text this gives its bytes as they are: no copy for a closing NUL,
     * so that it cannot fail for want of memory. */
    const void *bytes = sqlite3_column_blob(s->stmt, at);
    int length = sqlite3_column_bytes(s->stmt, at);
    if (bytes == NULL || length <= 0)
        return STR("");
    return str_make(bytes, (size_t)length);
}

struct str db_column_text(struct db_statement *s, int at)
{
    return db_column_blob(s, at);
}

int64_t db_column_int(struct db_statement *s, int at)
{
    return sqlite3_column_int64(s->stmt, at);
}

bool db_column_is_null(struct db_statement *s, int at)
{
    return sqlite3_column_type(s->stmt, at) == SQLITE_NULL;
}

int db_column_count(struct db_statement *s)
{
    return sqlite3_column_count(s->stmt);
}

const char *db_column_name(struct db_statement *s, int at)
{
    const char *name = sqlite3_column_name(s->stmt, at);
    return name != NULL ? name : "";
}

enum db_type db_column_type(struct db_statement *s, int at)
{
    switch (sqlite3_column_type(s->stmt, at)) {
    case SQLITE_INTEGER:
        return DB_INTEGER;
    case SQLITE_TEXT:
        return DB_TEXT;
    case SQLITE_BLOB:
        return DB_BLOB;
    case SQLITE_FLOAT:
        return DB_REAL;
    default:
        return DB_NULL;
    }
}
