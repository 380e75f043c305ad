/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of lib/crypto: published vectors, strictness, certificates. */
#include "lib/crypto.h"

#include "lib/encode.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static void assert_hex(const uint8_t *bytes, size_t n, const char *expected)
{
    char text[300];
    assert_true(2 * n < sizeof text);
    hex_write(text, bytes, n);
    assert_string_equal(text, expected);
}

static void unhex(const char *text, uint8_t *out, size_t size)
{
    size_t n;
    assert_int_equal(hex_decode(str_from(text), out, size, &n), ERR_OK);
    assert_int_equal(n, size);
}

static void sha256_vectors(void **state)
{
    uint8_t out[SHA256_SIZE];
    struct crypto_hash *hash = crypto_hash_new();
    assert_non_null(hash);
    crypto_sha256(out, "abc", 3); /* FIPS 180-4 example */
    assert_hex(out, sizeof out,
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    crypto_sha256(out, NULL, 0);
    assert_hex(out, sizeof out,
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (int i = 0; i < 3; i++) {
        crypto_hash_once(hash, out, "abc", 3);
        assert_hex(out, sizeof out,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        crypto_hash_begin(hash);
        crypto_hash_update(hash, "a", 1);
        crypto_hash_update(hash, "", 0);
        crypto_hash_update(hash, "bc", 2);
        crypto_hash_end(hash, out);
        assert_hex(out, sizeof out,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
    crypto_hash_free(&hash);
    crypto_hash_free(&hash);
}

static void hmac_vectors(void **state)
{
    uint8_t out[SHA256_SIZE], key[131];
    crypto_hmac_sha256(out, (const uint8_t *)"Jefe", 4, /* RFC 4231, case 2 */
        "what do ya want for nothing?", 28);
    assert_hex(out, sizeof out,
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key); /* case 6: a key longer than a block */
    const char *text = "Test Using Larger Than Block-Size Key - Hash Key First";
    crypto_hmac_sha256(out, key, sizeof key, text, strlen(text));
    assert_hex(out, sizeof out,
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    crypto_hmac_sha256(out, NULL, 0, "", 0);
    assert_hex(out, sizeof out,
        "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
    struct crypto_mac *mac = crypto_mac_new((const uint8_t *)"Jefe", 4);
    for (int i = 0; i < 3; i++) {
        crypto_mac_once(mac, out, "what do ya want for nothing?", 28);
        assert_hex(out, sizeof out,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
    /* In pieces, beside the one that it was copied from. */
    struct crypto_mac *copy = crypto_mac_copy(mac);
    crypto_mac_update(copy, "what do ya want ", 16);
    crypto_mac_once(mac, out, "", 0);
    crypto_mac_update(copy, "", 0);
    crypto_mac_update(copy, "for nothing?", 12);
    crypto_mac_free(&mac);
    crypto_mac_end(copy, out);
    assert_hex(out, sizeof out,
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    crypto_mac_free(&copy);
}

static void crc_vectors(void **state)
{
    assert_int_equal(crypto_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crypto_crc32c_portable(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crypto_crc32(0, "123456789", 9), 0xcbf43926);
    uint8_t zeros[32] = {0}; /* RFC 3720, B.4 */
    assert_int_equal(crypto_crc32c(0, zeros, 32), 0x8a9136aa);
    assert_int_equal(crypto_crc32c(0, NULL, 0), 0);
    uint8_t bytes[1000];
    crypto_random(bytes, sizeof bytes);
    for (size_t cut = 0; cut <= 40; cut++) {
        uint32_t whole = crypto_crc32c(0, bytes, sizeof bytes - cut);
        assert_int_equal(
            crypto_crc32c_portable(0, bytes, sizeof bytes - cut), whole);
        assert_int_equal(crypto_crc32c(crypto_crc32c(0, bytes, cut),
                             bytes + cut, sizeof bytes - 2 * cut),
            crypto_crc32c(0, bytes, sizeof bytes - cut));
        assert_int_equal(crypto_crc32(crypto_crc32(0, bytes, cut), bytes + cut,
                             sizeof bytes - cut),
            crypto_crc32(0, bytes, sizeof bytes));
    }
}

static void ed25519_vectors(void **state)
{
    uint8_t seed[32], public_key[32], wanted[32], message[2], signature[64];
    /* RFC 8032, 7.1, TEST 3 */
    unhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        seed, 32);
    unhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        wanted, 32);
    unhex("af82", message, 2);
    assert_int_equal(crypto_ed25519_public(seed, public_key), ERR_OK);
    assert_memory_equal(public_key, wanted, 32);
    assert_int_equal(crypto_ed25519_sign(seed, message, 2, signature), ERR_OK);
    assert_hex(signature, 64,
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a");
    assert_true(crypto_ed25519_verify(public_key, message, 2, signature));
    assert_false(crypto_ed25519_verify(public_key, message, 1, signature));
    signature[10] ^= 1;
    assert_false(crypto_ed25519_verify(public_key, message, 2, signature));
    crypto_ed25519_generate(seed, public_key);
    assert_int_equal(crypto_ed25519_sign(seed, "", 0, signature), ERR_OK);
    assert_true(crypto_ed25519_verify(public_key, "", 0, signature));
}

static void aead_seals_and_opens(void **state)
{
    /* The GCM specification (McGrew, Viega), test case 16. */
    uint8_t key[32], nonce[12], plain[60], aad[20], out[76], back[60];
    unhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
        key, 32);
    unhex("cafebabefacedbaddecaf888", nonce, 12);
    unhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
          "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        plain, 60);
    unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2", aad, 20);
    struct str associated = str_make((const char *)aad, 20);
    struct crypto_aead *aead = crypto_aead_new();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(
            crypto_aead_seal(aead, key, nonce, associated, plain, 60, out),
            ERR_OK);
        assert_hex(out, 76,
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
            "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
            "76fc6ece0f4e1768cddf8853bb2d551b");
        assert_int_equal(
            crypto_aead_open(aead, key, nonce, associated, out, 76, back),
            ERR_OK);
        assert_memory_equal(back, plain, 60);
    }
    for (size_t i = 0; i < 76; i++) {
        out[i] ^= 1;
        assert_int_equal(
            crypto_aead_open(aead, key, nonce, associated, out, 76, back),
            ERR_CORRUPT);
        out[i] ^= 1;
    }
    assert_int_equal(
        crypto_aead_open(aead, key, nonce, STR("other"), out, 76, back),
        ERR_CORRUPT);
    assert_int_equal(
        crypto_aead_open(aead, key, nonce, associated, out, 15, back),
        ERR_CORRUPT);
    /* Nothing to hide, nothing associated: the tag alone. */
    assert_int_equal(
        crypto_aead_seal(aead, key, nonce, STR(""), NULL, 0, out), ERR_OK);
    assert_int_equal(
        crypto_aead_open(aead, key, nonce, STR(""), out, 16, back), ERR_OK);
    crypto_aead_free(&aead);
    crypto_aead_free(&aead);
}

static void *ids_of_a_thread(void *argument)
{
    for (int i = 0; i < 200; i++)
        crypto_random_id((uint8_t *)argument + i * 10, 10);
    uint8_t digest[SHA256_SIZE];
    crypto_sha256(digest, "abc", 3);
    assert_int_equal(digest[0], 0xba);
    return NULL;
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, 10);
}

static void ids_differ_across_threads_and_forks(void **state)
{
    static uint8_t ids[5 * 2000];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, ids_of_a_thread, ids + i * 2000),
            0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    ids_of_a_thread(ids + 4 * 2000);
    qsort(ids, 1000, 10, compare_ids);
    for (int i = 1; i < 1000; i++)
        assert_true(memcmp(ids + (i - 1) * 10, ids + i * 10, 10) < 0);

    uint8_t parent[16], child[16];
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        crypto_random_id(child, sizeof child);
        _exit(write(pipe_fds[1], child, sizeof child) != sizeof child);
    }
    crypto_random_id(parent, sizeof parent);
    assert_int_equal(read(pipe_fds[0], child, sizeof child), sizeof child);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    assert_memory_not_equal(parent, child, sizeof parent);
}

static X509 *read_certificate(const char *pem)
{
    BIO *in = BIO_new_mem_buf(pem, -1);
    X509 *certificate = PEM_read_bio_X509(in, NULL, NULL, NULL);
    BIO_free(in);
    assert_non_null(certificate);
    return certificate;
}

static void certificates_pass_strict_verification(void **state)
{
    static const char *const names[] = {
        "localhost", "127.0.0.1", "::1", "proxy.example.org"};
    struct crypto_certificates made;
    struct errinfo info = {0};
    assert_int_equal(crypto_make_certificates(
                         "Bailiff local CA", names, 4, 825, &made, &info),
        ERR_OK);
    X509 *ca = read_certificate(made.ca_certificate);
    X509 *server = read_certificate(made.certificate);
    X509_STORE *store = X509_STORE_new();
    X509_STORE_add_cert(store, ca);
    X509_STORE_set_flags(store, X509_V_FLAG_X509_STRICT);
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    X509_STORE_CTX_init(context, store, server, NULL);
    X509_STORE_CTX_set_purpose(context, X509_PURPOSE_SSL_SERVER);
    assert_int_equal(X509_verify_cert(context), 1);
    assert_int_equal(X509_check_host(server, "localhost", 0, 0, NULL), 1);
    assert_int_equal(
        X509_check_host(server, "proxy.example.org", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(server, "example.org", 0, 0, NULL), 0);
    assert_int_equal(X509_check_ip_asc(server, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(server, "::1", 0), 1);
    BIO *in = BIO_new_mem_buf(made.key, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    assert_int_equal(X509_check_private_key(server, key), 1);
    BIO_free(in);
    EVP_PKEY_free(key);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    X509_free(server);
    X509_free(ca);
    free(made.ca_certificate);
    free(made.ca_key);
    free(made.certificate);
    free(made.key);
}

static void certificates_refuse_bad_names(void **state)
{
    static const char *const bad[] = {"", "a b", "a,DNS:evil", "a\n", "é"};
    struct crypto_certificates made;
    struct errinfo info;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        info.text[0] = '\0';
        assert_int_equal(
            crypto_make_certificates("CA", &bad[i], 1, 10, &made, &info),
            ERR_INVALID);
        assert_true(strlen(info.text) > 10);
    }
    const char *good = "localhost";
    assert_int_equal(
        crypto_make_certificates("CA", &good, 0, 10, &made, NULL), ERR_INVALID);
    assert_int_equal(
        crypto_make_certificates("CA", &good, 1, 0, &made, NULL), ERR_INVALID);
    assert_int_equal(
        crypto_make_certificates("", &good, 1, 10, &made, NULL), ERR_INVALID);
}

static int set_up(void **state)
{
    struct errinfo info;
    return crypto_init(&info) != ERR_OK;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_vectors),
        cmocka_unit_test(hmac_vectors),
        cmocka_unit_test(crc_vectors),
        cmocka_unit_test(ed25519_vectors),
        cmocka_unit_test(aead_seals_and_opens),
        cmocka_unit_test(ids_differ_across_threads_and_forks),
        cmocka_unit_test(certificates_pass_strict_verification),
        cmocka_unit_test(certificates_refuse_bad_names),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
