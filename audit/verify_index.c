/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/verify_index.c - entry by entry against the rows of the index.
 *
 * An entry that opens something has its row under its own number; a request's
 * end is looked for by the request's id, in the file of the end and in the
 * older ones. Three marks per entry (a request, an event, an end was on record)
 * tell afterwards which rows have no entry. */
#include "audit/verify_index.h"

#include "audit/event.h"
#include "audit/index_file.h"
#include "audit/index_posting.h"
#include "audit/index_tally.h"
#include "audit/journal_reader.h"
#include "lib/file.h"
#include "lib/json_write.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define TOLD_MOST 100 /* of one file, one by one; the rest is counted */

enum { MARK_REQUEST = 1, MARK_EVENT = 2, MARK_END = 4 };

struct checked_file {
    char name[INDEX_NAME_SIZE];
    struct db *db;
    uint64_t first, next; /* entries [first, next) are compared */
    uint8_t *marks;       /* of each of them */
    uint64_t told;
};

struct index_check {
    void (*told)(void *context, struct verify_finding *finding);
    void *context;
    struct arena *arena;
    struct journal_reader *reader; /* for an entry out of its turn */
    struct buf list;
    struct checked_file *files;
    size_t count;
    uint64_t parts; /* entries beside first and last ones */
    bool begun;
    uint64_t from; /* the first entry: what was before it was pruned */
};

/* --- Findings ------------------------------------------------------------- */

static void tell(struct index_check *c, struct checked_file *file,
    int64_t index, struct str id, const char *format, ...) PRINTFLIKE(5, 6);
static void tell(struct index_check *c, struct checked_file *file,
    int64_t index, struct str id, const char *format, ...)
{
    struct verify_finding finding = {
        .kind = VERIFY_INDEX, .index = index, .other = -1, .count = 1};
    char words[400];
    va_list arguments;
    if (++file->told > TOLD_MOST)
        return;
    va_start(arguments, format);
    vsnprintf(words, sizeof(words), format, arguments);
    va_end(arguments);
    snprintf(finding.id, sizeof(finding.id), "%.*s", STR_ARG(id));
    snprintf(
        finding.text, sizeof(finding.text), "index/%s: %s", file->name, words);
    c->told(c->context, &finding);
}

static void tell_error(struct index_check *c, struct checked_file *file,
    const struct errinfo *info)
{
    tell(c, file, -1, STR(""), "%s", info->text);
}

/* --- Opening ---------------------------------------------------------------
 */

static enum err open_one(struct index_check *c, const char *dir, uint64_t first,
    struct checked_file *file, struct errinfo *info)
{
    struct index_state state = {0};
    index_file_name(file->name, first);
    file->first = file->next = first;
    char *path = file_join(dir, file->name);
    if (!path)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err = db_open_readonly(path, DB_INDEX, &file->db, info);
    free(path);
    if (err == ERR_OK)
        err = index_state_read(file->db, &state, info);
    if (err != ERR_OK)
        return err;
    file->next = state.next;
    file->marks = calloc(state.next - first + 1, 1);
    return file->marks ? ERR_OK : errinfo_set(info, ERR_NOMEM, "out of memory");
}

/* A file that cannot be read is a finding; the others are compared. */
static bool open_all(struct index_check *c, const char *state_dir)
{
    struct index_list list = {0};
    struct errinfo info = {0};
    char *dir = file_join(state_dir, "index");
    char *segments = file_join(state_dir, "journal/segments");
    bool good =
        dir && segments && index_list_load(dir, &list, &info) == ERR_OK &&
        journal_reader_open(segments, NULL, 0, &c->reader, &info) == ERR_OK;
    if (good)
        c->files = calloc(list.count + 1, sizeof(*c->files));
    good = good && c->files;
    for (size_t i = 0; good && i < list.count; i++) {
        struct checked_file *file = &c->files[c->count++];
        if (open_one(c, dir, list.firsts[i], file, &info) != ERR_OK) {
            tell_error(c, file, &info);
            db_close(&file->db);
        } else if (i + 1 < list.count && file->next < list.firsts[i + 1]) {
            tell(c, file, -1, STR(""),
                "it ends with entry %" PRIu64 ", and the next file begins with "
                "%" PRIu64 ": it is being built anew, or was cut",
                file->next, list.firsts[i + 1]);
        }
    }
    index_list_fini(&list);
    free(segments);
    free(dir);
    return good;
}

struct index_check *index_check_new(const char *state_dir,
    void (*told)(void *context, struct verify_finding *finding), void *context)
{
    struct index_check *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->told = told;
    c->context = context;
    c->arena = arena_new(1 << 18, 1 << 26);
    buf_init(&c->list, 1 << 20);
    if (!c->arena || !open_all(c, state_dir))
        index_check_free(&c);
    return c;
}

void index_check_free(struct index_check **check)
{
    struct index_check *c = *check;
    if (!c)
        return;
    for (size_t i = 0; i < c->count; i++) {
        db_close(&c->files[i].db);
        free(c->files[i].marks);
    }
    free(c->files);
    journal_reader_close(&c->reader);
    arena_free(&c->arena);
    buf_fini(&c->list);
    free(c);
    *check = NULL;
}

static struct checked_file *file_of(struct index_check *c, uint64_t index)
{
    for (size_t i = c->count; i > 0; i--)
        if (c->files[i - 1].db && index >= c->files[i - 1].first)
            return index < c->files[i - 1].next ? &c->files[i - 1] : NULL;
    return NULL;
}

/* --- Columns ---------------------------------------------------------------
 */

/* A row that is compared column by column, as they were selected. */
struct comparing {
    struct index_check *check;
    struct checked_file *file;
    struct db_statement *s;
    uint64_t index; /* of the entry */
    struct str id;
    int at;
};

static void differs(
    struct comparing *c, const char *name, struct str row, struct str entry)
{
    tell(c->check, c->file, (int64_t)c->index, c->id,
        "entry %" PRIu64 " says %s \"%.*s\", its row \"%.*s\"", c->index, name,
        (int)(entry.len < 100 ? entry.len : 100), entry.ptr,
        (int)(row.len < 100 ? row.len : 100), row.ptr);
}

static void text_is(struct comparing *c, const char *name, struct str entry)
{
    struct str row = db_column_text(c->s, c->at++);
    if (!str_equal(row, entry))
        differs(c, name, row, entry);
}

/* -1: not known, NULL in the row. */
static void number_is(struct comparing *c, const char *name, int64_t entry)
{
    bool null = db_column_is_null(c->s, c->at);
    int64_t row = null ? -1 : db_column_int(c->s, c->at);
    char a[32], b[32];
    c->at++;
    if (row == entry)
        return;
    snprintf(a, sizeof(a), "%lld", (long long)row);
    snprintf(b, sizeof(b), "%lld", (long long)entry);
    differs(c, name, row < 0 ? STR("none") : str_from(a),
        entry < 0 ? STR("none") : str_from(b));
}

static struct str list_text(
    struct index_check *c, const struct audit_event_list *list)
{
    struct json_writer w;
    buf_clear(&c->list);
    json_write_init(&w, &c->list);
    json_write_array(&w);
    for (size_t i = 0; i < list->count; i++)
        json_write_string(&w, list->items[i]);
    json_write_array_end(&w);
    return buf_str(&c->list);
}

#define WORD(column) "(SELECT text FROM word WHERE id = r." column ")"

/* Steps to the one row; false: there is none, or it cannot be read. */
static bool one_row(struct index_check *c, struct checked_file *file,
    struct db_statement *s, bool *there)
{
    struct errinfo info = {0};
    enum err err = db_step(s, &info);
    *there = err == ERR_OK;
    if (err != ERR_OK && err != ERR_NOTFOUND)
        tell_error(c, file, &info);
    return err == ERR_OK;
}

/* --- Rows ------------------------------------------------------------------
 */

static void check_request(struct index_check *c, struct checked_file *file,
    uint64_t index, const struct audit_event *e)
{
    struct errinfo info = {0};
    struct comparing row = {
        .check = c, .file = file, .index = index, .id = e->id, .at = 0};
    bool there;
    file->marks[index - file->first] |= MARK_REQUEST;
    if (db_prepare(file->db,
            "SELECT id, time, permitted, " WORD(
                "caller") ", " WORD("key") ", " WORD("method") ", " WORD("team"
                                                                         "s") ", " WORD("action") ", " WORD("route") ", " WORD("model") ", " WORD("asked") ", policy_version, " WORD("policies") ", " WORD("stage") ", " WORD("code") ", " WORD("quota") ", stream, body, cap, end_seq IS NULL, " WORD("engine") ", " WORD("upstream") ", status, reason FROM request AS r WHERE seq = ?1",
            &row.s, &info) != ERR_OK) {
        tell_error(c, file, &info);
        return;
    }
    db_bind_int(row.s, 1, (int64_t)index);
    if (!one_row(c, file, row.s, &there)) {
        tell(c, file, (int64_t)index, e->id,
            "the request of entry %" PRIu64 " has no row", index);
        return;
    }
    text_is(&row, "id", e->id);
    number_is(&row, "time", e->time_us);
    number_is(&row, "permitted", e->kind == AUDIT_ADMITTED);
    text_is(&row, "caller", e->caller);
    text_is(&row, "key", e->key);
    text_is(&row, "method", e->method);
    text_is(&row, "teams", e->teams_json);
    text_is(&row, "action", e->action);
    text_is(&row, "route", e->route);
    text_is(&row, "model", e->model);
    text_is(&row, "asked", e->asked);
    number_is(&row, "policyVersion", e->policy_version);
    text_is(&row, "policies", list_text(c, &e->policies));
    text_is(&row, "stage", e->stage);
    text_is(&row, "code", e->code);
    text_is(&row, "quota", e->quota);
    number_is(&row, "stream", e->stream);
    number_is(&row, "bytesIn", e->body);
    number_is(&row, "cap", e->cap);
    /* The rest is the end's, where there is one. */
    if (db_column_int(row.s, row.at++) != 0) {
        text_is(&row, "engine", e->engine);
        text_is(&row, "upstream", e->upstream);
        number_is(&row, "status", e->status > 0 ? e->status : -1);
        text_is(&row, "reason", e->message);
    }
    db_reset(row.s);
}

static void check_event(struct index_check *c, struct checked_file *file,
    uint64_t index, const struct audit_event *e)
{
    struct errinfo info = {0};
    struct comparing row = {
        .check = c, .file = file, .index = index, .id = e->id};
    bool there;
    file->marks[index - file->first] |= MARK_EVENT;
    if (db_prepare(file->db,
            "SELECT id, time, " WORD("type") ", " WORD("actor") ", " WORD(
                "meth"
                "od") ", " WORD("kind") ", " WORD("object") ", " WORD("key") ","
                                                                             " " WORD(
                                                                                 "route") ", count, reason FROM event AS r WHERE seq = ?1",
            &row.s, &info) != ERR_OK) {
        tell_error(c, file, &info);
        return;
    }
    db_bind_int(row.s, 1, (int64_t)index);
    if (!one_row(c, file, row.s, &there)) {
        tell(c, file, (int64_t)index, e->id,
            "entry %" PRIu64 " (%.*s) has no row", index, STR_ARG(e->type));
        return;
    }
    text_is(&row, "id", e->id);
    number_is(&row, "time", e->time_us);
    text_is(&row, "type", e->type);
    text_is(&row, "actor", e->actor);
    text_is(&row, "method", e->actor_method);
    text_is(&row, "objectKind", e->object_kind);
    text_is(&row, "object", e->object);
    text_is(&row, "key", e->key);
    text_is(&row, "route", e->route);
    number_is(&row, "count", e->kind == AUDIT_AUTH_FAILED ? e->count : 1);
    text_is(&row, "reason", e->reason);
    db_reset(row.s);
}

/* An entry that this program cannot read has a row that says so. */
static void check_unreadable(
    struct index_check *c, struct checked_file *file, uint64_t index)
{
    struct db_statement *s;
    struct errinfo info = {0};
    bool there;
    file->marks[index - file->first] |= MARK_EVENT;
    if (db_prepare(file->db,
            "SELECT 1 FROM event AS r WHERE seq = ?1 AND " WORD(
                "type") " = 'unreadable'",
            &s, &info) != ERR_OK) {
        tell_error(c, file, &info);
        return;
    }
    db_bind_int(s, 1, (int64_t)index);
    if (one_row(c, file, s, &there))
        db_reset(s);
    else
        tell(c, file, (int64_t)index, STR(""),
            "entry %" PRIu64 " cannot be read, and no row says so", index);
}

/* --- Ends ------------------------------------------------------------------
 */

/* The file of the request with that id at or below `at`, and its row. */
static struct checked_file *find_request(struct index_check *c,
    const struct checked_file *at, struct str id, uint64_t *seq)
{
    for (size_t i = (size_t)(at - c->files) + 1; i > 0; i--) {
        struct checked_file *file = &c->files[i - 1];
        struct db_statement *s;
        struct errinfo info = {0};
        bool there = false;
        if (!file->db)
            continue;
        if (db_prepare(file->db, "SELECT seq FROM request WHERE id = ?1", &s,
                &info) != ERR_OK) {
            tell_error(c, file, &info);
            continue;
        }
        db_bind_text(s, 1, id);
        if (!one_row(c, file, s, &there))
            continue;
        *seq = (uint64_t)db_column_int(s, 0);
        db_reset(s);
        return file;
    }
    return NULL;
}

/* Engine and upstream of the entry that opened the request, for an end that
 * names none. */
static bool opened_with(
    struct index_check *c, uint64_t seq, struct audit_event *end)
{
    struct journal_cursor cursor;
    struct journal_entry entry;
    struct audit_event event;
    struct errinfo info = {0};
    if (journal_cursor_init(&cursor, c->reader, seq, &info) != ERR_OK ||
        journal_cursor_next(&cursor, seq + 1, &entry, &info) != ERR_OK ||
        audit_event_parse(c->arena, arena_copy(c->arena, entry.bytes), &event,
            &info) != ERR_OK)
        return false;
    if (end->engine.len == 0)
        end->engine = event.engine;
    if (end->upstream.len == 0)
        end->upstream = event.upstream;
    return true;
}

static void compare_end(struct index_check *c, struct checked_file *file,
    uint64_t seq, uint64_t index, const struct audit_event *event)
{
    struct errinfo info = {0};
    struct audit_event e = *event;
    struct comparing row = {
        .check = c, .file = file, .index = index, .id = e.id};
    bool there;
    if (seq < file->first || seq >= file->next)
        return; /* told as a row without an entry */
    file->marks[seq - file->first] |= MARK_END;
    bool known = true; /* the entry that opened it may have been pruned */
    if (e.engine.len == 0 || e.upstream.len == 0)
        known = seq >= c->from && opened_with(c, seq, &e);
    if (db_prepare(file->db,
            "SELECT " WORD("outcome") ", " WORD("engine") ", " WORD(
                "upstream") ", status, attempts, input, output, bytes_out, "
                            "first_byte, total, end_seq, end_time, reason, "
                            "cost FROM request AS r WHERE seq = ?1",
            &row.s, &info) != ERR_OK) {
        tell_error(c, file, &info);
        return;
    }
    db_bind_int(row.s, 1, (int64_t)seq);
    if (!one_row(c, file, row.s, &there))
        return;
    text_is(&row, "outcome", e.outcome);
    if (known) {
        text_is(&row, "engine", e.engine);
        text_is(&row, "upstream", e.upstream);
    }
    row.at = 3;
    number_is(&row, "status", e.status > 0 ? e.status : -1);
    number_is(&row, "attempts", e.attempts);
    number_is(&row, "inputTokens", e.input);
    number_is(&row, "outputTokens", e.output);
    number_is(&row, "bytesOut", e.bytes_out);
    number_is(&row, "firstByteMicros", e.first_byte_us);
    number_is(&row, "totalMicros", e.total_us);
    number_is(&row, "its own place", (int64_t)index);
    number_is(&row, "time of the end", e.time_us);
    text_is(&row, "reason", e.reason);
    number_is(&row, "cost", e.cost);
    db_reset(row.s);
}

static void check_part(struct index_check *c, struct checked_file *file,
    uint64_t index, const struct audit_event *e)
{
    struct db_statement *s;
    struct errinfo info = {0};
    bool there;
    c->parts++;
    if (db_prepare(file->db,
            "SELECT " WORD("type") " FROM part AS r WHERE id = ?1 AND seq = ?2",
            &s, &info) != ERR_OK) {
        tell_error(c, file, &info);
        return;
    }
    db_bind_text(s, 1, e->id);
    db_bind_int(s, 2, (int64_t)index);
    if (!one_row(c, file, s, &there)) {
        tell(c, file, (int64_t)index, e->id,
            "entry %" PRIu64 " (%.*s) has no row", index, STR_ARG(e->type));
        return;
    }
    struct comparing row = {
        .check = c, .file = file, .s = s, .index = index, .id = e->id};
    text_is(&row, "type", e->type);
    db_reset(s);
}

void index_check_entry(
    struct index_check *check, uint64_t index, struct str entry)
{
    struct checked_file *file = file_of(check, index), *of = NULL;
    struct audit_event event;
    struct errinfo info = {0};
    uint64_t seq = 0;
    if (!check->begun)
        check->from = index;
    check->begun = true;
    if (!file)
        return;
    arena_reset(check->arena);
    enum err err = audit_event_parse(check->arena, entry, &event, &info);
    if (err == ERR_SYNTAX) {
        check_unreadable(check, file, index);
        return;
    }
    if (err != ERR_OK) {
        tell_error(check, file, &info);
        return;
    }
    switch (event.kind) {
    case AUDIT_ADMITTED:
    case AUDIT_DENIED:
        check_request(check, file, index, &event);
        break;
    case AUDIT_AUTH_FAILED:
    case AUDIT_ACT:
        check_event(check, file, index, &event);
        break;
    case AUDIT_MEASURED:
        check_part(check, file, index, &event);
        break;
    case AUDIT_ATTEMPT:
        of = find_request(check, file, event.id, &seq);
        check_part(check, of ? of : file, index, &event);
        break;
    case AUDIT_COMPLETED:
    case AUDIT_WITHDRAWN:
        of = find_request(check, file, event.id, &seq);
        if (of)
            compare_end(check, of, seq, index, &event);
        else
            check_part(check, file, index, &event);
        break;
    }
}

/* --- After the last entry --------------------------------------------------
 */

static void tell_unmarked(struct index_check *c, struct checked_file *file,
    const char *sql, uint8_t mark, const char *what)
{
    struct db_statement *s;
    struct errinfo info = {0};
    enum err err = db_prepare(file->db, sql, &s, &info);
    if (err == ERR_OK)
        db_bind_int(s, 1, (int64_t)c->files[c->count - 1].next);
    while (err == ERR_OK && (err = db_step(s, &info)) == ERR_OK) {
        uint64_t seq = (uint64_t)db_column_int(s, 0);
        bool inside = seq >= file->first && seq < file->next;
        /* What the indexer has taken in since is not in the marks, nor is what
         * was pruned. */
        if (seq < c->from ||
            (seq >= file->next && file == &c->files[c->count - 1]))
            continue;
        if (!inside || !(file->marks[seq - file->first] & mark))
            tell(c, file, (int64_t)seq, db_column_text(s, 1),
                "row %" PRIu64 " %s", seq, what);
    }
    if (err != ERR_OK && err != ERR_NOTFOUND)
        tell_error(c, file, &info);
}

/* SQL that gives a number, which is to be 0. */
static void tell_unless_none(struct index_check *c, struct checked_file *file,
    const char *sql, int64_t argument, const char *words)
{
    struct db_statement *s;
    struct errinfo info = {0};
    enum err err = db_prepare(file->db, sql, &s, &info);
    if (err == ERR_OK) {
        db_bind_int(s, 1, argument);
        err = db_step(s, &info);
    }
    if (err != ERR_OK) {
        tell_error(c, file, &info);
        return;
    }
    if (db_column_int(s, 0) != 0)
        tell(c, file, -1, STR(""), "%s (%lld)", words,
            (long long)db_column_int(s, 0));
    db_reset(s);
}

static void check_sets(struct index_check *c, struct checked_file *file)
{
    struct errinfo info = {0};
    struct index_state state;
    enum err err = index_state_read(file->db, &state, &info);
    uint64_t from = file->first, until = err == ERR_OK ? state.posted : from;
    while (err == ERR_OK && from < until) {
        uint64_t end = ((from >> POSTING_SHIFT) + 1) << POSTING_SHIFT;
        /* A short transaction: ends come in meanwhile. */
        err = db_execute(file->db, "BEGIN", &info);
        if (err == ERR_OK)
            err =
                posting_check(file->db, from, end < until ? end : until, &info);
        db_rollback(file->db);
        if (err == ERR_CORRUPT) {
            tell_error(c, file, &info);
            err = ERR_OK;
        }
        from = end;
    }
    if (err != ERR_OK)
        tell_error(c, file, &info);
}

static void check_sums(struct index_check *c, struct checked_file *file)
{
    struct errinfo info = {0};
    bool there = false;
    enum err err = index_tally_is_there(file->db, &there, &info);
    uint64_t last = file->next >> TALLY_SHIFT;
    for (uint64_t block = file->first >> TALLY_SHIFT;
         there && err == ERR_OK && block <= last; block++) {
        err = db_execute(file->db, "BEGIN", &info);
        if (err == ERR_OK)
            err = index_tally_check(file->db, block, &info);
        db_rollback(file->db);
        if (err == ERR_CORRUPT) {
            tell_error(c, file, &info);
            err = ERR_OK;
        }
    }
    if (err != ERR_OK)
        tell_error(c, file, &info);
}

static void check_pages(struct index_check *c, struct checked_file *file)
{
    struct db_statement *s = NULL;
    struct errinfo info = {0};
    enum err err =
        db_prepare_once(file->db, STR("PRAGMA integrity_check(1)"), &s, &info);
    if (err == ERR_OK)
        err = db_step(s, &info);
    if (err != ERR_OK)
        tell_error(c, file, &info);
    else if (!str_equal(db_column_text(s, 0), STR("ok")))
        tell(c, file, -1, STR(""), "%.*s", STR_ARG(db_column_text(s, 0)));
    db_finalize(&s);
}

static void check_file(struct index_check *c, struct checked_file *file)
{
    check_pages(c, file);
    tell_unmarked(c, file, "SELECT seq, id FROM request WHERE ?1 = ?1",
        MARK_REQUEST, "is a request that is not on record there");
    tell_unmarked(c, file, "SELECT seq, id FROM event WHERE ?1 = ?1",
        MARK_EVENT, "is an event that is not on record there");
    tell_unmarked(c, file, "SELECT seq, id FROM request WHERE end_seq < ?1",
        MARK_END, "says that its request has ended; its end is not on record");
    tell_unless_none(c, file,
        "SELECT count(*) FROM (SELECT teams AS list FROM request UNION "
        "SELECT policies FROM request) AS l WHERE ?1 = ?1 AND ("
        "SELECT count(*) FROM json_each((SELECT text FROM word WHERE id = "
        "l.list))) <> (SELECT count(*) FROM member AS m JOIN word AS w ON "
        "w.id = m.word WHERE m.list = l.list AND EXISTS (SELECT 1 FROM "
        "json_each((SELECT text FROM word WHERE id = l.list)) AS j "
        "WHERE j.value = w.text))",
        0, "teams or rules of requests cannot be searched by");
    check_sets(c, file);
    check_sums(c, file);
}

void index_check_end(struct index_check *check)
{
    int64_t parts = 0;
    if (check->count == 0)
        return;
    uint64_t end = check->files[check->count - 1].next;
    for (size_t i = 0; i < check->count; i++) {
        struct checked_file *file = &check->files[i];
        struct db_statement *s;
        struct errinfo info = {0};
        if (!file->db)
            continue;
        check_file(check, file);
        if (db_prepare(file->db,
                "SELECT count(*) FROM part WHERE seq < ?1 AND seq >= ?2", &s,
                &info) == ERR_OK) {
            db_bind_int(s, 1, (int64_t)end);
            db_bind_int(s, 2, (int64_t)check->from);
            if (db_step(s, &info) == ERR_OK)
                parts += db_column_int(s, 0);
            db_reset(s);
        }
        if (i + 1 == check->count && parts != (int64_t)check->parts)
            tell(check, file, -1, STR(""),
                "the files have %lld attempts and measurements, the log "
                "%" PRIu64,
                (long long)parts, check->parts);
        if (file->told == 0)
            continue;
        struct verify_finding finding = {
            .kind = VERIFY_NOTE, .index = -1, .other = -1};
        snprintf(finding.text, sizeof(finding.text),
            "index/%s differs from the log in %" PRIu64
            " places; `bailiff audit reindex --entry %" PRIu64
            "` builds it anew",
            file->name, file->told, file->first);
        check->told(check->context, &finding);
    }
}
