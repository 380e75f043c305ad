/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/issuers.c - issuers: whose signed tokens are believed, and what
 * in a token names the caller. The keys themselves are fetched by the server
 * (proxy/issuers.h); a set on disk is looked at here, so that a mistake shows
 * when it is made. */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"
#include "lib/file.h"
#include "proxy/issuers.h"
#include "proxy/jwt/jwks.h"

#define ISSUER_COLUMNS                                                         \
    "SELECT name, issuer.issuer, jwks_file, jwks_url, ca_file, caller_claim, " \
    "prefix, groups_claim, access_token_type, skew_seconds, created, "         \
    "coalesce(mode, 'no') FROM issuer LEFT JOIN issuer_end_user ON "           \
    "issuer_end_user.issuer = issuer.name "

static enum err add_audiences(
    struct admin_call *call, struct str name, json_t *issuer)
{
    struct db_statement *s;
    json_t *list = json_array();
    enum err err = db_prepare(call->db,
        "SELECT audience FROM issuer_audience WHERE issuer = ?1 "
        "ORDER BY audience",
        &s, &call->info);

    if (!err)
        db_bind_text(s, 1, name);
    while (!err && (err = db_step(s, &call->info)) == ERR_OK)
        json_array_append_new(list, admin_text(db_column_text(s, 0)));
    admin_set(issuer, "audiences", list);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err add_groups(
    struct admin_call *call, struct str name, json_t *issuer)
{
    struct db_statement *s;
    json_t *list = json_array();
    enum err err = db_prepare(call->db,
        "SELECT group_name, team FROM issuer_group WHERE issuer = ?1 "
        "ORDER BY group_name",
        &s, &call->info);

    if (!err)
        db_bind_text(s, 1, name);
    while (!err && (err = db_step(s, &call->info)) == ERR_OK) {
        json_t *one = json_object();
        admin_set_text(one, "group", db_column_text(s, 0));
        admin_set_text(one, "team", db_column_text(s, 1));
        json_array_append_new(list, one);
    }
    admin_set(issuer, "groups", list);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* What stands in tables of its own. */
static enum err add_lists(
    struct admin_call *call, struct str name, json_t *issuer)
{
    enum err err = add_audiences(call, name, issuer);

    return err ? err : add_groups(call, name, issuer);
}

static json_t *issuer_json(struct db_statement *s)
{
    static const char *const texts[] = {"name", "issuer", "jwksFile", "jwksUrl",
        "caFile", "callerClaim", "prefix", "groupsClaim"};
    json_t *issuer = json_object();

    for (int i = 0; i < 8; i++)
        admin_set_text(issuer, texts[i], db_column_text(s, i));
    admin_set_bool(issuer, "accessTokenType", db_column_int(s, 8) != 0);
    admin_set_int(issuer, "skewSeconds", db_column_int(s, 9));
    admin_set_time(issuer, "created", db_column_int(s, 10));
    admin_set_text(issuer, "endUsers", db_column_text(s, 11));
    return issuer;
}

enum err handle_issuer_list(struct admin_call *call)
{
    struct db_statement *s;
    json_t *items = json_array(), *one;
    size_t i;
    enum err err =
        db_prepare(call->db, ISSUER_COLUMNS "ORDER BY name", &s, &call->info);

    while (!err && (err = db_step(s, &call->info)) == ERR_OK)
        json_array_append_new(items, issuer_json(s));
    if (err == ERR_NOTFOUND)
        err = ERR_OK;
    json_array_foreach(items, i, one)
    {
        if (!err)
            err = add_lists(call,
                str_from(json_string_value(json_object_get(one, "name"))), one);
    }
    if (!err)
        return admin_answer_list(call, items);
    json_decref(items);
    return err;
}

enum err admin_read_issuer(
    struct admin_call *call, struct str name, json_t **out)
{
    struct db_statement *s;
    enum err err = admin_need(call, call->db, "issuer",
        "SELECT 1 FROM issuer WHERE name = ?1", "SELECT name FROM issuer",
        name);

    if (!err)
        err = db_prepare(
            call->db, ISSUER_COLUMNS "WHERE name = ?1", &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, name);
    err = db_step(s, &call->info);
    if (!err)
        *out = issuer_json(s);
    db_reset(s);
    if (!err && (err = add_lists(call, name, *out)))
        json_decref(*out);
    return err;
}

struct issuer_body {
    struct str name, issuer, jwks_file, jwks_url, ca_file, caller_claim, prefix,
        groups_claim, end_users;
    struct admin_names audiences;
    bool access_token_type;
    int64_t skew_seconds;
};

static enum err check_key_file(
    struct admin_call *call, const struct issuer_body *body)
{
    const char *path = arena_cstr(call->arena, body->jwks_file);
    struct errinfo why = {0};
    struct jwks *jwks = NULL;
    enum err err;

    if (!path)
        return FAIL(call, ERR_NOMEM, "out of memory");
    if (path[0] != '/')
        return FAIL(call, ERR_INVALID,
            "jwksFile: \"%s\" is no absolute path; the server may run in "
            "another directory",
            path);
    err = issuers_read_file(path, &jwks, &why);
    if (err)
        return FAIL(call, ERR_INVALID, "jwksFile: %s", why.text);
    if (jwks_count(jwks) == 0)
        err = FAIL(call, ERR_INVALID,
            "jwksFile: %s has no key that could be used%s%s", path,
            jwks_why(jwks)[0] ? ": " : "", jwks_why(jwks));
    else if (jwks_has_private(jwks))
        err = FAIL(call, ERR_INVALID,
            "jwksFile: %s holds secret members: whoever reads it can make "
            "tokens; keep the public ones only",
            path);
    jwks_unref(&jwks);
    return err;
}

static enum err check_body(
    struct admin_call *call, const struct issuer_body *body)
{
    const char *url = arena_cstr(
        call->arena, body->jwks_url.len > 0 ? body->jwks_url : body->issuer);

    if (!url)
        return FAIL(call, ERR_NOMEM, "out of memory");
    if (body->audiences.count == 0)
        return FAIL(call, ERR_INVALID,
            "audiences: at least one; a token that was made for another "
            "service must not be good here");
    for (size_t i = 0; i < body->audiences.count; i++)
        if (body->audiences.items[i].len == 0)
            return FAIL(call, ERR_INVALID, "audiences: one is empty");
    if (body->jwks_file.len > 0 && body->jwks_url.len > 0)
        return FAIL(call, ERR_INVALID,
            "give jwksFile or jwksUrl, not both (or neither, for discovery)");
    if (body->jwks_file.len > 0)
        return check_key_file(call, body);
    if (!issuers_url_is_safe(url))
        return FAIL(call, ERR_INVALID,
            "%s: \"%s\" is not https; whoever is on the way could put keys "
            "of their own there",
            body->jwks_url.len > 0 ? "jwksUrl" : "issuer", url);
    return ERR_OK;
}

static enum err insert(struct admin_call *call, const struct issuer_body *body)
{
    const struct str texts[] = {body->name, body->issuer, body->jwks_file,
        body->jwks_url, body->ca_file, body->caller_claim, body->prefix,
        body->groups_claim};
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "INSERT INTO issuer (name, issuer, jwks_file, jwks_url, ca_file, "
        "caller_claim, prefix, groups_claim, access_token_type, skew_seconds, "
        "created) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        &s, &call->info);

    if (err)
        return err;
    for (int i = 0; i < 8; i++)
        db_bind_text(s, i + 1, texts[i].ptr ? texts[i] : STR(""));
    db_bind_int(s, 9, body->access_token_type);
    db_bind_int(s, 10, body->skew_seconds);
    db_bind_int(s, 11, clock_now());
    err = db_run(s, &call->info);
    if (err == ERR_EXISTS)
        return FAIL(call, ERR_EXISTS,
            "there is an issuer \"%.*s\" already, or one with that "
            "\"iss\"",
            STR_ARG(body->name));
    for (size_t i = 0; !err && i < body->audiences.count; i++) {
        err = db_prepare(call->db,
            "INSERT OR IGNORE INTO issuer_audience (issuer, audience) "
            "VALUES (?1, ?2)",
            &s, &call->info);
        if (err)
            return err;
        db_bind_text(s, 1, body->name);
        db_bind_text(s, 2, body->audiences.items[i]);
        err = db_run(s, &call->info);
    }
    return err;
}

static enum err mark(struct admin_call *call, const struct issuer_body *body)
{
    struct db_statement *s;
    enum err err;

    if (str_equal(body->end_users, STR("no")))
        return ERR_OK;
    err = db_prepare(call->db,
        "INSERT INTO issuer_end_user (issuer, mode) VALUES (?1, ?2)", &s,
        &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, body->name);
    db_bind_text(s, 2, body->end_users);
    return db_run(s, &call->info);
}

#define AT(member) offsetof(struct issuer_body, member)
enum err handle_issuer_add(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"name", FIELD_NAME, true, AT(name), 0, 0, NULL},
        {"issuer", FIELD_TEXT, true, AT(issuer), 1, 1000, NULL},
        {"audiences", FIELD_NAMES, true, AT(audiences), 0, 0, NULL},
        {"jwksFile", FIELD_TEXT, false, AT(jwks_file), 1, 1000, NULL},
        {"jwksUrl", FIELD_TEXT, false, AT(jwks_url), 1, 1000, NULL},
        {"caFile", FIELD_TEXT, false, AT(ca_file), 1, 1000, NULL},
        {"callerClaim", FIELD_TEXT, false, AT(caller_claim), 1, 200, NULL},
        {"prefix", FIELD_TEXT, false, AT(prefix), 0, 64, NULL},
        {"groupsClaim", FIELD_TEXT, false, AT(groups_claim), 1, 200, NULL},
        {"accessTokenType", FIELD_BOOL, false, AT(access_token_type), 0, 0,
            NULL},
        {"skewSeconds", FIELD_INT, false, AT(skew_seconds), 0, 300, NULL},
        {"endUsers", FIELD_WORD, false, AT(end_users), 0, 0, "no also only"},
    };
    struct issuer_body body = {
        .caller_claim = STR("sub"), .skew_seconds = 60, .end_users = STR("no")};
    json_t *issuer;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = check_body(call, &body);
    if (err || (err = admin_begin(call)))
        return err;
    err = insert(call, &body);
    if (!err)
        err = mark(call, &body);
    if (!err)
        err = admin_read_issuer(call, body.name, &issuer);
    if (err)
        return err;
    err = admin_record(call, "admin.issuer.added", "issuer", body.name, NULL,
        json_incref(issuer), NULL, STR(""));
    if (!err)
        err = admin_commit(call, CHANGED_ISSUERS);
    if (!err)
        return admin_answer(call, 201, issuer);
    json_decref(issuer);
    return err;
}

enum err handle_issuer_remove(struct admin_call *call)
{
    struct db_statement *s;
    json_t *before = NULL;
    enum err err = admin_begin(call);

    if (!err)
        err = admin_read_issuer(call, call->params[0], &before);
    if (err)
        return err;
    err = db_prepare(
        call->db, "DELETE FROM issuer WHERE name = ?1", &s, &call->info);
    if (!err) {
        db_bind_text(s, 1, call->params[0]);
        err = db_run(s, &call->info);
    }
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(call, "admin.issuer.removed", "issuer", call->params[0],
        before, NULL, NULL, STR(""));
    if (!err)
        err = admin_commit(call, CHANGED_ISSUERS);
    return err ? err
               : admin_answer(call, 200, json_pack("{s:b}", "removed", 1));
}
