/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/models.c - the model register: Model::"name", its status, its
 * aliases, and the engines where it runs. Groups are in groups.c. */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"

#define MODEL_COLUMNS                                                          \
    "SELECT name, version, owner, licence, risk_class, region, status, "       \
    "default_max_tokens, template_tokens, message_tokens, created FROM model "

/* Texts of one column for a model. */
static json_t *texts_of(
    struct admin_call *call, const char *sql, struct str model)
{
    struct db_statement *s;
    json_t *texts = json_array();

    if (db_prepare(call->db, sql, &s, &call->info) != ERR_OK)
        return texts;
    db_bind_text(s, 1, model);
    while (db_step(s, &call->info) == ERR_OK)
        json_array_append_new(texts, admin_text(db_column_text(s, 0)));
    db_reset(s);
    return texts;
}

static json_t *targets_of(struct admin_call *call, struct str model)
{
    struct db_statement *s;
    json_t *targets = json_array();

    if (db_prepare(call->db,
            "SELECT engine, upstream, priority FROM model_target "
            "WHERE model = ?1 ORDER BY priority, engine, upstream",
            &s, &call->info) != ERR_OK)
        return targets;
    db_bind_text(s, 1, model);
    while (db_step(s, &call->info) == ERR_OK) {
        json_t *target = json_object();
        admin_set_text(target, "engine", db_column_text(s, 0));
        admin_set_text(target, "upstream", db_column_text(s, 1));
        admin_set_int(target, "priority", db_column_int(s, 2));
        json_array_append_new(targets, target);
    }
    db_reset(s);
    return targets;
}

static json_t *model_json(struct admin_call *call, struct db_statement *s)
{
    json_t *model = json_object();
    struct str name = admin_column(call, s, 0);

    admin_set_text(model, "name", name);
    admin_set_text(model, "version", db_column_text(s, 1));
    admin_set_text(model, "owner", db_column_text(s, 2));
    admin_set_text(model, "licence", db_column_text(s, 3));
    admin_set_text(model, "riskClass", db_column_text(s, 4));
    admin_set_text(model, "region", db_column_text(s, 5));
    admin_set_text(model, "status", db_column_text(s, 6));
    admin_set_int(model, "defaultMaxTokens", db_column_int(s, 7));
    admin_set_int(model, "templateTokens", db_column_int(s, 8));
    admin_set_int(model, "messageTokens", db_column_int(s, 9));
    admin_set(model, "aliases",
        texts_of(call,
            "SELECT alias FROM model_alias WHERE model = ?1 ORDER BY alias",
            name));
    admin_set(model, "groups",
        texts_of(call,
            "SELECT model_group FROM model_group_member WHERE model = ?1 "
            "ORDER BY model_group",
            name));
    admin_set(model, "targets", targets_of(call, name));
    admin_set_time(model, "created", db_column_int(s, 10));
    return model;
}

enum err handle_model_list(struct admin_call *call)
{
    return admin_answer_rows(call, MODEL_COLUMNS "ORDER BY name", model_json);
}

static enum err read_model(
    struct admin_call *call, struct str name, json_t **out)
{
    struct db_statement *s;
    enum err err = admin_need_model(call, name);

    if (!err)
        err = db_prepare(
            call->db, MODEL_COLUMNS "WHERE name = ?1", &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, name);
    err = db_step(s, &call->info);
    if (!err)
        *out = model_json(call, s);
    db_reset(s);
    return err;
}

enum err handle_model_show(struct admin_call *call)
{
    struct str name;
    json_t *model;
    enum err err = admin_resolve_model(call, call->params[0], &name);

    if (!err)
        err = read_model(call, name, &model);
    return err ? err : admin_answer(call, 200, model);
}

/* Records the difference, commits, answers with the model as it is now. */
static enum err finish_change(struct admin_call *call, const char *type,
    struct str name, json_t *before, struct str reason, int status)
{
    json_t *after = NULL;
    enum err err = read_model(call, name, &after);

    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(
        call, type, "model", name, before, json_incref(after), NULL, reason);
    if (!err)
        err = admin_commit(call, CHANGED_MODELS);
    if (err) {
        json_decref(after);
        return err;
    }
    return admin_answer(call, status, after);
}

/* --- Adding ---------------------------------------------------------- */

struct model_body {
    struct str name, version, owner, licence, risk_class, region, status;
    struct str engine, upstream, reason;
    struct admin_names aliases, groups;
    int64_t default_max_tokens, template_tokens, message_tokens;
};

static enum err add_target(struct admin_call *call, struct str model,
    struct str engine, struct str upstream, int64_t priority)
{
    struct db_statement *s;
    enum err err = admin_need_engine(call, engine);

    if (!err)
        err = db_prepare(call->db,
            "INSERT INTO model_target (model, engine, upstream, priority) "
            "VALUES (?1, ?2, ?3, ?4) ON CONFLICT (model, engine, upstream) "
            "DO UPDATE SET priority = excluded.priority",
            &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, model);
    db_bind_text(s, 2, engine);
    db_bind_text(s, 3, upstream.len > 0 ? upstream : model);
    db_bind_int(s, 4, priority);
    return db_run(s, &call->info);
}

static enum err add_alias(
    struct admin_call *call, struct str model, struct str alias)
{
    struct db_statement *s;
    bool taken;
    enum err err = admin_exists(
        call, call->db, "SELECT 1 FROM model WHERE name = ?1", alias, &taken);

    if (!err && taken)
        return FAIL(call, ERR_EXISTS,
            "\"%.*s\" is the name of a model; an alias must be another word",
            STR_ARG(alias));
    if (!err)
        err = db_prepare(call->db,
            "INSERT INTO model_alias (alias, model) VALUES (?1, ?2)", &s,
            &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, alias);
    db_bind_text(s, 2, model);
    err = db_run(s, &call->info);
    if (err == ERR_EXISTS)
        return FAIL(call, ERR_EXISTS,
            "\"%.*s\" is an alias already; remove it first to point it "
            "elsewhere",
            STR_ARG(alias));
    return err;
}

static enum err join_group(
    struct admin_call *call, struct str model, struct str group)
{
    struct db_statement *s;
    enum err err = admin_need(call, call->db, "model group",
        "SELECT 1 FROM model_group WHERE name = ?1",
        "SELECT name FROM model_group", group);

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

static enum err insert_model(
    struct admin_call *call, const struct model_body *body)
{
    struct db_statement *s;
    bool taken;
    enum err err = admin_exists(call, call->db,
        "SELECT 1 FROM model_alias WHERE alias = ?1", body->name, &taken);

    if (!err && taken)
        return FAIL(call, ERR_EXISTS,
            "\"%.*s\" is an alias of another model; remove that first",
            STR_ARG(body->name));
    if (!err)
        err = db_prepare(call->db,
            "INSERT INTO model (name, version, owner, licence, risk_class, "
            "region, status, default_max_tokens, template_tokens, "
            "message_tokens, created) VALUES "
            "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, body->name);
    db_bind_text(s, 2, body->version);
    db_bind_text(s, 3, body->owner);
    db_bind_text(s, 4, body->licence);
    db_bind_text(s, 5, body->risk_class);
    db_bind_text(s, 6, body->region);
    db_bind_text(s, 7, body->status);
    db_bind_int(s, 8, body->default_max_tokens);
    db_bind_int(s, 9, body->template_tokens);
    db_bind_int(s, 10, body->message_tokens);
    db_bind_int(s, 11, clock_now());
    err = db_run(s, &call->info);
    if (err == ERR_EXISTS)
        return FAIL(call, ERR_EXISTS, "there is a model \"%.*s\" already",
            STR_ARG(body->name));
    return err;
}

#define AT(member) offsetof(struct model_body, member)
enum err handle_model_add(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"name", FIELD_NAME, true, AT(name), 0, 0, NULL},
        {"version", FIELD_TEXT, false, AT(version), 0, 100, NULL},
        {"owner", FIELD_TEXT, false, AT(owner), 0, 100, NULL},
        {"licence", FIELD_TEXT, false, AT(licence), 0, 100, NULL},
        {"riskClass", FIELD_WORD, false, AT(risk_class), 0, 0,
            "unclassified minimal limited high"},
        {"region", FIELD_TEXT, false, AT(region), 0, 100, NULL},
        {"status", FIELD_WORD, false, AT(status), 0, 0, "draft approved"},
        {"defaultMaxTokens", FIELD_INT, false, AT(default_max_tokens), 1,
            10000000, NULL},
        {"templateTokens", FIELD_INT, false, AT(template_tokens), 0, 100000,
            NULL},
        {"messageTokens", FIELD_INT, false, AT(message_tokens), 0, 100000,
            NULL},
        {"engine", FIELD_NAME, false, AT(engine), 0, 0, NULL},
        {"upstream", FIELD_TEXT, false, AT(upstream), 0, 256, NULL},
        {"aliases", FIELD_NAMES, false, AT(aliases), 0, 0, NULL},
        {"groups", FIELD_NAMES, false, AT(groups), 0, 0, NULL},
        {"reason", FIELD_TEXT, false, AT(reason), 0, 1000, NULL},
    };
    struct model_body body = {
        .version = STR(""),
        .owner = STR(""),
        .licence = STR(""),
        .risk_class = STR("unclassified"),
        .region = STR(""),
        .status = STR("draft"),
        .reason = STR(""),
        .default_max_tokens = 1024,
        .template_tokens = 32,
        .message_tokens = 16,
    };
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (err || (err = admin_begin(call)))
        return err;
    err = insert_model(call, &body);
    if (!err && body.engine.len > 0)
        err = add_target(call, body.name, body.engine, body.upstream, 0);
    for (size_t i = 0; i < body.aliases.count && !err; i++)
        err = add_alias(call, body.name, body.aliases.items[i]);
    for (size_t i = 0; i < body.groups.count && !err; i++)
        err = join_group(call, body.name, body.groups.items[i]);
    return err ? err
               : finish_change(call, "admin.model.added", body.name, NULL,
                     body.reason, 201);
}

/* --- Status ---------------------------------------------------------- */

static enum err set_status(
    struct admin_call *call, struct str status, const char *type)
{
    static const struct admin_field fields[] = {
        {"reason", FIELD_TEXT, false, AT(reason), 0, 1000, NULL},
    };
    struct model_body body = {.reason = STR("")};
    struct db_statement *s;
    struct str name;
    json_t *before;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = admin_resolve_model(call, call->params[0], &name);
    if (err || (err = admin_begin(call)))
        return err;
    err = read_model(call, name, &before);
    if (!err)
        err = db_prepare(call->db,
            "UPDATE model SET status = ?2 WHERE name = ?1 AND status <> ?2", &s,
            &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, name);
    db_bind_text(s, 2, status);
    err = db_run(s, &call->info);
    if (!err && db_changes(call->db) == 0)
        err = FAIL(call, ERR_WRONG_STATE, "model \"%.*s\" is %.*s already",
            STR_ARG(name), STR_ARG(status));
    if (err) {
        json_decref(before);
        return err;
    }
    return finish_change(call, type, name, before, body.reason, 200);
}

enum err handle_model_approve(struct admin_call *call)
{
    return set_status(call, STR("approved"), "admin.model.approved");
}

enum err handle_model_retire(struct admin_call *call)
{
    return set_status(call, STR("retired"), "admin.model.retired");
}

/* --- Aliases and targets --------------------------------------------- */

struct alias_body {
    struct str alias, engine, upstream;
    int64_t priority;
};

enum err handle_alias_add(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"alias", FIELD_NAME, true, offsetof(struct alias_body, alias), 0, 0,
            NULL},
    };
    struct alias_body body = {.alias = STR("")};
    struct str name = call->params[0];
    json_t *before;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (err || (err = admin_begin(call)))
        return err;
    err = read_model(call, name, &before);
    if (err)
        return err;
    err = add_alias(call, name, body.alias);
    if (err) {
        json_decref(before);
        return err;
    }
    return finish_change(
        call, "admin.model.changed", name, before, STR(""), 201);
}

enum err handle_alias_remove(struct admin_call *call)
{
    struct str name = call->params[0], alias = call->params[1];
    struct db_statement *s;
    json_t *before;
    enum err err = admin_begin(call);

    if (!err)
        err = read_model(call, name, &before);
    if (err)
        return err;
    err = db_prepare(call->db,
        "DELETE FROM model_alias WHERE model = ?1 AND alias = ?2", &s,
        &call->info);
    if (!err) {
        db_bind_text(s, 1, name);
        db_bind_text(s, 2, alias);
        err = db_run(s, &call->info);
    }
    if (!err && db_changes(call->db) == 0)
        err = FAIL(call, ERR_NOTFOUND, "model \"%.*s\" has no alias \"%.*s\"",
            STR_ARG(name), STR_ARG(alias));
    if (err) {
        json_decref(before);
        return err;
    }
    return finish_change(
        call, "admin.model.changed", name, before, STR(""), 200);
}

enum err handle_target_add(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"engine", FIELD_NAME, true, offsetof(struct alias_body, engine), 0, 0,
            NULL},
        {"upstream", FIELD_TEXT, false, offsetof(struct alias_body, upstream),
            0, 256, NULL},
        {"priority", FIELD_INT, false, offsetof(struct alias_body, priority), 0,
            1000, NULL},
    };
    struct alias_body body = {.upstream = STR("")};
    struct str name = call->params[0];
    json_t *before;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (err || (err = admin_begin(call)))
        return err;
    err = read_model(call, name, &before);
    if (err)
        return err;
    err = add_target(call, name, body.engine, body.upstream, body.priority);
    if (err) {
        json_decref(before);
        return err;
    }
    return finish_change(
        call, "admin.model.changed", name, before, STR(""), 201);
}

struct target_filter {
    struct str upstream;
};

enum err handle_target_remove(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"upstream", FIELD_TEXT, false,
            offsetof(struct target_filter, upstream), 0, 256, NULL},
    };
    struct target_filter filter = {.upstream = STR("")};
    struct str name = call->params[0], engine = call->params[1];
    struct db_statement *s;
    json_t *before;
    enum err err = admin_read_query(call, fields, FIELD_COUNT(fields), &filter);

    if (err || (err = admin_begin(call)))
        return err;
    err = read_model(call, name, &before);
    if (err)
        return err;
    err = db_prepare(call->db,
        "DELETE FROM model_target WHERE model = ?1 AND engine = ?2 "
        "AND (?3 = '' OR upstream = ?3)",
        &s, &call->info);
    if (!err) {
        db_bind_text(s, 1, name);
        db_bind_text(s, 2, engine);
        db_bind_text(s, 3, filter.upstream);
        err = db_run(s, &call->info);
    }
    if (!err && db_changes(call->db) == 0)
        err = FAIL(call, ERR_NOTFOUND,
            "model \"%.*s\" does not run on engine \"%.*s\"", STR_ARG(name),
            STR_ARG(engine));
    if (err) {
        json_decref(before);
        return err;
    }
    return finish_change(
        call, "admin.model.changed", name, before, STR(""), 200);
}
