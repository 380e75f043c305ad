/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/json_canonical_fuzz.c - any bytes into the quick reader. Nothing
 * outside of them is read, and of an object with sorted keys and without spaces
 * between its tokens it gives the members that lib/json.h gives, byte for byte.
 */
#include "lib/json.h"
#include "lib/json_canonical.h"
#include "lib/must.h"

#include <stdlib.h>

#define ROOM 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every element of every array is within it, and arrays end. */
static void walk_array(struct arena *arena, struct str array)
{
    struct str element, text;
    size_t at = 0, steps = 0;
    int64_t number;
    while (json_canonical_element(array, &at, &element) == ERR_OK) {
        MUST(element.ptr > array.ptr &&
             element.ptr + element.len < array.ptr + array.len);
        MUST(++steps <= array.len);
        if (json_canonical_text(arena, element, &text) == ERR_OK)
            MUST(text.len <= element.len);
        if (str_to_i64(element, &number) == ERR_OK && number < 0)
            MUST(element.ptr[0] == '-');
    }
}

static bool has_space(const struct json *json)
{
    /* The tokens, and one byte of structure for each, cover a text without. */
    size_t covered = 0;
    for (uint32_t i = 0; i < json->count; i++) {
        const struct json_token *t = &json->tokens[i];
        if (t->type == JSON_OBJECT || t->type == JSON_ARRAY)
            covered += 2 + (t->count ? t->count - 1 : 0) +
                       (t->type == JSON_OBJECT ? t->count : 0);
        else
            covered += t->end - t->start + (t->type == JSON_STRING ? 2 : 0);
    }
    return covered != json->text.len;
}

static bool is_sorted(const struct json *json)
{
    struct str last = {0};
    for (JSON_EACH_MEMBER(json, 0, key)) {
        struct str name = json_raw(json, key);
        if (last.ptr != NULL && str_compare(last, name) >= 0)
            return false;
        last = name;
    }
    return true;
}

static void compare(struct arena *arena, const struct json *json,
    const struct json_member *members, size_t count)
{
    size_t i = 0;
    MUST(json->tokens[0].count == count);
    for (JSON_EACH_MEMBER(json, 0, key)) {
        struct str text, same;
        int64_t number, other;
        MUST(str_equal(members[i].key, json_raw(json, key)));
        MUST(str_equal(members[i].value, json_span(json, key + 1)));
        enum err err = str_to_i64(members[i].value, &number);
        MUST((err == ERR_OK) == (json_int64(json, key + 1, &other) == ERR_OK));
        MUST(err != ERR_OK || number == other);
        err = json_canonical_text(arena, members[i].value, &text);
        MUST((err == ERR_OK) ==
             (json_text(json, key + 1, arena, &same) == ERR_OK));
        MUST(err != ERR_OK || str_equal(text, same));
        i++;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(4096, (size_t)64 << 20);
    struct str text = str_make((const char *)data, size);
    struct json_member members[ROOM];
    struct json json;
    size_t count;

    MUST(arena != NULL);
    enum err err = json_canonical_object(text, members, ROOM, &count);
    for (size_t i = 0; err == ERR_OK && i < count; i++) {
        MUST(members[i].value.ptr > text.ptr &&
             members[i].value.ptr + members[i].value.len < text.ptr + size);
        walk_array(arena, members[i].value);
    }
    walk_array(arena, text);
    if (json_parse(arena, text, NULL, &json, NULL) == ERR_OK &&
        json_type(&json, 0) == JSON_OBJECT && !has_space(&json) &&
        is_sorted(&json)) {
        MUST(err == (json.tokens[0].count > ROOM ? ERR_LIMIT : ERR_OK));
        if (err == ERR_OK)
            compare(arena, &json, members, count);
    }
    arena_free(&arena);
    return 0;
}
