/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/rows.c - rows that several nouns ask for: does it exist (and
 * what was meant if not), who is it, does a rule name it, settings of the
 * organisation. */
#include "proxy/admin/admin_priv.h"

#include "policy/names.h"
#include "proxy/name.h"

#include <stdlib.h>

#define SUGGEST_MAX 2000 /* names that are looked at for a suggestion */

struct str admin_column(struct admin_call *call, struct db_statement *s, int at)
{
    return arena_copy(call->arena, db_column_text(s, at));
}

enum err admin_answer_rows(struct admin_call *call, const char *sql,
    json_t *(*row)(struct admin_call *call, struct db_statement *s))
{
    return admin_answer_rows_of(call, sql, STR(""), row);
}

enum err admin_answer_rows_of(struct admin_call *call, const char *sql,
    struct str owner,
    json_t *(*row)(struct admin_call *call, struct db_statement *s))
{
    struct db_statement *s;
    json_t *items = json_array();
    enum err err = db_prepare(call->db, sql, &s, &call->info);

    if (!err && owner.len > 0)
        db_bind_text(s, 1, owner);
    while (!err && (err = db_step(s, &call->info)) == ERR_OK)
        json_array_append_new(items, row(call, s));
    if (err == ERR_NOTFOUND)
        return admin_answer_list(call, items);
    json_decref(items);
    return err;
}

enum err admin_exists(struct admin_call *call, struct db *db, const char *sql,
    struct str name, bool *out)
{
    struct db_statement *s;
    enum err err = db_prepare(db, sql, &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, name);
    err = db_step(s, &call->info);
    db_reset(s);
    if (err && err != ERR_NOTFOUND)
        return err;
    *out = err == ERR_OK;
    return ERR_OK;
}

static struct str suggest(struct admin_call *call, struct db *db,
    const char *list_sql, struct str name)
{
    struct db_statement *s;
    struct str *names = ARENA_ARRAY(call->arena, SUGGEST_MAX, struct str);
    size_t count = 0;

    if (!names || db_prepare(db, list_sql, &s, NULL) != ERR_OK)
        return str_make(NULL, 0);
    while (count < SUGGEST_MAX && db_step(s, NULL) == ERR_OK) {
        names[count] = admin_column(call, s, 0);
        if (names[count].ptr)
            count++;
    }
    db_reset(s);
    return str_suggest(name, names, count);
}

enum err admin_need(struct admin_call *call, struct db *db, const char *kind,
    const char *one_sql, const char *list_sql, struct str name)
{
    struct str near;
    bool exists;
    enum err err = admin_exists(call, db, one_sql, name, &exists);

    if (err || exists)
        return err;
    near = suggest(call, db, list_sql, name);
    if (near.len > 0)
        return FAIL(call, ERR_NOTFOUND,
            "there is no %s \"%.*s\"; did you mean \"%.*s\"?", kind,
            STR_ARG(name), STR_ARG(near));
    return FAIL(
        call, ERR_NOTFOUND, "there is no %s \"%.*s\"", kind, STR_ARG(name));
}

enum err admin_need_team(struct admin_call *call, struct str name)
{
    return admin_need(call, call->db, "team",
        "SELECT 1 FROM team WHERE name = ?1", "SELECT name FROM team", name);
}

enum err admin_need_engine(struct admin_call *call, struct str name)
{
    return admin_need(call, call->db, "engine",
        "SELECT 1 FROM engine WHERE name = ?1", "SELECT name FROM engine",
        name);
}

enum err admin_need_model(struct admin_call *call, struct str name)
{
    return admin_need(call, call->db, "model",
        "SELECT 1 FROM model WHERE name = ?1", "SELECT name FROM model", name);
}

enum err admin_resolve_model(
    struct admin_call *call, struct str name, struct str *out)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT model FROM model_alias WHERE alias = ?1", &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, name);
    err = db_step(s, &call->info);
    if (err == ERR_OK)
        *out = admin_column(call, s, 0);
    db_reset(s);
    if (err != ERR_NOTFOUND)
        return err;
    err = admin_need_model(call, name);
    if (!err)
        *out = name;
    return err;
}

/* --- Persons --------------------------------------------------------- */

enum err admin_resolve_person(struct admin_call *call, const char *prefix,
    struct str handle, struct str *id)
{
    bool is_caller = strcmp(prefix, "cal_") == 0;
    const char *kind = is_caller ? "caller" : "administrator";
    struct db_statement *s;
    enum err err;

    if (str_starts(handle, str_from(prefix))) {
        *id = handle;
        return is_caller ? admin_need(call, call->db, kind,
                               "SELECT 1 FROM caller WHERE id = ?1",
                               "SELECT id FROM caller", handle)
                         : admin_need(call, call->db, kind,
                               "SELECT 1 FROM administrator WHERE id = ?1",
                               "SELECT id FROM administrator", handle);
    }
    err = db_prepare(call->persons,
        "SELECT id FROM person WHERE handle = ?1 AND substr(id, 1, 4) = ?2", &s,
        &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, handle);
    db_bind_text(s, 2, str_from(prefix));
    err = db_step(s, &call->info);
    if (err == ERR_OK)
        *id = admin_column(call, s, 0);
    db_reset(s);
    if (err == ERR_NOTFOUND) {
        struct str near = admin_nearest_handle(call, prefix, handle);
        if (near.len > 0)
            return FAIL(call, ERR_NOTFOUND,
                "there is no %s \"%.*s\"; did you mean \"%.*s\"?", kind,
                STR_ARG(handle), STR_ARG(near));
        return FAIL(call, ERR_NOTFOUND, "there is no %s \"%.*s\"", kind,
            STR_ARG(handle));
    }
    return err;
}

struct str admin_nearest_handle(
    struct admin_call *call, const char *prefix, struct str handle)
{
    return suggest(call, call->persons,
        strcmp(prefix, "cal_") == 0
            ? "SELECT handle FROM person WHERE substr(id, 1, 4) = 'cal_'"
            : "SELECT handle FROM person WHERE substr(id, 1, 4) = 'adm_'",
        handle);
}

struct str admin_handle_of(struct admin_call *call, struct str id)
{
    struct str handle = {"", 0};
    struct db_statement *s;

    if (id.len == 0 ||
        db_prepare(call->persons, "SELECT handle FROM person WHERE id = ?1", &s,
            NULL) != ERR_OK)
        return handle;
    db_bind_text(s, 1, id);
    if (db_step(s, NULL) == ERR_OK)
        handle = admin_column(call, s, 0);
    db_reset(s);
    return handle;
}

enum err admin_add_person(
    struct admin_call *call, struct str id, struct str handle, struct str name)
{
    struct db_statement *s;
    enum err err;

    if (name_looks_like_id(handle))
        return FAIL(call, ERR_INVALID,
            "\"%.*s\" looks like an id; a handle does not begin with cal_ or "
            "adm_",
            STR_ARG(handle));
    err = db_prepare(call->persons,
        "INSERT INTO person (id, handle, name) VALUES (?1, ?2, ?3)", &s,
        &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, id);
    db_bind_text(s, 2, handle);
    db_bind_text(s, 3, name);
    err = db_run(s, &call->info);
    if (err == ERR_EXISTS)
        return FAIL(call, ERR_EXISTS,
            "the handle \"%.*s\" is taken; callers and administrators share "
            "one list of handles, so choose another",
            STR_ARG(handle));
    return err;
}

/* --- Rules ----------------------------------------------------------- */

enum err admin_refuse_if_named(
    struct admin_call *call, const char *type, struct str id)
{
    struct policy_naming naming;
    enum err err =
        policy_names_find(call->db, str_from(type), id, &naming, &call->info);

    if (err == ERR_NOTFOUND) {
        call->info = (struct errinfo){0};
        return ERR_OK;
    }
    if (err)
        return err;
    return FAIL(call, ERR_WRONG_STATE,
        "%s::\"%.*s\" is named by rule \"%s\" (line %d) of policy version "
        "%lld, which is %s; activate a version without it first",
        type, STR_ARG(id), naming.rule, naming.line, (long long)naming.version,
        naming.state);
}

/* --- Settings of the organisation ------------------------------------ */

enum err admin_setting(struct admin_call *call, const char *key,
    const char *otherwise, struct str *out)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT value FROM organisation_setting WHERE key = ?1", &s,
        &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, str_from(key));
    err = db_step(s, &call->info);
    if (err == ERR_OK)
        *out = admin_column(call, s, 0);
    else if (err == ERR_NOTFOUND)
        *out = str_from(otherwise);
    db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

enum err admin_setting_int(
    struct admin_call *call, const char *key, int64_t otherwise, int64_t *out)
{
    struct str text;
    enum err err = admin_setting(call, key, "", &text);

    if (err)
        return err;
    if (text.len == 0) {
        *out = otherwise;
        return ERR_OK;
    }
    if (str_to_i64(text, out) != ERR_OK)
        return FAIL(call, ERR_CORRUPT,
            "the setting %s of the organisation is \"%.*s\", which is no "
            "number",
            key, STR_ARG(text));
    return ERR_OK;
}
