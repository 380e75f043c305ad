/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/snapshot_keys.c - what each API key may be used for, out of the rows
 * of api_key_limit, and what it took over from. */
#include "proxy/snapshot_priv.h"

#include "engine/dialect.h"

#include <stdatomic.h>
#include <stdlib.h>

/* The lists of one key while its rows come in, ordered by kind. */
struct limits {
    struct address_range *addresses;
    struct str *models, *routes;
};

static int compare_ids(const void *id, const void *key)
{
    return str_compare(*(const struct str *)id,
        str_from(((const struct snapshot_key *)key)->id));
}

static struct snapshot_key *find_key(struct directory_part *p, struct str id)
{
    if (p->key_count == 0)
        return NULL;
    return bsearch(&id, p->keys, p->key_count, sizeof(*p->keys), compare_ids);
}

static enum err nomem(struct errinfo *info)
{
    return errinfo_set(info, ERR_NOMEM, "out of memory");
}

/* --- Lines of rotation --------------------------------------------------- */

static enum err link_keys(
    struct directory_part *p, struct db *db, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(db,
        "SELECT id, replaces FROM api_key WHERE replaces IS NOT NULL", &s,
        info);

    while (err == ERR_OK && (err = db_step(s, info)) == ERR_OK) {
        struct snapshot_key *key = find_key(p, db_column_text(s, 0));
        if (key != NULL)
            key->replaces = find_key(p, db_column_text(s, 1));
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* --- Limits -------------------------------------------------------------- */

static enum err add_limit(struct directory_part *p, struct snapshot_key *key,
    struct str kind, struct str value, size_t room, struct errinfo *info)
{
    struct arena *arena = p->part.arena;
    struct str copy = arena_copy(arena, value), **list;
    size_t *count;

    if (copy.ptr == NULL)
        return nomem(info);
    if (str_equal(kind, STR("address"))) {
        struct address_range *ranges =
            (struct address_range *)(uintptr_t)key->addresses;
        if (ranges == NULL)
            ranges = ARENA_ARRAY(arena, room, struct address_range);
        if (ranges == NULL)
            return nomem(info);
        key->addresses = ranges;
        return address_range_parse(copy, &ranges[key->address_count++], info);
    }
    if (str_equal(kind, STR("model"))) {
        list = (struct str **)(uintptr_t)&key->models;
        count = &key->model_count;
    } else {
        list = (struct str **)(uintptr_t)&key->routes;
        count = &key->route_count;
    }
    if (*list == NULL)
        *list = ARENA_ARRAY(arena, room, struct str);
    if (*list == NULL)
        return nomem(info);
    (*list)[(*count)++] = copy;
    return ERR_OK;
}

static enum err load_limits(
    struct directory_part *p, struct db *db, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(db,
        "SELECT key, kind, value, (SELECT count(*) FROM api_key_limit AS o "
        "WHERE o.key = l.key AND o.kind = l.kind) FROM api_key_limit AS l "
        "ORDER BY key, kind, value",
        &s, info);

    while (err == ERR_OK && (err = db_step(s, info)) == ERR_OK) {
        struct snapshot_key *key = find_key(p, db_column_text(s, 0));
        if (key == NULL)
            continue;
        err = add_limit(p, key, db_column_text(s, 1), db_column_text(s, 2),
            (size_t)db_column_int(s, 3), info);
        if (err != ERR_OK) {
            db_reset(s);
            return err;
        }
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

enum err snapshot_load_key_limits(const struct snapshot_sources *sources,
    struct directory_part *part, struct errinfo *info)
{
    enum err err = link_keys(part, sources->control, info);

    return err == ERR_OK ? load_limits(part, sources->control, info) : err;
}

/* --- Asked by requests --------------------------------------------------- */

static bool is_listed(const struct str *list, size_t count, struct str wanted)
{
    for (size_t i = 0; i < count; i++)
        if (str_equal(list[i], wanted))
            return true;
    return count == 0;
}

bool snapshot_is_route(struct str path)
{
    size_t count;
    const struct dialect_route *routes = dialect_routes(&count);

    for (size_t i = 0; i < count; i++)
        if (str_equal(str_from(routes[i].path), path))
            return true;
    return false;
}

void snapshot_list_routes(struct buf *out)
{
    size_t count;
    const struct dialect_route *routes = dialect_routes(&count);

    for (size_t i = 0; i < count; i++) {
        bool again = false; /* with another method */
        for (size_t other = 0; other < i; other++)
            again |= strcmp(routes[other].path, routes[i].path) == 0;
        if (!again)
            buf_printf(out, " %s", routes[i].path);
    }
}

bool snapshot_key_allows_model(const struct snapshot_key *key, struct str model)
{
    return is_listed(key->models, key->model_count, model);
}

bool snapshot_key_allows_route(const struct snapshot_key *key, struct str path)
{
    return is_listed(key->routes, key->route_count, path);
}

bool snapshot_key_allows_address(
    const struct snapshot_key *key, const struct sockaddr *address)
{
    for (size_t i = 0; i < key->address_count; i++)
        if (address_range_has(&key->addresses[i], address))
            return true;
    return key->address_count == 0;
}

/* --- Taking away --------------------------------------------------------- */

static int compare_caller_ids(const void *id, const void *caller)
{
    return str_compare(*(const struct str *)id,
        str_from(((const struct snapshot_caller *)caller)->id));
}

static void withdraw(_Atomic bool *flag, size_t *count)
{
    *count += !atomic_exchange(flag, true);
}

enum err snapshot_withdraw_from(struct directory_part *part,
    const struct snapshot_sources *sources, size_t *count, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(sources->control,
        "SELECT id FROM api_key WHERE revoked >= ?1", &s, info);

    *count = 0;
    if (err)
        return err;
    db_bind_int(s, 1, sources->now_us - MINUTE_US);
    while ((err = db_step(s, info)) == ERR_OK) {
        struct snapshot_key *key = find_key(part, db_column_text(s, 0));
        if (key)
            withdraw(&key->revoked, count);
    }
    if (err != ERR_NOTFOUND)
        return err;
    err = db_prepare(
        sources->control, "SELECT id FROM caller WHERE disabled = 1", &s, info);
    if (err)
        return err;
    while ((err = db_step(s, info)) == ERR_OK) {
        struct str id = db_column_text(s, 0);
        struct snapshot_caller *caller =
            part->caller_count == 0
                ? NULL
                : bsearch(&id, part->callers, part->caller_count,
                      sizeof *part->callers, compare_caller_ids);
        if (caller)
            withdraw(&caller->disabled, count);
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}
