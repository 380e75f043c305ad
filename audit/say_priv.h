/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/say_priv.h - between say.c (requests) and say_act.c (acts of
 * administrators and of the program). */
#ifndef AUDIT_SAY_PRIV_H
#define AUDIT_SAY_PRIV_H

#include "audit/show.h"

/* Without control characters: terminals obey them. */
void say_text(struct buf *out, struct str text);
/* The handle of an id, else the id; `nobody` where the id is empty. */
void say_name(struct buf *out, const struct audit_names *names, struct str id,
    const char *nobody);
void say_act(struct buf *out, const struct audit_event *event,
    const struct audit_names *names);

#endif
