/* SPDX-License-Identifier: Apache-2.0
 *
 * audit/wire.h - fixed-size fields of audit/'s own binary files,
 * little-endian. Pure. */
#ifndef AUDIT_WIRE_H
#define AUDIT_WIRE_H

#include "lib/buf.h"

#include <endian.h>

static inline void wire_put64(struct buf *out, uint64_t value)
{
    value = htole64(value);
    buf_append(out, &value, sizeof(value));
}

/* Take from the front; false where too little is left. */
static inline bool wire_get(struct str *bytes, void *out, size_t n)
{
    if (bytes->len < n)
        return false;
    memcpy(out, bytes->ptr, n);
    *bytes = str_make(bytes->ptr + n, bytes->len - n);
    return true;
}

static inline bool wire_get64(struct str *bytes, uint64_t *value)
{
    if (!wire_get(bytes, value, sizeof(*value)))
        return false;
    *value = le64toh(*value);
    return true;
}

#endif
