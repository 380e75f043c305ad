/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/durability/fault.c - exactly one call that touches the state fails.
 *
 * Preloaded into the server. Calls on files and folders under FAULT_DIR are
 * counted by kind, over all threads (strace counts for each thread apart, and
 * so fails several calls at once). The FAULT_WHEN-th of kind FAULT_CALL does
 * what FAULT_DO says: "EIO" and "ENOSPC": it fails, undone; "short": a write
 * writes half and says so; "kill": the process dies before it, "killed": right
 * behind it. FAULT_COUNTS names a file to which every call's kind is appended
 * as one letter (no fault set): how many there are to be swept. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The letters of FAULT_CALL: open write fsync-or-fdatasync rename-or-link
 * unlink truncate-or-allocate mkdir. */
enum kind { OPEN, WRITE, SYNC, RENAME, UNLINK, SIZE, MAKE, KINDS };
static const char letters[KINDS + 1] = "owsruzm";

static char root[4096];
static size_t root_size;
static enum kind wanted = KINDS;
static long when;
static const char *what = "";
static int counts_fd = -1;
static atomic_long seen[KINDS];

static int (*real_open)(const char *, int, ...);
static ssize_t (*real_write)(int, const void *, size_t);

__attribute__((constructor)) static void set_up(void)
{
    const char *dir = getenv("FAULT_DIR"), *call = getenv("FAULT_CALL");
    const char *at = getenv("FAULT_WHEN"), *how = getenv("FAULT_DO");
    const char *counts = getenv("FAULT_COUNTS");
    real_open = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    real_write =
        (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    if (dir == NULL || realpath(dir, root) == NULL)
        return;
    root_size = strlen(root);
    if (counts != NULL)
        counts_fd =
            real_open(counts, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (call != NULL && at != NULL && how != NULL) {
        for (int k = 0; k < KINDS; k++)
            if (letters[k] == call[0])
                wanted = (enum kind)k;
        when = atol(at);
        what = how;
    }
}

static bool inside(const char *path)
{
    return root_size > 0 && strncmp(path, root, root_size) == 0 &&
           (path[root_size] == '/' || path[root_size] == '\0');
}

static bool inside_fd(int fd)
{
    char link[64], path[4096];
    if (root_size == 0)
        return false;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path) - 1);
    if (n <= 0)
        return false;
    path[n] = '\0';
    return inside(path);
}

enum verdict { GO, FAIL, HALF, DIE_AFTER };

/* Is this the call? */
static enum verdict meet(enum kind kind, bool ours)
{
    if (!ours)
        return GO;
    if (counts_fd >= 0 && real_write(counts_fd, &letters[kind], 1) != 1)
        abort();
    if (atomic_fetch_add(&seen[kind], 1) + 1 != when || kind != wanted)
        return GO;
    if (strcmp(what, "kill") == 0)
        raise(SIGKILL);
    if (strcmp(what, "killed") == 0)
        return DIE_AFTER;
    if (strcmp(what, "short") == 0)
        return HALF;
    errno = strcmp(what, "ENOSPC") == 0 ? ENOSPC : EIO;
    return FAIL;
}

#define REAL(name, type) ((type)dlsym(RTLD_NEXT, name))
/* `result` is what the call gave. */
#define THROUGH(kind, ours, failure, result)                                   \
    do {                                                                       \
        enum verdict verdict_ = meet(kind, ours);                              \
        if (verdict_ == FAIL)                                                  \
            return failure;                                                    \
        __typeof__(failure) result_ = (result);                                \
        if (verdict_ == DIE_AFTER)                                             \
            raise(SIGKILL);                                                    \
        return result_;                                                        \
    } while (0)

static int opened(const char *name, const char *path, int flags, mode_t mode)
{
    THROUGH(OPEN, inside(path), -1,
        REAL(name, int (*)(const char *, int, ...))(path, flags, mode));
}

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return opened("open", path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return opened("open64", path, flags, mode);
}

static size_t length_of(enum verdict verdict, size_t n)
{
    return verdict == HALF && n > 1 ? n / 2 : n;
}

ssize_t write(int fd, const void *bytes, size_t n)
{
    enum verdict verdict = meet(WRITE, inside_fd(fd));
    if (verdict == FAIL)
        return -1;
    ssize_t wrote = real_write(fd, bytes, length_of(verdict, n));
    if (verdict == DIE_AFTER)
        raise(SIGKILL);
    return wrote;
}

static ssize_t wrote_at(
    const char *name, int fd, const void *bytes, size_t n, off_t offset)
{
    enum verdict verdict = meet(WRITE, inside_fd(fd));
    if (verdict == FAIL)
        return -1;
    ssize_t wrote = REAL(name, ssize_t(*)(int, const void *, size_t, off_t))(
        fd, bytes, length_of(verdict, n), offset);
    if (verdict == DIE_AFTER)
        raise(SIGKILL);
    return wrote;
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset)
{
    return wrote_at("pwrite", fd, bytes, n, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t offset)
{
    return wrote_at("pwrite64", fd, bytes, n, offset);
}

int fsync(int fd)
{
    THROUGH(SYNC, inside_fd(fd), -1, REAL("fsync", int (*)(int))(fd));
}

int fdatasync(int fd)
{
    THROUGH(SYNC, inside_fd(fd), -1, REAL("fdatasync", int (*)(int))(fd));
}

int rename(const char *from, const char *to)
{
    THROUGH(RENAME, inside(from), -1,
        REAL("rename", int (*)(const char *, const char *))(from, to));
}

int renameat2(
    int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    THROUGH(RENAME, inside(from) || inside_fd(from_dir), -1,
        REAL("renameat2", int (*)(int, const char *, int, const char *,
                              unsigned))(from_dir, from, to_dir, to, flags));
}

int link(const char *from, const char *to)
{
    THROUGH(RENAME, inside(to), -1,
        REAL("link", int (*)(const char *, const char *))(from, to));
}

int unlink(const char *path)
{
    THROUGH(
        UNLINK, inside(path), -1, REAL("unlink", int (*)(const char *))(path));
}

int ftruncate(int fd, off_t size)
{
    THROUGH(SIZE, inside_fd(fd), -1,
        REAL("ftruncate", int (*)(int, off_t))(fd, size));
}

int ftruncate64(int fd, off_t size)
{
    THROUGH(SIZE, inside_fd(fd), -1,
        REAL("ftruncate64", int (*)(int, off_t))(fd, size));
}

int truncate(const char *path, off_t size)
{
    THROUGH(SIZE, inside(path), -1,
        REAL("truncate", int (*)(const char *, off_t))(path, size));
}

int fallocate(int fd, int mode, off_t from, off_t size)
{
    THROUGH(SIZE, inside_fd(fd), -1,
        REAL("fallocate", int (*)(int, int, off_t, off_t))(
            fd, mode, from, size));
}

int mkdir(const char *path, mode_t mode)
{
    THROUGH(MAKE, inside(path), -1,
        REAL("mkdir", int (*)(const char *, mode_t))(path, mode));
}
