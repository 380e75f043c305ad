/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/tokeniser.h - how each kind of engine is asked for the number of
 * input tokens of a request, before it is made.
 *
 *   demo          POST /tokenize, the request itself
 *   vllm          POST /tokenize, the request itself (messages or one prompt)
 *   llama-server  POST /apply-template with the request, then POST /tokenize
 *                 with the prompt that came of it; texts go straight to the
 *                 second
 * The other kinds have none that counts a whole request. What is sent is the
 * body that a generation would be sent, so that what is counted is what would
 * be read; media are not counted by any of them.
 *
 * A small machine without I/O: it says what to ask next, is told the answer,
 * and ends in a count or in words why there is none. Texts live in the arena
 * given. One thread. */
#ifndef ENGINE_TOKENISER_H
#define ENGINE_TOKENISER_H

#include "engine/dialect.h"

struct tokeniser {
    enum engine_kind kind;
    bool template_is_next; /* llama-server: the answer to come is a prompt */
    /* What to POST now; borrows from the request's body and the arena. */
    const char *path;
    struct iovec *pieces;
    size_t piece_count;
    size_t length;
    int64_t count;   /* TOKENISER_COUNTED */
    const char *why; /* TOKENISER_FAILED: static words */
};

enum tokeniser_state {
    TOKENISER_FAILED = 0, /* nothing is known; ->why */
    TOKENISER_ASK,        /* POST ->pieces to ->path */
    TOKENISER_COUNTED     /* ->count, at least 1 */
};

/* Can an engine of this kind count this request? */
bool tokeniser_exists(
    enum engine_kind kind, const struct dialect_description *description);
/* Only where tokeniser_exists. ASK, or FAILED when out of memory. */
enum tokeniser_state tokeniser_begin(struct tokeniser *tokeniser,
    enum engine_kind kind, const struct dialect_description *description,
    struct str upstream, struct arena *arena) MUSTCHECK;
/* The engine's whole answer to what was asked last. */
enum tokeniser_state tokeniser_answer(struct tokeniser *tokeniser, int status,
    struct str body, struct arena *arena) MUSTCHECK;

#endif
