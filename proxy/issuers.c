/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/issuers.c - the fetching thread, and what workers see of it. The mutex
 * is held for looking and swapping only, never over a file or a request. */
#include "proxy/issuers.h"

#include "lib/arena.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/http_client.h"
#include "lib/json.h"
#include "lib/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define REFRESH_EVERY_US (5 * MINUTE_US)
#define ASK_EVERY_US (10 * SECOND_US) /* unknown keys: no fetch sooner */
#define RETRY_FIRST_US (2 * SECOND_US)
#define RETRY_MAX_US MINUTE_US
#define KEPT_US DAY_US /* the last good set of an issuer that fails */
#define FETCH_TIMEOUT_US (10 * SECOND_US)
#define DOCUMENT_MAX (256u << 10) /* of discovery */

struct entry {
    struct entry *next;
    struct issuer_source source; /* texts owned */
    struct jwks *jwks;
    uint64_t digest;                      /* of the text that jwks came from */
    int64_t fetched_us, tried_us, due_us; /* CLOCK_MONOTONIC; 0: never */
    int64_t fetched_wall_us;
    unsigned failures;
    bool busy, gone; /* gone: freed by the thread when it comes back */
    char why[256];
};

struct issuers {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct entry *entries;
    _Atomic uint64_t epoch;
    bool stopping;
    pthread_t thread;
};

/* --- Entries ------------------------------------------------------------- */

static void entry_free(struct entry *e)
{
    const char *texts[] = {e->source.name, e->source.issuer,
        e->source.jwks_file, e->source.jwks_url, e->source.ca_file};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        free((void *)(uintptr_t)texts[i]);
    jwks_unref(&e->jwks);
    free(e);
}

static struct entry *entry_new(const struct issuer_source *source)
{
    struct entry *e = calloc(1, sizeof *e);

    if (!e)
        return NULL;
    e->source = (struct issuer_source){.name = strdup(source->name),
        .issuer = strdup(source->issuer),
        .jwks_file = strdup(source->jwks_file),
        .jwks_url = strdup(source->jwks_url),
        .ca_file = strdup(source->ca_file)};
    if (e->source.name && e->source.issuer && e->source.jwks_file &&
        e->source.jwks_url && e->source.ca_file)
        return e;
    entry_free(e);
    return NULL;
}

static bool same(const struct issuer_source *a, const struct issuer_source *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->issuer, b->issuer) == 0 &&
           strcmp(a->jwks_file, b->jwks_file) == 0 &&
           strcmp(a->jwks_url, b->jwks_url) == 0 &&
           strcmp(a->ca_file, b->ca_file) == 0;
}

static struct entry *find(struct issuers *issuers, const char *name)
{
    struct entry *e = issuers->entries;

    while (e && (e->gone || strcmp(e->source.name, name) != 0))
        e = e->next;
    return e;
}

/* --- Fetching ------------------------------------------------------------ */

bool issuers_url_is_safe(const char *url)
{
    static const char *const near[] = {
        "http://localhost", "http://127.0.0.1", "http://[::1]"};

    if (strncmp(url, "https://", 8) == 0)
        return true;
    for (size_t i = 0; i < sizeof near / sizeof near[0]; i++) {
        size_t n = strlen(near[i]);
        if (strncmp(url, near[i], n) == 0 &&
            (url[n] == ':' || url[n] == '/' || url[n] == '\0'))
            /* nothing of the kind of http://localhost:x@elsewhere */
            return strchr(url, '@') == NULL;
    }
    return false;
}

static enum err fetch(const struct issuer_source *source, const char *url,
    size_t most, struct buf *out, struct errinfo *info)
{
    static const char *const headers[] = {"Accept: application/json", NULL};
    struct http_client_request request = {.url = url,
        .headers = headers,
        .ca_file = source->ca_file[0] ? source->ca_file : NULL,
        .timeout_us = FETCH_TIMEOUT_US,
        .max_answer = most};
    struct http_client_answer answer;
    enum err err;

    if (!issuers_url_is_safe(url))
        return errinfo_set(info, ERR_DENIED, "%s is not https", url);
    err = http_client_request(&request, &answer, info);
    if (!err && answer.status != 200)
        err = errinfo_set(
            info, ERR_IO, "%s answered with %d", url, answer.status);
    if (!err) {
        buf_append_str(out, buf_str(&answer.body));
        if (out->failed)
            err = errinfo_set(info, ERR_LIMIT, "%s: too large", url);
    }
    http_client_answer_fini(&answer);
    return err;
}

/* OpenID Connect Discovery 1.0, sections 4 and 4.3: the document must say that
 * it is this issuer's, or one issuer could speak for another. */
static enum err read_discovery(const struct issuer_source *source,
    struct str text, struct buf *url, struct errinfo *info)
{
    struct arena *arena = arena_new(16384, 8u << 20);
    struct json json;
    struct str issuer = STR(""), keys = STR("");
    enum err err = ERR_OK;
    uint32_t at;

    if (!arena)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    if (json_parse(arena, text, NULL, &json, NULL) != ERR_OK)
        err = errinfo_set(info, ERR_SYNTAX,
            "the discovery document of %s is no JSON", source->issuer);
    if (!err && (at = json_find(&json, 0, STR("issuer"))) != JSON_NONE &&
        json_text(&json, at, arena, &issuer) != ERR_OK)
        issuer = STR("");
    if (!err && (at = json_find(&json, 0, STR("jwks_uri"))) != JSON_NONE &&
        json_text(&json, at, arena, &keys) != ERR_OK)
        keys = STR("");
    if (!err && !str_equal(issuer, str_from(source->issuer)))
        err = errinfo_set(info, ERR_DENIED,
            "the discovery document of %s is that of \"%.*s\"", source->issuer,
            STR_ARG(issuer));
    if (!err && (keys.len == 0 || memchr(keys.ptr, '\0', keys.len)))
        err = errinfo_set(info, ERR_SYNTAX,
            "the discovery document of %s names no jwks_uri", source->issuer);
    if (!err)
        buf_append_str(url, keys);
    arena_free(&arena);
    return err;
}

static enum err find_url(
    const struct issuer_source *source, struct buf *url, struct errinfo *info)
{
    struct str issuer = str_from(source->issuer);
    struct buf where, text;
    enum err err;

    if (source->jwks_url[0]) {
        buf_append_str(url, str_from(source->jwks_url));
        return ERR_OK;
    }
    buf_init(&where, 4096);
    buf_init(&text, DOCUMENT_MAX);
    if (str_ends(issuer, STR("/")))
        issuer.len--;
    buf_append_str(&where, issuer);
    buf_append_str(&where, STR("/.well-known/openid-configuration"));
    err = fetch(source, buf_cstr(&where), DOCUMENT_MAX, &text, info);
    if (!err)
        err = read_discovery(source, buf_str(&text), url, info);
    buf_fini(&where);
    buf_fini(&text);
    return err;
}

static enum err get_text(
    const struct issuer_source *source, struct buf *text, struct errinfo *info)
{
    struct buf url;
    enum err err;

    if (source->jwks_file[0])
        return file_read(source->jwks_file, text, info);
    buf_init(&url, 4096);
    err = find_url(source, &url, info);
    if (!err)
        err = fetch(source, buf_cstr(&url), JWKS_TEXT_MAX, text, info);
    buf_fini(&url);
    return err;
}

static enum err get_keys(const struct issuer_source *source, struct jwks **out,
    uint64_t *digest, struct errinfo *info)
{
    struct jwks *jwks = NULL;
    struct buf text;
    enum err err;

    buf_init(&text, JWKS_TEXT_MAX);
    err = get_text(source, &text, info);
    if (!err)
        err = jwks_parse(buf_str(&text), &jwks, info);
    /* A set without a single key is a broken deployment, not a decision: the
     * last good one stays. Revoking an issuer is done here, by its row. */
    if (!err && jwks_count(jwks) == 0)
        err = errinfo_set(info, ERR_INVALID,
            "the key set has no key that could be used%s%s",
            jwks_why(jwks)[0] ? ": " : "", jwks_why(jwks));
    if (!err) {
        *digest = str_hash(buf_str(&text));
        *out = jwks;
        jwks = NULL;
    }
    jwks_unref(&jwks);
    buf_fini(&text);
    return err;
}

enum err issuers_read_file(
    const char *path, struct jwks **out, struct errinfo *info)
{
    struct buf text;
    enum err err;

    buf_init(&text, JWKS_TEXT_MAX);
    err = file_read(path, &text, info);
    if (!err && (err = jwks_parse(buf_str(&text), out, info)))
        err = errinfo_prefix(info, err, "%s", path);
    buf_fini(&text);
    return err;
}

/* --- The thread ---------------------------------------------------------- */

static void succeeded(struct issuers *issuers, struct entry *e,
    struct jwks *jwks, uint64_t digest)
{
    int64_t now = clock_monotonic();

    if (e->failures > 0)
        log_info("issuer_back", "issuer=%s", LOG_QUOTE(e->source.name));
    e->fetched_us = now;
    e->fetched_wall_us = clock_now();
    e->due_us = now + REFRESH_EVERY_US;
    e->failures = 0;
    e->why[0] = '\0';
    if (e->jwks && e->digest == digest) {
        jwks_unref(&jwks);
        return;
    }
    jwks_unref(&e->jwks);
    e->jwks = jwks;
    e->digest = digest;
    atomic_fetch_add(&issuers->epoch, 1);
    log_info("issuer_keys", "issuer=%s keys=%zu passed_over=%zu",
        LOG_QUOTE(e->source.name), jwks_count(jwks), jwks_passed_over(jwks));
}

static void failed(struct entry *e, const struct errinfo *info)
{
    int64_t now = clock_monotonic(), wait = RETRY_FIRST_US;

    for (unsigned i = 0; i < e->failures && wait < RETRY_MAX_US; i++)
        wait *= 2;
    e->due_us = now + (wait < RETRY_MAX_US ? wait : RETRY_MAX_US);
    if (e->failures++ == 0)
        log_warn("issuer_failed", "issuer=%s why=%s", LOG_QUOTE(e->source.name),
            LOG_QUOTE(info->text));
    size_t n = strnlen(info->text, sizeof e->why - 1);
    memcpy(e->why, info->text, n);
    e->why[n] = '\0';
}

static void unlink_entry(struct issuers *issuers, struct entry *e)
{
    struct entry **at = &issuers->entries;

    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    entry_free(e);
}

/* With the mutex; lets go of it while it fetches. */
static void refresh_locked(struct issuers *issuers, struct entry *e)
{
    struct errinfo info = {0};
    struct jwks *jwks = NULL;
    uint64_t digest = 0;
    enum err err;

    e->busy = true;
    pthread_mutex_unlock(&issuers->mutex);
    err = get_keys(&e->source, &jwks, &digest, &info);
    pthread_mutex_lock(&issuers->mutex);
    e->busy = false;
    e->tried_us = clock_monotonic();
    if (err)
        failed(e, &info);
    else
        succeeded(issuers, e, jwks, digest);
    if (e->gone)
        unlink_entry(issuers, e);
}

static struct entry *next_due(struct issuers *issuers)
{
    struct entry *first = NULL;

    for (struct entry *e = issuers->entries; e; e = e->next)
        if (!e->gone && (!first || e->due_us < first->due_us))
            first = e;
    return first;
}

static void *run(void *context)
{
    struct issuers *issuers = context;

    pthread_mutex_lock(&issuers->mutex);
    while (!issuers->stopping) {
        struct entry *e = next_due(issuers);
        if (e && e->due_us <= clock_monotonic()) {
            refresh_locked(issuers, e);
            continue;
        }
        int64_t until = e ? e->due_us : clock_monotonic() + HOUR_US;
        struct timespec due = {
            .tv_sec = until / SECOND_US, .tv_nsec = until % SECOND_US * 1000};
        pthread_cond_timedwait(&issuers->changed, &issuers->mutex, &due);
    }
    pthread_mutex_unlock(&issuers->mutex);
    return NULL;
}

enum err issuers_start(struct issuers **out, struct errinfo *info)
{
    struct issuers *issuers = calloc(1, sizeof *issuers);
    pthread_condattr_t attributes;

    if (!issuers)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    pthread_mutex_init(&issuers->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&issuers->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    atomic_init(&issuers->epoch, 1);
    if (pthread_create(&issuers->thread, NULL, run, issuers) != 0) {
        pthread_cond_destroy(&issuers->changed);
        pthread_mutex_destroy(&issuers->mutex);
        free(issuers);
        return errinfo_set(
            info, ERR_NOMEM, "the thread that fetches keys cannot start");
    }
    *out = issuers;
    return ERR_OK;
}

void issuers_stop(struct issuers **issuers)
{
    struct issuers *i = *issuers;

    if (!i)
        return;
    *issuers = NULL;
    pthread_mutex_lock(&i->mutex);
    i->stopping = true;
    pthread_cond_signal(&i->changed);
    pthread_mutex_unlock(&i->mutex);
    pthread_join(i->thread, NULL);
    while (i->entries) {
        struct entry *e = i->entries;
        i->entries = e->next;
        entry_free(e);
    }
    pthread_cond_destroy(&i->changed);
    pthread_mutex_destroy(&i->mutex);
    free(i);
}

/* --- From outside -------------------------------------------------------- */

static void drop_others_locked(
    struct issuers *issuers, const struct issuer_source *sources, size_t count)
{
    struct entry *next;

    for (struct entry *e = issuers->entries; e; e = next) {
        bool wanted = false;
        next = e->next;
        for (size_t i = 0; i < count; i++)
            wanted |= same(&e->source, &sources[i]);
        if (wanted || e->gone)
            continue;
        atomic_fetch_add(&issuers->epoch, 1);
        if (e->busy)
            e->gone = true;
        else
            unlink_entry(issuers, e);
    }
}

enum err issuers_watch(struct issuers *issuers,
    const struct issuer_source *sources, size_t count, struct errinfo *info)
{
    enum err err = ERR_OK;

    pthread_mutex_lock(&issuers->mutex);
    drop_others_locked(issuers, sources, count);
    for (size_t i = 0; i < count; i++) {
        struct entry *e;
        if (find(issuers, sources[i].name))
            continue;
        e = entry_new(&sources[i]);
        if (!e) {
            err = errinfo_set(info, ERR_NOMEM, "out of memory");
            break;
        }
        e->next = issuers->entries;
        issuers->entries = e;
    }
    pthread_cond_signal(&issuers->changed);
    pthread_mutex_unlock(&issuers->mutex);
    return err;
}

uint64_t issuers_epoch(const struct issuers *issuers)
{
    return atomic_load_explicit(&issuers->epoch, memory_order_acquire);
}

struct jwks *issuers_keys(struct issuers *issuers, const char *name)
{
    struct jwks *jwks = NULL;
    struct entry *e;

    pthread_mutex_lock(&issuers->mutex);
    e = find(issuers, name);
    if (e && e->jwks && clock_monotonic() - e->fetched_us < KEPT_US)
        jwks = jwks_ref(e->jwks);
    pthread_mutex_unlock(&issuers->mutex);
    return jwks;
}

bool issuers_ask(struct issuers *issuers, const char *name)
{
    bool coming = false;
    struct entry *e;
    int64_t now = clock_monotonic();

    pthread_mutex_lock(&issuers->mutex);
    e = find(issuers, name);
    if (e && e->busy) {
        coming = true;
    } else if (e && now - e->tried_us >= ASK_EVERY_US) {
        coming = true;
        e->due_us = now;
        pthread_cond_signal(&issuers->changed);
    }
    pthread_mutex_unlock(&issuers->mutex);
    return coming;
}

size_t issuers_status(
    struct issuers *issuers, struct issuer_status *out, size_t max)
{
    size_t count = 0;

    pthread_mutex_lock(&issuers->mutex);
    for (const struct entry *e = issuers->entries; e; e = e->next) {
        if (e->gone)
            continue;
        if (count < max) {
            struct issuer_status *s = &out[count];
            *s = (struct issuer_status){.has_keys = e->jwks != NULL,
                .key_count = e->jwks ? jwks_count(e->jwks) : 0,
                .fetched_us = e->fetched_wall_us,
                .failing = e->failures > 0};
            size_t n = strnlen(e->source.name, sizeof s->name - 1);
            memcpy(s->name, e->source.name, n);
            memcpy(s->why, e->why, sizeof s->why);
        }
        count++;
    }
    pthread_mutex_unlock(&issuers->mutex);
    return count;
}
