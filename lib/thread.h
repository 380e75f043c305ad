/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/thread.h - for threads whose work can wait for that of others.
 *
 * A low priority alone does not let a request through at once: the scheduler
 * protects what runs for a slice of a millisecond or more, which is longer
 * than a whole request takes. So long work is cut into pieces of about a
 * hundred microseconds, between which it offers the processor. */
#ifndef LIB_THREAD_H
#define LIB_THREAD_H

#include <sched.h>
#include <stdint.h>

/* Of the publisher: requests come first. A thread of this niceness still gets a
 * tenth of a processor that everybody wants, so what it does falls behind and
 * does not stop. It cannot be taken back without privileges. */
#define THREAD_NICENESS 10

/* Who is due runs now; costs a fraction of a microsecond when nobody is. */
static inline void thread_give_way(void)
{
    (void)sched_yield();
}

/* The same, every `pieces` calls; *count is the caller's. */
static inline void thread_give_way_after(unsigned *count, unsigned pieces)
{
    if (++*count < pieces)
        return;
    *count = 0;
    thread_give_way();
}

/* How long the calling thread has run so far, and how long it could have run
 * and others did, in nanoseconds (the scheduler's own account, proc(5)
 * schedstat); both 0 where the kernel keeps none. About 3 us. */
struct thread_times {
    int64_t ran_ns, waited_ns;
};
struct thread_times thread_times(void);

/* The calling thread only. */
void thread_be_nice(void);

#endif
