/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/indexer.h - keeps the searchable index behind the journal.
 *
 * A thread of its own follows the journal and fills DIR/index: SQLite, one
 * file per range of entries (schema/index.sql), the position in the same
 * transaction as the rows. The index is derived: a file that is damaged, or
 * was being written when the machine lost power, is set aside and built anew
 * from the journal, and whatever happens to it never stops the log. Nothing
 * here is on any request's way. Readers (audit/query.h) use connections of
 * their own.
 *
 * Requests come first: while others want the processor that the thread runs on,
 * it takes a few entries now and then and lets the rest wait, at most
 * `may_wait` of them. Then it takes its fair share of the processor, so that
 * its lag stays there; and at once when somebody waits for what it has not
 * got. */
#ifndef AUDIT_INDEXER_H
#define AUDIT_INDEXER_H

#include "lib/err.h"
#include "lib/str.h"

struct indexer;

struct indexer_options {
    const char *state_dir; /* DIR; copied */
    /* How many entries are durable (journal_size). Called on the indexer's
     * thread, and on that of indexer_wait. */
    uint64_t (*size)(void *context);
    void *context;
    uint64_t range;    /* entries per file; 0: 4,194,304 */
    uint64_t may_wait; /* entries, for the sake of requests; 0: none */
};

/* Makes DIR/index where it is missing, and starts the thread. It returns at
 * once: damage is found and mended by the thread. gives *out. */
enum err indexer_start(const struct indexer_options *options,
    struct indexer **out, struct errinfo *info) MUSTCHECK;
/* Commits what was read, syncs the files, joins, frees. NULL ok. */
void indexer_stop(struct indexer **indexer);

/* Any thread from here on. */
/* Says that the journal has grown; it is also noticed without. Cheap. */
void indexer_wake(struct indexer *indexer);
/* Entries below this are in the index. */
uint64_t indexer_position(const struct indexer *indexer);
/* The last attempt failed; it is repeated every few seconds. `why` may be
 * NULL. */
bool indexer_failed(struct indexer *indexer, struct errinfo *why);
/* Blocks until `position` entries are in the index. ERR_TIMEOUT: not within
 * that time, or the index has failed. For the admin plane, never on a worker:
 * a query after this sees the request that was just made. */
enum err indexer_wait(
    struct indexer *indexer, uint64_t position, int64_t timeout_us) MUSTCHECK;
/* Asks for the file that holds entry `index` to be set aside and built anew:
 * a reader found it damaged, or `audit reindex`. */
void indexer_rebuild(struct indexer *indexer, uint64_t index);

/* Files of it were removed on purpose (audit/prune.h): looks at all of them
 * anew, and builds what is missing. */
void indexer_reopen(struct indexer *indexer);

/* Brings the index up to `size` entries on this thread, without starting one:
 * for offline commands, which hold DIR/lock. */
enum err indexer_catch_up(
    const char *state_dir, uint64_t size, struct errinfo *info) MUSTCHECK;

#endif
