/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/sse.c - splitting a stream of server-sent events (WHATWG HTML 9.2.6).
 *
 * An event is given as soon as its empty line is there, also when that line
 * ends with a CR whose LF may still come: such an LF is then put before the
 * next event's bytes, so that everything is relayed and nothing waits. */
#include "lib/http1.h"

#define FEED_MAX                                                               \
    ((size_t)1 << 20) /* beyond max_event, between two sse_next                \
                       */

void sse_init(struct sse_parser *p, size_t max_event)
{
    memset(p, 0, sizeof *p);
    buf_init(&p->buffer, max_event + FEED_MAX);
    buf_init(&p->joined, max_event);
}

void sse_fini(struct sse_parser *p)
{
    buf_fini(&p->buffer);
    buf_fini(&p->joined);
}

enum err sse_feed(struct sse_parser *p, struct str bytes)
{
    if (bytes.len == 0)
        return ERR_OK;
    if (p->taken) {
        buf_consume(&p->buffer, p->taken);
        p->taken = 0;
    }
    if (p->buffer.len + bytes.len > p->buffer.max)
        return ERR_LIMIT;
    buf_append_str(&p->buffer, bytes);
    return p->buffer.failed ? ERR_NOMEM : ERR_OK;
}

/* The length of the line at `from`, and past its end; false when its end has
 * not come. Starts looking at p->scanned. */
static bool find_line(struct sse_parser *p, struct str all, size_t from,
    size_t *length, size_t *next)
{
    size_t at = p->scanned > from ? p->scanned : from;

    while (at < all.len && all.ptr[at] != '\n' && all.ptr[at] != '\r')
        at++;
    p->scanned = at;
    if (at == all.len)
        return false;
    *length = at - from;
    *next = at + 1;
    if (all.ptr[at] != '\r')
        return true;
    if (*next < all.len)
        *next += all.ptr[*next] == '\n';
    else if (*length > 0)
        return false; /* a LF behind it would look like an empty line */
    return true;
}

static void take_line(struct sse_parser *p, struct str line,
    struct sse_event *event, unsigned *data_lines)
{
    struct str name, value;

    if (line.len == 0 || line.ptr[0] == ':')
        return;
    event->comment_only = false;
    str_split(line, ':', &name, &value);
    if (value.len > 0 && value.ptr[0] == ' ')
        value = str_make(value.ptr + 1, value.len - 1);
    if (str_equal(name, STR("event"))) {
        event->name = value;
        return;
    }
    if (!str_equal(name, STR("data")))
        return;
    if (++*data_lines == 1) {
        event->data = str_make(value.ptr ? value.ptr : line.ptr, value.len);
        return;
    }
    if (*data_lines == 2) {
        buf_clear(&p->joined);
        buf_append_str(&p->joined, event->data);
    }
    buf_append_char(&p->joined, '\n');
    buf_append_str(&p->joined, value);
}

/* Reads the fields of the lines in raw[from..). */
static enum err read_fields(
    struct sse_parser *p, size_t from, struct sse_event *event)
{
    const char *at = event->raw.ptr + from;
    const char *end = event->raw.ptr + event->raw.len;
    unsigned data_lines = 0;

    event->name = event->data = str_make(NULL, 0);
    event->comment_only = true;
    if (!p->started && end - at >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0)
        at += 3;
    p->started = true;
    while (at < end) {
        const char *stop = at;
        while (*stop != '\n' && *stop != '\r')
            stop++;
        take_line(p, str_make(at, (size_t)(stop - at)), event, &data_lines);
        at = stop + 1;
        if (*stop == '\r' && at < end && *at == '\n')
            at++;
    }
    if (data_lines > 1) {
        if (p->joined.failed)
            return ERR_NOMEM;
        event->data = buf_str(&p->joined);
    }
    return ERR_OK;
}

enum err sse_next(struct sse_parser *p, struct sse_event *event)
{
    size_t length, next;

    if (p->taken) {
        buf_consume(&p->buffer, p->taken);
        p->taken = 0;
    }
    struct str all = buf_str(&p->buffer);
    size_t first = p->after_cr && all.len > 0 && all.ptr[0] == '\n';
    if (p->line < first)
        p->line = first;
    while (find_line(p, all, p->line, &length, &next)) {
        p->line = next;
        if (length > 0)
            continue;
        if (next > p->joined.max)
            return ERR_LIMIT;
        event->raw = str_make(all.ptr, next);
        enum err err = read_fields(p, first, event);
        p->after_cr = all.ptr[next - 1] == '\r';
        p->taken = next;
        p->line = p->scanned = 0;
        return err;
    }
    return all.len > p->joined.max ? ERR_LIMIT : ERR_AGAIN;
}
