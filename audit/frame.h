/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/frame.h - one batch of entries as it stands in the journal.
 *
 * A frame is a header of 64 bytes, little-endian, and a payload:
 *
 *    0  4  magic FF 'B' 'L' 'F' (FF stands in no UTF-8 text)
 *    4  4  length of the payload
 *    8  8  index of the first entry
 *   16  4  number of entries, at least 1
 *   20  4  flags
 *   24  4  zero
 *   28  4  CRC-32C over the header without this field, and the payload
 *   32 32  SHA-256 of the previous frame (header and payload)
 *
 * The payload is an entry bundle of C2SP tlog-tiles: each entry is a
 * big-endian 16-bit length and its bytes. Pure; any thread. */
#ifndef AUDIT_FRAME_H
#define AUDIT_FRAME_H

#include "lib/crypto.h"

#define FRAME_HEADER_SIZE 64
#define FRAME_PAYLOAD_MAX (UINT32_C(4) << 20)
#define FRAME_ENTRY_OVERHEAD 2
#define FRAME_SEAL 1u /* the last frame of an orderly stop */

struct frame {
    uint64_t first; /* index of the first entry */
    uint32_t count;
    uint32_t length; /* of the payload */
    uint32_t flags;
    uint8_t previous[SHA256_SIZE];
    const uint8_t *payload; /* borrowed */
};

/* Writes the header for the payload, its CRC included. */
void frame_encode(uint8_t header[FRAME_HEADER_SIZE], const struct frame *frame);

/* Looks at the bytes where a frame should begin. ERR_OK: *frame is filled,
 * the payload borrowed from bytes. ERR_NOTFOUND: no magic there. ERR_AGAIN:
 * a plausible header, and `size` is too small; frame->length is set, and
 * FRAME_HEADER_SIZE + length bytes are needed. ERR_CORRUPT: *reason says in
 * static words what is wrong. */
enum err frame_decode(const uint8_t *bytes, size_t size, struct frame *frame,
    const char **reason) MUSTCHECK;

/* Whether four bytes look like the begin of a frame. */
bool frame_has_magic(const uint8_t *bytes);

/* Size of header and payload. */
static inline size_t frame_size(const struct frame *frame)
{
    return FRAME_HEADER_SIZE + (size_t)frame->length;
}

/* Walks the entries of a payload: *at starts at 0. False at the end. The
 * lengths were checked by frame_decode. */
bool frame_next_entry(
    const uint8_t *payload, size_t length, size_t *at, struct str *entry);

#endif
