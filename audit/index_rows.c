/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/index_rows.c - from an entry to the rows of the index.
 *
 * A row is written by steps that stop at the first failure: `struct row`
 * carries it, so that the columns read as a list. */
#include "audit/index_posting.h"
#include "audit/index_priv.h"
#include "audit/index_tally.h"

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

/* True when it is not among those written lately; it is from now on. */
static bool is_news(struct index_file *file, int64_t list)
{
    uint64_t hash = (uint64_t)list * 0x9e3779b97f4a7c15u;
    int64_t *slot = &file->recent[(hash >> 32) & (INDEX_RECENT - 1)];
    if (*slot == list)
        return false;
    *slot = list;
    return true;
}

static void add_members(struct row *row, struct str list_as_text,
    const struct audit_event_list *list)
{
    int64_t list_id = word_id(row, list_as_text);
    if (row->err != ERR_OK || !is_news(row->file, list_id))
        return;
    for (size_t i = 0; i < list->count; i++) {
        if (!prepare(row,
                "INSERT OR IGNORE INTO member (list, word) VALUES (?1, ?2)"))
            return;
        put_int(row, 1, list_id);
        put_word(row, 2, list->items[i]);
        run(row);
    }
}

/* The columns that a request's end sets, from ?`at` on. */
static void put_end(
    struct row *row, int at, uint64_t seq, const struct audit_event *e)
{
    put_word(row, at, e->outcome);
    put_word_or_null(row, at + 1, e->engine);
    put_word_or_null(row, at + 2, e->upstream);
    put_known(row, at + 3, e->status > 0 ? e->status : -1);
    put_int(row, at + 4, e->attempts);
    put_known(row, at + 5, e->input);
    put_known(row, at + 6, e->output);
    put_int(row, at + 7, e->bytes_out);
    put_known(row, at + 8, e->first_byte_us);
    put_known(row, at + 9, e->total_us);
    put_int(row, at + 10, (int64_t)seq);
    put_int(row, at + 11, e->time_us);
    put_text_or_null(row, at + 12, e->reason);
    put_known(row, at + 13, e->cost);
}

/* A request whose chunk is laid out has got a value. */
static void add_late(
    struct row *row, enum posting_field field, int64_t value, uint64_t seq)
{
    if (row->err == ERR_OK && value != 0 && seq < row->file->state.posted)
        row->err =
            posting_add_late(row->file->db, field, value, seq, row->info);
}

static void add_late_word(
    struct row *row, enum posting_field field, struct str word, uint64_t seq)
{
    if (word.len > 0 && seq < row->file->state.posted)
        add_late(row, field, word_id(row, word), seq);
}

static void put_request(
    struct row *row, uint64_t seq, const struct audit_event *e)
{
    put_int(row, 1, (int64_t)seq);
    put_text(row, 2, e->id);
    put_int(row, 3, e->time_us);
    put_int(row, 4, e->kind == AUDIT_ADMITTED);
    put_word(row, 5, e->caller);
    put_word(row, 6, e->key);
    put_word(row, 7, e->method);
    put_word(row, 8, e->teams_json);
    put_word(row, 9, e->action);
    put_word(row, 10, e->route);
    put_word(row, 11, e->model);
    put_word(row, 12, e->asked);
    put_int(row, 13, e->policy_version);
    put_word(row, 14, list_text(row->file, &e->policies));
    put_word_or_null(row, 15, e->stage);
    put_word_or_null(row, 16, e->code);
    put_word_or_null(row, 17, e->quota);
    put_int(row, 18, e->stream);
    put_int(row, 19, e->body);
    put_known(row, 20, e->cap);
}

#define REQUEST_COLUMNS                                                        \
    "INSERT OR REPLACE INTO request (seq, id, time, permitted, caller, key, "  \
    "method, teams, action, route, model, asked, policy_version, policies, "   \
    "stage, code, quota, stream, body, cap, engine, upstream, status, reason"
#define REQUEST_VALUES                                                         \
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, "    \
    "?15, ?16, ?17, ?18, ?19, ?20, "

static void add_request(struct row *row, uint64_t seq,
    const struct audit_event *e, uint64_t end_seq,
    const struct audit_event *end)
{
    struct audit_event merged;
    if (end) {
        merged = *end;
        if (merged.engine.len == 0)
            merged.engine = e->engine;
        if (merged.upstream.len == 0)
            merged.upstream = e->upstream;
    }
    if (!prepare(row,
            end ? REQUEST_COLUMNS
                ", outcome, attempts, input, output, bytes_out, first_byte, "
                "total, end_seq, end_time, cost) " REQUEST_VALUES
                "?22, ?23, ?24, ?33, ?21, ?25, ?26, ?27, ?28, ?29, ?30, ?31, "
                "?32, ?34)"
                : REQUEST_COLUMNS ") " REQUEST_VALUES "?21, ?22, ?23, ?24)"))
        return;
    put_request(row, seq, e);
    if (end) {
        put_end(row, 21, end_seq, &merged);
    } else {
        put_word_or_null(row, 21, e->engine);
        put_word_or_null(row, 22, e->upstream);
        put_known(row, 23, e->status > 0 ? e->status : -1);
        put_text_or_null(row, 24, e->message);
    }
    run(row);
    add_members(row, e->teams_json, &e->teams);
    add_members(row, list_text(row->file, &e->policies), &e->policies);
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
    if (time_us > file->batch_last_us)
        file->batch_last_us = time_us;
}

enum err index_file_add(struct index_file *file, uint64_t seq,
    const struct audit_event *event, uint64_t end_seq,
    const struct audit_event *end, struct errinfo *info)
{
    struct row row = {.file = file, .info = info};
    switch (event->kind) {
    case AUDIT_ADMITTED:
    case AUDIT_DENIED:
        add_request(&row, seq, event, end_seq, end);
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
    if (end)
        note_time(file, end->time_us);
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

/* The entry that opened the request; 0 and *found false: not in this file. */
static uint64_t find_request(struct row *row, struct str id, bool *found)
{
    uint64_t seq = 0;
    *found = false;
    if (!prepare(row, "SELECT seq FROM request WHERE id = ?1"))
        return 0;
    db_bind_text(row->statement, 1, id);
    enum err err = db_step(row->statement, row->info);
    if (err == ERR_OK) {
        *found = true;
        seq = (uint64_t)db_column_int(row->statement, 0);
        db_reset(row->statement);
    } else if (err != ERR_NOTFOUND) {
        row->err = err;
    }
    return seq;
}

enum err index_file_end_request(struct index_file *file, uint64_t seq,
    const struct audit_event *event, bool *found, struct errinfo *info)
{
    const struct audit_event *e = event;
    struct row row = {.file = file, .info = info};
    uint64_t at = find_request(&row, e->id, found);
    if (row.err != ERR_OK || !*found)
        return row.err;
    /* A failed attempt is a part of its request, and ends nothing. */
    if (e->kind == AUDIT_ATTEMPT) {
        add_part(&row, seq, e);
        add_late_word(&row, POSTING_PART, e->type, at);
        return row.err;
    }
    if (!prepare(&row,
            "UPDATE request SET outcome = ?2, "
            "engine = coalesce(?3, engine), upstream = coalesce(?4, upstream), "
            "status = ?5, attempts = ?6, input = ?7, output = ?8, "
            "bytes_out = ?9, first_byte = ?10, total = ?11, end_seq = ?12, "
            "end_time = ?13, reason = ?14, cost = ?15 WHERE seq = ?1"))
        return row.err;
    put_int(&row, 1, (int64_t)at);
    put_end(&row, 2, seq, e);
    run(&row);
    add_late_word(&row, POSTING_OUTCOME, e->outcome, at);
    add_late_word(&row, POSTING_ENGINE, e->engine, at);
    add_late(&row, POSTING_STATUS, e->status > 0 ? e->status : 0, at);
    add_late(&row, POSTING_REASON, e->reason.len > 0, at);
    if (row.err == ERR_OK && at >> TALLY_SHIFT < file->tally_from) {
        file->tally_lost = true;
        row.err = index_tally_forget(file->db, at, info);
    }
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
