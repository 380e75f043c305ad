/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/crypto_crc.c - CRC-32C and CRC-32, both reflected.
 *
 * CRC-32C uses the SSE4.2 instruction where the processor has it; everything
 * else goes eight bytes at a time through tables ("slicing by 8"), which are
 * computed at first use. Not a protection against intent: that is what the
 * hashes are for. */
#include "lib/crypto.h"

#include <pthread.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

#define POLYNOMIAL_CRC32C UINT32_C(0x82f63b78) /* RFC 3720, B.4; reflected */
#define POLYNOMIAL_CRC32 UINT32_C(0xedb88320)  /* RFC 1952, 8; reflected */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint32_t table_crc32c[8][256], table_crc32[8][256];
static bool has_instruction;

static void fill(uint32_t table[8][256], uint32_t polynomial)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? polynomial : 0);
        table[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int k = 1; k < 8; k++)
            table[k][i] =
                table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 255];
}

static void set_up(void)
{
    fill(table_crc32c, POLYNOMIAL_CRC32C);
    fill(table_crc32, POLYNOMIAL_CRC32);
#if defined(__x86_64__)
    __builtin_cpu_init();
    has_instruction = __builtin_cpu_supports("sse4.2");
#endif
}

static uint32_t by_table(
    uint32_t (*table)[256], uint32_t seed, const uint8_t *p, size_t n)
{
    uint32_t crc = ~seed;
    while (n >= 8) {
        uint32_t low = crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 |
                                 (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
        crc = table[7][low & 255] ^ table[6][low >> 8 & 255] ^
              table[5][low >> 16 & 255] ^ table[4][low >> 24] ^ table[3][p[4]] ^
              table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
        p += 8;
        n -= 8;
    }
    while (n-- > 0)
        crc = crc >> 8 ^ table[0][(crc ^ *p++) & 255];
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_instruction(
    uint32_t seed, const uint8_t *p, size_t n)
{
    uint64_t crc = ~seed;
    while (n >= 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        crc = _mm_crc32_u64(crc, word);
        p += 8;
        n -= 8;
    }
    uint32_t narrow = (uint32_t)crc;
    while (n-- > 0)
        narrow = _mm_crc32_u8(narrow, *p++);
    return ~narrow;
}
#endif

uint32_t crypto_crc32c(uint32_t seed, const void *bytes, size_t n)
{
    pthread_once(&once, set_up);
#if defined(__x86_64__)
    if (has_instruction)
        return by_instruction(seed, bytes, n);
#endif
    return by_table(table_crc32c, seed, bytes, n);
}

uint32_t crypto_crc32c_portable(uint32_t seed, const void *bytes, size_t n)
{
    pthread_once(&once, set_up);
    return by_table(table_crc32c, seed, bytes, n);
}

uint32_t crypto_crc32(uint32_t seed, const void *bytes, size_t n)
{
    pthread_once(&once, set_up);
    return by_table(table_crc32, seed, bytes, n);
}
