/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/starter.c - see policy/starter.h. */
#include "policy/starter.h"

extern const char schema_starter_cedar[];
extern const size_t schema_starter_cedar_length;

const struct policy_starter_team policy_starter_teams[] = {
    {STR_INIT("everyone"), STR_INIT(""), STR_INIT("Everyone in the house")},
    {STR_INIT("interns"), STR_INIT("everyone"), STR_INIT("Interns")},
    {STR_INIT("cleared"), STR_INIT("everyone"),
        STR_INIT("Cleared for high-risk models")},
};
const size_t policy_starter_team_count =
    sizeof(policy_starter_teams) / sizeof(policy_starter_teams[0]);

const struct str policy_starter_groups[] = {STR_INIT("large")};
const size_t policy_starter_group_count =
    sizeof(policy_starter_groups) / sizeof(policy_starter_groups[0]);

struct str policy_starter_text(void)
{
    return str_make(schema_starter_cedar, schema_starter_cedar_length);
}
