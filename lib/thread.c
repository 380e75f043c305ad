/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/thread.c - see thread.h. */
#include "lib/thread.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

void thread_be_nice(void)
{
    /* On Linux a thread has a niceness of its own. */
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), THREAD_NICENESS);
}
