/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/http_service.h - a small HTTP/1.1 server (the one home of
 * libmicrohttpd): the admin API, the health listener, the demo engine.
 *
 * Not for the data plane. libmicrohttpd is lax on framing: where strangers
 * can connect, accept and check heads with lib/http1 first and hand the
 * connection in (http_service_add).
 * Threads: one per connection, of the library's own; the handler and the
 * stream callbacks run on it and may block. http_service_* may be called from
 * any other thread. */
#ifndef LIB_HTTP_SERVICE_H
#define LIB_HTTP_SERVICE_H

#include "lib/arena.h"
#include "lib/buf.h"

#include <sys/types.h>

struct http_service;
struct http_call; /* inside */

struct http_request {
    struct str method;
    struct str path;  /* as sent, without the query */
    struct str query; /* as sent, without '?'; empty if none */
    struct str body;
    bool body_too_large; /* more than max_body came: body is empty, say 413 */
    uint64_t tag;        /* given to http_service_add; 0 with an own listener */
    struct arena *arena; /* lives as long as the request and its answer */
    struct http_call *call;
};

/* Value of the first header of that name (any case); {NULL, 0} if absent. */
struct str http_request_header(
    const struct http_request *request, const char *name);
/* Query parameter `name`, percent-decoded ('+' is a space), from the arena.
 * ERR_NOTFOUND; ERR_SYNTAX: bad escape or NUL in it; ERR_NOMEM. */
enum err http_request_parameter(const struct http_request *request,
    const char *name, struct str *value) MUSTCHECK;
/* Percent-decodes a piece of a path ('+' stays). ERR_SYNTAX, ERR_NOMEM. */
enum err http_request_decode(const struct http_request *request,
    struct str text, struct str *decoded) MUSTCHECK;
/* True once the client has closed (or half-closed) its connection or the
 * service is being stopped: work for this answer is in vain. */
bool http_request_is_gone(const struct http_request *request);

/* An answer in pieces, chunked. */
struct http_stream {
    /* Up to size bytes to out. >0: that many; 0: the end; -1: cut the
     * connection, so that the client sees the answer is broken. May block. */
    ssize_t (*pull)(void *context, char *out, size_t size);
    /* Called once, also when the client went away (then ended is false: pull
     * never gave 0). */
    void (*close)(void *context, bool ended);
    void *context;
};

struct http_reply {
    int status;      /* 200 at the start */
    struct buf body; /* ready for use; ceiling: the service's max_reply */
    struct http_stream stream; /* used instead of body where pull is set */
    struct http_call *call;
};
/* Copies. ERR_INVALID: characters that a header may not have. */
enum err http_reply_header(
    struct http_reply *reply, const char *name, struct str value) MUSTCHECK;

/* The arguments are borrowed for the call, but request stays valid until the
 * stream's close. A body that has failed (buf.failed) becomes a bare 503. */
typedef void http_handler(void *context, const struct http_request *request,
    struct http_reply *reply);

struct http_service_settings {
    /* One of three: a TCP listener (host, a name or an address; port 0 picks a
     * free one); a Unix socket (unix_path; made with unix_mode); neither: only
     * connections that are handed in. */
    const char *host;
    uint16_t port;
    const char *unix_path;
    mode_t unix_mode;         /* 0: 0600 */
    size_t max_body;          /* of a request; see body_too_large. 0: 1 MiB */
    size_t max_reply;         /* 0: 64 MiB */
    size_t max_head;          /* memory for a head, at least 4096. 0: 64 KiB */
    unsigned max_connections; /* more are closed at once. 0: 64 */
    int64_t idle_us;          /* a silent connection is closed. 0: 30 s */
    int64_t grace_us; /* http_service_stop waits so long for answers; 0: 0 */
    http_handler *handler;
    void *context;
};

/* gives *out; runs from here on. Errors name the address. */
enum err http_service_start(const struct http_service_settings *settings,
    struct http_service **out, struct errinfo *info) MUSTCHECK;
/* No new connections; waits up to grace_us for answers under way; cuts the
 * rest; joins all threads; frees. NULL ok. */
void http_service_stop(struct http_service **service);

/* "http://127.0.0.1:8123", "http://[::1]:8123", "unix:PATH", or "" */
const char *http_service_url(const struct http_service *service);
uint16_t http_service_port(const struct http_service *service); /* 0: none */

/* Takes over fd (a connected stream socket), also on failure. ERR_FULL: too
 * many connections; ERR_WRONG_STATE: being stopped. */
enum err http_service_add(
    struct http_service *service, int fd, uint64_t tag) MUSTCHECK;

#endif
