/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/content.h - what entries seal, opened for those who may: personal
 * fields and kept content. Handlers only; not under the control's lock. */
#ifndef PROXY_ADMIN_CONTENT_H
#define PROXY_ADMIN_CONTENT_H

#include "proxy/admin/audit_priv.h"

/* {"id", "personal", "request", "answer", "retention"?} of the entries of one
 * record. Each part has "state": none (there never was any), open (with what
 * it says), erased (its key was destroyed), keyLost (the key is not there, and
 * nobody destroyed it on record), missing or altered (the kept file), lost
 * (with why). gives *out. */
enum err content_of_record(struct admin_call *call, struct audit_reader *reader,
    uint64_t size, struct str id, const uint64_t *places, size_t count,
    json_t **out) MUSTCHECK;
/* Without opening anything: the same with "kept" for open. */
enum err content_states(struct admin_call *call, struct audit_reader *reader,
    uint64_t size, const uint64_t *places, size_t count,
    json_t **out) MUSTCHECK;
/* Appends the kept content that the entry (request.admitted or .completed)
 * commits to. *state: NULL, or why it cannot be opened (erased, keyLost,
 * missing, altered). The caller wipes `out`. */
enum err content_open(struct admin_call *call, struct crypto_aead *aead,
    const struct audit_event *event, struct buf *out,
    const char **state) MUSTCHECK;

#endif
