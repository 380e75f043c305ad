/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/worker.h - starting and stopping a data-plane worker. The server's
 * thread calls these. */
#ifndef PROXY_WORKER_H
#define PROXY_WORKER_H

#include "proxy/worker_priv.h"

/* fds: listening sockets, taken (closed by the worker). gives *out. */
enum err worker_start(unsigned index, struct worker_shared *shared,
    const int *fds, size_t fd_count, struct worker **out,
    struct errinfo *info) MUSTCHECK;
/* After draining (or closing) was set and the worker was woken: waits for its
 * thread's end and frees it. */
void worker_join(struct worker **worker);

#endif
