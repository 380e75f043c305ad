/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/encode.c - hex, base64, base62, ULID. Pure but for base62_random. */
#include "lib/encode.h"

#include "lib/crypto.h"

static const char hex_digits[] = "0123456789abcdef";
static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                    "abcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64url_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                       "abcdefghijklmnopqrstuvwxyz0123456789-_";
static const char base62_digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                    "abcdefghijklmnopqrstuvwxyz";
static const char crockford_digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* --- Hex ---------------------------------------------------------------- */

static void hex_fill(char *out, const uint8_t *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = hex_digits[in[i] >> 4];
        out[2 * i + 1] = hex_digits[in[i] & 15];
    }
}

void hex_append(struct buf *out, const void *bytes, size_t n)
{
    if (n == 0)
        return;
    char *to = n <= SIZE_MAX / 2 ? buf_reserve(out, 2 * n) : NULL;
    if (!to) {
        out->failed = true;
        return;
    }
    hex_fill(to, bytes, n);
    buf_grew(out, 2 * n);
}

void hex_write(char *out, const void *bytes, size_t n)
{
    hex_fill(out, bytes, n);
    out[2 * n] = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

enum err hex_decode(
    struct str text, uint8_t *out, size_t out_size, size_t *out_len)
{
    if (text.len % 2 != 0)
        return ERR_SYNTAX;
    size_t n = text.len / 2;
    if (n > out_size)
        return ERR_LIMIT;
    for (size_t i = 0; i < n; i++) {
        int high = hex_value(text.ptr[2 * i]);
        int low = hex_value(text.ptr[2 * i + 1]);
        if (high < 0 || low < 0)
            return ERR_SYNTAX;
        out[i] = (uint8_t)(high << 4 | low);
    }
    *out_len = n;
    return ERR_OK;
}

/* --- Base64 ------------------------------------------------------------- */

static void base64_encode(struct buf *out, const uint8_t *in, size_t n,
    const char *digits, bool padded)
{
    if (n == 0)
        return;
    size_t full = n / 3, rest = n % 3;
    size_t length = full * 4 + (rest ? (padded ? 4 : rest + 1) : 0);
    char *to = n <= SIZE_MAX / 2 ? buf_reserve(out, length) : NULL;
    if (!to) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < full; i++, in += 3, to += 4) {
        uint32_t v = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
        to[0] = digits[v >> 18];
        to[1] = digits[v >> 12 & 63];
        to[2] = digits[v >> 6 & 63];
        to[3] = digits[v & 63];
    }
    if (rest) {
        uint32_t v =
            (uint32_t)in[0] << 16 | (rest == 2 ? (uint32_t)in[1] << 8 : 0);
        *to++ = digits[v >> 18];
        *to++ = digits[v >> 12 & 63];
        if (rest == 2)
            *to++ = digits[v >> 6 & 63];
        for (size_t i = rest; padded && i < 3; i++)
            *to++ = '=';
    }
    buf_grew(out, length);
}

void base64_append(struct buf *out, const void *bytes, size_t n)
{
    base64_encode(out, bytes, n, base64_digits, true);
}

void base64url_append(struct buf *out, const void *bytes, size_t n)
{
    base64_encode(out, bytes, n, base64url_digits, false);
}

static int base64_value(char c, const char *digits)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == digits[62])
        return 62;
    if (c == digits[63])
        return 63;
    return -1;
}

/* text without padding; refuses bits set past the last whole byte. */
static enum err base64_bits(struct str text, const char *digits, uint8_t *out,
    size_t out_size, size_t *out_len)
{
    size_t rest = text.len % 4;
    if (rest == 1)
        return ERR_SYNTAX;
    size_t n = text.len / 4 * 3 + (rest ? rest - 1 : 0);
    if (n > out_size)
        return ERR_LIMIT;
    uint32_t bits = 0;
    unsigned held = 0;
    size_t at = 0;
    for (size_t i = 0; i < text.len; i++) {
        int value = base64_value(text.ptr[i], digits);
        if (value < 0)
            return ERR_SYNTAX;
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[at++] = (uint8_t)(bits >> held);
            bits &= (1u << held) - 1;
        }
    }
    if (bits != 0)
        return ERR_SYNTAX;
    *out_len = n;
    return ERR_OK;
}

enum err base64_decode(
    struct str text, uint8_t *out, size_t out_size, size_t *out_len)
{
    if (text.len % 4 != 0)
        return ERR_SYNTAX;
    for (int i = 0; i < 2 && str_ends(text, STR("=")); i++)
        text.len--;
    return base64_bits(text, base64_digits, out, out_size, out_len);
}

enum err base64url_decode(
    struct str text, uint8_t *out, size_t out_size, size_t *out_len)
{
    return base64_bits(text, base64url_digits, out, out_size, out_len);
}

/* --- Base62 and ULID ---------------------------------------------------- */

enum err base62_random(char *out, size_t n)
{
    uint8_t pool[64];
    size_t at = 0;
    while (at < n) {
        crypto_random(pool, sizeof pool);
        for (size_t i = 0; i < sizeof pool && at < n; i++) {
            uint8_t six = pool[i] & 63;
            if (six < 62) /* 62 and 63 are thrown away: no modulo bias */
                out[at++] = base62_digits[six];
        }
    }
    crypto_wipe(pool, sizeof pool);
    return ERR_OK;
}

void base62_write(char *out, size_t width, uint64_t value)
{
    for (size_t i = width; i > 0; i--) {
        out[i - 1] = base62_digits[value % 62];
        value /= 62;
    }
}

void ulid_write(
    char out[ULID_LENGTH], int64_t time_us, const uint8_t random[10])
{
    uint64_t ms = time_us > 0 ? (uint64_t)time_us / 1000 : 0;
    for (int i = 9; i >= 0; i--) { /* 48 bits in 10 digits */
        out[i] = crockford_digits[ms & 31];
        ms >>= 5;
    }
    for (int half = 0; half < 2; half++) { /* 5 bytes are 8 digits */
        uint64_t bits = 0;
        for (int i = 0; i < 5; i++)
            bits = bits << 8 | random[half * 5 + i];
        for (int i = 7; i >= 0; i--) {
            out[10 + half * 8 + i] = crockford_digits[bits & 31];
            bits >>= 5;
        }
    }
}

bool ulid_is_valid(struct str text)
{
    if (text.len != ULID_LENGTH || text.ptr[0] > '7')
        return false; /* a first digit above 7 would pass 48 bits */
    for (size_t i = 0; i < ULID_LENGTH; i++)
        if (text.ptr[i] == '\0' ||
            !memchr(crockford_digits, text.ptr[i], sizeof crockford_digits - 1))
            return false;
    return true;
}
