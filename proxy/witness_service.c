/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/witness_service.c - see witness_service.h. */
#include "proxy/witness_service.h"

#include "audit/witness.h"
#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/http_service.h"
#include "lib/log.h"

#include <signal.h>
#include <stdio.h>

#define HOST_MAX 256

static void handle(
    void *context, const struct http_request *request, struct http_reply *reply)
{
    static const struct str suffix = STR_INIT("/checkpoint");
    struct witness *witness = context;
    struct witness_answer answer = {
        .status = 404, .content_type = "text/plain; charset=utf-8"};
    bool post = str_equal(request->method, STR("POST"));
    struct str path = request->path;
    buf_init(&answer.body, WITNESS_BODY_MAX);
    if (request->body_too_large) {
        answer.status = 413;
    } else if (post && str_equal(path, STR("/add-checkpoint"))) {
        witness_add_checkpoint(
            witness, request->body, clock_now() / SECOND_US, &answer);
        log_info("add_checkpoint", "status=%d what=\"%s\"", answer.status,
            answer.why.text);
    } else if (!post && str_ends(path, suffix) && path.len > suffix.len) {
        witness_checkpoint(witness,
            str_make(path.ptr + 1, path.len - suffix.len - 1), &answer);
    }
    reply->status = answer.status;
    buf_append_str(&reply->body, buf_str(&answer.body));
    if (http_reply_header(
            reply, "Content-Type", str_from(answer.content_type)) != ERR_OK ||
        http_reply_header(reply, "Connection", STR("close")) != ERR_OK)
        reply->body.failed = true; /* a bare 503 */
    buf_fini(&answer.body);
}

/* "HOST:PORT", "[ADDRESS]:PORT" */
static enum err split_listen(const char *listen, char host[HOST_MAX],
    uint16_t *port, struct errinfo *info)
{
    const char *colon = strrchr(listen, ':');
    struct str name = str_make(listen, colon ? (size_t)(colon - listen) : 0);
    uint64_t number;
    if (name.len > 1 && name.ptr[0] == '[' && name.ptr[name.len - 1] == ']')
        name = str_make(name.ptr + 1, name.len - 2);
    if (name.len == 0 || name.len >= HOST_MAX ||
        str_to_u64(str_from(colon + 1), &number) != ERR_OK || number > 65535)
        return errinfo_set(info, ERR_INVALID,
            "--listen %s: HOST:PORT is due, for instance 127.0.0.1:8442",
            listen);
    snprintf(host, HOST_MAX, "%.*s", STR_ARG(name));
    *port = (uint16_t)number;
    return ERR_OK;
}

static void wait_for_end(void)
{
    sigset_t set;
    int number;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigwait(&set, &number);
}

int witness_service_run(const char *dir, const char *listen)
{
    struct http_service_settings settings = {.handler = handle,
        .max_body = WITNESS_BODY_MAX,
        .idle_us = 10 * SECOND_US,
        .grace_us = 5 * SECOND_US};
    struct http_service *service = NULL;
    struct witness *witness = NULL;
    struct errinfo info = {0};
    char host[HOST_MAX];
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    enum err err = crypto_init(&info);
    if (err == ERR_OK)
        err = split_listen(listen, host, &settings.port, &info);
    if (err == ERR_OK)
        err = witness_open(dir, &witness, &info);
    settings.host = host;
    settings.context = witness;
    if (err == ERR_OK)
        err = http_service_start(&settings, &service, &info);
    if (err == ERR_OK) {
        log_info("ready", "witness=%s listen=%s", witness_key(witness)->name,
            http_service_url(service));
        wait_for_end();
    } else {
        fprintf(stderr, "bailiff witness run: %s\n", info.text);
    }
    http_service_stop(&service);
    witness_close(&witness);
    return err == ERR_OK ? 0 : 1;
}
