/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/pool.c - health checks and the breaker. The checker owns copies of
 * the targets under a mutex; everything a worker reads is atomic. */
#include "engine/pool.h"

#include "lib/arena.h"
#include "lib/clock.h"
#include "lib/http_client.h"
#include "lib/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK_EVERY_US (2 * SECOND_US)
#define CHECK_TIMEOUT_US (2 * SECOND_US)
#define DOWN_AFTER 2       /* failed checks in a row */
#define BREAKER_FAILURES 5 /* failed attempts in a row */
#define BREAKER_OPEN_US (2 * SECOND_US)

struct watched {
    struct engine_target target; /* texts in the list's arena */
    struct pool_engine *engine;
    unsigned failed;
};

struct watch_list {
    struct arena *arena;
    struct watched *items;
    size_t count;
};

struct pool {
    void (*on_change)(void *, const char *, bool, const char *);
    void *context;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    _Atomic(struct pool_engine *) engines;
    struct watch_list *watching; /* owned; the checker swaps it in */
    bool stopping, started;
    pthread_t checker;
};

static void watch_list_free(struct watch_list **list)
{
    if (*list == NULL)
        return;
    arena_free(&(*list)->arena);
    free(*list);
    *list = NULL;
}

enum err pool_new(void (*on_change)(void *context, const char *engine, bool up,
                      const char *why),
    void *context, struct pool **out, struct errinfo *info)
{
    struct pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    pool->on_change = on_change;
    pool->context = context;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    *out = pool;
    return ERR_OK;
}

void pool_free(struct pool **pool)
{
    struct pool *p = *pool;
    if (p == NULL)
        return;
    *pool = NULL;
    if (p->started) {
        pthread_mutex_lock(&p->mutex);
        p->stopping = true;
        pthread_cond_signal(&p->changed);
        pthread_mutex_unlock(&p->mutex);
        pthread_join(p->checker, NULL);
    }
    watch_list_free(&p->watching);
    struct pool_engine *engine = atomic_load(&p->engines);
    while (engine != NULL) {
        struct pool_engine *next = engine->next;
        free(engine->name);
        free(engine);
        engine = next;
    }
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->mutex);
    free(p);
}

static struct pool_engine *find(struct pool *pool, const char *name)
{
    struct pool_engine *e =
        atomic_load_explicit(&pool->engines, memory_order_acquire);
    while (e != NULL && strcmp(e->name, name) != 0)
        e = e->next;
    return e;
}

struct pool_engine *pool_engine(struct pool *pool, const char *name)
{
    struct pool_engine *engine = find(pool, name);
    if (engine != NULL)
        return engine;
    pthread_mutex_lock(&pool->mutex);
    engine = find(pool, name);
    if (engine == NULL) {
        engine = calloc(1, sizeof(*engine));
        if (engine != NULL) {
            atomic_init(&engine->places, -1);
            engine->name = strdup(name);
            if (engine->name == NULL) {
                free(engine);
                engine = NULL;
            } else {
                engine->next = atomic_load(&pool->engines);
                atomic_store_explicit(
                    &pool->engines, engine, memory_order_release);
            }
        }
    }
    pthread_mutex_unlock(&pool->mutex);
    return engine;
}

static const char *copy(struct arena *arena, const char *text)
{
    return arena_cstr(arena, str_from(text));
}

static bool copy_target(struct arena *arena, const struct engine_target *from,
    struct engine_target *to)
{
    *to = *from;
    to->name = copy(arena, from->name);
    to->host = copy(arena, from->host);
    to->base_path = copy(arena, from->base_path);
    to->authority = copy(arena, from->authority);
    to->url = copy(arena, from->url);
    to->credential = copy(arena, from->credential);
    to->ca_file = copy(arena, from->ca_file);
    to->health_path = copy(arena, from->health_path);
    return to->name && to->host && to->base_path && to->authority && to->url &&
           to->credential && to->ca_file && to->health_path;
}

enum err pool_watch(struct pool *pool,
    const struct engine_target *const *targets, size_t count,
    struct errinfo *info)
{
    struct watch_list *list = calloc(1, sizeof(*list));
    if (list == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    list->arena = arena_new(4096, 0);
    if (list->arena != NULL)
        list->items =
            arena_zalloc(list->arena, count * sizeof(struct watched) + 1);
    if (list->items == NULL) {
        watch_list_free(&list);
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    }
    list->count = count;
    for (size_t i = 0; i < count; i++) {
        struct watched *w = &list->items[i];
        w->engine = pool_engine(pool, targets[i]->name);
        if (w->engine == NULL ||
            !copy_target(list->arena, targets[i], &w->target)) {
            watch_list_free(&list);
            return errinfo_set(info, ERR_NOMEM, "out of memory");
        }
    }
    for (size_t i = 0; i < count; i++)
        atomic_store(&list->items[i].engine->places,
            (int64_t)list->items[i].target.max_concurrent);
    pthread_mutex_lock(&pool->mutex);
    watch_list_free(&pool->watching);
    pool->watching = list;
    pthread_cond_signal(&pool->changed);
    pthread_mutex_unlock(&pool->mutex);
    return ERR_OK;
}

/* Any answer under 500 but 503-while-loading means that it is there. */
static bool check_one(const struct engine_target *target, struct errinfo *info)
{
    struct http_client_request request = {
        .method = "GET",
        .timeout_us = CHECK_TIMEOUT_US,
        .max_answer = 64 * 1024,
    };
    struct http_client_answer answer = {0};
    char url[2048], authorization[4200];
    const char *headers[2] = {NULL, NULL};
    if (target->scheme == ENGINE_UNIX) {
        request.unix_socket = target->host;
        snprintf(url, sizeof(url), "http://localhost%s", target->health_path);
    } else {
        snprintf(url, sizeof(url), "%s://%s%s%s",
            target->scheme == ENGINE_HTTPS ? "https" : "http",
            target->authority, target->base_path, target->health_path);
    }
    request.url = url;
    if (target->ca_file[0] != '\0')
        request.ca_file = target->ca_file;
    if (target->credential[0] != '\0') {
        snprintf(authorization, sizeof(authorization),
            "Authorization: Bearer %s", target->credential);
        headers[0] = authorization;
        request.headers = headers;
    }
    bool up = http_client_request(&request, &answer, info) == ERR_OK;
    if (up && answer.status >= 500) {
        errinfo_set(info, ERR_WRONG_STATE, "its health path %s answers %d",
            target->health_path, answer.status);
        up = false;
    }
    http_client_answer_fini(&answer);
    return up;
}

static void note(struct pool *pool, struct watched *w, bool up, const char *why)
{
    int before = atomic_load(&w->engine->health);
    if (up) {
        w->failed = 0;
        atomic_store(&w->engine->health, POOL_UP);
        atomic_store(&w->engine->open_until_us, 0);
        if (before != POOL_UP && pool->on_change != NULL)
            pool->on_change(pool->context, w->target.name, true, "");
        return;
    }
    w->failed++;
    if (before == POOL_DOWN || (before == POOL_UP && w->failed < DOWN_AFTER))
        return;
    atomic_store(&w->engine->health, POOL_DOWN);
    if (pool->on_change != NULL)
        pool->on_change(pool->context, w->target.name, false, why);
}

/* Checks one round over `list`, which belongs to this thread meanwhile. */
static void check_round(struct pool *pool, struct watch_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        struct errinfo info = {0};
        pthread_mutex_lock(&pool->mutex);
        bool stop = pool->stopping || pool->watching != NULL;
        pthread_mutex_unlock(&pool->mutex);
        if (stop)
            return;
        bool up = check_one(&list->items[i].target, &info);
        note(pool, &list->items[i], up, info.text);
    }
}

static void *check_loop(void *argument)
{
    struct pool *pool = argument;
    struct watch_list *list = NULL;
    pthread_mutex_lock(&pool->mutex);
    while (!pool->stopping) {
        if (pool->watching != NULL) {
            watch_list_free(&list);
            list = pool->watching;
            pool->watching = NULL;
        }
        pthread_mutex_unlock(&pool->mutex);
        if (list != NULL)
            check_round(pool, list);
        pthread_mutex_lock(&pool->mutex);
        if (pool->stopping || pool->watching != NULL)
            continue;
        int64_t due = clock_monotonic() + CHECK_EVERY_US;
        struct timespec until = {
            .tv_sec = due / SECOND_US, .tv_nsec = (due % SECOND_US) * 1000};
        pthread_cond_timedwait(&pool->changed, &pool->mutex, &until);
    }
    pthread_mutex_unlock(&pool->mutex);
    watch_list_free(&list);
    return NULL;
}

enum err pool_start(struct pool *pool, struct errinfo *info)
{
    int failure = pthread_create(&pool->checker, NULL, check_loop, pool);
    if (failure != 0)
        return errinfo_set(info, ERR_IO, "cannot start the health checker: %s",
            strerror(failure));
    pool->started = true;
    return ERR_OK;
}

bool pool_alive(const struct pool_engine *engine, int64_t monotonic_us)
{
    return atomic_load_explicit(&engine->health, memory_order_relaxed) !=
               POOL_DOWN &&
           atomic_load_explicit(&engine->open_until_us, memory_order_relaxed) <=
               monotonic_us;
}

bool pool_usable(const struct pool_engine *engine,
    const struct engine_target *target, int64_t monotonic_us)
{
    if (!pool_alive(engine, monotonic_us))
        return false;
    return target->max_concurrent == 0 ||
           atomic_load_explicit(&engine->outstanding, memory_order_relaxed) <
               target->max_concurrent;
}

uint64_t pool_load(
    const struct pool_engine *engine, const struct engine_target *target)
{
    unsigned weight = target->weight > 0 ? target->weight : 1;
    return ((uint64_t)atomic_load_explicit(
                &engine->outstanding, memory_order_relaxed) +
               1) *
           1000 / weight;
}

bool pool_begin(struct pool_engine *engine, const struct engine_target *target)
{
    unsigned before =
        atomic_load_explicit(&engine->outstanding, memory_order_relaxed);
    do {
        if (target->max_concurrent != 0 && before >= target->max_concurrent)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&engine->outstanding,
        &before, before + 1, memory_order_relaxed, memory_order_relaxed));
    atomic_fetch_add_explicit(&engine->requests, 1, memory_order_relaxed);
    return true;
}

void pool_end(struct pool_engine *engine, bool good, int64_t monotonic_us)
{
    atomic_fetch_sub_explicit(&engine->outstanding, 1, memory_order_relaxed);
    if (good) {
        if (atomic_load_explicit(&engine->failures, memory_order_relaxed) != 0)
            atomic_store_explicit(&engine->failures, 0, memory_order_relaxed);
        return;
    }
    atomic_fetch_add_explicit(&engine->errors, 1, memory_order_relaxed);
    if (atomic_fetch_add(&engine->failures, 1) + 1 >= BREAKER_FAILURES) {
        atomic_store(&engine->open_until_us, monotonic_us + BREAKER_OPEN_US);
        atomic_store(&engine->failures, 0);
    }
}
