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
/* The time of the first entry that was kept; 0: nothing was pruned. */
enum err prune_until(struct admin_call *call, int64_t *time_us) MUSTCHECK;
/* {"entries", "minimumIndex", "until", "time", "disposal"}, or null: nothing
 * was pruned. */
json_t *prune_now_json(struct admin_call *call);

#endif
