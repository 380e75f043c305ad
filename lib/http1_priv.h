/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/http1_priv.h - the character classes that heads and trailers share. */
#ifndef LIB_HTTP1_PRIV_H
#define LIB_HTTP1_PRIV_H

#include "lib/http1.h"

extern const uint8_t http1_token_bytes[256]; /* tchar, RFC 9110 5.6.2 */

static inline bool http1_is_token_byte(char c)
{
    return http1_token_bytes[(unsigned char)c];
}

/* Visible characters, space, tab, obs-text (RFC 9110 5.5). */
static inline bool http1_is_value_byte(char c)
{
    unsigned char u = (unsigned char)c;
    return (u >= 0x20 && u != 0x7f) || u == '\t';
}

#endif
