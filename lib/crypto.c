/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/crypto.c - digests, MACs, random bytes, Ed25519 and AES-GCM.
 *
 * Algorithms are fetched once: EVP_sha256() alone would look its provider up
 * in every call. Checksums: lib/crypto_crc.c; certificates:
 * lib/crypto_certificates.c. */
#include "lib/crypto.h"

#include "lib/must.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool ready;
static EVP_MD *sha256;
static EVP_MAC *hmac;
static EVP_CIPHER *aes256_gcm;

/* Each thread's own context for the one-shot digest and its pool of random
 * bytes for ids; freed when the thread ends. */
#define POOL_SIZE 1024
struct thread_state {
    EVP_MD_CTX *digest;
    unsigned pool_left;
    unsigned pool_generation;
    uint8_t pool[POOL_SIZE];
};
static pthread_key_t thread_key;
static __thread struct thread_state *own_state;
/* Rises in the child of a fork: it must not repeat its parent's ids. */
static volatile unsigned fork_generation;

static void free_thread_state(void *pointer)
{
    struct thread_state *state = pointer;
    EVP_MD_CTX_free(state->digest);
    crypto_wipe(state->pool, sizeof state->pool);
    free(state);
}

static void after_fork(void)
{
    fork_generation++;
}

static void set_up(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    aes256_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    ready = sha256 && hmac && aes256_gcm &&
            pthread_key_create(&thread_key, free_thread_state) == 0 &&
            pthread_atfork(NULL, NULL, after_fork) == 0;
}

static inline void need_ready(void)
{
    pthread_once(&once, set_up);
    MUST(ready);
}

enum err crypto_init(struct errinfo *info)
{
    pthread_once(&once, set_up);
    if (ready)
        return ERR_OK;
    char reason[256];
    ERR_error_string_n(ERR_peek_last_error(), reason, sizeof reason);
    return errinfo_set(info, ERR_UNSUPPORTED,
        "OpenSSL gives no SHA-256, HMAC or AES-256-GCM (%s); check its "
        "configuration file and providers",
        reason);
}

static struct thread_state *thread_state(void)
{
    if (own_state)
        return own_state;
    need_ready();
    struct thread_state *state = calloc(1, sizeof *state);
    MUST(state != NULL);
    state->digest = EVP_MD_CTX_new();
    MUST(state->digest != NULL);
    MUST(pthread_setspecific(thread_key, state) == 0);
    own_state = state;
    return state;
}

/* --- Digests ------------------------------------------------------------ */

static void digest_once(
    EVP_MD_CTX *context, uint8_t *out, const void *bytes, size_t n)
{
    MUST(EVP_DigestInit_ex2(context, sha256, NULL) == 1 &&
         EVP_DigestUpdate(context, bytes, n) == 1 &&
         EVP_DigestFinal_ex(context, out, NULL) == 1);
}

void crypto_sha256(uint8_t out[SHA256_SIZE], const void *bytes, size_t n)
{
    digest_once(thread_state()->digest, out, bytes, n);
}

struct crypto_hash {
    EVP_MD_CTX *context;
};

struct crypto_hash *crypto_hash_new(void)
{
    need_ready();
    struct crypto_hash *hash = calloc(1, sizeof *hash);
    if (!hash)
        return NULL;
    hash->context = EVP_MD_CTX_new();
    if (!hash->context || EVP_DigestInit_ex2(hash->context, sha256, NULL) != 1)
        crypto_hash_free(&hash);
    return hash;
}

void crypto_hash_free(struct crypto_hash **hash)
{
    if (!*hash)
        return;
    EVP_MD_CTX_free((*hash)->context);
    free(*hash);
    *hash = NULL;
}

void crypto_hash_once(struct crypto_hash *hash, uint8_t out[SHA256_SIZE],
    const void *bytes, size_t n)
{
    /* No digest named: the context keeps the one it has, the cheapest way. */
    MUST(EVP_DigestInit_ex2(hash->context, NULL, NULL) == 1 &&
         EVP_DigestUpdate(hash->context, bytes, n) == 1 &&
         EVP_DigestFinal_ex(hash->context, out, NULL) == 1);
}

void crypto_hash_begin(struct crypto_hash *hash)
{
    MUST(EVP_DigestInit_ex2(hash->context, NULL, NULL) == 1);
}

void crypto_hash_update(struct crypto_hash *hash, const void *bytes, size_t n)
{
    MUST(EVP_DigestUpdate(hash->context, bytes, n) == 1);
}

void crypto_hash_end(struct crypto_hash *hash, uint8_t out[SHA256_SIZE])
{
    MUST(EVP_DigestFinal_ex(hash->context, out, NULL) == 1);
}

/* --- HMAC --------------------------------------------------------------- */

struct crypto_mac {
    EVP_MAC_CTX *context;
};

struct crypto_mac *crypto_mac_new(const uint8_t *key, size_t key_size)
{
    need_ready();
    struct crypto_mac *mac = calloc(1, sizeof *mac);
    if (!mac)
        return NULL;
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    /* A NULL key would mean "keep the key"; an empty one needs a pointer. */
    const uint8_t *from = key_size ? key : (const uint8_t *)"";
    mac->context = EVP_MAC_CTX_new(hmac);
    if (!mac->context ||
        EVP_MAC_init(mac->context, from, key_size, params) != 1)
        crypto_mac_free(&mac);
    return mac;
}

void crypto_mac_free(struct crypto_mac **mac)
{
    if (!*mac)
        return;
    EVP_MAC_CTX_free((*mac)->context);
    free(*mac);
    *mac = NULL;
}

void crypto_mac_once(struct crypto_mac *mac, uint8_t out[SHA256_SIZE],
    const void *bytes, size_t n)
{
    size_t length;
    MUST(EVP_MAC_init(mac->context, NULL, 0, NULL) == 1 &&
         EVP_MAC_update(mac->context, bytes, n) == 1 &&
         EVP_MAC_final(mac->context, out, &length, SHA256_SIZE) == 1);
}

struct crypto_mac *crypto_mac_copy(const struct crypto_mac *mac)
{
    struct crypto_mac *copy = calloc(1, sizeof *copy);
    if (!copy)
        return NULL;
    copy->context = EVP_MAC_CTX_dup(mac->context);
    if (!copy->context || EVP_MAC_init(copy->context, NULL, 0, NULL) != 1)
        crypto_mac_free(&copy);
    return copy;
}

void crypto_mac_update(struct crypto_mac *mac, const void *bytes, size_t n)
{
    MUST(EVP_MAC_update(mac->context, bytes, n) == 1);
}

void crypto_mac_end(struct crypto_mac *mac, uint8_t out[SHA256_SIZE])
{
    size_t length;
    MUST(EVP_MAC_final(mac->context, out, &length, SHA256_SIZE) == 1);
}

void crypto_hmac_sha256(uint8_t out[SHA256_SIZE], const uint8_t *key,
    size_t key_size, const void *bytes, size_t n)
{
    struct crypto_mac *mac = crypto_mac_new(key, key_size);
    MUST(mac != NULL);
    crypto_mac_once(mac, out, bytes, n);
    crypto_mac_free(&mac);
}

/* --- Random ------------------------------------------------------------- */

void crypto_random(void *out, size_t n)
{
    uint8_t *to = out;
    while (n > 0) {
        ssize_t got = getrandom(to, n, 0);
        if (got < 0) {
            MUST(errno == EINTR);
            continue;
        }
        to += got;
        n -= (size_t)got;
    }
}

/* Bytes of the system's generator, fetched a pool at a time. */
void crypto_random_id(void *out, size_t n)
{
    struct thread_state *state = thread_state();
    uint8_t *to = out;
    if (state->pool_generation != fork_generation) {
        state->pool_left = 0;
        state->pool_generation = fork_generation;
    }
    while (n > 0) {
        if (state->pool_left == 0) {
            crypto_random(state->pool, sizeof state->pool);
            state->pool_left = sizeof state->pool;
        }
        size_t take = n < state->pool_left ? n : state->pool_left;
        memcpy(to, state->pool + sizeof state->pool - state->pool_left, take);
        state->pool_left -= (unsigned)take;
        to += take;
        n -= take;
    }
}

void crypto_wipe(void *bytes, size_t n)
{
    OPENSSL_cleanse(bytes, n);
}

/* --- Ed25519 ------------------------------------------------------------ */

enum err crypto_ed25519_public(
    const uint8_t seed[ED25519_KEY_SIZE], uint8_t public_key[ED25519_KEY_SIZE])
{
    size_t length = ED25519_KEY_SIZE;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(
        EVP_PKEY_ED25519, NULL, seed, ED25519_KEY_SIZE);
    if (!key)
        return ERR_NOMEM;
    int ok = EVP_PKEY_get_raw_public_key(key, public_key, &length);
    EVP_PKEY_free(key);
    return ok == 1 && length == ED25519_KEY_SIZE ? ERR_OK : ERR_NOMEM;
}

void crypto_ed25519_generate(
    uint8_t seed[ED25519_KEY_SIZE], uint8_t public_key[ED25519_KEY_SIZE])
{
    crypto_random(seed, ED25519_KEY_SIZE);
    MUST(crypto_ed25519_public(seed, public_key) == ERR_OK);
}

enum err crypto_ed25519_sign(const uint8_t seed[ED25519_KEY_SIZE],
    const void *message, size_t n, uint8_t signature[ED25519_SIGNATURE_SIZE])
{
    size_t length = ED25519_SIGNATURE_SIZE;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(
        EVP_PKEY_ED25519, NULL, seed, ED25519_KEY_SIZE);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = key && context &&
              EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
              EVP_DigestSign(context, signature, &length, message, n) == 1 &&
              length == ED25519_SIGNATURE_SIZE;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return ok ? ERR_OK : ERR_NOMEM;
}

bool crypto_ed25519_verify(const uint8_t public_key[ED25519_KEY_SIZE],
    const void *message, size_t n,
    const uint8_t signature[ED25519_SIGNATURE_SIZE])
{
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(
        EVP_PKEY_ED25519, NULL, public_key, ED25519_KEY_SIZE);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = key && context &&
              EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1 &&
              EVP_DigestVerify(
                  context, signature, ED25519_SIGNATURE_SIZE, message, n) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    if (!ok)
        ERR_clear_error(); /* a bad signature is an answer, not a fault */
    return ok;
}

/* --- AES-256-GCM -------------------------------------------------------- */

struct crypto_aead {
    EVP_CIPHER_CTX *context;
};

/* EVP takes int lengths. */
#define AEAD_LARGEST ((size_t)1 << 30)

struct crypto_aead *crypto_aead_new(void)
{
    need_ready();
    struct crypto_aead *aead = calloc(1, sizeof *aead);
    if (!aead)
        return NULL;
    aead->context = EVP_CIPHER_CTX_new();
    if (!aead->context ||
        EVP_CipherInit_ex2(aead->context, aes256_gcm, NULL, NULL, 1, NULL) != 1)
        crypto_aead_free(&aead);
    return aead;
}

void crypto_aead_free(struct crypto_aead **aead)
{
    if (!*aead)
        return;
    EVP_CIPHER_CTX_free((*aead)->context);
    free(*aead);
    *aead = NULL;
}

enum err crypto_aead_seal(struct crypto_aead *aead,
    const uint8_t key[AEAD_KEY_SIZE], const uint8_t nonce[AEAD_NONCE_SIZE],
    struct str associated, const void *plain, size_t n, uint8_t *out)
{
    if (n > AEAD_LARGEST || associated.len > AEAD_LARGEST)
        return ERR_LIMIT;
    EVP_CIPHER_CTX *c = aead->context;
    int length = 0;
    bool ok = EVP_EncryptInit_ex2(c, NULL, key, nonce, NULL) == 1;
    if (ok && associated.len)
        ok = EVP_EncryptUpdate(c, NULL, &length,
                 (const uint8_t *)associated.ptr, (int)associated.len) == 1;
    if (ok && n)
        ok = EVP_EncryptUpdate(c, out, &length, plain, (int)n) == 1;
    ok = ok && EVP_EncryptFinal_ex(c, out + n, &length) == 1 &&
         EVP_CIPHER_CTX_ctrl(
             c, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_SIZE, out + n) == 1;
    return ok ? ERR_OK : ERR_NOMEM;
}

enum err crypto_aead_open(struct crypto_aead *aead,
    const uint8_t key[AEAD_KEY_SIZE], const uint8_t nonce[AEAD_NONCE_SIZE],
    struct str associated, const uint8_t *sealed, size_t n, uint8_t *out)
{
    if (n < AEAD_TAG_SIZE)
        return ERR_CORRUPT;
    size_t plain = n - AEAD_TAG_SIZE;
    if (plain > AEAD_LARGEST || associated.len > AEAD_LARGEST)
        return ERR_LIMIT;
    EVP_CIPHER_CTX *c = aead->context;
    uint8_t tag[AEAD_TAG_SIZE], nothing[AEAD_TAG_SIZE];
    int length = 0;
    memcpy(tag, sealed + plain, sizeof tag);
    bool ok = EVP_DecryptInit_ex2(c, NULL, key, nonce, NULL) == 1;
    if (ok && associated.len)
        ok = EVP_DecryptUpdate(c, NULL, &length,
                 (const uint8_t *)associated.ptr, (int)associated.len) == 1;
    if (ok && plain)
        ok = EVP_DecryptUpdate(c, out, &length, sealed, (int)plain) == 1;
    ok = ok &&
         EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_SIZE, tag) == 1;
    if (!ok)
        return ERR_NOMEM;
    if (EVP_DecryptFinal_ex(c, nothing, &length) != 1) {
        if (plain) /* nobody may use what was not authentic */
            crypto_wipe(out, plain);
        ERR_clear_error();
        return ERR_CORRUPT;
    }
    return ERR_OK;
}
