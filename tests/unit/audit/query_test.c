/* SPDX-License-Identifier: Apache-2.0
 *
 * Searching the index: every filter against a plain walk over all rows, pages
 * in both orders over several files, damage, and what is refused in words. */
#include "tests/unit/audit/request_fixture.h"

#include "audit/query.h"

#define RANGE 512
#define REQUESTS 1200
#define ACTS 12

struct world {
    struct fixture *fixture;
    struct audit_log *log;
    struct journal *journal;
    struct indexer *indexer;
    struct audit_index *index;
    struct audit_result *all; /* newest first */
};

static void append_failed(struct traffic *t, int64_t count)
{
    size_t at;
    struct audit_auth_failed failed = {.time_us = clock_now(),
        .first_us = clock_now(),
        .reason = STR_INIT("unknown"),
        .route = STR_INIT("/v1/models"),
        .count = count,
        .key = STR_INIT("key_9")};
    audit_entry_auth_failed(&t->entry, &failed, &at);
    traffic_append(t, at);
}

static void append_attempt(struct traffic *t)
{
    size_t at;
    struct audit_attempt attempt = {
        .id = str_make(t->open[t->open_count - 1], ULID_LENGTH),
        .time_us = clock_now(),
        .number = 1,
        .engine = STR_INIT("other"),
        .upstream = STR_INIT("tiny"),
        .error = STR_INIT("connection refused")};
    audit_entry_attempt(&t->entry, &attempt, &at);
    traffic_append(t, at);
}

static void append_withdrawn(struct traffic *t)
{
    size_t at;
    struct audit_withdrawn withdrawn = {
        .id = str_make(t->open[--t->open_count], ULID_LENGTH),
        .time_us = clock_now(),
        .reason = STR_INIT("deadline")};
    audit_entry_withdrawn(&t->entry, &withdrawn, &at);
    traffic_append(t, at);
}

static struct audit_result *ask(
    const struct world *w, const struct audit_filter *filter)
{
    struct audit_result *result;
    struct errinfo info = {0};
    if (audit_query(w->index, filter, &result, NULL, &info) != ERR_OK)
        fail_msg("%s", info.text);
    return result;
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct audit_filter all = {.limit = AUDIT_LIMIT_MAX};
    struct errinfo info = {0};
    struct traffic t;
    void *fixture;
    if (fixture_setup(&fixture) != 0)
        return -1;
    w->fixture = fixture;
    w->log = fixture_open_ok(w->fixture);
    fixture_start(w->log);
    w->journal = audit_log_journal(w->log);
    w->indexer = traffic_index(w->fixture, w->journal, RANGE);
    traffic_begin(&t, w->journal);
    for (int i = 0; i < ACTS; i++) {
        traffic_requests(&t, REQUESTS / ACTS, 30);
        traffic_act(&t, i % 2 ? "admin.team.added" : "policy.activated",
            i % 2 ? "team" : "policy", i % 2 ? "cardiology" : "7");
        append_failed(&t, i + 1);
        append_attempt(&t);
        append_withdrawn(&t);
    }
    traffic_end(&t);
    traffic_indexed(w->indexer, w->journal);
    if (audit_index_open(w->fixture->dir, &w->index, &info) != ERR_OK)
        fail_msg("%s", info.text);
    w->all = ask(w, &all);
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

static void set(struct audit_filter *filter, const char *name, const char *text)
{
    struct errinfo info = {0};
    if (audit_filter_set(filter, str_from(name), str_from(text), clock_now(),
            NULL, &info) != ERR_OK)
        fail_msg("%s", info.text);
}

/* --- Every filter --------------------------------------------------------- */

static bool in_array(struct str array, struct str word)
{
    char quoted[80];
    snprintf(quoted, sizeof(quoted), "\"%.*s\"", STR_ARG(word));
    return memmem(array.ptr, array.len, quoted, strlen(quoted)) != NULL;
}

/* What the row's own members say. */
static bool fits(const struct audit_row *row, const char *name, struct str v)
{
    bool request = row->kind == AUDIT_ROW_REQUEST;
    const struct {
        const char *name;
        struct str value;
        bool of_request, of_event;
    } same[] = {{"caller", row->caller, true, false},
        {"key", row->key, true, true}, {"model", row->model, true, false},
        {"engine", row->engine, true, false}, {"route", row->route, true, true},
        {"action", row->action, true, false},
        {"outcome", row->outcome, true, false},
        {"actor", row->actor, false, true},
        {"object", row->object, false, true}, {"id", row->id, true, true}};
    if (strcmp(name, "outcome") == 0 && str_equal(v, STR("open")))
        return request && row->permitted && row->end_seq < 0;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
        if (strcmp(name, same[i].name) == 0)
            return (request ? same[i].of_request : same[i].of_event) &&
                   str_equal(same[i].value, v);
    if (strcmp(name, "team") == 0)
        return request && in_array(row->teams, v);
    if (strcmp(name, "policy") == 0)
        return request && in_array(row->policies, v);
    if (strcmp(name, "decision") == 0)
        return request && row->permitted == str_equal(v, STR("permit"));
    if (strcmp(name, "status") == 0)
        return request && row->status > 0 &&
               row->status / 100 == v.ptr[0] - '0';
    /* type; request.admitted is every permitted one, however far it came */
    if (str_equal(v, STR("request.admitted")))
        return request && row->permitted;
    return str_starts(row->type, v);
}

static size_t expected(const struct world *w, const char *name, struct str v)
{
    size_t n = 0;
    for (size_t i = 0; i < w->all->count; i++)
        n += fits(&w->all->rows[i], name, v);
    return n;
}

static void test_every_filter_finds_what_a_walk_finds(void **state)
{
    static const struct {
        const char *name, *value;
    } cases[] = {{"caller", "cal_bob"}, {"key", "key_1"}, {"key", "key_9"},
        {"team", "clinic"}, {"team", "cardiology"}, {"model", "large"},
        {"engine", "local"}, {"decision", "permit"}, {"decision", "deny"},
        {"policy", "no-large"}, {"policy", "staff-chat"}, {"status", "403"},
        {"status", "4xx"}, {"status", "2xx"}, {"outcome", "ok"},
        {"outcome", "client_gone"}, {"outcome", "withdrawn"},
        {"outcome", "open"}, {"type", "request"}, {"type", "request.denied"},
        {"type", "request.admitted"}, {"type", "request.completed"},
        {"type", "request.withdrawn"}, {"type", "auth"},
        {"type", "auth.failed"}, {"type", "admin"},
        {"type", "admin.team.added"}, {"type", "policy"},
        {"route", "/v1/chat/completions"}, {"route", "/v1/models"},
        {"action", "chat"}, {"actor", "adm_root"}, {"object", "cardiology"}};
    struct world *w = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str value = str_from(cases[i].value);
        size_t want = expected(w, cases[i].name, value);
        if (str_equal(value, STR("403")))
            want = expected(w, "policy", STR("no-large"));
        for (int oldest = 0; oldest < 2; oldest++) {
            struct audit_filter filter = {.limit = AUDIT_LIMIT_MAX};
            set(&filter, cases[i].name, cases[i].value);
            set(&filter, "order", oldest ? "oldest" : "newest");
            struct audit_result *result = ask(w, &filter);
            if (result->count != want || want == 0)
                fail_msg("%s %s: %zu rows, not %zu", cases[i].name,
                    cases[i].value, result->count, want);
            for (size_t k = 0; k < result->count; k++) {
                bool good = str_equal(value, STR("403")) ||
                            fits(&result->rows[k], cases[i].name, value);
                assert_true(good);
                if (k > 0)
                    assert_true((result->rows[k].seq >
                                    result->rows[k - 1].seq) == oldest);
            }
            audit_result_free(&result);
        }
    }
}

static void test_requests_with_a_failed_attempt(void **state)
{
    struct world *w = *state;
    struct audit_filter filter = {.limit = AUDIT_LIMIT_MAX};
    set(&filter, "type", "request.attempt");
    struct audit_result *result = ask(w, &filter);
    assert_int_equal(result->count, ACTS);
    audit_result_free(&result);
}

static void test_filters_narrow_one_another(void **state)
{
    struct world *w = *state;
    struct audit_filter filter = {.limit = AUDIT_LIMIT_MAX};
    set(&filter, "caller", "cal_erin");
    set(&filter, "decision", "deny");
    set(&filter, "policy", "no-large");
    set(&filter, "team", "lab");
    struct audit_result *result = ask(w, &filter);
    size_t want = 0;
    for (size_t i = 0; i < w->all->count; i++)
        want += fits(&w->all->rows[i], "caller", STR("cal_erin")) &&
                fits(&w->all->rows[i], "policy", STR("no-large"));
    assert_int_equal(result->count, want);
    assert_true(want > 0);
    audit_result_free(&result);
}

static void test_times(void **state)
{
    struct world *w = *state;
    const struct audit_row *middle = &w->all->rows[w->all->count / 2];
    struct audit_filter filter = {.limit = AUDIT_LIMIT_MAX};
    size_t before = 0;
    for (size_t i = 0; i < w->all->count; i++)
        before += w->all->rows[i].time_us < middle->time_us;
    filter.until_us = middle->time_us;
    struct audit_result *result = ask(w, &filter);
    assert_int_equal(result->count, before);
    audit_result_free(&result);
    filter.until_us = 0;
    filter.since_us = middle->time_us;
    result = ask(w, &filter);
    assert_int_equal(result->count, w->all->count - before);
    audit_result_free(&result);
    /* none in an hour that has not come */
    filter = (struct audit_filter){.since_us = clock_now() + HOUR_US};
    result = ask(w, &filter);
    assert_int_equal(result->count, 0);
    assert_false(result->more);
    audit_result_free(&result);
}

/* --- Pages ---------------------------------------------------------------- */

static void walk_pages(struct world *w, bool oldest, const char *caller)
{
    struct audit_filter filter = {.limit = 37, .oldest_first = oldest};
    if (caller)
        set(&filter, "caller", caller);
    size_t seen = 0, want = 0;
    for (size_t i = 0; i < w->all->count; i++)
        want += !caller || fits(&w->all->rows[i], "caller", str_from(caller));
    uint64_t last = 0;
    for (;;) {
        struct audit_result *page = ask(w, &filter);
        assert_true(page->count <= 37);
        for (size_t i = 0; i < page->count; i++, seen++) {
            if (seen > 0)
                assert_true((page->rows[i].seq > last) == oldest);
            last = page->rows[i].seq;
            if (!caller)
                assert_int_equal(
                    last, w->all->rows[oldest ? want - 1 - seen : seen].seq);
        }
        bool more = page->more;
        filter.has_after = true;
        filter.after = last;
        audit_result_free(&page);
        if (!more)
            break;
    }
    assert_int_equal(seen, want);
}

static void test_pages_leave_nothing_out(void **state)
{
    struct world *w = *state;
    assert_int_equal(w->all->count, REQUESTS + 2 * ACTS);
    walk_pages(w, false, NULL);
    walk_pages(w, true, NULL);
    walk_pages(w, false, "cal_carol");
    walk_pages(w, true, "cal_carol");
}

/* --- Refusals and hints --------------------------------------------------- */

static void refused(const char *name, const char *value, const char *words)
{
    struct audit_filter filter = {0};
    struct errinfo info = {0};
    assert_int_equal(audit_filter_set(&filter, str_from(name), str_from(value),
                         clock_now(), NULL, &info),
        ERR_INVALID);
    if (!strstr(info.text, words))
        fail_msg("\"%s\" does not say \"%s\"", info.text, words);
}

static void test_bad_filters_are_errors_with_the_good_ones(void **state)
{
    refused("calller", "x", "did you mean \"caller\"?");
    refused("calller", "x", "since, until, caller, key");
    refused("decision", "allow", "none of permit, deny");
    refused("outcome", "fine", "client_gone, engine_error");
    refused("status", "40", "no HTTP status");
    refused("status", "6xx", "no HTTP status");
    refused("type", "reqest", "the families are request, auth");
    refused("type", "request.done", "admitted, denied, completed");
    refused("since", "yesterday", "write a date");
    refused("limit", "0", "from 1 to 10000");
    refused("after", "-1", "no number");
    refused("caller", "", "a value is missing");
    refused("order", "up", "newest, oldest");
}

static void test_filters_that_exclude_one_another(void **state)
{
    struct world *w = *state;
    static const char *const pairs[][2] = {
        {"caller", "actor"}, {"model", "object"}, {"decision", "actor"}};
    for (size_t i = 0; i < 3; i++) {
        struct audit_filter filter = {0};
        struct audit_result *result;
        struct errinfo info = {0};
        set(&filter, pairs[i][0], "deny");
        set(&filter, pairs[i][1], "deny");
        assert_int_equal(
            audit_query(w->index, &filter, &result, NULL, &info), ERR_INVALID);
        assert_non_null(strstr(info.text, "exclude one another"));
        assert_non_null(strstr(info.text, pairs[i][0]));
        assert_non_null(strstr(info.text, pairs[i][1]));
    }
}

static void test_an_empty_answer_says_why(void **state)
{
    static const char *const names[] = {"caller", "key", "team", "model",
        "engine", "policy", "route", "action", "actor", "object"};
    struct world *w = *state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct audit_filter filter = {0};
        char words[64];
        set(&filter, names[i], "nowhere");
        struct audit_result *result = ask(w, &filter);
        assert_int_equal(result->count, 0);
        snprintf(words, sizeof(words), "names the %s \"nowhere\"", names[i]);
        if (!result->note || !strstr(result->note, words))
            fail_msg("%s: %s", names[i], result->note ? result->note : "-");
        audit_result_free(&result);
    }
    /* both words are known: nothing to hint at */
    struct audit_filter filter = {0};
    set(&filter, "policy", "no-large");
    set(&filter, "decision", "permit");
    struct audit_result *result = ask(w, &filter);
    assert_int_equal(result->count, 0);
    assert_null(result->note);
    audit_result_free(&result);
}

/* --- Damage --------------------------------------------------------------- */

static void test_a_damaged_file_is_told_and_built_anew(void **state)
{
    struct world *w = *state;
    struct audit_filter filter = {.limit = AUDIT_LIMIT_MAX};
    struct audit_result *result;
    struct errinfo info = {0};
    uint64_t damaged = 0;
    char path[160];
    snprintf(path, sizeof(path), "%s/index/%012d.db", w->fixture->dir, RANGE);
    for (long at = 0; at < 4096; at++)
        fixture_flip(path, at, 0x5a);
    assert_int_equal(
        audit_query(w->index, &filter, &result, &damaged, &info), ERR_CORRUPT);
    assert_int_equal(damaged, RANGE);
    indexer_rebuild(w->indexer, damaged);
    size_t found = 0;
    for (int i = 0; i < 1000 && found != w->all->count; i++) {
        usleep(10000);
        if (audit_query(w->index, &filter, &result, NULL, NULL) != ERR_OK)
            continue;
        found = result->incomplete ? 0 : result->count;
        audit_result_free(&result);
    }
    assert_int_equal(found, w->all->count);
}

static void test_the_answer_as_json(void **state)
{
    struct world *w = *state;
    struct audit_filter filter = {.limit = 1};
    struct buf out;
    buf_init(&out, 1 << 20);
    set(&filter, "policy", "no-large");
    struct audit_result *result = ask(w, &filter);
    audit_result_json(result, NULL, &out);
    static const char *const members[] = {"\"decision\":\"deny\"",
        "\"code\":\"policy_denied\"", "\"policies\":[\"no-large\"]",
        "\"policyVersion\":3", "\"more\":true", "\"status\":403",
        "\"reason\":\"Large models are closed.\""};
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        if (!strstr(buf_cstr(&out), members[i]))
            fail_msg("%s is not in %s", members[i], buf_cstr(&out));
    audit_result_free(&result);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_filter_finds_what_a_walk_finds),
        cmocka_unit_test(test_requests_with_a_failed_attempt),
        cmocka_unit_test(test_filters_narrow_one_another),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_pages_leave_nothing_out),
        cmocka_unit_test(test_bad_filters_are_errors_with_the_good_ones),
        cmocka_unit_test(test_filters_that_exclude_one_another),
        cmocka_unit_test(test_an_empty_answer_says_why),
        cmocka_unit_test(test_the_answer_as_json),
        cmocka_unit_test(test_a_damaged_file_is_told_and_built_anew),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
