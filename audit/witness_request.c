/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/witness_request.c - the body of add-checkpoint: "old N", proof lines,
 * an empty line, a checkpoint. */
#include "audit/witness.h"

#include "lib/encode.h"

#include <inttypes.h>

static enum err bad(struct errinfo *info, size_t line, const char *what)
{
    return errinfo_set(
        info, ERR_SYNTAX, "line %zu of the request: %s", line, what);
}

static bool is_size(struct str text, uint64_t *out)
{
    return str_to_u64(text, out) == ERR_OK && *out <= INT64_MAX &&
           (text.len == 1 || text.ptr[0] != '0');
}

enum err witness_request_parse(
    struct str body, struct witness_request *out, struct errinfo *info)
{
    struct str line, rest;
    size_t number = 1;
    out->proof_count = 0;
    if (!str_split(body, '\n', &line, &rest) ||
        !str_starts(line, STR("old ")) ||
        !is_size(str_make(line.ptr + 4, line.len - 4), &out->old_size))
        return bad(info, 1, "\"old SIZE\" is due");
    for (;;) {
        size_t size;
        number++;
        if (!str_split(rest, '\n', &line, &rest))
            return bad(info, number,
                "the empty line before the checkpoint is "
                "missing");
        if (line.len == 0)
            break;
        if (out->proof_count == WITNESS_PROOF_MAX)
            return bad(info, number, "at most 63 hashes make a proof");
        if (base64_decode(line, out->proof[out->proof_count].bytes, SHA256_SIZE,
                &size) != ERR_OK ||
            size != SHA256_SIZE)
            return bad(info, number, "a hash in Base64 is due");
        out->proof_count++;
    }
    out->note = rest;
    return rest.len > 0 ? ERR_OK : bad(info, number + 1, "a checkpoint is due");
}

void witness_request_format(
    const struct witness_request *request, struct buf *out)
{
    buf_printf(out, "old %" PRIu64 "\n", request->old_size);
    for (size_t i = 0; i < request->proof_count; i++) {
        base64_append(out, request->proof[i].bytes, SHA256_SIZE);
        buf_append_char(out, '\n');
    }
    buf_append_char(out, '\n');
    buf_append_str(out, request->note);
}
