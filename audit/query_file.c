/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/query_file.c - what a filter means to the rows of one file: requests
 * and events, their columns and conditions. How they are found is in
 * query_search.c. */
#include "audit/query_search.h"
#include "lib/encode.h"

#include <stdio.h>
#include <stdlib.h>

/* --- Conditions ------------------------------------------------------------
 */

static enum err word_of(
    struct search *search, struct str word, int64_t *id, struct errinfo *info)
{
    struct db_statement *select;
    enum err err = db_prepare(
        search->db, "SELECT id FROM word WHERE text = ?1", &select, info);
    if (err != ERR_OK)
        return err;
    *id = 0;
    db_bind_text(select, 1, word);
    err = db_step(select, info);
    if (err == ERR_OK) {
        *id = db_column_int(select, 0);
        db_reset(select);
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* A word that the file has never seen: it has no such row. */
static enum err where_word(struct search *search, enum shape shape,
    const char *column, const char *index, enum posting_field posting,
    struct str word, bool *seen)
{
    int64_t id;
    if (word.len == 0)
        return ERR_OK;
    enum err err = word_of(search, word, &id, search->info);
    if (err != ERR_OK)
        return err;
    if (id == 0) {
        search->none = true;
        return ERR_OK;
    }
    *seen = true;
    struct condition *condition = search_add(search, shape, column);
    condition->index = index;
    condition->posting = posting;
    condition->values[condition->count++] = id;
    return ERR_OK;
}

/* The distinct values that `next_sql` gives above ?1, one by one, of which
 * `wanted` takes its pick. */
static enum err pick_values(struct search *search, struct condition *condition,
    const char *next_sql,
    bool (*wanted)(struct search *search, int64_t value, struct str text))
{
    int64_t last = -1;
    for (;;) {
        struct db_statement *next;
        enum err err = db_prepare(search->db, next_sql, &next, search->info);
        if (err != ERR_OK)
            return err;
        db_bind_int(next, 1, last);
        err = db_step(next, search->info);
        if (err == ERR_NOTFOUND)
            return ERR_OK;
        if (err != ERR_OK)
            return err;
        last = db_column_int(next, 0);
        bool take = wanted(search, last, db_column_text(next, 1));
        db_reset(next);
        for (size_t i = 0; take && i < condition->count; i++)
            take = condition->values[i] != last;
        if (take && condition->count < SEARCH_VALUES_MAX)
            condition->values[condition->count++] = last;
    }
}

static bool status_wanted(struct search *search, int64_t value, struct str text)
{
    char digits[8];
    struct str asked = search->question->filter->status;
    snprintf(digits, sizeof(digits), "%03d", (int)(value % 1000));
    return digits[0] == asked.ptr[0] &&
           (asked.ptr[1] == 'x' || str_equal(asked, str_from(digits)));
}

/* "admin" takes admin.team.added; "admin.team.added" only itself; "change"
 * is what people changed: admin and policy. */
static bool type_wanted(struct search *search, int64_t value, struct str text)
{
    struct str asked = search->question->filter->type;
    if (str_equal(asked, STR("change")))
        return str_starts(text, STR("admin.")) ||
               str_starts(text, STR("policy."));
    return str_starts(text, asked) &&
           (text.len == asked.len || text.ptr[asked.len] == '.');
}

#define REQUEST_TIMES                                                          \
    "SELECT seq, time FROM request WHERE seq >= ?1 AND seq < ?2 "              \
    "ORDER BY seq LIMIT 1"
#define EVENT_TIMES                                                            \
    "SELECT seq, time FROM event WHERE seq >= ?1 AND seq < ?2 "                \
    "ORDER BY seq LIMIT 1"

/* --- Requests
 * --------------------------------------------------------------------
 */

#define WORD(column) "(SELECT text FROM word WHERE id = r." column ")"
/* clang-format off */
#define REQUEST_COLUMNS \
    "r.seq, r.id, r.time, r.permitted, " WORD("caller") ", " WORD("key") ", " \
    WORD("method") ", " WORD("teams") ", " WORD("action") ", " \
    WORD("route") ", " WORD("model") ", " WORD("asked") ", " \
    WORD("engine") ", " WORD("upstream") ", r.policy_version, " \
    WORD("policies") ", " WORD("stage") ", " WORD("code") ", " \
    WORD("quota") ", r.reason, r.stream, r.body, r.cap, r.status, " \
    WORD("outcome") ", r.attempts, r.input, r.output, r.bytes_out, " \
    "r.first_byte, r.total, r.end_seq, r.end_time, r.cost"
/* clang-format on */

static struct str keep(struct db_statement *s, int at, struct row_list *list)
{
    struct str copy = arena_copy(list->arena, db_column_text(s, at));
    return copy.ptr ? copy : STR("");
}

static int64_t known(struct db_statement *s, int at)
{
    return db_column_is_null(s, at) ? -1 : db_column_int(s, at);
}

static void read_request(
    struct db_statement *s, struct audit_row *row, struct row_list *list)
{
    row->kind = AUDIT_ROW_REQUEST;
    row->seq = (uint64_t)db_column_int(s, 0);
    row->id = keep(s, 1, list);
    row->time_us = db_column_int(s, 2);
    row->permitted = db_column_int(s, 3) != 0;
    row->caller = keep(s, 4, list);
    row->key = keep(s, 5, list);
    row->method = keep(s, 6, list);
    row->teams = keep(s, 7, list);
    row->action = keep(s, 8, list);
    row->route = keep(s, 9, list);
    row->model = keep(s, 10, list);
    row->asked = keep(s, 11, list);
    row->engine = keep(s, 12, list);
    row->upstream = keep(s, 13, list);
    row->policy_version = db_column_int(s, 14);
    row->policies = keep(s, 15, list);
    row->stage = keep(s, 16, list);
    row->code = keep(s, 17, list);
    row->quota = keep(s, 18, list);
    row->reason = keep(s, 19, list);
    row->stream = db_column_int(s, 20) != 0;
    row->body = db_column_int(s, 21);
    row->cap = known(s, 22);
    row->status = known(s, 23);
    row->outcome = keep(s, 24, list);
    row->attempts = known(s, 25);
    row->input = known(s, 26);
    row->output = known(s, 27);
    row->bytes_out = known(s, 28);
    row->first_byte_us = known(s, 29);
    row->total_us = known(s, 30);
    row->end_seq = known(s, 31);
    row->end_time_us = known(s, 32);
    row->cost = known(s, 33);
    if (!row->permitted)
        row->type = STR("request.denied");
    else if (row->end_seq < 0)
        row->type = STR("request.admitted");
    else if (str_equal(row->outcome, STR("withdrawn")))
        row->type = STR("request.withdrawn");
    else
        row->type = STR("request.completed");
}

static void where_permitted(struct search *search, bool permitted)
{
    struct condition *condition = search_add(search, SHAPE_COLUMN, "permitted");
    condition->posting = POSTING_PERMITTED;
    condition->values[condition->count++] = permitted;
}

/* No index of words: the rows that the other filters leave and that have a
 * reason at all are read, newest first, until the page is full. The text goes
 * in as hexadecimal digits. */
static void where_text(struct search *search, struct str text)
{
    char hex[2 * AUDIT_SEARCH_MAX + 1];
    if (text.len == 0 || text.len > AUDIT_SEARCH_MAX)
        return;
    hex_write(hex, text.ptr, text.len);
    snprintf(search->looked_for, sizeof(search->looked_for),
        "instr(lower(r.reason), lower(CAST(x'%s' AS TEXT))) > 0", hex);
    struct condition *condition =
        search_add(search, SHAPE_PLAIN, search->looked_for);
    if (strcmp(search->table, "request") != 0)
        return;
    condition->posting = POSTING_REASON;
    condition->values[condition->count++] = 1;
}

static void where_version(struct search *search, struct str version)
{
    uint64_t number;
    if (version.len == 0 || str_to_u64(version, &number) != ERR_OK)
        return;
    struct condition *condition =
        search_add(search, SHAPE_COLUMN, "policy_version");
    condition->posting = POSTING_VERSION;
    condition->values[condition->count++] = (int64_t)number;
}

/* Requests that have an entry of the type beside their first and last. */
static enum err where_part(struct search *search, struct str type)
{
    bool ignored = false;
    enum err err = where_word(
        search, SHAPE_PLAIN, NULL, NULL, POSTING_PART, type, &ignored);
    if (err == ERR_OK && !search->none)
        search->conditions[search->count - 1].column =
            str_equal(type, STR("request.attempt"))
                ? "EXISTS (SELECT 1 FROM part AS p JOIN word AS w ON "
                  "w.id = p.type WHERE p.id = r.id AND "
                  "w.text = 'request.attempt')"
                : "EXISTS (SELECT 1 FROM part AS p JOIN word AS w ON "
                  "w.id = p.type WHERE p.id = r.id AND "
                  "w.text = 'request.measured')";
    return err;
}

static enum err where_request_type(struct search *search)
{
    bool ignored = false;
    struct str type = search->question->filter->type;
    if (str_equal(type, STR("request.admitted")))
        where_permitted(search, true);
    else if (str_equal(type, STR("request.denied")))
        where_permitted(search, false);
    else if (str_equal(type, STR("request.completed")))
        (void)search_add(search, SHAPE_PLAIN,
            "r.end_seq IS NOT NULL AND r.outcome IS NOT "
            "(SELECT id FROM word WHERE text = 'withdrawn')");
    else if (str_equal(type, STR("request.withdrawn")))
        return where_word(search, SHAPE_COLUMN, "outcome", NULL,
            POSTING_OUTCOME, STR("withdrawn"), &ignored);
    else if (str_equal(type, STR("request.attempt")) ||
             str_equal(type, STR("request.measured")))
        return where_part(search, type);
    return ERR_OK;
}

/* The values that the sets have, and for the rows the range. */
static enum err where_status(struct search *search, struct str status)
{
    static const char *const sources[] = {
        "SELECT value, '' FROM posting WHERE field = 9 AND value > ?1 "
        "ORDER BY value LIMIT 1",
        "SELECT value, '' FROM late WHERE field = 9 AND value > ?1 "
        "ORDER BY value LIMIT 1"};
    _Static_assert(POSTING_STATUS == 9, "the 9 of the statements");
    struct condition *condition = search_add(search, SHAPE_COLUMN, "status");
    int low = (status.ptr[0] - '0') * 100, high = low + 99;
    enum err err = ERR_OK;
    if (status.ptr[1] != 'x')
        low = high = low + (status.ptr[1] - '0') * 10 + status.ptr[2] - '0';
    snprintf(search->statuses, sizeof(search->statuses),
        "r.status BETWEEN %d AND %d", low, high);
    condition->sql = search->statuses;
    condition->posting = POSTING_STATUS;
    for (size_t i = 0; err == ERR_OK && i < 2; i++)
        err = pick_values(search, condition, sources[i], status_wanted);
    return err;
}

static enum err where_request(struct search *search, struct words_seen *seen)
{
    const struct audit_filter *f = search->question->filter;
    bool ignored = false;
    const struct {
        enum shape shape;
        const char *column;
        enum posting_field posting;
        struct str word;
        bool *seen;
    } words[] = {
        {SHAPE_COLUMN, "caller", POSTING_CALLER, f->caller, &seen->caller},
        {SHAPE_COLUMN, "key", POSTING_KEY, f->key, &seen->key},
        {SHAPE_MEMBER, "teams", POSTING_TEAM, f->team, &seen->team},
        {SHAPE_MEMBER, "policies", POSTING_POLICY, f->policy, &seen->policy},
        {SHAPE_COLUMN, "model", POSTING_MODEL, f->model, &seen->model},
        {SHAPE_COLUMN, "engine", POSTING_ENGINE, f->engine, &seen->engine},
        {SHAPE_COLUMN, "route", POSTING_ROUTE, f->route, &seen->route},
        {SHAPE_COLUMN, "action", POSTING_ACTION, f->action, &seen->action},
        {SHAPE_COLUMN, "code", POSTING_CODE, f->code, &seen->code},
        {SHAPE_COLUMN, "quota", POSTING_QUOTA, f->quota, &seen->quota},
        {SHAPE_COLUMN, "stage", POSTING_STAGE, f->stage, &seen->stage},
    };
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < sizeof(words) / sizeof(words[0]);
         i++)
        err = where_word(search, words[i].shape, words[i].column, NULL,
            words[i].posting, words[i].word, words[i].seen);
    if (err == ERR_OK && str_equal(f->outcome, STR("open"))) {
        (void)search_add(
            search, SHAPE_PLAIN, "r.permitted = 1 AND r.end_seq IS NULL");
        search->only_index = "request_open";
    } else if (err == ERR_OK) {
        err = where_word(search, SHAPE_COLUMN, "outcome", NULL, POSTING_OUTCOME,
            f->outcome, &ignored);
    }
    if (err == ERR_OK && f->status.len > 0)
        err = where_status(search, f->status);
    where_version(search, f->version);
    where_text(search, f->text);
    if (err == ERR_OK && f->decision.len > 0)
        where_permitted(search, str_equal(f->decision, STR("permit")));
    if (err == ERR_OK && f->type.len > 0)
        err = where_request_type(search);
    return err;
}

enum err query_requests(struct db *db, const struct index_state *state,
    const struct question *question, struct row_list *out,
    struct words_seen *seen, struct errinfo *info)
{
    struct search search = {.db = db,
        .state = state,
        .question = question,
        .table = "request",
        .columns = REQUEST_COLUMNS,
        .info = info,
        .read = read_request};
    enum err err = where_request(&search, seen);
    if (err == ERR_OK && !search.none)
        err = search_range(&search, REQUEST_TIMES);
    return err == ERR_OK ? search_run(&search, out) : err;
}

/* --- Events
 * ----------------------------------------------------------------------
 */

static void read_event(
    struct db_statement *s, struct audit_row *row, struct row_list *list)
{
    row->kind = AUDIT_ROW_EVENT;
    row->seq = (uint64_t)db_column_int(s, 0);
    row->id = keep(s, 1, list);
    row->time_us = db_column_int(s, 2);
    row->type = keep(s, 3, list);
    row->actor = keep(s, 4, list);
    row->method = keep(s, 5, list);
    row->object_kind = keep(s, 6, list);
    row->object = keep(s, 7, list);
    row->key = keep(s, 8, list);
    row->route = keep(s, 9, list);
    row->count = db_column_int(s, 10);
    row->reason = keep(s, 11, list);
    row->status = row->attempts = row->input = row->output = -1;
    row->body = row->bytes_out = row->cap = row->first_byte_us = -1;
    row->total_us = row->end_seq = row->end_time_us = row->cost = -1;
}

static enum err where_event(struct search *search, struct words_seen *seen)
{
    const struct audit_filter *f = search->question->filter;
    enum err err = where_word(search, SHAPE_COLUMN, "actor", "event_actor",
        POSTING_NONE, f->actor, &seen->actor);
    if (err == ERR_OK)
        err = where_word(search, SHAPE_COLUMN, "object", "event_object",
            POSTING_NONE, f->object, &seen->object);
    if (err == ERR_OK)
        err = where_word(search, SHAPE_COLUMN, "key", NULL, POSTING_NONE,
            f->key, &seen->key);
    if (err == ERR_OK)
        err = where_word(search, SHAPE_COLUMN, "route", NULL, POSTING_NONE,
            f->route, &seen->route);
    where_text(search, f->text);
    if (err == ERR_OK && f->type.len > 0) {
        struct condition *condition = search_add(search, SHAPE_COLUMN, "type");
        condition->index = "event_type";
        err = pick_values(search, condition,
            "SELECT type, text FROM event INDEXED BY event_type JOIN word "
            "ON word.id = type WHERE type > ?1 ORDER BY type LIMIT 1",
            type_wanted);
        search->none = search->none || condition->count == 0;
    }
    return err;
}

enum err query_events(struct db *db, const struct index_state *state,
    const struct question *question, struct row_list *out,
    struct words_seen *seen, struct errinfo *info)
{
    struct search search = {.db = db,
        .state = state,
        .question = question,
        .table = "event",
        .columns =
            "r.seq, r.id, r.time, " WORD("type") ", " WORD("actor") ", " WORD("method") ", " WORD(
                "kind") ", " WORD("object") ", " WORD("key") ", " WORD("route") ", r.count, r.reason",
        .info = info,
        .read = read_event};
    enum err err = where_event(&search, seen);
    if (err == ERR_OK && !search.none)
        err = search_range(&search, EVENT_TIMES);
    return err == ERR_OK ? search_run(&search, out) : err;
}

/* --- For counting ----------------------------------------------------------
 */

enum err query_request_range(struct db *db, const struct index_state *state,
    const struct question *question, uint64_t *low, uint64_t *end,
    struct errinfo *info)
{
    struct search search = {
        .db = db, .state = state, .question = question, .info = info};
    enum err err = search_range(&search, REQUEST_TIMES);
    if (err != ERR_OK)
        return err;
    *low = search.low;
    *end = search.none ? search.low : search.high + 1;
    return ERR_OK;
}

enum err query_walk_open(struct db *db, const struct index_state *state,
    const struct question *question, bool requests, struct query_walk **out,
    struct errinfo *info)
{
    struct search *search = calloc(1, sizeof(*search));
    struct words_seen seen = {0};
    if (!search)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    *search = (struct search){.db = db,
        .state = state,
        .question = question,
        .table = requests ? "request" : "event",
        .info = info};
    enum err err =
        requests ? where_request(search, &seen) : where_event(search, &seen);
    if (err == ERR_OK && !search->none)
        err = search_range(search, requests ? REQUEST_TIMES : EVENT_TIMES);
    if (err == ERR_OK)
        return query_walk_begin(search, out, info);
    free(search);
    return err;
}
