/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/holds.c - legal holds: which keys they pin, and their
 * operations.
 *
 * A hold is a question about records: of a caller, of a team, of a time. What
 * can be held is keys, one per person and month; so it also keeps readable what
 * else those keys seal, and says how much that is. */
#include "proxy/admin/retention.h"

#include "audit/blob.h"
#include "audit/stats.h"
#include "lib/clock.h"

#include <stdlib.h>

/* --- Which keys ----------------------------------------------------------- */

static int compare_texts(const void *a, const void *b)
{
    return str_compare(*(const struct str *)a, *(const struct str *)b);
}

/* Items of `size` bytes that begin with their text. */
static bool is_in(
    const void *sorted, size_t count, size_t size, struct str text)
{
    return count > 0 &&
           bsearch(&text, sorted, count, size, compare_texts) != NULL;
}

const struct hold *holds_pinning(
    const struct holds *holds, struct str subject, struct str month)
{
    int64_t start, end;

    if (!retention_month(month, &start, &end))
        return holds->count > 0 ? &holds->items[0] : NULL;
    for (size_t i = 0; i < holds->count; i++) {
        const struct hold *h = &holds->items[i];
        char text[128];
        int n = snprintf(
            text, sizeof text, "%.*s %.*s", STR_ARG(subject), STR_ARG(month));

        if ((h->since_us && end <= h->since_us) ||
            (h->until_us && start >= h->until_us))
            continue;
        if (h->caller.len > 0 && !str_equal(h->caller, subject))
            continue;
        if (h->team.len > 0 &&
            !is_in(h->members, h->member_count, sizeof *h->members, subject) &&
            !is_in(h->pairs, h->pair_count, sizeof *h->pairs,
                str_make(text, (size_t)n)))
            continue;
        return h;
    }
    return NULL;
}

/* "cal_x 2026-11" for each caller and month of the records that fit. */
static enum err count_records(struct admin_call *call,
    const struct audit_filter *filter, struct hold_pair **pairs, size_t *count,
    int64_t *records)
{
    struct audit_index *index = NULL;
    struct audit_stats *stats = NULL;
    uint64_t size, damaged = 0;
    bool behind;
    enum err err = audit_await_index(call, &size, &behind);

    if (!err)
        err = audit_index_open(control_dir(call->control), &index, &call->info);
    if (!err)
        err = audit_count(
            index, filter, STR("caller,month"), &stats, &damaged, &call->info);
    if (!err && (behind || stats->incomplete))
        err = FAIL(call, ERR_AGAIN,
            "the index is still being built, so nobody can say whose records "
            "a hold is about; try again in a moment");
    if (!err) {
        *pairs = ARENA_ARRAY(call->arena, stats->count + 1, struct hold_pair);
        *count = *pairs ? stats->count : 0;
        *records = 0;
        if (!*pairs)
            err = FAIL(call, ERR_NOMEM, "out of memory");
    }
    for (size_t i = 0; !err && i < stats->count; i++) {
        const struct audit_group *g = &stats->groups[i];
        const char *text = arena_printf(call->arena, "%.*s %.7s",
            STR_ARG(g->keys[0]), g->keys[1].len >= 7 ? g->keys[1].ptr : "");
        if (!text)
            err = FAIL(call, ERR_NOMEM, "out of memory");
        else
            (*pairs)[i] = (struct hold_pair){str_from(text), g->records};
        *records += g->records;
    }
    if (!err)
        qsort(*pairs, *count, sizeof **pairs, compare_texts);
    audit_stats_free(&stats);
    audit_index_close(&index);
    return err;
}

static struct audit_filter filter_of(const struct hold *hold)
{
    return (struct audit_filter){.since_us = hold->since_us,
        .until_us = hold->until_us,
        .caller = hold->caller,
        .team = hold->team,
        .type = STR("request")};
}

static enum err load_members(struct admin_call *call, struct hold *hold)
{
    struct db_statement *s;
    struct str *members;
    size_t room = 0, count = 0;
    enum err err = db_prepare(call->db,
        "WITH RECURSIVE below (name) AS (SELECT ?1 UNION SELECT team.name FROM "
        "team JOIN below ON team.parent = below.name) SELECT DISTINCT caller "
        "FROM caller_team WHERE team IN below ORDER BY caller",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, hold->team);
    while ((err = db_step(s, &call->info)) == ERR_OK)
        room++;
    if (err != ERR_NOTFOUND)
        return err;
    members = ARENA_ARRAY(call->arena, room + 1, struct str);
    if (!members)
        return FAIL(call, ERR_NOMEM, "out of memory");
    db_bind_text(s, 1, hold->team);
    while ((err = db_step(s, &call->info)) == ERR_OK && count < room)
        members[count++] = admin_column(call, s, 0);
    db_reset(s);
    hold->members = members;
    hold->member_count = count;
    return err == ERR_NOTFOUND || err == ERR_OK ? ERR_OK : err;
}

static enum err fill_team(struct admin_call *call, struct hold *hold)
{
    struct audit_filter filter = filter_of(hold);
    struct hold_pair *pairs = NULL;
    int64_t records;
    enum err err;

    if (hold->team.len == 0)
        return ERR_OK;
    err = count_records(call, &filter, &pairs, &hold->pair_count, &records);
    hold->pairs = pairs;
    return err ? err : load_members(call, hold);
}

static void read_hold(
    struct admin_call *call, struct db_statement *s, struct hold *hold)
{
    *hold = (struct hold){.name = admin_column(call, s, 0),
        .caller = admin_column(call, s, 1),
        .team = admin_column(call, s, 2),
        .since_us = db_column_int(s, 3),
        .until_us = db_column_int(s, 4)};
}

#define HOLD_COLUMNS                                                           \
    "SELECT name, caller, team, since, until, reason, basis, created, "        \
    "released FROM hold "

enum err holds_load(struct admin_call *call, struct holds *out)
{
    struct db_statement *s;
    size_t room = 0;
    enum err err = db_prepare(call->db,
        HOLD_COLUMNS "WHERE released IS NULL ORDER BY name", &s, &call->info);

    *out = (struct holds){0};
    while (!err && (err = db_step(s, &call->info)) == ERR_OK)
        room++;
    if (err != ERR_NOTFOUND)
        return err;
    out->items = ARENA_ARRAY(call->arena, room + 1, struct hold);
    if (!out->items)
        return FAIL(call, ERR_NOMEM, "out of memory");
    while ((err = db_step(s, &call->info)) == ERR_OK && out->count < room)
        read_hold(call, s, &out->items[out->count++]);
    db_reset(s);
    err = err == ERR_NOTFOUND || err == ERR_OK ? ERR_OK : err;
    for (size_t i = 0; !err && i < out->count; i++)
        err = fill_team(call, &out->items[i]);
    return err;
}

/* --- As JSON ----------------------------------------------------------------
 */

/* named: for people; else for the log, which knows ids alone. */
static json_t *hold_json(
    struct admin_call *call, struct db_statement *s, bool named)
{
    json_t *hold = json_object();
    struct str caller = admin_column(call, s, 1);

    admin_set_text(hold, "name", db_column_text(s, 0));
    admin_set(
        hold, "caller", caller.len > 0 ? admin_text(caller) : json_null());
    if (named && caller.len > 0)
        admin_set_text(hold, "handle", admin_handle_of(call, caller));
    admin_set(hold, "team",
        db_column_text(s, 2).len > 0 ? admin_text(db_column_text(s, 2))
                                     : json_null());
    admin_set_time(hold, "since", db_column_int(s, 3));
    admin_set_time(hold, "until", db_column_int(s, 4));
    admin_set_text(hold, "reason", db_column_text(s, 5));
    admin_set_text(hold, "basis", db_column_text(s, 6));
    if (named) {
        admin_set_time(hold, "created", db_column_int(s, 7));
        admin_set_time(hold, "released", db_column_int(s, 8));
    } else {
        admin_set_bool(hold, "released", !db_column_is_null(s, 8));
    }
    return hold;
}

static enum err read_one(struct admin_call *call, struct str name, bool named,
    struct hold *hold, json_t **out)
{
    struct db_statement *s;
    enum err err = admin_need(call, call->db, "hold",
        "SELECT 1 FROM hold WHERE name = ?1", "SELECT name FROM hold", name);

    if (!err)
        err = db_prepare(
            call->db, HOLD_COLUMNS "WHERE name = ?1", &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, name);
    err = db_step(s, &call->info);
    if (!err && hold)
        read_hold(call, s, hold);
    if (!err)
        *out = hold_json(call, s, named);
    db_reset(s);
    return err;
}

/* A person's month that a hold keeps readable: what its keys seal. */
struct reach {
    struct str text; /* "cal_x 2026-11"; first: sorted by it */
    struct str subject, month;
    int64_t keys, about, records;
    uint64_t files, bytes;
};

static enum err take_key(struct admin_call *call,
    const struct disposal_key *key, struct reach *all, size_t *count)
{
    const char *text = arena_printf(
        call->arena, "%.*s %.*s", STR_ARG(key->subject), STR_ARG(key->month));
    struct reach *one = NULL;

    if (!text)
        return FAIL(call, ERR_NOMEM, "out of memory");
    /* (They come by month and person: those of other classes follow.) */
    if (*count > 0 && str_equal(all[*count - 1].text, str_from(text)))
        one = &all[*count - 1];
    else
        *(one = &all[(*count)++]) = (struct reach){.text = str_from(text),
            .subject = key->subject,
            .month = key->month};
    one->keys++;
    return blob_count_key(control_dir(call->control), key->id, &one->files,
        &one->bytes, &call->info);
}

static struct reach *reach_of(
    struct reach *all, size_t count, const struct hold_pair *pair)
{
    return count > 0
               ? bsearch(&pair->text, all, count, sizeof *all, compare_texts)
               : NULL;
}

static json_t *reach_json(struct admin_call *call, const struct reach *one)
{
    json_t *item = json_object();

    admin_set_text(item, "caller", one->subject);
    admin_set_text(item, "handle", admin_handle_of(call, one->subject));
    admin_set_text(item, "month", one->month);
    admin_set_int(item, "keys", one->keys);
    admin_set_int(item, "records", one->about);
    admin_set_int(item, "beyond",
        one->records > one->about ? one->records - one->about : 0);
    admin_set_int(item, "files", (int64_t)one->files);
    admin_set_int(item, "bytes", (int64_t)one->bytes);
    return item;
}

/* What the hold is about, and what stays readable with it: a key seals a month
 * of one person, and opens it whole or not at all. */
static enum err set_reach(
    struct admin_call *call, struct hold *hold, json_t *answer)
{
    struct holds one = {hold, 1};
    struct audit_filter filter = filter_of(hold),
                        all = {.type = STR("request")};
    struct disposal_key *keys;
    struct hold_pair *pairs = NULL;
    struct reach *reach;
    size_t count = 0, pair_count = 0, reached = 0;
    int64_t records = 0, pinned = 0, beyond = 0, ignored;
    json_t *items;
    enum err err = fill_team(call, hold);

    if (!err)
        err =
            disposal_keys(call, hold->caller, STR(""), STR(""), &keys, &count);
    if (err)
        return err;
    reach = ARENA_ARRAY(call->arena, count + 1, struct reach);
    if (!reach)
        return FAIL(call, ERR_NOMEM, "out of memory");
    for (size_t i = 0; !err && i < count; i++)
        if (holds_pinning(&one, keys[i].subject, keys[i].month)) {
            err = take_key(call, &keys[i], reach, &reached);
            pinned++;
        }
    qsort(reach, reached, sizeof *reach, compare_texts);
    if (!err)
        err = count_records(call, &filter, &pairs, &pair_count, &records);
    for (size_t i = 0; !err && i < pair_count; i++) {
        struct reach *row = reach_of(reach, reached, &pairs[i]);
        if (row)
            row->about = pairs[i].records;
    }
    /* Everything that the pinned keys seal, each person and month. */
    all.caller = hold->caller;
    if (!err)
        err = count_records(call, &all, &pairs, &pair_count, &ignored);
    for (size_t i = 0; !err && i < pair_count; i++) {
        struct reach *row = reach_of(reach, reached, &pairs[i]);
        if (row)
            row->records = pairs[i].records;
    }
    if (err)
        return err;
    items = json_array();
    for (size_t i = 0; i < reached; i++) {
        if (reach[i].records > reach[i].about)
            beyond += reach[i].records - reach[i].about;
        json_array_append_new(items, reach_json(call, &reach[i]));
    }
    admin_set_int(answer, "keys", pinned);
    admin_set_int(answer, "records", records);
    admin_set_int(answer, "beyond", beyond);
    admin_set(answer, "reach", items);
    return ERR_OK;
}

/* --- Operations
 * --------------------------------------------------------------- */

enum err handle_hold_list(struct admin_call *call)
{
    struct db_statement *s;
    json_t *items = json_array();
    enum err err = db_prepare(call->db,
        HOLD_COLUMNS "ORDER BY released IS NOT NULL, name", &s, &call->info);

    while (!err && (err = db_step(s, &call->info)) == ERR_OK)
        json_array_append_new(items, hold_json(call, s, true));
    if (err == ERR_NOTFOUND)
        return admin_answer_list(call, items);
    json_decref(items);
    return err;
}

static enum err answer_hold(
    struct admin_call *call, struct str name, int status)
{
    struct hold hold;
    json_t *answer = NULL;
    enum err err = read_one(call, name, true, &hold, &answer);

    if (!err && json_is_null(json_object_get(answer, "released")))
        err = set_reach(call, &hold, answer);
    if (err) {
        json_decref(answer);
        return err;
    }
    return admin_answer(call, status, answer);
}

enum err handle_hold_show(struct admin_call *call)
{
    return answer_hold(call, call->params[0], 200);
}

struct hold_body {
    struct str name, caller, team, reason, basis;
    int64_t since, until;
};
#define AT(member) offsetof(struct hold_body, member)

static enum err check_body(struct admin_call *call, struct hold_body *body)
{
    enum err err = ERR_OK;

    if (body->caller.len > 0)
        err = admin_resolve_person(call, "cal_", body->caller, &body->caller);
    if (!err && body->team.len > 0)
        err = admin_need_team(call, body->team);
    if (!err && body->until && body->since >= body->until)
        err = FAIL(call, ERR_INVALID, "until: is not after since");
    return err;
}

enum err handle_hold_add(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"name", FIELD_NAME, true, AT(name), 0, 0, NULL},
        {"caller", FIELD_NAME, false, AT(caller), 0, 0, NULL},
        {"team", FIELD_NAME, false, AT(team), 0, 0, NULL},
        {"since", FIELD_TIME, false, AT(since), 0, 0, NULL},
        {"until", FIELD_TIME, false, AT(until), 0, 0, NULL},
        {"reason", FIELD_TEXT, true, AT(reason), 1, 1000, NULL},
        {"basis", FIELD_TEXT, true, AT(basis), 1, 1000, NULL},
    };
    struct hold_body body = {.caller = STR(""), .team = STR("")};
    struct db_statement *s;
    json_t *after = NULL;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = check_body(call, &body);
    if (err || (err = admin_begin(call)))
        return err;
    err = db_prepare(call->db,
        "INSERT INTO hold (name, caller, team, since, until, reason, basis, "
        "created) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, body.name);
    db_bind_text(s, 2, body.caller);
    db_bind_text(s, 3, body.team);
    db_bind_int(s, 4, body.since);
    db_bind_int(s, 5, body.until);
    db_bind_text(s, 6, body.reason);
    db_bind_text(s, 7, body.basis);
    db_bind_int(s, 8, clock_now());
    err = db_run(s, &call->info);
    if (err == ERR_EXISTS)
        err = FAIL(call, ERR_EXISTS,
            "there is (or was) a hold \"%.*s\"; take another name",
            STR_ARG(body.name));
    if (!err)
        err = read_one(call, body.name, false, NULL, &after);
    if (!err)
        err = admin_record(call, "admin.hold.added", "hold", body.name, NULL,
            after, NULL, body.reason);
    if (!err)
        err = admin_commit(call, 0);
    return err ? err : answer_hold(call, body.name, 201);
}

enum err handle_hold_release(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"reason", FIELD_TEXT, true, AT(reason), 1, 1000, NULL},
    };
    struct hold_body body = {.reason = STR("")};
    struct str name = call->params[0];
    struct db_statement *s;
    json_t *before = NULL, *after = NULL;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = read_one(call, name, false, NULL, &before);
    if (!err && json_is_true(json_object_get(before, "released")))
        err = FAIL(call, ERR_WRONG_STATE, "hold %.*s was released already",
            STR_ARG(name));
    if (!err)
        err = admin_begin(call);
    if (!err)
        err = db_prepare(call->db,
            "UPDATE hold SET released = ?2 WHERE name = ?1", &s, &call->info);
    if (!err) {
        db_bind_text(s, 1, name);
        db_bind_int(s, 2, clock_now());
        err = db_run(s, &call->info);
    }
    if (!err)
        err = read_one(call, name, false, NULL, &after);
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(call, "admin.hold.released", "hold", name, before, after,
        NULL, body.reason);
    if (!err)
        err = admin_commit(call, 0);
    return err ? err : answer_hold(call, name, 200);
}
