/* SPDX-License-Identifier: Apache-2.0
 *
 * The control state: one holder, changes that are rows and events together,
 * the outbox across a crash, and edits behind Bailiff's back. */
#include "tests/unit/proxy/state_fixture.h"

#include "audit/entry.h"
#include "audit/log.h"

static const struct control_actor actor = {.method = "offline"};

static void put_row(struct state *s, const char *key)
{
    struct db_statement *st;
    struct errinfo info = {0};

    assert_int_equal(db_prepare(control_db(s->control),
                         "INSERT INTO organisation_setting (key, value) "
                         "VALUES (?1, 'x')",
                         &st, &info),
        ERR_OK);
    db_bind_text(st, 1, str_from(key));
    assert_int_equal(db_run(st, &info), ERR_OK);
}

static int64_t count(struct state *s, const char *sql)
{
    struct db_statement *st;
    struct errinfo info = {0};
    int64_t n;

    assert_int_equal(
        db_prepare_once(control_db(s->control), str_from(sql), &st, &info),
        ERR_OK);
    assert_int_equal(db_step(st, &info), ERR_OK);
    n = db_column_int(st, 0);
    db_finalize(&st);
    return n;
}

static uint64_t entries(struct state *s)
{
    return journal_size(audit_log_journal(control_log(s->control)));
}

static enum err open_again(struct state *s, const char *reason,
    struct control **out, struct errinfo *info)
{
    const struct control_options options = {
        .dir = s->dir, .adopt = reason != NULL, .adopt_reason = reason};

    return control_open(&options, out, info);
}

static void test_one_holder(void **context)
{
    struct state *s = *context;
    struct control *second = NULL;
    struct errinfo info = {0};
    char pid[32];

    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_int_equal(open_again(s, NULL, &second, &info), ERR_AGAIN);
    assert_null(second);
    assert_non_null(strstr(info.text, pid));
}

static void test_not_a_state_directory(void **context)
{
    struct state *s = *context;
    struct control_options options = {.dir = s->root};
    struct control *other = NULL;
    struct errinfo info = {0};

    assert_int_equal(control_open(&options, &other, &info), ERR_NOTFOUND);
    assert_non_null(strstr(info.text, "bailiff init"));
    options.dir = "/tmp/bailiff-unit-nowhere";
    assert_int_equal(control_open(&options, &other, &info), ERR_NOTFOUND);
}

static void test_a_change_is_rows_and_event(void **context)
{
    struct state *s = *context;
    struct audit_act act = {
        .type = STR("admin.test"), .object_kind = STR("x"), .object = STR("y")};
    struct errinfo info = {0};
    uint64_t before = entries(s);

    assert_int_equal(control_begin(s->control, &info), ERR_OK);
    put_row(s, "a");
    assert_int_equal(control_record(s->control, &actor, &act, &info), ERR_OK);
    assert_int_equal(control_record(s->control, &actor, &act, &info), ERR_OK);
    assert_int_equal(control_commit(s->control, 0, &info), ERR_OK);
    assert_int_equal(entries(s), before + 2);
    assert_int_equal(
        count(s, "SELECT count(*) FROM organisation_setting WHERE key = 'a'"),
        1);
}

static void test_an_abandoned_change_leaves_nothing(void **context)
{
    struct state *s = *context;
    struct audit_act act = {.type = STR("admin.test")};
    struct errinfo info = {0};
    uint64_t before = entries(s);

    assert_int_equal(control_begin(s->control, &info), ERR_OK);
    put_row(s, "a");
    assert_int_equal(control_record(s->control, &actor, &act, &info), ERR_OK);
    control_abandon(s->control);
    assert_int_equal(entries(s), before);
    assert_int_equal(
        count(s, "SELECT count(*) FROM organisation_setting WHERE key = 'a'"),
        0);
    /* and the next one works */
    test_a_change_is_rows_and_event(context);
}

static enum err refuse_change(
    void *context, unsigned what, struct errinfo *info)
{
    *(unsigned *)context = what;
    return errinfo_set(info, ERR_NOMEM, "no room for a snapshot");
}

static void test_not_live_is_said(void **context)
{
    struct state *s = *context;
    struct audit_act act = {.type = STR("admin.test")};
    struct errinfo info = {0};
    unsigned seen = 0;

    control_on_change(s->control, refuse_change, &seen);
    assert_int_equal(control_begin(s->control, &info), ERR_OK);
    put_row(s, "a");
    assert_int_equal(control_record(s->control, &actor, &act, &info), ERR_OK);
    assert_int_equal(
        control_commit(s->control, CHANGED_KEYS, &info), ERR_WRONG_STATE);
    assert_non_null(strstr(info.text, "stands and is on record"));
    assert_int_equal(seen, CHANGED_KEYS);
    control_on_change(s->control, NULL, NULL);
}

/* What a crash between the databases' commit and the journal leaves: a row of
 * the outbox that the journal does not have. */
static void test_outbox_is_drained_at_start(void **context)
{
    struct state *s = *context;
    struct audit_act act = {.type = STR("admin.test")};
    struct errinfo info = {0};
    struct db *db = NULL;
    uint64_t before;
    char path[128];

    assert_int_equal(control_begin(s->control, &info), ERR_OK);
    put_row(s, "a");
    assert_int_equal(control_record(s->control, &actor, &act, &info), ERR_OK);
    assert_int_equal(control_commit(s->control, 0, &info), ERR_OK);
    before = entries(s);
    state_close(s);
    /* The last entry again, under the next number. */
    snprintf(path, sizeof path, "%s/control.db", s->dir);
    assert_int_equal(db_open(path, DB_CONTROL, false, &db, &info), ERR_OK);
    assert_int_equal(
        db_execute(db,
            "INSERT INTO outbox (sequence, entry) SELECT sequence + 1, "
            "replace(entry, '\"outbox\":' || sequence, '\"outbox\":' || "
            "(sequence + 1)) FROM outbox ORDER BY sequence DESC LIMIT 1",
            &info),
        ERR_OK);
    db_close(&db);
    state_open(s);
    /* The seal of the stop, and the one drained. */
    assert_true(entries(s) >= before + 2);
    assert_int_equal(control_begin(s->control, &info), ERR_OK);
    assert_int_equal(count(s, "SELECT count(*) FROM outbox"), 0);
    control_abandon(s->control);
    /* Nothing is written twice. */
    before = entries(s);
    state_close(s);
    state_open(s);
    assert_true(entries(s) <= before + 2);
}

static void test_an_edit_from_outside_is_refused(void **context)
{
    struct state *s = *context;
    struct control *control = NULL;
    struct errinfo info = {0};
    struct db *db = NULL;
    char path[128];

    state_close(s);
    snprintf(path, sizeof path, "%s/control.db", s->dir);
    assert_int_equal(db_open(path, DB_CONTROL, false, &db, &info), ERR_OK);
    assert_int_equal(
        db_execute(db,
            "UPDATE organisation_setting SET value = 'Europe/Rome' WHERE key = "
            "'zone'",
            &info),
        ERR_OK);
    db_close(&db);
    assert_int_equal(open_again(s, NULL, &control, &info), ERR_CORRUPT);
    assert_non_null(strstr(info.text, "--adopt --reason"));
    assert_int_equal(
        open_again(s, "the operator fixed the zone", &control, &info), ERR_OK);
    assert_int_equal(
        control_start(control, state_log_failed, NULL, &info), ERR_OK);
    control_close(&control);
    state_open(s); /* adopted: opens as ever */
}

/* As a program before it left the state: other tables, an older number. */
static void make_older(struct state *s, const char *sql)
{
    struct errinfo info = {0};
    struct db *db = NULL;
    char path[128];

    snprintf(path, sizeof path, "%s/control.db", s->dir);
    assert_int_equal(db_open(path, DB_CONTROL, false, &db, &info), ERR_OK);
    assert_int_equal(db_execute(db, sql, &info), ERR_OK);
    db_close(&db);
}

static void test_an_older_state_is_migrated(void **context)
{
    struct state *s = *context;
    uint64_t before;

    state_close(s);
    make_older(s,
        "DROP TABLE api_key_limit;"
        "CREATE TABLE api_key_limit (key TEXT NOT NULL, kind TEXT NOT NULL,"
        " value TEXT NOT NULL, PRIMARY KEY (key, kind, value)) STRICT,"
        " WITHOUT ROWID;"
        "PRAGMA user_version=2;");
    state_open(s);
    assert_int_equal(count(s, "SELECT count(*) FROM sqlite_master WHERE"
                              " name = 'api_key_limit' AND"
                              " sql LIKE '%REFERENCES api_key (id)%CHECK%'"),
        1);
    assert_int_equal(count(s, "SELECT count(*) FROM administrator"), 1);
    assert_int_equal(count(s, "SELECT count(*) FROM outbox WHERE"
                              " entry LIKE '%\"system.state.migrated\"%'"),
        1);
    before = entries(s);
    state_close(s);
    state_open(s); /* nothing is left to migrate: the seal, and the start */
    assert_true(entries(s) <= before + 2);
}

/* The rows of the older tables are compared with the record before anything. */
static void test_an_older_state_that_was_edited(void **context)
{
    struct state *s = *context;
    struct control *control = NULL;
    struct errinfo info = {0};

    state_close(s);
    make_older(s, "ALTER TABLE organisation_setting ADD COLUMN former TEXT;"
                  "PRAGMA user_version=2;");
    assert_int_equal(open_again(s, NULL, &control, &info), ERR_CORRUPT);
    assert_int_equal(open_again(s, "a column came", &control, &info), ERR_OK);
    assert_int_equal(
        control_start(control, state_log_failed, NULL, &info), ERR_OK);
    control_close(&control);
    state_open(s);
    assert_int_equal(count(s, "SELECT count(*) FROM"
                              " pragma_table_info('organisation_setting')"
                              " WHERE name = 'former'"),
        0);
}

static void test_names_without_bearers_are_swept(void **context)
{
    struct state *s = *context;
    struct errinfo info = {0};
    struct db_statement *st;

    assert_int_equal(
        db_execute(control_persons(s->control),
            "INSERT INTO person (id, handle) VALUES ('cal_none', 'nobody')",
            &info),
        ERR_OK);
    state_close(s);
    state_open(s);
    assert_int_equal(db_prepare_once(control_persons(s->control),
                         STR("SELECT handle FROM person"), &st, &info),
        ERR_OK);
    assert_int_equal(db_step(st, &info), ERR_OK);
    assert_true(str_equal(db_column_text(st, 0), STR("root-admin")));
    assert_int_equal(db_step(st, &info), ERR_NOTFOUND);
    db_finalize(&st);
}

static void test_read_only_changes_nothing(void **context)
{
    struct state *s = *context;
    const struct control_options options = {
        .dir = s->dir, .without_lock = true};
    struct control *reader = NULL;
    struct errinfo info = {0};

    assert_int_equal(control_open(&options, &reader, &info), ERR_OK);
    assert_null(control_log(reader));
    assert_int_equal(control_begin(reader, &info), ERR_WRONG_STATE);
    control_close(&reader);
}

static void test_init_refuses_what_is_there(void **context)
{
    struct state *s = *context;
    const struct init_options options = {.dir = s->dir};
    struct init_result result;
    struct errinfo info = {0};

    assert_int_equal(init_state(&options, &result, &info), ERR_EXISTS);
    assert_non_null(strstr(info.text, "is not empty"));
}

int main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, state_setup, state_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_one_holder),
        TEST(test_not_a_state_directory),
        TEST(test_a_change_is_rows_and_event),
        TEST(test_an_abandoned_change_leaves_nothing),
        TEST(test_not_live_is_said),
        TEST(test_outbox_is_drained_at_start),
        TEST(test_an_edit_from_outside_is_refused),
        TEST(test_an_older_state_is_migrated),
        TEST(test_an_older_state_that_was_edited),
        TEST(test_names_without_bearers_are_swept),
        TEST(test_read_only_changes_nothing),
        TEST(test_init_refuses_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
