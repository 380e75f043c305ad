/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/thread.c - see thread.h. */
#include "lib/thread.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

void thread_be_nice(void)
{
    /* On Linux a thread has a niceness of its own; 0 is the calling one. */
    (void)setpriority(
        PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + THREAD_NICENESS);
}

struct thread_times thread_times(void)
{
    struct thread_times times = {0};
    char text[128];
    int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (got <= 0)
        return times;
    text[got] = '\0';
    char *end;
    times.ran_ns = strtoll(text, &end, 10);
    times.waited_ns = strtoll(end, NULL, 10);
    return times;
}
