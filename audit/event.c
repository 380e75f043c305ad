/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/event.c - members are split once, then merged with sorted names.
 *
 * Entries are canonical JSON, so the members of an object come in order and
 * are found without searching. An entry whose members are out of order was not
 * written by this program: what is then missed counts as missing. */
#include "audit/event.h"

#include "lib/clock.h"
#include "lib/json_canonical.h"

#define LISTED_MAX 512 /* teams or rules of one entry */
#define MEMBERS_MAX 64 /* of one object that is read */

struct reading {
    struct arena *arena;
    bool bad;       /* a member has the wrong type */
    bool no_memory; /* of the arena */
    size_t count;   /* of the entry's own members */
    struct json_member members[MEMBERS_MAX];
    struct json_member inner[MEMBERS_MAX]; /* of the object that is read */
};

/* --- Members ----------------------------------------------------------------
 */

/* at[i] becomes the value of names[i] (sorted) in the entry itself; ptr NULL
 * where it is absent. */
static void find_own(const struct reading *r, const struct str *names,
    size_t count, struct str *at)
{
    json_canonical_find(r->members, r->count, names, at, count);
}

/* The same of an object, which may be absent too. */
static void find_members(struct reading *r, struct str object,
    const struct str *names, size_t count, struct str *at)
{
    size_t found = 0;
    if (object.ptr != NULL &&
        json_canonical_object(object, r->inner, MEMBERS_MAX, &found) != ERR_OK)
        r->bad = true;
    json_canonical_find(r->inner, found, names, at, count);
}

static struct str text_at(struct reading *r, struct str value)
{
    struct str text = STR("");
    if (value.ptr == NULL)
        return text;
    enum err err = json_canonical_text(r->arena, value, &text);
    if (err == ERR_NOMEM)
        r->no_memory = true;
    else if (err != ERR_OK)
        r->bad = true;
    return err == ERR_OK ? text : STR("");
}

static int64_t number_at(struct reading *r, struct str value, int64_t missing)
{
    int64_t number = missing;
    if (value.ptr != NULL && str_to_i64(value, &number) != ERR_OK)
        r->bad = true;
    return number;
}

static bool flag_at(struct reading *r, struct str value)
{
    if (value.ptr == NULL)
        return false;
    bool yes = str_equal(value, STR("true"));
    if (!yes && !str_equal(value, STR("false")))
        r->bad = true;
    return yes;
}

static int64_t time_at(struct reading *r, struct str value)
{
    int64_t time_us = 0;
    if (value.ptr != NULL && clock_parse(text_at(r, value), &time_us) != ERR_OK)
        r->bad = true;
    return time_us;
}

static struct str span_at(struct str value)
{
    return value.ptr == NULL ? STR("") : value;
}

/* Adds the strings of the array to items, each once. */
static size_t add_texts(
    struct reading *r, struct str array, struct str *items, size_t count)
{
    size_t place = 0;
    struct str item;
    enum err err = ERR_OK;
    while (array.ptr != NULL && err == ERR_OK) {
        err = json_canonical_element(array, &place, &item);
        if (err != ERR_OK)
            break;
        struct str text = text_at(r, item);
        size_t i = 0;
        while (i < count && !str_equal(items[i], text))
            i++;
        if (i == count && count < LISTED_MAX)
            items[count++] = text;
    }
    if (err == ERR_SYNTAX)
        r->bad = true;
    return count;
}

/* Moves a list off the stack. */
static struct audit_event_list keep_list(
    struct reading *r, const struct str *items, size_t count)
{
    struct audit_event_list list = {0};
    struct str *kept = ARENA_ARRAY(r->arena, count, struct str);
    if (!kept) {
        r->no_memory = true;
        return list;
    }
    if (count > 0)
        memcpy(kept, items, count * sizeof(*kept));
    list.items = kept;
    list.count = count;
    return list;
}

#define NAMES(...)                                                             \
    static const struct str names[] = {__VA_ARGS__};                           \
    struct str at[sizeof(names) / sizeof(names[0])];                           \
    enum { NAME_COUNT = sizeof(names) / sizeof(names[0]) }

static void read_sealed(
    struct reading *r, struct str object, struct audit_event *out)
{
    NAMES(STR_INIT("box"), STR_INIT("key"));
    find_members(r, object, names, NAME_COUNT, at);
    out->sealed_box = text_at(r, at[0]);
    out->sealed_key = text_at(r, at[1]);
}

static void read_content(
    struct reading *r, struct str object, struct audit_event *out)
{
    NAMES(STR_INIT("blob"), STR_INIT("bytes"), STR_INIT("commitment"),
        STR_INIT("key"));
    find_members(r, object, names, NAME_COUNT, at);
    out->content_blob = text_at(r, at[0]);
    out->content_bytes = number_at(r, at[1], 0);
    out->content_commitment = text_at(r, at[2]);
    out->content_key = text_at(r, at[3]);
}

/* --- request.* --------------------------------------------------------------
 */

static void read_candidates(
    struct reading *r, struct str array, struct audit_event *out)
{
    NAMES(STR_INIT("engine"), STR_INIT("errors"), STR_INIT("permitted"),
        STR_INIT("policies"), STR_INIT("upstream"));
    struct str rules[LISTED_MAX];
    struct str item;
    size_t count = 0, place = 0;
    enum err err = ERR_SYNTAX;
    while (array.ptr != NULL) {
        err = json_canonical_element(array, &place, &item);
        if (err != ERR_OK)
            break;
        find_members(r, item, names, NAME_COUNT, at);
        bool permitted = flag_at(r, at[2]);
        out->candidate_count++;
        if (permitted && out->permitted_count++ == 0) {
            out->engine = text_at(r, at[0]);
            out->upstream = text_at(r, at[4]);
            count = add_texts(r, at[3], rules, 0);
        } else if (!permitted && out->permitted_count == 0) {
            count = add_texts(r, at[3], rules, count);
            count = add_texts(r, at[1], rules, count);
        }
    }
    if (err != ERR_NOTFOUND)
        r->bad = true;
    out->policies = keep_list(r, rules, count);
}

static void read_small_objects(struct reading *r, struct str auth,
    struct str input, struct str model, struct str policy,
    struct audit_event *out)
{
    static const struct str auth_names[] = {
        STR_INIT("key"), STR_INIT("method")};
    static const struct str input_names[] = {
        STR_INIT("body"), STR_INIT("bound")};
    static const struct str model_names[] = {
        STR_INIT("asked"), STR_INIT("name")};
    static const struct str policy_names[] = {
        STR_INIT("hash"), STR_INIT("version")};
    struct str at[2];
    find_members(r, auth, auth_names, 2, at);
    out->key = text_at(r, at[0]);
    out->method = text_at(r, at[1]);
    find_members(r, input, input_names, 2, at);
    out->body = number_at(r, at[0], 0);
    out->input_bound = number_at(r, at[1], 0);
    find_members(r, model, model_names, 2, at);
    out->asked = text_at(r, at[0]);
    out->model = text_at(r, at[1]);
    find_members(r, policy, policy_names, 2, at);
    out->policy_hash = text_at(r, at[0]);
    out->policy_version = number_at(r, at[1], 0);
}

static void read_denied(
    struct reading *r, struct str object, struct audit_event *out)
{
    NAMES(STR_INIT("code"), STR_INIT("message"), STR_INIT("quota"),
        STR_INIT("stage"), STR_INIT("status"));
    find_members(r, object, names, NAME_COUNT, at);
    out->code = text_at(r, at[0]);
    out->message = text_at(r, at[1]);
    out->quota = text_at(r, at[2]);
    out->stage = text_at(r, at[3]);
    out->status = number_at(r, at[4], 0);
}

static void read_request(struct reading *r, struct audit_event *out)
{
    enum {
        ACTION,
        AUTH,
        CALLER,
        CANDIDATES,
        CAP,
        CAP_INJECTED,
        CONTENT,
        DENIED,
        DIALECT,
        EMERGENCY,
        ENGINE,
        INPUT,
        MODEL,
        POLICY,
        RETENTION,
        ROUTE,
        SEALED,
        STREAM,
        TEAMS
    };
    NAMES(STR_INIT("action"), STR_INIT("auth"), STR_INIT("caller"),
        STR_INIT("candidates"), STR_INIT("cap"), STR_INIT("capInjected"),
        STR_INIT("content"), STR_INIT("denied"), STR_INIT("dialect"),
        STR_INIT("emergency"), STR_INIT("engine"), STR_INIT("input"),
        STR_INIT("model"), STR_INIT("policy"), STR_INIT("retention"),
        STR_INIT("route"), STR_INIT("sealed"), STR_INIT("stream"),
        STR_INIT("teams"));
    struct str teams[LISTED_MAX];
    find_own(r, names, NAME_COUNT, at);
    out->action = text_at(r, at[ACTION]);
    out->caller = text_at(r, at[CALLER]);
    out->cap = number_at(r, at[CAP], -1);
    out->cap_injected = flag_at(r, at[CAP_INJECTED]);
    out->dialect = text_at(r, at[DIALECT]);
    out->emergency = text_at(r, at[EMERGENCY]);
    out->retention = text_at(r, at[RETENTION]);
    out->route = text_at(r, at[ROUTE]);
    read_content(r, at[CONTENT], out);
    out->stream = flag_at(r, at[STREAM]);
    read_candidates(r, at[CANDIDATES], out);
    read_small_objects(r, at[AUTH], at[INPUT], at[MODEL], at[POLICY], out);
    read_denied(r, at[DENIED], out);
    read_sealed(r, at[SEALED], out);
    out->teams = keep_list(r, teams, add_texts(r, at[TEAMS], teams, 0));
    out->teams_json = span_at(at[TEAMS]);
    if (out->kind == AUDIT_MEASURED)
        out->engine = text_at(r, at[ENGINE]);
    if (at[CALLER].ptr == NULL || at[TEAMS].ptr == NULL ||
        (out->kind == AUDIT_DENIED && at[DENIED].ptr == NULL))
        r->bad = true;
}

static void read_attempt(struct reading *r, struct audit_event *out)
{
    NAMES(STR_INIT("engine"), STR_INIT("error"), STR_INIT("number"),
        STR_INIT("status"), STR_INIT("upstream"));
    find_own(r, names, NAME_COUNT, at);
    out->engine = text_at(r, at[0]);
    out->error = text_at(r, at[1]);
    out->number = number_at(r, at[2], 0);
    out->status = number_at(r, at[3], 0);
    out->upstream = text_at(r, at[4]);
}

static void read_usage(
    struct reading *r, struct str object, struct audit_event *out)
{
    NAMES(STR_INIT("cached"), STR_INIT("cost"), STR_INIT("input"),
        STR_INIT("output"), STR_INIT("reasoning"), STR_INIT("source"));
    find_members(r, object, names, NAME_COUNT, at);
    out->cached = number_at(r, at[0], -1);
    out->cost = number_at(r, at[1], -1);
    out->input = number_at(r, at[2], -1);
    out->output = number_at(r, at[3], -1);
    out->reasoning = number_at(r, at[4], -1);
    out->usage_source = text_at(r, at[5]);
}

static void read_latency(
    struct reading *r, struct str object, struct audit_event *out)
{
    NAMES(STR_INIT("durable"), STR_INIT("firstByte"), STR_INIT("total"));
    find_members(r, object, names, NAME_COUNT, at);
    out->durable_us = number_at(r, at[0], -1);
    out->first_byte_us = number_at(r, at[1], -1);
    out->total_us = number_at(r, at[2], -1);
}

static void read_completed(struct reading *r, struct audit_event *out)
{
    NAMES(STR_INIT("attempts"), STR_INIT("bytesOut"), STR_INIT("content"),
        STR_INIT("contentLost"), STR_INIT("engine"), STR_INIT("latency"),
        STR_INIT("outcome"), STR_INIT("reason"), STR_INIT("status"),
        STR_INIT("upstream"), STR_INIT("usage"));
    find_own(r, names, NAME_COUNT, at);
    out->attempts = number_at(r, at[0], 0);
    out->bytes_out = number_at(r, at[1], 0);
    read_content(r, at[2], out);
    out->content_lost = text_at(r, at[3]);
    out->engine = text_at(r, at[4]);
    read_latency(r, at[5], out);
    out->outcome = text_at(r, at[6]);
    out->reason = text_at(r, at[7]);
    out->status = number_at(r, at[8], 0);
    out->upstream = text_at(r, at[9]);
    read_usage(r, at[10], out);
    if (out->outcome.len == 0)
        r->bad = true;
}

static void read_withdrawn(struct reading *r, struct audit_event *out)
{
    NAMES(STR_INIT("reason"));
    find_own(r, names, NAME_COUNT, at);
    out->reason = text_at(r, at[0]);
    out->outcome = STR("withdrawn");
}

/* --- The others --------------------------------------------------------------
 */

static void read_auth_failed(struct reading *r, struct audit_event *out)
{
    NAMES(STR_INIT("count"), STR_INIT("first"), STR_INIT("key"),
        STR_INIT("reason"), STR_INIT("route"), STR_INIT("sealed"));
    find_own(r, names, NAME_COUNT, at);
    out->count = number_at(r, at[0], 1);
    out->first_us = time_at(r, at[1]);
    out->key = text_at(r, at[2]);
    out->reason = text_at(r, at[3]);
    out->route = text_at(r, at[4]);
    read_sealed(r, at[5], out);
}

static void read_act(struct reading *r, struct audit_event *out)
{
    NAMES(STR_INIT("actor"), STR_INIT("after"), STR_INIT("before"),
        STR_INIT("detail"), STR_INIT("object"), STR_INIT("outbox"),
        STR_INIT("reason"), STR_INIT("sealed"));
    static const struct str actor_names[] = {
        STR_INIT("certificate"), STR_INIT("id"), STR_INIT("method")};
    static const struct str object_names[] = {STR_INIT("id"), STR_INIT("kind")};
    struct str in[3];
    find_own(r, names, NAME_COUNT, at);
    find_members(r, at[0], actor_names, 3, in);
    out->actor_certificate = text_at(r, in[0]);
    out->actor = text_at(r, in[1]);
    out->actor_method = text_at(r, in[2]);
    out->after = span_at(at[1]);
    out->before = span_at(at[2]);
    out->detail = span_at(at[3]);
    find_members(r, at[4], object_names, 2, in);
    out->object = text_at(r, in[0]);
    out->object_kind = text_at(r, in[1]);
    out->outbox = number_at(r, at[5], 0);
    out->reason = text_at(r, at[6]);
    read_sealed(r, at[7], out);
    if (at[0].ptr == NULL)
        r->bad = true;
}

static const struct {
    struct str type;
    enum audit_kind kind;
    void (*read)(struct reading *r, struct audit_event *out);
} types[] = {
    {STR_INIT("request.admitted"), AUDIT_ADMITTED, read_request},
    {STR_INIT("request.completed"), AUDIT_COMPLETED, read_completed},
    {STR_INIT("request.denied"), AUDIT_DENIED, read_request},
    {STR_INIT("request.measured"), AUDIT_MEASURED, read_request},
    {STR_INIT("request.attempt"), AUDIT_ATTEMPT, read_attempt},
    {STR_INIT("request.withdrawn"), AUDIT_WITHDRAWN, read_withdrawn},
    {STR_INIT("auth.failed"), AUDIT_AUTH_FAILED, read_auth_failed},
};

enum err audit_event_parse(struct arena *arena, struct str entry,
    struct audit_event *out, struct errinfo *info)
{
    NAMES(STR_INIT("id"), STR_INIT("time"), STR_INIT("type"), STR_INIT("v"));
    struct reading r = {.arena = arena};
    *out = (struct audit_event){.kind = AUDIT_ACT,
        .cap = -1,
        .input = -1,
        .output = -1,
        .cached = -1,
        .reasoning = -1,
        .cost = -1,
        .durable_us = -1,
        .first_byte_us = -1,
        .total_us = -1};
    if (json_canonical_object(entry, r.members, MEMBERS_MAX, &r.count) !=
        ERR_OK)
        return errinfo_set(info, ERR_SYNTAX,
            "the entry is no canonical JSON object (RFC 8785), or has more "
            "than %d members",
            MEMBERS_MAX);
    find_own(&r, names, NAME_COUNT, at);
    if (number_at(&r, at[3], 0) != 1)
        return errinfo_set(info, ERR_SYNTAX,
            "the entry's format (\"v\") is not 1: a newer Bailiff wrote it");
    out->id = text_at(&r, at[0]);
    out->time_us = time_at(&r, at[1]);
    out->type = text_at(&r, at[2]);
    if (out->id.len == 0 || at[1].ptr == NULL || out->type.len == 0)
        r.bad = true;
    size_t i = 0, count = sizeof(types) / sizeof(types[0]);
    while (i < count && !str_equal(types[i].type, out->type))
        i++;
    if (i < count) {
        out->kind = types[i].kind;
        types[i].read(&r, out);
    } else if (str_starts(out->type, STR("request."))) {
        r.bad = true;
    } else {
        read_act(&r, out);
    }
    if (r.no_memory)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    if (r.bad)
        return errinfo_set(info, ERR_SYNTAX,
            "the entry lacks a member of %.*s, or has one of the wrong type",
            STR_ARG(out->type));
    return ERR_OK;
}
