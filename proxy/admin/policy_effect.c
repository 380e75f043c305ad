/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/policy_effect.c - what a version would change, in numbers, taken
 * when it is submitted and kept with it: whoever approves sees what the author
 * saw. Last week's requests decided again, and who may newly do what. */
#include "proxy/admin/replay_priv.h"

#include "lib/clock.h"

#define EFFECT_DAYS 7
#define EFFECT_REQUESTS 200000

/* The numbers of a replay, without the people. */
static json_t *numbers_of(const json_t *replayed)
{
    static const char *const kept[] = {"requests", "replayed", "newlyDenied",
        "newlyPermitted", "boundOtherwise", "otherEngines", "drifted",
        "notReplayed", "callersTouched", "models", "rules", "first", "last",
        "cut"};
    json_t *out = json_object();

    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        admin_set(
            out, kept[i], json_incref(json_object_get(replayed, kept[i])));
    return out;
}

static void put_list(struct buf *out, const json_t *list, const char *words)
{
    for (size_t i = 0; i < json_array_size(list) && i < 3; i++) {
        const json_t *one = json_array_get(list, i);
        json_int_t people = json_integer_value(json_object_get(one, "people"));
        buf_printf(out, "; %s %s %lld caller%s",
            json_string_value(json_object_get(one, "model")), words,
            (long long)people, people == 1 ? "" : "s");
    }
    if (json_array_size(list) > 3)
        buf_printf(out, "; and %zu more models", json_array_size(list) - 3);
}

static json_t *sentence_of(const json_t *replay, const json_t *access)
{
    struct buf out;
    json_t *text;

    buf_init(&out, 65536);
    if (replay)
        buf_printf(&out,
            "%lld of %lld requests of the last %d days would now be denied, "
            "%lld would now be permitted",
            (long long)json_integer_value(
                json_object_get(replay, "newlyDenied")),
            (long long)json_integer_value(json_object_get(replay, "replayed")),
            EFFECT_DAYS,
            (long long)json_integer_value(
                json_object_get(replay, "newlyPermitted")));
    else
        buf_printf(&out, "requests on record were not asked");
    put_list(&out, json_object_get(access, "gained"), "newly open to");
    put_list(&out, json_object_get(access, "lost"), "newly closed to");
    text = admin_text(buf_str(&out));
    buf_fini(&out);
    return text;
}

/* A log that cannot be read now is no reason to refuse a submission. */
static json_t *replay_numbers(
    struct admin_call *call, const struct replay_order *order, json_t **why)
{
    struct errinfo kept = call->info;
    json_t *replayed = NULL, *numbers = NULL;

    if (replay_run(call, order, &replayed) == ERR_OK && !call->answered)
        numbers = numbers_of(replayed);
    else
        *why = admin_text(str_from(
            call->answered ? "the index is being rebuilt" : call->info.text));
    call->answered = false;
    call->info = kept;
    json_decref(replayed);
    return numbers;
}

enum err policy_effect_compute(
    struct admin_call *call, int64_t version, json_t **out)
{
    struct rules before = {0}, after = {0};
    struct replay_order order = {.since_us = clock_now() - EFFECT_DAYS * DAY_US,
        .requests = EFFECT_REQUESTS};
    struct rules_comparison asked = {
        .address = STR("127.0.0.1"), .at_us = clock_now()};
    struct snapshot *snapshot = NULL;
    json_t *effect, *access = NULL, *replay, *why = NULL;
    enum err err;

    control_lock(call->control);
    err = rules_of_version(call, version, &after);
    if (!err)
        err = rules_of_version(call, 0, &before);
    if (!err)
        err = admin_take_snapshot(call, &snapshot);
    control_unlock(call->control);
    order.before = asked.before = before.set;
    order.after = asked.after = after.set;
    order.snapshot = snapshot;
    if (!err)
        err = rules_access_difference(call, snapshot, &asked, &access);
    if (!err) {
        replay = replay_numbers(call, &order, &why);
        effect = json_object();
        admin_set_time(effect, "time", clock_now());
        admin_set(effect, "sentence", sentence_of(replay, access));
        admin_set(effect, "access", access);
        if (replay)
            admin_set(effect, "replay", replay);
        if (why)
            admin_set(effect, "notReplayed", why);
        *out = effect;
    }
    rules_fini(&before);
    rules_fini(&after);
    snapshot_unref(&snapshot);
    return err;
}

enum err policy_effect_keep(
    struct admin_call *call, int64_t version, const json_t *effect)
{
    struct str text = admin_canonical(call->arena, effect);
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "INSERT INTO policy_effect (version, text) VALUES (?1, ?2) "
        "ON CONFLICT (version) DO UPDATE SET text = ?2",
        &s, &call->info);

    if (err)
        return err;
    db_bind_int(s, 1, version);
    db_bind_text(s, 2, text);
    err = db_step(s, &call->info);
    db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

enum err policy_effect_of(
    struct admin_call *call, int64_t version, json_t **out)
{
    struct db_statement *s;
    struct str text;
    enum err err = db_prepare(call->db,
        "SELECT text FROM policy_effect WHERE version = ?1", &s, &call->info);

    *out = NULL;
    if (err)
        return err;
    db_bind_int(s, 1, version);
    err = db_step(s, &call->info);
    if (!err) {
        text = admin_column(call, s, 0);
        *out = json_loadb(text.ptr, text.len, 0, NULL);
    }
    db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}
