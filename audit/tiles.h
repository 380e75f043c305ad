/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/tiles.h - the log laid out as C2SP tlog-tiles v0.1.0 under DIR/log.
 *
 * tile/L/N holds up to 256 hashes of level L (each the root of 256^L leaves),
 * tile/entries/N the entries of the level-0 tile N, each with a big-endian
 * 16-bit length before it; N.p/W is the first W of an incomplete tile. What is
 * written is derived from the journal and never changes: a file that is there
 * with other content is a sign of tampering or of a crash, and is replaced.
 *
 * The writer collects; tile_writer_flush writes and syncs. One thread. */
#ifndef AUDIT_TILES_H
#define AUDIT_TILES_H

#include "audit/merkle.h"
#include "lib/buf.h"

#define TILE_WIDTH 256
#define TILE_HEIGHT 8 /* levels of the tree in a tile: 2^8 = 256 */
#define TILE_LEVELS 8 /* 256^8 leaves: as many as an index can tell */
#define TILE_ENTRIES (-1)

#define TILE_PATH_MAX 64
/* "tile/0/x001/x234/067" or "tile/entries/000.p/12": level, or TILE_ENTRIES;
 * width 256 for a full tile. */
void tile_path(
    char out[TILE_PATH_MAX], int level, uint64_t index, unsigned width);

struct tile_writer;
/* An empty log. keeps log_dir. gives *out. */
enum err tile_writer_new(const char *log_dir, struct tile_writer **out,
    struct errinfo *info) MUSTCHECK;
void tile_writer_free(struct tile_writer **writer);
/* Takes up what an earlier run published: reads the incomplete tiles of a log
 * of this size and compares their root. ERR_CORRUPT, ERR_NOTFOUND: they are
 * not there as they should be, and the writer is empty: add all from entry 0.
 * ERR_OK: the entries from size - size % 256 on are added again. */
enum err tile_writer_resume(struct tile_writer *writer, uint64_t size,
    const struct merkle_hash *root, struct errinfo *info) MUSTCHECK;
/* The next entry that is due. */
uint64_t tile_writer_next(const struct tile_writer *writer);
/* Entries in order. roots[L]: where this entry fills a tile of level L, the
 * root of that tile, for who has it already; NULL: they are computed.
 * ERR_CORRUPT: after a resume, an entry that does not have the hash that was
 * published. ERR_NOMEM. */
enum err tile_writer_add(struct tile_writer *writer, struct crypto_hash *hash,
    const struct merkle_hash *leaf, const struct merkle_hash *roots,
    struct str entry, struct errinfo *info) MUSTCHECK;
/* Into an empty writer: the leaves of the first `size` entries, a multiple of
 * TILE_WIDTH, out of their hash tiles, where the entries themselves are gone.
 * The tiles above are made anew. ERR_NOTFOUND, ERR_CORRUPT: a tile is missing
 * or they do not have that root; the writer is empty then. */
enum err tile_writer_take_leaves(struct tile_writer *writer,
    struct crypto_hash *hash, uint64_t size, const struct merkle_hash *root,
    struct errinfo *info) MUSTCHECK;
/* Bytes that wait for a flush: flush when it is some megabytes. */
size_t tile_writer_waiting(const struct tile_writer *writer);
/* Full tiles, and the incomplete ones of the present size; all durable. May
 * be called again after a failure. */
enum err tile_writer_flush(
    struct tile_writer *writer, struct errinfo *info) MUSTCHECK;

/* A merkle_source over the tiles of a log of `size` entries. keeps log_dir;
 * tile_source_fini when done. ERR_NOTFOUND, ERR_CORRUPT (wrong length) name
 * the tile. */
struct tile_source {
    const char *log_dir;
    uint64_t size;
    int cached_level;
    uint64_t cached_index;
    unsigned cached_width;
    struct merkle_hash cached[TILE_WIDTH];
};
void tile_source_init(
    struct tile_source *source, const char *log_dir, uint64_t size);
enum err tile_source_node(void *context, unsigned level, uint64_t index,
    struct merkle_hash *out, struct errinfo *info) MUSTCHECK;
/* Calls for the leaves [from, to) as the hash tiles have them. */
enum err tiles_each_leaf(const char *log_dir, uint64_t from, uint64_t to,
    enum err (*leaf)(
        void *context, const struct merkle_hash *hash, struct errinfo *info),
    void *context, struct errinfo *info) MUSTCHECK;
/* Reads a tile of level 0..7: *width hashes. */
enum err tile_read(const char *log_dir, int level, uint64_t index,
    unsigned width, struct merkle_hash out[TILE_WIDTH],
    struct errinfo *info) MUSTCHECK;

#endif
