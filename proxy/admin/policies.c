/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/policies.c - versions of the policy set and their life:
 *
 *   draft -> submitted -> approved -> active -> retired
 *                                       ^----------'  (rollback)
 *
 * A version's text is immutable. Where require_approvals is 0, activate walks
 * all states and records that no approval was required; otherwise a version
 * needs that many people who are not its author. */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"
#include "lib/crypto.h"
#include "policy/decide.h"

#include <stdio.h>

#define POLICY_COLUMNS                                                         \
    "SELECT version, hash, state, note, author, created, "                     \
    "(SELECT max(time) FROM policy_act WHERE policy_act.version = "            \
    "policy_version.version AND act IN ('activate', 'rollback')) "             \
    "FROM policy_version "
#define TEXT_MAX_BYTES (2 << 20)

static json_t *policy_json(struct admin_call *call, struct db_statement *s)
{
    json_t *policy = json_object();
    struct str author = admin_column(call, s, 4);

    admin_set_int(policy, "version", db_column_int(s, 0));
    admin_set(policy, "hash", admin_hex(db_column_blob(s, 1)));
    admin_set_text(policy, "state", db_column_text(s, 2));
    admin_set_text(policy, "note", db_column_text(s, 3));
    admin_set_text(policy, "author", author);
    admin_set_text(policy, "authorName", admin_handle_of(call, author));
    admin_set_time(policy, "created", db_column_int(s, 5));
    admin_set_time(policy, "activated", db_column_int(s, 6));
    return policy;
}

enum err handle_policy_list(struct admin_call *call)
{
    struct db_statement *s;
    json_t *items = json_array();
    enum err err = db_prepare(
        call->db, POLICY_COLUMNS "ORDER BY version DESC", &s, &call->info);

    while (!err && (err = db_step(s, &call->info)) == ERR_OK)
        json_array_append_new(items, policy_json(call, s));
    if (err == ERR_NOTFOUND)
        return admin_answer_list(call, items);
    json_decref(items);
    return err;
}

/* --- One version ----------------------------------------------------- */

struct version_row {
    int64_t version;
    struct str state, author, text, hash; /* hash: raw */
};

static enum err read_version(
    struct admin_call *call, int64_t version, struct version_row *out)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT state, author, text, hash FROM policy_version "
        "WHERE version = ?1",
        &s, &call->info);

    if (err)
        return err;
    db_bind_int(s, 1, version);
    err = db_step(s, &call->info);
    if (!err) {
        out->version = version;
        out->state = admin_column(call, s, 0);
        out->author = admin_column(call, s, 1);
        out->text = admin_column(call, s, 2);
        out->hash = arena_copy(call->arena, db_column_blob(s, 3));
        if (!out->text.ptr || !out->hash.ptr)
            err = ERR_NOMEM;
    }
    db_reset(s);
    if (err == ERR_NOTFOUND)
        return FAIL(call, ERR_NOTFOUND,
            "there is no policy version %lld; `bailiff policy list` shows "
            "those that there are",
            (long long)version);
    return err;
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

static json_t *acts_of(struct admin_call *call, int64_t version)
{
    struct db_statement *s;
    json_t *acts = json_array();

    if (db_prepare(call->db,
            "SELECT act, actor, time, note FROM policy_act WHERE version = ?1 "
            "ORDER BY id",
            &s, &call->info) != ERR_OK)
        return acts;
    db_bind_int(s, 1, version);
    while (db_step(s, &call->info) == ERR_OK) {
        json_t *act = json_object();
        struct str actor = admin_column(call, s, 1);
        admin_set_text(act, "act", db_column_text(s, 0));
        admin_set_text(act, "actor", actor);
        admin_set_text(act, "actorName", admin_handle_of(call, actor));
        admin_set_time(act, "time", db_column_int(s, 2));
        admin_set_text(act, "note", db_column_text(s, 3));
        json_array_append_new(acts, act);
    }
    db_reset(s);
    return acts;
}

static json_t *rules_of(const struct policy_set *set)
{
    json_t *rules = json_array();

    for (size_t i = 0; set && i < policy_set_count(set); i++) {
        json_t *rule = json_object();
        admin_set_text(rule, "id", policy_set_id(set, i));
        admin_set_text(rule, "title", policy_set_title(set, i));
        json_array_append_new(rules, rule);
    }
    return rules;
}

static enum err version_json(
    struct admin_call *call, int64_t version, bool with_text, json_t **out)
{
    struct db_statement *s;
    struct version_row row;
    json_t *policy;
    enum err err = read_version(call, version, &row);

    if (!err)
        err = db_prepare(
            call->db, POLICY_COLUMNS "WHERE version = ?1", &s, &call->info);
    if (err)
        return err;
    db_bind_int(s, 1, version);
    err = db_step(s, &call->info);
    policy = err ? NULL : policy_json(call, s);
    db_reset(s);
    if (err)
        return err;
    if (with_text) {
        admin_set_text(policy, "text", row.text);
        admin_set_text(policy, "shown", rules_shown(call, row.text));
    }
    admin_set(policy, "acts", acts_of(call, version));
    *out = policy;
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

enum err admin_active_policy(
    struct admin_call *call, int64_t *version, struct str *text)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT version, text FROM policy_version WHERE state = 'active'", &s,
        &call->info);

    if (err)
        return err;
    *version = 0;
    *text = STR("");
    err = db_step(s, &call->info);
    if (!err) {
        *version = db_column_int(s, 0);
        *text = admin_column(call, s, 1);
    }
    db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* --- Validate and put ------------------------------------------------ */

struct policy_body {
    struct str text, name, note, reason;
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
        {"text", FIELD_TEXT, true, AT(text), 0, TEXT_MAX_BYTES, NULL},
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

static enum err add_act(
    struct admin_call *call, int64_t version, const char *act, struct str note)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "INSERT INTO policy_act (version, act, actor, time, note) "
        "VALUES (?1, ?2, ?3, ?4, ?5)",
        &s, &call->info);

    if (err)
        return err;
    db_bind_int(s, 1, version);
    db_bind_text(s, 2, str_from(act));
    db_bind_text(s, 3, str_from(call->actor.id));
    db_bind_int(s, 4, clock_now());
    db_bind_text(s, 5, note);
    return db_run(s, &call->info);
}

static json_t *version_event(int64_t version, struct str hash)
{
    json_t *event = json_object();

    admin_set_int(event, "version", version);
    admin_set(event, "hash", admin_hex(hash));
    return event;
}

static struct str version_text(struct admin_call *call, int64_t version)
{
    return str_from(arena_printf(call->arena, "%lld", (long long)version));
}

enum err admin_put_policy(
    struct admin_call *call, struct str text, struct str note, int64_t *version)
{
    struct db_statement *s;
    uint8_t hash[32];
    enum err err = db_prepare(call->db,
        "INSERT INTO policy_version (version, hash, text, note, state, author, "
        "created) VALUES ((SELECT coalesce(max(version), 0) + 1 FROM "
        "policy_version), ?1, ?2, ?3, 'draft', ?4, ?5)",
        &s, &call->info);

    if (err)
        return err;
    crypto_sha256(hash, text.ptr, text.len);
    db_bind_blob(s, 1, hash, sizeof hash);
    db_bind_text(s, 2, text);
    db_bind_text(s, 3, note);
    db_bind_text(s, 4, str_from(call->actor.id));
    db_bind_int(s, 5, clock_now());
    err = db_run(s, &call->info);
    if (err)
        return err;
    *version = db_last_rowid(call->db);
    err = add_act(call, *version, "put", note);
    if (!err)
        err = admin_record(call, "policy.put", "policy",
            version_text(call, *version), NULL,
            version_event(*version, str_make((char *)hash, sizeof hash)), NULL,
            note);
    return err;
}

enum err handle_policy_put(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"text", FIELD_TEXT, true, AT(text), 1, TEXT_MAX_BYTES, NULL},
        {"name", FIELD_TEXT, false, AT(name), 0, 200, NULL},
        {"note", FIELD_TEXT, false, AT(note), 0, 1000, NULL},
    };
    struct policy_body body = {.name = STR(""), .note = STR("")};
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

/* --- The states ------------------------------------------------------ */

static enum err set_state(
    struct admin_call *call, int64_t version, const char *state)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "UPDATE policy_version SET state = ?2 WHERE version = ?1", &s,
        &call->info);

    if (err)
        return err;
    db_bind_int(s, 1, version);
    db_bind_text(s, 2, str_from(state));
    return db_run(s, &call->info);
}

/* Names may have gone since the version was put. */
static enum err check_again(
    struct admin_call *call, const struct version_row *row)
{
    struct rules rules = {0};
    char name[40];
    enum err err;

    snprintf(name, sizeof name, "version-%lld", (long long)row->version);
    err = rules_prepare(call, row->text, name, &rules);
    if (!err)
        err = rules_refuse(call, &rules);
    rules_fini(&rules);
    return err;
}

/* Retires what is active and puts `row` in its place. */
static enum err make_active(struct admin_call *call,
    const struct version_row *row, const char *act, const char *type,
    json_t *detail, struct str reason)
{
    struct version_row old = {0};
    struct str ignored;
    int64_t active = 0;
    enum err err = admin_active_policy(call, &active, &ignored);

    if (!err && active > 0) {
        err = read_version(call, active, &old);
        if (!err)
            err = set_state(call, active, "retired");
        if (!err)
            err = add_act(call, active, "retire", STR(""));
    }
    if (!err)
        err = set_state(call, row->version, "active");
    if (!err)
        err = add_act(call, row->version, act, reason);
    if (err) {
        json_decref(detail);
        return err;
    }
    return admin_record(call, type, "policy", version_text(call, row->version),
        active > 0 ? version_event(active, old.hash) : NULL,
        version_event(row->version, row->hash), detail, reason);
}

static json_t *approvers_of(struct admin_call *call, int64_t version)
{
    struct db_statement *s;
    json_t *approvers = json_array();

    if (db_prepare(call->db,
            "SELECT DISTINCT actor FROM policy_act WHERE version = ?1 AND "
            "act = 'approve' AND actor <> '' ORDER BY actor",
            &s, &call->info) != ERR_OK)
        return approvers;
    db_bind_int(s, 1, version);
    while (db_step(s, &call->info) == ERR_OK)
        json_array_append_new(approvers, admin_text(db_column_text(s, 0)));
    db_reset(s);
    return approvers;
}

enum err admin_activate_policy(
    struct admin_call *call, int64_t version, struct str reason)
{
    static const struct str none = STR_INIT("approval: none required");
    struct version_row row;
    json_t *detail;
    int64_t required;
    bool walks;
    enum err err = read_version(call, version, &row);

    if (!err)
        err = admin_setting_int(call, "require_approvals", 0, &required);
    if (err)
        return err;
    if (str_equal(row.state, STR("active")))
        return FAIL(call, ERR_WRONG_STATE,
            "policy version %lld is active already", (long long)version);
    if (str_equal(row.state, STR("retired")))
        return FAIL(call, ERR_WRONG_STATE,
            "policy version %lld is retired; `bailiff policy rollback --to "
            "%lld` brings it back",
            (long long)version, (long long)version);
    walks = !str_equal(row.state, STR("approved"));
    if (walks && required > 0)
        return FAIL(call, ERR_DENIED,
            "policy version %lld is %.*s, and %lld approval%s by others than "
            "its author are required (require_approvals): submit it, have it "
            "approved, then activate it",
            (long long)version, STR_ARG(row.state), (long long)required,
            required == 1 ? "" : "s");
    err = check_again(call, &row);
    if (!err && walks && str_equal(row.state, STR("draft"))) {
        err = set_state(call, version, "submitted");
        if (!err)
            err = add_act(call, version, "submit", STR(""));
    }
    if (!err && walks) {
        err = set_state(call, version, "approved");
        if (!err)
            err = add_act(call, version, "approve", none);
    }
    if (err)
        return err;
    detail = json_object();
    if (walks)
        admin_set_text(detail, "approval", STR("none required"));
    else
        admin_set(detail, "approvedBy", approvers_of(call, version));
    return make_active(
        call, &row, "activate", "policy.activated", detail, reason);
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

enum err handle_policy_activate(struct admin_call *call)
{
    struct policy_body body;
    int64_t version;
    enum err err = version_of_path(call, &version);

    if (!err)
        err = read_reason(call, &body);
    if (err || (err = admin_begin(call)))
        return err;
    err = admin_activate_policy(call, version, body.reason);
    if (!err)
        err = admin_commit(call, CHANGED_POLICY);
    return err ? err : answer_version(call, version);
}

enum err admin_submit_policy(
    struct admin_call *call, int64_t version, struct str reason)
{
    struct version_row row;
    enum err err = read_version(call, version, &row);

    if (!err && !str_equal(row.state, STR("draft")))
        err = FAIL(call, ERR_WRONG_STATE,
            "policy version %lld is %.*s; only a draft can be submitted",
            (long long)version, STR_ARG(row.state));
    if (!err)
        err = check_again(call, &row);
    if (!err)
        err = set_state(call, version, "submitted");
    if (!err)
        err = add_act(call, version, "submit", reason);
    if (!err)
        err = admin_record(call, "policy.submitted", "policy",
            version_text(call, version), NULL, version_event(version, row.hash),
            NULL, reason);
    return err;
}

enum err handle_policy_submit(struct admin_call *call)
{
    struct policy_body body;
    int64_t version;
    enum err err = version_of_path(call, &version);

    if (!err)
        err = read_reason(call, &body);
    if (err || (err = admin_begin(call)))
        return err;
    err = admin_submit_policy(call, version, body.reason);
    if (!err)
        err = admin_commit(call, 0);
    return err ? err : answer_version(call, version);
}

/* Identity counts, not the token: the author and the unattributed approve
 * nothing, and nobody counts twice. */
static enum err check_approver(
    struct admin_call *call, const struct version_row *row)
{
    struct str me = str_from(call->actor.id);
    json_t *approvers;
    enum err err = ERR_OK;

    if (!call->actor.can_approve || me.len == 0)
        return FAIL(call, ERR_DENIED,
            "an approval must come from a named administrator through the "
            "running server; root without a name and offline commands do not "
            "count");
    if (str_equal(me, row->author))
        return FAIL(call, ERR_DENIED,
            "you wrote policy version %lld; someone else must approve it",
            (long long)row->version);
    approvers = approvers_of(call, row->version);
    for (size_t i = 0; i < json_array_size(approvers) && !err; i++)
        if (str_equal(
                me, str_from(json_string_value(json_array_get(approvers, i)))))
            err = FAIL(call, ERR_WRONG_STATE,
                "you have approved policy version %lld already",
                (long long)row->version);
    json_decref(approvers);
    return err;
}

enum err handle_policy_approve(struct admin_call *call)
{
    struct policy_body body;
    struct version_row row;
    json_t *approvers, *detail;
    int64_t version, required = 0, given;
    bool enough;
    enum err err = version_of_path(call, &version);

    if (!err)
        err = read_reason(call, &body);
    if (err || (err = admin_begin(call)))
        return err;
    err = read_version(call, version, &row);
    if (!err && !str_equal(row.state, STR("submitted")))
        err = FAIL(call, ERR_WRONG_STATE,
            "policy version %lld is %.*s; only a submitted one can be approved",
            (long long)version, STR_ARG(row.state));
    if (!err)
        err = check_approver(call, &row);
    if (!err)
        err = admin_setting_int(call, "require_approvals", 0, &required);
    if (!err)
        err = add_act(call, version, "approve", body.reason);
    if (err)
        return err;
    approvers = approvers_of(call, version);
    given = (int64_t)json_array_size(approvers);
    json_decref(approvers);
    enough = given >= required;
    if (enough)
        err = set_state(call, version, "approved");
    if (err)
        return err;
    detail = json_object();
    admin_set_int(detail, "given", given);
    admin_set_int(detail, "required", required);
    err = admin_record(call, "policy.approved", "policy",
        version_text(call, version), NULL, version_event(version, row.hash),
        detail, body.reason);
    if (!err)
        err = admin_commit(call, 0);
    return err ? err : answer_version(call, version);
}

/* --- Rollback -------------------------------------------------------- */

struct rollback_body {
    int64_t version;
    struct str reason;
};

/* The version that was active before the one that is. */
static enum err previous_version(struct admin_call *call, int64_t *out)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT policy_act.version FROM policy_act JOIN policy_version USING "
        "(version) WHERE act IN ('activate', 'rollback') AND state = 'retired' "
        "ORDER BY policy_act.id DESC LIMIT 1",
        &s, &call->info);

    if (err)
        return err;
    err = db_step(s, &call->info);
    if (!err)
        *out = db_column_int(s, 0);
    db_reset(s);
    if (err == ERR_NOTFOUND)
        return FAIL(call, ERR_WRONG_STATE,
            "there is nothing to roll back to: no other version was ever "
            "active");
    return err;
}

enum err handle_policy_rollback(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"version", FIELD_INT, false, offsetof(struct rollback_body, version),
            1, INT64_MAX, NULL},
        {"reason", FIELD_TEXT, false, offsetof(struct rollback_body, reason), 0,
            1000, NULL},
    };
    struct rollback_body body = {.reason = STR("")};
    struct version_row row;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (err || (err = admin_begin(call)))
        return err;
    if (body.version == 0)
        err = previous_version(call, &body.version);
    if (!err)
        err = read_version(call, body.version, &row);
    if (!err && !str_equal(row.state, STR("retired")))
        err = FAIL(call, ERR_WRONG_STATE,
            "policy version %lld is %.*s; only one that was active before can "
            "be rolled back to",
            (long long)body.version, STR_ARG(row.state));
    if (!err)
        err = check_again(call, &row);
    if (!err)
        err = make_active(
            call, &row, "rollback", "policy.rolled_back", NULL, body.reason);
    if (!err)
        err = admin_commit(call, CHANGED_POLICY);
    return err ? err : answer_version(call, body.version);
}
