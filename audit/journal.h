/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/journal.h - the durable order of all entries: the truth.
 *
 * Producers (one per worker, one for the admin plane ...) put entries into
 * buffers of their own and hand them over once per loop turn; one journal
 * thread appends everything that has come as one frame, one fdatasync, one
 * wake-up per producer (group commit). Segments are zero-filled ahead; whole
 * 4 KiB pages are written from a kept tail page. The frame is {magic, first
 * index, count, length, CRC-32C, SHA-256 of the previous frame}.
 *
 * A failed write or fdatasync inside a segment stops the journal for good
 * (journal_state JOURNAL_FAILED): the process must stop admitting and exit.
 * No room for a next segment is JOURNAL_FULL: admissions are refused, room
 * already granted stays good, and it is tried again every second. */
#ifndef AUDIT_JOURNAL_H
#define AUDIT_JOURNAL_H

#include "lib/err.h"
#include "lib/str.h"

#define JOURNAL_ENTRY_MAX 65535

struct journal;
struct journal_producer;

enum journal_state { JOURNAL_OK, JOURNAL_FULL, JOURNAL_FAILED };
enum journal_state journal_state(
    const struct journal *journal); /* any thread */

/* wake is called on the journal thread, once per durable batch that holds
 * entries of this producer, and on a change of state; it must only signal
 * (loop_wake). max_bytes bounds what waits in this producer's buffers.
 * gives *out; a producer belongs to one thread. */
enum err journal_producer_new(struct journal *journal, size_t max_bytes,
    void (*wake)(void *context), void *context,
    struct journal_producer **out) MUSTCHECK;
void journal_producer_free(struct journal_producer **producer);

/* Copies one entry (canonical JSON). time_offset is where its 27-byte
 * timestamp stands (inside the quotes); the journal thread writes the final
 * time there, which never decreases along the log. *ticket numbers this
 * producer's entries from 1.
 *
 * `room` is asked for what must surely follow (an admission's completion);
 * it is set aside on disk and in the buffer and used up by
 * journal_append_reserved. ERR_FULL: no room on disk or in the buffer, nothing
 * was taken; ERR_WRONG_STATE: the journal has failed; ERR_RANGE: entry too
 * long. */
enum err journal_append(struct journal_producer *producer, struct str entry,
    size_t time_offset, size_t room, uint64_t *ticket) MUSTCHECK;
/* An entry paid for by `room` of an earlier append (entry.len <= room; the
 * rest of the room is given back). Fails only when the journal has failed. */
enum err journal_append_reserved(struct journal_producer *producer,
    struct str entry, size_t time_offset, size_t room,
    uint64_t *ticket) MUSTCHECK;
/* Gives room back without an entry. */
void journal_release_room(struct journal_producer *producer, size_t room);

/* Hands over what was appended; cheap when nothing was. Once per loop turn. */
void journal_submit(struct journal_producer *producer);
/* Every ticket up to this one is durable. Acquire semantics. */
uint64_t journal_durable(const struct journal_producer *producer);
/* Blocks until the ticket is durable: for the admin plane and start-up, never
 * on a worker. ERR_WRONG_STATE: the journal has failed. */
enum err journal_wait(
    struct journal_producer *producer, uint64_t ticket) MUSTCHECK;

/* How many entries the log has that are durable. Any thread. */
uint64_t journal_size(const struct journal *journal);

#endif
