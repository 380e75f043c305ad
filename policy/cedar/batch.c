/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/batch.c - the loop of the batch command: lines in, replies out.
 *
 * What a line means: batch_line.c. */
#include "policy/cedar/batch_priv.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define READ_SIZE ((size_t)256 << 10)
/* A reply may hold each id of its line several times. */
#define REPLY_MAX ((size_t)1 << 30)

struct batch_input {
    FILE *in;
    FILE *out;
    struct buf line; /* what was read and not used yet */
    bool end;
    bool skipping; /* inside a line that is too long */
};

/* At most one read; true while there may be more. */
static bool read_more(struct batch_input *input)
{
    char *room = buf_reserve(&input->line, READ_SIZE);
    if (!room) {
        return false;
    }
    fflush(input->out);
    ssize_t got;
    int descriptor = fileno(input->in);
    if (descriptor >= 0) {
        do {
            got = read(descriptor, room, READ_SIZE);
        } while (got < 0 && errno == EINTR);
    } else {
        got = (ssize_t)fread(room, 1, READ_SIZE, input->in);
    }
    if (got < 0 || ferror(input->in)) {
        fprintf(stderr, "bailiff policy batch: cannot read the input: %s\n",
            strerror(errno));
        return false;
    }
    input->end = got == 0;
    buf_grew(&input->line, (size_t)got);
    return true;
}

static bool is_blank(struct str line)
{
    for (size_t i = 0; i < line.len; i++) {
        if (line.ptr[i] == '\0' || !strchr(" \t\r\n\v\f", line.ptr[i])) {
            return false;
        }
    }
    return true;
}

static bool answer(struct batch *batch, struct str line, bool too_long)
{
    if (!too_long && is_blank(line)) {
        return true;
    }
    buf_clear(&batch->reply);
    if (too_long) {
        batch_write_error(
            batch, STR("null"), "line", "the line is longer than 16 MiB");
    } else {
        batch_answer_line(batch, line);
    }
    if (batch->reply.failed) {
        buf_clear(&batch->reply);
        batch_write_error(batch, STR("null"), "line", "out of memory");
    }
    buf_append_char(&batch->reply, '\n');
    struct str reply = buf_str(&batch->reply);
    return fwrite(reply.ptr, 1, reply.len, batch->out) == reply.len;
}

/* Answers each whole line that is there. */
static bool answer_lines(struct batch *batch, struct batch_input *input)
{
    size_t searched = 0;
    for (;;) {
        struct str all = buf_str(&input->line);
        const char *end = memchr(all.ptr + searched, '\n', all.len - searched);
        size_t length = end ? (size_t)(end - all.ptr) : all.len;
        bool too_long = input->skipping || length > CEDAR_BATCH_LINE_MAX;
        if (!end && !(input->end && (all.len > 0 || input->skipping))) {
            if (too_long) {
                buf_consume(&input->line, all.len);
                input->skipping = true;
            }
            return true;
        }
        if (!answer(batch, str_make(all.ptr, length), too_long)) {
            return false;
        }
        input->skipping = false;
        buf_consume(&input->line, end ? length + 1 : length);
        if (!end) {
            return true;
        }
    }
}

int cedar_batch_run(FILE *in, FILE *out)
{
    struct batch batch = {.out = out};
    struct batch_input input = {.in = in, .out = out};
    int status = 1;
    buf_init(&input.line, CEDAR_BATCH_LINE_MAX + 2 * READ_SIZE);
    buf_init(&batch.reply, REPLY_MAX);
    batch.arena = arena_new(READ_SIZE, 0);
    if (!batch.arena || cedar_scratch_new(&batch.scratch) != ERR_OK) {
        fprintf(stderr, "bailiff policy batch: out of memory\n");
        goto out;
    }
    bool written = true;
    while (!input.end) {
        if (!read_more(&input)) {
            goto out;
        }
        written = answer_lines(&batch, &input);
        if (!written) {
            break;
        }
    }
    if (!written || fflush(out) != 0) {
        fprintf(stderr, "bailiff policy batch: cannot write the replies: %s\n",
            strerror(errno));
        goto out;
    }
    status = 0;
out:
    cedar_scratch_free(&batch.scratch);
    arena_free(&batch.arena);
    buf_fini(&batch.reply);
    buf_fini(&input.line);
    return status;
}
