/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/retention.c - classes and their periods, the lock under which no
 * period may fall, and the run that destroys what has expired. */
#include "proxy/admin/prune.h"

#include "audit/blob.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "proxy/name.h"

#include <stdlib.h>

#define AT(member) offsetof(struct class_body, member)

/* What laws and standards ask for, in days. */
static const struct {
    const char *name;
    int64_t days;
    bool exempt;
} profiles[] = {
    {"ai-act", 184, false},  /* Regulation (EU) 2024/1689, art. 19 and 26 */
    {"pci", 366, false},     /* PCI DSS 10.5.1: twelve months */
    {"hipaa", 2192, false},  /* 45 CFR 164.316(b)(2)(i): six years */
    {"sec17a4", 2192, true}, /* 17 CFR 240.17a-4: six years, not erasable */
};
#define PROFILE_WORDS "ai-act pci hipaa sec17a4"

/* --- Periods
 * ------------------------------------------------------------------ */

bool retention_month(struct str month, int64_t *start_us, int64_t *end_us)
{
    struct str year_text, month_text;
    int64_t year, number;

    if (!str_split(month, '-', &year_text, &month_text) ||
        str_to_i64(year_text, &year) != ERR_OK || month_text.len != 2 ||
        (month_text.ptr[0] != '0' && month_text.ptr[0] != '1'))
        return false;
    number = (month_text.ptr[0] - '0') * 10 + (month_text.ptr[1] - '0');
    if (number < 1 || number > 12 || year < 0 || year > 9998)
        return false;
    *start_us = clock_days_from_civil((int)year, (int)number, 1) * DAY_US;
    *end_us =
        (number == 12 ? clock_days_from_civil((int)year + 1, 1, 1)
                      : clock_days_from_civil((int)year, (int)number + 1, 1)) *
        DAY_US;
    return true;
}

enum err retention_load(struct admin_call *call, struct retention *out)
{
    struct db_statement *s;
    struct retention_class *classes;
    size_t room = 1;
    bool has_default = false;
    enum err err = db_prepare(call->db,
        "SELECT name, days, exempt FROM retention_class ORDER BY name", &s,
        &call->info);

    *out = (struct retention){0};
    while (!err && (err = db_step(s, &call->info)) == ERR_OK)
        room++;
    if (err != ERR_NOTFOUND)
        return err;
    classes = ARENA_ARRAY(call->arena, room, struct retention_class);
    if (!classes)
        return FAIL(call, ERR_NOMEM, "out of memory");
    while ((err = db_step(s, &call->info)) == ERR_OK && out->count + 1 < room) {
        struct retention_class *class = &classes[out->count++];
        class->name = admin_column(call, s, 0);
        class->days = db_column_int(s, 1);
        class->exempt = db_column_int(s, 2) != 0;
        has_default = has_default || str_equal(class->name, STR("default"));
    }
    db_reset(s);
    if (!has_default)
        classes[out->count++] = (struct retention_class){
            STR("default"), RETENTION_DEFAULT_DAYS, false};
    out->classes = classes;
    err = db_prepare(
        call->db, "SELECT days FROM retention_lock", &s, &call->info);
    if (!err && (err = db_step(s, &call->info)) == ERR_OK)
        out->lock_days = db_column_int(s, 0);
    if (err == ERR_OK)
        db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

const struct retention_class *retention_find(
    const struct retention *retention, struct str name)
{
    for (size_t i = 0; i < retention->count; i++)
        if (str_equal(retention->classes[i].name, name))
            return &retention->classes[i];
    return NULL;
}

int64_t retention_expiry(const struct retention *retention,
    const struct retention_class *class, struct str month)
{
    int64_t start, end;
    int64_t days =
        class->days > retention->lock_days ? class->days : retention->lock_days;

    /* What cannot be read is kept. */
    if (!retention_month(month, &start, &end))
        return INT64_MAX;
    return end + days * DAY_US;
}

/* --- The run
 * -------------------------------------------------------------------- */

struct sorted_out {
    struct disposal_key *expired;
    size_t expired_count;
    int64_t held;
    size_t digest_keys; /* destroyed */
    json_t *holds;      /* name -> keys */
};

static void sort_one(struct admin_call *call, const struct holds *holds,
    const struct disposal_key *key, struct sorted_out *out)
{
    const struct hold *hold = holds_pinning(holds, key->subject, key->month);
    const char *name;

    if (!hold) {
        out->expired[out->expired_count++] = *key;
        return;
    }
    out->held++;
    name = arena_printf(call->arena, "%.*s", STR_ARG(hold->name));
    if (name)
        admin_set_int(out->holds, name,
            json_integer_value(json_object_get(out->holds, name)) + 1);
}

/* The keys of one class: no month that ends behind `now` less the period. */
static enum err sort_class(struct admin_call *call,
    const struct retention *retention, const struct retention_class *class,
    const struct holds *holds, struct sorted_out *out)
{
    int64_t days =
        class->days > retention->lock_days ? class->days : retention->lock_days;
    int64_t now = clock_now();
    char last[CLOCK_TEXT_LENGTH];
    struct disposal_key *keys, *all;
    size_t count = 0;
    enum err err;

    clock_format(last, now - days * DAY_US);
    err = disposal_keys(
        call, STR(""), class->name, str_make(last, 7), &keys, &count);
    if (err)
        return err;
    all = ARENA_ARRAY(
        call->arena, out->expired_count + count + 1, struct disposal_key);
    if (!all)
        return FAIL(call, ERR_NOMEM, "out of memory");
    if (out->expired_count > 0)
        memcpy(all, out->expired, out->expired_count * sizeof *all);
    out->expired = all;
    for (size_t i = 0; i < count; i++)
        if (now >= retention_expiry(retention, class, keys[i].month))
            sort_one(call, holds, &keys[i], out);
    return ERR_OK;
}

/* (A key of a class that is not there is kept: none can be removed.) */
static enum err sort_out(struct admin_call *call, struct sorted_out *out)
{
    struct retention retention;
    struct holds holds;
    enum err err = retention_load(call, &retention);

    *out = (struct sorted_out){.holds = json_object()};
    if (!err)
        err = holds_load(call, &holds);
    if (!err)
        err = digest_keys_expire(call, &retention, &holds, &out->digest_keys);
    for (size_t i = 0; !err && i < retention.count; i++)
        err = sort_class(call, &retention, &retention.classes[i], &holds, out);
    return err;
}

static enum err dispose(struct admin_call *call,
    const struct disposal_key *keys, size_t count, int64_t held,
    json_t *disposals)
{
    struct disposal d = {.kind = STR("retention"),
        .subject = STR(""),
        .reason = STR("their period is over"),
        .basis = STR("retention")};
    enum err err = admin_begin(call);

    if (!err)
        err = disposal_begin(call, &d, keys, count,
            json_pack("{s:I}", "held", (json_int_t)held));
    if (!err)
        err = admin_commit(call, 0);
    if (!err)
        err = disposal_finish(call, &d);
    if (!err)
        json_array_append_new(disposals, disposal_json(&d));
    return err;
}

enum err retention_run(struct admin_call *call, json_t **out)
{
    struct sorted_out sorted;
    json_t *disposals = json_array();
    size_t resumed = 0;
    bool rotated = false;
    enum err err = disposal_resume(call, &resumed);

    if (!err)
        err = digest_key_rotate_due(call, &rotated);
    if (!err)
        err = sort_out(call, &sorted);
    else
        sorted = (struct sorted_out){.holds = json_object()};
    for (size_t at = 0; !err && at < sorted.expired_count;
         at += DISPOSAL_KEYS_MAX) {
        size_t left = sorted.expired_count - at;
        err = dispose(call, sorted.expired + at,
            left < DISPOSAL_KEYS_MAX ? left : DISPOSAL_KEYS_MAX, sorted.held,
            disposals);
    }
    if (err) {
        json_decref(disposals);
        json_decref(sorted.holds);
        return err;
    }
    *out = json_object();
    admin_set_int(*out, "destroyed", (int64_t)sorted.expired_count);
    admin_set_int(*out, "digestKeys", (int64_t)sorted.digest_keys);
    admin_set_bool(*out, "digestKeyRotated", rotated);
    admin_set_int(*out, "held", sorted.held);
    admin_set(*out, "holds", sorted.holds);
    admin_set_int(*out, "resumed", (int64_t)resumed);
    admin_set(*out, "disposals", disposals);
    return ERR_OK;
}

enum err handle_retention_run(struct admin_call *call)
{
    json_t *answer = NULL;
    enum err err = admin_read_body(call, NULL, 0, NULL);

    if (!err)
        err = retention_run(call, &answer);
    if (!err)
        err = admin_event(call, "audit.retention_run", "log", STR(""),
            json_pack("{s:I, s:I}", "destroyed",
                json_integer_value(json_object_get(answer, "destroyed")),
                "held", json_integer_value(json_object_get(answer, "held"))),
            STR(""));
    if (err) {
        json_decref(answer);
        return err;
    }
    return admin_answer(call, 200, answer);
}

/* --- What there is
 * ---------------------------------------------------------------- */

static json_t *class_json(
    const struct retention *retention, const struct retention_class *class)
{
    json_t *one = json_object();

    admin_set_text(one, "name", class->name);
    admin_set_int(one, "days", class->days);
    admin_set_int(one, "effectiveDays",
        class->days > retention->lock_days ? class->days
                                           : retention->lock_days);
    admin_set_bool(one, "exempt", class->exempt);
    return one;
}

static enum err teams_json(struct admin_call *call, json_t **out)
{
    struct db_statement *s;
    json_t *teams = json_array();
    enum err err = db_prepare(call->db,
        "SELECT team, class FROM retention_team ORDER BY team", &s,
        &call->info);

    while (!err && (err = db_step(s, &call->info)) == ERR_OK) {
        json_t *one = json_object();
        admin_set_text(one, "team", db_column_text(s, 0));
        admin_set_text(one, "class", db_column_text(s, 1));
        json_array_append_new(teams, one);
    }
    if (err != ERR_NOTFOUND) {
        json_decref(teams);
        return err;
    }
    *out = teams;
    return ERR_OK;
}

static enum err count_keys(struct admin_call *call, int64_t *count)
{
    struct db_statement *s;
    enum err err = db_prepare(call->persons,
        "SELECT count(*) FROM sealing_key WHERE length(wrapped) > 0", &s,
        &call->info);

    if (err)
        return err;
    err = db_step(s, &call->info);
    if (!err)
        *count = db_column_int(s, 0);
    db_reset(s);
    return err;
}

enum err handle_retention_show(struct admin_call *call)
{
    struct retention retention;
    json_t *answer, *classes = json_array(), *teams = NULL, *disposals = NULL;
    int64_t count = 0;
    enum err err = retention_load(call, &retention);

    for (size_t i = 0; !err && i < retention.count; i++)
        json_array_append_new(
            classes, class_json(&retention, &retention.classes[i]));
    if (!err)
        err = teams_json(call, &teams);
    if (!err)
        err = disposal_list(call, &disposals);
    if (!err)
        err = count_keys(call, &count);
    if (err) {
        json_decref(classes);
        json_decref(teams);
        json_decref(disposals);
        return err;
    }
    answer = json_object();
    admin_set(answer, "classes", classes);
    admin_set(answer, "teams", teams);
    admin_set_int(answer, "lockDays", retention.lock_days);
    admin_set_int(answer, "keys", count);
    admin_set(answer, "disposals", disposals);
    admin_set(answer, "pruned", prune_now_json(call));
    return admin_answer(call, 200, answer);
}

/* --- Classes
 * ------------------------------------------------------------------------ */

struct class_body {
    int64_t days;
    bool exempt;
    struct str profile, reason, class;
};

static enum err take_profile(struct admin_call *call, struct class_body *body)
{
    for (size_t i = 0; i < sizeof profiles / sizeof profiles[0]; i++) {
        if (!str_equal(body->profile, str_from(profiles[i].name)))
            continue;
        if (body->days == 0)
            body->days = profiles[i].days;
        if (body->days < profiles[i].days)
            return FAIL(call, ERR_INVALID,
                "days: the profile %s asks for at least %lld", profiles[i].name,
                (long long)profiles[i].days);
        body->exempt = body->exempt || profiles[i].exempt;
    }
    return ERR_OK;
}

static enum err check_class(
    struct admin_call *call, struct str name, struct class_body *body)
{
    struct retention retention;
    const struct retention_class *was;
    enum err err = take_profile(call, body);

    if (!err && !name_is_good(name))
        err = FAIL(call, ERR_INVALID, "\"%.*s\" is no name for a class",
            STR_ARG(name));
    if (!err && name.len > 64)
        err = FAIL(call, ERR_INVALID, "a class's name has at most 64 bytes");
    if (!err && body->days == 0)
        err = FAIL(call, ERR_INVALID, "days: is missing (or name a profile)");
    if (!err)
        err = retention_load(call, &retention);
    if (!err && body->days < retention.lock_days)
        err = FAIL(call, ERR_WRONG_STATE,
            "days: the retention lock keeps everything for at least %lld days, "
            "and nobody can shorten it",
            (long long)retention.lock_days);
    was = err ? NULL : retention_find(&retention, name);
    if (was && was->exempt && !body->exempt)
        err = FAIL(call, ERR_WRONG_STATE,
            "class %.*s is exempt from erasure: whoever relied on that must "
            "find it so; make another class",
            STR_ARG(name));
    return err;
}

static enum err read_class(
    struct admin_call *call, struct str name, json_t **out)
{
    struct retention retention;
    const struct retention_class *class;
    enum err err = retention_load(call, &retention);

    if (err)
        return err;
    class = retention_find(&retention, name);
    *out = class ? class_json(&retention, class) : NULL;
    return ERR_OK;
}

enum err handle_retention_class_put(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"days", FIELD_INT, false, AT(days), 1, 36500, NULL},
        {"exempt", FIELD_BOOL, false, AT(exempt), 0, 0, NULL},
        {"profile", FIELD_WORD, false, AT(profile), 0, 0, PROFILE_WORDS},
        {"reason", FIELD_TEXT, false, AT(reason), 0, 1000, NULL},
    };
    struct class_body body = {.profile = STR(""), .reason = STR("")};
    struct str name = call->params[0];
    struct db_statement *s;
    json_t *before = NULL, *after = NULL;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = check_class(call, name, &body);
    if (!err)
        err = read_class(call, name, &before);
    if (!err)
        err = admin_begin(call);
    if (!err)
        err = db_prepare(call->db,
            "INSERT INTO retention_class (name, days, exempt, created) VALUES "
            "(?1, ?2, ?3, ?4) ON CONFLICT (name) DO UPDATE SET days = ?2, "
            "exempt = ?3",
            &s, &call->info);
    if (!err) {
        db_bind_text(s, 1, name);
        db_bind_int(s, 2, body.days);
        db_bind_int(s, 3, body.exempt);
        db_bind_int(s, 4, clock_now());
        err = db_run(s, &call->info);
    }
    if (!err)
        err = read_class(call, name, &after);
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(call, "admin.retention_class.set", "retention_class",
        name, before, json_incref(after), NULL, body.reason);
    if (!err)
        err = admin_commit(call, CHANGED_SETTINGS);
    if (err) {
        json_decref(after);
        return err;
    }
    return admin_answer(call, 200, after);
}

/* --- Teams
 * ------------------------------------------------------------------------- */

static enum err class_of_team(
    struct admin_call *call, struct str team, json_t **out)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT class FROM retention_team WHERE team = ?1", &s, &call->info);

    *out = NULL;
    if (err)
        return err;
    db_bind_text(s, 1, team);
    err = db_step(s, &call->info);
    if (err == ERR_OK) {
        *out = json_object();
        admin_set_text(*out, "team", team);
        admin_set_text(*out, "class", db_column_text(s, 0));
    }
    db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err need_class(struct admin_call *call, struct str name)
{
    return admin_need(call, call->db, "retention class",
        "SELECT 1 FROM retention_class WHERE name = ?1",
        "SELECT name FROM retention_class", name);
}

enum err handle_retention_team_put(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"class", FIELD_NAME, true, AT(class), 0, 0, NULL},
        {"reason", FIELD_TEXT, false, AT(reason), 0, 1000, NULL},
    };
    struct class_body body = {.reason = STR("")};
    struct str team = call->params[0];
    struct db_statement *s;
    json_t *before = NULL, *after = NULL;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = admin_need_team(call, team);
    if (!err)
        err = need_class(call, body.class);
    if (!err)
        err = class_of_team(call, team, &before);
    if (!err)
        err = admin_begin(call);
    if (!err)
        err = db_prepare(call->db,
            "INSERT INTO retention_team (team, class) VALUES (?1, ?2) "
            "ON CONFLICT (team) DO UPDATE SET class = ?2",
            &s, &call->info);
    if (!err) {
        db_bind_text(s, 1, team);
        db_bind_text(s, 2, body.class);
        err = db_run(s, &call->info);
    }
    if (!err)
        err = class_of_team(call, team, &after);
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(call, "admin.retention_team.set", "team", team, before,
        json_incref(after), NULL, body.reason);
    if (!err)
        err = admin_commit(call, CHANGED_SETTINGS);
    if (err) {
        json_decref(after);
        return err;
    }
    return admin_answer(call, 200, after);
}

enum err handle_retention_team_remove(struct admin_call *call)
{
    struct str team = call->params[0];
    struct db_statement *s;
    json_t *before = NULL;
    enum err err = class_of_team(call, team, &before);

    if (!err && !before)
        err = FAIL(call, ERR_NOTFOUND,
            "team \"%.*s\" has no retention class of its own", STR_ARG(team));
    if (!err)
        err = admin_begin(call);
    if (!err)
        err = db_prepare(call->db, "DELETE FROM retention_team WHERE team = ?1",
            &s, &call->info);
    if (!err) {
        db_bind_text(s, 1, team);
        err = db_run(s, &call->info);
    }
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(call, "admin.retention_team.removed", "team", team,
        before, NULL, NULL, STR(""));
    if (!err)
        err = admin_commit(call, CHANGED_SETTINGS);
    return err ? err
               : admin_answer(call, 200, json_pack("{s:b}", "removed", 1));
}

/* --- The lock
 * ------------------------------------------------------------------------ */

enum err handle_retention_lock(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"days", FIELD_INT, true, AT(days), 1, 36500, NULL},
        {"reason", FIELD_TEXT, false, AT(reason), 0, 1000, NULL},
    };
    struct class_body body = {.reason = STR("")};
    struct retention retention;
    struct db_statement *s;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = retention_load(call, &retention);
    if (!err && body.days <= retention.lock_days)
        err = FAIL(call, ERR_WRONG_STATE,
            "the retention lock is at %lld days; it can be raised, and by "
            "nobody lowered",
            (long long)retention.lock_days);
    if (err || (err = admin_begin(call)))
        return err;
    err = db_prepare(call->db,
        "INSERT INTO retention_lock (id, days, since) VALUES (1, ?1, ?2) "
        "ON CONFLICT (id) DO UPDATE SET days = ?1, since = ?2",
        &s, &call->info);
    if (err)
        return err;
    db_bind_int(s, 1, body.days);
    db_bind_int(s, 2, clock_now());
    err = db_run(s, &call->info);
    if (!err)
        err = admin_record(call, "admin.retention_lock.raised",
            "retention_lock", STR("lock"),
            json_pack("{s:I}", "days", (json_int_t)retention.lock_days),
            json_pack("{s:I}", "days", (json_int_t)body.days), NULL,
            body.reason);
    if (!err)
        err = admin_commit(call, CHANGED_SETTINGS);
    return err ? err
               : admin_answer(call, 200,
                     json_pack("{s:I}", "days", (json_int_t)body.days));
}
