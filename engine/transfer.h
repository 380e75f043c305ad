/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/transfer.h - one request to an engine and its answer, in pieces.
 *
 * Two back ends behind one interface: our own HTTP/1.1 over TCP or a Unix
 * socket for plain engines, libcurl multi for https engines. Neither re-sends:
 * a dead pooled connection is an error that says so (reused), and the caller
 * retries as an attempt of its own. No redirects, no proxies, no cookies.
 *
 * Threads: a transfer_loop and all its transfers live on one event loop. The
 * callbacks run on it, never from inside transfer_start. */
#ifndef ENGINE_TRANSFER_H
#define ENGINE_TRANSFER_H

#include "engine/target.h"
#include "lib/http1.h"
#include "lib/loop.h"

#include <sys/uio.h>

struct transfer;
struct transfer_loop;

struct transfer_timeouts {
    int64_t connect_us;
    int64_t
        first_byte_us; /* from the request's last byte to the answer's head */
    int64_t stall_us;  /* between two reads of an answer's body */
    int64_t idle_us;   /* a pooled connection is closed after it */
};

/* gives *out. Bounds on answer heads are built in (64 KiB). */
enum err transfer_loop_new(struct loop *loop,
    const struct transfer_timeouts *timeouts, struct transfer_loop **out,
    struct errinfo *info) MUSTCHECK;
/* Cancels what runs (no callbacks) and closes all connections. */
void transfer_loop_free(struct transfer_loop **transfers);

struct transfer_request {
    const struct engine_target *target; /* keeps until the end */
    struct str method;
    struct str path; /* origin-form; target->base_path is put before it */
    const struct http1_header *headers; /* beside Host, framing, credentials */
    size_t header_count;
    const struct iovec *body; /* pieces; keeps until the end */
    size_t body_count;
    size_t body_length; /* their sum */
    bool fresh; /* on a connection of its own: a pooled one has just failed */
};

enum transfer_end {
    TRANSFER_OK,          /* the whole answer came */
    TRANSFER_UNREACHABLE, /* no connection; nothing was sent */
    TRANSFER_TIMEOUT,     /* connect, first byte or stall */
    TRANSFER_CLOSED,      /* the engine closed before the end */
    TRANSFER_BAD_ANSWER,  /* not valid HTTP/1.1 */
    TRANSFER_NOMEM
};
const char *transfer_end_name(enum transfer_end end);

struct transfer_result {
    enum transfer_end end;
    const char *why; /* words for the record; valid during the callback */
    bool reused;     /* it ran on a pooled connection */
    bool sent;       /* bytes of the request had been handed to the system */
    bool head_seen;  /* the answer's head had come */
};

/* Embedded in the caller's object. After `done` the transfer is gone. */
struct transfer_handler {
    /* The final head; 1xx are skipped. Borrowed for the call. */
    void (*head)(
        struct transfer_handler *handler, const struct http1_head *head);
    void (*data)(struct transfer_handler *handler, struct str bytes);
    void (*done)(
        struct transfer_handler *handler, const struct transfer_result *result);
};

/* gives *out, valid until `done` or transfer_cancel. ERR_NOMEM only: whatever
 * else goes wrong comes through `done`. keeps handler. */
enum err transfer_start(struct transfer_loop *transfers,
    const struct transfer_request *request, struct transfer_handler *handler,
    struct transfer **out) MUSTCHECK;
/* Closes the engine's connection, so that it stops generating. No callback
 * comes after it. NULL ok; nulls. */
void transfer_cancel(struct transfer **transfer);
/* Backpressure: no data callback between pause and resume (one that is under
 * way may finish). The stall clock stands still. */
void transfer_pause(struct transfer *transfer);
void transfer_resume(struct transfer *transfer);

/* Pooled idle and active connections, for metrics and tests. */
void transfer_loop_count(
    const struct transfer_loop *transfers, unsigned *idle, unsigned *active);

#endif
