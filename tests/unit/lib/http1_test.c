/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of lib/http1: heads and chunked bodies. */
#include "lib/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* A copy of exactly the text's length, so that a sanitizer sees over-reads. */
static struct str exact(struct str text)
{
    static char *last;
    free(last);
    last = malloc(text.len ? text.len : 1);
    assert_non_null(last);
    memcpy(last, text.ptr, text.len);
    return str_make(last, text.len);
}

#define GET "GET / HTTP/1.1\r\nHost: h\r\n"
#define POST "POST / HTTP/1.1\r\nHost: h\r\n"

static void reads_a_request(void **state)
{
    struct str text = exact(
        STR("POST /v1/chat/completions?a=b?c HTTP/1.1\r\n"
            "Host: localhost:8443\r\n"
            "content-type:application/json\r\n"
            "X-Tab:\t a\tb \t\r\n"
            "X-Empty:\r\n"
            "X-Obs: caf\xe9\r\n"
            "X-Long: "
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\tbbbbbbbbbb\r\n"
            "Content-Length: 205\r\n"
            "Expect: 100-Continue\r\n\r\n"));
    struct http1_head head;
    struct http1_error error;
    size_t scanned = 0;

    assert_int_equal(http1_head_end(text.ptr, text.len, &scanned), text.len);
    assert_int_equal(
        http1_parse_request(text.ptr, text.len, &head, &error), ERR_OK);
    assert_true(str_equal(head.method, STR("POST")));
    assert_true(str_equal(head.target, STR("/v1/chat/completions?a=b?c")));
    assert_true(str_equal(head.path, STR("/v1/chat/completions")));
    assert_true(str_equal(head.query, STR("a=b?c")));
    assert_true(str_equal(head.host, STR("localhost:8443")));
    assert_int_equal(head.minor, 1);
    assert_true(head.keep_alive);
    assert_true(head.expect_continue);
    assert_int_equal(head.body, HTTP1_BODY_LENGTH);
    assert_int_equal(head.content_length, 205);
    assert_int_equal(head.size, text.len);
    assert_int_equal(head.header_count, 8);
    assert_true(str_equal(http1_find(&head, STR("x-tab"))->value, STR("a\tb")));
    assert_int_equal(http1_find(&head, STR("X-EMPTY"))->value.len, 0);
    assert_null(http1_find(&head, STR("X-None")));
    assert_int_equal(http1_count(&head, STR("content-type")), 1);
    assert_int_equal(http1_count(&head, STR("cookie")), 0);
}

static void bodies_and_keep_alive(void **state)
{
    static const struct {
        const char *text;
        enum http1_body body;
        bool keep_alive;
    } rows[] = {
        {GET "\r\n", HTTP1_BODY_NONE, true},
        {GET "Connection: close\r\n\r\n", HTTP1_BODY_NONE, false},
        {GET "Connection: x, CLOSE ,y\r\n\r\n", HTTP1_BODY_NONE, false},
        {GET "Connection: keep-alive\r\nConnection: close\r\n\r\n",
            HTTP1_BODY_NONE, false},
        {"GET / HTTP/1.0\r\n\r\n", HTTP1_BODY_NONE, false},
        {"GET / HTTP/1.0\r\nHost: h\r\nConnection: Keep-Alive\r\n\r\n",
            HTTP1_BODY_NONE, true},
        {POST "Content-Length: 0\r\n\r\n", HTTP1_BODY_NONE, true},
        {POST "Content-Length: 9223372036854775807\r\n\r\n", HTTP1_BODY_LENGTH,
            true},
        {POST "Transfer-Encoding: Chunked\r\n\r\n", HTTP1_BODY_CHUNKED, true},
        {"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\n", HTTP1_BODY_LENGTH,
            false},
        {"POST / HTTP/1.0\r\nExpect: fly\r\nContent-Length: 3\r\n\r\n",
            HTTP1_BODY_LENGTH, false},
        {"GET / HTTP/1.1\r\nHost: [::1]:8443\r\n\r\n", HTTP1_BODY_NONE, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str text = exact(str_from(rows[i].text));
        struct http1_head head;
        struct http1_error error = {0, ""};
        if (http1_parse_request(text.ptr, text.len, &head, &error))
            fail_msg("%s: %s", rows[i].text, error.reason);
        assert_int_equal(head.body, rows[i].body);
        assert_int_equal(head.keep_alive, rows[i].keep_alive);
    }
}

/* Every shape that two implementations might read differently. */
static const struct {
    struct str text;
    int status;
    const char *reason;
} smuggling[] = {
    {STR_INIT("\r\n" GET "\r\n"), 400, "a request line without a method"},
    {STR_INIT(" " GET "\r\n"), 400, "a request line without a method"},
    {STR_INIT("GET  / HTTP/1.1\r\nHost: h\r\n\r\n"), 400,
        "a request line with a stray space"},
    {STR_INIT("GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n"), 400, "a malformed method"},
    {STR_INIT("G@T / HTTP/1.1\r\nHost: h\r\n\r\n"), 400, "a malformed method"},
    {STR_INIT("GET / HTTP/1.1 \r\nHost: h\r\n\r\n"), 400,
        "a forbidden character in the head"},
    {STR_INIT("GET /  HTTP/1.1\r\nHost: h\r\n\r\n"), 400,
        "a malformed HTTP version"},
    {STR_INIT("GET /\r\n\r\n"), 400, "a target with a forbidden character"},
    {STR_INIT("GET / HTTP/1.1\nHost: h\r\n\r\n"), 400,
        "a line ends with LF instead of CRLF"},
    {STR_INIT("GET / HTTP/1.1\r\nHost: h\n\r\n"), 400,
        "a line ends with LF instead of CRLF"},
    {STR_INIT("GET / HTTP/1.1\r\nHost: h\r\n\n"), 400,
        "a line ends with LF instead of CRLF"},
    {STR_INIT("GET / HTTP/1.1\r\nHost: h\n\n"), 400,
        "a line ends with LF instead of CRLF"},
    {STR_INIT("GET / HTTP/1.1\rHost: h\r\n\r\n"), 400,
        "a CR without LF in the head"},
    {STR_INIT(GET "A: b\rC: d\r\n\r\n"), 400, "a CR without LF in the head"},
    {STR_INIT(GET "A: b\r\r\n\r\n"), 400, "a CR without LF in the head"},
    {STR_INIT("GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n"), 400,
        "a target with a forbidden character"},
    {STR_INIT("GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n"), 400,
        "a target with a forbidden character"},
    {STR_INIT("GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n"), 400,
        "a target with a forbidden character"},
    {STR_INIT("GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n"), 400,
        "a target with a fragment"},
    {STR_INIT("GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n"), 400,
        "a target that does not begin with /"},
    {STR_INIT("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"), 400,
        "a target that does not begin with /"},
    {STR_INIT("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n"), 405,
        "CONNECT is not offered"},
    {STR_INIT("GET / HTTP/2.0\r\nHost: h\r\n\r\n"), 505,
        "an HTTP version other than 1.0 and 1.1"},
    {STR_INIT("GET / HTTP/1.2\r\nHost: h\r\n\r\n"), 505,
        "an HTTP version other than 1.0 and 1.1"},
    {STR_INIT("GET / HTTP/0.9\r\nHost: h\r\n\r\n"), 505,
        "an HTTP version other than 1.0 and 1.1"},
    {STR_INIT("GET / HTTP/1.10\r\nHost: h\r\n\r\n"), 400,
        "a forbidden character in the head"},
    {STR_INIT("GET / http/1.1\r\nHost: h\r\n\r\n"), 400,
        "a malformed HTTP version"},
    {STR_INIT("PRI * HTTP/2.0\r\n\r\n"), 400,
        "a target that does not begin with /"},
    {STR_INIT("GET / HTTP/1.1\r\n\r\n"), 400, "no Host header"},
    {STR_INIT(GET "Host: h\r\n\r\n"), 400, "two Host headers"},
    {STR_INIT(GET "host: other\r\n\r\n"), 400, "two Host headers"},
    {STR_INIT("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"), 400,
        "two Host headers"},
    {STR_INIT("GET / HTTP/1.1\r\nHost:\r\n\r\n"), 400,
        "a Host that is no host name"},
    {STR_INIT("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), 400,
        "a Host that is no host name"},
    {STR_INIT("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400,
        "a Host that is no host name"},
    {STR_INIT("GET / HTTP/1.1\r\nHost: u@h\r\n\r\n"), 400,
        "a Host that is no host name"},
    {STR_INIT("GET / HTTP/1.1\r\n Host: h\r\n\r\n"), 400,
        "a folded header line"},
    {STR_INIT(GET "A: b\r\n c\r\n\r\n"), 400, "a folded header line"},
    {STR_INIT(GET "A: b\r\n\tc\r\n\r\n"), 400, "a folded header line"},
    {STR_INIT(GET "A : b\r\n\r\n"), 400, "space before a header's colon"},
    {STR_INIT(GET "A\t: b\r\n\r\n"), 400, "space before a header's colon"},
    {STR_INIT(GET "Content-Length : 3\r\n\r\n"), 400,
        "space before a header's colon"},
    {STR_INIT(GET ": b\r\n\r\n"), 400, "a header without a name"},
    {STR_INIT(GET "novalue\r\n\r\n"), 400, "a header line without a colon"},
    {STR_INIT(GET "A(b): c\r\n\r\n"), 400,
        "a header name with a forbidden character"},
    {STR_INIT(GET "A\0: c\r\n\r\n"), 400,
        "a header name with a forbidden character"},
    {STR_INIT(GET "A\xe9: c\r\n\r\n"), 400,
        "a header name with a forbidden character"},
    {STR_INIT(GET "A: b\0c\r\n\r\n"), 400, "a NUL byte in the head"},
    {STR_INIT(GET "A: b\x01\r\n\r\n"), 400,
        "a forbidden character in the head"},
    {STR_INIT(GET "A: b\x7f\r\n\r\n"), 400,
        "a forbidden character in the head"},
    {STR_INIT(GET "A: b\x0b\r\n\r\n"), 400,
        "a forbidden character in the head"},
    {STR_INIT(POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
        400, "Content-Length beside Transfer-Encoding"},
    {STR_INIT(POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"),
        400, "Content-Length beside Transfer-Encoding"},
    {STR_INIT(POST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"),
        400, "Content-Length beside Transfer-Encoding"},
    {STR_INIT("POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
              "\r\n"),
        400, "Transfer-Encoding in HTTP/1.0"},
    {STR_INIT(POST "Transfer-Encoding: gzip, chunked\r\n\r\n"), 400,
        "a transfer coding other than chunked"},
    {STR_INIT(POST "Transfer-Encoding: chunked, chunked\r\n\r\n"), 400,
        "a transfer coding other than chunked"},
    {STR_INIT(POST "Transfer-Encoding: chunked, identity\r\n\r\n"), 400,
        "a transfer coding other than chunked"},
    {STR_INIT(POST "Transfer-Encoding: identity\r\n\r\n"), 400,
        "a transfer coding other than chunked"},
    {STR_INIT(POST "Transfer-Encoding: xchunked\r\n\r\n"), 400,
        "a transfer coding other than chunked"},
    {STR_INIT(POST "Transfer-Encoding: chunked;q=1\r\n\r\n"), 400,
        "a transfer coding other than chunked"},
    {STR_INIT(POST "Transfer-Encoding: \"chunked\"\r\n\r\n"), 400,
        "a transfer coding other than chunked"},
    {STR_INIT(POST "Transfer-Encoding:\r\n\r\n"), 400,
        "a transfer coding other than chunked"},
    {STR_INIT(POST "Transfer-Encoding: \x0b"
                   "chunked\r\n\r\n"),
        400, "a forbidden character in the head"},
    {STR_INIT(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: "
                   "chunked\r\n\r\n"),
        400, "two Transfer-Encoding headers"},
    {STR_INIT(POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\n"), 400,
        "two Content-Length headers"},
    {STR_INIT(POST "Content-Length: 3\r\ncontent-length: 4\r\n\r\n"), 400,
        "two Content-Length headers"},
    {STR_INIT(POST "Content-Length: 0\r\nContent-Length: 4\r\n\r\n"), 400,
        "two Content-Length headers"},
    {STR_INIT(POST "Content-Length: 3, 3\r\n\r\n"), 400,
        "a Content-Length that is no number"},
    {STR_INIT(POST "Content-Length: +3\r\n\r\n"), 400,
        "a Content-Length that is no number"},
    {STR_INIT(POST "Content-Length: -3\r\n\r\n"), 400,
        "a Content-Length that is no number"},
    {STR_INIT(POST "Content-Length: 0x3\r\n\r\n"), 400,
        "a Content-Length that is no number"},
    {STR_INIT(POST "Content-Length: 3 3\r\n\r\n"), 400,
        "a Content-Length that is no number"},
    {STR_INIT(POST "Content-Length: 1_0\r\n\r\n"), 400,
        "a Content-Length that is no number"},
    {STR_INIT(POST "Content-Length:\r\n\r\n"), 400,
        "a Content-Length that is no number"},
    {STR_INIT(POST "Content-Length: 18446744073709551616\r\n\r\n"), 400,
        "a Content-Length that is no number"},
    {STR_INIT(POST "Expect: 100-continue, x\r\n\r\n"), 417,
        "an expectation other than 100-continue"},
};

static void refuses_smuggling_shapes(void **state)
{
    for (size_t i = 0; i < sizeof smuggling / sizeof *smuggling; i++) {
        struct str text = exact(smuggling[i].text);
        struct http1_head head;
        struct http1_error error = {0, ""};
        size_t scanned = 0;
        size_t end = 0;
        /* byte by byte: the end of the head is found, so that it is refused
         * at once instead of waiting for more */
        size_t n = 0;
        while (end == 0 && n < text.len)
            end = http1_head_end(text.ptr, ++n, &scanned);
        assert_true(end > 0);
        enum err err = http1_parse_request(text.ptr, text.len, &head, &error);
        if (err != ERR_SYNTAX || error.status != smuggling[i].status ||
            strcmp(error.reason, smuggling[i].reason) != 0)
            fail_msg("row %zu: %s %d %s", i, err_name(err), error.status,
                error.reason);
    }
}

static void limits_of_heads(void **state)
{
    struct buf text;
    struct http1_head head;
    struct http1_error error;

    buf_init(&text, 65536);
    buf_append_str(&text, STR("GET / HTTP/1.1\r\nHost: h\r\n"));
    for (int i = 1; i < HTTP1_HEADERS_MAX; i++)
        buf_append_str(&text, STR("A: b\r\n"));
    size_t full = text.len;
    buf_append_str(&text, STR("\r\n"));
    assert_int_equal(
        http1_parse_request(buf_str(&text).ptr, text.len, &head, &error),
        ERR_OK);
    text.len = full;
    buf_append_str(&text, STR("A: b\r\n\r\n"));
    assert_int_equal(
        http1_parse_request(buf_str(&text).ptr, text.len, &head, &error),
        ERR_SYNTAX);
    assert_int_equal(error.status, 431);

    buf_clear(&text);
    buf_append_str(&text, STR("GET /"));
    for (int i = 0; i < 8192; i++)
        buf_append_char(&text, 'a');
    buf_append_str(&text, STR(" HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_int_equal(
        http1_parse_request(buf_str(&text).ptr, text.len, &head, &error),
        ERR_SYNTAX);
    assert_int_equal(error.status, 414);
    buf_fini(&text);
}

/* The end is found at the same place however the bytes come. */
static void head_end_byte_by_byte(void **state)
{
    static const struct {
        const char *text;
        size_t end;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: h\r\n\r\nrest", 27},
        {"GET / HTTP/1.1\nHost: h\n\nrest", 24},
        {"a\n\r\nrest", 4},
        {"\n\n", 2},
        {"a\r\n\rb\r\n\r\nx", 9},
        {"a\r\n\r", 0},
        {"a\r\n", 0},
        {"", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str text = exact(str_from(rows[i].text));
        size_t scanned = 0;
        assert_int_equal(
            http1_head_end(text.ptr, text.len, &scanned), rows[i].end);
        scanned = 0;
        size_t end = 0;
        for (size_t n = 0; n <= text.len && end == 0; n++) {
            end = http1_head_end(text.ptr, n, &scanned);
            assert_true(end == 0 || end == n);
        }
        assert_int_equal(end, rows[i].end);
    }
    assert_int_equal(http1_skip_crlf("\r\nGET", 5), 2);
    assert_int_equal(http1_skip_crlf("\r", 1), 0);
    assert_int_equal(http1_skip_crlf("\nGET", 4), 0);
}

static void reads_answers(void **state)
{
    static const struct {
        const char *text;
        bool to_head;
        int status;
        enum http1_body body;
        bool keep_alive;
        bool good;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, 200,
            HTTP1_BODY_LENGTH, true, true},
        {"HTTP/1.1 200 \r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            false, 200, HTTP1_BODY_LENGTH, true, true},
        {"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n", false, 200,
            HTTP1_BODY_CHUNKED, true, true},
        {"HTTP/1.1 503 Service\tUnavailable\r\n\r\n", false, 503,
            HTTP1_BODY_CLOSE, false, true},
        {"HTTP/1.0 200 OK\r\n\r\n", false, 200, HTTP1_BODY_CLOSE, false, true},
        {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: "
         "1\r\n\r\n",
            false, 200, HTTP1_BODY_LENGTH, true, true},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            false, 200, HTTP1_BODY_NONE, false, true},
        {"HTTP/1.1 100 Continue\r\n\r\n", false, 100, HTTP1_BODY_NONE, true,
            true},
        {"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", false, 204,
            HTTP1_BODY_NONE, true, true},
        {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false, 304,
            HTTP1_BODY_NONE, true, true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true, 200,
            HTTP1_BODY_NONE, true, true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            .good = false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: "
         "chunked\r\n\r\n",
            .good = false},
        {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            .good = false},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", .good = false},
        {"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", .good = false},
        {"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n",
            .good = false},
        {"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n", .good = false},
        {"HTTP/1.1 99 X\r\n\r\n", .good = false},
        {"HTTP/1.1 600 X\r\n\r\n", .good = false},
        {"HTTP/1.1 2000 X\r\n\r\n", .good = false},
        {"HTTP/1.1  200 X\r\n\r\n", .good = false},
        {"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", .good = false},
        {"HTTP/1.1 200 OK\nA: b\n\n", .good = false},
        {"ICY 200 OK\r\n\r\n", .good = false},
        {"HTTP/1.1", .good = false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str text = exact(str_from(rows[i].text));
        struct http1_head head;
        struct http1_error error;
        enum err err = http1_parse_response(
            text.ptr, text.len, rows[i].to_head, &head, &error);
        if (err != (rows[i].good ? ERR_OK : ERR_SYNTAX))
            fail_msg("%s: %s", rows[i].text, err ? error.reason : "accepted");
        if (err)
            continue;
        assert_int_equal(head.status, rows[i].status);
        assert_int_equal(head.body, rows[i].body);
        assert_int_equal(head.keep_alive, rows[i].keep_alive);
    }
}

static void finds_tokens_in_lists(void **state)
{
    struct str text =
        STR(GET "Accept-Encoding: gzip, , BR\r\naccept-encoding: zstd\r\n\r\n");
    struct http1_head head;
    struct http1_error error;
    assert_int_equal(
        http1_parse_request(text.ptr, text.len, &head, &error), ERR_OK);
    assert_true(http1_has_token(&head, STR("Accept-Encoding"), STR("gzip")));
    assert_true(http1_has_token(&head, STR("Accept-Encoding"), STR("br")));
    assert_true(http1_has_token(&head, STR("Accept-Encoding"), STR("zstd")));
    assert_false(http1_has_token(&head, STR("Accept-Encoding"), STR("zip")));
    assert_false(http1_has_token(&head, STR("Accept"), STR("gzip")));
}

/* --- chunked ------------------------------------------------------------- */

/* Feeds `step` bytes at a time; the result, the body in out, bytes used. */
static enum http1_progress decode(
    struct str text, size_t step, struct buf *out, size_t *used_all)
{
    struct http1_chunked decoder = {0};
    enum http1_progress progress = HTTP1_MORE;
    size_t at = 0;

    while (at < text.len) {
        size_t stop = at + step < text.len ? at + step : text.len;
        while (at < stop) {
            size_t used;
            struct str data;
            progress = http1_chunked_next(
                &decoder, text.ptr + at, stop - at, &used, &data);
            at += used;
            if (progress == HTTP1_DATA)
                buf_append_str(out, data);
            *used_all = at;
            if (progress == HTTP1_DONE || progress == HTTP1_BAD)
                return progress;
        }
    }
    return progress == HTTP1_DATA ? HTTP1_MORE : progress;
}

static void decodes_chunks(void **state)
{
    static const struct {
        struct str text;
        enum http1_progress progress;
        const char *body;
    } rows[] = {
        {STR_INIT("5\r\nhello\r\n0\r\n\r\n"), HTTP1_DONE, "hello"},
        {STR_INIT("5\r\nhello\r\n000\r\n\r\nGET /"), HTTP1_DONE, "hello"},
        {STR_INIT("0\r\n\r\n"), HTTP1_DONE, ""},
        {STR_INIT("1\r\na\r\n1\r\nb\r\n00C\r\n0123456789ab\r\n0\r\n\r\n"),
            HTTP1_DONE, "ab0123456789ab"},
        {STR_INIT("1;a=b;c=\"d\"\r\na\r\n0;x\r\n\r\n"), HTTP1_DONE, "a"},
        {STR_INIT("1\r\na\r\n0\r\nX-T: v\r\nY:\tw x\r\n\r\n"), HTTP1_DONE, "a"},
        {STR_INIT("5\r\nhel"), HTTP1_MORE, "hel"},
        {STR_INIT("5\r\nhello\r\n"), HTTP1_MORE, "hello"},
        {STR_INIT("0\r\n"), HTTP1_MORE, ""},
        {STR_INIT("7fffffffffffffff\r\na"), HTTP1_MORE, "a"},
        {STR_INIT("0x5\r\nhello\r\n0\r\n\r\n"), HTTP1_BAD, ""},
        {STR_INIT("+5\r\nhello\r\n0\r\n\r\n"), HTTP1_BAD, ""},
        {STR_INIT("-5\r\nhello\r\n0\r\n\r\n"), HTTP1_BAD, ""},
        {STR_INIT("1_0\r\nhello\r\n0\r\n\r\n"), HTTP1_BAD, ""},
        {STR_INIT(" 5\r\nhello\r\n0\r\n\r\n"), HTTP1_BAD, ""},
        {STR_INIT("5 \r\nhello\r\n0\r\n\r\n"), HTTP1_BAD, ""},
        {STR_INIT("5 ;a\r\nhello\r\n0\r\n\r\n"), HTTP1_BAD, ""},
        {STR_INIT("5\t\r\nhello\r\n0\r\n\r\n"), HTTP1_BAD, ""},
        {STR_INIT("5\nhello\n0\n\n"), HTTP1_BAD, ""},
        {STR_INIT("5\rhello"), HTTP1_BAD, ""},
        {STR_INIT("\r\nhello"), HTTP1_BAD, ""},
        {STR_INIT(";a\r\nhello"), HTTP1_BAD, ""},
        {STR_INIT("5\r\nhelloX\r\n0\r\n\r\n"), HTTP1_BAD, "hello"},
        {STR_INIT("5\r\nhello\n0\r\n\r\n"), HTTP1_BAD, "hello"},
        {STR_INIT("5\r\nhello0\r\n\r\n"), HTTP1_BAD, "hello"},
        {STR_INIT("g\r\n"), HTTP1_BAD, ""},
        {STR_INIT("8000000000000000\r\n"), HTTP1_BAD, ""},
        {STR_INIT("00000000000000005\r\n"), HTTP1_BAD, ""},
        {STR_INIT("5;a\n\r\nhello"), HTTP1_BAD, ""},
        {STR_INIT("5;a\0\r\nhello"), HTTP1_BAD, ""},
        {STR_INIT("0\r\n\n"), HTTP1_BAD, ""},
        {STR_INIT("0\r\nA : b\r\n\r\n"), HTTP1_BAD, ""},
        {STR_INIT("0\r\n A: b\r\n\r\n"), HTTP1_BAD, ""},
        {STR_INIT("0\r\nA: b\r\n c\r\n\r\n"), HTTP1_BAD, ""},
        {STR_INIT("0\r\nA\r\n\r\n"), HTTP1_BAD, ""},
        {STR_INIT("0\r\n: b\r\n\r\n"), HTTP1_BAD, ""},
        {STR_INIT("0\r\nA: b\n\r\n"), HTTP1_BAD, ""},
        {STR_INIT("0\r\nA: \x01\r\n\r\n"), HTTP1_BAD, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t step = 1; step <= rows[i].text.len; step++) {
            struct buf out;
            size_t used;
            buf_init(&out, 4096);
            enum http1_progress progress =
                decode(exact(rows[i].text), step, &out, &used);
            if (progress != rows[i].progress ||
                !str_equal(buf_str(&out), str_from(rows[i].body)))
                fail_msg("row %zu step %zu: %d", i, step, (int)progress);
            if (progress == HTTP1_DONE && i != 1)
                assert_int_equal(used, rows[i].text.len);
            else if (progress == HTTP1_DONE)
                assert_int_equal(used, rows[i].text.len - 5);
            buf_fini(&out);
        }
    }
}

static void chunk_overhead_is_bounded(void **state)
{
    struct buf text, out;
    size_t used;

    buf_init(&text, 1 << 20);
    buf_init(&out, 1 << 20);
    for (int i = 0; i < 300; i++)
        buf_append_str(&text, STR("1;x\r\na\r\n"));
    assert_int_equal(decode(buf_str(&text), 4096, &out, &used), HTTP1_BAD);
    buf_clear(&text);
    buf_append_str(&text, STR("0\r\n"));
    for (int i = 0; i < 2000; i++)
        buf_append_str(&text, STR("A: b\r\n"));
    assert_int_equal(decode(buf_str(&text), 4096, &out, &used), HTTP1_BAD);
    buf_fini(&text);
    buf_fini(&out);
}

static void writes_chunks(void **state)
{
    struct buf out;
    buf_init(&out, 4096);
    http1_chunk_begin(&out, 0x1a2b);
    http1_chunk_end(&out);
    http1_chunk_last(&out);
    assert_string_equal(buf_cstr(&out), "1a2b\r\n\r\n0\r\n\r\n");
    buf_fini(&out);
}

static void dates_and_texts(void **state)
{
    char date[29];
    http1_date(date, INT64_C(784111777) * 1000000);
    assert_memory_equal(date, "Sun, 06 Nov 1994 08:49:37 GMT", 29);
    http1_date(date, 0);
    assert_memory_equal(date, "Thu, 01 Jan 1970 00:00:00 GMT", 29);
    assert_string_equal(http1_status_text(429), "Too Many Requests");
    assert_string_equal(http1_status_text(299), "Unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_request),
        cmocka_unit_test(bodies_and_keep_alive),
        cmocka_unit_test(refuses_smuggling_shapes),
        cmocka_unit_test(limits_of_heads),
        cmocka_unit_test(head_end_byte_by_byte),
        cmocka_unit_test(reads_answers),
        cmocka_unit_test(finds_tokens_in_lists),
        cmocka_unit_test(decodes_chunks),
        cmocka_unit_test(chunk_overhead_is_bounded),
        cmocka_unit_test(writes_chunks),
        cmocka_unit_test(dates_and_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
