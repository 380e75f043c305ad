/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/log_budget.h - how many bytes of the log each caller has caused in this
 * hour (UTC), so that nobody can fill the disk with what is written about them.
 *
 * All workers count into one table of atomic cells; nothing is stored, a start
 * begins at nothing. Callers beyond the table's room (some 200,000 in one life
 * of the server) are not limited. Any thread. */
#ifndef PROXY_LOG_BUDGET_H
#define PROXY_LOG_BUDGET_H

#include "lib/str.h"

struct log_budget;
struct log_budget *log_budget_new(void); /* gives; NULL: out of memory */
void log_budget_free(struct log_budget **budget);

/* Adds what was written; gives the hour's sum, 0 where it is not counted. */
uint64_t log_budget_add(struct log_budget *budget, struct str caller,
    uint64_t bytes, int64_t now_us);

#endif
