/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/journal_priv.h - starting and stopping the journal: for audit/log.c
 * and tests. What producers see is journal.h. */
#ifndef AUDIT_JOURNAL_PRIV_H
#define AUDIT_JOURNAL_PRIV_H

#include "audit/journal.h"
#include "lib/crypto.h"

/* Where the next frame goes. */
struct journal_position {
    uint64_t sequence; /* segment */
    uint64_t offset;   /* in it */
    uint64_t index;    /* of the next entry */
    uint8_t previous[SHA256_SIZE];
    int64_t last_time_us;
};

struct journal_options {
    const char *dir;        /* DIR/journal/segments */
    uint64_t segment_bytes; /* of segments to come; 0: the default */
    uint8_t identity[SHA256_SIZE];
    struct journal_position position;
    /* Once, on the journal thread, when the state becomes JOURNAL_FAILED. */
    void (*failed)(void *context, const char *why);
    void *context;
};

/* Starts the journal thread and the maker of segments. gives *out. */
enum err journal_start(const struct journal_options *options,
    struct journal **out, struct errinfo *info) MUSTCHECK;
/* Writes what was submitted, joins the threads, frees. All producers have
 * been freed before. */
void journal_stop(struct journal **journal);

/* The last entry of an orderly stop: journal_append_reserved, and its frame
 * carries the seal when nothing comes after it. */
enum err journal_append_seal(struct journal_producer *producer,
    struct str entry, size_t time_offset, size_t room,
    uint64_t *ticket) MUSTCHECK;
/* Sets room aside without an entry. ERR_FULL. */
enum err journal_claim_room(
    struct journal_producer *producer, size_t room) MUSTCHECK;

struct journal_figures {
    uint64_t syncs;
    uint64_t bytes; /* of frames */
    int64_t last_sync_us;
    uint64_t segments; /* begun since the start */
};
void journal_figures(
    const struct journal *journal, struct journal_figures *out);

#endif
