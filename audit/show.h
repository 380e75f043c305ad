/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/show.h - what happened, in the log's own entries and in plain words.
 *
 * `audit show` gives all entries of one request and says in one sentence who
 * asked what of which model, what was decided by which rule of which version,
 * and what reached the engine. `audit tail` follows the log entry by entry.
 * Entries are read from the journal, never from the index. A reader belongs
 * to one thread at a time. */
#ifndef AUDIT_SHOW_H
#define AUDIT_SHOW_H

#include "audit/event.h"
#include "audit/query.h"

/* --- In words ------------------------------------------------------------ */

/* One sentence about one entry, ended by a full stop; no newline. */
void audit_say_entry(const struct audit_event *event,
    const struct audit_names *names, struct buf *out);
/* One sentence about a request: the entry that opened it (admitted or denied;
 * NULL: it is not in the log) and the one that ended it (NULL: it has not
 * ended). */
void audit_say_request(const struct audit_event *opened,
    const struct audit_event *ended, const struct audit_names *names,
    struct buf *out);

/* --- One request --------------------------------------------------------- */

struct audit_reader; /* of the journal */
/* gives *out. */
enum err audit_reader_open(const char *state_dir, struct audit_reader **out,
    struct errinfo *info) MUSTCHECK;
void audit_reader_close(struct audit_reader **reader);

/* id: a request's or event's ULID, or the index of an entry in the log.
 * `size` is the number of durable entries. Appends
 * {"entries":[{"entry":{...},"index":N}...],"id":"...","sentence":"..."}.
 * ERR_NOTFOUND: there is none. ERR_CORRUPT as in audit_query. */
enum err audit_show(struct audit_reader *reader, struct audit_index *index,
    uint64_t size, struct str id, const struct audit_names *names,
    struct buf *out, uint64_t *damaged, struct errinfo *info) MUSTCHECK;

/* Where the entries of a request or event stand in the log, ascending; id as
 * for audit_show. Up to `room` are written, *count is how many there are. */
enum err audit_places(struct audit_reader *reader, struct audit_index *index,
    uint64_t size, struct str id, uint64_t *out, size_t room, size_t *count,
    uint64_t *damaged, struct errinfo *info) MUSTCHECK;

/* The bytes of one entry, appended. */
enum err audit_read_entry(struct audit_reader *reader, uint64_t size,
    uint64_t index, struct buf *out, struct errinfo *info) MUSTCHECK;

/* --- Following ----------------------------------------------------------- */

/* Entries from *from on, at most `limit` and about 1 MiB of them, below
 * `size`: appends {"entries":[{"entry":{...},"index":N,"text":"..."}...],
 * "next":M} and sets *from to M. Cheap when it goes on where it ended. */
enum err audit_tail(struct audit_reader *reader, uint64_t size, uint64_t *from,
    size_t limit, const struct audit_names *names, struct buf *out,
    struct errinfo *info) MUSTCHECK;

#endif
