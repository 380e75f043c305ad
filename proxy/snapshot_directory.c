/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/snapshot_directory.c - teams, callers, keys, quotas and sealing keys
 * out of the databases, and the Cedar entities of all of them.
 *
 * Each query is one ordered pass that is merged with the callers (ordered by
 * id), so that loading is linear in the rows. */
#include "proxy/snapshot_priv.h"

#include "lib/log.h"
#include "lib/must.h"

#include <stdlib.h>

#define NEXT_KEY_AHEAD_US (7 * DAY_US)

/* What is needed while loading only. */
struct loading {
    const struct snapshot_sources *sources;
    struct directory_part *p;
    struct arena *scratch;
    struct errinfo *info;
};

static enum err nomem(struct errinfo *info)
{
    return errinfo_set(info, ERR_NOMEM, "out of memory");
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

/* --- Teams --------------------------------------------------------------- */

static enum err load_teams(struct loading *l)
{
    struct db *db = l->sources->control;
    struct db_statement *s;
    size_t count = 0;
    enum err err = count_rows(db, "SELECT count(*) FROM team", &count, l->info);
    if (err != ERR_OK)
        return err;
    l->p->teams =
        ARENA_ARRAY(l->p->part.arena, count + 1, struct directory_team);
    if (l->p->teams == NULL)
        return nomem(l->info);
    err = db_prepare(db,
        "SELECT name, parent, coalesce(weight, 0) FROM team LEFT JOIN "
        "team_weight ON team = name ORDER BY name",
        &s, l->info);
    while (err == ERR_OK && (err = db_step(s, l->info)) == ERR_OK) {
        struct directory_team *team = &l->p->teams[l->p->team_count++];
        team->name = arena_copy(l->p->part.arena, db_column_text(s, 0));
        team->parent = arena_copy(l->p->part.arena, db_column_text(s, 1));
        team->weight = (unsigned)db_column_int(s, 2);
        if (team->name.ptr == NULL || team->parent.ptr == NULL) {
            db_reset(s);
            return nomem(l->info);
        }
    }
    for (size_t i = 0; i < l->p->team_count; i++)
        l->p->teams[i].parent_at =
            l->p->teams[i].parent.len > 0
                ? snapshot_team_at(l->p, l->p->teams[i].parent)
                : SIZE_MAX;
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* Of several teams the heaviest; they come by name. */
static void weigh(
    const struct loading *l, struct snapshot_caller *c, struct str team)
{
    size_t at = snapshot_team_at(l->p, team);
    unsigned weight = at != SIZE_MAX ? snapshot_team_weight(l->p, at) : 0;
    if (c->queue_team.len > 0 && weight <= c->queue_weight)
        return;
    if (at != SIZE_MAX) {
        c->queue_team = l->p->teams[at].name;
        c->queue_weight = weight;
    }
}

/* Adds a team and its ancestors to the caller's list (which may then hold
 * doubles; they go at the end). */
static size_t add_team(const struct loading *l, struct str name,
    struct str *list, size_t count, size_t max)
{
    size_t at = snapshot_team_at(l->p, name);
    for (int depth = 0; at != SIZE_MAX && depth < TEAM_DEPTH_MAX; depth++) {
        if (count == max)
            break;
        list[count++] = l->p->teams[at].name;
        at = l->p->teams[at].parent_at;
    }
    return count;
}

/* --- Callers ------------------------------------------------------------- */

static struct snapshot_caller *caller_with_id(
    const struct directory_part *p, struct str id)
{
    size_t low = 0, high = p->caller_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_compare(str_from(p->callers[middle].id), id);
        if (order == 0)
            return &p->callers[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static enum err load_callers(struct loading *l)
{
    struct directory_part *p = l->p;
    struct db *db = l->sources->control;
    struct db_statement *s;
    size_t count = 0;
    enum err err =
        count_rows(db, "SELECT count(*) FROM caller", &count, l->info);
    if (err != ERR_OK)
        return err;
    p->callers = arena_zalloc(p->part.arena, (count + 1) * sizeof(*p->callers));
    if (p->callers == NULL)
        return nomem(l->info);
    err = db_prepare(
        db, "SELECT id, kind, disabled FROM caller ORDER BY id", &s, l->info);
    while (err == ERR_OK && (err = db_step(s, l->info)) == ERR_OK) {
        struct snapshot_caller *c = &p->callers[p->caller_count++];
        c->id = arena_cstr(p->part.arena, db_column_text(s, 0));
        c->kind = arena_cstr(p->part.arena, db_column_text(s, 1));
        c->disabled = db_column_int(s, 2) != 0;
        c->handle = c->id;
        c->queue_team = STR("");
        c->queue_weight = 1;
        if (c->id == NULL || c->kind == NULL) {
            db_reset(s);
            return nomem(l->info);
        }
    }
    if (err != ERR_NOTFOUND)
        return err;
    err = db_prepare(l->sources->persons,
        "SELECT id, handle FROM person ORDER BY id", &s, l->info);
    while (err == ERR_OK && (err = db_step(s, l->info)) == ERR_OK) {
        struct snapshot_caller *c = caller_with_id(p, db_column_text(s, 0));
        if (c != NULL)
            c->handle = arena_cstr(p->part.arena, db_column_text(s, 1));
        if (c != NULL && c->handle == NULL) {
            db_reset(s);
            return nomem(l->info);
        }
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err set_teams(struct loading *l, struct snapshot_caller *c,
    struct str *list, size_t count)
{
    size_t kept = snapshot_sort_teams(list, count);
    struct str *teams = ARENA_ARRAY(l->p->part.arena, kept + 1, struct str);
    if (teams == NULL)
        return nomem(l->info);
    memcpy(teams, list, kept * sizeof(*teams));
    c->teams = teams;
    c->team_count = kept;
    return ERR_OK;
}

static enum err load_memberships(struct loading *l)
{
    struct str list[1024];
    size_t count = 0;
    struct snapshot_caller *current = NULL;
    struct db_statement *s;
    enum err err = db_prepare(l->sources->control,
        "SELECT caller, team FROM caller_team ORDER BY caller, team", &s,
        l->info);
    while (err == ERR_OK && (err = db_step(s, l->info)) == ERR_OK) {
        struct snapshot_caller *c = caller_with_id(l->p, db_column_text(s, 0));
        if (c != current && current != NULL)
            err = set_teams(l, current, list, count);
        if (c != current)
            count = 0;
        current = c;
        if (c != NULL) {
            count = add_team(l, db_column_text(s, 1), list, count, 1024);
            weigh(l, c, db_column_text(s, 1));
        }
        if (err != ERR_OK) {
            db_reset(s);
            return err;
        }
    }
    if (err == ERR_NOTFOUND)
        err = current != NULL ? set_teams(l, current, list, count) : ERR_OK;
    return err;
}

/* --- Keys ---------------------------------------------------------------- */

static enum err load_keys(struct loading *l)
{
    struct directory_part *p = l->p;
    struct db *db = l->sources->control;
    struct db_statement *s;
    size_t count = 0;
    enum err err =
        count_rows(db, "SELECT count(*) FROM api_key", &count, l->info);
    if (err != ERR_OK)
        return err;
    p->key_slot_count = 16;
    while (p->key_slot_count < count * 2)
        p->key_slot_count *= 2;
    p->keys = arena_zalloc(p->part.arena, (count + 1) * sizeof(*p->keys));
    p->key_slots =
        arena_zalloc(p->part.arena, p->key_slot_count * sizeof(uint32_t));
    if (p->keys == NULL || p->key_slots == NULL)
        return nomem(l->info);
    err = db_prepare(db,
        "SELECT id, hash, caller, expires, revoked FROM api_key ORDER BY id",
        &s, l->info);
    while (err == ERR_OK && (err = db_step(s, l->info)) == ERR_OK) {
        struct snapshot_key *key = &p->keys[p->key_count];
        struct str hash = db_column_blob(s, 1);
        key->id = arena_cstr(p->part.arena, db_column_text(s, 0));
        key->caller = caller_with_id(p, db_column_text(s, 2));
        key->expires_us = db_column_int(s, 3);
        key->revoked = !db_column_is_null(s, 4);
        if (l->sources->key_usage != NULL)
            key->used =
                key_usage_cell(l->sources->key_usage, db_column_text(s, 0));
        if (key->id == NULL) {
            db_reset(s);
            return nomem(l->info);
        }
        if (key->caller == NULL || hash.len != sizeof(key->hash))
            continue; /* the tables' own rules exclude it */
        memcpy(key->hash, hash.ptr, sizeof(key->hash));
        uint64_t start;
        memcpy(&start, key->hash, sizeof(start));
        size_t mask = p->key_slot_count - 1, at = (size_t)start & mask;
        while (p->key_slots[at] != 0)
            at = (at + 1) & mask;
        p->key_slots[at] = (uint32_t)++p->key_count;
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* --- Quotas -------------------------------------------------------------- */

/* Loaded once for all quotas that name it. */
static enum err zone_of(
    struct loading *l, struct str name, const struct clock_zone **out)
{
    struct directory_part *p = l->p;
    struct directory_zone *z;
    for (z = p->zones; z != NULL; z = z->next) {
        if (str_equal(z->name, name)) {
            *out = z->zone;
            return ERR_OK;
        }
    }
    z = arena_zalloc(p->part.arena, sizeof(*z));
    const char *text = arena_cstr(p->part.arena, name);
    if (z == NULL || text == NULL)
        return nomem(l->info);
    enum err err = clock_zone_load(text, &z->zone, l->info);
    if (err != ERR_OK)
        return err;
    z->name = str_from(text);
    z->next = p->zones;
    p->zones = z;
    *out = z->zone;
    return ERR_OK;
}

static enum err read_quota(struct loading *l, struct db_statement *s,
    const struct settings_part *settings, struct quota_rule *rule,
    struct snapshot_quota_for *scoped)
{
    struct str id = db_column_text(s, 0);
    if (id.len >= sizeof(rule->id))
        return errinfo_set(
            l->info, ERR_CORRUPT, "quota '%.*s': id too long", STR_ARG(id));
    memcpy(rule->id, id.ptr, id.len);
    rule->amount = db_column_int(s, 6);
    rule->zone = settings->zone;
    rule->warn_percent = (int)db_column_int(s, 8);
    rule->earlier = db_column_int(s, 10);
    rule->earlier_window_us = db_column_int(s, 11);
    if (db_column_text(s, 9).len > 0) {
        enum err bad = zone_of(l, db_column_text(s, 9), &rule->zone);
        if (bad != ERR_OK)
            return errinfo_prefix(l->info, bad, "quota %s", rule->id);
    }
    scoped->scope = arena_copy(l->p->part.arena, db_column_text(s, 1));
    scoped->subject = arena_copy(l->p->part.arena, db_column_text(s, 2));
    scoped->model = arena_copy(l->p->part.arena, db_column_text(s, 3));
    scoped->group = arena_copy(l->p->part.arena, db_column_text(s, 7));
    if (!scoped->scope.ptr || !scoped->subject.ptr || !scoped->model.ptr ||
        !scoped->group.ptr)
        return nomem(l->info);
    enum err err =
        quota_dimension_parse(db_column_text(s, 4), &rule->dimension);
    if (err == ERR_OK)
        err = quota_window_parse(db_column_text(s, 5), &rule->window);
    return err == ERR_OK
               ? ERR_OK
               : errinfo_set(l->info, ERR_CORRUPT,
                     "quota %s: unknown dimension or window", rule->id);
}

/* Is the quota for this key, or for one that it took over from? */
static bool is_for_key(const struct directory_part *p,
    const struct snapshot_quota_for *scope, const struct snapshot_key *key)
{
    if (!str_equal(scope->scope, STR("key")))
        return false;
    /* The count bounds a circle that somebody wrote into the database. */
    for (size_t i = 0; key != NULL && i < p->key_count; i++) {
        if (str_equal(scope->subject, str_from(key->id)))
            return true;
        key = key->replaces;
    }
    return false;
}

static bool applies(const struct directory_part *p,
    const struct snapshot_quota_for *s, const struct snapshot_caller *caller,
    const struct snapshot_key *key)
{
    if (key != NULL)
        return is_for_key(p, s, key);
    if (str_equal(s->scope, STR("organisation")))
        return true;
    if (str_equal(s->scope, STR("team")))
        return snapshot_has_team(caller->teams, caller->team_count, s->subject);
    return str_equal(s->scope, STR("caller")) &&
           str_equal(s->subject, str_from(caller->id));
}

/* The rules that apply, as an array of pointers: all of them, however many. */
static enum err fit_quotas(struct loading *l,
    const struct snapshot_quota_for *scopes,
    const struct snapshot_caller *caller, const struct snapshot_key *key,
    const struct quota_rule *const **rules,
    const struct snapshot_quota_for **what, size_t *count)
{
    struct directory_part *p = l->p;
    size_t n = 0, at = 0;
    for (size_t i = 0; i < p->quota_count; i++)
        n += applies(p, &scopes[i], caller, key);
    const struct quota_rule **list =
        ARENA_ARRAY(p->part.arena, n + 1, const struct quota_rule *);
    struct snapshot_quota_for *copy =
        ARENA_ARRAY(p->part.arena, n + 1, struct snapshot_quota_for);
    if (list == NULL || copy == NULL)
        return nomem(l->info);
    for (size_t i = 0; i < p->quota_count && at < n; i++) {
        if (!applies(p, &scopes[i], caller, key))
            continue;
        list[at] = &p->quotas[i];
        copy[at++] = scopes[i];
    }
    *rules = list;
    *what = copy;
    *count = n;
    return ERR_OK;
}

static enum err load_quotas(
    struct loading *l, const struct settings_part *settings)
{
    struct directory_part *p = l->p;
    struct db *db = l->sources->control;
    struct db_statement *s;
    size_t count = 0;
    bool any_key = false;
    enum err err =
        count_rows(db, "SELECT count(*) FROM quota", &count, l->info);
    if (err != ERR_OK)
        return err;
    p->quotas = arena_zalloc(p->part.arena, (count + 1) * sizeof(*p->quotas));
    struct snapshot_quota_for *scopes =
        ARENA_ARRAY(p->part.arena, count + 1, struct snapshot_quota_for);
    if (p->quotas == NULL || scopes == NULL)
        return nomem(l->info);
    p->quota_for = scopes;
    err = db_prepare(db,
        "SELECT id, scope, subject, model, dimension, window, amount, "
        "model_group, warn_percent, zone, earlier, "
        "earlier_window FROM quota ORDER BY id",
        &s, l->info);
    while (err == ERR_OK && (err = db_step(s, l->info)) == ERR_OK) {
        err = read_quota(l, s, settings, &p->quotas[p->quota_count],
            &scopes[p->quota_count]);
        if (err != ERR_OK) {
            db_reset(s);
            return err;
        }
        any_key =
            any_key || str_equal(scopes[p->quota_count].scope, STR("key"));
        p->quota_count++;
    }
    if (err != ERR_NOTFOUND)
        return err;
    for (size_t i = 0; p->base == NULL && i < p->caller_count; i++) {
        struct snapshot_caller *c = &p->callers[i];
        err = fit_quotas(
            l, scopes, c, NULL, &c->quotas, &c->quota_for, &c->quota_count);
        if (err != ERR_OK)
            return err;
    }
    for (size_t i = 0; any_key && i < p->key_count; i++) {
        struct snapshot_key *key = &p->keys[i];
        err = fit_quotas(l, scopes, key->caller, key, &key->quotas,
            &key->quota_for, &key->quota_count);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

/* --- Sealing keys -------------------------------------------------------- */

static bool same_month(int64_t a_us, int64_t b_us)
{
    struct clock_civil a, b;
    clock_civil_utc(a_us, &a);
    clock_civil_utc(b_us, &b);
    return a.year == b.year && a.month == b.month;
}

/* This month's key, and next month's once it is near: a worker never makes
 * one. A destroyed key leaves the caller without: nothing of theirs passes. */
static enum err get_pair(
    struct loading *l, struct str subject, struct seal_key out[2], bool *has)
{
    int64_t now = l->sources->now_us;
    enum err err =
        keyring_get(l->sources->keyring, subject, now, &out[0], l->info);
    if (err == ERR_OK && same_month(now, now + NEXT_KEY_AHEAD_US))
        out[1] = out[0];
    else if (err == ERR_OK)
        err = keyring_get(l->sources->keyring, subject, now + NEXT_KEY_AHEAD_US,
            &out[1], l->info);
    *has = err == ERR_OK;
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err load_seals(struct loading *l)
{
    struct directory_part *p = l->p;
    struct keyring *keyring = l->sources->keyring;
    if (keyring == NULL)
        return ERR_OK;
    enum err err = keyring_begin(keyring, l->info);
    if (err != ERR_OK)
        return err;
    err = get_pair(l, STR("anonymous"), p->anonymous, &p->has_anonymous);
    for (size_t i = 0; err == ERR_OK && i < p->caller_count; i++)
        err = get_pair(l, str_from(p->callers[i].id), p->callers[i].seal,
            &p->callers[i].has_seal);
    enum err ended = keyring_end(keyring, l->info);
    if (err == ERR_OK)
        err = ended;
    keyring_digest_key(keyring, p->digest_key, p->digest_key_name);
    p->has_digest = true;
    return err;
}

/* --- The part ------------------------------------------------------------ */

static void add_slot(struct directory_part *p, struct str name,
    const struct snapshot_caller *caller)
{
    size_t mask = p->caller_slot_count - 1;
    size_t at = (size_t)str_hash(name) & mask;
    while (p->caller_slots[at].caller != NULL)
        at = (at + 1) & mask;
    p->caller_slots[at].name = name;
    p->caller_slots[at].caller = caller;
}

static enum err index_callers(struct loading *l)
{
    struct directory_part *p = l->p;
    p->caller_slot_count = 16;
    while (p->caller_slot_count < p->caller_count * 4)
        p->caller_slot_count *= 2;
    p->caller_slots = arena_zalloc(
        p->part.arena, p->caller_slot_count * sizeof(*p->caller_slots));
    if (p->caller_slots == NULL)
        return nomem(l->info);
    for (size_t i = 0; i < p->caller_count; i++) {
        const struct snapshot_caller *c = &p->callers[i];
        add_slot(p, str_from(c->id), c);
        if (c->handle != c->id)
            add_slot(p, str_from(c->handle), c);
    }
    return ERR_OK;
}

static void destroy_directory(struct part *part)
{
    struct directory_part *p = (struct directory_part *)part;
    if (p->base != NULL) {
        snapshot_part_unref(&p->base->part);
        p->caller_count = 0; /* not ours */
    }
    for (size_t i = 0; i < p->caller_count; i++)
        crypto_wipe(p->callers[i].seal, sizeof(p->callers[i].seal));
    for (struct directory_zone *z = p->zones; z != NULL; z = z->next)
        clock_zone_free(&z->zone);
    crypto_wipe(p->anonymous, sizeof(p->anonymous));
    crypto_wipe(p->digest_key, sizeof(p->digest_key));
}

/* Who calls is as it was: callers with their teams, quotas and sealing keys
 * stay where they stand. What is left to do grows with the keys alone. */
static void take_over_callers(
    struct directory_part *p, struct directory_part *previous)
{
    struct directory_part *base = previous->base ? previous->base : previous;
    snapshot_part_ref(&base->part);
    p->base = base;
    p->callers = base->callers;
    p->caller_count = base->caller_count;
    p->caller_slots = base->caller_slots;
    p->caller_slot_count = base->caller_slot_count;
    memcpy(p->anonymous, base->anonymous, sizeof(p->anonymous));
    p->has_anonymous = base->has_anonymous;
    memcpy(p->digest_key, base->digest_key, sizeof(p->digest_key));
    memcpy(
        p->digest_key_name, base->digest_key_name, sizeof(p->digest_key_name));
    p->has_digest = base->has_digest;
}

enum err snapshot_load_directory(const struct snapshot_sources *sources,
    const struct settings_part *settings, struct directory_part *previous,
    unsigned changed, struct directory_part **out, struct errinfo *info)
{
    struct directory_part *p = snapshot_part_new(sizeof(*p), destroy_directory);
    struct loading l = {.sources = sources, .p = p, .info = info};
    enum err err = ERR_OK;
    if (p == NULL)
        return nomem(info);
    bool keys_only = previous != NULL &&
                     (changed & (CHANGED_DIRECTORY | CHANGED_QUOTAS |
                                    CHANGED_SEALING | CHANGED_SETTINGS)) == 0;
    if (keys_only)
        take_over_callers(p, previous);
    else
        err = load_teams(&l);
    if (err == ERR_OK && !keys_only)
        err = load_callers(&l);
    if (err == ERR_OK && !keys_only)
        err = load_memberships(&l);
    if (err == ERR_OK)
        err = load_keys(&l);
    if (err == ERR_OK)
        err = snapshot_load_key_limits(sources, p, info);
    if (err == ERR_OK)
        err = load_quotas(&l, settings);
    if (err == ERR_OK && !keys_only)
        err = load_seals(&l);
    if (err == ERR_OK && !keys_only)
        err = index_callers(&l);
    if (err != ERR_OK) {
        snapshot_part_unref(&p->part);
        return err;
    }
    *out = p;
    return ERR_OK;
}

/* --- Cedar entities ------------------------------------------------------ */

static void destroy_entities(struct part *part)
{
    policy_entities_free(&((struct entities_part *)part)->entities);
}

/* Runs a query and hands each row to `row`. */
static enum err each_row(struct db *db, const char *sql,
    enum err (*row)(struct policy_entities_builder *b, struct db *db,
        struct db_statement *s, struct errinfo *info),
    struct policy_entities_builder *b, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(db, sql, &s, info);
    while (err == ERR_OK && (err = db_step(s, info)) == ERR_OK) {
        err = row(b, db, s, info);
        if (err != ERR_OK) {
            db_reset(s);
            return err;
        }
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* Splits "a\x1f..." lists that group_concat made; at most `max`. */
static size_t split_list(struct str text, struct str *out, size_t max)
{
    size_t count = 0;
    while (text.len > 0 && count < max)
        str_split(text, '\x1f', &out[count++], &text);
    return count;
}

static enum err team_row(struct policy_entities_builder *b, struct db *db,
    struct db_statement *s, struct errinfo *info)
{
    return policy_entities_team(b, db_column_text(s, 0), db_column_text(s, 1));
}

static enum err caller_row(struct policy_entities_builder *b, struct db *db,
    struct db_statement *s, struct errinfo *info)
{
    struct str teams[1024];
    size_t count = split_list(db_column_text(s, 2), teams, 1024);
    return policy_entities_caller(
        b, db_column_text(s, 0), db_column_text(s, 1), teams, count);
}

static enum err group_row(struct policy_entities_builder *b, struct db *db,
    struct db_statement *s, struct errinfo *info)
{
    return policy_entities_group(b, db_column_text(s, 0));
}

static enum err engine_row(struct policy_entities_builder *b, struct db *db,
    struct db_statement *s, struct errinfo *info)
{
    return policy_entities_engine(
        b, db_column_text(s, 0), db_column_text(s, 1), db_column_text(s, 2));
}

static enum err model_row(struct policy_entities_builder *b, struct db *db,
    struct db_statement *s, struct errinfo *info)
{
    struct str groups[1024];
    struct policy_model model = {.name = db_column_text(s, 0),
        .version = db_column_text(s, 1),
        .owner = db_column_text(s, 2),
        .licence = db_column_text(s, 3),
        .risk_class = db_column_text(s, 4),
        .region = db_column_text(s, 5),
        .status = db_column_text(s, 6),
        .groups = groups,
        .group_count = split_list(db_column_text(s, 7), groups, 1024)};
    return policy_entities_model(b, &model);
}

enum err snapshot_load_entities(const struct snapshot_sources *sources,
    struct entities_part **out, struct errinfo *info)
{
    struct db *db = sources->control;
    struct entities_part *p = snapshot_part_new(sizeof(*p), destroy_entities);
    struct policy_entities_builder *b = policy_entities_begin();
    enum err err = p != NULL && b != NULL ? ERR_OK : nomem(info);
    if (err == ERR_OK)
        err = each_row(db, "SELECT name, parent FROM team", team_row, b, info);
    if (err == ERR_OK)
        err = each_row(db,
            "SELECT id, kind, (SELECT group_concat(team, char(31)) FROM "
            "caller_team WHERE caller = caller.id) FROM caller",
            caller_row, b, info);
    if (err == ERR_OK)
        err = each_row(db, "SELECT name FROM model_group", group_row, b, info);
    if (err == ERR_OK)
        err = each_row(
            db, "SELECT name, kind, region FROM engine", engine_row, b, info);
    if (err == ERR_OK)
        err = each_row(db,
            "SELECT name, version, owner, licence, risk_class, region, "
            "status, (SELECT group_concat(model_group, char(31)) FROM "
            "model_group_member WHERE model = model.name) FROM model",
            model_row, b, info);
    if (err == ERR_OK)
        err = policy_entities_finish(&b, &p->entities, info);
    policy_entities_abandon(&b);
    if (err != ERR_OK) {
        snapshot_part_unref(p ? &p->part : NULL);
        return info != NULL && info->text[0] != '\0'
                   ? err
                   : errinfo_set(info, err, "the entities cannot be built: %s",
                         err_name(err));
    }
    *out = p;
    return ERR_OK;
}
