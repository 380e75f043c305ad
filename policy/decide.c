/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/decide.c - asks Cedar about one target and joins the answers.
 *
 * Verdicts start at deny. A set is asked part by part (see policy_priv.h): the
 * standing rules always, those that expire or advise only where there are any.
 * Stricter than Cedar: a forbid that cannot be evaluated denies; a permit that
 * cannot is skipped, as in Cedar, and listed. */
#include "policy/explain.h"
#include "policy/policy_priv.h"
#include "policy/vocabulary.h"

#include "lib/must.h"

#include <stdlib.h>

/* Steps that one rule may take: a few milliseconds at the very most. */
#define STEPS_MAX 100000

struct policy_workspace {
    struct cedar_scratch *scratch;
    struct policy_context *context;
    const struct policy_set *set;
    const struct policy_entities *entities;
    /* That of the entities, or a view of it in which the caller is in further
     * teams, which lives in `joined`. */
    const struct cedar_entities *store;
    struct arena *joined;
    struct cedar_uid caller;
    const struct cedar_uid *action; /* NULL: unknown */
    bool caller_is_known;
    bool could_stream, streams;
    int64_t now_us;
};

struct policy_workspace *policy_workspace_new(void)
{
    struct policy_workspace *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return NULL;
    w->context = policy_context_new();
    w->joined = arena_new(2048, (size_t)16 << 20);
    if (w->context == NULL || w->joined == NULL ||
        cedar_scratch_new(&w->scratch) != ERR_OK) {
        policy_workspace_free(&w);
        return NULL;
    }
    cedar_scratch_set_steps(w->scratch, STEPS_MAX);
    return w;
}

void policy_workspace_free(struct policy_workspace **workspace)
{
    if (*workspace == NULL)
        return;
    cedar_scratch_free(&(*workspace)->scratch);
    policy_context_free(&(*workspace)->context);
    arena_free(&(*workspace)->joined);
    free(*workspace);
    *workspace = NULL;
}

static enum err join_teams(
    struct policy_workspace *w, const struct str *teams, size_t count)
{
    arena_reset(w->joined);
    struct cedar_uid *parents = ARENA_ARRAY(w->joined, count, struct cedar_uid);
    if (parents == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        parents[i] = cedar_uid_make(STR("Team"), teams[i]);
    return cedar_entities_extend(
        w->entities->store, &w->caller, parents, count, w->joined, &w->store);
}

static enum err begin(struct policy_workspace *w,
    const struct policy_entities *entities, struct str caller,
    struct str action, const struct str *teams, size_t team_count)
{
    struct cedar_entity_view view;
    w->set = NULL; /* a failed begin decides nothing */
    w->entities = entities;
    w->store = entities->store;
    w->action = NULL;
    w->could_stream = false;
    for (size_t i = 0; i < POLICY_ACTION_COUNT; i++) {
        if (!str_equal(policy_actions[i].name, action) ||
            policy_actions[i].group.len == 0)
            continue;
        w->action = &entities->actions[i];
        w->could_stream = policy_actions[i].can_stream;
        break;
    }
    w->caller = cedar_uid_make(STR("Caller"), caller);
    w->caller_is_known =
        cedar_entities_find(entities->store, &w->caller, &view);
    return w->caller_is_known && team_count > 0
               ? join_teams(w, teams, team_count)
               : ERR_OK;
}

enum err policy_decide_begin(struct policy_workspace *w,
    const struct policy_set *set, const struct policy_entities *entities,
    const struct policy_question *question)
{
    enum err err = begin(w, entities, question->caller, question->action,
        question->teams, question->team_count);
    w->now_us = question->now_us;
    w->streams = question->stream;
    if (err == ERR_OK)
        err = policy_context_fill(w->context, question);
    if (err == ERR_OK)
        w->set = set;
    return err;
}

enum err policy_decide_recorded(struct policy_workspace *w,
    const struct policy_set *set, const struct policy_entities *entities,
    const struct policy_recorded *recorded, struct errinfo *info)
{
    enum err err = begin(w, entities, recorded->caller, recorded->action,
        recorded->teams, recorded->team_count);
    if (err != ERR_OK)
        return errinfo_set(info, err, "the caller's teams: out of memory");
    err = policy_context_read(w->context, recorded->context, recorded->address,
        &w->now_us, &w->streams, info);
    if (err == ERR_OK)
        w->set = set;
    return err;
}

void policy_decide_by(struct policy_workspace *w, const struct policy_set *set)
{
    w->set = set;
}

/* --- Joining the answers ------------------------------------------------- */

/* Rule indexes, ascending, the first ones kept. */
struct names {
    uint16_t at[POLICY_NAMES_MAX];
    unsigned count, more;
};

static void add_name(struct names *names, uint16_t rule)
{
    unsigned at = names->count;
    if (names->count == POLICY_NAMES_MAX) {
        names->more++;
        if (names->at[--at] < rule)
            return;
    } else {
        names->count++;
    }
    for (; at > 0 && names->at[at - 1] > rule; at--)
        names->at[at] = names->at[at - 1];
    names->at[at] = rule;
}

struct tally {
    struct names permits, forbids, errors, advice;
    bool forbid_failed, forbid_passed_limit, permit_passed_limit;
    bool wrong_engine, no_stream;
};

static void unite(struct policy_workspace *w,
    const struct policy_target *target, const struct policy_rule *rule,
    struct tally *tally, struct policy_obligations *out)
{
    if (rule->max_tokens >= 0 &&
        (out->max_tokens < 0 || rule->max_tokens < out->max_tokens))
        out->max_tokens = rule->max_tokens;
    if (rule->priority != POLICY_PRIORITY_NONE &&
        (out->priority == POLICY_PRIORITY_NONE ||
            rule->priority < out->priority))
        out->priority = rule->priority;
    out->record_full |= rule->record_full;
    out->retain |= rule->retain_mask;
    out->require_stream |= rule->require_stream;
    if (rule->require_stream && w->could_stream && !w->streams)
        tally->no_stream = true;
    if (rule->engine.len == 0)
        return;
    if (out->engine.len > 0 && !str_equal(out->engine, rule->engine))
        out->conflict = true;
    out->engine = rule->engine;
    if (target->engine.len > 0 && !str_equal(target->engine, rule->engine))
        tally->wrong_engine = true;
}

static void note_failure(const struct cedar_failure *failure, bool advises,
    uint16_t rule, struct tally *tally)
{
    add_name(&tally->errors, rule);
    if (advises)
        return;
    bool limit = failure->code == CEDAR_FAIL_STEPS ||
                 failure->code == CEDAR_FAIL_DEPTH ||
                 failure->code == CEDAR_FAIL_MEMORY;
    if (failure->effect == CEDAR_PERMIT)
        tally->permit_passed_limit |= limit;
    else if (limit)
        tally->forbid_passed_limit = true;
    else
        tally->forbid_failed = true;
}

static void ask_part(struct policy_workspace *w, enum policy_part_kind kind,
    const struct cedar_request *request, const struct policy_target *target,
    struct tally *tally, struct policy_obligations *obligations)
{
    const struct policy_part *part = &w->set->part[kind];
    bool advises =
        kind == PART_ADVISING_FORBIDS || kind == PART_ADVISING_PERMITS;
    struct cedar_answer answer;
    if (cedar_authorize(
            part->policies, w->store, request, w->scratch, &answer) != ERR_OK) {
        /* Nothing is known of any rule: as if a forbid had failed. */
        tally->forbid_passed_limit |= !advises;
        return;
    }
    for (size_t i = 0; i < answer.reason_count; i++) {
        uint32_t at = answer.reasons[i];
        uint16_t index = part->rule != NULL ? part->rule[at] : (uint16_t)at;
        const struct policy_rule *rule = &w->set->rules[index];
        if (w->now_us >= rule->expires_us)
            continue;
        if (advises) {
            add_name(&tally->advice, index);
        } else if (rule->permit) {
            add_name(&tally->permits, index);
            unite(w, target, rule, tally, obligations);
        } else {
            add_name(&tally->forbids, index);
        }
    }
    for (size_t i = 0; i < answer.failure_count; i++) {
        uint32_t at = answer.failures[i].policy;
        uint16_t index = part->rule != NULL ? part->rule[at] : (uint16_t)at;
        if (w->now_us < w->set->rules[index].expires_us)
            note_failure(&answer.failures[i], advises, index, tally);
    }
}

static void put_names(
    const struct names *names, uint16_t *out, unsigned *count, unsigned *more)
{
    memcpy(out, names->at, names->count * sizeof(out[0]));
    *count = names->count;
    *more = names->more;
}

static enum policy_reason judge(const struct tally *tally)
{
    if (tally->forbids.count > 0)
        return POLICY_FORBIDDEN;
    if (tally->forbid_passed_limit)
        return POLICY_LIMIT;
    if (tally->forbid_failed)
        return POLICY_ERROR;
    if (tally->permits.count == 0)
        return tally->permit_passed_limit ? POLICY_LIMIT : POLICY_NO_PERMIT;
    if (tally->wrong_engine || tally->no_stream)
        return POLICY_NO_PERMIT;
    return POLICY_PERMITTED;
}

static bool is_known(
    const struct policy_workspace *w, const struct cedar_uid *uid)
{
    struct cedar_entity_view view;
    return cedar_entities_find(w->store, uid, &view);
}

static void conclude(const struct policy_workspace *w,
    const struct tally *tally, struct policy_decision *out)
{
    out->reason = judge(tally);
    out->permitted = out->reason == POLICY_PERMITTED;
    bool forbidden = out->reason == POLICY_FORBIDDEN;
    bool permits_decided =
        out->reason == POLICY_PERMITTED || out->reason == POLICY_NO_PERMIT;
    if (forbidden || permits_decided)
        put_names(forbidden ? &tally->forbids : &tally->permits, out->policies,
            &out->policy_count, &out->policies_more);
    put_names(
        &tally->errors, out->errors, &out->error_count, &out->errors_more);
    put_names(
        &tally->advice, out->advice, &out->advice_count, &out->advice_more);
    for (unsigned i = 0; i < out->policy_count && out->message.len == 0; i++)
        out->message = w->set->rules[out->policies[i]].message;
    if (!permits_decided)
        out->obligations = (struct policy_obligations){.max_tokens = -1};
}

void policy_decide(struct policy_workspace *w,
    const struct policy_target *target, struct policy_decision *out)
{
    *out = (struct policy_decision){.obligations.max_tokens = -1};
    if (w->set == NULL) {
        out->reason = POLICY_LIMIT;
        return;
    }
    struct cedar_uid model = cedar_uid_make(STR("Model"), target->model);
    if (!w->caller_is_known || w->action == NULL || !is_known(w, &model))
        return;
    const struct cedar_record *context = policy_context_aim(w->context, target);
    if (target->engine.len > 0) {
        struct cedar_uid engine = cedar_uid_make(STR("Engine"), target->engine);
        if (!is_known(w, &engine))
            return;
    }
    struct cedar_request request = {.principal = &w->caller,
        .action = w->action,
        .resource = &model,
        .context = context};
    struct tally tally;
    tally.permits.count = tally.permits.more = 0;
    tally.forbids.count = tally.forbids.more = 0;
    tally.errors.count = tally.errors.more = 0;
    tally.advice.count = tally.advice.more = 0;
    tally.forbid_failed = tally.forbid_passed_limit = false;
    tally.permit_passed_limit = false;
    tally.wrong_engine = tally.no_stream = false;
    for (int kind = 0; kind < PART_COUNT; kind++)
        if (w->set->part[kind].policies != NULL)
            ask_part(w, (enum policy_part_kind)kind, &request, target, &tally,
                &out->obligations);
    conclude(w, &tally, out);
}

void policy_decide_context(struct policy_workspace *w, struct buf *out)
{
    policy_context_write(w->context, out);
}

/* --- In words --------------------------------------------------------------
 */

enum err policy_explain(struct policy_workspace *w,
    const struct policy_set *set, size_t at, const struct policy_target *target,
    enum cedar_language language, enum cedar_outcome *outcome, struct buf *out)
{
    struct cedar_uid model = cedar_uid_make(STR("Model"), target->model);
    struct cedar_request request = {.principal = &w->caller,
        .action = w->action,
        .resource = &model,
        .context = policy_context_aim(w->context, target)};
    struct cedar_explanation explanation;
    enum err err;
    if (w->action == NULL) {
        *outcome = CEDAR_NOT_ACTION;
        return ERR_OK;
    }
    struct arena *arena = arena_new(4096, (size_t)64 << 20);
    if (arena == NULL)
        return ERR_NOMEM;
    err = cedar_explain(set->all, at, w->store, &request, arena, &explanation);
    if (err == ERR_OK) {
        *outcome = explanation.outcome;
        cedar_describe_explanation(
            out, &explanation, &request, language, &policy_vocabulary);
    }
    arena_free(&arena);
    return err;
}
