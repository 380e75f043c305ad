/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/frame.c - see frame.h. */
#include "audit/frame.h"

#include <endian.h>

static const uint8_t magic[4] = {0xff, 'B', 'L', 'F'};

static void put32(uint8_t *at, uint32_t value)
{
    value = htole32(value);
    memcpy(at, &value, sizeof(value));
}

static void put64(uint8_t *at, uint64_t value)
{
    value = htole64(value);
    memcpy(at, &value, sizeof(value));
}

static uint32_t get32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return le32toh(value);
}

static uint64_t get64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return le64toh(value);
}

/* The CRC field lies between two runs; it is left out of its own sum. */
static uint32_t frame_crc(
    const uint8_t *header, const uint8_t *payload, size_t length)
{
    uint32_t crc = crypto_crc32c(0, header, 28);
    crc = crypto_crc32c(crc, header + 32, FRAME_HEADER_SIZE - 32);
    return crypto_crc32c(crc, payload, length);
}

void frame_encode(uint8_t header[FRAME_HEADER_SIZE], const struct frame *frame)
{
    memcpy(header, magic, sizeof(magic));
    put32(header + 4, frame->length);
    put64(header + 8, frame->first);
    put32(header + 16, frame->count);
    put32(header + 20, frame->flags);
    put32(header + 24, 0);
    memcpy(header + 32, frame->previous, SHA256_SIZE);
    put32(header + 28, frame_crc(header, frame->payload, frame->length));
}

bool frame_has_magic(const uint8_t *bytes)
{
    return memcmp(bytes, magic, sizeof(magic)) == 0;
}

bool frame_next_entry(
    const uint8_t *payload, size_t length, size_t *at, struct str *entry)
{
    if (length - *at < FRAME_ENTRY_OVERHEAD)
        return false;
    size_t size = (size_t)payload[*at] << 8 | payload[*at + 1];
    if (length - *at - FRAME_ENTRY_OVERHEAD < size)
        return false;
    *entry = str_make((const char *)payload + *at + FRAME_ENTRY_OVERHEAD, size);
    *at += FRAME_ENTRY_OVERHEAD + size;
    return true;
}

enum err frame_decode(
    const uint8_t *bytes, size_t size, struct frame *frame, const char **reason)
{
    if (size < FRAME_HEADER_SIZE || !frame_has_magic(bytes))
        return ERR_NOTFOUND;
    frame->length = get32(bytes + 4);
    frame->first = get64(bytes + 8);
    frame->count = get32(bytes + 16);
    frame->flags = get32(bytes + 20);
    memcpy(frame->previous, bytes + 32, SHA256_SIZE);
    frame->payload = bytes + FRAME_HEADER_SIZE;
    if (frame->length > FRAME_PAYLOAD_MAX || frame->count == 0 ||
        frame->count > frame->length || get32(bytes + 24) != 0 ||
        frame->flags > FRAME_SEAL || frame->first > INT64_MAX) {
        *reason = "its header makes no sense";
        return ERR_CORRUPT;
    }
    if (size - FRAME_HEADER_SIZE < frame->length)
        return ERR_AGAIN;
    if (frame_crc(bytes, frame->payload, frame->length) != get32(bytes + 28)) {
        *reason = "its checksum does not fit its bytes";
        return ERR_CORRUPT;
    }
    size_t at = 0;
    uint32_t count = 0;
    struct str entry;
    while (frame_next_entry(frame->payload, frame->length, &at, &entry))
        count++;
    if (at != frame->length || count != frame->count) {
        *reason = "its number of entries does not fit its length";
        return ERR_CORRUPT;
    }
    return ERR_OK;
}
