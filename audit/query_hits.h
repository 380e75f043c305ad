/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/query_hits.h - the requests that can meet several conditions at once,
 * chunk by chunk: the sets of audit/index_posting.h put together. A condition
 * is met by any of its values. A chunk in which one of the conditions has
 * nothing is not looked at, so two that hardly ever meet cost a look into the
 * sets, not into the rows. For query_file.c and stats.c; within one read
 * transaction. */
#ifndef AUDIT_QUERY_HITS_H
#define AUDIT_QUERY_HITS_H

#include "audit/index_posting.h"

struct hit_condition {
    enum posting_field field;
    const int64_t *values;
    size_t count;
};

struct query_hits;
/* Over [low, high], both inclusive, which must be laid out; at least one
 * condition. Copies the conditions, keeps db. gives *out. */
enum err query_hits_open(struct db *db, const struct hit_condition *conditions,
    size_t count, uint64_t low, uint64_t high, bool oldest_first,
    struct query_hits **out, struct errinfo *info) MUSTCHECK;
void query_hits_close(struct query_hits **hits);
/* The next chunk in which there is something: *base is its first entry.
 * ERR_NOTFOUND: none is left. ERR_CORRUPT: a set that cannot be read. */
enum err query_hits_next(struct query_hits *hits, uint64_t *base,
    struct posting_set *out, struct errinfo *info) MUSTCHECK;

#endif
