/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/sign_in.c - administrators who sign in with an identity
 * provider: a token of an issuer that is believed, with the administrators'
 * own audience, whose "sub" is mapped to an administrator. The subject is kept
 * as a digest: it may be an address. */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"
#include "lib/crypto.h"
#include "proxy/admin/signed_token.h"
#include "proxy/jwt/jwks.h"

#define SUBJECT_MAX 512

/* --- Who a token is ------------------------------------------------------ */

struct issuer_row {
    struct str name;
    int64_t skew_us;
};

static enum err find_issuer(
    struct admin_call *call, struct str iss, struct issuer_row *out)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT name, skew_seconds FROM issuer WHERE issuer = ?1", &s,
        &call->info);

    if (err)
        return err;
    db_bind_text(s, 1, iss);
    err = db_step(s, &call->info);
    if (!err) {
        out->name = admin_column(call, s, 0);
        out->skew_us = db_column_int(s, 1) * SECOND_US;
    }
    db_reset(s);
    return err;
}

static void digest_subject(struct str subject, uint8_t out[SHA256_SIZE])
{
    crypto_sha256(out, subject.ptr, subject.len);
}

/* The signature is good; does it stand for somebody, and is it for this? */
static const char *find_administrator(struct admin_call *call,
    const struct signed_token *token, const struct issuer_row *issuer)
{
    uint8_t digest[SHA256_SIZE];
    struct db_statement *s;
    struct str audience;
    const char *why;
    bool disabled;

    if (db_prepare(call->db,
            "SELECT administrator.id, role, disabled, audience FROM "
            "administrator_sign_in JOIN administrator ON administrator.id = "
            "administrator WHERE issuer = ?1 AND subject = ?2",
            &s, &call->info) != ERR_OK)
        return "nobody could be looked up";
    digest_subject(token->subject, digest);
    db_bind_text(s, 1, issuer->name);
    db_bind_blob(s, 2, digest, sizeof digest);
    if (db_step(s, &call->info) != ERR_OK) {
        db_reset(s);
        return "its subject is no administrator here";
    }
    snprintf(call->actor.id, sizeof call->actor.id, "%.*s",
        STR_ARG(db_column_text(s, 0)));
    snprintf(call->actor.role, sizeof call->actor.role, "%.*s",
        STR_ARG(db_column_text(s, 1)));
    disabled = db_column_int(s, 2) != 0;
    audience = admin_column(call, s, 3);
    db_reset(s);
    why = signed_token_claims(token, audience, issuer->skew_us, clock_now());
    if (!why && disabled)
        why = "its subject is no administrator here";
    return why;
}

/* What was found of a token before the control was locked. */
struct admin_verified {
    struct signed_token token;
    const char *issuer; /* the row's name, whose keys they were */
    const char *why;    /* NULL: the signature is good */
};

/* The name of the row as the data plane has it; NULL: there is none. */
static const char *issuer_of_snapshot(
    struct admin_call *call, const struct admin_server *server, struct str iss)
{
    struct snapshot *snapshot = server->snapshot(server->context);
    const struct snapshot_issuer *issuer = snapshot_find_issuer(snapshot, iss);
    const char *name =
        issuer ? arena_cstr(call->arena, str_from(issuer->name)) : NULL;

    snapshot_unref(&snapshot);
    return name;
}

static const char *verify(
    struct admin_call *call, struct str token, struct admin_verified *out)
{
    const struct admin_server *server = call->admin->server;
    const char *why = signed_token_read(call->arena, token, &out->token);
    struct jwks *keys;

    if (why)
        return why;
    if (!server || !server->issuer_keys || !server->snapshot)
        return "issuers' keys are known to a running server only";
    out->issuer = issuer_of_snapshot(call, server, out->token.issuer);
    if (!out->issuer)
        return "its issuer is not believed here";
    keys = server->issuer_keys(server->context, out->issuer);
    if (!keys)
        return "its issuer's keys are not there yet; try again soon";
    why = signed_token_verify(&out->token, keys);
    jwks_unref(&keys);
    return why;
}

void admin_verify_sign_in(struct admin_call *call, struct str token)
{
    struct admin_verified *verified =
        ARENA_NEW(call->arena, struct admin_verified);

    if (!verified)
        return; /* admin_sign_in says so */
    *verified = (struct admin_verified){.issuer = NULL};
    verified->why = verify(call, token, verified);
    call->sign_in = verified;
}

const char *admin_sign_in(struct admin_call *call)
{
    const struct admin_verified *verified = call->sign_in;
    struct issuer_row issuer;
    const char *why;

    if (!verified)
        return "out of memory";
    if (verified->why)
        return verified->why;
    /* The row may be gone meanwhile, or another's of that "iss". */
    if (find_issuer(call, verified->token.issuer, &issuer) != ERR_OK ||
        !str_equal(issuer.name, str_from(verified->issuer)))
        return "its issuer is not believed here";
    why = find_administrator(call, &verified->token, &issuer);
    if (why) {
        call->actor = (struct control_actor){.method = "none"};
        return why;
    }
    call->actor.method = "jwt";
    call->actor.can_approve = true;
    return NULL;
}

/* --- Rows ---------------------------------------------------------------- */

struct sign_in_body {
    struct str issuer, subject, audience, reason;
};
#define AT(member) offsetof(struct sign_in_body, member)

static json_t *sign_in_json(
    struct str administrator, struct str issuer, struct str audience)
{
    json_t *one = json_object();

    admin_set_text(one, "administrator", administrator);
    admin_set_text(one, "issuer", issuer);
    admin_set_text(one, "audience", audience);
    return one;
}

static enum err check_rows(
    struct admin_call *call, const struct sign_in_body *body)
{
    struct db_statement *s;
    enum err err = admin_need(call, call->db, "issuer",
        "SELECT 1 FROM issuer WHERE name = ?1", "SELECT name FROM issuer",
        body->issuer);

    if (!err)
        err = db_prepare(call->db,
            "SELECT 1 FROM issuer_audience WHERE issuer = ?1 AND audience = ?2",
            &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, body->issuer);
    db_bind_text(s, 2, body->audience);
    err = db_step(s, &call->info);
    db_reset(s);
    if (!err)
        return FAIL(call, ERR_INVALID,
            "audience: \"%.*s\" is that of callers; administrators need one of "
            "their own, so that a token for models is none for this",
            STR_ARG(body->audience));
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

enum err handle_sign_in_add(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"issuer", FIELD_NAME, true, AT(issuer), 0, 0, NULL},
        {"subject", FIELD_TEXT, true, AT(subject), 1, SUBJECT_MAX, NULL},
        {"audience", FIELD_TEXT, true, AT(audience), 1, 200, NULL},
        {"reason", FIELD_TEXT, false, AT(reason), 0, 1000, NULL},
    };
    struct sign_in_body body = {.reason = STR("")};
    uint8_t digest[SHA256_SIZE];
    struct db_statement *s;
    struct str id;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = check_rows(call, &body);
    if (!err)
        err = admin_resolve_person(call, "adm_", call->params[0], &id);
    if (err || (err = admin_begin(call)))
        return err;
    err = db_prepare(call->db,
        "INSERT INTO administrator_sign_in (issuer, subject, audience, "
        "administrator, created) VALUES (?1, ?2, ?3, ?4, ?5)",
        &s, &call->info);
    if (err)
        return err;
    digest_subject(body.subject, digest);
    db_bind_text(s, 1, body.issuer);
    db_bind_blob(s, 2, digest, sizeof digest);
    db_bind_text(s, 3, body.audience);
    db_bind_text(s, 4, id);
    db_bind_int(s, 5, clock_now());
    err = db_run(s, &call->info);
    if (err == ERR_EXISTS)
        err = FAIL(call, ERR_EXISTS,
            "this subject of %.*s is an administrator's already",
            STR_ARG(body.issuer));
    if (!err)
        err = admin_record(call, "admin.sign_in.added", "administrator", id,
            NULL, sign_in_json(id, body.issuer, body.audience), NULL,
            body.reason);
    if (!err)
        err = admin_commit(call, 0);
    return err ? err
               : admin_answer(
                     call, 201, sign_in_json(id, body.issuer, body.audience));
}

/* All of one administrator at one issuer. */
enum err handle_sign_in_remove(struct admin_call *call)
{
    struct db_statement *s;
    struct str id;
    enum err err = admin_resolve_person(call, "adm_", call->params[0], &id);

    if (err || (err = admin_begin(call)))
        return err;
    err = db_prepare(call->db,
        "DELETE FROM administrator_sign_in WHERE administrator = ?1 AND "
        "issuer = ?2",
        &s, &call->info);
    if (err)
        return err;
    db_bind_text(s, 1, id);
    db_bind_text(s, 2, call->params[1]);
    err = db_run(s, &call->info);
    if (!err && db_changes(call->db) == 0)
        err = FAIL(call, ERR_NOTFOUND,
            "this administrator does not sign in with the issuer \"%.*s\"",
            STR_ARG(call->params[1]));
    if (!err)
        err = admin_record(call, "admin.sign_in.removed", "administrator", id,
            sign_in_json(id, call->params[1], STR("")), NULL, NULL, STR(""));
    if (!err)
        err = admin_commit(call, 0);
    return err ? err
               : admin_answer(call, 200, json_pack("{s:b}", "removed", 1));
}
