/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/exchange_decide.c - the middle stages: plan, decide, reserve. What is
 * authorised is the final target, never the name that was asked for. */
#include "proxy/exchange_priv.h"

#include <stdio.h>

/* An image or a sound has no bytes of text. Until prices by size exist, each
 * counts as this many input tokens: more than the encoders in use make. */
#define IMAGE_TOKENS 8192
#define AUDIO_TOKENS 32768
#define TOOL_TOKENS 64 /* around each tool's schema, by the template */

/* --- plan ---------------------------------------------------------------- */

static const char *status_word(enum model_status status)
{
    switch (status) {
    case MODEL_DRAFT:
        return "has not been approved yet";
    case MODEL_APPROVED:
        break;
    case MODEL_RETIRED:
        return "has been retired";
    }
    return "is approved";
}

static enum stage_result no_policy(struct exchange *x)
{
    exchange_deny(x, "decide", 503, "api_error", "governance_unavailable",
        "No policy is in force, so nothing is permitted. Ask %s.",
        snapshot_contact(x->snapshot));
    x->verdict.retry_after_s = 30;
    return STAGE_DENY;
}

/* (Only until the main thread has put the rules of before back in force, or
 * for as long as it cannot.) */
static enum stage_result rules_are_over(struct exchange *x)
{
    exchange_deny(x, "decide", 503, "api_error", "governance_unavailable",
        "The rules in force were for an emergency, which is over. Ask %s.",
        snapshot_contact(x->snapshot));
    x->verdict.retry_after_s = 2;
    return STAGE_DENY;
}

/* A key's own limits take away from what the rules permit; they never add. */
static enum stage_result outside_key(
    struct exchange *x, const char *what, const char *name)
{
    exchange_deny(x, "plan", 403, "permission_error", "key_limit",
        "This API key (%s) is not for the %s '%s'. Use another key, or ask %s.",
        x->key->id, what, name, snapshot_contact(x->snapshot));
    x->verdict.never_retry = true;
    return STAGE_DENY;
}

/* The model and its candidate targets. Its status is judged here, too: an
 * unapproved model is never permitted, whatever the rules say. */
enum stage_result stage_plan(struct exchange *x)
{
    const struct dialect_description *d = &x->description;
    if (snapshot_policy(x->snapshot) == NULL)
        return no_policy(x);
    if (snapshot_rules_are_over(x->snapshot, x->wall_us))
        return rules_are_over(x);
    if (!snapshot_key_allows_route(x->key, str_from(x->match.route->path)))
        return outside_key(x, "route", x->match.route->path);
    if (x->match.route->engine_path == NULL)
        return STAGE_PASS; /* model lists have no target */
    x->model = snapshot_find_model(x->snapshot, d->model);
    if (x->model == NULL) {
        struct str models =
            exchange_permitted_models(x, x->match.route->action);
        exchange_deny(x, "plan", 404, "invalid_request_error",
            "model_not_found",
            "The model '%.*s' does not exist here. Models that you may use: "
            "%.*s.",
            (int)(d->model.len < 128 ? d->model.len : 128), d->model.ptr,
            STR_ARG(models));
        x->verdict.param = STR("model");
        x->verdict.never_retry = true;
        return STAGE_DENY;
    }
    if (x->model->status != MODEL_APPROVED) {
        exchange_deny(x, "plan", 403, "permission_error", "policy_denied",
            "The model '%s' %s. Ask %s.", x->model->name,
            status_word(x->model->status), snapshot_contact(x->snapshot));
        x->verdict.param = STR("model");
        x->verdict.never_retry = true;
        return STAGE_DENY;
    }
    if (!snapshot_key_allows_model(x->key, str_from(x->model->name))) {
        x->verdict.param = STR("model");
        return outside_key(x, "model", x->model->name);
    }
    for (size_t i = 0; i < x->model->candidate_count &&
                       x->candidate_count < EXCHANGE_CANDIDATES;
         i++) {
        struct exchange_candidate *c = &x->candidates[x->candidate_count];
        c->target = &x->model->candidates[i];
        c->live = pool_engine(x->worker->shared->pool, c->target->engine->name);
        if (c->live != NULL)
            x->candidate_count++;
    }
    if (x->candidate_count == 0) {
        exchange_deny(x, "plan", 503, "api_error", "upstream_unavailable",
            "No engine is registered for the model '%s'. Ask %s.",
            x->model->name, snapshot_contact(x->snapshot));
        x->verdict.retry_after_s = 60;
        return STAGE_DENY;
    }
    return STAGE_PASS;
}

/* --- decide -------------------------------------------------------------- */

static enum err ask(struct exchange *x, const char *action)
{
    const struct dialect_description *d = &x->description;
    struct policy_question question = {
        .caller = str_from(x->caller->id),
        .action = str_from(action),
        .auth_method = exchange_method(x),
        .key = str_from(x->key->id),
        .address =
            str_from(x->connection ? connection_address(x->connection) : ""),
        .route = str_from(x->match.route->path),
        .dialect = str_from(dialect_name(x->match.route->api)),
        .stream = d->stream,
        .now_us = x->wall_us,
        .zone = snapshot_zone(x->snapshot),
        .is_holiday = snapshot_is_holiday(x->snapshot, x->wall_us),
        .input_tokens = x->input_bound,
        .input_bytes = (int64_t)x->body.len,
        .messages = d->messages,
        .images = d->images,
        .audios = d->audios,
        .tools = d->tools,
        .tool_count = d->tool_count,
        .max_tokens = d->cap,
        .choices = d->choices,
        .has_temperature = d->has_temperature,
        .has_top_p = d->has_top_p,
        .temperature4 = d->temperature4,
        .top_p4 = d->top_p4,
    };
    if (x->token != NULL) {
        question.issuer = str_from(x->token->issuer->name);
        question.client = x->token->client;
        question.groups = x->token->groups;
        question.group_count = x->token->group_count;
        question.claims = x->token->claims;
        question.claim_count = x->token->claim_count;
        question.has_claims = x->token->issuer->claim_count > 0;
    }
    if (x->joined != NULL) {
        question.teams = x->joined->added;
        question.team_count = x->joined->added_count;
    }
    if (x->certificate != NULL) {
        const struct certificate_facts *facts =
            identity_certificate_facts(x->certificate);
        question.certificate = (struct policy_certificate){
            .domain = identity_certificate_domain(x->certificate),
            .issuer = facts->issuer,
            .fingerprint = str_from(facts->fingerprint),
            .uri = facts->uri,
            .dns = facts->dns,
            .dns_count = facts->dns_count};
    }
    if (x->end_user != NULL)
        question.end_user = (struct policy_end_user){
            .issuer = str_from(x->end_user->issuer->name),
            .caller =
                str_from(x->end_user->caller ? x->end_user->caller->id : ""),
            .groups = x->end_user->groups,
            .group_count = x->end_user->group_count};
    return policy_decide_begin(x->worker->workspace,
        snapshot_policy(x->snapshot), snapshot_entities(x->snapshot),
        &question);
}

/* Why nothing could be asked. */
static enum stage_result cannot_ask(struct exchange *x, enum err err)
{
    if (err != ERR_LIMIT)
        return exchange_deny(x, "decide", 503, "api_error", "overloaded",
            "Out of memory. Try again later.");
    exchange_deny(x, "decide", 400, "invalid_request_error", "too_many_tools",
        "tools: their names are more than a record can hold: at most %d tools "
        "and %d bytes of names, and one name of %d bytes. Offer fewer tools, "
        "or give them shorter names.",
        POLICY_TOOLS_MAX, POLICY_TOOLS_BYTES_MAX, POLICY_TOOLS_BYTES_MAX / 6);
    x->verdict.param = STR("tools");
    x->verdict.never_retry = true;
    return STAGE_DENY;
}

/* The engines of an approved model decide one by one; one that is permitted
 * on any of them is permitted. */
static bool model_is_permitted(
    struct exchange *x, const struct snapshot_model *model, bool with_engine)
{
    struct policy_decision decision;
    struct policy_target target = {.model = str_from(model->name)};
    if (model->status != MODEL_APPROVED ||
        !snapshot_key_allows_model(x->key, target.model))
        return false;
    if (!with_engine) {
        policy_decide(x->worker->workspace, &target, &decision);
        return decision.permitted;
    }
    for (size_t i = 0; i < model->candidate_count; i++) {
        target.engine = str_from(model->candidates[i].engine->name);
        target.upstream = str_from(model->candidates[i].upstream);
        policy_decide(x->worker->workspace, &target, &decision);
        if (decision.permitted)
            return true;
    }
    return false;
}

struct str exchange_permitted_models(struct exchange *x, const char *action)
{
    struct buf list;
    buf_init(&list, 1024);
    size_t more = 0;
    if (ask(x, action) == ERR_OK) {
        for (size_t i = 0; i < snapshot_model_count(x->snapshot); i++) {
            const struct snapshot_model *model = snapshot_model(x->snapshot, i);
            if (!model_is_permitted(x, model, true))
                continue;
            if (list.len + strlen(model->name) + 2 > 800) {
                more++;
                continue;
            }
            if (list.len > 0)
                buf_append_str(&list, STR(", "));
            buf_append_str(&list, str_from(model->name));
        }
    }
    if (list.len == 0)
        buf_append_str(&list, STR("none"));
    if (more > 0)
        buf_printf(&list, " and %zu more", more);
    struct str copy = arena_copy(x->arena, buf_str(&list));
    buf_fini(&list);
    return copy;
}

static bool keep_context(struct exchange *x)
{
    struct buf context;
    buf_init(&context, AUDIT_CONTEXT_MAX);
    policy_decide_context(x->worker->workspace, &context);
    bool good = !context.failed;
    x->context = arena_copy(x->arena, buf_str(&context));
    buf_fini(&context);
    return good && x->context.ptr != NULL;
}

/* GET /v1/models and /v1/models/{id}: only what policy lets this caller see. */
static enum stage_result decide_list(struct exchange *x)
{
    size_t count = snapshot_model_count(x->snapshot);
    bool one = x->match.route->endpoint == DIALECT_MODEL;
    const struct snapshot_model *wanted =
        one ? snapshot_find_model(x->snapshot, x->match.model) : NULL;
    x->models = ARENA_ARRAY(x->arena, count + 1, struct dialect_model_entry);
    enum err err = x->models == NULL ? ERR_NOMEM : ask(x, "listModels");
    if (err == ERR_OK && !keep_context(x))
        err = ERR_NOMEM;
    if (err != ERR_OK)
        return cannot_ask(x, err);
    for (size_t i = 0; i < count; i++) {
        const struct snapshot_model *model = snapshot_model(x->snapshot, i);
        if ((one && model != wanted) || !model_is_permitted(x, model, false))
            continue;
        x->models[x->model_count++] = (struct dialect_model_entry){
            .id = one ? x->match.model : str_from(model->name),
            .created_us = model->created_us,
            .owner = str_from(model->owner[0] ? model->owner : "bailiff")};
    }
    if (one && x->model_count == 0) {
        /* The same words whether it is hidden or not there. */
        exchange_deny(x, "decide", 404, "invalid_request_error",
            "model_not_found",
            "The model '%.*s' does not exist here, or you may not see it.",
            (int)(x->match.model.len < 128 ? x->match.model.len : 128),
            x->match.model.ptr);
        x->verdict.never_retry = true;
        return STAGE_DENY;
    }
    return STAGE_PASS;
}

/* The 403 names the rule, its own message and whom to ask. */
static enum stage_result explain_denial(
    struct exchange *x, const struct policy_decision *decision)
{
    const struct policy_set *set = snapshot_policy(x->snapshot);
    const char *contact = snapshot_contact(x->snapshot);
    const char *code = "policy_denied";
    struct str id = STR(""), title = STR("");
    if (decision->reason == POLICY_ERROR && decision->error_count > 0)
        id = policy_set_id(set, decision->errors[0]);
    else if (decision->policy_count > 0) {
        id = policy_set_id(set, decision->policies[0]);
        title = policy_set_title(set, decision->policies[0]);
    }
    char message[512] = "";
    if (decision->message.len > 0)
        snprintf(message, sizeof(message), " %.*s", STR_ARG(decision->message));
    switch (decision->reason) {
    case POLICY_FORBIDDEN:
        exchange_deny(x, "decide", 403, "permission_error", code,
            "Denied by rule '%.*s' (%.*s) for the model '%s'.%s Ask %s. "
            "Ref %s.",
            STR_ARG(id), STR_ARG(title), x->model->name, message, contact,
            x->id);
        break;
    case POLICY_ERROR:
        code = "policy_error";
        exchange_deny(x, "decide", 403, "permission_error", code,
            "The rule '%.*s' could not be evaluated, so the request is "
            "denied. Ask %s. Ref %s.",
            STR_ARG(id), contact, x->id);
        break;
    case POLICY_LIMIT:
        code = "policy_error";
        exchange_deny(x, "decide", 403, "permission_error", code,
            "The rules could not be evaluated within their limit, so the "
            "request is denied. Ask %s. Ref %s.",
            contact, x->id);
        break;
    case POLICY_NO_PERMIT:
    case POLICY_PERMITTED:
        exchange_deny(x, "decide", 403, "permission_error", code,
            "Denied: no rule permits you to %s with the model '%s'.%s Ask %s. "
            "Ref %s.",
            x->match.route->action, x->model->name, message, contact, x->id);
        break;
    }
    x->verdict.param = STR("model");
    x->verdict.never_retry = true;
    return STAGE_DENY;
}

int64_t exchange_media_tokens(const struct exchange *x)
{
    return x->description.images * IMAGE_TOKENS +
           x->description.audios * AUDIO_TOKENS;
}

static int64_t bound_input(const struct exchange *x)
{
    const struct dialect_description *d = &x->description;
    int64_t bound = d->text_bytes + exchange_media_tokens(x) +
                    (int64_t)d->tool_count * TOOL_TOKENS;
    if (x->match.route->has_cap)
        bound += x->model->template_tokens * d->prompts +
                 x->model->message_tokens * d->messages;
    else
        bound += 8 * d->prompts; /* begin and end marks around each input */
    return bound;
}

/* Break-glass: what the rules deny is let through for a named caller until it
 * expires. The record keeps what the rules said beside it. */
static bool let_through(struct exchange *x)
{
    const struct snapshot_emergency *emergency =
        snapshot_find_access(x->snapshot, str_from(x->caller->id),
            str_from(x->model->name), x->wall_us);
    if (emergency == NULL)
        return false;
    x->emergency = emergency->id;
    for (unsigned i = 0; i < x->candidate_count; i++) {
        x->candidates[i].decision.permitted = true;
        x->candidates[i].let_through = true;
    }
    metrics_add(&x->worker->metrics, METRIC_EMERGENCY_REQUESTS, 1);
    return true;
}

enum stage_result stage_decide(struct exchange *x)
{
    struct worker *w = x->worker;
    if (x->match.route->endpoint == DIALECT_USAGE)
        return STAGE_PASS; /* of one's own: exchange_usage.c */
    if (x->match.route->engine_path == NULL)
        return decide_list(x);
    x->input_bound = bound_input(x);
    enum err err = ask(x, x->match.route->action);
    if (err != ERR_OK)
        return cannot_ask(x, err);
    unsigned permitted = 0;
    const struct policy_decision *worst = NULL;
    for (unsigned i = 0; i < x->candidate_count; i++) {
        struct exchange_candidate *c = &x->candidates[i];
        struct policy_target target = {.model = str_from(x->model->name),
            .engine = str_from(c->target->engine->name),
            .upstream = str_from(c->target->upstream)};
        policy_decide(w->workspace, &target, &c->decision);
        metrics_add(&w->metrics, METRIC_POLICY_ERRORS, c->decision.error_count);
        if (c->decision.permitted)
            permitted++;
        else if (worst == NULL)
            worst = &c->decision;
    }
    if (!keep_context(x))
        return exchange_deny(x, "decide", 503, "api_error",
            "governance_unavailable",
            "The request's context is too large to be recorded.");
    exchange_shadow(x);
    if (permitted == 0 && !let_through(x))
        return explain_denial(x, worst);
    return STAGE_PASS;
}

/* --- reserve ------------------------------------------------------------- */

static void claim(struct exchange *x, const struct quota_rule *const *rules,
    const struct snapshot_quota_for *models, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!snapshot_quota_is_for(&models[i], x->model))
            continue;
        if (x->claim_count == QUOTA_CLAIMS_MAX) {
            x->claim_count++; /* one too many: refused below */
            return;
        }
        x->claims_for[x->claim_count] = &models[i];
        x->claims[x->claim_count++].rule = rules[i];
    }
}

/* Seconds, rounded up, at least one. */
static int64_t whole_seconds(int64_t us)
{
    return us <= SECOND_US ? 1 : (us + SECOND_US - 1) / SECOND_US;
}

/* "input tokens"; money is in micro-units, which nobody reads. */
static void say_amount(
    struct buf *out, enum quota_dimension dimension, int64_t amount)
{
    char text[64];
    if (dimension != QUOTA_COST) {
        buf_append_i64(out, amount);
        return;
    }
    snprintf(text, sizeof(text), "%lld.%06lld", (long long)(amount / 1000000),
        (long long)(amount % 1000000));
    size_t length = strlen(text);
    while (text[length - 1] == '0' && text[length - 3] != '.')
        length--;
    buf_append(out, text, length);
}

static void say_dimension(struct buf *out, enum quota_dimension dimension)
{
    buf_append_str(out, dimension == QUOTA_COST ? STR(" of cost") : STR(" "));
    if (dimension == QUOTA_COST)
        return;
    for (const char *c = quota_dimension_name(dimension); *c != '\0'; c++)
        buf_append_char(out, *c == '_' ? ' ' : *c);
}

static bool can_ask_for_less(enum quota_dimension dimension)
{
    return dimension == QUOTA_TOKENS || dimension == QUOTA_OUTPUT_TOKENS ||
           dimension == QUOTA_COST;
}

static void say_limit(struct buf *out, const struct quota_denial *denial)
{
    const struct quota_rule *rule = denial->rule;
    buf_printf(out, "Quota %s allows ", rule->id);
    say_amount(out, rule->dimension, rule->amount);
    say_dimension(out, rule->dimension);
    if (rule->window == QUOTA_LIFETIME)
        buf_append_str(out, STR(" in all"));
    else if (rule->window != QUOTA_NOW)
        buf_printf(out, " per %s", quota_window_name(rule->window));
    buf_append_str(out, STR("; this request may need "));
    say_amount(out, rule->dimension, denial->asked);
    buf_append_str(out, STR(" and "));
    say_amount(out, rule->dimension, denial->remaining);
    buf_append_str(
        out, denial->remaining == 1 ? STR(" is left.") : STR(" are left."));
    if (denial->asked > rule->amount)
        buf_append_str(out, can_ask_for_less(rule->dimension)
                                ? STR(" It can never fit: ask for fewer tokens "
                                      "(max_tokens).")
                                : STR(" It can never fit."));
}

static enum stage_result over_quota(
    struct exchange *x, const struct quota_denial *denial)
{
    const struct quota_rule *rule = denial->rule;
    bool rate = denial->rate && denial->retry_after_us >= 0;
    struct buf words;
    buf_init(&words, 512);
    say_limit(&words, denial);
    exchange_deny(x, "reserve", 429,
        rate ? "rate_limit_error" : "insufficient_quota",
        rate ? "rate_limit_exceeded" : "insufficient_quota", "%.*s Ref %s.",
        STR_ARG(buf_str(&words)), x->id);
    buf_fini(&words);
    x->verdict.never_retry = !rate;
    if (denial->retry_after_us >= 0)
        x->verdict.retry_after_s = whole_seconds(denial->retry_after_us);
    x->verdict.quota = str_from(rule->id);
    x->verdict.quota_asked = denial->asked;
    x->verdict.quota_used = rule->amount - denial->remaining;
    return STAGE_DENY;
}

/* The largest cap that any permitted candidate's obligations leave. */
static int64_t widest_cap(const struct exchange *x, int64_t cap)
{
    int64_t widest = 0;
    for (unsigned i = 0; i < x->candidate_count; i++) {
        const struct policy_decision *d = &x->candidates[i].decision;
        int64_t own = cap;
        if (!d->permitted)
            continue;
        if (d->obligations.max_tokens >= 0 && d->obligations.max_tokens < own)
            own = d->obligations.max_tokens;
        if (own > widest)
            widest = own;
    }
    return widest;
}

/* Only where the bound is what keeps the request from fitting: with hardly any
 * input it would, or an answer could be more than twice as long. */
static bool measuring_would_help(const struct exchange *x)
{
    struct quota_ledger *ledger = x->worker->shared->ledger;
    int64_t now = loop_wall(x->worker->loop);
    struct quota_demand least = x->demand;
    least.input = 1 + exchange_media_tokens(x);
    if (least.input >= x->demand.input)
        return false;
    int64_t bound =
        quota_foresee(ledger, now, &x->demand, x->claims, x->claim_count);
    int64_t best =
        quota_foresee(ledger, now, &least, x->claims, x->claim_count);
    return bound < 0 ? best >= 0 : best / 2 > bound;
}

static bool has_given_cap(const struct exchange *x)
{
    return x->description.cap >= 0;
}

/* Lists cost nothing; what has a model has that model's price, or none. */
static const struct price *price_of(const struct exchange *x)
{
    static const struct price nothing = {.version = 0};
    return x->model == NULL
               ? &nothing
               : price_at(x->model->prices, x->model->price_count, x->wall_us);
}

/* A sound has no length that could be read off it and trusted: so many bytes,
 * decoded, are a second. MP3 takes more even at its lowest rate. */
#define AUDIO_SECOND_BYTES 1000

static enum stage_result unpriced(struct exchange *x, const char *quota)
{
    exchange_deny(x, "reserve", 403, "permission_error", "model_not_priced",
        "Quota %s limits what requests cost, and the model '%s' has no price. "
        "Use another model, or ask %s. Ref %s.",
        quota, x->model->name, snapshot_contact(x->snapshot), x->id);
    x->verdict.param = STR("model");
    x->verdict.never_retry = true;
    x->verdict.quota = str_from(quota);
    return STAGE_DENY;
}

/* What this request would take at most, and from which quotas. */
static enum stage_result prepare_demand(struct exchange *x)
{
    const struct dialect_description *d = &x->description;
    x->demand = (struct quota_demand){.input = x->input_bound,
        .images = d->images,
        .audio_seconds = d->audios + d->audio_bytes / AUDIO_SECOND_BYTES,
        .bytes = (int64_t)x->body.len,
        .price = price_of(x)};
    if (x->match.route->has_cap) {
        bool given = has_given_cap(x);
        x->answers = dialect_answers(&x->description);
        x->demand.multiplier = x->answers;
        x->demand.cap = widest_cap(
            x, given ? x->description.cap : x->model->default_max_tokens);
        x->demand.cap_is_flexible = !given;
        x->demand.cap_least = 1;
        x->cap_injected = !given;
    }
    x->claim_count = 0;
    memset(x->claims, 0, sizeof(x->claims));
    if (x->match.route->endpoint == DIALECT_USAGE)
        return STAGE_PASS;
    claim(x, x->caller->quotas, x->caller->quota_for, x->caller->quota_count);
    if (x->joined != NULL)
        claim(
            x, x->joined->quotas, x->joined->quota_for, x->joined->quota_count);
    claim(x, x->key->quotas, x->key->quota_for, x->key->quota_count);
    if (x->claim_count > QUOTA_CLAIMS_MAX) {
        x->claim_count = 0;
        return exchange_deny(x, "reserve", 503, "api_error",
            "governance_unavailable",
            "More than %d quotas apply to this caller. Ask %s.",
            QUOTA_CLAIMS_MAX, snapshot_contact(x->snapshot));
    }
    for (size_t i = 0; i < x->claim_count && x->demand.price == NULL; i++) {
        if (x->claims[i].rule->dimension == QUOTA_COST)
            return unpriced(x, x->claims[i].rule->id);
    }
    return STAGE_PASS;
}

static enum err take(struct exchange *x, struct quota_denial *denial)
{
    struct quota_demand demand = x->demand;
    int64_t now = loop_wall(x->worker->loop); /* it may have waited long */
    bool may_measure = !x->measured && x->claim_count > 0 && demand.input > 1 &&
                       exchange_may_measure(x);
    int64_t cap = demand.cap;
    /* A cap of ours is not lowered before it is known whether it must be. */
    if (may_measure)
        demand.cap_is_flexible = false;
    enum err err = quota_reserve(x->worker->shared->ledger, now, &demand,
        x->claims, x->claim_count, &cap, denial);
    if (err == ERR_FULL && may_measure) {
        if (measuring_would_help(x))
            return ERR_AGAIN;
        demand.cap_is_flexible = x->demand.cap_is_flexible;
        if (demand.cap_is_flexible)
            err = quota_reserve(x->worker->shared->ledger, now, &demand,
                x->claims, x->claim_count, &cap, denial);
    }
    if (err == ERR_OK) {
        x->reserved = true;
        if (x->match.route->has_cap)
            x->cap = cap;
    }
    return err;
}

/* Runs again after exchange_measure, with what that found. */
enum stage_result stage_reserve(struct exchange *x)
{
    struct quota_denial denial;
    if (prepare_demand(x) != STAGE_PASS)
        return STAGE_DENY;
    enum err err = take(x, &denial);
    if (err == ERR_AGAIN)
        return exchange_measure(x);
    if (err == ERR_FULL)
        return over_quota(x, &denial);
    if (err != ERR_OK)
        return exchange_deny(x, "reserve", 503, "api_error", "overloaded",
            "Out of memory. Try again later.");
    return STAGE_PASS;
}
