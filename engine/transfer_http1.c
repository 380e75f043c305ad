/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/transfer_http1.c - our own HTTP/1.1 client for plain engines.
 *
 * One `peer` per (name, URL), with a stack of idle connections. A connection
 * is registered once, edge-triggered, for its whole life.
 *
 *   CONNECTING -> SENDING -> HEAD -> BODY -> IDLE -> SENDING ...
 *        \___________\________\______\________\____> (closed)
 *
 * Timers: CONNECTING connect; SENDING and HEAD first byte; BODY stall; IDLE
 * idle. Work that must not happen inside a caller's function (the first send,
 * a resume) waits on the `kicked` list for the end of the turn. */
#include "engine/transfer_priv.h"
#include "lib/must.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CONNECTION_MAGIC 0x68316363u
#define IDLE_PER_PEER 512
#define PIECES_MAX 64

enum state { CONNECTING, SENDING, HEAD, BODY, IDLE, DEAD };

struct peer {
    struct peer *next;
    char *key;               /* name, newline, URL */
    struct connection *idle; /* most recently used first */
    unsigned idle_count;
};

struct connection {
    struct transfer transfer; /* first */
    uint32_t magic;
    struct http1_pool *pool;
    struct peer *peer;
    struct loop_source source;
    struct loop_timer timer;
    struct loop_garbage garbage;
    struct connection *next_idle, *previous_idle;
    struct connection *next_all, *previous_all;
    struct connection *next_kicked;
    bool kicked;
    int fd;
    enum state state;
    bool readable; /* the descriptor may have bytes: no EAGAIN seen */
    bool paused;
    bool reused;
    bool sent;
    bool head_seen;
    bool keep_alive;
    bool to_head;
    bool once; /* never pooled: see engine_kind_pools() */
    enum http1_body body;
    uint64_t left; /* of a counted body */
    struct http1_chunked chunked;
    struct buf in; /* came and not yet taken */
    size_t scanned;
    struct buf out; /* head */
    size_t sent_head, sent_body;
    struct iovec pieces[PIECES_MAX];
    struct iovec *body_pieces; /* pieces, or malloc'd when there are more */
    size_t body_count, body_length;
    int64_t deadline_us; /* the timer may fire earlier and look again */
    struct transfer_handler *handler;
};

struct http1_pool {
    struct transfer_loop *transfers;
    struct peer *peers;
    struct connection *all;
    struct connection *kicked;
    struct loop_hook hook;
    unsigned idle, active;
    bool closing;
};

static void pump(struct connection *c);

/* --- Life and death ------------------------------------------------------ */

static void destroy(struct loop_garbage *garbage)
{
    struct connection *c =
        (struct connection *)((char *)garbage -
                              offsetof(struct connection, garbage));
    CHECK_MAGIC(c, CONNECTION_MAGIC);
    c->magic = 0;
    if (c->body_pieces != c->pieces)
        free(c->body_pieces);
    buf_fini(&c->in);
    buf_fini(&c->out);
    free(c);
}

static void leave_idle(struct connection *c)
{
    if (c->previous_idle != NULL)
        c->previous_idle->next_idle = c->next_idle;
    else
        c->peer->idle = c->next_idle;
    if (c->next_idle != NULL)
        c->next_idle->previous_idle = c->previous_idle;
    c->next_idle = c->previous_idle = NULL;
    c->peer->idle_count--;
    c->pool->idle--;
}

static void unkick(struct connection *c)
{
    struct connection **link = &c->pool->kicked;
    if (!c->kicked)
        return;
    while (*link != c)
        link = &(*link)->next_kicked;
    *link = c->next_kicked;
    c->kicked = false;
}

static void close_connection(struct connection *c)
{
    struct loop *loop = c->pool->transfers->loop;
    if (c->state == DEAD)
        return;
    if (c->state == IDLE)
        leave_idle(c);
    else
        c->pool->active--;
    c->state = DEAD;
    c->handler = NULL;
    unkick(c);
    loop_timer_clear(loop, &c->timer);
    if (c->fd >= 0) {
        loop_remove(loop, c->fd, &c->source);
        close(c->fd);
        c->fd = -1;
    }
    if (c->previous_all != NULL)
        c->previous_all->next_all = c->next_all;
    else
        c->pool->all = c->next_all;
    if (c->next_all != NULL)
        c->next_all->previous_all = c->previous_all;
    if (c->pool->closing)
        destroy(&c->garbage);
    else
        loop_close_later(loop, &c->garbage);
}

/* The end of a transfer that did not go well: tell, then close. */
static void fail(struct connection *c, enum transfer_end end, const char *why)
{
    struct transfer_handler *handler = c->handler;
    struct transfer_result result = {.end = end,
        .why = why,
        .reused = c->reused,
        .sent = c->sent,
        .head_seen = c->head_seen};
    close_connection(c);
    if (handler != NULL)
        handler->done(handler, &result);
}

static void set_deadline(struct connection *c, int64_t from_now_us)
{
    struct loop *loop = c->pool->transfers->loop;
    c->deadline_us = loop_now(loop) + from_now_us;
    if (!loop_timer_armed(&c->timer) || c->timer.due_us > c->deadline_us)
        loop_timer_set(loop, &c->timer, c->deadline_us);
}

static void expired(struct loop_timer *timer)
{
    struct connection *c =
        (struct connection *)((char *)timer -
                              offsetof(struct connection, timer));
    CHECK_MAGIC(c, CONNECTION_MAGIC);
    struct loop *loop = c->pool->transfers->loop;
    if (c->paused) { /* our caller is slow, not the engine */
        set_deadline(c, c->pool->transfers->timeouts.stall_us);
        return;
    }
    if (loop_now(loop) < c->deadline_us) {
        loop_timer_set(loop, timer, c->deadline_us);
        return;
    }
    switch (c->state) {
    case IDLE:
        close_connection(c);
        break;
    case CONNECTING:
        fail(c, TRANSFER_TIMEOUT, "no connection within the time allowed");
        break;
    case SENDING:
    case HEAD:
        fail(c, TRANSFER_TIMEOUT, "no answer within the time allowed");
        break;
    case BODY:
        fail(c, TRANSFER_TIMEOUT, "the answer stalled");
        break;
    case DEAD:
        break;
    }
}

/* The answer is complete: back to the pool, or closed. */
static void finish(struct connection *c)
{
    struct transfer_handler *handler = c->handler;
    struct transfer_result result = {.end = TRANSFER_OK,
        .why = "",
        .reused = c->reused,
        .sent = true,
        .head_seen = true};
    struct peer *peer = c->peer;
    c->handler = NULL;
    if (!c->keep_alive || c->once || c->in.len > 0 || c->state != BODY ||
        peer->idle_count >= IDLE_PER_PEER) {
        close_connection(c);
    } else {
        c->state = IDLE;
        c->pool->active--;
        c->pool->idle++;
        if (c->body_pieces != c->pieces)
            free(c->body_pieces);
        c->body_pieces = c->pieces;
        c->next_idle = peer->idle;
        c->previous_idle = NULL;
        if (peer->idle != NULL)
            peer->idle->previous_idle = c;
        peer->idle = c;
        peer->idle_count++;
        set_deadline(c, c->pool->transfers->timeouts.idle_us);
    }
    handler->done(handler, &result);
}

/* --- Sending ------------------------------------------------------------- */

/* The rest of head and body as an iovec; how many pieces. */
static size_t rest_of_request(struct connection *c, struct iovec *out)
{
    size_t count = 0, skip = c->sent_body;
    struct str head = buf_str(&c->out);
    if (c->sent_head < head.len) {
        out[count].iov_base = c->out.ptr + c->out.start + c->sent_head;
        out[count++].iov_len = head.len - c->sent_head;
    }
    for (size_t i = 0; i < c->body_count && count < PIECES_MAX; i++) {
        struct iovec piece = c->body_pieces[i];
        if (skip >= piece.iov_len) {
            skip -= piece.iov_len;
            continue;
        }
        out[count].iov_base = (char *)piece.iov_base + skip;
        out[count++].iov_len = piece.iov_len - skip;
        skip = 0;
    }
    return count;
}

static void send_request(struct connection *c)
{
    struct iovec iov[PIECES_MAX];
    for (;;) {
        struct msghdr message = {
            .msg_iov = iov, .msg_iovlen = rest_of_request(c, iov)};
        if (message.msg_iovlen == 0)
            break;
        ssize_t n = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n < 0) {
            /* The answer may be there already (an early 4xx, then a close). */
            if (errno != EPIPE && errno != ECONNRESET) {
                fail(c, TRANSFER_CLOSED, strerror(errno));
                return;
            }
            c->sent = true;
            c->keep_alive = false;
            break;
        }
        c->sent = true;
        size_t head_left = c->out.len - c->sent_head;
        size_t of_head = (size_t)n < head_left ? (size_t)n : head_left;
        c->sent_head += of_head;
        c->sent_body += (size_t)n - of_head;
        set_deadline(c, c->pool->transfers->timeouts.first_byte_us);
    }
    c->state = HEAD;
    set_deadline(c, c->pool->transfers->timeouts.first_byte_us);
}

/* --- Receiving ----------------------------------------------------------- */

/* Takes a head from bytes; *used = 0 when more is needed. */
static void take_head(
    struct connection *c, const char *bytes, size_t n, size_t *used)
{
    struct http1_head head;
    struct http1_error error;
    *used = 0;
    size_t end = http1_head_end(bytes, n, &c->scanned);
    if (end == 0) {
        if (n >= TRANSFER_HEAD_MAX)
            fail(c, TRANSFER_BAD_ANSWER, "the answer's head passes 64 KiB");
        return;
    }
    if (http1_parse_response(bytes, end, c->to_head, &head, &error) != ERR_OK) {
        fail(c, TRANSFER_BAD_ANSWER, error.reason);
        return;
    }
    *used = end;
    c->scanned = 0;
    if (head.status < 200) {
        if (head.status == 101)
            fail(c, TRANSFER_BAD_ANSWER, "the engine switched protocols");
        return;
    }
    /* An answer before the whole request went out: what is left unsent would
     * be read as the next request. */
    c->keep_alive = head.keep_alive && c->state == HEAD &&
                    c->sent_body == c->body_length &&
                    head.body != HTTP1_BODY_CLOSE;
    c->state = BODY;
    c->head_seen = true;
    c->body = head.body;
    c->left = head.content_length;
    c->chunked = (struct http1_chunked){0};
    set_deadline(c, c->pool->transfers->timeouts.stall_us);
    c->handler->head(c->handler, &head);
}

/* Takes body bytes; *done at the end of the answer. */
static void take_body(
    struct connection *c, const char *bytes, size_t n, size_t *used, bool *done)
{
    struct str data = {NULL, 0};
    *done = false;
    *used = 0;
    switch (c->body) {
    case HTTP1_BODY_NONE:
        *done = true;
        return;
    case HTTP1_BODY_LENGTH:
        if (c->left == 0) {
            *done = true;
            return;
        }
        data = str_make(bytes, n < c->left ? n : (size_t)c->left);
        c->left -= data.len;
        *used = data.len;
        break;
    case HTTP1_BODY_CLOSE:
        data = str_make(bytes, n);
        *used = n;
        break;
    case HTTP1_BODY_CHUNKED:
        switch (http1_chunked_next(&c->chunked, bytes, n, used, &data)) {
        case HTTP1_MORE:
        case HTTP1_DATA:
            break;
        case HTTP1_DONE:
            *done = true;
            return;
        case HTTP1_BAD:
            fail(c, TRANSFER_BAD_ANSWER, "bad chunked coding");
            return;
        }
        break;
    }
    if (data.len > 0)
        c->handler->data(c->handler, data);
    if (c->state == BODY && c->body == HTTP1_BODY_LENGTH && c->left == 0)
        *done = true;
}

/* Works through bytes; how many were taken. Stops when the connection died,
 * went idle, was paused, or more bytes are needed. */
static size_t take(struct connection *c, const char *bytes, size_t n)
{
    size_t at = 0;
    bool done = false;
    while (!c->paused && c->state != DEAD && c->state != IDLE) {
        size_t used = 0;
        if (c->state == BODY) {
            take_body(c, bytes + at, n - at, &used, &done);
            at += used;
            if (done || c->state == DEAD)
                break;
            if (used == 0)
                break;
        } else {
            if (at == n)
                break;
            take_head(c, bytes + at, n - at, &used);
            at += used;
            if (used == 0)
                break;
        }
    }
    if (done && c->state == BODY) {
        if (at < n)
            c->keep_alive = false; /* bytes nobody asked for */
        buf_clear(&c->in);
        finish(c);
        return n;
    }
    return at;
}

static void end_of_file(struct connection *c)
{
    if (c->state == IDLE) {
        close_connection(c);
    } else if (c->state == BODY && c->body == HTTP1_BODY_CLOSE) {
        c->keep_alive = false;
        finish(c);
    } else {
        fail(c, TRANSFER_CLOSED,
            c->head_seen ? "the engine closed in the middle of its answer"
                         : "the engine closed without an answer");
    }
}

/* Bytes that were kept first, then new ones until the descriptor is drained. */
static void receive(struct connection *c)
{
    char *scratch = c->pool->transfers->scratch;
    if (c->in.len > 0 && !c->paused) {
        /* What is kept was kept for being incomplete, or by a pause. */
        struct str kept = buf_str(&c->in);
        size_t used = take(c, kept.ptr, kept.len);
        if (c->state == DEAD)
            return;
        if (c->state != IDLE && used > 0 && c->in.len >= used)
            buf_consume(&c->in, used);
    }
    while (c->readable && !c->paused && c->state != DEAD) {
        ssize_t n = recv(c->fd, scratch, TRANSFER_SCRATCH, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            c->readable = false;
            break;
        }
        if (n < 0) {
            if (c->state == IDLE)
                close_connection(c);
            else
                fail(c, TRANSFER_CLOSED, strerror(errno));
            return;
        }
        if (n == 0) {
            end_of_file(c);
            return;
        }
        if ((size_t)n < TRANSFER_SCRATCH)
            c->readable = false; /* a short read: drained */
        if (c->state == IDLE) {  /* an answer to nothing */
            close_connection(c);
            return;
        }
        if (c->state == BODY)
            set_deadline(c, c->pool->transfers->timeouts.stall_us);
        const char *bytes = scratch;
        size_t length = (size_t)n;
        if (c->in.len > 0) {
            buf_append(&c->in, scratch, length);
            if (c->in.failed) {
                fail(c, TRANSFER_BAD_ANSWER, "the answer's head is too long");
                return;
            }
            bytes = buf_str(&c->in).ptr;
            length = c->in.len;
        }
        size_t used = take(c, bytes, length);
        if (c->state == DEAD)
            return;
        if (c->state == IDLE)
            continue;
        if (bytes == scratch)
            buf_append(&c->in, scratch + used, length - used);
        else
            buf_consume(&c->in, used);
        if (c->in.failed) {
            fail(c, TRANSFER_NOMEM, "out of memory");
            return;
        }
    }
}

/* --- Events -------------------------------------------------------------- */

static void connected(struct connection *c)
{
    int failure = 0;
    socklen_t length = sizeof(failure);
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &failure, &length);
    if (failure != 0) {
        fail(c, TRANSFER_UNREACHABLE, strerror(failure));
        return;
    }
    c->state = SENDING;
}

static void pump(struct connection *c)
{
    if (c->state == SENDING)
        send_request(c);
    if (c->state == DEAD)
        return;
    /* A body of no bytes ends with its head, without another read. */
    receive(c);
}

static void ready(struct loop_source *source, uint32_t events)
{
    struct connection *c =
        (struct connection *)((char *)source -
                              offsetof(struct connection, source));
    CHECK_MAGIC(c, CONNECTION_MAGIC);
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        c->readable = true;
    if (c->state == CONNECTING) {
        if (!(events & (EPOLLOUT | EPOLLHUP | EPOLLERR)))
            return;
        connected(c);
    }
    if (c->state != DEAD && c->state != CONNECTING)
        pump(c);
}

static void turn(struct loop_hook *hook)
{
    struct http1_pool *pool =
        (struct http1_pool *)((char *)hook - offsetof(struct http1_pool, hook));
    while (pool->kicked != NULL) {
        struct connection *c = pool->kicked;
        pool->kicked = c->next_kicked;
        c->kicked = false;
        if (c->state == CONNECTING) {
            if (c->fd < 0)
                fail(c, TRANSFER_UNREACHABLE, strerror((int)c->left));
            continue;
        }
        if (c->state != DEAD)
            pump(c);
    }
}

static void kick(struct connection *c)
{
    if (c->kicked)
        return;
    c->kicked = true;
    c->next_kicked = c->pool->kicked;
    c->pool->kicked = c;
    loop_again(c->pool->transfers->loop);
}

/* --- Starting ------------------------------------------------------------ */

static struct peer *find_peer(
    struct http1_pool *pool, const struct engine_target *target)
{
    size_t name = strlen(target->name), url = strlen(target->url);
    for (struct peer *p = pool->peers; p != NULL; p = p->next) {
        if (strncmp(p->key, target->name, name) == 0 && p->key[name] == '\n' &&
            strcmp(p->key + name + 1, target->url) == 0)
            return p;
    }
    struct peer *peer = calloc(1, sizeof(*peer));
    if (peer == NULL)
        return NULL;
    peer->key = malloc(name + url + 2);
    if (peer->key == NULL) {
        free(peer);
        return NULL;
    }
    memcpy(peer->key, target->name, name);
    peer->key[name] = '\n';
    memcpy(peer->key + name + 1, target->url, url + 1);
    peer->next = pool->peers;
    pool->peers = peer;
    return peer;
}

/* A new socket on its way; on failure fd stays -1 and `left` holds errno. */
static void dial(struct connection *c, const struct engine_target *target)
{
    struct loop *loop = c->pool->transfers->loop;
    int one = 1;
    c->fd = socket(target->address.ss_family,
        SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        c->left = (uint64_t)errno;
        return;
    }
    if (target->address.ss_family != AF_UNIX)
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    int failed = connect(c->fd, (const struct sockaddr *)&target->address,
        target->address_length);
    int why = errno;
    if (failed != 0 && why != EINPROGRESS) {
        close(c->fd);
        c->fd = -1;
        c->left = (uint64_t)why;
        return;
    }
    if (loop_add(loop, c->fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
            &c->source) != ERR_OK) {
        close(c->fd);
        c->fd = -1;
        c->left = ENOMEM;
        return;
    }
    if (failed == 0)
        c->state = SENDING;
}

static struct connection *new_connection(
    struct http1_pool *pool, struct peer *peer)
{
    struct connection *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    c->transfer.backend = &transfer_http1_backend;
    c->magic = CONNECTION_MAGIC;
    c->pool = pool;
    c->peer = peer;
    c->fd = -1;
    c->state = CONNECTING;
    c->body_pieces = c->pieces;
    c->source.ready = ready;
    c->timer.expired = expired;
    c->garbage.destroy = destroy;
    buf_init(&c->in, TRANSFER_HEAD_MAX + TRANSFER_SCRATCH);
    buf_init(&c->out, TRANSFER_HEAD_MAX);
    c->next_all = pool->all;
    if (pool->all != NULL)
        pool->all->previous_all = c;
    pool->all = c;
    pool->active++;
    return c;
}

/* Copies the piece list: the caller keeps the bytes, not the list. */
static bool set_body(
    struct connection *c, const struct transfer_request *request)
{
    if (request->body_count > PIECES_MAX) {
        c->body_pieces = malloc(request->body_count * sizeof(struct iovec));
        if (c->body_pieces == NULL) {
            c->body_pieces = c->pieces;
            return false;
        }
    }
    for (size_t i = 0; i < request->body_count; i++)
        c->body_pieces[i] = request->body[i];
    c->body_count = request->body_count;
    c->body_length = request->body_length;
    return true;
}

static enum err start(struct transfer_loop *transfers,
    const struct transfer_request *request, struct transfer_handler *handler,
    struct transfer **out)
{
    struct http1_pool *pool = transfers->http1;
    struct peer *peer = find_peer(pool, request->target);
    if (peer == NULL)
        return ERR_NOMEM;
    struct connection *c = request->fresh ? NULL : peer->idle;
    bool reused = c != NULL;
    if (reused) {
        leave_idle(c);
        pool->active++;
        c->state = SENDING;
    } else {
        c = new_connection(pool, peer);
        if (c == NULL)
            return ERR_NOMEM;
    }
    c->reused = reused;
    c->sent = c->head_seen = c->paused = c->keep_alive = false;
    c->scanned = 0;
    c->sent_head = c->sent_body = 0;
    c->left = 0;
    c->to_head = str_equal(request->method, STR("HEAD"));
    c->once = !engine_kind_pools(request->target->kind);
    c->handler = handler;
    buf_clear(&c->in);
    buf_clear(&c->out);
    transfer_write_head(&c->out, request);
    if (c->out.failed || !set_body(c, request)) {
        c->handler = NULL;
        close_connection(c);
        return ERR_NOMEM;
    }
    if (!reused)
        dial(c, request->target);
    set_deadline(c, c->state == CONNECTING ? transfers->timeouts.connect_us
                                           : transfers->timeouts.first_byte_us);
    if (c->state == SENDING || c->fd < 0)
        kick(c);
    *out = &c->transfer;
    return ERR_OK;
}

static void cancel(struct transfer *transfer)
{
    struct connection *c = (struct connection *)transfer;
    CHECK_MAGIC(c, CONNECTION_MAGIC);
    close_connection(c);
}

static void pause_transfer(struct transfer *transfer)
{
    struct connection *c = (struct connection *)transfer;
    c->paused = true;
}

static void resume_transfer(struct transfer *transfer)
{
    struct connection *c = (struct connection *)transfer;
    if (!c->paused)
        return;
    c->paused = false;
    set_deadline(c, c->pool->transfers->timeouts.stall_us);
    kick(c);
}

const struct transfer_backend transfer_http1_backend = {
    .start = start,
    .cancel = cancel,
    .pause = pause_transfer,
    .resume = resume_transfer,
};

/* --- The pool ------------------------------------------------------------ */

enum err http1_pool_new(
    struct transfer_loop *transfers, struct http1_pool **out)
{
    struct http1_pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return ERR_NOMEM;
    pool->transfers = transfers;
    pool->hook.turn = turn;
    loop_add_hook(transfers->loop, &pool->hook);
    *out = pool;
    return ERR_OK;
}

void http1_pool_free(struct http1_pool **pool)
{
    struct http1_pool *p = *pool;
    if (p == NULL)
        return;
    *pool = NULL;
    p->closing = true;
    while (p->all != NULL)
        close_connection(p->all);
    while (p->peers != NULL) {
        struct peer *peer = p->peers;
        p->peers = peer->next;
        free(peer->key);
        free(peer);
    }
    free(p);
}

void http1_pool_count(
    const struct http1_pool *pool, unsigned *idle, unsigned *active)
{
    *idle = pool->idle;
    *active = pool->active;
}
