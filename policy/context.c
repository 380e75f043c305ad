/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/context.c - a request as a Cedar context, and as JSON for the record.
 *
 * The shapes here are those of schema/bailiff.cedarschema; change both. All
 * memory is made at birth: the fields of each record stand in one array, in
 * the order in which Cedar wants them sorted, found out once. */
#include "policy/policy_priv.h"

#include "policy/cedar/extension.h"

#include "lib/json.h"
#include "lib/json_write.h"
#include "lib/must.h"

#include <stdio.h>
#include <stdlib.h>

#define TOOLS_MAX POLICY_TOOLS_MAX
#define TOOLS_BYTES_MAX POLICY_TOOLS_BYTES_MAX

/* Groups that a token gives; the record must hold them beside the tools. */
#define GROUPS_MAX 64
#define GROUPS_BYTES_MAX 2560 /* as JSON, quotes and commas included */

/* DNS names of a certificate. */
#define DNS_MAX 16
#define DNS_BYTES_MAX 640

enum record_id {
    AUTH,
    CERTIFICATE,
    END_USER,
    INPUT,
    PARAMS,
    REQUEST,
    TARGET,
    TIME,
    WHOLE,
    RECORDS
};

/* Members of each record, in the order of their names. */
#define MEMBERS(X)                                                             \
    X(AUTH, AUTH_CLIENT, "client")                                             \
    X(AUTH, AUTH_GROUPS, "groups")                                             \
    X(AUTH, AUTH_ISSUER, "issuer")                                             \
    X(AUTH, AUTH_KEY, "key")                                                   \
    X(AUTH, AUTH_METHOD, "method")                                             \
    X(CERTIFICATE, CERTIFICATE_DNS, "dns")                                     \
    X(CERTIFICATE, CERTIFICATE_FINGERPRINT, "fingerprint")                     \
    X(CERTIFICATE, CERTIFICATE_ISSUER, "issuer")                               \
    X(CERTIFICATE, CERTIFICATE_DOMAIN, "trustDomain")                          \
    X(CERTIFICATE, CERTIFICATE_URI, "uri")                                     \
    X(END_USER, END_USER_CALLER, "caller")                                     \
    X(END_USER, END_USER_GROUPS, "groups")                                     \
    X(END_USER, END_USER_ISSUER, "issuer")                                     \
    X(END_USER, END_USER_VERIFIED, "verified")                                 \
    X(INPUT, INPUT_AUDIOS, "audios")                                           \
    X(INPUT, INPUT_BYTES, "bytes")                                             \
    X(INPUT, INPUT_IMAGES, "images")                                           \
    X(INPUT, INPUT_MESSAGES, "messages")                                       \
    X(INPUT, INPUT_TOKENS, "tokens")                                           \
    X(INPUT, INPUT_TOOLS, "tools")                                             \
    X(PARAMS, PARAMS_MAX_TOKENS, "maxTokens")                                  \
    X(PARAMS, PARAMS_N, "n")                                                   \
    X(PARAMS, PARAMS_TEMPERATURE, "temperature")                               \
    X(PARAMS, PARAMS_TOP_P, "topP")                                            \
    X(REQUEST, REQUEST_DIALECT, "dialect")                                     \
    X(REQUEST, REQUEST_IP, "ip")                                               \
    X(REQUEST, REQUEST_ROUTE, "route")                                         \
    X(REQUEST, REQUEST_STREAM, "stream")                                       \
    X(TARGET, TARGET_ENGINE, "engine")                                         \
    X(TARGET, TARGET_UPSTREAM, "upstream")                                     \
    X(TIME, TIME_DATE, "date")                                                 \
    X(TIME, TIME_HOUR, "hour")                                                 \
    X(TIME, TIME_IS_HOLIDAY, "isHoliday")                                      \
    X(TIME, TIME_MINUTE, "minute")                                             \
    X(TIME, TIME_NOW, "now")                                                   \
    X(TIME, TIME_WEEKDAY, "weekday")                                           \
    X(WHOLE, WHOLE_AUTH, "auth")                                               \
    X(WHOLE, WHOLE_CERTIFICATE, "certificate")                                 \
    X(WHOLE, WHOLE_CLAIMS, "claims")                                           \
    X(WHOLE, WHOLE_END_USER, "endUser")                                        \
    X(WHOLE, WHOLE_INPUT, "input")                                             \
    X(WHOLE, WHOLE_PARAMS, "params")                                           \
    X(WHOLE, WHOLE_REQUEST, "request")                                         \
    X(WHOLE, WHOLE_TARGET, "target")                                           \
    X(WHOLE, WHOLE_TIME, "time")

enum member {
#define X(record, member, name) member,
    MEMBERS(X)
#undef X
        MEMBER_COUNT
};

static const struct {
    enum record_id record;
    struct str name;
} members[MEMBER_COUNT] = {
#define X(record, member, name) {record, STR_INIT(name)},
    MEMBERS(X)
#undef X
};

struct policy_context {
    struct cedar_value value[MEMBER_COUNT]; /* CEDAR_NONE: absent */
    /* Members by record, each record's in Cedar's order of keys. */
    enum member order[MEMBER_COUNT];
    struct cedar_key key[MEMBER_COUNT]; /* of order[i] */
    unsigned first[RECORDS + 1];
    struct cedar_field field[MEMBER_COUNT];
    struct cedar_record record[RECORDS];
    struct cedar_ip ip;
    struct cedar_uid engine;
    char date[16];
    int64_t now_us;
    struct arena *arena; /* the set of tools */
    struct arena *groups;
    struct arena *dns, *end_user_groups;
    struct cedar_uid end_user;
    /* context.claims, by name as it is written; its fields as Cedar sorts. */
    struct str claim_name[POLICY_CLAIMS_MAX];
    struct cedar_value claim[POLICY_CLAIMS_MAX];
    struct cedar_field claim_field[POLICY_CLAIMS_MAX];
    struct cedar_record claims;
    size_t claim_count;
    bool has_claims;
    struct arena *claim_sets;
    struct cedar_value no_tools;
    struct arena *fixed;    /* no_tools */
    struct arena *recorded; /* what policy_context_read took from a record */
};

static void sort_members(struct policy_context *c)
{
    unsigned count = 0;
    for (int r = 0; r < RECORDS; r++) {
        c->first[r] = count;
        for (int m = 0; m < MEMBER_COUNT; m++) {
            if ((int)members[m].record != r)
                continue;
            struct cedar_key key = cedar_key_make(members[m].name);
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

/* The address of a peer as rules expect it: an IPv4 caller on an IPv6 socket
 * is an IPv4 caller, a link-local zone is no part of the address. */
static struct cedar_value read_address(
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

static void close_records(struct policy_context *c)
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
    v[REQUEST_IP] = read_address(c, q->address);
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
    close_records(c);
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

/* --- For the record ------------------------------------------------------ */

static void write_extension(
    struct json_writer *w, const char *function, const char *argument)
{
    json_write_object(w);
    json_write_key(w, STR("__extn"));
    json_write_object(w);
    json_write_member_string(w, STR("arg"), str_from(argument));
    json_write_member_string(w, STR("fn"), str_from(function));
    json_write_object_end(w);
    json_write_object_end(w);
}

static void write_long(struct json_writer *w, int64_t value)
{
    char text[24];
    if (value >= -JSON_INTEGER_MAX && value <= JSON_INTEGER_MAX) {
        json_write_int(w, value);
        return;
    }
    (void)snprintf(text, sizeof(text), "%lld", (long long)value);
    write_extension(w, "long", text);
}

static void write_decimal(struct json_writer *w, int64_t ten_thousandths)
{
    char text[32], *at = text + sizeof(text);
    uint64_t rest = ten_thousandths < 0 ? 0 - (uint64_t)ten_thousandths
                                        : (uint64_t)ten_thousandths;
    *--at = '\0';
    char *end = at;
    for (int i = 0; i < 4; i++, rest /= 10)
        *--at = (char)('0' + rest % 10);
    while (end - at > 1 && end[-1] == '0')
        *--end = '\0';
    *--at = '.';
    do
        *--at = (char)('0' + rest % 10);
    while ((rest /= 10) > 0);
    if (ten_thousandths < 0)
        *--at = '-';
    write_extension(w, "decimal", at);
}

static void write_datetime(struct json_writer *w, int64_t time_us)
{
    char text[CLOCK_TEXT_LENGTH + 1];
    clock_format(text, time_us);
    /* Cedar's datetime has milliseconds: "2026-11-23T08:15:30.123Z". */
    memcpy(text + 23, "Z", 2);
    write_extension(w, "datetime", text);
}

static void write_value(
    struct json_writer *w, struct cedar_value value, int64_t now_us)
{
    switch ((enum cedar_kind)value.kind) {
    case CEDAR_BOOL:
        json_write_bool(w, value.boolean);
        return;
    case CEDAR_LONG:
        write_long(w, value.integer);
        return;
    case CEDAR_STRING:
        json_write_string(w, cedar_text(value));
        return;
    case CEDAR_DECIMAL:
        write_decimal(w, value.integer);
        return;
    case CEDAR_DATETIME:
        write_datetime(w, now_us);
        return;
    case CEDAR_SET:
        json_write_array(w);
        for (uint32_t i = 0; i < value.set->count; i++)
            json_write_string(w, cedar_text(value.set->items[i]));
        json_write_array_end(w);
        return;
    case CEDAR_ENTITY:
        json_write_object(w);
        json_write_key(w, STR("__entity"));
        json_write_object(w);
        json_write_member_string(w, STR("id"), value.entity->id);
        json_write_member_string(w, STR("type"), value.entity->type);
        json_write_object_end(w);
        json_write_object_end(w);
        return;
    case CEDAR_NONE:
    case CEDAR_RECORD:
    case CEDAR_IP:
    case CEDAR_DURATION:
        break;
    }
    MUST(false); /* no such member above */
}

/* Literal names: what is checked of a key the compiler has checked. */
static void write_member_key(struct json_writer *w, enum member member)
{
    switch (member) {
#define X(record, member, name)                                                \
    case member:                                                               \
        json_write_key(w, STR(name));                                          \
        return;
        MEMBERS(X)
#undef X
    case MEMBER_COUNT:
        break;
    }
    MUST(false);
}

static void write_record_key(struct json_writer *w, enum record_id record)
{
    static const struct str names[RECORDS] = {
        [AUTH] = STR_INIT("auth"),
        [CERTIFICATE] = STR_INIT("certificate"),
        [END_USER] = STR_INIT("endUser"),
        [INPUT] = STR_INIT("input"),
        [PARAMS] = STR_INIT("params"),
        [REQUEST] = STR_INIT("request"),
        [TIME] = STR_INIT("time"),
    };
    json_write_key(w, names[record]);
    json_write_object(w);
}

static void write_claims(struct policy_context *c, struct json_writer *w)
{
    json_write_key(w, STR("claims"));
    json_write_object(w);
    for (size_t i = 0; i < c->claim_count; i++) {
        json_write_key(w, c->claim_name[i]);
        write_value(w, c->claim[i], c->now_us);
    }
    json_write_object_end(w);
}

void policy_context_write(struct policy_context *c, struct buf *out)
{
    struct json_writer w;
    bool claims = c->has_claims;   /* still to be written */
    enum record_id open = RECORDS; /* none */
    json_write_init(&w, out);
    json_write_object(&w);
    /* The table above stands in the order of names, record after record. */
    for (int m = 0; m < MEMBER_COUNT; m++) {
        enum record_id record = members[m].record;
        if (record == TARGET || record == WHOLE || m == REQUEST_IP ||
            c->value[m].kind == CEDAR_NONE)
            continue;
        if (record != open && open != RECORDS)
            json_write_object_end(&w);
        if (claims && record > CERTIFICATE) {
            write_claims(c, &w);
            claims = false;
        }
        if (record != open)
            write_record_key(&w, record);
        open = record;
        write_member_key(&w, (enum member)m);
        write_value(&w, c->value[m], c->now_us);
    }
    if (open != RECORDS)
        json_write_object_end(&w);
    json_write_object_end(&w);
}

/* --- From the record -------------------------------------------------------
 */

struct reading {
    struct policy_context *context;
    const struct json *json;
    struct arena *arena;
};

/* {"__extn":{"arg":..,"fn":..}} */
static enum err read_extension(
    const struct reading *r, uint32_t at, struct cedar_value *out)
{
    uint32_t inside = json_find(r->json, at, STR("__extn"));
    uint32_t fn = json_find(r->json, inside, STR("fn"));
    uint32_t arg = json_find(r->json, inside, STR("arg"));
    const struct cedar_function_info *info;
    struct str text, name;
    struct cedar_value value;
    int64_t number;
    size_t at_argument;
    const char *reason;
    if (inside == JSON_NONE || fn == JSON_NONE || arg == JSON_NONE ||
        json_text(r->json, fn, r->arena, &name) != ERR_OK ||
        json_text(r->json, arg, r->arena, &text) != ERR_OK)
        return ERR_SYNTAX;
    if (str_equal(name, STR("long"))) { /* ours: past JSON's exact integers */
        if (str_to_i64(text, &number) != ERR_OK)
            return ERR_SYNTAX;
        *out = cedar_long(number);
        return ERR_OK;
    }
    info = cedar_function_find(name);
    if (info == NULL || info->is_method)
        return ERR_SYNTAX;
    value = cedar_string(text);
    return cedar_function_call(cedar_function_id(info), &value, 1, r->arena,
               out, &at_argument, &reason) == CEDAR_CALL_OK
               ? ERR_OK
               : ERR_SYNTAX;
}

/* {"__entity":{"id":..,"type":..}} */
static enum err read_entity(
    const struct reading *r, uint32_t at, struct cedar_value *out)
{
    uint32_t inside = json_find(r->json, at, STR("__entity"));
    struct str type, id;
    if (json_type(r->json, inside) != JSON_OBJECT)
        return ERR_SYNTAX;
    uint32_t type_at = json_find(r->json, inside, STR("type"));
    uint32_t id_at = json_find(r->json, inside, STR("id"));
    if (type_at == JSON_NONE || id_at == JSON_NONE ||
        json_text(r->json, type_at, r->arena, &type) != ERR_OK ||
        json_text(r->json, id_at, r->arena, &id) != ERR_OK)
        return ERR_SYNTAX;
    struct cedar_uid *uid = ARENA_NEW(r->arena, struct cedar_uid);
    if (uid == NULL)
        return ERR_NOMEM;
    *uid = cedar_uid_make(type, id);
    *out = cedar_entity(uid);
    return ERR_OK;
}

static enum err read_set(
    const struct reading *r, uint32_t at, struct cedar_value *out)
{
    uint32_t count = r->json->tokens[at].count, i = 0;
    struct cedar_value *items =
        ARENA_ARRAY(r->arena, count + 1, struct cedar_value);
    if (items == NULL)
        return ERR_NOMEM;
    for (JSON_EACH_ELEMENT(r->json, at, item)) {
        struct str text;
        enum err err = json_text(r->json, item, r->arena, &text);
        if (err != ERR_OK)
            return err;
        items[i++] = cedar_string(text);
    }
    return cedar_set_make(r->arena, items, i, out);
}

static enum err read_value(
    const struct reading *r, uint32_t at, struct cedar_value *out)
{
    struct str text;
    int64_t number;
    enum err err;
    switch (json_type(r->json, at)) {
    case JSON_TRUE:
    case JSON_FALSE:
        *out = cedar_bool(json_type(r->json, at) == JSON_TRUE);
        return ERR_OK;
    case JSON_NUMBER:
        err = json_int64(r->json, at, &number);
        *out = cedar_long(err == ERR_OK ? number : 0);
        return err;
    case JSON_STRING:
        err = json_text(r->json, at, r->arena, &text);
        if (err == ERR_OK)
            *out = cedar_string(text);
        return err;
    case JSON_ARRAY:
        return read_set(r, at, out);
    case JSON_OBJECT:
        return json_find(r->json, at, STR("__entity")) != JSON_NONE
                   ? read_entity(r, at, out)
                   : read_extension(r, at, out);
    case JSON_NULL:
        break;
    }
    return ERR_SYNTAX;
}

static enum err read_member(const struct reading *r, enum record_id record,
    uint32_t key, struct errinfo *info)
{
    for (int m = 0; m < MEMBER_COUNT; m++) {
        if (members[m].record != record ||
            !json_string_equals(r->json, key, members[m].name))
            continue;
        enum err err = read_value(r, key + 1, &r->context->value[m]);
        return err == ERR_SYNTAX || err == ERR_RANGE
                   ? errinfo_set(info, ERR_SYNTAX,
                         "the recorded context's %.*s is no value that a rule "
                         "could have seen",
                         STR_ARG(members[m].name))
                   : err;
    }
    return errinfo_set(info, ERR_SYNTAX,
        "the recorded context has \"%.*s\", which this Bailiff's rules do not "
        "know",
        STR_ARG(json_raw(r->json, key)));
}

/* As they were written: by name. Which types rules may expect of them is for
 * those who compile rules. */
static enum err read_claims(
    const struct reading *r, uint32_t object, struct errinfo *info)
{
    struct policy_context *c = r->context;
    struct str last = STR("");
    c->has_claims = true;
    for (JSON_EACH_MEMBER(r->json, object, key)) {
        size_t at = c->claim_count;
        enum err err = at < POLICY_CLAIMS_MAX ? ERR_OK : ERR_SYNTAX;
        if (err == ERR_OK)
            err = json_text(r->json, key, r->arena, &c->claim_name[at]);
        if (err == ERR_OK)
            err = read_value(r, key + 1, &c->claim[at]);
        if (err == ERR_OK && at > 0 &&
            str_compare(last, c->claim_name[at]) >= 0)
            err = ERR_SYNTAX;
        if (err != ERR_OK)
            return err == ERR_NOMEM
                       ? err
                       : errinfo_set(info, ERR_SYNTAX,
                             "the recorded context's claims are not as this "
                             "Bailiff writes them");
        last = c->claim_name[at];
        c->claim_count++;
    }
    return ERR_OK;
}

static enum err read_records(const struct reading *r, struct errinfo *info)
{
    static const struct {
        struct str name;
        enum record_id record;
    } records[] = {{STR_INIT("auth"), AUTH},
        {STR_INIT("certificate"), CERTIFICATE}, {STR_INIT("endUser"), END_USER},
        {STR_INIT("input"), INPUT}, {STR_INIT("params"), PARAMS},
        {STR_INIT("request"), REQUEST}, {STR_INIT("time"), TIME}};
    size_t found = 0;
    for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
        uint32_t object = json_find(r->json, 0, records[i].name);
        if (object == JSON_NONE || json_type(r->json, object) != JSON_OBJECT)
            continue;
        found++;
        for (JSON_EACH_MEMBER(r->json, object, key)) {
            enum err err = read_member(r, records[i].record, key, info);
            if (err != ERR_OK)
                return err;
        }
    }
    uint32_t claims = json_find(r->json, 0, STR("claims"));
    if (claims != JSON_NONE && json_type(r->json, claims) == JSON_OBJECT) {
        enum err err = read_claims(r, claims, info);
        if (err != ERR_OK)
            return err;
        found++;
    }
    if (found == 0 || found != r->json->tokens[0].count)
        return errinfo_set(info, ERR_SYNTAX,
            "the recorded context is not one that this Bailiff writes");
    return ERR_OK;
}

enum err policy_context_read(struct policy_context *c, struct str text,
    struct str address, int64_t *now_us, bool *stream, struct errinfo *info)
{
    struct json json;
    enum err err = ERR_OK;
    if (c->recorded == NULL)
        c->recorded = arena_new(16384, 4u << 20);
    if (c->recorded == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    arena_reset(c->recorded);
    memset(c->value, 0, sizeof(c->value));
    c->claim_count = 0;
    c->has_claims = false;
    for (int m = 0; m < MEMBER_COUNT; m++)
        c->value[m] = cedar_none();
    struct reading r = {c, &json, c->recorded};
    struct str kept = arena_copy(c->recorded, text);
    if (kept.ptr == NULL)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    err = json_parse(c->recorded, kept, NULL, &json, NULL);
    if (err == ERR_SYNTAX ||
        (err == ERR_OK && json_type(&json, 0) != JSON_OBJECT))
        return errinfo_set(
            info, ERR_SYNTAX, "the recorded context is no JSON object");
    if (err == ERR_OK)
        err = read_records(&r, info);
    if (err != ERR_OK)
        return err;
    if (c->value[TIME_NOW].kind != CEDAR_DATETIME ||
        c->value[REQUEST_STREAM].kind != CEDAR_BOOL)
        return errinfo_set(info, ERR_SYNTAX,
            "the recorded context lacks the time or the kind of answer");
    c->value[REQUEST_IP] = read_address(c, address);
    c->now_us = c->value[TIME_NOW].integer * 1000;
    *now_us = c->now_us;
    *stream = c->value[REQUEST_STREAM].boolean;
    close_records(c);
    return ERR_OK;
}
