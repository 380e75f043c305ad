/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/shadow.h - a candidate version that decides beside the active one on
 * live traffic: what differs is counted per rule; no answer depends on it.
 *
 * The counts are of this run of the server, from the start of the shadow or
 * the last change of the active version on. Workers count agreement without a
 * lock; a difference takes a short mutex. Any thread. */
#ifndef PROXY_SHADOW_H
#define PROXY_SHADOW_H

#include "lib/buf.h"
#include "policy/decide.h"
#include "proxy/snapshot.h"

struct shadow;

struct shadow *shadow_new(void); /* gives; NULL: out of memory */
void shadow_free(struct shadow **shadow);

/* When a snapshot comes into force: counting begins anew where its candidate
 * or its active version is another one. Without a candidate it ends. */
void shadow_follow(struct shadow *shadow, const struct snapshot *snapshot);

enum shadow_kind {
    SHADOW_SAME,
    SHADOW_NEWLY_DENIED,
    SHADOW_NEWLY_PERMITTED,
    SHADOW_BOUND_OTHERWISE, /* permitted by both, other obligations */
    SHADOW_SKIPPED          /* its share of time was used up */
};
struct shadow_note {
    enum shadow_kind kind;
    int64_t version, against; /* candidate and active: others are ignored */
    int64_t cost_us;
    struct str request; /* its id */
    int64_t time_us;
    const struct policy_decision *decision; /* the candidate's */
};
void shadow_count(struct shadow *shadow, const struct shadow_note *note);

/* Appends {"version","against","since","asked","same",...,"rules":[..],
 * "samples":[..]}, or {} where nothing is shadowed. */
void shadow_write(
    struct shadow *shadow, const struct snapshot *snapshot, struct buf *out);

#endif
