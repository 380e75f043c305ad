/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/listener.c - the admin plane's sockets.
 *
 * The head is looked at with MSG_PEEK, so that libmicrohttpd later reads the
 * very bytes that were judged; the answer says `Connection: close`, so that
 * nothing behind the first request is ever read as another. A connection is
 * looked at as soon as there is something to read; a head that has not come
 * whole then (clients send it in one piece, so that hardly happens) again every
 * PEEK_EVERY_MS until HEAD_TIMEOUT_US: what was peeked at stays readable, so
 * that no readiness would tell of more. */
#include "proxy/admin/listener.h"

#include "lib/clock.h"
#include "lib/http1.h"
#include "lib/http_service.h"
#include "lib/log.h"
#include "lib/must.h"
#include "proxy/address.h"
#include "proxy/admin/door.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTENER_MAGIC 0x6c697374u
#define HEAD_MAX 16384
#define BODY_MAX (4u << 20)
#define PENDING_MAX 64
#define PEEK_EVERY_MS 20
#define HEAD_TIMEOUT_US (10 * SECOND_US)
#define SERVICE_TIMEOUT_S 120

/* What the handler is told of a connection (and DOOR_TAG). 0 is never used. */
#define TAG_METRICS (UINT64_C(1) << 62)
#define TAG_UNIX (UINT64_C(2) << 62)
#define TAG_UID_MASK UINT64_C(0xffffffff)

struct pending {
    int fd;
    uint64_t tag;
    int64_t due_us;
    bool begun; /* a part of the head is there */
};

struct listener {
    unsigned magic;
    struct admin *admin;
    char *path;
    int unix_fd, metrics_fd, stop_fd;
    uint16_t metrics_port;
    struct http_service *service;
    struct door *door; /* NULL: none */
    pthread_t thread;
    bool running;
    struct pending pending[PENDING_MAX];
    size_t pending_count;
};

/* --- Handling (libmicrohttpd's threads) --------------------------------- */

static void handle_call(
    void *context, const struct http_request *call, struct http_reply *reply)
{
    struct listener *listener = context;
    char from[ADDRESS_TEXT_MAX] = "", certificate[65] = "";
    bool remote = (call->tag & DOOR_TAG) != 0;
    const struct admin_request request = {
        .method = call->method,
        .path = call->path,
        .query = call->query,
        .authorization = http_request_header(call, "Authorization"),
        .body = call->body,
        .if_match = http_request_header(call, "If-Match"),
        .idempotency_key = http_request_header(call, "Idempotency-Key"),
        .uid = (call->tag & TAG_UNIX) ? (long)(call->tag & TAG_UID_MASK) : -1,
        .remote = remote,
        .from = from,
        .certificate = certificate,
    };
    struct admin_response response = {0};

    CHECK_MAGIC(listener, LISTENER_MAGIC);
    if (remote) {
        door_peer(listener->door, call->tag, from);
        door_certificate(listener->door, call->tag, certificate);
    }
    buf_init(&response.body, 64u << 20);
    if (call->body_too_large) {
        response.status = 413;
        response.content_type = "application/problem+json";
        buf_printf(&response.body,
            "{\"type\":\"urn:bailiff:problem:too-large\",\"title\":\"%s\","
            "\"status\":413,\"detail\":\"the body is longer than %u "
            "bytes\"}\n",
            http1_status_text(413), BODY_MAX);
    } else {
        admin_handle(listener->admin, &request, &response);
    }
    if (remote && response.status == 401)
        door_discourage(listener->door, call->tag);
    reply->status = response.status;
    enum err err = http_reply_header(
        reply, "Content-Type", str_from(response.content_type));
    if (err == ERR_OK)
        err = http_reply_header(reply, "Connection", STR("close"));
    if (err == ERR_OK)
        err = http_reply_header(reply, "Cache-Control", STR("no-store"));
    if (err == ERR_OK && response.etag[0])
        err = http_reply_header(reply, "ETag", str_from(response.etag));
    if (err == ERR_OK && response.replayed)
        err = http_reply_header(reply, "Idempotency-Replayed", STR("true"));
    if (err == ERR_OK && response.status == 401)
        err = http_reply_header(reply, "WWW-Authenticate", STR("Bearer"));
    buf_append_str(&reply->body, buf_str(&response.body));
    if (err != ERR_OK)
        reply->body.failed = true; /* a bare 503 */
    buf_fini(&response.body);
}

/* --- Judging heads (the listener's thread) -------------------------------- */

/* A refusal before anything is parsed further; the peer may not read it. */
static void refuse(int fd, int status, const char *why)
{
    struct buf answer;
    char sink[1024];

    buf_init(&answer, 4096);
    door_refusal(&answer, status, why);
    if (send(fd, buf_str(&answer).ptr, answer.len,
            MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
        /* Unread input would turn the close into a reset of the answer. */
        shutdown(fd, SHUT_WR);
        for (int i = 0; i < 64; i++)
            if (recv(fd, sink, sizeof sink, MSG_DONTWAIT) <= 0)
                break;
    }
    close(fd);
    buf_fini(&answer);
}

static bool is_health(const struct http1_head *head)
{
    bool reads = str_equal(head->method, STR("GET")) ||
                 str_equal(head->method, STR("HEAD"));

    return reads && head->body == HTTP1_BODY_NONE &&
           (str_equal(head->path, STR("/healthz")) ||
               str_equal(head->path, STR("/readyz")) ||
               str_equal(head->path, STR("/metrics")));
}

/* True when the connection is dealt with: handed over, refused or gone. */
static bool look_at(struct listener *listener, struct pending *p)
{
    char bytes[HEAD_MAX];
    ssize_t n = recv(p->fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
    struct http1_head head;
    struct http1_error error;
    size_t scanned = 0, end;

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        close(p->fd);
        return true;
    }
    p->begun = n > 0;
    end = n > 0 ? http1_head_end(bytes, (size_t)n, &scanned) : 0;
    if (end == 0) {
        if (n == (ssize_t)sizeof bytes)
            refuse(p->fd, 431, "the head is longer than 16384 bytes");
        else if (clock_monotonic() > p->due_us)
            refuse(p->fd, 408, "the head did not come in time");
        else
            return false;
        return true;
    }
    if (http1_parse_request(bytes, end, &head, &error) != ERR_OK) {
        refuse(p->fd, error.status, error.reason);
        return true;
    }
    if ((p->tag & TAG_METRICS) && !is_health(&head)) {
        refuse(p->fd, 404,
            "here are GET /healthz, /readyz and /metrics; the admin API is "
            "on the Unix socket");
        return true;
    }
    if (http_service_add(listener->service, p->fd, p->tag) != ERR_OK)
        log_warn("admin_connection_refused", "why=\"too many connections\"");
    return true;
}

static void look_at_all(struct listener *listener)
{
    size_t kept = 0;

    for (size_t i = 0; i < listener->pending_count; i++)
        if (!look_at(listener, &listener->pending[i]))
            listener->pending[kept++] = listener->pending[i];
    listener->pending_count = kept;
}

static void accept_one(struct listener *listener, int fd)
{
    bool is_unix = fd == listener->unix_fd;
    struct ucred peer;
    socklen_t length = sizeof peer;
    struct pending *p;
    int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

    if (accepted < 0)
        return;
    if (listener->pending_count == PENDING_MAX) {
        close(accepted);
        return;
    }
    p = &listener->pending[listener->pending_count];
    *p = (struct pending){.fd = accepted,
        .tag = TAG_METRICS,
        .due_us = clock_monotonic() + HEAD_TIMEOUT_US};
    if (is_unix) {
        if (getsockopt(accepted, SOL_SOCKET, SO_PEERCRED, &peer, &length)) {
            close(accepted);
            return;
        }
        p->tag = TAG_UNIX | ((uint64_t)peer.uid & TAG_UID_MASK);
    }
    listener->pending_count++;
}

/* Those that wait for their first byte, behind what is polled always. *timeout
 * for the others, and for the end of each one's patience. */
static nfds_t poll_pending(const struct listener *listener, struct pollfd *fds,
    nfds_t count, int *timeout)
{
    *timeout = -1;
    for (size_t i = 0; i < listener->pending_count; i++) {
        const struct pending *p = &listener->pending[i];
        int64_t left_ms = (p->due_us - clock_monotonic()) / 1000 + 1;
        int wait = p->begun ? PEEK_EVERY_MS : left_ms > 0 ? (int)left_ms : 0;
        if (!p->begun)
            fds[count++] = (struct pollfd){.fd = p->fd, .events = POLLIN};
        if (*timeout < 0 || wait < *timeout)
            *timeout = wait;
    }
    return count;
}

static void *run(void *context)
{
    struct listener *listener = context;
    struct pollfd fds[3 + PENDING_MAX] = {
        {.fd = listener->stop_fd, .events = POLLIN},
        {.fd = listener->unix_fd, .events = POLLIN},
        {.fd = listener->metrics_fd, .events = POLLIN},
    };

    for (;;) {
        int timeout;
        nfds_t count = poll_pending(listener, fds, 3, &timeout);
        if (poll(fds, count, timeout) < 0 && errno != EINTR)
            break;
        if (fds[0].revents)
            break;
        for (int i = 1; i < 3; i++)
            if (fds[i].revents & POLLIN)
                accept_one(listener, fds[i].fd);
        look_at_all(listener);
    }
    for (size_t i = 0; i < listener->pending_count; i++)
        close(listener->pending[i].fd);
    return NULL;
}

/* --- Sockets -------------------------------------------------------------- */

static bool somebody_listens(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool alive = fd >= 0 && connect(fd, (const struct sockaddr *)address,
                                sizeof *address) == 0;

    if (fd >= 0)
        close(fd);
    return alive;
}

static enum err open_unix(struct listener *listener, struct errinfo *info)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;

    if (strlen(listener->path) >= sizeof address.sun_path)
        return errinfo_set(info, ERR_RANGE,
            "admin_socket: %s is too long for a Unix socket", listener->path);
    memcpy(address.sun_path, listener->path, strlen(listener->path) + 1);
    if (lstat(listener->path, &status) == 0) {
        if (!S_ISSOCK(status.st_mode))
            return errinfo_set(info, ERR_EXISTS,
                "admin_socket: %s is there and is no socket", listener->path);
        if (somebody_listens(&address))
            return errinfo_set(info, ERR_EXISTS,
                "admin_socket: another process listens on %s", listener->path);
        unlink(listener->path);
    }
    listener->unix_fd =
        socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->unix_fd < 0)
        return errinfo_errno(info, ERR_IO, "socket");
    /* Nobody can connect between bind and listen, so the mode is set in
     * time. */
    if (bind(listener->unix_fd, (const struct sockaddr *)&address,
            sizeof address) != 0 ||
        chmod(listener->path, 0660) != 0 || listen(listener->unix_fd, 64) != 0)
        return errinfo_errno(
            info, ERR_IO, "admin_socket: cannot listen on %s", listener->path);
    return ERR_OK;
}

static enum err open_metrics(
    struct listener *listener, const char *text, struct errinfo *info)
{
    struct sockaddr_storage address;
    socklen_t length;
    int one = 1;
    enum err err;

    if (text[0] == '\0')
        return ERR_OK;
    err = address_parse(str_from(text), &address, &length, info);
    if (err)
        return err;
    if (!address_is_loopback(&address))
        return errinfo_set(info, ERR_INVALID,
            "metrics_listen: %s is not a loopback address", text);
    listener->metrics_fd = socket(
        address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->metrics_fd < 0)
        return errinfo_errno(info, ERR_IO, "socket");
    setsockopt(
        listener->metrics_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener->metrics_fd, (const struct sockaddr *)&address, length) !=
            0 ||
        listen(listener->metrics_fd, 64) != 0 ||
        getsockname(
            listener->metrics_fd, (struct sockaddr *)&address, &length) != 0)
        return errinfo_errno(
            info, ERR_IO, "metrics_listen: cannot listen on %s", text);
    listener->metrics_port =
        ntohs(address.ss_family == AF_INET6
                  ? ((const struct sockaddr_in6 *)&address)->sin6_port
                  : ((const struct sockaddr_in *)&address)->sin_port);
    return ERR_OK;
}

/* --- Life -------------------------------------------------------------------
 */

enum err listener_start(struct admin *admin, const struct settings *settings,
    struct listener **out, struct errinfo *info)
{
    struct listener *listener = calloc(1, sizeof *listener);
    const struct http_service_settings service = {
        .max_body = BODY_MAX,
        .idle_us = SERVICE_TIMEOUT_S * SECOND_US,
        .handler = handle_call,
        .context = listener,
    };
    enum err err;

    if (!listener)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    listener->magic = LISTENER_MAGIC;
    listener->admin = admin;
    listener->unix_fd = listener->metrics_fd = -1;
    listener->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    listener->path = strdup(settings->admin_socket);
    if (listener->stop_fd < 0 || !listener->path) {
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
        goto out;
    }
    err = open_unix(listener, info);
    if (!err)
        err = open_metrics(listener, settings->metrics_listen, info);
    if (!err)
        err = http_service_start(&service, &listener->service, info);
    if (!err && settings->admin_listen[0])
        err = door_new(settings, listener->service, &listener->door, info);
    if (!err && listener->door)
        err = door_open(listener->door, info);
    if (!err && pthread_create(&listener->thread, NULL, run, listener) != 0)
        err = errinfo_set(info, ERR_NOMEM, "no thread for the admin listener");
    if (!err)
        listener->running = true;
out:
    if (err) {
        listener_stop(&listener);
        return err;
    }
    *out = listener;
    return ERR_OK;
}

void listener_stop(struct listener **listener_ref)
{
    struct listener *listener = *listener_ref;
    uint64_t one = 1;

    if (!listener)
        return;
    if (listener->running) {
        MUST(write(listener->stop_fd, &one, sizeof one) == sizeof one);
        pthread_join(listener->thread, NULL);
    }
    if (listener->unix_fd >= 0) {
        close(listener->unix_fd);
        unlink(listener->path);
    }
    if (listener->metrics_fd >= 0)
        close(listener->metrics_fd);
    if (listener->door)
        door_close(listener->door);
    http_service_stop(&listener->service);
    door_free(&listener->door);
    if (listener->stop_fd >= 0)
        close(listener->stop_fd);
    free(listener->path);
    listener->magic = 0;
    free(listener);
    *listener_ref = NULL;
}

uint16_t listener_metrics_port(const struct listener *listener)
{
    return listener->metrics_port;
}

uint16_t listener_door_port(const struct listener *listener)
{
    return listener->door ? door_port(listener->door) : 0;
}

struct tls_context *listener_tls(const struct listener *listener)
{
    return listener->door ? door_tls(listener->door) : NULL;
}

void listener_set_tls(struct listener *listener, struct tls_context *tls)
{
    if (listener->door)
        door_set_tls(listener->door, tls);
    else
        tls_context_unref(&tls);
}
