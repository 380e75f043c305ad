/* SPDX-License-Identifier: Apache-2.0
 *
 * What is taken away is gone in the snapshot in force, before a new one is
 * built. */
#include "proxy/snapshot.h"

#include "lib/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void good(enum err err, const struct errinfo *info)
{
    if (err != ERR_OK)
        fail_msg("%s", info->text);
}

static void what_is_taken_away_is_gone_at_once(void **state)
{
    char folder[] = "/tmp/bailiff-unit-XXXXXX", path[2][64];
    uint8_t one[32] = {1}, two[32] = {2}, old[32] = {3};
    struct db *db[2];
    struct errinfo info = {0};
    struct snapshot *snapshot;
    size_t count;
    char sql[512];

    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < 2; i++) {
        snprintf(path[i], sizeof path[i], "%s/%d.db", folder, i);
        good(db_open(path[i], i == 0 ? DB_CONTROL : DB_PERSONS, true, &db[i],
                 &info),
            &info);
    }
    snprintf(sql, sizeof sql,
        "INSERT INTO caller (id, created) VALUES ('cal_a', 0), ('cal_b', 0);"
        "INSERT INTO api_key (id, caller, hash, hint, created, revoked) VALUES "
        "('key_1', 'cal_a', x'01%062d', 'h', 0, NULL), "
        "('key_2', 'cal_b', x'02%062d', 'h', 0, NULL), "
        "('key_3', 'cal_a', x'03%062d', 'h', 0, 5);",
        0, 0, 0);
    good(db_execute(db[0], sql, &info), &info);
    struct snapshot_sources sources = {
        .control = db[0], .persons = db[1], .now_us = clock_now()};
    good(snapshot_build(&sources, NULL, CHANGED_ALL, &snapshot, &info), &info);
    const struct snapshot_key *key = snapshot_find_key(snapshot, one);
    const struct snapshot_caller *b = snapshot_find_key(snapshot, two)->caller;
    assert_false(key->revoked);
    assert_true(snapshot_find_key(snapshot, old)->revoked);
    good(snapshot_withdraw(snapshot, &sources, &count, &info), &info);
    assert_int_equal(count, 0);
    snprintf(sql, sizeof sql,
        "UPDATE api_key SET revoked = %lld WHERE id = 'key_1'; "
        "UPDATE caller SET disabled = 1 WHERE id = 'cal_b'; "
        /* made after the snapshot: nothing to mark */
        "INSERT INTO caller (id, disabled, created) VALUES ('cal_c', 1, 0);",
        (long long)clock_now());
    good(db_execute(db[0], sql, &info), &info);
    sources.now_us = clock_now();
    good(snapshot_withdraw(snapshot, &sources, &count, &info), &info);
    assert_int_equal(count, 2);
    assert_true(key->revoked);
    assert_true(b->disabled);
    assert_false(key->caller->disabled);
    good(snapshot_withdraw(snapshot, &sources, &count, &info), &info);
    assert_int_equal(count, 0);
    snapshot_unref(&snapshot);
    for (int i = 0; i < 2; i++) {
        db_close(&db[i]);
        unlink(path[i]);
    }
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_taken_away_is_gone_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
