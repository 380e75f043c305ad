/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/policy_authorize.c - one Cedar decision from files, with the
 * reason of each policy. Nothing of Bailiff's own rules about decisions. */
#include "policy/cedar/read.h"
#include "policy/cedar/json_entities.h"
#include "proxy/cli/policy_files.h"
#include "proxy/cli/policy_files_priv.h"

#include <stdlib.h>

#define SHOWN_MAX 200

struct deciding {
    struct cli *cli;
    struct cedar_policies *policies;
    struct cedar_schema *schema;
    struct cedar_entities *entities;
    struct cedar_scratch *scratch;
    struct cedar_uid uids[3];
    struct cedar_request request;
};

/* "FILE:3:14: ..", or "FILE: .." where the text is JSON but not right. */
static void say_of(const char *name, const char *text)
{
    bool placed = text[0] >= '0' && text[0] <= '9';
    cli_say(1, "%s:%s%s", name, placed ? "" : " ", text);
}

static bool read_entities(struct deciding *d)
{
    const char *path = cli_value(d->cli, "entities");
    struct errinfo info = {.text = "out of memory"};
    struct buf text;
    bool read = true;
    enum err err = ERR_OK;
    buf_init(&text, 1);
    if (path)
        read = policy_file_read(path, &text);
    if (read)
        err = cedar_read_entities(
            path ? buf_str(&text) : STR("[]"), d->schema, &d->entities, &info);
    if (err != ERR_OK)
        say_of(path ? policy_file_name(path) : "entities", info.text);
    buf_fini(&text);
    return read && err == ERR_OK;
}

static bool read_uid(struct deciding *d, const char *option, unsigned place)
{
    const char *text = cli_value(d->cli, option);
    struct errinfo info = {.text = "out of memory"};
    if (!text) {
        cli_usage(d->cli, "--%s is needed: TYPE::\"ID\"", option);
        return false;
    }
    if (cedar_uid_parse(
            d->cli->arena, str_from(text), &d->uids[place], &info) == ERR_OK)
        return true;
    cli_say(2, "--%s: %s; the quotation marks have to reach this program",
        option, info.text);
    return false;
}

static bool read_context(struct deciding *d)
{
    const char *path = cli_value(d->cli, "context");
    struct errinfo info = {.text = "out of memory"};
    struct buf text;
    enum err err = ERR_OK;
    if (!path)
        return true;
    if (policy_file_read(path, &text)) {
        err = cedar_read_context(buf_str(&text),
            d->schema ? cedar_schema_action(d->schema, &d->uids[1]) : NULL,
            d->cli->arena, &d->request.context, &info);
        if (err != ERR_OK)
            say_of(policy_file_name(path), info.text);
    } else {
        err = ERR_INVALID;
    }
    buf_fini(&text);
    return err == ERR_OK;
}

static bool read_request(struct deciding *d)
{
    static const char *const options[] = {"principal", "action", "resource"};
    struct errinfo info = {.text = "out of memory"};
    for (unsigned i = 0; i < 3; i++)
        if (!read_uid(d, options[i], i))
            return false;
    d->request = (struct cedar_request){
        &d->uids[0], &d->uids[1], &d->uids[2], &cedar_record_empty};
    if (!read_context(d))
        return false;
    if (d->schema &&
        cedar_check_request(d->schema, &d->request, &info) != ERR_OK) {
        cli_say(1, "the request: %s", info.text);
        return false;
    }
    return true;
}

static bool read_all(struct deciding *d)
{
    const char *schema = cli_value(d->cli, "schema");
    const char *path = d->cli->args[0];
    struct buf text;
    bool read = policy_file_read(path, &text) &&
                policy_file_parse(path, buf_str(&text), &d->policies);
    buf_fini(&text);
    if (!read || (schema && !policy_file_schema(schema, &d->schema)))
        return false;
    return read_entities(d) && read_request(d);
}

/* --- Answering ------------------------------------------------------- */

static json_t *id_json(const struct deciding *d, uint32_t policy)
{
    struct str id = policy_file_id(cedar_policies_at(d->policies, policy));
    return json_stringn(id.ptr, id.len);
}

static json_t *answer_json(
    const struct deciding *d, const struct cedar_answer *answer)
{
    json_t *reasons = json_array(), *errors = json_array();
    for (size_t i = 0; i < answer->reason_count; i++)
        json_array_append_new(reasons, id_json(d, answer->reasons[i]));
    for (size_t i = 0; i < answer->failure_count; i++)
        json_array_append_new(errors, id_json(d, answer->failures[i].policy));
    return json_pack("{s:s,s:o,s:o}", "decision",
        answer->decision == CEDAR_ALLOW ? "allow" : "deny", "reason", reasons,
        "errors", errors);
}

static bool explain_one(const struct deciding *d, size_t number,
    enum cedar_language language, const struct cedar_vocabulary *vocabulary,
    json_t *list)
{
    struct arena *arena = arena_new(4096, (size_t)64 << 20);
    struct cedar_explanation explanation;
    const struct cedar_policy *policy = cedar_policies_at(d->policies, number);
    struct str id = policy_file_id(policy);
    struct buf line;
    bool known = false;
    buf_init(&line, 1 << 20);
    if (arena && cedar_explain(d->policies, number, d->entities, &d->request,
                     arena, &explanation) == ERR_OK) {
        known = true;
        if (!list)
            buf_printf(&line, "  %.*s (%s) ", STR_ARG(id),
                policy->effect == CEDAR_PERMIT ? "permit" : "forbid");
        cedar_describe_explanation(
            &line, &explanation, &d->request, language, vocabulary);
        if (!list && explanation.line > 0)
            buf_printf(&line, " [%d:%d]", explanation.line, explanation.column);
    }
    if (list) {
        json_array_append_new(
            list, json_pack("{s:s%,s:s}", "policy", id.ptr, id.len, "why",
                      known ? buf_cstr(&line) : ""));
    } else if (known) {
        cli_print_safe(stdout, buf_cstr(&line));
        putchar('\n');
    }
    buf_fini(&line);
    arena_free(&arena);
    return known;
}

static int say_answer(struct deciding *d, const struct cedar_answer *answer)
{
    const struct cedar_vocabulary *vocabulary;
    enum cedar_language language;
    size_t count = cedar_policies_count(d->policies);
    size_t shown = count < SHOWN_MAX ? count : SHOWN_MAX;
    json_t *list = NULL, *object;
    bool allowed = answer->decision == CEDAR_ALLOW;
    if (!policy_file_words(d->cli, &language, &vocabulary))
        return 2;
    if (d->cli->json) {
        object = answer_json(d, answer);
        list = json_array();
        for (size_t i = 0; i < shown; i++)
            explain_one(d, i, language, vocabulary, list);
        json_object_set_new(object, "policies", list);
        cli_print_json(object);
        json_decref(object);
        return allowed ? 0 : 1;
    }
    printf("%s\n", allowed ? "ALLOW" : "DENY");
    if (!allowed && answer->reason_count == 0)
        printf("  no permit applies\n");
    for (size_t i = 0; i < shown; i++)
        explain_one(d, i, language, vocabulary, NULL);
    if (shown < count)
        printf("  and %zu more policies\n", count - shown);
    return allowed ? 0 : 1;
}

int cli_policy_authorize(struct cli *cli)
{
    struct deciding d = {.cli = cli};
    struct cedar_answer answer;
    int result = 2; /* 1 is a denial */
    if (read_all(&d)) {
        if (cedar_scratch_new(&d.scratch) == ERR_OK &&
            cedar_authorize(d.policies, d.entities, &d.request, d.scratch,
                &answer) == ERR_OK)
            result = say_answer(&d, &answer);
        else
            cli_say(2, "out of memory");
    }
    cedar_scratch_free(&d.scratch);
    cedar_entities_free(&d.entities);
    cedar_schema_free(&d.schema);
    cedar_policies_free(&d.policies);
    return result;
}
