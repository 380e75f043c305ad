/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of engine/tokeniser: which kinds can count what, what they are asked,
 * and that no answer but a true-looking count is one. */
#include "engine/tokeniser.h"

#include "lib/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CHAT "/v1/chat/completions"
#define CHAT_BODY                                                              \
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}"

static struct arena *arena;

static int set_up(void **state)
{
    arena = arena_new(4096, 0);
    return arena ? 0 : -1;
}

static int tear_down(void **state)
{
    arena_free(&arena);
    return 0;
}

static struct dialect_description describe(const char *path, const char *body)
{
    struct dialect_match match;
    struct dialect_error error;
    struct dialect_description d = {0};
    assert_int_equal(
        dialect_route(arena, STR("POST"), str_from(path), &match, &error),
        ERR_OK);
    assert_int_equal(
        dialect_describe(match.route, str_from(body), arena, NULL, &d, &error),
        ERR_OK);
    return d;
}

static void asks(const struct tokeniser *t, const char *path, const char *body)
{
    struct buf whole;
    buf_init(&whole, 65536);
    for (size_t i = 0; i < t->piece_count; i++)
        buf_append(&whole, t->pieces[i].iov_base, t->pieces[i].iov_len);
    assert_string_equal(t->path, path);
    assert_int_equal(whole.len, t->length);
    if (body)
        assert_string_equal(buf_cstr(&whole), body);
    buf_fini(&whole);
}

static void kinds_count_what_they_can(void **state)
{
    static const struct {
        enum engine_kind kind;
        const char *path, *body;
        bool can;
    } rows[] = {
        {ENGINE_DEMO, CHAT, CHAT_BODY, true},
        {ENGINE_VLLM, CHAT, CHAT_BODY, true},
        {ENGINE_LLAMA_SERVER, CHAT, CHAT_BODY, true},
        {ENGINE_OLLAMA, CHAT, CHAT_BODY, false},
        {ENGINE_OPENAI, CHAT, CHAT_BODY, false},
        {ENGINE_TGI, CHAT, CHAT_BODY, false},
        {ENGINE_LOCALAI, CHAT, CHAT_BODY, false},
        {ENGINE_VLLM, "/v1/completions", "{\"model\":\"m\",\"prompt\":\"a\"}",
            true},
        {ENGINE_VLLM, "/v1/completions",
            "{\"model\":\"m\",\"prompt\":[\"a\",\"b\"]}", false},
        {ENGINE_VLLM, "/v1/embeddings", "{\"model\":\"m\",\"input\":[\"a\"]}",
            true},
        {ENGINE_DEMO, "/v1/responses", "{\"model\":\"m\",\"input\":\"a\"}",
            true},
        {ENGINE_VLLM, "/v1/responses", "{\"model\":\"m\",\"input\":\"a\"}",
            false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dialect_description d = describe(rows[i].path, rows[i].body);
        assert_int_equal(tokeniser_exists(rows[i].kind, &d), rows[i].can);
    }
}

static void requests_are_the_engines_own(void **state)
{
    struct tokeniser t;
    struct dialect_description d = describe(CHAT, CHAT_BODY);
    assert_int_equal(
        tokeniser_begin(&t, ENGINE_VLLM, &d, STR("up"), arena), TOKENISER_ASK);
    asks(&t, "/tokenize", NULL);
    assert_int_equal(
        tokeniser_answer(&t, 200, STR("{\"count\":12,\"tokens\":[1]}"), arena),
        TOKENISER_COUNTED);
    assert_int_equal(t.count, 12);
    /* A text is taken over as it stands, escapes included. */
    d = describe("/v1/completions",
        "{\"model\":\"m\",\"prompt\":[\"a\\n\\u00e9\\\"\"]}");
    assert_int_equal(tokeniser_begin(&t, ENGINE_VLLM, &d, STR("u\"p"), arena),
        TOKENISER_ASK);
    asks(&t, "/tokenize",
        "{\"model\":\"u\\\"p\",\"prompt\":\"a\\n\\u00e9\\\"\"}");
    assert_int_equal(
        tokeniser_begin(&t, ENGINE_LLAMA_SERVER, &d, STR("up"), arena),
        TOKENISER_ASK);
    asks(&t, "/tokenize",
        "{\"add_special\":true,\"content\":\"a\\n\\u00e9\\\"\","
        "\"parse_special\":true}");
}

static void a_template_comes_before_its_tokens(void **state)
{
    struct tokeniser t;
    struct dialect_description d = describe(CHAT, CHAT_BODY);
    char answer[] = "{\"prompt\":\"<s>\\\"x\\\"\"}";
    assert_int_equal(
        tokeniser_begin(&t, ENGINE_LLAMA_SERVER, &d, STR("up"), arena),
        TOKENISER_ASK);
    asks(&t, "/apply-template", NULL);
    assert_int_equal(
        tokeniser_answer(&t, 200, str_from(answer), arena), TOKENISER_ASK);
    memset(answer, '?', sizeof answer - 1); /* the buffer is used again */
    asks(&t, "/tokenize",
        "{\"add_special\":true,\"content\":\"<s>\\\"x\\\"\","
        "\"parse_special\":true}");
    assert_int_equal(
        tokeniser_answer(&t, 200, STR("{\"tokens\":[5,6,7]}"), arena),
        TOKENISER_COUNTED);
    assert_int_equal(t.count, 3);
}

static void nothing_else_is_a_count(void **state)
{
    static const struct {
        int status;
        const char *body;
    } rows[] = {{500, "{\"count\":5}"}, {404, ""}, {200, ""}, {200, "[]"},
        {200, "{}"}, {200, "{\"count\":0}"}, {200, "{\"count\":-1}"},
        {200, "{\"count\":1.5}"}, {200, "{\"count\":\"5\"}"},
        {200, "{\"count\":99999999999}"}, {200, "{\"tokens\":[]}"},
        {200, "{\"tokens\":5}"}, {200, "{\"count\":5}{"}};
    struct dialect_description d = describe(CHAT, CHAT_BODY);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tokeniser t;
        assert_int_equal(tokeniser_begin(&t, ENGINE_DEMO, &d, STR("up"), arena),
            TOKENISER_ASK);
        assert_int_equal(
            tokeniser_answer(&t, rows[i].status, str_from(rows[i].body), arena),
            TOKENISER_FAILED);
        assert_non_null(t.why);
    }
    struct tokeniser t;
    assert_int_equal(
        tokeniser_begin(&t, ENGINE_LLAMA_SERVER, &d, STR("up"), arena),
        TOKENISER_ASK);
    assert_int_equal(tokeniser_answer(&t, 200, STR("{\"count\":5}"), arena),
        TOKENISER_FAILED);
}

/* However little memory there is: an answer, or words why there is none. */
static void a_full_arena_is_no_count(void **state)
{
    bool failed = false, counted = false;
    struct dialect_description d = describe(CHAT, CHAT_BODY);
    for (size_t size = 64; size < 16384; size += 64) {
        struct arena *small = arena_new(64, size);
        struct tokeniser t;
        assert_non_null(small);
        enum tokeniser_state at =
            tokeniser_begin(&t, ENGINE_LLAMA_SERVER, &d, STR("up"), small);
        if (at == TOKENISER_ASK)
            at = tokeniser_answer(&t, 200, STR("{\"prompt\":\"abc\"}"), small);
        if (at == TOKENISER_ASK)
            at = tokeniser_answer(&t, 200, STR("{\"tokens\":[1,2]}"), small);
        assert_true(at != TOKENISER_ASK);
        failed = failed || at == TOKENISER_FAILED;
        counted = counted || (at == TOKENISER_COUNTED && t.count == 2);
        arena_free(&small);
    }
    assert_true(failed && counted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            kinds_count_what_they_can, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            requests_are_the_engines_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_template_comes_before_its_tokens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            nothing_else_is_a_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_full_arena_is_no_count, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
