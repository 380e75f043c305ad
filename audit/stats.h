/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/stats.h - counts over the index: how many requests per day, team,
 * model, rule ...; and where the log is silent. Rules as in query.h: a
 * connection of its own, one thread. Costs a walk over the rows that fit. */
#ifndef AUDIT_STATS_H
#define AUDIT_STATS_H

#include "audit/query.h"

#define STATS_BY_MAX 3
#define STATS_GROUPS_MAX 50000

struct audit_group {
    struct str keys[STATS_BY_MAX]; /* times: RFC 3339 of the period's start */
    int64_t records; /* requests, or events (auth.failed: calls counted) */
    int64_t permitted, denied, input, output, bytes_out; /* requests */
    int64_t cost; /* micro-units of money, of those that had a price */
};
struct audit_stats {
    const struct audit_group *groups; /* most records first; times ascending */
    size_t count;
    bool of_requests;
    uint64_t indexed;
    bool incomplete;
    const char *by[STATS_BY_MAX];
    size_t by_count;
    struct arena *arena;
};

/* by: names with commas, at most three: hour day month (UTC) caller key team
 * model engine route action decision policy version stage code quota status
 * outcome (of requests); hour day month type actor object method reason (of
 * events). Which of the two is meant follows from the filter (type, actor,
 * object: events) and from `by`. ERR_INVALID names the allowed ones;
 * ERR_LIMIT: more than STATS_GROUPS_MAX groups. ERR_CORRUPT as in
 * audit_query. gives *out. */
enum err audit_count(struct audit_index *index,
    const struct audit_filter *filter, struct str by, struct audit_stats **out,
    uint64_t *damaged, struct errinfo *info) MUSTCHECK;
void audit_stats_free(struct audit_stats **stats);

/* A time without a record that lasted at least `longer_us`. */
struct audit_gap {
    uint64_t after, before; /* the records at its ends */
    int64_t from_us, to_us;
    bool stopped; /* begins with system.stopped: an orderly stop */
};
struct audit_gaps {
    struct audit_gap *items; /* in order of time */
    size_t count;
    bool cut; /* more than `room` */
    uint64_t records, indexed;
    bool incomplete;
    int64_t first_us, last_us;
    struct arena *arena;
};
/* gives *out. The filter's since and until bound the walk. */
enum err audit_find_gaps(struct audit_index *index,
    const struct audit_filter *filter, int64_t longer_us, size_t room,
    struct audit_gaps **out, uint64_t *damaged, struct errinfo *info) MUSTCHECK;
void audit_gaps_free(struct audit_gaps **gaps);

#endif
