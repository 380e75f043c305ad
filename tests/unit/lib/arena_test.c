/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of lib/arena. */
#include "lib/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void gives_aligned_distinct_memory(void **state)
{
    struct arena *arena = arena_new(128, 0);
    assert_non_null(arena);
    char *last = NULL;
    for (size_t size = 0; size < 500; size++) {
        char *p = arena_alloc(arena, size);
        assert_non_null(p);
        assert_true((uintptr_t)p % 16 == 0);
        assert_true(p != last);
        memset(p, (int)size, size);
        last = p;
    }
    assert_true(arena_used(arena) >= 500 * 499 / 2);
    arena_free(&arena);
    assert_null(arena);
    arena_free(&arena);
}

static void stops_at_the_ceiling(void **state)
{
    struct arena *arena = arena_new(64, 1024);
    assert_non_null(arena_alloc(arena, 64));
    assert_null(arena_alloc(arena, 1024));
    size_t given = 64;
    while (arena_alloc(arena, 16))
        given += 16;
    assert_true(given > 512 && given <= 1024);
    assert_null(arena_alloc(arena, 1));
    /* After a reset there is room again. */
    arena_reset(arena);
    assert_int_equal(arena_used(arena), 0);
    assert_non_null(arena_alloc(arena, 512));
    arena_free(&arena);
}

static void refuses_impossible_sizes(void **state)
{
    struct arena *arena = arena_new(64, 0);
    assert_null(arena_alloc(arena, SIZE_MAX));
    assert_null(arena_alloc(arena, SIZE_MAX - 8));
    assert_null(arena_array(arena, SIZE_MAX / 2, 4));
    assert_null(arena_copy(arena, str_make("", SIZE_MAX)).ptr);
    assert_null(arena_cstr(arena, str_make("", SIZE_MAX)));
    arena_free(&arena);
}

static void copies_and_prints(void **state)
{
    struct arena *arena = arena_new(64, 0);
    struct str s = arena_copy(arena, str_make("hello world", 5));
    assert_int_equal(s.len, 5);
    assert_string_equal(s.ptr, "hello");
    assert_string_equal(arena_cstr(arena, str_make(NULL, 0)), "");
    assert_non_null(arena_copy(arena, str_make(NULL, 0)).ptr);
    assert_string_equal(arena_printf(arena, "%s=%d", "a", 12), "a=12");
    assert_string_equal(arena_printf(arena, "%s", ""), "");
    char long_text[1000];
    memset(long_text, 'y', sizeof long_text);
    long_text[999] = '\0';
    assert_string_equal(arena_printf(arena, "%s", long_text), long_text);
    arena_free(&arena);
}

static void clears_on_demand(void **state)
{
    struct thing {
        int a, b;
    };
    struct arena *arena = arena_new(256, 0);
    memset(arena_alloc(arena, 128), 0xff, 128);
    arena_reset(arena);
    struct thing *t = ARENA_NEW(arena, struct thing);
    assert_int_equal(t->a, 0);
    assert_int_equal(t->b, 0);
    struct thing *many = ARENA_ARRAY(arena, 3, struct thing);
    many[2].b = 4;
    assert_int_equal(many[2].b, 4);
    arena_free(&arena);
}

static void reset_reuses_the_first_chunk(void **state)
{
    struct arena *arena = arena_new(1024, 0);
    void *first = arena_alloc(arena, 100);
    assert_non_null(arena_alloc(arena, 100000));
    arena_reset(arena);
    assert_ptr_equal(arena_alloc(arena, 100), first);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_aligned_distinct_memory),
        cmocka_unit_test(stops_at_the_ceiling),
        cmocka_unit_test(refuses_impossible_sizes),
        cmocka_unit_test(copies_and_prints),
        cmocka_unit_test(clears_on_demand),
        cmocka_unit_test(reset_reuses_the_first_chunk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
