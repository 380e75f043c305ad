/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/segment.c - see segment.h. */
#include "audit/segment.h"

#include "lib/clock.h"
#include "lib/file.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Header page, little-endian:
 *    0 16  magic
 *   16  8  sequence       24 8 first index    32 8 bytes    40 8 created
 *   48 32  identity       80 32 hash of the frame before
 * 4092  4  CRC-32C of all before */
static const char magic[16] = "bailiff-segment1";

static void put64(uint8_t *at, uint64_t value)
{
    value = htole64(value);
    memcpy(at, &value, sizeof(value));
}

static uint64_t get64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return le64toh(value);
}

void segment_header_encode(
    uint8_t page[SEGMENT_PAGE], const struct segment_header *header)
{
    memset(page, 0, SEGMENT_PAGE);
    memcpy(page, magic, sizeof(magic));
    put64(page + 16, header->sequence);
    put64(page + 24, header->first);
    put64(page + 32, header->bytes);
    put64(page + 40, (uint64_t)header->created_us);
    memcpy(page + 48, header->identity, SHA256_SIZE);
    memcpy(page + 80, header->previous, SHA256_SIZE);
    uint32_t crc = htole32(crypto_crc32c(0, page, SEGMENT_PAGE - 4));
    memcpy(page + SEGMENT_PAGE - 4, &crc, sizeof(crc));
}

enum err segment_header_decode(const uint8_t page[SEGMENT_PAGE],
    struct segment_header *header, const char **reason)
{
    if (memcmp(page, magic, sizeof(magic)) != 0) {
        *reason = "it does not begin like a segment";
        return ERR_CORRUPT;
    }
    uint32_t crc;
    memcpy(&crc, page + SEGMENT_PAGE - 4, sizeof(crc));
    if (le32toh(crc) != crypto_crc32c(0, page, SEGMENT_PAGE - 4)) {
        *reason = "the checksum of its header does not fit";
        return ERR_CORRUPT;
    }
    header->sequence = get64(page + 16);
    header->first = get64(page + 24);
    header->bytes = get64(page + 32);
    header->created_us = (int64_t)get64(page + 40);
    memcpy(header->identity, page + 48, SHA256_SIZE);
    memcpy(header->previous, page + 80, SHA256_SIZE);
    return ERR_OK;
}

void segment_name(char out[SEGMENT_NAME_SIZE], uint64_t sequence)
{
    snprintf(out, SEGMENT_NAME_SIZE, "%08" PRIu64 ".seg", sequence);
}

char *segment_path(const char *dir, uint64_t sequence)
{
    char name[SEGMENT_NAME_SIZE];
    segment_name(name, sequence);
    return file_join(dir, name);
}

/* --- The list -------------------------------------------------------------
 */

static bool parse_name(const char *name, uint64_t *sequence)
{
    struct str text = str_from(name);
    if (text.len < 12 || !str_ends(text, STR(".seg")))
        return false;
    text.len -= 4;
    if (str_to_u64(text, sequence) != ERR_OK)
        return false;
    char back[SEGMENT_NAME_SIZE];
    segment_name(back, *sequence);
    return strcmp(back, name) == 0;
}

static enum err read_header(
    const char *dir, struct segment_item *item, struct errinfo *info)
{
    char *path = segment_path(dir, item->header.sequence);
    if (path == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    uint8_t page[SEGMENT_PAGE];
    struct stat st;
    enum err err;
    uint64_t sequence = item->header.sequence;
    const char *reason = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        err = errinfo_errno(info, ERR_IO, "cannot open %s", path);
        goto out;
    }
    item->size = (uint64_t)st.st_size;
    err = file_pread(fd, page, sizeof(page), 0);
    if (err == ERR_CLOSED) {
        err = errinfo_set(info, ERR_CORRUPT,
            "segment %s is cut off inside its header (%lld bytes)", path,
            (long long)st.st_size);
        goto out;
    }
    if (err != ERR_OK) {
        err = errinfo_errno(info, err, "cannot read %s", path);
        goto out;
    }
    err = segment_header_decode(page, &item->header, &reason);
    if (err != ERR_OK)
        err = errinfo_set(
            info, ERR_CORRUPT, "segment %s is damaged: %s", path, reason);
    else if (item->header.sequence != sequence)
        err = errinfo_set(info, ERR_CORRUPT,
            "segment %s was renamed: its header says that it is number "
            "%" PRIu64,
            path, item->header.sequence);
out:
    if (fd >= 0)
        close(fd);
    free(path);
    return err;
}

static int by_sequence(const void *a, const void *b)
{
    const struct segment_item *x = a, *y = b;
    return x->header.sequence < y->header.sequence
               ? -1
               : x->header.sequence > y->header.sequence;
}

static enum err list_names(
    const char *dir, struct segment_list *out, struct errinfo *info)
{
    DIR *folder = opendir(dir);
    if (folder == NULL)
        return errinfo_errno(info, errno == ENOENT ? ERR_NOTFOUND : ERR_IO,
            "cannot open the journal's folder %s", dir);
    enum err err = ERR_OK;
    size_t cap = 0;
    struct dirent *entry;
    while (errno = 0, (entry = readdir(folder)) != NULL) {
        uint64_t sequence;
        if (!parse_name(entry->d_name, &sequence))
            continue;
        if (out->count == cap) {
            cap = cap ? cap * 2 : 16;
            void *more = realloc(out->items, cap * sizeof(*out->items));
            if (more == NULL) {
                err = errinfo_set(info, ERR_NOMEM, "out of memory");
                goto out;
            }
            out->items = more;
        }
        out->items[out->count++] =
            (struct segment_item){.header = {.sequence = sequence}};
    }
    if (errno != 0)
        err = errinfo_errno(info, ERR_IO, "cannot list %s", dir);
out:
    closedir(folder);
    return err;
}

/* Sequences without gap, one identity, chain of ends. */
static enum err check_list(const char *dir, const uint8_t *identity,
    struct segment_list *list, struct errinfo *info)
{
    uint64_t end = UINT64_MAX;
    for (size_t i = list->count; i-- > 0;) {
        struct segment_item *item = &list->items[i];
        item->end = end;
        if (item->header.first < end)
            end = item->header.first;
    }
    for (size_t i = 0; i < list->count; i++) {
        const struct segment_header *header = &list->items[i].header;
        char name[SEGMENT_NAME_SIZE];
        segment_name(name, i == 0 ? 1 : list->items[i - 1].header.sequence + 1);
        if (i > 0 && header->sequence != list->items[i - 1].header.sequence + 1)
            return errinfo_set(info, ERR_CORRUPT,
                "segment %s/%s is missing, though later ones are there", dir,
                name);
        if (i == 0 && list->pruned.entries > 0 &&
            (header->sequence != list->pruned.segment ||
                header->first != list->pruned.entries)) {
            char words[PRUNED_WORDS_MAX];
            pruned_words(&list->pruned, words);
            segment_name(name, list->pruned.segment);
            return errinfo_set(info, ERR_CORRUPT,
                "segment %s/%s is missing, which was kept when %s: the first "
                "segment there begins at entry %" PRIu64,
                dir, name, words, header->first);
        }
        if (i == 0 && list->pruned.entries == 0 && header->first != 0)
            return errinfo_set(info, ERR_CORRUPT,
                "segment %s/%s is missing: the first segment there begins at "
                "entry %" PRIu64,
                dir, name, header->first);
        if (memcmp(header->identity,
                identity != NULL ? identity : list->items[0].header.identity,
                SHA256_SIZE) != 0) {
            segment_name(name, header->sequence);
            return errinfo_set(info, ERR_CORRUPT,
                "segment %s/%s belongs to another log", dir, name);
        }
    }
    return ERR_OK;
}

/* Read after the names: what goes, goes after the marker was written. */
static enum err drop_pruned(
    const char *dir, struct segment_list *list, struct errinfo *info)
{
    size_t gone = 0;
    enum err err = pruned_load(dir, &list->pruned, info);
    if (err != ERR_OK || list->pruned.entries == 0)
        return err;
    while (gone < list->count &&
           list->items[gone].header.sequence < list->pruned.segment)
        gone++;
    if (gone == 0)
        return ERR_OK;
    list->count -= gone;
    memmove(
        list->items, list->items + gone, list->count * sizeof(*list->items));
    return ERR_OK;
}

enum err segment_list_load(const char *dir, const uint8_t *identity,
    struct segment_list *out, struct errinfo *info)
{
    *out = (struct segment_list){0};
    enum err err = list_names(dir, out, info);
    if (err == ERR_OK && out->count > 0)
        qsort(out->items, out->count, sizeof(*out->items), by_sequence);
    if (err == ERR_OK)
        err = drop_pruned(dir, out, info);
    for (size_t i = 0; err == ERR_OK && i < out->count; i++)
        err = read_header(dir, &out->items[i], info);
    if (err == ERR_OK)
        err = check_list(dir, identity, out, info);
    if (err != ERR_OK)
        segment_list_fini(out);
    return err;
}

void segment_list_fini(struct segment_list *list)
{
    free(list->items);
    *list = (struct segment_list){0};
}

const struct segment_item *segment_list_find(
    const struct segment_list *list, uint64_t index)
{
    for (size_t i = list->count; i-- > 0;)
        if (list->items[i].header.first <= index)
            return &list->items[i];
    return NULL;
}

/* --- Spares ---------------------------------------------------------------
 */

#define FILL_CHUNK (1u << 20)
#define FILL_SYNC_EVERY 8 /* chunks: keeps the journal's own syncs short */

static enum err full_or_io(int error)
{
    return error == ENOSPC || error == EDQUOT || error == EFBIG ? ERR_FULL
                                                                : ERR_IO;
}

static enum err fill_zeros(const struct segment_spare *spare,
    const _Atomic bool *cancel, struct errinfo *info)
{
    void *zeros = calloc(1, FILL_CHUNK);
    if (zeros == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err = ERR_OK;
    unsigned chunks = 0;
    for (uint64_t at = 0; at < spare->bytes; at += FILL_CHUNK) {
        if (cancel != NULL && *cancel) {
            err = ERR_CLOSED;
            break;
        }
        uint64_t left = spare->bytes - at;
        size_t n = left < FILL_CHUNK ? (size_t)left : FILL_CHUNK;
        errno = 0;
        if (file_pwrite(spare->fd, zeros, n, (off_t)at) != ERR_OK ||
            (++chunks % FILL_SYNC_EVERY == 0 && fdatasync(spare->fd) != 0)) {
            err = errinfo_errno(info, full_or_io(errno),
                "cannot fill the spare segment %s", spare->path);
            break;
        }
    }
    free(zeros);
    return err;
}

enum err segment_spare_make(const char *dir, uint64_t bytes, bool fill,
    const _Atomic bool *cancel, struct segment_spare *out, struct errinfo *info)
{
    static _Atomic unsigned counter;
    char name[SEGMENT_NAME_SIZE];
    snprintf(name, sizeof(name), "spare-%u.tmp", counter++);
    struct segment_spare spare = {
        .fd = -1, .path = file_join(dir, name), .bytes = bytes};
    if (spare.path == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err = ERR_OK;
    (void)unlink(spare.path);
    spare.fd = open(spare.path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (spare.fd < 0) {
        err = errinfo_errno(info, full_or_io(errno),
            "cannot create the spare segment %s", spare.path);
        free(spare.path);
        return err;
    }
    if (fallocate(spare.fd, 0, 0, (off_t)bytes) != 0) {
        /* File systems without it are filled by writing. */
        if (errno != EOPNOTSUPP && errno != ENOSYS)
            err = errinfo_errno(info, full_or_io(errno),
                "no room for a journal segment of %" PRIu64 " bytes at %s",
                bytes, spare.path);
        fill = true;
    }
    if (err == ERR_OK && fill)
        err = fill_zeros(&spare, cancel, info);
    if (err == ERR_OK && fsync(spare.fd) != 0)
        err = errinfo_errno(
            info, full_or_io(errno), "cannot sync %s", spare.path);
    if (err == ERR_OK)
        *out = spare;
    else
        segment_spare_drop(&spare);
    return err;
}

void segment_spare_drop(struct segment_spare *spare)
{
    if (spare->fd >= 0)
        close(spare->fd);
    if (spare->path != NULL)
        (void)unlink(spare->path);
    free(spare->path);
    *spare = (struct segment_spare){.fd = -1};
}

enum err segment_spare_adopt(const char *dir, struct segment_spare *spare,
    struct segment_header *header, int *fd, struct errinfo *info)
{
    uint8_t page[SEGMENT_PAGE];
    header->bytes = spare->bytes;
    header->created_us = clock_now();
    segment_header_encode(page, header);
    char *path = segment_path(dir, header->sequence);
    if (path == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err = ERR_OK;
    if (file_pwrite(spare->fd, page, sizeof(page), 0) != ERR_OK ||
        fdatasync(spare->fd) != 0)
        err = errinfo_errno(
            info, ERR_IO, "cannot write the header of segment %s", path);
    else if (renameat2(
                 AT_FDCWD, spare->path, AT_FDCWD, path, RENAME_NOREPLACE) != 0)
        err = errinfo_errno(
            info, ERR_IO, "cannot rename %s to %s", spare->path, path);
    else
        err = file_sync_dir(dir, info);
    if (err == ERR_OK) {
        *fd = spare->fd;
        free(spare->path);
        *spare = (struct segment_spare){.fd = -1};
    }
    free(path);
    return err;
}

void segment_clean(const char *dir)
{
    DIR *folder = opendir(dir);
    if (folder == NULL)
        return;
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        struct str name = str_from(entry->d_name);
        if (str_starts(name, STR("spare-")) && str_ends(name, STR(".tmp")))
            (void)unlinkat(dirfd(folder), entry->d_name, 0);
    }
    closedir(folder);
}
