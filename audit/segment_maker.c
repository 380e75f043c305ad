/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/segment_maker.c - the thread that keeps spare segments ready, so that
 * the journal thread never waits for zeros to be written. See segment.h. */
#include "audit/segment.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define SPARES_MOST 32
#define MAKER_MAGIC 0x4d414b52u

struct segment_maker {
    uint32_t magic;
    const char *dir;
    uint64_t bytes;
    void (*changed)(void *context, unsigned ready, const char *why);
    void *context;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work;
    _Atomic bool stop;
    _Atomic unsigned wanted;
    unsigned ready;
    struct segment_spare spares[SPARES_MOST];
};

/* Waits until spares are wanted; after a failure at least a second. */
static bool maker_wait(struct segment_maker *maker, bool failed)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    pthread_mutex_lock(&maker->lock);
    while (!maker->stop && (failed || maker->ready >= maker->wanted)) {
        if (!failed)
            pthread_cond_wait(&maker->work, &maker->lock);
        else if (pthread_cond_timedwait(&maker->work, &maker->lock, &until) ==
                 ETIMEDOUT)
            failed = false;
    }
    bool stop = maker->stop;
    pthread_mutex_unlock(&maker->lock);
    return !stop;
}

static void *maker_main(void *argument)
{
    struct segment_maker *maker = argument;
    bool failed = false;
    while (maker_wait(maker, failed)) {
        struct segment_spare spare;
        struct errinfo info = {0};
        enum err err = segment_spare_make(
            maker->dir, maker->bytes, true, &maker->stop, &spare, &info);
        if (err == ERR_CLOSED)
            break;
        failed = err != ERR_OK;
        pthread_mutex_lock(&maker->lock);
        if (!failed)
            maker->spares[maker->ready++] = spare;
        unsigned ready = maker->ready;
        pthread_mutex_unlock(&maker->lock);
        maker->changed(maker->context, ready, failed ? info.text : NULL);
    }
    return NULL;
}

enum err segment_maker_start(const char *dir, uint64_t bytes,
    void (*changed)(void *context, unsigned ready, const char *why),
    void *context, struct segment_maker **out, struct errinfo *info)
{
    struct segment_maker *maker = calloc(1, sizeof(*maker));
    if (maker == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    maker->magic = MAKER_MAGIC;
    maker->dir = dir;
    maker->bytes = bytes;
    maker->changed = changed;
    maker->context = context;
    pthread_mutex_init(&maker->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&maker->work, &attributes);
    pthread_condattr_destroy(&attributes);
    int error = pthread_create(&maker->thread, NULL, maker_main, maker);
    if (error != 0) {
        errno = error;
        pthread_cond_destroy(&maker->work);
        pthread_mutex_destroy(&maker->lock);
        free(maker);
        return errinfo_errno(
            info, ERR_IO, "cannot start the thread that makes segments");
    }
    pthread_setname_np(maker->thread, "segments");
    *out = maker;
    return ERR_OK;
}

void segment_maker_stop(struct segment_maker **pointer)
{
    struct segment_maker *maker = *pointer;
    *pointer = NULL;
    if (maker == NULL)
        return;
    pthread_mutex_lock(&maker->lock);
    maker->stop = true;
    pthread_cond_signal(&maker->work);
    pthread_mutex_unlock(&maker->lock);
    pthread_join(maker->thread, NULL);
    while (maker->ready > 0)
        segment_spare_drop(&maker->spares[--maker->ready]);
    pthread_cond_destroy(&maker->work);
    pthread_mutex_destroy(&maker->lock);
    maker->magic = 0;
    free(maker);
}

void segment_maker_want(struct segment_maker *maker, unsigned count)
{
    if (count > SPARES_MOST)
        count = SPARES_MOST;
    if (maker->wanted >= count)
        return;
    pthread_mutex_lock(&maker->lock);
    if (maker->wanted < count)
        maker->wanted = count;
    pthread_cond_signal(&maker->work);
    pthread_mutex_unlock(&maker->lock);
}

bool segment_maker_take(
    struct segment_maker *maker, struct segment_spare *out, unsigned *ready)
{
    pthread_mutex_lock(&maker->lock);
    bool any = maker->ready > 0;
    if (any) {
        *out = maker->spares[0];
        maker->ready--;
        for (unsigned i = 0; i < maker->ready; i++)
            maker->spares[i] = maker->spares[i + 1];
        /* The next one is made when it is wanted again. */
        maker->wanted = maker->ready;
    }
    *ready = maker->ready;
    pthread_mutex_unlock(&maker->lock);
    return any;
}
