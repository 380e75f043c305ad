/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of policy/cedar's formatter. */
#include "policy/cedar/format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void check(const char *text, const char *wanted)
{
    struct buf once, twice;
    buf_init(&once, 1 << 20);
    buf_init(&twice, 1 << 20);
    assert_int_equal(cedar_format(str_from(text), NULL, &once), ERR_OK);
    assert_string_equal(buf_cstr(&once), wanted);
    assert_int_equal(cedar_format(buf_str(&once), NULL, &twice), ERR_OK);
    assert_string_equal(buf_cstr(&twice), wanted);
    buf_fini(&once);
    buf_fini(&twice);
}

static void test_layout(void **state)
{
    check("", "");
    check("permit(principal,action,resource);",
        "permit (principal, action, resource);\n");
    check("@a(\"x\")@b permit(principal,action,resource)when{1<2}unless{!true}"
          ";forbid(principal is U in G::\"g\",action in [Action::\"a\"],"
          "resource==?resource,);",
        "@a(\"x\")\n@b\npermit (principal, action, resource)\n"
        "when { 1 < 2 }\nunless { !true };\n\n"
        "forbid (\n  principal is U in G::\"g\",\n  action in "
        "[Action::\"a\"],\n  resource == ?resource\n);\n");
    check(
        "permit(principal,action,resource) when { context.aaaaaaaaaaaaaaaaaaa "
        "== 1 && (context.bbbbbbbbbbbbbbbbbbbbbbbbb || context.c) && "
        "context.dddddddddddddd };",
        "permit (principal, action, resource)\nwhen {\n"
        "  context.aaaaaaaaaaaaaaaaaaa == 1 &&\n"
        "  (context.bbbbbbbbbbbbbbbbbbbbbbbbb || context.c) &&\n"
        "  context.dddddddddddddd\n};\n");
}

static void test_comments(void **state)
{
    check("// only a comment", "// only a comment\n");
    check("// one\n\n\n//two\npermit(principal,action,resource);// same line\n"
          "// next\nforbid(principal,action,resource); // end  \n\n// last",
        "// one\n\n//two\npermit (principal, action, resource); // same line\n"
        "\n// next\nforbid (principal, action, resource); // end\n\n// last\n");
    check("// of the file\n// all\n\n\n@id(\"a\") permit(principal,action,"
          "resource);\n// apart\n\nforbid(principal,action,resource);\n",
        "// of the file\n// all\n\n@id(\"a\")\npermit (principal, action, "
        "resource);\n\n// apart\n\nforbid (principal, action, resource);\n");
    check("permit(principal, // who\n action,resource);"
          "permit(principal,action,resource) when { \"// no\" == \"\" };",
        "permit(principal, // who\n action,resource);\n\n"
        "permit (principal, action, resource)\nwhen { \"// no\" == \"\" };\n");
    check("permit(principal,action,resource); // a\r// b\r\n",
        "permit (principal, action, resource); // a\n// b\n");
}

static void test_refusal(void **state)
{
    struct buf out;
    struct cedar_diagnostics diagnostics = {0};
    buf_init(&out, 1000);
    assert_int_equal(
        cedar_format(STR("permit("), &diagnostics, &out), ERR_SYNTAX);
    assert_int_equal(out.len, 0);
    assert_int_equal(diagnostics.count, 1);
    cedar_diagnostics_fini(&diagnostics);
    buf_fini(&out);
    buf_init(&out, 10);
    assert_int_equal(
        cedar_format(STR("permit(principal,action,resource);"), NULL, &out),
        ERR_NOMEM);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_comments),
        cmocka_unit_test(test_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
