/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/index_tally.h - sums of requests, kept beside the rows of an index
 * file, so that counts over a whole log need not read every row.
 *
 * A block of 2^16 entries is summed up once it is well behind the newest entry
 * (most of its requests have ended by then); a request that ends later takes
 * its block's sums away again, until they are made anew. Whoever counts takes
 * the sums of the blocks that have them and the rows of those that have none.
 * The tables are made where they are missing: a file of an earlier version goes
 * on without sums for what it has. There is a table for each family of
 * questions: per hour by what was asked and what became of it (tally), per hour
 * by what decided (tally_rule), per day by team and model (tally_team), by who
 * asked (tally_caller), and for which model (tally_caller_model). */
#ifndef AUDIT_INDEX_TALLY_H
#define AUDIT_INDEX_TALLY_H

#include "schema/db.h"

#define TALLY_SHIFT 16

/* Makes the tables. */
enum err index_tally_prepare(struct db *db, struct errinfo *info) MUSTCHECK;
/* Inside a transaction: sums up the blocks below `block` from *from on that
 * have no sums, and sets *from. */
enum err index_tally_until(struct db *db, uint64_t *from, uint64_t block,
    struct errinfo *info) MUSTCHECK;
/* Inside a transaction: the row of entry seq has changed. */
enum err index_tally_forget(
    struct db *db, uint64_t seq, struct errinfo *info) MUSTCHECK;
/* The block behind the last one that has sums; `first` where none has. */
enum err index_tally_end(struct db *db, uint64_t first, uint64_t *out,
    struct errinfo *info) MUSTCHECK;
/* ERR_CORRUPT: the block has sums, and they are not those of its rows. Within a
 * transaction. */
enum err index_tally_check(
    struct db *db, uint64_t block, struct errinfo *info) MUSTCHECK;
/* False: a file without the tables. */
enum err index_tally_is_there(
    struct db *db, bool *out, struct errinfo *info) MUSTCHECK;

#endif
