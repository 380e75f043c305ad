/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/transfer_priv.h - what transfer.c and its two back ends share. */
#ifndef ENGINE_TRANSFER_PRIV_H
#define ENGINE_TRANSFER_PRIV_H

#include "engine/transfer.h"

#define TRANSFER_HEAD_MAX (64u * 1024)
#define TRANSFER_SCRATCH (64u * 1024)

/* A back end. start gives *out as transfer_start does. */
struct transfer_backend {
    enum err (*start)(struct transfer_loop *transfers,
        const struct transfer_request *request,
        struct transfer_handler *handler, struct transfer **out);
    void (*cancel)(struct transfer *transfer);
    void (*pause)(struct transfer *transfer);
    void (*resume)(struct transfer *transfer);
};

/* First member of each back end's transfer. */
struct transfer {
    const struct transfer_backend *backend;
};

struct http1_pool;  /* transfer_http1.c */
struct curl_driver; /* transfer_curl.c */

struct transfer_loop {
    struct loop *loop;
    struct transfer_timeouts timeouts;
    char *scratch; /* TRANSFER_SCRATCH bytes, one read at a time */
    struct http1_pool *http1;
    struct curl_driver *curl; /* made at the first https engine */
};

/* The request's head in wire form. `curl` leaves out what libcurl writes. */
void transfer_write_head(
    struct buf *out, const struct transfer_request *request);

enum err http1_pool_new(
    struct transfer_loop *transfers, struct http1_pool **out) MUSTCHECK;
void http1_pool_free(struct http1_pool **pool);
void http1_pool_count(
    const struct http1_pool *pool, unsigned *idle, unsigned *active);
extern const struct transfer_backend transfer_http1_backend;

enum err curl_driver_new(
    struct transfer_loop *transfers, struct curl_driver **out) MUSTCHECK;
void curl_driver_free(struct curl_driver **driver);
void curl_driver_count(
    const struct curl_driver *driver, unsigned *idle, unsigned *active);
extern const struct transfer_backend transfer_curl_backend;

#endif
