/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/operations.c - every operation of the admin API: one row each,
 * and who may. A role that is not named may not. schema/openapi.yaml says the
 * same to the outside; tests/e2e/admin.test.mjs reads both. */
#include "proxy/admin/admin_priv.h"

enum {
    A = ROLE_ADMIN,
    P = ROLE_POLICY_AUTHOR,
    V = ROLE_APPROVER,
    U = ROLE_AUDITOR,
    O = ROLE_OPERATOR,
    ALL = ROLE_ANY
};

const struct admin_operation admin_operations[] = {
    {"GET", "/v1/status", ALL, 0, handle_status},
    {"GET", "/v1/openapi.yaml", ALL, 0, handle_description},
    {"GET", "/v1/settings", ALL, 0, handle_setting_list},
    {"PUT", "/v1/settings/{key}", A, 0, handle_setting_put},

    {"GET", "/v1/teams", ALL, 0, handle_team_list},
    {"POST", "/v1/teams", A, 0, handle_team_add},
    {"GET", "/v1/teams/{team}", ALL, 0, handle_team_show},
    {"DELETE", "/v1/teams/{team}", A, 0, handle_team_remove},

    {"GET", "/v1/callers", ALL, 0, handle_caller_list},
    {"POST", "/v1/callers", A, 0, handle_caller_add},
    {"GET", "/v1/callers/{caller}", ALL, 0, handle_caller_show},
    {"PATCH", "/v1/callers/{caller}", A, 0, handle_caller_change},
    {"POST", "/v1/callers/{caller}/disable", A | O, 0, handle_caller_disable},
    {"POST", "/v1/callers/{caller}/enable", A, 0, handle_caller_enable},
    {"POST", "/v1/callers/{caller}/keys", A, 0, handle_key_issue},
    {"POST", "/v1/onboard", A, 0, handle_onboard},

    {"GET", "/v1/keys", ALL, 0, handle_key_list},
    {"GET", "/v1/keys/{key}", ALL, 0, handle_key_show},
    {"PATCH", "/v1/keys/{key}", A, 0, handle_key_change},
    {"POST", "/v1/keys/{key}/rotate", A, 0, handle_key_rotate},
    {"GET", "/v1/keys/{key}/use", A | U, OPERATION_UNLOCKED, handle_key_use},
    {"POST", "/v1/keys/{key}/revoke", A | O, 0, handle_key_revoke},

    {"GET", "/v1/engines", ALL, 0, handle_engine_list},
    {"POST", "/v1/engines", A | O, 0, handle_engine_add},
    {"GET", "/v1/engines/{engine}", ALL, 0, handle_engine_show},
    {"PATCH", "/v1/engines/{engine}", A | O, 0, handle_engine_change},
    {"DELETE", "/v1/engines/{engine}", A | O, 0, handle_engine_remove},

    {"GET", "/v1/models", ALL, 0, handle_model_list},
    {"POST", "/v1/models", A, 0, handle_model_add},
    {"GET", "/v1/models/{model}", ALL, 0, handle_model_show},
    {"POST", "/v1/models/{model}/approve", A, 0, handle_model_approve},
    {"POST", "/v1/models/{model}/retire", A, 0, handle_model_retire},
    {"POST", "/v1/models/{model}/aliases", A, 0, handle_alias_add},
    {"DELETE", "/v1/models/{model}/aliases/{alias}", A, 0, handle_alias_remove},
    {"POST", "/v1/models/{model}/targets", A, 0, handle_target_add},
    {"DELETE", "/v1/models/{model}/targets/{engine}", A, 0,
        handle_target_remove},
    {"GET", "/v1/model-groups", ALL, 0, handle_group_list},
    {"POST", "/v1/model-groups", A, 0, handle_group_add},
    {"DELETE", "/v1/model-groups/{group}", A, 0, handle_group_remove},
    {"POST", "/v1/model-groups/{group}/models", A, 0, handle_member_add},
    {"DELETE", "/v1/model-groups/{group}/models/{model}", A, 0,
        handle_member_remove},

    {"GET", "/v1/policies", ALL, 0, handle_policy_list},
    {"POST", "/v1/policies", A | P, 0, handle_policy_put},
    {"POST", "/v1/policies/validate", ALL, 0, handle_policy_validate},
    {"POST", "/v1/policies/try", ALL, 0, handle_policy_try},
    {"POST", "/v1/policies/rollback", A | P, 0, handle_policy_rollback},
    {"GET", "/v1/policies/{version}", ALL, 0, handle_policy_show},
    {"POST", "/v1/policies/{version}/submit", A | P, 0, handle_policy_submit},
    {"POST", "/v1/policies/{version}/approve", A | V, 0, handle_policy_approve},
    {"POST", "/v1/policies/{version}/activate", A | P, 0,
        handle_policy_activate},

    {"GET", "/v1/quotas", ALL, 0, handle_quota_list},
    {"PUT", "/v1/quotas", A, 0, handle_quota_put},
    {"GET", "/v1/quotas/usage", ALL, 0, handle_quota_usage},
    {"DELETE", "/v1/quotas/{quota}", A, 0, handle_quota_remove},

    {"GET", "/v1/audit/records", A | U, OPERATION_UNLOCKED, handle_audit_query},
    {"GET", "/v1/audit/records/{record}", A | U, OPERATION_UNLOCKED,
        handle_audit_show},
    {"GET", "/v1/audit/records/{record}/proof", A | U, OPERATION_UNLOCKED,
        handle_audit_prove},
    {"GET", "/v1/audit/export", A | U, OPERATION_UNLOCKED, handle_audit_export},
    {"GET", "/v1/audit/policies/{version}", A | U, 0, handle_audit_policy},
    {"GET", "/v1/audit/stats", A | U, OPERATION_UNLOCKED, handle_audit_stats},
    {"GET", "/v1/audit/gaps", A | U, OPERATION_UNLOCKED, handle_audit_gaps},
    {"GET", "/v1/audit/sample", A | U, OPERATION_UNLOCKED, handle_audit_sample},
    {"GET", "/v1/audit/access", A | U, OPERATION_UNLOCKED, handle_audit_access},
    {"POST", "/v1/audit/find", A | U, OPERATION_UNLOCKED, handle_audit_find},
    {"GET", "/v1/audit/index", A | U | O, OPERATION_UNLOCKED,
        handle_audit_index},
    {"POST", "/v1/audit/index/rebuild", A | O, OPERATION_UNLOCKED,
        handle_audit_reindex},
    {"GET", "/v1/audit/entries", A | U, OPERATION_UNLOCKED, handle_audit_tail},
    {"POST", "/v1/audit/checkpoint", A | U | O, OPERATION_UNLOCKED,
        handle_audit_checkpoint},

    {"GET", "/v1/anchors", ALL, 0, handle_anchor_list},
    {"POST", "/v1/anchors", A, 0, handle_anchor_add},
    {"DELETE", "/v1/anchors/{anchor}", A, 0, handle_anchor_remove},

    {"GET", "/v1/issuers", ALL, 0, handle_issuer_list},
    {"POST", "/v1/issuers", A, 0, handle_issuer_add},
    {"DELETE", "/v1/issuers/{issuer}", A | O, 0, handle_issuer_remove},

    {"GET", "/v1/administrators", ALL, 0, handle_administrator_list},
    {"POST", "/v1/administrators", A, 0, handle_administrator_add},
    {"POST", "/v1/administrators/{administrator}/disable", A, 0,
        handle_administrator_disable},
};
const size_t admin_operation_count =
    sizeof admin_operations / sizeof admin_operations[0];
