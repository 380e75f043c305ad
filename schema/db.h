/* SPDX-License-Identifier: Apache-2.0
 *
 * schema/db.h - the one home of SQLite: opening, migrating, statements.
 *
 * Databases here are opened with foreign_keys, trusted_schema off, a busy
 * timeout and the durability their kind asks for. Schema files are embedded
 * (schema/NAME.sql) and numbered by PRAGMA user_version. An older database of
 * persons is migrated when it is opened to be written; an older control
 * database waits for its owner, who has its digest to compare first; an older
 * index is refused, for it can be made anew; a newer one of any kind is
 * refused. One connection belongs to one thread at a time (the owner locks). */
#ifndef SCHEMA_DB_H
#define SCHEMA_DB_H

#include "lib/err.h"
#include "lib/str.h"

enum db_kind {
    DB_CONTROL, /* rollback journal, synchronous=EXTRA, secure_delete */
    DB_PERSONS, /* rollback journal, synchronous=EXTRA, secure_delete */
    DB_INDEX    /* may be lost: rollback journal, synchronous=OFF */
};

struct db;
struct db_statement;

/* Creates the file (mode 0600) and its tables when `create`; then also syncs
 * the folder. Otherwise a missing file is ERR_NOTFOUND. A damaged file is
 * ERR_CORRUPT. gives *out. */
enum err db_open(const char *path, enum db_kind kind, bool create,
    struct db **out, struct errinfo *info) MUSTCHECK;
/* The version of a control database that has to be migrated before it is used;
 * 0: it is as new as this program. */
int64_t db_older(const struct db *db);
/* Gives the database the tables of this program, in one transaction, its rows
 * kept by the names of their columns. `also`, if not NULL, runs at the end of
 * that transaction. On an error the database is as it was, and of no use. */
typedef enum err db_in_migration(void *context, struct errinfo *info);
enum err db_migrate(struct db *db, enum db_kind kind, db_in_migration *also,
    void *context, struct errinfo *info) MUSTCHECK;
/* Read only, never creates, never migrates. */
enum err db_open_readonly(const char *path, enum db_kind kind, struct db **out,
    struct errinfo *info) MUSTCHECK;
void db_close(struct db **db);
/* The whole database as it is committed, into a new file (mode 0600) at path.
 * Statements that are being read do not disturb it; a change that has begun
 * must not be under way. ERR_EXISTS: there is a file. */
enum err db_copy(
    struct db *db, const char *path, struct errinfo *info) MUSTCHECK;

/* Statements without results; several may stand in one text. */
enum err db_execute(
    struct db *db, const char *sql, struct errinfo *info) MUSTCHECK;
/* BEGIN IMMEDIATE, COMMIT; ROLLBACK never fails. */
enum err db_begin(struct db *db, struct errinfo *info) MUSTCHECK;
enum err db_commit(struct db *db, struct errinfo *info) MUSTCHECK;
void db_rollback(struct db *db);

/* Prepared statements are kept by the db and reused by text: sql must be a
 * literal. Bind from 1; a bound str must live until db_reset. */
enum err db_prepare(struct db *db, const char *sql, struct db_statement **out,
    struct errinfo *info) MUSTCHECK;
/* The same for SQL put together at run time; ends with db_finalize. */
enum err db_prepare_once(struct db *db, struct str sql,
    struct db_statement **out, struct errinfo *info) MUSTCHECK;
void db_bind_text(struct db_statement *s, int at, struct str value);
void db_bind_blob(struct db_statement *s, int at, const void *bytes, size_t n);
void db_bind_int(struct db_statement *s, int at, int64_t value);
void db_bind_null(struct db_statement *s, int at);
/* ERR_OK: a row stands; ERR_NOTFOUND: no (more) rows, statement reset;
 * ERR_EXISTS: a uniqueness rule; ERR_WRONG_STATE: a foreign key or CHECK. */
enum err db_step(struct db_statement *s, struct errinfo *info) MUSTCHECK;
/* For INSERT, UPDATE, DELETE: step to the end and reset; ERR_OK when done. */
enum err db_run(struct db_statement *s, struct errinfo *info) MUSTCHECK;
void db_reset(struct db_statement *s);
void db_finalize(struct db_statement **s); /* db_prepare_once only */
/* Columns from 0; texts borrow until the next step or reset. NULL: empty. */
struct str db_column_text(struct db_statement *s, int at);
struct str db_column_blob(struct db_statement *s, int at);
int64_t db_column_int(struct db_statement *s, int at);
bool db_column_is_null(struct db_statement *s, int at);
enum db_type { DB_NULL, DB_INTEGER, DB_TEXT, DB_BLOB, DB_REAL };
enum db_type db_column_type(struct db_statement *s, int at);
int db_column_count(struct db_statement *s);
const char *db_column_name(struct db_statement *s, int at);
int64_t db_last_rowid(struct db *db);
int64_t db_changes(struct db *db);

/* SHA-256 over all rows of all tables but those named in `except`
 * (NULL-terminated), in a fixed order and encoding: the control digest. */
enum err db_digest(struct db *db, const char *const *except, uint8_t out[32],
    struct errinfo *info) MUSTCHECK;

#endif
