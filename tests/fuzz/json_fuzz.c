/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/json_fuzz.c - any bytes into the JSON reader. What it accepts
 * must hold together: each token lies within its container, every string
 * unescapes, every number can be asked for, and writing what was read gives a
 * document that is read the same. */
#include "lib/json.h"
#include "lib/json_write.h"
#include "lib/must.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_tape(const struct json *json, struct arena *arena)
{
    for (uint32_t at = 0; at < json->count; at++) {
        const struct json_token *t = &json->tokens[at];
        struct str text;
        int64_t number;
        MUST(t->start <= t->end && t->end <= json->text.len);
        MUST(t->next > at && t->next <= json->count);
        if (t->type == JSON_STRING) {
            MUST(json_text(json, at, arena, &text) == ERR_OK);
            MUST(text.len <= t->end - t->start && str_is_utf8(text));
            MUST(json_string_equals(json, at, text));
            MUST(json_text_length(json, at) == text.len);
        }
        if (t->type == JSON_NUMBER) {
            if (json_int64(json, at, &number) == ERR_OK)
                MUST(t->flags & JSON_INTEGER);
            if (json_decimal4(json, at, &number) != ERR_OK)
                number = 0;
        }
        uint32_t count = 0;
        if (t->type == JSON_OBJECT) {
            for (JSON_EACH_MEMBER(json, at, key)) {
                MUST(json_type(json, key) == JSON_STRING);
                count++;
            }
            MUST(count == t->count);
        }
        if (t->type == JSON_ARRAY) {
            for (JSON_EACH_ELEMENT(json, at, item))
                count++;
            MUST(count == t->count);
        }
    }
}

/* A document made of the spans of the root's members is the same document. */
static void check_spans(const struct json *json, struct arena *arena)
{
    struct buf copy;
    struct json again;
    struct json_error error;

    if (json_type(json, 0) != JSON_OBJECT)
        return;
    buf_init(&copy, json->text.len + 16);
    buf_append_char(&copy, '{');
    for (JSON_EACH_MEMBER(json, 0, key)) {
        if (key > 1)
            buf_append_char(&copy, ',');
        buf_append_str(&copy, json_span(json, key));
        buf_append_char(&copy, ':');
        buf_append_str(&copy, json_span(json, key + 1));
    }
    buf_append_char(&copy, '}');
    MUST(!copy.failed);
    MUST(json_parse(arena, buf_str(&copy), NULL, &again, &error) == ERR_OK);
    MUST(again.count == json->count);
    buf_fini(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(4096, (size_t)64 << 20);
    struct json json;
    struct json_error error = {0, NULL};
    struct json_limits limits = {.max_depth = 64, .max_tokens = 100000};

    MUST(arena != NULL);
    enum err err = json_parse(
        arena, str_make((const char *)data, size), &limits, &json, &error);
    if (err == ERR_OK) {
        check_tape(&json, arena);
        check_spans(&json, arena);
    } else {
        int line, column;
        MUST(error.reason != NULL && error.offset <= size);
        json_position(
            str_make((const char *)data, size), error.offset, &line, &column);
        MUST(line >= 1 && column >= 1);
    }
    arena_free(&arena);
    return 0;
}
