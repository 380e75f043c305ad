/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/http_client.h - one blocking HTTP request (libcurl): for the CLI,
 * health checks, key sets, anchors. Not for the data plane.
 *
 * HTTP/1.1 over http and https only; no redirects, no proxies, no cookies, no
 * signals, no retries. Certificates are always verified. Any thread; the
 * library is set up at the first call. Error texts name the request and the
 * cause; a user name, password or query in the URL is left out of them. */
#ifndef LIB_HTTP_CLIENT_H
#define LIB_HTTP_CLIENT_H

#include "lib/buf.h"

struct http_client_request {
    const char *method;      /* NULL: GET, or POST with a body */
    const char *url;         /* http:// or https:// */
    const char *unix_socket; /* connect there; the URL's host is but a name */
    /* "Name: value", NULL-terminated; NULL: none. No line breaks. */
    const char *const *headers;
    struct str body;     /* ptr NULL: no body */
    const char *ca_file; /* PEM; these authorities alone. NULL: the system's */
    /* PEM: what is shown of this side, and its key (NULL: in the same file).
     * NULL: nothing. */
    const char *certificate, *certificate_key;
    int64_t timeout_us;         /* for the whole request; 0: none */
    int64_t connect_timeout_us; /* 0: ten seconds, or timeout_us if shorter */
    int64_t stall_us;  /* no byte for so long: ERR_TIMEOUT; 0: not watched */
    size_t max_answer; /* body bytes; 0: 16 MiB. Not applied to streams */
    /* Where set, the answer's body goes here piece by piece and not into
     * answer->body; false ends the request with ERR_CLOSED. status and headers
     * of the answer can be read in it. */
    bool (*write)(void *context, struct str bytes);
    void *context;
    /* Asked about once a second; true ends the request with ERR_CLOSED. */
    bool (*cancelled)(void *cancel_context);
    void *cancel_context;
};

struct http_client_answer {
    int status;
    struct buf head; /* header lines as they came, without the status line */
    struct buf body;
};

/* Any status is a success here. *answer is filled also on failure, with what
 * had come; free it with http_client_answer_fini in every case.
 * ERR_INVALID (URL, header), ERR_NOTFOUND (host name), ERR_CLOSED (refused,
 * cut), ERR_DENIED (certificate), ERR_TIMEOUT, ERR_LIMIT, ERR_SYNTAX (no HTTP),
 * ERR_NOMEM, ERR_IO. */
enum err http_client_request(const struct http_client_request *request,
    struct http_client_answer *answer, struct errinfo *info) MUSTCHECK;
void http_client_answer_fini(struct http_client_answer *answer);

/* Value of the first header of that name (any case), or {NULL, 0}; borrows
 * from the answer. */
struct str http_client_header(
    const struct http_client_answer *answer, const char *name);

#endif
