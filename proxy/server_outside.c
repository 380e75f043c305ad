/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/server_outside.c - how much of the log those outside have: what may be
 * pruned depends on it. */
#include "proxy/server_priv.h"

#include <stdio.h>

static void add(struct admin_outside *out, size_t room, size_t *count,
    const char *kind, const char *what, const char *name, uint64_t entries)
{
    if (*count == room)
        return;
    struct admin_outside *one = &out[(*count)++];
    *one =
        (struct admin_outside){.kind = kind, .what = what, .entries = entries};
    snprintf(
        one->name, sizeof(one->name), "%.*s", (int)sizeof(one->name) - 1, name);
}

bool server_witnessed_only(void *context)
{
    struct server *s = context;
    struct witnesses_status witnesses = {0};
    if (s->witnesses != NULL)
        witnesses_status(s->witnesses, &witnesses);
    return witnesses.strict;
}

size_t server_outside(void *context, struct admin_outside *out, size_t room)
{
    struct server *s = context;
    struct sink_status sinks[SINKS_MAX];
    struct anchor_status anchors[ANCHORS_MAX];
    struct witnesses_status witnesses = {0};
    size_t count = 0;
    size_t n = s->sinks != NULL ? sinks_status(s->sinks, sinks, SINKS_MAX) : 0;
    for (size_t i = 0; i < n && i < SINKS_MAX; i++)
        add(out, room, &count, "sink", "the sink", sinks[i].name,
            sinks[i].position);
    n = s->anchors != NULL ? anchors_status(s->anchors, anchors, ANCHORS_MAX)
                           : 0;
    for (size_t i = 0; i < n && i < ANCHORS_MAX; i++)
        add(out, room, &count, "anchor", "the anchor", anchors[i].name,
            anchors[i].size);
    if (s->witnesses != NULL)
        witnesses_status(s->witnesses, &witnesses);
    if (witnesses.quorum > 0)
        add(out, room, &count, "witnesses", "the quorum", "of the witnesses",
            witnesses.witnessed);
    return count;
}
