/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/verify_align.h - lays the entries that were found beside the hashes
 * that were published, and tells where they part: altered, removed, put in,
 * moved. Internal to audit/verify.c. Bounded memory: a window of entries. */
#ifndef AUDIT_VERIFY_ALIGN_H
#define AUDIT_VERIFY_ALIGN_H

#include "audit/verify.h"

/* An entry that was found. */
struct align_item {
    struct merkle_hash leaf;
    bool unreadable;          /* it has a place, and no readable bytes */
    uint64_t segment, offset; /* of its frame */
    uint32_t ordinal;         /* in the frame */
};

struct align;

struct align_options {
    /* The published hash of entry `index`; false: none was published. */
    bool (*published)(void *context, uint64_t index, struct merkle_hash *out);
    /* kind, published index (or the place where it would be), count, other
     * (swapped), and one of the items concerned (NULL: removed). */
    void (*report)(void *context, enum verify_kind kind, uint64_t index,
        uint64_t count, uint64_t other, const struct align_item *item);
    void *context;
};

struct align *align_new(const struct align_options *options);
void align_free(struct align **align);
void align_add(struct align *align, const struct align_item *item);
/* `count` entries are known to be missing here. */
void align_gap(struct align *align, uint64_t count);
void align_end(struct align *align);
/* Whether all so far stood where it was published. */
bool align_is_even(const struct align *align);

#endif
