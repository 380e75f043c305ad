/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/connection.h - one caller's connection: TLS, the strict HTTP/1.1
 * front, and the writing of answers under backpressure.
 *
 * At most one exchange runs on a connection; requests that were sent ahead
 * wait in the buffer and are answered in order. A FIN (or reset) while an
 * exchange runs means that the caller has gone; a TLS close_notify alone is a
 * half-close and the answer still goes out. One worker's thread. */
#ifndef PROXY_CONNECTION_H
#define PROXY_CONNECTION_H

#include "lib/http1.h"
#include "proxy/identity_certificate.h"
#include "proxy/worker_priv.h"

/* Takes fd; keeps listener's text. Closes it when there is no memory or the
 * address has too many. */
void connection_accept(struct worker *worker, struct str listener, int fd,
    const struct sockaddr_storage *peer, socklen_t peer_length);

/* --- For the exchange ---------------------------------------------------- */
const char *connection_address(const struct connection *connection);
/* What its listener asks for by the worker's snapshot, and what was shown in
 * the handshake (NULL: nothing). */
enum tls_certificates connection_certificate_mode(
    const struct connection *connection);
struct identity_certificate *connection_certificate(
    const struct connection *connection);
enum trust_verdict connection_check_certificate(
    const struct connection *connection, int64_t now_us,
    const struct snapshot_caller **caller);
bool connection_keeps_alive(const struct connection *connection);
bool connection_is_http10(const struct connection *connection);
/* From exchange_begin, before anything else. */
void connection_attach(
    struct connection *connection, struct exchange *exchange);
struct exchange *connection_exchange(const struct connection *connection);
struct worker *connection_worker(const struct connection *connection);
/* The caller waits for 100 Continue before its body. */
void connection_continue(struct connection *connection);
/* Bytes of the answer, head included. Sends, or queues. */
void connection_write(
    struct connection *connection, const void *bytes, size_t n);
/* Bytes that the caller has not taken yet. */
size_t connection_backlog(const struct connection *connection);
#define CONNECTION_HIGH_WATER (256u * 1024)
#define CONNECTION_LOW_WATER (64u * 1024)
/* The answer is complete; the exchange lets go of the connection. `keep`: the
 * answer's framing lets the connection live on. */
void connection_finish(struct connection *connection, bool keep);
/* Ends it at once (an answer that must not look complete). */
void connection_abort(struct connection *connection);

/* --- For the worker ------------------------------------------------------ */
void connection_drain(struct connection *connection); /* idle ones close */
void connection_work(struct connection *connection);  /* from the kicked list */
struct connection *connection_next(const struct connection *connection);
struct connection *connection_take_kicked(struct worker *worker);
const struct sockaddr *connection_peer(const struct connection *connection);

#endif
