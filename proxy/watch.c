/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/watch.c - see watch.h. */
#include "proxy/watch.h"

#include "lib/clock.h"
#include "lib/http_client.h"
#include "lib/json_write.h"
#include "lib/log.h"
#include "lib/must.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define EVERY_US (2 * SECOND_US)
#define NOTES_MAX 256
/* So often in a row it should have moved and did not. */
#define STALLED_AFTER 5
#define WEBHOOK_TIMEOUT_US (5 * SECOND_US)
#define WEBHOOK_TRIES 3

struct meter {
    char name[WATCH_METER_NAME_MAX];
    uint64_t due, moved; /* when it last moved, or was first seen */
    bool stalled;
};

struct watch {
    struct watch_options options;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool started, stopping;
    struct watch_warning notes[NOTES_MAX];
    size_t note_count;
    uint64_t lost;
    struct meter meters[WATCH_METERS_MAX]; /* the thread's; under the mutex */
    size_t meter_count;
};

void watch_warn(struct watch *watch, const struct watch_warning *warning)
{
    if (watch == NULL)
        return;
    MUST(pthread_mutex_lock(&watch->mutex) == 0);
    if (watch->note_count < NOTES_MAX)
        watch->notes[watch->note_count++] = *warning;
    else
        watch->lost++;
    pthread_cond_signal(&watch->changed);
    MUST(pthread_mutex_unlock(&watch->mutex) == 0);
}

size_t watch_status(struct watch *watch, struct watch_status *out, size_t max)
{
    size_t count = 0;
    if (watch == NULL)
        return 0;
    MUST(pthread_mutex_lock(&watch->mutex) == 0);
    for (; count < watch->meter_count && count < max; count++) {
        memcpy(out[count].name, watch->meters[count].name, sizeof(out->name));
        out[count].stalled = watch->meters[count].stalled;
    }
    MUST(pthread_mutex_unlock(&watch->mutex) == 0);
    return count;
}

static bool is_stopping(void *context)
{
    struct watch *watch = context;
    MUST(pthread_mutex_lock(&watch->mutex) == 0);
    bool stopping = watch->stopping;
    MUST(pthread_mutex_unlock(&watch->mutex) == 0);
    return stopping;
}

/* --- Warnings ------------------------------------------------------------ */

static void write_detail(struct buf *out, const struct watch_warning *w)
{
    struct json_writer json;
    json_write_init(&json, out);
    json_write_object(&json);
    json_write_member_int(&json, STR("amount"), w->amount);
    json_write_member_string(
        &json, STR("dimension"), str_from(quota_dimension_name(w->dimension)));
    if (w->models[0] != '\0')
        json_write_member_string(&json, STR("models"), str_from(w->models));
    json_write_member_int(&json, STR("percent"), w->percent);
    json_write_member_string(&json, STR("quota"), str_from(w->quota));
    json_write_member_string(&json, STR("scope"), str_from(w->scope));
    json_write_member_string(&json, STR("subject"), str_from(w->subject));
    json_write_member_int(&json, STR("used"), w->used);
    json_write_member_string(
        &json, STR("window"), str_from(quota_window_name(w->window)));
    json_write_object_end(&json);
}

/* The same words to the receiver. It may be down; the event is on record. */
static void post(struct watch *watch, struct str detail)
{
    static const char *const headers[] = {
        "Content-Type: application/json", NULL};
    char url[WATCH_URL_MAX] = "";
    struct errinfo info = {0};
    watch->options.webhook(watch->options.context, url);
    if (url[0] == '\0')
        return;
    for (int i = 0; i < WEBHOOK_TRIES && !is_stopping(watch); i++) {
        struct http_client_request request = {.method = "POST",
            .url = url,
            .headers = headers,
            .body = detail,
            .timeout_us = WEBHOOK_TIMEOUT_US,
            .max_answer = 64 * 1024,
            .cancelled = is_stopping,
            .cancel_context = watch};
        struct http_client_answer answer = {0};
        enum err err = http_client_request(&request, &answer, &info);
        int status = answer.status;
        http_client_answer_fini(&answer);
        if (err == ERR_OK && status >= 200 && status < 300)
            return;
        if (err == ERR_OK)
            errinfo_set(&info, ERR_WRONG_STATE, "it answered %d", status);
    }
    log_warn("quota_webhook_failed", "reason=\"%s\"", info.text);
}

static void tell(struct watch *watch, const struct watch_warning *warning)
{
    struct buf detail;
    buf_init(&detail, 8192);
    write_detail(&detail, warning);
    if (!detail.failed) {
        watch->options.event(watch->options.context, STR("system.quota.warned"),
            STR("quota"), str_from(warning->quota), buf_str(&detail));
        post(watch, buf_str(&detail));
    }
    buf_fini(&detail);
}

static void tell_all(struct watch *watch)
{
    struct watch_warning note;
    for (;;) {
        MUST(pthread_mutex_lock(&watch->mutex) == 0);
        bool any = watch->note_count > 0;
        uint64_t lost = watch->lost;
        watch->lost = 0;
        if (any) {
            note = watch->notes[0];
            watch->note_count--;
            memmove(&watch->notes[0], &watch->notes[1],
                watch->note_count * sizeof(note));
        }
        MUST(pthread_mutex_unlock(&watch->mutex) == 0);
        if (lost > 0)
            log_error(
                "quota_warnings_lost", "count=%llu", (unsigned long long)lost);
        if (!any)
            return;
        tell(watch, &note);
    }
}

/* --- Meters -------------------------------------------------------------- */

static struct meter *meter_named(struct watch *watch, const char *name)
{
    for (size_t i = 0; i < watch->meter_count; i++) {
        if (strcmp(watch->meters[i].name, name) == 0)
            return &watch->meters[i];
    }
    if (watch->meter_count == WATCH_METERS_MAX)
        return NULL;
    struct meter *meter = &watch->meters[watch->meter_count++];
    *meter = (struct meter){.stalled = false};
    memcpy(meter->name, name, strnlen(name, sizeof(meter->name) - 1));
    return meter;
}

/* Under the mutex. True: its state has changed. */
static bool judge(struct meter *meter, const struct watch_meter *now)
{
    bool before = meter->stalled;
    if (now->moved != meter->moved) {
        meter->due = now->due;
        meter->moved = now->moved;
        meter->stalled = false;
    } else if (now->due - meter->due >= STALLED_AFTER) {
        meter->stalled = true;
    }
    return before != meter->stalled;
}

static void say_meter(
    struct watch *watch, const struct watch_meter *meter, bool stalled)
{
    char detail[128];
    snprintf(detail, sizeof(detail), "{\"due\":%llu,\"moved\":%llu}",
        (unsigned long long)meter->due, (unsigned long long)meter->moved);
    if (stalled)
        log_error("meter_stalled", "meter=\"%s\" due=%llu moved=%llu",
            meter->name, (unsigned long long)meter->due,
            (unsigned long long)meter->moved);
    else
        log_info("meter_moving", "meter=\"%s\"", meter->name);
    watch->options.event(watch->options.context,
        stalled ? STR("system.meter.stalled") : STR("system.meter.moving"),
        STR("meter"), str_from(meter->name), str_from(detail));
}

static void ask_meters(struct watch *watch)
{
    struct watch_meter *now = calloc(WATCH_METERS_MAX, sizeof(*now));
    if (now == NULL)
        return;
    size_t count = watch->options.meters(watch->options.context, now);
    for (size_t i = 0; i < count && i < WATCH_METERS_MAX; i++) {
        MUST(pthread_mutex_lock(&watch->mutex) == 0);
        struct meter *meter = meter_named(watch, now[i].name);
        bool changed = meter != NULL && judge(meter, &now[i]);
        bool stalled = meter != NULL && meter->stalled;
        MUST(pthread_mutex_unlock(&watch->mutex) == 0);
        if (changed)
            say_meter(watch, &now[i], stalled);
    }
    free(now);
}

/* --- The thread ---------------------------------------------------------- */

static void *run(void *argument)
{
    struct watch *watch = argument;
    int64_t every =
        watch->options.every_us > 0 ? watch->options.every_us : EVERY_US;
    int64_t due = clock_now() + every;
    for (;;) {
        struct timespec until = {
            .tv_sec = due / SECOND_US, .tv_nsec = (due % SECOND_US) * 1000};
        int waited = 0;
        MUST(pthread_mutex_lock(&watch->mutex) == 0);
        while (!watch->stopping && watch->note_count == 0 && waited == 0)
            waited =
                pthread_cond_timedwait(&watch->changed, &watch->mutex, &until);
        bool stopping = watch->stopping;
        MUST(pthread_mutex_unlock(&watch->mutex) == 0);
        tell_all(watch);
        if (stopping)
            return NULL;
        int64_t now = clock_now();
        if (now >= due || now < due - every) { /* or the clock was set */
            ask_meters(watch);
            due = clock_now() + every;
        }
    }
}

struct watch *watch_new(const struct watch_options *options)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return NULL;
    watch->options = *options;
    pthread_mutex_init(&watch->mutex, NULL);
    pthread_cond_init(&watch->changed, NULL);
    return watch;
}

enum err watch_start(struct watch *watch, struct errinfo *info)
{
    int failure = pthread_create(&watch->thread, NULL, run, watch);
    if (failure != 0)
        return errinfo_set(
            info, ERR_IO, "cannot start the watch: %s", strerror(failure));
    watch->started = true;
    return ERR_OK;
}

void watch_halt(struct watch *watch)
{
    if (watch == NULL || !watch->started)
        return;
    MUST(pthread_mutex_lock(&watch->mutex) == 0);
    watch->stopping = true;
    pthread_cond_signal(&watch->changed);
    MUST(pthread_mutex_unlock(&watch->mutex) == 0);
    pthread_join(watch->thread, NULL);
    watch->started = false;
}

void watch_free(struct watch **watch_ref)
{
    struct watch *watch = *watch_ref;
    *watch_ref = NULL;
    if (watch == NULL)
        return;
    watch_halt(watch);
    watch->stopping = true; /* nothing is posted any more */
    tell_all(watch);
    pthread_cond_destroy(&watch->changed);
    pthread_mutex_destroy(&watch->mutex);
    free(watch);
}
