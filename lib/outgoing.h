/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/outgoing.h - one outgoing stream of bytes over TCP or TLS (libcurl's
 * connection without HTTP): for receivers that only take, such as syslog.
 *
 * Blocking, with a timer for each wait; `cancelled` is asked at least once a
 * second and ends any of them with ERR_CLOSED. Certificates are always
 * verified. What the other side sends is read and thrown away. Errors name
 * host and port. One thread at a time. */
#ifndef LIB_OUTGOING_H
#define LIB_OUTGOING_H

#include "lib/err.h"
#include "lib/str.h"

struct outgoing_target {
    const char *host; /* a name or an address (IPv6 without brackets) */
    uint16_t port;
    bool tls;
    const char *ca_file; /* PEM; these authorities alone. NULL: the system's */
    int64_t connect_timeout_us;       /* TCP and TLS together; 0: ten seconds */
    bool (*cancelled)(void *context); /* may be NULL */
    void *context;
};

struct outgoing;
/* Copies what target points to, but for ca_file. gives *out. ERR_NOTFOUND (host
 * name), ERR_CLOSED (refused, cut), ERR_DENIED (certificate), ERR_TIMEOUT,
 * ERR_NOMEM, ERR_IO. */
enum err outgoing_open(const struct outgoing_target *target,
    struct outgoing **out, struct errinfo *info) MUSTCHECK;
/* All bytes go to the system. ERR_TIMEOUT: the other side took nothing for
 * stall_us; ERR_CLOSED. After an error only outgoing_close is left. */
enum err outgoing_send(struct outgoing *outgoing, struct str bytes,
    int64_t stall_us, struct errinfo *info) MUSTCHECK;
/* ERR_CLOSED: the other side has closed. Does not wait. */
enum err outgoing_look(
    struct outgoing *outgoing, struct errinfo *info) MUSTCHECK;
/* Ends the stream in order (TLS close_notify, then FIN), and waits for the
 * other side's end: it comes once everything before has been read. ERR_OK is
 * therefore an acknowledgement. Frees in every case. */
enum err outgoing_finish(struct outgoing **outgoing, int64_t timeout_us,
    struct errinfo *info) MUSTCHECK;
void outgoing_close(struct outgoing **outgoing); /* at once; NULL ok */

#endif
