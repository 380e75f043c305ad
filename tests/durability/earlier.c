/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/durability/earlier.c - a clock that is EARLIER_DAYS behind.
 *
 * Preloaded. What a test makes under it is as old as retention needs it. */
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long seconds(void)
{
    static long found = -1;

    if (found < 0) {
        const char *text = getenv("EARLIER_DAYS");
        found = text ? atol(text) * 86400 : 0;
    }
    return found;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int clock_gettime(clockid_t clock, struct timespec *out)
{
    static int (*next)(clockid_t, struct timespec *);
    int result;

    if (!next)
        next = NEXT(clock_gettime);
    result = next(clock, out);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
        out->tv_sec -= seconds();
    return result;
}

time_t time(time_t *out)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}
