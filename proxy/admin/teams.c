/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/teams.c - teams: Team::"name", nested, names immutable. */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"

#define TEAM_DEPTH_MAX 32

static json_t *team_json(struct admin_call *call, struct db_statement *s)
{
    json_t *team = json_object();

    admin_set_text(team, "name", db_column_text(s, 0));
    if (db_column_is_null(s, 1))
        admin_set(team, "parent", json_null());
    else
        admin_set_text(team, "parent", db_column_text(s, 1));
    admin_set_text(team, "title", db_column_text(s, 2));
    admin_set_time(team, "created", db_column_int(s, 3));
    admin_set_int(team, "callers", db_column_int(s, 4));
    if (db_column_is_null(s, 5))
        admin_set(team, "weight", json_null());
    else
        admin_set_int(team, "weight", db_column_int(s, 5));
    return team;
}

#define TEAM_COLUMNS                                                           \
    "SELECT name, parent, title, created, "                                    \
    "(SELECT count(*) FROM caller_team WHERE team = name), "                   \
    "(SELECT weight FROM team_weight WHERE team = name) FROM team "

enum err handle_team_list(struct admin_call *call)
{
    return admin_answer_rows(call, TEAM_COLUMNS "ORDER BY name", team_json);
}

static enum err read_team(
    struct admin_call *call, struct str name, json_t **out)
{
    struct db_statement *s;
    enum err err = admin_need_team(call, name);

    if (!err)
        err = db_prepare(
            call->db, TEAM_COLUMNS "WHERE name = ?1", &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, name);
    err = db_step(s, &call->info);
    if (!err)
        *out = team_json(call, s);
    db_reset(s);
    return err;
}

enum err handle_team_show(struct admin_call *call)
{
    json_t *team;
    enum err err = read_team(call, call->params[0], &team);

    return err ? err : admin_answer(call, 200, team);
}

/* How deep `name` stands below the top; refuses a chain that is too long. */
static enum err check_depth(struct admin_call *call, struct str parent)
{
    struct db_statement *s;
    int64_t depth = 0;
    enum err err = db_prepare(call->db,
        "WITH RECURSIVE up (name, depth) AS (SELECT ?1, 1 UNION ALL "
        "SELECT team.parent, depth + 1 FROM team JOIN up ON team.name = "
        "up.name WHERE team.parent IS NOT NULL AND depth < 100) "
        "SELECT max(depth) FROM up",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, parent);
    err = db_step(s, &call->info);
    if (!err)
        depth = db_column_int(s, 0);
    db_reset(s);
    if (!err && depth >= TEAM_DEPTH_MAX)
        return FAIL(call, ERR_LIMIT,
            "\"%.*s\" stands %d teams deep already; no team may stand deeper",
            STR_ARG(parent), TEAM_DEPTH_MAX);
    return err;
}

enum err admin_add_team(struct admin_call *call, struct str name,
    struct str parent, struct str title)
{
    struct db_statement *s;
    json_t *after;
    enum err err = ERR_OK;

    if (parent.len > 0) {
        err = admin_need_team(call, parent);
        if (!err)
            err = check_depth(call, parent);
    }
    if (!err)
        err = db_prepare(call->db,
            "INSERT INTO team (name, parent, title, created) "
            "VALUES (?1, ?2, ?3, ?4)",
            &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, name);
    if (parent.len > 0)
        db_bind_text(s, 2, parent);
    else
        db_bind_null(s, 2);
    db_bind_text(s, 3, title);
    db_bind_int(s, 4, clock_now());
    err = db_run(s, &call->info);
    if (err == ERR_EXISTS)
        return FAIL(call, ERR_EXISTS, "there is a team \"%.*s\" already",
            STR_ARG(name));
    if (err)
        return err;
    after = json_object();
    admin_set_text(after, "name", name);
    admin_set_text(after, "parent", parent);
    admin_set_text(after, "title", title);
    return admin_record(
        call, "admin.team.added", "team", name, NULL, after, NULL, STR(""));
}

struct team_body {
    struct str name, parent, title, reason;
};

enum err handle_team_add(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"name", FIELD_NAME, true, offsetof(struct team_body, name), 0, 0,
            NULL},
        {"parent", FIELD_NAME, false, offsetof(struct team_body, parent), 0, 0,
            NULL},
        {"title", FIELD_TEXT, false, offsetof(struct team_body, title), 0, 200,
            NULL},
    };
    struct team_body body = {.title = STR("")};
    json_t *team;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (err || (err = admin_begin(call)))
        return err;
    err = admin_add_team(call, body.name, body.parent, body.title);
    if (err || (err = admin_commit(call, CHANGED_DIRECTORY)))
        return err;
    err = read_team(call, body.name, &team);
    return err ? err : admin_answer(call, 201, team);
}

struct weight_body {
    int64_t weight;
};

/* 0: none of its own */
static enum err write_weight(
    struct admin_call *call, struct str team, int64_t weight)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        weight > 0 ? "INSERT INTO team_weight (team, weight) VALUES (?1, ?2) "
                     "ON CONFLICT (team) DO UPDATE SET weight = ?2"
                   : "DELETE FROM team_weight WHERE team = ?1",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, team);
    if (weight > 0)
        db_bind_int(s, 2, weight);
    return db_run(s, &call->info);
}

static json_t *weight_event(const json_t *team)
{
    json_t *event = json_object();

    admin_set(event, "weight", json_incref(json_object_get(team, "weight")));
    return event;
}

enum err handle_team_weight(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"weight", FIELD_INT, true, offsetof(struct weight_body, weight), 0,
            1000, NULL},
    };
    struct weight_body body = {0};
    struct str name = call->params[0];
    json_t *before = NULL, *after = NULL;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (err || (err = admin_begin(call)))
        return err;
    err = read_team(call, name, &before);
    if (!err)
        err = write_weight(call, name, body.weight);
    if (!err)
        err = read_team(call, name, &after);
    if (!err)
        err = admin_record(call, "admin.team.weighted", "team", name,
            weight_event(before), weight_event(after), NULL, STR(""));
    json_decref(before);
    if (!err)
        err = admin_commit(call, CHANGED_DIRECTORY);
    if (err) {
        json_decref(after);
        return err;
    }
    return admin_answer(call, 200, after);
}

enum err handle_team_remove(struct admin_call *call)
{
    struct str name = call->params[0];
    struct db_statement *s;
    json_t *before = NULL;
    bool used;
    enum err err = admin_begin(call);

    if (!err)
        err = read_team(call, name, &before);
    if (err)
        return err;
    err = admin_refuse_if_named(call, "Team", name);
    if (!err)
        err = admin_exists(call, call->db,
            "SELECT 1 FROM quota WHERE scope = 'team' AND subject = ?1", name,
            &used);
    if (!err && used)
        err = FAIL(call, ERR_WRONG_STATE,
            "team \"%.*s\" has quotas; remove those first (bailiff quota "
            "list --team %.*s)",
            STR_ARG(name), STR_ARG(name));
    if (!err)
        err = admin_exists(call, call->db,
            "SELECT 1 FROM issuer_group WHERE team = ?1", name, &used);
    if (!err && used)
        err = FAIL(call, ERR_WRONG_STATE,
            "groups of an issuer stand for the team \"%.*s\"; unmap those "
            "first (bailiff issuer list, issuer unmap-group)",
            STR_ARG(name));
    if (!err)
        err = admin_exists(call, call->db,
            "SELECT 1 FROM issuer WHERE just_in_time_team = ?1", name, &used);
    if (!err && used)
        err = FAIL(call, ERR_WRONG_STATE,
            "callers that an issuer makes just in time join the team \"%.*s\"; "
            "choose another first (bailiff issuer list, issuer set --team)",
            STR_ARG(name));
    if (!err)
        err = db_prepare(
            call->db, "DELETE FROM team WHERE name = ?1", &s, &call->info);
    if (!err) {
        db_bind_text(s, 1, name);
        err = db_run(s, &call->info);
        if (err == ERR_WRONG_STATE)
            err = FAIL(call, ERR_WRONG_STATE,
                "team \"%.*s\" still has callers or teams in it; take them "
                "out first",
                STR_ARG(name));
    }
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(
        call, "admin.team.removed", "team", name, before, NULL, NULL, STR(""));
    if (!err)
        err = admin_commit(call, CHANGED_DIRECTORY);
    return err ? err
               : admin_answer(call, 200, json_pack("{s:b}", "removed", 1));
}
