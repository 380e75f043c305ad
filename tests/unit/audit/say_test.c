/* SPDX-License-Identifier: Apache-2.0
 *
 * What an auditor reads: every kind of entry as one sentence. */
#include "audit/entry.h"
#include "audit/show.h"
#include "lib/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static bool find_name(void *context, struct str id, struct buf *out)
{
    if (str_equal(id, STR("cal_1")))
        buf_append_str(out, STR("alice"));
    else if (str_equal(id, STR("adm_1")))
        buf_append_str(out, STR("olga"));
    else
        return false;
    return true;
}
static const struct audit_names names = {find_name, NULL};

static void parse(
    struct arena *arena, const struct buf *entry, struct audit_event *event)
{
    struct errinfo info = {0};
    struct str copy = arena_copy(arena, buf_str(entry));
    if (audit_event_parse(arena, copy, event, &info) != ERR_OK)
        fail_msg("%s: %.*s", info.text, STR_ARG(copy));
}

static void says(const struct buf *entry, const char *words)
{
    struct arena *arena = arena_new(4096, 0);
    struct audit_event event;
    struct buf out;
    buf_init(&out, 65536);
    parse(arena, entry, &event);
    audit_say_entry(&event, &names, &out);
    assert_string_equal(buf_cstr(&out), words);
    buf_fini(&out);
    arena_free(&arena);
}

#define ID "01J00000000000000000000000"
static const struct str teams[] = {STR_INIT("cardiology")};
static const struct str rules[] = {STR_INIT("staff-chat"), STR_INIT("by-day")};

static struct audit_request request_of(
    const struct audit_candidate *candidates, size_t count)
{
    return (struct audit_request){.id = STR_INIT(ID),
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
        .candidates = candidates,
        .candidate_count = count};
}

static struct audit_candidate candidate_of(bool permitted, size_t policies)
{
    return (struct audit_candidate){.engine = STR_INIT("local"),
        .model = STR_INIT("tiny"),
        .upstream = STR_INIT("tiny.gguf"),
        .permitted = permitted,
        .reason = STR_INIT(""),
        .policies = rules,
        .policy_count = policies,
        .max_tokens = -1};
}

static void denied_says(const struct audit_candidate *candidate,
    const struct audit_denied *denied, const char *words)
{
    struct audit_request request = request_of(candidate, candidate ? 1 : 0);
    struct buf entry;
    size_t at;
    buf_init(&entry, 65536);
    audit_entry_denied(&entry, &request, denied, &at);
    says(&entry, words);
    buf_fini(&entry);
}

static void test_denials(void **state)
{
    struct audit_candidate by_rule = candidate_of(false, 1);
    struct audit_candidate by_none = candidate_of(false, 0);
    struct audit_candidate permitted = candidate_of(true, 2);
    struct audit_denied policy = {.stage = STR_INIT("decide"),
        .status = 403,
        .code = STR_INIT("policy_denied"),
        .message = STR_INIT("Not at night.\x1b[2J")};
    denied_says(&by_rule, &policy,
        "alice (team cardiology) asked gpt-4o (the model tiny) to chat; denied "
        "by rule staff-chat of policy version 7 (403 policy_denied: Not at "
        "night.?[2J); nothing reached an engine.");
    policy.message = STR("");
    denied_says(&by_none, &policy,
        "alice (team cardiology) asked gpt-4o (the model tiny) to chat; "
        "denied: no rule of policy version 7 permits it (403 policy_denied); "
        "nothing reached an engine.");
    struct audit_denied quota = {.stage = STR_INIT("reserve"),
        .status = 429,
        .code = STR_INIT("rate_limit_exceeded"),
        .message = STR_INIT("Too fast."),
        .quota = STR_INIT("quo_1")};
    denied_says(&permitted, &quota,
        "alice (team cardiology) asked gpt-4o (the model tiny) to chat; "
        "permitted by rules staff-chat and by-day of policy version 7, then "
        "denied by quota quo_1 (429 rate_limit_exceeded: Too fast); nothing "
        "reached an engine.");
    struct audit_denied unknown = {.stage = STR_INIT("plan"),
        .status = 404,
        .code = STR_INIT("model_not_found"),
        .message = STR_INIT("")};
    denied_says(NULL, &unknown,
        "alice (team cardiology) asked gpt-4o (the model tiny) to chat; denied "
        "before the rules were asked, at the stage plan (404 "
        "model_not_found); nothing reached an engine.");
}

static void ends(const struct audit_completed *completed, const char *words)
{
    struct audit_candidate candidate = candidate_of(true, 1);
    struct audit_request request = request_of(&candidate, 1);
    struct arena *arena = arena_new(4096, 0);
    struct audit_event opened, ended;
    struct buf entry, out;
    size_t at;
    buf_init(&entry, 65536);
    buf_init(&out, 65536);
    audit_entry_admitted(&entry, &request, &at);
    parse(arena, &entry, &opened);
    audit_say_request(&opened, NULL, &names, &out);
    assert_non_null(strstr(buf_cstr(&out), "; its end is not on record yet."));
    buf_clear(&entry);
    buf_clear(&out);
    audit_entry_completed(&entry, completed, &at);
    parse(arena, &entry, &ended);
    audit_say_request(&opened, &ended, &names, &out);
    const char *start = strstr(buf_cstr(&out), "permitted by");
    assert_non_null(start);
    assert_string_equal(start, words);
    arena_free(&arena);
    buf_fini(&entry);
    buf_fini(&out);
}

static void test_ends(void **state)
{
    struct audit_completed c = {.id = STR_INIT(ID),
        .outcome = STR_INIT("ok"),
        .status = 200,
        .engine = STR_INIT("second"),
        .upstream = STR_INIT("t"),
        .attempts = 2,
        .input_tokens = 12,
        .output_tokens = 40,
        .cached_tokens = -1,
        .cost = -1,
        .reasoning_tokens = -1,
        .usage_source = STR_INIT("engine")};
    ends(&c, "permitted by rule staff-chat of policy version 7; engine second "
             "answered 200 at attempt 2 with 12 tokens in and 40 out.");
    c.attempts = 1;
    c.outcome = STR("cut");
    c.reason = STR("the key was revoked");
    c.input_tokens = -1;
    ends(&c, "permitted by rule staff-chat of policy version 7; engine second "
             "answered 200 with 40 tokens out and Bailiff cut it off: the key "
             "was revoked.");
    c.outcome = STR("client_gone");
    c.output_tokens = -1;
    ends(&c, "permitted by rule staff-chat of policy version 7; engine second "
             "answered 200 with an uncounted number of tokens until the "
             "caller went away.");
    c.outcome = STR("engine_error");
    c.reason = STR("connection reset");
    c.status = 502;
    ends(&c, "permitted by rule staff-chat of policy version 7; engine second "
             "failed: connection reset; the caller was told 502.");
    c.outcome = STR("interrupted");
    ends(&c, "permitted by rule staff-chat of policy version 7; Bailiff "
             "stopped before its end was on record, and charged what was "
             "reserved.");
}

static void test_the_other_entries_of_a_request(void **state)
{
    struct audit_attempt attempt = {.id = STR_INIT(ID),
        .number = 1,
        .engine = STR_INIT("local"),
        .upstream = STR_INIT("t"),
        .status = 503,
        .error = STR_INIT("overloaded")};
    struct audit_withdrawn withdrawn = {
        .id = STR_INIT(ID), .reason = STR_INIT("deadline")};
    struct buf entry;
    size_t at;
    buf_init(&entry, 65536);
    audit_entry_attempt(&entry, &attempt, &at);
    says(&entry, "Engine local failed at attempt 1 with 503: overloaded; "
                 "another is tried.");
    buf_clear(&entry);
    audit_entry_withdrawn(&entry, &withdrawn, &at);
    says(&entry, "Ended: withdrawn before it reached an engine: deadline.");
    buf_fini(&entry);
}

static void test_refused_before_anybody_was_known(void **state)
{
    struct audit_auth_failed failed = {.reason = STR_INIT("revoked"),
        .route = STR_INIT("/v1/models"),
        .count = 1,
        .key = STR_INIT("key_7")};
    struct buf entry;
    size_t at;
    buf_init(&entry, 65536);
    audit_entry_auth_failed(&entry, &failed, &at);
    says(&entry, "A call was refused before anybody was known: the API key was "
                 "revoked (key key_7), on /v1/models.");
    buf_clear(&entry);
    failed.count = 12;
    failed.key = STR("");
    failed.reason = STR("missing");
    audit_entry_auth_failed(&entry, &failed, &at);
    says(&entry, "12 calls were refused before anybody was known: no API key "
                 "was presented, the last on /v1/models.");
    buf_fini(&entry);
}

static void act_says(struct audit_act act, const char *words)
{
    struct buf entry;
    size_t at;
    buf_init(&entry, 65536);
    audit_entry_act(&entry, &act, &at);
    says(&entry, words);
    buf_fini(&entry);
}

static void test_acts(void **state)
{
    act_says((struct audit_act){.type = STR("admin.team.added"),
                 .actor = STR("adm_1"),
                 .actor_method = STR("token"),
                 .object_kind = STR("team"),
                 .object = STR("cardiology"),
                 .reason = STR("as asked.")},
        "olga added the team cardiology: as asked.");
    act_says((struct audit_act){.type = STR("admin.model_group.changed"),
                 .actor_method = STR("root"),
                 .object_kind = STR("model_group"),
                 .object = STR("large")},
        "Root, whom nobody named, changed the model group large.");
    act_says((struct audit_act){.type = STR("admin.issuer.changed"),
                 .actor = STR("adm_1"),
                 .actor_method = STR("token"),
                 .object_kind = STR("issuer"),
                 .object = STR("corp"),
                 .before = STR("{\"clients\":[{\"caller\":\"\",\"client\":"
                               "\"gone\"},{\"caller\":\"\",\"client\":"
                               "\"portal\"}],\"justInTime\":true,"
                               "\"justInTimeTeam\":\"\",\"tags\":[\"a\"]}"),
                 .after = STR("{\"clients\":[{\"caller\":\"\",\"client\":"
                              "\"portal\"},{\"caller\":\"cal_1\",\"client\":"
                              "\"batch\"}],\"justInTime\":true,"
                              "\"justInTimeTeam\":\"staff\\u001b\","
                              "\"tags\":[\"a\",\"b\"],\"warnPercent\":50}"),
                 .reason = STR("ticket 5")},
        "olga changed the issuer corp (clients without client gone with caller "
        "alice client batch, justInTimeTeam from nothing to "
        "staff?, tags with b, warnPercent from nothing to 50): ticket 5.");
    act_says((struct audit_act){.type = STR("audit.queried"),
                 .actor = STR("adm_1"),
                 .actor_method = STR("token"),
                 .object_kind = STR("log"),
                 .detail = STR("{\"filters\":{\"caller\":\"cal_1\",\"decision\""
                               ":\"deny\"},\"rows\":3}")},
        "olga searched the log for caller alice, decision deny (rows 3).");
    act_says((struct audit_act){.type = STR("policy.activated"),
                 .actor = STR("adm_1"),
                 .actor_method = STR("offline"),
                 .object_kind = STR("policy"),
                 .object = STR("8"),
                 .detail = STR("{\"approval\":\"none required\"}")},
        "olga, without the server, put policy version 8 into force (approval "
        "none required).");
    act_says((struct audit_act){.type = STR("policy.approved"),
                 .actor = STR("adm_1"),
                 .actor_method = STR("token"),
                 .actor_certificate = STR("5f70"),
                 .object_kind = STR("policy"),
                 .object = STR("8")},
        "olga, with a client certificate, approved policy version 8.");
    act_says((struct audit_act){.type = STR("admin.certificate.pinned"),
                 .actor = STR("adm_1"),
                 .actor_method = STR("certificate"),
                 .actor_certificate = STR("5f70"),
                 .object_kind = STR("administrator"),
                 .object = STR("adm_1")},
        "olga, by a client certificate alone, pinned a certificate of the "
        "administrator olga.");
    act_says((struct audit_act){.type = STR("engine.down"),
                 .actor = STR("system"),
                 .actor_method = STR("system"),
                 .object_kind = STR("engine"),
                 .object = STR("local"),
                 .reason = STR("connection refused")},
        "Bailiff found that engine local does not answer: connection refused.");
    act_says((struct audit_act){.type = STR("system.stopped"),
                 .actor = STR("system"),
                 .actor_method = STR("system")},
        "Bailiff stopped in good order.");
    act_says((struct audit_act){.type = STR("admin.caller.disabled"),
                 .actor = STR("adm_gone"),
                 .actor_method = STR("uid"),
                 .object_kind = STR("caller"),
                 .object = STR("cal_1")},
        "adm_gone disabled the caller alice.");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_denials),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_the_other_entries_of_a_request),
        cmocka_unit_test(test_refused_before_anybody_was_known),
        cmocka_unit_test(test_acts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
