/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/http1.h - strict HTTP/1.1 heads and chunked bodies (RFC 9110, 9112).
 *
 * One parser for both directions, for callers and for plain-HTTP engines.
 * Strict: CRLF only, no obs-fold, no space before the colon, token names,
 * field values of visible characters, space, tab and obs-text, exactly one
 * Host (HTTP/1.1), no Content-Length beside Transfer-Encoding, repeated
 * Content-Length refused, the only transfer coding is `chunked` (and not in
 * HTTP/1.0), method and target without control bytes or spaces, target in
 * origin-form (absolute-form refused), no NUL anywhere. Pure; borrows the
 * bytes; any thread. Reparses from the start when more bytes come, but looks
 * for the end of the head from where it left off (http1_head_end). */
#ifndef LIB_HTTP1_H
#define LIB_HTTP1_H

#include "lib/buf.h"

#define HTTP1_HEADERS_MAX 100

struct http1_header {
    struct str name;  /* as sent */
    struct str value; /* without white space around it */
};

enum http1_body {
    HTTP1_BODY_NONE, /* also for a Content-Length of 0 */
    HTTP1_BODY_LENGTH,
    HTTP1_BODY_CHUNKED,
    HTTP1_BODY_CLOSE /* answers only: until the peer closes */
};

struct http1_head {
    /* request */
    struct str method;
    struct str target; /* path and query as sent */
    struct str path;
    struct str query; /* without '?'; empty if none */
    struct str host;
    bool expect_continue;
    /* answer */
    int status;
    struct str reason;
    /* both */
    int minor;       /* HTTP/1.minor: 0 or 1 */
    bool keep_alive; /* the sender lets the connection live on */
    enum http1_body body;
    uint64_t content_length;
    size_t size; /* bytes of the head with its empty line */
    unsigned header_count;
    struct http1_header headers[HTTP1_HEADERS_MAX];
};

struct http1_error {
    int status;         /* for a caller: 400, 405, 414, 417, 431, 501, 505 */
    const char *reason; /* static, for people: "two Host headers" */
};

/* Where the head ends (offset just past its empty line), or 0 when more bytes
 * are needed. *scanned remembers progress between calls on a growing buffer;
 * start with 0. */
size_t http1_head_end(const char *bytes, size_t n, size_t *scanned);

/* bytes[0..n) is a whole head as found by http1_head_end. ERR_SYNTAX with
 * *error filled. Leading empty lines before a request are refused by the
 * parser (http1_skip_crlf tells how many bytes to drop first, at most 2). */
enum err http1_parse_request(const char *bytes, size_t n,
    struct http1_head *out, struct http1_error *error) MUSTCHECK;
/* `to_head` is true when the request was a HEAD (no body then). 1xx, 204 and
 * 304 have none. Two differing Content-Length or an unknown coding: error. */
enum err http1_parse_response(const char *bytes, size_t n, bool to_head,
    struct http1_head *out, struct http1_error *error) MUSTCHECK;
size_t http1_skip_crlf(const char *bytes, size_t n);

/* First header of that name (case-insensitive), or NULL. */
const struct http1_header *http1_find(
    const struct http1_head *head, struct str name);
/* How many headers have that name. */
unsigned http1_count(const struct http1_head *head, struct str name);
/* True when the comma-separated values of `name` hold the token (no case). */
bool http1_has_token(
    const struct http1_head *head, struct str name, struct str token);

/* Chunked decoding. Feed bytes; each call yields at most one run of body
 * bytes. Zero-initialised is ready. Strict: hex digits only (at most 16), CRLF,
 * extensions skipped up to 256 bytes in all, trailers checked and dropped up to
 * 8 KiB. */
struct http1_chunked {
    uint64_t left;
    uint32_t extra; /* bytes of extensions or trailers seen */
    uint8_t state;
    uint8_t digits;
};
enum http1_progress { HTTP1_MORE, HTTP1_DATA, HTTP1_DONE, HTTP1_BAD };
/* *used: bytes consumed from `bytes`; *data: the run (within bytes) when the
 * result is HTTP1_DATA. After HTTP1_DONE the rest belongs to the next
 * message. */
enum http1_progress http1_chunked_next(struct http1_chunked *decoder,
    const char *bytes, size_t n, size_t *used, struct str *data);

/* "1a2b\r\n" before and "\r\n" after n > 0 bytes. */
void http1_chunk_begin(struct buf *out, size_t n);
void http1_chunk_end(struct buf *out);
void http1_chunk_last(struct buf *out); /* "0\r\n\r\n" */

const char *http1_status_text(int status);
/* "Sun, 06 Nov 1994 08:49:37 GMT" (IMF-fixdate), 29 characters, no NUL. */
void http1_date(char out[29], int64_t time_us);

/* Server-sent events (WHATWG HTML 9.2): splits a byte stream into events at
 * empty lines, any mix of CR, LF, CRLF. An event without a data line has
 * data.ptr NULL. */
struct sse_event {
    struct str raw;  /* the event's bytes with its empty line */
    struct str name; /* the value of `event:`, or empty */
    struct str data; /* data lines, joined with \n when there are several */
    bool comment_only;
};
struct sse_parser {
    struct buf buffer; /* what has come and was not yet taken */
    struct buf joined; /* space for multi-line data */
    size_t taken;      /* bytes of the last event, dropped at the next call */
    size_t line;       /* start of the line that is being looked at */
    size_t scanned;    /* no line end before this */
    bool after_cr;     /* the last event ended with CR: a LF may belong to it */
    bool started;      /* past the place of a byte order mark */
};
/* Events longer than max_event bytes: ERR_LIMIT from sse_next. Call sse_next
 * until ERR_AGAIN after each feed: more than a MiB that was not taken is
 * ERR_LIMIT from sse_feed. */
void sse_init(struct sse_parser *p, size_t max_event);
void sse_fini(struct sse_parser *p);
enum err sse_feed(struct sse_parser *p, struct str bytes) MUSTCHECK;
/* ERR_OK with *event (valid until the next call on p), ERR_AGAIN, ERR_LIMIT. */
enum err sse_next(struct sse_parser *p, struct sse_event *event) MUSTCHECK;

#endif
