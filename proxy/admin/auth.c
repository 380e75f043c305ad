/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/auth.c - who asks the admin API, and whether they may.
 *
 * A bearer token names an administrator, and over the network nothing else
 * does; on the Unix socket, without one, the peer's uid does where it is
 * mapped. Bare root is "admin" and goes on record unattributed.
 * In the CLI's own process (offline, it holds the files) the same, and anyone
 * else is unattributed too. Unknown and disabled look alike from outside.
 * Refusals are recorded, at most one in ten seconds with a count, so that
 * nobody can fill the disk by knocking. */
#include "proxy/admin/admin_priv.h"

#include "lib/clock.h"
#include "proxy/identity_token.h"
#include "proxy/secret.h"

#include <stdio.h>

#define REFUSAL_EVERY_US (10 * SECOND_US)

static void record_refusal(
    struct admin_call *call, const char *why, const char *role, struct str rule)
{
    struct admin *admin = call->admin;
    struct errinfo ignored = {0};
    int64_t now = clock_monotonic();
    json_t *detail;

    if (admin->refused_us && now - admin->refused_us < REFUSAL_EVERY_US) {
        admin->refused_more++;
        return;
    }
    detail = json_object();
    admin_set_text(detail, "why", str_from(why));
    admin_set_text(detail, "method", call->request->method);
    admin_set_text(detail, "path", str_from(call->operation->path));
    if (call->request->remote)
        admin_set_text(detail, "from", str_from(call->request->from));
    else
        admin_set_int(detail, "uid", call->request->uid);
    if (role[0])
        admin_set_text(detail, "role", str_from(role));
    admin_set_text(detail, "action", str_from(call->operation->action));
    if (rule.len > 0)
        admin_set_text(detail, "rule", rule);
    if (admin->refused_more > 0)
        admin_set_int(detail, "alsoRefusedBefore", admin->refused_more);
    admin->refused_us = now;
    admin->refused_more = 0;
    if (admin_event(call, "admin.refused", "operation",
            str_from(call->operation->path), detail, STR("")) != ERR_OK)
        call->info = ignored; /* the refusal stands without its record */
}

/* True when the row stands and is in force; fills the actor. */
static bool read_administrator(
    struct admin_call *call, struct db_statement *s, const char *method)
{
    bool good = false;

    if (db_step(s, &call->info) == ERR_OK && db_column_int(s, 2) == 0) {
        snprintf(call->actor.id, sizeof call->actor.id, "%.*s",
            STR_ARG(db_column_text(s, 0)));
        snprintf(call->actor.role, sizeof call->actor.role, "%.*s",
            STR_ARG(db_column_text(s, 1)));
        call->actor.method = call->request->offline ? "offline" : method;
        call->actor.can_approve = !call->request->offline;
        good = true;
    }
    db_reset(s);
    return good;
}

/* *ended_us: when the token ended; 0: it did not, or is not known. */
static bool by_further_token(
    struct admin_call *call, const uint8_t hash[32], int64_t *ended_us)
{
    struct db_statement *s;
    int64_t expires;

    if (db_prepare(call->db,
            "SELECT administrator.id, role, disabled, expires FROM "
            "administrator_token JOIN administrator ON administrator.id = "
            "administrator WHERE hash = ?1 AND revoked IS NULL",
            &s, &call->info) != ERR_OK)
        return false;
    db_bind_blob(s, 1, hash, 32);
    if (db_step(s, &call->info) != ERR_OK) {
        db_reset(s);
        return false;
    }
    expires = db_column_is_null(s, 3) ? INT64_MAX : db_column_int(s, 3);
    db_reset(s);
    if (expires <= clock_now()) {
        *ended_us = expires;
        return false;
    }
    db_bind_blob(s, 1, hash, 32);
    return read_administrator(call, s, "token");
}

static bool by_token(
    struct admin_call *call, struct str token, int64_t *ended_us)
{
    struct db_statement *s;
    uint8_t hash[32];

    if (!secret_is_well_formed(SECRET_TOKEN_PREFIX, token))
        return false;
    secret_hash(token, hash);
    if (db_prepare(call->db,
            "SELECT id, role, disabled FROM administrator "
            "WHERE token_hash = ?1",
            &s, &call->info) != ERR_OK)
        return false;
    db_bind_blob(s, 1, hash, sizeof hash);
    return read_administrator(call, s, "token") ||
           by_further_token(call, hash, ended_us);
}

static bool by_uid(struct admin_call *call)
{
    struct db_statement *s;

    if (call->request->uid < 0 ||
        db_prepare(call->db,
            "SELECT id, role, disabled FROM administrator WHERE uid = ?1", &s,
            &call->info) != ERR_OK)
        return false;
    db_bind_int(s, 1, call->request->uid);
    return read_administrator(call, s, "uid");
}

void admin_look_at_token(struct admin_call *call)
{
    struct str scheme, token;

    str_split(call->request->authorization, ' ', &scheme, &token);
    token = str_trim(token);
    if (identity_is_token(token))
        admin_verify_sign_in(call, token);
}

bool admin_authenticate(struct admin_call *call)
{
    struct str value = call->request->authorization, scheme, token;
    int64_t ended_us = 0;

    memset(&call->actor, 0, sizeof call->actor);
    call->actor.method = "none";
    if (value.len > 0) {
        str_split(value, ' ', &scheme, &token);
        token = str_trim(token);
        if (identity_is_token(token)) {
            const char *why = admin_sign_in(call);
            if (!why)
                return true;
            record_refusal(call, "sign-in", "", STR(""));
            admin_problem(call, 401, "unauthenticated",
                "this token does not sign an administrator in: %s", why);
            return false;
        }
        if (str_equal_nocase(scheme, STR("bearer")) &&
            by_token(call, str_trim(token), &ended_us))
            return true;
        if (ended_us) {
            char when[CLOCK_TEXT_LENGTH];
            clock_format(when, ended_us);
            record_refusal(call, "expired token", "", STR(""));
            admin_problem(call, 401, "unauthenticated",
                "this administrator's token ended at %.*s; `bailiff admin "
                "token NAME` makes a new one",
                (int)sizeof when, when);
            return false;
        }
        record_refusal(call, "unknown token", "", STR(""));
        admin_problem(call, 401, "unauthenticated",
            "this administrator's token is not known here, or no longer in "
            "force; `bailiff admin list` shows who is, and another "
            "administrator can add a new one");
        return false;
    }
    if (call->request->remote) {
        record_refusal(call, "no credential", "", STR(""));
        admin_problem(call, 401, "unauthenticated",
            "who are you? Over the network an administrator's token says so: "
            "Authorization: Bearer TOKEN (--token-file, or "
            "BAILIFF_ADMIN_TOKEN)");
        return false;
    }
    if (by_uid(call))
        return true;
    if (call->request->offline || call->request->uid == 0) {
        snprintf(call->actor.role, sizeof call->actor.role, "admin");
        call->actor.method = call->request->offline ? "offline" : "root";
        return true;
    }
    record_refusal(call, "no credential", "", STR(""));
    admin_problem(call, 401, "unauthenticated",
        "who are you? Present an administrator's token (--token-file, or "
        "BAILIFF_ADMIN_TOKEN), or have your system user %ld mapped: bailiff "
        "admin add NAME --role ROLE --uid %ld",
        call->request->uid, call->request->uid);
    return false;
}

bool admin_may(struct admin_call *call, const char *action)
{
    const struct rights_question question = {
        .id = str_from(call->actor.id),
        .role = str_from(call->actor.role),
        .action = str_from(action),
        .path = str_from(call->operation->path),
        .method = str_from(call->actor.method),
        .offline = call->request->offline,
    };
    struct str rule;

    return rights_permit(call->admin->rights, &question, &rule);
}

bool admin_authorise(struct admin_call *call)
{
    const struct rights_question question = {
        .id = str_from(call->actor.id),
        .role = str_from(call->actor.role),
        .action = str_from(call->operation->action),
        .path = str_from(call->operation->path),
        .method = str_from(call->actor.method),
        .offline = call->request->offline,
    };
    struct str rule;
    struct buf roles;

    if (rights_permit(call->admin->rights, &question, &rule))
        return true;
    record_refusal(call, "role", call->actor.role, rule);
    buf_init(&roles, 256);
    rights_roles(call->admin->rights, &question, &roles);
    if (rule.len == 0)
        rule = STR("no rule permits it");
    admin_problem(call, 403, "forbidden",
        "the role \"%s\" may not %.*s %s (%s: %.*s); that is for: %s",
        call->actor.role, STR_ARG(call->request->method), call->operation->path,
        call->operation->action, STR_ARG(rule), buf_cstr(&roles));
    buf_fini(&roles);
    return false;
}
