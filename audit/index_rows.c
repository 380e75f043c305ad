/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/index_rows.c - from an entry to the rows of the index.
 *
 * A row is written by steps that stop at the first failure: `struct row`
 * carries it, so that the columns read as a list. */
#include "audit/index_priv.h"

#include "lib/json_write.h"

struct row {
    struct index_file *file;
    struct db_statement *statement;
    enum err err;
    struct errinfo *info;
};

static bool prepare(struct row *row, const char *sql)
{
    if (row->err == ERR_OK)
        row->err = db_prepare(row->file->db, sql, &row->statement, row->info);
    return row->err == ERR_OK;
}

/* --- Words -------------------------------------------------------------------
 */

static int64_t find_word(struct row *row, struct str word)
{
    struct db_statement *select;
    int64_t id = 0;
    enum err err = db_prepare(row->file->db,
        "SELECT id FROM word WHERE text = ?1", &select, row->info);
    if (err == ERR_OK) {
        db_bind_text(select, 1, word);
        err = db_step(select, row->info);
        if (err == ERR_OK) {
            id = db_column_int(select, 0);
            db_reset(select);
        }
    }
    if (err != ERR_OK && err != ERR_NOTFOUND)
        row->err = err;
    return id;
}

static int64_t make_word(struct row *row, struct str word)
{
    struct db_statement *insert;
    enum err err = db_prepare(row->file->db,
        "INSERT INTO word (text) VALUES (?1)", &insert, row->info);
    if (err == ERR_OK) {
        db_bind_text(insert, 1, word);
        err = db_run(insert, row->info);
    }
    if (err != ERR_OK) {
        row->err = err;
        return 0;
    }
    return db_last_rowid(row->file->db);
}

static int64_t word_id(struct row *row, struct str word)
{
    if (row->err != ERR_OK)
        return 0;
    int64_t id = index_words_find(row->file->words, word);
    if (id != 0)
        return id;
    id = find_word(row, word);
    if (id == 0 && row->err == ERR_OK)
        id = make_word(row, word);
    if (id != 0)
        index_words_add(row->file->words, word, id);
    return id;
}

/* --- Columns
 * -------------------------------------------------------------------
 */

static void put_word(struct row *row, int at, struct str word)
{
    int64_t id = word_id(row, word);
    if (row->err == ERR_OK)
        db_bind_int(row->statement, at, id);
}

static void put_word_or_null(struct row *row, int at, struct str word)
{
    if (word.len > 0)
        put_word(row, at, word);
    else if (row->err == ERR_OK)
        db_bind_null(row->statement, at);
}

static void put_int(struct row *row, int at, int64_t value)
{
    if (row->err == ERR_OK)
        db_bind_int(row->statement, at, value);
}

/* NULL for what is not known (-1). */
static void put_known(struct row *row, int at, int64_t value)
{
    if (row->err != ERR_OK)
        return;
    if (value < 0)
        db_bind_null(row->statement, at);
    else
        db_bind_int(row->statement, at, value);
}

static void put_text(struct row *row, int at, struct str text)
{
    if (row->err == ERR_OK)
        db_bind_text(row->statement, at, text);
}

static void put_text_or_null(struct row *row, int at, struct str text)
{
    if (row->err != ERR_OK)
        return;
    if (text.len > 0)
        db_bind_text(row->statement, at, text);
    else
        db_bind_null(row->statement, at);
}

static void run(struct row *row)
{
    if (row->err == ERR_OK)
        row->err = db_run(row->statement, row->info);
    else if (row->statement)
        db_reset(row->statement);
}

static struct str list_text(
    struct index_file *file, const struct audit_event_list *list)
{
    struct json_writer w;
    buf_clear(&file->scratch);
    json_write_init(&w, &file->scratch);
    json_write_array(&w);
    for (size_t i = 0; i < list->count; i++)
        json_write_string(&w, list->items[i]);
    json_write_array_end(&w);
    return file->scratch.failed ? STR("[]") : buf_str(&file->scratch);
}

/* --- Rows
 * ------------------------------------------------------------------------
 */

static void add_members(struct row *row, const char *sql,
    const struct audit_event_list *list, uint64_t seq)
{
    for (size_t i = 0; i < list->count; i++) {
        if (!prepare(row, sql))
            return;
        put_word(row, 1, list->items[i]);
        put_int(row, 2, (int64_t)seq);
        run(row);
    }
}

static void add_request(
    struct row *row, uint64_t seq, const struct audit_event *e)
{
    bool permitted = e->kind == AUDIT_ADMITTED;
    if (!prepare(row,
            "INSERT OR REPLACE INTO request (seq, id, time, permitted, caller, "
            "key, method, teams, action, route, model, asked, engine, "
            "upstream, policy_version, policies, stage, code, quota, reason, "
            "stream, body, cap, status) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, "
            "?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, "
            "?21, ?22, ?23, ?24)"))
        return;
    put_int(row, 1, (int64_t)seq);
    put_text(row, 2, e->id);
    put_int(row, 3, e->time_us);
    put_int(row, 4, permitted);
    put_word(row, 5, e->caller);
    put_word(row, 6, e->key);
    put_word(row, 7, e->method);
    put_word(row, 8, e->teams_json);
    put_word(row, 9, e->action);
    put_word(row, 10, e->route);
    put_word(row, 11, e->model);
    put_word(row, 12, e->asked);
    put_word_or_null(row, 13, e->engine);
    put_word_or_null(row, 14, e->upstream);
    put_int(row, 15, e->policy_version);
    put_word(row, 16, list_text(row->file, &e->policies));
    put_word_or_null(row, 17, e->stage);
    put_word_or_null(row, 18, e->code);
    put_word_or_null(row, 19, e->quota);
    put_text_or_null(row, 20, e->message);
    put_int(row, 21, e->stream);
    put_int(row, 22, e->body);
    put_known(row, 23, e->cap);
    put_known(row, 24, e->status > 0 ? e->status : -1);
    run(row);
    add_members(row,
        "INSERT OR IGNORE INTO request_team (team, seq) VALUES (?1, ?2)",
        &e->teams, seq);
    add_members(row,
        "INSERT OR IGNORE INTO request_policy (policy, seq) VALUES (?1, ?2)",
        &e->policies, seq);
}

static void add_event(
    struct row *row, uint64_t seq, const struct audit_event *e)
{
    if (!prepare(row,
            "INSERT OR REPLACE INTO event (seq, id, time, type, actor, method, "
            "kind, object, key, route, count, reason) VALUES (?1, ?2, ?3, ?4, "
            "?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"))
        return;
    put_int(row, 1, (int64_t)seq);
    put_text(row, 2, e->id);
    put_int(row, 3, e->time_us);
    put_word(row, 4, e->type);
    put_word(row, 5, e->actor);
    put_word(row, 6, e->actor_method);
    put_word(row, 7, e->object_kind);
    put_word(row, 8, e->object);
    put_word(row, 9, e->key);
    put_word(row, 10, e->route);
    put_int(row, 11, e->kind == AUDIT_AUTH_FAILED ? e->count : 1);
    put_text(row, 12, e->reason);
    run(row);
}

static void add_part(struct row *row, uint64_t seq, const struct audit_event *e)
{
    if (!prepare(row,
            "INSERT OR IGNORE INTO part (id, seq, type) VALUES (?1, ?2, ?3)"))
        return;
    put_text(row, 1, e->id);
    put_int(row, 2, (int64_t)seq);
    put_word(row, 3, e->type);
    run(row);
}

static void note_time(struct index_file *file, int64_t time_us)
{
    if (file->batch_first_us == 0)
        file->batch_first_us = time_us;
    file->batch_last_us = time_us;
}

enum err index_file_add(struct index_file *file, uint64_t seq,
    const struct audit_event *event, struct errinfo *info)
{
    struct row row = {.file = file, .info = info};
    switch (event->kind) {
    case AUDIT_ADMITTED:
    case AUDIT_DENIED:
        add_request(&row, seq, event);
        break;
    case AUDIT_AUTH_FAILED:
    case AUDIT_ACT:
        add_event(&row, seq, event);
        break;
    case AUDIT_MEASURED:
    case AUDIT_ATTEMPT:
    case AUDIT_COMPLETED:
    case AUDIT_WITHDRAWN:
        add_part(&row, seq, event);
        break;
    }
    note_time(file, event->time_us);
    return row.err;
}

enum err index_file_add_part(struct index_file *file, uint64_t seq,
    const struct audit_event *event, struct errinfo *info)
{
    struct row row = {.file = file, .info = info};
    add_part(&row, seq, event);
    return row.err;
}

enum err index_file_add_unreadable(
    struct index_file *file, uint64_t seq, struct str why, struct errinfo *info)
{
    struct row row = {.file = file, .info = info};
    struct audit_event event = {.kind = AUDIT_ACT,
        .type = STR_INIT("unreadable"),
        .time_us = file->batch_last_us ? file->batch_last_us
                                       : file->state.last_time_us,
        .reason = why};
    add_event(&row, seq, &event);
    return row.err;
}

/* A failed attempt is a part of its request, and ends nothing. */
static enum err add_attempt(
    struct row *row, uint64_t seq, const struct audit_event *e, bool *found)
{
    *found = false;
    if (!prepare(row, "SELECT 1 FROM request WHERE id = ?1"))
        return row->err;
    db_bind_text(row->statement, 1, e->id);
    row->err = db_step(row->statement, row->info);
    if (row->err == ERR_NOTFOUND)
        return row->err = ERR_OK;
    if (row->err != ERR_OK)
        return row->err;
    db_reset(row->statement);
    add_part(row, seq, e);
    *found = row->err == ERR_OK;
    return row->err;
}

enum err index_file_end_request(struct index_file *file, uint64_t seq,
    const struct audit_event *event, bool *found, struct errinfo *info)
{
    const struct audit_event *e = event;
    struct row row = {.file = file, .info = info};
    if (e->kind == AUDIT_ATTEMPT)
        return add_attempt(&row, seq, e, found);
    if (!prepare(&row,
            "UPDATE request SET outcome = ?2, "
            "engine = coalesce(?3, engine), upstream = coalesce(?4, upstream), "
            "status = ?5, attempts = ?6, input = ?7, output = ?8, "
            "bytes_out = ?9, first_byte = ?10, total = ?11, end_seq = ?12, "
            "end_time = ?13, reason = ?14 WHERE id = ?1"))
        return row.err;
    put_text(&row, 1, e->id);
    put_word(&row, 2, e->outcome);
    put_word_or_null(&row, 3, e->engine);
    put_word_or_null(&row, 4, e->upstream);
    put_known(&row, 5, e->status > 0 ? e->status : -1);
    put_int(&row, 6, e->attempts);
    put_known(&row, 7, e->input);
    put_known(&row, 8, e->output);
    put_int(&row, 9, e->bytes_out);
    put_known(&row, 10, e->first_byte_us);
    put_known(&row, 11, e->total_us);
    put_int(&row, 12, (int64_t)seq);
    put_int(&row, 13, e->time_us);
    put_text_or_null(&row, 14, e->reason);
    run(&row);
    *found = row.err == ERR_OK && db_changes(file->db) > 0;
    return row.err;
}

enum err index_file_count_open(
    struct index_file *file, uint64_t *count, struct errinfo *info)
{
    struct db_statement *select;
    enum err err = db_prepare(file->db,
        "SELECT count(*) FROM request "
        "WHERE permitted = 1 AND end_seq IS NULL",
        &select, info);
    if (err != ERR_OK)
        return err;
    err = db_step(select, info);
    if (err == ERR_OK) {
        *count = (uint64_t)db_column_int(select, 0);
        db_reset(select);
    }
    return err;
}
