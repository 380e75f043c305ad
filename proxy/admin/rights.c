/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/rights.c - the built-in rules of the admin plane. */
#include "proxy/admin/rights.h"

#include "policy/cedar/validate.h"

#include <stdlib.h>

#define GROUPS_MAX 16 /* that one action is in */

extern const char schema_admin_cedarschema[];
extern const size_t schema_admin_cedarschema_length;
extern const char schema_admin_cedar[];
extern const size_t schema_admin_cedar_length;

const char *const rights_all_roles[] = {
    "admin", "policy-author", "approver", "auditor", "operator", NULL};

struct rights {
    struct cedar_schema *schema;
    struct cedar_policies *policies;
    struct cedar_scratch *scratch;
};

/* --- Making -------------------------------------------------------------- */

static enum err refuse(const char *name,
    const struct cedar_diagnostics *findings, enum err err,
    struct errinfo *info)
{
    if (findings->count > 0)
        return errinfo_set(info, ERR_CORRUPT, "%s:%d:%d: %s", name,
            findings->items[0].line, findings->items[0].column,
            findings->items[0].text);
    return errinfo_set(info, err, "%s: %s", name, err_name(err));
}

static enum err read_rules(struct rights *rights, struct errinfo *info)
{
    const struct str schema =
        str_make(schema_admin_cedarschema, schema_admin_cedarschema_length);
    const struct str rules =
        str_make(schema_admin_cedar, schema_admin_cedar_length);
    struct cedar_diagnostics findings = {0};
    const char *name = "schema/admin.cedarschema";
    enum err err = cedar_schema_parse_text(schema, &findings, &rights->schema);

    if (!err) {
        name = "schema/admin.cedar";
        err = cedar_policies_parse(rules, &findings, &rights->policies);
    }
    if (!err)
        err =
            cedar_validate(rights->policies, rights->schema, rules, &findings);
    if (!err && findings.count > 0) /* a rule that never applies, too */
        err = ERR_CORRUPT;
    if (err)
        err = refuse(name, &findings, err, info);
    cedar_diagnostics_fini(&findings);
    return err;
}

static bool is_listed(
    const char *const *actions, size_t count, struct str wanted)
{
    for (size_t i = 0; i < count; i++)
        if (str_equal(str_from(actions[i]), wanted))
            return true;
    return false;
}

/* Both ways: nothing is served that the rules do not know. */
static enum err compare(const struct rights *rights, const char *const *actions,
    size_t count, struct errinfo *info)
{
    for (size_t i = 0; i < count; i++) {
        const struct cedar_uid uid =
            cedar_uid_make(STR("Action"), str_from(actions[i]));
        const struct cedar_action *action =
            cedar_schema_action(rights->schema, &uid);
        if (!action || action->principal_count == 0 ||
            action->ancestor_count == 0)
            return errinfo_set(info, ERR_CORRUPT,
                "the operation %s is no action of schema/admin.cedarschema, "
                "or in no group there",
                actions[i]);
    }
    for (size_t i = 0; i < cedar_schema_action_count(rights->schema); i++) {
        const struct cedar_action *action =
            cedar_schema_action_at(rights->schema, i);
        if (action->principal_count > 0 &&
            !is_listed(actions, count, action->uid.id))
            return errinfo_set(info, ERR_CORRUPT,
                "the action %.*s of schema/admin.cedarschema is no operation",
                STR_ARG(action->uid.id));
    }
    return ERR_OK;
}

enum err rights_new(const char *const *actions, size_t count,
    struct rights **out, struct errinfo *info)
{
    struct rights *rights = calloc(1, sizeof *rights);
    enum err err;

    if (!rights)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    err = read_rules(rights, info);
    if (!err)
        err = compare(rights, actions, count, info);
    if (!err)
        err = cedar_scratch_new(&rights->scratch);
    if (err) {
        rights_free(&rights);
        return err;
    }
    *out = rights;
    return ERR_OK;
}

void rights_free(struct rights **rights_ref)
{
    struct rights *rights = *rights_ref;

    if (!rights)
        return;
    cedar_scratch_free(&rights->scratch);
    cedar_policies_free(&rights->policies);
    cedar_schema_free(&rights->schema);
    free(rights);
    *rights_ref = NULL;
}

/* --- Asking -------------------------------------------------------------- */

/* "/v1/teams/{team}" is about "teams". */
static struct str noun_of(struct str path)
{
    struct str noun, rest;

    if (str_starts(path, STR("/v1/")))
        path = str_make(path.ptr + 4, path.len - 4);
    str_split(path, '/', &noun, &rest);
    return noun;
}

/* The groups that an action is in. */
static enum err add_action(struct cedar_entities_builder *builder,
    const struct cedar_schema *schema, const struct cedar_uid *uid)
{
    const struct cedar_action *action = cedar_schema_action(schema, uid);
    struct cedar_uid groups[GROUPS_MAX];
    size_t count = 0;

    for (uint32_t i = 0; action && i < action->ancestor_count; i++) {
        if (count == GROUPS_MAX)
            return ERR_LIMIT;
        groups[count++] =
            cedar_schema_action_at(schema, action->ancestors[i])->uid;
    }
    return cedar_entities_builder_add(
        builder, uid, groups, count, NULL, NULL, NULL);
}

static enum err entities_of(const struct rights *rights,
    const struct rights_question *question, struct cedar_entities **out)
{
    struct cedar_entities_builder *builder = NULL;
    const struct cedar_uid action =
        cedar_uid_make(STR("Action"), question->action);
    const struct cedar_uid who =
        cedar_uid_make(STR("Administrator"), question->id);
    const struct cedar_uid role = cedar_uid_make(STR("Role"), question->role);
    struct cedar_field id = {
        cedar_key_make(STR("id")), cedar_string(question->id)};
    struct cedar_record attributes;
    enum err err = cedar_entities_builder_new(&builder);

    if (!err)
        err = cedar_record_init(&attributes, &id, 1);
    if (!err)
        err = cedar_entities_builder_add(
            builder, &who, &role, 1, &attributes, NULL, NULL);
    if (!err)
        err = add_action(builder, rights->schema, &action);
    if (!err)
        err = cedar_entities_builder_finish(&builder, out, NULL);
    cedar_entities_builder_free(&builder);
    return err;
}

bool rights_permit(struct rights *rights,
    const struct rights_question *question, struct str *rule)
{
    const struct cedar_uid who =
        cedar_uid_make(STR("Administrator"), question->id);
    const struct cedar_uid action =
        cedar_uid_make(STR("Action"), question->action);
    const struct cedar_uid noun =
        cedar_uid_make(STR("Noun"), noun_of(question->path));
    struct cedar_field fields[] = {
        {cedar_key_make(STR("method")), cedar_string(question->method)},
        {cedar_key_make(STR("offline")), cedar_bool(question->offline)},
        {cedar_key_make(STR("approvalsNeedCertificate")),
            cedar_bool(question->approvals_need_certificate)},
        {cedar_key_make(STR("certificate")),
            cedar_string(question->certificate)},
    };
    size_t field_count = question->certificate.len > 0 ? 4 : 3;
    struct cedar_entities *entities = NULL;
    struct cedar_record context;
    struct cedar_answer answer = {0};
    bool permitted = false;

    *rule = STR("");
    if (entities_of(rights, question, &entities) == ERR_OK &&
        cedar_record_init(&context, fields, field_count) == ERR_OK &&
        cedar_authorize(rights->policies, entities,
            &(struct cedar_request){&who, &action, &noun, &context},
            rights->scratch, &answer) == ERR_OK) {
        /* Stricter than Cedar: what could not be evaluated permits nothing. */
        permitted = answer.decision == CEDAR_ALLOW && answer.failure_count == 0;
        if (answer.reason_count > 0)
            (void)cedar_policy_annotation(
                cedar_policies_at(rights->policies, answer.reasons[0]),
                STR("id"), rule);
    }
    cedar_entities_free(&entities);
    return permitted;
}

void rights_roles(struct rights *rights, const struct rights_question *question,
    struct buf *out)
{
    struct rights_question asked = *question;
    struct str rule;

    for (size_t i = 0; rights_all_roles[i]; i++) {
        asked.role = str_from(rights_all_roles[i]);
        if (!rights_permit(rights, &asked, &rule))
            continue;
        if (out->len > 0)
            buf_append_str(out, STR(", "));
        buf_append_str(out, asked.role);
    }
}

bool rights_is_change(const struct rights *rights, const char *action)
{
    const struct cedar_uid uid =
        cedar_uid_make(STR("Action"), str_from(action));
    const struct cedar_uid group = cedar_uid_make(STR("Action"), STR("change"));
    const struct cedar_action *one = cedar_schema_action(rights->schema, &uid);
    const struct cedar_action *all =
        cedar_schema_action(rights->schema, &group);

    return one && all && cedar_action_in(one, all);
}
