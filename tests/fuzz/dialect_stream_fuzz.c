/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/dialect_stream_fuzz.c - any bytes as an engine's stream (the
 * first byte picks the route and how the bytes are cut). The same is relayed
 * and learnt whatever the cuts, and what we write to end a stream is JSON. */
#include "engine/dialect.h"
#include "lib/must.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct dialect_stream *run(const struct dialect_route *route, bool hide,
    struct str text, size_t step, struct buf *relay)
{
    struct dialect_stream *stream;

    MUST(dialect_stream_new(route, hide, &stream) == ERR_OK);
    for (size_t at = 0; at < text.len; at += step) {
        size_t n = text.len - at < step ? text.len - at : step;
        MUST(dialect_stream_feed(stream, str_make(text.ptr + at, n), relay) ==
             ERR_OK);
    }
    return stream;
}

static void check_end(const struct dialect_stream *stream)
{
    const struct dialect_error words = {.status = 502,
        .type = "api_error",
        .code = "upstream_unavailable",
        .message = dialect_stream_failure(stream)};
    struct arena *arena = arena_new(4096, 0);

    MUST(arena != NULL);
    for (int i = 0; i < 2; i++) {
        struct sse_parser sse;
        struct sse_event event;
        struct json json;
        struct buf out;
        buf_init(&out, 65536);
        if (i == 0)
            dialect_stream_cut(stream, &out);
        else
            dialect_stream_error(stream, &words, &out);
        MUST(!out.failed);
        sse_init(&sse, 65536);
        MUST(sse_feed(&sse, buf_str(&out)) == ERR_OK);
        while (sse_next(&sse, &event) == ERR_OK)
            if (!str_equal(event.data, STR("[DONE]")))
                MUST(
                    json_parse(arena, event.data, NULL, &json, NULL) == ERR_OK);
        sse_fini(&sse);
        buf_fini(&out);
    }
    arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t routes;
    const struct dialect_route *route = dialect_routes(&routes);
    struct buf whole, pieces;

    if (size < 2 || size > 65536)
        return 0;
    route += data[0] % 3; /* those that stream come first */
    MUST(route->can_stream);
    bool hide = data[0] & 0x80;
    struct str text = str_make((const char *)data + 1, size - 1);
    buf_init(&whole, size);
    buf_init(&pieces, size);
    struct dialect_stream *a = run(route, hide, text, size, &whole);
    struct dialect_stream *b =
        run(route, hide, text, 1 + data[0] / 4 % 16, &pieces);
    MUST(str_equal(buf_str(&whole), buf_str(&pieces)) ||
         memchr(text.ptr, '\r', text.len)); /* a LF may change its event */
    MUST(dialect_stream_state(a) == dialect_stream_state(b));
    MUST(dialect_stream_deltas(a) == dialect_stream_deltas(b));
    MUST(dialect_stream_delta_bytes(a) == dialect_stream_delta_bytes(b));
    MUST(dialect_stream_delta_bytes(a) >= dialect_stream_deltas(a));
    MUST(memcmp(dialect_stream_usage(a), dialect_stream_usage(b),
             sizeof(struct dialect_usage)) == 0);
    check_end(a);
    dialect_stream_free(&a);
    dialect_stream_free(&b);
    buf_fini(&whole);
    buf_fini(&pieces);
    return 0;
}
