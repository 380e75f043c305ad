/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/cedar/example.c - the example of policy/cedar/cedar.h, compiled and
 * linked with libcedar.a alone. */
#include "policy/cedar/cedar.h"

#include <stdio.h>

int main(void)
{
    struct cedar_diagnostics found = {0};
    struct cedar_policies *policies = NULL;
    struct cedar_scratch *scratch = NULL;
    struct cedar_answer answer = {0};
    struct str text =
        STR("permit(principal == User::\"ann\", action, resource) "
            "when { context.pages < 3 };");
    struct cedar_uid ann = cedar_uid_make(STR("User"), STR("ann"));
    struct cedar_uid view = cedar_uid_make(STR("Action"), STR("print"));
    struct cedar_uid doc = cedar_uid_make(STR("Doc"), STR("1"));
    struct cedar_field pages = {cedar_key_make(STR("pages")), cedar_long(2)};
    struct cedar_record context;
    struct cedar_request request = {&ann, &view, &doc, &context};

    if (cedar_policies_parse(text, &found, &policies) == ERR_OK &&
        cedar_record_init(&context, &pages, 1) == ERR_OK &&
        cedar_scratch_new(&scratch) == ERR_OK &&
        cedar_authorize(policies, NULL, &request, scratch, &answer) == ERR_OK)
        puts(answer.decision == CEDAR_ALLOW ? "allowed" : "denied");
    cedar_scratch_free(&scratch);
    cedar_policies_free(&policies);
    cedar_diagnostics_fini(&found);
    return answer.decision == CEDAR_ALLOW ? 0 : 1;
}
