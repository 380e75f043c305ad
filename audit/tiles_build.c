/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/tiles_build.c - see tiles_build.h. */
#include "audit/tiles_build.h"

#include "audit/journal_reader.h"
#include "audit/tiles.h"

#include <inttypes.h>

#define WAITING_MOST (8u << 20)

static enum err add_all(struct journal_reader *reader,
    struct tile_writer *writer, struct crypto_hash *hash, uint64_t size,
    struct errinfo *info)
{
    struct journal_cursor cursor;
    struct journal_entry entry;
    struct merkle_hash leaf;
    enum err err = journal_cursor_init(&cursor, reader, 0, info);
    for (uint64_t i = 0; err == ERR_OK && i < size; i++) {
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
    if (err == ERR_OK && size > 0)
        err = add_all(reader, writer, hash, size, info);
    tile_writer_free(&writer);
    journal_reader_close(&reader);
    crypto_hash_free(&hash);
    return err;
}
