/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/worker.c - the loop of one worker: listeners, what the journal says,
 * a new snapshot, the tick, and the end.
 *
 * Phases of a turn (lib/loop.h): descriptors, timers, then our hook: the
 * hand-over of this turn's entries to the journal, what has become durable,
 * what other threads asked, kicked connections, and the hand-over of what
 * these wrote. */
#include "proxy/worker.h"

#include "audit/entry.h"
#include "lib/encode.h"
#include "lib/log.h"
#include "lib/must.h"
#include "proxy/exchange.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PRODUCER_MAX (512u << 20)
#define ACCEPTS_PER_TURN 64
#define REFUSALS_EVERY_S 5
/* So many requests of a turn are taken however far behind it is. */
#define CROWD_LEAST 128
#define REFUSALS_WRITTEN 100 /* each with an entry, in a second */

void worker_wake(struct worker *worker)
{
    loop_wake(worker->loop);
}

const char *worker_date(struct worker *w)
{
    int64_t second = loop_wall(w->loop) / SECOND_US;
    if (second != w->date_second) {
        w->date_second = second;
        http1_date(w->date, second * SECOND_US);
    }
    return w->date;
}

bool worker_hold(struct worker *w, size_t bytes)
{
    if (w->held_bytes + bytes > (size_t)w->settings->max_held_bytes)
        return false;
    w->held_bytes += bytes;
    metrics_add(&w->metrics, METRIC_HELD_BYTES, (int64_t)bytes);
    return true;
}

void worker_release(struct worker *w, size_t bytes)
{
    MUST(bytes <= w->held_bytes);
    w->held_bytes -= bytes;
    metrics_add(&w->metrics, METRIC_HELD_BYTES, -(int64_t)bytes);
}

bool worker_is_behind(struct worker *w)
{
    uint64_t turn = loop_turns(w->loop);
    if (w->crowd_turn != turn) {
        w->crowd_turn = turn;
        w->crowd = 0;
    }
    int64_t most_us = w->settings->max_queue_ms * 1000;
    return ++w->crowd > CROWD_LEAST && most_us > 0 &&
           loop_lag(w->loop) > most_us;
}

bool worker_counts_refusals(struct worker *w)
{
    int64_t second = loop_now(w->loop) / SECOND_US;
    if (w->counted_s != second) {
        w->counted_s = second;
        w->counted = 0;
    }
    return ++w->counted > REFUSALS_WRITTEN;
}

void worker_refuse(struct worker *w, const struct connection *connection,
    enum refusal reason, struct str route, struct str key)
{
    metrics_add(&w->metrics, METRIC_REFUSED, 1);
    visitors_refuse(w->visitors, connection_peer(connection), reason, route,
        key, loop_wall(w->loop));
}

/* --- Refusals into the log ----------------------------------------------- */

/* One aggregate as an entry, its address sealed under the anonymous key. */
static bool report_refusal(void *context, const struct visitors_report *report)
{
    struct worker *w = context;
    int64_t now = loop_wall(w->loop);
    char id[ULID_LENGTH];
    uint8_t random[10];
    size_t time_offset = 0;
    uint64_t ticket = 0;
    struct buf plain, box;
    crypto_random_id(random, sizeof(random));
    ulid_write(id, now, random);
    buf_init(&plain, 4096);
    buf_init(&box, 8192);
    const struct seal_key *key = snapshot_anonymous_seal(w->snapshot, now);
    struct audit_auth_failed entry = {.id = str_make(id, ULID_LENGTH),
        .time_us = now,
        .first_us = report->first_us,
        .reason = str_from(refusal_name(report->reason)),
        .route = report->route,
        .count = report->count,
        .key = report->key};
    buf_printf(&plain, "{\"address\":\"%s\"}", report->address);
    bool good = true;
    if (key != NULL) {
        good =
            seal_box(w->aead, key, entry.id, buf_str(&plain), &box) == ERR_OK;
        entry.sealed = (struct audit_sealed){
            .key_id = str_from(key->id), .box = buf_str(&box)};
    }
    buf_clear(&w->entry);
    audit_entry_auth_failed(&w->entry, &entry, &time_offset);
    good = good && !w->entry.failed &&
           journal_append(w->producer, buf_str(&w->entry), time_offset, 0,
               &ticket) == ERR_OK;
    buf_fini(&plain);
    buf_fini(&box);
    return good;
}

/* --- Listening ----------------------------------------------------------- */

static void accept_ready(struct loop_source *source, uint32_t events)
{
    struct worker_listener *listener =
        (struct worker_listener *)((char *)source -
                                   offsetof(struct worker_listener, source));
    struct worker *w = listener->worker;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage peer;
        socklen_t length = sizeof(peer);
        int fd = accept4(listener->fd, (struct sockaddr *)&peer, &length,
            SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            if (errno != EAGAIN && errno != EWOULDBLOCK)
                log_warn("accept_failed", "worker=%u reason=\"%s\"", w->index,
                    strerror(errno));
            return;
        }
        connection_accept(w, listener->name, fd, &peer, length);
    }
    /* Level-triggered: the rest comes next turn. */
}

static void close_listeners(struct worker *w)
{
    for (size_t i = 0; i < w->listener_count; i++) {
        loop_remove(w->loop, w->listeners[i].fd, &w->listeners[i].source);
        close(w->listeners[i].fd);
    }
    w->listener_count = 0;
}

/* --- What other threads changed ------------------------------------------ */

static bool fit_digest(struct worker *w)
{
    const char *name = snapshot_digest_key_name(w->snapshot);
    const uint8_t *key = snapshot_digest_key(w->snapshot);
    if (key == NULL || strcmp(name, w->digest_name) == 0)
        return true;
    struct crypto_mac *digest = crypto_mac_new(key, 32);
    if (digest == NULL)
        return false;
    crypto_mac_free(&w->digest);
    w->digest = digest;
    memset(w->digest_name, 0, sizeof(w->digest_name));
    memcpy(w->digest_name, name, strnlen(name, sizeof(w->digest_name) - 1));
    return true;
}

/* Takes over the newest snapshot and TLS context. */
static bool take_over(struct worker *w)
{
    struct worker_shared *shared = w->shared;
    struct snapshot *old = w->snapshot;
    struct tls_context *old_tls = w->tls;
    pthread_mutex_lock(&shared->mutex);
    w->snapshot = snapshot_ref(shared->snapshot);
    w->tls = tls_context_ref(shared->tls);
    w->generation = atomic_load(&shared->generation);
    pthread_mutex_unlock(&shared->mutex);
    bool good = fit_digest(w);
    snapshot_unref(&old);
    tls_context_unref(&old_tls);
    /* The same snapshot too: something may have been taken away in it. */
    struct exchange *next;
    for (struct exchange *e = w->exchanges; e != NULL; e = next) {
        next = exchange_next(e);
        exchange_recheck(e);
    }
    pthread_mutex_lock(&shared->mutex);
    atomic_store(&w->seen_generation, w->generation);
    pthread_cond_broadcast(&shared->seen);
    pthread_mutex_unlock(&shared->mutex);
    return good;
}

static void drain(struct worker *w)
{
    struct connection *next;
    if (!w->drain_started) {
        w->drain_started = true;
        close_listeners(w);
        for (struct connection *c = w->connections; c != NULL; c = next) {
            next = connection_next(c);
            connection_drain(c);
        }
    }
    if (atomic_load(&w->shared->closing)) {
        struct exchange *after;
        for (struct exchange *e = w->exchanges; e != NULL; e = after) {
            after = exchange_next(e);
            exchange_shutdown(e);
        }
    }
    bool over = w->exchanges == NULL &&
                (w->connections == NULL || atomic_load(&w->shared->closing));
    if (over && !w->stopping) {
        w->stopping = true;
        visitors_flush(w->visitors, report_refusal, w);
        loop_stop(w->loop);
    }
}

static void durable_ones(struct worker *w)
{
    uint64_t durable = journal_durable(w->producer);
    while (w->waiting_first != NULL &&
           exchange_ticket(w->waiting_first) <= durable)
        exchange_durable(exchange_take_waiting(w));
    if (w->waiting_first != NULL &&
        journal_state(w->shared->journal) == JOURNAL_FAILED) {
        while (w->waiting_first != NULL)
            exchange_journal_failed(exchange_take_waiting(w));
    }
}

static void turn(struct loop_hook *hook)
{
    struct worker *w =
        (struct worker *)((char *)hook - offsetof(struct worker, hook));
    /* Entries of this turn's arrivals first: they are written while what
     * became durable is forwarded below. */
    journal_submit(w->producer);
    durable_ones(w);
    exchange_content_done(w);
    if (w->generation != atomic_load(&w->shared->generation) && !take_over(w))
        log_error("out_of_memory", "worker=%u", w->index);
    exchange_newcomers_done(w); /* by the snapshot that has them */
    exchange_queue_turn(w);
    struct connection *c;
    while ((c = connection_take_kicked(w)) != NULL)
        connection_work(c);
    if (atomic_load(&w->shared->draining))
        drain(w);
    journal_submit(w->producer);
}

static void tick(struct loop_timer *timer)
{
    struct worker *w =
        (struct worker *)((char *)timer - offsetof(struct worker, tick));
    if (loop_wall(w->loop) / SECOND_US % REFUSALS_EVERY_S == 0 &&
        visitors_unreported(w->visitors) > 0)
        visitors_flush(w->visitors, report_refusal, w);
    if (w->index == 0)
        queue_sweep(w->shared->queue, loop_now(w->loop));
    loop_timer_set(w->loop, timer, loop_now(w->loop) + SECOND_US);
}

/* --- Life and death ------------------------------------------------------ */

/* The journal and the queue say so, from their threads. */
static void wake_loop(void *context)
{
    loop_wake(context);
}

static void content_woke(void *context)
{
    loop_wake(((struct worker *)context)->loop);
}

static void *run(void *argument)
{
    struct worker *w = argument;
    loop_run(w->loop);
    journal_submit(w->producer);
    return NULL;
}

static void free_worker(struct worker **worker)
{
    struct worker *w = *worker;
    *worker = NULL;
    if (w->loop != NULL)
        close_listeners(w);
    while (w->connections != NULL)
        connection_abort(w->connections);
    transfer_loop_free(&w->transfers);
    exchange_pool_free(w);
    journal_producer_free(&w->producer);
    policy_workspace_free(&w->workspace);
    crypto_hash_free(&w->hash);
    crypto_mac_free(&w->digest);
    crypto_aead_free(&w->aead);
    loop_free(&w->loop);
    visitors_free(&w->visitors);
    identity_cache_free(&w->identities);
    snapshot_unref(&w->snapshot);
    tls_context_unref(&w->tls);
    buf_fini(&w->entry);
    buf_fini(&w->wire);
    buf_fini(&w->plain);
    buf_fini(&w->box);
    free(w->scratch);
    free(w);
}

static enum err add_listeners(struct worker *w, const int *fds, size_t fd_count)
{
    for (size_t i = 0; i < fd_count && i < WORKER_LISTENERS; i++) {
        struct worker_listener *listener = &w->listeners[i];
        listener->worker = w;
        listener->fd = fds[i];
        listener->name = str_from(
            i < w->settings->listen_count ? w->settings->listen[i] : "");
        listener->source.ready = accept_ready;
        w->listener_count = i + 1;
        enum err err =
            loop_add(w->loop, listener->fd, EPOLLIN, &listener->source);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

enum err worker_start(unsigned index, struct worker_shared *shared,
    const int *fds, size_t fd_count, struct worker **out, struct errinfo *info)
{
    const struct settings *s = shared->settings;
    struct transfer_timeouts timeouts = {
        .connect_us = s->connect_timeout_ms * 1000,
        .first_byte_us = s->first_byte_timeout_ms * 1000,
        .stall_us = s->stall_timeout_ms * 1000,
        .idle_us = s->engine_idle_ms * 1000,
    };
    struct worker *w = aligned_alloc(64, (sizeof(*w) + 63) / 64 * 64);
    if (w == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    memset(w, 0, sizeof(*w));
    w->index = index;
    w->shared = shared;
    w->settings = s;
    w->hook.turn = turn;
    w->tick.expired = tick;
    w->kept.wake = content_woke;
    w->kept.context = w;
    buf_init(&w->entry, 256 * 1024);
    buf_init(&w->wire, (size_t)s->max_answer_bytes + (1u << 20));
    buf_init(&w->plain, SEAL_PLAIN_MAX);
    buf_init(&w->box, 2 * SEAL_PLAIN_MAX);
    w->scratch = malloc(WORKER_SCRATCH);
    w->workspace = policy_workspace_new();
    w->hash = crypto_hash_new();
    w->aead = crypto_aead_new();
    w->visitors = visitors_new();
    w->identities = identity_cache_new();
    enum err err = ERR_NOMEM;
    if (w->scratch != NULL && w->workspace != NULL && w->hash != NULL &&
        w->aead != NULL && w->visitors != NULL && w->identities != NULL)
        err = loop_new(&w->loop, info);
    w->newcomers =
        (struct newcomers_inbox){.wake = wake_loop, .context = w->loop};
    w->mailbox = (struct queue_mailbox){.wake = wake_loop, .context = w->loop};
    if (err == ERR_OK)
        err = transfer_loop_new(w->loop, &timeouts, &w->transfers, info);
    if (err == ERR_OK)
        err = journal_producer_new(
            shared->journal, PRODUCER_MAX, wake_loop, w->loop, &w->producer);
    if (err == ERR_OK)
        err = take_over(w) ? ERR_OK : ERR_NOMEM;
    if (err == ERR_OK)
        err = add_listeners(w, fds, fd_count);
    if (err == ERR_OK) {
        loop_add_hook(w->loop, &w->hook);
        loop_timer_set(w->loop, &w->tick, clock_monotonic() + SECOND_US);
        char name[16];
        int failure = pthread_create(&w->thread, NULL, run, w);
        snprintf(name, sizeof(name), "worker-%u", index % 1000000);
        if (failure == 0)
            pthread_setname_np(w->thread, name);
        if (failure != 0)
            err = errinfo_set(info, ERR_IO, "cannot start worker %u: %s", index,
                strerror(failure));
    }
    if (err != ERR_OK) {
        free_worker(&w);
        if (info != NULL && info->text[0] == '\0')
            return errinfo_set(
                info, err, "cannot start worker %u: %s", index, err_name(err));
        return err;
    }
    *out = w;
    return ERR_OK;
}

void worker_join(struct worker **worker)
{
    if (*worker == NULL)
        return;
    pthread_join((*worker)->thread, NULL);
    free_worker(worker);
}
