/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/log.h - the log as one thing: opening with recovery, its threads
 * (journal, publisher, indexer, scrubber), and what replay brought back.
 *
 * Order at start: audit_log_open (recovers and replays, starts nothing),
 * the owner reads audit_log_replayed, audit_log_start, producers; at the end
 * audit_log_stop. One per process; DIR/lock is held by the owner. */
#ifndef AUDIT_LOG_H
#define AUDIT_LOG_H

#include "audit/journal.h"
#include "lib/buf.h"

struct audit_log;

struct audit_log_options {
    const char *state_dir;  /* DIR */
    const char *key_file;   /* NULL: DIR/keys/log.key */
    uint64_t segment_bytes; /* 0: 64 MiB */
    bool without_index;     /* offline commands that only append */
    int64_t publish_us;     /* between checkpoints; 0: one second */
    /* Names of administrators and callers for the index: borrowed id in,
     * NULL when unknown. May be NULL. Called on the indexer's thread. */
};

/* DIR/journal, DIR/log, DIR/index, DIR/log.vkey, DIR/keys/log.key (Ed25519,
 * signed-note private key text). origin: the log's name, no spaces or '+'. */
enum err audit_log_create(
    const char *state_dir, const char *origin, struct errinfo *info) MUSTCHECK;
/* With a first segment of this size; at least 256 KiB. */
enum err audit_log_create_sized(const char *state_dir, const char *origin,
    uint64_t segment_bytes, struct errinfo *info) MUSTCHECK;

enum err audit_log_open(const struct audit_log_options *options,
    struct audit_log **out, struct errinfo *info) MUSTCHECK;
/* Starts the threads; `failed` is called once, from any thread, when the log
 * can no longer be written: the owner must exit. */
enum err audit_log_start(struct audit_log *log,
    void (*failed)(void *context, const char *why), void *context,
    struct errinfo *info) MUSTCHECK;
/* Appends system.stop with the seal, makes all durable, publishes the last
 * checkpoint, saves the state, joins the threads, frees. */
void audit_log_stop(struct audit_log **log);

struct journal *audit_log_journal(struct audit_log *log);
/* The running indexer (audit/indexer.h); NULL without index. */
struct indexer;
struct indexer *audit_log_indexer(struct audit_log *log);

/* What the entries say, replayed up to the last one. */
struct audit_bucket {
    char id[32];
    bool rate;
    int64_t window_start_us; /* calendar: latest window; lifetime: 0 */
    int64_t used;            /* calendar: settled and still reserved */
    int64_t arrival_us;      /* rate */
    uint64_t step;           /* rate */
};
struct audit_open_admission {
    char id[27]; /* request ULID */
};
struct audit_replayed {
    uint64_t size; /* entries */
    int64_t last_time_us;
    bool sealed;             /* the last run ended with its seal */
    uint64_t recovered_tail; /* entries copied out of an unsealed tail */
    bool torn_frame;         /* a torn last frame was dropped */
    bool has_control_digest;
    uint8_t control_digest[32];
    int64_t outbox; /* highest outbox sequence seen, 0: none */
    const struct audit_bucket *buckets;
    size_t bucket_count;
    const struct audit_open_admission *open; /* to be closed as interrupted */
    size_t open_count;
};
/* Borrows until audit_log_start. */
const struct audit_replayed *audit_log_replayed(const struct audit_log *log);

/* Replaces the signing key by a fresh one (audit/key_rotation.h), on record in
 * DIR/log/key-rotations; both sign until until_us. The new key is where the old
 * was, that beside it as .old until then. ERR_WRONG_STATE: both keys of an
 * earlier rotation still sign. The owner writes the event. Not from two threads
 * at once. */
struct key_rotation;
enum err audit_log_rotate(struct audit_log *log, int64_t until_us,
    struct key_rotation *out, struct errinfo *info) MUSTCHECK;

/* The newest signed checkpoint (text of DIR/log/checkpoint) covering at least
 * `size` entries; publishes now if need be. For the CLI and anchors. */
enum err audit_log_checkpoint(
    struct audit_log *log, struct buf *out, struct errinfo *info) MUSTCHECK;

struct audit_log_health {
    enum journal_state journal;
    uint64_t size;        /* durable entries */
    uint64_t published;   /* covered by the newest checkpoint */
    uint64_t indexed;     /* rows the index has */
    bool index_failed;    /* damaged; rebuild with `audit reindex` */
    int64_t last_sync_us; /* how long the last fdatasync took */
    uint64_t syncs;       /* fdatasync calls */
    uint64_t bytes;       /* written to the journal */
    uint64_t free_bytes;  /* left on the file system */
};
void audit_log_health(struct audit_log *log, struct audit_log_health *out);
/* So many entries the index lets wait while requests want the processor: it
 * catches up with them well within the five seconds that a question waits. */
#define AUDIT_INDEX_MAY_WAIT 150000
/* So far behind that a question, which waits for the index for five seconds,
 * will not see the newest entries; or it has failed. */
#define AUDIT_INDEX_LAG_MOST 200000 /* entries: five seconds of its work */
bool audit_index_is_behind(const struct audit_log_health *health);

#endif
