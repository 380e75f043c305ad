/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/index_run.h - from the journal into the files of the index.
 *
 * One run: opened, stepped until it fails or is no longer wanted, closed. A
 * file that turns out damaged is set aside and built anew; while an older one
 * is rebuilt the newest goes on. One thread. */
#ifndef AUDIT_INDEX_RUN_H
#define AUDIT_INDEX_RUN_H

#include "lib/err.h"
#include "lib/str.h"

#define INDEX_RANGE_DEFAULT (UINT64_C(1) << 22)

struct index_run;

/* range 0: the default. gives *out. */
enum err index_run_open(const char *state_dir, uint64_t range,
    struct index_run **out, struct errinfo *info) MUSTCHECK;
/* `clean`: marks the files as complete and durable. */
void index_run_close(struct index_run **run, bool clean);

/* Takes a batch of entries below `size` in, or a batch of a rebuild. *more:
 * there is more to do at once. */
enum err index_run_step(struct index_run *run, uint64_t size, bool *more,
    struct errinfo *info) MUSTCHECK;
uint64_t index_run_position(const struct index_run *run);
/* The file that holds entry `index` is to be built anew. */
void index_run_rebuild(struct index_run *run, uint64_t index);

#endif
