/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/anchors.c - anchors: where checkpoints go, so that someone else
 * holds them. The server's publisher hands them over; here are the rows. */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"

#define ANCHOR_COLUMNS                                                         \
    "SELECT name, kind, target, every_minutes, created FROM anchor "

static json_t *anchor_json(struct admin_call *call, struct db_statement *s)
{
    json_t *anchor = json_object();

    admin_set_text(anchor, "name", db_column_text(s, 0));
    admin_set_text(anchor, "kind", db_column_text(s, 1));
    admin_set_text(anchor, "target", db_column_text(s, 2));
    admin_set_int(anchor, "everyMinutes", db_column_int(s, 3));
    admin_set_time(anchor, "created", db_column_int(s, 4));
    return anchor;
}

enum err handle_anchor_list(struct admin_call *call)
{
    return admin_answer_rows(call, ANCHOR_COLUMNS "ORDER BY name", anchor_json);
}

static enum err read_anchor(
    struct admin_call *call, struct str name, json_t **out)
{
    struct db_statement *s;
    enum err err = admin_need(call, call->db, "anchor",
        "SELECT 1 FROM anchor WHERE name = ?1", "SELECT name FROM anchor",
        name);

    if (!err)
        err = db_prepare(
            call->db, ANCHOR_COLUMNS "WHERE name = ?1", &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, name);
    err = db_step(s, &call->info);
    if (!err)
        *out = anchor_json(call, s);
    db_reset(s);
    return err;
}

struct anchor_body {
    struct str name, kind, target;
    int64_t every_minutes;
};

#define AT(member) offsetof(struct anchor_body, member)
enum err handle_anchor_add(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"name", FIELD_NAME, true, AT(name), 0, 0, NULL},
        {"kind", FIELD_WORD, true, AT(kind), 0, 0, "file command"},
        {"target", FIELD_TEXT, true, AT(target), 1, 1000, NULL},
        {"everyMinutes", FIELD_INT, false, AT(every_minutes), 1, 10080, NULL},
    };
    struct anchor_body body = {.every_minutes = 60};
    struct db_statement *s;
    json_t *anchor;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err && str_equal(body.kind, STR("file")) && body.target.ptr[0] != '/')
        err = FAIL(call, ERR_INVALID,
            "target: \"%.*s\" is no absolute path; the server may run in "
            "another directory",
            STR_ARG(body.target));
    if (err || (err = admin_begin(call)))
        return err;
    err = db_prepare(call->db,
        "INSERT INTO anchor (name, kind, target, every_minutes, created) "
        "VALUES (?1, ?2, ?3, ?4, ?5)",
        &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, body.name);
    db_bind_text(s, 2, body.kind);
    db_bind_text(s, 3, body.target);
    db_bind_int(s, 4, body.every_minutes);
    db_bind_int(s, 5, clock_now());
    err = db_run(s, &call->info);
    if (err == ERR_EXISTS)
        err = FAIL(call, ERR_EXISTS, "there is an anchor \"%.*s\" already",
            STR_ARG(body.name));
    if (!err)
        err = read_anchor(call, body.name, &anchor);
    if (!err)
        err = admin_record(call, "admin.anchor.added", "anchor", body.name,
            NULL, json_incref(anchor), NULL, STR(""));
    if (err || (err = admin_commit(call, CHANGED_ANCHORS)))
        return err;
    return admin_answer(call, 201, anchor);
}

enum err handle_anchor_remove(struct admin_call *call)
{
    struct db_statement *s;
    json_t *before = NULL;
    enum err err = admin_begin(call);

    if (!err)
        err = read_anchor(call, call->params[0], &before);
    if (err)
        return err;
    err = db_prepare(
        call->db, "DELETE FROM anchor WHERE name = ?1", &s, &call->info);
    if (!err) {
        db_bind_text(s, 1, call->params[0]);
        err = db_run(s, &call->info);
    }
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(call, "admin.anchor.removed", "anchor", call->params[0],
        before, NULL, NULL, STR(""));
    if (!err)
        err = admin_commit(call, CHANGED_ANCHORS);
    return err ? err
               : admin_answer(call, 200, json_pack("{s:b}", "removed", 1));
}
