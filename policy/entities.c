/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/entities.c - the control state as Cedar entities.
 *
 * The shapes here are those of schema/bailiff.cedarschema; change both. */
#include "policy/policy_priv.h"

#include <stdlib.h>

const struct policy_action policy_actions[POLICY_ACTION_COUNT] = {
#define X(name, group, can_stream)                                             \
    {STR_INIT(name), STR_INIT(group), can_stream},
    POLICY_ACTIONS(X)
#undef X
};

struct policy_entities_builder {
    struct cedar_entities_builder *cedar;
    struct arena *arena;
};

struct attribute {
    struct str name, value;
};

struct policy_entities_builder *policy_entities_begin(void)
{
    struct policy_entities_builder *b = calloc(1, sizeof(*b));
    if (b == NULL)
        return NULL;
    if (cedar_entities_builder_new(&b->cedar) != ERR_OK) {
        free(b);
        return NULL;
    }
    b->arena = cedar_entities_builder_arena(b->cedar);
    return b;
}

void policy_entities_abandon(struct policy_entities_builder **builder)
{
    if (*builder == NULL)
        return;
    cedar_entities_builder_free(&(*builder)->cedar);
    free(*builder);
    *builder = NULL;
}

static const struct cedar_record *copy_attributes(
    struct arena *arena, const struct attribute *attributes, size_t count)
{
    struct cedar_field *fields = ARENA_ARRAY(arena, count, struct cedar_field);
    if (fields == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        struct str value = arena_copy(arena, attributes[i].value);
        if (value.ptr == NULL)
            return NULL;
        /* The names are literals of this file. */
        fields[i].key = cedar_key_make(attributes[i].name);
        fields[i].value = cedar_string(value);
    }
    struct cedar_value record;
    if (cedar_record_make(arena, fields, count, &record) != ERR_OK)
        return NULL;
    return record.record;
}

static enum err add(struct policy_entities_builder *b, struct str type,
    struct str id, struct str parent_type, const struct str *parents,
    size_t parent_count, const struct attribute *attributes,
    size_t attribute_count)
{
    const struct cedar_record *record = NULL;
    if (attribute_count > 0) {
        record = copy_attributes(b->arena, attributes, attribute_count);
        if (record == NULL)
            return ERR_NOMEM;
    }
    struct cedar_uid *uids = NULL;
    if (parent_count > 0) {
        uids = ARENA_ARRAY(b->arena, parent_count, struct cedar_uid);
        if (uids == NULL)
            return ERR_NOMEM;
        for (size_t i = 0; i < parent_count; i++)
            uids[i] = cedar_uid_make(parent_type, parents[i]);
    }
    struct cedar_uid uid = cedar_uid_make(type, id);
    return cedar_entities_builder_add(
        b->cedar, &uid, uids, parent_count, record, NULL, NULL);
}

enum err policy_entities_team(
    struct policy_entities_builder *b, struct str name, struct str parent)
{
    return add(
        b, STR("Team"), name, STR("Team"), &parent, parent.len > 0, NULL, 0);
}

enum err policy_entities_caller(struct policy_entities_builder *b,
    struct str id, struct str kind, const struct str *teams, size_t team_count)
{
    const struct attribute attributes[] = {{STR("kind"), kind}};
    return add(
        b, STR("Caller"), id, STR("Team"), teams, team_count, attributes, 1);
}

enum err policy_entities_model(
    struct policy_entities_builder *b, const struct policy_model *model)
{
    const struct attribute attributes[] = {
        {STR("name"), model->name},
        {STR("version"), model->version},
        {STR("owner"), model->owner},
        {STR("licence"), model->licence},
        {STR("riskClass"), model->risk_class},
        {STR("region"), model->region},
        {STR("status"), model->status},
    };
    return add(b, STR("Model"), model->name, STR("ModelGroup"), model->groups,
        model->group_count, attributes,
        sizeof(attributes) / sizeof(attributes[0]));
}

enum err policy_entities_group(
    struct policy_entities_builder *b, struct str name)
{
    return add(b, STR("ModelGroup"), name, STR(""), NULL, 0, NULL, 0);
}

enum err policy_entities_engine(struct policy_entities_builder *b,
    struct str name, struct str kind, struct str region)
{
    const struct attribute attributes[] = {
        {STR("kind"), kind}, {STR("region"), region}};
    return add(b, STR("Engine"), name, STR(""), NULL, 0, attributes, 2);
}

static enum err add_actions(struct policy_entities_builder *b)
{
    for (size_t i = 0; i < POLICY_ACTION_COUNT; i++) {
        const struct policy_action *action = &policy_actions[i];
        enum err err = add(b, STR("Action"), action->name, STR("Action"),
            &action->group, action->group.len > 0, NULL, 0);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

enum err policy_entities_finish(struct policy_entities_builder **builder,
    struct policy_entities **out, struct errinfo *info)
{
    struct policy_entities *entities = calloc(1, sizeof(*entities));
    enum err err = entities != NULL ? add_actions(*builder) : ERR_NOMEM;
    if (err == ERR_OK)
        err = cedar_entities_builder_finish(
            &(*builder)->cedar, &entities->store, info);
    else
        (void)errinfo_set(info, err, "out of memory");
    policy_entities_abandon(builder);
    if (err != ERR_OK) {
        free(entities);
        return err;
    }
    for (size_t i = 0; i < POLICY_ACTION_COUNT; i++)
        entities->actions[i] =
            cedar_uid_make(STR("Action"), policy_actions[i].name);
    *out = entities;
    return ERR_OK;
}

void policy_entities_free(struct policy_entities **entities)
{
    if (*entities == NULL)
        return;
    cedar_entities_free(&(*entities)->store);
    free(*entities);
    *entities = NULL;
}
