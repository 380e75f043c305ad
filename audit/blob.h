/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/blob.h - kept content: what was asked and answered, encrypted, in
 * DIR/blobs/KEY/ID.request and DIR/blobs/KEY/ID.answer.
 *
 * A file is magic | nonce | AES-256-GCM(salt | content) | tag under a sealing
 * key (audit/seal.h); the request's id and which of the two it is are
 * authenticated with it. The entry commits to the file (SHA-256) and to the
 * content: SHA-256(salt | content), whose 32 random bytes of salt stand in the
 * file alone. So whoever has neither key nor salt learns nothing of the
 * content from the log, also not by guessing; and with the key both go. All
 * files of a key are in one folder and go with it.
 *
 * Files are durable (with their folder) when blob_write returns. No state;
 * any thread. */
#ifndef AUDIT_BLOB_H
#define AUDIT_BLOB_H

#include "audit/seal.h"

#define BLOB_MAGIC "BLF1"
#define BLOB_SALT_SIZE 32
/* what a file is longer than its content */
#define BLOB_OVERHEAD (4 + AEAD_NONCE_SIZE + BLOB_SALT_SIZE + AEAD_TAG_SIZE)

enum blob_which { BLOB_REQUEST, BLOB_ANSWER };
const char *blob_which_name(enum blob_which which); /* "request" "answer" */

/* What an entry says of a file. Hex, NUL-terminated. */
struct blob_commitment {
    char blob[2 * SHA256_SIZE + 1];       /* of the whole file */
    char commitment[2 * SHA256_SIZE + 1]; /* of salt and content */
    int64_t bytes;                        /* of the content */
};

/* Appends the file's bytes to out. id: the request's. */
enum err blob_seal(struct crypto_aead *aead, const struct seal_key *key,
    struct str id, enum blob_which which, struct str content, struct buf *out,
    struct blob_commitment *commitment) MUSTCHECK;
/* Appends the content. ERR_CORRUPT: the bytes are not those that `expected`
 * commits to, or the key is another. `expected` as an entry has it. */
enum err blob_open(struct crypto_aead *aead, const struct seal_key *key,
    struct str id, enum blob_which which, struct str file,
    const struct blob_commitment *expected, struct buf *out,
    struct errinfo *info) MUSTCHECK;

/* Makes DIR/blobs. */
enum err blob_folder_make(
    const char *state_dir, struct errinfo *info) MUSTCHECK;
/* ERR_FULL: no room, or less than `floor` bytes would be left. ERR_IO. */
enum err blob_write(const char *state_dir, struct str key_id, struct str id,
    enum blob_which which, struct str file, uint64_t floor,
    struct errinfo *info) MUSTCHECK;
/* Appends the file. ERR_NOTFOUND: it is not there. */
enum err blob_read(const char *state_dir, struct str key_id, struct str id,
    enum blob_which which, struct buf *out, struct errinfo *info) MUSTCHECK;
/* Compares a file with what its entry says of it, without the key.
 * ERR_NOTFOUND: it is not there; ERR_CORRUPT: other bytes. */
enum err blob_check(const char *state_dir, struct str key_id, struct str id,
    enum blob_which which, struct str sha256_hex,
    struct errinfo *info) MUSTCHECK;
/* One file, if it is there: of a request that was not admitted after all. */
void blob_remove(const char *state_dir, struct str key_id, struct str id,
    enum blob_which which);
/* What there is under a key; added to the figures. */
enum err blob_count_key(const char *state_dir, struct str key_id,
    uint64_t *files, uint64_t *bytes, struct errinfo *info) MUSTCHECK;
/* Every file of a key, durably; what there was is added to the figures. */
enum err blob_remove_key(const char *state_dir, struct str key_id,
    uint64_t *files, uint64_t *bytes, struct errinfo *info) MUSTCHECK;

#endif
