/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/pruned.h - which prefix of the log was pruned (C2SP tlog-tiles,
 * "Pruning"), and what stands in its place.
 *
 * journal/segments/pruned is one line of canonical JSON and says that the
 * entries [0, entries) are gone on purpose: {"base", "disposal", "entries",
 * "past", "root", "segment", "time", "v"}. It is made durable before the first
 * file goes; what a segment below `segment` still holds then counts for
 * nothing. The same object stands as detail.prefix in an entry
 * audit.prune_begun of what was kept, so that nobody can cover up a removal
 * with a marker of his own: verify.h compares.
 *
 * Beside it: base-ENTRIES, the audit state at that place (audit/state.h), from
 * which state is rebuilt and the tree goes on; and past-ENTRIES, the control
 * state as the pruned entries had built it up (proxy/admin/past.h). The hash
 * tiles of the prefix stay in DIR/log/tile and are no longer derived from
 * anything. */
#ifndef AUDIT_PRUNED_H
#define AUDIT_PRUNED_H

#include "audit/merkle.h"
#include "lib/buf.h"

#define PRUNED_FILE "pruned"
#define PRUNED_EVENT "audit.prune_begun"
#define PRUNED_TEXT_MAX 1024
#define PRUNED_WORDS_MAX 160

struct pruned {
    uint64_t entries; /* the first that is kept; 0: nothing was pruned */
    uint64_t segment; /* that begins with it */
    int64_t time_us;
    struct merkle_hash root;   /* of the pruned entries */
    uint8_t base[SHA256_SIZE]; /* of the file base-ENTRIES */
    uint8_t past[SHA256_SIZE]; /* of the file past-ENTRIES */
    char disposal[32];
};

/* Entry bundles that end at or below it are not published; the specification's
 * minimum index: entries, rounded up to a whole bundle. */
uint64_t pruned_minimum_index(const struct pruned *pruned);
/* "entries 0 to 41 were pruned on 2026-11-27 (disposal 01J...)" */
void pruned_words(const struct pruned *pruned, char out[PRUNED_WORDS_MAX]);

/* Canonical, without a newline. */
void pruned_write(const struct pruned *pruned, struct buf *out);
enum err pruned_parse(
    struct str text, struct pruned *out, struct errinfo *info) MUSTCHECK;
/* Of a folder of segments; ERR_OK with entries 0: there is no marker.
 * ERR_CORRUPT: it is damaged. */
enum err pruned_load(const char *segments_dir, struct pruned *out,
    struct errinfo *info) MUSTCHECK;

/* gives segments_dir/WHAT-ENTRIES ("base", "past"); NULL: out of memory. */
char *pruned_path(const char *segments_dir, const char *what, uint64_t entries);
/* Reads one of them and compares its digest. ERR_CORRUPT, ERR_NOTFOUND. */
enum err pruned_read(const char *segments_dir, const struct pruned *pruned,
    const char *what, struct buf *out, struct errinfo *info) MUSTCHECK;

/* Is this entry the record of this pruning? */
bool pruned_is_recorded_by(const struct pruned *pruned, struct str entry);

#endif
