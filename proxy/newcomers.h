/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/newcomers.h - callers that are made just in time: a valid token names
 * one who is not there, and its issuer may make it (table issuer,
 * just_in_time). A worker must not wait for a change of the control state, so
 * one thread makes them.
 *
 * A worker hands a job over and goes on with its other requests; the job comes
 * back through the worker's inbox once the caller is there, durable, on record
 * (admin.caller.made) and in force, or with the reason why not. A job's texts
 * are borrowed until then. What waits at the same time is one change.
 * Everything is judged inside of that change by the rows as they are then: two
 * workers with the same newcomer find one caller, and who was disabled or
 * erased is not made anew. */
#ifndef PROXY_NEWCOMERS_H
#define PROXY_NEWCOMERS_H

#include "proxy/control.h"

struct newcomers;

struct newcomers_inbox {
    struct newcomer *_Atomic first; /* newest first */
    void (*wake)(void *context);    /* any thread; only signals */
    void *context;
};

enum newcomer_result {
    NEWCOMER_FAILED = 0, /* `why` says it */
    NEWCOMER_THERE,      /* made, or made by somebody else meanwhile */
    NEWCOMER_TOO_FAST,   /* the issuer's bound for a minute; wait_s */
    NEWCOMER_TOO_MANY,   /* its bound in all */
    NEWCOMER_ERASED,     /* was a caller, and was erased */
    NEWCOMER_TAKEN,      /* an administrator has that handle */
    NEWCOMER_UNWELCOME   /* the issuer makes no callers (any more) */
};

struct newcomer {
    struct newcomer *next;
    struct newcomers_inbox *inbox;
    struct str issuer;          /* the row's name */
    struct str handle;          /* of the caller to make */
    struct str subject, client; /* of the token; the subject is sealed */
    /* results */
    enum newcomer_result result;
    int64_t wait_s;
    char why[256];
};

/* keeps control. gives *out. */
enum err newcomers_start(struct control *control, struct newcomers **out,
    struct errinfo *info) MUSTCHECK;
/* Ends what waits. After the workers. */
void newcomers_stop(struct newcomers **newcomers);

/* False: too many wait already. Never waits long. */
bool newcomers_ask(struct newcomers *newcomers, struct newcomer *newcomer);
/* The jobs that came back, oldest first; NULL: none. The inbox's owner. */
struct newcomer *newcomers_take_done(struct newcomers_inbox *inbox);

#endif
