/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of engine/dialect: reading streams and ending them. */
#include "engine/dialect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct arena *arena;

static int set_up(void **state)
{
    arena = arena_new(65536, 0);
    return arena ? 0 : -1;
}

static int tear_down(void **state)
{
    arena_free(&arena);
    return 0;
}

static struct dialect_stream *open_stream(const char *path, bool hide)
{
    struct dialect_match match;
    struct dialect_error error;
    struct dialect_stream *stream;
    assert_int_equal(
        dialect_route(arena, STR("POST"), str_from(path), &match, &error),
        ERR_OK);
    assert_int_equal(dialect_stream_new(match.route, hide, &stream), ERR_OK);
    return stream;
}

#define CHAT "/v1/chat/completions"
#define COMPLETE "/v1/completions"
#define RESPONSES "/v1/responses"

#define CHUNK(choices, more)                                                   \
    "data: {\"id\":\"c1\",\"created\":7,\"model\":\"m\",\"choices\":" choices  \
        more "}\n\n"
#define DELTA(text) "[{\"index\":0,\"delta\":{\"content\":\"" text "\"}}]"
#define USAGE                                                                  \
    ",\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":2,"                 \
    "\"total_tokens\":6}"

static const char chat[] = CHUNK("[{\"index\":0,\"delta\":{\"role\":"
                                 "\"assistant\",\"content\":\"\"}}]",
    "") CHUNK(DELTA("a"),
    ",\"usage\":null") ": ping\n\n" CHUNK(DELTA("\\u00e9b"), "");
static const char usage_chunk[] = CHUNK("[]", USAGE);
static const char done[] = "data: [DONE]\n\n";

/* Feeds in steps of every size; relayed bytes must be `relayed` each time. */
static void check(const char *path, bool hide, struct str text,
    struct str relayed, enum dialect_stream_state state, int64_t deltas,
    int64_t delta_bytes, const struct dialect_usage *usage)
{
    for (size_t step = 1; step <= text.len; step += step < 8 ? 1 : 97) {
        struct dialect_stream *stream = open_stream(path, hide);
        struct buf out;
        buf_init(&out, 65536);
        for (size_t at = 0; at < text.len; at += step) {
            size_t n = text.len - at < step ? text.len - at : step;
            assert_int_equal(
                dialect_stream_feed(stream, str_make(text.ptr + at, n), &out),
                ERR_OK);
        }
        if (!str_equal(buf_str(&out), relayed))
            fail_msg("step %zu: %s", step, buf_cstr(&out));
        assert_int_equal(dialect_stream_state(stream), state);
        assert_int_equal(dialect_stream_deltas(stream), deltas);
        assert_int_equal(dialect_stream_delta_bytes(stream), delta_bytes);
        assert_memory_equal(dialect_stream_usage(stream), usage, sizeof *usage);
        buf_fini(&out);
        dialect_stream_free(&stream);
    }
}

static const struct dialect_usage used = {
    .present = true, .input = 4, .output = 2, .total = 6};
static const struct dialect_usage unknown;

static struct str join(const char *a, const char *b, const char *c)
{
    char *text = arena_printf(arena, "%s%s%s", a, b, c);
    assert_non_null(text);
    return str_from(text);
}

static void the_extra_chunk_is_hidden(void **state)
{
    check(CHAT, true, join(chat, usage_chunk, done), join(chat, "", done),
        DIALECT_STREAM_DONE, 2, 4, &used);
    check(CHAT, false, join(chat, usage_chunk, done),
        join(chat, usage_chunk, done), DIALECT_STREAM_DONE, 2, 4, &used);
}

static void only_that_chunk_is_hidden(void **state)
{
    static const char *const kept[] = {
        CHUNK("[]", ""), /* Azure's first chunk */
        CHUNK("[]", ",\"usage\":null"),
        "data: {\"usage\":{\"prompt_tokens\":1}}\n\n",
        "data: not json\n\n",
        "event: other\n\n",
        ": comment\n\n",
    };
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        bool odd = i == 3;
        check(CHAT, true, str_from(kept[i]), str_from(kept[i]),
            DIALECT_STREAM_OPEN, odd, odd ? 8 : 0, &unknown);
    }
}

static void usage_is_a_running_total(void **state)
{
    check(CHAT, true,
        join(CHUNK(DELTA("a"), ",\"usage\":{\"prompt_tokens\":4,"
                               "\"completion_tokens\":1,\"total_tokens\":5}"),
            CHUNK(DELTA("b"), USAGE), done),
        join(CHUNK(DELTA("a"), ",\"usage\":{\"prompt_tokens\":4,"
                               "\"completion_tokens\":1,\"total_tokens\":5}"),
            CHUNK(DELTA("b"), USAGE), done),
        DIALECT_STREAM_DONE, 2, 2, &used);
}

static void nothing_passes_behind_the_end(void **state)
{
    check(CHAT, true, join(chat, done, chat), join(chat, done, ""),
        DIALECT_STREAM_DONE, 2, 4, &unknown);
}

static void all_kinds_of_deltas_count(void **state)
{
    static const char text[] =
        CHUNK("[{\"index\":1,\"delta\":{\"reasoning_content\":\"abc\"}},"
              "{\"index\":2,\"delta\":{\"tool_calls\":[{\"function\":{\"name\":"
              "\"f\",\"arguments\":\"{\"}}]}}]",
            "");
    check(
        CHAT, true, STR(text), STR(text), DIALECT_STREAM_OPEN, 2, 5, &unknown);
    static const char complete[] =
        CHUNK("[{\"index\":0,\"text\":\"abc\",\"logprobs\":null}]", "");
    check(COMPLETE, true, STR(complete), STR(complete), DIALECT_STREAM_OPEN, 1,
        3, &unknown);
}

static void an_engines_error_is_seen(void **state)
{
    static const char *const errors[] = {
        "data: {\"error\":{\"message\":\"boom\",\"code\":500}}\n\n",
        "data: {\"error\":\"boom\"}\n\n",
    };
    for (size_t i = 0; i < 2; i++) {
        struct dialect_stream *stream = open_stream(CHAT, true);
        struct buf out;
        buf_init(&out, 65536);
        assert_int_equal(
            dialect_stream_feed(stream, str_from(errors[i]), &out), ERR_OK);
        assert_int_equal(
            dialect_stream_feed(stream, str_from(done), &out), ERR_OK);
        assert_int_equal(dialect_stream_state(stream), DIALECT_STREAM_FAILED);
        assert_true(str_equal(dialect_stream_failure(stream), STR("boom")));
        assert_true(str_starts(buf_str(&out), str_from(errors[i])));
        buf_fini(&out);
        dialect_stream_free(&stream);
    }
}

#define RESPONSE(type, status, more)                                           \
    "event: " type "\ndata: {\"type\":\"" type                                 \
    "\",\"sequence_number\":5,\"response\":{\"id\":\"r1\",\"created_at\":8,"   \
    "\"model\":\"m\",\"status\":\"" status "\"" more "}}\n\n"
#define RESPONSE_USAGE                                                         \
    ",\"usage\":{\"input_tokens\":4,\"output_tokens\":2,\"total_tokens\":6}"

static void responses_streams(void **state)
{
    static const char created[] = RESPONSE(
        "response.created", "in_progress", ",\"error\":null,\"usage\":null");
    static const char delta[] =
        "event: response.output_text.delta\ndata: {\"type\":"
        "\"response.output_text.delta\",\"delta\":\"abc\"}\n\n";
    static const char completed[] =
        RESPONSE("response.completed", "completed", RESPONSE_USAGE);
    static const char incomplete[] =
        RESPONSE("response.incomplete", "incomplete", RESPONSE_USAGE);
    static const char failed[] = RESPONSE("response.failed", "failed",
        ",\"error\":{\"message\":\"boom\"}" RESPONSE_USAGE);
    check(RESPONSES, true, join(created, delta, completed),
        join(created, delta, completed), DIALECT_STREAM_DONE, 1, 3, &used);
    check(RESPONSES, true, join(delta, delta, incomplete),
        join(delta, delta, incomplete), DIALECT_STREAM_DONE, 2, 6, &used);
    check(RESPONSES, true, join(created, delta, failed),
        join(created, delta, failed), DIALECT_STREAM_FAILED, 1, 3, &used);
    static const char error[] =
        "event: error\ndata: {\"type\":\"error\",\"message\":\"boom\"}\n\n";
    check(RESPONSES, true, STR(error), STR(error), DIALECT_STREAM_FAILED, 0, 0,
        &unknown);
}

static void ending_a_stream(void **state)
{
    struct buf out;
    const struct dialect_error error = {.status = 502,
        .type = "api_error",
        .code = "upstream_unavailable",
        .message = STR("The engine went away.")};

    buf_init(&out, 65536);
    struct dialect_stream *stream = open_stream(CHAT, true);
    assert_int_equal(dialect_stream_feed(stream, STR(chat), &out), ERR_OK);
    assert_int_equal(
        dialect_stream_feed(stream,
            STR(CHUNK("[{\"index\":2,\"delta\":{}}]", "") "data: {"), &out),
        ERR_OK);
    assert_int_equal(dialect_stream_pending(stream), 7);
    buf_clear(&out);
    dialect_stream_cut(stream, &out);
    assert_string_equal(buf_cstr(&out),
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":"
        "\"content_filter\",\"index\":0,\"logprobs\":null},{\"delta\":{},"
        "\"finish_reason\":\"content_filter\",\"index\":2,\"logprobs\":null}],"
        "\"created\":7,\"id\":\"c1\",\"model\":\"m\",\"object\":"
        "\"chat.completion.chunk\"}\n\ndata: [DONE]\n\n");
    buf_clear(&out);
    dialect_stream_error(stream, &error, &out);
    assert_string_equal(buf_cstr(&out),
        "data: {\"error\":{\"code\":\"upstream_unavailable\",\"message\":"
        "\"The engine went away.\",\"param\":null,\"type\":\"api_error\"}}"
        "\n\n");
    dialect_stream_free(&stream);

    stream = open_stream(COMPLETE, true);
    buf_clear(&out);
    dialect_stream_cut(stream, &out);
    assert_string_equal(buf_cstr(&out),
        "data: {\"choices\":[{\"finish_reason\":\"content_filter\",\"index\":"
        "0,\"logprobs\":null,\"text\":\"\"}],\"created\":0,\"id\":\"\","
        "\"model\":\"\",\"object\":\"text_completion\"}\n\ndata: "
        "[DONE]\n\n");
    dialect_stream_free(&stream);

    stream = open_stream(RESPONSES, true);
    buf_clear(&out);
    assert_int_equal(
        dialect_stream_feed(
            stream, STR(RESPONSE("response.created", "in_progress", "")), &out),
        ERR_OK);
    buf_clear(&out);
    dialect_stream_cut(stream, &out);
    assert_true(
        str_starts(buf_str(&out), STR("event: response.incomplete\ndata: {")));
    assert_non_null(strstr(buf_cstr(&out), "\"sequence_number\":6,"));
    assert_non_null(strstr(buf_cstr(&out), "\"id\":\"r1\""));
    buf_clear(&out);
    dialect_stream_error(stream, &error, &out);
    assert_true(str_starts(buf_str(&out), STR("event: error\ndata: {")));
    assert_non_null(
        strstr(buf_cstr(&out), "\"error\":{\"code\":\"upstream_unavailable\""));
    dialect_stream_free(&stream);
    buf_fini(&out);
}

/* An engine's absurd numbers are not written back as ours. */
static void absurd_numbers_do_no_harm(void **state)
{
    struct buf out;

    buf_init(&out, 65536);
    struct dialect_stream *stream = open_stream(RESPONSES, true);
    assert_int_equal(
        dialect_stream_feed(stream,
            STR("data: {\"sequence_number\":9223372036854775807,\"type\":7,"
                "\"response\":{\"id\":\"r\",\"created_at\":-5}}\n\n"),
            &out),
        ERR_OK);
    buf_clear(&out);
    dialect_stream_cut(stream, &out);
    assert_non_null(strstr(buf_cstr(&out), "\"sequence_number\":0,"));
    assert_non_null(strstr(buf_cstr(&out), "\"created_at\":0,"));
    dialect_stream_free(&stream);

    stream = open_stream(CHAT, true);
    buf_clear(&out);
    assert_int_equal(
        dialect_stream_feed(stream,
            STR("data: {\"id\":5,\"created\":1e9,\"choices\":[{\"index\":99},"
                "{\"index\":-1},7,null]}\n\n"),
            &out),
        ERR_OK);
    buf_clear(&out);
    dialect_stream_cut(stream, &out);
    assert_non_null(strstr(buf_cstr(&out), "\"index\":0"));
    dialect_stream_free(&stream);
    buf_fini(&out);
}

static void an_endless_event_is_refused(void **state)
{
    struct dialect_stream *stream = open_stream(CHAT, true);
    struct buf out;
    static char bytes[65536];
    enum err err = ERR_OK;

    buf_init(&out, 65536);
    memset(bytes, 'x', sizeof bytes);
    for (int i = 0; i < 20 && err == ERR_OK; i++)
        err = dialect_stream_feed(stream, str_make(bytes, sizeof bytes), &out);
    assert_int_equal(err, ERR_LIMIT);
    buf_fini(&out);
    dialect_stream_free(&stream);
    dialect_stream_free(&stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_extra_chunk_is_hidden),
        cmocka_unit_test(only_that_chunk_is_hidden),
        cmocka_unit_test(usage_is_a_running_total),
        cmocka_unit_test(nothing_passes_behind_the_end),
        cmocka_unit_test(all_kinds_of_deltas_count),
        cmocka_unit_test(an_engines_error_is_seen),
        cmocka_unit_test(responses_streams),
        cmocka_unit_test(ending_a_stream),
        cmocka_unit_test(absurd_numbers_do_no_harm),
        cmocka_unit_test(an_endless_event_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
