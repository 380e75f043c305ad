/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/recovery.h - what is done with a journal before it goes on.
 *
 * Loads the state, walks the tail behind it, and compares with the signed
 * checkpoint. Only the last frame may be torn; it is dropped. Everything else
 * that does not fit is refused with the place in the text: a bad frame before
 * a good one, a segment that is missing or foreign, a log that is smaller
 * than its checkpoint or has another root.
 *
 * After a stop without seal the tail past the last checkpoint is copied into
 * a new segment and synced, and the log goes on there: the page cache may show
 * pages that a failed sync never brought to the disk, and reading them again
 * proves nothing. The segments that this supersedes are cut where the new one
 * begins. DIR/lock is held by the caller. */
#ifndef AUDIT_RECOVERY_H
#define AUDIT_RECOVERY_H

#include "audit/checkpoint.h"
#include "audit/state.h"

struct recovery_options {
    const char *journal_dir;  /* DIR/journal */
    const char *segments_dir; /* DIR/journal/segments */
    const char *checkpoint;   /* DIR/log/checkpoint */
    uint64_t segment_bytes;
    uint8_t identity[SHA256_SIZE];
    const struct note_key *key;
};

struct recovered {
    struct audit_state state; /* owned: state_fini */
    bool sealed;              /* the last run ended with its seal */
    uint64_t tail;            /* entries copied into a new segment */
    bool torn;                /* a torn last frame was dropped */
    uint64_t unreadable;      /* entries that replay could not read */
};

enum err audit_recover(const struct recovery_options *options,
    struct recovered *out, struct errinfo *info) MUSTCHECK;

/* The identity of a log: a digest of its first verifier key's text. */
void audit_identity(const struct note_key *key, uint8_t out[SHA256_SIZE]);

#endif
