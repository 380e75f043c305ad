/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/query_file.c - the SQL of one page from one file.
 *
 * What drives the search - the places of a request's field, an index of the
 * events - gives its rows in the order of seq, which is that of the answer: the
 * page stops as soon as it is full. Which one drives is decided here, not by
 * SQLite's planner, which knows nothing of the data: the condition with the
 * fewest rows to read in the range of time, counted up to a bound. A condition
 * with several values (4xx, admin) is searched value by value. */
#include "audit/index_places.h"
#include "lib/encode.h"
#include "audit/query_priv.h"

#include <stdio.h>

#define VALUES_MAX 128
#define CONDITIONS_MAX 24
#define COUNT_MOST 20000 /* a count stops here: "many" */

enum shape {
    SHAPE_COLUMN, /* a column of the table */
    SHAPE_MEMBER, /* a column that is a list, of which it is a member */
    SHAPE_PLAIN   /* SQL without a value; never drives */
};

struct condition {
    enum shape shape;
    const char *column; /* SHAPE_PLAIN: the SQL */
    const char *index;  /* of the column; NULL: none */
    enum place_field place;
    int64_t values[VALUES_MAX];
    size_t count;
};

struct search {
    struct db *db;
    const struct index_state *state;
    const struct question *question;
    const char *table; /* "request" or "event" */
    const char *columns;
    uint64_t low, high; /* seq, both inclusive */
    bool none;          /* no row can fit */
    size_t count;
    struct errinfo *info;
    void (*read)(
        struct db_statement *s, struct audit_row *row, struct row_list *list);
    struct condition conditions[CONDITIONS_MAX];
    char looked_for[2 * AUDIT_SEARCH_MAX + 80]; /* the SQL of filter.text */
};

/* --- Conditions
 * ----------------------------------------------------------------
 */

static struct condition *add_condition(
    struct search *search, enum shape shape, const char *column)
{
    struct condition *condition = &search->conditions[search->count++];
    *condition = (struct condition){.shape = shape, .column = column};
    return condition;
}

static bool can_drive(const struct condition *condition)
{
    return condition->index || condition->place != PLACE_NONE;
}

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
    const char *column, const char *index, enum place_field place,
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
    struct condition *condition = add_condition(search, shape, column);
    condition->index = index;
    condition->place = place;
    condition->values[condition->count++] = id;
    return ERR_OK;
}

/* The distinct values of a column, by hopping along its index or places, of
 * which
 * `wanted` takes its pick. */
static enum err where_some(struct search *search, const char *column,
    const char *index, enum place_field place, const char *next_sql,
    bool (*wanted)(struct search *search, int64_t value, struct str text))
{
    struct condition *condition = add_condition(search, SHAPE_COLUMN, column);
    condition->index = index;
    condition->place = place;
    int64_t last = -1;
    for (;;) {
        struct db_statement *next;
        enum err err = db_prepare(search->db, next_sql, &next, search->info);
        if (err != ERR_OK)
            return err;
        db_bind_int(next, 1, last);
        err = db_step(next, search->info);
        if (err == ERR_NOTFOUND)
            break;
        if (err != ERR_OK)
            return err;
        last = db_column_int(next, 0);
        bool take = wanted(search, last, db_column_text(next, 1));
        db_reset(next);
        if (take && condition->count < VALUES_MAX)
            condition->values[condition->count++] = last;
    }
    if (condition->count == 0)
        search->none = true;
    return ERR_OK;
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

/* --- Counting
 * --------------------------------------------------------------------
 */

static void append_range(struct search *search, struct buf *sql)
{
    buf_printf(sql, " AND r.seq BETWEEN %lld AND %lld", (long long)search->low,
        (long long)search->high);
}

static void append_values(const struct condition *condition, struct buf *sql)
{
    buf_append_str(sql, STR("("));
    for (size_t i = 0; i < condition->count; i++)
        buf_printf(
            sql, "%s%lld", i ? "," : "", (long long)condition->values[i]);
    buf_append_str(sql, STR(")"));
}

/* The places of the condition within the range: " FROM place AS ALIAS WHERE
 * ...", of one value or of all (NULL). */
static void append_places(const struct search *search,
    const struct condition *condition, const int64_t *value, const char *alias,
    struct buf *sql)
{
    unsigned shift = place_shift(condition->place);
    buf_printf(sql, " WHERE %s.field = %d AND %s.block BETWEEN %lld AND %lld",
        alias, condition->place, alias, (long long)(search->low >> shift),
        (long long)(search->high >> shift));
    buf_printf(sql, " AND %s.value ", alias);
    if (value) {
        buf_printf(sql, "= %lld", (long long)*value);
    } else {
        buf_append_str(sql, STR("IN "));
        append_values(condition, sql);
    }
}

/* Rows that are to be read for one value of the condition, up to COUNT_MOST. */
static enum err count_value(struct search *search,
    const struct condition *condition, int64_t value, int64_t *count)
{
    struct buf sql;
    struct db_statement *s = NULL;
    unsigned shift = 0;
    buf_init(&sql, 4096);
    buf_printf(&sql, "SELECT count(*) FROM (SELECT 1 FROM ");
    if (condition->place != PLACE_NONE) {
        shift = place_shift(condition->place);
        buf_append_str(&sql, STR("place AS p"));
        append_places(search, condition, &value, "p", &sql);
    } else {
        buf_printf(&sql, "%s AS r INDEXED BY %s WHERE r.%s = %lld",
            search->table, condition->index, condition->column,
            (long long)value);
        append_range(search, &sql);
    }
    buf_printf(&sql, " LIMIT %d)", COUNT_MOST);
    enum err err =
        sql.failed
            ? errinfo_set(search->info, ERR_NOMEM, "out of memory")
            : db_prepare_once(search->db, buf_str(&sql), &s, search->info);
    if (err == ERR_OK)
        err = db_step(s, search->info);
    if (err == ERR_OK)
        *count += db_column_int(s, 0) << shift;
    db_finalize(&s);
    buf_fini(&sql);
    return err;
}

static enum err count_rows(
    struct search *search, const struct condition *condition, int64_t *count)
{
    enum err err = ERR_OK;
    *count = 0;
    for (size_t i = 0; err == ERR_OK && i < condition->count; i++)
        err = count_value(search, condition, condition->values[i], count);
    return err;
}

static enum err choose_driver(
    struct search *search, const struct condition **driver)
{
    int64_t fewest = INT64_MAX;
    *driver = NULL;
    size_t able = 0;
    for (size_t i = 0; i < search->count; i++)
        able += can_drive(&search->conditions[i]);
    for (size_t i = 0; i < search->count; i++) {
        const struct condition *condition = &search->conditions[i];
        int64_t count = 0;
        if (!can_drive(condition))
            continue;
        enum err err =
            able > 1 ? count_rows(search, condition, &count) : ERR_OK;
        if (err != ERR_OK)
            return err;
        if (count < fewest) {
            fewest = count;
            *driver = condition;
        }
    }
    return ERR_OK;
}

/* --- Searching
 * -------------------------------------------------------------------
 */

static void append_condition(const struct condition *condition, struct buf *sql)
{
    if (condition->shape == SHAPE_PLAIN) {
        buf_printf(sql, " AND %s", condition->column);
        return;
    }
    /* The plus keeps the planner from another index. */
    buf_printf(sql, " AND +r.%s IN ", condition->column);
    if (condition->shape == SHAPE_MEMBER)
        buf_append_str(sql, STR("(SELECT list FROM member WHERE word IN "));
    append_values(condition, sql);
    if (condition->shape == SHAPE_MEMBER)
        buf_append_str(sql, STR(")"));
}

/* All conditions but the one that an index has dealt with already; that a
 * value stands in a block does not say which row has it. */
static void append_conditions(struct search *search,
    const struct condition *driver, const int64_t *value, struct buf *sql)
{
    for (size_t i = 0; i < search->count; i++) {
        struct condition condition = search->conditions[i];
        if (&search->conditions[i] == driver) {
            if (driver->place == PLACE_NONE)
                continue;
            if (value) {
                condition.values[0] = *value;
                condition.count = 1;
            }
        }
        append_condition(&condition, sql);
    }
}

static void build(struct search *search, const struct condition *driver,
    size_t at, struct buf *sql)
{
    const char *direction =
        search->question->filter->oldest_first ? "ASC" : "DESC";
    const int64_t *value = driver ? &driver->values[at] : NULL;
    bool by_place = driver && driver->place != PLACE_NONE;
    buf_printf(sql, "SELECT %s FROM ", search->columns);
    if (search->question->filter->id.len > 0) {
        buf_printf(sql, "%s AS r INDEXED BY %s_id WHERE r.id = ?1",
            search->table, search->table);
    } else if (by_place) {
        unsigned shift = place_shift(driver->place);
        buf_printf(sql,
            "place AS p CROSS JOIN %s AS r NOT INDEXED ON r.seq BETWEEN "
            "(p.block << %u) AND (p.block << %u) + %u",
            search->table, shift, shift, (1u << shift) - 1);
        append_places(search, driver, value, "p", sql);
    } else if (!driver) {
        buf_printf(sql, "%s AS r NOT INDEXED WHERE 1", search->table);
    } else {
        buf_printf(sql, "%s AS r INDEXED BY %s WHERE r.%s = %lld",
            search->table, driver->index, driver->column, (long long)*value);
    }
    if (by_place) /* not to be taken for the bound of the inner loop */
        buf_printf(sql, " AND +r.seq BETWEEN %lld AND %lld",
            (long long)search->low, (long long)search->high);
    else
        append_range(search, sql);
    append_conditions(search, driver, value, sql);
    buf_append_str(sql, STR(" ORDER BY "));
    if (by_place)
        buf_printf(sql, "p.block %s, ", direction);
    buf_printf(sql, "r.seq %s LIMIT %zu", direction, search->question->limit);
}

static enum err run(struct search *search, const struct condition *driver,
    size_t value, struct row_list *out)
{
    struct buf sql;
    struct db_statement *s = NULL;
    buf_init(&sql, 65536);
    build(search, driver, value, &sql);
    enum err err =
        sql.failed
            ? errinfo_set(search->info, ERR_NOMEM, "out of memory")
            : db_prepare_once(search->db, buf_str(&sql), &s, search->info);
    if (err == ERR_OK && search->question->filter->id.len > 0)
        db_bind_text(s, 1, search->question->filter->id);
    while (err == ERR_OK) {
        err = db_step(s, search->info);
        if (err != ERR_OK)
            break;
        struct audit_row *row = row_list_add(out);
        if (!row) {
            err = errinfo_set(search->info, ERR_NOMEM, "out of memory");
            break;
        }
        search->read(s, row, out);
    }
    db_finalize(&s);
    buf_fini(&sql);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* The first seq whose row is not before time_us: bisecting, since times do not
 * decrease along the log. */
static enum err seq_of_time(
    struct search *search, const char *sql, int64_t time_us, uint64_t *seq)
{
    uint64_t low = search->state->first, high = search->state->next;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct db_statement *s;
        enum err err = db_prepare(search->db, sql, &s, search->info);
        if (err != ERR_OK)
            return err;
        db_bind_int(s, 1, (int64_t)middle);
        db_bind_int(s, 2, (int64_t)high);
        err = db_step(s, search->info);
        if (err == ERR_NOTFOUND) {
            high = middle;
            continue;
        }
        if (err != ERR_OK)
            return err;
        if (db_column_int(s, 1) >= time_us)
            high = middle;
        else
            low = (uint64_t)db_column_int(s, 0) + 1;
        db_reset(s);
    }
    *seq = low;
    return ERR_OK;
}

static enum err find_range(struct search *search, const char *time_sql)
{
    const struct audit_filter *filter = search->question->filter;
    const struct index_state *state = search->state;
    uint64_t low = state->first, end = state->next;
    enum err err = ERR_OK;
    if (filter->since_us != 0)
        err = seq_of_time(search, time_sql, filter->since_us, &low);
    if (err == ERR_OK && filter->until_us != 0)
        err = seq_of_time(search, time_sql, filter->until_us, &end);
    if (err != ERR_OK)
        return err;
    if (filter->has_after && filter->oldest_first && filter->after >= low)
        low = filter->after + 1;
    if (filter->has_after && !filter->oldest_first && filter->after < end)
        end = filter->after;
    if (low >= end)
        search->none = true;
    search->low = low;
    search->high = end - 1;
    return ERR_OK;
}

static enum err run_all(struct search *search, struct row_list *out)
{
    const struct condition *driver;
    enum err err = ERR_OK;
    if (search->none)
        return ERR_OK;
    /* An id is rarer than anything. */
    if (search->question->filter->id.len > 0)
        return run(search, NULL, 0, out);
    err = choose_driver(search, &driver);
    if (err == ERR_OK && !driver)
        return run(search, NULL, 0, out);
    for (size_t i = 0; err == ERR_OK && i < driver->count; i++)
        err = run(search, driver, i, out);
    return err;
}

/* --- Requests
 * --------------------------------------------------------------------
 */

#define WORD(column) "(SELECT text FROM word WHERE id = r." column ")"

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
    struct condition *condition =
        add_condition(search, SHAPE_COLUMN, "permitted");
    condition->place = PLACE_PERMITTED;
    condition->values[condition->count++] = permitted;
}

/* No index: the rows that the other filters leave are read, newest first,
 * until the page is full. The text goes in as hexadecimal digits. */
static void where_text(struct search *search, struct str text)
{
    char hex[2 * AUDIT_SEARCH_MAX + 1];
    if (text.len == 0 || text.len > AUDIT_SEARCH_MAX)
        return;
    hex_write(hex, text.ptr, text.len);
    snprintf(search->looked_for, sizeof(search->looked_for),
        "instr(lower(r.reason), lower(CAST(x'%s' AS TEXT))) > 0", hex);
    (void)add_condition(search, SHAPE_PLAIN, search->looked_for);
}

static void where_version(struct search *search, struct str version)
{
    uint64_t number;
    if (version.len == 0 || str_to_u64(version, &number) != ERR_OK)
        return;
    struct condition *condition =
        add_condition(search, SHAPE_COLUMN, "policy_version");
    condition->values[condition->count++] = (int64_t)number;
}

static enum err where_request_type(struct search *search)
{
    struct str type = search->question->filter->type;
    if (str_equal(type, STR("request.admitted")))
        where_permitted(search, true);
    else if (str_equal(type, STR("request.denied")))
        where_permitted(search, false);
    else if (str_equal(type, STR("request.completed")))
        (void)add_condition(search, SHAPE_PLAIN,
            "r.end_seq IS NOT NULL AND r.outcome IS NOT "
            "(SELECT id FROM word WHERE text = 'withdrawn')");
    else if (str_equal(type, STR("request.withdrawn")))
        (void)add_condition(search, SHAPE_PLAIN,
            "r.outcome IS (SELECT id FROM word WHERE text = 'withdrawn')");
    else if (str_equal(type, STR("request.attempt")))
        (void)add_condition(search, SHAPE_PLAIN,
            "r.id IN (SELECT p.id FROM part AS p JOIN word AS w ON "
            "w.id = p.type WHERE w.text = 'request.attempt')");
    else if (str_equal(type, STR("request.measured")))
        (void)add_condition(search, SHAPE_PLAIN,
            "r.id IN (SELECT p.id FROM part AS p JOIN word AS w ON "
            "w.id = p.type WHERE w.text = 'request.measured')");
    return ERR_OK;
}

static enum err where_request(struct search *search, struct words_seen *seen)
{
    const struct audit_filter *f = search->question->filter;
    bool ignored = false;
    const struct {
        enum shape shape;
        const char *column;
        enum place_field place;
        struct str word;
        bool *seen;
    } words[] = {
        {SHAPE_COLUMN, "caller", PLACE_CALLER, f->caller, &seen->caller},
        {SHAPE_COLUMN, "key", PLACE_KEY, f->key, &seen->key},
        {SHAPE_MEMBER, "teams", PLACE_TEAM, f->team, &seen->team},
        {SHAPE_MEMBER, "policies", PLACE_POLICY, f->policy, &seen->policy},
        {SHAPE_COLUMN, "model", PLACE_MODEL, f->model, &seen->model},
        {SHAPE_COLUMN, "engine", PLACE_ENGINE, f->engine, &seen->engine},
        {SHAPE_COLUMN, "route", PLACE_ROUTE, f->route, &seen->route},
        {SHAPE_COLUMN, "action", PLACE_NONE, f->action, &seen->action},
        {SHAPE_COLUMN, "code", PLACE_CODE, f->code, &seen->code},
        {SHAPE_COLUMN, "quota", PLACE_NONE, f->quota, &seen->quota},
        {SHAPE_COLUMN, "stage", PLACE_NONE, f->stage, &seen->stage},
    };
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < sizeof(words) / sizeof(words[0]);
         i++)
        err = where_word(search, words[i].shape, words[i].column, NULL,
            words[i].place, words[i].word, words[i].seen);
    if (err == ERR_OK && str_equal(f->outcome, STR("open")))
        (void)add_condition(
            search, SHAPE_PLAIN, "r.permitted = 1 AND r.end_seq IS NULL");
    else if (err == ERR_OK)
        err = where_word(search, SHAPE_COLUMN, "outcome", NULL, PLACE_OUTCOME,
            f->outcome, &ignored);
    if (err == ERR_OK && f->status.len > 0)
        err = where_some(search, "status", NULL, PLACE_STATUS,
            "SELECT value, '' FROM place WHERE field = " PLACE_STATUS_TEXT
            " AND value > ?1 ORDER BY value LIMIT 1",
            status_wanted);
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
        .columns =
            "r.seq, r.id, r.time, r.permitted, " WORD("caller") ", " WORD("key") ", " WORD("method") ", " WORD("teams") ", " WORD("action") ", " WORD("route") ", " WORD("model") ", " WORD(
                "asked") ", " WORD("engine") ", " WORD("upst"
                                                       "rea"
                                                       "m") ", "
                                                            "r.policy_"
                                                            "version,"
                                                            " " WORD(
                                                                "po"
                                                                "li"
                                                                "ci"
                                                                "e"
                                                                "s") ", " WORD("stage") ", " WORD("code") ", " WORD("quota") ", r.reason, r.stream, r.body, "
                                                                                                                             "r.cap, r.status, " WORD(
                                                                                                                                 "outcome") ", r.attempts, r.input, "
                                                                                                                                            "r.output, r.bytes_out, r.first_byte, r.total, r.end_seq, "
                                                                                                                                            "r.end_time",
        .info = info,
        .read = read_request};
    enum err err = where_request(&search, seen);
    if (err == ERR_OK && !search.none)
        err = find_range(&search,
            "SELECT seq, time FROM request WHERE seq >= ?1 AND seq < ?2 "
            "ORDER BY seq LIMIT 1");
    return err == ERR_OK ? run_all(&search, out) : err;
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
    row->total_us = row->end_seq = row->end_time_us = -1;
}

static enum err where_event(struct search *search, struct words_seen *seen)
{
    const struct audit_filter *f = search->question->filter;
    enum err err = where_word(search, SHAPE_COLUMN, "actor", "event_actor",
        PLACE_NONE, f->actor, &seen->actor);
    if (err == ERR_OK)
        err = where_word(search, SHAPE_COLUMN, "object", "event_object",
            PLACE_NONE, f->object, &seen->object);
    if (err == ERR_OK)
        err = where_word(
            search, SHAPE_COLUMN, "key", NULL, PLACE_NONE, f->key, &seen->key);
    if (err == ERR_OK)
        err = where_word(search, SHAPE_COLUMN, "route", NULL, PLACE_NONE,
            f->route, &seen->route);
    where_text(search, f->text);
    if (err == ERR_OK && f->type.len > 0)
        err = where_some(search, "type", "event_type", PLACE_NONE,
            "SELECT type, text FROM event INDEXED BY event_type JOIN word "
            "ON word.id = type WHERE type > ?1 ORDER BY type LIMIT 1",
            type_wanted);
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
        err = find_range(&search,
            "SELECT seq, time FROM event WHERE seq >= ?1 AND seq < ?2 "
            "ORDER BY seq LIMIT 1");
    return err == ERR_OK ? run_all(&search, out) : err;
}

/* --- Counting rows of a question ------------------------------------------
 */

static void append_driven(struct search *search, const struct condition *driver,
    struct buf *from, struct buf *where)
{
    const char *table = search->table;
    if (driver && driver->place != PLACE_NONE) {
        unsigned shift = place_shift(driver->place);
        /* Two values may share a block. */
        buf_append_str(
            from, STR(" FROM (SELECT DISTINCT d.block FROM place AS d"));
        append_places(search, driver, NULL, "d", from);
        buf_printf(from, ") AS p CROSS JOIN %s AS r NOT INDEXED", table);
        buf_printf(where,
            " WHERE r.seq BETWEEN (p.block << %u) AND (p.block << %u) + %u AND "
            "+r.seq BETWEEN %lld AND %lld",
            shift, shift, (1u << shift) - 1, (long long)search->low,
            (long long)search->high);
    } else if (driver) {
        buf_printf(from, " FROM %s AS r INDEXED BY %s", table, driver->index);
        buf_printf(where, " WHERE r.%s IN ", driver->column);
        append_values(driver, where);
        append_range(search, where);
    } else {
        buf_printf(from, " FROM %s AS r NOT INDEXED", table);
        buf_append_str(where, STR(" WHERE 1"));
        append_range(search, where);
    }
    append_conditions(search, driver, NULL, where);
}

enum err query_source(struct db *db, const struct index_state *state,
    const struct question *question, bool requests, struct words_seen *seen,
    struct buf *from, struct buf *where, bool *none, struct errinfo *info)
{
    struct search search = {.db = db,
        .state = state,
        .question = question,
        .table = requests ? "request" : "event",
        .info = info};
    const struct condition *driver = NULL;
    enum err err =
        requests ? where_request(&search, seen) : where_event(&search, seen);
    if (err == ERR_OK && !search.none)
        err = find_range(&search,
            requests ? "SELECT seq, time FROM request WHERE seq >= ?1 AND "
                       "seq < ?2 ORDER BY seq LIMIT 1"
                     : "SELECT seq, time FROM event WHERE seq >= ?1 AND "
                       "seq < ?2 ORDER BY seq LIMIT 1");
    if (err == ERR_OK && !search.none)
        err = choose_driver(&search, &driver);
    *none = search.none;
    if (err != ERR_OK || search.none)
        return err;
    append_driven(&search, driver, from, where);
    return from->failed || where->failed
               ? errinfo_set(info, ERR_NOMEM, "out of memory")
               : ERR_OK;
}
