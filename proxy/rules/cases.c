/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/rules/cases.c - see proxy/rules/cases.h. */
#include "proxy/rules/cases.h"

#include "lib/arena.h"
#include "proxy/rules/world.h"

#include <stdio.h>
#include <stdlib.h>

#define TEXTS_MAX 256
/* Wednesday, noon: a case without a time does not depend on the clock. */
#define PLAIN_TIME INT64_C(1767787200000000)

/* --- Reading -----------------------------------------------------------------
 */

enum err cases_parse(
    struct str text, const char *name, json_t **out, struct errinfo *info)
{
    json_error_t error;
    json_t *document;

    if (text.len > CASES_BYTES_MAX)
        return errinfo_set(info, ERR_LIMIT,
            "%s: the cases are longer than %u "
            "bytes",
            name, CASES_BYTES_MAX);
    document = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &error);
    if (!document)
        return errinfo_set(info, ERR_SYNTAX, "%s:%d:%d: %s", name, error.line,
            error.column, error.text);
    *out = document;
    return ERR_OK;
}

struct running {
    const struct policy_set *set;
    struct world *world;
    struct arena *arena; /* of one case */
    struct policy_workspace *workspace;
    json_t *results;
    size_t number; /* of the case, from 1 */
    const char *name;
    struct errinfo *info;
};

static enum err wrong(struct running *r, const char *format, ...)
    PRINTFLIKE(2, 3);
static enum err wrong(struct running *r, const char *format, ...)
{
    char text[ERRINFO_MAX / 2];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return errinfo_set(r->info, ERR_INVALID, "case %zu%s%.80s%s: %s", r->number,
        r->name ? " \"" : "", r->name ? r->name : "", r->name ? "\"" : "",
        text);
}

/* --- Members of a case
 * --------------------------------------------------------- */

static const char *const members[] = {"name", "caller", "model", "action",
    "engine", "at", "holiday", "address", "auth", "groups", "key", "stream",
    "inputTokens", "inputBytes", "messages", "images", "audios", "tools",
    "maxTokens", "choices", "temperature", "topP", "route", "expect", "by",
    "advice", "bound", "why"};
#define MEMBER_COUNT (sizeof members / sizeof members[0])

static enum err check_members(struct running *r, const json_t *one)
{
    struct str names[MEMBER_COUNT], near;
    const char *key;
    json_t *value;
    void *iterator = json_object_iter((json_t *)(uintptr_t)one);

    for (size_t i = 0; i < MEMBER_COUNT; i++)
        names[i] = str_from(members[i]);
    for (; iterator;
         iterator = json_object_iter_next((json_t *)(uintptr_t)one, iterator)) {
        bool known = false;
        key = json_object_iter_key(iterator);
        value = json_object_iter_value(iterator);
        (void)value;
        for (size_t i = 0; i < MEMBER_COUNT; i++)
            known |= strcmp(key, members[i]) == 0;
        if (known)
            continue;
        near = str_suggest(str_from(key), names, MEMBER_COUNT);
        if (near.len > 0)
            return wrong(r, "unknown member \"%s\"; did you mean \"%.*s\"?",
                key, STR_ARG(near));
        return wrong(r,
            "unknown member \"%s\"; docs/rules.md has those there "
            "are",
            key);
    }
    return ERR_OK;
}

static enum err read_text(
    struct running *r, const json_t *one, const char *member, struct str *out)
{
    const json_t *value = json_object_get(one, member);

    if (!value)
        return ERR_OK;
    if (!json_is_string(value))
        return wrong(r, "%s is no text", member);
    *out = str_from(json_string_value(value));
    return ERR_OK;
}

static enum err read_number(
    struct running *r, const json_t *one, const char *member, int64_t *out)
{
    const json_t *value = json_object_get(one, member);

    if (!value)
        return ERR_OK;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return wrong(r, "%s is no number from 0", member);
    *out = json_integer_value(value);
    return ERR_OK;
}

static enum err read_flag(
    struct running *r, const json_t *one, const char *member, bool *out)
{
    const json_t *value = json_object_get(one, member);

    if (value && !json_is_boolean(value))
        return wrong(r, "%s is neither true nor false", member);
    *out = json_is_true(value);
    return ERR_OK;
}

static enum err read_texts(struct running *r, const json_t *one,
    const char *member, const struct str **out, size_t *count)
{
    const json_t *list = json_object_get(one, member);
    size_t size = json_array_size(list);
    struct str *texts;

    if (!list)
        return ERR_OK;
    if (!json_is_array(list) || size > TEXTS_MAX)
        return wrong(r, "%s is no list of at most %d texts", member, TEXTS_MAX);
    texts = ARENA_ARRAY(r->arena, size + 1, struct str);
    if (!texts)
        return errinfo_set(r->info, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < size; i++) {
        const json_t *text = json_array_get(list, i);
        if (!json_is_string(text))
            return wrong(r, "%s: not all of them are texts", member);
        texts[i] = str_from(json_string_value(text));
    }
    *out = texts;
    *count = size;
    return ERR_OK;
}

/* "0.7" as a text: JSON's numbers would be rounded on the way. */
static enum err read_decimal(struct running *r, const json_t *one,
    const char *member, bool *has, int64_t *out)
{
    struct str text = STR("");
    enum err err = read_text(r, one, member, &text);

    if (err || text.len == 0)
        return err;
    *has = world_decimal(text, out);
    return *has ? ERR_OK
                : wrong(r,
                      "%s is no decimal of at most four places, such as "
                      "\"0.7\"",
                      member);
}

static enum err read_time(struct running *r, const json_t *one, int64_t *out)
{
    struct str text = STR("");
    enum err err = read_text(r, one, "at", &text);

    if (!err && text.len > 0 && clock_parse(text, out) != ERR_OK)
        return wrong(r, "at is no time such as \"2026-01-07T12:00:00Z\"");
    return err;
}

static enum err read_question(
    struct running *r, const json_t *one, struct policy_question *q)
{
    struct str caller = STR("");
    enum err err = read_text(r, one, "caller", &caller);

    *q = (struct policy_question){.action = STR("chat"),
        .auth_method = STR("api_key"),
        .address = STR("127.0.0.1"),
        .route = STR("/v1/chat/completions"),
        .dialect = STR("openai"),
        .now_us = PLAIN_TIME,
        .zone = world_zone(r->world),
        .messages = 1,
        .max_tokens = -1,
        .choices = 1};
    if (!err && caller.len == 0)
        return wrong(r, "caller is missing");
    if (!err && !world_caller(r->world, caller, &q->caller))
        return wrong(r, "there is no caller \"%.*s\"", STR_ARG(caller));
    if (!err)
        err = read_text(r, one, "action", &q->action);
    if (!err)
        err = read_time(r, one, &q->now_us);
    if (!err)
        err = read_flag(r, one, "holiday", &q->is_holiday);
    if (!err)
        err = read_text(r, one, "address", &q->address);
    if (!err)
        err = read_text(r, one, "auth", &q->auth_method);
    if (!err)
        err = read_text(r, one, "key", &q->key);
    if (!err)
        err = read_text(r, one, "route", &q->route);
    if (!err)
        err = read_texts(r, one, "groups", &q->groups, &q->group_count);
    if (!err)
        err = read_texts(r, one, "tools", &q->tools, &q->tool_count);
    if (!err)
        err = read_flag(r, one, "stream", &q->stream);
    if (!err && str_equal(q->auth_method, STR("jwt")))
        q->issuer = STR("issuer");
    return err;
}

static enum err read_amounts(
    struct running *r, const json_t *one, struct policy_question *q)
{
    const struct {
        const char *member;
        int64_t *out;
    } numbers[] = {{"inputTokens", &q->input_tokens},
        {"inputBytes", &q->input_bytes}, {"messages", &q->messages},
        {"images", &q->images}, {"audios", &q->audios},
        {"maxTokens", &q->max_tokens}, {"choices", &q->choices}};
    enum err err = ERR_OK;

    for (size_t i = 0; !err && i < sizeof numbers / sizeof numbers[0]; i++)
        err = read_number(r, one, numbers[i].member, numbers[i].out);
    if (!err)
        err = read_decimal(
            r, one, "temperature", &q->has_temperature, &q->temperature4);
    if (!err)
        err = read_decimal(r, one, "topP", &q->has_top_p, &q->top_p4);
    return err;
}

/* --- Deciding
 * -------------------------------------------------------------------- */

/* The decision that speaks for all targets: the first that permits, or else
 * the first. */
static enum err decide(struct running *r, const json_t *one,
    const struct policy_question *q, struct policy_decision *out)
{
    struct world_target targets[WORLD_TARGETS_MAX];
    struct str model = STR(""), engine = STR("");
    size_t count = 0;
    enum err err = read_text(r, one, "model", &model);

    if (!err)
        err = read_text(r, one, "engine", &engine);
    if (err)
        return err;
    if (!world_targets(r->world, model, engine,
            str_equal(q->action, STR("listModels")), targets, &count))
        return wrong(r, "there is no model \"%.*s\"", STR_ARG(model));
    if (count == 0)
        return wrong(r, "the model \"%.*s\" does not run on %s%.*s",
            STR_ARG(model), engine.len ? "engine " : "an engine",
            STR_ARG(engine));
    err =
        policy_decide_begin(r->workspace, r->set, world_entities(r->world), q);
    for (size_t i = 0; !err && i < count; i++) {
        struct policy_decision decision;
        policy_decide(r->workspace, &targets[i].target, &decision);
        if (i == 0 || (decision.permitted && !out->permitted))
            *out = decision;
    }
    return err ? wrong(r, "it cannot be asked: %s", err_name(err)) : ERR_OK;
}

/* --- Comparing
 * ------------------------------------------------------------------- */

static json_t *rule_ids(
    const struct policy_set *set, const uint16_t *at, unsigned count)
{
    json_t *ids = json_array();

    for (unsigned i = 0; i < count; i++) {
        struct str id = policy_set_id(set, at[i]);
        json_array_append_new(ids, json_stringn(id.ptr, id.len));
    }
    return ids;
}

static bool holds(const json_t *list, struct str text)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (str_equal(
                str_from(json_string_value(json_array_get(list, i))), text))
            return true;
    return false;
}

/* A bound that the case names and that is otherwise, in words; or "". */
static void compare_bound(struct running *r, const json_t *one,
    const struct policy_obligations *o, struct buf *why)
{
    const json_t *bound = json_object_get(one, "bound"), *value;

    value = json_object_get(bound, "maxTokens");
    if (value && json_integer_value(value) != o->max_tokens)
        buf_printf(why, "the answer's bound is %lld tokens; ",
            (long long)o->max_tokens);
    value = json_object_get(bound, "engine");
    if (value && !str_equal(str_from(json_string_value(value)), o->engine))
        buf_printf(
            why, "the engine is bound to \"%.*s\"; ", STR_ARG(o->engine));
    value = json_object_get(bound, "recordFull");
    if (value && json_is_true(value) != o->record_full)
        buf_printf(why, "it is %skept in full; ", o->record_full ? "" : "not ");
    (void)r;
}

static enum err compare(struct running *r, const json_t *one,
    const struct policy_decision *d, struct buf *why, json_t *rules)
{
    const struct str *by = NULL, *advice = NULL;
    size_t by_count = 0, advice_count = 0;
    struct str expect = STR("");
    json_t *advised = rule_ids(r->set, d->advice, d->advice_count);
    enum err err = read_text(r, one, "expect", &expect);

    if (!err && !str_equal(expect, STR("permit")) &&
        !str_equal(expect, STR("deny")))
        err = wrong(r, "expect is neither \"permit\" nor \"deny\"");
    if (!err)
        err = read_texts(r, one, "by", &by, &by_count);
    if (!err)
        err = read_texts(r, one, "advice", &advice, &advice_count);
    if (!err && str_equal(expect, STR("permit")) != d->permitted)
        buf_printf(why, "%s was expected; ", d->permitted ? "deny" : "permit");
    for (size_t i = 0; !err && i < by_count; i++)
        if (!holds(rules, by[i]))
            buf_printf(why, "the rule %.*s did not decide; ", STR_ARG(by[i]));
    for (size_t i = 0; !err && i < advice_count; i++)
        if (!holds(advised, advice[i]))
            buf_printf(
                why, "the rule %.*s did not advise; ", STR_ARG(advice[i]));
    if (!err && advice && advice_count < json_array_size(advised))
        buf_printf(why, "other rules advised, too; ");
    if (!err)
        compare_bound(r, one, &d->obligations, why);
    json_decref(advised);
    return err;
}

static enum err run_one(struct running *r, const json_t *one)
{
    struct policy_question question;
    struct policy_decision decision = {0};
    struct buf why;
    json_t *rules, *result;
    enum err err;

    r->name = json_string_value(json_object_get(one, "name"));
    if (!json_is_object(one))
        return wrong(r, "it is no object");
    if (!r->name)
        return wrong(r, "name is missing");
    err = check_members(r, one);
    if (!err)
        err = read_question(r, one, &question);
    if (!err)
        err = read_amounts(r, one, &question);
    if (!err)
        err = decide(r, one, &question, &decision);
    if (err)
        return err;
    rules = decision.reason == POLICY_ERROR
                ? rule_ids(r->set, decision.errors, decision.error_count)
                : rule_ids(r->set, decision.policies, decision.policy_count);
    buf_init(&why, 65536);
    err = compare(r, one, &decision, &why, rules);
    if (!err) {
        result = json_pack("{s:s,s:b,s:s,s:O}", "name", r->name, "passed",
            why.len == 0, "got", decision.permitted ? "permit" : "deny",
            "rules", rules);
        if (why.len > 2)
            json_object_set_new(
                result, "why", json_stringn(buf_str(&why).ptr, why.len - 2));
        json_array_append_new(r->results, result);
    }
    buf_fini(&why);
    json_decref(rules);
    return err;
}

static enum err check_document(const json_t *document, struct errinfo *info)
{
    const json_t *cases = json_object_get(document, "cases");
    size_t known = (cases != NULL) +
                   (json_object_get(document, "world") != NULL) +
                   (json_object_get(document, "$schema") != NULL);

    if (!json_is_object(document) || !json_is_array(cases) ||
        json_object_size(document) != known)
        return errinfo_set(info, ERR_INVALID,
            "test cases are an object with \"cases\", a list, and maybe "
            "\"world\"");
    if (json_array_size(cases) > CASES_MAX)
        return errinfo_set(
            info, ERR_LIMIT, "there are more than %d cases", CASES_MAX);
    return ERR_OK;
}

enum err cases_run(const json_t *document, const struct policy_set *set,
    const struct snapshot *snapshot, json_t **out, struct errinfo *info)
{
    const json_t *cases = json_object_get(document, "cases");
    struct running r = {.set = set, .info = info};
    enum err err = check_document(document, info);

    if (!err)
        err = world_open(
            json_object_get(document, "world"), snapshot, &r.world, info);
    if (err)
        return err;
    r.results = json_array();
    r.arena = arena_new(16384, 8u << 20);
    r.workspace = policy_workspace_new();
    if (!r.arena || !r.workspace || !r.results)
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
    for (size_t i = 0; !err && i < json_array_size(cases); i++) {
        arena_reset(r.arena);
        r.number = i + 1;
        err = run_one(&r, json_array_get(cases, i));
    }
    policy_workspace_free(&r.workspace);
    arena_free(&r.arena);
    world_close(&r.world);
    if (err) {
        json_decref(r.results);
        return err;
    }
    *out = r.results;
    return ERR_OK;
}

size_t cases_failed(const json_t *results)
{
    size_t failed = 0;

    for (size_t i = 0; i < json_array_size(results); i++)
        failed += !json_is_true(
            json_object_get(json_array_get(results, i), "passed"));
    return failed;
}
