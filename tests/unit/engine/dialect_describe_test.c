/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of engine/dialect: describing bodies, and the splices. */
#include "engine/dialect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
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

static const struct dialect_route *route_of(const char *path)
{
    struct dialect_match match;
    struct dialect_error error;
    assert_int_equal(
        dialect_route(arena, STR("POST"), str_from(path), &match, &error),
        ERR_OK);
    return match.route;
}

#define CHAT "/v1/chat/completions"
#define COMPLETE "/v1/completions"
#define RESPONSES "/v1/responses"
#define EMBED "/v1/embeddings"

static struct dialect_description describe(const char *path, const char *body)
{
    struct dialect_description d;
    struct dialect_error error;
    arena_reset(arena);
    if (dialect_describe(
            route_of(path), str_from(body), arena, NULL, &d, &error))
        fail_msg("%s: %.*s", body, STR_ARG(error.message));
    return d;
}

static void a_full_chat_body(void **state)
{
    struct dialect_description d = describe(CHAT,
        "{\"model\":\"de\\u006do\",\"messages\":["
        "{\"role\":\"system\",\"content\":\"abc\"},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"d\\u00e9"
        "\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;"
        "base64,AAAA\",\"detail\":\"low\"}},{\"type\":\"input_audio\","
        "\"input_audio\":{\"data\":\"AA\\/A=\",\"format\":\"wav\"}}]},"
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c\""
        ",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"
        "\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":"
        "\"ok\"}],"
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"description\":\"dd\",\"parameters\":{\"type\":\"object\"}}}],"
        "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}},"
        "\"stream\":true,\"stream_options\":{\"include_usage\":true},"
        "\"max_tokens\":64,\"max_completion_tokens\":32,\"n\":3,"
        "\"temperature\":0.7,\"top_p\":1,\"user\":\"u1\","
        "\"safety_identifier\":\"s1\",\"stop\":[\"a\",\"b\"],"
        "\"response_format\":{\"type\":\"json_object\"},\"seed\":4}");
    assert_true(str_equal(d.model, STR("demo")));
    assert_true(d.stream);
    assert_true(d.usage_asked);
    assert_int_equal(d.cap, 32);
    assert_string_equal(d.cap_param, "max_completion_tokens");
    assert_int_equal(d.choices, 3);
    assert_int_equal(d.prompts, 1);
    assert_int_equal(dialect_answers(&d), 3);
    assert_true(d.has_temperature);
    assert_int_equal(d.temperature4, 7000);
    assert_true(d.has_top_p);
    assert_int_equal(d.top_p4, 10000);
    assert_int_equal(d.tool_count, 1);
    assert_true(str_equal(d.tools[0], STR("f")));
    assert_int_equal(d.messages, 4);
    assert_int_equal(d.images, 1);
    assert_int_equal(d.audios, 1);
    assert_int_equal(d.media_bytes, 26 + 5);
    assert_true(str_equal(d.end_user, STR("s1")));
    assert_int_equal(d.stripped_count, 0);
    /* system abc, user d+e', assistant c f {}, tool c ok; f dd schema */
    assert_int_equal(
        d.text_bytes, 6 + 3 + 4 + 3 + 9 + 1 + 1 + 2 + 4 + 1 + 2 + 1 + 2 + 17);
}

static void defaults_of_a_small_body(void **state)
{
    struct dialect_description d = describe(CHAT,
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
        ",\"max_tokens\":null,\"stream\":null,\"n\":null,\"user\":null,"
        "\"temperature\":null,\"stream_options\":null,\"tools\":null}");
    assert_false(d.stream);
    assert_false(d.usage_asked);
    assert_int_equal(d.cap, -1);
    assert_null(d.cap_param);
    assert_int_equal(d.choices, 1);
    assert_false(d.has_temperature);
    assert_int_equal(d.tool_count, 0);
    assert_int_equal(d.end_user.len, 0);
}

static void prompts_of_completions_and_embeddings(void **state)
{
    static const struct {
        const char *path, *value;
        int64_t prompts, text;
    } rows[] = {
        {COMPLETE, "\"abc\"", 1, 3},
        {COMPLETE, "[\"abc\",\"de\"]", 2, 5},
        {COMPLETE, "[1,2,3,4]", 1, 4},
        {COMPLETE, "[[1,2],[3]]", 2, 3},
        {COMPLETE, "\"\"", 1, 0},
        {EMBED, "[\"a\",\"b\",\"c\"]", 3, 3},
        {EMBED, "\"caf\\u00e9\\ud83d\\ude00\"", 1, 9},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char body[256];
        snprintf(body, sizeof body, "{\"model\":\"m\",\"%s\":%s}",
            strcmp(rows[i].path, EMBED) == 0 ? "input" : "prompt",
            rows[i].value);
        struct dialect_description d = describe(rows[i].path, body);
        assert_int_equal(d.prompts, rows[i].prompts);
        assert_int_equal(d.text_bytes, rows[i].text);
    }
    struct dialect_description d = describe(COMPLETE,
        "{\"model\":\"m\",\"prompt\":[\"a\",\"b\"],\"n\":2,\"best_of\":4}");
    assert_int_equal(d.choices, 4);
    assert_int_equal(dialect_answers(&d), 8);
}

static void a_responses_body(void **state)
{
    struct dialect_description d = describe(RESPONSES,
        "{\"model\":\"m\",\"instructions\":\"be\",\"input\":[{\"role\":"
        "\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"abc\"},"
        "{\"type\":\"input_image\",\"image_url\":\"data:,x\"}]},{\"type\":"
        "\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":"
        "\"{}\"},{\"type\":\"function_call_output\",\"call_id\":\"c\","
        "\"output\":\"ok\"}],\"max_output_tokens\":9,\"store\":false,"
        "\"background\":false,\"previous_response_id\":null,\"tools\":[{"
        "\"type\":\"function\",\"name\":\"f\",\"parameters\":{},\"strict\":"
        "true}]}");
    assert_int_equal(d.cap, 9);
    assert_int_equal(d.messages, 3);
    assert_int_equal(d.images, 1);
    assert_int_equal(d.tool_count, 1);
    assert_int_equal(d.text_bytes, 2 + 4 + 3 + 1 + 1 + 2 + 1 + 2 + 1 + 2);
    d = describe(RESPONSES, "{\"model\":\"m\",\"input\":\"abc\"}");
    assert_int_equal(d.messages, 1);
    assert_int_equal(d.text_bytes, 3);
}

static void unknown_fields_are_named(void **state)
{
    struct dialect_description d = describe(CHAT,
        "{\"chat_template\":\"x\",\"model\":\"m\",\"messages\":[{\"role\":"
        "\"user\",\"content\":\"hi\",\"prefix\":true}],\"priority\":1,"
        "\"k\\u00e9\\n y\":2,\"stream_options\":{\"continuous_usage_stats\":"
        "true}}");
    assert_int_equal(d.stripped_count, 5);
    assert_true(str_equal(d.stripped[0], STR("chat_template")));
    assert_true(str_equal(d.stripped[1], STR("messages[0].prefix")));
    assert_true(str_equal(d.stripped[2], STR("priority")));
    assert_true(str_equal(d.stripped[3], STR("k??? y")));
    assert_true(
        str_equal(d.stripped[4], STR("stream_options.continuous_usage_stats")));

    struct buf body;
    buf_init(&body, 65536);
    buf_append_str(
        &body, STR("{\"model\":\"m\",\"messages\":[{\"role\":\"u\"}]"));
    for (int i = 0; i < 20; i++)
        buf_printf(&body, ",\"x%d\":%d", i, i);
    buf_append_char(&body, '}');
    d = describe(CHAT, buf_cstr(&body));
    assert_int_equal(d.stripped_count, DIALECT_STRIPPED_MAX);
    assert_int_equal(d.stripped_more, 4);
    buf_fini(&body);
}

#define MESSAGES "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define HEAD "{\"model\":\"m\"," MESSAGES

static void bad_bodies_are_refused(void **state)
{
    static const struct {
        const char *path, *body;
        enum err err;
        const char *code, *param;
    } rows[] = {
        {CHAT, "", ERR_SYNTAX, "invalid_json", ""},
        {CHAT, "[]", ERR_SYNTAX, "invalid_json", ""},
        {CHAT, "{\"model\":\"a\",\"model\":\"b\"}", ERR_SYNTAX, "invalid_json",
            ""},
        {CHAT, "{\"model\":\"a\",\"mod\\u0065l\":\"b\"}", ERR_SYNTAX,
            "invalid_json", ""},
        {CHAT, "{}", ERR_SYNTAX, "missing_required_parameter", "model"},
        {CHAT, "{\"model\":\"m\"}", ERR_SYNTAX, "missing_required_parameter",
            "messages"},
        {CHAT, "{\"model\":null," MESSAGES "}", ERR_SYNTAX, "invalid_type",
            "model"},
        {CHAT, "{\"model\":\"\"," MESSAGES "}", ERR_SYNTAX, "invalid_value",
            "model"},
        {CHAT, "{\"model\":1," MESSAGES "}", ERR_SYNTAX, "invalid_type",
            "model"},
        {CHAT, "{\"model\":[\"m\"]," MESSAGES "}", ERR_SYNTAX, "invalid_type",
            "model"},
        {CHAT, "{\"model\":\"ok\",\"MODEL\":\"secret\"," MESSAGES "}",
            ERR_SYNTAX, "unknown_parameter", "MODEL"},
        {CHAT, HEAD ",\"\\u004dax_tokens\":1}", ERR_SYNTAX, "unknown_parameter",
            "Max_tokens"},
        {CHAT,
            HEAD ",\"max_to\xe2\x84\xaa"
                 "ens\":1}",
            ERR_SYNTAX, "unknown_parameter", "max_to???ens"},
        {CHAT, HEAD ",\"\xc5\xbftream\":true}", ERR_SYNTAX, "unknown_parameter",
            "??tream"},
        {CHAT,
            "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":"
            "\"hi\",\"Content\":\"x\"}]}",
            ERR_SYNTAX, "unknown_parameter", "messages[0].Content"},
        {CHAT, HEAD ",\"stream_options\":{\"Include_usage\":true}}", ERR_SYNTAX,
            "unknown_parameter", "stream_options.Include_usage"},
        {CHAT, "{\"model\":\"m\",\"messages\":\"hi\"}", ERR_SYNTAX,
            "invalid_type", "messages"},
        {CHAT, "{\"model\":\"m\",\"messages\":[]}", ERR_SYNTAX, "invalid_value",
            "messages"},
        {CHAT, "{\"model\":\"m\",\"messages\":[\"hi\"]}", ERR_SYNTAX,
            "invalid_type", "messages[0]"},
        {CHAT, "{\"model\":\"m\",\"messages\":[{\"content\":\"hi\"}]}",
            ERR_SYNTAX, "missing_required_parameter", "messages[0].role"},
        {CHAT,
            "{\"model\":\"m\",\"messages\":[{\"role\":\"user\"},{\"role\":"
            "\"user\",\"content\":5}]}",
            ERR_SYNTAX, "invalid_type", "messages[1].content"},
        {CHAT,
            "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":"
            "[{\"type\":\"text\",\"text\":1}]}]}",
            ERR_SYNTAX, "invalid_type", "messages[0].content[0].text"},
        {CHAT, HEAD ",\"stream\":\"true\"}", ERR_SYNTAX, "invalid_type",
            "stream"},
        {CHAT, HEAD ",\"stream\":1}", ERR_SYNTAX, "invalid_type", "stream"},
        {CHAT, HEAD ",\"temperature\":\"hot\"}", ERR_SYNTAX, "invalid_type",
            "temperature"},
        {CHAT, HEAD ",\"temperature\":1e99}", ERR_RANGE, "invalid_value",
            "temperature"},
        {CHAT, HEAD ",\"max_tokens\":0}", ERR_RANGE, "invalid_value",
            "max_tokens"},
        {CHAT, HEAD ",\"max_tokens\":-1}", ERR_RANGE, "invalid_value",
            "max_tokens"},
        {CHAT, HEAD ",\"n_predict\":-1}", ERR_RANGE, "invalid_value",
            "n_predict"},
        {CHAT, HEAD ",\"max_tokens\":2147483648}", ERR_RANGE, "invalid_value",
            "max_tokens"},
        {CHAT, HEAD ",\"max_tokens\":1.0}", ERR_SYNTAX, "invalid_type",
            "max_tokens"},
        {CHAT, HEAD ",\"max_tokens\":\"64\"}", ERR_SYNTAX, "invalid_type",
            "max_tokens"},
        {CHAT, HEAD ",\"n\":0}", ERR_RANGE, "invalid_value", "n"},
        {CHAT, HEAD ",\"n\":17}", ERR_RANGE, "invalid_value", "n"},
        {CHAT, HEAD ",\"tools\":[{\"type\":\"web_search\"}]}", ERR_UNSUPPORTED,
            "unsupported_value", "tools[0].type"},
        {CHAT, HEAD ",\"tools\":[{\"function\":{\"name\":\"f\"}}]}", ERR_SYNTAX,
            "missing_required_parameter", "tools[0].type"},
        {CHAT, HEAD ",\"tools\":[{\"type\":\"function\",\"function\":{}}]}",
            ERR_SYNTAX, "missing_required_parameter", "tools[0].function.name"},
        {CHAT, HEAD ",\"web_search_options\":{}}", ERR_UNSUPPORTED,
            "unsupported_parameter", "web_search_options"},
        {CHAT, HEAD ",\"modalities\":[\"text\",\"audio\"]}", ERR_UNSUPPORTED,
            "unsupported_value", "modalities"},
        {CHAT, HEAD ",\"stop\":[1]}", ERR_SYNTAX, "invalid_type", "stop[0]"},
        {CHAT,
            "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":"
            "[{\"type\":\"image_url\",\"image_url\":{\"url\":"
            "\"https://x/y.png\"}}]}]}",
            ERR_UNSUPPORTED, "unsupported_value",
            "messages[0].content[0].image_url.url"},
        {CHAT,
            "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":"
            "[{\"type\":\"image_url\",\"image_url\":\"file:///etc/passwd\"}"
            "]}]}",
            ERR_UNSUPPORTED, "unsupported_value",
            "messages[0].content[0].image_url"},
        {CHAT,
            "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":"
            "[{\"type\":\"image_url\",\"image_url\":{\"url\":"
            "\" data:image/png;base64,A\"}}]}]}",
            ERR_UNSUPPORTED, "unsupported_value",
            "messages[0].content[0].image_url.url"},
        {CHAT,
            "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":"
            "[{\"type\":\"text\",\"text\":\"a\",\"image_url\":{\"url\":"
            "\"http://x/\"}}]}]}",
            ERR_UNSUPPORTED, "unsupported_value",
            "messages[0].content[0].image_url.url"},
        {CHAT,
            "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":"
            "[{\"type\":\"input_audio\",\"input_audio\":{\"data\":"
            "\"http\\u003a//x/\"}}]}]}",
            ERR_UNSUPPORTED, "unsupported_value",
            "messages[0].content[0].input_audio.data"},
        {CHAT,
            "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":"
            "[{\"type\":\"video_url\",\"video_url\":{\"url\":\"x\"}}]}]}",
            ERR_UNSUPPORTED, "unsupported_value",
            "messages[0].content[0].type"},
        {CHAT,
            "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":"
            "[{\"type\":\"text\",\"file\":{\"file_id\":\"x\"}}]}]}",
            ERR_UNSUPPORTED, "unsupported_parameter",
            "messages[0].content[0].file"},
        {COMPLETE, "{\"model\":\"m\"}", ERR_SYNTAX,
            "missing_required_parameter", "prompt"},
        {COMPLETE, "{\"model\":\"m\",\"prompt\":null}", ERR_SYNTAX,
            "invalid_type", "prompt"},
        {COMPLETE, "{\"model\":\"m\",\"prompt\":[]}", ERR_SYNTAX,
            "invalid_value", "prompt"},
        {COMPLETE, "{\"model\":\"m\",\"prompt\":[\"a\",1]}", ERR_SYNTAX,
            "invalid_type", "prompt"},
        {COMPLETE, "{\"model\":\"m\",\"prompt\":[1,\"a\"]}", ERR_SYNTAX,
            "invalid_type", "prompt"},
        {COMPLETE, "{\"model\":\"m\",\"prompt\":[[1,\"a\"]]}", ERR_SYNTAX,
            "invalid_type", "prompt"},
        {COMPLETE, "{\"model\":\"m\",\"prompt\":[1.5]}", ERR_SYNTAX,
            "invalid_type", "prompt"},
        {COMPLETE, "{\"model\":\"m\",\"prompt\":[true]}", ERR_SYNTAX,
            "invalid_type", "prompt[0]"},
        {COMPLETE, "{\"model\":\"m\",\"prompt\":[{\"a\":1}]}", ERR_SYNTAX,
            "invalid_type", "prompt[0]"},
        {COMPLETE, "{\"model\":\"m\",\"prompt\":\"a\",\"best_of\":99}",
            ERR_RANGE, "invalid_value", "best_of"},
        {RESPONSES, "{\"model\":\"m\",\"input\":\"a\",\"store\":true}",
            ERR_UNSUPPORTED, "unsupported_parameter", "store"},
        {RESPONSES, "{\"model\":\"m\",\"input\":\"a\",\"background\":true}",
            ERR_UNSUPPORTED, "unsupported_parameter", "background"},
        {RESPONSES,
            "{\"model\":\"m\",\"input\":\"a\",\"previous_response_id\":\"r\"}",
            ERR_UNSUPPORTED, "unsupported_parameter", "previous_response_id"},
        {RESPONSES, "{\"model\":\"m\",\"input\":\"a\",\"conversation\":{}}",
            ERR_UNSUPPORTED, "unsupported_parameter", "conversation"},
        {RESPONSES,
            "{\"model\":\"m\",\"input\":\"a\",\"tools\":[{\"type\":\"mcp\","
            "\"server_url\":\"http://x\"}]}",
            ERR_UNSUPPORTED, "unsupported_value", "tools[0].type"},
        {RESPONSES,
            "{\"model\":\"m\",\"input\":\"a\",\"tools\":[{\"type\":"
            "\"code_interpreter\"}]}",
            ERR_UNSUPPORTED, "unsupported_value", "tools[0].type"},
        {RESPONSES,
            "{\"model\":\"m\",\"input\":\"a\",\"tool_choice\":{\"type\":"
            "\"file_search\"}}",
            ERR_UNSUPPORTED, "unsupported_value", "tool_choice.type"},
        {RESPONSES,
            "{\"model\":\"m\",\"input\":[{\"type\":\"item_reference\",\"id\":"
            "\"x\"}]}",
            ERR_UNSUPPORTED, "unsupported_value", "input[0].type"},
        {RESPONSES,
            "{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":[{"
            "\"type\":\"input_image\",\"file_id\":\"f\"}]}]}",
            ERR_UNSUPPORTED, "unsupported_parameter",
            "input[0].content[0].file_id"},
        {EMBED, "{\"model\":\"m\",\"input\":{}}", ERR_SYNTAX, "invalid_type",
            "input"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dialect_description d;
        struct dialect_error error = {0};
        arena_reset(arena);
        enum err err = dialect_describe(route_of(rows[i].path),
            str_from(rows[i].body), arena, NULL, &d, &error);
        if (err != rows[i].err)
            fail_msg("%s: %s", rows[i].body, err_name(err));
        assert_int_equal(error.status, 400);
        assert_string_equal(error.type, "invalid_request_error");
        assert_string_equal(error.code, rows[i].code);
        if (!str_equal(error.param, str_from(rows[i].param)))
            fail_msg("%s: param %.*s", rows[i].body, STR_ARG(error.param));
        assert_true(error.message.len > 10);
    }
}

static void limits_hold(void **state)
{
    struct dialect_limits limits = {
        .max_depth = 4, .max_choices = 2, .max_prompts = 2, .max_tools = 1};
    static const struct {
        const char *path, *body;
        enum err err;
    } rows[] = {
        {CHAT, HEAD ",\"n\":2}", ERR_OK},
        {CHAT, HEAD ",\"n\":3}", ERR_RANGE},
        {COMPLETE, "{\"model\":\"m\",\"prompt\":[\"a\",\"b\"]}", ERR_OK},
        {COMPLETE, "{\"model\":\"m\",\"prompt\":[\"a\",\"b\",\"c\"]}",
            ERR_LIMIT},
        {CHAT, HEAD ",\"logit_bias\":{\"a\":[[1]]}}", ERR_OK},
        {CHAT, HEAD ",\"logit_bias\":{\"a\":[[[1]]]}}", ERR_LIMIT},
        {CHAT, HEAD ",\"functions\":[{\"name\":\"f\"}]}", ERR_OK},
        {CHAT, HEAD ",\"functions\":[{\"name\":\"f\"},{\"name\":\"g\"}]}",
            ERR_LIMIT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dialect_description d;
        struct dialect_error error = {0};
        arena_reset(arena);
        enum err err = dialect_describe(route_of(rows[i].path),
            str_from(rows[i].body), arena, &limits, &d, &error);
        if (err != rows[i].err)
            fail_msg("%s: %s", rows[i].body, err_name(err));
    }
}

/* --- splices ----------------------------------------------------------------
 */

static char *splice(
    const char *path, const char *body, const struct dialect_target *target)
{
    static struct buf out, again;
    const struct dialect_splice *splices;
    struct iovec *pieces;
    size_t count, piece_count;
    struct dialect_description d = describe(path, body);

    assert_int_equal(
        dialect_splices(&d, target, arena, &splices, &count), ERR_OK);
    for (size_t i = 1; i < count; i++)
        assert_true(
            splices[i].offset >= splices[i - 1].offset + splices[i - 1].length);
    buf_fini(&out);
    buf_init(&out, 65536);
    dialect_spliced_write(&out, str_from(body), splices, count);
    assert_int_equal(
        out.len, dialect_spliced_length(str_from(body), splices, count));
    buf_fini(&again);
    buf_init(&again, 65536);
    assert_int_equal(dialect_spliced_pieces(arena, str_from(body), splices,
                         count, &pieces, &piece_count),
        ERR_OK);
    for (size_t i = 0; i < piece_count; i++)
        buf_append(&again, pieces[i].iov_base, pieces[i].iov_len);
    assert_true(str_equal(buf_str(&out), buf_str(&again)));
    buf_fini(&again);
    buf_cstr(&out);
    return out.ptr + out.start;
}

static void splices_of_each_place(void **state)
{
    const struct dialect_target llama = {.kind = ENGINE_LLAMA_SERVER,
        .model = STR("up"),
        .cap = 16,
        .force_usage = true};
    static const struct {
        const char *path, *body, *spliced;
    } rows[] = {
        {CHAT, HEAD "}", "{\"model\":\"up\",\"max_tokens\":16," MESSAGES "}"},
        {CHAT, HEAD ",\"stream\":true}",
            "{\"model\":\"up\",\"max_tokens\":16,\"stream_options\":{"
            "\"include_usage\":true}," MESSAGES ",\"stream\":true}"},
        {CHAT,
            HEAD ",\"stream_options\":{\"include_usage\":false},\"stream\""
                 ":true}",
            "{\"model\":\"up\",\"max_tokens\":16,\"stream_options\":{"
            "\"include_usage\":true}," MESSAGES ",\"stream\":true}"},
        {CHAT, HEAD ",\"stream_options\":{\"include_usage\":true}}",
            "{\"model\":\"up\",\"max_tokens\":16," MESSAGES "}"},
        /* cut at the start, in runs, at the end, with every synonym */
        {CHAT,
            "{ \"x\" : 1 , \"n_predict\":900, \"model\" : \"m\" , \"y\":[{}] ,"
            " \"max_tokens\":5 ," MESSAGES " , \"max_completion_tokens\" : 9 "
            ", \"z\" : \"}\" }",
            "{ \"model\" : \"up\",\"max_tokens\":16 ," MESSAGES " }"},
        {CHAT,
            "{\"messages\":[{\"x\":1,\"role\":\"user\",\"y\":2,\"content\":"
            "\"hi\",\"z\":3}],\"user\":\"u\",\"model\":\"m\"}",
            "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"model\":"
            "\"up\",\"max_tokens\":16}"},
        /* a run before a member that has cuts of its own inside */
        {CHAT,
            "{\"model\":\"m\",\"a\":1,\"messages\":[{\"b\":2,\"role\":\"u\"}],"
            "\"c\":3}",
            "{\"model\":\"up\",\"max_tokens\":16,\"messages\":[{\"role\":"
            "\"u\"}]}"},
        {CHAT,
            "{\"a\":1,\"messages\":[{\"b\":2,\"role\":\"u\",\"tool_calls\":[{"
            "\"c\":1,\"id\":\"i\"},{\"d\":1}]}],\"model\":\"m\"}",
            "{\"messages\":[{\"role\":\"u\",\"tool_calls\":[{\"id\":\"i\"},{}]"
            "}],\"model\":\"up\",\"max_tokens\":16}"},
        {COMPLETE, "{\"model\":\"m\",\"prompt\":\"a\",\"max_tokens\":4}",
            "{\"model\":\"up\",\"max_tokens\":16,\"prompt\":\"a\"}"},
        {RESPONSES,
            "{\"model\":\"m\",\"input\":\"a\",\"store\":false,\"stream\":true}",
            "{\"model\":\"up\",\"max_output_tokens\":16,\"store\":false,"
            "\"input\":\"a\",\"stream\":true}"},
        {EMBED, "{\"input\":\"a\",\"user\":\"u\",\"model\":\"m\"}",
            "{\"input\":\"a\",\"model\":\"up\"}"},
        {EMBED, "{\"input\":\"a\",\"model\":\"up\"}",
            "{\"input\":\"a\",\"model\":\"up\"}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(
            splice(rows[i].path, rows[i].body, &llama), rows[i].spliced);
}

static void each_engine_gets_its_own_cap(void **state)
{
    static const struct {
        enum engine_kind kind;
        const char *chat;
    } rows[] = {
        {ENGINE_OPENAI, "\"max_completion_tokens\":7,\"max_tokens\":7"},
        {ENGINE_VLLM, "\"max_completion_tokens\":7,\"max_tokens\":7,"
                      "\"cache_salt\":\"s\""},
        {ENGINE_LLAMA_SERVER, "\"max_tokens\":7"},
        {ENGINE_OLLAMA, "\"max_tokens\":7"},
        {ENGINE_TGI, "\"max_tokens\":7"},
        {ENGINE_LOCALAI, "\"max_tokens\":7"},
        {ENGINE_DEMO, "\"max_tokens\":7"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dialect_target target = {.kind = rows[i].kind,
            .model = STR("a\"b"),
            .cap = 7,
            .cache_salt = STR("s")};
        char expected[256];
        snprintf(expected, sizeof expected,
            "{\"model\":\"a\\\"b\",%s," MESSAGES ",\"stream\":true}",
            rows[i].chat);
        assert_string_equal(
            splice(CHAT,
                HEAD ",\"stream\":true,\"max_tokens\":9,"
                     "\"num_predict\":8,\"cache_salt\":\"mine\"}",
                &target),
            expected);
    }
}

static void a_cap_is_never_forgotten(void **state)
{
    struct dialect_description d = describe(CHAT, HEAD "}");
    static const int64_t caps[] = {-1, 0, INT64_C(2147483648)};
    for (size_t i = 0; i < sizeof caps / sizeof *caps; i++) {
        struct dialect_target target = {
            .kind = ENGINE_VLLM, .model = STR("m"), .cap = caps[i]};
        const struct dialect_splice *splices;
        size_t count;
        assert_int_equal(
            dialect_splices(&d, &target, arena, &splices, &count), ERR_INVALID);
    }
}

/* --- property: whatever the members and their order -------------------------
 */

static uint64_t seed = 88172645463325252u;
static unsigned pick(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 33) % n;
}

static const struct {
    const char *member;
    bool kept;
} members[] = {
    {"\"model\":\"m\"", true},
    {"\"messages\" : [ { \"role\":\"user\", \"x\":1, \"content\":\"a\\\"}\" } "
     "]",
        true},
    {"\"max_tokens\":5", false},
    {"\"max_completion_tokens\": 6", false},
    {"\"n_predict\":7", false},
    {"\"num_predict\":8 ", false},
    {"\"max_new_tokens\":9", false},
    {"\"max_output_tokens\":10", false},
    {"\"stream\":true", true},
    {"\"stream_options\":{\"include_usage\":false,\"o\":[1]}", false},
    {"\"temperature\":0.5", true},
    {"\"seed\":1", true},
    {"\"user\":\"u\"", false},
    {"\"store\":true", false},
    {"\"lora\":[{\"id\":1}]", false},
    {"\"id_slot\":1", false},
    {"\"\":null", false},
    {"\"k\\\"ey\":\"\"", false},
};
#define MEMBERS (sizeof members / sizeof *members)

static void any_order_of_members(void **state)
{
    static const char *const spaces[] = {"", " ", "\n  ", "\t"};

    for (int round = 0; round < 3000; round++) {
        unsigned order[MEMBERS];
        char body[2048] = "{";
        size_t length = 1;
        unsigned used = 0, kept = 0;
        bool stream = false;

        for (unsigned i = 0; i < MEMBERS; i++)
            order[i] = i;
        for (unsigned i = MEMBERS - 1; i > 0; i--) {
            unsigned j = pick(i + 1), swap = order[i];
            order[i] = order[j];
            order[j] = swap;
        }
        for (unsigned i = 0; i < MEMBERS; i++) {
            if (order[i] > 1 && pick(3) == 0)
                continue;
            length += (size_t)snprintf(body + length, sizeof body - length,
                "%s%s%s%s", used++ ? "," : "", spaces[pick(4)],
                members[order[i]].member, spaces[pick(4)]);
            kept += members[order[i]].kept;
            stream |= order[i] == 8;
        }
        snprintf(body + length, sizeof body - length, "}");

        const struct dialect_target target = {.kind = ENGINE_LLAMA_SERVER,
            .model = STR("upstream"),
            .cap = 42,
            .force_usage = true};
        char *spliced = splice(CHAT, body, &target);
        struct json json;
        struct json_error error;
        int64_t cap = 0;
        if (json_parse(arena, str_from(spliced), NULL, &json, &error))
            fail_msg("%s\n%s", body, spliced);
        /* the members that were kept, the cap, and the stream's options */
        assert_int_equal(json.tokens[0].count, kept + 1 + stream);
        assert_true(json_string_equals(
            &json, json_find(&json, 0, STR("model")), STR("upstream")));
        assert_int_equal(
            json_int64(&json, json_find(&json, 0, STR("max_tokens")), &cap),
            ERR_OK);
        assert_int_equal(cap, 42);
        uint32_t options = json_find(&json, 0, STR("stream_options"));
        assert_int_equal(options != JSON_NONE, stream);
        if (stream)
            assert_true(str_equal(
                json_span(&json, options), STR("{\"include_usage\":true}")));
        uint32_t message = json_find(&json, 0, STR("messages")) + 1;
        assert_int_equal(json.tokens[message].count, 2);
        /* what we wrote is judged as we meant it, and stays as it is */
        char copy[2048];
        snprintf(copy, sizeof copy, "%s", spliced);
        assert_string_equal(splice(CHAT, copy, &target), copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_chat_body),
        cmocka_unit_test(defaults_of_a_small_body),
        cmocka_unit_test(prompts_of_completions_and_embeddings),
        cmocka_unit_test(a_responses_body),
        cmocka_unit_test(unknown_fields_are_named),
        cmocka_unit_test(bad_bodies_are_refused),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(splices_of_each_place),
        cmocka_unit_test(each_engine_gets_its_own_cap),
        cmocka_unit_test(a_cap_is_never_forgotten),
        cmocka_unit_test(any_order_of_members),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
