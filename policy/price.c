/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/price.c - see price.h. */
#include "policy/price.h"

#include "lib/crypto.h"
#include "lib/encode.h"
#include "lib/json_write.h"
#include "lib/must.h"

#define ROW_MAX 4096

#define MILLION INT64_C(1000000)

/* 2^63 x 10^12 x 3 is far from 2^127. */
__extension__ typedef __int128 wide;

static wide times(int64_t count, int64_t price)
{
    return count > 0 ? (wide)count * price : 0;
}

int64_t price_cost(const struct price *price, const struct price_use *use)
{
    int64_t cached = use->cached < use->input ? use->cached : use->input;
    MUST(price->cached <= price->input);
    if (cached < 0)
        cached = 0;
    wide millionths = times(use->input - cached, price->input) +
                      times(cached, price->cached) +
                      times(use->output, price->output);
    wide cost = (millionths + MILLION - 1) / MILLION +
                times(use->images, price->image) +
                times(use->audio_seconds, price->audio_second) + price->request;
    return cost > INT64_MAX ? INT64_MAX : (int64_t)cost;
}

const struct price *price_at(
    const struct price *prices, size_t count, int64_t now_us)
{
    const struct price *found = NULL;
    for (size_t i = 0; i < count && prices[i].valid_from_us <= now_us; i++)
        found = &prices[i];
    return found;
}

void price_hash(struct price *price, struct str model)
{
    struct json_writer json;
    struct buf row;
    uint8_t digest[SHA256_SIZE];
    buf_init(&row, ROW_MAX);
    json_write_init(&json, &row);
    json_write_object(&json);
    json_write_member_int(&json, STR("audioSecond"), price->audio_second);
    json_write_member_int(&json, STR("cached"), price->cached);
    json_write_member_int(&json, STR("image"), price->image);
    json_write_member_int(&json, STR("input"), price->input);
    json_write_member_string(&json, STR("model"), model);
    json_write_member_int(&json, STR("output"), price->output);
    json_write_member_int(&json, STR("request"), price->request);
    json_write_member_int(&json, STR("validFrom"), price->valid_from_us);
    json_write_member_int(&json, STR("version"), price->version);
    json_write_object_end(&json);
    crypto_sha256(digest, row.ptr, row.len);
    hex_write(price->hash, digest, sizeof(digest));
    price->hash[2 * SHA256_SIZE] = '\0';
    if (row.failed) /* out of memory: a hash that nothing has */
        memset(price->hash, '0', 2 * SHA256_SIZE);
    buf_fini(&row);
}
