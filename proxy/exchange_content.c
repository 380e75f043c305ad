/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/exchange_content.c - what a rule obliges to keep, and for how long.
 *
 * @record("full"): the body is durable (encrypted, audit/blob.h) before the
 * admission that commits to it is written, and so before an engine sees it;
 * what was relayed of the answer is, before the completion is written. A
 * request that cannot be kept is refused (503, on record); an answer that was
 * given and cannot be kept is said to be lost. @retain, or the caller's team,
 * says in which retention class the record is; its personal fields are sealed
 * under the key of that class. */
#include "proxy/exchange_priv.h"

#include "lib/log.h"
#include "lib/must.h"

static bool is_default(struct str class)
{
    return str_equal(class, STR("default"));
}

/* Some permitted candidate's rules oblige to keep it. */
static bool must_keep(const struct exchange *x)
{
    for (unsigned i = 0; i < x->candidate_count; i++) {
        const struct policy_decision *d = &x->candidates[i].decision;
        if (d->permitted && d->obligations.record_full)
            return x->match.route->engine_path != NULL;
    }
    return false;
}

/* What the permitting rules name, else what the caller's teams have; of several
 * the one that keeps longest. False: a rule names one that is not there. */
static bool choose_class(const struct exchange *x, struct str *class)
{
    const struct policy_set *set = snapshot_policy(x->snapshot);
    const struct snapshot_retention *chosen = NULL, *named;
    uint32_t bits = 0;
    for (unsigned i = 0; i < x->candidate_count; i++)
        if (x->candidates[i].decision.permitted)
            bits |= x->candidates[i].decision.obligations.retain;
    for (unsigned bit = 0; bits != 0; bit++, bits >>= 1) {
        if (!(bits & 1))
            continue;
        named =
            snapshot_find_retention(x->snapshot, policy_set_retain(set, bit));
        if (named == NULL)
            return false;
        chosen = snapshot_longer_retention(chosen, named);
    }
    if (chosen == NULL)
        chosen = x->joined != NULL
                     ? snapshot_team_retention(
                           x->snapshot, x->joined->teams, x->joined->team_count)
                     : snapshot_team_retention(x->snapshot, x->caller->teams,
                           x->caller->team_count);
    *class = chosen != NULL ? chosen->name : STR("default");
    return true;
}

static enum stage_result not_kept(struct exchange *x, const char *why)
{
    quota_cancel(
        x->worker->shared->ledger, x->wall_us, x->claims, x->claim_count);
    x->reserved = false;
    exchange_deny(x, "keep", 503, "api_error", "governance_unavailable",
        "The rules demand that this request is kept, and it could not be, so "
        "nothing is served. Try again later. Ref %s.",
        x->id);
    x->verdict.retry_after_s = 5;
    log_warn("not_served", "request=%s reason=\"%s\"", x->id, why);
    return STAGE_DENY;
}

static struct exchange_content *new_content(struct exchange *x)
{
    struct exchange_content *c = ARENA_NEW(x->arena, struct exchange_content);
    if (c == NULL)
        return NULL;
    memset(c, 0, sizeof(*c));
    buf_init(&c->relayed, x->answer.max);
    c->exchange = x;
    c->class = STR("default");
    x->content = c;
    return c;
}

static void fill_job(struct exchange_content *c)
{
    struct exchange *x = c->exchange;
    const struct seal_key *key;
    c->job = (struct content_job){.inbox = &x->worker->kept,
        .which = BLOB_REQUEST,
        .key_only = !c->keeps,
        .id = str_make(x->id, ULID_LENGTH),
        .subject = str_from(x->caller->id),
        .class = c->class,
        .content = buf_str(&x->body),
        .time_us = x->wall_us};
    if (is_default(c->class)) {
        key = snapshot_caller_seal(x->caller, x->wall_us);
        if (key != NULL)
            c->job.key = *key;
        c->job.has_key = key != NULL;
    } else {
        c->job.has_key = content_find_key(x->worker->shared->content,
            c->job.subject, c->class, x->wall_us, &c->job.key);
    }
}

enum stage_result stage_keep(struct exchange *x)
{
    struct exchange_content *c = x->content;
    if (c != NULL) { /* back from the threads that keep */
        if (c->job.err != ERR_OK)
            return not_kept(x, c->job.why);
        c->has_key = true;
        c->has_request = c->keeps;
        c->request = c->job.commitment;
        return STAGE_PASS;
    }
    bool keeps = must_keep(x);
    struct str class;
    if (!choose_class(x, &class))
        return not_kept(x, "a rule names a retention class that is not there");
    if (!keeps && is_default(class))
        return STAGE_PASS;
    c = new_content(x);
    if (c == NULL)
        return not_kept(x, "out of memory");
    c->keeps = keeps;
    c->class = class;
    fill_job(c);
    if (!keeps && c->job.has_key) { /* known already */
        c->has_key = true;
        return STAGE_PASS;
    }
    if (!content_keep(x->worker->shared->content, &c->job))
        return not_kept(x, "too much content waits to be kept");
    x->phase = KEEPING;
    return STAGE_WAIT;
}

const struct seal_key *exchange_seal_key(const struct exchange *x)
{
    if (x->content != NULL && x->content->has_key)
        return &x->content->job.key;
    return snapshot_caller_seal(x->caller, x->wall_us);
}

/* --- The answer ------------------------------------------------------------
 */

bool exchange_content_relay(struct exchange *x, struct str bytes)
{
    struct exchange_content *c = x->content;
    if (!c->keeps)
        return true;
    if (c->relayed.len + bytes.len > c->relayed.max ||
        !worker_hold(x->worker, bytes.len))
        return false;
    x->held += bytes.len;
    buf_append_str(&c->relayed, bytes);
    return !c->relayed.failed;
}

/* Whole answers stand in x->answer once they were given. */
static struct str given(const struct exchange *x)
{
    if (x->relay == RELAY_WHOLE && x->bytes_out > 0)
        return buf_str(&x->answer);
    return buf_str(&x->content->relayed);
}

bool exchange_content_settle(struct exchange *x, const struct settlement *s)
{
    struct exchange_content *c = x->content;
    if (!c->keeps || given(x).len == 0)
        return false;
    c->settlement = *s;
    struct str reason = arena_copy(x->arena, str_from(s->reason));
    char *text = arena_alloc(x->arena, reason.len + 1);
    if (text != NULL && reason.ptr != NULL) {
        memcpy(text, reason.ptr, reason.len);
        text[reason.len] = '\0';
    }
    c->settlement.reason = text != NULL ? text : "out of memory";
    c->total_us = loop_now(x->worker->loop) - x->started_us;
    c->settles = true;
    return true;
}

bool exchange_content_ends(struct exchange *x)
{
    struct exchange_content *c = x->content;
    if (!c->settles || x->phase == KEEPING_ANSWER)
        return false;
    transfer_cancel(&x->transfer);
    x->phase = KEEPING_ANSWER;
    c->job.which = BLOB_ANSWER;
    c->job.content = given(x);
    c->job.has_key = true;
    /* Never refused: it was taken with its request. */
    MUST(content_keep(x->worker->shared->content, &c->job));
    return true;
}

static void answer_is_kept(struct exchange *x)
{
    struct exchange_content *c = x->content;
    c->has_answer = c->job.err == ERR_OK;
    if (!c->has_answer)
        c->lost = c->job.why[0] != '\0' ? c->job.why : "it could not be kept";
    exchange_settle_now(x, &c->settlement);
    exchange_end(x);
}

/* --- From the threads -------------------------------------------------------
 */

void exchange_content_done(struct worker *w)
{
    struct content_job *job = content_take_done(&w->kept), *next;
    for (; job != NULL; job = next) {
        next = job->next;
        struct exchange_content *c =
            (struct exchange_content *)((char *)job -
                                        offsetof(struct exchange_content, job));
        struct exchange *x = c->exchange;
        CHECK_MAGIC(x, EXCHANGE_MAGIC);
        if (x->phase == KEEPING_ANSWER) {
            answer_is_kept(x);
        } else {
            MUST(x->phase == KEEPING);
            x->phase = READING;
            exchange_go_on(x);
        }
    }
}

void exchange_content_free(struct exchange *x)
{
    if (x->content == NULL)
        return;
    if (x->content->has_request && !x->content->admitted)
        content_drop_request(x->worker->shared->content, x->content->job.id,
            str_from(x->content->job.key.id));
    crypto_wipe(&x->content->job.key, sizeof(x->content->job.key));
    buf_fini(&x->content->relayed);
    x->content = NULL;
}
