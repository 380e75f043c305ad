/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/state.h - DIR/journal/state: where the log stood when it was last
 * looked at, so that a start need not read all of it.
 *
 * Two generations (state, state.previous), each checksummed and replaced
 * atomically. It is a cache of the journal but for two things: what was signed
 * last (never two checkpoints that disagree), and that the last run ended in
 * good order. One thread. */
#ifndef AUDIT_STATE_H
#define AUDIT_STATE_H

#include "audit/journal_reader.h"
#include "audit/merkle.h"
#include "audit/replay.h"

#define STATE_MOST (UINT32_C(1) << 30) /* bytes of one */

struct audit_state {
    uint8_t identity[SHA256_SIZE];
    struct journal_place place; /* behind the last frame that is in here */
    struct journal_place last;  /* where that frame began; sequence 0: none */
    bool sealed; /* all of it is durable, and nothing was written since */
    struct merkle_frontier tree;
    uint64_t signed_size;
    struct merkle_hash signed_root;
    struct replay *replay; /* owned */
};

/* An empty log. ERR_NOMEM. */
enum err state_init(
    struct audit_state *state, const uint8_t identity[SHA256_SIZE]) MUSTCHECK;
void state_fini(struct audit_state *state);

/* As bytes, which carry a checksum; failed in *out: out of memory. */
void state_encode(const struct audit_state *state, struct buf *out);
/* ERR_CORRUPT: damaged; ERR_DENIED: of another log; ERR_NOMEM. */
enum err state_decode(struct str bytes, const uint8_t identity[SHA256_SIZE],
    struct audit_state *out) MUSTCHECK;

enum err state_save(const char *journal_dir, const struct audit_state *state,
    struct errinfo *info) MUSTCHECK;
/* The newest generation that is whole. ERR_NOTFOUND: neither file exists;
 * ERR_CORRUPT: none is whole, info tells why; ERR_DENIED: of another log.
 * *fallback: the newer one was damaged or missing. */
enum err state_load(const char *journal_dir,
    const uint8_t identity[SHA256_SIZE], struct audit_state *out,
    bool *fallback, struct errinfo *info) MUSTCHECK;

#endif
