/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of lib/file in a folder of their own. */
#include "lib/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[] = "/tmp/file_test.XXXXXX";

static char *in_folder(const char *name)
{
    static char path[4][200];
    static unsigned at;
    char *given = path[at++ % 4];
    snprintf(given, sizeof path[0], "%s/%s", folder, name);
    return given;
}

static unsigned entries(void)
{
    unsigned count = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count - 2; /* . and .. */
}

static void replaces_and_reads(void **state)
{
    struct errinfo info = {0};
    struct buf b;
    const char *path = in_folder("a");
    mode_t mask = umask(077);
    assert_int_equal(file_replace(path, STR("one"), 0640, &info), ERR_OK);
    umask(mask);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(file_replace(path, STR("second"), 0600, &info), ERR_OK);
    buf_init(&b, 100);
    buf_append(&b, ">", 1);
    assert_int_equal(file_read(path, &b, &info), ERR_OK);
    assert_string_equal(buf_cstr(&b), ">second");
    buf_fini(&b);
    assert_int_equal(entries(), 1);
    assert_true(file_exists(path));
    unlink(path);
    assert_false(file_exists(path));
}

static void limits_what_it_reads(void **state)
{
    struct errinfo info = {0};
    struct buf b;
    const char *path = in_folder("b");
    assert_int_equal(file_replace(path, STR("12345"), 0600, &info), ERR_OK);
    buf_init(&b, 5);
    assert_int_equal(file_read(path, &b, &info), ERR_OK);
    assert_string_equal(buf_cstr(&b), "12345");
    buf_fini(&b);
    buf_init(&b, 4);
    assert_int_equal(file_read(path, &b, &info), ERR_LIMIT);
    assert_non_null(strstr(info.text, path));
    buf_fini(&b);
    /* No size in the inode: the ceiling holds all the same. */
    buf_init(&b, 10);
    assert_int_equal(file_read("/proc/self/maps", &b, &info), ERR_LIMIT);
    buf_fini(&b);
    unlink(path);
}

static void names_the_path_in_errors(void **state)
{
    struct errinfo info = {0};
    struct buf b;
    buf_init(&b, 100);
    assert_int_equal(file_read(in_folder("none"), &b, &info), ERR_NOTFOUND);
    assert_non_null(strstr(info.text, in_folder("none")));
    assert_int_equal(file_read(folder, &b, &info), ERR_IO);
    assert_int_equal(
        file_replace(in_folder("none/x"), STR(""), 0600, &info), ERR_NOTFOUND);
    assert_non_null(strstr(info.text, "none/x"));
    assert_int_equal(file_sync_dir(in_folder("none"), &info), ERR_IO);
    buf_fini(&b);
    assert_int_equal(entries(), 0);
}

static void creates_once(void **state)
{
    struct errinfo info = {0};
    struct buf b;
    const char *path = in_folder("c");
    assert_int_equal(file_create(path, STR("first"), 0600, &info), ERR_OK);
    assert_int_equal(file_create(path, STR("later"), 0600, &info), ERR_EXISTS);
    buf_init(&b, 100);
    assert_int_equal(file_read(path, &b, &info), ERR_OK);
    assert_string_equal(buf_cstr(&b), "first");
    buf_fini(&b);
    assert_int_equal(entries(), 1);
    unlink(path);
}

static void makes_folders(void **state)
{
    struct errinfo info = {0};
    struct stat st;
    const char *path = in_folder("d");
    assert_int_equal(file_make_dir(path, 0750, &info), ERR_OK);
    assert_int_equal(file_make_dir(path, 0700, &info), ERR_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
    rmdir(path);
    assert_int_equal(file_replace(path, STR(""), 0600, &info), ERR_OK);
    assert_int_equal(file_make_dir(path, 0700, &info), ERR_EXISTS);
    unlink(path);
    assert_int_equal(
        file_make_dir(in_folder("d/e"), 0700, &info), ERR_NOTFOUND);
}

static void reads_and_writes_at_offsets(void **state)
{
    char bytes[6];
    int fd = open(in_folder("e"), O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(file_pwrite(fd, "world", 5, 5), ERR_OK);
    assert_int_equal(file_pwrite(fd, "hello", 5, 0), ERR_OK);
    assert_int_equal(file_pread(fd, bytes, 6, 2), ERR_OK);
    assert_memory_equal(bytes, "llowor", 6);
    assert_int_equal(file_pread(fd, bytes, 6, 5), ERR_CLOSED);
    close(fd);
    assert_int_equal(file_pread(fd, bytes, 1, 0), ERR_IO);
    assert_int_equal(file_pwrite(fd, "x", 1, 0), ERR_IO);
    unlink(in_folder("e"));
    fd = open("/dev/full", O_WRONLY);
    if (fd >= 0) {
        assert_int_equal(file_pwrite(fd, "x", 1, 0), ERR_FULL);
        close(fd);
    }
}

static void joins(void **state)
{
    static const char *const cases[][3] = {{"a", "b", "a/b"},
        {"a/", "b", "a/b"}, {"/", "b", "/b"}, {"", "b", "b"}};
    for (size_t i = 0; i < 4; i++) {
        char *path = file_join(cases[i][0], cases[i][1]);
        assert_string_equal(path, cases[i][2]);
        free(path);
    }
}

static int set_up(void **state)
{
    return mkdtemp(folder) == NULL;
}

static int tear_down(void **state)
{
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replaces_and_reads),
        cmocka_unit_test(limits_what_it_reads),
        cmocka_unit_test(names_the_path_in_errors),
        cmocka_unit_test(creates_once),
        cmocka_unit_test(makes_folders),
        cmocka_unit_test(reads_and_writes_at_offsets),
        cmocka_unit_test(joins),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
