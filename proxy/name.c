/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/name.c - see proxy/name.h. */
#include "proxy/name.h"

#include <string.h>

/* Immutable names and handles go into rules, URLs, file names of exports and
 * terminals: no control bytes, no blanks, nothing that needs quoting. */
bool name_is_good(struct str text)
{
    if (text.len == 0 || text.len > NAME_BYTES_MAX || !str_is_utf8(text))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool letter = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                      (c >= 'a' && c <= 'z') || c >= 0x80;
        /* (strchr finds the NUL that ends the list, too.) */
        if (!letter && (i == 0 || c == '\0' || !strchr("._:/@+-", c)))
            return false;
    }
    return true;
}

bool name_looks_like_id(struct str text)
{
    return str_starts(text, STR("cal_")) || str_starts(text, STR("adm_"));
}
