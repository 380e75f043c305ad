/* SPDX-License-Identifier: Apache-2.0
 *
 * Entries as OCSF events: the members that the class demands, what an ended
 * request takes over from its admission, and what cannot be read. */
#include "audit/entry.h"
#include "audit/ocsf.h"
#include "lib/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ID "01J00000000000000000000000"
static const struct str teams[] = {STR_INIT("cardiology")};
static const struct str rules[] = {STR_INIT("staff-chat")};
static const struct audit_candidate candidate = {.engine = STR_INIT("local"),
    .model = STR_INIT("tiny"),
    .upstream = STR_INIT("tiny.gguf"),
    .permitted = true,
    .reason = STR_INIT(""),
    .policies = rules,
    .policy_count = 1,
    .max_tokens = -1};

static struct audit_request request_of(const char *id)
{
    return (struct audit_request){.id = str_from(id),
        .time_us = INT64_C(1795593600123456),
        .caller = STR_INIT("cal_1"),
        .key = STR_INIT("key_1"),
        .auth_method = STR_INIT("api_key"),
        .teams = teams,
        .team_count = 1,
        .route = STR_INIT("/v1/chat/completions"),
        .dialect = STR_INIT("openai"),
        .action = STR_INIT("chat"),
        .model_asked = STR_INIT("gpt-4o"),
        .model = STR_INIT("tiny"),
        .policy_version = 7,
        .candidates = &candidate,
        .candidate_count = 1};
}

static void event_of(struct audit_ocsf *ocsf, uint64_t index,
    const struct buf *entry, struct buf *out)
{
    struct errinfo info = {0};
    buf_clear(out);
    if (audit_ocsf_entry(ocsf, index, buf_str(entry), out, &info) != ERR_OK)
        fail_msg("%s", info.text);
}

/* The text holds `part`. */
static void has(struct buf *text, const char *part)
{
    if (strstr(buf_cstr(text), part) == NULL)
        fail_msg("%s\nis not in\n%s", part, buf_cstr(text));
}

/* One line of JSON with every member that the class requires. */
static void is_whole(struct buf *text)
{
    static const char *const required[] = {"activity_id", "actor", "api",
        "category_uid", "class_uid", "metadata", "severity_id", "src_endpoint",
        "status_id", "time", "type_uid"};
    struct arena *arena = arena_new(65536, 0);
    struct str line = buf_str(text);
    struct json json;
    assert_int_equal(line.ptr[line.len - 1], '\n');
    assert_null(memchr(line.ptr, '\n', line.len - 1));
    line.len--;
    assert_int_equal(json_parse(arena, line, NULL, &json, NULL), ERR_OK);
    for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++)
        if (json_find(&json, 0, str_from(required[i])) == JSON_NONE)
            fail_msg("%s is missing", required[i]);
    arena_free(&arena);
}

static void admit(struct buf *entry, const char *id)
{
    struct audit_request request = request_of(id);
    size_t at;
    buf_clear(entry);
    audit_entry_admitted(entry, &request, &at);
}

static void complete(struct buf *entry, const char *id)
{
    struct audit_completed completed = {.id = str_from(id),
        .time_us = INT64_C(1795593601000000),
        .outcome = STR_INIT("ok"),
        .status = 200,
        .engine = STR_INIT("local"),
        .upstream = STR_INIT("tiny.gguf"),
        .attempts = 1,
        .input_tokens = 11,
        .output_tokens = 4,
        .cached_tokens = -1,
        .reasoning_tokens = -1,
        .usage_source = STR_INIT("engine"),
        .durable_us = 10,
        .first_byte_us = 20,
        .total_us = 52000};
    size_t at;
    buf_clear(entry);
    audit_entry_completed(entry, &completed, &at);
}

static void test_a_request(void **state)
{
    struct audit_ocsf *ocsf = audit_ocsf_new(STR("example.com/log"));
    struct buf entry, out;
    buf_init(&entry, 65536);
    buf_init(&out, 1 << 20);
    admit(&entry, ID);
    event_of(ocsf, 4, &entry, &out);
    is_whole(&out);
    has(&out, "\"class_uid\":6003,");
    has(&out, "\"type_uid\":600301,");
    has(&out, "\"category_uid\":6,");
    has(&out, "\"time\":1795593600123,");
    has(&out, "\"status_id\":0,");
    has(&out, "\"profiles\":[\"ai_operation\"],");
    has(&out, "\"sequence\":4,\"uid\":\"example.com/log#4\",\"version\":"
              "\"1.8.0\"}");
    has(&out, "\"ai_model\":{\"ai_provider\":\"local\",\"name\":\"tiny\"}");
    has(&out, "\"actor\":{\"app_uid\":\"key_1\",\"user\":{\"groups\":[{"
              "\"name\":\"cardiology\"}],\"uid\":\"cal_1\"}}");
    complete(&entry, ID);
    event_of(ocsf, 9, &entry, &out);
    is_whole(&out);
    /* what the completion does not say itself */
    has(&out, "\"uid\":\"cal_1\"");
    has(&out, "\"name\":\"tiny\"}");
    has(&out, "\"operation\":\"chat\"");
    has(&out, "\"policies\":[\"staff-chat\"]");
    has(&out, "\"message_context\":{\"ai_role_id\":2,\"completion_tokens\":4,"
              "\"prompt_tokens\":11,\"service\":{\"name\":\"local\"},"
              "\"total_tokens\":15}");
    has(&out, "\"http_response\":{\"code\":200,\"latency\":52}");
    has(&out, "\"status\":\"Success\",\"status_code\":\"ok\",\"status_id\":1");
    has(&out, "\"correlation_uid\":\"" ID "\"");
    audit_ocsf_free(&ocsf);
    buf_fini(&entry);
    buf_fini(&out);
}

/* Who starts in the middle sees the admissions before; a completion whose
 * admission was never seen is whole all the same. */
static void test_from_the_middle(void **state)
{
    struct audit_ocsf *ocsf = audit_ocsf_new(STR("example.com/log"));
    struct buf entry, out;
    buf_init(&entry, 65536);
    buf_init(&out, 1 << 20);
    admit(&entry, ID);
    audit_ocsf_note(ocsf, buf_str(&entry));
    complete(&entry, ID);
    event_of(ocsf, 9, &entry, &out);
    has(&out, "\"uid\":\"cal_1\"");
    /* its admission was forgotten with its end */
    event_of(ocsf, 10, &entry, &out);
    is_whole(&out);
    assert_null(strstr(buf_cstr(&out), "cal_1"));
    has(&out, "\"actor\":{\"app_name\":\"unknown\"}");
    has(&out,
        "\"ai_model\":{\"ai_provider\":\"local\",\"name\":\"tiny.gguf\"}");
    audit_ocsf_free(&ocsf);
    buf_fini(&entry);
    buf_fini(&out);
}

/* More admissions than it keeps: the oldest go, nothing else. */
static void test_more_than_it_keeps(void **state)
{
    struct audit_ocsf *ocsf = audit_ocsf_new(STR("example.com/log"));
    struct buf entry, out;
    char id[32];
    buf_init(&entry, 65536);
    buf_init(&out, 1 << 20);
    for (int i = 0; i < AUDIT_OCSF_OPEN + 10; i++) {
        snprintf(id, sizeof(id), "01J%023d", i);
        admit(&entry, id);
        audit_ocsf_note(ocsf, buf_str(&entry));
    }
    snprintf(id, sizeof(id), "01J%023d", 9);
    complete(&entry, id);
    event_of(ocsf, 1, &entry, &out);
    assert_null(strstr(buf_cstr(&out), "cal_1"));
    snprintf(id, sizeof(id), "01J%023d", 10);
    complete(&entry, id);
    event_of(ocsf, 2, &entry, &out);
    has(&out, "cal_1");
    audit_ocsf_free(&ocsf);
    buf_fini(&entry);
    buf_fini(&out);
}

static void test_denials_and_acts(void **state)
{
    struct audit_ocsf *ocsf = audit_ocsf_new(STR("example.com/log"));
    struct audit_request request = request_of(ID);
    struct audit_denied denied = {.stage = STR_INIT("decide"),
        .status = 403,
        .code = STR_INIT("policy_denied"),
        .message = STR_INIT("Not at night.")};
    struct audit_act act = {.type = STR_INIT("admin.team.removed"),
        .time_us = INT64_C(1795593601000000),
        .actor = STR_INIT("adm_1"),
        .actor_method = STR_INIT("token"),
        .object_kind = STR_INIT("team"),
        .object = STR_INIT("ward 7"),
        .before = STR_INIT("{\"name\":\"ward 7\"}")};
    struct buf entry, out;
    size_t at;
    buf_init(&entry, 65536);
    buf_init(&out, 1 << 20);
    audit_entry_denied(&entry, &request, &denied, &at);
    event_of(ocsf, 1, &entry, &out);
    is_whole(&out);
    has(&out, "\"status_code\":\"policy_denied\",\"status_detail\":\"Not at "
              "night.\",\"status_id\":2");
    has(&out, "\"severity_id\":2");
    has(&out, "\"decision\":\"deny\"");
    buf_clear(&entry);
    audit_entry_act(&entry, &act, &at);
    event_of(ocsf, 2, &entry, &out);
    is_whole(&out);
    has(&out, "\"activity_id\":4,\"activity_name\":\"Delete\"");
    has(&out, "\"type_uid\":600304");
    has(&out, "\"resources\":[{\"name\":\"ward 7\",\"type\":\"team\"}]");
    has(&out, "\"user\":{\"type_id\":2,\"uid\":\"adm_1\"}");
    has(&out, "\"unmapped\":{\"before\":{\"name\":\"ward 7\"},\"method\":"
              "\"token\"}");
    act.type = STR("engine.down");
    act.actor = STR("system");
    act.before = STR("");
    buf_clear(&entry);
    audit_entry_act(&entry, &act, &at);
    event_of(ocsf, 3, &entry, &out);
    is_whole(&out);
    has(&out, "\"severity_id\":3");
    has(&out, "\"activity_id\":99,\"activity_name\":\"engine.down\"");
    audit_ocsf_free(&ocsf);
    buf_fini(&entry);
    buf_fini(&out);
}

static void test_what_cannot_be_read_is_given_whole(void **state)
{
    struct audit_ocsf *ocsf = audit_ocsf_new(STR("example.com/log"));
    struct buf entry, out;
    buf_init(&entry, 65536);
    buf_init(&out, 1 << 20);
    buf_append_str(&entry, STR("{\"type\":\"request.dreamt\",\"v\":9}"));
    event_of(ocsf, 7, &entry, &out);
    is_whole(&out);
    has(&out, "\"raw_data\":\"{\\\"type\\\":\\\"request.dreamt\\\"");
    has(&out, "\"sequence\":7");
    audit_ocsf_free(&ocsf);
    buf_fini(&entry);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request),
        cmocka_unit_test(test_from_the_middle),
        cmocka_unit_test(test_more_than_it_keeps),
        cmocka_unit_test(test_denials_and_acts),
        cmocka_unit_test(test_what_cannot_be_read_is_given_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
