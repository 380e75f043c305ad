/* SPDX-License-Identifier: Apache-2.0
 *
 * Counts and gaps against a plain walk over all rows, over several files. */
#include "tests/unit/audit/request_fixture.h"

#include "audit/index_file.h"
#include "audit/stats.h"
#include "lib/arena.h"

#define REQUESTS 1200

struct world {
    struct fixture *fixture;
    struct audit_log *log;
    struct indexer *indexer;
    struct audit_index *index;
    struct audit_result *all;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct audit_filter everything = {.limit = AUDIT_LIMIT_MAX};
    struct errinfo info = {0};
    struct traffic t;
    void *fixture;
    if (fixture_setup(&fixture) != 0)
        return -1;
    w->fixture = fixture;
    w->log = fixture_open_ok(w->fixture);
    fixture_start(w->log);
    struct journal *journal = audit_log_journal(w->log);
    w->indexer = traffic_index(w->fixture, journal, 512);
    traffic_begin(&t, journal);
    traffic_requests(&t, REQUESTS, 20);
    traffic_act(&t, "admin.team.added", "team", "lab");
    traffic_act(&t, "system.stopped", "", "");
    traffic_requests(&t, 0, 20); /* hands over */
    usleep(1200000);
    traffic_act(&t, "admin.team.added", "team", "ward");
    traffic_end(&t);
    traffic_indexed(w->indexer, journal);
    if (audit_index_open(w->fixture->dir, &w->index, &info) != ERR_OK ||
        audit_query(w->index, &everything, &w->all, NULL, &info) != ERR_OK)
        fail_msg("%s", info.text);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    void *fixture = w->fixture;
    audit_result_free(&w->all);
    audit_index_close(&w->index);
    indexer_stop(&w->indexer);
    audit_log_stop(&w->log);
    free(w);
    return fixture_teardown(&fixture);
}

static struct audit_stats *count(
    struct world *w, const struct audit_filter *filter, const char *by)
{
    struct audit_stats *stats;
    struct errinfo info = {0};
    if (audit_count(w->index, filter, str_from(by), &stats, NULL, &info) !=
        ERR_OK)
        fail_msg("%s: %s", by, info.text);
    return stats;
}

static const struct audit_group *group(
    const struct audit_stats *stats, const char *key)
{
    for (size_t i = 0; i < stats->count; i++)
        if (str_equal(stats->groups[i].keys[0], str_from(key)))
            return &stats->groups[i];
    fail_msg("there is no group %s", key);
    return NULL;
}

static void test_counts_are_those_of_a_walk(void **state)
{
    struct world *w = *state;
    struct audit_filter none = {0};
    struct audit_stats *stats = count(w, &none, "caller");
    int64_t requests = 0;
    assert_int_equal(stats->count, 5);
    for (size_t i = 0; i < stats->count; i++) {
        const struct audit_group *g = &stats->groups[i];
        int64_t records = 0, denied = 0, output = 0, cost = 0;
        for (size_t k = 0; k < w->all->count; k++) {
            const struct audit_row *row = &w->all->rows[k];
            if (!str_equal(row->caller, g->keys[0]))
                continue;
            records++;
            denied += !row->permitted;
            output += row->output > 0 ? row->output : 0;
            cost += row->cost > 0 ? row->cost : 0;
        }
        assert_int_equal(g->records, records);
        assert_int_equal(g->denied, denied);
        assert_int_equal(g->permitted, records - denied);
        assert_int_equal(g->output, output);
        assert_int_equal(g->cost, cost);
        assert_int_equal(cost, 3 * output);
        requests += records;
    }
    assert_int_equal(requests, REQUESTS);
    audit_stats_free(&stats);
}

/* What the files' tables of sums hold; dropped: only rows are left. */
static int64_t each_index_file(struct world *w, const char *sql)
{
    char folder[512], name[INDEX_NAME_SIZE], path[600];
    struct index_list list;
    struct errinfo info = {0};
    int64_t sum = 0;
    snprintf(folder, sizeof(folder), "%s/index", w->fixture->dir);
    if (index_list_load(folder, &list, &info) != ERR_OK)
        fail_msg("%s", info.text);
    assert_true(list.count >= 3);
    for (size_t i = 0; i < list.count; i++) {
        struct db *db;
        struct db_statement *s;
        index_file_name(name, list.firsts[i]);
        snprintf(path, sizeof(path), "%s/%s", folder, name);
        if (db_open(path, DB_INDEX, false, &db, &info) != ERR_OK ||
            db_prepare_once(db, str_from(sql), &s, &info) != ERR_OK)
            fail_msg("%s", info.text);
        if (db_step(s, &info) == ERR_OK)
            sum += db_column_int(s, 0);
        db_finalize(&s);
        db_close(&db);
    }
    index_list_fini(&list);
    return sum;
}

static void test_sums_are_those_of_the_rows(void **state)
{
    struct world *w = *state;
    static const char *const by[] = {"day", "hour,model", "model", "engine",
        "month,decision,status", "outcome", "version,stage,code",
        "route,action", "caller", "day,caller,decision"};
    struct audit_filter filters[] = {{0},
        {.since_us =
                w->all->rows[w->all->count - 1].time_us / HOUR_US * HOUR_US}};
    struct audit_stats *kept[2][10];
    /* Closed in good order, all full files have sums for all of their rows. */
    indexer_stop(&w->indexer);
    assert_true(each_index_file(w, "SELECT count(*) FROM tally_block") >= 2);
    int64_t summed = each_index_file(w, "SELECT sum(n) FROM tally");
    assert_true(summed > REQUESTS / 3);
    assert_int_equal(
        summed, each_index_file(w, "SELECT sum(n) FROM tally_caller"));
    for (size_t f = 0; f < 2; f++)
        for (size_t i = 0; i < 10; i++)
            kept[f][i] = count(w, &filters[f], by[i]);
    each_index_file(w, "DROP TABLE tally_rule");
    for (size_t f = 0; f < 2; f++) {
        for (size_t i = 0; i < 10; i++) {
            struct audit_stats *rows = count(w, &filters[f], by[i]);
            assert_int_equal(rows->count, kept[f][i]->count);
            assert_true(rows->count > 0);
            for (size_t k = 0; k < rows->count; k++) {
                const struct audit_group *a = &rows->groups[k], *b = NULL;
                for (size_t m = 0; m < rows->count && !b; m++) {
                    b = &kept[f][i]->groups[m];
                    for (size_t n = 0; n < rows->by_count && b; n++)
                        if (!str_equal(a->keys[n], b->keys[n]))
                            b = NULL;
                }
                assert_non_null(b);
                assert_int_equal(a->records, b->records);
                assert_int_equal(a->permitted, b->permitted);
                assert_int_equal(a->denied, b->denied);
                assert_int_equal(a->input, b->input);
                assert_int_equal(a->output, b->output);
                assert_int_equal(a->bytes_out, b->bytes_out);
            }
            audit_stats_free(&rows);
            audit_stats_free(&kept[f][i]);
        }
    }
}

static void test_every_word_of_by(void **state)
{
    static const char *const of_requests[] = {"hour", "day", "month", "caller",
        "key", "model", "engine", "route", "action", "decision", "version",
        "stage", "code", "quota", "status", "outcome", "model,decision",
        "day,caller,status"};
    static const char *const of_events[] = {
        "type", "actor", "object", "method", "day,type"};
    struct world *w = *state;
    struct audit_filter none = {0};
    for (size_t i = 0; i < sizeof(of_requests) / sizeof(*of_requests); i++) {
        struct audit_stats *stats = count(w, &none, of_requests[i]);
        int64_t sum = 0;
        for (size_t k = 0; k < stats->count; k++)
            sum += stats->groups[k].records;
        assert_true(stats->of_requests);
        assert_int_equal(sum, REQUESTS);
        audit_stats_free(&stats);
    }
    for (size_t i = 0; i < sizeof(of_events) / sizeof(*of_events); i++) {
        struct audit_stats *stats = count(w, &none, of_events[i]);
        int64_t sum = 0;
        for (size_t k = 0; k < stats->count; k++)
            sum += stats->groups[k].records;
        assert_false(stats->of_requests);
        assert_int_equal(sum, 3);
        audit_stats_free(&stats);
    }
}

static void test_one_of_many(void **state)
{
    struct world *w = *state;
    struct audit_filter none = {0};
    /* everybody is in the clinic: a request counts for each of its teams */
    struct audit_stats *stats = count(w, &none, "team");
    assert_int_equal(group(stats, "clinic")->records, REQUESTS);
    assert_int_equal(
        group(stats, "lab")->records + group(stats, "cardiology")->records,
        REQUESTS);
    audit_stats_free(&stats);
    stats = count(w, &none, "policy");
    assert_int_equal(
        group(stats, "no-large")->denied, group(stats, "no-large")->records);
    audit_stats_free(&stats);
}

static void test_filters_hold_for_counts(void **state)
{
    struct world *w = *state;
    struct audit_filter filter = {
        .policy = STR("no-large"), .caller = STR("cal_erin")};
    struct audit_stats *stats = count(w, &filter, "code");
    assert_int_equal(stats->count, 1);
    assert_true(str_equal(stats->groups[0].keys[0], STR("policy_denied")));
    int64_t want = 0;
    for (size_t k = 0; k < w->all->count; k++)
        want += str_equal(w->all->rows[k].caller, STR("cal_erin")) &&
                str_equal(w->all->rows[k].code, STR("policy_denied"));
    assert_int_equal(stats->groups[0].records, want);
    audit_stats_free(&stats);
}

static void test_bad_words(void **state)
{
    struct world *w = *state;
    struct audit_filter none = {0}, acts = {.actor = STR("adm_root")};
    struct audit_stats *stats;
    struct errinfo info = {0};
    assert_int_equal(
        audit_count(w->index, &none, STR("colour"), &stats, NULL, &info),
        ERR_INVALID);
    assert_non_null(strstr(info.text, "hour, day, month, caller"));
    assert_int_equal(
        audit_count(w->index, &acts, STR("model"), &stats, NULL, &info),
        ERR_INVALID);
    assert_int_equal(audit_count(w->index, &none, STR("day,day,day,day"),
                         &stats, NULL, &info),
        ERR_INVALID);
}

static void test_gaps(void **state)
{
    struct world *w = *state;
    struct audit_filter none = {0};
    struct audit_gaps *gaps;
    struct errinfo info = {0};
    if (audit_find_gaps(w->index, &none, SECOND_US, 10, &gaps, NULL, &info) !=
        ERR_OK)
        fail_msg("%s", info.text);
    assert_int_equal(gaps->records, REQUESTS + 3);
    assert_int_equal(gaps->count, 1);
    assert_true(gaps->items[0].stopped);
    assert_true(gaps->items[0].to_us - gaps->items[0].from_us >= SECOND_US);
    audit_gaps_free(&gaps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_are_those_of_a_walk),
        cmocka_unit_test(test_every_word_of_by),
        cmocka_unit_test(test_one_of_many),
        cmocka_unit_test(test_filters_hold_for_counts),
        cmocka_unit_test(test_bad_words),
        cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_sums_are_those_of_the_rows),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
