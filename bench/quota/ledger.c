/* SPDX-License-Identifier: Apache-2.0
 *
 * bench/quota/ledger.c - what reserve and settle cost.
 *
 *   ledger [SECONDS]
 *
 * Each thread takes from the same quotas and settles, as fast as it can: the
 * ledger's one mutex is under the most contention there can be. A request of
 * the proxy does this once each. Figures: nanoseconds of a thread's time for
 * one pair, and for one pair and quota. */
#include "lib/clock.h"
#include "lib/must.h"
#include "policy/quota.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS_MAX 8
#define QUOTAS_MAX 8

static struct quota_ledger *ledger;
static struct quota_rule rules[QUOTAS_MAX];
static const struct price price = {
    .version = 1, .input = 150000, .cached = 75000, .output = 600000};
static _Atomic bool stop;
static size_t quotas;

struct runner {
    pthread_t thread;
    int64_t pairs, refused;
    int64_t elapsed_us;
};

static void *run(void *argument)
{
    struct runner *r = argument;
    struct quota_demand demand = {.input = 400,
        .multiplier = 1,
        .cap = 256,
        .images = 1,
        .bytes = 3000,
        .price = &price};
    struct quota_use use = {
        .input = 100, .output = 80, .cost = 63, .served = true};
    int64_t begun = clock_monotonic(), now = clock_now();
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        struct quota_claim claims[QUOTAS_MAX];
        struct quota_denial denial;
        int64_t cap;
        memset(claims, 0, quotas * sizeof(claims[0]));
        for (size_t i = 0; i < quotas; i++)
            claims[i].rule = &rules[i];
        if (quota_reserve(
                ledger, now, &demand, claims, quotas, &cap, &denial) != ERR_OK)
            r->refused++;
        else
            quota_settle(ledger, now, claims, quotas, &use);
        if (++r->pairs % 256 == 0)
            now = clock_now();
    }
    r->elapsed_us = clock_monotonic() - begun;
    return NULL;
}

static void measure(unsigned threads, double seconds)
{
    static struct runner runners[THREADS_MAX];
    int64_t pairs = 0, elapsed = 0;
    memset(runners, 0, sizeof(runners));
    atomic_store(&stop, false);
    for (unsigned i = 0; i < threads; i++)
        MUST(pthread_create(&runners[i].thread, NULL, run, &runners[i]) == 0);
    struct timespec nap = {.tv_sec = (time_t)seconds,
        .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&nap, NULL);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < threads; i++) {
        MUST(pthread_join(runners[i].thread, NULL) == 0);
        pairs += runners[i].pairs;
        elapsed += runners[i].elapsed_us;
        MUST(runners[i].refused == 0);
    }
    double pair = (double)elapsed * 1000 / (double)pairs;
    printf("%u threads  %zu quotas  %7.0f ns a pair  %6.0f ns a quota  %5.2f "
           "million pairs a second\n",
        threads, quotas, pair, pair / (double)quotas,
        (double)pairs / ((double)elapsed / threads));
}

int main(int argc, char **argv)
{
    static const struct {
        enum quota_dimension dimension;
        enum quota_window window;
    } kinds[QUOTAS_MAX] = {{QUOTA_TOKENS, QUOTA_DAY},
        {QUOTA_REQUESTS, QUOTA_MINUTE}, {QUOTA_COST, QUOTA_MONTH},
        {QUOTA_TOKENS, QUOTA_MINUTE}, {QUOTA_OUTPUT_TOKENS, QUOTA_DAY},
        {QUOTA_CONCURRENT_REQUESTS, QUOTA_NOW},
        {QUOTA_INPUT_TOKENS, QUOTA_MONTH}, {QUOTA_REQUESTS, QUOTA_LIFETIME}};
    double seconds = argc > 1 ? atof(argv[1]) : 2;
    struct clock_zone *zone;
    struct errinfo info = {0};
    MUST(clock_zone_load("Europe/Berlin", &zone, &info) == ERR_OK);
    ledger = quota_ledger_new();
    MUST(ledger != NULL);
    for (size_t i = 0; i < QUOTAS_MAX; i++) {
        rules[i] = (struct quota_rule){.dimension = kinds[i].dimension,
            .window = kinds[i].window,
            .amount = INT64_C(1) << 50,
            .zone = zone};
        snprintf(rules[i].id, sizeof(rules[i].id), "quo_%016zx", i * 7919);
    }
    for (unsigned threads = 1; threads <= 4; threads *= 2)
        for (quotas = 1; quotas <= QUOTAS_MAX; quotas *= 2)
            measure(threads, seconds);
    quota_ledger_free(&ledger);
    clock_zone_free(&zone);
    return 0;
}
