/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/gateways.c - callers that may pass on for whom they ask. */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"

static json_t *gateway_json(struct db_statement *s)
{
    json_t *gateway = json_object();

    admin_set_text(gateway, "caller", db_column_text(s, 0));
    admin_set_bool(gateway, "required", db_column_int(s, 1) != 0);
    admin_set_time(gateway, "created", db_column_int(s, 2));
    return gateway;
}

/* For people; never in an event. */
static void add_handle(struct admin_call *call, json_t *gateway)
{
    struct str id =
        str_from(json_string_value(json_object_get(gateway, "caller")));

    admin_set_text(gateway, "callerName", admin_handle_of(call, id));
}

enum err handle_gateway_list(struct admin_call *call)
{
    struct db_statement *s;
    json_t *items = json_array(), *one;
    size_t i;
    enum err err = db_prepare(call->db,
        "SELECT caller, required, created FROM gateway ORDER BY caller", &s,
        &call->info);

    while (!err && (err = db_step(s, &call->info)) == ERR_OK)
        json_array_append_new(items, gateway_json(s));
    json_array_foreach(items, i, one) add_handle(call, one);
    if (err == ERR_NOTFOUND)
        return admin_answer_list(call, items);
    json_decref(items);
    return err;
}

/* ERR_NOTFOUND without words: it is none. */
static enum err read_gateway(
    struct admin_call *call, struct str id, json_t **out)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT caller, required, created FROM gateway WHERE caller = ?1", &s,
        &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, id);
    err = db_step(s, &call->info);
    if (!err)
        *out = gateway_json(s);
    db_reset(s);
    return err;
}

struct gateway_body {
    struct str caller;
    bool required;
};

static enum err insert(
    struct admin_call *call, const struct gateway_body *body, struct str id)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "INSERT INTO gateway (caller, required, created) VALUES (?1, ?2, ?3)",
        &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, id);
    db_bind_int(s, 2, body->required);
    db_bind_int(s, 3, clock_now());
    err = db_run(s, &call->info);
    if (err == ERR_EXISTS)
        return FAIL(call, ERR_EXISTS,
            "the caller is a gateway already; remove it first to change it");
    return err;
}

enum err handle_gateway_add(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"caller", FIELD_NAME, true, offsetof(struct gateway_body, caller), 0,
            0, NULL},
        {"required", FIELD_BOOL, false, offsetof(struct gateway_body, required),
            0, 0, NULL},
    };
    struct gateway_body body = {.required = false};
    struct str id;
    json_t *gateway;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = admin_resolve_person(call, "cal_", body.caller, &id);
    if (err || (err = admin_begin(call)))
        return err;
    err = insert(call, &body, id);
    if (!err)
        err = read_gateway(call, id, &gateway);
    if (err)
        return err;
    err = admin_record(call, "admin.gateway.added", "gateway", id, NULL,
        json_deep_copy(gateway), NULL, STR(""));
    if (!err)
        err = admin_commit(call, CHANGED_ISSUERS);
    if (!err) {
        add_handle(call, gateway);
        return admin_answer(call, 201, gateway);
    }
    json_decref(gateway);
    return err;
}

enum err handle_gateway_remove(struct admin_call *call)
{
    struct db_statement *s;
    struct str id;
    json_t *before = NULL;
    enum err err = admin_resolve_person(call, "cal_", call->params[0], &id);

    if (err || (err = admin_begin(call)))
        return err;
    err = read_gateway(call, id, &before);
    if (err == ERR_NOTFOUND)
        return FAIL(call, ERR_NOTFOUND, "the caller \"%.*s\" is no gateway",
            STR_ARG(call->params[0]));
    if (!err)
        err = db_prepare(
            call->db, "DELETE FROM gateway WHERE caller = ?1", &s, &call->info);
    if (!err) {
        db_bind_text(s, 1, id);
        err = db_run(s, &call->info);
    }
    if (err) {
        json_decref(before);
        return err;
    }
    err = admin_record(call, "admin.gateway.removed", "gateway", id, before,
        NULL, NULL, STR(""));
    if (!err)
        err = admin_commit(call, CHANGED_ISSUERS);
    return err ? err
               : admin_answer(call, 200, json_pack("{s:b}", "removed", 1));
}
