/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of lib/buf, also against a plain model under random operations. */
#include "lib/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define assert_content(b, literal)                                             \
    assert_true(str_equal(buf_str(b), str_from(literal)))

static void appends(void **state)
{
    struct buf b;
    buf_init(&b, 1000);
    assert_content(&b, "");
    assert_string_equal(buf_cstr(&b), "");
    buf_append(&b, "abc", 3);
    buf_append_char(&b, 'd');
    buf_append_str(&b, STR("ef"));
    buf_append(&b, NULL, 0);
    buf_append_u64(&b, 0);
    buf_append_char(&b, ' ');
    buf_append_u64(&b, UINT64_MAX);
    buf_append_char(&b, ' ');
    buf_append_i64(&b, INT64_MIN);
    buf_append_char(&b, ' ');
    buf_append_i64(&b, -7);
    buf_printf(&b, " %s-%d", "x", 42);
    assert_content(&b, "abcdef0 18446744073709551615 -9223372036854775808 -7 "
                       "x-42");
    assert_string_equal(buf_cstr(&b), "abcdef0 18446744073709551615 "
                                      "-9223372036854775808 -7 x-42");
    assert_false(b.failed);
    buf_fini(&b);
    buf_fini(&b);
}

static void numbers_match_printf(void **state)
{
    struct buf b;
    buf_init(&b, 100);
    for (uint64_t v = 1, i = 0; i < 64; i++, v *= 2) {
        for (int delta = -1; delta <= 1; delta++) {
            char text[32];
            snprintf(text, sizeof text, "%llu",
                (unsigned long long)(v + (uint64_t)(int64_t)delta));
            buf_clear(&b);
            buf_append_u64(&b, v + (uint64_t)(int64_t)delta);
            assert_string_equal(buf_cstr(&b), text);
            int64_t s = (int64_t)(v + (uint64_t)(int64_t)delta);
            snprintf(text, sizeof text, "%lld", (long long)s);
            buf_clear(&b);
            buf_append_i64(&b, s);
            assert_string_equal(buf_cstr(&b), text);
        }
    }
    buf_fini(&b);
}

static void failure_is_sticky_and_keeps_content(void **state)
{
    struct buf b;
    buf_init(&b, 5);
    buf_append(&b, "hello", 5);
    assert_false(b.failed);
    assert_string_equal(buf_cstr(&b), "hello"); /* at the ceiling */
    buf_append_char(&b, '!');
    assert_true(b.failed);
    buf_append(&b, "", 0);
    assert_content(&b, "hello");
    buf_consume(&b, 3);
    buf_append_char(&b, 'x'); /* there is room now: still failed */
    assert_true(b.failed);
    assert_content(&b, "lo");
    assert_string_equal(buf_cstr(&b), "");
    assert_null(buf_steal(&b));
    buf_clear(&b);
    assert_false(b.failed);
    buf_printf(&b, "%s", "12345");
    assert_false(b.failed);
    assert_content(&b, "12345");
    buf_clear(&b);
    buf_printf(&b, "%s", "123456");
    assert_true(b.failed);
    assert_content(&b, "");
    buf_fini(&b);
    buf_init(&b, 0);
    assert_string_equal(buf_cstr(&b), "");
    buf_append_char(&b, 'x');
    assert_true(b.failed);
    buf_fini(&b);
}

static void steals(void **state)
{
    struct buf b;
    buf_init(&b, 100);
    char *text = buf_steal(&b);
    assert_string_equal(text, "");
    free(text);
    buf_append(&b, "hello world", 11);
    buf_consume(&b, 6);
    text = buf_steal(&b);
    assert_string_equal(text, "world");
    free(text);
    assert_content(&b, "");
    buf_append(&b, "again", 5);
    assert_content(&b, "again");
    buf_fini(&b);
}

/* The same random appends and consumptions on a plain array. */
static void behaves_like_a_queue(void **state)
{
    enum { MAX = 300 };
    char model[MAX];
    size_t len = 0;
    struct buf b;
    uint64_t seed = 12345;
    buf_init(&b, MAX);
    for (int step = 0; step < 20000; step++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        size_t n = (seed >> 33) % 60;
        if (seed >> 63) {
            if (n > MAX - len)
                n = MAX - len;
            char *to = buf_reserve(&b, n);
            assert_non_null(to);
            for (size_t i = 0; i < n; i++)
                to[i] = model[len + i] = (char)(seed >> (i % 48));
            buf_grew(&b, n);
            len += n;
        } else {
            if (n > len)
                n = len;
            buf_consume(&b, n);
            memmove(model, model + n, len - n);
            len -= n;
        }
        if (step % 7 == 0)
            (void)buf_cstr(&b);
        assert_int_equal(buf_str(&b).len, len);
        assert_memory_equal(buf_str(&b).ptr, model, len);
        assert_false(b.failed);
        assert_true(b.cap <= MAX + 1);
    }
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends),
        cmocka_unit_test(numbers_match_printf),
        cmocka_unit_test(failure_is_sticky_and_keeps_content),
        cmocka_unit_test(steals),
        cmocka_unit_test(behaves_like_a_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
