/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/onboard.c - day one of a caller, all or nothing, in eight steps:
 * 1 the team (made where it is not there), 2 the caller, 3 membership, 4 the
 * models looked up, 5 what the rules already permit, 6 a rule for what they do
 * not (this caller alone; activated, or submitted where approvals are
 * required), 7 the quota, 8 a key, shown once. */
#include "proxy/admin/admin_priv.h"

#include "lib/json_write.h"

#define MODELS_MAX 64

struct onboard_body {
    struct str handle, name, kind, team, label;
    struct admin_names models;
    int64_t tokens_per_day, requests_per_minute, expires;
};

struct onboarding {
    struct admin_call *call;
    const struct onboard_body *body;
    struct str id;
    struct str models[MODELS_MAX]; /* registered names */
    size_t model_count;
    struct str closed[MODELS_MAX]; /* not permitted yet */
    size_t closed_count;
    unsigned changed;
    int64_t version;
    bool activated;
    json_t *steps;
};

static void step(struct onboarding *o, const char *format, ...)
    PRINTFLIKE(2, 3);
static void step(struct onboarding *o, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    json_array_append_new(o->steps, admin_text(str_from(text)));
}

static enum err find_team(struct onboarding *o)
{
    struct admin_call *call = o->call;
    bool exists;
    enum err err = admin_exists(call, call->db,
        "SELECT 1 FROM team WHERE name = ?1", o->body->team, &exists);

    if (!err && !exists)
        err = admin_add_team(call, o->body->team, STR(""), STR(""));
    if (!err)
        step(o, "team %.*s: %s", STR_ARG(o->body->team),
            exists ? "is there" : "made");
    return err;
}

static enum err add_caller(struct onboarding *o)
{
    struct str team = o->body->team;
    const struct admin_new_caller caller = {
        .handle = o->body->handle,
        .name = o->body->name,
        .kind = o->body->kind,
        .teams = {&team, 1},
    };
    enum err err = admin_add_caller(o->call, &caller, &o->id);

    if (err)
        return err;
    step(o, "caller %.*s: made (%.*s)", STR_ARG(o->body->handle),
        STR_ARG(o->id));
    step(o, "membership: in team %.*s", STR_ARG(team));
    return ERR_OK;
}

static enum err find_models(struct onboarding *o)
{
    enum err err = ERR_OK;

    if (o->body->models.count > MODELS_MAX)
        return FAIL(o->call, ERR_LIMIT,
            "models: at most %d at once; put them into a group and write one "
            "rule for it",
            MODELS_MAX);
    for (size_t i = 0; i < o->body->models.count && !err; i++) {
        struct str name;
        bool permitted = false;

        err = admin_resolve_model(o->call, o->body->models.items[i], &name);
        if (!err)
            err = admin_is_permitted(
                o->call, o->id, STR("chat"), name, &permitted);
        if (err)
            break;
        o->models[o->model_count++] = name;
        if (!permitted)
            o->closed[o->closed_count++] = name;
    }
    if (!err && o->model_count > 0) {
        step(o, "models: %zu found", o->model_count);
        step(o, "rules: %zu of them are open to this caller already",
            o->model_count - o->closed_count);
    }
    return err;
}

static void write_rule(struct onboarding *o, struct buf *text)
{
    struct str id = o->id;

    if (text->len > 0 && text->ptr[text->start + text->len - 1] != '\n')
        buf_append_char(text, '\n');
    /* No handle in it: rules are for ever, names can be erased. */
    buf_printf(text,
        "\n@id(\"onboard-%.*s\")\n"
        "@title(\"Models opened when %.*s was made a caller\")\n"
        "permit (\n"
        "    principal == Caller::\"%.*s\",\n"
        "    action in [Action::\"infer\", Action::\"read\"],\n"
        "    resource\n"
        ") when {\n"
        "    resource in [",
        STR_ARG(id), STR_ARG(id), STR_ARG(id));
    for (size_t i = 0; i < o->closed_count; i++) {
        buf_printf(text, "%sModel::", i > 0 ? ", " : "");
        json_quote(text, o->closed[i]);
    }
    buf_append_str(text, STR("]\n};\n"));
}

static enum err open_models(struct onboarding *o)
{
    struct admin_call *call = o->call;
    struct buf text;
    struct str active;
    struct rules rules = {0};
    int64_t version, required;
    enum err err;

    if (o->closed_count == 0) {
        step(o, "rules: nothing to add");
        return ERR_OK;
    }
    buf_init(&text, 4u << 20);
    err = admin_active_policy(call, &version, &active);
    if (err)
        goto out;
    buf_append_str(&text, active);
    write_rule(o, &text);
    if (text.failed) {
        err = ERR_NOMEM;
        goto out;
    }
    err = rules_prepare(call, buf_str(&text), "rules.cedar", &rules);
    if (!err)
        err = rules_refuse(call, &rules);
    if (!err)
        err = admin_put_policy(call, rules.text,
            str_from(arena_printf(
                call->arena, "onboarding of %.*s", STR_ARG(o->id))),
            &o->version);
    if (!err)
        err = admin_setting_int(call, "require_approvals", 0, &required);
    if (err)
        goto out;
    o->activated = required == 0;
    err = o->activated
              ? admin_activate_policy(call, o->version, STR("onboarding"))
              : admin_submit_policy(call, o->version, STR("onboarding"));
    if (o->activated)
        o->changed |= CHANGED_POLICY;
    if (!err)
        step(o,
            o->activated
                ? "rule onboard-%.*s: added for %zu model%s, version %lld is "
                  "active"
                : "rule onboard-%.*s: added for %zu model%s; version %lld is "
                  "submitted and waits for approval",
            STR_ARG(o->id), o->closed_count, o->closed_count == 1 ? "" : "s",
            (long long)o->version);
out:
    rules_fini(&rules);
    buf_fini(&text);
    return err;
}

static enum err set_quota(struct onboarding *o, const char *dimension,
    const char *window, int64_t amount)
{
    const struct admin_new_quota quota = {
        .scope = STR("caller"),
        .subject = o->id,
        .model = STR(""),
        .model_group = STR(""),
        .dimension = str_from(dimension),
        .window = str_from(window),
        .amount = amount,
        .warn_percent = -1,
    };
    struct str ignored;
    enum err err;

    if (amount < 0)
        return ERR_OK;
    err = admin_set_quota(o->call, &quota, &ignored);
    if (!err)
        step(o, "quota: %lld %s per %s", (long long)amount, dimension, window);
    return err;
}

static enum err run_steps(struct onboarding *o, json_t **key)
{
    const struct onboard_body *body = o->body;
    enum err err = find_team(o);

    if (!err)
        err = add_caller(o);
    if (!err)
        err = find_models(o);
    if (!err)
        err = open_models(o);
    if (!err)
        err = set_quota(o, "tokens", "day", body->tokens_per_day);
    if (!err)
        err = set_quota(o, "requests", "minute", body->requests_per_minute);
    if (!err)
        err = admin_issue_key(o->call,
            &(struct admin_new_key){.caller = o->id,
                .label = body->label,
                .expires_us = body->expires},
            key);
    if (!err)
        step(o, "key: issued, shown once");
    return err;
}

#define AT(member) offsetof(struct onboard_body, member)
enum err handle_onboard(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"handle", FIELD_NAME, true, AT(handle), 0, 0, NULL},
        {"name", FIELD_TEXT, false, AT(name), 0, 200, NULL},
        {"kind", FIELD_WORD, false, AT(kind), 0, 0, "person service"},
        {"team", FIELD_NAME, true, AT(team), 0, 0, NULL},
        {"models", FIELD_NAMES, false, AT(models), 0, 0, NULL},
        {"tokensPerDay", FIELD_INT, false, AT(tokens_per_day), 0,
            JSON_INTEGER_MAX, NULL},
        {"requestsPerMinute", FIELD_INT, false, AT(requests_per_minute), 0,
            JSON_INTEGER_MAX, NULL},
        {"label", FIELD_TEXT, false, AT(label), 0, 100, NULL},
        {"expires", FIELD_TIME, false, AT(expires), 0, 0, NULL},
    };
    struct onboard_body body = {
        .name = STR(""),
        .kind = STR("person"),
        .label = STR(""),
        .tokens_per_day = -1,
        .requests_per_minute = -1,
    };
    struct onboarding o = {.call = call, .body = &body};
    json_t *key = NULL, *answer;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (err || (err = admin_begin(call)))
        return err;
    o.steps = json_array();
    o.changed = CHANGED_DIRECTORY | CHANGED_KEYS | CHANGED_QUOTAS;
    err = run_steps(&o, &key);
    if (!err)
        err = admin_commit(call, o.changed);
    if (err) {
        json_decref(key);
        json_decref(o.steps);
        return err;
    }
    answer = json_object();
    admin_set_text(answer, "caller", o.id);
    admin_set_text(answer, "handle", body.handle);
    admin_set(answer, "key", key);
    if (o.version > 0) {
        admin_set_int(answer, "policyVersion", o.version);
        admin_set_bool(answer, "policyActive", o.activated);
    }
    admin_set(answer, "steps", o.steps);
    return admin_answer(call, 201, answer);
}
