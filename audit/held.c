/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/held.c - see held.h. */
#include "audit/held.h"

#include "audit/anchors.h"
#include "audit/journal_reader.h"
#include "audit/tiles.h"
#include "lib/file.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

/* --- Reading ------------------------------------------------------------- */

/* The path of checkpoint-SIZE with the largest size; given. */
static enum err newest_in(const char *folder, char **out, struct errinfo *info)
{
    static const struct str prefix = STR_INIT("checkpoint-");
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    uint64_t size, largest = 0;
    char *path = NULL;
    if (dir == NULL)
        return errinfo_errno(info, ERR_IO, "cannot open %s", folder);
    while ((entry = readdir(dir)) != NULL) {
        struct str name = str_from(entry->d_name);
        if (!str_starts(name, prefix) ||
            str_to_u64(str_make(name.ptr + prefix.len, name.len - prefix.len),
                &size) != ERR_OK ||
            (path != NULL && size < largest))
            continue;
        largest = size;
        free(path);
        path = file_join(folder, entry->d_name);
        if (path == NULL)
            break;
    }
    closedir(dir);
    if (path == NULL)
        return errinfo_set(
            info, ERR_NOTFOUND, "%s holds no checkpoint-SIZE", folder);
    *out = path;
    return ERR_OK;
}

enum err held_read(
    const char *path, struct buf *file, struct str *note, struct errinfo *info)
{
    struct stat status;
    char *newest = NULL;
    enum err err = ERR_OK;
    if (stat(path, &status) != 0)
        return errinfo_errno(info, errno == ENOENT ? ERR_NOTFOUND : ERR_IO,
            "cannot read %s", path);
    if (S_ISDIR(status.st_mode))
        err = newest_in(path, &newest, info);
    if (err == ERR_OK)
        err = file_read(newest != NULL ? newest : path, file, info);
    if (err == ERR_OK && anchor_last_note(buf_str(file), note) != ERR_OK)
        err = errinfo_set(info, file->len == 0 ? ERR_NOTFOUND : ERR_SYNTAX,
            "%s holds no signed checkpoint", newest != NULL ? newest : path);
    free(newest);
    return err;
}

enum err held_open(const char *from, struct str note,
    const struct note_key *key, struct held *out, struct errinfo *info)
{
    struct checkpoint checkpoint;
    enum err err = checkpoint_open(note, key, &checkpoint, info);
    if (err != ERR_OK)
        return errinfo_prefix(info, err, "%s", from);
    *out = (struct held){
        .from = from, .size = checkpoint.size, .root = checkpoint.root};
    return ERR_OK;
}

/* --- Comparing ----------------------------------------------------------- */

/* The tree has this size now: does anybody hold another root of it? */
static enum err compare_at(const struct merkle_frontier *tree,
    struct crypto_hash *hash, const struct held *held, size_t count,
    size_t *worst, struct errinfo *info)
{
    for (size_t i = 0; i < count; i++) {
        struct merkle_hash root;
        if (held[i].size != tree->size)
            continue;
        merkle_root(tree, hash, &root);
        if (merkle_equal(&root, &held[i].root))
            continue;
        *worst = i;
        return errinfo_set(info, ERR_DENIED,
            "%s holds a checkpoint of %" PRIu64
            " entries, and the first %" PRIu64
            " entries here are others: this is not the log that was signed "
            "then, or it was altered since",
            held[i].from, held[i].size, held[i].size);
    }
    return ERR_OK;
}

struct walk {
    struct crypto_hash *hash;
    const struct held *held;
    size_t count;
    struct merkle_frontier tree;
    size_t *worst;
};

static enum err take_leaf(
    void *context, const struct merkle_hash *leaf, struct errinfo *info)
{
    struct walk *walk = context;
    merkle_push(&walk->tree, walk->hash, leaf, NULL, NULL);
    return compare_at(
        &walk->tree, walk->hash, walk->held, walk->count, walk->worst, info);
}

/* The pruned prefix, by its hash tiles: they must have its root. */
static enum err take_pruned(struct walk *walk, const struct pruned *pruned,
    const char *log_dir, struct errinfo *info)
{
    struct merkle_hash root;
    enum err err =
        tiles_each_leaf(log_dir, 0, pruned->entries, take_leaf, walk, info);
    if (err == ERR_NOTFOUND)
        err = errinfo_prefix(info, ERR_CORRUPT,
            "the hash tiles of what was pruned are not whole");
    if (err != ERR_OK)
        return err;
    merkle_root(&walk->tree, walk->hash, &root);
    if (merkle_equal(&root, &pruned->root))
        return ERR_OK;
    return errinfo_set(info, ERR_CORRUPT,
        "the hash tiles in %s/tile/0 do not have the root that the first "
        "%" PRIu64 " entries had when they were pruned",
        log_dir, pruned->entries);
}

static enum err walk_all(struct walk *walk, struct journal_reader *reader,
    const char *log_dir, struct errinfo *info)
{
    const struct pruned pruned = journal_reader_segments(reader)->pruned;
    struct journal_cursor cursor;
    struct journal_entry entry;
    struct merkle_hash leaf;
    enum err err = compare_at(
        &walk->tree, walk->hash, walk->held, walk->count, walk->worst, info);
    if (err == ERR_OK && pruned.entries > 0)
        err = take_pruned(walk, &pruned, log_dir, info);
    if (err == ERR_OK)
        err = journal_cursor_init(&cursor, reader, pruned.entries, info);
    while (err == ERR_OK) {
        err = journal_cursor_next(&cursor, UINT64_MAX, &entry, info);
        if (err != ERR_OK)
            break;
        merkle_leaf(walk->hash, entry.bytes, &leaf);
        err = take_leaf(walk, &leaf, info);
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

enum err held_compare(const char *segments_dir, const char *log_dir,
    const uint8_t identity[SHA256_SIZE], const struct held *held, size_t count,
    uint64_t *size, size_t *worst, struct errinfo *info)
{
    struct journal_reader *reader = NULL;
    struct walk walk = {.hash = crypto_hash_new(),
        .held = held,
        .count = count,
        .worst = worst};
    enum err err = walk.hash == NULL
                       ? errinfo_set(info, ERR_NOMEM, "out of memory")
                       : journal_reader_open(segments_dir, identity,
                             READER_CHAIN, &reader, info);
    merkle_init(&walk.tree);
    *worst = 0;
    if (err == ERR_OK)
        err = walk_all(&walk, reader, log_dir, info);
    for (size_t i = 0; err == ERR_OK && i < count; i++) {
        if (held[i].size > held[*worst].size)
            *worst = i;
    }
    if (err == ERR_OK && count > 0 && held[*worst].size > walk.tree.size)
        err = errinfo_set(info, ERR_WRONG_STATE,
            "%s holds a checkpoint of %" PRIu64
            " entries, and there are only %" PRIu64
            " here: the log went on after this copy was made",
            held[*worst].from, held[*worst].size, walk.tree.size);
    *size = walk.tree.size;
    journal_reader_close(&reader);
    crypto_hash_free(&walk.hash);
    return err;
}
