/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/demo_tokens.h - the demo engine's tokeniser: words it has read are
 * one token, others are cut into pieces of up to four bytes.
 *
 * Deterministic and without loss: the pieces put together are the text. A
 * token stands for at least one byte, so a text never has more tokens than
 * bytes. Immutable after it was made; any thread. */
#ifndef ENGINE_DEMO_TOKENS_H
#define ENGINE_DEMO_TOKENS_H

#include "lib/buf.h"

/* Ids that no text has. */
enum demo_special {
    DEMO_END,           /* end of a text */
    DEMO_MESSAGE_START, /* <|start|> of the chat template */
    DEMO_MESSAGE_END,   /* <|end|> */
    DEMO_ROLE_SYSTEM,
    DEMO_ROLE_USER,
    DEMO_ROLE_ASSISTANT,
    DEMO_ROLE_TOOL,
    DEMO_SPECIALS
};
/* Pieces outside the vocabulary have ids from here on (by hash). */
#define DEMO_UNKNOWN 100000u

struct demo_vocabulary;

/* gives *out. The words of the texts become the vocabulary. */
enum err demo_vocabulary_new(const char *const *texts, size_t count,
    struct demo_vocabulary **out) MUSTCHECK;
void demo_vocabulary_free(struct demo_vocabulary **vocabulary);
/* Ids below it have a text or are special. */
uint32_t demo_vocabulary_size(const struct demo_vocabulary *vocabulary);
/* The bytes of a vocabulary id; empty for special and unknown ones. */
struct str demo_vocabulary_piece(
    const struct demo_vocabulary *vocabulary, uint32_t id);

/* Appends the ids (uint32_t each, so alignment of a fresh buffer matters) of
 * text to ids; failure shows in ids->failed. Returns how many. */
size_t demo_tokenise(
    const struct demo_vocabulary *vocabulary, struct str text, struct buf *ids);
/* The same without keeping them. */
size_t demo_count_tokens(
    const struct demo_vocabulary *vocabulary, struct str text);

static inline const uint32_t *demo_ids(const struct buf *ids)
{
    return (const uint32_t *)(const void *)buf_str(ids).ptr;
}
static inline size_t demo_ids_count(const struct buf *ids)
{
    return ids->len / sizeof(uint32_t);
}
void demo_ids_append(struct buf *ids, uint32_t id);

#endif
