/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of policy/decide: what a set of rules permits, what it forbids, what
 * happens when a rule cannot be evaluated, obligations, modes, the context. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/explain.h"
#include "policy/policy_priv.h"
#include "policy/starter.h"

#include "policy/cedar/schema.h"

#include <stdio.h>
#include <stdlib.h>

extern const char schema_bailiff_cedarschema[];
extern const size_t schema_bailiff_cedarschema_length;

static struct policy_entities *entities;
static struct policy_workspace *workspace;
static struct clock_zone *berlin;

static int64_t at(const char *text)
{
    int64_t time;
    assert_int_equal(clock_parse(str_from(text), &time), ERR_OK);
    return time;
}

static int setup(void **state)
{
    (void)state;
    struct errinfo info = {0};
    const struct str interns[] = {STR_INIT("interns")};
    const struct str doctors[] = {STR_INIT("cardiology"), STR_INIT("cleared")};
    const struct str large[] = {STR_INIT("large")};
    struct policy_entities_builder *b = policy_entities_begin();
    assert_non_null(b);
    enum err err = policy_entities_team(b, STR("everyone"), STR(""));
    err |= policy_entities_team(b, STR("interns"), STR("everyone"));
    err |= policy_entities_team(b, STR("cardiology"), STR("everyone"));
    err |= policy_entities_team(b, STR("cleared"), STR(""));
    err |= policy_entities_caller(b, STR("cal_i"), STR("person"), interns, 1);
    err |= policy_entities_caller(b, STR("cal_d"), STR("person"), doctors, 2);
    err |= policy_entities_caller(b, STR("cal_s"), STR("service"), NULL, 0);
    err |= policy_entities_group(b, STR("large"));
    struct policy_model small = {.name = STR("small"),
        .version = STR("1"),
        .owner = STR("lab"),
        .licence = STR("MIT"),
        .risk_class = STR("minimal"),
        .region = STR("eu"),
        .status = STR("approved")};
    struct policy_model big = small;
    big.name = STR("big");
    big.risk_class = STR("high");
    big.groups = large;
    big.group_count = 1;
    err |= policy_entities_model(b, &small);
    err |= policy_entities_model(b, &big);
    err |= policy_entities_engine(b, STR("here"), STR("vllm"), STR("eu"));
    err |= policy_entities_engine(b, STR("there"), STR("openai"), STR("us"));
    assert_int_equal(err, ERR_OK);
    assert_int_equal(policy_entities_finish(&b, &entities, &info), ERR_OK);
    assert_null(b);
    workspace = policy_workspace_new();
    assert_non_null(workspace);
    assert_int_equal(clock_zone_load("Europe/Berlin", &berlin, &info), ERR_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    policy_entities_free(&entities);
    policy_workspace_free(&workspace);
    clock_zone_free(&berlin);
    return 0;
}

static struct policy_set *compile(const char *text)
{
    struct policy_set *set = NULL;
    struct errinfo info = {0};
    struct buf findings;
    buf_init(&findings, 1u << 20);
    if (policy_set_compile(
            str_from(text), "rules.cedar", &set, &findings, &info) != ERR_OK)
        fail_msg("%s", buf_cstr(&findings));
    buf_fini(&findings);
    return set;
}

static struct policy_question question_of(const char *caller)
{
    return (struct policy_question){
        .caller = str_from(caller),
        .action = STR("chat"),
        .auth_method = STR("api_key"),
        .key = STR("key_1"),
        .address = STR("10.1.2.3"),
        .route = STR("/v1/chat/completions"),
        .dialect = STR("openai"),
        .now_us = at("2026-11-23T22:30:15.123456Z"), /* Monday; 23:30 there */
        .zone = berlin,
        .input_tokens = 100,
        .input_bytes = 400,
        .messages = 2,
        .max_tokens = -1,
        .choices = 1,
    };
}

static struct policy_decision decide(const struct policy_set *set,
    const struct policy_question *question, const char *model,
    const char *engine)
{
    struct policy_decision decision;
    assert_int_equal(
        policy_decide_begin(workspace, set, entities, question), ERR_OK);
    struct policy_target target = {.model = str_from(model),
        .engine = str_from(engine),
        .upstream = STR("up-1")};
    policy_decide(workspace, &target, &decision);
    return decision;
}

static struct policy_decision ask(
    const char *rules, const char *caller, const char *model)
{
    struct policy_set *set = compile(rules);
    struct policy_question question = question_of(caller);
    struct policy_decision decision = decide(set, &question, model, "here");
    decision.message = STR(""); /* it borrowed from the set */
    decision.obligations.engine = STR("");
    policy_set_free(&set);
    return decision;
}

/* Passes the type checker and fails at run time. */
#define FAILS " when { context.input.tokens + 9223372036854775807 > 0 };"
#define RULE(id, ...) "@id(\"" id "\") @title(\"t\") " __VA_ARGS__ "\n"

/* clang-format off */
static const char plain_rules[] =
    RULE("all", "permit(principal in Team::\"everyone\", "
                "action in Action::\"infer\", resource);")
    RULE("large", "@message(\"Ask your tutor.\") "
                  "forbid(principal in Team::\"interns\", action, "
                  "resource in ModelGroup::\"large\");")
    RULE("risk", "forbid(principal, action, resource) "
                 "when { resource.riskClass == \"high\" } "
                 "unless { principal in Team::\"cleared\" };");

static const char expiring_rules[] =
    RULE("a", "permit(principal, action, resource) "
              "when { resource.name == \"small\" };")
    RULE("b", "@expires(\"2027-01-01\") forbid(principal, action, resource);")
    RULE("c", "@expires(\"2027-02-01T00:00:00+01:00\") "
              "permit(principal, action, resource);")
    RULE("d", "@expires(\"2026-01-01\") "
              "forbid(principal, action, resource)" FAILS);

static const char advising_rules[] =
    RULE("a", "permit(principal in Team::\"interns\", action, resource);")
    RULE("b", "@mode(\"advise\") forbid(principal, action, resource);")
    RULE("c", "@mode(\"advise\") @max_tokens(\"5\") "
              "permit(principal, action, resource);")
    RULE("d", "@mode(\"advise\") forbid(principal, action, resource)" FAILS)
    RULE("e", "@mode(\"enforce\") forbid(principal, action, resource) "
              "when { resource.name == \"big\" };")
    RULE("f", "@mode(\"advise\") @expires(\"2020-01-01\") "
              "forbid(principal, action, resource);");
/* clang-format on */

static void test_default_is_deny(void **state)
{
    (void)state;
    struct policy_decision d = ask("", "cal_i", "small");
    assert_false(d.permitted);
    assert_int_equal(d.reason, POLICY_NO_PERMIT);
    assert_int_equal(d.policy_count, 0);
    struct policy_decision zero = {0};
    assert_false(zero.permitted);
    assert_int_equal(zero.reason, POLICY_NO_PERMIT);
}

static void test_permit_and_forbid(void **state)
{
    (void)state;
    struct policy_set *set = compile(plain_rules);
    struct policy_question intern = question_of("cal_i");
    struct policy_question doctor = question_of("cal_d");
    struct policy_question service = question_of("cal_s");
    struct policy_decision d = decide(set, &intern, "small", "here");
    assert_true(d.permitted);
    assert_int_equal(d.reason, POLICY_PERMITTED);
    assert_int_equal(d.policy_count, 1);
    assert_int_equal(d.policies[0], 0);
    assert_int_equal(d.obligations.max_tokens, -1);
    d = decide(set, &intern, "big", "here");
    assert_false(d.permitted);
    assert_int_equal(d.reason, POLICY_FORBIDDEN);
    assert_int_equal(d.policy_count, 2);
    assert_int_equal(d.policies[0], 1);
    assert_int_equal(d.policies[1], 2);
    assert_true(str_equal(d.message, STR("Ask your tutor.")));
    assert_true(str_equal(policy_set_id(set, d.policies[0]), STR("large")));
    assert_true(str_equal(policy_set_title(set, d.policies[0]), STR("t")));
    d = decide(set, &doctor, "big", "here");
    assert_true(d.permitted);
    d = decide(set, &service, "small", "here");
    assert_int_equal(d.reason, POLICY_NO_PERMIT);
    /* Not in the group infer. */
    doctor.action = STR("listModels");
    d = decide(set, &doctor, "small", "");
    assert_int_equal(d.reason, POLICY_NO_PERMIT);
    policy_set_free(&set);
    assert_null(set);
}

static void test_starter_rules(void **state)
{
    (void)state;
    struct policy_set *set = compile(policy_starter_text().ptr);
    struct policy_question intern = question_of("cal_i");
    struct policy_question doctor = question_of("cal_d");
    struct policy_question service = question_of("cal_s");
    assert_true(decide(set, &intern, "small", "here").permitted);
    struct policy_decision d = decide(set, &intern, "big", "here");
    assert_int_equal(d.reason, POLICY_FORBIDDEN);
    assert_true(str_equal(
        policy_set_id(set, d.policies[0]), STR("interns-small-models")));
    assert_true(d.message.len > 0);
    intern.input_tokens = 4000;
    assert_true(decide(set, &intern, "small", "here").permitted);
    intern.input_tokens = 4001;
    d = decide(set, &intern, "small", "here");
    assert_int_equal(d.reason, POLICY_FORBIDDEN);
    assert_int_equal(d.policy_count, 1);
    /* One may see what one may not use. */
    intern.action = STR("listModels");
    assert_true(decide(set, &intern, "big", "").permitted);
    doctor.input_tokens = 1000000;
    assert_true(decide(set, &doctor, "big", "here").permitted);
    d = decide(set, &service, "small", "here");
    assert_int_equal(d.reason, POLICY_NO_PERMIT);
    policy_set_free(&set);
}

/* Nobody knows them, so not even a permit for everybody helps. */
static void test_unknown_names(void **state)
{
    (void)state;
    struct policy_set *set =
        compile(RULE("all", "permit(principal, action, resource);"));
    struct policy_question question = question_of("cal_i");
    assert_true(decide(set, &question, "small", "here").permitted);
    assert_false(decide(set, &question, "smal", "here").permitted);
    assert_false(decide(set, &question, "small", "her").permitted);
    question.caller = STR("cal_x");
    assert_false(decide(set, &question, "small", "here").permitted);
    question = question_of("cal_i");
    question.action = STR("infer"); /* a group is nothing one can do */
    assert_false(decide(set, &question, "small", "here").permitted);
    question.action = STR("");
    assert_false(decide(set, &question, "small", "here").permitted);
    policy_set_free(&set);
}

static void test_failing_rules(void **state)
{
    (void)state;
    /* A permit that fails is skipped and listed. */
    struct policy_decision d =
        ask(RULE("a", "permit(principal, action, resource)" FAILS)
                RULE("b", "permit(principal, action, resource);"),
            "cal_i", "small");
    assert_true(d.permitted);
    assert_int_equal(d.policy_count, 1);
    assert_int_equal(d.policies[0], 1);
    assert_int_equal(d.error_count, 1);
    assert_int_equal(d.errors[0], 0);
    /* A forbid that fails denies. */
    d = ask(RULE("a", "permit(principal, action, resource);")
                RULE("b", "forbid(principal, action, resource)" FAILS),
        "cal_i", "small");
    assert_false(d.permitted);
    assert_int_equal(d.reason, POLICY_ERROR);
    assert_int_equal(d.error_count, 1);
    assert_int_equal(d.errors[0], 1);
    assert_int_equal(d.policy_count, 0);
    /* One that holds comes first. */
    d = ask(RULE("a", "forbid(principal, action, resource)" FAILS)
                RULE("b", "forbid(principal, action, resource);"),
        "cal_i", "small");
    assert_int_equal(d.reason, POLICY_FORBIDDEN);
    assert_int_equal(d.policy_count, 1);
    assert_int_equal(d.policies[0], 1);
    assert_int_equal(d.error_count, 1);
}

/* An evaluation past its limit never opens anything. */
static void test_limits(void **state)
{
    (void)state;
    struct buf rules;
    buf_init(&rules, 1u << 24);
    buf_append_str(&rules,
        STR(RULE("a", "permit(principal, action, resource);")
                RULE("b", "forbid(principal, action, resource) when { [")));
    for (int i = 0; i < 120000; i++)
        buf_printf(&rules, "context.input.tokens,");
    buf_append_str(&rules, STR("] == [1] };"));
    struct policy_decision d = ask(buf_cstr(&rules), "cal_i", "small");
    assert_false(d.permitted);
    assert_int_equal(d.reason, POLICY_LIMIT);
    assert_int_equal(d.error_count, 1);
    assert_int_equal(d.errors[0], 1);
    buf_fini(&rules);
}

static void test_many_names(void **state)
{
    (void)state;
    struct buf rules;
    buf_init(&rules, 1u << 20);
    for (int i = 0; i < 40; i++)
        buf_printf(&rules,
            "@id(\"r%d\") @title(\"t\") permit(principal, action, resource);\n",
            i);
    struct policy_decision d = ask(buf_cstr(&rules), "cal_i", "small");
    assert_true(d.permitted);
    assert_int_equal(d.policy_count, POLICY_NAMES_MAX);
    assert_int_equal(d.policies_more, 40 - POLICY_NAMES_MAX);
    for (unsigned i = 0; i < POLICY_NAMES_MAX; i++)
        assert_int_equal(d.policies[i], i);
    buf_fini(&rules);
}

static void test_obligations(void **state)
{
    (void)state;
    struct policy_set *set =
        compile(RULE("a", "@max_tokens(\"512\") @record(\"full\")"
                          "permit(principal, action, resource);")
                RULE("b", "@max_tokens(\"64\") @engine(\"here\")"
                          "permit(principal, action, resource);")
                    RULE("c", "@max_tokens(\"1\") permit(principal, "
                              "action, resource)"
                              " when { context.request.stream };"));
    struct policy_question question = question_of("cal_i");
    struct policy_decision d = decide(set, &question, "small", "here");
    assert_true(d.permitted);
    assert_int_equal(d.obligations.max_tokens, 64);
    assert_true(d.obligations.record_full);
    assert_true(str_equal(d.obligations.engine, STR("here")));
    assert_false(d.obligations.conflict);
    d = decide(set, &question, "small", "there");
    assert_false(d.permitted);
    assert_int_equal(d.reason, POLICY_NO_PERMIT);
    assert_int_equal(d.policy_count, 2);
    question.stream = true;
    d = decide(set, &question, "small", "here");
    assert_int_equal(d.obligations.max_tokens, 1);
    policy_set_free(&set);
    set = compile(RULE(
        "a", "@engine(\"here\") permit(principal, action, resource);") RULE("b",
        "@engine(\"there\") permit(principal, action, resource);"));
    d = decide(set, &question, "small", "here");
    assert_false(d.permitted);
    assert_true(d.obligations.conflict);
    assert_false(decide(set, &question, "small", "there").permitted);
    policy_set_free(&set);
    /* Every class that a permitting rule names, each once. */
    set = compile(
        RULE("a", "@retain(\"six\") permit(principal, action, resource);")
            RULE("b", "@retain(\"long\") permit(principal, action, resource)"
                      " when { context.request.stream };")
                RULE("c", "@retain(\"six\") permit(principal, action, "
                          "resource);"));
    assert_int_equal(policy_set_retain_count(set), 2);
    assert_int_equal(
        decide(set, &question, "small", "here").obligations.retain, 3);
    question.stream = false;
    d = decide(set, &question, "small", "here");
    assert_int_equal(d.obligations.retain, 1);
    assert_true(str_equal(policy_set_retain(set, 0), STR("six")));
    question.stream = true;
    policy_set_free(&set);
    set = compile(RULE("a", "@require_stream @message(\"Stream it.\")"
                            "permit(principal, action, resource);"));
    assert_true(decide(set, &question, "small", "here").permitted);
    question.stream = false;
    d = decide(set, &question, "small", "here");
    assert_false(d.permitted);
    assert_true(d.obligations.require_stream);
    assert_true(str_equal(d.message, STR("Stream it.")));
    question.action = STR("embed"); /* has no stream to require */
    assert_true(decide(set, &question, "small", "here").permitted);
    policy_set_free(&set);
}

static void test_expires(void **state)
{
    (void)state;
    struct policy_set *set = compile(expiring_rules);
    struct policy_question question = question_of("cal_i");
    struct policy_decision d = decide(set, &question, "small", "here");
    assert_int_equal(d.reason, POLICY_FORBIDDEN);
    assert_int_equal(d.policy_count, 1);
    assert_int_equal(d.policies[0], 1);
    assert_int_equal(d.error_count, 0); /* d has expired: not even its error */
    question.now_us = at("2026-12-31T23:59:59.999999Z");
    assert_false(decide(set, &question, "small", "here").permitted);
    question.now_us = at("2027-01-01T00:00:00Z");
    d = decide(set, &question, "small", "here");
    assert_true(d.permitted);
    assert_int_equal(d.policy_count, 2);
    assert_int_equal(d.policies[0], 0);
    assert_int_equal(d.policies[1], 2);
    assert_true(decide(set, &question, "big", "here").permitted);
    question.now_us = at("2027-01-31T23:00:00Z");
    assert_false(decide(set, &question, "big", "here").permitted);
    assert_true(decide(set, &question, "small", "here").permitted);
    assert_true(policy_set_expires_us(set, 1) == at("2027-01-01T00:00:00Z"));
    assert_true(policy_set_expires_us(set, 0) == POLICY_EXPIRES_NEVER);
    policy_set_free(&set);
}

static void test_advice(void **state)
{
    (void)state;
    struct policy_set *set = compile(advising_rules);
    struct policy_question question = question_of("cal_i");
    struct policy_decision d = decide(set, &question, "small", "here");
    assert_true(d.permitted);
    assert_int_equal(d.policy_count, 1);
    assert_int_equal(d.policies[0], 0);
    assert_int_equal(d.advice_count, 2);
    assert_int_equal(d.advice[0], 1);
    assert_int_equal(d.advice[1], 2);
    assert_int_equal(d.error_count, 1);
    assert_int_equal(d.errors[0], 3);
    assert_int_equal(d.obligations.max_tokens, -1);
    assert_int_equal(
        decide(set, &question, "big", "here").reason, POLICY_FORBIDDEN);
    question = question_of("cal_d");
    d = decide(set, &question, "small", "here");
    assert_int_equal(d.reason, POLICY_NO_PERMIT);
    assert_int_equal(d.advice_count, 2);
    assert_true(policy_set_is_advice(set, 1));
    assert_false(policy_set_is_permit(set, 1));
    assert_true(policy_set_is_permit(set, 2));
    policy_set_free(&set);
}

/* Each line: what is true of question_of("cal_i") on small, here. */
static void test_context(void **state)
{
    (void)state;
    static const char *const truths[] = {
        "context.auth.method == \"api_key\"",
        "context.auth has key && context.auth.key == \"key_1\"",
        "context.request.ip.isInRange(ip(\"10.0.0.0/8\"))",
        "context.request.route == \"/v1/chat/completions\"",
        "context.request.dialect == \"openai\"",
        "context.request.stream == false",
        "context.time.now == datetime(\"2026-11-23T22:30:15.123Z\")",
        "context.time.weekday == \"Mon\"",
        "context.time.hour == 23 && context.time.minute == 30",
        "context.time.date == \"2026-11-23\"",
        "!context.time.isHoliday",
        "context.input.tokens == 100 && context.input.bytes == 400",
        "context.input.messages == 2 && context.input.images == 0",
        "context.input.audios == 0 && context.input.tools.isEmpty()",
        "!(context.params has maxTokens) && context.params.n == 1",
        "!(context.params has temperature) && !(context.params has topP)",
        "context.target.engine == Engine::\"here\"",
        "context.target.engine.region == \"eu\"",
        "context.target.upstream == \"up-1\"",
        "principal.kind == \"person\"",
        "resource.name == \"small\" && resource.version == \"1\"",
        "resource.owner == \"lab\" && resource.licence == \"MIT\"",
        "resource.riskClass == \"minimal\" && resource.region == \"eu\"",
        "resource.status == \"approved\"",
        "action in Action::\"infer\" && !(action in Action::\"read\")",
        "principal in Team::\"interns\" && principal in Team::\"everyone\"",
    };
    for (size_t i = 0; i < sizeof(truths) / sizeof(truths[0]); i++) {
        char rules[512];
        snprintf(rules, sizeof(rules),
            RULE("a", "permit(principal, action == Action::\"chat\", resource)"
                      " when { %s };"),
            truths[i]);
        if (!ask(rules, "cal_i", "small").permitted)
            fail_msg("not true: %s", truths[i]);
    }
}

static bool holds(const struct policy_question *question, const char *condition)
{
    char rules[512];
    snprintf(rules, sizeof(rules),
        RULE("a", "permit(principal, action == Action::\"chat\", resource)"
                  " when { %s };"),
        condition);
    struct policy_set *set = compile(rules);
    bool permitted = decide(set, question, "small", "here").permitted;
    policy_set_free(&set);
    return permitted;
}

static void test_context_when_given(void **state)
{
    (void)state;
    const struct str tools[] = {
        STR_INIT("search"), STR_INIT("mail"), STR_INIT("search")};
    struct policy_question q = question_of("cal_i");
    q.max_tokens = 0;
    q.choices = 3;
    q.has_temperature = q.has_top_p = true;
    q.temperature4 = 7000;
    q.top_p4 = 9500;
    q.tools = tools;
    q.tool_count = 3;
    q.stream = true;
    q.is_holiday = true;
    assert_true(holds(
        &q, "context.params has maxTokens && context.params.maxTokens == 0"));
    assert_true(holds(&q, "context.params.n == 3"));
    assert_true(holds(&q, "context.params has temperature && "
                          "context.params.temperature == decimal(\"0.7\")"));
    assert_true(holds(&q, "context.params has topP && "
                          "context.params.topP.lessThan(decimal(\"0.9501\"))"));
    assert_true(holds(&q, "context.input.tools == [\"mail\", \"search\"]"));
    assert_true(holds(&q, "context.request.stream && context.time.isHoliday"));
    q.key = STR("");
    assert_true(holds(&q, "!(context.auth has key)"));
    q.address = STR("::ffff:192.0.2.7");
    assert_true(holds(&q, "context.request.ip == ip(\"192.0.2.7\")"));
    q.address = STR("::FFFF:c000:207");
    assert_true(holds(&q, "context.request.ip == ip(\"192.0.2.7\")"));
    q.address = STR("fe80::1%eth0");
    assert_true(holds(&q, "context.request.ip == ip(\"fe80::1\")"));
    q.address = STR("2001:db8::5");
    assert_true(
        holds(&q, "context.request.ip.isInRange(ip(\"2001:db8::/32\"))"));
    q.address = STR("unix");
    assert_false(holds(&q, "context.request.ip.isIpv4() || true"));
    struct policy_set *set =
        compile(RULE("a", "permit(principal, action, resource);")
                RULE("b", "forbid(principal, action, resource)"
                          " when { context.request.ip.isMulticast() };"));
    assert_int_equal(decide(set, &q, "small", "here").reason, POLICY_ERROR);
    policy_set_free(&set);
    q.zone = NULL; /* UTC */
    assert_true(holds(&q, "context.time.hour == 22"));
    /* Before 1970, and a day of the last century's. */
    q.now_us = at("1969-12-31T23:59:59.9995Z");
    assert_true(holds(&q,
        "context.time.now == datetime(\"1969-12-31T23:59:59.999Z\") && "
        "context.time.date == \"1969-12-31\" && "
        "context.time.weekday == \"Wed\""));
}

static void test_too_many_tools(void **state)
{
    (void)state;
    static struct str tools[2000];
    for (size_t i = 0; i < 2000; i++)
        tools[i] = STR("a_function");
    struct policy_set *set =
        compile(RULE("a", "permit(principal, action, resource);"));
    struct policy_question q = question_of("cal_i");
    q.tools = tools;
    q.tool_count = 2000;
    assert_int_equal(
        policy_decide_begin(workspace, set, entities, &q), ERR_LIMIT);
    struct policy_decision d;
    struct policy_target target = {
        .model = STR("small"), .engine = STR("here"), .upstream = STR("u")};
    policy_decide(workspace, &target, &d); /* decides nothing */
    assert_false(d.permitted);
    q.tool_count = 800;
    assert_int_equal(policy_decide_begin(workspace, set, entities, &q), ERR_OK);
    policy_decide(workspace, &target, &d);
    assert_true(d.permitted);
    policy_set_free(&set);
}

static void test_context_json(void **state)
{
    (void)state;
    const struct str tools[] = {STR_INIT("b\n"), STR_INIT("a")};
    struct policy_question q = question_of("cal_i");
    q.max_tokens = INT64_MAX;
    q.has_temperature = q.has_top_p = true;
    q.temperature4 = -7050;
    q.top_p4 = 20000;
    q.tools = tools;
    q.tool_count = 2;
    assert_int_equal(
        policy_decide_begin(workspace, NULL, entities, &q), ERR_OK);
    struct buf out;
    buf_init(&out, POLICY_CONTEXT_JSON_MAX);
    policy_decide_context(workspace, &out);
    assert_false(out.failed);
    const char *text = buf_cstr(&out);
    /* The order of a set is not that of its names. */
    bool turned = strstr(text, "[\"a\",\"b\\n\"]") != NULL;
    char expected[1024];
    snprintf(expected, sizeof(expected),
        "{\"auth\":{\"key\":\"key_1\",\"method\":\"api_key\"},"
        "\"input\":{\"audios\":0,\"bytes\":400,\"images\":0,\"messages\":2,"
        "\"tokens\":100,\"tools\":%s},"
        "\"params\":{\"maxTokens\":{\"__extn\":{\"arg\":"
        "\"9223372036854775807\",\"fn\":\"long\"}},\"n\":1,"
        "\"temperature\":{\"__extn\":{\"arg\":\"-0.705\",\"fn\":\"decimal\"}},"
        "\"topP\":{\"__extn\":{\"arg\":\"2.0\",\"fn\":\"decimal\"}}},"
        "\"request\":{\"dialect\":\"openai\",\"route\":"
        "\"/v1/chat/completions\",\"stream\":false},"
        "\"time\":{\"date\":\"2026-11-23\",\"hour\":23,\"isHoliday\":false,"
        "\"minute\":30,\"now\":{\"__extn\":{\"arg\":"
        "\"2026-11-23T22:30:15.123Z\",\"fn\":\"datetime\"}},"
        "\"weekday\":\"Mon\"}}",
        turned ? "[\"a\",\"b\\n\"]" : "[\"b\\n\",\"a\"]");
    assert_string_equal(text, expected);
    buf_fini(&out);
}

/* --- The schema says the same as the code -------------------------------- */

static void conforms(
    struct cedar_value value, const struct cedar_type *type, const char *where)
{
    static const uint8_t kinds[] = {
        [CEDAR_BOOL] = CEDAR_TYPE_BOOL,
        [CEDAR_LONG] = CEDAR_TYPE_LONG,
        [CEDAR_STRING] = CEDAR_TYPE_STRING,
        [CEDAR_ENTITY] = CEDAR_TYPE_ENTITY,
        [CEDAR_SET] = CEDAR_TYPE_SET,
        [CEDAR_RECORD] = CEDAR_TYPE_RECORD,
        [CEDAR_IP] = CEDAR_TYPE_EXTENSION,
        [CEDAR_DECIMAL] = CEDAR_TYPE_EXTENSION,
        [CEDAR_DATETIME] = CEDAR_TYPE_EXTENSION,
        [CEDAR_DURATION] = CEDAR_TYPE_EXTENSION,
    };
    if (kinds[value.kind] != type->kind ||
        (type->kind == CEDAR_TYPE_EXTENSION && type->extension != value.kind))
        fail_msg("%s has another type in the schema", where);
    if (type->kind == CEDAR_TYPE_ENTITY)
        assert_true(str_equal(value.entity->type, type->name));
    if (type->kind == CEDAR_TYPE_SET)
        for (uint32_t i = 0; i < value.set->count; i++)
            conforms(value.set->items[i], type->element, where);
    if (type->kind != CEDAR_TYPE_RECORD)
        return;
    for (uint32_t i = 0; i < value.record->count; i++) {
        const struct cedar_field *field = &value.record->fields[i];
        const struct cedar_attribute *attribute =
            cedar_type_attribute(type, field->key);
        char name[64];
        snprintf(
            name, sizeof(name), "%.*s", (int)field->key.len, field->key.ptr);
        if (attribute == NULL)
            fail_msg("%s is not in the schema", name);
        else
            conforms(field->value, attribute->type, name);
    }
    for (uint32_t i = 0; i < type->count; i++)
        if (type->attributes[i].required &&
            cedar_record_find(value.record, type->attributes[i].key) == NULL)
            fail_msg("%.*s is required by the schema",
                (int)type->attributes[i].key.len, type->attributes[i].key.ptr);
}

static void test_schema_matches(void **state)
{
    (void)state;
    struct cedar_schema *schema = NULL;
    struct cedar_diagnostics diagnostics = {0};
    struct str text =
        str_make(schema_bailiff_cedarschema, schema_bailiff_cedarschema_length);
    if (cedar_schema_parse_text(text, &diagnostics, &schema) != ERR_OK)
        fail_msg(
            "%d: %s", diagnostics.items[0].line, diagnostics.items[0].text);
    cedar_diagnostics_fini(&diagnostics);
    /* Actions and their groups. */
    assert_int_equal(cedar_schema_action_count(schema), POLICY_ACTION_COUNT);
    for (size_t i = 0; i < POLICY_ACTION_COUNT; i++) {
        const struct cedar_action *action =
            cedar_schema_action(schema, &entities->actions[i]);
        assert_non_null(action);
        struct cedar_uid group =
            cedar_uid_make(STR("Action"), policy_actions[i].group);
        assert_int_equal(
            action->ancestor_count, policy_actions[i].group.len > 0);
        if (policy_actions[i].group.len > 0)
            assert_true(
                cedar_action_in(action, cedar_schema_action(schema, &group)));
    }
    /* Entities. */
    for (size_t i = 0; i < cedar_entities_count(entities->store); i++) {
        struct cedar_entity_view view;
        cedar_entities_at(entities->store, i, &view);
        if (str_equal(view.uid->type, STR("Action")))
            continue;
        const struct cedar_entity_type *type =
            cedar_schema_entity_type(schema, view.uid->type);
        assert_non_null(type);
        conforms(cedar_record_value(
                     view.attributes ? view.attributes : &cedar_record_empty),
            type->shape, "entity");
    }
    /* Contexts: as full as can be, and as empty. */
    const struct str tools[] = {STR_INIT("t")};
    struct policy_question q = question_of("cal_i");
    struct policy_context *context = policy_context_new();
    struct policy_target target = {.engine = STR("here"), .upstream = STR("u")};
    const struct cedar_type *call = NULL, *listing = NULL;
    for (size_t i = 0; i < POLICY_ACTION_COUNT; i++) {
        const struct cedar_action *action =
            cedar_schema_action(schema, &entities->actions[i]);
        if (str_equal(policy_actions[i].name, STR("chat")))
            call = action->context;
        if (str_equal(policy_actions[i].name, STR("listModels")))
            listing = action->context;
    }
    assert_int_equal(policy_context_fill(context, &q), ERR_OK);
    conforms(cedar_record_value(policy_context_aim(context, &target)), call,
        "context");
    q.max_tokens = 5;
    q.has_temperature = q.has_top_p = true;
    q.tools = tools;
    q.tool_count = 1;
    assert_int_equal(policy_context_fill(context, &q), ERR_OK);
    conforms(cedar_record_value(policy_context_aim(context, &target)), call,
        "context");
    target = (struct policy_target){0};
    conforms(cedar_record_value(policy_context_aim(context, &target)), listing,
        "context");
    policy_context_free(&context);
    cedar_schema_free(&schema);
}

/* What is written down of a request decides the same when it is read again. */
static void test_recorded_decides_again(void **state)
{
    (void)state;
    struct policy_set *set = compile(
        "@id(\"p\") @title(\"t\") permit (principal, action, resource) when {"
        " context.auth has groups && context.auth.groups.contains(\"staff\") &&"
        " context.params has temperature &&"
        " context.params.temperature.lessThan(decimal(\"0.75\")) &&"
        " context.time.weekday == \"Mon\" && context.time.hour == 23 &&"
        " context.time.now < datetime(\"2026-11-23T22:30:16Z\") &&"
        " context.input.tools.containsAll([\"a\\n\", \"b\"]) &&"
        " context.input.tokens == 9007199254740993 && context.request.stream"
        "};");
    const struct str tools[] = {STR_INIT("a\n"), STR_INIT("b")};
    const struct str groups[] = {STR_INIT("staff")};
    struct policy_target target = {STR("small"), STR("here"), STR("up")};
    struct policy_question q = question_of("cal_d");
    struct policy_decision first, again;
    struct policy_recorded recorded = {
        STR("cal_d"), STR("chat"), {0}, {0}, NULL, 0};
    struct errinfo info = {0};
    struct buf json, twice;
    q.issuer = STR("house");
    q.client = STR("app");
    q.groups = groups;
    q.group_count = 1;
    q.certificate = (struct policy_certificate){.domain = STR("house-ca"),
        .issuer = STR("CN=house"),
        .fingerprint = STR("ab12"),
        .uri = STR("spiffe://house/agent"),
        .dns = groups,
        .dns_count = 1};
    q.has_temperature = q.has_top_p = true;
    q.temperature4 = 7000;
    q.top_p4 = 10000;
    q.tools = tools;
    q.tool_count = 2;
    q.stream = true;
    q.input_tokens = INT64_C(9007199254740993);
    q.max_tokens = 77;
    buf_init(&json, POLICY_CONTEXT_JSON_MAX);
    buf_init(&twice, POLICY_CONTEXT_JSON_MAX);
    assert_int_equal(policy_decide_begin(workspace, set, entities, &q), ERR_OK);
    policy_decide(workspace, &target, &first);
    assert_true(first.permitted);
    policy_decide_context(workspace, &json);
    recorded.context = buf_str(&json);
    assert_int_equal(
        policy_decide_recorded(workspace, set, entities, &recorded, &info),
        ERR_OK);
    policy_decide(workspace, &target, &again);
    assert_true(again.permitted);
    policy_decide_context(workspace, &twice);
    assert_true(str_equal(buf_str(&json), buf_str(&twice)));
    /* Another set about the same request. */
    struct policy_set *other = compile(
        "@id(\"f\") @title(\"t\") forbid (principal, action, resource) when {"
        " context.request.ip.isInRange(ip(\"10.0.0.0/8\")) };");
    policy_decide_by(workspace, other);
    policy_decide(workspace, &target, &again);
    assert_int_equal(again.reason, POLICY_ERROR); /* no address */
    recorded.address = STR("10.1.2.3");
    assert_int_equal(
        policy_decide_recorded(workspace, other, entities, &recorded, &info),
        ERR_OK);
    policy_decide(workspace, &target, &again);
    assert_int_equal(again.reason, POLICY_FORBIDDEN);
    buf_fini(&json);
    buf_fini(&twice);
    policy_set_free(&set);
    policy_set_free(&other);
}

/* A token's groups: for one request the caller is in further teams. */
static void test_teams_for_one_request(void **state)
{
    (void)state;
    const struct str interns[] = {STR_INIT("interns")};
    const struct str two[] = {STR_INIT("cleared"), STR_INIT("interns")};
    const struct str gone[] = {STR_INIT("no-such-team")};
    struct policy_question q = question_of("cal_s");
    struct policy_set *set = compile(plain_rules);
    assert_int_equal(decide(set, &q, "small", "here").reason, POLICY_NO_PERMIT);
    q.teams = interns;
    q.team_count = 1;
    /* Everyone is above the interns: in a scope, by the index. */
    assert_true(decide(set, &q, "small", "here").permitted);
    struct policy_decision d = decide(set, &q, "big", "here");
    assert_int_equal(d.reason, POLICY_FORBIDDEN);
    assert_int_equal(d.policy_count, 2);
    q.teams = two;
    q.team_count = 2;
    d = decide(set, &q, "big", "here"); /* cleared: in a condition */
    assert_int_equal(d.reason, POLICY_FORBIDDEN);
    assert_int_equal(d.policy_count, 1);
    q.teams = gone;
    q.team_count = 1;
    assert_int_equal(decide(set, &q, "small", "here").reason, POLICY_NO_PERMIT);
    /* Its own teams stay, and nothing is left behind for the next one. */
    q = question_of("cal_i");
    q.teams = two;
    q.team_count = 1;
    d = decide(set, &q, "big", "here");
    assert_int_equal(d.policy_count, 1);
    q.team_count = 0;
    assert_int_equal(decide(set, &q, "big", "here").policy_count, 2);
    q = question_of("cal_unknown");
    q.teams = interns;
    q.team_count = 1;
    assert_false(decide(set, &q, "small", "here").permitted);
    policy_set_free(&set);
    /* Sets, the principal by its own name, and somebody else's request. */
    set = compile(
        RULE("s", "permit(principal, action, resource) when { principal in "
                  "[Team::\"cardiology\", Team::\"interns\"] };")
            RULE("o", "forbid(principal, action, resource) when { "
                      "Caller::\"cal_s\" in Team::\"cleared\" };"));
    q = question_of("cal_s");
    q.teams = interns;
    q.team_count = 1;
    assert_true(decide(set, &q, "small", "here").permitted);
    q.teams = two;
    q.team_count = 2;
    assert_int_equal(decide(set, &q, "small", "here").reason, POLICY_FORBIDDEN);
    q.caller = STR("cal_i");
    assert_true(decide(set, &q, "small", "here").permitted);
    policy_set_free(&set);
}

static void test_recorded_that_is_not_ours(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "{}", "[]", "{\"time\":{}}",
        "{\"time\":{\"now\":1},\"request\":{\"stream\":true}}",
        "{\"time\":{\"nov\":1}}", "{\"moon\":{}}",
        "{\"time\":{\"now\":{\"__extn\":{\"arg\":\"x\",\"fn\":"
        "\"datetime\"}}}}",
        "{\"input\":{\"tools\":[1]}}", "{\"input\":{\"tokens\":1.5}}"};
    struct policy_target target = {STR("small"), STR("here"), STR("up")};
    struct policy_set *set = compile(
        "@id(\"p\") @title(\"t\") permit (principal, action, resource);");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct policy_recorded recorded = {
            STR("cal_d"), STR("chat"), str_from(texts[i]), {0}, NULL, 0};
        struct policy_decision decision;
        struct errinfo info = {0};
        assert_int_equal(
            policy_decide_recorded(workspace, set, entities, &recorded, &info),
            ERR_SYNTAX);
        assert_true(info.text[0] != '\0');
        policy_decide(workspace, &target, &decision);
        assert_false(decision.permitted);
    }
    policy_set_free(&set);
}

static struct policy_obligations bound_by(
    const struct policy_set *set, size_t first, size_t count)
{
    struct policy_obligations all, one;
    policy_set_obligations(set, first, &all);
    for (size_t i = 1; i < count; i++) {
        policy_set_obligations(set, first + i, &one);
        all.retain |= one.retain;
    }
    return all;
}

/* A bit of obligations.retain means another class in another set. */
static void test_obligations_of_two_sets(void **state)
{
    (void)state;
    struct policy_set *a =
        compile("@id(\"a\") @title(\"t\") @retain(\"short\") "
                "permit(principal,action,resource);"
                "@id(\"b\") @title(\"t\") @retain(\"long\") "
                "permit(principal,action,resource);"
                "@id(\"c\") @title(\"t\") permit(principal,action,resource);");
    struct policy_set *b =
        compile("@id(\"a\") @title(\"t\") @retain(\"long\") "
                "permit(principal,action,resource);"
                "@id(\"b\") @title(\"t\") @retain(\"short\") "
                "permit(principal,action,resource);"
                "@id(\"c\") @title(\"t\") @retain(\"other\") "
                "permit(principal,action,resource);");
    struct policy_obligations short_a = bound_by(a, 0, 1),
                              long_a = bound_by(a, 1, 1),
                              both_a = bound_by(a, 0, 2),
                              none_a = bound_by(a, 2, 1),
                              long_b = bound_by(b, 0, 1),
                              short_b = bound_by(b, 1, 1),
                              both_b = bound_by(b, 0, 2),
                              other_b = bound_by(b, 2, 1);
    assert_int_equal(short_a.retain, long_b.retain); /* the same bit */
    assert_false(policy_obligations_same(a, &short_a, b, &long_b));
    assert_true(policy_obligations_same(a, &short_a, b, &short_b));
    assert_true(policy_obligations_same(a, &long_a, b, &long_b));
    assert_true(policy_obligations_same(a, &both_a, b, &both_b));
    assert_false(policy_obligations_same(a, &both_a, b, &short_b));
    assert_false(policy_obligations_same(a, &short_a, b, &both_b));
    assert_false(policy_obligations_same(a, &none_a, b, &short_b));
    assert_false(policy_obligations_same(b, &other_b, a, &none_a));
    assert_true(policy_obligations_same(a, &none_a, a, &none_a));
    policy_set_free(&a);
    policy_set_free(&b);
}

/* --- Claims of tokens ------------------------------------------------------
 */

static void declare_claims(void)
{
    static const struct policy_claim_type types[] = {
        {STR_INIT("cleared"), POLICY_CLAIM_BOOL},
        {STR_INIT("department"), POLICY_CLAIM_STRING},
        {STR_INIT("level"), POLICY_CLAIM_LONG},
        {STR_INIT("projects"), POLICY_CLAIM_SET}};
    struct errinfo info = {0};
    assert_int_equal(policy_claims_declare(types, 4, &info), ERR_OK);
}

/* What the checker says of `condition`; NULL: it accepts it. */
static const char *finding_of(const char *condition)
{
    static char text[4096];
    struct policy_set *set = NULL;
    struct errinfo info = {0};
    struct buf rules, findings;
    buf_init(&rules, 4096);
    buf_init(&findings, 1u << 16);
    buf_printf(&rules,
        "@id(\"c\") @title(\"t\") permit(principal, action in "
        "Action::\"infer\", resource) when { %s };",
        condition);
    enum err err =
        policy_set_compile(buf_str(&rules), "r.cedar", &set, &findings, &info);
    snprintf(text, sizeof(text), "%s", buf_cstr(&findings));
    policy_set_free(&set);
    buf_fini(&rules);
    buf_fini(&findings);
    return err == ERR_OK ? NULL : text;
}

#define HAS(name) "context has claims && context.claims has " name " && "

static void test_claims_are_typed(void **state)
{
    (void)state;
    static const struct {
        const char *condition;
        bool good;
    } cases[] = {
        {HAS("department") "context.claims.department == \"r\"", true},
        {HAS("department") "context.claims.department like \"r*\"", true},
        {HAS("level") "context.claims.level >= 3", true},
        {HAS("cleared") "context.claims.cleared", true},
        {HAS("projects") "context.claims.projects.contains(\"x\")", true},
        {"context.claims.department == \"r\"", false},
        {"context has claims && context.claims.department == \"r\"", false},
        {HAS("level") "context.claims.level == \"3\"", false},
        {HAS("level") "context.claims.level.contains(3)", false},
        {HAS("department") "context.claims.department > 3", false},
        {HAS("projects") "context.claims.projects.contains(7)", false},
        {HAS("cleared") "context.claims.cleared == \"yes\"", false},
        {HAS("salary") "context.claims.salary > 3", false},
    };
    declare_claims();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *finding = finding_of(cases[i].condition);
        if ((finding == NULL) != cases[i].good)
            fail_msg("%s: %s", cases[i].condition,
                finding ? finding : "was accepted");
    }
    /* Nothing is known any more. */
    struct errinfo info = {0};
    assert_int_equal(policy_claims_declare(NULL, 0, &info), ERR_OK);
    assert_non_null(finding_of(cases[0].condition));
    static const char *const bad[] = {
        "", "a b", "1a", "if", "a.b", "x\"", "a,b", "like"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct policy_claim_type type = {str_from(bad[i]), POLICY_CLAIM_STRING};
        assert_int_equal(policy_claims_declare(&type, 1, &info), ERR_INVALID);
    }
}

static void test_claims_decide(void **state)
{
    (void)state;
    static const char rules[] =
        RULE("d", "permit(principal, action, resource) when { " HAS(
                      "department") "context.claims.department == \"res\\\"x\" "
                                    "&& context.claims has level && "
                                    "context.claims.level == -7 };") RULE("p",
            "forbid(principal, action, resource) when { " HAS(
                "projects") "context.claims.projects.contains(\"secret\")"
                            " };")
            RULE("c", "forbid(principal, action, resource) when { " HAS(
                          "cleared") "!context.claims.cleared };");
    static const struct str open[] = {STR_INIT("a"), STR_INIT("b")},
                            closed[] = {STR_INIT("secret"), STR_INIT("a")};
    struct policy_claim claims[] = {
        {.name = STR("cleared"), .kind = POLICY_CLAIM_BOOL, .number = 1},
        {.name = STR("department"),
            .kind = POLICY_CLAIM_STRING,
            .text = STR("res\"x")},
        {.name = STR("level"), .kind = POLICY_CLAIM_LONG, .number = -7},
        {.name = STR("projects"),
            .kind = POLICY_CLAIM_SET,
            .items = open,
            .item_count = 2}};
    declare_claims();
    struct policy_set *set = compile(rules);
    struct policy_question q = question_of("cal_i");
    assert_false(decide(set, &q, "small", "here").permitted);
    q.issuer = STR("idp");
    q.has_claims = true;
    assert_false(decide(set, &q, "small", "here").permitted);
    q.claims = claims;
    q.claim_count = 4;
    assert_true(decide(set, &q, "small", "here").permitted);
    /* The record holds them, and the same comes out of it. */
    struct buf json;
    struct errinfo info = {0};
    buf_init(&json, 1u << 16);
    policy_decide_context(workspace, &json);
    assert_non_null(strstr(buf_cstr(&json),
        "\"claims\":{\"cleared\":true,\"department\":\"res\\\"x\","
        "\"level\":-7,\"projects\":[\"a\",\"b\"]},\"input\""));
    struct policy_recorded recorded = {.caller = q.caller,
        .action = q.action,
        .context = buf_str(&json),
        .address = q.address};
    assert_int_equal(
        policy_decide_recorded(workspace, set, entities, &recorded, &info),
        ERR_OK);
    struct policy_target target = {
        .model = STR("small"), .engine = STR("here"), .upstream = STR("up-1")};
    struct policy_decision again;
    policy_decide(workspace, &target, &again);
    assert_true(again.permitted);
    buf_fini(&json);
    claims[3].items = closed;
    assert_false(decide(set, &q, "small", "here").permitted);
    claims[3].items = open;
    claims[0].number = 0;
    assert_false(decide(set, &q, "small", "here").permitted);
    claims[0].number = 1;
    claims[2].number = 7;
    assert_false(decide(set, &q, "small", "here").permitted);
    q.claim_count = POLICY_CLAIMS_MAX + 1;
    assert_int_equal(
        policy_decide_begin(workspace, set, entities, &q), ERR_LIMIT);
    policy_set_free(&set);
    assert_int_equal(policy_claims_declare(NULL, 0, &info), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_decides_again),
        cmocka_unit_test(test_teams_for_one_request),
        cmocka_unit_test(test_recorded_that_is_not_ours),
        cmocka_unit_test(test_default_is_deny),
        cmocka_unit_test(test_permit_and_forbid),
        cmocka_unit_test(test_starter_rules),
        cmocka_unit_test(test_unknown_names),
        cmocka_unit_test(test_failing_rules),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_many_names),
        cmocka_unit_test(test_obligations),
        cmocka_unit_test(test_obligations_of_two_sets),
        cmocka_unit_test(test_expires),
        cmocka_unit_test(test_advice),
        cmocka_unit_test(test_context),
        cmocka_unit_test(test_context_when_given),
        cmocka_unit_test(test_too_many_tools),
        cmocka_unit_test(test_context_json),
        cmocka_unit_test(test_claims_are_typed),
        cmocka_unit_test(test_claims_decide),
        cmocka_unit_test(test_schema_matches),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
