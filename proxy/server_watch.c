/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/server_watch.c - what the watch (proxy/watch.h) is told of this
 * server: its meters, its webhook, and where events go. */
#include "proxy/server_priv.h"

#include "lib/json_write.h"
#include "lib/log.h"
#include "proxy/watch.h"

#include <stdio.h>
#include <stdlib.h>

static void record(void *context, struct str type, struct str kind,
    struct str object, struct str detail)
{
    struct server *s = context;
    struct control_actor actor = {
        .id = "system", .role = "admin", .method = "system"};
    struct errinfo info = {0};
    struct audit_act act = {
        .type = type, .object_kind = kind, .object = object, .detail = detail};
    if (control_event(s->control, &actor, &act, &info) != ERR_OK)
        log_error("event_not_recorded", "reason=\"%s\"", info.text);
}

static void webhook(void *context, char url[WATCH_URL_MAX])
{
    struct server *s = context;
    pthread_mutex_lock(&s->shared.mutex);
    struct snapshot *snapshot = snapshot_ref(s->shared.snapshot);
    pthread_mutex_unlock(&s->shared.mutex);
    snprintf(url, WATCH_URL_MAX, "%s", snapshot_quota_webhook(snapshot));
    snapshot_unref(&snapshot);
}

/* The ledger itself: what is reserved and settled has to show. Its bucket is
 * nobody's and never in the log. */
static void try_ledger(struct server *s)
{
    static const struct quota_rule rule = {.id = "canary",
        .dimension = QUOTA_INPUT_TOKENS,
        .window = QUOTA_LIFETIME,
        .amount = INT64_MAX / 2};
    struct quota_demand demand = {.input = 7};
    struct quota_use use = {.input = 3, .served = true};
    struct quota_claim claim = {.rule = &rule};
    struct quota_denial denial;
    struct quota_status before, open, after;
    int64_t cap, now = clock_now();
    quota_peek(s->shared.ledger, now, &rule, &before);
    s->canary_due++;
    if (quota_reserve(
            s->shared.ledger, now, &demand, &claim, 1, &cap, &denial) != ERR_OK)
        return;
    quota_peek(s->shared.ledger, now, &rule, &open);
    quota_settle(s->shared.ledger, now, &claim, 1, &use);
    quota_peek(s->shared.ledger, now, &rule, &after);
    s->canary_moved +=
        open.used == before.used + 7 && open.reserved == before.reserved + 7 &&
        after.used == before.used + 3 && after.reserved == before.reserved;
}

static void set_meter(struct watch_meter *meter, uint64_t due, uint64_t moved,
    const char *name, const char *engine)
{
    snprintf(meter->name, sizeof(meter->name), "%s%s", name, engine);
    meter->due = due;
    meter->moved = moved;
}

static size_t meters(void *context, struct watch_meter *out)
{
    struct server *s = context;
    const struct metrics *all[SERVER_WORKERS_MAX];
    struct audit_log_health health;
    size_t count = 0;
    for (size_t i = 0; i < s->worker_count; i++)
        all[i] = &s->workers[i]->metrics;
    audit_log_health(control_log(s->control), &health);
    try_ledger(s);
    set_meter(&out[count++], s->canary_due, s->canary_moved, "ledger", "");
    set_meter(&out[count++],
        (uint64_t)(metrics_sum(all, s->worker_count, METRIC_PERMITTED) +
                   metrics_sum(all, s->worker_count, METRIC_DENIED)),
        health.size, "entries on record", "");
    set_meter(&out[count++],
        (uint64_t)metrics_sum(all, s->worker_count, METRIC_CHARGES_DUE),
        (uint64_t)metrics_sum(all, s->worker_count, METRIC_CHARGES),
        "charges of quotas", "");
    pthread_mutex_lock(&s->shared.mutex);
    struct snapshot *snapshot = snapshot_ref(s->shared.snapshot);
    pthread_mutex_unlock(&s->shared.mutex);
    for (size_t i = 0;
         i < snapshot_engine_count(snapshot) && count < WATCH_METERS_MAX; i++) {
        const char *name = snapshot_engine(snapshot, i)->name;
        struct pool_engine *engine = pool_engine(s->shared.pool, name);
        if (engine != NULL)
            set_meter(&out[count++], atomic_load(&engine->answers),
                atomic_load(&engine->metered), "usage by engine ", name);
    }
    snapshot_unref(&snapshot);
    return count;
}

enum err server_watch_make(struct server *s, struct errinfo *info)
{
    struct watch_options options = {
        .context = s, .event = record, .meters = meters, .webhook = webhook};
    s->shared.watch = watch_new(&options);
    return s->shared.watch != NULL
               ? ERR_OK
               : errinfo_set(info, ERR_NOMEM, "out of memory");
}

void server_watch_write(struct server *s, struct json_writer *w)
{
    static const size_t most = WATCH_METERS_MAX;
    struct watch_status *all = calloc(most, sizeof(*all));
    size_t count = all != NULL ? watch_status(s->shared.watch, all, most) : 0;
    json_write_key(w, STR("meters"));
    json_write_array(w);
    for (size_t i = 0; i < count; i++) {
        json_write_object(w);
        json_write_member_string(w, STR("name"), str_from(all[i].name));
        json_write_member_bool(w, STR("stalled"), all[i].stalled);
        json_write_object_end(w);
    }
    json_write_array_end(w);
    free(all);
}

void server_watch_metrics(struct server *s, struct buf *out)
{
    struct watch_status *all = calloc(WATCH_METERS_MAX, sizeof(*all));
    size_t count =
        all != NULL ? watch_status(s->shared.watch, all, WATCH_METERS_MAX) : 0;
    buf_append_str(out,
        STR("# HELP bailiff_meter_stalled Whether a meter that should move "
            "stands still\n# TYPE bailiff_meter_stalled gauge\n"));
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "bailiff_meter_stalled{meter=\"%s\"} %d\n", all[i].name,
            all[i].stalled);
    free(all);
}
