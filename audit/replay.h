/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/replay.h - what the entries add up to: quota figures, admissions
 * that are open, the control state's digest, the outbox.
 *
 * Calendar windows: request.admitted adds what it reserved to the window that
 * it names, windows only move forward; request.completed and .withdrawn give
 * back what was reserved and not settled, if the window is still the bucket's.
 * Rates: the arrival time with the highest step holds. One thread. */
#ifndef AUDIT_REPLAY_H
#define AUDIT_REPLAY_H

#include "audit/log.h"

struct replay;
struct replay *replay_new(void); /* gives; NULL: out of memory */
void replay_free(struct replay **replay);

/* ERR_SYNTAX: not an entry of ours, nothing was changed; ERR_NOMEM. */
enum err replay_entry(struct replay *replay, uint64_t index, struct str entry,
    struct errinfo *info) MUSTCHECK;

/* Fills last_time_us, control digest, outbox, buckets and open admissions;
 * borrows until the next change. */
void replay_result(const struct replay *replay, struct audit_replayed *out);

/* As bytes, for the state file. replay_read consumes from *bytes. */
void replay_write(const struct replay *replay, struct buf *out);
enum err replay_read(struct replay *replay, struct str *bytes) MUSTCHECK;

#endif
