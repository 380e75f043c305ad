/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/policy_files.h - commands about policies in files, which need no
 * state directory: validate, format, describe, authorize. One thread. */
#ifndef PROXY_CLI_POLICY_FILES_H
#define PROXY_CLI_POLICY_FILES_H

#include "proxy/cli/cli_priv.h"

/* Each gives the exit status and has said what there is to say. */
int cli_policy_check_file(struct cli *cli, const char *path);
int cli_policy_format(struct cli *cli);
/* `text` (may be empty) instead of the file: what the server sent. */
int cli_policy_describe(struct cli *cli, struct str text);
int cli_policy_authorize(struct cli *cli);

/* A text that is no file; in English. */
int cli_policy_describe_text(struct cli *cli, struct str text);

#endif
