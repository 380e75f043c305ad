/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/seen.c - which names were there already: a hash set, so that a
 * text of ten thousand names costs no hundred million comparisons. */
#include "policy/cedar/cedar_priv.h"

#include <stdlib.h>

static size_t place(const struct cedar_seen *seen, struct str name)
{
    size_t at = str_hash(name) & (seen->room - 1);
    while (seen->items[at].ptr && !str_equal(seen->items[at], name))
        at = (at + 1) & (seen->room - 1);
    return at;
}

static bool widen(struct cedar_seen *seen)
{
    struct cedar_seen wider = {.room = seen->room ? seen->room * 2 : 16};
    wider.items = calloc(wider.room, sizeof wider.items[0]);
    if (!wider.items)
        return false;
    for (size_t i = 0; i < seen->room; i++)
        if (seen->items[i].ptr)
            wider.items[place(&wider, seen->items[i])] = seen->items[i];
    wider.count = seen->count;
    free(seen->items);
    *seen = wider;
    return true;
}

enum err cedar_seen_add(struct cedar_seen *seen, struct str name)
{
    if (!name.ptr)
        name = STR("");
    if ((seen->count + 1) * 2 > seen->room && !widen(seen))
        return ERR_NOMEM;
    size_t at = place(seen, name);
    if (seen->items[at].ptr)
        return ERR_EXISTS;
    seen->items[at] = name;
    seen->count++;
    return ERR_OK;
}

void cedar_seen_fini(struct cedar_seen *seen)
{
    free(seen->items);
    *seen = (struct cedar_seen){0};
}
