/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of policy/cedar's values and entity store. */
#include "policy/cedar/cedar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

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

static struct cedar_value set_of(const struct cedar_value *items, size_t count)
{
    struct cedar_value set;
    assert_int_equal(cedar_set_make(arena, items, count, &set), ERR_OK);
    return set;
}

static struct cedar_value number_set(int64_t from, int64_t to, int64_t step)
{
    struct cedar_value items[512];
    size_t count = 0;
    for (int64_t n = from; n != to; n += step)
        items[count++] = cedar_long(n);
    return set_of(items, count);
}

static void check_print(struct cedar_value value, const char *text)
{
    struct buf out;
    buf_init(&out, 1 << 16);
    cedar_value_print(&out, value);
    assert_string_equal(buf_cstr(&out), text);
    buf_fini(&out);
}

static void test_sets(void **state)
{
    struct cedar_value up = number_set(0, 500, 1);
    struct cedar_value down = number_set(499, -1, -1);
    assert_true(cedar_value_equal(up, down));
    assert_int_equal(up.set->count, 500);
    for (int64_t n = 0; n < 500; n++)
        assert_true(cedar_set_contains(up.set, cedar_long(n)));
    assert_false(cedar_set_contains(up.set, cedar_long(500)));
    assert_false(cedar_set_contains(up.set, cedar_long(-1)));
    assert_false(cedar_set_contains(up.set, cedar_string(STR("1"))));
    struct cedar_value twice[] = {cedar_long(1), cedar_string(STR("a")),
        cedar_long(1), cedar_string(STR("a")), cedar_bool(true)};
    struct cedar_value once[] = {
        cedar_bool(true), cedar_string(STR("a")), cedar_long(1)};
    assert_true(cedar_value_equal(set_of(twice, 5), set_of(once, 3)));
    assert_int_equal(set_of(twice, 5).set->count, 3);
    assert_true(set_of(NULL, 0).set->all_entities);
    assert_false(set_of(once, 3).set->all_entities);
    /* Long and decimal 1 are not the same value. */
    struct cedar_value kinds[] = {
        cedar_long(1), cedar_decimal(1), cedar_datetime(1), cedar_duration(1)};
    assert_int_equal(set_of(kinds, 4).set->count, 4);
}

static void test_records(void **state)
{
    static char names[300][8];
    static struct cedar_field fields[300];
    for (int i = 0; i < 300; i++) {
        snprintf(names[i], sizeof names[i], "k%d", i);
        fields[i].key = cedar_key_make(str_from(names[i]));
        fields[i].value = cedar_long(i);
    }
    for (size_t count = 0; count <= 300; count = count * 2 + 1) {
        struct cedar_field *copy =
            ARENA_ARRAY(arena, count, struct cedar_field);
        assert_non_null(copy);
        memcpy(copy, fields, count * sizeof fields[0]);
        struct cedar_value made;
        assert_int_equal(cedar_record_make(arena, copy, count, &made), ERR_OK);
        for (size_t i = 0; i < 300; i++) {
            const struct cedar_value *found =
                cedar_record_find(made.record, fields[i].key);
            assert_int_equal(found != NULL, i < count);
            if (found)
                assert_int_equal(found->integer, i);
        }
    }
    struct cedar_field doubled[] = {fields[1], fields[2], fields[1]};
    struct cedar_value made;
    assert_int_equal(cedar_record_make(arena, doubled, 3, &made), ERR_EXISTS);
}

/* Equal hashes of different names must not be confused. */
static void test_hash_collisions(void **state)
{
    struct cedar_field fields[3] = {{{"ab", 2, 7}, cedar_long(1)},
        {{"cd", 2, 7}, cedar_long(2)}, {{"abc", 3, 7}, cedar_long(3)}};
    struct cedar_record record;
    assert_int_equal(cedar_record_init(&record, fields, 3), ERR_OK);
    struct cedar_key key = {"cd", 2, 7};
    assert_int_equal(cedar_record_find(&record, key)->integer, 2);
    key.ptr = "ab";
    assert_int_equal(cedar_record_find(&record, key)->integer, 1);
    key = (struct cedar_key){"abc", 3, 7};
    assert_int_equal(cedar_record_find(&record, key)->integer, 3);
    key.ptr = "abd";
    assert_null(cedar_record_find(&record, key));
}

static void test_depth(void **state)
{
    struct cedar_value value = cedar_long(1);
    int levels = 0;
    while (cedar_set_make(arena, &value, 1, &value) == ERR_OK)
        levels++;
    assert_int_equal(levels, CEDAR_VALUE_DEPTH_MAX);
    struct cedar_field field = {cedar_key_make(STR("a")), value};
    struct cedar_value record;
    assert_int_equal(cedar_record_make(arena, &field, 1, &record), ERR_LIMIT);
    struct cedar_value copy;
    assert_int_equal(cedar_value_copy(arena, value, &copy), ERR_OK);
    assert_true(cedar_value_equal(value, copy));
}

static void test_printing(void **state)
{
    struct cedar_uid uid = cedar_uid_make(STR("A::B"), STR("x\"y"));
    static const struct cedar_ip ip = {{10, 0, 0, 0}, 4, 8};
    struct cedar_field fields[] = {
        {cedar_key_make(STR("b")), cedar_entity(&uid)},
        {cedar_key_make(STR("a b")), cedar_ip(&ip)},
        {cedar_key_make(STR("if")), cedar_decimal(-15000)}};
    struct cedar_value record;
    assert_int_equal(cedar_record_make(arena, fields, 3, &record), ERR_OK);
    check_print(record,
        "{\"a b\": ip(\"10.0.0.0/8\"), \"b\": A::B::\"x\\\"y\", "
        "\"if\": decimal(\"-1.5\")}");
    check_print(cedar_string(STR("\n\r\t\0\\\"\x7f*\xe2\x80\x8b\xc3\xa9")),
        "\"\\n\\r\\t\\0\\\\\\\"\\u{7f}*\\u{200b}\xc3\xa9\"");
    check_print(cedar_long(INT64_MIN), "-9223372036854775808");
    check_print(cedar_bool(true), "true");
    check_print(set_of(NULL, 0), "[]");
    check_print(cedar_duration(90061001), "duration(\"1d1h1m1s1ms\")");
    struct cedar_value copy;
    assert_int_equal(cedar_value_copy(arena, record, &copy), ERR_OK);
    assert_true(cedar_value_equal(record, copy));
}

/* --- The store ------------------------------------------------------------*/

static struct cedar_uid numbered(unsigned n)
{
    char *id = arena_printf(arena, "%u", n);
    assert_non_null(id);
    return cedar_uid_make(STR("E"), str_from(id));
}

static enum err add(struct cedar_entities_builder *b, unsigned n,
    const unsigned *parents, size_t count, struct errinfo *info)
{
    struct cedar_uid uid = numbered(n), above[8];
    for (size_t i = 0; i < count; i++)
        above[i] = numbered(parents[i]);
    return cedar_entities_builder_add(b, &uid, above, count, NULL, NULL, info);
}

static bool count_one(void *context, const struct cedar_uid *uid)
{
    ++*(size_t *)context;
    return true;
}

static void test_hierarchy(void **state)
{
    struct cedar_entities_builder *b;
    struct cedar_entities *entities;
    assert_int_equal(cedar_entities_builder_new(&b), ERR_OK);
    /* A diamond above 1: 2 and 3, then 4; 5 is named only. */
    assert_int_equal(add(b, 1, (unsigned[]){2, 3, 2}, 3, NULL), ERR_OK);
    assert_int_equal(add(b, 3, (unsigned[]){4}, 1, NULL), ERR_OK);
    assert_int_equal(add(b, 2, (unsigned[]){4}, 1, NULL), ERR_OK);
    assert_int_equal(add(b, 4, (unsigned[]){5}, 1, NULL), ERR_OK);
    assert_int_equal(
        cedar_entities_builder_finish(&b, &entities, NULL), ERR_OK);
    assert_int_equal(cedar_entities_count(entities), 4);
    struct cedar_uid one = numbered(1), five = numbered(5), six = numbered(6);
    size_t count = 0;
    cedar_entities_each_ancestor(entities, &one, count_one, &count);
    assert_int_equal(count, 4);
    for (unsigned i = 1; i <= 5; i++) {
        struct cedar_uid above = numbered(i);
        assert_true(cedar_entities_in(entities, &one, &above));
        assert_int_equal(cedar_entities_in(entities, &above, &one), i == 1);
    }
    assert_false(cedar_entities_in(entities, &one, &six));
    assert_true(cedar_entities_in(entities, &six, &six));
    struct cedar_entity_view view;
    assert_false(cedar_entities_find(entities, &five, &view));
    assert_true(cedar_entities_find(entities, &one, &view));
    assert_int_equal(view.attributes->count, 0);
    cedar_entities_free(&entities);
    cedar_entities_free(&entities);
}

static void test_duplicates(void **state)
{
    struct cedar_entities_builder *b;
    struct errinfo info;
    assert_int_equal(cedar_entities_builder_new(&b), ERR_OK);
    assert_int_equal(add(b, 1, (unsigned[]){2, 3}, 2, &info), ERR_OK);
    assert_int_equal(add(b, 1, (unsigned[]){3, 2, 3}, 3, &info), ERR_OK);
    assert_int_equal(add(b, 1, (unsigned[]){3}, 1, &info), ERR_EXISTS);
    assert_non_null(strstr(info.text, "E::\"1\" is given twice"));
    struct cedar_uid one = numbered(1), above[] = {numbered(2), numbered(3)};
    struct cedar_field field = {cedar_key_make(STR("a")), cedar_long(1)};
    struct cedar_record record;
    assert_int_equal(cedar_record_init(&record, &field, 1), ERR_OK);
    assert_int_equal(
        cedar_entities_builder_add(b, &one, above, 2, &record, NULL, &info),
        ERR_EXISTS);
    assert_int_equal(
        cedar_entities_builder_add(b, &one, above, 2, NULL, &record, &info),
        ERR_EXISTS);
    cedar_entities_builder_free(&b);
    cedar_entities_builder_free(&b);
}

static void check_cycle(unsigned length)
{
    struct cedar_entities_builder *b;
    struct cedar_entities *entities = NULL;
    struct errinfo info;
    assert_int_equal(cedar_entities_builder_new(&b), ERR_OK);
    for (unsigned i = 0; i < length; i++) {
        unsigned above = (i + 1) % length;
        assert_int_equal(add(b, i, &above, 1, &info), ERR_OK);
    }
    assert_int_equal(
        cedar_entities_builder_finish(&b, &entities, &info), ERR_INVALID);
    assert_null(b);
    assert_null(entities);
    assert_non_null(strstr(info.text, "is its own ancestor"));
}

static void test_cycles(void **state)
{
    check_cycle(1);
    check_cycle(2);
    check_cycle(3);
    check_cycle(5000);
}

/* A tree of 100,000, ten levels high; and a chain too long to close over. */
static void test_large(void **state)
{
    struct cedar_entities_builder *b;
    struct cedar_entities *entities;
    struct errinfo info;
    assert_int_equal(cedar_entities_builder_new(&b), ERR_OK);
    for (unsigned i = 0; i < 100000; i++) {
        unsigned above = i / 3;
        assert_int_equal(add(b, i, &above, i > 0, &info), ERR_OK);
    }
    assert_int_equal(
        cedar_entities_builder_finish(&b, &entities, &info), ERR_OK);
    assert_int_equal(cedar_entities_count(entities), 100000);
    for (unsigned i = 0; i < 100000; i += 997) {
        struct cedar_uid uid = numbered(i);
        for (unsigned j = i; j > 0; j /= 3) {
            struct cedar_uid above = numbered(j), beside = numbered(j + 1);
            assert_true(cedar_entities_in(entities, &uid, &above));
            assert_false(cedar_entities_in(entities, &uid, &beside));
        }
    }
    cedar_entities_free(&entities);
    for (int descending = 0; descending < 2; descending++) {
        assert_int_equal(cedar_entities_builder_new(&b), ERR_OK);
        for (unsigned i = 0; i < 20000; i++) {
            unsigned child = descending ? 20000 - i : i;
            unsigned above = child + 1;
            assert_int_equal(add(b, child, &above, 1, &info), ERR_OK);
        }
        assert_int_equal(
            cedar_entities_builder_finish(&b, &entities, &info), ERR_LIMIT);
        assert_non_null(strstr(info.text, "too many ancestors"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_hash_collisions),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_printing),
        cmocka_unit_test(test_hierarchy),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_cycles),
        cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
