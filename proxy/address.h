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
bool address_is_loopback(const struct sockaddr_storage *address);

#endif
