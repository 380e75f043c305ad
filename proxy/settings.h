/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/settings.h - DIR/bailiff.conf (libconfig): addresses, paths, sizes,
 * threads, timeouts. Nothing in it can weaken a control; such things are rows
 * of the control database.
 *
 * proxy/settings.tbl.h has one row per key: name, kind, default, bounds, what
 * it is for; the commented file of `init` and the docs come from it. An
 * unknown key is an error with a suggestion; all errors are collected with
 * file:line. */
#ifndef PROXY_SETTINGS_H
#define PROXY_SETTINGS_H

#include "lib/buf.h"

struct settings {
    /* Where callers connect; "[::]:8443" also takes IPv4. */
    char **listen; /* default { "[::]:8443", "0.0.0.0:8443" } */
    size_t listen_count;
    char *certificate; /* default DIR/tls/server.pem */
    char *certificate_key;
    char *certificate_ocsp; /* "": none; so is admin_ocsp */
    char *admin_socket;     /* default DIR/admin.sock */
    char *admin_listen;     /* the admin API over TLS, or "" for none */
    char *admin_certificate, *admin_key, *admin_ocsp;
    char *metrics_listen;    /* "127.0.0.1:9464", or "" for none */
    int64_t workers;         /* 0: one per core */
    int64_t max_connections; /* per worker */
    int64_t max_connections_per_address;
    int64_t refusals_per_minute; /* default 60; of one address */
    int64_t max_head_bytes, max_body_bytes,
        max_held_bytes;       /* held: all bodies and answers, per worker */
    int64_t max_answer_bytes; /* non-streamed */
    int64_t max_log_bytes_per_caller; /* in an hour */
    int64_t disk_low_bytes, disk_critical_bytes;
    int64_t handshake_timeout_ms, head_timeout_ms, body_timeout_ms;
    int64_t idle_timeout_ms;  /* kept-alive, between requests */
    int64_t write_timeout_ms; /* a caller that does not read */
    int64_t connect_timeout_ms, first_byte_timeout_ms,
        stall_timeout_ms; /* engines */
    int64_t max_queue_ms;
    int64_t tokeniser_timeout_ms;
    int64_t queue_length; /* requests that wait for an engine's place */
    int64_t queue_timeout_ms;
    int64_t admit_timeout_ms; /* until the admission must be durable */
    int64_t drain_timeout_ms; /* at shutdown */
    int64_t engine_idle_ms;   /* pooled engine connections */
    int64_t segment_bytes;    /* of the journal */
    char *log_key_file;       /* signs checkpoints; default DIR/keys/log.key */
    char *log_level;          /* debug info warn error */
    char *log_format;         /* auto text json */
};

/* path may name a file that is absent: defaults then. Findings are appended
 * one a line, "bailiff.conf:12: unknown key ...; did you mean ...?".
 * ERR_INVALID when there was any error. gives *out. */
enum err settings_load(const char *state_dir, struct settings **out,
    struct buf *findings) MUSTCHECK;
void settings_free(struct settings **settings);
/* The commented file that `init` writes: every key with its default. */
void settings_write_default(struct buf *out);

#endif
