/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/quotas.c - quotas: scope x dimension x window, and how much of
 * each is used. While a server runs its ledger knows; offline one is made from
 * what the log said. */
#include "proxy/admin/admin_priv.h"

#include "audit/log.h"
#include "lib/clock.h"
#include "lib/json_write.h"
#include "policy/quota.h"
#include "proxy/secret.h"

#include <stdio.h>

#define QUOTA_COLUMNS                                                          \
    "SELECT id, scope, subject, model, dimension, window, amount, created, "   \
    "model_group, warn_percent, zone, earlier, earlier_window FROM quota "

/* Who or what it is for, in words a person typed once. */
static struct str subject_shown(
    struct admin_call *call, struct str scope, struct str subject)
{
    struct str handle;

    if (!str_equal(scope, STR("caller")))
        return subject;
    handle = admin_handle_of(call, subject);
    return handle.len > 0 ? handle : subject;
}

static json_t *quota_json(struct admin_call *call, struct db_statement *s)
{
    json_t *quota = json_object();
    struct str scope = admin_column(call, s, 1);
    struct str subject = admin_column(call, s, 2);

    admin_set_text(quota, "id", db_column_text(s, 0));
    admin_set_text(quota, "scope", scope);
    admin_set_text(quota, "subject", subject);
    admin_set_text(quota, "shown", subject_shown(call, scope, subject));
    admin_set_text(quota, "model", db_column_text(s, 3));
    admin_set_text(quota, "modelGroup", db_column_text(s, 8));
    admin_set_text(quota, "dimension", db_column_text(s, 4));
    admin_set_text(quota, "window", db_column_text(s, 5));
    admin_set_int(quota, "amount", db_column_int(s, 6));
    admin_set_time(quota, "created", db_column_int(s, 7));
    admin_set_int(quota, "warnPercent", db_column_int(s, 9));
    admin_set_text(quota, "zone", db_column_text(s, 10));
    admin_set_int(quota, "earlier", db_column_int(s, 11));
    return quota;
}

struct quota_filter {
    struct str scope, subject;
};

/* A handle, team or key as people write it, to what the table holds. */
static enum err resolve_subject(
    struct admin_call *call, struct str scope, struct str *subject)
{
    if (str_equal(scope, STR("organisation"))) {
        if (subject->len > 0)
            return FAIL(call, ERR_INVALID,
                "subject: a quota of the whole organisation has none");
        return ERR_OK;
    }
    if (subject->len == 0)
        return FAIL(call, ERR_INVALID, "subject: which %.*s is it for?",
            STR_ARG(scope));
    if (str_equal(scope, STR("team")))
        return admin_need_team(call, *subject);
    if (str_equal(scope, STR("caller")))
        return admin_resolve_person(call, "cal_", *subject, subject);
    return admin_need(call, call->db, "key",
        "SELECT 1 FROM api_key WHERE id = ?1", "SELECT id FROM api_key",
        *subject);
}

#define SCOPES "organisation team caller key"
static const struct admin_field filter_fields[] = {
    {"scope", FIELD_WORD, false, offsetof(struct quota_filter, scope), 0, 0,
        SCOPES},
    {"subject", FIELD_NAME, false, offsetof(struct quota_filter, subject), 0, 0,
        NULL},
};

/* Prepares the list that a query asks for. */
static enum err prepare_list(struct admin_call *call, struct db_statement **out)
{
    struct quota_filter filter = {.scope = STR("")};
    enum err err = admin_read_query(
        call, filter_fields, FIELD_COUNT(filter_fields), &filter);

    if (!err && filter.scope.len > 0 && filter.subject.len > 0)
        err = resolve_subject(call, filter.scope, &filter.subject);
    if (!err)
        err = db_prepare(call->db,
            QUOTA_COLUMNS "WHERE (?1 = '' OR scope = ?1) AND "
                          "(?2 = '' OR subject = ?2) "
                          "ORDER BY scope, subject, model, model_group, "
                          "dimension, amount",
            out, &call->info);
    if (err)
        return err;
    db_bind_text(*out, 1, filter.scope);
    db_bind_text(*out, 2, filter.subject);
    return ERR_OK;
}

enum err handle_quota_list(struct admin_call *call)
{
    struct db_statement *s;
    json_t *items;
    enum err err = prepare_list(call, &s);

    if (err)
        return err;
    items = json_array();
    while ((err = db_step(s, &call->info)) == ERR_OK)
        json_array_append_new(items, quota_json(call, s));
    if (err == ERR_NOTFOUND)
        return admin_answer_list(call, items);
    json_decref(items);
    return err;
}

/* --- Setting --------------------------------------------------------- */

static enum err read_quota(struct admin_call *call, struct str id, json_t **out)
{
    struct db_statement *s;
    enum err err = admin_need(call, call->db, "quota",
        "SELECT 1 FROM quota WHERE id = ?1", "SELECT id FROM quota", id);

    if (!err)
        err = db_prepare(
            call->db, QUOTA_COLUMNS "WHERE id = ?1", &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, id);
    err = db_step(s, &call->info);
    if (!err)
        *out = quota_json(call, s);
    db_reset(s);
    return err;
}

/* For the log: without the handle of a person. */
static json_t *quota_event(const struct admin_new_quota *quota)
{
    json_t *event = json_object();

    admin_set_text(event, "scope", quota->scope);
    admin_set_text(event, "subject", quota->subject);
    admin_set_text(event, "model", quota->model);
    if (quota->model_group.len > 0)
        admin_set_text(event, "modelGroup", quota->model_group);
    admin_set_text(event, "dimension", quota->dimension);
    admin_set_text(event, "window", quota->window);
    admin_set_int(event, "amount", quota->amount);
    if (quota->warn_percent > 0)
        admin_set_int(event, "warnPercent", quota->warn_percent);
    if (quota->zone.len > 0)
        admin_set_text(event, "zone", quota->zone);
    if (quota->count_earlier)
        admin_set_int(event, "earlier", quota->earlier);
    return event;
}

/* The row of the same key: its id, and in *row what it says now. */
static enum err find_quota(struct admin_call *call,
    const struct admin_new_quota *quota, struct str *id,
    struct admin_new_quota *row)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT id, amount, warn_percent, zone FROM quota WHERE scope = ?1 AND "
        "subject = ?2 AND model = ?3 AND dimension = ?4 AND window = ?5 AND "
        "model_group = ?6",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, quota->scope);
    db_bind_text(s, 2, quota->subject);
    db_bind_text(s, 3, quota->model);
    db_bind_text(s, 4, quota->dimension);
    db_bind_text(s, 5, quota->window);
    db_bind_text(s, 6, quota->model_group);
    err = db_step(s, &call->info);
    if (!err) {
        *id = admin_column(call, s, 0);
        row->amount = db_column_int(s, 1);
        row->warn_percent = db_column_int(s, 2);
        row->zone = admin_column(call, s, 3);
    }
    db_reset(s);
    return err;
}

static enum err change_quota(
    struct admin_call *call, struct str id, const struct admin_new_quota *quota)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "UPDATE quota SET amount = ?2, warn_percent = ?3, zone = ?4 "
        "WHERE id = ?1",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, id);
    db_bind_int(s, 2, quota->amount);
    db_bind_int(s, 3, quota->warn_percent);
    db_bind_text(s, 4, quota->zone);
    return db_run(s, &call->info);
}

static enum err add_quota(struct admin_call *call,
    const struct admin_new_quota *quota, struct str *id)
{
    char text[ID_LENGTH + 1];
    struct db_statement *s;
    enum err err = id_make("quo_", text, &call->info);

    if (err)
        return err;
    *id = arena_copy(call->arena, str_from(text));
    err = db_prepare(call->db,
        "INSERT INTO quota (id, scope, subject, model, dimension, window, "
        "amount, created, model_group, warn_percent, zone, earlier, "
        "earlier_window) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, *id);
    db_bind_text(s, 2, quota->scope);
    db_bind_text(s, 3, quota->subject);
    db_bind_text(s, 4, quota->model);
    db_bind_text(s, 5, quota->dimension);
    db_bind_text(s, 6, quota->window);
    db_bind_int(s, 7, quota->amount);
    db_bind_int(s, 8, clock_now());
    db_bind_text(s, 9, quota->model_group);
    db_bind_int(s, 10, quota->warn_percent);
    db_bind_text(s, 11, quota->zone);
    db_bind_int(s, 12, quota->earlier);
    db_bind_int(s, 13, quota->earlier_window);
    return db_run(s, &call->info);
}

enum err admin_set_quota(struct admin_call *call,
    const struct admin_new_quota *quota, struct str *out)
{
    struct admin_new_quota before = *quota, after = *quota;
    struct str id;
    bool changes;
    enum err err;

    before.warn_percent = 0;
    before.zone = STR("");
    err = find_quota(call, quota, &id, &before);
    if (err && err != ERR_NOTFOUND)
        return err;
    changes = err == ERR_OK;
    if (changes && quota->count_earlier)
        return FAIL(call, ERR_WRONG_STATE,
            "countEarlierUse: quota %.*s has been counting already; remove it "
            "first, or change its amount alone",
            STR_ARG(id));
    /* What was not said stays. */
    if (quota->warn_percent < 0)
        after.warn_percent = before.warn_percent;
    if (quota->zone.ptr == NULL)
        after.zone = before.zone;
    err = quota->count_earlier ? admin_count_earlier(call, &after) : ERR_OK;
    if (!err)
        err = changes ? change_quota(call, id, &after)
                      : add_quota(call, &after, &id);
    if (!err)
        err = admin_record(call,
            changes ? "admin.quota.changed" : "admin.quota.added", "quota", id,
            changes ? quota_event(&before) : NULL, quota_event(&after), NULL,
            STR(""));
    if (!err)
        *out = id;
    return err;
}

/* Which models, and whether dimension and window go together. */
static enum err check_what(
    struct admin_call *call, struct admin_new_quota *quota)
{
    bool concurrent = str_equal(quota->dimension, STR("concurrent_requests"));

    if (quota->model.len > 0 && quota->model_group.len > 0)
        return FAIL(call, ERR_INVALID,
            "modelGroup: a quota is for one model or for one group, not both");
    if (concurrent != str_equal(quota->window, STR("now")))
        return FAIL(call, ERR_INVALID,
            "window: \"now\" goes with concurrent_requests, and "
            "concurrent_requests with no other window");
    if (quota->zone.len > 0) {
        struct clock_zone *zone = NULL;
        enum err err = clock_zone_load(
            arena_cstr(call->arena, quota->zone), &zone, &call->info);
        clock_zone_free(&zone);
        if (err) {
            errinfo_prefix(&call->info, err, "zone");
            return ERR_INVALID;
        }
    }
    if (quota->model_group.len > 0)
        return admin_need_group(call, quota->model_group);
    return quota->model.len > 0
               ? admin_resolve_model(call, quota->model, &quota->model)
               : ERR_OK;
}

#define AT(member) offsetof(struct admin_new_quota, member)
enum err handle_quota_put(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"scope", FIELD_WORD, true, AT(scope), 0, 0, SCOPES},
        {"subject", FIELD_NAME, false, AT(subject), 0, 0, NULL},
        {"model", FIELD_NAME, false, AT(model), 0, 0, NULL},
        {"modelGroup", FIELD_NAME, false, AT(model_group), 0, 0, NULL},
        {"dimension", FIELD_WORD, true, AT(dimension), 0, 0,
            "requests tokens input_tokens output_tokens cost images "
            "audio_seconds request_bytes concurrent_requests"},
        {"window", FIELD_WORD, true, AT(window), 0, 0,
            "minute hour day week month lifetime now"},
        {"amount", FIELD_INT, true, AT(amount), 0, JSON_INTEGER_MAX, NULL},
        {"warnPercent", FIELD_INT, false, AT(warn_percent), 0, 100, NULL},
        {"zone", FIELD_TEXT, false, AT(zone), 0, 64, NULL},
        {"countEarlierUse", FIELD_BOOL, false, AT(count_earlier), 0, 0, NULL},
    };
    struct admin_new_quota body = {.subject = STR(""),
        .model = STR(""),
        .model_group = STR(""),
        .warn_percent = -1};
    struct str id;
    json_t *quota;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = resolve_subject(call, body.scope, &body.subject);
    if (!err)
        err = check_what(call, &body);
    if (err || (err = admin_begin(call)))
        return err;
    err = admin_set_quota(call, &body, &id);
    if (err || (err = admin_commit(call, CHANGED_QUOTAS)))
        return err;
    err = read_quota(call, id, &quota);
    return err ? err : admin_answer(call, 200, quota);
}

enum err handle_quota_remove(struct admin_call *call)
{
    struct str id = call->params[0];
    struct db_statement *s;
    json_t *before = NULL;
    enum err err = admin_begin(call);

    if (!err)
        err = read_quota(call, id, &before);
    if (err)
        return err;
    json_object_del(before, "shown");
    err = db_prepare(
        call->db, "DELETE FROM quota WHERE id = ?1", &s, &call->info);
    if (!err) {
        db_bind_text(s, 1, id);
        err = db_run(s, &call->info);
    }
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(
        call, "admin.quota.removed", "quota", id, before, NULL, NULL, STR(""));
    if (!err)
        err = admin_commit(call, CHANGED_QUOTAS);
    return err ? err
               : admin_answer(call, 200, json_pack("{s:b}", "removed", 1));
}

/* --- Use ------------------------------------------------------------- */

static enum err offline_ledger(
    struct admin_call *call, struct quota_ledger **out)
{
    size_t count;
    const struct audit_bucket *buckets = control_buckets(call->control, &count);
    struct quota_ledger *ledger = quota_ledger_new();
    enum err err = ledger ? ERR_OK : ERR_NOMEM;

    for (size_t i = 0; i < count && !err; i++) {
        const struct audit_bucket *b = &buckets[i];
        err = b->rate ? quota_restore_rate(
                            ledger, str_from(b->id), b->arrival_us, b->step)
                      : quota_restore_window(ledger, str_from(b->id),
                            b->window_start_us, b->used);
    }
    if (err) {
        quota_ledger_free(&ledger);
        return err;
    }
    *out = ledger;
    return ERR_OK;
}

/* When the amount is reached if it goes on as since the window began; 0: not
 * before it ends. */
static int64_t forecast(const struct quota_status *status,
    enum quota_window window, int64_t begun_us, int64_t now_us)
{
    int64_t elapsed = now_us - begun_us;
    double left;

    if (window == QUOTA_MINUTE || window == QUOTA_NOW || status->used <= 0 ||
        elapsed <= 0)
        return 0;
    if (status->remaining <= 0)
        return now_us;
    left = (double)status->remaining * (double)elapsed / (double)status->used;
    if (left > (double)(100 * 366 * DAY_US) ||
        (status->reset_us >= 0 && left >= (double)status->reset_us))
        return 0;
    return now_us + (int64_t)left;
}

static void set_time_or_null(json_t *object, const char *key, int64_t time_us)
{
    if (time_us > 0)
        admin_set_time(object, key, time_us);
    else
        admin_set(object, key, json_null());
}

static enum err add_usage(struct admin_call *call, struct quota_ledger *ledger,
    const struct clock_zone *zone, struct db_statement *s, json_t *items)
{
    struct quota_rule rule = {.zone = zone,
        .amount = db_column_int(s, 6),
        .earlier = db_column_int(s, 11),
        .earlier_window_us = db_column_int(s, 12)};
    struct quota_status status;
    struct clock_zone *own = NULL;
    int64_t now = clock_now();
    json_t *quota;

    if (db_column_text(s, 10).len > 0) {
        enum err err = clock_zone_load(
            arena_cstr(call->arena, db_column_text(s, 10)), &own, &call->info);
        if (err)
            return err;
        rule.zone = own;
    }
    snprintf(rule.id, sizeof rule.id, "%.*s", STR_ARG(db_column_text(s, 0)));
    if (quota_dimension_parse(db_column_text(s, 4), &rule.dimension) ||
        quota_window_parse(db_column_text(s, 5), &rule.window)) {
        clock_zone_free(&own);
        return FAIL(call, ERR_CORRUPT,
            "control.db: quota %s has a dimension or window that is not known",
            rule.id);
    }
    quota_peek(ledger, now, &rule, &status);
    clock_zone_free(&own);
    quota = quota_json(call, s);
    set_time_or_null(quota, "since", status.window_start_us);
    set_time_or_null(quota, "forecast",
        forecast(&status, rule.window,
            status.window_start_us > 0 ? status.window_start_us
                                       : db_column_int(s, 7),
            now));
    if (status.reserved > status.used) /* a rate flows off meanwhile */
        status.reserved = status.used;
    admin_set_int(quota, "used", status.used - status.reserved);
    admin_set_int(quota, "reserved", status.reserved);
    admin_set_int(quota, "remaining", status.remaining);
    if (status.reset_us < 0)
        admin_set(quota, "resets", json_null());
    else
        admin_set_time(quota, "resets", now + status.reset_us);
    json_array_append_new(items, quota);
    return ERR_OK;
}

enum err handle_quota_usage(struct admin_call *call)
{
    const struct admin_server *server = call->admin->server;
    struct quota_ledger *own = NULL, *ledger;
    struct clock_zone *zone = NULL;
    struct db_statement *s = NULL;
    json_t *items = json_array();
    struct str zone_name;
    enum err err = admin_setting(call, "zone", "UTC", &zone_name);

    if (!err)
        err = clock_zone_load(
            arena_cstr(call->arena, zone_name), &zone, &call->info);
    if (!err && !server)
        err = offline_ledger(call, &own);
    if (!err)
        err = prepare_list(call, &s);
    if (err)
        goto out;
    ledger = server ? server->ledger(server->context) : own;
    while ((err = db_step(s, &call->info)) == ERR_OK)
        if ((err = add_usage(call, ledger, zone, s, items)))
            break;
    db_reset(s);
    if (err == ERR_NOTFOUND) {
        err = admin_answer_list(call, items);
        items = NULL;
    }
out:
    json_decref(items);
    quota_ledger_free(&own);
    clock_zone_free(&zone);
    return err;
}
