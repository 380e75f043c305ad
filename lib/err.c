/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/err.c - the words of an error. No shared state; any thread. */
#include "lib/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void PRINTFLIKE(3, 0) errinfo_write(
    struct errinfo *info, enum err code, const char *format, va_list args)
{
    if (vsnprintf(info->text, sizeof info->text, format, args) < 0)
        info->text[0] = '\0';
    info->code = code;
}

enum err errinfo_set(
    struct errinfo *info, enum err code, const char *format, ...)
{
    if (!info)
        return code;
    va_list args;
    va_start(args, format);
    errinfo_write(info, code, format, args);
    va_end(args);
    return code;
}

enum err errinfo_prefix(
    struct errinfo *info, enum err code, const char *format, ...)
{
    if (!info)
        return code != ERR_OK ? code : ERR_WRONG_STATE;
    char before[ERRINFO_MAX];
    memcpy(before, info->text, sizeof before);
    before[sizeof before - 1] = '\0';

    va_list args;
    va_start(args, format);
    errinfo_write(info, code, format, args);
    va_end(args);
    size_t used = strlen(info->text);
    if (before[0] == '\0')
        return code;
    /* Truncation at the end of the chain is the stated behaviour. */
    (void)!snprintf(
        info->text + used, sizeof info->text - used, ": %s", before);
    return code;
}

enum err errinfo_errno(
    struct errinfo *info, enum err code, const char *format, ...)
{
    if (!info)
        return code;
    int saved = errno;
    va_list args;
    va_start(args, format);
    errinfo_write(info, code, format, args);
    va_end(args);
    size_t used = strlen(info->text);
    char words[128];
    /* The GNU strerror_r: thread-safe, may return a static string. */
    const char *reason = strerror_r(saved, words, sizeof words);
    (void)!snprintf(
        info->text + used, sizeof info->text - used, ": %s", reason);
    errno = saved;
    return code;
}

const char *err_name(enum err code)
{
    switch (code) {
    case ERR_OK:
        return "ok";
    case ERR_NOMEM:
        return "nomem";
    case ERR_SYNTAX:
        return "syntax";
    case ERR_RANGE:
        return "range";
    case ERR_LIMIT:
        return "limit";
    case ERR_IO:
        return "io";
    case ERR_NOTFOUND:
        return "notfound";
    case ERR_EXISTS:
        return "exists";
    case ERR_DENIED:
        return "denied";
    case ERR_CORRUPT:
        return "corrupt";
    case ERR_WRONG_STATE:
        return "state";
    case ERR_UNSUPPORTED:
        return "unsupported";
    case ERR_AGAIN:
        return "again";
    case ERR_CLOSED:
        return "closed";
    case ERR_TIMEOUT:
        return "timeout";
    case ERR_FULL:
        return "full";
    case ERR_INVALID:
        return "invalid";
    }
    return "unknown";
}
