/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/indexer.c - the thread that follows the journal.
 *
 *   run (index_run.c): the files and the place in the journal; one thread.
 *   here: the thread, its wake-ups, and what it does when a run fails: it is
 *   thrown away and begun anew after a pause, for ever. */
#include "audit/indexer.h"
#include "audit/index_run.h"

#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/must.h"
#include "lib/thread.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define INDEXER_MAGIC 0x696e6478u
/* Without a wake-up. Who asks the index wakes it; until then the fewer the
 * transactions, the fewer pages are written twice. */
#define POLL_US (500 * 1000)
#define ENTRIES_BESIDE 1024      /* taken where others want the processor */
#define RETRY_US (3 * SECOND_US) /* after a failure */
#define REBUILDS_MAX 64          /* asked for and not yet begun */

struct indexer {
    unsigned magic;
    struct indexer_options options;
    char *state_dir;
    pthread_t thread;
    bool started;
    _Atomic uint64_t position;
    _Atomic uint64_t wanted; /* somebody waits until it is there */
    _Atomic bool stop, failed, woken, reopen;

    pthread_mutex_t mutex;   /* what follows; leaf lock */
    pthread_cond_t wake;     /* for the thread */
    pthread_cond_t progress; /* for those who wait */
    struct errinfo why;
    uint64_t rebuilds[REBUILDS_MAX];
    size_t rebuild_count;
};

/* --- The thread --------------------------------------------------------------
 */

static struct timespec after(int64_t delay_us)
{
    int64_t at = clock_monotonic() + delay_us;
    return (struct timespec){.tv_sec = (time_t)(at / SECOND_US),
        .tv_nsec = (long)(at % SECOND_US) * 1000};
}

static void pause_for(struct indexer *indexer, int64_t delay_us)
{
    struct timespec until = after(delay_us);
    pthread_mutex_lock(&indexer->mutex);
    if (!atomic_load(&indexer->woken) && !atomic_load(&indexer->stop))
        pthread_cond_timedwait(&indexer->wake, &indexer->mutex, &until);
    atomic_store(&indexer->woken, false);
    pthread_mutex_unlock(&indexer->mutex);
}

static void tell_progress(struct indexer *indexer, const struct errinfo *why)
{
    pthread_mutex_lock(&indexer->mutex);
    if (why)
        indexer->why = *why;
    atomic_store(&indexer->failed, why != NULL);
    pthread_cond_broadcast(&indexer->progress);
    pthread_mutex_unlock(&indexer->mutex);
}

static void take_rebuilds(struct indexer *indexer, struct index_run *run)
{
    uint64_t asked[REBUILDS_MAX];
    pthread_mutex_lock(&indexer->mutex);
    size_t count = indexer->rebuild_count;
    memcpy(asked, indexer->rebuilds, count * sizeof(asked[0]));
    indexer->rebuild_count = 0;
    pthread_mutex_unlock(&indexer->mutex);
    for (size_t i = 0; i < count; i++)
        index_run_rebuild(run, asked[i]);
}

/* Did others run for more than a third of the time in which it could have? */
static bool is_contended(struct thread_times before)
{
    struct thread_times now = thread_times();
    int64_t ran_ns = now.ran_ns - before.ran_ns;
    return now.waited_ns - before.waited_ns > ran_ns / 2;
}

/* Of `size` durable entries, those that are to be in the index after the next
 * step. `contended`: was the last one. */
static uint64_t next_limit(
    struct indexer *indexer, uint64_t position, uint64_t size, bool contended)
{
    bool can_wait = contended && position >= atomic_load(&indexer->wanted) &&
                    size > position + ENTRIES_BESIDE &&
                    size - position <= indexer->options.may_wait;
    return can_wait ? position + ENTRIES_BESIDE : size;
}

/* Follows until told to stop or to look anew, or until something fails. */
static enum err follow(
    struct indexer *indexer, struct index_run *run, struct errinfo *info)
{
    bool contended = true; /* a start is no time to press */
    while (!atomic_load(&indexer->stop) &&
           !atomic_exchange(&indexer->reopen, false)) {
        struct thread_times before = thread_times();
        uint64_t size = indexer->options.size(indexer->options.context);
        uint64_t limit =
            next_limit(indexer, index_run_position(run), size, contended);
        bool more = false;
        take_rebuilds(indexer, run);
        enum err err = index_run_step(run, limit, &more, info);
        if (err != ERR_OK)
            return err;
        atomic_store(&indexer->position, index_run_position(run));
        tell_progress(indexer, NULL);
        contended = is_contended(before);
        if (!more && (limit == size || contended))
            pause_for(indexer, POLL_US);
    }
    return ERR_OK;
}

static void *indexer_thread(void *context)
{
    struct indexer *indexer = context;
    CHECK_MAGIC(indexer, INDEXER_MAGIC);
    while (!atomic_load(&indexer->stop)) {
        struct errinfo why = {0};
        struct index_run *run = NULL;
        enum err err = index_run_open(
            indexer->state_dir, indexer->options.range, &run, &why);
        if (err == ERR_OK)
            err = follow(indexer, run, &why);
        index_run_close(&run, err == ERR_OK);
        if (err == ERR_OK)
            continue;
        log_error("index_failed", "reason=\"%s\" retry_seconds=%d", why.text,
            (int)(RETRY_US / SECOND_US));
        tell_progress(indexer, &why);
        int64_t until = clock_monotonic() + RETRY_US;
        while (!atomic_load(&indexer->stop) && clock_monotonic() < until)
            pause_for(indexer, until - clock_monotonic());
    }
    return NULL;
}

/* --- From outside ------------------------------------------------------------
 */

enum err indexer_start(const struct indexer_options *options,
    struct indexer **out, struct errinfo *info)
{
    struct indexer *indexer = calloc(1, sizeof(*indexer));
    pthread_condattr_t monotonic;
    if (!indexer)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    indexer->magic = INDEXER_MAGIC;
    indexer->options = *options;
    pthread_mutex_init(&indexer->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&indexer->wake, &monotonic);
    pthread_cond_init(&indexer->progress, &monotonic);
    pthread_condattr_destroy(&monotonic);
    enum err err = ERR_NOMEM;
    indexer->state_dir = strdup(options->state_dir);
    char *dir = file_join(options->state_dir, "index");
    if (!indexer->state_dir || !dir) {
        errinfo_set(info, ERR_NOMEM, "out of memory");
        goto out;
    }
    err = file_make_dir(dir, 0700, info);
    if (err != ERR_OK)
        goto out;
    if (pthread_create(&indexer->thread, NULL, indexer_thread, indexer) != 0) {
        err = errinfo_set(
            info, ERR_LIMIT, "cannot start the thread of the index");
        goto out;
    }
    pthread_setname_np(indexer->thread, "indexer");
    indexer->started = true;
    *out = indexer;
    indexer = NULL;
out:
    free(dir);
    indexer_stop(&indexer);
    return err;
}

void indexer_stop(struct indexer **indexer_ref)
{
    struct indexer *indexer = *indexer_ref;
    if (!indexer)
        return;
    CHECK_MAGIC(indexer, INDEXER_MAGIC);
    if (indexer->started) {
        atomic_store(&indexer->stop, true);
        indexer_wake(indexer);
        pthread_join(indexer->thread, NULL);
    }
    pthread_cond_destroy(&indexer->wake);
    pthread_cond_destroy(&indexer->progress);
    pthread_mutex_destroy(&indexer->mutex);
    free(indexer->state_dir);
    indexer->magic = 0;
    free(indexer);
    *indexer_ref = NULL;
}

void indexer_wake(struct indexer *indexer)
{
    if (atomic_exchange(&indexer->woken, true))
        return;
    pthread_mutex_lock(&indexer->mutex);
    pthread_cond_signal(&indexer->wake);
    pthread_mutex_unlock(&indexer->mutex);
}

uint64_t indexer_position(const struct indexer *indexer)
{
    return atomic_load(&indexer->position);
}

bool indexer_failed(struct indexer *indexer, struct errinfo *why)
{
    pthread_mutex_lock(&indexer->mutex);
    bool failed = atomic_load(&indexer->failed);
    if (failed && why)
        *why = indexer->why;
    pthread_mutex_unlock(&indexer->mutex);
    return failed;
}

enum err indexer_wait(
    struct indexer *indexer, uint64_t position, int64_t timeout_us)
{
    struct timespec until = after(timeout_us);
    enum err err = ERR_OK;
    if (indexer_position(indexer) >= position)
        return ERR_OK;
    uint64_t wanted = atomic_load(&indexer->wanted);
    while (wanted < position &&
           !atomic_compare_exchange_weak(&indexer->wanted, &wanted, position))
        ;
    indexer_wake(indexer);
    pthread_mutex_lock(&indexer->mutex);
    while (indexer_position(indexer) < position && err == ERR_OK) {
        if (atomic_load(&indexer->failed) ||
            pthread_cond_timedwait(
                &indexer->progress, &indexer->mutex, &until) != 0)
            err = ERR_TIMEOUT;
    }
    if (indexer_position(indexer) >= position)
        err = ERR_OK;
    pthread_mutex_unlock(&indexer->mutex);
    return err;
}

void indexer_rebuild(struct indexer *indexer, uint64_t index)
{
    pthread_mutex_lock(&indexer->mutex);
    if (indexer->rebuild_count < REBUILDS_MAX)
        indexer->rebuilds[indexer->rebuild_count++] = index;
    pthread_mutex_unlock(&indexer->mutex);
    indexer_wake(indexer);
}

void indexer_reopen(struct indexer *indexer)
{
    atomic_store(&indexer->reopen, true);
    indexer_wake(indexer);
}

enum err indexer_catch_up(
    const char *state_dir, uint64_t size, struct errinfo *info)
{
    struct index_run *run = NULL;
    enum err err;
    char *dir = file_join(state_dir, "index");
    if (!dir)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    err = file_make_dir(dir, 0700, info);
    free(dir);
    if (err == ERR_OK)
        err = index_run_open(state_dir, 0, &run, info);
    bool more = err == ERR_OK;
    while (err == ERR_OK && more)
        err = index_run_step(run, size, &more, info);
    index_run_close(&run, err == ERR_OK);
    return err;
}
