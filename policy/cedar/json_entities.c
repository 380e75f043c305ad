/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/json_entities.c - JSON to values, contexts and entities.
 *
 * Stricter than the reference implementation in one thing: an __entity or
 * __extn of the wrong shape, or beside another key, is refused instead of
 * being read as a record. Pure; any thread. */
#include "policy/cedar/cedar_priv.h"

#include "lib/json.h"
#include "policy/cedar/json_entities.h"

#include <stdlib.h>

struct value_reader {
    const struct json *json;
    struct arena *arena;
    struct errinfo *info;
};

static enum err read_value(const struct value_reader *r, uint32_t at,
    const struct cedar_type *type, unsigned depth, struct cedar_value *out);

/* --- Strings and references --- */

static enum err read_string(
    const struct value_reader *r, uint32_t at, struct str *out)
{
    struct str text;
    enum err err = json_text(r->json, at, r->arena, &text);
    if (err == ERR_SYNTAX) {
        return errinfo_set(r->info, ERR_SYNTAX, "a string is expected, not %s",
            json_type_name(json_type(r->json, at)));
    }
    if (err == ERR_OK) {
        *out = arena_copy(r->arena, text);
        err = out->ptr ? ERR_OK : ERR_NOMEM;
    }
    return err;
}

/* {"type": "T", "id": "i"}; other keys are ignored. */
static enum err read_type_and_id(
    const struct value_reader *r, uint32_t at, struct cedar_uid *out)
{
    struct str type, id;
    uint32_t type_at = json_find(r->json, at, STR("type"));
    uint32_t id_at = json_find(r->json, at, STR("id"));
    if (type_at == JSON_NONE || id_at == JSON_NONE ||
        json_type(r->json, type_at) != JSON_STRING ||
        json_type(r->json, id_at) != JSON_STRING) {
        return errinfo_set(r->info, ERR_SYNTAX,
            "a reference has to look like {\"type\": \"T\", \"id\": \"i\"}");
    }
    enum err err = read_string(r, type_at, &type);
    if (err == ERR_OK) {
        err = read_string(r, id_at, &id);
    }
    if (err == ERR_OK && !cedar_name_is_valid(type)) {
        err = errinfo_set(r->info, ERR_SYNTAX,
            "`%.*s` is no name of an entity type", STR_ARG(type));
    }
    if (err == ERR_OK) {
        *out = cedar_uid_make(type, id);
    }
    return err;
}

static enum err alone(
    const struct value_reader *r, uint32_t object, const char *escape)
{
    if (r->json->tokens[object].count != 1) {
        return errinfo_set(r->info, ERR_SYNTAX,
            "%s has to be the only key of its object", escape);
    }
    return ERR_OK;
}

static enum err read_ref(
    const struct value_reader *r, uint32_t at, struct cedar_uid *out)
{
    uint32_t escape = json_find(r->json, at, STR("__entity"));
    if (escape == JSON_NONE) {
        return read_type_and_id(r, at, out);
    }
    enum err err = alone(r, at, "__entity");
    return err == ERR_OK ? read_type_and_id(r, escape, out) : err;
}

static enum err read_entity_value(
    const struct value_reader *r, uint32_t at, struct cedar_value *out)
{
    struct cedar_uid uid;
    enum err err = read_ref(r, at, &uid);
    if (err != ERR_OK) {
        return err;
    }
    struct cedar_uid *kept = ARENA_NEW(r->arena, struct cedar_uid);
    if (!kept) {
        return ERR_NOMEM;
    }
    *kept = uid;
    *out = cedar_entity(kept);
    return ERR_OK;
}

/* --- Extension values --- */

static const struct cedar_type *type_of_kind(enum cedar_kind kind)
{
    static const struct cedar_type types[] = {
        {.kind = CEDAR_TYPE_EXTENSION, .extension = CEDAR_IP},
        {.kind = CEDAR_TYPE_EXTENSION, .extension = CEDAR_DECIMAL},
        {.kind = CEDAR_TYPE_EXTENSION, .extension = CEDAR_DATETIME},
        {.kind = CEDAR_TYPE_EXTENSION, .extension = CEDAR_DURATION},
    };
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (types[i].extension == kind) {
            return &types[i];
        }
    }
    return NULL;
}

static enum err call(const struct value_reader *r,
    const struct cedar_function_info *function,
    const struct cedar_value *arguments, size_t count, struct cedar_value *out)
{
    size_t wrong = 0;
    const char *reason = "";
    switch (cedar_function_call(cedar_function_id(function), arguments, count,
        r->arena, out, &wrong, &reason)) {
    case CEDAR_CALL_OK:
        return ERR_OK;
    case CEDAR_CALL_COUNT:
        return errinfo_set(r->info, ERR_SYNTAX,
            "%.*s takes %u argument(s), not %zu", STR_ARG(function->name),
            function->argument_count, count);
    case CEDAR_CALL_TYPE:
        return errinfo_set(r->info, ERR_SYNTAX,
            "argument %zu of %.*s has to be %s, not %s", wrong + 1,
            STR_ARG(function->name),
            cedar_kind_words((enum cedar_kind)function->arguments[wrong]),
            cedar_kind_words((enum cedar_kind)arguments[wrong].kind));
    case CEDAR_CALL_INVALID:
        return errinfo_set(
            r->info, ERR_SYNTAX, "%.*s: %s", STR_ARG(function->name), reason);
    case CEDAR_CALL_OVERFLOW:
        return errinfo_set(r->info, ERR_SYNTAX,
            "%.*s: the result does not fit 64 bits", STR_ARG(function->name));
    case CEDAR_CALL_NOMEM:
        break;
    }
    return ERR_NOMEM;
}

#define ARGUMENTS_MAX 8

/* {"fn": "ip", "arg": ..} or {"fn": "offset", "args": [.., ..]}. */
static enum err read_call(const struct value_reader *r, uint32_t at,
    bool implicit, unsigned depth, struct cedar_value *out)
{
    uint32_t fn = json_find(r->json, at, STR("fn"));
    uint32_t one = json_find(r->json, at, STR("arg"));
    uint32_t many = json_find(r->json, at, STR("args"));
    bool listed = one == JSON_NONE && many != JSON_NONE &&
                  json_type(r->json, many) == JSON_ARRAY;
    if (fn == JSON_NONE || json_type(r->json, fn) != JSON_STRING ||
        (one == JSON_NONE && !listed)) {
        return errinfo_set(r->info, ERR_SYNTAX,
            "an extension value has to look like {\"fn\": \"ip\", \"arg\": "
            "\"10.0.0.1\"}");
    }
    struct str name;
    enum err err = read_string(r, fn, &name);
    if (err != ERR_OK) {
        return err;
    }
    const struct cedar_function_info *function = cedar_function_find(name);
    if (!function) {
        return errinfo_set(r->info, ERR_SYNTAX,
            "there is no extension function `%.*s`", STR_ARG(name));
    }
    struct cedar_value arguments[ARGUMENTS_MAX];
    size_t count = 0;
    uint32_t item = listed ? many + 1 : one;
    uint32_t end = listed ? r->json->tokens[many].next : one + 1;
    for (; item < end; item = r->json->tokens[item].next) {
        if (count == function->argument_count || count == ARGUMENTS_MAX) {
            return errinfo_set(r->info, ERR_SYNTAX, "%.*s takes %u argument(s)",
                STR_ARG(name), function->argument_count);
        }
        const struct cedar_type *type =
            implicit ? type_of_kind((enum cedar_kind)function->arguments[count])
                     : NULL;
        err = read_value(r, item, type, depth + 1, &arguments[count]);
        if (err != ERR_OK) {
            return err;
        }
        count++;
    }
    return call(r, function, arguments, count, out);
}

static enum err read_extension(const struct value_reader *r, uint32_t at,
    const struct cedar_type *type, unsigned depth, struct cedar_value *out)
{
    if (json_type(r->json, at) == JSON_OBJECT) {
        uint32_t escape = json_find(r->json, at, STR("__extn"));
        if (escape == JSON_NONE) {
            return read_call(r, at, true, depth, out);
        }
        enum err err = alone(r, at, "__extn");
        return err == ERR_OK ? read_call(r, escape, true, depth, out) : err;
    }
    struct str text;
    enum err err = read_string(r, at, &text);
    if (err != ERR_OK) {
        return err;
    }
    struct cedar_value argument = cedar_string(text);
    const struct cedar_function_info *function =
        &cedar_functions[cedar_function_constructor(
            (enum cedar_kind)type->extension)];
    return call(r, function, &argument, 1, out);
}

/* --- Sets and records --- */

static enum err read_set(const struct value_reader *r, uint32_t at,
    const struct cedar_type *element, unsigned depth, struct cedar_value *out)
{
    uint32_t count = 0;
    struct cedar_value *items =
        calloc(r->json->tokens[at].count + 1u, sizeof(struct cedar_value));
    enum err err = items ? ERR_OK : ERR_NOMEM;
    for (JSON_EACH_ELEMENT(r->json, at, item)) {
        if (err == ERR_OK) {
            err = read_value(r, item, element, depth + 1, &items[count++]);
        }
    }
    if (err == ERR_OK) {
        err = cedar_set_make(r->arena, items, count, out);
    }
    free(items);
    return err;
}

/* With a type: its keys and no others, the required ones all there. */
static enum err read_record(const struct value_reader *r, uint32_t at,
    const struct cedar_type *type, unsigned depth, struct cedar_value *out)
{
    uint32_t count = 0;
    struct cedar_field *fields = ARENA_ARRAY(
        r->arena, r->json->tokens[at].count + 1u, struct cedar_field);
    if (!fields) {
        return ERR_NOMEM;
    }
    for (JSON_EACH_MEMBER(r->json, at, member)) {
        struct cedar_field *field = &fields[count++];
        const struct cedar_type *inner = NULL;
        struct str name;
        enum err err = read_string(r, member, &name);
        if (err != ERR_OK) {
            return err;
        }
        field->key = cedar_key_make(name);
        if (type) {
            const struct cedar_attribute *attribute =
                cedar_type_attribute(type, field->key);
            if (!attribute) {
                return errinfo_set(r->info, ERR_INVALID,
                    "the schema declares no attribute `%.*s` here",
                    STR_ARG(name));
            }
            inner = attribute->type;
        }
        err = read_value(r, member + 1, inner, depth + 1, &field->value);
        if (err != ERR_OK) {
            return errinfo_prefix(
                r->info, err, "in attribute `%.*s`", STR_ARG(name));
        }
    }
    enum err err = cedar_record_make(r->arena, fields, count, out);
    for (uint32_t i = 0; err == ERR_OK && type && i < type->count; i++) {
        if (type->attributes[i].required &&
            !cedar_record_find(out->record, type->attributes[i].key)) {
            return errinfo_set(r->info, ERR_INVALID,
                "the attribute `%.*s` is missing",
                STR_ARG(cedar_key_str(type->attributes[i].key)));
        }
    }
    return err;
}

static enum err read_object(const struct value_reader *r, uint32_t at,
    unsigned depth, struct cedar_value *out)
{
    if (json_find(r->json, at, STR("__expr")) != JSON_NONE) {
        return errinfo_set(r->info, ERR_SYNTAX,
            "the __expr escape is not supported; use __entity or __extn");
    }
    if (json_find(r->json, at, STR("__entity")) != JSON_NONE) {
        return read_entity_value(r, at, out);
    }
    uint32_t escape = json_find(r->json, at, STR("__extn"));
    if (escape != JSON_NONE) {
        enum err err = alone(r, at, "__extn");
        return err == ERR_OK ? read_call(r, escape, false, depth, out) : err;
    }
    return read_record(r, at, NULL, depth, out);
}

static enum err read_plain(const struct value_reader *r, uint32_t at,
    unsigned depth, struct cedar_value *out)
{
    struct str text;
    int64_t number;
    enum err err = ERR_OK;
    switch (json_type(r->json, at)) {
    case JSON_NULL:
        return errinfo_set(
            r->info, ERR_SYNTAX, "null is no Cedar value; leave the key out");
    case JSON_FALSE:
    case JSON_TRUE:
        *out = cedar_bool(json_type(r->json, at) == JSON_TRUE);
        return ERR_OK;
    case JSON_NUMBER:
        err = json_int64(r->json, at, &number);
        if (err != ERR_OK) {
            return errinfo_set(r->info, ERR_SYNTAX,
                "%.*s is no 64-bit integer; fractions are written as decimals",
                STR_ARG(json_raw(r->json, at)));
        }
        *out = cedar_long(number);
        return ERR_OK;
    case JSON_STRING:
        err = read_string(r, at, &text);
        *out = cedar_string(text);
        return err;
    case JSON_ARRAY:
        return read_set(r, at, NULL, depth, out);
    case JSON_OBJECT:
        return read_object(r, at, depth, out);
    }
    return ERR_SYNTAX;
}

static enum err expect(
    const struct value_reader *r, uint32_t at, enum json_type type)
{
    enum json_type actual = json_type(r->json, at);
    if (actual != type) {
        return errinfo_set(r->info, ERR_INVALID, "an %s is expected, not %s",
            json_type_name(type), json_type_name(actual));
    }
    return ERR_OK;
}

static enum err read_value(const struct value_reader *r, uint32_t at,
    const struct cedar_type *type, unsigned depth, struct cedar_value *out)
{
    if (depth > CEDAR_VALUE_DEPTH_MAX) {
        return errinfo_set(r->info, ERR_LIMIT,
            "values nest deeper than %d levels", CEDAR_VALUE_DEPTH_MAX);
    }
    enum cedar_type_kind kind =
        type ? (enum cedar_type_kind)type->kind : CEDAR_TYPE_LONG;
    enum err err = ERR_OK;
    if (kind == CEDAR_TYPE_EXTENSION) {
        return read_extension(r, at, type, depth, out);
    }
    if (kind == CEDAR_TYPE_ENTITY) {
        return read_entity_value(r, at, out);
    }
    if (kind == CEDAR_TYPE_SET) {
        err = expect(r, at, JSON_ARRAY);
        return err == ERR_OK ? read_set(r, at, type->element, depth, out) : err;
    }
    if (kind == CEDAR_TYPE_RECORD) {
        err = expect(r, at, JSON_OBJECT);
        return err == ERR_OK ? read_record(r, at, type, depth, out) : err;
    }
    return read_plain(r, at, depth, out);
}

/* --- Public --- */

enum err cedar_json_ref(const struct json *json, uint32_t at,
    struct arena *arena, struct cedar_uid *out, struct errinfo *info)
{
    const struct value_reader r = {json, arena, info};
    return read_ref(&r, at, out);
}

enum err cedar_json_value(const struct json *json, uint32_t at,
    const struct cedar_type *type, struct arena *arena, struct cedar_value *out,
    struct errinfo *info)
{
    const struct value_reader r = {json, arena, info};
    return read_value(&r, at, type, 1, out);
}

enum err cedar_json_context(const struct json *json, uint32_t at,
    const struct cedar_type *type, struct arena *arena,
    const struct cedar_record **out, struct errinfo *info)
{
    const struct value_reader r = {json, arena, info};
    struct cedar_value value;
    enum err err = read_value(&r, at, type, 1, &value);
    if (err == ERR_OK && value.kind != CEDAR_RECORD) {
        err = errinfo_set(info, ERR_SYNTAX, "it has to be a record, not %s",
            cedar_kind_words((enum cedar_kind)value.kind));
    }
    if (err != ERR_OK) {
        return errinfo_prefix(info, err, "context");
    }
    *out = value.record;
    return ERR_OK;
}

/* --- Entities --- */

struct entities_reader {
    struct value_reader values;
    const struct cedar_schema *schema;
    struct cedar_entities_builder *builder;
};

/* Attributes of one type, as a record. */
static enum err read_attributes(const struct entities_reader *r, uint32_t at,
    const struct cedar_type *shape, const struct cedar_record **out)
{
    struct cedar_value value;
    enum err err = read_record(&r->values, at, shape, 1, &value);
    if (err == ERR_OK) {
        *out = value.record->count > 0 ? value.record : NULL;
    }
    return err;
}

static enum err read_tags(const struct entities_reader *r, uint32_t at,
    const struct cedar_entity_type *type, const struct cedar_record **out)
{
    uint32_t count = 0;
    const struct json *json = r->values.json;
    struct cedar_field *fields = ARENA_ARRAY(
        r->values.arena, json->tokens[at].count + 1u, struct cedar_field);
    if (!fields) {
        return ERR_NOMEM;
    }
    for (JSON_EACH_MEMBER(json, at, member)) {
        struct str name;
        enum err err = read_string(&r->values, member, &name);
        if (err == ERR_OK && r->schema && !(type && type->tags)) {
            err = errinfo_set(r->values.info, ERR_INVALID,
                "it has the tag `%.*s`, but entities of its type have no tags",
                STR_ARG(name));
        }
        if (err == ERR_OK) {
            err = read_value(&r->values, member + 1, type ? type->tags : NULL,
                1, &fields[count].value);
        }
        if (err != ERR_OK) {
            return err;
        }
        fields[count++].key = cedar_key_make(name);
    }
    struct cedar_value value;
    enum err err = cedar_record_make(r->values.arena, fields, count, &value);
    if (err == ERR_OK) {
        *out = count > 0 ? value.record : NULL;
    }
    return err;
}

static enum err read_parents(const struct entities_reader *r, uint32_t at,
    const struct cedar_uid *child, struct cedar_uid **out, size_t *count)
{
    const struct json *json = r->values.json;
    struct cedar_uid *parents = ARENA_ARRAY(
        r->values.arena, json->tokens[at].count + 1u, struct cedar_uid);
    if (!parents) {
        return ERR_NOMEM;
    }
    size_t n = 0;
    for (JSON_EACH_ELEMENT(json, at, item)) {
        enum err err = read_ref(&r->values, item, &parents[n]);
        if (err == ERR_OK && cedar_type_name_is_action(child->type) &&
            !cedar_type_name_is_action(parents[n].type)) {
            err = errinfo_set(r->values.info, ERR_INVALID,
                "an action cannot be in %.*s::\"%.*s\", which is none",
                STR_ARG(parents[n].type), STR_ARG(parents[n].id));
        }
        if (err != ERR_OK) {
            return errinfo_prefix(r->values.info, err, "in parents");
        }
        n++;
    }
    *out = parents;
    *count = n;
    return ERR_OK;
}

static enum err need(const struct entities_reader *r, uint32_t at,
    const char *key, enum json_type type, bool required, uint32_t *out)
{
    *out = json_find(r->values.json, at, str_from(key));
    if (*out == JSON_NONE) {
        return required ? errinfo_set(r->values.info, ERR_SYNTAX,
                              "the key \"%s\" is missing", key)
                        : ERR_OK;
    }
    if (json_type(r->values.json, *out) != type) {
        return errinfo_set(r->values.info, ERR_SYNTAX, "\"%s\" has to be an %s",
            key, json_type_name(type));
    }
    return ERR_OK;
}

static enum err read_entity_parts(
    const struct entities_reader *r, uint32_t at, const struct cedar_uid *uid)
{
    uint32_t attrs, parents_at, tags_at;
    const struct cedar_entity_type *type = NULL;
    const struct cedar_record *attributes = NULL, *tags = NULL;
    struct cedar_uid *parents = NULL;
    size_t count = 0;
    enum err err = need(r, at, "attrs", JSON_OBJECT, true, &attrs);
    if (err == ERR_OK) {
        err = need(r, at, "parents", JSON_ARRAY, true, &parents_at);
    }
    if (err == ERR_OK) {
        err = need(r, at, "tags", JSON_OBJECT, false, &tags_at);
    }
    if (err == ERR_OK && r->schema) {
        err = cedar_check_uid(r->schema, uid, r->values.info);
        type = cedar_schema_entity_type(r->schema, uid->type);
    }
    if (err == ERR_OK) {
        err = read_attributes(r, attrs, type ? type->shape : NULL, &attributes);
    }
    if (err == ERR_OK && tags_at != JSON_NONE) {
        err = read_tags(r, tags_at, type, &tags);
    }
    if (err == ERR_OK) {
        err = read_parents(r, parents_at, uid, &parents, &count);
    }
    if (err == ERR_OK && r->schema) {
        err = cedar_check_entity(
            r->schema, uid, parents, count, attributes, tags, r->values.info);
    }
    if (err == ERR_OK) {
        err = cedar_entities_builder_add(
            r->builder, uid, parents, count, attributes, tags, r->values.info);
    }
    return err;
}

static enum err read_entity(const struct entities_reader *r, uint32_t at)
{
    struct cedar_uid uid;
    uint32_t uid_at = JSON_NONE;
    if (json_type(r->values.json, at) != JSON_OBJECT) {
        return errinfo_set(r->values.info, ERR_SYNTAX,
            "an entity has to be an object, not %s",
            json_type_name(json_type(r->values.json, at)));
    }
    uid_at = json_find(r->values.json, at, STR("uid"));
    if (uid_at == JSON_NONE) {
        return errinfo_set(
            r->values.info, ERR_SYNTAX, "an entity needs the key \"uid\"");
    }
    enum err err = read_ref(&r->values, uid_at, &uid);
    if (err != ERR_OK) {
        return errinfo_prefix(r->values.info, err, "in uid");
    }
    err = read_entity_parts(r, at, &uid);
    if (err != ERR_OK) {
        return errinfo_prefix(r->values.info, err, "%.*s::\"%.*s\"",
            STR_ARG(uid.type), STR_ARG(uid.id));
    }
    return ERR_OK;
}

static enum err add_actions(const struct entities_reader *r)
{
    size_t count = cedar_schema_action_count(r->schema);
    for (size_t i = 0; i < count; i++) {
        const struct cedar_action *action =
            cedar_schema_action_at(r->schema, i);
        struct cedar_uid *parents = ARENA_ARRAY(
            r->values.arena, action->ancestor_count + 1u, struct cedar_uid);
        if (!parents) {
            return ERR_NOMEM;
        }
        for (uint32_t k = 0; k < action->ancestor_count; k++) {
            parents[k] =
                cedar_schema_action_at(r->schema, action->ancestors[k])->uid;
        }
        enum err err = cedar_entities_builder_add(r->builder, &action->uid,
            parents, action->ancestor_count, NULL, NULL, r->values.info);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

enum err cedar_json_entities(const struct json *json, uint32_t at,
    const struct cedar_schema *schema, struct cedar_entities **out,
    struct errinfo *info)
{
    struct errinfo ignored;
    info = info ? info : &ignored;
    if (json_type(json, at) != JSON_ARRAY) {
        return errinfo_set(
            info, ERR_SYNTAX, "the entities have to be an array");
    }
    struct cedar_entities_builder *builder = NULL;
    enum err err = cedar_entities_builder_new(&builder);
    if (err != ERR_OK) {
        return err;
    }
    const struct entities_reader r = {
        .values = {json, cedar_entities_builder_arena(builder), info},
        .schema = schema,
        .builder = builder,
    };
    for (JSON_EACH_ELEMENT(json, at, item)) {
        if (err == ERR_OK) {
            err = read_entity(&r, item);
        }
    }
    if (err == ERR_OK && schema) {
        err = add_actions(&r);
    }
    if (err == ERR_OK) {
        return cedar_entities_builder_finish(&builder, out, info);
    }
    cedar_entities_builder_free(&builder);
    return err;
}
