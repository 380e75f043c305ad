/* SPDX-License-Identifier: Apache-2.0
 *
 * The index says what the journal says: over several files, across stops, and
 * after every kind of damage. */
#include "tests/unit/audit/request_fixture.h"

#include "audit/index_file.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define RANGE 512

static struct db *open_file(const struct fixture *fixture, uint64_t first)
{
    char name[INDEX_NAME_SIZE], path[160];
    struct db *db;
    struct errinfo info;
    index_file_name(name, first);
    snprintf(path, sizeof(path), "%s/index/%s", fixture->dir, name);
    /* NULL while it is being mended */
    return db_open_readonly(path, DB_INDEX, &db, &info) == ERR_OK ? db : NULL;
}

static struct index_list files(const struct fixture *fixture)
{
    char dir[128];
    struct index_list list;
    snprintf(dir, sizeof(dir), "%s/index", fixture->dir);
    assert_int_equal(index_list_load(dir, &list, NULL), ERR_OK);
    return list;
}

/* Every row of every file in words, one text. */
static void dump(const struct fixture *fixture, struct buf *out)
{
    static const char *const queries[] = {
        "SELECT seq, id, time, permitted, c.text, m.text, t.text, p.text, "
        "coalesce(e.text, '-'), coalesce(o.text, '-'), status, end_seq, "
        "coalesce(reason, '-'), input, output, policy_version, "
        "coalesce(s.text, '-'), coalesce(k.text, '-') FROM request r "
        "JOIN word c ON c.id = r.caller JOIN word m ON m.id = r.model "
        "JOIN word t ON t.id = r.teams JOIN word p ON p.id = r.policies "
        "LEFT JOIN word e ON e.id = r.engine "
        "LEFT JOIN word s ON s.id = r.stage "
        "LEFT JOIN word k ON k.id = r.code "
        "LEFT JOIN word o ON o.id = r.outcome ORDER BY seq",
        "SELECT l.text, w.text FROM member m JOIN word l ON l.id = m.list "
        "JOIN word w ON w.id = m.word ORDER BY l.text, w.text",
        "SELECT field, text, chunk, hex(seqs) FROM posting JOIN word ON id = "
        "value WHERE field IN (1, 2, 3, 4, 5, 7) AND chunk < (SELECT posted "
        "FROM state) >> 12 ORDER BY field, text, chunk",
        "SELECT seq, e.id, time, t.text, a.text, o.text, count, reason "
        "FROM event e JOIN word t ON t.id = e.type JOIN word a ON a.id = "
        "e.actor JOIN word o ON o.id = e.object ORDER BY seq",
        "SELECT p.id, seq, text FROM part p JOIN word w ON w.id = p.type "
        "ORDER BY seq",
    };
    struct index_list list = files(fixture);
    struct errinfo info;
    buf_clear(out);
    for (size_t i = 0; i < list.count; i++) {
        struct db *db = open_file(fixture, list.firsts[i]);
        for (size_t q = 0; db && q < sizeof(queries) / sizeof(queries[0]);
             q++) {
            struct db_statement *s;
            if (db_prepare(db, queries[q], &s, &info) != ERR_OK)
                break;
            while (db_step(s, &info) == ERR_OK) {
                for (int c = 0; c < db_column_count(s); c++)
                    buf_printf(out, "%.*s|", STR_ARG(db_column_text(s, c)));
                buf_append_char(out, '\n');
            }
        }
        db_close(&db);
    }
    index_list_fini(&list);
    assert_false(out->failed);
}

static int64_t count(const struct fixture *fixture, const char *sql)
{
    struct index_list list = files(fixture);
    struct errinfo info;
    int64_t sum = 0;
    for (size_t i = 0; i < list.count; i++) {
        struct db *db = open_file(fixture, list.firsts[i]);
        struct db_statement *s;
        if (!db || db_prepare(db, sql, &s, &info) != ERR_OK ||
            db_step(s, &info) != ERR_OK)
            fail_msg("%s", info.text);
        sum += db_column_int(s, 0);
        db_reset(s);
        db_close(&db);
    }
    index_list_fini(&list);
    return sum;
}

/* 1000 requests, acts between them; gives the number of entries. */
static void some_traffic(struct journal *journal)
{
    struct traffic t;
    traffic_begin(&t, journal);
    for (int i = 0; i < 10; i++) {
        traffic_requests(&t, 100, 40);
        traffic_act(&t, "admin.team.added", "team", "cardiology");
    }
    traffic_end(&t);
}

static void it_says_what_the_journal_says(void **state)
{
    struct fixture *fixture = *state;
    struct audit_log *log = fixture_open_ok(fixture);
    fixture_start(log);
    struct journal *journal = audit_log_journal(log);
    struct indexer *indexer = traffic_index(fixture, journal, RANGE);
    some_traffic(journal);
    traffic_indexed(indexer, journal);
    assert_int_equal(indexer_position(indexer), journal_size(journal));
    assert_false(indexer_failed(indexer, NULL));
    indexer_stop(&indexer);

    assert_int_equal(count(fixture, "SELECT count(*) FROM request"), 1000);
    assert_int_equal(
        count(fixture, "SELECT count(*) FROM request WHERE permitted = 0"),
        140);
    /* 40 are still open; ends went to the older files too */
    assert_int_equal(
        count(fixture,
            "SELECT count(*) FROM request WHERE permitted AND end_seq IS NULL"),
        40);
    assert_true(
        count(fixture, "SELECT count(*) FROM request, state WHERE end_seq >= "
                       "first + span") > 30);
    assert_int_equal(count(fixture, "SELECT count(*) FROM part"), 0);
    assert_int_equal(
        count(fixture,
            "SELECT count(*) FROM request r JOIN member m ON m.list = r.teams"),
        2000);
    /* The full files are laid out, the newest is not. */
    assert_int_equal(
        count(fixture, "SELECT posted = first + span FROM state"), 3);
    assert_int_equal(
        count(fixture,
            "SELECT count(*) FROM request r WHERE seq < (SELECT posted FROM "
            "state) AND NOT EXISTS (SELECT 1 FROM posting WHERE field = 1 AND "
            "value = r.caller AND chunk = r.seq >> 12)"),
        0);
    assert_int_equal(
        count(fixture,
            "SELECT count(*) FROM event JOIN word w ON w.id = type WHERE "
            "w.text = 'admin.team.added'"),
        10);
    struct index_list list = files(fixture);
    assert_true(list.count >= 3);
    assert_int_equal(list.firsts[1], RANGE);
    index_list_fini(&list);
    assert_int_equal(
        count(fixture, "SELECT count(*) FROM state WHERE clean = 0"), 0);
    audit_log_stop(&log);
}

/* Builds it in one go, to compare with. */
static void rebuild_all(
    const struct fixture *fixture, struct journal *journal, struct buf *out)
{
    fixture_run("rm -rf '%s/index'", fixture->dir);
    struct indexer *indexer = traffic_index(fixture, journal, RANGE);
    traffic_indexed(indexer, journal);
    indexer_stop(&indexer);
    dump(fixture, out);
}

static void stops_and_starts_change_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct audit_log *log = fixture_open_ok(fixture);
    struct buf with, without;
    buf_init(&with, 8 << 20);
    buf_init(&without, 8 << 20);
    fixture_start(log);
    struct journal *journal = audit_log_journal(log);
    struct traffic t;
    traffic_begin(&t, journal);
    for (int i = 0; i < 8; i++) {
        struct indexer *indexer = traffic_index(fixture, journal, RANGE);
        traffic_requests(&t, 97, 40);
        if (i % 2)
            traffic_indexed(indexer, journal);
        indexer_stop(&indexer);
    }
    traffic_end(&t);
    struct errinfo info;
    assert_int_equal(
        indexer_catch_up(fixture->dir, journal_size(journal), &info), ERR_OK);
    dump(fixture, &with);
    rebuild_all(fixture, journal, &without);
    assert_string_equal(buf_cstr(&with), buf_cstr(&without));
    buf_fini(&with);
    buf_fini(&without);
    audit_log_stop(&log);
}

/* Damage of file number `which`, made by `spoil`, is mended. */
static void check_mended(const struct fixture *fixture, struct journal *journal,
    size_t which, void (*spoil)(const char *path))
{
    char name[INDEX_NAME_SIZE], path[160];
    struct buf before, after;
    buf_init(&before, 8 << 20);
    buf_init(&after, 8 << 20);
    rebuild_all(fixture, journal, &before);
    struct index_list list = files(fixture);
    if (which >= list.count)
        which = list.count - 1;
    index_file_name(name, list.firsts[which]);
    index_list_fini(&list);
    snprintf(path, sizeof(path), "%s/index/%s", fixture->dir, name);
    spoil(path);
    struct indexer *indexer = traffic_index(fixture, journal, RANGE);
    traffic_indexed(indexer, journal);
    /* older files are rebuilt after that; its name comes back early */
    for (int i = 0; i < 400; i++) {
        dump(fixture, &after);
        if (strcmp(buf_cstr(&before), buf_cstr(&after)) == 0)
            break;
        usleep(10000);
    }
    indexer_stop(&indexer);
    dump(fixture, &after);
    assert_string_equal(buf_cstr(&before), buf_cstr(&after));
    buf_fini(&before);
    buf_fini(&after);
}

static void spoil_header(const char *path)
{
    fixture_flip(path, 3, 0xff);
}
static void spoil_tables(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    /* all but the header page: no table can be read */
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 4096, SEEK_SET), 0);
    for (long i = 4096; i < st.st_size; i++)
        fputc(0x5a, file);
    fclose(file);
}
static void spoil_size(const char *path)
{
    assert_int_equal(truncate(path, 0), 0);
}
static void spoil_existence(const char *path)
{
    assert_int_equal(unlink(path), 0);
}
static void execute(const char *path, const char *sql)
{
    struct db *db;
    struct errinfo info;
    if (db_open(path, DB_INDEX, false, &db, &info) != ERR_OK ||
        db_execute(db, sql, &info) != ERR_OK)
        fail_msg("%s", info.text);
    db_close(&db);
}
static void spoil_boot(const char *path)
{
    execute(path,
        "UPDATE state SET clean = 0, boot = 'another'; DELETE FROM request;");
}
static void spoil_last(const char *path)
{
    execute(path, "UPDATE state SET last = zeroblob(32);");
}

static void the_newest_file_is_mended(void **state)
{
    static void (*const spoils[])(const char *path) = {spoil_header,
        spoil_tables, spoil_size, spoil_existence, spoil_boot, spoil_last};
    struct fixture *fixture = *state;
    struct audit_log *log = fixture_open_ok(fixture);
    fixture_start(log);
    some_traffic(audit_log_journal(log));
    for (size_t i = 0; i < sizeof(spoils) / sizeof(spoils[0]); i++)
        check_mended(fixture, audit_log_journal(log), SIZE_MAX, spoils[i]);
    audit_log_stop(&log);
}

static void an_older_file_is_mended(void **state)
{
    static void (*const spoils[])(const char *path) = {
        spoil_header, spoil_tables, spoil_size, spoil_existence, spoil_boot};
    struct fixture *fixture = *state;
    struct audit_log *log = fixture_open_ok(fixture);
    fixture_start(log);
    some_traffic(audit_log_journal(log));
    for (size_t i = 0; i < sizeof(spoils) / sizeof(spoils[0]); i++) {
        check_mended(fixture, audit_log_journal(log), 0, spoils[i]);
        check_mended(fixture, audit_log_journal(log), 1, spoils[i]);
    }
    audit_log_stop(&log);
}

static void it_is_rebuilt_when_asked(void **state)
{
    struct fixture *fixture = *state;
    struct audit_log *log = fixture_open_ok(fixture);
    struct buf before, after;
    buf_init(&before, 8 << 20);
    buf_init(&after, 8 << 20);
    fixture_start(log);
    struct journal *journal = audit_log_journal(log);
    some_traffic(journal);
    rebuild_all(fixture, journal, &before);
    struct indexer *indexer = traffic_index(fixture, journal, RANGE);
    traffic_indexed(indexer, journal);
    for (uint64_t at = 100; at < 1700; at += RANGE)
        indexer_rebuild(indexer, at);
    fixture_run("rm '%s'/index/*.damaged 2>/dev/null; sleep 0.2", fixture->dir);
    /* and the folder vanishing under it */
    for (int i = 0; i < 500; i++) {
        dump(fixture, &after);
        if (strcmp(buf_cstr(&before), buf_cstr(&after)) == 0)
            break;
        usleep(10000);
    }
    assert_string_equal(buf_cstr(&before), buf_cstr(&after));
    fixture_run("rm -f '%s'/index/*", fixture->dir);
    for (int i = 0; i < 500; i++) {
        dump(fixture, &after);
        if (strcmp(buf_cstr(&before), buf_cstr(&after)) == 0)
            break;
        usleep(10000);
    }
    assert_string_equal(buf_cstr(&before), buf_cstr(&after));
    indexer_stop(&indexer);
    buf_fini(&before);
    buf_fini(&after);
    audit_log_stop(&log);
}

/* A log put back from an older copy: what the index has beyond it goes. */
static void an_index_ahead_of_the_log_is_set_aside(void **state)
{
    struct fixture *fixture = *state;
    struct audit_log *log = fixture_open_ok(fixture);
    struct traffic t;
    fixture_start(log);
    traffic_begin(&t, audit_log_journal(log));
    traffic_requests(&t, 100, 10);
    traffic_end(&t);
    audit_log_stop(&log);
    fixture_run("cp -r '%s' '%s.old'", fixture->dir, fixture->dir);
    log = fixture_open_ok(fixture);
    fixture_start(log);
    traffic_begin(&t, audit_log_journal(log));
    t.number = 100;
    traffic_requests(&t, 700, 10);
    traffic_end(&t);
    struct errinfo info;
    struct indexer *indexer =
        traffic_index(fixture, audit_log_journal(log), RANGE);
    traffic_indexed(indexer, audit_log_journal(log));
    indexer_stop(&indexer);
    audit_log_stop(&log);
    fixture_run("mv '%s/index' '%s.old/index2' && rm -rf '%s.old/index' && "
                "mv '%s.old/index2' '%s.old/index' && rm -rf '%s' && "
                "mv '%s.old' '%s'",
        fixture->dir, fixture->dir, fixture->dir, fixture->dir, fixture->dir,
        fixture->dir, fixture->dir, fixture->dir);
    log = fixture_open_ok(fixture);
    fixture_start(log);
    uint64_t size = journal_size(audit_log_journal(log));
    if (indexer_catch_up(fixture->dir, size, &info) != ERR_OK)
        fail_msg("%s", info.text);
    assert_int_equal(count(fixture, "SELECT count(*) FROM request"), 100);
    audit_log_stop(&log);
}

static void entries_it_cannot_read_are_rows_too(void **state)
{
    struct fixture *fixture = *state;
    struct audit_log *log = fixture_open_ok(fixture);
    fixture_start(log);
    struct journal *journal = audit_log_journal(log);
    struct indexer *indexer = traffic_index(fixture, journal, 0);
    fixture_append(journal, 0, 3, 10, 0); /* no entries of a known type */
    struct traffic t;
    traffic_begin(&t, journal);
    traffic_finish(&t, "01J9ZQ3V7Y8X6W5T4S3R2Q1P0N", "ok", 1);
    traffic_end(&t);
    traffic_indexed(indexer, journal);
    indexer_stop(&indexer);
    assert_int_equal(
        count(fixture,
            "SELECT count(*) FROM event JOIN word w ON w.id = type WHERE "
            "w.text = 'unreadable'"),
        3);
    assert_int_equal(count(fixture, "SELECT count(*) FROM part"), 1);
    audit_log_stop(&log);
}

/* A reader in the middle of a query holds the index up, not the log. */
static void readers_do_not_stop_the_log(void **state)
{
    struct fixture *fixture = *state;
    struct audit_log *log = fixture_open_ok(fixture);
    fixture_start(log);
    struct journal *journal = audit_log_journal(log);
    struct indexer *indexer = traffic_index(fixture, journal, 0);
    struct traffic t;
    traffic_begin(&t, journal);
    traffic_requests(&t, 50, 0);
    traffic_indexed(indexer, journal);
    struct db *db = open_file(fixture, 0);
    struct db_statement *s;
    assert_int_equal(db_prepare(db, "SELECT seq FROM request", &s, NULL), 0);
    assert_int_equal(db_step(s, NULL), ERR_OK); /* holds its read lock */
    int64_t start = clock_monotonic();
    traffic_requests(&t, 50, 0);
    assert_true(clock_monotonic() - start < 2 * SECOND_US);
    assert_int_equal(
        indexer_wait(indexer, journal_size(journal), SECOND_US / 5),
        ERR_TIMEOUT);
    db_reset(s);
    db_close(&db);
    traffic_indexed(indexer, journal);
    traffic_end(&t);
    indexer_stop(&indexer);
    assert_int_equal(count(fixture, "SELECT count(*) FROM request"), 100);
    audit_log_stop(&log);
}

static void *be_busy(void *context)
{
    const _Atomic bool *stop = context;
    while (!atomic_load(stop))
        ;
    return NULL;
}

/* While others want the processor it may wait, up to its bound and not beyond;
 * for who asks it does not wait. */
static void its_lag_is_bounded_beside_others(void **state)
{
    enum { BUSY = 4, MAY_WAIT = 1000 };
    struct fixture *fixture = *state;
    struct audit_log *log = fixture_open_ok(fixture);
    fixture_start(log);
    struct journal *journal = audit_log_journal(log);
    struct indexer_options options = {.state_dir = fixture->dir,
        .size = traffic_size,
        .context = journal,
        .may_wait = MAY_WAIT};
    struct indexer *indexer;
    assert_int_equal(indexer_start(&options, &indexer, NULL), ERR_OK);
    _Atomic bool stop = false;
    pthread_t busy[BUSY];
    for (size_t i = 0; i < BUSY; i++)
        assert_int_equal(pthread_create(&busy[i], NULL, be_busy, &stop), 0);
    struct traffic t;
    traffic_begin(&t, journal);
    traffic_requests(&t, 1000, 0); /* two entries each */
    int64_t end = clock_monotonic() + 60 * SECOND_US;
    uint64_t lag;
    do {
        usleep(20000);
        lag = journal_size(journal) - indexer_position(indexer);
    } while (lag > MAY_WAIT && clock_monotonic() < end);
    assert_true(lag <= MAY_WAIT);
    traffic_indexed(indexer, journal);
    atomic_store(&stop, true);
    for (size_t i = 0; i < BUSY; i++)
        pthread_join(busy[i], NULL);
    traffic_end(&t);
    indexer_stop(&indexer);
    assert_int_equal(count(fixture, "SELECT count(*) FROM request"), 1000);
    audit_log_stop(&log);
}

int main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(it_says_what_the_journal_says),
        TEST(stops_and_starts_change_nothing),
        TEST(the_newest_file_is_mended),
        TEST(an_older_file_is_mended),
        TEST(it_is_rebuilt_when_asked),
        TEST(an_index_ahead_of_the_log_is_set_aside),
        TEST(entries_it_cannot_read_are_rows_too),
        TEST(readers_do_not_stop_the_log),
        TEST(its_lag_is_bounded_beside_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
