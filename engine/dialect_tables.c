/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/dialect_tables.c - the OpenAI API as tables: every field that may
 * reach a local engine, and what it means to the controls.
 *
 * After OpenAI's published OpenAPI description and what llama-server, vLLM,
 * Ollama, TGI and LocalAI read. Left out on purpose, and so cut out of every
 * body: what engines added for themselves and what reaches past the request
 * (chat_template, priority, lora, id_slot, keep_alive, min_tokens, ignore_eos,
 * cache_salt, kv_transfer_params, mm_processor_kwargs, request_id ...). */
#include "engine/dialect_priv.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define SHAPE(rows)                                                            \
    {                                                                          \
        rows, COUNT(rows)                                                      \
    }

#define HOSTED                                                                 \
    "is a tool that a provider would run; only functions that the caller "     \
    "runs itself (type \"function\") are offered"
#define STATELESS                                                              \
    "asks for state kept between requests, which is not offered; send the "    \
    "whole conversation in `input`"
#define NO_FILES                                                               \
    "refers to a file, which is not offered; send the content itself"

static const struct str function_only[] = {STR_INIT("function"), {NULL, 0}};

#define PASS(name, types)                                                      \
    {                                                                          \
        STR_INIT(name), types, 0, MEANS_NOTHING, 0, NULL, NULL, NULL           \
    }
#define CUT(name, types)                                                       \
    {                                                                          \
        STR_INIT(name), types, FIELD_CUT, MEANS_NOTHING, 0, NULL, NULL, NULL   \
    }
#define MEANS(name, types, flags, means)                                       \
    {                                                                          \
        STR_INIT(name), types, flags, means, 0, NULL, NULL, NULL               \
    }
#define OBJECT(name, flags, shape)                                             \
    {                                                                          \
        STR_INIT(name), TYPE_OBJECT, flags, MEANS_NOTHING, 0, &(shape), NULL,  \
            NULL                                                               \
    }
#define LIST(name, types, flags, means, elements, shape)                       \
    {                                                                          \
        STR_INIT(name), (types) | TYPE_ARRAY, flags, means, elements, shape,   \
            NULL, NULL                                                         \
    }
#define WORD(name, flags, words, refusal)                                      \
    {                                                                          \
        STR_INIT(name), TYPE_STRING, flags, MEANS_WORD, 0, NULL, words,        \
            refusal                                                            \
    }
#define REFUSED(name, refusal)                                                 \
    {                                                                          \
        STR_INIT(name),                                                        \
            TYPE_BOOL | TYPE_NUMBER | TYPE_STRING | TYPE_ARRAY | TYPE_OBJECT,  \
            FIELD_CUT, MEANS_REFUSED, 0, NULL, NULL, refusal                   \
    }
#define REFUSED_TRUE(name, refusal)                                            \
    {                                                                          \
        STR_INIT(name), TYPE_BOOL, FIELD_CUT, MEANS_REFUSED_TRUE, 0, NULL,     \
            NULL, refusal                                                      \
    }

/* --- what several endpoints share ---------------------------------------- */

/* All names by which some engine knows the cap. Each is read (the smallest
 * binds) and cut out; the engine's own is written anew. */
#define CAPS                                                                   \
    MEANS("max_tokens", TYPE_INTEGER, FIELD_CUT, MEANS_CAP),                   \
        MEANS("max_completion_tokens", TYPE_INTEGER, FIELD_CUT, MEANS_CAP),    \
        MEANS("max_output_tokens", TYPE_INTEGER, FIELD_CUT, MEANS_CAP),        \
        MEANS("max_new_tokens", TYPE_INTEGER, FIELD_CUT, MEANS_CAP),           \
        MEANS("n_predict", TYPE_INTEGER, FIELD_CUT, MEANS_CAP),                \
        MEANS("num_predict", TYPE_INTEGER, FIELD_CUT, MEANS_CAP)

/* Who the end user is stays here; what only a provider's own service uses is
 * dropped without a word. */
#define IDENTITY                                                               \
    MEANS(                                                                     \
        "safety_identifier", TYPE_STRING, FIELD_CUT, MEANS_SAFETY_IDENTIFIER), \
        MEANS("user", TYPE_STRING, FIELD_CUT, MEANS_USER),                     \
        CUT("metadata", TYPE_OBJECT), CUT("prompt_cache_key", TYPE_STRING),    \
        CUT("prompt_cache_retention", TYPE_STRING),                            \
        CUT("service_tier", TYPE_STRING)

#define SAMPLING                                                               \
    MEANS("temperature", TYPE_NUMBER, 0, MEANS_TEMPERATURE),                   \
        MEANS("top_p", TYPE_NUMBER, 0, MEANS_TOP_P)

static const struct dialect_field stream_options_fields[] = {
    MEANS("include_usage", TYPE_BOOL, 0, MEANS_INCLUDE_USAGE),
    PASS("include_obfuscation", TYPE_BOOL),
};
static const struct dialect_shape stream_options_shape =
    SHAPE(stream_options_fields);

#define STREAMING                                                              \
    MEANS("stream", TYPE_BOOL, 0, MEANS_STREAM),                               \
        OBJECT("stream_options", FIELD_CUT, stream_options_shape)

static const struct dialect_field image_url_fields[] = {
    MEANS("url", TYPE_STRING, FIELD_REQUIRED, MEANS_IMAGE),
    PASS("detail", TYPE_STRING),
};
static const struct dialect_shape image_url_shape = SHAPE(image_url_fields);

static const struct dialect_field input_audio_fields[] = {
    MEANS("data", TYPE_STRING, FIELD_REQUIRED, MEANS_AUDIO),
    PASS("format", TYPE_STRING),
};
static const struct dialect_shape input_audio_shape = SHAPE(input_audio_fields);

/* --- POST /v1/chat/completions ------------------------------------------- */

static const struct str chat_parts[] = {STR_INIT("text"), STR_INIT("image_url"),
    STR_INIT("input_audio"), STR_INIT("refusal"), {NULL, 0}};

static const struct dialect_field chat_part_fields[] = {
    WORD("type", FIELD_REQUIRED, chat_parts,
        "is a kind of content that is not offered; text, image_url (as a data: "
        "URI) and input_audio are"),
    MEANS("text", TYPE_STRING, 0, MEANS_TEXT),
    {STR_INIT("image_url"), TYPE_STRING | TYPE_OBJECT, 0, MEANS_IMAGE, 0,
        &image_url_shape, NULL, NULL},
    OBJECT("input_audio", 0, input_audio_shape),
    MEANS("refusal", TYPE_STRING, 0, MEANS_TEXT),
    REFUSED("file", NO_FILES),
    REFUSED("video_url", "is remote media, which is not offered"),
    REFUSED("audio_url", "is remote media, which is not offered"),
};
static const struct dialect_shape chat_part_shape = SHAPE(chat_part_fields);

static const struct dialect_field called_fields[] = {
    MEANS("name", TYPE_STRING, 0, MEANS_TEXT),
    MEANS("arguments", TYPE_STRING, 0, MEANS_TEXT),
};
static const struct dialect_shape called_shape = SHAPE(called_fields);

static const struct dialect_field tool_call_fields[] = {
    MEANS("id", TYPE_STRING, 0, MEANS_TEXT),
    WORD("type", 0, function_only, HOSTED),
    OBJECT("function", 0, called_shape),
    PASS("index", TYPE_INTEGER),
};
static const struct dialect_shape tool_call_shape = SHAPE(tool_call_fields);

static const struct dialect_field message_fields[] = {
    MEANS("role", TYPE_STRING, FIELD_REQUIRED, MEANS_TEXT),
    LIST("content", TYPE_STRING, 0, MEANS_TEXT, TYPE_OBJECT, &chat_part_shape),
    MEANS("name", TYPE_STRING, 0, MEANS_TEXT),
    MEANS("refusal", TYPE_STRING, 0, MEANS_TEXT),
    MEANS("reasoning_content", TYPE_STRING, 0, MEANS_TEXT),
    MEANS("reasoning", TYPE_STRING, 0, MEANS_TEXT),
    LIST("tool_calls", 0, 0, MEANS_NOTHING, TYPE_OBJECT, &tool_call_shape),
    MEANS("tool_call_id", TYPE_STRING, 0, MEANS_TEXT),
    OBJECT("function_call", 0, called_shape),
    CUT("annotations", TYPE_ARRAY),
    REFUSED(
        "audio", "refers to audio kept by a provider, which is not offered"),
};
static const struct dialect_shape message_shape = SHAPE(message_fields);

static const struct dialect_field function_fields[] = {
    MEANS(
        "name", TYPE_STRING, FIELD_REQUIRED | FIELD_NOT_EMPTY, MEANS_TOOL_NAME),
    MEANS("description", TYPE_STRING, 0, MEANS_TEXT),
    MEANS("parameters", TYPE_OBJECT, 0, MEANS_RAW_TEXT),
    PASS("strict", TYPE_BOOL),
};
static const struct dialect_shape function_shape = SHAPE(function_fields);

static const struct dialect_field tool_fields[] = {
    WORD("type", FIELD_REQUIRED, function_only, HOSTED),
    OBJECT("function", FIELD_REQUIRED, function_shape),
};
static const struct dialect_shape tool_shape = SHAPE(tool_fields);

static const struct dialect_field function_name_fields[] = {
    PASS("name", TYPE_STRING),
};
static const struct dialect_shape function_name_shape =
    SHAPE(function_name_fields);

static const struct dialect_field tool_choice_fields[] = {
    WORD("type", FIELD_REQUIRED, function_only, HOSTED),
    OBJECT("function", 0, function_name_shape),
};
static const struct dialect_shape tool_choice_shape = SHAPE(tool_choice_fields);

static const struct dialect_field json_schema_fields[] = {
    MEANS("name", TYPE_STRING, 0, MEANS_TEXT),
    MEANS("description", TYPE_STRING, 0, MEANS_TEXT),
    MEANS("schema", TYPE_OBJECT, 0, MEANS_RAW_TEXT),
    PASS("strict", TYPE_BOOL),
};
static const struct dialect_shape json_schema_shape = SHAPE(json_schema_fields);

static const struct str formats[] = {STR_INIT("text"), STR_INIT("json_object"),
    STR_INIT("json_schema"), {NULL, 0}};

static const struct dialect_field response_format_fields[] = {
    WORD("type", FIELD_REQUIRED, formats,
        "is an answer format that is not offered; text, json_object and "
        "json_schema are"),
    OBJECT("json_schema", 0, json_schema_shape),
};
static const struct dialect_shape response_format_shape =
    SHAPE(response_format_fields);

static const struct str text_only[] = {STR_INIT("text"), {NULL, 0}};

static const struct dialect_field chat_fields[] = {
    MEANS("model", TYPE_STRING, FIELD_REQUIRED | FIELD_NOT_EMPTY, MEANS_MODEL),
    LIST("messages", 0, FIELD_REQUIRED | FIELD_NOT_EMPTY, MEANS_MESSAGES,
        TYPE_OBJECT, &message_shape),
    STREAMING,
    CAPS,
    SAMPLING,
    MEANS("n", TYPE_INTEGER, 0, MEANS_CHOICES),
    LIST("tools", 0, 0, MEANS_TOOLS, TYPE_OBJECT, &tool_shape),
    {STR_INIT("tool_choice"), TYPE_STRING | TYPE_OBJECT, 0, MEANS_NOTHING, 0,
        &tool_choice_shape, NULL, NULL},
    PASS("parallel_tool_calls", TYPE_BOOL),
    LIST("functions", 0, 0, MEANS_TOOLS, TYPE_OBJECT, &function_shape),
    {STR_INIT("function_call"), TYPE_STRING | TYPE_OBJECT, 0, MEANS_NOTHING, 0,
        &function_name_shape, NULL, NULL},
    PASS("frequency_penalty", TYPE_NUMBER),
    PASS("presence_penalty", TYPE_NUMBER),
    PASS("logit_bias", TYPE_OBJECT),
    PASS("logprobs", TYPE_BOOL),
    PASS("top_logprobs", TYPE_INTEGER),
    PASS("seed", TYPE_INTEGER),
    LIST("stop", TYPE_STRING, 0, MEANS_NOTHING, TYPE_STRING, NULL),
    OBJECT("response_format", 0, response_format_shape),
    PASS("reasoning_effort", TYPE_STRING),
    PASS("verbosity", TYPE_STRING),
    {STR_INIT("modalities"), TYPE_ARRAY, FIELD_CUT, MEANS_WORD, TYPE_STRING,
        NULL, text_only, "is a kind of answer that is not offered; text is"},
    REFUSED("audio", "asks for a spoken answer, which is not offered"),
    REFUSED("web_search_options", HOSTED),
    CUT("store", TYPE_BOOL),
    IDENTITY,
};
const struct dialect_shape dialect_chat_shape = SHAPE(chat_fields);

/* --- POST /v1/completions ------------------------------------------------- */

static const struct dialect_field completions_fields[] = {
    MEANS("model", TYPE_STRING, FIELD_REQUIRED | FIELD_NOT_EMPTY, MEANS_MODEL),
    LIST("prompt", TYPE_STRING, FIELD_REQUIRED, MEANS_PROMPTS,
        TYPE_STRING | TYPE_INTEGER | TYPE_ARRAY, NULL),
    STREAMING,
    CAPS,
    SAMPLING,
    MEANS("n", TYPE_INTEGER, 0, MEANS_CHOICES),
    MEANS("best_of", TYPE_INTEGER, 0, MEANS_CHOICES),
    MEANS("suffix", TYPE_STRING, 0, MEANS_TEXT),
    PASS("echo", TYPE_BOOL),
    PASS("frequency_penalty", TYPE_NUMBER),
    PASS("presence_penalty", TYPE_NUMBER),
    PASS("logit_bias", TYPE_OBJECT),
    PASS("logprobs", TYPE_INTEGER),
    PASS("seed", TYPE_INTEGER),
    LIST("stop", TYPE_STRING, 0, MEANS_NOTHING, TYPE_STRING, NULL),
    IDENTITY,
};
const struct dialect_shape dialect_completions_shape =
    SHAPE(completions_fields);

/* --- POST /v1/responses, stateless --------------------------------------- */

static const struct str responses_parts[] = {STR_INIT("input_text"),
    STR_INIT("output_text"), STR_INIT("input_image"), STR_INIT("input_audio"),
    STR_INIT("refusal"), STR_INIT("summary_text"), STR_INIT("reasoning_text"),
    STR_INIT("text"), {NULL, 0}};

static const struct dialect_field responses_part_fields[] = {
    WORD("type", FIELD_REQUIRED, responses_parts,
        "is a kind of content that is not offered; input_text, input_image (as "
        "a data: URI) and input_audio are"),
    MEANS("text", TYPE_STRING, 0, MEANS_TEXT),
    MEANS("refusal", TYPE_STRING, 0, MEANS_TEXT),
    MEANS("image_url", TYPE_STRING, 0, MEANS_IMAGE),
    PASS("detail", TYPE_STRING),
    OBJECT("input_audio", 0, input_audio_shape),
    CUT("annotations", TYPE_ARRAY),
    CUT("logprobs", TYPE_ARRAY),
    REFUSED("file_id", NO_FILES),
    REFUSED("file_url", NO_FILES),
    REFUSED("file_data", NO_FILES),
};
static const struct dialect_shape responses_part_shape =
    SHAPE(responses_part_fields);

static const struct str item_types[] = {STR_INIT("message"),
    STR_INIT("function_call"), STR_INIT("function_call_output"),
    STR_INIT("reasoning"), {NULL, 0}};

static const struct dialect_field item_fields[] = {
    WORD("type", 0, item_types,
        "is a kind of input that is not offered (hosted tools, stored items); "
        "message, function_call, function_call_output and reasoning are"),
    MEANS("role", TYPE_STRING, 0, MEANS_TEXT),
    LIST("content", TYPE_STRING, 0, MEANS_TEXT, TYPE_OBJECT,
        &responses_part_shape),
    PASS("id", TYPE_STRING),
    PASS("status", TYPE_STRING),
    MEANS("call_id", TYPE_STRING, 0, MEANS_TEXT),
    MEANS("name", TYPE_STRING, 0, MEANS_TEXT),
    MEANS("arguments", TYPE_STRING, 0, MEANS_TEXT),
    LIST("output", TYPE_STRING, 0, MEANS_TEXT, TYPE_OBJECT,
        &responses_part_shape),
    LIST("summary", 0, 0, MEANS_NOTHING, TYPE_OBJECT, &responses_part_shape),
};
static const struct dialect_shape item_shape = SHAPE(item_fields);

static const struct dialect_field responses_tool_fields[] = {
    WORD("type", FIELD_REQUIRED, function_only, HOSTED),
    MEANS(
        "name", TYPE_STRING, FIELD_REQUIRED | FIELD_NOT_EMPTY, MEANS_TOOL_NAME),
    MEANS("description", TYPE_STRING, 0, MEANS_TEXT),
    MEANS("parameters", TYPE_OBJECT, 0, MEANS_RAW_TEXT),
    PASS("strict", TYPE_BOOL),
};
static const struct dialect_shape responses_tool_shape =
    SHAPE(responses_tool_fields);

static const struct dialect_field responses_choice_fields[] = {
    WORD("type", FIELD_REQUIRED, function_only, HOSTED),
    PASS("name", TYPE_STRING),
};
static const struct dialect_shape responses_choice_shape =
    SHAPE(responses_choice_fields);

static const struct dialect_field text_format_fields[] = {
    WORD("type", FIELD_REQUIRED, formats,
        "is an answer format that is not offered; text, json_object and "
        "json_schema are"),
    MEANS("name", TYPE_STRING, 0, MEANS_TEXT),
    MEANS("description", TYPE_STRING, 0, MEANS_TEXT),
    MEANS("schema", TYPE_OBJECT, 0, MEANS_RAW_TEXT),
    PASS("strict", TYPE_BOOL),
};
static const struct dialect_shape text_format_shape = SHAPE(text_format_fields);

static const struct dialect_field text_fields[] = {
    OBJECT("format", 0, text_format_shape),
    PASS("verbosity", TYPE_STRING),
};
static const struct dialect_shape text_shape = SHAPE(text_fields);

static const struct dialect_field reasoning_fields[] = {
    PASS("effort", TYPE_STRING),
    PASS("summary", TYPE_STRING),
    PASS("generate_summary", TYPE_STRING),
};
static const struct dialect_shape reasoning_shape = SHAPE(reasoning_fields);

static const struct dialect_field responses_fields[] = {
    MEANS("model", TYPE_STRING, FIELD_REQUIRED | FIELD_NOT_EMPTY, MEANS_MODEL),
    LIST("input", TYPE_STRING, FIELD_REQUIRED | FIELD_NOT_EMPTY, MEANS_MESSAGES,
        TYPE_OBJECT, &item_shape),
    MEANS("instructions", TYPE_STRING, 0, MEANS_TEXT),
    STREAMING,
    CAPS,
    SAMPLING,
    LIST("tools", 0, 0, MEANS_TOOLS, TYPE_OBJECT, &responses_tool_shape),
    {STR_INIT("tool_choice"), TYPE_STRING | TYPE_OBJECT, 0, MEANS_NOTHING, 0,
        &responses_choice_shape, NULL, NULL},
    PASS("parallel_tool_calls", TYPE_BOOL),
    PASS("max_tool_calls", TYPE_INTEGER),
    PASS("top_logprobs", TYPE_INTEGER),
    OBJECT("text", 0, text_shape),
    OBJECT("reasoning", 0, reasoning_shape),
    LIST("include", 0, 0, MEANS_NOTHING, TYPE_STRING, NULL),
    PASS("truncation", TYPE_STRING),
    REFUSED_TRUE("store", STATELESS),
    REFUSED_TRUE("background", STATELESS),
    REFUSED("previous_response_id", STATELESS),
    REFUSED("conversation", STATELESS),
    REFUSED("prompt",
        "refers to a prompt kept by a provider, which is not offered"),
    REFUSED("context_management", STATELESS),
    IDENTITY,
};
const struct dialect_shape dialect_responses_shape = SHAPE(responses_fields);

/* --- POST /v1/embeddings ------------------------------------------------- */

static const struct dialect_field embeddings_fields[] = {
    MEANS("model", TYPE_STRING, FIELD_REQUIRED | FIELD_NOT_EMPTY, MEANS_MODEL),
    LIST("input", TYPE_STRING, FIELD_REQUIRED, MEANS_PROMPTS,
        TYPE_STRING | TYPE_INTEGER | TYPE_ARRAY, NULL),
    PASS("encoding_format", TYPE_STRING),
    PASS("dimensions", TYPE_INTEGER),
    IDENTITY,
};
const struct dialect_shape dialect_embeddings_shape = SHAPE(embeddings_fields);
