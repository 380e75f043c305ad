/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/verify.h - is the log whole? Read-only, offline or beside a running
 * server, on a state directory or a copy of one.
 *
 * Checked: every segment header and frame (checksum, order, chain of hashes),
 * the Merkle root against the newest signed checkpoint, hash tiles and entry
 * bundles against the entries, the state file, and the checkpoint against an
 * older one that somebody else kept; and the files of kept content
 * (audit/blob.h) against the entries that commit to them; and, asked for, the
 * index against the entries that it was made of (audit/verify_index.h). The
 * tiles hold the hash of each entry: where the journal departs from them the
 * single entry that was altered, removed, put in or moved is named.
 *
 * Of a prefix that was pruned (pruned.h) the hashes are laid beside the signed
 * root, and a signed entry must say that it was pruned.
 *
 * What is proven is that nothing changed since the checkpoint that was kept
 * outside; without one, since a checkpoint that whoever holds the key may
 * have signed anew. */
#ifndef AUDIT_VERIFY_H
#define AUDIT_VERIFY_H

#include "audit/merkle.h"

enum verify_kind {
    VERIFY_NOTE,       /* not a fault */
    VERIFY_DAMAGED,    /* a frame, segment or file that cannot be read */
    VERIFY_ALTERED,    /* an entry with other bytes than were published */
    VERIFY_REMOVED,    /* an entry that was published and is not there */
    VERIFY_INSERTED,   /* an entry that was not published */
    VERIFY_SWAPPED,    /* two entries that changed places */
    VERIFY_CUT,        /* the end is missing */
    VERIFY_CHAIN,      /* a frame does not continue the one before */
    VERIFY_CHECKPOINT, /* bad signature, or another root than was signed */
    VERIFY_TILE,       /* a tile or bundle that does not fit the entries */
    VERIFY_CONTENT,    /* a kept file that its entry does not commit to, or
                          that is missing without a record of its erasure */
    VERIFY_INDEX       /* the index, asked for, says something else */
};
const char *verify_kind_name(enum verify_kind kind); /* "altered" ... */

struct verify_finding {
    enum verify_kind kind;
    uint64_t segment; /* 0: none */
    uint64_t offset;  /* of the frame in the segment */
    int64_t index;    /* of the entry; -1: none */
    int64_t other;    /* swapped: the other entry; else -1 */
    uint64_t count;   /* entries concerned, from index on; 0: unknown */
    char id[32];      /* of the request (or act); "" unknown */
    char text[512];   /* one sentence that says all of it */
};

struct verify_options {
    const char *state_dir;
    struct str key;     /* verifier key; empty: DIR/log.vkey is taken */
    struct str against; /* text of an older checkpoint, or empty */
    bool index;         /* compare the index with the entries, too */
    void (*finding)(void *context, const struct verify_finding *finding);
    /* Now and then; total is an estimate. May be NULL. */
    void (*progress)(void *context, uint64_t entries, uint64_t total);
    void *context;
};

struct verify_result {
    uint64_t faults; /* findings that are not notes */
    uint64_t entries;
    bool has_checkpoint;
    uint64_t checkpoint_size;
    bool has_against;
    uint64_t against_size;
    struct merkle_hash root; /* of the entries found */
    char origin[256];
};

/* ERR_OK: all was looked at; result->faults tells. Else verification itself
 * could not be done (no such directory, no key, out of memory). */
enum err audit_verify(const struct verify_options *options,
    struct verify_result *result, struct errinfo *info) MUSTCHECK;

#endif
