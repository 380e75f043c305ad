/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/emergency.c - see proxy/emergency.h. */
#include "proxy/emergency.h"

#include "audit/entry.h"
#include "lib/log.h"
#include "policy/store.h"
#include "proxy/snapshot.h"

#include <stdio.h>

enum err emergency_record_end(struct control *control,
    const struct control_actor *actor, const struct emergency_end *end,
    struct str reason, struct errinfo *info)
{
    char detail[200], version[32], before[64], after[64];
    struct audit_act act = {
        .type = STR("admin.emergency.ended"),
        .object_kind = STR("emergency"),
        .object = end->id,
        .reason = reason,
    };
    enum err err;

    snprintf(detail, sizeof detail, "{\"cause\":\"%s\"}", end->cause);
    act.detail = str_from(detail);
    err = control_record(control, actor, &act, info);
    if (err || !end->policy || strcmp(end->cause, "superseded") == 0)
        return err;
    snprintf(version, sizeof version, "%lld", (long long)end->version);
    snprintf(
        before, sizeof before, "{\"version\":%lld}", (long long)end->previous);
    snprintf(after, sizeof after, "{\"version\":%s}", version);
    snprintf(
        detail, sizeof detail, "{\"emergency\":\"%.*s\"}", STR_ARG(end->id));
    act = (struct audit_act){
        .type = STR("policy.rolled_back"),
        .object_kind = STR("policy"),
        .object = str_from(version),
        .before = str_from(before),
        .after = str_from(after),
        .detail = str_from(detail),
        .reason = reason,
    };
    return control_record(control, actor, &act, info);
}

/* The first that has expired; ERR_NOTFOUND: none has. */
static enum err find_expired(struct control *control, int64_t now_us,
    char id[32], bool *policy, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(control_db(control),
        "SELECT id, kind = 'policy' FROM emergency WHERE ended IS NULL AND "
        "expires <= ?1 ORDER BY expires, id LIMIT 1",
        &s, info);

    if (err)
        return err;
    db_bind_int(s, 1, now_us);
    err = db_step(s, info);
    if (!err) {
        snprintf(id, 32, "%.*s", STR_ARG(db_column_text(s, 0)));
        *policy = db_column_int(s, 1) != 0;
    }
    db_reset(s);
    return err;
}

static enum err end_access(struct control *control, struct str id,
    int64_t now_us, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(control_db(control),
        "UPDATE emergency SET ended = ?2, cause = 'expired' WHERE id = ?1", &s,
        info);

    if (err)
        return err;
    db_bind_text(s, 1, id);
    db_bind_int(s, 2, now_us);
    return db_run(s, info);
}

static enum err end_one(struct control *control, const char *id, bool policy,
    int64_t now_us, struct errinfo *info)
{
    static const struct control_actor actor = {
        .id = "system", .role = "admin", .method = "system"};
    const struct policy_actor by = {.id = STR("system")};
    struct emergency_end end = {
        .id = str_from(id), .policy = policy, .cause = "expired"};
    struct policy_activation back = {0};
    enum err err = control_begin(control, info);

    if (err)
        return err;
    err = policy ? policy_store_emergency_end(
                       control_db(control), "expired", &by, now_us, &back, info)
                 : end_access(control, end.id, now_us, info);
    end.version = back.version;
    end.previous = back.previous;
    if (!err)
        err = emergency_record_end(control, &actor, &end,
            STR("it expired; its review is open until somebody closes it"),
            info);
    if (err) {
        control_abandon(control);
        return err;
    }
    return control_commit(
        control, CHANGED_EMERGENCIES | (policy ? CHANGED_POLICY : 0), info);
}

enum err emergency_expire(
    struct control *control, int64_t now_us, struct errinfo *info)
{
    char id[32];
    bool policy;
    enum err err;

    control_lock(control);
    while (!(err = find_expired(control, now_us, id, &policy, info))) {
        err = end_one(control, id, policy, now_us, info);
        if (err)
            break;
        log_warn("emergency_over", "emergency=%s kind=%s", id,
            policy ? "policy" : "access");
    }
    control_unlock(control);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}
