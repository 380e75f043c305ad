/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of policy/cedar's evaluator and authorizer. */
#include "policy/cedar/ast.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/policy/cedar/eval_tables.h"

#define UID(type, id) cedar_uid_make(STR(type), STR(id))

static struct arena *arena;
static struct cedar_entities *entities;
static struct cedar_scratch *scratch;
static struct cedar_uid alice, photo, list;
static struct cedar_request request;

static struct cedar_value text(const char *s)
{
    return cedar_string(str_from(s));
}

static struct cedar_value reference(const char *type, const char *id)
{
    struct cedar_uid uid = cedar_uid_make(str_from(type), str_from(id));
    return cedar_entity(cedar_uid_copy(arena, &uid));
}

static const struct cedar_record *record(struct arena *in, size_t count,
    const char *const *names, const struct cedar_value *values)
{
    struct cedar_field *fields = ARENA_ARRAY(in, count, struct cedar_field);
    assert_non_null(fields);
    for (size_t i = 0; i < count; i++) {
        fields[i].key = cedar_key_make(str_from(names[i]));
        fields[i].value = values[i];
    }
    struct cedar_value made;
    assert_int_equal(cedar_record_make(in, fields, count, &made), ERR_OK);
    return made.record;
}

static void add(struct cedar_entities_builder *b, struct cedar_uid uid,
    const struct cedar_uid *parents, size_t count,
    const struct cedar_record *attributes, const struct cedar_record *tags)
{
    struct errinfo info;
    assert_int_equal(cedar_entities_builder_add(
                         b, &uid, parents, count, attributes, tags, &info),
        ERR_OK);
}

static int set_up(void **state)
{
    arena = arena_new(4096, 0);
    struct cedar_entities_builder *b;
    assert_int_equal(cedar_entities_builder_new(&b), ERR_OK);
    struct arena *in = cedar_entities_builder_arena(b);
    struct cedar_uid staff = UID("Group", "staff");
    struct cedar_uid above[] = {UID("Group", "all"), UID("Group", "absent")};
    struct cedar_uid read = UID("Action", "read");
    alice = UID("User", "alice");
    photo = UID("Photo", "p");
    list = UID("Action", "list");
    struct cedar_value city = text("Bern");
    const struct cedar_record *address =
        record(in, 1, (const char *[]){"city"}, &city);
    add(b, alice, &staff, 1,
        record(in, 3, (const char *[]){"name", "address", "manager"},
            (struct cedar_value[]){text("Alice"), cedar_record_value(address),
                reference("User", "bob")}),
        record(in, 1, (const char *[]){"color"},
            (struct cedar_value[]){text("red")}));
    add(b, UID("User", "bob"), NULL, 0,
        record(in, 1, (const char *[]){"name"},
            (struct cedar_value[]){text("Bob")}),
        NULL);
    add(b, staff, above, 2, NULL, NULL);
    add(b, above[0], NULL, 0, NULL, NULL);
    add(b, list, &read, 1, NULL, NULL);
    struct errinfo info;
    assert_int_equal(
        cedar_entities_builder_finish(&b, &entities, &info), ERR_OK);
    assert_int_equal(cedar_scratch_new(&scratch), ERR_OK);
    static struct cedar_ip ip = {{10, 1, 2, 3}, 4, 32};
    struct cedar_value groups;
    struct cedar_value members[] = {
        reference("Group", "all"), reference("Group", "other")};
    assert_int_equal(cedar_set_make(arena, members, 2, &groups), ERR_OK);
    request = (struct cedar_request){&alice, &list, &photo,
        record(arena, 4, (const char *[]){"one", "word", "groups", "ip"},
            (struct cedar_value[]){
                cedar_long(1), text("nothing"), groups, cedar_ip(&ip)})};
    return 0;
}

static int tear_down(void **state)
{
    cedar_entities_free(&entities);
    cedar_scratch_free(&scratch);
    arena_free(&arena);
    return 0;
}

static struct cedar_policies *parse(const char *policies)
{
    struct cedar_diagnostics diagnostics = {0};
    struct cedar_policies *set;
    if (cedar_policies_parse(str_from(policies), &diagnostics, &set) != ERR_OK)
        fail_msg("%s: %s", policies, diagnostics.items[0].text);
    return set;
}

static struct cedar_answer decide(const struct cedar_policies *policies)
{
    struct cedar_answer answer;
    assert_int_equal(
        cedar_authorize(policies, entities, &request, scratch, &answer),
        ERR_OK);
    return answer;
}

static void check_row(const struct eval_row *row)
{
    struct buf policy, words;
    buf_init(&policy, 1 << 16);
    buf_init(&words, 1 << 16);
    buf_printf(&policy,
        "permit(principal, action, resource) when { (%s) == (%s) };",
        row->expression, row->value ? row->value : "1");
    struct cedar_policies *set = parse(buf_cstr(&policy));
    struct cedar_answer answer = decide(set);
    if (answer.failure_count)
        cedar_failure_print(&words, set, &answer.failures[0]);
    bool right =
        row->value ? answer.decision == CEDAR_ALLOW : answer.failure_count == 1;
    if (!right)
        fail_msg("%s gives %s %s", row->expression,
            answer.failure_count ? "a failure:" : "something else",
            buf_cstr(&words));
    if (answer.failure_count)
        assert_non_null(strstr(buf_cstr(&words), "(at 1:"));
    cedar_policies_free(&set);
    buf_fini(&policy);
    buf_fini(&words);
}

static void test_table(void **state)
{
    for (size_t i = 0; i < sizeof eval_rows / sizeof eval_rows[0]; i++)
        check_row(&eval_rows[i]);
}

/* Each expression is asked for with && and || around it too, so that a value
 * of another kind than Bool is told from a false one. */
static void test_conditions(void **state)
{
    static const struct {
        const char *conditions;
        int allowed, failures;
    } rows[] = {
        {"", 1, 0},
        {"when { true }", 1, 0},
        {"when { false }", 0, 0},
        {"when { 1 }", 0, 1},
        {"unless { 1 }", 0, 1},
        {"unless { true }", 0, 0},
        {"unless { false }", 1, 0},
        {"when { true } unless { false } when { true }", 1, 0},
        {"when { false } when { context.nothing }", 0, 0},
        {"unless { true } when { context.nothing }", 0, 0},
        {"when { true } when { context.nothing }", 0, 1},
        {"when { context.nothing } when { false }", 0, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf policy;
        buf_init(&policy, 1 << 16);
        buf_printf(&policy, "permit(principal, action, resource) %s;",
            rows[i].conditions);
        struct cedar_policies *set = parse(buf_cstr(&policy));
        struct cedar_answer answer = decide(set);
        if (answer.decision != (enum cedar_decision)rows[i].allowed ||
            answer.failure_count != (size_t)rows[i].failures)
            fail_msg("%s", rows[i].conditions);
        cedar_policies_free(&set);
        buf_fini(&policy);
    }
}

static void test_scopes(void **state)
{
    static const struct {
        const char *scope;
        bool holds;
    } rows[] = {
        {"principal, action, resource", true},
        {"principal == User::\"alice\", action, resource", true},
        {"principal == User::\"bob\", action, resource", false},
        {"principal == Group::\"all\", action, resource", false},
        {"principal in User::\"alice\", action, resource", true},
        {"principal in Group::\"staff\", action, resource", true},
        {"principal in Group::\"all\", action, resource", true},
        {"principal in Group::\"absent\", action, resource", true},
        {"principal in Group::\"other\", action, resource", false},
        {"principal is User, action, resource", true},
        {"principal is Group, action, resource", false},
        {"principal is User in Group::\"all\", action, resource", true},
        {"principal is User in Group::\"x\", action, resource", false},
        {"principal is Group in Group::\"all\", action, resource", false},
        {"principal, action == Action::\"list\", resource", true},
        {"principal, action == Action::\"read\", resource", false},
        {"principal, action in Action::\"read\", resource", true},
        {"principal, action in [], resource", false},
        {"principal, action in [Action::\"x\"], resource", false},
        {"principal, action in [Action::\"x\", Action::\"read\"], resource",
            true},
        {"principal, action in [Action::\"list\", Action::\"read\", "
         "Action::\"read\"], resource",
            true},
        {"principal, action, resource == Photo::\"p\"", true},
        {"principal, action, resource == Photo::\"q\"", false},
        {"principal, action, resource in Photo::\"p\"", true},
        {"principal, action, resource in Album::\"a\"", false},
        {"principal, action, resource is Photo", true},
        {"principal, action, resource is Photo in Photo::\"p\"", true},
        {"principal, action, resource is Album in Photo::\"p\"", false},
    };
    size_t count = sizeof rows / sizeof rows[0];
    struct buf all;
    buf_init(&all, 1 << 20);
    for (size_t i = 0; i < count; i++) {
        struct buf one;
        buf_init(&one, 1 << 16);
        buf_printf(&one, "permit(%s);\n", rows[i].scope);
        buf_append_str(&all, buf_str(&one));
        struct cedar_policies *set = parse(buf_cstr(&one));
        if ((decide(set).decision == CEDAR_ALLOW) != rows[i].holds)
            fail_msg("%s", rows[i].scope);
        cedar_policies_free(&set);
        buf_fini(&one);
    }
    /* All together: each that holds is a reason, once, in order. */
    struct cedar_policies *set = parse(buf_cstr(&all));
    struct cedar_answer answer = decide(set);
    size_t at = 0;
    for (size_t i = 0; i < count; i++)
        if (rows[i].holds)
            assert_int_equal(answer.reasons[at++], i);
    assert_int_equal(answer.reason_count, at);
    cedar_policies_free(&set);
    buf_fini(&all);
}

static void test_decisions(void **state)
{
    struct cedar_policies *set = parse("");
    struct cedar_answer answer = decide(set);
    assert_int_equal(answer.decision, CEDAR_DENY);
    assert_int_equal(answer.reason_count, 0);
    cedar_policies_free(&set);

    set = parse("permit(principal, action, resource);"
                "forbid(principal, action, resource) when { false };"
                "forbid(principal, action, resource) when { 1 + true };"
                "permit(principal, action, resource) when { principal.x };"
                "permit(principal, action, resource);"
                "permit(principal == ?principal, action, resource);");
    answer = decide(set);
    assert_int_equal(answer.decision, CEDAR_ALLOW);
    assert_int_equal(answer.reason_count, 2);
    assert_int_equal(answer.reasons[0], 0);
    assert_int_equal(answer.reasons[1], 4);
    assert_int_equal(answer.failure_count, 2);
    assert_int_equal(answer.failures[0].policy, 2);
    assert_int_equal(answer.failures[0].effect, CEDAR_FORBID);
    assert_int_equal(answer.failures[0].code, CEDAR_FAIL_TYPE);
    assert_int_equal(answer.failures[1].policy, 3);
    assert_int_equal(answer.failures[1].effect, CEDAR_PERMIT);
    assert_int_equal(answer.failures[1].code, CEDAR_FAIL_ATTRIBUTE);
    struct buf words;
    buf_init(&words, 4096);
    cedar_failure_print(&words, set, &answer.failures[1]);
    assert_string_equal(
        buf_cstr(&words), "User::\"alice\" has no attribute \"x\" (at 1:185)");
    buf_fini(&words);
    cedar_policies_free(&set);

    set = parse("permit(principal, action, resource);"
                "forbid(principal, action, resource);"
                "forbid(principal, action, resource) unless { false };");
    answer = decide(set);
    assert_int_equal(answer.decision, CEDAR_DENY);
    assert_int_equal(answer.reason_count, 2);
    assert_int_equal(answer.reasons[0], 1);
    assert_int_equal(answer.reasons[1], 2);
    cedar_policies_free(&set);
}

static void test_without_entities(void **state)
{
    struct cedar_policies *set =
        parse("permit(principal in User::\"alice\", action, resource) when {"
              " !(principal has name) && principal.hasTag(\"a\") == false };");
    struct cedar_answer answer;
    assert_int_equal(
        cedar_authorize(set, NULL, &request, scratch, &answer), ERR_OK);
    assert_int_equal(answer.decision, CEDAR_ALLOW);
    struct cedar_request bare = request;
    bare.context = NULL;
    assert_int_equal(
        cedar_authorize(set, NULL, &bare, scratch, &answer), ERR_OK);
    assert_int_equal(answer.decision, CEDAR_ALLOW);
    cedar_policies_free(&set);
}

static void test_step_limit(void **state)
{
    struct cedar_policies *set =
        parse("permit(principal, action, resource) when {"
              " context.one + context.one + context.one == 3 };");
    assert_int_equal(decide(set).decision, CEDAR_ALLOW);
    cedar_scratch_set_steps(scratch, 4);
    struct cedar_answer answer = decide(set);
    assert_int_equal(answer.decision, CEDAR_DENY);
    assert_int_equal(answer.failures[0].code, CEDAR_FAIL_STEPS);
    cedar_scratch_set_steps(scratch, CEDAR_STEPS_DEFAULT);
    cedar_policies_free(&set);
}

/* A literal set deeper than values may be fails, and is no crash. */
static void test_deep_values(void **state)
{
    struct buf policy;
    buf_init(&policy, 1 << 20);
    buf_append_str(&policy,
        STR("permit(principal, action, resource) when { context.one in "));
    for (int i = 0; i < 390; i++)
        buf_append_char(&policy, '[');
    buf_append_str(&policy, STR("context.one"));
    for (int i = 0; i < 390; i++)
        buf_append_char(&policy, ']');
    buf_append_str(&policy, STR(" };"));
    struct cedar_policies *set = parse(buf_cstr(&policy));
    assert_int_equal(decide(set).failure_count, 1);
    cedar_policies_free(&set);
    buf_fini(&policy);
}

/* More attributes of the context than are remembered for a request, asked for
 * by two policies each, some of them not there. */
static void test_many_attributes(void **state)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    struct cedar_field *fields = ARENA_ARRAY(arena, 150, struct cedar_field);
    assert_non_null(fields);
    for (unsigned i = 0; i < 300; i++) {
        unsigned n = i % 150;
        if (i < 150) {
            char *name = arena_printf(arena, "a%u", n);
            fields[n].key = cedar_key_make(str_from(name));
            fields[n].value = cedar_long(n);
        }
        buf_printf(&text,
            "permit(principal, action, resource) when { context.a%u == %u && "
            "context has a%u && !(context has b%u) && {x: 1} has x };\n"
            "forbid(principal, action, resource) when { context.b%u == 1 };\n",
            n, n, n, n, n);
    }
    struct cedar_record context;
    assert_int_equal(cedar_record_init(&context, fields, 150), ERR_OK);
    struct cedar_policies *set = parse(buf_cstr(&text));
    struct cedar_request asked = request;
    asked.context = &context;
    struct cedar_answer answer;
    for (int round = 0; round < 2; round++) {
        assert_int_equal(
            cedar_authorize(set, entities, &asked, scratch, &answer), ERR_OK);
        assert_int_equal(answer.reason_count, 300);
        assert_int_equal(answer.failure_count, 300);
        assert_int_equal(decide(set).reason_count, 0);
    }
    cedar_policies_free(&set);
    buf_fini(&text);
}

/* --- The index against a plain loop ---------------------------------------*/

static unsigned long long seed = 1;

static unsigned draw(unsigned below)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(seed >> 33) % below;
}

static void random_scope(struct buf *out, const char *variable, bool action)
{
    const char *type = action ? "Action" : draw(2) ? "U" : "G";
    unsigned id = draw(8);
    buf_append_str(out, str_from(variable));
    switch (draw(action ? 4 : 5)) {
    case 0:
        break;
    case 1:
        buf_printf(out, " == %s::\"%u\"", type, id);
        break;
    case 2:
        buf_printf(out, " in %s::\"%u\"", type, id);
        break;
    case 3:
        if (!action) {
            buf_printf(out, " is %s", type);
            break;
        }
        buf_append_str(out, STR(" in ["));
        for (unsigned n = draw(4); n > 0; n--)
            buf_printf(out, "Action::\"%u\",", draw(8));
        buf_append_char(out, ']');
        break;
    default:
        buf_printf(out, " is %s in %s::\"%u\"", draw(2) ? "U" : "G", type, id);
        break;
    }
}

static void random_conditions(
    struct buf *out, const char *variable, bool action)
{
    /* The same scope as a condition: `principal is U` and so on. */
    struct buf scope;
    buf_init(&scope, 4096);
    random_scope(&scope, variable, action);
    struct str s = buf_str(&scope);
    if (s.len == strlen(variable))
        buf_append_str(out, STR("true"));
    else
        buf_append_str(out, s);
    buf_fini(&scope);
}

static struct cedar_entities *random_entities(void)
{
    struct cedar_entities_builder *b;
    struct errinfo info;
    assert_int_equal(cedar_entities_builder_new(&b), ERR_OK);
    static const char *const types[] = {"U", "G", "Action"};
    static const char *const ids[] = {"0", "1", "2", "3", "4", "5", "6", "7"};
    for (unsigned t = 0; t < 3; t++) {
        for (unsigned i = 0; i < 8; i++) {
            struct cedar_uid uid =
                cedar_uid_make(str_from(types[t]), str_from(ids[i]));
            struct cedar_uid parents[3];
            unsigned count = 0;
            for (unsigned n = draw(4); n > 0 && i > 0; n--)
                parents[count++] =
                    cedar_uid_make(str_from(t == 2 ? "Action" : types[draw(2)]),
                        str_from(ids[draw(i)]));
            if (draw(5))
                add(b, uid, parents, count, NULL, NULL);
        }
    }
    struct cedar_entities *store;
    assert_int_equal(cedar_entities_builder_finish(&b, &store, &info), ERR_OK);
    return store;
}

/* Scopes of one set must say the same as the same words in conditions, where
 * no index helps. */
static void compare_sets(const struct cedar_policies *scopes,
    const struct cedar_policies *conditions)
{
    struct cedar_entities *store = random_entities();
    static const char *const ids[] = {
        "0", "1", "2", "3", "4", "5", "6", "7", "none"};
    for (unsigned i = 0; i < 60; i++) {
        struct cedar_uid p = cedar_uid_make(
            draw(2) ? STR("U") : STR("G"), str_from(ids[draw(9)]));
        struct cedar_uid a =
            cedar_uid_make(STR("Action"), str_from(ids[draw(9)]));
        struct cedar_uid r = cedar_uid_make(
            draw(2) ? STR("U") : STR("G"), str_from(ids[draw(9)]));
        struct cedar_request asked = {&p, &a, &r, NULL};
        struct cedar_answer one, two;
        assert_int_equal(
            cedar_authorize(scopes, store, &asked, scratch, &one), ERR_OK);
        size_t count = one.reason_count;
        uint32_t *reasons = ARENA_ARRAY(arena, count, uint32_t);
        assert_non_null(reasons);
        if (count)
            memcpy(reasons, one.reasons, count * sizeof reasons[0]);
        assert_int_equal(
            cedar_authorize(conditions, store, &asked, scratch, &two), ERR_OK);
        assert_int_equal(count, two.reason_count);
        for (size_t j = 0; j < count; j++)
            assert_int_equal(reasons[j], two.reasons[j]);
    }
    cedar_entities_free(&store);
}

static void test_index(void **state)
{
    for (unsigned round = 0; round < 60; round++) {
        struct buf scopes, conditions;
        buf_init(&scopes, 1 << 20);
        buf_init(&conditions, 1 << 20);
        unsigned count = draw(round % 3 ? 20 : 300);
        for (unsigned i = 0; i < count; i++) {
            unsigned long long at = seed;
            buf_append_str(&scopes, STR("permit("));
            random_scope(&scopes, "principal", false);
            buf_append_str(&scopes, STR(", "));
            random_scope(&scopes, "action", true);
            buf_append_str(&scopes, STR(", "));
            random_scope(&scopes, "resource", false);
            buf_append_str(&scopes, STR(");\n"));
            seed = at;
            buf_append_str(
                &conditions, STR("permit(principal, action, resource) when {"));
            random_conditions(&conditions, "principal", false);
            buf_append_str(&conditions, STR("} when {"));
            random_conditions(&conditions, "action", true);
            buf_append_str(&conditions, STR("} when {"));
            random_conditions(&conditions, "resource", false);
            buf_append_str(&conditions, STR("};\n"));
        }
        struct cedar_policies *one = parse(buf_cstr(&scopes));
        struct cedar_policies *two = parse(buf_cstr(&conditions));
        compare_sets(one, two);
        cedar_policies_free(&one);
        cedar_policies_free(&two);
        buf_fini(&scopes);
        buf_fini(&conditions);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_decisions),
        cmocka_unit_test(test_without_entities),
        cmocka_unit_test(test_step_limit),
        cmocka_unit_test(test_deep_values),
        cmocka_unit_test(test_many_attributes),
        cmocka_unit_test(test_index),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
