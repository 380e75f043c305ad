/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of schema/db: creation, recognition, migration, statements, errors,
 * the digest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "schema/db.h"
#include "schema/schema_priv.h"

#include "lib/crypto.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
static char path[128];

static int setup(void **state)
{
    (void)state;
    struct errinfo info;
    if (crypto_init(&info) != ERR_OK)
        return -1;
    snprintf(folder, sizeof(folder), "/tmp/db_test.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/control.db", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char journal[160];
    snprintf(journal, sizeof(journal), "%s-journal", path);
    (void)unlink(journal);
    (void)unlink(path);
    return rmdir(folder);
}

static void ok(enum err err, const struct errinfo *info)
{
    if (err != ERR_OK)
        fail_msg("%s: %s", err_name(err), info->text);
}

#define OK(call) ok((call), &info)

static struct db *create(enum db_kind kind)
{
    struct errinfo info = {0};
    struct db *db = NULL;
    OK(db_open(path, kind, true, &db, &info));
    return db;
}

static void test_create_and_reopen(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct db *db = NULL;
    assert_int_equal(
        db_open(path, DB_CONTROL, false, &db, &info), ERR_NOTFOUND);
    assert_null(db);
    assert_non_null(strstr(info.text, path));
    assert_int_equal(
        db_open_readonly(path, DB_CONTROL, &db, &info), ERR_NOTFOUND);
    db = create(DB_CONTROL);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    OK(db_execute(db, "INSERT INTO team VALUES ('a', NULL, '', 1)", &info));
    db_close(&db);
    assert_null(db);
    db_close(&db);                                   /* NULL is fine */
    OK(db_open(path, DB_CONTROL, true, &db, &info)); /* exists: opens */
    db_close(&db);
    OK(db_open(path, DB_CONTROL, false, &db, &info));
    struct db_statement *s;
    OK(db_prepare(db, "SELECT name FROM team", &s, &info));
    OK(db_step(s, &info));
    assert_true(str_equal(db_column_text(s, 0), STR("a")));
    db_close(&db);
    OK(db_open_readonly(path, DB_CONTROL, &db, &info));
    assert_int_equal(db_execute(db, "DELETE FROM team", &info), ERR_DENIED);
    db_close(&db);
    /* Another kind of ours is not taken for it. */
    assert_int_equal(db_open(path, DB_PERSONS, false, &db, &info), ERR_CORRUPT);
}

static void write_file(const char *bytes, size_t n, off_t at)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, n, at), n);
    close(fd);
}

static void test_damage(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct db *db = NULL;
    write_file("", 0, 0);
    assert_int_equal(db_open(path, DB_CONTROL, false, &db, &info), ERR_CORRUPT);
    /* An empty file is a creation that did not get through. */
    db = create(DB_CONTROL);
    db_close(&db);
    char junk[3000];
    memset(junk, 0x5a, sizeof(junk));
    write_file(junk, sizeof(junk), 4096);
    assert_int_equal(db_open(path, DB_CONTROL, false, &db, &info), ERR_CORRUPT);
    assert_non_null(strstr(info.text, "backup"));
    write_file("This is no database at all, though of a good length......."
               "............................................",
        100, 0);
    assert_int_equal(db_open(path, DB_CONTROL, false, &db, &info), ERR_CORRUPT);
    assert_int_equal(db_open(path, DB_CONTROL, true, &db, &info), ERR_CORRUPT);
    struct stat st;
    assert_int_equal(stat(path, &st), 0); /* refused, not removed */
}

static int64_t number(struct db *db, const char *sql)
{
    struct errinfo info = {0};
    struct db_statement *s;
    int64_t value = INT64_MIN;
    OK(db_prepare_once(db, str_from(sql), &s, &info));
    if (db_step(s, &info) == ERR_OK)
        value = db_column_int(s, 0);
    db_finalize(&s);
    return value;
}

static enum err say_no(void *context, struct errinfo *info)
{
    return errinfo_set(info, ERR_INVALID, "%s", (const char *)context);
}

static void test_versions(void **state)
{
    (void)state;
    char because[] = "because";
    struct errinfo info = {0};
    struct db *db = NULL;
    struct db_schema schema = {
        .what = "test database",
        .application_id = 0x1234,
        .version = 1,
        .create = "CREATE TABLE t (a INTEGER PRIMARY KEY, k TEXT NOT NULL"
                  "  CHECK (k IN ('x'))) STRICT;"
                  "CREATE INDEX t_k ON t (k);"
                  "CREATE TABLE child (t INTEGER REFERENCES t (a)"
                  "  ON DELETE CASCADE, gone TEXT) STRICT;"
                  "CREATE TABLE n (s INTEGER PRIMARY KEY AUTOINCREMENT) STRICT;"
                  "INSERT INTO t VALUES (41, 'x');"
                  "INSERT INTO child VALUES (41, 'old');"
                  "INSERT INTO n VALUES (1), (900); DELETE FROM n",
        .older = OLDER_MIGRATES,
        .pragmas = "PRAGMA synchronous=EXTRA;",
        .check_on_open = true,
    };
    OK(db_open_schema(path, &schema, DB_MODE_CREATE, &db, &info));
    db_close(&db);
    /* A wider CHECK, a new column and a new table, a column that is no more. */
    schema.version = 2;
    schema.create =
        "CREATE TABLE u (x TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;"
        "CREATE TABLE t (k TEXT NOT NULL CHECK (k IN ('x', 'y')),"
        "  a INTEGER PRIMARY KEY, b INTEGER UNIQUE REFERENCES t (a),"
        "  c INTEGER NOT NULL DEFAULT 7) STRICT;"
        "CREATE INDEX t_k ON t (k);"
        "CREATE TABLE child (t INTEGER REFERENCES t (a) ON DELETE CASCADE)"
        "  STRICT;"
        "CREATE TABLE n (s INTEGER PRIMARY KEY AUTOINCREMENT) STRICT;";
    assert_int_equal(
        db_open_schema(path, &schema, DB_MODE_READONLY, &db, &info),
        ERR_WRONG_STATE);
    OK(db_open_schema(path, &schema, DB_MODE_WRITE, &db, &info));
    assert_int_equal(number(db, "SELECT a FROM t WHERE k = 'x' AND c = 7"), 41);
    OK(db_execute(db, "INSERT INTO t (k, a) VALUES ('y', 42)", &info));
    OK(db_execute(db, "INSERT INTO n DEFAULT VALUES", &info));
    assert_int_equal(number(db, "SELECT s FROM n"), 901);
    assert_int_equal(number(db, "SELECT count(*) FROM sqlite_sequence"), 1);
    assert_int_equal(
        number(db, "SELECT count(*) FROM sqlite_master WHERE name LIKE 'old%'"
                   " OR sql LIKE '%older%'"),
        0);
    OK(db_execute(db, "DELETE FROM t WHERE a = 41", &info)); /* cascades */
    assert_int_equal(number(db, "SELECT count(*) FROM child"), 0);
    assert_int_equal(
        db_execute(db, "INSERT INTO child VALUES (5)", &info), ERR_WRONG_STATE);
    db_close(&db);
    /* What does not fit the new schema stops it, and nothing has changed. */
    const char *good = schema.create;
    schema.version = 3;
    schema.create = "CREATE TABLE t (a INTEGER PRIMARY KEY,"
                    "  k TEXT NOT NULL CHECK (k IN ('x'))) STRICT";
    assert_int_equal(db_open_schema(path, &schema, DB_MODE_WRITE, &db, &info),
        ERR_WRONG_STATE);
    assert_non_null(strstr(info.text, "as it was"));
    schema.version = 2;
    schema.create = good;
    OK(db_open_schema(path, &schema, DB_MODE_WRITE, &db, &info));
    assert_int_equal(number(db, "SELECT count(*) FROM t WHERE k = 'y'"), 1);
    db_close(&db);
    /* Written by a newer program. */
    schema.version = 1;
    assert_int_equal(db_open_schema(path, &schema, DB_MODE_WRITE, &db, &info),
        ERR_UNSUPPORTED);
    /* One that waits for its owner, who may stop it from within. */
    schema.version = 3;
    schema.older = OLDER_WAITS;
    OK(db_open_schema(path, &schema, DB_MODE_WRITE, &db, &info));
    assert_int_equal(db_older(db), 2);
    assert_int_equal(
        db_migrate_schema(db, &schema, say_no, because, &info), ERR_INVALID);
    assert_non_null(strstr(info.text, "because"));
    db_close(&db);
    schema.older = OLDER_IS_REFUSED;
    assert_int_equal(
        db_open_schema(path, &schema, DB_MODE_WRITE, &db, &info), ERR_CORRUPT);
}

static void test_statements(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct db *db = create(DB_CONTROL);
    static const char insert[] =
        "INSERT INTO team (name, parent, title, created) VALUES (?1,?2,?3,?4)";
    struct db_statement *s, *again;
    for (int i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof(name), "t%d", i);
        OK(db_prepare(db, insert, &s, &info));
        db_bind_text(s, 1, str_from(name));
        db_bind_null(s, 2);
        db_bind_text(s, 3, str_make(NULL, 0));
        db_bind_int(s, 4, INT64_MIN + i);
        OK(db_run(s, &info));
        assert_int_equal(db_changes(db), 1);
    }
    OK(db_prepare(db, insert, &again, &info));
    assert_ptr_equal(s, again);
    /* Constraints. */
    db_bind_text(s, 1, STR("t1"));
    db_bind_text(s, 3, STR(""));
    db_bind_int(s, 4, 1);
    assert_int_equal(db_run(s, &info), ERR_EXISTS);
    OK(db_prepare(db, insert, &s, &info));
    db_bind_text(s, 1, STR("t9"));
    db_bind_text(s, 2, STR("nobody"));
    db_bind_text(s, 3, STR(""));
    db_bind_int(s, 4, 1);
    assert_int_equal(db_run(s, &info), ERR_WRONG_STATE);
    OK(db_prepare(db, insert, &s, &info));
    db_bind_text(s, 1, STR("t9"));
    db_bind_text(s, 3, STR(""));
    db_bind_text(s, 4, STR("no number")); /* STRICT */
    assert_int_equal(db_run(s, &info), ERR_WRONG_STATE);
    assert_int_equal(
        db_execute(
            db, "INSERT INTO caller VALUES ('c', 'robot', 0, 1, '')", &info),
        ERR_WRONG_STATE);
    /* The same text nested in itself. */
    static const char list[] = "SELECT name, parent, title FROM team";
    int pairs = 0;
    OK(db_prepare(db, list, &s, &info));
    while (db_step(s, &info) == ERR_OK) {
        OK(db_prepare(db, list, &again, &info));
        while (db_step(again, &info) == ERR_OK)
            pairs++;
        assert_true(db_column_is_null(s, 1));
        assert_int_equal(db_column_text(s, 1).len, 0);
        assert_int_equal(db_column_type(s, 2), DB_TEXT);
        assert_int_equal(db_column_text(s, 2).len, 0);
    }
    assert_int_equal(pairs, 9);
    assert_string_equal(db_column_name(s, 1), "parent");
    assert_int_equal(db_column_count(s), 3);
    /* Mistakes. */
    assert_int_equal(db_prepare(db, "SELEC 1", &s, &info), ERR_INVALID);
    assert_int_equal(db_prepare_once(db, STR(""), &s, &info), ERR_INVALID);
    /* String literals in double quotes are mistakes, not texts. */
    assert_int_equal(
        db_execute(db, "SELECT \"nonsense\" FROM team", &info), ERR_INVALID);
    OK(db_prepare_once(db, STR("SELECT 1;garbage"), &s, &info));
    OK(db_step(s, &info));
    db_finalize(&s);
    assert_null(s);
    db_close(&db);
}

static void test_transactions(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct db *db = create(DB_CONTROL), *other = NULL;
    OK(db_begin(db, &info));
    OK(db_execute(db, "INSERT INTO team VALUES ('a', NULL, '', 1)", &info));
    db_rollback(db);
    db_rollback(db); /* nothing to roll back */
    OK(db_begin(db, &info));
    OK(db_execute(db, "INSERT INTO team VALUES ('b', NULL, '', 1)", &info));
    OK(db_open(path, DB_CONTROL, false, &other, &info));
    OK(db_execute(other, "PRAGMA busy_timeout=10", &info));
    assert_int_equal(db_begin(other, &info), ERR_AGAIN);
    OK(db_commit(db, &info));
    OK(db_begin(other, &info));
    struct db_statement *s;
    OK(db_prepare(other, "SELECT group_concat(name) FROM team", &s, &info));
    OK(db_step(s, &info));
    assert_true(str_equal(db_column_text(s, 0), STR("b")));
    db_reset(s);
    db_rollback(other);
    db_close(&other);
    db_close(&db);
}

static void digest(struct db *db, uint8_t out[32])
{
    static const char *const except[] = {"outbox", NULL};
    struct errinfo info = {0};
    OK(db_digest(db, except, out, &info));
}

static void test_digest(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct db *db = create(DB_CONTROL);
    uint8_t empty[32], a[32], b[32];
    digest(db, empty);
    OK(db_execute(db,
        "INSERT INTO team VALUES ('x', NULL, '', 1), ('y', 'x', '', 2)",
        &info));
    digest(db, a);
    assert_memory_not_equal(empty, a, 32);
    /* The order of insertion does not matter, what stands there does. */
    OK(db_execute(db,
        "DELETE FROM team WHERE name = 'y'; DELETE FROM team;"
        "INSERT INTO team VALUES ('x', NULL, '', 1);"
        "INSERT INTO team VALUES ('y', 'x', '', 2)",
        &info));
    digest(db, b);
    assert_memory_equal(a, b, 32);
    OK(db_execute(
        db, "VACUUM; INSERT INTO outbox (entry) VALUES ('e')", &info));
    digest(db, b);
    assert_memory_equal(a, b, 32);
    OK(db_execute(db, "UPDATE team SET parent = NULL WHERE name = 'y'", &info));
    digest(db, b);
    assert_memory_not_equal(a, b, 32);
    OK(db_execute(db, "UPDATE team SET parent = 'x' WHERE name = 'y'", &info));
    digest(db, b);
    assert_memory_equal(a, b, 32);
    db_close(&db);
    OK(db_open_readonly(path, DB_CONTROL, &db, &info));
    digest(db, b);
    assert_memory_equal(a, b, 32);
    db_close(&db);
}

/* Moving bytes between neighbouring values must not keep the digest. */
static void test_digest_is_unambiguous(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct db *db = create(DB_CONTROL);
    uint8_t a[32], b[32];
    OK(db_execute(
        db, "INSERT INTO organisation_setting VALUES ('ab', 'c')", &info));
    digest(db, a);
    OK(db_execute(
        db, "UPDATE organisation_setting SET key = 'a', value = 'bc'", &info));
    digest(db, b);
    assert_memory_not_equal(a, b, 32);
    db_close(&db);
}

static void test_persons(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct db *db = create(DB_PERSONS);
    struct db_statement *s;
    OK(db_prepare_once(db, STR("PRAGMA secure_delete"), &s, &info));
    OK(db_step(s, &info));
    assert_int_equal(db_column_int(s, 0), 1);
    db_finalize(&s);
    OK(db_execute(
        db, "INSERT INTO person VALUES ('cal_1', 'grotesquename', '')", &info));
    OK(db_execute(db, "DELETE FROM person", &info));
    db_close(&db);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    static char bytes[1 << 20];
    size_t n = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    assert_null(memmem(bytes, n, "grotesquename", 13));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_create_and_reopen),
        TEST(test_damage),
        TEST(test_versions),
        TEST(test_statements),
        TEST(test_transactions),
        TEST(test_digest),
        TEST(test_digest_is_unambiguous),
        TEST(test_persons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
