/* SPDX-License-Identifier: Apache-2.0
 *
 * The admin API's readings of the log: what each answers, what is refused and
 * in which words, and that every reading is itself on record. */
#include "tests/unit/proxy/state_fixture.h"

#include "audit/export.h"
#include "audit/log.h"
#include "audit/prove.h"
#include "lib/arena.h"
#include "proxy/admin/admin_priv.h"

static json_t *get(struct state *s, const char *path)
{
    json_t *answer = NULL;
    int status = state_call(s, "GET", path, NULL, &answer);

    if (status != 200) {
        char *text = json_dumps(answer, JSON_ENCODE_ANY);
        fail_msg("GET %s: %d %s", path, status, text ? text : "");
    }
    return answer;
}

static json_int_t number(const json_t *answer, const char *name)
{
    const json_t *value = json_object_get(answer, name);

    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static void read_key(struct state *s, struct note_key *key)
{
    struct errinfo info = {0};

    if (audit_key_read(s->dir, STR(""), key, &info) != ERR_OK)
        fail_msg("%s", info.text);
}

/* How often a type of act is on record. */
static json_int_t recorded(struct state *s, const char *type)
{
    char path[100];
    json_t *answer;
    json_int_t count;

    snprintf(path, sizeof path, "/v1/audit/records?type=%s&limit=1000", type);
    answer = get(s, path);
    count = (json_int_t)json_array_size(json_object_get(answer, "rows"));
    json_decref(answer);
    return count;
}

static void test_proofs_hold(void **context)
{
    struct state *s = *context;
    json_t *answer = get(s, "/v1/audit/records/3/proof");
    const json_t *one = json_array_get(json_object_get(answer, "proofs"), 0);
    struct arena *arena = arena_new(65536, 0);
    struct audit_proof proof;
    struct errinfo info = {0};
    struct note_key key;

    assert_int_equal(number(one, "index"), 3);
    read_key(s, &key);
    if (audit_proof_parse(arena,
            str_from(json_string_value(json_object_get(one, "proof"))), &proof,
            &info) != ERR_OK ||
        audit_proof_verify(&proof, &key, STR(""), NULL, &info) != ERR_OK)
        fail_msg("%s", info.text);
    arena_free(&arena);
    json_decref(answer);
    assert_int_equal(recorded(s, "audit.proved"), 1);
    state_refused(s, 404, "GET", "/v1/audit/records/99999/proof", NULL,
        "the log has no entry 99999");
    state_refused(s, 404, "GET",
        "/v1/audit/records/01J00000000000000000000000/proof", NULL,
        "no request or event");
}

static void test_export_pages(void **context)
{
    struct state *s = *context;
    json_t *first = get(s, "/v1/audit/export?from=2&to=5");
    json_t *again, *acts;
    char path[100];

    assert_true(json_is_true(json_object_get(first, "whole")));
    assert_int_equal(json_array_size(json_object_get(first, "lines")), 3);
    assert_int_equal(number(first, "next"), 5);
    assert_true(json_is_false(json_object_get(first, "more")));
    /* the same again under the same state of the log, byte for byte */
    snprintf(path, sizeof path, "/v1/audit/export?from=2&to=5&size=%lld",
        (long long)number(first, "size"));
    again = get(s, path);
    assert_true(json_equal(
        json_object_get(first, "lines"), json_object_get(again, "lines")));
    json_decref(again);
    json_decref(first);
    acts = get(s, "/v1/audit/export?type=admin");
    assert_true(json_is_false(json_object_get(acts, "whole")));
    assert_true(json_array_size(json_object_get(acts, "lines")) >= 5);
    json_decref(acts);
    assert_int_equal(recorded(s, "audit.exported"), 3);
    state_refused(
        s, 400, "GET", "/v1/audit/export?from=7&to=3", NULL, "no part of");
    state_refused(
        s, 400, "GET", "/v1/audit/export?size=99999", NULL, "not 99999");
    state_refused(
        s, 400, "GET", "/v1/audit/export?from=x", NULL, "no index of the log");
    state_refused(
        s, 400, "GET", "/v1/audit/export?calller=x", NULL, "did you mean");
}

static void test_the_text_of_a_policy(void **context)
{
    struct state *s = *context;
    json_t *answer = get(s, "/v1/audit/policies/1");
    const json_t *text = json_object_get(answer, "text");
    uint8_t digest[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1];

    crypto_sha256(digest, json_string_value(text), json_string_length(text));
    for (int i = 0; i < SHA256_SIZE; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(
        hex, json_string_value(json_object_get(answer, "hash")));
    json_decref(answer);
    state_refused(
        s, 404, "GET", "/v1/audit/policies/77", NULL, "no policy version 77");
    state_refused(
        s, 400, "GET", "/v1/audit/policies/x", NULL, "no policy version");
}

static void test_counts_and_gaps(void **context)
{
    struct state *s = *context;
    json_t *answer = get(s, "/v1/audit/stats?by=type");

    assert_true(json_array_size(json_object_get(answer, "groups")) > 3);
    json_decref(answer);
    answer = get(s, "/v1/audit/gaps?longer=1h");
    assert_int_equal(json_array_size(json_object_get(answer, "gaps")), 0);
    assert_true(number(answer, "records") > 5);
    json_decref(answer);
    assert_int_equal(recorded(s, "audit.counted"), 2);
    state_refused(
        s, 400, "GET", "/v1/audit/stats?by=colour", NULL, "none of hour, day");
    state_refused(
        s, 400, "GET", "/v1/audit/gaps?longer=soon", NULL, "no duration");
}

static void test_a_sample_is_repeated(void **context)
{
    struct state *s = *context;
    json_t *first = get(s, "/v1/audit/sample?seed=a&type=admin&count=3"),
           *again;
    const json_t *x = json_object_get(first, "items"), *y;
    char path[100];

    assert_int_equal(json_array_size(x), 3);
    state_must(s, 201, "POST", "/v1/teams", "{\"name\":\"later\"}");
    snprintf(path, sizeof path,
        "/v1/audit/sample?seed=a&type=admin&count=3&size=%lld",
        (long long)number(first, "size"));
    again = get(s, path);
    y = json_object_get(again, "items");
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(number(json_array_get(x, i), "index"),
            number(json_array_get(y, i), "index"));
    json_decref(again);
    json_decref(first);
    state_refused(s, 400, "GET", "/v1/audit/sample", NULL, "seed");
    state_refused(s, 400, "GET", "/v1/audit/sample?seed=a&size=99999", NULL,
        "the log has");
    assert_int_equal(recorded(s, "audit.sampled"), 2);
}

static void test_the_access_review(void **context)
{
    struct state *s = *context;
    json_t *answer;
    const json_t *one;

    state_must(s, 201, "POST", "/v1/engines",
        "{\"name\":\"local\",\"url\":\"http://127.0.0.1:9\",\"kind\":"
        "\"demo\"}");
    state_must(s, 201, "POST", "/v1/models",
        "{\"name\":\"tiny\",\"engine\":\"local\"}");
    state_must(s, 201, "POST", "/v1/callers",
        "{\"handle\":\"alice\",\"teams\":[\"everyone\"]}");
    answer = get(s, "/v1/audit/access?model=tiny");
    one = json_array_get(json_object_get(answer, "items"), 0);
    assert_string_equal(
        json_string_value(json_object_get(one, "callerName")), "alice");
    assert_true(json_is_false(json_object_get(one, "allowed")));
    assert_string_equal(json_string_value(json_object_get(one, "because")),
        "the model is a draft");
    json_decref(answer);
    state_refused(s, 400, "GET", "/v1/audit/access", NULL, "give one of");
    state_refused(s, 400, "GET", "/v1/audit/access?model=tiny&caller=alice",
        NULL, "give one of");
    state_refused(
        s, 404, "GET", "/v1/audit/access?caller=nobody", NULL, "no caller");
    state_refused(
        s, 404, "GET", "/v1/audit/access?model=nothing", NULL, "no model");
    assert_int_equal(recorded(s, "audit.accessed"), 1);
}

static void test_the_index_built_anew(void **context)
{
    struct state *s = *context;
    json_t *answer = NULL;

    assert_int_equal(
        state_call(s, "POST", "/v1/audit/index/rebuild", "{}", &answer), 200);
    assert_int_equal(number(answer, "files"), 1);
    json_decref(answer);
    for (int i = 0; i < 500; i++) {
        json_int_t waiting;
        usleep(10000);
        answer = get(s, "/v1/audit/index");
        waiting = number(answer, "waiting");
        json_decref(answer);
        if (waiting == 0 && i > 5)
            break;
        assert_true(i < 499);
    }
    assert_int_equal(recorded(s, "audit.reindexed"), 1);
    assert_true(recorded(s, "admin") > 3);
}

static void test_a_text_that_was_never_sent(void **context)
{
    struct state *s = *context;
    json_t *answer = NULL;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(state_call(s, "POST", "/v1/audit/find",
                             "{\"text\":\"a secret\"}", &answer),
            200);
        /* the record of the first search holds the digest, and is no match */
        assert_int_equal(json_array_size(json_object_get(answer, "items")), 0);
        json_decref(answer);
    }
    assert_int_equal(recorded(s, "audit.text_sought"), 2);
    state_refused(s, 400, "POST", "/v1/audit/find", "{}", "text");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, state_setup, state_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_proofs_hold),
        TEST(test_export_pages),
        TEST(test_the_text_of_a_policy),
        TEST(test_counts_and_gaps),
        TEST(test_a_sample_is_repeated),
        TEST(test_the_access_review),
        TEST(test_a_text_that_was_never_sent),
        TEST(test_the_index_built_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
