/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/parse_tokens.c - what both halves of the parser stand on: the
 * present token, failures in words, strings and names. */
#include "policy/cedar/cedar_priv.h"

#include <stdio.h>
#include <stdlib.h>

/* --- Tokens and failures --------------------------------------------------*/

void cedar_parser_init(struct cedar_parser *p, struct arena *arena,
    struct str text, struct cedar_diagnostics *diagnostics)
{
    *p = (struct cedar_parser){
        .arena = arena, .text = text, .diagnostics = diagnostics};
    p->token = cedar_token_next(text, 0);
}

void cedar_parser_fini(struct cedar_parser *p)
{
    free(p->nodes);
    free(p->keys);
    p->nodes = NULL;
    p->keys = NULL;
}

void cedar_parse_advance(struct cedar_parser *p)
{
    p->last_end = p->token.end;
    p->token = cedar_token_next(p->text, p->token.end);
}

struct str cedar_parse_token_text(
    const struct cedar_parser *p, struct cedar_token token)
{
    return str_make(p->text.ptr + token.start, token.end - token.start);
}

bool cedar_parse_fail(struct cedar_parser *p, enum err err, uint32_t offset,
    const char *format, ...)
{
    if (p->err != ERR_OK)
        return false;
    p->err = err;
    struct errinfo info;
    va_list args;
    va_start(args, format);
    if (vsnprintf(info.text, sizeof info.text, format, args) < 0)
        info.text[0] = '\0';
    va_end(args);
    cedar_diagnostics_add(p->diagnostics, CEDAR_ERROR, p->text, offset,
        str_make(NULL, 0), "%s", info.text);
    return false;
}

/* At most 40 bytes of a token for a message, cut between code points. */
struct str cedar_parse_shown(struct str text)
{
    if (text.len <= 40)
        return text;
    size_t len = 40;
    while (len > 0 && ((unsigned char)text.ptr[len] & 0xc0) == 0x80)
        len--;
    return str_make(text.ptr, len);
}

bool cedar_parse_unexpected(struct cedar_parser *p, const char *what)
{
    struct cedar_token token = p->token;
    if (token.kind == CEDAR_TOKEN_BAD)
        return cedar_parse_fail(p, ERR_SYNTAX, token.start, "%s; found `%.*s`",
            token.message,
            STR_ARG(cedar_parse_shown(cedar_parse_token_text(p, token))));
    if (token.kind == CEDAR_TOKEN_END)
        return cedar_parse_fail(p, ERR_SYNTAX, token.start,
            "unexpected end of input: expected %s", what);
    struct str text = cedar_parse_token_text(p, token);
    if (token.kind == CEDAR_TOKEN_ASSIGN)
        return cedar_parse_fail(p, ERR_SYNTAX, token.start,
            "`=` is no operator in Cedar; did you mean `==`?");
    if (token.kind == CEDAR_TOKEN_SLASH || token.kind == CEDAR_TOKEN_PERCENT)
        return cedar_parse_fail(p, ERR_SYNTAX, token.start,
            "`%.*s` is not supported: Cedar has +, - and * only",
            STR_ARG(text));
    return cedar_parse_fail(p, ERR_SYNTAX, token.start,
        "expected %s, found `%.*s`%s", what, STR_ARG(cedar_parse_shown(text)),
        text.len > 40 ? ".." : "");
}

bool cedar_parse_no_memory(struct cedar_parser *p)
{
    return cedar_parse_fail(p, ERR_NOMEM, p->token.start, "out of memory");
}

bool cedar_parse_take(struct cedar_parser *p, enum cedar_token_kind kind)
{
    if (p->token.kind != kind)
        return false;
    cedar_parse_advance(p);
    return true;
}

bool cedar_parse_expect(
    struct cedar_parser *p, enum cedar_token_kind kind, const char *what)
{
    return cedar_parse_take(p, kind) || cedar_parse_unexpected(p, what);
}

bool cedar_parse_word(const struct cedar_parser *p, const char *word)
{
    return p->token.kind == CEDAR_TOKEN_IDENT &&
           str_equal(cedar_parse_token_text(p, p->token), str_from(word));
}

bool cedar_parse_string(
    struct cedar_parser *p, struct cedar_token token, struct str *out)
{
    struct str raw =
        str_make(p->text.ptr + token.start + 1, token.end - token.start - 2);
    size_t bad = 0;
    enum err err = cedar_unescape(p->arena, raw, out, &bad);
    if (err == ERR_NOMEM)
        return cedar_parse_fail(p, err, token.start, "out of memory");
    if (err == ERR_OK)
        return true;
    uint32_t offset = token.start + 1 + (uint32_t)bad;
    if (raw.ptr[bad] == '\r')
        return cedar_parse_fail(p, err, offset,
            "a string cannot hold a carriage return; write \\r");
    return cedar_parse_fail(p, err, offset,
        "`\\%.*s` is no escape here; allowed are \\n \\r \\t \\0 \\\\ \\' "
        "\\\" \\x00-\\x7F and \\u{1 to 6 hex digits}",
        raw.len - bad > 1 ? 1 : 0, raw.ptr + bad + 1);
}

/* --- Names ----------------------------------------------------------------*/

bool cedar_parse_check_ident(struct cedar_parser *p, struct cedar_token token)
{
    struct str word = cedar_parse_token_text(p, token);
    if (cedar_ident_is_valid(word))
        return true;
    return cedar_parse_fail(p, ERR_SYNTAX, token.start,
        "`%.*s` is a reserved word and cannot be used as a name%s",
        STR_ARG(word),
        str_equal(word, STR("__cedar")) ? "" : " (as [\"..\"] it could)");
}

bool cedar_parse_name(
    struct cedar_parser *p, struct str *name, bool *has_id, struct str *id)
{
    struct cedar_token first = p->token;
    struct buf joined;
    buf_init(&joined, p->text.len + 2);
    bool many = false, fine = true;
    *has_id = false;
    for (;;) {
        fine = cedar_parse_check_ident(p, p->token);
        if (!fine)
            break;
        buf_append_str(&joined, cedar_parse_token_text(p, p->token));
        cedar_parse_advance(p);
        if (p->token.kind != CEDAR_TOKEN_COLONS)
            break;
        cedar_parse_advance(p);
        if (p->token.kind == CEDAR_TOKEN_STRING) {
            *has_id = true;
            fine = cedar_parse_string(p, p->token, id);
            cedar_parse_advance(p);
            break;
        }
        if (p->token.kind == CEDAR_TOKEN_OPEN_BRACE)
            fine = cedar_parse_fail(p, ERR_SYNTAX, p->token.start,
                "an entity is written Type::\"id\"; the form Type::{..} is "
                "not supported");
        else if (p->token.kind != CEDAR_TOKEN_IDENT)
            fine = cedar_parse_unexpected(
                p, "a name or a string in quotes behind `::`");
        if (!fine)
            break;
        buf_append_str(&joined, STR("::"));
        many = true;
    }
    if (fine && !many) /* one word: the text itself will do */
        *name = cedar_parse_token_text(p, first);
    else if (fine)
        *name = arena_copy(p->arena, buf_str(&joined));
    if (fine && (joined.failed || !name->ptr))
        fine = cedar_parse_no_memory(p);
    buf_fini(&joined);
    return fine;
}
