/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/demo_model.c - counting what follows what.
 *
 * There is no table of n-grams: the corpus is so small that its tokens, with
 * a chain through all places of each token, are the table. */
#include "engine/demo_model.h"

#include "lib/must.h"

#include <math.h>
#include <stdlib.h>

#define CONTEXT 3
#define NONE UINT32_MAX
/* Weight of a place whose last one, two, three tokens agree. */
static const double agreement[CONTEXT + 1] = {0, 1, 12, 60};
#define TOPIC_FACTOR 4.0   /* for words of the prompt */
#define REPEAT_SLOTS 1024u /* pairs that were said already, hashed */
#define OPENING 2          /* tokens taken over from the chosen sentence */

struct demo_model {
    struct demo_vocabulary *vocabulary;
    struct buf ids;        /* the corpus; DEMO_END between texts */
    const uint32_t *at;    /* ids as an array */
    uint32_t length;       /* of the corpus */
    uint32_t *next_place;  /* the next place of the same token, or NONE */
    uint32_t *first_place; /* by id */
    uint32_t *places;      /* by id: how many */
    uint32_t *word;        /* by id: its first spelling; 0: says little */
    uint32_t *sentences;   /* places where one begins */
    uint32_t sentence_count;
};

struct demo_run {
    const struct demo_model *model;
    struct demo_sampling sampling;
    uint64_t random;
    uint32_t context[CONTEXT]; /* last token first */
    uint32_t opening[OPENING];
    unsigned opening_left;
    bool *topic;       /* by id: the prompt used this word */
    double *weights;   /* by id, zero between calls */
    uint32_t *touched; /* ids with a weight */
    uint8_t repeats[REPEAT_SLOTS];
};

static bool ends_sentence(struct str piece)
{
    return str_equal(piece, STR(".")) || str_equal(piece, STR("?"));
}

/* Finds the spellings of one word. Words of up to three letters ("the", "and",
 * "in") tell nothing about what a text is about. */
static enum err index_words(struct demo_model *m)
{
    uint32_t words = demo_vocabulary_size(m->vocabulary);
    m->word = calloc(words, sizeof *m->word);
    if (!m->word)
        return ERR_NOMEM;
    for (uint32_t id = DEMO_SPECIALS; id < words; id++) {
        struct str word = demo_vocabulary_piece(m->vocabulary, id);
        char text[64];
        size_t n = 0;
        for (size_t i = 0; i < word.len && n < sizeof text; i++)
            if (word.ptr[i] != ' ')
                text[n++] = (char)(word.ptr[i] | 0x20);
        if (n < 4)
            continue;
        struct buf ids;
        buf_init(&ids, 1024);
        (void)demo_tokenise(m->vocabulary, str_make(text, n), &ids);
        bool known = !ids.failed && demo_ids_count(&ids) == 1 &&
                     demo_ids(&ids)[0] < words;
        if (known)
            m->word[id] = demo_ids(&ids)[0];
        buf_fini(&ids);
    }
    return ERR_OK;
}

static enum err index_corpus(struct demo_model *m)
{
    uint32_t words = demo_vocabulary_size(m->vocabulary);
    m->at = demo_ids(&m->ids);
    m->length = (uint32_t)demo_ids_count(&m->ids);
    m->next_place = calloc(m->length, sizeof *m->next_place);
    m->sentences = calloc(m->length, sizeof *m->sentences);
    m->first_place = calloc(words, sizeof *m->first_place);
    m->places = calloc(words, sizeof *m->places);
    if (!m->next_place || !m->sentences || !m->first_place || !m->places)
        return ERR_NOMEM;
    for (uint32_t id = 0; id < words; id++)
        m->first_place[id] = NONE;
    for (uint32_t i = m->length; i > 0; i--) {
        uint32_t id = m->at[i - 1];
        m->next_place[i - 1] = m->first_place[id];
        m->first_place[id] = i - 1;
        m->places[id]++;
    }
    for (uint32_t i = 0; i + 1 < m->length; i++)
        if (m->at[i + 1] != DEMO_END &&
            (m->at[i] == DEMO_END ||
                ends_sentence(demo_vocabulary_piece(m->vocabulary, m->at[i]))))
            m->sentences[m->sentence_count++] = i + 1;
    MUST(m->sentence_count > 0);
    return ERR_OK;
}

enum err demo_model_new(struct demo_model **out)
{
    struct demo_model *m = calloc(1, sizeof *m);
    if (!m)
        return ERR_NOMEM;
    buf_init(&m->ids, 1 << 24);
    enum err err =
        demo_vocabulary_new(demo_corpus, demo_corpus_count, &m->vocabulary);
    if (!err) {
        demo_ids_append(&m->ids, DEMO_END);
        for (size_t i = 0; i < demo_corpus_count; i++) {
            (void)demo_tokenise(
                m->vocabulary, str_from(demo_corpus[i]), &m->ids);
            demo_ids_append(&m->ids, DEMO_END);
        }
        err = m->ids.failed ? ERR_NOMEM : index_corpus(m);
        if (!err)
            err = index_words(m);
    }
    if (err)
        demo_model_free(&m);
    else
        *out = m;
    return err;
}

void demo_model_free(struct demo_model **model)
{
    struct demo_model *m = *model;
    if (!m)
        return;
    demo_vocabulary_free(&m->vocabulary);
    buf_fini(&m->ids);
    free(m->next_place);
    free(m->first_place);
    free(m->places);
    free(m->word);
    free(m->sentences);
    free(m);
    *model = NULL;
}

const struct demo_vocabulary *demo_model_vocabulary(
    const struct demo_model *model)
{
    return model->vocabulary;
}

/* splitmix64 (public domain, Vigna), then 53 bits as [0, 1). */
static double random_unit(struct demo_run *run)
{
    uint64_t z = (run->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

/* Rare words say more about what a text is about. */
static double rarity(const struct demo_model *m, uint32_t id)
{
    return 1.0 / (1.0 + m->places[id]);
}

/* Marks the words of the prompt, however they are spelled. */
static void mark_topic(
    struct demo_run *run, const uint32_t *prompt, size_t count)
{
    const struct demo_model *m = run->model;
    uint32_t words = demo_vocabulary_size(m->vocabulary);
    for (size_t i = 0; i < count; i++)
        if (prompt[i] < words && m->word[prompt[i]] != 0)
            run->topic[m->word[prompt[i]]] = true;
    /* From the word's first spelling to all others. */
    for (uint32_t id = 0; id < words; id++)
        if (m->word[id] != 0 && run->topic[m->word[id]])
            run->topic[id] = true;
}

/* The sentence to begin with: by chance, or the likeliest at temperature 0,
 * weighted by the words that it shares with the prompt. */
static uint32_t choose_sentence(struct demo_run *run)
{
    const struct demo_model *m = run->model;
    double total = 0, best = 0, target = -1;
    uint32_t chosen = m->sentences[0];
    for (int round = 0; round < 2; round++) {
        double sum = 0;
        for (uint32_t i = 0; i < m->sentence_count; i++) {
            uint32_t end =
                i + 1 < m->sentence_count ? m->sentences[i + 1] : m->length;
            double weight = 0.01;
            for (uint32_t p = m->sentences[i]; p < end; p++)
                if (run->topic[m->at[p]])
                    weight += rarity(m, m->at[p]);
            weight *= weight;
            sum += weight;
            if (round == 0 && weight > best) {
                best = weight;
                if (run->sampling.temperature <= 0)
                    chosen = m->sentences[i];
            }
            if (round == 1 && sum > target)
                return m->sentences[i];
        }
        if (run->sampling.temperature <= 0)
            return chosen;
        total = sum;
        target = random_unit(run) * total;
    }
    return m->sentences[m->sentence_count - 1];
}

static void begin_sentence(struct demo_run *run)
{
    uint32_t place = choose_sentence(run);
    run->context[0] = run->model->at[place - 1];
    run->context[1] = run->context[2] = DEMO_END;
    run->opening_left = 0;
    for (uint32_t i = OPENING; i > 0; i--) {
        uint32_t p = place + i - 1;
        if (p < run->model->length && run->model->at[p] != DEMO_END)
            run->opening[run->opening_left++] = run->model->at[p];
    }
}

enum err demo_run_new(const struct demo_model *model, const uint32_t *prompt,
    size_t prompt_count, const struct demo_sampling *sampling,
    struct demo_run **out)
{
    uint32_t words = demo_vocabulary_size(model->vocabulary);
    struct demo_run *run = calloc(1, sizeof *run);
    if (!run)
        return ERR_NOMEM;
    run->model = model;
    run->sampling = *sampling;
    run->random = sampling->seed;
    run->topic = calloc(words, sizeof *run->topic);
    run->weights = calloc(words, sizeof *run->weights);
    run->touched = calloc(words, sizeof *run->touched);
    if (!run->topic || !run->weights || !run->touched) {
        demo_run_free(&run);
        return ERR_NOMEM;
    }
    mark_topic(run, prompt, prompt_count);
    for (size_t i = 0; i < CONTEXT; i++)
        run->context[i] =
            i < prompt_count ? prompt[prompt_count - 1 - i] : DEMO_END;
    /* A text that ends in a word never read has nothing to go on with. */
    uint32_t last = run->context[0];
    if (sampling->answer || last >= words || last == DEMO_END ||
        model->first_place[last] == NONE)
        begin_sentence(run);
    *out = run;
    return ERR_OK;
}

void demo_run_free(struct demo_run **run)
{
    if (!*run)
        return;
    free((*run)->topic);
    free((*run)->weights);
    free((*run)->touched);
    free(*run);
    *run = NULL;
}

static uint8_t *repeats_of(struct demo_run *run, uint32_t before, uint32_t id)
{
    return &run->repeats[(before * 2654435761u ^ id * 40503u) % REPEAT_SLOTS];
}

/* Weighs each token that ever followed the last one; gives how many. */
static uint32_t weigh(struct demo_run *run)
{
    const struct demo_model *m = run->model;
    uint32_t count = 0;
    for (uint32_t p = m->first_place[run->context[0]]; p != NONE;
         p = m->next_place[p]) {
        if (p + 1 >= m->length)
            continue;
        unsigned agrees = 1;
        while (agrees < CONTEXT && p >= agrees &&
               m->at[p - agrees] == run->context[agrees])
            agrees++;
        uint32_t id = m->at[p + 1];
        if (run->weights[id] == 0)
            run->touched[count++] = id;
        run->weights[id] += agreement[agrees];
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t id = run->touched[i];
        if (run->topic[id])
            run->weights[id] *= TOPIC_FACTOR;
        run->weights[id] /= 1.0 + 2.0 * *repeats_of(run, run->context[0], id);
    }
    return count;
}

/* Sorts the touched ids by weight, the heaviest first; equal ones by id. */
static void sort_touched(struct demo_run *run, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        uint32_t id = run->touched[i], at = i;
        for (; at > 0; at--) {
            uint32_t other = run->touched[at - 1];
            if (run->weights[other] > run->weights[id] ||
                (run->weights[other] == run->weights[id] && other < id))
                break;
            run->touched[at] = other;
        }
        run->touched[at] = id;
    }
}

static uint32_t choose(struct demo_run *run, uint32_t count)
{
    sort_touched(run, count);
    uint32_t chosen = run->touched[0];
    if (run->sampling.temperature > 0) {
        double heaviest = run->weights[chosen], total = 0, kept = 0;
        uint32_t most = 0;
        for (uint32_t i = 0; i < count; i++) {
            double *w = &run->weights[run->touched[i]];
            *w = pow(*w / heaviest, 1.0 / run->sampling.temperature);
            total += *w;
        }
        while (most < count && kept < run->sampling.top_p * total)
            kept += run->weights[run->touched[most++]];
        double target = random_unit(run) * kept, sum = 0;
        for (uint32_t i = 0; i < most; i++) {
            chosen = run->touched[i];
            sum += run->weights[chosen];
            if (sum > target)
                break;
        }
    }
    for (uint32_t i = 0; i < count; i++)
        run->weights[run->touched[i]] = 0;
    return chosen;
}

static void remember(struct demo_run *run, uint32_t id)
{
    uint8_t *repeats = repeats_of(run, run->context[0], id);
    if (*repeats < UINT8_MAX)
        ++*repeats;
    for (size_t i = CONTEXT - 1; i > 0; i--)
        run->context[i] = run->context[i - 1];
    run->context[0] = id;
}

bool demo_run_next(struct demo_run *run, uint32_t *id)
{
    uint32_t chosen;
    if (run->opening_left == 0) {
        uint32_t count = weigh(run);
        chosen = count ? choose(run, count) : DEMO_END;
        if (chosen == DEMO_END) {
            if (!run->sampling.ignore_end)
                return false;
            begin_sentence(run);
        }
    }
    if (run->opening_left > 0)
        chosen = run->opening[--run->opening_left];
    remember(run, chosen);
    *id = chosen;
    return true;
}
