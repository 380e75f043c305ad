/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/explain.h - why one policy applied to a request, or did not.
 *
 * For people who ask afterwards, not for the request path: it compiles and
 * evaluates piecewise. Pure; any thread. */
#ifndef POLICY_CEDAR_EXPLAIN_H
#define POLICY_CEDAR_EXPLAIN_H

#include "policy/cedar/ast.h"

enum cedar_outcome {
    CEDAR_SATISFIED,
    CEDAR_NOT_PRINCIPAL, /* the scope does not hold for the principal */
    CEDAR_NOT_ACTION,
    CEDAR_NOT_RESOURCE,
    CEDAR_NOT_CONDITION, /* a `when` is false or an `unless` is true */
    CEDAR_FAILED         /* a condition could not be evaluated */
};

/* What one part of the deciding expression was: context.maxTokens, 8192. */
struct cedar_observation {
    const struct cedar_expr *expr;
    struct cedar_value value;
};

struct cedar_explanation {
    const struct cedar_policy *policy;
    enum cedar_outcome outcome;
    /* NOT_CONDITION and FAILED: */
    uint32_t condition;            /* which of the policy's */
    const struct cedar_expr *expr; /* the smallest part that decided it */
    bool value;                    /* NOT_CONDITION: what that part gave */
    struct cedar_failure failure;  /* FAILED */
    int line;                      /* of expr, 0 without text */
    int column;
    const struct cedar_observation *observations;
    size_t observation_count;
};

/* Explains policy number `index`. What *out points to lives in the arena and
 * the arguments. ERR_NOMEM. */
enum err cedar_explain(const struct cedar_policies *policies, size_t index,
    const struct cedar_entities *entities, const struct cedar_request *request,
    struct arena *arena, struct cedar_explanation *out) MUSTCHECK;

/* One English line, such as: policy2 (permit) does not apply: the condition
 * `context.maxTokens <= 4096` at 7:10 is false (context.maxTokens is 8192) */
void cedar_explanation_print(struct buf *out,
    const struct cedar_explanation *explanation,
    const struct cedar_request *request);

#endif
