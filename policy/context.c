/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/context.c - a request as a Cedar context; as JSON: context_record.c.
 *
 * The shapes here are those of schema/bailiff.cedarschema; change both. All
 * memory is made at birth: the fields of each record stand in one array, in
 * the order in which Cedar wants them sorted, found out once. */
#include "policy/context_priv.h"

#include "lib/json.h"
#include "lib/must.h"

#include <stdio.h>
#include <stdlib.h>

const struct context_member context_members[MEMBER_COUNT] = {
#define X(record, member, name) {record, STR_INIT(name)},
    MEMBERS(X)
#undef X
};

static void sort_members(struct policy_context *c)
{
    unsigned count = 0;
    for (int r = 0; r < RECORDS; r++) {
        c->first[r] = count;
        for (int m = 0; m < MEMBER_COUNT; m++) {
            if ((int)context_members[m].record != r)
                continue;
            struct cedar_key key = cedar_key_make(context_members[m].name);
            unsigned at = count++;
            for (;
                 at > c->first[r] && cedar_key_compare(c->key[at - 1], key) > 0;
                 at--) {
                c->key[at] = c->key[at - 1];
                c->order[at] = c->order[at - 1];
            }
            c->key[at] = key;
            c->order[at] = (enum member)m;
        }
    }
    c->first[RECORDS] = count;
}

struct policy_context *policy_context_new(void)
{
    struct policy_context *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    sort_members(c);
    /* Items, the set's copy of them, and the sort's own need. */
    c->arena = arena_new(
        4096, 8 * TOOLS_MAX * sizeof(struct cedar_value) + TOOLS_BYTES_MAX);
    c->fixed = arena_new(256, 0);
    c->groups = arena_new(
        1024, 8 * GROUPS_MAX * sizeof(struct cedar_value) + GROUPS_BYTES_MAX);
    c->dns = arena_new(
        512, 8 * DNS_MAX * sizeof(struct cedar_value) + DNS_BYTES_MAX);
    c->end_user_groups = arena_new(
        1024, 8 * GROUPS_MAX * sizeof(struct cedar_value) + GROUPS_BYTES_MAX);
    c->claim_sets = arena_new(
        1024, 8 * GROUPS_MAX * sizeof(struct cedar_value) + GROUPS_BYTES_MAX);
    if (c->arena == NULL || c->groups == NULL || c->claim_sets == NULL ||
        c->dns == NULL || c->end_user_groups == NULL || c->fixed == NULL ||
        cedar_set_make(c->fixed, NULL, 0, &c->no_tools) != ERR_OK)
        policy_context_free(&c);
    return c;
}

void policy_context_free(struct policy_context **context)
{
    if (*context == NULL)
        return;
    arena_free(&(*context)->arena);
    arena_free(&(*context)->groups);
    arena_free(&(*context)->claim_sets);
    arena_free(&(*context)->dns);
    arena_free(&(*context)->end_user_groups);
    arena_free(&(*context)->fixed);
    arena_free(&(*context)->recorded);
    free(*context);
    *context = NULL;
}

/* The record of what is present. Infallible: the keys are distinct, sorted
 * already, and nothing nests deep. */
static void close_record(struct policy_context *c, enum record_id r)
{
    unsigned first = c->first[r], count = 0;
    for (unsigned i = first; i < c->first[r + 1]; i++) {
        struct cedar_value value = c->value[c->order[i]];
        if (value.kind == CEDAR_NONE)
            continue;
        c->field[first + count].key = c->key[i];
        c->field[first + count].value = value;
        count++;
    }
    MUST(cedar_record_init(&c->record[r], &c->field[first], count) == ERR_OK);
}

static struct cedar_value text_or_none(struct str text)
{
    return text.len > 0 ? cedar_string(text) : cedar_none();
}

struct cedar_value context_read_address(
    struct policy_context *c, struct str address)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255};
    struct str bare, zone;
    (void)str_split(address, '%', &bare, &zone);
    /* The language knows no dotted form within IPv6. */
    struct str prefix = STR("::ffff:");
    if (bare.len > prefix.len && memchr(bare.ptr, '.', bare.len) != NULL &&
        str_equal_nocase(str_make(bare.ptr, prefix.len), prefix))
        bare = str_make(bare.ptr + prefix.len, bare.len - prefix.len);
    if (!cedar_ip_parse(bare, &c->ip, NULL))
        return cedar_none();
    if (c->ip.version == 6 && memcmp(c->ip.bytes, mapped, 12) == 0) {
        memmove(c->ip.bytes, c->ip.bytes + 12, 4);
        memset(c->ip.bytes + 4, 0, 12);
        c->ip.version = 4;
        c->ip.prefix = 32;
    }
    return cedar_ip(&c->ip);
}

static void fill_time(
    struct policy_context *c, const struct policy_question *question)
{
    static const struct str weekdays[] = {STR_INIT("Sun"), STR_INIT("Mon"),
        STR_INIT("Tue"), STR_INIT("Wed"), STR_INIT("Thu"), STR_INIT("Fri"),
        STR_INIT("Sat")};
    struct clock_civil civil;
    if (question->zone != NULL)
        clock_civil(question->zone, question->now_us, &civil);
    else
        clock_civil_utc(question->now_us, &civil);
    int year = civil.year, month = civil.month, day = civil.day;
    const char date[10] = {(char)('0' + year / 1000 % 10),
        (char)('0' + year / 100 % 10), (char)('0' + year / 10 % 10),
        (char)('0' + year % 10), '-', (char)('0' + month / 10),
        (char)('0' + month % 10), '-', (char)('0' + day / 10),
        (char)('0' + day % 10)};
    memcpy(c->date, date, sizeof(date));
    int64_t ms = question->now_us / 1000;
    if (question->now_us % 1000 < 0)
        ms--;
    c->now_us = ms * 1000;
    c->value[TIME_DATE] = cedar_string(str_make(c->date, sizeof(date)));
    c->value[TIME_HOUR] = cedar_long(civil.hour);
    c->value[TIME_MINUTE] = cedar_long(civil.minute);
    c->value[TIME_IS_HOLIDAY] = cedar_bool(question->is_holiday);
    c->value[TIME_NOW] = cedar_datetime(ms);
    MUST(civil.weekday >= 0 && civil.weekday < 7);
    c->value[TIME_WEEKDAY] = cedar_string(weekdays[civil.weekday]);
}

/* Bytes of the text inside a JSON string. */
static size_t json_length(struct str text)
{
    size_t bytes = 0;
    for (size_t k = 0; k < text.len; k++) {
        unsigned char ch = (unsigned char)text.ptr[k];
        bytes += ch < 0x20 ? 6 : ch == '"' || ch == '\\' ? 2 : 1;
    }
    return bytes;
}

static enum err fill_tools(
    struct policy_context *c, const struct policy_question *question)
{
    c->value[INPUT_TOOLS] = c->no_tools;
    if (question->tool_count == 0)
        return ERR_OK;
    if (question->tool_count > TOOLS_MAX)
        return ERR_LIMIT;
    arena_reset(c->arena);
    struct cedar_value *items =
        ARENA_ARRAY(c->arena, question->tool_count, struct cedar_value);
    if (items == NULL)
        return ERR_NOMEM;
    size_t bytes = 0;
    for (size_t i = 0; i < question->tool_count; i++) {
        /* Six: the longest escape of one byte in JSON. */
        if (question->tools[i].len > TOOLS_BYTES_MAX / 6)
            return ERR_LIMIT;
        bytes += json_length(question->tools[i]) + 3;
        items[i] = cedar_string(question->tools[i]);
    }
    if (bytes > TOOLS_BYTES_MAX)
        return ERR_LIMIT;
    return cedar_set_make(
        c->arena, items, question->tool_count, &c->value[INPUT_TOOLS]);
}

/* A set of texts; ERR_LIMIT: more than the record holds. */
static enum err fill_set(struct policy_context *c, struct arena *arena,
    const struct str *texts, size_t count, size_t most, size_t most_bytes,
    struct cedar_value *out)
{
    struct cedar_value items[GROUPS_MAX];
    size_t bytes = 0;
    *out = c->no_tools; /* any empty set */
    if (count == 0)
        return ERR_OK;
    if (count > most)
        return ERR_LIMIT;
    arena_reset(arena);
    for (size_t i = 0; i < count; i++) {
        bytes += json_length(texts[i]) + 3;
        items[i] = cedar_string(texts[i]);
    }
    if (bytes > most_bytes)
        return ERR_LIMIT;
    return cedar_set_make(arena, items, count, out);
}

/* Absent without a token; a token without groups has an empty set. */
static enum err fill_groups(
    struct policy_context *c, const struct policy_question *question)
{
    c->value[AUTH_GROUPS] = cedar_none();
    return question->issuer.len == 0
               ? ERR_OK
               : fill_set(c, c->groups, question->groups, question->group_count,
                     GROUPS_MAX, GROUPS_BYTES_MAX, &c->value[AUTH_GROUPS]);
}

/* Bytes of the claim in the record. */
static size_t claim_length(const struct policy_claim *claim)
{
    size_t bytes = claim->name.len + 3 + 24;
    if (claim->kind == POLICY_CLAIM_STRING)
        bytes += json_length(claim->text);
    for (size_t i = 0; i < claim->item_count; i++)
        bytes += json_length(claim->items[i]) + 3;
    return bytes;
}

static enum err claim_value(struct policy_context *c,
    const struct policy_claim *claim, struct cedar_value *out)
{
    struct cedar_value items[GROUPS_MAX];
    switch (claim->kind) {
    case POLICY_CLAIM_STRING:
        *out = cedar_string(claim->text);
        return ERR_OK;
    case POLICY_CLAIM_LONG:
        *out = cedar_long(claim->number);
        return ERR_OK;
    case POLICY_CLAIM_BOOL:
        *out = cedar_bool(claim->number != 0);
        return ERR_OK;
    case POLICY_CLAIM_SET:
        break;
    }
    if (claim->item_count > GROUPS_MAX)
        return ERR_LIMIT;
    for (size_t i = 0; i < claim->item_count; i++)
        items[i] = cedar_string(claim->items[i]);
    return cedar_set_make(c->claim_sets, items, claim->item_count, out);
}

/* Claims and groups share what the record has room for. */
static enum err fill_claims(
    struct policy_context *c, const struct policy_question *q)
{
    size_t bytes = 0, items = 0;
    c->claim_count = 0;
    c->has_claims = q->has_claims;
    if (!q->has_claims)
        return ERR_OK;
    if (q->claim_count > POLICY_CLAIMS_MAX)
        return ERR_LIMIT;
    for (size_t i = 0; i < q->group_count; i++)
        bytes += json_length(q->groups[i]) + 3;
    for (size_t i = 0; i < q->claim_count; i++) {
        bytes += claim_length(&q->claims[i]);
        items += q->claims[i].item_count;
    }
    if (bytes > GROUPS_BYTES_MAX || items > GROUPS_MAX)
        return ERR_LIMIT;
    arena_reset(c->claim_sets);
    for (size_t i = 0; i < q->claim_count; i++) {
        c->claim_name[i] = q->claims[i].name;
        enum err err = claim_value(c, &q->claims[i], &c->claim[i]);
        if (err != ERR_OK)
            return err;
    }
    c->claim_count = q->claim_count;
    return ERR_OK;
}

static enum err fill_certificate(
    struct policy_context *c, const struct policy_certificate *certificate)
{
    struct cedar_value *v = c->value;
    v[CERTIFICATE_DNS] = v[CERTIFICATE_URI] = cedar_none();
    v[CERTIFICATE_DOMAIN] = text_or_none(certificate->domain);
    v[CERTIFICATE_ISSUER] = text_or_none(certificate->issuer);
    v[CERTIFICATE_FINGERPRINT] = text_or_none(certificate->fingerprint);
    if (certificate->fingerprint.len == 0)
        return ERR_OK;
    v[CERTIFICATE_DOMAIN] = cedar_string(certificate->domain);
    v[CERTIFICATE_ISSUER] = cedar_string(certificate->issuer);
    v[CERTIFICATE_URI] = text_or_none(certificate->uri);
    enum err err = fill_set(c, c->dns, certificate->dns, certificate->dns_count,
        DNS_MAX, DNS_BYTES_MAX, &v[CERTIFICATE_DNS]);
    if (err != ERR_OK)
        return err;
    return ERR_OK;
}

static enum err fill_end_user(
    struct policy_context *c, const struct policy_end_user *end_user)
{
    struct cedar_value *v = c->value;
    v[END_USER_CALLER] = v[END_USER_GROUPS] = v[END_USER_VERIFIED] =
        cedar_none();
    v[END_USER_ISSUER] = text_or_none(end_user->issuer);
    if (end_user->issuer.len == 0)
        return ERR_OK;
    v[END_USER_VERIFIED] = cedar_bool(true);
    if (end_user->caller.len > 0) {
        c->end_user = cedar_uid_make(STR("Caller"), end_user->caller);
        v[END_USER_CALLER] = cedar_entity(&c->end_user);
    }
    return fill_set(c, c->end_user_groups, end_user->groups,
        end_user->group_count, GROUPS_MAX, GROUPS_BYTES_MAX,
        &v[END_USER_GROUPS]);
}

void context_close_records(struct policy_context *c)
{
    static const struct {
        enum record_id record;
        enum member whole;
    } parts[] = {{AUTH, WHOLE_AUTH}, {INPUT, WHOLE_INPUT},
        {PARAMS, WHOLE_PARAMS}, {REQUEST, WHOLE_REQUEST}, {TIME, WHOLE_TIME}};

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        close_record(c, parts[i].record);
        c->value[parts[i].whole] =
            cedar_record_value(&c->record[parts[i].record]);
    }
    c->value[WHOLE_CERTIFICATE] = c->value[WHOLE_END_USER] =
        c->value[WHOLE_CLAIMS] = cedar_none();
    if (c->has_claims) {
        for (size_t i = 0; i < c->claim_count; i++)
            c->claim_field[i] = (struct cedar_field){
                cedar_key_make(c->claim_name[i]), c->claim[i]};
        /* Names are a table's key: none is there twice. */
        MUST(cedar_record_init(&c->claims, c->claim_field, c->claim_count) ==
             ERR_OK);
        c->value[WHOLE_CLAIMS] = cedar_record_value(&c->claims);
    }
    if (c->value[CERTIFICATE_FINGERPRINT].kind != CEDAR_NONE) {
        close_record(c, CERTIFICATE);
        c->value[WHOLE_CERTIFICATE] =
            cedar_record_value(&c->record[CERTIFICATE]);
    }
    if (c->value[END_USER_ISSUER].kind != CEDAR_NONE) {
        close_record(c, END_USER);
        c->value[WHOLE_END_USER] = cedar_record_value(&c->record[END_USER]);
    }
}

enum err policy_context_fill(
    struct policy_context *c, const struct policy_question *q)
{
    struct cedar_value *v = c->value;
    v[AUTH_METHOD] = cedar_string(q->auth_method);
    v[AUTH_KEY] = text_or_none(q->key);
    v[AUTH_ISSUER] = text_or_none(q->issuer);
    v[AUTH_CLIENT] = text_or_none(q->client);
    v[REQUEST_DIALECT] = cedar_string(q->dialect);
    v[REQUEST_ROUTE] = cedar_string(q->route);
    v[REQUEST_STREAM] = cedar_bool(q->stream);
    v[REQUEST_IP] = context_read_address(c, q->address);
    v[INPUT_TOKENS] = cedar_long(q->input_tokens);
    v[INPUT_BYTES] = cedar_long(q->input_bytes);
    v[INPUT_MESSAGES] = cedar_long(q->messages);
    v[INPUT_IMAGES] = cedar_long(q->images);
    v[INPUT_AUDIOS] = cedar_long(q->audios);
    v[PARAMS_MAX_TOKENS] =
        q->max_tokens >= 0 ? cedar_long(q->max_tokens) : cedar_none();
    v[PARAMS_N] = cedar_long(q->choices > 0 ? q->choices : 1);
    v[PARAMS_TEMPERATURE] =
        q->has_temperature ? cedar_decimal(q->temperature4) : cedar_none();
    v[PARAMS_TOP_P] = q->has_top_p ? cedar_decimal(q->top_p4) : cedar_none();
    fill_time(c, q);
    enum err err = fill_tools(c, q);
    if (err == ERR_OK)
        err = fill_groups(c, q);
    if (err == ERR_OK)
        err = fill_claims(c, q);
    if (err == ERR_OK)
        err = fill_certificate(c, &q->certificate);
    if (err == ERR_OK)
        err = fill_end_user(c, &q->end_user);
    if (err != ERR_OK)
        return err;
    context_close_records(c);
    return ERR_OK;
}

const struct cedar_record *policy_context_aim(
    struct policy_context *c, const struct policy_target *target)
{
    c->value[WHOLE_TARGET] = cedar_none();
    if (target->engine.len > 0) {
        c->engine = cedar_uid_make(STR("Engine"), target->engine);
        c->value[TARGET_ENGINE] = cedar_entity(&c->engine);
        c->value[TARGET_UPSTREAM] = cedar_string(target->upstream);
        close_record(c, TARGET);
        c->value[WHOLE_TARGET] = cedar_record_value(&c->record[TARGET]);
    }
    close_record(c, WHOLE);
    return &c->record[WHOLE];
}
