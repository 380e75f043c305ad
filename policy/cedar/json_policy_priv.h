/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/json_policy_priv.h - what the readers of JSON policies share. */
#ifndef POLICY_CEDAR_JSON_POLICY_PRIV_H
#define POLICY_CEDAR_JSON_POLICY_PRIV_H

#include "lib/json.h"
#include "policy/cedar/json_policy.h"

struct policy_reader {
    const struct json *json;
    struct arena *arena;
    struct errinfo *info;
};

/* The members of the object at `at`: values[i] becomes the place of the value
 * of names[i], or JSON_NONE. `names` ends with NULL; those whose bit is set in
 * `required` have to be there. Without `lenient`, others are errors. */
enum err policy_json_members(const struct policy_reader *r, uint32_t at,
    const char *what, const char *const *names, uint32_t required, bool lenient,
    uint32_t *values) MUSTCHECK;
/* A string, copied into the arena. */
enum err policy_json_string(
    const struct policy_reader *r, uint32_t at, struct str *out) MUSTCHECK;
/* A string that names an entity type. */
enum err policy_json_type_name(
    const struct policy_reader *r, uint32_t at, struct str *out) MUSTCHECK;
/* "an array is expected, not .." unless the value is of the type. */
enum err policy_json_expect(const struct policy_reader *r, uint32_t at,
    enum json_type type, const char *what) MUSTCHECK;

/* json_expr_read.c */
enum err policy_json_expr(const struct policy_reader *r, uint32_t at,
    const struct cedar_expr **out) MUSTCHECK;

#endif
