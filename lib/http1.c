/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/http1.c - strict heads of HTTP/1 messages.
 *
 * One rule for every doubt: a head that two implementations might read
 * differently is refused. The bodies of chunked messages are http1_chunked.c,
 * event streams sse.c. */
#include "lib/http1.h"

#include "lib/clock.h"
#include "lib/http1_priv.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define METHOD_MAX 32u
#define TARGET_MAX 8192u

/* clang-format off */
const uint8_t http1_token_bytes[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1,
    ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1, ['^'] = 1, ['_'] = 1,
    ['`'] = 1, ['|'] = 1, ['~'] = 1, ['0' ... '9'] = 1,
    ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};
/* clang-format on */

struct reader {
    const char *p;
    const char *end;
    struct http1_head *head;
    struct http1_error *error;
    bool request;
    unsigned hosts;
    unsigned lengths;
    unsigned codings;
    bool close; /* Connection: close */
    bool keep;  /* Connection: keep-alive */
};

static __attribute__((cold)) enum err refuse(
    struct reader *r, int status, const char *reason)
{
    if (r->error)
        *r->error = (struct http1_error){status, reason};
    return ERR_SYNTAX;
}

/* --- where the head ends ------------------------------------------------- */

/* An empty line ends the head, however its line ends look: a head with bare
 * LFs must come to the parser's refusal, not wait for a CRLF. */
size_t http1_head_end(const char *bytes, size_t n, size_t *scanned)
{
    size_t at = *scanned;

    while (at < n) {
        const char *found = memchr(bytes + at, '\n', n - at);
        if (!found) {
            *scanned = n;
            return 0;
        }
        size_t line = (size_t)(found - bytes) + 1;
        if (line < n && bytes[line] == '\n')
            return line + 1;
        if (line + 1 < n && bytes[line] == '\r' && bytes[line + 1] == '\n')
            return line + 2;
        if (line == n || (line + 1 == n && bytes[line] == '\r')) {
            *scanned = line - 1; /* look at this LF again */
            return 0;
        }
        at = line;
    }
    *scanned = at;
    return 0;
}

size_t http1_skip_crlf(const char *bytes, size_t n)
{
    return n >= 2 && bytes[0] == '\r' && bytes[1] == '\n' ? 2 : 0;
}

/* --- header lines -------------------------------------------------------- */

/* The first control byte (tab included) or DEL at or behind p. */
static inline const char *value_end(const char *p, const char *end)
{
#ifdef __SSE2__
    const __m128i control = _mm_set1_epi8(0x1f);
    const __m128i del = _mm_set1_epi8(0x7f);
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(v, control), v),
            _mm_cmpeq_epi8(v, del));
        unsigned mask = (unsigned)_mm_movemask_epi8(stop);
        if (mask)
            return p + __builtin_ctz(mask);
        p += 16;
    }
#endif
    while (p < end && (unsigned char)*p >= 0x20 && *p != 0x7f)
        p++;
    return p;
}

/* p stands at a CR or at a byte that has no place: over the CRLF. */
static enum err line_end(struct reader *r)
{
    if (r->p == r->end)
        return refuse(r, 400, "the head ends inside a line");
    if (*r->p == '\n')
        return refuse(r, 400, "a line ends with LF instead of CRLF");
    if (*r->p == '\0')
        return refuse(r, 400, "a NUL byte in the head");
    if (*r->p != '\r')
        return refuse(r, 400, "a forbidden character in the head");
    if (r->end - r->p < 2 || r->p[1] != '\n')
        return refuse(r, 400, "a CR without LF in the head");
    r->p += 2;
    return ERR_OK;
}

static enum err read_header(struct reader *r, struct http1_header *header)
{
    const char *start = r->p;

    if (*start == ' ' || *start == '\t')
        return refuse(r, 400, "a folded header line");
    while (r->p < r->end && http1_is_token_byte(*r->p))
        r->p++;
    if (r->p == r->end || *r->p != ':') {
        if (r->p < r->end && (*r->p == ' ' || *r->p == '\t'))
            return refuse(r, 400, "space before a header's colon");
        if (r->p < r->end && (*r->p == '\r' || *r->p == '\n'))
            return refuse(r, 400, "a header line without a colon");
        return refuse(r, 400, "a header name with a forbidden character");
    }
    if (r->p == start)
        return refuse(r, 400, "a header without a name");
    header->name = str_make(start, (size_t)(r->p - start));
    r->p++;
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t'))
        r->p++;
    start = r->p;
    r->p = value_end(r->p, r->end);
    while (r->p < r->end && *r->p == '\t')
        r->p = value_end(r->p + 1, r->end);
    const char *stop = r->p;
    while (stop > start && (stop[-1] == ' ' || stop[-1] == '\t'))
        stop--;
    header->value = str_make(start, (size_t)(stop - start));
    return line_end(r);
}

/* --- the headers that framing depends on --------------------------------- */

static inline bool is_named(const struct http1_header *header, struct str name)
{
    return header->name.len == name.len && str_equal_nocase(header->name, name);
}

static bool host_is_valid(struct str host)
{
    static const char extra[] = "-._~!$&'()*+,;=:[]%";

    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
            (c >= 'A' && c <= 'Z'))
            continue;
        if (c == '\0' || !strchr(extra, c))
            return false;
    }
    return host.len > 0;
}

static enum err take_host(struct reader *r, struct str value)
{
    if (r->hosts++)
        return refuse(r, 400, "two Host headers");
    if (r->request && !host_is_valid(value))
        return refuse(r, 400, "a Host that is no host name");
    r->head->host = value;
    return ERR_OK;
}

static enum err take_length(struct reader *r, struct str value)
{
    uint64_t length;

    if (value.len > 19 || str_to_u64(value, &length))
        return refuse(r, 400, "a Content-Length that is no number");
    if (r->lengths++ && (r->request || length != r->head->content_length))
        return refuse(r, 400, "two Content-Length headers");
    r->head->content_length = length;
    return ERR_OK;
}

static enum err take_coding(struct reader *r, struct str value)
{
    if (r->codings++)
        return refuse(r, 400, "two Transfer-Encoding headers");
    if (!str_equal_nocase(value, STR("chunked")))
        return refuse(r, 400, "a transfer coding other than chunked");
    return ERR_OK;
}

static void take_connection(struct reader *r, struct str value)
{
    struct str item, rest = value;

    do {
        str_split(rest, ',', &item, &rest);
        item = str_trim(item);
        if (str_equal_nocase(item, STR("close")))
            r->close = true;
        else if (str_equal_nocase(item, STR("keep-alive")))
            r->keep = true;
    } while (rest.len > 0);
}

static enum err take_expect(struct reader *r, struct str value)
{
    if (!r->request || r->head->minor == 0)
        return ERR_OK; /* RFC 9110 10.1.1: ignored in HTTP/1.0 */
    if (!str_equal_nocase(value, STR("100-continue")))
        return refuse(r, 417, "an expectation other than 100-continue");
    r->head->expect_continue = true;
    return ERR_OK;
}

static enum err take_header(struct reader *r, const struct http1_header *header)
{
    switch (header->name.len) {
    case 4:
        if (is_named(header, STR("host")))
            return take_host(r, header->value);
        break;
    case 6:
        if (is_named(header, STR("expect")))
            return take_expect(r, header->value);
        break;
    case 10:
        if (is_named(header, STR("connection")))
            take_connection(r, header->value);
        break;
    case 14:
        if (is_named(header, STR("content-length")))
            return take_length(r, header->value);
        break;
    case 17:
        if (is_named(header, STR("transfer-encoding")))
            return take_coding(r, header->value);
        break;
    default:
        break;
    }
    return ERR_OK;
}

/* All header lines and the empty line, which must be the last bytes. */
static enum err read_headers(struct reader *r)
{
    struct http1_head *head = r->head;
    enum err err;

    for (;;) {
        if (r->p == r->end)
            return refuse(r, 400, "the head ends without an empty line");
        if (*r->p == '\r' || *r->p == '\n')
            break;
        if (head->header_count == HTTP1_HEADERS_MAX)
            return refuse(r, 431, "too many headers");
        struct http1_header *header = &head->headers[head->header_count];
        err = read_header(r, header);
        if (err)
            return err;
        err = take_header(r, header);
        if (err)
            return err;
        head->header_count++;
    }
    err = line_end(r);
    if (err)
        return err;
    if (r->p != r->end)
        return refuse(r, 400, "bytes behind the head");
    if (r->lengths && r->codings)
        return refuse(r, 400, "Content-Length beside Transfer-Encoding");
    if (r->codings && head->minor == 0)
        return refuse(r, 400, "Transfer-Encoding in HTTP/1.0");
    head->keep_alive = !r->close && (head->minor == 1 || r->keep);
    return ERR_OK;
}

/* --- first lines --------------------------------------------------------- */

/* "HTTP/1.0" or "HTTP/1.1" at p. */
static enum err read_version(struct reader *r)
{
    if (r->end - r->p < 8 || memcmp(r->p, "HTTP/", 5) != 0 || r->p[5] < '0' ||
        r->p[5] > '9' || r->p[6] != '.' || r->p[7] < '0' || r->p[7] > '9')
        return refuse(r, 400, "a malformed HTTP version");
    if (r->p[5] != '1' || r->p[7] > '1')
        return refuse(r, 505, "an HTTP version other than 1.0 and 1.1");
    r->head->minor = r->p[7] - '0';
    r->p += 8;
    return ERR_OK;
}

static enum err read_target(struct reader *r)
{
    const char *start = r->p;

    while (r->p<r->end && * r->p> 0x20 && *r->p < 0x7f)
        r->p++;
    size_t n = (size_t)(r->p - start);
    if (r->p == r->end || *r->p != ' ')
        return refuse(r, 400, "a target with a forbidden character");
    if (n == 0)
        return refuse(r, 400, "a request line with a stray space");
    if (n > TARGET_MAX)
        return refuse(r, 414, "a target of more than 8192 bytes");
    if (*start != '/')
        return refuse(r, 400, "a target that does not begin with /");
    if (memchr(start, '#', n))
        return refuse(r, 400, "a target with a fragment");
    r->head->target = str_make(start, n);
    str_split(r->head->target, '?', &r->head->path, &r->head->query);
    r->p++;
    return ERR_OK;
}

static enum err read_request_line(struct reader *r)
{
    const char *start = r->p;

    while (r->p < r->end && http1_is_token_byte(*r->p))
        r->p++;
    r->head->method = str_make(start, (size_t)(r->p - start));
    if (r->p == start)
        return refuse(r, 400, "a request line without a method");
    if (r->p == r->end || *r->p != ' ' || r->head->method.len > METHOD_MAX)
        return refuse(r, 400, "a malformed method");
    if (str_equal(r->head->method, STR("CONNECT")))
        return refuse(r, 405, "CONNECT is not offered");
    r->p++;
    enum err err = read_target(r);
    if (err)
        return err;
    err = read_version(r);
    if (err)
        return err;
    return line_end(r);
}

static enum err read_status_line(struct reader *r)
{
    enum err err = read_version(r);
    if (err)
        return err;
    if (r->end - r->p < 5 || *r->p != ' ')
        return refuse(r, 400, "a malformed status line");
    int status = 0;
    for (int i = 1; i <= 3; i++) {
        if (r->p[i] < '0' || r->p[i] > '9')
            return refuse(r, 400, "a malformed status");
        status = status * 10 + (r->p[i] - '0');
    }
    if (status < 100 || status > 599)
        return refuse(r, 400, "a status outside 100 to 599");
    r->head->status = status;
    r->p += 4;
    if (*r->p == ' ') {
        const char *start = ++r->p;
        r->p = value_end(r->p, r->end);
        while (r->p < r->end && *r->p == '\t')
            r->p = value_end(r->p + 1, r->end);
        r->head->reason = str_make(start, (size_t)(r->p - start));
    }
    return line_end(r);
}

static void begin(struct reader *r, struct http1_head *head, const char *bytes,
    size_t n, struct http1_error *error)
{
    *r = (struct reader){
        .p = bytes, .end = bytes + n, .head = head, .error = error};
    /* the table of headers is long; only what is counted is ever read */
    memset(head, 0, offsetof(struct http1_head, headers));
    head->size = n;
}

enum err http1_parse_request(const char *bytes, size_t n,
    struct http1_head *out, struct http1_error *error)
{
    struct reader r;

    begin(&r, out, bytes, n, error);
    r.request = true;
    enum err err = read_request_line(&r);
    if (err)
        return err;
    err = read_headers(&r);
    if (err)
        return err;
    if (r.hosts == 0 && out->minor == 1)
        return refuse(&r, 400, "no Host header");
    if (r.codings)
        out->body = HTTP1_BODY_CHUNKED;
    else if (out->content_length > 0)
        out->body = HTTP1_BODY_LENGTH;
    return ERR_OK;
}

enum err http1_parse_response(const char *bytes, size_t n, bool to_head,
    struct http1_head *out, struct http1_error *error)
{
    struct reader r;

    begin(&r, out, bytes, n, error);
    enum err err = read_status_line(&r);
    if (err)
        return err;
    err = read_headers(&r);
    if (err)
        return err;
    if (out->status == 101)
        return refuse(&r, 400, "101 though no upgrade was asked for");
    bool bodiless = out->status < 200 || out->status == 204;
    if (bodiless && (r.codings || out->content_length > 0))
        return refuse(&r, 400, "a body announced by a status without one");
    if (bodiless || out->status == 304 || to_head) {
        out->body = HTTP1_BODY_NONE;
    } else if (r.codings) {
        out->body = HTTP1_BODY_CHUNKED;
    } else if (r.lengths) {
        out->body = out->content_length ? HTTP1_BODY_LENGTH : HTTP1_BODY_NONE;
    } else {
        out->body = HTTP1_BODY_CLOSE;
        out->keep_alive = false;
    }
    return ERR_OK;
}

/* --- looking at a head --------------------------------------------------- */

const struct http1_header *http1_find(
    const struct http1_head *head, struct str name)
{
    for (unsigned i = 0; i < head->header_count; i++)
        if (is_named(&head->headers[i], name))
            return &head->headers[i];
    return NULL;
}

unsigned http1_count(const struct http1_head *head, struct str name)
{
    unsigned count = 0;

    for (unsigned i = 0; i < head->header_count; i++)
        count += is_named(&head->headers[i], name);
    return count;
}

bool http1_has_token(
    const struct http1_head *head, struct str name, struct str token)
{
    for (unsigned i = 0; i < head->header_count; i++) {
        if (!is_named(&head->headers[i], name))
            continue;
        struct str item, rest = head->headers[i].value;
        do {
            str_split(rest, ',', &item, &rest);
            if (str_equal_nocase(str_trim(item), token))
                return true;
        } while (rest.len > 0);
    }
    return false;
}

/* --- small writers ------------------------------------------------------- */

static const struct {
    int status;
    const char *text;
} status_texts[] = {
    {100, "Continue"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

const char *http1_status_text(int status)
{
    for (size_t i = 0; i < sizeof status_texts / sizeof *status_texts; i++)
        if (status_texts[i].status == status)
            return status_texts[i].text;
    return "Unknown";
}

static char *two_digits(char *p, int value)
{
    *p++ = (char)('0' + value / 10 % 10);
    *p++ = (char)('0' + value % 10);
    return p;
}

void http1_date(char out[29], int64_t time_us)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct clock_civil civil;
    char *p = out;

    clock_civil_utc(time_us, &civil);
    memcpy(p, days + 3 * civil.weekday, 3);
    memcpy(p + 3, ", ", 2);
    p = two_digits(p + 5, civil.day);
    *p++ = ' ';
    memcpy(p, months + 3 * (civil.month - 1), 3);
    p += 3;
    *p++ = ' ';
    p = two_digits(p, civil.year / 100);
    p = two_digits(p, civil.year % 100);
    *p++ = ' ';
    p = two_digits(p, civil.hour);
    *p++ = ':';
    p = two_digits(p, civil.minute);
    *p++ = ':';
    p = two_digits(p, civil.second);
    memcpy(p, " GMT", 4);
}
