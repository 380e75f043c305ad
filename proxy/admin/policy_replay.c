/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/policy_replay.c - the operation: which rules, which part of the
 * record, and who may have the sealed addresses opened. */
#include "proxy/admin/replay_priv.h"

#include "lib/clock.h"

struct replay_body {
    int64_t version, against, requests, samples;
    struct str text, name, since, until, caller, model;
    bool addresses;
};
#define AT(member) offsetof(struct replay_body, member)

/* since and until as `audit query` takes them. */
static enum err read_times(struct admin_call *call,
    const struct replay_body *body, struct replay_order *order)
{
    struct audit_filter filter = {0};
    int64_t now = clock_now();
    enum err err = audit_filter_set(
        &filter, STR("since"), body->since, now, NULL, &call->info);

    if (!err && body->until.len > 0)
        err = audit_filter_set(
            &filter, STR("until"), body->until, now, NULL, &call->info);
    order->since_us = filter.since_us;
    order->until_us = filter.until_us;
    return err;
}

/* A draft that forbids one address and shows whom that touches tells who was
 * where: only who may read the log has them opened. */
static enum err may_open(
    struct admin_call *call, const struct replay_body *body)
{
    if (!body->addresses || admin_may(call, "getRecord"))
        return ERR_OK;
    return FAIL(call, ERR_DENIED,
        "addresses: the callers' addresses are sealed in the record; only "
        "who may read the record may have them opened. Without them, requests "
        "whose decision depends on the address are counted apart");
}

static enum err take_rules(struct admin_call *call,
    const struct replay_body *body, struct rules *before, struct rules *after)
{
    const char *name = arena_cstr(call->arena, body->name);
    enum err err = rules_of_version(call, body->against, before);

    if (err)
        return err;
    if (body->text.len == 0)
        return rules_of_version(call, body->version, after);
    err = rules_prepare(call, body->text, name ? name : "rules.cedar", after);
    return err ? err : rules_refuse(call, after);
}

static enum err read_order(struct admin_call *call,
    const struct replay_body *body, struct replay_order *order)
{
    enum err err = ERR_OK;

    order->caller = body->caller;
    order->model = body->model;
    order->requests = body->requests;
    order->samples = body->samples;
    order->addresses = body->addresses;
    if (body->caller.len > 0)
        err = admin_resolve_person(call, "cal_", body->caller, &order->caller);
    if (!err && body->model.len > 0)
        err = admin_resolve_model(call, body->model, &order->model);
    return err;
}

static json_t *event_detail(
    const struct replay_body *body, const json_t *answer)
{
    static const char *const kept[] = {
        "requests", "replayed", "newlyDenied", "newlyPermitted"};
    json_t *detail = json_object();

    if (body->version > 0)
        admin_set_int(detail, "version", body->version);
    admin_set_bool(detail, "addresses", body->addresses);
    admin_set_text(detail, "since", body->since);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        admin_set(
            detail, kept[i], json_incref(json_object_get(answer, kept[i])));
    return detail;
}

enum err handle_policy_replay(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"version", FIELD_INT, false, AT(version), 1, INT64_MAX, NULL},
        {"text", FIELD_TEXT, false, AT(text), 0, 2 << 20, NULL},
        {"name", FIELD_TEXT, false, AT(name), 0, 200, NULL},
        {"against", FIELD_INT, false, AT(against), 1, INT64_MAX, NULL},
        {"since", FIELD_TEXT, false, AT(since), 1, 64, NULL},
        {"until", FIELD_TEXT, false, AT(until), 0, 64, NULL},
        {"caller", FIELD_NAME, false, AT(caller), 0, 0, NULL},
        {"model", FIELD_NAME, false, AT(model), 0, 0, NULL},
        {"requests", FIELD_INT, false, AT(requests), 1, REPLAY_REQUESTS_MAX,
            NULL},
        {"samples", FIELD_INT, false, AT(samples), 0, REPLAY_SAMPLES_MAX, NULL},
        {"addresses", FIELD_BOOL, false, AT(addresses), 0, 0, NULL},
    };
    struct replay_body body = {.text = STR(""),
        .name = STR("rules.cedar"),
        .since = STR("7d"),
        .requests = REPLAY_REQUESTS_MAX,
        .samples = 10};
    struct rules before = {0}, after = {0};
    struct snapshot *snapshot = NULL;
    struct replay_order order = {0};
    json_t *answer = NULL;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = may_open(call, &body);
    if (!err)
        err = read_times(call, &body, &order);
    if (err)
        return err;
    control_lock(call->control);
    err = read_order(call, &body, &order);
    if (!err)
        err = admin_take_snapshot(call, &snapshot);
    if (!err)
        err = take_rules(call, &body, &before, &after);
    control_unlock(call->control);
    order.before = before.set;
    order.after = after.set;
    order.snapshot = snapshot;
    if (!err)
        err = replay_run(call, &order, &answer);
    if (!err)
        err = admin_event(call, "policy.replayed", "policy", STR(""),
            event_detail(&body, answer), STR(""));
    if (!err)
        err = admin_answer(call, 200, json_incref(answer));
    json_decref(answer);
    rules_fini(&before);
    rules_fini(&after);
    snapshot_unref(&snapshot);
    return err;
}
