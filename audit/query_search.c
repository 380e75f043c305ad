/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/query_search.c - how the rows that meet the conditions are found.
 *
 * Requests: where a chunk is laid out, the sets of all conditions are put
 * together (query_hits.h) and what is left is read, row by row; the few chunks
 * behind those are read through. Events are few, and found by the index with
 * the fewest rows in the range, counted up to a bound; which one that is is
 * decided here, not by SQLite's planner, which knows nothing of the data.
 * Whatever is found is compared with all conditions once more.
 *
 * A search goes piece by piece and gives up between two when its time is over:
 * it has then looked at everything up to question->effort->reached. */
#include "audit/query_search.h"

#include "lib/clock.h"

#include <stdlib.h>

#define COUNT_MOST 20000          /* a count stops here: "many" */
#define PIECE (UINT64_C(1) << 16) /* entries that are read through at once */
#define HITS_AT_ONCE 16384        /* rows of one piece of a count, about */

struct condition *search_add(
    struct search *search, enum shape shape, const char *column)
{
    struct condition *condition = &search->conditions[search->count++];
    *condition = (struct condition){.shape = shape, .column = column};
    return condition;
}

/* --- SQL -------------------------------------------------------------------
 */

static void append_values(const struct condition *condition, struct buf *sql)
{
    buf_append_str(sql, STR("("));
    for (size_t i = 0; i < condition->count; i++)
        buf_printf(
            sql, "%s%lld", i ? "," : "", (long long)condition->values[i]);
    buf_append_str(sql, STR(")"));
}

static void append_condition(const struct condition *condition, struct buf *sql)
{
    if (condition->shape == SHAPE_PLAIN || condition->sql) {
        buf_printf(sql, " AND %s",
            condition->sql ? condition->sql : condition->column);
        return;
    }
    if (condition->shape == SHAPE_MEMBER) {
        buf_printf(sql,
            " AND EXISTS (SELECT 1 FROM member WHERE list = r.%s AND word IN ",
            condition->column);
        append_values(condition, sql);
        buf_append_str(sql, STR(")"));
        return;
    }
    /* The plus keeps the planner from another index. */
    buf_printf(sql, " AND +r.%s IN ", condition->column);
    append_values(condition, sql);
}

/* All conditions but the one that an index has dealt with already. */
static void append_conditions(const struct search *search,
    const struct condition *driver, struct buf *sql)
{
    for (size_t i = 0; i < search->count; i++)
        if (&search->conditions[i] != driver)
            append_condition(&search->conditions[i], sql);
}

/* " FROM table AS r ..." and " WHERE ..." for the rows in [low, high]. With an
 * index of one value or (at SIZE_MAX) of all. */
static void append_scan(const struct search *search,
    const struct condition *driver, size_t at, uint64_t low, uint64_t high,
    struct buf *from, struct buf *where)
{
    buf_printf(from, " FROM %s AS r ", search->table);
    if (driver)
        buf_printf(from, "INDEXED BY %s", driver->index);
    else if (search->only_index)
        buf_printf(from, "INDEXED BY %s", search->only_index);
    else
        buf_append_str(from, STR("NOT INDEXED"));
    buf_printf(where, " WHERE r.seq BETWEEN %lld AND %lld", (long long)low,
        (long long)high);
    if (driver && at == SIZE_MAX) {
        buf_printf(where, " AND r.%s IN ", driver->column);
        append_values(driver, where);
    } else if (driver) {
        buf_printf(where, " AND r.%s = %lld", driver->column,
            (long long)driver->values[at]);
    }
    append_conditions(search, driver, where);
}

static enum err prepare(
    struct search *search, struct buf *sql, struct db_statement **s)
{
    return sql->failed
               ? errinfo_set(search->info, ERR_NOMEM, "out of memory")
               : db_prepare_once(search->db, buf_str(sql), s, search->info);
}

/* --- The range -------------------------------------------------------------
 */

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

enum err search_range(struct search *search, const char *time_sql)
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

/* --- The index with the fewest rows ----------------------------------------
 */

static enum err count_value(struct search *search,
    const struct condition *condition, int64_t value, int64_t *count)
{
    struct buf sql;
    struct db_statement *s = NULL;
    buf_init(&sql, 4096);
    buf_printf(&sql,
        "SELECT count(*) FROM (SELECT 1 FROM %s AS r INDEXED BY %s WHERE "
        "r.%s = %lld AND r.seq BETWEEN %lld AND %lld LIMIT %d)",
        search->table, condition->index, condition->column, (long long)value,
        (long long)search->low, (long long)search->high, COUNT_MOST);
    enum err err = prepare(search, &sql, &s);
    if (err == ERR_OK)
        err = db_step(s, search->info);
    if (err == ERR_OK)
        *count += db_column_int(s, 0);
    db_finalize(&s);
    buf_fini(&sql);
    return err;
}

static enum err choose_driver(
    struct search *search, const struct condition **driver)
{
    int64_t fewest = INT64_MAX;
    size_t able = 0;
    *driver = NULL;
    for (size_t i = 0; i < search->count; i++)
        able += search->conditions[i].index != NULL;
    for (size_t i = 0; i < search->count; i++) {
        const struct condition *condition = &search->conditions[i];
        int64_t count = 0;
        enum err err = ERR_OK;
        if (!condition->index)
            continue;
        for (size_t k = 0; err == ERR_OK && able > 1 && k < condition->count;
             k++)
            err = count_value(search, condition, condition->values[k], &count);
        if (err != ERR_OK)
            return err;
        if (count < fewest) {
            fewest = count;
            *driver = condition;
        }
    }
    return ERR_OK;
}

/* --- Pages -----------------------------------------------------------------
 */

static bool oldest_first(const struct search *search)
{
    return search->question->filter->oldest_first;
}

/* Everything up to here, in the order asked for, has been looked at. True: the
 * time is over. */
static bool is_over(struct search *search, uint64_t low, uint64_t high)
{
    struct effort *effort = search->question->effort;
    if (!effort || effort->until_us == 0 ||
        clock_monotonic() < effort->until_us)
        return false;
    uint64_t reached = oldest_first(search) ? high : low;
    /* The other table may have come less far. */
    if (!effort->gave_up || (oldest_first(search) ? reached < effort->reached
                                                  : reached > effort->reached))
        effort->reached = reached;
    effort->gave_up = true;
    return true;
}

static enum err read_all(
    struct search *search, struct db_statement *s, struct row_list *out)
{
    enum err err;
    while ((err = db_step(s, search->info)) == ERR_OK) {
        struct audit_row *row = row_list_add(out);
        if (!row)
            return errinfo_set(search->info, ERR_NOMEM, "out of memory");
        search->read(s, row, out);
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err read_piece(struct search *search,
    const struct condition *driver, size_t at, uint64_t low, uint64_t high,
    size_t limit, struct row_list *out)
{
    struct db_statement *s = NULL;
    struct buf from, where, sql;
    buf_init(&from, 4096);
    buf_init(&where, 65536);
    buf_init(&sql, 65536);
    append_scan(search, driver, at, low, high, &from, &where);
    if (search->question->filter->id.len > 0) {
        buf_clear(&from);
        buf_printf(&from, " FROM %s AS r INDEXED BY %s_id", search->table,
            search->table);
        buf_append_str(&where, STR(" AND r.id = ?1"));
    }
    buf_printf(&sql, "SELECT %s%s%s ORDER BY r.seq %s LIMIT %zu",
        search->columns, buf_cstr(&from), buf_cstr(&where),
        oldest_first(search) ? "ASC" : "DESC", limit);
    sql.failed = sql.failed || from.failed || where.failed;
    enum err err = prepare(search, &sql, &s);
    if (err == ERR_OK && search->question->filter->id.len > 0)
        db_bind_text(s, 1, search->question->filter->id);
    if (err == ERR_OK)
        err = read_all(search, s, out);
    db_finalize(&s);
    buf_fini(&from);
    buf_fini(&where);
    buf_fini(&sql);
    return err;
}

/* Reads the rows of [low, high] through, or those of the index. */
static enum err scan(struct search *search, const struct condition *driver,
    uint64_t low, uint64_t high, struct row_list *out, bool *over)
{
    size_t begin = out->count, limit = search->question->limit;
    /* What an index finds is all that is read. */
    uint64_t piece = driver ? 4 * PIECE : PIECE;
    enum err err = ERR_OK;
    if (search->only_index)
        piece = UINT64_MAX;
    *over = false;
    while (
        err == ERR_OK && low <= high && out->count - begin < limit && !*over) {
        uint64_t from = low, to = high;
        if (high - low >= piece && oldest_first(search))
            to = low + piece - 1;
        else if (high - low >= piece)
            from = high - piece + 1;
        if (!driver)
            err = read_piece(
                search, NULL, 0, from, to, limit - (out->count - begin), out);
        for (size_t i = 0; driver && err == ERR_OK && i < driver->count; i++)
            err = read_piece(search, driver, i, from, to, limit, out);
        if (oldest_first(search))
            low = to + 1;
        else if (from == low)
            break;
        else
            high = from - 1;
        *over = err == ERR_OK && is_over(search, from, to);
    }
    return err;
}

static size_t sets_of(const struct search *search,
    struct hit_condition out[SEARCH_CONDITIONS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < search->count; i++) {
        const struct condition *condition = &search->conditions[i];
        if (condition->posting != POSTING_NONE && !search->only_index)
            out[count++] = (struct hit_condition){
                condition->posting, condition->values, condition->count};
    }
    return count;
}

/* The rows of one chunk's set, in order, until the page is full. */
static enum err read_set(struct search *search, struct db_statement *s,
    uint64_t base, const struct posting_set *set, size_t limit,
    struct row_list *out)
{
    enum err err = ERR_OK;
    bool up = oldest_first(search);
    for (size_t i = 0; i < POSTING_WORDS; i++) {
        size_t at = up ? i : POSTING_WORDS - 1 - i;
        uint64_t word = set->words[at];
        while (word != 0 && err == ERR_OK && out->count < limit) {
            unsigned bit = up ? (unsigned)__builtin_ctzll(word)
                              : 63 - (unsigned)__builtin_clzll(word);
            word &= ~(UINT64_C(1) << bit);
            db_bind_int(s, 1, (int64_t)(base + 64 * at + bit));
            err = read_all(search, s, out);
        }
    }
    return err;
}

/* [low, high] is laid out. */
static enum err search_sets(struct search *search,
    const struct hit_condition *sets, size_t count, uint64_t low, uint64_t high,
    struct row_list *out, bool *over)
{
    struct query_hits *hits = NULL;
    struct db_statement *s = NULL;
    struct posting_set set;
    struct buf sql;
    uint64_t base;
    size_t limit = out->count + search->question->limit;
    buf_init(&sql, 65536);
    buf_printf(&sql, "SELECT %s FROM %s AS r NOT INDEXED WHERE r.seq = ?1",
        search->columns, search->table);
    append_conditions(search, NULL, &sql);
    enum err err = prepare(search, &sql, &s);
    if (err == ERR_OK)
        err = query_hits_open(search->db, sets, count, low, high,
            oldest_first(search), &hits, search->info);
    while (err == ERR_OK && out->count < limit && !*over) {
        err = query_hits_next(hits, &base, &set, search->info);
        if (err == ERR_OK)
            err = read_set(search, s, base, &set, limit, out);
        /* A chunk may begin or end in the file beside this one. */
        uint64_t end = base + POSTING_CHUNK - 1;
        if (err == ERR_OK)
            *over = is_over(
                search, base > low ? base : low, end < high ? end : high);
    }
    query_hits_close(&hits);
    db_finalize(&s);
    buf_fini(&sql);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

enum err search_run(struct search *search, struct row_list *out)
{
    struct hit_condition sets[SEARCH_CONDITIONS_MAX];
    const struct condition *driver = NULL;
    uint64_t posted = search->state->posted;
    size_t begin = out->count, count = sets_of(search, sets);
    bool over = false;
    enum err err = ERR_OK;
    if (search->none)
        return ERR_OK;
    /* An id is rarer than anything. */
    if (search->question->filter->id.len > 0)
        return read_piece(search, NULL, 0, search->low, search->high,
            search->question->limit, out);
    if (count == 0) {
        err = choose_driver(search, &driver);
        return err == ERR_OK
                   ? scan(search, driver, search->low, search->high, out, &over)
                   : err;
    }
    for (int half = 0; half < 2 && err == ERR_OK && !over; half++) {
        bool behind = (half == 0) == oldest_first(search);
        if (out->count - begin >= search->question->limit)
            break;
        if (behind && search->low < posted)
            err = search_sets(search, sets, count, search->low,
                search->high < posted ? search->high : posted - 1, out, &over);
        else if (!behind && search->high >= posted)
            err =
                scan(search, NULL, search->low > posted ? search->low : posted,
                    search->high, out, &over);
    }
    return err;
}

/* --- Walks, for counting ---------------------------------------------------
 */

struct query_walk {
    struct search *search;
    const struct condition *driver;
    struct query_hits *hits; /* NULL: none, or no more */
    uint64_t next;           /* of what is read through */
};

enum err query_walk_begin(
    struct search *search, struct query_walk **out, struct errinfo *info)
{
    struct hit_condition sets[SEARCH_CONDITIONS_MAX];
    uint64_t posted = search->state->posted;
    struct query_walk *walk = calloc(1, sizeof(*walk));
    enum err err = ERR_OK;
    if (!walk) {
        free(search);
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    }
    walk->search = search;
    walk->next = search->low;
    size_t count = search->none ? 0 : sets_of(search, sets);
    if (count == 0 && !search->none)
        err = choose_driver(search, &walk->driver);
    if (count > 0 && search->low < posted) {
        err = query_hits_open(search->db, sets, count, search->low,
            search->high < posted ? search->high : posted - 1, true,
            &walk->hits, info);
        if (err == ERR_OK)
            err = db_execute(search->db,
                "CREATE TEMP TABLE IF NOT EXISTS hit "
                "(seq INTEGER PRIMARY KEY)",
                info);
        walk->next = posted;
    }
    if (err == ERR_OK)
        *out = walk;
    else
        query_walk_close(&walk);
    return err;
}

void query_walk_close(struct query_walk **walk)
{
    if (!*walk)
        return;
    query_hits_close(&(*walk)->hits);
    free((*walk)->search);
    free(*walk);
    *walk = NULL;
}

static enum err keep_hits(struct search *search, uint64_t base,
    const struct posting_set *set, size_t *kept)
{
    struct db_statement *s;
    enum err err = db_prepare(
        search->db, "INSERT INTO hit (seq) VALUES (?1)", &s, search->info);
    for (size_t i = 0; i < POSTING_WORDS; i++)
        for (uint64_t word = set->words[i]; err == ERR_OK && word != 0;
             word &= word - 1) {
            db_bind_int(s, 1,
                (int64_t)(base + 64 * i + (unsigned)__builtin_ctzll(word)));
            err = db_run(s, search->info);
            ++*kept;
        }
    return err;
}

static enum err next_hits(
    struct query_walk *walk, struct buf *from, struct buf *where)
{
    struct search *search = walk->search;
    struct posting_set set;
    uint64_t base;
    size_t kept = 0;
    enum err err = db_execute(search->db, "DELETE FROM hit", search->info);
    while (err == ERR_OK && kept < HITS_AT_ONCE) {
        err = query_hits_next(walk->hits, &base, &set, search->info);
        if (err == ERR_OK)
            err = keep_hits(search, base, &set, &kept);
    }
    if (err == ERR_NOTFOUND) {
        query_hits_close(&walk->hits);
        err = kept > 0 ? ERR_OK : ERR_NOTFOUND;
    }
    if (err == ERR_OK) {
        buf_printf(from, " FROM hit AS h CROSS JOIN %s AS r NOT INDEXED",
            search->table);
        buf_append_str(where, STR(" WHERE r.seq = h.seq"));
        append_conditions(search, NULL, where);
    }
    return err;
}

enum err query_walk_next(
    struct query_walk *walk, struct buf *from, struct buf *where)
{
    struct search *search = walk->search;
    enum err err = ERR_NOTFOUND;
    buf_clear(from);
    buf_clear(where);
    if (search->none)
        return ERR_NOTFOUND;
    if (walk->hits)
        err = next_hits(walk, from, where);
    if (err == ERR_NOTFOUND && walk->next <= search->high) {
        uint64_t to = search->high;
        if (to - walk->next >= PIECE && !search->only_index)
            to = walk->next + PIECE - 1;
        append_scan(
            search, walk->driver, SIZE_MAX, walk->next, to, from, where);
        walk->next = to + 1;
        err = ERR_OK;
    }
    if (err == ERR_OK && (from->failed || where->failed))
        err = errinfo_set(search->info, ERR_NOMEM, "out of memory");
    return err;
}
