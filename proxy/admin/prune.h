/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/prune.h - what disposals and other handlers need of pruning. */
#ifndef PROXY_ADMIN_PRUNE_H
#define PROXY_ADMIN_PRUNE_H

#include "audit/pruned.h"
#include "proxy/admin/retention.h"

/* The step of disposal_finish that takes the files away; fills d->files and
 * d->bytes. May be repeated after a crash. */
enum err prune_finish(struct admin_call *call, struct disposal *d) MUSTCHECK;

/* What was pruned; entries 0: nothing. */
enum err prune_load(struct admin_call *call, struct pruned *out) MUSTCHECK;
/* {"entries", "minimumIndex", "time", "disposal"}, or null: nothing was
 * pruned. */
json_t *prune_now_json(struct admin_call *call);

#endif
