/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/publisher.h - follows the journal: the Merkle tree, the state file,
 * DIR/log (tiles and checkpoint), once a second while there is news; the tree
 * follows ten times a second.
 *
 * The order of one publication: only entries that are durable enter the tree;
 * the tiles are written; what is about to be signed is made durable in the
 * state file; then the checkpoint is signed and replaced atomically. So a
 * checkpoint never covers what can be lost, and no two disagree. */
#ifndef AUDIT_PUBLISHER_H
#define AUDIT_PUBLISHER_H

#include "audit/checkpoint.h"
#include "audit/journal.h"
#include "audit/state.h"

struct publisher_options {
    const char *journal_dir;  /* DIR/journal */
    const char *segments_dir; /* DIR/journal/segments */
    const char *log_dir;      /* DIR/log */
    const struct journal *journal;
    const struct note_signer *signer;
    /* Signs too until old_until_us (a rotation's overlap); may be NULL. */
    const struct note_signer *old_signer;
    int64_t old_until_us;
    int64_t every_us; /* between publications; 0: one second */
    /* Once: what was durable cannot be read back as it was written. */
    void (*failed)(void *context, const char *why);
    void *context;
};

struct publisher;
/* keeps what options point to. takes *state (its replay moves). */
enum err publisher_start(const struct publisher_options *options,
    struct audit_state *state, struct publisher **out,
    struct errinfo *info) MUSTCHECK;
/* Publishes what the journal has, saves the state (as sealed, where the last
 * frame carries the seal), joins, frees. */
void publisher_stop(struct publisher **publisher);
/* From the next checkpoint on; copies. old may be NULL. Any thread. */
void publisher_set_signers(struct publisher *publisher,
    const struct note_signer *signer, const struct note_signer *old,
    int64_t old_until_us);
/* How many entries the newest checkpoint covers. Any thread. */
uint64_t publisher_size(const struct publisher *publisher);
/* Waits until a checkpoint covers `size` entries; publishes at once. */
enum err publisher_await(
    struct publisher *publisher, uint64_t size, struct errinfo *info) MUSTCHECK;

/* Signs `size` and `root` and replaces log_dir/checkpoint. For the log's
 * creation; the publisher does it by itself. */
enum err publisher_write_checkpoint(const char *log_dir,
    const struct note_signer *signer, uint64_t size,
    const struct merkle_hash *root, struct errinfo *info) MUSTCHECK;

#endif
