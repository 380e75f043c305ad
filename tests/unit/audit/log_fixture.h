/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/unit/audit/log_fixture.h - a state directory of its own for each test,
 * and a run of the log in a child process that stops as the test wants. */
#ifndef LOG_FIXTURE_H
#define LOG_FIXTURE_H

#include "audit/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/file.h"

#define FIXTURE_SEGMENT (UINT64_C(256) << 10)

struct fixture {
    char dir[64];
};

static inline void fixture_run(const char *format, ...)
    __attribute__((format(printf, 1, 2)));
static inline void fixture_run(const char *format, ...)
{
    char command[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof(command), format, arguments);
    va_end(arguments);
    if (system(command) != 0)
        fail_msg("%s", command);
}

static inline int fixture_setup(void **state)
{
    struct errinfo info = {0};
    if (crypto_init(&info) != ERR_OK)
        return -1;
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    snprintf(fixture->dir, sizeof(fixture->dir), "/tmp/log-test-XXXXXX");
    if (mkdtemp(fixture->dir) == NULL)
        return -1;
    if (audit_log_create_sized(fixture->dir, "example.com/bailiff-test",
            FIXTURE_SEGMENT, &info) != ERR_OK) {
        print_message("%s\n", info.text);
        return -1;
    }
    *state = fixture;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", fixture->dir);
    int status = system(command);
    free(fixture);
    return status;
}

static inline enum err fixture_open(
    const struct fixture *fixture, struct audit_log **log, struct errinfo *info)
{
    struct audit_log_options options = {.state_dir = fixture->dir,
        .segment_bytes = FIXTURE_SEGMENT,
        .without_index = true,
        .publish_us = HOUR_US}; /* only when asked */
    return audit_log_open(&options, log, info);
}

static inline struct audit_log *fixture_open_ok(const struct fixture *fixture)
{
    struct audit_log *log;
    struct errinfo info = {0};
    if (fixture_open(fixture, &log, &info) != ERR_OK)
        fail_msg("%s", info.text);
    return log;
}

static inline void fixture_start(struct audit_log *log)
{
    struct errinfo info = {0};
    if (audit_log_start(log, NULL, NULL, &info) != ERR_OK)
        fail_msg("%s", info.text);
}

/* Appends {"id":...,"pad":...,"time":...,"type":"system.test","v":1} and, at
 * the end, waits. number goes into the id. */
static inline void fixture_append(struct journal *journal, uint64_t from,
    uint64_t count, size_t padding, unsigned wait_every)
{
    struct journal_producer *producer;
    assert_int_equal(
        journal_producer_new(journal, 1 << 20, NULL, NULL, &producer), ERR_OK);
    char *text = malloc(padding + 256);
    uint64_t ticket = 0;
    for (uint64_t i = 0; i < count; i++) {
        int n = snprintf(text, padding + 256,
            "{\"id\":\"01J00000000000000000%06llu\",\"pad\":\"%*s\",\"time\":",
            (unsigned long long)(from + i), (int)padding, "");
        size_t time_offset = (size_t)n + 1;
        n += snprintf(text + n, padding + 256 - (size_t)n,
            "\"2000-01-01T00:00:00.000000Z\",\"type\":\"system.test\",\"v\":"
            "1}");
        enum err err;
        while ((err = journal_append(producer, str_make(text, (size_t)n),
                    time_offset, 0, &ticket)) == ERR_FULL) {
            journal_submit(producer);
            usleep(500);
        }
        assert_int_equal(err, ERR_OK);
        if (wait_every > 0 && (i + 1) % wait_every == 0)
            assert_int_equal(journal_wait(producer, ticket), ERR_OK);
    }
    if (count > 0)
        assert_int_equal(journal_wait(producer, ticket), ERR_OK);
    journal_producer_free(&producer);
    free(text);
}

/* A run in a child process that ends without stopping the log; `published`:
 * with a checkpoint over all but the last `tail` entries. */
static inline void fixture_crash(const struct fixture *fixture, uint64_t from,
    uint64_t count, uint64_t tail, size_t padding)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct audit_log *log = fixture_open_ok(fixture);
        fixture_start(log);
        struct journal *journal = audit_log_journal(log);
        fixture_append(journal, from, count - tail, padding, 3);
        struct buf note;
        buf_init(&note, 1 << 20);
        struct errinfo info = {0};
        if (audit_log_checkpoint(log, &note, &info) != ERR_OK)
            _exit(2);
        fixture_append(journal, from + count - tail, tail, padding, 3);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* A run that ends in good order: count entries and the seal. */
static inline void fixture_orderly(const struct fixture *fixture, uint64_t from,
    uint64_t count, size_t padding)
{
    struct audit_log *log = fixture_open_ok(fixture);
    fixture_start(log);
    fixture_append(audit_log_journal(log), from, count, padding, 7);
    audit_log_stop(&log);
}

/* Changes bytes of a file: at `offset` (from the end when negative). */
static inline void fixture_flip(const char *path, long offset, uint8_t mask)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, offset, offset < 0 ? SEEK_END : SEEK_SET), 0);
    int c = fgetc(file);
    assert_int_not_equal(c, EOF);
    assert_int_equal(fseek(file, -1, SEEK_CUR), 0);
    assert_int_not_equal(fputc(c ^ mask, file), EOF);
    assert_int_equal(fclose(file), 0);
}

#endif
