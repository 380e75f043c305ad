/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/cedar/driver.c - the Cedar library on standard input and output, for
 * the differential tests: needs no program around it.
 *
 *   driver batch    the JSONL protocol
 *   driver formats  per line a JSON string holding one policy text; answers
 *                   {"json": .., "text": ..} (as JSON policy, and printed
 *                   again from that JSON) or {"error": ".."} */
#include "lib/json_write.h"

#include "lib/json.h"
#include "policy/cedar/ast.h"
#include "policy/cedar/batch.h"
#include "policy/cedar/json_policy.h"

#include <stdio.h>
#include <stdlib.h>

#define OUTPUT_MAX ((size_t)1 << 30)

static const struct cedar_policy *only_one(const struct cedar_policies *set)
{
    if (cedar_policies_count(set) == 1) {
        return cedar_policies_at(set, 0);
    }
    return cedar_policies_template_count(set) == 1
               ? cedar_policies_template_at(set, 0)
               : NULL;
}

/* text -> tree -> JSON -> tree -> JSON, which has to be the same, and text. */
static enum err convert(
    struct arena *arena, struct str text, struct buf *out, struct errinfo *info)
{
    struct cedar_diagnostics diagnostics = {0};
    struct cedar_policies *set = NULL, *again = NULL;
    struct cedar_builder *builder = NULL;
    struct buf as_json, second, as_text;
    struct json json;
    const struct json_limits limits = {.max_depth = 20000};
    buf_init(&as_json, OUTPUT_MAX);
    buf_init(&second, OUTPUT_MAX);
    buf_init(&as_text, OUTPUT_MAX);
    enum err err = cedar_policies_parse(text, &diagnostics, &set);
    if (err != ERR_OK) {
        errinfo_set(info, err, "%s",
            diagnostics.count > 0 ? diagnostics.items[0].text : "");
        goto out;
    }
    const struct cedar_policy *policy = only_one(set);
    if (!policy) {
        err = errinfo_set(info, ERR_INVALID, "not exactly one policy");
        goto out;
    }
    cedar_policy_write_json(&as_json, policy);
    err = json_parse(arena, buf_str(&as_json), &limits, &json, NULL);
    if (err == ERR_OK) {
        err = cedar_builder_new(&builder);
    }
    if (err == ERR_OK) {
        err = cedar_json_policy_read(
            builder, &json, 0, STR("p"), policy->slots != 0, info);
    }
    if (err == ERR_OK) {
        err = cedar_builder_finish(&builder, &again);
    }
    if (err == ERR_OK) {
        cedar_policy_write_json(&second, only_one(again));
        if (!str_equal(buf_str(&as_json), buf_str(&second))) {
            err = errinfo_set(info, ERR_CORRUPT, "read again it differs");
        }
    }
    if (err == ERR_OK) {
        cedar_policy_print(&as_text, only_one(again));
        buf_append_str(out, STR("{\"json\":"));
        buf_append_str(out, buf_str(&as_json));
        buf_append_str(out, STR(",\"text\":"));
        json_quote(out, buf_str(&as_text));
        buf_append_char(out, '}');
    }
out:
    cedar_builder_free(&builder);
    cedar_policies_free(&set);
    cedar_policies_free(&again);
    cedar_diagnostics_fini(&diagnostics);
    buf_fini(&as_json);
    buf_fini(&second);
    buf_fini(&as_text);
    return err;
}

static void answer(struct str line, struct buf *out)
{
    struct arena *arena = arena_new(65536, 0);
    struct json json;
    struct str text;
    struct errinfo info = {.text = "bad line"};
    if (!arena) {
        abort();
    }
    enum err err = json_parse(arena, line, NULL, &json, NULL);
    if (err == ERR_OK) {
        err = json_text(&json, 0, arena, &text);
    }
    if (err == ERR_OK) {
        err = convert(arena, text, out, &info);
    }
    if (err != ERR_OK) {
        buf_clear(out);
        buf_append_str(out, STR("{\"error\":"));
        json_quote(out, str_from(info.text));
        buf_append_char(out, '}');
    }
    arena_free(&arena);
}

static int formats(void)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    struct buf out;
    buf_init(&out, OUTPUT_MAX);
    while ((length = getline(&line, &room, stdin)) > 0) {
        buf_clear(&out);
        answer(str_make(line, (size_t)length), &out);
        printf("%s\n", buf_cstr(&out));
        fflush(stdout);
    }
    buf_fini(&out);
    free(line);
    return 0;
}

int main(int argc, char **argv)
{
    struct str mode = str_from(argc == 2 ? argv[1] : "");
    if (str_equal(mode, STR("batch"))) {
        return cedar_batch_run(stdin, stdout);
    }
    if (str_equal(mode, STR("formats"))) {
        return formats();
    }
    fprintf(stderr, "usage: driver batch|formats\n");
    return 2;
}
