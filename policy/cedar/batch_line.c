/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/batch_line.c - one line of the batch protocol to its reply.
 *
 * The stages are tried in order: line, policies, schema, entities; the first
 * that fails is the reply. Requests fail one by one. */
#include "policy/cedar/ast.h"
#include "policy/cedar/batch_priv.h"
#include "policy/cedar/json_entities.h"
#include "policy/cedar/json_policy.h"
#include "policy/cedar/schema.h"
#include "policy/cedar/validate.h"
#include "lib/json_write.h"

#include <stdarg.h>
#include <stdio.h>

/* Places of the members in the document; JSON_NONE where absent. */
enum member {
    MEMBER_ID,
    MEMBER_POLICIES,
    MEMBER_LINKS,
    MEMBER_SCHEMA,
    MEMBER_ENTITIES,
    MEMBER_REQUESTS,
    MEMBER_VALIDATE,
    MEMBERS
};

static const char *const member_names[MEMBERS] = {
    "id", "policies", "links", "schema", "entities", "requests", "validate"};

struct line {
    struct batch *batch;
    struct batch_document document;
    const struct json *json;
    uint32_t at[MEMBERS];
    struct str id;       /* as JSON */
    const char *stage;   /* where it failed */
    struct errinfo info; /* why */
    struct str policy_text;
    struct cedar_policies *policies;
    struct cedar_schema *schema;
    struct cedar_entities *entities;
};

/* --- Writing --- */

void batch_write_error(
    struct batch *batch, struct str id, const char *stage, const char *message)
{
    struct buf *out = &batch->reply;
    buf_append_str(out, STR("{\"id\":"));
    buf_append_str(out, id);
    buf_append_str(out, STR(",\"error\":{\"stage\":"));
    json_quote(out, str_from(stage));
    buf_append_str(out, STR(",\"message\":"));
    json_quote(out, str_from(message));
    buf_append_str(out, STR("}}"));
}

static void write_request_error(struct buf *out, const struct errinfo *info)
{
    buf_append_str(out, STR("{\"error\":{\"stage\":\"request\",\"message\":"));
    json_quote(out, str_from(info->text[0] ? info->text : "out of memory"));
    buf_append_str(out, STR("}}"));
}

static void write_policy_id(
    struct buf *out, const struct line *line, uint32_t index, bool first)
{
    if (!first) {
        buf_append_char(out, ',');
    }
    json_quote(out, cedar_policy_id(cedar_policies_at(line->policies, index)));
}

static void write_answer(
    struct buf *out, const struct line *line, const struct cedar_answer *answer)
{
    buf_append_str(out, answer->decision == CEDAR_ALLOW
                            ? STR("{\"decision\":\"allow\",\"reason\":[")
                            : STR("{\"decision\":\"deny\",\"reason\":["));
    for (size_t i = 0; i < answer->reason_count; i++) {
        write_policy_id(out, line, answer->reasons[i], i == 0);
    }
    buf_append_str(out, STR("],\"errors\":["));
    for (size_t i = 0; i < answer->failure_count; i++) {
        write_policy_id(out, line, answer->failures[i].policy, i == 0);
    }
    buf_append_str(out, STR("]}"));
}

/* --- Stage: line --- */

static enum err fail_line(struct line *line, const char *format, ...)
    PRINTFLIKE(2, 3);
static enum err fail_line(struct line *line, const char *format, ...)
{
    va_list args;
    line->stage = "line";
    line->info.code = ERR_SYNTAX;
    va_start(args, format);
    vsnprintf(line->info.text, sizeof(line->info.text), format, args);
    va_end(args);
    return ERR_SYNTAX;
}

static bool has(const struct line *line, enum member member)
{
    return line->at[member] != JSON_NONE;
}

static enum json_type type_of(const struct line *line, enum member member)
{
    return json_type(line->json, line->at[member]);
}

static bool is_bad(const struct line *line, unsigned part)
{
    return (line->document.bad & part) != 0;
}

static enum err find_members(struct line *line)
{
    for (int i = 0; i < MEMBERS; i++) {
        line->at[i] = JSON_NONE;
    }
    if (json_type(line->json, 0) != JSON_OBJECT) {
        return fail_line(line, "a line has to be a JSON object, not %s",
            json_type_name(json_type(line->json, 0)));
    }
    uint32_t id = json_find(line->json, 0, STR("id"));
    if (id != JSON_NONE && json_type(line->json, id) == JSON_STRING) {
        line->id = json_span(line->json, id);
    }
    for (JSON_EACH_MEMBER(line->json, 0, key)) {
        int i = 0;
        while (i < MEMBERS && !json_string_equals(
                                  line->json, key, str_from(member_names[i]))) {
            i++;
        }
        if (i == MEMBERS) {
            return fail_line(line, "the key \"%.*s\" is not known",
                STR_ARG(json_raw(line->json, key)));
        }
        line->at[i] = key + 1;
    }
    return ERR_OK;
}

static enum err check_type(struct line *line, enum member member,
    enum json_type type, enum json_type other, bool null_ok)
{
    if (!has(line, member)) {
        return ERR_OK;
    }
    enum json_type actual = type_of(line, member);
    if (actual == type || actual == other || (null_ok && actual == JSON_NULL)) {
        return ERR_OK;
    }
    return fail_line(line, "\"%s\" has to be %s, not %s", member_names[member],
        json_type_name(type), json_type_name(actual));
}

static enum err check_line(struct line *line)
{
    enum err err = find_members(line);
    if (err == ERR_OK &&
        (!has(line, MEMBER_ID) || type_of(line, MEMBER_ID) != JSON_STRING)) {
        err = fail_line(line, "\"id\" is missing or no string");
    }
    if (err == ERR_OK && !has(line, MEMBER_POLICIES)) {
        err = fail_line(line, "\"policies\" is missing");
    }
    bool bad = is_bad(line, BATCH_BAD_POLICIES);
    if (err == ERR_OK) {
        err = check_type(line, MEMBER_POLICIES, JSON_STRING, JSON_OBJECT, bad);
    }
    if (err == ERR_OK) {
        err = check_type(line, MEMBER_LINKS, JSON_ARRAY, JSON_ARRAY, bad);
    }
    if (err == ERR_OK) {
        err = check_type(line, MEMBER_SCHEMA, JSON_STRING, JSON_OBJECT, true);
    }
    if (err == ERR_OK) {
        err = check_type(line, MEMBER_ENTITIES, JSON_ARRAY, JSON_ARRAY,
            is_bad(line, BATCH_BAD_ENTITIES));
    }
    if (err == ERR_OK) {
        err = check_type(line, MEMBER_REQUESTS, JSON_ARRAY, JSON_ARRAY, false);
    }
    if (err == ERR_OK) {
        err = check_type(line, MEMBER_VALIDATE, JSON_TRUE, JSON_FALSE, false);
    }
    return err;
}

static bool wants_validation(const struct line *line)
{
    return has(line, MEMBER_VALIDATE) &&
           type_of(line, MEMBER_VALIDATE) == JSON_TRUE;
}

static bool has_schema(const struct line *line)
{
    return has(line, MEMBER_SCHEMA) &&
           (type_of(line, MEMBER_SCHEMA) != JSON_NULL ||
               is_bad(line, BATCH_BAD_SCHEMA));
}

static enum err check_task(struct line *line)
{
    if (!has(line, MEMBER_REQUESTS) && !wants_validation(line)) {
        return fail_line(line,
            "there is nothing to do: neither \"requests\" nor \"validate\": "
            "true");
    }
    if (wants_validation(line) && !has_schema(line)) {
        return fail_line(line, "\"validate\" needs a \"schema\"");
    }
    return ERR_OK;
}

/* --- Stages: policies, schema, entities --- */

/* The first finding becomes the message. */
static void take_diagnostic(
    struct line *line, struct cedar_diagnostics *diagnostics)
{
    if (diagnostics->count > 0) {
        const struct cedar_diagnostic *d = &diagnostics->items[0];
        if (d->line > 0) {
            errinfo_set(&line->info, ERR_SYNTAX, "line %d, column %d: %s",
                d->line, d->column, d->text);
        } else {
            errinfo_set(&line->info, ERR_SYNTAX, "%s", d->text);
        }
    }
    cedar_diagnostics_fini(diagnostics);
}

static enum err read_policy_text(
    struct line *line, struct cedar_builder *builder)
{
    struct cedar_diagnostics diagnostics = {0};
    enum err err = json_text(line->json, line->at[MEMBER_POLICIES],
        line->batch->arena, &line->policy_text);
    if (err == ERR_OK) {
        err = cedar_builder_add_text(
            builder, line->policy_text, 0, NULL, &diagnostics);
    }
    take_diagnostic(line, &diagnostics);
    return err;
}

static enum err read_policies(struct line *line)
{
    struct cedar_builder *builder = NULL;
    line->stage = "policies";
    if (is_bad(line, BATCH_BAD_POLICIES)) {
        return errinfo_set(
            &line->info, ERR_SYNTAX, "%s", line->document.bad_reason);
    }
    enum err err = cedar_builder_new(&builder);
    if (err == ERR_OK && type_of(line, MEMBER_POLICIES) == JSON_STRING) {
        err = read_policy_text(line, builder);
    } else if (err == ERR_OK) {
        err = cedar_json_policy_set_read(
            builder, line->json, line->at[MEMBER_POLICIES], &line->info);
    }
    if (err == ERR_OK && has(line, MEMBER_LINKS)) {
        err = cedar_json_links_read(
            builder, line->json, line->at[MEMBER_LINKS], &line->info);
    }
    if (err == ERR_OK) {
        return cedar_builder_finish(&builder, &line->policies);
    }
    cedar_builder_free(&builder);
    return err;
}

static enum err read_schema(struct line *line)
{
    struct cedar_diagnostics diagnostics = {0};
    line->stage = "schema";
    if (!has_schema(line)) {
        return ERR_OK;
    }
    if (is_bad(line, BATCH_BAD_SCHEMA)) {
        return errinfo_set(
            &line->info, ERR_SYNTAX, "%s", line->document.bad_reason);
    }
    enum err err;
    if (type_of(line, MEMBER_SCHEMA) == JSON_STRING) {
        struct str text;
        err = json_text(
            line->json, line->at[MEMBER_SCHEMA], line->batch->arena, &text);
        if (err == ERR_OK) {
            err = cedar_schema_parse(text, &diagnostics, &line->schema);
        }
    } else {
        err = cedar_schema_from_json(
            line->json, line->at[MEMBER_SCHEMA], &diagnostics, &line->schema);
    }
    take_diagnostic(line, &diagnostics);
    return err;
}

static enum err no_entities(struct line *line)
{
    static const struct json_token empty = {
        .type = JSON_ARRAY, .start = 0, .end = 2, .next = 1, .count = 0};
    static const struct json none = {
        .text = STR_INIT("[]"), .tokens = &empty, .count = 1};
    return cedar_json_entities(
        &none, 0, line->schema, &line->entities, &line->info);
}

static enum err read_entities(struct line *line)
{
    line->stage = "entities";
    if (!has(line, MEMBER_REQUESTS)) {
        return ERR_OK;
    }
    if (is_bad(line, BATCH_BAD_ENTITIES)) {
        return errinfo_set(
            &line->info, ERR_SYNTAX, "%s", line->document.bad_reason);
    }
    if (!has(line, MEMBER_ENTITIES)) {
        return no_entities(line);
    }
    return cedar_json_entities(line->json, line->at[MEMBER_ENTITIES],
        line->schema, &line->entities, &line->info);
}

/* --- Requests --- */

enum request_member {
    REQUEST_PRINCIPAL,
    REQUEST_ACTION,
    REQUEST_RESOURCE,
    REQUEST_CONTEXT,
    REQUEST_VALIDATE,
    REQUEST_MEMBERS
};

static const char *const request_names[REQUEST_MEMBERS] = {
    "principal", "action", "resource", "context", "validate_request"};

static enum err find_request_members(
    struct line *line, uint32_t at, uint32_t *places)
{
    const struct json *json = line->json;
    if (json_type(json, at) != JSON_OBJECT) {
        return errinfo_set(&line->info, ERR_SYNTAX,
            "a request has to be an object, not %s",
            json_type_name(json_type(json, at)));
    }
    for (int i = 0; i < REQUEST_MEMBERS; i++) {
        places[i] = json_find(json, at, str_from(request_names[i]));
        if (i <= REQUEST_RESOURCE && places[i] == JSON_NONE) {
            return errinfo_set(&line->info, ERR_SYNTAX,
                "the key \"%s\" is missing", request_names[i]);
        }
    }
    for (JSON_EACH_MEMBER(json, at, key)) {
        bool known = false;
        for (int i = 0; !known && i < REQUEST_MEMBERS; i++) {
            known = json_string_equals(json, key, str_from(request_names[i]));
        }
        if (!known) {
            return errinfo_set(&line->info, ERR_SYNTAX,
                "the key \"%.*s\" is not known", STR_ARG(json_raw(json, key)));
        }
    }
    uint32_t flag = places[REQUEST_VALIDATE];
    if (flag != JSON_NONE && json_type(json, flag) != JSON_TRUE &&
        json_type(json, flag) != JSON_FALSE) {
        return errinfo_set(&line->info, ERR_SYNTAX,
            "\"validate_request\" has to be true or false");
    }
    uint32_t context = places[REQUEST_CONTEXT];
    if (context != JSON_NONE && json_type(json, context) != JSON_OBJECT) {
        return errinfo_set(
            &line->info, ERR_SYNTAX, "\"context\" has to be an object");
    }
    return ERR_OK;
}

static enum err read_context(struct line *line, uint32_t at,
    const struct cedar_action *action, const struct cedar_record **out)
{
    *out = &cedar_record_empty;
    const struct cedar_type *type = action ? action->context : NULL;
    if (at != JSON_NONE) {
        return cedar_json_context(
            line->json, at, type, line->batch->arena, out, &line->info);
    }
    for (uint32_t i = 0; type && i < type->count; i++) {
        if (type->attributes[i].required) {
            return errinfo_set(&line->info, ERR_INVALID,
                "context: the attribute `%.*s` is missing",
                STR_ARG(cedar_key_str(type->attributes[i].key)));
        }
    }
    return ERR_OK;
}

static enum err read_request(struct line *line, uint32_t at,
    struct cedar_uid *uids, struct cedar_request *out)
{
    uint32_t places[REQUEST_MEMBERS];
    const struct cedar_action *action = NULL;
    enum err err = find_request_members(line, at, places);
    for (int i = 0; err == ERR_OK && i <= REQUEST_RESOURCE; i++) {
        err = cedar_json_ref_or_text(
            line->json, places[i], line->batch->arena, &uids[i], &line->info);
        if (err != ERR_OK) {
            return errinfo_prefix(&line->info, err, "%s", request_names[i]);
        }
    }
    if (err == ERR_OK && line->schema) {
        action = cedar_schema_action(line->schema, &uids[REQUEST_ACTION]);
        if (!action) {
            err = errinfo_set(&line->info, ERR_INVALID,
                "the schema declares no action %.*s::\"%.*s\"",
                STR_ARG(uids[REQUEST_ACTION].type),
                STR_ARG(uids[REQUEST_ACTION].id));
        }
    }
    if (err == ERR_OK) {
        err =
            read_context(line, places[REQUEST_CONTEXT], action, &out->context);
    }
    if (err != ERR_OK) {
        return err;
    }
    out->principal = &uids[REQUEST_PRINCIPAL];
    out->action = &uids[REQUEST_ACTION];
    out->resource = &uids[REQUEST_RESOURCE];
    bool validate =
        places[REQUEST_VALIDATE] == JSON_NONE ||
        json_type(line->json, places[REQUEST_VALIDATE]) == JSON_TRUE;
    return line->schema && validate
               ? cedar_check_request(line->schema, out, &line->info)
               : ERR_OK;
}

static void answer_request(struct line *line, uint32_t at)
{
    struct buf *out = &line->batch->reply;
    struct cedar_uid uids[3];
    struct cedar_request request = {0};
    struct cedar_answer answer;
    line->info = (struct errinfo){0};
    enum err err = read_request(line, at, uids, &request);
    if (err == ERR_OK) {
        err = cedar_authorize(line->policies, line->entities, &request,
            line->batch->scratch, &answer);
    }
    if (err == ERR_OK) {
        write_answer(out, line, &answer);
    } else {
        write_request_error(out, &line->info);
    }
}

static void answer_requests(struct line *line)
{
    struct buf *out = &line->batch->reply;
    bool first = true;
    buf_append_str(out, STR(",\"results\":["));
    for (JSON_EACH_ELEMENT(line->json, line->at[MEMBER_REQUESTS], item)) {
        if (!first) {
            buf_append_char(out, ',');
        }
        first = false;
        answer_request(line, item);
    }
    buf_append_char(out, ']');
}

/* --- Validation --- */

static void write_findings(
    struct buf *out, const struct cedar_diagnostics *findings)
{
    bool first = true;
    buf_append_str(out, STR(",\"findings\":["));
    for (size_t i = 0; i < findings->count; i++) {
        const struct cedar_diagnostic *d = &findings->items[i];
        if (d->severity != CEDAR_ERROR) {
            continue;
        }
        buf_append_str(out, first ? STR("{\"policy\":") : STR(",{\"policy\":"));
        first = false;
        json_quote(out, str_from(d->policy ? d->policy : ""));
        buf_append_str(out, STR(",\"message\":"));
        struct buf text;
        buf_init(&text, ERRINFO_MAX * 4);
        if (d->line > 0) {
            buf_printf(&text, "line %d, column %d: ", d->line, d->column);
        }
        buf_append_str(&text, str_from(d->text));
        json_quote(out, buf_str(&text));
        buf_fini(&text);
        buf_append_char(out, '}');
    }
    buf_append_char(out, ']');
}

static enum err answer_validation(struct line *line)
{
    struct buf *out = &line->batch->reply;
    struct cedar_diagnostics findings = {0};
    enum err err = cedar_validate(
        line->policies, line->schema, line->policy_text, &findings);
    if (err == ERR_OK && findings.errors == 0) {
        buf_append_str(out, STR(",\"valid\":true"));
    } else if (err == ERR_OK) {
        buf_append_str(out, STR(",\"valid\":false"));
        write_findings(out, &findings);
    }
    cedar_diagnostics_fini(&findings);
    return err;
}

/* --- The line --- */

static enum err prepare(struct line *line, struct str text)
{
    const char *reason = "";
    line->stage = "line";
    enum err err = batch_document_parse(
        line->batch->arena, text, &line->document, &reason);
    if (err == ERR_SYNTAX) {
        return fail_line(line, "not JSON: %s", reason);
    }
    if (err == ERR_OK) {
        line->json = &line->document.json;
        err = check_line(line);
    }
    if (err == ERR_OK) {
        err = check_task(line);
    }
    if (err == ERR_OK) {
        err = read_policies(line);
    }
    if (err == ERR_OK) {
        err = read_schema(line);
    }
    if (err == ERR_OK) {
        err = read_entities(line);
    }
    return err;
}

void batch_answer_line(struct batch *batch, struct str text)
{
    struct line line = {.batch = batch, .id = STR("null"), .stage = "line"};
    arena_reset(batch->arena);
    enum err err = prepare(&line, text);
    if (err == ERR_OK) {
        buf_append_str(&batch->reply, STR("{\"id\":"));
        buf_append_str(&batch->reply, line.id);
        if (wants_validation(&line)) {
            err = answer_validation(&line);
        }
        if (err == ERR_OK && has(&line, MEMBER_REQUESTS)) {
            answer_requests(&line);
        }
        buf_append_char(&batch->reply, '}');
    }
    if (err != ERR_OK) {
        buf_clear(&batch->reply);
        batch_write_error(batch, line.id, line.stage,
            line.info.text[0] ? line.info.text : "out of memory");
    }
    cedar_entities_free(&line.entities);
    cedar_schema_free(&line.schema);
    cedar_policies_free(&line.policies);
}
