/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/http_service.c - libmicrohttpd, thread per connection. */
#include "lib/http_service.h"

#include "lib/log.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_BODY_DEFAULT (1u << 20)
#define HEADERS_MAX 8
/* A handed-over connection's tag travels as the bytes of a made-up IPv6
 * address: libmicrohttpd copies the address and gives it back. */
#define TAG_PORT 1

struct http_service {
    struct MHD_Daemon *daemon;
    struct http_service_options options;
    uint16_t port;
};

struct http_call {
    struct http_service *service;
    struct MHD_Connection *connection;
    const char *method, *path;
    struct str query;
    struct buf body;
    bool too_large;
    bool answered;
    struct {
        char *name, *value;
    } headers[HEADERS_MAX];
    size_t header_count;
    char *url; /* path and query as sent */
};

struct running_stream {
    struct http_stream stream;
    bool complete;
};

/* --- The request --------------------------------------------------------- */

struct str http_call_method(const struct http_call *call)
{
    return str_from(call->method);
}

struct str http_call_path(const struct http_call *call)
{
    return str_from(call->path);
}

struct str http_call_query(const struct http_call *call)
{
    return call->query;
}

struct str http_call_header(const struct http_call *call, const char *name)
{
    return str_from(
        MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, name));
}

struct str http_call_body(const struct http_call *call)
{
    return buf_str(&call->body);
}

uint64_t http_call_tag(const struct http_call *call)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        call->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    uint64_t tag = 0;
    if (info == NULL || info->client_addr == NULL ||
        info->client_addr->sa_family != AF_INET6)
        return 0;
    const struct sockaddr_in6 *six = (const void *)info->client_addr;
    if (ntohs(six->sin6_port) == TAG_PORT)
        memcpy(&tag, &six->sin6_addr, sizeof(tag));
    return tag;
}

/* --- The answer ---------------------------------------------------------- */

void http_call_set_header(
    struct http_call *call, const char *name, const char *value)
{
    if (call->header_count == HEADERS_MAX)
        return;
    char *own_name = strdup(name), *own_value = strdup(value);
    if (own_name == NULL || own_value == NULL) {
        free(own_name);
        free(own_value);
        return;
    }
    call->headers[call->header_count].name = own_name;
    call->headers[call->header_count++].value = own_value;
}

static void queue(struct http_call *call, int status, const char *content_type,
    struct MHD_Response *response)
{
    if (response == NULL)
        return; /* no memory: libmicrohttpd closes the connection */
    MHD_add_response_header(response, "Content-Type", content_type);
    MHD_add_response_header(response, "Cache-Control", "no-store");
    for (size_t i = 0; i < call->header_count; i++)
        MHD_add_response_header(
            response, call->headers[i].name, call->headers[i].value);
    call->answered = MHD_queue_response(call->connection, (unsigned)status,
                         response) == MHD_YES;
    MHD_destroy_response(response);
}

void http_call_answer(struct http_call *call, int status,
    const char *content_type, struct str body)
{
    /* libmicrohttpd only reads it: the cast drops what its API forgot. */
    void *bytes = (void *)(uintptr_t)(body.ptr != NULL ? body.ptr : "");
    queue(call, status, content_type,
        MHD_create_response_from_buffer(
            body.len, bytes, MHD_RESPMEM_MUST_COPY));
}

static ssize_t pull_stream(void *context, uint64_t at, char *out, size_t n)
{
    struct running_stream *running = context;
    ssize_t got = running->stream.pull(running->stream.context, out, n);
    if (got >= 0)
        return got;
    running->complete = got == -1;
    return got == -1 ? MHD_CONTENT_READER_END_OF_STREAM
                     : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void close_stream(void *context)
{
    struct running_stream *running = context;
    running->stream.close(running->stream.context, running->complete);
    free(running);
}

void http_call_stream(struct http_call *call, int status,
    const char *content_type, const struct http_stream *stream)
{
    struct running_stream *running = calloc(1, sizeof(*running));
    struct MHD_Response *response = NULL;
    if (running != NULL) {
        running->stream = *stream;
        response = MHD_create_response_from_callback(
            MHD_SIZE_UNKNOWN, 16 * 1024, pull_stream, running, close_stream);
    }
    if (response == NULL) {
        free(running);
        stream->close(stream->context, false);
        return;
    }
    queue(call, status, content_type, response);
}

/* --- libmicrohttpd's callbacks ------------------------------------------- */

static void free_call(struct http_call *call)
{
    for (size_t i = 0; i < call->header_count; i++) {
        free(call->headers[i].name);
        free(call->headers[i].value);
    }
    buf_fini(&call->body);
    free(call->url);
    free(call);
}

/* The URL as it was sent, before libmicrohttpd takes it apart. */
static void *keep_url(
    void *context, const char *uri, struct MHD_Connection *connection)
{
    struct http_service *service = context;
    struct http_call *call = calloc(1, sizeof(*call));
    if (call == NULL)
        return NULL;
    call->service = service;
    call->connection = connection;
    buf_init(&call->body, service->options.max_body ? service->options.max_body
                                                    : MAX_BODY_DEFAULT);
    call->url = strdup(uri);
    if (call->url == NULL) {
        free_call(call);
        return NULL;
    }
    char *mark = strchr(call->url, '?');
    if (mark != NULL) {
        *mark = '\0';
        call->query = str_from(mark + 1);
    }
    call->path = call->url;
    return call;
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection,
    const char *url, const char *method, const char *version,
    const char *upload, size_t *upload_size, void **state)
{
    struct http_service *service = context;
    struct http_call *call = *state;
    if (call == NULL)
        return MHD_NO;
    if (call->method == NULL) {
        call->method = method;
        return MHD_YES;
    }
    if (*upload_size > 0) {
        if (call->body.len + *upload_size > call->body.max)
            call->too_large = true;
        else
            buf_append(&call->body, upload, *upload_size);
        *upload_size = 0;
        return MHD_YES;
    }
    if (call->too_large || call->body.failed)
        http_call_answer(call, 413, "application/problem+json",
            STR("{\"status\":413,\"title\":\"The body is too large\"}"));
    else
        service->options.handler(service->options.context, call);
    return call->answered ? MHD_YES : MHD_NO;
}

static void completed(void *context, struct MHD_Connection *connection,
    void **state, enum MHD_RequestTerminationCode code)
{
    if (*state != NULL)
        free_call(*state);
    *state = NULL;
}

static void library_says(void *context, const char *format, va_list arguments)
{
    char text[512];
    int n = vsnprintf(text, sizeof(text), format, arguments);
    if (n <= 0)
        return;
    text[strcspn(text, "\n")] = '\0';
    log_debug("http_service", "says=\"%s\"", text);
}

/* --- Life ---------------------------------------------------------------- */

static enum err parse_host(const struct http_service_options *options,
    struct sockaddr_storage *out, struct errinfo *info)
{
    struct sockaddr_in *four = (struct sockaddr_in *)out;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, options->host, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(options->port);
        return ERR_OK;
    }
    if (inet_pton(AF_INET6, options->host, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(options->port);
        return ERR_OK;
    }
    return errinfo_set(info, ERR_INVALID,
        "'%s' is no numeric IPv4 or IPv6 address", options->host);
}

enum err http_service_start(const struct http_service_options *options,
    struct http_service **out, struct errinfo *info)
{
    struct http_service *service = calloc(1, sizeof(*service));
    struct sockaddr_storage address;
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD |
                     MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
                     MHD_USE_ITC | MHD_USE_ERROR_LOG;
    if (service == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    service->options = *options;
    struct MHD_OptionItem more[2] = {{MHD_OPTION_END, 0, NULL}};
    if (options->host == NULL) {
        flags |= MHD_USE_NO_LISTEN_SOCKET;
    } else {
        enum err err = parse_host(options, &address, info);
        if (err != ERR_OK) {
            free(service);
            return err;
        }
        if (address.ss_family == AF_INET6)
            flags |= MHD_USE_IPv6;
        more[0] = (struct MHD_OptionItem){MHD_OPTION_SOCK_ADDR, 0, &address};
        more[1] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    }
    service->daemon = MHD_start_daemon(flags, 0, NULL, NULL, handle, service,
        MHD_OPTION_EXTERNAL_LOGGER, library_says, NULL,
        MHD_OPTION_URI_LOG_CALLBACK, keep_url, service,
        MHD_OPTION_NOTIFY_COMPLETED, completed, NULL,
        MHD_OPTION_CONNECTION_LIMIT,
        options->max_connections ? options->max_connections : 256u,
        MHD_OPTION_CONNECTION_TIMEOUT,
        options->timeout_s ? options->timeout_s : 60u,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, more,
        MHD_OPTION_END);
    if (service->daemon == NULL) {
        enum err err = errinfo_errno(info, ERR_IO,
            "the HTTP service cannot start on %s port %u",
            options->host ? options->host : "handed-over connections",
            options->port);
        free(service);
        return err;
    }
    const union MHD_DaemonInfo *bound =
        MHD_get_daemon_info(service->daemon, MHD_DAEMON_INFO_BIND_PORT);
    service->port = bound != NULL ? bound->port : 0;
    *out = service;
    return ERR_OK;
}

void http_service_stop(struct http_service **service)
{
    struct http_service *s = *service;
    if (s == NULL)
        return;
    *service = NULL;
    MHD_stop_daemon(s->daemon);
    free(s);
}

uint16_t http_service_port(const struct http_service *service)
{
    return service->port;
}

enum err http_service_hand_over(
    struct http_service *service, int fd, uint64_t tag)
{
    struct sockaddr_in6 six = {
        .sin6_family = AF_INET6, .sin6_port = htons(TAG_PORT)};
    memcpy(&six.sin6_addr, &tag, sizeof(tag));
    return MHD_add_connection(service->daemon, fd,
               (const struct sockaddr *)&six, sizeof(six)) == MHD_YES
               ? ERR_OK
               : ERR_IO;
}
