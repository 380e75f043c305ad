/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/pool.h - the live side of engines: health, how much is under way,
 * and a circuit breaker. Shared by all workers.
 *
 * An entry is made the first time an engine's name is seen and lives as long
 * as the pool, so a pointer to it may be kept. Figures are atomics: any
 * thread. A checker thread asks each engine's health path; failed attempts of
 * real requests count too. */
#ifndef ENGINE_POOL_H
#define ENGINE_POOL_H

#include "engine/target.h"

#include <stdatomic.h>

enum pool_health { POOL_UNKNOWN, POOL_UP, POOL_DOWN };

struct pool_engine {
    char *name;
    _Atomic unsigned outstanding;  /* requests under way, all workers */
    _Atomic int health;            /* enum pool_health, by the checker */
    _Atomic unsigned failures;     /* attempts failed in a row */
    _Atomic int64_t open_until_us; /* breaker: no attempts before (monotonic) */
    _Atomic uint64_t requests, errors;
    _Atomic uint64_t answers, metered; /* good ones; of them with usage > 0 */
    _Atomic int64_t places; /* max_concurrent, as last watched; -1: never */
    struct pool_engine *next;
};

struct pool;
/* on_change tells of an engine that went up or down (why: words); called on
 * the checker's thread. gives *out. */
enum err pool_new(void (*on_change)(void *context, const char *engine, bool up,
                      const char *why),
    void *context, struct pool **out, struct errinfo *info) MUSTCHECK;
void pool_free(struct pool **pool); /* stops the checker */

/* Finds or makes the entry. NULL: out of memory. */
struct pool_engine *pool_engine(struct pool *pool, const char *name);

/* Which engines to check from now on. The targets are copied. */
enum err pool_watch(struct pool *pool,
    const struct engine_target *const *targets, size_t count,
    struct errinfo *info) MUSTCHECK;
enum err pool_start(struct pool *pool, struct errinfo *info) MUSTCHECK;

/* Could a request be sent there if it had a place? False when down, or when the
 * breaker is open. */
bool pool_alive(const struct pool_engine *engine, int64_t monotonic_us);
/* May a request be sent there now? Alive, and fewer than max_concurrent are
 * under way. */
bool pool_usable(const struct pool_engine *engine,
    const struct engine_target *target, int64_t monotonic_us);
/* Lower is better: outstanding / weight, scaled. */
uint64_t pool_load(
    const struct pool_engine *engine, const struct engine_target *target);

/* Around each attempt. Takes one of the engine's places; false: all of its
 * max_concurrent are taken, and nothing has begun. */
bool pool_begin(
    struct pool_engine *engine, const struct engine_target *target) MUSTCHECK;
void pool_end(struct pool_engine *engine, bool good, int64_t monotonic_us);

#endif
