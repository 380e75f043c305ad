/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/sse_fuzz.c - any bytes as an event stream, whole and in steps
 * (the first byte says how long): the same events, and their bytes are the
 * stream's bytes in order. */
#include "lib/http1.h"
#include "lib/must.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void split(
    struct str text, size_t step, struct buf *events, struct buf *raw)
{
    struct sse_parser parser;
    struct sse_event event;
    enum err err = ERR_AGAIN;

    sse_init(&parser, (size_t)1 << 20);
    for (size_t at = 0; at < text.len && err == ERR_AGAIN; at += step) {
        size_t n = text.len - at < step ? text.len - at : step;
        MUST(sse_feed(&parser, str_make(text.ptr + at, n)) == ERR_OK);
        while ((err = sse_next(&parser, &event)) == ERR_OK) {
            buf_append_str(raw, event.raw);
            buf_append_str(events, event.name);
            buf_append_char(events, event.comment_only ? ':' : '|');
            buf_append_char(events, event.data.ptr ? '+' : '-');
            buf_append_str(events, event.data);
            buf_append_char(events, '\0');
        }
    }
    sse_fini(&parser);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf a, b, raw_a, raw_b;

    if (size == 0 || size > ((size_t)1 << 20))
        return 0;
    struct str text = str_make((const char *)data + 1, size - 1);
    buf_init(&a, size * 8);
    buf_init(&b, size * 8);
    buf_init(&raw_a, size);
    buf_init(&raw_b, size);
    split(text, size, &a, &raw_a);
    split(text, 1 + data[0] % 31, &b, &raw_b);
    MUST(!a.failed && !b.failed && !raw_a.failed && !raw_b.failed);
    MUST(str_equal(buf_str(&a), buf_str(&b)));
    MUST(raw_a.len == 0 ||
         memcmp(buf_str(&raw_a).ptr, text.ptr, raw_a.len) == 0);
    MUST(raw_b.len == 0 ||
         memcmp(buf_str(&raw_b).ptr, text.ptr, raw_b.len) == 0);
    buf_fini(&a);
    buf_fini(&b);
    buf_fini(&raw_a);
    buf_fini(&raw_b);
    return 0;
}
