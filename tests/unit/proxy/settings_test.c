/* SPDX-License-Identifier: Apache-2.0
 *
 * Settings: defaults, every kind of value, and every error with its place. */
#include "proxy/settings.h"

#include "lib/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char dir[64], path[96];
    struct settings *settings;
    struct buf findings;
};

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);

    snprintf(p->dir, sizeof p->dir, "/tmp/bailiff-unit-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->path, sizeof p->path, "%s/bailiff.conf", p->dir);
    buf_init(&p->findings, 65536);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;

    settings_free(&p->settings);
    buf_fini(&p->findings);
    unlink(p->path);
    rmdir(p->dir);
    free(p);
    return 0;
}

static enum err load(struct place *p, const char *text)
{
    struct errinfo info = {0};

    settings_free(&p->settings);
    buf_clear(&p->findings);
    assert_int_equal(
        file_replace(p->path, str_from(text), 0600, &info), ERR_OK);
    return settings_load(p->dir, &p->settings, &p->findings);
}

static void refused(struct place *p, const char *text, const char *finding)
{
    assert_int_equal(load(p, text), ERR_INVALID);
    assert_null(p->settings);
    if (!strstr(buf_cstr(&p->findings), finding))
        fail_msg(
            "\"%s\" does not hold \"%s\"", buf_cstr(&p->findings), finding);
}

static void test_absent_file_means_defaults(void **state)
{
    struct place *p = *state;
    char expected[128];

    assert_int_equal(settings_load(p->dir, &p->settings, &p->findings), ERR_OK);
    assert_int_equal(p->settings->listen_count, 2);
    assert_string_equal(p->settings->listen[0], "[::]:8443");
    assert_int_equal(p->settings->workers, 0);
    assert_int_equal(p->settings->max_body_bytes, 33554432);
    snprintf(expected, sizeof expected, "%s/tls/server.pem", p->dir);
    assert_string_equal(p->settings->certificate, expected);
    assert_string_equal(p->settings->log_level, "info");
}

static void test_written_defaults_load(void **state)
{
    struct place *p = *state;
    struct buf text;
    struct str rest, line;
    struct buf uncommented;

    buf_init(&text, 1 << 20);
    buf_init(&uncommented, 1 << 20);
    settings_write_default(&text);
    assert_int_equal(load(p, buf_cstr(&text)), ERR_OK);
    /* With every "# key = value;" made a setting it must load too. */
    rest = buf_str(&text);
    while (rest.len > 0) {
        str_split(rest, '\n', &line, &rest);
        if (line.len > 2 && str_ends(line, STR(";")) &&
            memchr(line.ptr, '=', line.len))
            line = str_make(line.ptr + 2, line.len - 2);
        buf_append_str(&uncommented, line);
        buf_append_char(&uncommented, '\n');
    }
    assert_int_equal(load(p, buf_cstr(&uncommented)), ERR_OK);
    assert_int_equal(p->settings->connect_timeout_ms, 2000);
    buf_fini(&text);
    buf_fini(&uncommented);
}

static void test_values(void **state)
{
    struct place *p = *state;

    assert_int_equal(load(p, "listen = \"127.0.0.1:0\";\n"
                             "certificate = \"/etc/x.pem\";\n"
                             "max_body_bytes = \"16MiB\";\n"
                             "idle_timeout_ms = \"5m\";\n"
                             "workers = 3;\n"
                             "segment_bytes = 4294967296L;\n"
                             "metrics_listen = \"[::1]:9464\";\n"
                             "admin_listen = \"0.0.0.0:8444\";\n"
                             "admin_key = \"keys/admin.key\";\n"
                             "certificate_ocsp = \"\";\n"
                             "admin_ocsp = \"tls/x.ocsp\";\n"
                             "log_level = \"debug\";\n"),
        ERR_OK);
    assert_int_equal(p->settings->listen_count, 1);
    assert_string_equal(p->settings->listen[0], "127.0.0.1:0");
    assert_string_equal(p->settings->certificate, "/etc/x.pem");
    assert_int_equal(p->settings->max_body_bytes, 16 << 20);
    assert_int_equal(p->settings->idle_timeout_ms, 300000);
    assert_int_equal(p->settings->workers, 3);
    assert_string_equal(p->settings->admin_listen, "0.0.0.0:8444");
    assert_non_null(strstr(p->settings->admin_certificate, "/tls/server.pem"));
    assert_non_null(strstr(p->settings->admin_key, "/keys/admin.key"));
    assert_string_equal(p->settings->certificate_ocsp, "");
    assert_non_null(strstr(p->settings->admin_ocsp, "/tls/x.ocsp"));
    assert_true(p->settings->segment_bytes == INT64_C(4294967296));
}

/* Not cut off at 32 bits, wherever they stand. */
static void test_large_numbers(void **state)
{
    struct place *p = *state;

    assert_int_equal(
        load(p, "# 4294967297 \"\n/* 99999999999 */ metrics_listen = "
                "\"127.0.0.1:9464\"; // 4294967297\n"
                "max_held_bytes=4294967297;\n"
                "disk_low_bytes = 5000000000L;\n"
                "max_body_bytes = 1048576;"),
        ERR_OK);
    assert_true(p->settings->max_held_bytes == INT64_C(4294967297));
    assert_true(p->settings->disk_low_bytes == INT64_C(5000000000));
    assert_int_equal(p->settings->max_body_bytes, 1048576);
    assert_string_equal(p->settings->metrics_listen, "127.0.0.1:9464");
    refused(p, "max_held_bytes = 99999999999999;", "max_held_bytes is 99999");
}

static void test_all_errors_are_found_with_their_lines(void **state)
{
    struct place *p = *state;

    refused(p, "worker = 2;\nmax_body_bytes = 1;\nlog_level = \"loud\";\n",
        "bailiff.conf:1: unknown key \"worker\"; did you mean \"workers\"?");
    assert_non_null(strstr(buf_cstr(&p->findings),
        "bailiff.conf:2: max_body_bytes is 1; it must be from 1024 to"));
    assert_non_null(strstr(buf_cstr(&p->findings),
        "bailiff.conf:3: log_level is \"loud\"; it must be one of"));
}

static void test_errors(void **state)
{
    struct place *p = *state;

    refused(p, "workers = \n\n;", "bailiff.conf:3: syntax error");
    refused(p, "workers = \"two\";", "must be a whole number");
    refused(p, "workers = 2.5;", "must be a whole number");
    refused(p, "workers = true;", "must be a whole number");
    refused(p, "listen = [ \"localhost:1\" ];", "is no numeric address");
    refused(p, "listen = [ \"127.0.0.1\" ];", "the port is missing");
    refused(p, "listen = [ \"[::1:1\" ];", "closing bracket");
    refused(p, "listen = [ \"127.0.0.1:65536\" ];", "0 to 65535");
    refused(p, "listen = ( 1 );", "element 1 is no text");
    refused(p, "listen = [];", "1 to 16");
    refused(p, "metrics_listen = \"0.0.0.0:9464\";", "not a loopback address");
    refused(p, "admin_listen = \"proxy:8444\";",
        "admin_listen: \"proxy:8444\": \"proxy\" is no numeric address");
    refused(p, "admin_key = \"\";", "must name a file");
    refused(p, "max_body_bytes = \"16 Mo\";", "is no size");
    refused(p, "idle_timeout_ms = \"soon\";", "is no time");
    refused(p, "certificate = \"\";", "must name a file");
    refused(p, "max_body_bytes = 1073741824;", "max_held_bytes");
    refused(p, "entirely_other = 1;", "unknown key \"entirely_other\"; `bail");
    refused(p,
        "admin_socket = \"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\";",
        "longer than the 107 bytes");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_absent_file_means_defaults),
        TEST(test_written_defaults_load),
        TEST(test_values),
        TEST(test_large_numbers),
        TEST(test_all_errors_are_found_with_their_lines),
        TEST(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
