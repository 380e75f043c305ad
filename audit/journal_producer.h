/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/journal_producer.h - what journal.c and journal_producer.c share: the
 * two sides of the hand-over. Internal to the journal.
 *
 * Lock order: journal->lock, then nothing. No call-back and no system call is
 * made under it but condition signals. */
#ifndef AUDIT_JOURNAL_PRODUCER_H
#define AUDIT_JOURNAL_PRODUCER_H

#include "audit/frame.h"
#include "audit/journal_priv.h"
#include "audit/segment.h"

#include <pthread.h>
#include <stdatomic.h>

#define JOURNAL_MAGIC 0x4a4f5552u
#define PRODUCER_MAGIC 0x50524f44u

/* What an entry may cost on disk at most, beyond its bytes: its length
 * prefix, and a frame of its own. */
#define ENTRY_COST (FRAME_ENTRY_OVERHEAD + FRAME_HEADER_SIZE)
/* What may stay unused at the end of a segment. */
#define SEGMENT_WASTE (JOURNAL_ENTRY_MAX + 1 + ENTRY_COST)

/* A run of entries in the form of a frame's payload, filled by a producer,
 * drained by the journal thread. */
struct node {
    struct node *next;
    struct journal_producer *producer;
    uint8_t *bytes;
    size_t len, cap;
    struct mark {
        uint32_t at;   /* of the entry's length prefix */
        uint32_t time; /* of its timestamp */
    } * marks;
    uint32_t count, mark_cap;
    uint32_t taken; /* entries that are in frames */
    bool eager;     /* holds an entry that somebody waits for */
    bool seal;      /* its last entry is the seal */
};

struct journal_producer {
    uint32_t magic;
    struct journal *journal;
    void (*wake)(void *context);
    void *context;
    size_t max_bytes;
    /* owner's thread */
    struct node *filling; /* never NULL */
    uint64_t tickets;
    size_t room; /* outstanding */
    /* shared, atomic */
    _Atomic uint64_t durable;
    _Atomic size_t waiting; /* bytes appended and not yet durable */
    /* under journal->lock */
    struct node *first, *last; /* handed over */
    struct node *spares;
    unsigned spare_count;
    bool busy; /* the journal thread holds nodes of it, or will wake it */
    /* journal thread */
    bool touched;
    struct journal_producer *next, **link; /* list, under lock */
};

enum journal_sleep { SLEEP_NONE, SLEEP_TIMED, SLEEP_DEEP };

struct journal {
    uint32_t magic;
    char *dir;
    uint64_t segment_bytes;
    uint8_t identity[SHA256_SIZE];
    void (*failed)(void *context, const char *why);
    void *context;
    pthread_t thread;
    struct segment_maker *maker;

    pthread_mutex_t lock;
    pthread_cond_t work;    /* the journal thread waits here */
    pthread_cond_t durable; /* journal_wait and producer_free wait here */
    enum journal_sleep sleeping;
    unsigned waiters;
    bool eager, lazy; /* something was handed over */
    bool news;        /* the maker has something to say */
    bool stop;
    uint64_t rest;     /* of the present segment */
    char *full_reason; /* of the maker, while it fails */
    struct journal_producer *producers;

    _Atomic int state;
    _Atomic uint64_t size;
    /* Bytes that may still be written, and bytes that were promised. */
    _Atomic uint64_t budget, claimed;
    _Atomic unsigned spares; /* ready */
    _Atomic uint64_t syncs, bytes, segments;
    _Atomic int64_t last_sync_us;

    /* journal thread only */
    int fd;
    char *path;
    uint64_t file_bytes;
    struct journal_position position;
    uint8_t *buffer; /* page-aligned; begins with the kept tail page */
    struct crypto_hash *hash;
};

/* From the producer's side. */
void journal_node_free(struct node **node);

#endif
