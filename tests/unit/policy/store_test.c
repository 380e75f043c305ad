/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of policy/store, policy/names and policy/starter over a real control
 * database: names and suggestions, handles, the walk through the states,
 * approvals, rollback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/starter.h"
#include "policy/store.h"

#include "lib/crypto.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define RULE(id, ...) "@id(\"" id "\") @title(\"t\") " __VA_ARGS__ "\n"
#define OK(call) ok((call), __LINE__)

static char folder[64], path[96];
static struct db *db;
static struct arena *arena;
static struct errinfo info;
static struct buf findings;
static const struct policy_actor ann = {STR_INIT("adm_ann"), true};
static const struct policy_actor ben = {STR_INIT("adm_ben"), true};
static const struct policy_actor cy = {STR_INIT("adm_cy"), true};
static const struct policy_actor nobody = {STR_INIT(""), false};

static void ok(enum err err, int line)
{
    if (err != ERR_OK)
        fail_msg("line %d: %s: %s\n%s", line, err_name(err), info.text,
            buf_cstr(&findings));
}

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/store_test.XXXXXX");
    if (mkdtemp(folder) == NULL || crypto_init(&info) != ERR_OK)
        return -1;
    snprintf(path, sizeof(path), "%s/control.db", folder);
    buf_init(&findings, 1u << 20);
    arena = arena_new(4096, 0);
    OK(db_open(path, DB_CONTROL, true, &db, &info));
    OK(db_execute(db,
        "INSERT INTO team VALUES ('everyone', NULL, '', 1),"
        " ('cardiology', 'everyone', '', 1);"
        "INSERT INTO caller VALUES ('cal_1', 'person', 0, 1, '');"
        "INSERT INTO model (name, created) VALUES ('small', 1);"
        "INSERT INTO model_alias VALUES ('gpt-4o', 'small');"
        "INSERT INTO model_group VALUES ('large', 1);"
        "INSERT INTO engine (name, kind, url, created)"
        " VALUES ('here', 'vllm', 'http://h:1', 1)",
        &info));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    db_close(&db);
    arena_free(&arena);
    buf_fini(&findings);
    (void)unlink(path);
    return rmdir(folder);
}

static enum err find_caller(void *context, struct str handle, struct str *id,
    struct str *near, struct errinfo *why)
{
    (void)context;
    static const struct str handles[] = {STR_INIT("alice")};
    if (str_equal(handle, STR("alice")) || str_equal(handle, STR("cal_1"))) {
        *id = STR("cal_1");
        return ERR_OK;
    }
    *near = str_suggest(handle, handles, 1);
    return errinfo_set(why, ERR_NOTFOUND, "nobody");
}

static struct str handle_of(void *context, struct str id)
{
    (void)context;
    return str_equal(id, STR("cal_1")) ? STR("alice") : STR("");
}

static const struct policy_callers callers = {find_caller, handle_of, NULL};

static enum err prepare(const char *text, struct buf *stored)
{
    struct policy_set *set = NULL;
    buf_clear(&findings);
    enum err err = policy_prepare(db, str_from(text), "rules.cedar", &callers,
        stored, &set, &findings, &info);
    assert_int_equal(set != NULL, err == ERR_OK);
    policy_set_free(&set);
    return err;
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *text, *finding;
    } cases[] = {
        {RULE("a", "permit(principal in Team::\"cardioligy\",\n"
                   "action, resource);"),
            "rules.cedar:1:42: there is no team \"cardioligy\"; did you mean "
            "\"cardiology\"?\n"},
        {RULE("a", "permit(principal in Team::\"zzz\", action, resource);"),
            "rules.cedar:1:42: there is no team \"zzz\"; add it first\n"},
        {RULE("a", "permit(principal, action, resource)\n"
                   "when { resource == Model::\"smal\" };"),
            "rules.cedar:2:20: there is no model \"smal\"; did you mean "
            "\"small\"?\n"},
        {RULE("a", "permit(principal, action, resource == "
                   "Model::\"gpt-4o\");"),
            "rules.cedar:1:60: \"gpt-4o\" is an alias; name the model itself, "
            "Model::\"small\"\n"},
        {RULE("a", "permit(principal, action, resource in "
                   "ModelGroup::\"lrge\");"),
            "rules.cedar:1:60: there is no model group \"lrge\"; did you mean "
            "\"large\"?\n"},
        {RULE("a", "permit(principal == Caller::\"alic\", action, resource);"),
            "rules.cedar:1:42: there is no caller \"alic\"; did you mean "
            "\"alice\"?\n"},
        {RULE("a", "permit(principal, action == Action::\"chat\", resource)\n"
                   "when { context.target.engine == Engine::\"hre\" };"),
            "rules.cedar:2:33: there is no engine \"hre\"; did you mean "
            "\"here\"?\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf stored;
        buf_init(&stored, POLICY_TEXT_MAX);
        assert_int_equal(prepare(cases[i].text, &stored), ERR_SYNTAX);
        assert_string_equal(buf_cstr(&findings), cases[i].finding);
        assert_memory_equal(
            info.text, cases[i].finding, strlen(cases[i].finding) - 1);
        assert_int_equal(stored.len, 0);
        buf_fini(&stored);
    }
}

static void test_handles(void **state)
{
    (void)state;
    static const char text[] = "// Caller::\"alice\" in a comment stays\n" RULE(
        "a", "permit(principal == Caller::\"alice\", action, resource)\n"
             "when { principal in [Caller :: \"alice\","
             " Caller::\"cal_1\"] };");
    static const char expected[] =
        "// Caller::\"alice\" in a comment stays\n" RULE("a",
            "permit(principal == Caller::\"cal_1\", action, resource)\n"
            "when { principal in [Caller::\"cal_1\","
            " Caller::\"cal_1\"] };");
    struct buf stored, shown;
    buf_init(&stored, POLICY_TEXT_MAX);
    buf_init(&shown, POLICY_TEXT_MAX);
    OK(prepare(text, &stored));
    assert_string_equal(buf_cstr(&stored), expected);
    /* Once more: nothing left to replace. */
    buf_clear(&shown);
    OK(prepare(expected, &shown));
    assert_string_equal(buf_cstr(&shown), expected);
    buf_clear(&shown);
    OK(policy_show(buf_str(&stored), &callers, &shown, &info));
    assert_non_null(strstr(
        buf_cstr(&shown), "permit(principal == Caller::\"alice\", action"));
    buf_fini(&stored);
    buf_fini(&shown);
}

static int64_t put(const char *text, const struct policy_actor *actor)
{
    struct buf stored;
    int64_t version = 0;
    buf_init(&stored, POLICY_TEXT_MAX);
    OK(prepare(text, &stored));
    OK(policy_store_put(
        db, buf_str(&stored), STR("a note"), actor, 7, &version, &info));
    buf_fini(&stored);
    return version;
}

static enum err activate(
    int64_t version, const struct policy_actor *actor, int64_t *previous)
{
    struct policy_activation done;
    buf_clear(&findings);
    enum err err = policy_store_activate(
        db, version, STR("go"), actor, 8, &findings, &done, &info);
    *previous = done.previous;
    return err;
}

static enum err roll_back(int64_t to, int64_t *version)
{
    struct policy_activation done;
    buf_clear(&findings);
    enum err err = policy_store_rollback(
        db, to, STR("oh"), &ann, 9, &findings, &done, &info);
    *version = done.version;
    return err;
}

static void note_act(void *context, const struct policy_act *act)
{
    struct buf *out = context;
    buf_printf(out, "%.*s(%.*s) ", STR_ARG(act->act), STR_ARG(act->actor));
}

static void expect_acts(int64_t version, const char *expected)
{
    struct buf acts;
    buf_init(&acts, 4096);
    OK(policy_store_acts(db, version, note_act, &acts, &info));
    assert_string_equal(buf_cstr(&acts), expected);
    buf_fini(&acts);
}

static void expect_active(int64_t version)
{
    struct policy_version active;
    enum err err = policy_store_active(db, arena, &active, &info);
    assert_int_equal(err, version ? ERR_OK : ERR_NOTFOUND);
    if (version)
        assert_int_equal(active.version, version);
}

static void count_version(void *context, const struct policy_version *version)
{
    int64_t *last = context;
    assert_true(*last == 0 || version->version == *last - 1);
    *last = version->version;
}

#define ALL RULE("all", "permit(principal, action, resource);")

static void test_life(void **state)
{
    (void)state;
    int64_t previous, version, last = 0;
    struct policy_version row;
    expect_active(0);
    assert_int_equal(roll_back(0, &version), ERR_WRONG_STATE);
    assert_int_equal(policy_store_get(db, 1, arena, &row, &info), ERR_NOTFOUND);
    for (int64_t i = 1; i <= 3; i++)
        assert_int_equal(put(ALL, &ann), i);
    OK(policy_store_get(db, 2, arena, &row, &info));
    assert_int_equal(row.state, POLICY_DRAFT);
    assert_true(str_equal(row.author, STR("adm_ann")));
    assert_true(str_equal(row.note, STR("a note")));
    assert_true(str_equal(row.text, STR(ALL)));
    assert_int_equal(row.created_us, 7);
    uint8_t hash[32];
    crypto_sha256(hash, row.text.ptr, row.text.len);
    assert_memory_equal(hash, row.hash, 32);
    OK(activate(1, &ann, &previous));
    assert_int_equal(previous, 0);
    expect_active(1);
    assert_int_equal(activate(1, &ann, &previous), ERR_WRONG_STATE);
    OK(activate(2, &ann, &previous));
    assert_int_equal(previous, 1);
    assert_int_equal(activate(1, &ann, &previous), ERR_WRONG_STATE);
    assert_int_equal(activate(9, &ann, &previous), ERR_NOTFOUND);
    expect_acts(1, "put(adm_ann) submit(adm_ann) approve(adm_ann) "
                   "activate(adm_ann) retire(adm_ann) ");
    OK(policy_store_list(db, count_version, &last, &info));
    assert_int_equal(last, 1);
    /* Back twice is two back, not to and fro. */
    OK(activate(3, &ann, &previous));
    OK(roll_back(0, &version));
    assert_int_equal(version, 2);
    OK(roll_back(0, &version));
    assert_int_equal(version, 1);
    assert_int_equal(roll_back(0, &version), ERR_WRONG_STATE);
    expect_active(1);
    assert_int_equal(roll_back(1, &version), ERR_WRONG_STATE);
    OK(roll_back(3, &version));
    expect_active(3);
    /* What was never active cannot be rolled back to. */
    assert_int_equal(put(ALL, &ann), 4);
    assert_int_equal(roll_back(4, &version), ERR_WRONG_STATE);
    assert_int_equal(roll_back(5, &version), ERR_NOTFOUND);
    expect_active(3);
}

static void test_approvals(void **state)
{
    (void)state;
    int64_t previous;
    struct policy_approval approval;
    OK(db_execute(db,
        "INSERT INTO organisation_setting VALUES ('require_approvals', '2')",
        &info));
    assert_int_equal(put(ALL, &ann), 1);
    assert_int_equal(activate(1, &ann, &previous), ERR_DENIED);
    /* Only what was submitted. */
    assert_int_equal(
        policy_store_approve(db, 1, STR(""), &ben, 8, &approval, &info),
        ERR_WRONG_STATE);
    OK(policy_store_submit(db, 1, STR(""), &ann, 8, &findings, &info));
    assert_int_equal(
        policy_store_submit(db, 1, STR(""), &ann, 8, &findings, &info),
        ERR_WRONG_STATE);
    /* Not the author, not nobody. */
    assert_int_equal(
        policy_store_approve(db, 1, STR(""), &ann, 8, &approval, &info),
        ERR_DENIED);
    assert_int_equal(
        policy_store_approve(db, 1, STR(""), &nobody, 8, &approval, &info),
        ERR_DENIED);
    struct policy_actor offline = ben;
    offline.can_approve = false;
    assert_int_equal(
        policy_store_approve(db, 1, STR(""), &offline, 8, &approval, &info),
        ERR_DENIED);
    OK(policy_store_approve(db, 1, STR(""), &ben, 8, &approval, &info));
    assert_int_equal(approval.given, 1);
    assert_false(approval.approved);
    assert_int_equal(activate(1, &ann, &previous), ERR_DENIED);
    /* Not twice. */
    assert_int_equal(
        policy_store_approve(db, 1, STR(""), &ben, 8, &approval, &info),
        ERR_WRONG_STATE);
    OK(policy_store_approve(db, 1, STR(""), &cy, 8, &approval, &info));
    assert_true(approval.approved);
    /* Raised meanwhile. */
    OK(db_execute(db, "UPDATE organisation_setting SET value = '3'", &info));
    assert_int_equal(activate(1, &ann, &previous), ERR_DENIED);
    OK(db_execute(db, "UPDATE organisation_setting SET value = '2'", &info));
    OK(activate(1, &ann, &previous));
    expect_active(1);
    expect_acts(1, "put(adm_ann) submit(adm_ann) approve(adm_ben) "
                   "approve(adm_cy) activate(adm_ann) ");
    /* A walk without approvals counts as none. */
    OK(db_execute(db, "UPDATE organisation_setting SET value = 'x'", &info));
    assert_int_equal(put(ALL, &ann), 2);
    assert_int_equal(activate(2, &ann, &previous), ERR_CORRUPT);
    expect_active(1);
}

/* An activation inside a transaction that is rolled back leaves nothing. */
static void test_transaction(void **state)
{
    (void)state;
    int64_t previous;
    (void)put(ALL, &ann);
    (void)put(ALL, &ann);
    OK(activate(1, &ann, &previous));
    OK(db_begin(db, &info));
    OK(activate(2, &ann, &previous));
    expect_active(2);
    db_rollback(db);
    expect_active(1);
}

static void test_names_stay(void **state)
{
    (void)state;
    int64_t previous;
    struct policy_naming naming;
    (void)put(RULE("a", "permit(principal, action, resource);")
                  RULE("b", "forbid(principal in Team::\"cardiology\", action, "
                            "resource);\n")
                      RULE("c", "forbid(principal, action, resource) when "
                                "{ principal in Team::\"cardiology\" };"),
        &ann);
    assert_int_equal(
        policy_names_find(db, STR("Team"), STR("cardiology"), &naming, &info),
        ERR_NOTFOUND); /* a draft binds nothing */
    OK(activate(1, &ann, &previous));
    OK(policy_names_find(db, STR("Team"), STR("cardiology"), &naming, &info));
    assert_int_equal(naming.version, 1);
    assert_string_equal(naming.state, "active");
    assert_string_equal(naming.rule, "b");
    assert_int_equal(naming.line, 2);
    assert_int_equal(naming.more, 1);
    assert_int_equal(
        policy_names_find(db, STR("Team"), STR("everyone"), &naming, &info),
        ERR_NOTFOUND);
    assert_int_equal(
        policy_names_find(db, STR("Model"), STR("cardiology"), &naming, &info),
        ERR_NOTFOUND);
    /* Gone behind our back: it cannot come back on. */
    (void)put(ALL, &ann);
    OK(activate(2, &ann, &previous));
    OK(db_execute(db, "DELETE FROM team WHERE name = 'cardiology'", &info));
    int64_t version;
    assert_int_equal(roll_back(1, &version), ERR_SYNTAX);
    assert_non_null(strstr(buf_cstr(&findings),
        "version-1:2:42: there is no team \"cardiology\""));
}

static void test_starter(void **state)
{
    (void)state;
    struct db_statement *s;
    int64_t previous;
    OK(db_execute(db,
        "DELETE FROM team WHERE parent IS NOT NULL;"
        "DELETE FROM team; DELETE FROM model_group",
        &info));
    for (size_t i = 0; i < policy_starter_team_count; i++) {
        const struct policy_starter_team *team = &policy_starter_teams[i];
        OK(db_prepare(
            db, "INSERT INTO team VALUES (?1, ?2, ?3, 1)", &s, &info));
        db_bind_text(s, 1, team->name);
        if (team->parent.len > 0)
            db_bind_text(s, 2, team->parent);
        db_bind_text(s, 3, team->title);
        OK(db_run(s, &info));
    }
    for (size_t i = 0; i < policy_starter_group_count; i++) {
        OK(db_prepare(db, "INSERT INTO model_group VALUES (?1, 1)", &s, &info));
        db_bind_text(s, 1, policy_starter_groups[i]);
        OK(db_run(s, &info));
    }
    /* The text ends in a NUL that is not part of it. */
    assert_int_equal(put(policy_starter_text().ptr, &nobody), 1);
    OK(activate(1, &nobody, &previous));
    expect_active(1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_names),
        TEST(test_handles),
        TEST(test_life),
        TEST(test_approvals),
        TEST(test_transaction),
        TEST(test_names_stay),
        TEST(test_starter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
