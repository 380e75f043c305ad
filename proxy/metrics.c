/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/metrics.c - adding up, and the text exposition format 0.0.4. */
#include "proxy/metrics.h"

#include "lib/clock.h"

static const struct {
    const char *name, *type, *help;
} rows[METRIC_COUNT] = {
#define METRIC(id, name, type, help) [METRIC_##id] = {name, type, help},
#include "proxy/metrics.tbl.h"
#undef METRIC
};

static int64_t bound_us(int bucket)
{
    return INT64_C(1000) << bucket;
}

void metrics_observe(struct metrics_histogram *histogram, int64_t us)
{
    int bucket = 0;
    while (bucket < METRICS_BUCKETS - 1 && us > bound_us(bucket))
        bucket++;
    atomic_fetch_add_explicit(
        &histogram->bucket[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(
        &histogram->sum_us, (uint64_t)(us > 0 ? us : 0), memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->count, 1, memory_order_relaxed);
}

int64_t metrics_sum(
    const struct metrics *const *workers, size_t count, enum metric metric)
{
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += atomic_load_explicit(
            &workers[i]->value[metric], memory_order_relaxed);
    return sum;
}

static void write_seconds(struct buf *out, uint64_t us)
{
    buf_printf(out, "%llu.%06llu", (unsigned long long)(us / SECOND_US),
        (unsigned long long)(us % SECOND_US));
}

static void write_histogram(struct buf *out, const char *name, const char *help,
    const struct metrics *const *workers, size_t count, size_t offset)
{
    uint64_t below = 0, sum = 0;
    buf_printf(out, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name);
    for (int b = 0; b < METRICS_BUCKETS; b++) {
        for (size_t i = 0; i < count; i++) {
            const struct metrics_histogram *h =
                (const void *)((const char *)workers[i] + offset);
            below += atomic_load_explicit(&h->bucket[b], memory_order_relaxed);
            if (b == 0)
                sum += atomic_load_explicit(&h->sum_us, memory_order_relaxed);
        }
        buf_printf(out, "%s_bucket{le=\"", name);
        if (b == METRICS_BUCKETS - 1)
            buf_append_str(out, STR("+Inf"));
        else
            write_seconds(out, (uint64_t)bound_us(b));
        buf_printf(out, "\"} %llu\n", (unsigned long long)below);
    }
    buf_printf(out, "%s_sum ", name);
    write_seconds(out, sum);
    buf_printf(out, "\n%s_count %llu\n", name, (unsigned long long)below);
}

void metrics_write(
    const struct metrics *const *workers, size_t count, struct buf *out)
{
    for (int m = 0; m < METRIC_COUNT; m++) {
        if (rows[m].help[0] != '\0') {
            int family = (int)strcspn(rows[m].name, "{");
            buf_printf(out, "# HELP %.*s %s\n# TYPE %.*s %s\n", family,
                rows[m].name, rows[m].help, family, rows[m].name, rows[m].type);
        }
        buf_printf(out, "%s %lld\n", rows[m].name,
            (long long)metrics_sum(workers, count, (enum metric)m));
    }
    write_histogram(out, "bailiff_request_duration_seconds",
        "From the head to the answer's end", workers, count,
        offsetof(struct metrics, request));
    write_histogram(out, "bailiff_first_byte_seconds",
        "From the head to the answer's first byte", workers, count,
        offsetof(struct metrics, first_byte));
    write_histogram(out, "bailiff_admission_durable_seconds",
        "From the admission's entry to its being durable", workers, count,
        offsetof(struct metrics, durable));
    write_histogram(out, "bailiff_queue_wait_seconds",
        "Waiting for a place at an engine, of those that got one", workers,
        count, offsetof(struct metrics, queued));
}
