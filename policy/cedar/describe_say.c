/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/describe_say.c - the writer of describe: names, quoted texts,
 * templates. Pure; any thread. */
#include "policy/cedar/describe_priv.h"

static const struct {
    const char *text[CEDAR_LANGUAGES][2]; /* by language and polarity */
} phrases[SAY_COUNT] = {
#define CEDAR_PHRASE(id, english, not_english, chinese, not_chinese)           \
    [SAY_##id] = {{{english, not_english}, {chinese, not_chinese}}},
#include "policy/cedar/describe_words.h"
#undef CEDAR_PHRASE
};

/* --- Characters -----------------------------------------------------------*/

static bool is_latin(unsigned char c)
{
    return cedar_is_ident_part((char)c);
}

/* A Chinese character, and no punctuation (which has its own room). */
static bool is_han(uint32_t c)
{
    return c >= 0x3400 && c < 0xf900;
}

static uint32_t last_code_point(struct str s)
{
    unsigned length;
    size_t at = s.len - 1;
    while (at > 0 && ((unsigned char)s.ptr[at] & 0xc0) == 0x80)
        at--;
    return cedar_code_point(s, at, &length);
}

void describe_put(struct describer *d, struct str text)
{
    struct str before = buf_str(d->out);
    if (text.len == 0)
        return;
    if (d->language == CEDAR_CHINESE && before.len > 0) {
        unsigned length;
        uint32_t last = last_code_point(before);
        uint32_t next = cedar_code_point(text, 0, &length);
        bool latin_first = last < 0x80 && is_latin((unsigned char)last);
        bool latin_next = next < 0x80 && is_latin((unsigned char)next);
        if ((latin_first && is_han(next)) || (is_han(last) && latin_next))
            buf_append_char(d->out, ' ');
    }
    buf_append_str(d->out, text);
}

/* Not shown as itself: controls, what is invisible or turns the direction of
 * the line, and the quotation marks themselves, so that no text can pass for
 * a part of the sentence. */
static bool is_hidden(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c ||
           c == 0x201c || c == 0x201d || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) ||
           c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) ||
           (c >= 0xe0000 && c <= 0xe0fff);
}

void describe_text(struct describer *d, struct str text)
{
    buf_append_str(d->out, STR("“"));
    for (size_t at = 0; at < text.len;) {
        unsigned length;
        uint32_t c = cedar_code_point(text, at, &length);
        if (is_hidden(c))
            buf_printf(d->out, "\\u{%x}", (unsigned)c);
        else
            buf_append(d->out, text.ptr + at, length);
        at += length;
    }
    buf_append_str(d->out, STR("”"));
}

/* --- Names ----------------------------------------------------------------*/

static bool is_ident(struct str name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!cedar_is_ident_part(name.ptr[i]))
            return false;
    return name.len > 0 && cedar_is_ident_start(name.ptr[0]);
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

/* "maxTokens", "max_tokens" -> "max tokens"; "HTTPRoute" -> "HTTP route". */
static void humanise(struct buf *out, struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool upper = is_upper(c);
        bool after_lower = i > 0 && !is_upper(name.ptr[i - 1]);
        bool before_lower = i + 1 < name.len && !is_upper(name.ptr[i + 1]) &&
                            name.ptr[i + 1] != '_';
        bool starts = upper && (i == 0 || after_lower || before_lower);
        if (c == '_') {
            if (i > 0 && i + 1 < name.len)
                buf_append_char(out, ' ');
            continue;
        }
        if (starts && i > 0 && name.ptr[i - 1] != '_')
            buf_append_char(out, ' ');
        bool lower = starts && before_lower;
        buf_append_char(out, lower ? (char)(c - 'A' + 'a') : c);
    }
}

void describe_name(struct describer *d, struct str name)
{
    if (!is_ident(name))
        describe_text(d, name);
    else if (d->language == CEDAR_ENGLISH)
        humanise(d->out, name);
    else
        describe_put(d, name);
}

const char *describe_find(
    const struct describer *d, struct cedar_words words, struct str key)
{
    for (size_t i = 0; i < words.count; i++)
        if (str_equal(str_from(words.items[i].key), key))
            return words.items[i].words[d->language];
    return NULL;
}

void describe_type(struct describer *d, struct str type)
{
    const char *word =
        d->vocabulary ? describe_find(d, d->vocabulary->types, type) : NULL;
    if (word) {
        describe_put(d, str_from(word));
        return;
    }
    for (size_t i = type.len; i > 0; i--)
        if (type.ptr[i - 1] == ':') {
            type = str_make(type.ptr + i, type.len - i);
            break;
        }
    describe_name(d, type);
}

void describe_uid(struct describer *d, const struct cedar_uid *uid)
{
    describe_type(d, uid->type);
    if (d->language == CEDAR_ENGLISH)
        buf_append_char(d->out, ' ');
    describe_text(d, uid->id);
}

/* --- Templates ------------------------------------------------------------*/

static void put_piece(struct describer *d, const struct piece *piece)
{
    if (piece->path)
        describe_path(d, piece->expr, piece->path, piece->path_count);
    else if (piece->expr)
        describe_term(d, piece->expr);
    else if (piece->uid)
        describe_uid(d, piece->uid);
    else
        describe_put(d, piece->text);
}

void describe_say(struct describer *d, enum cedar_phrase phrase, bool negated,
    const struct piece *pieces, bool without_subject)
{
    const char *text = phrases[phrase].text[d->language][negated];
    if (!text)
        text = phrases[phrase].text[d->language][0];
    if (without_subject && text[0] == '$') {
        text += 2;
        text += text[0] == ' ';
    }
    while (*text) {
        size_t plain = strcspn(text, "$?");
        describe_put(d, str_make(text, plain));
        text += plain;
        if (!*text)
            return;
        const struct piece *piece = &pieces[text[1] - '1'];
        if (*text == '?')
            describe_condition(d, piece->expr, piece->negated, true);
        else
            put_piece(d, piece);
        text += 2;
    }
}
