/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/transfer.c - chooses the back end, and what both have in common. */
#include "engine/transfer_priv.h"

#include <stdlib.h>

static const char *const end_names[] = {
    [TRANSFER_OK] = "ok",
    [TRANSFER_UNREACHABLE] = "unreachable",
    [TRANSFER_TIMEOUT] = "timeout",
    [TRANSFER_CLOSED] = "closed",
    [TRANSFER_BAD_ANSWER] = "bad_answer",
    [TRANSFER_NOMEM] = "nomem",
};

const char *transfer_end_name(enum transfer_end end)
{
    return end_names[end];
}

enum err transfer_loop_new(struct loop *loop,
    const struct transfer_timeouts *timeouts, struct transfer_loop **out,
    struct errinfo *info)
{
    struct transfer_loop *transfers = calloc(1, sizeof(*transfers));
    if (transfers == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    transfers->loop = loop;
    transfers->timeouts = *timeouts;
    transfers->scratch = malloc(TRANSFER_SCRATCH);
    if (transfers->scratch == NULL ||
        http1_pool_new(transfers, &transfers->http1) != ERR_OK) {
        transfer_loop_free(&transfers);
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    }
    *out = transfers;
    return ERR_OK;
}

void transfer_loop_free(struct transfer_loop **transfers)
{
    struct transfer_loop *t = *transfers;
    if (t == NULL)
        return;
    *transfers = NULL;
    http1_pool_free(&t->http1);
    curl_driver_free(&t->curl);
    free(t->scratch);
    free(t);
}

enum err transfer_start(struct transfer_loop *transfers,
    const struct transfer_request *request, struct transfer_handler *handler,
    struct transfer **out)
{
    if (request->target->scheme != ENGINE_HTTPS)
        return transfer_http1_backend.start(transfers, request, handler, out);
    if (transfers->curl == NULL) {
        enum err err = curl_driver_new(transfers, &transfers->curl);
        if (err != ERR_OK)
            return err;
    }
    return transfer_curl_backend.start(transfers, request, handler, out);
}

void transfer_cancel(struct transfer **transfer)
{
    struct transfer *t = *transfer;
    *transfer = NULL;
    if (t != NULL)
        t->backend->cancel(t);
}

void transfer_pause(struct transfer *transfer)
{
    transfer->backend->pause(transfer);
}

void transfer_resume(struct transfer *transfer)
{
    transfer->backend->resume(transfer);
}

void transfer_loop_count(
    const struct transfer_loop *transfers, unsigned *idle, unsigned *active)
{
    unsigned more_idle = 0, more_active = 0;
    http1_pool_count(transfers->http1, idle, active);
    if (transfers->curl != NULL)
        curl_driver_count(transfers->curl, &more_idle, &more_active);
    *idle += more_idle;
    *active += more_active;
}

void transfer_write_head(
    struct buf *out, const struct transfer_request *request)
{
    const struct engine_target *target = request->target;
    buf_append_str(out, request->method);
    buf_append_char(out, ' ');
    buf_append_str(out, str_from(target->base_path));
    buf_append_str(out, request->path);
    buf_append_str(out, STR(" HTTP/1.1\r\nHost: "));
    buf_append_str(out, str_from(target->authority));
    buf_append_str(out, STR("\r\n"));
    for (size_t i = 0; i < request->header_count; i++) {
        buf_append_str(out, request->headers[i].name);
        buf_append_str(out, STR(": "));
        buf_append_str(out, request->headers[i].value);
        buf_append_str(out, STR("\r\n"));
    }
    if (target->credential[0] != '\0') {
        buf_append_str(out, STR("Authorization: Bearer "));
        buf_append_str(out, str_from(target->credential));
        buf_append_str(out, STR("\r\n"));
    }
    if (!engine_kind_pools(target->kind))
        buf_append_str(out, STR("Connection: close\r\n"));
    if (request->body_length > 0 || !str_equal(request->method, STR("GET"))) {
        buf_append_str(out, STR("Content-Length: "));
        buf_append_u64(out, request->body_length);
        buf_append_str(out, STR("\r\n"));
    }
    buf_append_str(out, STR("\r\n"));
}
