/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/rules/shipped.c - see proxy/rules/shipped.h. */
#include "proxy/rules/shipped.h"

bool shipped_find(const char *path, struct str *out)
{
    for (size_t i = 0; i < policies_file_count; i++) {
        if (strcmp(policies_files[i].path, path) == 0) {
            *out = str_make(policies_files[i].bytes, policies_files[i].length);
            return true;
        }
    }
    return false;
}
