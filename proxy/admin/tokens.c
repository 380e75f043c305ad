/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/tokens.c - further tokens of administrators: each with a label
 * and, where wanted, an end. Two tokens are still one person: what takes two
 * people counts administrators. */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"
#include "lib/crypto.h"
#include "proxy/secret.h"

#define TOKEN_COLUMNS                                                          \
    "SELECT id, administrator, label, created, expires, revoked "              \
    "FROM administrator_token "

static const char *state_of(struct db_statement *s)
{
    if (!db_column_is_null(s, 5))
        return "revoked";
    return !db_column_is_null(s, 4) && db_column_int(s, 4) <= clock_now()
               ? "expired"
               : "active";
}

static json_t *token_json(struct admin_call *call, struct db_statement *s)
{
    json_t *token = json_object();
    struct str owner = admin_column(call, s, 1);

    admin_set_text(token, "id", db_column_text(s, 0));
    admin_set_text(token, "administrator", owner);
    admin_set_text(token, "label", db_column_text(s, 2));
    admin_set_text(token, "state", str_from(state_of(s)));
    admin_set_time(token, "created", db_column_int(s, 3));
    admin_set_time(
        token, "expires", db_column_is_null(s, 4) ? 0 : db_column_int(s, 4));
    admin_set_time(
        token, "revoked", db_column_is_null(s, 5) ? 0 : db_column_int(s, 5));
    return token;
}

static enum err read_token(struct admin_call *call, struct str id, json_t **out)
{
    struct db_statement *s;
    enum err err =
        db_prepare(call->db, TOKEN_COLUMNS "WHERE id = ?1", &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, id);
    err = db_step(s, &call->info);
    if (!err)
        *out = token_json(call, s);
    db_reset(s);
    return err == ERR_NOTFOUND ? FAIL(call, ERR_NOTFOUND,
                                     "there is no token \"%.*s\"", STR_ARG(id))
                               : err;
}

enum err handle_token_list(struct admin_call *call)
{
    struct str owner;
    enum err err = admin_resolve_person(call, "adm_", call->params[0], &owner);

    if (err)
        return err;
    return admin_answer_rows_of(call,
        TOKEN_COLUMNS "WHERE administrator = ?1 ORDER BY created, id", owner,
        token_json);
}

struct token_body {
    struct str label, reason;
    int64_t expires_us;
};
#define AT(member) offsetof(struct token_body, member)

static enum err insert(struct admin_call *call, struct str id, struct str owner,
    const struct token_body *body, const char *secret)
{
    struct db_statement *s;
    uint8_t hash[32];
    enum err err = db_prepare(call->db,
        "INSERT INTO administrator_token (id, administrator, hash, label, "
        "created, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        &s, &call->info);

    if (err)
        return err;
    secret_hash(str_make(secret, SECRET_LENGTH), hash);
    db_bind_text(s, 1, id);
    db_bind_text(s, 2, owner);
    db_bind_blob(s, 3, hash, sizeof hash);
    db_bind_text(s, 4, body->label);
    db_bind_int(s, 5, clock_now());
    if (body->expires_us > 0)
        db_bind_int(s, 6, body->expires_us);
    else
        db_bind_null(s, 6);
    return db_run(s, &call->info);
}

enum err handle_token_issue(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"label", FIELD_TEXT, false, AT(label), 0, 200, NULL},
        {"expires", FIELD_TIME, false, AT(expires_us), 0, 0, NULL},
        {"reason", FIELD_TEXT, false, AT(reason), 0, 1000, NULL},
    };
    struct token_body body = {.label = STR(""), .reason = STR("")};
    char secret[SECRET_LENGTH + 1] = "", text[ID_LENGTH + 1];
    json_t *token = NULL;
    struct str id, owner;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err && body.expires_us != 0 && body.expires_us <= clock_now())
        err = FAIL(call, ERR_INVALID, "expires: that is over already");
    if (!err)
        err = admin_resolve_person(call, "adm_", call->params[0], &owner);
    if (!err)
        err = id_make("tok_", text, &call->info);
    if (!err)
        err = secret_make(SECRET_TOKEN_PREFIX, secret, &call->info);
    if (err || (err = admin_begin(call)))
        goto out;
    id = str_from(text);
    err = insert(call, id, owner, &body, secret);
    if (!err)
        err = read_token(call, id, &token);
    if (!err)
        err = admin_record(call, "admin.token.issued", "token", id, NULL,
            json_incref(token), NULL, body.reason);
    if (!err)
        err = admin_commit(call, 0);
    if (err)
        goto out;
    admin_set_text(token, "secret", str_make(secret, SECRET_LENGTH));
    err = admin_answer(call, 201, token);
    token = NULL;
out:
    json_decref(token);
    crypto_wipe(secret, sizeof secret);
    return err;
}

enum err handle_token_revoke(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"reason", FIELD_TEXT, false, AT(reason), 0, 1000, NULL},
    };
    struct token_body body = {.reason = STR("")};
    struct db_statement *s;
    json_t *token = NULL;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = read_token(call, call->params[0], &token);
    json_decref(token);
    if (err || (err = admin_begin(call)))
        return err;
    err = db_prepare(call->db,
        "UPDATE administrator_token SET revoked = ?2 WHERE id = ?1 AND "
        "revoked IS NULL",
        &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, call->params[0]);
    db_bind_int(s, 2, clock_now());
    err = db_run(s, &call->info);
    if (!err && db_changes(call->db) == 0)
        err = FAIL(call, ERR_WRONG_STATE, "the token is revoked already");
    if (!err)
        err = admin_record(call, "admin.token.revoked", "token",
            call->params[0], NULL, NULL, NULL, body.reason);
    if (err || (err = admin_commit(call, 0)))
        return err;
    err = read_token(call, call->params[0], &token);
    return err ? err : admin_answer(call, 200, token);
}
