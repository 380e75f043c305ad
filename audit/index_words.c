/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/index_words.c - open addressing over an arena of copies. */
#include "audit/index_words.h"

#include "lib/arena.h"

#include <stdlib.h>

#define SLOTS 65536u /* a power of two */
#define WORDS_MOST (SLOTS / 2)
#define BYTES_MOST (16u << 20) /* of copied words */

struct slot {
    uint64_t hash;
    struct str word;
    int64_t id; /* 0: empty */
};

struct index_words {
    struct arena *arena;
    size_t count;
    struct slot *slots;
};

struct index_words *index_words_new(void)
{
    struct index_words *words = calloc(1, sizeof(*words));
    if (!words)
        return NULL;
    words->arena = arena_new(65536, BYTES_MOST);
    words->slots = calloc(SLOTS, sizeof(*words->slots));
    if (!words->arena || !words->slots)
        index_words_free(&words);
    return words;
}

void index_words_free(struct index_words **words)
{
    if (!*words)
        return;
    arena_free(&(*words)->arena);
    free((*words)->slots);
    free(*words);
    *words = NULL;
}

void index_words_clear(struct index_words *words)
{
    arena_reset(words->arena);
    memset(words->slots, 0, SLOTS * sizeof(*words->slots));
    words->count = 0;
}

static struct slot *slot_of(
    const struct index_words *words, struct str word, uint64_t hash)
{
    size_t at = hash & (SLOTS - 1);
    while (words->slots[at].id != 0 &&
           (words->slots[at].hash != hash ||
               !str_equal(words->slots[at].word, word)))
        at = (at + 1) & (SLOTS - 1);
    return &words->slots[at];
}

int64_t index_words_find(const struct index_words *words, struct str word)
{
    return slot_of(words, word, str_hash(word))->id;
}

void index_words_add(struct index_words *words, struct str word, int64_t id)
{
    if (words->count >= WORDS_MOST)
        index_words_clear(words);
    struct str copy = arena_copy(words->arena, word);
    if (!copy.ptr) {
        index_words_clear(words);
        copy = arena_copy(words->arena, word);
        if (!copy.ptr)
            return;
    }
    uint64_t hash = str_hash(word);
    struct slot *slot = slot_of(words, word, hash);
    if (slot->id == 0)
        words->count++;
    *slot = (struct slot){.hash = hash, .word = copy, .id = id};
}
