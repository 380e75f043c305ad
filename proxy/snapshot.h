/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/snapshot.h - the control state as the data plane sees it: immutable,
 * reference-counted, compiled from the databases when they change.
 *
 * Built of parts that change apart (keys and callers; models, engines and
 * entities; the policy set; quotas): snapshot_build takes over the parts of
 * the previous snapshot that a change did not touch. A request keeps the
 * snapshot it started with. Any thread may read; ref and unref are atomic. */
#ifndef PROXY_SNAPSHOT_H
#define PROXY_SNAPSHOT_H

#include "audit/seal.h"
#include "engine/target.h"
#include "policy/decide.h"
#include "policy/quota.h"
#include "proxy/address.h"
#include "proxy/key_usage.h"
#include "proxy/tls.h"
#include "schema/db.h"

struct snapshot;

/* What a change touched. */
enum {
    CHANGED_KEYS = 1,         /* api_key, api_key_limit */
    CHANGED_DIRECTORY = 2,    /* team, team_weight, caller, caller_team */
    CHANGED_MODELS = 4,       /* model*, engine, price */
    CHANGED_POLICY = 8,       /* policy_version */
    CHANGED_QUOTAS = 16,      /* quota */
    CHANGED_SETTINGS = 32,    /* organisation_setting */
    CHANGED_SEALING = 64,     /* sealing keys: a new month, an erasure */
    CHANGED_ANCHORS = 128,    /* anchor; not in the snapshot */
    CHANGED_ISSUERS = 256,    /* issuer*, gateway */
    CHANGED_SINKS = 4096,     /* sink; not in the snapshot */
    CHANGED_TRUST = 16384,    /* trust_domain, certificate_* */
    CHANGED_WITNESSES = 8192, /* witness, witness_policy; not in the snapshot */
    CHANGED_EMERGENCIES = 32768, /* emergency, emergency_caller */
    CHANGED_ALL = 65535
};

struct snapshot_sources {
    struct db *control;
    struct db *persons;
    struct keyring *keyring; /* NULL: without sealing keys (offline `can`) */
    struct key_usage *key_usage; /* NULL: nobody uses the keys */
    int64_t now_us;
};

/* Reads the control state. A missing active policy version is no error:
 * snapshot_policy is NULL then and every request is denied (503). previous
 * may be NULL (then everything is built). gives *out with one reference. */
enum err snapshot_build(const struct snapshot_sources *sources,
    struct snapshot *previous, unsigned changed, struct snapshot **out,
    struct errinfo *info) MUSTCHECK;
struct snapshot *snapshot_ref(struct snapshot *snapshot);
void snapshot_unref(struct snapshot **snapshot);

/* What was taken away is gone at once, before a new snapshot is there (with
 * 200,000 keys that takes a second): keys that were revoked within the last
 * minute and callers that are disabled are marked in this one. The one thing
 * in a snapshot that changes, and in one direction only. *count: how many. */
enum err snapshot_withdraw(struct snapshot *snapshot,
    const struct snapshot_sources *sources, size_t *count,
    struct errinfo *info) MUSTCHECK;

/* 16 hex digits, NUL-terminated: names the state in entries. */
const char *snapshot_id(const struct snapshot *snapshot);
uint64_t snapshot_generation(const struct snapshot *snapshot); /* grows */

/* --- Callers ------------------------------------------------------------- */
/* Who a quota is of, and which models it is for: one, those of a group, or
 * (both empty) all. */
struct snapshot_quota_for {
    struct str scope, subject; /* as table quota has them */
    struct str model, group;
};
struct snapshot_caller {
    const char *id;     /* cal_... */
    const char *handle; /* for people, never in entries */
    const char *kind;
    _Atomic bool disabled;   /* may become true: snapshot_withdraw */
    const struct str *teams; /* all, ancestors included, sorted */
    size_t team_count;
    /* In the queue for an engine: the one of its teams that weighs most. */
    struct str queue_team;
    unsigned queue_weight;
    const struct quota_rule *const *quotas; /* organisation, teams, caller */
    const struct snapshot_quota_for *quota_for; /* parallel */
    size_t quota_count;
    bool has_seal; /* keys for this month and, near its end, the next */
    struct seal_key seal[2];
};
const struct snapshot_caller *snapshot_find_caller(
    const struct snapshot *snapshot, struct str id_or_handle);
size_t snapshot_caller_count(const struct snapshot *snapshot);
const struct snapshot_caller *snapshot_caller(
    const struct snapshot *snapshot, size_t at); /* ordered by id */
/* Key for the anonymous subject (failed authentications). */
const struct seal_key *snapshot_anonymous_seal(
    const struct snapshot *snapshot, int64_t time_us);
const struct seal_key *snapshot_caller_seal(
    const struct snapshot_caller *caller, int64_t time_us);

struct snapshot_key {
    const char *id; /* key_... */
    uint8_t hash[32];
    const struct snapshot_caller *caller;
    int64_t expires_us;   /* 0: never */
    _Atomic bool revoked; /* may become true: snapshot_withdraw */
    /* Where each stands, none is: unlimited. */
    const struct address_range *addresses;
    const struct str *models, *routes; /* names; paths */
    size_t address_count, model_count, route_count;
    struct key_usage_cell *used;            /* NULL: not kept */
    const struct snapshot_key *replaces;    /* by rotation; NULL: none */
    const struct quota_rule *const *quotas; /* scope key, and of replaces */
    const struct snapshot_quota_for *quota_for;
    size_t quota_count;
};
/* NULL when unknown. hash: SHA-256 of the whole key text. */
const struct snapshot_key *snapshot_find_key(
    const struct snapshot *snapshot, const uint8_t hash[32]);

/* May a limit name it? "/v1/embeddings" */
bool snapshot_is_route(struct str path);
/* " /v1/models /v1/embeddings ...": the paths of all, each once. */
void snapshot_list_routes(struct buf *out);
bool snapshot_key_allows_model(
    const struct snapshot_key *key, struct str model);
bool snapshot_key_allows_route(const struct snapshot_key *key, struct str path);
bool snapshot_key_allows_address(
    const struct snapshot_key *key, const struct sockaddr *address);

/* --- Issuers of tokens ---------------------------------------------------- */
struct snapshot_issuer {
    const char *name;
    const char *issuer; /* "iss" */
    const struct str *audiences;
    size_t audience_count;
    const char *jwks_file, *jwks_url, *ca_file; /* both "": discovery */
    struct str caller_claim, prefix, groups_claim;
    bool access_token_type;
    int64_t skew_us;
    bool for_callers, for_end_users; /* what its tokens are good for */
    /* Applications that are known, by name; with a caller's id, what is made
     * for them is that caller's. */
    struct snapshot_client {
        struct str client, caller;
    } const *clients;
    size_t client_count;
    bool clients_only;      /* no others */
    struct snapshot_claim { /* what rules see of its tokens; by name */
        struct str name, claim;
        enum policy_claim_kind kind;
    } const *claims;
    size_t claim_count;
    bool just_in_time; /* a token may make its caller (proxy/newcomers.h) */
    struct snapshot_group { /* a group of its tokens that is a team here */
        struct str group, team;
    } const *groups; /* by group */
    size_t group_count;
};
/* What a caller is in for one request, because of the groups of its token. */
struct snapshot_membership {
    const struct str *added; /* what the groups stand for; sorted */
    size_t added_count;
    const struct str *teams; /* these and the caller's, with all above */
    size_t team_count;
    struct str queue_team; /* as in snapshot_caller */
    unsigned queue_weight;
    /* Of the teams that are not the caller's own. */
    const struct quota_rule *const *quotas;
    const struct snapshot_quota_for *quota_for;
    size_t quota_count;
};
/* Everything in the arena. *out is NULL where no group stands for a team.
 * ERR_LIMIT: the teams are more than an entry can hold; ERR_NOTFOUND: a team
 * is not there; ERR_NOMEM. */
enum err snapshot_join_teams(const struct snapshot *snapshot,
    const struct snapshot_caller *caller, const struct snapshot_issuer *issuer,
    const struct str *groups, size_t group_count, struct arena *arena,
    const struct snapshot_membership **out) MUSTCHECK;
/* May it say for whom it asks? NULL: no. */
struct snapshot_gateway {
    struct str caller; /* id */
    bool required;
};
const struct snapshot_gateway *snapshot_find_gateway(
    const struct snapshot *snapshot, const struct snapshot_caller *caller);
/* By the text of "iss"; NULL when nobody of that name is believed. */
const struct snapshot_issuer *snapshot_find_issuer(
    const struct snapshot *snapshot, struct str issuer);
/* NULL: it is not known. */
const struct snapshot_client *snapshot_find_client(
    const struct snapshot_issuer *issuer, struct str client);
size_t snapshot_issuer_count(const struct snapshot *snapshot);
const struct snapshot_issuer *snapshot_issuer(
    const struct snapshot *snapshot, size_t at);

/* --- Client certificates -------------------------------------------------- */
const struct trust *snapshot_trust(const struct snapshot *snapshot);
/* Grows when anything of it changes. */
uint64_t snapshot_trust_generation(const struct snapshot *snapshot);
/* Of a listener as it stands in bailiff.conf. */
enum tls_certificates snapshot_certificate_mode(
    const struct snapshot *snapshot, struct str listener);
/* Whom the mappings of the trust domain make of a certificate. NULL: nobody,
 * or several. */
const struct snapshot_caller *snapshot_map_certificate(
    const struct snapshot *snapshot, size_t domain,
    const struct certificate_facts *facts);

/* --- Models and engines -------------------------------------------------- */
struct snapshot_candidate {
    const struct engine_target *engine;
    const char *upstream;
    int priority;
};
enum model_status { MODEL_DRAFT, MODEL_APPROVED, MODEL_RETIRED };
struct snapshot_model {
    const char *name;
    const char *owner;
    enum model_status status;
    int64_t default_max_tokens, template_tokens, message_tokens;
    int64_t created_us;
    const struct snapshot_candidate *candidates; /* by priority */
    size_t candidate_count;
    const struct str *aliases;
    size_t alias_count;
    const struct str *groups; /* names; sorted */
    size_t group_count;
    const struct price *prices; /* by valid_from, version */
    size_t price_count;
};
bool snapshot_quota_is_for(const struct snapshot_quota_for *quota,
    const struct snapshot_model *model); /* model NULL: none was asked for */
/* By name or alias; NULL when there is none. */
const struct snapshot_model *snapshot_find_model(
    const struct snapshot *snapshot, struct str name_or_alias);
size_t snapshot_model_count(const struct snapshot *snapshot);
const struct snapshot_model *snapshot_model(
    const struct snapshot *snapshot, size_t at);
size_t snapshot_engine_count(const struct snapshot *snapshot);
const struct engine_target *snapshot_engine(
    const struct snapshot *snapshot, size_t at);

/* --- Emergencies ---------------------------------------------------------- */
struct snapshot_emergency {
    const char *id;    /* eme_... */
    bool policy;       /* rules in force without approvals; else access */
    const char *model; /* access: "" for every model */
    int64_t expires_us;
    const struct str *callers; /* access: ids */
    size_t caller_count;
};
/* Those that are on. What has expired is among them until it is ended. */
size_t snapshot_emergency_count(const struct snapshot *snapshot);
const struct snapshot_emergency *snapshot_emergency(
    const struct snapshot *snapshot, size_t at);
/* One that lets the caller use the model at that time; NULL: none does. */
const struct snapshot_emergency *snapshot_find_access(
    const struct snapshot *snapshot, struct str caller, struct str model,
    int64_t time_us);
/* Of all that are over or on, how many nobody else has reviewed yet. */
int64_t snapshot_reviews_open(const struct snapshot *snapshot);
/* Rules that an emergency has put in force, past their end: nobody may be
 * served by them. */
bool snapshot_rules_are_over(const struct snapshot *snapshot, int64_t time_us);

/* --- Rules --------------------------------------------------------------- */
const struct policy_set *snapshot_policy(const struct snapshot *snapshot);
int64_t snapshot_policy_version(const struct snapshot *snapshot);
const char *snapshot_policy_hash(const struct snapshot *snapshot); /* hex */
/* A version that is asked beside the active one, and decides nothing; NULL:
 * none. */
const struct policy_set *snapshot_shadow(const struct snapshot *snapshot);
int64_t snapshot_shadow_version(const struct snapshot *snapshot);
const struct policy_entities *snapshot_entities(
    const struct snapshot *snapshot);
const struct clock_zone *snapshot_zone(const struct snapshot *snapshot);
bool snapshot_is_holiday(const struct snapshot *snapshot, int64_t time_us);
/* Where warnings of quotas are posted; "": nowhere. */
const char *snapshot_quota_webhook(const struct snapshot *snapshot);
const char *snapshot_contact(const struct snapshot *snapshot); /* whom to ask */
/* How long records stay readable (retention_class). */
struct snapshot_retention {
    struct str name;
    int64_t days;
    bool exempt;
};
/* NULL: there is no such class. "default" is always there. */
const struct snapshot_retention *snapshot_find_retention(
    const struct snapshot *snapshot, struct str name);
/* Of these teams the one that keeps longest; NULL: none has one. */
const struct snapshot_retention *snapshot_team_retention(
    const struct snapshot *snapshot, const struct str *teams, size_t count);
/* Whichever keeps longer; either may be NULL. */
const struct snapshot_retention *snapshot_longer_retention(
    const struct snapshot_retention *a, const struct snapshot_retention *b);
size_t snapshot_quota_count(const struct snapshot *snapshot);
const struct quota_rule *snapshot_quota(
    const struct snapshot *snapshot, size_t at);
/* keyed content digests */
const uint8_t *snapshot_digest_key(const struct snapshot *snapshot);
const char *snapshot_digest_key_name(const struct snapshot *snapshot);

#endif
