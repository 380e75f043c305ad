/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/index_priv.h - the inside of an index file, for index_file.c and
 * index_rows.c only. */
#ifndef AUDIT_INDEX_PRIV_H
#define AUDIT_INDEX_PRIV_H

#include "audit/index_file.h"
#include "audit/index_words.h"
#include "lib/buf.h"

/* Lists whose members were written lately: they need not be again. */
#define INDEX_RECENT 4096u /* a power of two */

struct index_file {
    struct db *db;
    char *path;
    struct index_words *words;
    int64_t *recent; /* INDEX_RECENT lists, 0: none */
    struct index_state state;
    struct buf scratch; /* texts put together for one row */
    bool in_transaction;
    uint64_t tally_from; /* blocks below it were summed up (index_tally.h) */
    bool tally_lost;     /* and one of them lost its sums since */
    int64_t batch_first_us, batch_last_us; /* of rows since begin; 0: none */
};

#endif
