/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/quota.h - the ledger: how much of each budget is used or reserved.
 *
 * Pure but for one short mutex: time is an argument, nothing is stored here
 * (the audit log is the store; quota_restore_* bring it back). Any thread.
 * Rates inside: policy/rate.h.
 *
 * A claim names one quota. Reserve takes the worst case from every claim, all
 * or none; settle gives back what was not used. Fixed windows (hour, day,
 * week, month, lifetime) count; a settlement goes into the window of its
 * admission. Minute quotas are rates: GCRA (ITU-T I.371 annex A) with one
 * minute's amount as burst, in virtual arrival times. Windows only move
 * forward, whatever the clock does, and tile time: after a change of zone the
 * next window begins where the last one ended. [POL-Q1] used + reserved never
 * passes the amount; for a rate, what was settled in any t seconds never
 * passes amount x (1 + t / 60). [POL-Q2] a refused reservation changes
 * nothing. [POL-Q3] what is settled or cancelled is all that stays charged. */
#ifndef POLICY_QUOTA_H
#define POLICY_QUOTA_H

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/str.h"
#include "policy/price.h"

enum quota_dimension {
    QUOTA_REQUESTS,
    QUOTA_TOKENS, /* input + output */
    QUOTA_INPUT_TOKENS,
    QUOTA_OUTPUT_TOKENS,
    QUOTA_COST, /* micro-units of money, by policy/price.h */
    QUOTA_IMAGES,
    QUOTA_AUDIO_SECONDS,
    QUOTA_REQUEST_BYTES,
    QUOTA_CONCURRENT_REQUESTS /* with QUOTA_NOW, and only with it */
};
enum quota_window {
    QUOTA_MINUTE, /* a rate */
    QUOTA_HOUR,
    QUOTA_DAY,
    QUOTA_WEEK,
    QUOTA_MONTH,
    QUOTA_LIFETIME,
    QUOTA_NOW /* what is open at this moment; not restored: starts at 0 */
};
const char *quota_dimension_name(enum quota_dimension dimension);
const char *quota_window_name(enum quota_window window);
enum err quota_dimension_parse(
    struct str name, enum quota_dimension *out) MUSTCHECK;
enum err quota_window_parse(struct str name, enum quota_window *out) MUSTCHECK;

#define QUOTA_ID_MAX 32
#define QUOTA_CLAIMS_MAX 32 /* quotas that may apply to one request */

/* One row of table quota, as the snapshot holds it. Immutable. */
struct quota_rule {
    char id[QUOTA_ID_MAX]; /* NUL-terminated; the bucket */
    enum quota_dimension dimension;
    enum quota_window window;
    int64_t amount;
    const struct clock_zone *zone; /* for the calendar windows; borrowed */
    /* What was used before the quota was made, in the window that it was made
     * in: counts there, as if its bucket had it. */
    int64_t earlier, earlier_window_us;
    int warn_percent; /* of the amount, at which to warn; 0: never */
};

struct quota_bucket; /* inside the ledger */
struct quota_ledger;
struct quota_ledger *quota_ledger_new(void); /* gives; NULL: out of memory */
void quota_ledger_free(struct quota_ledger **ledger);

/* What one request would take at most. */
struct quota_demand {
    int64_t input;      /* upper bound of input tokens */
    int64_t multiplier; /* answers per cap: n x prompts x best_of; >= 1, or 0
                           when the route generates nothing (embeddings) */
    int64_t cap; /* output cap per answer: the caller's, or the default */
    bool cap_is_flexible; /* the caller set none: may be lowered to fit, not
                             below cap_least */
    int64_t cap_least;
    int64_t images, audio_seconds, bytes;
    const struct price *price; /* borrowed; NULL: none, and then nothing fits a
                                  quota of cost */
};

/* Filled by quota_reserve, kept by the exchange until settled. */
struct quota_claim {
    const struct quota_rule *rule; /* in; keeps (snapshot) */
    struct quota_bucket *bucket;   /* the ledger's; NULL: nothing is held */
    int64_t reserved;              /* units taken */
    int64_t window_start_us;       /* calendar windows; 0 for lifetime */
    int64_t arrival_us;            /* rates: theoretical arrival after it */
    uint64_t step;                 /* rates: ledger order within the bucket */
    int64_t used;                  /* before this claim, reservations included
                                      (rates: what the burst lacks) */
    int64_t settled;               /* after quota_settle: what was charged */
    bool warned; /* by quota_settle: passed the mark, for the first time
                    in this window (calendar and lifetime only) */
    int64_t used_settled; /* then: what was used, without reservations */
};

/* Is so much at or past the rule's mark? */
bool quota_is_past_mark(const struct quota_rule *rule, int64_t used);

struct quota_denial {
    const struct quota_rule *rule; /* the quota that did not fit */
    int64_t asked;
    int64_t remaining;
    int64_t retry_after_us; /* until it would fit or the window ends; -1: never
                               (lifetime, or larger than the whole amount) */
    bool rate; /* minute or concurrency: "too fast"; else "budget spent" */
};

/* claims[i].rule are set (no rule twice), the rest is filled. ERR_OK: all
 * taken, *cap is the output cap granted per answer (== demand->cap unless
 * flexible). ERR_FULL: none taken, *denial says which and when (of several the
 * one that lasts longest). ERR_NOMEM. */
enum err quota_reserve(struct quota_ledger *ledger, int64_t now_us,
    const struct quota_demand *demand, struct quota_claim *claims, size_t count,
    int64_t *cap, struct quota_denial *denial) MUSTCHECK;

/* What would be granted now, without taking it: the cap (0 where nothing is
 * generated), or -1 where it does not fit. Another may be faster: a hint. */
int64_t quota_foresee(struct quota_ledger *ledger, int64_t now_us,
    const struct quota_demand *demand, const struct quota_claim *claims,
    size_t count);
/* What a demand asks of a quota at the least cap that would do; for records
 * of a demand that was not granted. */
int64_t quota_asked(
    const struct quota_rule *rule, const struct quota_demand *demand);

struct quota_use {
    int64_t input, output; /* tokens */
    int64_t cost;
    bool served; /* requests, images, seconds and bytes are charged as they were
                    reserved; else given back */
};
/* The true use. Charges min(actual, reserved) per claim, sets claim->settled,
 * and for rates arrival_us and step anew. Never fails; a claim that holds
 * nothing (refused, settled already) is left alone. */
void quota_settle(struct quota_ledger *ledger, int64_t now_us,
    struct quota_claim *claims, size_t count, const struct quota_use *use);
/* Everything back (withdrawn, no engine reached). */
void quota_cancel(struct quota_ledger *ledger, int64_t now_us,
    struct quota_claim *claims, size_t count);

struct quota_status {
    int64_t limit;
    int64_t used;     /* reservations included */
    int64_t reserved; /* of it; what is open now */
    int64_t remaining;
    int64_t reset_us; /* from now until full again / until the window ends; -1:
                         never */
    int64_t window_start_us; /* calendar windows; else 0 */
};
void quota_peek(struct quota_ledger *ledger, int64_t now_us,
    const struct quota_rule *rule, struct quota_status *out);

/* Start-up, from the replayed log, before the first reservation. Calendar and
 * lifetime: the window's start (0: lifetime) and all that was used in it; of
 * several windows the latest stays, of equal ones the last call. Rate: the
 * arrival time of the highest step. */
enum err quota_restore_window(struct quota_ledger *ledger, struct str bucket,
    int64_t window_start_us, int64_t used) MUSTCHECK;
enum err quota_restore_rate(struct quota_ledger *ledger, struct str bucket,
    int64_t arrival_us, uint64_t step) MUSTCHECK;

#endif
