/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/redecide_inputs.c - the inputs of a decision that is repeated:
 * rules by their hash, entities as they were, the question of the entry. */
#include "proxy/admin/redecide_priv.h"

#include "lib/clock.h"
#include "lib/encode.h"
#include "proxy/replayed_question.h"

#define NAMES_MAX 1024
#define FINDINGS_MAX 65536

struct str redecide_text(const json_t *object, const char *key)
{
    return str_from(json_string_value(json_object_get(object, key)));
}

/* --- Rules ----------------------------------------------------------- */

/* Does a rule ask for context.request.ip? Comments and texts count too: then
 * the answer is only more careful than it need be. */
static bool names_ip(struct str text)
{
    for (size_t i = 0; i + 3 <= text.len; i++)
        if (memcmp(text.ptr + i, ".ip", 3) == 0)
            return true;
    return memmem(text.ptr, text.len, "\"ip\"", 4) != NULL;
}

static enum err find_text(
    struct redecision *r, struct str hex, struct str *text)
{
    struct admin_call *call = r->call;
    struct db_statement *s;
    uint8_t hash[SHA256_SIZE], actual[SHA256_SIZE];
    size_t length = 0;
    enum err err;

    if (hex_decode(hex, hash, sizeof hash, &length) != ERR_OK ||
        length != sizeof hash) {
        redecide_cannot(r, "no policy version was in force");
        return ERR_NOTFOUND;
    }
    control_lock(call->control);
    err = db_prepare(call->db,
        "SELECT text FROM policy_version WHERE hash = ?1", &s, &call->info);
    if (!err) {
        db_bind_blob(s, 1, hash, sizeof hash);
        err = db_step(s, &call->info);
        if (!err)
            *text = admin_column(call, s, 0);
        db_reset(s);
    }
    control_unlock(call->control);
    if (err == ERR_NOTFOUND)
        redecide_cannot(r,
            "the policy text with the hash %.*s is not in the control database",
            STR_ARG(hex));
    if (err)
        return err;
    crypto_sha256(actual, text->ptr, text->len);
    if (memcmp(actual, hash, sizeof hash) == 0)
        return ERR_OK;
    redecide_cannot(r,
        "the stored policy text is not the one with the hash %.*s",
        STR_ARG(hex));
    return ERR_NOTFOUND;
}

enum err redecide_load_rules(struct redecision *r)
{
    struct str text;
    struct buf findings;
    struct errinfo info = {0};
    enum err err = find_text(
        r, redecide_text(json_object_get(r->entry, "policy"), "hash"), &text);

    if (err)
        return err;
    r->names_address = names_ip(text);
    buf_init(&findings, FINDINGS_MAX);
    err = policy_set_compile(text, "rules.cedar", &r->set, &findings, &info);
    if (err && err != ERR_NOMEM) {
        redecide_cannot(r,
            "this version of Bailiff does not accept the rules that were in "
            "force: %s",
            info.text);
        err = ERR_NOTFOUND;
    }
    buf_fini(&findings);
    return err;
}

/* --- Entities -------------------------------------------------------- */

static size_t names_of(const json_t *list, struct str names[NAMES_MAX])
{
    size_t count = 0;

    for (size_t i = 0; i < json_array_size(list) && count < NAMES_MAX; i++)
        names[count++] = str_from(json_string_value(json_array_get(list, i)));
    return count;
}

/* A group's own list of models counts, not what a model said of itself. */
static size_t groups_of(
    const struct past *past, const char *model, struct str names[NAMES_MAX])
{
    json_t *groups = past_kind(past, "model_group"), *group;
    const char *name;
    size_t count = 0;

    json_object_foreach(groups, name, group)
    {
        const json_t *models =
            json_object_get(json_object_get(group, "state"), "models");
        for (size_t i = 0; i < json_array_size(models); i++) {
            const char *one = json_string_value(json_array_get(models, i));
            if (one && strcmp(one, model) == 0 && count < NAMES_MAX)
                names[count++] = str_from(name);
        }
    }
    return count;
}

static enum err add_models(
    struct redecision *r, struct policy_entities_builder *b)
{
    struct str names[NAMES_MAX];
    json_t *models = past_kind(&r->past, "model"), *one;
    const char *name;
    enum err err = ERR_OK;

    json_object_foreach(models, name, one)
    {
        const json_t *state = json_object_get(one, "state");
        struct policy_model model = {
            .name = str_from(name),
            .version = redecide_text(state, "version"),
            .owner = redecide_text(state, "owner"),
            .licence = redecide_text(state, "licence"),
            .risk_class = redecide_text(state, "riskClass"),
            .region = redecide_text(state, "region"),
            .status = redecide_text(state, "status"),
            .groups = names,
            .group_count = groups_of(&r->past, name, names),
        };
        if (!err)
            err = policy_entities_model(b, &model);
    }
    return err;
}

static enum err add_others(
    struct redecision *r, struct policy_entities_builder *b)
{
    struct str names[NAMES_MAX];
    json_t *teams = past_kind(&r->past, "team"),
           *callers = past_kind(&r->past, "caller"),
           *groups = past_kind(&r->past, "model_group"),
           *engines = past_kind(&r->past, "engine"), *one;
    const char *name;
    enum err err = ERR_OK;

    json_object_foreach(teams, name, one) if (!err) err =
        policy_entities_team(b, str_from(name),
            redecide_text(json_object_get(one, "state"), "parent"));
    json_object_foreach(callers, name, one)
    {
        const json_t *state = json_object_get(one, "state");
        size_t count = names_of(json_object_get(state, "teams"), names);
        if (!err)
            err = policy_entities_caller(
                b, str_from(name), redecide_text(state, "kind"), names, count);
    }
    json_object_foreach(groups, name, one) if (!err) err =
        policy_entities_group(b, str_from(name));
    json_object_foreach(engines, name, one)
    {
        const json_t *state = json_object_get(one, "state");
        if (!err)
            err = policy_entities_engine(b, str_from(name),
                redecide_text(state, "kind"), redecide_text(state, "region"));
    }
    return err;
}

enum err redecide_load_entities(struct redecision *r)
{
    struct policy_entities_builder *b = policy_entities_begin();
    enum err err = b ? add_others(r, b) : ERR_NOMEM;

    policy_entities_free(&r->entities);
    if (!err)
        err = add_models(r, b);
    if (!err)
        err = policy_entities_finish(&b, &r->entities, &r->call->info);
    policy_entities_abandon(&b);
    return err;
}

/* --- The question ---------------------------------------------------- */

/* {"__extn": {"arg": "...", "fn": "decimal"}} */
static struct str argument_of(const json_t *value)
{
    return redecide_text(json_object_get(value, "__extn"), "arg");
}

/* "0.7" to 7000. */
static bool read_decimal(struct str text, int64_t *out)
{
    struct str whole, part;
    int64_t units, rest = 0, scale = 10000;
    bool negative = text.len > 0 && text.ptr[0] == '-';

    (void)str_split(text, '.', &whole, &part);
    if (str_to_i64(whole, &units) != ERR_OK || part.len > 4 ||
        (part.len > 0 && str_to_i64(part, &rest) != ERR_OK))
        return false;
    for (size_t i = 0; i < part.len; i++)
        scale /= 10;
    *out = units * 10000 + (negative ? -rest * scale : rest * scale);
    return true;
}

/* A Long may be beyond what JSON holds. */
static int64_t whole_of(
    const json_t *object, const char *key, int64_t otherwise)
{
    const json_t *value = json_object_get(object, key);
    int64_t out;

    if (json_is_integer(value))
        return json_integer_value(value);
    if (json_is_object(value) && str_to_i64(argument_of(value), &out) == ERR_OK)
        return out;
    return otherwise;
}

static struct str *names_in(
    struct redecision *r, const json_t *list, size_t *count)
{
    size_t n = json_array_size(list);
    struct str *names = ARENA_ARRAY(r->call->arena, n + 1, struct str);

    for (size_t i = 0; names && i < n; i++)
        names[i] = str_from(json_string_value(json_array_get(list, i)));
    *count = names ? n : 0;
    return names;
}

static void read_params(const json_t *params, struct policy_question *q)
{
    q->max_tokens = whole_of(params, "maxTokens", -1);
    q->choices = whole_of(params, "n", 1);
    q->has_temperature = read_decimal(
        argument_of(json_object_get(params, "temperature")), &q->temperature4);
    q->has_top_p =
        read_decimal(argument_of(json_object_get(params, "topP")), &q->top_p4);
}

/* The certificate, and for whom a gateway asked. */
static void read_chain(struct redecision *r, const json_t *context)
{
    struct policy_question *q = &r->question;
    const json_t *certificate = json_object_get(context, "certificate"),
                 *end_user = json_object_get(context, "endUser"),
                 *caller = json_object_get(
                     json_object_get(end_user, "caller"), "__entity");

    q->certificate.domain = redecide_text(certificate, "trustDomain");
    q->certificate.issuer = redecide_text(certificate, "issuer");
    q->certificate.fingerprint = redecide_text(certificate, "fingerprint");
    q->certificate.uri = redecide_text(certificate, "uri");
    q->certificate.dns = names_in(
        r, json_object_get(certificate, "dns"), &q->certificate.dns_count);
    q->end_user.issuer = redecide_text(end_user, "issuer");
    q->end_user.caller = redecide_text(caller, "id");
    q->end_user.groups = names_in(
        r, json_object_get(end_user, "groups"), &q->end_user.group_count);
}

/* The types are those that the values have: what was of another never came
 * this far. */
static void read_claims(struct redecision *r, const json_t *claims)
{
    struct policy_question *q = &r->question;
    struct policy_claim *list = ARENA_ARRAY(
        r->call->arena, json_object_size(claims) + 1, struct policy_claim);
    const char *name;
    json_t *value;
    size_t count = 0;

    q->has_claims = json_is_object(claims);
    if (!list)
        return;
    json_object_foreach((json_t *)(uintptr_t)claims, name, value)
    {
        struct policy_claim *one = &list[count++];
        *one = (struct policy_claim){.name = str_from(name)};
        if (json_is_string(value)) {
            one->kind = POLICY_CLAIM_STRING;
            one->text =
                str_make(json_string_value(value), json_string_length(value));
        } else if (json_is_array(value)) {
            one->kind = POLICY_CLAIM_SET;
            one->items = names_in(r, value, &one->item_count);
        } else {
            one->kind =
                json_is_boolean(value) ? POLICY_CLAIM_BOOL : POLICY_CLAIM_LONG;
            one->number = json_is_boolean(value) ? json_is_true(value)
                                                 : json_integer_value(value);
        }
    }
    q->claims = list;
    q->claim_count = count;
}

static void read_context(struct redecision *r, const json_t *context)
{
    struct policy_question *q = &r->question;
    const json_t *auth = json_object_get(context, "auth"),
                 *request = json_object_get(context, "request"),
                 *input = json_object_get(context, "input"),
                 *time = json_object_get(context, "time");

    q->auth_method = redecide_text(auth, "method");
    q->key = redecide_text(auth, "key");
    q->issuer = redecide_text(auth, "issuer");
    q->client = redecide_text(auth, "client");
    q->groups = names_in(r, json_object_get(auth, "groups"), &q->group_count);
    q->teams =
        names_in(r, json_object_get(r->entry, "groupTeams"), &q->team_count);
    read_chain(r, context);
    read_claims(r, json_object_get(context, "claims"));
    q->route = redecide_text(request, "route");
    q->dialect = redecide_text(request, "dialect");
    q->stream = json_is_true(json_object_get(request, "stream"));
    q->is_holiday = json_is_true(json_object_get(time, "isHoliday"));
    q->input_tokens = whole_of(input, "tokens", 0);
    q->input_bytes = whole_of(input, "bytes", 0);
    q->messages = whole_of(input, "messages", 0);
    q->images = whole_of(input, "images", 0);
    q->audios = whole_of(input, "audios", 0);
    q->tools = names_in(r, json_object_get(input, "tools"), &q->tool_count);
    read_params(json_object_get(context, "params"), q);
}

/* The address, if it may be opened and its key is still there. */
static void open_address(struct redecision *r)
{
    const json_t *sealed = json_object_get(r->entry, "sealed");
    struct admin_call *call = r->call;
    struct replayed_question question = {.id = redecide_text(r->entry, "id"),
        .sealed_key = redecide_text(sealed, "key"),
        .sealed_box = redecide_text(sealed, "box")};
    char address[REPLAYED_ADDRESS_MAX];
    struct seal_key key = {0};
    struct crypto_aead *aead = crypto_aead_new();
    enum err err;

    control_lock(call->control);
    err = keyring_find(
        control_keyring(call->control), question.sealed_key, &key, NULL);
    control_unlock(call->control);
    if (!err && aead &&
        replayed_question_address(&question, aead, &key, address))
        r->address = arena_cstr(call->arena, str_from(address));
    else
        redecide_cannot(r,
            "inputs erased: the key of the sealed box (%.*s) is gone, and with "
            "it the address",
            STR_ARG(question.sealed_key));
    crypto_wipe(&key, sizeof key);
    crypto_aead_free(&aead);
}

enum err redecide_load_question(struct redecision *r)
{
    const json_t *context = json_object_get(r->entry, "context");
    struct policy_question *q = &r->question;
    struct str now =
        argument_of(json_object_get(json_object_get(context, "time"), "now"));
    const char *zone = past_setting(&r->past, "zone", "UTC");

    if (json_object_size(context) == 0 ||
        clock_parse(now, &q->now_us) != ERR_OK) {
        redecide_cannot(r, "the request was refused before any rule was asked");
        return ERR_NOTFOUND;
    }
    clock_zone_free(&r->zone);
    if (clock_zone_load(zone, &r->zone, &r->call->info) != ERR_OK) {
        redecide_cannot(
            r, "the zone %s that was set then is not known here", zone);
        return ERR_NOTFOUND;
    }
    q->caller = redecide_text(r->entry, "caller");
    q->action = redecide_text(r->entry, "action");
    q->zone = r->zone;
    read_context(r, context);
    if (r->names_address && r->open_sealed && !r->address)
        open_address(r);
    q->address = str_from(r->address);
    if (!r->workspace)
        r->workspace = policy_workspace_new();
    if (!r->workspace || !q->tools || !q->groups || !q->teams)
        return ERR_NOMEM;
    return policy_decide_begin(r->workspace, r->set, r->entities, q);
}

void redecide_inputs_fini(struct redecision *r)
{
    policy_workspace_free(&r->workspace);
    policy_entities_free(&r->entities);
    policy_set_free(&r->set);
    clock_zone_free(&r->zone);
}
