/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/sinks.c - a thread for each sink: from the journal, by way of
 * sink_line.c and sink_send.c, to the receiver; and the position. */
#include "audit/sinks.h"

#include "audit/journal_reader.h"
#include "audit/sink_priv.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/must.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SINKS_MAGIC 0x73696e6bu
#define BATCH_BYTES (1u << 20)
#define BATCH_ENTRIES 500
#define CONFIRM_BYTES (4u << 20) /* unconfirmed on one syslog connection */
#define CONFIRM_US (10 * SECOND_US)
#define STALL_US (30 * SECOND_US)
#define RETRY_US (SECOND_US / 4)
#define RETRY_MOST_US (30 * SECOND_US)
#define LOOK_US (SECOND_US / 4) /* how soon news is noticed */
#define SAVE_EVERY_US SECOND_US /* the position: two syncs */
#define TELL_EVERY_US MINUTE_US /* events of one sink's failures */
#define STOP_US SECOND_US       /* for what is under way */

struct one {
    struct sinks *all;
    struct sink_target target;
    pthread_t thread;
    _Atomic int64_t stop_us; /* monotonic: cut off from then on; 0: goes on */
    _Atomic bool removed, done;
    struct one *next; /* of those that are gone */

    /* The thread's own. */
    char *segments_dir, *path; /* of the position */
    struct journal_reader *reader;
    struct journal_cursor cursor;
    bool reading;
    struct sink_line line;
    struct buf batch;
    uint64_t sent, position, saved;
    uint64_t batch_end;
    size_t batch_limit, batch_count;
    struct outgoing *stream;
    int64_t unconfirmed_us; /* since; 0: none is */
    size_t unconfirmed_bytes;
    int64_t saved_us, pause_us, retry_at_us, told_us;
    bool told; /* the failure that lasts */

    pthread_mutex_t mutex; /* status; leaf lock */
    struct sink_status status;
};

struct sinks {
    unsigned magic;
    struct sinks_options options;
    char log_name[256];
    char *dir; /* DIR/sinks */
    pthread_mutex_t mutex;
    struct one *rows[SINKS_MAX];
    size_t count;
    struct one *gone;
};

/* --- The position -------------------------------------------------------- */

static enum err load_position(struct one *one, struct errinfo *info)
{
    struct buf text;
    one->position = one->target.first;
    if (!file_exists(one->path)) {
        one->saved = UINT64_MAX; /* none is there yet */
    } else {
        buf_init(&text, 64);
        enum err err = file_read(one->path, &text, info);
        struct str number = buf_str(&text);
        if (err == ERR_OK && str_ends(number, STR("\n")))
            number.len--;
        if (err == ERR_OK && str_to_u64(number, &one->position) != ERR_OK)
            log_warn("sink_position_damaged",
                "sink=%s file=%s from=%llu "
                "reason=\"delivered again from its beginning\"",
                one->target.name, one->path,
                (unsigned long long)one->target.first);
        buf_fini(&text);
        if (err != ERR_OK && err != ERR_LIMIT)
            return err;
        one->saved = one->position;
    }
    /* An older state was restored: what comes now is new. */
    uint64_t size = journal_size(one->all->options.journal);
    if (one->position > size)
        one->position = size;
    one->sent = one->position;
    return ERR_OK;
}

static enum err save_position(struct one *one, struct errinfo *info)
{
    char text[32];
    if (one->saved == one->position)
        return ERR_OK;
    int n = snprintf(
        text, sizeof(text), "%llu\n", (unsigned long long)one->position);
    enum err err =
        file_replace(one->path, str_make(text, (size_t)n), 0600, info);
    if (err == ERR_OK)
        one->saved = one->position;
    one->saved_us = clock_monotonic();
    return err;
}

/* --- How it stands ------------------------------------------------------- */

static void show_progress(struct one *one)
{
    pthread_mutex_lock(&one->mutex);
    one->status.position = one->position;
    one->status.sent = one->sent;
    pthread_mutex_unlock(&one->mutex);
}

static void tell(struct one *one, bool failed, const char *why)
{
    const struct sinks_options *options = &one->all->options;
    one->told = failed;
    one->told_us = clock_monotonic();
    if (options->changed != NULL && atomic_load(&one->stop_us) == 0)
        options->changed(
            options->context, one->target.name, failed, why, one->position);
}

/* Entries up to `sent` have arrived. */
static void arrived(struct one *one)
{
    bool was_failing;
    pthread_mutex_lock(&one->mutex);
    was_failing = one->status.failing;
    one->status.delivered += one->sent - one->position;
    one->status.delivered_us = clock_now();
    one->status.failing = false;
    one->status.why[0] = '\0';
    one->position = one->sent;
    one->status.position = one->position;
    one->status.sent = one->sent;
    pthread_mutex_unlock(&one->mutex);
    one->unconfirmed_us = 0;
    one->unconfirmed_bytes = 0;
    one->pause_us = 0;
    if (was_failing)
        log_info("sink_recovered", "sink=%s position=%llu", one->target.name,
            (unsigned long long)one->position);
    if (one->told)
        tell(one, false, "");
}

/* Everything from the position on is sent again, after a pause. */
static void failed(struct one *one, const char *why)
{
    const struct sinks_options *options = &one->all->options;
    bool was_failing;
    outgoing_close(&one->stream);
    one->reading = false;
    one->sent = one->position;
    one->unconfirmed_us = 0;
    one->unconfirmed_bytes = 0;
    if (one->pause_us == 0)
        one->pause_us = options->retry_us;
    else if (one->pause_us < RETRY_MOST_US)
        one->pause_us *= 2;
    if (one->pause_us > RETRY_MOST_US)
        one->pause_us = RETRY_MOST_US;
    one->retry_at_us = clock_monotonic() + one->pause_us;
    pthread_mutex_lock(&one->mutex);
    was_failing = one->status.failing;
    if (!was_failing)
        one->status.since_us = clock_now();
    one->status.failing = true;
    one->status.sent = one->sent;
    snprintf(one->status.why, sizeof(one->status.why), "%.*s",
        (int)sizeof(one->status.why) - 1, why);
    pthread_mutex_unlock(&one->mutex);
    if (!was_failing && atomic_load(&one->stop_us) == 0)
        log_error("sink_failed", "sink=%s position=%llu reason=\"%s\"",
            one->target.name, (unsigned long long)one->position, why);
    if (!one->told && (one->told_us == 0 ||
                          clock_monotonic() - one->told_us >= TELL_EVERY_US))
        tell(one, true, why);
}

/* --- Reading ------------------------------------------------------------- */

/* Stands at entry `sent`. OCSF events lean on admissions before. */
static enum err begin_reading(struct one *one, struct errinfo *info)
{
    bool ocsf = one->target.format == SINK_OCSF;
    uint64_t before = ocsf && one->sent > 0 ? AUDIT_OCSF_OPEN : 0;
    uint64_t from = one->sent > before ? one->sent - before : 0;
    struct journal_entry entry;
    if (!ocsf)
        from = one->sent;
    journal_reader_close(&one->reader);
    enum err err =
        journal_reader_open(one->segments_dir, NULL, 0, &one->reader, info);
    if (err == ERR_OK)
        err = sink_line_reset(&one->line, info);
    if (err == ERR_OK)
        err = journal_cursor_init(&one->cursor, one->reader, from, info);
    if (err == ERR_NOTFOUND && from < one->sent) /* pruned: without them */
        err = journal_cursor_init(&one->cursor, one->reader, one->sent, info);
    else
        for (; err == ERR_OK && from < one->sent; from++) {
            err = journal_cursor_next(&one->cursor, one->sent, &entry, info);
            if (err == ERR_OK)
                audit_ocsf_note(one->line.ocsf, entry.bytes);
        }
    one->reading = err == ERR_OK;
    return err == ERR_OK ? ERR_OK : errinfo_prefix(info, err, "the journal");
}

/* As much as one sending may take, from entry `sent` on. */
static enum err read_batch(struct one *one, uint64_t size, struct errinfo *info)
{
    struct journal_entry entry;
    enum err err = one->reading ? ERR_OK : begin_reading(one, info);
    buf_clear(&one->batch);
    one->batch_end = one->sent;
    one->batch_count = 0;
    while (err == ERR_OK && one->batch_end < size &&
           one->batch_count < one->batch_limit &&
           one->batch.len < BATCH_BYTES) {
        err = journal_cursor_next(&one->cursor, size, &entry, info);
        if (err == ERR_OK && entry.index != one->batch_end)
            err = errinfo_set(info, ERR_CORRUPT,
                "entry %llu is due and entry %llu stands there",
                (unsigned long long)one->batch_end,
                (unsigned long long)entry.index);
        if (err == ERR_OK)
            err = sink_line_write(
                &one->line, entry.index, entry.bytes, &one->batch, info);
        if (err != ERR_OK)
            return errinfo_prefix(info, err, "the journal");
        one->batch_end++;
        one->batch_count++;
    }
    return err;
}

/* --- Sending ------------------------------------------------------------- */

static bool is_cut_off(void *context)
{
    struct one *one = context;
    int64_t stop = atomic_load(&one->stop_us);
    return stop != 0 && clock_monotonic() >= stop;
}

static enum err send_batch(struct one *one, uint64_t size, struct errinfo *info)
{
    const struct sink_timers timers = {.stall_us = one->all->options.stall_us,
        .cancelled = is_cut_off,
        .context = one};
    enum err err = read_batch(one, size, info);
    if (err == ERR_OK)
        err = sink_send(
            &one->target, &timers, &one->stream, buf_str(&one->batch), info);
    if (err == ERR_LIMIT && one->target.kind == SINK_HTTPS &&
        one->batch_count > 1) {
        /* Too much at once for this receiver: less from now on. */
        one->batch_limit = one->batch_count / 2;
        one->reading = false;
        return ERR_OK;
    }
    if (err != ERR_OK)
        return err;
    one->sent = one->batch_end;
    if (one->target.kind == SINK_HTTPS) {
        arrived(one);
        return ERR_OK;
    }
    if (one->unconfirmed_us == 0)
        one->unconfirmed_us = clock_monotonic();
    one->unconfirmed_bytes += one->batch.len;
    show_progress(one);
    return ERR_OK;
}

static bool is_confirmation_due(struct one *one)
{
    if (one->unconfirmed_us == 0)
        return false;
    return one->pause_us > 0 /* is it well again? */ ||
           one->unconfirmed_bytes >= CONFIRM_BYTES ||
           atomic_load(&one->stop_us) != 0 ||
           clock_monotonic() - one->unconfirmed_us >=
               one->all->options.confirm_us;
}

/* Something to do: does it. *idle: there was nothing. */
static enum err step(struct one *one, bool *idle, struct errinfo *info)
{
    uint64_t size = journal_size(one->all->options.journal);
    if (is_confirmation_due(one)) {
        enum err err =
            outgoing_finish(&one->stream, one->all->options.stall_us, info);
        if (err == ERR_OK)
            arrived(one);
        return err;
    }
    if (one->sent < size && atomic_load(&one->stop_us) == 0)
        return send_batch(one, size, info);
    *idle = true;
    return one->stream != NULL ? outgoing_look(one->stream, info) : ERR_OK;
}

static void wait_us(struct one *one, int64_t us)
{
    int64_t until = clock_monotonic() + us;
    while (atomic_load(&one->stop_us) == 0 && clock_monotonic() < until) {
        int64_t left = until - clock_monotonic();
        usleep((useconds_t)(left > LOOK_US / 5 ? LOOK_US / 5
                            : left > 0         ? left
                                               : 0));
    }
}

static void *sink_thread(void *context)
{
    struct one *one = context;
    struct errinfo why = {0};
    while (atomic_load(&one->stop_us) == 0 || one->unconfirmed_us != 0) {
        bool idle = false;
        int64_t now = clock_monotonic();
        if (now < one->retry_at_us) {
            wait_us(one, one->retry_at_us - now);
            if (atomic_load(&one->stop_us) != 0)
                break;
        }
        if (step(one, &idle, &why) != ERR_OK)
            failed(one, why.text);
        if (one->saved != one->position &&
            clock_monotonic() - one->saved_us >= SAVE_EVERY_US &&
            save_position(one, &why) != ERR_OK)
            failed(one, why.text);
        if (idle)
            wait_us(one, LOOK_US);
    }
    if (!atomic_load(&one->removed) && save_position(one, &why) != ERR_OK)
        log_error("sink_position_not_saved", "sink=%s reason=\"%s\"",
            one->target.name, why.text);
    if (atomic_load(&one->removed))
        (void)unlink(one->path);
    outgoing_close(&one->stream);
    journal_reader_close(&one->reader);
    atomic_store(&one->done, true);
    return NULL;
}

/* --- Making and ending one ----------------------------------------------- */

static void one_free(struct one **pointer)
{
    struct one *one = *pointer;
    if (one == NULL)
        return;
    sink_line_fini(&one->line);
    sink_target_fini(&one->target);
    buf_fini(&one->batch);
    free(one->segments_dir);
    free(one->path);
    pthread_mutex_destroy(&one->mutex);
    free(one);
    *pointer = NULL;
}

static enum err one_start(struct sinks *sinks, const struct sink_row *row,
    struct one **out, struct errinfo *info)
{
    struct one *one = calloc(1, sizeof(*one));
    if (one == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    pthread_mutex_init(&one->mutex, NULL);
    one->all = sinks;
    one->batch_limit = BATCH_ENTRIES;
    buf_init(&one->batch, 2 * BATCH_BYTES);
    enum err err = sink_target_init(&one->target, row, info);
    if (err == ERR_OK)
        err = sink_line_init(
            &one->line, &one->target, str_from(sinks->log_name), info);
    if (err == ERR_OK) {
        one->segments_dir =
            file_join(sinks->options.state_dir, "journal/segments");
        one->path = file_join(sinks->dir, one->target.id);
        err = one->segments_dir != NULL && one->path != NULL
                  ? load_position(one, info)
                  : errinfo_set(info, ERR_NOMEM, "out of memory");
    }
    if (err == ERR_OK) {
        snprintf(one->status.name, sizeof(one->status.name), "%.*s",
            (int)sizeof(one->status.name) - 1, one->target.name);
        show_progress(one);
        if (pthread_create(&one->thread, NULL, sink_thread, one) != 0)
            err = errinfo_set(
                info, ERR_LIMIT, "cannot start the thread of a sink");
    }
    if (err == ERR_OK) {
        pthread_setname_np(one->thread, "sink");
        *out = one;
    } else {
        one_free(&one);
    }
    return err;
}

static void ask_to_stop(struct one *one)
{
    atomic_store(&one->stop_us, clock_monotonic() + STOP_US);
}

/* Those that have ended; all of them where `wait`. Under the lock, or where
 * nobody else is. */
static void reap(struct sinks *sinks, bool wait)
{
    for (struct one **at = &sinks->gone; *at != NULL;) {
        struct one *one = *at;
        if (!wait && !atomic_load(&one->done)) {
            at = &one->next;
            continue;
        }
        *at = one->next;
        pthread_join(one->thread, NULL);
        one_free(&one);
    }
}

/* --- From outside -------------------------------------------------------- */

enum err sinks_start(const struct sinks_options *options, struct sinks **out,
    struct errinfo *info)
{
    struct sinks *sinks = calloc(1, sizeof(*sinks));
    if (sinks == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    sinks->magic = SINKS_MAGIC;
    sinks->options = *options;
    if (options->confirm_us == 0)
        sinks->options.confirm_us = CONFIRM_US;
    if (options->stall_us == 0)
        sinks->options.stall_us = STALL_US;
    if (options->retry_us == 0)
        sinks->options.retry_us = RETRY_US;
    snprintf(sinks->log_name, sizeof(sinks->log_name), "%.*s",
        STR_ARG(options->log_name));
    pthread_mutex_init(&sinks->mutex, NULL);
    sinks->dir = file_join(options->state_dir, "sinks");
    enum err err = sinks->dir == NULL
                       ? errinfo_set(info, ERR_NOMEM, "out of memory")
                       : file_make_dir(sinks->dir, 0700, info);
    if (err == ERR_OK)
        *out = sinks;
    else
        sinks_stop(&sinks);
    return err;
}

void sinks_stop(struct sinks **pointer)
{
    struct sinks *sinks = *pointer;
    if (sinks == NULL)
        return;
    CHECK_MAGIC(sinks, SINKS_MAGIC);
    for (size_t i = 0; i < sinks->count; i++) {
        ask_to_stop(sinks->rows[i]);
        sinks->rows[i]->next = sinks->gone;
        sinks->gone = sinks->rows[i];
    }
    sinks->count = 0;
    reap(sinks, true);
    pthread_mutex_destroy(&sinks->mutex);
    free(sinks->dir);
    sinks->magic = 0;
    free(sinks);
    *pointer = NULL;
}

static bool is_wanted(
    const struct one *one, const struct sink_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_equal(str_from(one->target.id), rows[i].id))
            return true;
    return false;
}

static bool is_there(const struct sinks *sinks, const struct sink_row *row)
{
    for (size_t i = 0; i < sinks->count; i++)
        if (str_equal(str_from(sinks->rows[i]->target.id), row->id))
            return true;
    return false;
}

enum err sinks_set(struct sinks *sinks, const struct sink_row *rows,
    size_t count, struct errinfo *info)
{
    enum err err = ERR_OK;
    pthread_mutex_lock(&sinks->mutex);
    reap(sinks, false);
    for (size_t i = sinks->count; i-- > 0;) {
        struct one *one = sinks->rows[i];
        if (is_wanted(one, rows, count))
            continue;
        atomic_store(&one->removed, true);
        ask_to_stop(one);
        one->next = sinks->gone;
        sinks->gone = one;
        sinks->rows[i] = sinks->rows[--sinks->count];
    }
    for (size_t i = 0; i < count && err == ERR_OK; i++) {
        if (is_there(sinks, &rows[i]))
            continue;
        if (sinks->count == SINKS_MAX)
            err = errinfo_set(info, ERR_LIMIT, "more than %d sinks", SINKS_MAX);
        else
            err = one_start(sinks, &rows[i], &sinks->rows[sinks->count], info);
        if (err == ERR_OK)
            sinks->count++;
    }
    pthread_mutex_unlock(&sinks->mutex);
    return err;
}

size_t sinks_status(struct sinks *sinks, struct sink_status *out, size_t room)
{
    uint64_t size = journal_size(sinks->options.journal);
    pthread_mutex_lock(&sinks->mutex);
    size_t count = sinks->count;
    for (size_t i = 0; i < count && i < room; i++) {
        struct one *one = sinks->rows[i];
        pthread_mutex_lock(&one->mutex);
        out[i] = one->status;
        pthread_mutex_unlock(&one->mutex);
        out[i].lag = size > out[i].position ? size - out[i].position : 0;
    }
    pthread_mutex_unlock(&sinks->mutex);
    return count;
}
