/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/admin.h - the admin API: one function from request to answer,
 * served on the Unix socket, and where set over TLS, by
 * proxy/admin/listener.h, and called directly by
 * the CLI when no server runs. schema/openapi.yaml describes it.
 *
 * Threads: admin_handle may be called on several; it locks the control. */
#ifndef PROXY_ADMIN_ADMIN_H
#define PROXY_ADMIN_ADMIN_H

#include "proxy/control.h"
#include "proxy/snapshot.h"

struct jwks;

/* Somebody outside who is given the log, or vouches for it. */
struct admin_outside {
    const char *kind, *what; /* "sink", "the sink" */
    char name[128];
    uint64_t entries; /* below this it has them */
};

/* What only a running server knows. All NULL offline. Any thread. */
struct admin_server {
    void *context;
    /* referenced; the caller unrefs */
    struct snapshot *(*snapshot)(void *context);
    struct quota_ledger *(*ledger)(void *context);
    /* A JSON object: listeners, workers, engines with health, connections,
     * requests by outcome, snapshot, policy, log health, uptime. */
    void (*status)(void *context, struct buf *out);
    /* a candidate version beside the active one (proxy/shadow.h), JSON */
    void (*shadow)(void *context, struct buf *out);
    void (*metrics)(void *context, struct buf *out); /* Prometheus 0.0.4 */
    /* The sealing keys of a caller are destroyed: none is used any more when
     * this returns, but in what has been waited for long enough. */
    void (*forget)(void *context, struct str subject);
    /* The key set of an issuer by its name, referenced; NULL: none is there. */
    struct jwks *(*issuer_keys)(void *context, const char *name);
    /* Sinks, anchors and, as one, the witnesses of the quorum: up to `room`. */
    size_t (*outside)(void *context, struct admin_outside *out, size_t room);
    /* Evidence is given only under what the witnesses' quorum has cosigned. */
    bool (*witnessed_only)(void *context);
    /* true when ready; else the reasons, a JSON array of strings */
    bool (*ready)(void *context, struct buf *reasons);
};

struct admin_request {
    struct str method, path, query; /* path and query as sent */
    struct str authorization;       /* header value, or empty */
    struct str body;
    struct str if_match, idempotency_key; /* header values, or empty */
    bool offline;                         /* called in the process of the CLI */
    long uid;                             /* of the peer; -1: unknown */
    bool remote;      /* over the network: nobody is who they are for it */
    const char *from; /* then its address; else NULL or "" */
    /* and the SHA-256 of the client certificate that it has shown, in hex;
     * else NULL or "". That it is anybody's is not said. */
    const char *certificate;
};
struct admin_response {
    int status;
    const char *content_type;
    struct buf body;
    char etag[32]; /* "" none */
    bool replayed; /* an answer that was kept under its idempotency key */
};

struct admin;
/* keeps control and server (server may be NULL: offline). Finishes erasures and
 * expiries that a stop interrupted, on record as "system". gives *out. */
enum err admin_new(struct control *control, const struct admin_server *server,
    struct admin **out, struct errinfo *info) MUSTCHECK;
void admin_free(struct admin **admin);
/* What the server does once a day: destroys what has expired. Says in its log
 * what it did. */
void admin_run_retention(struct admin *admin);
/* Always answers (RFC 9457 problem details on failure). response->body must be
 * initialised; the caller frees it. */
void admin_handle(struct admin *admin, const struct admin_request *request,
    struct admin_response *response);

#endif
