/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/snapshot_priv.h - the parts a snapshot is put together from. Each is
 * immutable once built, reference-counted, and owns an arena. */
#ifndef PROXY_SNAPSHOT_PRIV_H
#define PROXY_SNAPSHOT_PRIV_H

#include "lib/arena.h"
#include "proxy/snapshot.h"

#include <stdatomic.h>

#define TEAM_DEPTH_MAX 64

struct part {
    _Atomic int references;
    struct arena *arena;
    void (*destroy)(struct part *part); /* before the arena goes; may be NULL */
};

/* organisation_setting */
struct settings_part {
    struct part part;
    struct clock_zone *zone;
    const char *contact;
    const char *quota_webhook;
    const int64_t *holidays; /* days since 1970, sorted as read */
    size_t holiday_count;
    const struct snapshot_retention *retention; /* by name */
    size_t retention_count;
    const struct retention_of_team {
        struct str team;
        const struct snapshot_retention *class;
    } * retention_teams;
    size_t retention_team_count;
};

/* engine, model, model_alias, model_target, model_group_member, price */
struct models_part {
    struct part part;
    struct engine_target *engines;
    size_t engine_count;
    struct snapshot_model *models;
    size_t model_count;
    /* names and aliases to models: open addressing, a power of two */
    struct model_slot {
        struct str name;
        const struct snapshot_model *model;
    } * slots;
    size_t slot_count;
};

struct directory_team {
    struct str name, parent;
    size_t parent_at; /* index; SIZE_MAX: none */
    unsigned weight;  /* 0: as its parent */
};
/* team, caller, caller_team, api_key, api_key_limit, quota, sealing keys */
struct directory_part {
    struct part part;
    /* Where only keys changed: the part that the callers stand in, with their
     * quotas and sealing keys; NULL: they stand in this one. */
    struct directory_part *base;
    struct directory_team *teams; /* by name */
    size_t team_count;
    struct quota_rule *quotas;
    const struct snapshot_quota_for *quota_for; /* parallel */
    size_t quota_count;
    struct directory_zone { /* of quotas that have one of their own */
        struct directory_zone *next;
        struct str name;
        struct clock_zone *zone;
    } * zones;
    struct snapshot_caller *callers;
    size_t caller_count;
    struct caller_slot {
        struct str name; /* id or handle */
        const struct snapshot_caller *caller;
    } * caller_slots;
    size_t caller_slot_count;
    struct snapshot_key *keys;
    size_t key_count;
    uint32_t *key_slots; /* index + 1; 0: free */
    size_t key_slot_count;
    struct seal_key anonymous[2];
    bool has_anonymous;
    uint8_t digest_key[32];
    char digest_key_name[8];
    bool has_digest;
};

/* issuer, issuer_audience, issuer_end_user, issuer_group, gateway */
struct issuers_part {
    struct part part;
    struct snapshot_issuer *issuers; /* by name */
    size_t count;
    struct snapshot_gateway *gateways; /* by id */
    size_t gateway_count;
};

/* trust_domain, certificate_mapping, certificate_mode */
struct trust_part {
    struct part part;
    uint64_t generation;
    struct trust *trust;
    struct trust_mapping {
        size_t domain;
        enum certificate_field field;
        struct str pattern, prefix;
        struct str caller; /* id; empty: named by the certificate */
    } * mappings;
    size_t mapping_count;
    struct trust_mode {
        struct str listener;
        enum tls_certificates mode;
    } * modes;
    size_t mode_count;
};

/* emergency, emergency_caller */
struct emergencies_part {
    struct part part;
    struct snapshot_emergency *emergencies;
    size_t count;
    int64_t reviews_open;
};

struct entities_part {
    struct part part;
    struct policy_entities *entities;
};

struct rules_part {
    struct part part;
    struct policy_set *set;    /* NULL: none is active */
    struct policy_set *shadow; /* NULL: none is asked beside it */
    int64_t version, shadow_version;
    char hash[65];
};

/* Each gives *out with one reference. */
enum err snapshot_load_settings(const struct snapshot_sources *sources,
    struct settings_part **out, struct errinfo *info) MUSTCHECK;
/* Inside snapshot_load_settings. */
enum err snapshot_load_retention(const struct snapshot_sources *sources,
    struct settings_part *part, struct errinfo *info) MUSTCHECK;
enum err snapshot_load_models(const struct snapshot_sources *sources,
    struct models_part **out, struct errinfo *info) MUSTCHECK;
/* Inside snapshot_load_models, once the models are there: their groups and
 * prices. */
enum err snapshot_load_prices(const struct snapshot_sources *sources,
    struct models_part *part, struct errinfo *info) MUSTCHECK;
/* previous may be NULL; where nothing but keys changed since, its callers are
 * taken over. */
enum err snapshot_load_directory(const struct snapshot_sources *sources,
    const struct settings_part *settings, struct directory_part *previous,
    unsigned changed, struct directory_part **out,
    struct errinfo *info) MUSTCHECK;
/* Inside snapshot_load_directory, once the keys are there. */
enum err snapshot_load_key_limits(const struct snapshot_sources *sources,
    struct directory_part *part, struct errinfo *info) MUSTCHECK;
/* Of snapshot_withdraw. */
enum err snapshot_withdraw_from(struct directory_part *part,
    const struct snapshot_sources *sources, size_t *count,
    struct errinfo *info) MUSTCHECK;
enum err snapshot_load_issuers(const struct snapshot_sources *sources,
    struct issuers_part **out, struct errinfo *info) MUSTCHECK;
enum err snapshot_load_trust(const struct snapshot_sources *sources,
    uint64_t generation, struct trust_part **out,
    struct errinfo *info) MUSTCHECK;
enum err snapshot_load_emergencies(const struct snapshot_sources *sources,
    struct emergencies_part **out, struct errinfo *info) MUSTCHECK;
enum err snapshot_load_entities(const struct snapshot_sources *sources,
    struct entities_part **out, struct errinfo *info) MUSTCHECK;
enum err snapshot_load_rules(const struct snapshot_sources *sources,
    struct rules_part **out, struct errinfo *info) MUSTCHECK;

/* snapshot_teams.c. SIZE_MAX: there is none of that name. */
size_t snapshot_team_at(const struct directory_part *part, struct str name);
/* What it weighs in a queue: its own weight, or that of the nearest team above
 * that has one. */
unsigned snapshot_team_weight(const struct directory_part *part, size_t at);
/* teams: sorted */
bool snapshot_has_team(const struct str *teams, size_t count, struct str team);
/* Sorts, drops what stands there twice, and says how many are left. */
size_t snapshot_sort_teams(struct str *teams, size_t count);
/* NULL: the group stands for none. */
const struct str *snapshot_team_of_group(
    const struct snapshot_issuer *issuer, struct str group);
/* Of snapshot_join_teams. */
enum err snapshot_join_named(const struct directory_part *part,
    const struct snapshot_caller *caller, const struct str *added,
    size_t added_count, struct arena *arena,
    struct snapshot_membership *out) MUSTCHECK;

/* A zeroed part of `size` bytes with its arena; NULL: out of memory. */
void *snapshot_part_new(size_t size, void (*destroy)(struct part *part));
void snapshot_part_ref(struct part *part);
void snapshot_part_unref(struct part *part); /* NULL ok */

#endif
