/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/held.h - what others hold of this log: are we still that log?
 *
 * A journal that was put back from an old copy (a backup, the snapshot of a
 * virtual machine) is whole in itself, and would go on to sign checkpoints
 * that disagree with those it signed before. Only what was given away tells:
 * before anything is signed, the entries are laid beside the newest
 * checkpoints that others kept. */
#ifndef AUDIT_HELD_H
#define AUDIT_HELD_H

#include "audit/checkpoint.h"

/* Reads the newest note at a path: a note, a file that notes were appended
 * to, or a folder of checkpoint-SIZE files. *note borrows from file.
 * ERR_NOTFOUND: there is none (yet). */
enum err held_read(const char *path, struct buf *file, struct str *note,
    struct errinfo *info) MUSTCHECK;

struct held {
    const char *from; /* for the words: a path, or an anchor's name */
    uint64_t size;
    struct merkle_hash root;
};
/* The note, which must be signed by the log's key. *out borrows `from`. */
enum err held_open(const char *from, struct str note,
    const struct note_key *key, struct held *out,
    struct errinfo *info) MUSTCHECK;

/* Reads every entry of the journal in segments_dir once; of those that were
 * pruned the hash tiles in log_dir. *size: how many there are. ERR_WRONG_STATE:
 * a checkpoint covers more than there is (*worst is which one). ERR_DENIED: the
 * entries have another root than was signed. ERR_CORRUPT: the journal itself is
 * damaged. */
enum err held_compare(const char *segments_dir, const char *log_dir,
    const uint8_t identity[SHA256_SIZE], const struct held *held, size_t count,
    uint64_t *size, size_t *worst, struct errinfo *info) MUSTCHECK;

#endif
