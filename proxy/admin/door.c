/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/door.c - see door.h. A visit is one connection: handshake, head,
 * then bytes both ways between TLS and one end of a socket pair, whose other
 * end libmicrohttpd has. Its place is kept until that end is closed, so that a
 * tag never stands for somebody who came later. */
#include "proxy/admin/door.h"

#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/encode.h"
#include "lib/http1.h"
#include "lib/log.h"
#include "lib/must.h"
#include "proxy/visitors.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define DOOR_MAGIC 0x646f6f72u
#define HEAD_MAX 16384
#define QUEUED_MAX (256u * 1024)
#define TURN_US SECOND_US
#define FAREWELL_US (2 * SECOND_US)

struct place {
    bool taken;
    int fd;
    struct sockaddr_storage peer;
    struct door *door;
    struct tls_context *tls; /* referenced */
    char certificate[65];    /* fingerprint; "": none was shown */
};

struct door {
    unsigned magic;
    struct http_service *service;
    int fd, stop_fd;
    uint16_t port;
    int64_t handshake_us, head_us, body_us, write_us, failures_per_minute;
    pthread_t thread;
    bool running;
    pthread_mutex_t mutex; /* all below */
    pthread_cond_t left;
    struct tls_context *tls;
    struct visitors *visitors;
    struct place places[DOOR_VISITS];
    size_t inside;
};

struct visit {
    struct door *door;
    struct tls *tls;
    int fd, inner;
    char up[HEAD_MAX]; /* on its way to the service */
    size_t up_at, up_len;
    uint64_t body_left;   /* of the request, not read yet */
    bool lost;            /* the peer: what the service says is dropped */
    int64_t write_due_us; /* while something waits for the peer */
    size_t queued_before;
};

void door_refusal(struct buf *out, int status, const char *why)
{
    struct buf body;

    buf_init(&body, 1024);
    buf_printf(&body,
        "{\"type\":\"urn:bailiff:problem:bad-head\",\"title\":\"%s\","
        "\"status\":%d,\"detail\":\"%s\"}\n",
        http1_status_text(status), status, why);
    buf_printf(out,
        "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\n"
        "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
        status, http1_status_text(status), body.len, buf_cstr(&body));
    buf_fini(&body);
}

/* --- Before the service --------------------------------------------------- */

/* Waits for the peer. False: time is over, or the door closes. */
static bool wait_for_peer(struct visit *v, int64_t due_us)
{
    int64_t left_us = due_us - clock_monotonic();
    short wanted = tls_queued(v->tls) > 0 ? POLLIN | POLLOUT : POLLIN;
    struct pollfd fds[2] = {
        {.fd = v->door->stop_fd, .events = POLLIN},
        {.fd = v->fd, .events = wanted},
    };

    if (left_us <= 0)
        return false;
    if (poll(fds, 2, (int)(left_us / 1000 + 1)) < 0)
        return errno == EINTR;
    if (fds[0].revents)
        return false;
    if (fds[1].revents & POLLOUT)
        (void)tls_flush(v->tls); /* a broken one says so at the next step */
    if (fds[1].revents & ~POLLOUT)
        tls_readable(v->tls);
    return true;
}

static bool shake_hands(struct visit *v)
{
    int64_t due = clock_monotonic() + v->door->handshake_us;
    enum tls_progress progress;

    while ((progress = tls_handshake(v->tls)) == TLS_WAIT)
        if (!wait_for_peer(v, due))
            return false;
    return progress == TLS_DONE;
}

static void refuse(struct visit *v, int status, const char *why)
{
    struct buf answer;

    buf_init(&answer, 4096);
    door_refusal(&answer, status, why);
    (void)tls_write(v->tls, buf_str(&answer).ptr, answer.len);
    buf_fini(&answer);
}

/* Leaves in v->up what may go on. False: refused, or nobody is there. */
static bool read_head(struct visit *v)
{
    int64_t due = clock_monotonic() + v->door->head_us;
    size_t end = 0, scanned = 0, got, body;
    struct http1_head head;
    struct http1_error error;

    while (end == 0) {
        enum tls_progress progress =
            tls_read(v->tls, v->up + v->up_len, sizeof v->up - v->up_len, &got);
        if (progress == TLS_WAIT) {
            if (!wait_for_peer(v, due)) {
                refuse(v, 408, "the head did not come in time");
                return false;
            }
            continue;
        }
        if (progress != TLS_DONE)
            return false;
        v->up_len += got;
        end = http1_head_end(v->up, v->up_len, &scanned);
        if (end == 0 && v->up_len == sizeof v->up) {
            refuse(v, 431, "the head is longer than 16384 bytes");
            return false;
        }
    }
    if (http1_parse_request(v->up, end, &head, &error) != ERR_OK) {
        refuse(v, error.status, error.reason);
        return false;
    }
    if (head.body == HTTP1_BODY_CHUNKED) {
        refuse(v, 411, "send Content-Length: chunked bodies are not taken");
        return false;
    }
    v->body_left = head.body == HTTP1_BODY_LENGTH ? head.content_length : 0;
    body = v->up_len - end;
    if (body > v->body_left)
        body = (size_t)v->body_left; /* what is behind it is dropped */
    v->up_len = end + body;
    v->body_left -= body;
    return true;
}

/* --- Beside the service --------------------------------------------------- */

/* The service sees an end: in the middle of a body it gives the request up,
 * behind it the answer is in vain. */
static void lose(struct visit *v)
{
    v->lost = true;
    v->body_left = v->up_len = 0;
    shutdown(v->inner, SHUT_WR);
}

/* One step from the peer to the service; true: something moved. */
static bool move_up(struct visit *v)
{
    bool moved = false;
    size_t got;

    if (v->up_len == 0 && v->body_left > 0) {
        size_t room = sizeof v->up;
        enum tls_progress progress;
        if (room > v->body_left)
            room = (size_t)v->body_left;
        progress = tls_read(v->tls, v->up, room, &got);
        if (progress == TLS_DONE) {
            v->up_at = 0;
            v->up_len = got;
            v->body_left -= got;
            moved = true;
        } else if (progress != TLS_WAIT) {
            lose(v);
            return true;
        }
    }
    if (v->up_len > 0) {
        ssize_t n = send(
            v->inner, v->up + v->up_at, v->up_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            v->up_at += (size_t)n;
            v->up_len -= (size_t)n;
            moved = true;
        } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
            /* It wants no more of it; its answer may be there. */
            v->up_len = 0;
            v->body_left = 0;
        }
    }
    return moved;
}

/* One step from the service to the peer. False: the service has closed. */
static bool move_down(struct visit *v, bool *moved)
{
    char bytes[16384];
    ssize_t n;

    if (!v->lost && tls_queued(v->tls) >= QUEUED_MAX)
        return true;
    n = recv(v->inner, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return false;
    *moved = true;
    if (!v->lost && !tls_write(v->tls, bytes, (size_t)n))
        lose(v);
    return true;
}

/* False: the door closes. */
static bool wait_for_both(struct visit *v)
{
    size_t queued = v->lost ? 0 : tls_queued(v->tls);
    bool reads = !v->lost && v->up_len == 0 && v->body_left > 0;
    short outer = (short)((reads ? POLLIN : 0) | (queued > 0 ? POLLOUT : 0));
    short inner = (short)((queued < QUEUED_MAX ? POLLIN : 0) |
                          (v->up_len > 0 ? POLLOUT : 0));
    struct pollfd fds[3] = {
        {.fd = v->door->stop_fd, .events = POLLIN},
        {.fd = outer ? v->fd : -1, .events = outer},
        {.fd = inner ? v->inner : -1, .events = inner},
    };

    if (poll(fds, 3, (int)(TURN_US / 1000)) < 0)
        return errno == EINTR;
    if (fds[0].revents)
        return false;
    if (fds[1].revents & ~POLLOUT)
        tls_readable(v->tls);
    if (fds[1].revents && queued > 0 && !tls_flush(v->tls))
        lose(v);
    return true;
}

/* A peer that takes nothing is cut. */
static void watch_writing(struct visit *v, int64_t now)
{
    size_t queued = tls_queued(v->tls);

    if (queued == 0 || v->queued_before == 0 || queued < v->queued_before)
        v->write_due_us = now + v->door->write_us;
    else if (!v->lost && now > v->write_due_us)
        lose(v);
    v->queued_before = queued;
}

static void relay(struct visit *v)
{
    int64_t body_due = clock_monotonic() + v->door->body_us;

    for (;;) {
        int64_t now = clock_monotonic();
        bool moved = move_up(v);
        if (!move_down(v, &moved))
            return;
        if (!v->lost && v->body_left > 0 && now > body_due)
            lose(v);
        watch_writing(v, now);
        if (!moved && !wait_for_both(v))
            return;
    }
}

/* The rest of the answer, and an end that does not turn into a reset of it
 * while the peer still sends. */
static void say_farewell(struct visit *v)
{
    int64_t due = clock_monotonic() + v->door->write_us;
    bool half_closed = false, gone = false;

    tls_shutdown(v->tls);
    for (;;) {
        size_t queued = tls_queued(v->tls);
        int64_t left_us = due - clock_monotonic();
        struct pollfd fds[2] = {
            {.fd = v->door->stop_fd, .events = POLLIN},
            {.fd = v->fd,
                .events =
                    (short)((gone ? 0 : POLLIN) | (queued > 0 ? POLLOUT : 0))},
        };
        if (queued == 0 && gone)
            return;
        if (queued == 0 && !half_closed) {
            half_closed = true;
            shutdown(v->fd, SHUT_WR);
            due = clock_monotonic() + FAREWELL_US;
            continue;
        }
        if (left_us <= 0 || poll(fds, 2, (int)(left_us / 1000 + 1)) < 0 ||
            fds[0].revents)
            return;
        if ((fds[1].revents & POLLIN) && !tls_discard(v->tls))
            gone = true;
        if (fds[1].revents & (POLLERR | POLLHUP))
            return;
        if (queued > 0 && !tls_flush(v->tls))
            return;
    }
}

/* False: it cannot be looked at. */
static bool keep_certificate(struct place *place, struct tls *tls)
{
    uint8_t digest[SHA256_SIZE];
    char hex[65] = "";

    if (tls_fingerprint(tls, digest))
        hex_write(hex, digest, sizeof digest);
    else if (tls_why(tls)[0])
        return false;
    pthread_mutex_lock(&place->door->mutex);
    memcpy(place->certificate, hex, sizeof hex);
    pthread_mutex_unlock(&place->door->mutex);
    return true;
}

/* --- Visits --------------------------------------------------------------- */

static void serve(struct place *place)
{
    struct door *door = place->door;
    struct visit v = {.door = door, .fd = place->fd, .inner = -1};
    int pair[2];

    v.tls = tls_new(place->tls, place->fd, TLS_CERTIFICATES_UNJUDGED);
    if (!v.tls)
        return;
    if (!shake_hands(&v) || !keep_certificate(place, v.tls)) {
        log_debug("admin_handshake_failed", "why=\"%s\"",
            tls_why(v.tls) ? tls_why(v.tls) : "it took too long");
    } else if (!read_head(&v)) {
        say_farewell(&v);
    } else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0) {
        uint64_t tag = DOOR_TAG | (uint64_t)(place - door->places);
        v.inner = pair[0];
        if (http_service_add(door->service, pair[1], tag) == ERR_OK)
            relay(&v);
        else
            refuse(&v, 503, "too many connections; try again soon");
        if (!v.lost)
            say_farewell(&v);
        close(v.inner);
    }
    tls_free(&v.tls);
}

static void *run_visit(void *context)
{
    struct place *place = context;
    struct door *door = place->door;

    serve(place);
    close(place->fd);
    pthread_mutex_lock(&door->mutex);
    tls_context_unref(&place->tls);
    visitors_leave(door->visitors, (const struct sockaddr *)&place->peer);
    place->taken = false;
    door->inside--;
    pthread_cond_signal(&door->left);
    pthread_mutex_unlock(&door->mutex);
    return NULL;
}

/* With the mutex. NULL: no room. */
static struct place *take_place(
    struct door *door, const struct sockaddr_storage *peer)
{
    for (size_t i = 0; i < DOOR_VISITS; i++) {
        struct place *place = &door->places[i];
        if (place->taken)
            continue;
        if (!visitors_enter(door->visitors, (const struct sockaddr *)peer,
                DOOR_VISITS_PER_ADDRESS))
            return NULL;
        *place = (struct place){.taken = true,
            .fd = -1,
            .peer = *peer,
            .door = door,
            .tls = tls_context_ref(door->tls)};
        door->inside++;
        return place;
    }
    return NULL;
}

static void let_in(struct door *door)
{
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    struct place *place;
    pthread_attr_t detached;
    pthread_t thread;
    int fd;

    memset(&peer, 0, sizeof peer);
    fd = accept4(door->fd, (struct sockaddr *)&peer, &length,
        SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        /* Out of descriptors: the next turn, but not at once. */
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            poll(NULL, 0, 100);
        return;
    }
    pthread_mutex_lock(&door->mutex);
    place = take_place(door, &peer);
    pthread_mutex_unlock(&door->mutex);
    if (!place) {
        close(fd);
        return;
    }
    place->fd = fd;
    MUST(pthread_attr_init(&detached) == 0);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &detached, run_visit, place) != 0) {
        log_warn("admin_connection_refused", "why=\"no thread for it\"");
        close(fd);
        pthread_mutex_lock(&door->mutex);
        tls_context_unref(&place->tls);
        visitors_leave(door->visitors, (const struct sockaddr *)&peer);
        place->taken = false;
        door->inside--;
        pthread_mutex_unlock(&door->mutex);
    }
    pthread_attr_destroy(&detached);
}

static void *run(void *context)
{
    struct door *door = context;
    struct pollfd fds[2] = {
        {.fd = door->stop_fd, .events = POLLIN},
        {.fd = door->fd, .events = POLLIN},
    };

    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            break;
        if (fds[0].revents)
            break;
        if (fds[1].revents & POLLIN)
            let_in(door);
    }
    return NULL;
}

/* --- Life ----------------------------------------------------------------- */

static enum err bind_door(
    struct door *door, const char *text, struct errinfo *info)
{
    struct sockaddr_storage address;
    socklen_t length;
    char bound[ADDRESS_TEXT_MAX];
    int one = 1;
    enum err err = address_parse(str_from(text), &address, &length, info);

    if (err)
        return err;
    door->fd = socket(
        address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (door->fd < 0)
        return errinfo_errno(info, ERR_IO, "socket");
    setsockopt(door->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (address.ss_family == AF_INET6)
        setsockopt(door->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(door->fd, (const struct sockaddr *)&address, length) != 0 ||
        listen(door->fd, 64) != 0 ||
        getsockname(door->fd, (struct sockaddr *)&address, &length) != 0)
        return errinfo_errno(
            info, ERR_IO, "admin_listen: cannot listen on %s", text);
    door->port = ntohs(address.ss_family == AF_INET6
                           ? ((struct sockaddr_in6 *)&address)->sin6_port
                           : ((struct sockaddr_in *)&address)->sin_port);
    address_format(&address, bound, sizeof bound);
    log_info("admin_door", "address=%s", bound);
    return ERR_OK;
}

enum err door_new(const struct settings *settings, struct http_service *service,
    struct door **out, struct errinfo *info)
{
    struct door *door = calloc(1, sizeof *door);
    enum err err = ERR_OK;

    if (!door)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    door->magic = DOOR_MAGIC;
    door->service = service;
    door->fd = -1;
    door->handshake_us = settings->handshake_timeout_ms * 1000;
    door->head_us = settings->head_timeout_ms * 1000;
    door->body_us = settings->body_timeout_ms * 1000;
    door->write_us = settings->write_timeout_ms * 1000;
    door->failures_per_minute = settings->refusals_per_minute;
    MUST(pthread_mutex_init(&door->mutex, NULL) == 0);
    MUST(pthread_cond_init(&door->left, NULL) == 0);
    door->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    door->visitors = visitors_new();
    if (door->stop_fd < 0 || !door->visitors)
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
    if (!err)
        err = tls_context_new(settings->admin_certificate, settings->admin_key,
            settings->admin_ocsp, &door->tls, info);
    if (!err)
        err = bind_door(door, settings->admin_listen, info);
    if (err) {
        door_free(&door);
        return err;
    }
    *out = door;
    return ERR_OK;
}

enum err door_open(struct door *door, struct errinfo *info)
{
    CHECK_MAGIC(door, DOOR_MAGIC);
    if (pthread_create(&door->thread, NULL, run, door) != 0)
        return errinfo_set(info, ERR_NOMEM, "no thread for admin_listen");
    door->running = true;
    return ERR_OK;
}

void door_close(struct door *door)
{
    uint64_t one = 1;

    CHECK_MAGIC(door, DOOR_MAGIC);
    if (!door->running)
        return;
    MUST(write(door->stop_fd, &one, sizeof one) == sizeof one);
    pthread_join(door->thread, NULL);
    door->running = false;
    pthread_mutex_lock(&door->mutex);
    while (door->inside > 0)
        pthread_cond_wait(&door->left, &door->mutex);
    pthread_mutex_unlock(&door->mutex);
}

void door_free(struct door **door_ref)
{
    struct door *door = *door_ref;

    if (!door)
        return;
    MUST(!door->running);
    if (door->fd >= 0)
        close(door->fd);
    if (door->stop_fd >= 0)
        close(door->stop_fd);
    tls_context_unref(&door->tls);
    visitors_free(&door->visitors);
    pthread_cond_destroy(&door->left);
    pthread_mutex_destroy(&door->mutex);
    door->magic = 0;
    free(door);
    *door_ref = NULL;
}

/* --- For handlers --------------------------------------------------------- */

struct tls_context *door_tls(struct door *door)
{
    struct tls_context *tls;

    CHECK_MAGIC(door, DOOR_MAGIC);
    pthread_mutex_lock(&door->mutex);
    tls = tls_context_ref(door->tls);
    pthread_mutex_unlock(&door->mutex);
    return tls;
}

void door_set_tls(struct door *door, struct tls_context *tls)
{
    CHECK_MAGIC(door, DOOR_MAGIC);
    pthread_mutex_lock(&door->mutex);
    tls_context_unref(&door->tls);
    door->tls = tls;
    pthread_mutex_unlock(&door->mutex);
}

void door_certificate(struct door *door, uint64_t tag, char out[65])
{
    size_t i = (size_t)(tag & ~DOOR_TAG);

    CHECK_MAGIC(door, DOOR_MAGIC);
    MUST(i < DOOR_VISITS);
    pthread_mutex_lock(&door->mutex);
    memcpy(out, door->places[i].certificate, 65);
    pthread_mutex_unlock(&door->mutex);
}

static struct sockaddr_storage peer_of(struct door *door, uint64_t tag)
{
    struct sockaddr_storage peer;
    size_t i = (size_t)(tag & ~DOOR_TAG);

    CHECK_MAGIC(door, DOOR_MAGIC);
    MUST(i < DOOR_VISITS);
    pthread_mutex_lock(&door->mutex);
    peer = door->places[i].peer;
    pthread_mutex_unlock(&door->mutex);
    return peer;
}

void door_peer(struct door *door, uint64_t tag, char out[ADDRESS_TEXT_MAX])
{
    struct sockaddr_storage peer = peer_of(door, tag);
    char text[ADDRESS_TEXT_MAX];
    const char *colon;
    struct str host;

    address_format(&peer, text, sizeof text);
    colon = strrchr(text, ':');
    host = str_make(text, colon ? (size_t)(colon - text) : strlen(text));
    if (host.len > 2 && host.ptr[0] == '[') /* "[::1]" */
        host = str_make(host.ptr + 1, host.len - 2);
    snprintf(out, ADDRESS_TEXT_MAX, "%.*s", STR_ARG(host));
}

void door_discourage(struct door *door, uint64_t tag)
{
    struct sockaddr_storage peer = peer_of(door, tag);
    struct pollfd stop = {.fd = door->stop_fd, .events = POLLIN};
    int64_t delay;

    if (door->failures_per_minute == 0)
        return;
    pthread_mutex_lock(&door->mutex);
    delay = visitors_delay(door->visitors, (const struct sockaddr *)&peer,
        door->failures_per_minute, clock_monotonic());
    pthread_mutex_unlock(&door->mutex);
    if (delay > 0)
        poll(&stop, 1, (int)(delay / 1000));
}

uint16_t door_port(const struct door *door)
{
    return door->port;
}
