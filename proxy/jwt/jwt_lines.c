/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/jwt/jwt_lines.c - lines in, verdicts out. */
#include "proxy/jwt/jwt_lines.h"

#include "lib/clock.h"
#include "proxy/jwt/jwt.h"

#include <errno.h>
#include <unistd.h>

/* Of a line: the rest of a longer one is passed over. */
#define LINE_MAX_BYTES (JWT_TOKEN_MAX + 1)

struct judging {
    const struct jwt_lines *lines;
    struct jwt_rules rules;
    struct arena *arena;
    struct buf line, out;
    FILE *output;
};

static void judge(struct judging *j)
{
    struct jwt jwt;
    enum jwt_reason reason;

    arena_reset(j->arena);
    buf_clear(&j->out);
    if (!j->lines->has_now)
        j->rules.now_us = clock_now();
    reason = jwt_verify(
        buf_str(&j->line), j->lines->jwks, &j->rules, j->arena, &jwt);
    buf_printf(&j->out, "{\"valid\":%s,\"reason\":\"%s\",\"claims\":",
        reason == JWT_OK ? "true" : "false", jwt_reason_word(reason));
    /* Claims that nobody vouches for are not handed on. */
    if (reason == JWT_OK)
        jwt_write_claims(&jwt, &j->out);
    else
        buf_append_str(&j->out, STR("null"));
    buf_append_str(&j->out, STR("}\n"));
    fwrite(buf_str(&j->out).ptr, 1, j->out.len, j->output);
    fflush(j->output); /* whoever drives it waits for this line */
    buf_clear(&j->line);
}

static void take(struct judging *j, struct str bytes, bool *open)
{
    while (bytes.len > 0) {
        struct str part, rest;
        bool ends = str_split(bytes, '\n', &part, &rest);
        size_t room = LINE_MAX_BYTES - j->line.len;

        buf_append(&j->line, part.ptr, part.len < room ? part.len : room);
        *open = !ends;
        if (ends)
            judge(j);
        bytes = rest;
    }
}

enum err jwt_lines_judge(const struct jwt_lines *lines, int input, FILE *output,
    struct errinfo *info)
{
    struct judging j = {.lines = lines,
        .output = output,
        .rules = {.issuer = lines->issuer,
            .audiences = lines->audiences,
            .audience_count = lines->audience_count,
            .now_us = lines->now_us,
            .skew_us = lines->skew_us,
            .max_age_us = lines->max_age_us,
            .access_token_type = lines->access_token_type,
            .certificate_sha256 = lines->certificate_sha256}};
    char chunk[16384];
    bool open = false; /* a line has begun */
    enum err err = ERR_OK;
    ssize_t n;

    buf_init(&j.line, LINE_MAX_BYTES);
    buf_init(&j.out, JWT_TOKEN_MAX + 256);
    j.arena = arena_new(65536, 16u << 20);
    if (!j.arena)
        return errinfo_set(info, ERR_NOMEM, "out of memory");
    do {
        n = read(input, chunk, sizeof chunk);
        if (n > 0)
            take(&j, str_make(chunk, (size_t)n), &open);
    } while ((n > 0 && !ferror(output)) || (n < 0 && errno == EINTR));
    if (n < 0)
        err = errinfo_errno(info, ERR_IO, "standard input cannot be read");
    else if (open && !ferror(output))
        judge(&j);
    if (!err && ferror(output))
        err = errinfo_set(info, ERR_IO, "the answers cannot be written");
    if (!err && (j.line.failed || j.out.failed))
        err = errinfo_set(info, ERR_NOMEM, "out of memory");
    arena_free(&j.arena);
    buf_fini(&j.line);
    buf_fini(&j.out);
    return err;
}
