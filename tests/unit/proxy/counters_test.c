/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of proxy/cli/counters: metrics as vLLM and llama-server give them,
 * bills as spreadsheets write them. */
#include "proxy/cli/counters.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void vllm(void **state)
{
    struct counters c;
    assert_true(counters_of_metrics(
        STR("# HELP vllm:prompt_tokens_total of the engine\n"
            "vllm:prompt_tokens_total{engine=\"0\",model_name=\"a}\\\"b\"} "
            "12.0\n"
            "vllm:prompt_tokens_total{engine=\"1\",model_name=\"c\"} 1e+03 17\n"
            "vllm:prompt_tokens_total_other 99\n"
            "vllm:generation_tokens_total{model_name=\"a\"} 7\r\n"
            "vllm:request_success_total{finished_reason=\"stop\"} 3\n"
            "vllm:request_success_total{finished_reason=\"length\"} 4"),
        &c));
    assert_int_equal(c.input, 1012);
    assert_int_equal(c.output, 7);
    assert_int_equal(c.requests, 7);
}

static void llama_server(void **state)
{
    struct counters c;
    assert_true(
        counters_of_metrics(STR("llamacpp:prompt_tokens_total 6886\n"
                                "llamacpp:prompt_tokens_seconds 2.37\n"
                                "llamacpp:tokens_predicted_total 3469\n"),
            &c));
    assert_int_equal(c.requests, -1);
    assert_int_equal(c.input, 6886);
    assert_int_equal(c.output, 3469);
}

static void nothing_known(void **state)
{
    struct counters c;
    assert_false(counters_of_metrics(STR(""), &c));
    assert_false(counters_of_metrics(STR("up 1\n"), &c));
    assert_false(
        counters_of_metrics(STR("llamacpp:prompt_tokens_total NaN\n"
                                "llamacpp:prompt_tokens_total{a=\"} 5\n"
                                "llamacpp:tokens_predicted_total -1\n"
                                "llamacpp:tokens_predicted_total 1e300\n"),
            &c));
}

static void bills(void **state)
{
    struct arena *arena = arena_new(4096, 1u << 22);
    struct bill_row *rows;
    struct errinfo info;
    size_t count;
    assert_int_equal(counters_of_bill(arena,
                         STR("\xEF\xBB\xBF"
                             "Engine,\"Period\",Requests,output_tokens\r\n"
                             "local,\"Nov, \"\"26\"\"\",5,1\r\n\r\n"
                             "far,x, 2 ,3\r\n"
                             "local,rest,7,2"),
                         &rows, &count, &info),
        ERR_OK);
    assert_int_equal(count, 2);
    assert_true(str_equal(rows[0].engine, STR("local")));
    assert_int_equal(rows[0].counters.requests, 12);
    assert_int_equal(rows[0].counters.output, 3);
    assert_int_equal(rows[0].counters.input, -1);
    assert_int_equal(rows[1].counters.requests, 2);
    static const char *const bad[] = {"", "engine\n", "requests\n1\n",
        "engine,requests\nlocal\n", "engine,requests\nlocal,-1\n",
        "engine,requests\nlocal,1.5\n", "engine,requests\nlocal,\"1\n",
        "engine,requests\n\"a\"b,1\n",
        "engine,requests\nlocal,99999999999999999\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(
            counters_of_bill(arena, str_from(bad[i]), &rows, &count, &info),
            ERR_SYNTAX);
    assert_int_equal(counters_of_bill(arena, STR("engine,requests\na,1\nb,x\n"),
                         &rows, &count, &info),
        ERR_SYNTAX);
    assert_non_null(strstr(info.text, "line 3"));
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vllm),
        cmocka_unit_test(llama_server),
        cmocka_unit_test(nothing_known),
        cmocka_unit_test(bills),
    };
    return cmocka_run_group_tests_name("counters", tests, NULL, NULL);
}
