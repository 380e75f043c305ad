/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/json_policy_read.c - JSON policies, policy sets and template
 * links into a builder. Expressions: json_expr_read.c. Pure. */
#include "policy/cedar/cedar_priv.h"
#include "policy/cedar/json_entities.h"
#include "policy/cedar/json_policy_priv.h"

#include <stdlib.h>

/* --- What the readers share --- */

enum err policy_json_expect(const struct policy_reader *r, uint32_t at,
    enum json_type type, const char *what)
{
    enum json_type actual = json_type(r->json, at);
    if (actual != type) {
        return errinfo_set(r->info, ERR_SYNTAX, "%s has to be %s %s, not %s",
            what, type == JSON_ARRAY || type == JSON_OBJECT ? "an" : "a",
            json_type_name(type), json_type_name(actual));
    }
    return ERR_OK;
}

enum err policy_json_members(const struct policy_reader *r, uint32_t at,
    const char *what, const char *const *names, uint32_t required, bool lenient,
    uint32_t *values)
{
    enum err err = policy_json_expect(r, at, JSON_OBJECT, what);
    for (unsigned i = 0; err == ERR_OK && names[i]; i++) {
        values[i] = JSON_NONE;
    }
    if (err != ERR_OK) {
        return err;
    }
    for (JSON_EACH_MEMBER(r->json, at, key)) {
        unsigned i = 0;
        while (
            names[i] && !json_string_equals(r->json, key, str_from(names[i]))) {
            i++;
        }
        if (names[i]) {
            values[i] = key + 1;
        } else if (!lenient) {
            return errinfo_set(r->info, ERR_SYNTAX, "%s has no key \"%.*s\"",
                what, STR_ARG(json_raw(r->json, key)));
        }
    }
    for (unsigned i = 0; names[i]; i++) {
        if (values[i] == JSON_NONE && (required >> i & 1)) {
            return errinfo_set(r->info, ERR_SYNTAX,
                "the key \"%s\" of %s is missing", names[i], what);
        }
    }
    return ERR_OK;
}

enum err policy_json_string(
    const struct policy_reader *r, uint32_t at, struct str *out)
{
    struct str text;
    enum err err = policy_json_expect(r, at, JSON_STRING, "this");
    if (err == ERR_OK) {
        err = json_text(r->json, at, r->arena, &text);
    }
    if (err == ERR_OK) {
        *out = arena_copy(r->arena, text);
        err = out->ptr ? ERR_OK : ERR_NOMEM;
    }
    return err;
}

enum err policy_json_type_name(
    const struct policy_reader *r, uint32_t at, struct str *out)
{
    enum err err = policy_json_string(r, at, out);
    if (err == ERR_OK && !cedar_name_is_valid(*out)) {
        err = errinfo_set(
            r->info, ERR_SYNTAX, "`%.*s` is no name", STR_ARG(*out));
    }
    return err;
}

/* --- Scopes --- */

struct scope_reader {
    const struct policy_reader *r;
    const char *name;
    const char *slot; /* "?principal"; NULL for the action */
    uint8_t slot_bit;
    uint8_t *slots;
};

static enum err read_entity(
    const struct scope_reader *s, uint32_t at, struct cedar_scope_entity *out)
{
    struct cedar_uid *uid = ARENA_NEW(s->r->arena, struct cedar_uid);
    if (!uid) {
        return ERR_NOMEM;
    }
    *out = (struct cedar_scope_entity){.uid = uid};
    enum err err = cedar_json_ref(s->r->json, at, s->r->arena, uid, s->r->info);
    if (err == ERR_OK && !s->slot && !cedar_type_name_is_action(uid->type)) {
        err = errinfo_set(s->r->info, ERR_SYNTAX,
            "%.*s::\"%.*s\" is no action: the last part of its type has to be "
            "`Action`",
            STR_ARG(uid->type), STR_ARG(uid->id));
    }
    return err;
}

static enum err read_one_entity(
    const struct scope_reader *s, uint32_t at, struct cedar_scope *out)
{
    struct cedar_scope_entity *entity =
        ARENA_NEW(s->r->arena, struct cedar_scope_entity);
    if (!entity) {
        return ERR_NOMEM;
    }
    out->count = 1;
    out->entities = entity;
    return read_entity(s, at, entity);
}

/* {"entity": REF} or {"slot": "?principal"}; other keys are ignored. */
static enum err read_target(
    const struct scope_reader *s, uint32_t at, struct cedar_scope *out)
{
    const struct json *json = s->r->json;
    enum err err = policy_json_expect(s->r, at, JSON_OBJECT, s->name);
    if (err != ERR_OK) {
        return err;
    }
    uint32_t entity = json_find(json, at, STR("entity"));
    uint32_t slot = json_find(json, at, STR("slot"));
    if (entity != JSON_NONE) {
        return read_one_entity(s, entity, out);
    }
    if (slot == JSON_NONE || !s->slot || json_type(json, slot) != JSON_STRING ||
        !json_string_equals(json, slot, str_from(s->slot))) {
        return errinfo_set(s->r->info, ERR_SYNTAX,
            "it needs the key \"entity\"%s%s", s->slot ? " or the slot " : "",
            s->slot ? s->slot : "");
    }
    out->slot = true;
    *s->slots |= s->slot_bit;
    return ERR_OK;
}

static enum err read_action_list(
    const struct scope_reader *s, uint32_t at, struct cedar_scope *out)
{
    uint32_t n = 0;
    struct cedar_scope_entity *list = ARENA_ARRAY(s->r->arena,
        s->r->json->tokens[at].count + 1u, struct cedar_scope_entity);
    if (!list) {
        return ERR_NOMEM;
    }
    enum err err = policy_json_expect(s->r, at, JSON_ARRAY, "\"entities\"");
    if (err != ERR_OK) {
        return err;
    }
    for (JSON_EACH_ELEMENT(s->r->json, at, item)) {
        err = read_entity(s, item, &list[n]);
        if (err != ERR_OK) {
            return err;
        }
        n++;
    }
    out->kind = CEDAR_SCOPE_IN_SET;
    out->entities = list;
    out->count = n;
    return ERR_OK;
}

static enum err read_is(
    const struct scope_reader *s, uint32_t at, struct cedar_scope *out)
{
    static const char *const names[] = {"op", "entity_type", "in", NULL};
    uint32_t values[3];
    enum err err =
        policy_json_members(s->r, at, s->name, names, 2, false, values);
    if (err == ERR_OK) {
        err = policy_json_type_name(s->r, values[1], &out->type);
    }
    out->kind = CEDAR_SCOPE_IS;
    if (err == ERR_OK && values[2] != JSON_NONE &&
        json_type(s->r->json, values[2]) != JSON_NULL) {
        out->kind = CEDAR_SCOPE_IS_IN;
        err = read_target(s, values[2], out);
    }
    return err;
}

static enum err read_scope(
    const struct scope_reader *s, uint32_t at, struct cedar_scope *out)
{
    const struct json *json = s->r->json;
    struct str op;
    *out = (struct cedar_scope){0};
    enum err err = policy_json_expect(s->r, at, JSON_OBJECT, s->name);
    uint32_t op_at = err == ERR_OK ? json_find(json, at, STR("op")) : JSON_NONE;
    if (err == ERR_OK && op_at == JSON_NONE) {
        err = errinfo_set(s->r->info, ERR_SYNTAX, "the key \"op\" is missing");
    }
    if (err == ERR_OK) {
        err = policy_json_string(s->r, op_at, &op);
    }
    if (err != ERR_OK) {
        return err;
    }
    if (str_equal(op, STR("All")) || str_equal(op, STR("all"))) {
        return ERR_OK;
    }
    if (str_equal(op, STR("=="))) {
        out->kind = CEDAR_SCOPE_EQUAL;
        return read_target(s, at, out);
    }
    if (str_equal(op, STR("in"))) {
        uint32_t entities = json_find(json, at, STR("entities"));
        if (!s->slot && entities != JSON_NONE &&
            json_find(json, at, STR("entity")) == JSON_NONE) {
            return read_action_list(s, entities, out);
        }
        out->kind = CEDAR_SCOPE_IN;
        return read_target(s, at, out);
    }
    if (s->slot && str_equal(op, STR("is"))) {
        return read_is(s, at, out);
    }
    return errinfo_set(s->r->info, ERR_SYNTAX,
        "there is no operator \"%.*s\" for it", STR_ARG(op));
}

/* --- Policies --- */

static enum err read_annotations(
    const struct policy_reader *r, uint32_t at, struct cedar_policy *policy)
{
    enum err err = policy_json_expect(r, at, JSON_OBJECT, "\"annotations\"");
    if (err != ERR_OK) {
        return err;
    }
    uint32_t n = 0;
    struct cedar_annotation *list = ARENA_ARRAY(
        r->arena, r->json->tokens[at].count + 1u, struct cedar_annotation);
    if (!list) {
        return ERR_NOMEM;
    }
    for (JSON_EACH_MEMBER(r->json, at, key)) {
        struct cedar_annotation *a = &list[n++];
        *a = (struct cedar_annotation){.value = STR("")};
        err = policy_json_string(r, key, &a->key);
        bool word = err == ERR_OK && a->key.len > 0 &&
                    cedar_is_ident_start(a->key.ptr[0]);
        for (size_t i = 1; word && i < a->key.len; i++) {
            word = cedar_is_ident_part(a->key.ptr[i]);
        }
        if (err == ERR_OK && !word) {
            err = errinfo_set(r->info, ERR_SYNTAX,
                "`%.*s` is no name for an annotation", STR_ARG(a->key));
        }
        if (err == ERR_OK && json_type(r->json, key + 1) != JSON_NULL) {
            a->has_value = true;
            err = policy_json_string(r, key + 1, &a->value);
        }
        if (err != ERR_OK) {
            return err;
        }
    }
    policy->annotations = list;
    policy->annotation_count = n;
    return ERR_OK;
}

static enum err read_conditions(
    const struct policy_reader *r, uint32_t at, struct cedar_policy *policy)
{
    static const char *const names[] = {"kind", "body", NULL};
    enum err err = policy_json_expect(r, at, JSON_ARRAY, "\"conditions\"");
    if (err != ERR_OK) {
        return err;
    }
    uint32_t n = 0, values[2];
    struct cedar_condition *list = ARENA_ARRAY(
        r->arena, r->json->tokens[at].count + 1u, struct cedar_condition);
    if (!list) {
        return ERR_NOMEM;
    }
    for (JSON_EACH_ELEMENT(r->json, at, item)) {
        struct cedar_condition *c = &list[n++];
        struct str kind;
        *c = (struct cedar_condition){0};
        err = policy_json_members(
            r, item, "a condition", names, 3, false, values);
        if (err == ERR_OK) {
            err = policy_json_string(r, values[0], &kind);
        }
        if (err == ERR_OK) {
            c->unless = str_equal(kind, STR("unless"));
            if (!c->unless && !str_equal(kind, STR("when"))) {
                err = errinfo_set(r->info, ERR_SYNTAX,
                    "the kind of a condition is \"when\" or \"unless\"");
            }
        }
        if (err == ERR_OK) {
            err = policy_json_expr(r, values[1], &c->body);
        }
        if (err != ERR_OK) {
            return errinfo_prefix(r->info, err, "condition %u", n);
        }
    }
    policy->conditions = list;
    policy->condition_count = n;
    return ERR_OK;
}

static enum err read_scopes(const struct policy_reader *r,
    const uint32_t *values, struct cedar_policy *policy)
{
    const struct scope_reader readers[] = {
        {r, "principal", "?principal", CEDAR_SLOT_PRINCIPAL, &policy->slots},
        {r, "action", NULL, 0, &policy->slots},
        {r, "resource", "?resource", CEDAR_SLOT_RESOURCE, &policy->slots},
    };
    struct cedar_scope *scopes[] = {
        &policy->principal, &policy->action, &policy->resource};
    for (int i = 0; i < 3; i++) {
        enum err err = read_scope(&readers[i], values[i], scopes[i]);
        if (err != ERR_OK) {
            return errinfo_prefix(r->info, err, "%s", readers[i].name);
        }
    }
    return ERR_OK;
}

static enum err read_effect(
    const struct policy_reader *r, uint32_t at, struct cedar_policy *policy)
{
    struct str effect;
    enum err err = policy_json_string(r, at, &effect);
    if (err != ERR_OK) {
        return err;
    }
    bool permit = str_equal(effect, STR("permit"));
    if (!permit && !str_equal(effect, STR("forbid"))) {
        return errinfo_set(r->info, ERR_SYNTAX,
            "the effect is \"permit\" or \"forbid\", not \"%.*s\"",
            STR_ARG(effect));
    }
    policy->effect = permit ? CEDAR_PERMIT : CEDAR_FORBID;
    return ERR_OK;
}

static enum err read_policy(const struct policy_reader *r, uint32_t at,
    bool is_template, struct cedar_policy *policy)
{
    static const char *const names[] = {"principal", "action", "resource",
        "effect", "conditions", "annotations", NULL};
    uint32_t values[6];
    enum err err =
        policy_json_members(r, at, "a policy", names, 0x1f, false, values);
    if (err == ERR_OK) {
        err = read_effect(r, values[3], policy);
    }
    if (err == ERR_OK) {
        err = read_scopes(r, values, policy);
    }
    if (err == ERR_OK) {
        err = read_conditions(r, values[4], policy);
    }
    if (err == ERR_OK && values[5] != JSON_NONE) {
        err = read_annotations(r, values[5], policy);
    }
    if (err == ERR_OK && is_template != (policy->slots != 0)) {
        err = errinfo_set(r->info, ERR_SYNTAX,
            is_template ? "a template needs a slot in its scope"
                        : "a static policy cannot have a slot; it belongs "
                          "among the templates");
    }
    return err;
}

enum err cedar_json_policy_read(struct cedar_builder *builder,
    const struct json *json, uint32_t at, struct str id, bool is_template,
    struct errinfo *info)
{
    const struct policy_reader r = {json, cedar_builder_arena(builder), info};
    struct cedar_policy policy = {.id = arena_copy(r.arena, id)};
    if (!policy.id.ptr) {
        return ERR_NOMEM;
    }
    enum err err = read_policy(&r, at, is_template, &policy);
    if (err == ERR_OK) {
        return cedar_builder_add(builder, &policy, info);
    }
    return errinfo_prefix(info, err, "%s `%.*s`",
        is_template ? "template" : "policy", STR_ARG(id));
}

/* --- Links and sets --- */

enum err cedar_json_ref_or_text(const struct json *json, uint32_t at,
    struct arena *arena, struct cedar_uid *out, struct errinfo *info)
{
    if (json_type(json, at) != JSON_STRING) {
        return cedar_json_ref(json, at, arena, out, info);
    }
    const struct policy_reader r = {json, arena, info};
    struct str text;
    enum err err = policy_json_string(&r, at, &text);
    /* As in policy text, but without blanks around or inside the type. */
    const char *quote = err == ERR_OK ? memchr(text.ptr, '"', text.len) : NULL;
    struct str type = str_make(text.ptr,
        quote && quote - text.ptr > 2 ? (size_t)(quote - text.ptr) - 2 : 0);
    if (err == ERR_OK &&
        (!cedar_name_is_valid(type) || text.ptr[text.len - 1] != '"')) {
        err = errinfo_set(
            info, ERR_SYNTAX, "a reference has to look like Type::\"id\"");
    }
    return err == ERR_OK ? cedar_uid_parse(arena, text, out, info) : err;
}

static enum err read_link(
    struct cedar_builder *builder, const struct policy_reader *r, uint32_t at)
{
    static const char *const names[] = {"templateId", "newId", "values", NULL};
    static const char *const slots[] = {"?principal", "?resource", NULL};
    uint32_t values[3], refs[2];
    struct str template_id, new_id;
    struct cedar_uid uids[2];
    enum err err =
        policy_json_members(r, at, "a link", names, 7, false, values);
    if (err == ERR_OK) {
        err = policy_json_string(r, values[0], &template_id);
    }
    if (err == ERR_OK) {
        err = policy_json_string(r, values[1], &new_id);
    }
    if (err == ERR_OK) {
        err = policy_json_members(
            r, values[2], "\"values\"", slots, 0, false, refs);
    }
    for (int i = 0; err == ERR_OK && i < 2; i++) {
        if (refs[i] != JSON_NONE) {
            err = cedar_json_ref_or_text(
                r->json, refs[i], r->arena, &uids[i], r->info);
        }
    }
    if (err == ERR_OK) {
        err = cedar_builder_link(builder, template_id, new_id,
            refs[0] != JSON_NONE ? &uids[0] : NULL,
            refs[1] != JSON_NONE ? &uids[1] : NULL, r->info);
    }
    return err;
}

enum err cedar_json_links_read(struct cedar_builder *builder,
    const struct json *json, uint32_t at, struct errinfo *info)
{
    const struct policy_reader r = {json, cedar_builder_arena(builder), info};
    unsigned number = 0;
    enum err err = policy_json_expect(&r, at, JSON_ARRAY, "the list of links");
    if (err != ERR_OK) {
        return err;
    }
    for (JSON_EACH_ELEMENT(json, at, item)) {
        number++;
        err = read_link(builder, &r, item);
        if (err != ERR_OK) {
            return errinfo_prefix(info, err, "link %u", number);
        }
    }
    return ERR_OK;
}

static enum err read_all(struct cedar_builder *builder,
    const struct policy_reader *r, uint32_t at, bool templates)
{
    enum err err = policy_json_expect(
        r, at, JSON_OBJECT, templates ? "\"templates\"" : "\"staticPolicies\"");
    if (err != ERR_OK) {
        return err;
    }
    for (JSON_EACH_MEMBER(r->json, at, key)) {
        struct str id;
        err = policy_json_string(r, key, &id);
        if (err == ERR_OK) {
            err = cedar_json_policy_read(
                builder, r->json, key + 1, id, templates, r->info);
        }
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

enum err cedar_json_policy_set_read(struct cedar_builder *builder,
    const struct json *json, uint32_t at, struct errinfo *info)
{
    static const char *const names[] = {
        "staticPolicies", "templates", "templateLinks", NULL};
    const struct policy_reader r = {json, cedar_builder_arena(builder), info};
    uint32_t values[3];
    enum err err =
        policy_json_members(&r, at, "the policy set", names, 0, false, values);
    if (err == ERR_OK && values[0] != JSON_NONE) {
        err = read_all(builder, &r, values[0], false);
    }
    if (err == ERR_OK && values[1] != JSON_NONE) {
        err = read_all(builder, &r, values[1], true);
    }
    if (err == ERR_OK && values[2] != JSON_NONE) {
        err = cedar_json_links_read(builder, json, values[2], info);
    }
    return err;
}
