/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/tiles.c - see tiles.h. */
#include "audit/tiles.h"

#include "lib/file.h"
#include "lib/must.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FULL_PATH_MAX 4096
#define TAKEN_WAITING_MOST (8u << 20)
#define BUNDLE_MOST (TILE_WIDTH * (65535 + 2))

void tile_path(
    char out[TILE_PATH_MAX], int level, uint64_t index, unsigned width)
{
    /* Three digits a group, all but the last with an x before it. */
    char groups[40];
    size_t at = sizeof(groups) - 1;
    groups[at] = '\0';
    for (bool last = true; last || index > 0; last = false) {
        unsigned group = (unsigned)(index % 1000);
        index /= 1000;
        if (!last)
            groups[--at] = '/';
        groups[--at] = (char)('0' + group % 10);
        groups[--at] = (char)('0' + group / 10 % 10);
        groups[--at] = (char)('0' + group / 100);
        if (!last)
            groups[--at] = 'x';
    }
    int n =
        level == TILE_ENTRIES
            ? snprintf(out, TILE_PATH_MAX, "tile/entries/%s", groups + at)
            : snprintf(out, TILE_PATH_MAX, "tile/%d/%s", level, groups + at);
    if (width < TILE_WIDTH)
        snprintf(out + n, TILE_PATH_MAX - (size_t)n, ".p/%u", width);
}

/* --- The writer -----------------------------------------------------------
 */

/* A full tile that waits to be written. */
struct pending {
    struct pending *next;
    int level;
    uint64_t index;
    size_t size;
    char bytes[];
};

struct tile_writer {
    const char *log_dir;
    uint64_t size;  /* entries whose hashes are in */
    uint64_t again; /* entries whose bytes are in; < size after a resume */
    struct {
        unsigned count;   /* of the incomplete tile */
        unsigned written; /* that many are on the disk */
        struct merkle_hash hashes[TILE_WIDTH];
    } levels[TILE_LEVELS];
    struct buf bundle; /* entries of the incomplete level-0 tile */
    struct pending *pending, **pending_end;
    size_t waiting;
};

enum err tile_writer_new(
    const char *log_dir, struct tile_writer **out, struct errinfo *info)
{
    struct tile_writer *writer = calloc(1, sizeof(*writer));
    if (writer == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    writer->log_dir = log_dir;
    writer->pending_end = &writer->pending;
    buf_init(&writer->bundle, BUNDLE_MOST);
    *out = writer;
    return ERR_OK;
}

void tile_writer_free(struct tile_writer **pointer)
{
    struct tile_writer *writer = *pointer;
    *pointer = NULL;
    if (writer == NULL)
        return;
    while (writer->pending != NULL) {
        struct pending *pending = writer->pending;
        writer->pending = pending->next;
        free(pending);
    }
    buf_fini(&writer->bundle);
    free(writer);
}

uint64_t tile_writer_next(const struct tile_writer *writer)
{
    return writer->again;
}

size_t tile_writer_waiting(const struct tile_writer *writer)
{
    return writer->waiting;
}

/* The roots of the perfect subtrees that a tree splits into all lie in its
 * incomplete tiles; joined from the right they give its root. */
static void root_of_tiles(
    const struct tile_writer *writer, struct merkle_hash *root)
{
    bool any = false;
    crypto_sha256(root->bytes, "", 0);
    for (int level = 0; level < TILE_LEVELS; level++) {
        unsigned end = writer->levels[level].count;
        while (end > 0) {
            unsigned n = end & (0u - end);
            struct merkle_hash nodes[TILE_WIDTH];
            memcpy(nodes, &writer->levels[level].hashes[end - n],
                n * sizeof(*nodes));
            for (unsigned m = n; m > 1; m /= 2)
                for (unsigned i = 0; i < m / 2; i++)
                    merkle_node(
                        NULL, &nodes[2 * i], &nodes[2 * i + 1], &nodes[i]);
            if (any)
                merkle_node(NULL, &nodes[0], root, root);
            else
                *root = nodes[0];
            any = true;
            end -= n;
        }
    }
}

static void forget(struct tile_writer *writer)
{
    writer->size = writer->again = 0;
    for (int level = 0; level < TILE_LEVELS; level++)
        writer->levels[level].count = writer->levels[level].written = 0;
    buf_clear(&writer->bundle);
}

enum err tile_writer_resume(struct tile_writer *writer, uint64_t size,
    const struct merkle_hash *root, struct errinfo *info)
{
    MUST(writer->size == 0);
    for (int level = 0; level < TILE_LEVELS; level++) {
        uint64_t count = size >> (8 * level);
        unsigned width = (unsigned)(count % TILE_WIDTH);
        writer->levels[level].count = writer->levels[level].written = width;
        if (width == 0)
            continue;
        enum err err = tile_read(writer->log_dir, level, count / TILE_WIDTH,
            width, writer->levels[level].hashes, info);
        if (err != ERR_OK) {
            forget(writer);
            return err;
        }
    }
    struct merkle_hash found;
    root_of_tiles(writer, &found);
    if (!merkle_equal(&found, root)) {
        forget(writer);
        return errinfo_set(info, ERR_CORRUPT,
            "the incomplete tiles in %s/tile do not have the root of the "
            "%" PRIu64 " entries that were published",
            writer->log_dir, size);
    }
    writer->size = size;
    writer->again = size - size % TILE_WIDTH;
    return ERR_OK;
}

static enum err queue(struct tile_writer *writer, int level, uint64_t index,
    const void *bytes, size_t size, struct errinfo *info)
{
    struct pending *pending = malloc(sizeof(*pending) + size);
    if (pending == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    *pending = (struct pending){.level = level, .index = index, .size = size};
    memcpy(pending->bytes, bytes, size);
    *writer->pending_end = pending;
    writer->pending_end = &pending->next;
    writer->waiting += size;
    return ERR_OK;
}

/* The root of 256 hashes. */
static void tile_root(struct crypto_hash *hash,
    const struct merkle_hash hashes[TILE_WIDTH], struct merkle_hash *out)
{
    struct merkle_hash nodes[TILE_WIDTH / 2];
    for (unsigned i = 0; i < TILE_WIDTH / 2; i++)
        merkle_node(hash, &hashes[2 * i], &hashes[2 * i + 1], &nodes[i]);
    for (unsigned m = TILE_WIDTH / 2; m > 1; m /= 2)
        for (unsigned i = 0; i < m / 2; i++)
            merkle_node(hash, &nodes[2 * i], &nodes[2 * i + 1], &nodes[i]);
    *out = nodes[0];
}

/* A hash enters its level; a tile that it fills enters the one above. */
static enum err add_hash(struct tile_writer *writer, struct crypto_hash *hash,
    const struct merkle_hash *leaf, const struct merkle_hash *roots,
    struct errinfo *info)
{
    struct merkle_hash node = *leaf;
    uint64_t index = writer->size;
    for (int level = 0; level < TILE_LEVELS; level++) {
        struct merkle_hash *hashes = writer->levels[level].hashes;
        hashes[writer->levels[level].count++] = node;
        if (writer->levels[level].count < TILE_WIDTH)
            break;
        index /= TILE_WIDTH;
        enum err err = queue(
            writer, level, index, hashes, TILE_WIDTH * sizeof(*hashes), info);
        if (err != ERR_OK)
            return err;
        if (roots != NULL)
            node = roots[level];
        else
            tile_root(hash, hashes, &node);
        writer->levels[level].count = writer->levels[level].written = 0;
    }
    writer->size++;
    return ERR_OK;
}

enum err tile_writer_add(struct tile_writer *writer, struct crypto_hash *hash,
    const struct merkle_hash *leaf, const struct merkle_hash *roots,
    struct str entry, struct errinfo *info)
{
    uint64_t index = writer->again;
    if (index < writer->size) {
        if (!merkle_equal(leaf, &writer->levels[0].hashes[index % TILE_WIDTH]))
            return errinfo_set(info, ERR_CORRUPT,
                "entry %" PRIu64
                " has not the hash that was published in %s/tile/0",
                index, writer->log_dir);
    }
    uint8_t length[2] = {(uint8_t)(entry.len >> 8), (uint8_t)entry.len};
    buf_append(&writer->bundle, length, sizeof(length));
    buf_append_str(&writer->bundle, entry);
    if (writer->bundle.failed)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err = ERR_OK;
    if (index == writer->size)
        err = add_hash(writer, hash, leaf, roots, info);
    if (err == ERR_OK && (index + 1) % TILE_WIDTH == 0) {
        err = queue(writer, TILE_ENTRIES, index / TILE_WIDTH,
            buf_str(&writer->bundle).ptr, writer->bundle.len, info);
        buf_clear(&writer->bundle);
    }
    writer->again++;
    return err;
}

struct taking {
    struct tile_writer *writer;
    struct crypto_hash *hash;
};

static enum err take_leaf(
    void *context, const struct merkle_hash *leaf, struct errinfo *info)
{
    struct taking *taking = context;
    enum err err = add_hash(taking->writer, taking->hash, leaf, NULL, info);
    if (err == ERR_OK && taking->writer->waiting >= TAKEN_WAITING_MOST) {
        taking->writer->again = taking->writer->size;
        err = tile_writer_flush(taking->writer, info);
    }
    return err;
}

enum err tile_writer_take_leaves(struct tile_writer *writer,
    struct crypto_hash *hash, uint64_t size, const struct merkle_hash *root,
    struct errinfo *info)
{
    struct taking taking = {writer, hash};
    struct merkle_hash found;
    MUST(writer->size == 0 && size % TILE_WIDTH == 0);
    enum err err =
        tiles_each_leaf(writer->log_dir, 0, size, take_leaf, &taking, info);
    root_of_tiles(writer, &found);
    if (err == ERR_OK && !merkle_equal(&found, root))
        err = errinfo_set(info, ERR_CORRUPT,
            "the hash tiles in %s/tile/0 do not have the root of the first "
            "%" PRIu64 " entries, whose own bytes were pruned: put them back "
            "from a backup",
            writer->log_dir, size);
    if (err != ERR_OK)
        forget(writer);
    else
        writer->again = writer->size;
    return err;
}

/* --- Files ----------------------------------------------------------------
 */

/* The folders above path that are missing; those that got a new name in them
 * are synced. */
static enum err make_folders(
    const char *log_dir, char *path, struct errinfo *info)
{
    char *slash = path + strlen(log_dir);
    enum err err = ERR_OK;
    while (err == ERR_OK && (slash = strchr(slash + 1, '/')) != NULL) {
        *slash = '\0';
        if (mkdir(path, 0755) == 0) {
            char *parent = strrchr(path, '/');
            *parent = '\0';
            err = file_sync_dir(path, info);
            *parent = '/';
        } else if (errno != EEXIST) {
            err = errinfo_errno(info, errno == ENOSPC ? ERR_FULL : ERR_IO,
                "cannot create %s", path);
        }
        *slash = '/';
    }
    return err;
}

static bool has_content(const char *path, struct str content)
{
    struct buf present;
    buf_init(&present, content.len);
    bool same = file_read(path, &present, NULL) == ERR_OK &&
                str_equal(buf_str(&present), content);
    buf_fini(&present);
    return same;
}

/* Written in place when new: nobody is told of it before it is durable. */
static enum err write_file(const struct tile_writer *writer, int level,
    uint64_t index, unsigned width, struct str content, struct errinfo *info)
{
    char path[FULL_PATH_MAX], name[TILE_PATH_MAX];
    tile_path(name, level, index, width);
    int n = snprintf(path, sizeof(path), "%s/%s", writer->log_dir, name);
    if (n < 0 || (size_t)n >= sizeof(path))
        return errinfo_set(
            info, ERR_LIMIT, "%s: the path is too long", writer->log_dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 && errno == ENOENT) {
        enum err err = make_folders(writer->log_dir, path, info);
        if (err != ERR_OK)
            return err;
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    }
    if (fd < 0 && errno == EEXIST)
        return has_content(path, content)
                   ? ERR_OK
                   : file_replace(path, content, 0644, info);
    if (fd < 0)
        return errinfo_errno(info, errno == ENOSPC ? ERR_FULL : ERR_IO,
            "cannot create %s", path);
    enum err err = file_pwrite(fd, content.ptr, content.len, 0);
    if (err != ERR_OK)
        err = errinfo_errno(info, err, "cannot write %s", path);
    close(fd);
    return err;
}

/* Syncs the file, and its folder where that is another than the last one. */
static enum err sync_file(const struct tile_writer *writer, int level,
    uint64_t index, unsigned width, char folder[FULL_PATH_MAX],
    struct errinfo *info)
{
    char path[FULL_PATH_MAX], name[TILE_PATH_MAX];
    tile_path(name, level, index, width);
    snprintf(path, sizeof(path), "%s/%s", writer->log_dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        enum err err = errinfo_errno(info, ERR_IO, "cannot sync %s", path);
        if (fd >= 0)
            close(fd);
        return err;
    }
    close(fd);
    *strrchr(path, '/') = '\0';
    if (strcmp(path, folder) == 0)
        return ERR_OK;
    memcpy(folder, path, strlen(path) + 1);
    return file_sync_dir(path, info);
}

/* The incomplete forms of a tile that is full now. */
static void remove_partials(
    const struct tile_writer *writer, int level, uint64_t index)
{
    char path[FULL_PATH_MAX], name[TILE_PATH_MAX];
    tile_path(name, level, index, TILE_WIDTH);
    snprintf(path, sizeof(path), "%s/%s.p", writer->log_dir, name);
    DIR *folder = opendir(path);
    if (folder == NULL)
        return;
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL)
        if (entry->d_name[0] != '.')
            (void)unlinkat(dirfd(folder), entry->d_name, 0);
    closedir(folder);
    (void)rmdir(path);
}

/* Calls for each incomplete tile that is not on the disk yet. */
static enum err each_partial(struct tile_writer *writer,
    enum err (*visit)(struct tile_writer *writer, int level, uint64_t index,
        unsigned width, struct str content, char *folder, struct errinfo *info),
    char *folder, struct errinfo *info)
{
    enum err err = ERR_OK;
    for (int level = 0; err == ERR_OK && level < TILE_LEVELS; level++) {
        unsigned width = writer->levels[level].count;
        uint64_t index = writer->size >> (8 * level) >> 8;
        if (width == writer->levels[level].written)
            continue;
        if (level == 0)
            err = visit(writer, TILE_ENTRIES, index, width,
                buf_str(&writer->bundle), folder, info);
        if (err == ERR_OK)
            err = visit(writer, level, index, width,
                str_make((const char *)writer->levels[level].hashes,
                    width * sizeof(struct merkle_hash)),
                folder, info);
    }
    return err;
}

static enum err write_partial(struct tile_writer *writer, int level,
    uint64_t index, unsigned width, struct str content, char *folder,
    struct errinfo *info)
{
    (void)folder;
    return write_file(writer, level, index, width, content, info);
}

static enum err sync_partial(struct tile_writer *writer, int level,
    uint64_t index, unsigned width, struct str content, char *folder,
    struct errinfo *info)
{
    (void)content;
    return sync_file(writer, level, index, width, folder, info);
}

/* Everything is written before anything is synced: the file system then
 * commits once, and the syncs after the first cost little. */
enum err tile_writer_flush(struct tile_writer *writer, struct errinfo *info)
{
    MUST(writer->again == writer->size);
    char folder[FULL_PATH_MAX] = "";
    enum err err = ERR_OK;
    for (struct pending *p = writer->pending; err == ERR_OK && p; p = p->next)
        err = write_file(writer, p->level, p->index, TILE_WIDTH,
            str_make(p->bytes, p->size), info);
    if (err == ERR_OK)
        err = each_partial(writer, write_partial, folder, info);
    for (struct pending *p = writer->pending; err == ERR_OK && p; p = p->next)
        err = sync_file(writer, p->level, p->index, TILE_WIDTH, folder, info);
    if (err == ERR_OK)
        err = each_partial(writer, sync_partial, folder, info);
    if (err != ERR_OK)
        return err;
    for (int level = 0; level < TILE_LEVELS; level++)
        writer->levels[level].written = writer->levels[level].count;
    while (writer->pending != NULL) {
        struct pending *pending = writer->pending;
        writer->pending = pending->next;
        remove_partials(writer, pending->level, pending->index);
        free(pending);
    }
    writer->pending_end = &writer->pending;
    writer->waiting = 0;
    return ERR_OK;
}

/* --- Reading --------------------------------------------------------------
 */

/* A later run may have replaced the incomplete tile by a fuller one. */
enum err tile_read(const char *log_dir, int level, uint64_t index,
    unsigned width, struct merkle_hash out[TILE_WIDTH], struct errinfo *info)
{
    char path[FULL_PATH_MAX], name[TILE_PATH_MAX];
    struct buf bytes;
    buf_init(&bytes, TILE_WIDTH * sizeof(*out));
    tile_path(name, level, index, width);
    snprintf(path, sizeof(path), "%s/%s", log_dir, name);
    enum err err = file_read(path, &bytes, info);
    if (err == ERR_NOTFOUND && width < TILE_WIDTH) {
        tile_path(name, level, index, TILE_WIDTH);
        snprintf(path, sizeof(path), "%s/%s", log_dir, name);
        err = file_read(path, &bytes, NULL);
        if (err == ERR_OK && bytes.len == TILE_WIDTH * sizeof(*out))
            bytes.len = width * sizeof(*out);
    }
    if (err == ERR_LIMIT ||
        (err == ERR_OK && bytes.len != width * sizeof(*out)))
        err = errinfo_set(info, ERR_CORRUPT,
            "the tile %s should have %zu bytes and has %s", path,
            width * sizeof(*out), err == ERR_LIMIT ? "more" : "another number");
    if (err == ERR_OK)
        memcpy(out, buf_str(&bytes).ptr, bytes.len);
    buf_fini(&bytes);
    return err;
}

enum err tiles_each_leaf(const char *log_dir, uint64_t from, uint64_t to,
    enum err (*leaf)(
        void *context, const struct merkle_hash *hash, struct errinfo *info),
    void *context, struct errinfo *info)
{
    struct merkle_hash hashes[TILE_WIDTH];
    enum err err = ERR_OK;
    for (uint64_t i = from; err == ERR_OK && i < to; i++) {
        if (i == from || i % TILE_WIDTH == 0) {
            uint64_t rest = to - i / TILE_WIDTH * TILE_WIDTH;
            err = tile_read(log_dir, 0, i / TILE_WIDTH,
                rest < TILE_WIDTH ? (unsigned)rest : TILE_WIDTH, hashes, info);
        }
        if (err == ERR_OK)
            err = leaf(context, &hashes[i % TILE_WIDTH], info);
    }
    return err;
}

void tile_source_init(
    struct tile_source *source, const char *log_dir, uint64_t size)
{
    *source = (struct tile_source){
        .log_dir = log_dir, .size = size, .cached_level = -1};
}

enum err tile_source_node(void *context, unsigned level, uint64_t index,
    struct merkle_hash *out, struct errinfo *info)
{
    struct tile_source *source = context;
    unsigned rise = level % 8;
    int tile_level = (int)(level / 8);
    uint64_t first = index << rise; /* in hashes of the tile's level */
    uint64_t tile = first / TILE_WIDTH,
             there = source->size >> (8 * tile_level);
    unsigned n = 1u << rise, from = (unsigned)(first % TILE_WIDTH);
    unsigned width =
        there / TILE_WIDTH > tile ? TILE_WIDTH : (unsigned)(there % TILE_WIDTH);
    if (tile > there / TILE_WIDTH || from + n > width)
        return errinfo_set(info, ERR_RANGE,
            "a node beyond the %" PRIu64 " entries of the log", source->size);
    if (source->cached_level != tile_level || source->cached_index != tile ||
        source->cached_width < width) {
        source->cached_level = -1;
        enum err err = tile_read(
            source->log_dir, tile_level, tile, width, source->cached, info);
        if (err != ERR_OK)
            return err;
        source->cached_level = tile_level;
        source->cached_index = tile;
        source->cached_width = width;
    }
    struct merkle_hash nodes[TILE_WIDTH / 2];
    memcpy(nodes, &source->cached[from], n * sizeof(*nodes));
    for (; n > 1; n /= 2)
        for (unsigned i = 0; i < n / 2; i++)
            merkle_node(NULL, &nodes[2 * i], &nodes[2 * i + 1], &nodes[i]);
    *out = nodes[0];
    return ERR_OK;
}
