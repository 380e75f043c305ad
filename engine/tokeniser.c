/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/tokeniser.c - requests to tokenisers and what they answer. */
#include "engine/tokeniser.h"

#include "lib/json_write.h"

static enum tokeniser_state fail(struct tokeniser *t, const char *why)
{
    t->why = why;
    return TOKENISER_FAILED;
}

/* The one text of a request that has no messages; JSON_NONE: there are
 * several, or token ids. */
static uint32_t only_text(const struct dialect_description *d)
{
    struct str name = d->route->endpoint == DIALECT_COMPLETIONS ? STR("prompt")
                                                                : STR("input");
    uint32_t at = json_find(&d->json, 0, name);
    if (at != JSON_NONE && json_type(&d->json, at) == JSON_ARRAY &&
        d->json.tokens[at].count == 1)
        at++;
    return at != JSON_NONE && json_type(&d->json, at) == JSON_STRING
               ? at
               : JSON_NONE;
}

bool tokeniser_exists(
    enum engine_kind kind, const struct dialect_description *d)
{
    if (kind != ENGINE_DEMO && kind != ENGINE_VLLM &&
        kind != ENGINE_LLAMA_SERVER)
        return false;
    switch (d->route->endpoint) {
    case DIALECT_CHAT:
        return true;
    case DIALECT_COMPLETIONS:
    case DIALECT_EMBEDDINGS:
        return only_text(d) != JSON_NONE;
    case DIALECT_RESPONSES:
        return kind == ENGINE_DEMO;
    case DIALECT_MODELS:
    case DIALECT_MODEL:
    case DIALECT_USAGE:
        break;
    }
    return false;
}

/* --- What is asked ------------------------------------------------------- */

static enum tokeniser_state ask_whole(struct tokeniser *t, const char *path,
    const struct dialect_description *d, struct str upstream,
    struct arena *arena)
{
    const struct dialect_splice *splices;
    size_t count;
    /* No answer is generated, yet the body must be a valid one. */
    struct dialect_target target = {
        .kind = t->kind, .model = upstream, .cap = 1};
    if (dialect_splices(d, &target, arena, &splices, &count) != ERR_OK ||
        dialect_spliced_pieces(arena, d->body, splices, count, &t->pieces,
            &t->piece_count) != ERR_OK)
        return fail(t, "out of memory");
    t->path = path;
    t->length = dialect_spliced_length(d->body, splices, count);
    return TOKENISER_ASK;
}

/* `text` is a JSON string as it stands in another document. */
static enum tokeniser_state ask_text(
    struct tokeniser *t, struct str model, struct str text, struct arena *arena)
{
    struct json_writer json;
    struct buf head, *out = &head;
    buf_init(out, 4096);
    json_write_init(&json, out);
    json_write_object(&json);
    if (t->kind == ENGINE_LLAMA_SERVER) {
        json_write_member_bool(&json, STR("add_special"), true);
        json_write_key(&json, STR("content"));
    } else {
        json_write_member_string(&json, STR("model"), model);
        json_write_key(&json, STR("prompt"));
    }
    struct str begin = arena_copy(arena, buf_str(out));
    bool good = !out->failed && begin.ptr != NULL;
    buf_fini(out);
    t->pieces = ARENA_ARRAY(arena, 3, struct iovec);
    if (!good || t->pieces == NULL)
        return fail(t, "out of memory");
    t->pieces[0] = (struct iovec){(void *)(uintptr_t)begin.ptr, begin.len};
    t->pieces[1] = (struct iovec){(void *)(uintptr_t)text.ptr, text.len};
    struct str tail = t->kind == ENGINE_LLAMA_SERVER
                          ? STR(",\"parse_special\":true}")
                          : STR("}");
    t->pieces[2] = (struct iovec){(void *)(uintptr_t)tail.ptr, tail.len};
    t->piece_count = 3;
    t->length = begin.len + text.len + tail.len;
    t->path = "/tokenize";
    return TOKENISER_ASK;
}

enum tokeniser_state tokeniser_begin(struct tokeniser *t, enum engine_kind kind,
    const struct dialect_description *d, struct str upstream,
    struct arena *arena)
{
    *t = (struct tokeniser){.kind = kind};
    bool text = d->route->endpoint == DIALECT_COMPLETIONS ||
                d->route->endpoint == DIALECT_EMBEDDINGS;
    if (text) {
        uint32_t at = only_text(d);
        if (at == JSON_NONE)
            return fail(t, "the request has no single text");
        return ask_text(t, upstream, json_span(&d->json, at), arena);
    }
    t->template_is_next = kind == ENGINE_LLAMA_SERVER;
    return ask_whole(t, t->template_is_next ? "/apply-template" : "/tokenize",
        d, upstream, arena);
}

/* --- What is answered ---------------------------------------------------- */

enum tokeniser_state tokeniser_answer(
    struct tokeniser *t, int status, struct str body, struct arena *arena)
{
    struct json json;
    if (status != 200)
        return fail(t, "it did not answer 200");
    if (json_parse(arena, body, NULL, &json, NULL) != ERR_OK ||
        json_type(&json, 0) != JSON_OBJECT)
        return fail(t, "its answer is no JSON object");
    if (t->template_is_next) {
        uint32_t at = json_find(&json, 0, STR("prompt"));
        if (at == JSON_NONE || json_type(&json, at) != JSON_STRING)
            return fail(t, "its answer has no prompt");
        /* The caller may reuse the answer's buffer for the next one. */
        struct str text = arena_copy(arena, json_span(&json, at));
        if (text.ptr == NULL)
            return fail(t, "out of memory");
        t->template_is_next = false;
        return ask_text(t, STR(""), text, arena);
    }
    uint32_t count = json_find(&json, 0, STR("count"));
    uint32_t tokens = json_find(&json, 0, STR("tokens"));
    if (t->kind != ENGINE_LLAMA_SERVER && count != JSON_NONE) {
        if (json_int64(&json, count, &t->count) != ERR_OK)
            return fail(t, "its count is no integer");
    } else if (tokens != JSON_NONE && json_type(&json, tokens) == JSON_ARRAY) {
        t->count = json.tokens[tokens].count;
    } else {
        return fail(t, "its answer has neither count nor tokens");
    }
    if (t->count < 1 || t->count > INT32_MAX)
        return fail(t, "its count cannot be true");
    return TOKENISER_COUNTED;
}
