/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/index_priv.h - the inside of an index file, for index_file.c and
 * index_rows.c only. */
#ifndef AUDIT_INDEX_PRIV_H
#define AUDIT_INDEX_PRIV_H

#include "audit/index_file.h"
#include "audit/index_words.h"
#include "lib/buf.h"

struct index_file {
    struct db *db;
    char *path;
    struct index_words *words;
    struct index_state state;
    struct buf scratch; /* texts put together for one row */
    bool in_transaction;
    int64_t batch_first_us, batch_last_us; /* of rows since begin; 0: none */
};

#endif
