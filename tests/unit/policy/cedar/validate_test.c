/* SPDX-License-Identifier: Apache-2.0
 *
 * validate_test.c - the strict validator: where it points, what it says, and
 * that it keeps within its limits. Verdicts in bulk: batch_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "policy/cedar/validate.h"

#include <stdio.h>

static const char schema_text[] =
    "entity Team;\n"
    "entity Caller in [Team] = { name: String, age?: Long, boss?: Caller,\n"
    "  limit?: decimal, ips: Set<ipaddr> } tags String;\n"
    "entity Model = { owner: Caller, public: Bool };\n"
    "entity Level enum [\"low\", \"high\"];\n"
    "action read;\n"
    "action chat, embed in read appliesTo { principal: Caller,\n"
    "  resource: Model, context: { now: datetime, hour: Long, team?: Team } "
    "};\n";

static enum err validate(
    const char *schema_source, const char *text, struct cedar_diagnostics *out)
{
    struct cedar_schema *schema = NULL;
    struct cedar_policies *policies = NULL;
    assert_int_equal(
        cedar_schema_parse(str_from(schema_source), NULL, &schema), ERR_OK);
    struct cedar_diagnostics errors = {0};
    if (cedar_policies_parse(str_from(text), &errors, &policies) != ERR_OK) {
        fail_msg("does not parse: %s: %s", text, errors.items[0].text);
    }
    enum err err = cedar_validate(policies, schema, str_from(text), out);
    cedar_policies_free(&policies);
    cedar_schema_free(&schema);
    return err;
}

#define WHEN "permit(principal, action, resource)\nwhen { "

/* Text, and the first finding as "line:column: words"; NULL: none at all. */
static const struct {
    const char *text;
    const char *finding;
} rows[] = {
    {WHEN "principal.name like \"a*\" };", NULL},
    {WHEN "principal.nmae like \"a*\" };",
        "2:18: `Caller` has no attribute `nmae`; is `name` meant?"},
    {WHEN "context.hoour > 8 };",
        "2:16: this record has no attribute `hoour`; is `hour` meant?"},
    {WHEN "principal.age > 18 };",
        "2:18: the attribute `age` is optional: ask for it first, with "
        "`principal has age && ..`"},
    {WHEN "principal has age && principal.age > 18 };", NULL},
    {WHEN "principal has boss.age && principal.boss.age > 18 };", NULL},
    {WHEN "principal has boss && principal.boss.age > 18 };",
        "2:45: the attribute `age` is optional: ask for it first, with "
        "`principal.boss has age && ..`"},
    {WHEN "principal.getTag(\"x\") == \"y\" };",
        "2:18: the tag may be missing: ask for it first, with "
        "`principal.hasTag(\"x\") && ..`"},
    {WHEN "principal.hasTag(\"x\") && principal.getTag(\"x\") == \"y\" };",
        NULL},
    {WHEN "resource.getTag(\"x\") == \"y\" };",
        "2:17: entities of the type `Model` have no tags"},
    {WHEN "context.hour > \"8\" };",
        "2:23: only Long, datetime and duration have an order, but `\"8\"` is "
        "of type String"},
    {WHEN "context.now > context.hour };",
        "2:20: both sides of a comparison have to be of one type, not "
        "datetime and Long"},
    {WHEN "context.hour == \"8\" };",
        "2:21: both sides of a comparison have to be of one type, not Long "
        "and String"},
    {WHEN "context.hour };",
        "2:8: expected a condition (Bool), but `context.hour` is of type "
        "Long"},
    {WHEN "principal.ips.contains(\"10.0.0.1\") };",
        "2:22: the set's elements and what is looked for have to be of one "
        "type, not ipaddr and String"},
    {WHEN "ip(\"10.0.0\").isIpv4() };",
        "2:11: ip: not an IP address or range such as \"10.0.0.1\", "
        "\"10.0.0.0/8\" or \"fe80::/10\""},
    {WHEN "decimal(principal.name).lessThan(decimal(\"1.0\")) };",
        "2:16: decimal(..) takes a text in double quotes, not something "
        "computed"},
    {WHEN "principal in Taem::\"x\" };",
        "2:21: the schema declares no entity type `Taem`; is `Team` meant?"},
    {WHEN "principal == Level::\"hihg\" };",
        "2:21: `Level` is an enumeration, and \"hihg\" is not one of its ids; "
        "is \"high\" meant?"},
    {WHEN "action == Action::\"caht\" };",
        "2:18: the schema declares no action Action::\"caht\"; is \"chat\" "
        "meant?"},
    {WHEN "[] == [] };", "2:8: an empty set has no type and cannot stand "
                         "here; to ask whether a set is empty write "
                         "x.isEmpty()"},
    {WHEN "[1, \"a\"].contains(1) };",
        "2:8: the elements of a set have to be of one type, not Long and "
        "String"},
    {"permit(principal, action in [], resource);",
        "1:19: `action in []` fits no action; name one at least, or leave out "
        "the list to mean all actions"},
    {"permit(principal is Model, action, resource);",
        "1:1: this policy can never apply: no action, principal and resource "
        "of the schema satisfy its scope and conditions"},
    {"permit(principal, action == Action::\"read\", resource);",
        "1:1: this policy can never apply: no action, principal and resource "
        "of the schema satisfy its scope and conditions"},
    {"// \xc3\xbc\n\npermit(principal,\n  action, resource)\nunless { "
     "resource.owner.name == 1 };",
        "5:30: both sides of a comparison have to be of one type, not String "
        "and Long"},
};

static void points_at_the_place_and_says_what(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cedar_diagnostics findings = {0};
        char first[1024] = "";
        assert_int_equal(
            validate(schema_text, rows[i].text, &findings), ERR_OK);
        if (findings.count > 0) {
            snprintf(first, sizeof(first), "%d:%d: %s", findings.items[0].line,
                findings.items[0].column, findings.items[0].text);
        }
        const char *wanted = rows[i].finding ? rows[i].finding : "";
        if (!str_equal(str_from(first), str_from(wanted))) {
            fail_msg(
                "%s\nexpected %s\nbut got  %s", rows[i].text, wanted, first);
        }
        cedar_diagnostics_fini(&findings);
    }
}

static void impossible_policies_are_warnings(void **state)
{
    struct cedar_diagnostics findings = {0};
    assert_int_equal(validate(schema_text, WHEN "false };", &findings), ERR_OK);
    assert_int_equal(findings.errors, 0);
    assert_int_equal(findings.count, 1);
    assert_int_equal(findings.items[0].severity, CEDAR_WARNING);
    cedar_diagnostics_fini(&findings);
}

static void an_error_is_said_once_for_all_environments(void **state)
{
    struct cedar_diagnostics findings = {0};
    assert_int_equal(
        validate(schema_text, WHEN "context.zz && principal.zz };", &findings),
        ERR_OK);
    assert_int_equal(findings.count, 2);
    cedar_diagnostics_fini(&findings);
}

/* 200 actions x 50 x 50 types, and conditions that need few of them. */
static void many_environments_take_little_time(void **state)
{
    struct buf schema;
    buf_init(&schema, 1u << 20);
    for (int i = 0; i < 50; i++) {
        buf_printf(&schema, "entity P%d { a: Long }; entity R%d;", i, i);
    }
    for (int i = 0; i < 200; i++) {
        buf_printf(&schema, "action a%d appliesTo { principal: [P0", i);
        for (int k = 1; k < 50; k++) {
            buf_printf(&schema, ", P%d", k);
        }
        buf_append_str(&schema, STR("], resource: [R0"));
        for (int k = 1; k < 50; k++) {
            buf_printf(&schema, ", R%d", k);
        }
        buf_append_str(&schema, STR("] };"));
    }
    struct cedar_diagnostics findings = {0};
    assert_int_equal(
        validate(buf_cstr(&schema),
            WHEN "principal.a > 1 };" WHEN "resource is R7 };" WHEN "true };",
            &findings),
        ERR_OK);
    assert_int_equal(findings.count, 0);
    cedar_diagnostics_fini(&findings);
    buf_fini(&schema);
}

/* Each side knows 2,000 things; they are compared with one another. */
static void long_chains_of_guards_end(void **state)
{
    struct buf text;
    buf_init(&text, 1u << 22);
    buf_append_str(&text, STR(WHEN));
    for (int i = 0; i < 2000; i++) {
        buf_printf(&text, "principal.hasTag(\"%d\") && ", i);
    }
    buf_append_str(&text, STR("principal.getTag(\"0\") == \"\" || "));
    for (int i = 0; i < 2000; i++) {
        buf_printf(&text, "principal.hasTag(\"%d\") && ", i + 1000);
    }
    buf_append_str(&text, STR("true };"));
    struct cedar_diagnostics findings = {0};
    assert_int_equal(validate(schema_text, buf_cstr(&text), &findings), ERR_OK);
    assert_int_equal(findings.count, 0);
    cedar_diagnostics_fini(&findings);
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_at_the_place_and_says_what),
        cmocka_unit_test(impossible_policies_are_warnings),
        cmocka_unit_test(an_error_is_said_once_for_all_environments),
        cmocka_unit_test(many_environments_take_little_time),
        cmocka_unit_test(long_chains_of_guards_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
