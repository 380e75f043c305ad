/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/content.c - see content.h. Several threads, because most of their time
 * is a disk's: file systems make files durable together that are synced at the
 * same time. */
#include "proxy/content.h"

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/must.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define CONTENT_THREADS 4
#define CONTENT_WAITING_MAX 1024
/* Content leaves this much of the disk to the journal and to answers. */
#define CONTENT_ROOM_FLOOR (64u << 20)
#define KEY_SLOTS 8192 /* a power of two; remembered keys */
#define FORGET_PATIENCE_US (5 * SECOND_US)
#define NAME_SIZE 65

struct remembered {
    bool used;
    char subject[NAME_SIZE], class[NAME_SIZE];
    struct seal_key key;
};

struct content_store {
    struct control *control;
    const char *state_dir;
    pthread_mutex_t mutex;
    pthread_cond_t some, less;
    struct content_job *first, *last;
    size_t waiting;
    bool stopping;
    pthread_t threads[CONTENT_THREADS];
    struct content_job *running[CONTENT_THREADS];
    size_t thread_count;
    struct remembered *keys;
};

/* --- Keys ----------------------------------------------------------------- */

static void month_of(int64_t time_us, char month[8])
{
    struct clock_civil civil;
    clock_civil_utc(time_us, &civil);
    snprintf(month, 8, "%04u-%02u", (unsigned)civil.year % 10000,
        (unsigned)civil.month % 100);
}

/* Where the key stands, or would: what stood there is forgotten. */
static struct remembered *slot_of(struct content_store *s, struct str subject,
    struct str class, const char *month)
{
    uint64_t hash = str_hash(subject) * 31 + str_hash(class) * 7 +
                    str_hash(str_from(month));
    return &s->keys[hash & (KEY_SLOTS - 1)];
}

static bool is_of(const struct remembered *r, struct str subject,
    struct str class, const char *month)
{
    return r->used && str_equal(str_from(r->subject), subject) &&
           str_equal(str_from(r->class), class) &&
           strcmp(r->key.month, month) == 0;
}

bool content_find_key(struct content_store *s, struct str subject,
    struct str class, int64_t time_us, struct seal_key *out)
{
    char month[8];
    month_of(time_us, month);
    pthread_mutex_lock(&s->mutex);
    struct remembered *r = slot_of(s, subject, class, month);
    bool found = is_of(r, subject, class, month);
    if (found)
        *out = r->key;
    pthread_mutex_unlock(&s->mutex);
    return found;
}

static void set_making_key(
    struct content_store *s, struct content_job *job, bool making)
{
    pthread_mutex_lock(&s->mutex);
    job->making_key = making;
    pthread_mutex_unlock(&s->mutex);
}

/* Made durable where it is not there. Under the control's lock, so that an
 * erasure comes before (and there is none) or after (and waits for the job).
 * Whoever holds that lock and forgets must not wait for those who want it:
 * hence the mark. */
static enum err make_key(struct content_store *s, struct content_job *job)
{
    struct errinfo info = {0};
    struct keyring *keyring = control_keyring(s->control);
    set_making_key(s, job, true);
    control_lock(s->control);
    enum err err = keyring_get_class(
        keyring, job->subject, job->class, job->time_us, &job->key, &info);
    if (err == ERR_OK && job->subject.len < NAME_SIZE &&
        job->class.len < NAME_SIZE) {
        pthread_mutex_lock(&s->mutex);
        struct remembered *r =
            slot_of(s, job->subject, job->class, job->key.month);
        memset(r, 0, sizeof(*r));
        memcpy(r->subject, job->subject.ptr, job->subject.len);
        memcpy(r->class, job->class.ptr, job->class.len);
        r->key = job->key;
        r->used = true;
        pthread_mutex_unlock(&s->mutex);
    }
    set_making_key(s, job, false);
    control_unlock(s->control);
    if (err != ERR_OK)
        snprintf(job->why, sizeof(job->why), "%.255s", info.text);
    return err;
}

/* --- Work ----------------------------------------------------------------- */

static enum err keep(struct content_store *s, struct crypto_aead *aead,
    struct content_job *job, struct buf *file)
{
    struct errinfo info = {0};
    buf_fini(file);
    buf_init(file, job->content.len + BLOB_OVERHEAD);
    enum err err = blob_seal(aead, &job->key, job->id, job->which, job->content,
        file, &job->commitment);
    if (err != ERR_OK)
        errinfo_set(&info, err, "out of memory");
    else
        err = blob_write(s->state_dir, str_from(job->key.id), job->id,
            job->which, buf_str(file),
            job->which == BLOB_REQUEST ? CONTENT_ROOM_FLOOR : 0, &info);
    if (err != ERR_OK)
        snprintf(job->why, sizeof(job->why), "%.255s", info.text);
    return err;
}

static void do_job(struct content_store *s, struct crypto_aead *aead,
    struct content_job *job, struct buf *file)
{
    job->err = ERR_OK;
    if (!job->has_key &&
        !content_find_key(s, job->subject, job->class, job->time_us, &job->key))
        job->err = make_key(s, job);
    if (job->err == ERR_OK && !job->key_only)
        job->err = keep(s, aead, job, file);
    if (job->err != ERR_OK)
        log_warn("content_not_kept", "request=%.*s what=%s reason=\"%s\"",
            STR_ARG(job->id), blob_which_name(job->which), job->why);
}

static void give_back(struct content_job *job)
{
    struct content_inbox *inbox = job->inbox;
    struct content_job *first = atomic_load(&inbox->first);
    do
        job->next = first;
    while (!atomic_compare_exchange_weak(&inbox->first, &first, job));
    inbox->wake(inbox->context);
}

struct thread_start {
    struct content_store *store;
    size_t at;
};

static void *run(void *argument)
{
    struct thread_start start = *(struct thread_start *)argument;
    struct content_store *s = start.store;
    struct crypto_aead *aead = crypto_aead_new();
    struct buf file;
    free(argument);
    MUST(aead != NULL); /* at start: there is memory, or no server */
    buf_init(&file, 0);
    pthread_mutex_lock(&s->mutex);
    for (;;) {
        struct content_job *job = s->first;
        if (job == NULL) {
            if (s->stopping)
                break;
            pthread_cond_wait(&s->some, &s->mutex);
            continue;
        }
        s->first = job->next;
        if (s->first == NULL)
            s->last = NULL;
        s->waiting--;
        s->running[start.at] = job;
        pthread_mutex_unlock(&s->mutex);
        do_job(s, aead, job, &file);
        pthread_mutex_lock(&s->mutex);
        s->running[start.at] = NULL;
        pthread_cond_broadcast(&s->less);
        pthread_mutex_unlock(&s->mutex);
        give_back(job); /* the job is no longer ours */
        pthread_mutex_lock(&s->mutex);
    }
    pthread_mutex_unlock(&s->mutex);
    buf_fini(&file);
    crypto_aead_free(&aead);
    return NULL;
}

bool content_keep(struct content_store *s, struct content_job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&s->mutex);
    bool taken = job->which == BLOB_ANSWER || s->waiting < CONTENT_WAITING_MAX;
    if (taken) {
        if (s->last != NULL)
            s->last->next = job;
        else
            s->first = job;
        s->last = job;
        s->waiting++;
        pthread_cond_signal(&s->some);
    }
    pthread_mutex_unlock(&s->mutex);
    return taken;
}

struct content_job *content_take_done(struct content_inbox *inbox)
{
    struct content_job *job, *oldest = NULL;
    if (atomic_load_explicit(&inbox->first, memory_order_relaxed) == NULL)
        return NULL;
    job = atomic_exchange(&inbox->first, NULL);
    while (job != NULL) {
        struct content_job *next = job->next;
        job->next = oldest;
        oldest = job;
        job = next;
    }
    return oldest;
}

void content_drop_request(
    struct content_store *s, struct str id, struct str key_id)
{
    blob_remove(s->state_dir, key_id, id, BLOB_REQUEST);
}

/* --- Forgetting ------------------------------------------------------------
 */

static bool is_under_way(const struct content_store *s, struct str subject)
{
    for (const struct content_job *j = s->first; j != NULL; j = j->next)
        if (str_equal(j->subject, subject))
            return true;
    for (size_t i = 0; i < s->thread_count; i++)
        if (s->running[i] != NULL && !s->running[i]->making_key &&
            str_equal(s->running[i]->subject, subject))
            return true;
    return false;
}

void content_forget(struct content_store *s, struct str subject)
{
    int64_t due = clock_now() + FORGET_PATIENCE_US;
    struct timespec until = {
        .tv_sec = due / SECOND_US, .tv_nsec = (due % SECOND_US) * 1000};
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < KEY_SLOTS; i++)
        if (s->keys[i].used && str_equal(str_from(s->keys[i].subject), subject))
            crypto_wipe(&s->keys[i], sizeof(s->keys[i]));
    while (is_under_way(s, subject))
        if (pthread_cond_timedwait(&s->less, &s->mutex, &until) != 0)
            break;
    pthread_mutex_unlock(&s->mutex);
}

/* --- Life ------------------------------------------------------------------
 */

enum err content_store_new(
    struct control *control, struct content_store **out, struct errinfo *info)
{
    enum err err = blob_folder_make(control_dir(control), info);
    if (err != ERR_OK)
        return err;
    struct content_store *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    s->control = control;
    s->state_dir = control_dir(control);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->some, NULL);
    pthread_cond_init(&s->less, NULL);
    s->keys = calloc(KEY_SLOTS, sizeof(*s->keys));
    if (s->keys == NULL)
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
    for (size_t i = 0; err == ERR_OK && i < CONTENT_THREADS; i++) {
        struct thread_start *start = malloc(sizeof(*start));
        if (start != NULL)
            *start = (struct thread_start){s, i};
        if (start == NULL ||
            pthread_create(&s->threads[i], NULL, run, start) != 0) {
            free(start);
            err = errinfo_set(
                info, ERR_IO, "cannot start a thread that keeps content");
        } else {
            s->thread_count++;
        }
    }
    if (err != ERR_OK) {
        content_store_stop(&s);
        return err;
    }
    *out = s;
    return ERR_OK;
}

void content_store_stop(struct content_store **store)
{
    struct content_store *s = *store;
    if (s == NULL)
        return;
    *store = NULL;
    pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    pthread_cond_broadcast(&s->some);
    pthread_mutex_unlock(&s->mutex);
    for (size_t i = 0; i < s->thread_count; i++)
        pthread_join(s->threads[i], NULL);
    if (s->keys != NULL)
        crypto_wipe(s->keys, KEY_SLOTS * sizeof(*s->keys));
    free(s->keys);
    pthread_cond_destroy(&s->some);
    pthread_cond_destroy(&s->less);
    pthread_mutex_destroy(&s->mutex);
    free(s);
}
