/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/outgoing.c - see outgoing.h. */
#include "lib/outgoing.h"

#include "lib/clock.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_US (10 * SECOND_US)
#define LOOK_MS 200 /* how often a wait asks whether it was cancelled */

struct outgoing {
    CURL *easy;
    int fd; /* libcurl's */
    bool (*cancelled)(void *context);
    void *context;
    char shown[300]; /* "host:port" */
    char reason[CURL_ERROR_SIZE];
};

static bool is_cancelled(const struct outgoing *o)
{
    return o->cancelled != NULL && o->cancelled(o->context);
}

static int progress(
    void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    return is_cancelled(context) ? 1 : 0;
}

#define SET(option, value)                                                     \
    do {                                                                       \
        CURLcode code_ = curl_easy_setopt(o->easy, (option), (value));         \
        if (code_ != CURLE_OK)                                                 \
            return code_;                                                      \
    } while (0)

static CURLcode set_options(
    struct outgoing *o, const struct outgoing_target *target, const char *url)
{
    int64_t us = target->connect_timeout_us > 0 ? target->connect_timeout_us
                                                : CONNECT_US;
    SET(CURLOPT_ERRORBUFFER, o->reason);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_URL, url);
    SET(CURLOPT_CONNECT_ONLY, 1L);
    SET(CURLOPT_SSL_ENABLE_ALPN, 0L); /* it is no HTTP that is spoken */
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(us / 1000));
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, progress);
    SET(CURLOPT_XFERINFODATA, o);
    if (target->ca_file != NULL) {
        SET(CURLOPT_CAINFO, target->ca_file);
        SET(CURLOPT_CAPATH, NULL);
    }
    return CURLE_OK;
}
#undef SET

static enum err translate(
    const struct outgoing *o, CURLcode code, struct errinfo *info)
{
    enum err err = ERR_IO;
    if (code == CURLE_OUT_OF_MEMORY)
        err = ERR_NOMEM;
    else if (code == CURLE_COULDNT_RESOLVE_HOST)
        err = ERR_NOTFOUND;
    else if (code == CURLE_OPERATION_TIMEDOUT)
        err = ERR_TIMEOUT;
    else if (code == CURLE_PEER_FAILED_VERIFICATION ||
             code == CURLE_SSL_CACERT_BADFILE)
        err = ERR_DENIED;
    else if (code == CURLE_COULDNT_CONNECT || code == CURLE_SSL_CONNECT_ERROR ||
             code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR ||
             code == CURLE_ABORTED_BY_CALLBACK)
        err = ERR_CLOSED;
    return errinfo_set(info, err, "%s: %s", o->shown,
        o->reason[0] != '\0' ? o->reason : curl_easy_strerror(code));
}

enum err outgoing_open(const struct outgoing_target *target,
    struct outgoing **out, struct errinfo *info)
{
    char url[320];
    curl_socket_t fd = CURL_SOCKET_BAD;
    bool v6 = strchr(target->host, ':') != NULL;
    /* Every use of libcurl sets it up; that counts, and is safe with threads
     * in the versions that are supported. */
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return errinfo_set(info, ERR_NOMEM, "libcurl cannot be set up");
    struct outgoing *o = calloc(1, sizeof(*o));
    if (o == NULL || (o->easy = curl_easy_init()) == NULL) {
        free(o);
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    }
    o->cancelled = target->cancelled;
    o->context = target->context;
    snprintf(o->shown, sizeof(o->shown), v6 ? "[%.250s]:%u" : "%.250s:%u",
        target->host, target->port);
    snprintf(
        url, sizeof(url), "%s://%s/", target->tls ? "https" : "http", o->shown);
    CURLcode code = set_options(o, target, url);
    if (code == CURLE_OK)
        code = curl_easy_perform(o->easy);
    if (code == CURLE_OK)
        code = curl_easy_getinfo(o->easy, CURLINFO_ACTIVESOCKET, &fd);
    if (code != CURLE_OK || fd == CURL_SOCKET_BAD) {
        enum err err =
            translate(o, code != CURLE_OK ? code : CURLE_COULDNT_CONNECT, info);
        outgoing_close(&o);
        return err;
    }
    o->fd = (int)fd;
    *out = o;
    return ERR_OK;
}

void outgoing_close(struct outgoing **pointer)
{
    struct outgoing *o = *pointer;
    if (o == NULL)
        return;
    curl_easy_cleanup(o->easy);
    free(o);
    *pointer = NULL;
}

static enum err closed(const struct outgoing *o, struct errinfo *info)
{
    return errinfo_set(
        info, ERR_CLOSED, "%s has closed the connection", o->shown);
}

enum err outgoing_look(struct outgoing *o, struct errinfo *info)
{
    char waste[4096];
    for (;;) {
        size_t n = 0;
        CURLcode code = curl_easy_recv(o->easy, waste, sizeof(waste), &n);
        if (code == CURLE_AGAIN)
            return ERR_OK;
        if (code != CURLE_OK || n == 0)
            return closed(o, info);
    }
}

/* Until the descriptor may take more, or gives something. */
static enum err await_room(struct outgoing *o, int64_t until_us,
    int64_t stall_us, struct errinfo *info)
{
    struct pollfd poller = {.fd = o->fd, .events = POLLOUT | POLLIN};
    if (is_cancelled(o))
        return errinfo_set(info, ERR_CLOSED, "%s: ended by us", o->shown);
    if (clock_monotonic() >= until_us)
        return errinfo_set(info, ERR_TIMEOUT,
            "%s has taken no byte for %lld seconds", o->shown,
            (long long)(stall_us / SECOND_US));
    if (poll(&poller, 1, LOOK_MS) < 0 && errno != EINTR)
        return errinfo_errno(info, ERR_IO, "%s", o->shown);
    return poller.revents & (POLLIN | POLLHUP | POLLERR)
               ? outgoing_look(o, info)
               : ERR_OK;
}

enum err outgoing_send(struct outgoing *o, struct str bytes, int64_t stall_us,
    struct errinfo *info)
{
    int64_t until = clock_monotonic() + stall_us;
    while (bytes.len > 0) {
        size_t n = 0;
        enum err err = ERR_OK;
        CURLcode code = curl_easy_send(o->easy, bytes.ptr, bytes.len, &n);
        if (code != CURLE_OK && code != CURLE_AGAIN)
            return translate(o, code, info);
        if (n > 0)
            until = clock_monotonic() + stall_us;
        else
            err = await_room(o, until, stall_us, info);
        if (err != ERR_OK)
            return err;
        bytes = str_make(bytes.ptr + n, bytes.len - n);
    }
    return ERR_OK;
}

/* Reads to the end of what the other side sends. */
static enum err await_end(
    struct outgoing *o, int fd, int64_t timeout_us, struct errinfo *info)
{
    int64_t until = clock_monotonic() + timeout_us;
    char waste[4096];
    for (;;) {
        struct pollfd poller = {.fd = fd, .events = POLLIN};
        if (is_cancelled(o))
            return errinfo_set(info, ERR_CLOSED, "%s: ended by us", o->shown);
        if (clock_monotonic() >= until)
            return errinfo_set(info, ERR_TIMEOUT,
                "%s has not read everything: it keeps the connection open "
                "%lld seconds after its end",
                o->shown, (long long)(timeout_us / SECOND_US));
        if (poll(&poller, 1, LOOK_MS) <= 0)
            continue;
        ssize_t n = recv(fd, waste, sizeof(waste), MSG_DONTWAIT);
        if (n == 0)
            return ERR_OK;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return errinfo_errno(info, ERR_CLOSED,
                "%s has cut the connection before it had read everything",
                o->shown);
    }
}

enum err outgoing_finish(
    struct outgoing **pointer, int64_t timeout_us, struct errinfo *info)
{
    struct outgoing *o = *pointer;
    enum err err;
    /* libcurl says close_notify and closes its descriptor; the connection
     * lives on with ours. */
    int fd = fcntl(o->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        err = errinfo_errno(info, ERR_IO, "%s", o->shown);
        outgoing_close(pointer);
        return err;
    }
    curl_easy_cleanup(o->easy);
    o->easy = NULL;
    if (shutdown(fd, SHUT_WR) != 0)
        err = errinfo_errno(info, ERR_CLOSED,
            "%s has cut the connection before it had read everything",
            o->shown);
    else
        err = await_end(o, fd, timeout_us, info);
    close(fd);
    outgoing_close(pointer);
    return err;
}
