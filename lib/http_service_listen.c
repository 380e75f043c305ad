/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/http_service_listen.c - the listening sockets of lib/http_service. */
#include "lib/http_service_priv.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 128

static void name_tcp(struct http_listener *listener)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getsockname(listener->fd, (struct sockaddr *)&address, &length) != 0 ||
        getnameinfo((struct sockaddr *)&address, length, host, sizeof host,
            port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    bool v6 = address.ss_family == AF_INET6;
    listener->port = v6 ? ntohs(((struct sockaddr_in6 *)&address)->sin6_port)
                        : ntohs(((struct sockaddr_in *)&address)->sin_port);
    (void)!snprintf(listener->url, sizeof listener->url, "http://%s%.200s%s:%s",
        v6 ? "[" : "", host, v6 ? "]" : "", port);
}

static enum err open_tcp(const struct http_service_settings *settings,
    struct http_listener *out, struct errinfo *info)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    char port[8];
    (void)!snprintf(port, sizeof port, "%u", settings->port);
    int code = getaddrinfo(settings->host, port, &hints, &list);
    if (code != 0)
        return errinfo_set(info, ERR_NOTFOUND,
            "cannot listen on %s: %s; give an address of this machine",
            settings->host, gai_strerror(code));
    int reason = EADDRNOTAVAIL;
    for (struct addrinfo *a = list; a && out->fd < 0; a = a->ai_next) {
        int on = 1;
        int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, 0);
        if (fd >= 0 &&
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
            (a->ai_family != AF_INET6 ||
                setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) ==
                    0) &&
            bind(fd, a->ai_addr, a->ai_addrlen) == 0 &&
            listen(fd, BACKLOG) == 0) {
            out->fd = fd;
            break;
        }
        reason = errno;
        if (fd >= 0)
            close(fd);
    }
    freeaddrinfo(list);
    if (out->fd < 0) {
        errno = reason;
        return errinfo_errno(info,
            reason == EADDRINUSE ? ERR_EXISTS
            : reason == EACCES   ? ERR_DENIED
                                 : ERR_IO,
            "cannot listen on %s port %u", settings->host, settings->port);
    }
    name_tcp(out);
    return ERR_OK;
}

/* A socket file that nobody listens on is what a killed process leaves. */
static bool is_left_over(const struct sockaddr_un *address)
{
    struct stat st;
    if (lstat(address->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool refused =
        connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 &&
        errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static enum err open_unix(const struct http_service_settings *settings,
    struct http_listener *out, struct errinfo *info)
{
    const char *path = settings->unix_path;
    mode_t mode = settings->unix_mode ? settings->unix_mode : 0600;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof address.sun_path)
        return errinfo_set(info, ERR_LIMIT,
            "%s: a socket's path has 1 to %zu bytes; choose a shorter one",
            path, sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, length + 1);
    if (is_left_over(&address))
        unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* fchmod before bind: the file never has wider rights than asked for
     * (Linux takes the socket's mode, less the umask, for the file). */
    bool ok = fd >= 0 && fchmod(fd, mode) == 0 &&
              bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (ok && (chmod(path, mode) != 0 || listen(fd, BACKLOG) != 0)) {
        int reason = errno;
        unlink(path);
        errno = reason;
        ok = false;
    }
    out->unix_path = ok ? strdup(path) : NULL;
    if (!ok || !out->unix_path) {
        enum err err = ok ? errinfo_set(info, ERR_NOMEM, "out of memory")
                          : errinfo_errno(info,
                                errno == EADDRINUSE ? ERR_EXISTS
                                : errno == EACCES   ? ERR_DENIED
                                                    : ERR_IO,
                                "cannot listen on %s", path);
        if (fd >= 0)
            close(fd);
        if (ok)
            unlink(path);
        return err;
    }
    out->fd = fd;
    (void)!snprintf(out->url, sizeof out->url, "unix:%s", path);
    return ERR_OK;
}

enum err http_listener_open(const struct http_service_settings *settings,
    struct http_listener *out, struct errinfo *info)
{
    *out = (struct http_listener){.fd = -1};
    if (settings->unix_path)
        return open_unix(settings, out, info);
    if (settings->host)
        return open_tcp(settings, out, info);
    return ERR_OK;
}

void http_listener_close(struct http_listener *listener)
{
    if (listener->fd >= 0)
        close(listener->fd);
    listener->fd = -1;
    if (listener->unix_path)
        unlink(listener->unix_path);
    free(listener->unix_path);
    listener->unix_path = NULL;
}
