/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/exchange.h - one request's life. exchange.c holds the table of stages;
 * read that to know the order. One worker's thread. */
#ifndef PROXY_EXCHANGE_H
#define PROXY_EXCHANGE_H

#include "proxy/connection.h"

enum exchange_wants {
    EXCHANGE_WANTS_BODY, /* hand over the body, then exchange_body_end */
    EXCHANGE_RUNS        /* nothing more is wanted; it answers (or has) */
};
/* A whole head has come; borrowed for the call. The exchange may answer at
 * once and be gone when this returns. */
enum exchange_wants exchange_begin(
    struct connection *connection, const struct http1_head *head);
/* False: too large or out of memory; the exchange has answered. */
bool exchange_body(struct exchange *exchange, struct str bytes);
void exchange_body_end(struct exchange *exchange);
/* The body will not come: broken framing or too slow. Answers status. */
void exchange_body_failed(
    struct exchange *exchange, int status, const char *why);
/* The caller has gone. The connection must not be used any more. */
void exchange_client_gone(struct exchange *exchange);
/* The backlog has fallen under the low water. */
void exchange_writable(struct exchange *exchange);

/* An error answer to a head that was no request (no exchange exists). */
void exchange_answer_bad_head(
    struct connection *connection, int status, const char *reason);

/* --- For the worker ------------------------------------------------------ */
void exchange_durable(struct exchange *exchange); /* its entry is on disk */
void exchange_queue_turn(struct worker *worker);  /* granted places */
void exchange_journal_failed(struct exchange *exchange);
uint64_t exchange_ticket(const struct exchange *exchange);
/* Goes on with those whose content is durable, or will not be. */
void exchange_content_done(struct worker *worker);
/* Goes on with those whose caller was made just in time, or was not. */
void exchange_newcomers_done(struct worker *worker);
void exchange_recheck(struct exchange *exchange);  /* a new snapshot is here */
void exchange_shutdown(struct exchange *exchange); /* the drain is over */
struct exchange *exchange_next(const struct exchange *exchange);
struct exchange *exchange_take_waiting(struct worker *worker);
void exchange_wait(struct worker *worker, struct exchange *exchange);
void exchange_pool_free(struct worker *worker);

#endif
