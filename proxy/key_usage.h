/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/key_usage.h - when each API key was last used, to the second.
 *
 * A cell per key that lives as long as the table: requests write into it with
 * one atomic store, at most once a second, and never look anything up. It is
 * no record (the log is) but spares reading the log for a list of keys. Kept in
 * DIR/key-usage; a crash loses at most what came since the last save.
 * Threads: cells are atomic, the rest has a lock of its own. */
#ifndef PROXY_KEY_USAGE_H
#define PROXY_KEY_USAGE_H

#include "lib/err.h"
#include "lib/str.h"

#include <stdatomic.h>

struct key_usage;
struct key_usage_cell {
    _Atomic int64_t time_us; /* 0: never */
};

/* A damaged file is as good as none: what it knew is not known any more. */
struct key_usage *key_usage_open(const char *dir); /* NULL: out of memory */
void key_usage_free(struct key_usage **usage);
/* The cell of a key, made where there is none; NULL: out of memory. */
struct key_usage_cell *key_usage_cell(struct key_usage *usage, struct str id);
/* 0: never, as far as is known. */
int64_t key_usage_last(struct key_usage *usage, struct str id);
/* Writes the file if anything was used since the last time. */
enum err key_usage_save(
    struct key_usage *usage, struct errinfo *info) MUSTCHECK;

static inline void key_usage_note(struct key_usage_cell *cell, int64_t now_us)
{
    if (cell != NULL &&
        now_us - atomic_load_explicit(&cell->time_us, memory_order_relaxed) >=
            1000000)
        atomic_store_explicit(&cell->time_us, now_us, memory_order_relaxed);
}

#endif
