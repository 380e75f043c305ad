/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/retention.h - what may be destroyed, what must not be, and how it
 * is done so that a crash leaves nothing half on record.
 *
 * What expires is the sealing keys: one per (subject, month, class), and with
 * each the personal fields and the kept content that it seals. Leaves and hash
 * tiles of the log stay. Every destruction is a disposal: first its row, the
 * keys that it is about and the events that name them are durable, then the
 * keys, the files and (erasure) the name are destroyed, then its certificate
 * and the event of its end are written. One that a crash interrupts is taken
 * up again at the next start. Under the control's lock. */
#ifndef PROXY_ADMIN_RETENTION_H
#define PROXY_ADMIN_RETENTION_H

#include "proxy/admin/audit_priv.h"

#define RETENTION_DEFAULT_DAYS                                                 \
    184 /* EU AI Act, articles 19 and 26: 6 months                             \
         */

/* --- Classes (retention.c) ------------------------------------------------ */
struct retention_class {
    struct str name;
    int64_t days;
    bool exempt;
};
struct retention {
    const struct retention_class *classes; /* "default" among them; by name */
    size_t count;
    int64_t lock_days; /* 0: none */
};
/* In the call's arena. */
enum err retention_load(
    struct admin_call *call, struct retention *out) MUSTCHECK;
/* NULL: there is none. */
const struct retention_class *retention_find(
    const struct retention *retention, struct str name);
/* From when on the keys of a month ("2026-11") of the class may go. */
int64_t retention_expiry(const struct retention *retention,
    const struct retention_class *class, struct str month);
/* [*start, *end) of "2026-11". False: no month. */
bool retention_month(struct str month, int64_t *start_us, int64_t *end_us);

/* --- Holds (holds.c) --------------------------------------------------------
 */
struct hold_pair {
    struct str text; /* "cal_x 2026-11" */
    int64_t records;
};
struct hold {
    struct str name, caller, team;
    int64_t since_us, until_us;    /* 0: no bound */
    const struct hold_pair *pairs; /* team: of its records, sorted */
    size_t pair_count;
    const struct str *members; /* team: its callers now */
    size_t member_count;
};
struct holds {
    struct hold *items;
    size_t count;
};
/* Those that stand. In the call's arena. Fails where the index cannot tell
 * whose records a hold is about: then nothing may be destroyed. */
enum err holds_load(struct admin_call *call, struct holds *out) MUSTCHECK;
/* The hold that pins the key of (subject, month); NULL: none does. */
const struct hold *holds_pinning(
    const struct holds *holds, struct str subject, struct str month);

/* --- Disposals (disposal.c) --------------------------------------------------
 */
struct disposal_key {
    struct str id, subject, month, class;
};
#define DISPOSAL_KEYS_MAX 4000 /* of one */
struct disposal {
    struct str id, kind, subject, reason, basis;
    int64_t begun_us, ended_us;
    int64_t keys, files, bytes;
    struct str certificate; /* hex SHA-256 */
    struct str prefix;      /* prune: as of audit/pruned.h; else empty */
    int64_t entries;        /* prune: how many */
};
/* Fills id and begun_us of a new one. */
enum err disposal_name(struct admin_call *call, struct disposal *d) MUSTCHECK;
/* Inside a change: the row, its keys, the entries of the beginning and those
 * that name the keys. Fills id and begun_us; takes detail. */
enum err disposal_begin(struct admin_call *call, struct disposal *disposal,
    const struct disposal_key *keys, size_t count, json_t *detail) MUSTCHECK;
/* After that change: destroys, and records the end as a change of its own. */
enum err disposal_finish(
    struct admin_call *call, struct disposal *disposal) MUSTCHECK;
/* Those that have begun and not ended; *count of them. */
enum err disposal_resume(struct admin_call *call, size_t *count) MUSTCHECK;
enum err disposal_list(struct admin_call *call, json_t **out) MUSTCHECK;
json_t *disposal_json(const struct disposal *disposal);
/* Keys that are not destroyed; subject or class empty: any; of months up to
 * last ("2026-11"; empty: any). In the arena. */
enum err disposal_keys(struct admin_call *call, struct str subject,
    struct str class, struct str last, struct disposal_key **out,
    size_t *count) MUSTCHECK;

/* Makes a new digest key where the current one is older than the setting
 * digest_key_days (0: only by hand). (digest_keys.c) */
#define DIGEST_KEY_DAYS_DEFAULT 90
enum err digest_key_rotate_due(
    struct admin_call *call, bool *rotated) MUSTCHECK;
/* Destroys digest keys that were replaced longer ago than the longest period;
 * none while a hold stands. *count of them. (digest_keys.c) */
enum err digest_keys_expire(struct admin_call *call,
    const struct retention *retention, const struct holds *holds,
    size_t *count) MUSTCHECK;

/* Destroys what has expired; *out (given) says what and what not. */
enum err retention_run(struct admin_call *call, json_t **out) MUSTCHECK;

#endif
