/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/issuer_clients.c - applications for which an issuer makes tokens:
 * which of them are let in where not all are (clientsOnly), and whose caller
 * one is that asks for itself (client credentials). */
#include "proxy/admin/admin_priv.h"

#define CLIENT_MAX_BYTES 256

struct client_body {
    struct str client, caller;
};

static enum err insert(
    struct admin_call *call, struct str client, struct str caller)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "INSERT INTO issuer_client (issuer, client, caller) VALUES (?1, ?2, "
        "nullif(?3, ''))",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, call->params[0]);
    db_bind_text(s, 2, client);
    db_bind_text(s, 3, caller);
    err = db_run(s, &call->info);
    if (err == ERR_EXISTS)
        return FAIL(call, ERR_EXISTS,
            "the client \"%.*s\" is there already; unmap it first",
            STR_ARG(client));
    return err;
}

enum err handle_issuer_client_map(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"client", FIELD_TEXT, true, offsetof(struct client_body, client), 1,
            CLIENT_MAX_BYTES, NULL},
        {"caller", FIELD_NAME, false, offsetof(struct client_body, caller), 0,
            0, NULL},
    };
    struct client_body body = {.caller = STR("")};
    struct str caller = STR("");
    json_t *before = NULL;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (err || (err = admin_issuer_begin(call, &before)))
        return err;
    if (body.caller.len > 0)
        err = admin_resolve_person(call, "cal_", body.caller, &caller);
    if (!err)
        err = insert(call, body.client, caller);
    return admin_issuer_end(call, err, before, STR(""), 201);
}

enum err handle_issuer_client_unmap(struct admin_call *call)
{
    json_t *before = NULL;
    bool found = false;
    enum err err = admin_issuer_begin(call, &before);

    if (err)
        return err;
    err = admin_issuer_take_away(call,
        "DELETE FROM issuer_client WHERE issuer = ?1 AND client = ?2", &found);
    if (!err && !found)
        err = FAIL(call, ERR_NOTFOUND,
            "no client \"%.*s\" of this issuer is known here",
            STR_ARG(call->params[1]));
    return admin_issuer_end(call, err, before, STR(""), 200);
}
