/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/sink_send.c - to the receiver: a stream (syslog) or a POST (HTTPS). */
#include "audit/sink_priv.h"

#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/file.h"
#include "lib/http_client.h"

#include <stdlib.h>

#define SYSLOG_TLS_PORT 6514 /* RFC 5425, 4.1 */
#define CREDENTIAL_MAX 8192
#define ANSWER_MAX (64u << 10)
#define SHOWN_ANSWER 160

/* --- URLs ---------------------------------------------------------------- */

static bool has_bad_character(struct str url)
{
    for (size_t i = 0; i < url.len; i++) {
        unsigned char c = (unsigned char)url.ptr[i];
        if (c <= 0x20 || c == 0x7f)
            return true;
    }
    return false;
}

/* "HOST:PORT", "[ADDRESS]:PORT"; a port of 0 where it is left out. */
static bool split_host(struct str rest, struct str *host, uint64_t *port)
{
    struct str tail = {0};
    *port = 0;
    if (rest.len > 0 && rest.ptr[0] == '[') {
        rest = str_make(rest.ptr + 1, rest.len - 1);
        if (!str_split(rest, ']', host, &tail) || host->len == 0)
            return false;
        if (tail.len == 0)
            return true;
        if (tail.ptr[0] != ':')
            return false;
        tail = str_make(tail.ptr + 1, tail.len - 1);
    } else if (!str_split(rest, ':', host, &tail)) {
        *host = rest;
        return host->len > 0;
    }
    return host->len > 0 && host->len < 254 &&
           memchr(tail.ptr, ':', tail.len) == NULL &&
           str_to_u64(tail, port) == ERR_OK && *port > 0 && *port < 65536;
}

/* *tls and *port: syslog's. */
static bool split_url(struct str url, bool *tls, struct str *host,
    uint64_t *port, struct str *scheme)
{
    size_t at = 0;
    while (at + 3 <= url.len && memcmp(url.ptr + at, "://", 3) != 0)
        at++;
    if (at + 3 > url.len || has_bad_character(url) || url.len >= SINK_URL_MAX)
        return false;
    *scheme = str_make(url.ptr, at);
    struct str rest = str_make(url.ptr + at + 3, url.len - at - 3);
    *tls = str_equal(*scheme, STR("tls"));
    if (str_equal(*scheme, STR("tcp")) || *tls) {
        if (rest.len > 0 && rest.ptr[rest.len - 1] == '/')
            rest.len--;
        return memchr(rest.ptr, '/', rest.len) == NULL &&
               memchr(rest.ptr, '@', rest.len) == NULL &&
               split_host(rest, host, port);
    }
    size_t authority = 0;
    while (authority < rest.len && !strchr("/?#", rest.ptr[authority]))
        authority++;
    struct str place = str_make(rest.ptr, authority);
    return memchr(place.ptr, '@', place.len) == NULL &&
           memchr(rest.ptr, '#', rest.len) == NULL &&
           split_host(place, host, port);
}

/* Without TLS only to this machine itself, where an agent may listen. */
static bool is_loopback(struct str host)
{
    return str_equal(host, STR("127.0.0.1")) || str_equal(host, STR("::1")) ||
           str_equal_nocase(host, STR("localhost"));
}

enum err sink_check_url(
    enum sink_kind kind, struct str url, struct errinfo *info)
{
    bool tls = false;
    struct str host = {0}, scheme = {0};
    uint64_t port = 0;
    bool good = split_url(url, &tls, &host, &port, &scheme);
    if (kind == SINK_SYSLOG) {
        good = good && (tls || str_equal(scheme, STR("tcp")));
        if (good && port == 0 && !tls)
            good = false;
        return good ? ERR_OK
                    : errinfo_set(info, ERR_INVALID,
                          "\"%.*s\" is no receiver of syslog: "
                          "tcp://HOST:PORT or tls://HOST[:PORT] (6514)",
                          STR_ARG(url));
    }
    if (good && str_equal(scheme, STR("http")) && !is_loopback(host))
        return errinfo_set(info, ERR_INVALID,
            "\"%.*s\" would carry the log in the clear: https://..., or "
            "http:// to an agent on this machine (127.0.0.1, ::1)",
            STR_ARG(url));
    good = good &&
           (str_equal(scheme, STR("https")) || str_equal(scheme, STR("http")));
    return good ? ERR_OK
                : errinfo_set(info, ERR_INVALID,
                      "\"%.*s\" is no receiver: https://HOST[:PORT]/PATH "
                      "without user and fragment",
                      STR_ARG(url));
}

static char *copy(struct str text)
{
    return strndup(text.ptr != NULL ? text.ptr : "", text.len);
}

enum err sink_target_init(struct sink_target *target,
    const struct sink_row *row, struct errinfo *info)
{
    struct str host = {0}, scheme;
    uint64_t port = 0;
    memset(target, 0, sizeof(*target));
    enum err err = sink_check_url(row->kind, row->url, info);
    if (err != ERR_OK)
        return err;
    (void)split_url(row->url, &target->tls, &host, &port, &scheme);
    target->kind = row->kind;
    target->format = row->format;
    target->first = row->first;
    target->port = port > 0 ? (uint16_t)port : SYSLOG_TLS_PORT;
    target->name = copy(row->name);
    target->id = copy(row->id);
    target->url = copy(row->url);
    target->ca_file = copy(row->ca_file);
    target->credential_file = copy(row->credential_file);
    target->host = copy(host);
    if (target->name && target->id && target->url && target->ca_file &&
        target->credential_file && target->host)
        return ERR_OK;
    sink_target_fini(target);
    return errinfo_set(info, ERR_NOMEM, "out of memory");
}

void sink_target_fini(struct sink_target *target)
{
    free(target->name);
    free(target->id);
    free(target->url);
    free(target->ca_file);
    free(target->credential_file);
    free(target->host);
    memset(target, 0, sizeof(*target));
}

/* --- HTTPS --------------------------------------------------------------- */

/* "Authorization: ...": what the file holds, with "Bearer " before it where it
 * is one word. */
static enum err read_credential(
    const char *path, struct buf *header, struct errinfo *info)
{
    struct buf file;
    buf_init(&file, CREDENTIAL_MAX);
    enum err err = file_read(path, &file, info);
    struct str text = buf_str(&file);
    while (text.len > 0 && strchr("\r\n ", text.ptr[text.len - 1]))
        text.len--;
    if (err == ERR_OK && (text.len == 0 || memchr(text.ptr, '\n', text.len) ||
                             memchr(text.ptr, '\r', text.len)))
        err = errinfo_set(
            info, ERR_SYNTAX, "%s: one line with the credential is due", path);
    if (err == ERR_OK) {
        buf_append_str(header, STR("Authorization: "));
        if (memchr(text.ptr, ' ', text.len) == NULL)
            buf_append_str(header, STR("Bearer "));
        buf_append_str(header, text);
    }
    if (file.ptr != NULL)
        crypto_wipe(file.ptr, file.cap);
    buf_fini(&file);
    return err;
}

/* The beginning of what the receiver said, for the operator. */
static enum err refused(const struct sink_target *target,
    const struct http_client_answer *answer, struct errinfo *info)
{
    char shown[SHOWN_ANSWER + 1];
    struct str body = buf_str(&answer->body);
    size_t n = body.len < SHOWN_ANSWER ? body.len : SHOWN_ANSWER;
    for (size_t i = 0; i < n; i++)
        shown[i] =
            body.ptr[i] >= 0x20 && body.ptr[i] < 0x7f ? body.ptr[i] : ' ';
    shown[n] = '\0';
    return errinfo_set(info, answer->status == 413 ? ERR_LIMIT : ERR_DENIED,
        "the receiver %s answered %d%s%s", target->host, answer->status,
        n > 0 ? ": " : "", shown);
}

static enum err post(const struct sink_target *target,
    const struct sink_timers *timers, struct str bytes, struct errinfo *info)
{
    struct http_client_answer answer = {0};
    struct buf credential;
    const char *headers[3] = {"Content-Type: application/x-ndjson", NULL, NULL};
    struct http_client_request request = {.url = target->url,
        .headers = headers,
        .body = bytes,
        .ca_file = target->ca_file[0] != '\0' ? target->ca_file : NULL,
        .timeout_us = timers->stall_us,
        .max_answer = ANSWER_MAX,
        .cancelled = timers->cancelled,
        .cancel_context = timers->context};
    enum err err = ERR_OK;
    buf_init(&credential, CREDENTIAL_MAX + 64);
    if (target->credential_file[0] != '\0') {
        err = read_credential(target->credential_file, &credential, info);
        headers[1] = buf_cstr(&credential);
    }
    if (err == ERR_OK) {
        err = http_client_request(&request, &answer, info);
        if (err == ERR_OK && (answer.status < 200 || answer.status > 299))
            err = refused(target, &answer, info);
        else if (err == ERR_LIMIT) /* its answer, not our batch */
            err = ERR_SYNTAX;
        http_client_answer_fini(&answer);
    }
    if (credential.ptr != NULL)
        crypto_wipe(credential.ptr, credential.cap);
    buf_fini(&credential);
    return err;
}

/* --- Both ---------------------------------------------------------------- */

enum err sink_send(const struct sink_target *target,
    const struct sink_timers *timers, struct outgoing **stream,
    struct str bytes, struct errinfo *info)
{
    enum err err = ERR_OK;
    if (target->kind == SINK_HTTPS)
        return post(target, timers, bytes, info);
    if (*stream == NULL) {
        const struct outgoing_target to = {.host = target->host,
            .port = target->port,
            .tls = target->tls,
            .ca_file = target->ca_file[0] != '\0' ? target->ca_file : NULL,
            .cancelled = timers->cancelled,
            .context = timers->context};
        err = outgoing_open(&to, stream, info);
    }
    return err == ERR_OK ? outgoing_send(*stream, bytes, timers->stall_us, info)
                         : err;
}

enum err sink_try(const struct sink_row *row, struct str log_name,
    uint64_t index, struct str entry, struct errinfo *info)
{
    const struct sink_timers timers = {.stall_us = 10 * SECOND_US};
    struct sink_target target;
    struct sink_line line;
    struct outgoing *stream = NULL;
    struct buf bytes;
    enum err err = sink_target_init(&target, row, info);
    if (err != ERR_OK)
        return err;
    buf_init(&bytes, 1u << 20);
    err = sink_line_init(&line, &target, log_name, info);
    if (err == ERR_OK)
        err = sink_line_write(&line, index, entry, &bytes, info);
    if (err == ERR_OK)
        err = sink_send(&target, &timers, &stream, buf_str(&bytes), info);
    if (err == ERR_OK && stream != NULL)
        err = outgoing_finish(&stream, timers.stall_us, info);
    outgoing_close(&stream);
    sink_line_fini(&line);
    buf_fini(&bytes);
    sink_target_fini(&target);
    return err;
}
