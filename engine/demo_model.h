/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/demo_model.h - a small n-gram language model, trained at start on
 * the text compiled in (demo_corpus).
 *
 * It continues with what followed the last one, two and three tokens in what
 * it has read, preferring words that the prompt used. A toy: for showing and
 * testing what stands before an engine. The model is immutable and belongs to
 * any thread; a run is one text in the making and belongs to one. */
#ifndef ENGINE_DEMO_MODEL_H
#define ENGINE_DEMO_MODEL_H

#include "engine/demo_tokens.h"

extern const char *const demo_corpus[];
extern const size_t demo_corpus_count;

struct demo_model;

enum err demo_model_new(struct demo_model **out) MUSTCHECK; /* gives */
void demo_model_free(struct demo_model **model);
const struct demo_vocabulary *demo_model_vocabulary(
    const struct demo_model *model);

struct demo_sampling {
    double temperature; /* 0: always the likeliest token */
    double top_p;       /* 0 < top_p <= 1 */
    uint64_t seed;
    bool ignore_end; /* begin a new text instead of ending */
    bool answer;     /* begin with a new sentence: chat. Else continue */
};

struct demo_run;

/* keeps model; borrows prompt. gives *out. The same prompt and sampling give
 * the same tokens. */
enum err demo_run_new(const struct demo_model *model, const uint32_t *prompt,
    size_t prompt_count, const struct demo_sampling *sampling,
    struct demo_run **out) MUSTCHECK;
void demo_run_free(struct demo_run **run);
/* The next token, never a special one; false: the text is at its end. */
bool demo_run_next(struct demo_run *run, uint32_t *id);

#endif
