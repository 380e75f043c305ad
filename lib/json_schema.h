/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/json_schema.h - does a JSON value fit a schema? A subset of JSON Schema
 * 2020-12, enough for the formats that this project writes down: $ref to
 * #/$defs/NAME, type, const, enum, properties, required, additionalProperties
 * (true or false), items, minItems, maxItems, minLength, maxLength, pattern
 * (POSIX extended), minimum, maximum (integers), oneOf, and annotations. A
 * schema with any other keyword is refused, so that nothing is silently
 * unchecked. Not for the hot path. Pure; one schema may be used by one thread
 * at a time. */
#ifndef LIB_JSON_SCHEMA_H
#define LIB_JSON_SCHEMA_H

#include "lib/err.h"
#include "lib/str.h"

struct json_schema;

/* text is copied. ERR_SYNTAX: no JSON; ERR_UNSUPPORTED: a keyword outside the
 * subset. gives *out. */
enum err json_schema_new(
    struct str text, struct json_schema **out, struct errinfo *info) MUSTCHECK;
void json_schema_free(struct json_schema **schema);

/* ERR_INVALID with the first place that does not fit
 * ("$.quotas[0].limit: ..."), ERR_SYNTAX where `document` is no JSON. */
enum err json_schema_check(struct json_schema *schema, struct str document,
    struct errinfo *info) MUSTCHECK;

#endif
