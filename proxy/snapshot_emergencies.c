/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/snapshot_emergencies.c - emergencies that are on, out of the
 * database. */
#include "proxy/snapshot_priv.h"

#define EMERGENCIES_MAX 64
#define CALLERS_MAX 1024 /* of one */

static enum err nomem(struct errinfo *info)
{
    return errinfo_set(info, ERR_NOMEM, "out of memory");
}

static enum err read_callers(const struct snapshot_sources *sources,
    struct arena *arena, struct snapshot_emergency *e, struct errinfo *info)
{
    struct str *list = ARENA_ARRAY(arena, CALLERS_MAX, struct str);
    struct db_statement *s;
    enum err err;

    if (!list)
        return nomem(info);
    err = db_prepare(sources->control,
        "SELECT caller FROM emergency_caller WHERE emergency = ?1 "
        "ORDER BY caller",
        &s, info);
    if (err)
        return err;
    db_bind_text(s, 1, str_from(e->id));
    while ((err = db_step(s, info)) == ERR_OK) {
        struct str copy = arena_copy(arena, db_column_text(s, 0));
        if (!copy.ptr || e->caller_count == CALLERS_MAX) {
            db_reset(s);
            return copy.ptr ? errinfo_set(info, ERR_LIMIT,
                                  "emergency %s is for more than %d callers",
                                  e->id, CALLERS_MAX)
                            : nomem(info);
        }
        list[e->caller_count++] = copy;
    }
    e->callers = list;
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err read_all(const struct snapshot_sources *sources,
    struct emergencies_part *p, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(sources->control,
        "SELECT id, kind = 'policy', model, expires FROM emergency "
        "WHERE ended IS NULL ORDER BY started, id",
        &s, info);

    while (!err && (err = db_step(s, info)) == ERR_OK) {
        struct snapshot_emergency *e = &p->emergencies[p->count];
        if (p->count == EMERGENCIES_MAX) {
            db_reset(s);
            return errinfo_set(info, ERR_LIMIT,
                "more than %d emergencies at once", EMERGENCIES_MAX);
        }
        e->id = arena_cstr(p->part.arena, db_column_text(s, 0));
        e->policy = db_column_int(s, 1) != 0;
        e->model = arena_cstr(p->part.arena, db_column_text(s, 2));
        e->expires_us = db_column_int(s, 3);
        if (!e->id || !e->model) {
            db_reset(s);
            return nomem(info);
        }
        p->count++;
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err count_reviews(const struct snapshot_sources *sources,
    struct emergencies_part *p, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(sources->control,
        "SELECT count(*) FROM emergency WHERE reviewed IS NULL", &s, info);

    if (err)
        return err;
    err = db_step(s, info);
    if (!err)
        p->reviews_open = db_column_int(s, 0);
    db_reset(s);
    return err;
}

enum err snapshot_load_emergencies(const struct snapshot_sources *sources,
    struct emergencies_part **out, struct errinfo *info)
{
    struct emergencies_part *p = snapshot_part_new(sizeof *p, NULL);
    enum err err;

    if (!p)
        return nomem(info);
    p->emergencies =
        arena_zalloc(p->part.arena, EMERGENCIES_MAX * sizeof *p->emergencies);
    err = p->emergencies ? read_all(sources, p, info) : nomem(info);
    for (size_t i = 0; !err && i < p->count; i++)
        if (!p->emergencies[i].policy)
            err =
                read_callers(sources, p->part.arena, &p->emergencies[i], info);
    if (!err)
        err = count_reviews(sources, p, info);
    if (err) {
        snapshot_part_unref(&p->part);
        return err;
    }
    *out = p;
    return ERR_OK;
}
