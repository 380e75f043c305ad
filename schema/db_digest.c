/* SPDX-License-Identifier: Apache-2.0
 *
 * schema/db_digest.c - one SHA-256 over the rows of a database.
 *
 * Encoding (changing it changes every digest on record):
 *   table:  'T' text(name) u64(columns) text(column name)...
 *   row:    'R' value...
 *   value:  'N' | 'I' i64 | 'S' u64(length) bytes | 'B' u64(length) bytes
 *         | 'F' text as SQLite prints it (no table of ours has reals)
 *   text:   u64(length) bytes; all numbers big-endian
 * Tables by name (bytewise), rows by primary key, else by rowid. Pure rows:
 * page layout, free pages and row order on disk do not matter. */
#include "schema/db.h"
#include "schema/db_priv.h"

#include "lib/buf.h"
#include "lib/crypto.h"

#include <stdlib.h>

#define SQL_MAX (1u << 20) /* of one generated SELECT */

/* Values are short and many: they are hashed a block at a time. */
struct digest {
    struct crypto_hash *context;
    size_t used;
    uint8_t block[8192];
};

static void flush(struct digest *hash)
{
    crypto_hash_update(hash->context, hash->block, hash->used);
    hash->used = 0;
}

static void add_bytes(struct digest *hash, const void *bytes, size_t n)
{
    if (n > sizeof(hash->block) - hash->used)
        flush(hash);
    if (n > sizeof(hash->block)) {
        crypto_hash_update(hash->context, bytes, n);
    } else if (n > 0) {
        memcpy(hash->block + hash->used, bytes, n);
        hash->used += n;
    }
}

static void add_u64(struct digest *hash, char tag, uint64_t value)
{
    uint8_t bytes[9] = {(uint8_t)tag};
    for (int i = 0; i < 8; i++)
        bytes[1 + i] = (uint8_t)(value >> (56 - 8 * i));
    /* A tag of 0 means none. */
    add_bytes(hash, tag ? bytes : bytes + 1, tag ? 9 : 8);
}

static void add_text(struct digest *hash, char tag, struct str text)
{
    add_u64(hash, tag, text.len);
    add_bytes(hash, text.ptr, text.len);
}

static void add_row(struct digest *hash, struct db_statement *row)
{
    add_bytes(hash, "R", 1);
    int count = db_column_count(row);
    for (int i = 0; i < count; i++) {
        switch (db_column_type(row, i)) {
        case DB_NULL:
            add_bytes(hash, "N", 1);
            break;
        case DB_INTEGER:
            add_u64(hash, 'I', (uint64_t)db_column_int(row, i));
            break;
        case DB_TEXT:
            add_text(hash, 'S', db_column_text(row, i));
            break;
        case DB_BLOB:
            add_text(hash, 'B', db_column_blob(row, i));
            break;
        case DB_REAL:
            add_text(hash, 'F', db_column_text(row, i));
            break;
        }
    }
}

static void append_identifier(struct buf *sql, struct str name)
{
    buf_append_char(sql, '"');
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '"')
            buf_append_char(sql, '"');
        buf_append_char(sql, name.ptr[i]);
    }
    buf_append_char(sql, '"');
}

/* SELECT of all columns by key; also hashes the table's head. */
static enum err describe_table(struct db *db, struct digest *hash,
    struct str table, struct buf *sql, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(db,
        "SELECT name, pk, count(*) OVER () FROM pragma_table_xinfo(?1)"
        " WHERE hidden = 0 ORDER BY cid",
        &s, info);
    if (err != ERR_OK)
        return err;
    db_bind_text(s, 1, table);
    buf_clear(sql);
    buf_append_str(sql, STR("SELECT "));
    int64_t columns = 0, keys = 0;
    while ((err = db_step(s, info)) == ERR_OK) {
        struct str name = db_column_text(s, 0);
        if (columns++ == 0) {
            add_text(hash, 'T', table);
            add_u64(hash, 0, (uint64_t)db_column_int(s, 2));
        } else {
            buf_append_char(sql, ',');
        }
        add_text(hash, 0, name);
        append_identifier(sql, name);
        if (db_column_int(s, 1) > 0)
            keys++;
    }
    if (err != ERR_NOTFOUND)
        return err;
    buf_append_str(sql, STR(" FROM "));
    append_identifier(sql, table);
    buf_append_str(sql, STR(" ORDER BY "));
    if (keys == 0) {
        buf_append_str(sql, STR("rowid"));
        return ERR_OK;
    }
    err = db_prepare(db,
        "SELECT name FROM pragma_table_xinfo(?1) WHERE pk > 0 ORDER BY pk", &s,
        info);
    if (err != ERR_OK)
        return err;
    db_bind_text(s, 1, table);
    for (int64_t i = 0; (err = db_step(s, info)) == ERR_OK; i++) {
        if (i > 0)
            buf_append_char(sql, ',');
        append_identifier(sql, db_column_text(s, 0));
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err digest_table(
    struct db *db, struct digest *hash, struct str table, struct errinfo *info)
{
    struct buf sql;
    buf_init(&sql, SQL_MAX);
    struct db_statement *rows = NULL;
    enum err err = describe_table(db, hash, table, &sql, info);
    if (err == ERR_OK && sql.failed)
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
    if (err == ERR_OK)
        err = db_prepare_once(db, buf_str(&sql), &rows, info);
    if (err == ERR_OK) {
        while ((err = db_step(rows, info)) == ERR_OK)
            add_row(hash, rows);
        if (err == ERR_NOTFOUND)
            err = ERR_OK;
    }
    db_finalize(&rows);
    buf_fini(&sql);
    return err;
}

static bool is_excepted(const char *const *except, struct str table)
{
    for (; except != NULL && *except != NULL; except++)
        if (str_equal(str_from(*except), table))
            return true;
    return false;
}

enum err db_digest(struct db *db, const char *const *except, uint8_t out[32],
    struct errinfo *info)
{
    struct digest *hash = malloc(sizeof(*hash));
    if (hash != NULL) {
        hash->used = 0;
        hash->context = crypto_hash_new();
    }
    if (hash == NULL || hash->context == NULL) {
        free(hash);
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    }
    struct db_statement *tables;
    enum err err = db_prepare(db,
        "SELECT name FROM pragma_table_list WHERE schema = 'main'"
        " AND type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        " ORDER BY name COLLATE BINARY",
        &tables, info);
    if (err == ERR_OK) {
        crypto_hash_begin(hash->context);
        while ((err = db_step(tables, info)) == ERR_OK) {
            struct str table = db_column_text(tables, 0);
            if (is_excepted(except, table))
                continue;
            err = digest_table(db, hash, table, info);
            if (err != ERR_OK) {
                db_reset(tables);
                break;
            }
        }
        if (err == ERR_NOTFOUND) {
            flush(hash);
            crypto_hash_end(hash->context, out);
            err = ERR_OK;
        }
    }
    crypto_hash_free(&hash->context);
    free(hash);
    return err;
}
