/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/failure.c - why an evaluation failed, in words; and reading
 * entity references. Pure; any thread. */
#include "policy/cedar/cedar_priv.h"

#include <stdio.h>

#define SHOWN_MAX 200 /* bytes of a value in a message */

static void show_value(struct buf *out, struct cedar_value v)
{
    struct buf text;
    buf_init(&text, 64 << 10);
    cedar_value_print(&text, v);
    struct str s = buf_str(&text);
    if (s.len > SHOWN_MAX) {
        size_t len = SHOWN_MAX;
        while (len > 0 && ((unsigned char)s.ptr[len] & 0xc0) == 0x80)
            len--;
        buf_append(out, s.ptr, len);
        buf_append_str(out, STR(".."));
    } else {
        buf_append_str(out, s);
    }
    buf_fini(&text);
}

static void show_kinds(struct buf *out, uint32_t kinds)
{
    bool first = true;
    for (unsigned kind = CEDAR_BOOL; kind <= CEDAR_DURATION; kind++) {
        if (!(kinds & 1u << kind))
            continue;
        if (!first)
            buf_append_str(out, STR(" or "));
        buf_append_str(out, str_from(cedar_kind_words((enum cedar_kind)kind)));
        first = false;
    }
}

static void show_words(struct buf *out, const struct cedar_failure *failure)
{
    switch (failure->code) {
    case CEDAR_FAIL_NONE:
        buf_append_str(out, STR("no failure"));
        break;
    case CEDAR_FAIL_TYPE:
        buf_append_str(out, STR("type error: expected "));
        show_kinds(out, failure->wanted);
        buf_printf(out,
            ", got %s: ", cedar_kind_words((enum cedar_kind)failure->a.kind));
        show_value(out, failure->a);
        break;
    case CEDAR_FAIL_ATTRIBUTE:
        if (failure->a.kind == CEDAR_ENTITY) {
            cedar_uid_print(out, failure->a.entity);
            buf_append_str(out, STR(" has no attribute "));
        } else {
            buf_append_str(out, STR("the record has no attribute "));
        }
        cedar_quote(out, failure->name);
        break;
    case CEDAR_FAIL_TAG:
        cedar_uid_print(out, failure->a.entity);
        buf_append_str(out, STR(" has no tag "));
        cedar_quote(out, failure->name);
        break;
    case CEDAR_FAIL_NO_ENTITY:
        buf_append_str(out, STR("there is no entity "));
        cedar_uid_print(out, failure->a.entity);
        break;
    case CEDAR_FAIL_OVERFLOW:
        buf_append_str(
            out, STR("the result is outside the 64-bit range (overflow)"));
        break;
    case CEDAR_FAIL_ARGUMENTS:
        buf_printf(
            out, "wrong number of arguments for %.*s", STR_ARG(failure->name));
        break;
    case CEDAR_FAIL_EXTENSION:
        show_value(out, failure->a);
        buf_printf(out, " is no valid %.*s%s%s", STR_ARG(failure->name),
            failure->reason ? ": " : "",
            failure->reason ? failure->reason : "");
        break;
    case CEDAR_FAIL_DEPTH:
        buf_append_str(out, STR("a value is nested too deeply"));
        break;
    case CEDAR_FAIL_STEPS:
        buf_append_str(out, STR("the evaluation took too many steps"));
        break;
    case CEDAR_FAIL_MEMORY:
        buf_append_str(out, STR("the evaluation took too much memory"));
        break;
    }
}

void cedar_failure_print(struct buf *out, const struct cedar_policies *policies,
    const struct cedar_failure *failure)
{
    show_words(out, failure);
    if (!policies || failure->policy >= policies->count)
        return;
    const struct cedar_policy *policy = policies->items[failure->policy];
    if (!policy->line || failure->offset < policy->offset)
        return;
    int line, column;
    cedar_position(
        policy->text, failure->offset - policy->offset, &line, &column);
    if (line == 1)
        column += (int)policy->column - 1;
    buf_printf(out, " (at %d:%d)", (int)policy->line + line - 1, column);
}

/* --- Entity references ----------------------------------------------------*/

enum err cedar_uid_parse(struct arena *arena, struct str text,
    struct cedar_uid *out, struct errinfo *info)
{
    const char *quote = text.len ? memchr(text.ptr, '"', text.len) : NULL;
    size_t at = quote ? (size_t)(quote - text.ptr) : 0;
    if (!quote || at < 3 || text.ptr[at - 1] != ':' || text.ptr[at - 2] != ':')
        return errinfo_set(info, ERR_SYNTAX,
            "%.*s is no entity reference; expected Type::\"id\"",
            (int)(text.len < 100 ? text.len : 100), text.ptr ? text.ptr : "");
    struct str type = str_make(text.ptr, at - 2);
    if (!cedar_name_is_valid(type))
        return errinfo_set(info, ERR_SYNTAX,
            "%.*s is no entity type; expected a name such as App::User",
            (int)(type.len < 100 ? type.len : 100), type.ptr);
    size_t end = at + 1;
    while (end < text.len && text.ptr[end] != '"')
        end += text.ptr[end] == '\\' ? 2 : 1;
    if (end + 1 != text.len)
        return errinfo_set(info, ERR_SYNTAX,
            "the id of a %.*s must end with the closing quote",
            (int)(type.len < 100 ? type.len : 100), type.ptr);
    struct str raw = str_make(text.ptr + at + 1, end - at - 1), id;
    size_t bad = 0;
    if (!str_is_utf8(raw))
        return errinfo_set(info, ERR_SYNTAX, "an id is not UTF-8");
    enum err err = cedar_unescape(arena, raw, &id, &bad);
    if (err == ERR_SYNTAX)
        return errinfo_set(info, err,
            "the id of a %.*s has a bad escape at byte %zu",
            (int)(type.len < 100 ? type.len : 100), type.ptr, at + 1 + bad);
    struct str kept = arena_copy(arena, type);
    if (err != ERR_OK || !kept.ptr)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    *out = cedar_uid_make(kept, id);
    return ERR_OK;
}
