/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/snapshot_models.c - settings, models, engines and rules out of the
 * control database. */
#include "proxy/snapshot_priv.h"

#include "lib/encode.h"
#include "lib/file.h"
#include "lib/log.h"

#include <stdlib.h>

#define CREDENTIAL_MAX 4096

static enum err nomem(struct errinfo *info)
{
    return errinfo_set(info, ERR_NOMEM, "out of memory");
}

/* --- organisation_setting ------------------------------------------------ */

static void destroy_settings(struct part *part)
{
    clock_zone_free(&((struct settings_part *)part)->zone);
}

/* "2026-12-25,2026-12-26" */
static enum err read_holidays(
    struct settings_part *p, struct str text, struct errinfo *info)
{
    size_t count = 1;
    for (size_t i = 0; i < text.len; i++)
        count += text.ptr[i] == ',';
    int64_t *days = ARENA_ARRAY(p->part.arena, count, int64_t);
    if (days == NULL)
        return nomem(info);
    while (text.len > 0) {
        struct str day;
        int64_t time_us;
        str_split(text, ',', &day, &text);
        day = str_trim(day);
        if (day.len == 0)
            continue;
        if (day.len != 10 || clock_parse(day, &time_us) != ERR_OK)
            return errinfo_set(info, ERR_INVALID,
                "the organisation's setting holidays: '%.*s' is no date "
                "(YYYY-MM-DD, separated by commas)",
                STR_ARG(day));
        days[p->holiday_count++] = time_us / DAY_US;
    }
    p->holidays = days;
    return ERR_OK;
}

enum err snapshot_load_settings(const struct snapshot_sources *sources,
    struct settings_part **out, struct errinfo *info)
{
    struct settings_part *p = snapshot_part_new(sizeof(*p), destroy_settings);
    struct db_statement *s;
    const char *zone = "UTC";
    if (p == NULL)
        return nomem(info);
    p->contact = "your administrator";
    p->quota_webhook = "";
    enum err err = db_prepare(sources->control,
        "SELECT key, value FROM organisation_setting", &s, info);
    while (err == ERR_OK && (err = db_step(s, info)) == ERR_OK) {
        struct str key = db_column_text(s, 0), value = db_column_text(s, 1);
        if (str_equal(key, STR("zone")) && value.len > 0)
            zone = arena_cstr(p->part.arena, value);
        else if (str_equal(key, STR("contact")) && value.len > 0)
            p->contact = arena_cstr(p->part.arena, value);
        else if (str_equal(key, STR("quota_webhook")))
            p->quota_webhook = arena_cstr(p->part.arena, value);
        else if (str_equal(key, STR("holidays")))
            err = read_holidays(p, value, info);
        if (zone == NULL || p->contact == NULL || p->quota_webhook == NULL)
            err = nomem(info);
        if (err != ERR_OK) {
            db_reset(s);
            break;
        }
    }
    if (err == ERR_NOTFOUND)
        err = clock_zone_load(zone, &p->zone, info);
    if (err == ERR_OK)
        err = snapshot_load_retention(sources, p, info);
    if (err != ERR_OK) {
        snapshot_part_unref(&p->part);
        return err;
    }
    *out = p;
    return ERR_OK;
}

/* --- engine -------------------------------------------------------------- */

/* The engine's own bearer token: the file's first line. */
static enum err read_credential(struct arena *arena,
    struct engine_target *target, struct str path, struct errinfo *info)
{
    struct buf content;
    target->credential = "";
    if (path.len == 0)
        return ERR_OK;
    const char *name = arena_cstr(arena, path);
    if (name == NULL)
        return nomem(info);
    buf_init(&content, CREDENTIAL_MAX);
    enum err err = file_read(name, &content, info);
    if (err == ERR_OK) {
        struct str line, rest;
        str_split(buf_str(&content), '\n', &line, &rest);
        line = str_trim(line);
        for (size_t i = 0; i < line.len; i++) {
            if ((unsigned char)line.ptr[i] <= ' ' || line.ptr[i] == 127)
                err = errinfo_set(info, ERR_INVALID,
                    "%s: the token may not hold blanks or control characters",
                    name);
        }
        target->credential = arena_cstr(arena, line);
    }
    buf_fini(&content);
    if (err != ERR_OK)
        return errinfo_prefix(info, err, "engine %s", target->name);
    return target->credential != NULL ? ERR_OK : nomem(info);
}

static enum err read_engine(struct models_part *p, struct db_statement *s,
    struct engine_target *target, struct errinfo *info)
{
    struct arena *arena = p->part.arena;
    target->name = arena_cstr(arena, db_column_text(s, 0));
    target->ca_file = arena_cstr(arena, db_column_text(s, 4));
    target->health_path = arena_cstr(arena, db_column_text(s, 5));
    target->weight = (unsigned)db_column_int(s, 6);
    target->max_concurrent = (unsigned)db_column_int(s, 7);
    if (!target->name || !target->ca_file || !target->health_path)
        return nomem(info);
    enum err err = engine_kind_parse(db_column_text(s, 1), &target->kind);
    if (err != ERR_OK)
        return errinfo_set(info, ERR_CORRUPT, "engine %s: unknown kind '%.*s'",
            target->name, STR_ARG(db_column_text(s, 1)));
    err = engine_target_parse_url(arena, db_column_text(s, 2), target, info);
    if (err == ERR_OK)
        err = read_credential(arena, target, db_column_text(s, 3), info);
    if (err != ERR_OK)
        return err;
    /* A name that does not resolve now must not stop all the others: the
     * engine counts as unreachable until the next snapshot. */
    struct errinfo why = {0};
    if (engine_target_resolve(target, &why) != ERR_OK)
        log_warn("engine_not_resolved", "reason=\"%s\"", why.text);
    return ERR_OK;
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

static enum err load_engines(const struct snapshot_sources *sources,
    struct models_part *p, struct errinfo *info)
{
    size_t count = 0;
    struct db_statement *s;
    enum err err = count_rows(
        sources->control, "SELECT count(*) FROM engine", &count, info);
    if (err != ERR_OK)
        return err;
    p->engines = arena_zalloc(p->part.arena, (count + 1) * sizeof(*p->engines));
    if (p->engines == NULL)
        return nomem(info);
    err = db_prepare(sources->control,
        "SELECT name, kind, url, credential_file, ca_file, health_path, "
        "weight, max_concurrent FROM engine ORDER BY name",
        &s, info);
    while (err == ERR_OK && (err = db_step(s, info)) == ERR_OK) {
        err = read_engine(p, s, &p->engines[p->engine_count], info);
        if (err != ERR_OK) {
            db_reset(s);
            return err;
        }
        p->engine_count++;
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* --- model --------------------------------------------------------------- */

static const struct engine_target *engine_named(
    const struct models_part *p, struct str name)
{
    for (size_t i = 0; i < p->engine_count; i++) {
        if (str_equal(str_from(p->engines[i].name), name))
            return &p->engines[i];
    }
    return NULL;
}

static enum err load_candidates(struct db *db, struct models_part *p,
    struct snapshot_model *model, struct errinfo *info)
{
    struct snapshot_candidate list[64];
    struct db_statement *s;
    enum err err = db_prepare(db,
        "SELECT engine, upstream, priority FROM model_target WHERE model = ?1 "
        "ORDER BY priority, engine, upstream LIMIT 64",
        &s, info);
    if (err != ERR_OK)
        return err;
    db_bind_text(s, 1, str_from(model->name));
    while ((err = db_step(s, info)) == ERR_OK) {
        struct snapshot_candidate *c = &list[model->candidate_count];
        c->engine = engine_named(p, db_column_text(s, 0));
        c->upstream = arena_cstr(p->part.arena, db_column_text(s, 1));
        c->priority = (int)db_column_int(s, 2);
        if (c->engine != NULL && c->upstream != NULL)
            model->candidate_count++;
    }
    struct snapshot_candidate *copy = ARENA_ARRAY(
        p->part.arena, model->candidate_count + 1, struct snapshot_candidate);
    if (copy == NULL)
        return nomem(info);
    memcpy(copy, list, model->candidate_count * sizeof(*copy));
    model->candidates = copy;
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err load_aliases(struct db *db, struct models_part *p,
    struct snapshot_model *model, struct errinfo *info)
{
    struct str list[64];
    struct db_statement *s;
    enum err err = db_prepare(db,
        "SELECT alias FROM model_alias WHERE model = ?1 ORDER BY alias "
        "LIMIT 64",
        &s, info);
    if (err != ERR_OK)
        return err;
    db_bind_text(s, 1, str_from(model->name));
    while ((err = db_step(s, info)) == ERR_OK) {
        struct str alias = arena_copy(p->part.arena, db_column_text(s, 0));
        if (alias.ptr != NULL)
            list[model->alias_count++] = alias;
    }
    struct str *copy =
        ARENA_ARRAY(p->part.arena, model->alias_count + 1, struct str);
    if (copy == NULL)
        return nomem(info);
    memcpy(copy, list, model->alias_count * sizeof(*copy));
    model->aliases = copy;
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static void add_slot(
    struct models_part *p, struct str name, const struct snapshot_model *model)
{
    size_t mask = p->slot_count - 1, at = (size_t)str_hash(name) & mask;
    while (p->slots[at].model != NULL)
        at = (at + 1) & mask;
    p->slots[at].name = name;
    p->slots[at].model = model;
}

static enum err index_models(struct models_part *p, struct errinfo *info)
{
    size_t names = 0;
    for (size_t i = 0; i < p->model_count; i++)
        names += 1 + p->models[i].alias_count;
    p->slot_count = 16;
    while (p->slot_count < names * 2)
        p->slot_count *= 2;
    p->slots = arena_zalloc(p->part.arena, p->slot_count * sizeof(*p->slots));
    if (p->slots == NULL)
        return nomem(info);
    for (size_t i = 0; i < p->model_count; i++) {
        const struct snapshot_model *model = &p->models[i];
        add_slot(p, str_from(model->name), model);
        for (size_t k = 0; k < model->alias_count; k++)
            add_slot(p, model->aliases[k], model);
    }
    return ERR_OK;
}

static enum model_status status_of(struct str word)
{
    if (str_equal(word, STR("approved")))
        return MODEL_APPROVED;
    return str_equal(word, STR("retired")) ? MODEL_RETIRED : MODEL_DRAFT;
}

static enum err read_models(
    struct db *db, struct models_part *p, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(db,
        "SELECT name, owner, status, default_max_tokens, template_tokens, "
        "message_tokens, created FROM model ORDER BY name",
        &s, info);
    while (err == ERR_OK && (err = db_step(s, info)) == ERR_OK) {
        struct snapshot_model *model = &p->models[p->model_count++];
        model->name = arena_cstr(p->part.arena, db_column_text(s, 0));
        model->owner = arena_cstr(p->part.arena, db_column_text(s, 1));
        model->status = status_of(db_column_text(s, 2));
        model->default_max_tokens = db_column_int(s, 3);
        model->template_tokens = db_column_int(s, 4);
        model->message_tokens = db_column_int(s, 5);
        model->created_us = db_column_int(s, 6);
        if (model->name == NULL || model->owner == NULL) {
            db_reset(s);
            return nomem(info);
        }
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

enum err snapshot_load_models(const struct snapshot_sources *sources,
    struct models_part **out, struct errinfo *info)
{
    struct models_part *p = snapshot_part_new(sizeof(*p), NULL);
    size_t count = 0;
    if (p == NULL)
        return nomem(info);
    enum err err = load_engines(sources, p, info);
    if (err == ERR_OK)
        err = count_rows(
            sources->control, "SELECT count(*) FROM model", &count, info);
    if (err == ERR_OK) {
        p->models =
            arena_zalloc(p->part.arena, (count + 1) * sizeof(*p->models));
        err = p->models != NULL ? read_models(sources->control, p, info)
                                : nomem(info);
    }
    for (size_t i = 0; err == ERR_OK && i < p->model_count; i++) {
        err = load_candidates(sources->control, p, &p->models[i], info);
        if (err == ERR_OK)
            err = load_aliases(sources->control, p, &p->models[i], info);
    }
    if (err == ERR_OK)
        err = index_models(p, info);
    if (err == ERR_OK)
        err = snapshot_load_prices(sources, p, info);
    if (err != ERR_OK) {
        snapshot_part_unref(&p->part);
        return err;
    }
    *out = p;
    return ERR_OK;
}

/* --- policy_version ------------------------------------------------------ */

static void destroy_rules(struct part *part)
{
    policy_set_free(&((struct rules_part *)part)->set);
    policy_set_free(&((struct rules_part *)part)->shadow);
}

/* One that does not compile is not asked: nothing depends on it. */
static enum err load_shadow(const struct snapshot_sources *sources,
    struct rules_part *p, struct errinfo *info)
{
    struct db_statement *s;
    struct errinfo why = {0};
    struct buf findings;
    enum err err = db_prepare(sources->control,
        "SELECT v.version, v.text FROM policy_shadow s JOIN policy_version v "
        "ON v.version = s.version WHERE v.state <> 'active'",
        &s, info);
    if (err != ERR_OK)
        return err;
    buf_init(&findings, 64 * 1024);
    err = db_step(s, info);
    if (err == ERR_OK) {
        p->shadow_version = db_column_int(s, 0);
        if (policy_set_compile(db_column_text(s, 1), "rules.cedar", &p->shadow,
                &findings, &why) != ERR_OK)
            log_warn("shadow_not_asked", "version=%lld reason=\"%s\"",
                (long long)p->shadow_version, why.text);
    }
    db_reset(s);
    buf_fini(&findings);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* The active version. One that does not compile is no reason to guess: the
 * snapshot is refused, and the data plane keeps the one before. */
enum err snapshot_load_rules(const struct snapshot_sources *sources,
    struct rules_part **out, struct errinfo *info)
{
    struct rules_part *p = snapshot_part_new(sizeof(*p), destroy_rules);
    struct db_statement *s;
    struct buf findings;
    if (p == NULL)
        return nomem(info);
    buf_init(&findings, 64 * 1024);
    enum err err = db_prepare(sources->control,
        "SELECT version, hash, text FROM policy_version WHERE state = 'active'",
        &s, info);
    if (err == ERR_OK)
        err = db_step(s, info);
    if (err == ERR_OK) {
        struct str hash = db_column_blob(s, 1), text = db_column_text(s, 2);
        uint8_t actual[SHA256_SIZE];
        p->version = db_column_int(s, 0);
        crypto_sha256(actual, text.ptr, text.len);
        if (hash.len != sizeof(actual) ||
            memcmp(hash.ptr, actual, sizeof(actual)) != 0)
            err = errinfo_set(info, ERR_CORRUPT,
                "policy version %lld: its text does not match its hash",
                (long long)p->version);
        hex_write(p->hash, actual, sizeof(actual));
        if (err == ERR_OK)
            err = policy_set_compile(
                text, "rules.cedar", &p->set, &findings, info);
        db_reset(s);
        if (err != ERR_OK && findings.len > 0)
            err = errinfo_set(info, err, "policy version %lld: %.*s",
                (long long)p->version, STR_ARG(buf_str(&findings)));
    } else if (err == ERR_NOTFOUND) {
        err = ERR_OK; /* none is active: everything is denied */
    }
    buf_fini(&findings);
    if (err == ERR_OK)
        err = load_shadow(sources, p, info);
    if (err != ERR_OK) {
        snapshot_part_unref(&p->part);
        return err;
    }
    *out = p;
    return ERR_OK;
}
