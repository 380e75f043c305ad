/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/format.c - policy text in its canonical layout, comments kept.
 * Pure; any thread. */
#include "policy/cedar/format.h"

#include "policy/cedar/cedar_priv.h"

/* Comments stand in what the lexer skips. Appends those of text[from..to),
 * each on its own line; but one that follows something on the same line goes
 * behind it. `behind`: something was written on the present line already. */
static void append_comments(
    struct buf *out, struct str text, size_t from, size_t to, bool behind)
{
    size_t blank_lines = 0;
    bool any = false;
    for (size_t at = from; at < to;) {
        unsigned blank = cedar_white_space(text, at);
        if (blank) {
            blank_lines += text.ptr[at] == '\n';
            at += blank;
            continue;
        }
        size_t end = at;
        while (end < to && text.ptr[end] != '\n' && text.ptr[end] != '\r')
            end++;
        struct str comment = str_make(text.ptr + at, end - at);
        while (comment.len > 0 && (comment.ptr[comment.len - 1] == ' ' ||
                                      comment.ptr[comment.len - 1] == '\t'))
            comment.len--;
        if (behind && !any && blank_lines == 0) {
            out->len--; /* the line feed that ends the policy */
            buf_append_char(out, ' ');
        } else if ((any || behind) && blank_lines > 1) {
            buf_append_char(out, '\n'); /* one empty line stays */
        }
        buf_append_str(out, comment);
        buf_append_char(out, '\n');
        any = true;
        blank_lines = 0;
        at = end;
    }
    /* A comment apart from the policy below it stays apart. */
    if (any && blank_lines > 1 && to < text.len)
        buf_append_char(out, '\n');
}

/* Whether there is a comment between two tokens of text[from..to). */
static bool has_comment(struct str text, size_t from, size_t to)
{
    uint32_t at = (uint32_t)from;
    while (at < to) {
        struct cedar_token token = cedar_token_next(text, at);
        for (size_t i = at; i < token.start; i++)
            if (text.ptr[i] == '/')
                return true;
        at = token.end;
    }
    return false;
}

static void append_policy(
    struct buf *out, struct str text, const struct cedar_policy *policy)
{
    size_t end = policy->offset + policy->text.len;
    if (has_comment(text, policy->offset, end)) {
        buf_append_str(out, policy->text);
        buf_append_char(out, '\n');
    } else {
        cedar_policy_print(out, policy);
    }
}

/* Policies and templates in source order: both lists are, so merge them. */
static void append_all(
    struct buf *out, struct str text, const struct cedar_policies *policies)
{
    size_t i = 0, j = 0, done = 0;
    size_t count = cedar_policies_count(policies);
    size_t templates = cedar_policies_template_count(policies);
    while (i < count || j < templates) {
        const struct cedar_policy *policy = NULL;
        if (i < count)
            policy = cedar_policies_at(policies, i);
        if (j < templates) {
            const struct cedar_policy *other =
                cedar_policies_template_at(policies, j);
            if (!policy || other->offset < policy->offset)
                policy = other;
        }
        if (i < count && policy == cedar_policies_at(policies, i))
            i++;
        else
            j++;
        /* The comments up to the line's end belong to the policy before. */
        size_t line = done;
        while (line < policy->offset && text.ptr[line] != '\n' &&
               text.ptr[line] != '\r')
            line++;
        if (done > 0) {
            append_comments(out, text, done, line, true);
            buf_append_char(out, '\n');
        } else {
            line = 0;
        }
        append_comments(out, text, line, policy->offset, false);
        append_policy(out, text, policy);
        done = policy->offset + policy->text.len;
    }
    append_comments(out, text, done, text.len, done > 0);
}

enum err cedar_format(
    struct str text, struct cedar_diagnostics *diagnostics, struct buf *out)
{
    struct cedar_policies *policies;
    enum err err = cedar_policies_parse(text, diagnostics, &policies);
    if (err != ERR_OK)
        return err;
    append_all(out, text, policies);
    cedar_policies_free(&policies);
    return out->failed ? ERR_NOMEM : ERR_OK;
}
