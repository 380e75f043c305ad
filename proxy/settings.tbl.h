/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/settings.tbl.h - one row per key of DIR/bailiff.conf.
 *
 * The member of struct settings, the parser, the commented file of `init` and
 * the reference page all come from here. Included several times; define only
 * the macros that are wanted.
 *   SETTING_LIST(name, default elements as they stand in the file, help)
 *   SETTING_PATH(name, default relative to DIR, or "": none, help)
 *   SETTING_TEXT(name, default, help)
 *   SETTING_CHOICE(name, default, "a b c", help)
 *   SETTING_COUNT(name, default, least, most, help)
 *   SETTING_BYTES(name, default, least, most, help)
 *   SETTING_TIME(name, default in ms, least, most, help)
 *   SETTING_HEADING(text) */
#ifndef SETTING_LIST
#define SETTING_LIST(name, value, help)
#endif
#ifndef SETTING_PATH
#define SETTING_PATH(name, value, help)
#endif
#ifndef SETTING_TEXT
#define SETTING_TEXT(name, value, help)
#endif
#ifndef SETTING_CHOICE
#define SETTING_CHOICE(name, value, choices, help)
#endif
#ifndef SETTING_COUNT
#define SETTING_COUNT(name, value, least, most, help)
#endif
#ifndef SETTING_BYTES
#define SETTING_BYTES(name, value, least, most, help)
#endif
#ifndef SETTING_TIME
#define SETTING_TIME(name, value, least, most, help)
#endif
#ifndef SETTING_HEADING
#define SETTING_HEADING(text)
#endif

SETTING_HEADING("Where callers connect (TLS)")
SETTING_LIST(listen, "\"[::]:8443\", \"0.0.0.0:8443\"",
    "Addresses, each ADDRESS:PORT with a numeric address; IPv6 in brackets.")
SETTING_PATH(certificate, "tls/server.pem",
    "The server's certificate chain, PEM. A relative path is below DIR.")
SETTING_PATH(certificate_key, "tls/server.key",
    "The private key of the certificate, PEM.")
SETTING_PATH(certificate_ocsp, "",
    "An OCSP response for that certificate, DER, to be stapled in handshakes; "
    "\"\" for none. It is read again when it changes.")

SETTING_HEADING("Where administrators connect")
SETTING_PATH(admin_socket, "admin.sock",
    "Unix socket of the admin API (mode 0660). At most 107 bytes long.")
SETTING_TEXT(admin_listen, "",
    "ADDRESS:PORT where the admin API is served over TLS, too, to whoever has "
    "an administrator's token, for instance \"192.0.2.7:8444\"; \"\" for "
    "none.")
SETTING_PATH(admin_certificate, "tls/server.pem",
    "The certificate chain shown there, PEM.")
SETTING_PATH(admin_key, "tls/server.key", "Its private key, PEM.")
SETTING_PATH(admin_ocsp, "",
    "An OCSP response for it, as certificate_ocsp; \"\" for none.")
SETTING_TEXT(metrics_listen, "",
    "Loopback ADDRESS:PORT that carries /healthz, /readyz and /metrics and "
    "nothing else, for instance \"127.0.0.1:9464\"; \"\" for none.")

SETTING_HEADING("Threads and connections")
SETTING_COUNT(workers, 0, 0, 1024,
    "Threads that carry callers' connections; 0: one per core.")
SETTING_COUNT(max_connections, 16384, 1, 1048576,
    "Open connections per worker; further ones wait to be accepted.")
SETTING_COUNT(max_connections_per_address, 1024, 1, 1048576,
    "Open connections of one address per worker; more are closed at once.")

SETTING_COUNT(queue_length, 1024, 0, 1048576,
    "Requests that may wait for a place at an engine, all together; one more "
    "gets 503, or the newest of the team that has most for its weight.")

SETTING_COUNT(refusals_per_minute, 60, 0, 1000000,
    "Failed authentications of one address (IPv6: of one /64) per worker and "
    "minute that are answered at once. Further ones wait, up to two seconds "
    "each; who is identified never does. 0: none ever waits.")

SETTING_HEADING("Sizes: bytes, or a text such as \"64KiB\", \"16MiB\"")
SETTING_BYTES(max_head_bytes, 32768, 1024, 1048576,
    "A request's line and headers; larger ones get 431.")
SETTING_BYTES(max_body_bytes, 33554432, 1024, 1073741824,
    "A request's body; larger ones get 413.")
SETTING_BYTES(max_held_bytes, 536870912, 1048576, 1099511627776,
    "All bodies and answers in memory together, per worker; beyond it new "
    "bodies get 503 with Retry-After.")
SETTING_BYTES(max_answer_bytes, 67108864, 1024, 1073741824,
    "An engine's answer that is not a stream; larger ones get 502.")

SETTING_HEADING(
    "Times: milliseconds, or a text such as \"500ms\", \"30s\", \"5m\"")
SETTING_TIME(handshake_timeout_ms, 10000, 100, 600000,
    "From the connection to the end of the TLS handshake.")
SETTING_TIME(head_timeout_ms, 10000, 100, 600000,
    "From a request's first byte to the end of its headers.")
SETTING_TIME(body_timeout_ms, 60000, 100, 3600000,
    "From the end of the headers to the end of the body.")
SETTING_TIME(idle_timeout_ms, 75000, 100, 86400000,
    "How long a connection may stand without a request.")
SETTING_TIME(write_timeout_ms, 60000, 100, 3600000,
    "How long a caller may refuse to read before it is cut.")
SETTING_TIME(
    connect_timeout_ms, 2000, 10, 600000, "To open a connection to an engine.")
SETTING_TIME(first_byte_timeout_ms, 300000, 100, 86400000,
    "From a forwarded request to the first byte of the engine's answer.")
SETTING_TIME(stall_timeout_ms, 60000, 100, 86400000,
    "Between two pieces of an engine's answer.")
SETTING_TIME(max_queue_ms, 50, 0, 60000,
    "When a worker is this far behind, further requests get 503 with "
    "Retry-After at once, until it has caught up; 0: none does.")
SETTING_TIME(tokeniser_timeout_ms, 5000, 10, 600000,
    "For an engine's tokeniser, where only the true count of the input tells "
    "whether a request fits a quota; after it the upper bound holds.")
SETTING_TIME(queue_timeout_ms, 30000, 0, 3600000,
    "How long a request may wait for a place at an engine that has as many as "
    "its max-concurrent; after it the caller gets 503 with Retry-After.")
SETTING_TIME(admit_timeout_ms, 5000, 10, 600000,
    "Until an admission must be durable; after it the caller gets 503 and "
    "nothing is forwarded.")
SETTING_TIME(drain_timeout_ms, 30000, 0, 3600000,
    "At shutdown: how long running requests may take to end.")
SETTING_TIME(engine_idle_ms, 30000, 100, 3600000,
    "How long an unused connection to an engine is kept.")

SETTING_HEADING("The journal and the operator's log")
SETTING_BYTES(segment_bytes, 67108864, 1048576, 4294967296,
    "Size of one journal file; the next one is set aside ahead of time.")
SETTING_BYTES(max_log_bytes_per_caller, 4294967296, 1048576, 1099511627775,
    "What may be written in an hour (UTC) about the requests of one caller; "
    "further ones get 429, and are counted.")
SETTING_BYTES(disk_low_bytes, 4294967296, 0, 1125899906842624,
    "Room on the journal's disk under which an event, status and metrics say "
    "that it is low; 0: never.")
SETTING_BYTES(disk_critical_bytes, 536870912, 0, 1125899906842624,
    "The same for: critical. When nothing is left, nothing is admitted.")
SETTING_PATH(log_key_file, "keys/log.key",
    "The key that signs the log's checkpoints. On another file system (a token "
    "that is taken out, a share that backups do not reach) a copy of DIR alone "
    "cannot sign another history.")
SETTING_CHOICE(log_level, "info", "debug info warn error",
    "The least severity that is written to standard error.")
SETTING_CHOICE(log_format, "auto", "auto text json",
    "auto: priorities under the systemd journal, text otherwise.")

#undef SETTING_LIST
#undef SETTING_PATH
#undef SETTING_TEXT
#undef SETTING_CHOICE
#undef SETTING_COUNT
#undef SETTING_BYTES
#undef SETTING_TIME
#undef SETTING_HEADING
