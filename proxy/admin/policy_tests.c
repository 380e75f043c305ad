/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/admin/policy_tests.c - test cases that stand beside a version of the
 * rules. A version that is put without any takes over those of the active one,
 * and a version whose cases fail goes no further than a draft. */
#include "proxy/admin/rules_priv.h"

#include "lib/crypto.h"
#include "policy/store.h"
#include "proxy/rules/cases.h"

/* Where a case has no world of its own the directory is asked: as the server
 * has it, or as the rows stand. */
static enum err directory(struct admin_call *call, struct snapshot **out)
{
    const struct admin_server *server = call->admin->server;

    if (!server)
        return admin_take_snapshot(call, out);
    *out = server->snapshot(server->context);
    return ERR_OK;
}

enum err policy_tests_of(
    struct admin_call *call, int64_t version, struct str *out)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "SELECT text FROM policy_test WHERE version = ?1", &s, &call->info);

    *out = STR("");
    if (err)
        return err;
    db_bind_int(s, 1, version);
    err = db_step(s, &call->info);
    if (!err)
        *out = admin_column(call, s, 0);
    db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* The results; the document that cannot be asked is refused. */
static enum err run(struct admin_call *call, struct str text, const char *name,
    const struct policy_set *set, json_t **results)
{
    struct snapshot *snapshot = NULL;
    json_t *document = NULL;
    enum err err = cases_parse(text, name, &document, &call->info);

    if (!err)
        err = directory(call, &snapshot);
    if (!err)
        err = cases_run(document, set, snapshot, results, &call->info);
    json_decref(document);
    snapshot_unref(&snapshot);
    return err;
}

/* --- Beside a version
 * ---------------------------------------------------------- */

static enum err insert(
    struct admin_call *call, int64_t version, struct str text)
{
    struct db_statement *s;
    enum err err = db_prepare(call->db,
        "INSERT INTO policy_test (version, text) VALUES (?1, ?2)", &s,
        &call->info);

    if (err)
        return err;
    db_bind_int(s, 1, version);
    db_bind_text(s, 2, text);
    err = db_step(s, &call->info);
    db_reset(s);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

enum err policy_tests_inherit(struct admin_call *call, int64_t version)
{
    struct str text, rules;
    int64_t active;
    enum err err = admin_active_policy(call, &active, &rules);

    if (!err)
        err = policy_tests_of(call, active, &text);
    return err || text.len == 0 ? err : insert(call, version, text);
}

enum err policy_tests_keep(struct admin_call *call, int64_t version,
    const struct policy_set *set, struct str text)
{
    struct db_statement *s;
    uint8_t digest[SHA256_SIZE];
    json_t *results = NULL, *detail;
    const char *object = arena_printf(call->arena, "%lld", (long long)version);
    enum err err = run(call, text, "tests", set, &results);

    if (err)
        return err;
    err = db_prepare(call->db, "DELETE FROM policy_test WHERE version = ?1", &s,
        &call->info);
    if (!err) {
        db_bind_int(s, 1, version);
        err = db_step(s, &call->info);
        db_reset(s);
        err = err == ERR_NOTFOUND ? ERR_OK : err;
    }
    if (!err && json_array_size(results) > 0)
        err = insert(call, version, text);
    if (!err) {
        crypto_sha256(digest, text.ptr, text.len);
        detail = json_object();
        admin_set_int(detail, "cases", (int64_t)json_array_size(results));
        admin_set(detail, "hash",
            admin_hex(str_make((const char *)digest, sizeof digest)));
        err = admin_record(call, "policy.tests_stored", "policy",
            str_from(object), NULL, NULL, detail, STR(""));
    }
    json_decref(results);
    return err;
}

/* --- The gate ----------------------------------------------------------------
 */

static enum err refuse_failed(
    struct admin_call *call, int64_t version, const json_t *results)
{
    json_t *errors = json_array();
    char detail[ERRINFO_MAX];

    for (size_t i = 0; i < json_array_size(results); i++) {
        const json_t *one = json_array_get(results, i);
        json_t *error;
        if (json_is_true(json_object_get(one, "passed")))
            continue;
        error = json_object();
        admin_set_text(error, "field", STR("tests"));
        admin_set_text(error, "message",
            str_from(arena_printf(call->arena, "%s: %s",
                json_string_value(json_object_get(one, "name")),
                json_string_value(json_object_get(one, "why")))));
        json_array_append_new(errors, error);
    }
    snprintf(detail, sizeof detail,
        "%zu of %zu test cases of policy version %lld fail: %s. `bailiff "
        "policy test %lld` shows them (nothing was changed)",
        json_array_size(errors), json_array_size(results), (long long)version,
        json_string_value(
            json_object_get(json_array_get(errors, 0), "message")),
        (long long)version);
    admin_problem_with(call, 409, "failing-tests", errors, detail);
    return ERR_WRONG_STATE;
}

enum err policy_tests_must_pass(struct admin_call *call, int64_t version)
{
    struct rules rules = {0};
    json_t *results = NULL;
    struct str text;
    enum err err = policy_tests_of(call, version, &text);

    if (err || text.len == 0)
        return err;
    err = rules_of_version(call, version, &rules);
    if (!err)
        err = run(call, text, "tests", rules.set, &results);
    if (!err && cases_failed(results) > 0)
        err = refuse_failed(call, version, results);
    json_decref(results);
    rules_fini(&rules);
    return err;
}

/* --- The operation
 * ------------------------------------------------------------- */

struct test_body {
    int64_t version;
    struct str text, name, tests, tests_name;
};
#define AT(member) offsetof(struct test_body, member)

static enum err take_rules(
    struct admin_call *call, struct test_body *body, struct rules *rules)
{
    const char *name = arena_cstr(call->arena, body->name);
    int64_t version = body->version;
    struct str ignored;
    enum err err = ERR_OK;

    if (version == 0)
        err = admin_active_policy(call, &version, &ignored);
    if (!err && body->tests.len == 0)
        err = policy_tests_of(call, version, &body->tests);
    if (!err && body->tests.len == 0)
        err = FAIL(call, ERR_NOTFOUND,
            "policy version %lld has no test cases; give some with --tests",
            (long long)version);
    if (err)
        return err;
    if (body->text.len == 0)
        return rules_of_version(call, version, rules);
    err = rules_prepare(call, body->text, name ? name : "rules.cedar", rules);
    return err ? err : rules_refuse(call, rules);
}

enum err handle_policy_test(struct admin_call *call)
{
    static const struct admin_field fields[] = {
        {"version", FIELD_INT, false, AT(version), 1, INT64_MAX, NULL},
        {"text", FIELD_TEXT, false, AT(text), 0, 2 << 20, NULL},
        {"name", FIELD_TEXT, false, AT(name), 0, 200, NULL},
        {"tests", FIELD_TEXT, false, AT(tests), 0, CASES_BYTES_MAX, NULL},
        {"testsName", FIELD_TEXT, false, AT(tests_name), 0, 200, NULL},
    };
    struct test_body body = {.text = STR(""),
        .name = STR("rules.cedar"),
        .tests = STR(""),
        .tests_name = STR("tests")};
    struct rules rules = {0};
    json_t *results = NULL, *answer;
    size_t failed;
    enum err err = admin_read_body(call, fields, FIELD_COUNT(fields), &body);

    if (!err)
        err = take_rules(call, &body, &rules);
    if (!err)
        err = run(call, body.tests, arena_cstr(call->arena, body.tests_name),
            rules.set, &results);
    if (!err) {
        failed = cases_failed(results);
        answer = json_object();
        admin_set_int(
            answer, "passed", (int64_t)(json_array_size(results) - failed));
        admin_set_int(answer, "failed", (int64_t)failed);
        admin_set(answer, "cases", json_incref(results));
        err = admin_answer(call, 200, answer);
    }
    json_decref(results);
    rules_fini(&rules);
    return err;
}
