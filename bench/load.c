/* SPDX-License-Identifier: Apache-2.0
 *
 * bench/load.c - a load of chat calls over TLS, for bench/ only.
 *
 *   load --port N [--plain] [--connections C] [--seconds S] [--rate R]
 *        [--path P] [--header "Name: value"]... --body FILE [--stream]
 *   load --port N --idle C --seconds S      holds C idle TLS connections
 *   load --port N --handshakes [--resume] --connections C --seconds S
 *
 * Without --rate each connection sends its next request when the answer is
 * there (closed loop). With it requests are due at fixed instants whatever the
 * answers do, and a latency counts from the instant at which the request was
 * due: no coordinated omission; "service" counts from when it was sent. A
 * refusal (429, 503) counts apart, from when it was sent, and one
 * without Retry-After is said. In streams, pieces that carry the instant at
 * which they left (bench/engine.c) tell how long they were on their way. One
 * thread, epoll, HTTP/1.1 keep-alive. Prints one JSON object. Certificates are
 * not checked: the peer is our own. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_SIZE 65536
#define OPENING_MOST_US 30000000

/* --- Latencies: buckets of one in 64, from 1 us to an hour --------------- */

#define SUB_BUCKETS 64
#define BUCKETS (32 * SUB_BUCKETS)
struct histogram {
    uint64_t count[BUCKETS], total;
    int64_t largest;
};

static void histogram_add(struct histogram *h, int64_t us)
{
    uint64_t value = us < 1 ? 1 : (uint64_t)us;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value);
    unsigned log = shift > 5 ? shift - 5 : 0; /* below 64 us: exact */
    size_t at = (size_t)log * SUB_BUCKETS + (size_t)(value >> log);
    h->count[at < BUCKETS ? at : BUCKETS - 1]++;
    h->total++;
    if (us > h->largest)
        h->largest = us;
}

static int64_t histogram_at(const struct histogram *h, double share)
{
    uint64_t want = (uint64_t)ceil((double)h->total * share), seen = 0;
    for (size_t at = 0; at < BUCKETS; at++) {
        seen += h->count[at];
        if (seen >= want && seen > 0)
            return (int64_t)((at % SUB_BUCKETS) << (at / SUB_BUCKETS));
    }
    return 0;
}

/* --- What is asked for ---------------------------------------------------- */

struct options {
    int port, connections, idle;
    double seconds, rate;
    bool plain, stream, handshakes, resume;
    const char *path, *body_file;
    char headers[4096];
};

enum phase { CONNECTING, HANDSHAKE, READY, SENDING, READING, CLOSED };

struct connection {
    int fd;
    SSL *tls;
    enum phase phase;
    uint32_t wants; /* of epoll */
    size_t sent;
    int64_t due_us;  /* when the present request was due */
    int64_t sent_us; /* and when it was sent */
    int64_t last_us; /* the piece of the stream before */
    /* the answer */
    bool head_done, chunked, bad, refused, closes;
    size_t head_length, left; /* of a body with Content-Length */
    char head[8192];
    char tail[8]; /* the last bytes, for the end of a chunked body */
};

struct load {
    struct options options;
    SSL_CTX *context;
    SSL_SESSION *session;
    int epoll;
    char *request;
    size_t request_length;
    struct connection *connections;
    int free_count; /* READY ones, open loop */
    int *free_ones;
    struct histogram latency, service, gap, first, refusal, delay;
    uint64_t answers, bad, errors, pieces, bytes, handshakes, resumed;
    uint64_t refused, unhelpful;
    int64_t start_us, end_us;
    double next_due_us;
    int ready;    /* connections that are up, until the clock starts */
    bool started; /* before: connections are opened and wait */
    bool over;
};

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void want(struct load *l, struct connection *c, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (c->wants == events)
        return;
    if (epoll_ctl(l->epoll, c->wants ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd,
            &event) < 0)
        die("epoll_ctl");
    c->wants = events;
}

static void connect_one(struct load *l, struct connection *c)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)l->options.port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    memset(c, 0, sizeof *c);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0 &&
        errno != EINPROGRESS)
        die("connect");
    c->phase = CONNECTING;
    c->due_us = now_us();
    want(l, c, EPOLLOUT);
}

static void close_one(struct load *l, struct connection *c)
{
    if (c->tls != NULL) {
        SSL_shutdown(c->tls);
        SSL_free(c->tls);
    }
    if (c->fd >= 0)
        close(c->fd);
    c->tls = NULL;
    c->fd = -1;
    c->wants = 0;
    c->phase = CLOSED;
    if (!l->over && l->options.idle == 0)
        connect_one(l, c);
}

/* -1: an error; 0: not now. */
static ssize_t put(struct load *l, struct connection *c)
{
    const char *from = l->request + c->sent;
    size_t n = l->request_length - c->sent;
    if (c->tls == NULL) {
        ssize_t sent = send(c->fd, from, n, MSG_NOSIGNAL);
        return sent < 0 && errno == EAGAIN ? 0 : sent;
    }
    int sent = SSL_write(c->tls, from, (int)n);
    if (sent > 0)
        return sent;
    int why = SSL_get_error(c->tls, sent);
    return why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ ? 0 : -1;
}

static ssize_t get(struct connection *c, char *to, size_t n)
{
    if (c->tls == NULL) {
        ssize_t got = recv(c->fd, to, n, 0);
        return got == 0 ? -1 : got < 0 && errno == EAGAIN ? 0 : got;
    }
    int got = SSL_read(c->tls, to, (int)n);
    if (got > 0)
        return got;
    int why = SSL_get_error(c->tls, got);
    return why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ ? 0 : -1;
}

static void failed(struct load *l, struct connection *c)
{
    if (!l->over && c->phase != READY)
        l->errors++;
    ERR_clear_error();
    close_one(l, c);
}

static void send_more(struct load *l, struct connection *c)
{
    while (c->sent < l->request_length) {
        ssize_t n = put(l, c);
        if (n < 0) {
            failed(l, c);
            return;
        }
        if (n == 0) {
            want(l, c, EPOLLOUT | EPOLLIN);
            return;
        }
        c->sent += (size_t)n;
    }
    c->phase = READING;
    want(l, c, EPOLLIN);
}

static void begin(struct load *l, struct connection *c, int64_t due_us)
{
    c->phase = SENDING;
    c->sent = 0;
    c->due_us = due_us;
    c->sent_us = now_us();
    c->last_us = 0;
    c->head_done = c->chunked = c->bad = c->refused = c->closes = false;
    c->head_length = c->left = 0;
    memset(c->tail, 0, sizeof c->tail);
    send_more(l, c);
}

static void is_ready(struct load *l, struct connection *c)
{
    c->phase = READY;
    want(l, c, EPOLLIN);
    if (l->options.idle > 0 || l->over)
        return;
    if (!l->started) {
        l->ready++;
        return;
    }
    if (l->options.rate > 0)
        l->free_ones[l->free_count++] = (int)(c - l->connections);
    else
        begin(l, c, now_us());
}

static void answered(struct load *l, struct connection *c)
{
    if (c->refused) {
        l->refused++;
        histogram_add(&l->refusal, now_us() - c->sent_us);
    } else {
        l->answers++;
        l->bad += c->bad;
        histogram_add(&l->latency, now_us() - c->due_us);
        histogram_add(&l->service, now_us() - c->sent_us);
    }
    if (c->closes)
        close_one(l, c);
    else
        is_ready(l, c);
}

/* "Name:" at the beginning of a line of the head. */
static const char *field(const struct connection *c, const char *name)
{
    const char *at = strcasestr(c->head, name);
    return at ? at + strlen(name) : NULL;
}

/* Bytes of the head, and whether they end it. Gives how many were taken. */
static size_t take_head(
    struct load *l, struct connection *c, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (c->head_length + 1 >= sizeof c->head) {
            fprintf(stderr, "load: the head is too long\n");
            exit(1);
        }
        c->head[c->head_length++] = bytes[i];
        c->head[c->head_length] = '\0';
        if (c->head_length >= 4 &&
            memcmp(c->head + c->head_length - 4, "\r\n\r\n", 4) == 0) {
            const char *length = field(c, "\r\nContent-Length:");
            c->head_done = true;
            c->chunked = field(c, "\r\nTransfer-Encoding: chunked") != NULL;
            c->left = length ? strtoul(length, NULL, 10) : 0;
            c->refused = strncmp(c->head + 9, "503", 3) == 0 ||
                         strncmp(c->head + 9, "429", 3) == 0;
            l->unhelpful += c->refused && field(c, "\r\nRetry-After:") == NULL;
            c->bad = !c->refused && strncmp(c->head + 9, "200", 3) != 0;
            c->closes = field(c, "\r\nConnection: close") != NULL;
            histogram_add(&l->first, now_us() - c->due_us);
            return i + 1;
        }
    }
    return n;
}

/* False: the answer is complete. */
static bool take_body(struct connection *c, const char *bytes, size_t n)
{
    static const char end[] = "0\r\n\r\n";
    if (!c->chunked) {
        c->left -= n < c->left ? n : c->left;
        return c->left > 0;
    }
    if (n >= 8) {
        memcpy(c->tail, bytes + n - 8, 8);
    } else if (n > 0) {
        memmove(c->tail, c->tail + n, 8 - n);
        memcpy(c->tail + 8 - n, bytes, n);
    }
    return memcmp(c->tail + 3, end, 5) != 0;
}

/* The instants that the pieces in these bytes carry. */
static void take_instants(
    struct load *l, const char *bytes, size_t n, int64_t now)
{
    const char *at = bytes, *end = bytes + n;
    while ((at = memmem(at, (size_t)(end - at), "t=", 2)) != NULL) {
        char hex[17] = "";
        char *stop;
        at += 2;
        if (end - at < 16)
            return;
        memcpy(hex, at, 16);
        int64_t left_us = (int64_t)strtoull(hex, &stop, 16);
        if (*stop == '\0')
            histogram_add(&l->delay, now - left_us);
    }
}

static void read_more(struct load *l, struct connection *c)
{
    static char bytes[READ_SIZE];
    while (c->phase == READING) {
        ssize_t n = get(c, bytes, sizeof bytes);
        if (n < 0) {
            failed(l, c);
            return;
        }
        if (n == 0)
            return;
        l->bytes += (size_t)n;
        size_t at = 0;
        if (!c->head_done)
            at = take_head(l, c, bytes, (size_t)n);
        if (!c->head_done)
            continue;
        if ((size_t)n > at && l->options.stream) {
            int64_t now = now_us();
            l->pieces++;
            if (c->last_us != 0)
                histogram_add(&l->gap, now - c->last_us);
            c->last_us = now;
            take_instants(l, bytes + at, (size_t)n - at, now);
        }
        if (!take_body(c, bytes + at, (size_t)n - at))
            answered(l, c);
    }
}

static void shake_hands(struct load *l, struct connection *c)
{
    int done = SSL_connect(c->tls);
    if (done == 1) {
        l->handshakes++;
        l->resumed += SSL_session_reused(c->tls) == 1;
        if (l->options.handshakes) {
            histogram_add(&l->latency, now_us() - c->due_us);
            /* The first ones stay open until a ticket has come. */
            if (l->options.resume && l->session == NULL) {
                c->phase = READY;
                want(l, c, EPOLLIN);
            } else {
                close_one(l, c);
            }
        } else {
            is_ready(l, c);
        }
        return;
    }
    int why = SSL_get_error(c->tls, done);
    if (why == SSL_ERROR_WANT_READ)
        want(l, c, EPOLLIN);
    else if (why == SSL_ERROR_WANT_WRITE)
        want(l, c, EPOLLOUT);
    else
        failed(l, c);
}

static void connected(struct load *l, struct connection *c)
{
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) {
        errno = error;
        die("connect");
    }
    if (l->options.plain) {
        is_ready(l, c);
        return;
    }
    c->tls = SSL_new(l->context);
    SSL_set_fd(c->tls, c->fd);
    SSL_set_tlsext_host_name(c->tls, "localhost");
    if (l->session != NULL) {
        /* A copy: in TLS 1.3 the library uses up what it is given. */
        SSL_SESSION *copy = SSL_SESSION_dup(l->session);
        SSL_set_session(c->tls, copy);
        SSL_SESSION_free(copy);
    }
    c->phase = HANDSHAKE;
    shake_hands(l, c);
}

static void happened(struct load *l, struct connection *c)
{
    switch (c->phase) {
    case CONNECTING:
        connected(l, c);
        break;
    case HANDSHAKE:
        shake_hands(l, c);
        break;
    case SENDING:
        send_more(l, c);
        break;
    case READING:
        read_more(l, c);
        break;
    case READY: { /* a ticket, or the peer closes */
        char bytes[4096];
        bool gone = get(c, bytes, sizeof bytes) < 0;
        if (l->options.handshakes && l->session != NULL) {
            close_one(l, c);
        } else if (gone) {
            l->errors++;
            want(l, c, EPOLLET);
        }
        break;
    }
    case CLOSED:
        break;
    }
}

/* Open loop: what is due by now goes out on free connections. */
static void send_due(struct load *l)
{
    double now = (double)now_us();
    while (l->next_due_us <= now && l->next_due_us < (double)l->end_us) {
        if (l->free_count == 0)
            return; /* it stays due: its wait is part of its latency */
        int one = l->free_ones[--l->free_count];
        begin(l, &l->connections[one], (int64_t)l->next_due_us);
        l->next_due_us += 1e6 / l->options.rate;
    }
}

/* At most 20 ms; open loop: until the next request is due. */
static struct timespec until_due(const struct load *l)
{
    int64_t us = 20000;
    if (l->started && l->options.rate > 0 && l->free_count > 0)
        us = (int64_t)l->next_due_us - now_us();
    us = us < 0 ? 0 : us > 20000 ? 20000 : us;
    return (struct timespec){.tv_nsec = (long)us * 1000};
}

/* All connections are up: from here on it counts. */
static void start_clock(struct load *l, int count)
{
    l->started = true;
    l->start_us = now_us();
    l->end_us = l->start_us + (int64_t)(l->options.seconds * 1e6);
    l->next_due_us = (double)l->start_us;
    for (int i = 0; i < count; i++)
        if (l->connections[i].phase == READY)
            is_ready(l, &l->connections[i]);
}

static void run(struct load *l)
{
    struct epoll_event events[256];
    int count = l->options.idle > 0 ? l->options.idle : l->options.connections;
    l->connections = calloc((size_t)count, sizeof *l->connections);
    l->free_ones = calloc((size_t)count, sizeof *l->free_ones);
    if (l->connections == NULL || l->free_ones == NULL)
        die("memory");
    for (int i = 0; i < count; i++)
        l->connections[i].fd = -1;
    l->started = l->options.idle > 0 || l->options.handshakes;
    l->start_us = now_us();
    l->end_us = l->start_us + (int64_t)(l->options.seconds * 1e6);
    l->next_due_us = (double)l->start_us;
    int opened = 0;
    while (!l->started || now_us() < l->end_us) {
        if (!l->started &&
            (l->ready == count || now_us() > l->start_us + OPENING_MOST_US))
            start_clock(l, count);
        /* A few at a time, so that the listener's queue holds them. */
        for (int k = 0; k < 64 && opened < count; k++)
            connect_one(l, &l->connections[opened++]);
        struct timespec timeout = until_due(l);
        int n = epoll_pwait2(l->epoll, events, 256, &timeout, NULL);
        for (int i = 0; i < n; i++)
            happened(l, events[i].data.ptr);
        if (l->started && l->options.rate > 0)
            send_due(l);
    }
    l->over = true;
}

static void print_histogram(const char *name, const struct histogram *h)
{
    printf(",\"%s\":{\"count\":%llu,\"p50\":%lld,\"p90\":%lld,\"p99\":%lld,"
           "\"p999\":%lld,\"max\":%lld}",
        name, (unsigned long long)h->total, (long long)histogram_at(h, 0.5),
        (long long)histogram_at(h, 0.9), (long long)histogram_at(h, 0.99),
        (long long)histogram_at(h, 0.999), (long long)h->largest);
}

static void print_result(const struct load *l)
{
    double seconds = (double)(l->end_us - l->start_us) / 1e6;
    int open = 0;
    for (int i = 0; i < l->options.idle; i++)
        open += l->connections[i].phase == READY;
    printf("{\"answers\":%llu,\"perSecond\":%.1f,\"bad\":%llu,\"errors\":%llu,"
           "\"handshakes\":%llu,\"handshakesPerSecond\":%.1f,\"resumed\":%llu,"
           "\"bytes\":%llu,\"idle\":%d,\"refused\":%llu,"
           "\"refusedWithoutRetryAfter\":%llu",
        (unsigned long long)l->answers, (double)l->answers / seconds,
        (unsigned long long)l->bad, (unsigned long long)l->errors,
        (unsigned long long)l->handshakes, (double)l->handshakes / seconds,
        (unsigned long long)l->resumed, (unsigned long long)l->bytes, open,
        (unsigned long long)l->refused, (unsigned long long)l->unhelpful);
    print_histogram("latencyMicros", &l->latency);
    print_histogram("serviceMicros", &l->service);
    print_histogram("firstByteMicros", &l->first);
    print_histogram("refusalMicros", &l->refusal);
    if (l->options.stream) {
        printf(",\"pieces\":%llu,\"piecesPerSecond\":%.1f",
            (unsigned long long)l->pieces, (double)l->pieces / seconds);
        print_histogram("gapMicros", &l->gap);
        print_histogram("delayMicros", &l->delay);
    }
    printf("}\n");
}

static char *read_file(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    size_t room = 1 << 16, n;
    char *bytes = malloc(room);
    if (file == NULL || bytes == NULL)
        die(path);
    *length = 0;
    while ((n = fread(bytes + *length, 1, room - *length, file)) > 0) {
        *length += n;
        if (*length == room && (bytes = realloc(bytes, room *= 2)) == NULL)
            die("memory");
    }
    fclose(file);
    return bytes;
}

static void make_request(struct load *l)
{
    size_t body_length = 0;
    char *body = l->options.body_file
                     ? read_file(l->options.body_file, &body_length)
                     : NULL;
    size_t room = body_length + sizeof l->options.headers + 1024;
    l->request = malloc(room);
    if (l->request == NULL)
        die("memory");
    int n = snprintf(l->request, room,
        "%s %s HTTP/1.1\r\nHost: localhost\r\n%s"
        "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
        body ? "POST" : "GET", l->options.path, l->options.headers,
        body_length);
    if (body_length > 0)
        memcpy(l->request + n, body, body_length);
    l->request_length = (size_t)n + body_length;
    free(body);
}

static void read_options(struct options *o, int argc, char **argv)
{
    *o = (struct options){
        .connections = 1, .seconds = 5, .path = "/v1/chat/completions"};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(name, "--plain") == 0)
            o->plain = true;
        else if (strcmp(name, "--stream") == 0)
            o->stream = true;
        else if (strcmp(name, "--handshakes") == 0)
            o->handshakes = true;
        else if (strcmp(name, "--resume") == 0)
            o->resume = true;
        else if (i++, strcmp(name, "--port") == 0)
            o->port = (int)strtol(value, NULL, 10);
        else if (strcmp(name, "--connections") == 0)
            o->connections = (int)strtol(value, NULL, 10);
        else if (strcmp(name, "--idle") == 0)
            o->idle = (int)strtol(value, NULL, 10);
        else if (strcmp(name, "--seconds") == 0)
            o->seconds = strtod(value, NULL);
        else if (strcmp(name, "--rate") == 0)
            o->rate = strtod(value, NULL);
        else if (strcmp(name, "--path") == 0)
            o->path = value;
        else if (strcmp(name, "--body") == 0)
            o->body_file = value;
        else if (strcmp(name, "--header") == 0) {
            size_t have = strlen(o->headers);
            snprintf(
                o->headers + have, sizeof o->headers - have, "%s\r\n", value);
        } else {
            fprintf(stderr, "load: unknown option %s\n", name);
            exit(2);
        }
    }
    if (o->port == 0 || o->connections < 1) {
        fprintf(stderr, "load: --port and at least one connection\n");
        exit(2);
    }
}

static int keep_session(SSL *tls, SSL_SESSION *session)
{
    struct load *l = SSL_CTX_get_app_data(SSL_get_SSL_CTX(tls));
    if (l->session != NULL || !l->options.resume)
        return 0;
    l->session = session;
    return 1; /* kept: ours to free */
}

int main(int argc, char **argv)
{
    static struct load l;
    struct rlimit limit;
    read_options(&l.options, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    l.context = SSL_CTX_new(TLS_client_method());
    l.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (l.context == NULL || l.epoll < 0)
        die("set-up");
    SSL_CTX_set_mode(l.context,
        SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_app_data(l.context, &l);
    SSL_CTX_set_session_cache_mode(
        l.context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(l.context, keep_session);
    make_request(&l);
    run(&l);
    print_result(&l);
    return 0;
}
