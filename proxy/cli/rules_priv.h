/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/rules_priv.h - shared by the commands about rules. */
#ifndef PROXY_CLI_RULES_PRIV_H
#define PROXY_CLI_RULES_PRIV_H

#include "proxy/cli/cli_priv.h"

/* A member as a text ("" where there is none), as a number (0). */
const char *cli_text_of(const json_t *object, const char *key);
json_int_t cli_number_of(const json_t *object, const char *key);
bool cli_has_state(struct cli *cli); /* -C, or BAILIFF_STATE */

/* {"text","name"} of a file of rules. NULL: said. */
json_t *cli_rules_body(const char *path);
/* Puts what is meant by "active", a version's number or (file_too) a file into
 * the body. False: said. */
bool cli_rules_meant(struct cli *cli, const char *what, json_t *body,
    const char *version_field, bool file_too);
/* "tests" of a body: --tests, what stands beside the file of rules, or none at
 * all (--no-tests). False: said. */
bool cli_rules_tests(struct cli *cli, const char *rules, json_t *body);
/* The options of `policy new`: every field of every recipe. */
extern const struct cli_option cli_recipe_options[];
extern const size_t cli_recipe_option_count;
/* Stores the active rules with these behind them as a draft. */
int cli_rules_append(struct cli *cli, struct str rules, const char *note);
void cli_print_replay(const json_t *answer);
void cli_print_grouped(json_int_t value); /* 3,400 */

#endif
