/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/server.h - `bailiff serve DIR`: the main thread. Opens the control
 * state, starts pool, workers and admin listeners, then waits for signals:
 * TERM and INT drain, HUP reloads settings, certificate and snapshot and keeps
 * the old ones on error. */
#ifndef PROXY_SERVER_H
#define PROXY_SERVER_H

/* Until the end of the server; the exit code. */
int server_run(const char *dir);

#endif
