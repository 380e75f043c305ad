/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/key_rotation.h - from the log's first key to the one that signs now.
 *
 * DIR/log/key-rotations holds a note for each rotation, one after the other,
 * each signed with the old and with the new key:
 *
 *   bailiff.key-rotation/v1
 *   ORIGIN
 *   the old verifier key
 *   the new verifier key
 *   how many entries the log had
 *   until when both sign (RFC 3339)
 *
 *   two signature lines
 *
 * Who was given the first key, or any later one, follows the notes. Pure but
 * for key_rotation_follow. */
#ifndef AUDIT_KEY_ROTATION_H
#define AUDIT_KEY_ROTATION_H

#include "audit/checkpoint.h"

#define KEY_ROTATIONS_FILE "key-rotations"
#define KEY_ROTATIONS_MAX (256u << 10) /* bytes of the file */

struct key_rotation {
    struct note_key old_key, new_key;
    uint64_t size;
    int64_t until_us;
};

/* Appends the note. */
enum err key_rotation_write(const struct key_rotation *rotation,
    const struct note_signer *old_signer, const struct note_signer *new_signer,
    struct buf *out, struct errinfo *info) MUSTCHECK;
/* The first note of *text, which then begins behind it; both signatures are
 * checked. ERR_NOTFOUND: the text is empty. ERR_SYNTAX, ERR_DENIED. */
enum err key_rotation_next(
    struct str *text, struct key_rotation *out, struct errinfo *info) MUSTCHECK;
/* Adds to key->successors what the notes add to it. Notes before the key are
 * passed over; one that does not continue the others is ERR_CORRUPT. *last
 * (may be NULL) is the newest rotation, until_us 0 where there is none. */
enum err key_rotation_follow(const char *log_dir, struct note_key *key,
    struct key_rotation *last, struct errinfo *info) MUSTCHECK;

#endif
