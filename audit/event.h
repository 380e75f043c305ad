/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/event.h - reading an entry of the log back into fields.
 *
 * What the index, `audit show` and reports need; the entry itself stays the
 * truth. Texts borrow from the entry or from the arena. Fields that the
 * entry's type does not have are empty, -1 or 0. Pure; any thread. */
#ifndef AUDIT_EVENT_H
#define AUDIT_EVENT_H

#include "lib/arena.h"
#include "lib/clock.h"
#include "lib/str.h"

enum audit_kind {
    AUDIT_ADMITTED,
    AUDIT_DENIED,
    AUDIT_MEASURED,
    AUDIT_ATTEMPT,
    AUDIT_COMPLETED,
    AUDIT_WITHDRAWN,
    AUDIT_AUTH_FAILED,
    AUDIT_ACT
};

struct audit_event_list {
    const struct str *items;
    size_t count;
};

struct audit_event {
    enum audit_kind kind;
    struct str type, id;
    int64_t time_us;

    /* admitted, denied, measured */
    struct str caller, key, method;
    struct audit_event_list teams;
    struct str teams_json; /* the array as written */
    struct str action, route, dialect;
    struct str asked, model;
    struct str policy_hash;
    int64_t policy_version;
    /* The rules that decided: those of the first permitted candidate; of a
     * denial those of all candidates, failed ones included, each once. */
    struct audit_event_list policies;
    size_t candidate_count, permitted_count;
    bool stream, cap_injected;
    int64_t cap; /* -1: none */
    int64_t body, input_bound;
    /* denied */
    struct str stage, code, message, quota;

    /* the first permitted candidate, or the one named by the entry */
    struct str engine, upstream;
    int64_t status;   /* denied, attempt, completed; 0: none */
    struct str error; /* attempt */
    int64_t number;   /* attempt */

    /* completed, withdrawn */
    struct str outcome; /* withdrawn: "withdrawn" */
    struct str reason;  /* also of auth.failed and acts */
    int64_t attempts, input, output, cached, reasoning, bytes_out;
    int64_t cost; /* micro-units of money; -1: the model had no price */
    struct str usage_source;
    int64_t durable_us, first_byte_us, total_us;

    /* auth.failed */
    int64_t count, first_us;

    /* acts */
    struct str actor, actor_method, actor_certificate, object_kind, object;
    struct str before, after, detail; /* JSON as written */
    int64_t outbox;

    struct str sealed_key, sealed_box; /* base64 */
    /* admitted: the request's content; completed: the answer's. key empty: none
     * was kept */
    struct str content_key, content_blob, content_commitment;
    int64_t content_bytes;
    struct str content_lost; /* completed */
    struct str retention;    /* class; "" is "default" */
    struct str emergency;    /* what let it through; "": the rules */
};

/* ERR_SYNTAX: not an entry that this program knows; ERR_NOMEM. */
enum err audit_event_parse(struct arena *arena, struct str entry,
    struct audit_event *out, struct errinfo *info) MUSTCHECK;

#endif
