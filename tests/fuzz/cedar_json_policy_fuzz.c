/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/cedar_json_policy_fuzz.c - any bytes as a JSON policy set. What
 * is accepted must be written as JSON that is read as the same policies, must
 * print to text that is read as the same, and must bear a description and a
 * decision. What is refused must say why. */
#include "lib/must.h"

#include "lib/json.h"
#include "policy/cedar/describe.h"
#include "policy/cedar/json_policy.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_MAX ((size_t)1 << 28)
static const struct json_limits limits = {.max_depth = 20000};

static enum err read_set(
    struct str text, struct cedar_policies **out, struct errinfo *info)
{
    struct arena *arena = arena_new(65536, 0);
    struct cedar_builder *builder = NULL;
    struct json json;
    MUST(arena != NULL);
    enum err err = json_parse(arena, text, &limits, &json, NULL);
    if (err != ERR_OK) {
        errinfo_set(info, err, "no JSON");
    } else {
        MUST(cedar_builder_new(&builder) == ERR_OK);
        err = cedar_json_policy_set_read(builder, &json, 0, info);
        if (err == ERR_OK)
            err = cedar_builder_finish(&builder, out);
        cedar_builder_free(&builder);
    }
    arena_free(&arena);
    return err;
}

static void check_again(const struct cedar_policies *policies)
{
    struct cedar_policies *again;
    struct errinfo info = {0};
    struct buf text;
    buf_init(&text, TEXT_MAX);
    cedar_policies_write_json(&text, policies);
    MUST(!text.failed);
    MUST(read_set(buf_str(&text), &again, &info) == ERR_OK);
    MUST(cedar_policies_count(again) == cedar_policies_count(policies));
    for (size_t i = 0; i < cedar_policies_count(policies); i++) {
        const struct cedar_policy *p = cedar_policies_at(policies, i);
        MUST(cedar_policy_same(p, cedar_policies_find(again, p->id)));
    }
    cedar_policies_free(&again);
    buf_fini(&text);
}

static void check_words(const struct cedar_policy *policy)
{
    struct buf text;
    struct cedar_builder *builder;
    struct cedar_policies *again;
    buf_init(&text, TEXT_MAX);
    cedar_policy_print(&text, policy);
    MUST(!text.failed && cedar_builder_new(&builder) == ERR_OK);
    struct cedar_diagnostics found = {0};
    enum err err =
        cedar_builder_add_text(builder, buf_str(&text), 0, &policy->id, &found);
    MUST(cedar_builder_finish(&builder, &again) == ERR_OK);
    /* {"lessThan": []} is a call of a method on nothing. It has a meaning (an
     * error, whenever it is evaluated), but no words. */
    if (err == ERR_OK)
        MUST(cedar_policy_same(policy, cedar_policies_find(again, policy->id)));
    else
        MUST(found.count > 0 &&
             strstr(found.items[0].text, "is a method") != NULL);
    cedar_diagnostics_fini(&found);
    cedar_policies_free(&again);
    for (unsigned language = 0; language < CEDAR_LANGUAGES; language++) {
        buf_clear(&text);
        cedar_describe(&text, policy, (enum cedar_language)language, NULL);
        MUST(!text.failed && str_is_utf8(buf_str(&text)));
    }
    buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cedar_policies *policies = NULL;
    struct errinfo info = {0};
    if (read_set(str_make((const char *)data, size), &policies, &info) !=
        ERR_OK) {
        MUST(info.text[0] != '\0');
        return 0;
    }
    check_again(policies);
    struct cedar_uid p = cedar_uid_make(STR("User"), STR("a"));
    struct cedar_uid a = cedar_uid_make(STR("Action"), STR("v"));
    struct cedar_request request = {&p, &a, &p, NULL};
    struct cedar_scratch *scratch;
    struct cedar_answer answer;
    MUST(cedar_scratch_new(&scratch) == ERR_OK);
    cedar_scratch_set_steps(scratch, 100000);
    MUST(cedar_authorize(policies, NULL, &request, scratch, &answer) == ERR_OK);
    MUST(answer.decision == CEDAR_DENY || answer.reason_count > 0);
    for (size_t i = 0; i < cedar_policies_count(policies); i++)
        if (!cedar_policies_at(policies, i)->template)
            check_words(cedar_policies_at(policies, i));
    for (size_t i = 0; i < cedar_policies_template_count(policies); i++)
        check_words(cedar_policies_template_at(policies, i));
    cedar_scratch_free(&scratch);
    cedar_policies_free(&policies);
    return 0;
}
