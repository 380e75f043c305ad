/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/try.c - would this request be permitted, and by which rules?
 * Asks what the exchange asks, candidate by candidate, without making a
 * request: with the active rules, those of any version, or a text. */
#include "proxy/admin/rules_priv.h"

#include "lib/clock.h"
#include "policy/decide.h"

#define TOOLS_MAX 128

struct try_body {
    struct str caller, action, model, text, name, address;
    struct str route;
    int64_t version, input_tokens, input_bytes, messages, images, audios,
        max_tokens, choices, at;
    struct str language;
    bool stream, explain;
    struct admin_names tools;
};

enum err admin_take_snapshot(struct admin_call *call, struct snapshot **out)
{
    const struct admin_server *server = call->admin->server;
    struct snapshot_sources sources = {
        .control = call->db, .persons = call->persons, .now_us = clock_now()};

    /* Inside a change the rows are ahead of what the server has. */
    if (server && !call->changing) {
        *out = server->snapshot(server->context);
        return ERR_OK;
    }
    return snapshot_build(&sources, NULL, CHANGED_ALL, out, &call->info);
}

static const char *reason_word(enum policy_reason reason)
{
    switch (reason) {
    case POLICY_NO_PERMIT:
        return "no rule permits it";
    case POLICY_FORBIDDEN:
        return "a rule forbids it";
    case POLICY_ERROR:
        return "a forbidding rule could not be evaluated";
    case POLICY_LIMIT:
        return "evaluation passed its limit";
    case POLICY_PERMITTED:
        return "permitted";
    }
    return "";
}

static json_t *named_rules(
    const struct policy_set *set, const uint16_t *at, unsigned count)
{
    json_t *rules = json_array();

    for (unsigned i = 0; i < count; i++) {
        json_t *rule = json_object();
        admin_set_text(rule, "id", policy_set_id(set, at[i]));
        admin_set_text(rule, "title", policy_set_title(set, at[i]));
        json_array_append_new(rules, rule);
    }
    return rules;
}

static json_t *retain_json(
    const struct policy_set *set, const struct policy_obligations *o)
{
    json_t *classes = json_array();

    for (unsigned bit = 0; bit < policy_set_retain_count(set); bit++)
        if (o->retain >> bit & 1)
            json_array_append_new(
                classes, admin_text(policy_set_retain(set, bit)));
    return classes;
}

static json_t *obligations_json(
    const struct policy_set *set, const struct policy_obligations *o)
{
    json_t *obligations = json_object();

    if (o->max_tokens >= 0)
        admin_set_int(obligations, "maxTokens", o->max_tokens);
    if (o->engine.len > 0)
        admin_set_text(obligations, "engine", o->engine);
    if (o->priority != POLICY_PRIORITY_NONE)
        admin_set_text(obligations, "priority",
            str_from(policy_priority_name(o->priority)));
    if (o->record_full)
        admin_set_bool(obligations, "recordFull", true);
    if (o->require_stream)
        admin_set_bool(obligations, "requireStream", true);
    if (o->retain != 0)
        admin_set(obligations, "retain", retain_json(set, o));
    return obligations;
}

static json_t *decision_json(const struct policy_set *set,
    const struct policy_target *target, const struct policy_decision *decision)
{
    json_t *candidate = json_object();

    admin_set_text(candidate, "model", target->model);
    admin_set_text(candidate, "engine", target->engine);
    admin_set_text(candidate, "upstream", target->upstream);
    admin_set_bool(candidate, "permitted", decision->permitted);
    admin_set_text(
        candidate, "reason", str_from(reason_word(decision->reason)));
    admin_set(candidate, "rules",
        named_rules(set, decision->policies, decision->policy_count));
    admin_set(candidate, "errors",
        named_rules(set, decision->errors, decision->error_count));
    admin_set(candidate, "advice",
        named_rules(set, decision->advice, decision->advice_count));
    admin_set_text(candidate, "message", decision->message);
    if (decision->permitted)
        admin_set(candidate, "obligations",
            obligations_json(set, &decision->obligations));
    return candidate;
}

static struct policy_question question_of(const struct try_body *body,
    const struct snapshot *snapshot, const struct snapshot_caller *caller)
{
    int64_t now = body->at ? body->at : clock_now();

    return (struct policy_question){
        .caller = str_from(caller->id),
        .action = body->action,
        .auth_method = STR("api_key"),
        .address = body->address,
        .route = body->route,
        .dialect = STR("openai"),
        .stream = body->stream,
        .now_us = now,
        .zone = snapshot_zone(snapshot),
        .is_holiday = snapshot_is_holiday(snapshot, now),
        .input_tokens = body->input_tokens,
        .input_bytes = body->input_bytes,
        .messages = body->messages,
        .images = body->images,
        .audios = body->audios,
        .tools = body->tools.items,
        .tool_count = body->tools.count,
        .max_tokens = body->max_tokens,
        .choices = body->choices,
    };
}

/* Every candidate of the model; listModels asks without an engine. */
static enum err decide_all(struct admin_call *call, const struct try_body *body,
    const struct snapshot *snapshot, const struct policy_set *set,
    const struct snapshot_caller *caller, const struct snapshot_model *model,
    json_t *candidates, bool *permitted, enum cedar_language language,
    json_t **explanation)
{
    struct policy_question question = question_of(body, snapshot, caller);
    struct policy_workspace *workspace = policy_workspace_new();
    struct policy_target speaks = {.model = str_from(model->name)};
    bool list = str_equal(body->action, STR("listModels"));
    enum err err = workspace ? ERR_OK : ERR_NOMEM;

    if (!err)
        err = policy_decide_begin(
            workspace, set, snapshot_entities(snapshot), &question);
    for (size_t i = 0; !err && i < (list ? 1 : model->candidate_count); i++) {
        struct policy_target target = {.model = str_from(model->name)};
        struct policy_decision decision;

        if (!list) {
            target.engine = str_from(model->candidates[i].engine->name);
            target.upstream = str_from(model->candidates[i].upstream);
        }
        policy_decide(workspace, &target, &decision);
        if (i == 0 || (decision.permitted && !*permitted))
            speaks = target;
        *permitted |= decision.permitted;
        if (candidates)
            json_array_append_new(
                candidates, decision_json(set, &target, &decision));
    }
    if (!err && explanation)
        err = rules_explain(call, workspace, set, &speaks, question.now_us,
            language, explanation);
    policy_workspace_free(&workspace);
    return err;
}

static const char *standing_word(const struct snapshot_caller *caller,
    const struct snapshot_model *model, const struct try_body *body)
{
    if (caller->disabled)
        return "the caller is disabled";
    if (model->status == MODEL_DRAFT)
        return "the model is a draft: `bailiff model approve` opens it to "
               "the rules";
    if (model->status == MODEL_RETIRED)
        return "the model is retired";
    if (model->candidate_count == 0 &&
        !str_equal(body->action, STR("listModels")))
        return "the model runs on no engine";
    return NULL;
}

static const char *route_of(struct str action)
{
    if (str_equal(action, STR("complete")))
        return "/v1/completions";
    if (str_equal(action, STR("embed")))
        return "/v1/embeddings";
    if (str_equal(action, STR("listModels")))
        return "/v1/models";
    return "/v1/chat/completions";
}

/* What is asked about: caller and model as the snapshot has them. */
static enum err find_both(struct admin_call *call, const struct try_body *body,
    const struct snapshot *snapshot, const struct snapshot_caller **caller,
    const struct snapshot_model **model)
{
    struct str id, name;
    enum err err = admin_resolve_person(call, "cal_", body->caller, &id);

    if (!err)
        err = admin_resolve_model(call, body->model, &name);
    if (err)
        return err;
    *caller = snapshot_find_caller(snapshot, id);
    *model = snapshot_find_model(snapshot, name);
    if (!*caller || !*model)
        return FAIL(call, ERR_WRONG_STATE,
            "the caller or the model is not in force yet; try again");
    return ERR_OK;
}

enum err rules_choose(struct admin_call *call, int64_t version, struct str text,
    struct str source, const struct snapshot *snapshot, struct rules *own,
    const struct policy_set **out)
{
    struct db_statement *s;
    const char *name = arena_cstr(call->arena, source);
    enum err err;

    if (version > 0) {
        err = db_prepare(call->db,
            "SELECT text FROM policy_version WHERE version = ?1", &s,
            &call->info);
        if (err)
            return err;
        db_bind_int(s, 1, version);
        err = db_step(s, &call->info);
        if (!err)
            text = admin_column(call, s, 0);
        db_reset(s);
        if (err == ERR_NOTFOUND)
            return FAIL(call, ERR_NOTFOUND, "there is no policy version %lld",
                (long long)version);
        if (err)
            return err;
    }
    if (text.len == 0) {
        *out = snapshot_policy(snapshot);
        return ERR_OK;
    }
    err = rules_prepare(call, text, name ? name : "rules.cedar", own);
    if (!err)
        err = rules_refuse(call, own);
    if (!err)
        *out = own->set;
    return err;
}

#define AT(member) offsetof(struct try_body, member)
static const struct admin_field try_fields[] = {
    {"caller", FIELD_NAME, true, AT(caller), 0, 0, NULL},
    {"action", FIELD_WORD, false, AT(action), 0, 0,
        "chat complete embed rerank transcribe translateAudio speak "
        "generateImage moderate countTokens listModels"},
    {"model", FIELD_NAME, true, AT(model), 0, 0, NULL},
    {"version", FIELD_INT, false, AT(version), 1, INT64_MAX, NULL},
    {"text", FIELD_TEXT, false, AT(text), 0, 2 << 20, NULL},
    {"name", FIELD_TEXT, false, AT(name), 0, 200, NULL},
    {"address", FIELD_TEXT, false, AT(address), 0, 64, NULL},
    {"at", FIELD_TIME, false, AT(at), 0, 0, NULL},
    {"explain", FIELD_BOOL, false, AT(explain), 0, 0, NULL},
    {"language", FIELD_TEXT, false, AT(language), 0, 16, NULL},
    {"stream", FIELD_BOOL, false, AT(stream), 0, 0, NULL},
    {"inputTokens", FIELD_INT, false, AT(input_tokens), 0, 1000000000, NULL},
    {"inputBytes", FIELD_INT, false, AT(input_bytes), 0, 1000000000, NULL},
    {"messages", FIELD_INT, false, AT(messages), 0, 1000000, NULL},
    {"images", FIELD_INT, false, AT(images), 0, 1000000, NULL},
    {"audios", FIELD_INT, false, AT(audios), 0, 1000000, NULL},
    {"maxTokens", FIELD_INT, false, AT(max_tokens), 0, 1000000000, NULL},
    {"choices", FIELD_INT, false, AT(choices), 1, 1000, NULL},
    {"tools", FIELD_NAMES, false, AT(tools), 0, 0, NULL},
};

static void init_body(struct try_body *body)
{
    *body = (struct try_body){
        .action = STR("chat"),
        .text = STR(""),
        .name = STR("rules.cedar"),
        .address = STR(""),
        .messages = 1,
        .max_tokens = -1,
        .choices = 1,
    };
}

static json_t *answer_of(const struct try_body *body,
    const struct snapshot *snapshot, const struct snapshot_caller *caller,
    const struct snapshot_model *model, bool active, bool permitted,
    json_t *candidates)
{
    const char *standing = standing_word(caller, model, body);
    json_t *answer = json_object();

    admin_set_bool(answer, "allowed", permitted && !standing);
    admin_set_text(answer, "caller", str_from(caller->id));
    admin_set_text(answer, "handle", str_from(caller->handle));
    admin_set_text(answer, "action", body->action);
    admin_set_text(answer, "model", str_from(model->name));
    if (standing)
        admin_set_text(answer, "because", str_from(standing));
    if (active) {
        admin_set_int(
            answer, "policyVersion", snapshot_policy_version(snapshot));
        admin_set_text(
            answer, "policyHash", str_from(snapshot_policy_hash(snapshot)));
    } else if (body->version > 0) {
        admin_set_int(answer, "policyVersion", body->version);
    }
    admin_set(answer, "candidates", candidates);
    return answer;
}

enum err handle_policy_try(struct admin_call *call)
{
    struct try_body body;
    struct snapshot *snapshot = NULL;
    const struct snapshot_caller *caller;
    const struct snapshot_model *model;
    const struct policy_set *set = NULL;
    struct rules own = {0};
    json_t *candidates = NULL, *explanation = NULL, *answer;
    enum cedar_language language = CEDAR_ENGLISH;
    bool permitted = false;
    enum err err;

    init_body(&body);
    err = admin_read_body(call, try_fields, FIELD_COUNT(try_fields), &body);
    if (!err && body.tools.count > TOOLS_MAX)
        err = FAIL(call, ERR_LIMIT, "tools: at most %d", TOOLS_MAX);
    if (!err)
        err = rules_language(call, body.language, &language);
    if (!err)
        err = admin_take_snapshot(call, &snapshot);
    if (!err)
        err = find_both(call, &body, snapshot, &caller, &model);
    if (!err)
        err = rules_choose(
            call, body.version, body.text, body.name, snapshot, &own, &set);
    if (!err && !set)
        err = FAIL(call, ERR_WRONG_STATE,
            "no policy version is active: every request is denied (503); "
            "`bailiff policy activate VERSION` changes that");
    if (err)
        goto out;
    body.route = str_from(route_of(body.action));
    candidates = json_array();
    err = decide_all(call, &body, snapshot, set, caller, model, candidates,
        &permitted, language, body.explain ? &explanation : NULL);
    if (err)
        goto out;
    answer = answer_of(&body, snapshot, caller, model, !own.set, permitted,
        json_incref(candidates));
    if (explanation)
        admin_set(answer, "explanation", explanation);
    err = admin_answer(call, 200, answer);
out:
    json_decref(candidates);
    rules_fini(&own);
    snapshot_unref(&snapshot);
    return err;
}

enum err admin_is_permitted(struct admin_call *call, struct str caller_id,
    struct str action, struct str model_name, bool *out)
{
    struct try_body body;
    struct snapshot *snapshot = NULL;
    const struct snapshot_caller *caller;
    const struct snapshot_model *model;
    bool permitted = false;
    enum err err;

    init_body(&body);
    body.caller = caller_id;
    body.action = action;
    body.model = model_name;
    body.route = str_from(route_of(action));
    err = admin_take_snapshot(call, &snapshot);
    if (!err)
        err = find_both(call, &body, snapshot, &caller, &model);
    if (!err && snapshot_policy(snapshot))
        err = decide_all(call, &body, snapshot, snapshot_policy(snapshot),
            caller, model, NULL, &permitted, CEDAR_ENGLISH, NULL);
    snapshot_unref(&snapshot);
    if (!err)
        *out = permitted;
    return err;
}
