/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/exchange_request.c - the first stages: route, identify, read,
 * describe. What they learn comes from the dialect tables and the snapshot's
 * keys. */
#include "proxy/exchange_priv.h"

#include "proxy/log_budget.h"
#include "proxy/secret.h"

/* --- route --------------------------------------------------------------- */

enum stage_result stage_route(struct exchange *x)
{
    struct dialect_error error = {0};
    enum err err =
        dialect_route(x->arena, x->method, x->path, &x->match, &error);
    if (err == ERR_OK)
        return STAGE_PASS;
    worker_refuse(x->worker, x->connection, REFUSAL_ROUTE, x->path, STR(""));
    if (err == ERR_NOMEM)
        return exchange_deny(x, "route", 503, "api_error", "overloaded",
            "Out of memory. Try again later.");
    exchange_deny(x, "route", error.status, error.type, error.code, "%.*s",
        STR_ARG(error.message));
    x->verdict.allow = error.allow;
    x->verdict.param = error.param;
    return STAGE_DENY;
}

/* --- load ---------------------------------------------------------------- */

/* Refused before anything is spent on it, so that those which were taken are
 * answered in time. */
enum stage_result stage_load(struct exchange *x)
{
    struct worker *w = x->worker;
    if (!worker_is_behind(w))
        return STAGE_PASS;
    metrics_add(&w->metrics, METRIC_OVERLOAD, 1);
    worker_refuse(w, x->connection, REFUSAL_OVERLOAD,
        str_from(x->match.route->path), STR(""));
    exchange_deny(x, "load", 503, "api_error", "overloaded",
        "More requests have come than can be answered in time. Try again in a "
        "moment.");
    x->verdict.retry_after_s = 1;
    return STAGE_DENY;
}

/* --- identify ------------------------------------------------------------ */

static enum stage_result refuse(struct exchange *x, enum refusal reason,
    struct str key, const char *message)
{
    worker_refuse(
        x->worker, x->connection, reason, str_from(x->match.route->path), key);
    return exchange_deny(x, "identify", 401, "authentication_error",
        "invalid_api_key", "%s", message);
}

/* --- identify: the certificate ------------------------------------------ */

struct str exchange_method(const struct exchange *x)
{
    return x->by_certificate ? STR("certificate")
           : x->token        ? STR("jwt")
                             : STR("api_key");
}

static enum stage_result refuse_certificate(
    struct exchange *x, enum trust_verdict verdict)
{
    refuse(x, identity_certificate_refusal(verdict), STR(""),
        trust_verdict_text(verdict));
    x->verdict.code = "invalid_certificate";
    x->verdict.close = verdict != TRUST_NO_CALLER;
    return STAGE_DENY;
}

/* What was good in the handshake must still be. */
static enum stage_result look_at_certificate(
    struct exchange *x, const struct snapshot_caller **caller)
{
    struct connection *c = x->connection;
    enum tls_certificates mode = connection_certificate_mode(c);

    *caller = NULL;
    if (mode == TLS_CERTIFICATES_OFF)
        return STAGE_PASS;
    if (connection_certificate(c) == NULL)
        return mode == TLS_CERTIFICATES_REQUIRED
                   ? refuse_certificate(x, TRUST_MISSING)
                   : STAGE_PASS;
    enum trust_verdict verdict =
        connection_check_certificate(c, x->wall_us, caller);
    if (verdict != TRUST_GOOD && verdict != TRUST_NO_CALLER)
        return refuse_certificate(x, verdict);
    x->certificate = identity_certificate_ref(connection_certificate(c));
    return STAGE_PASS;
}

/* As with a token: a key without an id stands for it. */
static enum stage_result identify_certificate(
    struct exchange *x, const struct snapshot_caller *caller)
{
    struct snapshot_key *key = ARENA_NEW(x->arena, struct snapshot_key);

    if (caller == NULL)
        return refuse_certificate(x, TRUST_NO_CALLER);
    if (caller->disabled)
        return refuse(x, REFUSAL_DISABLED, STR(""),
            "The caller of this certificate has been disabled.");
    if (key == NULL)
        return exchange_deny(x, "identify", 503, "api_error", "overloaded",
            "Out of memory. Try again later.");
    key->id = "";
    key->caller = caller;
    key->expires_us = identity_certificate_until(x->certificate);
    x->key = key;
    x->caller = caller;
    x->by_certificate = true;
    return STAGE_PASS;
}

bool exchange_certificate_stands(const struct exchange *x)
{
    const struct snapshot_caller *caller;

    if (x->connection == NULL)
        return true; /* nobody is served any more */
    if (connection_certificate_mode(x->connection) == TLS_CERTIFICATES_OFF)
        return !x->by_certificate;
    enum trust_verdict verdict = connection_check_certificate(
        x->connection, loop_wall(x->worker->loop), &caller);
    if (!x->by_certificate)
        return verdict == TRUST_GOOD || verdict == TRUST_NO_CALLER;
    return verdict == TRUST_GOOD && !caller->disabled &&
           strcmp(caller->id, x->caller->id) == 0;
}

/* --- identify: the token ------------------------------------------------- */

static enum stage_result refuse_token(
    struct exchange *x, const struct token_answer *answer)
{
    enum refusal reason = answer->refusal == TOKEN_EXPIRED    ? REFUSAL_EXPIRED
                          : answer->refusal == TOKEN_DISABLED ? REFUSAL_DISABLED
                                                              : REFUSAL_TOKEN;
    /* What is wrong is said to those only who hold a token of an issuer that
     * is believed. */
    char *message =
        answer->refusal == TOKEN_BAD
            ? NULL
            : arena_printf(x->arena, "The token was not accepted (%s). %s",
                  answer->reason, answer->text);
    return refuse(x, reason, STR(""),
        message ? message
                : "The token could not be verified. `bailiff jwt verify` says "
                  "why, given the issuer's key set.");
}

/* Before anything is known of the caller: a refusal is nobody's. */
static enum stage_result join_teams(
    struct exchange *x, struct token_answer *answer)
{
    const struct token_identity *who = &answer->identity;
    enum err err = snapshot_join_teams(x->snapshot, who->caller, who->issuer,
        who->groups, who->group_count, x->arena, &x->joined);

    if (err == ERR_OK)
        return STAGE_PASS;
    if (err == ERR_LIMIT) {
        answer->refusal = TOKEN_OVERLARGE;
        answer->reason = "groups_invalid";
        answer->text = "The token's groups stand for more teams than can be "
                       "put on record.";
        return refuse_token(x, answer);
    }
    return exchange_deny(x, "identify", 503, "api_error",
        err == ERR_NOMEM ? "overloaded" : "governance_unavailable",
        err == ERR_NOMEM
            ? "Out of memory. Try again later."
            : "The teams that the token's groups stand for are not there.");
}

/* Rules would be asked about something else than the issuer said. The caller
 * is known: the denial is on record, with the claim. */
static enum stage_result check_claims(struct exchange *x)
{
    const struct snapshot_claim *wrong = x->token->wrong_claim;

    if (wrong == NULL)
        return STAGE_PASS;
    exchange_deny(x, "identify", 403, "permission_error", "invalid_claim",
        "The token's claim \"%.*s\" is not of the type %s that is set for it "
        "(context.claims.%.*s), so that rules cannot be asked about it.",
        STR_ARG(wrong->claim), policy_claim_kind_words(wrong->kind),
        STR_ARG(wrong->name));
    x->verdict.never_retry = true;
    return STAGE_DENY;
}

/* A token stands for a key without an id, a quota or a revocation of its own:
 * the rest of the exchange need not tell them apart. */
static enum stage_result identify_token(struct exchange *x, struct str token)
{
    struct worker *w = x->worker;
    struct token_answer *answer = ARENA_NEW(x->arena, struct token_answer);
    struct snapshot_key *key = ARENA_NEW(x->arena, struct snapshot_key);
    const struct token_question question = {.token = token,
        .snapshot = x->snapshot,
        .issuers = w->shared->issuers,
        .hash = w->hash,
        .now_us = x->wall_us,
        .arena = x->arena,
        .certificate_sha256 =
            x->certificate ? identity_certificate_facts(x->certificate)->sha256
                           : NULL};
    if (answer == NULL || key == NULL)
        return exchange_deny(x, "identify", 503, "api_error", "overloaded",
            "Out of memory. Try again later.");
    switch (identity_check_token(w->identities, &question, answer)) {
    case TOKEN_ACCEPTED:
        if (join_teams(x, answer) != STAGE_PASS)
            return STAGE_DENY;
        key->id = "";
        key->caller = answer->identity.caller;
        key->expires_us =
            answer->identity.expires_us + answer->identity.issuer->skew_us;
        x->key = key;
        x->caller = key->caller;
        x->token = &answer->identity;
        return check_claims(x);
    case TOKEN_NEWCOMER:
        if (x->newcomer != NULL) /* made, and not there: gone again by now */
            return exchange_deny(x, "identify", 503, "api_error",
                "governance_unavailable",
                "The caller of the token was made and is not in force yet. Try "
                "again in a moment.");
        x->newcomer = exchange_newcomer_new(x, answer);
        if (x->newcomer != NULL)
            return STAGE_PASS; /* stage_join goes on with it */
        return exchange_deny(x, "identify", 503, "api_error", "overloaded",
            "Out of memory. Try again later.");
    case TOKEN_LATER:
        exchange_deny(x, "identify", 503, "api_error", "governance_unavailable",
            "The keys of the token's issuer are being fetched. Try again in a "
            "moment.");
        x->verdict.retry_after_s = 1;
        return STAGE_DENY;
    case TOKEN_REFUSED:
        break;
    }
    return refuse_token(x, answer);
}

/* The same words whatever is wrong: who found a key learns nothing of it. The
 * record says which. */
static enum stage_result refuse_key(
    struct exchange *x, enum refusal reason, const struct snapshot_key *key)
{
    return refuse(x, reason, str_from(key ? key->id : ""),
        "Incorrect API key provided: it is unknown, has expired or was "
        "revoked, or is not for this address. A key starts with blf_ and was "
        "shown once when it was issued; ask for a new one.");
}

/* A key or a token says who calls, whoever holds the certificate: a service
 * may show its own and pass its user's token on. */
static enum stage_result identify(struct exchange *x)
{
    struct worker *w = x->worker;
    uint8_t hash[SHA256_SIZE];
    const struct snapshot_caller *holder;
    if (look_at_certificate(x, &holder) != STAGE_PASS)
        return STAGE_DENY;
    if (x->credential_count == 0 && x->certificate != NULL)
        return identify_certificate(x, holder);
    if (x->credential_count == 0)
        return refuse(x, REFUSAL_MISSING, STR(""),
            "No API key was given. Send it as Authorization: Bearer blf_...");
    for (unsigned i = 1; i < x->credential_count; i++) {
        /* Two that differ: it is not for us to choose. */
        if (i >= 3 || !str_equal(x->credentials[i], x->credentials[0]))
            return refuse(x, REFUSAL_MALFORMED, STR(""),
                "More than one credential was given, and they differ.");
    }
    struct str credential = x->credentials[0];
    if (identity_is_token(credential))
        return identify_token(x, credential);
    if (!secret_is_well_formed(SECRET_KEY_PREFIX, credential))
        return refuse_key(x, REFUSAL_MALFORMED, NULL);
    crypto_hash_once(w->hash, hash, credential.ptr, credential.len);
    const struct snapshot_key *key = snapshot_find_key(x->snapshot, hash);
    if (key == NULL)
        return refuse_key(x, REFUSAL_UNKNOWN, NULL);
    if (key->revoked)
        return refuse_key(x, REFUSAL_REVOKED, key);
    if (key->expires_us != 0 && x->wall_us >= key->expires_us)
        return refuse_key(x, REFUSAL_EXPIRED, key);
    if (key->caller->disabled)
        return refuse_key(x, REFUSAL_DISABLED, key);
    if (!snapshot_key_allows_address(key, connection_peer(x->connection)))
        return refuse_key(x, REFUSAL_ADDRESS, key);
    key_usage_note(key->used, x->wall_us);
    x->key = key;
    x->caller = key->caller;
    return STAGE_PASS;
}

/* Whoever fills the log is refused without an entry of its own each time. */
enum stage_result stage_identify(struct exchange *x)
{
    struct worker *w = x->worker;
    enum stage_result result = identify(x);
    if (result != STAGE_PASS || x->caller == NULL)
        return result; /* (refused, or a newcomer) */
    if (log_budget_add(w->shared->log_budget, str_from(x->caller->id), 0,
            x->wall_us) < (uint64_t)w->settings->max_log_bytes_per_caller)
        return exchange_look_at_end_user(x);
    struct str key = str_from(x->key->id);
    x->caller = NULL; /* counted, as those are whom nobody knows */
    x->key = NULL;
    x->token = NULL;
    x->joined = NULL;
    x->by_certificate = false;
    refuse(x, REFUSAL_LOG_BUDGET, key,
        "Too much was put on record about your requests in this hour "
        "(max_log_bytes_per_caller). Try again in the next one, or ask whoever "
        "runs this service.");
    x->verdict.status = 429;
    x->verdict.type = "rate_limit_error";
    x->verdict.code = "log_budget_exceeded";
    x->verdict.retry_after_s = (HOUR_US - x->wall_us % HOUR_US) / SECOND_US + 1;
    return STAGE_DENY;
}

enum stage_result exchange_identify_again(struct exchange *x)
{
    snapshot_unref(&x->snapshot);
    x->snapshot = snapshot_ref(x->worker->snapshot);
    identity_certificate_unref(&x->certificate);
    return stage_identify(x);
}

enum stage_result exchange_refuse_newcomer(
    struct exchange *x, const char *reason, const char *text)
{
    struct token_answer answer = {
        .refusal = TOKEN_STRANGER, .reason = reason, .text = text};

    return refuse_token(x, &answer);
}

/* --- read ---------------------------------------------------------------- */

static bool is_json(struct str content_type)
{
    struct str type, parameters;
    str_split(content_type, ';', &type, &parameters);
    type = str_trim(type);
    return type.len == 0 || str_equal_nocase(type, STR("application/json"));
}

/* What the head alone decides about the body; then it is waited for. */
enum stage_result stage_read(struct exchange *x)
{
    if (x->content_coded) {
        exchange_deny(x, "read", 415, "invalid_request_error",
            "unsupported_encoding",
            "A compressed body is not accepted. Send it without "
            "Content-Encoding.");
        x->verdict.never_retry = true;
        return STAGE_DENY;
    }
    if (x->match.route->has_body && !is_json(x->content_type)) {
        exchange_deny(x, "read", 415, "invalid_request_error",
            "unsupported_media_type",
            "The body's Content-Type is '%.*s'; application/json is expected.",
            STR_ARG(x->content_type));
        x->verdict.never_retry = true;
        return STAGE_DENY;
    }
    if (x->announced > x->body.max) {
        exchange_deny(x, "read", 413, "invalid_request_error",
            "request_too_large",
            "The request's body of %llu bytes is larger than the %llu bytes "
            "allowed here.",
            (unsigned long long)x->announced, (unsigned long long)x->body.max);
        x->verdict.never_retry = true;
        return STAGE_DENY;
    }
    return STAGE_WAIT;
}

/* --- describe ------------------------------------------------------------ */

enum stage_result stage_describe(struct exchange *x)
{
    struct dialect_error error = {0};
    if (x->body.failed)
        return exchange_deny(x, "describe", 503, "api_error", "overloaded",
            "Out of memory. Try again later.");
    if (!x->match.route->has_body) {
        if (x->body.len > 0)
            return exchange_deny(x, "describe", 400, "invalid_request_error",
                "bad_request", "This route takes no body.");
        x->description.route = x->match.route;
        x->description.choices = x->description.prompts = 1;
        x->description.cap = -1;
        return STAGE_PASS;
    }
    enum err err = dialect_describe(x->match.route, buf_str(&x->body), x->arena,
        NULL, &x->description, &error);
    if (err == ERR_OK)
        return STAGE_PASS;
    if (err == ERR_NOMEM)
        return exchange_deny(x, "describe", 503, "api_error", "overloaded",
            "Out of memory. Try again later.");
    exchange_deny(x, "describe", error.status, error.type, error.code, "%.*s",
        STR_ARG(error.message));
    x->verdict.param = error.param;
    x->verdict.never_retry = true;
    return STAGE_DENY;
}
