/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/json_priv.h - what json.c (reading) and json_value.c (the tape) share. */
#ifndef LIB_JSON_PRIV_H
#define LIB_JSON_PRIV_H

#include "lib/json.h"

static inline int json_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Four hex digits at p, or -1. */
static inline int32_t json_hex4(const char *p, const char *end)
{
    int32_t value = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = json_hex_digit(p[i]);
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* One step of unescaping validated text: writes 1..4 bytes, advances *at. */
int json_unescape_step(const char **at, char out[4]);

#endif
