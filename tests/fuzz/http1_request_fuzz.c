/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/http1_request_fuzz.c - any bytes as a request's head. The end is
 * found at the same place whole and byte by byte, and what is accepted has no
 * shape that another parser could read differently. */
#include "lib/http1.h"
#include "lib/must.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_head(const struct http1_head *head, const char *bytes)
{
    MUST(!memchr(bytes, '\0', head->size));
    for (size_t i = 0; i < head->size; i++) {
        MUST(bytes[i] != '\n' || (i > 0 && bytes[i - 1] == '\r'));
        MUST(bytes[i] != '\r' || bytes[i + 1] == '\n');
    }
    MUST(http1_count(head, STR("host")) <= 1);
    MUST(http1_count(head, STR("content-length")) <= 1);
    MUST(http1_count(head, STR("transfer-encoding")) <= 1);
    MUST(!http1_find(head, STR("content-length")) ||
         !http1_find(head, STR("transfer-encoding")));
    MUST((head->body == HTTP1_BODY_CHUNKED) ==
         (http1_find(head, STR("transfer-encoding")) != NULL));
    MUST(head->path.len > 0 && head->path.ptr[0] == '/');
    MUST(head->body != HTTP1_BODY_CLOSE);
    for (unsigned i = 0; i < head->header_count; i++) {
        struct str name = head->headers[i].name;
        struct str value = head->headers[i].value;
        MUST(name.len > 0 && name.ptr[name.len] == ':');
        MUST(str_trim(value).len == value.len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    struct http1_head head;
    struct http1_error error = {0, NULL};
    size_t scanned = 0;
    size_t end = http1_head_end(bytes, size, &scanned);

    scanned = 0;
    size_t stepwise = 0;
    for (size_t n = 0; n <= size && stepwise == 0; n++)
        stepwise = http1_head_end(bytes, n, &scanned);
    MUST(stepwise == end);
    /* heads are judged at the end that was found, and any other bytes too */
    for (int i = 0; i < 2; i++) {
        size_t n = i == 0 ? end : size;
        if (http1_parse_request(bytes, n, &head, &error) == ERR_OK)
            check_head(&head, bytes);
        else
            MUST(error.status >= 400 && error.reason != NULL);
    }
    return 0;
}
