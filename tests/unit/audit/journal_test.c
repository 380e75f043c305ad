/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/unit/audit/journal_test.c - group commit, tickets, room, full disk,
 * segments that vanish. */
#include "audit/journal_priv.h"
#include "audit/journal_reader.h"
#include "lib/clock.h"
#include "lib/file.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char dir[64];
    struct journal_options options;
    struct journal *journal;
    char why[256];
    _Atomic int failures, wakes;
};

static void on_failed(void *context, const char *why)
{
    struct fixture *fixture = context;
    snprintf(fixture->why, sizeof(fixture->why), "%s", why);
    fixture->failures++;
}

static void on_wake(void *context)
{
    struct fixture *fixture = context;
    fixture->wakes++;
}

static void first_segment(struct fixture *fixture, uint64_t bytes)
{
    struct errinfo info = {0};
    struct segment_spare spare;
    assert_int_equal(
        segment_spare_make(fixture->dir, bytes, false, NULL, &spare, &info),
        ERR_OK);
    struct segment_header header = {.sequence = 1};
    memset(header.identity, 7, SHA256_SIZE);
    memset(header.previous, 7, SHA256_SIZE);
    int fd;
    assert_int_equal(
        segment_spare_adopt(fixture->dir, &spare, &header, &fd, &info), ERR_OK);
    close(fd);
    fixture->options = (struct journal_options){
        .dir = fixture->dir,
        .segment_bytes = bytes,
        .position = {.sequence = 1, .offset = SEGMENT_HEADER_SIZE},
        .failed = on_failed,
        .context = fixture,
    };
    memset(fixture->options.identity, 7, SHA256_SIZE);
    memset(fixture->options.position.previous, 7, SHA256_SIZE);
}

static void start(struct fixture *fixture)
{
    struct errinfo info = {0};
    enum err err = journal_start(&fixture->options, &fixture->journal, &info);
    if (err != ERR_OK)
        fail_msg("%s", info.text);
}

static int setup(void **state)
{
    struct errinfo info = {0};
    if (crypto_init(&info) != ERR_OK)
        return -1;
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    snprintf(fixture->dir, sizeof(fixture->dir), "/tmp/journal-test-XXXXXX");
    if (mkdtemp(fixture->dir) == NULL)
        return -1;
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", fixture->dir);
    int status = system(command);
    free(fixture);
    return status;
}

#define TIME "\"2000-01-01T00:00:00.000000Z\""

static struct str make_entry(char *out, size_t size, int worker, int number,
    size_t padding, size_t *time_offset)
{
    int n = snprintf(out, size,
        "{\"pad\":\"%*s\",\"n\":%d,\"time\":", (int)padding, "", number);
    *time_offset = (size_t)n + 1;
    n += snprintf(out + n, size - (size_t)n, TIME ",\"worker\":%d}", worker);
    return str_make(out, (size_t)n);
}

static int64_t number_after(struct str entry, const char *key)
{
    const char *at = memmem(entry.ptr, entry.len, key, strlen(key));
    assert_non_null(at);
    return strtoll(at + strlen(key), NULL, 10);
}

/* Reads all back; times never decrease; each worker's entries in order. */
static uint64_t read_all(struct fixture *fixture, uint64_t limit, int workers)
{
    struct errinfo info = {0};
    struct journal_reader *reader;
    assert_int_equal(
        journal_reader_open(fixture->dir, fixture->options.identity,
            READER_CHAIN, &reader, &info),
        ERR_OK);
    struct journal_cursor cursor;
    assert_int_equal(journal_cursor_init(&cursor, reader, 0, &info), ERR_OK);
    struct journal_entry entry;
    int64_t last_time = 0, next[16] = {0};
    uint64_t count = 0;
    enum err err;
    while (
        (err = journal_cursor_next(&cursor, limit, &entry, &info)) == ERR_OK) {
        assert_int_equal(entry.index, count);
        const char *at =
            memmem(entry.bytes.ptr, entry.bytes.len, "time\":\"", 7);
        int64_t time_us;
        assert_int_equal(
            clock_parse(str_make(at + 7, CLOCK_TEXT_LENGTH), &time_us), ERR_OK);
        assert_true(time_us >= last_time);
        assert_true(time_us > INT64_C(1500000000) * SECOND_US);
        last_time = time_us;
        int64_t worker = number_after(entry.bytes, "\"worker\":");
        assert_true(worker < workers);
        assert_int_equal(number_after(entry.bytes, "\"n\":"), next[worker]++);
        count++;
    }
    if (err != ERR_NOTFOUND)
        fail_msg("%s", info.text);
    journal_reader_close(&reader);
    return count;
}

static void test_one_entry(void **state)
{
    struct fixture *fixture = *state;
    first_segment(fixture, SEGMENT_BYTES_LEAST);
    start(fixture);
    struct journal_producer *producer;
    assert_int_equal(journal_producer_new(fixture->journal, 1 << 20, on_wake,
                         fixture, &producer),
        ERR_OK);
    char text[256];
    size_t time_offset;
    struct str entry = make_entry(text, sizeof(text), 0, 0, 3, &time_offset);
    uint64_t ticket;
    assert_int_equal(
        journal_append(producer, entry, time_offset, 0, &ticket), ERR_OK);
    assert_int_equal(ticket, 1);
    assert_int_equal(journal_wait(producer, ticket), ERR_OK);
    assert_int_equal(journal_size(fixture->journal), 1);
    assert_int_equal(journal_durable(producer), 1);
    journal_producer_free(&producer);
    assert_int_equal(fixture->wakes, 1);
    struct journal_figures figures;
    journal_figures(fixture->journal, &figures);
    assert_int_equal(figures.syncs, 1);
    journal_stop(&fixture->journal);
    assert_int_equal(read_all(fixture, UINT64_MAX, 1), 1);
}

static void test_completions_ride_along(void **state)
{
    struct fixture *fixture = *state;
    first_segment(fixture, SEGMENT_BYTES_LEAST);
    start(fixture);
    struct journal_producer *producer;
    assert_int_equal(journal_producer_new(fixture->journal, 1 << 20, on_wake,
                         fixture, &producer),
        ERR_OK);
    char text[256];
    size_t time_offset;
    uint64_t ticket;
    struct journal_figures before, after;
    struct str entry = make_entry(text, sizeof(text), 0, 0, 3, &time_offset);
    assert_int_equal(
        journal_append(producer, entry, time_offset, 200, &ticket), ERR_OK);
    assert_int_equal(journal_wait(producer, ticket), ERR_OK);
    journal_figures(fixture->journal, &before);
    entry = make_entry(text, sizeof(text), 0, 1, 3, &time_offset);
    assert_int_equal(
        journal_append_reserved(producer, entry, time_offset, 200, &ticket),
        ERR_OK);
    journal_submit(producer);
    entry = make_entry(text, sizeof(text), 0, 2, 3, &time_offset);
    assert_int_equal(
        journal_append(producer, entry, time_offset, 0, &ticket), ERR_OK);
    assert_int_equal(journal_wait(producer, ticket), ERR_OK);
    journal_figures(fixture->journal, &after);
    assert_int_equal(after.syncs, before.syncs + 1);
    /* And alone it does not wait for ever. */
    assert_int_equal(journal_claim_room(producer, 200), ERR_OK);
    entry = make_entry(text, sizeof(text), 0, 3, 3, &time_offset);
    assert_int_equal(
        journal_append_reserved(producer, entry, time_offset, 200, &ticket),
        ERR_OK);
    assert_int_equal(journal_wait(producer, ticket), ERR_OK);
    journal_producer_free(&producer);
    journal_stop(&fixture->journal);
    assert_int_equal(read_all(fixture, UINT64_MAX, 1), 4);
}

struct worker {
    struct fixture *fixture;
    int number, entries;
    unsigned seed;
    int written;
};

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct journal_producer *producer;
    assert_int_equal(journal_producer_new(worker->fixture->journal, 4 << 20,
                         on_wake, worker->fixture, &producer),
        ERR_OK);
    static const size_t room = 9000;
    char *text = malloc(70000);
    unsigned open = 0;
    while (worker->written < worker->entries) {
        size_t padding = (size_t)rand_r(&worker->seed) % 3000, time_offset;
        if (rand_r(&worker->seed) % 200 == 0)
            padding = 60000;
        bool completion = open > 0 && rand_r(&worker->seed) % 2 == 0;
        if (completion)
            padding %= 8000;
        struct str entry = make_entry(text, 70000, worker->number,
            worker->written, padding, &time_offset);
        uint64_t ticket;
        enum err err = completion ? journal_append_reserved(producer, entry,
                                        time_offset, room, &ticket)
                                  : journal_append(producer, entry, time_offset,
                                        room, &ticket);
        if (err == ERR_FULL) {
            journal_submit(producer);
            usleep(1000);
            if (open > 0) {
                journal_release_room(producer, room);
                open--;
            }
            continue;
        }
        assert_int_equal(err, ERR_OK);
        open += completion ? -1u : 1u;
        worker->written++;
        if (rand_r(&worker->seed) % 4 == 0)
            journal_submit(producer);
        if (rand_r(&worker->seed) % 16 == 0)
            assert_int_equal(journal_wait(producer, ticket), ERR_OK);
    }
    journal_producer_free(&producer);
    free(text);
    return NULL;
}

static void test_many_producers_many_segments(void **state)
{
    struct fixture *fixture = *state;
    first_segment(fixture, SEGMENT_BYTES_LEAST);
    start(fixture);
    struct worker workers[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        workers[i] = (struct worker){
            .fixture = fixture, .number = i, .entries = 1500, .seed = 42u + i};
        assert_int_equal(
            pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    /* A follower beside it sees only what is durable, and all of it. */
    struct errinfo info = {0};
    struct journal_reader *reader;
    struct journal_cursor cursor;
    assert_int_equal(
        journal_reader_open(fixture->dir, NULL, 0, &reader, &info), ERR_OK);
    assert_int_equal(journal_cursor_init(&cursor, reader, 0, &info), ERR_OK);
    uint64_t seen = 0;
    while (seen < 6000) {
        struct journal_entry entry;
        enum err err = journal_cursor_next(
            &cursor, journal_size(fixture->journal), &entry, &info);
        if (err == ERR_NOTFOUND) {
            usleep(500);
            continue;
        }
        if (err != ERR_OK)
            fail_msg("%s", info.text);
        assert_int_equal(entry.index, seen);
        seen++;
    }
    journal_reader_close(&reader);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    struct journal_figures figures;
    journal_figures(fixture->journal, &figures);
    assert_true(figures.segments > 10);
    journal_stop(&fixture->journal);
    assert_int_equal(fixture->failures, 0);
    assert_int_equal(read_all(fixture, UINT64_MAX, 4), 6000);
}

static void test_room_is_kept(void **state)
{
    struct fixture *fixture = *state;
    first_segment(fixture, SEGMENT_BYTES_LEAST);
    start(fixture);
    struct journal_producer *producer;
    assert_int_equal(
        journal_producer_new(fixture->journal, 1 << 16, NULL, NULL, &producer),
        ERR_OK);
    char text[256];
    size_t time_offset;
    uint64_t ticket;
    struct str entry = make_entry(text, sizeof(text), 0, 0, 3, &time_offset);
    unsigned admitted = 0;
    while (
        journal_append(producer, entry, time_offset, 8000, &ticket) == ERR_OK)
        admitted++;
    /* The buffer's bound: 64 KiB by 8 KiB and what goes with it. */
    assert_in_range(admitted, 7, 8);
    assert_int_equal(
        journal_append(producer, entry, time_offset, 60000, &ticket), ERR_FULL);
    char *large = calloc(1, 70000);
    assert_int_equal(
        journal_append(producer, str_make(large, 65536), 0, 0, &ticket),
        ERR_RANGE);
    free(large);
    for (unsigned i = 0; i < admitted; i++)
        assert_int_equal(journal_append_reserved(
                             producer, entry, time_offset, 8000, &ticket),
            ERR_OK);
    assert_int_equal(journal_wait(producer, ticket), ERR_OK);
    assert_int_equal(
        journal_append(producer, entry, time_offset, 8000, &ticket), ERR_OK);
    journal_release_room(producer, 8000);
    journal_producer_free(&producer);
    journal_stop(&fixture->journal);
}

/* RLIMIT_FSIZE below the segment's size stands for a full disk: fallocate
 * says EFBIG. */
static void test_full_disk_and_back(void **state)
{
    struct fixture *fixture = *state;
    first_segment(fixture, 512 << 10);
    struct rlimit old, low;
    getrlimit(RLIMIT_FSIZE, &old);
    low = old;
    low.rlim_cur = 500 << 10;
    signal(SIGXFSZ, SIG_IGN);
    start(fixture);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    struct journal_producer *producer;
    assert_int_equal(journal_producer_new(fixture->journal, 8 << 20, on_wake,
                         fixture, &producer),
        ERR_OK);
    char text[4096];
    size_t time_offset;
    uint64_t ticket = 0;
    int n = 0, open = 0;
    enum err err;
    for (;;) {
        struct str entry =
            make_entry(text, sizeof(text), 0, n, 2000, &time_offset);
        err = journal_append(producer, entry, time_offset, 2500, &ticket);
        if (err != ERR_OK)
            break;
        n++, open++;
        if (n % 8 == 0)
            assert_int_equal(journal_wait(producer, ticket), ERR_OK);
    }
    assert_int_equal(err, ERR_FULL);
    for (int i = 0; i < 100 && journal_state(fixture->journal) == JOURNAL_OK;
         i++)
        usleep(10000);
    assert_int_equal(journal_state(fixture->journal), JOURNAL_FULL);
    assert_true(fixture->wakes > 0);
    /* Room already granted stays good. */
    for (int i = 0; i < open; i++) {
        struct str entry =
            make_entry(text, sizeof(text), 0, n++, 2000, &time_offset);
        assert_int_equal(journal_append_reserved(
                             producer, entry, time_offset, 2500, &ticket),
            ERR_OK);
    }
    assert_int_equal(journal_wait(producer, ticket), ERR_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    for (int i = 0; i < 300 && journal_state(fixture->journal) != JOURNAL_OK;
         i++)
        usleep(10000);
    assert_int_equal(journal_state(fixture->journal), JOURNAL_OK);
    struct str entry =
        make_entry(text, sizeof(text), 0, n++, 2000, &time_offset);
    assert_int_equal(
        journal_append(producer, entry, time_offset, 0, &ticket), ERR_OK);
    assert_int_equal(journal_wait(producer, ticket), ERR_OK);
    journal_producer_free(&producer);
    journal_stop(&fixture->journal);
    assert_int_equal(read_all(fixture, UINT64_MAX, 1), n);
}

/* Each way to take the file away is noticed at the next batch. */
static void lose_segment(struct fixture *fixture, int how, const char *word)
{
    first_segment(fixture, SEGMENT_BYTES_LEAST);
    start(fixture);
    struct journal_producer *producer;
    assert_int_equal(journal_producer_new(fixture->journal, 1 << 20, on_wake,
                         fixture, &producer),
        ERR_OK);
    char text[256], path[128], other[128];
    size_t time_offset;
    uint64_t ticket;
    struct str entry = make_entry(text, sizeof(text), 0, 0, 3, &time_offset);
    assert_int_equal(
        journal_append(producer, entry, time_offset, 100, &ticket), ERR_OK);
    assert_int_equal(journal_wait(producer, ticket), ERR_OK);
    snprintf(path, sizeof(path), "%s/00000001.seg", fixture->dir);
    snprintf(other, sizeof(other), "%s/other", fixture->dir);
    if (how == 0) {
        assert_int_equal(unlink(path), 0);
    } else if (how == 1) {
        int fd = open(other, O_RDWR | O_CREAT, 0600);
        assert_int_equal(ftruncate(fd, SEGMENT_BYTES_LEAST), 0);
        close(fd);
        assert_int_equal(rename(other, path), 0);
    } else if (how == 2) {
        assert_int_equal(truncate(path, 8192), 0);
    } else {
        assert_int_equal(rename(path, other), 0);
        int fd = open(path, O_RDWR | O_CREAT, 0600);
        assert_int_equal(ftruncate(fd, SEGMENT_BYTES_LEAST), 0);
        close(fd);
    }
    assert_int_equal(
        journal_append(producer, entry, time_offset, 0, &ticket), ERR_OK);
    assert_int_equal(journal_wait(producer, ticket), ERR_WRONG_STATE);
    assert_int_equal(journal_state(fixture->journal), JOURNAL_FAILED);
    assert_int_equal(journal_append(producer, entry, time_offset, 0, &ticket),
        ERR_WRONG_STATE);
    assert_int_equal(
        journal_append_reserved(producer, entry, time_offset, 100, &ticket),
        ERR_WRONG_STATE);
    assert_int_equal(journal_size(fixture->journal), 1);
    journal_producer_free(&producer);
    journal_stop(&fixture->journal);
    assert_int_equal(fixture->failures, 1);
    if (strstr(fixture->why, word) == NULL)
        fail_msg("%s", fixture->why);
}

static void test_unlinked(void **state)
{
    lose_segment(*state, 0, "removed");
}
static void test_replaced(void **state)
{
    lose_segment(*state, 1, "removed"); /* the old file has no name left */
}
static void test_truncated(void **state)
{
    lose_segment(*state, 2, "truncated");
}
static void test_renamed(void **state)
{
    lose_segment(*state, 3, "replaced");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_one_entry),
        TEST(test_completions_ride_along),
        TEST(test_many_producers_many_segments),
        TEST(test_room_is_kept),
        TEST(test_full_disk_and_back),
        TEST(test_unlinked),
        TEST(test_replaced),
        TEST(test_truncated),
        TEST(test_renamed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
