/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/prune.h - taking a prefix of the log away (pruned.h says what then
 * stands there).
 *
 * Three steps, so that a crash between any two of them leaves a log that
 * starts and verifies: prune_prepare writes what will stand in the prefix's
 * place and tells what has to go on record; the caller makes that record
 * durable; prune_apply writes the marker, which decides it, and then removes
 * the files. Whether the prefix may go at all is not decided here
 * (proxy/admin/prune.c). One thread; the log may run beside it. */
#ifndef AUDIT_PRUNE_H
#define AUDIT_PRUNE_H

#include "audit/checkpoint.h"
#include "audit/pruned.h"

/* A place where pruning can end: a segment whose entries are all later. */
struct prune_place {
    uint64_t entries, segment;
    int64_t time_us;   /* of the first entry that would be kept */
    uint64_t segments; /* that would go */
    uint64_t bytes;    /* of them */
};
/* All places behind what is pruned already, ascending. *out is malloc'ed. */
enum err prune_places(const char *segments_dir, struct prune_place **out,
    size_t *count, struct errinfo *info) MUSTCHECK;

/* Reads the prefix once more, holds it against the tiles of the checkpoint and
 * writes base-ENTRIES and past-ENTRIES (`past`, the control state as of its
 * end). Fills *out but for disposal and time. ERR_CORRUPT: the prefix is not
 * what was signed. */
enum err prune_prepare(const char *state_dir, const struct prune_place *place,
    const struct checkpoint *checkpoint, struct str past, struct pruned *out,
    struct errinfo *info) MUSTCHECK;

struct prune_away {
    uint64_t files, bytes;
};
/* Writes the marker and removes the segments, entry bundles and index files
 * of the prefix; an index file that reaches beyond it goes too and is built
 * anew by the indexer. May be repeated: counts what it still found. */
enum err prune_apply(const char *state_dir, const struct pruned *pruned,
    struct prune_away *away, struct errinfo *info) MUSTCHECK;

#endif
