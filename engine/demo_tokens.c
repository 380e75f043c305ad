/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/demo_tokens.c - words, pieces, ids. */
#include "engine/demo_tokens.h"

#include "lib/arena.h"
#include "lib/must.h"

#include <stdlib.h>

#define PIECE_MAX 4 /* bytes of a piece of a word that is not known */
#define WORD_MAX 32 /* longer runs are no words of the vocabulary */

struct demo_vocabulary {
    struct str *pieces; /* by id; the first DEMO_SPECIALS are empty */
    uint32_t count, cap;
    uint32_t *slots; /* open addressing: id, or 0 for a free one */
    uint32_t slot_mask;
    struct arena *spellings; /* texts of words as nobody wrote them yet */
};

static bool is_letter(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80;
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

/* Length of the next unit: a word, up to three digits or one other character,
 * each with one space before it if there is one. */
static size_t next_unit(struct str text)
{
    const unsigned char *p = (const unsigned char *)text.ptr;
    size_t at = 0;
    if (p[0] == ' ' && text.len > 1 && p[1] > ' ')
        at = 1;
    if (is_letter(p[at])) {
        while (at < text.len && is_letter(p[at]))
            at++;
    } else if (is_digit(p[at])) {
        size_t most = at + 3;
        while (at < text.len && at < most && is_digit(p[at]))
            at++;
    } else {
        at++;
    }
    return at;
}

/* Length of the next piece of an unknown unit: up to PIECE_MAX bytes, not
 * ending inside a UTF-8 character. */
static size_t next_piece(struct str unit)
{
    size_t n = unit.len < PIECE_MAX ? unit.len : PIECE_MAX;
    size_t cut = n;
    if (n == unit.len)
        return n;
    while (cut > 0 && ((unsigned char)unit.ptr[cut] & 0xc0) == 0x80)
        cut--;
    return cut ? cut : n; /* no character starts here: not UTF-8 */
}

/* The slot that holds the piece, or the free one where it would stand. */
static uint32_t *find_slot(const struct demo_vocabulary *v, struct str piece)
{
    uint32_t at = (uint32_t)str_hash(piece) & v->slot_mask;
    while (v->slots[at] != 0 && !str_equal(v->pieces[v->slots[at]], piece))
        at = (at + 1) & v->slot_mask;
    return &v->slots[at];
}

static enum err rehash(struct demo_vocabulary *v, uint32_t slots)
{
    uint32_t *fresh = calloc(slots, sizeof *fresh);
    if (!fresh)
        return ERR_NOMEM;
    free(v->slots);
    v->slots = fresh;
    v->slot_mask = slots - 1;
    for (uint32_t id = DEMO_SPECIALS; id < v->count; id++)
        *find_slot(v, v->pieces[id]) = id;
    return ERR_OK;
}

static enum err add_word(struct demo_vocabulary *v, struct str word)
{
    if (word.len > WORD_MAX || *find_slot(v, word) != 0)
        return ERR_OK;
    if (v->count == v->cap) {
        uint32_t cap = v->cap * 2;
        MUST(cap < DEMO_UNKNOWN); /* the texts are compiled in */
        struct str *pieces = realloc(v->pieces, cap * sizeof *pieces);
        if (!pieces)
            return ERR_NOMEM;
        v->pieces = pieces;
        v->cap = cap;
        enum err err = rehash(v, cap * 2);
        if (err)
            return err;
    }
    v->pieces[v->count] = word;
    *find_slot(v, word) = v->count++;
    return ERR_OK;
}

/* The word with and without a space before it, and with the other case of its
 * first letter: a prompt may use it at another place of a sentence. */
static enum err add_spellings(struct demo_vocabulary *v, struct str unit)
{
    enum err err = add_word(v, unit);
    struct str word = str_starts(unit, STR(" "))
                          ? str_make(unit.ptr + 1, unit.len - 1)
                          : unit;
    if (err || word.len == 0 || word.len + 1 > WORD_MAX ||
        !is_letter((unsigned char)word.ptr[0]) ||
        (unsigned char)word.ptr[0] >= 0x80)
        return err;
    for (int flip = 0; !err && flip < 2; flip++) {
        char *text = arena_printf(v->spellings, " %.*s", STR_ARG(word));
        if (!text)
            return ERR_NOMEM;
        if (flip)
            text[1] = (char)(text[1] ^ 0x20);
        err = add_word(v, str_make(text, word.len + 1));
        if (!err)
            err = add_word(v, str_make(text + 1, word.len));
    }
    return err;
}

enum err demo_vocabulary_new(
    const char *const *texts, size_t count, struct demo_vocabulary **out)
{
    struct demo_vocabulary *v = calloc(1, sizeof *v);
    enum err err = v ? ERR_OK : ERR_NOMEM;
    if (v) {
        v->count = DEMO_SPECIALS;
        v->cap = 256;
        v->pieces = calloc(v->cap, sizeof *v->pieces);
        v->spellings = arena_new(65536, 0);
        err = v->pieces && v->spellings ? rehash(v, v->cap * 2) : ERR_NOMEM;
    }
    /* The texts' own words come first: their ids are the smaller ones. */
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; !err && i < count; i++) {
            struct str rest = str_from(texts[i]);
            while (!err && rest.len > 0) {
                size_t n = next_unit(rest);
                struct str unit = str_make(rest.ptr, n);
                err = round == 0 ? add_word(v, unit) : add_spellings(v, unit);
                rest = str_make(rest.ptr + n, rest.len - n);
            }
        }
    }
    if (err)
        demo_vocabulary_free(&v);
    else
        *out = v;
    return err;
}

void demo_vocabulary_free(struct demo_vocabulary **vocabulary)
{
    if (!*vocabulary)
        return;
    free((*vocabulary)->pieces);
    free((*vocabulary)->slots);
    if ((*vocabulary)->spellings)
        arena_free(&(*vocabulary)->spellings);
    free(*vocabulary);
    *vocabulary = NULL;
}

uint32_t demo_vocabulary_size(const struct demo_vocabulary *vocabulary)
{
    return vocabulary->count;
}

struct str demo_vocabulary_piece(
    const struct demo_vocabulary *vocabulary, uint32_t id)
{
    if (id < DEMO_SPECIALS || id >= vocabulary->count)
        return str_make("", 0);
    return vocabulary->pieces[id];
}

void demo_ids_append(struct buf *ids, uint32_t id)
{
    buf_append(ids, &id, sizeof id);
}

static uint32_t id_of(const struct demo_vocabulary *v, struct str piece)
{
    uint32_t id = *find_slot(v, piece);
    return id ? id : DEMO_UNKNOWN + (uint32_t)(str_hash(piece) % 900000);
}

/* ids may be NULL: count only. */
static size_t walk(
    const struct demo_vocabulary *v, struct str text, struct buf *ids)
{
    size_t count = 0;
    while (text.len > 0) {
        size_t unit_length = next_unit(text);
        struct str unit = str_make(text.ptr, unit_length);
        text = str_make(text.ptr + unit_length, text.len - unit_length);
        uint32_t whole = unit.len <= WORD_MAX ? *find_slot(v, unit) : 0;
        if (whole) {
            count++;
            if (ids)
                demo_ids_append(ids, whole);
            continue;
        }
        while (unit.len > 0) {
            size_t n = next_piece(unit);
            count++;
            if (ids)
                demo_ids_append(ids, id_of(v, str_make(unit.ptr, n)));
            unit = str_make(unit.ptr + n, unit.len - n);
        }
    }
    return count;
}

size_t demo_tokenise(
    const struct demo_vocabulary *vocabulary, struct str text, struct buf *ids)
{
    return walk(vocabulary, text, ids);
}

size_t demo_count_tokens(
    const struct demo_vocabulary *vocabulary, struct str text)
{
    return walk(vocabulary, text, NULL);
}
