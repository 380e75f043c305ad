/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/policy_access.c - what callers may do under one set of rules and
 * not under another: each approved model, each action, each caller, asked as a
 * plain request at this moment. Callers of the same kind and teams whom no
 * rule names are asked once, so that a hundred thousand of them are a few
 * hundred questions. */
#include "proxy/admin/rules_priv.h"

#include <stdlib.h>

#define DECISIONS_MAX 6000000 /* some seconds */
#define SAMPLE_MAX 10

static const char *const actions[] = {"chat", "complete", "embed", "rerank",
    "transcribe", "translateAudio", "speak", "generateImage", "moderate",
    "countTokens", "listModels"};
#define ACTION_COUNT (sizeof actions / sizeof actions[0])
#define LIST_MODELS (ACTION_COUNT - 1)

/* Callers of one kind: who the rules cannot tell apart. */
struct alike {
    const struct snapshot_caller *caller; /* the first */
    size_t first, count;                  /* in order[] */
};

/* Per model: what changed for whom. */
struct tally {
    int64_t people;
    unsigned actions; /* bits */
    const struct snapshot_caller *sample[SAMPLE_MAX];
    size_t sample_count;
};

struct comparing {
    const struct snapshot *snapshot;
    const struct policy_set *sets[2];
    struct policy_workspace *workspace;
    const struct snapshot_caller **order;
    size_t caller_count; /* enabled ones */
    struct alike *alike;
    size_t alike_count;
    struct tally *gained, *lost; /* by model */
    unsigned *masks[2];          /* by model: what the present ones may do */
    struct str *named;           /* ids of callers that rules name, sorted */
    size_t named_count, named_room;
    bool no_memory, cut;
    int64_t decisions, now_us;
    struct str address;
};

/* --- Callers that are alike --------------------------------------------------
 */

static void note_literal(void *context, const struct policy_literal *literal)
{
    struct comparing *c = context;
    struct str *grown;

    if (!str_equal(literal->type, STR("Caller")))
        return;
    if (c->named_count == c->named_room) {
        c->named_room = c->named_room ? 2 * c->named_room : 64;
        grown = realloc(c->named, c->named_room * sizeof *grown);
        if (!grown) {
            c->no_memory = true;
            return;
        }
        c->named = grown;
    }
    c->named[c->named_count++] = literal->id;
}

static int compare_texts(const void *a, const void *b)
{
    const struct str *left = a, *right = b;

    return str_compare(*left, *right);
}

static bool is_named(const struct comparing *c, const char *id)
{
    struct str key = str_from(id);

    return c->named_count > 0 && bsearch(&key, c->named, c->named_count,
                                     sizeof *c->named, compare_texts);
}

static int compare_kinds(
    const struct snapshot_caller *a, const struct snapshot_caller *b)
{
    int order = strcmp(a->kind, b->kind);

    if (order == 0 && a->team_count != b->team_count)
        return a->team_count < b->team_count ? -1 : 1;
    for (size_t i = 0; order == 0 && i < a->team_count; i++)
        order = str_compare(a->teams[i], b->teams[i]);
    return order;
}

static int compare_callers(const void *left, const void *right)
{
    const struct snapshot_caller *const *a = left, *const *b = right;
    int order = compare_kinds(*a, *b);

    return order ? order : strcmp((*a)->id, (*b)->id);
}

static void group_callers(struct comparing *c)
{
    qsort(c->order, c->caller_count, sizeof *c->order, compare_callers);
    if (c->named_count > 0)
        qsort(c->named, c->named_count, sizeof *c->named, compare_texts);
    for (size_t i = 0; i < c->caller_count; i++) {
        struct alike *last =
            c->alike_count > 0 ? &c->alike[c->alike_count - 1] : NULL;
        bool alone = is_named(c, c->order[i]->id);
        if (last && !alone && !is_named(c, last->caller->id) &&
            compare_kinds(last->caller, c->order[i]) == 0)
            last->count++;
        else
            c->alike[c->alike_count++] = (struct alike){c->order[i], i, 1};
    }
}

/* --- Asking ------------------------------------------------------------------
 */

static bool permits(
    struct comparing *c, const struct snapshot_model *model, size_t action)
{
    struct policy_target target = {.model = str_from(model->name)};
    struct policy_decision decision;

    if (action == LIST_MODELS) {
        c->decisions++;
        policy_decide(c->workspace, &target, &decision);
        return decision.permitted;
    }
    for (size_t i = 0; i < model->candidate_count; i++) {
        target.engine = str_from(model->candidates[i].engine->name);
        target.upstream = str_from(model->candidates[i].upstream);
        c->decisions++;
        policy_decide(c->workspace, &target, &decision);
        if (decision.permitted)
            return true;
    }
    return false;
}

static enum err ask_action(
    struct comparing *c, const struct snapshot_caller *caller, size_t action)
{
    struct policy_question question = {
        .caller = str_from(caller->id),
        .action = str_from(actions[action]),
        .auth_method = STR("api_key"),
        .address = c->address,
        .route = STR("/v1/chat/completions"),
        .dialect = STR("openai"),
        .now_us = c->now_us,
        .zone = snapshot_zone(c->snapshot),
        .is_holiday = snapshot_is_holiday(c->snapshot, c->now_us),
        .messages = 1,
        .max_tokens = -1,
        .choices = 1,
    };
    enum err err = policy_decide_begin(
        c->workspace, NULL, snapshot_entities(c->snapshot), &question);

    for (int s = 0; !err && s < 2; s++) {
        if (!c->sets[s])
            continue;
        policy_decide_by(c->workspace, c->sets[s]);
        for (size_t m = 0; m < snapshot_model_count(c->snapshot); m++) {
            const struct snapshot_model *model = snapshot_model(c->snapshot, m);
            if (model->status == MODEL_APPROVED && permits(c, model, action))
                c->masks[s][m] |= 1u << action;
        }
    }
    return err;
}

static void note_change(struct comparing *c, struct tally *tally,
    const struct alike *alike, unsigned mask)
{
    tally->people += (int64_t)alike->count;
    tally->actions |= mask;
    for (size_t i = 0; i < alike->count && tally->sample_count < SAMPLE_MAX;
         i++)
        tally->sample[tally->sample_count++] = c->order[alike->first + i];
}

static enum err compare_one(struct comparing *c, const struct alike *alike)
{
    size_t models = snapshot_model_count(c->snapshot);
    enum err err = ERR_OK;

    memset(c->masks[0], 0, models * sizeof *c->masks[0]);
    memset(c->masks[1], 0, models * sizeof *c->masks[1]);
    for (size_t a = 0; !err && a < ACTION_COUNT; a++)
        err = ask_action(c, alike->caller, a);
    for (size_t m = 0; !err && m < models; m++) {
        unsigned gained = c->masks[1][m] & ~c->masks[0][m];
        unsigned lost = c->masks[0][m] & ~c->masks[1][m];
        if (gained)
            note_change(c, &c->gained[m], alike, gained);
        if (lost)
            note_change(c, &c->lost[m], alike, lost);
    }
    return err;
}

/* --- The answer --------------------------------------------------------------
 */

static json_t *tally_json(
    const struct snapshot_model *model, const struct tally *tally)
{
    json_t *one = json_object(), *names = json_array(), *who = json_array();

    for (size_t a = 0; a < ACTION_COUNT; a++)
        if (tally->actions & (1u << a))
            json_array_append_new(names, json_string(actions[a]));
    for (size_t i = 0; i < tally->sample_count; i++)
        json_array_append_new(who,
            admin_text(
                str_from(tally->sample[i]->handle[0] ? tally->sample[i]->handle
                                                     : tally->sample[i]->id)));
    admin_set_text(one, "model", str_from(model->name));
    admin_set_int(one, "people", tally->people);
    admin_set(one, "actions", names);
    admin_set(one, "callers", who);
    return one;
}

static json_t *tallies_json(
    const struct comparing *c, const struct tally *tallies)
{
    json_t *list = json_array();

    for (size_t m = 0; m < snapshot_model_count(c->snapshot); m++)
        if (tallies[m].people > 0)
            json_array_append_new(
                list, tally_json(snapshot_model(c->snapshot, m), &tallies[m]));
    return list;
}

static json_t *comparison_json(const struct comparing *c)
{
    json_t *out = json_object();
    int64_t models = 0;

    for (size_t m = 0; m < snapshot_model_count(c->snapshot); m++)
        models += snapshot_model(c->snapshot, m)->status == MODEL_APPROVED;
    admin_set_int(out, "callers", (int64_t)c->caller_count);
    admin_set_int(out, "models", models);
    admin_set_time(out, "asked", c->now_us);
    admin_set(out, "gained", tallies_json(c, c->gained));
    admin_set(out, "lost", tallies_json(c, c->lost));
    admin_set_bool(out, "cut", c->cut);
    return out;
}

static enum err prepare(struct comparing *c)
{
    size_t callers = snapshot_caller_count(c->snapshot);
    size_t models = snapshot_model_count(c->snapshot);

    c->workspace = policy_workspace_new();
    c->order = calloc(callers + 1, sizeof *c->order);
    c->alike = calloc(callers + 1, sizeof *c->alike);
    c->gained = calloc(models + 1, sizeof *c->gained);
    c->lost = calloc(models + 1, sizeof *c->lost);
    c->masks[0] = calloc(models + 1, sizeof *c->masks[0]);
    c->masks[1] = calloc(models + 1, sizeof *c->masks[1]);
    if (!c->workspace || !c->order || !c->alike || !c->gained || !c->lost ||
        !c->masks[0] || !c->masks[1])
        return ERR_NOMEM;
    for (size_t i = 0; i < callers; i++) {
        const struct snapshot_caller *caller = snapshot_caller(c->snapshot, i);
        if (!caller->disabled)
            c->order[c->caller_count++] = caller;
    }
    for (int s = 0; s < 2; s++)
        if (c->sets[s])
            policy_set_each_literal(c->sets[s], note_literal, c);
    return c->no_memory ? ERR_NOMEM : ERR_OK;
}

enum err rules_access_difference(struct admin_call *call,
    const struct snapshot *snapshot, const struct rules_comparison *comparison,
    json_t **out)
{
    struct comparing c = {.snapshot = snapshot,
        .sets = {comparison->before, comparison->after},
        .address = comparison->address,
        .now_us = comparison->at_us};
    enum err err = prepare(&c);

    if (!err) {
        group_callers(&c);
        for (size_t i = 0; !err && !c.cut && i < c.alike_count; i++) {
            err = compare_one(&c, &c.alike[i]);
            c.cut = c.decisions > DECISIONS_MAX && i + 1 < c.alike_count;
        }
    }
    if (!err)
        *out = comparison_json(&c);
    else
        err = FAIL(call, err, "out of memory");
    policy_workspace_free(&c.workspace);
    free(c.order);
    free(c.alike);
    free(c.gained);
    free(c.lost);
    free(c.masks[0]);
    free(c.masks[1]);
    free(c.named);
    return err;
}
