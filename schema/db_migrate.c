/* SPDX-License-Identifier: Apache-2.0
 *
 * schema/db_migrate.c - an older database gets the tables of this program.
 *
 * There are no steps from version to version. Every table is put aside, the
 * schema is made as for a new database, and the rows are carried over by the
 * names of their columns; a column that is new gets its default. So a changed
 * CHECK or constraint needs nothing of its own, and whatever an older database
 * holds that the schema no longer permits stops the migration with its words.
 * Order matters to SQLite: foreign keys are off meanwhile (and are checked at
 * the end), and a name that is put aside must not be followed by the tables
 * that refer to it (legacy_alter_table). See sqlite.org/lang_altertable.html,
 * "Making Other Kinds Of Table Schema Changes". */
#include "schema/db_priv.h"
#include "schema/schema_priv.h"

#include "lib/buf.h"

#include <stdio.h>

#define SQL_MAX (1u << 20)
#define ASIDE "older_" /* no table of ours begins so */

/* Runs each text that `select` gives (?1 = name where it is not empty). They
 * are read first: running them changes what is selected from. */
static enum err run_each(
    struct db *db, const char *select, struct str name, struct errinfo *info)
{
    struct db_statement *s;
    struct buf sql;
    buf_init(&sql, SQL_MAX);
    enum err err = db_prepare_once(db, str_from(select), &s, info);
    if (err != ERR_OK)
        return err;
    if (name.len > 0)
        db_bind_text(s, 1, name);
    while ((err = db_step(s, info)) == ERR_OK) {
        buf_append_str(&sql, db_column_text(s, 0));
        buf_append_str(&sql, STR(";\n"));
    }
    db_finalize(&s);
    if (err == ERR_NOTFOUND)
        err = sql.failed ? errinfo_set(info, ERR_NOMEM, "out of memory")
                         : db_execute(db, buf_cstr(&sql), info);
    buf_fini(&sql);
    return err;
}

static enum err put_aside(struct db *db, struct errinfo *info)
{
    enum err err = run_each(db,
        "SELECT 'DROP INDEX \"' || name || '\"' FROM sqlite_master"
        " WHERE type = 'index' AND sql IS NOT NULL",
        STR(""), info);
    if (err == ERR_OK)
        err = run_each(db,
            "SELECT 'ALTER TABLE \"' || name || '\" RENAME TO \"" ASIDE
            "' || name || '\"' FROM sqlite_master"
            " WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
            STR(""), info);
    return err;
}

/* Rows by the columns that both have. A table that is no more is dropped with
 * its rows: what is worth keeping, the schema keeps. */
static enum err carry_over(struct db *db, struct errinfo *info)
{
    enum err err = run_each(db,
        "SELECT 'INSERT INTO \"' || new.name || '\" (' || list.columns ||"
        " ') SELECT ' || list.columns || ' FROM \"' || old.name || '\"'"
        " FROM sqlite_master AS old JOIN sqlite_master AS new"
        "  ON old.name = '" ASIDE "' || new.name AND new.type = 'table'"
        " JOIN (SELECT t.name AS name,"
        "   group_concat('\"' || c.name || '\"', ', ') AS columns"
        "  FROM sqlite_master AS t, pragma_table_xinfo(t.name) AS c,"
        "   pragma_table_xinfo('" ASIDE "' || t.name) AS o"
        "  WHERE t.type = 'table' AND o.name = c.name"
        "  GROUP BY t.name) AS list ON list.name = new.name"
        " WHERE old.type = 'table'",
        STR(""), info);
    /* AUTOINCREMENT never gives a number twice, over versions too. */
    if (err == ERR_OK)
        err = run_each(db,
            "SELECT 'DELETE FROM sqlite_sequence WHERE name NOT LIKE ''" ASIDE
            "%''; UPDATE sqlite_sequence SET name = substr(name, ' ||"
            " (length('" ASIDE "') + 1) || ')' FROM sqlite_master"
            " WHERE name = 'sqlite_sequence'",
            STR(""), info);
    if (err == ERR_OK)
        err = run_each(db,
            "SELECT 'DROP TABLE \"' || name || '\"' FROM sqlite_master"
            " WHERE type = 'table' AND name LIKE '" ASIDE "%'",
            STR(""), info);
    return err;
}

static enum err check_references(struct db *db, struct errinfo *info)
{
    struct db_statement *s;
    enum err err =
        db_prepare_once(db, STR("PRAGMA foreign_key_check"), &s, info);
    if (err != ERR_OK)
        return err;
    err = db_step(s, info);
    if (err == ERR_OK)
        err = errinfo_set(info, ERR_CORRUPT,
            "%s: a row of the table %.*s refers to one of %.*s that is not "
            "there",
            db_path(db), STR_ARG(db_column_text(s, 0)),
            STR_ARG(db_column_text(s, 2)));
    else if (err == ERR_NOTFOUND)
        err = ERR_OK;
    db_finalize(&s);
    return err;
}

static enum err rebuild(struct db *db, const struct db_schema *schema,
    db_in_migration *also, void *context, struct errinfo *info)
{
    char mark[64];
    snprintf(mark, sizeof(mark), "PRAGMA user_version=%d", schema->version);
    enum err err = put_aside(db, info);
    if (err == ERR_OK)
        err = db_execute(db, schema->create, info);
    if (err == ERR_OK)
        err = carry_over(db, info);
    if (err == ERR_OK)
        err = check_references(db, info);
    if (err == ERR_OK)
        err = db_execute(db, mark, info);
    if (err == ERR_OK && also)
        err = also(context, info);
    return err;
}

enum err db_migrate_schema(struct db *db, const struct db_schema *schema,
    db_in_migration *also, void *context, struct errinfo *info)
{
    /* Neither may be set within a transaction. */
    enum err err = db_execute(
        db, "PRAGMA foreign_keys=OFF; PRAGMA legacy_alter_table=ON;", info);
    if (err == ERR_OK)
        err = db_begin(db, info);
    if (err == ERR_OK) {
        err = rebuild(db, schema, also, context, info);
        if (err == ERR_OK)
            err = db_commit(db, info);
        if (err != ERR_OK)
            db_rollback(db);
    }
    if (err != ERR_OK)
        return errinfo_prefix(info, err,
            "the %s is older than this program and cannot be migrated; it is "
            "as it was",
            schema->what);
    return db_execute(
        db, "PRAGMA legacy_alter_table=OFF; PRAGMA foreign_keys=ON;", info);
}

enum err db_migrate(struct db *db, enum db_kind kind, db_in_migration *also,
    void *context, struct errinfo *info)
{
    enum err err =
        db_migrate_schema(db, db_schema_of(kind), also, context, info);
    if (err == ERR_OK)
        db_set_older(db, 0);
    return err;
}
