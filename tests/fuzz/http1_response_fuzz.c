/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/http1_response_fuzz.c - any bytes as an answer's head. */
#include "lib/http1.h"
#include "lib/must.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    struct http1_head head;
    struct http1_error error = {0, NULL};
    size_t scanned = 0;
    size_t end = http1_head_end(bytes, size, &scanned);

    for (int i = 0; i < 4; i++) {
        size_t n = i & 1 ? end : size;
        bool to_head = i & 2;
        if (http1_parse_response(bytes, n, to_head, &head, &error)) {
            MUST(error.reason != NULL);
            continue;
        }
        MUST(head.status >= 100 && head.status <= 599 && head.status != 101);
        MUST(!http1_find(&head, STR("content-length")) ||
             !http1_find(&head, STR("transfer-encoding")));
        MUST(head.body != HTTP1_BODY_CLOSE || !head.keep_alive);
        MUST(!to_head || head.body == HTTP1_BODY_NONE);
        MUST(head.status >= 200 || head.body == HTTP1_BODY_NONE);
    }
    return 0;
}
