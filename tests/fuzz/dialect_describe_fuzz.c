/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/dialect_describe_fuzz.c - any bytes as the body of a call (the
 * first byte picks the route and the engine). What is accepted becomes, after
 * its splices, a body that is judged the same: the upstream model, exactly our
 * cap, nothing unknown; and splicing that again changes no byte. */
#include "engine/dialect.h"
#include "lib/must.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CAP 42

static void check_spliced(struct arena *arena,
    const struct dialect_description *first,
    const struct dialect_target *target)
{
    const struct dialect_splice *splices;
    struct dialect_description d;
    struct dialect_error error;
    struct iovec *pieces;
    struct buf once, twice;
    size_t count, piece_count, length = 0;

    buf_init(&once, first->body.len + 65536);
    buf_init(&twice, first->body.len + 65536);
    MUST(dialect_splices(first, target, arena, &splices, &count) == ERR_OK);
    for (size_t i = 1; i < count; i++)
        MUST(
            splices[i].offset >= splices[i - 1].offset + splices[i - 1].length);
    dialect_spliced_write(&once, first->body, splices, count);
    MUST(once.len == dialect_spliced_length(first->body, splices, count));
    MUST(dialect_spliced_pieces(arena, first->body, splices, count, &pieces,
             &piece_count) == ERR_OK);
    for (size_t i = 0; i < piece_count; i++)
        length += pieces[i].iov_len;
    MUST(length == once.len);

    MUST(dialect_describe(
             first->route, buf_str(&once), arena, NULL, &d, &error) == ERR_OK);
    MUST(str_equal(d.model, target->model));
    MUST(d.cap == (d.route->has_cap ? CAP : -1));
    MUST(d.stripped_count == 0 && d.stripped_more == 0);
    MUST(d.stream == first->stream);
    MUST(d.choices == first->choices && d.prompts == first->prompts);
    MUST(d.messages == first->messages && d.tool_count == first->tool_count);
    MUST(d.images == first->images && d.audios == first->audios);
    MUST(d.text_bytes == first->text_bytes);
    MUST(d.end_user.len == 0);

    MUST(dialect_splices(&d, target, arena, &splices, &count) == ERR_OK);
    dialect_spliced_write(&twice, buf_str(&once), splices, count);
    MUST(str_equal(buf_str(&once), buf_str(&twice)));
    buf_fini(&once);
    buf_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum engine_kind kinds[] = {
        ENGINE_OPENAI, ENGINE_LLAMA_SERVER, ENGINE_VLLM, ENGINE_OLLAMA};
    struct dialect_description d;
    struct dialect_error error = {0};
    size_t routes;
    const struct dialect_route *route = dialect_routes(&routes);

    if (size == 0)
        return 0;
    route += data[0] % 4; /* those with a body come first */
    MUST(route->has_body);
    struct dialect_target target = {.kind = kinds[data[0] / 4 % 4],
        .model = STR("up\"stream\\"),
        .cap = CAP,
        .force_usage = data[0] & 0x10};
    struct str body = str_make((const char *)data + 1, size - 1);
    struct arena *arena = arena_new(16384, (size_t)64 << 20);
    MUST(arena != NULL);
    enum err err = dialect_describe(route, body, arena, NULL, &d, &error);
    if (err == ERR_OK) {
        MUST(d.model.len > 0 && d.choices >= 1 && d.prompts >= 1);
        MUST(d.cap == -1 || (d.cap >= 1 && d.cap_param != NULL));
        check_spliced(arena, &d, &target);
    } else {
        MUST(error.status == 400 && error.message.len > 0);
        MUST(str_is_utf8(error.message) && str_is_utf8(error.param));
    }
    arena_free(&arena);
    return 0;
}
