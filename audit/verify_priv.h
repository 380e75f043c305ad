/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/verify_priv.h - what verify.c (the journal, the verdict) and
 * verify_published.c (tiles and bundles) share. */
#ifndef AUDIT_VERIFY_PRIV_H
#define AUDIT_VERIFY_PRIV_H

#include "audit/checkpoint.h"
#include "audit/journal_reader.h"
#include "audit/state.h"
#include "audit/tiles.h"
#include "audit/verify_align.h"
#include "audit/verify_content.h"
#include "audit/verify_index.h"

#define BUNDLE_MOST (TILE_WIDTH * (65535 + 2))
#define PARTED_MOST 200 /* told one by one; the rest is counted */
#define TILE_CACHE 4

/* A difference between entries and tiles; which of the two is wrong is known
 * at the end. */
struct parted {
    enum verify_kind kind;
    uint64_t index, count, other;
    bool has_item;
    struct align_item item;
};

/* A prefix that was pruned (pruned.h; entries 0: none), and what the entries
 * that were kept say of it. */
struct verify_pruned {
    struct pruned mark;
    bool recorded;
    char certificate[2 * SHA256_SIZE + 1];
};

struct verifier {
    const struct verify_options *options;
    struct verify_result *result;
    char *journal_dir, *segments_dir, *log_dir, *checkpoint_path;
    struct note_key key;
    uint8_t identity[SHA256_SIZE];
    struct buf note;
    struct checkpoint checkpoint, against;
    bool has_state;
    struct audit_state state;
    struct journal_reader *reader;
    struct crypto_hash *hash;
    /* the entries found */
    uint64_t fed;
    bool unreadable; /* some have no bytes: roots tell nothing */
    struct merkle_frontier tree;
    struct merkle_hash root_at_checkpoint, root_at_against;
    bool reached_checkpoint, reached_against;
    struct merkle_hash levels[TILE_LEVELS][TILE_WIDTH];
    /* what was published */
    uint64_t published;
    bool tile_missing;
    struct {
        bool used;
        uint64_t index;
        unsigned width;
        struct merkle_hash hashes[TILE_WIDTH];
    } tiles[TILE_CACHE];
    uint64_t tiles_pushed;
    struct merkle_frontier tile_tree;
    struct align *align;
    struct parted parted[PARTED_MOST];
    uint64_t parted_count;
    struct buf bundle; /* of the entries, to lay beside the file */
    struct arena *arena;
    struct content_check *content;
    struct verify_pruned pruned;
    struct index_check *index; /* NULL: not asked for */
};

/* What was pruned: by its hash tiles alone, or where those are not whole by
 * what the pruning left. */
void verify_take_pruned(struct verifier *v, const struct pruned *pruned);
/* For each entry that is there. */
void verify_pruned_entry(struct verifier *v, uint64_t index, struct str entry);
/* After the last entry: is it on record? */
void verify_judge_pruned(struct verifier *v);

#define FINDING(of_kind)                                                       \
    ((struct verify_finding){.kind = (of_kind), .index = -1, .other = -1})
void verify_tell(struct verifier *v, struct verify_finding *finding);
void verify_tell_text(struct verifier *v, enum verify_kind kind,
    const char *format, ...) PRINTFLIKE(3, 4);
/* The tree has another size: is it one that was signed? */
void verify_reach_roots(struct verifier *v);
/* The "id" of an entry, from what can be read of it. */
bool verify_id_of(struct verifier *v, struct str entry, char id[32]);

/* The width of a level-0 tile of what was published. */
unsigned verify_tile_width(const struct verifier *v, uint64_t tile);
/* The aligner's call-back: the published hash of an entry. */
bool verify_published_hash(
    void *context, uint64_t index, struct merkle_hash *out);
/* The id of a published entry, from its bundle, if that is genuine. */
bool verify_published_id(struct verifier *v, uint64_t index, char id[32]);
/* The call-back of the tree of found entries: compares full tiles. */
void verify_on_completed(void *context, unsigned level, uint64_t index,
    const struct merkle_hash *node);
/* The incomplete tiles of levels 1 and up, when all that was published has
 * been found. */
void verify_partial_tiles(struct verifier *v);
/* v->bundle beside the file. */
void verify_bundle(struct verifier *v, uint64_t tile, unsigned width);

#endif
