/* SPDX-License-Identifier: Apache-2.0
 *
 * `bailiff check`: what it finds in a state directory, each with its place and
 * its remedy, and that it says all of it at once. */
#include "proxy/check.h"

#include "audit/log.h"
#include "tests/unit/proxy/state_fixture.h"

#include <sys/stat.h>

/* Gives what it prints; *code its exit code. */
static char *run_check(struct state *s, const char *adopt, int *code)
{
    const struct check_options options = {
        .dir = s->dir, .adopt = adopt != NULL, .reason = adopt};
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    *code = check_state(&options, out);
    fclose(out);
    return text;
}

static void expect(struct state *s, int code, const char *const *words)
{
    int got;
    char *text = run_check(s, NULL, &got);

    for (size_t i = 0; words[i]; i++)
        if (!strstr(text, words[i]))
            fail_msg("\"%s\" is not in: %s", words[i], text);
    if (got != code)
        fail_msg("%d, not %d: %s", got, code, text);
    free(text);
}
#define EXPECT(s, code, ...)                                                   \
    expect((s), (code), (const char *const[]){__VA_ARGS__, NULL})

static const char *path_of(struct state *s, const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/%s", s->dir, name);
    return path;
}

static void write_over(struct state *s, const char *name, const char *text)
{
    struct errinfo info = {0};

    if (file_replace(path_of(s, name), str_from(text), 0600, &info) != ERR_OK)
        fail_msg("%s", info.text);
}

static void test_a_fresh_state_is_good(void **context)
{
    struct state *s = *context;

    state_close(s);
    EXPECT(s, 0, "warning: require_approvals is 0", "warning: no anchors",
        "warning: no engine is registered", "\n0 errors, ");
}

static void test_beside_a_running_holder(void **context)
{
    struct state *s = *context;

    EXPECT(s, 0, "is at work here", "\n0 errors, ");
    /* and it goes on as if nothing had been */
    state_must(s, 201, "POST", "/v1/teams", "{\"name\":\"later\"}");
}

static void test_all_errors_are_said_at_once(void **context)
{
    struct state *s = *context;

    state_close(s);
    write_over(s, "bailiff.conf",
        "workers = 2;\nlissten = [ \"[::]:1\" ];\nmax_connections = 0;\n");
    assert_int_equal(chmod(path_of(s, "keys/log.key"), 0644), 0);
    assert_int_equal(chmod(path_of(s, "persons.db"), 0664), 0);
    EXPECT(s, 1,
        "error: bailiff.conf:2: unknown key \"lissten\"; did you mean "
        "\"listen\"?\n",
        "error: bailiff.conf:3: max_connections is 0; it must be from 1 to",
        "keys/log.key can be read by others (mode 644): chmod go= ",
        "persons.db can be read by others (mode 664): chmod go= ",
        "\n4 errors, ");
}

static void test_a_control_that_does_not_open_hides_nothing(void **context)
{
    struct state *s = *context;

    state_close(s);
    write_over(s, "control.db", "no database");
    write_over(s, "tls/server.pem", "no certificate");
    EXPECT(s, 1, "control.db", "tls/server.pem");
}

static void test_certificates(void **context)
{
    struct state *s = *context;
    const char *const names[] = {"localhost"};
    struct crypto_certificates made = {0};
    struct errinfo info = {0};
    json_t *status = NULL;
    char *said;

    state_close(s);
    assert_int_equal(
        crypto_make_certificates("CA", names, 1, 10, &made, &info), ERR_OK);
    write_over(s, "tls/server.pem", made.certificate);
    /* somebody else's key */
    EXPECT(s, 1, "tls/server");
    write_over(s, "tls/server.key", made.key);
    EXPECT(s, 0, "server.pem expires in ", "send SIGHUP");
    state_open(s);
    assert_int_equal(state_call(s, "GET", "/v1/status", NULL, &status), 200);
    said = json_dumps(json_object_get(status, "warnings"), 0);
    assert_non_null(strstr(said, "server.pem expires in "));
    free(said);
    json_decref(status);
    state_close(s);
    /* The admin API's own, where it is served over TLS at all. */
    write_over(s, "tls/admin.pem", made.certificate);
    write_over(s, "bailiff.conf",
        "admin_certificate = \"tls/admin.pem\";\n"
        "admin_key = \"tls/admin.key\";\n");
    EXPECT(s, 0, "server.pem expires in ");
    write_over(s, "bailiff.conf",
        "admin_certificate = \"tls/admin.pem\";\n"
        "admin_key = \"tls/admin.key\";\n"
        "admin_listen = \"127.0.0.1:8444\";\n");
    EXPECT(s, 1, "tls/admin.key");
    write_over(s, "tls/admin.key", made.key);
    assert_int_equal(chmod(path_of(s, "tls/admin.key"), 0600), 0);
    EXPECT(s, 0, "admin.pem expires in ");
    assert_int_equal(chmod(path_of(s, "tls/admin.key"), 0604), 0);
    EXPECT(s, 1, "tls/admin.key can be read by others (mode 604)");
    assert_int_equal(chmod(path_of(s, "tls/admin.key"), 0600), 0);
    assert_int_equal(chmod(path_of(s, "tls/server.key"), 0604), 0);
    EXPECT(s, 1, "tls/server.key can be read by others (mode 604)");
    free(made.ca_certificate);
    free(made.ca_key);
    free(made.certificate);
    free(made.key);
}

static void test_missing_keys(void **context)
{
    struct state *s = *context;

    state_close(s);
    assert_int_equal(unlink(path_of(s, "keys/master.key")), 0);
    EXPECT(s, 1, "keys/master.key is missing");
}

static void edit(struct state *s, const char *sql)
{
    struct errinfo info = {0};
    struct db *db = NULL;

    assert_int_equal(
        db_open(path_of(s, "control.db"), DB_CONTROL, false, &db, &info),
        ERR_OK);
    assert_int_equal(db_execute(db, sql, &info), ERR_OK);
    db_close(&db);
}

static void test_adopting(void **context)
{
    struct state *s = *context;
    uint64_t before;
    int code;
    char *text;

    before = journal_size(audit_log_journal(control_log(s->control)));
    state_close(s);
    edit(s, "UPDATE team SET title = 'x' WHERE name = 'interns'");
    EXPECT(s, 1, "error: ", "--adopt --reason");
    text = run_check(s, "restored by hand", &code);
    if (code != 0 || !strstr(text, "the reason is on record"))
        fail_msg("%d: %s", code, text);
    free(text);
    EXPECT(s, 0, "\n0 errors, ");
    state_open(s);
    assert_true(
        journal_size(audit_log_journal(control_log(s->control))) > before);
}

static void test_a_clock_behind_the_record(void **context)
{
    struct state *s = *context;
    int code;

    state_close(s);
    edit(s, "UPDATE administrator SET created = 4102444800000000");
    free(run_check(s, "for the test", &code));
    EXPECT(s, 1, "the system clock is behind what is on record (2100-01-01");
}

static void test_rules_that_name_what_is_gone(void **context)
{
    struct state *s = *context;
    int code;

    state_close(s);
    edit(s, "DELETE FROM team WHERE name = 'interns'");
    free(run_check(s, "for the test", &code));
    EXPECT(s, 1, "error: version-1:", "interns");
}

static void test_no_state_at_all(void **context)
{
    struct state *s = *context;
    char kept[sizeof s->dir];

    memcpy(kept, s->dir, sizeof kept);
    snprintf(s->dir, sizeof s->dir, "%s/none", s->root);
    EXPECT(s, 1, "does not exist; `bailiff init ", "1 error, 0 warnings");
    memcpy(s->dir, kept, sizeof kept);
}

int main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, state_setup, state_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_fresh_state_is_good),
        TEST(test_beside_a_running_holder),
        TEST(test_all_errors_are_said_at_once),
        TEST(test_a_control_that_does_not_open_hides_nothing),
        TEST(test_certificates),
        TEST(test_missing_keys),
        TEST(test_adopting),
        TEST(test_a_clock_behind_the_record),
        TEST(test_rules_that_name_what_is_gone),
        TEST(test_no_state_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
