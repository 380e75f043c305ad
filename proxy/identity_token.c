/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/identity_token.c - from a token to a caller. */
#include "proxy/identity_token.h"

#include "lib/json_write.h"
#include "proxy/jwt/jwt.h"
#include "proxy/name.h"

#include <stdlib.h>

#define CACHE_SETS 256u /* a power of two */
#define CACHE_WAYS 8u
#define CLAIM_DEPTH_MAX 8 /* of "a.b.c" */

/* One block of memory holds all texts of an entry. */
struct cached {
    uint8_t hash[SHA256_SIZE];
    uint64_t generation, epoch;
    uint64_t used; /* the cache's count when it was asked for last */
    struct token_identity identity; /* its texts lie in `block` */
    char *block;                    /* NULL: free */
};

struct identity_cache {
    uint64_t count;
    struct cached entries[CACHE_SETS * CACHE_WAYS];
};

struct identity_cache *identity_cache_new(void)
{
    return calloc(1, sizeof(struct identity_cache));
}

void identity_cache_free(struct identity_cache **cache)
{
    struct identity_cache *c = *cache;

    *cache = NULL;
    for (size_t i = 0; c && i < CACHE_SETS * CACHE_WAYS; i++)
        free(c->entries[i].block);
    free(c);
}

bool identity_is_token(struct str credential)
{
    return str_starts(credential, STR("eyJ")) &&
           memchr(credential.ptr, '.', credential.len) != NULL;
}

/* --- The cache ----------------------------------------------------------- */

static size_t size_of(const struct token_identity *identity)
{
    size_t size = identity->claim_count * sizeof(struct policy_claim) +
                  identity->group_count * sizeof(struct str) +
                  identity->subject.len + identity->client.len;

    for (size_t i = 0; i < identity->group_count; i++)
        size += identity->groups[i].len;
    for (size_t i = 0; i < identity->claim_count; i++) {
        const struct policy_claim *claim = &identity->claims[i];
        size += claim->text.len + claim->item_count * sizeof(struct str);
        for (size_t k = 0; k < claim->item_count; k++)
            size += claim->items[k].len;
    }
    return size;
}

static struct str put(char **at, struct str text)
{
    struct str copy = str_make(*at, text.len);

    if (text.len > 0)
        memcpy(*at, text.ptr, text.len);
    *at += text.len;
    return copy;
}

/* Their names stay where they are: in the snapshot, as the issuer does. */
static void pack_claims(const struct token_identity *from,
    struct policy_claim *claims, struct str *items, char **at)
{
    for (size_t i = 0; i < from->claim_count; i++) {
        claims[i] = from->claims[i];
        claims[i].text = put(at, from->claims[i].text);
        claims[i].items = items;
        for (size_t k = 0; k < claims[i].item_count; k++)
            *items++ = put(at, from->claims[i].items[k]);
    }
}

/* All texts into a block of size_of bytes, aligned for pointers. */
static void pack(
    const struct token_identity *from, char *block, struct token_identity *to)
{
    struct policy_claim *claims = (struct policy_claim *)(void *)block;
    struct str *groups = (struct str *)(void *)(claims + from->claim_count);
    struct str *items = groups + from->group_count;
    size_t item_count = 0;

    for (size_t i = 0; i < from->claim_count; i++)
        item_count += from->claims[i].item_count;
    char *at = (char *)(items + item_count);
    *to = *from;
    pack_claims(from, claims, items, &at);
    to->claims = claims;
    for (size_t i = 0; i < from->group_count; i++)
        groups[i] = put(&at, from->groups[i]);
    to->groups = groups;
    to->subject = put(&at, from->subject);
    to->client = put(&at, from->client);
}

static struct cached *set_of(
    struct identity_cache *cache, const uint8_t hash[SHA256_SIZE])
{
    uint32_t at;

    memcpy(&at, hash, sizeof at); /* a digest is its own good hash */
    return &cache->entries[(at & (CACHE_SETS - 1)) * CACHE_WAYS];
}

/* A bound token that was good with another certificate is not, with this. */
static bool is_held_here(
    const struct token_question *q, const struct token_identity *identity)
{
    return !identity->bound ||
           (q->certificate_sha256 &&
               memcmp(identity->certificate_sha256, q->certificate_sha256,
                   SHA256_SIZE) == 0);
}

static struct cached *recall(struct identity_cache *cache,
    const struct token_question *q, const uint8_t hash[SHA256_SIZE])
{
    struct cached *set = set_of(cache, hash);

    for (unsigned i = 0; i < CACHE_WAYS; i++) {
        struct cached *e = &set[i];
        if (!e->block || memcmp(e->hash, hash, sizeof e->hash) != 0)
            continue;
        if (e->generation != snapshot_generation(q->snapshot) ||
            e->epoch != issuers_epoch(q->issuers) ||
            q->now_us - e->identity.issuer->skew_us >= e->identity.expires_us ||
            !is_held_here(q, &e->identity) ||
            (e->identity.caller && e->identity.caller->disabled))
            return NULL; /* judged anew; the entry is overwritten then */
        e->used = ++cache->count;
        return e;
    }
    return NULL;
}

static void keep(struct identity_cache *cache, const struct token_question *q,
    const uint8_t hash[SHA256_SIZE], uint64_t epoch,
    const struct token_identity *identity)
{
    struct cached *set = set_of(cache, hash), *victim = &set[0];
    char *block;

    for (unsigned i = 0; i < CACHE_WAYS; i++) {
        struct cached *e = &set[i];
        if (e->block && memcmp(e->hash, hash, sizeof e->hash) == 0) {
            victim = e;
            break;
        }
        if (victim->block && (!e->block || e->used < victim->used))
            victim = e;
    }
    block = malloc(size_of(identity) + 1);
    if (!block)
        return; /* verified anew the next time */
    free(victim->block);
    memcpy(victim->hash, hash, sizeof victim->hash);
    victim->generation = snapshot_generation(q->snapshot);
    victim->epoch = epoch;
    victim->used = ++cache->count;
    victim->block = block;
    pack(identity, block, &victim->identity);
}

/* --- Claims -------------------------------------------------------------- */

/* The member of that very name (names with dots exist: "https://x/groups"),
 * else "a.b": b within a. */
static uint32_t find_claim(const struct jwt *jwt, struct str path)
{
    uint32_t at = json_find(&jwt->payload, 0, path);

    if (at != JSON_NONE)
        return at;
    at = 0;
    for (int depth = 0; path.len > 0 && depth < CLAIM_DEPTH_MAX; depth++) {
        struct str head;
        str_split(path, '.', &head, &path);
        if (json_type(&jwt->payload, at) != JSON_OBJECT)
            return JSON_NONE;
        at = json_find(&jwt->payload, at, head);
        if (at == JSON_NONE)
            return JSON_NONE;
    }
    return path.len == 0 ? at : JSON_NONE;
}

static bool text_at(
    const struct jwt *jwt, uint32_t at, struct arena *arena, struct str *out)
{
    return at != JSON_NONE &&
           json_text(&jwt->payload, at, arena, out) == ERR_OK && out->len > 0;
}

/* An address that nobody has verified is whatever its owner typed in. */
static bool email_is_verified(const struct jwt *jwt)
{
    uint32_t at = json_find(&jwt->payload, 0, STR("email_verified"));

    return at != JSON_NONE && json_type(&jwt->payload, at) == JSON_TRUE;
}

/* Prefix and claim, as the handle of a caller. False: it gives none. */
static bool make_handle(const struct jwt *jwt,
    const struct snapshot_issuer *issuer, struct arena *arena, struct str *out)
{
    struct str claim;
    char *handle;

    if (!text_at(jwt, find_claim(jwt, issuer->caller_claim), arena, &claim) ||
        memchr(claim.ptr, '\0', claim.len))
        return false;
    if (str_equal(issuer->caller_claim, STR("email")) &&
        !email_is_verified(jwt))
        return false;
    handle = arena_alloc(arena, issuer->prefix.len + claim.len);
    if (!handle)
        return false;
    memcpy(handle, issuer->prefix.ptr, issuer->prefix.len);
    memcpy(handle + issuer->prefix.len, claim.ptr, claim.len);
    *out = str_make(handle, issuer->prefix.len + claim.len);
    return true;
}

/* NULL: there is none. */
static const struct snapshot_caller *find_caller(
    const struct snapshot *snapshot, struct str name)
{
    const struct snapshot_caller *caller = snapshot_find_caller(snapshot, name);

    /* By handle only: the ids of callers are not the issuer's to give. */
    return caller && str_equal(str_from(caller->handle), name) ? caller : NULL;
}

/* False: too many, too long, or not texts. They are never cut short: a rule
 * that forbids a group must see all of them. */
static bool read_groups(const struct jwt *jwt, struct str name,
    struct arena *arena, struct token_identity *out)
{
    uint32_t at = name.len > 0 ? find_claim(jwt, name) : JSON_NONE;
    struct str *groups;
    size_t bytes = out->client.len;

    if (at == JSON_NONE)
        return true;
    groups = ARENA_ARRAY(arena, IDENTITY_GROUPS_MAX, struct str);
    if (!groups)
        return false;
    out->groups = groups;
    if (json_type(&jwt->payload, at) == JSON_STRING) {
        if (json_text(&jwt->payload, at, arena, &groups[0]) != ERR_OK)
            return false;
        out->group_count = 1;
        return bytes + groups[0].len <= IDENTITY_TEXT_MAX;
    }
    if (json_type(&jwt->payload, at) != JSON_ARRAY)
        return false;
    for (JSON_EACH_ELEMENT(&jwt->payload, at, item)) {
        if (out->group_count == IDENTITY_GROUPS_MAX ||
            json_text(&jwt->payload, item, arena, &groups[out->group_count]) !=
                ERR_OK)
            return false;
        bytes += groups[out->group_count++].len;
    }
    return bytes <= IDENTITY_TEXT_MAX;
}

static bool read_items(const struct jwt *jwt, uint32_t array,
    struct arena *arena, struct policy_claim *out)
{
    size_t count = jwt->payload.tokens[array].count;
    struct str *items = ARENA_ARRAY(arena, count + 1, struct str);

    if (!items || count > IDENTITY_GROUPS_MAX)
        return false;
    for (JSON_EACH_ELEMENT(&jwt->payload, array, item))
        if (json_text(&jwt->payload, item, arena, &items[out->item_count++]) !=
            ERR_OK)
            return false;
    out->items = items;
    return true;
}

/* False: it is not of its type. Nothing is converted: "7" is no number, and a
 * text no set of one. */
static bool read_claim(const struct jwt *jwt, uint32_t at, struct arena *arena,
    struct policy_claim *out)
{
    enum json_type type = json_type(&jwt->payload, at);

    switch (out->kind) {
    case POLICY_CLAIM_STRING:
        return json_text(&jwt->payload, at, arena, &out->text) == ERR_OK;
    case POLICY_CLAIM_LONG:
        return type == JSON_NUMBER &&
               json_int64(&jwt->payload, at, &out->number) == ERR_OK &&
               out->number <= JSON_INTEGER_MAX &&
               out->number >= -JSON_INTEGER_MAX;
    case POLICY_CLAIM_BOOL:
        out->number = type == JSON_TRUE;
        return type == JSON_TRUE || type == JSON_FALSE;
    case POLICY_CLAIM_SET:
        return type == JSON_ARRAY && read_items(jwt, at, arena, out);
    }
    return false;
}

static size_t claim_size(const struct policy_claim *claim)
{
    size_t size = claim->name.len + claim->text.len;

    for (size_t i = 0; i < claim->item_count; i++)
        size += claim->items[i].len;
    return size;
}

/* What rules see of the token. False: out of memory, or more than can be put
 * on record. */
static bool read_claims(const struct jwt *jwt,
    const struct snapshot_issuer *issuer, struct arena *arena,
    struct token_identity *out)
{
    struct policy_claim *claims =
        ARENA_ARRAY(arena, issuer->claim_count + 1, struct policy_claim);
    size_t bytes = out->client.len;

    if (!claims)
        return false;
    for (size_t i = 0; i < out->group_count; i++)
        bytes += out->groups[i].len;
    out->claims = claims;
    for (size_t i = 0; i < issuer->claim_count; i++) {
        const struct snapshot_claim *wanted = &issuer->claims[i];
        uint32_t at = find_claim(jwt, wanted->claim);
        struct policy_claim *one = &claims[out->claim_count];
        if (at == JSON_NONE)
            continue;
        *one =
            (struct policy_claim){.name = wanted->name, .kind = wanted->kind};
        if (!read_claim(jwt, at, arena, one)) {
            out->wrong_claim = wanted;
            continue;
        }
        bytes += claim_size(one);
        out->claim_count++;
    }
    return bytes <= IDENTITY_TEXT_MAX;
}

/* --- Judging ------------------------------------------------------------- */

static enum token_result refuse(struct token_answer *answer,
    enum token_refusal refusal, const char *reason, const char *text)
{
    answer->refusal = refusal;
    answer->reason = reason;
    answer->text = text;
    return TOKEN_REFUSED;
}

static enum token_result refuse_for(struct token_answer *answer,
    enum token_refusal refusal, enum jwt_reason reason)
{
    return refuse(
        answer, refusal, jwt_reason_word(reason), jwt_reason_text(reason));
}

/* The application for which the token was made, and whether it may. RFC 9068
 * calls it client_id, OpenID Connect azp; where both stand there, they must
 * say the same as soon as anything depends on it. */
static bool read_client(const struct jwt *jwt,
    const struct snapshot_issuer *issuer, struct arena *arena, struct str *out,
    const struct snapshot_client **known)
{
    struct str id = jwt_text_claim(jwt, arena, STR("client_id"));
    struct str azp = jwt_text_claim(jwt, arena, STR("azp"));

    *out = id.ptr ? id : azp;
    *known = NULL;
    if (issuer->client_count == 0 && !issuer->clients_only)
        return true;
    if (id.ptr && azp.ptr && !str_equal(id, azp))
        return false;
    /* (an azp that is no text is none) */
    if (out->ptr)
        *known = snapshot_find_client(issuer, *out);
    return *known || !issuer->clients_only;
}

bool identity_client_stands(
    const struct token_identity *identity, const struct snapshot_issuer *issuer)
{
    const struct snapshot_client *known =
        snapshot_find_client(issuer, identity->client);
    bool stood_for = known && known->caller.len > 0;

    if (issuer->clients_only && !known)
        return false;
    if (!identity->by_client)
        return !identity->caller || !stood_for ||
               str_equal(known->caller, str_from(identity->caller->id));
    return stood_for &&
           str_equal(known->caller, str_from(identity->caller->id));
}

static enum token_result map(const struct jwt *jwt,
    const struct snapshot_issuer *issuer, const struct token_question *q,
    struct token_answer *answer)
{
    struct token_identity *who = &answer->identity;
    struct str handle;
    bool named = make_handle(jwt, issuer, q->arena, &handle);
    bool newcomer = false;
    const struct snapshot_client *client;

    *who = (struct token_identity){.issuer = issuer,
        .caller = named ? find_caller(q->snapshot, handle) : NULL,
        .subject = jwt_text_claim(jwt, q->arena, STR("sub")),
        .expires_us = jwt_expires_us(jwt),
        /* jwt_check_claims held it against the certificate. */
        .bound = json_find(&jwt->payload, 0, STR("cnf")) != JSON_NONE};
    if (who->bound)
        memcpy(who->certificate_sha256, q->certificate_sha256, SHA256_SIZE);
    if (!read_client(jwt, issuer, q->arena, &who->client, &client))
        return refuse(answer, TOKEN_CLAIMS, "client_refused",
            "The application for which the token was made (client_id, azp) is "
            "not one of those that are let in, or two are named.");
    if (client && client->caller.len > 0 && !q->for_end_user) {
        who->caller = snapshot_find_caller(q->snapshot, client->caller);
        who->by_client = true;
        named = false; /* nobody is made for it */
    }
    if (!who->caller && !q->for_end_user) {
        newcomer = named && issuer->just_in_time;
        if (newcomer && (!name_is_good(handle) || name_looks_like_id(handle)))
            return refuse(answer, TOKEN_CLAIMS, "name_invalid",
                "What the token calls its bearer cannot be the name of a "
                "caller: up to 128 letters, digits and . _ : / @ + -.");
    }
    if (!who->caller && !q->for_end_user && !newcomer)
        return refuse(answer, TOKEN_STRANGER, "unknown_caller",
            "No caller here has the name that the token gives.");
    if (who->caller && who->caller->disabled)
        return refuse(answer, TOKEN_DISABLED, "caller_disabled",
            "The caller whom the token names has been disabled.");
    if (who->client.len > IDENTITY_TEXT_MAX ||
        !read_groups(jwt, issuer->groups_claim, q->arena, who))
        return refuse(answer, TOKEN_OVERLARGE, "groups_invalid",
            "The token's groups are no texts, or too many.");
    if (!q->for_end_user && !read_claims(jwt, issuer, q->arena, who))
        return refuse(answer, TOKEN_OVERLARGE, "claims_invalid",
            "The token's claims and groups are more than can be put on "
            "record.");
    if (newcomer && who->wrong_claim)
        return refuse(answer, TOKEN_CLAIMS, "claims_invalid",
            "A claim that rules are asked about is not of the type that is "
            "set for it, and no caller is made for such a token.");
    answer->handle = newcomer ? handle : STR("");
    return newcomer ? TOKEN_NEWCOMER : TOKEN_ACCEPTED;
}

static enum token_result verify(
    const struct token_question *q, struct token_answer *answer)
{
    struct jwt jwt;
    enum jwt_reason reason = jwt_parse(q->token, q->arena, &jwt);
    const struct snapshot_issuer *issuer;
    struct jwks *keys;

    if (reason != JWT_OK)
        return refuse_for(answer, TOKEN_BAD, reason);
    struct str name = jwt_text_claim(&jwt, q->arena, STR("iss"));
    issuer = name.ptr ? snapshot_find_issuer(q->snapshot, name) : NULL;
    if (!issuer ||
        !(q->for_end_user ? issuer->for_end_users : issuer->for_callers))
        return refuse_for(answer, TOKEN_BAD, JWT_ISS_MISMATCH);
    keys = issuers_keys(q->issuers, issuer->name);
    if (!keys)
        return TOKEN_LATER;
    reason = jwt_check_signature(&jwt, keys);
    jwks_unref(&keys);
    if (reason == JWT_UNKNOWN_KEY && issuers_ask(q->issuers, issuer->name))
        return TOKEN_LATER;
    if (reason != JWT_OK)
        return refuse_for(answer, TOKEN_BAD, reason);
    const struct jwt_rules rules = {.issuer = str_from(issuer->issuer),
        .audiences = issuer->audiences,
        .audience_count = issuer->audience_count,
        .now_us = q->now_us,
        .skew_us = issuer->skew_us,
        .access_token_type = issuer->access_token_type,
        .certificate_sha256 = q->certificate_sha256};
    reason = jwt_check_claims(&jwt, &rules);
    if (reason == JWT_EXPIRED)
        return refuse_for(answer, TOKEN_EXPIRED, reason);
    if (reason != JWT_OK)
        return refuse_for(answer, TOKEN_CLAIMS, reason);
    return map(&jwt, issuer, q, answer);
}

enum token_result identity_check_token(struct identity_cache *cache,
    const struct token_question *q, struct token_answer *answer)
{
    uint8_t hash[SHA256_SIZE];
    uint64_t epoch = issuers_epoch(q->issuers); /* before the keys are taken */
    const struct cached *cached;
    enum token_result result;

    if (q->token.len > JWT_TOKEN_MAX)
        return refuse_for(answer, TOKEN_BAD, JWT_TOO_LARGE);
    crypto_hash_once(q->hash, hash, q->token.ptr, q->token.len);
    /* What it was found good for is part of what is remembered. */
    hash[SHA256_SIZE - 1] ^= q->for_end_user;
    cached = recall(cache, q, hash);
    if (cached) {
        /* A copy: the entry may go while the request runs. */
        char *block = arena_alloc(q->arena, size_of(&cached->identity));
        if (!block)
            return TOKEN_LATER;
        pack(&cached->identity, block, &answer->identity);
        return TOKEN_ACCEPTED;
    }
    result = verify(q, answer);
    if (result == TOKEN_ACCEPTED)
        keep(cache, q, hash, epoch, &answer->identity);
    return result;
}
