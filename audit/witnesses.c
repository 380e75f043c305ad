/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/witnesses.c - rounds: one checkpoint, asked of all witnesses. */
#include "audit/witnesses.h"

#include "audit/key_rotation.h"

#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/must.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WITNESSES_MAGIC 0x77697473u
#define TIMEOUT_US (10 * SECOND_US)
#define LOOK_US (SECOND_US / 5)
#define RETRY_US SECOND_US
#define RETRY_MOST_US MINUTE_US
#define TELL_EVERY_US MINUTE_US

/* One witness; the coordinator's own but for status. */
struct one {
    char name[WITNESS_NAME_MAX];
    char url[1024], ca_file[1024];
    struct note_key key;
    uint64_t known; /* the size that it has seen */
    bool cosigned;  /* this round */
    struct buf line;
    int64_t pause_us, retry_at_us, told_us;
    bool told, told_conflict;
    struct witness_status status;
    /* of one asking, on a thread of its own */
    struct witnesses *all;
    pthread_t thread;
    bool asking;
    enum err result;
    struct errinfo why;
    int64_t time_s;
};

struct witnesses {
    unsigned magic;
    struct witnesses_options options;
    char *checkpoint, *witnessed;
    pthread_t thread;
    bool started;
    _Atomic bool stop;

    /* The coordinator's. */
    struct one *rows[WITNESSES_MAX];
    size_t count;
    struct witness_policy policy;
    struct buf note;                       /* of the round */
    uint64_t size;                         /* of the round */
    int64_t next_round_us, unwitnessed_us; /* since; 0: nothing is */
    uint64_t written; /* how many lines are in the file of the round */
    bool lost;

    pthread_mutex_t mutex; /* what follows; leaf lock */
    bool fresh;            /* new rows wait */
    struct one *new_rows[WITNESSES_MAX];
    size_t new_count;
    struct witness_policy new_policy;
    struct witnesses_status status;
};

static void one_free(struct one **pointer)
{
    if (*pointer != NULL)
        buf_fini(&(*pointer)->line);
    free(*pointer);
    *pointer = NULL;
}

static bool is_stopped(void *context)
{
    struct witnesses *w = context;
    return atomic_load(&w->stop);
}

static void tell(struct witnesses *w, enum witness_news news, const char *name,
    const char *why, uint64_t size)
{
    if (w->options.told != NULL && !atomic_load(&w->stop))
        w->options.told(w->options.context, news, name, why, size);
}

/* --- One witness -----------------------------------------------------------
 */

static void *ask_thread(void *context)
{
    struct one *one = context;
    struct witnesses *w = one->all;
    const struct witness_peer peer = {.url = one->url,
        .ca_file = one->ca_file,
        .key = one->key,
        .timeout_us = w->options.timeout_us,
        .cancelled = is_stopped,
        .context = w};
    buf_clear(&one->line);
    one->result = witness_ask(&peer, w->options.log_dir, &w->options.log_key,
        buf_str(&w->note), &one->known, &one->line, &one->time_s, &one->why);
    return NULL;
}

static void took(struct witnesses *w, struct one *one)
{
    one->cosigned = true;
    one->pause_us = 0;
    one->status.size = w->size;
    one->status.cosigned_us = one->time_s * SECOND_US;
    if (one->status.failing)
        log_info("witness_recovered", "witness=%s", one->name);
    one->status.failing = one->status.conflict = false;
    one->status.why[0] = '\0';
    if (one->told)
        tell(w, WITNESS_RECOVERED, one->name, "", w->size);
    if (one->told)
        one->told_us = clock_monotonic();
    one->told = one->told_conflict = false;
}

static void refused(struct witnesses *w, struct one *one)
{
    bool conflict = one->result == ERR_CORRUPT;
    int64_t now = clock_monotonic();
    one->pause_us = one->pause_us == 0 ? RETRY_US : one->pause_us * 2;
    if (one->pause_us > RETRY_MOST_US)
        one->pause_us = RETRY_MOST_US;
    one->retry_at_us = now + one->pause_us;
    if (!one->status.failing || (conflict && !one->status.conflict))
        log_error(conflict ? "witness_conflict" : "witness_failed",
            "witness=%s size=%llu reason=\"%s\"", one->name,
            (unsigned long long)w->size, one->why.text);
    one->status.failing = true;
    one->status.conflict = conflict;
    snprintf(one->status.why, sizeof(one->status.why), "%.*s",
        (int)sizeof(one->status.why) - 1, one->why.text);
    if (conflict && !one->told_conflict) {
        one->told_conflict = one->told = true;
        one->told_us = now;
        tell(w, WITNESS_CONFLICT, one->name, one->why.text, w->size);
    } else if (!one->told &&
               (one->told_us == 0 || now - one->told_us >= TELL_EVERY_US)) {
        one->told = true;
        one->told_us = now;
        tell(w, WITNESS_FAILED, one->name, one->why.text, w->size);
    }
}

/* All that have not cosigned and are due, at once. */
static void ask_all(struct witnesses *w)
{
    int64_t now = clock_monotonic();
    for (size_t i = 0; i < w->count; i++) {
        struct one *one = w->rows[i];
        one->asking = !one->cosigned && now >= one->retry_at_us &&
                      pthread_create(&one->thread, NULL, ask_thread, one) == 0;
    }
    for (size_t i = 0; i < w->count; i++) {
        struct one *one = w->rows[i];
        if (!one->asking)
            continue;
        pthread_join(one->thread, NULL);
        if (atomic_load(&w->stop))
            continue;
        if (one->result == ERR_OK)
            took(w, one);
        else
            refused(w, one);
    }
}

/* --- A round ----------------------------------------------------------------
 */

static size_t cosigned(const struct witnesses *w)
{
    size_t count = 0;
    for (size_t i = 0; i < w->count; i++)
        count += w->rows[i]->cosigned;
    return count;
}

/* The newest checkpoint, where it is another than the round's. */
static bool begin_round(struct witnesses *w)
{
    struct errinfo info = {0};
    struct checkpoint checkpoint;
    struct buf note;
    buf_init(&note, NOTE_MAX);
    enum err err = file_read(w->checkpoint, &note, &info);
    if (err == ERR_OK) /* it may have been rotated meanwhile */
        err = key_rotation_follow(
            w->options.log_dir, &w->options.log_key, NULL, &info);
    if (err == ERR_OK)
        err = checkpoint_open(
            buf_str(&note), &w->options.log_key, &checkpoint, &info);
    if (err != ERR_OK || checkpoint.size == w->size) {
        if (err != ERR_OK)
            log_error("witness_round", "reason=\"%s\"", info.text);
        buf_fini(&note);
        return false;
    }
    buf_fini(&w->note);
    w->note = note;
    w->size = checkpoint.size;
    w->written = 0;
    for (size_t i = 0; i < w->count; i++)
        w->rows[i]->cosigned = false;
    return true;
}

/* The note with the lines of those who cosigned. */
static void write_witnessed(struct witnesses *w)
{
    struct errinfo info = {0};
    struct buf text;
    size_t count = cosigned(w);
    if (count == w->written || count == 0 || (int64_t)count < w->policy.quorum)
        return;
    buf_init(&text, NOTE_MAX);
    buf_append_str(&text, buf_str(&w->note));
    for (size_t i = 0; i < w->count; i++)
        if (w->rows[i]->cosigned)
            buf_append_str(&text, buf_str(&w->rows[i]->line));
    enum err err =
        text.failed ? errinfo_set(&info, ERR_NOMEM, "out of memory")
                    : file_replace(w->witnessed, buf_str(&text), 0644, &info);
    buf_fini(&text);
    if (err != ERR_OK) {
        log_error("witnessed_not_written", "reason=\"%s\"", info.text);
        return;
    }
    w->written = count;
    w->unwitnessed_us = 0;
    pthread_mutex_lock(&w->mutex);
    w->status.witnessed = w->size;
    w->status.witnessed_us = clock_now();
    pthread_mutex_unlock(&w->mutex);
}

/* Is the quorum there, and what follows from that? */
static void judge_quorum(struct witnesses *w)
{
    bool demanded = w->policy.quorum > 0;
    bool missing = demanded && w->unwitnessed_us != 0;
    bool lost =
        missing && clock_monotonic() - w->unwitnessed_us >= w->policy.grace_us;
    bool was = w->lost;
    w->lost = lost;
    if (w->options.closed != NULL)
        atomic_store(w->options.closed, lost && w->policy.closed);
    if (lost && !was) {
        log_error("witness_quorum_lost", "quorum=%lld size=%llu closed=%s",
            (long long)w->policy.quorum, (unsigned long long)w->size,
            w->policy.closed ? "yes" : "no");
        tell(w, WITNESS_QUORUM_LOST, "",
            w->policy.closed ? "nothing is admitted until it is there again"
                             : "requests are served all the same",
            w->size);
    } else if (was && !lost) {
        log_info("witness_quorum_restored", "size=%llu",
            (unsigned long long)w->size);
        tell(w, WITNESS_QUORUM_RESTORED, "", "", w->size);
    }
}

static void show(struct witnesses *w)
{
    pthread_mutex_lock(&w->mutex);
    w->status.count = w->count;
    for (size_t i = 0; i < w->count; i++)
        w->status.witnesses[i] = w->rows[i]->status;
    w->status.quorum = w->policy.quorum;
    w->status.lost = w->lost;
    w->status.closed = w->lost && w->policy.closed;
    pthread_mutex_unlock(&w->mutex);
}

static bool is_same(const struct one *a, const struct one *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->url, b->url) == 0 &&
           strcmp(a->ca_file, b->ca_file) == 0 &&
           memcmp(&a->key, &b->key, sizeof(a->key)) == 0;
}

/* Takes waiting rows over; one that is there already keeps what it knows. */
static void take_rows(struct witnesses *w)
{
    struct one *old[WITNESSES_MAX];
    size_t old_count = w->count;
    pthread_mutex_lock(&w->mutex);
    if (!w->fresh) {
        pthread_mutex_unlock(&w->mutex);
        return;
    }
    memcpy(old, w->rows, sizeof(old));
    w->count = w->new_count;
    memcpy(w->rows, w->new_rows, sizeof(w->rows));
    w->policy = w->new_policy;
    w->fresh = false;
    w->new_count = 0;
    pthread_mutex_unlock(&w->mutex);
    for (size_t i = 0; i < w->count; i++)
        for (size_t k = 0; k < old_count; k++)
            if (old[k] != NULL && is_same(w->rows[i], old[k])) {
                one_free(&w->rows[i]);
                w->rows[i] = old[k];
                old[k] = NULL;
            }
    for (size_t k = 0; k < old_count; k++)
        one_free(&old[k]);
    w->next_round_us = 0;
    w->written = 0;
    /* A new demand is not met by an old file. */
    if ((int64_t)cosigned(w) < w->policy.quorum && w->unwitnessed_us == 0)
        w->unwitnessed_us = clock_monotonic();
    if (w->policy.quorum == 0)
        w->unwitnessed_us = 0;
}

static void *coordinate(void *context)
{
    struct witnesses *w = context;
    CHECK_MAGIC(w, WITNESSES_MAGIC);
    while (!atomic_load(&w->stop)) {
        int64_t now = clock_monotonic();
        take_rows(w);
        if (now >= w->next_round_us && (w->count > 0 || w->policy.quorum > 0)) {
            w->next_round_us = now + w->policy.every_us;
            if (begin_round(w) && w->unwitnessed_us == 0)
                w->unwitnessed_us = now;
        }
        if (w->note.len > 0)
            ask_all(w);
        write_witnessed(w);
        judge_quorum(w);
        show(w);
        for (int64_t until = clock_monotonic() + LOOK_US;
             !atomic_load(&w->stop) && clock_monotonic() < until;)
            usleep(LOOK_US / 4);
    }
    return NULL;
}

/* --- From outside -----------------------------------------------------------
 */

enum err witnesses_start(const struct witnesses_options *options,
    struct witnesses **out, struct errinfo *info)
{
    struct witnesses *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    w->magic = WITNESSES_MAGIC;
    w->options = *options;
    if (w->options.timeout_us == 0)
        w->options.timeout_us = TIMEOUT_US;
    w->size = UINT64_MAX; /* no round yet */
    pthread_mutex_init(&w->mutex, NULL);
    buf_init(&w->note, NOTE_MAX);
    w->checkpoint = file_join(options->log_dir, "checkpoint");
    w->witnessed = file_join(options->log_dir, WITNESSED_FILE);
    w->started = w->checkpoint != NULL && w->witnessed != NULL &&
                 pthread_create(&w->thread, NULL, coordinate, w) == 0;
    if (!w->started) {
        witnesses_stop(&w);
        return errinfo_set(
            info, ERR_LIMIT, "cannot start the thread of the witnesses");
    }
    *out = w;
    return ERR_OK;
}

void witnesses_stop(struct witnesses **pointer)
{
    struct witnesses *w = *pointer;
    if (w == NULL)
        return;
    CHECK_MAGIC(w, WITNESSES_MAGIC);
    atomic_store(&w->stop, true);
    if (w->started)
        pthread_join(w->thread, NULL);
    for (size_t i = 0; i < w->count; i++)
        one_free(&w->rows[i]);
    for (size_t i = 0; i < w->new_count; i++)
        one_free(&w->new_rows[i]);
    pthread_mutex_destroy(&w->mutex);
    buf_fini(&w->note);
    free(w->checkpoint);
    free(w->witnessed);
    w->magic = 0;
    free(w);
    *pointer = NULL;
}

static enum err make_one(struct witnesses *w, const struct witness_row *row,
    struct one **out, struct errinfo *info)
{
    struct one *one = calloc(1, sizeof(*one));
    if (one == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    enum err err = note_witness_key_parse(row->key, &one->key, info);
    if (err == ERR_OK && (row->name.len >= sizeof(one->name) ||
                             row->url.len >= sizeof(one->url) ||
                             row->ca_file.len >= sizeof(one->ca_file)))
        err = errinfo_set(info, ERR_RANGE,
            "witness %.*s: a text of it is too long", STR_ARG(row->name));
    if (err != ERR_OK) {
        free(one);
        return err;
    }
    one->all = w;
    buf_init(&one->line, 65536);
    snprintf(one->name, sizeof(one->name), "%.*s", STR_ARG(row->name));
    snprintf(one->url, sizeof(one->url), "%.*s", STR_ARG(row->url));
    snprintf(one->ca_file, sizeof(one->ca_file), "%.*s", STR_ARG(row->ca_file));
    memcpy(one->status.name, one->name, sizeof(one->status.name));
    *out = one;
    return ERR_OK;
}

enum err witnesses_set(struct witnesses *w, const struct witness_row *rows,
    size_t count, const struct witness_policy *policy, struct errinfo *info)
{
    struct one *fresh[WITNESSES_MAX] = {NULL};
    enum err err = count > WITNESSES_MAX
                       ? errinfo_set(info, ERR_LIMIT, "more than %d witnesses",
                             WITNESSES_MAX)
                       : ERR_OK;
    size_t made = 0;
    while (err == ERR_OK && made < count) {
        err = make_one(w, &rows[made], &fresh[made], info);
        if (err == ERR_OK)
            made++;
    }
    if (err == ERR_OK) {
        pthread_mutex_lock(&w->mutex);
        struct one *waiting[WITNESSES_MAX];
        size_t waiting_count = w->new_count;
        memcpy(waiting, w->new_rows, sizeof(waiting));
        memcpy(w->new_rows, fresh, sizeof(fresh));
        w->new_count = count;
        w->new_policy = *policy;
        w->fresh = true;
        w->status.strict = policy->closed && policy->quorum > 0;
        bool none_yet = w->status.witnessed == 0;
        pthread_mutex_unlock(&w->mutex);
        for (size_t i = 0; i < waiting_count; i++)
            one_free(&waiting[i]);
        /* Demanded from the first moment on, where there is no grace. */
        if (w->options.closed != NULL && policy->closed && policy->quorum > 0 &&
            policy->grace_us == 0 && none_yet)
            atomic_store(w->options.closed, true);
    } else {
        for (size_t i = 0; i < made; i++)
            one_free(&fresh[i]);
    }
    return err;
}

void witnesses_status(struct witnesses *w, struct witnesses_status *out)
{
    pthread_mutex_lock(&w->mutex);
    *out = w->status;
    pthread_mutex_unlock(&w->mutex);
}
