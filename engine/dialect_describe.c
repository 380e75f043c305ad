/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/dialect_describe.c - one walk over a body along its shape.
 *
 * The walk goes as deep as the tables are nested, whatever the body holds.
 * What is cut out is noted as stretches of bytes in rising order: a run of cut
 * members goes with the comma before it, or, at the start of an object, with
 * the one behind it, so that what remains is the same object without them. */
#include "engine/dialect_priv.h"

#include "lib/must.h"

#include <stdio.h>

#define PATH_MAX_DEPTH 16
#define MODEL_NAME_MAX 256
#define TOOL_NAME_MAX 128
#define PATH_TEXT_MAX 96

static const struct dialect_limits defaults = {.max_depth = 64,
    .max_values = 1000000,
    .max_choices = 16,
    .max_prompts = 2048,
    .max_tools = 128};

struct step { /* one step of the path to the value at hand */
    struct str name;
    int64_t index; /* in the array of that name; -1: none */
};

struct walk {
    const struct json *json;
    struct arena *arena;
    struct dialect_limits limits;
    struct dialect_description *d;
    struct dialect_error *error;
    struct step path[PATH_MAX_DEPTH];
    unsigned depth;
    unsigned muted; /* inside a value that is cut out as a whole */
    struct dialect_edit *edits;
    uint32_t edit_count, edit_capacity;
    uint32_t tool_capacity;
    struct str user;
    bool has_model;
};

static enum err walk_object(
    struct walk *w, const struct dialect_shape *shape, uint32_t object);

/* --- saying no ------------------------------------------------------------ */

/* "messages[2].content", safe to be shown; empty when out of memory. */
static struct str path_text(struct walk *w)
{
    struct buf text;

    buf_init(&text, 1024);
    for (unsigned i = 0; i < w->depth; i++) {
        if (i > 0)
            buf_append_char(&text, '.');
        buf_append_str(
            &text, dialect_printable(w->arena, w->path[i].name, PATH_TEXT_MAX));
        if (w->path[i].index >= 0)
            buf_printf(&text, "[%lld]", (long long)w->path[i].index);
    }
    struct str copy = arena_copy(w->arena, buf_str(&text));
    buf_fini(&text);
    return copy.ptr ? copy : STR("");
}

/* The message is the path in quotes, and `words`. */
static enum err refuse(
    struct walk *w, enum err code, const char *word, const char *words)
{
    struct str path = path_text(w);
    enum err err = dialect_fail(w->error, w->arena, code, 400, word,
        "'%.*s' %s.", STR_ARG(path), words);
    if (err != ERR_NOMEM)
        w->error->param = path;
    return err;
}

static enum err no_memory(struct walk *w)
{
    return dialect_fail(w->error, w->arena, ERR_NOMEM, 503, NULL, "%s", "");
}

static enum err wrong_type(struct walk *w, uint8_t types, uint32_t at)
{
    static const struct {
        uint8_t type;
        const char *name;
    } names[] = {
        {TYPE_BOOL, "a boolean"},
        {TYPE_INTEGER, "a whole number"},
        {TYPE_NUMBER, "a number"},
        {TYPE_STRING, "a string"},
        {TYPE_ARRAY, "an array"},
        {TYPE_OBJECT, "an object"},
    };
    char text[160] = "must be ";
    size_t length = strlen(text);
    bool any = false;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!(types & names[i].type))
            continue;
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%s",
            any ? " or " : "", names[i].name);
        any = true;
    }
    snprintf(text + length, sizeof text - length, ", not %s",
        json_type_name(json_type(w->json, at)));
    return refuse(w, ERR_SYNTAX, "invalid_type", text);
}

/* --- types ---------------------------------------------------------------- */

static bool type_fits(const struct json *json, uint32_t at, uint8_t types)
{
    switch (json_type(json, at)) {
    case JSON_NULL:
        return false;
    case JSON_FALSE:
    case JSON_TRUE:
        return types & TYPE_BOOL;
    case JSON_NUMBER:
        return (types & TYPE_NUMBER) ||
               ((types & TYPE_INTEGER) &&
                   (json->tokens[at].flags & JSON_INTEGER));
    case JSON_STRING:
        return types & TYPE_STRING;
    case JSON_ARRAY:
        return types & TYPE_ARRAY;
    case JSON_OBJECT:
        return types & TYPE_OBJECT;
    }
    return false;
}

/* --- growing lists -------------------------------------------------------- */

static enum err note_edit(struct walk *w, uint32_t start, uint32_t end)
{
    if (w->muted)
        return ERR_OK;
    if (w->edit_count == w->edit_capacity) {
        uint32_t capacity = w->edit_capacity ? w->edit_capacity * 2 : 16;
        struct dialect_edit *edits =
            ARENA_ARRAY(w->arena, capacity, struct dialect_edit);
        if (!edits)
            return no_memory(w);
        if (w->edit_count)
            memcpy(edits, w->edits, w->edit_count * sizeof *edits);
        w->edits = edits;
        w->edit_capacity = capacity;
    }
    w->edits[w->edit_count++] = (struct dialect_edit){start, end - start};
    return ERR_OK;
}

static void note_stripped(struct walk *w)
{
    struct dialect_description *d = w->d;

    if (d->stripped_count == DIALECT_STRIPPED_MAX) {
        d->stripped_more++;
        return;
    }
    if (!d->stripped)
        d->stripped = ARENA_ARRAY(w->arena, DIALECT_STRIPPED_MAX, struct str);
    struct str path = path_text(w);
    if (!d->stripped || path.len == 0) {
        d->stripped_more++;
        return;
    }
    if (path.len > PATH_TEXT_MAX)
        path.len = PATH_TEXT_MAX;
    d->stripped[d->stripped_count++] = path;
}

static enum err note_tool(struct walk *w, uint32_t at)
{
    struct dialect_description *d = w->d;
    struct str name;

    if (d->tool_count >= w->limits.max_tools)
        return refuse(w, ERR_LIMIT, "invalid_value",
            "is one tool more than may be offered at once");
    if (d->tool_count == w->tool_capacity) {
        uint32_t capacity = w->tool_capacity ? w->tool_capacity * 2 : 8;
        struct str *tools = ARENA_ARRAY(w->arena, capacity, struct str);
        if (!tools)
            return no_memory(w);
        if (d->tool_count)
            memcpy(tools, d->tools, d->tool_count * sizeof *tools);
        d->tools = tools;
        w->tool_capacity = capacity;
    }
    if (json_text(w->json, at, w->arena, &name))
        return no_memory(w);
    if (name.len > TOOL_NAME_MAX)
        return refuse(
            w, ERR_LIMIT, "invalid_value", "is longer than 128 bytes");
    d->tools[d->tool_count++] = name;
    return ERR_OK;
}

/* --- what values mean -------------------------------------------------------
 */

static enum err take_model(struct walk *w, uint32_t at)
{
    if (json_text(w->json, at, w->arena, &w->d->model))
        return no_memory(w);
    if (w->d->model.len > MODEL_NAME_MAX)
        return refuse(
            w, ERR_LIMIT, "invalid_value", "is longer than 256 bytes");
    w->d->model_token = at;
    w->has_model = true;
    return ERR_OK;
}

static enum err take_cap(struct walk *w, const struct str name, uint32_t at)
{
    int64_t cap;

    /* engines keep it in 32 bits; a negative one means "endless" to some */
    if (json_int64(w->json, at, &cap) || cap < 1 || cap > INT32_MAX)
        return refuse(w, ERR_RANGE, "invalid_value",
            "must be a whole number from 1 to 2147483647");
    if (w->d->cap < 0 || cap < w->d->cap) {
        w->d->cap = cap;
        w->d->cap_param = name.ptr; /* the table's: ends with a NUL */
    }
    return ERR_OK;
}

static enum err take_choices(struct walk *w, uint32_t at)
{
    int64_t n;

    if (json_int64(w->json, at, &n) || n < 1 || n > w->limits.max_choices) {
        char words[64];
        snprintf(words, sizeof words, "must be a whole number from 1 to %u",
            w->limits.max_choices);
        return refuse(w, ERR_RANGE, "invalid_value", words);
    }
    if (n > w->d->choices)
        w->d->choices = n;
    return ERR_OK;
}

static enum err take_decimal(
    struct walk *w, uint32_t at, bool *has, int64_t *out)
{
    if (json_decimal4(w->json, at, out))
        return refuse(w, ERR_RANGE, "invalid_value", "is too large a number");
    *has = true;
    return ERR_OK;
}

static void add_text(struct walk *w, uint32_t at)
{
    w->d->text_bytes += (int64_t)json_text_length(w->json, at);
}

/* An array of token ids: each is at most one token. */
static enum err take_token_ids(struct walk *w, uint32_t array)
{
    for (JSON_EACH_ELEMENT(w->json, array, item))
        if (!type_fits(w->json, item, TYPE_INTEGER))
            return refuse(w, ERR_SYNTAX, "invalid_type",
                "must hold either strings, or token ids, or lists of them");
    w->d->text_bytes += w->json->tokens[array].count;
    return ERR_OK;
}

static enum err take_prompts(struct walk *w, uint32_t at)
{
    const struct json_token *tokens = w->json->tokens;
    int64_t prompts = 1;

    if (tokens[at].type == JSON_STRING) {
        add_text(w, at);
    } else if (tokens[at].count == 0) {
        return refuse(w, ERR_SYNTAX, "invalid_value", "must not be empty");
    } else if (tokens[at + 1].type == JSON_NUMBER) {
        enum err err = take_token_ids(w, at);
        if (err)
            return err;
    } else {
        prompts = tokens[at].count;
        for (JSON_EACH_ELEMENT(w->json, at, item)) {
            enum err err = ERR_OK;
            if (tokens[item].type != tokens[at + 1].type)
                return refuse(w, ERR_SYNTAX, "invalid_type",
                    "must hold either strings, or token ids, or lists of "
                    "them");
            if (tokens[item].type == JSON_STRING)
                add_text(w, item);
            else if (tokens[item].type == JSON_ARRAY)
                err = take_token_ids(w, item);
            if (err)
                return err;
        }
    }
    if (prompts > w->limits.max_prompts)
        return refuse(
            w, ERR_LIMIT, "invalid_value", "holds too many texts at once");
    w->d->prompts = w->d->messages = prompts;
    return ERR_OK;
}

static enum err take_messages(struct walk *w, uint32_t at)
{
    if (json_type(w->json, at) == JSON_STRING) {
        w->d->messages = 1;
        add_text(w, at);
    } else {
        w->d->messages = w->json->tokens[at].count;
    }
    return ERR_OK;
}

/* Media is judged on its raw bytes and never copied: it may be megabytes. */
static bool is_data_uri(const struct json *json, uint32_t at)
{
    return str_starts(json_raw(json, at), STR("data:"));
}

static enum err take_image(struct walk *w, uint32_t at)
{
    if (json_type(w->json, at) == JSON_OBJECT)
        return ERR_OK; /* its url means the image */
    if (!is_data_uri(w->json, at))
        return refuse(w, ERR_UNSUPPORTED, "unsupported_value",
            "must be a data: URI; remote media is never fetched");
    w->d->images++;
    w->d->media_bytes += (int64_t)json_text_length(w->json, at);
    return ERR_OK;
}

/* Only base64, maybe in lines, with the escapes that JSON writers use in it. */
static bool is_base64(struct str raw)
{
    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.ptr[i];
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
            (c >= 'A' && c <= 'Z') || c == '+' || c == '/' || c == '=' ||
            c == '-' || c == '_')
            continue;
        if (c != '\\' || i + 1 == raw.len)
            return false;
        c = raw.ptr[++i];
        if (c != '/' && c != 'n' && c != 'r')
            return false;
    }
    return true;
}

static enum err take_audio(struct walk *w, uint32_t at)
{
    if (!is_data_uri(w->json, at) && !is_base64(json_raw(w->json, at)))
        return refuse(w, ERR_UNSUPPORTED, "unsupported_value",
            "must be base64; remote media is never fetched");
    int64_t length = (int64_t)json_text_length(w->json, at);
    w->d->audios++;
    w->d->media_bytes += length;
    w->d->audio_bytes += (length + 3) / 4 * 3;
    return ERR_OK;
}

static enum err take_word(
    struct walk *w, const struct dialect_field *field, uint32_t at)
{
    if (json_type(w->json, at) == JSON_ARRAY) {
        for (JSON_EACH_ELEMENT(w->json, at, item)) {
            enum err err = take_word(w, field, item);
            if (err)
                return err;
        }
        return ERR_OK;
    }
    for (const struct str *word = field->words; word->len; word++)
        if (json_string_equals(w->json, at, *word))
            return ERR_OK;
    return refuse(w, ERR_UNSUPPORTED, "unsupported_value", field->refusal);
}

static enum err take_meaning(
    struct walk *w, const struct dialect_field *field, uint32_t at)
{
    struct dialect_description *d = w->d;
    enum json_type type = json_type(w->json, at);

    switch ((enum dialect_meaning)field->means) {
    case MEANS_NOTHING:
    case MEANS_TOOLS:
        return ERR_OK;
    case MEANS_MODEL:
        return take_model(w, at);
    case MEANS_STREAM:
        d->stream = type == JSON_TRUE;
        return ERR_OK;
    case MEANS_INCLUDE_USAGE:
        d->usage_asked = type == JSON_TRUE;
        return ERR_OK;
    case MEANS_CAP:
        return take_cap(w, field->name, at);
    case MEANS_CHOICES:
        return take_choices(w, at);
    case MEANS_PROMPTS:
        return take_prompts(w, at);
    case MEANS_MESSAGES:
        return take_messages(w, at);
    case MEANS_TEXT:
        if (type == JSON_STRING)
            add_text(w, at);
        return ERR_OK;
    case MEANS_RAW_TEXT:
        d->text_bytes += (int64_t)json_span(w->json, at).len;
        return ERR_OK;
    case MEANS_TOOL_NAME:
        add_text(w, at);
        return note_tool(w, at);
    case MEANS_TEMPERATURE:
        return take_decimal(w, at, &d->has_temperature, &d->temperature4);
    case MEANS_TOP_P:
        return take_decimal(w, at, &d->has_top_p, &d->top_p4);
    case MEANS_IMAGE:
        return take_image(w, at);
    case MEANS_AUDIO:
        return take_audio(w, at);
    case MEANS_SAFETY_IDENTIFIER:
        return json_text(w->json, at, w->arena, &d->end_user) ? no_memory(w)
                                                              : ERR_OK;
    case MEANS_USER:
        return json_text(w->json, at, w->arena, &w->user) ? no_memory(w)
                                                          : ERR_OK;
    case MEANS_WORD:
        return take_word(w, field, at);
    case MEANS_REFUSED_TRUE:
        if (type == JSON_TRUE)
            return refuse(
                w, ERR_UNSUPPORTED, "unsupported_parameter", field->refusal);
        return ERR_OK;
    case MEANS_REFUSED:
        return refuse(
            w, ERR_UNSUPPORTED, "unsupported_parameter", field->refusal);
    }
    return refuse(w, ERR_UNSUPPORTED, "unsupported_parameter",
        "has no meaning to this proxy");
}

/* --- the walk ---------------------------------------------------------------
 */

static enum err walk_elements(
    struct walk *w, const struct dialect_field *field, uint32_t array)
{
    struct step *step = &w->path[w->depth - 1];

    if (!field->elements)
        return ERR_OK;
    step->index = 0;
    for (JSON_EACH_ELEMENT(w->json, array, item)) {
        enum err err = ERR_OK;
        if (!type_fits(w->json, item, field->elements))
            return wrong_type(w, field->elements, item);
        if (json_type(w->json, item) == JSON_OBJECT && field->object)
            err = walk_object(w, field->object, item);
        if (err)
            return err;
        step->index++;
    }
    step->index = -1;
    return ERR_OK;
}

static enum err take_field(
    struct walk *w, const struct dialect_field *field, uint32_t at)
{
    enum json_type type = json_type(w->json, at);

    if (type == JSON_NULL && !(field->flags & FIELD_REQUIRED))
        return ERR_OK;
    if (!type_fits(w->json, at, field->types))
        return wrong_type(w, field->types, at);
    if ((field->flags & FIELD_NOT_EMPTY) &&
        ((type == JSON_STRING && json_raw(w->json, at).len == 0) ||
            (type == JSON_ARRAY && w->json->tokens[at].count == 0)))
        return refuse(w, ERR_SYNTAX, "invalid_value", "must not be empty");
    enum err err = take_meaning(w, field, at);
    if (err)
        return err;
    if (type == JSON_OBJECT && field->object)
        return walk_object(w, field->object, at);
    if (type == JSON_ARRAY)
        return walk_elements(w, field, at);
    return ERR_OK;
}

static const struct dialect_field *find_field(
    struct walk *w, const struct dialect_shape *shape, uint32_t key)
{
    for (unsigned i = 0; i < shape->count; i++)
        if (json_string_equals(w->json, key, shape->fields[i].name))
            return &shape->fields[i];
    return NULL;
}

/* Go's encoding/json, and so Ollama and LocalAI, folds case as Unicode does:
 * beside A-Z there are two letters outside ASCII that fold into it. */
static bool equal_folded(struct str key, struct str name)
{
    size_t i = 0;

    for (size_t n = 0; n < name.len; n++) {
        char want = name.ptr[n]; /* names of fields are lower case */
        if (i == key.len)
            return false;
        char c = key.ptr[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        struct str rest = str_make(key.ptr + i, key.len - i);
        if (want == 's' && str_starts(rest, STR("\xc5\xbf"))) /* U+017F */
            i += 2;
        else if (want == 'k' && str_starts(rest, STR("\xe2\x84\xaa")))
            i += 3; /* U+212A */
        else if (c == want)
            i++;
        else
            return false;
    }
    return i == key.len;
}

/* A key that no row knows: refused where an engine could take it for one that
 * we know, else cut out. */
static enum err take_unknown(
    struct walk *w, const struct dialect_shape *shape, struct str key)
{
    for (unsigned i = 0; i < shape->count; i++) {
        char words[160];
        if (!equal_folded(key, shape->fields[i].name))
            continue;
        snprintf(words, sizeof words,
            "differs only in case from '%.64s', which is not accepted",
            shape->fields[i].name.ptr);
        return refuse(w, ERR_SYNTAX, "unknown_parameter", words);
    }
    note_stripped(w);
    return ERR_OK;
}

/* One member. *cut says whether the engine gets it. */
static enum err take_member(struct walk *w, const struct dialect_shape *shape,
    uint32_t key, uint64_t *seen, bool *cut)
{
    const struct dialect_field *field = find_field(w, shape, key);
    struct step *step = &w->path[w->depth - 1];
    enum err err;

    if (!field) {
        *cut = true;
        if (json_text(w->json, key, w->arena, &step->name))
            return no_memory(w);
        return take_unknown(w, shape, step->name);
    }
    *cut = field->flags & FIELD_CUT;
    *seen |= UINT64_C(1) << (field - shape->fields);
    step->name = field->name;
    w->muted += *cut;
    err = take_field(w, field, key + 1);
    w->muted -= *cut;
    return err;
}

static uint32_t value_end(const struct json *json, uint32_t at)
{
    return json->tokens[at].end + (json->tokens[at].type == JSON_STRING);
}

static enum err check_required(
    struct walk *w, const struct dialect_shape *shape, uint64_t seen)
{
    for (unsigned i = 0; i < shape->count; i++) {
        if (!(shape->fields[i].flags & FIELD_REQUIRED) ||
            (seen & (UINT64_C(1) << i)))
            continue;
        w->path[w->depth - 1] = (struct step){shape->fields[i].name, -1};
        return refuse(
            w, ERR_SYNTAX, "missing_required_parameter", "is missing");
    }
    return ERR_OK;
}

static enum err walk_object(
    struct walk *w, const struct dialect_shape *shape, uint32_t object)
{
    const struct json *json = w->json;
    uint64_t seen = 0;
    bool any_kept = false; /* a member before the run stays */
    bool in_run = false;
    uint32_t kept_end = 0, run_start = 0, run_end = 0;
    enum err err;

    MUST(w->depth < PATH_MAX_DEPTH && shape->count <= 64);
    w->depth++;
    for (JSON_EACH_MEMBER(json, object, key)) {
        uint32_t key_start = json->tokens[key].start - 1;
        uint32_t edits_before = w->edit_count;
        bool cut;
        w->path[w->depth - 1].index = -1;
        err = take_member(w, shape, key, &seen, &cut);
        if (err)
            return err;
        if (cut) {
            if (!in_run)
                run_start = any_kept ? kept_end : key_start;
            in_run = true;
            run_end = value_end(json, key + 1);
            continue;
        }
        if (in_run) {
            /* the run's edit goes before those inside this member */
            uint32_t inner = w->edit_count - edits_before;
            err = note_edit(w, run_start, any_kept ? run_end : key_start);
            if (err)
                return err;
            if (!w->muted && inner) {
                struct dialect_edit run = w->edits[w->edit_count - 1];
                memmove(&w->edits[edits_before + 1], &w->edits[edits_before],
                    inner * sizeof run);
                w->edits[edits_before] = run;
            }
        }
        in_run = false;
        any_kept = true;
        kept_end = value_end(json, key + 1);
    }
    if (in_run) {
        err = note_edit(w, run_start, run_end);
        if (err)
            return err;
    }
    err = check_required(w, shape, seen);
    w->depth--;
    return err;
}

/* --- entry ------------------------------------------------------------------
 */

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value ? value : fallback;
}

static enum err parse_body(struct walk *w, struct str body)
{
    const struct json_limits limits = {
        .max_depth = w->limits.max_depth, .max_tokens = w->limits.max_values};
    struct json_error error = {0, ""};
    int line, column;

    enum err err = json_parse(w->arena, body, &limits, &w->d->json, &error);
    if (err == ERR_NOMEM)
        return no_memory(w);
    if (err) {
        json_position(body, error.offset, &line, &column);
        return dialect_fail(w->error, w->arena, err, 400, "invalid_json",
            "The body is not valid JSON: %s at line %d, column %d.",
            error.reason, line, column);
    }
    w->json = &w->d->json;
    if (json_type(w->json, 0) != JSON_OBJECT)
        return dialect_fail(w->error, w->arena, ERR_SYNTAX, 400, "invalid_json",
            "The body must be a JSON object.");
    return ERR_OK;
}

enum err dialect_describe(const struct dialect_route *route, struct str body,
    struct arena *arena, const struct dialect_limits *limits,
    struct dialect_description *out, struct dialect_error *error)
{
    struct dialect_limits asked = limits ? *limits : defaults;
    struct walk w = {.arena = arena, .d = out, .error = error};

    MUST(route->shape != NULL);
    w.limits.max_depth = or_default(asked.max_depth, defaults.max_depth);
    w.limits.max_values = or_default(asked.max_values, defaults.max_values);
    w.limits.max_choices = or_default(asked.max_choices, defaults.max_choices);
    w.limits.max_prompts = or_default(asked.max_prompts, defaults.max_prompts);
    w.limits.max_tools = or_default(asked.max_tools, defaults.max_tools);
    *out = (struct dialect_description){
        .route = route, .body = body, .cap = -1, .choices = 1, .prompts = 1};
    enum err err = parse_body(&w, body);
    if (err)
        return err;
    err = walk_object(&w, route->shape, 0);
    if (err)
        return err;
    MUST(w.has_model);
    if (out->end_user.len == 0)
        out->end_user = w.user;
    out->edits = w.edits;
    out->edit_count = w.edit_count;
    return ERR_OK;
}
