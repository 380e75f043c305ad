/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/query_priv.h - between query.c (files, pages) and query_file.c (SQL
 * over one file). */
#ifndef AUDIT_QUERY_PRIV_H
#define AUDIT_QUERY_PRIV_H

#include "audit/index_file.h"
#include "audit/query.h"
#include "lib/arena.h"

/* A growing list of rows in an arena. */
struct row_list {
    struct arena *arena;
    struct audit_row *rows;
    size_t count, room;
};
/* NULL: out of memory. The row is zeroed. */
struct audit_row *row_list_add(struct row_list *list);

/* Which of the filter's words some file knows; for the hint of an empty
 * answer. */
struct words_seen {
    bool caller, key, team, model, engine, policy, route, action, actor, object;
    bool code, quota, stage;
};

/* How long a search may take. */
struct effort {
    int64_t until_us; /* clock_monotonic; 0: as long as it takes */
    bool gave_up;
    uint64_t reached; /* then: what comes after it was not looked at */
};

/* Which rows are asked for; checked once. */
struct question {
    const struct audit_filter *filter;
    struct effort *effort; /* NULL: as long as it takes */
    size_t limit;
    bool requests, events; /* which tables can answer */
};
enum err question_init(struct question *question,
    const struct audit_filter *filter, struct errinfo *info) MUSTCHECK;

/* Appends the rows of one file, at most limit of each table, each table's in
 * the order asked for. */
enum err query_requests(struct db *db, const struct index_state *state,
    const struct question *question, struct row_list *out,
    struct words_seen *seen, struct errinfo *info) MUSTCHECK;
enum err query_events(struct db *db, const struct index_state *state,
    const struct question *question, struct row_list *out,
    struct words_seen *seen, struct errinfo *info) MUSTCHECK;

/* For counting: what fits, piece by piece. `out` of query_walk_next is SQL,
 * " FROM request AS r" (or event) and " WHERE ..."; the caller may join more
 * tables between the two. ERR_NOTFOUND: there are no more. */
struct query_walk;
enum err query_walk_open(struct db *db, const struct index_state *state,
    const struct question *question, bool requests, struct query_walk **out,
    struct errinfo *info) MUSTCHECK;
void query_walk_close(struct query_walk **walk);
enum err query_walk_next(
    struct query_walk *walk, struct buf *from, struct buf *where) MUSTCHECK;
/* The entries [*low, *end) of the file that the filter's times allow. */
enum err query_request_range(struct db *db, const struct index_state *state,
    const struct question *question, uint64_t *low, uint64_t *end,
    struct errinfo *info) MUSTCHECK;
/* No row of the file can be in the answer. */
bool query_is_outside(
    const struct index_state *state, const struct audit_filter *filter);

/* The connections to the files of the index; opened when first wanted. */
struct audit_index {
    char *dir;
    struct index_list list;
    struct open_file {
        uint64_t first;
        struct db *db;
    } * files; /* as many as list.count */
};
/* Looks at the folder again. */
enum err audit_index_refresh(
    struct audit_index *index, struct errinfo *info) MUSTCHECK;
/* Closes the files. */
void audit_index_release(struct audit_index *index);
enum err audit_index_file(struct audit_index *index, size_t at, struct db **out,
    struct errinfo *info) MUSTCHECK;

#endif
