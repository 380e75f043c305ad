/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/cedar_entities_fuzz.c - any bytes as Cedar's JSON entities,
 * without a schema and with one. What is accepted must hold together (known
 * ancestors, no entity above itself); what is refused must say why. */
#include "lib/must.h"

#include "lib/json.h"
#include "policy/cedar/json_entities.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char schema_text[] =
    "entity G in [G] { a?: Long, \"if\"?: Set<decimal> };"
    "entity User in [G] { a?: Long, b?: Bool, g?: G, s?: Set<Set<G>>, r?: "
    "{x?: ipaddr, y: {z?: datetime}}, d?: duration } tags Set<String>;"
    "entity E enum [\"a\", \"b\"];"
    "action all; action v, \"w x\" in [all] appliesTo { principal: [User, E], "
    "resource: [User, G], context: {n?: Long, u?: User, e?: E} };";

static const char policy_text[] =
    "permit(principal in G::\"a\", action, resource) when { principal.a == 1 "
    "|| principal.getTag(\"t\").contains(\"x\") };"
    "forbid(principal, action in Action::\"all\", resource) when { principal "
    "has r.y.z && principal.r.y.z < datetime(\"2024-01-01\") };";

struct above {
    const struct cedar_entities *entities;
    const struct cedar_uid *uid;
};

static bool check_ancestor(void *context, const struct cedar_uid *uid)
{
    const struct above *above = context;
    MUST(!cedar_uid_equal(above->uid, uid));
    MUST(cedar_entities_in(above->entities, above->uid, uid));
    MUST(!cedar_entities_in(above->entities, uid, above->uid));
    return true;
}

static void check(const struct cedar_entities *entities,
    const struct cedar_policies *policies)
{
    struct cedar_scratch *scratch;
    struct cedar_uid action = cedar_uid_make(STR("Action"), STR("v"));
    MUST(cedar_scratch_new(&scratch) == ERR_OK);
    for (size_t i = 0; i < cedar_entities_count(entities) && i < 50; i++) {
        struct cedar_entity_view view, found;
        struct cedar_answer answer;
        cedar_entities_at(entities, i, &view);
        MUST(cedar_entities_find(entities, view.uid, &found));
        MUST(found.attributes == view.attributes);
        struct above above = {entities, view.uid};
        cedar_entities_each_ancestor(
            entities, view.uid, check_ancestor, &above);
        struct cedar_request request = {
            view.uid, &action, view.uid, view.attributes};
        MUST(cedar_authorize(policies, entities, &request, scratch, &answer) ==
             ERR_OK);
    }
    cedar_scratch_free(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cedar_schema *schema;
    static struct cedar_policies *policies;
    struct arena *arena = arena_new(65536, 0);
    struct json json;
    MUST(arena != NULL);
    if (!schema) {
        MUST(cedar_schema_parse(STR(schema_text), NULL, &schema) == ERR_OK);
        MUST(cedar_policies_parse(STR(policy_text), NULL, &policies) == ERR_OK);
    }
    if (json_parse(arena, str_make((const char *)data, size), NULL, &json,
            NULL) == ERR_OK) {
        for (int with = 0; with < 2; with++) {
            struct cedar_entities *entities = NULL;
            struct errinfo info = {0};
            enum err err = cedar_json_entities(
                &json, 0, with ? schema : NULL, &entities, &info);
            MUST(err == ERR_OK ? entities != NULL : info.text[0] != '\0');
            if (entities)
                check(entities, policies);
            cedar_entities_free(&entities);
        }
        /* The same bytes as a context. */
        const struct cedar_record *context;
        struct errinfo info = {0};
        struct cedar_uid v = cedar_uid_make(STR("Action"), STR("v"));
        if (cedar_json_context(&json, 0,
                cedar_schema_action(schema, &v)->context, arena, &context,
                &info) != ERR_OK)
            MUST(info.text[0] != '\0');
    }
    arena_free(&arena);
    return 0;
}
