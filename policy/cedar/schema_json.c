/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/schema_json.c - Cedar's JSON schema to its raw form.
 *
 * Unknown members are errors; so is null where a value is expected, but for
 * the three members of an action that may be absent. Stops at the first
 * error. Pure. */
#include "policy/cedar/schema_priv.h"

#include <stdarg.h>
#include <stdio.h>

struct schema_json {
    struct schema_reader *reader;
    struct arena *arena;
    const struct json *json;
    enum err status;
};

static uint32_t offset_of(const struct schema_json *s, uint32_t at)
{
    return s->json->tokens[at].start;
}

static bool is_failed(const struct schema_json *s)
{
    return s->status != ERR_OK;
}

static void fail(struct schema_json *s, uint32_t at, const char *format, ...)
    PRINTFLIKE(3, 4);
static void fail(struct schema_json *s, uint32_t at, const char *format, ...)
{
    char text[ERRINFO_MAX];
    if (is_failed(s)) {
        return;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    s->status = schema_error(s->reader, offset_of(s, at), "%s", text);
}

static void *allocate(struct schema_json *s, size_t size)
{
    void *memory = is_failed(s) ? NULL : arena_zalloc(s->arena, size);
    if (!memory && !is_failed(s)) {
        s->status = ERR_NOMEM;
    }
    return memory;
}

/* The text of a string (or key), copied: the document may go away. */
static struct str text_at(struct schema_json *s, uint32_t at)
{
    struct str out = STR("");
    if (is_failed(s)) {
        return out;
    }
    if (json_type(s->json, at) != JSON_STRING) {
        fail(s, at, "a string is expected here, not %s",
            json_type_name(json_type(s->json, at)));
        return out;
    }
    s->status = json_text(s->json, at, s->arena, &out);
    if (s->status == ERR_OK) {
        out = arena_copy(s->arena, out);
        if (!out.ptr) {
            s->status = ERR_NOMEM;
        }
    }
    return is_failed(s) ? STR("") : out;
}

static bool expect(
    struct schema_json *s, uint32_t at, enum json_type type, const char *what)
{
    if (!is_failed(s) && json_type(s->json, at) != type) {
        fail(s, at, "%s has to be an %s, not %s", what, json_type_name(type),
            json_type_name(json_type(s->json, at)));
    }
    return !is_failed(s);
}

static bool key_is(const struct schema_json *s, uint32_t key, const char *name)
{
    return json_string_equals(s->json, key, str_from(name));
}

/* Gives the index of the key among `names`; an error when it is none. */
static int member_of(struct schema_json *s, uint32_t key,
    const char *const *names, const char *what)
{
    for (int i = 0; names[i]; i++) {
        if (key_is(s, key, names[i])) {
            return i;
        }
    }
    fail(s, key, "%s has no member \"%.*s\"", what,
        STR_ARG(json_raw(s->json, key)));
    return -1;
}

/* A name as types are referred to. */
static struct str name_at(struct schema_json *s, uint32_t at)
{
    struct str name = text_at(s, at);
    if (!is_failed(s) && !schema_name_is_valid(name, true)) {
        fail(s, at, "`%.*s` is no name of a type", STR_ARG(name));
    }
    return name;
}

static struct raw_name *names_at(
    struct schema_json *s, uint32_t at, const char *what)
{
    struct raw_name *list = NULL;
    if (!expect(s, at, JSON_ARRAY, what)) {
        return NULL;
    }
    for (JSON_EACH_ELEMENT(s->json, at, item)) {
        struct raw_name *entry = allocate(s, sizeof(*entry));
        if (!entry) {
            break;
        }
        *entry = (struct raw_name){name_at(s, item), offset_of(s, item), list};
        list = entry;
    }
    return list;
}

/* --- Annotations: checked, not kept --- */

static void read_annotations(struct schema_json *s, uint32_t at, bool allowed)
{
    if (!expect(s, at, JSON_OBJECT, "\"annotations\"")) {
        return;
    }
    for (JSON_EACH_MEMBER(s->json, at, key)) {
        struct str name = text_at(s, key);
        enum json_type type = json_type(s->json, key + 1);
        if (is_failed(s)) {
            return;
        }
        if (!allowed) {
            fail(s, key, "the empty namespace cannot have annotations");
        } else if (!schema_annotation_key_is_valid(name)) {
            fail(s, key, "`%.*s` is no name for an annotation", STR_ARG(name));
        } else if (type != JSON_STRING && type != JSON_NULL) {
            fail(s, key + 1, "an annotation's value has to be a string");
        }
    }
}

/* --- Types --- */

struct type_members {
    uint32_t type, element, attributes, additional, name;
};

static const struct raw_type *read_type(struct schema_json *s, uint32_t at,
    unsigned depth, bool *required, bool annotations);

static struct raw_attribute *read_attributes(
    struct schema_json *s, uint32_t at, unsigned depth)
{
    struct raw_attribute *list = NULL;
    if (!expect(s, at, JSON_OBJECT, "\"attributes\"")) {
        return NULL;
    }
    for (JSON_EACH_MEMBER(s->json, at, key)) {
        struct raw_attribute *attribute = allocate(s, sizeof(*attribute));
        if (!attribute) {
            break;
        }
        attribute->name = text_at(s, key);
        attribute->offset = offset_of(s, key);
        attribute->required = true;
        attribute->type =
            read_type(s, key + 1, depth + 1, &attribute->required, true);
        attribute->next = list;
        list = attribute;
    }
    return list;
}

static bool read_members(struct schema_json *s, uint32_t at,
    struct type_members *m, bool *required, bool annotations)
{
    static const char *const names[] = {"type", "element", "attributes",
        "additionalAttributes", "name", "required", "annotations", NULL};
    *m = (struct type_members){
        JSON_NONE, JSON_NONE, JSON_NONE, JSON_NONE, JSON_NONE};
    if (!expect(s, at, JSON_OBJECT, "a type")) {
        return false;
    }
    for (JSON_EACH_MEMBER(s->json, at, key)) {
        int member = member_of(s, key, names, "a type");
        uint32_t value = key + 1;
        enum json_type type = json_type(s->json, value);
        if (member == 0) {
            m->type = value;
        } else if (member == 1) {
            m->element = value;
        } else if (member == 2) {
            m->attributes = value;
        } else if (member == 3) {
            m->additional = value;
        } else if (member == 4) {
            m->name = value;
        } else if (member == 5 && required) {
            if (type != JSON_TRUE && type != JSON_FALSE) {
                fail(s, value, "\"required\" has to be true or false");
            }
            *required = type == JSON_TRUE;
        } else if (member == 6 && annotations) {
            read_annotations(s, value, true);
        } else if (member >= 0) {
            fail(s, key, "\"%s\" is not allowed here", names[member]);
        }
    }
    if (!is_failed(s) && m->type == JSON_NONE) {
        fail(s, at, "a type needs the member \"type\"");
    }
    return !is_failed(s);
}

static void refuse(
    struct schema_json *s, uint32_t at, const char *member, struct str type)
{
    if (at != JSON_NONE) {
        fail(s, at, "a %.*s has no member \"%s\"", STR_ARG(type), member);
    }
}

static void need(struct schema_json *s, uint32_t at, uint32_t member,
    const char *name, struct str type)
{
    if (member == JSON_NONE) {
        fail(s, at, "a %.*s needs the member \"%s\"", STR_ARG(type), name);
    }
}

static void read_record(struct schema_json *s, uint32_t at,
    const struct type_members *m, unsigned depth, struct raw_type *out)
{
    out->kind = RAW_RECORD;
    need(s, at, m->attributes, "attributes", STR("Record"));
    refuse(s, m->element, "element", STR("Record"));
    refuse(s, m->name, "name", STR("Record"));
    if (is_failed(s)) {
        return;
    }
    if (m->additional != JSON_NONE) {
        enum json_type type = json_type(s->json, m->additional);
        if (type != JSON_FALSE) {
            fail(s, m->additional,
                "\"additionalAttributes\" can only be false: a record has the "
                "attributes that are declared");
        }
    }
    out->attributes = read_attributes(s, m->attributes, depth);
}

/* The kinds that have a "name". */
static bool read_named(struct schema_json *s, uint32_t at,
    const struct type_members *m, struct str word, struct raw_type *out)
{
    bool entity = str_equal(word, STR("Entity"));
    bool either = str_equal(word, STR("EntityOrCommon"));
    bool extension = str_equal(word, STR("Extension"));
    if (!entity && !either && !extension) {
        return false;
    }
    out->kind = entity   ? RAW_ENTITY
                : either ? RAW_ENTITY_OR_COMMON
                         : RAW_EXTENSION;
    need(s, at, m->name, "name", word);
    refuse(s, m->element, "element", word);
    refuse(s, m->attributes, "attributes", word);
    refuse(s, m->additional, "additionalAttributes", word);
    if (!is_failed(s)) {
        out->name = name_at(s, m->name);
        out->offset = offset_of(s, m->name);
    }
    return true;
}

static const struct raw_type *read_type(struct schema_json *s, uint32_t at,
    unsigned depth, bool *required, bool annotations)
{
    struct type_members m;
    if (depth > CEDAR_TYPE_DEPTH_MAX) {
        fail(s, at, "types nest deeper than %d levels here",
            CEDAR_TYPE_DEPTH_MAX);
        s->status = ERR_LIMIT;
        return NULL;
    }
    if (!read_members(s, at, &m, required, annotations)) {
        return NULL;
    }
    struct raw_type *type = allocate(s, sizeof(*type));
    struct str word = text_at(s, m.type);
    if (!type || is_failed(s)) {
        return NULL;
    }
    type->offset = offset_of(s, m.type);
    if (str_equal(word, STR("Record"))) {
        read_record(s, at, &m, depth, type);
        return type;
    }
    if (str_equal(word, STR("Set"))) {
        type->kind = RAW_SET;
        need(s, at, m.element, "element", word);
        refuse(s, m.attributes, "attributes", word);
        refuse(s, m.additional, "additionalAttributes", word);
        refuse(s, m.name, "name", word);
        if (!is_failed(s)) {
            type->element = read_type(s, m.element, depth + 1, NULL, false);
        }
        return type;
    }
    if (read_named(s, at, &m, word, type)) {
        return type;
    }
    refuse(s, m.element, "element", word);
    refuse(s, m.attributes, "attributes", word);
    refuse(s, m.additional, "additionalAttributes", word);
    refuse(s, m.name, "name", word);
    if (str_equal(word, STR("Long"))) {
        type->kind = RAW_LONG;
    } else if (str_equal(word, STR("String"))) {
        type->kind = RAW_STRING;
    } else if (str_equal(word, STR("Boolean"))) {
        type->kind = RAW_BOOL;
    } else {
        type->kind = RAW_COMMON;
        type->name = name_at(s, m.type);
    }
    return type;
}

/* --- Declarations --- */

static struct str declared_name(struct schema_json *s, uint32_t key)
{
    struct str name = text_at(s, key);
    if (!is_failed(s) && (!schema_name_is_valid(name, false) ||
                             memmem(name.ptr, name.len, "::", 2))) {
        fail(s, key,
            "`%.*s` cannot be declared: it is no identifier, or "
            "reserved",
            STR_ARG(name));
    }
    return name;
}

static void read_choices(
    struct schema_json *s, uint32_t at, struct raw_entity *entity)
{
    entity->is_enum = true;
    if (!expect(s, at, JSON_ARRAY, "\"enum\"")) {
        return;
    }
    if (s->json->tokens[at].count == 0) {
        fail(s, at, "an enumeration needs one id at least");
    }
    for (JSON_EACH_ELEMENT(s->json, at, item)) {
        struct raw_name *entry = allocate(s, sizeof(*entry));
        if (!entry) {
            return;
        }
        *entry = (struct raw_name){
            text_at(s, item), offset_of(s, item), entity->choices};
        entity->choices = entry;
    }
}

static void read_entity(
    struct schema_json *s, uint32_t key, struct raw_namespace *space)
{
    static const char *const names[] = {
        "memberOfTypes", "shape", "tags", "enum", "annotations", NULL};
    struct raw_entity *entity = allocate(s, sizeof(*entity));
    uint32_t other = JSON_NONE;
    if (!entity || !expect(s, key + 1, JSON_OBJECT, "an entity type")) {
        return;
    }
    entity->name = declared_name(s, key);
    entity->offset = offset_of(s, key);
    for (JSON_EACH_MEMBER(s->json, key + 1, inner)) {
        int member = member_of(s, inner, names, "an entity type");
        uint32_t value = inner + 1;
        if (member >= 0 && member <= 2) {
            other = inner;
        }
        if (member == 0) {
            entity->parents = names_at(s, value, "\"memberOfTypes\"");
        } else if (member == 1) {
            entity->shape = read_type(s, value, 1, NULL, false);
        } else if (member == 2) {
            entity->tags = read_type(s, value, 1, NULL, false);
        } else if (member == 3) {
            read_choices(s, value, entity);
        } else if (member == 4) {
            read_annotations(s, value, true);
        }
    }
    if (entity->is_enum && other != JSON_NONE) {
        fail(s, other, "an enumerated entity type has only \"enum\"");
    }
    entity->next = space->entities;
    space->entities = entity;
}

static void read_common(
    struct schema_json *s, uint32_t key, struct raw_namespace *space)
{
    struct raw_common *common = allocate(s, sizeof(*common));
    if (!common) {
        return;
    }
    common->name = declared_name(s, key);
    common->offset = offset_of(s, key);
    if (!is_failed(s) && schema_common_name_is_reserved(common->name)) {
        fail(s, key, "a type cannot be called `%.*s`; that name is reserved",
            STR_ARG(common->name));
    }
    common->type = read_type(s, key + 1, 1, NULL, true);
    common->next = space->commons;
    space->commons = common;
}

static void read_parents(
    struct schema_json *s, uint32_t at, struct raw_action *action)
{
    static const char *const names[] = {"id", "type", NULL};
    if (!expect(s, at, JSON_ARRAY, "\"memberOf\"")) {
        return;
    }
    for (JSON_EACH_ELEMENT(s->json, at, item)) {
        struct raw_parent *parent = allocate(s, sizeof(*parent));
        bool named = false;
        if (!parent ||
            !expect(s, item, JSON_OBJECT, "an element of \"memberOf\"")) {
            return;
        }
        parent->type = STR("Action");
        parent->offset = offset_of(s, item);
        for (JSON_EACH_MEMBER(s->json, item, key)) {
            int member = member_of(s, key, names, "a reference to an action");
            if (member == 0) {
                parent->id = text_at(s, key + 1);
                named = true;
            } else if (member == 1 &&
                       json_type(s->json, key + 1) != JSON_NULL) {
                parent->type = name_at(s, key + 1);
            }
        }
        if (!named) {
            fail(s, item, "a reference to an action needs the member \"id\"");
        }
        parent->next = action->parents;
        action->parents = parent;
    }
}

static void read_applies(
    struct schema_json *s, uint32_t at, struct raw_action *action)
{
    static const char *const names[] = {
        "principalTypes", "resourceTypes", "context", NULL};
    bool principals = false, resources = false;
    if (!expect(s, at, JSON_OBJECT, "\"appliesTo\"")) {
        return;
    }
    for (JSON_EACH_MEMBER(s->json, at, key)) {
        int member = member_of(s, key, names, "\"appliesTo\"");
        if (member == 0) {
            principals = true;
            action->principals = names_at(s, key + 1, "\"principalTypes\"");
        } else if (member == 1) {
            resources = true;
            action->resources = names_at(s, key + 1, "\"resourceTypes\"");
        } else if (member == 2) {
            action->context = read_type(s, key + 1, 1, NULL, false);
        }
    }
    if (!principals || !resources) {
        fail(s, at, "\"appliesTo\" needs the member \"%s\"",
            principals ? "resourceTypes" : "principalTypes");
    }
}

static void read_action(
    struct schema_json *s, uint32_t key, struct raw_namespace *space)
{
    static const char *const names[] = {
        "attributes", "appliesTo", "memberOf", "annotations", NULL};
    struct raw_action *action = allocate(s, sizeof(*action));
    if (!action || !expect(s, key + 1, JSON_OBJECT, "an action")) {
        return;
    }
    action->id = text_at(s, key);
    action->offset = offset_of(s, key);
    for (JSON_EACH_MEMBER(s->json, key + 1, inner)) {
        int member = member_of(s, inner, names, "an action");
        uint32_t value = inner + 1;
        bool absent = json_type(s->json, value) == JSON_NULL;
        if (member == 0 && !absent) {
            fail(s, inner, "actions cannot have attributes");
        } else if (member == 1 && !absent) {
            read_applies(s, value, action);
        } else if (member == 2 && !absent) {
            read_parents(s, value, action);
        } else if (member == 3) {
            read_annotations(s, value, true);
        }
    }
    action->next = space->actions;
    space->actions = action;
}

typedef void read_declaration(
    struct schema_json *s, uint32_t key, struct raw_namespace *space);

static void read_all(struct schema_json *s, uint32_t at, const char *what,
    read_declaration *read, struct raw_namespace *space)
{
    if (!expect(s, at, JSON_OBJECT, what)) {
        return;
    }
    for (JSON_EACH_MEMBER(s->json, at, key)) {
        read(s, key, space);
        if (is_failed(s)) {
            return;
        }
    }
}

static void read_namespace(struct schema_json *s, uint32_t key)
{
    static const char *const names[] = {
        "entityTypes", "actions", "commonTypes", "annotations", NULL};
    struct raw_namespace *space = allocate(s, sizeof(*space));
    bool entities = false, actions = false;
    if (!space || !expect(s, key + 1, JSON_OBJECT, "a namespace")) {
        return;
    }
    space->name = text_at(s, key);
    space->offset = offset_of(s, key);
    if (!is_failed(s) && space->name.len > 0 &&
        !schema_name_is_valid(space->name, false)) {
        fail(s, key, "`%.*s` is no name for a namespace", STR_ARG(space->name));
    }
    for (JSON_EACH_MEMBER(s->json, key + 1, inner)) {
        int member = member_of(s, inner, names, "a namespace");
        uint32_t value = inner + 1;
        if (member == 0) {
            entities = true;
            read_all(s, value, "\"entityTypes\"", read_entity, space);
        } else if (member == 1) {
            actions = true;
            read_all(s, value, "\"actions\"", read_action, space);
        } else if (member == 2) {
            read_all(s, value, "\"commonTypes\"", read_common, space);
        } else if (member == 3) {
            read_annotations(s, value, space->name.len > 0);
        }
    }
    if (!entities || !actions) {
        fail(s, key, "a namespace needs the member \"%s\"",
            entities ? "actions" : "entityTypes");
    }
    space->next = s->reader->namespaces;
    s->reader->namespaces = space;
}

enum err schema_json_read(
    struct schema_reader *reader, const struct json *json, uint32_t at)
{
    struct schema_json s = {
        .reader = reader, .arena = reader->schema->arena, .json = json};
    if (!expect(&s, at, JSON_OBJECT, "a schema")) {
        return s.status;
    }
    for (JSON_EACH_MEMBER(json, at, key)) {
        read_namespace(&s, key);
        if (is_failed(&s)) {
            break;
        }
    }
    return s.status;
}
