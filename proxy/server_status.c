/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/server_status.c - what a running server says of itself: status,
 * metrics, readiness. Called on the admin plane's threads. */
#include "proxy/server_priv.h"

#include "lib/json_write.h"

static size_t all_metrics(
    const struct server *s, const struct metrics *out[SERVER_WORKERS_MAX])
{
    for (size_t i = 0; i < s->worker_count; i++)
        out[i] = &s->workers[i]->metrics;
    return s->worker_count;
}

static const char *health_word(const struct pool_engine *engine)
{
    switch ((enum pool_health)atomic_load(&engine->health)) {
    case POOL_UP:
        return "up";
    case POOL_DOWN:
        return "down";
    case POOL_UNKNOWN:
        break;
    }
    return "unknown";
}

static const char *journal_word(enum journal_state state)
{
    switch (state) {
    case JOURNAL_OK:
        return "ok";
    case JOURNAL_FULL:
        return "full";
    case JOURNAL_FAILED:
        break;
    }
    return "failed";
}

static struct snapshot *snapshot_of(struct server *s)
{
    pthread_mutex_lock(&s->shared.mutex);
    struct snapshot *snapshot = snapshot_ref(s->shared.snapshot);
    pthread_mutex_unlock(&s->shared.mutex);
    return snapshot;
}

static void write_engines(
    struct json_writer *w, struct server *s, const struct snapshot *snapshot)
{
    json_write_key(w, STR("engines"));
    json_write_array(w);
    for (size_t i = 0; i < snapshot_engine_count(snapshot); i++) {
        const struct engine_target *target = snapshot_engine(snapshot, i);
        struct pool_engine *engine = pool_engine(s->shared.pool, target->name);
        if (engine == NULL)
            continue;
        json_write_object(w);
        json_write_member_int(
            w, STR("errors"), (int64_t)atomic_load(&engine->errors));
        json_write_member_string(
            w, STR("health"), str_from(health_word(engine)));
        json_write_member_string(w, STR("name"), str_from(target->name));
        json_write_member_int(
            w, STR("outstanding"), atomic_load(&engine->outstanding));
        json_write_member_int(
            w, STR("requests"), (int64_t)atomic_load(&engine->requests));
        json_write_member_string(w, STR("url"), str_from(target->url));
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

static void write_log(struct json_writer *w, struct server *s)
{
    struct audit_log_health health;
    audit_log_health(control_log(s->control), &health);
    json_write_key(w, STR("log"));
    json_write_object(w);
    json_write_member_int(w, STR("bytes"), (int64_t)health.bytes);
    json_write_member_string(w, STR("disk"),
        str_from(
            server_disk_word((enum disk_state)atomic_load(&s->disk_state))));
    json_write_member_int(w, STR("entries"), (int64_t)health.size);
    json_write_member_int(w, STR("freeBytes"), (int64_t)health.free_bytes);
    json_write_member_bool(w, STR("indexFailed"), health.index_failed);
    json_write_member_int(w, STR("indexed"), (int64_t)health.indexed);
    json_write_member_string(
        w, STR("journal"), str_from(journal_word(health.journal)));
    json_write_member_int(w, STR("lastSyncMicroseconds"), health.last_sync_us);
    json_write_member_int(w, STR("published"), (int64_t)health.published);
    json_write_member_int(w, STR("syncs"), (int64_t)health.syncs);
    json_write_object_end(w);
}

void server_write_status(void *context, struct buf *out)
{
    struct server *s = context;
    const struct metrics *all[SERVER_WORKERS_MAX];
    size_t count = all_metrics(s, all);
    struct snapshot *snapshot = snapshot_of(s);
    struct json_writer w;
    json_write_init(&w, out);
    json_write_object(&w);
    server_anchors_write(s, &w);
    json_write_member_int(
        &w, STR("callers"), (int64_t)snapshot_caller_count(snapshot));
    json_write_member_int(
        &w, STR("connections"), metrics_sum(all, count, METRIC_CONNECTIONS));
    write_engines(&w, s, snapshot);
    json_write_key(&w, STR("listen"));
    json_write_array(&w);
    for (size_t i = 0; i < s->settings->listen_count; i++)
        json_write_string(&w, str_from(s->settings->listen[i]));
    json_write_array_end(&w);
    write_log(&w, s);
    server_watch_write(s, &w);
    json_write_key(&w, STR("policy"));
    json_write_object(&w);
    json_write_member_string(
        &w, STR("hash"), str_from(snapshot_policy_hash(snapshot)));
    json_write_member_int(
        &w, STR("version"), snapshot_policy_version(snapshot));
    json_write_object_end(&w);
    json_write_key(&w, STR("requests"));
    json_write_object(&w);
    json_write_member_int(
        &w, STR("denied"), metrics_sum(all, count, METRIC_DENIED));
    json_write_member_int(
        &w, STR("permitted"), metrics_sum(all, count, METRIC_PERMITTED));
    json_write_member_int(
        &w, STR("refused"), metrics_sum(all, count, METRIC_REFUSED));
    json_write_member_int(
        &w, STR("running"), metrics_sum(all, count, METRIC_REQUESTS_RUNNING));
    json_write_member_int(
        &w, STR("total"), metrics_sum(all, count, METRIC_REQUESTS));
    json_write_member_int(
        &w, STR("waiting"), metrics_sum(all, count, METRIC_QUEUED));
    json_write_object_end(&w);
    server_sinks_write(s, &w);
    json_write_member_string(
        &w, STR("snapshot"), str_from(snapshot_id(snapshot)));
    json_write_member_int(
        &w, STR("uptimeSeconds"), (clock_now() - s->started_us) / SECOND_US);
    json_write_member_string(&w, STR("version"), STR(BAILIFF_VERSION));
    server_witnesses_write(s, &w);
    json_write_member_int(&w, STR("workers"), (int64_t)s->worker_count);
    json_write_object_end(&w);
    snapshot_unref(&snapshot);
}

static void write_emergency_metrics(
    const struct snapshot *snapshot, struct buf *out)
{
    int64_t now = clock_now();
    size_t on[2] = {0, 0};
    for (size_t i = 0; i < snapshot_emergency_count(snapshot); i++) {
        const struct snapshot_emergency *e = snapshot_emergency(snapshot, i);
        if (e->expires_us > now)
            on[e->policy]++;
    }
    buf_printf(out,
        "# HELP bailiff_emergencies Emergencies (break-glass) that are on\n"
        "# TYPE bailiff_emergencies gauge\n"
        "bailiff_emergencies{kind=\"access\"} %zu\n"
        "bailiff_emergencies{kind=\"policy\"} %zu\n"
        "# HELP bailiff_emergency_reviews_open Emergencies that nobody else "
        "has reviewed\n"
        "# TYPE bailiff_emergency_reviews_open gauge\n"
        "bailiff_emergency_reviews_open %lld\n",
        on[0], on[1], (long long)snapshot_reviews_open(snapshot));
}

void server_write_metrics(void *context, struct buf *out)
{
    struct server *s = context;
    const struct metrics *all[SERVER_WORKERS_MAX];
    struct audit_log_health health;
    metrics_write(all, all_metrics(s, all), out);
    audit_log_health(control_log(s->control), &health);
    buf_printf(out,
        "# HELP bailiff_log_entries_total Durable entries of the audit log\n"
        "# TYPE bailiff_log_entries_total counter\n"
        "bailiff_log_entries_total %llu\n"
        "# HELP bailiff_log_syncs_total fdatasync calls of the journal\n"
        "# TYPE bailiff_log_syncs_total counter\n"
        "bailiff_log_syncs_total %llu\n"
        "# HELP bailiff_log_checkpoint_entries Entries that the newest "
        "checkpoint covers\n"
        "# TYPE bailiff_log_checkpoint_entries gauge\n"
        "bailiff_log_checkpoint_entries %llu\n"
        "# HELP bailiff_log_index_lag_entries Entries not yet in the index\n"
        "# TYPE bailiff_log_index_lag_entries gauge\n"
        "bailiff_log_index_lag_entries %llu\n"
        "# HELP bailiff_log_index_behind 1: the index has failed, or is more "
        "than 200,000 entries behind\n"
        "# TYPE bailiff_log_index_behind gauge\n"
        "bailiff_log_index_behind %d\n"
        "# HELP bailiff_log_free_bytes Room left on the journal's disk\n"
        "# TYPE bailiff_log_free_bytes gauge\n"
        "bailiff_log_free_bytes %llu\n"
        "# HELP bailiff_log_disk_state 0: good, 1: low, 2: critical\n"
        "# TYPE bailiff_log_disk_state gauge\n"
        "bailiff_log_disk_state %d\n"
        "# HELP bailiff_anchors_failing Anchors whose last attempt failed\n"
        "# TYPE bailiff_anchors_failing gauge\n"
        "bailiff_anchors_failing %zu\n",
        (unsigned long long)health.size, (unsigned long long)health.syncs,
        (unsigned long long)health.published,
        (unsigned long long)(health.size > health.indexed
                                 ? health.size - health.indexed
                                 : 0),
        audit_index_is_behind(&health), (unsigned long long)health.free_bytes,
        atomic_load(&s->disk_state), server_anchors_failing(s));
    server_sinks_metrics(s, out);
    server_witnesses_metrics(s, out);
    server_watch_metrics(s, out);
    struct snapshot *snapshot = snapshot_of(s);
    buf_append_str(
        out, STR("# HELP bailiff_engine_up Whether the engine's health check "
                 "passes\n# TYPE bailiff_engine_up gauge\n"));
    for (size_t i = 0; i < snapshot_engine_count(snapshot); i++) {
        const char *name = snapshot_engine(snapshot, i)->name;
        struct pool_engine *engine = pool_engine(s->shared.pool, name);
        if (engine != NULL)
            buf_printf(out, "bailiff_engine_up{engine=\"%s\"} %d\n", name,
                atomic_load(&engine->health) == POOL_UP);
    }
    write_emergency_metrics(snapshot, out);
    snapshot_unref(&snapshot);
}

static void add_reason(struct json_writer *w, bool *ready, struct str reason)
{
    *ready = false;
    json_write_string(w, reason);
}

bool server_is_ready(void *context, struct buf *reasons)
{
    struct server *s = context;
    struct snapshot *snapshot = snapshot_of(s);
    struct json_writer w;
    bool ready = true, engine_up = false;
    json_write_init(&w, reasons);
    json_write_array(&w);
    if (snapshot_policy(snapshot) == NULL)
        add_reason(&w, &ready, STR("no policy version is active"));
    if (journal_state(s->shared.journal) != JOURNAL_OK)
        add_reason(&w, &ready, STR("the audit log cannot be written"));
    for (size_t i = 0; i < snapshot_engine_count(snapshot); i++) {
        struct pool_engine *engine =
            pool_engine(s->shared.pool, snapshot_engine(snapshot, i)->name);
        engine_up = engine_up ||
                    (engine != NULL && atomic_load(&engine->health) == POOL_UP);
    }
    if (!engine_up)
        add_reason(&w, &ready, STR("no engine is up"));
    if (atomic_load(&s->shared.unwitnessed))
        add_reason(&w, &ready, STR("too few witnesses cosign the log"));
    if (atomic_load(&s->shared.draining))
        add_reason(&w, &ready, STR("the server is draining"));
    json_write_array_end(&w);
    snapshot_unref(&snapshot);
    return ready;
}
