/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/log_budget.c - see log_budget.h. */
#include "proxy/log_budget.h"

#include "lib/clock.h"

#include <stdatomic.h>
#include <stdlib.h>

#define CELLS (1u << 18)
#define PROBES 64u
#define BYTES_BITS 40
#define BYTES_MASK ((UINT64_C(1) << BYTES_BITS) - 1)

/* Taken once, by whichever caller's hash it is; never given back. */
struct cell {
    _Atomic uint64_t hash; /* 0: free */
    _Atomic uint64_t sum;  /* hour | bytes */
};
struct log_budget {
    struct cell cells[CELLS];
};

struct log_budget *log_budget_new(void)
{
    return calloc(1, sizeof(struct log_budget)); /* pages come as touched */
}

void log_budget_free(struct log_budget **budget)
{
    free(*budget);
    *budget = NULL;
}

static struct cell *find(struct log_budget *budget, struct str caller)
{
    uint64_t hash = str_hash(caller);
    if (hash == 0)
        hash = 1;
    for (unsigned i = 0; i < PROBES; i++) {
        struct cell *cell = &budget->cells[(hash + i) & (CELLS - 1)];
        uint64_t there =
            atomic_load_explicit(&cell->hash, memory_order_relaxed);
        if (there == 0 &&
            atomic_compare_exchange_strong_explicit(&cell->hash, &there, hash,
                memory_order_relaxed, memory_order_relaxed))
            return cell;
        if (there == hash)
            return cell;
    }
    return NULL;
}

uint64_t log_budget_add(struct log_budget *budget, struct str caller,
    uint64_t bytes, int64_t now_us)
{
    struct cell *cell = find(budget, caller);
    if (cell == NULL)
        return 0;
    uint64_t hour = (uint64_t)(now_us / HOUR_US) << BYTES_BITS;
    uint64_t old = atomic_load_explicit(&cell->sum, memory_order_relaxed);
    for (;;) {
        uint64_t had = (old & ~BYTES_MASK) == hour ? old & BYTES_MASK : 0;
        uint64_t sum = had + bytes < BYTES_MASK ? had + bytes : BYTES_MASK;
        if (bytes == 0 ||
            atomic_compare_exchange_weak_explicit(&cell->sum, &old, hour | sum,
                memory_order_relaxed, memory_order_relaxed))
            return sum;
    }
}
