/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/issuer_claims.c - claims of an issuer's tokens that rules may ask
 * about: context.claims.NAME, of one type whichever issuer it comes from.
 *
 * An attribute stays known as long as any stored version of the rules may name
 * it, even when no issuer has it any more: what was in force can be compiled
 * again, and removing an issuer is never held up. */
#include "proxy/admin/admin_priv.h"

#include "policy/claims.h"

#define CLAIM_MAX_BYTES 200

struct claim_body {
    struct str claim, attribute, type;
};

/* One number of one row. */
static enum err count(
    struct admin_call *call, const char *sql, struct str text, int64_t *out)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db, sql, &s, &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, text);
    err = db_step(s, &call->info);
    if (!err)
        *out = db_column_int(s, 0);
    db_reset(s);
    return err;
}

/* Nobody knows it any more? Then it goes. The text of a version is searched
 * for the bare word, which is there wherever a rule names it. */
static enum err forget(struct admin_call *call, struct str attribute)
{
    int64_t used = 0, named = 0;
    struct db_statement *s;
    enum err err =
        count(call, "SELECT count(*) FROM issuer_claim WHERE attribute = ?1",
            attribute, &used);

    if (!err && used == 0)
        err = count(call,
            "SELECT count(*) FROM policy_version WHERE instr(text, ?1) > 0",
            attribute, &named);
    if (err || used > 0 || named > 0)
        return err;
    err = db_prepare(call->db, "DELETE FROM claim_attribute WHERE name = ?1",
        &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, attribute);
    return db_run(s, &call->info);
}

/* The attribute is of that type, now or already. */
static enum err declare(struct admin_call *call, const struct claim_body *body)
{
    struct db_statement *s;
    struct str type = STR("");
    int64_t known = 0;
    enum err err = forget(call, body->attribute);

    if (!err)
        err = db_prepare(call->db,
            "SELECT type FROM claim_attribute WHERE name = ?1", &s,
            &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, body->attribute);
    err = db_step(s, &call->info);
    if (!err)
        type = admin_column(call, s, 0);
    db_reset(s);
    if (!err && !str_equal(type, body->type))
        return FAIL(call, ERR_WRONG_STATE,
            "context.claims.%.*s is a %.*s already: an issuer has it so "
            "(`bailiff issuer claims`), or a stored version of the rules; "
            "choose another name for this one",
            STR_ARG(body->attribute), STR_ARG(type));
    if (err != ERR_NOTFOUND)
        return err;
    err = count(call, "SELECT count(*) FROM claim_attribute WHERE ?1 = ?1",
        body->attribute, &known);
    if (!err && known >= POLICY_CLAIM_TYPES_MAX)
        err = FAIL(call, ERR_LIMIT,
            "%d attributes of claims are known, and no more can be",
            POLICY_CLAIM_TYPES_MAX);
    if (!err)
        err = db_prepare(call->db,
            "INSERT INTO claim_attribute (name, type) VALUES (?1, ?2)", &s,
            &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, body->attribute);
    db_bind_text(s, 2, body->type);
    return db_run(s, &call->info);
}

static enum err insert(struct admin_call *call, const struct claim_body *body)
{
    struct db_statement *s;
    int64_t mapped = 0;
    enum err err =
        count(call, "SELECT count(*) FROM issuer_claim WHERE issuer = ?1",
            call->params[0], &mapped);

    if (!err && mapped >= POLICY_CLAIMS_MAX)
        err = FAIL(call, ERR_LIMIT, "an issuer has at most %d claims mapped",
            POLICY_CLAIMS_MAX);
    if (!err)
        err = db_prepare(call->db,
            "INSERT INTO issuer_claim (issuer, attribute, claim) VALUES (?1, "
            "?2, ?3)",
            &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, call->params[0]);
    db_bind_text(s, 2, body->attribute);
    db_bind_text(s, 3, body->claim);
    err = db_run(s, &call->info);
    if (err == ERR_EXISTS)
        return FAIL(call, ERR_EXISTS,
            "context.claims.%.*s is a claim of this issuer already; unmap it "
            "first",
            STR_ARG(body->attribute));
    return err;
}

static enum err issuers_with(
    struct admin_call *call, struct str attribute, json_t *list)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT issuer FROM issuer_claim WHERE attribute = ?1 ORDER BY issuer",
        &s, &call->info);

    if (!err)
        db_bind_text(s, 1, attribute);
    while (!err && (err = db_step(s, &call->info)) == ERR_OK)
        json_array_append_new(list, admin_text(db_column_text(s, 0)));
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

enum err handle_claim_list(struct admin_call *call)
{
    struct db_statement *s;
    json_t *items = json_array(), *one;
    size_t i;
    enum err err = db_prepare(call->db,
        "SELECT name, type FROM claim_attribute ORDER BY name", &s,
        &call->info);

    while (!err && (err = db_step(s, &call->info)) == ERR_OK) {
        one = json_object();
        admin_set_text(one, "name", db_column_text(s, 0));
        admin_set_text(one, "type", db_column_text(s, 1));
        admin_set(one, "issuers", json_array());
        json_array_append_new(items, one);
    }
    if (err == ERR_NOTFOUND)
        err = ERR_OK;
    json_array_foreach(items, i, one)
    {
        if (!err)
            err = issuers_with(call,
                str_from(json_string_value(json_object_get(one, "name"))),
                json_object_get(one, "issuers"));
    }
    if (!err)
        return admin_answer_list(call, items);
    json_decref(items);
    return err;
}

enum err handle_issuer_claim_map(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"claim", FIELD_TEXT, true, offsetof(struct claim_body, claim), 1,
            CLAIM_MAX_BYTES, NULL},
        {"attribute", FIELD_TEXT, true, offsetof(struct claim_body, attribute),
            1, POLICY_CLAIM_NAME_MAX, NULL},
        {"type", FIELD_WORD, true, offsetof(struct claim_body, type), 0, 0,
            "string long bool set"},
    };
    struct claim_body body = {.claim = STR("")};
    json_t *before = NULL;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err && !policy_claim_name_is_good(body.attribute))
        err = FAIL(call, ERR_INVALID,
            "attribute: \"%.*s\" cannot be written as context.claims.NAME: "
            "letters, digits and _, no digit first, no word of the language",
            STR_ARG(body.attribute));
    if (err || (err = admin_issuer_begin(call, &before)))
        return err;
    err = declare(call, &body);
    if (!err)
        err = insert(call, &body);
    return admin_issuer_end(call, err, before, STR(""), 201);
}

enum err handle_issuer_claim_unmap(struct admin_call *call)
{
    json_t *before = NULL;
    bool found = false;
    enum err err = admin_issuer_begin(call, &before);

    if (err)
        return err;
    err = admin_issuer_take_away(call,
        "DELETE FROM issuer_claim WHERE issuer = ?1 AND attribute = ?2",
        &found);
    if (!err && !found)
        err = FAIL(call, ERR_NOTFOUND,
            "context.claims.%.*s is no claim of this issuer",
            STR_ARG(call->params[1]));
    if (!err)
        err = forget(call, call->params[1]);
    return admin_issuer_end(call, err, before, STR(""), 200);
}
