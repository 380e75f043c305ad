/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/prove.h - proofs that others can check: that an entry is in the log a
 * checkpoint was signed over, that one checkpoint continues another, that a
 * range of entries is what was signed.
 *
 * A proof is a file of c2sp.org/tlog-proof@v1: its "extra" line carries the
 * entry itself, so that the file needs nothing beside the log's key. Hashes
 * come from the tiles of DIR/log and are not trusted: what is made here is
 * verified (RFC 9162 sections 2.1.3.2 and 2.1.4.2) before it is given. Works
 * on a copy of the directory as well. Any thread. */
#ifndef AUDIT_PROVE_H
#define AUDIT_PROVE_H

#include "audit/checkpoint.h"
#include "audit/verify.h"
#include "lib/arena.h"

#define PROOF_TEXT_MAX (2u << 20)

/* The log's verifier key: `given`, or where it is empty DIR/log.vkey; with the
 * keys that took over from it, where state_dir is not NULL. */
enum err audit_key_read(const char *state_dir, struct str given,
    struct note_key *out, struct errinfo *info) MUSTCHECK;

/* The proof of entry `index` under the checkpoint `note`, appended. `entry`
 * are its bytes. ERR_RANGE: the checkpoint does not cover it; ERR_CORRUPT:
 * the tiles do not fit the checkpoint, or the entry is another. */
enum err audit_prove(const char *log_dir, const struct note_key *key,
    struct str note, uint64_t index, struct str entry, struct buf *out,
    struct errinfo *info) MUSTCHECK;
/* The same as hashes only, for an export's line. `checkpoint` was opened. */
enum err audit_prove_hashes(const char *log_dir,
    const struct checkpoint *checkpoint, uint64_t index, struct str entry,
    struct merkle_proof *out, struct errinfo *info) MUSTCHECK;

struct audit_proof {
    uint64_t index;
    bool has_entry;
    struct str entry; /* of "extra"; in the arena */
    struct merkle_proof hashes;
    struct str note; /* borrowed from the text */
};
/* Whether a text claims to be a proof. */
bool audit_proof_is(struct str text);
/* ERR_SYNTAX: the line and what is wrong with it. */
enum err audit_proof_parse(struct arena *arena, struct str text,
    struct audit_proof *out, struct errinfo *info) MUSTCHECK;
/* `entry`: empty, or the bytes that the proof is to be about. *checkpoint (of
 * proof->note) may be NULL. ERR_DENIED: another key's; ERR_CORRUPT: it does
 * not hold. */
enum err audit_proof_verify(const struct audit_proof *proof,
    const struct note_key *key, struct str entry, struct checkpoint *checkpoint,
    struct errinfo *info) MUSTCHECK;

/* Whether the log of the larger checkpoint begins with that of the smaller,
 * by a consistency proof made from log_dir. ERR_CORRUPT: it does not;
 * ERR_NOTFOUND: log_dir does not reach so far. */
enum err audit_checkpoints_agree(const char *log_dir,
    const struct checkpoint *a, const struct checkpoint *b,
    struct errinfo *info) MUSTCHECK;

/* Entries [from, to) of journal and bundles against the signed checkpoint:
 * only their tiles and the paths upwards are read. options as of
 * audit_verify (`against` is the checkpoint to hold them to; empty: that of
 * the directory). */
enum err audit_verify_range(const struct verify_options *options, uint64_t from,
    uint64_t to, struct verify_result *result, struct errinfo *info) MUSTCHECK;

#endif
