/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/witness.h - a witness of other logs (C2SP tlog-witness): it remembers
 * the newest checkpoint of each log that it is to watch, and cosigns one that
 * continues it.
 *
 * Its directory, apart from any log's: witness.key and witness.vkey (type 04),
 * logs (a verifier key a line), checkpoints/SHA256(origin) (the newest note,
 * with our cosignature), lock. The check of a checkpoint and its being durable
 * are one step, before anything is answered. Any thread, once open. */
#ifndef AUDIT_WITNESS_H
#define AUDIT_WITNESS_H

#include "audit/checkpoint.h"

#define WITNESS_BODY_MAX (128u << 10)
#define WITNESS_PROOF_MAX 63
#define WITNESS_LOGS_MAX 1024

/* --- What a log asks (also what the client writes) ------------------------ */

struct witness_request {
    uint64_t old_size;
    size_t proof_count;
    struct merkle_hash proof[WITNESS_PROOF_MAX];
    struct str note; /* the checkpoint; borrowed from the body */
};
/* Strictly: ERR_SYNTAX says which line. */
enum err witness_request_parse(struct str body, struct witness_request *out,
    struct errinfo *info) MUSTCHECK;
void witness_request_format(
    const struct witness_request *request, struct buf *out);

/* --- The witness ---------------------------------------------------------- */

struct witness;
/* Makes the directory (it must not hold a witness yet), and its key. name: a
 * URL without scheme that identifies it, as of a log. */
enum err witness_create(
    const char *dir, struct str name, struct errinfo *info) MUSTCHECK;
/* Adds a log's verifier key to the file `logs`. ERR_EXISTS. */
enum err witness_trust(
    const char *dir, struct str key, struct errinfo *info) MUSTCHECK;
/* ERR_AGAIN: another process has it open. gives *out. */
enum err witness_open(
    const char *dir, struct witness **out, struct errinfo *info) MUSTCHECK;
void witness_close(struct witness **witness);
const struct note_key *witness_key(const struct witness *witness);

struct witness_answer {
    int status;
    const char *content_type;
    struct buf body; /* made by the caller */
    /* For the operator's log: what was wrong, or whose checkpoint it was. */
    struct errinfo why;
};
/* POST add-checkpoint: 200 with the cosignature; 400, 403, 404, 409, 422 as
 * the protocol has them; 500: our own state cannot be read or written. */
void witness_add_checkpoint(struct witness *witness, struct str body,
    int64_t time_s, struct witness_answer *answer);
/* GET HEX(SHA-256(origin))/checkpoint: 200 or 404. */
void witness_checkpoint(
    struct witness *witness, struct str hex, struct witness_answer *answer);

#endif
