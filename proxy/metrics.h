/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/metrics.h - counters of one worker and their Prometheus text.
 *
 * A worker adds without contention (relaxed atomics on its own lines); the
 * admin plane sums over workers. Names and helps are rows of metrics.tbl.h. */
#ifndef PROXY_METRICS_H
#define PROXY_METRICS_H

#include "lib/buf.h"

#include <stdatomic.h>

enum metric {
#define METRIC(id, name, type, help) METRIC_##id,
#include "proxy/metrics.tbl.h"
#undef METRIC
    METRIC_COUNT
};

/* Seconds, upper bounds 1 ms x 2 up to 65.536 s, then +Inf. */
#define METRICS_BUCKETS 18

struct metrics_histogram {
    _Atomic uint64_t bucket[METRICS_BUCKETS];
    _Atomic uint64_t sum_us, count;
};

struct metrics {
    _Atomic int64_t value[METRIC_COUNT];
    struct metrics_histogram request;    /* head read to answer's end */
    struct metrics_histogram first_byte; /* head read to first answer byte */
    struct metrics_histogram durable;    /* admission appended to durable */
    struct metrics_histogram queued;     /* in the queue, of those granted */
};

static inline void metrics_add(
    struct metrics *m, enum metric metric, int64_t amount)
{
    atomic_fetch_add_explicit(&m->value[metric], amount, memory_order_relaxed);
}
void metrics_observe(struct metrics_histogram *histogram, int64_t us);

/* Sums `count` workers' metrics into Prometheus text 0.0.4. */
void metrics_write(
    const struct metrics *const *workers, size_t count, struct buf *out);
int64_t metrics_sum(
    const struct metrics *const *workers, size_t count, enum metric metric);

#endif
