/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/policy_files_priv.h - shared by the commands about files. */
#ifndef PROXY_CLI_POLICY_FILES_PRIV_H
#define PROXY_CLI_POLICY_FILES_PRIV_H

#include "policy/cedar/describe.h"
#include "policy/cedar/schema.h"
#include "proxy/cli/cli_priv.h"

#define POLICY_FILE_MAX ((size_t)64 << 20)

/* False: it was said on standard error. */
bool policy_file_read(const char *path, struct buf *text); /* buf_fini it */
/* Text, or a JSON policy set when it begins with a brace. */
bool policy_file_parse(
    const char *path, struct str text, struct cedar_policies **out);
bool policy_file_schema(const char *path, struct cedar_schema **out);
/* --language and --plain. */
bool policy_file_words(struct cli *cli, enum cedar_language *language,
    const struct cedar_vocabulary **vocabulary);
void policy_file_say(
    FILE *out, const char *path, const struct cedar_diagnostics *diagnostics);
const char *policy_file_name(const char *path);
/* What @id says, or else the position. */
struct str policy_file_id(const struct cedar_policy *policy);

#endif
