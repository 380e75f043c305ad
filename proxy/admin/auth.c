/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/auth.c - who asks the admin API, and whether they may.
 *
 * A bearer token names an administrator, and over the network nothing else
 * does but a pinned certificate (pinned.c); on the Unix socket, without one,
 * the peer's uid does where it is mapped. Bare root is "admin" and goes on
 * record unattributed.
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

/* As they stand on record. */
static const char *const refusals[ADMIN_REFUSALS] = {
    [REFUSED_SIGN_IN] = "sign-in",
    [REFUSED_EXPIRED_TOKEN] = "expired token",
    [REFUSED_UNKNOWN_TOKEN] = "unknown token",
    [REFUSED_NO_CREDENTIAL] = "no credential",
    [REFUSED_UNKNOWN_CERTIFICATE] = "unknown certificate",
    [REFUSED_ANOTHERS_CERTIFICATE] = "certificate of another administrator",
    [REFUSED_EARLY_CERTIFICATE] = "certificate is not valid yet",
    [REFUSED_EXPIRED_CERTIFICATE] = "expired certificate",
    [REFUSED_CERTIFICATE_ALONE] = "certificate without a token",
    [REFUSED_SECOND_FACTOR] = "approval without the second factor",
    [REFUSED_ROLE] = "role",
};

static void record_refusal(struct admin_call *call, enum admin_refusal why,
    const char *role, struct str rule)
{
    struct admin *admin = call->admin;
    struct errinfo ignored = {0};
    int64_t now = clock_monotonic(), more = admin->refused[why].more;
    json_t *detail;

    if (admin->refused[why].when_us &&
        now - admin->refused[why].when_us < REFUSAL_EVERY_US) {
        admin->refused[why].more++;
        return;
    }
    detail = json_object();
    admin_set_text(detail, "why", str_from(refusals[why]));
    admin_set_text(detail, "method", call->request->method);
    admin_set_text(detail, "path", str_from(call->operation->path));
    if (call->request->remote)
        admin_set_text(detail, "from", str_from(call->request->from));
    else
        admin_set_int(detail, "uid", call->request->uid);
    if (call->request->certificate && call->request->certificate[0])
        admin_set_text(
            detail, "certificate", str_from(call->request->certificate));
    if (role[0])
        admin_set_text(detail, "role", str_from(role));
    admin_set_text(detail, "action", str_from(call->operation->action));
    if (rule.len > 0)
        admin_set_text(detail, "rule", rule);
    if (more > 0)
        admin_set_int(detail, "alsoRefusedBefore", more);
    admin->refused[why].when_us = now;
    admin->refused[why].more = 0;
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

/* Wrong, not in force, or somebody else's: from outside all the same. */
static bool refuse_dully(struct admin_call *call, enum admin_refusal why)
{
    call->actor = (struct control_actor){.method = "none"};
    record_refusal(call, why, "", STR(""));
    admin_problem(call, 401, "unauthenticated",
        "this credential is not known here, or no longer in force; `bailiff "
        "admin list` shows who is an administrator, and another one can add "
        "a new one");
    return false;
}

static bool shows_certificate(const struct admin_call *call)
{
    return call->request->certificate && call->request->certificate[0];
}

/* The second factor may be missing, but not wrong. */
static bool with_certificate(struct admin_call *call)
{
    enum admin_refusal why;

    return !shows_certificate(call) || admin_check_certificate(call, &why) ||
           refuse_dully(call, why);
}

static bool by_authorization(struct admin_call *call)
{
    struct str scheme, token;
    int64_t ended_us = 0;

    str_split(call->request->authorization, ' ', &scheme, &token);
    token = str_trim(token);
    if (identity_is_token(token)) {
        const char *why = admin_sign_in(call);
        if (!why)
            return with_certificate(call);
        record_refusal(call, REFUSED_SIGN_IN, "", STR(""));
        admin_problem(call, 401, "unauthenticated",
            "this token does not sign an administrator in: %s", why);
        return false;
    }
    if (str_equal_nocase(scheme, STR("bearer")) &&
        by_token(call, token, &ended_us))
        return with_certificate(call);
    if (ended_us) {
        char when[CLOCK_TEXT_LENGTH];
        clock_format(when, ended_us);
        record_refusal(call, REFUSED_EXPIRED_TOKEN, "", STR(""));
        admin_problem(call, 401, "unauthenticated",
            "this administrator's token ended at %.*s; `bailiff admin "
            "token NAME` makes a new one",
            (int)sizeof when, when);
        return false;
    }
    return refuse_dully(call, REFUSED_UNKNOWN_TOKEN);
}

bool admin_authenticate(struct admin_call *call)
{
    enum admin_refusal why;

    call->actor = (struct control_actor){.method = "none"};
    if (call->request->authorization.len > 0)
        return by_authorization(call);
    if (shows_certificate(call))
        return admin_by_certificate(call, &why) || refuse_dully(call, why);
    if (call->request->remote) {
        record_refusal(call, REFUSED_NO_CREDENTIAL, "", STR(""));
        admin_problem(call, 401, "unauthenticated",
            "who are you? Over the network an administrator's token says so: "
            "Authorization: Bearer TOKEN (--token-file, or "
            "BAILIFF_ADMIN_TOKEN), or a client certificate where one is "
            "allowed alone (--certificate)");
        return false;
    }
    if (by_uid(call))
        return true;
    if (call->request->offline || call->request->uid == 0) {
        snprintf(call->actor.role, sizeof call->actor.role, "admin");
        call->actor.method = call->request->offline ? "offline" : "root";
        return true;
    }
    record_refusal(call, REFUSED_NO_CREDENTIAL, "", STR(""));
    admin_problem(call, 401, "unauthenticated",
        "who are you? Present an administrator's token (--token-file, or "
        "BAILIFF_ADMIN_TOKEN), or have your system user %ld mapped: bailiff "
        "admin add NAME --role ROLE --uid %ld",
        call->request->uid, call->request->uid);
    return false;
}

/* --- Whether they may ----------------------------------------------------- */

static struct rights_question question_of(
    const struct admin_call *call, const char *action)
{
    return (struct rights_question){
        .id = str_from(call->actor.id),
        .role = str_from(call->actor.role),
        .action = str_from(action),
        .path = str_from(call->operation->path),
        .method = str_from(call->actor.method),
        .offline = call->request->offline,
        .certificate = str_from(call->actor.certificate),
    };
}

bool admin_may(struct admin_call *call, const char *action)
{
    const struct rights_question question = question_of(call, action);
    struct str rule;

    return rights_permit(call->admin->rights, &question, &rule);
}

/* What is missing, and how to bring it along. */
static bool refuse_factor(struct admin_call *call, struct str rule)
{
    bool has_certificate = call->actor.certificate[0] != '\0';
    const char *missing =
        has_certificate ? "a certificate was shown, the token is missing "
                          "(--token-file FILE)"
        : call->request->remote
            ? "the certificate is missing (--certificate FILE --key FILE, one "
              "of `bailiff admin certificates NAME`)"
            : "the certificate is missing, and it can be shown at "
              "admin_listen alone (--server https://HOST:PORT --token-file "
              "FILE --certificate FILE --key FILE)";

    record_refusal(call, REFUSED_SECOND_FACTOR, call->actor.role, rule);
    admin_problem(call, 403, "second-factor",
        "an approval takes an administrator's token and a certificate that is "
        "pinned for the same administrator (approvals_need_certificate): %s",
        missing);
    return false;
}

bool admin_authorise(struct admin_call *call)
{
    struct rights_question question =
        question_of(call, call->operation->action);
    struct str rule, other;
    struct buf roles;

    if (admin_approvals_need_certificate(
            call, &question.approvals_need_certificate) != ERR_OK)
        return false; /* the words are in call->info */
    if (rights_permit(call->admin->rights, &question, &rule))
        return true;
    /* Whom the role keeps out is told that, not what to fetch in vain. */
    question.approvals_need_certificate = false;
    if (str_equal(rule, STR(RIGHTS_NEED_CERTIFICATE)) &&
        rights_permit(call->admin->rights, &question, &other))
        return refuse_factor(call, rule);
    if (str_equal(rule, STR(RIGHTS_NEED_CERTIFICATE)))
        rule = other;
    record_refusal(call, REFUSED_ROLE, call->actor.role, rule);
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
