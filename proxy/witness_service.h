/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/witness_service.h - `bailiff witness run`: a witness (audit/witness.h)
 * behind HTTP, in a process of its own.
 *
 *   POST /add-checkpoint                   tlog-witness
 *   GET  /SHA256(ORIGIN)/checkpoint        the newest that was cosigned
 *
 * What it says is signed and what it is asked is public, so it speaks plain
 * HTTP; towards strangers a web server with TLS goes before it. One request a
 * connection. */
#ifndef PROXY_WITNESS_SERVICE_H
#define PROXY_WITNESS_SERVICE_H

/* Runs until SIGTERM or SIGINT; the exit code. listen: "127.0.0.1:8442",
 * "[::1]:0". */
int witness_service_run(const char *dir, const char *listen);

#endif
