/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/conformance.c - do values, entities and requests conform to a
 * schema? Pure; any thread. */
#include "policy/cedar/json_entities.h"

#include <stdio.h>
#include <stdlib.h>

#define PRINT_MAX 400

static enum err fail_type(struct cedar_value value,
    const struct cedar_type *type, const char *what, struct errinfo *info)
{
    struct buf expected, actual;
    buf_init(&expected, PRINT_MAX);
    buf_init(&actual, PRINT_MAX);
    cedar_type_print(&expected, type);
    cedar_value_print(&actual, value);
    enum err err =
        errinfo_set(info, ERR_INVALID, "%s has to be of type %s, not %s%s%s",
            what, expected.failed ? "of the schema" : buf_cstr(&expected),
            cedar_kind_words((enum cedar_kind)value.kind),
            actual.failed ? "" : ": ", actual.failed ? "" : buf_cstr(&actual));
    buf_fini(&expected);
    buf_fini(&actual);
    return err;
}

enum err cedar_check_uid(const struct cedar_schema *schema,
    const struct cedar_uid *uid, struct errinfo *info)
{
    if (cedar_type_name_is_action(uid->type)) {
        if (!cedar_schema_action(schema, uid)) {
            return errinfo_set(info, ERR_INVALID,
                "the schema declares no action %.*s::\"%.*s\"",
                STR_ARG(uid->type), STR_ARG(uid->id));
        }
        return ERR_OK;
    }
    const struct cedar_entity_type *type =
        cedar_schema_entity_type(schema, uid->type);
    if (!type) {
        return errinfo_set(info, ERR_INVALID,
            "the schema declares no entity type `%.*s`", STR_ARG(uid->type));
    }
    if (!cedar_entity_type_allows(type, uid->id)) {
        return errinfo_set(info, ERR_INVALID,
            "`%.*s` is an enumeration, and \"%.*s\" is not one of its ids",
            STR_ARG(uid->type), STR_ARG(uid->id));
    }
    return ERR_OK;
}

static enum err check_record(const struct cedar_schema *schema,
    const struct cedar_record *record, const struct cedar_type *type,
    const char *what, struct errinfo *info)
{
    /* Both are sorted by key. */
    uint32_t field = 0;
    for (uint32_t i = 0; i < type->count; i++) {
        const struct cedar_attribute *attribute = &type->attributes[i];
        int order =
            field < record->count
                ? cedar_key_compare(record->fields[field].key, attribute->key)
                : 1;
        if (order < 0) {
            break;
        }
        if (order > 0 && attribute->required) {
            return errinfo_set(info, ERR_INVALID,
                "%s needs the attribute `%.*s`", what,
                STR_ARG(cedar_key_str(attribute->key)));
        }
        if (order == 0) {
            struct str name = cedar_key_str(attribute->key);
            enum err err = cedar_check_value(schema,
                record->fields[field].value, attribute->type, "it", info);
            if (err != ERR_OK) {
                return errinfo_prefix(
                    info, err, "in attribute `%.*s`", STR_ARG(name));
            }
            field++;
        }
    }
    if (field < record->count) {
        return errinfo_set(info, ERR_INVALID,
            "%s has an attribute `%.*s` that the schema does not declare", what,
            STR_ARG(cedar_key_str(record->fields[field].key)));
    }
    return ERR_OK;
}

/* Recursion ends with the type, whose depth is bounded. */
enum err cedar_check_value(const struct cedar_schema *schema,
    struct cedar_value value, const struct cedar_type *type, const char *what,
    struct errinfo *info)
{
    bool fits = false;
    switch ((enum cedar_type_kind)type->kind) {
    case CEDAR_TYPE_TRUE:
    case CEDAR_TYPE_FALSE:
    case CEDAR_TYPE_BOOL:
        fits = value.kind == CEDAR_BOOL;
        break;
    case CEDAR_TYPE_LONG:
        fits = value.kind == CEDAR_LONG;
        break;
    case CEDAR_TYPE_STRING:
        fits = value.kind == CEDAR_STRING;
        break;
    case CEDAR_TYPE_EXTENSION:
        fits = value.kind == type->extension;
        break;
    case CEDAR_TYPE_ENTITY:
        if (value.kind == CEDAR_ENTITY &&
            str_equal(value.entity->type, type->name)) {
            return cedar_check_uid(schema, value.entity, info);
        }
        break;
    case CEDAR_TYPE_SET:
        for (uint32_t i = 0; value.kind == CEDAR_SET && i < value.set->count;
             i++) {
            enum err err = cedar_check_value(
                schema, value.set->items[i], type->element, "an element", info);
            if (err != ERR_OK) {
                return err;
            }
        }
        fits = value.kind == CEDAR_SET;
        break;
    case CEDAR_TYPE_RECORD:
        if (value.kind == CEDAR_RECORD) {
            return check_record(schema, value.record, type, what, info);
        }
        break;
    }
    return fits ? ERR_OK : fail_type(value, type, what, info);
}

static enum err check_tags(const struct cedar_schema *schema,
    const struct cedar_entity_type *type, const struct cedar_record *tags,
    struct errinfo *info)
{
    for (uint32_t i = 0; tags && i < tags->count; i++) {
        struct str name = cedar_key_str(tags->fields[i].key);
        if (!type->tags) {
            return errinfo_set(info, ERR_INVALID,
                "it has the tag `%.*s`, but `%.*s` has no tags", STR_ARG(name),
                STR_ARG(type->name));
        }
        enum err err = cedar_check_value(
            schema, tags->fields[i].value, type->tags, "it", info);
        if (err != ERR_OK) {
            return errinfo_prefix(info, err, "in tag `%.*s`", STR_ARG(name));
        }
    }
    return ERR_OK;
}

/* An action may be written down as an entity, but only as the schema says. */
static enum err check_action(const struct cedar_schema *schema,
    const struct cedar_uid *uid, const struct cedar_uid *parents,
    size_t parent_count, bool bare, struct errinfo *info)
{
    const struct cedar_action *action = cedar_schema_action(schema, uid);
    if (!action) {
        return cedar_check_uid(schema, uid, info);
    }
    bool same = bare;
    for (size_t i = 0; same && i < parent_count; i++) {
        const struct cedar_action *parent =
            cedar_schema_action(schema, &parents[i]);
        same = parent && parent != action && cedar_action_in(action, parent);
    }
    for (uint32_t i = 0; same && i < action->ancestor_count; i++) {
        const struct cedar_action *wanted =
            cedar_schema_action_at(schema, action->ancestors[i]);
        bool found = false;
        for (size_t k = 0; !found && k < parent_count; k++) {
            found = cedar_uid_equal(&parents[k], &wanted->uid);
        }
        same = found;
    }
    return same ? ERR_OK
                : errinfo_set(info, ERR_INVALID,
                      "this action is declared otherwise in the schema; leave "
                      "it out, or give exactly all its groups as parents");
}

enum err cedar_check_entity(const struct cedar_schema *schema,
    const struct cedar_uid *uid, const struct cedar_uid *parents,
    size_t parent_count, const struct cedar_record *attributes,
    const struct cedar_record *tags, struct errinfo *info)
{
    bool bare =
        (!attributes || attributes->count == 0) && (!tags || tags->count == 0);
    if (cedar_type_name_is_action(uid->type)) {
        return check_action(schema, uid, parents, parent_count, bare, info);
    }
    enum err err = cedar_check_uid(schema, uid, info);
    if (err != ERR_OK) {
        return err;
    }
    const struct cedar_entity_type *type =
        cedar_schema_entity_type(schema, uid->type);
    err = check_record(schema, attributes ? attributes : &cedar_record_empty,
        type->shape, "it", info);
    if (err == ERR_OK) {
        err = check_tags(schema, type, tags, info);
    }
    for (size_t i = 0; err == ERR_OK && i < parent_count; i++) {
        const struct cedar_entity_type *parent =
            cedar_schema_entity_type(schema, parents[i].type);
        if (!parent || !cedar_entity_type_in(type, parent)) {
            err =
                errinfo_set(info, ERR_INVALID, "a `%.*s` cannot be in a `%.*s`",
                    STR_ARG(type->name), STR_ARG(parents[i].type));
        } else {
            err = cedar_check_uid(schema, &parents[i], info);
        }
    }
    return err;
}

static enum err check_role(const struct cedar_schema *schema,
    const struct cedar_uid *uid, const struct cedar_entity_type *const *allowed,
    uint32_t count, const struct cedar_action *action, const char *role,
    struct errinfo *info)
{
    enum err err = ERR_OK;
    bool found = false;
    for (uint32_t i = 0; !found && i < count; i++) {
        found = str_equal(allowed[i]->name, uid->type);
    }
    if (found || !cedar_schema_entity_type(schema, uid->type)) {
        err = cedar_check_uid(schema, uid, info);
        if (err == ERR_OK && !found) {
            err = errinfo_set(
                info, ERR_INVALID, "an action cannot be the %s", role);
        }
    } else {
        err = errinfo_set(info, ERR_INVALID,
            "the action \"%.*s\" does not apply to a %s of type `%.*s`",
            STR_ARG(action->uid.id), role, STR_ARG(uid->type));
    }
    return err == ERR_OK ? err : errinfo_prefix(info, err, "%s", role);
}

enum err cedar_check_request(const struct cedar_schema *schema,
    const struct cedar_request *request, struct errinfo *info)
{
    const struct cedar_action *action =
        cedar_schema_action(schema, request->action);
    if (!action) {
        return errinfo_set(info, ERR_INVALID,
            "the schema declares no action %.*s::\"%.*s\"",
            STR_ARG(request->action->type), STR_ARG(request->action->id));
    }
    enum err err = check_role(schema, request->principal, action->principals,
        action->principal_count, action, "principal", info);
    if (err == ERR_OK) {
        err = check_role(schema, request->resource, action->resources,
            action->resource_count, action, "resource", info);
    }
    if (err == ERR_OK) {
        const struct cedar_record *context =
            request->context ? request->context : &cedar_record_empty;
        err =
            check_record(schema, context, action->context, "the context", info);
        if (err != ERR_OK) {
            errinfo_prefix(info, err, "context");
        }
    }
    return err;
}
