/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/validate.h - do policies fit a schema? Cedar's strict mode: a
 * policy that passes fails at run time only by overflow, by an extension
 * value out of range or by an entity that is not in the store.
 *
 * Pure; any thread. */
#ifndef POLICY_CEDAR_VALIDATE_H
#define POLICY_CEDAR_VALIDATE_H

#include "policy/cedar/schema.h"

/* Checks each policy, template and link in each environment of the schema
 * (action x principal type x resource type). Findings are added to
 * *findings: errors (the set is valid when there are none) and warnings
 * (policies that can never apply). `source` is the text that the set was
 * parsed from ("" for other origins): it gives lines and columns.
 * ERR_OK also when there are errors; ERR_NOMEM. */
enum err cedar_validate(const struct cedar_policies *policies,
    const struct cedar_schema *schema, struct str source,
    struct cedar_diagnostics *findings) MUSTCHECK;

#endif
