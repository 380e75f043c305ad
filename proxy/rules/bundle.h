/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/rules/bundle.h - rules from outside, signed: a regulator's, a head
 * office's. A C2SP signed note (Ed25519) over a text:
 *
 *   bailiff rules bundle v1
 *   name: logging-2026
 *   publisher: Example Authority
 *   source: https://authority.example/guidance/7
 *   article: Guidance 7, sections 3 to 5
 *   from: 2026-12-01
 *   until: 2027-12-01
 *
 *   @id("g7-3") @title("..") forbid (...);
 *
 * name, publisher, source, article and from are required. Pure; any thread. */
#ifndef PROXY_RULES_BUNDLE_H
#define PROXY_RULES_BUNDLE_H

#include "audit/checkpoint.h"
#include "lib/buf.h"
#include "lib/err.h"

struct bundle {
    struct str name, publisher, source, article, from, until; /* until: or "" */
    struct str rules;
    int64_t from_us, until_us; /* UTC midnight; until: INT64_MAX when empty */
};

/* The text alone, as it is signed. Texts borrow from it. ERR_SYNTAX: the line
 * that is not right. */
enum err bundle_parse(
    struct str text, struct bundle *out, struct errinfo *info) MUSTCHECK;
/* A note: checks the signature by the key first. ERR_DENIED: it is not the
 * key's. */
enum err bundle_open(struct str note, const struct note_key *key,
    struct bundle *out, struct errinfo *info) MUSTCHECK;

/* Appends the rules as they go into a set: each with @source and @article, and
 * with `advise` @mode("advise") where the rule has no mode; @expires where the
 * bundle ends and the rule does not say. ERR_SYNTAX: they do not compile. */
enum err bundle_rules(const struct bundle *bundle, bool advise, struct buf *out,
    struct errinfo *info) MUSTCHECK;

#endif
