/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/rules/shipped.h - the files of policies/, which are built into the
 * program: recipes and packs of rules. Constant data. */
#ifndef PROXY_RULES_SHIPPED_H
#define PROXY_RULES_SHIPPED_H

#include "lib/str.h"

/* Made by policies/embed.sh. */
struct policies_file {
    const char *path; /* "recipes/office-hours.recipe" */
    const char *bytes;
    size_t length;
};
extern const struct policies_file policies_files[];
extern const size_t policies_file_count;

/* False: there is no such file. */
bool shipped_find(const char *path, struct str *out);

#endif
