/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/exchange_audit.c - the exchange as entries of the log, and the
 * settling of its quotas, which always goes with an entry. */
#include "proxy/exchange_priv.h"

#include "lib/json_write.h"
#include "lib/log.h"
#include "lib/must.h"
#include "proxy/log_budget.h"

#include <stdio.h>

#define PERSONAL_TEXT_MAX 512

#define SHORT_TEXT_MAX 256

/* What of a certificate may name a person. */
static void write_certificate(
    struct json_writer *json, const struct certificate_facts *facts)
{
    if (facts->email_count > 0) {
        json_write_key(json, STR("certificateEmails"));
        json_write_array(json);
        for (size_t i = 0; i < facts->email_count; i++)
            json_write_string(json, facts->emails[i]);
        json_write_array_end(json);
    }
    json_write_member_string(json, STR("certificateSubject"),
        str_cut_utf8(facts->subject_text, SHORT_TEXT_MAX));
}

/* Address, end user and user agent: one box under the caller's own key. */
static bool seal_person(struct exchange *x, struct audit_sealed *sealed)
{
    struct worker *w = x->worker;
    const struct seal_key *key = exchange_seal_key(x);
    struct json_writer json;
    struct buf *plain = &w->plain, *box = &w->box;
    if (key == NULL)
        return false; /* a key is made ahead; without one nothing passes */
    buf_clear(plain);
    buf_clear(box);
    json_write_init(&json, plain);
    json_write_object(&json);
    if (x->connection != NULL)
        json_write_member_string(
            &json, STR("address"), str_from(connection_address(x->connection)));
    if (x->certificate != NULL)
        write_certificate(&json, identity_certificate_facts(x->certificate));
    if (x->description.end_user.len > 0)
        json_write_member_string(&json, STR("endUser"),
            str_cut_utf8(x->description.end_user, PERSONAL_TEXT_MAX));
    /* Not signed: what somebody claimed. */
    if (x->end_user == NULL && x->end_user_said.len > 0 &&
        !identity_is_token(x->end_user_said))
        json_write_member_string(&json, STR("endUserClaimed"),
            str_cut_utf8(x->end_user_said, SHORT_TEXT_MAX));
    if (x->end_user != NULL)
        json_write_member_string(&json, STR("endUserVerified"),
            str_cut_utf8(x->end_user->subject, SHORT_TEXT_MAX));
    if (x->token != NULL)
        json_write_member_string(&json, STR("subject"),
            str_cut_utf8(x->token->subject, PERSONAL_TEXT_MAX));
    if (x->user_agent.len > 0)
        json_write_member_string(&json, STR("userAgent"),
            str_cut_utf8(x->user_agent, PERSONAL_TEXT_MAX));
    json_write_object_end(&json);
    bool good =
        !plain->failed && seal_box(w->aead, key, str_make(x->id, ULID_LENGTH),
                              buf_str(plain), box) == ERR_OK;
    if (good) {
        sealed->box = arena_copy(x->arena, buf_str(box));
        sealed->key_id = str_from(key->id);
        good = sealed->box.ptr != NULL;
    }
    if (plain->ptr != NULL)
        crypto_wipe(plain->ptr, plain->len);
    return good;
}

static const struct str *rule_ids(
    struct exchange *x, const uint16_t *policies, unsigned count)
{
    struct str *ids = ARENA_ARRAY(x->arena, count + 1, struct str);
    for (unsigned i = 0; ids != NULL && i < count; i++)
        ids[i] = policy_set_id(snapshot_policy(x->snapshot), policies[i]);
    return ids;
}

static struct str reason_words(const struct policy_decision *d)
{
    switch (d->reason) {
    case POLICY_NO_PERMIT:
        return STR("no_permit");
    case POLICY_FORBIDDEN:
        return STR("forbidden");
    case POLICY_ERROR:
        return STR("policy_error");
    case POLICY_LIMIT:
        return STR("limit");
    case POLICY_PERMITTED:
        break;
    }
    return STR("");
}

static bool add_candidates(struct exchange *x, struct audit_request *request)
{
    struct audit_candidate *list =
        ARENA_ARRAY(x->arena, x->candidate_count + 1, struct audit_candidate);
    if (list == NULL)
        return false;
    for (unsigned i = 0; i < x->candidate_count; i++) {
        const struct exchange_candidate *c = &x->candidates[i];
        const struct policy_decision *d = &c->decision;
        list[i] = (struct audit_candidate){
            .engine = str_from(c->target->engine->name),
            .model = str_from(x->model->name),
            .upstream = str_from(c->target->upstream),
            .permitted = d->permitted && !c->let_through,
            .reason = reason_words(d),
            .policies = rule_ids(x, d->policies, d->policy_count),
            .policy_count = d->policy_count,
            .errors = rule_ids(x, d->errors, d->error_count),
            .error_count = d->error_count,
            .advice = rule_ids(x, d->advice, d->advice_count),
            .advice_count = d->advice_count,
            .max_tokens = d->permitted && !c->let_through
                              ? d->obligations.max_tokens
                              : -1,
            .priority = str_from(
                d->permitted ? policy_priority_name(d->obligations.priority)
                             : ""),
            .record_full = d->permitted && d->obligations.record_full};
        if (list[i].policies == NULL || list[i].errors == NULL ||
            list[i].advice == NULL)
            return false;
    }
    request->candidates = list;
    /* Before the decision they are no candidates yet. */
    request->candidate_count = x->context.ptr != NULL ? x->candidate_count : 0;
    return true;
}

static const struct audit_quota_figure *figures(struct exchange *x)
{
    struct audit_quota_figure *list =
        ARENA_ARRAY(x->arena, x->claim_count + 1, struct audit_quota_figure);
    for (size_t i = 0; list != NULL && i < x->claim_count; i++) {
        const struct quota_claim *c = &x->claims[i];
        list[i] = (struct audit_quota_figure){.bucket = str_from(c->rule->id),
            .rate = c->rule->window == QUOTA_MINUTE,
            .now = c->rule->window == QUOTA_NOW,
            .window_start_us = c->window_start_us,
            .limit = c->rule->amount,
            .used = c->used,
            .reserved = c->reserved,
            .settled = c->settled,
            .arrival_us = c->arrival_us,
            .step = c->step};
    }
    return list;
}

static int64_t recordable(int64_t units)
{
    return units > JSON_INTEGER_MAX ? JSON_INTEGER_MAX : units;
}

/* Of quotas that granted nothing: what was asked, and how they stood. */
static const struct audit_quota_figure *figures_asked(struct exchange *x)
{
    struct audit_quota_figure *list =
        ARENA_ARRAY(x->arena, x->claim_count + 1, struct audit_quota_figure);
    for (size_t i = 0; list != NULL && i < x->claim_count; i++) {
        const struct quota_rule *rule = x->claims[i].rule;
        struct quota_status status;
        quota_peek(x->worker->shared->ledger, loop_wall(x->worker->loop), rule,
            &status);
        list[i] = (struct audit_quota_figure){.bucket = str_from(rule->id),
            .rate = rule->window == QUOTA_MINUTE,
            .now = rule->window == QUOTA_NOW,
            .window_start_us = status.window_start_us,
            .limit = rule->amount,
            .used = recordable(status.used),
            .reserved = recordable(quota_asked(rule, &x->demand))};
        /* The one that refused as it stood then, not as it stands by now. */
        if (x->verdict.quota_asked > 0 &&
            str_equal(x->verdict.quota, str_from(rule->id))) {
            list[i].used = recordable(x->verdict.quota_used);
            list[i].reserved = recordable(x->verdict.quota_asked);
        }
    }
    return list;
}

static void describe_retention(
    const struct exchange_content *c, struct audit_request *out)
{
    if (c->has_key && !str_equal(c->class, STR("default")))
        out->retention = c->class;
}

static struct audit_content kept_request(const struct exchange_content *c)
{
    return (struct audit_content){.key_id = str_from(c->job.key.id),
        .blob = str_from(c->request.blob),
        .commitment = str_from(c->request.commitment),
        .bytes = c->request.bytes};
}

static bool describe_request(struct exchange *x, struct audit_request *out)
{
    struct worker *w = x->worker;
    const struct dialect_description *d = &x->description;
    *out = (struct audit_request){
        .id = str_make(x->id, ULID_LENGTH),
        .time_us = x->wall_us,
        .caller = str_from(x->caller->id),
        .key = str_from(x->key->id),
        .auth_method = exchange_method(x),
        .teams = x->joined ? x->joined->teams : x->caller->teams,
        .team_count = x->joined ? x->joined->team_count : x->caller->team_count,
        .group_teams = x->joined ? x->joined->added : NULL,
        .group_team_count = x->joined ? x->joined->added_count : 0,
        .route = str_from(x->match.route->path),
        .dialect = str_from(dialect_name(x->match.route->api)),
        .action = str_from(x->match.route->action),
        .emergency = str_from(x->emergency),
        .model_asked = d->model.len > 0 ? d->model : x->match.model,
        .model = str_from(x->model ? x->model->name : ""),
        .context = x->context.ptr != NULL ? x->context : STR("{}"),
        .policy_version = snapshot_policy_version(x->snapshot),
        .policy_hash = str_from(snapshot_policy_hash(x->snapshot)),
        .snapshot = str_from(snapshot_id(x->snapshot)),
        .body_bytes = (int64_t)x->body.len,
        .digest_key = str_from(w->digest_name),
        .input_bound = x->input_bound,
        .cap = x->cap,
        .cap_injected = x->cap_injected,
        .stream = d->stream,
        .stripped = d->stripped,
        .stripped_count = d->stripped_count,
        .waited_us = x->waited_us,
        .trace = str_from(x->trace_id),
    };
    if (x->demand.price != NULL && x->demand.price->version > 0) {
        out->price_version = x->demand.price->version;
        out->price_hash = str_from(x->demand.price->hash);
    }
    if (x->content != NULL)
        describe_retention(x->content, out);
    if (w->digest != NULL && x->body.len > 0) {
        uint8_t digest[SHA256_SIZE];
        char *hex = arena_alloc(x->arena, 2 * SHA256_SIZE + 1);
        if (hex == NULL)
            return false;
        struct str body = buf_str(&x->body);
        crypto_mac_once(w->digest, digest, body.ptr, body.len);
        hex_write(hex, digest, sizeof(digest));
        out->body_digest = str_make(hex, 2 * SHA256_SIZE);
    }
    return seal_person(x, &out->sealed) && add_candidates(x, out);
}

/* Of the one whose request it is about. */
static void count_bytes(struct exchange *x)
{
    if (x->caller != NULL)
        log_budget_add(x->worker->shared->log_budget, str_from(x->caller->id),
            x->worker->entry.len, loop_wall(x->worker->loop));
}

static bool append(struct exchange *x, size_t time_offset, size_t room)
{
    struct worker *w = x->worker;
    enum err err = w->entry.failed
                       ? ERR_NOMEM
                       : journal_append(w->producer, buf_str(&w->entry),
                             time_offset, room, &x->ticket);
    if (err == ERR_OK) {
        count_bytes(x);
        x->appended_us = loop_now(w->loop);
        return true;
    }
    log_warn("not_recorded", "request=%s reason=%s", x->id, err_name(err));
    return false;
}

bool exchange_record_denied(struct exchange *x)
{
    struct audit_request request;
    size_t time_offset = 0;
    struct audit_denied denied = {.stage = str_from(x->verdict.stage),
        .status = x->verdict.status,
        .code = str_from(x->verdict.code),
        .message = x->verdict.message,
        .quota = x->verdict.quota};
    if (!describe_request(x, &request))
        return false;
    request.quotas = figures_asked(x);
    request.quota_count = x->claim_count;
    if (request.quotas == NULL)
        return false;
    buf_clear(&x->worker->entry);
    audit_entry_denied(&x->worker->entry, &request, &denied, &time_offset);
    return append(x, time_offset, 0);
}

/* Takes no room for a completion: an admission or a denial follows. */
bool exchange_record_measured(struct exchange *x)
{
    struct audit_request request;
    size_t time_offset = 0;
    if (!describe_request(x, &request))
        return false;
    request.quotas = figures_asked(x);
    request.quota_count = x->claim_count;
    if (request.quotas == NULL)
        return false;
    buf_clear(&x->worker->entry);
    audit_entry_measured(&x->worker->entry, &request,
        str_from(x->counting->target->engine->name), &time_offset);
    return append(x, time_offset, 0);
}

bool exchange_record_admitted(struct exchange *x)
{
    struct audit_request request;
    size_t time_offset = 0;
    if (!describe_request(x, &request))
        return false;
    request.quotas = figures(x);
    request.quota_count = x->claim_count;
    if (request.quotas == NULL)
        return false;
    if (x->content != NULL && x->content->has_request)
        request.content = kept_request(x->content);
    buf_clear(&x->worker->entry);
    audit_entry_admitted(&x->worker->entry, &request, &time_offset);
    if (!append(x, time_offset, AUDIT_COMPLETION_MAX))
        return false;
    if (x->content != NULL)
        x->content->admitted = true;
    return true;
}

void exchange_record_attempt(struct exchange *x, int status, struct str error)
{
    struct worker *w = x->worker;
    size_t time_offset = 0;
    uint64_t ticket;
    struct audit_attempt attempt = {.id = str_make(x->id, ULID_LENGTH),
        .time_us = loop_wall(w->loop),
        .number = x->attempts,
        .engine = str_from(x->current->target->engine->name),
        .upstream = str_from(x->current->target->upstream),
        .status = status,
        .error = error};
    buf_clear(&w->entry);
    audit_entry_attempt(&w->entry, &attempt, &time_offset);
    /* The completion counts the attempts, should there be no room for this. */
    if (w->entry.failed || journal_append(w->producer, buf_str(&w->entry),
                               time_offset, 0, &ticket) != ERR_OK)
        log_warn("attempt_not_recorded", "request=%s attempt=%u", x->id,
            x->attempts);
}

/* --- admit --------------------------------------------------------------- */

enum stage_result stage_admit(struct exchange *x)
{
    bool unwitnessed = atomic_load_explicit(
        &x->worker->shared->unwitnessed, memory_order_relaxed);
    if (!unwitnessed && exchange_record_admitted(x)) {
        metrics_add(&x->worker->metrics, METRIC_PERMITTED, 1);
        x->phase = ADMITTING;
        exchange_wait(x->worker, x);
        return STAGE_WAIT;
    }
    quota_cancel(x->worker->shared->ledger, loop_wall(x->worker->loop),
        x->claims, x->claim_count);
    x->reserved = false;
    exchange_deny(x, "admit", 503, "api_error", "governance_unavailable",
        unwitnessed ? "Too few witnesses cosign the record, so nothing is "
                      "served. Try again later."
                    : "The decision could not be recorded, so nothing is "
                      "served. Try again later.");
    x->verdict.retry_after_s = 5;
    return STAGE_DENY;
}

/* --- settle -------------------------------------------------------------- */

static void append_reserved(struct exchange *x, size_t time_offset)
{
    struct worker *w = x->worker;
    uint64_t ticket;
    MUST(!w->entry.failed && w->entry.len <= AUDIT_COMPLETION_MAX);
    /* It fails only with the journal, and then replay closes the admission as
     * interrupted and charges what was reserved. */
    if (journal_append_reserved(w->producer, buf_str(&w->entry), time_offset,
            AUDIT_COMPLETION_MAX, &ticket) != ERR_OK)
        log_error("completion_not_recorded", "request=%s", x->id);
    else
        count_bytes(x);
}

static void count_outcome(struct worker *w, const char *outcome)
{
    static const struct {
        const char *name;
        enum metric metric;
    } rows[] = {
        {"ok", METRIC_OUTCOME_OK},
        {"cut", METRIC_OUTCOME_CUT},
        {"client_gone", METRIC_OUTCOME_CLIENT_GONE},
        {"engine_error", METRIC_OUTCOME_ENGINE_ERROR},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(rows[i].name, outcome) == 0)
            metrics_add(&w->metrics, rows[i].metric, 1);
    }
}

/* -1: the model has no price. Where nobody says that the engine did anything,
 * nothing is charged. */
static int64_t cost_of(const struct exchange *x, const struct settlement *s)
{
    const struct price *price = x->demand.price;
    struct price_use use = {.input = s->input,
        .cached = s->cached,
        .output = s->output,
        .images = x->demand.images,
        .audio_seconds = x->demand.audio_seconds};
    if (price == NULL || price->version == 0)
        return -1;
    return s->served && strcmp(s->source, "none") != 0 ? price_cost(price, &use)
                                                       : 0;
}

static void copy_text(char *out, size_t size, struct str text)
{
    snprintf(out, size, "%.*s", STR_ARG(text));
}

static void warn(struct exchange *x, const struct quota_claim *claim,
    const struct snapshot_quota_for *what)
{
    const struct quota_rule *rule = claim->rule;
    struct watch_warning note = {.dimension = rule->dimension,
        .window = rule->window,
        .amount = rule->amount,
        .used = claim->used_settled,
        .percent = rule->warn_percent};
    copy_text(note.quota, sizeof(note.quota), str_from(rule->id));
    copy_text(note.scope, sizeof(note.scope), what->scope);
    copy_text(note.subject, sizeof(note.subject), what->subject);
    copy_text(note.models, sizeof(note.models),
        what->model.len > 0 ? what->model : what->group);
    watch_warn(x->worker->shared->watch, &note);
}

/* What proxy/watch.h compares: should it have moved, and did it? */
static void look_at_meters(
    struct exchange *x, const struct settlement *s, const struct quota_use *use)
{
    struct worker *w = x->worker;
    if (x->current != NULL && strcmp(s->outcome, "ok") == 0) {
        atomic_fetch_add_explicit(
            &x->current->live->answers, 1, memory_order_relaxed);
        if (strcmp(s->source, "engine") == 0 && s->input > 0 &&
            (s->output > 0 || !x->match.route->has_cap))
            atomic_fetch_add_explicit(
                &x->current->live->metered, 1, memory_order_relaxed);
    }
    if (use->input <= 0 || !use->served)
        return;
    for (size_t i = 0; i < x->claim_count; i++) {
        const struct quota_claim *c = &x->claims[i];
        if (c->reserved == 0 || (c->rule->dimension != QUOTA_REQUESTS &&
                                    c->rule->dimension != QUOTA_TOKENS &&
                                    c->rule->dimension != QUOTA_INPUT_TOKENS))
            continue;
        metrics_add(&w->metrics, METRIC_CHARGES_DUE, 1);
        metrics_add(&w->metrics, METRIC_CHARGES, c->settled > 0);
    }
}

void exchange_settle(struct exchange *x, const struct settlement *s)
{
    if (x->content == NULL || !exchange_content_settle(x, s))
        exchange_settle_now(x, s);
}

static void describe_answer(
    const struct exchange_content *c, struct audit_completed *out)
{
    if (c->settles)
        out->total_us = c->total_us;
    if (c->has_answer)
        out->content = (struct audit_content){.key_id = str_from(c->job.key.id),
            .blob = str_from(c->job.commitment.blob),
            .commitment = str_from(c->job.commitment.commitment),
            .bytes = c->job.commitment.bytes};
    out->content_lost = str_from(c->lost);
}

/* The keyed digest of what the caller was given: of a stream the bytes that
 * were relayed, without an error event of ours at its end; else the body. Of an
 * error there is none. It is for `audit find-text`. */
static void digest_answer(const struct exchange *x,
    char hex[2 * SHA256_SIZE + 1], struct audit_completed *out)
{
    struct worker *w = x->worker;
    uint8_t digest[SHA256_SIZE];
    struct str body = buf_str(&x->answer);
    if (x->bytes_out == 0)
        return;
    if (x->relayed != NULL) {
        crypto_mac_end(x->relayed, digest);
        out->digest_key = x->relayed_key;
    } else if (x->stream != NULL || w->digest == NULL) {
        return; /* there was no key when it began */
    } else {
        MUST((int64_t)body.len == x->bytes_out);
        crypto_mac_once(w->digest, digest, body.ptr, body.len);
        out->digest_key = str_from(w->digest_name);
    }
    hex_write(hex, digest, sizeof(digest));
    out->answer_digest = str_make(hex, 2 * SHA256_SIZE);
}

void exchange_settle_now(struct exchange *x, const struct settlement *s)
{
    struct worker *w = x->worker;
    int64_t now = loop_wall(w->loop);
    size_t time_offset = 0;
    char digest[2 * SHA256_SIZE + 1];
    const struct engine_target *engine =
        x->current != NULL ? x->current->target->engine : NULL;
    MUST(x->reserved);
    int64_t cost = cost_of(x, s);
    struct quota_use use = {.input = s->input > 0 ? s->input : 0,
        .output = s->output > 0 ? s->output : 0,
        .cost = cost > 0 ? cost : 0,
        .served = s->served};
    quota_settle(w->shared->ledger, now, x->claims, x->claim_count, &use);
    x->reserved = false;
    look_at_meters(x, s, &use);
    for (size_t i = 0; i < x->claim_count; i++) {
        if (x->claims[i].warned)
            warn(x, &x->claims[i], x->claims_for[i]);
    }
    struct audit_completed completed = {.id = str_make(x->id, ULID_LENGTH),
        .time_us = now,
        .outcome = str_from(s->outcome),
        .reason = str_from(s->reason),
        .status = s->status,
        .engine = str_from(engine ? engine->name : ""),
        .upstream = str_from(x->current ? x->current->target->upstream : ""),
        .attempts = x->attempts,
        .input_tokens = s->input,
        .output_tokens = s->output,
        .cached_tokens = s->cached,
        .reasoning_tokens = s->reasoning,
        .usage_source = str_from(s->source),
        .cost = cost,
        .bytes_out = x->bytes_out,
        .durable_us = x->durable_us,
        .first_byte_us = x->first_byte_us,
        .total_us = loop_now(w->loop) - x->started_us,
        .quotas = figures(x),
        .quota_count = x->claim_count};
    if (x->content != NULL)
        describe_answer(x->content, &completed);
    digest_answer(x, digest, &completed);
    if (completed.quotas == NULL)
        completed.quota_count = 0; /* replay then charges the reservation */
    buf_clear(&w->entry);
    audit_entry_completed(&w->entry, &completed, &time_offset);
    append_reserved(x, time_offset);
    count_outcome(w, s->outcome);
    if (x->first_byte_us >= 0)
        metrics_observe(&w->metrics.first_byte, x->first_byte_us);
    metrics_add(&w->metrics, METRIC_INPUT_TOKENS, s->input > 0 ? s->input : 0);
    metrics_add(
        &w->metrics, METRIC_OUTPUT_TOKENS, s->output > 0 ? s->output : 0);
}

void exchange_withdraw(struct exchange *x, const char *reason)
{
    struct worker *w = x->worker;
    int64_t now = loop_wall(w->loop);
    size_t time_offset = 0;
    MUST(x->reserved);
    quota_cancel(w->shared->ledger, now, x->claims, x->claim_count);
    x->reserved = false;
    struct audit_withdrawn withdrawn = {.id = str_make(x->id, ULID_LENGTH),
        .time_us = now,
        .reason = str_from(reason),
        .quotas = figures(x),
        .quota_count = x->claim_count};
    if (withdrawn.quotas == NULL)
        withdrawn.quota_count = 0;
    buf_clear(&w->entry);
    audit_entry_withdrawn(&w->entry, &withdrawn, &time_offset);
    append_reserved(x, time_offset);
    metrics_add(&w->metrics, METRIC_WITHDRAWN, 1);
}
