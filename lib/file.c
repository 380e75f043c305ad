/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/file.c - whole files, durably. Any thread. */
#include "lib/file.h"

#include "lib/crypto.h"
#include "lib/encode.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum err file_read(const char *path, struct buf *out, struct errinfo *info)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errinfo_errno(info, errno == ENOENT ? ERR_NOTFOUND : ERR_IO,
            "cannot open %s", path);
    enum err err = ERR_OK;
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
        (uint64_t)st.st_size > out->max - out->len) {
        err = errinfo_set(info, ERR_LIMIT,
            "%s has %lld bytes; at most %zu are read", path,
            (long long)st.st_size, out->max - out->len);
        goto out;
    }
    for (;;) {
        size_t left = out->max - out->len;
        size_t want = left < 65536 ? left : 65536;
        char probe;
        char *to = want ? buf_reserve(out, want) : &probe;
        if (!to) {
            err = errinfo_set(
                info, ERR_NOMEM, "out of memory while reading %s", path);
            break;
        }
        ssize_t got = read(fd, to, want ? want : 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            err = errinfo_errno(info, ERR_IO, "cannot read %s", path);
            break;
        }
        if (got == 0)
            break;
        if (want == 0) {
            err = errinfo_set(info, ERR_LIMIT,
                "%s is larger than the %zu bytes that are read", path,
                out->max);
            break;
        }
        buf_grew(out, (size_t)got);
    }
out:
    close(fd);
    return err;
}

static enum err write_all(int fd, struct str content)
{
    while (content.len > 0) {
        ssize_t put = write(fd, content.ptr, content.len);
        if (put < 0) {
            if (errno == EINTR)
                continue;
            return errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO;
        }
        content = str_make(content.ptr + put, content.len - (size_t)put);
    }
    return ERR_OK;
}

/* The folder part of path, malloc'd: "." where there is none. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

/* A new file beside path with the content on disk; *temporary is its name,
 * given, also when the folder could not be synced later. */
static enum err write_beside(const char *path, struct str content, mode_t mode,
    char **temporary, struct errinfo *info)
{
    uint8_t random[6];
    char suffix[2 * sizeof random + 1];
    crypto_random_id(random, sizeof random);
    hex_write(suffix, random, sizeof random);
    char *name = NULL;
    if (asprintf(&name, "%s.%s.tmp", path, suffix) < 0)
        return errinfo_set(
            info, ERR_NOMEM, "out of memory while writing %s", path);
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 07777);
    if (fd < 0) {
        enum err err = errinfo_errno(info,
            errno == ENOSPC   ? ERR_FULL
            : errno == ENOENT ? ERR_NOTFOUND
            : errno == EACCES ? ERR_DENIED
                              : ERR_IO,
            "cannot create %s", name);
        free(name);
        return err;
    }
    enum err err = write_all(fd, content);
    /* fchmod: the mode asked for, whatever the umask is. */
    if (!err && (fchmod(fd, mode & 07777) != 0 || fsync(fd) != 0))
        err = errno == ENOSPC ? ERR_FULL : ERR_IO;
    if (err)
        errinfo_errno(info, err, "cannot write %s", name);
    if (close(fd) != 0 && !err)
        err = errinfo_errno(info, ERR_IO, "cannot write %s", name);
    if (err) {
        unlink(name);
        free(name);
        return err;
    }
    *temporary = name;
    return ERR_OK;
}

static enum err sync_parent(const char *path, struct errinfo *info)
{
    char *folder = folder_of(path);
    if (!folder)
        return errinfo_set(
            info, ERR_NOMEM, "out of memory while writing %s", path);
    enum err err = file_sync_dir(folder, info);
    free(folder);
    return err;
}

enum err file_replace(
    const char *path, struct str content, mode_t mode, struct errinfo *info)
{
    char *temporary;
    enum err err = write_beside(path, content, mode, &temporary, info);
    if (err)
        return err;
    if (rename(temporary, path) != 0) {
        err = errinfo_errno(info, ERR_IO, "cannot put %s in place", path);
        unlink(temporary);
    } else {
        err = sync_parent(path, info);
    }
    free(temporary);
    return err;
}

enum err file_create(
    const char *path, struct str content, mode_t mode, struct errinfo *info)
{
    if (file_exists(path))
        return errinfo_set(info, ERR_EXISTS, "%s exists already", path);
    char *temporary;
    enum err err = write_beside(path, content, mode, &temporary, info);
    if (err)
        return err;
    /* link refuses an existing name, where rename would replace it. */
    if (link(temporary, path) != 0)
        err = errno == EEXIST
                  ? errinfo_set(info, ERR_EXISTS, "%s exists already", path)
                  : errinfo_errno(info, ERR_IO, "cannot put %s in place", path);
    unlink(temporary);
    free(temporary);
    return err ? err : sync_parent(path, info);
}

enum err file_make_dir(const char *path, mode_t mode, struct errinfo *info)
{
    if (mkdir(path, mode & 07777) == 0) {
        if (chmod(path, mode & 07777) != 0)
            return errinfo_errno(
                info, ERR_IO, "cannot set the mode of %s", path);
        return sync_parent(path, info);
    }
    int reason = errno;
    struct stat st;
    if (reason == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return ERR_OK;
    if (reason == EEXIST)
        return errinfo_set(
            info, ERR_EXISTS, "%s exists and is no directory", path);
    errno = reason;
    return errinfo_errno(info,
        reason == EACCES || reason == EPERM ? ERR_DENIED
        : reason == ENOENT                  ? ERR_NOTFOUND
                                            : ERR_IO,
        "cannot create the directory %s", path);
}

enum err file_sync_dir(const char *path, struct errinfo *info)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errinfo_errno(
            info, ERR_IO, "cannot open the directory %s", path);
    enum err err = ERR_OK;
    /* EINVAL: a file system that has no such thing as syncing a folder. */
    if (fsync(fd) != 0 && errno != EINVAL)
        err = errinfo_errno(info, ERR_IO, "cannot sync the directory %s", path);
    close(fd);
    return err;
}

bool file_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

enum err file_pread(int fd, void *out, size_t n, off_t offset)
{
    char *to = out;
    while (n > 0) {
        ssize_t got = pread(fd, to, n, offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ERR_IO;
        if (got == 0)
            return ERR_CLOSED;
        to += got;
        offset += got;
        n -= (size_t)got;
    }
    return ERR_OK;
}

enum err file_pwrite(int fd, const void *bytes, size_t n, off_t offset)
{
    const char *from = bytes;
    while (n > 0) {
        ssize_t put = pwrite(fd, from, n, offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO;
        from += put;
        offset += put;
        n -= (size_t)put;
    }
    return ERR_OK;
}

char *file_join(const char *dir, const char *name)
{
    size_t length = strlen(dir);
    bool slash = length > 0 && dir[length - 1] == '/';
    char *path = NULL;
    if (asprintf(&path, "%s%s%s", dir, slash || length == 0 ? "" : "/", name) <
        0)
        return NULL;
    return path;
}
