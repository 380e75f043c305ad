/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/lexer.c - policy text to tokens, one at a time. Pure. */
#include "policy/cedar/cedar_priv.h"

/* Past white space and comments. A comment ends at a line feed or a carriage
 * return, and at no other line separator. */
static uint32_t skip_blanks(struct str text, uint32_t at)
{
    while (at < text.len) {
        unsigned length = cedar_white_space(text, at);
        if (length) {
            at += length;
        } else if (text.ptr[at] == '/' && at + 1 < text.len &&
                   text.ptr[at + 1] == '/') {
            while (
                at < text.len && text.ptr[at] != '\n' && text.ptr[at] != '\r')
                at++;
        } else {
            break;
        }
    }
    return at;
}

static struct cedar_token bad(uint32_t start, uint32_t end, const char *message)
{
    return (struct cedar_token){CEDAR_TOKEN_BAD, start, end, message};
}

static struct cedar_token string_token(struct str text, uint32_t start)
{
    for (uint32_t at = start + 1; at < text.len; at++) {
        if (text.ptr[at] == '"')
            return (struct cedar_token){
                CEDAR_TOKEN_STRING, start, at + 1, NULL};
        if (text.ptr[at] != '\\')
            continue;
        if (at + 1 < text.len && text.ptr[at + 1] == '\n')
            return bad(at, at + 1, "a backslash cannot stand at a line's end");
        at++; /* whatever follows, it does not end the string */
    }
    return bad(start, start + 1, "this string has no closing quote");
}

static enum cedar_token_kind single(char c)
{
    switch (c) {
    case '@':
        return CEDAR_TOKEN_AT;
    case '(':
        return CEDAR_TOKEN_OPEN_PAREN;
    case ')':
        return CEDAR_TOKEN_CLOSE_PAREN;
    case '{':
        return CEDAR_TOKEN_OPEN_BRACE;
    case '}':
        return CEDAR_TOKEN_CLOSE_BRACE;
    case '[':
        return CEDAR_TOKEN_OPEN_BRACKET;
    case ']':
        return CEDAR_TOKEN_CLOSE_BRACKET;
    case ',':
        return CEDAR_TOKEN_COMMA;
    case ';':
        return CEDAR_TOKEN_SEMICOLON;
    case '.':
        return CEDAR_TOKEN_DOT;
    case ':':
        return CEDAR_TOKEN_COLON;
    case '=':
        return CEDAR_TOKEN_ASSIGN;
    case '<':
        return CEDAR_TOKEN_LESS;
    case '>':
        return CEDAR_TOKEN_GREATER;
    case '+':
        return CEDAR_TOKEN_PLUS;
    case '-':
        return CEDAR_TOKEN_MINUS;
    case '*':
        return CEDAR_TOKEN_STAR;
    case '/':
        return CEDAR_TOKEN_SLASH;
    case '%':
        return CEDAR_TOKEN_PERCENT;
    case '!':
        return CEDAR_TOKEN_NOT;
    default:
        return CEDAR_TOKEN_BAD;
    }
}

static enum cedar_token_kind pair(char c, char next)
{
    if (next == '=') {
        if (c == '=')
            return CEDAR_TOKEN_EQUAL;
        if (c == '!')
            return CEDAR_TOKEN_NOT_EQUAL;
        if (c == '<')
            return CEDAR_TOKEN_LESS_EQUAL;
        if (c == '>')
            return CEDAR_TOKEN_GREATER_EQUAL;
    }
    if (c == next && c == ':')
        return CEDAR_TOKEN_COLONS;
    if (c == next && c == '&')
        return CEDAR_TOKEN_AND;
    if (c == next && c == '|')
        return CEDAR_TOKEN_OR;
    return CEDAR_TOKEN_BAD;
}

static struct cedar_token stray(struct str text, uint32_t at)
{
    unsigned length;
    uint32_t point = cedar_code_point(text, at, &length);
    const char *message = "no Cedar token starts like this";
    if (point == 0xfeff)
        message = "a byte order mark is not allowed; save the text without it";
    else if (point == '\'' || point == '`' ||
             (point >= 0x2018 && point <= 0x201f))
        message = "strings stand in double quotes (\")";
    else if (point == '&')
        message = "there is no `&` operator; write `&&`";
    else if (point == '|')
        message = "there is no `|` operator; write `||`";
    else if (point == '?')
        message = "a slot is written ?principal or ?resource, without a blank";
    else if (point == '#')
        message = "comments start with //";
    else if (point >= 0x80)
        message = "outside strings and comments only ASCII characters and "
                  "white space are allowed";
    return bad(at, at + length, message);
}

struct cedar_token cedar_token_next(struct str text, uint32_t at)
{
    uint32_t start = at = skip_blanks(text, at);
    if (at >= text.len)
        return (struct cedar_token){
            CEDAR_TOKEN_END, (uint32_t)text.len, (uint32_t)text.len, NULL};
    char c = text.ptr[at];
    char next = at + 1 < text.len ? text.ptr[at + 1] : '\0';
    if (cedar_is_ident_start(c)) {
        while (at < text.len && cedar_is_ident_part(text.ptr[at]))
            at++;
        return (struct cedar_token){CEDAR_TOKEN_IDENT, start, at, NULL};
    }
    if (c >= '0' && c <= '9') {
        while (at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9')
            at++;
        return (struct cedar_token){CEDAR_TOKEN_NUMBER, start, at, NULL};
    }
    if (c == '"')
        return string_token(text, start);
    if (c == '?' && cedar_is_ident_start(next)) {
        at++;
        while (at < text.len && cedar_is_ident_part(text.ptr[at]))
            at++;
        return (struct cedar_token){CEDAR_TOKEN_SLOT, start, at, NULL};
    }
    enum cedar_token_kind kind = pair(c, next);
    if (kind != CEDAR_TOKEN_BAD)
        return (struct cedar_token){kind, start, start + 2, NULL};
    kind = single(c);
    if (kind != CEDAR_TOKEN_BAD)
        return (struct cedar_token){kind, start, start + 1, NULL};
    return stray(text, start);
}
