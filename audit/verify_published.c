/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/verify_published.c - tiles and bundles beside the entries. See
 * verify_priv.h. */
#include "audit/verify_priv.h"

#include "lib/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* --- What was published ---------------------------------------------------
 */

unsigned verify_tile_width(const struct verifier *v, uint64_t tile)
{
    uint64_t rest = v->published - tile * TILE_WIDTH;
    return rest < TILE_WIDTH ? (unsigned)rest : TILE_WIDTH;
}

/* Callback of the aligner. */
bool verify_published_hash(
    void *context, uint64_t index, struct merkle_hash *out)
{
    struct verifier *v = context;
    if (index >= v->published || v->tile_missing)
        return false;
    uint64_t tile = index / TILE_WIDTH;
    unsigned slot = (unsigned)(tile % TILE_CACHE);
    if (!v->tiles[slot].used || v->tiles[slot].index != tile) {
        struct errinfo info = {0};
        v->tiles[slot].used = false;
        unsigned width = verify_tile_width(v, tile);
        if (tile_read(v->log_dir, 0, tile, width, v->tiles[slot].hashes,
                &info) != ERR_OK) {
            v->tile_missing = true;
            verify_tell_text(v, VERIFY_TILE,
                "%s; single entries from %" PRIu64 " on cannot be named",
                info.text, tile * TILE_WIDTH);
            return false;
        }
        v->tiles[slot].used = true;
        v->tiles[slot].index = tile;
        v->tiles[slot].width = width;
        if (tile == v->tiles_pushed) {
            for (unsigned i = 0; i < width; i++)
                merkle_push(&v->tile_tree, v->hash, &v->tiles[slot].hashes[i],
                    NULL, NULL);
            v->tiles_pushed++;
        }
    }
    *out = v->tiles[slot].hashes[index % TILE_WIDTH];
    return true;
}

/* The id of a published entry, from its bundle, if that is genuine. */
bool verify_published_id(struct verifier *v, uint64_t index, char id[32])
{
    char name[TILE_PATH_MAX];
    struct merkle_hash expected, leaf;
    if (!verify_published_hash(v, index, &expected))
        return false;
    uint64_t tile = index / TILE_WIDTH;
    tile_path(name, TILE_ENTRIES, tile, verify_tile_width(v, tile));
    char *path = file_join(v->log_dir, name);
    struct buf bytes;
    buf_init(&bytes, BUNDLE_MOST);
    bool found = false;
    if (path != NULL && file_read(path, &bytes, NULL) == ERR_OK) {
        size_t at = 0;
        struct str entry;
        for (uint64_t i = tile * TILE_WIDTH; i <= index; i++)
            if (!frame_next_entry((const uint8_t *)buf_str(&bytes).ptr,
                    bytes.len, &at, &entry))
                entry = STR("");
        merkle_leaf(v->hash, entry, &leaf);
        found = merkle_equal(&leaf, &expected) && verify_id_of(v, entry, id);
    }
    buf_fini(&bytes);
    free(path);
    return found;
}

/* --- Tiles and bundles beside the entries -----------------------------------
 */

static void check_tile(
    struct verifier *v, int level, uint64_t index, unsigned width)
{
    struct merkle_hash there[TILE_WIDTH];
    struct errinfo info = {0};
    if (tile_read(v->log_dir, level, index, width, there, &info) != ERR_OK)
        verify_tell_text(v, VERIFY_TILE, "%s", info.text);
    else if (memcmp(there, v->levels[level], width * sizeof(*there)) != 0) {
        char name[TILE_PATH_MAX];
        tile_path(name, level, index, width);
        verify_tell_text(v, VERIFY_TILE,
            "log/%s does not hold the hashes of the tiles below it", name);
    }
}

/* Callback of the tree of found entries: level 8, 16 ... are tile hashes. */
void verify_on_completed(void *context, unsigned level, uint64_t index,
    const struct merkle_hash *node)
{
    struct verifier *v = context;
    if (level % 8 != 0)
        return;
    int tile_level = (int)(level / 8);
    v->levels[tile_level][index % TILE_WIDTH] = *node;
    uint64_t hashes = v->published >> level;
    if (index % TILE_WIDTH == TILE_WIDTH - 1 && index < hashes &&
        align_is_even(v->align))
        check_tile(v, tile_level, index / TILE_WIDTH, TILE_WIDTH);
}

void verify_partial_tiles(struct verifier *v)
{
    for (int level = 1; level < TILE_LEVELS; level++) {
        uint64_t hashes = v->published >> (8 * level);
        if (hashes % TILE_WIDTH != 0)
            check_tile(
                v, level, hashes / TILE_WIDTH, (unsigned)(hashes % TILE_WIDTH));
    }
}

/* The first entry that the two runs of entries do not share. */
static uint64_t first_difference(struct str a, struct str b)
{
    size_t at_a = 0, at_b = 0;
    struct str x, y;
    uint64_t i = 0;
    while (frame_next_entry((const uint8_t *)a.ptr, a.len, &at_a, &x) &&
           frame_next_entry((const uint8_t *)b.ptr, b.len, &at_b, &y) &&
           str_equal(x, y))
        i++;
    return i;
}

void verify_bundle(struct verifier *v, uint64_t tile, unsigned width)
{
    char name[TILE_PATH_MAX];
    struct errinfo info = {0};
    struct buf bytes;
    buf_init(&bytes, BUNDLE_MOST);
    tile_path(name, TILE_ENTRIES, tile, width);
    char *path = file_join(v->log_dir, name);
    enum err err = path == NULL ? ERR_NOMEM : file_read(path, &bytes, &info);
    if (err != ERR_OK) {
        verify_tell_text(v, VERIFY_TILE, "%s", info.text);
    } else if (!str_equal(buf_str(&bytes), buf_str(&v->bundle))) {
        struct verify_finding finding = FINDING(VERIFY_TILE);
        finding.index =
            (int64_t)(tile * TILE_WIDTH +
                      first_difference(buf_str(&bytes), buf_str(&v->bundle)));
        finding.count = 1;
        snprintf(finding.text, sizeof(finding.text),
            "log/%s does not hold the entries of the journal, from entry "
            "%" PRId64 " on",
            name, finding.index);
        verify_tell(v, &finding);
    }
    free(path);
    buf_fini(&bytes);
}
