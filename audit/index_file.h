/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/index_file.h - one file of the index, as its one writer sees it.
 *
 * DIR/index/NNNNNNNNNNNN.db covers the entries [first, first + span). While a
 * file is open for writing it is marked so: found that way after another boot,
 * it may lack what the system had not written when the power went, and counts
 * as damaged. Not here: which file is next, and where entries come from
 * (indexer.h); reading (query.h). One thread. */
#ifndef AUDIT_INDEX_FILE_H
#define AUDIT_INDEX_FILE_H

#include "audit/event.h"
#include "lib/crypto.h"
#include "schema/db.h"

#define INDEX_NAME_SIZE 32
/* "000000000000.db" */
void index_file_name(char out[INDEX_NAME_SIZE], uint64_t first);

struct index_list {
    uint64_t *firsts; /* ascending */
    size_t count;
};
/* The files of DIR/index by name. A missing folder gives an empty list. */
enum err index_list_load(
    const char *dir, struct index_list *out, struct errinfo *info) MUSTCHECK;
void index_list_fini(struct index_list *list);

struct index_state {
    uint64_t first, span, next;
    uint64_t posted; /* below it, index_posting.h has sets of the requests */
    int64_t first_time_us, last_time_us; /* 0: no rows */
    bool clean;
    bool same_boot;
    bool has_last;
    uint8_t last[SHA256_SIZE]; /* of entry next - 1 */
};
/* Row of table state. ERR_CORRUPT where there is none. */
enum err index_state_read(
    struct db *db, struct index_state *out, struct errinfo *info) MUSTCHECK;

struct index_file;
/* Opens for writing; makes it (span entries long) where it is missing and
 * span is not 0. ERR_CORRUPT: damaged, see above. gives *out. */
enum err index_file_open(const char *dir, uint64_t first, uint64_t span,
    struct index_file **out, struct errinfo *info) MUSTCHECK;
/* Rolls back what is not committed. `clean`: makes all durable and marks it
 * so; where that fails the file stays marked as being written. */
void index_file_close(struct index_file **file, bool clean);
/* Renames the file to NAME.damaged; one of that name is replaced. */
enum err index_file_set_aside(
    const char *dir, uint64_t first, struct errinfo *info) MUSTCHECK;

uint64_t index_file_first(const struct index_file *file);
uint64_t index_file_next(const struct index_file *file); /* as committed */
uint64_t index_file_end(const struct index_file *file);  /* first + span */
/* Nobody has removed it meanwhile. */
bool index_file_is_there(const struct index_file *file);
const struct index_state *index_file_state(const struct index_file *file);

/* Starts a transaction where none is open. */
enum err index_file_begin(
    struct index_file *file, struct errinfo *info) MUSTCHECK;
/* With entries below `next` in (0: as before), of which `last` is the hash of
 * the last one (NULL: as before). ERR_AGAIN: readers are at it,
 * nothing is lost, call again. No transaction: ERR_OK. */
enum err index_file_commit(struct index_file *file, uint64_t next,
    const uint8_t *last, struct errinfo *info) MUSTCHECK;
void index_file_rollback(struct index_file *file);

/* An entry that opens a request, an act, a failed authentication, an attempt
 * or a measurement. Where the end of the request is known already, it comes
 * along (else NULL), and one row is written instead of one written twice. */
enum err index_file_add(struct index_file *file, uint64_t seq,
    const struct audit_event *event, uint64_t end_seq,
    const struct audit_event *end, struct errinfo *info) MUSTCHECK;
/* An entry that this program cannot read: a row that says so. */
enum err index_file_add_unreadable(struct index_file *file, uint64_t seq,
    struct str why, struct errinfo *info) MUSTCHECK;
/* completed, withdrawn, attempt: *found tells whether its request has a row
 * here. */
enum err index_file_end_request(struct index_file *file, uint64_t seq,
    const struct audit_event *event, bool *found,
    struct errinfo *info) MUSTCHECK;
/* An end whose request is in no file. */
enum err index_file_add_part(struct index_file *file, uint64_t seq,
    const struct audit_event *event, struct errinfo *info) MUSTCHECK;
/* Permitted requests without an end. Scans the file. */
enum err index_file_count_open(
    struct index_file *file, uint64_t *count, struct errinfo *info) MUSTCHECK;

#endif
