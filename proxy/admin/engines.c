/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/engines.c - engines: Engine::"name", where models run. */
#include "proxy/admin/admin_priv.h"

#include "engine/target.h"
#include "lib/clock.h"

#include <unistd.h>

#define ENGINE_COLUMNS                                                         \
    "SELECT name, kind, url, credential_file, ca_file, health_path, weight, "  \
    "max_concurrent, region, created FROM engine "

static json_t *engine_json(struct admin_call *call, struct db_statement *s)
{
    json_t *engine = json_object();

    admin_set_text(engine, "name", db_column_text(s, 0));
    admin_set_text(engine, "kind", db_column_text(s, 1));
    admin_set_text(engine, "url", db_column_text(s, 2));
    admin_set_text(engine, "credentialFile", db_column_text(s, 3));
    admin_set_text(engine, "caFile", db_column_text(s, 4));
    admin_set_text(engine, "healthPath", db_column_text(s, 5));
    admin_set_int(engine, "weight", db_column_int(s, 6));
    admin_set_int(engine, "maxConcurrent", db_column_int(s, 7));
    admin_set_text(engine, "region", db_column_text(s, 8));
    admin_set_time(engine, "created", db_column_int(s, 9));
    return engine;
}

enum err handle_engine_list(struct admin_call *call)
{
    return admin_answer_rows(call, ENGINE_COLUMNS "ORDER BY name", engine_json);
}

static enum err read_engine(
    struct admin_call *call, struct str name, json_t **out)
{
    struct db_statement *s;
    enum err err = admin_need_engine(call, name);

    if (!err)
        err = db_prepare(
            call->db, ENGINE_COLUMNS "WHERE name = ?1", &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, name);
    err = db_step(s, &call->info);
    if (!err)
        *out = engine_json(call, s);
    db_reset(s);
    return err;
}

enum err handle_engine_show(struct admin_call *call)
{
    json_t *engine;
    enum err err = read_engine(call, call->params[0], &engine);

    return err ? err : admin_answer(call, 200, engine);
}

struct engine_body {
    struct str name, kind, url, credential_file, ca_file, health_path, region;
    int64_t weight, max_concurrent;
};

/* A path that the server must be able to read, now and after a restart. */
static enum err check_file(
    struct admin_call *call, const char *field, struct str path)
{
    char *text;

    if (path.len == 0)
        return ERR_OK;
    if (path.ptr[0] != '/')
        return FAIL(call, ERR_INVALID,
            "%s: \"%.*s\" is no absolute path; the server may run in another "
            "directory",
            field, STR_ARG(path));
    text = arena_cstr(call->arena, path);
    if (!text)
        return ERR_NOMEM;
    if (access(text, R_OK) != 0)
        return errinfo_errno(&call->info, ERR_INVALID,
            "%s: %s cannot be read by the process that needs it", field, text);
    return ERR_OK;
}

static enum err check_engine(
    struct admin_call *call, const struct engine_body *body)
{
    struct engine_target target = {0};
    enum err err =
        engine_target_parse_url(call->arena, body->url, &target, &call->info);

    if (err) {
        errinfo_prefix(&call->info, err, "url");
        return ERR_INVALID;
    }
    if (body->health_path.len > 0 && body->health_path.ptr[0] != '/')
        return FAIL(call, ERR_INVALID,
            "healthPath: \"%.*s\" does not begin with a slash",
            STR_ARG(body->health_path));
    if (body->ca_file.len > 0 && target.scheme != ENGINE_HTTPS)
        return FAIL(call, ERR_INVALID,
            "caFile: only https engines have a certificate to check");
    err = check_file(call, "credentialFile", body->credential_file);
    return err ? err : check_file(call, "caFile", body->ca_file);
}

static enum err insert_engine(
    struct admin_call *call, const struct engine_body *body)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "INSERT INTO engine (name, kind, url, credential_file, ca_file, "
        "health_path, weight, max_concurrent, region, created) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, body->name);
    db_bind_text(s, 2, body->kind);
    db_bind_text(s, 3, body->url);
    db_bind_text(s, 4, body->credential_file);
    db_bind_text(s, 5, body->ca_file);
    db_bind_text(s, 6, body->health_path);
    db_bind_int(s, 7, body->weight);
    db_bind_int(s, 8, body->max_concurrent);
    db_bind_text(s, 9, body->region);
    db_bind_int(s, 10, clock_now());
    err = db_run(s, &call->info);
    if (err == ERR_EXISTS)
        return FAIL(call, ERR_EXISTS, "there is an engine \"%.*s\" already",
            STR_ARG(body->name));
    return err;
}

#define AT(member) offsetof(struct engine_body, member)
/* A new engine has all of them, a change all but the first. */
static const struct admin_field engine_fields[] = {
    {"name", FIELD_NAME, true, AT(name), 0, 0, NULL},
    {"url", FIELD_TEXT, true, AT(url), 1, 500, NULL},
    {"kind", FIELD_WORD, false, AT(kind), 0, 0,
        "openai llama-server vllm ollama tgi localai demo"},
    {"credentialFile", FIELD_TEXT, false, AT(credential_file), 0, 500, NULL},
    {"caFile", FIELD_TEXT, false, AT(ca_file), 0, 500, NULL},
    {"healthPath", FIELD_TEXT, false, AT(health_path), 0, 200, NULL},
    {"region", FIELD_TEXT, false, AT(region), 0, 100, NULL},
    {"weight", FIELD_INT, false, AT(weight), 1, 1000, NULL},
    {"maxConcurrent", FIELD_INT, false, AT(max_concurrent), 0, 1000000, NULL},
};

enum err handle_engine_add(struct admin_call *call)
{
    struct engine_body body = {
        .kind = STR("openai"),
        .credential_file = STR(""),
        .ca_file = STR(""),
        .health_path = STR("/health"),
        .region = STR(""),
        .weight = 1,
    };
    json_t *engine;
    enum err err =
        admin_read_body(call, engine_fields, FIELD_COUNT(engine_fields), &body);

    if (!err)
        err = check_engine(call, &body);
    if (err || (err = admin_begin(call)))
        return err;
    err = insert_engine(call, &body);
    if (!err)
        err = read_engine(call, body.name, &engine);
    if (!err)
        err = admin_record(call, "admin.engine.added", "engine", body.name,
            NULL, json_incref(engine), NULL, STR(""));
    if (err || (err = admin_commit(call, CHANGED_MODELS)))
        return err;
    return admin_answer(call, 201, engine);
}

/* What the row has now, for the members that a change does not name. */
static enum err load_body(
    struct admin_call *call, struct str name, struct engine_body *body)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT kind, url, credential_file, ca_file, health_path, region, "
        "weight, max_concurrent FROM engine WHERE name = ?1",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, name);
    err = db_step(s, &call->info);
    if (!err)
        *body = (struct engine_body){
            .name = name,
            .kind = admin_column(call, s, 0),
            .url = admin_column(call, s, 1),
            .credential_file = admin_column(call, s, 2),
            .ca_file = admin_column(call, s, 3),
            .health_path = admin_column(call, s, 4),
            .region = admin_column(call, s, 5),
            .weight = db_column_int(s, 6),
            .max_concurrent = db_column_int(s, 7),
        };
    db_reset(s);
    return err;
}

static enum err update_engine(
    struct admin_call *call, const struct engine_body *body)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "UPDATE engine SET kind = ?2, url = ?3, credential_file = ?4, "
        "ca_file = ?5, health_path = ?6, region = ?7, weight = ?8, "
        "max_concurrent = ?9 WHERE name = ?1",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, body->name);
    db_bind_text(s, 2, body->kind);
    db_bind_text(s, 3, body->url);
    db_bind_text(s, 4, body->credential_file);
    db_bind_text(s, 5, body->ca_file);
    db_bind_text(s, 6, body->health_path);
    db_bind_text(s, 7, body->region);
    db_bind_int(s, 8, body->weight);
    db_bind_int(s, 9, body->max_concurrent);
    return db_run(s, &call->info);
}

enum err handle_engine_change(struct admin_call *call)
{
    struct admin_field fields[FIELD_COUNT(engine_fields) - 1];
    struct str name = call->params[0];
    struct engine_body body = {0};
    json_t *before, *engine;
    enum err err = read_engine(call, name, &before);

    if (err)
        return err;
    memcpy(fields, engine_fields + 1, sizeof fields);
    for (size_t i = 0; i < FIELD_COUNT(fields); i++)
        fields[i].required = false;
    err = load_body(call, name, &body);
    if (!err && json_object_size(call->body) == 0)
        err = FAIL(call, ERR_INVALID, "nothing would change: name what should");
    if (!err)
        err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);
    if (!err)
        err = check_engine(call, &body);
    if (!err)
        err = admin_begin(call);
    if (!err)
        err = update_engine(call, &body);
    if (!err)
        err = read_engine(call, name, &engine);
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(call, "admin.engine.changed", "engine", name, before,
        json_incref(engine), NULL, STR(""));
    if (err || (err = admin_commit(call, CHANGED_MODELS)))
        return err;
    return admin_answer(call, 200, engine);
}

enum err handle_engine_remove(struct admin_call *call)
{
    struct str name = call->params[0];
    struct db_statement *s;
    json_t *before = NULL;
    enum err err = admin_begin(call);

    if (!err)
        err = read_engine(call, name, &before);
    if (err)
        return err;
    err = admin_refuse_if_named(call, "Engine", name);
    if (!err)
        err = db_prepare(
            call->db, "DELETE FROM engine WHERE name = ?1", &s, &call->info);
    if (!err) {
        db_bind_text(s, 1, name);
        err = db_run(s, &call->info);
        if (err == ERR_WRONG_STATE)
            err = FAIL(call, ERR_WRONG_STATE,
                "models still run on engine \"%.*s\"; take their targets away "
                "first (bailiff model list shows them)",
                STR_ARG(name));
    }
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(call, "admin.engine.removed", "engine", name, before,
        NULL, NULL, STR(""));
    if (!err)
        err = admin_commit(call, CHANGED_MODELS);
    return err ? err
               : admin_answer(call, 200, json_pack("{s:b}", "removed", 1));
}
