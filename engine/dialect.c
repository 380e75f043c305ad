/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/dialect.c - the open routes, and what we answer ourselves: errors
 * and model lists in the caller's dialect. */
#include "engine/dialect.h"

#include "engine/dialect_priv.h"
#include "lib/json_write.h"

#include <stdio.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define MODELS "/v1/models/"

/* --- Routes --------------------------------------------------------------- */

static const struct dialect_route routes[] = {
    {.api = DIALECT_OPENAI,
        .endpoint = DIALECT_CHAT,
        .method = "POST",
        .path = "/v1/chat/completions",
        .action = "chat",
        .engine_path = "/v1/chat/completions",
        .has_body = true,
        .can_stream = true,
        .has_cap = true,
        .shape = &dialect_chat_shape},
    {.api = DIALECT_OPENAI,
        .endpoint = DIALECT_COMPLETIONS,
        .method = "POST",
        .path = "/v1/completions",
        .action = "complete",
        .engine_path = "/v1/completions",
        .has_body = true,
        .can_stream = true,
        .has_cap = true,
        .shape = &dialect_completions_shape},
    {.api = DIALECT_OPENAI,
        .endpoint = DIALECT_RESPONSES,
        .method = "POST",
        .path = "/v1/responses",
        .action = "chat",
        .engine_path = "/v1/responses",
        .has_body = true,
        .can_stream = true,
        .has_cap = true,
        .shape = &dialect_responses_shape},
    {.api = DIALECT_OPENAI,
        .endpoint = DIALECT_EMBEDDINGS,
        .method = "POST",
        .path = "/v1/embeddings",
        .action = "embed",
        .engine_path = "/v1/embeddings",
        .has_body = true,
        .shape = &dialect_embeddings_shape},
    {.api = DIALECT_OPENAI,
        .endpoint = DIALECT_MODELS,
        .method = "GET",
        .path = "/v1/models",
        .action = "listModels"},
    {.api = DIALECT_OPENAI,
        .endpoint = DIALECT_MODEL,
        .method = "GET",
        .path = "/v1/models/{model}",
        .action = "listModels"},
    {.api = DIALECT_OPENAI,
        .endpoint = DIALECT_USAGE,
        .method = "GET",
        .path = "/v1/bailiff/usage",
        .action = "showUsage"},
};

#define OPEN_ROUTES                                                            \
    "Open routes: POST /v1/chat/completions, POST /v1/completions, "           \
    "POST /v1/responses, POST /v1/embeddings, GET /v1/models, "                \
    "GET /v1/models/{model}, GET /v1/bailiff/usage."

const struct dialect_route *dialect_routes(size_t *count)
{
    *count = COUNT(routes);
    return routes;
}

const char *dialect_name(enum dialect_api api)
{
    switch (api) {
    case DIALECT_OPENAI:
        return "openai";
    }
    return "unknown";
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The model's name out of a path: percent-decoded, UTF-8, no controls. */
static enum err decode_name(
    struct arena *arena, struct str coded, struct str *out)
{
    char *bytes = arena_alloc(arena, coded.len);
    size_t n = 0;

    if (!bytes)
        return ERR_NOMEM;
    for (size_t i = 0; i < coded.len; i++) {
        int c = (unsigned char)coded.ptr[i];
        if (c == '%') {
            int high = i + 2 < coded.len ? hex_digit(coded.ptr[i + 1]) : -1;
            if (i + 2 >= coded.len || high < 0 ||
                hex_digit(coded.ptr[i + 2]) < 0)
                return ERR_SYNTAX;
            c = high * 16 + hex_digit(coded.ptr[i + 2]);
            i += 2;
        }
        if (c < 0x20 || c == 0x7f)
            return ERR_SYNTAX;
        bytes[n++] = (char)c;
    }
    *out = str_make(bytes, n);
    return str_is_utf8(*out) ? ERR_OK : ERR_SYNTAX;
}

static bool path_matches(const struct dialect_route *route, struct str path)
{
    if (route->endpoint == DIALECT_MODEL)
        return path.len > sizeof MODELS - 1 && str_starts(path, STR(MODELS));
    return str_equal(path, str_from(route->path));
}

enum err dialect_route(struct arena *arena, struct str method, struct str path,
    struct dialect_match *out, struct dialect_error *error)
{
    for (size_t i = 0; i < COUNT(routes); i++) {
        if (!path_matches(&routes[i], path))
            continue;
        if (!str_equal(method, str_from(routes[i].method))) {
            /* each path has one method */
            enum err err = dialect_fail(error, arena, ERR_UNSUPPORTED, 405,
                "method_not_allowed", "%s takes %s, not %.*s.", routes[i].path,
                routes[i].method,
                STR_ARG(dialect_printable(arena, method, 16)));
            error->allow = routes[i].method;
            return err;
        }
        struct str model = STR("");
        if (routes[i].endpoint == DIALECT_MODEL) {
            enum err err = decode_name(arena,
                str_make(path.ptr + sizeof MODELS - 1,
                    path.len - (sizeof MODELS - 1)),
                &model);
            if (err)
                return dialect_fail(error, arena, err, 400, "invalid_url",
                    "The model's name in the path is not valid "
                    "percent-encoded UTF-8.");
        }
        *out = (struct dialect_match){&routes[i], model};
        return ERR_OK;
    }
    return dialect_fail(error, arena, ERR_NOTFOUND, 404, "unknown_url",
        "Unknown URL: %.*s %.*s. " OPEN_ROUTES,
        STR_ARG(dialect_printable(arena, method, 16)),
        STR_ARG(dialect_printable(arena, path, 128)));
}

/* --- Errors --------------------------------------------------------------- */

enum err dialect_fail(struct dialect_error *error, struct arena *arena,
    enum err code, int status, const char *word, const char *format, ...)
{
    char text[ERRINFO_MAX];
    va_list arguments;

    if (code == ERR_NOMEM) {
        *error = (struct dialect_error){.status = 503,
            .type = "api_error",
            .code = "out_of_memory",
            .message = STR("The proxy is out of memory; try again.")};
        return code;
    }
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    *error = (struct dialect_error){.status = status,
        .type = "invalid_request_error",
        .code = word,
        .message = arena_copy(arena, str_from(text))};
    if (!error->message.ptr)
        error->message = STR("The request is not valid.");
    return code;
}

struct str dialect_printable(struct arena *arena, struct str s, size_t max)
{
    size_t n = s.len < max ? s.len : max;
    char *out = arena_alloc(arena, n);

    if (!out)
        return STR("?");
    for (size_t i = 0; i < n; i++)
        out[i] = s.ptr[i] >= 0x20 && s.ptr[i] < 0x7f ? s.ptr[i] : '?';
    return str_make(out, n);
}

void dialect_error_body(
    enum dialect_api api, const struct dialect_error *error, struct buf *out)
{
    struct json_writer w;

    switch (api) {
    case DIALECT_OPENAI:
        json_write_init(&w, out);
        json_write_object(&w);
        json_write_key(&w, STR("error"));
        json_write_object(&w);
        json_write_key(&w, STR("code"));
        if (error->code)
            json_write_string(&w, str_from(error->code));
        else
            json_write_null(&w);
        json_write_member_string(&w, STR("message"), error->message);
        json_write_key(&w, STR("param"));
        if (error->param.len)
            json_write_string(&w, error->param);
        else
            json_write_null(&w);
        json_write_member_string(&w, STR("type"), str_from(error->type));
        json_write_object_end(&w);
        json_write_object_end(&w);
        return;
    }
}

/* --- Model lists ------------------------------------------------------------
 */

static void write_model(
    struct json_writer *w, const struct dialect_model_entry *model)
{
    json_write_object(w);
    json_write_member_int(w, STR("created"), model->created_us / 1000000);
    json_write_member_string(w, STR("id"), model->id);
    json_write_member_string(w, STR("object"), STR("model"));
    json_write_member_string(w, STR("owned_by"), model->owner);
    json_write_object_end(w);
}

void dialect_models_body(enum dialect_api api,
    const struct dialect_model_entry *models, size_t count, struct buf *out)
{
    struct json_writer w;

    switch (api) {
    case DIALECT_OPENAI:
        json_write_init(&w, out);
        json_write_object(&w);
        json_write_key(&w, STR("data"));
        json_write_array(&w);
        for (size_t i = 0; i < count; i++)
            write_model(&w, &models[i]);
        json_write_array_end(&w);
        json_write_member_string(&w, STR("object"), STR("list"));
        json_write_object_end(&w);
        return;
    }
}

void dialect_model_body(enum dialect_api api,
    const struct dialect_model_entry *model, struct buf *out)
{
    struct json_writer w;

    switch (api) {
    case DIALECT_OPENAI:
        json_write_init(&w, out);
        write_model(&w, model);
        return;
    }
}
