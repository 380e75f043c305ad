/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/http1_chunked.c - the chunked transfer coding (RFC 9112 section 7).
 *
 *   SIZE -> EXTENSION? -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE ...
 *                            `-> (size 0) TRAILER -> NAME -> VALUE -> LF -.
 *                                  ^  `-> LAST_LF -> DONE                 |
 *                                  `--------------------------------------'
 * Extensions are counted over the whole body, so that a body of tiny chunks
 * with long extensions cannot make us read hundreds of bytes for each one. */
#include "lib/http1.h"

#include "lib/http1_priv.h"

#define EXTENSIONS_MAX 256u
#define TRAILERS_MAX 8192u
#define DIGITS_MAX 16

enum state {
    SIZE = 0, /* zero-initialised is ready */
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER,
    NAME,
    VALUE,
    VALUE_LF,
    LAST_LF,
    DONE,
    BAD
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static enum state size_byte(struct http1_chunked *d, char c)
{
    int digit = hex_digit(c);

    if (digit >= 0) {
        /* 2^63 and more: refused, so that sums of sizes stay in range */
        if (d->digits == DIGITS_MAX || d->left >> 59)
            return BAD;
        d->digits++;
        d->left = d->left * 16 + (unsigned)digit;
        return SIZE;
    }
    if (d->digits == 0)
        return BAD;
    if (c == '\r')
        return SIZE_LF;
    if (c == ';')
        return EXTENSION;
    return BAD;
}

static enum state extension_byte(struct http1_chunked *d, char c)
{
    if (c == '\r')
        return SIZE_LF;
    if (!http1_is_value_byte(c) || ++d->extra > EXTENSIONS_MAX)
        return BAD;
    return EXTENSION;
}

static enum state size_ends(struct http1_chunked *d, char c)
{
    if (c != '\n')
        return BAD;
    d->digits = 0;
    if (d->left > 0)
        return DATA;
    d->extra = 0;
    return TRAILER;
}

static enum state trailer_byte(struct http1_chunked *d, char c)
{
    if (++d->extra > TRAILERS_MAX)
        return BAD;
    switch ((enum state)d->state) {
    case TRAILER:
        if (c == '\r')
            return LAST_LF;
        return http1_is_token_byte(c) ? NAME : BAD;
    case NAME:
        if (c == ':')
            return VALUE;
        return http1_is_token_byte(c) ? NAME : BAD;
    case VALUE:
        if (c == '\r')
            return VALUE_LF;
        return http1_is_value_byte(c) ? VALUE : BAD;
    case VALUE_LF:
        return c == '\n' ? TRAILER : BAD;
    case LAST_LF:
        return c == '\n' ? DONE : BAD;
    case SIZE:
    case EXTENSION:
    case SIZE_LF:
    case DATA:
    case DATA_CR:
    case DATA_LF:
    case DONE:
    case BAD:
        break;
    }
    return BAD;
}

static enum state control_byte(struct http1_chunked *d, char c)
{
    switch ((enum state)d->state) {
    case SIZE:
        return size_byte(d, c);
    case EXTENSION:
        return extension_byte(d, c);
    case SIZE_LF:
        return size_ends(d, c);
    case DATA_CR:
        return c == '\r' ? DATA_LF : BAD;
    case DATA_LF:
        return c == '\n' ? SIZE : BAD;
    case TRAILER:
    case NAME:
    case VALUE:
    case VALUE_LF:
    case LAST_LF:
        return trailer_byte(d, c);
    case DATA:
    case DONE:
    case BAD:
        break;
    }
    return BAD;
}

enum http1_progress http1_chunked_next(struct http1_chunked *decoder,
    const char *bytes, size_t n, size_t *used, struct str *data)
{
    size_t at = 0;

    *data = str_make(NULL, 0);
    while (decoder->state != DONE && decoder->state != BAD && at < n) {
        if (decoder->state == DATA) {
            size_t run = n - at;
            if (run > decoder->left)
                run = (size_t)decoder->left;
            *data = str_make(bytes + at, run);
            decoder->left -= run;
            if (decoder->left == 0)
                decoder->state = DATA_CR;
            *used = at + run;
            return HTTP1_DATA;
        }
        decoder->state = (uint8_t)control_byte(decoder, bytes[at++]);
    }
    *used = at;
    if (decoder->state == DONE)
        return HTTP1_DONE;
    return decoder->state == BAD ? HTTP1_BAD : HTTP1_MORE;
}

void http1_chunk_begin(struct buf *out, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    char text[18];
    size_t at = sizeof text;

    text[--at] = '\n';
    text[--at] = '\r';
    do {
        text[--at] = hex[n & 15];
        n >>= 4;
    } while (n > 0);
    buf_append(out, text + at, sizeof text - at);
}

void http1_chunk_end(struct buf *out)
{
    buf_append(out, "\r\n", 2);
}

void http1_chunk_last(struct buf *out)
{
    buf_append(out, "0\r\n\r\n", 5);
}
