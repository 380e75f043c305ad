/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of engine/dialect: routes, error bodies, model lists, usage. */
#include "engine/dialect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct arena *arena;

static int set_up(void **state)
{
    arena = arena_new(4096, 0);
    return arena ? 0 : -1;
}

static int tear_down(void **state)
{
    arena_free(&arena);
    return 0;
}

static void open_routes_are_found(void **state)
{
    static const struct {
        const char *method, *path, *action, *model;
        enum dialect_endpoint endpoint;
    } rows[] = {
        {"POST", "/v1/chat/completions", "chat", "", DIALECT_CHAT},
        {"POST", "/v1/completions", "complete", "", DIALECT_COMPLETIONS},
        {"POST", "/v1/responses", "chat", "", DIALECT_RESPONSES},
        {"POST", "/v1/embeddings", "embed", "", DIALECT_EMBEDDINGS},
        {"GET", "/v1/models", "listModels", "", DIALECT_MODELS},
        {"GET", "/v1/models/demo", "listModels", "demo", DIALECT_MODEL},
        {"GET", "/v1/bailiff/usage", "showUsage", "", DIALECT_USAGE},
        {"GET", "/v1/models/org/name", "listModels", "org/name", DIALECT_MODEL},
        {"GET", "/v1/models/org%2Fna%c3%a9", "listModels", "org/na\xc3\xa9",
            DIALECT_MODEL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dialect_match match;
        struct dialect_error error;
        assert_int_equal(dialect_route(arena, str_from(rows[i].method),
                             str_from(rows[i].path), &match, &error),
            ERR_OK);
        assert_int_equal(match.route->endpoint, rows[i].endpoint);
        assert_string_equal(match.route->action, rows[i].action);
        assert_true(str_equal(match.model, str_from(rows[i].model)));
    }
}

static void other_paths_are_refused(void **state)
{
    static const struct {
        const char *method, *path;
        enum err err;
        int status;
        const char *allow;
    } rows[] = {
        {"GET", "/", ERR_NOTFOUND, 404, NULL},
        {"POST", "/v1/chat/completions/", ERR_NOTFOUND, 404, NULL},
        {"POST", "/v1//chat/completions", ERR_NOTFOUND, 404, NULL},
        {"POST", "/V1/chat/completions", ERR_NOTFOUND, 404, NULL},
        {"POST", "/v1/chat%2Fcompletions", ERR_NOTFOUND, 404, NULL},
        {"POST", "/chat/completions", ERR_NOTFOUND, 404, NULL},
        {"POST", "/invocations", ERR_NOTFOUND, 404, NULL},
        {"GET", "/props", ERR_NOTFOUND, 404, NULL},
        {"GET", "/v1/models/", ERR_NOTFOUND, 404, NULL},
        {"GET", "/v1/chat/completions", ERR_UNSUPPORTED, 405, "POST"},
        {"post", "/v1/chat/completions", ERR_UNSUPPORTED, 405, "POST"},
        {"POST", "/v1/models", ERR_UNSUPPORTED, 405, "GET"},
        {"DELETE", "/v1/models/demo", ERR_UNSUPPORTED, 405, "GET"},
        {"GET", "/v1/models/a%2", ERR_SYNTAX, 400, NULL},
        {"GET", "/v1/models/a%zz", ERR_SYNTAX, 400, NULL},
        {"GET", "/v1/models/a%00", ERR_SYNTAX, 400, NULL},
        {"GET", "/v1/models/a%ff", ERR_SYNTAX, 400, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dialect_match match;
        struct dialect_error error;
        assert_int_equal(dialect_route(arena, str_from(rows[i].method),
                             str_from(rows[i].path), &match, &error),
            rows[i].err);
        assert_int_equal(error.status, rows[i].status);
        assert_true(error.message.len > 0);
        if (rows[i].allow)
            assert_string_equal(error.allow, rows[i].allow);
        else
            assert_null(error.allow);
    }
}

/* The 404 names every row of the table. */
static void unknown_path_names_the_open_routes(void **state)
{
    struct dialect_match match;
    struct dialect_error error;
    size_t count;
    const struct dialect_route *routes = dialect_routes(&count);

    assert_int_equal(
        dialect_route(arena, STR("GET"), STR("/a\"b"), &match, &error),
        ERR_NOTFOUND);
    assert_int_equal(count, 7);
    for (size_t i = 0; i < count; i++) {
        char row[128];
        snprintf(row, sizeof row, "%s %s", routes[i].method, routes[i].path);
        assert_non_null(
            memmem(error.message.ptr, error.message.len, row, strlen(row)));
    }
    struct buf body;
    buf_init(&body, 4096);
    dialect_error_body(DIALECT_OPENAI, &error, &body);
    assert_non_null(strstr(buf_cstr(&body), "GET /a\\\"b. Open routes"));
    buf_fini(&body);
}

static void error_bodies(void **state)
{
    struct buf body;
    struct dialect_error error = {.status = 403,
        .type = "permission_error",
        .code = "policy_denied",
        .message = STR("Denied by \"r17\"."),
        .param = STR("model")};

    buf_init(&body, 4096);
    dialect_error_body(DIALECT_OPENAI, &error, &body);
    assert_string_equal(buf_cstr(&body),
        "{\"error\":{\"code\":\"policy_denied\",\"message\":\"Denied by "
        "\\\"r17\\\".\",\"param\":\"model\",\"type\":\"permission_error\"}}");
    buf_clear(&body);
    error.code = NULL;
    error.param = STR("");
    dialect_error_body(DIALECT_OPENAI, &error, &body);
    assert_non_null(strstr(buf_cstr(&body), "\"code\":null"));
    assert_non_null(strstr(buf_cstr(&body), "\"param\":null"));
    buf_fini(&body);
}

static void model_lists(void **state)
{
    const struct dialect_model_entry models[] = {
        {STR_INIT("a"), INT64_C(1700000000999999), STR_INIT("acme")},
        {STR_INIT("b"), 0, STR_INIT("")},
    };
    struct buf body;

    buf_init(&body, 4096);
    dialect_models_body(DIALECT_OPENAI, models, 2, &body);
    assert_string_equal(buf_cstr(&body),
        "{\"data\":[{\"created\":1700000000,\"id\":\"a\",\"object\":\"model\","
        "\"owned_by\":\"acme\"},{\"created\":0,\"id\":\"b\",\"object\":"
        "\"model\",\"owned_by\":\"\"}],\"object\":\"list\"}");
    buf_clear(&body);
    dialect_models_body(DIALECT_OPENAI, models, 0, &body);
    assert_string_equal(buf_cstr(&body), "{\"data\":[],\"object\":\"list\"}");
    buf_clear(&body);
    dialect_model_body(DIALECT_OPENAI, models, &body);
    assert_string_equal(buf_cstr(&body),
        "{\"created\":1700000000,\"id\":\"a\",\"object\":\"model\","
        "\"owned_by\":\"acme\"}");
    buf_fini(&body);
}

static void usage_of_whole_answers(void **state)
{
    static const struct {
        const char *path, *body;
        struct dialect_usage usage;
    } rows[] = {
        {"/v1/chat/completions",
            "{\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":12,"
            "\"total_tokens\":21,\"prompt_tokens_details\":{\"cached_tokens\":"
            "4},\"completion_tokens_details\":{\"reasoning_tokens\":5}}}",
            {true, 9, 12, 21, 4, 5}},
        {"/v1/chat/completions",
            "{\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":0,"
            "\"total_tokens\":9,\"prompt_tokens_details\":null}}",
            {true, 9, 0, 9, 0, 0}},
        {"/v1/chat/completions",
            "{\"usage\":{\"prompt_tokens\":9,\"total_tokens\":21}}",
            {true, 9, 12, 21, 0, 0}},
        /* parts never exceed the whole, the whole never its parts' sum */
        {"/v1/chat/completions",
            "{\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":12,"
            "\"total_tokens\":1,\"prompt_tokens_details\":{\"cached_tokens\":"
            "99}}}",
            {true, 9, 12, 21, 9, 0}},
        {"/v1/embeddings",
            "{\"usage\":{\"prompt_tokens\":8,\"total_tokens\":8}}",
            {true, 8, 0, 8, 0, 0}},
        {"/v1/responses",
            "{\"usage\":{\"input_tokens\":36,\"input_tokens_details\":{"
            "\"cached_tokens\":3},\"output_tokens\":87,"
            "\"output_tokens_details\":{\"reasoning_tokens\":7},"
            "\"total_tokens\":123}}",
            {true, 36, 87, 123, 3, 7}},
        {"/v1/chat/completions", "{}", {false, 0, 0, 0, 0, 0}},
        {"/v1/chat/completions", "{\"usage\":null}", {false, 0, 0, 0, 0, 0}},
        {"/v1/chat/completions", "{\"usage\":3}", {false, 0, 0, 0, 0, 0}},
        {"/v1/chat/completions", "{\"usage\":{}}", {false, 0, 0, 0, 0, 0}},
        {"/v1/chat/completions", "[]", {false, 0, 0, 0, 0, 0}},
        {"/v1/chat/completions", "no json", {false, 0, 0, 0, 0, 0}},
        {"/v1/chat/completions",
            "{\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":12}}",
            {false, 0, 0, 0, 0, 0}},
        {"/v1/chat/completions",
            "{\"usage\":{\"prompt_tokens\":1.5,\"completion_tokens\":12}}",
            {false, 0, 0, 0, 0, 0}},
        {"/v1/chat/completions",
            "{\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":"
            "9223372036854775807}}",
            {false, 0, 0, 0, 0, 0}},
        {"/v1/chat/completions", "{\"usage\":{\"prompt_tokens\":9}}",
            {false, 0, 0, 0, 0, 0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dialect_match match;
        struct dialect_error error;
        struct dialect_usage usage;
        assert_int_equal(dialect_route(arena, STR("POST"),
                             str_from(rows[i].path), &match, &error),
            ERR_OK);
        assert_int_equal(dialect_usage_json(match.route, str_from(rows[i].body),
                             arena, &usage),
            ERR_OK);
        if (usage.present != rows[i].usage.present ||
            usage.input != rows[i].usage.input ||
            usage.output != rows[i].usage.output ||
            usage.total != rows[i].usage.total ||
            usage.cached != rows[i].usage.cached ||
            usage.reasoning != rows[i].usage.reasoning)
            fail_msg("%s", rows[i].body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_routes_are_found),
        cmocka_unit_test(other_paths_are_refused),
        cmocka_unit_test(unknown_path_names_the_open_routes),
        cmocka_unit_test(error_bodies),
        cmocka_unit_test(model_lists),
        cmocka_unit_test(usage_of_whole_answers),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
