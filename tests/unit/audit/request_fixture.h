/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/unit/audit/request_fixture.h - real entries in a real journal: a small
 * invented hospital whose callers ask models, are permitted, denied and cut. */
#ifndef REQUEST_FIXTURE_H
#define REQUEST_FIXTURE_H

#include "tests/unit/audit/log_fixture.h"

#include "audit/entry.h"
#include "audit/indexer.h"
#include "lib/encode.h"
#include "schema/db.h"

struct traffic {
    struct journal_producer *producer;
    struct buf entry;
    uint64_t ticket;
    uint64_t number;   /* of the next request */
    size_t open_count; /* admitted, end not written yet */
    char open[64][ULID_LENGTH];
};

static inline void traffic_begin(struct traffic *t, struct journal *journal)
{
    *t = (struct traffic){0};
    buf_init(&t->entry, 70000);
    assert_int_equal(
        journal_producer_new(journal, 8 << 20, NULL, NULL, &t->producer),
        ERR_OK);
}

static inline void traffic_end(struct traffic *t)
{
    if (t->ticket != 0)
        assert_int_equal(journal_wait(t->producer, t->ticket), ERR_OK);
    journal_producer_free(&t->producer);
    buf_fini(&t->entry);
}

static inline void traffic_append(struct traffic *t, size_t time_offset)
{
    enum err err;
    assert_false(t->entry.failed);
    while ((err = journal_append(t->producer, buf_str(&t->entry), time_offset,
                0, &t->ticket)) == ERR_FULL) {
        journal_submit(t->producer);
        usleep(500);
    }
    assert_int_equal(err, ERR_OK);
    buf_clear(&t->entry);
}

/* The id of request `number`: the same in every run. */
static inline void traffic_id(uint64_t number, char out[ULID_LENGTH])
{
    uint8_t random[10] = {0};
    for (int i = 0; i < 8; i++)
        random[9 - i] = (uint8_t)(number >> (8 * i));
    ulid_write(out, INT64_C(1795421730123456) + (int64_t)number, random);
}

static inline struct str traffic_pick(
    const char *const *words, size_t count, uint64_t number)
{
    return str_from(words[number % count]);
}

static inline void traffic_finish(
    struct traffic *t, const char *id, const char *outcome, int64_t output)
{
    size_t at;
    struct audit_completed completed = {.id = str_make(id, ULID_LENGTH),
        .time_us = clock_now(),
        .outcome = str_from(outcome),
        .reason = str_from(strcmp(outcome, "ok") == 0 ? "" : "it broke"),
        .status = 200,
        .engine = STR_INIT("local"),
        .upstream = STR_INIT("tiny.gguf"),
        .attempts = 1,
        .input_tokens = 12,
        .output_tokens = output,
        .cached_tokens = -1,
        .cost = output * 3,
        .reasoning_tokens = -1,
        .usage_source = STR_INIT("engine"),
        .bytes_out = 400,
        .durable_us = 120,
        .first_byte_us = 900,
        .total_us = 2000};
    audit_entry_completed(&t->entry, &completed, &at);
    traffic_append(t, at);
}

/* One request of the pattern; every 10th is denied by a rule, every 25th by a
 * quota; ends come `lag` requests later. */
static inline void traffic_request(struct traffic *t, size_t lag)
{
    static const char *const callers[] = {
        "cal_alice", "cal_bob", "cal_carol", "cal_dave", "cal_erin"};
    static const char *const models[] = {"tiny", "tiny", "large"};
    static const struct str cardiology[] = {
        STR_INIT("cardiology"), STR_INIT("clinic")};
    static const struct str lab[] = {STR_INIT("clinic"), STR_INIT("lab")};
    static const struct str rule[] = {STR_INIT("staff-chat")};
    static const struct str no_rule[] = {STR_INIT("no-large")};
    uint64_t n = t->number++;
    char id[ULID_LENGTH];
    size_t at;
    traffic_id(n, id);
    bool by_rule = n % 10 == 9, by_quota = n % 25 == 3;
    struct audit_candidate candidate = {.engine = STR_INIT("local"),
        .model = traffic_pick(models, 3, n),
        .upstream = STR_INIT("tiny.gguf"),
        .permitted = !by_rule,
        .reason = STR_INIT("a rule forbids it"),
        .policies = by_rule ? no_rule : rule,
        .policy_count = 1,
        .max_tokens = -1};
    struct audit_request request = {.id = str_make(id, sizeof(id)),
        .time_us = clock_now(),
        .caller = traffic_pick(callers, 5, n),
        .key = STR_INIT("key_1"),
        .auth_method = STR_INIT("api_key"),
        .teams = n % 5 < 2 ? cardiology : lab,
        .team_count = 2,
        .route = STR_INIT("/v1/chat/completions"),
        .dialect = STR_INIT("openai"),
        .action = STR_INIT("chat"),
        .model_asked = traffic_pick(models, 3, n),
        .model = traffic_pick(models, 3, n),
        .policy_version = 3,
        .body_bytes = 205,
        .input_bound = 50,
        .cap = 64,
        .candidates = &candidate,
        .candidate_count = 1};
    if (by_rule || by_quota) {
        struct audit_denied denied = {
            .stage = by_rule ? STR("decide") : STR("reserve"),
            .status = by_rule ? 403 : 429,
            .code = by_rule ? STR("policy_denied") : STR("rate_limit_exceeded"),
            .message =
                by_rule ? STR("Large models are closed.") : STR("Too fast."),
            .quota = by_rule ? STR("") : STR("quo_1")};
        audit_entry_denied(&t->entry, &request, &denied, &at);
        traffic_append(t, at);
        return;
    }
    audit_entry_admitted(&t->entry, &request, &at);
    traffic_append(t, at);
    memcpy(t->open[t->open_count++], id, sizeof(id));
    if (t->open_count > lag) {
        traffic_finish(t, t->open[0], n % 7 == 0 ? "client_gone" : "ok",
            (int64_t)(n % 64));
        t->open_count--;
        memmove(t->open, t->open + 1, t->open_count * sizeof(t->open[0]));
    }
}

static inline void traffic_act(
    struct traffic *t, const char *type, const char *kind, const char *object)
{
    size_t at;
    struct audit_act act = {.type = str_from(type),
        .time_us = clock_now(),
        .actor = STR_INIT("adm_root"),
        .actor_method = STR_INIT("token"),
        .object_kind = str_from(kind),
        .object = str_from(object),
        .after = STR_INIT("{\"parent\":\"clinic\"}"),
        .reason = STR_INIT("as asked")};
    audit_entry_act(&t->entry, &act, &at);
    traffic_append(t, at);
}

static inline void traffic_requests(
    struct traffic *t, uint64_t count, size_t lag)
{
    for (uint64_t i = 0; i < count; i++)
        traffic_request(t, lag);
    journal_submit(t->producer);
    if (t->ticket != 0)
        assert_int_equal(journal_wait(t->producer, t->ticket), ERR_OK);
}

static inline uint64_t traffic_size(void *journal)
{
    return journal_size(journal);
}

static inline struct indexer *traffic_index(
    const struct fixture *fixture, struct journal *journal, uint64_t range)
{
    struct indexer_options options = {.state_dir = fixture->dir,
        .size = traffic_size,
        .context = journal,
        .range = range};
    struct indexer *indexer;
    struct errinfo info;
    if (indexer_start(&options, &indexer, &info) != ERR_OK)
        fail_msg("%s", info.text);
    return indexer;
}

static inline void traffic_indexed(
    struct indexer *indexer, struct journal *journal)
{
    struct errinfo why = {0};
    if (indexer_wait(indexer, journal_size(journal), 60 * SECOND_US) !=
        ERR_OK) {
        (void)indexer_failed(indexer, &why);
        fail_msg("not indexed: %s", why.text);
    }
}

#endif
