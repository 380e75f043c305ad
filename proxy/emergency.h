/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/emergency.h - emergencies end by themselves.
 *
 * An emergency (tables emergency, emergency_caller) is break-glass: rules put
 * in force without approvals, or named callers let through against the rules.
 * Access ends to the microsecond wherever it is looked up (snapshot.h); here
 * the end is written down, and the rules of before come back. Whoever cannot
 * do that in time denies everything (snapshot_rules_are_over). */
#ifndef PROXY_EMERGENCY_H
#define PROXY_EMERGENCY_H

#include "proxy/control.h"

/* Ends what has expired, each with its events and in a change of its own.
 * Started, not locked. */
enum err emergency_expire(
    struct control *control, int64_t now_us, struct errinfo *info) MUSTCHECK;
/* The events of an end; inside a change. version, previous: of policy_store.h
 * (0, 0 for access). */
struct emergency_end {
    struct str id;
    bool policy;
    const char *cause;
    int64_t version, previous;
};
enum err emergency_record_end(struct control *control,
    const struct control_actor *actor, const struct emergency_end *end,
    struct str reason, struct errinfo *info) MUSTCHECK;

#endif
