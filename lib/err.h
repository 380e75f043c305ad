/* SPDX-License-Identifier: Apache-2.0
 *
 * lib/err.h - error codes, and the words that go with them.
 *
 * A fallible function returns enum err (0 is success) and must be checked.
 * Where a person will read about the failure it also takes a
 * struct errinfo *, written where the facts are known: it names the thing,
 * the place and the remedy. A NULL errinfo is always accepted.
 * Threads: no shared state. */
#ifndef LIB_ERR_H
#define LIB_ERR_H

#include <stdarg.h>
#include <stddef.h>

#define MUSTCHECK __attribute__((warn_unused_result))
#define PRINTFLIKE(fmt, first) __attribute__((format(printf, fmt, first)))

enum err {
    ERR_OK = 0,
    ERR_NOMEM,       /* out of memory */
    ERR_SYNTAX,      /* input is not of its language */
    ERR_RANGE,       /* a number or size outside its bounds */
    ERR_LIMIT,       /* a stated maximum was passed */
    ERR_IO,          /* the system refused; errno in the text */
    ERR_NOTFOUND,    /* the named thing does not exist */
    ERR_EXISTS,      /* the named thing exists already */
    ERR_DENIED,      /* not allowed */
    ERR_CORRUPT,     /* stored bytes are damaged */
    ERR_WRONG_STATE, /* not possible in the present state */
    ERR_UNSUPPORTED, /* understood, and not offered */
    ERR_AGAIN,       /* would block; try later */
    ERR_CLOSED,      /* the peer has gone */
    ERR_TIMEOUT,
    ERR_FULL,   /* no room (disk, queue, budget) */
    ERR_INVALID /* an argument that makes no sense; the text says which */
};

#define ERRINFO_MAX 1024

struct errinfo {
    enum err code;
    char text[ERRINFO_MAX]; /* one line, no newline at the end; "" if unset */
};

/* Writes the text (cut at ERRINFO_MAX) and returns code, so that
 * `return errinfo_set(info, ERR_RANGE, "...")` reads well. info may be NULL. */
enum err errinfo_set(struct errinfo *info, enum err code, const char *format,
    ...) PRINTFLIKE(3, 4);

/* Puts "prefix: " before the text that is there; returns info's code (or
 * ERR_WRONG_STATE when info is NULL, so use it only on a failing path). */
enum err errinfo_prefix(struct errinfo *info, enum err code, const char *format,
    ...) PRINTFLIKE(3, 4);

/* Like errinfo_set with ": strerror(errno)" at the end. Keeps errno. */
enum err errinfo_errno(struct errinfo *info, enum err code, const char *format,
    ...) PRINTFLIKE(3, 4);

/* A short lower-case word for logs: "nomem", "syntax", ... */
const char *err_name(enum err code);

#endif
