/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/rate.h - one rate: so many units a minute, exactly.
 *
 * GCRA (ITU-T I.371 annex A): the bucket is a virtual arrival time, a unit
 * moves it on by a minute / amount, and what would move it more than a minute
 * beyond now does not fit. Times are kept in ticks of 1/amount microsecond, so
 * that a unit is a whole number of ticks whatever the amount: nothing is lost
 * to rounding.
 *
 * A reservation that turns out too large is given back as if it had been right
 * from the start. What has drained away since cannot be given back: it was
 * there to be used by others and was not. So the rate remembers how small its
 * backlog has been since each open reservation (`low`, a stack of suffix
 * minima, a few entries; merging them errs on the strict side).
 *
 * Pure; the ledger's lock protects it. Time must not run backwards between
 * calls (the ledger sees to that). */
#ifndef POLICY_RATE_H
#define POLICY_RATE_H

#include <stdbool.h>
#include <stdint.h>

/* amount x microseconds since 1970 passes 64 bits. */
typedef unsigned __int128 rate_ticks;

#define RATE_LOWS 8

struct rate {
    rate_ticks arrival; /* 0: never used */
    uint64_t scale;     /* ticks per microsecond: the amount, at least 1 */
    uint64_t step;      /* counts reservations and settlements */
    uint32_t open;      /* reservations not settled yet */
    uint32_t low_count;
    struct rate_low {
        uint64_t step;
        rate_ticks backlog; /* just before that step */
    } low[RATE_LOWS];       /* steps and backlogs both ascend */
};

/* A rate whose arrival time is known from the log (0: fresh). */
void rate_init(struct rate *rate, int64_t arrival_us, uint64_t step);
/* Before the calls below, when the amount may have changed. */
void rate_rescale(struct rate *rate, int64_t amount);
/* After the clock was set back: at most a whole burst is owed. */
void rate_clamp(struct rate *rate, int64_t now_us);

/* Units that fit now; what the burst lacks, in units rounded up. */
int64_t rate_room(const struct rate *rate, int64_t amount, int64_t now_us);
int64_t rate_used(const struct rate *rate, int64_t now_us);
/* Microseconds until `units` (<= amount) fit; 0: now. */
int64_t rate_wait(const struct rate *rate, int64_t now_us, int64_t units);
/* Microseconds until the burst is whole again. */
int64_t rate_backlog_us(const struct rate *rate, int64_t now_us);

/* units <= rate_room. Returns the step of this reservation. */
uint64_t rate_take(struct rate *rate, int64_t now_us, int64_t units);
/* Ends the reservation of `step`: `units` of it were not used, at the amount
 * it was made under. Returns the new step. */
uint64_t rate_give_back(
    struct rate *rate, uint64_t step, int64_t units, int64_t amount);
/* The arrival time for the log, rounded up. */
int64_t rate_arrival_us(const struct rate *rate);

#endif
