/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/witness_request_fuzz.c - bytes as the body of add-checkpoint. No
 * bytes may crash the parser; what it accepts is written back to the letter. */
#include "audit/witness.h"

#include "lib/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str body = str_make((const char *)data, size);
    struct witness_request request;
    struct errinfo info = {0};
    struct buf again;

    if (witness_request_parse(body, &request, &info) != ERR_OK) {
        MUST(info.text[0] != '\0');
        return 0;
    }
    MUST(request.proof_count <= WITNESS_PROOF_MAX && request.note.len > 0);
    buf_init(&again, size + 1024);
    witness_request_format(&request, &again);
    MUST(!again.failed && str_equal(buf_str(&again), body));
    buf_fini(&again);
    return 0;
}
