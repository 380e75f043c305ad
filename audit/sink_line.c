/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/sink_line.c - an entry as a line of JSON or as a syslog message. */
#include "audit/sink_priv.h"

#include "audit/event.h"
#include "lib/arena.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define LINE_MAX (512u << 10)
#define FACILITY_LOG_AUDIT 13 /* RFC 5424, 6.2.1 */
#define SEVERITY_WARNING 4
#define SEVERITY_NOTICE 5
#define SEVERITY_INFORMATIONAL 6
#define SEQUENCE_MAX UINT64_C(2147483647) /* of meta.sequenceId, 7.3.1 */

enum err sink_line_init(struct sink_line *line,
    const struct sink_target *target, struct str log_name, struct errinfo *info)
{
    memset(line, 0, sizeof(*line));
    line->target = target;
    snprintf(line->log_name, sizeof(line->log_name), "%.*s", STR_ARG(log_name));
    if (gethostname(line->host, sizeof(line->host) - 1) != 0 ||
        line->host[0] == '\0')
        memcpy(line->host, "-", 2);
    buf_init(&line->message, LINE_MAX);
    buf_init(&line->framed, LINE_MAX);
    return sink_line_reset(line, info);
}

void sink_line_fini(struct sink_line *line)
{
    audit_ocsf_free(&line->ocsf);
    buf_fini(&line->message);
    buf_fini(&line->framed);
}

enum err sink_line_reset(struct sink_line *line, struct errinfo *info)
{
    if (line->target->format != SINK_OCSF)
        return ERR_OK;
    audit_ocsf_free(&line->ocsf);
    line->ocsf = audit_ocsf_new(str_from(line->log_name));
    return line->ocsf != NULL ? ERR_OK
                              : errinfo_set(info, ERR_NOMEM, "out of memory");
}

/* The text of member `name` at the top level, by its place: entries are
 * canonical, and "time", "type" and "v" are their last members. */
static struct str last_text(struct str entry, const char *name)
{
    char mark[32];
    size_t n = (size_t)snprintf(mark, sizeof(mark), ",\"%s\":\"", name);
    for (size_t at = entry.len; at >= n; at--) {
        if (memcmp(entry.ptr + at - n, mark, n) != 0)
            continue;
        const char *end = memchr(entry.ptr + at, '"', entry.len - at);
        return end != NULL
                   ? str_make(entry.ptr + at, (size_t)(end - entry.ptr) - at)
                   : STR("");
    }
    return STR("");
}

static int severity_of(struct str type)
{
    if (str_ends(type, STR(".down")) || str_ends(type, STR(".failed")))
        return SEVERITY_WARNING;
    return str_ends(type, STR(".denied")) ? SEVERITY_NOTICE
                                          : SEVERITY_INFORMATIONAL;
}

/* Printable ASCII without spaces, or "-" (NILVALUE). */
static void append_field(struct buf *out, struct str text, size_t most)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len && n < most; i++, n++) {
        unsigned char c = (unsigned char)text.ptr[i];
        buf_append_char(out, c > 0x20 && c < 0x7f ? (char)c : '?');
    }
    if (n == 0)
        buf_append_char(out, '-');
}

/* RFC 5424: <PRI>1 TIME HOST APP PROCID MSGID [SD] MSG. The message is JSON
 * and plain ASCII or UTF-8 without a mark of its byte order, which JSON
 * forbids (RFC 8259, 8.1). */
static void append_syslog(struct sink_line *line, uint64_t index,
    struct str entry, struct str message, struct buf *out)
{
    struct str type = last_text(entry, "type"), time = last_text(entry, "time");
    struct buf *framed = &line->framed;
    buf_clear(framed);
    buf_printf(framed, "<%d>1 ", FACILITY_LOG_AUDIT * 8 + severity_of(type));
    append_field(framed, time, 32);
    buf_append_char(framed, ' ');
    append_field(framed, str_from(line->host), 255);
    buf_append_str(framed, STR(" bailiff - "));
    append_field(framed, type, 32);
    buf_printf(framed,
        " [meta sequenceId=\"%" PRIu64
        "\"][origin software=\"bailiff\" swVersion=\"%s\"] ",
        index % SEQUENCE_MAX + 1, BAILIFF_VERSION);
    buf_append_str(framed, message);
    buf_printf(out, "%zu ", buf_str(framed).len); /* RFC 6587, 3.4.1 */
    buf_append_str(out, buf_str(framed));
}

enum err sink_line_write(struct sink_line *line, uint64_t index,
    struct str entry, struct buf *out, struct errinfo *info)
{
    struct buf *message = &line->message;
    enum err err = ERR_OK;
    buf_clear(message);
    if (line->target->format == SINK_OCSF) {
        err = audit_ocsf_entry(line->ocsf, index, entry, message, info);
    } else {
        buf_append_str(message, STR("{\"entry\":"));
        buf_append_str(message, entry);
        buf_printf(message, ",\"index\":%" PRIu64 "}\n", index);
    }
    if (err != ERR_OK)
        return err;
    struct str text = buf_str(message);
    if (line->target->kind == SINK_HTTPS)
        buf_append_str(out, text);
    else
        append_syslog(
            line, index, entry, str_make(text.ptr, text.len - 1), out);
    return message->failed || line->framed.failed || out->failed
               ? errinfo_set(info, ERR_NOMEM, "out of memory")
               : ERR_OK;
}
