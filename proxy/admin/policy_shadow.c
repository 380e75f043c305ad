/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/policy_shadow.c - a version set beside the active one, to be
 * asked about live traffic; what came of it. */
#include "proxy/admin/rules_priv.h"

#include "lib/clock.h"
#include "policy/store.h"

/* 0: none. */
static enum err current(struct admin_call *call, int64_t *version)
{
    struct db_statement *s;
    enum err err = db_prepare(
        call->db, "SELECT version FROM policy_shadow", &s, &call->info);

    *version = 0;
    if (err)
        return err;
    err = db_step(s, &call->info);
    if (!err)
        *version = db_column_int(s, 0);
    db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static json_t *counts(struct admin_call *call)
{
    const struct admin_server *server = call->admin->server;
    struct buf text;
    json_t *answer = NULL;

    buf_init(&text, 4 << 20);
    if (server && server->shadow) {
        server->shadow(server->context, &text);
        answer = json_loadb(buf_str(&text).ptr, text.len, 0, NULL);
    }
    buf_fini(&text);
    return answer ? answer : json_object();
}

static enum err answer(struct admin_call *call, int64_t version)
{
    json_t *out = json_object();

    admin_set_bool(out, "running", version > 0);
    if (version > 0) {
        admin_set_int(out, "version", version);
        admin_set(out, "counts", counts(call));
    }
    return admin_answer(call, 200, out);
}

enum err handle_shadow_show(struct admin_call *call)
{
    int64_t version;
    enum err err = current(call, &version);

    return err ? err : answer(call, version);
}

/* --- Start and stop
 * -------------------------------------------------------------- */

static enum err run(struct admin_call *call, const char *sql, int64_t version)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db, sql, &s, &call->info);

    if (err)
        return err;
    if (version) {
        db_bind_int(s, 1, version);
        db_bind_int(s, 2, clock_now());
    }
    err = db_step(s, &call->info);
    db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err record(struct admin_call *call, const char *type,
    int64_t version, json_t *detail, struct str reason)
{
    const char *object = arena_printf(call->arena, "%lld", (long long)version);

    return admin_record(
        call, type, "policy", str_from(object), NULL, NULL, detail, reason);
}

/* Names that have gone since are found here, as for any other use. */
static enum err check(struct admin_call *call, int64_t version)
{
    struct policy_version found;
    struct rules rules = {0};
    int64_t running;
    enum err err =
        policy_store_get(call->db, version, call->arena, &found, &call->info);

    if (!err && found.state == POLICY_ACTIVE)
        err = FAIL(call, ERR_WRONG_STATE,
            "policy version %lld is the active one: it decides already",
            (long long)version);
    if (!err)
        err = current(call, &running);
    if (!err && running == version)
        err = FAIL(call, ERR_WRONG_STATE,
            "policy version %lld is asked already", (long long)version);
    if (!err)
        err = rules_prepare(call, found.text, "rules.cedar", &rules);
    if (!err)
        err = rules_refuse(call, &rules);
    rules_fini(&rules);
    return err;
}

struct shadow_body {
    int64_t version;
    struct str reason;
};

enum err handle_shadow_start(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"version", FIELD_INT, true, offsetof(struct shadow_body, version), 1,
            INT64_MAX, NULL},
        {"reason", FIELD_TEXT, false, offsetof(struct shadow_body, reason), 0,
            1000, NULL},
    };
    struct shadow_body body = {.reason = STR("")};
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = check(call, body.version);
    if (!err)
        err = admin_begin(call);
    if (!err)
        err = run(call, "DELETE FROM policy_shadow", 0);
    if (!err)
        err = run(call,
            "INSERT INTO policy_shadow (id, version, started) "
            "VALUES (1, ?1, ?2)",
            body.version);
    if (!err)
        err = record(
            call, "policy.shadow_started", body.version, NULL, body.reason);
    if (!err)
        err = admin_commit(call, CHANGED_POLICY);
    return err ? err : answer(call, body.version);
}

/* The numbers go on record, as the run that has them ends. */
static json_t *final_counts(struct admin_call *call)
{
    static const char *const kept[] = {"asked", "same", "newlyDenied",
        "newlyPermitted", "boundOtherwise", "skipped", "against"};
    json_t *all = counts(call), *detail = json_object();

    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        if (json_object_get(all, kept[i]))
            admin_set(
                detail, kept[i], json_incref(json_object_get(all, kept[i])));
    json_decref(all);
    return detail;
}

enum err handle_shadow_stop(struct admin_call *call)
{
    int64_t version;
    json_t *last;
    enum err err = current(call, &version);

    if (!err && version == 0)
        err = FAIL(call, ERR_WRONG_STATE, "no version is asked in the shadow");
    if (err)
        return err;
    last = counts(call);
    err = admin_begin(call);
    if (!err)
        err = run(call, "DELETE FROM policy_shadow", 0);
    if (!err)
        err = record(call, "policy.shadow_stopped", version, final_counts(call),
            STR(""));
    if (!err)
        err = admin_commit(call, CHANGED_POLICY);
    if (!err) {
        json_t *out = json_object();
        admin_set_bool(out, "running", false);
        admin_set_int(out, "version", version);
        admin_set(out, "counts", json_incref(last));
        err = admin_answer(call, 200, out);
    }
    json_decref(last);
    return err;
}
