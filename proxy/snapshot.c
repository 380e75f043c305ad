/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/snapshot.c - putting parts together, and looking things up in them. */
#include "proxy/snapshot_priv.h"

#include "lib/must.h"

#include "lib/encode.h"

#include <stdlib.h>

struct snapshot {
    _Atomic int references;
    uint64_t generation;
    char id[17];
    struct settings_part *settings;
    struct models_part *models;
    struct directory_part *directory;
    struct issuers_part *issuers;
    struct emergencies_part *emergencies;
    struct trust_part *trust;
    struct entities_part *entities;
    struct rules_part *rules;
};

/* --- Parts --------------------------------------------------------------- */

void *snapshot_part_new(size_t size, void (*destroy)(struct part *part))
{
    struct part *part = calloc(1, size);
    if (part == NULL)
        return NULL;
    part->arena = arena_new(16 * 1024, 0);
    if (part->arena == NULL) {
        free(part);
        return NULL;
    }
    atomic_store(&part->references, 1);
    part->destroy = destroy;
    return part;
}

void snapshot_part_unref(struct part *part)
{
    if (part == NULL || atomic_fetch_sub(&part->references, 1) != 1)
        return;
    if (part->destroy != NULL)
        part->destroy(part);
    arena_free(&part->arena);
    free(part);
}

void snapshot_part_ref(struct part *part)
{
    atomic_fetch_add(&part->references, 1);
}

/* --- The whole ----------------------------------------------------------- */

struct snapshot *snapshot_ref(struct snapshot *snapshot)
{
    if (snapshot != NULL)
        atomic_fetch_add_explicit(
            &snapshot->references, 1, memory_order_relaxed);
    return snapshot;
}

void snapshot_unref(struct snapshot **snapshot)
{
    struct snapshot *s = *snapshot;
    *snapshot = NULL;
    if (s == NULL || atomic_fetch_sub(&s->references, 1) != 1)
        return;
    snapshot_part_unref(s->settings ? &s->settings->part : NULL);
    snapshot_part_unref(s->models ? &s->models->part : NULL);
    snapshot_part_unref(s->directory ? &s->directory->part : NULL);
    snapshot_part_unref(s->issuers ? &s->issuers->part : NULL);
    snapshot_part_unref(s->emergencies ? &s->emergencies->part : NULL);
    snapshot_part_unref(s->trust ? &s->trust->part : NULL);
    snapshot_part_unref(s->entities ? &s->entities->part : NULL);
    snapshot_part_unref(s->rules ? &s->rules->part : NULL);
    free(s);
}

/* Takes over a part of the previous snapshot, or loads it anew. */
#define FIT(field, bits, load)                                                 \
    do {                                                                       \
        if (previous != NULL && previous->field != NULL &&                     \
            (changed & (bits)) == 0) {                                         \
            s->field = previous->field;                                        \
            snapshot_part_ref(&s->field->part);                                \
        } else {                                                               \
            err = load;                                                        \
            if (err != ERR_OK)                                                 \
                goto out;                                                      \
        }                                                                      \
    } while (0)

enum err snapshot_build(const struct snapshot_sources *sources,
    struct snapshot *previous, unsigned changed, struct snapshot **out,
    struct errinfo *info)
{
    struct snapshot *s = calloc(1, sizeof(*s));
    uint8_t random[8];
    enum err err;
    if (s == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    atomic_store(&s->references, 1);
    s->generation = previous != NULL ? previous->generation + 1 : 1;
    crypto_random_id(random, sizeof(random));
    hex_write(s->id, random, sizeof(random));
    FIT(settings, CHANGED_SETTINGS,
        snapshot_load_settings(sources, &s->settings, info));
    FIT(models, CHANGED_MODELS,
        snapshot_load_models(sources, &s->models, info));
    FIT(directory,
        CHANGED_KEYS | CHANGED_DIRECTORY | CHANGED_QUOTAS | CHANGED_SEALING |
            CHANGED_SETTINGS,
        snapshot_load_directory(sources, s->settings,
            previous != NULL ? previous->directory : NULL, changed,
            &s->directory, info));
    FIT(emergencies, CHANGED_EMERGENCIES | CHANGED_POLICY,
        snapshot_load_emergencies(sources, &s->emergencies, info));
    FIT(issuers, CHANGED_ISSUERS,
        snapshot_load_issuers(sources, &s->issuers, info));
    FIT(trust, CHANGED_TRUST,
        snapshot_load_trust(sources, s->generation, &s->trust, info));
    FIT(entities, CHANGED_DIRECTORY | CHANGED_MODELS,
        snapshot_load_entities(sources, &s->entities, info));
    FIT(rules, CHANGED_POLICY, snapshot_load_rules(sources, &s->rules, info));
    *out = s;
    return ERR_OK;
out:
    snapshot_unref(&s);
    return err;
}

enum err snapshot_withdraw(struct snapshot *snapshot,
    const struct snapshot_sources *sources, size_t *count, struct errinfo *info)
{
    return snapshot_withdraw_from(snapshot->directory, sources, count, info);
}

const char *snapshot_id(const struct snapshot *s)
{
    return s->id;
}

uint64_t snapshot_generation(const struct snapshot *s)
{
    return s->generation;
}

/* --- Callers and keys ---------------------------------------------------- */

const struct snapshot_caller *snapshot_find_caller(
    const struct snapshot *s, struct str id_or_handle)
{
    const struct directory_part *d = s->directory;
    size_t mask = d->caller_slot_count - 1;
    for (size_t at = (size_t)str_hash(id_or_handle) & mask;
         d->caller_slots[at].caller != NULL; at = (at + 1) & mask) {
        if (str_equal(d->caller_slots[at].name, id_or_handle))
            return d->caller_slots[at].caller;
    }
    return NULL;
}

size_t snapshot_caller_count(const struct snapshot *s)
{
    return s->directory->caller_count;
}

const struct snapshot_caller *snapshot_caller(
    const struct snapshot *s, size_t at)
{
    MUST(at < s->directory->caller_count);
    return &s->directory->callers[at];
}

const struct snapshot_key *snapshot_find_key(
    const struct snapshot *s, const uint8_t hash[32])
{
    const struct directory_part *d = s->directory;
    size_t mask = d->key_slot_count - 1;
    uint64_t start;
    memcpy(&start, hash, sizeof(start)); /* a digest is its own good hash */
    for (size_t at = (size_t)start & mask; d->key_slots[at] != 0;
         at = (at + 1) & mask) {
        const struct snapshot_key *key = &d->keys[d->key_slots[at] - 1];
        if (memcmp(key->hash, hash, 32) == 0)
            return key;
    }
    return NULL;
}

static const struct seal_key *key_of_month(
    const struct seal_key keys[2], int64_t time_us)
{
    char text[CLOCK_TEXT_LENGTH];
    clock_format(text, time_us);
    for (int i = 0; i < 2; i++) {
        if (memcmp(keys[i].month, text, 7) == 0)
            return &keys[i];
    }
    return NULL;
}

const struct seal_key *snapshot_anonymous_seal(
    const struct snapshot *s, int64_t time_us)
{
    return s->directory->has_anonymous
               ? key_of_month(s->directory->anonymous, time_us)
               : NULL;
}

const struct seal_key *snapshot_caller_seal(
    const struct snapshot_caller *caller, int64_t time_us)
{
    return caller->has_seal ? key_of_month(caller->seal, time_us) : NULL;
}

/* --- Emergencies ---------------------------------------------------------- */

size_t snapshot_emergency_count(const struct snapshot *s)
{
    return s->emergencies->count;
}

const struct snapshot_emergency *snapshot_emergency(
    const struct snapshot *s, size_t at)
{
    return &s->emergencies->emergencies[at];
}

int64_t snapshot_reviews_open(const struct snapshot *s)
{
    return s->emergencies->reviews_open;
}

const struct snapshot_emergency *snapshot_find_access(const struct snapshot *s,
    struct str caller, struct str model, int64_t time_us)
{
    for (size_t i = 0; i < s->emergencies->count; i++) {
        const struct snapshot_emergency *e = &s->emergencies->emergencies[i];
        if (e->policy || time_us >= e->expires_us ||
            (e->model[0] && !str_equal(str_from(e->model), model)))
            continue;
        for (size_t k = 0; k < e->caller_count; k++)
            if (str_equal(e->callers[k], caller))
                return e;
    }
    return NULL;
}

bool snapshot_rules_are_over(const struct snapshot *s, int64_t time_us)
{
    for (size_t i = 0; i < s->emergencies->count; i++)
        if (s->emergencies->emergencies[i].policy &&
            time_us >= s->emergencies->emergencies[i].expires_us)
            return true;
    return false;
}

/* --- Issuers ------------------------------------------------------------- */

/* A handful at most: one pass over the texts is as good as a table. */
const struct snapshot_issuer *snapshot_find_issuer(
    const struct snapshot *s, struct str issuer)
{
    for (size_t i = 0; i < s->issuers->count; i++) {
        if (str_equal(str_from(s->issuers->issuers[i].issuer), issuer))
            return &s->issuers->issuers[i];
    }
    return NULL;
}

enum err snapshot_join_teams(const struct snapshot *s,
    const struct snapshot_caller *caller, const struct snapshot_issuer *issuer,
    const struct str *groups, size_t group_count, struct arena *arena,
    const struct snapshot_membership **out)
{
    const struct directory_part *d =
        s->directory->base ? s->directory->base : s->directory;
    struct snapshot_membership *joined;
    struct str *added;
    size_t count = 0;
    enum err err;
    *out = NULL;
    if (issuer->group_count == 0 || group_count == 0)
        return ERR_OK;
    added = ARENA_ARRAY(arena, group_count, struct str);
    if (added == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < group_count; i++) {
        const struct str *team = snapshot_team_of_group(issuer, groups[i]);
        if (team != NULL)
            added[count++] = *team;
    }
    if (count == 0)
        return ERR_OK;
    joined = ARENA_NEW(arena, struct snapshot_membership);
    if (joined == NULL)
        return ERR_NOMEM;
    count = snapshot_sort_teams(added, count);
    err = snapshot_join_named(d, caller, added, count, arena, joined);
    if (err == ERR_OK)
        *out = joined;
    return err;
}

size_t snapshot_issuer_count(const struct snapshot *s)
{
    return s->issuers->count;
}

const struct snapshot_issuer *snapshot_issuer(
    const struct snapshot *s, size_t at)
{
    return &s->issuers->issuers[at];
}

/* --- Models and engines -------------------------------------------------- */

const struct snapshot_model *snapshot_find_model(
    const struct snapshot *s, struct str name_or_alias)
{
    const struct models_part *m = s->models;
    size_t mask = m->slot_count - 1;
    for (size_t at = (size_t)str_hash(name_or_alias) & mask;
         m->slots[at].model != NULL; at = (at + 1) & mask) {
        if (str_equal(m->slots[at].name, name_or_alias))
            return m->slots[at].model;
    }
    return NULL;
}

size_t snapshot_model_count(const struct snapshot *s)
{
    return s->models->model_count;
}

const struct snapshot_model *snapshot_model(const struct snapshot *s, size_t at)
{
    return &s->models->models[at];
}

size_t snapshot_engine_count(const struct snapshot *s)
{
    return s->models->engine_count;
}

const struct engine_target *snapshot_engine(const struct snapshot *s, size_t at)
{
    return &s->models->engines[at];
}

const struct snapshot_gateway *snapshot_find_gateway(
    const struct snapshot *s, const struct snapshot_caller *caller)
{
    struct str id = str_from(caller->id);
    size_t low = 0, high = s->issuers->gateway_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct snapshot_gateway *one = &s->issuers->gateways[middle];
        int order = str_compare(one->caller, id);
        if (order == 0)
            return one;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* --- Client certificates ------------------------------------------------- */

const struct trust *snapshot_trust(const struct snapshot *s)
{
    return s->trust->trust;
}

uint64_t snapshot_trust_generation(const struct snapshot *s)
{
    return s->trust->generation;
}

enum tls_certificates snapshot_certificate_mode(
    const struct snapshot *s, struct str listener)
{
    const struct trust_part *t = s->trust;
    enum tls_certificates mode = TLS_CERTIFICATES_OFF;

    for (size_t i = 0; i < t->mode_count; i++) {
        if (str_equal(t->modes[i].listener, listener))
            return t->modes[i].mode;
        if (str_equal(t->modes[i].listener, STR("*")))
            mode = t->modes[i].mode;
    }
    return mode;
}

/* Prefix and text, as the handle of a caller; never as an id. */
static const struct snapshot_caller *caller_by_name(
    const struct snapshot *s, struct str prefix, struct str text)
{
    char handle[64 + CERTIFICATE_SUBJECT_MAX];
    struct str name = str_make(handle, prefix.len + text.len);

    if (name.len > sizeof handle)
        return NULL;
    if (prefix.len > 0)
        memcpy(handle, prefix.ptr, prefix.len);
    memcpy(handle + prefix.len, text.ptr, text.len);
    const struct snapshot_caller *caller = snapshot_find_caller(s, name);
    return caller && str_equal(str_from(caller->handle), name) ? caller : NULL;
}

static const struct snapshot_caller *caller_by_mapping(
    const struct snapshot *s, const struct trust_mapping *m, struct str value)
{
    struct str captured;

    if (!certificate_pattern_matches(m->field, m->pattern, value, &captured))
        return NULL;
    return m->caller.len > 0 ? snapshot_find_caller(s, m->caller)
                             : caller_by_name(s, m->prefix, captured);
}

const struct snapshot_caller *snapshot_map_certificate(const struct snapshot *s,
    size_t domain, const struct certificate_facts *facts)
{
    const struct snapshot_caller *found = NULL;

    for (size_t i = 0; i < s->trust->mapping_count; i++) {
        const struct trust_mapping *m = &s->trust->mappings[i];
        const struct str *values = &facts->subject[m->field];
        size_t count = 1;
        if (m->domain != domain)
            continue;
        if (m->field == CERTIFICATE_URI) {
            values = &facts->uri;
        } else if (m->field == CERTIFICATE_DNS) {
            values = facts->dns;
            count = facts->dns_count;
        } else if (m->field == CERTIFICATE_EMAIL) {
            values = facts->emails;
            count = facts->email_count;
        }
        for (size_t k = 0; k < count; k++) {
            const struct snapshot_caller *one =
                caller_by_mapping(s, m, values[k]);
            if (one && found && one != found)
                return NULL; /* it is not for us to choose */
            found = one ? one : found;
        }
    }
    return found;
}

/* --- Rules and the rest -------------------------------------------------- */

const struct policy_set *snapshot_policy(const struct snapshot *s)
{
    return s->rules->set;
}

const struct policy_set *snapshot_shadow(const struct snapshot *s)
{
    return s->rules->shadow;
}

int64_t snapshot_shadow_version(const struct snapshot *s)
{
    return s->rules->shadow_version;
}

int64_t snapshot_policy_version(const struct snapshot *s)
{
    return s->rules->version;
}

const char *snapshot_policy_hash(const struct snapshot *s)
{
    return s->rules->hash;
}

const struct policy_entities *snapshot_entities(const struct snapshot *s)
{
    return s->entities->entities;
}

const struct clock_zone *snapshot_zone(const struct snapshot *s)
{
    return s->settings->zone;
}

bool snapshot_is_holiday(const struct snapshot *s, int64_t time_us)
{
    const struct settings_part *p = s->settings;
    if (p->holiday_count == 0)
        return false;
    struct clock_civil civil;
    clock_civil(p->zone, time_us, &civil);
    int64_t day = clock_days_from_civil(civil.year, civil.month, civil.day);
    for (size_t i = 0; i < p->holiday_count; i++) {
        if (p->holidays[i] == day)
            return true;
    }
    return false;
}

const char *snapshot_contact(const struct snapshot *s)
{
    return s->settings->contact;
}

const struct snapshot_retention *snapshot_find_retention(
    const struct snapshot *s, struct str name)
{
    const struct settings_part *p = s->settings;
    for (size_t i = 0; i < p->retention_count; i++)
        if (str_equal(p->retention[i].name, name))
            return &p->retention[i];
    return NULL;
}

const struct snapshot_retention *snapshot_team_retention(
    const struct snapshot *s, const struct str *teams, size_t count)
{
    const struct settings_part *p = s->settings;
    const struct snapshot_retention *longest = NULL;
    for (size_t i = 0; i < p->retention_team_count; i++)
        for (size_t k = 0; k < count; k++)
            if (str_equal(p->retention_teams[i].team, teams[k]))
                longest = snapshot_longer_retention(
                    longest, p->retention_teams[i].class);
    return longest;
}

const char *snapshot_quota_webhook(const struct snapshot *s)
{
    return s->settings->quota_webhook;
}

size_t snapshot_quota_count(const struct snapshot *s)
{
    return s->directory->quota_count;
}

const struct quota_rule *snapshot_quota(const struct snapshot *s, size_t at)
{
    return &s->directory->quotas[at];
}

const uint8_t *snapshot_digest_key(const struct snapshot *s)
{
    return s->directory->has_digest ? s->directory->digest_key : NULL;
}

const char *snapshot_digest_key_name(const struct snapshot *s)
{
    return s->directory->digest_key_name;
}
