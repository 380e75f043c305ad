/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/index_words.h - the dictionary of an index file in memory: word to id.
 *
 * A cache in front of table word, bounded: when it is full it starts anew. One
 * thread. */
#ifndef AUDIT_INDEX_WORDS_H
#define AUDIT_INDEX_WORDS_H

#include "lib/err.h"
#include "lib/str.h"

struct index_words;
struct index_words *index_words_new(void); /* gives; NULL: out of memory */
void index_words_free(struct index_words **words);
/* After a rollback: ids that were given may not exist. */
void index_words_clear(struct index_words *words);
/* 0: not known here. */
int64_t index_words_find(const struct index_words *words, struct str word);
/* Copies the word. Out of memory it is forgotten. */
void index_words_add(struct index_words *words, struct str word, int64_t id);

#endif
