/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/format.h - policy text in its canonical layout.
 *
 * Comments are kept. A policy with comments inside keeps its own layout, as no
 * rule could tell what such a comment belongs to; all others are printed as
 * cedar_policy_print does. Formatting twice changes nothing more. Pure. */
#ifndef POLICY_CEDAR_FORMAT_H
#define POLICY_CEDAR_FORMAT_H

#include "policy/cedar/cedar.h"

/* Appends to out. ERR_SYNTAX and ERR_LIMIT: see diagnostics, nothing is
 * appended. ERR_NOMEM: also when out reached its ceiling. */
enum err cedar_format(struct str text, struct cedar_diagnostics *diagnostics,
    struct buf *out) MUSTCHECK;

#endif
