/* SPDX-License-Identifier: Apache-2.0
 *
 * The index beside the log: whole, it is found whole; whatever is edited in a
 * file of it, by somebody who knows SQL and keeps the database sound, is found
 * and named; and building that file anew mends it. */
#include "tests/unit/audit/request_fixture.h"

#include "audit/index_file.h"
#include "audit/verify.h"

#define RANGE 1024

struct world {
    struct fixture *fixture;
    struct audit_log *log;
    struct journal *journal;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct errinfo info = {0};
    struct traffic t;
    void *fixture;
    size_t at;
    if (fixture_setup(&fixture) != 0)
        return -1;
    w->fixture = fixture;
    w->log = fixture_open_ok(w->fixture);
    fixture_start(w->log);
    w->journal = audit_log_journal(w->log);
    struct indexer *indexer = traffic_index(w->fixture, w->journal, RANGE);
    traffic_begin(&t, w->journal);
    for (int i = 0; i < 8; i++) {
        /* the file before gets ends, too */
        traffic_requests(&t, 150, i % 2 ? 60 : 5);
        traffic_act(&t, "admin.team.added", "team", "cardiology");
        struct audit_attempt attempt = {
            .id = str_make(t.open[t.open_count - 1], ULID_LENGTH),
            .time_us = clock_now(),
            .number = 1,
            .engine = STR_INIT("other"),
            .upstream = STR_INIT("tiny"),
            .error = STR_INIT("connection refused")};
        audit_entry_attempt(&t.entry, &attempt, &at);
        traffic_append(&t, at);
        /* an end that names no engine */
        struct audit_withdrawn withdrawn = {
            .id = str_make(t.open[--t.open_count], ULID_LENGTH),
            .time_us = clock_now(),
            .reason = STR_INIT("deadline")};
        audit_entry_withdrawn(&t.entry, &withdrawn, &at);
        traffic_append(&t, at);
    }
    traffic_end(&t);
    traffic_indexed(indexer, w->journal);
    indexer_stop(&indexer);
    struct buf note;
    buf_init(&note, 65536);
    assert_int_equal(audit_log_checkpoint(w->log, &note, &info), ERR_OK);
    buf_fini(&note);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    void *fixture = w->fixture;
    audit_log_stop(&w->log);
    free(w);
    return fixture_teardown(&fixture);
}

struct seen {
    uint64_t index_faults, faults;
    char first[512]; /* of the index */
};

static void on_finding(void *context, const struct verify_finding *finding)
{
    struct seen *seen = context;
    if (finding->kind != VERIFY_INDEX)
        return;
    if (seen->index_faults++ == 0)
        snprintf(seen->first, sizeof(seen->first), "%s", finding->text);
}

static struct seen verify(const struct world *w)
{
    struct seen seen = {0};
    struct verify_options options = {.state_dir = w->fixture->dir,
        .index = true,
        .finding = on_finding,
        .context = &seen};
    struct verify_result result;
    struct errinfo info = {0};
    if (audit_verify(&options, &result, &info) != ERR_OK)
        fail_msg("%s", info.text);
    seen.faults = result.faults;
    return seen;
}

static void test_a_whole_index_is_found_whole(void **state)
{
    struct world *w = *state;
    struct seen seen = verify(w);
    if (seen.faults != 0)
        fail_msg("%s", seen.first);
}

#define ANOTHER(table)                                                         \
    "CREATE TEMP TABLE more AS SELECT * FROM " table " LIMIT 1; "              \
    "UPDATE more SET seq = (SELECT min(end_seq) FROM request WHERE end_seq "   \
    "NOT IN (SELECT seq FROM request) AND end_seq < 2040), id = 'x'; "         \
    "INSERT INTO " table " SELECT * FROM more;"

static const struct {
    const char *sql, *words;
} edits[] = {
    {"UPDATE request SET caller = (SELECT id FROM word WHERE text = 'cal_bob') "
     "WHERE seq = (SELECT min(seq) FROM request WHERE caller <> (SELECT id "
     "FROM "
     "word WHERE text = 'cal_bob'))",
        "its row \"cal_bob\""},
    {"UPDATE word SET text = 'cal_mallory' WHERE text = 'cal_alice'",
        "says caller \"cal_alice\", its row \"cal_mallory\""},
    {"DELETE FROM request WHERE seq = (SELECT max(seq) FROM request WHERE "
     "permitted = 0)",
        "has no row"},
    {"DELETE FROM request WHERE seq = (SELECT max(seq) FROM request WHERE "
     "permitted = 1)",
        "has no row"},
    {ANOTHER("request"), "is a request that is not on record there"},
    {ANOTHER("event"), "is an event that is not on record there"},
    {"UPDATE request SET output = output + 1 WHERE seq = (SELECT max(seq) FROM "
     "request WHERE output IS NOT NULL)",
        "says outputTokens"},
    {"UPDATE request SET cost = 0 WHERE cost > 0", "says cost"},
    {"UPDATE request SET end_seq = NULL, outcome = NULL WHERE seq = (SELECT "
     "min(seq) FROM request WHERE end_seq IS NOT NULL)",
        "says status \"none\", its row \"200\""},
    {"UPDATE request SET engine = (SELECT id FROM word WHERE text = 'clinic') "
     "WHERE outcome = (SELECT id FROM word WHERE text = 'withdrawn')",
        "says engine \"local\", its row \"clinic\""},
    {"UPDATE request SET end_seq = 1, outcome = (SELECT id FROM word WHERE "
     "text = 'ok') WHERE permitted = 0",
        ""},
    {"UPDATE request SET reason = NULL WHERE permitted = 0",
        "says reason \"Large models are closed.\""},
    {"UPDATE event SET reason = 'on a whim'", "its row \"on a whim\""},
    {"DELETE FROM event", "(admin.team.added) has no row"},
    {"DELETE FROM part", "has no row"},
    {"DELETE FROM posting WHERE field = 1", "a search would not find"},
    {"UPDATE posting SET seqs = x'0000' WHERE field = 11",
        "a search would not find"},
    {"UPDATE posting SET seqs = x'01' WHERE field = 5", "cannot be read"},
    {"DELETE FROM member WHERE word = (SELECT id FROM word WHERE text = 'lab')",
        "cannot be searched by"},
    {"UPDATE tally SET n = n + 1", "are not those of its rows"},
    {"UPDATE tally_caller SET output = 0", "are not those of its rows"},
    {"DELETE FROM tally_rule", "are not those of its rows"},
};

static void edit(const struct world *w, const char *sql)
{
    char path[200], name[INDEX_NAME_SIZE];
    struct errinfo info = {0};
    struct db *db;
    index_file_name(name, RANGE);
    snprintf(path, sizeof(path), "%s/index/%s", w->fixture->dir, name);
    if (db_open(path, DB_INDEX, false, &db, &info) != ERR_OK ||
        db_execute(db, sql, &info) != ERR_OK)
        fail_msg("%s", info.text);
    db_close(&db);
}

static void test_every_edit_is_found(void **state)
{
    struct world *w = *state;
    char file[INDEX_NAME_SIZE];
    index_file_name(file, RANGE);
    fixture_run("cp -r '%s/index' '%s/kept'", w->fixture->dir, w->fixture->dir);
    for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
        edit(w, edits[i].sql);
        struct seen seen = verify(w);
        if (seen.index_faults == 0 || !strstr(seen.first, file) ||
            !strstr(seen.first, edits[i].words))
            fail_msg("%s: %d found: \"%s\"", edits[i].sql,
                (int)seen.index_faults, seen.first);
        assert_int_equal(seen.faults, seen.index_faults);
        fixture_run(
            "cp '%s/kept/'*.db '%s/index/'", w->fixture->dir, w->fixture->dir);
    }
    assert_int_equal(verify(w).faults, 0);
}

static void test_building_the_file_anew_mends_it(void **state)
{
    struct world *w = *state;
    struct seen seen = {.faults = 1};
    edit(w, "UPDATE word SET text = 'cal_mallory' WHERE text = 'cal_alice'");
    assert_true(verify(w).faults > 0);
    struct indexer *indexer = traffic_index(w->fixture, w->journal, RANGE);
    indexer_rebuild(indexer, RANGE + 7);
    for (int i = 0; i < 1000 && seen.faults > 0; i++) {
        usleep(20000);
        seen = verify(w);
    }
    if (seen.faults > 0)
        fail_msg("%s", seen.first);
    indexer_stop(&indexer);
    assert_int_equal(verify(w).faults, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_whole_index_is_found_whole),
        cmocka_unit_test(test_every_edit_is_found),
        cmocka_unit_test(test_building_the_file_anew_mends_it),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
