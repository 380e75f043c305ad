/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/demo_model.c - trigrams with back-off to bigrams and to the start of
 * a sentence, straight from the positions in the training text. */
#include "engine/demo_model.h"

#include <stdlib.h>

extern const char demo_corpus[]; /* demo_corpus.c */

#define PIECE_MAX 8
#define CONTINUATIONS_MAX 256

struct demo_model {
    struct str *tokens; /* distinct, in order of first appearance */
    int32_t token_count;
    int32_t *ids; /* the text */
    int32_t length;
};

/* --- Tokens -------------------------------------------------------------- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

struct str demo_token_next(struct str *text)
{
    struct str token = {text->ptr, 0};
    size_t at = 0;
    if (text->len == 0)
        return token;
    if (text->ptr[0] == ' ' && text->len > 1 && is_letter(text->ptr[1]))
        at = 1;
    size_t letters = at;
    while (letters < text->len && is_letter(text->ptr[letters]) &&
           letters - at < PIECE_MAX)
        letters++;
    if (letters > at) {
        token.len = letters;
    } else {
        token.len = 1; /* one character, with its UTF-8 tail */
        while (token.len < text->len && token.len < 4 &&
               ((unsigned char)text->ptr[0] & 0xc0) == 0xc0 &&
               ((unsigned char)text->ptr[token.len] & 0xc0) == 0x80)
            token.len++;
    }
    text->ptr += token.len;
    text->len -= token.len;
    return token;
}

int64_t demo_token_count(struct str text)
{
    int64_t count = 0;
    while (demo_token_next(&text).len > 0)
        count++;
    return count;
}

static int32_t id_of(const struct demo_model *m, struct str token)
{
    for (int32_t i = 0; i < m->token_count; i++) {
        if (str_equal(m->tokens[i], token))
            return i;
    }
    return -1;
}

/* --- Training ------------------------------------------------------------ */

struct demo_model *demo_model_new(void)
{
    struct str text = str_from(demo_corpus);
    size_t count = (size_t)demo_token_count(text);
    struct demo_model *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return NULL;
    m->tokens = calloc(count + 1, sizeof(*m->tokens));
    m->ids = calloc(count + 1, sizeof(*m->ids));
    if (m->tokens == NULL || m->ids == NULL) {
        demo_model_free(&m);
        return NULL;
    }
    for (;;) {
        struct str token = demo_token_next(&text);
        if (token.len == 0)
            break;
        int32_t id = id_of(m, token);
        if (id < 0) {
            id = m->token_count;
            m->tokens[m->token_count++] = token;
        }
        m->ids[m->length++] = id;
    }
    return m;
}

void demo_model_free(struct demo_model **model)
{
    if (*model == NULL)
        return;
    free((*model)->tokens);
    free((*model)->ids);
    free(*model);
    *model = NULL;
}

/* --- Generating ---------------------------------------------------------- */

/* xorshift64*: small, and good enough to choose a continuation. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(2685821657736338717);
}

void demo_run_begin(const struct demo_model *model, struct demo_run *run,
    struct str prompt, uint64_t seed, uint32_t temperature)
{
    *run = (struct demo_run){.model = model, .last = {-1, -1}};
    run->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    if (run->random == 0)
        run->random = 1;
    run->temperature = temperature;
    /* What the prompt ends in leads into the text, where the text has it. */
    if (prompt.len > 64)
        prompt = str_make(prompt.ptr + prompt.len - 64, 64);
    for (;;) {
        struct str token = demo_token_next(&prompt);
        if (token.len == 0)
            break;
        run->last[0] = run->last[1];
        run->last[1] = id_of(model, token);
    }
}

/* Positions whose preceding `depth` tokens are the run's last ones. */
static int continuations(
    const struct demo_run *run, int depth, int32_t out[CONTINUATIONS_MAX])
{
    const struct demo_model *m = run->model;
    int count = 0;
    for (int32_t i = 2; i < m->length && count < CONTINUATIONS_MAX; i++) {
        if (m->ids[i - 1] != run->last[1])
            continue;
        if (depth == 2 && m->ids[i - 2] != run->last[0])
            continue;
        out[count++] = i;
    }
    return count;
}

static int sentence_starts(
    const struct demo_run *run, int32_t out[CONTINUATIONS_MAX])
{
    const struct demo_model *m = run->model;
    int count = 0;
    for (int32_t i = 1; i < m->length && count < CONTINUATIONS_MAX; i++) {
        if (m->tokens[m->ids[i - 1]].ptr[0] == '\n')
            out[count++] = i;
    }
    return count;
}

/* With temperature 0 the continuation that occurs most often. */
static int32_t most_frequent(
    const struct demo_model *m, const int32_t *positions, int count)
{
    int32_t best = m->ids[positions[0]];
    int best_count = 0;
    for (int i = 0; i < count; i++) {
        int same = 0;
        for (int k = 0; k < count; k++)
            same += m->ids[positions[k]] == m->ids[positions[i]];
        if (same > best_count) {
            best_count = same;
            best = m->ids[positions[i]];
        }
    }
    return best;
}

struct str demo_run_next(struct demo_run *run)
{
    const struct demo_model *m = run->model;
    int32_t positions[CONTINUATIONS_MAX] = {0};
    int count = 0;
    if (run->last[0] >= 0 && run->last[1] >= 0)
        count = continuations(run, 2, positions);
    if (count == 0 && run->last[1] >= 0)
        count = continuations(run, 1, positions);
    if (count == 0)
        count = sentence_starts(run, positions);
    if (count == 0)
        return STR("");
    int32_t id =
        run->temperature == 0
            ? most_frequent(m, positions, count)
            : m->ids[positions[next_random(&run->random) % (uint64_t)count]];
    run->last[0] = run->last[1];
    run->last[1] = id;
    struct str token = m->tokens[id];
    return token.ptr[0] == '\n' ? STR("") : token; /* a paragraph's end */
}
