/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/policy_stats.c - what the active rules did: how often each
 * decided, whom it touched, at what cost; which never did; and how the whole
 * traffic was before one came into force, and after. From the index. Runs
 * without the control's lock but to read the versions. */
#include "proxy/admin/replay_priv.h"

#include "lib/clock.h"

#include <stdlib.h>

#define PAGE_ROWS 10000
#define ROWS_MAX 2000000
#define VERSIONS_MAX 50 /* activations that are looked at */
#define DECIDES                                                                \
    (POLICY_DIFFERS_EFFECT | POLICY_DIFFERS_SCOPE | POLICY_DIFFERS_CONDITION | \
        POLICY_DIFFERS_ANNOTATION)

struct tally {
    int64_t requests, permitted, denied, tokens;
    int64_t delay_us, delays; /* sum, and of how many */
    int64_t first_us, last_us;
    json_t *people; /* a set of caller ids */
};

struct standing {
    struct admin_call *call;
    struct rules active;
    int64_t *in_force_us; /* by rule: since when it is so; 0: not known */
    struct tally *tallies;
    struct tally before, after; /* of all requests, about one rule */
    size_t rule;                /* SIZE_MAX: all */
    int64_t since_us;
    int64_t requests, rows;
    bool more;
};

/* --- Counting ----------------------------------------------------------------
 */

static void count_row(struct tally *t, const struct audit_row *row)
{
    char caller[80];

    t->requests++;
    if (row->permitted)
        t->permitted++;
    else
        t->denied++;
    t->tokens += row->input > 0 ? row->input : 0;
    t->tokens += row->output > 0 ? row->output : 0;
    if (row->total_us > 0) {
        t->delay_us += row->total_us;
        t->delays++;
    }
    if (!t->first_us || row->time_us < t->first_us)
        t->first_us = row->time_us;
    if (row->time_us > t->last_us)
        t->last_us = row->time_us;
    if (!t->people)
        t->people = json_object();
    snprintf(caller, sizeof caller, "%.*s", STR_ARG(row->caller));
    json_object_set_new(t->people, caller, json_true());
}

static void count_rules(struct standing *s, const struct audit_row *row)
{
    json_t *names = json_loadb(row->policies.ptr, row->policies.len, 0, NULL);

    for (size_t i = 0; i < json_array_size(names); i++) {
        size_t at = policy_set_find(s->active.set,
            str_from(json_string_value(json_array_get(names, i))));
        if (at != SIZE_MAX)
            count_row(&s->tallies[at], row);
    }
    json_decref(names);
}

static void take_row(struct standing *s, const struct audit_row *row)
{
    if (row->kind != AUDIT_ROW_REQUEST)
        return;
    s->requests++;
    count_rules(s, row);
    if (s->rule == SIZE_MAX || !s->in_force_us[s->rule])
        return;
    count_row(
        row->time_us < s->in_force_us[s->rule] ? &s->before : &s->after, row);
}

static enum err walk(struct standing *s)
{
    struct admin_call *call = s->call;
    struct audit_filter filter = {
        .since_us = s->since_us, .type = STR("request"), .limit = PAGE_ROWS};
    struct audit_index *index = NULL;
    struct audit_result *result = NULL;
    uint64_t size, damaged = 0;
    bool behind = false, done = false;
    enum err err = audit_await_index(call, &size, &behind);

    if (!err)
        err = audit_index_open(control_dir(call->control), &index, &call->info);
    while (!err && !done) {
        audit_result_free(&result);
        err = audit_query(index, &filter, &result, &damaged, &call->info);
        if (err)
            break;
        for (size_t i = 0; i < result->count; i++)
            take_row(s, &result->rows[i]);
        s->rows += (int64_t)result->count;
        s->more |= result->incomplete || behind || s->rows >= ROWS_MAX;
        done = !result->more || result->count == 0 || s->rows >= ROWS_MAX;
        if (result->count > 0)
            filter.after = result->rows[result->count - 1].seq;
        filter.has_after = true;
    }
    audit_result_free(&result);
    audit_index_close(&index);
    return err ? audit_index_failed(call, err, damaged) : ERR_OK;
}

/* --- Since when each rule is as it is
 * ------------------------------------------ */

/* One earlier activation, the newest first: rules that were in it as they are
 * now were in force from then on. */
static void look_back(struct standing *s, const struct policy_set *set,
    int64_t time_us, bool *open)
{
    for (size_t i = 0; i < policy_set_count(s->active.set); i++) {
        size_t at;
        if (!open[i])
            continue;
        at = policy_set_find(set, policy_set_id(s->active.set, i));
        if (at == SIZE_MAX ||
            (policy_rules_differ(set, at, s->active.set, i) & DECIDES))
            open[i] = false;
        else
            s->in_force_us[i] = time_us;
    }
}

static enum err find_in_force(struct standing *s)
{
    struct admin_call *call = s->call;
    bool *open = calloc(policy_set_count(s->active.set) + 1, sizeof *open);
    struct db_statement *q;
    struct buf findings;
    enum err err;

    if (!open)
        return FAIL(call, ERR_NOMEM, "out of memory");
    memset(open, true, policy_set_count(s->active.set));
    buf_init(&findings, 1 << 20);
    err = db_prepare(call->db,
        "SELECT a.time, v.text FROM policy_act a JOIN policy_version v "
        "ON v.version = a.version WHERE a.act IN ('activate', 'rollback') "
        "ORDER BY a.id DESC LIMIT ?1",
        &q, &call->info);
    if (!err) {
        db_bind_int(q, 1, VERSIONS_MAX);
        while ((err = db_step(q, &call->info)) == ERR_OK) {
            struct policy_set *set = NULL;
            buf_clear(&findings);
            if (policy_set_compile(db_column_text(q, 1), "rules", &set,
                    &findings, NULL) != ERR_OK)
                break; /* of another Bailiff's schema: as far as we see */
            look_back(s, set, db_column_int(q, 0), open);
            policy_set_free(&set);
        }
        db_reset(q);
    }
    buf_fini(&findings);
    free(open);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* --- The answer
 * ------------------------------------------------------------------ */

static void add_tally(json_t *out, const struct tally *t)
{
    admin_set_int(out, "requests", t->requests);
    admin_set_int(out, "permitted", t->permitted);
    admin_set_int(out, "denied", t->denied);
    admin_set_int(out, "people", (int64_t)json_object_size(t->people));
    admin_set_int(out, "tokens", t->tokens);
    admin_set_int(
        out, "meanMicroseconds", t->delays > 0 ? t->delay_us / t->delays : 0);
    admin_set_time(out, "first", t->first_us);
    admin_set_time(out, "last", t->last_us);
}

static json_t *rule_json(const struct standing *s, size_t at)
{
    const struct policy_set *set = s->active.set;
    json_t *rule = json_object();

    admin_set_text(rule, "id", policy_set_id(set, at));
    admin_set_text(rule, "title", policy_set_title(set, at));
    admin_set_text(rule, "effect",
        policy_set_is_permit(set, at) ? STR("permit") : STR("forbid"));
    admin_set_bool(rule, "advice", policy_set_is_advice(set, at));
    admin_set_time(rule, "inForce", s->in_force_us[at]);
    add_tally(rule, &s->tallies[at]);
    return rule;
}

static json_t *answer_json(const struct standing *s)
{
    json_t *out = json_object(), *rules = json_array(), *never = json_array();
    json_t *side;

    for (size_t i = 0; i < policy_set_count(s->active.set); i++) {
        if (s->rule == SIZE_MAX || s->rule == i)
            json_array_append_new(rules, rule_json(s, i));
        if (s->tallies[i].requests == 0 &&
            !policy_set_is_advice(s->active.set, i))
            json_array_append_new(
                never, admin_text(policy_set_id(s->active.set, i)));
    }
    admin_set_int(out, "requests", s->requests);
    admin_set_time(out, "since", s->since_us);
    admin_set(out, "rules", rules);
    admin_set(out, "never", never);
    admin_set_bool(out, "more", s->more);
    if (s->rule != SIZE_MAX) {
        side = json_object();
        add_tally(side, &s->before);
        admin_set(out, "before", side);
        side = json_object();
        add_tally(side, &s->after);
        admin_set(out, "after", side);
    }
    return out;
}

struct stats_query {
    struct str rule, since;
};
#define AT(member) offsetof(struct stats_query, member)

static enum err prepare(struct standing *s, const struct stats_query *query)
{
    struct admin_call *call = s->call;
    enum err err = rules_of_version(call, 0, &s->active);
    size_t count = err ? 0 : policy_set_count(s->active.set);

    s->rule = SIZE_MAX;
    s->in_force_us = calloc(count + 1, sizeof *s->in_force_us);
    s->tallies = calloc(count + 1, sizeof *s->tallies);
    if (!err && (!s->in_force_us || !s->tallies))
        err = FAIL(call, ERR_NOMEM, "out of memory");
    if (!err && query->rule.len > 0) {
        s->rule = policy_set_find(s->active.set, query->rule);
        if (s->rule == SIZE_MAX)
            err = FAIL(call, ERR_NOTFOUND,
                "the active rules have no rule \"%.*s\"", STR_ARG(query->rule));
    }
    return err ? err : find_in_force(s);
}

static void finish(struct standing *s)
{
    size_t count = s->active.set ? policy_set_count(s->active.set) : 0;

    for (size_t i = 0; s->tallies && i < count; i++)
        json_decref(s->tallies[i].people);
    json_decref(s->before.people);
    json_decref(s->after.people);
    free(s->tallies);
    free(s->in_force_us);
    rules_fini(&s->active);
}

enum err handle_policy_stats(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"rule", FIELD_TEXT, false, AT(rule), 0, 64, NULL},
        {"since", FIELD_TEXT, false, AT(since), 1, 64, NULL},
    };
    struct stats_query query = {.rule = STR(""), .since = STR("30d")};
    struct audit_filter filter = {0};
    struct standing s = {.call = call};
    json_t *detail;
    enum err err = admin_read_query(call, fields, FIELD_COUNT(fields), &query);

    if (!err)
        err = audit_filter_set(
            &filter, STR("since"), query.since, clock_now(), NULL, &call->info);
    if (err)
        return err;
    s.since_us = filter.since_us;
    control_lock(call->control);
    err = prepare(&s, &query);
    control_unlock(call->control);
    if (!err)
        err = walk(&s);
    if (!err && !call->answered) {
        detail = json_object();
        admin_set_int(detail, "rows", s.rows);
        admin_set_text(detail, "since", query.since);
        err = admin_event(
            call, "policy.counted", "policy", STR(""), detail, STR(""));
    }
    if (!err && !call->answered)
        err = admin_answer(call, 200, answer_json(&s));
    finish(&s);
    return err;
}
