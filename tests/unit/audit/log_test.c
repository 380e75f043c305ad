/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/unit/audit/log_test.c - the log as one thing: creation, seal, crash,
 * recovery, and what it refuses. */
#include "log_fixture.h"

#include "audit/checkpoint.h"
#include "audit/journal_reader.h"

#include <fcntl.h>
#include <sys/stat.h>

static void path_of(const struct fixture *fixture, const char *name, char *out)
{
    snprintf(out, 160, "%s/%s", fixture->dir, name);
}

/* The newest checkpoint is good, covers `size`, and has the root of what is
 * read back. */
static void check_log(const struct fixture *fixture, uint64_t size)
{
    char path[160];
    struct errinfo info = {0};
    struct buf vkey, note;
    buf_init(&vkey, 4096);
    buf_init(&note, 1 << 20);
    path_of(fixture, "log.vkey", path);
    assert_int_equal(file_read(path, &vkey, &info), ERR_OK);
    path_of(fixture, "log/checkpoint", path);
    assert_int_equal(file_read(path, &note, &info), ERR_OK);
    struct note_key key;
    assert_int_equal(
        note_key_parse(str_make(vkey.ptr, vkey.len - 1), &key, &info), ERR_OK);
    struct checkpoint checkpoint;
    if (checkpoint_open(buf_str(&note), &key, &checkpoint, &info) != ERR_OK)
        fail_msg("%s", info.text);
    assert_int_equal(checkpoint.size, size);
    path_of(fixture, "journal/segments", path);
    struct journal_reader *reader;
    assert_int_equal(
        journal_reader_open(path, NULL, READER_CHAIN, &reader, &info), ERR_OK);
    struct journal_cursor cursor;
    struct journal_entry entry;
    struct merkle_frontier tree;
    merkle_init(&tree);
    assert_int_equal(journal_cursor_init(&cursor, reader, 0, &info), ERR_OK);
    enum err err;
    while (
        (err = journal_cursor_next(&cursor, size, &entry, &info)) == ERR_OK) {
        struct merkle_hash leaf;
        merkle_leaf(NULL, entry.bytes, &leaf);
        merkle_push(&tree, NULL, &leaf, NULL, NULL);
    }
    if (err != ERR_NOTFOUND)
        fail_msg("%s", info.text);
    assert_int_equal(tree.size, size);
    struct merkle_hash root;
    merkle_root(&tree, NULL, &root);
    assert_true(merkle_equal(&root, &checkpoint.root));
    journal_reader_close(&reader);
    buf_fini(&vkey);
    buf_fini(&note);
}

static void test_created_is_sealed_and_signed(void **state)
{
    struct fixture *fixture = *state;
    check_log(fixture, 0);
    struct audit_log *log = fixture_open_ok(fixture);
    const struct audit_replayed *replayed = audit_log_replayed(log);
    assert_int_equal(replayed->size, 0);
    assert_true(replayed->sealed);
    assert_false(replayed->torn_frame);
    audit_log_stop(&log);
    struct errinfo info = {0};
    assert_int_equal(
        audit_log_create(fixture->dir, "example.com/other", &info), ERR_EXISTS);
}

static void test_bad_origin(void **state)
{
    struct errinfo info = {0};
    assert_int_equal(
        audit_log_create("/tmp/never-made", "two words", &info), ERR_INVALID);
    assert_false(file_exists("/tmp/never-made"));
}

static void test_orderly_stop(void **state)
{
    struct fixture *fixture = *state;
    fixture_orderly(fixture, 0, 50, 100);
    check_log(fixture, 51);
    struct audit_log *log = fixture_open_ok(fixture);
    const struct audit_replayed *replayed = audit_log_replayed(log);
    assert_int_equal(replayed->size, 51);
    assert_true(replayed->sealed);
    assert_int_equal(replayed->recovered_tail, 0);
    assert_true(replayed->last_time_us <= clock_now());
    assert_true(replayed->last_time_us > clock_now() - MINUTE_US);
    audit_log_stop(&log);
    /* Over many segments, twice. */
    fixture_orderly(fixture, 51, 900, 2000);
    fixture_orderly(fixture, 952, 5, 60000);
    check_log(fixture, 958);
    log = fixture_open_ok(fixture);
    assert_true(audit_log_replayed(log)->sealed);
    assert_int_equal(audit_log_replayed(log)->size, 958);
    audit_log_stop(&log);
}

/* Opened and not started: nothing was written, the seal holds. */
static void test_open_keeps_the_seal(void **state)
{
    struct fixture *fixture = *state;
    fixture_orderly(fixture, 0, 5, 100);
    for (int i = 0; i < 3; i++) {
        struct audit_log *log = fixture_open_ok(fixture);
        assert_true(audit_log_replayed(log)->sealed);
        assert_int_equal(audit_log_replayed(log)->size, 6);
        audit_log_stop(&log);
    }
    /* After a crash the tail is written anew once, not at every attempt. */
    fixture_crash(fixture, 6, 20, 10, 100);
    for (uint64_t i = 0; i < 3; i++) {
        struct audit_log *log = fixture_open_ok(fixture);
        assert_false(audit_log_replayed(log)->sealed);
        assert_int_equal(audit_log_replayed(log)->size, 26);
        assert_int_equal(
            audit_log_replayed(log)->recovered_tail, i == 0 ? 10 : 0);
        audit_log_stop(&log);
    }
    char path[160];
    path_of(fixture, "journal/segments/00000003.seg", path);
    assert_false(file_exists(path));
}

static void recover(const struct fixture *fixture, uint64_t size,
    uint64_t tail_least, bool torn)
{
    struct audit_log *log = fixture_open_ok(fixture);
    const struct audit_replayed *replayed = audit_log_replayed(log);
    assert_int_equal(replayed->size, size);
    assert_false(replayed->sealed);
    assert_true(replayed->recovered_tail >= tail_least);
    assert_int_equal(replayed->torn_frame, torn);
    fixture_start(log);
    fixture_append(audit_log_journal(log), size, 10, 200, 2);
    audit_log_stop(&log);
    check_log(fixture, size + 11);
    log = fixture_open_ok(fixture);
    assert_true(audit_log_replayed(log)->sealed);
    audit_log_stop(&log);
}

static void test_crash_with_tail(void **state)
{
    struct fixture *fixture = *state;
    fixture_crash(fixture, 0, 40, 15, 300);
    recover(fixture, 40, 15, false);
}

static void test_crash_without_tail(void **state)
{
    struct fixture *fixture = *state;
    fixture_crash(fixture, 0, 40, 0, 300);
    recover(fixture, 40, 0, false);
}

static void test_crash_with_tail_over_segments(void **state)
{
    struct fixture *fixture = *state;
    fixture_crash(fixture, 0, 400, 350, 3000);
    recover(fixture, 400, 300, false);
}

static void test_crash_again_and_again(void **state)
{
    struct fixture *fixture = *state;
    uint64_t size = 0;
    for (uint64_t i = 0; i < 8; i++) {
        fixture_crash(fixture, size, 20 + i, i * 2, 500 * (size_t)i);
        size += 20 + i;
    }
    /* Segments that were given up hold no room. */
    char path[160];
    struct stat st;
    path_of(fixture, "journal/segments/00000002.seg", path);
    assert_int_equal(stat(path, &st), 0);
    assert_true((uint64_t)st.st_size < FIXTURE_SEGMENT);
    recover(fixture, size, 0, false);
}

/* The place behind the last frame of the newest segment. */
static void end_of_log(
    const struct fixture *fixture, char *segment, struct journal_place *last)
{
    char path[160];
    struct errinfo info = {0};
    struct journal_reader *reader;
    struct frame frame;
    path_of(fixture, "journal/segments", path);
    assert_int_equal(
        journal_reader_open(path, NULL, 0, &reader, &info), ERR_OK);
    while (journal_reader_next(reader, UINT64_MAX, &frame, &info) == ERR_OK)
        journal_reader_last(reader, last);
    journal_reader_close(&reader);
    snprintf(segment, 200, "%s/%08u.seg", path, (unsigned)last->sequence);
}

/* The last frame never came to the disk as a whole. */
static void test_torn_frame(void **state)
{
    struct fixture *fixture = *state;
    fixture_crash(fixture, 0, 40, 20, 5000);
    char segment[200];
    struct journal_place last;
    end_of_log(fixture, segment, &last);
    /* Its second page is missing. */
    int fd = open(segment, O_RDWR);
    static const char zeros[4096];
    assert_int_equal(pwrite(fd, zeros, sizeof(zeros),
                         (off_t)((last.offset + 4096) & ~4095ul)),
        4096);
    close(fd);
    recover(fixture, last.index, 0, true);
}

static void test_torn_header(void **state)
{
    struct fixture *fixture = *state;
    fixture_crash(fixture, 0, 40, 20, 5000);
    char segment[200];
    struct journal_place last;
    end_of_log(fixture, segment, &last);
    fixture_flip(segment, (long)last.offset, 0xff);
    recover(fixture, last.index, 0, true);
}

static void refuse(const struct fixture *fixture, const char *word)
{
    struct audit_log *log;
    struct errinfo info = {0};
    enum err err = fixture_open(fixture, &log, &info);
    assert_int_not_equal(err, ERR_OK);
    if (strstr(info.text, word) == NULL)
        fail_msg("expected \"%s\" in: %s", word, info.text);
}

static void test_bad_frame_before_good_one(void **state)
{
    struct fixture *fixture = *state;
    fixture_crash(fixture, 0, 40, 20, 500);
    char segment[200];
    struct journal_place last;
    end_of_log(fixture, segment, &last);
    /* In the frame before the last one, which the state has not seen. */
    fixture_flip(segment, (long)last.offset - 700, 0x10);
    refuse(fixture, "good frames follow at offset");
}

static void test_damage_below_the_state(void **state)
{
    struct fixture *fixture = *state;
    fixture_orderly(fixture, 0, 10, 500);
    char segment[200];
    struct journal_place last;
    end_of_log(fixture, segment, &last);
    fixture_flip(segment, (long)last.offset + 100, 0x10);
    refuse(fixture, "");
}

static void test_missing_segment(void **state)
{
    struct fixture *fixture = *state;
    fixture_orderly(fixture, 0, 500, 3000);
    fixture_run("rm %s/journal/segments/00000003.seg", fixture->dir);
    refuse(fixture, "00000003.seg is missing");
    fixture_run("rm %s/journal/segments/00000001.seg", fixture->dir);
    fixture_run("rm %s/journal/segments/00000002.seg", fixture->dir);
    refuse(fixture, "00000001.seg is missing");
}

static void test_missing_last_segment(void **state)
{
    struct fixture *fixture = *state;
    fixture_orderly(fixture, 0, 500, 3000);
    fixture_run(
        "rm \"$(ls -d %s/journal/segments/*.seg | tail -n 1)\"", fixture->dir);
    refuse(fixture, "something was removed at its end");
    /* And without the state's help, the checkpoint tells. */
    fixture_run("rm %s/journal/state*", fixture->dir);
    refuse(fixture, "its signed checkpoint covers");
}

static void test_foreign_segment(void **state)
{
    struct fixture *fixture = *state;
    void *other;
    assert_int_equal(fixture_setup(&other), 0);
    fixture_orderly(fixture, 0, 500, 3000);
    fixture_orderly(other, 0, 500, 3000);
    fixture_run("cp %s/journal/segments/00000002.seg %s/journal/segments/",
        ((struct fixture *)other)->dir, fixture->dir);
    refuse(fixture, "00000002.seg belongs to another log");
    fixture_teardown(&other);
}

static void test_old_copy_put_back(void **state)
{
    struct fixture *fixture = *state;
    fixture_orderly(fixture, 0, 20, 300);
    fixture_run("cp -a %s/journal %s/old", fixture->dir, fixture->dir);
    fixture_orderly(fixture, 21, 20, 300);
    fixture_run("rm -r %s/journal && mv %s/old %s/journal", fixture->dir,
        fixture->dir, fixture->dir);
    refuse(fixture, "an old copy was put back");
}

static void test_damaged_state_falls_back(void **state)
{
    struct fixture *fixture = *state;
    fixture_orderly(fixture, 0, 20, 300);
    char path[160];
    path_of(fixture, "journal/state", path);
    fixture_flip(path, 60, 1);
    struct audit_log *log = fixture_open_ok(fixture);
    assert_int_equal(audit_log_replayed(log)->size, 21);
    audit_log_stop(&log);
    fixture_flip(path, 60, 1);
    path_of(fixture, "journal/state.previous", path);
    fixture_flip(path, 60, 1);
    log = fixture_open_ok(fixture);
    assert_int_equal(audit_log_replayed(log)->size, 21);
    audit_log_stop(&log);
}

static void test_foreign_checkpoint(void **state)
{
    struct fixture *fixture = *state;
    void *other;
    assert_int_equal(fixture_setup(&other), 0);
    fixture_run("cp %s/log/checkpoint %s/log/checkpoint",
        ((struct fixture *)other)->dir, fixture->dir);
    refuse(fixture, "not signed with the key of");
    fixture_teardown(&other);
}

static void test_checkpoint_is_rewritten(void **state)
{
    struct fixture *fixture = *state;
    fixture_orderly(fixture, 0, 20, 300);
    fixture_run("rm %s/log/checkpoint", fixture->dir);
    fixture_orderly(fixture, 21, 0, 0);
    check_log(fixture, 22);
}

static void test_health(void **state)
{
    struct fixture *fixture = *state;
    struct audit_log *log = fixture_open_ok(fixture);
    fixture_start(log);
    fixture_append(audit_log_journal(log), 0, 20, 100, 1);
    struct audit_log_health health;
    audit_log_health(log, &health);
    assert_int_equal(health.size, 20);
    assert_int_equal(health.syncs, 20);
    assert_int_equal(health.journal, JOURNAL_OK);
    assert_true(health.bytes > 20 * 164);
    assert_true(health.free_bytes > 0);
    audit_log_stop(&log);
}

static void test_index_is_behind(void **state)
{
    struct audit_log_health health = {.size = 1000000, .indexed = 800000};
    assert_false(audit_index_is_behind(&health));
    health.indexed--;
    assert_true(audit_index_is_behind(&health));
    health.indexed = health.size + 5; /* read a moment later */
    assert_false(audit_index_is_behind(&health));
    health.index_failed = true;
    assert_true(audit_index_is_behind(&health));
}

int main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_created_is_sealed_and_signed),
        TEST(test_bad_origin),
        TEST(test_orderly_stop),
        TEST(test_open_keeps_the_seal),
        TEST(test_crash_with_tail),
        TEST(test_crash_without_tail),
        TEST(test_crash_with_tail_over_segments),
        TEST(test_crash_again_and_again),
        TEST(test_torn_frame),
        TEST(test_torn_header),
        TEST(test_bad_frame_before_good_one),
        TEST(test_damage_below_the_state),
        TEST(test_missing_segment),
        TEST(test_missing_last_segment),
        TEST(test_foreign_segment),
        TEST(test_old_copy_put_back),
        TEST(test_damaged_state_falls_back),
        TEST(test_foreign_checkpoint),
        TEST(test_checkpoint_is_rewritten),
        TEST(test_health),
        TEST(test_index_is_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
