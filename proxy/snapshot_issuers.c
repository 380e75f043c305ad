/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/snapshot_issuers.c - the issuers of tokens out of the database. */
#include "proxy/snapshot_priv.h"

#define ISSUERS_MAX 256
#define AUDIENCES_MAX 64 /* of one issuer */
#define GATEWAYS_MAX 1024

static enum err nomem(struct errinfo *info)
{
    return errinfo_set(info, ERR_NOMEM, "out of memory");
}

static bool read_issuer(
    struct arena *arena, struct db_statement *s, struct snapshot_issuer *out)
{
    const char **const texts[] = {&out->name, &out->issuer, &out->jwks_file,
        &out->jwks_url, &out->ca_file};
    struct str *const words[] = {
        &out->caller_claim, &out->prefix, &out->groups_claim};
    int at = 0;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        *texts[i] = arena_cstr(arena, db_column_text(s, at++));
        if (!*texts[i])
            return false;
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        *words[i] = arena_copy(arena, db_column_text(s, at++));
        if (!words[i]->ptr)
            return false;
    }
    out->access_token_type = db_column_int(s, at++) != 0;
    out->skew_us = db_column_int(s, at++) * SECOND_US;
    out->just_in_time = db_column_int(s, at++) != 0;
    out->clients_only = db_column_int(s, at++) != 0;
    struct str mode = db_column_text(s, at);
    out->for_callers = !str_equal(mode, STR("only"));
    out->for_end_users = mode.len > 0;
    return true;
}

static enum err read_audiences(const struct snapshot_sources *sources,
    struct arena *arena, struct snapshot_issuer *issuer, struct errinfo *info)
{
    struct str *list = ARENA_ARRAY(arena, AUDIENCES_MAX, struct str);
    struct db_statement *s;
    enum err err;

    if (!list)
        return nomem(info);
    err = db_prepare(sources->control,
        "SELECT audience FROM issuer_audience WHERE issuer = ?1 "
        "ORDER BY audience",
        &s, info);
    if (err)
        return err;
    db_bind_text(s, 1, str_from(issuer->name));
    while ((err = db_step(s, info)) == ERR_OK) {
        struct str copy = arena_copy(arena, db_column_text(s, 0));
        if (!copy.ptr || issuer->audience_count == AUDIENCES_MAX) {
            db_reset(s);
            return copy.ptr ? errinfo_set(info, ERR_LIMIT,
                                  "issuer %s has more than %d audiences",
                                  issuer->name, AUDIENCES_MAX)
                            : nomem(info);
        }
        list[issuer->audience_count++] = copy;
    }
    issuer->audiences = list;
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err read_groups(const struct snapshot_sources *sources,
    struct arena *arena, struct snapshot_issuer *issuer, struct errinfo *info)
{
    struct snapshot_group *list = NULL;
    struct db_statement *s;
    enum err err = db_prepare(sources->control,
        "SELECT group_name, team, count(*) OVER () FROM issuer_group "
        "WHERE issuer = ?1 ORDER BY group_name",
        &s, info);

    if (err)
        return err;
    db_bind_text(s, 1, str_from(issuer->name));
    while ((err = db_step(s, info)) == ERR_OK) {
        struct snapshot_group one = {
            .group = arena_copy(arena, db_column_text(s, 0)),
            .team = arena_copy(arena, db_column_text(s, 1))};
        if (!list)
            list = ARENA_ARRAY(
                arena, (size_t)db_column_int(s, 2), struct snapshot_group);
        if (!list || !one.group.ptr || !one.team.ptr) {
            db_reset(s);
            return nomem(info);
        }
        list[issuer->group_count++] = one;
    }
    issuer->groups = list;
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err read_clients(const struct snapshot_sources *sources,
    struct arena *arena, struct snapshot_issuer *issuer, struct errinfo *info)
{
    struct snapshot_client *list = NULL;
    struct db_statement *s;
    enum err err = db_prepare(sources->control,
        "SELECT client, coalesce(caller, ''), count(*) OVER () FROM "
        "issuer_client WHERE issuer = ?1 ORDER BY client",
        &s, info);

    if (err)
        return err;
    db_bind_text(s, 1, str_from(issuer->name));
    while ((err = db_step(s, info)) == ERR_OK) {
        struct snapshot_client one = {
            .client = arena_copy(arena, db_column_text(s, 0)),
            .caller = arena_copy(arena, db_column_text(s, 1))};
        if (!list)
            list = ARENA_ARRAY(
                arena, (size_t)db_column_int(s, 2), struct snapshot_client);
        if (!list || !one.client.ptr || !one.caller.ptr) {
            db_reset(s);
            return nomem(info);
        }
        list[issuer->client_count++] = one;
    }
    issuer->clients = list;
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err read_claims(const struct snapshot_sources *sources,
    struct arena *arena, struct snapshot_issuer *issuer, struct errinfo *info)
{
    struct snapshot_claim *list =
        ARENA_ARRAY(arena, POLICY_CLAIMS_MAX, struct snapshot_claim);
    struct db_statement *s;
    enum err err = db_prepare(sources->control,
        "SELECT attribute, claim, type FROM issuer_claim JOIN claim_attribute "
        "ON name = attribute WHERE issuer = ?1 ORDER BY attribute",
        &s, info);

    if (err)
        return err;
    db_bind_text(s, 1, str_from(issuer->name));
    while ((err = db_step(s, info)) == ERR_OK) {
        struct snapshot_claim one = {
            .name = arena_copy(arena, db_column_text(s, 0)),
            .claim = arena_copy(arena, db_column_text(s, 1))};
        if (!list || !one.name.ptr || !one.claim.ptr ||
            issuer->claim_count == POLICY_CLAIMS_MAX ||
            !policy_claim_kind_find(db_column_text(s, 2), &one.kind)) {
            db_reset(s);
            return errinfo_set(info, ERR_LIMIT,
                "issuer %s has more than %d claims that are mapped, or no "
                "memory is left",
                issuer->name, POLICY_CLAIMS_MAX);
        }
        list[issuer->claim_count++] = one;
    }
    issuer->claims = list;
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

const struct snapshot_client *snapshot_find_client(
    const struct snapshot_issuer *issuer, struct str client)
{
    size_t low = 0, high = client.len > 0 ? issuer->client_count : 0;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_compare(issuer->clients[middle].client, client);
        if (order == 0)
            return &issuer->clients[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static enum err read_all(const struct snapshot_sources *sources,
    struct issuers_part *p, struct errinfo *info)
{
    struct db_statement *s;
    enum err err = db_prepare(sources->control,
        "SELECT name, issuer.issuer, jwks_file, jwks_url, ca_file, "
        "caller_claim, "
        "prefix, groups_claim, access_token_type, skew_seconds, just_in_time, "
        "clients_only, "
        "mode "
        "FROM issuer LEFT JOIN issuer_end_user ON issuer_end_user.issuer = "
        "issuer.name ORDER BY name",
        &s, info);

    while (!err && (err = db_step(s, info)) == ERR_OK) {
        if (p->count == ISSUERS_MAX ||
            !read_issuer(p->part.arena, s, &p->issuers[p->count])) {
            err = p->count == ISSUERS_MAX
                      ? errinfo_set(info, ERR_LIMIT, "more than %d issuers",
                            ISSUERS_MAX)
                      : nomem(info);
            db_reset(s);
            return err;
        }
        p->count++;
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static enum err read_gateways(const struct snapshot_sources *sources,
    struct issuers_part *p, struct errinfo *info)
{
    struct arena *arena = p->part.arena;
    struct db_statement *s;
    enum err err = db_prepare(sources->control,
        "SELECT caller, required FROM gateway ORDER BY caller", &s, info);

    p->gateways = ARENA_ARRAY(arena, GATEWAYS_MAX, struct snapshot_gateway);
    if (!err && !p->gateways)
        return nomem(info);
    while (!err && (err = db_step(s, info)) == ERR_OK) {
        struct str id = arena_copy(arena, db_column_text(s, 0));
        if (!id.ptr || p->gateway_count == GATEWAYS_MAX) {
            db_reset(s);
            return id.ptr ? errinfo_set(info, ERR_LIMIT,
                                "more than %d gateways", GATEWAYS_MAX)
                          : nomem(info);
        }
        p->gateways[p->gateway_count++] = (struct snapshot_gateway){
            .caller = id, .required = db_column_int(s, 1) != 0};
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

enum err snapshot_load_issuers(const struct snapshot_sources *sources,
    struct issuers_part **out, struct errinfo *info)
{
    struct issuers_part *p = snapshot_part_new(sizeof *p, NULL);
    enum err err;

    if (!p)
        return nomem(info);
    p->issuers = arena_zalloc(p->part.arena, ISSUERS_MAX * sizeof *p->issuers);
    err = p->issuers ? read_all(sources, p, info) : nomem(info);
    if (!err)
        err = read_gateways(sources, p, info);
    for (size_t i = 0; !err && i < p->count; i++) {
        err = read_audiences(sources, p->part.arena, &p->issuers[i], info);
        if (!err)
            err = read_groups(sources, p->part.arena, &p->issuers[i], info);
        if (!err)
            err = read_clients(sources, p->part.arena, &p->issuers[i], info);
        if (!err)
            err = read_claims(sources, p->part.arena, &p->issuers[i], info);
    }
    if (err) {
        snapshot_part_unref(&p->part);
        return err;
    }
    *out = p;
    return ERR_OK;
}
