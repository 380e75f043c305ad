/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/starter.h - the rules that `init` puts in force (schema/starter.cedar)
 * and the teams and model groups that they name, which have to exist first. */
#ifndef POLICY_STARTER_H
#define POLICY_STARTER_H

#include "lib/str.h"

struct policy_starter_team {
    struct str name, parent, title; /* parent empty: none */
};
/* Parents stand before their children. */
extern const struct policy_starter_team policy_starter_teams[];
extern const size_t policy_starter_team_count;
extern const struct str policy_starter_groups[];
extern const size_t policy_starter_group_count;

struct str policy_starter_text(void);

#endif
