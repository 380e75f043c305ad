/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/dialect.h - the APIs that callers speak: which routes are open, what
 * a request's body asks for, what the engine is sent instead, and how answers
 * and errors read.
 *
 * All knowledge is tables (dialect_tables.c): a route is a row, each of its
 * objects a list of fields. A field that no table knows never reaches an
 * engine; a field that binds a control (model, cap, stream, usage) is always
 * written by us. Not here: who may (policy/), sending (engine/transfer.h).
 * Pure; any thread; a stream reader belongs to one thread. */
#ifndef ENGINE_DIALECT_H
#define ENGINE_DIALECT_H

#include "engine/target.h"
#include "lib/http1.h"
#include "lib/json.h"

#include <sys/uio.h>

/* --- Errors a caller is told ------------------------------------------- */

struct dialect_error {
    int status;       /* HTTP */
    const char *type; /* "invalid_request_error" ... */
    const char *code; /* "unknown_url" ...; NULL: null */
    struct str message;
    struct str param;  /* "messages[2].content"; empty: null */
    const char *allow; /* 405: the Allow header's value; else NULL */
};

/* --- Routes --------------------------------------------------------------- */

enum dialect_api { DIALECT_OPENAI };
/* "openai" */
const char *dialect_name(enum dialect_api api);

enum dialect_endpoint {
    DIALECT_CHAT,
    DIALECT_COMPLETIONS,
    DIALECT_RESPONSES,
    DIALECT_EMBEDDINGS,
    DIALECT_MODELS, /* answered by us: dialect_models_body */
    DIALECT_MODEL,  /* answered by us: dialect_model_body */
    DIALECT_USAGE   /* answered by us: the caller's own quotas */
};

struct dialect_route {
    enum dialect_api api;
    enum dialect_endpoint endpoint;
    const char *method; /* "POST" */
    const char *path;   /* "/v1/models/{model}": also the label for metrics,
                           records and Cedar's request.route */
    const char *action; /* Cedar's: "chat", "complete", "embed", "listModels" */
    const char *engine_path; /* what an engine is asked; NULL: none is */
    bool has_body;
    bool can_stream;
    bool has_cap;                      /* generates: a cap is always written */
    const struct dialect_shape *shape; /* of the body; dialect_priv.h */
};

struct dialect_match {
    const struct dialect_route *route;
    struct str model; /* {model} of the path, percent-decoded; else empty */
};

/* ERR_NOTFOUND: unknown path (404, the message lists the open routes);
 * ERR_UNSUPPORTED: wrong method (405, error->allow); ERR_SYNTAX: bad percent
 * encoding (400); ERR_NOMEM. The query of a request is never looked at nor
 * forwarded. */
enum err dialect_route(struct arena *arena, struct str method, struct str path,
    struct dialect_match *out, struct dialect_error *error) MUSTCHECK;
/* All rows, for `status`, docs and the matrix test. */
const struct dialect_route *dialect_routes(size_t *count);

/* --- What a body asks for ---------------------------------------------------
 */

struct dialect_limits {   /* 0: the default */
    uint32_t max_depth;   /* nesting; 64 */
    uint32_t max_values;  /* JSON values; 1 million */
    uint32_t max_choices; /* n, best_of; 16 */
    uint32_t max_prompts; /* prompts or inputs in one request; 2048 */
    uint32_t max_tools;   /* 128 */
};

struct dialect_edit; /* dialect_priv.h */

struct dialect_description {
    const struct dialect_route *route;
    struct str body;  /* as judged; borrowed */
    struct json json; /* its tape, for detectors */

    struct str model; /* as asked, unescaped; never empty */
    bool stream;
    bool usage_asked;      /* stream_options.include_usage */
    int64_t cap;           /* smallest of the caps given; -1: none */
    const char *cap_param; /* the field that held it; NULL: none */
    int64_t choices;       /* n, or best_of where larger; at least 1 */
    int64_t prompts;       /* at least 1 */
    bool has_temperature, has_top_p;
    int64_t temperature4, top_p4; /* 4 decimals */

    struct str *tools; /* names of the functions offered */
    uint32_t tool_count;
    int64_t messages; /* messages or input items; prompts for the others */
    int64_t images, audios;
    int64_t audio_bytes; /* decoded; at most a few too many */
    int64_t media_bytes; /* of data: URIs and base64; not in text_bytes */
    /* An upper bound of the bytes which the model's template is filled with:
     * contents, names, tool schemas. No tokeniser gives more tokens than
     * bytes; the template's own are up to the caller (messages, tools). */
    int64_t text_bytes;
    struct str end_user; /* safety_identifier, else user; may be empty */

    /* Paths of the fields that no table knows ("top_k", "messages[0].foo"),
     * safe to stand in a header; at most DIALECT_STRIPPED_MAX of them. */
    struct str *stripped;
    uint32_t stripped_count; /* listed */
    uint32_t stripped_more;  /* beyond the list */

    const struct dialect_edit *edits; /* what is cut out; sorted */
    uint32_t edit_count;
    uint32_t model_token; /* tape index of the model's value */
};
#define DIALECT_STRIPPED_MAX 16

/* Engine tokens that a request can make: cap for each of them. */
static inline int64_t dialect_answers(const struct dialect_description *d)
{
    return d->choices * d->prompts;
}

/* One pass over the body. ERR_SYNTAX, ERR_RANGE, ERR_UNSUPPORTED (hosted
 * tools, remote media, stored state): 400 with error filled; ERR_LIMIT: too
 * many values, tools, choices: 400; ERR_NOMEM: 503. Everything in *out
 * borrows from body or lives in the arena. limits may be NULL. */
enum err dialect_describe(const struct dialect_route *route, struct str body,
    struct arena *arena, const struct dialect_limits *limits,
    struct dialect_description *out, struct dialect_error *error) MUSTCHECK;

/* --- What the engine is sent ------------------------------------------------
 */

struct dialect_splice {
    size_t offset;   /* in the judged body */
    size_t length;   /* bytes taken out there */
    struct str text; /* put in their place */
};

struct dialect_target {
    enum engine_kind kind;
    struct str model;      /* upstream name */
    int64_t cap;           /* > 0; must be given where route->has_cap */
    bool force_usage;      /* metering: streams carry usage */
    struct str cache_salt; /* vLLM only; empty: none is written */
};

/* Sorted, non-overlapping edits which turn the judged body into the engine's:
 * model replaced, every cap removed and the engine's own written, stream
 * options written anew, `store: false` where it would be true by default,
 * unknown fields cut out. ERR_NOMEM, ERR_INVALID (a cap is missing). */
enum err dialect_splices(const struct dialect_description *description,
    const struct dialect_target *target, struct arena *arena,
    const struct dialect_splice **out, size_t *count) MUSTCHECK;
/* Bytes of the body after them. */
size_t dialect_spliced_length(
    struct str body, const struct dialect_splice *splices, size_t count);
void dialect_spliced_write(struct buf *out, struct str body,
    const struct dialect_splice *splices, size_t count);
/* The same as pieces that borrow from body and splices: nothing is copied. */
enum err dialect_spliced_pieces(struct arena *arena, struct str body,
    const struct dialect_splice *splices, size_t count, struct iovec **pieces,
    size_t *piece_count) MUSTCHECK;

/* --- What the engine answers ------------------------------------------------
 */

struct dialect_usage {
    bool present; /* false: the engine did not say; the rest is 0 */
    int64_t input;
    int64_t output;
    int64_t total;
    int64_t cached;    /* part of input */
    int64_t reasoning; /* part of output */
};

/* From a whole (not streamed) answer. A body that is no JSON or has no sane
 * usage: present false. ERR_NOMEM only. */
enum err dialect_usage_json(const struct dialect_route *route, struct str body,
    struct arena *arena, struct dialect_usage *out) MUSTCHECK;

/* Reading a stream: engine bytes in, bytes to relay out, event by event. */
struct dialect_stream;
enum dialect_stream_state {
    DIALECT_STREAM_OPEN,  /* more is to come */
    DIALECT_STREAM_DONE,  /* [DONE], response.completed or .incomplete */
    DIALECT_STREAM_FAILED /* the engine sent an error event (it was relayed) */
};
/* `hide_usage`: the caller did not ask for the extra usage chunk (pass
 * !description.usage_asked). gives *out. */
enum err dialect_stream_new(const struct dialect_route *route, bool hide_usage,
    struct dialect_stream **out) MUSTCHECK;
void dialect_stream_free(struct dialect_stream **stream); /* NULL ok */
/* Appends what may be relayed to `relay`; whole events only. ERR_LIMIT: an
 * event of more than 1 MiB; ERR_NOMEM. */
enum err dialect_stream_feed(struct dialect_stream *stream, struct str bytes,
    struct buf *relay) MUSTCHECK;
enum dialect_stream_state dialect_stream_state(
    const struct dialect_stream *stream);
/* The engine's last word on usage so far: a running total. */
const struct dialect_usage *dialect_stream_usage(
    const struct dialect_stream *stream);
/* Pieces of generated text seen so far (about one token each, at least one
 * token each) and their bytes (no fewer than tokens): what a caller who hung
 * up has cost, between these two. */
int64_t dialect_stream_deltas(const struct dialect_stream *stream);
int64_t dialect_stream_delta_bytes(const struct dialect_stream *stream);
/* The engine's own words when it FAILED; else empty. */
struct str dialect_stream_failure(const struct dialect_stream *stream);
/* Bytes of an event that has not ended (at the end of the stream: a cut). */
size_t dialect_stream_pending(const struct dialect_stream *stream);
/* Ends a stream that was begun: the dialect's error event ... */
void dialect_stream_error(const struct dialect_stream *stream,
    const struct dialect_error *error, struct buf *out);
/* ... or the polite end, finish_reason content_filter and [DONE]. */
void dialect_stream_cut(const struct dialect_stream *stream, struct buf *out);

/* --- What we answer ----------------------------------------------------- */

/* The JSON body of an error. */
void dialect_error_body(
    enum dialect_api api, const struct dialect_error *error, struct buf *out);

struct dialect_model_entry {
    struct str id;
    int64_t created_us; /* since 1970; written in seconds */
    struct str owner;   /* owned_by */
};
void dialect_models_body(enum dialect_api api,
    const struct dialect_model_entry *models, size_t count, struct buf *out);
void dialect_model_body(enum dialect_api api,
    const struct dialect_model_entry *model, struct buf *out);

#endif
