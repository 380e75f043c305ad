/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/diagnostics.c - the list of what is wrong with a text. */
#include "policy/cedar/cedar.h"

#include <stdio.h>
#include <stdlib.h>

void cedar_diagnostics_fini(struct cedar_diagnostics *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].policy);
        free(list->items[i].text);
    }
    free(list->items);
    *list = (struct cedar_diagnostics){0};
}

static bool grow(struct cedar_diagnostics *list)
{
    if (list->count & (list->count - 1))
        return true; /* room is doubled at powers of two */
    size_t room = list->count ? list->count * 2 : 1;
    void *items = realloc(list->items, room * sizeof list->items[0]);
    if (items)
        list->items = items;
    return items != NULL;
}

void cedar_diagnostics_add(struct cedar_diagnostics *list,
    enum cedar_severity severity, struct str source, size_t offset,
    struct str policy, const char *format, ...)
{
    if (!list)
        return;
    if (severity == CEDAR_ERROR)
        list->errors++;
    if (list->count >= CEDAR_DIAGNOSTICS_MAX) { /* finding the line costs */
        list->dropped++;
        return;
    }
    struct cedar_diagnostic item = {.severity = severity, .offset = offset};
    va_list args;
    va_start(args, format);
    int length = vasprintf(&item.text, format, args);
    va_end(args);
    if (length < 0)
        item.text = NULL;
    if (policy.len)
        item.policy = strndup(policy.ptr, policy.len);
    if (source.len)
        cedar_position(source, offset, &item.line, &item.column);
    if (!item.text || (policy.len && !item.policy) || !grow(list)) {
        free(item.text);
        free(item.policy);
        list->dropped++;
        return;
    }
    list->items[list->count++] = item;
}

void cedar_diagnostics_print(
    struct buf *out, const struct cedar_diagnostics *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct cedar_diagnostic *item = &list->items[i];
        if (item->line)
            buf_printf(out, "%d:%d: ", item->line, item->column);
        else if (item->policy)
            buf_printf(out, "%s: ", item->policy);
        buf_printf(out, "%s: %s\n",
            item->severity == CEDAR_ERROR ? "error" : "warning", item->text);
    }
    if (list->dropped)
        buf_printf(out, "%zu more\n", list->dropped);
}
