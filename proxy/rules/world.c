/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/rules/world.c - see proxy/rules/world.h. */
#include "proxy/rules/world.h"

#include "policy/cedar/extension.h"

#include <stdlib.h>

#define LIST_MAX 64 /* teams of a caller, groups and engines of a model */

struct world {
    json_t *drawn; /* NULL: the snapshot's */
    const struct snapshot *snapshot;
    struct policy_entities *entities; /* of what is drawn */
    struct clock_zone *zone;
};

bool world_decimal(struct str text, int64_t *ten_thousandths)
{
    bool places = memchr(text.ptr, '.', text.len) != NULL;
    char buffer[40];

    if (places)
        return cedar_decimal_parse(text, ten_thousandths, NULL);
    snprintf(buffer, sizeof buffer, "%.*s.0",
        (int)(text.len < 32 ? text.len : 32), text.ptr);
    return cedar_decimal_parse(str_from(buffer), ten_thousandths, NULL);
}

/* --- Drawing -----------------------------------------------------------------
 */

static const json_t *section(const struct world *w, const char *name)
{
    return json_object_get(w->drawn, name);
}

static struct str text_of(
    const json_t *object, const char *member, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(object, member));

    return str_from(text ? text : otherwise);
}

static size_t texts_of(const json_t *list, struct str out[LIST_MAX])
{
    size_t count = 0;

    for (size_t i = 0; i < json_array_size(list) && count < LIST_MAX; i++)
        out[count++] = str_from(json_string_value(json_array_get(list, i)));
    return count;
}

static enum err bad(
    struct errinfo *info, const char *what, const char *name, const char *why)
{
    return errinfo_set(
        info, ERR_INVALID, "world: %s \"%s\": %s", what, name, why);
}

static struct str caller_id(const struct world *w, const char *name)
{
    const struct snapshot_caller *caller =
        w->snapshot ? snapshot_find_caller(w->snapshot, str_from(name)) : NULL;

    return str_from(caller ? caller->id : name);
}

static enum err draw_callers(
    struct world *w, struct policy_entities_builder *b, struct errinfo *info)
{
    json_t *callers = (json_t *)(uintptr_t)section(w, "callers"), *one, *list;
    const char *name;
    enum err err = ERR_OK;

    json_object_foreach(callers, name, one)
    {
        struct str teams[LIST_MAX];
        size_t count;
        list = json_object_get(one, "teams");
        if (!json_is_object(one) || (list && !json_is_array(list)))
            return bad(
                info, "caller", name, "an object with \"teams\", a list");
        count = texts_of(list, teams);
        for (size_t i = 0; i < count; i++)
            if (!json_object_get(section(w, "teams"), teams[i].ptr))
                return bad(info, "caller", name,
                    "one of its teams is not in this world");
        err = policy_entities_caller(b, caller_id(w, name),
            text_of(one, "kind", "person"), teams, count);
        if (err)
            return err;
    }
    return err;
}

static enum err draw_models(
    struct world *w, struct policy_entities_builder *b, struct errinfo *info)
{
    json_t *models = (json_t *)(uintptr_t)section(w, "models"), *one, *list;
    const char *name;
    enum err err = ERR_OK;

    json_object_foreach(models, name, one)
    {
        struct str groups[LIST_MAX];
        struct policy_model model = {.name = str_from(name),
            .version = text_of(one, "version", ""),
            .owner = text_of(one, "owner", ""),
            .licence = text_of(one, "licence", ""),
            .risk_class = text_of(one, "riskClass", "unclassified"),
            .region = text_of(one, "region", ""),
            .status = text_of(one, "status", "approved"),
            .groups = groups};
        list = json_object_get(one, "groups");
        if (!json_is_object(one) || (list && !json_is_array(list)))
            return bad(
                info, "model", name, "an object with \"groups\", a list");
        model.group_count = texts_of(list, groups);
        list = json_object_get(one, "engines");
        for (size_t i = 0; i < json_array_size(list); i++)
            if (!json_object_get(section(w, "engines"),
                    json_string_value(json_array_get(list, i))))
                return bad(info, "model", name,
                    "one of its engines is not in this world");
        err = policy_entities_model(b, &model);
        if (err)
            return err;
    }
    return err;
}

static enum err draw_simple(
    struct world *w, struct policy_entities_builder *b, struct errinfo *info)
{
    json_t *teams = (json_t *)(uintptr_t)section(w, "teams"), *value;
    json_t *engines = (json_t *)(uintptr_t)section(w, "engines");
    const json_t *groups = section(w, "groups");
    const char *name;
    enum err err = ERR_OK;

    json_object_foreach(teams, name, value)
    {
        if (!json_is_string(value))
            return bad(info, "team", name, "the name of its parent, or \"\"");
        err = policy_entities_team(
            b, str_from(name), str_from(json_string_value(value)));
        if (err)
            return err;
    }
    for (size_t i = 0; !err && i < json_array_size(groups); i++)
        err = policy_entities_group(
            b, str_from(json_string_value(json_array_get(groups, i))));
    json_object_foreach(engines, name, value)
    {
        if (!err)
            err = policy_entities_engine(b, str_from(name),
                text_of(value, "kind", "openai"), text_of(value, "region", ""));
    }
    return err;
}

static enum err check_sections(const json_t *drawn, struct errinfo *info)
{
    static const char *const names[] = {
        "teams", "callers", "groups", "models", "engines", "zone"};
    json_t *object = (json_t *)(uintptr_t)drawn, *value;
    const char *key;

    if (!json_is_object(drawn))
        return errinfo_set(info, ERR_INVALID, "world: it is no object");
    json_object_foreach(object, key, value)
    {
        bool known = false;
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
            known |= strcmp(names[i], key) == 0;
        if (!known)
            return errinfo_set(info, ERR_INVALID,
                "world: \"%s\" is none of teams, callers, groups, models, "
                "engines, zone",
                key);
    }
    return ERR_OK;
}

static enum err draw(struct world *w, struct errinfo *info)
{
    const char *zone = json_string_value(section(w, "zone"));
    struct policy_entities_builder *b;
    enum err err = check_sections(w->drawn, info);

    if (!err && zone)
        err = clock_zone_load(zone, &w->zone, info);
    if (err)
        return err;
    b = policy_entities_begin();
    if (!b)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    errinfo_set(info, ERR_INVALID, "world: a thing is in it twice");
    err = draw_simple(w, b, info);
    if (!err)
        err = draw_callers(w, b, info);
    if (!err)
        err = draw_models(w, b, info);
    if (!err)
        err = policy_entities_finish(&b, &w->entities, info);
    policy_entities_abandon(&b);
    return err;
}

enum err world_open(const json_t *drawn, const struct snapshot *snapshot,
    struct world **out, struct errinfo *info)
{
    struct world *w;
    enum err err = ERR_OK;

    if (!drawn && !snapshot)
        return errinfo_set(info, ERR_INVALID,
            "the cases have no \"world\", and there is no state to ask: give "
            "-C DIR, or say who and what there is");
    w = calloc(1, sizeof *w);
    if (!w)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    w->snapshot = snapshot;
    if (drawn) {
        w->drawn = json_incref((json_t *)(uintptr_t)drawn);
        err = draw(w, info);
    }
    if (err)
        world_close(&w);
    else
        *out = w;
    return err;
}

void world_close(struct world **world)
{
    if (!*world)
        return;
    policy_entities_free(&(*world)->entities);
    clock_zone_free(&(*world)->zone);
    json_decref((*world)->drawn);
    free(*world);
    *world = NULL;
}

/* --- Asking ------------------------------------------------------------------
 */

const struct policy_entities *world_entities(const struct world *w)
{
    return w->drawn ? w->entities : snapshot_entities(w->snapshot);
}

const struct clock_zone *world_zone(const struct world *w)
{
    return w->drawn ? w->zone : snapshot_zone(w->snapshot);
}

bool world_caller(const struct world *w, struct str name, struct str *id)
{
    const struct snapshot_caller *caller;

    if (w->drawn) {
        if (!json_object_getn(section(w, "callers"), name.ptr, name.len))
            return false;
        *id = caller_id(w, name.ptr);
        return true;
    }
    caller = snapshot_find_caller(w->snapshot, name);
    if (caller)
        *id = str_from(caller->id);
    return caller != NULL;
}

static void add_target(struct world_target *out, size_t *count,
    struct str model, struct str engine, struct str upstream, struct str only)
{
    if (*count == WORLD_TARGETS_MAX ||
        (only.len > 0 && !str_equal(only, engine)))
        return;
    out[(*count)++].target = (struct policy_target){model, engine, upstream};
}

static void drawn_targets(const struct world *w, const json_t *model,
    struct str name, struct str only, struct world_target *out, size_t *count)
{
    const json_t *list = json_object_get(model, "engines");
    json_t *engines = (json_t *)(uintptr_t)section(w, "engines"), *value;
    const char *key;

    for (size_t i = 0; i < json_array_size(list); i++)
        add_target(out, count, name,
            str_from(json_string_value(json_array_get(list, i))), name, only);
    if (list)
        return;
    json_object_foreach(engines, key, value)
    {
        (void)value;
        add_target(out, count, name, str_from(key), name, only);
    }
}

bool world_targets(const struct world *w, struct str model, struct str engine,
    bool listing, struct world_target out[WORLD_TARGETS_MAX], size_t *count)
{
    const struct snapshot_model *found = NULL;
    const json_t *drawn = NULL;

    *count = 0;
    if (w->drawn)
        drawn = json_object_getn(section(w, "models"), model.ptr, model.len);
    else
        found = snapshot_find_model(w->snapshot, model);
    if (!drawn && !found)
        return false;
    if (found)
        model = str_from(found->name);
    if (listing) {
        add_target(out, count, model, STR(""), STR(""), STR(""));
        return true;
    }
    if (drawn)
        drawn_targets(w, drawn, model, engine, out, count);
    for (size_t i = 0; found && i < found->candidate_count; i++)
        add_target(out, count, model,
            str_from(found->candidates[i].engine->name),
            str_from(found->candidates[i].upstream), engine);
    return true;
}
