/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/server_anchors.c - the rows of table anchor to the thread that hands
 * checkpoints over (audit/anchors.h). */
#include "proxy/server_priv.h"

#include "audit/held.h"
#include "audit/prove.h"
#include "lib/arena.h"
#include "lib/file.h"
#include "lib/json_write.h"
#include "lib/log.h"

#include <pthread.h>
#include <stdlib.h>

#define LOOK_TIMEOUT_US (3 * SECOND_US)

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

/* --- Are we still that log? ---------------------------------------------- */

/* Reading a path on a thread of its own, for a mount may hang for ever. Whoever
 * comes second frees it. */
struct look {
    pthread_mutex_t mutex;
    pthread_cond_t done;
    char *path;
    struct buf file;
    struct str note;
    enum err err;
    struct errinfo info;
    bool finished, abandoned;
};

static void look_free(struct look *look)
{
    pthread_mutex_destroy(&look->mutex);
    pthread_cond_destroy(&look->done);
    buf_fini(&look->file);
    free(look->path);
    free(look);
}

static void *look_main(void *argument)
{
    struct look *look = argument;
    look->err = held_read(look->path, &look->file, &look->note, &look->info);
    pthread_mutex_lock(&look->mutex);
    look->finished = true;
    bool mine = look->abandoned;
    pthread_cond_signal(&look->done);
    pthread_mutex_unlock(&look->mutex);
    if (mine)
        look_free(look);
    return NULL;
}

/* NULL: out of memory, or it took too long. */
static struct look *look_at(struct str path)
{
    struct look *look = calloc(1, sizeof(*look));
    pthread_t thread;
    if (look == NULL)
        return NULL;
    pthread_mutex_init(&look->mutex, NULL);
    pthread_cond_init(&look->done, NULL);
    buf_init(&look->file, 256u << 20);
    look->path = strndup(path.ptr, path.len);
    if (look->path == NULL ||
        pthread_create(&thread, NULL, look_main, look) != 0) {
        look_free(look);
        return NULL;
    }
    pthread_detach(thread);
    int64_t due = clock_now() + LOOK_TIMEOUT_US;
    struct timespec until = {
        .tv_sec = due / SECOND_US, .tv_nsec = (due % SECOND_US) * 1000};
    pthread_mutex_lock(&look->mutex);
    while (!look->finished &&
           pthread_cond_timedwait(&look->done, &look->mutex, &until) == 0)
        ;
    bool late = !look->finished;
    look->abandoned = late;
    pthread_mutex_unlock(&look->mutex);
    return late ? NULL : look;
}

/* The own checkpoint and one that somebody held, where ours is not smaller. */
static enum err agree(struct server *s, const struct note_key *key,
    struct str note, struct errinfo *info)
{
    struct checkpoint own, held;
    struct buf file;
    char *log = file_join(s->dir, "log");
    char *path = file_join(s->dir, "log/checkpoint");
    buf_init(&file, NOTE_MAX);
    enum err err =
        log == NULL || path == NULL ? ERR_NOMEM : file_read(path, &file, info);
    if (err == ERR_OK)
        err = checkpoint_open(buf_str(&file), key, &own, info);
    if (err == ERR_OK)
        err = checkpoint_open(note, key, &held, info);
    if (err == ERR_OK && held.size <= own.size)
        err = audit_checkpoints_agree(log, &own, &held, info);
    buf_fini(&file);
    free(log);
    free(path);
    return err;
}

static enum err compare_one(struct server *s, const struct note_key *key,
    struct str name, struct str target, struct errinfo *info)
{
    uint64_t size = audit_log_replayed(control_log(s->control))->size;
    struct look *look = look_at(target);
    struct held held;
    enum err err = ERR_OK;
    if (look == NULL) {
        log_warn("anchor_not_asked", "anchor=%.*s reason=\"no answer\"",
            STR_ARG(name));
        return ERR_OK;
    }
    if (look->err == ERR_OK)
        look->err = held_open(look->path, look->note, key, &held, &look->info);
    if (look->err != ERR_OK) {
        if (look->err != ERR_NOTFOUND) /* nothing was handed over yet */
            log_warn("anchor_not_asked", "anchor=%.*s reason=\"%s\"",
                STR_ARG(name), look->info.text);
    } else if (held.size > size) {
        err = errinfo_set(info, ERR_CORRUPT,
            "the anchor \"%.*s\" (%s) holds a checkpoint of %llu entries, and "
            "the log has %llu: an old copy was put back. To go on would sign a "
            "second history with the same key. Put the newer state back; or, "
            "where it is lost, begin another log: bailiff restore %s NEW-DIR "
            "--new-log ORIGIN",
            STR_ARG(name), look->path, (unsigned long long)held.size,
            (unsigned long long)size, s->dir);
    } else {
        struct errinfo why = {0};
        enum err agreed = agree(s, key, look->note, &why);
        if (agreed == ERR_CORRUPT)
            err = errinfo_set(info, ERR_CORRUPT,
                "the anchor \"%.*s\" (%s) holds another history of this log: "
                "%s. `bailiff audit verify --against %s` says more",
                STR_ARG(name), look->path, why.text, look->path);
        else if (agreed != ERR_OK)
            log_warn("anchor_not_compared", "anchor=%.*s reason=\"%s\"",
                STR_ARG(name), why.text);
    }
    look_free(look);
    return err;
}

enum err server_anchors_compare(struct server *s, struct errinfo *info)
{
    struct note_key key;
    struct db_statement *statement;
    enum err err = audit_key_read(s->dir, STR(""), &key, info);
    if (err == ERR_OK)
        err = db_prepare(control_db(s->control),
            "SELECT name, target FROM anchor WHERE kind = 'file'", &statement,
            info);
    while (err == ERR_OK && (err = db_step(statement, info)) == ERR_OK) {
        err = compare_one(s, &key, db_column_text(statement, 0),
            db_column_text(statement, 1), info);
        if (err != ERR_OK) {
            db_reset(statement);
            return err;
        }
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
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
