/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/content.h - content that a rule obliges to keep, and the sealing keys
 * of retention classes: what a worker must not wait for, on threads of its own.
 *
 * A worker hands a job over and goes on with its other requests; the job comes
 * back through the worker's inbox once the file is durable, or with the reason
 * why it is not. A job's texts are borrowed until then. Requests are refused
 * when too many wait (content_keep is false); the answer of a request that was
 * taken always finds its place. Keys are made durable before they are used
 * (audit/seal.h) and are remembered here until they are forgotten. */
#ifndef PROXY_CONTENT_H
#define PROXY_CONTENT_H

#include "audit/blob.h"
#include "proxy/control.h"

struct content_store;

struct content_inbox {
    struct content_job *_Atomic first; /* newest first */
    void (*wake)(void *context);       /* any thread; only signals */
    void *context;
};

struct content_job {
    struct content_job *next;
    struct content_inbox *inbox;
    enum blob_which which;
    bool key_only; /* nothing is kept: the key of a class is asked for */
    bool has_key;  /* `key` is given; else it is a result */
    struct str id, subject, class, content;
    int64_t time_us;
    struct seal_key key;
    bool making_key; /* the store's own */
    /* results */
    enum err err;
    struct blob_commitment commitment;
    char why[256]; /* err is not ERR_OK: in words */
};

/* keeps control. gives *out. */
enum err content_store_new(struct control *control, struct content_store **out,
    struct errinfo *info) MUSTCHECK;
/* Ends what waits. After the workers. */
void content_store_stop(struct content_store **store);

/* Is the key of (subject, month of time_us, class) known? Never waits long. */
bool content_find_key(struct content_store *store, struct str subject,
    struct str class, int64_t time_us, struct seal_key *out);
/* False: too much waits already (never for an answer). */
bool content_keep(struct content_store *store, struct content_job *job);
/* The jobs that came back, oldest first; NULL: none. The inbox's owner. */
struct content_job *content_take_done(struct content_inbox *inbox);
/* The kept request that no entry came to commit to. Never waits long. */
void content_drop_request(
    struct content_store *store, struct str id, struct str key_id);
/* The subject's keys are destroyed: none of them is used any more. Waits, for
 * a few seconds at most, until no job of the subject is under way. */
void content_forget(struct content_store *store, struct str subject);

#endif
