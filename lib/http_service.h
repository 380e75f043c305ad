/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/http_service.h - the one home of libmicrohttpd: a small HTTP service for
 * the admin plane, metrics and the demonstration engine. Not for the data
 * plane.
 *
 * Serves a TCP listener, or connections that somebody else accepted (and whose
 * heads were checked strictly before: Debian's libmicrohttpd is lax on
 * framing). One thread per connection, so a handler may block; it must be
 * thread-safe. Bodies are whole before the handler runs. */
#ifndef LIB_HTTP_SERVICE_H
#define LIB_HTTP_SERVICE_H

#include "lib/buf.h"

#include <sys/types.h>

struct http_service;
struct http_call; /* one request; valid during the handler */

typedef void http_service_handler(void *context, struct http_call *call);

struct http_service_options {
    const char *host; /* numeric; NULL: no listener, http_service_hand_over */
    uint16_t port;    /* 0: a free one, see http_service_port */
    size_t max_body;  /* 0: 1 MiB; past it 413 */
    unsigned max_connections; /* 0: 256 */
    unsigned timeout_s;       /* of silence; 0: 60 */
    http_service_handler *handler;
    void *context;
};

/* gives *out. */
enum err http_service_start(const struct http_service_options *options,
    struct http_service **out, struct errinfo *info) MUSTCHECK;
/* Waits for running handlers and streams (their pull functions are asked no
 * more) and frees. NULL ok; nulls. */
void http_service_stop(struct http_service **service);
uint16_t http_service_port(const struct http_service *service);
/* Takes fd (closes it also on failure). `tag` is the handler's
 * http_call_tag. */
enum err http_service_hand_over(
    struct http_service *service, int fd, uint64_t tag) MUSTCHECK;

/* --- The request --------------------------------------------------------- */
struct str http_call_method(const struct http_call *call);
struct str http_call_path(const struct http_call *call);  /* as sent */
struct str http_call_query(const struct http_call *call); /* as sent, no '?' */
/* First header of that name (any case); empty when absent. */
struct str http_call_header(const struct http_call *call, const char *name);
struct str http_call_body(const struct http_call *call);
uint64_t http_call_tag(const struct http_call *call); /* 0: own listener */

/* --- The answer: exactly one of answer and stream ------------------------- */
void http_call_set_header(
    struct http_call *call, const char *name, const char *value);
/* Copies body. */
void http_call_answer(struct http_call *call, int status,
    const char *content_type, struct str body);

/* pull writes up to n bytes and returns how many; 0: nothing yet was made, ask
 * again; -1: the end; -2: break off, so that it cannot look complete. It may
 * block. close is called exactly once, at the end or when the client has gone
 * (*complete tells which). */
struct http_stream {
    ssize_t (*pull)(void *context, char *out, size_t n);
    void (*close)(void *context, bool complete);
    void *context;
};
void http_call_stream(struct http_call *call, int status,
    const char *content_type, const struct http_stream *stream);

#endif
