/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/chunked_fuzz.c - any bytes as a chunked body, whole and in steps
 * (the first byte says how long): the same body, the same end. */
#include "lib/http1.h"
#include "lib/must.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum http1_progress decode(
    struct str text, size_t step, struct buf *out, size_t *consumed)
{
    struct http1_chunked decoder = {0};
    size_t at = 0;

    while (at < text.len) {
        size_t stop = text.len - at < step ? text.len : at + step;
        while (at < stop) {
            size_t used;
            struct str data;
            enum http1_progress progress = http1_chunked_next(
                &decoder, text.ptr + at, stop - at, &used, &data);
            MUST(used <= stop - at);
            if (progress == HTTP1_DATA) {
                MUST(data.len > 0 && data.len <= used);
                buf_append_str(out, data);
            }
            at += used;
            *consumed = at;
            if (progress == HTTP1_DONE || progress == HTTP1_BAD)
                return progress;
        }
    }
    return HTTP1_MORE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole, pieces;
    size_t used_whole = 0, used_pieces = 0;

    if (size == 0)
        return 0;
    struct str text = str_make((const char *)data + 1, size - 1);
    size_t step = 1 + data[0] % 31;
    buf_init(&whole, size);
    buf_init(&pieces, size);
    enum http1_progress a = decode(text, size, &whole, &used_whole);
    enum http1_progress b = decode(text, step, &pieces, &used_pieces);
    MUST(a == b && used_whole == used_pieces);
    MUST(str_equal(buf_str(&whole), buf_str(&pieces)));
    buf_fini(&whole);
    buf_fini(&pieces);
    return 0;
}
