/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/issuer_groups.c - groups of an issuer's tokens that are teams
 * here: who comes with such a token is in the team for that request. */
#include "proxy/admin/admin_priv.h"

#define GROUP_MAX_BYTES 500

struct mapping_body {
    struct str group, team;
};

static enum err insert(struct admin_call *call, const struct mapping_body *body)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "INSERT INTO issuer_group (issuer, group_name, team) VALUES (?1, ?2, "
        "?3)",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, call->params[0]);
    db_bind_text(s, 2, body->group);
    db_bind_text(s, 3, body->team);
    err = db_run(s, &call->info);
    if (err == ERR_EXISTS)
        return FAIL(call, ERR_EXISTS,
            "the group \"%.*s\" stands for a team already; unmap it first",
            STR_ARG(body->group));
    return err;
}

enum err handle_issuer_group_map(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"group", FIELD_TEXT, true, offsetof(struct mapping_body, group), 1,
            GROUP_MAX_BYTES, NULL},
        {"team", FIELD_NAME, true, offsetof(struct mapping_body, team), 0, 0,
            NULL},
    };
    struct mapping_body body = {.group = STR("")};
    json_t *before = NULL;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (err || (err = admin_issuer_begin(call, &before)))
        return err;
    if (json_string_length(json_object_get(before, "groupsClaim")) == 0)
        err = FAIL(call, ERR_WRONG_STATE,
            "no groups are read from this issuer's tokens: add it anew with a "
            "groups claim (--groups-claim)");
    if (!err)
        err = admin_need_team(call, body.team);
    if (!err)
        err = insert(call, &body);
    return admin_issuer_end(call, err, before, STR(""), 201);
}

enum err handle_issuer_group_unmap(struct admin_call *call)
{
    json_t *before = NULL;
    bool found = false;
    enum err err = admin_issuer_begin(call, &before);

    if (err)
        return err;
    err = admin_issuer_take_away(call,
        "DELETE FROM issuer_group WHERE issuer = ?1 AND group_name = ?2",
        &found);
    if (!err && !found)
        err = FAIL(call, ERR_NOTFOUND, "the group \"%.*s\" stands for no team",
            STR_ARG(call->params[1]));
    return admin_issuer_end(call, err, before, STR(""), 200);
}
