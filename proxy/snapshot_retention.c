/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/snapshot_retention.c - retention classes, and whose records are in
 * which, where no rule says so. */
#include "proxy/snapshot_priv.h"

#define DEFAULT_DAYS 184 /* as in proxy/admin/retention.h */

static enum err nomem(struct errinfo *info)
{
    return errinfo_set(info, ERR_NOMEM, "out of memory");
}

static const struct snapshot_retention *find(
    const struct settings_part *p, struct str name)
{
    for (size_t i = 0; i < p->retention_count; i++)
        if (str_equal(p->retention[i].name, name))
            return &p->retention[i];
    return NULL;
}

static enum err count_rows(
    struct db *db, const char *sql, size_t *count, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(db, sql, &s, info);
    if (err == ERR_OK)
        err = db_step(s, info);
    if (err == ERR_OK) {
        *count = (size_t)db_column_int(s, 0);
        db_reset(s);
    }
    return err;
}

static enum err load_classes(const struct snapshot_sources *sources,
    struct settings_part *p, struct errinfo *info)
{
    struct db_statement *s;
    size_t room = 0;
    enum err err = count_rows(
        sources->control, "SELECT count(*) FROM retention_class", &room, info);
    if (err != ERR_OK)
        return err;
    struct snapshot_retention *classes =
        ARENA_ARRAY(p->part.arena, room + 1, struct snapshot_retention);
    if (classes == NULL)
        return nomem(info);
    p->retention = classes;
    err = db_prepare(sources->control,
        "SELECT name, days, exempt FROM retention_class ORDER BY name", &s,
        info);
    while (err == ERR_OK && (err = db_step(s, info)) == ERR_OK &&
           p->retention_count < room) {
        struct snapshot_retention *one = &classes[p->retention_count++];
        one->name = arena_copy(p->part.arena, db_column_text(s, 0));
        one->days = db_column_int(s, 1);
        one->exempt = db_column_int(s, 2) != 0;
        if (one->name.ptr == NULL) {
            db_reset(s);
            return nomem(info);
        }
    }
    if (err == ERR_OK)
        db_reset(s);
    if (find(p, STR("default")) == NULL)
        classes[p->retention_count++] =
            (struct snapshot_retention){STR("default"), DEFAULT_DAYS, false};
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

enum err snapshot_load_retention(const struct snapshot_sources *sources,
    struct settings_part *p, struct errinfo *info)
{
    struct db_statement *s;
    size_t room = 0;
    enum err err = load_classes(sources, p, info);
    if (err == ERR_OK)
        err = count_rows(sources->control,
            "SELECT count(*) FROM retention_team", &room, info);
    if (err != ERR_OK)
        return err;
    struct retention_of_team *teams =
        ARENA_ARRAY(p->part.arena, room + 1, struct retention_of_team);
    if (teams == NULL)
        return nomem(info);
    p->retention_teams = teams;
    err = db_prepare(sources->control,
        "SELECT team, class FROM retention_team ORDER BY team", &s, info);
    while (err == ERR_OK && (err = db_step(s, info)) == ERR_OK &&
           p->retention_team_count < room) {
        struct retention_of_team *one = &teams[p->retention_team_count++];
        one->team = arena_copy(p->part.arena, db_column_text(s, 0));
        one->class = find(p, db_column_text(s, 1));
        if (one->team.ptr == NULL) {
            db_reset(s);
            return nomem(info);
        }
    }
    if (err == ERR_OK)
        db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

const struct snapshot_retention *snapshot_longer_retention(
    const struct snapshot_retention *a, const struct snapshot_retention *b)
{
    if (a == NULL || b == NULL)
        return a != NULL ? a : b;
    if (a->exempt != b->exempt)
        return a->exempt ? a : b;
    return b->days > a->days ? b : a;
}
