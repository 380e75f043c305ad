/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of the event stream splitter of lib/http1. */
#include "lib/http1.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* All events as "raw-bytes-counted: [name|data]" lines; raw bytes joined. */
static void split(
    struct str text, size_t step, struct buf *seen, struct buf *raw)
{
    struct sse_parser parser;
    struct sse_event event;
    enum err err;

    sse_init(&parser, 4096);
    for (size_t at = 0; at < text.len; at += step) {
        size_t n = text.len - at < step ? text.len - at : step;
        assert_int_equal(sse_feed(&parser, str_make(text.ptr + at, n)), ERR_OK);
        while ((err = sse_next(&parser, &event)) == ERR_OK) {
            buf_append_str(raw, event.raw);
            if (event.comment_only)
                buf_append_str(seen, STR("(comment)"));
            else if (!event.data.ptr)
                buf_printf(seen, "[%.*s]", STR_ARG(event.name));
            else
                buf_printf(seen, "[%.*s|%.*s]", STR_ARG(event.name),
                    STR_ARG(event.data));
        }
        assert_int_equal(err, ERR_AGAIN);
    }
    sse_fini(&parser);
}

static const struct {
    struct str text;
    const char *events;
    size_t left; /* bytes that are no whole event */
} streams[] = {
    {STR_INIT("data: a\n\ndata: b\n\n"), "[|a][|b]", 0},
    {STR_INIT("data: a\r\n\r\ndata: b\r\n\r\n"), "[|a][|b]", 0},
    {STR_INIT("data: a\r\rdata: b\r\r"), "[|a][|b]", 0},
    {STR_INIT("data: a\r\n\ndata: b\n\r\n"), "[|a][|b]", 0},
    {STR_INIT("event: x\ndata: a\n\n"), "[x|a]", 0},
    {STR_INIT("data: a\nevent: x\nevent: y\n\n"), "[y|a]", 0},
    {STR_INIT("data: a\ndata: b\ndata:c\n\n"), "[|a\nb\nc]", 0},
    {STR_INIT("data\ndata\n\n"), "[|\n]", 0},
    {STR_INIT("data:\n\n"), "[|]", 0},
    {STR_INIT("data:  two\n\n"), "[| two]", 0},
    {STR_INIT("id: 4\nretry: 10\ndata: {\"a\":\"b:c\"}\n\n"),
        "[|{\"a\":\"b:c\"}]", 0},
    {STR_INIT(": ping\n\ndata: a\n\n"), "(comment)[|a]", 0},
    {STR_INIT(": ping\ndata: a\n\n"), "[|a]", 0},
    {STR_INIT("\n\ndata: a\n\n"), "(comment)(comment)[|a]", 0},
    {STR_INIT("event: only\n\n"), "[only]", 0},
    {STR_INIT("Data: a\n data: b\n\n"), "[]", 0},
    {STR_INIT("\xef\xbb\xbf"
              "data: a\n\n"),
        "[|a]", 0},
    {STR_INIT("data: a\n\n\xef\xbb\xbf"
              "data: b\n\n"),
        "[|a][]", 0},
    {STR_INIT("data: a\n"), "", 8},
    {STR_INIT("data: a\n\ndata: [DONE]"), "[|a]", 12},
    {STR_INIT("data: a\r"), "", 8},
    {STR_INIT("data: a\0b\n\n"), NULL, 0},
};

static void splits_at_every_cut(void **state)
{
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        struct str text = streams[i].text;
        for (size_t step = 1; step <= text.len; step++) {
            struct buf seen, raw;
            buf_init(&seen, 65536);
            buf_init(&raw, 65536);
            split(text, step, &seen, &raw);
            if (streams[i].events &&
                strcmp(buf_cstr(&seen), streams[i].events) != 0)
                fail_msg("row %zu step %zu: %s", i, step, buf_cstr(&seen));
            /* the bytes of the events are the bytes of the stream, but for a
             * LF that may stay behind the last CR */
            size_t got = raw.len;
            assert_true(got + streams[i].left == text.len ||
                        (got + 1 == text.len && text.ptr[got] == '\n'));
            assert_memory_equal(buf_str(&raw).ptr, text.ptr, got);
            buf_fini(&seen);
            buf_fini(&raw);
        }
    }
}

static void long_events_are_refused(void **state)
{
    struct sse_parser parser;
    struct sse_event event;
    char text[64];

    memset(text, 'x', sizeof text);
    sse_init(&parser, 100);
    assert_int_equal(sse_feed(&parser, str_make(text, 64)), ERR_OK);
    assert_int_equal(sse_next(&parser, &event), ERR_AGAIN);
    assert_int_equal(sse_feed(&parser, str_make(text, 64)), ERR_OK);
    assert_int_equal(sse_next(&parser, &event), ERR_LIMIT);
    sse_fini(&parser);

    sse_init(&parser, 8);
    assert_int_equal(sse_feed(&parser, STR("data: abc\n\n")), ERR_OK);
    assert_int_equal(sse_next(&parser, &event), ERR_LIMIT);
    sse_fini(&parser);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_at_every_cut),
        cmocka_unit_test(long_events_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
