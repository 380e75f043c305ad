/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/transfer_curl.c - https engines through libcurl's multi interface,
 * on the worker's own event loop.
 *
 * Sockets stay registered until libcurl closes them
 * (CURLOPT_CLOSESOCKETFUNCTION); its timeout is one loop timer. The body comes
 * from a read callback that cannot be rewound, and a second start of the same
 * call is refused, so that libcurl cannot re-send anything silently: a dead
 * pooled connection is an error here. Nothing is called
 * back from inside transfer_start, and easy handles are removed at the end of
 * the turn only, never inside libcurl's own callbacks. */
#include "engine/transfer_priv.h"
#include "lib/must.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CALL_MAGIC 0x6375726cu

struct call {
    struct transfer transfer; /* first */
    uint32_t magic;
    struct curl_driver *driver;
    struct call *next, *previous;
    struct call *next_over;
    CURL *easy;
    struct curl_slist *headers;
    char *url;
    struct iovec *pieces;
    size_t piece_count, piece_at, piece_offset;
    struct buf head; /* the answer's head lines, for the strict parser */
    struct transfer_handler *handler;
    struct loop_timer timer; /* first byte and stall */
    int64_t deadline_us;
    bool paused, sent, head_seen, dialled, started, reused, over, cancelled;
    enum transfer_end end;
    char why[CURL_ERROR_SIZE];
};

struct watched_socket {
    struct loop_source source;
    struct curl_driver *driver;
    struct watched_socket *next;
    curl_socket_t fd;
};

struct curl_driver {
    struct transfer_loop *transfers;
    CURLM *multi;
    struct loop_timer timer;
    struct loop_hook hook;
    struct call *calls;
    struct call *over; /* ended; told and freed at the end of the turn */
    struct watched_socket *sockets;
    unsigned active;
};

static void finish_call(struct call *c, enum transfer_end end, const char *why)
{
    if (c->over)
        return;
    c->over = true;
    c->end = end;
    snprintf(c->why, sizeof(c->why), "%s", why);
    c->next_over = c->driver->over;
    c->driver->over = c;
    loop_again(c->driver->transfers->loop);
}

static void set_deadline(struct call *c, int64_t from_now_us)
{
    struct loop *loop = c->driver->transfers->loop;
    c->deadline_us = loop_now(loop) + from_now_us;
    if (!loop_timer_armed(&c->timer) || c->timer.due_us > c->deadline_us)
        loop_timer_set(loop, &c->timer, c->deadline_us);
}

static void call_expired(struct loop_timer *timer)
{
    struct call *c =
        (struct call *)((char *)timer - offsetof(struct call, timer));
    struct loop *loop = c->driver->transfers->loop;
    CHECK_MAGIC(c, CALL_MAGIC);
    if (c->paused)
        set_deadline(c, c->driver->transfers->timeouts.stall_us);
    else if (loop_now(loop) < c->deadline_us)
        loop_timer_set(loop, timer, c->deadline_us);
    else
        finish_call(c, TRANSFER_TIMEOUT,
            c->head_seen ? "the answer stalled"
                         : "no answer within the time allowed");
}

/* --- libcurl's callbacks for one call ------------------------------------ */

static size_t give_body(char *out, size_t size, size_t count, void *context)
{
    struct call *c = context;
    size_t room = size * count, given = 0;
    if (c->over) /* cancelled perhaps: its owner's bytes may be gone */
        return CURL_READFUNC_ABORT;
    while (given < room && c->piece_at < c->piece_count) {
        const struct iovec *piece = &c->pieces[c->piece_at];
        size_t left = piece->iov_len - c->piece_offset;
        size_t n = left < room - given ? left : room - given;
        memcpy(out + given, (const char *)piece->iov_base + c->piece_offset, n);
        given += n;
        c->piece_offset += n;
        if (c->piece_offset == piece->iov_len) {
            c->piece_at++;
            c->piece_offset = 0;
        }
    }
    c->sent = true;
    set_deadline(c, c->driver->transfers->timeouts.first_byte_us);
    return given;
}

static int refuse_rewind(void *context, curl_off_t offset, int origin)
{
    return CURL_SEEKFUNC_FAIL;
}

/* A connection is opened for this call, so it runs on no pooled one. */
static curl_socket_t open_socket(
    void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct call *c = context;
    c->dialled = true;
    return socket(
        address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* The connection is there and the request about to be sent. A second time, a
 * pooled connection has died and libcurl would try another: parts of the body
 * are gone with the first, and whether to try again is not its to decide. */
static int before_request(void *context, char *peer_address,
    char *local_address, int peer_port, int local_port)
{
    struct call *c = context;
    if (c->started)
        return CURL_PREREQFUNC_ABORT;
    c->started = true;
    c->reused = !c->dialled;
    return CURL_PREREQFUNC_OK;
}

/* Every head goes through the same strict parser as on the plain path. */
static size_t take_head_line(
    char *line, size_t size, size_t count, void *context)
{
    struct call *c = context;
    size_t n = size * count;
    struct http1_head head;
    struct http1_error error;
    buf_append(&c->head, line, n);
    if (c->head.failed || c->over)
        return 0;
    if (n != 2 || line[0] != '\r')
        return n;
    struct str text = buf_str(&c->head);
    if (http1_parse_response(text.ptr, text.len, false, &head, &error) !=
        ERR_OK) {
        finish_call(c, TRANSFER_BAD_ANSWER, error.reason);
        return 0;
    }
    if (head.status >= 200) {
        c->head_seen = true;
        set_deadline(c, c->driver->transfers->timeouts.stall_us);
        c->handler->head(c->handler, &head);
    }
    buf_clear(&c->head);
    return c->cancelled ? 0 : n;
}

static size_t take_data(char *bytes, size_t size, size_t count, void *context)
{
    struct call *c = context;
    size_t n = size * count;
    if (c->over || c->cancelled)
        return 0;
    if (c->paused)
        return CURL_WRITEFUNC_PAUSE;
    set_deadline(c, c->driver->transfers->timeouts.stall_us);
    c->handler->data(c->handler, str_make(bytes, n));
    return c->cancelled ? 0 : n;
}

/* --- Sockets and time ---------------------------------------------------- */

static void look_for_ends(struct curl_driver *d)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(d->multi, &left)) != NULL) {
        struct call *c = NULL;
        char *self = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &self);
        c = (struct call *)(void *)self;
        CURLcode code = message->data.result;
        const char *why = c->why[0] != '\0' ? c->why : curl_easy_strerror(code);
        char text[CURL_ERROR_SIZE];
        snprintf(text, sizeof(text), "%s", why);
        switch ((int)code) {
        case CURLE_OK:
            finish_call(c, TRANSFER_OK, "");
            break;
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_CONNECT:
        case CURLE_SSL_CONNECT_ERROR:
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CACERT_BADFILE:
            finish_call(c, TRANSFER_UNREACHABLE, text);
            break;
        case CURLE_OPERATION_TIMEDOUT:
            finish_call(c, TRANSFER_TIMEOUT, text);
            break;
        case CURLE_ABORTED_BY_CALLBACK:
            finish_call(
                c, TRANSFER_CLOSED, "a pooled connection had been closed");
            break;
        case CURLE_OUT_OF_MEMORY:
            finish_call(c, TRANSFER_NOMEM, text);
            break;
        default:
            finish_call(c, TRANSFER_CLOSED, text);
            break;
        }
    }
}

static void act(struct curl_driver *d, curl_socket_t fd, int bits)
{
    int running;
    curl_multi_socket_action(d->multi, fd, bits, &running);
    look_for_ends(d);
}

static void socket_ready(struct loop_source *source, uint32_t events)
{
    struct watched_socket *w =
        (struct watched_socket *)((char *)source -
                                  offsetof(struct watched_socket, source));
    int bits = 0;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP))
        bits |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        bits |= CURL_CSELECT_OUT;
    if (events & EPOLLERR)
        bits |= CURL_CSELECT_ERR;
    act(w->driver, w->fd, bits);
}

static struct watched_socket *find_socket(
    struct curl_driver *d, curl_socket_t fd)
{
    struct watched_socket *w = d->sockets;
    while (w != NULL && w->fd != fd)
        w = w->next;
    return w;
}

/* libcurl reads until EAGAIN only as far as it wants, so the registration is
 * level-triggered for what it asks for. */
static int watch_socket(
    CURL *easy, curl_socket_t fd, int what, void *context, void *attached)
{
    struct curl_driver *d = context;
    struct loop *loop = d->transfers->loop;
    struct watched_socket *w = find_socket(d, fd);
    uint32_t events = 0;
    if (what == CURL_POLL_REMOVE) {
        if (w != NULL)
            (void)!loop_modify(loop, fd, 0, &w->source);
        return 0;
    }
    if (what & CURL_POLL_IN)
        events |= EPOLLIN;
    if (what & CURL_POLL_OUT)
        events |= EPOLLOUT;
    if (w != NULL)
        return loop_modify(loop, fd, events, &w->source) == ERR_OK ? 0 : -1;
    w = calloc(1, sizeof(*w));
    if (w == NULL)
        return -1;
    w->source.ready = socket_ready;
    w->driver = d;
    w->fd = fd;
    if (loop_add(loop, fd, events, &w->source) != ERR_OK) {
        free(w);
        return -1;
    }
    w->next = d->sockets;
    d->sockets = w;
    return 0;
}

static int close_socket(void *context, curl_socket_t fd)
{
    struct curl_driver *d = context;
    for (struct watched_socket **link = &d->sockets; *link != NULL;
         link = &(*link)->next) {
        struct watched_socket *w = *link;
        if (w->fd != fd)
            continue;
        *link = w->next;
        loop_remove(d->transfers->loop, fd, &w->source);
        free(w);
        break;
    }
    return close(fd);
}

static int set_timer(CURLM *multi, long ms, void *context)
{
    struct curl_driver *d = context;
    struct loop *loop = d->transfers->loop;
    if (ms < 0)
        loop_timer_clear(loop, &d->timer);
    else
        loop_timer_set(loop, &d->timer, loop_now(loop) + ms * 1000);
    return 0;
}

static void timer_expired(struct loop_timer *timer)
{
    struct curl_driver *d =
        (struct curl_driver *)((char *)timer -
                               offsetof(struct curl_driver, timer));
    act(d, CURL_SOCKET_TIMEOUT, 0);
}

/* --- Ends ---------------------------------------------------------------- */

static void free_call(struct call *c)
{
    struct curl_driver *d = c->driver;
    loop_timer_clear(d->transfers->loop, &c->timer);
    if (c->easy != NULL) {
        curl_multi_remove_handle(d->multi, c->easy);
        curl_easy_cleanup(c->easy);
    }
    if (c->previous != NULL)
        c->previous->next = c->next;
    else
        d->calls = c->next;
    if (c->next != NULL)
        c->next->previous = c->previous;
    d->active--;
    curl_slist_free_all(c->headers);
    free(c->url);
    free(c->pieces);
    buf_fini(&c->head);
    c->magic = 0;
    free(c);
}

static void turn(struct loop_hook *hook)
{
    struct curl_driver *d =
        (struct curl_driver *)((char *)hook -
                               offsetof(struct curl_driver, hook));
    while (d->over != NULL) {
        struct call *c = d->over;
        struct transfer_handler *handler = c->cancelled ? NULL : c->handler;
        struct transfer_result result = {.end = c->end,
            .reused = c->reused,
            .sent = c->sent,
            .head_seen = c->head_seen};
        char why[CURL_ERROR_SIZE];
        d->over = c->next_over;
        snprintf(why, sizeof(why), "%s", c->why);
        result.why = why;
        free_call(c);
        if (handler != NULL)
            handler->done(handler, &result);
    }
}

static void cancel(struct transfer *transfer)
{
    struct call *c = (struct call *)transfer;
    CHECK_MAGIC(c, CALL_MAGIC);
    c->cancelled = true;
    finish_call(c, TRANSFER_CLOSED, "cancelled");
}

static void pause_call(struct transfer *transfer)
{
    ((struct call *)transfer)->paused = true;
}

static void resume_call(struct transfer *transfer)
{
    struct call *c = (struct call *)transfer;
    if (!c->paused)
        return;
    c->paused = false;
    set_deadline(c, c->driver->transfers->timeouts.stall_us);
    curl_easy_pause(c->easy, CURLPAUSE_CONT);
    look_for_ends(c->driver);
}

/* --- Starting ------------------------------------------------------------ */

static bool add_header(struct call *c, struct str name, struct str value)
{
    char line[8192];
    int n = snprintf(
        line, sizeof(line), "%.*s: %.*s", STR_ARG(name), STR_ARG(value));
    if (n < 0 || (size_t)n >= sizeof(line))
        return false;
    struct curl_slist *longer = curl_slist_append(c->headers, line);
    if (longer == NULL)
        return false;
    c->headers = longer;
    return true;
}

static bool set_headers(struct call *c, const struct transfer_request *request)
{
    char bearer[4200];
    bool good = true;
    for (size_t i = 0; good && i < request->header_count; i++)
        good =
            add_header(c, request->headers[i].name, request->headers[i].value);
    if (good && request->target->credential[0] != '\0') {
        int n = snprintf(
            bearer, sizeof(bearer), "Bearer %s", request->target->credential);
        good = n > 0 && (size_t)n < sizeof(bearer) &&
               add_header(c, STR("Authorization"), str_from(bearer));
    }
    /* An Expect would make libcurl wait a second with larger bodies. */
    struct curl_slist *longer = curl_slist_append(c->headers, "Expect:");
    if (longer == NULL)
        return false;
    c->headers = longer;
    return good;
}

static bool set_request(struct call *c, const struct transfer_request *request)
{
    const struct engine_target *target = request->target;
    size_t size = strlen(target->authority) + strlen(target->base_path) +
                  request->path.len + 16;
    c->url = malloc(size);
    c->pieces = calloc(request->body_count + 1, sizeof(*c->pieces));
    if (c->url == NULL || c->pieces == NULL || !set_headers(c, request))
        return false;
    snprintf(c->url, size, "https://%s%s%.*s", target->authority,
        target->base_path, STR_ARG(request->path));
    for (size_t i = 0; i < request->body_count; i++)
        c->pieces[i] = request->body[i];
    c->piece_count = request->body_count;
    curl_easy_setopt(c->easy, CURLOPT_URL, c->url);
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers);
    curl_easy_setopt(c->easy, CURLOPT_FORBID_REUSE,
        engine_kind_pools(request->target->kind) ? 0L : 1L);
    curl_easy_setopt(c->easy, CURLOPT_FRESH_CONNECT, request->fresh ? 1L : 0L);
    if (str_equal(request->method, STR("POST"))) {
        curl_easy_setopt(c->easy, CURLOPT_POST, 1L);
        curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE,
            (curl_off_t)request->body_length);
        curl_easy_setopt(c->easy, CURLOPT_READFUNCTION, give_body);
        curl_easy_setopt(c->easy, CURLOPT_READDATA, c);
        curl_easy_setopt(c->easy, CURLOPT_SEEKFUNCTION, refuse_rewind);
    }
    if (target->ca_file[0] != '\0')
        curl_easy_setopt(c->easy, CURLOPT_CAINFO, target->ca_file);
    return true;
}

static void set_rules(struct call *c, const struct transfer_timeouts *timeouts)
{
    CURL *easy = c->easy;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, (char *)c);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, c->why);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(
        easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(timeouts->connect_us / 1000));
    curl_easy_setopt(
        easy, CURLOPT_MAXAGE_CONN, (long)(timeouts->idle_us / 1000000));
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_head_line);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_data);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_request);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, c);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, c);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, c->driver);
}

static enum err start(struct transfer_loop *transfers,
    const struct transfer_request *request, struct transfer_handler *handler,
    struct transfer **out)
{
    struct curl_driver *d = transfers->curl;
    struct call *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return ERR_NOMEM;
    c->transfer.backend = &transfer_curl_backend;
    c->magic = CALL_MAGIC;
    c->driver = d;
    c->handler = handler;
    c->timer.expired = call_expired;
    buf_init(&c->head, TRANSFER_HEAD_MAX);
    c->next = d->calls;
    if (d->calls != NULL)
        d->calls->previous = c;
    d->calls = c;
    d->active++;
    c->easy = curl_easy_init();
    if (c->easy == NULL || !set_request(c, request)) {
        free_call(c);
        return ERR_NOMEM;
    }
    set_rules(c, &transfers->timeouts);
    set_deadline(
        c, transfers->timeouts.connect_us + transfers->timeouts.first_byte_us);
    /* libcurl only sets its timer here; the work begins from the loop. */
    if (curl_multi_add_handle(d->multi, c->easy) != CURLM_OK) {
        free_call(c);
        return ERR_NOMEM;
    }
    *out = &c->transfer;
    return ERR_OK;
}

const struct transfer_backend transfer_curl_backend = {
    .start = start,
    .cancel = cancel,
    .pause = pause_call,
    .resume = resume_call,
};

/* --- The driver ---------------------------------------------------------- */

enum err curl_driver_new(
    struct transfer_loop *transfers, struct curl_driver **out)
{
    struct curl_driver *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return ERR_NOMEM;
    d->transfers = transfers;
    d->timer.expired = timer_expired;
    d->hook.turn = turn;
    d->multi = curl_multi_init();
    if (d->multi == NULL) {
        free(d);
        return ERR_NOMEM;
    }
    curl_multi_setopt(d->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    curl_multi_setopt(d->multi, CURLMOPT_SOCKETDATA, d);
    curl_multi_setopt(d->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(d->multi, CURLMOPT_TIMERDATA, d);
    curl_multi_setopt(d->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    loop_add_hook(transfers->loop, &d->hook);
    *out = d;
    return ERR_OK;
}

void curl_driver_free(struct curl_driver **driver)
{
    struct curl_driver *d = *driver;
    if (d == NULL)
        return;
    *driver = NULL;
    while (d->calls != NULL)
        free_call(d->calls);
    curl_multi_cleanup(d->multi);
    while (d->sockets != NULL) {
        struct watched_socket *w = d->sockets;
        d->sockets = w->next;
        free(w);
    }
    loop_timer_clear(d->transfers->loop, &d->timer);
    free(d);
}

void curl_driver_count(
    const struct curl_driver *driver, unsigned *idle, unsigned *active)
{
    *idle = 0; /* libcurl does not tell */
    *active = driver->active;
}
