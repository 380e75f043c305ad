/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/audit_priv.h - what the handlers that read the log share:
 * names, the index kept up to date, filters, checkpoints. Defined in audit.c.
 * None of these runs under the control's lock. */
#ifndef PROXY_ADMIN_AUDIT_PRIV_H
#define PROXY_ADMIN_AUDIT_PRIV_H

#include "audit/checkpoint.h"
#include "audit/log.h"
#include "audit/query.h"
#include "audit/show.h"
#include "proxy/admin/admin_priv.h"

/* For struct audit_names; context is the call. */
bool audit_find_name(void *context, struct str id, struct buf *out);

/* Brings the index up to what is durable now. *behind: it could not, in the
 * time there is. */
enum err audit_await_index(
    struct admin_call *call, uint64_t *size, bool *behind) MUSTCHECK;
/* A damaged file of the index: answered, and being mended. Else err again. */
enum err audit_index_failed(
    struct admin_call *call, enum err err, uint64_t damaged) MUSTCHECK;
enum err audit_answer_text(
    struct admin_call *call, const struct buf *text) MUSTCHECK;

#define AUDIT_PAIRS_MAX 64 /* names and values: 32 filters */
struct audit_asked {
    struct audit_filter filter;
    struct str pairs[AUDIT_PAIRS_MAX];
    size_t count;
};
/* The query's filters, handles turned into ids. Parameters whose names are in
 * `others` (NULL-terminated; may be NULL) are kept in pairs alone. */
enum err audit_read_filters(struct admin_call *call, const char *const *others,
    struct audit_asked *asked) MUSTCHECK;
/* The value of one of the others; empty where it was not given. */
struct str audit_asked_text(const struct audit_asked *asked, const char *name);
/* The filters for the event: ids, never handles. */
json_t *audit_filters_json(const struct audit_asked *asked);

/* A checkpoint over all that is durable now, and the log's key; where the
 * witness policy is closed, the newest that the quorum has cosigned, which may
 * cover less (ERR_AGAIN: there is none yet). `note` must
 * be initialised. */
enum err audit_take_checkpoint(struct admin_call *call, struct buf *note,
    struct note_key *key, struct checkpoint *out) MUSTCHECK;
/* DIR/log; in the call's arena. */
const char *audit_log_folder(struct admin_call *call);

#endif
