/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/cedar_policy_fuzz.c - any bytes as Cedar policy text. What is
 * accepted must print to text that is read as the same policies, and must give
 * a decision for a request, twice the same, without and with entities; what is
 * refused must say where and why. */
#include "lib/must.h"
#include "policy/cedar/ast.h"
#include "policy/cedar/describe.h"
#include "policy/cedar/format.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct cedar_entities *make_entities(void)
{
    struct cedar_entities_builder *b;
    struct cedar_entities *entities;
    MUST(cedar_entities_builder_new(&b) == ERR_OK);
    struct cedar_uid user = cedar_uid_make(STR("User"), STR("a"));
    struct cedar_uid group = cedar_uid_make(STR("Group"), STR("g"));
    struct cedar_field *fields =
        ARENA_ARRAY(cedar_entities_builder_arena(b), 2, struct cedar_field);
    MUST(fields != NULL);
    fields[0].key = cedar_key_make(STR("a"));
    fields[0].value = cedar_long(1);
    fields[1].key = cedar_key_make(STR("b"));
    fields[1].value = cedar_string(STR("x"));
    struct cedar_value record;
    MUST(cedar_record_make(
             cedar_entities_builder_arena(b), fields, 2, &record) == ERR_OK);
    MUST(cedar_entities_builder_add(b, &user, &group, 1, record.record,
             record.record, NULL) == ERR_OK);
    MUST(cedar_entities_builder_finish(&b, &entities, NULL) == ERR_OK);
    return entities;
}

static void check_print(const struct cedar_policy *policy, size_t size)
{
    struct buf text;
    struct cedar_builder *builder;
    struct cedar_policies *again;
    buf_init(&text, size * 64 + 4096);
    cedar_policy_print(&text, policy);
    MUST(!text.failed);
    MUST(cedar_builder_new(&builder) == ERR_OK);
    MUST(cedar_builder_add_text(
             builder, buf_str(&text), 0, &policy->id, NULL) == ERR_OK);
    MUST(cedar_builder_finish(&builder, &again) == ERR_OK);
    MUST(cedar_policy_same(policy, cedar_policies_find(again, policy->id)));
    cedar_policies_free(&again);
    for (unsigned language = 0; language < CEDAR_LANGUAGES; language++) {
        buf_clear(&text);
        cedar_describe(&text, policy, (enum cedar_language)language, NULL);
        MUST(!text.failed && str_is_utf8(buf_str(&text)) &&
             !memchr(buf_str(&text).ptr, '\n', text.len));
    }
    buf_fini(&text);
}

/* Formatting what was formatted changes nothing. */
static void check_format(struct str text)
{
    struct buf once, twice;
    buf_init(&once, text.len * 64 + 4096);
    buf_init(&twice, text.len * 64 + 4096);
    MUST(cedar_format(text, NULL, &once) == ERR_OK);
    MUST(cedar_format(buf_str(&once), NULL, &twice) == ERR_OK);
    MUST(str_equal(buf_str(&once), buf_str(&twice)));
    buf_fini(&once);
    buf_fini(&twice);
}

static void check_explanations(const struct cedar_policies *policies,
    const struct cedar_entities *entities, const struct cedar_request *request,
    const struct cedar_answer *answer)
{
    for (size_t i = 0; i < cedar_policies_count(policies) && i < 20; i++) {
        struct arena *arena = arena_new(4096, 0);
        struct cedar_explanation explanation;
        struct buf line;
        MUST(arena != NULL);
        MUST(cedar_explain(policies, i, entities, request, arena,
                 &explanation) == ERR_OK);
        bool failed = false;
        for (size_t j = 0; j < answer->failure_count; j++)
            failed = failed || answer->failures[j].policy == i;
        /* The steps of the decision were few, those here are not. */
        MUST(!failed || explanation.outcome == CEDAR_FAILED ||
             cedar_policies_bytes(policies) > 100000);
        buf_init(&line, 1 << 20);
        cedar_explanation_print(&line, &explanation, request);
        cedar_describe_explanation(
            &line, &explanation, request, CEDAR_CHINESE, NULL);
        buf_fini(&line);
        arena_free(&arena);
    }
}

static bool check_literal(void *context, const struct cedar_literal *literal)
{
    const struct str *text = context;
    MUST(literal->offset < literal->end && literal->end <= text->len);
    MUST(literal->line > 0 && literal->column > 0);
    return true;
}

static void check_decisions(const struct cedar_policies *policies,
    const struct cedar_entities *entities, struct cedar_scratch *scratch)
{
    struct cedar_uid p = cedar_uid_make(STR("User"), STR("a"));
    struct cedar_uid a = cedar_uid_make(STR("Action"), STR("x"));
    struct cedar_uid r = cedar_uid_make(STR("Doc"), STR("d"));
    struct cedar_request request = {&p, &a, &r, NULL};
    struct cedar_answer one, two;
    MUST(
        cedar_authorize(policies, entities, &request, scratch, &one) == ERR_OK);
    struct buf words;
    buf_init(&words, 1 << 20);
    for (size_t i = 0; i < one.failure_count; i++)
        cedar_failure_print(&words, policies, &one.failures[i]);
    buf_fini(&words);
    MUST(one.decision == CEDAR_DENY || one.reason_count > 0);
    check_explanations(policies, entities, &request, &one);
    MUST(
        cedar_authorize(policies, entities, &request, scratch, &two) == ERR_OK);
    MUST(one.decision == two.decision && one.reason_count == two.reason_count &&
         one.failure_count == two.failure_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_make((const char *)data, size);
    struct cedar_diagnostics diagnostics = {0};
    struct cedar_policies *policies = NULL;
    enum err err = cedar_policies_parse(text, &diagnostics, &policies);
    if (err != ERR_OK) {
        MUST(policies == NULL && diagnostics.errors > 0);
        for (size_t i = 0; i < diagnostics.count; i++)
            MUST(diagnostics.items[i].offset <= size &&
                 diagnostics.items[i].text[0] != '\0');
        cedar_diagnostics_fini(&diagnostics);
        return 0;
    }
    struct cedar_entities *entities = make_entities();
    struct cedar_scratch *scratch;
    MUST(cedar_scratch_new(&scratch) == ERR_OK);
    cedar_scratch_set_steps(scratch, 100000);
    for (size_t i = 0; i < cedar_policies_count(policies); i++)
        check_print(cedar_policies_at(policies, i), size);
    for (size_t i = 0; i < cedar_policies_template_count(policies); i++)
        check_print(cedar_policies_template_at(policies, i), size);
    check_format(text);
    cedar_policies_each_entity_literal(policies, check_literal, &text);
    check_decisions(policies, NULL, scratch);
    check_decisions(policies, entities, scratch);
    cedar_scratch_free(&scratch);
    cedar_entities_free(&entities);
    cedar_policies_free(&policies);
    cedar_diagnostics_fini(&diagnostics);
    return 0;
}
