/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/blob_fuzz.c - any bytes as the file of kept content, with the hash
 * that an entry commits to: opened only if they are what was sealed. And the
 * same bytes as content: what is sealed opens, and with a bit changed does
 * not. */
#include "audit/blob.h"
#include "lib/encode.h"
#include "lib/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ID STR("01J9ZQ3V7Y8X6W5T4S3R2Q1P0N")

static void commit_to(struct blob_commitment *c, struct str file)
{
    uint8_t digest[SHA256_SIZE];

    crypto_sha256(digest, file.ptr, file.len);
    hex_write(c->blob, digest, sizeof digest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct seal_key key = {
        .id = "0011223344556677", .month = "2026-11", .key = {1, 2, 3}};
    struct str bytes = str_make((const char *)data, size);
    struct blob_commitment c = {0};
    struct crypto_aead *aead;
    struct buf file, out;

    if (crypto_init(NULL) != ERR_OK)
        return 0;
    aead = crypto_aead_new();
    buf_init(&file, size + BLOB_OVERHEAD);
    buf_init(&out, size + 1);
    commit_to(&c, bytes);
    MUST(blob_open(aead, &key, ID, BLOB_REQUEST, bytes, &c, &out, NULL) ==
         ERR_CORRUPT);
    MUST(blob_seal(aead, &key, ID, BLOB_REQUEST, bytes, &file, &c) == ERR_OK);
    MUST(blob_open(aead, &key, ID, BLOB_REQUEST, buf_str(&file), &c, &out,
             NULL) == ERR_OK);
    MUST(str_equal(buf_str(&out), bytes));
    file.ptr[file.start + (size > 0 ? data[0] : 0) % file.len] ^= 1;
    commit_to(&c, buf_str(&file));
    buf_clear(&out);
    MUST(blob_open(aead, &key, ID, BLOB_REQUEST, buf_str(&file), &c, &out,
             NULL) == ERR_CORRUPT);
    MUST(out.len == 0);
    buf_fini(&file);
    buf_fini(&out);
    crypto_aead_free(&aead);
    return 0;
}
