/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/rights.h - who may do which operation of the admin API: Cedar
 * over schema/admin.cedarschema and schema/admin.cedar, which are built in.
 *
 * Default deny per operation: each is an action of its own, a rule permits a
 * group of them to a role, and what errs is denied. rights_new refuses when an
 * operation is no action, or an action no operation, so that nothing can be
 * served that nobody has thought about. One thread at a time (the control's
 * lock). */
#ifndef PROXY_ADMIN_RIGHTS_H
#define PROXY_ADMIN_RIGHTS_H

#include "lib/buf.h"

struct rights;

struct rights_question {
    struct str id;     /* adm_..., or "" */
    struct str role;   /* "auditor" */
    struct str action; /* "listTeams" */
    struct str path;   /* of the operation: "/v1/teams" */
    struct str method; /* "token" */
    bool offline;
    struct str certificate; /* its fingerprint; "": none */
    bool approvals_need_certificate;
};

/* The rule that a certificate which was not shown fails (schema/admin.cedar).
 */
#define RIGHTS_NEED_CERTIFICATE "approvals-need-certificate"

/* `actions`: those of the operations. gives *out. */
enum err rights_new(const char *const *actions, size_t count,
    struct rights **out, struct errinfo *info) MUSTCHECK;
void rights_free(struct rights **rights); /* NULL ok */
/* *rule: the @id of the rule that decided; "" where nothing permits. */
bool rights_permit(struct rights *rights,
    const struct rights_question *question, struct str *rule);
/* The roles that may, "admin, operator"; for people. */
void rights_roles(struct rights *rights, const struct rights_question *question,
    struct buf *out);

/* Is the action in the group "change"? */
bool rights_is_change(const struct rights *rights, const char *action);

/* The roles, NULL at the end. */
extern const char *const rights_all_roles[];

#endif
