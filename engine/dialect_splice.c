/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/dialect_splice.c - from the judged body to the engine's.
 *
 * Whatever a control depends on was cut out by the walk; here it is written
 * anew, in one place: behind the model's name, which is always there. */
#include "engine/dialect_priv.h"

#include "lib/json_write.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* The names under which an engine reads the cap; where there are two, both
 * carry the same number. llama-server and Ollama rank their names against one
 * another, so they get one. Of the others, old versions know only max_tokens
 * and the newest may know only max_completion_tokens: an engine that knew
 * neither of those it is sent would generate without end. */
static const char *const chat_both[] = {"max_completion_tokens", "max_tokens"};
static const char *const one_max_tokens[] = {"max_tokens"};
static const char *const one_max_output[] = {"max_output_tokens"};

static const char *const *cap_names(
    enum dialect_endpoint endpoint, enum engine_kind kind, size_t *count)
{
    *count = 1;
    switch (endpoint) {
    case DIALECT_CHAT:
        break;
    case DIALECT_COMPLETIONS:
        return one_max_tokens;
    case DIALECT_RESPONSES:
        return one_max_output;
    case DIALECT_EMBEDDINGS:
    case DIALECT_MODELS:
    case DIALECT_MODEL:
    case DIALECT_USAGE:
        *count = 0;
        return NULL;
    }
    switch (kind) {
    case ENGINE_OPENAI:
    case ENGINE_VLLM:
        *count = COUNT(chat_both);
        return chat_both;
    case ENGINE_LLAMA_SERVER:
    case ENGINE_OLLAMA:
    case ENGINE_TGI:
    case ENGINE_LOCALAI:
    case ENGINE_DEMO:
        break;
    }
    return one_max_tokens;
}

/* What stands in the place of the model's value. */
static void write_controls(struct buf *out, const struct dialect_description *d,
    const struct dialect_target *target)
{
    const struct dialect_route *route = d->route;
    size_t count;
    const char *const *names = cap_names(route->endpoint, target->kind, &count);

    json_quote(out, target->model);
    for (size_t i = 0; i < count; i++) {
        buf_append_str(out, STR(",\""));
        buf_append_str(out, str_from(names[i]));
        buf_append_str(out, STR("\":"));
        buf_append_i64(out, target->cap);
    }
    if (d->stream && route->endpoint != DIALECT_RESPONSES &&
        (target->force_usage || d->usage_asked))
        buf_append_str(
            out, STR(",\"stream_options\":{\"include_usage\":true}"));
    if (route->endpoint == DIALECT_RESPONSES)
        buf_append_str(out, STR(",\"store\":false"));
    if (target->kind == ENGINE_VLLM && target->cache_salt.len > 0) {
        buf_append_str(out, STR(",\"cache_salt\":"));
        json_quote(out, target->cache_salt);
    }
}

enum err dialect_splices(const struct dialect_description *description,
    const struct dialect_target *target, struct arena *arena,
    const struct dialect_splice **out, size_t *count)
{
    const struct dialect_description *d = description;
    struct buf text;
    size_t n = 0;

    if (d->route->has_cap && (target->cap < 1 || target->cap > INT32_MAX))
        return ERR_INVALID;
    struct dialect_splice *splices =
        ARENA_ARRAY(arena, (size_t)d->edit_count + 1, struct dialect_splice);
    if (!splices)
        return ERR_NOMEM;
    buf_init(&text, 65536);
    write_controls(&text, d, target);
    struct str controls = arena_copy(arena, buf_str(&text));
    bool failed = text.failed;
    buf_fini(&text);
    if (failed || !controls.ptr)
        return ERR_NOMEM;

    struct str span = json_span(&d->json, d->model_token);
    struct dialect_splice model = {
        (size_t)(span.ptr - d->body.ptr), span.len, controls};
    bool placed = str_equal(span, controls);
    for (uint32_t i = 0; i < d->edit_count; i++) {
        if (!placed && d->edits[i].offset > model.offset) {
            splices[n++] = model;
            placed = true;
        }
        splices[n++] = (struct dialect_splice){
            d->edits[i].offset, d->edits[i].length, STR("")};
    }
    if (!placed)
        splices[n++] = model;
    *out = splices;
    *count = n;
    return ERR_OK;
}

size_t dialect_spliced_length(
    struct str body, const struct dialect_splice *splices, size_t count)
{
    size_t length = body.len;

    for (size_t i = 0; i < count; i++)
        length = length - splices[i].length + splices[i].text.len;
    return length;
}

void dialect_spliced_write(struct buf *out, struct str body,
    const struct dialect_splice *splices, size_t count)
{
    size_t at = 0;

    for (size_t i = 0; i < count; i++) {
        buf_append(out, body.ptr + at, splices[i].offset - at);
        buf_append_str(out, splices[i].text);
        at = splices[i].offset + splices[i].length;
    }
    buf_append(out, body.ptr + at, body.len - at);
}

static size_t add_piece(
    struct iovec *pieces, size_t n, const char *bytes, size_t length)
{
    if (length == 0)
        return n;
    /* iovec is shared with readv and cannot say const */
    union {
        const char *from;
        void *to;
    } base = {bytes};
    pieces[n] = (struct iovec){base.to, length};
    return n + 1;
}

enum err dialect_spliced_pieces(struct arena *arena, struct str body,
    const struct dialect_splice *splices, size_t count, struct iovec **pieces,
    size_t *piece_count)
{
    struct iovec *list = ARENA_ARRAY(arena, 2 * count + 1, struct iovec);
    size_t n = 0, at = 0;

    if (!list)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        n = add_piece(list, n, body.ptr + at, splices[i].offset - at);
        n = add_piece(list, n, splices[i].text.ptr, splices[i].text.len);
        at = splices[i].offset + splices[i].length;
    }
    n = add_piece(list, n, body.ptr + at, body.len - at);
    *pieces = list;
    *piece_count = n;
    return ERR_OK;
}
