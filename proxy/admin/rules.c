/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/rules.c - a text of rules before it is stored: compiled, every
 * entity that it names looked up in the rows, handles of callers replaced by
 * their ids. Findings are "rules.cedar:LINE:COLUMN: what; remedy". */
#include "proxy/admin/admin_priv.h"

#include "policy/decide.h"

#include <stdlib.h>

#define RULES_MAX (4u << 20)
#define FINDINGS_MAX (1u << 20)

struct entity_type {
    const char *name;
    const char *what; /* for people */
    const char *one_sql, *list_sql;
};

/* Callers and Actions are looked up apart; tools have no register yet. */
static const struct entity_type types[] = {
    {"Team", "team", "SELECT 1 FROM team WHERE name = ?1",
        "SELECT name FROM team"},
    {"Model", "model", "SELECT 1 FROM model WHERE name = ?1",
        "SELECT name FROM model"},
    {"ModelGroup", "model group", "SELECT 1 FROM model_group WHERE name = ?1",
        "SELECT name FROM model_group"},
    {"Engine", "engine", "SELECT 1 FROM engine WHERE name = ?1",
        "SELECT name FROM engine"},
    {"Caller", "caller", NULL, NULL},
    {"Action", "action", NULL, NULL},
    {"Tool", "tool", NULL, NULL},
};
#define TYPE_COUNT (sizeof types / sizeof types[0])

static const struct str actions[] = {STR_INIT("chat"), STR_INIT("complete"),
    STR_INIT("embed"), STR_INIT("rerank"), STR_INIT("transcribe"),
    STR_INIT("translateAudio"), STR_INIT("speak"), STR_INIT("generateImage"),
    STR_INIT("moderate"), STR_INIT("countTokens"), STR_INIT("listModels"),
    STR_INIT("deliver"), STR_INIT("infer"), STR_INIT("read")};
#define ACTION_COUNT (sizeof actions / sizeof actions[0])

struct checking {
    struct admin_call *call;
    const char *name;
    struct str text;
    struct buf *findings;
    struct buf *out; /* the text with ids for handles */
    size_t copied;   /* of text, into out */
    enum err err;
};

static void finding(struct checking *c, const struct policy_literal *literal,
    const char *format, ...) PRINTFLIKE(3, 4);
static void finding(struct checking *c, const struct policy_literal *literal,
    const char *format, ...)
{
    char text[ERRINFO_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    buf_printf(c->findings, "%s:%d:%d: %s\n", c->name, literal->line,
        literal->column, text);
}

/* The words that admin_need left in call->info, as a finding. */
static void finding_of_info(
    struct checking *c, const struct policy_literal *literal)
{
    finding(c, literal, "%s", c->call->info.text);
    c->call->info.text[0] = '\0';
    c->call->info.code = ERR_OK;
}

static void check_caller(
    struct checking *c, const struct policy_literal *literal)
{
    struct str id;
    enum err err = admin_resolve_person(c->call, "cal_", literal->id, &id);

    if (err == ERR_NOTFOUND) {
        finding_of_info(c, literal);
        return;
    }
    if (err) {
        c->err = err;
        return;
    }
    if (str_equal(id, literal->id) || literal->offset < c->copied)
        return;
    buf_append(c->out, c->text.ptr + c->copied, literal->offset - c->copied);
    buf_printf(c->out, "Caller::\"%.*s\"", STR_ARG(id));
    c->copied = literal->offset + literal->length;
}

static void check_action(
    struct checking *c, const struct policy_literal *literal)
{
    struct str near;

    for (size_t i = 0; i < ACTION_COUNT; i++)
        if (str_equal(actions[i], literal->id))
            return;
    near = str_suggest(literal->id, actions, ACTION_COUNT);
    if (near.len > 0)
        finding(c, literal,
            "there is no action \"%.*s\"; did you mean \"%.*s\"?",
            STR_ARG(literal->id), STR_ARG(near));
    else
        finding(
            c, literal, "there is no action \"%.*s\"", STR_ARG(literal->id));
}

static void check_alias(
    struct checking *c, const struct policy_literal *literal)
{
    struct str model;

    if (admin_resolve_model(c->call, literal->id, &model) == ERR_OK &&
        !str_equal(model, literal->id)) {
        finding(c, literal,
            "\"%.*s\" is an alias; rules name the model itself: "
            "Model::\"%.*s\"",
            STR_ARG(literal->id), STR_ARG(model));
        return;
    }
    finding_of_info(c, literal);
}

static void check_literal(void *context, const struct policy_literal *literal)
{
    struct checking *c = context;
    const struct entity_type *type = NULL;
    struct str names[TYPE_COUNT], near;
    enum err err;

    if (c->err)
        return;
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        names[i] = str_from(types[i].name);
        if (str_equal(names[i], literal->type))
            type = &types[i];
    }
    if (!type) {
        near = str_suggest(literal->type, names, TYPE_COUNT);
        finding(c, literal, "there is no entity type \"%.*s\"%s%.*s%s",
            STR_ARG(literal->type), near.len > 0 ? "; did you mean \"" : "",
            STR_ARG(near), near.len > 0 ? "\"?" : "");
        return;
    }
    if (strcmp(type->name, "Caller") == 0) {
        check_caller(c, literal);
    } else if (strcmp(type->name, "Action") == 0) {
        check_action(c, literal);
    } else if (type->one_sql) {
        err = admin_need(c->call, c->call->db, type->what, type->one_sql,
            type->list_sql, literal->id);
        if (err == ERR_NOTFOUND && strcmp(type->name, "Model") == 0)
            check_alias(c, literal);
        else if (err == ERR_NOTFOUND)
            finding_of_info(c, literal);
        else if (err)
            c->err = err;
    }
}

static json_t *lines_of(struct str text)
{
    json_t *lines = json_array();
    struct str line;

    while (text.len > 0) {
        str_split(text, '\n', &line, &text);
        if (line.len > 0)
            json_array_append_new(lines, admin_text(line));
    }
    return lines;
}

enum err rules_prepare(struct admin_call *call, struct str text,
    const char *name, struct rules *out)
{
    struct buf findings, rewritten;
    struct checking c = {.call = call,
        .name = name,
        .text = text,
        .findings = &findings,
        .out = &rewritten};
    enum err err;

    memset(out, 0, sizeof *out);
    buf_init(&findings, FINDINGS_MAX);
    buf_init(&rewritten, RULES_MAX);
    err = policy_set_compile(text, name, &out->set, &findings, &call->info);
    if (err) {
        /* Bad rules speak through the findings; anything else is an error. */
        if (findings.len > 0 || err == ERR_SYNTAX || err == ERR_INVALID) {
            if (findings.len == 0)
                buf_printf(&findings, "%s:1:1: %s\n", name,
                    call->info.text[0] ? call->info.text : err_name(err));
            err = ERR_OK;
            call->info.text[0] = '\0';
        }
        out->text = text;
        goto out;
    }
    policy_set_each_literal(out->set, check_literal, &c);
    err = c.err;
    if (!err && c.copied > 0) {
        buf_append(&rewritten, text.ptr + c.copied, text.len - c.copied);
        out->text = rewritten.failed
                        ? str_make(NULL, 0)
                        : arena_copy(call->arena, buf_str(&rewritten));
        if (!out->text.ptr)
            err = ERR_NOMEM;
        /* What decides is compiled from what is stored. */
        policy_set_free(&out->set);
        if (!err)
            err = policy_set_compile(
                out->text, name, &out->set, &findings, &call->info);
    } else {
        out->text = text;
    }
out:
    if (!err)
        out->findings = lines_of(buf_str(&findings));
    else
        policy_set_free(&out->set);
    buf_fini(&findings);
    buf_fini(&rewritten);
    return err;
}

void rules_fini(struct rules *rules)
{
    policy_set_free(&rules->set);
    json_decref(rules->findings);
    rules->findings = NULL;
}

enum err rules_refuse(struct admin_call *call, const struct rules *rules)
{
    json_t *errors;
    size_t count = json_array_size(rules->findings);
    struct buf detail;

    if (count == 0)
        return ERR_OK;
    errors = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *error = json_object();
        admin_set_text(error, "field", STR("text"));
        admin_set(
            error, "message", json_incref(json_array_get(rules->findings, i)));
        json_array_append_new(errors, error);
    }
    buf_init(&detail, 4096);
    buf_printf(&detail,
        "the rules are not good (%zu finding%s); nothing was "
        "changed. %s",
        count, count == 1 ? "" : "s",
        json_string_value(json_array_get(rules->findings, 0)));
    admin_problem_with(call, 400, "invalid-rules", errors, buf_cstr(&detail));
    buf_fini(&detail);
    return ERR_INVALID;
}

/* --- For people ------------------------------------------------------ */

static void show_literal(void *context, const struct policy_literal *literal)
{
    struct checking *c = context;
    struct str handle;

    if (!str_equal(literal->type, STR("Caller")) || literal->offset < c->copied)
        return;
    handle = admin_handle_of(c->call, literal->id);
    if (handle.len == 0)
        return;
    buf_append(c->out, c->text.ptr + c->copied, literal->offset - c->copied);
    buf_printf(c->out, "Caller::\"%.*s\"", STR_ARG(handle));
    c->copied = literal->offset + literal->length;
}

struct str rules_shown(struct admin_call *call, struct str text)
{
    struct policy_set *set = NULL;
    struct buf findings, shown;
    struct checking c = {.call = call, .text = text, .out = &shown};
    struct str out = text;

    buf_init(&findings, FINDINGS_MAX);
    buf_init(&shown, RULES_MAX);
    if (policy_set_compile(text, "rules.cedar", &set, &findings, NULL) ==
        ERR_OK) {
        policy_set_each_literal(set, show_literal, &c);
        if (c.copied > 0) {
            buf_append(&shown, text.ptr + c.copied, text.len - c.copied);
            if (!shown.failed)
                out = arena_copy(call->arena, buf_str(&shown));
        }
    }
    policy_set_free(&set);
    buf_fini(&findings);
    buf_fini(&shown);
    return out.ptr ? out : text;
}
