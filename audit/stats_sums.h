/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/stats_sums.h - which questions the sums of audit/index_tally.h can
 * answer, and what a filter means to them. For stats.c. */
#ifndef AUDIT_STATS_SUMS_H
#define AUDIT_STATS_SUMS_H

#include "audit/query.h"
#include "schema/db.h"

/* The table whose sums answer a count of requests by these words under this
 * filter, its times aside; NULL: only the rows do. */
const char *sums_table(
    const struct audit_filter *filter, const char *const *by, size_t by_count);
/* Appends " AND ..." for the filter, its times aside; *none: no sum can fit. */
enum err sums_conditions(struct db *db, const struct audit_filter *filter,
    struct buf *where, bool *none, struct errinfo *info) MUSTCHECK;

#endif
