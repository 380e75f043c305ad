/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/batch.h - the JSONL protocol of `bailiff policy batch`:
 * authorize and validate in bulk, one JSON object per line in, one out.
 *
 * Needs no configuration and leaves no state behind between lines. */
#ifndef POLICY_CEDAR_BATCH_H
#define POLICY_CEDAR_BATCH_H

#include "lib/err.h"

#include <stdio.h>

/* Longer lines are answered with an error. */
#define CEDAR_BATCH_LINE_MAX ((size_t)16 << 20)

/* Until the end of input. `out` is flushed before each wait for more. Gives
 * the exit status: 0, or 1 when reading or writing failed (said on standard
 * error). One thread. */
int cedar_batch_run(FILE *in, FILE *out);

#endif
