/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/server_anchors.c - the rows of table anchor to the thread that hands
 * checkpoints over (audit/anchors.h). */
#include "proxy/server_priv.h"

#include "lib/arena.h"
#include "lib/json_write.h"

#define ANCHORS_MAX 256

static enum err newest_checkpoint(
    void *context, struct buf *out, struct errinfo *info)
{
    struct server *s = context;
    return audit_log_checkpoint(control_log(s->control), out, info);
}

enum err server_anchors_start(struct server *s, struct errinfo *info)
{
    const struct anchors_options options = {
        .checkpoint = newest_checkpoint, .context = s};
    enum err err = anchors_start(&options, &s->anchors, info);
    if (err != ERR_OK)
        return err;
    control_lock(s->control);
    err = server_anchors_load(s, info);
    control_unlock(s->control);
    return err;
}

enum err server_anchors_load(struct server *s, struct errinfo *info)
{
    struct anchor rows[ANCHORS_MAX];
    struct db_statement *statement;
    size_t count = 0;
    if (s->anchors == NULL)
        return ERR_OK; /* the first load comes with the start */
    struct arena *arena = arena_new(8192, 4u << 20);
    if (arena == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err = db_prepare(control_db(s->control),
        "SELECT name, kind, target, every_minutes FROM anchor ORDER BY name",
        &statement, info);
    while (err == ERR_OK && (err = db_step(statement, info)) == ERR_OK) {
        if (count == ANCHORS_MAX) {
            err = errinfo_set(
                info, ERR_LIMIT, "more than %d anchors", ANCHORS_MAX);
            db_reset(statement);
            break;
        }
        struct str kind = db_column_text(statement, 1);
        rows[count++] = (struct anchor){
            .name = arena_copy(arena, db_column_text(statement, 0)),
            .kind =
                str_equal(kind, STR("command")) ? ANCHOR_COMMAND : ANCHOR_FILE,
            .target = arena_copy(arena, db_column_text(statement, 2)),
            .every_minutes = db_column_int(statement, 3)};
    }
    if (err == ERR_NOTFOUND)
        err = anchors_set(s->anchors, rows, count, info);
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

void server_anchors_write(struct server *s, struct json_writer *w)
{
    struct anchor_status all[ANCHORS_MAX];
    size_t count =
        s->anchors != NULL ? anchors_status(s->anchors, all, ANCHORS_MAX) : 0;
    json_write_key(w, STR("anchors"));
    json_write_array(w);
    for (size_t i = 0; i < count && i < ANCHORS_MAX; i++) {
        json_write_object(w);
        json_write_member_bool(w, STR("failed"), all[i].failed);
        write_time(w, STR("handed"), all[i].handed_us);
        json_write_member_string(w, STR("name"), str_from(all[i].name));
        json_write_member_int(w, STR("size"), (int64_t)all[i].size);
        write_time(w, STR("tried"), all[i].tried_us);
        if (all[i].failed)
            json_write_member_string(w, STR("why"), str_from(all[i].why));
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

size_t server_anchors_failing(struct server *s)
{
    struct anchor_status all[ANCHORS_MAX];
    size_t count =
        s->anchors != NULL ? anchors_status(s->anchors, all, ANCHORS_MAX) : 0;
    size_t failing = 0;
    for (size_t i = 0; i < count && i < ANCHORS_MAX; i++)
        failing += all[i].failed;
    return failing;
}
