/* SPDX-License-Identifier: Apache-2.0
 *
 * Every entry type: the bytes of a full one, the least one, both against
 * schema/audit-event.schema.json; bounds and cutting; find_time; speed. */
#include "audit/entry.h"

#include "lib/crypto.h"
#include "lib/json_schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

extern const char schema_audit_event_schema_json[];

#define ULID STR_INIT("01J9ZQ3V7Y8X6W5T4S3R2Q1P0N")
#define TIME INT64_C(1795421730123456) /* 2026-11-23T08:15:30.123456Z */
#define HEX64                                                                  \
    STR_INIT("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde" \
             "f")

static struct json_schema *schema;

static int setup(void **state)
{
    struct errinfo info = {0};
    if (crypto_init(&info) != ERR_OK ||
        json_schema_new(str_from(schema_audit_event_schema_json), &schema,
            &info) != ERR_OK) {
        print_message("%s\n", info.text);
        return -1;
    }
    return 0;
}

static int teardown(void **state)
{
    json_schema_free(&schema);
    return 0;
}

static void assert_valid(struct str entry, size_t time_offset)
{
    struct errinfo info = {0};
    size_t found = 0;
    if (json_schema_check(schema, entry, &info) != ERR_OK)
        fail_msg("%s\n%.*s", info.text, STR_ARG(entry));
    assert_true(entry.len <= 65535);
    assert_int_equal(audit_entry_find_time(entry, &found), ERR_OK);
    assert_int_equal(found, time_offset);
}

static void assert_text(struct buf *out, size_t time_offset, const char *text)
{
    assert_false(out->failed);
    assert_string_equal(buf_cstr(out), text);
    assert_valid(buf_str(out), time_offset);
    assert_memory_equal(out->ptr + out->start + time_offset,
        "2026-11-23T08:15:30.123456Z", CLOCK_TEXT_LENGTH);
    buf_clear(out);
}

static const struct str teams[] = {STR_INIT("cardiology"), STR_INIT("clinic")};
static const struct str rules[] = {STR_INIT("staff-chat")};
static const struct str faulty[] = {STR_INIT("odd")};
static const struct audit_candidate candidates[] = {
    {.engine = STR_INIT("local"),
        .model = STR_INIT("tiny"),
        .upstream = STR_INIT("tiny.gguf"),
        .permitted = true,
        .policies = rules,
        .policy_count = 1,
        .errors = faulty,
        .error_count = 1,
        .max_tokens = 512,
        .record_full = true},
    {.engine = STR_INIT("far"),
        .model = STR_INIT("tiny"),
        .upstream = STR_INIT("t"),
        .reason = STR_INIT("no rule permits it"),
        .advice = faulty,
        .advice_count = 1,
        .max_tokens = -1},
};
static const struct audit_quota_figure figures[] = {
    {.bucket = STR_INIT("quo_1"),
        .rate = true,
        .limit = 60,
        .used = 3,
        .reserved = 1,
        .settled = 1,
        .arrival_us = TIME + 1,
        .step = 7},
    {.bucket = STR_INIT("quo_2"),
        .window_start_us = TIME,
        .limit = 1000,
        .used = 10,
        .reserved = 90,
        .settled = 46},
    {.bucket = STR_INIT("quo_3"), .limit = 9007199254740991, .reserved = 90},
};

static struct audit_request full_request(void)
{
    return (struct audit_request){.id = ULID,
        .time_us = TIME,
        .caller = STR_INIT("cal_1"),
        .key = STR_INIT("key_1"),
        .auth_method = STR_INIT("api_key"),
        .teams = teams,
        .team_count = 2,
        .route = STR_INIT("/v1/chat/completions"),
        .dialect = STR_INIT("openai"),
        .action = STR_INIT("chat"),
        .model_asked = STR_INIT("gpt-4"),
        .model = STR_INIT("tiny"),
        .context = STR_INIT("{\"time\":{\"time\":\"x\"}}"),
        .policy_version = 3,
        .policy_hash = HEX64,
        .snapshot = STR_INIT("00ff"),
        .body_bytes = 205,
        .body_digest = HEX64,
        .digest_key = STR_INIT("1"),
        .input_bound = 50,
        .cap = 40,
        .cap_injected = true,
        .stream = true,
        .stripped = faulty,
        .stripped_count = 1,
        .candidates = candidates,
        .candidate_count = 2,
        .quotas = figures,
        .quota_count = 3,
        .trace = STR_INIT("0123456789abcdef0123456789abcdef"),
        .sealed = {.key_id = STR_INIT("aa"), .box = STR_INIT("\x01\x02\x03")}};
}

#define HEX64_TEXT                                                             \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define REQUEST_HEAD                                                           \
    "{\"action\":\"chat\",\"auth\":{\"key\":\"key_1\",\"method\":\"api_key\"}" \
    ",\"caller\":\"cal_1\",\"candidates\":[{\"engine\":\"local\",\"errors\":"  \
    "[\"odd\"],\"maxTokens\":512,\"model\":\"tiny\",\"permitted\":true,"       \
    "\"policies\":[\"staff-chat\"],\"recordFull\":true,\"upstream\":"          \
    "\"tiny.gguf\"},{\"advice\":[\"odd\"],"                                    \
    "\"engine\":\"far\",\"model\":\"tiny\",\"permitted\":"                     \
    "false,\"policies\":[],\"reason\":\"no rule permits it\",\"upstream\":"    \
    "\"t\"}],\"cap\":40,\"capInjected\":true,\"context\":{\"time\":{\"time\":" \
    "\"x\"}},"
#define REQUEST_MIDDLE                                                         \
    "\"id\":\"01J9ZQ3V7Y8X6W5T4S3R2Q1P0N\",\"input\":{\"body\":205,\"bound\":" \
    "50,\"digest\":\"" HEX64_TEXT "\",\"digestKey\":\"1\"},\"model\":"         \
    "{\"asked\":\"gpt-4\",\"name\":\"tiny\"},\"policy\":{\"hash\":"            \
    "\"" HEX64_TEXT "\",\"version\":3},"
#define REQUEST_TAIL                                                           \
    "\"route\":\"/v1/chat/completions\",\"sealed\":{\"box\":\"AQID\",\"key\":" \
    "\"aa\"},\"snapshot\":\"00ff\",\"stream\":true,\"stripped\":[\"odd\"],"    \
    "\"teams\":[\"cardiology\",\"clinic\"],\"time\":"                          \
    "\"2026-11-23T08:15:30.123456Z\",\"trace\":"                               \
    "\"0123456789abcdef0123456789abcdef\","
#define FIGURES_ASKED                                                          \
    "\"quotas\":[{\"asked\":1,\"bucket\":\"quo_1\",\"limit\":60,\"used\":3,"   \
    "\"window\":\"minute\"},{\"asked\":90,\"bucket\":\"quo_2\",\"limit\":"     \
    "1000,\"used\":10,\"window\":\"2026-11-23T08:15:30.123456Z\"},"            \
    "{\"asked\":90,\"bucket\":\"quo_3\",\"limit\":9007199254740991,\"used\":"  \
    "0,\"window\":\"lifetime\"}],"
#define FIGURES_SETTLED                                                        \
    "\"quotas\":[{\"arrival\":\"2026-11-23T08:15:30.123457Z\",\"bucket\":"     \
    "\"quo_1\",\"reserved\":1,\"settled\":1,\"step\":7,\"window\":"            \
    "\"minute\"},{\"bucket\":\"quo_2\",\"reserved\":90,\"settled\":46,"        \
    "\"window\":\"2026-11-23T08:15:30.123456Z\"},{\"bucket\":\"quo_3\","       \
    "\"reserved\":90,\"settled\":0,\"window\":\"lifetime\"}],"

static void requests_are_written_in_full(void **state)
{
    struct audit_request request = full_request();
    struct buf out;
    size_t at;
    buf_init(&out, 70000);
    audit_entry_admitted(&out, &request, &at);
    assert_text(&out, at,
        REQUEST_HEAD
        "\"dialect\":\"openai\"," REQUEST_MIDDLE
        "\"quotas\":[{\"arrival\":\"2026-11-23T08:15:30.123457Z\","
        "\"bucket\":\"quo_1\",\"limit\":60,\"reserved\":1,"
        "\"step\":7,\"used\":3,\"window\":\"minute\"},"
        "{\"bucket\":\"quo_2\",\"limit\":1000,\"reserved\":90,"
        "\"used\":10,\"window\":\"2026-11-23T08:15:30.123456Z\"},"
        "{\"bucket\":\"quo_3\",\"limit\":9007199254740991,"
        "\"reserved\":90,\"used\":0,\"window\":\"lifetime\"}]," REQUEST_TAIL
        "\"type\":\"request.admitted\",\"v\":1}");

    struct audit_denied denied = {.stage = STR_INIT("reserve"),
        .status = 429,
        .code = STR_INIT("insufficient_quota"),
        .message = STR_INIT("The budget is spent."),
        .quota = STR_INIT("quo_2")};
    audit_entry_denied(&out, &request, &denied, &at);
    assert_text(&out, at,
        REQUEST_HEAD
        "\"denied\":{\"code\":\"insufficient_quota\",\"message\":"
        "\"The budget is spent.\",\"quota\":\"quo_2\",\"stage\":\"reserve\","
        "\"status\":429},\"dialect\":\"openai\"," REQUEST_MIDDLE FIGURES_ASKED
            REQUEST_TAIL "\"type\":\"request.denied\",\"v\":1}");

    audit_entry_measured(&out, &request, STR("local"), &at);
    assert_text(&out, at,
        REQUEST_HEAD
        "\"dialect\":\"openai\",\"engine\":\"local\"," REQUEST_MIDDLE
            FIGURES_ASKED REQUEST_TAIL
        "\"type\":\"request.measured\",\"v\":1}");
    buf_fini(&out);
}

static void teams_by_groups_are_never_cut(void **state)
{
    struct audit_request request = full_request();
    struct str many[20];
    char name[129];
    struct buf out;
    size_t at;
    buf_init(&out, 70000);
    request.group_teams = teams;
    request.group_team_count = 1;
    audit_entry_measured(&out, &request, STR("local"), &at);
    assert_text(&out, at,
        REQUEST_HEAD
        "\"dialect\":\"openai\",\"engine\":\"local\","
        "\"groupTeams\":[\"cardiology\"]," REQUEST_MIDDLE FIGURES_ASKED
            REQUEST_TAIL "\"type\":\"request.measured\",\"v\":1}");
    /* As many as may be are all there; more make no entry at all. */
    memset(name, 'n', sizeof name);
    for (int i = 0; i < 20; i++)
        many[i] = str_make(name, 128);
    request.group_teams = many;
    request.group_team_count = AUDIT_GROUP_TEAMS_BYTES / (128 + 3);
    audit_entry_admitted(&out, &request, &at);
    assert_valid(buf_str(&out), at);
    assert_false(out.failed);
    buf_clear(&out);
    request.group_team_count = 20;
    audit_entry_admitted(&out, &request, &at);
    assert_true(out.failed);
    buf_fini(&out);
}

static void the_least_request_is_valid(void **state)
{
    struct audit_request request = {.id = ULID, .time_us = TIME, .cap = -1};
    struct audit_denied denied = {.status = 404};
    struct buf out;
    size_t at;
    buf_init(&out, 70000);
    audit_entry_admitted(&out, &request, &at);
    assert_valid(buf_str(&out), at);
    assert_null(strstr(buf_cstr(&out), "\"cap\":"));
    assert_non_null(strstr(buf_cstr(&out), "\"context\":{}"));
    buf_clear(&out);
    audit_entry_denied(&out, &request, &denied, &at);
    assert_valid(buf_str(&out), at);
    buf_clear(&out);
    audit_entry_measured(&out, &request, STR(""), &at);
    assert_valid(buf_str(&out), at);
    buf_fini(&out);
}

static void endings_are_written(void **state)
{
    struct buf out;
    size_t at;
    buf_init(&out, 70000);
    struct audit_attempt attempt = {.id = ULID,
        .time_us = TIME,
        .number = 1,
        .engine = STR_INIT("local"),
        .upstream = STR_INIT("t"),
        .status = 502,
        .error = STR_INIT("refused\n")};
    audit_entry_attempt(&out, &attempt, &at);
    assert_text(&out, at,
        "{\"engine\":\"local\",\"error\":\"refused\\n\",\"id\":"
        "\"01J9ZQ3V7Y8X6W5T4S3R2Q1P0N\",\"number\":1,\"status\":502,\"time\":"
        "\"2026-11-23T08:15:30.123456Z\",\"type\":\"request.attempt\","
        "\"upstream\":\"t\",\"v\":1}");

    struct audit_completed completed = {.id = ULID,
        .time_us = TIME,
        .outcome = STR_INIT("cut"),
        .reason = STR_INIT("output cap"),
        .status = 200,
        .engine = STR_INIT("local"),
        .upstream = STR_INIT("t"),
        .attempts = 2,
        .input_tokens = 12,
        .output_tokens = 34,
        .cached_tokens = 0,
        .cost = -1,
        .reasoning_tokens = -1,
        .usage_source = STR_INIT("engine"),
        .bytes_out = 420,
        .answer_digest = HEX64,
        .digest_key = STR_INIT("1"),
        .durable_us = 120,
        .first_byte_us = 900,
        .total_us = 1000,
        .quotas = figures,
        .quota_count = 3};
    audit_entry_completed(&out, &completed, &at);
    assert_text(&out, at,
        "{\"answer\":{\"digest\":\"" HEX64_TEXT
        "\",\"digestKey\":\"1\"},\"attempts\":2,\"bytesOut\":420,\"engine\":"
        "\"local\",\"id\":\"01J9ZQ3V7Y8X6W5T4S3R2Q1P0N\",\"latency\":"
        "{\"durable\":120,\"firstByte\":900,\"total\":1000},\"outcome\":"
        "\"cut\"," FIGURES_SETTLED
        "\"reason\":\"output cap\",\"status\":200,\"time\":"
        "\"2026-11-23T08:15:30.123456Z\",\"type\":\"request.completed\","
        "\"upstream\":\"t\",\"usage\":{\"cached\":0,\"input\":12,\"output\":34,"
        "\"source\":\"engine\"},\"v\":1}");

    struct audit_completed least = {.id = ULID,
        .time_us = TIME,
        .outcome = STR_INIT("interrupted"),
        .input_tokens = -1,
        .output_tokens = -1,
        .cached_tokens = -1,
        .cost = -1,
        .reasoning_tokens = -1,
        .durable_us = -1,
        .first_byte_us = -1,
        .total_us = -1};
    audit_entry_completed(&out, &least, &at);
    assert_text(&out, at,
        "{\"attempts\":0,\"bytesOut\":0,\"id\":\"01J9ZQ3V7Y8X6W5T4S3R2Q1P0N\","
        "\"latency\":{},\"outcome\":\"interrupted\",\"quotas\":[],\"time\":"
        "\"2026-11-23T08:15:30.123456Z\",\"type\":\"request.completed\","
        "\"usage\":{\"source\":\"none\"},\"v\":1}");

    struct audit_withdrawn withdrawn = {.id = ULID,
        .time_us = TIME,
        .reason = STR_INIT("deadline"),
        .quotas = figures,
        .quota_count = 3};
    audit_entry_withdrawn(&out, &withdrawn, &at);
    assert_text(&out, at,
        "{\"id\":\"01J9ZQ3V7Y8X6W5T4S3R2Q1P0N\"," FIGURES_SETTLED
        "\"reason\":\"deadline\",\"time\":\"2026-11-23T08:15:30.123456Z\","
        "\"type\":\"request.withdrawn\",\"v\":1}");
    buf_fini(&out);
}

static void acts_are_written(void **state)
{
    struct buf out;
    size_t at;
    buf_init(&out, 200000);
    struct audit_act act = {.type = STR_INIT("admin.team.added"),
        .time_us = TIME,
        .actor = STR_INIT("adm_1"),
        .actor_method = STR_INIT("token"),
        .actor_certificate = HEX64,
        .object_kind = STR_INIT("team"),
        .object = STR_INIT("cardiology"),
        .before = STR_INIT("{\"time\":\"2020-01-01T00:00:00.000000Z\"}"),
        .after = STR_INIT("{\"parent\":\"\\\"}\"}"),
        .detail = STR_INIT("{}"),
        .reason = STR_INIT("new ward"),
        .outbox = 4,
        .control_digest = HEX64,
        .id = ULID};
    audit_entry_act(&out, &act, &at);
    assert_text(&out, at,
        "{\"actor\":{\"certificate\":\"" HEX64_TEXT
        "\",\"id\":\"adm_1\",\"method\":\"token\"},\"after\":"
        "{\"parent\":\"\\\"}\"},\"before\":{\"time\":"
        "\"2020-01-01T00:00:00.000000Z\"},\"controlDigest\":\"" HEX64_TEXT
        "\",\"detail\":{},\"id\":\"01J9ZQ3V7Y8X6W5T4S3R2Q1P0N\",\"object\":"
        "{\"id\":\"cardiology\",\"kind\":\"team\"},\"outbox\":4,\"reason\":"
        "\"new ward\",\"time\":\"2026-11-23T08:15:30.123456Z\",\"type\":"
        "\"admin.team.added\",\"v\":1}");

    /* A document that is too long says so; its own id is made. */
    struct buf big;
    buf_init(&big, 100000);
    buf_printf(&big, "{\"text\":\"%*s\"}", 40000, "x");
    struct audit_act wide = {.type = STR_INIT("system.started"),
        .time_us = TIME,
        .detail = buf_str(&big)};
    audit_entry_act(&out, &wide, &at);
    assert_valid(buf_str(&out), at);
    assert_non_null(strstr(buf_cstr(&out),
        "\"detail\":{\"omitted\":{\"bytes\":40011,\"sha256\":"));
    buf_clear(&out);
    buf_fini(&big);

    struct audit_auth_failed failed = {.time_us = TIME,
        .first_us = TIME,
        .reason = STR_INIT("expired"),
        .route = STR_INIT("/v1/models"),
        .count = 3,
        .key = STR_INIT("key_1"),
        .sealed = {.key_id = STR_INIT("aa"), .box = STR_INIT("x")},
        .id = ULID};
    audit_entry_auth_failed(&out, &failed, &at);
    assert_text(&out, at,
        "{\"count\":3,\"first\":\"2026-11-23T08:15:30.123456Z\",\"id\":"
        "\"01J9ZQ3V7Y8X6W5T4S3R2Q1P0N\",\"key\":\"key_1\",\"reason\":"
        "\"expired\",\"route\":\"/v1/models\",\"sealed\":{\"box\":\"eA==\","
        "\"key\":\"aa\"},\"time\":\"2026-11-23T08:15:30.123456Z\",\"type\":"
        "\"auth.failed\",\"v\":1}");
    buf_fini(&out);
}

/* The worst of everything still fits, is valid, and says what it left out. */
static void entries_stay_within_their_maximum(void **state)
{
    static char noise[70000];
    struct str many[200];
    struct audit_candidate wide[40];
    struct str few[16];
    char plain[128];
    memset(plain, 'n', sizeof plain);
    for (int i = 0; i < 16; i++)
        few[i] = str_make(plain, sizeof plain);
    struct audit_quota_figure quotas[AUDIT_QUOTAS_MAX];
    struct buf out, context;
    size_t at;
    for (int kind = 0; kind < 4; kind++) {
        /* control characters; broken UTF-8; quotes; long characters */
        for (size_t i = 0; i < sizeof(noise); i++)
            noise[i] = kind == 0   ? '\x01'
                       : kind == 1 ? '\xF0'
                       : kind == 2 ? '"'
                                   : "\xE2\x82\xAC"[i % 3];
        struct str all = str_make(noise, sizeof(noise) - 1);
        struct audit_request request = full_request();
        for (size_t i = 0; i < 200; i++)
            many[i] = all;
        for (size_t i = 0; i < 40; i++)
            wide[i] = (struct audit_candidate){.engine = all,
                .model = all,
                .upstream = all,
                .reason = all,
                .policies = many,
                .policy_count = 200,
                .errors = many,
                .error_count = 200,
                .advice = many,
                .advice_count = 200,
                .max_tokens = INT64_MAX};
        for (size_t i = 0; i < AUDIT_QUOTAS_MAX; i++)
            quotas[i] = (struct audit_quota_figure){.bucket = all,
                .rate = true,
                .limit = INT64_MAX,
                .used = INT64_MAX,
                .reserved = INT64_MAX,
                .settled = INT64_MAX,
                .arrival_us = INT64_MAX,
                .step = UINT64_MAX};
        buf_init(&context, AUDIT_CONTEXT_MAX + 64);
        buf_printf(&context, "{\"text\":\"%*s\"}", AUDIT_CONTEXT_MAX - 11, "x");
        assert_int_equal(context.len, AUDIT_CONTEXT_MAX);
        request.context = buf_str(&context);
        request.caller = request.key = request.auth_method = all;
        request.route = request.dialect = request.action = all;
        request.model_asked = request.model = all;
        request.teams = request.stripped = many;
        request.team_count = request.stripped_count = 200;
        request.group_teams = few;
        request.group_team_count = AUDIT_GROUP_TEAMS_BYTES / (128 + 3);
        request.candidates = wide;
        request.candidate_count = 40;
        request.quotas = quotas;
        request.quota_count = AUDIT_QUOTAS_MAX;
        request.body_bytes = request.input_bound = request.cap = INT64_MAX;
        request.policy_version = INT64_MAX;
        request.sealed.key_id = all;
        request.sealed.box = str_make(noise, AUDIT_BOX_MAX);
        struct audit_denied denied = {.stage = all,
            .status = 403,
            .code = all,
            .message = all,
            .quota = all};
        buf_init(&out, 70000);
        audit_entry_denied(&out, &request, &denied, &at);
        assert_valid(buf_str(&out), at);
        assert_non_null(strstr(buf_cstr(&out), "\"candidatesMore\":"));
        assert_non_null(strstr(buf_cstr(&out), "\"teamsMore\":"));
        assert_non_null(strstr(buf_cstr(&out), "\"strippedMore\":"));
        buf_clear(&out);
        const struct audit_content content = {.key_id = all,
            .blob = HEX64,
            .commitment = HEX64,
            .bytes = INT64_MAX};
        request.content = content;
        request.retention = all;
        audit_entry_admitted(&out, &request, &at);
        assert_valid(buf_str(&out), at);
        assert_non_null(strstr(buf_cstr(&out), "\"content\":{\"blob\":\"01"));
        assert_non_null(strstr(buf_cstr(&out), "\"retention\":"));
        buf_clear(&out);

        struct audit_completed completed = {.id = ULID,
            .time_us = TIME,
            .outcome = STR_INIT("ok"),
            .reason = all,
            .status = 200,
            .engine = all,
            .upstream = all,
            .attempts = INT64_MAX,
            .input_tokens = INT64_MAX,
            .output_tokens = INT64_MAX,
            .cached_tokens = INT64_MAX,
            .cost = INT64_MAX,
            .reasoning_tokens = INT64_MAX,
            .usage_source = STR_INIT("engine"),
            .bytes_out = INT64_MAX,
            .answer_digest = HEX64,
            .digest_key = all,
            .content = content,
            .content_lost = all,
            .durable_us = INT64_MAX,
            .first_byte_us = INT64_MAX,
            .total_us = INT64_MAX,
            .quotas = quotas,
            .quota_count = AUDIT_QUOTAS_MAX};
        audit_entry_completed(&out, &completed, &at);
        assert_valid(buf_str(&out), at);
        assert_true(out.len <= AUDIT_COMPLETION_MAX);
        buf_clear(&out);

        struct audit_act act = {.type = STR_INIT("policy.put"),
            .time_us = TIME,
            .actor = all,
            .actor_method = all,
            .object_kind = all,
            .object = all,
            .before = buf_str(&context),
            .after = buf_str(&context),
            .detail = buf_str(&context),
            .reason = all,
            .sealed = request.sealed};
        audit_entry_act(&out, &act, &at);
        assert_valid(buf_str(&out), at);
        buf_fini(&out);
        buf_fini(&context);
    }
}

static void texts_are_cut_at_a_character(void **state)
{
    struct audit_attempt attempt = {.id = ULID, .time_us = TIME, .number = 1};
    struct buf out, name;
    size_t at;
    buf_init(&out, 70000);
    buf_init(&name, 1000);
    /* 254 bytes and a three-byte character: one byte too many */
    buf_printf(&name, "%0254d\xE2\x82\xAC", 0);
    attempt.engine = buf_str(&name);
    audit_entry_attempt(&out, &attempt, &at);
    assert_valid(buf_str(&out), at);
    assert_non_null(strstr(buf_cstr(&out), "000\xE2\x80\xA6\",\"error\""));
    buf_clear(&out);
    /* exactly at the maximum: whole */
    buf_clear(&name);
    buf_printf(&name, "%0253d\xE2\x82\xAC", 0);
    attempt.engine = buf_str(&name);
    audit_entry_attempt(&out, &attempt, &at);
    assert_non_null(strstr(buf_cstr(&out), "000\xE2\x82\xAC\",\"error\""));
    buf_fini(&name);
    buf_fini(&out);
}

/* The offset counts from the entry, not from the buffer. */
static void entries_may_follow_one_another(void **state)
{
    struct audit_attempt attempt = {.id = ULID, .time_us = TIME, .number = 1};
    struct buf out;
    size_t first, second;
    buf_init(&out, 70000);
    audit_entry_attempt(&out, &attempt, &first);
    size_t length = out.len;
    audit_entry_attempt(&out, &attempt, &second);
    assert_int_equal(first, second);
    assert_int_equal(out.len, 2 * length);
    buf_fini(&out);
}

static void a_full_buffer_is_reported(void **state)
{
    struct audit_request request = full_request();
    struct buf out;
    size_t at;
    buf_init(&out, 300);
    audit_entry_admitted(&out, &request, &at);
    assert_true(out.failed);
    buf_fini(&out);
}

static void the_time_is_found_or_refused(void **state)
{
    static const char *const bad[] = {"", "{}", "{\"time\":5}",
        "{\"time\":\"2026-11-23T08:15:30.123456Z",
        "{\"a\":{\"time\":\"2026-11-23T08:15:30.123456Z\"}}",
        "{\"time\":\"2026-11-23T08:15:30.123456X\"}", "{\"a\":\"\\"};
    size_t at;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(
            audit_entry_find_time(str_from(bad[i]), &at), ERR_SYNTAX);
}

static void the_schema_refuses(void **state)
{
    static const char *const bad[] = {"{}", "{\"type\":\"request.attempt\"}",
        "{\"error\":\"\",\"id\":\"01J9ZQ3V7Y8X6W5T4S3R2Q1P0N\",\"number\":1,"
        "\"time\":\"2026-11-23T08:15:30.123456Z\",\"type\":\"request.attempt\","
        "\"upstream\":\"t\",\"v\":1}",
        "{\"engine\":\"l\",\"error\":\"\",\"extra\":1,\"id\":"
        "\"01J9ZQ3V7Y8X6W5T4S3R2Q1P0N\",\"number\":1,\"time\":"
        "\"2026-11-23T08:15:30.123456Z\",\"type\":\"request.attempt\","
        "\"upstream\":\"t\",\"v\":1}",
        "{\"engine\":\"l\",\"error\":\"\",\"id\":\"not a ulid\",\"number\":1,"
        "\"time\":\"2026-11-23T08:15:30.123456Z\",\"type\":\"request.attempt\","
        "\"upstream\":\"t\",\"v\":1}",
        "{\"engine\":\"l\",\"error\":\"\",\"id\":\"01J9ZQ3V7Y8X6W5T4S3R2Q1P0N\""
        ",\"number\":0,\"time\":\"2026-11-23T08:15:30.123456Z\",\"type\":"
        "\"request.attempt\",\"upstream\":\"t\",\"v\":1}",
        "{\"engine\":\"l\",\"error\":\"\",\"id\":\"01J9ZQ3V7Y8X6W5T4S3R2Q1P0N\""
        ",\"number\":1,\"time\":\"2026-11-23T08:15:30.123456Z\",\"type\":"
        "\"request.attempt\",\"upstream\":\"t\",\"v\":2}"};
    struct errinfo info;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(
            json_schema_check(schema, str_from(bad[i]), &info), ERR_INVALID);
    /* told of the alternative that was meant */
    assert_int_equal(
        json_schema_check(schema, str_from(bad[3]), &info), ERR_INVALID);
    assert_string_equal(info.text, "$: has the unknown member extra");
}

static void writing_is_fast(void **state)
{
    struct audit_request request = full_request();
    struct buf out;
    size_t at;
    buf_init(&out, 70000);
    int64_t start = clock_monotonic();
    const int rounds = 100000;
    for (int i = 0; i < rounds; i++) {
        buf_clear(&out);
        audit_entry_admitted(&out, &request, &at);
    }
    int64_t took = clock_monotonic() - start;
    print_message("# admitted entry, %zu bytes: %d ns\n", out.len,
        (int)(took * 1000 / rounds));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_written_in_full),
        cmocka_unit_test(teams_by_groups_are_never_cut),
        cmocka_unit_test(the_least_request_is_valid),
        cmocka_unit_test(endings_are_written),
        cmocka_unit_test(acts_are_written),
        cmocka_unit_test(entries_stay_within_their_maximum),
        cmocka_unit_test(texts_are_cut_at_a_character),
        cmocka_unit_test(entries_may_follow_one_another),
        cmocka_unit_test(a_full_buffer_is_reported),
        cmocka_unit_test(the_time_is_found_or_refused),
        cmocka_unit_test(the_schema_refuses),
        cmocka_unit_test(writing_is_fast),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
