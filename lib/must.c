/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/must.c - the end of the road for a bug of ours. */
#include "lib/must.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void must_failed(
    const char *condition, const char *file, int line, const char *function)
{
    fprintf(stderr, "bailiff: bug: %s is false in %s (%s:%d)\n", condition,
        function, file, line);
    abort();
}
