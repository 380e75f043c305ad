/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/journal.c - the journal thread: takes what the producers handed over,
 * writes it as one frame, syncs once, wakes each producer once.
 *
 * The order that everything rests on: the frame is written; fdatasync has
 * returned 0; the file under its path is still this file; only then do the
 * tickets count as durable. The next frame is not written before that, so
 * that after a loss of power only the last frame can be torn. The tail page
 * is kept in memory and written again whole: the kernel then never has to
 * read a page to change a part of it.
 *
 * An entry that somebody waits for starts a batch at once; completions wait
 * up to LAZY_US for company. */
#include "audit/journal_producer.h"

#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/must.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LAZY_US 10000
/* The tail page, a frame, and zeros up to the end of its last page. */
#define BUFFER_SIZE (FRAME_PAYLOAD_MAX + 3 * SEGMENT_PAGE)

enum journal_state journal_state(const struct journal *journal)
{
    return (enum journal_state)journal->state;
}

uint64_t journal_size(const struct journal *journal)
{
    return atomic_load_explicit(&journal->size, memory_order_acquire);
}

void journal_figures(const struct journal *journal, struct journal_figures *out)
{
    out->syncs = journal->syncs;
    out->bytes = journal->bytes;
    out->last_sync_us = journal->last_sync_us;
    out->segments = journal->segments;
}

/* --- Room -----------------------------------------------------------------
 */

/* What can surely still be written: the rest of this segment and the spares,
 * each less what may stay unused at its end. */
static void set_budget_locked(struct journal *journal)
{
    uint64_t budget = 0;
    uint64_t rest = journal->rest;
    if (rest > SEGMENT_WASTE)
        budget += rest - SEGMENT_WASTE;
    budget += journal->spares *
              (journal->segment_bytes - SEGMENT_HEADER_SIZE - SEGMENT_WASTE);
    journal->budget = budget;
}

/* On the maker's thread. The journal thread tells the producers. */
static void maker_changed(void *context, unsigned ready, const char *why)
{
    struct journal *journal = context;
    char *reason = why != NULL ? strdup(why) : NULL;
    char *old;
    pthread_mutex_lock(&journal->lock);
    old = journal->full_reason;
    journal->full_reason = reason;
    /* Counted here and not before: the journal thread takes only what has
     * been counted, and room is granted only against it. */
    if (why == NULL) {
        journal->spares++;
        set_budget_locked(journal);
    }
    int state = journal->state;
    int next = why != NULL && journal->spares == 0 ? JOURNAL_FULL : JOURNAL_OK;
    if (state != JOURNAL_FAILED && state != next) {
        journal->state = next;
        journal->news = true;
        if (journal->sleeping != SLEEP_NONE) {
            journal->sleeping = SLEEP_NONE;
            pthread_cond_signal(&journal->work);
        }
    }
    if (journal->waiters > 0)
        pthread_cond_broadcast(&journal->durable);
    pthread_mutex_unlock(&journal->lock);
    if (why != NULL && (old == NULL || strcmp(old, why) != 0))
        log_error("journal_full", "reason=\"%s\"", why);
    else if (why == NULL && old != NULL)
        log_info("journal_room", "ready=%u", ready);
    free(old);
}

/* --- Collecting -----------------------------------------------------------
 */

struct batch {
    struct node *first, **end;
};

/* Takes all that was handed over. */
static void take_locked(struct journal *journal, struct batch *batch)
{
    batch->first = NULL;
    batch->end = &batch->first;
    for (struct journal_producer *p = journal->producers; p != NULL;
         p = p->next) {
        if (p->first == NULL)
            continue;
        *batch->end = p->first;
        batch->end = &p->last->next;
        p->first = p->last = NULL;
        p->busy = true;
    }
    journal->eager = journal->lazy = false;
}

/* Tells every producer that the state has changed. */
static void wake_all(struct journal *journal)
{
    pthread_mutex_lock(&journal->lock);
    for (struct journal_producer *p = journal->producers; p; p = p->next)
        p->busy = true;
    /* New ones come to the front: those from here on are busy and stay. */
    struct journal_producer *first = journal->producers;
    pthread_mutex_unlock(&journal->lock);
    for (struct journal_producer *p = first; p != NULL; p = p->next)
        if (p->wake != NULL)
            p->wake(p->context);
    pthread_mutex_lock(&journal->lock);
    for (struct journal_producer *p = first; p != NULL; p = p->next)
        p->busy = false;
    pthread_cond_broadcast(&journal->durable);
    pthread_mutex_unlock(&journal->lock);
}

/* True: a batch was taken; false: stop, and nothing is left. */
static bool collect(struct journal *journal, struct batch *batch)
{
    bool timed = true; /* completions tend to follow a batch at once */
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LAZY_US * 1000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&journal->lock);
    for (;;) {
        if (journal->news) {
            journal->news = false;
            pthread_mutex_unlock(&journal->lock);
            wake_all(journal);
            pthread_mutex_lock(&journal->lock);
            continue;
        }
        if (journal->eager || (journal->lazy && (journal->stop || !timed)))
            break;
        if (journal->stop) {
            pthread_mutex_unlock(&journal->lock);
            return false;
        }
        journal->sleeping = timed ? SLEEP_TIMED : SLEEP_DEEP;
        if (timed) {
            timed = pthread_cond_timedwait(
                        &journal->work, &journal->lock, &until) != ETIMEDOUT;
        } else {
            pthread_cond_wait(&journal->work, &journal->lock);
            /* The first completion after a silence waits for company too. */
            clock_gettime(CLOCK_MONOTONIC, &until);
            until.tv_nsec += LAZY_US * 1000;
            if (until.tv_nsec >= 1000000000) {
                until.tv_nsec -= 1000000000;
                until.tv_sec++;
            }
            timed = true;
        }
        journal->sleeping = SLEEP_NONE;
    }
    take_locked(journal, batch);
    pthread_mutex_unlock(&journal->lock);
    return true;
}

/* --- Writing --------------------------------------------------------------
 */

/* Copies as many entries of the batch as fit behind the header; marks how far
 * each node was taken. */
static void fill_frame(struct journal *journal, struct batch *batch,
    uint8_t *payload, size_t room, struct frame *frame)
{
    char now[CLOCK_TEXT_LENGTH];
    int64_t time_us = clock_now();
    if (time_us < journal->position.last_time_us)
        time_us = journal->position.last_time_us;
    journal->position.last_time_us = time_us;
    clock_format(now, time_us);
    size_t length = 0;
    uint32_t count = 0;
    bool seal = false;
    for (struct node *node = batch->first; node != NULL; node = node->next) {
        uint32_t from = node->taken, to = node->count;
        size_t start = node->marks[from].at, end = node->len;
        while (to > from && end - start > room - length)
            end = node->marks[--to].at;
        if (to == from)
            break;
        memcpy(payload + length, node->bytes + start, end - start);
        for (uint32_t i = from; i < to; i++)
            memcpy(payload + length + (node->marks[i].time - start), now,
                CLOCK_TEXT_LENGTH);
        length += end - start;
        count += to - from;
        node->taken = to;
        seal = node->seal && to == node->count;
        if (to < node->count)
            break;
    }
    frame->length = (uint32_t)length;
    frame->count = count;
    frame->flags = seal ? FRAME_SEAL : 0;
}

/* The path must still lead to the file that was written. */
static enum err check_file(struct journal *journal, struct errinfo *info)
{
    struct stat open_file, named;
    if (fstat(journal->fd, &open_file) != 0)
        return errinfo_errno(info, ERR_IO, "cannot look at %s", journal->path);
    if (open_file.st_nlink == 0 || stat(journal->path, &named) != 0)
        return errinfo_set(info, ERR_WRONG_STATE,
            "the journal segment %s was removed while in use", journal->path);
    if (named.st_ino != open_file.st_ino || named.st_dev != open_file.st_dev)
        return errinfo_set(info, ERR_WRONG_STATE,
            "the journal segment %s was replaced by another file while in use",
            journal->path);
    if ((uint64_t)open_file.st_size < journal->file_bytes)
        return errinfo_set(info, ERR_WRONG_STATE,
            "the journal segment %s was truncated to %lld bytes while in use",
            journal->path, (long long)open_file.st_size);
    return ERR_OK;
}

static enum err sync_segment(struct journal *journal, struct errinfo *info)
{
#ifdef JOURNAL_MUTANT_NO_SYNC /* tests prove that they notice */
    (void)info;
#else
    int64_t start = clock_monotonic();
    if (fdatasync(journal->fd) != 0)
        return errinfo_errno(
            info, ERR_IO, "cannot sync the journal segment %s", journal->path);
    journal->last_sync_us = clock_monotonic() - start;
    journal->syncs++;
#endif
    return ERR_OK;
}

/* Goes on in a spare. */
static enum err next_segment(struct journal *journal, struct errinfo *info)
{
    struct segment_spare spare;
    unsigned ready;
    if (journal->spares == 0 ||
        !segment_maker_take(journal->maker, &spare, &ready))
        return errinfo_set(info, ERR_FULL,
            "no spare journal segment is ready after %s", journal->path);
    struct segment_header header = {
        .sequence = journal->position.sequence + 1,
        .first = journal->position.index,
    };
    memcpy(header.identity, journal->identity, SHA256_SIZE);
    memcpy(header.previous, journal->position.previous, SHA256_SIZE);
    int fd;
    char *path = segment_path(journal->dir, header.sequence);
    enum err err = path == NULL ? errinfo_set(info, ERR_NOMEM, "out of memory")
                                : segment_spare_adopt(
                                      journal->dir, &spare, &header, &fd, info);
    if (err != ERR_OK) {
        segment_spare_drop(&spare);
        free(path);
        return err;
    }
    close(journal->fd);
    free(journal->path);
    journal->fd = fd;
    journal->path = path;
    journal->position.sequence = header.sequence;
    journal->position.offset = SEGMENT_HEADER_SIZE;
    journal->segments++;
    pthread_mutex_lock(&journal->lock);
    journal->file_bytes = header.bytes;
    journal->rest = header.bytes - SEGMENT_HEADER_SIZE;
    journal->spares--;
    set_budget_locked(journal);
    pthread_mutex_unlock(&journal->lock);
    return ERR_OK;
}

/* Everything of the frame is durable: lets the producers know. */
static void announce(struct journal *journal, struct batch *batch)
{
    for (struct node *node = batch->first; node != NULL; node = node->next) {
        if (node->taken == 0)
            break;
        struct journal_producer *producer = node->producer;
        uint64_t done = node->taken;
        size_t bytes =
            (node->taken < node->count ? node->marks[done].at : node->len);
        producer->waiting -= bytes;
        atomic_fetch_add_explicit(
            &producer->durable, done, memory_order_release);
        producer->touched = true;
    }
    for (struct node *node = batch->first; node != NULL; node = node->next) {
        struct journal_producer *producer = node->producer;
        if (!producer->touched)
            continue;
        producer->touched = false;
        if (producer->wake != NULL)
            producer->wake(producer->context);
    }
}

/* Gives drained nodes back to their producers. A producer whose last node
 * this was may be freed as soon as the lock is let go. */
static void recycle(
    struct journal *journal, struct batch *batch, const struct frame *frame)
{
    struct node *drop = NULL;
    pthread_mutex_lock(&journal->lock);
    journal->rest = journal->file_bytes - journal->position.offset;
    set_budget_locked(journal);
    journal->claimed -=
        frame->length + (uint64_t)frame->count * FRAME_HEADER_SIZE;
    while (batch->first != NULL && batch->first->taken == batch->first->count) {
        struct node *node = batch->first;
        struct journal_producer *producer = node->producer;
        batch->first = node->next;
        if (batch->first == NULL || batch->first->producer != producer)
            producer->busy = false;
        if (producer->spare_count < 4 && node->cap <= (1u << 20)) {
            node->next = producer->spares;
            node->len = node->count = node->taken = 0;
            node->eager = node->seal = false;
            producer->spares = node;
            producer->spare_count++;
        } else {
            node->next = drop;
            drop = node;
        }
    }
    if (journal->waiters > 0)
        pthread_cond_broadcast(&journal->durable);
    pthread_mutex_unlock(&journal->lock);
    while (drop != NULL) {
        struct node *node = drop;
        drop = node->next;
        journal_node_free(&node);
    }
}

/* What is left of a node that a frame took a part of moves to its front, so
 * that `taken` always counts one frame's entries. */
static void shift_rest(struct batch *batch)
{
    struct node *node = batch->first;
    if (node == NULL || node->taken == 0)
        return;
    uint32_t start = node->marks[node->taken].at;
    memmove(node->bytes, node->bytes + start, node->len - start);
    node->len -= start;
    node->count -= node->taken;
    for (uint32_t i = 0; i < node->count; i++)
        node->marks[i] = (struct mark){
            .at = node->marks[i + node->taken].at - start,
            .time = node->marks[i + node->taken].time - start,
        };
    node->taken = 0;
}

/* One frame out of the batch: write, sync, check, announce. */
static enum err commit(
    struct journal *journal, struct batch *batch, struct errinfo *info)
{
    struct journal_position *position = &journal->position;
    uint64_t rest = journal->file_bytes - position->offset;
    size_t need =
        FRAME_HEADER_SIZE + (batch->first->count > 1 ? batch->first->marks[1].at
                                                     : batch->first->len);
    if (need > rest) {
        enum err err = next_segment(journal, info);
        if (err != ERR_OK)
            return err;
        rest = journal->file_bytes - position->offset;
    }
    size_t room = rest - FRAME_HEADER_SIZE < FRAME_PAYLOAD_MAX
                      ? (size_t)(rest - FRAME_HEADER_SIZE)
                      : FRAME_PAYLOAD_MAX;
    size_t tail = position->offset % SEGMENT_PAGE;
    uint8_t *at = journal->buffer + tail;
    struct frame frame = {
        .first = position->index, .payload = at + FRAME_HEADER_SIZE};
    memcpy(frame.previous, position->previous, SHA256_SIZE);
    fill_frame(journal, batch, at + FRAME_HEADER_SIZE, room, &frame);
    frame_encode(at, &frame);
    size_t size = frame_size(&frame);
    size_t pages =
        (tail + size + SEGMENT_PAGE - 1) & ~(size_t)(SEGMENT_PAGE - 1);
    if (position->offset - tail + pages > journal->file_bytes)
        pages = (size_t)(journal->file_bytes - (position->offset - tail));
    memset(at + size, 0, pages - tail - size);
    enum err err = file_pwrite(
        journal->fd, journal->buffer, pages, (off_t)(position->offset - tail));
    if (err != ERR_OK)
        return errinfo_errno(info, ERR_IO,
            "cannot write to the journal segment %s", journal->path);
    err = sync_segment(journal, info);
    if (err == ERR_OK)
        err = check_file(journal, info);
    if (err != ERR_OK)
        return err;
    position->offset += size;
    position->index += frame.count;
    journal->bytes += size;
    atomic_store_explicit(
        &journal->size, position->index, memory_order_release);
    announce(journal, batch);
    /* Off the path of those who wait: */
    recycle(journal, batch, &frame);
    shift_rest(batch);
    crypto_hash_once(journal->hash, position->previous, at, size);
    size_t next_tail = position->offset % SEGMENT_PAGE;
    memmove(journal->buffer, at + size - next_tail, next_tail);
    return ERR_OK;
}

static void fail(struct journal *journal, struct batch *batch, const char *why)
{
    log_error("journal_failed", "reason=\"%s\"", why);
    pthread_mutex_lock(&journal->lock);
    journal->state = JOURNAL_FAILED;
    /* The nodes go back, so that they are freed with their producers. */
    while (batch->first != NULL) {
        struct node *node = batch->first;
        struct journal_producer *producer = node->producer;
        batch->first = node->next;
        producer->busy = false;
        node->next = producer->spares;
        producer->spares = node;
    }
    pthread_cond_broadcast(&journal->durable);
    pthread_mutex_unlock(&journal->lock);
    wake_all(journal);
    if (journal->failed != NULL)
        journal->failed(journal->context, why);
}

static void *journal_main(void *argument)
{
    struct journal *journal = argument;
    struct batch batch;
    while (collect(journal, &batch)) {
        while (batch.first != NULL) {
            struct errinfo info = {0};
            if (commit(journal, &batch, &info) != ERR_OK) {
                fail(journal, &batch, info.text);
                return NULL;
            }
        }
        /* A spare before this segment is half full, or soon enough. */
        if (journal->spares == 0 &&
            journal->position.offset > journal->file_bytes / 2)
            segment_maker_want(journal->maker, 1);
    }
    return NULL;
}

/* --- Starting and stopping ------------------------------------------------
 */

static enum err open_segment(struct journal *journal, struct errinfo *info)
{
    journal->path = segment_path(journal->dir, journal->position.sequence);
    if (journal->path == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    journal->fd = open(journal->path, O_RDWR | O_CLOEXEC);
    struct stat st;
    if (journal->fd < 0 || fstat(journal->fd, &st) != 0)
        return errinfo_errno(info, ERR_IO, "cannot open %s", journal->path);
    journal->file_bytes = (uint64_t)st.st_size;
    uint64_t offset = journal->position.offset;
    if (offset < SEGMENT_HEADER_SIZE || offset > journal->file_bytes)
        return errinfo_set(info, ERR_CORRUPT,
            "%s has %" PRIu64
            " bytes, and the journal should go on at %" PRIu64,
            journal->path, journal->file_bytes, offset);
    size_t tail = offset % SEGMENT_PAGE;
    enum err err =
        file_pread(journal->fd, journal->buffer, tail, (off_t)(offset - tail));
    if (err != ERR_OK)
        return errinfo_errno(info, ERR_IO, "cannot read %s", journal->path);
    return ERR_OK;
}

static void journal_free(struct journal **pointer)
{
    struct journal *journal = *pointer;
    *pointer = NULL;
    segment_maker_stop(&journal->maker);
    if (journal->fd >= 0)
        close(journal->fd);
    free(journal->path);
    free(journal->dir);
    free(journal->buffer);
    free(journal->full_reason);
    crypto_hash_free(&journal->hash);
    pthread_cond_destroy(&journal->work);
    pthread_cond_destroy(&journal->durable);
    pthread_mutex_destroy(&journal->lock);
    journal->magic = 0;
    free(journal);
}

static enum err start_threads(struct journal *journal, struct errinfo *info)
{
    /* Signals belong to the main thread. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    enum err err = segment_maker_start(journal->dir, journal->segment_bytes,
        maker_changed, journal, &journal->maker, info);
    if (err == ERR_OK) {
        int error =
            pthread_create(&journal->thread, NULL, journal_main, journal);
        if (error != 0) {
            errno = error;
            err =
                errinfo_errno(info, ERR_IO, "cannot start the journal thread");
        } else {
            pthread_setname_np(journal->thread, "journal");
        }
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return err;
}

/* Where the rest of the segment is small a spare is made first, so that the
 * first appends after a start are not refused for want of it. */
static void await_room(struct journal *journal)
{
    if (journal->budget >= journal->segment_bytes / 8)
        return;
    segment_maker_want(journal->maker, 1);
    pthread_mutex_lock(&journal->lock);
    journal->waiters++;
    while (journal->spares == 0 && journal->state == JOURNAL_OK)
        pthread_cond_wait(&journal->durable, &journal->lock);
    journal->waiters--;
    pthread_mutex_unlock(&journal->lock);
}

enum err journal_start(const struct journal_options *options,
    struct journal **out, struct errinfo *info)
{
    struct journal *journal = calloc(1, sizeof(*journal));
    if (journal == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    journal->magic = JOURNAL_MAGIC;
    journal->fd = -1;
    journal->segment_bytes =
        options->segment_bytes ? options->segment_bytes : SEGMENT_BYTES_DEFAULT;
    memcpy(journal->identity, options->identity, SHA256_SIZE);
    journal->failed = options->failed;
    journal->context = options->context;
    journal->position = options->position;
    journal->size = options->position.index;
    pthread_mutex_init(&journal->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&journal->work, &attributes);
    pthread_cond_init(&journal->durable, &attributes);
    pthread_condattr_destroy(&attributes);
    journal->dir = strdup(options->dir);
    journal->hash = crypto_hash_new();
    journal->buffer = aligned_alloc(SEGMENT_PAGE, BUFFER_SIZE);
    enum err err = ERR_OK;
    if (journal->segment_bytes < SEGMENT_BYTES_LEAST ||
        journal->segment_bytes > SEGMENT_BYTES_MOST)
        err = errinfo_set(info, ERR_RANGE,
            "a journal segment has between %" PRIu64 " and %" PRIu64 " bytes",
            SEGMENT_BYTES_LEAST, SEGMENT_BYTES_MOST);
    else if (journal->dir == NULL || journal->hash == NULL ||
             journal->buffer == NULL)
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
    else
        err = open_segment(journal, info);
    if (err == ERR_OK) {
        journal->rest = journal->file_bytes - journal->position.offset;
        set_budget_locked(journal);
        err = start_threads(journal, info);
    }
    if (err == ERR_OK)
        await_room(journal);
    if (err == ERR_OK)
        *out = journal;
    else
        journal_free(&journal);
    return err;
}

void journal_stop(struct journal **pointer)
{
    struct journal *journal = *pointer;
    if (journal == NULL)
        return;
    CHECK_MAGIC(journal, JOURNAL_MAGIC);
    MUST(journal->producers == NULL);
    pthread_mutex_lock(&journal->lock);
    journal->stop = true;
    pthread_cond_signal(&journal->work);
    pthread_mutex_unlock(&journal->lock);
    pthread_join(journal->thread, NULL);
    journal_free(pointer);
}
