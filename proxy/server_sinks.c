/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/server_sinks.c - the rows of table sink to the threads that deliver
 * the log (audit/sinks.h), and what these have to say. */
#include "proxy/server_priv.h"

#include "audit/prove.h"
#include "lib/arena.h"
#include "lib/json_write.h"
#include "lib/log.h"

#include <stdio.h>

/* On the sink's thread. */
static void sink_changed(void *context, const char *name, bool failed,
    const char *why, uint64_t position)
{
    struct server *s = context;
    struct control_actor actor = {
        .id = "system", .role = "admin", .method = "system"};
    struct errinfo info = {0};
    char detail[64];
    snprintf(detail, sizeof(detail), "{\"position\":%llu}",
        (unsigned long long)position);
    struct audit_act act = {
        .type = failed ? STR("audit.sink.failed") : STR("audit.sink.recovered"),
        .object_kind = STR("sink"),
        .object = str_from(name),
        .detail = str_from(detail),
        .reason = str_from(why)};
    if (atomic_load(&s->stopping))
        return;
    if (control_event(s->control, &actor, &act, &info) != ERR_OK)
        log_error("event_not_recorded", "reason=\"%s\"", info.text);
}

enum err server_sinks_start(struct server *s, struct errinfo *info)
{
    struct note_key key;
    enum err err = audit_key_read(s->dir, STR(""), &key, info);
    if (err != ERR_OK)
        return err;
    const struct sinks_options options = {.state_dir = s->dir,
        .journal = s->shared.journal,
        .log_name = str_from(key.name),
        .changed = sink_changed,
        .context = s};
    err = sinks_start(&options, &s->sinks, info);
    if (err != ERR_OK)
        return err;
    control_lock(s->control);
    err = server_sinks_load(s, info);
    control_unlock(s->control);
    return err;
}

enum err server_sinks_load(struct server *s, struct errinfo *info)
{
    struct sink_row rows[SINKS_MAX];
    struct db_statement *statement;
    size_t count = 0;
    if (s->sinks == NULL)
        return ERR_OK; /* the first load comes with the start */
    struct arena *arena = arena_new(8192, 4u << 20);
    if (arena == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err = db_prepare(control_db(s->control),
        "SELECT name, id, kind, url, format, ca_file, credential_file, first "
        "FROM sink ORDER BY name",
        &statement, info);
    while (err == ERR_OK && (err = db_step(statement, info)) == ERR_OK) {
        struct str texts[7];
        if (count == SINKS_MAX) {
            err = errinfo_set(info, ERR_LIMIT, "more than %d sinks", SINKS_MAX);
            db_reset(statement);
            break;
        }
        for (int i = 0; i < 7; i++)
            texts[i] = arena_copy(arena, db_column_text(statement, i));
        rows[count++] = (struct sink_row){.name = texts[0],
            .id = texts[1],
            .kind =
                str_equal(texts[2], STR("syslog")) ? SINK_SYSLOG : SINK_HTTPS,
            .url = texts[3],
            .format = str_equal(texts[4], STR("ocsf")) ? SINK_OCSF : SINK_JSONL,
            .ca_file = texts[5],
            .credential_file = texts[6],
            .first = (uint64_t)db_column_int(statement, 7)};
    }
    if (err == ERR_NOTFOUND)
        err = sinks_set(s->sinks, rows, count, info);
    arena_free(&arena);
    return err;
}

static void write_time(struct json_writer *w, struct str key, int64_t time_us)
{
    char text[CLOCK_TEXT_LENGTH];
    if (time_us == 0)
        return;
    clock_format(text, time_us);
    json_write_member_string(w, key, str_make(text, sizeof(text)));
}

static size_t statuses(struct server *s, struct sink_status all[SINKS_MAX])
{
    size_t count =
        s->sinks != NULL ? sinks_status(s->sinks, all, SINKS_MAX) : 0;
    return count < SINKS_MAX ? count : SINKS_MAX;
}

void server_sinks_write(struct server *s, struct json_writer *w)
{
    struct sink_status all[SINKS_MAX];
    size_t count = statuses(s, all);
    json_write_key(w, STR("sinks"));
    json_write_array(w);
    for (size_t i = 0; i < count; i++) {
        json_write_object(w);
        write_time(w, STR("delivered"), all[i].delivered_us);
        json_write_member_bool(w, STR("failing"), all[i].failing);
        json_write_member_int(w, STR("lag"), (int64_t)all[i].lag);
        json_write_member_string(w, STR("name"), str_from(all[i].name));
        json_write_member_int(w, STR("position"), (int64_t)all[i].position);
        json_write_member_int(w, STR("sent"), (int64_t)all[i].sent);
        if (all[i].failing) {
            write_time(w, STR("since"), all[i].since_us);
            json_write_member_string(w, STR("why"), str_from(all[i].why));
        }
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

/* Names hold no quotes and backslashes (name_is_good). */
static void write_family(struct buf *out, const char *name, const char *type,
    const char *help, const struct sink_status *all, size_t count,
    uint64_t (*value)(const struct sink_status *status))
{
    if (count == 0)
        return;
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s{sink=\"%s\"} %llu\n", name, all[i].name,
            (unsigned long long)value(&all[i]));
}

static uint64_t lag_of(const struct sink_status *status)
{
    return status->lag;
}

static uint64_t failing_of(const struct sink_status *status)
{
    return status->failing;
}

static uint64_t delivered_of(const struct sink_status *status)
{
    return status->delivered;
}

void server_sinks_metrics(struct server *s, struct buf *out)
{
    struct sink_status all[SINKS_MAX];
    size_t count = statuses(s, all);
    write_family(out, "bailiff_sink_lag_entries", "gauge",
        "Durable entries that have not arrived", all, count, lag_of);
    write_family(out, "bailiff_sink_failing", "gauge",
        "Whether the last attempt failed", all, count, failing_of);
    write_family(out, "bailiff_sink_delivered_total", "counter",
        "Entries that arrived, repetitions included", all, count, delivered_of);
}
