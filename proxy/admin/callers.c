/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/callers.c - callers: opaque ids, handles and names in
 * persons.db, teams, in force or not. Events carry the id only. */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"
#include "proxy/secret.h"

static json_t *teams_of(struct admin_call *call, struct str id)
{
    struct db_statement *s;
    json_t *teams = json_array();

    if (db_prepare(call->db,
            "SELECT team FROM caller_team WHERE caller = ?1 ORDER BY team", &s,
            &call->info) != ERR_OK)
        return teams;
    db_bind_text(s, 1, id);
    while (db_step(s, &call->info) == ERR_OK)
        json_array_append_new(teams, admin_text(db_column_text(s, 0)));
    db_reset(s);
    return teams;
}

static json_t *caller_json(struct admin_call *call, struct db_statement *s)
{
    json_t *caller = json_object();
    struct str id = admin_column(call, s, 0);
    struct db_statement *person;

    admin_set_text(caller, "id", id);
    admin_set(caller, "handle", json_null());
    admin_set_text(caller, "name", STR(""));
    if (db_prepare(call->persons,
            "SELECT handle, name FROM person WHERE id = ?1", &person,
            &call->info) == ERR_OK) {
        db_bind_text(person, 1, id);
        if (db_step(person, &call->info) == ERR_OK) {
            admin_set_text(caller, "handle", db_column_text(person, 0));
            admin_set_text(caller, "name", db_column_text(person, 1));
        }
        db_reset(person);
    }
    admin_set_text(caller, "kind", db_column_text(s, 1));
    admin_set_bool(caller, "disabled", db_column_int(s, 2) != 0);
    admin_set(caller, "teams", teams_of(call, id));
    admin_set_int(caller, "keys", db_column_int(s, 4));
    admin_set_time(caller, "created", db_column_int(s, 3));
    admin_set_text(caller, "issuer", db_column_text(s, 5));
    return caller;
}

#define CALLER_COLUMNS                                                         \
    "SELECT id, kind, disabled, created, (SELECT count(*) FROM api_key "       \
    "WHERE caller = caller.id AND revoked IS NULL), issuer FROM caller "

struct caller_filter {
    struct str team;
};

enum err handle_caller_list(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"team", FIELD_NAME, false, offsetof(struct caller_filter, team), 0, 0,
            NULL},
    };
    struct caller_filter filter = {.team = STR("")};
    struct db_statement *s;
    json_t *items;
    enum err err = admin_read_query(call, fields, FIELD_COUNT(fields), &filter);

    if (!err && filter.team.len > 0)
        err = admin_need_team(call, filter.team);
    if (!err)
        err = db_prepare(call->db,
            CALLER_COLUMNS "WHERE ?1 = '' OR id IN (SELECT caller FROM "
                           "caller_team WHERE team = ?1) ORDER BY created, id",
            &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, filter.team);
    items = json_array();
    while ((err = db_step(s, &call->info)) == ERR_OK)
        json_array_append_new(items, caller_json(call, s));
    if (err == ERR_NOTFOUND)
        return admin_answer_list(call, items);
    json_decref(items);
    return err;
}

static enum err read_caller(
    struct admin_call *call, struct str id, json_t **out)
{
    struct db_statement *s;
    enum err err =
        db_prepare(call->db, CALLER_COLUMNS "WHERE id = ?1", &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, id);
    err = db_step(s, &call->info);
    if (!err)
        *out = caller_json(call, s);
    db_reset(s);
    return err;
}

enum err handle_caller_show(struct admin_call *call)
{
    struct str id;
    json_t *caller;
    enum err err = admin_resolve_person(call, "cal_", call->params[0], &id);

    if (!err)
        err = read_caller(call, id, &caller);
    return err ? err : admin_answer(call, 200, caller);
}

/* --- Adding and changing --------------------------------------------- */

static enum err join_team(
    struct admin_call *call, struct str id, struct str team)
{
    struct db_statement *s;
    enum err err = admin_need_team(call, team);

    if (!err)
        err = db_prepare(call->db,
            "INSERT OR IGNORE INTO caller_team (caller, team) VALUES (?1, ?2)",
            &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, id);
    db_bind_text(s, 2, team);
    return db_run(s, &call->info);
}

/* What the log may say of a caller: no handle, no name. */
static json_t *caller_event(
    struct admin_call *call, struct str id, struct str kind, bool disabled)
{
    json_t *caller = json_object();

    admin_set_text(caller, "kind", kind);
    admin_set_bool(caller, "disabled", disabled);
    admin_set(caller, "teams", teams_of(call, id));
    return caller;
}

enum err admin_add_caller(struct admin_call *call,
    const struct admin_new_caller *caller, struct str *out)
{
    struct db_statement *s;
    char text[ID_LENGTH + 1];
    struct str id;
    enum err err = id_make("cal_", text, &call->info);

    if (err)
        return err;
    id = arena_copy(call->arena, str_from(text));
    if (!id.ptr)
        return ERR_NOMEM;
    err = admin_add_person(call, id, caller->handle, caller->name);
    if (!err)
        err = db_prepare(call->db,
            "INSERT INTO caller (id, kind, created) VALUES (?1, ?2, ?3)", &s,
            &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, id);
    db_bind_text(s, 2, caller->kind);
    db_bind_int(s, 3, clock_now());
    err = db_run(s, &call->info);
    for (size_t i = 0; i < caller->teams.count && !err; i++)
        err = join_team(call, id, caller->teams.items[i]);
    if (!err)
        err = admin_record(call, "admin.caller.added", "caller", id, NULL,
            caller_event(call, id, caller->kind, false), NULL, STR(""));
    if (!err)
        *out = id;
    return err;
}

enum err handle_caller_add(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"handle", FIELD_NAME, true, offsetof(struct admin_new_caller, handle),
            0, 0, NULL},
        {"name", FIELD_TEXT, false, offsetof(struct admin_new_caller, name), 0,
            200, NULL},
        {"kind", FIELD_WORD, false, offsetof(struct admin_new_caller, kind), 0,
            0, "person service"},
        {"teams", FIELD_NAMES, false, offsetof(struct admin_new_caller, teams),
            0, 0, NULL},
    };
    struct admin_new_caller body = {.name = STR(""), .kind = STR("person")};
    struct str id;
    json_t *caller;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (err || (err = admin_begin(call)))
        return err;
    err = admin_add_caller(call, &body, &id);
    if (err || (err = admin_commit(call, CHANGED_DIRECTORY)))
        return err;
    err = read_caller(call, id, &caller);
    return err ? err : admin_answer(call, 201, caller);
}

struct caller_change {
    struct admin_names join, leave;
    struct str reason;
};

static enum err leave_team(
    struct admin_call *call, struct str id, struct str team)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "DELETE FROM caller_team WHERE caller = ?1 AND team = ?2", &s,
        &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, id);
    db_bind_text(s, 2, team);
    err = db_run(s, &call->info);
    if (!err && db_changes(call->db) == 0)
        return FAIL(call, ERR_NOTFOUND, "the caller is not in team \"%.*s\"",
            STR_ARG(team));
    return err;
}

static enum err read_state(
    struct admin_call *call, struct str id, struct str *kind, bool *disabled)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT kind, disabled FROM caller WHERE id = ?1", &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, id);
    err = db_step(s, &call->info);
    if (!err) {
        *kind = admin_column(call, s, 0);
        *disabled = db_column_int(s, 1) != 0;
    }
    db_reset(s);
    return err;
}

enum err handle_caller_change(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"join", FIELD_NAMES, false, offsetof(struct caller_change, join), 0, 0,
            NULL},
        {"leave", FIELD_NAMES, false, offsetof(struct caller_change, leave), 0,
            0, NULL},
        {"reason", FIELD_TEXT, false, offsetof(struct caller_change, reason), 0,
            1000, NULL},
    };
    struct caller_change body = {.reason = STR("")};
    struct str id, kind;
    bool disabled;
    json_t *before = NULL, *caller;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err && body.join.count + body.leave.count == 0)
        err = FAIL(call, ERR_INVALID,
            "nothing would change: name teams to join or to leave");
    if (!err)
        err = admin_resolve_person(call, "cal_", call->params[0], &id);
    if (err || (err = admin_begin(call)))
        return err;
    err = read_state(call, id, &kind, &disabled);
    if (err)
        return err;
    before = caller_event(call, id, kind, disabled);
    for (size_t i = 0; i < body.join.count && !err; i++)
        err = join_team(call, id, body.join.items[i]);
    for (size_t i = 0; i < body.leave.count && !err; i++)
        err = leave_team(call, id, body.leave.items[i]);
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(call, "admin.caller.changed", "caller", id, before,
        caller_event(call, id, kind, disabled), NULL, body.reason);
    if (err || (err = admin_commit(call, CHANGED_DIRECTORY)))
        return err;
    err = read_caller(call, id, &caller);
    return err ? err : admin_answer(call, 200, caller);
}

/* Nothing can be sealed for them any more, so nothing can pass. */
static enum err refuse_erased(struct admin_call *call, struct str id)
{
    bool erased = false;
    enum err err = admin_exists(call, call->db,
        "SELECT 1 FROM disposal WHERE kind = 'erasure' AND subject = ?1", id,
        &erased);

    if (!err && erased)
        return FAIL(call, ERR_WRONG_STATE,
            "the person was erased and stays disabled; add a new caller");
    return err;
}

static enum err set_disabled(struct admin_call *call, bool disabled)
{
    static const struct admin_field fields[] = {
        {"reason", FIELD_TEXT, false, offsetof(struct caller_change, reason), 0,
            1000, NULL},
    };
    struct caller_change body = {.reason = STR("")};
    struct db_statement *s;
    struct str id, kind;
    bool was;
    json_t *caller;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = admin_resolve_person(call, "cal_", call->params[0], &id);
    if (err || (err = admin_begin(call)))
        return err;
    err = read_state(call, id, &kind, &was);
    if (!err && !disabled)
        err = refuse_erased(call, id);
    if (!err && was == disabled)
        err = FAIL(call, ERR_WRONG_STATE, "the caller is %s already",
            disabled ? "disabled" : "enabled");
    if (!err)
        err = db_prepare(call->db,
            "UPDATE caller SET disabled = ?2 WHERE id = ?1", &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, id);
    db_bind_int(s, 2, disabled);
    err = db_run(s, &call->info);
    if (!err)
        err = admin_record(call,
            disabled ? "admin.caller.disabled" : "admin.caller.enabled",
            "caller", id, caller_event(call, id, kind, was),
            caller_event(call, id, kind, disabled), NULL, body.reason);
    if (err || (err = admin_commit(call, CHANGED_DIRECTORY)))
        return err;
    err = read_caller(call, id, &caller);
    return err ? err : admin_answer(call, 200, caller);
}

enum err handle_caller_disable(struct admin_call *call)
{
    return set_disabled(call, true);
}

enum err handle_caller_enable(struct admin_call *call)
{
    return set_disabled(call, false);
}
