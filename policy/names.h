/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/names.h - the second check of a rule at save: what it names exists.
 *
 * Each entity literal (Team::"cardiology") is looked up in the control
 * database; the nearest name is suggested. Callers may be written by handle;
 * what is stored and hashed has their ids in the handles' place. The other way
 * round: which rules name a thing, so that it is not removed under them.
 * Works inside the caller's transaction. One thread at a time, as the db. */
#ifndef POLICY_NAMES_H
#define POLICY_NAMES_H

#include "policy/decide.h"
#include "schema/db.h"

/* Handles stand outside the control database (they are erasable). */
struct policy_callers {
    /* Handle or id to the id, which lives until the next call. ERR_NOTFOUND:
     * nobody; *near is the nearest handle then, or empty. */
    enum err (*find)(void *context, struct str handle, struct str *id,
        struct str *near, struct errinfo *info);
    /* The handle of an id; empty: erased or unknown. Lives likewise. */
    struct str (*handle)(void *context, struct str id);
    void *context;
};

#define POLICY_TEXT_MAX (4u << 20)

/* Compiles text (policy_set_compile), checks every name, and appends the text
 * with ids for handles to `stored` (the same text where there are none). gives
 * *out, compiled from what was stored. callers NULL: ids only. ERR_SYNTAX:
 * findings has one line for each thing that is wrong. */
enum err policy_prepare(struct db *db, struct str text, const char *source_name,
    const struct policy_callers *callers, struct buf *stored,
    struct policy_set **out, struct buf *findings,
    struct errinfo *info) MUSTCHECK;

/* Appends text with handles for ids, for people to read. */
enum err policy_show(struct str text, const struct policy_callers *callers,
    struct buf *out, struct errinfo *info) MUSTCHECK;

struct policy_naming {
    int64_t version;
    char state[16];
    char rule[72]; /* @id */
    int line;
    size_t more; /* further places */
};
/* The first rule of the version that is active, or may become so without
 * another check (submitted, approved), that names the entity. A draft is
 * checked again when it is submitted. ERR_NOTFOUND: none does. */
enum err policy_names_find(struct db *db, struct str type, struct str id,
    struct policy_naming *out, struct errinfo *info) MUSTCHECK;

#endif
