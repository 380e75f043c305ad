/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/policies.c - versions of the policy set: the admin API's side of
 * policy/store.h, with an event for every step. */
#include "proxy/admin/rules_priv.h"

#include "lib/clock.h"
#include "policy/store.h"
#include "proxy/emergency.h"
#include "proxy/rules/cases.h"

#define FINDINGS_MAX (1u << 20)
#define RULES_MAX (2 << 20)

static struct policy_actor actor_of(const struct admin_call *call)
{
    return (struct policy_actor){
        str_from(call->actor.id), call->actor.can_approve};
}

/* --- Reading ---------------------------------------------------------------
 */

static json_t *policy_json(
    struct admin_call *call, const struct policy_version *version)
{
    json_t *policy = json_object();

    admin_set_int(policy, "version", version->version);
    admin_set(
        policy, "hash", admin_hex(str_make((const char *)version->hash, 32)));
    admin_set_text(
        policy, "state", str_from(policy_state_name(version->state)));
    admin_set_text(policy, "note", version->note);
    admin_set_text(policy, "author", version->author);
    admin_set_text(
        policy, "authorName", admin_handle_of(call, version->author));
    admin_set_time(policy, "created", version->created_us);
    return policy;
}

struct listing {
    struct admin_call *call;
    json_t *items;
};

static void add_version(void *context, const struct policy_version *version)
{
    struct listing *listing = context;

    json_array_append_new(listing->items, policy_json(listing->call, version));
}

enum err handle_policy_list(struct admin_call *call)
{
    struct listing listing = {call, json_array()};
    enum err err =
        policy_store_list(call->db, add_version, &listing, &call->info);

    if (!err)
        return admin_answer_list(call, listing.items);
    json_decref(listing.items);
    return err;
}

static void add_act(void *context, const struct policy_act *act)
{
    struct listing *listing = context;
    json_t *item = json_object();

    admin_set_text(item, "act", act->act);
    admin_set_text(item, "actor", act->actor);
    admin_set_text(
        item, "actorName", admin_handle_of(listing->call, act->actor));
    admin_set_time(item, "time", act->time_us);
    admin_set_text(item, "note", act->note);
    json_array_append_new(listing->items, item);
}

static json_t *rules_of(const struct policy_set *set)
{
    json_t *rules = json_array();

    for (size_t i = 0; set && i < policy_set_count(set); i++) {
        json_t *rule = json_object();
        admin_set_text(rule, "id", policy_set_id(set, i));
        admin_set_text(rule, "title", policy_set_title(set, i));
        admin_set_bool(rule, "permit", policy_set_is_permit(set, i));
        admin_set_bool(rule, "advice", policy_set_is_advice(set, i));
        json_array_append_new(rules, rule);
    }
    return rules;
}

static enum err version_json(
    struct admin_call *call, int64_t number, bool with_text, json_t **out)
{
    struct listing acts = {call, json_array()};
    struct policy_version version;
    struct str tests = STR("");
    json_t *policy, *effect = NULL;
    enum err err =
        policy_store_get(call->db, number, call->arena, &version, &call->info);

    if (!err)
        err = policy_store_acts(call->db, number, add_act, &acts, &call->info);
    if (!err && with_text)
        err = policy_effect_of(call, number, &effect);
    if (!err && with_text)
        err = policy_tests_of(call, number, &tests);
    if (err) {
        json_decref(effect);
        json_decref(acts.items);
        return err;
    }
    policy = policy_json(call, &version);
    if (with_text) {
        admin_set_text(policy, "text", version.text);
        admin_set_text(policy, "shown", rules_shown(call, version.text));
        if (tests.len > 0)
            admin_set_text(policy, "tests", tests);
        if (effect)
            admin_set(policy, "effect", effect);
    }
    admin_set(policy, "acts", acts.items);
    *out = policy;
    return ERR_OK;
}

enum err admin_active_policy(
    struct admin_call *call, int64_t *version, struct str *text)
{
    struct policy_version active;
    struct errinfo info = {0};
    enum err err = policy_store_active(call->db, call->arena, &active, &info);

    *version = err ? 0 : active.version;
    *text = err ? STR("") : active.text;
    if (err && err != ERR_NOTFOUND) {
        call->info = info;
        return err;
    }
    return ERR_OK;
}

/* {version} of the path. */
static enum err version_of_path(struct admin_call *call, int64_t *out)
{
    if (str_to_i64(call->params[0], out) != ERR_OK || *out < 1)
        return FAIL(call, ERR_INVALID,
            "\"%.*s\" is no policy version; versions are numbers from 1",
            STR_ARG(call->params[0]));
    return ERR_OK;
}

enum err handle_policy_show(struct admin_call *call)
{
    int64_t version;
    struct str ignored;
    json_t *policy;
    enum err err;

    if (str_equal(call->params[0], STR("active"))) {
        err = admin_active_policy(call, &version, &ignored);
        if (!err && version == 0)
            err = FAIL(call, ERR_NOTFOUND,
                "no policy version is active: every request is denied. "
                "`bailiff policy activate VERSION` changes that");
    } else {
        err = version_of_path(call, &version);
    }
    if (!err)
        err = version_json(call, version, true, &policy);
    return err ? err : admin_answer(call, 200, policy);
}

/* --- Validate and put ------------------------------------------------------
 */

struct policy_body {
    struct str text, name, note, reason, tests;
};
#define AT(member) offsetof(struct policy_body, member)

static const char *source_name(
    struct admin_call *call, const struct policy_body *body)
{
    const char *name = arena_cstr(call->arena, body->name);

    return name && name[0] ? name : "rules.cedar";
}

enum err handle_policy_validate(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"text", FIELD_TEXT, true, AT(text), 0, RULES_MAX, NULL},
        {"name", FIELD_TEXT, false, AT(name), 0, 200, NULL},
    };
    struct policy_body body = {.name = STR("")};
    struct rules rules;
    json_t *answer;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = rules_prepare(call, body.text, source_name(call, &body), &rules);
    if (err)
        return err;
    answer = json_object();
    admin_set_bool(answer, "valid", json_array_size(rules.findings) == 0);
    admin_set(answer, "findings", json_incref(rules.findings));
    admin_set(answer, "rules", rules_of(rules.set));
    rules_fini(&rules);
    return admin_answer(call, 200, answer);
}

static json_t *version_event(struct admin_call *call, int64_t number)
{
    struct policy_version version;
    json_t *event;

    if (number == 0 ||
        policy_store_get(call->db, number, call->arena, &version, NULL))
        return NULL;
    event = json_object();
    admin_set_int(event, "version", number);
    admin_set(
        event, "hash", admin_hex(str_make((const char *)version.hash, 32)));
    return event;
}

static enum err record(struct admin_call *call, const char *type,
    int64_t version, int64_t before, json_t *detail, struct str reason)
{
    const char *object = arena_printf(call->arena, "%lld", (long long)version);

    return admin_record(call, type, "policy", str_from(object),
        version_event(call, before), version_event(call, version), detail,
        reason);
}

enum err admin_put_policy(
    struct admin_call *call, struct str text, struct str note, int64_t *version)
{
    const struct policy_actor actor = actor_of(call);
    enum err err = policy_store_put(
        call->db, text, note, &actor, clock_now(), version, &call->info);

    if (!err)
        err = policy_tests_inherit(call, *version);
    return err ? err : record(call, "policy.put", *version, 0, NULL, note);
}

enum err handle_policy_put(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"text", FIELD_TEXT, true, AT(text), 1, RULES_MAX, NULL},
        {"name", FIELD_TEXT, false, AT(name), 0, 200, NULL},
        {"note", FIELD_TEXT, false, AT(note), 0, 1000, NULL},
        {"tests", FIELD_TEXT, false, AT(tests), 0, CASES_BYTES_MAX, NULL},
    };
    struct policy_body body = {
        .name = STR(""), .note = STR(""), .tests = STR("")};
    struct rules rules = {0};
    int64_t version;
    json_t *policy;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = rules_prepare(call, body.text, source_name(call, &body), &rules);
    if (!err)
        err = rules_refuse(call, &rules);
    if (!err)
        err = admin_begin(call);
    if (!err)
        err = admin_put_policy(call, rules.text, body.note, &version);
    if (!err && body.tests.len > 0)
        err = policy_tests_keep(call, version, rules.set, body.tests);
    if (!err)
        err = admin_commit(call, 0);
    if (!err)
        err = version_json(call, version, false, &policy);
    if (!err) {
        admin_set(policy, "rules", rules_of(rules.set));
        err = admin_answer(call, 201, policy);
    }
    rules_fini(&rules);
    return err;
}

/* --- The states ------------------------------------------------------------
 */

/* Names that have gone since are a problem document of their own. */
static enum err refuse_if_found(
    struct admin_call *call, enum err err, const struct buf *findings)
{
    json_t *lines;

    if (err != ERR_SYNTAX || findings->len == 0)
        return err;
    lines = rules_lines(buf_str(findings));
    err = rules_refuse_findings(call, lines);
    json_decref(lines);
    return err;
}

enum err admin_submit_policy(
    struct admin_call *call, int64_t version, struct str reason)
{
    const struct policy_actor actor = actor_of(call);
    struct buf findings;
    enum err err = policy_tests_must_pass(call, version);

    if (err)
        return err;
    buf_init(&findings, FINDINGS_MAX);
    err = policy_store_submit(
        call->db, version, reason, &actor, clock_now(), &findings, &call->info);
    err = refuse_if_found(call, err, &findings);
    buf_fini(&findings);
    return err ? err
               : record(call, "policy.submitted", version, 0, NULL, reason);
}

static json_t *activation_detail(const struct policy_activation *activation)
{
    json_t *detail = json_object();

    if (activation->none_required)
        admin_set_text(detail, "approval", STR("none required"));
    else
        admin_set_int(detail, "approvals", activation->approvals);
    return detail;
}

/* Another activation ends rules that were in force by emergency. */
static enum err emergency_of(struct admin_call *call, struct str *id)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT id FROM emergency WHERE kind = 'policy' AND ended IS NULL", &s,
        &call->info);

    *id = STR("");
    if (err)
        return err;
    err = db_step(s, &call->info);
    if (!err)
        *id = admin_column(call, s, 0);
    db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err record_superseded(struct admin_call *call, struct str id)
{
    const struct emergency_end end = {
        .id = id, .policy = true, .cause = "superseded"};

    return id.len == 0 ? ERR_OK
                       : emergency_record_end(call->control, &call->actor, &end,
                             STR(""), &call->info);
}

enum err admin_activate_policy(
    struct admin_call *call, int64_t version, struct str reason)
{
    const struct policy_actor actor = actor_of(call);
    struct policy_activation activation;
    struct str emergency;
    struct buf findings;
    enum err err = policy_tests_must_pass(call, version);

    if (!err)
        err = emergency_of(call, &emergency);

    if (err)
        return err;
    buf_init(&findings, FINDINGS_MAX);
    err = policy_store_activate(call->db, version, reason, &actor, clock_now(),
        &findings, &activation, &call->info);
    err = refuse_if_found(call, err, &findings);
    buf_fini(&findings);
    if (!err)
        err = record_superseded(call, emergency);
    return err ? err
               : record(call, "policy.activated", version, activation.previous,
                     activation_detail(&activation), reason);
}

static enum err read_reason(struct admin_call *call, struct policy_body *body)
{
    static const struct admin_field fields[] = {
        {"reason", FIELD_TEXT, false, AT(reason), 0, 1000, NULL},
    };

    body->reason = STR("");
    return admin_read_body(call, fields, FIELD_COUNT(fields), body);
}

static enum err answer_version(struct admin_call *call, int64_t version)
{
    json_t *policy;
    enum err err = version_json(call, version, false, &policy);

    return err ? err : admin_answer(call, 200, policy);
}

/* The steps that take a version and a reason. */
static enum err take_step(struct admin_call *call,
    enum err (*step)(
        struct admin_call *call, int64_t version, struct str reason),
    unsigned what)
{
    struct policy_body body;
    int64_t version;
    enum err err = version_of_path(call, &version);

    if (!err)
        err = read_reason(call, &body);
    if (err || (err = admin_begin(call)))
        return err;
    err = step(call, version, body.reason);
    if (!err)
        err = admin_commit(call, what);
    return err ? err : answer_version(call, version);
}

/* What it would change is found out before, without the lock. */
enum err handle_policy_submit(struct admin_call *call)
{
    struct policy_body body;
    json_t *effect = NULL;
    int64_t version;
    enum err err = version_of_path(call, &version);

    if (!err)
        err = read_reason(call, &body);
    if (!err)
        err = policy_effect_compute(call, version, &effect);
    if (err)
        return err;
    control_lock(call->control);
    err = admin_begin(call);
    if (!err)
        err = admin_submit_policy(call, version, body.reason);
    if (!err)
        err = policy_effect_keep(call, version, effect);
    if (!err)
        err = admin_commit(call, 0);
    if (!err)
        err = answer_version(call, version);
    control_unlock(call->control);
    json_decref(effect);
    return err;
}

enum err handle_policy_activate(struct admin_call *call)
{
    return take_step(call, admin_activate_policy, CHANGED_POLICY);
}

static enum err approve(
    struct admin_call *call, int64_t version, struct str reason)
{
    const struct policy_actor actor = actor_of(call);
    struct policy_approval approval;
    json_t *detail;
    enum err err = policy_store_approve(
        call->db, version, reason, &actor, clock_now(), &approval, &call->info);

    if (err)
        return err;
    detail = json_object();
    admin_set_int(detail, "given", approval.given);
    admin_set_int(detail, "required", approval.required);
    return record(call, "policy.approved", version, 0, detail, reason);
}

enum err handle_policy_approve(struct admin_call *call)
{
    return take_step(call, approve, 0);
}

struct rollback_body {
    int64_t version;
    struct str reason;
};

enum err handle_policy_rollback(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"version", FIELD_INT, false, offsetof(struct rollback_body, version),
            1, INT64_MAX, NULL},
        {"reason", FIELD_TEXT, false, offsetof(struct rollback_body, reason), 0,
            1000, NULL},
    };
    const struct policy_actor actor = actor_of(call);
    struct rollback_body body = {.reason = STR("")};
    struct policy_activation activation;
    struct buf findings;
    struct str emergency;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = emergency_of(call, &emergency);
    if (err || (err = admin_begin(call)))
        return err;
    buf_init(&findings, FINDINGS_MAX);
    err = policy_store_rollback(call->db, body.version, body.reason, &actor,
        clock_now(), &findings, &activation, &call->info);
    err = refuse_if_found(call, err, &findings);
    buf_fini(&findings);
    if (!err)
        err = record_superseded(call, emergency);
    if (!err)
        err = record(call, "policy.rolled_back", activation.version,
            activation.previous, NULL, body.reason);
    if (!err)
        err = admin_commit(call, CHANGED_POLICY);
    return err ? err : answer_version(call, activation.version);
}
