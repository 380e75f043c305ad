/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of lib/log: what reaches standard error, read back through a pipe. */
#include "lib/log.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static int saved_stderr, pipe_fds[2];

static void capture(void)
{
    assert_int_equal(pipe(pipe_fds), 0);
    saved_stderr = dup(STDERR_FILENO);
    dup2(pipe_fds[1], STDERR_FILENO);
    close(pipe_fds[1]);
}

/* What was written since capture(), as a string; puts standard error back. */
static const char *captured(void)
{
    static char text[16384];
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    size_t at = 0;
    ssize_t got;
    while ((got = read(pipe_fds[0], text + at, sizeof text - 1 - at)) > 0)
        at += (size_t)got;
    text[at] = '\0';
    close(pipe_fds[0]);
    return text;
}

static void writes_text(void **state)
{
    log_setup(LOG_INFO, LOG_TEXT);
    capture();
    log_debug("hidden", "x=%d", 1);
    log_warn("engine_down", "engine=%s reason=%s", "local",
        LOG_QUOTE("connection refused"));
    const char *text = captured();
    assert_int_equal(text[4], '-');
    assert_string_equal(text + 27,
        " warn engine_down engine=local reason=\"connection "
        "refused\"\n");
    assert_false(log_is_on(LOG_DEBUG));
    assert_true(log_is_on(LOG_ERROR));
}

static void cannot_be_forged(void **state)
{
    log_setup(LOG_DEBUG, LOG_TEXT);
    capture();
    log_info("e", "a=%s", "x\n2026-01-01 error fake\x1b[31m");
    assert_string_equal(
        captured() + 27, " info e a=x\\x0a2026-01-01 error fake\\x1b[31m\n");
}

static void writes_priorities(void **state)
{
    log_setup(LOG_DEBUG, LOG_JOURNAL);
    capture();
    log_debug("a", "%s", "");
    log_info("b", "x=%d", 1);
    log_warn("c", "x=%d", 1);
    log_error("d", "x=%d", 1);
    assert_string_equal(captured(), "<7>a\n<6>b x=1\n<4>c x=1\n<3>d x=1\n");
}

static void writes_json(void **state)
{
    log_setup(LOG_DEBUG, LOG_JSON);
    capture();
    log_warn("engine_down", "engine=%s why=%s n=%d some words \xff", "local",
        LOG_QUOTE("a \"quoted\"\nline\x01 \\"), 7);
    const char *text = captured();
    json_error_t error;
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(object);
    const char *level, *event, *engine, *why, *n, *message;
    assert_int_equal(json_unpack(object, "{s:s s:s s:s s:s s:s s:s}", "level",
                         &level, "event", &event, "engine", &engine, "why",
                         &why, "n", &n, "message", &message),
        0);
    assert_string_equal(level, "warn");
    assert_string_equal(event, "engine_down");
    assert_string_equal(engine, "local");
    assert_string_equal(why, "a \"quoted\"\nline\x01 \\");
    assert_string_equal(n, "7");
    assert_string_equal(message, "some words ?");
    json_decref(object);
}

static void cuts_long_lines(void **state)
{
    static char longer[10000];
    memset(longer, 'x', sizeof longer - 1);
    longer[100] = '\n';
    static const enum log_format formats[] = {LOG_TEXT, LOG_JSON, LOG_JOURNAL};
    for (size_t i = 0; i < 3; i++) {
        log_setup(LOG_DEBUG, formats[i]);
        capture();
        log_info("e", "a=1 b=%s", longer);
        log_info(longer, "a=1");
        const char *text = captured();
        assert_true(strlen(text) < 9000);
        if (formats[i] == LOG_JSON) {
            json_t *object = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);
            assert_non_null(object);
            json_decref(object);
        }
    }
    log_setup(LOG_INFO, LOG_TEXT);
}

static void quotes(void **state)
{
    char out[32];
    assert_string_equal(log_quote(out, sizeof out, "word"), "word");
    assert_string_equal(log_quote(out, sizeof out, ""), "\"\"");
    assert_string_equal(log_quote(out, sizeof out, NULL), "\"\"");
    assert_string_equal(log_quote(out, sizeof out, "a=b"), "\"a=b\"");
    assert_string_equal(
        log_quote(out, sizeof out, "a\"b\\\n\x02"), "\"a\\\"b\\\\\\n\\x02\"");
    assert_string_equal(
        log_quote(out, sizeof out, "abcdefghijklmnopqrstuvwxyz0123456789"),
        "\"abcdefghijklmnopqrstuvwxyz...\"");
    assert_string_equal(log_quote(out, 3, "abcdef"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_text),
        cmocka_unit_test(cannot_be_forged),
        cmocka_unit_test(writes_priorities),
        cmocka_unit_test(writes_json),
        cmocka_unit_test(cuts_long_lines),
        cmocka_unit_test(quotes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
