/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/sink_priv.h - one sink: how entries are written for it
 * (sink_line.c) and how they get to its receiver (sink_send.c). */
#ifndef AUDIT_SINK_PRIV_H
#define AUDIT_SINK_PRIV_H

#include "audit/ocsf.h"
#include "audit/sinks.h"
#include "lib/outgoing.h"

/* What a row says, taken apart. Owns its texts. */
struct sink_target {
    enum sink_kind kind;
    enum sink_format format;
    char *name, *id, *url, *ca_file, *credential_file;
    char *host; /* syslog */
    uint16_t port;
    bool tls;
    uint64_t first;
};
enum err sink_target_init(struct sink_target *target,
    const struct sink_row *row, struct errinfo *info) MUSTCHECK;
void sink_target_fini(struct sink_target *target);

/* Writes an entry as the sink wants it: a JSON line, or a framed syslog
 * message. ocsf: NULL unless the format asks for it. */
struct sink_line {
    const struct sink_target *target;
    struct audit_ocsf *ocsf;
    char log_name[256];
    char host[256]; /* ours, for syslog */
    struct buf message, framed;
};
enum err sink_line_init(struct sink_line *line,
    const struct sink_target *target, struct str log_name,
    struct errinfo *info) MUSTCHECK;
void sink_line_fini(struct sink_line *line);
/* Forgets what it remembers of earlier entries. */
enum err sink_line_reset(
    struct sink_line *line, struct errinfo *info) MUSTCHECK;
enum err sink_line_write(struct sink_line *line, uint64_t index,
    struct str entry, struct buf *out, struct errinfo *info) MUSTCHECK;

struct sink_timers {
    int64_t stall_us;
    bool (*cancelled)(void *context);
    void *context;
};
/* Sends what sink_line_write wrote. HTTPS: returns after 2xx, so it has
 * arrived; ERR_LIMIT: too much for it at once. Syslog: *stream is made where it
 * is NULL and kept; it has arrived after outgoing_finish. */
enum err sink_send(const struct sink_target *target,
    const struct sink_timers *timers, struct outgoing **stream,
    struct str bytes, struct errinfo *info) MUSTCHECK;

#endif
