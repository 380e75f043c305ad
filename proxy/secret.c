/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/secret.c - secrets that Bailiff hands out, and opaque ids. */
#include "proxy/secret.h"

#include "lib/crypto.h"
#include "lib/encode.h"
#include "lib/must.h"

#define PREFIX_LENGTH 4
#define RANDOM_LENGTH 32
#define CHECK_LENGTH 6
_Static_assert(SECRET_LENGTH == PREFIX_LENGTH + RANDOM_LENGTH + CHECK_LENGTH,
    "a secret is prefix, random part and checksum");

static void write_check(const char *secret, char *out)
{
    base62_write(out, CHECK_LENGTH,
        crypto_crc32(0, secret, PREFIX_LENGTH + RANDOM_LENGTH));
}

enum err secret_make(
    const char *prefix, char out[SECRET_LENGTH + 1], struct errinfo *info)
{
    enum err err;

    MUST(strlen(prefix) == PREFIX_LENGTH);
    memcpy(out, prefix, PREFIX_LENGTH);
    err = base62_random(out + PREFIX_LENGTH, RANDOM_LENGTH);
    if (err)
        return errinfo_set(info, err, "the system gives no random bytes");
    write_check(out, out + PREFIX_LENGTH + RANDOM_LENGTH);
    out[SECRET_LENGTH] = '\0';
    return ERR_OK;
}

bool secret_is_well_formed(const char *prefix, struct str secret)
{
    char check[CHECK_LENGTH];

    if (secret.len != SECRET_LENGTH ||
        memcmp(secret.ptr, prefix, PREFIX_LENGTH) != 0)
        return false;
    for (size_t i = PREFIX_LENGTH; i < secret.len; i++) {
        char c = secret.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                (c >= 'a' && c <= 'z')))
            return false;
    }
    write_check(secret.ptr, check);
    return str_equal_secret(str_make(check, CHECK_LENGTH),
        str_make(secret.ptr + PREFIX_LENGTH + RANDOM_LENGTH, CHECK_LENGTH));
}

void secret_hash(struct str secret, uint8_t hash[32])
{
    crypto_sha256(hash, secret.ptr, secret.len);
}

enum err id_make(
    const char *prefix, char out[ID_LENGTH + 1], struct errinfo *info)
{
    enum err err;

    MUST(strlen(prefix) == PREFIX_LENGTH);
    memcpy(out, prefix, PREFIX_LENGTH);
    err = base62_random(out + PREFIX_LENGTH, ID_LENGTH - PREFIX_LENGTH);
    if (err)
        return errinfo_set(info, err, "the system gives no random bytes");
    out[ID_LENGTH] = '\0';
    return ERR_OK;
}
