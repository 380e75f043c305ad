/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/http_service.c - requests and answers over libmicrohttpd.
 *
 * A struct http_call exists from a request's first line until both the
 * request is over and its stream is closed; the library does not promise the
 * order of the two, so they count. All of a call runs on its connection's
 * thread, or on the stopping thread once that one has been joined. */
#include "lib/http_service.h"

#include "lib/http_service_priv.h"
#include "lib/log.h"
#include "lib/must.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SERVICE_MAGIC 0x48747053u
#define CALL_MAGIC 0x48747043u

#define DEFAULT_MAX_BODY ((size_t)1 << 20)
#define DEFAULT_MAX_REPLY ((size_t)64 << 20)
#define DEFAULT_MAX_HEAD ((size_t)64 << 10)
#define DEFAULT_CONNECTIONS 64
#define DEFAULT_IDLE_US INT64_C(30000000)
#define CALL_ARENA_FIRST 2048
#define CALL_ARENA_MAX ((size_t)4 << 20)
#define STREAM_BLOCK 16384
/* A body that is too large is read and thrown away up to here, so that the
 * client has sent it all and reads the answer; past it the connection ends. */
#define SWALLOW_MAX ((uint64_t)64 << 20)

struct http_service {
    unsigned magic;
    struct MHD_Daemon *daemon;
    struct http_listener listener;
    struct http_service_settings settings;
    bool handed_in;        /* no listener of its own; connections carry tags */
    _Atomic bool stopping; /* takes no more connections */
    _Atomic bool cutting;  /* answers under way are in vain */
    pthread_mutex_t mutex;
    pthread_cond_t fewer;
    unsigned calls; /* under mutex */
};

struct http_call {
    unsigned magic;
    unsigned references; /* the request, the stream */
    struct http_service *service;
    struct MHD_Connection *connection; /* NULL once the request is over */
    struct arena *arena;
    struct http_request request;
    struct buf body;
    uint64_t swallowed;
    bool started;
    struct http_stream stream;
    bool stream_ended;
    struct reply_header *headers;
};

struct reply_header {
    struct reply_header *next;
    const char *name, *value;
};

/* --- Calls ---------------------------------------------------------------- */

static void call_unref(struct http_call *call)
{
    if (--call->references > 0)
        return;
    struct http_service *service = call->service;
    buf_fini(&call->body);
    call->magic = 0;
    struct arena *arena = call->arena;
    arena_free(&arena); /* the call itself lies in it */
    pthread_mutex_lock(&service->mutex);
    service->calls--;
    pthread_cond_broadcast(&service->fewer);
    pthread_mutex_unlock(&service->mutex);
}

/* Once per request, with its target as sent. What it returns becomes
 * *con_cls. */
static void *request_begins(
    void *context, const char *target, struct MHD_Connection *connection)
{
    struct http_service *service = context;
    CHECK_MAGIC(service, SERVICE_MAGIC);
    struct arena *arena = arena_new(CALL_ARENA_FIRST, CALL_ARENA_MAX);
    struct http_call *call = arena ? ARENA_NEW(arena, struct http_call) : NULL;
    struct str copy = {NULL, 0};
    if (call)
        copy = arena_copy(arena, str_from(target));
    if (!copy.ptr) {
        arena_free(&arena);
        return NULL; /* the handler below then ends the connection */
    }
    call->magic = CALL_MAGIC;
    call->references = 1;
    call->service = service;
    call->connection = connection;
    call->arena = arena;
    buf_init(&call->body, service->settings.max_body);
    struct http_request *request = &call->request;
    request->arena = arena;
    request->call = call;
    (void)str_split(copy, '?', &request->path, &request->query);
    pthread_mutex_lock(&service->mutex);
    service->calls++;
    pthread_mutex_unlock(&service->mutex);
    return call;
}

static void request_ends(void *context, struct MHD_Connection *connection,
    void **slot, enum MHD_RequestTerminationCode how)
{
    struct http_call *call = *slot;
    if (!call)
        return;
    CHECK_MAGIC(call, CALL_MAGIC);
    *slot = NULL;
    call->connection = NULL;
    call_unref(call);
}

/* --- What a handler may ask ----------------------------------------------- */

struct str http_request_header(
    const struct http_request *request, const char *name)
{
    CHECK_MAGIC(request->call, CALL_MAGIC);
    if (!request->call->connection)
        return str_make(NULL, 0);
    return str_from(MHD_lookup_connection_value(
        request->call->connection, MHD_HEADER_KIND, name));
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static enum err decode(
    struct arena *arena, struct str text, bool plus, struct str *decoded)
{
    char *out = arena_alloc(arena, text.len + 1);
    if (!out)
        return ERR_NOMEM;
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '+' && plus) {
            c = ' ';
        } else if (c == '%') {
            int high = i + 2 < text.len ? hex_digit(text.ptr[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_digit(text.ptr[i + 2]) : -1;
            if (high < 0 || low < 0 || (high | low) == 0)
                return ERR_SYNTAX; /* NUL cannot be meant either */
            c = (char)(high << 4 | low);
            i += 2;
        }
        out[n++] = c;
    }
    out[n] = '\0';
    *decoded = str_make(out, n);
    return ERR_OK;
}

enum err http_request_decode(
    const struct http_request *request, struct str text, struct str *decoded)
{
    return decode(request->arena, text, false, decoded);
}

enum err http_request_parameter(
    const struct http_request *request, const char *name, struct str *value)
{
    struct str rest = request->query, pair, key, raw, plain;
    while (rest.len > 0) {
        (void)str_split(rest, '&', &pair, &rest);
        (void)str_split(pair, '=', &key, &raw);
        enum err err = decode(request->arena, key, true, &plain);
        if (err)
            return err;
        if (str_equal(plain, str_from(name)))
            return decode(request->arena, raw, true, value);
    }
    return ERR_NOTFOUND;
}

bool http_request_is_gone(const struct http_request *request)
{
    struct http_call *call = request->call;
    CHECK_MAGIC(call, CALL_MAGIC);
    if (!call->connection || atomic_load(&call->service->cutting))
        return true;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        call->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (!info)
        return true;
    struct pollfd peer = {.fd = info->connect_fd, .events = POLLRDHUP};
    return poll(&peer, 1, 0) > 0;
}

static bool is_header_text(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

enum err http_reply_header(
    struct http_reply *reply, const char *name, struct str value)
{
    struct http_call *call = reply->call;
    CHECK_MAGIC(call, CALL_MAGIC);
    if (name[0] == '\0' || strpbrk(name, " \t\r\n:") ||
        !is_header_text(str_from(name)) || !is_header_text(value))
        return ERR_INVALID;
    struct reply_header *header = ARENA_NEW(call->arena, struct reply_header);
    char *name_copy = arena_cstr(call->arena, str_from(name));
    char *value_copy = arena_cstr(call->arena, value);
    if (!header || !name_copy || !value_copy)
        return ERR_NOMEM;
    *header = (struct reply_header){call->headers, name_copy, value_copy};
    call->headers = header;
    return ERR_OK;
}

/* --- Answers ---------------------------------------------------------------
 */

static ssize_t stream_pull(
    void *context, uint64_t position, char *out, size_t size)
{
    struct http_call *call = context;
    CHECK_MAGIC(call, CALL_MAGIC);
    ssize_t got = call->stream.pull(call->stream.context, out, size);
    if (got > 0)
        return got;
    call->stream_ended = got == 0;
    return got == 0 ? MHD_CONTENT_READER_END_OF_STREAM
                    : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void stream_free(void *context)
{
    struct http_call *call = context;
    CHECK_MAGIC(call, CALL_MAGIC);
    if (call->stream.close)
        call->stream.close(call->stream.context, call->stream_ended);
    call_unref(call);
}

static struct MHD_Response *stream_response(
    struct http_call *call, const struct http_stream *stream)
{
    call->stream = *stream;
    call->references++;
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, STREAM_BLOCK, stream_pull, call, stream_free);
    if (!response) {
        if (stream->close)
            stream->close(stream->context, false);
        call->references--;
    }
    return response;
}

static enum MHD_Result send_reply(
    struct http_call *call, struct http_reply *reply)
{
    struct MHD_Response *response = NULL;
    if (reply->stream.pull) {
        response = stream_response(call, &reply->stream);
    } else if (!reply->body.failed) {
        size_t length = buf_str(&reply->body).len;
        char *bytes = buf_steal(&reply->body);
        if (bytes)
            response = MHD_create_response_from_buffer(
                length, bytes, MHD_RESPMEM_MUST_FREE);
        if (bytes && !response)
            free(bytes);
    }
    if (!response) { /* out of memory, or past max_reply */
        static char nothing[1];
        response =
            MHD_create_response_from_buffer(0, nothing, MHD_RESPMEM_PERSISTENT);
        reply->status = 503;
        call->headers = NULL;
    }
    buf_fini(&reply->body);
    if (!response)
        return MHD_NO;
    bool ok = true;
    for (struct reply_header *h = call->headers; h; h = h->next)
        ok = MHD_add_response_header(response, h->name, h->value) == MHD_YES &&
             ok;
    if (call->request.body_too_large)
        ok = MHD_add_response_header(response, "Connection", "close") ==
                 MHD_YES &&
             ok;
    MUST(reply->status >= 200 && reply->status <= 599);
    enum MHD_Result result = ok ? MHD_queue_response(call->connection,
                                      (unsigned)reply->status, response)
                                : MHD_NO;
    MHD_destroy_response(response); /* ours; the connection holds its own */
    return result;
}

static enum MHD_Result answer(struct http_call *call)
{
    struct http_service *service = call->service;
    struct http_request *request = &call->request;
    if (request->body_too_large)
        buf_fini(&call->body);
    request->body = buf_str(&call->body);
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        call->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    if (service->handed_in && address)
        memcpy(&request->tag, (const char *)address + sizeof(uint64_t),
            sizeof request->tag);
    struct http_reply reply = {.status = 200, .call = call};
    buf_init(&reply.body, service->settings.max_reply);
    service->settings.handler(service->settings.context, request, &reply);
    return send_reply(call, &reply);
}

/* Called at the head, for each piece of the body, and at the end. */
static enum MHD_Result request_goes_on(void *context,
    struct MHD_Connection *connection, const char *url, const char *method,
    const char *version, const char *upload, size_t *upload_size, void **slot)
{
    struct http_service *service = context;
    struct http_call *call = *slot;
    if (!call)
        return MHD_NO;
    CHECK_MAGIC(call, CALL_MAGIC);
    if (!call->started) {
        call->started = true;
        call->request.method = arena_copy(call->arena, str_from(method));
        if (!call->request.method.ptr)
            return MHD_NO;
        uint64_t length;
        struct str text = http_request_header(&call->request, "Content-Length");
        if (text.ptr && str_to_u64(text, &length) == ERR_OK &&
            length > service->settings.max_body) {
            call->request.body_too_large = true;
            if (length > SWALLOW_MAX)
                return answer(call); /* before the body; then it is closed */
        }
        return MHD_YES;
    }
    if (*upload_size > 0) {
        if (!call->request.body_too_large)
            buf_append(&call->body, upload, *upload_size);
        if (call->body.failed)
            call->request.body_too_large = true;
        call->swallowed += *upload_size;
        if (call->request.body_too_large && call->swallowed > SWALLOW_MAX)
            return MHD_NO;
        *upload_size = 0;
        return MHD_YES;
    }
    return answer(call);
}

/* --- Life of a service -----------------------------------------------------
 */

__attribute__((format(printf, 2, 0))) static void log_library(
    void *context, const char *format, va_list args)
{
    if (!log_is_on(LOG_DEBUG))
        return;
    char text[400];
    if (vsnprintf(text, sizeof text, format, args) > 0)
        log_debug("http_service", "said=%s", LOG_QUOTE(text));
}

static void apply_defaults(struct http_service_settings *s)
{
    if (s->max_body == 0)
        s->max_body = DEFAULT_MAX_BODY;
    if (s->max_reply == 0)
        s->max_reply = DEFAULT_MAX_REPLY;
    if (s->max_head == 0)
        s->max_head = DEFAULT_MAX_HEAD;
    if (s->max_head < 4096)
        s->max_head = 4096;
    if (s->max_connections == 0)
        s->max_connections = DEFAULT_CONNECTIONS;
    if (s->idle_us == 0)
        s->idle_us = DEFAULT_IDLE_US;
}

static struct MHD_Daemon *start_daemon(struct http_service *service)
{
    const struct http_service_settings *s = &service->settings;
    unsigned flags = MHD_USE_THREAD_PER_CONNECTION |
                     MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
                     MHD_USE_ITC | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem listen[] = {
        {MHD_OPTION_LISTEN_SOCKET, service->listener.fd, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    if (service->listener.fd < 0) {
        flags |= MHD_USE_NO_LISTEN_SOCKET;
        listen[0].option = MHD_OPTION_END;
    }
    unsigned seconds = (unsigned)((s->idle_us + 999999) / 1000000);
    return MHD_start_daemon(flags, 0, NULL, NULL, request_goes_on, service,
        /* First, so that it also gets what is said of the other options. */
        MHD_OPTION_EXTERNAL_LOGGER, log_library, service,
        MHD_OPTION_URI_LOG_CALLBACK, request_begins, service,
        MHD_OPTION_NOTIFY_COMPLETED, request_ends, service,
        MHD_OPTION_CONNECTION_LIMIT, s->max_connections,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, s->max_head,
        MHD_OPTION_CONNECTION_TIMEOUT, seconds, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_ARRAY, listen, MHD_OPTION_END);
}

enum err http_service_start(const struct http_service_settings *settings,
    struct http_service **out, struct errinfo *info)
{
    MUST(settings->handler != NULL);
    struct http_service *service = calloc(1, sizeof *service);
    if (!service)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    service->magic = SERVICE_MAGIC;
    service->settings = *settings;
    apply_defaults(&service->settings);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&service->mutex, NULL);
    pthread_cond_init(&service->fewer, &monotonic);
    pthread_condattr_destroy(&monotonic);
    enum err err = http_listener_open(settings, &service->listener, info);
    if (err)
        goto failed;
    service->handed_in = service->listener.fd < 0;
    service->daemon = start_daemon(service);
    if (!service->daemon) {
        err = errinfo_set(info, ERR_IO,
            "cannot start the HTTP service on %s: no more threads or memory",
            service->listener.url[0] ? service->listener.url
                                     : "connections handed in");
        http_listener_close(&service->listener);
        goto failed;
    }
    *out = service;
    return ERR_OK;
failed:
    pthread_cond_destroy(&service->fewer);
    pthread_mutex_destroy(&service->mutex);
    free(service);
    return err;
}

static void wait_for_calls(struct http_service *service)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + service->settings.grace_us % 1000000 * 1000;
    until.tv_sec += service->settings.grace_us / 1000000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&service->mutex);
    while (service->calls > 0 && pthread_cond_timedwait(&service->fewer,
                                     &service->mutex, &until) == 0)
        ;
    pthread_mutex_unlock(&service->mutex);
}

void http_service_stop(struct http_service **service)
{
    struct http_service *s = *service;
    if (!s)
        return;
    CHECK_MAGIC(s, SERVICE_MAGIC);
    atomic_store(&s->stopping, true);
    if (s->listener.fd >= 0) {
        /* Gives the socket back, or -1: then MHD_stop_daemon closes it. */
        s->listener.fd = MHD_quiesce_daemon(s->daemon);
        http_listener_close(&s->listener);
    }
    if (s->settings.grace_us > 0)
        wait_for_calls(s);
    atomic_store(&s->cutting, true);
    MHD_stop_daemon(s->daemon);
    MUST(s->calls == 0);
    pthread_cond_destroy(&s->fewer);
    pthread_mutex_destroy(&s->mutex);
    s->magic = 0;
    free(s);
    *service = NULL;
}

const char *http_service_url(const struct http_service *service)
{
    return service->listener.url;
}

uint16_t http_service_port(const struct http_service *service)
{
    return service->listener.port;
}

enum err http_service_add(struct http_service *service, int fd, uint64_t tag)
{
    CHECK_MAGIC(service, SERVICE_MAGIC);
    /* The library copies the address unread: the tag travels in it. */
    struct {
        sa_family_t family;
        char padding[sizeof(uint64_t) - sizeof(sa_family_t)];
        uint64_t tag;
    } address = {.family = AF_UNIX, .tag = tag};
    if (atomic_load(&service->stopping)) {
        close(fd);
        return ERR_WRONG_STATE;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(
        service->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    if (info && info->num_connections >= service->settings.max_connections) {
        close(fd);
        return ERR_FULL;
    }
    if (MHD_add_connection(service->daemon, fd,
            (const struct sockaddr *)&address, sizeof address) != MHD_YES)
        return ERR_FULL; /* it has closed fd */
    return ERR_OK;
}
