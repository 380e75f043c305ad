/* SPDX-License-Identifier: Apache-2.0
 *
 * Searching and counting over random requests, by random pairs and triples of
 * conditions, against a plain walk over what was put in: several files, many
 * chunks, ends that come long after the chunk was laid out, values that nearly
 * never meet. */
#include "tests/unit/audit/log_fixture.h"

#include "audit/index_file.h"
#include "audit/query.h"
#include "audit/stats.h"
#include "lib/encode.h"

#define SPAN 20000
#define FILES 3
#define ENTRIES (SPAN * FILES)
#define QUESTIONS 150

/* What was put in; texts are of static arrays. */
struct made {
    bool request, permitted, ended, attempt;
    const char *caller, *key, *team, *rule, *model, *engine, *outcome, *code;
    int status, version;
    int64_t output, cost;
    uint64_t end_seq;
};
static struct made made[ENTRIES];
static uint64_t seed;

static unsigned below(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 11) % n;
}

#define NAMES_OF(name, ...) static const char *const name[] = {__VA_ARGS__}
NAMES_OF(callers, "cal_0", "cal_1", "cal_2", "cal_3", "cal_4", "cal_5", "cal_6",
    "cal_7", "cal_8", "cal_9");
NAMES_OF(keys, "key_0", "key_1", "key_2", "key_3", "key_4", "key_5", "key_6",
    "key_7", "key_8", "key_9");
NAMES_OF(teams, "clinic", "lab", "ward");
NAMES_OF(rules, "open", "night", "closed");
NAMES_OF(models, "tiny", "large", "coder", "rare");
NAMES_OF(engines, "one", "two");
NAMES_OF(outcomes, "ok", "ok", "ok", "cut", "engine_error");
NAMES_OF(codes, "policy_denied", "insufficient_quota");
#define PICK(words) words[below(sizeof(words) / sizeof(words[0]))]

static void make(struct made *m, uint64_t seq)
{
    unsigned caller = below(10);
    *m = (struct made){.request = true,
        .permitted = below(6) != 0,
        .caller = callers[caller],
        .key = keys[caller],
        .team = teams[caller % 3],
        .rule = PICK(rules),
        .model = models[below(3)],
        .engine = PICK(engines),
        .version = 1 + (int)(seq / 25000),
        .output = -1,
        .cost = -1};
    /* Frequent each, and together once in a long while. */
    if (caller == 3 && strcmp(m->model, "tiny") == 0 && below(500) != 0)
        m->model = "large";
    if (below(9000) == 0)
        m->model = "rare";
    if (!m->permitted) {
        m->code = PICK(codes);
        m->status = m->code == codes[0] ? 403 : 429;
    }
}

static void id_of(uint64_t seq, char out[ULID_LENGTH])
{
    uint8_t random[10] = {0};
    for (int i = 0; i < 8; i++)
        random[9 - i] = (uint8_t)(seq >> (8 * i));
    ulid_write(out, INT64_C(1795421730123456), random);
}

static int64_t time_of(uint64_t seq)
{
    return INT64_C(1795421730000000) + (int64_t)seq * 7 * SECOND_US;
}

static void event_of(const struct made *m, uint64_t seq, const char *id,
    struct str rule[1], struct str team[1], char teams_json[32],
    struct audit_event *out)
{
    rule[0] = str_from(m->rule);
    team[0] = str_from(m->team);
    snprintf(teams_json, 32, "[\"%s\"]", m->team);
    *out = (struct audit_event){
        .kind = m->permitted ? AUDIT_ADMITTED : AUDIT_DENIED,
        .type = m->permitted ? STR("request.admitted") : STR("request.denied"),
        .id = str_make(id, ULID_LENGTH),
        .time_us = time_of(seq),
        .caller = str_from(m->caller),
        .key = str_from(m->key),
        .method = STR("api_key"),
        .teams = {team, 1},
        .teams_json = str_from(teams_json),
        .action = STR("chat"),
        .route = STR("/v1/chat/completions"),
        .asked = str_from(m->model),
        .model = str_from(m->model),
        .policy_version = m->version,
        .policies = {rule, 1},
        .engine = str_from(m->permitted ? m->engine : NULL),
        .code = str_from(m->code),
        .stage = m->permitted ? STR("") : STR("decide"),
        .message = m->permitted ? STR("") : STR("Not today."),
        .status = m->status,
        .cap = -1};
}

static void end_of(struct made *m, uint64_t seq, uint64_t end_seq,
    const char *id, struct audit_event *out)
{
    m->ended = true;
    m->end_seq = end_seq;
    m->outcome = PICK(outcomes);
    m->status = strcmp(m->outcome, "engine_error") == 0 ? 502 : 200;
    m->output = below(100);
    m->cost = below(3) ? (int64_t)below(50) : -1;
    if (below(4) == 0)
        m->engine = PICK(engines); /* another one served it */
    *out = (struct audit_event){.kind = AUDIT_COMPLETED,
        .type = STR("request.completed"),
        .id = str_make(id, ULID_LENGTH),
        .time_us = time_of(end_seq),
        .outcome = str_from(m->outcome),
        .reason = strcmp(m->outcome, "cut") == 0 ? STR("It broke.") : STR(""),
        .engine = str_from(m->engine),
        .status = m->status,
        .attempts = 1,
        .input = 1,
        .output = m->output,
        .cost = m->cost,
        .first_byte_us = -1,
        .total_us = -1};
    (void)seq;
}

/* Ends that are due, by the entry that they are: the request's place plus one.
 * Entries that no end is due at open a request. */
static uint32_t due[ENTRIES];

static void plan_end(uint64_t seq)
{
    /* at once, soon, after the chunk is laid out, in another file */
    static const unsigned lags[] = {3, 40, 300, 9000, 15000, 30000};
    uint64_t at = seq + 1 + below(lags[below(6)]);
    while (at < ENTRIES && due[at] != 0)
        at++;
    if (at < ENTRIES && below(50) != 0)
        due[at] = (uint32_t)seq + 1;
}

static void put(struct index_file **files, uint64_t seq)
{
    struct errinfo info = {0};
    struct audit_event event;
    struct str rule[1], team[1];
    char id[ULID_LENGTH], teams_json[32];
    bool found = true;
    enum err err;
    if (due[seq] != 0) {
        uint64_t opened = due[seq] - 1;
        struct made *m = &made[opened];
        struct index_file *file = files[opened / SPAN];
        id_of(opened, id);
        assert_int_equal(index_file_begin(file, &info), ERR_OK);
        if (below(20) == 0) {
            m->attempt = true;
            event = (struct audit_event){.kind = AUDIT_ATTEMPT,
                .type = STR("request.attempt"),
                .id = str_make(id, ULID_LENGTH),
                .time_us = time_of(seq)};
            assert_int_equal(
                index_file_end_request(file, seq, &event, &found, &info),
                ERR_OK);
        }
        end_of(m, opened, seq, id, &event);
        err = index_file_end_request(file, seq, &event, &found, &info);
    } else {
        make(&made[seq], seq);
        id_of(seq, id);
        event_of(&made[seq], seq, id, rule, team, teams_json, &event);
        err = index_file_add(files[seq / SPAN], seq, &event, 0, NULL, &info);
        if (made[seq].permitted)
            plan_end(seq);
    }
    if (err != ERR_OK || !found)
        fail_msg("entry %u: %s", (unsigned)seq, info.text);
}

struct world {
    struct fixture *fixture;
    struct audit_index *index;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct index_file *files[FILES] = {0};
    struct errinfo info = {0};
    void *fixture;
    char dir[160];
    if (fixture_setup(&fixture) != 0)
        return -1;
    w->fixture = fixture;
    seed = 88172645463325252u;
    snprintf(dir, sizeof(dir), "%s/index", w->fixture->dir);
    assert_int_equal(file_make_dir(dir, 0700, &info), ERR_OK);
    /* One is missing, so that the newest file is not full. */
    for (uint64_t seq = 0; seq + 1 < ENTRIES; seq++) {
        struct index_file **file = &files[seq / SPAN];
        if (!*file)
            assert_int_equal(
                index_file_open(dir, seq, SPAN, file, &info), ERR_OK);
        assert_int_equal(index_file_begin(*file, &info), ERR_OK);
        put(files, seq);
        if (seq % 3000 == 2999 || seq % SPAN == SPAN - 1) {
            for (size_t i = 0; i < FILES; i++)
                if (files[i] && files[i] != *file)
                    assert_int_equal(
                        index_file_commit(files[i], 0, NULL, &info), ERR_OK);
            assert_int_equal(
                index_file_commit(*file, seq + 1, NULL, &info), ERR_OK);
        }
    }
    for (size_t i = 0; i < FILES; i++) {
        assert_int_equal(index_file_commit(files[i],
                             i + 1 < FILES ? 0 : ENTRIES - 1, NULL, &info),
            ERR_OK);
        index_file_close(&files[i], true);
    }
    if (audit_index_open(w->fixture->dir, &w->index, &info) != ERR_OK)
        fail_msg("%s", info.text);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    void *fixture = w->fixture;
    audit_index_close(&w->index);
    free(w);
    return fixture_teardown(&fixture);
}

/* --- Questions ------------------------------------------------------------ */

struct asked {
    const char *name, *value;
};

static struct asked any_condition(void)
{
    char const *const statuses[] = {"200", "4xx", "403", "5xx", "2xx", "418"};
    NAMES_OF(types, "request.denied", "request.admitted", "request.completed",
        "request.attempt", "request");
    NAMES_OF(ends, "ok", "cut", "engine_error", "open");
    NAMES_OF(versions, "1", "2", "3");
    NAMES_OF(words, "today", "not TODAY", "broke", "nowhere");
    switch (below(13)) {
    case 0:
        return (struct asked){"caller", PICK(callers)};
    case 1:
        return (struct asked){"key", PICK(keys)};
    case 2:
        return (struct asked){"team", PICK(teams)};
    case 3:
        return (struct asked){"policy", PICK(rules)};
    case 4:
    case 5:
        return (struct asked){"model", PICK(models)};
    case 6:
        return (struct asked){"engine", PICK(engines)};
    case 7:
        return (struct asked){"status", PICK(statuses)};
    case 8:
        return (struct asked){"outcome", PICK(ends)};
    case 9:
        return (struct asked){"type", PICK(types)};
    case 10:
        return (struct asked){"version", PICK(versions)};
    case 11:
        return (struct asked){"text", PICK(words)};
    default:
        return (struct asked){"code", PICK(codes)};
    }
}

static bool same(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

static bool fits(const struct made *m, const struct asked *q)
{
    if (!m->request)
        return false;
    if (same(q->name, "caller"))
        return same(m->caller, q->value);
    if (same(q->name, "key"))
        return same(m->key, q->value);
    if (same(q->name, "team"))
        return same(m->team, q->value);
    if (same(q->name, "policy"))
        return same(m->rule, q->value);
    if (same(q->name, "model"))
        return same(m->model, q->value);
    if (same(q->name, "engine"))
        return m->permitted && same(m->engine, q->value);
    if (same(q->name, "status"))
        return m->status > 0 && m->status / 100 == q->value[0] - '0' &&
               (q->value[1] == 'x' || m->status == atoi(q->value));
    if (same(q->name, "outcome"))
        return same(q->value, "open") ? m->permitted && !m->ended
                                      : same(m->outcome, q->value);
    if (same(q->name, "version"))
        return m->version == atoi(q->value);
    if (same(q->name, "code"))
        return same(m->code, q->value);
    if (same(q->name, "text"))
        return same(q->value, "broke")              ? same(m->outcome, "cut")
               : strcasestr("Not today.", q->value) ? !m->permitted
                                                    : false;
    if (same(q->value, "request.denied"))
        return !m->permitted;
    if (same(q->value, "request.admitted"))
        return m->permitted;
    if (same(q->value, "request.completed"))
        return m->ended;
    if (same(q->value, "request.attempt"))
        return m->attempt;
    return true;
}

struct question {
    struct asked asked[3];
    size_t count;
    uint64_t low, high; /* seq of the range of time, [low, high) */
    struct audit_filter filter;
};

static void any_question(struct question *q, bool counted)
{
    struct errinfo info = {0};
    *q = (struct question){.high = ENTRIES - 1};
    size_t wanted = 1 + below(3);
    for (int tries = 0; q->count < wanted && tries < 20; tries++) {
        struct asked one = any_condition();
        bool twice = counted && same(one.name, "type");
        for (size_t i = 0; i < q->count; i++)
            twice = twice || same(one.name, q->asked[i].name);
        if (!twice)
            q->asked[q->count++] = one;
    }
    for (size_t i = 0; i < q->count; i++)
        if (audit_filter_set(&q->filter, str_from(q->asked[i].name),
                str_from(q->asked[i].value), 0, NULL, &info) != ERR_OK)
            fail_msg("%s", info.text);
    if (below(3) == 0) {
        q->low = below(ENTRIES);
        q->filter.since_us = time_of(q->low);
    }
    if (below(3) == 0) {
        uint64_t high = below(ENTRIES);
        if (high < q->high)
            q->high = high;
        q->filter.until_us = time_of(q->high);
    }
}

static bool is_answer(const struct question *q, uint64_t seq)
{
    if (seq < q->low || seq >= q->high)
        return false;
    for (size_t i = 0; i < q->count; i++)
        if (!fits(&made[seq], &q->asked[i]))
            return false;
    return made[seq].request;
}

static void describe(const struct question *q, struct buf *out)
{
    for (size_t i = 0; i < q->count; i++)
        buf_printf(out, "%s=%s ", q->asked[i].name, q->asked[i].value);
    buf_printf(out, "in [%u, %u)", (unsigned)q->low, (unsigned)q->high);
}

/* Page by page, until there is no more; a page that takes too long goes on. */
static void walk(struct world *w, struct question *q, bool oldest)
{
    struct errinfo info = {0};
    struct buf words;
    uint64_t at = oldest ? 0 : ENTRIES; /* the last answer, or one before all */
    bool more = true, begun = false;
    buf_init(&words, 4096);
    describe(q, &words);
    q->filter.oldest_first = oldest;
    q->filter.limit = 1 + below(400);
    q->filter.has_after = false;
    while (more) {
        struct audit_result *page;
        if (audit_query(w->index, &q->filter, &page, NULL, &info) != ERR_OK)
            fail_msg("%s: %s", buf_cstr(&words), info.text);
        assert_true(page->count <= q->filter.limit);
        assert_true(page->count > 0 || !page->more || page->unfinished);
        for (size_t i = 0; i < page->count; i++) {
            uint64_t next = oldest ? at + begun : at - 1;
            while (next < ENTRIES && !is_answer(q, next))
                next += oldest ? 1 : UINT64_MAX;
            begun = true;
            if (page->rows[i].seq != next)
                fail_msg("%s: entry %llu, not %llu", buf_cstr(&words),
                    (unsigned long long)page->rows[i].seq,
                    (unsigned long long)next);
            at = next;
            assert_int_equal(page->rows[i].cost, made[at].cost);
        }
        more = page->more;
        q->filter.has_after = true;
        q->filter.after = page->next;
        audit_result_free(&page);
    }
    uint64_t next = oldest ? at + begun : at - 1;
    while (next < ENTRIES && !is_answer(q, next))
        next += oldest ? 1 : UINT64_MAX;
    if (next < ENTRIES)
        fail_msg("%s: entry %llu is missing", buf_cstr(&words),
            (unsigned long long)next);
    buf_fini(&words);
}

static void test_random_questions(void **state)
{
    for (int i = 0; i < QUESTIONS; i++) {
        struct question q;
        any_question(&q, false);
        walk(*state, &q, i % 2);
    }
}

static void test_two_that_hardly_ever_meet(void **state)
{
    struct question q = {.asked = {{"caller", "cal_3"}, {"model", "tiny"}},
        .count = 2,
        .high = ENTRIES - 1};
    size_t met = 0;
    q.filter.caller = STR("cal_3");
    q.filter.model = STR("tiny");
    for (uint64_t seq = 0; seq < ENTRIES; seq++)
        met += is_answer(&q, seq);
    assert_true(met > 0 && met < 20);
    walk(*state, &q, false);
    walk(*state, &q, true);
}

/* Pages that give up at once still come to the end, and leave nothing out. */
static void test_pages_out_of_patience(void **state)
{
    for (int i = 0; i < 30; i++) {
        struct question q;
        any_question(&q, false);
        q.filter.patience_us = 1;
        walk(*state, &q, i % 2);
    }
}

static void test_random_counts(void **state)
{
    struct world *w = *state;
    NAMES_OF(bys, "model", "caller", "day,model", "engine", "status", "outcome",
        "version", "hour", "month,key", "caller,model", "policy,code", "code",
        "team", "policy", "decision", "key");
    for (int i = 0; i < QUESTIONS; i++) {
        struct question q;
        struct audit_stats *stats;
        struct errinfo info = {0};
        struct buf words;
        const char *by = PICK(bys);
        int64_t records = 0, denied = 0, output = 0, cost = 0;
        any_question(&q, true);
        buf_init(&words, 4096);
        describe(&q, &words);
        if (audit_count(w->index, &q.filter, str_from(by), &stats, NULL,
                &info) != ERR_OK)
            fail_msg("%s: %s", buf_cstr(&words), info.text);
        for (uint64_t seq = 0; seq < ENTRIES; seq++) {
            if (!is_answer(&q, seq))
                continue;
            records++;
            denied += !made[seq].permitted;
            output += made[seq].output > 0 ? made[seq].output : 0;
            cost += made[seq].cost > 0 ? made[seq].cost : 0;
        }
        for (size_t k = 0; k < stats->count; k++) {
            records -= stats->groups[k].records;
            denied -= stats->groups[k].denied;
            output -= stats->groups[k].output;
            cost -= stats->groups[k].cost;
        }
        if (records || denied || output || cost)
            fail_msg("%s by %s: %d records, %d denied, %d tokens, %d of cost "
                     "are missing",
                buf_cstr(&words), by, (int)records, (int)denied, (int)output,
                (int)cost);
        audit_stats_free(&stats);
        buf_fini(&words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_questions),
        cmocka_unit_test(test_two_that_hardly_ever_meet),
        cmocka_unit_test(test_pages_out_of_patience),
        cmocka_unit_test(test_random_counts),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
