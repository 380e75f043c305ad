/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/door.h - the admin API's door to the network (the setting
 * admin_listen): TLS with a certificate of its own, and behind it the service
 * that also answers on the Unix socket.
 *
 * A head is read through TLS and judged by the strict parser of lib/http1
 * before libmicrohttpd sees a byte of it. What goes on from here is that head
 * and exactly as many bytes as its Content-Length says: nothing behind it is
 * ever another request, and a chunked body is refused (411). One request per
 * connection.
 *
 * Nobody is trusted for where they come from: the handler knows by the tag
 * that there is no uid, and asks for a token, or for a certificate that is
 * pinned: client certificates are asked for and taken as they come. At most
 * DOOR_VISITS connections, DOOR_VISITS_PER_ADDRESS of one address (IPv6: of one
 * /64), so that neither can keep others away from the Unix socket; further ones
 * are closed. Threads: one that accepts, one per connection. */
#ifndef PROXY_ADMIN_DOOR_H
#define PROXY_ADMIN_DOOR_H

#include "lib/buf.h"
#include "lib/http_service.h"
#include "proxy/address.h"
#include "proxy/settings.h"
#include "proxy/tls.h"

#define DOOR_VISITS 32
#define DOOR_VISITS_PER_ADDRESS 8

/* In the tag of a connection that came through the door. */
#define DOOR_TAG (UINT64_C(1) << 61)

struct door;
/* Binds admin_listen and reads admin_certificate and admin_key; keeps service.
 * Nobody is let in before door_open. gives *out. */
enum err door_new(const struct settings *settings, struct http_service *service,
    struct door **out, struct errinfo *info) MUSTCHECK;
enum err door_open(struct door *door, struct errinfo *info) MUSTCHECK;
/* Cuts all connections and waits for their threads. Until door_free handlers
 * may still ask about a tag. */
void door_close(struct door *door);
void door_free(struct door **door); /* NULL ok */

/* Of new connections now, referenced. Any thread. */
struct tls_context *door_tls(struct door *door);
/* Of new connections from now on; takes tls. Any thread. */
void door_set_tls(struct door *door, struct tls_context *tls);
/* Who is at the other end, without the port. Any thread; for tags of
 * connections whose request is being handled. */
void door_peer(struct door *door, uint64_t tag, char out[ADDRESS_TEXT_MAX]);
/* SHA-256 of the client certificate shown there, in hex; "": none. Whether it
 * is anybody's is not asked here. Any thread, as door_peer. */
void door_certificate(struct door *door, uint64_t tag, char out[65]);
/* After a failed authentication: notes it, and waits where there were many
 * from that address (proxy/visitors.h). */
void door_discourage(struct door *door, uint64_t tag);
uint16_t door_port(const struct door *door);

/* The answer to a head that is refused, whole. */
void door_refusal(struct buf *out, int status, const char *why);

#endif
