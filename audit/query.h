/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/query.h - searching the index: requests, acts, failed logins.
 *
 * One page at a time, newest first, over keysets: a page costs what its rows
 * cost, however long the log. Read-only connections of its own, so that a
 * query never holds the log up, at most the indexer for a moment. What is
 * found is a summary; the entries are in the journal (audit/show.h). That a
 * query was made is for the caller to record (audit.queried). A struct
 * audit_index belongs to one thread at a time. */
#ifndef AUDIT_QUERY_H
#define AUDIT_QUERY_H

#include "lib/buf.h"
#include "lib/clock.h"

/* Persons are opaque ids in the log. find appends the handle of `id` to out,
 * or gives false. A NULL find: ids are shown. */
struct audit_names {
    bool (*find)(void *context, struct str id, struct buf *out);
    void *context;
};

/* --- The question -------------------------------------------------------- */

#define AUDIT_LIMIT_DEFAULT 50
#define AUDIT_LIMIT_MAX 10000
#define AUDIT_SEARCH_MAX 200 /* bytes of text that is looked for */

/* Empty or 0: any. Texts are borrowed. Set by audit_filter_set. */
struct audit_filter {
    int64_t since_us, until_us; /* [since, until) */
    struct str id;              /* a request's, or an event's own */
    struct str caller, key;     /* ids */
    struct str team, model, engine, action, route;
    struct str decision; /* permit deny */
    struct str policy;   /* @id of a rule that decided */
    struct str status;   /* "403", or a class: "4xx" */
    struct str outcome;  /* ok cut client_gone engine_error interrupted
                            withdrawn open */
    struct str type;     /* "request.denied", "admin.team.added", or a family:
                            "request", "admin" */
    struct str actor, object;
    struct str code, quota, stage; /* of a denial */
    struct str version;            /* of the policy, in digits */
    struct str text;               /* in the reason, ASCII case ignored */
    bool oldest_first;
    bool has_after;
    uint64_t after; /* the page before ended here: its result's `next` */
    size_t limit;   /* 0: AUDIT_LIMIT_DEFAULT */
    /* How long may be searched; 0: until the page is full. Not to be set by
     * name. */
    int64_t patience_us;
};

/* X(name, what its value is, help), for tables of options. */
#define AUDIT_FILTERS(X)                                                       \
    X("since", "TIME", "not before: 2026-11-23, 2026-11-23T08:00:00Z, or 24h") \
    X("until", "TIME", "before; a bare date means the whole day")              \
    X("caller", "WHO", "who asked")                                            \
    X("key", "ID", "the API key")                                              \
    X("team", "NAME", "the caller's team, or one above it")                    \
    X("model", "NAME", "the registered model")                                 \
    X("engine", "NAME", "the engine that served it")                           \
    X("decision", "permit|deny", "what was decided")                           \
    X("policy", "ID", "a rule that decided, by its @id")                       \
    X("version", "N", "the policy version that decided")                       \
    X("code", "WORD", "of a denial: policy_denied, insufficient_quota ...")    \
    X("stage", "WORD", "of a denial: plan, decide, reserve ...")               \
    X("quota", "ID", "the quota that refused")                                 \
    X("text", "WORDS",                                                         \
        "what stands in the reason or in the words of a denial")               \
    X("status", "CODE", "the answer's status: 403, or a class: 4xx")           \
    X("outcome", "WORD",                                                       \
        "how it ended: ok, cut, client_gone, engine_error, interrupted, "      \
        "withdrawn; open: not yet")                                            \
    X("type", "TYPE",                                                          \
        "request, request.denied, auth.failed, admin, admin.team.added ...; "  \
        "change: admin and policy")                                            \
    X("route", "PATH", "/v1/chat/completions ...")                             \
    X("action", "WORD", "chat, complete, embed ...")                           \
    X("id", "ID", "a request's id, or an event's")                             \
    X("actor", "WHO", "the administrator who acted")                           \
    X("object", "NAME", "what was acted on")                                   \
    X("order", "newest|oldest", "which comes first (newest)")                  \
    X("after", "SEQ", "go on after this row of the page before")               \
    X("limit", "N", "rows of a page (50), at most 10000")
struct audit_filter_field {
    const char *name;  /* "since" */
    const char *value; /* "TIME" */
    const char *help;
};
const struct audit_filter_field *audit_filter_fields(size_t *count);

/* name as in audit_filter_fields ("since"; the CLI puts -- before it). Times
 * are RFC 3339, a date (in the zone, NULL: UTC; as `until` the whole day is
 * meant), or a duration back from now ("24h"). caller and actor are taken as
 * they are: a handle is for the caller to resolve. ERR_INVALID: an unknown
 * name, with the allowed ones, or a value that cannot be. */
enum err audit_filter_set(struct audit_filter *filter, struct str name,
    struct str value, int64_t now_us, const struct clock_zone *zone,
    struct errinfo *info) MUSTCHECK;

/* --- The answer ---------------------------------------------------------- */

enum audit_row_kind { AUDIT_ROW_REQUEST, AUDIT_ROW_EVENT };

/* Texts belong to the result. Numbers that are not known are -1. */
struct audit_row {
    enum audit_row_kind kind;
    uint64_t seq; /* index of its entry in the log */
    struct str id;
    int64_t time_us;
    struct str type; /* requests: admitted, denied, completed, withdrawn, with
                        "request." before it: how far it has come */
    /* requests */
    bool permitted;
    struct str caller, key, method;
    struct str teams; /* JSON array */
    struct str action, route, model, asked, engine, upstream;
    int64_t policy_version;
    struct str policies; /* JSON array: the rules that decided */
    struct str stage, code, quota;
    bool stream;
    int64_t status, attempts, input, output, body, bytes_out, cap;
    int64_t first_byte_us, total_us, end_seq, end_time_us;
    int64_t cost;       /* micro-units of money */
    struct str outcome; /* "" while it runs, and of a denial */
    struct str reason;
    /* events (method is the actor's, key and route of auth.failed) */
    struct str actor, object_kind, object;
    int64_t count;
};

struct audit_result {
    const struct audit_row *rows;
    size_t count;
    bool more;        /* filter.after = next gives what follows */
    uint64_t next;    /* the last row, or how far the search has come */
    bool unfinished;  /* the time was over before the page was full */
    uint64_t indexed; /* entries below this were searched */
    uint64_t entries; /* of the log; for the caller to set, 0: not known */
    bool incomplete;  /* a file of the index is being rebuilt */
    const char *note; /* a hint for an empty answer, or NULL */
    struct arena *arena;
};

struct audit_index;
/* Opens DIR/index as it is now; files that come later are found by the next
 * query. gives *out. */
enum err audit_index_open(const char *state_dir, struct audit_index **out,
    struct errinfo *info) MUSTCHECK;
void audit_index_close(struct audit_index **index);

/* ERR_CORRUPT: a file of the index is damaged; *damaged (may be NULL) is an
 * entry of its range, for indexer_rebuild. ERR_INVALID: filters that exclude
 * one another. gives *out. */
enum err audit_query(struct audit_index *index,
    const struct audit_filter *filter, struct audit_result **out,
    uint64_t *damaged, struct errinfo *info) MUSTCHECK;
void audit_result_free(struct audit_result **result);

/* {"behind"?,"entries"?,"incomplete"?,"indexed","more","next"?,"note"?,
 * "rows":[...],"unfinished"?}; names may be NULL. The members of a row are
 * those of docs/audit.md. */
void audit_result_json(const struct audit_result *result,
    const struct audit_names *names, struct buf *out);

#endif
