/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/snapshot_teams.c - teams within the directory, and what a caller is in
 * for one request because the groups of its token stand for teams. */
#include "proxy/snapshot_priv.h"

#include "audit/entry.h"

#include <stdlib.h>

size_t snapshot_team_at(const struct directory_part *part, struct str name)
{
    size_t low = 0, high = part->team_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_compare(part->teams[middle].name, name);
        if (order == 0)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return SIZE_MAX;
}

unsigned snapshot_team_weight(const struct directory_part *part, size_t at)
{
    for (int depth = 0; at != SIZE_MAX && depth < TEAM_DEPTH_MAX; depth++) {
        if (part->teams[at].weight > 0)
            return part->teams[at].weight;
        at = part->teams[at].parent_at;
    }
    return 1;
}

static int compare_names(const void *a, const void *b)
{
    return str_compare(*(const struct str *)a, *(const struct str *)b);
}

bool snapshot_has_team(const struct str *teams, size_t count, struct str team)
{
    return count > 0 &&
           bsearch(&team, teams, count, sizeof(team), compare_names) != NULL;
}

size_t snapshot_sort_teams(struct str *teams, size_t count)
{
    size_t kept = 0;
    qsort(teams, count, sizeof(*teams), compare_names);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || !str_equal(teams[kept - 1], teams[i]))
            teams[kept++] = teams[i];
    }
    return kept;
}

const struct str *snapshot_team_of_group(
    const struct snapshot_issuer *issuer, struct str group)
{
    size_t low = 0, high = issuer->group_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_compare(issuer->groups[middle].group, group);
        if (order == 0)
            return &issuer->groups[middle].team;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* --- For one request ------------------------------------------------------ */

/* The team and those above it, behind list[count]; list NULL: counts only. */
static size_t climb(const struct directory_part *part, size_t at,
    struct str *list, size_t count)
{
    for (int depth = 0; at != SIZE_MAX && depth < TEAM_DEPTH_MAX; depth++) {
        if (list != NULL)
            list[count] = part->teams[at].name;
        count++;
        at = part->teams[at].parent_at;
    }
    return count;
}

static enum err unite(const struct directory_part *part,
    const struct snapshot_caller *caller, struct arena *arena,
    struct snapshot_membership *out)
{
    size_t room = caller->team_count, count = caller->team_count;
    for (size_t i = 0; i < out->added_count; i++)
        room = climb(part, snapshot_team_at(part, out->added[i]), NULL, room);
    struct str *list = ARENA_ARRAY(arena, room + 1, struct str);
    if (list == NULL)
        return ERR_NOMEM;
    if (count > 0)
        memcpy(list, caller->teams, count * sizeof(*list));
    for (size_t i = 0; i < out->added_count; i++)
        count = climb(part, snapshot_team_at(part, out->added[i]), list, count);
    out->team_count = snapshot_sort_teams(list, count);
    out->teams = list;
    return ERR_OK;
}

/* Is it a quota of a team that came with the groups? */
static bool came_along(const struct snapshot_quota_for *quota,
    const struct snapshot_caller *caller, const struct snapshot_membership *m)
{
    return str_equal(quota->scope, STR("team")) &&
           snapshot_has_team(m->teams, m->team_count, quota->subject) &&
           !snapshot_has_team(
               caller->teams, caller->team_count, quota->subject);
}

static enum err fit_quotas(const struct directory_part *part,
    const struct snapshot_caller *caller, struct arena *arena,
    struct snapshot_membership *out)
{
    size_t count = 0;
    for (size_t i = 0; i < part->quota_count; i++)
        count += came_along(&part->quota_for[i], caller, out);
    if (count == 0)
        return ERR_OK;
    const struct quota_rule **rules =
        ARENA_ARRAY(arena, count, const struct quota_rule *);
    struct snapshot_quota_for *what =
        ARENA_ARRAY(arena, count, struct snapshot_quota_for);
    if (rules == NULL || what == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < part->quota_count; i++) {
        if (!came_along(&part->quota_for[i], caller, out))
            continue;
        rules[out->quota_count] = &part->quotas[i];
        what[out->quota_count++] = part->quota_for[i];
    }
    out->quotas = rules;
    out->quota_for = what;
    return ERR_OK;
}

enum err snapshot_join_named(const struct directory_part *part,
    const struct snapshot_caller *caller, const struct str *added,
    size_t added_count, struct arena *arena, struct snapshot_membership *out)
{
    size_t bytes = 0;
    *out = (struct snapshot_membership){.added = added,
        .added_count = added_count,
        .queue_team = caller->queue_team,
        .queue_weight = caller->queue_weight};
    for (size_t i = 0; i < added_count; i++) {
        size_t at = snapshot_team_at(part, added[i]);
        if (at == SIZE_MAX)
            return ERR_NOTFOUND;
        unsigned weight = snapshot_team_weight(part, at);
        bytes += added[i].len + 3; /* quotes and a comma */
        if (out->queue_team.len > 0 && weight <= out->queue_weight)
            continue;
        out->queue_team = part->teams[at].name;
        out->queue_weight = weight;
    }
    if (bytes > AUDIT_GROUP_TEAMS_BYTES)
        return ERR_LIMIT;
    enum err err = unite(part, caller, arena, out);
    return err == ERR_OK ? fit_quotas(part, caller, arena, out) : err;
}
