/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of lib/tar: heads there and back, and those that lead astray. */
#include "lib/tar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static uint8_t block[TAR_BLOCK];

static void there_and_back(void **state)
{
    struct tar_member out;
    const struct tar_member member = {
        .path = "journal/segments/00000001.seg",
        .size = 1234567,
        .mode = 0640,
    };
    assert_int_equal(tar_write(block, &member, 1795800000), ERR_OK);
    assert_int_equal(tar_read(block, &out, NULL), ERR_OK);
    assert_string_equal(out.path, member.path);
    assert_int_equal(out.size, member.size);
    assert_int_equal(out.mode, 0640);
    assert_false(out.folder);
    /* As POSIX has it, to the byte. */
    assert_memory_equal(block + 100, "0000640", 8);
    assert_memory_equal(block + 124, "00004553207", 12);
    assert_memory_equal(block + 257, "ustar\00000", 8);
    assert_int_equal(block[156], '0');
    assert_int_equal(tar_padding(0), 0);
    assert_int_equal(tar_padding(1), 511);
    assert_int_equal(tar_padding(512), 0);
}

static void too_much(void **state)
{
    struct tar_member member = {.path = "a", .size = TAR_SIZE_MAX};
    assert_int_equal(tar_write(block, &member, 0), ERR_OK);
    member.size++;
    assert_int_equal(tar_write(block, &member, 0), ERR_RANGE);
    member.size = 0;
    memset(member.path, 'x', 101);
    assert_int_equal(tar_write(block, &member, 0), ERR_RANGE);
    snprintf(member.path, sizeof(member.path), "../a");
    assert_int_equal(tar_write(block, &member, 0), ERR_RANGE);
}

/* Puts the sum right again. */
static void sum(void)
{
    unsigned total = 8 * ' ';
    for (size_t i = 0; i < TAR_BLOCK; i++)
        total += i >= 148 && i < 156 ? 0 : block[i];
    snprintf((char *)block + 148, 8, "%06o", total);
    block[155] = ' ';
}

static enum err with_path(const char *path, char type)
{
    struct tar_member member = {.path = "a"}, out;
    assert_int_equal(tar_write(block, &member, 0), ERR_OK);
    memset(block, 0, 100);
    memcpy(block, path, strlen(path));
    block[156] = (uint8_t)type;
    sum();
    enum err err = tar_read(block, &out, NULL);
    if (err == ERR_OK)
        assert_true(
            strcmp(out.path, ".") == 0 || tar_path_is_safe(str_from(out.path)));
    return err;
}

static void paths(void **state)
{
    assert_int_equal(with_path("a/b", '0'), ERR_OK);
    assert_int_equal(with_path("./a/b", '0'), ERR_OK);
    assert_int_equal(with_path("a/b", '\0'), ERR_OK);
    assert_int_equal(with_path("a/", '5'), ERR_OK);
    assert_int_equal(with_path("./", '5'), ERR_OK);
    assert_int_equal(with_path("/etc/passwd", '0'), ERR_DENIED);
    assert_int_equal(with_path("../a", '0'), ERR_DENIED);
    assert_int_equal(with_path("a/../../b", '0'), ERR_DENIED);
    assert_int_equal(with_path("a//b", '0'), ERR_DENIED);
    assert_int_equal(with_path("a/", '0'), ERR_DENIED);
    assert_int_equal(with_path("", '0'), ERR_DENIED);
    assert_int_equal(with_path("a", '1'), ERR_UNSUPPORTED); /* a link */
    assert_int_equal(with_path("a", '2'), ERR_UNSUPPORTED);
    assert_int_equal(with_path("a", 'x'), ERR_UNSUPPORTED); /* pax */
}

static void damage(void **state)
{
    struct tar_member member = {.path = "a"}, out;
    struct errinfo info;
    assert_int_equal(tar_write(block, &member, 0), ERR_OK);
    block[0] = 'b';
    assert_int_equal(tar_read(block, &out, &info), ERR_SYNTAX);
    assert_non_null(strstr(info.text, "tar"));
    assert_int_equal(tar_write(block, &member, 0), ERR_OK);
    block[124] = '9';
    sum();
    assert_int_equal(tar_read(block, &out, &info), ERR_SYNTAX);
    memset(block, 0, sizeof(block));
    assert_int_equal(tar_read(block, &out, NULL), ERR_NOTFOUND);
    block[511] = 1;
    assert_int_equal(tar_read(block, &out, NULL), ERR_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(too_much),
        cmocka_unit_test(paths),
        cmocka_unit_test(damage),
    };
    return cmocka_run_group_tests_name("tar", tests, NULL, NULL);
}
