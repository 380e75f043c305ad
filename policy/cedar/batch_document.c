/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/batch_document.c - a line of the batch protocol to JSON.
 *
 * The JSON reader refuses a whole document for one duplicate key or for too
 * deep a value; the protocol wants such a thing reported where it stands. So a
 * refused line is taken apart: each member (and each request) is parsed by
 * itself, the bad ones are replaced by null and remembered. Pure. */
#include "policy/cedar/batch_priv.h"

/* A chain of 5,000 && has 10,000 levels when written as JSON. */
static const struct json_limits limits = {
    .max_depth = 20000, .max_tokens = 20u << 20};

/* Past a string's closing quote; text.len when it has none. */
static size_t skip_string(struct str text, size_t at)
{
    for (at++; at < text.len && text.ptr[at] != '"'; at++) {
        at += text.ptr[at] == '\\';
    }
    return at < text.len ? at + 1 : text.len;
}

static size_t skip_blanks(struct str text, size_t at)
{
    while (at < text.len && (text.ptr[at] == ' ' || text.ptr[at] == '\t' ||
                                text.ptr[at] == '\r' || text.ptr[at] == '\n')) {
        at++;
    }
    return at;
}

/* Past one value: to the comma or the bracket that follows it. */
static size_t skip_value(struct str text, size_t at)
{
    size_t depth = 0;
    while (at < text.len) {
        char c = text.ptr[at];
        if (c == '"') {
            at = skip_string(text, at);
            continue;
        }
        if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (depth == 0) {
                break;
            }
            depth--;
        } else if (c == ',' && depth == 0) {
            break;
        }
        at++;
    }
    return at;
}

struct splitter {
    struct arena *arena;
    struct str line;
    struct buf rebuilt;
    struct batch_document *document;
};

/* False when the value at [start, end) has to become null. Values that are no
 * JSON at all stay: they make the whole line fail. */
static bool is_acceptable(struct splitter *s, size_t start, size_t end)
{
    struct json json;
    struct json_error error = {0};
    enum err err = json_parse(s->arena,
        str_make(s->line.ptr + start, end - start), &limits, &json, &error);
    if (err == ERR_OK || err == ERR_NOMEM) {
        return true;
    }
    /* Duplicate keys are told from real syntax errors by what is left when
     * the reader's complaint is set aside: only it speaks of keys. */
    bool duplicate = error.reason && strstr(error.reason, "duplicate");
    if (duplicate || err == ERR_LIMIT) {
        s->document->bad_reason =
            duplicate ? "a key stands twice in one object"
                      : "the JSON nests too deep or has too many values";
        return false;
    }
    return true;
}

static void copy(struct splitter *s, size_t start, size_t end)
{
    buf_append(&s->rebuilt, s->line.ptr + start, end - start);
}

/* The elements of an array, each by itself. */
static void split_requests(struct splitter *s, size_t start, size_t end)
{
    size_t at = skip_blanks(s->line, start);
    if (at >= end || s->line.ptr[at] != '[') {
        copy(s, start, end);
        return;
    }
    copy(s, start, ++at);
    while (at < end) {
        size_t stop = skip_value(s->line, at);
        stop = stop < end ? stop : end;
        if (is_acceptable(s, at, stop)) {
            copy(s, at, stop);
        } else {
            buf_append_str(&s->rebuilt, STR("null"));
        }
        /* The comma, or the closing bracket and what follows it. */
        bool more = stop < end && s->line.ptr[stop] == ',';
        size_t next = more ? stop + 1 : end;
        copy(s, stop, next);
        at = next;
    }
}

static unsigned part_of(struct str key)
{
    if (str_equal(key, STR("policies")) || str_equal(key, STR("links"))) {
        return BATCH_BAD_POLICIES;
    }
    return str_equal(key, STR("schema"))     ? BATCH_BAD_SCHEMA
           : str_equal(key, STR("entities")) ? BATCH_BAD_ENTITIES
                                             : 0;
}

/* Copies the line's object member by member. */
static void split(struct splitter *s)
{
    size_t at = skip_blanks(s->line, 0);
    if (at >= s->line.len || s->line.ptr[at] != '{') {
        copy(s, 0, s->line.len);
        return;
    }
    copy(s, 0, ++at);
    while (at < s->line.len) {
        size_t start = skip_blanks(s->line, at);
        if (start >= s->line.len || s->line.ptr[start] != '"') {
            copy(s, at, s->line.len);
            return;
        }
        size_t key_end = skip_string(s->line, start);
        size_t value = skip_blanks(s->line, key_end);
        if (value >= s->line.len || s->line.ptr[value] != ':') {
            copy(s, at, s->line.len);
            return;
        }
        size_t end = skip_value(s->line, ++value);
        struct str key = str_make(s->line.ptr + start + 1, key_end - start - 2);
        copy(s, at, value);
        if (str_equal(key, STR("requests"))) {
            split_requests(s, value, end);
        } else if (part_of(key) == 0 || is_acceptable(s, value, end)) {
            copy(s, value, end);
        } else {
            s->document->bad |= part_of(key);
            buf_append_str(&s->rebuilt, STR("null"));
        }
        at = end;
        if (at < s->line.len && s->line.ptr[at] == ',') {
            copy(s, at, at + 1);
            at++;
        } else {
            copy(s, at, s->line.len);
            return;
        }
    }
}

enum err batch_document_parse(struct arena *arena, struct str line,
    struct batch_document *out, const char **reason)
{
    struct json_error error = {0};
    *out = (struct batch_document){.bad_reason = ""};
    enum err err = json_parse(arena, line, &limits, &out->json, &error);
    if (err == ERR_OK || err == ERR_NOMEM) {
        return err;
    }
    if (err != ERR_LIMIT &&
        !(error.reason && strstr(error.reason, "duplicate"))) {
        *reason = error.reason;
        return ERR_SYNTAX;
    }
    struct splitter s = {.arena = arena, .line = line, .document = out};
    buf_init(&s.rebuilt, line.len * 4 + 64);
    split(&s);
    struct str rebuilt = arena_copy(arena, buf_str(&s.rebuilt));
    bool complete = !s.rebuilt.failed && rebuilt.ptr;
    buf_fini(&s.rebuilt);
    if (!complete) {
        return ERR_NOMEM;
    }
    err = json_parse(arena, rebuilt, &limits, &out->json, &error);
    *reason = error.reason;
    return err == ERR_OK || err == ERR_NOMEM ? err : ERR_SYNTAX;
}
