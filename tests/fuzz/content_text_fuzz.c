/* SPDX-License-Identifier: Apache-2.0
 *
 * tests/fuzz/content_text_fuzz.c - bytes as kept content. Whatever was sent or
 * answered, its text is UTF-8, and what stands around a term is it too, on one
 * line. */
#include "audit/content_text.h"

#include "lib/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str terms[1], bytes = str_make((const char *)data, size);
    struct arena *arena = arena_new(65536, 1u << 28);
    struct buf text, lowered, around;
    size_t at = 0;

    MUST(arena);
    buf_init(&text, 1u << 26);
    buf_init(&lowered, 1u << 27);
    buf_init(&around, 65536);
    content_text(arena, bytes, &text);
    MUST(str_is_utf8(buf_str(&text)));
    /* a term of the text's own middle, in whole characters */
    size_t begin = text.len / 2, end = begin + 5;
    while (begin > 0 && begin < text.len &&
           ((unsigned char)buf_str(&text).ptr[begin] & 0xc0) == 0x80)
        begin--;
    if (end < text.len &&
        ((unsigned char)buf_str(&text).ptr[end] & 0xc0) != 0x80) {
        terms[0] = str_make(buf_str(&text).ptr + begin, end - begin);
        MUST(content_has(buf_str(&text), terms, 1, &lowered, &at));
        MUST(at <= begin);
        content_context(buf_str(&text), at, terms[0].len, 20, &around);
        MUST(str_is_utf8(buf_str(&around)));
        MUST(!memchr(buf_str(&around).ptr, '\n', around.len));
    }
    buf_fini(&text);
    buf_fini(&lowered);
    buf_fini(&around);
    arena_free(&arena);
    return 0;
}
