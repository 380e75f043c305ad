/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/policy_explain.c - why a request was decided as it was: each
 * rule's answer, the condition that failed of those that nearly applied, and
 * where each obligation comes from. Of a request on record, by the rules of
 * its time. */
#include "proxy/admin/replay_priv.h"

#include "lib/crypto.h"
#include "proxy/replayed_question.h"

#define LINE_MAX (1u << 16)
#define PLACES_MAX 16

/* --- Rules -----------------------------------------------------------------
 */

static const char *outcome_word(enum cedar_outcome outcome)
{
    switch (outcome) {
    case CEDAR_SATISFIED:
        return "applies";
    case CEDAR_NOT_PRINCIPAL:
        return "principal";
    case CEDAR_NOT_ACTION:
        return "action";
    case CEDAR_NOT_RESOURCE:
        return "resource";
    case CEDAR_NOT_CONDITION:
        return "condition";
    case CEDAR_FAILED:
        return "failed";
    }
    return "";
}

/* takes value */
static void add_obligation(json_t *list, const struct policy_set *set,
    size_t at, const char *name, json_t *value, bool binds)
{
    json_t *one = json_object();

    admin_set_text(one, "obligation", str_from(name));
    admin_set(one, "value", value);
    admin_set_text(one, "rule", policy_set_id(set, at));
    admin_set_bool(one, "binds", binds);
    json_array_append_new(list, one);
}

/* What the rule binds, and whether the strictest of all is its own. */
static void add_obligations(json_t *list, const struct policy_set *set,
    size_t at, const struct policy_obligations *united)
{
    static const char *const words[] = {"priority", "retain", "redact"};
    struct policy_obligations own;
    struct str value;

    policy_set_obligations(set, at, &own);
    if (own.max_tokens >= 0)
        add_obligation(list, set, at, "maxTokens", json_integer(own.max_tokens),
            own.max_tokens == united->max_tokens);
    if (own.engine.len > 0)
        add_obligation(
            list, set, at, "engine", admin_text(own.engine), !united->conflict);
    if (own.record_full)
        add_obligation(list, set, at, "recordFull", json_true(), true);
    if (own.require_stream)
        add_obligation(list, set, at, "requireStream", json_true(), true);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (policy_set_annotation(set, at, str_from(words[i]), &value))
            add_obligation(list, set, at, words[i], admin_text(value),
                i > 0 || own.priority == united->priority);
}

enum err rules_explain(struct admin_call *call,
    struct policy_workspace *workspace, const struct policy_set *set,
    const struct policy_target *target, int64_t now_us,
    enum cedar_language language, json_t **out)
{
    json_t *answer = json_object(), *rules = json_array(),
           *obligations = json_array();
    struct policy_decision decision;
    struct buf why;
    enum err err = ERR_OK;

    policy_decide_by(workspace, set);
    policy_decide(workspace, target, &decision);
    buf_init(&why, LINE_MAX);
    for (size_t i = 0; !err && i < policy_set_count(set); i++) {
        enum cedar_outcome outcome = CEDAR_NOT_PRINCIPAL;
        json_t *rule = json_object();
        bool expired = now_us >= policy_set_expires_us(set, i);
        buf_clear(&why);
        err =
            policy_explain(workspace, set, i, target, language, &outcome, &why);
        admin_set_text(rule, "id", policy_set_id(set, i));
        admin_set_text(rule, "title", policy_set_title(set, i));
        admin_set_text(rule, "effect",
            policy_set_is_permit(set, i) ? STR("permit") : STR("forbid"));
        admin_set_bool(rule, "advice", policy_set_is_advice(set, i));
        admin_set_bool(rule, "expired", expired);
        admin_set_text(rule, "outcome", str_from(outcome_word(outcome)));
        admin_set_text(rule, "why", buf_str(&why));
        json_array_append_new(rules, rule);
        if (outcome == CEDAR_SATISFIED && !expired &&
            policy_set_is_permit(set, i) && !policy_set_is_advice(set, i))
            add_obligations(obligations, set, i, &decision.obligations);
    }
    buf_fini(&why);
    admin_set_text(answer, "model", target->model);
    admin_set_text(answer, "engine", target->engine);
    admin_set_bool(answer, "permitted", decision.permitted);
    admin_set(answer, "rules", rules);
    admin_set(answer, "obligations", obligations);
    if (err) {
        json_decref(answer);
        return FAIL(call, err, "out of memory");
    }
    *out = answer;
    return ERR_OK;
}

/* --- A request on record
 * ------------------------------------------------------ */

struct explaining {
    struct admin_call *call;
    struct arena *arena;
    struct buf entry;
    struct replayed_question question;
    struct snapshot *snapshot;
    struct rules rules;
    struct policy_workspace *workspace;
    char address[REPLAYED_ADDRESS_MAX];
};

/* The entry that says what was decided; a request has others, too. */
static enum err find_entry(struct explaining *x, struct str id)
{
    struct admin_call *call = x->call;
    struct audit_index *index = NULL;
    struct audit_reader *reader = NULL;
    uint64_t size = 0, damaged = 0, places[PLACES_MAX];
    size_t count = 0;
    bool behind, found = false;
    enum err err = audit_await_index(call, &size, &behind);

    if (!err)
        err = audit_index_open(control_dir(call->control), &index, &call->info);
    if (!err)
        err =
            audit_reader_open(control_dir(call->control), &reader, &call->info);
    if (!err)
        err = audit_places(reader, index, size, id, places, PLACES_MAX, &count,
            &damaged, &call->info);
    for (size_t i = 0; !err && !found && i < count && i < PLACES_MAX; i++) {
        buf_clear(&x->entry);
        err = audit_read_entry(reader, size, places[i], &x->entry, &call->info);
        if (!err)
            err = replayed_question_read(
                x->arena, buf_str(&x->entry), &x->question, &call->info);
        found = !err;
        if (err == ERR_NOTFOUND)
            err = ERR_OK;
    }
    audit_reader_close(&reader);
    audit_index_close(&index);
    if (err)
        return audit_index_failed(call, err, damaged);
    if (!found)
        return FAIL(call, ERR_NOTFOUND,
            "\"%.*s\" is on record, but is no request to which rules apply",
            STR_ARG(id));
    return ERR_OK;
}

static void open_address(struct explaining *x)
{
    struct admin_call *call = x->call;
    struct crypto_aead *aead = crypto_aead_new();
    struct seal_key key;
    bool known;

    control_lock(call->control);
    known = keyring_find(control_keyring(call->control), x->question.sealed_key,
                &key, NULL) == ERR_OK;
    control_unlock(call->control);
    if (aead && known &&
        !replayed_question_address(&x->question, aead, &key, x->address))
        x->address[0] = '\0';
    crypto_wipe(&key, sizeof key);
    crypto_aead_free(&aead);
}

static enum err take_rules(struct explaining *x)
{
    struct admin_call *call = x->call;
    enum err err;

    control_lock(call->control);
    err = rules_of_version(call, x->question.policy_version, &x->rules);
    if (!err)
        err = admin_take_snapshot(call, &x->snapshot);
    control_unlock(call->control);
    return err;
}

/* The target that speaks for the request: the first that was permitted. */
static const struct policy_target *target_of(const struct replayed_question *q)
{
    for (size_t i = 0; i < q->target_count; i++)
        if (q->targets[i].permitted)
            return &q->targets[i].target;
    return &q->targets[0].target;
}

static enum err explain_record(
    struct explaining *x, enum cedar_language language, json_t **out)
{
    const struct replayed_question *q = &x->question;
    struct policy_recorded recorded = {.caller = q->caller,
        .action = q->action,
        .context = q->context,
        .address = str_from(x->address),
        .teams = q->group_teams,
        .team_count = q->group_team_count};
    enum err err;

    x->workspace = policy_workspace_new();
    if (!x->workspace)
        return FAIL(x->call, ERR_NOMEM, "out of memory");
    err = policy_decide_recorded(x->workspace, x->rules.set,
        snapshot_entities(x->snapshot), &recorded, &x->call->info);
    return err ? err
               : rules_explain(x->call, x->workspace, x->rules.set,
                     target_of(q), q->time_us, language, out);
}

static void add_record(struct explaining *x, json_t *answer)
{
    const struct replayed_question *q = &x->question;
    struct str handle;

    control_lock(x->call->control);
    handle = admin_handle_of(x->call, q->caller);
    control_unlock(x->call->control);
    admin_set_text(answer, "id", q->id);
    admin_set_time(answer, "time", q->time_us);
    admin_set_text(answer, "caller", q->caller);
    admin_set_text(answer, "handle", handle);
    admin_set_text(answer, "action", q->action);
    admin_set_int(answer, "policyVersion", q->policy_version);
    admin_set_bool(answer, "recorded", q->permitted);
    if (q->denied) {
        admin_set_text(answer, "stage", q->stage);
        admin_set_text(answer, "code", q->code);
    }
    admin_set_bool(answer, "address", x->address[0] != '\0');
}

struct explain_body {
    struct str record, language;
};
#define AT(member) offsetof(struct explain_body, member)

static enum err explain(struct explaining *x, const struct explain_body *body,
    enum cedar_language language)
{
    struct admin_call *call = x->call;
    json_t *answer = NULL;
    enum err err = find_entry(x, body->record);

    if (err || call->answered)
        return err;
    if (!replayed_question_is_whole(&x->question))
        return FAIL(call, ERR_WRONG_STATE,
            "the rules were not asked about this request: %s%.*s (%.*s)",
            x->question.denied ? "it was refused at the stage "
                               : "it has no target",
            STR_ARG(x->question.stage), STR_ARG(x->question.code));
    open_address(x);
    err = take_rules(x);
    if (!err)
        err = explain_record(x, language, &answer);
    if (!err)
        err = admin_event(
            call, "policy.explained", "record", x->question.id, NULL, STR(""));
    if (!err) {
        add_record(x, answer);
        err = admin_answer(call, 200, json_incref(answer));
    }
    json_decref(answer);
    return err;
}

enum err handle_policy_explain(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"record", FIELD_TEXT, true, AT(record), 1, 64, NULL},
        {"language", FIELD_TEXT, false, AT(language), 0, 16, NULL},
    };
    struct explain_body body = {.language = STR("")};
    struct explaining x = {.call = call};
    enum cedar_language language;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = rules_language(call, body.language, &language);
    if (err)
        return err;
    x.arena = arena_new(262144, 0);
    buf_init(&x.entry, 1 << 17);
    err = x.arena ? explain(&x, &body, language)
                  : FAIL(call, ERR_NOMEM, "out of memory");
    crypto_wipe(x.address, sizeof x.address);
    policy_workspace_free(&x.workspace);
    rules_fini(&x.rules);
    snapshot_unref(&x.snapshot);
    buf_fini(&x.entry);
    arena_free(&x.arena);
    return err;
}
