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
    "coalesce(mode, 'no'), just_in_time, coalesce(just_in_time_team, ''), "    \
    "just_in_time_kind, just_in_time_per_minute, just_in_time_most, (SELECT "  \
    "count(*) FROM caller WHERE caller.issuer = issuer.name), clients_only "   \
    "FROM issuer "                                                             \
    "LEFT JOIN issuer_end_user ON "                                            \
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

static enum err add_clients(
    struct admin_call *call, struct str name, json_t *issuer)
{
    struct db_statement *s;
    json_t *list = json_array();
    enum err err = db_prepare(call->db,
        "SELECT client, coalesce(caller, '') FROM issuer_client WHERE "
        "issuer = ?1 ORDER BY client",
        &s, &call->info);

    if (!err)
        db_bind_text(s, 1, name);
    while (!err && (err = db_step(s, &call->info)) == ERR_OK) {
        json_t *one = json_object();
        admin_set_text(one, "client", db_column_text(s, 0));
        admin_set_text(one, "caller", db_column_text(s, 1));
        json_array_append_new(list, one);
    }
    admin_set(issuer, "clients", list);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err add_claims(
    struct admin_call *call, struct str name, json_t *issuer)
{
    struct db_statement *s;
    json_t *list = json_array();
    enum err err = db_prepare(call->db,
        "SELECT claim, attribute, type FROM issuer_claim JOIN claim_attribute "
        "ON name = attribute WHERE issuer = ?1 ORDER BY attribute",
        &s, &call->info);

    if (!err)
        db_bind_text(s, 1, name);
    while (!err && (err = db_step(s, &call->info)) == ERR_OK) {
        json_t *one = json_object();
        admin_set_text(one, "claim", db_column_text(s, 0));
        admin_set_text(one, "attribute", db_column_text(s, 1));
        admin_set_text(one, "type", db_column_text(s, 2));
        json_array_append_new(list, one);
    }
    admin_set(issuer, "claims", list);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* What stands in tables of its own. */
static enum err add_lists(
    struct admin_call *call, struct str name, json_t *issuer)
{
    enum err err = add_audiences(call, name, issuer);

    if (!err)
        err = add_groups(call, name, issuer);
    if (!err)
        err = add_clients(call, name, issuer);
    return err ? err : add_claims(call, name, issuer);
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
    admin_set_bool(issuer, "justInTime", db_column_int(s, 12) != 0);
    admin_set_text(issuer, "justInTimeTeam", db_column_text(s, 13));
    admin_set_text(issuer, "justInTimeKind", db_column_text(s, 14));
    admin_set_int(issuer, "justInTimePerMinute", db_column_int(s, 15));
    admin_set_int(issuer, "justInTimeMost", db_column_int(s, 16));
    admin_set_int(issuer, "justInTimeCallers", db_column_int(s, 17));
    admin_set_bool(issuer, "clientsOnly", db_column_int(s, 18) != 0);
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

/* What can be changed of an issuer; the rest says who it is. */
struct issuer_settings {
    bool just_in_time;
    struct str team, kind;
    int64_t per_minute, most;
    bool clients_only;
    struct str reason;
};
#define SETTING(base, member)                                                  \
    ((base) + offsetof(struct issuer_settings, member))
#define SETTING_FIELDS(base)                                                   \
    {"clientsOnly", FIELD_BOOL, false, SETTING(base, clients_only), 0, 0,      \
        NULL},                                                                 \
        {"justInTime", FIELD_BOOL, false, SETTING(base, just_in_time), 0, 0,   \
            NULL},                                                             \
        {"justInTimeTeam", FIELD_TEXT, false, SETTING(base, team), 0, 128,     \
            NULL},                                                             \
        {"justInTimeKind", FIELD_WORD, false, SETTING(base, kind), 0, 0,       \
            "person service"},                                                 \
        {"justInTimePerMinute", FIELD_INT, false, SETTING(base, per_minute),   \
            1, 1000, NULL},                                                    \
    {                                                                          \
        "justInTimeMost", FIELD_INT, false, SETTING(base, most), 1, 1000000,   \
            NULL                                                               \
    }

enum err admin_issuer_begin(struct admin_call *call, json_t **before)
{
    enum err err = admin_begin(call);

    return err ? err : admin_read_issuer(call, call->params[0], before);
}

enum err admin_issuer_take_away(
    struct admin_call *call, const char *sql, bool *found)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db, sql, &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, call->params[0]);
    db_bind_text(s, 2, call->params[1]);
    err = db_run(s, &call->info);
    *found = !err && db_changes(call->db) > 0;
    return err;
}

enum err admin_issuer_end(struct admin_call *call, enum err err, json_t *before,
    struct str reason, int status)
{
    json_t *after = NULL;

    if (!err)
        err = admin_read_issuer(call, call->params[0], &after);
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(call, "admin.issuer.changed", "issuer", call->params[0],
        before, json_incref(after), NULL, reason);
    if (!err)
        err = admin_commit(call, CHANGED_ISSUERS);
    if (!err)
        return admin_answer(call, status, after);
    json_decref(after);
    return err;
}

struct issuer_body {
    struct str name, issuer, jwks_file, jwks_url, ca_file, caller_claim, prefix,
        groups_claim, end_users;
    struct admin_names audiences;
    bool access_token_type;
    int64_t skew_seconds;
    struct issuer_settings settings;
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

/* Who may make callers must not be able to speak for other issuers'. */
static enum err check_settings(struct admin_call *call,
    const struct issuer_settings *settings, struct str prefix,
    struct str end_users)
{
    if (settings->just_in_time && prefix.len == 0)
        return FAIL(call, ERR_INVALID,
            "justInTime: the issuer needs a prefix (--prefix), or it could "
            "make callers under any name; add it anew with one");
    if (settings->just_in_time && str_equal(end_users, STR("only")))
        return FAIL(call, ERR_INVALID,
            "justInTime: tokens of this issuer are no credential (end users "
            "only), so that none can make a caller");
    if (!settings->just_in_time && settings->team.len > 0)
        return FAIL(call, ERR_INVALID,
            "justInTimeTeam: the issuer makes no callers; say justInTime "
            "(--just-in-time) too");
    return settings->team.len > 0 ? admin_need_team(call, settings->team)
                                  : ERR_OK;
}

static enum err write_settings(struct admin_call *call, struct str name,
    const struct issuer_settings *settings)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "UPDATE issuer SET just_in_time = ?2, just_in_time_team = "
        "nullif(?3, ''), just_in_time_kind = ?4, just_in_time_per_minute = ?5, "
        "just_in_time_most = ?6, clients_only = ?7 WHERE name = ?1",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, name);
    db_bind_int(s, 2, settings->just_in_time);
    db_bind_text(s, 3, settings->team);
    db_bind_text(s, 4, settings->kind);
    db_bind_int(s, 5, settings->per_minute);
    db_bind_int(s, 6, settings->most);
    db_bind_int(s, 7, settings->clients_only);
    return db_run(s, &call->info);
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
        SETTING_FIELDS(AT(settings)),
    };
    struct issuer_body body = {.caller_claim = STR("sub"),
        .prefix = STR(""),
        .skew_seconds = 60,
        .end_users = STR("no"),
        .settings = {.team = STR(""),
            .kind = STR("person"),
            .per_minute = 60,
            .most = 10000}};
    json_t *issuer;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = check_body(call, &body);
    if (!err)
        err = check_settings(call, &body.settings, body.prefix, body.end_users);
    if (err || (err = admin_begin(call)))
        return err;
    err = insert(call, &body);
    if (!err)
        err = mark(call, &body);
    if (!err)
        err = write_settings(call, body.name, &body.settings);
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

static struct str member(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    return str_make(json_string_value(value), json_string_length(value));
}

static int64_t number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

enum err handle_issuer_change(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        SETTING_FIELDS(0),
        {"reason", FIELD_TEXT, false, SETTING(0, reason), 0, 1000, NULL},
    };
    struct str name = call->params[0];
    json_t *before = NULL;
    struct issuer_settings settings;
    /* Once for what is wrong with it, and once more over what is there now. */
    enum err err =
        admin_read_body(call, fields, FIELD_COUNT(fields), &settings);

    if (!err)
        err = admin_read_issuer(call, name, &before);
    if (err)
        return err;
    settings = (struct issuer_settings){
        .just_in_time = json_is_true(json_object_get(before, "justInTime")),
        .team = member(before, "justInTimeTeam"),
        .kind = member(before, "justInTimeKind"),
        .per_minute = number(before, "justInTimePerMinute"),
        .most = number(before, "justInTimeMost"),
        .clients_only = json_is_true(json_object_get(before, "clientsOnly")),
        .reason = STR("")};
    bool was = settings.just_in_time;
    err = admin_read_body(call, fields, FIELD_COUNT(fields), &settings);
    if (!err && json_object_size(call->body) ==
                    (json_object_get(call->body, "reason") != NULL))
        err = FAIL(call, ERR_INVALID,
            "nothing would change: give justInTime (--just-in-time, "
            "--not-just-in-time), one of its bounds, or clientsOnly "
            "(--clients-only, --any-client)");
    /* Its team goes with it. */
    if (!err && was && !settings.just_in_time &&
        !json_object_get(call->body, "justInTimeTeam"))
        settings.team = STR("");
    if (!err)
        err = check_settings(call, &settings, member(before, "prefix"),
            member(before, "endUsers"));
    if (!err && (err = admin_begin(call)) == ERR_OK)
        err = write_settings(call, name, &settings);
    return admin_issuer_end(call, err, before, settings.reason, 200);
}

enum err handle_issuer_remove(struct admin_call *call)
{
    struct db_statement *s;
    json_t *before = NULL;
    enum err err = admin_issuer_begin(call, &before);

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
