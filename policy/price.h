/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/price.h - what a request costs, in micro-units of money.
 *
 * A price is one row of the price table: a model, from a moment on. Rows are
 * never changed, so that a cost on record can be computed again. All figures
 * are integers; a cost is exact and then rounded up once, to a whole
 * micro-unit, so that a bound on the use is a bound on the cost. Pure. */
#ifndef POLICY_PRICE_H
#define POLICY_PRICE_H

#include "lib/str.h"

/* Of each figure: a million units of money. */
#define PRICE_MAX INT64_C(1000000000000)

struct price {
    int64_t version;       /* the row's number in the table */
    int64_t valid_from_us; /* 0: always */
    /* Micro-units for a million tokens; cached <= input. */
    int64_t input, cached, output;
    /* Micro-units for each. */
    int64_t request, image, audio_second;
    char hash[65]; /* by price_hash */
};

struct price_use {
    int64_t input; /* cached ones included */
    int64_t cached, output, images, audio_seconds;
};

/* INT64_MAX: more than can be counted. Negative figures (unknown) are 0. */
int64_t price_cost(const struct price *price, const struct price_use *use);

/* Sets hash: SHA-256 of the row's canonical JSON, the model's name included:
 * {"audioSecond","cached","image","input","model","output","request",
 * "validFrom" (microseconds),"version"}. */
void price_hash(struct price *price, struct str model);

/* The one in force at now_us, of rows sorted by valid_from_us, version. NULL:
 * none. */
const struct price *price_at(
    const struct price *prices, size_t count, int64_t now_us);

#endif
