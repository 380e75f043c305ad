/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/tiles_build.c - see tiles_build.h. */
#include "audit/tiles_build.h"

#include "audit/journal_reader.h"
#include "audit/tiles.h"

#include <inttypes.h>

#define WAITING_MOST (8u << 20)

struct growing {
    struct crypto_hash *hash;
    struct merkle_frontier tree;
};

static enum err grow(
    void *context, const struct merkle_hash *leaf, struct errinfo *info)
{
    struct growing *growing = context;
    (void)info;
    merkle_push(&growing->tree, growing->hash, leaf, NULL, NULL);
    return ERR_OK;
}

/* What was pruned is taken from its own hash tiles, which came along with the
 * copy and must have the root that it had. *first: what is read next. */
static enum err pass_pruned(struct journal_reader *reader,
    struct tile_writer *writer, struct crypto_hash *hash, const char *log_dir,
    uint64_t *first, struct errinfo *info)
{
    const struct pruned pruned = journal_reader_segments(reader)->pruned;
    struct growing growing = {.hash = hash};
    struct merkle_hash root;
    if (pruned.entries == 0)
        return ERR_OK;
    *first = pruned_minimum_index(&pruned);
    merkle_init(&growing.tree);
    enum err err =
        tiles_each_leaf(log_dir, 0, pruned.entries, grow, &growing, info);
    merkle_root(&growing.tree, hash, &root);
    if (err == ERR_OK && !merkle_equal(&root, &pruned.root))
        err = errinfo_set(info, ERR_CORRUPT,
            "the hash tiles in %s/tile/0 do not have the root that the first "
            "%" PRIu64 " entries had when they were pruned",
            log_dir, pruned.entries);
    if (err == ERR_OK)
        err = tiles_each_leaf(
            log_dir, pruned.entries, *first, grow, &growing, info);
    merkle_root(&growing.tree, hash, &root);
    return err == ERR_OK
               ? tile_writer_take_leaves(writer, hash, *first, &root, info)
               : err;
}

static enum err add_all(struct journal_reader *reader,
    struct tile_writer *writer, struct crypto_hash *hash, uint64_t first,
    uint64_t size, struct errinfo *info)
{
    struct journal_cursor cursor;
    struct journal_entry entry;
    struct merkle_hash leaf;
    enum err err = journal_cursor_init(&cursor, reader, first, info);
    for (uint64_t i = first; err == ERR_OK && i < size; i++) {
        err = journal_cursor_next(&cursor, size, &entry, info);
        if (err == ERR_NOTFOUND)
            err = errinfo_set(
                info, ERR_CORRUPT, "the journal ends before entry %" PRIu64, i);
        if (err != ERR_OK)
            break;
        merkle_leaf(hash, entry.bytes, &leaf);
        err = tile_writer_add(writer, hash, &leaf, NULL, entry.bytes, info);
        if (err == ERR_OK && tile_writer_waiting(writer) >= WAITING_MOST)
            err = tile_writer_flush(writer, info);
    }
    return err == ERR_OK ? tile_writer_flush(writer, info) : err;
}

enum err tiles_build(const char *segments_dir,
    const uint8_t identity[SHA256_SIZE], const char *log_dir, uint64_t size,
    struct errinfo *info)
{
    struct journal_reader *reader = NULL;
    struct tile_writer *writer = NULL;
    struct crypto_hash *hash = crypto_hash_new();
    enum err err = hash == NULL ? errinfo_set(info, ERR_NOMEM, "out of memory")
                                : journal_reader_open(segments_dir, identity,
                                      READER_CHAIN, &reader, info);
    if (err == ERR_OK)
        err = tile_writer_new(log_dir, &writer, info);
    uint64_t first = 0;
    if (err == ERR_OK)
        err = pass_pruned(reader, writer, hash, log_dir, &first, info);
    if (err == ERR_OK && size > first)
        err = add_all(reader, writer, hash, first, size, info);
    tile_writer_free(&writer);
    journal_reader_close(&reader);
    crypto_hash_free(&hash);
    return err;
}
