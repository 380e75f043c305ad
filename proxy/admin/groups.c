/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/groups.c - groups of models: ModelGroup::"name". */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"

enum err admin_need_group(struct admin_call *call, struct str name)
{
    return admin_need(call, call->db, "model group",
        "SELECT 1 FROM model_group WHERE name = ?1",
        "SELECT name FROM model_group", name);
}

static enum err read_group(
    struct admin_call *call, struct str name, json_t **out)
{
    struct db_statement *s;
    json_t *group, *models;
    enum err err = admin_need_group(call, name);

    if (!err)
        err = db_prepare(call->db,
            "SELECT model FROM model_group_member WHERE model_group = ?1 "
            "ORDER BY model",
            &s, &call->info);
    if (err)
        return err;
    models = json_array();
    db_bind_text(s, 1, name);
    while ((err = db_step(s, &call->info)) == ERR_OK)
        json_array_append_new(models, admin_text(db_column_text(s, 0)));
    if (err != ERR_NOTFOUND) {
        json_decref(models);
        return err;
    }
    group = json_object();
    admin_set_text(group, "name", name);
    admin_set(group, "models", models);
    *out = group;
    return ERR_OK;
}

enum err handle_group_list(struct admin_call *call)
{
    struct db_statement *s;
    json_t *items = json_array(), *group;
    enum err err = db_prepare(call->db,
        "SELECT name FROM model_group ORDER BY name", &s, &call->info);

    while (!err && (err = db_step(s, &call->info)) == ERR_OK) {
        err = read_group(call, admin_column(call, s, 0), &group);
        if (!err)
            json_array_append_new(items, group);
    }
    if (err == ERR_NOTFOUND)
        return admin_answer_list(call, items);
    json_decref(items);
    return err;
}

static enum err finish_change(struct admin_call *call, const char *type,
    struct str name, json_t *before, int status)
{
    json_t *after = NULL;
    enum err err = read_group(call, name, &after);

    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(call, type, "model_group", name, before,
        json_incref(after), NULL, STR(""));
    if (!err)
        err = admin_commit(call, CHANGED_MODELS);
    if (err) {
        json_decref(after);
        return err;
    }
    return admin_answer(call, status, after);
}

static enum err add_member(
    struct admin_call *call, struct str group, struct str model)
{
    struct db_statement *s;
    enum err err = admin_need_model(call, model);

    if (!err)
        err = db_prepare(call->db,
            "INSERT OR IGNORE INTO model_group_member (model_group, model) "
            "VALUES (?1, ?2)",
            &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, group);
    db_bind_text(s, 2, model);
    return db_run(s, &call->info);
}

struct group_body {
    struct str name;
    struct admin_names models;
};

enum err handle_group_add(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"name", FIELD_NAME, true, offsetof(struct group_body, name), 0, 0,
            NULL},
        {"models", FIELD_NAMES, false, offsetof(struct group_body, models), 0,
            0, NULL},
    };
    struct group_body body = {.name = STR("")};
    struct db_statement *s;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (err || (err = admin_begin(call)))
        return err;
    err = db_prepare(call->db,
        "INSERT INTO model_group (name, created) VALUES (?1, ?2)", &s,
        &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, body.name);
    db_bind_int(s, 2, clock_now());
    err = db_run(s, &call->info);
    if (err == ERR_EXISTS)
        err = FAIL(call, ERR_EXISTS, "there is a model group \"%.*s\" already",
            STR_ARG(body.name));
    for (size_t i = 0; i < body.models.count && !err; i++)
        err = add_member(call, body.name, body.models.items[i]);
    return err ? err
               : finish_change(
                     call, "admin.model_group.added", body.name, NULL, 201);
}

enum err handle_group_remove(struct admin_call *call)
{
    struct str name = call->params[0];
    struct db_statement *s;
    json_t *before = NULL;
    bool used;
    enum err err = admin_begin(call);

    if (!err)
        err = read_group(call, name, &before);
    if (err)
        return err;
    err = admin_refuse_if_named(call, "ModelGroup", name);
    if (!err)
        err = admin_exists(call, call->db,
            "SELECT 1 FROM quota WHERE model_group = ?1", name, &used);
    if (!err && used)
        err = FAIL(call, ERR_WRONG_STATE,
            "model group \"%.*s\" has quotas; remove those first (bailiff "
            "quota list)",
            STR_ARG(name));
    if (!err)
        err = db_prepare(call->db, "DELETE FROM model_group WHERE name = ?1",
            &s, &call->info);
    if (!err) {
        db_bind_text(s, 1, name);
        err = db_run(s, &call->info);
    }
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(call, "admin.model_group.removed", "model_group", name,
        before, NULL, NULL, STR(""));
    if (!err)
        err = admin_commit(call, CHANGED_MODELS);
    return err ? err
               : admin_answer(call, 200, json_pack("{s:b}", "removed", 1));
}

struct member_body {
    struct str model;
};

enum err handle_member_add(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"model", FIELD_NAME, true, offsetof(struct member_body, model), 0, 0,
            NULL},
    };
    struct member_body body = {.model = STR("")};
    json_t *before;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (err || (err = admin_begin(call)))
        return err;
    err = read_group(call, call->params[0], &before);
    if (err)
        return err;
    err = add_member(call, call->params[0], body.model);
    if (err) {
        json_decref(before);
        return err;
    }
    return finish_change(
        call, "admin.model_group.changed", call->params[0], before, 201);
}

enum err handle_member_remove(struct admin_call *call)
{
    struct db_statement *s;
    json_t *before;
    enum err err = admin_begin(call);

    if (!err)
        err = read_group(call, call->params[0], &before);
    if (err)
        return err;
    err = db_prepare(call->db,
        "DELETE FROM model_group_member WHERE model_group = ?1 AND model = ?2",
        &s, &call->info);
    if (!err) {
        db_bind_text(s, 1, call->params[0]);
        db_bind_text(s, 2, call->params[1]);
        err = db_run(s, &call->info);
    }
    if (!err && db_changes(call->db) == 0)
        err = FAIL(call, ERR_NOTFOUND, "\"%.*s\" is not in that group",
            STR_ARG(call->params[1]));
    if (err) {
        json_decref(before);
        return err;
    }
    return finish_change(
        call, "admin.model_group.changed", call->params[0], before, 200);
}
