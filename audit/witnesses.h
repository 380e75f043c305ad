/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/witnesses.h - has checkpoints cosigned by witnesses (C2SP
 * tlog-witness, tlog-cosignature).
 *
 * A thread of its own: every few seconds, while there is news, it takes the
 * newest checkpoint and asks all witnesses at once, with the proof that it
 * continues what each has seen. One that fails is asked again, with growing
 * pauses. When as many as the policy demands have cosigned,
 * DIR/log/checkpoint.witnessed is replaced: the checkpoint with their lines
 * below the log's. A witness that has seen another log of this name, or a
 * longer one, is told apart from one that is down: that is a split view, or a
 * log that was rolled back.
 *
 * Where the quorum is missing for longer than the policy's grace, and the
 * policy says `closed`, *closed is set: the owner then admits nothing. */
#ifndef AUDIT_WITNESSES_H
#define AUDIT_WITNESSES_H

#include "audit/checkpoint.h"

#include <stdatomic.h>

#define WITNESS_NAME_MAX 128
#define WITNESSES_MAX 16
#define WITNESSED_FILE "checkpoint.witnessed"

/* A row of table witness. Texts are copied. */
struct witness_row {
    struct str name, url, key, ca_file;
};
/* The row of table witness_policy. */
struct witness_policy {
    int64_t quorum; /* this many must cosign; 0: none must */
    bool closed;    /* without it nothing is admitted */
    int64_t grace_us, every_us;
};

enum witness_news {
    WITNESS_FAILED,
    WITNESS_RECOVERED,
    WITNESS_CONFLICT, /* it has seen another, or a longer log */
    WITNESS_QUORUM_LOST,
    WITNESS_QUORUM_RESTORED
};

struct witnesses_options {
    const char *log_dir;
    struct note_key log_key; /* of the checkpoints */
    /* On threads of this module; name is "" for the quorum. */
    void (*told)(void *context, enum witness_news news, const char *name,
        const char *why, uint64_t size);
    void *context;
    _Atomic bool *closed; /* may be NULL */
    int64_t timeout_us;   /* of one request; 0: 10 s */
};

struct witnesses;
/* keeps log_dir and closed. Without witnesses until witnesses_set. gives. */
enum err witnesses_start(const struct witnesses_options *options,
    struct witnesses **out, struct errinfo *info) MUSTCHECK;
void witnesses_stop(struct witnesses **witnesses); /* NULL ok */
/* The rows and the policy as they are now. Does not wait. Any thread. */
enum err witnesses_set(struct witnesses *witnesses,
    const struct witness_row *rows, size_t count,
    const struct witness_policy *policy, struct errinfo *info) MUSTCHECK;

struct witness_status {
    char name[WITNESS_NAME_MAX];
    uint64_t size; /* of the newest checkpoint that it cosigned; 0: none yet */
    int64_t cosigned_us; /* its own time */
    bool failing, conflict;
    char why[512];
};
struct witnesses_status {
    size_t count;
    struct witness_status witnesses[WITNESSES_MAX];
    int64_t quorum;
    uint64_t witnessed;   /* entries under a checkpoint with the quorum */
    int64_t witnessed_us; /* when it came about; 0: not since the start */
    bool lost;            /* for longer than the grace */
    bool closed;          /* and requests are refused for it */
    bool strict;          /* the policy demands a quorum in mode closed */
};
void witnesses_status(
    struct witnesses *witnesses, struct witnesses_status *out);

/* Asks one witness to cosign `note` (which log_key signed) and appends its
 * line; *known is the size that it is thought to have, and then has.
 * ERR_CORRUPT: a conflict; others: it failed, with the words. */
struct witness_peer {
    const char *url, *ca_file;
    struct note_key key;
    int64_t timeout_us;
    bool (*cancelled)(void *context);
    void *context;
};
enum err witness_ask(const struct witness_peer *peer, const char *log_dir,
    const struct note_key *log_key, struct str note, uint64_t *known,
    struct buf *line, int64_t *time_s, struct errinfo *info) MUSTCHECK;

#endif
