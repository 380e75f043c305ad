/* SPDX-License-Identifier: Apache-2.0
 *
 * Test cases, bundles, the fields of recipes, and entries whose question is
 * asked again: the first byte says which. */
#include "policy/policy_priv.h"
#include "proxy/replayed_question.h"
#include "proxy/rules/bundle.h"
#include "proxy/rules/cases.h"
#include "proxy/rules/recipes.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct policy_set *some_rules(void)
{
    static struct policy_set *set;
    struct buf findings;

    if (set)
        return set;
    buf_init(&findings, 1 << 16);
    if (policy_set_compile(
            STR("@id(\"a\") @title(\"t\") permit (principal, action, resource)"
                "when { context.input.tokens < 9 };"),
            "x", &set, &findings, NULL) != ERR_OK)
        abort();
    buf_fini(&findings);
    return set;
}

static void try_cases(struct str text)
{
    struct errinfo info;
    json_t *document = NULL, *results = NULL;

    if (cases_parse(text, "x", &document, &info) == ERR_OK &&
        cases_run(document, some_rules(), NULL, &results, &info) == ERR_OK &&
        cases_failed(results) > json_array_size(results))
        abort();
    json_decref(document);
    json_decref(results);
}

/* What is made of a bundle compiles again. */
static void try_bundle(struct str text)
{
    struct policy_set *set = NULL;
    struct errinfo info;
    struct bundle bundle;
    struct buf rules, findings;

    buf_init(&rules, 1 << 22);
    buf_init(&findings, 1 << 22);
    /* (@mode("advise") does not go with every annotation.) */
    if (bundle_parse(text, &bundle, &info) == ERR_OK &&
        bundle_rules(&bundle, false, &rules, &info) == ERR_OK &&
        policy_set_compile(buf_str(&rules), "x", &set, &findings, &info) !=
            ERR_OK)
        abort();
    policy_set_free(&set);
    buf_fini(&rules);
    buf_fini(&findings);
}

/* Whatever is typed into a form: one rule comes of it, or none. */
static void try_recipe(struct str text)
{
    struct policy_set *set = NULL;
    struct errinfo info;
    struct recipe recipe;
    struct buf rule, findings;
    json_t *values = json_loadb(text.ptr, text.len, JSON_ALLOW_NUL, NULL);

    buf_init(&rule, 1 << 20);
    buf_init(&findings, 1 << 20);
    for (size_t i = 0; json_is_object(values) && i < recipe_count(); i++) {
        buf_clear(&rule);
        buf_clear(&findings);
        if (recipe_at(i, &recipe, &info) != ERR_OK)
            abort();
        if (recipe_render(&recipe, values, &rule, &info) == ERR_OK &&
            policy_set_compile(buf_str(&rule), "x", &set, &findings, &info) ==
                ERR_OK &&
            policy_set_count(set) != 1)
            abort();
        policy_set_free(&set);
    }
    json_decref(values);
    buf_fini(&rule);
    buf_fini(&findings);
}

static void try_entry(struct str text)
{
    static struct policy_entities *entities;
    struct policy_workspace *workspace = policy_workspace_new();
    struct arena *arena = arena_new(65536, 64u << 20);
    struct replayed_question q;
    struct errinfo info;

    if (!entities) {
        struct policy_entities_builder *b = policy_entities_begin();
        if (policy_entities_finish(&b, &entities, &info) != ERR_OK)
            abort();
    }
    if (replayed_question_read(arena, text, &q, &info) == ERR_OK) {
        struct policy_recorded recorded = {q.caller, q.action, q.context,
            STR("10.0.0.1"), q.group_teams, q.group_team_count};
        struct policy_decision decision;
        if (policy_decide_recorded(
                workspace, some_rules(), entities, &recorded, &info) == ERR_OK)
            for (size_t i = 0; i < q.target_count; i++)
                policy_decide(workspace, &q.targets[i].target, &decision);
    }
    arena_free(&arena);
    policy_workspace_free(&workspace);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy;
    struct str text;

    if (size < 1)
        return 0;
    copy = malloc(size);
    if (!copy)
        return 0;
    memcpy(copy, data + 1, size - 1);
    text = str_make(copy, size - 1);
    switch (data[0]) {
    case 'c':
        try_cases(text);
        break;
    case 'b':
        try_bundle(text);
        break;
    case 'r':
        try_recipe(text);
        break;
    default:
        try_entry(text);
    }
    free(copy);
    return 0;
}
