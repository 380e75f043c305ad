/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/cli/backup_sink.c - writing the files of a backup (backup_set.h). */
#include "proxy/cli/backup_set.h"

#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/encode.h"
#include "lib/file.h"
#include "lib/tar.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK (1u << 20)

struct backup_sink {
    char *target;
    bool folder, pipe, made, finished;
    int tar_fd; /* -1: a folder */
    json_t *files;
    uint64_t count, bytes;
    int64_t modified_seconds;
    struct crypto_hash *hash;
    uint8_t *chunk;
};

uint64_t backup_sink_bytes(const struct backup_sink *sink)
{
    return sink->bytes;
}

uint64_t backup_sink_files(const struct backup_sink *sink)
{
    return sink->count;
}

static enum err make_target(struct backup_sink *sink, struct errinfo *info)
{
    if (strcmp(sink->target, "-") == 0) {
        sink->pipe = true;
        sink->tar_fd = STDOUT_FILENO;
        return ERR_OK;
    }
    if (!str_ends(str_from(sink->target), STR(".tar"))) {
        sink->folder = true;
        sink->made = mkdir(sink->target, 0700) == 0;
    } else {
        sink->tar_fd = open(sink->target,
            O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        sink->made = sink->tar_fd >= 0;
    }
    if (!sink->made && errno == EEXIST)
        return errinfo_set(info, ERR_EXISTS,
            "%s is there already; a backup makes a new folder or file",
            sink->target);
    return sink->made
               ? ERR_OK
               : errinfo_errno(info, ERR_IO, "cannot make %s", sink->target);
}

enum err backup_sink_open(
    const char *target, struct backup_sink **out, struct errinfo *info)
{
    struct backup_sink *sink = calloc(1, sizeof *sink);
    enum err err = ERR_NOMEM;

    if (!sink)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    sink->tar_fd = -1;
    sink->modified_seconds = clock_now() / SECOND_US;
    sink->target = strdup(target);
    sink->files = json_array();
    sink->hash = crypto_hash_new();
    sink->chunk = malloc(CHUNK);
    if (sink->target && sink->files && sink->hash && sink->chunk)
        err = make_target(sink, info);
    else
        errinfo_set(info, err, "out of memory");
    if (err)
        backup_sink_close(&sink);
    *out = sink;
    return err;
}

void backup_sink_close(struct backup_sink **sink_ref)
{
    struct backup_sink *sink = *sink_ref;

    if (!sink)
        return;
    if (sink->tar_fd >= 0 && !sink->pipe)
        close(sink->tar_fd);
    if (sink->made && !sink->finished)
        backup_remove_tree(sink->target);
    json_decref(sink->files);
    crypto_hash_free(&sink->hash);
    free(sink->chunk);
    free(sink->target);
    free(sink);
    *sink_ref = NULL;
}

static enum err put(struct backup_sink *sink, int fd, const void *bytes,
    size_t n, struct errinfo *info)
{
    const char *at = bytes;

    while (n > 0) {
        ssize_t wrote = write(fd, at, n);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return errinfo_errno(info, errno == ENOSPC ? ERR_FULL : ERR_IO,
                "cannot write %s",
                sink->pipe ? "standard output" : sink->target);
        at += wrote;
        n -= (size_t)wrote;
    }
    return ERR_OK;
}

/* Where a member's bytes go: the archive behind its head, or a new file. */
static enum err begin_member(struct backup_sink *sink,
    const struct tar_member *member, int *fd, struct errinfo *info)
{
    uint8_t head[TAR_BLOCK];
    char *path;
    enum err err;

    if (!sink->folder) {
        *fd = sink->tar_fd;
        if (tar_write(head, member, sink->modified_seconds) != ERR_OK)
            return errinfo_set(info, ERR_RANGE,
                "%s does not fit into a tar archive (its name, or its size): "
                "back up to a folder",
                member->path);
        return put(sink, *fd, head, sizeof head, info);
    }
    err = backup_make_parents(sink->target, member->path, info);
    if (err)
        return err;
    path = file_join(sink->target, member->path);
    *fd = path ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    if (*fd < 0)
        err = errinfo_errno(
            info, ERR_IO, "cannot make %s/%s", sink->target, member->path);
    free(path);
    return err;
}

static enum err end_member(struct backup_sink *sink,
    const struct tar_member *member, int fd, struct errinfo *info)
{
    static const uint8_t zeros[TAR_BLOCK];
    enum err err = ERR_OK;

    if (!sink->folder)
        return put(sink, fd, zeros, tar_padding(member->size), info);
    if (fchmod(fd, member->mode) != 0 || fsync(fd) != 0)
        err = errinfo_errno(
            info, ERR_IO, "cannot write %s/%s", sink->target, member->path);
    close(fd);
    return err;
}

static enum err copy(struct backup_sink *sink, int from, const char *path,
    uint64_t size, int to, struct errinfo *info)
{
    uint64_t done = 0;
    enum err err = ERR_OK;

    crypto_hash_begin(sink->hash);
    while (!err && done < size) {
        size_t n = size - done < CHUNK ? (size_t)(size - done) : CHUNK;
        if (file_pread(from, sink->chunk, n, (off_t)done) != ERR_OK)
            return errinfo_set(info, ERR_IO,
                "%s became shorter, or cannot be read, while it was copied",
                path);
        crypto_hash_update(sink->hash, sink->chunk, n);
        err = put(sink, to, sink->chunk, n, info);
        done += n;
    }
    return err;
}

static enum err note_file(struct backup_sink *sink,
    const struct tar_member *member, const uint8_t digest[SHA256_SIZE],
    struct errinfo *info)
{
    char hex[2 * SHA256_SIZE + 1], mode[8];

    hex_write(hex, digest, SHA256_SIZE);
    snprintf(mode, sizeof mode, "%04o", member->mode);
    if (json_array_append_new(sink->files,
            json_pack("{s:s,s:I,s:s,s:s}", "path", member->path, "bytes",
                (json_int_t)member->size, "mode", mode, "sha256", hex)) != 0)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    sink->count++;
    sink->bytes += member->size;
    return ERR_OK;
}

enum err backup_sink_file(struct backup_sink *sink, const char *name,
    const char *path, uint64_t most, struct errinfo *info)
{
    struct tar_member member = {0};
    struct stat status;
    uint8_t digest[SHA256_SIZE];
    int to = -1, from = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    enum err err = ERR_OK;

    if (from < 0 || fstat(from, &status) != 0) {
        err = errinfo_errno(info, errno == ENOENT ? ERR_NOTFOUND : ERR_IO,
            "cannot read %s", path);
        goto out;
    }
    snprintf(member.path, sizeof member.path, "%s", name);
    member.size =
        (uint64_t)status.st_size < most ? (uint64_t)status.st_size : most;
    member.mode = status.st_mode & 0777;
    err = begin_member(sink, &member, &to, info);
    if (!err)
        err = copy(sink, from, path, member.size, to, info);
    if (!err) {
        crypto_hash_end(sink->hash, digest);
        err = end_member(sink, &member, to, info);
    } else if (sink->folder && to >= 0) {
        close(to);
    }
    if (!err)
        err = note_file(sink, &member, digest, info);
out:
    if (from >= 0)
        close(from);
    return err;
}

static enum err write_manifest(
    struct backup_sink *sink, struct str text, struct errinfo *info)
{
    static const uint8_t zeros[2 * TAR_BLOCK];
    struct tar_member member = {
        .path = BACKUP_MANIFEST, .size = text.len, .mode = 0600};
    int to = -1;
    enum err err = begin_member(sink, &member, &to, info);

    if (!err)
        err = put(sink, to, text.ptr, text.len, info);
    if (!err)
        err = end_member(sink, &member, to, info);
    else if (sink->folder && to >= 0)
        close(to);
    if (!err && !sink->folder)
        err = put(sink, sink->tar_fd, zeros, sizeof zeros, info);
    return err;
}

enum err backup_sink_finish(struct backup_sink *sink, json_t *about,
    uint8_t manifest[SHA256_SIZE], struct errinfo *info)
{
    char *text = NULL;
    enum err err = ERR_OK;

    if (about && json_object_set(about, "files", sink->files) == 0)
        text = json_dumps(about, JSON_INDENT(1));
    if (!text)
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
    if (!err) {
        crypto_sha256(manifest, text, strlen(text));
        err = write_manifest(sink, str_from(text), info);
    }
    if (!err && sink->folder)
        err = file_sync_dir(sink->target, info);
    else if (!err && !sink->pipe && fsync(sink->tar_fd) != 0)
        err = errinfo_errno(info, ERR_IO, "cannot sync %s", sink->target);
    sink->finished = err == ERR_OK;
    free(text);
    json_decref(about);
    return err;
}
