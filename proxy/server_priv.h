/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/server_priv.h - the server, for server.c and server_status.c. */
#ifndef PROXY_SERVER_PRIV_H
#define PROXY_SERVER_PRIV_H

#include "audit/anchors.h"
#include "audit/entry.h"
#include "audit/sinks.h"
#include "audit/witnesses.h"
#include "proxy/admin/admin.h"
#include "proxy/worker.h"

#define SERVER_WORKERS_MAX 64

struct listener;

/* How much room the journal has. */
enum disk_state { DISK_GOOD, DISK_LOW, DISK_CRITICAL };

struct server {
    const char *dir;
    int64_t started_us;
    struct settings *settings;
    struct control *control;
    struct worker_shared shared;
    struct worker *workers[SERVER_WORKERS_MAX];
    size_t worker_count;
    int fds[SERVER_WORKERS_MAX][WORKER_LISTENERS];
    struct admin_server admin_server;
    struct admin *admin;
    struct listener *listener;
    struct anchors *anchors;
    struct sinks *sinks;
    struct witnesses *witnesses;
    char *log_dir;
    uint64_t canary_due, canary_moved; /* the watch's thread */
    int signal_fd, event_fd;
    int64_t disk_due_us;    /* main thread */
    _Atomic int disk_state; /* enum disk_state */
    _Atomic bool failed, stopping;
};

/* For struct admin_server; context is the server. */
void server_write_status(void *context, struct buf *out);
void server_write_metrics(void *context, struct buf *out);
bool server_is_ready(void *context, struct buf *reasons);

/* server_disk.c: main thread, now and then. */
void server_disk_look(struct server *s);
const char *server_disk_word(enum disk_state state);

/* server_anchors.c: starts the thread; reads the rows anew (inside the
 * control's lock); writes "anchors":[...] with how each is doing. */
enum err server_anchors_start(struct server *s, struct errinfo *info) MUSTCHECK;
/* Before anything is signed: do the files of anchors hold more of this log, or
 * another history of it? Then an old copy was put back, and nothing is served
 * (ERR_CORRUPT). What cannot be read within seconds is passed over. */
enum err server_anchors_compare(
    struct server *s, struct errinfo *info) MUSTCHECK;
enum err server_anchors_load(struct server *s, struct errinfo *info) MUSTCHECK;
struct json_writer;
void server_anchors_write(struct server *s, struct json_writer *w);
/* server_sinks.c: the same of sinks. */
enum err server_sinks_start(struct server *s, struct errinfo *info) MUSTCHECK;
enum err server_sinks_load(struct server *s, struct errinfo *info) MUSTCHECK;
#define ANCHORS_MAX 256
/* Of struct admin_server. */
bool server_witnessed_only(void *context);
size_t server_outside(void *context, struct admin_outside *out, size_t room);
void server_sinks_write(struct server *s, struct json_writer *w);
void server_sinks_metrics(struct server *s, struct buf *out);
/* server_witnesses.c: the same of witnesses. */
enum err server_witnesses_start(
    struct server *s, struct errinfo *info) MUSTCHECK;
void server_witnesses_stop(struct server *s);
enum err server_witnesses_load(
    struct server *s, struct errinfo *info) MUSTCHECK;
void server_witnesses_write(struct server *s, struct json_writer *w);
void server_witnesses_metrics(struct server *s, struct buf *out);
/* server_watch.c: budgets' warnings and meters. */
enum err server_watch_make(struct server *s, struct errinfo *info) MUSTCHECK;
void server_watch_write(struct server *s, struct json_writer *w);
void server_watch_metrics(struct server *s, struct buf *out);
/* How many anchors failed at their last attempt. */
size_t server_anchors_failing(struct server *s);

#endif
