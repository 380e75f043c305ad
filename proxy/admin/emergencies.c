/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/emergencies.c - break-glass: rules in force without approvals
 * until a time, callers let through against the rules until a time. Each has a
 * reason, is loud (log, status, metrics), ends by itself, and stays under
 * review until somebody other than who called it has closed that. */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"
#include "lib/log.h"
#include "policy/store.h"
#include "proxy/emergency.h"
#include "proxy/secret.h"

#define LONGEST_US (7 * DAY_US)
#define FINDINGS_MAX (1u << 20)

#define EMERGENCY_COLUMNS                                                      \
    "SELECT id, kind, version, previous, model, actor, reason, started, "      \
    "expires, ended, cause, reviewed, reviewer, review FROM emergency "

/* --- Answers ------------------------------------------------------------- */

static json_t *version_or_null(struct db_statement *s, int at)
{
    return db_column_is_null(s, at) ? json_null()
                                    : json_integer(db_column_int(s, at));
}

static json_t *time_or_null(struct db_statement *s, int at)
{
    return admin_time(db_column_is_null(s, at) ? 0 : db_column_int(s, at));
}

static json_t *emergency_json(struct admin_call *call, struct db_statement *s)
{
    json_t *one = json_object();
    struct str actor = admin_column(call, s, 5),
               reviewer = admin_column(call, s, 12);
    const char *state = db_column_is_null(s, 9)    ? "on"
                        : db_column_is_null(s, 11) ? "review"
                                                   : "closed";

    admin_set_text(one, "id", db_column_text(s, 0));
    admin_set_text(one, "kind", db_column_text(s, 1));
    admin_set_text(one, "state", str_from(state));
    admin_set(one, "version", version_or_null(s, 2));
    admin_set(one, "previous", version_or_null(s, 3));
    admin_set_text(one, "model", db_column_text(s, 4));
    admin_set_text(one, "actor", actor);
    admin_set_text(one, "actorName", admin_handle_of(call, actor));
    admin_set_text(one, "reason", db_column_text(s, 6));
    admin_set_time(one, "started", db_column_int(s, 7));
    admin_set_time(one, "expires", db_column_int(s, 8));
    admin_set(one, "ended", time_or_null(s, 9));
    admin_set_text(one, "cause", db_column_text(s, 10));
    admin_set(one, "reviewed", time_or_null(s, 11));
    admin_set_text(one, "reviewer", reviewer);
    admin_set_text(one, "reviewerName", admin_handle_of(call, reviewer));
    admin_set_text(one, "review", db_column_text(s, 13));
    return one;
}

static enum err add_callers(struct admin_call *call, json_t *one)
{
    struct str id = str_from(json_string_value(json_object_get(one, "id")));
    json_t *callers = json_array();
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT caller FROM emergency_caller WHERE emergency = ?1 "
        "ORDER BY caller",
        &s, &call->info);

    if (!err)
        db_bind_text(s, 1, id);
    while (!err && (err = db_step(s, &call->info)) == ERR_OK) {
        json_t *caller = json_object();
        struct str who = admin_column(call, s, 0);
        admin_set_text(caller, "id", who);
        admin_set_text(caller, "handle", admin_handle_of(call, who));
        json_array_append_new(callers, caller);
    }
    admin_set(one, "callers", callers);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err read_emergency(
    struct admin_call *call, struct str id, json_t **out)
{
    struct db_statement *s;
    json_t *one = NULL;
    enum err err = db_prepare(
        call->db, EMERGENCY_COLUMNS "WHERE id = ?1", &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, id);
    err = db_step(s, &call->info);
    if (!err)
        one = emergency_json(call, s);
    db_reset(s);
    if (err == ERR_NOTFOUND)
        return FAIL(
            call, ERR_NOTFOUND, "there is no emergency \"%.*s\"", STR_ARG(id));
    if (!err)
        err = add_callers(call, one);
    if (err) {
        json_decref(one);
        return err;
    }
    *out = one;
    return ERR_OK;
}

static enum err answer_emergency(
    struct admin_call *call, int status, struct str id)
{
    json_t *one;
    enum err err = read_emergency(call, id, &one);

    return err ? err : admin_answer(call, status, one);
}

enum err handle_emergency_list(struct admin_call *call)
{
    struct db_statement *s;
    json_t *items = json_array();
    enum err err = db_prepare(call->db,
        EMERGENCY_COLUMNS "ORDER BY started DESC, id", &s, &call->info);

    while (!err && (err = db_step(s, &call->info)) == ERR_OK)
        json_array_append_new(items, emergency_json(call, s));
    if (err == ERR_NOTFOUND)
        err = ERR_OK;
    for (size_t i = 0; !err && i < json_array_size(items); i++)
        err = add_callers(call, json_array_get(items, i));
    if (!err)
        return admin_answer_list(call, items);
    json_decref(items);
    return err;
}

enum err handle_emergency_show(struct admin_call *call)
{
    return answer_emergency(call, 200, call->params[0]);
}

/* --- Calling one --------------------------------------------------------- */

struct emergency_body {
    struct str reason, model;
    struct admin_names callers;
    int64_t expires_us;
};
#define AT(member) offsetof(struct emergency_body, member)

static enum err check_body(
    struct admin_call *call, const struct emergency_body *body)
{
    int64_t now = clock_now();

    if (str_trim(body->reason).len == 0)
        return FAIL(call, ERR_INVALID,
            "reason: an emergency needs one; it is what the review begins "
            "with");
    if (body->expires_us <= now || body->expires_us > now + LONGEST_US)
        return FAIL(call, ERR_RANGE,
            "expires: an emergency lasts at most seven days from now, and ends "
            "in the future (4h)");
    return ERR_OK;
}

static json_t *called_json(struct admin_call *call, struct str id,
    const char *kind, const struct emergency_body *body)
{
    json_t *after = json_object(), *callers = json_array();

    (void)call;
    admin_set_text(after, "id", id);
    admin_set_text(after, "kind", str_from(kind));
    admin_set_time(after, "expires", body->expires_us);
    admin_set_text(after, "model", body->model);
    for (size_t i = 0; i < body->callers.count; i++)
        json_array_append_new(callers, admin_text(body->callers.items[i]));
    admin_set(after, "callers", callers);
    return after;
}

enum err handle_emergency_policy(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"reason", FIELD_TEXT, true, AT(reason), 1, 1000, NULL},
        {"expires", FIELD_TIME, true, AT(expires_us), 0, 0, NULL},
    };
    struct emergency_body body = {.reason = STR(""), .model = STR("")};
    const struct policy_actor actor = {
        str_from(call->actor.id), call->actor.can_approve};
    struct policy_emergency emergency = {.id = STR("")};
    struct policy_activation done;
    char id[ID_LENGTH + 1];
    struct buf findings;
    json_t *detail, *lines;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = check_body(call, &body);
    if (!err && (str_to_i64(call->params[0], &emergency.version) != ERR_OK ||
                    emergency.version < 1))
        err = FAIL(call, ERR_INVALID, "\"%.*s\" is no policy version",
            STR_ARG(call->params[0]));
    if (!err)
        err = id_make("eme_", id, &call->info);
    if (err || (err = admin_begin(call)))
        return err;
    emergency.id = str_from(id);
    emergency.expires_us = body.expires_us;
    emergency.reason = body.reason;
    buf_init(&findings, FINDINGS_MAX);
    err = policy_store_emergency(call->db, &emergency, &actor, clock_now(),
        &findings, &done, &call->info);
    if (err == ERR_SYNTAX && findings.len > 0) {
        lines = rules_lines(buf_str(&findings));
        err = rules_refuse_findings(call, lines);
        json_decref(lines);
    }
    buf_fini(&findings);
    if (err)
        return err;
    err = admin_record(call, "admin.emergency.called", "emergency",
        emergency.id, NULL, called_json(call, emergency.id, "policy", &body),
        NULL, body.reason);
    detail = json_object();
    admin_set_text(detail, "emergency", emergency.id);
    admin_set_text(detail, "approval", STR("none: an emergency"));
    if (!err)
        err = admin_record(call, "policy.activated", "policy", call->params[0],
            json_pack("{s:I}", "version", (json_int_t)done.previous),
            json_pack("{s:I}", "version", (json_int_t)done.version), detail,
            body.reason);
    else
        json_decref(detail);
    if (!err)
        err = admin_commit(call, CHANGED_POLICY | CHANGED_EMERGENCIES);
    if (err)
        return err;
    log_warn("emergency", "emergency=%s kind=policy version=%lld by=%s", id,
        (long long)done.version, call->actor.id);
    return answer_emergency(call, 201, emergency.id);
}

static enum err insert_access(
    struct admin_call *call, struct str id, const struct emergency_body *body)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "INSERT INTO emergency (id, kind, model, actor, reason, started, "
        "expires) VALUES (?1, 'access', ?2, ?3, ?4, ?5, ?6)",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, id);
    db_bind_text(s, 2, body->model);
    db_bind_text(s, 3, str_from(call->actor.id));
    db_bind_text(s, 4, body->reason);
    db_bind_int(s, 5, clock_now());
    db_bind_int(s, 6, body->expires_us);
    err = db_run(s, &call->info);
    for (size_t i = 0; !err && i < body->callers.count; i++) {
        err = db_prepare(call->db,
            "INSERT OR IGNORE INTO emergency_caller (emergency, caller) VALUES "
            "(?1, ?2)",
            &s, &call->info);
        if (err)
            break;
        db_bind_text(s, 1, id);
        db_bind_text(s, 2, body->callers.items[i]);
        err = db_run(s, &call->info);
    }
    return err;
}

enum err handle_emergency_access(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"callers", FIELD_NAMES, true, AT(callers), 0, 0, NULL},
        {"model", FIELD_NAME, false, AT(model), 0, 0, NULL},
        {"reason", FIELD_TEXT, true, AT(reason), 1, 1000, NULL},
        {"expires", FIELD_TIME, true, AT(expires_us), 0, 0, NULL},
    };
    struct emergency_body body = {.reason = STR(""), .model = STR("")};
    char text[ID_LENGTH + 1];
    struct str id;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = check_body(call, &body);
    if (!err && body.callers.count == 0)
        err = FAIL(call, ERR_INVALID,
            "callers: name those who are to be let through; an emergency is "
            "never for everybody");
    for (size_t i = 0; !err && i < body.callers.count; i++)
        err = admin_resolve_person(
            call, "cal_", body.callers.items[i], &body.callers.items[i]);
    if (!err && body.model.len > 0)
        err = admin_resolve_model(call, body.model, &body.model);
    if (!err)
        err = id_make("eme_", text, &call->info);
    if (err || (err = admin_begin(call)))
        return err;
    id = str_from(text);
    err = insert_access(call, id, &body);
    if (!err)
        err = admin_record(call, "admin.emergency.called", "emergency", id,
            NULL, called_json(call, id, "access", &body), NULL, body.reason);
    if (!err)
        err = admin_commit(call, CHANGED_EMERGENCIES);
    if (err)
        return err;
    log_warn("emergency", "emergency=%s kind=access callers=%zu by=%s", text,
        body.callers.count, call->actor.id);
    return answer_emergency(call, 201, id);
}

/* --- Ending and reviewing ------------------------------------------------ */

static enum err read_reason(struct admin_call *call, struct str *reason)
{
    static const struct admin_field fields[] = {
        {"reason", FIELD_TEXT, false, 0, 0, 1000, NULL},
    };

    *reason = STR("");
    return admin_read_body(call, fields, FIELD_COUNT(fields), reason);
}

static bool has(const json_t *one, const char *member, const char *value)
{
    const char *text = json_string_value(json_object_get(one, member));

    return text && strcmp(text, value) == 0;
}

enum err handle_emergency_end(struct admin_call *call)
{
    const struct policy_actor actor = {
        str_from(call->actor.id), call->actor.can_approve};
    struct emergency_end end = {.id = call->params[0], .cause = "ended"};
    struct policy_activation back = {0};
    struct db_statement *s;
    struct str reason;
    json_t *one = NULL;
    enum err err = read_reason(call, &reason);

    if (!err)
        err = read_emergency(call, end.id, &one);
    if (!err && !has(one, "state", "on"))
        err = FAIL(call, ERR_WRONG_STATE, "the emergency is over already");
    end.policy = has(one, "kind", "policy");
    json_decref(one);
    if (err || (err = admin_begin(call)))
        return err;
    if (end.policy) {
        err = policy_store_emergency_end(
            call->db, "ended", &actor, clock_now(), &back, &call->info);
    } else {
        err = db_prepare(call->db,
            "UPDATE emergency SET ended = ?2, cause = 'ended' WHERE id = ?1",
            &s, &call->info);
        if (err)
            return err;
        db_bind_text(s, 1, end.id);
        db_bind_int(s, 2, clock_now());
        err = db_run(s, &call->info);
    }
    end.version = back.version;
    end.previous = back.previous;
    if (!err)
        err = emergency_record_end(
            call->control, &call->actor, &end, reason, &call->info);
    if (!err)
        err = admin_commit(
            call, CHANGED_EMERGENCIES | (end.policy ? CHANGED_POLICY : 0));
    return err ? err : answer_emergency(call, 200, end.id);
}

enum err handle_emergency_review(struct admin_call *call)
{
    struct str id = call->params[0], reason;
    struct db_statement *s;
    json_t *one = NULL;
    enum err err = read_reason(call, &reason);

    if (!err && str_trim(reason).len == 0)
        err = FAIL(call, ERR_INVALID,
            "reason: say what the review found; it is what an auditor reads");
    if (!err)
        err = read_emergency(call, id, &one);
    if (!err && has(one, "state", "on"))
        err = FAIL(call, ERR_WRONG_STATE,
            "the emergency is still on; end it first, or let it expire");
    else if (!err && has(one, "state", "closed"))
        err = FAIL(call, ERR_WRONG_STATE, "the review is closed already");
    else if (!err && (!call->actor.can_approve || !call->actor.id[0]))
        err = FAIL(call, ERR_DENIED,
            "a review is closed by a named administrator through the running "
            "server; root without a name and offline commands do not count");
    else if (!err && has(one, "actor", call->actor.id))
        err = FAIL(call, ERR_DENIED,
            "you called this emergency; someone else must review it");
    json_decref(one);
    if (err || (err = admin_begin(call)))
        return err;
    err = db_prepare(call->db,
        "UPDATE emergency SET reviewed = ?2, reviewer = ?3, review = ?4 "
        "WHERE id = ?1",
        &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, id);
    db_bind_int(s, 2, clock_now());
    db_bind_text(s, 3, str_from(call->actor.id));
    db_bind_text(s, 4, reason);
    err = db_run(s, &call->info);
    if (!err)
        err = admin_record(call, "admin.emergency.reviewed", "emergency", id,
            NULL, NULL, NULL, reason);
    if (!err)
        err = admin_commit(call, CHANGED_EMERGENCIES);
    return err ? err : answer_emergency(call, 200, id);
}
