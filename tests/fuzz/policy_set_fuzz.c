/* SPDX-License-Identifier: Apache-2.0
 *
 * Texts of rules through policy_set_compile; what compiles is asked for a
 * decision and for its literals. Nothing may be permitted by a set that names
 * no rule. */
#include "policy/decide.h"

#include "lib/must.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct policy_entities *entities;
static struct policy_workspace *workspace;

static void build(void)
{
    const struct str teams[] = {STR_INIT("interns")};
    const struct str groups[] = {STR_INIT("large")};
    const struct policy_model model = {.name = STR("small"),
        .risk_class = STR("high"),
        .status = STR("approved"),
        .groups = groups,
        .group_count = 1};
    struct policy_entities_builder *b = policy_entities_begin();
    MUST(b != NULL);
    MUST(policy_entities_team(b, STR("everyone"), STR("")) == ERR_OK);
    MUST(policy_entities_team(b, STR("interns"), STR("everyone")) == ERR_OK);
    MUST(policy_entities_caller(b, STR("cal_1"), STR("person"), teams, 1) ==
         ERR_OK);
    MUST(policy_entities_group(b, STR("large")) == ERR_OK);
    MUST(policy_entities_model(b, &model) == ERR_OK);
    MUST(policy_entities_engine(b, STR("here"), STR("vllm"), STR("eu")) ==
         ERR_OK);
    MUST(policy_entities_finish(&b, &entities, NULL) == ERR_OK);
    workspace = policy_workspace_new();
    MUST(workspace != NULL);
}

static void see_literal(void *context, const struct policy_literal *literal)
{
    const struct str *text = context;
    MUST(literal->length > 0 && literal->offset < text->len &&
         literal->length <= text->len - literal->offset);
}

static void decide(const struct policy_set *set)
{
    struct policy_question question = {.caller = STR("cal_1"),
        .action = STR("chat"),
        .auth_method = STR("api_key"),
        .address = STR("10.0.0.1"),
        .route = STR("/v1/chat/completions"),
        .dialect = STR("openai"),
        .now_us = INT64_C(1764000000000000),
        .input_tokens = 10,
        .max_tokens = -1,
        .choices = 1};
    struct policy_target target = {
        .model = STR("small"), .engine = STR("here"), .upstream = STR("u")};
    struct policy_decision decision;
    MUST(policy_decide_begin(workspace, set, entities, &question) == ERR_OK);
    policy_decide(workspace, &target, &decision);
    MUST(decision.permitted == (decision.reason == POLICY_PERMITTED));
    MUST(!decision.permitted || decision.policy_count > 0);
    for (unsigned i = 0; i < decision.policy_count; i++)
        MUST(decision.policies[i] < policy_set_count(set));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_make((const char *)data, size);
    struct policy_set *set = NULL;
    struct errinfo info = {0};
    struct buf findings;
    if (entities == NULL)
        build();
    buf_init(&findings, 1u << 20);
    enum err err = policy_set_compile(text, "f", &set, &findings, &info);
    MUST((err == ERR_OK) == (set != NULL));
    MUST(err != ERR_SYNTAX || findings.len > 0);
    if (err == ERR_OK) {
        policy_set_each_literal(set, see_literal, &text);
        decide(set);
    }
    policy_set_free(&set);
    buf_fini(&findings);
    return 0;
}
