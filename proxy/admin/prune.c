/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/prune.c - taking away the log's oldest entries: how far that may
 * go, and the disposal that does it (audit/prune.h has the files).
 *
 * Everything here says no until it has been shown that yes is right: a prefix
 * goes only when every record in it is past the longest period that there is,
 * no sealing key of its months is left, no legal hold and no exempt class has
 * a record in it, and whoever is to be given the log, or to vouch for it, has
 * it. What cannot be found out counts as no. Under the control's lock. */
#include "proxy/admin/prune.h"

#include "audit/indexer.h"
#include "audit/prune.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "proxy/admin/past.h"
#include "proxy/admin/retention.h"

#include <inttypes.h>
#include <stdlib.h>

#define LIMITS_MAX 256
#define OUTSIDE_MAX 64
#define PAST_MOST (256u << 20)

/* Entries from `entries` on have to stay. */
struct limit {
    const char *kind, *why;
    uint64_t entries;
};

struct plan {
    struct pruned now; /* what was pruned already */
    struct prune_place *places;
    size_t place_count;
    struct limit limits[LIMITS_MAX];
    size_t limit_count;
    uint64_t asked;                /* up to here, by --before or --to */
    const struct prune_place *aim; /* the last place up to that; NULL: none */
    uint64_t free;                 /* how far all limits let it go */
    struct checkpoint checkpoint;
    struct buf note;
};

static const char *segments_of(struct admin_call *call)
{
    return arena_printf(
        call->arena, "%s/journal/segments", control_dir(call->control));
}

static const struct prune_place *last_place(
    const struct plan *plan, uint64_t entries)
{
    for (size_t i = plan->place_count; i-- > 0;)
        if (plan->places[i].entries <= entries)
            return &plan->places[i];
    return NULL;
}

/* Nothing at or after this time may go: places end where a segment begins, and
 * times in the log never decrease. */
static uint64_t entries_before(const struct plan *plan, int64_t time_us)
{
    for (size_t i = plan->place_count; i-- > 0;)
        if (plan->places[i].time_us <= time_us)
            return plan->places[i].entries;
    return plan->now.entries;
}

static enum err add_limit(struct admin_call *call, struct plan *plan,
    const char *kind, uint64_t entries, const char *why)
{
    if (!why)
        return FAIL(call, ERR_NOMEM, "out of memory");
    if (plan->limit_count == LIMITS_MAX)
        return FAIL(call, ERR_LIMIT,
            "more than %d things speak against pruning", LIMITS_MAX);
    plan->limits[plan->limit_count++] = (struct limit){kind, why, entries};
    if (entries < plan->free)
        plan->free = entries;
    return ERR_OK;
}

static const char *day(struct admin_call *call, int64_t time_us)
{
    char text[CLOCK_TEXT_LENGTH];

    clock_format(text, time_us);
    return arena_printf(call->arena, "%.10s", text);
}

/* --- Periods -------------------------------------------------------------- */

static enum err limit_by_period(struct admin_call *call, struct plan *plan,
    const struct retention *retention)
{
    int64_t days = 0, until;
    const char *of = "";

    for (size_t i = 0; i < retention->count; i++)
        if (retention->classes[i].days > days) {
            days = retention->classes[i].days;
            of = arena_printf(call->arena, "the retention class %.*s",
                STR_ARG(retention->classes[i].name));
        }
    if (retention->lock_days > days) {
        days = retention->lock_days;
        of = "the retention lock";
    }
    until = clock_now() - days * DAY_US;
    return add_limit(call, plan, "period", entries_before(plan, until),
        arena_printf(call->arena,
            "%s keeps records for %lld days: nothing since %s can go", of,
            (long long)days, day(call, until)));
}

/* The oldest month of rows of sealing_key that fit, if there is one. */
static enum err oldest_month(struct admin_call *call, const char *sql,
    struct str class, struct str *month, int64_t *keys)
{
    struct db_statement *s;
    enum err err = db_prepare(call->persons, sql, &s, &call->info);

    *month = STR("");
    *keys = 0;
    if (err)
        return err;
    db_bind_text(s, 1, class);
    err = db_step(s, &call->info);
    if (!err) {
        *month = admin_column(call, s, 0);
        *keys = db_column_int(s, 1);
    }
    db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err limit_by_month(struct admin_call *call, struct plan *plan,
    const char *kind, struct str month, const char *why)
{
    int64_t start, end;

    /* What cannot be read is kept. */
    if (!retention_month(month, &start, &end))
        start = 0;
    return add_limit(call, plan, kind, entries_before(plan, start), why);
}

/* A month whose keys are there yet is one that retention has not done with:
 * held, or not run. */
static enum err limit_by_keys(struct admin_call *call, struct plan *plan)
{
    struct str month;
    int64_t keys;
    enum err err = oldest_month(call,
        "SELECT month, count(*) FROM sealing_key WHERE length(wrapped) > 0 AND "
        "?1 = '' GROUP BY month ORDER BY month LIMIT 1",
        STR(""), &month, &keys);

    if (err || keys == 0)
        return err;
    return limit_by_month(call, plan, "keys", month,
        arena_printf(call->arena,
            "%lld sealing keys of %.*s are not destroyed: their period is not "
            "over, a hold pins them, or retention has not run since",
            (long long)keys, STR_ARG(month)));
}

static enum err limit_by_exempt(struct admin_call *call, struct plan *plan,
    const struct retention *retention)
{
    enum err err = ERR_OK;

    for (size_t i = 0; !err && i < retention->count; i++) {
        struct str month, class = retention->classes[i].name;
        int64_t keys = 0;
        if (!retention->classes[i].exempt)
            continue;
        err = oldest_month(call,
            "SELECT month, count(*) FROM sealing_key WHERE class = ?1 GROUP BY "
            "month ORDER BY month LIMIT 1",
            class, &month, &keys);
        if (!err && keys > 0)
            err = limit_by_month(call, plan, "exempt", month,
                arena_printf(call->arena,
                    "class %.*s is exempt: the log keeps its records, from "
                    "%.*s on, for good",
                    STR_ARG(class), STR_ARG(month)));
    }
    return err;
}

/* --- Holds ---------------------------------------------------------------- */

static enum err limit_by_hold(struct admin_call *call, struct plan *plan,
    struct audit_index *index, const struct hold *hold)
{
    struct audit_filter filter = {.since_us = hold->since_us,
        .until_us = hold->until_us,
        .caller = hold->caller,
        .team = hold->team,
        .type = STR("request"),
        .oldest_first = true,
        .limit = 1};
    struct audit_result *result = NULL;
    uint64_t damaged = 0;
    enum err err = audit_query(index, &filter, &result, &damaged, &call->info);

    if (!err && result->incomplete)
        err = FAIL(call, ERR_AGAIN,
            "the index is still being built, so nobody can say which records "
            "the hold %.*s is about; try again in a moment",
            STR_ARG(hold->name));
    if (!err && result->count > 0)
        err = add_limit(call, plan, "hold", result->rows[0].seq,
            arena_printf(call->arena,
                "the legal hold %.*s is about records from entry %llu on",
                STR_ARG(hold->name), (unsigned long long)result->rows[0].seq));
    audit_result_free(&result);
    return err;
}

static enum err limit_by_holds(struct admin_call *call, struct plan *plan)
{
    struct audit_index *index = NULL;
    struct holds holds;
    uint64_t size;
    bool behind = false;
    enum err err = holds_load(call, &holds);

    if (err || holds.count == 0)
        return err;
    err = audit_await_index(call, &size, &behind);
    if (!err && behind)
        err = FAIL(call, ERR_AGAIN,
            "the index is behind the log, so nobody can say which records the "
            "legal holds are about; try again in a moment");
    if (!err)
        err = audit_index_open(control_dir(call->control), &index, &call->info);
    for (size_t i = 0; !err && i < holds.count; i++)
        err = limit_by_hold(call, plan, index, &holds.items[i]);
    audit_index_close(&index);
    return err;
}

/* --- Who has it outside ----------------------------------------------------
 */

/* One that has a row and is not running has nothing. */
static enum err limit_by_silent(struct admin_call *call, struct plan *plan,
    const struct admin_outside *all, size_t count)
{
    static const struct {
        const char *kind, *sql;
    } tables[] = {{"sink", "SELECT name FROM sink ORDER BY name"},
        {"anchor", "SELECT name FROM anchor ORDER BY name"}};
    enum err err = ERR_OK;

    for (size_t t = 0; !err && t < 2; t++) {
        struct db_statement *s;
        err = db_prepare(call->db, tables[t].sql, &s, &call->info);
        while (!err && (err = db_step(s, &call->info)) == ERR_OK) {
            struct str name = admin_column(call, s, 0);
            bool there = false;
            for (size_t i = 0; i < count; i++)
                there |= strcmp(all[i].kind, tables[t].kind) == 0 &&
                         str_equal(name, str_from(all[i].name));
            if (!there &&
                (err = add_limit(call, plan, tables[t].kind, 0,
                     arena_printf(call->arena, "the %s %.*s is not running",
                         tables[t].kind, STR_ARG(name)))))
                db_reset(s);
        }
        err = err == ERR_NOTFOUND ? ERR_OK : err;
    }
    return err;
}

static enum err limit_by_outside(struct admin_call *call, struct plan *plan)
{
    const struct admin_server *server = call->admin->server;
    struct admin_outside *all;
    size_t count;
    enum err err = ERR_OK;

    if (!server || !server->outside)
        return FAIL(call, ERR_WRONG_STATE,
            "only the running server knows what sinks, anchors and witnesses "
            "have of the log: start it, and prune then");
    all = ARENA_ARRAY(call->arena, OUTSIDE_MAX, struct admin_outside);
    if (!all)
        return FAIL(call, ERR_NOMEM, "out of memory");
    count = server->outside(server->context, all, OUTSIDE_MAX);
    err = limit_by_silent(call, plan, all, count);
    for (size_t i = 0; !err && i < count; i++)
        err = add_limit(call, plan, all[i].kind, all[i].entries,
            arena_printf(call->arena, "%s %s has the log up to entry %llu",
                all[i].what, all[i].name, (unsigned long long)all[i].entries));
    return err;
}

/* --- The plan --------------------------------------------------------------
 */

struct prune_asked {
    struct str before, reason, basis;
    int64_t to; /* -1: not asked */
};

static enum err read_asked(
    struct admin_call *call, const struct prune_asked *asked, struct plan *plan)
{
    int64_t before, span;

    plan->asked = UINT64_MAX;
    if (asked->to >= 0)
        plan->asked = (uint64_t)asked->to;
    if (asked->before.len == 0)
        return ERR_OK;
    if (clock_parse(asked->before, &before) != ERR_OK) {
        if (clock_parse_duration(asked->before, &span) != ERR_OK)
            return FAIL(call, ERR_INVALID,
                "before: \"%.*s\" is no time: 2026-05-01, "
                "2026-05-01T00:00:00Z, or 400d back",
                STR_ARG(asked->before));
        before = clock_now() - span;
    }
    if (entries_before(plan, before) < plan->asked)
        plan->asked = entries_before(plan, before);
    return ERR_OK;
}

static void plan_fini(struct plan *plan)
{
    free(plan->places);
    buf_fini(&plan->note);
}

static enum err plan_make(
    struct admin_call *call, const struct prune_asked *asked, struct plan *plan)
{
    struct retention retention;
    struct note_key key;
    uint64_t covered;
    enum err err = prune_load(call, &plan->now);

    plan->free = UINT64_MAX;
    if (!err)
        err = prune_places(
            segments_of(call), &plan->places, &plan->place_count, &call->info);
    if (!err)
        err = read_asked(call, asked, plan);
    if (!err)
        err = retention_load(call, &retention);
    if (!err)
        err = limit_by_period(call, plan, &retention);
    if (!err)
        err = limit_by_exempt(call, plan, &retention);
    if (!err)
        err = limit_by_keys(call, plan);
    if (!err)
        err = limit_by_holds(call, plan);
    if (!err)
        err = limit_by_outside(call, plan);
    if (!err)
        err = audit_take_checkpoint(call, &plan->note, &key, &plan->checkpoint);
    if (err)
        return err;
    covered = plan->checkpoint.size / 256 * 256;
    err = add_limit(call, plan, "checkpoint", covered,
        arena_printf(call->arena,
            "the log's checkpoint covers %llu entries, and only full bundles "
            "of 256 below it can go",
            (unsigned long long)plan->checkpoint.size));
    plan->aim = last_place(plan, plan->asked);
    return err;
}

static json_t *limits_json(const struct plan *plan)
{
    json_t *items = json_array();

    for (size_t i = 0; i < plan->limit_count; i++) {
        const struct limit *limit = &plan->limits[i];
        json_t *one = json_object();
        admin_set_text(one, "kind", str_from(limit->kind));
        admin_set_text(one, "why", str_from(limit->why));
        admin_set_int(one, "entries", (int64_t)limit->entries);
        admin_set_bool(
            one, "stands", plan->aim && limit->entries < plan->aim->entries);
        json_array_append_new(items, one);
    }
    return items;
}

static json_t *place_json(const struct prune_place *place)
{
    json_t *one;

    if (!place)
        return json_null();
    one = json_object();
    admin_set_int(one, "entries", (int64_t)place->entries);
    admin_set_int(one, "segments", (int64_t)place->segments);
    admin_set_int(one, "bytes", (int64_t)place->bytes);
    admin_set_time(one, "until", place->time_us);
    return one;
}

enum err prune_load(struct admin_call *call, struct pruned *out)
{
    const char *segments = segments_of(call);

    return segments ? pruned_load(segments, out, &call->info)
                    : FAIL(call, ERR_NOMEM, "out of memory");
}

enum err prune_until(struct admin_call *call, int64_t *time_us)
{
    struct pruned now;
    struct audit_reader *reader = NULL;
    struct buf text;
    json_t *entry = NULL;
    const char *time;
    enum err err = prune_load(call, &now);

    *time_us = 0;
    if (err || now.entries == 0)
        return err;
    buf_init(&text, 1 << 17);
    err = audit_reader_open(control_dir(call->control), &reader, &call->info);
    if (!err)
        err = audit_read_entry(
            reader, UINT64_MAX, now.entries, &text, &call->info);
    if (!err)
        entry = json_loadb(buf_str(&text).ptr, text.len, 0, NULL);
    time = json_string_value(json_object_get(entry, "time"));
    if (!err && (!time || clock_parse(str_from(time), time_us) != ERR_OK))
        err = FAIL(call, ERR_CORRUPT, "entry %llu has no time",
            (unsigned long long)now.entries);
    json_decref(entry);
    audit_reader_close(&reader);
    buf_fini(&text);
    return err;
}

json_t *prune_now_json(struct admin_call *call)
{
    struct pruned now;
    int64_t until;
    json_t *one;

    if (prune_load(call, &now) != ERR_OK || prune_until(call, &until) != ERR_OK)
        return NULL; /* (and the answer fails) */
    if (now.entries == 0)
        return json_null();
    one = json_object();
    admin_set_int(one, "entries", (int64_t)now.entries);
    admin_set_int(one, "minimumIndex", (int64_t)pruned_minimum_index(&now));
    admin_set_time(one, "until", until);
    admin_set_time(one, "time", now.time_us);
    admin_set_text(one, "disposal", str_from(now.disposal));
    return one;
}

static bool may_go(const struct plan *plan)
{
    return plan->aim && plan->aim->entries <= plan->free;
}

enum err handle_audit_prune_plan(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"before", FIELD_TEXT, false, offsetof(struct prune_asked, before), 1,
            64, NULL},
        {"to", FIELD_INT, false, offsetof(struct prune_asked, to), 0, INT64_MAX,
            NULL},
    };
    struct prune_asked asked = {.before = STR(""), .to = -1};
    struct plan plan = {0};
    json_t *answer;
    enum err err = admin_read_query(call, fields, FIELD_COUNT(fields), &asked);

    buf_init(&plan.note, NOTE_MAX);
    if (!err)
        err = plan_make(call, &asked, &plan);
    if (!err) {
        answer = json_object();
        admin_set_bool(answer, "allowed", may_go(&plan));
        admin_set(answer, "would", place_json(plan.aim));
        admin_set(answer, "possible", place_json(last_place(&plan, plan.free)));
        admin_set(answer, "limits", limits_json(&plan));
        admin_set(answer, "pruned", prune_now_json(call));
        err = admin_answer(call, 200, answer);
    }
    plan_fini(&plan);
    return err;
}

/* --- The disposal ----------------------------------------------------------
 */

/* Why not, all of it, and how far one could go. */
static enum err refuse(struct admin_call *call, const struct plan *plan)
{
    const struct prune_place *possible = last_place(plan, plan->free);
    struct buf words;
    enum err err;

    if (!plan->aim)
        return FAIL(call, ERR_WRONG_STATE,
            "there is nothing to prune: the log goes in whole segments, and "
            "none lies before what was asked for%s",
            plan->now.entries > 0 ? " and behind what was pruned already" : "");
    if (may_go(plan))
        return ERR_OK;
    buf_init(&words, 800);
    for (size_t i = 0; i < plan->limit_count; i++)
        if (plan->limits[i].entries < plan->aim->entries)
            buf_printf(
                &words, "%s%s", words.len > 0 ? "; " : "", plan->limits[i].why);
    if (possible)
        err = FAIL(call, ERR_WRONG_STATE,
            "entries up to %llu cannot go (%s). Possible is --to %llu",
            (unsigned long long)plan->aim->entries, buf_cstr(&words),
            (unsigned long long)possible->entries);
    else
        err = FAIL(call, ERR_WRONG_STATE,
            "entries up to %llu cannot go (%s), nor any others",
            (unsigned long long)plan->aim->entries, buf_cstr(&words));
    buf_fini(&words);
    return err;
}

/* The control state as the prefix has built it up, for `audit state --at` and
 * for repeating decisions: its changes can be read for the last time. */
static enum err write_past(
    struct admin_call *call, uint64_t before, struct str *out)
{
    struct audit_index *index = NULL;
    struct audit_reader *reader = NULL;
    struct past past = {0};
    uint64_t size = 0, damaged = 0;
    bool behind = false;
    json_t *json;
    char *text = NULL;
    enum err err = audit_await_index(call, &size, &behind);

    if (!err && behind)
        err = FAIL(call, ERR_AGAIN,
            "the index is behind the log; try again in a moment");
    if (!err)
        err = audit_index_open(control_dir(call->control), &index, &call->info);
    if (!err)
        err =
            audit_reader_open(control_dir(call->control), &reader, &call->info);
    if (!err)
        err = past_build(call, index, reader, size, before, 0, &past, &damaged);
    if (!err) {
        json = past_json(&past);
        text = json ? json_dumps(json, JSON_COMPACT) : NULL;
        json_decref(json);
        if (!text)
            err = FAIL(call, ERR_NOMEM, "out of memory");
    }
    if (!err) {
        *out = arena_copy(call->arena, str_from(text));
        if (!out->ptr)
            err = FAIL(call, ERR_NOMEM, "out of memory");
    }
    free(text);
    past_fini(&past);
    audit_reader_close(&reader);
    audit_index_close(&index);
    return err;
}

static json_t *detail_of(const struct plan *plan)
{
    json_t *detail = json_object(), *checkpoint = json_object();

    admin_set_int(checkpoint, "size", (int64_t)plan->checkpoint.size);
    admin_set(checkpoint, "root",
        admin_hex(str_make((const char *)plan->checkpoint.root.bytes,
            sizeof plan->checkpoint.root.bytes)));
    admin_set(detail, "checkpoint", checkpoint);
    admin_set_int(detail, "from", (int64_t)plan->now.entries);
    admin_set_int(detail, "segments", (int64_t)plan->aim->segments);
    admin_set_int(detail, "bytes", (int64_t)plan->aim->bytes);
    admin_set_time(detail, "until", plan->aim->time_us);
    return detail;
}

/* What will stand in its place is written, and then named in the entry. A
 * proposal that is only being tried writes nothing. */
static enum err prepare(struct admin_call *call, const struct plan *plan,
    struct disposal *d, json_t *detail)
{
    struct pruned pruned = {.time_us = d->begun_us};
    struct str past = STR("");
    struct buf text;
    enum err err;

    if (call->outer && !call->proposal)
        return ERR_OK;
    snprintf(pruned.disposal, sizeof pruned.disposal, "%.*s", STR_ARG(d->id));
    err = write_past(call, plan->aim->entries, &past);
    if (!err)
        err = prune_prepare(control_dir(call->control), plan->aim,
            &plan->checkpoint, past, &pruned, &call->info);
    if (err)
        return err;
    buf_init(&text, PRUNED_TEXT_MAX);
    pruned_write(&pruned, &text);
    d->prefix = arena_copy(call->arena, buf_str(&text));
    buf_fini(&text);
    admin_set(
        detail, "prefix", json_loadb(d->prefix.ptr, d->prefix.len, 0, NULL));
    return d->prefix.ptr ? ERR_OK : FAIL(call, ERR_NOMEM, "out of memory");
}

enum err handle_audit_prune(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"before", FIELD_TEXT, false, offsetof(struct prune_asked, before), 1,
            64, NULL},
        {"to", FIELD_INT, false, offsetof(struct prune_asked, to), 0, INT64_MAX,
            NULL},
        {"reason", FIELD_TEXT, true, offsetof(struct prune_asked, reason), 1,
            1000, NULL},
        {"basis", FIELD_TEXT, true, offsetof(struct prune_asked, basis), 1,
            1000, NULL},
    };
    struct prune_asked asked = {.before = STR(""), .to = -1};
    struct disposal d = {.kind = STR("prune"), .subject = STR("")};
    struct plan plan = {0};
    json_t *detail = NULL, *answer;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &asked);

    buf_init(&plan.note, NOTE_MAX);
    if (!err && asked.before.len == 0 && asked.to < 0)
        err = FAIL(call, ERR_INVALID,
            "before or to: how far? (`bailiff audit prune --dry-run` says how "
            "far one could go)");
    d.reason = asked.reason;
    d.basis = asked.basis;
    if (!err)
        err = plan_make(call, &asked, &plan);
    if (!err)
        err = refuse(call, &plan);
    if (!err)
        err = disposal_name(call, &d);
    if (!err) {
        d.entries = (int64_t)plan.aim->entries;
        detail = detail_of(&plan);
        err = prepare(call, &plan, &d, detail);
        if (err)
            json_decref(detail);
    }
    if (!err && (err = admin_begin(call)))
        json_decref(detail);
    if (!err)
        err = disposal_begin(call, &d, NULL, 0, detail);
    if (!err)
        err = admin_commit(call, 0);
    /* (Within a proposal the approver finishes it, after the commit.) */
    if (!err && !call->outer)
        err = disposal_finish(call, &d);
    if (!err) {
        answer = disposal_json(&d);
        err = admin_answer(call, 200, answer);
    }
    plan_fini(&plan);
    return err;
}

enum err prune_finish(struct admin_call *call, struct disposal *d)
{
    struct audit_log *log = control_log(call->control);
    struct pruned pruned;
    struct prune_away away;
    struct buf note;
    enum err err = pruned_parse(d->prefix, &pruned, &call->info);

    if (!err && !log)
        err = FAIL(call, ERR_WRONG_STATE, "the log is not open");
    /* The record is signed before anything goes. */
    buf_init(&note, NOTE_MAX);
    if (!err)
        err = audit_log_checkpoint(log, &note, &call->info);
    buf_fini(&note);
    if (!err)
        err = prune_apply(
            control_dir(call->control), &pruned, &away, &call->info);
    if (err)
        return err;
    if (audit_log_indexer(log))
        indexer_reopen(audit_log_indexer(log));
    d->files = (int64_t)away.files;
    d->bytes = (int64_t)away.bytes;
    return ERR_OK;
}
