/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/server_witnesses.c - the rows of tables witness and witness_policy to
 * the thread that has checkpoints cosigned (audit/witnesses.h), and what it
 * has to say. */
#include "proxy/server_priv.h"

#include "audit/prove.h"
#include "lib/arena.h"
#include "lib/file.h"
#include "lib/json_write.h"
#include "lib/log.h"

#include <stdio.h>
#include <stdlib.h>

static struct str type_of(enum witness_news news)
{
    switch (news) {
    case WITNESS_FAILED:
        return STR("audit.witness.failed");
    case WITNESS_RECOVERED:
        return STR("audit.witness.recovered");
    case WITNESS_CONFLICT:
        return STR("audit.witness.conflict");
    case WITNESS_QUORUM_LOST:
        return STR("audit.witness.quorum_lost");
    case WITNESS_QUORUM_RESTORED:
        break;
    }
    return STR("audit.witness.quorum_restored");
}

static void told(void *context, enum witness_news news, const char *name,
    const char *why, uint64_t size)
{
    struct server *s = context;
    struct control_actor actor = {
        .id = "system", .role = "admin", .method = "system"};
    struct errinfo info = {0};
    char detail[64];
    snprintf(detail, sizeof(detail), "{\"size\":%llu}",
        (unsigned long long)(size < INT64_MAX ? size : 0));
    struct audit_act act = {.type = type_of(news),
        .object_kind = name[0] != '\0' ? STR("witness") : STR(""),
        .object = str_from(name),
        .detail = str_from(detail),
        .reason = str_from(why)};
    if (atomic_load(&s->stopping))
        return;
    if (control_event(s->control, &actor, &act, &info) != ERR_OK)
        log_error("event_not_recorded", "reason=\"%s\"", info.text);
}

enum err server_witnesses_start(struct server *s, struct errinfo *info)
{
    struct witnesses_options options = {
        .told = told, .context = s, .closed = &s->shared.unwitnessed};
    s->log_dir = file_join(s->dir, "log");
    options.log_dir = s->log_dir;
    enum err err =
        s->log_dir == NULL
            ? errinfo_set(info, ERR_NOMEM, "out of memory")
            : audit_key_read(s->dir, STR(""), &options.log_key, info);
    if (err == ERR_OK)
        err = witnesses_start(&options, &s->witnesses, info);
    if (err != ERR_OK)
        return err;
    control_lock(s->control);
    err = server_witnesses_load(s, info);
    control_unlock(s->control);
    return err;
}

void server_witnesses_stop(struct server *s)
{
    witnesses_stop(&s->witnesses);
    free(s->log_dir);
    s->log_dir = NULL;
}

static enum err read_policy(
    struct server *s, struct witness_policy *policy, struct errinfo *info)
{
    struct db_statement *statement;
    *policy = (struct witness_policy){.every_us = 10 * SECOND_US};
    enum err err = db_prepare(control_db(s->control),
        "SELECT quorum, mode, grace_minutes, every_seconds FROM witness_policy",
        &statement, info);
    if (err != ERR_OK || (err = db_step(statement, info)) == ERR_NOTFOUND)
        return err == ERR_NOTFOUND ? ERR_OK : err;
    if (err != ERR_OK)
        return err;
    policy->quorum = db_column_int(statement, 0);
    policy->closed = str_equal(db_column_text(statement, 1), STR("closed"));
    policy->grace_us = db_column_int(statement, 2) * MINUTE_US;
    policy->every_us = db_column_int(statement, 3) * SECOND_US;
    db_reset(statement);
    return ERR_OK;
}

enum err server_witnesses_load(struct server *s, struct errinfo *info)
{
    struct witness_row rows[WITNESSES_MAX];
    struct witness_policy policy;
    struct db_statement *statement;
    size_t count = 0;
    if (s->witnesses == NULL)
        return ERR_OK; /* the first load comes with the start */
    struct arena *arena = arena_new(8192, 4u << 20);
    if (arena == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err = read_policy(s, &policy, info);
    if (err == ERR_OK)
        err = db_prepare(control_db(s->control),
            "SELECT name, url, key, ca_file FROM witness ORDER BY name",
            &statement, info);
    while (err == ERR_OK && (err = db_step(statement, info)) == ERR_OK) {
        if (count == WITNESSES_MAX) {
            err = errinfo_set(
                info, ERR_LIMIT, "more than %d witnesses", WITNESSES_MAX);
            db_reset(statement);
            break;
        }
        rows[count++] = (struct witness_row){
            .name = arena_copy(arena, db_column_text(statement, 0)),
            .url = arena_copy(arena, db_column_text(statement, 1)),
            .key = arena_copy(arena, db_column_text(statement, 2)),
            .ca_file = arena_copy(arena, db_column_text(statement, 3))};
    }
    if (err == ERR_NOTFOUND)
        err = witnesses_set(s->witnesses, rows, count, &policy, info);
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

/* "witnesses":{...} of the status. */
void server_witnesses_write(struct server *s, struct json_writer *w)
{
    struct witnesses_status all = {0};
    if (s->witnesses != NULL)
        witnesses_status(s->witnesses, &all);
    json_write_key(w, STR("witnesses"));
    json_write_object(w);
    json_write_member_bool(w, STR("closed"), all.closed);
    json_write_key(w, STR("items"));
    json_write_array(w);
    for (size_t i = 0; i < all.count; i++) {
        const struct witness_status *one = &all.witnesses[i];
        json_write_object(w);
        json_write_member_bool(w, STR("conflict"), one->conflict);
        write_time(w, STR("cosigned"), one->cosigned_us);
        json_write_member_bool(w, STR("failing"), one->failing);
        json_write_member_string(w, STR("name"), str_from(one->name));
        json_write_member_int(w, STR("size"), (int64_t)one->size);
        if (one->failing)
            json_write_member_string(w, STR("why"), str_from(one->why));
        json_write_object_end(w);
    }
    json_write_array_end(w);
    json_write_member_bool(w, STR("lost"), all.lost);
    json_write_member_int(w, STR("quorum"), all.quorum);
    write_time(w, STR("time"), all.witnessed_us);
    json_write_member_int(w, STR("witnessed"), (int64_t)all.witnessed);
    json_write_object_end(w);
}

void server_witnesses_metrics(struct server *s, struct buf *out)
{
    struct witnesses_status all = {0};
    if (s->witnesses != NULL)
        witnesses_status(s->witnesses, &all);
    buf_printf(out,
        "# HELP bailiff_witnessed_entries Entries under a checkpoint that the "
        "quorum cosigned\n"
        "# TYPE bailiff_witnessed_entries gauge\n"
        "bailiff_witnessed_entries %llu\n"
        "# HELP bailiff_witness_quorum_lost Whether the quorum is missing for "
        "longer than allowed\n"
        "# TYPE bailiff_witness_quorum_lost gauge\n"
        "bailiff_witness_quorum_lost %d\n",
        (unsigned long long)all.witnessed, all.lost);
    if (all.count == 0)
        return;
    buf_append_str(
        out, STR("# HELP bailiff_witness_failing Whether the last attempt "
                 "failed\n# TYPE bailiff_witness_failing gauge\n"));
    for (size_t i = 0; i < all.count; i++)
        buf_printf(out, "bailiff_witness_failing{witness=\"%s\"} %d\n",
            all.witnesses[i].name, all.witnesses[i].failing);
    buf_append_str(
        out, STR("# HELP bailiff_witness_conflict Whether it has seen another "
                 "log of this name\n# TYPE bailiff_witness_conflict gauge\n"));
    for (size_t i = 0; i < all.count; i++)
        buf_printf(out, "bailiff_witness_conflict{witness=\"%s\"} %d\n",
            all.witnesses[i].name, all.witnesses[i].conflict);
}
