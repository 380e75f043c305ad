/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/keys.c - API keys: shown once, stored as SHA-256 only. */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"
#include "lib/crypto.h"
#include "proxy/secret.h"

static json_t *key_json(struct admin_call *call, struct db_statement *s)
{
    json_t *key = json_object();
    struct str caller = admin_column(call, s, 1);
    int64_t expires = db_column_int(s, 5), now = clock_now();
    bool revoked = !db_column_is_null(s, 6);
    bool expired = !db_column_is_null(s, 5) && expires <= now;

    admin_set_text(key, "id", db_column_text(s, 0));
    admin_set_text(key, "caller", caller);
    admin_set_text(key, "handle", admin_handle_of(call, caller));
    admin_set_text(key, "hint", db_column_text(s, 2));
    admin_set_text(key, "label", db_column_text(s, 3));
    admin_set_time(key, "created", db_column_int(s, 4));
    admin_set_time(key, "expires", expires);
    admin_set_time(key, "revoked", db_column_int(s, 6));
    admin_set_text(key, "state",
        revoked   ? STR("revoked")
        : expired ? STR("expired")
                  : STR("in force"));
    return key;
}

#define KEY_COLUMNS                                                            \
    "SELECT id, caller, hint, label, created, expires, revoked FROM api_key "

struct key_filter {
    struct str caller;
    bool all;
};

enum err handle_key_list(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"caller", FIELD_NAME, false, offsetof(struct key_filter, caller), 0, 0,
            NULL},
        {"all", FIELD_BOOL, false, offsetof(struct key_filter, all), 0, 0,
            NULL},
    };
    struct key_filter filter = {.caller = STR("")};
    struct db_statement *s;
    json_t *items;
    enum err err = admin_read_query(call, fields, FIELD_COUNT(fields), &filter);

    if (!err && filter.caller.len > 0)
        err = admin_resolve_person(call, "cal_", filter.caller, &filter.caller);
    if (!err)
        err = db_prepare(call->db,
            KEY_COLUMNS "WHERE (?1 = '' OR caller = ?1) AND (?2 OR revoked IS "
                        "NULL) ORDER BY created, id",
            &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, filter.caller);
    db_bind_int(s, 2, filter.all);
    items = json_array();
    while ((err = db_step(s, &call->info)) == ERR_OK)
        json_array_append_new(items, key_json(call, s));
    if (err == ERR_NOTFOUND)
        return admin_answer_list(call, items);
    json_decref(items);
    return err;
}

static enum err read_key(struct admin_call *call, struct str id, json_t **out)
{
    struct db_statement *s;
    enum err err =
        db_prepare(call->db, KEY_COLUMNS "WHERE id = ?1", &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, id);
    err = db_step(s, &call->info);
    if (!err)
        *out = key_json(call, s);
    db_reset(s);
    return err;
}

static json_t *key_event(
    struct str caller, struct str hint, struct str label, int64_t expires_us)
{
    json_t *key = json_object();

    admin_set_text(key, "caller", caller);
    admin_set_text(key, "hint", hint);
    admin_set_text(key, "label", label);
    admin_set_time(key, "expires", expires_us);
    return key;
}

enum err admin_issue_key(struct admin_call *call, struct str caller,
    struct str label, int64_t expires_us, json_t **answer)
{
    char secret[SECRET_LENGTH + 1], text[ID_LENGTH + 1];
    struct str id, hint;
    struct db_statement *s;
    uint8_t hash[32];
    enum err err;

    if (expires_us && expires_us <= clock_now())
        return FAIL(call, ERR_INVALID,
            "the key would have expired already; give a later time");
    err = id_make("key_", text, &call->info);
    if (!err)
        err = secret_make(SECRET_KEY_PREFIX, secret, &call->info);
    if (err)
        return err;
    id = arena_copy(call->arena, str_from(text));
    hint = arena_copy(call->arena, str_make(secret, SECRET_HINT_LENGTH));
    if (!id.ptr || !hint.ptr) {
        err = ERR_NOMEM;
        goto out;
    }
    secret_hash(str_make(secret, SECRET_LENGTH), hash);
    err = db_prepare(call->db,
        "INSERT INTO api_key (id, caller, hash, hint, label, created, expires) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        &s, &call->info);
    if (err)
        goto out;
    db_bind_text(s, 1, id);
    db_bind_text(s, 2, caller);
    db_bind_blob(s, 3, hash, sizeof hash);
    db_bind_text(s, 4, hint);
    db_bind_text(s, 5, label);
    db_bind_int(s, 6, clock_now());
    if (expires_us)
        db_bind_int(s, 7, expires_us);
    else
        db_bind_null(s, 7);
    err = db_run(s, &call->info);
    if (!err)
        err = admin_record(call, "admin.key.issued", "key", id, NULL,
            key_event(caller, hint, label, expires_us), NULL, STR(""));
    if (!err)
        err = read_key(call, id, answer);
    if (!err)
        admin_set_text(*answer, "key", str_make(secret, SECRET_LENGTH));
out:
    crypto_wipe(secret, sizeof secret);
    return err;
}

struct key_body {
    struct str label, reason;
    int64_t expires;
};

enum err handle_key_issue(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"label", FIELD_TEXT, false, offsetof(struct key_body, label), 0, 100,
            NULL},
        {"expires", FIELD_TIME, false, offsetof(struct key_body, expires), 0, 0,
            NULL},
    };
    struct key_body body = {.label = STR("")};
    struct str caller;
    json_t *key = NULL;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = admin_resolve_person(call, "cal_", call->params[0], &caller);
    if (err || (err = admin_begin(call)))
        return err;
    err = admin_issue_key(call, caller, body.label, body.expires, &key);
    if (!err)
        err = admin_commit(call, CHANGED_KEYS);
    if (err) {
        json_decref(key);
        return err;
    }
    return admin_answer(call, 201, key);
}

enum err handle_key_revoke(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"reason", FIELD_TEXT, false, offsetof(struct key_body, reason), 0,
            1000, NULL},
    };
    struct key_body body = {.reason = STR("")};
    struct str id = call->params[0];
    struct db_statement *s;
    json_t *before = NULL, *key;
    bool revoked;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = admin_need(call, call->db, "key",
            "SELECT 1 FROM api_key WHERE id = ?1", "SELECT id FROM api_key",
            id);
    if (err || (err = admin_begin(call)))
        return err;
    err = admin_exists(call, call->db,
        "SELECT 1 FROM api_key WHERE id = ?1 AND revoked IS NOT NULL", id,
        &revoked);
    if (!err && revoked)
        err = FAIL(
            call, ERR_WRONG_STATE, "key %.*s is revoked already", STR_ARG(id));
    if (!err)
        err = read_key(call, id, &before);
    if (!err) {
        json_object_del(before, "handle");
        err = db_prepare(call->db,
            "UPDATE api_key SET revoked = ?2 WHERE id = ?1", &s, &call->info);
    }
    if (!err) {
        db_bind_text(s, 1, id);
        db_bind_int(s, 2, clock_now());
        err = db_run(s, &call->info);
    }
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(
        call, "admin.key.revoked", "key", id, before, NULL, NULL, body.reason);
    if (err || (err = admin_commit(call, CHANGED_KEYS)))
        return err;
    err = read_key(call, id, &key);
    return err ? err : admin_answer(call, 200, key);
}
