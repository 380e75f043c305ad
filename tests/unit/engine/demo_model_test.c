/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of the demo engine's tokeniser and model. */
#include "engine/demo_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static struct demo_model *model;
static const struct demo_vocabulary *vocabulary;

static int set_up(void **state)
{
    if (demo_model_new(&model) != ERR_OK)
        return 1;
    vocabulary = demo_model_vocabulary(model);
    return 0;
}

static int tear_down(void **state)
{
    demo_model_free(&model);
    demo_model_free(&model);
    return 0;
}

static void assert_tokens(const char *text, size_t expected)
{
    struct buf ids;
    buf_init(&ids, 1 << 20);
    assert_int_equal(demo_tokenise(vocabulary, str_from(text), &ids), expected);
    assert_int_equal(demo_ids_count(&ids), expected);
    assert_int_equal(demo_count_tokens(vocabulary, str_from(text)), expected);
    buf_fini(&ids);
}

static void known_words_are_one_token(void **state)
{
    assert_tokens("", 0);
    assert_tokens("The library opens at nine.", 6);
    assert_tokens("library", 1);
    assert_tokens("Library", 1);
    assert_tokens(" harbour Harbour", 2);
    assert_tokens("1234567", 3);
    assert_tokens("xylophone", 3); /* xylo phon e */
    assert_tokens("a  b", 3);
    assert_tokens("\n\n\t", 3);
}

static void the_texts_own_words_come_back(void **state)
{
    for (size_t i = 0; i < demo_corpus_count; i++) {
        struct buf ids, text;
        buf_init(&ids, 1 << 20);
        buf_init(&text, 1 << 20);
        size_t n = demo_tokenise(vocabulary, str_from(demo_corpus[i]), &ids);
        for (size_t k = 0; k < n; k++) {
            assert_true(demo_ids(&ids)[k] < demo_vocabulary_size(vocabulary));
            buf_append_str(
                &text, demo_vocabulary_piece(vocabulary, demo_ids(&ids)[k]));
        }
        assert_string_equal(buf_cstr(&text), demo_corpus[i]);
        buf_fini(&ids);
        buf_fini(&text);
    }
}

static void never_more_tokens_than_bytes(void **state)
{
    uint64_t seed = 4711;
    for (int i = 0; i < 3000; i++) {
        char text[80];
        size_t n = (size_t)(i % 80);
        for (size_t k = 0; k < n; k++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            /* Any byte, spaces and letters more often. */
            unsigned pick = seed >> 62;
            text[k] = pick == 0   ? ' '
                      : pick == 1 ? (char)('a' + (seed >> 40) % 26)
                                  : (char)(seed >> 48);
        }
        size_t whole = demo_count_tokens(vocabulary, str_make(text, n));
        assert_true(whole <= n);
        assert_int_equal(
            demo_count_tokens(vocabulary, str_make(text, n)), whole);
    }
}

static void does_not_cut_characters(void **state)
{
    /* Nine characters of three bytes: one each, for two do not fit in four. */
    assert_tokens("\xe6\xb8\xaf\xe5\x9b\xbe\xe4\xb9\xa6\xe6\xb8\xaf\xe5\x9b\xbe"
                  "\xe4\xb9\xa6\xe6\xb8\xaf\xe5\x9b\xbe\xe4\xb9\xa6",
        9);
    assert_tokens("\xf0\x9f\x8e\x89\xf0\x9f\x8e\x89", 2);
    assert_tokens("\x80\x80\x80\x80\x80\x80", 2); /* no UTF-8: still ends */
}

static void long_words_take_linear_time(void **state)
{
    static char text[4 << 20];
    memset(text, 'x', sizeof text);
    assert_int_equal(demo_count_tokens(vocabulary, str_make(text, sizeof text)),
        sizeof text / 4);
}

/* --- The model --------------------------------------------------------------
 */

static size_t say(const char *prompt, const struct demo_sampling *sampling,
    size_t most, struct buf *text)
{
    struct buf ids;
    struct demo_run *run = NULL;
    size_t count = 0;
    uint32_t id;
    buf_init(&ids, 1 << 20);
    buf_clear(text);
    (void)demo_tokenise(vocabulary, str_from(prompt), &ids);
    assert_int_equal(demo_run_new(model, demo_ids(&ids), demo_ids_count(&ids),
                         sampling, &run),
        ERR_OK);
    while (count < most && demo_run_next(run, &id)) {
        struct str piece = demo_vocabulary_piece(vocabulary, id);
        assert_true(piece.len > 0);
        buf_append_str(text, piece);
        count++;
    }
    demo_run_free(&run);
    demo_run_free(&run);
    buf_fini(&ids);
    return count;
}

static const struct demo_sampling plain = {
    .temperature = 1, .top_p = 1, .seed = 42, .answer = true};

static void the_same_seed_says_the_same(void **state)
{
    struct buf a, b;
    struct demo_sampling other = plain;
    other.seed = 43;
    buf_init(&a, 1 << 20);
    buf_init(&b, 1 << 20);
    size_t n = say("When does the library open?", &plain, 300, &a);
    assert_int_equal(say("When does the library open?", &plain, 300, &b), n);
    assert_string_equal(buf_cstr(&a), buf_cstr(&b));
    (void)say("When does the library open?", &other, 300, &b);
    assert_string_not_equal(buf_cstr(&a), buf_cstr(&b));
    buf_fini(&a);
    buf_fini(&b);
}

static void without_temperature_the_seed_is_nothing(void **state)
{
    struct buf a, b;
    struct demo_sampling first = plain, second = plain;
    first.temperature = second.temperature = 0;
    second.seed = 7;
    buf_init(&a, 1 << 20);
    buf_init(&b, 1 << 20);
    (void)say("Tell me of the lighthouse.", &first, 300, &a);
    (void)say("Tell me of the lighthouse.", &second, 300, &b);
    assert_string_equal(buf_cstr(&a), buf_cstr(&b));
    assert_non_null(strstr(buf_cstr(&a), "lighthouse"));
    buf_fini(&a);
    buf_fini(&b);
}

static void ends_by_itself_unless_told_not_to(void **state)
{
    struct buf text;
    unsigned ended = 0;
    buf_init(&text, 1 << 20);
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct demo_sampling s = plain;
        s.seed = seed;
        size_t n = say("hello", &s, 2000, &text);
        assert_true(n > 0);
        ended += n < 2000;
        s.ignore_end = true;
        assert_int_equal(say("hello", &s, 500, &text), 500);
    }
    assert_true(ended >= 45);
    buf_fini(&text);
}

static void continues_a_text(void **state)
{
    struct buf text;
    struct demo_sampling s = plain;
    s.answer = false;
    s.temperature = 0;
    buf_init(&text, 1 << 20);
    (void)say("The lighthouse stands at the end of the northern", &s, 5, &text);
    assert_true(str_starts(buf_str(&text), STR(" wall")));
    assert_true(say("qqqq zzzz", &s, 5, &text) > 0);
    assert_true(say("", &s, 5, &text) > 0);
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_words_are_one_token),
        cmocka_unit_test(the_texts_own_words_come_back),
        cmocka_unit_test(never_more_tokens_than_bytes),
        cmocka_unit_test(does_not_cut_characters),
        cmocka_unit_test(long_words_take_linear_time),
        cmocka_unit_test(the_same_seed_says_the_same),
        cmocka_unit_test(without_temperature_the_seed_is_nothing),
        cmocka_unit_test(ends_by_itself_unless_told_not_to),
        cmocka_unit_test(continues_a_text),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
