/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/connection.c - the strict HTTP/1.1 front over TLS.
 *
 *   HANDSHAKE -> HEAD -> BODY -> BUSY -> HEAD ...
 *                  \        \      \--> FLUSH -> (closed)
 *                   \        \--> DISCARD -> HEAD   (answered before its body)
 *                    \--> FLUSH -> LINGER -> (closed)
 *
 * Timers: HANDSHAKE handshake; HEAD idle, once bytes have come head; BODY and
 * DISCARD body; BUSY none but the write clock; FLUSH write; LINGER 2 s. The
 * write clock runs in every state while a backlog does not shrink.
 *
 * Truths: an exchange exists in BODY and BUSY only. `in` holds what came and
 * was not taken. Reading stops while `in` is over its limit. */
#include "proxy/connection.h"

#include "lib/log.h"
#include "lib/must.h"
#include "proxy/exchange.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CONNECTION_MAGIC 0x636f6e6eu
#define LINGER_US (2 * SECOND_US)
#define DISCARD_MAX (256u * 1024) /* of a body nobody wants */
#define PIPELINE_MAX (64u * 1024) /* sent ahead while an exchange runs */
#define WRITE_PIECE (64u * 1024)
#define IDLE_BUFFER_KEPT 4096u

enum state { HANDSHAKE, HEAD, BODY, BUSY, DISCARD, FLUSH, LINGER, DEAD };

struct connection {
    uint32_t magic;
    struct worker *worker;
    struct loop_source source;
    struct loop_timer timer;
    struct loop_garbage garbage;
    struct connection *next, *previous;
    struct connection *next_kicked;
    bool kicked;
    int fd;
    enum state state;
    struct tls *tls;
    struct str listener;
    uint64_t trust_generation;                /* that judged the handshake */
    struct identity_certificate *certificate; /* NULL: none was shown */
    bool fin;                                 /* the peer's FIN or reset */
    bool half; /* its close_notify: no more requests */
    bool more; /* reading stopped for a limit, not for want of bytes */
    bool keep; /* the request allows another one after it */
    bool http10;
    bool head_begun;
    struct exchange *exchange;
    struct buf in;
    size_t scanned;
    enum http1_body body;
    uint64_t left;
    struct http1_chunked chunked;
    uint64_t discarded;
    struct buf out;            /* answer bytes not yet encrypted */
    int64_t deadline_us;       /* of the state; 0: none */
    int64_t write_deadline_us; /* of the backlog; 0: none */
    struct sockaddr_storage peer;
    char address[INET6_ADDRSTRLEN];
};

static void process(struct connection *c);

/* --- Time ---------------------------------------------------------------- */

static void arm(struct connection *c)
{
    int64_t due = c->deadline_us;
    if (c->write_deadline_us != 0 && (due == 0 || c->write_deadline_us < due))
        due = c->write_deadline_us;
    /* Later is no reason to touch the heap: the timer looks again. */
    if (due != 0 && (!loop_timer_armed(&c->timer) || c->timer.due_us > due))
        loop_timer_set(c->worker->loop, &c->timer, due);
}

static void set_deadline(struct connection *c, int64_t ms)
{
    c->deadline_us = ms == 0 ? 0 : loop_now(c->worker->loop) + ms * 1000;
    arm(c);
}

static void set_write_deadline(struct connection *c)
{
    c->write_deadline_us =
        connection_backlog(c) == 0
            ? 0
            : loop_now(c->worker->loop) +
                  c->worker->settings->write_timeout_ms * 1000;
    arm(c);
}

static void enter(struct connection *c, enum state state)
{
    const struct settings *s = c->worker->settings;
    c->state = state;
    switch (state) {
    case HANDSHAKE:
        set_deadline(c, s->handshake_timeout_ms);
        break;
    case HEAD:
        c->head_begun = c->in.len > 0;
        set_deadline(
            c, c->head_begun ? s->head_timeout_ms : s->idle_timeout_ms);
        break;
    case BODY:
    case DISCARD:
        set_deadline(c, s->body_timeout_ms);
        break;
    case BUSY:
    case FLUSH:
        set_deadline(c, 0);
        break;
    case LINGER:
        set_deadline(c, LINGER_US / 1000);
        break;
    case DEAD:
        break;
    }
}

/* --- Life and death ------------------------------------------------------ */

static void destroy(struct loop_garbage *garbage)
{
    struct connection *c =
        (struct connection *)((char *)garbage -
                              offsetof(struct connection, garbage));
    CHECK_MAGIC(c, CONNECTION_MAGIC);
    c->magic = 0;
    identity_certificate_unref(&c->certificate);
    tls_free(&c->tls);
    buf_fini(&c->in);
    buf_fini(&c->out);
    free(c);
}

static void unkick(struct connection *c)
{
    struct connection **link = &c->worker->kicked;
    if (!c->kicked)
        return;
    while (*link != c)
        link = &(*link)->next_kicked;
    *link = c->next_kicked;
    c->kicked = false;
}

static void kick(struct connection *c)
{
    if (c->kicked || c->state == DEAD)
        return;
    c->kicked = true;
    c->next_kicked = c->worker->kicked;
    c->worker->kicked = c;
    loop_again(c->worker->loop);
}

static void close_now(struct connection *c)
{
    struct worker *w = c->worker;
    struct exchange *exchange = c->exchange;
    if (c->state == DEAD)
        return;
    enter(c, DEAD);
    c->exchange = NULL;
    unkick(c);
    loop_timer_clear(w->loop, &c->timer);
    loop_remove(w->loop, c->fd, &c->source);
    close(c->fd);
    c->fd = -1;
    if (c->previous != NULL)
        c->previous->next = c->next;
    else
        w->connections = c->next;
    if (c->next != NULL)
        c->next->previous = c->previous;
    w->connection_count--;
    metrics_add(&w->metrics, METRIC_CONNECTIONS, -1);
    visitors_leave(w->visitors, (const struct sockaddr *)&c->peer);
    loop_close_later(w->loop, &c->garbage);
    if (exchange != NULL)
        exchange_client_gone(exchange);
}

void connection_abort(struct connection *c)
{
    /* The exchange is ending by itself: it is not told. */
    c->exchange = NULL;
    close_now(c);
}

/* --- Writing ------------------------------------------------------------- */

size_t connection_backlog(const struct connection *c)
{
    return c->out.len + tls_queued(c->tls);
}

/* Encrypts what waits while the queue is short. False: broken. */
static bool move_out(struct connection *c)
{
    while (c->out.len > 0 && tls_queued(c->tls) < CONNECTION_LOW_WATER) {
        struct str waiting = buf_str(&c->out);
        size_t n = waiting.len < WRITE_PIECE ? waiting.len : WRITE_PIECE;
        if (!tls_write(c->tls, waiting.ptr, n))
            return false;
        buf_consume(&c->out, n);
    }
    if (c->out.len == 0 && c->out.cap > 0) {
        size_t max = c->out.max;
        buf_fini(&c->out);
        buf_init(&c->out, max);
    }
    return true;
}

void connection_write(struct connection *c, const void *bytes, size_t n)
{
    if (c->state == DEAD)
        return;
    bool good = true;
    size_t direct = 0;
    if (c->out.len == 0 && tls_queued(c->tls) < CONNECTION_HIGH_WATER) {
        direct = n < WRITE_PIECE ? n : WRITE_PIECE;
        good = tls_write(c->tls, bytes, direct);
    }
    if (good && direct < n) {
        buf_append(&c->out, (const char *)bytes + direct, n - direct);
        good = !c->out.failed && move_out(c);
    }
    if (!good) {
        /* The read side finds out too; ending here would pull the connection
         * from under an exchange in the middle of its work. */
        c->fin = true;
        kick(c);
        return;
    }
    if (connection_backlog(c) > 0 && c->write_deadline_us == 0)
        set_write_deadline(c);
}

void connection_attach(struct connection *c, struct exchange *exchange)
{
    c->exchange = exchange;
}

struct exchange *connection_exchange(const struct connection *c)
{
    return c->exchange;
}

struct worker *connection_worker(const struct connection *c)
{
    return c->worker;
}

void connection_continue(struct connection *c)
{
    static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
    connection_write(c, line, sizeof(line) - 1);
}

/* The last answer is out: say goodbye, then wait for the peer's end, so that
 * a reset does not eat what it has not read yet. */
static void goodbye(struct connection *c)
{
    tls_shutdown(c->tls);
    shutdown(c->fd, SHUT_WR);
    buf_clear(&c->in);
    if (c->fin)
        close_now(c);
    else
        enter(c, LINGER);
}

static void flushed(struct connection *c)
{
    if (c->state == FLUSH && connection_backlog(c) == 0)
        goodbye(c);
}

static void write_ready(struct connection *c)
{
    size_t before = connection_backlog(c);
    if (before == 0)
        return;
    if (!tls_flush(c->tls) || !move_out(c)) {
        close_now(c);
        return;
    }
    size_t after = connection_backlog(c);
    if (after < before)
        set_write_deadline(c);
    if (c->exchange != NULL && before > CONNECTION_LOW_WATER &&
        after <= CONNECTION_LOW_WATER)
        exchange_writable(c->exchange);
    if (c->state != DEAD)
        flushed(c);
}

void connection_finish(struct connection *c, bool keep)
{
    if (c->state == DEAD)
        return;
    bool body_is_whole = c->state == BUSY;
    c->exchange = NULL;
    if (!keep || !c->keep || c->half || c->fin ||
        atomic_load(&c->worker->shared->draining)) {
        enter(c, FLUSH);
        kick(c);
        return;
    }
    if (body_is_whole) {
        c->scanned = 0;
        enter(c, HEAD);
    } else {
        c->discarded = 0;
        enter(c, DISCARD);
    }
    if (c->in.len > 0 || c->more)
        kick(c);
}

/* --- Reading ------------------------------------------------------------- */

static void expired(struct loop_timer *timer)
{
    struct connection *c =
        (struct connection *)((char *)timer -
                              offsetof(struct connection, timer));
    CHECK_MAGIC(c, CONNECTION_MAGIC);
    int64_t now = loop_now(c->worker->loop);
    if (c->write_deadline_us != 0 && now >= c->write_deadline_us) {
        close_now(c); /* a caller that does not read */
        return;
    }
    if (c->deadline_us == 0 || now < c->deadline_us) {
        arm(c);
        return;
    }
    switch (c->state) {
    case HEAD:
        if (c->head_begun) {
            enter(c, FLUSH);
            exchange_answer_bad_head(
                c, 408, "the request's head did not come in time");
            kick(c);
        } else {
            enter(c, FLUSH);
            kick(c);
        }
        break;
    case BODY:
        c->keep = false;
        exchange_body_failed(
            c->exchange, 408, "the request's body did not come in time");
        break;
    case HANDSHAKE:
    case DISCARD:
    case FLUSH:
    case LINGER:
    case BUSY:
    case DEAD:
        close_now(c);
        break;
    }
}

static void bad_head(struct connection *c, int status, const char *reason)
{
    enter(c, FLUSH);
    buf_clear(&c->in);
    worker_refuse(c->worker, c, REFUSAL_BAD_HEAD, STR(""), STR(""));
    exchange_answer_bad_head(c, status, reason);
    kick(c);
}

/* A whole head is in `in`: the exchange begins. */
static void begin(struct connection *c, size_t size)
{
    struct http1_head head;
    struct http1_error error;
    if (http1_parse_request(buf_str(&c->in).ptr, size, &head, &error) !=
        ERR_OK) {
        bad_head(c, error.status, error.reason);
        return;
    }
    c->keep = head.keep_alive;
    c->http10 = head.minor == 0;
    c->body = head.body;
    c->left = head.content_length;
    c->chunked = (struct http1_chunked){0};
    bool no_body = head.body == HTTP1_BODY_NONE ||
                   (head.body == HTTP1_BODY_LENGTH && head.content_length == 0);
    bool expects = head.expect_continue && !no_body && !c->http10;
    enter(c, no_body ? BUSY : BODY);
    metrics_add(&c->worker->metrics, METRIC_REQUESTS, 1);
    enum exchange_wants wants = exchange_begin(c, &head);
    if (c->state == DEAD)
        return;
    buf_consume(&c->in, size);
    c->scanned = 0;
    if (c->state == HEAD)
        enter(c, HEAD); /* its clock depends on what is left in `in` */
    if (c->state != BUSY && c->state != BODY) {
        /* It has answered already. A caller that waits for 100 may send its
         * body or not: only a close is clear to both. */
        if (expects && c->state == DISCARD) {
            enter(c, FLUSH);
            kick(c);
        }
        return;
    }
    if (wants == EXCHANGE_RUNS)
        return;
    if (no_body)
        exchange_body_end(c->exchange);
    else if (expects && c->in.len == 0)
        connection_continue(c);
}

/* Body bytes from `in`. Gives them to the exchange, or drops them. */
static void take_body(struct connection *c)
{
    while (c->in.len > 0 && (c->state == BODY || c->state == DISCARD)) {
        struct str bytes = buf_str(&c->in), data = {NULL, 0};
        size_t used = 0;
        bool done = false;
        if (c->body == HTTP1_BODY_LENGTH) {
            data = str_make(
                bytes.ptr, bytes.len < c->left ? bytes.len : (size_t)c->left);
            used = data.len;
            c->left -= used;
            done = c->left == 0;
        } else {
            switch (http1_chunked_next(
                &c->chunked, bytes.ptr, bytes.len, &used, &data)) {
            case HTTP1_DONE:
                done = true;
                break;
            case HTTP1_BAD:
                c->keep = false;
                if (c->state == BODY)
                    exchange_body_failed(
                        c->exchange, 400, "the chunked coding is broken");
                else
                    close_now(c);
                return;
            case HTTP1_MORE:
            case HTTP1_DATA:
                break;
            }
        }
        if (c->state == DISCARD) {
            c->discarded += data.len;
            if (c->discarded > DISCARD_MAX) {
                enter(c, FLUSH);
                kick(c);
                return;
            }
        } else if (data.len > 0 && !exchange_body(c->exchange, data)) {
            if (c->state == DEAD)
                return;
        }
        buf_consume(&c->in, used);
        if (done && c->state == BODY) {
            enter(c, BUSY);
            exchange_body_end(c->exchange);
        } else if (done && c->state == DISCARD) {
            enter(c, HEAD);
        } else if (used == 0) {
            return;
        }
    }
}

/* Works on what has come until more is needed. */
static void process(struct connection *c)
{
    for (;;) {
        size_t before = c->in.len;
        enum state state = c->state;
        switch (state) {
        case HEAD: {
            if (!c->head_begun && c->in.len > 0) {
                size_t skip = http1_skip_crlf(buf_str(&c->in).ptr, c->in.len);
                buf_consume(&c->in, skip);
                enter(c, HEAD);
            }
            if (c->in.len == 0)
                return;
            size_t size =
                http1_head_end(buf_str(&c->in).ptr, c->in.len, &c->scanned);
            size_t max = (size_t)c->worker->settings->max_head_bytes;
            if (size > max || (size == 0 && c->in.len >= max)) {
                bad_head(c, 431, "the request's head is too large");
                return;
            }
            if (size == 0)
                return;
            begin(c, size);
            break;
        }
        case BODY:
        case DISCARD:
            take_body(c);
            break;
        case LINGER:
        case FLUSH:
            buf_clear(&c->in);
            return;
        case HANDSHAKE:
        case BUSY:
        case DEAD:
            return;
        }
        if (c->state == state && c->in.len == before)
            return;
    }
}

static size_t input_limit(const struct connection *c)
{
    switch (c->state) {
    case HEAD:
        return (size_t)c->worker->settings->max_head_bytes + PIPELINE_MAX;
    case BODY:
    case DISCARD:
    case FLUSH:
    case LINGER:
        return 2 * PIPELINE_MAX;
    case BUSY:
    case HANDSHAKE:
    case DEAD:
        break;
    }
    return PIPELINE_MAX;
}

/* The peer sends no more. */
static void input_ended(struct connection *c, bool broken)
{
    c->half = true;
    if (broken || tls_peer_gone(c->tls))
        c->fin = true;
    switch (c->state) {
    case HEAD:
    case HANDSHAKE:
    case LINGER:
    case BODY: /* the request will never be whole */
    case DISCARD:
        if (c->state != LINGER && !broken)
            tls_shutdown(c->tls);
        close_now(c);
        break;
    case BUSY:
    case FLUSH:
        if (c->fin)
            close_now(c);
        break;
    case DEAD:
        break;
    }
}

static void read_ready(struct connection *c)
{
    struct worker *w = c->worker;
    while (c->state != DEAD) {
        if (c->in.len >= input_limit(c)) {
            c->more = true;
            break;
        }
        c->more = false;
        size_t used = 0;
        enum tls_progress progress =
            tls_read(c->tls, w->scratch, WORKER_SCRATCH, &used);
        if (progress == TLS_WAIT)
            break;
        if (progress != TLS_DONE) {
            input_ended(c, progress == TLS_FAILED);
            return;
        }
        buf_append(&c->in, w->scratch, used);
        if (c->in.failed) {
            close_now(c);
            return;
        }
        process(c);
    }
    if (c->state == DEAD)
        return;
    if (c->in.len == 0 && c->in.cap > IDLE_BUFFER_KEPT) {
        size_t max = c->in.max;
        buf_fini(&c->in);
        buf_init(&c->in, max);
    }
    /* A FIN counts once what came before it has been read. */
    if (c->fin && !c->more)
        input_ended(c, true);
}

/* The alert is out. What the peer sent ahead of it is read and dropped: a
 * reset would eat the alert. */
static void handshake_failed(struct connection *c)
{
    enum trust_verdict verdict = tls_judgement(c->tls)->verdict;
    metrics_add(&c->worker->metrics, METRIC_HANDSHAKE_FAILURES, 1);
    log_debug("tls_handshake_failed", "peer=%s why=\"%s\"", c->address,
        tls_why(c->tls));
    if (verdict != TRUST_UNJUDGED && verdict != TRUST_GOOD)
        worker_refuse(c->worker, c, identity_certificate_refusal(verdict),
            STR(""), STR(""));
    shutdown(c->fd, SHUT_WR);
    if (c->fin || !tls_discard(c->tls))
        close_now(c);
    else
        enter(c, LINGER);
}

static void handshake(struct connection *c)
{
    struct worker *w = c->worker;
    bool judged = tls_judgement(c->tls)->verdict != TRUST_UNJUDGED;
    tls_set_trust(c->tls, snapshot_trust(w->snapshot), loop_wall(w->loop));
    enum tls_progress progress = tls_handshake(c->tls);
    if (!judged)
        c->trust_generation = snapshot_trust_generation(w->snapshot);
    switch (progress) {
    case TLS_DONE:
        if (tls_judgement(c->tls)->verdict == TRUST_GOOD) {
            c->certificate = identity_certificate_new(
                c->tls, w->snapshot, c->trust_generation);
            if (c->certificate == NULL) {
                close_now(c);
                return;
            }
        }
        enter(c, HEAD);
        break;
    case TLS_WAIT:
        if (c->fin)
            close_now(c);
        break;
    case TLS_END:
    case TLS_FAILED:
        handshake_failed(c);
        break;
    }
}

static void ready(struct loop_source *source, uint32_t events)
{
    struct connection *c =
        (struct connection *)((char *)source -
                              offsetof(struct connection, source));
    CHECK_MAGIC(c, CONNECTION_MAGIC);
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        c->fin = true;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        tls_readable(c->tls);
    if (events & EPOLLOUT) {
        write_ready(c);
        if (c->state == DEAD)
            return;
    }
    if (c->state == HANDSHAKE) {
        handshake(c);
        if (c->state != HEAD)
            return;
    }
    if (c->state == LINGER && tls_why(c->tls)[0] != '\0') {
        if (!tls_discard(c->tls))
            close_now(c);
        return;
    }
    read_ready(c);
}

void connection_work(struct connection *c)
{
    if (c->state == FLUSH)
        flushed(c);
    if (c->state == DEAD)
        return;
    if (c->state == HEAD || c->state == BODY || c->state == DISCARD)
        process(c);
    if (c->state != DEAD && (c->more || c->fin))
        read_ready(c);
}

/* --- For others ---------------------------------------------------------- */

static void peer_text(const struct sockaddr_storage *peer, char *out)
{
    out[0] = '\0';
    if (peer->ss_family == AF_INET) {
        const struct sockaddr_in *four = (const void *)peer;
        inet_ntop(AF_INET, &four->sin_addr, out, INET6_ADDRSTRLEN);
    } else if (peer->ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const void *)peer;
        if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
            inet_ntop(AF_INET, (const char *)&six->sin6_addr + 12, out,
                INET6_ADDRSTRLEN);
        else
            inet_ntop(AF_INET6, &six->sin6_addr, out, INET6_ADDRSTRLEN);
    }
}

void connection_accept(struct worker *w, struct str listener, int fd,
    const struct sockaddr_storage *peer, socklen_t peer_length)
{
    const struct settings *s = w->settings;
    int one = 1;
    if (w->connection_count >= (unsigned)s->max_connections ||
        !visitors_enter(w->visitors, (const struct sockaddr *)peer,
            (unsigned)s->max_connections_per_address)) {
        metrics_add(&w->metrics, METRIC_CONNECTIONS_REFUSED, 1);
        close(fd);
        return;
    }
    struct connection *c = calloc(1, sizeof(*c));
    if (c != NULL)
        c->tls = tls_new(
            w->tls, fd, snapshot_certificate_mode(w->snapshot, listener));
    if (c == NULL || c->tls == NULL) {
        free(c);
        visitors_leave(w->visitors, (const struct sockaddr *)peer);
        metrics_add(&w->metrics, METRIC_OUT_OF_MEMORY, 1);
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    c->magic = CONNECTION_MAGIC;
    c->worker = w;
    c->listener = listener;
    c->fd = fd;
    c->source.ready = ready;
    c->timer.expired = expired;
    c->garbage.destroy = destroy;
    memcpy(&c->peer, peer, peer_length);
    peer_text(peer, c->address);
    buf_init(&c->in, (size_t)s->max_head_bytes + 4 * PIPELINE_MAX);
    buf_init(&c->out, (size_t)s->max_answer_bytes + (1u << 20));
    c->next = w->connections;
    if (w->connections != NULL)
        w->connections->previous = c;
    w->connections = c;
    w->connection_count++;
    metrics_add(&w->metrics, METRIC_CONNECTIONS, 1);
    metrics_add(&w->metrics, METRIC_CONNECTIONS_TOTAL, 1);
    enter(c, HANDSHAKE);
    if (loop_add(w->loop, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
            &c->source) != ERR_OK)
        close_now(c);
}

const char *connection_address(const struct connection *c)
{
    return c->address;
}

enum tls_certificates connection_certificate_mode(const struct connection *c)
{
    return snapshot_certificate_mode(c->worker->snapshot, c->listener);
}

struct identity_certificate *connection_certificate(const struct connection *c)
{
    return c->certificate;
}

enum trust_verdict connection_check_certificate(const struct connection *c,
    int64_t now_us, const struct snapshot_caller **caller)
{
    return identity_certificate_check(
        c->certificate, c->tls, c->worker->snapshot, now_us, caller);
}

bool connection_keeps_alive(const struct connection *c)
{
    return c->keep && !c->half && !c->fin &&
           !atomic_load(&c->worker->shared->draining);
}

bool connection_is_http10(const struct connection *c)
{
    return c->http10;
}

void connection_drain(struct connection *c)
{
    if (c->state == HANDSHAKE)
        close_now(c);
    else if (c->state == HEAD && !c->head_begun) {
        enter(c, FLUSH);
        kick(c);
    }
}

struct connection *connection_next(const struct connection *c)
{
    return c->next;
}

struct connection *connection_take_kicked(struct worker *w)
{
    struct connection *c = w->kicked;
    if (c != NULL) {
        w->kicked = c->next_kicked;
        c->kicked = false;
    }
    return c;
}

const struct sockaddr *connection_peer(const struct connection *c)
{
    return (const struct sockaddr *)&c->peer;
}
