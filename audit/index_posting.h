/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/index_posting.h - which requests have a given value, as sets that can
 * be put together.
 *
 * An index file is divided into chunks of 4096 entries. Once a chunk is a
 * little behind the newest entry it is laid out: table `posting` gets a row for
 * each value of each field that stands in it, with the set of the entries that
 * have it. "This caller and that model" is then the intersection of two sets,
 * chunk by chunk, however frequent each of them is. What a request gets later,
 * at its end, goes into table `late`, entry by entry. The two together are a
 * superset: a value that was replaced (an engine that failed) stays. Whoever
 * searches reads the rows and looks. Rows of chunks that are not laid out yet
 * are read one by one; there are few.
 *
 * A set is an array of offsets within the chunk (16 bits, little endian,
 * ascending) or, from 256 members on, a bitmap of 512 bytes. */
#ifndef AUDIT_INDEX_POSTING_H
#define AUDIT_INDEX_POSTING_H

#include "schema/db.h"

/* The numbers stand in files; an index of another version is rebuilt. */
enum posting_field {
    POSTING_NONE = 0, /* no sets are kept of it */
    POSTING_CALLER,
    POSTING_KEY,
    POSTING_TEAM, /* each team of the caller */
    POSTING_POLICY,
    POSTING_MODEL,
    POSTING_ENGINE,
    POSTING_ROUTE,
    POSTING_PERMITTED, /* 0 or 1 */
    POSTING_STATUS,    /* the number itself */
    POSTING_OUTCOME,
    POSTING_CODE,
    POSTING_ACTION,
    POSTING_STAGE,
    POSTING_QUOTA,
    POSTING_VERSION, /* the number itself */
    POSTING_PART,    /* the type of an entry of the request in table `part` */
    POSTING_REASON,  /* 1: it has one, or a message, which can be read */
    POSTING_FIELDS
};

#define POSTING_SHIFT 12
#define POSTING_CHUNK (1u << POSTING_SHIFT) /* entries */
#define POSTING_WORDS (POSTING_CHUNK / 64)
/* As many entries behind the newest one a chunk is laid out: most of its
 * requests have ended by then. */
#define POSTING_BEHIND 4096u

struct posting_set {
    uint64_t words[POSTING_WORDS]; /* bit i: entry chunk << shift | i */
};
/* Adds the members. False: no set that this program wrote. */
bool posting_read(struct str blob, struct posting_set *set) MUSTCHECK;

/* Inside a transaction: lays out the requests of [from, until), whose chunks
 * have not been. `until` is the end of a chunk, or of the file. */
enum err posting_lay_out(struct db *db, uint64_t from, uint64_t until,
    struct errinfo *info) MUSTCHECK;
/* Inside a transaction: the request of a chunk that is laid out has got the
 * value. */
enum err posting_add_late(struct db *db, enum posting_field field,
    int64_t value, uint64_t seq, struct errinfo *info) MUSTCHECK;
/* Are the sets of [from, until), a part of one chunk that is laid out, those of
 * its rows, late ones included? ERR_CORRUPT: one lacks a request, which a
 * search would then not find; info says which. Within a transaction. */
enum err posting_check(struct db *db, uint64_t from, uint64_t until,
    struct errinfo *info) MUSTCHECK;

#endif
