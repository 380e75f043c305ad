/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/address.h - "ADDRESS:PORT" texts to socket addresses and back.
 *
 * Numeric addresses only: a listener that depends on a name server is a
 * listener that may land elsewhere. Pure; any thread. */
#ifndef PROXY_ADDRESS_H
#define PROXY_ADDRESS_H

#include "lib/err.h"
#include "lib/str.h"

#include <sys/socket.h>

/* "127.0.0.1:8443", "[::1]:8443"; port 0 asks the system for a free one. */
enum err address_parse(struct str text, struct sockaddr_storage *out,
    socklen_t *length, struct errinfo *info) MUSTCHECK;
/* As address_parse reads it; at most 64 characters with the NUL. */
#define ADDRESS_TEXT_MAX 64
void address_format(
    const struct sockaddr_storage *address, char *out, size_t out_size);

/* A range in CIDR notation; IPv4 stands in IPv6's ::ffff:0:0/96, so that it
 * means the same however the socket shows the peer. */
struct address_range {
    uint8_t bytes[16];
    uint8_t bits; /* of the 128 */
};
/* "192.0.2.0/24", "2001:db8::/32", or one address. Bits behind the prefix must
 * be zero: whoever wrote them meant something else. */
enum err address_range_parse(
    struct str text, struct address_range *out, struct errinfo *info) MUSTCHECK;
/* As it is kept: with its prefix, IPv4 as IPv4. */
void address_range_format(
    const struct address_range *range, char *out, size_t out_size);
/* False for anything that is no IP address (a Unix socket). */
bool address_range_has(
    const struct address_range *range, const struct sockaddr *address);

bool address_is_loopback(const struct sockaddr_storage *address);

#endif
