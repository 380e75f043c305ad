/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/listener.h - where the admin API is reached: a Unix socket (mode
 * 0660, the peer's uid by SO_PEERCRED); where set a loopback TCP listener
 * that carries /healthz, /readyz and /metrics only; and where set a door to the
 * network (proxy/admin/door.h: TLS, no uid, none of those three).
 *
 * Every head is checked by the strict parser of lib/http1 before a byte of it
 * reaches libmicrohttpd, and a connection carries one request. Threads: one of
 * its own for accepting and checking, one per request for handling. */
#ifndef PROXY_ADMIN_LISTENER_H
#define PROXY_ADMIN_LISTENER_H

#include "proxy/admin/admin.h"
#include "proxy/settings.h"
#include "proxy/tls.h"

struct listener;

/* keeps admin and settings. A stale socket is replaced, a live one refused.
 * gives *out. */
enum err listener_start(struct admin *admin, const struct settings *settings,
    struct listener **out, struct errinfo *info) MUSTCHECK;
/* Removes the socket, waits for running requests. NULL ok. */
void listener_stop(struct listener **listener);
/* Port of the metrics listener; 0: none. */
uint16_t listener_metrics_port(const struct listener *listener);
/* Of the door to the network; 0: there is none. */
uint16_t listener_door_port(const struct listener *listener);
/* What is shown at the door now, referenced; NULL: there is none. */
struct tls_context *listener_tls(const struct listener *listener);
/* The door's certificate from now on; takes tls (without a door: frees it). */
void listener_set_tls(struct listener *listener, struct tls_context *tls);

#endif
