/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/rules/packs.c - see proxy/rules/packs.h. */
#include "proxy/rules/packs.h"

#include "policy/explain.h"
#include "proxy/rules/cases.h"
#include "proxy/rules/shipped.h"

#include <stdio.h>

#define PREFIX "packs/"
#define SUFFIX "/rules.cedar"

static bool read_pack(const char *path, struct pack *out)
{
    char other[256];
    struct str rest;
    size_t length = strlen(path) - (sizeof SUFFIX - 1);

    *out = (struct pack){.name = str_make(path + sizeof PREFIX - 1,
                             length - (sizeof PREFIX - 1))};
    snprintf(other, sizeof other, "%.*s/README.md", (int)length, path);
    if (!shipped_find(path, &out->rules) || !shipped_find(other, &out->page))
        return false;
    snprintf(other, sizeof other, "%.*s/tests.json", (int)length, path);
    if (!shipped_find(other, &out->tests))
        return false;
    str_split(out->page, '\n', &out->title, &rest);
    if (str_starts(out->title, STR("# ")))
        out->title = str_make(out->title.ptr + 2, out->title.len - 2);
    return true;
}

static bool is_pack(const char *path)
{
    return str_starts(str_from(path), STR(PREFIX)) &&
           str_ends(str_from(path), STR(SUFFIX));
}

bool pack_at(size_t at, struct pack *out)
{
    for (size_t i = 0; i < policies_file_count; i++)
        if (is_pack(policies_files[i].path) && at-- == 0)
            return read_pack(policies_files[i].path, out);
    return false;
}

enum err pack_find(struct str name, struct pack *out, struct errinfo *info)
{
    struct str names[64], near;
    size_t count = 0;

    for (size_t i = 0; pack_at(i, out); i++) {
        if (str_equal(out->name, name))
            return ERR_OK;
        if (count < 64)
            names[count++] = out->name;
    }
    near = str_suggest(name, names, count);
    if (near.len > 0)
        return errinfo_set(info, ERR_NOTFOUND,
            "there is no pack \"%.*s\"; did you mean \"%.*s\"?", STR_ARG(name),
            STR_ARG(near));
    return errinfo_set(info, ERR_NOTFOUND,
        "there is no pack \"%.*s\"; `bailiff policy packs` lists them",
        STR_ARG(name));
}

struct naming {
    const json_t *world_teams;
    json_t *teams, *groups;
};

/* A team's parents have to stand before it. */
static void add_team(struct naming *n, const char *name)
{
    const char *parent =
        json_string_value(json_object_get(n->world_teams, name));

    if (parent && parent[0])
        add_team(n, parent);
    json_object_set_new(n->teams, name, json_string(parent ? parent : ""));
}

static void note_literal(void *context, const struct policy_literal *literal)
{
    struct naming *n = context;
    char name[256];

    snprintf(name, sizeof name, "%.*s", STR_ARG(literal->id));
    if (str_equal(literal->type, STR("Team"))) {
        add_team(n, name);
    } else if (str_equal(literal->type, STR("ModelGroup"))) {
        for (size_t i = 0; i < json_array_size(n->groups); i++)
            if (strcmp(json_string_value(json_array_get(n->groups, i)), name) ==
                0)
                return;
        json_array_append_new(n->groups, json_string(name));
    }
}

json_t *pack_names(const struct pack *pack)
{
    struct naming n = {NULL, json_object(), json_array()};
    struct policy_set *set = NULL;
    struct buf findings;
    json_t *tests = NULL;

    buf_init(&findings, 1 << 20);
    if (cases_parse(pack->tests, "tests.json", &tests, NULL) == ERR_OK &&
        policy_set_compile(pack->rules, "rules.cedar", &set, &findings, NULL) ==
            ERR_OK) {
        n.world_teams =
            json_object_get(json_object_get(tests, "world"), "teams");
        policy_set_each_literal(set, note_literal, &n);
    }
    policy_set_free(&set);
    json_decref(tests);
    buf_fini(&findings);
    return json_pack("{s:o,s:o}", "teams", n.teams, "groups", n.groups);
}

enum err pack_append(const struct pack *pack, struct str active,
    struct buf *out, struct errinfo *info)
{
    struct policy_set *set = NULL, *own = NULL;
    struct buf findings;
    enum err err;

    buf_init(&findings, 1 << 20);
    err = policy_set_compile(active, "rules.cedar", &set, &findings, info);
    if (!err)
        err = policy_set_compile(
            pack->rules, "rules.cedar", &own, &findings, info);
    for (size_t i = 0; !err && i < policy_set_count(own); i++)
        if (policy_set_find(set, policy_set_id(own, i)) != SIZE_MAX)
            err = errinfo_set(info, ERR_EXISTS,
                "the active rules have a rule \"%.*s\" already; nothing was "
                "changed",
                STR_ARG(policy_set_id(own, i)));
    if (!err)
        buf_printf(out, "%.*s\n%.*s", STR_ARG(active), STR_ARG(pack->rules));
    policy_set_free(&set);
    policy_set_free(&own);
    buf_fini(&findings);
    return err;
}
