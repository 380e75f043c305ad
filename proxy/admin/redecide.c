/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/redecide.c - repeats a decision out of the log: the rules by
 * their hash, callers, teams, models and engines as the events before it say
 * that they were, the Cedar context of its entry. Nothing that is only true
 * today is used, but the texts of old policy versions and, on demand, the
 * sealed address.
 *
 * What comes out is laid beside what is on record, candidate by candidate. What
 * the log does not hold is named, and never taken for agreement. */
#include "proxy/admin/redecide_priv.h"

#include "lib/clock.h"

#include <stdarg.h>
#include <stdio.h>

#define PLACES_MAX 64
/* So long after a change a request may still have been decided before it. */
#define TAKEN_OVER_US (10 * SECOND_US)

void redecide_cannot(struct redecision *r, const char *format, ...)
{
    char text[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    json_array_append_new(r->cannot, json_string(text));
}

/* takes both. */
static bool check(
    struct redecision *r, const char *what, json_t *recorded, json_t *repeated)
{
    bool same = json_equal(recorded, repeated);

    r->different |= !same;
    json_array_append_new(
        r->checks, json_pack("{s:s, s:o, s:o, s:b}", "what", what, "recorded",
                       recorded ? recorded : json_null(), "repeated",
                       repeated ? repeated : json_null(), "same", same));
    return same;
}

/* --- Rules ----------------------------------------------------------- */

static json_t *rule_ids(
    const struct policy_set *set, const uint16_t *at, unsigned count)
{
    json_t *ids = json_array();

    for (unsigned i = 0; i < count; i++)
        json_array_append_new(ids, admin_text(policy_set_id(set, at[i])));
    return ids;
}

static const char *reason_of(enum policy_reason reason)
{
    switch (reason) {
    case POLICY_NO_PERMIT:
        return "no_permit";
    case POLICY_FORBIDDEN:
        return "forbidden";
    case POLICY_ERROR:
        return "policy_error";
    case POLICY_LIMIT:
        return "limit";
    case POLICY_PERMITTED:
        break;
    }
    return "";
}

/* In the words of an entry's candidate. */
static json_t *candidate_json(const struct redecision *r,
    const struct policy_target *target, const struct policy_decision *d)
{
    json_t *one = json_object();

    admin_set_text(one, "engine", target->engine);
    admin_set_text(one, "model", target->model);
    admin_set_text(one, "upstream", target->upstream);
    admin_set_bool(one, "permitted", d->permitted);
    admin_set(one, "policies", rule_ids(r->set, d->policies, d->policy_count));
    if (d->error_count > 0)
        admin_set(one, "errors", rule_ids(r->set, d->errors, d->error_count));
    if (d->advice_count > 0)
        admin_set(one, "advice", rule_ids(r->set, d->advice, d->advice_count));
    if (!d->permitted)
        admin_set_text(one, "reason", str_from(reason_of(d->reason)));
    if (d->permitted && d->obligations.max_tokens >= 0)
        admin_set_int(one, "maxTokens", d->obligations.max_tokens);
    if (d->permitted && d->obligations.record_full)
        admin_set_bool(one, "recordFull", true);
    return one;
}

static json_t *repeat_candidate(struct redecision *r, const json_t *recorded)
{
    const struct policy_target target = {
        .model = redecide_text(recorded, "model"),
        .engine = redecide_text(recorded, "engine"),
        .upstream = redecide_text(recorded, "upstream")};
    struct policy_decision decision;

    policy_decide(r->workspace, &target, &decision);
    return candidate_json(r, &target, &decision);
}

/* Do all candidates come out as they are on record? */
static bool candidates_agree(struct redecision *r)
{
    json_t *list = json_object_get(r->entry, "candidates");

    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *repeated = repeat_candidate(r, json_array_get(list, i));
        bool same = json_equal(json_array_get(list, i), repeated);
        json_decref(repeated);
        if (!same)
            return false;
    }
    return true;
}

static void check_context(struct redecision *r)
{
    struct buf rebuilt;
    json_t *context = json_object_get(r->entry, "context");

    buf_init(&rebuilt, POLICY_CONTEXT_JSON_MAX);
    policy_decide_context(r->workspace, &rebuilt);
    check(r, "context", json_incref(context),
        json_loadb(buf_str(&rebuilt).ptr, rebuilt.len, 0, NULL));
    buf_fini(&rebuilt);
}

static void check_candidates(struct redecision *r)
{
    json_t *list = json_object_get(r->entry, "candidates");

    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *one = json_array_get(list, i);
        const char *what = arena_printf(r->call->arena, "engine %.*s",
            STR_ARG(redecide_text(one, "engine")));
        check(r, what ? what : "engine", json_incref(one),
            repeat_candidate(r, one));
    }
    if (json_object_get(r->entry, "candidatesMore"))
        redecide_cannot(r, "candidates that found no room in the entry");
    if (json_array_size(list) == 0)
        redecide_cannot(
            r, "which models were listed is not on record, only who asked");
    if (r->names_address && !r->address && !r->open_sealed)
        redecide_cannot(r,
            "a rule asks for the caller's address, which is sealed: ask again "
            "with sealed=open (--open-sealed)");
}

/* --- Around the rules ------------------------------------------------ */

static void check_policy(struct redecision *r)
{
    const json_t *policy = json_object_get(r->entry, "policy");
    json_t *then = past_policy(&r->past);

    check(r, "policy version in force",
        json_incref(json_object_get(policy, "version")),
        then ? json_incref(json_object_get(then, "version")) : json_integer(0));
}

/* The teams of the list and all above them. */
static void climb(struct redecision *r, const json_t *list, json_t *seen)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        while (name && name[0] && !json_object_get(seen, name)) {
            json_object_set_new(seen, name, json_true());
            name = json_string_value(
                json_object_get(past_find(&r->past, "team", name), "parent"));
        }
    }
}

static json_t *as_set(const json_t *list)
{
    json_t *set = json_object();

    for (size_t i = 0; i < json_array_size(list); i++)
        json_object_set_new(
            set, json_string_value(json_array_get(list, i)), json_true());
    return set;
}

/* What the groups of the token stood for, by the issuer as it was. */
static void check_group_teams(struct redecision *r)
{
    const json_t *recorded = json_object_get(r->entry, "groupTeams"),
                 *auth = json_object_get(
                     json_object_get(r->entry, "context"), "auth"),
                 *groups = json_object_get(auth, "groups"),
                 *issuer = past_find(&r->past, "issuer",
                     json_string_value(json_object_get(auth, "issuer"))),
                 *mapped = json_object_get(issuer, "groups");
    json_t *named = as_set(groups), *stood_for = json_object();

    for (size_t i = 0; i < json_array_size(mapped); i++) {
        const json_t *one = json_array_get(mapped, i);
        const char *group = json_string_value(json_object_get(one, "group")),
                   *team = json_string_value(json_object_get(one, "team"));
        if (group && team && json_object_get(named, group))
            json_object_set_new(stood_for, team, json_true());
    }
    json_decref(named);
    if (recorded || json_object_size(stood_for) > 0)
        check(r, "teams by groups", as_set(recorded), stood_for);
    else
        json_decref(stood_for);
}

/* The caller's teams, those above included, sorted as the entry has them. */
static void check_teams(struct redecision *r)
{
    const json_t *caller = past_find(&r->past, "caller",
        json_string_value(json_object_get(r->entry, "caller")));
    json_t *seen = json_object();

    climb(r, json_object_get(caller, "teams"), seen);
    climb(r, json_object_get(r->entry, "groupTeams"), seen);
    check(r, "teams", as_set(json_object_get(r->entry, "teams")), seen);
    check_group_teams(r);
}

/* Each figure that decided: the limit that was set, and what follows. */
static void check_quotas(struct redecision *r, const char *refused)
{
    const json_t *list = json_object_get(r->entry, "quotas");
    bool fits = true,
         unpriced = str_equal(
             redecide_text(json_object_get(r->entry, "denied"), "code"),
             STR("model_not_priced"));

    if (unpriced)
        redecide_cannot(r, "refused because the model had no price then");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *figure = json_array_get(list, i);
        const char *id = json_string_value(json_object_get(figure, "bucket"));
        const json_t *asked = json_object_get(figure, "asked");
        int64_t limit = json_integer_value(json_object_get(figure, "limit"));
        int64_t used = json_integer_value(json_object_get(figure, "used"));
        int64_t more = json_integer_value(
            asked ? asked : json_object_get(figure, "reserved"));
        const char *what =
            arena_printf(r->call->arena, "quota %s: limit", id ? id : "?");
        const json_t *quota = id ? past_find(&r->past, "quota", id) : NULL;

        check(r, what ? what : "quota",
            json_incref(json_object_get(figure, "limit")),
            quota ? json_incref(json_object_get(quota, "amount")) : NULL);
        if (refused && !unpriced && id && strcmp(refused, id) == 0)
            check(r, "quota that refused: is it passed?", json_true(),
                json_boolean(used + more > limit));
        else if (!refused && used + more > limit)
            fits = false;
    }
    if (!refused && json_array_size(list) > 0)
        check(r, "every quota has room", json_true(), json_boolean(fits));
}

static void check_decision(struct redecision *r)
{
    const json_t *denied = json_object_get(r->entry, "denied");
    const json_t *list = json_object_get(r->entry, "candidates");
    struct str stage = redecide_text(denied, "stage");
    /* What an emergency let through, the rules had denied. */
    bool past = json_object_get(r->entry, "emergency") != NULL;
    bool any = false,
         recorded = !past && (!denied || str_equal(stage, STR("reserve")));

    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *one = repeat_candidate(r, json_array_get(list, i));
        any |= json_is_true(json_object_get(one, "permitted"));
        json_decref(one);
    }
    if (json_array_size(list) > 0)
        check(r, "do the rules permit it?", json_boolean(recorded),
            json_boolean(any));
}

/* --- Denials before the rules ---------------------------------------- */

static bool has_name(const json_t *list, struct str name)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (str_equal(
                str_from(json_string_value(json_array_get(list, i))), name))
            return true;
    return false;
}

static bool model_existed(const struct redecision *r, struct str asked)
{
    json_t *models = past_kind(&r->past, "model"), *one;
    const char *name;

    json_object_foreach(models, name, one)
    {
        if (str_equal(str_from(name), asked) ||
            has_name(json_object_get(json_object_get(one, "state"), "aliases"),
                asked))
            return true;
    }
    return false;
}

static bool key_refuses(const struct redecision *r)
{
    const json_t *auth = json_object_get(r->entry, "auth");
    const json_t *key = past_find(
        &r->past, "key", json_string_value(json_object_get(auth, "key")));
    const json_t *models = json_object_get(key, "models"),
                 *routes = json_object_get(key, "routes");
    const json_t *model = json_object_get(r->entry, "model");

    return (json_array_size(routes) > 0 &&
               !has_name(routes, redecide_text(r->entry, "route"))) ||
           (json_array_size(models) > 0 &&
               !has_name(models, redecide_text(model, "name")));
}

/* Refused by the registers, not by a rule. */
static void repeat_plan(struct redecision *r, struct str code)
{
    const json_t *model = json_object_get(r->entry, "model");

    if (str_equal(code, STR("model_not_found"))) {
        check(r, "does the model exist?", json_false(),
            json_boolean(model_existed(r, redecide_text(model, "asked"))));
    } else if (str_equal(code, STR("policy_denied"))) {
        const json_t *state = past_find(&r->past, "model",
            json_string_value(json_object_get(model, "name")));
        check(r, "is the model approved?", json_false(),
            json_boolean(
                str_equal(redecide_text(state, "status"), STR("approved"))));
    } else if (str_equal(code, STR("key_limit"))) {
        check(r, "is the key limited to other models or routes?", json_true(),
            json_boolean(key_refuses(r)));
    } else if (str_equal(code, STR("governance_unavailable"))) {
        check(r, "was a policy version in force?", json_false(),
            json_boolean(past_policy(&r->past) != NULL));
    } else {
        redecide_cannot(r,
            "refused with %.*s: what engines answered then is not in the entry",
            STR_ARG(code));
    }
}

/* --- All of it ------------------------------------------------------- */

/* A snapshot is swapped a moment after its change is on record: a request that
 * comes out otherwise may have been decided on the state before. */
static enum err try_earlier(struct redecision *r, struct audit_index *index,
    struct audit_reader *reader, uint64_t size, uint64_t *damaged)
{
    struct past now = r->past;
    int64_t when = r->question.now_us;
    enum err err = ERR_OK;

    for (size_t i = 0; !err && i <= now.earlier_count; i++) {
        const struct past_change *change =
            i == 0 ? &now.last : &now.earlier[i - 1];
        struct past then;
        if (now.changes == 0 || change->time_us < when - TAKEN_OVER_US)
            break;
        err = past_build(
            r->call, index, reader, size, change->seq, 0, &then, damaged);
        if (err)
            break;
        r->past = then;
        err = redecide_load_entities(r);
        if (!err)
            err = redecide_load_question(r);
        if (!err && candidates_agree(r)) {
            json_array_append_new(
                r->checks, json_pack("{s:s, s:I, s:I, s:b}", "what",
                               "decided before this change was taken over",
                               "recorded", (json_int_t)change->seq, "repeated",
                               (json_int_t)change->seq, "same", 1));
            past_fini(&now);
            return ERR_OK;
        }
        past_fini(&then);
    }
    r->past = now;
    if (!err)
        err = redecide_load_entities(r);
    return err ? err : redecide_load_question(r);
}

static enum err repeat_rules(struct redecision *r, struct audit_index *index,
    struct audit_reader *reader, uint64_t size, uint64_t *damaged)
{
    enum err err = redecide_load_rules(r);

    if (!err)
        err = redecide_load_entities(r);
    if (!err)
        err = redecide_load_question(r);
    if (!err && !candidates_agree(r) && !(r->names_address && !r->address))
        err = try_earlier(r, index, reader, size, damaged);
    if (err == ERR_NOTFOUND)
        return ERR_OK; /* said */
    if (err)
        return err;
    if (r->names_address && !r->address && !candidates_agree(r)) {
        /* No difference is claimed on an input that is not there. */
        check_context(r);
        check_candidates(r);
        r->different = false;
        return ERR_OK;
    }
    check_context(r);
    check_candidates(r);
    check_decision(r);
    return ERR_OK;
}

static enum err repeat(struct redecision *r, struct audit_index *index,
    struct audit_reader *reader, uint64_t size, uint64_t *damaged)
{
    const json_t *denied = json_object_get(r->entry, "denied");
    struct str stage = redecide_text(denied, "stage");
    enum err err =
        past_build(r->call, index, reader, size, r->seq, 0, &r->past, damaged);

    if (err)
        return err;
    if (r->past.has_adopted)
        redecide_cannot(r,
            "what came with the control state that was adopted at entry %llu "
            "is not on record",
            (unsigned long long)r->past.adopted);
    if (denied && str_equal(stage, STR("plan"))) {
        repeat_plan(r, redecide_text(denied, "code"));
        return ERR_OK;
    }
    if (denied && !str_equal(stage, STR("decide")) &&
        !str_equal(stage, STR("reserve"))) {
        redecide_cannot(r,
            "refused in the stage %.*s for what stood in the request, whose "
            "text is not kept",
            STR_ARG(stage));
        return ERR_OK;
    }
    err = repeat_rules(r, index, reader, size, damaged);
    if (err)
        return err;
    check_policy(r);
    check_teams(r);
    if (!denied || str_equal(stage, STR("reserve")))
        check_quotas(
            r, denied ? json_string_value(json_object_get(denied, "quota"))
                      : NULL);
    return ERR_OK;
}

/* The entry that decided: the newest of admitted and denied. */
static enum err find_entry(struct redecision *r, struct audit_index *index,
    struct audit_reader *reader, uint64_t size, uint64_t *damaged)
{
    struct admin_call *call = r->call;
    uint64_t places[PLACES_MAX];
    size_t count = 0;
    struct buf text;
    enum err err = audit_places(reader, index, size, call->params[0], places,
        PLACES_MAX, &count, damaged, &call->info);

    buf_init(&text, 1 << 17);
    for (size_t i = 0; !err && !r->entry && i < count && i < PLACES_MAX; i++) {
        struct str type;
        buf_clear(&text);
        err = audit_read_entry(reader, size, places[i], &text, &call->info);
        if (err)
            break;
        r->entry = json_loadb(buf_str(&text).ptr, text.len, 0, NULL);
        type = redecide_text(r->entry, "type");
        r->seq = places[i];
        if (!str_equal(type, STR("request.admitted")) &&
            !str_equal(type, STR("request.denied"))) {
            json_decref(r->entry);
            r->entry = NULL;
        }
    }
    buf_fini(&text);
    if (!err && !r->entry)
        err =
            FAIL(call, ERR_NOTFOUND, "\"%.*s\" is no request that was decided",
                STR_ARG(call->params[0]));
    return err;
}

static enum err answer(struct redecision *r)
{
    bool some = json_array_size(r->checks) > 0;
    const char *result = r->different                              ? "different"
                         : !some || json_array_size(r->cannot) > 0 ? "partly"
                                                                   : "same";
    json_t *detail =
        json_pack("{s:s, s:b}", "result", result, "opened", r->address != NULL);
    json_t *out;
    enum err err = admin_event(r->call, "audit.redecided", "record",
        r->call->params[0], detail, STR(""));

    if (err)
        return err;
    out = json_pack("{s:s, s:I, s:O, s:O, s:O}", "result", result, "entry",
        (json_int_t)r->seq, "type", json_object_get(r->entry, "type"), "checks",
        r->checks, "cannot", r->cannot);
    admin_set_text(out, "id", redecide_text(r->entry, "id"));
    return admin_answer(r->call, 200, out);
}

enum err handle_audit_redecide(struct admin_call *call)
{
    struct sealed_query {
        struct str sealed;
    } query = {.sealed = STR("closed")};
    static const struct admin_field fields[] = {
        {"sealed", FIELD_WORD, false, 0, 0, 0, "open closed"},
    };
    struct redecision r = {
        .call = call, .checks = json_array(), .cannot = json_array()};
    struct audit_index *index = NULL;
    struct audit_reader *reader = NULL;
    uint64_t size = 0, damaged = 0;
    bool behind;
    enum err err = admin_read_query(call, fields, FIELD_COUNT(fields), &query);

    r.open_sealed = str_equal(query.sealed, STR("open"));
    if (!err)
        err = audit_await_index(call, &size, &behind);
    if (!err)
        err = audit_index_open(control_dir(call->control), &index, &call->info);
    if (!err)
        err =
            audit_reader_open(control_dir(call->control), &reader, &call->info);
    if (!err)
        err = find_entry(&r, index, reader, size, &damaged);
    if (!err)
        err = repeat(&r, index, reader, size, &damaged);
    err = err ? audit_index_failed(call, err, damaged) : answer(&r);
    redecide_inputs_fini(&r);
    past_fini(&r.past);
    json_decref(r.entry);
    json_decref(r.checks);
    json_decref(r.cannot);
    audit_reader_close(&reader);
    audit_index_close(&index);
    return err;
}
