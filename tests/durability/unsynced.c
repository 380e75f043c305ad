/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/durability/unsynced.c - a disk that forgets what was never synced.
 *
 * Preloaded into the server. Beside the files under UNSYNCED_DIR it keeps, in
 * UNSYNCED_SHADOW, what a power loss would leave of them: a file's bytes as of
 * its last fsync or fdatasync, a directory's names as of its last fsync.
 * Creating, renaming and unlinking count only once the directory was synced,
 * which is all that POSIX promises. disk.mjs builds a state from it.
 *
 * Shadow: file.KEY (bytes), dir.KEY (lines "type mode KEY name"), root (the KEY
 * of UNSYNCED_DIR), control (a page of switches, see below; a test sets them in
 * the running server by writing to the file). KEY is inode and time of birth.
 *
 * Any thread; one lock. A kill -9 in the midst of a copy leaves a part of what
 * was being synced, as a power loss would. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum {              /* bytes of the control page */
    SWITCH_LIE,     /* fdatasync of a segment claims success, does nothing */
    SWITCH_FULL,    /* no byte is left on the disk */
    SWITCH_SYNC_EIO /* fdatasync of a segment fails */
};

#define KEY_SIZE 64
#define TRACKED_MAX 4096

/* What was written to a file since its last sync, as one range: bytes in it
 * that were not written are the same in the shadow already. */
struct tracked {
    char key[KEY_SIZE];
    off_t from, to;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[4096], shadow[4096];
static size_t root_size;
static const volatile unsigned char *control;
static struct tracked tracked[TRACKED_MAX];
static size_t tracked_count;

static int (*real_fdatasync)(int);
static int (*real_fsync)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fallocate)(int, int, off_t, off_t);

/* A test that cannot keep its books must not go on. */
static _Noreturn void broken(const char *what)
{
    dprintf(2, "unsynced: %s: %s\n", what, strerror(errno));
    abort();
}

static bool key_of(int fd, char key[KEY_SIZE], struct statx *st)
{
    if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, st) != 0)
        return false;
    snprintf(key, KEY_SIZE, "%llu-%lld.%u", (unsigned long long)st->stx_ino,
        (long long)st->stx_btime.tv_sec, st->stx_btime.tv_nsec);
    return true;
}

/* Is it a file or directory of the state? *st, key and path are set. */
static bool ours(int fd, char key[KEY_SIZE], struct statx *st, char path[4096])
{
    if (control == NULL || !key_of(fd, key, st) ||
        (!S_ISREG(st->stx_mode) && !S_ISDIR(st->stx_mode)))
        return false;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, 4095);
    if (n < 0)
        return false;
    path[n] = '\0';
    return strncmp(path, root, root_size) == 0 &&
           (path[root_size] == '/' || path[root_size] == '\0');
}

static bool is_segment(const char *path)
{
    return strncmp(path + root_size, "/journal/segments/", 18) == 0;
}

static struct tracked *track(const char *key)
{
    for (size_t i = 0; i < tracked_count; i++)
        if (strcmp(tracked[i].key, key) == 0)
            return &tracked[i];
    if (tracked_count == TRACKED_MAX)
        tracked_count = 0, broken("too many files");
    struct tracked *one = &tracked[tracked_count++];
    snprintf(one->key, sizeof one->key, "%s", key);
    one->from = one->to = 0;
    return one;
}

static void touched(const char *key, off_t from, off_t to)
{
    pthread_mutex_lock(&lock);
    struct tracked *one = track(key);
    if (one->from == one->to) {
        one->from = from;
        one->to = to;
    } else {
        one->from = from < one->from ? from : one->from;
        one->to = to > one->to ? to : one->to;
    }
    pthread_mutex_unlock(&lock);
}

static int shadow_open(const char *prefix, const char *key, int flags)
{
    char path[4352];
    snprintf(path, sizeof path, "%s/%s%s", shadow, prefix, key);
    return open(path, flags | O_CLOEXEC, 0600);
}

/* fd may be open for writing only: it is read through a descriptor of ours. */
static void keep_bytes(int fd, const char *key, off_t from, off_t to)
{
    static const char zeros[65536];
    char link[64];
    static char piece[65536]; /* under the lock */
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int in = open(link, O_RDONLY | O_CLOEXEC);
    int out = shadow_open("file.", key, O_RDWR | O_CREAT);
    struct stat now, then;
    if (in < 0 || out < 0 || fstat(in, &now) != 0 || fstat(out, &then) != 0)
        broken("shadow file");
    if (to > now.st_size)
        to = now.st_size;
    while (from < to) {
        size_t want = to - from < (off_t)sizeof piece ? (size_t)(to - from)
                                                      : sizeof piece;
        ssize_t got = pread(in, piece, want, from);
        if (got <= 0)
            break;
        bool hole =
            from >= then.st_size && memcmp(piece, zeros, (size_t)got) == 0;
        if (!hole && real_pwrite(out, piece, (size_t)got, from) != got)
            broken("shadow write");
        from += got;
    }
    if (real_ftruncate(out, now.st_size) != 0)
        broken("shadow size");
    close(in);
    close(out);
}

/* The names of a directory as they stand, in one step. */
static void keep_names(const char *path, const char *key)
{
    char from[4352], to[4352];
    snprintf(to, sizeof to, "%s/dir.%s", shadow, key);
    snprintf(from, sizeof from, "%s/new.%s", shadow, key);
    FILE *list = fopen(from, "we");
    DIR *dir = opendir(path);
    if (list == NULL || dir == NULL)
        broken("shadow names");
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char other[KEY_SIZE];
        struct statx st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        int fd = openat(dirfd(dir), e->d_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            continue; /* it went away meanwhile */
        if (key_of(fd, other, &st) &&
            (S_ISREG(st.stx_mode) || S_ISDIR(st.stx_mode)))
            fprintf(list, "%c %o %s %s\n", S_ISDIR(st.stx_mode) ? 'd' : 'f',
                st.stx_mode & 07777u, other, e->d_name);
        close(fd);
    }
    closedir(dir);
    if (fclose(list) != 0 || rename(from, to) != 0)
        broken("shadow names");
}

/* What stands there at the start is on the disk. */
static void keep_all(const char *path, int depth)
{
    char key[KEY_SIZE];
    struct statx st;
    DIR *dir = depth < 16 ? opendir(path) : NULL;
    if (dir == NULL || !key_of(dirfd(dir), key, &st))
        broken(path);
    keep_names(path, key);
    if (depth == 0) {
        int fd = shadow_open("root", "", O_WRONLY | O_CREAT | O_TRUNC);
        if (fd < 0 || dprintf(fd, "%s", key) < 0)
            broken("shadow root");
        close(fd);
    }
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char below[4352];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(below, sizeof below, "%s/%s", path, e->d_name);
        if (e->d_type == DT_DIR) {
            keep_all(below, depth + 1);
        } else if (e->d_type == DT_REG) {
            int fd = open(below, O_RDONLY | O_CLOEXEC);
            if (fd < 0 || !key_of(fd, key, &st))
                broken(below);
            keep_bytes(fd, key, 0, (off_t)st.stx_size);
            close(fd);
        }
    }
    closedir(dir);
}

__attribute__((constructor)) static void begin(void)
{
    real_fdatasync = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    real_fsync = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    real_write =
        (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    real_pwrite = (ssize_t(*)(int, const void *, size_t, off_t))dlsym(
        RTLD_NEXT, "pwrite");
    real_writev =
        (ssize_t(*)(int, const struct iovec *, int))dlsym(RTLD_NEXT, "writev");
    real_pwritev = (ssize_t(*)(int, const struct iovec *, int, off_t))dlsym(
        RTLD_NEXT, "pwritev");
    real_ftruncate = (int (*)(int, off_t))dlsym(RTLD_NEXT, "ftruncate");
    real_fallocate =
        (int (*)(int, int, off_t, off_t))dlsym(RTLD_NEXT, "fallocate");
    const char *dir = getenv("UNSYNCED_DIR"), *to = getenv("UNSYNCED_SHADOW");
    if (dir == NULL || to == NULL || realpath(dir, root) == NULL ||
        realpath(to, shadow) == NULL)
        return;
    root_size = strlen(root);
    keep_all(root, 0);
    int fd = shadow_open("control", "", O_RDWR | O_CREAT);
    if (fd < 0 || real_ftruncate(fd, 4096) != 0)
        broken("control");
    void *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        broken("control");
    close(fd);
    control = page;
    unsetenv("LD_PRELOAD"); /* of this process alone */
}

static int synced(int fd, int (*real)(int))
{
    char key[KEY_SIZE], path[4096];
    struct statx st;
    if (!ours(fd, key, &st, path))
        return real(fd);
    if (is_segment(path) && control[SWITCH_LIE])
        return 0;
    if (is_segment(path) && control[SWITCH_SYNC_EIO]) {
        errno = EIO;
        return -1;
    }
    /* The disk under the test need not be waited for: what is durable is
     * decided here. What was written before the call is kept by it. */
    pthread_mutex_lock(&lock);
    if (S_ISDIR(st.stx_mode)) {
        keep_names(path, key);
    } else {
        struct tracked *one = track(key);
        off_t from = one->from, to = one->to;
        one->from = one->to = 0;
        keep_bytes(fd, key, from, to);
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

int fdatasync(int fd)
{
    return synced(fd, real_fdatasync);
}

int fsync(int fd)
{
    return synced(fd, real_fsync);
}

/* Before a write: is it tracked, where will it stand, is there room? */
static bool before(
    int fd, char key[KEY_SIZE], off_t *at, off_t size, bool *full)
{
    char path[4096];
    struct statx st;
    *full = false;
    if (!ours(fd, key, &st, path))
        return false;
    if (*at < 0)
        *at = (fcntl(fd, F_GETFL) & O_APPEND) != 0 ? (off_t)st.stx_size
                                                   : lseek(fd, 0, SEEK_CUR);
    /* Blocks that a file already has can be written on a full disk. */
    *full = control[SWITCH_FULL] && *at + size > (off_t)st.stx_blocks * 512;
    return true;
}

#define WRITES(SIZE, AT, CALL)                                                 \
    char key[KEY_SIZE];                                                        \
    off_t at = (AT), size = (off_t)(SIZE);                                     \
    bool full;                                                                 \
    if (!before(fd, key, &at, size, &full))                                    \
        return CALL;                                                           \
    if (full) {                                                                \
        errno = ENOSPC;                                                        \
        return -1;                                                             \
    }                                                                          \
    ssize_t put = CALL;                                                        \
    if (put > 0)                                                               \
        touched(key, at, at + put);                                            \
    return put

static size_t total(const struct iovec *iov, int count)
{
    size_t sum = 0;
    for (int i = 0; i < count; i++)
        sum += iov[i].iov_len;
    return sum;
}

ssize_t write(int fd, const void *from, size_t n)
{
    if (real_write == NULL) { /* before our constructor */
        real_write =
            (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    }
    WRITES(n, -1, real_write(fd, from, n));
}

ssize_t pwrite(int fd, const void *from, size_t n, off_t offset)
{
    WRITES(n, offset, real_pwrite(fd, from, n, offset));
}

ssize_t pwrite64(int fd, const void *from, size_t n, off_t offset)
{
    WRITES(n, offset, real_pwrite(fd, from, n, offset));
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
    WRITES(total(iov, count), -1, real_writev(fd, iov, count));
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    WRITES(total(iov, count), offset, real_pwritev(fd, iov, count, offset));
}

static int resized(int fd, off_t size)
{
    char key[KEY_SIZE], path[4096];
    struct statx st;
    bool mine = ours(fd, key, &st, path);
    int result = real_ftruncate(fd, size);
    if (mine && result == 0)
        touched(key, size < (off_t)st.stx_size ? size : (off_t)st.stx_size,
            size > (off_t)st.stx_size ? size : (off_t)st.stx_size);
    return result;
}

int ftruncate(int fd, off_t size)
{
    return resized(fd, size);
}

int ftruncate64(int fd, off_t size)
{
    return resized(fd, size);
}

static int allocated(int fd, int mode, off_t from, off_t size)
{
    char key[KEY_SIZE], path[4096];
    struct statx st;
    bool mine = ours(fd, key, &st, path);
    if (mine && control[SWITCH_FULL]) {
        errno = ENOSPC;
        return -1;
    }
    int result = real_fallocate(fd, mode, from, size);
    if (mine && result == 0)
        touched(key, from, from + size);
    return result;
}

int fallocate(int fd, int mode, off_t from, off_t size)
{
    return allocated(fd, mode, from, size);
}

int fallocate64(int fd, int mode, off_t from, off_t size)
{
    return allocated(fd, mode, from, size);
}
