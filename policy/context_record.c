/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/context_record.c - a context as JSON for the record, and from it: what
 * was written is read again to the same values. */
#include "policy/context_priv.h"

#include "lib/json.h"
#include "lib/json_write.h"
#include "lib/must.h"

#include <stdio.h>

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
        enum record_id record = context_members[m].record;
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
        if (context_members[m].record != record ||
            !json_string_equals(r->json, key, context_members[m].name))
            continue;
        enum err err = read_value(r, key + 1, &r->context->value[m]);
        return err == ERR_SYNTAX || err == ERR_RANGE
                   ? errinfo_set(info, ERR_SYNTAX,
                         "the recorded context's %.*s is no value that a rule "
                         "could have seen",
                         STR_ARG(context_members[m].name))
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
    c->value[REQUEST_IP] = context_read_address(c, address);
    c->now_us = c->value[TIME_NOW].integer * 1000;
    *now_us = c->now_us;
    *stream = c->value[REQUEST_STREAM].boolean;
    context_close_records(c);
    return ERR_OK;
}
