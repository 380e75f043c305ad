/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/replay.c - walks the log from an instant on and asks two sets of
 * rules about each request that is on record, with its context as it was and
 * callers, teams and models as they are now.
 *
 * What cannot be asked again is counted apart, by its reason: a request that
 * was refused before the rules were asked, a context that this Bailiff does
 * not know, and a rule that asks for the caller's address, which is sealed. */
#include "proxy/admin/replay_priv.h"

#include "lib/crypto.h"
#include "proxy/replayed_question.h"

#include <stdlib.h>

#define ENTRY_MAX (1u << 17)
#define KEYS_KEPT 4096 /* sealing keys, by a hash of their id */
#define LISTED_MAX 200 /* callers, models and rules of the answer */

/* --- State -------------------------------------------------------------------
 */

/* Of one caller, model or rule: members of a JSON object by its name. */
struct tallies {
    json_t *by_name;
};

struct replaying {
    struct admin_call *call;
    const struct replay_order *order;
    struct policy_workspace *workspace;
    struct arena *arena; /* of one entry */
    struct crypto_aead *aead;
    struct seal_key *keys;
    bool *asks_address[2];
    struct tallies callers, models, rules;
    json_t *samples;
    json_int_t sampled[2]; /* newly permitted, newly denied */
    json_int_t requests, replayed, newly_denied, newly_permitted,
        bound_otherwise, other_engines, drifted;
    json_int_t before_rules, sealed, unreadable;
    int64_t first_us, last_us;
    bool cut;
};

/* What one set says of one request. */
struct verdict {
    bool permitted;
    bool undecidable; /* without the address */
    const struct policy_set *set;
    struct policy_decision decision; /* of the target that speaks for all */
    uint64_t targets;                /* bits: permitted */
    struct policy_obligations bound;
};

/* --- Tallies -----------------------------------------------------------------
 */

static json_t *tally_of(struct tallies *tallies, struct str name)
{
    char text[512];
    json_t *one;

    if (name.len >= sizeof text)
        name.len = sizeof text - 1;
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    one = json_object_get(tallies->by_name, text);
    if (!one) {
        one = json_object();
        json_object_set_new(tallies->by_name, text, one);
    }
    return one;
}

static void count_in(json_t *one, const char *what)
{
    json_object_set_new(one, what,
        json_integer(json_integer_value(json_object_get(one, what)) + 1));
}

static const char *const kinds[] = {"newlyPermitted", "newlyDenied"};

static void count_change(struct replaying *r, const struct replayed_question *q,
    const struct verdict *after, bool denied)
{
    const struct policy_decision *d = &after->decision;
    const char *kind = kinds[denied];
    json_t *model = tally_of(&r->models, q->model), *people;
    char key[32];

    count_in(tally_of(&r->callers, q->caller), kind);
    count_in(model, kind);
    /* Who it touches: a set of caller ids for each kind. */
    snprintf(key, sizeof key, "%sPeople", kind);
    people = json_object_get(model, key);
    if (!people) {
        people = json_object();
        json_object_set_new(model, key, people);
    }
    count_in(people, arena_cstr(r->arena, q->caller));
    for (unsigned i = 0; i < d->policy_count; i++)
        count_in(tally_of(&r->rules, policy_set_id(after->set, d->policies[i])),
            kind);
    if (d->policy_count == 0)
        count_in(tally_of(&r->rules, STR("")), kind);
}

static json_t *rule_ids(const struct verdict *verdict)
{
    const struct policy_decision *d = &verdict->decision;
    json_t *ids = json_array();

    for (unsigned i = 0; i < d->policy_count; i++)
        json_array_append_new(
            ids, admin_text(policy_set_id(verdict->set, d->policies[i])));
    for (unsigned i = 0; d->reason == POLICY_ERROR && i < d->error_count; i++)
        json_array_append_new(
            ids, admin_text(policy_set_id(verdict->set, d->errors[i])));
    return ids;
}

static void add_sample(struct replaying *r, const struct replayed_question *q,
    const struct verdict *before, const struct verdict *after)
{
    json_t *one;

    if (r->sampled[before->permitted] >= r->order->samples)
        return;
    r->sampled[before->permitted]++;
    one = json_object();
    admin_set_text(one, "id", q->id);
    admin_set_time(one, "time", q->time_us);
    admin_set_text(one, "caller", q->caller);
    admin_set_text(one, "model", q->model);
    admin_set_text(one, "action", q->action);
    admin_set_text(
        one, "before", before->permitted ? STR("permit") : STR("deny"));
    admin_set_text(
        one, "after", after->permitted ? STR("permit") : STR("deny"));
    if (before->set)
        admin_set(one, "rulesBefore", rule_ids(before));
    admin_set(one, "rules", rule_ids(after));
    json_array_append_new(r->samples, one);
}

/* --- One request
 * --------------------------------------------------------------- */

/* The rule could not be evaluated because the address is not there. */
static bool misses_address(
    const struct policy_decision *d, const bool *asks_address)
{
    for (unsigned i = 0; i < d->error_count; i++)
        if (asks_address[d->errors[i]])
            return true;
    return false;
}

static void ask_set(struct replaying *r, const struct replayed_question *q,
    int which, bool has_address, struct verdict *out)
{
    *out = (struct verdict){.set = which ? r->order->after : r->order->before,
        .bound.max_tokens = -1};
    if (!out->set)
        return;
    policy_decide_by(r->workspace, out->set);
    for (size_t i = 0; i < q->target_count; i++) {
        struct policy_decision decision;
        policy_decide(r->workspace, &q->targets[i].target, &decision);
        if (!has_address && misses_address(&decision, r->asks_address[which]))
            out->undecidable = true;
        if (i == 0 || (decision.permitted && !out->permitted))
            out->decision = decision;
        if (decision.permitted && i < 64)
            out->targets |= UINT64_C(1) << i;
        if (decision.permitted && !out->permitted)
            out->bound = decision.obligations;
        out->permitted |= decision.permitted;
    }
}

static void compare(struct replaying *r, const struct replayed_question *q,
    const struct verdict *before, const struct verdict *after)
{
    r->replayed++;
    r->drifted += before->permitted != q->permitted;
    if (before->permitted != after->permitted) {
        if (before->permitted)
            r->newly_denied++;
        else
            r->newly_permitted++;
        count_change(r, q, after, before->permitted);
        add_sample(r, q, before, after);
    } else if (after->permitted) {
        r->other_engines += before->targets != after->targets;
        r->bound_otherwise += !policy_obligations_same(
            before->set, &before->bound, after->set, &after->bound);
    }
}

/* By the id's hash: one key per caller and month, looked up once. */
static const struct seal_key *find_key(struct replaying *r, struct str id)
{
    struct seal_key *slot = &r->keys[str_hash(id) % KEYS_KEPT];
    enum err err;

    if (id.len == 0 || id.len >= sizeof slot->id)
        return NULL;
    if (str_equal(str_from(slot->id), id))
        return slot;
    control_lock(r->call->control);
    err = keyring_find(control_keyring(r->call->control), id, slot, NULL);
    control_unlock(r->call->control);
    if (err) {
        crypto_wipe(slot, sizeof *slot);
        return NULL;
    }
    return slot;
}

static void replay_one(struct replaying *r, const struct replayed_question *q)
{
    char address[REPLAYED_ADDRESS_MAX] = "";
    struct policy_recorded recorded = {.caller = q->caller,
        .action = q->action,
        .context = q->context,
        .teams = q->group_teams,
        .team_count = q->group_team_count};
    struct verdict before, after;
    bool opened = false;

    if (!replayed_question_is_whole(q)) {
        r->before_rules++;
        return;
    }
    if (r->order->addresses) {
        const struct seal_key *key = find_key(r, q->sealed_key);
        opened = key && replayed_question_address(q, r->aead, key, address);
        recorded.address = str_from(address);
    }
    if (policy_decide_recorded(r->workspace, NULL,
            snapshot_entities(r->order->snapshot), &recorded, NULL) != ERR_OK) {
        r->unreadable++;
        return;
    }
    ask_set(r, q, 0, opened, &before);
    ask_set(r, q, 1, opened, &after);
    if (before.undecidable || after.undecidable)
        r->sealed++;
    else
        compare(r, q, &before, &after);
}

/* --- The walk
 * -------------------------------------------------------------------- */

static bool is_request(struct str entry)
{
    static const char admitted[] = "\"type\":\"request.admitted\"";
    static const char denied[] = "\"type\":\"request.denied\"";

    return memmem(entry.ptr, entry.len, admitted, sizeof admitted - 1) ||
           memmem(entry.ptr, entry.len, denied, sizeof denied - 1);
}

/* *past: this entry and all that follow are too young. */
static enum err take_entry(struct replaying *r, struct str entry, bool *past)
{
    const struct replay_order *order = r->order;
    struct replayed_question q;
    enum err err;

    if (!is_request(entry))
        return ERR_OK;
    arena_reset(r->arena);
    err = replayed_question_read(r->arena, entry, &q, NULL);
    if (err == ERR_NOMEM)
        return err;
    if (err == ERR_SYNTAX) {
        r->requests++;
        r->unreadable++;
    }
    if (err || q.time_us < order->since_us)
        return ERR_OK;
    if (order->until_us && q.time_us >= order->until_us) {
        *past = true;
        return ERR_OK;
    }
    if ((order->caller.len > 0 && !str_equal(order->caller, q.caller)) ||
        (order->model.len > 0 && !str_equal(order->model, q.model)))
        return ERR_OK;
    if (order->requests && r->requests >= order->requests) {
        r->cut = *past = true;
        return ERR_OK;
    }
    r->requests++;
    r->last_us = q.time_us;
    if (!r->first_us)
        r->first_us = q.time_us;
    replay_one(r, &q);
    return ERR_OK;
}

/* The first entry that may matter; the index knows it. */
static enum err find_start(
    struct replaying *r, uint64_t size, uint64_t *first, bool *any)
{
    struct admin_call *call = r->call;
    struct audit_filter filter = {.since_us = r->order->since_us,
        .type = STR("request"),
        .oldest_first = true,
        .limit = 1};
    struct audit_index *index = NULL;
    struct audit_result *result = NULL;
    uint64_t damaged = 0;
    enum err err =
        audit_index_open(control_dir(call->control), &index, &call->info);

    if (!err)
        err = audit_query(index, &filter, &result, &damaged, &call->info);
    *any = !err && result->count > 0 && result->rows[0].seq < size;
    if (*any)
        *first = result->rows[0].seq;
    /* A file that is being rebuilt: from the beginning, then. */
    if (!err && result->incomplete) {
        *first = 0;
        *any = size > 0;
    }
    audit_result_free(&result);
    audit_index_close(&index);
    return err;
}

static enum err walk(struct replaying *r)
{
    struct admin_call *call = r->call;
    struct audit_reader *reader = NULL;
    struct buf entry;
    uint64_t size = 0, first = 0;
    bool behind, any = false, past = false;
    enum err err = audit_await_index(call, &size, &behind);

    if (!err)
        err = find_start(r, size, &first, &any);
    if (!err && any)
        err =
            audit_reader_open(control_dir(call->control), &reader, &call->info);
    buf_init(&entry, ENTRY_MAX);
    for (uint64_t at = first; !err && any && !past && at < size; at++) {
        buf_clear(&entry);
        err = audit_read_entry(reader, size, at, &entry, &call->info);
        if (!err)
            err = take_entry(r, buf_str(&entry), &past);
    }
    buf_fini(&entry);
    audit_reader_close(&reader);
    return err;
}

/* --- The answer
 * -------------------------------------------------------------------- */

struct named {
    const char *name;
    const json_t *tally;
    json_int_t changes;
};

static int compare_named(const void *a, const void *b)
{
    const struct named *left = a, *right = b;

    if (left->changes != right->changes)
        return left->changes > right->changes ? -1 : 1;
    return strcmp(left->name, right->name);
}

static json_int_t count_of(const json_t *tally, int kind)
{
    return json_integer_value(json_object_get(tally, kinds[kind]));
}

static json_t *named_json(
    struct replaying *r, const struct named *one, const char *key)
{
    json_t *out = json_object();
    char people[40];

    admin_set_text(out, key, str_from(one->name));
    if (strcmp(key, "caller") == 0)
        admin_set_text(
            out, "handle", admin_handle_of(r->call, str_from(one->name)));
    for (int k = 0; k < 2; k++) {
        admin_set_int(out, kinds[k], count_of(one->tally, k));
        snprintf(people, sizeof people, "%sPeople", kinds[k]);
        if (strcmp(key, "model") == 0)
            admin_set_int(out, people,
                (int64_t)json_object_size(json_object_get(one->tally, people)));
    }
    return out;
}

/* The most touched first. */
static json_t *tallies_json(
    struct replaying *r, struct tallies *tallies, const char *key)
{
    size_t count = json_object_size(tallies->by_name), i = 0;
    struct named *named = calloc(count + 1, sizeof *named);
    json_t *list = json_array(), *tally;
    const char *name;

    if (!named)
        return list;
    json_object_foreach(tallies->by_name, name, tally)
    {
        named[i++] = (struct named){
            name, tally, count_of(tally, 0) + count_of(tally, 1)};
    }
    qsort(named, count, sizeof *named, compare_named);
    for (i = 0; i < count && i < LISTED_MAX; i++)
        json_array_append_new(list, named_json(r, &named[i], key));
    free(named);
    return list;
}

/* Handles of the samples, all under one lock. */
static void name_samples(struct replaying *r)
{
    json_t *one;
    size_t i;

    json_array_foreach(r->samples, i, one)
    {
        admin_set_text(one, "handle",
            admin_handle_of(r->call,
                str_from(json_string_value(json_object_get(one, "caller")))));
    }
}

static json_t *answer_json(struct replaying *r)
{
    json_t *out = json_object(), *left = json_object();

    admin_set_int(out, "requests", r->requests);
    admin_set_int(out, "replayed", r->replayed);
    admin_set_int(out, "newlyDenied", r->newly_denied);
    admin_set_int(out, "newlyPermitted", r->newly_permitted);
    admin_set_int(out, "boundOtherwise", r->bound_otherwise);
    admin_set_int(out, "otherEngines", r->other_engines);
    admin_set_int(out, "drifted", r->drifted);
    admin_set_int(left, "beforeRules", r->before_rules);
    admin_set_int(left, "sealedAddress", r->sealed);
    admin_set_int(left, "unreadable", r->unreadable);
    admin_set(out, "notReplayed", left);
    admin_set_time(out, "first", r->first_us);
    admin_set_time(out, "last", r->last_us);
    admin_set_bool(out, "cut", r->cut);
    admin_set_int(
        out, "callersTouched", (int64_t)json_object_size(r->callers.by_name));
    control_lock(r->call->control);
    admin_set(out, "callers", tallies_json(r, &r->callers, "caller"));
    name_samples(r);
    control_unlock(r->call->control);
    admin_set(out, "models", tallies_json(r, &r->models, "model"));
    admin_set(out, "rules", tallies_json(r, &r->rules, "rule"));
    admin_set(out, "samples", json_incref(r->samples));
    return out;
}

/* --- All of it
 * ----------------------------------------------------------------------- */

static bool *address_rules(const struct policy_set *set)
{
    size_t count = set ? policy_set_count(set) : 0;
    bool *asks = calloc(count + 1, sizeof *asks);

    for (size_t i = 0; asks && i < count; i++)
        asks[i] = policy_set_asks_address(set, i);
    return asks;
}

static bool prepare(struct replaying *r)
{
    r->workspace = policy_workspace_new();
    r->arena = arena_new(262144, 0);
    r->aead = crypto_aead_new();
    r->keys = calloc(KEYS_KEPT, sizeof *r->keys);
    r->asks_address[0] = address_rules(r->order->before);
    r->asks_address[1] = address_rules(r->order->after);
    r->callers.by_name = json_object();
    r->models.by_name = json_object();
    r->rules.by_name = json_object();
    r->samples = json_array();
    return r->workspace && r->arena && r->aead && r->keys &&
           r->asks_address[0] && r->asks_address[1];
}

enum err replay_run(
    struct admin_call *call, const struct replay_order *order, json_t **out)
{
    struct replaying r = {.call = call, .order = order};
    enum err err =
        prepare(&r) ? ERR_OK : FAIL(call, ERR_NOMEM, "out of memory");

    if (!err)
        err = walk(&r);
    if (!err)
        *out = answer_json(&r);
    if (r.keys)
        crypto_wipe(r.keys, KEYS_KEPT * sizeof *r.keys);
    free(r.keys);
    free(r.asks_address[0]);
    free(r.asks_address[1]);
    crypto_aead_free(&r.aead);
    arena_free(&r.arena);
    policy_workspace_free(&r.workspace);
    json_decref(r.callers.by_name);
    json_decref(r.models.by_name);
    json_decref(r.rules.by_name);
    json_decref(r.samples);
    return err;
}
