/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/worker_priv.h - one data-plane worker, as connection.c, exchange*.c
 * and worker.c see it. Everything here belongs to the worker's thread, but for
 * the atomics. */
#ifndef PROXY_WORKER_PRIV_H
#define PROXY_WORKER_PRIV_H

#include "audit/log.h"
#include "engine/queue.h"
#include "engine/transfer.h"
#include "lib/arena.h"
#include "lib/crypto.h"
#include "lib/loop.h"
#include "policy/decide.h"
#include "proxy/identity_token.h"
#include "proxy/content.h"
#include "proxy/metrics.h"
#include "proxy/newcomers.h"
#include "proxy/settings.h"
#include "proxy/snapshot.h"
#include "proxy/tls.h"
#include "proxy/visitors.h"
#include "proxy/watch.h"

#include <netinet/in.h>
#include <pthread.h>

#define WORKER_SCRATCH (64u * 1024)
#define WORKER_LISTENERS 16

struct connection;
struct exchange;
struct shadow;

/* What the server shares with its workers. */
struct worker_shared {
    const struct settings *settings;
    struct pool *pool;
    struct queue *queue;
    struct watch *watch;
    struct quota_ledger *ledger;
    struct journal *journal;
    struct issuers *issuers;
    struct content_store *content;
    struct newcomers *newcomers;
    struct log_budget *log_budget; /* bytes of log by caller */
    struct shadow *shadow;
    /* Under the mutex: the newest snapshot and TLS context. */
    pthread_mutex_t mutex;
    pthread_cond_t seen; /* a worker has taken over a generation */
    struct snapshot *snapshot;
    struct tls_context *tls;
    _Atomic uint64_t generation; /* grows when either is replaced */
    _Atomic bool unwitnessed;    /* too few cosign: nothing is admitted */
    _Atomic bool draining;       /* finish what runs, take nothing new */
    _Atomic bool closing;        /* the drain's time is over */
};

struct worker_listener {
    struct loop_source source;
    struct worker *worker;
    struct str name; /* as it stands in bailiff.conf */
    int fd;
};

struct worker {
    unsigned index;
    struct worker_shared *shared;
    const struct settings *settings;
    pthread_t thread;
    struct loop *loop;
    struct loop_hook hook;
    struct loop_timer tick; /* once a second */
    struct worker_listener listeners[WORKER_LISTENERS];
    size_t listener_count;

    uint64_t generation; /* of what follows */
    _Atomic uint64_t seen_generation;
    struct snapshot *snapshot;
    struct tls_context *tls;

    struct journal_producer *producer;
    struct policy_workspace *workspace;
    struct transfer_loop *transfers;
    struct crypto_hash *hash;
    struct crypto_mac *digest; /* keyed by digest_name */
    char digest_name[8];
    struct crypto_aead *aead;
    struct visitors *visitors;
    struct identity_cache *identities; /* verified tokens */

    struct connection *connections; /* all, newest first */
    struct connection *kicked;      /* to be worked on at the end of the turn */
    unsigned connection_count;
    struct exchange *exchanges; /* all that run */
    struct exchange *pooled;    /* for reuse */
    unsigned pooled_count;
    /* Waiting for their entry to be durable, in ticket order. */
    struct exchange *waiting_first, *waiting_last;
    size_t held_bytes; /* bodies and answers in memory */
    struct newcomers_inbox newcomers;
    struct content_inbox kept;    /* content that is durable now */
    struct queue_mailbox mailbox; /* places that were granted */

    uint64_t crowd_turn; /* of the loop, in which */
    unsigned crowd;      /* so many requests began */
    int64_t counted_s;   /* the second in which */
    unsigned counted;    /* so many could have been counted */

    char *scratch;         /* WORKER_SCRATCH bytes: one read */
    struct buf entry;      /* the audit entry being written */
    struct buf wire;       /* the answer being written */
    struct buf plain, box; /* personal fields, and what seals them */
    char date[29];         /* for the Date field */
    int64_t date_second;
    bool drain_started;
    bool stopping;

    int64_t shadow_debt_us; /* of exchange_shadow */

    struct metrics metrics;
};

/* Any thread. Takes a generation over soon. */
void worker_wake(struct worker *worker);

/* worker.c, for connection.c and exchange*.c */
const char *worker_date(struct worker *worker);        /* 29 characters */
bool worker_hold(struct worker *worker, size_t bytes); /* false: too many */
void worker_release(struct worker *worker, size_t bytes);
/* Once for each request that begins: has more come than is answered within
 * max_queue_ms? Some are taken in each turn in any case: what made the turn
 * long may have been something else. */
bool worker_is_behind(struct worker *worker);
/* Once for each request that may be put on record by count instead of an entry
 * of its own: are there so many this second that it has to be? */
bool worker_counts_refusals(struct worker *worker);
void worker_wait_durable(struct worker *worker, struct exchange *exchange);
void worker_refuse(struct worker *worker, const struct connection *connection,
    enum refusal reason, struct str route, struct str key);

#endif
