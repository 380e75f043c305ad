/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/stats.c - counting, file by file: SQLite groups by dictionary ids, and
 * the groups of the files are put together by their words. */
#include "audit/stats.h"
#include "audit/index_tally.h"
#include "audit/query_priv.h"
#include "audit/stats_sums.h"

#include <stdlib.h>

#define SLOTS (1u << 17) /* above STATS_GROUPS_MAX */

enum by_kind { BY_WORD, BY_INT, BY_TIME, BY_TEAM, BY_POLICY, BY_DECISION };

struct by_column {
    const char *name;
    bool of_requests, of_events;
    enum by_kind kind;
    const char *sql;
    int64_t period_us;
};
static const struct by_column by_columns[] = {
    {"hour", true, true, BY_TIME, "r.time / 3600000000", HOUR_US},
    {"day", true, true, BY_TIME, "r.time / 86400000000", DAY_US},
    {"month", true, true, BY_INT,
        "strftime('%Y%m', r.time / 1000000, 'unixepoch') + 0", 0},
    {"caller", true, false, BY_WORD, "r.caller", 0},
    {"key", true, false, BY_WORD, "r.key", 0},
    {"team", true, false, BY_TEAM, "t.word", 0},
    {"model", true, false, BY_WORD, "r.model", 0},
    {"engine", true, false, BY_WORD, "coalesce(r.engine, 0)", 0},
    {"route", true, false, BY_WORD, "r.route", 0},
    {"action", true, false, BY_WORD, "r.action", 0},
    {"decision", true, false, BY_DECISION, "r.permitted", 0},
    {"policy", true, false, BY_POLICY, "o.word", 0},
    {"version", true, false, BY_INT, "r.policy_version", 0},
    {"stage", true, false, BY_WORD, "coalesce(r.stage, 0)", 0},
    {"code", true, false, BY_WORD, "coalesce(r.code, 0)", 0},
    {"quota", true, false, BY_WORD, "coalesce(r.quota, 0)", 0},
    {"status", true, false, BY_INT, "coalesce(r.status, 0)", 0},
    {"outcome", true, false, BY_WORD, "coalesce(r.outcome, 0)", 0},
    {"type", false, true, BY_WORD, "r.type", 0},
    {"actor", false, true, BY_WORD, "r.actor", 0},
    {"object", false, true, BY_WORD, "r.object", 0},
    {"method", false, true, BY_WORD, "r.method", 0},
};
#define BY_COUNT (sizeof(by_columns) / sizeof(by_columns[0]))

struct counting {
    struct audit_stats *stats;
    const struct by_column *by[STATS_BY_MAX];
    size_t by_count;
    struct question question;
    struct audit_group *groups;
    size_t count;
    uint32_t *slots;  /* group + 1 */
    int64_t until_us; /* clock_monotonic; 0: as long as it takes */
    struct errinfo *info;
};

/* --- What is asked ---------------------------------------------------------
 */

static enum err unknown_by(struct str name, struct errinfo *info)
{
    struct buf list;
    buf_init(&list, 1024);
    for (size_t i = 0; i < BY_COUNT; i++)
        buf_printf(&list, "%s%s", i ? ", " : "", by_columns[i].name);
    enum err err = errinfo_set(info, ERR_INVALID, "by: \"%.*s\" is none of %s",
        STR_ARG(name), buf_cstr(&list));
    buf_fini(&list);
    return err;
}

static enum err read_by(struct counting *c, struct str by, struct errinfo *info)
{
    struct str rest = by, name;
    while (rest.len > 0) {
        const struct by_column *found = NULL;
        str_split(rest, ',', &name, &rest);
        name = str_trim(name);
        for (size_t i = 0; i < BY_COUNT; i++)
            if (str_equal(name, str_from(by_columns[i].name)))
                found = &by_columns[i];
        if (!found)
            return unknown_by(name, info);
        if (c->by_count == STATS_BY_MAX)
            return errinfo_set(
                info, ERR_INVALID, "by: at most %d words", STATS_BY_MAX);
        c->by[c->by_count++] = found;
    }
    return c->by_count > 0 ? ERR_OK : unknown_by(STR(""), info);
}

/* Requests or events: what the filter and the words of `by` have in common. */
static enum err choose_table(struct counting *c, struct errinfo *info)
{
    bool requests = c->question.requests, events = c->question.events;
    for (size_t i = 0; i < c->by_count; i++) {
        requests = requests && c->by[i]->of_requests;
        events = events && c->by[i]->of_events;
    }
    if (!requests && !events)
        return errinfo_set(info, ERR_INVALID,
            "by: these words do not go together, or not with the filters: some "
            "are about requests, some about acts and failed logins");
    c->question.requests = requests;
    c->question.events = !requests;
    c->stats->of_requests = requests;
    return ERR_OK;
}

/* --- Groups ----------------------------------------------------------------
 */

static uint32_t hash_of(const struct str *keys, size_t count)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < keys[i].len; k++)
            hash = (hash ^ (uint8_t)keys[i].ptr[k]) * 16777619u;
        hash = (hash ^ 0xff) * 16777619u;
    }
    return hash;
}

static struct audit_group *group_of(struct counting *c, const struct str *keys)
{
    uint32_t slot = hash_of(keys, c->by_count) % SLOTS;
    for (;; slot = (slot + 1) % SLOTS) {
        if (c->slots[slot] == 0)
            break;
        struct audit_group *group = &c->groups[c->slots[slot] - 1];
        bool same = true;
        for (size_t i = 0; i < c->by_count && same; i++)
            same = str_equal(group->keys[i], keys[i]);
        if (same)
            return group;
    }
    if (c->count == STATS_GROUPS_MAX)
        return NULL;
    struct audit_group *group = &c->groups[c->count++];
    c->slots[slot] = (uint32_t)c->count;
    for (size_t i = 0; i < c->by_count; i++)
        group->keys[i] = arena_copy(c->stats->arena, keys[i]);
    return group;
}

static enum err word_text(
    struct counting *c, struct db *db, int64_t id, struct str *out)
{
    struct db_statement *s;
    *out = STR("");
    if (id == 0)
        return ERR_OK;
    enum err err =
        db_prepare(db, "SELECT text FROM word WHERE id = ?1", &s, c->info);
    if (err != ERR_OK)
        return err;
    db_bind_int(s, 1, id);
    err = db_step(s, c->info);
    if (err == ERR_OK)
        *out = arena_copy(c->stats->arena, db_column_text(s, 0));
    db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err key_text(struct counting *c, struct db *db,
    const struct by_column *by, int64_t value, struct str *out)
{
    char time[CLOCK_TEXT_LENGTH];
    switch (by->kind) {
    case BY_WORD:
    case BY_TEAM:
    case BY_POLICY:
        return word_text(c, db, value, out);
    case BY_TIME:
        clock_format(time, value * by->period_us);
        *out = arena_copy(c->stats->arena, str_make(time, sizeof(time)));
        return ERR_OK;
    case BY_DECISION:
        *out = value ? STR("permit") : STR("deny");
        return ERR_OK;
    case BY_INT:
        if (value == 0)
            *out = STR("");
        else if (strcmp(by->name, "month") == 0)
            *out = str_from(arena_printf(c->stats->arena, "%04lld-%02lld",
                (long long)(value / 100), (long long)(value % 100)));
        else
            *out = str_from(
                arena_printf(c->stats->arena, "%lld", (long long)value));
        return ERR_OK;
    }
    return ERR_OK;
}

static enum err take_row(
    struct counting *c, struct db *db, struct db_statement *s)
{
    struct str keys[STATS_BY_MAX];
    int at = (int)c->by_count;
    for (size_t i = 0; i < c->by_count; i++) {
        enum err err =
            key_text(c, db, c->by[i], db_column_int(s, (int)i), &keys[i]);
        if (err != ERR_OK)
            return err;
    }
    struct audit_group *group = group_of(c, keys);
    if (!group)
        return errinfo_set(c->info, ERR_LIMIT,
            "more than %d groups; narrow the question with filters, or count "
            "by less",
            STATS_GROUPS_MAX);
    group->records += db_column_int(s, at);
    group->permitted += db_column_int(s, at + 1);
    group->denied += db_column_int(s, at + 2);
    group->input += db_column_int(s, at + 3);
    group->output += db_column_int(s, at + 4);
    group->bytes_out += db_column_int(s, at + 5);
    group->cost += db_column_int(s, at + 6);
    return ERR_OK;
}

/* --- One file --------------------------------------------------------------
 */

/* `sums`: the source is a table of sums, not of rows. */
static void build(struct counting *c, bool sums, struct str source,
    struct str where, struct buf *sql)
{
    bool team = false, policy = false;
    for (size_t i = 0; i < c->by_count; i++) {
        team = team || c->by[i]->kind == BY_TEAM;
        policy = policy || c->by[i]->kind == BY_POLICY;
    }
    buf_append_str(sql, STR("SELECT "));
    for (size_t i = 0; i < c->by_count; i++)
        buf_printf(sql, "%s, ", c->by[i]->sql);
    if (sums)
        buf_append_str(sql,
            STR("sum(r.n), sum(r.n * r.permitted), "
                "sum(r.n * (1 - r.permitted)), sum(r.input), sum(r.output), "
                "sum(r.bytes_out), sum(r.cost)"));
    else if (c->question.requests)
        buf_append_str(sql,
            STR("count(*), sum(r.permitted), sum(1 - r.permitted), "
                "sum(r.input), sum(r.output), sum(r.bytes_out), sum(r.cost)"));
    else
        buf_append_str(sql, STR("sum(r.count), 0, 0, 0, 0, 0, 0"));
    buf_append_str(sql, source);
    if (team)
        buf_append_str(sql, STR(" CROSS JOIN member AS t"));
    if (policy)
        buf_append_str(sql, STR(" CROSS JOIN member AS o"));
    buf_append_str(sql, where);
    if (team)
        buf_append_str(sql, STR(" AND t.list = r.teams"));
    if (policy)
        buf_append_str(sql, STR(" AND o.list = r.policies"));
    buf_append_str(sql, STR(" GROUP BY "));
    for (size_t i = 0; i < c->by_count; i++)
        buf_printf(sql, "%s%zu", i ? ", " : "", i + 1);
}

static enum err take_rows(struct counting *c, struct db *db, struct buf *sql)
{
    struct db_statement *s = NULL;
    enum err err = sql->failed
                       ? errinfo_set(c->info, ERR_NOMEM, "out of memory")
                       : db_prepare_once(db, buf_str(sql), &s, c->info);
    while (err == ERR_OK && (err = db_step(s, c->info)) == ERR_OK)
        err = take_row(c, db, s);
    db_finalize(&s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* A part of a count would look like all of it. */
static enum err took_too_long(struct counting *c)
{
    return errinfo_set(c->info, ERR_LIMIT,
        "this is counted row by row, and %d seconds were not enough: narrow it "
        "with since and until, or leave filters out (docs/audit.md, \"The "
        "index\", says what is summed up ahead)",
        (int)(c->question.filter->patience_us / SECOND_US));
}

/* Of the file's entries those in [from, to). */
static enum err count_rows(struct counting *c, struct db *db,
    const struct index_state *state, uint64_t from, uint64_t to)
{
    struct index_state part = *state;
    struct query_walk *walk = NULL;
    struct buf source, where, sql;
    buf_init(&source, 65536);
    buf_init(&where, 65536);
    buf_init(&sql, 65536);
    part.first = from;
    part.next = to;
    enum err err = query_walk_open(
        db, &part, &c->question, c->question.requests, &walk, c->info);
    while (err == ERR_OK &&
           (err = query_walk_next(walk, &source, &where)) == ERR_OK) {
        buf_clear(&sql);
        build(c, false, buf_str(&source), buf_str(&where), &sql);
        err = take_rows(c, db, &sql);
        if (err == ERR_OK && c->until_us != 0 &&
            clock_monotonic() > c->until_us)
            err = took_too_long(c);
    }
    query_walk_close(&walk);
    buf_fini(&source);
    buf_fini(&where);
    buf_fini(&sql);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* --- Sums instead of rows --------------------------------------------------
 */

/* Blocks [first, last], which all have sums. */
static enum err count_sums(struct counting *c, struct db *db, const char *table,
    uint64_t first, uint64_t last)
{
    struct buf source, where, sql;
    bool none;
    buf_init(&source, 256);
    buf_init(&where, 65536);
    buf_init(&sql, 65536);
    buf_printf(&source, " FROM %s AS r", table);
    buf_printf(&where, " WHERE r.block BETWEEN %llu AND %llu",
        (unsigned long long)first, (unsigned long long)last);
    enum err err =
        sums_conditions(db, c->question.filter, &where, &none, c->info);
    sql.failed = source.failed || where.failed;
    if (err == ERR_OK && !none) {
        build(c, true, buf_str(&source), buf_str(&where), &sql);
        err = take_rows(c, db, &sql);
    }
    buf_fini(&source);
    buf_fini(&where);
    buf_fini(&sql);
    return err;
}

/* Of the entries [low, end): the sums of whole blocks, and the rows between
 * them. */
static enum err count_both(struct counting *c, struct db *db, const char *table,
    const struct index_state *state, uint64_t low, uint64_t end)
{
    struct db_statement *s;
    uint64_t from = low, first = 1, last = 0; /* of a run; none */
    enum err err = db_prepare(
        db, "SELECT block FROM tally_block ORDER BY block", &s, c->info);
    if (err != ERR_OK)
        return err;
    while ((err = db_step(s, c->info)) == ERR_OK) {
        uint64_t block = (uint64_t)db_column_int(s, 0);
        uint64_t begin = block << TALLY_SHIFT;
        uint64_t stop = (block + 1) << TALLY_SHIFT;
        if (begin < state->first)
            begin = state->first;
        if (stop > state->first + state->span)
            stop = state->first + state->span;
        if (begin < low || stop > end)
            continue;
        if (begin > from)
            err = count_rows(c, db, state, from, begin);
        if (err == ERR_OK && first <= last && block != last + 1) {
            err = count_sums(c, db, table, first, last);
            first = block;
        }
        if (first > last)
            first = block;
        last = block;
        from = stop;
        if (err != ERR_OK) {
            db_reset(s);
            return err;
        }
    }
    if (err != ERR_NOTFOUND)
        return err;
    err = first <= last ? count_sums(c, db, table, first, last) : ERR_OK;
    return err == ERR_OK && from < end ? count_rows(c, db, state, from, end)
                                       : err;
}

static enum err count_file(
    struct counting *c, struct db *db, const struct index_state *state)
{
    const char *by[STATS_BY_MAX], *table = NULL;
    uint64_t low = state->first, end = state->next;
    bool there = false;
    enum err err = ERR_OK;
    for (size_t i = 0; i < c->by_count; i++)
        by[i] = c->by[i]->name;
    if (c->question.requests)
        table = sums_table(c->question.filter, by, c->by_count);
    if (table)
        err = index_tally_is_there(db, &there, c->info);
    if (err == ERR_OK && there)
        err = query_request_range(db, state, &c->question, &low, &end, c->info);
    if (err != ERR_OK || low >= end)
        return err;
    return there ? count_both(c, db, table, state, low, end)
                 : count_rows(c, db, state, low, end);
}

/* --- All files -------------------------------------------------------------
 */

typedef enum err each_file(
    void *context, struct db *db, const struct index_state *state);

/* Oldest file first, each within one read transaction. */
static enum err walk_files(struct audit_index *index,
    const struct audit_filter *filter, each_file *each, void *context,
    uint64_t *indexed, bool *incomplete, uint64_t *damaged,
    struct errinfo *info)
{
    enum err err = audit_index_refresh(index, info);
    for (size_t i = 0; err == ERR_OK && i < index->list.count; i++) {
        struct index_state state;
        struct db *db;
        err = audit_index_file(index, i, &db, info);
        if (err == ERR_OK)
            err = db_execute(db, "BEGIN", info);
        if (err == ERR_OK)
            err = index_state_read(db, &state, info);
        if (err == ERR_OK) {
            if (i + 1 == index->list.count)
                *indexed = state.next;
            else if (state.next < index->list.firsts[i + 1])
                *incomplete = true;
            if (!query_is_outside(&state, filter))
                err = each(context, db, &state);
            db_rollback(db);
        }
        if (err == ERR_CORRUPT && damaged)
            *damaged = index->list.firsts[i];
    }
    audit_index_release(index);
    return err;
}

static enum err count_one(
    void *context, struct db *db, const struct index_state *state)
{
    return count_file(context, db, state);
}

/* Periods in order of time, everything else by how much there is. */
static int compare(const void *a, const void *b)
{
    const struct audit_group *x = a, *y = b;
    if (x->records != y->records)
        return x->records < y->records ? 1 : -1;
    return str_compare(x->keys[0], y->keys[0]);
}

static int compare_times(const void *a, const void *b)
{
    const struct audit_group *x = a, *y = b;
    int order = str_compare(x->keys[0], y->keys[0]);
    return order ? order : compare(a, b);
}

enum err audit_count(struct audit_index *index,
    const struct audit_filter *filter, struct str by, struct audit_stats **out,
    uint64_t *damaged, struct errinfo *info)
{
    struct arena *arena = arena_new(65536, 0);
    struct counting c = {.info = info};
    enum err err = ERR_NOMEM;
    c.stats = arena ? ARENA_NEW(arena, struct audit_stats) : NULL;
    c.slots = calloc(SLOTS, sizeof(*c.slots));
    if (c.stats)
        c.groups = ARENA_ARRAY(arena, STATS_GROUPS_MAX, struct audit_group);
    if (!c.groups || !c.slots) {
        errinfo_set(info, ERR_NOMEM, "out of memory");
        goto out;
    }
    memset(c.groups, 0, STATS_GROUPS_MAX * sizeof(*c.groups));
    c.stats->arena = arena;
    if (filter->patience_us > 0)
        c.until_us = clock_monotonic() + filter->patience_us;
    err = question_init(&c.question, filter, info);
    if (err == ERR_OK)
        err = read_by(&c, by, info);
    if (err == ERR_OK)
        err = choose_table(&c, info);
    if (err == ERR_OK)
        err = walk_files(index, filter, count_one, &c, &c.stats->indexed,
            &c.stats->incomplete, damaged, info);
    if (err != ERR_OK)
        goto out;
    bool timed =
        c.by[0]->kind == BY_TIME || strcmp(c.by[0]->name, "month") == 0;
    qsort(
        c.groups, c.count, sizeof(*c.groups), timed ? compare_times : compare);
    c.stats->groups = c.groups;
    c.stats->count = c.count;
    c.stats->by_count = c.by_count;
    for (size_t i = 0; i < c.by_count; i++)
        c.stats->by[i] = c.by[i]->name;
    *out = c.stats;
    arena = NULL;
out:
    free(c.slots);
    arena_free(&arena);
    return err;
}

void audit_stats_free(struct audit_stats **stats)
{
    if (!*stats)
        return;
    struct arena *arena = (*stats)->arena;
    arena_free(&arena);
    *stats = NULL;
}

/* --- Silence ---------------------------------------------------------------
 */

struct silence {
    struct audit_gaps *gaps;
    const struct audit_filter *filter;
    int64_t longer_us;
    size_t room;
    bool any, stopped;
    uint64_t seq;
    int64_t time_us;
    struct errinfo *info;
};

static void take_record(
    struct silence *w, uint64_t seq, int64_t time_us, bool stop)
{
    struct audit_gaps *gaps = w->gaps;
    if (!w->any)
        gaps->first_us = time_us;
    if (w->any && time_us - w->time_us >= w->longer_us) {
        if (gaps->count == w->room)
            gaps->cut = true;
        else
            gaps->items[gaps->count++] = (struct audit_gap){.after = w->seq,
                .before = seq,
                .from_us = w->time_us,
                .to_us = time_us,
                .stopped = w->stopped};
    }
    w->any = true;
    w->stopped = stop;
    w->seq = seq;
    w->time_us = gaps->last_us = time_us;
    gaps->records++;
}

static enum err walk_silence(
    void *context, struct db *db, const struct index_state *state)
{
    struct silence *w = context;
    struct db_statement *s;
    int64_t until = w->filter->until_us ? w->filter->until_us : INT64_MAX;
    enum err err = db_prepare(db,
        "SELECT seq, time, 0 FROM request UNION ALL "
        "SELECT seq, time, type = (SELECT id FROM word WHERE text = "
        "'system.stopped') FROM event ORDER BY 1",
        &s, w->info);
    if (err != ERR_OK)
        return err;
    while ((err = db_step(s, w->info)) == ERR_OK) {
        int64_t time_us = db_column_int(s, 1);
        if (time_us < w->filter->since_us)
            continue;
        if (time_us >= until)
            break;
        take_record(w, (uint64_t)db_column_int(s, 0), time_us,
            db_column_int(s, 2) == 1);
    }
    db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

enum err audit_find_gaps(struct audit_index *index,
    const struct audit_filter *filter, int64_t longer_us, size_t room,
    struct audit_gaps **out, uint64_t *damaged, struct errinfo *info)
{
    struct arena *arena = arena_new(65536, 0);
    struct audit_gaps *gaps =
        arena ? ARENA_NEW(arena, struct audit_gaps) : NULL;
    if (gaps)
        gaps->items = ARENA_ARRAY(arena, room, struct audit_gap);
    if (!gaps || !gaps->items) {
        arena_free(&arena);
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    }
    gaps->arena = arena;
    struct silence w = {.gaps = gaps,
        .filter = filter,
        .longer_us = longer_us,
        .room = room,
        .info = info};
    enum err err = walk_files(index, filter, walk_silence, &w, &gaps->indexed,
        &gaps->incomplete, damaged, info);
    if (err == ERR_OK)
        *out = gaps;
    else
        arena_free(&arena);
    return err;
}

void audit_gaps_free(struct audit_gaps **gaps)
{
    if (!*gaps)
        return;
    struct arena *arena = (*gaps)->arena;
    arena_free(&arena);
    *gaps = NULL;
}
