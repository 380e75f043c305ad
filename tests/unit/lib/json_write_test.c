/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of lib/json_write. */
#include "lib/json_write.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void writes_nested_values(void **state)
{
    struct buf out;
    struct json_writer w;

    buf_init(&out, 4096);
    buf_append(&out, "x", 1); /* a document need not stand at the start */
    json_write_init(&w, &out);
    json_write_object(&w);
    json_write_key(&w, STR("a"));
    json_write_array(&w);
    json_write_int(&w, 1);
    json_write_bool(&w, true);
    json_write_null(&w);
    json_write_object(&w);
    json_write_object_end(&w);
    json_write_array(&w);
    json_write_array_end(&w);
    json_write_raw(&w, STR("{\"r\":0}"));
    json_write_array_end(&w);
    json_write_member_bool(&w, STR("aa"), false);
    json_write_member_int(&w, STR("b"), -JSON_INTEGER_MAX);
    json_write_member_string(&w, STR("c"), STR("d\"e"));
    json_write_object_end(&w);
    assert_false(out.failed);
    assert_string_equal(buf_cstr(&out),
        "x{\"a\":[1,true,null,{},[],{\"r\":0}],\"aa\":false,"
        "\"b\":-9007199254740991,\"c\":\"d\\\"e\"}");
    buf_fini(&out);
}

static void quotes_as_rfc_8785(void **state)
{
    static const struct {
        struct str in;
        const char *out;
    } rows[] = {
        {STR_INIT(""), "\"\""},
        {STR_INIT("\b\t\n\f\r\"\\/"), "\"\\b\\t\\n\\f\\r\\\"\\\\/\""},
        {STR_INIT("\x01\x1f\x7f"), "\"\\u0001\\u001f\x7f\""},
        {STR_INIT("a\0b"), "\"a\\u0000b\""},
        {STR_INIT("\xe2\x82\xac\xe2\x80\xa8\xf0\x9f\x98\x80"),
            "\"\xe2\x82\xac\xe2\x80\xa8\xf0\x9f\x98\x80\""},
        {STR_INIT("a\xff"
                  "b"),
            "\"a\xef\xbf\xbd"
            "b\""},
        {STR_INIT("\xe2\x82"), "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {STR_INIT("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf out;
        buf_init(&out, 256);
        json_quote(&out, rows[i].in);
        assert_string_equal(buf_cstr(&out), rows[i].out);
        buf_fini(&out);
    }
}

static void growing_past_the_ceiling_shows(void **state)
{
    struct buf out;
    struct json_writer w;

    buf_init(&out, 8);
    json_write_init(&w, &out);
    json_write_object(&w);
    json_write_member_string(&w, STR("a"), STR("much too long for it"));
    json_write_member_int(&w, STR("b"), 1);
    json_write_object_end(&w);
    assert_true(out.failed);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_nested_values),
        cmocka_unit_test(quotes_as_rfc_8785),
        cmocka_unit_test(growing_past_the_ceiling_shows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
