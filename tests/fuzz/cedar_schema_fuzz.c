/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/cedar_schema_fuzz.c - any bytes as a Cedar schema, in either
 * syntax. What is accepted must bear the questions that the validator asks;
 * what is refused must say why. */
#include "lib/must.h"
#include "policy/cedar/validate.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PRINT_MAX ((size_t)1 << 16)

static void check_types(const struct cedar_schema *schema)
{
    for (size_t i = 0; i < cedar_schema_entity_type_count(schema); i++) {
        const struct cedar_entity_type *t =
            cedar_schema_entity_type_at(schema, i);
        struct buf out;
        MUST(cedar_schema_entity_type(schema, t->name) == t);
        MUST(t->shape->kind == CEDAR_TYPE_RECORD);
        buf_init(&out, PRINT_MAX);
        cedar_type_print(&out, t->shape);
        buf_fini(&out);
        for (uint32_t k = 0; k < t->ancestor_count; k++) {
            MUST(cedar_entity_type_in(
                t, cedar_schema_entity_type_at(schema, t->ancestors[k])));
        }
    }
    for (size_t i = 0; i < cedar_schema_action_count(schema); i++) {
        const struct cedar_action *a = cedar_schema_action_at(schema, i);
        MUST(cedar_schema_action(schema, &a->uid) == a);
        MUST(a->context->kind == CEDAR_TYPE_RECORD);
        for (uint32_t k = 0; k < a->ancestor_count; k++) {
            const struct cedar_action *above =
                cedar_schema_action_at(schema, a->ancestors[k]);
            MUST(cedar_action_in(a, above) && !cedar_action_in(above, a));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char policy[] =
        "permit(principal, action, resource) when { principal has a && "
        "principal.a == context.a };";
    struct cedar_diagnostics diagnostics = {0};
    struct cedar_schema *schema = NULL;
    struct cedar_policies *policies = NULL;
    struct str text = str_make((const char *)data, size);
    enum err err = cedar_schema_parse(text, &diagnostics, &schema);
    if (err == ERR_OK) {
        check_types(schema);
        MUST(cedar_policies_parse(STR(policy), NULL, &policies) == ERR_OK);
        MUST(cedar_validate(policies, schema, STR(policy), &diagnostics) ==
             ERR_OK);
    } else {
        MUST(diagnostics.count > 0);
    }
    cedar_policies_free(&policies);
    cedar_schema_free(&schema);
    cedar_diagnostics_fini(&diagnostics);
    return 0;
}
