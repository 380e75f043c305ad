/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/rules/recipes.h - rules made by filling in a form.
 *
 * A recipe (policies/recipes/NAME.recipe) has a sentence, typed fields, the
 * text of one rule with places for the fields, and test cases. What it makes
 * is an ordinary rule that remembers its recipe (@recipe, @param_NAME), so that
 * the form can be opened again. Pure; any thread. */
#ifndef PROXY_RULES_RECIPES_H
#define PROXY_RULES_RECIPES_H

#include "lib/arena.h"
#include "lib/buf.h"
#include "policy/decide.h"

#include <jansson.h>

enum recipe_type {
    RECIPE_NAME,     /* {x}: a name of a team, group, model, engine, region */
    RECIPE_TEXT,     /* {x}: words, escaped */
    RECIPE_COUNT,    /* {x}: digits */
    RECIPE_DECIMAL,  /* {x}: 0.7 */
    RECIPE_CLOCK,    /* {x}: 08:00; {x.minutes}: 480 */
    RECIPE_DATE,     /* {x}: 2026-12-31 */
    RECIPE_WEEKDAYS, /* {x}: Mon-Fri; {x.set}: ["Mon", ..] */
    RECIPE_TEXTS,    /* {x}: a,b; {x.set}: ["a", "b"] */
    RECIPE_NETWORKS, /* {x}: 10.0.0.0/8; {x.any}: whether the address is in it
                      */
    RECIPE_WORD      /* {x}: one of `choices` */
};

struct recipe_field {
    struct str name, type_word, help;
    enum recipe_type type;
    struct str choices;   /* "a|b" */
    struct str otherwise; /* its default; empty with `required` */
    bool required;
};

#define RECIPE_FIELDS_MAX 8
struct recipe {
    struct str name, summary;
    struct recipe_field fields[RECIPE_FIELDS_MAX];
    size_t field_count;
    struct str rule, cases; /* the template; the JSON of example and cases */
};

size_t recipe_count(void);
/* ERR_NOTFOUND: with the nearest name. ERR_SYNTAX: the file is not right. Texts
 * are constant data. */
enum err recipe_find(
    struct str name, struct recipe *out, struct errinfo *info) MUSTCHECK;
/* In the order of names. */
enum err recipe_at(
    size_t at, struct recipe *out, struct errinfo *info) MUSTCHECK;

/* Appends the rule. values: {"team":"lab",...}, texts; "id" replaces the rule's
 * own @id. ERR_INVALID names the field: unknown, missing, or not of its
 * type. */
enum err recipe_render(const struct recipe *recipe, const json_t *values,
    struct buf *out, struct errinfo *info) MUSTCHECK;

/* The form of a rule that a recipe made: its recipe, and the values. gives
 * *values. ERR_NOTFOUND: none made it. */
enum err recipe_of_rule(const struct policy_set *set, size_t at,
    struct recipe *out, json_t **values, struct errinfo *info) MUSTCHECK;

/* The recipe's own cases: the example's rule (and, where it only takes away,
 * one that permits everything) is compiled and asked. gives *results. */
enum err recipe_test(const struct recipe *recipe, struct buf *rule,
    json_t **results, struct errinfo *info) MUSTCHECK;

#endif
