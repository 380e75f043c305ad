/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/content_text.c - JSON is walked over its tape, without recursion: the
 * tape lists every value, so that only keys have to be told apart. */
#include "audit/content_text.h"

#include "lib/json.h"

#define DEPTH_MAX 64
#define CHOICES_MAX 128 /* of one stream; the rest goes with the last */

/* A piece of a stream's text. */
struct piece {
    struct piece *next;
    struct str text;
};
struct choices {
    struct arena *arena;
    struct piece *first[CHOICES_MAX], *last[CHOICES_MAX];
    bool any; /* a line was JSON */
};

static bool is_data_url(struct str text)
{
    return str_starts(text, STR("data:")) && text.len > 256;
}

/* --- A document -----------------------------------------------------------
 */

static void add_text(
    struct arena *arena, const struct json *json, uint32_t at, struct buf *out)
{
    struct str text;
    if (json_text(json, at, arena, &text) != ERR_OK || text.len == 0 ||
        is_data_url(text))
        return;
    buf_append_str(out, text);
    buf_append_char(out, '\n');
}

/* Where the containers around a token end, and which of them are objects. */
struct nesting {
    uint32_t ends[DEPTH_MAX];
    bool object[DEPTH_MAX], key_next[DEPTH_MAX];
    size_t depth;
};

/* Goes to token `at`; true: it is a key. */
static bool step(struct nesting *n, const struct json *json, uint32_t at)
{
    while (n->depth > 0 && at >= n->ends[n->depth - 1])
        n->depth--;
    bool in_object = n->depth > 0 && n->object[n->depth - 1];
    bool key = in_object && n->key_next[n->depth - 1];
    if (in_object)
        n->key_next[n->depth - 1] = !key;
    enum json_type type = json_type(json, at);
    if ((type == JSON_OBJECT || type == JSON_ARRAY) && n->depth < DEPTH_MAX) {
        n->ends[n->depth] = json->tokens[at].next;
        n->object[n->depth] = type == JSON_OBJECT;
        n->key_next[n->depth++] = type == JSON_OBJECT;
    }
    return key;
}

static const struct json_limits limits = {.max_depth = DEPTH_MAX};

static bool document(struct arena *arena, struct str content, struct buf *out)
{
    struct nesting n = {0};
    struct json json;
    if (json_parse(arena, content, &limits, &json, NULL) != ERR_OK)
        return false;
    for (uint32_t at = 0; at < json.count; at++)
        if (!step(&n, &json, at) && json_type(&json, at) == JSON_STRING)
            add_text(arena, &json, at, out);
    return true;
}

/* --- A stream ---------------------------------------------------------------
 */

/* Members of a stream's events that hold text. */
static bool holds_text(const struct json *json, uint32_t key)
{
    static const struct str names[] = {STR_INIT("content"), STR_INIT("text"),
        STR_INIT("delta"), STR_INIT("reasoning"), STR_INIT("reasoning_content"),
        STR_INIT("refusal"), STR_INIT("arguments"), STR_INIT("partial_json"),
        STR_INIT("thinking"), STR_INIT("response")};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (json_string_equals(json, key, names[i]))
            return true;
    return false;
}

static void add_piece(struct choices *c, int64_t choice, struct str text)
{
    size_t at =
        choice >= 0 && choice < CHOICES_MAX ? (size_t)choice : CHOICES_MAX - 1;
    struct piece *piece = ARENA_NEW(c->arena, struct piece);
    if (!piece)
        return;
    *piece = (struct piece){.text = text};
    if (c->last[at])
        c->last[at]->next = piece;
    else
        c->first[at] = piece;
    c->last[at] = piece;
}

static void take_line(struct choices *c, struct str line)
{
    struct nesting n = {0};
    struct json json;
    struct str text;
    int64_t choice = 0;
    bool wanted = false;
    if (json_parse(c->arena, line, &limits, &json, NULL) != ERR_OK ||
        json_type(&json, 0) != JSON_OBJECT)
        return;
    c->any = true;
    for (uint32_t at = 0; at < json.count; at++) {
        if (json_type(&json, at) == JSON_OBJECT) {
            /* {"index":1,"delta":{...}}: what follows belongs to it */
            uint32_t index = json_find(&json, at, STR("index"));
            if (index != JSON_NONE &&
                json_int64(&json, index, &choice) != ERR_OK)
                choice = 0;
        }
        if (step(&n, &json, at)) {
            wanted = holds_text(&json, at);
            continue;
        }
        if (wanted && json_type(&json, at) == JSON_STRING &&
            json_text(&json, at, c->arena, &text) == ERR_OK)
            add_piece(c, choice, text);
        wanted = false;
    }
}

static bool stream(struct arena *arena, struct str content, struct buf *out)
{
    struct choices *c = ARENA_NEW(arena, struct choices);
    struct str rest = content, line;
    if (!c)
        return false;
    *c = (struct choices){.arena = arena};
    while (rest.len > 0) {
        str_split(rest, '\n', &line, &rest);
        line = str_trim(line);
        if (str_starts(line, STR("data:")))
            line = str_trim(str_make(line.ptr + 5, line.len - 5));
        if (line.len > 0 && line.ptr[0] == '{')
            take_line(c, line);
    }
    for (size_t i = 0; i < CHOICES_MAX; i++) {
        for (const struct piece *p = c->first[i]; p; p = p->next)
            buf_append_str(out, p->text);
        if (c->first[i])
            buf_append_char(out, '\n');
    }
    return c->any;
}

void content_text(struct arena *arena, struct str content, struct buf *out)
{
    if (!str_is_utf8(content) || document(arena, content, out) ||
        stream(arena, content, out))
        return;
    buf_append_str(out, content);
}

/* --- Looking ----------------------------------------------------------------
 */

static void append_lowered(struct str text, struct buf *out)
{
    size_t begin = out->len;
    buf_append_str(out, text);
    char *bytes = out->ptr + out->start;
    for (size_t i = begin; i < out->len; i++)
        if (bytes[i] >= 'A' && bytes[i] <= 'Z')
            bytes[i] = (char)(bytes[i] + 'a' - 'A');
}

bool content_has(struct str text, const struct str *terms, size_t count,
    struct buf *lowered, size_t *at)
{
    bool all = count > 0;
    buf_clear(lowered);
    append_lowered(text, lowered);
    for (size_t i = 0; all && i < count; i++) {
        size_t begin = lowered->len;
        append_lowered(terms[i], lowered);
        if (lowered->failed)
            return false;
        const char *bytes = buf_str(lowered).ptr;
        const char *found =
            memmem(bytes, begin, bytes + begin, lowered->len - begin);
        all = found != NULL;
        if (found && i == 0)
            *at = (size_t)(found - bytes);
        lowered->len = begin;
    }
    return all;
}

static bool is_inside(struct str text, size_t at)
{
    return at > 0 && at < text.len &&
           ((unsigned char)text.ptr[at] & 0xc0) == 0x80;
}

void content_context(
    struct str text, size_t at, size_t length, size_t around, struct buf *out)
{
    size_t begin = at > around ? at - around : 0;
    size_t end =
        text.len - at - length > around ? at + length + around : text.len;
    while (is_inside(text, begin))
        begin++;
    while (end > at + length && is_inside(text, end))
        end--;
    if (begin > 0)
        buf_append_str(out, STR("… "));
    bool space = false;
    for (size_t i = begin; i < end; i++) {
        bool blank = (unsigned char)text.ptr[i] <= ' ' || text.ptr[i] == 0x7f;
        if (!blank)
            buf_append_char(out, text.ptr[i]);
        else if (!space)
            buf_append_char(out, ' ');
        space = blank;
    }
    if (end < text.len)
        buf_append_str(out, STR(" …"));
}
