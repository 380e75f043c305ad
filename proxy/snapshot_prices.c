/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/snapshot_prices.c - what quotas ask of a model: the groups it is in,
 * and what it costs from when on. */
#include "proxy/snapshot_priv.h"

#include <stdlib.h>

static enum err nomem(struct errinfo *info)
{
    return errinfo_set(info, ERR_NOMEM, "out of memory");
}

/* As many of the model's rows as there are, so that nothing is cut short. */
static enum err count_of(struct db *db, const char *sql, struct str model,
    size_t *out, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(db, sql, &s, info);
    if (err != ERR_OK)
        return err;
    db_bind_text(s, 1, model);
    err = db_step(s, info);
    if (err == ERR_OK)
        *out = (size_t)db_column_int(s, 0);
    db_reset(s);
    return err;
}

static enum err load_groups(struct db *db, struct models_part *p,
    struct snapshot_model *model, struct errinfo *info)
{
    struct str name = str_from(model->name);
    struct db_statement *s;
    size_t count = 0;
    enum err err =
        count_of(db, "SELECT count(*) FROM model_group_member WHERE model = ?1",
            name, &count, info);
    if (err != ERR_OK)
        return err;
    struct str *groups = ARENA_ARRAY(p->part.arena, count + 1, struct str);
    if (groups == NULL)
        return nomem(info);
    err = db_prepare(db,
        "SELECT model_group FROM model_group_member WHERE model = ?1 "
        "ORDER BY model_group",
        &s, info);
    if (err != ERR_OK)
        return err;
    db_bind_text(s, 1, name);
    while (model->group_count < count && (err = db_step(s, info)) == ERR_OK) {
        struct str *group = &groups[model->group_count++];
        *group = arena_copy(p->part.arena, db_column_text(s, 0));
        if (group->ptr == NULL)
            err = nomem(info);
        if (err != ERR_OK)
            break;
    }
    db_reset(s);
    model->groups = groups;
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err load_prices(struct db *db, struct models_part *p,
    struct snapshot_model *model, struct errinfo *info)
{
    struct str name = str_from(model->name);
    struct db_statement *s;
    size_t count = 0;
    enum err err = count_of(
        db, "SELECT count(*) FROM price WHERE model = ?1", name, &count, info);
    if (err != ERR_OK)
        return err;
    struct price *prices =
        arena_zalloc(p->part.arena, (count + 1) * sizeof(*prices));
    if (prices == NULL)
        return nomem(info);
    err = db_prepare(db,
        "SELECT version, valid_from, input, cached, output, request, image, "
        "audio_second FROM price WHERE model = ?1 "
        "ORDER BY valid_from, version",
        &s, info);
    if (err != ERR_OK)
        return err;
    db_bind_text(s, 1, name);
    while (model->price_count < count && (err = db_step(s, info)) == ERR_OK) {
        struct price *price = &prices[model->price_count++];
        price->version = db_column_int(s, 0);
        price->valid_from_us = db_column_int(s, 1);
        price->input = db_column_int(s, 2);
        price->cached = db_column_int(s, 3);
        price->output = db_column_int(s, 4);
        price->request = db_column_int(s, 5);
        price->image = db_column_int(s, 6);
        price->audio_second = db_column_int(s, 7);
        price_hash(price, name);
    }
    db_reset(s);
    model->prices = prices;
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

enum err snapshot_load_prices(const struct snapshot_sources *sources,
    struct models_part *part, struct errinfo *info)
{
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < part->model_count; i++) {
        err = load_groups(sources->control, part, &part->models[i], info);
        if (err == ERR_OK)
            err = load_prices(sources->control, part, &part->models[i], info);
    }
    return err;
}

bool snapshot_quota_is_for(
    const struct snapshot_quota_for *quota, const struct snapshot_model *model)
{
    if (quota->model.len == 0 && quota->group.len == 0)
        return true;
    if (model == NULL)
        return false;
    if (quota->model.len > 0)
        return str_equal(quota->model, str_from(model->name));
    for (size_t i = 0; i < model->group_count; i++) {
        if (str_equal(quota->group, model->groups[i]))
            return true;
    }
    return false;
}
