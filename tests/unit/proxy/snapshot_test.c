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

static const char directory[] =
    "INSERT INTO team (name, parent, title, created) VALUES "
    "('all', NULL, '', 0), ('lab', 'all', '', 0), ('deep', 'lab', '', 0), "
    "('other', NULL, '', 0);"
    "INSERT INTO team_weight (team, weight) VALUES ('lab', 9);"
    "INSERT INTO caller (id, created) VALUES ('cal_a', 0);"
    "INSERT INTO caller_team (caller, team) VALUES ('cal_a', 'all');"
    "INSERT INTO issuer (name, issuer, groups_claim, created) VALUES "
    "('corp', 'https://corp', 'groups', 0), ('bare', 'https://bare', 'g', 0);"
    "INSERT INTO issuer_group (issuer, group_name, team) VALUES "
    "('corp', '/deep', 'deep'), ('corp', 'Deep', 'deep'), "
    "('corp', 'o', 'other');"
    "INSERT INTO quota (id, scope, subject, dimension, window, amount, "
    "created) VALUES "
    "('quo_1', 'team', 'all', 'requests', 'day', 5, 0), "
    "('quo_2', 'team', 'lab', 'requests', 'day', 5, 0), "
    "('quo_3', 'team', 'other', 'requests', 'day', 5, 0), "
    "('quo_4', 'organisation', '', 'requests', 'day', 5, 0);";

static void groups_bring_teams_for_one_request(void **state)
{
    static const struct str groups[] = {STR_INIT("Deep"), STR_INIT("/deep"),
        STR_INIT("deep"), STR_INIT("nobody knows it")};
    static const struct str strange[] = {STR_INIT("deep"), STR_INIT("")};
    char folder[] = "/tmp/bailiff-unit-XXXXXX", path[2][64];
    struct arena *arena = arena_new(4096, 1u << 20);
    const struct snapshot_membership *joined;
    struct db *db[2];
    struct errinfo info = {0};
    struct snapshot *snapshot, *next;

    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < 2; i++) {
        snprintf(path[i], sizeof path[i], "%s/%d.db", folder, i);
        good(db_open(path[i], i == 0 ? DB_CONTROL : DB_PERSONS, true, &db[i],
                 &info),
            &info);
    }
    good(db_execute(db[0], directory, &info), &info);
    struct snapshot_sources sources = {
        .control = db[0], .persons = db[1], .now_us = clock_now()};
    good(snapshot_build(&sources, NULL, CHANGED_ALL, &snapshot, &info), &info);
    /* The callers are taken over: teams and quotas must be found still. */
    good(snapshot_build(&sources, snapshot, CHANGED_KEYS, &next, &info), &info);
    for (int i = 0; i < 2; i++) {
        struct snapshot *s = i == 0 ? snapshot : next;
        const struct snapshot_caller *a = snapshot_find_caller(s, STR("cal_a"));
        const struct snapshot_issuer *corp =
            snapshot_find_issuer(s, STR("https://corp"));
        good(snapshot_join_teams(s, a, corp, groups, 4, arena, &joined), &info);
        assert_non_null(joined);
        assert_int_equal(joined->added_count, 1);
        assert_true(str_equal(joined->added[0], STR("deep")));
        assert_int_equal(joined->team_count, 3); /* all, deep, lab */
        assert_true(str_equal(joined->teams[0], STR("all")));
        assert_true(str_equal(joined->teams[2], STR("lab")));
        assert_true(str_equal(joined->queue_team, STR("deep")));
        assert_int_equal(joined->queue_weight, 9);
        assert_int_equal(joined->quota_count, 1); /* of all it had already */
        assert_string_equal(joined->quotas[0]->id, "quo_2");
        assert_true(str_equal(joined->quota_for[0].subject, STR("lab")));
        /* To the letter; of this issuer; and none at all. */
        good(
            snapshot_join_teams(s, a, corp, strange, 2, arena, &joined), &info);
        assert_null(joined);
        good(snapshot_join_teams(s, a, corp, NULL, 0, arena, &joined), &info);
        assert_null(joined);
        good(snapshot_join_teams(s, a,
                 snapshot_find_issuer(s, STR("https://bare")), groups, 4, arena,
                 &joined),
            &info);
        assert_null(joined);
    }
    snapshot_unref(&next);
    snapshot_unref(&snapshot);
    arena_free(&arena);
    for (int i = 0; i < 2; i++) {
        db_close(&db[i]);
        unlink(path[i]);
    }
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_bring_teams_for_one_request),
        cmocka_unit_test(what_is_taken_away_is_gone_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
