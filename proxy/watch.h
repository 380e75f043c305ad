/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/watch.h - a thread that watches budgets and meters, away from the
 * workers.
 *
 * Budgets: a worker that sees a quota pass its warning mark leaves a note; the
 * thread records the event and tells the webhook, if there is one. A note never
 * waits: when too many lie here the event is lost, and that is logged.
 *
 * Meters: every few seconds each meter is asked how often it should have moved
 * and how often it did. One that should have and never did is stalled: an event
 * says so, and another when it moves again. A meter that stands still looks
 * like a caller who uses nothing; budgets would never fill. */
#ifndef PROXY_WATCH_H
#define PROXY_WATCH_H

#include "lib/err.h"
#include "lib/str.h"
#include "policy/quota.h"

#define WATCH_METERS_MAX 80
#define WATCH_METER_NAME_MAX 160
#define WATCH_URL_MAX 2048

struct watch_warning {
    char quota[QUOTA_ID_MAX];
    char scope[16], subject[264], models[264]; /* "", or what it is for */
    enum quota_dimension dimension;
    enum quota_window window;
    int64_t amount, used;
    int percent;
};

/* How often since the start. */
struct watch_meter {
    char name[WATCH_METER_NAME_MAX];
    uint64_t due, moved;
};

struct watch_options {
    void *context;
    /* On the watch's thread. detail: a JSON object. */
    void (*event)(void *context, struct str type, struct str kind,
        struct str object, struct str detail);
    /* Fills at most WATCH_METERS_MAX; a name stays the same. */
    size_t (*meters)(void *context, struct watch_meter *out);
    /* Where warnings are posted; empty: nowhere. */
    void (*webhook)(void *context, char url[WATCH_URL_MAX]);
    int64_t every_us; /* 0: two seconds */
};

struct watch;
/* NULL: out of memory. gives. Notes may be left from here on ... */
struct watch *watch_new(const struct watch_options *options);
/* ... the thread runs from here ... */
enum err watch_start(struct watch *watch, struct errinfo *info) MUSTCHECK;
/* ... to here: no meter is asked any more. NULL ok. */
void watch_halt(struct watch *watch);
/* Records what was left since; frees. NULL ok. */
void watch_free(struct watch **watch);

/* Any thread; never blocks for long. watch may be NULL. */
void watch_warn(struct watch *watch, const struct watch_warning *warning);

/* The meters as they were last asked; stalled ones are marked. */
struct watch_status {
    char name[WATCH_METER_NAME_MAX];
    bool stalled;
};
size_t watch_status(struct watch *watch, struct watch_status *out, size_t max);

#endif
