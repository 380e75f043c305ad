/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/checkpoint.h - signed notes and checkpoints (C2SP signed-note and
 * tlog-checkpoint, v1.0.0) with Ed25519 keys.
 *
 * A note is a text, an empty line, and lines "— name base64(id | signature)".
 * A verifier key is "name+hhhhhhhh+base64(01 | public key)", a signer key
 * "PRIVATE+KEY+name+hhhhhhhh+base64(01 | seed)"; the id is the first four
 * bytes of SHA-256(name | 0A | 01 | public key). A witness (C2SP
 * tlog-cosignature) has a key of type 04: its signature line carries the time,
 * and what it signs is "cosignature/v1\ntime T\n" and the checkpoint's text.
 * Pure; any thread. */
#ifndef AUDIT_CHECKPOINT_H
#define AUDIT_CHECKPOINT_H

#include "audit/merkle.h"
#include "lib/buf.h"

#define NOTE_NAME_MAX 255
#define NOTE_MAX (UINT32_C(1) << 20)
#define NOTE_SIGNATURES_MAX 100
#define NOTE_SUCCESSORS_MAX 32

enum note_key_type {
    NOTE_KEY_LOG = 1,    /* Ed25519 over the text */
    NOTE_KEY_WITNESS = 4 /* Ed25519 cosignature/v1 */
};

struct note_key {
    enum note_key_type type;
    char name[NOTE_NAME_MAX + 1];
    uint8_t id[4];
    uint8_t public_key[ED25519_KEY_SIZE];
    /* Keys that took over from it (audit/key_rotation.h): what one of them
     * signed is as good. */
    size_t successor_count;
    struct {
        uint8_t id[4];
        uint8_t public_key[ED25519_KEY_SIZE];
    } successors[NOTE_SUCCESSORS_MAX];
};
struct note_signer {
    struct note_key key;
    uint8_t seed[ED25519_KEY_SIZE]; /* wipe with note_signer_wipe */
};

#define COSIGNATURE_SIZE (8 + ED25519_SIGNATURE_SIZE) /* time, signature */

/* UTF-8, not empty, no white space, no control characters, no '+'. */
bool note_name_is_valid(struct str name);

enum err note_key_make(struct str name,
    const uint8_t public_key[ED25519_KEY_SIZE], struct note_key *out,
    struct errinfo *info) MUSTCHECK;
enum err note_key_parse(
    struct str text, struct note_key *out, struct errinfo *info) MUSTCHECK;
/* The same of a witness: type 04 and no other. */
enum err note_witness_key_parse(
    struct str text, struct note_key *out, struct errinfo *info) MUSTCHECK;
enum err note_witness_generate(
    struct str name, struct note_signer *out, struct errinfo *info) MUSTCHECK;
enum err note_witness_parse(
    struct str text, struct note_signer *out, struct errinfo *info) MUSTCHECK;
void note_key_format(const struct note_key *key, struct buf *out);
enum err note_signer_generate(
    struct str name, struct note_signer *out, struct errinfo *info) MUSTCHECK;
enum err note_signer_parse(
    struct str text, struct note_signer *out, struct errinfo *info) MUSTCHECK;
void note_signer_format(const struct note_signer *signer, struct buf *out);
void note_signer_wipe(struct note_signer *signer);

/* Appends text, empty line and one signature line per signer. text ends with
 * a newline (MUST). */
enum err note_sign(struct str text, const struct note_signer *const *signers,
    size_t count, struct buf *out, struct errinfo *info) MUSTCHECK;
/* Appends the witness's signature line over text, as of time_s (since 1970). */
enum err note_cosign(struct str text, const struct note_signer *witness,
    int64_t time_s, struct buf *out, struct errinfo *info) MUSTCHECK;
/* When the witness cosigned the note (its text and signatures). ERR_NOTFOUND:
 * it did not; ERR_DENIED: what stands there as its cosignature is not;
 * ERR_SYNTAX: no note. */
enum err note_cosigned(struct str note, const struct note_key *witness,
    int64_t *time_s, struct errinfo *info) MUSTCHECK;
/* Appends the lines of `lines` that are good cosignatures of the witness over
 * `text`, for what a witness answered. ERR_NOTFOUND: none is. */
enum err note_take_cosignature(struct str text, struct str lines,
    const struct note_key *witness, struct buf *out, int64_t *time_s,
    struct errinfo *info) MUSTCHECK;
/* *text borrows from note: what was signed. Keys of logs and of witnesses.
 * Signatures of unknown keys are passed over; a bad one of a known key, or none
 * of a known key, is ERR_DENIED; what is no note is ERR_SYNTAX. */
enum err note_open(struct str note, const struct note_key *keys, size_t count,
    struct str *text, struct errinfo *info) MUSTCHECK;

/* Whether the newest of the key's successors (itself, without any) is among
 * those who signed. */
bool note_is_current(struct str note, const struct note_key *key);

struct checkpoint {
    struct str origin; /* borrowed from the text */
    uint64_t size;
    struct merkle_hash root;
    struct str extensions; /* further lines, newline at the end; or empty */
};
void checkpoint_format(const struct checkpoint *checkpoint, struct buf *out);
enum err checkpoint_parse(
    struct str text, struct checkpoint *out, struct errinfo *info) MUSTCHECK;
/* note_open and checkpoint_parse; the origin must be the key's name. */
enum err checkpoint_open(struct str note, const struct note_key *key,
    struct checkpoint *out, struct errinfo *info) MUSTCHECK;

#endif
