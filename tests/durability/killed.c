/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/durability/killed.c - kill -9 at the N-th step.
 *
 * Preloaded. KILLED_FILE holds a 32-bit number that a test sets, also while
 * the program runs: each call that changes or syncs a file counts it down, and
 * the one that reaches zero dies before it does anything. 0: nobody counts. */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

static _Atomic int32_t *left;

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("KILLED_FILE");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *page = fd >= 0 ? mmap(NULL, sizeof *left, PROT_READ | PROT_WRITE,
                               MAP_SHARED, fd, 0)
                         : MAP_FAILED;

    if (page == MAP_FAILED)
        abort();
    left = page;
    close(fd);
}

static void step(void)
{
    int32_t now;

    if (!left || atomic_load(left) <= 0)
        return;
    now = atomic_fetch_sub(left, 1);
    if (now == 1)
        kill(getpid(), SIGKILL);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fdatasync(int fd)
{
    step();
    return NEXT(fdatasync)(fd);
}

int fsync(int fd)
{
    step();
    return NEXT(fsync)(fd);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    step();
    return NEXT(pwrite)(fd, bytes, n, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at)
{
    step();
    return NEXT(pwrite64)(fd, bytes, n, at);
}

ssize_t pwritev(int fd, const struct iovec *list, int n, off_t at)
{
    step();
    return NEXT(pwritev)(fd, list, n, at);
}

int unlink(const char *path)
{
    step();
    return NEXT(unlink)(path);
}

int rename(const char *from, const char *to)
{
    step();
    return NEXT(rename)(from, to);
}

int ftruncate(int fd, off_t size)
{
    step();
    return NEXT(ftruncate)(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    step();
    return NEXT(ftruncate64)(fd, size);
}
