/* SPDX-License-Identifier: Apache-2.0
 *
 * batch_test.c - the JSONL protocol: framing, the stages of errors, and a
 * table of what is accepted in entities, contexts, JSON policies and by the
 * validator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/json_write.h"
#include "policy/cedar/batch.h"

#include <stdio.h>
#include <stdlib.h>

#define OUTPUT_MAX ((size_t)1 << 26)

/* Runs the command on the input; the caller frees the output. */
static char *run(struct str input)
{
    FILE *in = tmpfile(), *out = tmpfile();
    assert_non_null(in);
    assert_non_null(out);
    assert_int_equal(fwrite(input.ptr, 1, input.len, in), input.len);
    rewind(in);
    assert_int_equal(cedar_batch_run(in, out), 0);
    long size = ftell(out);
    char *text = calloc(1, (size_t)size + 1);
    assert_non_null(text);
    rewind(out);
    assert_int_equal(fread(text, 1, (size_t)size, out), (size_t)size);
    fclose(in);
    fclose(out);
    return text;
}

static void assert_answers(const char *input, const char *expected)
{
    char *output = run(str_from(input));
    assert_string_equal(output, expected);
    free(output);
}

/* The stage of the error that a line gives; "" when it gives none. */
static void assert_stage(const char *line, const char *stage)
{
    char *output = run(str_from(line));
    char wanted[64];
    snprintf(wanted, sizeof(wanted), "\"stage\":\"%s\"", stage);
    bool found = stage[0] ? strstr(output, wanted) != NULL
                          : strstr(output, "\"stage\"") == NULL;
    if (!found) {
        fail_msg("expected \"%s\" for %s\nbut got %s", stage, line, output);
    }
    free(output);
}

static void the_example_of_the_protocol(void **state)
{
    assert_answers(
        "{\"id\":\"1\",\"policies\":\"permit(principal, action, resource) "
        "when { context.n > 1 };\",\"requests\":[{\"principal\":"
        "\"U::\\\"a\\\"\",\"action\":\"Action::\\\"r\\\"\",\"resource\":"
        "\"D::\\\"d\\\"\",\"context\":{\"n\":2}},{\"principal\":"
        "\"U::\\\"a\\\"\",\"action\":\"Action::\\\"r\\\"\",\"resource\":"
        "\"D::\\\"d\\\"\"}]}\n",
        "{\"id\":\"1\",\"results\":[{\"decision\":\"allow\",\"reason\":"
        "[\"policy0\"],\"errors\":[]},{\"decision\":\"deny\",\"reason\":[],"
        "\"errors\":[\"policy0\"]}]}\n");
    assert_stage(
        "{\"id\":\"2\",\"policies\":\"permit(\",\"requests\":[]}", "policies");
}

static void blank_lines_get_no_answer_and_a_last_line_needs_no_end(void **state)
{
    assert_answers("", "");
    assert_answers("\n \t\r\n\n", "");
    assert_answers("\n{\"id\":\"a\",\"policies\":\"\",\"requests\":[]}\r\n"
                   "\n{\"id\":\"b\",\"policies\":\"\",\"requests\":[]}",
        "{\"id\":\"a\",\"results\":[]}\n{\"id\":\"b\",\"results\":[]}\n");
}

static void long_lines_are_taken_up_to_16_mib(void **state)
{
    static const char head[] = "{\"id\":\"a\",\"requests\":[],\"policies\":\"";
    static const char tail[] = "\"}";
    for (int extra = 0; extra < 2; extra++) {
        struct buf line;
        buf_init(&line, OUTPUT_MAX);
        buf_append_str(&line, STR(head));
        while (line.len <
               CEDAR_BATCH_LINE_MAX - sizeof(tail) + 1 + (size_t)extra) {
            buf_append_char(&line, ' ');
        }
        buf_append_str(&line, STR(tail));
        buf_append_str(
            &line, STR("\n{\"id\":\"b\",\"policies\":\"\",\"requests\":[]}\n"));
        char *output = run(buf_str(&line));
        if (extra == 0) {
            assert_string_equal(output, "{\"id\":\"a\",\"results\":[]}\n"
                                        "{\"id\":\"b\",\"results\":[]}\n");
        } else {
            assert_non_null(strstr(output, "{\"id\":null,\"error\":"));
            assert_non_null(
                strstr(output, "\n{\"id\":\"b\",\"results\":[]}\n"));
        }
        free(output);
        buf_fini(&line);
    }
}

static void wrong_lines(void **state)
{
    static const char *const lines[] = {
        "x",
        "[]",
        "1",
        "\"a\"",
        "{}",
        "{\"id\":1,\"policies\":\"\",\"requests\":[]}",
        "{\"policies\":\"\",\"requests\":[]}",
        "{\"id\":\"a\",\"requests\":[]}",
        "{\"id\":\"a\",\"policies\":\"\"}",
        "{\"id\":\"a\",\"policies\":\"\",\"validate\":false}",
        "{\"id\":\"a\",\"policies\":\"\",\"validate\":true}",
        "{\"id\":\"a\",\"policies\":\"\",\"validate\":true,\"schema\":null}",
        "{\"id\":\"a\",\"policies\":\"\",\"validate\":1,\"requests\":[]}",
        "{\"id\":\"a\",\"policies\":[],\"requests\":[]}",
        "{\"id\":\"a\",\"policies\":null,\"requests\":[]}",
        "{\"id\":\"a\",\"policies\":\"\",\"requests\":{}}",
        "{\"id\":\"a\",\"policies\":\"\",\"requests\":null}",
        "{\"id\":\"a\",\"policies\":\"\",\"requests\":[],\"entities\":{}}",
        "{\"id\":\"a\",\"policies\":\"\",\"requests\":[],\"entities\":null}",
        "{\"id\":\"a\",\"policies\":\"\",\"requests\":[],\"links\":{}}",
        "{\"id\":\"a\",\"policies\":\"\",\"requests\":[],\"schema\":[]}",
        "{\"id\":\"a\",\"policies\":\"\",\"requests\":[],\"x\":1}",
        "{\"id\":\"a\",\"id\":\"b\",\"policies\":\"\",\"requests\":[]}",
        "{\"id\":\"a\",\"policies\":\"\",\"requests\":[]} x",
        "{\"id\":\"a\",\"policies\":\"\",\"requests\":[}",
        "{\"id\":\"\\ud800\",\"policies\":\"\",\"requests\":[]}",
        "{\"id\":\"\xff\",\"policies\":\"\",\"requests\":[]}",
        "\xef\xbb\xbf{\"id\":\"a\",\"policies\":\"\",\"requests\":[]}",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        assert_stage(lines[i], "line");
    }
    assert_answers("{\"id\":\"\\u0041\",\"policies\":\"\",\"requests\":[]}\n",
        "{\"id\":\"\\u0041\",\"results\":[]}\n");
}

static void stages_come_in_order(void **state)
{
#define BAD_ENTITIES "\"entities\":[1],"
#define BAD_SCHEMA "\"schema\":\"x\","
    assert_stage("{\"id\":\"a\"," BAD_ENTITIES BAD_SCHEMA
                 "\"policies\":\"x\",\"requests\":[]}",
        "policies");
    assert_stage("{\"id\":\"a\"," BAD_ENTITIES BAD_SCHEMA
                 "\"policies\":\"\",\"requests\":[]}",
        "schema");
    assert_stage("{\"id\":\"a\"," BAD_ENTITIES
                 "\"policies\":\"\",\"requests\":[]}",
        "entities");
    assert_stage("{\"id\":\"a\"," BAD_ENTITIES
                 "\"policies\":\"\",\"schema\":\"\",\"validate\":true}",
        "");
    assert_stage("{\"id\":\"a\"," BAD_SCHEMA
                 "\"policies\":\"\",\"requests\":[]}",
        "schema");
    assert_stage(
        "{\"id\":\"a\",\"policies\":\"\",\"requests\":[1]}", "request");
    assert_stage("{\"id\":\"a\",\"policies\":\"\",\"requests\":[],"
                 "\"links\":[{\"templateId\":\"t\",\"newId\":\"n\","
                 "\"values\":{}}]}",
        "policies");
}

/* The JSON reader refuses a document as a whole; the protocol does not. */
static void duplicates_and_depth_are_errors_in_their_place(void **state)
{
    assert_stage("{\"id\":\"a\",\"policies\":{\"staticPolicies\":{},"
                 "\"staticPolicies\":{}},\"requests\":[]}",
        "policies");
    assert_stage("{\"id\":\"a\",\"policies\":\"\",\"requests\":[],"
                 "\"schema\":{\"\":{\"entityTypes\":{},\"entityTypes\":{},"
                 "\"actions\":{}}}}",
        "schema");
    assert_stage("{\"id\":\"a\",\"policies\":\"\",\"requests\":[],"
                 "\"entities\":[{\"uid\":{\"type\":\"U\",\"id\":\"a\"},"
                 "\"attrs\":{\"a\":1,\"\\u0061\":1},\"parents\":[]}]}",
        "entities");
    assert_answers(
        "{\"id\":\"a\",\"policies\":\"permit(principal,action,resource);\","
        "\"requests\":[{\"principal\":\"U::\\\"]},{\\\"\",\"action\":"
        "\"Action::\\\"a\\\"\",\"resource\":\"U::\\\"a\\\"\"},"
        "{\"principal\":\"U::\\\"a\\\"\",\"action\":\"Action::\\\"a\\\"\","
        "\"resource\":\"U::\\\"a\\\"\",\"context\":{\"x\":1,\"x\":2}}]}\n",
        "{\"id\":\"a\",\"results\":[{\"decision\":\"allow\",\"reason\":"
        "[\"policy0\"],\"errors\":[]},{\"error\":{\"stage\":\"request\","
        "\"message\":\"a request has to be an object, not null\"}}]}\n");
    struct buf line;
    buf_init(&line, OUTPUT_MAX);
    buf_append_str(
        &line, STR("{\"id\":\"a\",\"policies\":\"\",\"requests\":[{\"context\":"
                   "{\"x\":"));
    for (int i = 0; i < 100000; i++) {
        buf_append_char(&line, '[');
    }
    for (int i = 0; i < 100000; i++) {
        buf_append_char(&line, ']');
    }
    buf_append_str(&line, STR("}}]}"));
    assert_stage(buf_cstr(&line), "request");
    buf_fini(&line);
}

/* --- What is accepted --- */

enum part { ENTITIES, POLICIES, VALIDATE, REQUEST };

static const char *const schemas[] = {
#define SCHEMAS
#include "tests/unit/policy/cedar/batch_cases.tbl.h"
#undef SCHEMAS
};

static const struct {
    enum part part;
    int schema;
    bool ok;
    const char *text;
} cases[] = {
#include "tests/unit/policy/cedar/batch_cases.tbl.h"
};

static void make_line(struct buf *line, size_t i)
{
    buf_append_str(line, STR("{\"id\":\"x\""));
    if (cases[i].schema >= 0) {
        buf_append_str(line, STR(",\"schema\":"));
        json_quote(line, str_from(schemas[cases[i].schema]));
    }
    switch (cases[i].part) {
    case ENTITIES:
        buf_append_str(line, STR(",\"policies\":\"\",\"requests\":[]"));
        buf_printf(line, ",\"entities\":%s}\n", cases[i].text);
        break;
    case POLICIES:
        buf_append_str(line, STR(",\"requests\":[]"));
        buf_printf(line, ",\"policies\":%s}\n", cases[i].text);
        break;
    case VALIDATE:
        buf_append_str(line, STR(",\"validate\":true"));
        buf_printf(line, ",\"policies\":%s}\n", cases[i].text);
        break;
    case REQUEST:
        buf_append_str(line, STR(",\"policies\":\"\""));
        buf_printf(line, ",\"requests\":[%s]}\n", cases[i].text);
        break;
    }
}

static void accepts_what_cedar_accepts(void **state)
{
    struct buf input;
    size_t count = sizeof(cases) / sizeof(cases[0]);
    buf_init(&input, OUTPUT_MAX);
    for (size_t i = 0; i < count; i++) {
        make_line(&input, i);
    }
    char *output = run(buf_str(&input));
    char *at = output;
    for (size_t i = 0; i < count; i++) {
        char *end = strchr(at, '\n');
        assert_non_null(end);
        *end = '\0';
        bool ok = !strstr(at, "\"error\"") && !strstr(at, "\"valid\":false");
        if (ok != cases[i].ok) {
            fail_msg(
                "%s: %s\n%s", ok ? "accepted" : "refused", cases[i].text, at);
        }
        at = end + 1;
    }
    free(output);
    buf_fini(&input);
}

/* 64 bits and not 53. */
static void integers_are_exact(void **state)
{
#define BIG(n)                                                                 \
    "{\"id\":\"a\",\"policies\":\"permit(principal,action,resource) when { "   \
    "context.n == " n " };\",\"requests\":[{\"principal\":\"U::\\\"a\\\"\","   \
    "\"action\":\"Action::\\\"a\\\"\",\"resource\":\"U::\\\"a\\\"\","          \
    "\"context\":{\"n\":" n "}}]}\n"
#define ALLOWED                                                                \
    "{\"id\":\"a\",\"results\":[{\"decision\":\"allow\",\"reason\":"           \
    "[\"policy0\"],\"errors\":[]}]}\n"
    assert_answers(BIG("9007199254740993"), ALLOWED);
    assert_answers(BIG("9223372036854775807"), ALLOWED);
    assert_answers(BIG("-9223372036854775808"), ALLOWED);
    static const char *const refused[] = {
        "9223372036854775808", "1.0", "1e2", "0.5", "null"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        char line[512];
        snprintf(line, sizeof(line),
            "{\"id\":\"a\",\"policies\":\"\",\"requests\":[{\"principal\":"
            "\"U::\\\"a\\\"\",\"action\":\"Action::\\\"a\\\"\",\"resource\":"
            "\"U::\\\"a\\\"\",\"context\":{\"n\":%s}}]}",
            refused[i]);
        assert_stage(line, "request");
    }
}

/* Levels of nesting that have to be accepted: 100 in each kind of thing. */
static void hundred_levels_are_accepted(void **state)
{
    static const struct {
        const char *head, *open, *middle, *close, *tail;
    } rows[] = {
        {"\"policies\":\"permit(principal,action,resource) when { ", "(",
            "true", ")", " };\""},
        {"\"policies\":\"permit(principal,action,resource) when { ", "[", "1",
            "]", ".isEmpty() };\""},
        {"\"policies\":\"permit(principal,action,resource) when { ",
            "if true then ", "true", " else false", " };\""},
        {"\"policies\":{\"staticPolicies\":{\"p\":{\"effect\":\"permit\","
         "\"principal\":{\"op\":\"All\"},\"action\":{\"op\":\"All\"},"
         "\"resource\":{\"op\":\"All\"},\"conditions\":[{\"kind\":\"when\","
         "\"body\":",
            "{\"!\":{\"arg\":", "{\"Value\":true}", "}}", "}]}}}"},
        {"\"policies\":\"\",\"entities\":[{\"uid\":{\"type\":\"U\",\"id\":"
         "\"a\"},\"parents\":[],\"attrs\":{\"a\":",
            "[{\"a\":", "1", "}]", "}}]"},
        {"\"policies\":\"\",\"schema\":\"entity A {a: ", "Set<", "Long", ">",
            "};\""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf line;
        buf_init(&line, OUTPUT_MAX);
        buf_append_str(&line, STR("{\"id\":\"a\",\"requests\":[],"));
        buf_append_str(&line, str_from(rows[i].head));
        for (int k = 0; k < 100; k++) {
            buf_append_str(&line, str_from(rows[i].open));
        }
        buf_append_str(&line, str_from(rows[i].middle));
        for (int k = 0; k < 100; k++) {
            buf_append_str(&line, str_from(rows[i].close));
        }
        buf_append_str(&line, str_from(rows[i].tail));
        buf_append_char(&line, '}');
        assert_stage(buf_cstr(&line), "");
        buf_fini(&line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_the_protocol),
        cmocka_unit_test(
            blank_lines_get_no_answer_and_a_last_line_needs_no_end),
        cmocka_unit_test(long_lines_are_taken_up_to_16_mib),
        cmocka_unit_test(wrong_lines),
        cmocka_unit_test(stages_come_in_order),
        cmocka_unit_test(duplicates_and_depth_are_errors_in_their_place),
        cmocka_unit_test(accepts_what_cedar_accepts),
        cmocka_unit_test(integers_are_exact),
        cmocka_unit_test(hundred_levels_are_accepted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
