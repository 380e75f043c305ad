/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/unit/audit/replay_test.c - what entries add up to, and the state file
 * that keeps it. The entries are written by audit/entry.c. */
#include "log_fixture.h"

#include "audit/entry.h"
#include "audit/replay.h"
#include "audit/state.h"
#include "lib/encode.h"

#define ULID_A STR("01J9ZQ3V7Y8X6W5T4S3R2Q1P0A")
#define ULID_B STR("01J9ZQ3V7Y8X6W5T4S3R2Q1P0B")
#define DAY_1 (INT64_C(1795392000) * SECOND_US)

static uint64_t next_index;

static void play(struct replay *replay, struct buf *entry)
{
    struct errinfo info = {0};
    if (replay_entry(replay, next_index++, buf_str(entry), &info) != ERR_OK)
        fail_msg("%s: %.*s", info.text, STR_ARG(buf_str(entry)));
    buf_clear(entry);
}

static void admitted(struct replay *replay, struct str id, int64_t time_us,
    const struct audit_quota_figure *quotas, size_t count)
{
    struct buf entry;
    buf_init(&entry, 65535);
    struct audit_request request = {.id = id,
        .time_us = time_us,
        .caller = STR("clr_1"),
        .route = STR("/v1/chat/completions"),
        .context = STR("{\"quotas\":[{\"bucket\":\"trap\"}]}"),
        .quotas = quotas,
        .quota_count = count};
    size_t time_offset;
    audit_entry_admitted(&entry, &request, &time_offset);
    play(replay, &entry);
    buf_fini(&entry);
}

static void completed(struct replay *replay, struct str id, int64_t time_us,
    const struct audit_quota_figure *quotas, size_t count)
{
    struct buf entry;
    buf_init(&entry, 65535);
    struct audit_completed done = {.id = id,
        .time_us = time_us,
        .outcome = STR("ok"),
        .quotas = quotas,
        .quota_count = count};
    size_t time_offset;
    audit_entry_completed(&entry, &done, &time_offset);
    play(replay, &entry);
    buf_fini(&entry);
}

static void withdrawn(struct replay *replay, struct str id,
    const struct audit_quota_figure *quotas, size_t count)
{
    struct buf entry;
    buf_init(&entry, 65535);
    struct audit_withdrawn gone = {.id = id,
        .time_us = DAY_1,
        .reason = STR("deadline"),
        .quotas = quotas,
        .quota_count = count};
    size_t time_offset;
    audit_entry_withdrawn(&entry, &gone, &time_offset);
    play(replay, &entry);
    buf_fini(&entry);
}

static const struct audit_bucket *bucket_of(
    const struct audit_replayed *result, const char *id)
{
    for (size_t i = 0; i < result->bucket_count; i++)
        if (strcmp(result->buckets[i].id, id) == 0)
            return &result->buckets[i];
    fail_msg("no bucket %s", id);
    return NULL;
}

static int setup(void **state)
{
    struct errinfo info = {0};
    next_index = 0;
    *state = replay_new();
    return crypto_init(&info) == ERR_OK && *state != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    struct replay *replay = *state;
    replay_free(&replay);
    return 0;
}

static struct audit_quota_figure day(int64_t start, int64_t reserved)
{
    return (struct audit_quota_figure){.bucket = STR("qta_day"),
        .window_start_us = start,
        .limit = 1000,
        .reserved = reserved};
}

static void test_calendar(void **state)
{
    struct replay *replay = *state;
    struct audit_replayed result;
    struct audit_quota_figure figures[2] = {
        day(DAY_1, 100),
        {.bucket = STR("qta_life"), .limit = 9999, .reserved = 7},
    };
    admitted(replay, ULID_A, DAY_1 + 5, figures, 2);
    admitted(replay, ULID_B, DAY_1 + 6, figures, 2);
    replay_result(replay, &result);
    assert_int_equal(result.bucket_count, 2);
    assert_int_equal(bucket_of(&result, "qta_day")->used, 200);
    assert_int_equal(bucket_of(&result, "qta_day")->window_start_us, DAY_1);
    assert_int_equal(bucket_of(&result, "qta_life")->used, 14);
    assert_int_equal(bucket_of(&result, "qta_life")->window_start_us, 0);
    assert_int_equal(result.open_count, 2);
    figures[0].settled = 30;
    figures[1].settled = 1;
    completed(replay, ULID_A, DAY_1 + 7, figures, 2);
    replay_result(replay, &result);
    assert_int_equal(bucket_of(&result, "qta_day")->used, 130);
    assert_int_equal(bucket_of(&result, "qta_life")->used, 8);
    assert_int_equal(result.open_count, 1);
    assert_string_equal(result.open[0].id, ULID_B.ptr);
    assert_int_equal(result.last_time_us, DAY_1 + 7);
    figures[0].settled = figures[1].settled = 0;
    withdrawn(replay, ULID_B, figures, 2);
    replay_result(replay, &result);
    assert_int_equal(bucket_of(&result, "qta_day")->used, 30);
    assert_int_equal(result.open_count, 0);
}

/* The window has moved on: a settlement of the old one changes nothing, a
 * late admission to it neither. */
static void test_window_moves_forward(void **state)
{
    struct replay *replay = *state;
    struct audit_replayed result;
    struct audit_quota_figure old = day(DAY_1, 100),
                              new = day(DAY_1 + DAY_US, 40);
    admitted(replay, ULID_A, DAY_1, &old, 1);
    admitted(replay, ULID_B, DAY_1, &new, 1);
    admitted(replay, STR("01J9ZQ3V7Y8X6W5T4S3R2Q1P0C"), DAY_1, &old, 1);
    old.settled = 0;
    completed(replay, ULID_A, DAY_1, &old, 1);
    replay_result(replay, &result);
    assert_int_equal(bucket_of(&result, "qta_day")->used, 40);
    assert_int_equal(
        bucket_of(&result, "qta_day")->window_start_us, DAY_1 + DAY_US);
    new.settled = 25;
    completed(replay, ULID_B, DAY_1, &new, 1);
    replay_result(replay, &result);
    assert_int_equal(bucket_of(&result, "qta_day")->used, 25);
}

static void test_rate(void **state)
{
    struct replay *replay = *state;
    struct audit_replayed result;
    struct audit_quota_figure figure = {.bucket = STR("qta_rate"),
        .rate = true,
        .limit = 60,
        .reserved = 1,
        .arrival_us = DAY_1 + 1000,
        .step = 5};
    admitted(replay, ULID_A, DAY_1, &figure, 1);
    /* An earlier step that came later into the log. */
    figure.step = 4;
    figure.arrival_us = DAY_1 + 500;
    admitted(replay, ULID_B, DAY_1, &figure, 1);
    replay_result(replay, &result);
    assert_true(bucket_of(&result, "qta_rate")->rate);
    assert_int_equal(bucket_of(&result, "qta_rate")->arrival_us, DAY_1 + 1000);
    assert_int_equal(bucket_of(&result, "qta_rate")->step, 5);
    /* A settlement lowers it. */
    figure.step = 6;
    figure.arrival_us = DAY_1 + 200;
    completed(replay, ULID_A, DAY_1, &figure, 1);
    replay_result(replay, &result);
    assert_int_equal(bucket_of(&result, "qta_rate")->arrival_us, DAY_1 + 200);
    assert_int_equal(bucket_of(&result, "qta_rate")->step, 6);
}

static void test_acts(void **state)
{
    struct replay *replay = *state;
    struct audit_replayed result;
    struct buf entry;
    buf_init(&entry, 65535);
    size_t time_offset;
    struct audit_act act = {.type = STR("admin.team.added"),
        .time_us = DAY_1,
        .actor = STR("adm_1"),
        .actor_method = STR("token"),
        .outbox = 12,
        .control_digest = STR("0123456789abcdef0123456789abcdef"
                              "0123456789abcdef0123456789abcdef")};
    audit_entry_act(&entry, &act, &time_offset);
    play(replay, &entry);
    replay_result(replay, &result);
    assert_int_equal(result.outbox, 12);
    assert_true(result.has_control_digest);
    assert_int_equal(result.control_digest[1], 0x23);
    act.outbox = 0;
    act.control_digest = STR("");
    audit_entry_act(&entry, &act, &time_offset);
    play(replay, &entry);
    replay_result(replay, &result);
    assert_int_equal(result.outbox, 12);
    assert_true(result.has_control_digest);
    buf_fini(&entry);
}

static void test_unreadable(void **state)
{
    static const char *const bad[] = {
        "", "{}", "[]", "{\"type\":\"x\"}",
        "{\"time\":\"2026-11-23T08:15:30.123456Z\",\"type\":7}",
        "{\"id\":\"short\",\"quotas\":[],\"time\":\"2026-11-23T08:15:30."
        "123456Z\","
        "\"type\":\"request.admitted\"}",
        "{\"id\":\"01J9ZQ3V7Y8X6W5T4S3R2Q1P0A\",\"quotas\":[{\"bucket\":\"q\","
        "\"reserved\":1,\"window\":\"lifetime\"},{\"bucket\":\"q\"}],"
        "\"time\":\"2026-11-23T08:15:30.123456Z\",\"type\":\"request."
        "admitted\"}",
        "{\"controlDigest\":\"12\",\"time\":\"2026-11-23T08:15:30."
        "123456Z\",\"type\":\"admin.x\"}",
        "{\"time\":\"2026-11-23T08:15:30.123456Z\",\"type\":\"admin.x\","
        "\"outbox\":12}", /* out of order */
    };
    struct replay *replay = *state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct errinfo info = {0};
        if (replay_entry(replay, i, str_from(bad[i]), &info) != ERR_SYNTAX)
            fail_msg("%s", bad[i]);
    }
    struct audit_replayed result;
    replay_result(replay, &result);
    assert_int_equal(result.bucket_count, 0);
    assert_int_equal(result.open_count, 0);
}

/* Many come and go in any order; the table keeps exactly those that are open,
 * and the state file brings them back. */
static void test_many_and_the_state_file(void **state)
{
    enum { MANY = 3000 };
    struct replay *replay = *state;
    static bool open[MANY];
    unsigned seed = 7;
    char id[ULID_LENGTH + 1];
    size_t count = 0;
    for (int i = 0; i < 20000; i++) {
        unsigned n = (unsigned)rand_r(&seed) % MANY;
        snprintf(id, sizeof(id), "01J9ZQ3V7Y8X6W5T4S3R%06u", n);
        char bucket[24];
        snprintf(bucket, sizeof(bucket), "qta_%u", n % 50);
        struct audit_quota_figure figure = day(DAY_1, 10);
        figure.bucket = str_from(bucket);
        figure.settled = 10;
        if (open[n])
            completed(replay, str_from(id), DAY_1, &figure, 1);
        else
            admitted(replay, str_from(id), DAY_1, &figure, 1);
        open[n] = !open[n];
        count += open[n] ? 1 : (size_t)-1;
    }
    char dir[] = "/tmp/state-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct audit_state saved, loaded;
    struct errinfo info = {0};
    static const uint8_t identity[SHA256_SIZE] = {1, 2, 3};
    static const uint8_t other[SHA256_SIZE] = {1, 2, 4};
    assert_int_equal(state_init(&saved, identity), ERR_OK);
    replay_free(&saved.replay);
    saved.replay = replay;
    saved.place =
        (struct journal_place){.sequence = 3, .offset = 4097, .index = 20000};
    saved.last =
        (struct journal_place){.sequence = 3, .offset = 4096, .index = 19999};
    for (unsigned i = 0; i < 20000; i++) {
        struct merkle_hash leaf = {{(uint8_t)i}};
        merkle_push(&saved.tree, NULL, &leaf, NULL, NULL);
    }
    saved.sealed = true;
    saved.signed_size = 19000;
    bool fallback;
    assert_int_equal(
        state_load(dir, identity, &loaded, &fallback, &info), ERR_NOTFOUND);
    assert_int_equal(state_save(dir, &saved, &info), ERR_OK);
    if (state_load(dir, identity, &loaded, &fallback, &info) != ERR_OK)
        fail_msg("%s", info.text);
    assert_false(fallback);
    assert_memory_equal(&loaded.place, &saved.place, sizeof(saved.place));
    assert_memory_equal(&loaded.last, &saved.last, sizeof(saved.last));
    /* Slots that the size does not use hold whatever they held. */
    struct merkle_hash root, root_loaded;
    merkle_root(&saved.tree, NULL, &root);
    merkle_root(&loaded.tree, NULL, &root_loaded);
    assert_int_equal(loaded.tree.size, saved.tree.size);
    assert_memory_equal(&root, &root_loaded, sizeof(root));
    assert_int_equal(loaded.signed_size, 19000);
    assert_true(loaded.sealed);
    struct audit_replayed result;
    replay_result(loaded.replay, &result);
    assert_int_equal(result.open_count, count);
    assert_int_equal(result.bucket_count, 50);
    for (size_t i = 0; i < count; i++) {
        unsigned long n = strtoul(result.open[i].id + 20, NULL, 10);
        assert_true(open[n]);
        open[n] = false;
    }
    state_fini(&loaded);
    assert_int_equal(
        state_load(dir, other, &loaded, &fallback, &info), ERR_DENIED);
    /* Any flipped byte is noticed. */
    char path[64];
    snprintf(path, sizeof(path), "%s/state", dir);
    for (long at = 0; at < 3000; at += 7) {
        fixture_flip(path, at, 0x20);
        assert_int_not_equal(
            state_load(dir, identity, &loaded, &fallback, &info), ERR_OK);
        fixture_flip(path, at, 0x20);
    }
    saved.signed_size = 20000;
    assert_int_equal(state_save(dir, &saved, &info), ERR_OK);
    fixture_flip(path, 100, 0x20);
    assert_int_equal(
        state_load(dir, identity, &loaded, &fallback, &info), ERR_OK);
    assert_true(fallback);
    assert_int_equal(loaded.signed_size, 19000);
    state_fini(&loaded);
    saved.replay = NULL;
    fixture_run("rm -r %s", dir);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_calendar),
        TEST(test_window_moves_forward),
        TEST(test_rate),
        TEST(test_acts),
        TEST(test_unreadable),
        TEST(test_many_and_the_state_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
