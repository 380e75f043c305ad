/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/access.c - the access review: who may use a model, or what a
 * caller may use, and by which rules of the version in force. It asks what
 * the exchange asks, for an ordinary request now; rules about time, size or
 * address may decide otherwise for another, which the answer says. */
#include "proxy/admin/rules_priv.h"

#include "lib/clock.h"
#include "policy/decide.h"

struct access_query {
    struct str caller, model, action;
};

struct review {
    struct admin_call *call;
    struct snapshot *snapshot;
    struct policy_workspace *workspace;
    struct access_query query;
    json_t *items;
};

static json_t *rule_names(
    const struct policy_set *set, const struct policy_decision *decision)
{
    json_t *rules = json_array();

    for (unsigned i = 0; i < decision->policy_count; i++)
        json_array_append_new(
            rules, admin_text(policy_set_id(set, decision->policies[i])));
    return rules;
}

static const char *standing(
    const struct snapshot_caller *caller, const struct snapshot_model *model)
{
    if (caller->disabled)
        return "the caller is disabled";
    if (model->status == MODEL_DRAFT)
        return "the model is a draft";
    if (model->status == MODEL_RETIRED)
        return "the model is retired";
    return model->candidate_count == 0 ? "the model runs on no engine" : NULL;
}

static const char *reason_words(enum policy_reason reason)
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

/* The first candidate that is permitted, else the last that is not. */
static enum err decide(struct review *r, const struct snapshot_caller *caller,
    const struct snapshot_model *model, struct policy_decision *decision)
{
    int64_t now = clock_now();
    struct policy_question question = {
        .caller = str_from(caller->id),
        .action = r->query.action,
        .auth_method = STR("api_key"),
        .address = STR(""),
        .route = STR("/v1/chat/completions"),
        .dialect = STR("openai"),
        .now_us = now,
        .zone = snapshot_zone(r->snapshot),
        .is_holiday = snapshot_is_holiday(r->snapshot, now),
        .messages = 1,
        .max_tokens = -1,
        .choices = 1,
    };
    enum err err =
        policy_decide_begin(r->workspace, snapshot_policy(r->snapshot),
            snapshot_entities(r->snapshot), &question);

    for (size_t i = 0; !err && i < model->candidate_count; i++) {
        struct policy_target target = {.model = str_from(model->name),
            .engine = str_from(model->candidates[i].engine->name),
            .upstream = str_from(model->candidates[i].upstream)};
        policy_decide(r->workspace, &target, decision);
        if (decision->permitted)
            break;
    }
    return err;
}

static enum err review_one(struct review *r,
    const struct snapshot_caller *caller, const struct snapshot_model *model)
{
    struct policy_decision decision = {0};
    const char *bar = standing(caller, model);
    json_t *one;
    enum err err = decide(r, caller, model, &decision);

    if (err)
        return FAIL(r->call, err, "the rules cannot be asked");
    one = json_object();
    admin_set_text(one, "caller", str_from(caller->id));
    admin_set_text(one, "callerName", str_from(caller->handle));
    admin_set_text(one, "model", str_from(model->name));
    admin_set_text(one, "action", r->query.action);
    admin_set_bool(one, "allowed", decision.permitted && !bar);
    admin_set_text(
        one, "because", str_from(bar ? bar : reason_words(decision.reason)));
    admin_set(
        one, "rules", rule_names(snapshot_policy(r->snapshot), &decision));
    json_array_append_new(r->items, one);
    return ERR_OK;
}

/* Every caller of the register, for one model. */
static enum err review_model(struct review *r)
{
    struct admin_call *call = r->call;
    const struct snapshot_model *model;
    struct db_statement *s;
    enum err err = admin_resolve_model(call, r->query.model, &r->query.model);

    if (!err)
        err = db_prepare(
            call->db, "SELECT id FROM caller ORDER BY id", &s, &call->info);
    if (err)
        return err;
    model = snapshot_find_model(r->snapshot, r->query.model);
    while (!err && (err = db_step(s, &call->info)) == ERR_OK) {
        const struct snapshot_caller *caller =
            snapshot_find_caller(r->snapshot, db_column_text(s, 0));
        if (caller && model)
            err = review_one(r, caller, model);
    }
    db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err review_caller(struct review *r)
{
    struct admin_call *call = r->call;
    const struct snapshot_caller *caller;
    enum err err =
        admin_resolve_person(call, "cal_", r->query.caller, &r->query.caller);

    if (err)
        return err;
    caller = snapshot_find_caller(r->snapshot, r->query.caller);
    if (!caller)
        return FAIL(
            call, ERR_WRONG_STATE, "the caller is not in force yet; try again");
    for (size_t i = 0; !err && i < snapshot_model_count(r->snapshot); i++)
        err = review_one(r, caller, snapshot_model(r->snapshot, i));
    return err;
}

static enum err review(struct review *r)
{
    struct admin_call *call = r->call;
    bool by_model = r->query.model.len > 0;
    enum err err;

    if (by_model == (r->query.caller.len > 0))
        return FAIL(call, ERR_INVALID,
            "the review is of one model (who may use it?) or of one caller "
            "(what may it use?): give one of model, caller");
    err = admin_take_snapshot(r->call, &r->snapshot);
    if (!err && !snapshot_policy(r->snapshot))
        err = FAIL(call, ERR_WRONG_STATE,
            "no policy version is in force: nobody may use anything");
    if (!err)
        err = by_model ? review_model(r) : review_caller(r);
    return err;
}

enum err handle_audit_access(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"caller", FIELD_NAME, false, offsetof(struct access_query, caller), 0,
            0, NULL},
        {"model", FIELD_NAME, false, offsetof(struct access_query, model), 0, 0,
            NULL},
        {"action", FIELD_WORD, false, offsetof(struct access_query, action), 0,
            0, "chat complete embed rerank listModels"},
    };
    struct review r = {.call = call,
        .query = {STR(""), STR(""), STR("chat")},
        .items = json_array(),
        .workspace = policy_workspace_new()};
    json_t *answer, *detail;
    enum err err =
        admin_read_query(call, fields, FIELD_COUNT(fields), &r.query);

    if (!err && !r.workspace)
        err = FAIL(call, ERR_NOMEM, "out of memory");
    control_lock(call->control);
    if (!err)
        err = review(&r);
    control_unlock(call->control);
    if (!err) {
        detail = json_object();
        admin_set_text(detail, "caller", r.query.caller);
        admin_set_text(detail, "model", r.query.model);
        admin_set_int(detail, "rows", (int64_t)json_array_size(r.items));
        err = admin_event(
            call, "audit.accessed", "access", STR(""), detail, STR(""));
    }
    if (!err) {
        answer = json_object();
        admin_set_int(
            answer, "policyVersion", snapshot_policy_version(r.snapshot));
        admin_set_text(
            answer, "policyHash", str_from(snapshot_policy_hash(r.snapshot)));
        admin_set(answer, "items", json_incref(r.items));
        err = admin_answer(call, 200, answer);
    }
    json_decref(r.items);
    policy_workspace_free(&r.workspace);
    snapshot_unref(&r.snapshot);
    return err;
}
