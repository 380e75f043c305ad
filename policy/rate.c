/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/rate.c - see policy/rate.h. */
#include "policy/rate.h"

#include "lib/clock.h"
#include "lib/must.h"

#include <string.h>

static rate_ticks ticks_of_us(const struct rate *rate, int64_t us)
{
    return us <= 0 ? 0 : (rate_ticks)(uint64_t)us * rate->scale;
}

/* A unit is a minute / amount = MINUTE_US ticks. */
static rate_ticks ticks_of_units(int64_t units)
{
    return (rate_ticks)(uint64_t)units * (uint64_t)MINUTE_US;
}

static int64_t us_of_ticks(const struct rate *rate, rate_ticks ticks, bool up)
{
    return (int64_t)((ticks + (up ? rate->scale - 1 : 0)) / rate->scale);
}

static rate_ticks backlog(const struct rate *rate, int64_t now_us)
{
    rate_ticks now = ticks_of_us(rate, now_us);
    return rate->arrival > now ? rate->arrival - now : 0;
}

void rate_init(struct rate *rate, int64_t arrival_us, uint64_t step)
{
    memset(rate, 0, sizeof(*rate));
    rate->scale = 1;
    rate->arrival = ticks_of_us(rate, arrival_us);
    rate->step = step;
}

void rate_rescale(struct rate *rate, int64_t amount)
{
    uint64_t scale = amount > 0 ? (uint64_t)amount : 1;
    if (rate->scale == scale)
        return;
    struct rate old = *rate;
    rate->scale = scale;
    /* Up for what is owed, down for what may be given back. */
    rate->arrival = ticks_of_us(rate, us_of_ticks(&old, old.arrival, true));
    for (uint32_t i = 0; i < rate->low_count; i++)
        rate->low[i].backlog =
            ticks_of_us(rate, us_of_ticks(&old, old.low[i].backlog, false));
}

void rate_clamp(struct rate *rate, int64_t now_us)
{
    rate_ticks most = ticks_of_us(rate, now_us + MINUTE_US);
    if (rate->arrival > most) {
        rate->arrival = most;
        /* Backlogs measured by another clock say nothing now. */
        rate->low_count = 1;
        rate->low[0] = (struct rate_low){rate->step, 0};
    }
}

int64_t rate_room(const struct rate *rate, int64_t amount, int64_t now_us)
{
    rate_ticks burst = ticks_of_units(amount);
    rate_ticks owed = backlog(rate, now_us);
    return owed >= burst ? 0 : (int64_t)((burst - owed) / MINUTE_US);
}

int64_t rate_used(const struct rate *rate, int64_t now_us)
{
    return (int64_t)((backlog(rate, now_us) + MINUTE_US - 1) / MINUTE_US);
}

int64_t rate_wait(const struct rate *rate, int64_t now_us, int64_t units)
{
    rate_ticks burst = ticks_of_us(rate, MINUTE_US);
    rate_ticks after = backlog(rate, now_us) + ticks_of_units(units);
    return after <= burst ? 0 : us_of_ticks(rate, after - burst, true);
}

int64_t rate_backlog_us(const struct rate *rate, int64_t now_us)
{
    return us_of_ticks(rate, backlog(rate, now_us), true);
}

/* Notes the backlog before this step. Where there is no room, the two entries
 * closest to one another become one with the smaller backlog. */
static void push_low(struct rate *rate, rate_ticks value)
{
    if (rate->open == 0)
        rate->low_count = 0; /* nobody left to ask */
    while (
        rate->low_count > 0 && rate->low[rate->low_count - 1].backlog >= value)
        rate->low_count--;
    if (rate->low_count == RATE_LOWS) {
        uint32_t best = 0;
        for (uint32_t i = 1; i + 1 < RATE_LOWS; i++)
            if (rate->low[i + 1].backlog - rate->low[i].backlog <
                rate->low[best + 1].backlog - rate->low[best].backlog)
                best = i;
        rate->low[best].step = rate->low[best + 1].step;
        memmove(&rate->low[best + 1], &rate->low[best + 2],
            (RATE_LOWS - best - 2) * sizeof(rate->low[0]));
        rate->low_count--;
    }
    rate->low[rate->low_count++] = (struct rate_low){rate->step, value};
}

uint64_t rate_take(struct rate *rate, int64_t now_us, int64_t units)
{
    rate->step++;
    if (units > 0) {
        rate_ticks now = ticks_of_us(rate, now_us);
        push_low(rate, backlog(rate, now_us));
        if (rate->arrival < now)
            rate->arrival = now;
        rate->arrival += ticks_of_units(units);
    }
    rate->open++;
    return rate->step;
}

/* The backlogs after `step` would have been smaller by up to `ticks`. Entries
 * before it that are no longer smaller than what follows go away. */
static void lower_lows(struct rate *rate, uint32_t from, rate_ticks ticks)
{
    for (uint32_t i = from; i < rate->low_count; i++)
        rate->low[i].backlog =
            rate->low[i].backlog > ticks ? rate->low[i].backlog - ticks : 0;
    uint32_t kept = from;
    while (kept > 0 && from < rate->low_count &&
           rate->low[kept - 1].backlog >= rate->low[from].backlog)
        kept--;
    if (kept < from) {
        memmove(&rate->low[kept], &rate->low[from],
            (rate->low_count - from) * sizeof(rate->low[0]));
        rate->low_count -= from - kept;
    }
}

uint64_t rate_give_back(
    struct rate *rate, uint64_t step, int64_t units, int64_t amount)
{
    MUST(rate->open > 0);
    rate->open--;
    rate->step++;
    if (units <= 0)
        return rate->step;
    rate_ticks ticks = ticks_of_units(units);
    if (rate->scale != (uint64_t)amount)
        ticks = ticks / (uint64_t)amount * rate->scale;
    uint32_t from = 0;
    while (from < rate->low_count && rate->low[from].step <= step)
        from++;
    if (from < rate->low_count && rate->low[from].backlog < ticks)
        ticks = rate->low[from].backlog;
    lower_lows(rate, from, ticks);
    rate->arrival = rate->arrival > ticks ? rate->arrival - ticks : 0;
    return rate->step;
}

int64_t rate_arrival_us(const struct rate *rate)
{
    return us_of_ticks(rate, rate->arrival, true);
}
