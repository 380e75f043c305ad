/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/crypto.h - the one home of EVP: digests, random, signatures, sealing.
 *
 * crypto_init() fetches the algorithms once; call it before any thread
 * starts. struct crypto_hash and struct crypto_aead hold reusable contexts
 * for the hot path: one per thread. Failures inside OpenSSL that are not the
 * caller's fault abort (MUST), except where an enum err is returned. */
#ifndef LIB_CRYPTO_H
#define LIB_CRYPTO_H

#include "lib/err.h"
#include "lib/str.h"

#define SHA256_SIZE 32
#define ED25519_KEY_SIZE 32 /* seed and public key alike */
#define ED25519_SIGNATURE_SIZE 64
#define AEAD_KEY_SIZE 32
#define AEAD_NONCE_SIZE 12
#define AEAD_TAG_SIZE 16

enum err crypto_init(struct errinfo *info) MUSTCHECK;

/* One-shot, any thread. */
void crypto_sha256(uint8_t out[SHA256_SIZE], const void *bytes, size_t n);
void crypto_hmac_sha256(uint8_t out[SHA256_SIZE], const uint8_t *key,
    size_t key_size, const void *bytes, size_t n);
/* Reflected CRC-32C (Castagnoli) and CRC-32 (IEEE, as in zlib). `seed` is 0
 * at the start, the previous result when continuing. */
uint32_t crypto_crc32c(uint32_t seed, const void *bytes, size_t n);
uint32_t crypto_crc32(uint32_t seed, const void *bytes, size_t n);
/* What crypto_crc32c does where the processor has no instruction for it. */
uint32_t crypto_crc32c_portable(uint32_t seed, const void *bytes, size_t n);
/* From the operating system; aborts if it cannot. */
void crypto_random(void *out, size_t n);
/* A fast generator for ids, seeded and re-seeded from crypto_random,
 * per-thread inside; never for keys. */
void crypto_random_id(void *out, size_t n);

/* Incremental and one-shot SHA-256 over a reused context. */
struct crypto_hash;
struct crypto_hash *crypto_hash_new(void); /* gives; NULL: out of memory */
void crypto_hash_free(struct crypto_hash **hash);
void crypto_hash_once(struct crypto_hash *hash, uint8_t out[SHA256_SIZE],
    const void *bytes, size_t n);
void crypto_hash_begin(struct crypto_hash *hash);
void crypto_hash_update(struct crypto_hash *hash, const void *bytes, size_t n);
void crypto_hash_end(struct crypto_hash *hash, uint8_t out[SHA256_SIZE]);
/* HMAC-SHA-256 over a reused context: keyed once, used often. */
struct crypto_mac;
struct crypto_mac *crypto_mac_new(const uint8_t *key, size_t key_size);
void crypto_mac_free(struct crypto_mac **mac);
void crypto_mac_once(struct crypto_mac *mac, uint8_t out[SHA256_SIZE],
    const void *bytes, size_t n);
/* Another with the same key, at its beginning, for a text that comes in pieces.
 * gives; NULL: out of memory. */
struct crypto_mac *crypto_mac_copy(const struct crypto_mac *mac);
void crypto_mac_update(struct crypto_mac *mac, const void *bytes, size_t n);
void crypto_mac_end(struct crypto_mac *mac, uint8_t out[SHA256_SIZE]);

/* Ed25519 (RFC 8032), keys as raw 32 bytes. */
void crypto_ed25519_generate(
    uint8_t seed[ED25519_KEY_SIZE], uint8_t public_key[ED25519_KEY_SIZE]);
enum err crypto_ed25519_public(const uint8_t seed[ED25519_KEY_SIZE],
    uint8_t public_key[ED25519_KEY_SIZE]) MUSTCHECK;
enum err crypto_ed25519_sign(const uint8_t seed[ED25519_KEY_SIZE],
    const void *message, size_t n,
    uint8_t signature[ED25519_SIGNATURE_SIZE]) MUSTCHECK;
bool crypto_ed25519_verify(const uint8_t public_key[ED25519_KEY_SIZE],
    const void *message, size_t n,
    const uint8_t signature[ED25519_SIGNATURE_SIZE]);

/* AES-256-GCM. `out` takes n bytes of ciphertext and then the 16-byte tag
 * (seal), or n - 16 bytes of plaintext (open). ERR_CORRUPT: tag mismatch. */
struct crypto_aead;
struct crypto_aead *crypto_aead_new(void); /* reused context; gives */
void crypto_aead_free(struct crypto_aead **aead);
enum err crypto_aead_seal(struct crypto_aead *aead,
    const uint8_t key[AEAD_KEY_SIZE], const uint8_t nonce[AEAD_NONCE_SIZE],
    struct str associated, const void *plain, size_t n, uint8_t *out) MUSTCHECK;
enum err crypto_aead_open(struct crypto_aead *aead,
    const uint8_t key[AEAD_KEY_SIZE], const uint8_t nonce[AEAD_NONCE_SIZE],
    struct str associated, const uint8_t *sealed, size_t n,
    uint8_t *out) MUSTCHECK;

/* A small certificate authority and a server certificate (ECDSA P-256) that
 * pass `openssl verify -x509_strict`. All PEM, malloc'd, given; names are DNS
 * names or IP addresses for the subjectAltName. */
struct crypto_certificates {
    char *ca_certificate, *ca_key, *certificate, *key;
};
enum err crypto_make_certificates(const char *ca_name, const char *const *names,
    size_t name_count, int days, struct crypto_certificates *out,
    struct errinfo *info) MUSTCHECK;

void crypto_wipe(void *bytes, size_t n); /* not optimised away */

#endif
