/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/content_text.h - the words in kept content, and looking for some.
 *
 * What is kept is bytes: a JSON body with its text escaped, a stream that has
 * it in pieces. Here they become text as a person would read it. Pure; any
 * thread; nothing is remembered. */
#ifndef AUDIT_CONTENT_TEXT_H
#define AUDIT_CONTENT_TEXT_H

#include "lib/arena.h"
#include "lib/buf.h"

/* Appends the text of a body or an answer. Of a JSON document all strings, each
 * on lines of its own, but for data: URLs; of a stream (event stream, or JSON
 * line by line) the pieces of each choice put together; anything else as it is,
 * and nothing of what is no UTF-8. Texts go through the arena, which the caller
 * clears. */
void content_text(struct arena *arena, struct str content, struct buf *out);

/* Do all terms occur in the text? ASCII case is ignored. *at: where the first
 * of the terms stands. `lowered` is scratch, and keeps a copy of the text. */
bool content_has(struct str text, const struct str *terms, size_t count,
    struct buf *lowered, size_t *at);

/* Appends what stands around [at, at + length), at most `around` bytes on each
 * side, in whole characters, on one line. */
void content_context(
    struct str text, size_t at, size_t length, size_t around, struct buf *out);

#endif
