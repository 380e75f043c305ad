/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/rules/packs.h - sets of rules that an organisation can start from:
 * policies/packs/NAME with rules.cedar, tests.json and README.md, which maps
 * each rule to what it is for and says what it cannot ensure. Constant data. */
#ifndef PROXY_RULES_PACKS_H
#define PROXY_RULES_PACKS_H

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

#include <jansson.h>

struct pack {
    struct str name, title; /* the title is the page's */
    struct str page, rules, tests;
};

/* In the order of names; false past the last. */
bool pack_at(size_t at, struct pack *out);
/* ERR_NOTFOUND, with the nearest name. */
enum err pack_find(
    struct str name, struct pack *out, struct errinfo *info) MUSTCHECK;
/* {"teams":{"cleared":"everyone"},"groups":["large"]} that its rules name.
 * gives. */
json_t *pack_names(const struct pack *pack);
/* Appends the active rules and, behind them, the pack's. ERR_EXISTS: a rule of
 * the pack is there already. */
enum err pack_append(const struct pack *pack, struct str active,
    struct buf *out, struct errinfo *info) MUSTCHECK;

#endif
