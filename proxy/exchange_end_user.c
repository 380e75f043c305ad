/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/exchange_end_user.c - chains: a gateway in front says for whom it asks.
 *
 * It says so by a signed token in X-Bailiff-End-User, of an issuer that is
 * believed for end users: the organisation's own, or the gateway's. Anything
 * that is not signed is a claim: on record, sealed, and never believed. */
#include "proxy/exchange_priv.h"

#include <stdio.h>

static enum stage_result refuse(struct exchange *x, const char *format, ...)
    PRINTFLIKE(2, 3);
static enum stage_result refuse(struct exchange *x, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    exchange_deny(
        x, "identify", 403, "permission_error", "invalid_end_user", "%s", text);
    x->verdict.never_retry = true;
    return STAGE_DENY;
}

static enum stage_result verify(struct exchange *x)
{
    struct worker *w = x->worker;
    struct token_answer *answer = ARENA_NEW(x->arena, struct token_answer);
    const struct token_question question = {.token = x->end_user_said,
        .snapshot = x->snapshot,
        .issuers = w->shared->issuers,
        .hash = w->hash,
        .now_us = x->wall_us,
        .arena = x->arena,
        .for_end_user = true};

    if (answer == NULL)
        return exchange_deny(x, "identify", 503, "api_error", "overloaded",
            "Out of memory. Try again later.");
    switch (identity_check_token(w->identities, &question, answer)) {
    case TOKEN_ACCEPTED:
        x->end_user = &answer->identity;
        return STAGE_PASS;
    case TOKEN_LATER:
        exchange_deny(x, "identify", 503, "api_error", "governance_unavailable",
            "The keys of the end user's issuer are being fetched. Try again "
            "in a moment.");
        x->verdict.retry_after_s = 1;
        return STAGE_DENY;
    case TOKEN_NEWCOMER: /* (never of an end user) */
    case TOKEN_REFUSED:
        break;
    }
    return answer->refusal == TOKEN_BAD
               ? refuse(x,
                     "X-Bailiff-End-User: the token could not be verified by "
                     "an issuer that is believed for end users.")
               : refuse(x,
                     "X-Bailiff-End-User: the token was not accepted "
                     "(%s). %s",
                     answer->reason, answer->text);
}

enum stage_result exchange_look_at_end_user(struct exchange *x)
{
    const struct snapshot_gateway *gateway =
        snapshot_find_gateway(x->snapshot, x->caller);
    bool token = identity_is_token(x->end_user_said);

    if (x->end_user_count > 1)
        return refuse(x, "X-Bailiff-End-User was given more than once.");
    if (token && gateway == NULL)
        return refuse(x,
            "This caller may not say for whom it asks. `bailiff gateway add` "
            "permits it.");
    if (token)
        return verify(x);
    if (gateway != NULL && gateway->required)
        return refuse(x,
            "This caller must say for whom it asks: a signed token in "
            "X-Bailiff-End-User.");
    return STAGE_PASS;
}

bool exchange_end_user_stands(const struct exchange *x)
{
    const struct snapshot *now = x->worker->snapshot;

    if (x->end_user == NULL)
        return true;
    const struct snapshot_issuer *issuer =
        snapshot_find_issuer(now, str_from(x->end_user->issuer->issuer));
    if (issuer == NULL || !issuer->for_end_users ||
        strcmp(issuer->name, x->end_user->issuer->name) != 0 ||
        (issuer->clients_only &&
            !snapshot_find_client(issuer, x->end_user->client)) ||
        snapshot_find_gateway(now, x->caller) == NULL)
        return false;
    if (x->end_user->caller == NULL)
        return true;
    const struct snapshot_caller *caller =
        snapshot_find_caller(now, str_from(x->end_user->caller->id));
    return caller != NULL && !caller->disabled;
}
