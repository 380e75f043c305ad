/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/journal_reader.h - reading the journal's frames in order.
 *
 * Used offline (recovery, verify) and beside the running journal thread
 * (publisher, indexer, scrubber): `limit` is then journal_size(), so that
 * nothing is given that is not durable. The checksum of each frame and the
 * order of the entries are always checked; with READER_CHAIN the hash of the
 * previous frame too. A reader belongs to one thread. */
#ifndef AUDIT_JOURNAL_READER_H
#define AUDIT_JOURNAL_READER_H

#include "audit/frame.h"
#include "audit/segment.h"

#define READER_CHAIN 1u /* compute and compare the hashes of frames */

struct journal_reader;

/* Where a reader stands or where it found something. */
struct journal_place {
    uint64_t sequence;             /* segment; 0: none */
    uint64_t offset;               /* in it: where the next frame begins */
    uint64_t index;                /* of the next entry */
    uint8_t previous[SHA256_SIZE]; /* of the frame before (READER_CHAIN) */
};

enum journal_fault {
    JOURNAL_FAULT_NONE,
    JOURNAL_FAULT_TORN,    /* the last frame is incomplete; nothing after it */
    JOURNAL_FAULT_DAMAGED, /* a bad frame, and good ones after it */
    JOURNAL_FAULT_CHAIN,   /* a frame that does not continue the one before */
    JOURNAL_FAULT_ORDER,   /* its entries are not the next ones */
    JOURNAL_FAULT_MISSING  /* a segment ends before the next one begins */
};

/* segments_dir: DIR/journal/segments. identity may be NULL. gives *out; it
 * stands at the first entry of the oldest segment: 0, or where pruning ended.
 */
enum err journal_reader_open(const char *segments_dir, const uint8_t *identity,
    unsigned flags, struct journal_reader **out,
    struct errinfo *info) MUSTCHECK;
void journal_reader_close(struct journal_reader **reader);

/* Goes to the frame that holds entry `index`, or to the end of the log where
 * index is its size. A hint (may be NULL, or of an earlier run) saves the
 * search; it is used only where it fits. ERR_NOTFOUND: past the end, or pruned
 * (info says so). */
enum err journal_reader_seek(struct journal_reader *reader, uint64_t index,
    const struct journal_place *hint, struct errinfo *info) MUSTCHECK;

/* The next frame whose first entry is below `limit`. *frame borrows from the
 * reader until the next call. ERR_NOTFOUND: there is none (the end of the log,
 * or the limit; journal_reader_fault tells whether a torn frame lies there).
 * ERR_CORRUPT: damage; info names segment, offset and entry, and
 * journal_reader_fault the kind. ERR_IO. */
enum err journal_reader_next(struct journal_reader *reader, uint64_t limit,
    struct frame *frame, struct errinfo *info) MUSTCHECK;

/* After ERR_CORRUPT: goes on behind the damage (at the next good frame, or at
 * the frame that does not fit as it is), without comparing with what was
 * before. For verification, which tells of all faults. ERR_NOTFOUND: nothing
 * follows. */
enum err journal_reader_resync(
    struct journal_reader *reader, struct errinfo *info) MUSTCHECK;

/* Where the next frame begins, and where the last one given began. */
void journal_reader_place(
    const struct journal_reader *reader, struct journal_place *out);
void journal_reader_last(
    const struct journal_reader *reader, struct journal_place *out);
enum journal_fault journal_reader_fault(const struct journal_reader *reader);
/* The list of segments as last read. Borrowed until the next call. */
const struct segment_list *journal_reader_segments(
    const struct journal_reader *reader);

/* One entry at a time, over journal_reader_next. */
struct journal_entry {
    uint64_t index;
    struct str bytes; /* borrowed until the next call */
};
struct journal_cursor {
    struct journal_reader *reader;
    struct frame frame;
    size_t at;
    uint64_t index;
};
/* Starts at entry `index`. keeps reader. */
enum err journal_cursor_init(struct journal_cursor *cursor,
    struct journal_reader *reader, uint64_t index,
    struct errinfo *info) MUSTCHECK;
/* ERR_NOTFOUND at `limit` or the end. */
enum err journal_cursor_next(struct journal_cursor *cursor, uint64_t limit,
    struct journal_entry *out, struct errinfo *info) MUSTCHECK;

#endif
