/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/verify_witnesses.h - the cosignatures beside a log. One thread. */
#ifndef PROXY_CLI_VERIFY_WITNESSES_H
#define PROXY_CLI_VERIFY_WITNESSES_H

#include "proxy/cli/cli_priv.h"

/* Every witness of --witness has cosigned, and the log continues that. Says
 * who, when and what (or appends it to list where the output is JSON). key: the
 * log's, or empty. False: said why not. Without --witness: true. */
bool cli_verify_witnesses(
    struct cli *cli, const char *state_dir, struct str key, json_t *list);

#endif
