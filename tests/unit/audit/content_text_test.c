/* SPDX-License-Identifier: Apache-2.0
 *
 * Words in kept content: JSON, streams of every dialect's shape, several
 * choices at once, bytes that are no text; looking for terms, and what stands
 * around them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include <cmocka.h>

#include "audit/content_text.h"

static char text[4096];

static const char *text_of(struct str content)
{
    struct arena *arena = arena_new(4096, 1 << 20);
    struct buf out;
    buf_init(&out, sizeof(text) - 1);
    content_text(arena, content, &out);
    assert_false(out.failed);
    memcpy(text, buf_str(&out).ptr ? buf_str(&out).ptr : "", out.len);
    text[out.len] = '\0';
    buf_fini(&out);
    arena_free(&arena);
    return text;
}

static void test_a_document(void **state)
{
    assert_string_equal(
        text_of(STR("{\"model\":\"tiny\",\"messages\":[{\"role\":\"user\","
                    "\"content\":\"Gr\\u00fc\\u00dfe,\\n\\\"Ann\\\"\"}],"
                    "\"n\":2,\"stop\":[\"a\",{\"b\":\"c\"}]}")),
        "tiny\nuser\nGrüße,\n\"Ann\"\na\nc\n");
    assert_string_equal(text_of(STR("[]")), "");
    assert_string_equal(text_of(STR("\"only\"")), "only\n");
    /* keys are not content, also where values are containers */
    assert_string_equal(
        text_of(STR("{\"a\":{\"b\":[[\"x\"],{}],\"c\":\"y\"},\"d\":\"z\"}")),
        "x\ny\nz\n");
}

static void test_images_are_left_out(void **state)
{
    char json[600];
    char data[400];
    memset(data, 'A', sizeof(data) - 1);
    data[sizeof(data) - 1] = '\0';
    snprintf(json, sizeof(json),
        "{\"url\":\"data:image/png;base64,%s\",\"text\":\"what is it?\"}",
        data);
    assert_string_equal(text_of(str_from(json)), "what is it?\n");
}

static void test_a_stream(void **state)
{
    assert_string_equal(
        text_of(STR(": hello\n\ndata: {\"choices\":[{\"index\":0,\"delta\":"
                    "{\"role\":\"assistant\",\"content\":\"To\"}}]}\r\n\r\n"
                    "data: {\"choices\":[{\"index\":1,\"delta\":"
                    "{\"content\":\"An\"}}]}\n\n"
                    "data: {\"choices\":[{\"index\":0,\"delta\":"
                    "{\"content\":\"gether\"}}]}\n\n"
                    "data: {\"choices\":[{\"index\":1,\"delta\":"
                    "{\"content\":\"other\"}}]}\n\ndata: [DONE]\n\n")),
        "Together\nAnother\n");
    /* responses, messages, generate */
    assert_string_equal(
        text_of(STR("event: x\ndata: {\"type\":\"response.output_text.delta\","
                    "\"delta\":\"one \"}\n\ndata: {\"type\":"
                    "\"response.output_text.delta\",\"delta\":\"two\"}\n")),
        "one two\n");
    assert_string_equal(
        text_of(STR("data: {\"type\":\"content_block_delta\",\"index\":0,"
                    "\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n"
                    "data: {\"type\":\"content_block_delta\",\"index\":0,"
                    "\"delta\":{\"type\":\"text_delta\",\"text\":\"b\"}}\n")),
        "ab\n");
    assert_string_equal(text_of(STR("{\"response\":\"x\",\"done\":false}\n"
                                    "{\"response\":\"y\",\"done\":true}\n")),
        "xy\n");
    /* cut in the middle of an event */
    assert_string_equal(
        text_of(STR("data: {\"choices\":[{\"delta\":{\"content\":\"so\"}}]}\n\n"
                    "data: {\"choices\":[{\"del")),
        "so\n");
    /* numbers of choices that cannot be */
    assert_string_equal(
        text_of(STR("data: {\"index\":-5,\"text\":\"p\"}\n"
                    "data: {\"index\":99999999999,\"text\":\"q\"}\n"
                    "data: {\"index\":1.5,\"text\":\"r\"}\n")),
        "r\npq\n");
}

static void test_anything_else(void **state)
{
    assert_string_equal(text_of(STR("plain words")), "plain words");
    assert_string_equal(text_of(STR("{\"broken\": ")), "{\"broken\": ");
    assert_string_equal(text_of(STR("\xff\xfe\x00\x01")), "");
    assert_string_equal(text_of(STR("")), "");
}

static bool has(const char *in, size_t count, const char *a, const char *b)
{
    struct str terms[] = {str_from(a), str_from(b)};
    struct buf lowered;
    size_t at = SIZE_MAX;
    buf_init(&lowered, 4096);
    bool found = content_has(str_from(in), terms, count, &lowered, &at);
    if (found)
        assert_int_equal(strncasecmp(in + at, a, strlen(a)), 0);
    buf_fini(&lowered);
    return found;
}

static void test_terms(void **state)
{
    assert_true(has("The Quick brown fox", 1, "quick BROWN", ""));
    assert_true(has("The Quick brown fox", 2, "fox", "the"));
    assert_false(has("The Quick brown fox", 2, "fox", "dog"));
    assert_false(has("short", 1, "shorter", ""));
    assert_false(has("", 1, "a", ""));
    /* not in what belongs to the next term */
    assert_false(has("ab", 2, "ab", "bab"));
}

static void context_is(
    const char *in, size_t at, size_t length, size_t around, const char *want)
{
    struct buf out;
    buf_init(&out, 4096);
    content_context(str_from(in), at, length, around, &out);
    assert_string_equal(buf_cstr(&out), want);
    buf_fini(&out);
}

static void test_what_stands_around(void **state)
{
    context_is("one two three", 4, 3, 100, "one two three");
    context_is("one two three", 4, 3, 2, "… e two t …");
    context_is("a\n\n\tb", 4, 1, 10, "a b");
    /* no half characters: é is two bytes */
    context_is("ééXéé", 4, 1, 3, "… éXé …");
    context_is("x", 0, 1, 0, "x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_document),
        cmocka_unit_test(test_images_are_left_out),
        cmocka_unit_test(test_a_stream),
        cmocka_unit_test(test_anything_else),
        cmocka_unit_test(test_terms),
        cmocka_unit_test(test_what_stands_around),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
