/* SPDX-License-Identifier: Apache-2.0
 *
 * `bailiff init`: what it makes, what it refuses, and that a failure leaves
 * nothing behind. */
#include "tests/unit/proxy/state_fixture.h"

#include "lib/clock.h"
#include "proxy/secret.h"

#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

struct place {
    char root[64], dir[96];
};

static int setup(void **context)
{
    struct place *p = calloc(1, sizeof *p);

    log_setup(LOG_ERROR, LOG_TEXT);
    snprintf(p->root, sizeof p->root, "/tmp/bailiff-unit-XXXXXX");
    assert_non_null(mkdtemp(p->root));
    snprintf(p->dir, sizeof p->dir, "%s/state", p->root);
    *context = p;
    return 0;
}

static int teardown(void **context)
{
    struct place *p = *context;

    nftw(p->root, state_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(p);
    return 0;
}

static enum err init(struct place *p, struct init_options options,
    struct init_result *result, struct errinfo *info)
{
    options.dir = p->dir;
    info->text[0] = '\0';
    return init_state(&options, result, info);
}

static unsigned mode_of(struct place *p, const char *name)
{
    char path[256];
    struct stat status;

    snprintf(path, sizeof path, "%s/%s", p->dir, name);
    if (stat(path, &status) != 0)
        fail_msg("%s is missing", path);
    return status.st_mode & 0777;
}

static void test_what_it_makes(void **context)
{
    struct place *p = *context;
    struct init_result made;
    struct errinfo info = {0};

    if (init(p, (struct init_options){.administrator = "olga"}, &made, &info))
        fail_msg("%s", info.text);
    assert_string_equal(made.administrator, "olga");
    assert_true(secret_is_well_formed(
        SECRET_TOKEN_PREFIX, str_make(made.token, SECRET_LENGTH)));
    assert_non_null(strstr(made.origin, "/bailiff-"));
    assert_int_equal(mode_of(p, ""), 0700);
    assert_int_equal(mode_of(p, "keys"), 0700);
    assert_int_equal(mode_of(p, "keys/log.key"), 0600);
    assert_int_equal(mode_of(p, "keys/master.key"), 0600);
    assert_int_equal(mode_of(p, "tls/server.key"), 0600);
    assert_int_equal(mode_of(p, "tls/ca.key"), 0600);
    assert_int_equal(mode_of(p, "control.db"), 0600);
    assert_int_equal(mode_of(p, "persons.db"), 0600);
    assert_int_equal(mode_of(p, "bailiff.conf") & 022, 0);
    mode_of(p, "log.vkey");
    /* and it refuses to do so again */
    assert_int_equal(
        init(p, (struct init_options){0}, &made, &info), ERR_EXISTS);
    assert_non_null(strstr(info.text, "is not empty"));
    mode_of(p, "control.db");
}

static X509 *read_certificate(struct place *p, const char *name)
{
    char path[256];
    FILE *file;
    X509 *certificate;

    snprintf(path, sizeof path, "%s/%s", p->dir, name);
    file = fopen(path, "r");
    assert_non_null(file);
    certificate = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    assert_non_null(certificate);
    return certificate;
}

/* As `openssl verify -x509_strict` does, for each name that a caller uses. */
static void test_the_certificate_is_strictly_valid(void **context)
{
    static const char *const addresses[] = {"127.0.0.1", "::1"};
    struct place *p = *context;
    struct init_result made;
    struct errinfo info = {0};
    X509 *ca, *server;
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *verify = X509_STORE_CTX_new();
    char host[256] = "";

    if (init(p, (struct init_options){0}, &made, &info))
        fail_msg("%s", info.text);
    ca = read_certificate(p, "tls/ca.pem");
    server = read_certificate(p, "tls/server.pem");
    assert_int_equal(X509_STORE_add_cert(store, ca), 1);
    assert_int_equal(
        X509_STORE_set_flags(
            store, X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE),
        1);
    assert_int_equal(X509_STORE_CTX_init(verify, store, server, NULL), 1);
    assert_int_equal(
        X509_STORE_CTX_set_purpose(verify, X509_PURPOSE_SSL_SERVER), 1);
    if (X509_verify_cert(verify) != 1)
        fail_msg("%s",
            X509_verify_cert_error_string(X509_STORE_CTX_get_error(verify)));
    assert_int_equal(X509_check_host(server, "localhost", 0, 0, NULL), 1);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(X509_check_ip_asc(server, addresses[i], 0), 1);
    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    assert_int_equal(X509_check_host(server, host, 0, 0, NULL), 1);
    X509_STORE_CTX_free(verify);
    X509_STORE_free(store);
    X509_free(ca);
    X509_free(server);
}

static void test_options(void **context)
{
    struct place *p = *context;
    struct state s = {.offline = true, .uid = 1};
    struct init_result made;
    struct errinfo info = {0};
    json_t *answer = NULL;

    if (init(p,
            (struct init_options){.origin = "example.org/log-7",
                .zone = "Europe/Berlin",
                .require_approvals = 2},
            &made, &info))
        fail_msg("%s", info.text);
    assert_string_equal(made.origin, "example.org/log-7");
    memcpy(s.dir, p->dir, sizeof s.dir);
    state_open(&s);
    assert_int_equal(state_call(&s, "GET", "/v1/status", NULL, &answer), 200);
    assert_string_equal(
        json_string_value(json_object_get(answer, "origin")), made.origin);
    assert_string_equal(
        json_string_value(json_object_get(answer, "zone")), "Europe/Berlin");
    assert_int_equal(
        json_integer_value(json_object_get(answer, "requireApprovals")), 2);
    /* the starter rules are in force all the same */
    assert_int_equal(
        json_integer_value(json_object_get(answer, "policyVersion")), 1);
    json_decref(answer);
    state_close(&s);
}

static void test_failures_leave_nothing(void **context)
{
    static const struct init_options bad[] = {
        {.origin = "with blank"},
        {.origin = "a+b"},
        {.zone = "Mars/Olympus"},
        {.administrator = "two words"},
        {.administrator = "adm_x"},
    };
    struct place *p = *context;
    struct init_result made;
    struct errinfo info = {0};
    struct stat status;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (init(p, bad[i], &made, &info) == ERR_OK || !info.text[0])
            fail_msg("case %zu was taken", i);
        if (stat(p->dir, &status) == 0)
            fail_msg("case %zu left %s behind", i, p->dir);
    }
    /* an empty directory is taken, kept, and left empty on failure */
    assert_int_equal(mkdir(p->dir, 0755), 0);
    assert_int_not_equal(init(p, bad[2], &made, &info), ERR_OK);
    assert_int_equal(rmdir(p->dir), 0);
    assert_int_equal(mkdir(p->dir, 0755), 0);
    assert_int_equal(init(p, (struct init_options){0}, &made, &info), ERR_OK);
    assert_int_equal(mode_of(p, ""), 0700);
}

static void test_a_directory_with_anything_in_it(void **context)
{
    struct place *p = *context;
    struct init_result made;
    struct errinfo info = {0};
    char path[128];

    assert_int_equal(mkdir(p->dir, 0700), 0);
    snprintf(path, sizeof path, "%s/notes.txt", p->dir);
    assert_int_equal(file_replace(path, STR("x"), 0600, &info), ERR_OK);
    assert_int_equal(
        init(p, (struct init_options){0}, &made, &info), ERR_EXISTS);
    assert_non_null(strstr(info.text, "notes.txt"));
    assert_true(file_exists(path));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_what_it_makes),
        TEST(test_the_certificate_is_strictly_valid),
        TEST(test_options),
        TEST(test_failures_leave_nothing),
        TEST(test_a_directory_with_anything_in_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
