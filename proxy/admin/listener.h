/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/listener.h - where the admin API is reached: a Unix socket (mode
 * 0660, the peer's uid by SO_PEERCRED), and where set a loopback TCP listener
 * that carries /healthz, /readyz and /metrics only.
 *
 * Every head is checked by the strict parser of lib/http1 before a byte of it
 * reaches libmicrohttpd, and a connection carries one request. Threads: one of
 * its own for accepting and checking, one per request for handling. */
#ifndef PROXY_ADMIN_LISTENER_H
#define PROXY_ADMIN_LISTENER_H

#include "proxy/admin/admin.h"
#include "proxy/settings.h"

struct listener;

/* keeps admin and settings. A stale socket is replaced, a live one refused.
 * gives *out. */
enum err listener_start(struct admin *admin, const struct settings *settings,
    struct listener **out, struct errinfo *info) MUSTCHECK;
/* Removes the socket, waits for running requests. NULL ok. */
void listener_stop(struct listener **listener);
/* Port of the metrics listener; 0: none. */
uint16_t listener_metrics_port(const struct listener *listener);

#endif
