/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/dialect_priv.h - the tables' own types: a body is an object of a
 * shape, a shape is a list of fields, a field says which JSON types it takes,
 * what it means to us and whether the engine gets it. */
#ifndef ENGINE_DIALECT_PRIV_H
#define ENGINE_DIALECT_PRIV_H

#include "engine/dialect.h"

/* JSON types a value may have. null is always taken, but for FIELD_REQUIRED. */
#define TYPE_BOOL 1u
#define TYPE_INTEGER 2u /* a number without fraction and exponent */
#define TYPE_NUMBER 4u
#define TYPE_STRING 8u
#define TYPE_ARRAY 16u
#define TYPE_OBJECT 32u

#define FIELD_REQUIRED 1u
#define FIELD_CUT 2u       /* never forwarded as it is */
#define FIELD_NOT_EMPTY 4u /* "" and [] are errors */

enum dialect_meaning {
    MEANS_NOTHING, /* checked for its type and passed on */
    MEANS_MODEL,
    MEANS_STREAM,
    MEANS_INCLUDE_USAGE,
    MEANS_CAP,
    MEANS_CHOICES,
    MEANS_PROMPTS,  /* text, texts, token ids or lists of them */
    MEANS_MESSAGES, /* each element is one; a string is one */
    MEANS_TEXT,     /* a string reaches the model */
    MEANS_RAW_TEXT, /* the value's JSON reaches the model */
    MEANS_TOOLS,    /* a list of tools */
    MEANS_TOOL_NAME,
    MEANS_TEMPERATURE,
    MEANS_TOP_P,
    MEANS_IMAGE, /* an address, or an object that holds one */
    MEANS_AUDIO, /* base64 or a data: URI */
    MEANS_SAFETY_IDENTIFIER,
    MEANS_USER,
    MEANS_WORD,         /* one of `words`, else `refusal` */
    MEANS_REFUSED_TRUE, /* `refusal` when true */
    MEANS_REFUSED       /* `refusal` when there at all (null is absent) */
};

struct dialect_shape;

struct dialect_field {
    struct str name;
    uint8_t types;
    uint8_t flags;
    uint8_t means;    /* enum dialect_meaning */
    uint8_t elements; /* of an array: the types its elements may have; 0: any */
    const struct dialect_shape *object; /* of an object, or of the elements */
    const struct str *words;            /* MEANS_WORD; ends with an empty one */
    const char *refusal; /* "..., which this proxy does not offer" */
};

struct dialect_shape {
    const struct dialect_field *fields;
    unsigned count; /* at most 64 */
};

/* A stretch of the judged body that the engine does not get. */
struct dialect_edit {
    uint32_t offset;
    uint32_t length;
};

extern const struct dialect_shape dialect_chat_shape;
extern const struct dialect_shape dialect_completions_shape;
extern const struct dialect_shape dialect_responses_shape;
extern const struct dialect_shape dialect_embeddings_shape;

/* The usage object of an endpoint at `object`; present stays false where it
 * holds no sane numbers. */
void dialect_read_usage(const struct json *json, uint32_t object,
    enum dialect_endpoint endpoint, struct dialect_usage *out);

/* Fills error, format into the arena; returns code. */
enum err dialect_fail(struct dialect_error *error, struct arena *arena,
    enum err code, int status, const char *word, const char *format, ...)
    PRINTFLIKE(6, 7);

/* At most `max` bytes of s with everything but visible ASCII and spaces
 * replaced by '?': safe in a header, a log line, an error. */
struct str dialect_printable(struct arena *arena, struct str s, size_t max);

#endif
