/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/http_service_priv.h - between http_service.c (requests and answers) and
 * http_service_listen.c (sockets). */
#ifndef LIB_HTTP_SERVICE_PRIV_H
#define LIB_HTTP_SERVICE_PRIV_H

#include "lib/http_service.h"

struct http_listener {
    int fd; /* -1: none */
    uint16_t port;
    char url[300];
    char *unix_path; /* to be removed at the end; NULL: none */
};

/* Fills *out; fd stays -1 where the settings ask for no listener. */
enum err http_listener_open(const struct http_service_settings *settings,
    struct http_listener *out, struct errinfo *info) MUSTCHECK;
void http_listener_close(struct http_listener *listener);

#endif
