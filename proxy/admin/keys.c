/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/keys.c - API keys: shown once, stored as SHA-256 only. */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"
#include "lib/crypto.h"
#include "proxy/address.h"
#include "proxy/secret.h"

/* What a key is limited to: an array of texts for each kind. */
static enum err set_limits(struct admin_call *call, json_t *key, struct str id)
{
    static const struct {
        const char *kind, *member;
    } kinds[] = {
        {"address", "addresses"}, {"model", "models"}, {"route", "routes"}};
    struct db_statement *s;
    enum err err;

    for (size_t i = 0; i < 3; i++) {
        json_t *values = json_array();
        admin_set(key, kinds[i].member, values);
        err = db_prepare(call->db,
            "SELECT value FROM api_key_limit WHERE key = ?1 AND kind = ?2 "
            "ORDER BY value",
            &s, &call->info);
        if (err)
            return err;
        db_bind_text(s, 1, id);
        db_bind_text(s, 2, str_from(kinds[i].kind));
        while ((err = db_step(s, &call->info)) == ERR_OK)
            json_array_append_new(values, admin_text(db_column_text(s, 0)));
        if (err != ERR_NOTFOUND)
            return err;
    }
    return ERR_OK;
}

static void set_id(json_t *key, const char *member, struct str id)
{
    admin_set(key, member, id.len > 0 ? admin_text(id) : json_null());
}

static enum err key_json(
    struct admin_call *call, struct db_statement *s, json_t **out)
{
    json_t *key = json_object();
    struct str id = admin_column(call, s, 0), caller = admin_column(call, s, 1);
    int64_t expires = db_column_int(s, 5), now = clock_now();
    bool revoked = !db_column_is_null(s, 6);
    bool expired = !db_column_is_null(s, 5) && expires <= now;
    enum err err;

    admin_set_text(key, "id", id);
    admin_set_text(key, "caller", caller);
    admin_set_text(key, "handle", admin_handle_of(call, caller));
    admin_set_text(key, "hint", db_column_text(s, 2));
    admin_set_text(key, "label", db_column_text(s, 3));
    admin_set_time(key, "created", db_column_int(s, 4));
    admin_set_time(key, "expires", expires);
    admin_set_time(key, "revoked", db_column_int(s, 6));
    admin_set_time(
        key, "lastUsed", key_usage_last(control_key_usage(call->control), id));
    admin_set_text(key, "state",
        revoked   ? STR("revoked")
        : expired ? STR("expired")
                  : STR("in force"));
    set_id(key, "replaces", db_column_text(s, 7));
    set_id(key, "replacedBy", db_column_text(s, 8));
    err = set_limits(call, key, id);
    if (err)
        json_decref(key);
    else
        *out = key;
    return err;
}

#define KEY_COLUMNS                                                            \
    "SELECT id, caller, hint, label, created, expires, revoked, replaces, "    \
    "(SELECT id FROM api_key AS next WHERE next.replaces = api_key.id) "       \
    "FROM api_key "

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
    while ((err = db_step(s, &call->info)) == ERR_OK) {
        json_t *key;
        err = key_json(call, s, &key);
        if (err) {
            db_reset(s);
            break;
        }
        json_array_append_new(items, key);
    }
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
        err = key_json(call, s, out);
    db_reset(s);
    return err;
}

/* The same as an event holds it: no handles. */
static enum err read_key_for_event(
    struct admin_call *call, struct str id, json_t **out)
{
    enum err err = read_key(call, id, out);

    if (!err) {
        json_object_del(*out, "handle");
        json_object_del(*out, "lastUsed"); /* no act of anybody's */
    }
    return err;
}

static enum err need_key(struct admin_call *call, struct str id)
{
    return admin_need(call, call->db, "key",
        "SELECT 1 FROM api_key WHERE id = ?1", "SELECT id FROM api_key", id);
}

enum err handle_key_show(struct admin_call *call)
{
    json_t *key;
    enum err err = need_key(call, call->params[0]);

    if (!err)
        err = read_key(call, call->params[0], &key);
    return err ? err : admin_answer(call, 200, key);
}

/* --- Limits -------------------------------------------------------------- */

/* As it is kept: a range with its prefix, a model's own name, a route's path.
 * In the arena. */
static enum err fit_limit(struct admin_call *call, const char *kind,
    struct str value, struct str *out)
{
    struct address_range range;
    char text[ADDRESS_TEXT_MAX];
    enum err err;

    if (kind[0] == 'm')
        return admin_resolve_model(call, value, out);
    if (kind[0] == 'a') {
        err = address_range_parse(value, &range, &call->info);
        if (err)
            return ERR_INVALID;
        address_range_format(&range, text, sizeof text);
        *out = arena_copy(call->arena, str_from(text));
        return out->ptr ? ERR_OK : ERR_NOMEM;
    }
    if (snapshot_is_route(value)) {
        *out = value;
        return ERR_OK;
    }
    struct buf known;
    buf_init(&known, 4096);
    snapshot_list_routes(&known);
    err = FAIL(call, ERR_INVALID, "there is no route \"%.*s\"; there are:%s",
        STR_ARG(value), buf_cstr(&known));
    buf_fini(&known);
    return err;
}

/* Puts the values in the place of the rows of this kind. */
static enum err write_limits(struct admin_call *call, struct str id,
    const char *kind, const struct admin_names *values)
{
    struct db_statement *s;
    struct str value;
    enum err err = db_prepare(call->db,
        "DELETE FROM api_key_limit WHERE key = ?1 AND kind = ?2", &s,
        &call->info);

    if (!err) {
        db_bind_text(s, 1, id);
        db_bind_text(s, 2, str_from(kind));
        err = db_run(s, &call->info);
    }
    for (size_t i = 0; !err && i < values->count; i++) {
        err = fit_limit(call, kind, values->items[i], &value);
        if (!err)
            err = db_prepare(call->db,
                "INSERT OR IGNORE INTO api_key_limit (key, kind, value) "
                "VALUES (?1, ?2, ?3)",
                &s, &call->info);
        if (err)
            break;
        db_bind_text(s, 1, id);
        db_bind_text(s, 2, str_from(kind));
        db_bind_text(s, 3, value);
        err = db_run(s, &call->info);
    }
    return err;
}

/* --- Issuing ------------------------------------------------------------- */

static enum err insert_key(struct admin_call *call, struct str id,
    struct str secret, const struct admin_new_key *key)
{
    struct db_statement *s;
    uint8_t hash[32];
    enum err err = db_prepare(call->db,
        "INSERT INTO api_key (id, caller, hash, hint, label, created, expires, "
        "replaces) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        &s, &call->info);

    if (err)
        return err;
    secret_hash(secret, hash);
    db_bind_text(s, 1, id);
    db_bind_text(s, 2, key->caller);
    db_bind_blob(s, 3, hash, sizeof hash);
    db_bind_text(s, 4, str_make(secret.ptr, SECRET_HINT_LENGTH));
    db_bind_text(s, 5, key->label);
    db_bind_int(s, 6, clock_now());
    if (key->expires_us)
        db_bind_int(s, 7, key->expires_us);
    else
        db_bind_null(s, 7);
    if (key->replaces.len > 0)
        db_bind_text(s, 8, key->replaces);
    else
        db_bind_null(s, 8);
    err = db_run(s, &call->info);
    if (!err)
        err = write_limits(call, id, "address", &key->addresses);
    if (!err)
        err = write_limits(call, id, "model", &key->models);
    if (!err)
        err = write_limits(call, id, "route", &key->routes);
    return err;
}

/* Limits of the old key go on for the one that takes over from it. */
static enum err inherit_limits(
    struct admin_call *call, struct str id, struct str from)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "INSERT INTO api_key_limit (key, kind, value) SELECT ?1, kind, value "
        "FROM api_key_limit WHERE key = ?2",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, id);
    db_bind_text(s, 2, from);
    return db_run(s, &call->info);
}

enum err admin_issue_key(
    struct admin_call *call, const struct admin_new_key *key, json_t **answer)
{
    char secret[SECRET_LENGTH + 1], text[ID_LENGTH + 1];
    json_t *after = NULL;
    struct str id;
    enum err err;

    if (key->expires_us && key->expires_us <= clock_now())
        return FAIL(call, ERR_INVALID,
            "the key would have expired already; give a later time");
    err = id_make("key_", text, &call->info);
    if (!err)
        err = secret_make(SECRET_KEY_PREFIX, secret, &call->info);
    if (err)
        return err;
    id = arena_copy(call->arena, str_from(text));
    if (!id.ptr) {
        err = ERR_NOMEM;
        goto out;
    }
    err = insert_key(call, id, str_make(secret, SECRET_LENGTH), key);
    if (!err && key->replaces.len > 0)
        err = inherit_limits(call, id, key->replaces);
    if (!err)
        err = read_key_for_event(call, id, &after);
    if (!err)
        err = admin_record(
            call, "admin.key.issued", "key", id, NULL, after, NULL, STR(""));
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
    int64_t expires, until;
    struct admin_names addresses, models, routes;
};
#define AT(member) offsetof(struct key_body, member)
#define LIMIT_FIELDS                                                           \
    {"addresses", FIELD_TEXTS, false, AT(addresses), 1, 64, NULL},             \
        {"models", FIELD_NAMES, false, AT(models), 0, 0, NULL},                \
    {                                                                          \
        "routes", FIELD_TEXTS, false, AT(routes), 1, 128, NULL                 \
    }

/* Takes answer. */
static enum err finish_issue(struct admin_call *call, enum err err, json_t *key)
{
    if (!err)
        err = admin_commit(call, CHANGED_KEYS);
    if (err) {
        json_decref(key);
        return err;
    }
    return admin_answer(call, 201, key);
}

enum err handle_key_issue(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"label", FIELD_TEXT, false, AT(label), 0, 100, NULL},
        {"expires", FIELD_TIME, false, AT(expires), 0, 0, NULL},
        LIMIT_FIELDS,
    };
    struct key_body body = {.label = STR("")};
    struct str caller;
    json_t *key = NULL;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = admin_resolve_person(call, "cal_", call->params[0], &caller);
    if (err || (err = admin_begin(call)))
        return err;
    err = admin_issue_key(call,
        &(struct admin_new_key){.caller = caller,
            .label = body.label,
            .expires_us = body.expires,
            .addresses = body.addresses,
            .models = body.models,
            .routes = body.routes},
        &key);
    return finish_issue(call, err, key);
}

/* --- Changing ------------------------------------------------------------ */

static enum err update_column(
    struct admin_call *call, const char *sql, struct str id, int64_t value)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db, sql, &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, id);
    db_bind_int(s, 2, value);
    return db_run(s, &call->info);
}

static enum err set_label(
    struct admin_call *call, struct str id, struct str label)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "UPDATE api_key SET label = ?2 WHERE id = ?1", &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, id);
    db_bind_text(s, 2, label);
    return db_run(s, &call->info);
}

static enum err need_in_force(
    struct admin_call *call, struct str id, const json_t *key)
{
    const char *state = json_string_value(json_object_get(key, "state"));

    if (strcmp(state, "in force") == 0)
        return ERR_OK;
    return FAIL(call, ERR_WRONG_STATE,
        "key %.*s is %s; `bailiff key issue` gives a new one", STR_ARG(id),
        state);
}

enum err handle_key_change(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"label", FIELD_TEXT, false, AT(label), 0, 100, NULL},
        {"expires", FIELD_TIME, false, AT(expires), 0, 0, NULL},
        {"reason", FIELD_TEXT, false, AT(reason), 0, 1000, NULL},
        LIMIT_FIELDS,
    };
    struct key_body body = {.reason = STR("")};
    struct str id = call->params[0];
    json_t *before = NULL, *after = NULL, *key;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = need_key(call, id);
    if (err || (err = admin_begin(call)))
        return err;
    err = read_key_for_event(call, id, &before);
    if (!err)
        err = need_in_force(call, id, before);
    if (!err && body.label.ptr)
        err = set_label(call, id, body.label);
    if (!err && body.expires && body.expires <= clock_now())
        err = FAIL(call, ERR_INVALID,
            "the key would have expired already; `bailiff key revoke` ends it");
    if (!err && body.expires)
        err = update_column(call,
            "UPDATE api_key SET expires = ?2 WHERE id = ?1", id, body.expires);
    if (!err && body.addresses.items)
        err = write_limits(call, id, "address", &body.addresses);
    if (!err && body.models.items)
        err = write_limits(call, id, "model", &body.models);
    if (!err && body.routes.items)
        err = write_limits(call, id, "route", &body.routes);
    if (!err)
        err = read_key_for_event(call, id, &after);
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(
        call, "admin.key.changed", "key", id, before, after, NULL, body.reason);
    if (err || (err = admin_commit(call, CHANGED_KEYS)))
        return err;
    err = read_key(call, id, &key);
    return err ? err : admin_answer(call, 200, key);
}

/* --- Rotating ------------------------------------------------------------ */

#define OVERLAP_DEFAULT_US (24 * HOUR_US)
#define OVERLAP_MAX_US (90 * DAY_US)

struct old_key {
    struct str caller, label;
    int64_t created, expires; /* 0: never */
};

static enum err read_old(
    struct admin_call *call, struct str id, struct old_key *out)
{
    struct db_statement *s;
    enum err err =
        db_prepare(call->db, KEY_COLUMNS "WHERE id = ?1", &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, id);
    err = db_step(s, &call->info);
    if (!err) {
        struct str next = admin_column(call, s, 8);
        *out = (struct old_key){.caller = admin_column(call, s, 1),
            .label = admin_column(call, s, 3),
            .created = db_column_int(s, 4),
            .expires = db_column_int(s, 5)};
        if (next.len > 0)
            err = FAIL(call, ERR_WRONG_STATE,
                "key %.*s has been replaced by %.*s already; rotate that one",
                STR_ARG(id), STR_ARG(next));
    }
    db_reset(s);
    return err;
}

/* When the old one ends, never later than it would have anyway. */
static enum err end_old(struct admin_call *call, struct str id,
    const struct old_key *old, int64_t until, struct str successor,
    struct str reason)
{
    json_t *before = NULL, *after = NULL, *detail;
    int64_t now = clock_now();
    enum err err;

    if (until <= now || until > now + OVERLAP_MAX_US)
        return FAIL(call, ERR_INVALID,
            "until: the old key works on for at most 90 days, and not into the "
            "past; `bailiff key revoke` ends it at once");
    if (old->expires && old->expires < until)
        until = old->expires;
    err = read_key_for_event(call, id, &before);
    if (!err)
        err = update_column(
            call, "UPDATE api_key SET expires = ?2 WHERE id = ?1", id, until);
    if (!err)
        err = read_key_for_event(call, id, &after);
    if (err) {
        json_decref(before);
        return err;
    }
    detail = json_object();
    admin_set_text(detail, "successor", successor);
    return admin_record(
        call, "admin.key.rotated", "key", id, before, after, detail, reason);
}

enum err handle_key_rotate(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"until", FIELD_TIME, false, AT(until), 0, 0, NULL},
        {"expires", FIELD_TIME, false, AT(expires), 0, 0, NULL},
        {"reason", FIELD_TEXT, false, AT(reason), 0, 1000, NULL},
    };
    struct key_body body = {
        .reason = STR(""), .until = clock_now() + OVERLAP_DEFAULT_US};
    struct str id = call->params[0];
    struct old_key old;
    json_t *key = NULL, *now_is = NULL;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = need_key(call, id);
    if (err || (err = admin_begin(call)))
        return err;
    err = read_key(call, id, &now_is);
    if (!err)
        err = need_in_force(call, id, now_is);
    json_decref(now_is);
    if (!err)
        err = read_old(call, id, &old);
    if (!err && !body.expires && old.expires) /* as long as the old one */
        body.expires = clock_now() + (old.expires - old.created);
    if (!err)
        err = admin_issue_key(call,
            &(struct admin_new_key){.caller = old.caller,
                .label = old.label,
                .expires_us = body.expires,
                .replaces = id},
            &key);
    if (!err)
        err = end_old(call, id, &old, body.until,
            str_from(json_string_value(json_object_get(key, "id"))),
            body.reason);
    return finish_issue(call, err, key);
}

/* --- Revoking ------------------------------------------------------------ */

enum err handle_key_revoke(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"reason", FIELD_TEXT, false, AT(reason), 0, 1000, NULL},
    };
    struct key_body body = {.reason = STR("")};
    struct str id = call->params[0];
    json_t *before = NULL, *key;
    bool revoked;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = need_key(call, id);
    if (err || (err = admin_begin(call)))
        return err;
    err = admin_exists(call, call->db,
        "SELECT 1 FROM api_key WHERE id = ?1 AND revoked IS NOT NULL", id,
        &revoked);
    if (!err && revoked)
        err = FAIL(
            call, ERR_WRONG_STATE, "key %.*s is revoked already", STR_ARG(id));
    if (!err)
        err = read_key_for_event(call, id, &before);
    if (!err)
        err = update_column(call,
            "UPDATE api_key SET revoked = ?2 WHERE id = ?1", id, clock_now());
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
