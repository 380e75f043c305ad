/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/verify_align.c - see verify_align.h. */
#include "audit/verify_align.h"

#include <stdlib.h>

#define WINDOW 512 /* a power of two */
#define LOOKAHEAD 256

struct align {
    struct align_options options;
    uint64_t at; /* published index that items[first] stands beside */
    unsigned first, count;
    bool parted;
    struct align_item items[WINDOW];
};

struct align *align_new(const struct align_options *options)
{
    struct align *align = calloc(1, sizeof(*align));
    if (align != NULL)
        align->options = *options;
    return align;
}

void align_free(struct align **align)
{
    free(*align);
    *align = NULL;
}

static struct align_item *item_at(struct align *align, unsigned i)
{
    return &align->items[(align->first + i) % WINDOW];
}

static void drop(struct align *align, unsigned n)
{
    align->first = (align->first + n) % WINDOW;
    align->count -= n;
}

static bool published(
    const struct align *align, uint64_t index, struct merkle_hash *out)
{
    return align->options.published(align->options.context, index, out);
}

static bool fits(
    const struct align_item *item, const struct merkle_hash *expected)
{
    return !item->unreadable && merkle_equal(&item->leaf, expected);
}

/* How far on the item's hash was published; 0: nowhere near. */
static uint64_t find_published(
    const struct align *align, const struct align_item *item)
{
    struct merkle_hash expected;
    for (uint64_t d = 1; d < LOOKAHEAD && !item->unreadable &&
                         published(align, align->at + d, &expected);
         d++)
        if (merkle_equal(&item->leaf, &expected))
            return d;
    return 0;
}

/* How far on the entry that is due here was found; 0: nowhere near. */
static unsigned find_item(
    struct align *align, const struct merkle_hash *expected)
{
    for (unsigned d = 1; d < align->count && d < LOOKAHEAD; d++)
        if (fits(item_at(align, d), expected))
            return d;
    return 0;
}

static void report(struct align *align, enum verify_kind kind, uint64_t count,
    uint64_t other, const struct align_item *item)
{
    align->parted = true;
    align->options.report(
        align->options.context, kind, align->at, count, other, item);
}

/* The first item is not what was published at its place. */
static void part(struct align *align, const struct merkle_hash *expected)
{
    struct align_item *item = item_at(align, 0);
    uint64_t ahead = find_published(align, item);
    unsigned behind = find_item(align, expected);
    struct merkle_hash next;
    if (ahead > 0 && behind == ahead &&
        (ahead == 1 || (published(align, align->at + 1, &next) &&
                           fits(item_at(align, 1), &next)))) {
        report(align, VERIFY_SWAPPED, 1, align->at + ahead, item);
        /* The other one is dealt with. */
        item_at(align, behind)->leaf = item->leaf;
        align->at++;
        drop(align, 1);
    } else if (ahead > 0 && (behind == 0 || ahead <= behind)) {
        report(align, VERIFY_REMOVED, ahead, 0, NULL);
        align->at += ahead;
    } else if (behind > 0) {
        report(align, VERIFY_INSERTED, behind, 0, item);
        drop(align, behind);
    } else {
        report(align, VERIFY_ALTERED, 1, 0, item);
        align->at++;
        drop(align, 1);
    }
}

/* Deals with the window's front; `final`: nothing more will come. */
static void settle(struct align *align, bool final)
{
    while (align->count > 0) {
        struct merkle_hash expected;
        if (!published(align, align->at, &expected) ||
            fits(item_at(align, 0), &expected)) {
            align->at++;
            drop(align, 1);
        } else if (final || align->count >= LOOKAHEAD) {
            part(align, &expected);
        } else {
            return;
        }
    }
}

void align_add(struct align *align, const struct align_item *item)
{
    *item_at(align, align->count++) = *item;
    if (align->count == WINDOW || align->count == 1)
        settle(align, false);
    else if (align->count >= LOOKAHEAD)
        settle(align, false);
}

bool align_is_even(const struct align *align)
{
    return !align->parted && align->count == 0;
}

void align_gap(struct align *align, uint64_t count)
{
    settle(align, true);
    report(align, VERIFY_REMOVED, count, 0, NULL);
    align->at += count;
}

void align_end(struct align *align)
{
    settle(align, true);
    /* Published, and not there any more. */
    struct merkle_hash expected;
    uint64_t count = 0;
    while (published(align, align->at + count, &expected))
        count++;
    if (count > 0)
        report(align, VERIFY_REMOVED, count, 0, NULL);
}
