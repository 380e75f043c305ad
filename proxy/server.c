/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/server.c - the main thread: start in order, wait for signals, stop in
 * the opposite order.
 *
 * Start: settings, control state (recovery, replay), quota ledger from the
 * replay, snapshot, TLS, pool, workers, admin. The listening sockets are bound
 * before the workers run and every worker has its own (SO_REUSEPORT). */
#include "proxy/server.h"

#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/must.h"
#include "proxy/address.h"
#include "proxy/admin/admin.h"
#include "proxy/admin/listener.h"
#include "proxy/log_budget.h"
#include "proxy/emergency.h"
#include "proxy/server_priv.h"
#include "proxy/shadow.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define SEALING_EVERY_US HOUR_US
#define SEEN_WITHIN_US SECOND_US
#define RETENTION_EVERY_US DAY_US

/* --- Publishing ---------------------------------------------------------- */

static void watch_engines(struct server *s, const struct snapshot *snapshot)
{
    size_t count = snapshot_engine_count(snapshot);
    struct errinfo info = {0};
    const struct engine_target **targets = calloc(count + 1, sizeof(*targets));
    if (targets == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        targets[i] = snapshot_engine(snapshot, i);
    if (pool_watch(s->shared.pool, targets, count, &info) != ERR_OK)
        log_error("engines_not_watched", "reason=\"%s\"", info.text);
    free(targets);
}

static void watch_issuers(struct server *s, const struct snapshot *snapshot)
{
    size_t count = snapshot_issuer_count(snapshot);
    struct errinfo info = {0};
    struct issuer_source *sources = calloc(count + 1, sizeof(*sources));
    if (sources == NULL)
        return;
    for (size_t i = 0; i < count; i++) {
        const struct snapshot_issuer *issuer = snapshot_issuer(snapshot, i);
        sources[i] = (struct issuer_source){.name = issuer->name,
            .issuer = issuer->issuer,
            .jwks_file = issuer->jwks_file,
            .jwks_url = issuer->jwks_url,
            .ca_file = issuer->ca_file};
    }
    if (issuers_watch(s->shared.issuers, sources, count, &info) != ERR_OK)
        log_error("issuers_not_watched", "reason=\"%s\"", info.text);
    free(sources);
}

/* What becomes of the OCSP response of a certificate; nothing without one. */
static void say_staple(const struct tls_context *tls)
{
    char why[512], when[CLOCK_TEXT_LENGTH];
    int64_t until_us;
    tls_context_staple(tls, why, &until_us);
    if (why[0] != '\0') {
        log_warn("ocsp_not_stapled", "reason=%s", LOG_QUOTE(why));
    } else if (until_us > 0) {
        clock_format(when, until_us);
        log_info("ocsp_stapled", "until=%.*s", (int)sizeof(when), when);
    }
}

/* How many workers have not taken the generation over when all have, or
 * SEEN_WITHIN_US have passed. A worker takes a snapshot over once a turn, which
 * is milliseconds; one that does not is stuck, and serves nobody either. */
static size_t wait_seen(struct server *s, uint64_t generation)
{
    int64_t due = clock_monotonic() + SEEN_WITHIN_US;
    struct timespec until = {
        .tv_sec = due / SECOND_US, .tv_nsec = (due % SECOND_US) * 1000};
    size_t behind = 0;
    pthread_mutex_lock(&s->shared.mutex);
    for (size_t i = 0; i < s->worker_count; i++) {
        while (atomic_load(&s->workers[i]->seen_generation) < generation) {
            if (pthread_cond_clockwait(&s->shared.seen, &s->shared.mutex,
                    CLOCK_MONOTONIC, &until) == ETIMEDOUT) {
                behind +=
                    atomic_load(&s->workers[i]->seen_generation) < generation;
                break;
            }
        }
    }
    pthread_mutex_unlock(&s->shared.mutex);
    return behind;
}

/* Takes over either where it is not NULL; returns when every worker has. An
 * error says that some have not: what was taken away could still be used. */
static enum err publish(struct server *s, struct snapshot *snapshot,
    struct tls_context *tls, struct errinfo *info)
{
    struct snapshot *old = NULL;
    struct tls_context *old_tls = NULL;
    if (snapshot != NULL)
        shadow_follow(s->shared.shadow, snapshot);
    pthread_mutex_lock(&s->shared.mutex);
    if (snapshot != NULL) {
        old = s->shared.snapshot;
        s->shared.snapshot = snapshot;
    }
    if (tls != NULL) {
        old_tls = s->shared.tls;
        s->shared.tls = tls;
    }
    uint64_t generation = atomic_fetch_add(&s->shared.generation, 1) + 1;
    pthread_mutex_unlock(&s->shared.mutex);
    for (size_t i = 0; i < s->worker_count; i++)
        worker_wake(s->workers[i]);
    size_t behind = wait_seen(s, generation);
    snapshot_unref(&old);
    tls_context_unref(&old_tls);
    if (behind == 0)
        return ERR_OK;
    log_error("workers_behind", "count=%zu of=%zu", behind, s->worker_count);
    return errinfo_set(info, ERR_TIMEOUT,
        "%zu of %zu workers have not taken it over within %lld s: they are "
        "stuck, and what they serve before they do is judged as before; if "
        "that lasts, start the server anew",
        behind, s->worker_count, (long long)(SEEN_WITHIN_US / SECOND_US));
}

/* Rows that are not in the snapshot: others outside are told of the log. */
#define OUTSIDE (CHANGED_ANCHORS | CHANGED_SINKS | CHANGED_WITNESSES)

static enum err load_outside(
    struct server *s, unsigned what, struct errinfo *info)
{
    enum err err = ERR_OK;
    if (what & CHANGED_ANCHORS)
        err = server_anchors_load(s, info);
    if (err == ERR_OK && (what & CHANGED_SINKS))
        err = server_sinks_load(s, info);
    if (err == ERR_OK && (what & CHANGED_WITNESSES))
        err = server_witnesses_load(s, info);
    return err;
}

/* Inside the control's lock: control_on_change, reload, the hourly look. */
static enum err rebuild(void *context, unsigned what, struct errinfo *info)
{
    struct server *s = context;
    struct snapshot *fresh;
    if (what & OUTSIDE) {
        enum err failed = load_outside(s, what, info);
        if (failed != ERR_OK || !(what & ~OUTSIDE))
            return failed;
    }
    struct snapshot_sources sources = {.control = control_db(s->control),
        .persons = control_persons(s->control),
        .keyring = control_keyring(s->control),
        .key_usage = control_key_usage(s->control),
        .now_us = clock_now()};
    size_t withdrawn = 0;
    enum err err = ERR_OK;
    if ((what & (CHANGED_KEYS | CHANGED_DIRECTORY)) &&
        s->shared.snapshot != NULL)
        err = snapshot_withdraw(s->shared.snapshot, &sources, &withdrawn, info);
    /* Streams are cut now. Whoever is behind is found again below. */
    if (withdrawn > 0)
        (void)publish(s, NULL, NULL, NULL);
    if (err == ERR_OK)
        err = snapshot_build(&sources, s->shared.snapshot, what, &fresh, info);
    if (err != ERR_OK)
        return err;
    if (what & CHANGED_MODELS)
        watch_engines(s, fresh);
    if (what & CHANGED_ISSUERS)
        watch_issuers(s, fresh);
    return publish(s, fresh, NULL, info);
}

/* --- What the admin plane asks ------------------------------------------- */

static struct snapshot *current_snapshot(void *context)
{
    struct server *s = context;
    pthread_mutex_lock(&s->shared.mutex);
    struct snapshot *snapshot = snapshot_ref(s->shared.snapshot);
    pthread_mutex_unlock(&s->shared.mutex);
    return snapshot;
}

static void forget_subject(void *context, struct str subject)
{
    content_forget(((struct server *)context)->shared.content, subject);
}

static struct quota_ledger *the_ledger(void *context)
{
    return ((struct server *)context)->shared.ledger;
}

static void write_shadow(void *context, struct buf *out)
{
    struct server *s = context;
    struct snapshot *snapshot = current_snapshot(s);
    shadow_write(s->shared.shadow, snapshot, out);
    snapshot_unref(&snapshot);
}

static struct jwks *keys_of_issuer(void *context, const char *name)
{
    return issuers_keys(((struct server *)context)->shared.issuers, name);
}

/* --- Listening ----------------------------------------------------------- */

static enum err bind_one(struct server *s, struct str text, int *out,
    struct sockaddr_storage *bound, struct errinfo *info)
{
    struct sockaddr_storage address;
    socklen_t length;
    int one = 1;
    enum err err = address_parse(text, &address, &length, info);
    if (err != ERR_OK)
        return err;
    int fd = socket(
        address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errinfo_errno(info, ERR_IO, "socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    if (address.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    if (bind(fd, (const struct sockaddr *)&address, length) != 0 ||
        listen(fd, 4096) != 0) {
        err = errinfo_errno(info, ERR_IO,
            "cannot listen on %.*s (setting `listen` in %s/bailiff.conf)",
            STR_ARG(text), s->dir);
        close(fd);
        return err;
    }
    length = sizeof(*bound);
    memset(bound, 0, sizeof(*bound));
    getsockname(fd, (struct sockaddr *)bound, &length);
    *out = fd;
    return ERR_OK;
}

/* fds[worker][listener]. The first bind of a port 0 chooses it for all. */
static enum err bind_all(struct server *s, struct errinfo *info)
{
    char text[ADDRESS_TEXT_MAX];
    for (size_t k = 0; k < s->settings->listen_count; k++) {
        struct str wanted = str_from(s->settings->listen[k]);
        for (size_t i = 0; i < s->worker_count; i++) {
            struct sockaddr_storage bound;
            enum err err = bind_one(s, wanted, &s->fds[i][k], &bound, info);
            if (err != ERR_OK)
                return err;
            address_format(&bound, text, sizeof(text));
            wanted = str_from(text);
        }
        log_info("listening", "address=%s", text);
    }
    return ERR_OK;
}

/* --- Starting ------------------------------------------------------------ */

static void log_failed(void *context, const char *why)
{
    struct server *s = context;
    uint64_t one = 1;
    log_error("audit_log_failed", "reason=\"%s\"", why);
    atomic_store(&s->failed, true);
    if (write(s->event_fd, &one, sizeof(one)) < 0)
        abort(); /* fail closed, come what may */
}

static void engine_changed(
    void *context, const char *engine, bool up, const char *why)
{
    struct server *s = context;
    struct control_actor actor = {
        .id = "system", .role = "admin", .method = "system"};
    struct errinfo info = {0};
    struct audit_act act = {.type = up ? STR("engine.up") : STR("engine.down"),
        .object_kind = STR("engine"),
        .object = str_from(engine),
        .reason = str_from(why)};
    if (up)
        log_info("engine_up", "engine=%s", engine);
    else
        log_warn("engine_down", "engine=%s reason=\"%s\"", engine, why);
    if (atomic_load(&s->stopping))
        return;
    if (control_event(s->control, &actor, &act, &info) != ERR_OK)
        log_error("event_not_recorded", "reason=\"%s\"", info.text);
}

static enum err restore_ledger(struct server *s, struct errinfo *info)
{
    const struct audit_replayed *replayed =
        audit_log_replayed(control_log(s->control));
    for (size_t i = 0; i < replayed->bucket_count; i++) {
        const struct audit_bucket *b = &replayed->buckets[i];
        enum err err = b->rate
                           ? quota_restore_rate(s->shared.ledger,
                                 str_from(b->id), b->arrival_us, b->step)
                           : quota_restore_window(s->shared.ledger,
                                 str_from(b->id), b->window_start_us, b->used);
        if (err != ERR_OK)
            return errinfo_set(info, err, "quota %s cannot be restored", b->id);
    }
    return ERR_OK;
}

static enum err load_settings(struct server *s, struct settings **out)
{
    struct buf findings;
    buf_init(&findings, 64 * 1024);
    enum err err = settings_load(s->dir, out, &findings);
    if (findings.len > 0)
        fprintf(stderr, "%.*s", STR_ARG(buf_str(&findings)));
    buf_fini(&findings);
    return err;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
        limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void set_up_log(const struct settings *settings)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    enum log_level level = LOG_INFO;
    enum log_format format =
        getenv("JOURNAL_STREAM") != NULL ? LOG_JOURNAL : LOG_TEXT;
    for (int i = 0; i < 4; i++) {
        if (strcmp(settings->log_level, levels[i]) == 0)
            level = (enum log_level)i;
    }
    if (strcmp(settings->log_format, "json") == 0)
        format = LOG_JSON;
    else if (strcmp(settings->log_format, "text") == 0)
        format = LOG_TEXT;
    log_setup(level, format);
}

static enum err open_state(struct server *s, struct errinfo *info)
{
    struct control_options options = {
        .dir = s->dir, .segment_bytes = (uint64_t)s->settings->segment_bytes};
    enum err err = control_open(&options, &s->control, info);
    if (err == ERR_OK)
        err = server_anchors_compare(s, info);
    if (err == ERR_OK)
        err = restore_ledger(s, info);
    if (err == ERR_OK)
        err = pool_new(engine_changed, s, &s->shared.pool, info);
    if (err == ERR_OK)
        err = issuers_start(&s->shared.issuers, info);
    if (err == ERR_OK)
        err = control_start(s->control, log_failed, s, info);
    if (err == ERR_OK)
        err = content_store_new(s->control, &s->shared.content, info);
    if (err == ERR_OK)
        err = newcomers_start(s->control, &s->shared.newcomers, info);
    if (err != ERR_OK)
        return err;
    s->shared.journal = audit_log_journal(control_log(s->control));
    err = emergency_expire(s->control, clock_now(), info);
    if (err != ERR_OK)
        return err;
    control_lock(s->control);
    err = rebuild(s, CHANGED_ALL, info);
    control_unlock(s->control);
    control_on_change(s->control, rebuild, s);
    if (err == ERR_OK)
        err = tls_context_new(s->settings->certificate,
            s->settings->certificate_key, s->settings->certificate_ocsp,
            &s->shared.tls, info);
    if (err == ERR_OK)
        say_staple(s->shared.tls);
    return err;
}

static enum err start_workers(struct server *s, struct errinfo *info)
{
    size_t wanted = s->worker_count;
    enum err err = bind_all(s, info);
    s->worker_count = 0;
    for (size_t i = 0; err == ERR_OK && i < wanted; i++) {
        err = worker_start((unsigned)i, &s->shared, s->fds[i],
            s->settings->listen_count, &s->workers[i], info);
        if (err == ERR_OK)
            s->worker_count++;
    }
    return err;
}

static enum err start(struct server *s, struct errinfo *info)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    s->worker_count = s->settings->workers > 0
                          ? (size_t)s->settings->workers
                          : (size_t)(cores > 0 ? cores : 1);
    if (s->worker_count > SERVER_WORKERS_MAX)
        s->worker_count = SERVER_WORKERS_MAX;
    if (s->settings->listen_count > WORKER_LISTENERS)
        return errinfo_set(info, ERR_LIMIT,
            "bailiff.conf: at most %d addresses to listen on",
            WORKER_LISTENERS);
    size_t workers = s->worker_count;
    s->worker_count = 0; /* none runs yet: publishing waits for nobody */
    enum err err = open_state(s, info);
    if (err != ERR_OK)
        return err;
    s->worker_count = workers;
    err = server_watch_make(s, info);
    if (err == ERR_OK)
        err = start_workers(s, info);
    if (err == ERR_OK)
        err = pool_start(s->shared.pool, info);
    if (err == ERR_OK)
        err = server_anchors_start(s, info);
    if (err == ERR_OK)
        err = server_sinks_start(s, info);
    if (err == ERR_OK)
        err = server_witnesses_start(s, info);
    if (err == ERR_OK)
        err = watch_start(s->shared.watch, info);
    if (err == ERR_OK)
        err = admin_new(s->control, &s->admin_server, &s->admin, info);
    if (err == ERR_OK)
        err = listener_start(s->admin, s->settings, &s->listener, info);
    return err;
}

/* --- Signals ------------------------------------------------------------- */

/* Addresses, sizes and threads need a restart; what can change while running
 * is taken over, and nothing is when anything is wrong. */
static void reload(struct server *s)
{
    struct settings *fresh = NULL;
    struct tls_context *tls = NULL, *admin_tls = NULL;
    struct errinfo info = {0};
    enum err err = load_settings(s, &fresh);
    if (err == ERR_OK)
        err = tls_context_new(fresh->certificate, fresh->certificate_key,
            fresh->certificate_ocsp, &tls, &info);
    if (err == ERR_OK && listener_door_port(s->listener) != 0)
        err = tls_context_new(fresh->admin_certificate, fresh->admin_key,
            fresh->admin_ocsp, &admin_tls, &info);
    if (err == ERR_OK) {
        control_lock(s->control);
        err = rebuild(s, CHANGED_ALL, &info);
        control_unlock(s->control);
    }
    if (err != ERR_OK) {
        log_error("reload_refused", "reason=\"%s\" kept=\"the old state\"",
            info.text[0] != '\0' ? info.text : "see the findings above");
        tls_context_unref(&tls);
        tls_context_unref(&admin_tls);
    } else {
        set_up_log(fresh);
        say_staple(tls);
        if (admin_tls != NULL)
            say_staple(admin_tls);
        (void)publish(s, NULL, tls, NULL);
        if (admin_tls != NULL)
            listener_set_tls(s->listener, admin_tls);
        log_info("reloaded", "certificate=%s", fresh->certificate);
    }
    settings_free(&fresh);
}

/* Next month's sealing keys are made before anybody needs them. */
static void look_at_sealing(struct server *s)
{
    struct errinfo info = {0};
    control_lock(s->control);
    if (rebuild(s, CHANGED_SEALING, &info) != ERR_OK)
        log_error("sealing_keys_not_made", "reason=\"%s\"", info.text);
    control_unlock(s->control);
}

/* Revocation lists that were published meanwhile. */
static void look_at_lists(struct server *s)
{
    struct errinfo info = {0};
    struct snapshot *snapshot = current_snapshot(s);
    bool changed = trust_lists_changed(snapshot_trust(snapshot));
    snapshot_unref(&snapshot);
    if (!changed)
        return;
    control_lock(s->control);
    if (rebuild(s, CHANGED_TRUST, &info) != ERR_OK)
        log_error("revocation_lists_not_read", "reason=\"%s\"", info.text);
    else
        log_info("revocation_lists_read", "by=change");
    control_unlock(s->control);
}

/* OCSP responses that were fetched meanwhile, or that are over. */
static void look_at_staples(struct server *s)
{
    pthread_mutex_lock(&s->shared.mutex);
    struct tls_context *tls = tls_context_ref(s->shared.tls);
    pthread_mutex_unlock(&s->shared.mutex);
    struct tls_context *both[] = {tls, listener_tls(s->listener)};
    for (int i = 0; i < 2; i++) {
        if (both[i] != NULL && tls_context_look(both[i]))
            say_staple(both[i]);
        tls_context_unref(&both[i]);
    }
}

/* Most of the time a look at the snapshot is all it takes. */
static void look_at_emergencies(struct server *s)
{
    struct snapshot *snapshot = current_snapshot(s);
    struct errinfo info = {0};
    int64_t now = clock_now();
    bool due = false;
    for (size_t i = 0; i < snapshot_emergency_count(snapshot); i++)
        due |= snapshot_emergency(snapshot, i)->expires_us <= now;
    snapshot_unref(&snapshot);
    if (due && emergency_expire(s->control, now, &info) != ERR_OK)
        log_error("emergency_not_ended", "reason=\"%s\"", info.text);
}

static void save_key_usage(struct server *s)
{
    struct errinfo info = {0};
    if (key_usage_save(control_key_usage(s->control), &info) != ERR_OK)
        log_warn("key_usage_not_saved", "reason=\"%s\"", info.text);
}

static void wait_for_end(struct server *s)
{
    struct pollfd fds[2] = {{.fd = s->signal_fd, .events = POLLIN},
        {.fd = s->event_fd, .events = POLLIN}};
    int64_t sealing_due = clock_monotonic() + SEALING_EVERY_US;
    int64_t usage_due = clock_monotonic() + MINUTE_US;
    int64_t retention_due = clock_monotonic() + MINUTE_US;
    for (;;) {
        int ready = poll(fds, 2, 1000);
        if (ready < 0 && errno != EINTR)
            break;
        if (atomic_load(&s->failed))
            return;
        server_disk_look(s);
        if (clock_monotonic() >= sealing_due) {
            sealing_due += SEALING_EVERY_US;
            look_at_sealing(s);
        }
        if (clock_monotonic() >= retention_due) {
            retention_due += RETENTION_EVERY_US;
            admin_run_retention(s->admin);
        }
        look_at_emergencies(s);
        look_at_staples(s);
        if (clock_monotonic() >= usage_due) {
            usage_due += MINUTE_US;
            save_key_usage(s);
            look_at_lists(s);
        }
        struct signalfd_siginfo signal;
        if (ready <= 0 || !(fds[0].revents & POLLIN) ||
            read(s->signal_fd, &signal, sizeof(signal)) != sizeof(signal))
            continue;
        if (signal.ssi_signo != SIGHUP) {
            log_info("stopping", "signal=%u", signal.ssi_signo);
            return;
        }
        reload(s);
    }
}

/* --- Stopping ------------------------------------------------------------ */

static void *join_worker(void *argument)
{
    worker_join(argument);
    return NULL;
}

/* Lets what runs finish for drain_timeout_ms, then cuts it off. */
static void stop_workers(struct server *s)
{
    pthread_t joiners[SERVER_WORKERS_MAX];
    bool joining[SERVER_WORKERS_MAX] = {false};
    int64_t due = clock_now() + s->settings->drain_timeout_ms * 1000;
    struct timespec until = {
        .tv_sec = due / SECOND_US, .tv_nsec = (due % SECOND_US) * 1000};
    atomic_store(&s->shared.draining, true);
    for (size_t i = 0; i < s->worker_count; i++) {
        worker_wake(s->workers[i]);
        joining[i] =
            pthread_create(&joiners[i], NULL, join_worker, &s->workers[i]) == 0;
    }
    for (size_t i = 0; i < s->worker_count; i++) {
        if (joining[i] && pthread_timedjoin_np(joiners[i], NULL, &until) == 0) {
            joining[i] = false;
            s->workers[i] = NULL;
        }
    }
    atomic_store(&s->shared.closing, true);
    for (size_t i = 0; i < s->worker_count; i++) {
        if (s->workers[i] == NULL)
            continue;
        worker_wake(s->workers[i]);
        if (joining[i])
            pthread_join(joiners[i], NULL);
        else
            worker_join(&s->workers[i]);
    }
    s->worker_count = 0;
}

static void stop(struct server *s)
{
    atomic_store(&s->stopping, true);
    listener_stop(&s->listener);
    watch_halt(s->shared.watch);
    if (s->settings != NULL) /* else nothing was started */
        stop_workers(s);
    if (s->control != NULL)
        watch_free(&s->shared.watch);
    pool_free(&s->shared.pool);
    issuers_stop(&s->shared.issuers);
    admin_free(&s->admin);
    anchors_stop(&s->anchors);
    newcomers_stop(&s->shared.newcomers);
    content_store_stop(&s->shared.content);
    sinks_stop(&s->sinks);
    server_witnesses_stop(s);
    control_close(&s->control);
    queue_free(&s->shared.queue);
    quota_ledger_free(&s->shared.ledger);
    log_budget_free(&s->shared.log_budget);
    shadow_free(&s->shared.shadow);
    snapshot_unref(&s->shared.snapshot);
    tls_context_unref(&s->shared.tls);
    settings_free(&s->settings);
    if (s->signal_fd >= 0)
        close(s->signal_fd);
    if (s->event_fd >= 0)
        close(s->event_fd);
}

static bool block_signals(struct server *s)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return false;
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return s->signal_fd >= 0 && s->event_fd >= 0;
}

int server_run(const char *dir)
{
    struct server *s = calloc(1, sizeof(*s));
    struct errinfo info = {0};
    int code = 1;
    if (s == NULL)
        return 1;
    s->dir = dir;
    s->started_us = clock_now();
    s->signal_fd = s->event_fd = -1;
    pthread_mutex_init(&s->shared.mutex, NULL);
    pthread_cond_init(&s->shared.seen, NULL);
    s->admin_server = (struct admin_server){.context = s,
        .snapshot = current_snapshot,
        .ledger = the_ledger,
        .issuer_keys = keys_of_issuer,
        .shadow = write_shadow,
        .status = server_write_status,
        .metrics = server_write_metrics,
        .forget = forget_subject,
        .outside = server_outside,
        .witnessed_only = server_witnessed_only,
        .ready = server_is_ready};
    raise_descriptor_limit();
    s->shared.ledger = quota_ledger_new();
    s->shared.log_budget = log_budget_new();
    s->shared.shadow = shadow_new();
    enum err err =
        s->shared.ledger == NULL || s->shared.log_budget == NULL ||
                s->shared.shadow == NULL || !block_signals(s)
            ? errinfo_set(&info, ERR_NOMEM, "no memory or descriptors to start")
            : load_settings(s, &s->settings);
    if (err == ERR_OK) {
        s->shared.settings = s->settings;
        set_up_log(s->settings);
        err = crypto_init(&info);
        s->shared.queue = queue_new((size_t)s->settings->queue_length);
        if (err == ERR_OK && s->shared.queue == NULL)
            err = errinfo_set(&info, ERR_NOMEM, "out of memory");
    }
    if (err == ERR_OK)
        err = start(s, &info);
    if (err == ERR_OK) {
        struct snapshot *snapshot = current_snapshot(s);
        log_info("ready", "workers=%zu policy=%lld", s->worker_count,
            (long long)snapshot_policy_version(snapshot));
        snapshot_unref(&snapshot);
        wait_for_end(s);
        if (atomic_load(&s->failed)) {
            /* Whatever a worker still holds can not be recorded any more. */
            log_error("exit", "reason=\"the audit log cannot be written\"");
            _exit(1);
        }
        code = 0;
    } else if (info.text[0] != '\0') {
        fprintf(stderr, "bailiff serve: %s\n", info.text);
    }
    stop(s);
    pthread_cond_destroy(&s->shared.seen);
    pthread_mutex_destroy(&s->shared.mutex);
    free(s);
    return code;
}
