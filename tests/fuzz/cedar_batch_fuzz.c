/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/cedar_batch_fuzz.c - any bytes as lines of the batch protocol:
 * policies, schemas, entities and requests in one. Each line that is not
 * blank has to get exactly one line of JSON, and the same one when it is
 * asked again. */
#include "lib/must.h"
#include "policy/cedar/batch_priv.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REPLY_MAX ((size_t)1 << 28)

static void check_reply(struct str reply)
{
    struct arena *arena = arena_new(4096, 0);
    struct json json;
    MUST(arena != NULL);
    MUST(!memchr(reply.ptr, '\n', reply.len));
    MUST(json_parse(arena, reply, NULL, &json, NULL) == ERR_OK);
    MUST(json_find(&json, 0, STR("id")) != JSON_NONE);
    arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct batch batch = {.arena = arena_new(65536, 0)};
    struct buf first;
    struct str rest = str_make((const char *)data, size), line;
    buf_init(&batch.reply, REPLY_MAX);
    buf_init(&first, REPLY_MAX);
    MUST(batch.arena && cedar_scratch_new(&batch.scratch) == ERR_OK);
    while (rest.len > 0) {
        str_split(rest, '\n', &line, &rest);
        buf_clear(&batch.reply);
        batch_answer_line(&batch, line);
        MUST(!batch.reply.failed);
        check_reply(buf_str(&batch.reply));
        buf_clear(&first);
        buf_append_str(&first, buf_str(&batch.reply));
        buf_clear(&batch.reply);
        batch_answer_line(&batch, line);
        MUST(str_equal(buf_str(&first), buf_str(&batch.reply)));
    }
    cedar_scratch_free(&batch.scratch);
    arena_free(&batch.arena);
    buf_fini(&batch.reply);
    buf_fini(&first);
    return 0;
}
