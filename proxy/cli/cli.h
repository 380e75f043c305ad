/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/cli.h - the command line: `bailiff [-C DIR] COMMAND ...`. */
#ifndef PROXY_CLI_CLI_H
#define PROXY_CLI_CLI_H

/* 0: done; 1: refused or failed (said on standard error); 2: usage. */
int cli_main(int argc, char **argv);

#endif
