/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/sinks.h - live delivery of the log to receivers outside: syslog over
 * TCP or TLS (RFC 5424, octet counting: RFC 6587, RFC 5425) and HTTPS (POST of
 * JSON lines).
 *
 * Each sink has a thread that follows the journal from its own position, which
 * is durable in DIR/sinks/ID. Only what is durable is delivered, in order, at
 * least once: the position moves when the receiver has answered 2xx or, as
 * syslog knows no answer, when it has read a connection to its end (the
 * connection is ended in order and made anew every few seconds or MiB). After
 * a failure everything from the position on is sent again, with growing pauses;
 * nothing is skipped. Receivers tell repetitions by the entry's index. Whatever
 * happens here never holds the log up. */
#ifndef AUDIT_SINKS_H
#define AUDIT_SINKS_H

#include "audit/journal.h"
#include "lib/buf.h"

#define SINK_NAME_MAX 128
#define SINK_URL_MAX 1024
#define SINKS_MAX 16

enum sink_kind { SINK_SYSLOG, SINK_HTTPS };
enum sink_format { SINK_JSONL, SINK_OCSF };

/* A row of table sink. Texts are copied. */
struct sink_row {
    struct str name, id;
    enum sink_kind kind;
    enum sink_format format;
    struct str url; /* tcp://HOST:PORT, tls://HOST:PORT; https://... */
    struct str ca_file, credential_file; /* may be empty */
    uint64_t first;                      /* the first entry that goes there */
};
/* ERR_INVALID: a URL that its kind cannot have, with the good forms. */
enum err sink_check_url(
    enum sink_kind kind, struct str url, struct errinfo *info) MUSTCHECK;

struct sinks_options {
    const char *state_dir;
    const struct journal *journal;
    struct str log_name; /* the log's origin */
    /* A sink that worked has failed, or one that had failed works again; with
     * the position. At most once a minute each. On the sink's thread. */
    void (*changed)(void *context, const char *name, bool failed,
        const char *why, uint64_t position);
    void *context;
    int64_t confirm_us; /* syslog: how often a connection is ended; 0: 10 s */
    int64_t stall_us;   /* a receiver that takes nothing; 0: 30 s */
    int64_t retry_us;   /* the first pause after a failure; 0: 250 ms */
};

struct sinks;
/* keeps state_dir and journal; log_name is copied. gives *out. */
enum err sinks_start(const struct sinks_options *options, struct sinks **out,
    struct errinfo *info) MUSTCHECK;
/* Lets each sink end within about a second, saves the positions, joins, frees.
 * NULL ok. */
void sinks_stop(struct sinks **sinks);
/* The rows as they are now, told apart by id. Never waits for a sink. Any
 * thread. */
enum err sinks_set(struct sinks *sinks, const struct sink_row *rows,
    size_t count, struct errinfo *info) MUSTCHECK;

struct sink_status {
    char name[SINK_NAME_MAX];
    uint64_t position; /* entries below have arrived; durable */
    uint64_t sent;     /* entries below have been sent */
    uint64_t lag;      /* durable entries that have not arrived */
    bool failing;
    int64_t since_us;     /* failing since */
    int64_t delivered_us; /* the last arrival; 0: none since the start */
    uint64_t delivered;   /* entries, repetitions included, since the start */
    char why[512];        /* when failing */
};
/* Fills up to `room`; gives how many there are. Any thread. */
size_t sinks_status(struct sinks *sinks, struct sink_status *out, size_t room);

/* Sends one entry on this thread, over a connection of its own, and waits until
 * the receiver has it: `sink test`. */
enum err sink_try(const struct sink_row *row, struct str log_name,
    uint64_t index, struct str entry, struct errinfo *info) MUSTCHECK;

#endif
