/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/witnesses.c - who cosigns the log's checkpoints, and how many
 * must. The server asks them (audit/witnesses.h); here are the rows. */
#include "proxy/admin/admin_priv.h"

#include "audit/witnesses.h"
#include "lib/clock.h"

#define WITNESS_COLUMNS "SELECT name, url, key, ca_file, created FROM witness "
#define GRACE_DEFAULT 10
#define EVERY_DEFAULT 10

static json_t *witness_json(struct admin_call *call, struct db_statement *s)
{
    json_t *witness = json_object();

    admin_set_text(witness, "name", db_column_text(s, 0));
    admin_set_text(witness, "url", db_column_text(s, 1));
    admin_set_text(witness, "key", db_column_text(s, 2));
    admin_set_text(witness, "caFile", db_column_text(s, 3));
    admin_set_time(witness, "created", db_column_int(s, 4));
    return witness;
}

enum err handle_witness_list(struct admin_call *call)
{
    return admin_answer_rows(
        call, WITNESS_COLUMNS "ORDER BY name", witness_json);
}

static enum err read_witness(
    struct admin_call *call, struct str name, json_t **out)
{
    struct db_statement *s;
    enum err err = admin_need(call, call->db, "witness",
        "SELECT 1 FROM witness WHERE name = ?1", "SELECT name FROM witness",
        name);

    if (!err)
        err = db_prepare(
            call->db, WITNESS_COLUMNS "WHERE name = ?1", &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, name);
    err = db_step(s, &call->info);
    if (!err)
        *out = witness_json(call, s);
    db_reset(s);
    return err;
}

struct witness_body {
    struct str name, url, key, ca_file;
};

static enum err check_body(
    struct admin_call *call, const struct witness_body *body)
{
    struct note_key key;
    enum err err = note_witness_key_parse(body->key, &key, &call->info);

    if (err)
        return errinfo_prefix(&call->info, ERR_INVALID, "key");
    if (!str_starts(body->url, STR("https://")) &&
        !str_starts(body->url, STR("http://")))
        return FAIL(call, ERR_INVALID,
            "url: \"%.*s\" is no witness: https://HOST/PREFIX or "
            "http://HOST/PREFIX",
            STR_ARG(body->url));
    if (body->ca_file.len > 0 && body->ca_file.ptr[0] != '/')
        return FAIL(call, ERR_INVALID,
            "caFile: \"%.*s\" is no absolute path; the server may run in "
            "another directory",
            STR_ARG(body->ca_file));
    return ERR_OK;
}

static enum err insert(struct admin_call *call, const struct witness_body *body)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "INSERT INTO witness (name, url, key, ca_file, created) "
        "SELECT ?1, ?2, ?3, ?4, ?5 WHERE (SELECT count(*) FROM witness) < ?6 "
        "RETURNING 1",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, body->name);
    db_bind_text(s, 2, body->url);
    db_bind_text(s, 3, body->key);
    db_bind_text(s, 4, body->ca_file);
    db_bind_int(s, 5, clock_now());
    db_bind_int(s, 6, WITNESSES_MAX);
    err = db_step(s, &call->info);
    db_reset(s);
    if (err == ERR_EXISTS)
        return FAIL(call, ERR_EXISTS,
            "there is a witness \"%.*s\" already, or one with this key",
            STR_ARG(body->name));
    return err == ERR_NOTFOUND
               ? FAIL(call, ERR_LIMIT,
                     "there are %d witnesses already: no more", WITNESSES_MAX)
               : err;
}

#define AT(member) offsetof(struct witness_body, member)
enum err handle_witness_add(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"name", FIELD_NAME, true, AT(name), 0, 0, NULL},
        {"url", FIELD_TEXT, true, AT(url), 1, 1000, NULL},
        {"key", FIELD_TEXT, true, AT(key), 1, 1000, NULL},
        {"caFile", FIELD_TEXT, false, AT(ca_file), 0, 1000, NULL},
    };
    struct witness_body body = {.ca_file = STR_INIT("")};
    json_t *witness;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = check_body(call, &body);
    if (err || (err = admin_begin(call)))
        return err;
    err = insert(call, &body);
    if (!err)
        err = read_witness(call, body.name, &witness);
    if (!err)
        err = admin_record(call, "admin.witness.added", "witness", body.name,
            NULL, json_incref(witness), NULL, STR(""));
    if (err || (err = admin_commit(call, CHANGED_WITNESSES)))
        return err;
    return admin_answer(call, 201, witness);
}
#undef AT

enum err handle_witness_remove(struct admin_call *call)
{
    struct db_statement *s;
    json_t *before = NULL;
    enum err err = admin_begin(call);

    if (!err)
        err = read_witness(call, call->params[0], &before);
    if (err)
        return err;
    err = db_prepare(
        call->db, "DELETE FROM witness WHERE name = ?1", &s, &call->info);
    if (!err) {
        db_bind_text(s, 1, call->params[0]);
        err = db_run(s, &call->info);
    }
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(call, "admin.witness.removed", "witness",
        call->params[0], before, NULL, NULL, STR(""));
    if (!err)
        err = admin_commit(call, CHANGED_WITNESSES);
    return err ? err
               : admin_answer(call, 200, json_pack("{s:b}", "removed", 1));
}

/* --- The quorum ------------------------------------------------------------
 */

struct quorum_body {
    int64_t quorum, grace_minutes, every_seconds;
    struct str mode;
};

static enum err read_policy(struct admin_call *call, json_t **out)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT quorum, mode, grace_minutes, every_seconds FROM witness_policy",
        &s, &call->info);

    if (err)
        return err;
    err = db_step(s, &call->info);
    if (err && err != ERR_NOTFOUND)
        return err;
    *out = json_object();
    admin_set_int(*out, "quorum", err ? 0 : db_column_int(s, 0));
    admin_set_text(*out, "mode", err ? STR("open") : db_column_text(s, 1));
    admin_set_int(
        *out, "graceMinutes", err ? GRACE_DEFAULT : db_column_int(s, 2));
    admin_set_int(
        *out, "everySeconds", err ? EVERY_DEFAULT : db_column_int(s, 3));
    db_reset(s);
    return ERR_OK;
}

enum err handle_witness_policy(struct admin_call *call)
{
    json_t *policy = NULL;
    enum err err = read_policy(call, &policy);

    return err ? err : admin_answer(call, 200, policy);
}

#define AT(member) offsetof(struct quorum_body, member)
enum err handle_witness_policy_put(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"quorum", FIELD_INT, true, AT(quorum), 0, WITNESSES_MAX, NULL},
        {"mode", FIELD_WORD, false, AT(mode), 0, 0, "open closed"},
        {"graceMinutes", FIELD_INT, false, AT(grace_minutes), 0, 10080, NULL},
        {"everySeconds", FIELD_INT, false, AT(every_seconds), 1, 3600, NULL},
    };
    struct quorum_body body = {.mode = STR_INIT("open"),
        .grace_minutes = GRACE_DEFAULT,
        .every_seconds = EVERY_DEFAULT};
    struct db_statement *s;
    json_t *before = NULL, *after = NULL;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (err || (err = admin_begin(call)))
        return err;
    err = read_policy(call, &before);
    if (!err)
        err = db_prepare(call->db,
            "INSERT INTO witness_policy (one, quorum, mode, grace_minutes, "
            "every_seconds) VALUES (1, ?1, ?2, ?3, ?4) ON CONFLICT (one) DO "
            "UPDATE SET quorum = ?1, mode = ?2, grace_minutes = ?3, "
            "every_seconds = ?4",
            &s, &call->info);
    if (!err) {
        db_bind_int(s, 1, body.quorum);
        db_bind_text(s, 2, body.mode);
        db_bind_int(s, 3, body.grace_minutes);
        db_bind_int(s, 4, body.every_seconds);
        err = db_run(s, &call->info);
    }
    if (!err)
        err = read_policy(call, &after);
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(call, "admin.witness.quorum_set", "witness", STR(""),
        before, json_incref(after), NULL, STR(""));
    if (err || (err = admin_commit(call, CHANGED_WITNESSES)))
        return err;
    return admin_answer(call, 200, after);
}
