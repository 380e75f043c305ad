/* SPDX-License-Identifier: Apache-2.0
 *
 * One request's entries with their sentence, and the log as it is followed. */
#include "tests/unit/audit/request_fixture.h"

#include "audit/show.h"

struct world {
    struct fixture *fixture;
    struct audit_log *log;
    struct journal *journal;
    struct indexer *indexer;
    struct audit_index *index;
    struct audit_reader *reader;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct errinfo info = {0};
    struct traffic t;
    void *fixture;
    if (fixture_setup(&fixture) != 0)
        return -1;
    w->fixture = fixture;
    w->log = fixture_open_ok(w->fixture);
    fixture_start(w->log);
    w->journal = audit_log_journal(w->log);
    w->indexer = traffic_index(w->fixture, w->journal, 0);
    traffic_begin(&t, w->journal);
    traffic_requests(&t, 40, 5);
    traffic_act(&t, "admin.team.added", "team", "cardiology");
    traffic_end(&t);
    traffic_indexed(w->indexer, w->journal);
    if (audit_index_open(w->fixture->dir, &w->index, &info) != ERR_OK ||
        audit_reader_open(w->fixture->dir, &w->reader, &info) != ERR_OK)
        fail_msg("%s", info.text);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    void *fixture = w->fixture;
    audit_reader_close(&w->reader);
    audit_index_close(&w->index);
    indexer_stop(&w->indexer);
    audit_log_stop(&w->log);
    free(w);
    return fixture_teardown(&fixture);
}

static enum err show(
    struct world *w, const char *id, struct buf *out, struct errinfo *info)
{
    buf_init(out, 1 << 20);
    return audit_show(w->reader, w->index, journal_size(w->journal),
        str_from(id), NULL, out, NULL, info);
}

static void holds(struct buf *out, const char *words)
{
    if (!strstr(buf_cstr(out), words))
        fail_msg("\"%s\" is not in %s", words, buf_cstr(out));
}

static void test_a_request(void **state)
{
    struct world *w = *state;
    struct errinfo info = {0};
    char id[ULID_LENGTH + 1] = {0};
    struct buf out;
    traffic_id(0, id);
    assert_int_equal(show(w, id, &out, &info), ERR_OK);
    holds(&out, "request.admitted");
    holds(&out, "request.completed");
    holds(&out, "permitted by rule staff-chat of policy version 3; engine local"
                " answered 200");
    buf_fini(&out);
    traffic_id(9, id);
    assert_int_equal(show(w, id, &out, &info), ERR_OK);
    holds(&out, "denied by rule no-large of policy version 3 (403");
    buf_fini(&out);
}

static void test_by_its_place_in_the_log(void **state)
{
    struct world *w = *state;
    struct errinfo info = {0};
    char number[32], id[ULID_LENGTH + 1] = {0};
    struct buf out;
    /* the admission's place gives the whole request */
    assert_int_equal(show(w, "0", &out, &info), ERR_OK);
    traffic_id(0, id);
    holds(&out, id);
    holds(&out, "request.completed");
    buf_fini(&out);
    snprintf(number, sizeof(number), "%llu",
        (unsigned long long)journal_size(w->journal) - 1);
    assert_int_equal(show(w, number, &out, &info), ERR_OK);
    holds(&out, "adm_root added the team cardiology: as asked.");
    buf_fini(&out);
}

static void test_what_is_not_there(void **state)
{
    struct world *w = *state;
    struct errinfo info = {0};
    struct buf out;
    assert_int_equal(
        show(w, "01J00000000000000000000000", &out, &info), ERR_NOTFOUND);
    assert_int_equal(show(w, "nonsense", &out, &info), ERR_NOTFOUND);
    assert_non_null(strstr(info.text, "an id has 26 characters"));
    assert_int_equal(show(w, "99999999", &out, &info), ERR_NOTFOUND);
    assert_non_null(strstr(info.text, "ends before"));
    buf_fini(&out);
}

/* The index may be ahead of the size that an answer speaks of. */
static void test_no_more_than_the_size_asked_for(void **state)
{
    struct world *w = *state;
    struct errinfo info = {0};
    char id[ULID_LENGTH + 1] = {0};
    uint64_t places[8];
    size_t count = 0;
    struct buf out;
    traffic_id(0, id);
    assert_int_equal(audit_places(w->reader, w->index, journal_size(w->journal),
                         str_from(id), places, 8, &count, NULL, &info),
        ERR_OK);
    assert_int_equal(count, 2);
    buf_init(&out, 1 << 20);
    assert_int_equal(audit_show(w->reader, w->index, places[1], str_from(id),
                         NULL, &out, NULL, &info),
        ERR_OK);
    holds(&out, "request.admitted");
    assert_null(strstr(buf_cstr(&out), "request.completed"));
    buf_fini(&out);
}

static void test_following(void **state)
{
    struct world *w = *state;
    struct errinfo info = {0};
    struct buf out;
    uint64_t size = journal_size(w->journal), from = 0, seen = 0;
    buf_init(&out, 1 << 22);
    while (from < size) {
        uint64_t before = from;
        buf_clear(&out);
        assert_int_equal(
            audit_tail(w->reader, size, &from, 7, NULL, &out, &info), ERR_OK);
        assert_true(from > before && from - before <= 7);
        seen += from - before;
        holds(&out, "\"text\":\"");
    }
    assert_int_equal(seen, size);
    /* at the end there is nothing, and that is no error */
    buf_clear(&out);
    assert_int_equal(
        audit_tail(w->reader, size, &from, 7, NULL, &out, &info), ERR_OK);
    holds(&out, "{\"entries\":[],\"next\":");
    /* what is appended meanwhile comes next */
    struct traffic t;
    traffic_begin(&t, w->journal);
    traffic_act(&t, "policy.activated", "policy", "8");
    traffic_end(&t);
    buf_clear(&out);
    assert_int_equal(audit_tail(w->reader, journal_size(w->journal), &from, 7,
                         NULL, &out, &info),
        ERR_OK);
    holds(&out, "adm_root put policy version 8 into force: as asked.");
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request),
        cmocka_unit_test(test_by_its_place_in_the_log),
        cmocka_unit_test(test_what_is_not_there),
        cmocka_unit_test(test_no_more_than_the_size_asked_for),
        cmocka_unit_test(test_following),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
