/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/change.c - a handler's change of the control state, and its
 * audit events. */
#include "proxy/admin/admin_priv.h"

enum err admin_begin(struct admin_call *call)
{
    enum err err;

    if (call->outer) {
        call->changing = true;
        return ERR_OK;
    }
    err = control_begin(call->control, &call->info);
    call->changing = err == ERR_OK;
    return err;
}

static enum err fill_and(struct admin_call *call, const char *type,
    const char *kind, struct str object, json_t *before, json_t *after,
    json_t *detail, struct str reason,
    enum err (*act_on)(struct control *control,
        const struct control_actor *actor, struct audit_act *act,
        struct errinfo *info))
{
    struct audit_act act = {
        .type = str_from(type),
        .object_kind = str_from(kind),
        .object = object,
        .before = admin_canonical(call->arena, before),
        .after = admin_canonical(call->arena, after),
        .detail = admin_canonical(call->arena, detail),
        .reason = reason,
    };
    enum err err = act_on(call->control, &call->actor, &act, &call->info);

    json_decref(before);
    json_decref(after);
    json_decref(detail);
    return err;
}

/* What a proposal would do, and is compared with what it then does. */
static void collect(struct admin_call *call, const char *type, const char *kind,
    struct str object, json_t *before, json_t *after)
{
    json_t *change = json_object();

    admin_set_text(change, "type", str_from(type));
    admin_set_text(change, "kind", str_from(kind));
    admin_set_text(change, "object", object);
    /* (Copies: an answer is made of the same object, and a secret put in.) */
    admin_set(change, "before", json_deep_copy(before));
    admin_set(change, "after", json_deep_copy(after));
    json_array_append_new(call->changes, change);
}

enum err admin_record(struct admin_call *call, const char *type,
    const char *kind, struct str object, json_t *before, json_t *after,
    json_t *detail, struct str reason)
{
    if (call->changes)
        collect(call, type, kind, object, before, after);
    if (call->proposal) {
        if (!detail)
            detail = json_object();
        admin_set_text(detail, "proposal", str_from(call->proposal));
    }
    return fill_and(call, type, kind, object, before, after, detail, reason,
        control_record);
}

enum err admin_event(struct admin_call *call, const char *type,
    const char *kind, struct str object, json_t *detail, struct str reason)
{
    return fill_and(
        call, type, kind, object, NULL, NULL, detail, reason, control_event);
}

enum err admin_commit(struct admin_call *call, unsigned what)
{
    enum err err;

    if (call->outer) {
        call->changing = false;
        call->reached = true;
        call->what |= what;
        return ERR_OK;
    }
    err = admin_claim_key(call);
    if (err)
        return err; /* (the change is given up) */
    err = control_commit(call->control, what, &call->info);

    call->changing = false;
    /* The rows stand, and only the record or the data plane lags behind: the
     * one asking must not take that for a refusal. */
    if (err == ERR_WRONG_STATE) {
        admin_problem(call, 500, "not-in-force", "%s", call->info.text);
        return err;
    }
    return err;
}
