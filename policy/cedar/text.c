/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/text.c - characters, names, string escapes, `like` patterns.
 *
 * The lexical rules of Cedar that more than the lexer needs. Pure; any
 * thread. */
#include "policy/cedar/cedar_priv.h"

/* --- Characters -----------------------------------------------------------*/

uint32_t cedar_code_point(struct str s, size_t at, unsigned *length)
{
    const unsigned char *p = (const unsigned char *)s.ptr + at;
    size_t left = s.len - at;
    if (p[0] < 0x80 || left < 2) {
        *length = 1;
        return p[0];
    }
    if (p[0] < 0xe0 || left < 3) {
        *length = 2;
        return (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3fu);
    }
    if (p[0] < 0xf0 || left < 4) {
        *length = 3;
        return (uint32_t)(p[0] & 0x0f) << 12 | (p[1] & 0x3fu) << 6 |
               (p[2] & 0x3fu);
    }
    *length = 4;
    return (uint32_t)(p[0] & 0x07) << 18 | (p[1] & 0x3fu) << 12 |
           (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
}

bool cedar_is_ident_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool cedar_is_ident_part(char c)
{
    return cedar_is_ident_start(c) || (c >= '0' && c <= '9');
}

/* Unicode's White_Space property. */
unsigned cedar_white_space(struct str s, size_t at)
{
    unsigned char c = (unsigned char)s.ptr[at];
    if (c < 0x80)
        return c == ' ' || (c >= '\t' && c <= '\r');
    unsigned length;
    uint32_t point = cedar_code_point(s, at, &length);
    bool white = point == 0x85 || point == 0xa0 || point == 0x1680 ||
                 (point >= 0x2000 && point <= 0x200a) || point == 0x2028 ||
                 point == 0x2029 || point == 0x202f || point == 0x205f ||
                 point == 0x3000;
    return white ? length : 0;
}

void cedar_position(struct str source, size_t offset, int *line, int *column)
{
    *line = 1;
    *column = 1;
    for (size_t i = 0; i < offset && i < source.len; i++) {
        unsigned char c = (unsigned char)source.ptr[i];
        if (c == '\n') {
            ++*line;
            *column = 1;
        } else if ((c & 0xc0) != 0x80) {
            ++*column;
        }
    }
}

/* --- Names ----------------------------------------------------------------*/

bool cedar_word_is_reserved(struct str word)
{
    static const struct str reserved[] = {STR_INIT("true"), STR_INIT("false"),
        STR_INIT("if"), STR_INIT("then"), STR_INIT("else"), STR_INIT("in"),
        STR_INIT("is"), STR_INIT("like"), STR_INIT("has")};
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (str_equal(word, reserved[i]))
            return true;
    return false;
}

bool cedar_ident_is_valid(struct str name)
{
    if (name.len == 0 || !cedar_is_ident_start(name.ptr[0]))
        return false;
    for (size_t i = 1; i < name.len; i++)
        if (!cedar_is_ident_part(name.ptr[i]))
            return false;
    return !cedar_word_is_reserved(name) && !str_equal(name, STR("__cedar"));
}

bool cedar_name_is_valid(struct str name)
{
    size_t start = 0;
    for (;;) {
        size_t end = start;
        while (end < name.len && name.ptr[end] != ':')
            end++;
        if (!cedar_ident_is_valid(str_make(name.ptr + start, end - start)))
            return false;
        if (end == name.len)
            return true;
        if (end + 1 >= name.len || name.ptr[end + 1] != ':')
            return false;
        start = end + 2;
    }
}

/* --- Escapes --------------------------------------------------------------*/

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static size_t encode_utf8(char out[4], uint32_t point)
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (char)(0xc0 | point >> 6);
        out[1] = (char)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (char)(0xe0 | point >> 12);
        out[1] = (char)(0x80 | (point >> 6 & 0x3f));
        out[2] = (char)(0x80 | (point & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | point >> 18);
    out[1] = (char)(0x80 | (point >> 12 & 0x3f));
    out[2] = (char)(0x80 | (point >> 6 & 0x3f));
    out[3] = (char)(0x80 | (point & 0x3f));
    return 4;
}

/* What follows "\u": braces around one to six hexadecimal digits, with
 * underscores anywhere behind the first. Gives the length, 0 when bad. */
static size_t unicode_escape(struct str s, uint32_t *point)
{
    if (s.len < 3 || s.ptr[0] != '{' || hex_digit(s.ptr[1]) < 0)
        return 0;
    *point = 0;
    unsigned digits = 0;
    for (size_t i = 1; i < s.len; i++) {
        if (s.ptr[i] == '}') {
            bool surrogate = *point >= 0xd800 && *point <= 0xdfff;
            return surrogate || *point > 0x10ffff ? 0 : i + 1;
        }
        if (s.ptr[i] == '_')
            continue;
        int digit = hex_digit(s.ptr[i]);
        if (digit < 0 || ++digits > 6)
            return 0;
        *point = *point << 4 | (uint32_t)digit;
    }
    return 0;
}

/* One escape; s starts behind the backslash. Gives the bytes it takes (0 when
 * bad) and the code point. */
static size_t escape(struct str s, uint32_t *point)
{
    if (s.len == 0)
        return 0;
    switch (s.ptr[0]) {
    case 'n':
        *point = '\n';
        return 1;
    case 'r':
        *point = '\r';
        return 1;
    case 't':
        *point = '\t';
        return 1;
    case '0':
        *point = 0;
        return 1;
    case '\\':
    case '\'':
    case '"':
        *point = (unsigned char)s.ptr[0];
        return 1;
    case 'x': {
        int high = s.len > 2 ? hex_digit(s.ptr[1]) : -1;
        int low = s.len > 2 ? hex_digit(s.ptr[2]) : -1;
        if (high < 0 || high > 7 || low < 0)
            return 0;
        *point = (uint32_t)(high << 4 | low);
        return 3;
    }
    case 'u': {
        size_t length = unicode_escape(str_make(s.ptr + 1, s.len - 1), point);
        return length ? length + 1 : 0;
    }
    default:
        return 0;
    }
}

enum err cedar_unescape(
    struct arena *arena, struct str raw, struct str *out, size_t *bad)
{
    /* An escape is never shorter than what it stands for. */
    char *bytes = arena_alloc(arena, raw.len + 1);
    if (!bytes)
        return ERR_NOMEM;
    size_t length = 0;
    for (size_t i = 0; i < raw.len;) {
        *bad = i;
        if (raw.ptr[i] == '\r')
            return ERR_SYNTAX;
        if (raw.ptr[i] != '\\') {
            bytes[length++] = raw.ptr[i++];
            continue;
        }
        uint32_t point = 0;
        size_t used =
            escape(str_make(raw.ptr + i + 1, raw.len - i - 1), &point);
        if (used == 0)
            return ERR_SYNTAX;
        length += encode_utf8(bytes + length, point);
        i += 1 + used;
    }
    bytes[length] = '\0';
    *out = str_make(bytes, length);
    return ERR_OK;
}

/* Code points that a reader would not see, or not see right, as they are. */
static bool wants_escape(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point < 0xa0) ||
           (point >= 0x200b && point <= 0x200f) ||
           (point >= 0x2028 && point <= 0x202e) ||
           (point >= 0x2066 && point <= 0x2069) || point == 0xfeff;
}

static void append_escaped(struct buf *out, struct str s, bool pattern)
{
    for (size_t i = 0; i < s.len;) {
        unsigned length;
        uint32_t point = cedar_code_point(s, i, &length);
        if (point == '"' || point == '\\')
            buf_append_char(out, '\\');
        if (point == '\n')
            buf_append_str(out, STR("\\n"));
        else if (point == '\r')
            buf_append_str(out, STR("\\r"));
        else if (point == '\t')
            buf_append_str(out, STR("\\t"));
        else if (point == 0)
            buf_append_str(out, STR("\\0"));
        else if (point == '*' && pattern)
            buf_append_str(out, STR("\\*"));
        else if (wants_escape(point))
            buf_printf(out, "\\u{%x}", (unsigned)point);
        else
            buf_append(out, s.ptr + i, length);
        i += length;
    }
}

void cedar_quote(struct buf *out, struct str s)
{
    buf_append_char(out, '"');
    append_escaped(out, s, false);
    buf_append_char(out, '"');
}

/* --- Patterns -------------------------------------------------------------*/

enum err cedar_pattern_parse(struct arena *arena, struct str raw,
    const struct cedar_pattern **out, size_t *bad)
{
    size_t stars = 0;
    for (size_t i = 0; i < raw.len; i++) {
        if (raw.ptr[i] == '\\')
            i++;
        else if (raw.ptr[i] == '*')
            stars++;
    }
    struct cedar_pattern *pattern = arena_alloc(
        arena, sizeof *pattern + (stars + 1) * sizeof pattern->pieces[0]);
    char *bytes = arena_alloc(arena, raw.len + 1);
    if (!pattern || !bytes)
        return ERR_NOMEM;
    size_t length = 0, start = 0;
    uint32_t count = 0;
    for (size_t i = 0; i < raw.len;) {
        *bad = i;
        uint32_t point = 0;
        size_t used = 0;
        if (raw.ptr[i] == '\r')
            return ERR_SYNTAX;
        if (raw.ptr[i] == '*') {
            pattern->pieces[count++] = str_make(bytes + start, length - start);
            start = length;
            i++;
        } else if (raw.ptr[i] != '\\') {
            bytes[length++] = raw.ptr[i++];
        } else if (i + 1 < raw.len && raw.ptr[i + 1] == '*') {
            bytes[length++] = '*';
            i += 2;
        } else {
            used = escape(str_make(raw.ptr + i + 1, raw.len - i - 1), &point);
            if (used == 0)
                return ERR_SYNTAX;
            length += encode_utf8(bytes + length, point);
            i += 1 + used;
        }
    }
    pattern->pieces[count++] = str_make(bytes + start, length - start);
    pattern->count = count;
    *out = pattern;
    return ERR_OK;
}

/* Bytes stand for code points here: UTF-8 is self-synchronising, so a piece
 * can only be found at a code point's start. Each piece is searched once from
 * where the last ended (memmem is linear), which is all that is needed as
 * stars are alike. */
bool cedar_pattern_match(const struct cedar_pattern *pattern, struct str text)
{
    struct str first = pattern->pieces[0];
    if (pattern->count == 1)
        return str_equal(first, text);
    struct str last = pattern->pieces[pattern->count - 1];
    if (text.len < first.len + last.len || !str_starts(text, first) ||
        !str_ends(text, last))
        return false;
    size_t at = first.len, end = text.len - last.len;
    for (uint32_t i = 1; i + 1 < pattern->count; i++) {
        struct str piece = pattern->pieces[i];
        if (piece.len == 0)
            continue;
        const char *found =
            memmem(text.ptr + at, end - at, piece.ptr, piece.len);
        if (!found)
            return false;
        at = (size_t)(found - text.ptr) + piece.len;
    }
    return true;
}

void cedar_pattern_print(struct buf *out, const struct cedar_pattern *pattern)
{
    buf_append_char(out, '"');
    for (uint32_t i = 0; i < pattern->count; i++) {
        if (i)
            buf_append_char(out, '*');
        append_escaped(out, pattern->pieces[i], true);
    }
    buf_append_char(out, '"');
}
