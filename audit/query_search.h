/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/query_search.h - one search over one table of one file: its conditions,
 * and the SQL that finds the rows. Between query_file.c (what a filter means)
 * and query_search.c; nobody else includes it. */
#ifndef AUDIT_QUERY_SEARCH_H
#define AUDIT_QUERY_SEARCH_H

#include "audit/index_posting.h"
#include "audit/query_hits.h"
#include "audit/query_priv.h"

#define SEARCH_VALUES_MAX 128
#define SEARCH_CONDITIONS_MAX 24

enum shape {
    SHAPE_COLUMN, /* a column of the table */
    SHAPE_MEMBER, /* a column that is a list, of which it is a member */
    SHAPE_PLAIN   /* SQL without a value; never drives */
};

struct condition {
    enum shape shape;
    const char *column; /* SHAPE_PLAIN: the SQL */
    const char *index;  /* of the column; NULL: none */
    const char *sql;    /* what rows are asked, where not the values; or NULL */
    enum posting_field posting;
    int64_t values[SEARCH_VALUES_MAX];
    size_t count;
};

struct search {
    struct db *db;
    const struct index_state *state;
    const struct question *question;
    const char *table; /* "request" or "event" */
    const char *columns;
    const char *only_index; /* the one index that has all that fits; or NULL */
    uint64_t low, high;     /* seq, both inclusive */
    bool none;              /* no row can fit */
    size_t count;
    struct errinfo *info;
    void (*read)(
        struct db_statement *s, struct audit_row *row, struct row_list *list);
    struct condition conditions[SEARCH_CONDITIONS_MAX];
    char looked_for[2 * AUDIT_SEARCH_MAX + 80]; /* the SQL of filter.text */
    char statuses[64];                          /* and of filter.status */
};

struct condition *search_add(
    struct search *search, enum shape shape, const char *column);
/* Sets low and high from the times and the page; `time_sql` gives seq and time
 * of the first row in [?1, ?2). */
enum err search_range(struct search *search, const char *time_sql) MUSTCHECK;
/* Appends at most question->limit rows of each index value, in order. */
enum err search_run(struct search *search, struct row_list *out) MUSTCHECK;
/* The walk of a search from malloc, which is taken (freed on an error too). */
enum err query_walk_begin(struct search *search, struct query_walk **out,
    struct errinfo *info) MUSTCHECK;

#endif
