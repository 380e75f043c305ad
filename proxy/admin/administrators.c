/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/administrators.c - who may administer: a role each, a token
 * (shown once, SHA-256 stored), further tokens with an end, a system user where
 * one is mapped. The last administrator in force with the role admin can
 * neither be disabled nor get another role. */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"
#include "lib/crypto.h"
#include "proxy/secret.h"

#define ADMINISTRATOR_COLUMNS                                                  \
    "SELECT id, role, uid, token_hash IS NOT NULL, disabled, created, "        \
    "certificate_alone "                                                       \
    "FROM administrator "

static json_t *administrator_json(
    struct admin_call *call, struct db_statement *s)
{
    json_t *administrator = json_object();
    struct str id = admin_column(call, s, 0);

    admin_set_text(administrator, "id", id);
    admin_set_text(administrator, "name", admin_handle_of(call, id));
    admin_set_text(administrator, "role", db_column_text(s, 1));
    if (db_column_is_null(s, 2))
        admin_set(administrator, "uid", json_null());
    else
        admin_set_int(administrator, "uid", db_column_int(s, 2));
    admin_set_bool(administrator, "token", db_column_int(s, 3) != 0);
    admin_set_bool(administrator, "certificateAlone", db_column_int(s, 6) != 0);
    admin_set_bool(administrator, "disabled", db_column_int(s, 4) != 0);
    admin_set_time(administrator, "created", db_column_int(s, 5));
    return administrator;
}

enum err handle_administrator_list(struct admin_call *call)
{
    return admin_answer_rows(
        call, ADMINISTRATOR_COLUMNS "ORDER BY created, id", administrator_json);
}

static enum err read_administrator(
    struct admin_call *call, struct str id, json_t **out)
{
    struct db_statement *s;
    enum err err = db_prepare(
        call->db, ADMINISTRATOR_COLUMNS "WHERE id = ?1", &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, id);
    err = db_step(s, &call->info);
    if (!err)
        *out = administrator_json(call, s);
    db_reset(s);
    return err;
}

struct administrator_body {
    struct str name, role, reason;
    int64_t uid;
    bool token, certificate_alone;
};

static enum err insert_administrator(struct admin_call *call,
    const struct administrator_body *body, struct str id, const char *token)
{
    struct db_statement *s;
    uint8_t hash[32];
    enum err err = admin_add_person(call, id, body->name, STR(""));

    if (!err)
        err = db_prepare(call->db,
            "INSERT INTO administrator (id, role, token_hash, uid, created) "
            "VALUES (?1, ?2, ?3, ?4, ?5)",
            &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, id);
    db_bind_text(s, 2, body->role);
    if (body->token) {
        secret_hash(str_make(token, SECRET_LENGTH), hash);
        db_bind_blob(s, 3, hash, sizeof hash);
    } else {
        db_bind_null(s, 3);
    }
    if (body->uid >= 0)
        db_bind_int(s, 4, body->uid);
    else
        db_bind_null(s, 4);
    db_bind_int(s, 5, clock_now());
    err = db_run(s, &call->info);
    if (err == ERR_EXISTS)
        return FAIL(call, ERR_EXISTS,
            "the system user %lld is mapped to another administrator already",
            (long long)body->uid);
    return err;
}

#define AT(member) offsetof(struct administrator_body, member)
enum err handle_administrator_add(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"name", FIELD_NAME, true, AT(name), 0, 0, NULL},
        {"role", FIELD_WORD, true, AT(role), 0, 0,
            "admin policy-author approver auditor operator"},
        {"uid", FIELD_INT, false, AT(uid), 0, 4294967294, NULL},
        {"token", FIELD_BOOL, false, AT(token), 0, 0, NULL},
    };
    struct administrator_body body = {.uid = -1, .token = true};
    char token[SECRET_LENGTH + 1] = "", text[ID_LENGTH + 1];
    json_t *administrator = NULL, *event;
    struct str id;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err && !body.token && body.uid < 0)
        err = FAIL(call, ERR_INVALID,
            "without a token and without a uid nobody could ever be \"%.*s\"",
            STR_ARG(body.name));
    if (!err)
        err = id_make("adm_", text, &call->info);
    if (!err && body.token)
        err = secret_make(SECRET_TOKEN_PREFIX, token, &call->info);
    if (err || (err = admin_begin(call)))
        goto out;
    id = str_from(text);
    err = insert_administrator(call, &body, id, token);
    if (!err)
        err = read_administrator(call, id, &administrator);
    if (err)
        goto out;
    event = json_deep_copy(administrator);
    json_object_del(event, "name");
    err = admin_record(call, "admin.administrator.added", "administrator", id,
        NULL, event, NULL, STR(""));
    if (!err)
        err = admin_commit(call, 0);
    if (err)
        goto out;
    /* The answer says whether there is a token; here it is itself, once. */
    if (body.token)
        admin_set_text(administrator, "secret", str_make(token, SECRET_LENGTH));
    err = admin_answer(call, 201, administrator);
    administrator = NULL;
out:
    json_decref(administrator);
    crypto_wipe(token, sizeof token);
    return err;
}

/* Somebody has to be able to put everything right again. */
static enum err need_another_admin(struct admin_call *call, struct str id)
{
    bool others = false;
    enum err err = admin_exists(call, call->db,
        "SELECT 1 FROM administrator WHERE role = 'admin' AND disabled = 0 "
        "AND id <> ?1",
        id, &others);

    if (err || others)
        return err;
    return FAIL(call, ERR_WRONG_STATE,
        "this is the last administrator in force with the role admin; add "
        "another first");
}

enum err handle_administrator_disable(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"reason", FIELD_TEXT, false, AT(reason), 0, 1000, NULL},
    };
    struct administrator_body body = {.reason = STR("")};
    struct db_statement *s;
    json_t *administrator;
    struct str id;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = admin_resolve_person(call, "adm_", call->params[0], &id);
    if (err || (err = admin_begin(call)))
        return err;
    err = need_another_admin(call, id);
    if (!err)
        err = db_prepare(call->db,
            "UPDATE administrator SET disabled = 1 "
            "WHERE id = ?1 AND disabled = 0",
            &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, id);
    err = db_run(s, &call->info);
    if (!err && db_changes(call->db) == 0)
        err = FAIL(
            call, ERR_WRONG_STATE, "the administrator is disabled already");
    if (!err)
        err = admin_record(call, "admin.administrator.disabled",
            "administrator", id, NULL, NULL, NULL, body.reason);
    if (err || (err = admin_commit(call, 0)))
        return err;
    err = read_administrator(call, id, &administrator);
    return err ? err : admin_answer(call, 200, administrator);
}

enum err handle_administrator_enable(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"reason", FIELD_TEXT, false, AT(reason), 0, 1000, NULL},
    };
    struct administrator_body body = {.reason = STR("")};
    struct db_statement *s;
    json_t *administrator;
    struct str id;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = admin_resolve_person(call, "adm_", call->params[0], &id);
    if (err || (err = admin_begin(call)))
        return err;
    err = db_prepare(call->db,
        "UPDATE administrator SET disabled = 0 WHERE id = ?1 AND disabled = 1",
        &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, id);
    err = db_run(s, &call->info);
    if (!err && db_changes(call->db) == 0)
        err = FAIL(call, ERR_WRONG_STATE, "the administrator is not disabled");
    if (!err)
        err = admin_record(call, "admin.administrator.enabled", "administrator",
            id, NULL, NULL, NULL, body.reason);
    if (err || (err = admin_commit(call, 0)))
        return err;
    err = read_administrator(call, id, &administrator);
    return err ? err : admin_answer(call, 200, administrator);
}

static enum err update_administrator(struct admin_call *call, struct str id,
    const struct administrator_body *body)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "UPDATE administrator SET role = ?2, certificate_alone = ?3 "
        "WHERE id = ?1",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, id);
    db_bind_text(s, 2, body->role);
    db_bind_int(s, 3, body->certificate_alone);
    return db_run(s, &call->info);
}

/* Another role; whether a pinned certificate does without a token. */
enum err handle_administrator_change(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"role", FIELD_WORD, false, AT(role), 0, 0,
            "admin policy-author approver auditor operator"},
        {"certificateAlone", FIELD_BOOL, false, AT(certificate_alone), 0, 0,
            NULL},
        {"reason", FIELD_TEXT, false, AT(reason), 0, 1000, NULL},
    };
    struct administrator_body body = {.role = STR(""), .reason = STR("")};
    json_t *before = NULL, *after = NULL;
    struct str id;
    enum err err = admin_resolve_person(call, "adm_", call->params[0], &id);

    /* What the body does not name stays. */
    if (!err)
        err = read_administrator(call, id, &before);
    if (!err)
        body.certificate_alone =
            json_is_true(json_object_get(before, "certificateAlone"));
    if (!err)
        err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);
    if (!err && body.role.len == 0)
        body.role =
            str_from(json_string_value(json_object_get(before, "role")));
    if (!err)
        err = admin_begin(call);
    if (!err && !str_equal(body.role, STR("admin")))
        err = need_another_admin(call, id);
    if (!err)
        err = update_administrator(call, id, &body);
    if (!err)
        err = read_administrator(call, id, &after);
    if (err) {
        json_decref(before);
        return err;
    }
    json_object_del(before, "name");
    json_object_del(after, "name");
    err = admin_record(call, "admin.administrator.changed", "administrator", id,
        before, after, NULL, body.reason);
    if (err || (err = admin_commit(call, 0)))
        return err;
    err = read_administrator(call, id, &after);
    return err ? err : admin_answer(call, 200, after);
}
