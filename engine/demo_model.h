/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/demo_model.h - tokeniser and n-gram model of the demonstration
 * engine. Immutable after demo_model_new; any thread.
 *
 * A token is a word piece of at most eight letters with the blank before it, a
 * digit, or one other character: no text has more tokens than bytes. */
#ifndef ENGINE_DEMO_MODEL_H
#define ENGINE_DEMO_MODEL_H

#include "lib/buf.h"

struct demo_model;
/* Trains on the text that is compiled in. gives; NULL: out of memory. */
struct demo_model *demo_model_new(void);
void demo_model_free(struct demo_model **model);

/* Cuts the first token off *text; an empty one at the end. Pure. */
struct str demo_token_next(struct str *text);
int64_t demo_token_count(struct str text);

/* A run of generation. Zero is not valid: demo_run_begin. */
struct demo_run {
    const struct demo_model *model;
    uint64_t random;
    int32_t last[2];      /* ids of the last two tokens; -1: unknown */
    uint32_t temperature; /* thousandths; 0: the most frequent continuation */
};
void demo_run_begin(const struct demo_model *model, struct demo_run *run,
    struct str prompt, uint64_t seed, uint32_t temperature);
/* The next token's text; empty: the model has come to an end. */
struct str demo_run_next(struct demo_run *run);

#endif
