/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/counters_fuzz.c - any bytes as an engine's metrics, and as a bill:
 * no sum is ever negative or beyond what JSON holds, and names lie within the
 * text or the arena. */
#include "lib/must.h"
#include "proxy/cli/counters.h"

#define COUNT_MAX INT64_C(9007199254740991)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void in_range(int64_t value)
{
    MUST(value >= -1 && value <= COUNT_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_make((const char *)data, size);
    struct arena *arena = arena_new(65536, 64u << 20);
    struct counters counters;
    struct bill_row *rows = NULL;
    size_t count = 0;
    struct errinfo info;

    MUST(arena);
    (void)counters_of_metrics(text, &counters);
    in_range(counters.requests);
    in_range(counters.input);
    in_range(counters.output);
    if (counters_of_bill(arena, text, &rows, &count, &info) == ERR_OK) {
        for (size_t i = 0; i < count; i++) {
            in_range(rows[i].counters.requests);
            in_range(rows[i].counters.input);
            in_range(rows[i].counters.output);
            MUST(rows[i].engine.len <= size);
        }
    }
    arena_free(&arena);
    return 0;
}
