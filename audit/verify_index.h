/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/verify_index.h - does the index say what the entries say? Fed with
 * every entry in turn, like audit/verify_content.h. The index is derived: a
 * fault here takes nothing from the log, but questions may have been answered
 * wrongly. Compared are all columns of all rows, that no row is missing or too
 * many, and within each file the sets, lists and sums with its rows.
 *
 * Beside a running server that is what the index had when the check began; no
 * statement holds the indexer up for longer than it takes. */
#ifndef AUDIT_VERIFY_INDEX_H
#define AUDIT_VERIFY_INDEX_H

#include "audit/verify.h"
#include "lib/str.h"

struct index_check;
/* Opens DIR/index. keeps state_dir. told: one finding. gives; NULL: out of
 * memory. */
struct index_check *index_check_new(const char *state_dir,
    void (*told)(void *context, struct verify_finding *finding), void *context);
void index_check_free(struct index_check **check);
void index_check_entry(
    struct index_check *check, uint64_t index, struct str entry);
/* After the last entry: what is too many, and the tables beside the rows. */
void index_check_end(struct index_check *check);

#endif
