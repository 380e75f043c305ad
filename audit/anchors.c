/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/anchors.c - the thread that hands checkpoints over, and its rows.
 * How a note gets to a file or a command is in audit/anchor_hand.c. */
#include "audit/anchors.h"

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/must.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define ANCHORS_MAGIC 0x616e6368u
#define LOOK_US SECOND_US
#define RETRY_US                                                               \
    MINUTE_US /* after a failure, unless the anchor's turn is                  \
                 earlier */
#define NOTE_BYTES (256u << 10)

struct one {
    char name[ANCHOR_NAME_MAX];
    char target[ANCHOR_TARGET_MAX];
    enum anchor_kind kind;
    int64_t every_us;
    int64_t due_us; /* monotonic */
    struct anchor_status status;
};

struct anchors {
    unsigned magic;
    struct anchors_options options;
    pthread_t thread;
    bool started;
    pthread_mutex_t mutex; /* what follows; leaf lock */
    pthread_cond_t wake;
    bool stop;
    struct one *rows;
    size_t count;
};

/* --- The thread
 * ----------------------------------------------------------------
 */

/* A copy of an anchor that is due, or false. */
static bool take_due(struct anchors *anchors, struct one *out)
{
    bool found = false;
    int64_t now = clock_monotonic();
    pthread_mutex_lock(&anchors->mutex);
    for (size_t i = 0; i < anchors->count && !found && !anchors->stop; i++) {
        found = anchors->rows[i].due_us <= now;
        if (found)
            *out = anchors->rows[i];
    }
    pthread_mutex_unlock(&anchors->mutex);
    return found;
}

/* The row may have gone, or come back changed, while it was handed over. */
static void put_back(struct anchors *anchors, const struct one *done)
{
    pthread_mutex_lock(&anchors->mutex);
    for (size_t i = 0; i < anchors->count; i++) {
        struct one *row = &anchors->rows[i];
        if (strcmp(row->name, done->name) != 0)
            continue;
        row->status = done->status;
        if (row->kind == done->kind && strcmp(row->target, done->target) == 0)
            row->due_us = done->due_us;
    }
    pthread_mutex_unlock(&anchors->mutex);
}

/* "origin\nSIZE\nroot\n..." */
static enum err size_of_note(
    struct str note, uint64_t *size, struct errinfo *info)
{
    struct str origin, number, rest;
    if (!str_split(note, '\n', &origin, &rest) ||
        !str_split(rest, '\n', &number, &rest) ||
        str_to_u64(number, size) != ERR_OK)
        return errinfo_set(
            info, ERR_SYNTAX, "the checkpoint does not say its size");
    return ERR_OK;
}

static void hand_over(struct anchors *anchors, struct one *one)
{
    struct errinfo why = {0};
    struct buf note;
    uint64_t size = 0;
    const struct anchor anchor = {.name = str_from(one->name),
        .kind = one->kind,
        .target = str_from(one->target)};
    struct anchor_status *status = &one->status;
    buf_init(&note, NOTE_BYTES);
    enum err err =
        anchors->options.checkpoint(anchors->options.context, &note, &why);
    if (err == ERR_OK)
        err = size_of_note(buf_str(&note), &size, &why);
    /* Nothing new is nothing to hand over. */
    bool news = status->handed_us == 0 || size != status->size;
    if (err == ERR_OK && news)
        err = anchor_hand(&anchor, buf_str(&note), size, &why);
    buf_fini(&note);
    status->tried_us = clock_now();
    if (err != ERR_OK) {
        log_error(
            "anchor_failed", "anchor=%s reason=\"%s\"", one->name, why.text);
        snprintf(status->why, sizeof(status->why), "%.*s",
            (int)sizeof(status->why) - 1, why.text);
    } else if (news) {
        if (status->failed)
            log_info("anchor_recovered", "anchor=%s", one->name);
        status->handed_us = status->tried_us;
        status->size = size;
        status->why[0] = '\0';
    }
    status->failed = err != ERR_OK;
    int64_t delay = one->every_us;
    if (status->failed && delay > RETRY_US)
        delay = RETRY_US;
    one->due_us = clock_monotonic() + delay;
}

static void wait_a_little(struct anchors *anchors)
{
    int64_t at = clock_monotonic() + LOOK_US;
    struct timespec until = {.tv_sec = (time_t)(at / SECOND_US),
        .tv_nsec = (long)(at % SECOND_US) * 1000};
    pthread_mutex_lock(&anchors->mutex);
    if (!anchors->stop)
        pthread_cond_timedwait(&anchors->wake, &anchors->mutex, &until);
    pthread_mutex_unlock(&anchors->mutex);
}

static bool is_stopped(struct anchors *anchors)
{
    pthread_mutex_lock(&anchors->mutex);
    bool stop = anchors->stop;
    pthread_mutex_unlock(&anchors->mutex);
    return stop;
}

static void *anchors_thread(void *context)
{
    struct anchors *anchors = context;
    CHECK_MAGIC(anchors, ANCHORS_MAGIC);
    while (!is_stopped(anchors)) {
        struct one one;
        if (take_due(anchors, &one)) {
            hand_over(anchors, &one);
            put_back(anchors, &one);
        } else {
            wait_a_little(anchors);
        }
    }
    return NULL;
}

/* --- From outside
 * ----------------------------------------------------------------
 */

enum err anchors_start(const struct anchors_options *options,
    struct anchors **out, struct errinfo *info)
{
    pthread_condattr_t monotonic;
    struct anchors *anchors = calloc(1, sizeof(*anchors));
    if (!anchors)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    anchors->magic = ANCHORS_MAGIC;
    anchors->options = *options;
    pthread_mutex_init(&anchors->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&anchors->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&anchors->thread, NULL, anchors_thread, anchors) != 0) {
        anchors_stop(&anchors);
        return errinfo_set(
            info, ERR_LIMIT, "cannot start the thread of the anchors");
    }
    anchors->started = true;
    *out = anchors;
    return ERR_OK;
}

void anchors_stop(struct anchors **anchors_ref)
{
    struct anchors *anchors = *anchors_ref;
    if (!anchors)
        return;
    CHECK_MAGIC(anchors, ANCHORS_MAGIC);
    if (anchors->started) {
        pthread_mutex_lock(&anchors->mutex);
        anchors->stop = true;
        pthread_cond_signal(&anchors->wake);
        pthread_mutex_unlock(&anchors->mutex);
        pthread_join(anchors->thread, NULL);
    }
    pthread_cond_destroy(&anchors->wake);
    pthread_mutex_destroy(&anchors->mutex);
    free(anchors->rows);
    anchors->magic = 0;
    free(anchors);
    *anchors_ref = NULL;
}

static enum err copy_row(
    const struct anchor *row, struct one *out, struct errinfo *info)
{
    if (row->name.len >= sizeof(out->name) ||
        row->target.len >= sizeof(out->target) || row->every_minutes < 1)
        return errinfo_set(info, ERR_RANGE,
            "anchor %.*s: its name, target or interval is out of bounds",
            STR_ARG(row->name));
    memset(out, 0, sizeof(*out));
    memcpy(out->name, row->name.ptr, row->name.len);
    memcpy(out->status.name, row->name.ptr, row->name.len);
    if (row->target.len > 0)
        memcpy(out->target, row->target.ptr, row->target.len);
    out->kind = row->kind;
    out->every_us = row->every_minutes * MINUTE_US;
    return ERR_OK;
}

enum err anchors_set(struct anchors *anchors, const struct anchor *rows,
    size_t count, struct errinfo *info)
{
    struct one *copies = calloc(count + 1, sizeof(*copies));
    if (!copies)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        enum err err = copy_row(&rows[i], &copies[i], info);
        if (err != ERR_OK) {
            free(copies);
            return err;
        }
    }
    pthread_mutex_lock(&anchors->mutex);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < anchors->count; j++) {
            const struct one *old = &anchors->rows[j];
            if (strcmp(old->name, copies[i].name) != 0 ||
                old->kind != copies[i].kind ||
                strcmp(old->target, copies[i].target) != 0)
                continue;
            copies[i].status = old->status;
            copies[i].due_us = old->due_us;
            if (old->every_us > copies[i].every_us)
                copies[i].due_us = 0;
        }
    struct one *before = anchors->rows;
    anchors->rows = copies;
    anchors->count = count;
    pthread_cond_signal(&anchors->wake);
    pthread_mutex_unlock(&anchors->mutex);
    free(before);
    return ERR_OK;
}

size_t anchors_status(
    struct anchors *anchors, struct anchor_status *out, size_t room)
{
    pthread_mutex_lock(&anchors->mutex);
    size_t count = anchors->count;
    for (size_t i = 0; i < count && i < room; i++)
        out[i] = anchors->rows[i].status;
    pthread_mutex_unlock(&anchors->mutex);
    return count;
}
