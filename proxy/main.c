/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/main.c - the program's entry: everything is in proxy/cli/. */
#include "proxy/cli/cli.h"

int main(int argc, char **argv)
{
    return cli_main(argc, argv);
}
