/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/batch_priv.h - between the batch command's loop and what
 * answers one line. */
#ifndef POLICY_CEDAR_BATCH_PRIV_H
#define POLICY_CEDAR_BATCH_PRIV_H

#include "lib/json.h"
#include "policy/cedar/batch.h"
#include "policy/cedar/cedar.h"

struct batch {
    FILE *out;
    struct buf reply;    /* of the line at hand, without its LF */
    struct arena *arena; /* reset for each line */
    struct cedar_scratch *scratch;
};

/* Parts of a line that did not parse by themselves: a key twice in an object,
 * or nested too deep. They fail in their own place. */
#define BATCH_BAD_POLICIES 1u
#define BATCH_BAD_SCHEMA 2u
#define BATCH_BAD_ENTITIES 4u

struct batch_document {
    struct json json;
    unsigned bad; /* BATCH_BAD_*; such a part is null in json */
    const char *bad_reason;
};

/* batch_document.c: parses the line; in `requests` a bad element becomes
 * null. ERR_SYNTAX: the line as a whole is wrong, *reason says why. */
enum err batch_document_parse(struct arena *arena, struct str line,
    struct batch_document *out, const char **reason) MUSTCHECK;

/* batch_line.c: appends the reply. */
void batch_answer_line(struct batch *batch, struct str line);
/* `id` is JSON already. */
void batch_write_error(
    struct batch *batch, struct str id, const char *stage, const char *message);

#endif
