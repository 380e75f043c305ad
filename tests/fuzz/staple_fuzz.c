/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/staple_fuzz.c - a file as the OCSP response for a certificate. No
 * bytes may crash the reader; what is stapled are these very bytes, and what is
 * not has its reason. */
#include "proxy/staple.h"

#include "lib/crypto.h"
#include "lib/must.h"

#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char issuer_pem[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBhTCCASugAwIBAgIUJjWj5qpVv9MkH49qGNQdBkXkQ64wCgYIKoZIzj0EAwIw\n"
    "DzENMAsGA1UEAwwEZnV6ejAgFw0yNjExMjcyMTI3MzRaGA8yMTI2MTEwMzIxMjcz\n"
    "NFowDzENMAsGA1UEAwwEZnV6ejBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABHGX\n"
    "BiQK1+cA89YvsTdSbrrSg6AC7IzMghr45z1HyDNEbK89/raW2yLgaVyEpDXfmTME\n"
    "YVMOjpYwP9cK0+RKeo6jYzBhMB0GA1UdDgQWBBQ1rCIU4r0zTbH7hmlUAxlrupL3\n"
    "KjAfBgNVHSMEGDAWgBQ1rCIU4r0zTbH7hmlUAxlrupL3KjAPBgNVHRMBAf8EBTAD\n"
    "AQH/MA4GA1UdDwEB/wQEAwIBBjAKBggqhkjOPQQDAgNIADBFAiBMxnpXLWfzZePq\n"
    "qrwuS+2YvMz5e0Y90aBhRmxmbR2wAgIhAJhBmaiPha089uPA14Dt8QrVshDsuTsT\n"
    "5lOlxDXYUcWN\n"
    "-----END CERTIFICATE-----\n";
static const char own_pem[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBGjCBwAIUArv8ns0ZsI4565fPDMpYe32E1GYwCgYIKoZIzj0EAwIwDzENMAsG\n"
    "A1UEAwwEZnV6ejAgFw0yNjExMjcyMTI3MzRaGA8yMTI2MTEwMzIxMjczNFowDjEM\n"
    "MAoGA1UEAwwDb3duMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEKWfPJL8DH8y/\n"
    "1sMGbRt9cvH9bVoKH4LCeDFU2W0iwKzWbuHeGtNrPK2WunT74AwggEO5TB4E/xBV\n"
    "GbJXDQwqqDAKBggqhkjOPQQDAgNJADBGAiEA74FUMGGGJuK3dtxOdtMXPahU0xgy\n"
    "pLPzKwq27W5MUbYCIQDZNASPKtkUUdgxrUJGwxSnl53P4odwx6FcRRuX6/nwDw==\n"
    "-----END CERTIFICATE-----\n";

static X509 *read_pem(const char *text)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    X509 *x509 = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

    BIO_free(bio);
    MUST(x509 != NULL);
    return x509;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct staple *staple = NULL;
    struct errinfo info = {0};
    X509 *own = read_pem(own_pem);
    STACK_OF(X509) *chain = sk_X509_new_null();
    char path[64], why[512];
    int64_t until_us;
    size_t length = 0;
    unsigned char *copy;
    int fd = memfd_create("response", MFD_CLOEXEC);

    MUST(crypto_init(&info) == ERR_OK && chain != NULL && fd >= 0);
    MUST(sk_X509_push(chain, read_pem(issuer_pem)) > 0);
    MUST(write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    MUST(staple_new(own, chain, path, &staple, &info) == ERR_OK);
    copy = staple_copy(staple, &length);
    staple_why(staple, why, &until_us);
    MUST(
        (copy != NULL) == (why[0] == '\0') && (copy != NULL) == (until_us > 0));
    if (copy != NULL)
        MUST(length == size && memcmp(copy, data, size) == 0);
    MUST(!staple_look(staple));
    OPENSSL_free(copy);
    staple_free(&staple);
    sk_X509_pop_free(chain, X509_free);
    X509_free(own);
    close(fd);
    return 0;
}
