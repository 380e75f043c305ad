/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/seal.h - sealed boxes for personal fields, and keyed digests.
 *
 * One random AES-256 key per (subject, month, retention class), wrapped by the
 * master key DIR/keys/master.key and durable in persons.db before the first
 * entry sealed under it. Destroying a key makes its boxes unreadable for ever;
 * the leaves of the log stay. Digests of content are HMAC-SHA-256 under
 * DIR/keys/digest-N.key. A keyring belongs to one thread (the admin plane);
 * the keys that it gives are immutable and may be copied into snapshots. */
#ifndef AUDIT_SEAL_H
#define AUDIT_SEAL_H

#include "lib/crypto.h"
#include "lib/buf.h"
#include "schema/db.h"

struct seal_key {
    char id[17];   /* NUL-terminated */
    char month[8]; /* "2026-11" */
    uint8_t key[AEAD_KEY_SIZE];
};

struct keyring;
/* Creates keys/master.key and keys/digest-1.key (0600). */
enum err keyring_create(const char *state_dir, struct errinfo *info) MUSTCHECK;
/* keeps persons. gives *out. */
enum err keyring_open(const char *state_dir, struct db *persons,
    struct keyring **out, struct errinfo *info) MUSTCHECK;
void keyring_free(struct keyring **keyring);

/* The key of (subject, month of time_us in UTC, class "default"), made and
 * made durable when it is not there. Many at once in one transaction:
 * keyring_begin / keyring_end around the calls. ERR_NOTFOUND: it was
 * destroyed (erased). */
enum err keyring_begin(struct keyring *keyring, struct errinfo *info) MUSTCHECK;
enum err keyring_end(struct keyring *keyring, struct errinfo *info) MUSTCHECK;
enum err keyring_get(struct keyring *keyring, struct str subject,
    int64_t time_us, struct seal_key *out, struct errinfo *info) MUSTCHECK;
/* The same of a retention class. */
enum err keyring_get_class(struct keyring *keyring, struct str subject,
    struct str class, int64_t time_us, struct seal_key *out,
    struct errinfo *info) MUSTCHECK;
/* Destroys a key for ever, inside keyring_begin/end or a change of the control
 * state. One that is destroyed already is none to complain of. */
enum err keyring_destroy(
    struct keyring *keyring, struct str key_id, struct errinfo *info) MUSTCHECK;
/* Was a key of that id here, and is destroyed? */
bool keyring_is_destroyed(
    struct keyring *keyring, struct str key_id, struct errinfo *info);
/* By the id that an entry names, for reading. ERR_NOTFOUND: it was destroyed
 * (what it sealed is erased), or never was here. */
enum err keyring_find(struct keyring *keyring, struct str key_id,
    struct seal_key *out, struct errinfo *info) MUSTCHECK;

/* What is kept of a handle that was erased (persons.db, erased_handle): a MAC
 * under a key of its own, so that the database alone cannot be searched. */
void keyring_handle_digest(
    const struct keyring *keyring, struct str handle, uint8_t out[32]);

/* The current digest key: raw 32 bytes and its name ("1"). */
void keyring_digest_key(
    const struct keyring *keyring, uint8_t key[32], char name[8]);

/* A new digest key, durable; the current one from now on. *replaced: the number
 * of the one before. */
enum err keyring_rotate_digest(struct keyring *keyring, const char *state_dir,
    int64_t *replaced, struct errinfo *info) MUSTCHECK;
/* Overwrites a digest key that is not the current one. Its file stays and says
 * so. One that is destroyed already is none to complain of. */
enum err keyring_destroy_digest(struct keyring *keyring, const char *state_dir,
    int64_t number, struct errinfo *info) MUSTCHECK;

/* The digest of a text under every digest key there is, the oldest first; for
 * the question whether exactly this text was sent. At most DIGEST_KEYS_MAX. */
#define DIGEST_KEYS_MAX 9999
enum err keyring_digests(const char *state_dir, struct str text,
    uint8_t (*out)[SHA256_SIZE], size_t room, size_t *count,
    struct errinfo *info) MUSTCHECK;

/* box = nonce | ciphertext | tag, appended to out; `id` (the entry's id) is
 * authenticated with it. Worker threads, each with its own aead. ERR_LIMIT:
 * more than SEAL_PLAIN_MAX; cut the fields before. seal_open gives ERR_CORRUPT
 * for another key, another id or a damaged box. */
#define SEAL_PLAIN_MAX (4096 - AEAD_NONCE_SIZE - AEAD_TAG_SIZE)
enum err seal_box(struct crypto_aead *aead, const struct seal_key *key,
    struct str id, struct str plain, struct buf *out) MUSTCHECK;
enum err seal_open(struct crypto_aead *aead, const struct seal_key *key,
    struct str id, struct str box, struct buf *out) MUSTCHECK;

#endif
