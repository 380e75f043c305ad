/* SPDX-License-Identifier: Apache-2.0
 *
 * bench/engine.c - an engine that streams, for bench/ only.
 *
 *   engine --port N [--tokens T] [--every MS]
 *
 * A GET (of its health) is answered with 200. Any other request gets T pieces
 * of an OpenAI chat stream, one every MS milliseconds, then the usage and
 * [DONE]. Every piece carries the instant at which it was handed to the kernel
 * ("t=" and 16 hex digits, microseconds of CLOCK_MONOTONIC), so that who reads
 * it on the same machine knows how long it was on its way. One thread, epoll;
 * loopback only. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
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

#define STREAMS_MOST 65536

struct stream {
    int fd;
    size_t body_left; /* of the request */
    int tokens_left;  /* -1: no request runs */
    int64_t due_us;
    char head[16384];
    size_t head_length;
};

static struct stream *streams[STREAMS_MOST]; /* by descriptor */
static int epoll, tokens = 64, top;
static int64_t every_us = 20000;

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void die(const char *what)
{
    fprintf(stderr, "engine: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void close_stream(struct stream *s)
{
    streams[s->fd] = NULL;
    close(s->fd);
    free(s);
}

static bool put(struct stream *s, const char *text, size_t length)
{
    return send(s->fd, text, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static bool put_chunk(struct stream *s, const char *event)
{
    char text[1024];
    int n = snprintf(text, sizeof text, "%zx\r\n%s\r\n", strlen(event), event);
    return put(s, text, (size_t)n);
}

static bool put_token(struct stream *s)
{
    char event[512];
    snprintf(event, sizeof event,
        "data: {\"id\":\"chatcmpl-0\",\"object\":\"chat.completion.chunk\","
        "\"created\":1700000000,\"model\":\"streamed\",\"choices\":[{\"index\":"
        "0,\"delta\":{\"content\":\"t=%016llx \"},\"finish_reason\":null}]}"
        "\n\n",
        (unsigned long long)now_us());
    return put_chunk(s, event);
}

static bool put_end(struct stream *s)
{
    char event[512];
    snprintf(event, sizeof event,
        "data: {\"id\":\"chatcmpl-0\",\"object\":\"chat.completion.chunk\","
        "\"created\":1700000000,\"model\":\"streamed\",\"choices\":[],"
        "\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":%d,"
        "\"total_tokens\":%d}}\n\n",
        tokens, tokens + 12);
    return put_chunk(s, event) && put_chunk(s, "data: [DONE]\n\n") &&
           put(s, "0\r\n\r\n", 5);
}

/* The request is complete. */
static bool begin(struct stream *s)
{
    static const char head[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        "Transfer-Encoding: chunked\r\n\r\n";
    static const char healthy[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    bool get = strncmp(s->head, "GET ", 4) == 0;
    s->head_length = 0;
    if (get)
        return put(s, healthy, sizeof healthy - 1);
    s->tokens_left = tokens;
    /* Spread over the interval, as requests that come by chance are. */
    s->due_us = now_us() + every_us * (s->fd % 97) / 97;
    return put(s, head, sizeof head - 1);
}

/* False: the connection is gone. */
static bool read_request(struct stream *s)
{
    char bytes[16384];
    for (;;) {
        ssize_t n = recv(s->fd, bytes, sizeof bytes, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            return false;
        if (n < 0)
            return true;
        size_t at = 0;
        while (at < (size_t)n) {
            if (s->body_left > 0) {
                size_t take = (size_t)n - at;
                take = take < s->body_left ? take : s->body_left;
                s->body_left -= take;
                at += take;
                if (s->body_left == 0 && !begin(s))
                    return false;
                continue;
            }
            if (s->head_length + 1 >= sizeof s->head)
                return false;
            s->head[s->head_length++] = bytes[at++];
            s->head[s->head_length] = '\0';
            if (s->head_length < 4 ||
                memcmp(s->head + s->head_length - 4, "\r\n\r\n", 4) != 0)
                continue;
            const char *length = strcasestr(s->head, "\r\ncontent-length:");
            s->body_left = length ? strtoul(length + 17, NULL, 10) : 0;
            if (s->body_left == 0 && !begin(s))
                return false;
        }
    }
}

static void accept_all(int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >=
           0) {
        int one = 1;
        struct stream *s = fd < STREAMS_MOST ? calloc(1, sizeof *s) : NULL;
        if (s == NULL) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        s->fd = fd;
        s->tokens_left = -1;
        streams[fd] = s;
        top = fd > top ? fd : top;
        struct epoll_event event = {
            .events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
            die("epoll_ctl");
    }
}

/* What is due goes out; gives how long until the next one. */
static int64_t send_due(void)
{
    int64_t now = now_us(), next = now + 100000;
    for (int fd = 0; fd <= top; fd++) {
        struct stream *s = streams[fd];
        if (s == NULL || s->tokens_left < 0)
            continue;
        if (s->due_us <= now) {
            bool good = s->tokens_left > 0 ? put_token(s) : put_end(s);
            s->tokens_left--;
            s->due_us += every_us;
            if (!good) {
                close_stream(s);
                continue;
            }
        }
        if (s->tokens_left >= 0 && s->due_us < next)
            next = s->due_us;
    }
    now = now_us();
    return next > now ? next - now : 0;
}

static int listen_at(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(fd, 4096) < 0)
        die("listen");
    return fd;
}

int main(int argc, char **argv)
{
    int port = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        int value = (int)strtol(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--port") == 0)
            port = value;
        else if (strcmp(argv[i], "--tokens") == 0)
            tokens = value;
        else if (strcmp(argv[i], "--every") == 0)
            every_us = (int64_t)value * 1000;
    }
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    signal(SIGPIPE, SIG_IGN);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_at(port);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0)
        die("epoll");
    for (;;) {
        struct epoll_event events[256];
        int64_t wait_us = send_due();
        struct timespec wait = {
            .tv_sec = wait_us / 1000000, .tv_nsec = wait_us % 1000000 * 1000};
        int n = epoll_pwait2(epoll, events, 256, &wait, NULL);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                accept_all(listener);
            else if (streams[fd] != NULL && !read_request(streams[fd]))
                close_stream(streams[fd]);
        }
    }
}
